// device.h - the simulator as a Device: PTX runs on this machine's CPU.
//
// Blocks are spread over host threads (TILEJIT_SIMULATOR_THREADS, else all of the machine); results do not depend on
// how many. Every access to memory is checked; errors name kernel, line, block, thread and address.
#pragma once
#include "runtime/device.h"

namespace tilejit::runtime {

/// What one launch did.
struct LaunchCounters {
  uint64_t blocks = 0;
  uint64_t warp_instructions = 0; ///< PTX instructions, each counted once a warp (parts of a diverged warp count each)
  std::vector<std::pair<std::string, uint64_t>>
      classes; ///< by instruction class; those that did not occur are left out
  double milliseconds = 0;
};

class SimulatorDevice : public Device {
public:
  /// Called now and then from a host thread while a launch runs: blocks that are done, and all of them.
  virtual void set_progress(std::function<void(uint64_t done, uint64_t total)> progress) = 0;
  virtual const LaunchCounters& last_launch() const = 0;
};

/// The simulator of a GPU of architecture `target`, "sm_80" or later. Throws Error for anything else.
std::shared_ptr<SimulatorDevice> open_simulator(const std::string& target = "sm_90a");

} // namespace tilejit::runtime
