// observe.cpp - see observe.h: the observing instructions.
#include "runtime/simulator/observe.h"

#include "runtime/simulator/block.h"
#include "runtime/simulator/handlers.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace tilejit::runtime::simulator {
namespace {

uint32_t mask_at(const Warp* w, uint32_t offset) { return *reinterpret_cast<const uint32_t*>(w->file + offset); }

bool in_shared(uint64_t at) { return at - shared_window < window_bytes; }

/// The addresses of an access; lanes whose access cannot be done are left out: the access itself reports them.
[[gnu::always_inline]] inline void find(const Warp* w, uint32_t flags, uint32_t base, uint32_t offset, bool shared,
                                        uint32_t bytes, Access& a) {
  const uint64_t align = bytes - 1; // a power of two
  if (shared && w->shared_bytes < bytes) {
    a.mask = 0;
    return;
  }
  const uint64_t end = shared ? w->shared_bytes - bytes : ~uint64_t{0} >> 1;
  static const ObservingLoops& loops = observing_loops();
  uint32_t is = loops.addresses(w->file, flags, base, offset, bytes, align, end, a.at);
  a.contiguous = is & 1 && a.mask == ~0u;
  a.one_line = is & 4 && a.mask == ~0u;
  if (is & 2) return;
  for (uint32_t m = a.mask; m; m &= m - 1) {
    int lane = std::countr_zero(m);
    if ((a.at[lane] & align) || a.at[lane] > end) a.mask &= ~(1u << lane);
  }
  a.contiguous = a.contiguous && a.mask == ~0u;
  a.one_line = a.one_line && a.mask == ~0u;
}

void count(Traffic& t, bool shared, const Access& a, uint32_t bytes) {
  if (!a.mask) return;
  ++t.requests;
  t.bytes += static_cast<uint64_t>(std::popcount(a.mask)) * bytes;
  auto [transactions, least] = shared ? wavefronts(a, bytes) : sectors(a, bytes);
  t.transactions += transactions;
  t.least += least;
}

/// One space's part of an access.
[[gnu::always_inline]] inline void show(Warp* w, const Observed& o, uint32_t index, bool shared, Access& a) {
  BlockState& b = *w->block;
  if (!a.mask) return;
  if (!b.counters.empty()) count(shared ? b.counters[index].shared : b.counters[index].global, shared, a, o.bytes);
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
    count(b.counters[index].shared, true, to, o.bytes);
    count(b.counters[index].global, false, from, o.bytes);
  }
  w->async->observed = index;
  if (!b.sanitizer) return;
  b.sanitizer->copy(*w, index, to, w->async->issued + 1); // the copy follows
  b.sanitizer->global(*w, index, from);
}

const Insn* access(Warp* w, const Insn* ip) {
  Access a;
  a.mask = w->active & (mask_at(w, ip->c) ^ ip->aux);
  if (!a.mask) return ip + 1;
  const uint32_t index = ip->b;
  const Observed& o = w->block->launch->program->observed[index];
  if (o.rows < 32) a.mask &= (1u << o.rows) - 1;
  find(w, ip->d, ip->a, ip->imm, o.space == Space::shared, o.bytes, a);
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
      for (uint32_t m = a.mask; m; m &= m - 1)
        if (a.at[std::countr_zero(m)] + o.bytes > w->shared_bytes) a.mask &= ~(1u << std::countr_zero(m));
      show(w, o, index, true, a);
    }
    if (rest.mask && rest.at[std::countr_zero(rest.mask)] < shared_window) show(w, o, index, false, rest);
    return ip + 1;
  }
  if (shared || o.space == Space::global) {
    show(w, o, index, shared, a);
  } else if (!w->block->counters.empty()) {
    Traffic& local = w->block->counters[index].local;
    ++local.requests;
    local.bytes += static_cast<uint64_t>(std::popcount(a.mask)) * o.bytes;
  }
  return ip + 1;
}

const Insn* lanes(Warp* w, const Insn* ip) {
  const Observed& o = w->block->launch->program->observed[ip->b];
  uint32_t mask = w->active & (mask_at(w, ip->c) ^ ip->aux);
  if (!mask || !w->block->sanitizer) return ip + 1;
  if (o.kind == Observed::Kind::fence)
    w->block->sanitizer->fence(*w, mask);
  else
    w->block->sanitizer->lanes_ordered(*w, mask);
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

const Insn* block(Warp* w, const Insn* ip) {
  w->block->block_lanes[ip->imm] += static_cast<uint32_t>(std::popcount(w->active));
  return ip + 1;
}

} // namespace

const ObservingLoops& observing_loops() {
  std::string_view level = handlers().name;
  return level == "x86-64-v4"   ? observing_loops_v4()
         : level == "x86-64-v3" ? observing_loops_v3()
                                : observing_loops_v2();
}

const ObservingHandlers& observing_handlers() {
  static const ObservingHandlers all{access, lanes, branch, block};
  return all;
}

} // namespace tilejit::runtime::simulator
