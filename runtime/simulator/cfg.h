// cfg.h - the control-flow graph of a function.
//
// Blocks are numbered in the order in which the simulator lays them out and in which it prefers to run the diverged
// parts of a warp: a reverse post-order in which every loop is contiguous (the weak topological order of Bourdoncle,
// "Efficient chaotic iteration strategies with widenings", 1993). Always running the part with the least number then
// makes the parts meet at the immediate post-dominator of the branch that parted them, also where a loop is left from
// its middle.
#pragma once
#include "runtime/simulator/ast.h"

#include <vector>

namespace tilejit::runtime::simulator {

struct Block {
  uint32_t begin = 0, end = 0;      ///< Function::body[begin, end)
  std::vector<uint32_t> successors; ///< blocks; Cfg::exit() where the function may end here
  std::vector<uint32_t> predecessors;
  uint32_t post_dominator = 0; ///< immediate; Cfg::exit() at the latest
  uint32_t dominator = none;   ///< immediate; none for the entry
  uint32_t loop = none;        ///< innermost loop: index into Cfg::loops
};

/// A strongly connected part of the graph with its head, the block through which it is entered first.
struct Loop {
  uint32_t head = 0, end = 0; ///< its blocks are [head, end): loops are contiguous
  uint32_t parent = none;
  uint32_t depth = 1;
};

struct Cfg {
  std::vector<Block> blocks;            ///< those that can be reached; blocks[0] is the entry
  std::vector<Loop> loops;              ///< outer before inner
  std::vector<uint32_t> block_of;       ///< by instruction; none: cannot be reached
  std::vector<uint32_t> block_of_label; ///< by label; exit() for a label at the very end, none: cannot be reached
  std::vector<bool> leaves;             ///< by block: it only leaves the function, perhaps after a jump

  uint32_t exit() const { return static_cast<uint32_t>(blocks.size()); }
  /// The edge goes back to the head of a loop (or, irreducibly, into one).
  static bool is_back_edge(uint32_t from, uint32_t to) { return to <= from; }
  bool contains(uint32_t loop, uint32_t block) const { return block >= loops[loop].head && block < loops[loop].end; }
};

/// Blocks end at branches, at `ret` and `exit` (guarded ones too), at `trap` without a guard, and before labels that
/// something jumps to, and at calls, where the parts of a warp meet again. Running past the last instruction is `ret`.
Cfg build_cfg(const Module& module, const Function& function);

} // namespace tilejit::runtime::simulator
