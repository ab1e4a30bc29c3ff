// cases_arithmetic.cpp - every spelling of the table of forms that computes registers from registers, where there is a
// reference for it.
#include "tests/runtime/simulator/conformance/harness.h"

#include <algorithm>
#include <set>

namespace tilejit::conformance {
namespace {

using runtime::simulator::InstructionClass;

bool is_number(const OperandSlot& slot) {
  return !slot.written && !slot.immediate && !slot.carry && slot.type != "pred";
}

/// FNV-1a: a seed that stays the same when the table grows.
uint64_t seed_of(const std::string& text) {
  uint64_t h = 0xcbf29ce484222325;
  for (char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return h;
}

} // namespace

void table_cases(const Sink& sink, std::initializer_list<InstructionClass> classes) {
  std::set<std::string> seen, operations; // names; forms with their types
  for (const auto& row : runtime::simulator::all_forms()) {
    if (std::find(classes.begin(), classes.end(), row.instruction_class) == classes.end()) continue;
    for (const std::string& text : runtime::simulator::spellings(row)) {
      Spelling spelling(text);
      auto slots = operand_slots(row, spelling);
      if (slots) spelling.sources = static_cast<size_t>(std::count_if(slots->begin(), slots->end(), is_number));
      Reference reference = slots ? find_reference(spelling) : Reference();
      std::string name = std::string(row.id) + ": " + text;
      if (!reference || !seen.insert(name).second) continue;
      // All operands for the first spelling with these types, a sample that differs for each of the others: modifiers
      // multiply, and what they do shows in a few of those operands.
      std::string operation = std::string(row.id) + " " + spelling.opcode;
      for (const std::string& type : spelling.types) operation += "." + type;
      size_t limit = operations.insert(operation).second ? ~size_t{0} : 512;
      sink({name, {text}, "", [=, since = row.since, slots = *slots](bool brief) {
              Case c = instruction_case(text, slots, reference, seed_of(name), limit, brief);
              c.name = name;
              // What .satfinite goes with came later than the rest of the row.
              uint32_t finite = !spelling.has("satfinite") ? 0 : spelling.type() == "tf32" ? 86 : 81;
              c.since = std::max({c.since, since, finite});
              return c;
            }});
    }
  }
}

void integer_cases(const Sink& sink) { table_cases(sink, {InstructionClass::integer}); }
void float_cases(const Sink& sink) { table_cases(sink, {InstructionClass::floating, InstructionClass::double_}); }
void half_cases(const Sink& sink) { table_cases(sink, {InstructionClass::half}); }
void approximation_cases(const Sink& sink) { table_cases(sink, {InstructionClass::special}); }
void comparison_cases(const Sink& sink) { table_cases(sink, {InstructionClass::compare}); }
void conversion_cases(const Sink& sink) { table_cases(sink, {InstructionClass::conversion}); }

} // namespace tilejit::conformance
