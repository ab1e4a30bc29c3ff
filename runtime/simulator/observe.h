// observe.h - how the instruments see a kernel run.
//
// A program that is lowered with instruments has an extra instruction in front of every access to memory, of every
// branch, and behind every operation that orders the lanes of a warp. It computes the addresses that the access will
// use and shows them to the counters and the sanitizer of the block. Programs without instruments have none of that, so
// that what is not asked for costs nothing; and the handlers of memory know nothing of it.
#pragma once
#include "runtime/simulator/program.h"

namespace tilejit::runtime::simulator {

/// The addresses of an access: offsets in shared memory, or device addresses.
struct Access {
  uint32_t mask = 0;       ///< lanes
  bool contiguous = false; ///< all lanes, each one's bytes behind those of the lane before
  uint64_t at[32];
};

/// Main slot: as of a load (exec_memory.cpp), b = index in Program::observed. For branches a = predicate, imm = its xor
/// mask.
struct ObservingHandlers {
  Fn access, lanes, branch, block; ///< block: imm = number of the basic block that begins
};
const ObservingHandlers& observing_handlers();

} // namespace tilejit::runtime::simulator
