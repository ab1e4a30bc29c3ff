// sanitize.cpp - see sanitize.h: clocks, records of shared memory.
#include "runtime/simulator/sanitize.h"

#include "runtime/simulator/cluster.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace tilejit::runtime::simulator {

Sanitizer::Sanitizer(BlockState& block)
    : block_(block), observed_(block.launch->program->observed.data()),
      warps_(static_cast<uint32_t>(block.warps.size())), shift_(block.launch->program->shared_granule),
      writes_(block.launch->shared_bytes, shift_), global_shift_(block.launch->program->global_granule) {
  times_.resize(warps_);
  barriers_.resize(16);
  readers_.resize(block.launch->shared_bytes / line_bytes + 1);
  bulk_.resize(warps_);
  products_.resize((warps_ + 3) / 4);
  shadow_.writes = writes_;
  shadow_.readers = readers_.data();
}

void Sanitizer::begin(uint64_t linear_index) {
  index_ = linear_index;
  for (uint32_t i = 0; i < warps_; ++i) {
    WarpTime& t = times_[i];
    static_cast<Shadow&>(t) = {.agent = block_.rank * warps_ + i, .before = t.now.before.epochs(), .block = &shadow_};
    t.now.clear();
    t.fenced.clear();
    t.all_sync = 0;
    std::fill(std::begin(t.sync), std::end(t.sync), 0u);
    t.parts.reset();
    block_.warps[i].shadow = &t;
  }
  for (Moment& m : barriers_) m.clear();
  addresses_.clear();
  for (auto& of_kind : queues_) of_kind.assign(warps_, none);
  mbarriers_.clear();
  for (auto& operations : bulk_) operations.clear();
  bulk_issued_.assign(warps_, 0);
  bulk_lanes_.assign(warps_, 0);
  last_store_ = {};
  for (auto& products : products_) products.clear();
  product_issues_.assign(warps_, {});
  std::fill(std::begin(shadow_.pages), std::end(shadow_.pages), BlockShadow::Page{});
  shadow_.begin = shadow_.end = 0;
  writes_.clear();
  for (uint32_t i = 0; i < used_readers_; ++i) reads_[i].clear();
  used_readers_ = 0;
  reader_of_.clear();
  own_readers_ = 0;
  std::fill(readers_.begin(), readers_.end(), 0u);
}

uint32_t Sanitizer::agent(const Warp& w) const { return w.block->rank * warps_ + w.index; }
Sanitizer::WarpTime& Sanitizer::time_of(const Warp& w) { return w.block->sanitizer->times_[w.index]; }

/// The agent of something that a warp of this block has.
uint32_t Sanitizer::queue(Agent::Kind kind, const Warp& w) {
  bool of_group = kind == Agent::Kind::products;
  uint32_t index = of_group ? w.index / 4 : w.index;
  uint32_t& number = queues_[static_cast<size_t>(kind)][index];
  if (number == none) {
    number = block_.cluster->agents.number(kind, block_.rank, index);
    block_.cluster->agents[number].warp = of_group ? 4 * index : index;
  }
  return number;
}

/// The place of an agent among those that read this memory. The last place is shared by all that come too late.
uint32_t Sanitizer::reader(uint32_t agent) {
  constexpr uint32_t most = BlockShadow::most_readers;
  if (agent >= reader_of_.size()) reader_of_.resize(agent + 1, none);
  uint32_t& reader = reader_of_[agent];
  if (reader == none) {
    reader = std::min(used_readers_, most - 1);
    used_readers_ = reader + 1;
    if (reader == reads_.size()) reads_.emplace_back(block_.launch->shared_bytes, shift_);
    shadow_.reads[reader] = reads_[reader];
    if (agent / warps_ == block_.rank) {
      times_[agent % warps_].reader = reader;
      if (reader < most - 1) own_readers_ |= uint64_t{1} << reader;
    }
  }
  return reader;
}

// --- time ------------------------------------------------------------------------------------------------------------

/// What the warp's own accesses are for somebody that the lanes of `mask` release to.
void Sanitizer::give(Clock& clock, const Warp& w, uint32_t mask) {
  WarpTime& t = time_of(w);
  const uint32_t epoch = t.close();
  if ((w.live & ~mask) == 0) return clock.raise(agent(w), epoch);
  uint32_t before = 0;
  for (uint32_t m = mask; m; m &= m - 1) before = std::max(before, t.sync_of(std::countr_zero(m)));
  clock.raise(agent(w), before);
  for (uint32_t other = 0; t.parts && other < 32; ++other) {
    uint32_t after = 0;
    for (uint32_t m = mask; m; m &= m - 1) after = std::max(after, t.parts->after[std::countr_zero(m)][other]);
    clock.raise(agent(w), other, after);
  }
  for (uint32_t m = mask; m; m &= m - 1) clock.raise(agent(w), static_cast<uint32_t>(std::countr_zero(m)), epoch);
}
void Sanitizer::release(Moment& moment, const Warp& w, uint32_t mask) {
  time_of(w).entered = 0;
  moment.join(time_of(w).now);
  give(moment.before, w, mask);
}
void Sanitizer::acquire(const Moment& moment, const Warp& w, uint32_t mask) {
  WarpTime& t = time_of(w);
  t.now.join(moment);
  t.fenced.join(moment); // a barrier is a fence for the block
  order(w, mask, moment.before.epoch(agent(w)));
}

/// The lanes of `mask` come after what their warp did up to `epoch`.
void Sanitizer::order(const Warp& w, uint32_t mask, uint32_t epoch) {
  WarpTime& t = time_of(w);
  if (mask == ~0u) {
    if (t.least_sync < epoch) t.least_sync = t.all_sync = epoch;
    return;
  }
  t.least_sync = ~0u;
  for (uint32_t m = w.live; m; m &= m - 1) {
    const int lane = std::countr_zero(m);
    if (mask >> lane & 1) t.sync[lane] = std::max(t.sync[lane], epoch);
    t.least_sync = std::min(t.least_sync, t.sync_of(lane));
  }
}

void Sanitizer::lanes_ordered(const Warp& w, uint32_t mask) {
  WarpTime& t = time_of(w);
  const uint32_t epoch = t.close();
  if (w.live & ~mask) return part_ordered(w, mask, epoch);
  t.parts.reset();
  order(w, mask, epoch);
}
/// The lanes of `mask` come after what each of them did up to `epoch`, and after all that any of them came after.
void Sanitizer::part_ordered(const Warp& w, uint32_t mask, uint32_t epoch) {
  WarpTime& t = time_of(w);
  if (!t.parts) t.parts = std::make_unique<WarpTime::Parts>();
  WarpTime::Parts& p = *t.parts;
  bool is_new = false;
  for (uint32_t m = mask; m; m &= m - 1) {
    const int lane = std::countr_zero(m);
    is_new = is_new || p.part[lane] != mask || p.after[lane][lane] != epoch;
  }
  if (!is_new) return;
  uint32_t together[32]{}, all = 0;
  for (uint32_t m = mask; m; m &= m - 1) {
    const int lane = std::countr_zero(m);
    all = std::max(all, t.sync_of(lane));
    for (int other = 0; other < 32; ++other) together[other] = std::max(together[other], p.after[lane][other]);
  }
  for (uint32_t m = mask; m; m &= m - 1) together[std::countr_zero(m)] = epoch;
  for (uint32_t m = mask; m; m &= m - 1) {
    const int lane = std::countr_zero(m);
    std::copy(std::begin(together), std::end(together), p.after[lane]);
    p.part[lane] = mask;
  }
  order(w, mask, all);
}

void Sanitizer::completed(uint32_t barrier, bool all) {
  barriers_[barrier].clear();
  if (all) // not copies and products, nor other blocks of the cluster
    for (uint64_t& readers : readers_) readers &= ~own_readers_;
}

void Sanitizer::fence(const Warp& w, uint32_t mask, bool wide) {
  WarpTime& t = time_of(w);
  release(t.fenced, w, mask);
  if (!wide || !block_.launch->global->grid()) return;
  t.now.published.join(t.now.before);
  give(t.now.published, w, mask);
}
void Sanitizer::proxy_fence(const Warp& w, uint32_t mask) {
  WarpTime& t = time_of(w);
  t.now.proxied.join(t.now.before);
  give(t.now.proxied, w, mask);
}

void Sanitizer::map_fence(const Warp& w, uint32_t mask, bool releases) {
  Moment& now = time_of(w).now;
  if (releases) {
    now.offered.join(now.before);
    give(now.offered, w, mask);
  } else {
    now.mapped.join(now.offered);
    now.mapped.releases.join(now.before.releases); // those that had offered something
  }
}

void Sanitizer::arrive_at(Moment& moment, const Warp& w, uint32_t mask, bool releases) {
  if (releases)
    release(moment, w, mask);
  else
    moment.join(time_of(w).fenced);
  time_of(w).entered = 0;
}

/// Strong accesses order through the memory they touch: who writes after a fence, or releases, gives its clock away;
/// who reads takes it. A store begins anew what stands at its address, an atomic operation adds to it.
void Sanitizer::synchronize(const Warp& w, const Observed& o, const Access& a, MomentsByAddress& addresses) {
  WarpTime& t = time_of(w);
  const bool writes = o.writes();
  if (writes) t.entered = 0;
  std::shared_ptr<const Moment> given, acquired, before, after; // lanes share them, mostly
  if (writes) {
    auto moment = std::make_shared<Moment>(t.fenced);
    if (o.release) release(*moment, w, a.mask);
    given = std::move(moment);
  }
  for (uint32_t m = a.mask; m; m &= m - 1) {
    std::shared_ptr<const Moment>& at = addresses[a.at[std::countr_zero(m)]];
    if (acquires(o) && at && at != acquired) {
      acquired = at;
      t.now.join(*at);
    }
    if (!writes) continue;
    if (!at || o.kind == Observed::Kind::write) {
      at = given;
    } else if (at != given) {
      if (at != before) {
        before = at;
        auto both = std::make_shared<Moment>(*at);
        both->join(*given);
        after = std::move(both);
      }
      at = after;
    }
  }
}

// --- records ---------------------------------------------------------------------------------------------------------

bool Sanitizer::ordered(const Warp& w, const WarpTime& t, uint32_t lane, Record r) const {
  if (agent_of(r) == agent(w))
    return lane_of(r) == lane || epoch_of(r) <= t.sync_of(lane) ||
           (t.parts && epoch_of(r) <= t.parts->after[lane][lane_of(r)]) ||
           t.now.before.covers_lane(agent(w), epoch_of(r), lane_of(r));
  return t.now.before.covers(agent_of(r), epoch_of(r), lane_of(r));
}
/// For whichever lane asks, and whichever lane left a record of this agent and epoch.
bool Sanitizer::ordered_for_all(const Warp& w, const WarpTime& t, Record r) const {
  return epoch_of(r) <= epoch_before(w, t, agent_of(r));
}
uint32_t Sanitizer::epoch_before(const Warp& w, const WarpTime& t, uint32_t agent) const {
  return agent == this->agent(w) ? t.least_sync : t.now.before.epoch(agent);
}

Sanitizer::Offsets::Offsets(const Access& a, uint32_t bytes, uint64_t base)
    : mask(a.mask), bytes(bytes), contiguous(a.contiguous && a.at[0] % 16 == 0) {
  if (bytes >= ObservingLoops::least_bytes && bytes <= ObservingLoops::most_bytes) {
    together = a.mask == ~0u ? 32 : a.mask == 0xffff ? 16 : a.mask == 0xff ? 8 : 0;
    loops = &observing_loops().records[std::countr_zero(bytes / ObservingLoops::least_bytes)];
  }
  const uint32_t lanes = together ? together - 1 : 31; // the loops look at 32: the others are like the first
  for (uint32_t i = 0; i < 32; ++i) at[i] = static_cast<uint32_t>(a.at[i & lanes] - base);
}
void Sanitizer::check_write(const Warp& w, const WarpTime& t, uint32_t observed, uint32_t lane, uint64_t first,
                            uint64_t count, bool strong) {
  const Record own = record(agent(w), 0, 0, false) | lane;
  auto check = [&](const Plane& records, bool written) {
    for (uint64_t g = first; g < first + count; ++g) {
      Record r = records.at(g);
      if (r == 0 || r >> agent_first == known_ || ((r ^ own) & whose) == 0) continue;
      if (ordered_for_all(w, t, r))
        known_ = r >> agent_first; // of this agent and epoch none needs a second look
      else if (!ordered(w, t, lane, r) && !(strong && r >> strong_bit & 1)) {
        const uint8_t* there = block_.shared.get() + (g << shift_);
        conflict(w, lane, observed, How::write, r, written, g << shift_, Space::shared, false,
                 written && stores(w, observed, lane, (g - first) << shift_, there, shift_));
      }
    }
  };
  check(writes_, true);
  for (uint64_t m = readers_of(first << shift_); m; m &= m - 1) check(reads_[std::countr_zero(m)], false);
}

void Sanitizer::check_read(const Warp& w, const WarpTime& t, uint32_t observed, uint32_t lane, uint64_t first,
                           uint64_t count, bool strong, Record mine, uint32_t reader) {
  const Record own = mine | lane;
  for (uint64_t g = first; g < first + count; ++g) {
    Record r = writes_.at(g);
    if (r >> agent_first == known_ || (r != 0 && ((r ^ own) & whose) == 0)) continue;
    if (r == 0)
      unwritten(w, lane, observed, g << shift_);
    else if (ordered_for_all(w, t, r))
      known_ = r >> agent_first;
    else if (!ordered(w, t, lane, r) && !(strong && r >> strong_bit & 1))
      conflict(w, lane, observed, How::read, r, true, g << shift_, Space::shared);
  }
  reads_[reader].put(first, count, own);
  readers_of(first << shift_) |= uint64_t{1} << reader;
}

/// Whether a write meets nothing that is not ordered before it; false: it takes a look at each lane to say.
bool Sanitizer::settled_write(const WarpTime& t, const Offsets& a, Record mine) const {
  auto fine = [&](const Plane& p) { return a.settled(p, t, mine, true); };
  if (!fine(writes_)) return false;
  uint64_t readers = 0;
  for (uint32_t i = 0; i < a.together; ++i) readers |= readers_of(a.at[i]);
  for (uint64_t m = readers; m; m &= m - 1)
    if (!fine(reads_[std::countr_zero(m)])) return false;
  return true;
}
bool Sanitizer::Offsets::settled(const Plane& p, const Shadow& s, Record mine, bool may_be_empty) const {
  return together && loops->settled(p, at, s, mine & ~width_mask, may_be_empty);
}
/// Leaves `mine` with the number of each lane in the records of the access.
void Sanitizer::Offsets::mark(Plane& p, Record mine) const {
  if (together && contiguous) return loops->mark_row(p, at[0], mine & ~width_mask);
  if (together) return loops->mark(p, at, together, mine & ~width_mask);
  for (uint32_t m = mask; m; m &= m - 1) {
    auto lane = static_cast<uint32_t>(std::countr_zero(m));
    p.put(at[lane] >> p.shift, std::max(1u, bytes >> p.shift), mine | lane);
  }
}

/// Lanes of one access that have written the same bytes, which began at `base` + their offsets.
void Sanitizer::overlapping(const Warp& w, uint32_t observed, const Plane& p, const Offsets& a, uint64_t base,
                            Space space) {
  for (uint32_t m = a.mask; m; m &= m - 1) {
    auto lane = static_cast<uint32_t>(std::countr_zero(m));
    Record r = p.at(a.at[lane] >> p.shift);
    if (lane_of(r) != lane && !(a.at[lane_of(r)] == a.at[lane] && agree(w, observed, lane, lane_of(r))))
      conflict(w, lane_of(r), observed, How::write, (r & ~Record{31}) | lane, true, base + a.at[lane], space);
  }
}

/// What is about to be stored at a lane's address; not known of what is no `st` or `stmatrix`.
Sanitizer::Stored Sanitizer::stored(const Warp& w, uint32_t observed, uint32_t lane) const {
  const Observed& o = observed_[observed];
  Stored value;
  const auto* rows = reinterpret_cast<const uint32_t*>(&block_.launch->program->code[o.insn + 1]);
  if (o.kind == Observed::Kind::write) {
    const uint32_t width = o.bytes / o.elements, step = width == 8 ? 8 : 4;
    for (uint32_t e = 0; e < o.elements; ++e)
      std::memcpy(value.bytes.data() + e * width, w.file + rows[e] + step * lane, width);
  } else if (o.kind == Observed::Kind::matrix_write)  // row lane % 8 of matrix lane / 8: elements 2 l, 2 l + 1 of a row
    for (uint32_t column = 0; column < 8; ++column) { // (transposed: of a column) lie in the l-th of its four lanes
      const uint32_t r = o.transposed ? column : lane % 8, c = o.transposed ? lane % 8 : column;
      std::memcpy(&value.bytes[2 * column], w.file + rows[lane / 8] + 4 * (4 * r + c / 2) + c % 2 * 2, 2);
    }
  else
    return value;
  value.count = o.bytes;
  return value;
}
/// Whether two lanes of one store have the same value.
bool Sanitizer::agree(const Warp& w, uint32_t observed, uint32_t lane, uint32_t other) const {
  const Stored one = stored(w, observed, lane), two = stored(w, observed, other);
  return one.count && std::equal(one.begin(), one.end(), two.begin());
}
/// Whether it stores what is there already, in the granule `offset` bytes into its access.
bool Sanitizer::stores(const Warp& w, uint32_t observed, uint32_t lane, uint64_t offset, const uint8_t* there,
                       uint32_t shift) const {
  const Stored value = stored(w, observed, lane);
  return value.count && std::memcmp(value.begin() + offset, there, uint64_t{1} << shift) == 0;
}

/// Two lanes of one store at one place: which of them wins is not defined, unless they agree.
void Sanitizer::same_place(const Warp& w, uint32_t observed, const Access& a) {
  const Observed::Kind kind = observed_[observed].kind;
  if (kind != Observed::Kind::write && kind != Observed::Kind::matrix_write) return;
  for (uint32_t m = a.mask; m; m &= m - 1) {
    auto lane = static_cast<uint32_t>(std::countr_zero(m));
    Record r = writes_.at(a.at[lane] >> shift_);
    uint32_t other = lane_of(r);
    if (other == lane || a.at[other] != a.at[lane]) continue; // the one that was recorded last
    if (!agree(w, observed, lane, other))
      report(FindingKind::shared_race, w, lane, observed, observed,
             " and thread " + tuple(thread_of(w, other)) + " write different values to shared memory at " +
                 std::to_string(a.at[lane]) + " in one instruction: which one stays is not defined");
  }
}

void Sanitizer::shared(const Warp& w, uint32_t observed, const Access& a) {
  const Observed& o = observed_[observed];
  WarpTime& t = time_of(w);
  known_ = nothing_known;
  if (o.strong) synchronize(w, o, a, addresses_);
  t.touched = true;
  const Record mine = record(agent(w), t.epoch, observed, o.strong);
  const uint64_t count = o.bytes >> shift_;
  const Offsets offsets(a, o.bytes);
  if (!o.writes()) {
    const uint32_t own = reader(agent(w));
    if (offsets.settled(writes_, t, mine, false)) {
      offsets.mark(reads_[own], mine);
      const uint64_t bit = uint64_t{1} << own;
      for (uint32_t i = 0; i < offsets.together; ++i)
        if (uint64_t& readers = readers_of(offsets.at[i]); !(readers & bit)) readers |= bit;
      return;
    }
    for (uint32_t m = a.mask; m; m &= m - 1) {
      auto lane = static_cast<uint32_t>(std::countr_zero(m));
      check_read(w, t, observed, lane, a.at[lane] >> shift_, count, o.strong, mine, own);
    }
    return;
  }
  if (!settled_write(t, offsets, mine))
    for (uint32_t m = a.mask; m; m &= m - 1) {
      auto lane = static_cast<uint32_t>(std::countr_zero(m));
      check_write(w, t, observed, lane, a.at[lane] >> shift_, count, o.strong);
    }
  offsets.mark(writes_, mine);
  if (!a.contiguous) return same_place(w, observed, a);
  const uint64_t first = a.at[0], last = a.at[31] + o.bytes;
  if (first % line_bytes == 0 && last % line_bytes == 0) // whole lines: their readers are done with
    for (uint64_t at = first; at < last; at += line_bytes) readers_of(at) = 0;
}

// --- copies ----------------------------------------------------------------------------------------------------------

void Sanitizer::copy(const Warp& w, uint32_t observed, const Access& to, uint32_t number) {
  const WarpTime& t = time_of(w);
  known_ = nothing_known;
  const uint32_t bytes = observed_[observed].bytes;
  const uint64_t count = bytes >> shift_;
  const Record mine = record(queue(Agent::Kind::copies, w), number, observed, false);
  const Offsets offsets(to, bytes);
  if (settled_write(t, offsets, record(agent(w), 0, 0, false))) {
    offsets.mark(writes_, mine);
    if (!to.contiguous) overlapping(w, observed, writes_, offsets, 0, Space::shared);
    return;
  }
  for (uint32_t m = to.mask; m; m &= m - 1) {
    auto lane = static_cast<uint32_t>(std::countr_zero(m));
    uint64_t first = to.at[lane] >> shift_;
    check_write(w, t, observed, lane, first, count, false);
    writes_.put(first, count, mine | lane);
  }
}
void Sanitizer::copies_done(const Warp& w, uint32_t number) {
  if (number) time_of(w).now.before.raise(queue(Agent::Kind::copies, w), number);
}

void Sanitizer::end() {
  for (const Warp& w : block_.warps)
    for (const AsyncCopy& copy : w.async->copies)
      report(FindingKind::async_hazard, w, static_cast<uint32_t>(std::countr_zero(copy.mask)), copy.observed, none,
             " copies to shared memory, and nothing waits for the copy before the block ends");
  for (size_t first = 0; first + 4 <= warps_; first += 4) // what one warp has waited for is done for all four
    for (const ProductIssues::Issue& i : product_issues_[first].waiting) {
      auto waits = [&](const ProductIssues& of_warp) {
        return std::ranges::any_of(of_warp.waiting, [&](const auto& other) { return other.number == i.number; });
      };
      if (std::all_of(product_issues_.begin() + static_cast<std::ptrdiff_t>(first) + 1,
                      product_issues_.begin() + static_cast<std::ptrdiff_t>(first) + 4, waits))
        report(FindingKind::async_hazard, block_.warps[first], 0, observed_at(&block_.launch->program->code[i.insn]),
               none, " issues a product, and nothing waits for it before the block ends");
    }
}

// --- findings --------------------------------------------------------------------------------------------------------

namespace {

std::string place_text(Space space, uint64_t address) {
  return space == Space::global ? " global memory at " + hexadecimal(address)
                                : " shared memory at " + std::to_string(address);
}
const char* wait_for(Agent::Kind kind) {
  switch (kind) {
  case Agent::Kind::copies: return "cp.async.wait_group";
  case Agent::Kind::bulk_reads: return "cp.async.bulk.wait_group.read";
  case Agent::Kind::bulk_writes: return "cp.async.bulk.wait_group";
  case Agent::Kind::products: return "wgmma.wait_group";
  default: return "the mbarrier that it completes on";
  }
}

} // namespace

/// `other` is not ordered before this access; with `proxy` it is, but not for the asynchronous proxy. `agrees`: both
/// have written the same.
void Sanitizer::conflict(const Warp& w, uint32_t lane, uint32_t observed, How how, Record other, bool other_writes,
                         uint64_t address, Space space, bool proxy, bool agrees) {
  const Program& p = *block_.launch->program;
  const uint32_t number = agent_of(other), place = place_of(other);
  const bool is_object = number == Agents::most; // a live mbarrier
  const Agent who = is_object ? Agent{} : block_.cluster->agents[number];
  const bool is_async = !is_object && who.kind != Agent::Kind::warp;
  const FindingKind kind = is_object                ? FindingKind::barrier
                           : proxy                  ? FindingKind::proxy_race
                           : is_async               ? FindingKind::async_hazard
                           : space == Space::global ? FindingKind::global_race
                                                    : FindingKind::shared_race;
  agrees = agrees && (kind == FindingKind::shared_race || kind == FindingKind::global_race);
  if (!w.block->found.is_new({kind, observed_[observed].insn, observed_[place].insn}, agrees)) return;
  const Meta& meta = p.meta[p.observed[place].insn];
  std::string line =
      " at PTX line " + std::to_string(meta.line) + " '" + std::string(p.module->source_line(meta.line)) + "'";
  if (std::string source = p.module->describe(meta.location); !source.empty()) line += ", " + source;
  std::string text = how == How::read          ? " reads"
                     : how == How::write       ? " writes"
                     : how == How::async_read  ? " starts an operation that reads"
                     : how == How::map_read    ? " starts a copy whose tensor map lies in"
                     : how == How::async_write ? " starts an operation that writes"
                                               : " uses an mbarrier in";
  text += place_text(space, address);
  if (is_object) {
    text += ", where an mbarrier is that has been initialised" + line +
            ": until mbarrier.inval only mbarrier instructions may touch it";
  } else if (is_async && !proxy) {
    text += std::string(" that an operation started") + line + (other_writes ? " may still write" : " may still read") +
            ": wait for it first (" + wait_for(who.kind) + "), and let a barrier tell the other threads";
  } else {
    const BlockState& block = *block_.cluster->blocks[who.rank];
    text += " that thread " + tuple(thread_of(block.warps[who.index], lane_of(other)));
    if (&block != w.block) text += " of block " + tuple(block.index);
    text += (other_writes ? " has written" : " has read") + line;
    text += !proxy ? ": nothing orders the two (a barrier between them would)"
            : how == How::map_read
                ? ": it is ordered before, but not for tensor maps: a release and then an acquire of "
                  "fence.proxy.tensormap::generic are missing between"
                : ": it is ordered before, but not for the asynchronous proxy: fence.proxy.async is missing between";
    if (agrees) text += same_values;
  }
  report(kind, w, lane, observed, place, text, agrees);
}

void Sanitizer::unwritten(const Warp& w, uint32_t lane, uint32_t observed, uint64_t address, Space space) {
  const Observed& o = observed_[observed];
  if (!w.block->found.is_new({FindingKind::uninitialised, o.insn, none})) return;
  // A vector begins at a multiple of its size.
  if (o.dropped && o.dropped >> (address % o.bytes / (o.bytes / o.elements)) & 1) return;
  report(FindingKind::uninitialised, w, lane, observed, none,
         " reads" + place_text(space, address) +
             (space == Space::global ? " that has never been written" : " that nothing in its block has written"));
}

void Sanitizer::entered(const Warp& w, uint32_t observed, uint32_t lane) {
  if (block_.rank >= 32) return;
  if (!block_.has_begun)
    report(FindingKind::barrier, w, lane, observed, none,
           " accesses shared memory of block " + std::to_string(block_.rank) +
               " of the cluster, which may not have begun: both must have met at barrier.cluster first");
  WarpTime& t = time_of(w);
  t.entered |= 1u << block_.rank;
  t.entered_at[block_.rank] = {observed, lane};
}

void Sanitizer::block_ended() {
  for (const auto& other : block_.cluster->blocks)
    for (const Warp& w : other->warps)
      if (WarpTime& t = time_of(w); &*other != &block_ && block_.rank < 32 && t.entered >> block_.rank & 1) {
        const auto [observed, lane] = t.entered_at[block_.rank];
        report(FindingKind::barrier, w, lane, observed, none,
               " accesses shared memory of block " + std::to_string(block_.rank) +
                   " of the cluster, which may have ended: that block must wait for this at barrier.cluster before it "
                   "ends");
      }
}

void Sanitizer::not_named(const Warp& w, uint32_t lanes, uint32_t observed, uint32_t members) {
  char mask[16];
  std::snprintf(mask, sizeof mask, "0x%x", members);
  report(FindingKind::barrier, w, static_cast<uint32_t>(std::countr_zero(lanes)), observed, none,
         std::string(" executes it, but its member mask ") + mask + " does not name that lane");
}

void Sanitizer::undefined(const Warp& w, uint32_t lanes, uint32_t observed, std::string_view name) {
  report(FindingKind::uninitialised, w, static_cast<uint32_t>(std::countr_zero(lanes)), observed, none,
         " uses register " + std::string(name) + ", to which nothing has given a value on the way here");
}

void Sanitizer::report(FindingKind kind, const Warp& w, uint32_t lane, uint32_t observed, uint32_t other,
                       const std::string& what, bool mild) {
  const Program& p = *block_.launch->program;
  uint32_t place = p.observed[observed].insn, other_place = other == none ? none : p.observed[other].insn;
  FindingLog::Key key{kind, place, other_place};
  if (!w.block->found.is_new(key, mild)) return;
  Finding f = finding_at(w, &p.code[place], lane, kind, what);
  if (other != none) {
    f.other_ptx_line = p.meta[other_place].line;
    f.other_source = p.module->describe(p.meta[other_place].location);
  }
  w.block->found.add(key, w.block->order, std::move(f), mild);
}

} // namespace tilejit::runtime::simulator
