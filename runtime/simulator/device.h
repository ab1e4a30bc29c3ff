// device.h - the simulator as a Device: PTX runs on this machine's CPU.
//
// Blocks are spread over host threads (TILEJIT_SIMULATOR_THREADS, else all of the machine); results do not depend on
// how many. Every access to memory is checked; errors name kernel, line, block, thread and address.
#pragma once
#include "runtime/device.h"
#include "runtime/simulator/counters.h"
#include "runtime/simulator/findings.h"

#include <optional>

namespace tilejit::runtime {

namespace simulator {
struct Recording;
}

/// What one launch did.
struct LaunchCounters {
  uint64_t blocks = 0;
  uint64_t warp_instructions = 0; ///< PTX instructions, each counted once a warp (parts of a diverged warp count each)
  std::vector<std::pair<std::string, uint64_t>>
      classes; ///< by instruction class; those that did not occur are left out
  double milliseconds = 0;
  std::vector<InstructionCounters> instructions;         ///< with Instruments::counters: in the order of the PTX
  std::shared_ptr<const simulator::Recording> recording; ///< with Instruments::estimate: for estimate.h
};

class SimulatorDevice : public Device {
public:
  /// For the launches that follow.
  virtual void set_instruments(const Instruments& instruments) = 0;
  /// The order in which warps run and asynchronous operations take effect, for the launches that follow: a random one,
  /// the same for any number of host threads; or, without a seed, a fixed one, in which such operations take effect as
  /// late as they may.
  virtual void set_seed(std::optional<uint64_t> seed) = 0;
  /// What was found since the device was opened or `clear_findings` was called; those that ended a launch are here too.
  virtual const std::vector<Finding>& findings() const = 0;
  virtual void clear_findings() = 0;
  /// Called now and then from a host thread while a launch runs: blocks that are done, and all of them.
  virtual void set_progress(std::function<void(uint64_t done, uint64_t total)> progress) = 0;
  virtual const LaunchCounters& last_launch() const = 0;
  /// Gets what kernels print, block after block in their order; without it, standard output does.
  virtual void set_output(std::function<void(std::string_view)> output) = 0;
};

/// Where results depended on the order in which things happened.
struct SeedDifference {
  uint64_t seed = 0;
  size_t buffer = 0, byte = 0; ///< the first that differs from the run without a seed
};
/// Does `work` without a seed and then with each of seeds 1 .. `seeds`, on buffers that begin each time as they are
/// now, and compares what it leaves in them bit by bit. Nothing: it was always the same. Leaves the last run's
/// contents.
std::optional<SeedDifference> compare_seeds(SimulatorDevice& device, std::span<const std::shared_ptr<Buffer>> buffers,
                                            const std::function<void()>& work, uint64_t seeds);

/// The simulator of a GPU of architecture `target`, "sm_80" or later. Throws Error for anything else.
std::shared_ptr<SimulatorDevice> open_simulator(const std::string& target = "sm_90a");

} // namespace tilejit::runtime
