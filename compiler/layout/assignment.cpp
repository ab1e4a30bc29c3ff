#include "compiler/layout/assignment.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>

namespace tilejit::layout {

namespace {

/// A cost that depends on the candidates of the nodes in `scope` (ascending): a table, the last node of the scope
/// running fastest.
struct Factor {
  std::vector<uint32_t> scope;
  std::vector<uint64_t> table;
};

/// How an eliminated node follows from the neighbours that it had.
struct Decision {
  uint32_t node;
  std::vector<uint32_t> scope;
  std::vector<uint32_t> best; // candidate, by the candidates of the scope
};

} // namespace

Assignment assign(std::span<const std::vector<uint64_t>> node_costs, std::span<const AssignmentEdge> edges) {
  const uint32_t nodes = uint32_t(node_costs.size());
  std::vector<uint32_t> candidates(nodes);
  std::vector<Factor> factors;
  for (uint32_t n = 0; n < nodes; ++n) {
    if (node_costs[n].empty())
      throw std::invalid_argument("node " + std::to_string(n) + " of an assignment has no candidate");
    candidates[n] = uint32_t(node_costs[n].size());
    factors.push_back({{n}, node_costs[n]});
  }
  for (const AssignmentEdge& e : edges) {
    if (e.from >= nodes || e.to >= nodes)
      throw std::invalid_argument("an edge of an assignment joins nodes " + std::to_string(e.from) + " and " +
                                  std::to_string(e.to) + ", there are " + std::to_string(nodes));
    const uint32_t rows = candidates[e.from], columns = candidates[e.to];
    if (e.costs.size() != size_t(rows) * columns)
      throw std::invalid_argument("the edge " + std::to_string(e.from) + "-" + std::to_string(e.to) +
                                  " of an assignment has " + std::to_string(e.costs.size()) + " costs, its ends have " +
                                  std::to_string(rows) + " and " + std::to_string(columns) + " candidates");
    Factor f;
    if (e.from == e.to) {
      f.scope = {e.from};
      for (uint32_t x = 0; x < rows; ++x) f.table.push_back(e.costs[size_t(x) * columns + x]);
    } else if (e.from < e.to) {
      f = {{e.from, e.to}, e.costs};
    } else {
      f.scope = {e.to, e.from};
      for (uint32_t y = 0; y < columns; ++y)
        for (uint32_t x = 0; x < rows; ++x) f.table.push_back(e.costs[size_t(x) * columns + y]);
    }
    factors.push_back(std::move(f));
  }

  Assignment result{std::vector<uint32_t>(nodes), 0, 0};
  std::vector<uint32_t>& now = result.choice; // the candidates that the loops below are at
  const auto look_up = [&](const std::vector<uint32_t>& scope) {
    size_t index = 0;
    for (uint32_t n : scope) index = index * candidates[n] + now[n];
    return index;
  };
  std::vector<Decision> decisions;
  std::vector<bool> gone(nodes);
  std::vector<std::vector<uint32_t>> neighbours(nodes);
  const auto join = [&](uint32_t n, uint32_t m) {
    if (n != m && std::find(neighbours[n].begin(), neighbours[n].end(), m) == neighbours[n].end())
      neighbours[n].push_back(m);
  };
  for (const AssignmentEdge& e : edges) join(e.from, e.to), join(e.to, e.from);
  for (uint32_t done = 0; done < nodes; ++done) {
    uint32_t node = nodes; // the one with the fewest neighbours
    for (uint32_t n = 0; n < nodes; ++n)
      if (!gone[n] && (node == nodes || neighbours[n].size() < neighbours[node].size())) node = n;
    gone[node] = true;

    Decision decision{node, neighbours[node], {}};
    std::sort(decision.scope.begin(), decision.scope.end());
    result.width = std::max(result.width, unsigned(decision.scope.size()));
    for (uint32_t n : decision.scope) { // its neighbours become neighbours of each other
      std::erase(neighbours[n], node);
      for (uint32_t m : decision.scope) join(n, m);
    }
    size_t entries = 1;
    for (uint32_t n : decision.scope) {
      entries *= candidates[n];
      if (entries > size_t(1) << 24)
        throw std::length_error(
            "the values of this program depend on each other too densely to place them exactly: offer fewer "
            "candidates per value");
    }
    const auto mine = std::partition(factors.begin(), factors.end(), [&](const Factor& f) {
      return std::find(f.scope.begin(), f.scope.end(), node) == f.scope.end();
    });
    Factor left{decision.scope, std::vector<uint64_t>(entries)};
    decision.best.resize(entries);
    for (size_t entry = 0; entry < entries; ++entry) {
      size_t index = entry;
      for (size_t i = decision.scope.size(); i-- > 0; index /= candidates[decision.scope[i]])
        now[decision.scope[i]] = uint32_t(index % candidates[decision.scope[i]]);
      uint64_t best = std::numeric_limits<uint64_t>::max();
      for (uint32_t x = 0; x < candidates[node]; ++x) {
        now[node] = x;
        uint64_t cost = 0;
        for (auto f = mine; f != factors.end(); ++f) cost += f->table[look_up(f->scope)];
        if (cost < best) {
          best = cost;
          decision.best[entry] = x;
        }
      }
      left.table[entry] = best;
    }
    factors.erase(mine, factors.end());
    if (left.scope.empty())
      result.cost += left.table[0];
    else
      factors.push_back(std::move(left));
    decisions.push_back(std::move(decision));
  }
  for (auto d = decisions.rbegin(); d != decisions.rend(); ++d) now[d->node] = d->best[look_up(d->scope)];
  return result;
}

} // namespace tilejit::layout
