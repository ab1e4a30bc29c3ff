// grid.h - the blocks of a launch, in whole clusters.
//
// Those that do not talk to each other are spread over host threads, in their order, each cluster to its end. Those
// that may (flags, locks, barriers of the whole grid) run in turns on one host thread: as many at once as a GPU would
// hold, so that a barrier over more blocks than fit is a deadlock here too. A cluster begins when its place is free
// and those before it have not ended by themselves, so that blocks that only wait for earlier ones cost nothing.
#pragma once
#include "runtime/simulator/block.h"
#include "runtime/simulator/gpu_table.h"

#include <exception>
#include <functional>

namespace tilejit::runtime::simulator {

struct GridHost {
  uint32_t threads = 1;
  uint32_t architecture = 90; ///< its number: 80, 90
  const std::function<void(uint64_t done, uint64_t total)>& progress;
  const std::function<void(std::string_view)>& output; ///< of vprintf; empty: standard output
};

/// What the blocks did, all together.
struct GridRun {
  std::vector<uint64_t> counts, lanes;  ///< by basic block: executions, lanes
  std::vector<AccessCounters> accesses; ///< by Program::counters
  FindingLog found;
  uint64_t last = 0;        ///< findings of later clusters don't count
  std::exception_ptr error; ///< of the first cluster that has one
};

GridRun run_grid(LaunchState& state, const GridHost& host);

/// The largest of an architecture: A100, H100 SXM (gpu_table.h).
const Gpu& gpu_of(uint32_t architecture);
/// How many clusters it holds at once: by threads, shared memory and blocks. Registers are not known to PTX.
uint64_t resident_clusters(const LaunchState& state, uint32_t architecture);

} // namespace tilejit::runtime::simulator
