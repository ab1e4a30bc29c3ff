// sanitize_products.cpp - see sanitize.h: what wgmma reads.
#include "runtime/simulator/sanitize.h"

#include "runtime/simulator/cluster.h"

#include <algorithm>

namespace tilejit::runtime::simulator {

void Sanitizer::product_issued(const Warp& w, const Insn* ip, uint64_t number, std::span<const uint32_t> a_chunks,
                               std::span<const uint32_t> b_chunks) {
  lanes_ordered(w, w.live);
  const AsyncAccess a{.w = w,
                      .place = observed_at(ip),
                      .agent = queue(Agent::Kind::products, w),
                      .epoch = static_cast<uint32_t>(number)};
  product_issues_[w.index].waiting.push_back({.number = number, .insn = observed_[a.place].insn});
  const Record mine = record(a.agent, a.epoch, a.place, false);
  const uint32_t own = reader(a.agent);
  // Leaves records, and says what was met: one record of each agent and epoch, with its address.
  auto read = [&, written = writes_.chunks, mark = reads_[own].chunks, readers = readers_.data()](
                  std::span<const uint32_t> chunks, std::vector<std::pair<Record, uint64_t>>& met) {
    auto is_new = [&](Record r) {
      return std::none_of(met.begin(), met.end(), [&](const auto& m) { return (m.first ^ r) >> agent_first == 0; });
    };
    Record last = mixed;
    for (uint32_t at : chunks) {
      const Record chunk = written[at / 16];
      if (chunk == mixed || ((chunk ^ last) >> agent_first != 0 && is_new(chunk)))
        writes_.pieces(at >> shift_, uint64_t{16} >> shift_, [&](Record r, uint64_t g, uint64_t) {
          if (is_new(r)) met.emplace_back(r, g << shift_);
        });
      last = chunk;
      mark[at / 16] = mine;
      readers[at / line_bytes] |= uint64_t{1} << own;
    }
  };
  known_ = nothing_known;
  met_.clear();
  read(a_chunks, met_);
  // Whether it is ordered before the product, along a path with a fence between the proxies where it needs one.
  auto is_fine = [&, me = agent(w), &t = time_of(w)](const auto& m) {
    const uint32_t who = agent_of(m.first), when = epoch_of(m.first);
    return m.first != 0 && when <= (who == me ? t.least_sync : t.now.before.epoch(who)) &&
           (when <= t.now.proxied.epoch(who) || !is_generic(m.first));
  };
  if (!std::all_of(met_.begin(), met_.end(), is_fine)) // which lanes it was may matter
    for (uint32_t at : a_chunks) check_async_read(a, at, 16);
  std::deque<ProductReads>& products = products_[w.index / 4];
  auto it = std::find_if(products.begin(), products.end(), [&](const ProductReads& p) { return p.number == number; });
  if (it == products.end()) {
    it = products.insert(products.end(), ProductReads{.number = number});
    read(b_chunks, it->met);
  }
  for (const auto& m : it->met) {
    if (is_fine(m)) continue;
    if (m.first == 0) unwritten(w, 0, a.place, m.second);
    check_async(a, m.first, true, m.second, Space::shared);
  }
  if (++it->issued == 4) products.erase(it);
}

void Sanitizer::products_committed(const Warp& w) {
  ProductIssues& p = product_issues_[w.index];
  ++p.groups;
  for (ProductIssues::Issue& i : p.waiting)
    if (i.group == 0) i.group = p.groups;
}

void Sanitizer::products_left(const Warp& w, uint32_t pending) {
  ProductIssues& p = product_issues_[w.index];
  uint64_t done = 0;
  std::erase_if(p.waiting, [&](const ProductIssues::Issue& i) {
    if (i.group == 0 || i.group + pending > p.groups) return false;
    done = std::max(done, i.number);
    return true;
  });
  if (done == 0) return;
  Moment& now = time_of(w).now;
  for (Clock* clock : {&now.before, &now.proxied})
    clock->raise(queue(Agent::Kind::products, w), static_cast<uint32_t>(done));
}

} // namespace tilejit::runtime::simulator
