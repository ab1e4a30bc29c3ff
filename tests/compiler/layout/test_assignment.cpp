// The choice of layouts for a whole program, against enumeration; and the loop of attention.
#include "layout_testing.h"

#include "compiler/layout/assignment.h"

using namespace tilejit::layout;
using namespace tilejit::layout::testing;

static uint64_t cost_of(const std::vector<std::vector<uint64_t>>& nodes, const std::vector<AssignmentEdge>& edges,
                        const std::vector<uint32_t>& choice) {
  uint64_t sum = 0;
  for (size_t n = 0; n < nodes.size(); ++n) sum += nodes[n][choice[n]];
  for (const AssignmentEdge& e : edges) sum += e.costs[choice[e.from] * nodes[e.to].size() + choice[e.to]];
  return sum;
}

TEST_CASE("elimination finds the minimum") {
  uint64_t checked = 0;
  Random random(61);
  for (unsigned n = 0; n < 300; ++n) {
    std::vector<std::vector<uint64_t>> nodes(random.between(1, 7));
    for (auto& costs : nodes) {
      costs.resize(random.between(1, 3));
      for (uint64_t& c : costs) c = random.below(10);
    }
    std::vector<AssignmentEdge> edges;
    for (uint32_t u = 0; u < nodes.size(); ++u)
      for (uint32_t v = 0; v < nodes.size(); ++v)
        if (random.chance(u == v ? 0.1 : 0.25)) { // both directions, parallel edges and edges to itself occur
          AssignmentEdge e{u, v, {}};
          e.costs.resize(nodes[u].size() * nodes[v].size());
          for (uint64_t& c : e.costs) c = random.below(10);
          edges.push_back(e);
        }
    const Assignment got = assign(nodes, edges);
    uint64_t best = ~uint64_t(0);
    std::vector<uint32_t> choice(nodes.size());
    while (true) {
      best = std::min(best, cost_of(nodes, edges, choice));
      size_t i = 0;
      while (i < choice.size() && ++choice[i] == nodes[i].size()) choice[i++] = 0;
      if (i == choice.size()) break;
    }
    EXPECT(got.cost == best, uint64_t(n));
    EXPECT(cost_of(nodes, edges, got.choice) == best, uint64_t(n));
    EXPECT(got.width < nodes.size(), uint64_t(n));
  }
  CHECK(checked == 900);
  CHECK(assign({}, {}).cost == 0);
}

TEST_CASE("a long chain is as easy as a short one; a dense graph is refused with advice") {
  std::vector<std::vector<uint64_t>> nodes(500, {0, 1, 2, 3});
  std::vector<AssignmentEdge> edges;
  for (uint32_t n = 0; n + 1 < 500; ++n) edges.push_back({n, n + 1, std::vector<uint64_t>(16, 7)});
  const Assignment chain = assign(nodes, edges);
  CHECK(chain.width == 1);
  CHECK(chain.cost == 499 * 7);
  nodes.resize(20);
  edges.clear();
  for (uint32_t u = 0; u < 20; ++u)
    for (uint32_t v = u + 1; v < 20; ++v) edges.push_back({u, v, std::vector<uint64_t>(16, 1)});
  CHECK_THROWS_WITH(assign(nodes, edges), Catch::Contains("fewer candidates"));
  const std::vector<std::vector<uint64_t>> none{{}}, two{{1}, {1, 2}};
  CHECK_THROWS_WITH(assign(none, {}), Catch::Contains("node 0"));
  const std::vector<AssignmentEdge> wrong{{0, 1, {1}}}, outside{{0, 2, {1}}};
  CHECK_THROWS_WITH(assign(two, wrong), Catch::Contains("1 and 2 candidates"));
  CHECK_THROWS_WITH(assign(two, outside), Catch::Contains("there are 2"));
}

TEST_CASE("the loop of attention needs no conversion") {
  constexpr uint32_t rows = 64, keys = 80;
  const std::vector<Layout> candidates = {wgmma(Operand::c, keys, 32),
                                          wgmma(Operand::a, 0, 16).repeat(1, keys / 16, Axis::reg),
                                          blocked({rows, keys}, 32, 4)};
  enum Node : uint32_t { product, scale, row_max, exponent, row_sum, cast, next_product, count };
  std::vector<std::vector<Layout>> layouts(count, candidates);
  layouts[product] = {candidates[0]};
  layouts[next_product] = {candidates[1]};
  for (Node n : {row_max, row_sum})
    for (Layout& l : layouts[n]) l = l.slice_keep(1);
  std::vector<std::vector<uint64_t>> nodes(count);
  for (uint32_t n = 0; n < count; ++n)
    for (const Layout& l : layouts[n]) nodes[n].push_back(n == product || n == next_product ? 0 : l.count(Axis::reg));
  std::vector<AssignmentEdge> edges;
  const auto join = [&](Node from, Node to, auto wanted,
                        unsigned bits) { // wanted: what the reader in layout y needs of the value
    AssignmentEdge e{from, to, {}};
    for (const Layout& x : layouts[from])
      for (const Layout& y : layouts[to]) e.costs.push_back(convert(x, wanted(y), bits).slots);
    edges.push_back(e);
  };
  const auto same = [](const Layout& l) { return l; };
  const auto sliced = [](const Layout& l) { return l.slice_keep(1); };
  join(product, scale, same, 32);
  join(scale, exponent, same, 32);
  join(row_max, exponent, sliced, 32);
  join(exponent, cast, same, 32);
  join(cast, next_product, same, 16);
  for (auto [from, to] : {std::pair{scale, row_max},
                          {exponent, row_sum}}) { // a reduction reads its operand in the layout it was made from
    AssignmentEdge e{from, to, {}};
    for (const Layout& x : layouts[from])
      for (size_t y = 0; y < candidates.size(); ++y) e.costs.push_back(convert(x, candidates[y], 32).slots);
    edges.push_back(e);
  }
  const Assignment best = assign(nodes, edges);
  CHECK(best.width == 2);
  uint64_t conversions = best.cost;
  for (uint32_t n = 0; n < count; ++n) conversions -= nodes[n][best.choice[n]];
  CHECK(conversions == 0);
}
