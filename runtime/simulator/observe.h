// observe.h - how the instruments see a kernel run.
//
// A program that is lowered with instruments has an extra instruction in front of every access to memory, of every
// branch, and behind every operation that orders the lanes of a warp. It computes the addresses that the access will
// use and shows them to the counters and the sanitizer of the block. Programs without instruments have none of that, so
// that what is not asked for costs nothing; and the handlers of memory know nothing of it. Where an access of the whole
// warp turns out to be as usual (exec_observe.cpp), its places are known: then the observing instruction has the bytes
// moved, too, and the warp goes on behind the access.
#pragma once
#include "runtime/simulator/program.h"
#include "runtime/simulator/records.h"

namespace tilejit::runtime::simulator {

/// The addresses of an access: offsets in shared memory, or device addresses.
struct Access {
  uint32_t mask = 0;       ///< lanes
  bool contiguous = false; ///< all lanes, each one's bytes behind those of the lane before
  bool one_line = false;   ///< all lanes, within one line of 128 bytes
  alignas(64) uint64_t at[32];
};

/// Main slot: as of a load (exec_memory.cpp), b = index in Program::observed. With `moves_itself` a slot follows whose
/// d and a are the Moving of the access.
struct ObservingHandlers {
  Fn access, lanes;
  Fn branch;  ///< a = predicate, imm = its xor mask, b = index in Program::counters
  Fn block;   ///< imm = number of the basic block that begins
  Fn async;   ///< in front of what lower_async.cpp makes (observe_async.cpp); imm = index in Program::counters
  Fn barrier; ///< in front of bar.sync and its kin
  Fn mark;    ///< a PTX instruction begins; imm = index in Program::counters
  Fn registers, undefined; ///< imm = index in Program::register_events, undefined_events
  Fn fragment;             ///< in front of wmma.load and wmma.store; b = index in Program::observed
};
const ObservingHandlers& observing_handlers();
const Insn* observe_access(Warp* w, const Insn* ip);
const Insn* observe_async(Warp* w, const Insn* ip);
const Insn* observe_barrier(Warp* w, const Insn* ip);
/// Whether `async` has anything to see there.
bool observes(Fn asynchronous);
struct Token;
/// What the copy engine will move, and the arrival that ends it.
void count_transfer(const Token& token);

/// Loops over the records of an access. at[] are the offsets of its lanes in the memory of the plane, `mine` is its
/// record without a lane and a width.
struct RecordLoops {
  /// Whether all that 32 lanes meet is ordered before the access: of other agents, up to the epoch that is; of its own,
  /// what the lane itself has done. Where it writes they may also meet nothing. False says nothing.
  bool (*settled)(const RecordPlane&, const uint32_t* at, const Shadow&, Record mine, bool may_be_empty);
  /// Leaves the record of the first lanes; where they are at the same place, the last one's stays.
  void (*mark)(const RecordPlane&, const uint32_t* at, uint32_t lanes, Record mine);
  /// The same of a contiguous access of all lanes, from a multiple of 16 on.
  void (*mark_row)(const RecordPlane&, uint32_t first, Record mine);
};
/// For each instruction set (exec_observe.cpp), as the handlers.
struct ObservingLoops {
  /// Addresses of 32 lanes (flags, base, offset: as of a load). Bit 0: contiguous; bit 1: all are multiples of
  /// `align` + 1 and at most `end`; bit 2: all are in one line of 128 bytes.
  uint32_t (*addresses)(const uint8_t* file, uint32_t flags, uint32_t base, uint32_t offset, uint64_t bytes,
                        uint64_t align, uint64_t end, uint64_t* at);
  /// The observing instruction of a plain access to shared or global memory, with the sanitizer only.
  Fn (*usual_access)(Space space, uint32_t bytes, bool writes);
  static constexpr uint32_t least_bytes = 2, most_bytes = 16; ///< of a lane: others go lane by lane
  RecordLoops records[4];                                     ///< by log2 of the bytes of a lane, from 2 on
};
const ObservingLoops& observing_loops();
const ObservingLoops& observing_loops_v2();
const ObservingLoops& observing_loops_v3();
const ObservingLoops& observing_loops_v4();

} // namespace tilejit::runtime::simulator
