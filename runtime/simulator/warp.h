// warp.h - the state of running warps, blocks and launches.
//
// Plain data, read and written by the handlers. A warp is a set of splits: groups of lanes that are at the same place.
// One split runs (`active`); the others wait in `splits` for their turn, for a barrier, or for lanes of their own warp.
// The runnable split that is deepest in calls, and of those the one with the least place in the code, runs first;
// blocks are laid out so (cfg.h) that the parts of a warp meet again at the immediate post-dominator of the branch that
// parted them, and after a call where it returns to.
#pragma once
#include "runtime/simulator/program.h"

namespace tilejit::runtime::simulator {

struct BlockState;
struct AsyncQueue; // block.h
struct CallStack;  // calls.h
struct WarpTrace;  // recording.h
struct Shadow;     // records.h

enum class Wait : uint8_t {
  nothing,
  barrier,   ///< bar.sync `id`
  lanes,     ///< a .sync operation of the warp: for the lanes of its mask
  rejoin,    ///< at code that lanes run together or not at all: for the rest of the warp
  mbarrier,  ///< the phase `need` of the mbarrier at shared address `id`
  cluster,   ///< barrier.cluster
  warpgroup, ///< the other warps of the warpgroup issue what it has issued
};

struct Split {
  const Insn* pc = nullptr;
  uint32_t mask = 0;
  Wait wait = Wait::nothing;
  uint32_t id = 0;
  uint32_t need = 0;        ///< Wait::lanes: the lanes that must be there
  const Insn* at = nullptr; ///< Wait::barrier: the instruction, for its result
  uint32_t mode = 0;        ///< MXCSR
  bool spins = false;       ///< it has run through a loop for long: others go first
  uint32_t depth = 0;       ///< calls that it is in
};

/// One cp.async of a warp: what it will copy when its group is waited for.
struct AsyncCopy {
  uint32_t mask = 0;
  uint32_t group = 0;                ///< 0: not yet committed; else the number that its lanes' commit gave it
  uint32_t bytes = 0;                ///< of a lane: 4, 8, 16
  uint32_t number = 0, observed = 0; ///< for the sanitizer: how many the warp had issued, Program::observed
  bool whole = false;                ///< every lane reads all of its bytes
  uint8_t valid[32];                 ///< bytes that are read; the rest is zero
  uint32_t to[32];                   ///< shared addresses
  const uint8_t* from[32];
};

struct Warp {
  uint8_t* file = nullptr;   ///< of the function that runs
  uint32_t active = 0;       ///< lanes of the split that runs
  uint32_t live = 0;         ///< lanes that have not exited
  uint8_t* shared = nullptr; ///< of the block
  uint64_t shared_bytes = 0;
  uint64_t allocation_begin = 1, allocation_end = 0; ///< the last global allocation that was hit
  uint8_t* arena = nullptr;                          ///< host address of device address 0
  const uint8_t* params = nullptr;
  uint64_t param_bytes = 0;
  uint8_t* local = nullptr; ///< lane l's memory begins at l * local_bytes
  uint64_t local_bytes = 0;
  uint64_t* block_counts = nullptr; ///< by basic block: executions
  BlockState* block = nullptr;
  AsyncQueue* async = nullptr;
  CallStack* calls = nullptr;
  uint32_t depth = 0; ///< of the split that runs
  uint32_t index = 0; ///< in the block
  uint32_t fuel = 0;  ///< back edges until others get their turn
  uint64_t clock = 0;
  uint32_t counter = 0;       ///< with counters: the asynchronous instruction at hand, in Program::counters
  WarpTrace* trace = nullptr; ///< for the time estimate
  Shadow* shadow = nullptr;   ///< for the sanitizer
  uint32_t split_count = 0;   ///< waiting ones
  bool yielded = false;
  bool polled = false; ///< its turn ended without anything that others could see
  Split splits[33];
};

} // namespace tilejit::runtime::simulator
