// sanitize_global.h - races and uninitialised reads of global memory.
//
// Inside a cluster, global memory has records as shared memory has (sanitize.h), one of the last write and one of the
// last read of each granule. Clusters that do not talk to each other are not ordered at all: what each has read and
// written is compared with what the others have, cluster by cluster in their order, so that the findings do not depend
// on which host thread ran what. Those that do are compared as they run (sanitize_grid.h).
//
// Only allocations that the kernel may write are looked at so (where a store's address comes from a pointer among the
// parameters, the one that this points to); of the others, a read needs only be of memory that has been given a value.
#pragma once
#include "runtime/simulator/clocks.h"
#include "runtime/simulator/findings.h"
#include "runtime/simulator/memory.h"
#include "runtime/simulator/plane.h"
#include "runtime/simulator/sanitize_grid.h"

#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>

namespace tilejit::runtime::simulator {

struct LaunchState;

/// What one cluster has done with a page of global memory.
struct GlobalPage {
  static constexpr uint64_t bytes = BlockShadow::page_bytes;
  static constexpr uint8_t plain_write = 1, plain_read = 2, unwritten_read = 4;
  explicit GlobalPage(uint32_t shift) : writes(bytes, shift), reads(bytes, shift) {}
  Plane writes, reads;
  std::vector<uint8_t> flags; ///< by granule; empty: all accesses are plain, and nothing unwritten was read

  /// Makes the flags.
  void distinguish();
  /// Calls f(granule, record of the write, of the read) where there is one.
  template <class F>
  void each_record(F f) const {
    const uint64_t per_chunk = 16u >> writes.shift;
    for (uint64_t chunk = 0; chunk < bytes / 16; ++chunk) {
      if (!writes.chunks[chunk] && !reads.chunks[chunk]) continue;
      for (uint64_t g = chunk * per_chunk; g < (chunk + 1) * per_chunk; ++g)
        if (const Record w = writes.at(g), r = reads.at(g); w || r) f(g, w, r);
    }
  }
  bool has(uint64_t granule, uint8_t flag) const {
    return flags.empty() ? flag != unwritten_read : flags[granule] & flag;
  }
};
struct GlobalTouches {
  std::unordered_map<uint64_t, GlobalPage> pages; ///< by address / bytes
  MomentsByAddress addresses;                     ///< of strong accesses
  Agents agents;                                  ///< of the cluster, when it has ended
};

/// The clusters of a launch with each other.
class GlobalHistory {
public:
  explicit GlobalHistory(const LaunchState& launch);
  /// The allocation at `address`, if the kernel may write it; else empty.
  GlobalMemory::Range written_allocation(uint64_t address) const;

  /// Null: the clusters do not talk to each other.
  GridHistory* grid() { return grid_.get(); }
  /// Memory holds what was written last by those who have been seen to write.
  bool runs_in_order() const;
  /// A cluster has ended.
  void finish(uint64_t cluster, GlobalTouches&& touches);
  /// All have ended: what was found.
  FindingLog& found();
  /// What the kernel may have written has values from now on.
  void mark_initialised(GlobalMemory& memory) const;

private:
  struct Touch {
    uint32_t block = 0; ///< + 1; 0: nobody
    uint32_t place = 0;
    uint32_t thread : 31 = 0, strong : 1 = 0;
  };
  struct Granule {
    Touch write, read;
  };
  /// What has been done with a page. Most pages only one cluster touches, by plain accesses: its own records say all.
  struct Page {
    uint64_t cluster = 0;
    std::shared_ptr<const GlobalTouches> only;
    std::vector<Granule> granules;
  };

  void merge(uint64_t cluster, const std::shared_ptr<GlobalTouches>& touches);
  void merge(Page& all, uint64_t number, uint64_t cluster, const GlobalTouches& touches);
  void race(const Touch& now, bool writes, const Touch& other, bool other_writes, uint64_t address);

  const LaunchState& launch_;
  std::vector<GlobalMemory::Range> written_;
  std::mutex mutex_;
  uint64_t next_ = 0;
  std::map<uint64_t, std::shared_ptr<GlobalTouches>>
      ended_; ///< before one with a lower number; with `grid_` all of them
  std::unordered_map<uint64_t, Page> pages_;
  std::map<uint64_t, Touch> unwritten_; ///< by address: the first read of what its cluster had not written
  FindingLog found_;
  std::unique_ptr<GridHistory> grid_;
};

} // namespace tilejit::runtime::simulator
