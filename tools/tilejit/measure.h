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
  bool annotate = false;
  std::optional<uint64_t> seed; ///< of a random order

  void add_to(CLI::App& command);
  bool any() const { return sanitize || annotate || seed || !findings.empty() || !counters.empty(); }
  /// Before the first launch. Throws InputError where a file cannot be written.
  void begin(runtime::SimulatorDevice& device) const;
  /// After the last launch, or after an error that ended it: writes the files, prints the findings to standard error
  /// and the counters to standard output.
  /// True: something was found.
  bool end(const runtime::SimulatorDevice& device) const;
};

} // namespace tilejit::tools
