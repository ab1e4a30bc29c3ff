// sanitize_global.cpp - see sanitize_global.h.
#include "runtime/simulator/sanitize_global.h"

#include "runtime/simulator/cluster.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace tilejit::runtime::simulator {

// --- the blocks of a launch ------------------------------------------------------------------------------------------

GlobalHistory::GlobalHistory(const LaunchState& launch) : launch_(launch) {
  const Program& p = *launch.program;
  const uint64_t blocks = uint64_t{launch.grid[0]} * launch.grid[1] * launch.grid[2];
  if (p.communicates && blocks > uint64_t{launch.cluster[0]} * launch.cluster[1] * launch.cluster[2])
    grid_ = std::make_unique<GridHistory>(launch, found_);
  if (p.stores_anywhere) {
    written_ = launch.memory->allocations();
    return;
  }
  for (uint32_t offset : p.stored_parameters) {
    uint64_t address = 0;
    if (offset + sizeof address > launch.params.size()) continue;
    std::memcpy(&address, launch.params.data() + offset, sizeof address);
    GlobalMemory::Range r = launch.memory->find(address);
    if (r.begin != r.end) written_.push_back(r);
  }
}

bool GlobalHistory::runs_in_order() const {
  return grid_ || launch_.program->ordered_blocks ||
         uint64_t{launch_.grid[0]} * launch_.grid[1] * launch_.grid[2] ==
             launch_.cluster[0] * launch_.cluster[1] * launch_.cluster[2];
}

GlobalMemory::Range GlobalHistory::written_allocation(uint64_t address) const {
  for (const GlobalMemory::Range& r : written_)
    if (address - r.begin < r.end - r.begin) return r;
  return {};
}

void GlobalHistory::mark_initialised(GlobalMemory& memory) const {
  for (const GlobalMemory::Range& r : written_) memory.mark_initialised(r.begin, r.end);
}

void GlobalHistory::finish(uint64_t cluster, GlobalTouches&& touches) {
  std::lock_guard lock(mutex_);
  const auto ended = ended_.emplace(cluster, std::make_shared<GlobalTouches>(std::move(touches))).first->second;
  if (grid_) return grid_->set_cluster(cluster, ended->agents, *ended);
  for (auto it = ended_.begin(); it != ended_.end() && it->first == next_; it = ended_.erase(it), ++next_)
    merge(it->first, it->second);
}

void GlobalHistory::merge(uint64_t cluster, const std::shared_ptr<GlobalTouches>& touches) {
  std::vector<uint64_t> order;
  for (const auto& [number, page] : touches->pages) order.push_back(number);
  std::sort(order.begin(), order.end());
  for (uint64_t number : order) {
    Page& all = pages_[number];
    if (!all.only && all.granules.empty() && touches->pages.at(number).flags.empty()) {
      all.cluster = cluster;
      all.only = touches;
      continue;
    }
    if (all.only) merge(all, number, all.cluster, *std::exchange(all.only, nullptr));
    merge(all, number, cluster, *touches);
  }
}

void GlobalHistory::merge(Page& all, uint64_t number, uint64_t cluster, const GlobalTouches& touches) {
  const uint32_t shift = launch_.program->global_granule;
  const uint64_t first_block = cluster * launch_.cluster[0] * launch_.cluster[1] * launch_.cluster[2];
  const GlobalPage& page = touches.pages.at(number);
  all.granules.resize(GlobalPage::bytes >> shift);
  page.each_record([&](uint64_t g, Record written, Record was_read) {
    const uint64_t address = number * GlobalPage::bytes + (g << shift);
    auto touch = [&](Record r, uint8_t plain) {
      if (!r) return Touch{};
      const Agent& who = touches.agents[Sanitizer::agent_of(r)];
      return Touch{.block = static_cast<uint32_t>(first_block + who.rank + 1),
                   .place = Sanitizer::place_of(r),
                   .thread = (who.warp * 32 + Sanitizer::lane_of(r)) & 0x7fffffff,
                   .strong = !page.has(g, plain)};
    };
    const Touch write = touch(written, GlobalPage::plain_write), read = touch(was_read, GlobalPage::plain_read);
    auto conflict = [&](const Touch& a, const Touch& b) {
      return !grid_ && a.block && b.block && !(a.strong && b.strong);
    };
    Granule& before = all.granules[g];
    if (conflict(write, before.write))
      race(write, true, before.write, true, address);
    else if (conflict(write, before.read))
      race(write, true, before.read, false, address);
    else if (conflict(read, before.write))
      race(read, false, before.write, true, address);
    if (page.has(g, GlobalPage::unwritten_read)) unwritten_.try_emplace(address, read);
    if (write.block && !(before.write.block && !before.write.strong && write.strong)) before.write = write;
    if (read.block && !(before.read.block && !before.read.strong && read.strong)) before.read = read;
  });
}

/// A block may read what one of a higher number has written, so only now it is known what nobody wrote.
FindingLog& GlobalHistory::found() {
  if (grid_)
    for (const auto& [cluster, touches] : ended_) merge(cluster, touches);
  const Program& p = *launch_.program;
  for (const auto& [address, read] : unwritten_) {
    const Page& page = pages_[address / GlobalPage::bytes];
    if (page.granules[address % GlobalPage::bytes >> p.global_granule].write.block) continue;
    const uint32_t insn = p.observed[read.place].insn;
    FindingLog::Key key{FindingKind::uninitialised, insn, none};
    if (found_.is_new(key))
      found_.add(key, read.block - 1,
                 finding_at(launch_, read.block - 1, read.thread, &p.code[insn], key.kind,
                            " reads global memory at " + hexadecimal(address) + " that has never been written"));
  }
  return found_;
}

void GlobalHistory::race(const Touch& now, bool writes, const Touch& other, bool other_writes, uint64_t address) {
  report(found_, launch_,
         {.place = now.place,
          .other_place = other.place,
          .block = now.block - 1,
          .other_block = other.block - 1,
          .thread = now.thread,
          .writes = writes,
          .other_writes = other_writes,
          .address = address,
          .reason = "nothing orders the two blocks (atomics, or a kernel each, would)"});
}

void report(FindingLog& found, const LaunchState& launch, const BlockRace& race) {
  const Program& p = *launch.program;
  const uint32_t insn = p.observed[race.place].insn, other = p.observed[race.other_place].insn;
  FindingLog::Key key{race.kind, insn, other};
  if (!found.is_new(key, race.agrees)) return;
  const Meta& meta = p.meta[other];
  Finding f = finding_at(launch, race.block, race.thread, &p.code[insn], key.kind,
                         std::string(race.writes ? " writes" : " reads") + " global memory at " +
                             hexadecimal(race.address) + " that block " + tuple(block_index(launch, race.other_block)) +
                             " " + (race.other_writes ? "writes" : "reads") + " at PTX line " +
                             std::to_string(meta.line) + " '" + std::string(p.module->source_line(meta.line)) +
                             "': " + race.reason + std::string(race.agrees ? same_values : ""));
  f.other_ptx_line = meta.line;
  f.other_source = p.module->describe(meta.location);
  found.add(key, race.block, std::move(f), race.agrees);
}

// --- inside a cluster ------------------------------------------------------------------------------------------------

void GlobalPage::distinguish() {
  if (!flags.empty()) return;
  flags.resize(bytes >> writes.shift);
  each_record([&](uint64_t g, Record written, Record was_read) {
    flags[g] = static_cast<uint8_t>((written ? plain_write : 0) | (was_read ? plain_read : 0));
  });
}

GlobalPage& Sanitizer::global_page(uint64_t number) {
  GlobalPage& page = block_.cluster->touches.pages.try_emplace(number, global_shift_).first->second;
  const bool usual = page.flags.empty() && !block_.launch->global->grid();
  shadow_.pages[number % BlockShadow::near] = {number, usual ? &page.writes : nullptr, usual ? &page.reads : nullptr};
  return page;
}

/// From now on its accesses are not the usual ones.
void Sanitizer::distinguish(GlobalPage& page, uint64_t number) {
  page.distinguish();
  for (const auto& block : block_.cluster->blocks) block->sanitizer->shadow_.pages[number % BlockShadow::near] = {};
}

/// Looks at the allocation that holds the address; false: there is none.
bool Sanitizer::find_allocation(uint64_t address) {
  if (address - shadow_.begin < shadow_.end - shadow_.begin) return true;
  const GlobalMemory& memory = *block_.launch->memory;
  const GlobalMemory::Range r = memory.find(address);
  if (r.begin == r.end) return false;
  shadow_.begin = r.begin;
  shadow_.end = r.end;
  shadow_.written = block_.launch->global->written_allocation(address).end != 0;
  shadow_.whole = memory.is_initialised(r.begin, r.end);
  return true;
}

/// The usual case, an access of all lanes to one page that meets nothing it is not ordered after. False: it takes a
/// look at each lane to say, and nothing has been done.
bool Sanitizer::global_together(const Warp& w, const WarpTime& t, uint32_t observed, const Access& a, Record mine) {
  const Observed& o = observed_[observed];
  const bool writes = o.writes(), reads = o.reads();
  if (a.mask != ~0u || o.strong || !find_allocation(a.at[0])) return false;
  uint64_t low = a.at[0], high = a.at[31];
  if (!a.contiguous)
    for (uint64_t at : a.at) low = std::min(low, at), high = std::max(high, at);
  high += o.bytes;
  if (low < shadow_.begin || high > shadow_.end) return false;
  if (reads && !shadow_.whole) return false;
  if (!shadow_.written) return true;
  const uint64_t number = low / GlobalPage::bytes, base = number * GlobalPage::bytes;
  if (high > base + GlobalPage::bytes) return false;
  GlobalPage& page = global_page(number);
  const Offsets offsets(a, o.bytes, base);
  auto fine = [&](const Plane& p) { return offsets.settled(p, t, mine, true); };
  if (!fine(page.writes) || (writes && !fine(page.reads))) return false;
  if (reads) offsets.mark(page.reads, mine);
  if (writes) offsets.mark(page.writes, mine);
  if (!page.flags.empty())
    for (uint32_t at : offsets.at)
      for (uint32_t g = at >> global_shift_; g <= (at + o.bytes - 1) >> global_shift_; ++g)
        page.flags[g] |= writes ? GlobalPage::plain_write : GlobalPage::plain_read;
  if (writes && !a.contiguous) overlapping(w, observed, page.writes, offsets, base, Space::global);
  return true;
}

void Sanitizer::global(const Warp& w, uint32_t observed, const Access& a) {
  const Observed& o = observed_[observed];
  WarpTime& t = time_of(w);
  known_ = nothing_known;
  const bool writes = o.writes(), reads = o.reads();
  if (o.strong && block_.launch->program->communicates) synchronize(w, o, a, block_.cluster->touches.addresses);
  if (block_.launch->global->grid()) global_grid(w, observed, a);
  const GlobalMemory& memory = *block_.launch->memory;
  const Record mine = record(agent(w), t.epoch, observed, o.strong);
  t.touched = true;
  if (global_together(w, t, observed, a, mine)) return;
  for (uint32_t m = a.mask; m; m &= m - 1) {
    auto lane = static_cast<uint32_t>(std::countr_zero(m));
    const uint64_t at = a.at[lane];
    if (!find_allocation(at)) continue; // the access itself reports it
    if (at + o.bytes > shadow_.end) continue;
    if (!shadow_.written) {
      if (!shadow_.whole && !memory.is_initialised(at, at + o.bytes)) unwritten(w, lane, observed, at, Space::global);
      continue;
    }
    GlobalPage& page = global_page(at / GlobalPage::bytes);
    const uint64_t first = at % GlobalPage::bytes >> global_shift_,
                   count = std::max<uint64_t>(o.bytes >> global_shift_, 1);
    const Record own = mine | lane;
    const bool has_values = shadow_.whole || memory.is_initialised(at, at + o.bytes);
    if (o.strong) distinguish(page, at / GlobalPage::bytes);
    for (uint64_t g = first; g < first + count; ++g) {
      auto check = [&](Record r, bool other_writes) {
        if (r == 0 || r >> agent_first == known_ || ((r ^ own) & whose) == 0) return;
        if (ordered_for_all(w, t, r))
          known_ = r >> agent_first;
        else if (!ordered(w, t, lane, r) && !(o.strong && r >> strong_bit & 1)) {
          const uint32_t other = lane_of(r); // of this very access, it may be
          if ((r ^ own) >> place_first == 0 && other < lane && a.mask >> other & 1 && a.at[other] == at &&
              agree(w, observed, lane, other))
            return;
          const bool agrees = other_writes && block_.launch->global->runs_in_order() &&
                              stores(w, observed, lane, (g - first) << global_shift_,
                                     memory.host(at + ((g - first) << global_shift_)), global_shift_);
          conflict(w, lane, observed, writes ? How::write : How::read, r, other_writes, at, Space::global, false,
                   agrees);
        }
      };
      check(page.writes.at(g), true);
      if (writes) check(page.reads.at(g), false);
      if (reads && !has_values && !page.writes.at(g)) {
        distinguish(page, at / GlobalPage::bytes);
        page.flags[g] |= GlobalPage::unwritten_read;
      }
      if (!(o.strong && o.wide) && !page.flags.empty())
        page.flags[g] |= writes ? GlobalPage::plain_write : GlobalPage::plain_read;
    }
    if (reads) page.reads.put(first, count, own);
    if (writes) page.writes.put(first, count, own);
  }
}

/// The same as the other clusters see it.
void Sanitizer::global_grid(const Warp& w, uint32_t observed, const Access& a) {
  const Observed& o = observed_[observed];
  GridHistory& grid = *block_.launch->global->grid();
  WarpTime& t = time_of(w);
  const uint64_t cluster = index_ / block_.cluster->blocks.size();
  GridAccess g{.now = &t.now,
               .block = index_,
               .warp = w.index,
               .agent = agent(w),
               .place = observed,
               .writes = o.writes(),
               .strong = o.strong && o.wide};
  if (g.strong && acquires(o))
    for (uint32_t m = a.mask; m; m &= m - 1) {
      const Moment back = grid.acquire(cluster, a.at[std::countr_zero(m)], t.now);
      t.now.join(back);
      order(w, a.mask, back.before.epoch(agent(w)));
    }
  if (g.strong && g.writes) {
    Moment given;
    given.before = t.now.published;
    given.proxied = t.now.proxied;
    given.offered = t.now.offered;
    given.mapped = t.now.mapped;
    if (o.release) release(given, w, a.mask);
    g.releaser = grid.releaser(cluster, agent(w), o.release ? a.mask : 0);
    g.number = grid.release(g.releaser, given);
    for (uint32_t m = a.mask; m; m &= m - 1)
      grid.put(a.at[std::countr_zero(m)], given, g.releaser, g.number, o.kind == Observed::Kind::atomic);
    t.now.before.releases.raise(g.releaser, g.number);
  }
  g.epoch = t.epoch;
  g.address = a.at[0], g.bytes = uint64_t{32} * o.bytes;
  if (a.contiguous && grid.is_private(g)) return;
  g.bytes = o.bytes;
  for (uint32_t m = a.mask; m; m &= m - 1) {
    g.lane = static_cast<uint32_t>(std::countr_zero(m));
    g.address = a.at[g.lane];
    if (!find_allocation(g.address) || g.address + o.bytes > shadow_.end || !shadow_.written) continue;
    const Stored value = stored(w, observed, g.lane);
    g.stored = value.count ? value.begin() : nullptr;
    grid.access(g);
  }
}

} // namespace tilejit::runtime::simulator
