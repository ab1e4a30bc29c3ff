// records.h - who has last touched each part of a memory: what the sanitizer (sanitize.h) compares accesses with.
//
// A record is one word: the agent (clocks.h) that made the access, when (its epoch), which of its lanes, and by which
// instruction. The smallest part of a memory that has a record of its own, a granule, is as large as the program's
// smallest access; but most accesses are of whole chunks of 16 bytes, by one lane or by lanes that follow one another,
// and then one record says it all: that of the first lane, and `width`, the log2 of the bytes that each lane has.
//
//   ld.shared.b32 at lane * 4:   chunk 0: lane 0, width 2   chunk 1: lane 4, width 2   chunk 2: lane 8, width 2 ...
//   ld.shared.v4.b32, ldmatrix:  a chunk: its lane, width 4
//   ld.shared.b32, swizzled:     a chunk: mixed; a record for each of its granules, all of width 4
//
// So what compilers emit for whole warps is checked and marked by a few vector instructions (exec_observe.cpp).
//
// Plain data: also read by code that is compiled once for each instruction set.
#pragma once
#include <cstdint>

namespace tilejit::runtime::simulator {

using Record = uint64_t; ///< 0: nobody

inline constexpr uint32_t strong_bit = 5, width_first = 6, place_first = 9, place_bits = 19, agent_first = 28,
                          agent_bits = 12, epoch_first = 40; ///< the lane is in the lowest five bits
inline constexpr Record width_mask = Record{7} << width_first,
                        agent_mask = Record{(1u << agent_bits) - 1} << agent_first;
inline constexpr Record one_lane = Record{4} << width_first; ///< the width of a whole chunk
/// A chunk whose granules have records of their own. As a record it is of nobody's, and later than everything.
inline constexpr Record mixed = ~Record{0} << agent_first;

struct RecordPlane {
  Record* chunks = nullptr;
  Record* granules = nullptr; ///< valid in mixed chunks only
  uint32_t shift = 2;         ///< a granule has 1 << shift bytes, 4 at most
};

/// Epochs by agent; those beyond are 0.
struct Epochs {
  const uint32_t* of = nullptr;
  uint32_t count = 0;
};

/// What a block has of shared and global memory, where the usual accesses find it.
struct BlockShadow {
  static constexpr uint32_t most_readers = 64;
  RecordPlane writes, reads[most_readers]; ///< of shared memory; reads by reader, those beyond are not used
  uint64_t* readers = nullptr;             ///< by line of 128 bytes: who has read since it was last written as a whole

  /// The allocation of global memory that was looked at last.
  uint64_t begin = 0, end = 0;
  bool written = false; ///< the kernel may write it
  bool whole = false;   ///< all of it has values
  /// The pages that were touched last, by the lowest bits of their numbers.
  static constexpr uint32_t page_bytes = 4096, near = 16;
  struct Page {
    uint64_t number = 0;
    RecordPlane *writes = nullptr, *reads = nullptr; ///< null: none, or not the usual kind
  } pages[near];
};

/// What an access of a warp needs to know of the warp.
struct Shadow {
  uint32_t agent = 0, epoch = 1;
  uint32_t least_sync = 0;        ///< up to where all lanes are ordered after their warp
  bool touched = false;           ///< an access in this epoch
  const Epochs* before = nullptr; ///< what is ordered before the warp
  uint32_t reader = ~0u;          ///< of the block's shared memory; ~0: it has not read yet
  BlockShadow* block = nullptr;   ///< the warp's own
};

} // namespace tilejit::runtime::simulator
