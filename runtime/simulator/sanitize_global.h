// sanitize_global.h - races and uninitialised reads of global memory.
//
// Inside a block, global memory has records as shared memory has (sanitize.h), one of the last write and one of the
// last read of each granule. Between blocks nothing is ordered but through atomics and flags: what each block has read
// and written is compared with what the others have, block by block in their order, so that the findings do not depend
// on which host thread ran what. Only allocations that the kernel may write are looked at so (where a store's address
// comes from a pointer among the parameters, the one that this points to); of the others, a read needs only be of
// memory that has been given a value.
#pragma once
#include "runtime/simulator/findings.h"
#include "runtime/simulator/memory.h"

#include <map>
#include <mutex>
#include <set>
#include <unordered_map>

namespace tilejit::runtime::simulator {

struct LaunchState;

/// What one block has done with a page of global memory.
struct GlobalPage {
  static constexpr uint64_t bytes = 4096;
  static constexpr uint8_t plain_write = 1, plain_read = 2, unwritten_read = 4;
  std::vector<uint64_t> writes, reads; ///< records (sanitize.h), by granule
  std::vector<uint8_t> flags;
};
struct GlobalTouches {
  std::unordered_map<uint64_t, GlobalPage> pages; ///< by address / bytes
  std::set<uint64_t> acquired;                    ///< blocks that released what this one acquired
  std::vector<uint32_t> warps;                    ///< by agent: the warp that has acted
};

/// The blocks of a launch with each other.
class GlobalHistory {
public:
  explicit GlobalHistory(const LaunchState& launch);
  /// The allocation at `address`, if the kernel may write it; else empty.
  GlobalMemory::Range written_allocation(uint64_t address) const;

  /// A strong access: what was released at the address is acquired; with `release`, the block's own work is released.
  void synchronize(uint64_t block, uint64_t address, bool reads, bool release, std::set<uint64_t>& acquired);
  /// The block has ended.
  void finish(uint64_t block, GlobalTouches&& touches);
  /// All blocks have ended: what was found.
  FindingLog& found();
  /// What the kernel may have written has values from now on.
  void mark_initialised(GlobalMemory& memory) const;

private:
  struct Touch {
    uint64_t block = 0; ///< + 1; 0: nobody
    uint32_t place = 0, thread = 0;
    bool strong = false;
  };
  struct Granule {
    Touch write, read, unwritten; ///< `unwritten`: the first read of what its block had not written
  };

  void merge(uint64_t block, GlobalTouches& touches);
  bool ordered(uint64_t a, uint64_t b) const;
  void race(uint64_t block, const Touch& now, bool writes, const Touch& other, bool other_writes, uint64_t address);

  const LaunchState& launch_;
  std::vector<GlobalMemory::Range> written_;
  std::mutex mutex_;
  uint64_t next_ = 0;
  std::map<uint64_t, GlobalTouches> waiting_; ///< blocks that ended before one with a lower number
  std::unordered_map<uint64_t, std::vector<Granule>> pages_;
  std::unordered_map<uint64_t, std::set<uint64_t>> released_, acquired_;
  FindingLog found_;
};

} // namespace tilejit::runtime::simulator
