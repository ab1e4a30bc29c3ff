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
  last_pages_ = {};
  allocation_ = {};
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

void Sanitizer::completed(uint32_t barrier, bool all) {
  barriers_[barrier].clear();
  if (all) std::fill(readers_.begin(), readers_.end(), 0u);
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
  return epoch_of(r) <= epoch_before(w, t, agent_of(r));
}
uint32_t Sanitizer::epoch_before(const Warp& w, const WarpTime& t, uint32_t agent) const {
  return agent == w.index ? t.least_sync : t.clock.entries[agent].epoch;
}

/// The lanes of an access that the vector loops look at together: the first 8, 16 or all; 0: others.
static uint32_t first_lanes(const Access& a) {
  return a.mask == ~0u ? 32 : a.mask == 0xffff ? 16 : a.mask == 0xff ? 8 : 0;
}
/// Everything that the access meets in these records, 1 << each of them a lane and `shift` the log2 of the bytes of
/// one, is ordered before it; false: it takes a look at each lane to say.
bool Sanitizer::settled(const Warp& w, const WarpTime& t, const Record* records, const Access& a, uint32_t shift,
                        uint32_t each, bool may_be_empty) const {
  struct Context {
    const Sanitizer* sanitizer;
    const Warp* w;
    const WarpTime* t;
  };
  const Context context{this, &w, &t};
  auto epoch = [](const void* c, uint32_t agent) {
    auto [sanitizer, w, t] = *static_cast<const Context*>(c);
    return sanitizer->epoch_before(*w, *t, agent);
  };
  const Horizon horizon{record(w.index, 0, 0, false), may_be_empty, &context, epoch};
  if (a.contiguous && loops_.records[each].settled_row(records + (a.at[0] >> shift), horizon)) return true;
  return first_lanes(a) && loops_.records[each].settled(records, a.at, shift, first_lanes(a), horizon);
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

/// Lines of shared memory that an access touches: each once, or more often.
template <class F>
static void for_lines(const Access& a, uint32_t bytes, F f) {
  if (a.one_line) return f(a.at[0] >> 7);
  if (a.contiguous) {
    for (uint64_t line = a.at[0] >> 7; line <= (a.at[31] + bytes - 1) >> 7; ++line) f(line);
    return;
  }
  for (uint32_t m = a.mask; m; m &= m - 1) f(a.at[std::countr_zero(m)] >> 7);
}
/// Whether a write meets nothing that is not ordered before it; false: it takes a look at each lane to say.
bool Sanitizer::settled_write(const Warp& w, const WarpTime& t, const Access& a, uint32_t bytes, uint32_t each) const {
  auto fine = [&](const Plane& p) { return settled(w, t, p.records.get(), a, shift_, each, true); };
  if (!fine(writes_)) return false;
  uint32_t readers = 0;
  for_lines(a, bytes, [&](uint64_t line) { readers |= readers_[line]; });
  for (uint32_t m = readers; m; m &= m - 1)
    if (!fine(reads_[std::countr_zero(m)])) return false;
  return true;
}
/// Leaves `mine` with the number of each lane in the records of the access.
void Sanitizer::mark(Record* records, const Access& a, uint32_t shift, uint32_t each, Record mine) const {
  if (a.contiguous)
    loops_.records[each].put(records + (a.at[0] >> shift), mine);
  else if (first_lanes(a))
    loops_.records[each].mark(records, a.at, shift, first_lanes(a), mine);
  else
    for (uint32_t m = a.mask; m; m &= m - 1) {
      auto lane = static_cast<uint32_t>(std::countr_zero(m));
      std::fill_n(records + (a.at[lane] >> shift), uint64_t{1} << each, mine | lane);
    }
}

/// Lanes of one access that have written the same bytes, which began at `base` + its addresses.
void Sanitizer::overlapping(const Warp& w, uint32_t observed, const Record* records, const Access& a, uint32_t shift,
                            uint64_t base, Space space) {
  if (a.contiguous || loops_.own(records, a.at, shift, first_lanes(a))) return;
  for (uint32_t m = a.mask; m; m &= m - 1) {
    auto lane = static_cast<uint32_t>(std::countr_zero(m));
    Record r = records[a.at[lane] >> shift];
    if (lane_of(r) != lane)
      race(w, lane_of(r), observed, (r & ~Record{31}) | lane, true, true, base + a.at[lane], space);
  }
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
  Record* written = writes_.records.get();
  if (reads) {
    Record* own = plane(w.index);
    if (settled(w, t, written, a, shift_, each, false)) {
      mark(own, a, shift_, each, mine);
      for_lines(a, o.bytes, [&](uint64_t line) { readers_[line] |= 1u << w.index; });
      return;
    }
    for (uint32_t m = a.mask; m; m &= m - 1) {
      auto lane = static_cast<uint32_t>(std::countr_zero(m));
      check_read(w, t, observed, lane, a.at[lane] >> shift_, count, o.strong, mine, own);
    }
    return;
  }
  if (settled_write(w, t, a, o.bytes, each)) {
    mark(written, a, shift_, each, mine);
    if (!a.contiguous) {
      if (!first_lanes(a) || !loops_.own(written, a.at, shift_, first_lanes(a))) same_place(w, observed, a);
      return;
    }
    const uint64_t first = a.at[0], last = a.at[31] + o.bytes;
    if (first % 128 == 0 && last % 128 == 0) // whole lines: their readers are done with
      std::fill(readers_.begin() + static_cast<int64_t>(first >> 7), readers_.begin() + static_cast<int64_t>(last >> 7),
                0u);
    return;
  }
  for (uint32_t m = a.mask; m; m &= m - 1) {
    auto lane = static_cast<uint32_t>(std::countr_zero(m));
    check_write(w, t, observed, lane, a.at[lane] >> shift_, count, o.strong);
  }
  mark(written, a, shift_, each, mine);
  if (!a.contiguous) same_place(w, observed, a);
}

// --- copies ----------------------------------------------------------------------------------------------------------

void Sanitizer::copy(const Warp& w, uint32_t observed, const Access& to, uint32_t number) {
  const WarpTime& t = times_[w.index];
  known_ = nothing_known;
  const uint64_t count = block_.launch->program->observed[observed].bytes >> shift_;
  const Record mine = record(warps_ + w.index, number, observed, false);
  const auto each = static_cast<uint32_t>(std::countr_zero(count));
  Record* written = writes_.records.get();
  if (settled_write(w, t, to, static_cast<uint32_t>(count << shift_), each)) {
    mark(written, to, shift_, each, mine);
    overlapping(w, observed, written, to, shift_, 0, Space::shared);
    return;
  }
  for (uint32_t m = to.mask; m; m &= m - 1) {
    auto lane = static_cast<uint32_t>(std::countr_zero(m));
    uint64_t first = to.at[lane] >> shift_;
    check_write(w, t, observed, lane, first, count, false);
    std::fill_n(written + first, count, mine | lane);
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
