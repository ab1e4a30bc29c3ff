// What the questions cost.  A kernel asks some hundreds of them; a microsecond each is nothing, a millisecond would be
// felt.
#include "compiler/layout/assignment.h"
#include "compiler/layout/instructions.h"
#include "compiler/layout/questions.h"
#include "compiler/layout/shared_memory.h"

#include <benchmark/benchmark.h>

using namespace tilejit::layout;

namespace {

const Layout accumulator = wgmma(Operand::c, 80, 32);
const Layout operand = wgmma(Operand::a, 0, 16).repeat(1, 5, Axis::reg);
const Layout fp8_operand = wgmma(Operand::a, 0, 8).repeat(1, 3, Axis::reg);
const Layout rows = blocked({64, 80}, 16, 4);
const DotLayouts dot = dot_layouts(128, 128, 64, 16, 4);
const Layout key_tile = swizzled(0, {64, 128}, 16, 128);
const Layout key_rows = blocked({64, 128}, 16, 4, 0);

template <typename F>
void ask(const char* name, F f) {
  benchmark::RegisterBenchmark(name, [f](benchmark::State& state) {
    for (auto _ : state) benchmark::DoNotOptimize(f());
  });
}

} // namespace

int main(int argc, char** argv) {
  ask("parse", [] { return Layout::parse("i:64 j:80 | reg j1 i8 j8 j16*5 | lane j2 j4 i1 i2 i4 | warp i16 i32"); });
  ask("str", [] { return accumulator.str(); });
  ask("copy", [] { return Layout(accumulator); });
  ask("==", [] { return accumulator == operand; });
  ask("hash", [] { return accumulator.hash(); });
  ask("at", [] { return accumulator.at({.reg = 13, .lane = 21, .warp = 3}); });
  ask("where", [] { return accumulator.where({33, 70}); });
  ask("repeat", [] { return accumulator.repeat(0, 3, Axis::warp); });
  ask("slice_keep", [] { return accumulator.slice_keep(1); });
  ask("reshape", [] { return accumulator.reshape({64, 5, 16}); });
  ask("dot_layouts", [] { return dot_layouts(128, 128, 64, 16, 4); });
  ask("blocked", [] { return blocked({64, 80}, 16, 4); });
  ask("convert: rename", [] { return convert(accumulator, operand, 16); });
  ask("convert: shuffle", [] { return convert(accumulator, rows, 16); });
  ask("convert: shuffle fp8", [] { return convert(wgmma(Operand::c, 96, 32), fp8_operand, 8); });
  ask("convert: memory", [] { return convert(accumulator, blocked({64, 80}, 32, 4), 32); });
  ask("plan_local", [] { return plan_local(accumulator, operand); });
  ask("plan_shuffles", [] { return plan_shuffles(accumulator, rows, 16); });
  ask("plan_reduction", [] { return plan_reduction(accumulator, 1); });
  ask("first_copy", [] { return first_copy(dot.b); });
  ask("linear", [] { return linear(accumulator, 1); });
  ask("split", [] { return split(accumulator, 1); });
  ask("global_vector", [] { return global_vector(rows, 1, 16, 16, 8); });
  ask("vector_registers", [] { return vector_registers(rows, 1, 8); });
  ask("wavefronts: vector", [] { return wavefronts(Access::vector, key_rows, key_tile, 16); });
  ask("wavefronts: ldmatrix", [] { return wavefronts(Access::ldmatrix, dot.b, key_tile, 16); });
  ask("addresses", [] { return addresses(dot.b, key_tile); });
  ask("vector_access", [] { return vector_access(key_rows, key_tile, 16); });
  ask("matrix_access", [] { return matrix_access(Access::ldmatrix, dot.b, key_tile, 16); });
  ask("choose_shared: writer and ldmatrix",
      [] { return choose_shared({{Access::vector, key_rows}, {Access::ldmatrix, dot.b}}, 16); });
  ask("choose_shared: solved",
      [] { return choose_shared({{Access::vector, accumulator}, {Access::vector, blocked({64, 80}, 32, 4)}}, 32); });
  ask("wgmma_descriptor", [] { return wgmma_descriptor(key_tile, 1, 0, 16, 128); });
  ask("tma_boxes", [] { return tma_boxes(key_tile, 0, 16); });
  std::vector<std::vector<uint64_t>> nodes(100, {1, 2, 3, 4});
  std::vector<AssignmentEdge> edges;
  for (uint32_t n = 0; n + 2 < 100; ++n) {
    edges.push_back({n, n + 1, std::vector<uint64_t>(16, n % 7)});
    edges.push_back({n, n + 2, std::vector<uint64_t>(16, n % 5)});
  }
  ask("assign: 100 values, width 2", [=] { return assign(nodes, edges); });
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
