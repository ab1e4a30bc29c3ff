// replay_order.h - the instructions of a basic block in an order that ptxas might give them.
//
// Compilers write PTX in any order, and ptxas moves loads away from their uses. So the replay does not take the order
// of the PTX but one by list scheduling: of the instructions whose operands are there, the one first that the longest
// chain of latencies hangs on. Nothing moves over barriers, waits, fences and products of warpgroups, loads not over
// stores to the same memory, and nothing far, since registers are few.
#pragma once
#include "runtime/simulator/recording.h"
#include "runtime/simulator/replay_ops.h"

namespace tilejit::runtime::simulator {

class ReplayOrder {
public:
  ReplayOrder(const Program& program, const ReplayOps& ops, const Gpu& gpu);
  /// The trace with every whole execution of a basic block in its new order.
  ClusterTrace apply(const ClusterTrace& trace) const;

private:
  void schedule(const Program& program, const ReplayOps& ops, const Gpu& gpu, uint32_t first, uint32_t last);
  WarpTrace apply(const WarpTrace& trace) const;

  std::vector<uint32_t> order_; ///< by Program::counters: what is there now, of the same block
  std::vector<uint32_t> end_;   ///< of the block that begins there; 0 elsewhere
};

} // namespace tilejit::runtime::simulator
