#include "tools/kernel_report.h"

#include "runtime/device.h"
#include "runtime/simulator/ast.h"
#include "runtime/simulator/forms.h"

#include <algorithm>
#include <fmt/format.h>

namespace tilejit::tools {

KernelReport report(const CompiledKernel& kernel) {
  namespace simulator = runtime::simulator;
  simulator::Module module = simulator::parse(kernel.ptx);
  uint32_t entry = module.find_function(kernel.name);
  if (entry == simulator::none) throw runtime::Error("the PTX has no entry '" + kernel.name + "'");

  KernelReport report;
  report.classes = simulator::count_classes(module, entry);
  std::stable_sort(report.classes.begin(), report.classes.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  for (const auto& [name, count] : report.classes) report.instructions += count;
  report.static_shared_bytes = simulator::layout_shared(module, entry).static_bytes;

  if (std::optional<std::string> ptxas = runtime::find_ptxas()) {
    runtime::PtxasResult result = runtime::run_ptxas(*ptxas, kernel.ptx, kernel.target);
    report.ptxas_messages = result.accepted ? result.warnings() : result.messages;
    for (const runtime::EntryResources& resources : result.entries)
      if (resources.name == kernel.name) report.resources = resources;
  }
  return report;
}

std::string to_text(const KernelReport& report, const CompiledKernel& kernel, const std::string& indent) {
  std::string text;
  auto line = [&](const std::string& name, const std::string& value) {
    text += fmt::format("{}{:<18}{}\n", indent, name, value);
  };
  std::string classes;
  for (const auto& [name, count] : report.classes)
    classes += fmt::format("{}{} {}", classes.empty() ? "" : ", ", name, count);
  line("target", kernel.target);
  line("block", fmt::format("{} threads ({} warps)", kernel.threads, kernel.threads / 32));
  line("shared memory", fmt::format("{} bytes dynamic, {} static", kernel.shared_bytes, report.static_shared_bytes));
  line("PTX instructions", fmt::format("{}: {}", report.instructions, classes));
  if (report.resources) {
    const runtime::EntryResources& r = *report.resources;
    line("registers", fmt::format("{} a thread; spills {} bytes stored, {} loaded; stack {} bytes (ptxas)", r.registers,
                                  r.spill_store_bytes, r.spill_load_bytes, r.stack_bytes));
  } else {
    line("registers",
         report.ptxas_messages.empty() ? "unknown: no ptxas on this machine" : "unknown: ptxas refused the PTX");
  }
  if (!report.ptxas_messages.empty()) text += report.ptxas_messages;
  return text;
}

std::string stages_text(const std::vector<StageTime>& stages, const std::string& indent) {
  std::vector<StageTime> sums; // a pass may run twice
  double total = 0;
  for (const StageTime& stage : stages) {
    auto same = std::find_if(sums.begin(), sums.end(), [&](const StageTime& sum) { return sum.name == stage.name; });
    if (same == sums.end())
      sums.push_back(stage);
    else
      same->milliseconds += stage.milliseconds;
    total += stage.milliseconds;
  }
  std::string text;
  for (const StageTime& stage : sums)
    text += fmt::format("{}{:<24}{:8.2f} ms\n", indent, stage.name, stage.milliseconds);
  return text + fmt::format("{}{:<24}{:8.2f} ms\n", indent, "total", total);
}

} // namespace tilejit::tools
