// measure.h - the options of `run` and `sim` that make the simulator a measuring instrument.
#pragma once
#include "runtime/simulator/device.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <optional>

namespace tilejit::tools {

struct MeasureOptions {
  bool sanitize = false;
  std::string findings; ///< file, empty: none
  std::string counters; ///< "json", "table", empty: none
  bool annotate = false, exact_products = false;
  std::string estimate;              ///< a GPU's name; "auto": that of the device's target; empty: none
  std::string estimate_as = "table"; ///< "json", "table"
  uint32_t registers = 0;            ///< of a thread, for the estimate; 0: estimated
  std::optional<uint64_t> seed;      ///< of a random order

  void add_to(CLI::App& command);
  bool any() const {
    return sanitize || annotate || exact_products || seed || registers || !estimate.empty() || !findings.empty() ||
           !counters.empty();
  }
  /// Before the first launch. Throws InputError where a file cannot be written.
  void begin(runtime::SimulatorDevice& device) const;
  /// After the last launch, or after an error that ended it: writes the files, prints the findings to standard error
  /// and the counters and the estimate to standard output.
  /// True: something was found.
  bool end(const runtime::SimulatorDevice& device) const;
};

} // namespace tilejit::tools
