// assignment.h - one candidate for every value of a program, so that the sum of all costs is least.
//
// Every value (node) has a few candidate layouts; a candidate has a cost of its own (redundant arithmetic, accesses),
// and an edge costs what converting between the candidates of its ends does.  The minimum is exact: nodes are
// eliminated one by one, the one with the fewest neighbours first; each leaves behind a table over its neighbours of
// the best that can be had.  The work is candidates^(width + 1) per node, and tile programs have small width (the loop
// of attention: 2).
//
//   node 0: {0, 5}   node 1: {3, 0}   edge 0-1: {{0, 9}, {9, 0}}   ->   choice {0, 0}, cost 3
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace tilejit::layout {

struct AssignmentEdge {
  uint32_t from, to;           ///< nodes; from == to charges the node itself
  std::vector<uint64_t> costs; ///< costs[x * candidates(to) + y]: from takes candidate x, to takes y
};

struct Assignment {
  std::vector<uint32_t> choice; ///< per node
  uint64_t cost;
  unsigned width; ///< most neighbours of a node when it was eliminated
};

/// node_costs[n][x] is the cost of candidate x of node n.  Costs up to 2^40.  Throws std::invalid_argument when a node
/// has no candidate, or an edge names no node or has a wrong number of costs; std::length_error when the graph is so
/// dense that a table would have more than 2^24 entries (offer fewer candidates).
Assignment assign(std::span<const std::vector<uint64_t>> node_costs, std::span<const AssignmentEdge> edges);

} // namespace tilejit::layout
