// sanitize_async.cpp - see sanitize.h: mbarriers, and what asynchronous operations read and write.
//
// An operation's accesses are checked when it is issued, by what is ordered before the thread that issues it; those of
// the asynchronous proxy (bulk and tensor copies, wgmma) must come after a proxy fence besides where the generic proxy
// has written. PTX ISA "Async proxy", "Proxies". Their own writes are seen by whoever has waited for them: completion
// includes the fence. Reads need only be ordered before writes. Tensor maps that the kernel makes have a proxy of their
// own: between a write to one and a copy that uses it there must be a release and an acquire of fence.proxy.tensormap.
#include "runtime/simulator/cluster.h"
#include "runtime/simulator/swizzle.h"

#include <algorithm>
#include <bit>

namespace tilejit::runtime::simulator {
namespace {

template <class F>
void each_block(const Token& t, F f) {
  for (uint32_t m = t.blocks; m; m &= m - 1)
    f(*t.block->cluster->blocks[static_cast<size_t>(std::countr_zero(m))]->sanitizer);
}

} // namespace

/// The entry of Program::observed for an instruction.
uint32_t Sanitizer::observed_at(const Insn* ip) const {
  const Program& p = *block_.launch->program;
  auto insn = static_cast<uint32_t>(ip - p.code.data());
  auto it = std::lower_bound(p.observed.begin(), p.observed.end(), insn,
                             [](const Observed& o, uint32_t at) { return o.insn < at; });
  return static_cast<uint32_t>(it - p.observed.begin());
}

// --- mbarriers -------------------------------------------------------------------------------------------------------

void Sanitizer::mbarrier_init(const Warp& w, const Insn* ip, uint32_t lane, uint32_t address) {
  WarpTime& t = time_of(w);
  const uint32_t place = observed_at(ip);
  const uint64_t first = address >> shift_, count = uint64_t{8} >> shift_;
  known_ = nothing_known;
  check_write(w, t, place, lane, first, count, false);
  // No clock ever covers this record: whatever is no mbarrier instruction conflicts with it.
  writes_.put(first, count, record(Agents::most, 1, place, false) | lane);
  MbarrierTime& m = mbarriers_[address];
  const uint32_t used = m.first_epoch + m.phases;
  m = {};
  m.agent = block_.cluster->agents.number(Agent::Kind::mbarrier, block_.rank, address);
  m.first_epoch = used;
  m.init = record(agent(w), t.epoch, place, false) | lane;
  m.live = true;
  t.touched = true;
}

void Sanitizer::mbarrier_inval(const Warp& w, const Insn* ip, uint32_t lane, uint32_t address) {
  MbarrierTime* m = used_mbarrier(w, ip, lane, address);
  if (!m) return;
  WarpTime& t = time_of(w);
  m->live = false;
  m->phases += 1; // what was still to come is not what comes in the next one's first phase
  writes_.put(address >> shift_, uint64_t{8} >> shift_, record(agent(w), t.epoch, observed_at(ip), false) | lane);
  t.touched = true;
}

/// Its initialisation must be ordered before this use. Null: there is none, and the instruction says so.
Sanitizer::MbarrierTime* Sanitizer::used_mbarrier(const Warp& w, const Insn* ip, uint32_t lane, uint32_t address) {
  auto it = mbarriers_.find(address);
  if (it == mbarriers_.end() || !it->second.live) return nullptr;
  if (!ordered(w, time_of(w), lane, it->second.init))
    conflict(w, lane, observed_at(ip), How::use, it->second.init, true, address, Space::shared);
  return &it->second;
}

void Sanitizer::mbarrier_arrive(const Warp& w, const Insn* ip, uint32_t mask, uint32_t address, bool releases) {
  if (MbarrierTime* m = used_mbarrier(w, ip, static_cast<uint32_t>(std::countr_zero(mask)), address))
    arrive_at(m->arrived, w, mask, releases);
}

void Sanitizer::mbarrier_completed(uint32_t address) {
  MbarrierTime& m = mbarriers_[address];
  m.done = m.arrived;
  ++m.phases;
}

void Sanitizer::mbarrier_left(const Warp& w, const Insn* ip, uint32_t mask, uint32_t address) {
  MbarrierTime* m = used_mbarrier(w, ip, static_cast<uint32_t>(std::countr_zero(mask)), address);
  if (!m) return;
  acquire(m->done, w, mask);
  if (m->agent == Agents::nobody) return;
  uint32_t done = m->first_epoch + m->phases; // but for what should have come in these phases and has not
  for (const auto& [token, epoch] : m->pending) done = std::min(done, epoch - 1);
  Moment& now = time_of(w).now;
  now.before.raise(m->agent, done);
  now.proxied.raise(m->agent, done);
}

// --- accesses --------------------------------------------------------------------------------------------------------

bool Sanitizer::is_generic(Record r) const {
  return agent_of(r) != Agents::most && block_.cluster->agents[agent_of(r)].is_generic();
}

/// What is ordered before the access along a path with a fence between the proxies.
const Clock& Sanitizer::fenced(const AsyncAccess& a) {
  const Moment& now = time_of(a.w).now;
  return a.of_map ? now.mapped : now.proxied;
}

/// Records of this agent and epoch, whichever lane left them, are no conflict for the access; it remembers that.
bool Sanitizer::known_for_async(const AsyncAccess& a, Record r) {
  if (r >> agent_first == known_) return true;
  const WarpTime& t = time_of(a.w);
  if (!ordered_for_all(a.w, t, r)) return false;
  if (!a.generic && is_generic(r) && epoch_of(r) > fenced(a).epoch(agent_of(r))) return false;
  known_ = r >> agent_first;
  return true;
}

void Sanitizer::check_async(const AsyncAccess& a, Record other, bool other_writes, uint64_t address, Space space) {
  if (other == 0 || known_for_async(a, other) || (a.strong && other >> strong_bit & 1)) return;
  const WarpTime& t = time_of(a.w);
  const bool own = a.agent == agent(a.w); // no operation, but an instruction of the thread
  const How how = a.of_map   ? How::map_read
                  : a.writes ? (own ? How::write : How::async_write)
                             : (own ? How::read : How::async_read);
  if (!ordered(a.w, t, a.lane, other))
    conflict(a.w, a.lane, a.place, how, other, other_writes, address, space);
  else if (other_writes && !a.generic && is_generic(other) &&
           !fenced(a).covers(agent_of(other), epoch_of(other), lane_of(other)))
    conflict(a.w, a.lane, a.place, how, other, true, address, space, true);
}

void Sanitizer::check_async(const AsyncAccess& a, const Plane& records, bool written, uint64_t first, uint64_t count,
                            uint64_t base, Space space) {
  records.pieces(first, count, [&](Record r, uint64_t g, uint64_t n) {
    if (r == 0 || known_for_async(a, r)) return;
    for (const uint64_t end = g + n; g < end; ++g)
      check_async(a, records.at(g), written, base + (g << records.shift), space);
  });
}

void Sanitizer::check_async_read(const AsyncAccess& a, uint64_t address, uint64_t bytes) {
  check_async(a, writes_, true, address >> shift_, bytes >> shift_, 0, Space::shared);
  writes_.pieces(address >> shift_, bytes >> shift_, [&](Record r, uint64_t g, uint64_t) {
    if (r == 0) unwritten(a.w, a.lane, a.place, g << shift_);
  });
}

void Sanitizer::async_shared(const AsyncAccess& a, uint64_t address, uint64_t bytes) {
  if (a.agent == Agents::nobody) return;
  known_ = nothing_known;
  const Record mine = record(a.agent, a.epoch, a.place, a.strong) | a.lane;
  const uint64_t first = address >> shift_, count = bytes >> shift_, end = address + bytes;
  if (!a.writes) {
    check_async_read(a, address, bytes);
    const uint32_t own = reader(a.agent);
    reads_[own].put(first, count, mine);
    for (uint64_t at = address; at < end; at = (at / line_bytes + 1) * line_bytes) readers_of(at) |= uint64_t{1} << own;
    return;
  }
  check_async(a, writes_, true, first, count, 0, Space::shared);
  for (uint64_t at = address; at < end;) { // line by line
    const uint64_t next = std::min(end, (at / line_bytes + 1) * line_bytes);
    for (uint64_t m = readers_of(at); m; m &= m - 1)
      check_async(a, reads_[static_cast<size_t>(std::countr_zero(m))], false, at >> shift_, (next - at) >> shift_, 0,
                  Space::shared);
    if (next - at == line_bytes) readers_of(at) = 0;
    at = next;
  }
  writes_.put(first, count, mine);
}

void Sanitizer::async_global(const AsyncAccess& a, uint64_t address, uint64_t bytes) {
  const GlobalMemory& memory = *block_.launch->memory;
  const GlobalMemory::Range r = memory.find(address);
  if (a.agent == Agents::nobody || r.begin == r.end || address + bytes > r.end) return; // the copy itself reports it
  const bool has_values = memory.is_initialised(address, address + bytes);
  if (block_.launch->global->written_allocation(address).end == 0) {
    if (!a.writes && !has_values) unwritten(a.w, a.lane, a.place, address, Space::global);
    return;
  }
  if (GridHistory* grid = block_.launch->global->grid())
    grid->access({.address = address,
                  .bytes = bytes,
                  .now = &time_of(a.w).now,
                  .block = index_,
                  .warp = a.w.index,
                  .lane = a.lane,
                  .agent = a.agent,
                  .epoch = a.epoch,
                  .place = a.place,
                  .writes = a.writes,
                  .strong = a.strong,
                  .generic = a.generic,
                  .of_map = a.of_map});
  known_ = nothing_known;
  const Record mine = record(a.agent, a.epoch, a.place, a.strong) | a.lane;
  for (uint64_t at = address, end = address + bytes; at < end;) { // page by page
    const uint64_t number = at / GlobalPage::bytes, base = number * GlobalPage::bytes,
                   next = std::min(end, base + GlobalPage::bytes);
    GlobalPage& page = global_page(number);
    const uint64_t first = (at - base) >> global_shift_, last = (next - 1 - base) >> global_shift_;
    check_async(a, page.writes, true, first, last - first + 1, base, Space::global);
    if (a.writes) check_async(a, page.reads, false, first, last - first + 1, base, Space::global);
    if (a.strong || !has_values) distinguish(page, number);
    if (!page.flags.empty())
      for (uint64_t g = first; g <= last; ++g) {
        if (!a.writes && !has_values && !page.writes.at(g)) page.flags[g] |= GlobalPage::unwritten_read;
        if (!a.strong) page.flags[g] |= a.writes ? GlobalPage::plain_write : GlobalPage::plain_read;
      }
    (a.writes ? page.writes : page.reads).put(first, last - first + 1, mine);
    at = next;
  }
}

/// A tensor map, at a generic address. Those that are parameters nobody writes.
void Sanitizer::async_map(AsyncAccess a, uint64_t address) {
  const uint64_t at = address - shared_window;
  if (at < window_bytes) {
    const uint64_t rank = at >> rank_shift;
    Sanitizer& owner = rank ? *block_.cluster->blocks[rank - 1]->sanitizer : *this;
    owner.async_shared(a, at & ((1u << rank_shift) - 1), tensormap_used_bytes);
  } else if (address - param_window >= window_bytes)
    async_global(a, address, tensormap_used_bytes);
}

void Sanitizer::map_touched(const Warp& w, const Insn* ip, uint32_t lane, uint64_t address, bool writes) {
  WarpTime& t = time_of(w);
  t.touched = true;
  async_map({.w = w,
             .lane = lane,
             .place = observed_at(ip),
             .agent = agent(w),
             .epoch = t.epoch,
             .writes = writes,
             .generic = true},
            address);
}

// --- operations ------------------------------------------------------------------------------------------------------

/// Whether a lane stores by the same instruction just what the lane before it has: compilers let all lanes issue what
/// one would do for, and the same bytes at the same place are no conflict.
bool Sanitizer::stores_again(const Token& t) {
  StoreIssue now{.ip = t.ip,
                 .id = t.id,
                 .global = t.global,
                 .warp = t.warp->index,
                 .lane = t.lane,
                 .shared = t.shared,
                 .map = t.map.address};
  std::copy_n(t.coordinates, 5, now.coordinates.begin());
  const StoreIssue before = std::exchange(last_store_, now);
  return t.reduction == Reduction::none && before.ip == now.ip && before.id + 1 == now.id && before.warp == now.warp &&
         before.lane < now.lane && before.global == now.global && before.shared == now.shared &&
         before.coordinates == now.coordinates && before.map == t.map.address;
}

void Sanitizer::issued(Token& t) {
  const Warp& w = *t.warp;
  const bool reduces = t.reduction != Reduction::none;
  AsyncAccess a{.w = w, .lane = t.lane, .place = observed_at(t.ip), .agent = Agents::nobody};
  if (t.barrier != none)
    each_block(t, [&](Sanitizer& s) {
      MbarrierTime* m = s.used_mbarrier(w, t.ip, t.lane, t.barrier);
      if (!m || m->agent == Agents::nobody || t.kind == Token::Kind::copies_arrive) return;
      a.agent = m->agent;
      a.epoch = m->first_epoch + m->phases + 1;
      a.writes = true;
      a.generic = t.kind == Token::Kind::store;
      a.strong = reduces;
      m->pending.emplace_back(t.id, a.epoch);
      block_.cluster->agents[m->agent].warp = w.index;
      s.async_shared(a, t.shared, t.bytes);
    });
  a.strong = false;
  switch (t.kind) {
  case Token::Kind::to_shared:
    a.writes = false;
    if (t.from_shared)
      async_shared(a, t.source, t.bytes);
    else
      async_global(a, t.global, t.bytes);
    break;
  case Token::Kind::tensor_load: {
    a.writes = false;
    for (const BoxPiece& p : pieces_of(t)) async_global(a, p.global, p.bytes);
    AsyncAccess of_map = a;
    of_map.of_map = true;
    async_map(of_map, t.map_at);
    break;
  }
  case Token::Kind::to_global:
  case Token::Kind::tensor_store: {
    a.epoch = ++bulk_issued_[w.index];
    bulk_lanes_[w.index] |= 1u << a.lane;
    bulk_[w.index].push_back({.number = a.epoch, .lane = t.lane});
    if (stores_again(t)) break;
    AsyncAccess to = a;
    a.agent = queue(Agent::Kind::bulk_reads, w);
    to.agent = queue(Agent::Kind::bulk_writes, w);
    to.writes = true;
    to.strong = reduces;
    if (t.kind == Token::Kind::to_global) {
      async_shared(a, t.shared, t.bytes);
      if (t.byte_mask == 0xffff) async_global(to, t.global, t.bytes);
      for (uint32_t i = 0; i < t.bytes && t.byte_mask != 0xffff; ++i)
        if (t.byte_mask >> i % 16 & 1) async_global(to, t.global + i, 1);
      break;
    }
    AsyncAccess of_map = a;
    of_map.of_map = true;
    async_map(of_map, t.map_at);
    const std::vector<BoxPiece> pieces = pieces_of(t);
    for (const BoxPiece& p : pieces) async_global(to, p.global, p.bytes);
    uint32_t done = 0; // of the packed box, in chunks of 16 bytes: what lies outside of the tensor is not read
    for (const BoxPiece& p : pieces) {
      const uint32_t end = (p.offset + p.bytes + 15) / 16 * 16;
      for (uint32_t at = std::max(done, p.offset / 16 * 16); at < end; at += 16)
        async_shared(a, swizzled(t.shared + at, t.map.swizzle), 16);
      done = std::max(done, end);
    }
    break;
  }
  default: break;
  }
}

void Sanitizer::completed(const Token& t) {
  if (t.barrier == none) return;
  each_block(t, [&](Sanitizer& s) {
    auto it = s.mbarriers_.find(t.barrier);
    if (it == s.mbarriers_.end()) return;
    std::erase_if(it->second.pending, [&](const auto& p) { return p.first == t.id; });
    if (t.kind == Token::Kind::copies_arrive && t.copies)
      it->second.arrived.before.raise(queue(Agent::Kind::copies, *t.warp), t.copies);
  });
}

void Sanitizer::bulk_committed(const Warp& w, uint32_t mask) {
  for (BulkOperation& o : bulk_[w.index])
    if (o.group == 0 && mask >> o.lane & 1) o.group = w.async->bulk_groups[o.lane];
}

void Sanitizer::bulk_left(const Warp& w, uint32_t mask, uint32_t pending, bool reads) {
  std::vector<BulkOperation>& operations = bulk_[w.index];
  if (bulk_issued_[w.index] == 0) return;
  auto covered = [&](const BulkOperation& o) {
    return mask >> o.lane & 1 && o.group != 0 && o.group + pending <= w.async->bulk_groups[o.lane];
  };
  for (BulkOperation& o : operations) o.read = o.read || covered(o);
  if (!reads) std::erase_if(operations, covered);
  // A lane knows of its own operations, and of the others' as far as all have been waited for.
  Moment& now = time_of(w).now;
  auto raise = [&](Agent::Kind kind, bool only_unread) {
    const uint32_t agent = queue(kind, w);
    uint32_t all = bulk_issued_[w.index];
    for (const BulkOperation& o : operations)
      if (!only_unread || !o.read) all = std::min(all, o.number - 1);
    for (Clock* clock : {&now.before, &now.proxied}) clock->raise(agent, all);
    for (uint32_t m = mask & bulk_lanes_[w.index]; m; m &= m - 1) {
      auto lane = static_cast<uint32_t>(std::countr_zero(m));
      uint32_t done = bulk_issued_[w.index];
      for (const BulkOperation& o : operations)
        if (o.lane == lane && (!only_unread || !o.read)) done = std::min(done, o.number - 1);
      for (Clock* clock : {&now.before, &now.proxied}) clock->raise(agent, lane, done);
    }
  };
  raise(Agent::Kind::bulk_reads, true);
  if (!reads) raise(Agent::Kind::bulk_writes, false);
}

// --- registers of wgmma
// -------------------------------------------------------------------------------------------------

void Sanitizer::registers(const Warp& w, uint32_t mask, const RegisterEvent& event) {
  const Program& p = *block_.launch->program;
  ProductIssues& own = product_issues_[w.index];
  const auto lane = static_cast<uint32_t>(std::countr_zero(mask));
  auto line = [&](uint32_t place) {
    const uint32_t number = p.meta[observed_[place].insn].line;
    return "PTX line " + std::to_string(number) + " '" + std::string(p.module->source_line(number)) + "'";
  };
  for (uint32_t product : event.pending)
    for (const ProductIssues::Issue& i : own.waiting) {
      if (i.insn != p.products[product]) continue;
      const uint32_t place = observed_at(&p.code[i.insn]);
      report(FindingKind::async_hazard, w, lane, event.observed, place,
             " touches registers of the product that " + line(place) +
                 " has started: wait for it first (wgmma.wait_group)");
    }
  own.touched.resize(p.watched_registers);
  own.multiplied.resize(p.watched_registers);
  for (uint32_t reg : event.unfenced) {
    const ProductIssues::Touch& before = own.touched[reg];
    if (before.fences != own.fences) continue;
    report(FindingKind::async_hazard, w, lane, event.observed, before.place,
           before.place == none ? " starts a product before any wgmma.fence"
                                : " starts a product on registers that " + line(before.place) +
                                      " touches: wgmma.fence is missing between");
    break; // one says enough: code that sets all of its registers names them one by one
  }
  for (const auto& [reg, product] : event.mixed) {
    const ProductIssues::Touch& before = own.multiplied[reg];
    if (before.product != product || before.fences != own.fences) continue;
    report(FindingKind::async_hazard, w, lane, event.observed, before.place,
           " starts a product on registers of the product that " + line(before.place) +
               " starts, of another shape or to another end: wgmma.fence is missing between");
  }
  if (event.fences) ++own.fences;
  for (uint32_t reg : event.touches) own.touched[reg] = {own.fences, event.observed};
  for (uint32_t reg : event.uses) own.multiplied[reg] = {own.fences, event.observed, event.product};
}

} // namespace tilejit::runtime::simulator
