// dsl.h - the whole tile language: write a kernel as C++ over tiles, record it, compile it, launch it.
//
//   Jit add(kernel("add(x, y, out)", [](View x, View y, View out) {
//     Index i = program_id(0) * 1024;
//     out.at(span(i, 1024)).store(x.at(span(i, 1024)).load() + y.at(span(i, 1024)).load());
//   }));
//   add.launch(device, {cdiv(n, 1024)}, {x, y, out});
//
// tile.h: values and what is computed with them. kernel.h: views, loops, kernels, recording. schedule.h: how a kernel
// is to be run. jit.h: compile and launch. None of them names an MLIR type.
#pragma once
#include "dsl/jit.h"
#include "dsl/kernel.h"
#include "dsl/schedule.h"
#include "dsl/tile.h"
