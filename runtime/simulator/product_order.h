// product_order.h - brings the mma.sync of a basic block that have the same A together.
//
// Compilers put the ldmatrix of the next operands between products. To the simulator that costs a second look at A, and
// two tiles at once (exec_mma.cpp) become two times one. A product touches registers only, so it may wait until
// something needs what it has, or changes what it reads; what follows goes first.
//
// Before registers get their rows (liveness.h): a row that is free again at the next instruction would keep its product
// where it is. Not with counters: those see the program as it is written.
//
// To the sanitizers a product is also where the lanes of a warp come together, so that what they did before is ordered
// before what they do after it. With them it waits neither for writes to memory nor, where it is what orders a write,
// for reads.
#pragma once
#include "runtime/simulator/cfg.h"

namespace tilejit::runtime::simulator {

/// Reorders instructions within the blocks of `cfg`.
void join_products(Function& function, const Cfg& cfg, bool sanitize);

} // namespace tilejit::runtime::simulator
