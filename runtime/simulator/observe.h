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
  Fn registers, undefined;         ///< imm = index in Program::register_events, undefined_events
};
const ObservingHandlers& observing_handlers();

/// Loops over the records (sanitize.h) of a contiguous access of all lanes, 1 << n of them for each lane.
struct RecordLoops {
  /// Bits of `mask` in which a record differs from `pattern` with the number of its lane in it.
  uint64_t (*strange)(const uint64_t* records, uint64_t pattern, uint64_t mask);
  /// Sets them to `mine` with the number of the lane in it.
  void (*put)(uint64_t* records, uint64_t mine);
};
/// For each instruction set (exec_observe.cpp), as the handlers.
struct ObservingLoops {
  /// Addresses of 32 lanes (flags, base, offset: as of a load). Bit 0: contiguous; bit 1: all are multiples of
  /// `align` + 1 and at most `end`.
  uint32_t (*addresses)(const uint8_t* file, uint32_t flags, uint32_t base, uint32_t offset, uint64_t bytes,
                        uint64_t align, uint64_t end, uint64_t* at);
  /// Bits in which the records are not all the same.
  uint64_t (*differ)(const uint64_t* records, uint64_t count);
  RecordLoops records[6]; ///< by log2 of the records of a lane
};
const ObservingLoops& observing_loops();
const ObservingLoops& observing_loops_v2();
const ObservingLoops& observing_loops_v3();
const ObservingLoops& observing_loops_v4();

} // namespace tilejit::runtime::simulator
