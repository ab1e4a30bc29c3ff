// uniform.h - which registers hold one value for the whole warp.
//
// Loop counters, block coordinates, pipeline stages and barrier addresses are the same in all lanes; the simulator keeps
// them as one scalar and computes them once. The analysis is static, for one block shape, and flow-insensitive over a
// register's definitions: a register is uniform iff every definition has uniform operands (and no varying guard), stands
// in a block that no varying branch controls, and no use stands outside a loop that lanes may leave at different trips.
//
// Soundness with independent thread scheduling: two parts of a warp may run the same code at different times (one waits in
// a spin loop). "Uniform" therefore means: the same for all lanes that execute the definition together. Each part of a
// diverged warp needs its own copy of the scalars from the split to the merge, and two parts at the same pc may merge only
// when the scalars live there are equal.
#pragma once
#include "runtime/simulator/cfg.h"

#include <array>
#include <vector>

namespace tilejit::runtime::simulator {

struct Uniformity {
  std::vector<bool> reg;            ///< by register: uniform
  std::vector<bool> varying_block;  ///< by block: control-dependent on a varying branch
  std::vector<bool> varying_branch; ///< by block: its last instruction's branch may part the warp
};

/// `block_shape` = ntid. In a .func (called from anywhere, perhaps by part of a warp, perhaps recursively) every register
/// is varying. Sources: parameters, immediates, ctaid/ntid/nctaid/..., %tid.y where a row of threads is a whole number of
/// warps, tid.x >> k (k >= 5) in such blocks, uniform constant loads, vote/match.all/redux/activemask, shfl.idx with one
/// source lane for all.
Uniformity analyse_uniformity(const Module& module, const Function& function, const Cfg& cfg, std::array<uint32_t, 3> block_shape);

} // namespace tilejit::runtime::simulator
