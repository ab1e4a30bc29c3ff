// estimate_report.cpp - see estimate_report.h.
#include "tools/tilejit/estimate_report.h"

#include "tools/tilejit/counters_report.h"

#include <algorithm>
#include <fmt/format.h>
#include <map>
#include <nlohmann/json.hpp>

namespace tilejit::tools {
namespace {

using runtime::Estimate;
using runtime::InstructionCounters;
using runtime::InstructionEstimate;
using runtime::LaunchCounters;
using runtime::Resource;
using runtime::Stall;
using json = nlohmann::ordered_json;
using Stalls = decltype(InstructionEstimate::stalls);

double sum(const Stalls& stalls) {
  double all = 0;
  for (double s : stalls) all += s;
  return all;
}
json to_json(const Stalls& stalls) {
  json out = json::object();
  for (size_t s = 0; s < stalls.size(); ++s)
    if (stalls[s] > 0) out[std::string(name_of(static_cast<Stall>(s)))] = stalls[s];
  return out;
}

struct Line {
  std::string name;
  uint64_t issued = 0;
  Stalls stalls{};

  void add(const InstructionEstimate& i) {
    issued += i.issued;
    for (size_t s = 0; s < stalls.size(); ++s) stalls[s] += i.stalls[s];
  }
};

/// By line of the source; by instruction of the PTX where there is none. Those where warps are longest come first.
std::vector<Line> lines_of(const Estimate& e, const LaunchCounters& launch) {
  std::map<std::string, Line> all;
  for (const InstructionEstimate& i : e.instructions) {
    const InstructionCounters& c = launch.instructions[i.counter];
    const std::string name = c.source.empty() ? fmt::format("PTX {}: {}", c.ptx_line, c.opcode) : line_of(c.source);
    all[name].name = name;
    all[name].add(i);
  }
  std::vector<Line> lines;
  for (auto& [name, line] : all) lines.push_back(std::move(line));
  std::stable_sort(lines.begin(), lines.end(),
                   [](const Line& a, const Line& b) { return sum(a.stalls) > sum(b.stalls); });
  return lines;
}

} // namespace

std::string estimate_json(const Estimate& e, const LaunchCounters& launch) {
  json use = json::object(), lines = json::array(), instructions = json::array();
  for (size_t r = 0; r < e.use.size(); ++r) use[std::string(name_of(static_cast<Resource>(r)))] = e.use[r];
  for (const Line& line : lines_of(e, launch))
    lines.push_back({{"line", line.name}, {"issued", line.issued}, {"stalls", to_json(line.stalls)}});
  for (const InstructionEstimate& i : e.instructions) {
    const InstructionCounters& c = launch.instructions[i.counter];
    instructions.push_back({{"ptx_line", c.ptx_line},
                            {"opcode", c.opcode},
                            {"source", c.source.empty() ? json() : json(c.source)},
                            {"issued", i.issued},
                            {"stalls", to_json(i.stalls)}});
  }
  json out{
      {"gpu", e.gpu},
      {"microseconds", e.microseconds},
      {"cycles", e.cycles},
      {"bound_by", e.bound_by},
      {"roofline", {{"microseconds", e.roofline_microseconds}, {"of", e.roofline_of}, {"share", e.roofline_share}}},
      {"registers", e.registers},
      {"registers_given", e.registers_given},
      {"resident_blocks", e.resident_blocks},
      {"limited_by", e.limited_by},
      {"occupancy", e.occupancy},
      {"waves", e.waves},
      {"replayed_blocks", e.replayed_blocks},
      {"replayed_share", e.replayed_share},
      {"use", use},
      {"stalls", to_json(e.stalls)},
      {"lines", lines},
      {"instructions", instructions}};
  return out.dump(1) + "\n";
}

std::string estimate_table(const Estimate& e, const LaunchCounters& launch) {
  std::string text;
  auto row = [&](const std::string& name, const std::string& value) { text += fmt::format("{:<24}{}\n", name, value); };
  row("expected time", fmt::format("{:.4g} us, {:.4g} cycles on {}", e.microseconds, e.cycles, e.gpu));
  row("bound by", e.bound_by);
  if (e.roofline_microseconds > 0)
    row("roofline", fmt::format("{:.1f} % of {}, which alone would take {:.4g} us", 100 * e.roofline_share,
                                e.roofline_of, e.roofline_microseconds));
  row("occupancy", fmt::format("{:.0f} %: {} block{} a multiprocessor, limited by {}", 100 * e.occupancy,
                               e.resident_blocks, e.resident_blocks == 1 ? "" : "s", e.limited_by));
  row("registers", fmt::format("{} a thread, {}", e.registers, e.registers_given ? "given" : "estimated"));
  row("waves", fmt::format("{:.2f}", e.waves));
  row("replayed", fmt::format("{} blocks, {:.1f} % of the busiest multiprocessor's work", e.replayed_blocks,
                              100 * std::min(1.0, e.replayed_share)));
  auto shares = [&](const char* title, auto name, const auto& values) {
    text += fmt::format("\n{}\n", title);
    std::vector<std::pair<double, std::string>> sorted;
    for (size_t i = 0; i < values.size(); ++i) sorted.emplace_back(values[i], name(i));
    std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    for (const auto& [share, what] : sorted)
      if (share >= 0.001) text += fmt::format("  {:<22}{:>6.1f} %\n", what, 100 * share);
  };
  shares("use of", [](size_t i) { return std::string(name_of(static_cast<Resource>(i))); }, e.use);
  shares(
      "where the time of warps goes", [](size_t i) { return std::string(name_of(static_cast<Stall>(i))); }, e.stalls);

  const std::vector<Line> lines = lines_of(e, launch);
  double all = 0;
  for (const Line& line : lines) all += sum(line.stalls);
  text += fmt::format("\n{:>9}{:>12}  {:<18}{}\n", "time", "issued", "most of it", "line");
  for (size_t n = 0; n < std::min<size_t>(lines.size(), 30); ++n) {
    const Line& line = lines[n];
    const auto most =
        static_cast<Stall>(std::max_element(line.stalls.begin(), line.stalls.end()) - line.stalls.begin());
    text += fmt::format("{:>7.1f} %{:>12}  {:<18}{}\n", 100 * sum(line.stalls) / std::max(all, 1e-9), line.issued,
                        name_of(most), line.name);
  }
  return text;
}

} // namespace tilejit::tools
