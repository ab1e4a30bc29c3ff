// sanitize.h - finds races, uninitialised reads and misused copies while a block runs.
//
// Every access to shared memory leaves a record of who made it and when: the agent (clocks.h), its epoch, the lane, the
// instruction. An access that is not ordered after the record it meets is a race. There is one plane of records for the
// last write of each granule, and one for the last reads of each agent, made when it first reads. A granule is as large
// as the program's smallest access.
//
// A record is a single word, so that the usual case, all lanes meeting records of one agent and epoch, is a few vector
// comparisons.
#pragma once
#include "runtime/simulator/clocks.h"
#include "runtime/simulator/findings.h"
#include "runtime/simulator/observe.h"
#include "runtime/simulator/sanitize_global.h"

#include <array>
#include <memory>
#include <unordered_map>

namespace tilejit::runtime::simulator {

struct BlockState;

class Sanitizer {
public:
  explicit Sanitizer(BlockState& block);
  void begin(uint64_t linear_index);
  void end(); ///< all threads of the block have ended

  void shared(const Warp& w, uint32_t observed, const Access& a);
  void global(const Warp& w, uint32_t observed, const Access& a);
  /// cp.async: `number` counts the copies of the warp.
  void copy(const Warp& w, uint32_t observed, const Access& to, uint32_t number);
  /// The copies of a warp up to `number` have been waited for.
  void copies_done(const Warp& w, uint32_t number);

  void lanes_ordered(const Warp& w, uint32_t mask);
  void fence(const Warp& w, uint32_t mask);
  void arrive(const Warp& w, uint32_t mask, uint32_t barrier);
  void leave(const Warp& w, uint32_t mask, uint32_t barrier);
  /// `all`: all threads of the block were at it; what they have read is ordered before everything to come.
  void completed(uint32_t barrier, bool all);

  using Record = uint64_t; ///< 0: none
  static constexpr uint32_t lane_bits = 5, strong_bit = 5, place_first = 6, place_bits = 22, agent_first = 28,
                            agent_bits = 12, epoch_first = 40;
  static constexpr Record whose = Record{(1u << agent_bits) - 1} << agent_first | 31; ///< agent and lane
  static uint32_t lane_of(Record r) { return static_cast<uint32_t>(r) & 31; }
  static uint32_t place_of(Record r) { return static_cast<uint32_t>(r >> place_first) & ((1u << place_bits) - 1); }
  static uint32_t agent_of(Record r) { return static_cast<uint32_t>(r >> agent_first) & ((1u << agent_bits) - 1); }
  static uint32_t epoch_of(Record r) { return static_cast<uint32_t>(r >> epoch_first); }
  static Record record(uint32_t agent, uint32_t epoch, uint32_t place, bool strong) {
    return Record{epoch} << epoch_first | Record{agent} << agent_first | Record{place} << place_first |
           (strong ? 1u << strong_bit : 0u);
  }

private:
  struct WarpTime {
    Clock clock, fenced; ///< fenced: what is ordered before the warp's last fence
    uint32_t epoch = 1;
    uint32_t sync[32]{}; ///< by lane: up to where it is ordered after its warp
    uint32_t least_sync = 0;
    bool touched = false; ///< an access in this epoch

    /// Ends the epoch; what follows is later than what is returned.
    uint32_t close() {
      if (!touched) return epoch - 1;
      touched = false;
      return epoch++;
    }
  };
  struct Plane {
    std::unique_ptr<Record[]> records;
    bool used = false;
  };

  ClockEntry release(const Warp& w, uint32_t mask);
  void order(const Warp& w, uint32_t mask, uint32_t epoch);
  bool ordered(const Warp& w, const WarpTime& t, uint32_t lane, Record r) const;
  /// Up to where an agent's accesses are ordered before all lanes of the warp.
  uint32_t epoch_before(const Warp& w, const WarpTime& t, uint32_t agent) const;
  bool ordered_for_all(const Warp& w, const WarpTime& t, Record r) const;
  Record* plane(uint32_t agent);
  void check_write(const Warp& w, const WarpTime& t, uint32_t observed, uint32_t lane, uint64_t first, uint64_t count,
                   bool strong);
  void check_read(const Warp& w, const WarpTime& t, uint32_t observed, uint32_t lane, uint64_t first, uint64_t count,
                  bool strong, Record mine, Record* reads);
  bool settled(const Warp& w, const WarpTime& t, const Record* records, const Access& a, uint32_t shift, uint32_t each,
               bool may_be_empty) const;
  bool settled_write(const Warp& w, const WarpTime& t, const Access& a, uint32_t bytes, uint32_t each) const;
  void mark(Record* records, const Access& a, uint32_t shift, uint32_t each, Record mine) const;
  void overlapping(const Warp& w, uint32_t observed, const Record* records, const Access& a, uint32_t shift,
                   uint64_t base, Space space);
  bool global_together(const Warp& w, const WarpTime& t, uint32_t observed, const Access& a, Record mine);
  bool find_allocation(uint64_t address);
  void same_place(const Warp& w, uint32_t observed, const Access& a);
  void synchronize(const Warp& w, WarpTime& t, const Observed& o, const Access& a);
  void race(const Warp& w, uint32_t lane, uint32_t observed, Record other, bool other_writes, bool writes,
            uint64_t address, Space space = Space::shared);
  void unwritten(const Warp& w, uint32_t lane, uint32_t observed, uint64_t address, Space space = Space::shared);
  GlobalPage& global_page(uint64_t number);
  void report(FindingKind kind, const Warp& w, uint32_t lane, uint32_t observed, uint32_t other,
              const std::string& what);

  static constexpr Record nothing_known = ~Record{0};

  BlockState& block_;
  const ObservingLoops& loops_;
  const Observed* observed_;
  Record known_ = nothing_known; ///< agent and epoch that the access at hand has found to be ordered
  uint64_t index_ = 0;
  uint32_t warps_ = 0, shift_ = 2; ///< a granule has 1 << shift_ bytes
  uint64_t granules_ = 0;
  uint32_t line_shift_ = 0; ///< granule -> line of 128 bytes
  std::vector<WarpTime> times_;
  Plane writes_;
  std::vector<Plane> reads_;      ///< by warp
  std::vector<uint32_t> readers_; ///< by line: warps that have read since it was last written as a whole
  std::vector<Clock> barriers_;
  std::unordered_map<uint64_t, Clock> addresses_; ///< of strong accesses

  uint32_t global_shift_ = 2;
  GlobalTouches touches_;
  struct PageOf {
    uint64_t number = 0;
    GlobalPage* page = nullptr;
  };
  std::array<PageOf, 16> last_pages_; ///< by the lowest bits of their numbers
  struct Allocation {
    uint64_t begin = 0, end = 0;
    bool written = false; ///< the kernel may write it
    bool whole = false;   ///< all of it has values
  };
  Allocation allocation_; ///< the last that was looked at
  bool fenced_ = false;   ///< some thread of the block has executed a fence
};

} // namespace tilejit::runtime::simulator
