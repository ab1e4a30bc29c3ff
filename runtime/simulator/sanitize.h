// sanitize.h - finds races, uninitialised reads and misused asynchronous operations while a block runs.
//
// Every access to shared memory leaves a record of who made it and when (records.h). An access that is not ordered
// after the record it meets is a race. There is one plane of records for the last write of each granule, and one for
// the last reads of each agent, made when it first reads.
//
// Asynchronous operations leave the records of what they will access when they are issued, under an agent and epoch
// that only a wait for their completion orders: whoever comes too early meets them as it would meet another thread's.
//
// What most accesses of most kernels are, a whole warp's that meets nothing it is not ordered after, exec_observe.cpp
// sees to by itself, with what it finds in Shadow and BlockShadow. All others come here.
#pragma once
#include "runtime/simulator/clocks.h"
#include "runtime/simulator/findings.h"
#include "runtime/simulator/observe.h"
#include "runtime/simulator/sanitize_global.h"

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <string_view>
#include <unordered_map>

namespace tilejit::runtime::simulator {

struct BlockState;
struct Token; // async.h

class Sanitizer {
public:
  explicit Sanitizer(BlockState& block);
  void begin(uint64_t linear_index); ///< after all blocks of the cluster have their Agents
  void end();                        ///< all threads of the cluster have ended
  void block_ended();                ///< all threads of this block have: nobody may still access its shared memory

  /// The memory is this block's, the warp may be one of another block of the cluster.
  void shared(const Warp& w, uint32_t observed, const Access& a);
  void global(const Warp& w, uint32_t observed, const Access& a);
  /// The warp, of another block, accesses this block's shared memory.
  void entered(const Warp& w, uint32_t observed, uint32_t lane);
  /// cp.async: `number` counts the copies of the warp.
  void copy(const Warp& w, uint32_t observed, const Access& to, uint32_t number);
  /// The copies of a warp up to `number` have been waited for.
  void copies_done(const Warp& w, uint32_t number);

  // Order among threads.
  void lanes_ordered(const Warp& w, uint32_t mask);    ///< after each other
  void fence(const Warp& w, uint32_t mask, bool wide); ///< `wide`: for all blocks of the GPU
  void proxy_fence(const Warp& w, uint32_t mask);
  void map_fence(const Warp& w, uint32_t mask, bool releases); ///< fence.proxy.tensormap
  void arrive(const Warp& w, uint32_t mask, uint32_t barrier) { release(barriers_[barrier], w, mask); }
  void leave(const Warp& w, uint32_t mask, uint32_t barrier) { acquire(barriers_[barrier], w, mask); }
  /// `all`: all threads of the block were at it; what they have read is ordered before everything to come.
  void completed(uint32_t barrier, bool all);
  /// barrier.cluster, and all that is like it: without `releases` only what has been fenced before is given away.
  void arrive_at(Moment& moment, const Warp& w, uint32_t mask, bool releases);
  void leave_from(const Moment& moment, const Warp& w, uint32_t mask) { acquire(moment, w, mask); }

  /// Lanes execute an operation of the warp that does not name them.
  void not_named(const Warp& w, uint32_t lanes, uint32_t observed, uint32_t members);
  /// Lanes use a register to which nothing has given a value.
  void undefined(const Warp& w, uint32_t lanes, uint32_t observed, std::string_view name);
  /// The lanes of `mask` come to an instruction that has something to do with registers of a wgmma.
  void registers(const Warp& w, uint32_t mask, const RegisterEvent& event);

  // mbarriers (sanitize_async.cpp); `address` is in this block's shared memory.
  void mbarrier_init(const Warp& w, const Insn* ip, uint32_t lane, uint32_t address);
  void mbarrier_inval(const Warp& w, const Insn* ip, uint32_t lane, uint32_t address);
  void mbarrier_arrive(const Warp& w, const Insn* ip, uint32_t mask, uint32_t address, bool releases);
  void mbarrier_completed(uint32_t address); ///< a phase of it
  void mbarrier_left(const Warp& w, const Insn* ip, uint32_t mask, uint32_t address);

  /// A lane reads or writes all of a tensor map, at a generic address, by the generic proxy.
  void map_touched(const Warp& w, const Insn* ip, uint32_t lane, uint64_t address, bool writes);

  // Asynchronous operations of this block's warps.
  void issued(Token& token);
  void completed(const Token& token);
  void bulk_committed(const Warp& w, uint32_t mask);
  /// All but the last `pending` groups of the lanes are done, or with `reads` have read their sources.
  void bulk_left(const Warp& w, uint32_t mask, uint32_t pending, bool reads);
  /// wgmma: product `number` of the warpgroup, counted from 1, and the chunks of 16 bytes that the warp's part reads.
  /// All four warps have the chunks of B; they are only needed of the first that issues it.
  void product_issued(const Warp& w, const Insn* ip, uint64_t number, std::span<const uint32_t> a,
                      std::span<const uint32_t> b);
  void products_committed(const Warp& w);
  void products_left(const Warp& w, uint32_t pending); ///< all but the last `pending` groups are done

  static constexpr Record whose = agent_mask | 31; ///< agent and lane
  static uint32_t lane_of(Record r) { return static_cast<uint32_t>(r) & 31; }
  static uint32_t place_of(Record r) { return static_cast<uint32_t>(r >> place_first) & ((1u << place_bits) - 1); }
  static uint32_t agent_of(Record r) { return static_cast<uint32_t>(r >> agent_first) & ((1u << agent_bits) - 1); }
  static uint32_t epoch_of(Record r) { return static_cast<uint32_t>(r >> epoch_first); }
  /// Of lane 0.
  static Record record(uint32_t agent, uint32_t epoch, uint32_t place, bool strong) {
    return Record{epoch} << epoch_first | Record{agent} << agent_first | Record{place} << place_first | one_lane |
           (strong ? 1u << strong_bit : 0u);
  }

private:
  struct WarpTime : Shadow {
    Moment now, fenced;                ///< fenced: what is ordered before the warp's last fence
    uint32_t all_sync = 0, sync[32]{}; ///< up to where all lanes, and where each, are ordered after their warp
    uint32_t sync_of(uint32_t lane) const { return std::max(all_sync, sync[lane]); }
    /// Of a warp whose lanes have come together in parts.
    struct Parts {
      uint32_t after[32][32]{}; ///< by lane: up to where it is ordered after each of the others; itself: after its part
      uint32_t part[32]{};      ///< by lane: with whom it came together last
    };
    std::unique_ptr<Parts> parts; ///< null: they always were all
    /// Blocks of the cluster, by rank, whose shared memory the warp has accessed since it last told anyone anything by
    /// a barrier, a fence or a flag, and where it did.
    uint32_t entered = 0;
    std::array<std::pair<uint32_t, uint32_t>, 32> entered_at; ///< Program::observed, lane

    /// Ends the epoch; what follows is later than what is returned.
    uint32_t close() {
      if (!touched) return epoch - 1;
      touched = false;
      return epoch++;
    }
  };
  /// An access as the vector loops take it: offsets of its lanes in the memory of a plane.
  struct Offsets {
    uint32_t mask = 0, bytes = 0;
    bool contiguous = false; ///< all lanes, one behind the other, from a multiple of 16 on
    uint32_t together = 0;   ///< the loops take these first lanes at once; 0: they don't
    const RecordLoops* loops = nullptr;
    alignas(64) uint32_t at[32];

    Offsets(const Access& a, uint32_t bytes, uint64_t base = 0);
    /// Everything that it meets is ordered before it; false: it takes a look at each lane to say.
    bool settled(const Plane& p, const Shadow& s, Record mine, bool may_be_empty) const;
    void mark(Plane& p, Record mine) const;
  };
  /// An access of an asynchronous operation, on behalf of the thread that has issued it.
  struct AsyncAccess {
    const Warp& w;
    uint32_t lane = 0, place = 0; ///< place: Program::observed
    uint32_t agent = 0, epoch = 0;
    bool writes = false;
    bool generic = false; ///< it goes through the generic proxy
    bool strong = false;
    bool of_map = false; ///< a copy reads its tensor map
  };
  struct MbarrierTime {
    uint32_t agent = 0;
    uint32_t first_epoch = 0; ///< of phase 0: it goes on where an mbarrier at the same place has ended
    uint32_t phases = 0;      ///< completed
    Record init = 0;
    Moment arrived, done;
    std::vector<std::pair<uint64_t, uint32_t>> pending; ///< tokens and their epochs
    bool live = false;
  };
  struct BulkOperation {
    uint32_t number = 0, lane = 0, group = 0; ///< group 0: not committed
    bool read = false;                        ///< its source has been waited for
  };
  /// What a lane's store will leave; `count` 0: not known.
  struct Stored {
    std::array<uint8_t, 32> bytes;
    uint32_t count = 0;
    const uint8_t* begin() const { return bytes.data(); }
    const uint8_t* end() const { return bytes.data() + count; }
  };
  /// What the last bulk or tensor store of the block was.
  struct StoreIssue {
    const Insn* ip = nullptr;
    uint64_t id = 0, global = 0;
    uint32_t warp = 0, lane = 0, shared = 0;
    uint64_t map = 0; ///< the address of its tensor
    std::array<int32_t, 5> coordinates{};
  };
  /// wgmma of a warp that it has not waited for.
  struct ProductIssues {
    struct Issue {
      uint64_t number = 0;
      uint32_t insn = 0, group = 0; ///< group 0: not committed
    };
    std::vector<Issue> waiting;
    uint32_t groups = 0;
    struct Touch {
      uint32_t fences = 0; ///< when it was touched
      uint32_t place = none;
      uint32_t product = none; ///< that did it
    };
    uint32_t fences = 0;                    ///< wgmma.fence so far
    std::vector<Touch> touched, multiplied; ///< by watched register: by other instructions, by products
  };
  /// What a product of a warpgroup has met: one record of each agent and epoch.
  struct ProductReads {
    uint64_t number = 0;
    uint32_t issued = 0;                          ///< by how many warps
    std::vector<std::pair<Record, uint64_t>> met; ///< and its address
  };

  uint32_t agent(const Warp& w) const;
  static WarpTime& time_of(const Warp& w);
  uint32_t queue(Agent::Kind kind, const Warp& w);
  void give(Clock& clock, const Warp& w, uint32_t mask);
  void release(Moment& moment, const Warp& w, uint32_t mask);
  void acquire(const Moment& moment, const Warp& w, uint32_t mask);
  void order(const Warp& w, uint32_t mask, uint32_t epoch);
  void part_ordered(const Warp& w, uint32_t mask, uint32_t epoch);
  bool ordered(const Warp& w, const WarpTime& t, uint32_t lane, Record r) const;
  /// Up to where an agent's accesses are ordered before all lanes of the warp.
  uint32_t epoch_before(const Warp& w, const WarpTime& t, uint32_t agent) const;
  bool ordered_for_all(const Warp& w, const WarpTime& t, Record r) const;
  uint32_t reader(uint32_t agent);
  void check_write(const Warp& w, const WarpTime& t, uint32_t observed, uint32_t lane, uint64_t first, uint64_t count,
                   bool strong);
  void check_read(const Warp& w, const WarpTime& t, uint32_t observed, uint32_t lane, uint64_t first, uint64_t count,
                  bool strong, Record mine, uint32_t reader);
  bool settled_write(const WarpTime& t, const Offsets& a, Record mine) const;
  void overlapping(const Warp& w, uint32_t observed, const Plane& p, const Offsets& a, uint64_t base, Space space);
  bool global_together(const Warp& w, const WarpTime& t, uint32_t observed, const Access& a, Record mine);
  bool find_allocation(uint64_t address);
  void same_place(const Warp& w, uint32_t observed, const Access& a);
  Stored stored(const Warp& w, uint32_t observed, uint32_t lane) const;
  bool agree(const Warp& w, uint32_t observed, uint32_t lane, uint32_t other) const;
  bool stores(const Warp& w, uint32_t observed, uint32_t lane, uint64_t offset, const uint8_t* there,
              uint32_t shift) const;
  static bool acquires(const Observed& o) { return o.kind != Observed::Kind::write && !o.unseen; }
  void synchronize(const Warp& w, const Observed& o, const Access& a, MomentsByAddress& addresses);
  void global_grid(const Warp& w, uint32_t observed, const Access& a);
  GlobalPage& global_page(uint64_t number);
  void distinguish(GlobalPage& page, uint64_t number);

  // Asynchronous accesses.
  void check_async(const AsyncAccess& a, const Plane& records, bool written, uint64_t first, uint64_t count,
                   uint64_t base, Space space);
  void check_async_read(const AsyncAccess& a, uint64_t address, uint64_t bytes);
  bool stores_again(const Token& t);
  bool is_generic(Record r) const;
  void check_async(const AsyncAccess& a, Record other, bool other_writes, uint64_t address, Space space);
  void async_shared(const AsyncAccess& a, uint64_t address, uint64_t bytes);
  void async_global(const AsyncAccess& a, uint64_t address, uint64_t bytes);
  void async_map(AsyncAccess a, uint64_t address);
  MbarrierTime* used_mbarrier(const Warp& w, const Insn* ip, uint32_t lane, uint32_t address);
  uint32_t observed_at(const Insn* ip) const;
  bool known_for_async(const AsyncAccess& a, Record r);
  static const Clock& fenced(const AsyncAccess& a);

  // Findings.
  enum class How : uint8_t { read, write, async_read, async_write, map_read, use };
  void conflict(const Warp& w, uint32_t lane, uint32_t observed, How how, Record other, bool other_writes,
                uint64_t address, Space space, bool proxy = false, bool agrees = false);
  void unwritten(const Warp& w, uint32_t lane, uint32_t observed, uint64_t address, Space space = Space::shared);
  void report(FindingKind kind, const Warp& w, uint32_t lane, uint32_t observed, uint32_t other,
              const std::string& what, bool mild = false);

  static constexpr Record nothing_known = ~Record{0};

  BlockState& block_;
  const Observed* observed_;
  Record known_ = nothing_known; ///< agent and epoch that the access at hand has found to be ordered
  uint64_t index_ = 0;
  uint32_t warps_ = 0, shift_ = 2; ///< a granule has 1 << shift_ bytes
  std::vector<WarpTime> times_;
  BlockShadow shadow_;
  Plane writes_;
  std::vector<Plane> reads_; ///< by reader
  uint32_t used_readers_ = 0;
  std::vector<uint32_t> reader_of_; ///< by agent; none: it has not read
  uint64_t own_readers_ = 0;        ///< those of them that are this block's warps
  static constexpr uint64_t line_bytes = 128;
  std::vector<uint64_t> readers_; ///< by line: those that have read since it was last written as a whole
  uint64_t& readers_of(uint64_t address) { return readers_[address / line_bytes]; }
  uint64_t readers_of(uint64_t address) const { return readers_[address / line_bytes]; }
  std::vector<Moment> barriers_;
  MomentsByAddress addresses_; ///< of strong accesses

  std::array<std::vector<uint32_t>, 6> queues_;  ///< by Agent::Kind and warp: agents
  std::map<uint32_t, MbarrierTime> mbarriers_;   ///< by address
  std::vector<std::vector<BulkOperation>> bulk_; ///< by warp: what has not been waited for
  std::vector<uint32_t> bulk_issued_;            ///< by warp
  std::vector<uint32_t> bulk_lanes_;             ///< by warp: those that have issued any
  StoreIssue last_store_;
  std::vector<std::deque<ProductReads>> products_; ///< by warpgroup
  std::vector<ProductIssues> product_issues_;      ///< by warp
  std::vector<std::pair<Record, uint64_t>> met_;   ///< by the product that is being issued

  uint32_t global_shift_ = 2;
};

} // namespace tilejit::runtime::simulator
