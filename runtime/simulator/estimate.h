// estimate.h - how long a launch would take on a GPU, told from a recording of it on the simulator.
//
//   device->set_instruments({.estimate = true});
//   device->launch_ptx(ptx, launch);
//   Estimate e = estimate(device->last_launch(), find_gpu("h100"));
//
// The blocks that one multiprocessor gets are replayed (replay.h): instruction by instruction, with the GPU's units,
// latencies and rates. Docs: docs/simulator.md says what is assumed. The result is to compare kernels by, and to see
// what bounds them; PTX is not machine code, so it is not to be taken for a measurement.
#pragma once
#include "runtime/simulator/device.h"
#include "runtime/simulator/gpu_table.h"

#include <optional>

namespace tilejit::runtime {

/// Why warps do not issue.
enum class Stall : uint8_t {
  instructions,  ///< for the next one to come, the first time
  issue,         ///< its own instruction before it is still being issued
  not_selected,  ///< another warp of its scheduler was
  arithmetic,    ///< for a result of ordinary arithmetic
  special,       ///< for one of the special-function unit, a conversion, fp64
  shared_memory, ///< for data from shared memory, a shuffle
  global_memory, ///< for data from global memory
  products,      ///< for tensor cores, mma.sync or wgmma
  unit_busy,     ///< the unit is taken
  memory_queue,  ///< too many accesses are waiting already
  copies,        ///< for cp.async, bulk copies
  barrier,       ///< bar.sync, barrier.cluster
  mbarrier,
  fence,
  count,
};
std::string_view name_of(Stall stall);

/// The parts of the machine that a kernel may be bound by.
enum class Resource : uint8_t { issue, fma, alu, fp64, special, shared_memory, tensor, l2, memory, count };
std::string_view name_of(Resource resource);

struct EstimateOptions {
  uint32_t registers = 0; ///< of a thread; 0: estimated
};

/// Of one instruction of the PTX, in the replay.
struct InstructionEstimate {
  uint32_t counter = 0; ///< index in LaunchCounters::instructions
  uint64_t issued = 0;
  std::array<double, static_cast<size_t>(Stall::count)> stalls{}; ///< cycles, of all warps
};

struct Estimate {
  std::string gpu;
  double microseconds = 0, cycles = 0; ///< of the whole grid, launch not included

  uint32_t registers = 0; ///< of a thread
  bool registers_given = false;
  uint32_t resident_blocks = 0; ///< of a multiprocessor
  std::string limited_by;       ///< "registers", "threads", "shared memory", "blocks"
  double occupancy = 0;         ///< share of the warps that there may be
  double waves = 0;
  uint64_t replayed_blocks = 0;
  double replayed_share = 1; ///< of the work of the busiest multiprocessor; the rest is taken to go on alike

  std::array<double, static_cast<size_t>(Resource::count)> use{}; ///< shares of the time, 0 to 1
  std::string bound_by;             ///< a resource, or "latency" and what warps wait for most
  double roofline_microseconds = 0; ///< tensor cores, arithmetic and memory at full rate: the whole GPU's
  std::string roofline_of;          ///< which of them takes longest
  double roofline_share = 0;        ///< of the expected time

  std::array<double, static_cast<size_t>(Stall::count)> stalls{}; ///< shares of the time of warps that wait, sum 1
  std::vector<InstructionEstimate> instructions;                  ///< those that were issued
};

/// Throws Error where the launch was not recorded.
Estimate estimate(const LaunchCounters& launch, const Gpu& gpu, const EstimateOptions& options = {});

} // namespace tilejit::runtime
