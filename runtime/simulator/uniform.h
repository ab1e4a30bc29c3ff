// uniform.h - which registers hold one value for the whole warp.
//
// Loop counters, block coordinates, pipeline stages and barrier addresses are the same in all lanes; the simulator
// keeps them as one scalar and computes them once. The analysis is static, for one block shape: a register is uniform
// iff every definition has uniform operands and no varying guard, and stands in a block that no varying branch
// controls. Loops that lanes may leave at different trips are controlled by the branch that leaves them, so what they
// define is varying.
//
// A branch of which all sides but one do nothing more than end the thread (`if (i >= n) return;`) controls nothing: the
// lanes that take such a side never look at a scalar again.
//
// Soundness with independent thread scheduling: two parts of a warp may run the same code at different times (one waits
// in a spin loop). "Uniform" therefore means: the same for all lanes that execute the definition together. Each part of
// a diverged warp needs its own copy of the scalars from the split to the merge, and two parts at the same pc may merge
// only when the scalars that are live there (liveness.h) are equal.
#pragma once
#include "runtime/simulator/cfg.h"

#include <array>
#include <functional>
#include <vector>

namespace tilejit::runtime::simulator {

struct Uniformity {
  std::vector<bool> reg;            ///< by register: uniform
  std::vector<bool> varying_block;  ///< by block: controlled by a varying branch
  std::vector<bool> varying_branch; ///< by block: its last instruction's branch may part the warp
};

/// `block_shape` = ntid. In a .func (called from anywhere, perhaps by part of a warp, perhaps recursively) every
/// register is varying. Sources: parameters, immediates, special registers but those of a lane, %tid.y where a row of
/// threads is a whole number of warps, tid.x >> k (k >= 5) in such blocks, constant loads from a uniform address,
/// votes, match.all, redux, activemask, shfl.idx with one source lane for all. `may_be_scalar`: false for instructions
/// whose results the caller wants as rows whatever they are; empty: all may be scalars.
Uniformity analyse_uniformity(const Function& function, const Cfg& cfg, std::array<uint32_t, 3> block_shape,
                              const std::function<bool(const Instruction&)>& may_be_scalar = {});

} // namespace tilejit::runtime::simulator
