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
  bool one_line = false;   ///< all lanes, within one line of 128 bytes
  alignas(64) uint64_t at[32];
};

/// Main slot: as of a load (exec_memory.cpp), b = index in Program::observed. For branches a = predicate, imm = its xor
/// mask.
struct ObservingHandlers {
  Fn access, lanes, branch, block; ///< block: imm = number of the basic block that begins
};
const ObservingHandlers& observing_handlers();

/// What an access may meet without a closer look: records of its own lane, none at all where it writes, and those of
/// other agents up to the epoch that is ordered before it.
struct Horizon {
  uint64_t self = 0; ///< a record with the agent of the access, and nothing else
  bool may_be_empty = false;
  const void* context = nullptr;
  uint32_t (*epoch)(const void* context, uint32_t agent) = nullptr;
};

/// Loops over the records (sanitize.h) of an access, 1 << n of them for each lane.
struct RecordLoops {
  /// Of a contiguous access of all lanes. True: all are within the horizon. False says nothing.
  bool (*settled_row)(const uint64_t* records, const Horizon&);
  /// Sets them to `mine` with the number of the lane in it.
  void (*put)(uint64_t* records, uint64_t mine);
  /// The same of the first 8, 16 or 32 lanes, whose records begin at at[lane] >> shift.
  bool (*settled)(const uint64_t* records, const uint64_t* at, uint32_t shift, uint32_t lanes, const Horizon&);
  /// Sets them to `mine` with the number of the lane in it; where lanes have the same, the last one's stays.
  void (*mark)(uint64_t* records, const uint64_t* at, uint32_t shift, uint32_t lanes, uint64_t mine);
};
/// For each instruction set (exec_observe.cpp), as the handlers.
struct ObservingLoops {
  /// Addresses of 32 lanes (flags, base, offset: as of a load). Bit 0: contiguous; bit 1: all are multiples of
  /// `align` + 1 and at most `end`; bit 2: all are in one line of 128 bytes.
  uint32_t (*addresses)(const uint8_t* file, uint32_t flags, uint32_t base, uint32_t offset, uint64_t bytes,
                        uint64_t align, uint64_t end, uint64_t* at);
  /// Whether each lane's record is its own, of those that an access of the first lanes has left.
  bool (*own)(const uint64_t* records, const uint64_t* at, uint32_t shift, uint32_t lanes);
  RecordLoops records[6]; ///< by log2 of the records of a lane
};
const ObservingLoops& observing_loops();
const ObservingLoops& observing_loops_v2();
const ObservingLoops& observing_loops_v3();
const ObservingLoops& observing_loops_v4();

} // namespace tilejit::runtime::simulator
