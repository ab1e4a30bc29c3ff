// observe.cpp - see observe.h: the observing instructions.
#include "runtime/simulator/observe.h"

#include "runtime/simulator/cluster.h"
#include "runtime/simulator/fragment_memory.h"
#include "runtime/simulator/handlers.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace tilejit::runtime::simulator {
namespace {

uint32_t mask_at(const Warp* w, uint32_t offset) { return *reinterpret_cast<const uint32_t*>(w->file + offset); }

bool in_shared(uint64_t at) { return at - shared_window < window_bytes; }

/// Addresses in the shared memory of other blocks of the cluster, as offsets in it; they leave `a`.
Access take_remote(Warp* w, Access& a) {
  Access remote;
  remote.mask = 0;
  for (uint32_t m = a.mask; m; m &= m - 1) {
    auto lane = static_cast<uint32_t>(std::countr_zero(m));
    if (a.at[lane] >> rank_shift == 0 || a.at[lane] >> rank_shift > w->block->cluster->blocks.size()) continue;
    remote.mask |= 1u << lane;
    remote.at[lane] = a.at[lane] & ((1u << rank_shift) - 1);
  }
  a.mask &= ~remote.mask;
  if (remote.mask) a.contiguous = a.one_line = false;
  return remote;
}

/// The addresses of an access; lanes whose access cannot be done are left out: the access itself reports them. Returns
/// those in the shared memory of other blocks.
[[gnu::always_inline]] inline Access find(Warp* w, uint32_t flags, uint32_t base, uint32_t offset, bool shared,
                                          uint32_t bytes, Access& a) {
  const uint64_t align = std::bit_floor(bytes) - 1;
  const uint64_t end = !shared ? ~uint64_t{0} >> 1 : w->shared_bytes >= bytes ? w->shared_bytes - bytes : 0;
  static const ObservingLoops& loops = observing_loops();
  uint32_t is = loops.addresses(w->file, flags, base, offset, bytes, align, end, a.at);
  a.contiguous = is & 1 && a.mask == ~0u;
  a.one_line = is & 4 && a.mask == ~0u;
  Access remote;
  if (is & 2 && (!shared || w->shared_bytes >= bytes)) return remote;
  if (shared) remote = take_remote(w, a);
  for (uint32_t m = a.mask; m; m &= m - 1) {
    int lane = std::countr_zero(m);
    if ((a.at[lane] & align) || a.at[lane] > end || (shared && w->shared_bytes < bytes)) a.mask &= ~(1u << lane);
  }
  a.contiguous = a.contiguous && a.mask == ~0u;
  a.one_line = a.one_line && a.mask == ~0u;
  return remote;
}

/// Counts an access, and writes it down for the time estimate.
void count(Warp* w, const Observed& o, Space space, const Access& a, uint32_t bytes) {
  AccessCounters& counters = w->block->counters[o.counter];
  if (!a.mask) return;
  Traffic& t = space == Space::shared ? counters.shared : space == Space::local ? counters.local : counters.global;
  ++t.requests;
  t.bytes += static_cast<uint64_t>(std::popcount(a.mask)) * bytes;
  const bool writes = o.writes();
  auto [transactions, least] = space == Space::shared ? wavefronts(a, bytes, !writes) : sectors(a, bytes);
  t.transactions += transactions;
  t.least += least;
  if (Recording* r = w->block->launch->recording; r && space == Space::global) r->touch(a, bytes, writes);
  if (!w->trace) return;
  if (space == Space::shared)
    w->trace->add({.wavefronts = transactions});
  else
    w->trace->add_cached(a, bytes, transactions, writes || o.bypasses);
}

/// Thread-local words lie so that those of a warp's lanes at one offset are neighbours.
void count_local(Warp* w, const Observed& o, const Access& a) {
  const uint32_t words = std::max(1u, o.bytes / 4);
  Access piece = a;
  piece.contiguous = false;
  AccessCounters& counters = w->block->counters[o.counter];
  const Traffic before = counters.local;
  for (uint32_t k = 0; k < words; ++k) {
    for (uint32_t m = a.mask; m; m &= m - 1) {
      auto lane = static_cast<uint32_t>(std::countr_zero(m));
      piece.at[lane] = local_window + (a.at[lane] / 4 + k) * 128 + lane * 4 + a.at[lane] % 4;
    }
    count(w, o, Space::local, piece, std::min(o.bytes, 4u));
  }
  counters.local.requests = before.requests + 1;
}

/// One space's part of an access.
[[gnu::always_inline]] inline void show(Warp* w, const Observed& o, uint32_t index, bool shared, Access& a) {
  BlockState& b = *w->block;
  if (!a.mask) return;
  if (!b.counters.empty()) count(w, o, shared ? Space::shared : Space::global, a, o.bytes);
  if (!b.sanitizer) return;
  if (shared)
    b.sanitizer->shared(*w, index, a);
  else
    b.sanitizer->global(*w, index, a);
}

void show_copy(Warp* w, const Insn* target, const Observed& o, uint32_t index, Access& to) {
  BlockState& b = *w->block;
  const Insn& more = target[1];
  Access from;
  from.mask = to.mask;
  const uint32_t ignored = more.aux ? mask_at(w, more.aux) : 0;
  from.mask &= ~ignored;
  if (more.imm) {
    const auto* valid = reinterpret_cast<const uint32_t*>(w->file + more.imm);
    for (uint32_t m = from.mask; m; m &= m - 1)
      if (valid[std::countr_zero(m)] == 0) from.mask &= ~(1u << std::countr_zero(m));
  }
  find(w, more.d, more.a, more.b, false, o.bytes, from);
  if (!b.counters.empty()) {
    count(w, o, Space::shared, to, o.bytes);
    count(w, o, Space::global, from, o.bytes);
  }
  w->async->observed = index;
  if (!b.sanitizer) return;
  b.sanitizer->copy(*w, index, to, w->async->issued + 1); // the copy follows
  b.sanitizer->global(*w, index, from);
}

/// Lanes whose addresses are in the shared memory of a block of the cluster, named by its rank: what they access is
/// that block's.
void show_remote(Warp* w, uint32_t index, uint32_t lanes, const Access& a, uint32_t bytes) {
  if (!w->block->sanitizer) return;
  const auto& blocks = w->block->cluster->blocks;
  for (uint32_t rank = 1; rank <= blocks.size(); ++rank) {
    Access part;
    for (uint32_t m = lanes; m; m &= m - 1) {
      const auto lane = static_cast<uint32_t>(std::countr_zero(m));
      const uint64_t at = a.at[lane] & ((1u << rank_shift) - 1);
      if (a.at[lane] >> rank_shift != rank || at + bytes > w->shared_bytes) continue;
      part.mask |= 1u << lane;
      part.at[lane] = at;
    }
    if (!part.mask) continue;
    Sanitizer& other = *blocks[rank - 1]->sanitizer;
    if (rank - 1 != w->block->rank) other.entered(*w, index, static_cast<uint32_t>(std::countr_zero(part.mask)));
    other.shared(*w, index, part);
  }
}

} // namespace

const Insn* observe_access(Warp* w, const Insn* ip) {
  Access a;
  a.mask = w->active & (mask_at(w, ip->c) ^ ip->aux);
  if (!a.mask) return ip + 1;
  const uint32_t index = ip->b;
  const Observed& o = w->block->launch->program->observed[index];
  if (o.rows < 32) a.mask &= (1u << o.rows) - 1;
  const bool counts = !w->block->counters.empty();
  const uint32_t all = a.mask;
  const Access remote = find(w, ip->d, ip->a, ip->imm, o.space == Space::shared, o.bytes, a);
  if (remote.mask && counts) count(w, o, Space::shared, remote, o.bytes);
  if (remote.mask) show_remote(w, index, all & ~a.mask, a, o.bytes);
  if (!a.mask) return ip + 1;
  if (o.kind == Observed::Kind::copy) {
    show_copy(w, ip + 1, o, index, a);
    return ip + 1;
  }
  bool shared = o.space == Space::shared;
  if (o.space == Space::generic) {
    Access rest = a;
    a.mask = 0;
    for (uint32_t m = rest.mask; m; m &= m - 1) {
      uint32_t lane = static_cast<uint32_t>(std::countr_zero(m));
      if (!in_shared(rest.at[lane])) continue;
      a.mask |= 1u << lane;
    }
    rest.mask &= ~a.mask;
    if (a.mask) {
      a.contiguous = a.contiguous && a.mask == ~0u;
      a.one_line = a.one_line && a.mask == ~0u;
      for (uint64_t& at : a.at) at -= shared_window;
      const uint32_t all = a.mask;
      if (const Access remote = take_remote(w, a); remote.mask) {
        if (counts) count(w, o, Space::shared, remote, o.bytes);
        show_remote(w, index, all & ~a.mask, a, o.bytes);
      }
      for (uint32_t m = a.mask; m; m &= m - 1)
        if (a.at[std::countr_zero(m)] + o.bytes > w->shared_bytes) a.mask &= ~(1u << std::countr_zero(m));
      show(w, o, index, true, a);
    }
    Access local = rest;
    for (uint32_t m = rest.mask; m; m &= m - 1) {
      auto lane = static_cast<uint32_t>(std::countr_zero(m));
      if (rest.at[lane] - local_window < window_bytes)
        local.at[lane] -= local_window;
      else
        local.mask &= ~(1u << lane);
      if (rest.at[lane] >= shared_window) rest.mask &= ~(1u << lane);
    }
    if (local.mask && counts) count_local(w, o, local);
    show(w, o, index, false, rest);
    return ip + 1;
  }
  if (shared || o.space == Space::global) {
    show(w, o, index, shared, a);
  } else if (counts)
    count_local(w, o, a);
  return ip + 1;
}

namespace {

/// Counts a matrix as one request for the words or sectors that it lies in.
void count_fragment(Warp* w, const Observed& o, const FragmentMemory& f, bool shared) {
  const uint64_t unit = shared ? 4 : 32;
  std::vector<uint64_t> units;
  for (uint32_t e = 0; e < f.elements; ++e) {
    const uint64_t at = f.base + f.bit(e) / 8 - (shared ? shared_window : 0);
    for (uint64_t u = at / unit; u <= (at + f.bytes() - 1) / unit; ++u) units.push_back(u);
  }
  std::sort(units.begin(), units.end());
  units.erase(std::unique(units.begin(), units.end()), units.end());
  AccessCounters& counters = w->block->counters[o.counter];
  Traffic& t = shared ? counters.shared : counters.global;
  const Traffic before = t;
  for (size_t first = 0; first < units.size(); first += 32) {
    Access piece;
    for (size_t i = first; i < std::min(first + 32, units.size()); ++i) {
      piece.mask |= 1u << (i - first);
      piece.at[i - first] = units[i] * unit;
    }
    count(w, o, shared ? Space::shared : Space::global, piece, static_cast<uint32_t>(unit));
  }
  t.requests = before.requests + 1;
  t.bytes = before.bytes + uint64_t{f.elements} * f.bits / 8;
}
/// Which lane has which element only our fragments say: each moves one after the other.
const Insn* fragment(Warp* w, const Insn* ip) {
  if (!(w->active & (mask_at(w, ip->c) ^ ip->aux))) return ip + 1;
  const Observed& o = w->block->launch->program->observed[ip->b];
  const FragmentMemory f(w, ip + 1);
  const bool shared = in_shared(f.base);
  if (f.base >= shared_window && !shared) return ip + 1; // a thread's own memory
  if (!w->block->counters.empty()) count_fragment(w, o, f, shared);
  const uint32_t of_lane = f.slots_of_lane();
  for (uint32_t k = 0; w->block->sanitizer && k < of_lane; ++k) {
    Access a;
    for (uint32_t lane = 0; lane < 32; ++lane) {
      const uint32_t slot = lane * of_lane + k;
      if (o.writes() && slot >= f.elements) continue;
      a.at[lane] = f.base + f.bit(slot) / 8 - (shared ? shared_window : 0);
      a.mask |= 1u << lane;
    }
    if (!shared) {
      w->block->sanitizer->global(*w, ip->b, a);
      continue;
    }
    const uint32_t all = a.mask;
    if (take_remote(w, a).mask) show_remote(w, ip->b, all & ~a.mask, a, o.bytes);
    for (uint32_t m = a.mask; m; m &= m - 1) // what is outside the instruction itself reports
      if (a.at[std::countr_zero(m)] + o.bytes > w->shared_bytes) a.mask &= ~(m & -m);
    if (a.mask) w->block->sanitizer->shared(*w, ip->b, a);
  }
  return ip + 1;
}

/// Lanes have come together; `members`: of all of them, or (`by_lane`) each lane's own.
void lanes_ordered(Warp* w, uint32_t observed, uint32_t lanes, const uint32_t* members, bool by_lane) {
  while (lanes) {
    const uint32_t named = by_lane ? members[std::countr_zero(lanes)] : *members;
    uint32_t part = lanes;
    for (uint32_t m = lanes; by_lane && m; m &= m - 1)
      if (members[std::countr_zero(m)] != named) part &= ~(m & -m);
    if (part & ~named) w->block->sanitizer->not_named(*w, part & ~named, observed, named);
    w->block->sanitizer->lanes_ordered(*w, part);
    lanes &= ~part;
  }
}

/// Of lanes that come together: a = their member masks, imm = 1: of each lane its own.
const Insn* lanes(Warp* w, const Insn* ip) {
  const Observed& o = w->block->launch->program->observed[ip->b];
  uint32_t mask = w->active & (mask_at(w, ip->c) ^ ip->aux);
  if (!mask || !w->block->sanitizer) return ip + 1;
  if (o.kind == Observed::Kind::fence)
    w->block->sanitizer->fence(*w, mask, o.wide);
  else if (o.kind == Observed::Kind::proxy_fence)
    w->block->sanitizer->proxy_fence(*w, mask);
  else if (o.kind == Observed::Kind::map_release || o.kind == Observed::Kind::map_acquire)
    w->block->sanitizer->map_fence(*w, mask, o.kind == Observed::Kind::map_release);
  else
    lanes_ordered(w, ip->b, mask, reinterpret_cast<const uint32_t*>(w->file + ip->a), ip->imm);
  return ip + 1;
}

const Insn* branch(Warp* w, const Insn* ip) {
  if (w->block->counters.empty()) return ip + 1;
  AccessCounters& c = w->block->counters[ip->b];
  uint32_t taken = w->active & (mask_at(w, ip->a) ^ ip->imm);
  ++c.branches;
  c.divergent += taken != 0 && taken != w->active;
  return ip + 1;
}

const Insn* mark(Warp* w, const Insn* ip) {
  if (w->trace) w->trace->begin(ip->imm);
  return ip + 1;
}

const Insn* block(Warp* w, const Insn* ip) {
  w->block->block_lanes[ip->imm] += static_cast<uint32_t>(std::popcount(w->active));
  return ip + 1;
}

const Insn* registers(Warp* w, const Insn* ip) {
  const uint32_t mask = w->active & (mask_at(w, ip->c) ^ ip->aux);
  if (mask && w->block->sanitizer)
    w->block->sanitizer->registers(*w, mask, w->block->launch->program->register_events[ip->imm]);
  return ip + 1;
}

const Insn* undefined(Warp* w, const Insn* ip) {
  const uint32_t lanes = w->active & (mask_at(w, ip->c) ^ ip->aux);
  const UndefinedEvent& e = w->block->launch->program->undefined_events[ip->imm];
  auto mask = [&](uint32_t offset) -> uint32_t& { return *reinterpret_cast<uint32_t*>(w->file + offset); };
  auto source = [&](uint32_t offset) { return offset == none ? 0 : mask(offset); };
  if (e.guard.first != none && mask(e.guard.first) & w->active)
    w->block->sanitizer->undefined(*w, mask(e.guard.first) & w->active, e.observed, e.guard.second);
  const uint32_t holds = mask(e.predicate) ^ e.turned;
  for (const auto& [offset, name] : e.matters)
    if (mask(offset) & lanes) w->block->sanitizer->undefined(*w, mask(offset) & lanes, e.observed, name);
  for (const auto& [offset, name] : e.matters_if)
    if (mask(offset) & lanes & holds)
      w->block->sanitizer->undefined(*w, mask(offset) & lanes & holds, e.observed, name);
  uint32_t result = 0;
  switch (e.result) {
  case UndefinedResult::defined: break;
  case UndefinedResult::any:
    for (uint32_t s : e.sources) result |= source(s);
    break;
  case UndefinedResult::all:
    result = ~0u;
    for (uint32_t s : e.sources) result &= source(s);
    break;
  case UndefinedResult::select: result = (source(e.sources[0]) & holds) | (source(e.sources[1]) & ~holds); break;
  }
  for (uint32_t d : e.destinations) mask(d) = (mask(d) & ~lanes) | (result & lanes);
  if (e.begins)
    for (uint32_t s : e.sources) mask(s) |= lanes;
  return ip + 1;
}

} // namespace

const ObservingLoops& observing_loops() {
  std::string_view level = handlers().name;
  return level.starts_with("x86-64-v4") ? observing_loops_v4()
         : level == "x86-64-v3"         ? observing_loops_v3()
                                        : observing_loops_v2();
}

const ObservingHandlers& observing_handlers() {
  static const ObservingHandlers all{observe_access,  lanes, branch,    block,     observe_async,
                                     observe_barrier, mark,  registers, undefined, fragment};
  return all;
}

} // namespace tilejit::runtime::simulator
