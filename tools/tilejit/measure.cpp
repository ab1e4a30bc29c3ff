// measure.cpp - see measure.h.
#include "tools/tilejit/measure.h"

#include "runtime/files.h"

#include <iostream>

namespace tilejit::tools {

void MeasureOptions::add_to(CLI::App& command) {
  command.add_flag("--sanitize", sanitize,
                   "Simulator: looks for races, uninitialised reads and misused asynchronous operations");
  command.add_option("--findings", findings, "Simulator: what was found, as JSON")->type_name("FILE.json");
}

void MeasureOptions::begin(runtime::SimulatorDevice& device) const {
  if (!findings.empty()) runtime::check_writable(findings);
  device.set_instruments({.sanitize = sanitize});
}

bool MeasureOptions::end(const runtime::SimulatorDevice& device) const {
  for (const runtime::Finding& f : device.findings())
    std::cerr << "tilejit: " << name_of(f.kind) << ": " << f.message << "\n";
  if (!findings.empty()) {
    runtime::OutputFile file(findings);
    file.write(to_json(device.findings()));
    file.commit();
  }
  return !device.findings().empty();
}

} // namespace tilejit::tools
