// sanitize_grid.h - races of global memory between blocks that talk to each other: by flags, locks, barriers of the
// grid.
//
// Such blocks run in turns on one host thread (grid.h), so every access is compared with those before it as it is made,
// whatever cluster made them. Within a cluster clocks say what is ordered (clocks.h). What leaves it leaves by a strong
// write (an atomic operation, or st.release, relaxed, volatile) whose scope is the GPU. These releases are numbered by
// releaser, and with each number it is known what of its cluster was ordered before it. Who reads the address acquires
// the releases that stand there, and with them all that those who made them had acquired. An access of another cluster
// is ordered before one here if a release is known here that it was ordered before.
//
// A store begins anew what stands at its address; an atomic operation adds to it. A relaxed write gives away what comes
// before a fence for the whole GPU; reads acquire without one.
//
// Each granule keeps its last plain write, who has read it plainly since, and the strong accesses since that no later
// one comes after. Writes without a race are ordered, so an access that is ordered after the last is ordered after all
// of them, and of several races of one granule the first is always found. What may be missed: of the threads of one
// cluster that have read a granule only the last one is known, and a plain read is forgotten when the cluster reads
// the same granule by a strong one. Pages that one cluster alone has touched are left to it (GlobalPage).
#pragma once
#include "runtime/simulator/ast.h"
#include "runtime/simulator/clocks.h"
#include "runtime/simulator/findings.h"

#include <map>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

namespace tilejit::runtime::simulator {

struct LaunchState;
struct GlobalTouches;

/// Two accesses of different blocks that are in conflict.
struct BlockRace {
  FindingKind kind = FindingKind::global_race;
  uint32_t place = 0, other_place = 0; ///< Program::observed
  uint64_t block = 0, other_block = 0; ///< in the order of the launch
  uint32_t thread = 0;
  bool writes = false, other_writes = false;
  uint64_t address = 0;
  std::string reason;
  bool agrees = false; ///< both have written the same
};
void report(FindingLog& found, const LaunchState& launch, const BlockRace& race);

/// An access to global memory as the other clusters see it.
struct GridAccess {
  uint64_t address = 0, bytes = 0;
  const Moment* now = nullptr; ///< what is ordered before it
  uint64_t block = 0;          ///< in the order of the launch
  uint32_t warp = 0, lane = 0; ///< who makes it, or has started it
  uint32_t agent = 0, epoch = 0, place = 0;
  bool writes = false;
  bool strong = false;                  ///< and for the whole GPU
  bool generic = true;                  ///< by the generic proxy
  bool of_map = false;                  ///< a copy reads its tensor map
  uint32_t releaser = none, number = 0; ///< of a strong write that threads make themselves
  const uint8_t* stored = nullptr;      ///< what it is about to store; null: not known
};

class GridHistory {
public:
  GridHistory(const LaunchState& launch, FindingLog& found);

  /// A cluster runs, and then has ended and what it did lies elsewhere.
  void set_cluster(uint64_t cluster, const Agents& agents, const GlobalTouches& touches);

  /// Whose releases cover those before them: a warp that gives away what has been fenced (`lanes` 0), or what these of
  /// its lanes have done.
  uint32_t releaser(uint64_t cluster, uint32_t agent, uint32_t lanes);
  /// It writes something strong, and `given` is ordered before that: the number of the release.
  uint32_t release(uint32_t releaser, const Moment& given);
  /// The release is at `address` now; alone, unless it `adds` to what was there.
  void put(uint64_t address, const Moment& given, uint32_t releaser, uint32_t number, bool adds);
  /// What is at the address is ordered before `now` from now on, and what of that has come back to its own cluster.
  Moment acquire(uint64_t cluster, uint64_t address, Moment& now);

  void access(const GridAccess& a);
  /// No other cluster has touched the pages of this memory, and the access needs no record.
  bool is_private(const GridAccess& a);

private:
  struct Touch {
    uint32_t block = 0; ///< + 1; 0: nobody
    uint32_t epoch = 0, place = 0;
    uint16_t agent = 0;
    uint16_t generic : 1 = 0, thread : 15 = 0; ///< the lane is in the lowest five bits
  };
  struct Strong {
    Touch touch;
    bool writes = false;
    uint32_t releaser = none, number = 0;
  };
  struct Page {
    uint32_t owner = 0;        ///< + 1: the only cluster that has touched it, never strongly; its own records say all
    std::vector<Touch> writes; ///< by granule: the last plain one
    std::vector<uint32_t> reader; ///< by granule: the cluster + 1 that has read since, plainly; or `several`
    std::vector<bool> readers;    ///< clusters that have read something
    std::unordered_map<uint32_t, std::vector<Strong>> strong; ///< by granule
  };
  struct Releaser {
    struct Snapshot {
      uint32_t first = 0; ///< release that had it
      Clock before, proxied, offered;
    };
    uint64_t cluster = 0;
    uint32_t count = 0;
    std::vector<Snapshot> snapshots;
    const Snapshot& at(uint32_t number) const;
  };
  struct Cluster {
    const Agents* agents = nullptr;
    const GlobalTouches* touches = nullptr;
    std::vector<uint32_t> releasers;
  };
  static constexpr uint32_t several = ~0u;

  uint64_t cluster_of(uint64_t block) const { return block / cluster_blocks_; }
  Page& page_of(uint64_t number);
  void share(Page& page, uint64_t number);
  Touch touch_of(uint64_t cluster, uint64_t record) const;
  static Touch touch_of(const GridAccess& a);
  bool ordered(const GridAccess& a, const Touch& other) const;
  bool proxied(const GridAccess& a, const Touch& other) const;
  static bool known(const GridAccess& a, const Strong& s);
  void check(const GridAccess& a, const Touch& other, bool other_writes, uint64_t address);
  void check_readers(const GridAccess& a, Page& page, uint64_t address, uint32_t granule);
  void plain(const GridAccess& a, Page& page, uint64_t address, uint32_t granule);
  void strong(const GridAccess& a, Page& page, uint64_t address, uint32_t granule);

  const LaunchState& launch_;
  FindingLog& found_;
  uint64_t cluster_blocks_ = 1;
  uint32_t shift_ = 2;
  std::vector<Cluster> clusters_;
  std::vector<Releaser> releasers_;
  std::map<std::tuple<uint64_t, uint32_t, uint32_t>, uint32_t> numbers_; ///< cluster, agent, lanes -> releaser
  struct AtAddress {
    Releases before, proxied, mapped;
  };
  std::unordered_map<uint64_t, AtAddress> addresses_;
  std::unordered_map<uint64_t, Page> pages_;
  uint64_t last_number_ = 0;
  Page* last_ = nullptr;
};

} // namespace tilejit::runtime::simulator
