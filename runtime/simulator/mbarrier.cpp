// mbarrier.cpp - mbarriers, barriers of a cluster, addresses in it. PTX ISA "mbarrier", "barrier.cluster", "mapa",
// "getctarank".
//
// The state that an arrival returns: the phase it arrived in below, the arrivals that were pending above.
#include "runtime/simulator/cluster.h"

#include <algorithm>
#include <bit>

namespace tilejit::runtime::simulator {

namespace {

/// Its shared memory exists as long as one of its threads does.
BlockState& running(Warp* w, const Insn* ip, BlockState& block) {
  if (&block == w->block || block.live_threads) return block;
  misused_barrier(
      w, ip,
      "it accesses shared memory of block " + std::to_string(block.rank) +
          " of the cluster, which has ended: that block must wait for this at barrier.cluster before it ends");
}

} // namespace

SharedPlace shared_place(Warp* w, const Insn* ip, uint32_t lane, uint64_t address, uint64_t bytes, uint64_t align,
                         bool write) {
  uint64_t at = address - shared_window < window_bytes ? address - shared_window : address;
  BlockState* block = w->block;
  if (uint64_t rank = at >> rank_shift; rank > 0 && rank <= block->cluster->blocks.size()) {
    block = block->cluster->blocks[rank - 1].get();
    at &= (1u << rank_shift) - 1;
  }
  if (at % align != 0) fault(w, ip, Fault::misaligned, Space::shared, lane, address, align, write);
  uint64_t end = block->launch->shared_bytes;
  if (at > end || end - at < bytes) fault(w, ip, Fault::out_of_bounds, Space::shared, lane, address, bytes, write);
  running(w, ip, *block);
  return {block, static_cast<uint32_t>(at)};
}

uint8_t* remote_shared(Warp* w, const Insn* ip, uint64_t at, uint64_t bytes) {
  uint64_t rank = at >> rank_shift, offset = at & ((1u << rank_shift) - 1);
  if (rank == 0 || rank > w->block->cluster->blocks.size()) return nullptr;
  if (offset + bytes > w->block->launch->shared_bytes) return nullptr;
  return running(w, ip, *w->block->cluster->blocks[rank - 1]).shared.get() + offset;
}

// --- events ----------------------------------------------------------------------------------------------------------

Mbarrier* find_mbarrier(BlockState& block, uint32_t address) {
  for (Mbarrier& b : block.mbarriers)
    if (b.address == address) return &b;
  return nullptr;
}
Mbarrier& require_mbarrier(Warp* w, const Insn* ip, BlockState& block, uint32_t address) {
  if (Mbarrier* b = find_mbarrier(block, address)) return *b;
  misused_barrier(w, ip,
                  "there is no mbarrier at shared address " + std::to_string(address) +
                      ": mbarrier.init must come first, ordered before this by a barrier or a fence, and "
                      "mbarrier.inval only after it");
}

namespace {

void end_phase_if_complete(BlockState& block, Mbarrier& barrier) {
  if (barrier.pending != 0 || barrier.transactions != 0) return;
  ++barrier.phase;
  barrier.pending = barrier.expected;
  if (block.sanitizer) block.sanitizer->mbarrier_completed(barrier.address);
  for (Warp& w : block.warps)
    for (uint32_t i = 0; i < w.split_count; ++i)
      if (w.splits[i].wait == Wait::mbarrier && w.splits[i].id == barrier.address) w.splits[i].wait = Wait::nothing;
}

} // namespace

void arrive_on(Warp* w, const Insn* ip, BlockState& block, Mbarrier& barrier, uint32_t count) {
  if (count > barrier.pending)
    misused_barrier(w, ip,
                    std::to_string(count) + " arrivals on an mbarrier that waits for " +
                        std::to_string(barrier.pending) + " more in this phase");
  barrier.pending -= count;
  end_phase_if_complete(block, barrier);
}
void complete_transactions(BlockState& block, Mbarrier& barrier, uint64_t bytes) {
  barrier.transactions -= static_cast<int64_t>(bytes);
  end_phase_if_complete(block, barrier);
}
std::string describe(const Mbarrier& b) {
  return "phase " + std::to_string(b.phase) + " with " + std::to_string(b.pending) + " of " +
         std::to_string(b.expected) + " arrivals pending and a transaction count of " + std::to_string(b.transactions) +
         " bytes";
}

// --- instructions ----------------------------------------------------------------------------------------------------

namespace {

template <class T>
T* result_row(Warp* w, const Insn* ip) {
  return reinterpret_cast<T*>(w->file + ip->a);
}

/// Calls f(place, lanes) for the mbarriers that the lanes of `mask` name.
template <class F>
void each_mbarrier(Warp* w, const Insn* ip, uint32_t mask, F f) {
  while (mask) {
    auto lane = static_cast<uint32_t>(std::countr_zero(mask));
    const uint64_t address = address_value(w, words_of(ip), lane);
    uint32_t same = 0;
    each_lane(mask, [&](uint32_t l) { same |= address_value(w, words_of(ip), l) == address ? 1u << l : 0u; });
    f(shared_place(w, ip, lane, address, 8, 8, true), same);
    mask &= ~same;
  }
}

void init(Warp* w, const Insn* ip, BlockState& block, uint32_t address, uint64_t count) {
  if (count == 0 || count > max_arrivals) misused_barrier(w, ip, "an mbarrier counts 1 to 1048575 arrivals");
  if (find_mbarrier(block, address)) misused_barrier(w, ip, "an mbarrier is initialised again without mbarrier.inval");
  auto arrivals = static_cast<uint32_t>(count);
  block.mbarriers.push_back({address, 0, arrivals, arrivals, 0});
}
void invalidate(BlockState& block, const Mbarrier& barrier) {
  std::erase_if(block.mbarriers, [&](const Mbarrier& b) { return b.address == barrier.address; });
}

const Insn* mbarrier(Warp* w, const Insn* ip) {
  const uint32_t* words = words_of(ip);
  auto op = static_cast<MbarrierOp>(ip->imm & 15);
  if (w->block->sanitizer && (op == MbarrierOp::arrive || op == MbarrierOp::drop))
    each_mbarrier(w, ip, guarded_lanes(w, ip), [&](const SharedPlace& at, uint32_t lanes) {
      at.block->sanitizer->mbarrier_arrive(*w, ip, lanes, at.offset, !(ip->imm & mbarrier_relaxed));
    });
  each_lane(guarded_lanes(w, ip), [&](uint32_t lane) {
    SharedPlace at = shared_place(w, ip, lane, address_value(w, words, lane), 8, 8, true);
    bool expects = ip->imm & mbarrier_expects;
    uint64_t value = words[2] == no_operand ? 1 : operand_value(w, words[2], lane) & 0xffffffff;
    uint32_t count = expects ? 1 : static_cast<uint32_t>(value);
    if (op == MbarrierOp::init) {
      init(w, ip, *at.block, at.offset, value);
      if (at.block->sanitizer) at.block->sanitizer->mbarrier_init(*w, ip, lane, at.offset);
      return;
    }
    Mbarrier& b = require_mbarrier(w, ip, *at.block, at.offset);
    if (op == MbarrierOp::inval && at.block->sanitizer) at.block->sanitizer->mbarrier_inval(*w, ip, lane, at.offset);
    uint64_t state = uint64_t{b.pending} << 32 | b.phase;
    if (expects || op == MbarrierOp::expect) b.transactions += static_cast<int64_t>(value);
    switch (op) {
    case MbarrierOp::inval: return invalidate(*at.block, b);
    case MbarrierOp::expect: return;
    case MbarrierOp::complete: return complete_transactions(*at.block, b, value);
    case MbarrierOp::drop:
      if (count > b.expected) misused_barrier(w, ip, "more arrivals are dropped than the mbarrier expects in a phase");
      b.expected -= count;
      break;
    default: break;
    }
    if (ip->imm & mbarrier_incomplete && count >= b.pending)
      misused_barrier(w, ip, ".noComplete, but this arrival completes the phase");
    arrive_on(w, ip, *at.block, b, count);
    if (ip->a) result_row<uint64_t>(w, ip)[lane] = state;
  });
  return after(ip);
}

/// imm: 1 parity, 2 may park: then the lanes that must wait are parked here and test again.
const Insn* mbarrier_wait(Warp* w, const Insn* ip) {
  const uint32_t* words = words_of(ip);
  uint32_t mask = guarded_lanes(w, ip), waiting = 0;
  uint32_t addresses[32], phases[32];
  each_lane(mask, [&](uint32_t lane) {
    SharedPlace at = shared_place(w, ip, lane, address_value(w, words, lane), 8, 8, false);
    Mbarrier& b = require_mbarrier(w, ip, *at.block, at.offset);
    auto value = static_cast<uint32_t>(operand_value(w, words[2], lane));
    bool done = ip->imm & 1 ? (b.phase & 1) != (value & 1) : b.phase != value;
    if (!done) waiting |= 1u << lane;
    addresses[lane] = at.offset, phases[lane] = b.phase;
  });
  if (w->block->sanitizer || !w->block->cluster->unawaited.empty())
    each_mbarrier(w, ip, mask & ~waiting, [&](const SharedPlace& at, uint32_t lanes) {
      awaited(*at.block, at.offset, phases[std::countr_zero(lanes)]);
      if (at.block->sanitizer) at.block->sanitizer->mbarrier_left(*w, ip, lanes, at.offset);
    });
  auto* result = result_row<uint32_t>(w, ip);
  bool parks = ip->imm & 2;
  if (ip->a) *result = (*result & ~(parks ? mask & ~waiting : mask)) | (mask & ~waiting);
  if (!waiting) return after(ip);
  if (!parks) { // others first: what is polled for may come
    park(w, after(ip), w->active);
    w->splits[w->split_count - 1].spins = true;
    w->polled = true;
    return nullptr;
  }
  w->active &= ~waiting;
  while (waiting) {
    auto lane = static_cast<uint32_t>(std::countr_zero(waiting));
    uint32_t same = 0;
    each_lane(waiting, [&](uint32_t l) { same |= addresses[l] == addresses[lane] ? 1u << l : 0u; });
    park(w, ip, same, Wait::mbarrier, addresses[lane], phases[lane]);
    waiting &= ~same;
  }
  if (w->active) park(w, after(ip), w->active);
  return nullptr;
}

const Insn* pending_count(Warp* w, const Insn* ip) {
  each_lane(guarded_lanes(w, ip), [&](uint32_t lane) {
    result_row<uint32_t>(w, ip)[lane] = static_cast<uint32_t>(operand_value(w, words_of(ip)[0], lane) >> 32);
  });
  return after(ip);
}

const Insn* map_address(Warp* w, const Insn* ip) {
  each_lane(guarded_lanes(w, ip), [&](uint32_t lane) {
    uint64_t source = operand_value(w, words_of(ip)[0], lane), rank = operand_value(w, words_of(ip)[1], lane);
    rank &= 0xffffffff;
    if (rank >= w->block->cluster->blocks.size()) fail(w, ip, "mapa: the cluster has no block of that rank");
    uint64_t base = ip->b ? source - shared_window : source;
    uint64_t to = (base & ((1u << rank_shift) - 1)) + ((rank + 1) << rank_shift) + (ip->b ? shared_window : 0);
    if (ip->imm)
      result_row<uint64_t>(w, ip)[lane] = to;
    else
      result_row<uint32_t>(w, ip)[lane] = static_cast<uint32_t>(to);
  });
  return after(ip);
}
const Insn* block_rank(Warp* w, const Insn* ip) {
  each_lane(guarded_lanes(w, ip), [&](uint32_t lane) {
    uint64_t at = operand_value(w, words_of(ip)[0], lane);
    if (at - shared_window < window_bytes) at -= shared_window;
    uint32_t rank = static_cast<uint32_t>(at) >> rank_shift;
    result_row<uint32_t>(w, ip)[lane] = rank ? rank - 1 : w->block->rank;
  });
  return after(ip);
}

// A thread may arrive again only after it has waited; `cluster_phase` is the phase it has arrived in, plus one.

const Insn* cluster_arrive(Warp* w, const Insn* ip) {
  uint32_t mask = guarded_lanes(w, ip);
  if (!mask) return after(ip);
  if (ip->imm & 1 && w->live & ~w->active) return wait_for_lanes(w, ip, w->live);
  ClusterState& cluster = *w->block->cluster;
  if (w->block->sanitizer) w->block->sanitizer->arrive_at(cluster.arrivals, *w, mask, !(ip->imm & 2));
  each_lane(mask, [&](uint32_t lane) {
    uint32_t& phase = w->async->cluster_phase[lane];
    if (phase == cluster.phase + 1)
      misused_barrier(w, ip, "a thread arrives at the cluster's barrier twice without barrier.cluster.wait between");
    phase = cluster.phase + 1;
  });
  cluster.arrived += static_cast<uint32_t>(std::popcount(mask));
  cluster.complete_barrier();
  return after(ip);
}
const Insn* cluster_wait(Warp* w, const Insn* ip) {
  uint32_t mask = guarded_lanes(w, ip), waiting = 0;
  if (!mask) return after(ip);
  if (ip->imm && w->live & ~w->active) return wait_for_lanes(w, ip, w->live);
  ClusterState& cluster = *w->block->cluster;
  each_lane(mask, [&](uint32_t lane) {
    uint32_t phase = w->async->cluster_phase[lane];
    if (phase == 0) misused_barrier(w, ip, "barrier.cluster.wait without barrier.cluster.arrive before it");
    if (phase == cluster.phase + 1) waiting |= 1u << lane;
  });
  if (w->block->sanitizer && mask & ~waiting)
    w->block->sanitizer->leave_from(cluster.completed_arrivals, *w, mask & ~waiting);
  if (!waiting) return after(ip);
  w->active &= ~waiting;
  park(w, ip, waiting, Wait::cluster);
  if (w->active) park(w, after(ip), w->active);
  return nullptr;
}

/// The copies that the lanes have issued so far will arrive for them.
const Insn* copies_arrive(Warp* w, const Insn* ip) {
  each_mbarrier(w, ip, guarded_lanes(w, ip), [&](const SharedPlace& at, uint32_t same) {
    Mbarrier& b = require_mbarrier(w, ip, *at.block, at.offset);
    if (!ip->imm) b.pending += static_cast<uint32_t>(std::popcount(same));
    Token t;
    t.kind = Token::Kind::copies_arrive;
    t.block = w->block, t.warp = w, t.ip = ip;
    t.lane = static_cast<uint32_t>(std::countr_zero(same)), t.lanes = same;
    t.blocks = 1u << at.block->rank;
    t.barrier = at.offset;
    t.copies = w->async->issued;
    on_issue(std::move(t));
  });
  return after(ip);
}

} // namespace

const AsyncHandlers& async_handlers() {
  static const AsyncHandlers all{mbarrier,       mbarrier_wait, pending_count, map_address, block_rank,
                                 cluster_arrive, cluster_wait,  copies_arrive, bulk,        bulk_commit,
                                 bulk_wait,      tensor,        store_async,   map_replace, map_copy};
  return all;
}

} // namespace tilejit::runtime::simulator
