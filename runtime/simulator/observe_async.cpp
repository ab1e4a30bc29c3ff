// observe_async.cpp - the observing instructions in front of barriers and asynchronous operations: see observe.h.
#include "runtime/simulator/cluster.h"
#include "runtime/simulator/observe.h"

#include <algorithm>
#include <bit>
#include <optional>

namespace tilejit::runtime::simulator {
namespace {

struct Place {
  BlockState* block;
  uint32_t offset;
};
/// Where an address of shared memory lies; nothing where the instruction will report it.
std::optional<Place> place_of(Warp* w, uint64_t address) {
  uint64_t at = address - shared_window < window_bytes ? address - shared_window : address;
  BlockState* block = w->block;
  if (uint64_t rank = at >> rank_shift; rank > 0 && rank <= block->cluster->blocks.size()) {
    block = block->cluster->blocks[rank - 1].get();
    at &= (1u << rank_shift) - 1;
  }
  if (at + 8 > w->shared_bytes) return std::nullopt;
  return Place{block, static_cast<uint32_t>(at)};
}

AccessCounters& counters_at(Warp* w) { return w->block->counters[w->counter]; }

/// Lanes at one mbarrier are one access and one arrival.
void see_mbarrier(Warp* w, const Insn* target, bool waits) {
  const uint32_t* words = words_of(target);
  auto op = static_cast<MbarrierOp>(target->imm & 15);
  std::vector<uint32_t> seen;
  Access a;
  for (uint32_t m = guarded_lanes(w, target); m; m &= m - 1) {
    auto lane = static_cast<uint32_t>(std::countr_zero(m));
    auto place = place_of(w, address_value(w, words, lane));
    if (!place) continue;
    a.mask |= 1u << lane;
    a.at[lane] = place->offset;
    const uint32_t object = mbarrier_object(place->block->rank, place->offset);
    const Mbarrier* b = find_mbarrier(*place->block, place->offset);
    if (!w->trace || !b || std::find(seen.begin(), seen.end(), object) != seen.end()) continue;
    seen.push_back(object);
    TraceDetail d{.role = TraceDetail::Role::arrival, .rank = place->block->rank, .object = object, .phase = b->phase};
    if (waits) {
      auto value = static_cast<uint32_t>(operand_value(w, words[2], lane));
      const bool parity = target->imm & 1, parks = target->imm & 2;
      const bool done = parity ? (b->phase & 1) != (value & 1) : b->phase != value;
      if (!done && !parks) continue; // it will be asked again
      d.role = TraceDetail::Role::wait;
      d.phase = done ? b->phase : b->phase + 1;
    } else if (op == MbarrierOp::init || op == MbarrierOp::inval)
      continue;
    w->trace->add(d);
  }
  if (!a.mask) return;
  Traffic& t = counters_at(w).shared;
  ++t.requests;
  t.bytes += uint64_t{8} * static_cast<uint32_t>(std::popcount(a.mask));
  auto [transactions, least] = wavefronts(a, 8, false);
  t.transactions += transactions, t.least += least;
  if (w->trace) w->trace->add({.wavefronts = transactions});
}

/// Its first warp stands for the warpgroup: what it reads is read once for all four.
void see_product(Warp* w, const Insn* target) {
  if (!guarded_lanes(w, target)) return;
  ProductReads r = product_reads(w, target);
  if (w->index % 4 == 0) {
    Traffic& t = counters_at(w).shared;
    ++t.requests;
    t.bytes += r.bytes;
    t.transactions += r.wavefronts, t.least += r.least;
  }
  if (w->trace) w->trace->add({.wavefronts = r.wavefronts});
}

void see_cluster_barrier(Warp* w, const Insn* target, bool waits) {
  uint32_t mask = guarded_lanes(w, target);
  if (!w->trace || !mask) return;
  const uint32_t phase = w->block->cluster->phase, arrived = w->async->cluster_phase[std::countr_zero(mask)];
  w->trace->add({.role = waits ? TraceDetail::Role::wait : TraceDetail::Role::arrival,
                 .object = cluster_barrier_object,
                 .phase = waits ? arrived : phase});
}

void count_shared(Traffic& t, uint32_t at, uint32_t bytes, uint32_t copies) {
  const uint32_t lines = (at + bytes + 127) / 128 - at / 128;
  ++t.requests;
  t.bytes += uint64_t{bytes} * copies;
  t.transactions += uint64_t{lines} * copies;
  t.least += uint64_t{(bytes + 127) / 128} * copies;
}

} // namespace

bool observes(Fn f) {
  const AsyncHandlers& h = async_handlers();
  return f == h.mbarrier || f == h.mbarrier_wait || f == h.cluster_arrive || f == h.cluster_wait || f == h.bulk ||
         f == h.tensor || f == h.store_async || f == h.copies_arrive || f == product_handlers().issue;
}

const Insn* observe_async(Warp* w, const Insn* ip) {
  const AsyncHandlers& h = async_handlers();
  const Insn* target = ip + 1;
  w->counter = ip->imm;
  if (w->block->counters.empty()) return target;
  if (target->fn == h.mbarrier || target->fn == h.mbarrier_wait)
    see_mbarrier(w, target, target->fn == h.mbarrier_wait);
  else if (target->fn == h.cluster_arrive || target->fn == h.cluster_wait)
    see_cluster_barrier(w, target, target->fn == h.cluster_wait);
  else if (target->fn == product_handlers().issue)
    see_product(w, target);
  return target;
}

const Insn* observe_barrier(Warp* w, const Insn* ip) {
  const Insn *target = ip + 1, *more = ip + 2;
  if (!w->trace || !guarded_lanes(w, target)) return target;
  const auto* at = reinterpret_cast<const uint32_t*>(w->file + target->a);
  const uint32_t id = more->b & 1 ? at[std::countr_zero(w->active)] : at[0];
  if (id >= 16) return target;
  TraceDetail d{.role = TraceDetail::Role::arrival,
                .rank = w->block->rank,
                .object = barrier_object(w->block->rank, id),
                .phase = w->trace->block->phases[id]};
  w->trace->add(d);
  if (target->fn == control_handlers().bar_arrive) return target;
  d.role = TraceDetail::Role::wait;
  ++d.phase;
  w->trace->add(d);
  return target;
}

void count_transfer(const Token& t) {
  Warp* w = t.warp;
  AccessCounters& c = counters_at(w);
  WarpTrace* trace = w->trace;
  Recording* recording = w->block->launch->recording;
  const auto copies = static_cast<uint32_t>(std::popcount(t.blocks));
  const bool stores = t.kind == Token::Kind::to_global || t.kind == Token::Kind::tensor_store;
  const bool from_shared = t.from_shared && !stores;
  uint32_t sectors = 0;
  if (t.kind != Token::Kind::copies_arrive && t.kind != Token::Kind::store && !from_shared) {
    uint64_t bytes = 0;
    auto part = [&](uint64_t address, uint64_t size) {
      bytes += size;
      sectors += static_cast<uint32_t>((address + size + 31) / 32 - address / 32);
      if (recording) recording->touch(address, size, stores);
    };
    if (t.kind == Token::Kind::tensor_load || t.kind == Token::Kind::tensor_store)
      for (const BoxPiece& p : pieces_of(t)) part(p.global, p.bytes);
    else if (t.bytes)
      part(t.global, t.bytes);
    ++c.global.requests;
    c.global.bytes += bytes;
    c.global.transactions += sectors, c.global.least += (bytes + 31) / 32;
  }
  if (t.kind != Token::Kind::copies_arrive) count_shared(c.shared, t.shared, t.bytes, stores ? 1 : copies);
  if (from_shared) count_shared(c.shared, t.source, t.bytes, 1);
  if (!trace) return;
  const uint32_t wavefronts = t.kind == Token::Kind::copies_arrive ? 0 : (t.bytes + 127) / 128;
  if (stores || t.barrier == none) {
    trace->add({.wavefronts = wavefronts, .sectors = sectors, .rank = w->block->rank});
    return;
  }
  for (uint32_t m = t.blocks; m; m &= m - 1, sectors = 0) { // what goes to several blocks is fetched once
    auto rank = static_cast<uint32_t>(std::countr_zero(m));
    const Mbarrier* b = find_mbarrier(*w->block->cluster->blocks[rank], t.barrier);
    if (!b) continue;
    trace->add({.role = TraceDetail::Role::arrival,
                .wavefronts = wavefronts,
                .sectors = sectors,
                .rank = rank,
                .object = mbarrier_object(rank, t.barrier),
                .phase = b->phase});
  }
}

} // namespace tilejit::runtime::simulator
