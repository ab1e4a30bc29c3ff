// counters_report.cpp - see counters_report.h.
#include "tools/tilejit/counters_report.h"

#include <algorithm>
#include <fmt/format.h>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

namespace tilejit::tools {
namespace {

using runtime::InstructionCounters;
using runtime::LaunchCounters;
using runtime::Traffic;
using json = nlohmann::ordered_json;

void add_to(std::vector<std::pair<std::string, uint64_t>>& all, const std::string& name, uint64_t count) {
  if (count == 0) return;
  auto it = std::find_if(all.begin(), all.end(), [&](const auto& x) { return x.first == name; });
  if (it == all.end())
    all.emplace_back(name, count);
  else
    it->second += count;
}

std::map<std::string, CounterTotals> by_source(const LaunchCounters& launch) {
  std::map<std::string, CounterTotals> all;
  for (const InstructionCounters& i : launch.instructions)
    if (!i.source.empty()) all[line_of(i.source)].add(i);
  return all;
}

json to_json(const Traffic& t, const char* transactions) {
  return {{"requests", t.requests},
          {"bytes", t.bytes},
          {transactions, t.transactions},
          {std::string("least_") + transactions, t.least},
          {std::string("extra_") + transactions, t.transactions - t.least}};
}
/// What every object of the report has in common; zeros are left out of the parts of it.
template <typename T>
void put_traffic(json& out, const T& c, bool whole) {
  if (whole || c.global.requests) out["global"] = to_json(c.global, "sectors");
  if (whole || c.shared.requests) out["shared"] = to_json(c.shared, "wavefronts");
  if (whole || c.local.requests) out["local"] = to_json(c.local, "sectors");
  if (whole || c.branches) out["branches"] = c.branches, out["divergent_branches"] = c.divergent;
  if (whole || c.special) out["special_operations"] = c.special;
  if (whole || c.barrier_waits) out["barrier_waits"] = c.barrier_waits;
}
json object_of(const std::vector<std::pair<std::string, uint64_t>>& all) {
  json out = json::object();
  for (const auto& [name, count] : all) out[name] = count;
  return out;
}
json to_json(const CounterTotals& t, bool whole) {
  json out{{"warp_instructions", t.executions}, {"thread_instructions", t.lanes}};
  out["classes"] = object_of(t.categories);
  put_traffic(out, t, whole);
  if (whole || !t.tensor.empty()) out["tensor_operations"] = object_of(t.tensor);
  return out;
}

CounterTotals totals_of(const LaunchCounters& launch) {
  CounterTotals t;
  for (const InstructionCounters& i : launch.instructions) t.add(i);
  return t;
}

double ratio(uint64_t a, uint64_t b) { return b ? static_cast<double>(a) / static_cast<double>(b) : 0; }

} // namespace

std::string line_of(const std::string& source) {
  std::string first = source.substr(0, source.find(','));
  size_t column = first.rfind(':');
  return column == std::string::npos || first.find(':') == column ? first : first.substr(0, column);
}

void CounterTotals::add(const InstructionCounters& i) {
  executions += i.executions;
  lanes += i.lanes;
  branches += i.branches;
  divergent += i.divergent;
  special += i.special;
  barrier_waits += i.barrier_waits;
  global += i.global;
  shared += i.shared;
  local += i.local;
  add_to(categories, i.category, i.executions);
  add_to(tensor, i.operand_type, i.operations);
}

std::string counters_json(const LaunchCounters& launch) {
  json out = to_json(totals_of(launch), true);
  out["blocks"] = launch.blocks;
  out["sources"] = json::array();
  for (const auto& [source, totals] : by_source(launch)) {
    json entry{{"source", source}};
    entry.update(to_json(totals, false));
    out["sources"].push_back(std::move(entry));
  }
  out["instructions"] = json::array();
  for (const InstructionCounters& i : launch.instructions) {
    json entry{{"ptx_line", i.ptx_line},
               {"opcode", i.opcode},
               {"source", i.source.empty() ? json() : json(i.source)},
               {"class", i.category},
               {"warp_instructions", i.executions},
               {"thread_instructions", i.lanes}};
    put_traffic(entry, i, false);
    if (i.operations) entry["tensor_operations"] = {{i.operand_type, i.operations}};
    out["instructions"].push_back(std::move(entry));
  }
  return out.dump(1) + "\n";
}

std::string counters_table(const LaunchCounters& launch) {
  CounterTotals t = totals_of(launch);
  std::string text = fmt::format("{:<28}{:>16}\n", "blocks", launch.blocks);
  auto row = [&](const std::string& name, uint64_t value, const std::string& remark = "") {
    text += fmt::format("{:<28}{:>16}{}{}\n", name, value, remark.empty() ? "" : "  ", remark);
  };
  row("warp-instructions", t.executions, fmt::format("{:.1f} threads each", ratio(t.lanes, t.executions)));
  auto categories = t.categories;
  std::stable_sort(categories.begin(), categories.end(), [](auto& a, auto& b) { return a.second > b.second; });
  for (const auto& [name, count] : categories)
    row("  " + name, count, fmt::format("{:.1f} %", 100 * ratio(count, t.executions)));
  auto traffic = [&](const std::string& name, const Traffic& x, const char* unit) {
    if (!x.requests) return;
    row(name + " memory: requests", x.requests);
    row("  bytes", x.bytes);
    if (!x.transactions) return;
    row(std::string("  ") + unit, x.transactions, fmt::format("{:.2f} a request", ratio(x.transactions, x.requests)));
    row(std::string("  extra ") + unit, x.transactions - x.least);
  };
  traffic("global", t.global, "sectors");
  traffic("shared", t.shared, "wavefronts");
  traffic("local", t.local, "sectors");
  for (const auto& [type, operations] : t.tensor) row("tensor operations, " + type, operations);
  if (t.special) row("special-function operations", t.special);
  if (t.branches) row("conditional branches", t.branches, fmt::format("{} divergent", t.divergent));
  if (t.barrier_waits) row("barrier waits", t.barrier_waits);

  std::vector<std::pair<std::string, CounterTotals>> lines;
  for (const auto& [source, totals] : by_source(launch)) lines.emplace_back(source, totals);
  if (lines.empty())
    for (const InstructionCounters& i : launch.instructions) {
      CounterTotals one;
      one.add(i);
      lines.emplace_back(fmt::format("PTX {}: {}", i.ptx_line, i.opcode), one);
    }
  std::stable_sort(lines.begin(), lines.end(),
                   [](const auto& a, const auto& b) { return a.second.executions > b.second.executions; });
  text +=
      fmt::format("\n{:>16}{:>12}{:>12}{:>14}  {}\n", "warp-instr.", "sectors", "wavefronts", "extra wavefr.", "line");
  for (size_t i = 0; i < std::min<size_t>(lines.size(), 30); ++i) {
    const auto& [name, x] = lines[i];
    text += fmt::format("{:>16}{:>12}{:>12}{:>14}  {}\n", x.executions, x.global.transactions, x.shared.transactions,
                        x.shared.transactions - x.shared.least, name);
  }
  return text;
}

std::string annotated_listing(const LaunchCounters& launch) {
  auto quote = [](const std::string& line) -> std::string {
    size_t colon = line.rfind(':');
    if (colon == std::string::npos) return "";
    std::ifstream file(line.substr(0, colon));
    std::string text;
    for (int n = std::atoi(line.c_str() + colon + 1); n > 0 && std::getline(file, text); --n)
      if (n == 1) return text;
    return "";
  };
  auto remarks = [](const auto& c) {
    std::string text;
    if (c.global.requests)
      text += fmt::format(", {} bytes global in {} sectors", c.global.bytes, c.global.transactions);
    if (c.shared.requests)
      text += fmt::format(", {} bytes shared in {} wavefronts ({} extra)", c.shared.bytes, c.shared.transactions,
                          c.shared.transactions - c.shared.least);
    if (c.local.requests) text += fmt::format(", {} bytes local in {} sectors", c.local.bytes, c.local.transactions);
    if (c.divergent) text += fmt::format(", {} of {} branches divergent", c.divergent, c.branches);
    if (c.special) text += fmt::format(", {} special", c.special);
    if (c.barrier_waits) text += fmt::format(", {} waits", c.barrier_waits);
    return text;
  };
  // In the order in which lines of the source first appear in the PTX.
  std::vector<std::string> order;
  std::map<std::string, std::vector<const InstructionCounters*>> groups;
  for (const InstructionCounters& i : launch.instructions) {
    std::string line = line_of(i.source);
    if (!groups.contains(line)) order.push_back(line);
    groups[line].push_back(&i);
  }
  std::string text;
  for (const std::string& line : order) {
    CounterTotals totals;
    for (const InstructionCounters* i : groups[line]) totals.add(*i);
    std::string tensor;
    for (const auto& [type, operations] : totals.tensor) tensor += fmt::format(", {} {} operations", operations, type);
    text += fmt::format("{:>12}  {}{}{}\n", totals.executions, line.empty() ? "(no source)" : line, remarks(totals),
                        tensor);
    if (std::string source = quote(line); !source.empty()) text += fmt::format("{:>12}  | {}\n", "", source);
    for (const InstructionCounters* i : groups[line])
      text += fmt::format("{:>12}    {:>6}  {}{}\n", i->executions, i->ptx_line,
                          i->ptx.size() > 100 ? i->ptx.substr(0, 100) + "..." : i->ptx, remarks(*i));
  }
  return text;
}

} // namespace tilejit::tools
