// reach.cpp - what an entry reaches: functions, shared variables, instructions by class.
#include "runtime/device.h"
#include "runtime/simulator/forms.h"

#include <algorithm>
#include <map>

namespace tilejit::runtime::simulator {
namespace {

bool names_variable(const Operand& o) {
  return o.is(Operand::Kind::variable) || (o.is(Operand::Kind::address) && o.base == Operand::Kind::variable);
}

/// Variables that the functions name, and those that the initial values of such variables name.
std::vector<bool> reachable_variables(const Module& module, const std::vector<uint32_t>& functions,
                                      std::vector<uint32_t>* more) {
  std::vector<bool> seen(module.variables.size());
  std::vector<uint32_t> work;
  auto add = [&](uint32_t v) {
    if (v != none && !seen[v]) seen[v] = true, work.push_back(v);
  };
  for (uint32_t f : functions)
    for (const Operand& o : module.functions[f].pool)
      if (names_variable(o)) add(o.index);
  while (!work.empty()) {
    const Variable& v = module.variables[work.back()];
    work.pop_back();
    for (const Relocation& r : v.relocations) {
      add(r.variable);
      if (r.function != none && more) more->push_back(r.function);
    }
  }
  return seen;
}

} // namespace

std::vector<uint32_t> reachable_functions(const Module& module, uint32_t entry) {
  std::vector<uint32_t> order;
  std::vector<bool> seen(module.functions.size());
  auto add = [&](uint32_t f) {
    if (f != none && !seen[f]) seen[f] = true, order.push_back(f);
  };
  add(entry);
  size_t next = 0;
  for (;;) {
    for (; next < order.size(); ++next) {
      for (const Operand& o : module.functions[order[next]].pool)
        if (o.is(Operand::Kind::function)) add(o.index);
    }
    // Tables of functions in memory (virtual functions).
    std::vector<uint32_t> in_memory;
    reachable_variables(module, order, &in_memory);
    for (uint32_t f : in_memory) add(f);
    if (next == order.size()) return order;
  }
}

SharedLayout layout_shared(const Module& module, uint32_t entry) {
  SharedLayout layout;
  layout.offset.resize(module.variables.size());
  std::vector<bool> used = reachable_variables(module, reachable_functions(module, entry), nullptr);
  uint64_t end = 0, dynamic_align = 16;
  for (size_t i = 0; i < module.variables.size(); ++i) {
    const Variable& v = module.variables[i];
    if (!used[i] || v.space != Space::shared) continue;
    if (v.bytes == 0) {
      dynamic_align = std::max<uint64_t>(dynamic_align, v.align);
      continue;
    }
    end = (end + v.align - 1) / v.align * v.align;
    layout.offset[i] = end;
    end += v.bytes;
    if (end > 228 * 1024)
      throw Error("line " + std::to_string(v.line) + ": the shared variables of '" +
                  std::string(module.functions[entry].name) + "' are larger than the 228 KB of shared memory");
  }
  layout.static_bytes = (end + dynamic_align - 1) / dynamic_align * dynamic_align;
  for (size_t i = 0; i < module.variables.size(); ++i)
    if (used[i] && module.variables[i].space == Space::shared && module.variables[i].bytes == 0)
      layout.offset[i] = layout.static_bytes;
  return layout;
}

void require_known_forms(const Module& module, uint32_t entry) {
  constexpr size_t most = 200;
  std::string text;
  size_t found = 0;
  for (uint32_t f : reachable_functions(module, entry))
    for (const Instruction& i : module.functions[f].body)
      if (i.form == Form::unknown && ++found <= most) text += (text.empty() ? "" : "\n") + describe_unknown(i);
  if (found > most) text += "\nand " + std::to_string(found - most) + " more";
  if (found) throw Error(text);
}

std::vector<std::pair<std::string, uint64_t>> count_classes(const Module& module, uint32_t entry) {
  std::map<std::pair<InstructionClass, Space>, uint64_t> counts;
  for (uint32_t f : reachable_functions(module, entry))
    for (const Instruction& i : module.functions[f].body) {
      InstructionClass c = class_of(i);
      bool spaces = c == InstructionClass::load || c == InstructionClass::store || c == InstructionClass::atomic;
      ++counts[{c, spaces ? i.space() : Space::generic}];
    }
  std::vector<std::pair<std::string, uint64_t>> result;
  for (const auto& [key, count] : counts) {
    std::string name(name_of(key.first));
    if (key.first == InstructionClass::load) name = "ld." + std::string(name_of(key.second));
    if (key.first == InstructionClass::store) name = "st." + std::string(name_of(key.second));
    if (key.first == InstructionClass::atomic) name = "atom." + std::string(name_of(key.second));
    result.emplace_back(std::move(name), count);
  }
  return result;
}

} // namespace tilejit::runtime::simulator
