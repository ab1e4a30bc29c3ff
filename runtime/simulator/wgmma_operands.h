// wgmma_operands.h - where the core matrices of a warpgroup's product are (handlers.h: WarpgroupProduct).
//
// Included by exec_*.cpp, hence the anonymous namespace (lanes.h).
#pragma once
#include "runtime/simulator/core_matrix.h"
#include "runtime/simulator/handlers.h"

namespace tilejit::runtime::simulator {
namespace {

inline CoreRows core_of(const SharedMatrix& m, uint32_t group, uint32_t half) {
  return {m.memory + uint64_t{group >> m.shift} * m.far, m.at[group & ((1u << m.shift) - 1)][half]};
}
/// A of one warp: by half of its rows, half of k.
struct CoresOfA {
  CoreRows at[2][2];
  CoreMatrix turned[2][2]; ///< of a transposed one
};
inline void find_a(const WarpgroupProduct& p, uint32_t warp, CoresOfA& a) {
  for (uint32_t h = 0; h < 2; ++h)
    for (uint32_t g = 0; g < 2; ++g) {
      CoreRows& core = a.at[h][g];
      core = p.a_registers[warp][0] ? CoreRows{p.a_registers[warp][h + 2 * g]} : core_of(p.a, 2 * warp + h, g);
      if (!p.transpose_a) continue;
      for (int r = 0; r < 8; ++r)
        a.turned[h][g].row[r] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(core.row(r)));
      a.turned[h][g] = transposed(a.turned[h][g]);
      core = {reinterpret_cast<const uint8_t*>(&a.turned[h][g])};
    }
}

} // namespace
} // namespace tilejit::runtime::simulator
