// measure.cpp - see measure.h.
#include "tools/tilejit/measure.h"

#include "runtime/files.h"
#include "runtime/simulator/estimate.h"
#include "tools/tilejit/arguments.h"
#include "tools/tilejit/counters_report.h"
#include "tools/tilejit/estimate_report.h"

#include <iostream>

namespace tilejit::tools {
namespace {

const runtime::Gpu& gpu_of(const runtime::SimulatorDevice& device, const std::string& name) {
  return runtime::find_gpu(name == "auto" ? device.target() : name);
}

} // namespace

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
  command.add_flag("--estimate{auto}", estimate,
                   "Simulator: how long the last launch would take on a GPU, and what bounds it: --estimate, or "
                   "--estimate=h200, h100 or a100; see docs/simulator.md for what is assumed");
  command.add_option("--estimate-as", estimate_as, "How the estimate is printed; default table")
      ->type_name("json|table")
      ->check(CLI::IsMember({"json", "table"}));
  command.add_flag("--exact-products", exact_products,
                   "Simulator: matrix products are summed bit for bit as an H200 sums them; many times slower");
  command
      .add_option("--registers", registers,
                  "For the estimate: registers of a thread, where ptxas has told them; without it they are estimated")
      ->type_name("N")
      ->check(CLI::Range(1, 255));
  command
      .add_option("--seed", seed,
                  "Simulator: warps run and asynchronous operations take effect in a random order, the same for the "
                  "same number; without it, in a fixed order and as late as they may")
      ->type_name("N");
}

void MeasureOptions::begin(runtime::SimulatorDevice& device) const {
  if (!findings.empty()) runtime::check_writable(findings);
  if (estimate.empty() && registers) throw InputError("--registers is for the time estimate: add --estimate");
  try {
    if (!estimate.empty()) gpu_of(device, estimate);
  } catch (const runtime::Error& error) {
    throw InputError(std::string("--estimate: ") + error.what());
  }
  device.set_seed(seed);
  device.set_instruments({.sanitize = sanitize,
                          .counters = annotate || !counters.empty(),
                          .estimate = !estimate.empty(),
                          .exact_products = exact_products});
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
  if (!estimate.empty() && device.last_launch().recording) {
    const runtime::LaunchCounters& launch = device.last_launch();
    const runtime::Estimate e = runtime::estimate(launch, gpu_of(device, estimate), {.registers = registers});
    std::cout << (estimate_as == "json" ? estimate_json(e, launch) : estimate_table(e, launch));
  }
  return !device.findings().empty();
}

} // namespace tilejit::tools
