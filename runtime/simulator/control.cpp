// control.cpp - control flow, barriers, waits for cp.async; errors at run time.
#include "runtime/simulator/cluster.h"
#include "runtime/simulator/findings.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <xmmintrin.h>

namespace tilejit::runtime::simulator {

uint32_t guarded_lanes(const Warp* w, const Insn* ip) {
  return w->active & (*reinterpret_cast<const uint32_t*>(w->file + ip->c) ^ ip->aux);
}

namespace {

uint32_t mask_at(const Warp* w, uint32_t offset) { return *reinterpret_cast<const uint32_t*>(w->file + offset); }

void remove_split(Warp* w, uint32_t i) { w->splits[i] = w->splits[--w->split_count]; }

bool goes_before(const Split& s, uint32_t depth, const Insn* pc) {
  return s.depth != depth ? s.depth > depth : s.pc < pc;
}

/// The warp is in parts, and one of them comes to the begin of a basic block.
const Insn* meet(Warp* w, const Insn* ip) {
  for (uint32_t i = 0; i < w->split_count;) {
    const Split& s = w->splits[i];
    if (s.pc == ip && s.depth == w->depth && (s.wait == Wait::nothing || s.wait == Wait::rejoin)) {
      w->active |= s.mask;
      remove_split(w, i);
    } else
      ++i;
  }
  for (uint32_t i = 0; i < w->split_count; ++i)
    if (w->splits[i].wait == Wait::nothing && !w->splits[i].spins && // those behind go first
        goes_before(w->splits[i], w->depth, ip)) {
      park(w, ip, w->active);
      w->polled = true;
      return nullptr;
    }
  if (ip->aux & 1 && w->split_count > 0) {
    park(w, ip, w->active, Wait::rejoin);
    return nullptr;
  }
  if (ip->aux & 2 && --w->fuel == 0) { // a loop that may wait for lanes of its own warp: they get their turn
    park(w, ip, w->active);
    w->splits[w->split_count - 1].spins = true;
    w->polled = true;
    return nullptr;
  }
  ++w->block_counts[ip->imm];
  return ip + 1;
}
const Insn* head(Warp* w, const Insn* ip) {
  if (__builtin_expect(w->split_count > 0, 0)) return meet(w, ip);
  if (ip->aux & 2 && __builtin_expect(--w->fuel == 0, 0)) { // a loop: the other warps get their turn
    park(w, ip, w->active);
    w->yielded = true;
    return nullptr;
  }
  ++w->block_counts[ip->imm];
  return ip + 1;
}
const Insn* jump(Warp*, const Insn* ip) { return ip + static_cast<int32_t>(ip->aux); }

/// Lanes are gone: barriers that wait for all threads may be complete.
void complete_barriers(BlockState& b);
void end_lanes(Warp* w, uint32_t mask) {
  w->live &= ~mask;
  w->active &= ~mask;
  w->block->live_threads -= static_cast<uint32_t>(std::popcount(mask));
  if (w->block->live_threads == 0 && w->block->sanitizer) w->block->sanitizer->block_ended();
  complete_barriers(*w->block);
  ClusterState& cluster = *w->block->cluster;
  for (uint32_t m = mask; m; m &= m - 1) // those that have arrived are no longer counted
    cluster.arrived -= w->async->cluster_phase[std::countr_zero(m)] == cluster.phase + 1;
  cluster.complete_barrier();
}

const Insn* branch(Warp* w, const Insn* ip) {
  uint32_t taken = w->active & (mask_at(w, ip->a) ^ ip->imm);
  if (!taken) return ip + 1;
  if (ip->b) { // what it jumps to only ends the thread
    end_lanes(w, taken);
    return w->active ? ip + 1 : nullptr;
  }
  const Insn* target = ip + static_cast<int32_t>(ip->aux);
  if (taken == w->active) return target;
  const Insn *next = ip + 1, *first = target < next ? target : next;
  park(w, first == target ? next : target, first == target ? w->active & ~taken : taken);
  w->active = first == target ? taken : w->active & ~taken;
  return first;
}
const Insn* branch_table(Warp* w, const Insn* ip) {
  const auto* index = reinterpret_cast<const uint32_t*>(w->file + ip->a);
  const Program& p = *w->block->launch->program;
  for (uint32_t rest = w->active & (mask_at(w, ip->c) ^ ip[1].a); rest;) {
    uint32_t lane = static_cast<uint32_t>(std::countr_zero(rest)), same = 0;
    for (uint32_t m = rest; m; m &= m - 1)
      if (index[std::countr_zero(m)] == index[lane]) same |= 1u << std::countr_zero(m);
    if (index[lane] >= ip->imm) fail(w, ip, "the index of brx.idx is beyond its table");
    park(w, p.code.data() + p.targets[ip->aux + index[lane]], same);
    rest &= ~same;
  }
  uint32_t rest = w->active & ~(mask_at(w, ip->c) ^ ip[1].a);
  if (rest) park(w, ip + 2, rest);
  return nullptr;
}
const Insn* exit_(Warp* w, const Insn* ip) {
  uint32_t m = guarded_lanes(w, ip);
  if (m) end_lanes(w, m);
  return w->active ? ip + 1 : nullptr;
}
const Insn* trap(Warp* w, const Insn* ip) {
  uint32_t m = guarded_lanes(w, ip);
  if (!m) return ip + 1;
  w->active = m;
  fail(w, ip, "trap: the kernel ended itself");
}
const Insn* set_mode(Warp*, const Insn* ip) {
  _mm_setcsr(ip->imm);
  return ip + 1;
}

// --- barriers --------------------------------------------------------------------------------------------------------

void complete(BlockState& b, uint32_t id) {
  Barrier& barrier = b.barriers[id];
  uint32_t leaving = 0;
  for (Warp& w : b.warps)
    for (uint32_t i = 0; i < w.split_count; ++i) {
      Split& s = w.splits[i];
      if (s.wait != Wait::barrier || s.id != id) continue;
      s.wait = Wait::nothing;
      leaving += static_cast<uint32_t>(std::popcount(s.mask));
      if (b.sanitizer) b.sanitizer->leave(w, s.mask, id);
      if (!s.at) continue;
      bool is_popc = s.at->imm == 0, value = s.at->imm == 1 ? barrier.popc == barrier.votes : barrier.popc != 0;
      auto* d = reinterpret_cast<uint32_t*>(file_at(&w, s.depth) + s.at->d);
      if (is_popc) {
        for (uint32_t m = s.mask; m; m &= m - 1) d[std::countr_zero(m)] = barrier.popc;
      } else
        *d = value ? *d | s.mask : *d & ~s.mask;
    }
  barrier = {};
  if (b.sanitizer) b.sanitizer->completed(id, leaving == b.threads);
  if (b.warps[0].trace) b.warps[0].trace->block->phases[id]++;
}
bool is_complete(const BlockState& b, const Barrier& barrier) {
  if (barrier.threads == 0) return false;
  return barrier.expected ? barrier.rounded >= barrier.expected : barrier.threads >= b.live_threads;
}
void complete_barriers(BlockState& b) {
  for (uint32_t id = 0; id < b.barriers.size(); ++id)
    if (is_complete(b, b.barriers[id])) complete(b, id);
}

// Main slot: a = barrier, b = count (0: all threads), c = guard, aux = its xor mask, d = result, imm = 0 popc, 1 and,
// 2 or. Next slot: d = predicate, a = its xor mask, b = 1: the barrier's number is a row, 2: the count is, 4: it is
// aligned.

/// An aligned barrier is for whole warps: lanes that are elsewhere must come first.
bool lacks_lanes(const Warp* w, const Insn* ip) { return ip[1].b & 4 && w->live & ~w->active; }

/// Calls f(number, lanes) for the barriers that the lanes of `mask` name.
template <class F>
void each_barrier(Warp* w, const Insn* ip, uint32_t mask, F f) {
  const auto* ids = reinterpret_cast<const uint32_t*>(w->file + ip->a);
  const bool by_lane = ip[1].b & 1;
  while (mask) {
    const uint32_t id = ids[by_lane ? std::countr_zero(mask) : 0];
    uint32_t same = mask;
    for (uint32_t m = mask; by_lane && m; m &= m - 1)
      if (ids[std::countr_zero(m)] != id) same &= ~(m & -m);
    f(id, same);
    mask &= ~same;
  }
}
Barrier& arrive(Warp* w, const Insn* ip, uint32_t id, uint32_t mask) {
  const Insn* more = ip + 1;
  if (more->b & 4 && mask != w->live)
    misused_barrier(w, ip, "only some threads of the warp execute it, but an aligned barrier is for all of them");
  if (id >= 16) misused_barrier(w, ip, "a block has 16 barriers, 0 to 15");
  for (uint32_t i = 0; i < w->split_count; ++i)
    if (const Split& s = w->splits[i]; s.wait == Wait::barrier && s.id != id)
      misused_barrier(w, ip,
                      "threads of its warp wait at barrier " + std::to_string(s.id) +
                          ": a warp can be at one barrier only, and a GPU stops with an illegal instruction");
  Barrier& barrier = w->block->barriers[id];
  const auto* counts = reinterpret_cast<const uint32_t*>(w->file + ip->b);
  const uint32_t count = ip->b ? counts[more->b & 2 ? std::countr_zero(mask) : 0] : 0;
  if (count % 32 != 0 || (ip->b && count == 0))
    misused_barrier(w, ip, "the number of threads of a barrier is a multiple of 32, and not 0");
  const uint32_t all = (w->block->threads + 31) / 32 * 32;
  if (barrier.threads && (barrier.expected ? barrier.expected : all) != (count ? count : all))
    misused_barrier(w, ip,
                    "this thread comes to barrier " + std::to_string(id) + " with a count of " +
                        std::to_string(count ? count : all) + " threads, those that are there have " +
                        std::to_string(barrier.expected ? barrier.expected : all));
  barrier.expected = count;
  barrier.threads += static_cast<uint32_t>(std::popcount(mask));
  barrier.rounded += mask == w->live ? 32u : static_cast<uint32_t>(std::popcount(mask));
  if (w->block->sanitizer) w->block->sanitizer->arrive(*w, mask, id);
  return barrier;
}
void complete_if_all_are_there(Warp* w, uint32_t id) {
  if (is_complete(*w->block, w->block->barriers[id])) complete(*w->block, id);
}
const Insn* wait_at_barrier(Warp* w, const Insn* ip, bool reduces) {
  if (lacks_lanes(w, ip)) return wait_for_lanes(w, ip, w->live);
  const uint32_t lanes = guarded_lanes(w, ip), others = w->active & ~lanes;
  if (!lanes) return ip + 2;
  if (others) park(w, ip + 2, others);
  each_barrier(w, ip, lanes, [&](uint32_t id, uint32_t mask) {
    Barrier& barrier = arrive(w, ip, id, mask);
    if (reduces) {
      barrier.popc += static_cast<uint32_t>(std::popcount(mask & (mask_at(w, ip[1].d) ^ ip[1].a)));
      barrier.votes += static_cast<uint32_t>(std::popcount(mask));
    }
    park(w, ip + 2, mask, Wait::barrier, id, 0, reduces ? ip : nullptr);
    complete_if_all_are_there(w, id);
  });
  return nullptr;
}
const Insn* bar_sync(Warp* w, const Insn* ip) { return wait_at_barrier(w, ip, false); }
const Insn* bar_red(Warp* w, const Insn* ip) { return wait_at_barrier(w, ip, true); }
const Insn* bar_arrive(Warp* w, const Insn* ip) {
  if (lacks_lanes(w, ip)) return wait_for_lanes(w, ip, w->live);
  each_barrier(w, ip, guarded_lanes(w, ip), [&](uint32_t id, uint32_t mask) {
    arrive(w, ip, id, mask);
    complete_if_all_are_there(w, id);
  });
  return ip + 2;
}
/// a = member mask. Next slot as above.
const Insn* bar_warp(Warp* w, const Insn* ip) {
  const uint32_t lanes = guarded_lanes(w, ip);
  const auto* members = reinterpret_cast<const uint32_t*>(w->file + ip->a);
  const bool by_lane = ip[1].b & 1;
  uint32_t need = 0;
  for (uint32_t m = lanes; m; m &= m - 1) need |= members[by_lane ? std::countr_zero(m) : 0];
  return need & w->live & ~w->active ? wait_for_members(w, ip, ip + 2, lanes, members, by_lane) : ip + 2;
}

// --- cp.async --------------------------------------------------------------------------------------------------------

void perform(Warp* w, const AsyncCopy& copy, uint32_t mask) {
  if (copy.whole && copy.bytes == 16 && mask == ~0u) {
    for (int lane = 0; lane < 32; ++lane) std::memcpy(w->shared + copy.to[lane], copy.from[lane], 16);
    return;
  }
  for (uint32_t m = mask; m; m &= m - 1) {
    int lane = std::countr_zero(m);
    uint8_t* to = w->shared + copy.to[lane];
    if (copy.valid[lane]) std::memcpy(to, copy.from[lane], copy.valid[lane]);
    std::memset(to + copy.valid[lane], 0, copy.bytes - copy.valid[lane]);
  }
}
/// The lanes of `mask` that are at the same number of groups as the first of them.
uint32_t lanes_in_step(const AsyncQueue& q, uint32_t mask) {
  const uint32_t number = q.groups[std::countr_zero(mask)];
  uint32_t differ = 0;
  for (uint32_t n : q.groups) differ |= n ^ number;
  if (differ == 0) return mask;
  uint32_t same = 0;
  for (uint32_t m = mask; m; m &= m - 1)
    if (q.groups[std::countr_zero(m)] == number) same |= 1u << std::countr_zero(m);
  return same;
}
/// What the lanes of `mask` have issued and not committed becomes a group.
void commit(Warp* w, uint32_t mask) {
  AsyncQueue& q = *w->async;
  for (uint32_t lane = 0; lane < 32; ++lane) q.groups[lane] += mask >> lane & 1;
  size_t count = q.copies.size();
  for (size_t i = 0; i < count; ++i) {
    if (q.copies[i].group != 0) continue;
    uint32_t lanes = q.copies[i].mask & mask;
    if (!lanes) continue;
    uint32_t number = q.groups[std::countr_zero(lanes)], same = lanes_in_step(q, lanes);
    if (same != q.copies[i].mask) { // lanes that have not committed, or are at another number
      AsyncCopy rest = q.copies[i];
      rest.mask &= ~same;
      q.copies[i].mask = same;
      q.copies.push_back(rest);
      if (lanes != same) ++count;
    }
    q.copies[i].group = number;
  }
}
/// All but the last `pending` groups of each lane are done, and with `uncommitted` everything.
void wait(Warp* w, uint32_t mask, uint32_t pending, bool uncommitted) {
  AsyncQueue& q = *w->async;
  size_t kept = 0;
  uint32_t done = q.issued; // copies up to this one are done
  const bool in_step = lanes_in_step(q, mask) == mask;
  for (size_t i = 0; i < q.copies.size(); ++i) {
    AsyncCopy& copy = q.copies[i];
    const uint32_t lanes = copy.mask & mask;
    auto is_ready = [&](uint32_t lane) {
      return uncommitted || (copy.group != 0 && copy.group + pending <= q.groups[lane]);
    };
    uint32_t ready = 0;
    if (in_step)
      ready = lanes && is_ready(static_cast<uint32_t>(std::countr_zero(lanes))) ? lanes : 0;
    else
      for (uint32_t m = lanes; m; m &= m - 1)
        if (is_ready(static_cast<uint32_t>(std::countr_zero(m)))) ready |= 1u << std::countr_zero(m);
    if (ready) perform(w, copy, ready);
    copy.mask &= ~ready;
    if (copy.mask) {
      if (copy.mask & mask) done = std::min(done, copy.number - 1);
      if (kept != i) q.copies[kept] = copy;
      ++kept;
    }
  }
  q.copies.resize(kept);
  std::erase_if(w->block->cluster->unawaited, [&](const Unawaited& u) {
    return u.warp == w && u.kind == Unawaited::Kind::copy && mask >> u.lane & 1;
  });
  if (w->block->sanitizer) w->block->sanitizer->copies_done(*w, done);
}
const Insn* copy_commit(Warp* w, const Insn* ip) {
  if (uint32_t m = guarded_lanes(w, ip)) commit(w, m);
  return ip + 1;
}
/// imm: groups that may stay; a = 1: everything, committed or not.
const Insn* copy_wait(Warp* w, const Insn* ip) {
  if (uint32_t m = guarded_lanes(w, ip)) wait(w, m, ip->imm, ip->a != 0);
  return ip + 1;
}

/// %clock and its kin count instructions, roughly: basic blocks that this warp has begun.
const Insn* clock(Warp* w, const Insn* ip) {
  w->clock += 16;
  uint64_t value = ip->imm ? w->clock >> 32 : w->clock;
  std::memcpy(w->file + ip->d, &value, sizeof value);
  return ip + 1;
}

} // namespace

void complete_copies(Warp* w, uint32_t mask, uint32_t number) {
  std::vector<AsyncCopy>& copies = w->async->copies;
  for (AsyncCopy& copy : copies) {
    if (copy.number > number) continue;
    perform(w, copy, copy.mask & mask);
    copy.mask &= ~mask;
  }
  std::erase_if(copies, [](const AsyncCopy& copy) { return copy.mask == 0; });
}

void park(Warp* w, const Insn* pc, uint32_t mask, Wait wait, uint32_t id, uint32_t need, const Insn* at) {
  w->splits[w->split_count++] = {pc, mask, wait, id, need, at, _mm_getcsr(), false, w->depth};
}

namespace {
/// Lanes that are at no place now wait at `ip` for the lanes `need`, with those that do already.
void wait_together(Warp* w, const Insn* ip, uint32_t lanes, uint32_t need) {
  need &= w->live;
  for (uint32_t i = 0; i < w->split_count;) {
    const Split& s = w->splits[i];
    if (s.pc == ip && s.wait == Wait::lanes && s.depth == w->depth && (s.need & w->live) == need) {
      lanes |= s.mask;
      remove_split(w, i);
    } else
      ++i;
  }
  bool complete = (need & ~lanes) == 0;
  park(w, ip, lanes, complete ? Wait::nothing : Wait::lanes, 0, need);
}
} // namespace

const Insn* wait_for_lanes(Warp* w, const Insn* ip, uint32_t need) {
  wait_together(w, ip, w->active, need);
  return nullptr;
}

const Insn* wait_for_members(Warp* w, const Insn* ip, const Insn* after, uint32_t lanes, const uint32_t* members,
                             bool by_lane) {
  if (uint32_t others = w->active & ~lanes) park(w, after, others);
  while (lanes) {
    const uint32_t need = members[by_lane ? std::countr_zero(lanes) : 0];
    uint32_t group = lanes;
    for (uint32_t m = lanes; by_lane && m; m &= m - 1)
      if (members[std::countr_zero(m)] != need) group &= ~(m & -m);
    wait_together(w, ip, group, need);
    lanes &= ~group;
  }
  return nullptr;
}

AsyncCopy& new_copy(Warp* w) {
  AsyncCopy& copy = w->async->copies.emplace_back();
  copy.number = ++w->async->issued;
  copy.observed = w->async->observed;
  return copy;
}

bool find_allocation(Warp* w, uint64_t address, uint64_t bytes) {
  GlobalMemory::Range r = w->block->launch->memory->find(address);
  if (r.begin == r.end || address < r.begin || address >= r.end || r.end - address < bytes) return false;
  w->allocation_begin = r.begin;
  w->allocation_end = r.end;
  return true;
}

const ControlHandlers& control_handlers() {
  static const ControlHandlers all{head,       jump,    branch,   branch_table, exit_,     trap,     bar_sync,
                                   bar_arrive, bar_red, bar_warp, copy_commit,  copy_wait, set_mode, clock};
  return all;
}

// --- the scheduler ---------------------------------------------------------------------------------------------------

Turn BlockState::run_warp(Warp& w, uint32_t fuel) {
  has_begun = true;
  Turn turn = Turn::idle;
  for (;;) {
    uint32_t best = none, rejoin = 0, spinning = 0;
    for (uint32_t i = 0; i < w.split_count; ++i) {
      const Split& s = w.splits[i];
      spinning += s.spins;
      if (s.wait == Wait::nothing && !s.spins &&
          (best == none || goes_before(s, w.splits[best].depth, w.splits[best].pc)))
        best = i;
      if (s.wait == Wait::rejoin && s.pc == w.splits[0].pc) ++rejoin;
      if (s.wait == Wait::lanes && (s.need & w.live & ~s.mask) == 0 && best == none)
        best = i; // those it waited for have ended
    }
    if (best == none && w.split_count > 0 && rejoin == w.split_count) best = 0; // all that live are there
    if (best == none && spinning > 0) { // all have had their turn; now the other warps
      for (uint32_t i = 0; i < w.split_count; ++i) w.splits[i].spins = false;
      return std::max(turn, Turn::polled);
    }
    if (best == none) return turn;
    Split s = w.splits[best];
    remove_split(&w, best);
    for (uint32_t i = 0; i < w.split_count;)
      if (w.splits[i].pc == s.pc && w.splits[i].depth == s.depth &&
          (w.splits[i].wait == s.wait || w.splits[i].wait == Wait::nothing) && s.wait != Wait::barrier) {
        s.mask |= w.splits[i].mask;
        remove_split(&w, i);
      } else
        ++i;
    w.active = s.mask;
    w.depth = s.depth;
    w.file = file_at(&w, s.depth);
    w.yielded = w.polled = false;
    w.fuel = fuel;
    const Insn* ip = s.pc;
    _mm_setcsr(s.mode);
    do ip = ip->fn(&w, ip);
    while (ip);
    turn = std::max(turn, w.yielded || w.polled ? Turn::polled : Turn::moved);
    if (w.yielded) return turn;
  }
}

void BlockState::end() {
  if (sanitizer) sanitizer->end();
  if (!launch->recording) return;
  launch->recording->add_work(order, launch->recording->work_of(block_counts) - work_before_);
  if (warps[0].trace) warps[0].trace->block->end();
}

BlockState::BlockState(const LaunchState& l) : launch(&l) {
  const Program& p = *l.program;
  threads = l.block[0] * l.block[1] * l.block[2];
  uint32_t count = (threads + 31) / 32;
  warps.resize(count);
  queues.resize(count);
  calls.resize(count);
  auto memory = [](uint64_t bytes) {
    return std::unique_ptr<uint8_t[], void (*)(void*)>(
        static_cast<uint8_t*>(std::aligned_alloc(128, (bytes + 255) / 128 * 128)), std::free);
  };
  files = memory(uint64_t{count} * p.file_bytes);
  shared = memory(l.shared_bytes);
  local = memory(uint64_t{count} * 32 * p.local_bytes);
  std::memset(files.get(), 0, uint64_t{count} * p.file_bytes);
  block_counts.assign(p.block_instructions.size(), 0);
  for (uint32_t i = 0; i < count; ++i) {
    Warp& w = warps[i];
    w.file = files.get() + uint64_t{i} * p.file_bytes;
    w.shared = shared.get();
    w.shared_bytes = l.shared_bytes;
    w.arena = l.memory->arena();
    w.params = l.params.data();
    w.param_bytes = l.params.size();
    w.local = local.get() + uint64_t{i} * 32 * p.local_bytes;
    w.local_bytes = p.local_bytes;
    w.block_counts = block_counts.data();
    w.block = this;
    w.async = &queues[i];
    w.calls = &calls[i];
    w.index = i;
    for (const auto& [offset, value] : p.constants) std::memcpy(w.file + offset, &value, sizeof value);
  }
  if (p.instruments.counters) {
    block_lanes.assign(p.block_instructions.size(), 0);
    counters.resize(p.counters.size() + 1); // not empty
  }
  if (p.instruments.sanitize) sanitizer.emplace(*this);
}

void BlockState::fill_specials(Warp& w) {
  const auto& shape = launch->block;
  for (const SpecialSlot& s : launch->program->specials) {
    auto value = [&](uint32_t lane) -> uint64_t {
      uint32_t t = w.index * 32 + lane;
      std::array<uint32_t, 3> tid{t % shape[0], t / shape[0] % shape[1], t / shape[0] / shape[1]};
      switch (s.special) {
      case Special::tid: return tid[s.component];
      case Special::ntid: return shape[s.component];
      case Special::ctaid: return index[s.component];
      case Special::nctaid: return launch->grid[s.component];
      case Special::clusterid: return index[s.component] / launch->cluster[s.component];
      case Special::nclusterid: return launch->grid[s.component] / launch->cluster[s.component];
      case Special::cluster_ctaid: return in_cluster[s.component];
      case Special::cluster_nctaid: return launch->cluster[s.component];
      case Special::cluster_ctarank: return rank;
      case Special::cluster_nctarank: return cluster->blocks.size();
      case Special::is_explicit_cluster: return launch->explicit_cluster ? ~0u : 0u;
      case Special::laneid: return lane;
      case Special::warpid: return w.index;
      case Special::nwarpid: return 64; // of a multiprocessor, whatever the block has
      case Special::smid: return order % launch->multiprocessors;
      case Special::nsmid: return launch->multiprocessors;
      case Special::envreg1: return launch->workspace >> 32; // as cooperative_groups of CUDA 13 takes them
      case Special::envreg2: return launch->workspace & 0xffffffff;
      case Special::lanemask_eq: return 1u << lane;
      case Special::lanemask_le: return (2ull << lane) - 1;
      case Special::lanemask_lt: return (1ull << lane) - 1;
      case Special::lanemask_ge: return uint32_t(~((1ull << lane) - 1));
      case Special::lanemask_gt: return uint32_t(~((2ull << lane) - 1));
      case Special::dynamic_smem_size: return launch->dynamic_shared;
      case Special::total_smem_size: return launch->program_shared();
      case Special::aggr_smem_size: return launch->program_shared() + reserved_shared_bytes;
      case Special::reserved_smem_offset_begin:
      case Special::reserved_smem_offset_0: return launch->reserved_shared();
      case Special::reserved_smem_offset_1: return launch->reserved_shared() + reserved_shared_bytes / 2;
      case Special::reserved_smem_offset_end: return launch->reserved_shared() + reserved_shared_bytes;
      case Special::reserved_smem_offset_cap: return reserved_shared_bytes;
      case Special::warp_size: return 32;
      default: return 0;
      }
    };
    if (s.row) {
      auto* row = reinterpret_cast<uint32_t*>(w.file + s.offset);
      for (uint32_t lane = 0; lane < 32; ++lane) row[lane] = static_cast<uint32_t>(value(lane));
    } else {
      uint64_t x = value(0);
      std::memcpy(w.file + s.offset, &x, sizeof x);
    }
  }
}

void BlockState::begin() {
  const Program& p = *launch->program;
  live_threads = threads;
  has_begun = false;
  barriers = {};
  mbarriers.clear();
  products.assign((warps.size() + 3) / 4, {});
  if (sanitizer) sanitizer->begin(order);
  if (launch->recording) work_before_ = launch->recording->work_of(block_counts);
  std::memset(shared.get(), 0xff, launch->shared_bytes);
  for (Warp& w : warps) {
    uint32_t lanes = std::min(32u, threads - w.index * 32);
    w.live = lanes == 32 ? ~0u : (1u << lanes) - 1;
    w.clock = 0;
    w.trace = launch->recording ? launch->recording->trace_of(order, w.index) : nullptr;
    w.split_count = 0;
    w.allocation_begin = 1, w.allocation_end = 0;
    w.splits[w.split_count++] = {p.code.data(), w.live, Wait::nothing, 0, 0, nullptr, p.default_mode, false, 0};
    begin_calls(w);
    w.async->copies.clear();
    w.async->issued = 0;
    w.async->groups.fill(0);
    w.async->bulk_groups.fill(0);
    w.async->cluster_phase.fill(0);
    for (uint32_t offset : p.undefined_rows32) std::memset(w.file + offset, 0xff, 128);
    for (uint32_t offset : p.undefined_rows64) std::memset(w.file + offset, 0xff, 256);
    fill_specials(w);
  }
}

} // namespace tilejit::runtime::simulator
