// sanitize_global.cpp - see sanitize_global.h.
#include "runtime/simulator/sanitize_global.h"

#include "runtime/simulator/block.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace tilejit::runtime::simulator {

// --- the blocks of a launch ------------------------------------------------------------------------------------------

GlobalHistory::GlobalHistory(const LaunchState& launch) : launch_(launch) {
  const Program& p = *launch.program;
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

GlobalMemory::Range GlobalHistory::written_allocation(uint64_t address) const {
  for (const GlobalMemory::Range& r : written_)
    if (address - r.begin < r.end - r.begin) return r;
  return {};
}

void GlobalHistory::mark_initialised(GlobalMemory& memory) const {
  for (const GlobalMemory::Range& r : written_) memory.mark_initialised(r.begin, r.end);
}

void GlobalHistory::synchronize(uint64_t block, uint64_t address, bool reads, bool release,
                                std::set<uint64_t>& acquired) {
  std::lock_guard lock(mutex_);
  std::set<uint64_t>& at = released_[address];
  if (reads) acquired.insert(at.begin(), at.end());
  if (!release) return;
  at.insert(acquired.begin(), acquired.end());
  at.insert(block);
}

void GlobalHistory::finish(uint64_t block, GlobalTouches&& touches) {
  std::lock_guard lock(mutex_);
  waiting_.emplace(block, std::move(touches));
  for (auto it = waiting_.begin(); it != waiting_.end() && it->first == next_; it = waiting_.erase(it), ++next_)
    merge(it->first, it->second);
}

/// Either has acquired what the other released.
bool GlobalHistory::ordered(uint64_t a, uint64_t b) const {
  auto has = [&](uint64_t x, uint64_t y) {
    auto it = acquired_.find(x);
    return it != acquired_.end() && it->second.contains(y);
  };
  return has(a, b) || has(b, a);
}

void GlobalHistory::merge(uint64_t block, GlobalTouches& touches) {
  const uint32_t shift = launch_.program->global_granule;
  if (!touches.acquired.empty()) acquired_[block] = std::move(touches.acquired);
  std::vector<uint64_t> order;
  for (const auto& [number, page] : touches.pages) order.push_back(number);
  std::sort(order.begin(), order.end());
  for (uint64_t number : order) {
    const GlobalPage& page = touches.pages[number];
    std::vector<Granule>& granules = pages_[number];
    granules.resize(GlobalPage::bytes >> shift);
    for (size_t g = 0; g < granules.size(); ++g) {
      if (!page.writes[g] && !page.reads[g]) continue;
      Granule& all = granules[g];
      const uint64_t address = number * GlobalPage::bytes + (g << shift);
      auto touch = [&](uint64_t record, uint8_t plain) {
        return Touch{block + 1, Sanitizer::place_of(record),
                     Sanitizer::agent_of(record) * 32 + Sanitizer::lane_of(record), !(page.flags[g] & plain)};
      };
      Touch write, read;
      if (page.writes[g]) write = touch(page.writes[g], GlobalPage::plain_write);
      if (page.reads[g]) read = touch(page.reads[g], GlobalPage::plain_read);
      auto conflict = [&](const Touch& a, const Touch& b) {
        return a.block && b.block && !(a.strong && b.strong) && !ordered(a.block - 1, b.block - 1);
      };
      if (conflict(write, all.write))
        race(block, write, true, all.write, true, address);
      else if (conflict(write, all.read))
        race(block, write, true, all.read, false, address);
      else if (conflict(read, all.write))
        race(block, read, false, all.write, true, address);
      if (page.flags[g] & GlobalPage::unwritten_read && !all.unwritten.block) all.unwritten = read;
      if (write.block && !(all.write.block && !all.write.strong && write.strong)) all.write = write;
      if (read.block && !(all.read.block && !all.read.strong && read.strong)) all.read = read;
    }
  }
}

/// A block may read what one of a higher number has written, so only now it is known what nobody wrote.
FindingLog& GlobalHistory::found() {
  const Program& p = *launch_.program;
  std::vector<uint64_t> order;
  for (const auto& [number, granules] : pages_) order.push_back(number);
  std::sort(order.begin(), order.end());
  for (uint64_t number : order)
    for (size_t g = 0; const Granule& all : pages_[number]) {
      const uint64_t address = number * GlobalPage::bytes + (g++ << p.global_granule);
      if (!all.unwritten.block || all.write.block) continue;
      uint32_t insn = p.observed[all.unwritten.place].insn;
      FindingLog::Key key{FindingKind::uninitialised, insn, none};
      if (found_.is_new(key))
        found_.add(key, all.unwritten.block - 1,
                   finding_at(launch_, all.unwritten.block - 1, all.unwritten.thread, &p.code[insn], key.kind,
                              " reads global memory at " + hexadecimal(address) + " that has never been written"));
    }
  return found_;
}

void GlobalHistory::race(uint64_t block, const Touch& now, bool writes, const Touch& other, bool other_writes,
                         uint64_t address) {
  const Program& p = *launch_.program;
  uint32_t insn = p.observed[now.place].insn, other_insn = p.observed[other.place].insn;
  FindingLog::Key key{FindingKind::global_race, insn, other_insn};
  if (!found_.is_new(key)) return;
  const Meta& meta = p.meta[other_insn];
  Finding f = finding_at(launch_, block, now.thread, &p.code[insn], key.kind,
                         std::string(writes ? " writes" : " reads") + " global memory at " + hexadecimal(address) +
                             " that block " + tuple(block_index(launch_, other.block - 1)) + " " +
                             (other_writes ? "writes" : "reads") + " at PTX line " + std::to_string(meta.line) + " '" +
                             std::string(p.module->source_line(meta.line)) +
                             "': nothing orders the two blocks (atomics, or a kernel each, would)");
  f.other_ptx_line = meta.line;
  f.other_source = p.module->describe(meta.location);
  found_.add(key, block, std::move(f));
}

// --- inside a block --------------------------------------------------------------------------------------------------

GlobalPage& Sanitizer::global_page(uint64_t number) {
  PageOf& last = last_pages_[number % last_pages_.size()];
  if (last.page && last.number == number) return *last.page;
  GlobalPage& page = touches_.pages[number];
  if (page.flags.empty()) {
    size_t granules = GlobalPage::bytes >> global_shift_;
    page.writes.resize(granules);
    page.reads.resize(granules);
    page.flags.resize(granules);
  }
  last = {number, &page};
  return page;
}

/// Looks at the allocation that holds the address; false: there is none.
bool Sanitizer::find_allocation(uint64_t address) {
  if (address - allocation_.begin < allocation_.end - allocation_.begin) return true;
  const GlobalMemory& memory = *block_.launch->memory;
  const GlobalMemory::Range r = memory.find(address);
  if (r.begin == r.end) return false;
  allocation_ = {r.begin, r.end, block_.launch->global->written_allocation(address).end != 0,
                 memory.is_initialised(r.begin, r.end)};
  return true;
}

/// The usual case, an access of all lanes to one page that meets nothing it is not ordered after. False: it takes a
/// look at each lane to say, and nothing has been done.
bool Sanitizer::global_together(const Warp& w, const WarpTime& t, uint32_t observed, const Access& a, Record mine) {
  const Observed& o = observed_[observed];
  const bool writes = o.kind != Observed::Kind::read && o.kind != Observed::Kind::copy;
  const bool reads = o.kind != Observed::Kind::write;
  if (a.mask != ~0u || o.strong || !find_allocation(a.at[0])) return false;
  uint64_t low = a.at[0], high = a.at[31];
  if (!a.contiguous)
    for (uint64_t at : a.at) low = std::min(low, at), high = std::max(high, at);
  high += o.bytes;
  if (low < allocation_.begin || high > allocation_.end) return false;
  if (reads && !allocation_.whole) return false;
  if (!allocation_.written) return true;
  const uint64_t number = low / GlobalPage::bytes, base = number * GlobalPage::bytes;
  if (high > base + GlobalPage::bytes) return false;
  Access within = a;
  for (uint64_t& at : within.at) at -= base;
  const auto each = static_cast<uint32_t>(std::countr_zero(std::max<uint64_t>(o.bytes >> global_shift_, 1)));
  GlobalPage& page = global_page(number);
  if (!settled(w, t, page.writes.data(), within, global_shift_, each, true)) return false;
  if (writes && !settled(w, t, page.reads.data(), within, global_shift_, each, true)) return false;
  if (reads) mark(page.reads.data(), within, global_shift_, each, mine);
  if (writes) mark(page.writes.data(), within, global_shift_, each, mine);
  const uint8_t flag = writes ? GlobalPage::plain_write : GlobalPage::plain_read;
  const uint32_t runs = a.contiguous ? 1 : 32; // of granules
  const uint64_t run = a.contiguous ? uint64_t{32} << each : uint64_t{1} << each;
  for (uint32_t i = 0; i < runs; ++i) {
    uint8_t* flags = page.flags.data() + (within.at[i] >> global_shift_);
    for (uint64_t k = 0; k < run; ++k) flags[k] |= flag;
  }
  if (writes) overlapping(w, observed, page.writes.data(), within, global_shift_, base, Space::global);
  return true;
}

void Sanitizer::global(const Warp& w, uint32_t observed, const Access& a) {
  const Observed& o = observed_[observed];
  WarpTime& t = times_[w.index];
  known_ = nothing_known;
  const bool writes = o.kind != Observed::Kind::read && o.kind != Observed::Kind::copy;
  const bool reads = o.kind != Observed::Kind::write;
  if (o.strong) {
    synchronize(w, t, o, a);
    for (uint32_t m = a.mask; m; m &= m - 1)
      block_.launch->global->synchronize(index_, a.at[std::countr_zero(m)], reads, writes && (o.release || fenced_),
                                         touches_.acquired);
  }
  const GlobalMemory& memory = *block_.launch->memory;
  const Record mine = record(w.index, t.epoch, observed, o.strong);
  t.touched = true;
  if (global_together(w, t, observed, a, mine)) return;
  for (uint32_t m = a.mask; m; m &= m - 1) {
    auto lane = static_cast<uint32_t>(std::countr_zero(m));
    const uint64_t at = a.at[lane];
    if (!find_allocation(at)) continue; // the access itself reports it
    const auto [begin, end, written, whole] = allocation_;
    if (at + o.bytes > end) continue;
    if (!written) {
      if (!whole && !memory.is_initialised(at, at + o.bytes)) unwritten(w, lane, observed, at, Space::global);
      continue;
    }
    GlobalPage& page = global_page(at / GlobalPage::bytes);
    const uint64_t first = at % GlobalPage::bytes >> global_shift_,
                   count = std::max<uint64_t>(o.bytes >> global_shift_, 1);
    const Record own = mine | lane;
    for (uint64_t g = first; g < first + count; ++g) {
      auto check = [&](Record r, bool other_writes) {
        if (r == 0 || r >> agent_first == known_ || ((r ^ own) & whose) == 0) return;
        if (ordered_for_all(w, t, r))
          known_ = r >> agent_first;
        else if (!ordered(w, t, lane, r) && !(o.strong && r >> strong_bit & 1))
          race(w, lane, observed, r, other_writes, writes, at, Space::global);
      };
      check(page.writes[g], true);
      if (writes) check(page.reads[g], false);
      if (reads && !page.writes[g] && !whole && !memory.is_initialised(at, at + o.bytes))
        page.flags[g] |= GlobalPage::unwritten_read;
      if (reads) page.reads[g] = own;
      if (writes) page.writes[g] = own;
      if (!o.strong) page.flags[g] |= writes ? GlobalPage::plain_write : GlobalPage::plain_read;
    }
  }
}

} // namespace tilejit::runtime::simulator
