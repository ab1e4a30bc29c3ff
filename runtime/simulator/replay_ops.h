// replay_ops.h - what each instruction of the PTX asks of a GPU, for the replay (replay.h).
#pragma once
#include "runtime/simulator/estimate.h"
#include "runtime/simulator/program.h"

namespace tilejit::runtime::simulator {

/// PTX is not machine code. `issue` says how many machine instructions one of the PTX becomes, or what share of one:
/// moves and conversions of addresses mostly vanish, and what is uniform is done beside the warps' work.
struct ReplayOp {
  enum class Kind : uint8_t {
    plain,  ///< a unit works for `cycles`, the result is there after `latency`
    access, ///< its details say what of memory
    copy,   ///< cp.async
    copy_commit,
    copy_wait, ///< for all groups but `pending`; none: for everything
    copies_arrive,
    bulk, ///< its arrival, or the group it is committed to, comes when the data have come
    bulk_commit,
    bulk_wait, ///< `reads`: it is enough that shared memory has been read
    product,   ///< wgmma
    product_commit,
    product_wait,
    synchronize, ///< arrives or waits as its details say
    fence,
  };
  Kind kind = Kind::plain;
  Resource unit = Resource::issue; ///< issue: none but the scheduler
  Stall stall = Stall::arithmetic; ///< what warps wait for that want its result
  double issue = 1;
  double cycles = 0; ///< of the unit, in a quarter of the multiprocessor; product: in all of them
  double latency = 0;
  double beside = 1;   ///< product: what shared memory gives to others meanwhile
  bool stores = false; ///< to global memory
  bool once = false;   ///< the machine's instruction is the warp's: what several lanes ask for is done once
  bool wide = false;   ///< fence: of the cluster or more, it waits for stores
  uint32_t pending = 0;
  bool only_reads = false;
  std::vector<uint32_t> reads, writes; ///< registers, those of all functions in one sequence
};

struct ReplayOps {
  std::vector<ReplayOp> ops; ///< by Program::counters
  uint32_t registers = 0;    ///< of all functions
};
ReplayOps replay_ops(const Program& program, const Gpu& gpu, std::array<uint32_t, 3> block_shape);

/// Multiply-adds a cycle and multiprocessor.
double tensor_rate(const Gpu& gpu, std::string_view operand_type);

/// Registers of a thread: the most that are alive at once, and what a compiler needs beyond them.
uint32_t estimate_registers(const Program& program, std::array<uint32_t, 3> block_shape);

} // namespace tilejit::runtime::simulator
