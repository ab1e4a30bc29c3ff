// sanitize.cpp - see sanitize.h: clocks, records of shared memory.
#include "runtime/simulator/sanitize.h"

#include "runtime/simulator/block.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace tilejit::runtime::simulator {

Sanitizer::Sanitizer(BlockState& block)
    : block_(block), loops_(observing_loops()), observed_(block.launch->program->observed.data()),
      warps_(static_cast<uint32_t>(block.warps.size())) {
  shift_ = block.launch->program->shared_granule;
  global_shift_ = block.launch->program->global_granule;
  granules_ = (block.launch->shared_bytes + (1u << shift_) - 1) >> shift_;
  line_shift_ = 7 - shift_;
  times_.resize(warps_);
  Clock empty;
  empty.entries.resize(2 * warps_); // each warp, and its queue of copies
  for (WarpTime& t : times_) t.clock = t.fenced = empty;
  barriers_.assign(16, empty);
  reads_.resize(warps_);
  readers_.resize((granules_ >> line_shift_) + 1);
}

void Sanitizer::begin(uint64_t linear_index) {
  index_ = linear_index;
  for (WarpTime& t : times_) {
    t.clock.clear();
    t.fenced.clear();
    t.epoch = 1;
    std::fill(std::begin(t.sync), std::end(t.sync), 0u);
    t.least_sync = 0;
    t.touched = false;
  }
  for (Clock& c : barriers_) c.clear();
  addresses_.clear();
  touches_ = {};
  last_page_number_ = 0;
  fenced_ = false;
  auto clear = [&](Plane& p) {
    if (p.used) std::fill_n(p.records.get(), granules_, Record{0});
    p.used = false;
  };
  clear(writes_);
  for (Plane& p : reads_) clear(p);
  std::fill(readers_.begin(), readers_.end(), 0u);
  if (!writes_.records) writes_.records = std::make_unique<Record[]>(granules_);
  writes_.used = true;
}

Sanitizer::Record* Sanitizer::plane(uint32_t agent) {
  Plane& p = reads_[agent];
  if (!p.records) p.records = std::make_unique<Record[]>(granules_);
  p.used = true;
  return p.records.get();
}

// --- time ------------------------------------------------------------------------------------------------------------

/// What the warp's own accesses are for somebody that the lanes of `mask` release to.
ClockEntry Sanitizer::release(const Warp& w, uint32_t mask) {
  WarpTime& t = times_[w.index];
  uint32_t epoch = t.close();
  if (std::popcount(mask) != 1 || mask == w.live) return {.epoch = epoch};
  auto lane = static_cast<uint32_t>(std::countr_zero(mask));
  return {.epoch = t.sync[lane], .lane_epoch = epoch, .lane = lane};
}

/// The lanes of `mask` come after what their warp did up to `epoch`.
void Sanitizer::order(const Warp& w, uint32_t mask, uint32_t epoch) {
  WarpTime& t = times_[w.index];
  if (mask == ~0u) {
    if (t.least_sync >= epoch) return;
    std::fill(std::begin(t.sync), std::end(t.sync), epoch);
    t.least_sync = epoch;
    return;
  }
  t.least_sync = ~0u;
  for (uint32_t m = w.live; m; m &= m - 1) {
    uint32_t& sync = t.sync[std::countr_zero(m)];
    if (mask >> std::countr_zero(m) & 1) sync = std::max(sync, epoch);
    t.least_sync = std::min(t.least_sync, sync);
  }
}

void Sanitizer::lanes_ordered(const Warp& w, uint32_t mask) { order(w, mask, times_[w.index].close()); }

void Sanitizer::arrive(const Warp& w, uint32_t mask, uint32_t barrier) {
  ClockEntry own = release(w, mask);
  barriers_[barrier].join(times_[w.index].clock);
  barriers_[barrier].entries[w.index].join(own);
}
void Sanitizer::leave(const Warp& w, uint32_t mask, uint32_t barrier) {
  WarpTime& t = times_[w.index];
  t.clock.join(barriers_[barrier]);
  t.fenced.join(barriers_[barrier]); // a barrier is a fence for the block
  order(w, mask, barriers_[barrier].entries[w.index].epoch);
}

void Sanitizer::fence(const Warp& w, uint32_t mask) {
  WarpTime& t = times_[w.index];
  fenced_ = true;
  ClockEntry own = release(w, mask);
  t.fenced.join(t.clock);
  t.fenced.entries[w.index].join(own);
}

/// Strong accesses order through the memory they touch: who writes after a fence, or releases, gives its clock away;
/// who reads takes it.
void Sanitizer::synchronize(const Warp& w, WarpTime& t, const Observed& o, const Access& a) {
  bool reads = o.kind != Observed::Kind::write, writes = o.kind != Observed::Kind::read;
  ClockEntry own;
  if (writes && o.release) own = release(w, a.mask);
  for (uint32_t m = a.mask; m; m &= m - 1) {
    Clock& c = addresses_[a.at[std::countr_zero(m)]];
    if (c.entries.empty()) c.entries.resize(t.clock.entries.size());
    if (reads) t.clock.join(c);
    if (!writes) continue;
    c.join(t.fenced);
    if (!o.release) continue;
    c.join(t.clock);
    c.entries[w.index].join(own);
  }
}

// --- records ---------------------------------------------------------------------------------------------------------

bool Sanitizer::ordered(const Warp& w, const WarpTime& t, uint32_t lane, Record r) const {
  if (agent_of(r) == w.index) return lane_of(r) == lane || epoch_of(r) <= t.sync[lane];
  return t.clock.entries[agent_of(r)].covers(epoch_of(r), lane_of(r));
}
/// For whichever lane asks, and whichever lane left a record of this agent and epoch.
bool Sanitizer::ordered_for_all(const Warp& w, const WarpTime& t, Record r) const {
  return epoch_of(r) <= (agent_of(r) == w.index ? t.least_sync : t.clock.entries[agent_of(r)].epoch);
}

/// The usual cases of a contiguous access: everybody meets records of one agent and epoch that is ordered before, or
/// his own.
bool Sanitizer::check_contiguous(const Warp& w, const WarpTime& t, const Record* records, uint32_t each,
                                 bool may_be_empty) const {
  const Record first = records[0], differ = loops_.differ(records, uint64_t{32} << each);
  if (first == 0 && !(may_be_empty && differ == 0)) return false;
  if (differ >> agent_first == 0 && (first == 0 || ordered_for_all(w, t, first))) return true;
  // An agent's number alone does not tell its record from none: an epoch has a bit besides.
  if (epoch_of(differ) != 0 && !may_be_empty) return false;
  return loops_.records[each].strange(records, Record{w.index} << agent_first, whose) == 0;
}

void Sanitizer::check_write(const Warp& w, const WarpTime& t, uint32_t observed, uint32_t lane, uint64_t first,
                            uint64_t count, bool strong) {
  const Record own = record(w.index, 0, 0, false) | lane;
  auto check = [&](const Record* records, bool written) {
    for (uint64_t g = first; g < first + count; ++g) {
      Record r = records[g];
      if (r == 0 || r >> agent_first == known_ || ((r ^ own) & whose) == 0) continue;
      if (ordered_for_all(w, t, r))
        known_ = r >> agent_first; // of this agent and epoch none needs a second look
      else if (!ordered(w, t, lane, r) && !(strong && r >> strong_bit & 1))
        race(w, lane, observed, r, written, true, g << shift_);
    }
  };
  check(writes_.records.get(), true);
  for (uint32_t m = readers_[first >> line_shift_]; m; m &= m - 1)
    check(reads_[std::countr_zero(m)].records.get(), false);
}

void Sanitizer::check_read(const Warp& w, const WarpTime& t, uint32_t observed, uint32_t lane, uint64_t first,
                           uint64_t count, bool strong, Record mine, Record* reads) {
  const Record* written = writes_.records.get();
  const Record own = mine | lane;
  for (uint64_t g = first; g < first + count; ++g) {
    Record r = written[g];
    reads[g] = own;
    if (r >> agent_first == known_ || (r != 0 && ((r ^ own) & whose) == 0)) continue;
    if (r == 0)
      unwritten(w, lane, observed, g << shift_);
    else if (ordered_for_all(w, t, r))
      known_ = r >> agent_first;
    else if (!ordered(w, t, lane, r) && !(strong && r >> strong_bit & 1))
      race(w, lane, observed, r, true, false, g << shift_);
  }
  readers_[first >> line_shift_] |= 1u << w.index;
}

/// Two lanes of one store at one place: which of them wins is not defined, unless they agree.
void Sanitizer::same_place(const Warp& w, uint32_t observed, const Access& a) {
  const Observed& o = block_.launch->program->observed[observed];
  if (o.kind != Observed::Kind::write) return;
  const auto* rows = reinterpret_cast<const uint32_t*>(&block_.launch->program->code[o.insn + 1]);
  for (uint32_t m = a.mask; m; m &= m - 1) {
    auto lane = static_cast<uint32_t>(std::countr_zero(m));
    Record r = writes_.records[a.at[lane] >> shift_];
    uint32_t other = lane_of(r);
    if (other == lane || a.at[other] != a.at[lane]) continue; // the one that was recorded last
    uint32_t width = o.bytes / o.elements;
    bool equal = true;
    for (uint32_t e = 0; e < o.elements; ++e) {
      uint32_t step = width == 8 ? 8 : 4;
      equal = equal && std::memcmp(w.file + rows[e] + step * lane, w.file + rows[e] + step * other, width) == 0;
    }
    if (!equal)
      report(FindingKind::shared_race, w, lane, observed, observed,
             " and thread " + tuple(thread_of(w, other)) + " write different values to shared memory at " +
                 std::to_string(a.at[lane]) + " in one instruction: which one stays is not defined");
  }
}

void Sanitizer::shared(const Warp& w, uint32_t observed, const Access& a) {
  const Observed& o = observed_[observed];
  WarpTime& t = times_[w.index];
  known_ = nothing_known;
  if (o.strong) synchronize(w, t, o, a);
  t.touched = true;
  const Record mine = record(w.index, t.epoch, observed, o.strong);
  const uint64_t count = o.bytes >> shift_;
  const auto each = static_cast<uint32_t>(std::countr_zero(count));
  bool reads = o.kind == Observed::Kind::read || o.kind == Observed::Kind::matrix_read;
  if (a.contiguous) {
    const uint64_t first = a.at[0] >> shift_, all = 32 * count;
    const uint64_t line = first >> line_shift_, lines = (first + all - 1) >> line_shift_;
    uint32_t readers = 0;
    for (uint64_t l = line; l <= lines; ++l) readers |= readers_[l];
    Record* written = writes_.records.get() + first;
    if (reads && check_contiguous(w, t, written, each, false)) {
      loops_.records[each].put(plane(w.index) + first, mine);
      for (uint64_t l = line; l <= lines; ++l) readers_[l] |= 1u << w.index;
      return;
    }
    bool fine = !reads && check_contiguous(w, t, written, each, true);
    for (uint32_t m = readers; m && fine; m &= m - 1)
      fine = check_contiguous(w, t, reads_[std::countr_zero(m)].records.get() + first, each, true);
    if (fine) {
      loops_.records[each].put(written, mine);
      bool whole = (first & ((1u << line_shift_) - 1)) == 0 && (all & ((1u << line_shift_) - 1)) == 0;
      for (uint64_t l = line; whole && l <= lines; ++l) readers_[l] = 0;
      return;
    }
  }
  if (reads) {
    Record* own = plane(w.index);
    for (uint32_t m = a.mask; m; m &= m - 1) {
      auto lane = static_cast<uint32_t>(std::countr_zero(m));
      check_read(w, t, observed, lane, a.at[lane] >> shift_, count, o.strong, mine, own);
    }
    return;
  }
  for (uint32_t m = a.mask; m; m &= m - 1) {
    auto lane = static_cast<uint32_t>(std::countr_zero(m));
    check_write(w, t, observed, lane, a.at[lane] >> shift_, count, o.strong);
  }
  for (uint32_t m = a.mask; m; m &= m - 1) {
    auto lane = static_cast<uint32_t>(std::countr_zero(m));
    std::fill_n(writes_.records.get() + (a.at[lane] >> shift_), count, mine | lane);
  }
  if (!a.contiguous) same_place(w, observed, a);
}

// --- copies ----------------------------------------------------------------------------------------------------------

void Sanitizer::copy(const Warp& w, uint32_t observed, const Access& to, uint32_t number) {
  const WarpTime& t = times_[w.index];
  known_ = nothing_known;
  const uint64_t count = block_.launch->program->observed[observed].bytes >> shift_;
  const Record mine = record(warps_ + w.index, number, observed, false);
  for (uint32_t m = to.mask; m; m &= m - 1) {
    auto lane = static_cast<uint32_t>(std::countr_zero(m));
    uint64_t first = to.at[lane] >> shift_;
    check_write(w, t, observed, lane, first, count, false);
    std::fill_n(writes_.records.get() + first, count, mine | lane);
  }
}
void Sanitizer::copies_done(const Warp& w, uint32_t number) {
  ClockEntry& e = times_[w.index].clock.entries[warps_ + w.index];
  e.epoch = std::max(e.epoch, number);
}

void Sanitizer::end() {
  for (const Warp& w : block_.warps) {
    for (const AsyncCopy& copy : w.async->copies)
      report(FindingKind::async_hazard, w, static_cast<uint32_t>(std::countr_zero(copy.mask)), copy.observed, none,
             " copies to shared memory, and nothing waits for the copy before the block ends");
  }
  block_.launch->global->finish(index_, std::move(touches_));
}

// --- findings --------------------------------------------------------------------------------------------------------

namespace {
std::string place_text(Space space, uint64_t address) {
  return space == Space::global ? " global memory at " + hexadecimal(address)
                                : " shared memory at " + std::to_string(address);
}
} // namespace

void Sanitizer::race(const Warp& w, uint32_t lane, uint32_t observed, Record other, bool other_writes, bool writes,
                     uint64_t address, Space space) {
  const Program& p = *block_.launch->program;
  uint32_t agent = agent_of(other), place = place_of(other);
  bool copies = agent >= warps_;
  FindingKind kind = copies                   ? FindingKind::async_hazard
                     : space == Space::global ? FindingKind::global_race
                                              : FindingKind::shared_race;
  if (!block_.found.is_new({kind, observed_[observed].insn, observed_[place].insn})) return;
  const Warp& who = block_.warps[copies ? agent - warps_ : agent];
  const Meta& meta = p.meta[p.observed[place].insn];
  std::string text = std::string(writes ? " writes" : " reads") + place_text(space, address) + " that thread " +
                     tuple(thread_of(who, lane_of(other))) +
                     (copies         ? " copies to"
                      : other_writes ? " has written"
                                     : " has read") +
                     " at PTX line " + std::to_string(meta.line) + " '" +
                     std::string(p.module->source_line(meta.line)) + "'";
  if (std::string source = p.module->describe(meta.location); !source.empty()) text += ", " + source;
  text += copies ? ": the copy may not be done (wait for it, and let a barrier tell the other threads)"
                 : ": nothing orders the two (a barrier between them would)";
  report(kind, w, lane, observed, place, text);
}

void Sanitizer::unwritten(const Warp& w, uint32_t lane, uint32_t observed, uint64_t address, Space space) {
  if (!block_.found.is_new({FindingKind::uninitialised, observed_[observed].insn, none})) return;
  report(FindingKind::uninitialised, w, lane, observed, none,
         " reads" + place_text(space, address) +
             (space == Space::global ? " that has never been written" : " that nothing in its block has written"));
}

void Sanitizer::report(FindingKind kind, const Warp& w, uint32_t lane, uint32_t observed, uint32_t other,
                       const std::string& what) {
  const Program& p = *block_.launch->program;
  uint32_t place = p.observed[observed].insn, other_place = other == none ? none : p.observed[other].insn;
  FindingLog::Key key{kind, place, other_place};
  if (!block_.found.is_new(key)) return;
  Finding f = finding_at(w, &p.code[place], lane, kind, what);
  if (other != none) {
    f.other_ptx_line = p.meta[other_place].line;
    f.other_source = p.module->describe(p.meta[other_place].location);
  }
  block_.found.add(key, index_, std::move(f));
}

} // namespace tilejit::runtime::simulator
