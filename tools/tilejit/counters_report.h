// counters_report.h - the counters of a launch as JSON, as a table, and as an annotated listing.
#pragma once
#include "runtime/simulator/device.h"

#include <string>

namespace tilejit::tools {

/// Sums over instructions: of a kernel, of a line of the source.
struct CounterTotals {
  uint64_t executions = 0, lanes = 0, branches = 0, divergent = 0, special = 0, barrier_waits = 0;
  runtime::Traffic global, shared, local;
  std::vector<std::pair<std::string, uint64_t>> categories; ///< executions by class
  std::vector<std::pair<std::string, uint64_t>> tensor;     ///< floating-point operations by operand type

  void add(const runtime::InstructionCounters& i);
};

/// "a.cpp:7" of "a.cpp:7:5, inlined at b.cpp:3:1": a line, without its column.
std::string line_of(const std::string& source);

/// Everything, by instruction and by line of the source too.
std::string counters_json(const runtime::LaunchCounters& launch);
/// The kernel's totals, and the lines of its source (of its PTX where there is no source) that execute most.
std::string counters_table(const runtime::LaunchCounters& launch);
/// Lines of the source, each with its instructions of the PTX, with counts. Source files that are there are quoted.
std::string annotated_listing(const runtime::LaunchCounters& launch);

} // namespace tilejit::tools
