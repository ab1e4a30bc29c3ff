// sanitize_grid.cpp - see sanitize_grid.h.
#include "runtime/simulator/sanitize_grid.h"

#include "runtime/simulator/cluster.h"

#include <algorithm>

namespace tilejit::runtime::simulator {

// --- what is known of the others -------------------------------------------------------------------------------------

namespace {

template <class Numbers>
auto place(Numbers& numbers, uint32_t releaser) {
  return std::lower_bound(numbers.begin(), numbers.end(), releaser,
                          [](const auto& entry, uint32_t r) { return entry.first < r; });
}
template <class Numbers>
bool includes(const Numbers& all, const Numbers& part) {
  auto at = all.begin();
  for (const auto& [releaser, number] : part) {
    while (at != all.end() && at->first < releaser) ++at;
    if (at == all.end() || at->first != releaser || at->second < number) return false;
  }
  return true;
}

} // namespace

uint32_t Releases::of(uint32_t releaser) const {
  if (!numbers_) return 0;
  auto it = place(*numbers_, releaser);
  return it != numbers_->end() && it->first == releaser ? it->second : 0;
}

void Releases::raise(uint32_t releaser, uint32_t number) {
  if (number <= of(releaser)) return;
  if (!numbers_)
    numbers_ = std::make_shared<Numbers>();
  else if (numbers_.use_count() > 1)
    numbers_ = std::make_shared<Numbers>(*numbers_);
  auto it = place(*numbers_, releaser);
  if (it != numbers_->end() && it->first == releaser)
    it->second = number;
  else
    numbers_->insert(it, {releaser, number});
}

void Releases::merge(const Releases& o) {
  if (!numbers_ || includes(*o.numbers_, *numbers_))
    numbers_ = o.numbers_;
  else if (!includes(*numbers_, *o.numbers_))
    for (const auto& [releaser, number] : *o.numbers_) raise(releaser, number);
}

// --- releases --------------------------------------------------------------------------------------------------------

GridHistory::GridHistory(const LaunchState& launch, FindingLog& found)
    : launch_(launch), found_(found),
      cluster_blocks_(uint64_t{launch.cluster[0]} * launch.cluster[1] * launch.cluster[2]),
      shift_(launch.program->global_granule) {
  clusters_.resize(uint64_t{launch.grid[0]} * launch.grid[1] * launch.grid[2] / cluster_blocks_);
}

void GridHistory::set_cluster(uint64_t cluster, const Agents& agents, const GlobalTouches& touches) {
  clusters_[cluster].agents = &agents;
  clusters_[cluster].touches = &touches;
}

uint32_t GridHistory::releaser(uint64_t cluster, uint32_t agent, uint32_t lanes) {
  auto [it, is_new] = numbers_.try_emplace({cluster, agent, lanes}, static_cast<uint32_t>(releasers_.size()));
  if (is_new) {
    releasers_.push_back({.cluster = cluster});
    clusters_[cluster].releasers.push_back(it->second);
  }
  return it->second;
}

uint32_t GridHistory::release(uint32_t releaser, const Moment& given) {
  Releaser& r = releasers_[releaser];
  ++r.count;
  auto same = [&](const Releaser::Snapshot& s) {
    return s.before.same_epochs(given.before) && s.proxied.same_epochs(given.proxied) &&
           s.offered.same_epochs(given.offered);
  };
  if (r.snapshots.empty() || !same(r.snapshots.back())) {
    Releaser::Snapshot& s = r.snapshots.emplace_back(r.count, given.before, given.proxied, given.offered);
    for (Clock* c : {&s.before, &s.proxied, &s.offered}) c->releases.clear();
  }
  return r.count;
}

/// `number` is one of its releases.
const GridHistory::Releaser::Snapshot& GridHistory::Releaser::at(uint32_t number) const {
  auto after = std::upper_bound(snapshots.begin(), snapshots.end(), number,
                                [](uint32_t n, const Snapshot& s) { return n < s.first; });
  return *(after - 1);
}

void GridHistory::put(uint64_t address, const Moment& given, uint32_t releaser, uint32_t number, bool adds) {
  AtAddress& at = addresses_[address];
  if (!adds) at = {};
  at.before.join(given.before.releases);
  at.proxied.join(given.proxied.releases);
  at.mapped.join(given.mapped.releases);
  at.before.raise(releaser, number);
}

Moment GridHistory::acquire(uint64_t cluster, uint64_t address, Moment& now) {
  Moment back;
  auto it = addresses_.find(address);
  if (it == addresses_.end()) return back;
  const AtAddress& at = it->second;
  for (uint32_t r : clusters_[cluster].releasers)
    if (const uint32_t number = at.before.of(r); number > now.before.releases.of(r)) {
      back.before.join(releasers_[r].at(number).before);
      back.proxied.join(releasers_[r].at(number).proxied);
      back.offered.join(releasers_[r].at(number).offered);
    }
  now.before.releases.join(at.before);
  now.proxied.releases.join(at.proxied);
  now.mapped.releases.join(at.mapped);
  return back;
}

// --- accesses --------------------------------------------------------------------------------------------------------

GridHistory::Page& GridHistory::page_of(uint64_t number) {
  if (!last_ || last_number_ != number) {
    last_ = &pages_[number];
    last_number_ = number;
  }
  return *last_;
}

GridHistory::Touch GridHistory::touch_of(const GridAccess& a) {
  Touch t{.block = static_cast<uint32_t>(a.block + 1), .epoch = a.epoch, .place = a.place};
  t.agent = static_cast<uint16_t>(a.agent);
  t.generic = a.generic;
  t.thread = static_cast<uint16_t>((a.warp * 32 + a.lane) & 0x7fff);
  return t;
}
/// Of a record that the cluster has left.
GridHistory::Touch GridHistory::touch_of(uint64_t cluster, uint64_t record) const {
  const Agent& who = (*clusters_[cluster].agents)[Sanitizer::agent_of(record)];
  return touch_of({.block = cluster * cluster_blocks_ + who.rank,
                   .warp = who.warp,
                   .lane = Sanitizer::lane_of(record),
                   .agent = Sanitizer::agent_of(record),
                   .epoch = Sanitizer::epoch_of(record),
                   .place = Sanitizer::place_of(record),
                   .generic = who.is_generic()});
}

/// From now on the page has a record of what each cluster does; so far only its owner has done anything.
void GridHistory::share(Page& page, uint64_t number) {
  const size_t granules = GlobalPage::bytes >> shift_;
  page.writes.resize(granules);
  page.reader.resize(granules);
  page.readers.resize(clusters_.size());
  if (!page.owner) return;
  const uint64_t owner = page.owner - 1;
  const GlobalPage& before = clusters_[owner].touches->pages.at(number);
  page.readers[owner] = true;
  for (size_t g = 0; g < granules; ++g) {
    if (const Record r = before.writes.at(g)) page.writes[g] = touch_of(owner, r);
    if (before.reads.at(g)) page.reader[g] = page.owner;
  }
  page.owner = 0;
}

bool GridHistory::is_private(const GridAccess& a) {
  if (a.strong) return false;
  const auto mine = static_cast<uint32_t>(cluster_of(a.block) + 1);
  for (uint64_t n = a.address / GlobalPage::bytes; n <= (a.address + a.bytes - 1) / GlobalPage::bytes; ++n) {
    Page& page = page_of(n);
    if (page.writes.empty() && page.owner == 0) page.owner = mine;
    if (page.owner != mine) return false;
  }
  return true;
}

void GridHistory::access(const GridAccess& a) {
  if (is_private(a)) return;
  constexpr uint64_t page_bytes = GlobalPage::bytes;
  for (uint64_t at = a.address >> shift_ << shift_; at < a.address + a.bytes; at += uint64_t{1} << shift_) {
    Page& page = page_of(at / page_bytes);
    if (page.writes.empty()) share(page, at / page_bytes);
    const auto granule = static_cast<uint32_t>(at % page_bytes >> shift_);
    if (a.strong)
      strong(a, page, at, granule);
    else
      plain(a, page, at, granule);
  }
}

/// Whether a release is known that the other cluster's access was ordered before.
bool GridHistory::ordered(const GridAccess& a, const Touch& other) const {
  for (uint32_t r : clusters_[cluster_of(other.block - 1)].releasers)
    if (const uint32_t number = a.now->before.releases.of(r))
      if (releasers_[r].at(number).before.covers(other.agent, other.epoch, other.thread % 32)) return true;
  return false;
}
/// The same with a fence of proxies on the way: before the release, or after it.
bool GridHistory::proxied(const GridAccess& a, const Touch& other) const {
  for (uint32_t r : clusters_[cluster_of(other.block - 1)].releasers) {
    auto covers = [&](const Clock& c) { return c.covers(other.agent, other.epoch, other.thread % 32); };
    if (a.of_map) {
      const uint32_t acquired = a.now->mapped.releases.of(r);
      if (acquired && covers(releasers_[r].at(acquired).offered)) return true;
      continue;
    }
    const uint32_t known = a.now->before.releases.of(r), fenced = a.now->proxied.releases.of(r);
    if ((known && covers(releasers_[r].at(known).proxied)) || (fenced && covers(releasers_[r].at(fenced).before)))
      return true;
  }
  return false;
}

void GridHistory::check(const GridAccess& a, const Touch& other, bool other_writes, uint64_t address) {
  if (other.block == 0 || cluster_of(other.block - 1) == cluster_of(a.block)) return; // the cluster's own records say
  BlockRace race{.place = a.place,
                 .other_place = other.place,
                 .block = a.block,
                 .other_block = other.block - 1,
                 .thread = a.warp * 32 + a.lane,
                 .writes = a.writes,
                 .other_writes = other_writes,
                 .address = address};
  if (!ordered(a, other)) {
    race.reason = "nothing that this block has acquired orders the two: a release behind the one and an acquire in "
                  "front of the other would";
    if (other_writes && !other.generic) race.reason += ", and before the release cp.async.bulk.wait_group";
    race.agrees = a.stored && other_writes && other.generic &&
                  std::equal(a.stored + (address - a.address), a.stored + (address - a.address) + (1u << shift_),
                             launch_.memory->host(address));
  } else if (other_writes && other.generic && !a.generic && !proxied(a, other)) {
    race.kind = FindingKind::proxy_race;
    race.reason = a.of_map ? "it is ordered before, but not for tensor maps: a release and then an acquire of "
                             "fence.proxy.tensormap::generic are missing between"
                           : "it is ordered before, but not for the asynchronous proxy: fence.proxy.async is missing "
                             "between";
  } else
    return;
  report(found_, launch_, race);
}

/// Plain reads since the last plain write.
void GridHistory::check_readers(const GridAccess& a, Page& page, uint64_t address, uint32_t granule) {
  auto of = [&](uint64_t cluster) {
    const uint64_t record = clusters_[cluster].touches->pages.at(address / GlobalPage::bytes).reads.at(granule);
    if (record && !(record >> strong_bit & 1)) check(a, touch_of(cluster, record), false, address);
  };
  if (page.reader[granule] == several) {
    for (uint64_t c = 0; c < page.readers.size(); ++c)
      if (page.readers[c]) of(c);
  } else if (page.reader[granule])
    of(page.reader[granule] - 1);
}

void GridHistory::plain(const GridAccess& a, Page& page, uint64_t address, uint32_t granule) {
  check(a, page.writes[granule], true, address);
  auto strong = page.strong.empty() ? page.strong.end() : page.strong.find(granule);
  if (strong != page.strong.end())
    for (const Strong& s : strong->second)
      if ((a.writes || s.writes) && !known(a, s)) check(a, s.touch, s.writes, address);
  const uint64_t cluster = cluster_of(a.block);
  uint32_t& reader = page.reader[granule];
  if (!a.writes) {
    reader = reader == 0 || reader == cluster + 1 ? static_cast<uint32_t>(cluster + 1) : several;
    page.readers[cluster] = true;
    return;
  }
  check_readers(a, page, address, granule);
  page.writes[granule] = touch_of(a);
  reader = 0;
  if (strong != page.strong.end()) page.strong.erase(strong);
}

void GridHistory::strong(const GridAccess& a, Page& page, uint64_t address, uint32_t granule) {
  check(a, page.writes[granule], true, address);
  if (a.writes) check_readers(a, page, address, granule);
  std::vector<Strong>& all = page.strong[granule];
  std::erase_if(all, [&](const Strong& s) { // what comes after this comes after them
    return (a.writes || !s.writes) &&
           (cluster_of(s.touch.block - 1) == cluster_of(a.block) || known(a, s) || ordered(a, s.touch));
  });
  all.push_back({touch_of(a), a.writes, a.releaser, a.number});
}

/// The release that a strong write is has been acquired.
bool GridHistory::known(const GridAccess& a, const Strong& s) {
  return s.releaser != none && a.now->before.releases.of(s.releaser) >= s.number;
}

} // namespace tilejit::runtime::simulator
