// measure.cpp - see measure.h.
#include "tools/tilejit/measure.h"

#include "runtime/files.h"
#include "tools/tilejit/counters_report.h"

#include <iostream>

namespace tilejit::tools {

void MeasureOptions::add_to(CLI::App& command) {
  command.add_flag("--sanitize", sanitize,
                   "Simulator: looks for races, uninitialised reads and misused asynchronous operations");
  command.add_option("--findings", findings, "Simulator: what was found, as JSON")->type_name("FILE.json");
  command
      .add_option("--counters", counters,
                  "Simulator: instructions, memory traffic, bank conflicts, ... of the last launch")
      ->type_name("json|table")
      ->check(CLI::IsMember({"json", "table"}));
  command.add_flag("--annotate", annotate, "Simulator: the lines of the source and of the PTX with their counts");
  command
      .add_option("--seed", seed,
                  "Simulator: warps run and asynchronous operations take effect in a random order, the same for the "
                  "same number; without it, in a fixed order and as late as they may")
      ->type_name("N");
}

void MeasureOptions::begin(runtime::SimulatorDevice& device) const {
  if (!findings.empty()) runtime::check_writable(findings);
  device.set_seed(seed);
  device.set_instruments({.sanitize = sanitize, .counters = annotate || !counters.empty()});
}

bool MeasureOptions::end(const runtime::SimulatorDevice& device) const {
  for (const runtime::Finding& f : device.findings())
    std::cerr << "tilejit: " << name_of(f.kind) << ": " << f.message << "\n";
  if (!findings.empty()) {
    runtime::OutputFile file(findings);
    file.write(to_json(device.findings()));
    file.commit();
  }
  if (counters == "json") std::cout << counters_json(device.last_launch());
  if (counters == "table") std::cout << counters_table(device.last_launch());
  if (annotate) std::cout << annotated_listing(device.last_launch());
  return !device.findings().empty();
}

} // namespace tilejit::tools
