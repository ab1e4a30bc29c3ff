// cases_arithmetic.cpp - every spelling of the table of forms that computes registers from registers, where there is a
// reference for it.
#include "tests/runtime/simulator/conformance/harness.h"

#include <algorithm>
#include <cstring>
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
namespace {

/// Which NaN makes fma.oob give 0: each of them as a factor of 1, in both places.
void oob_case(const Sink& sink) {
  std::string body = "mov.b16 %h10, 0x3c00;\nmov.b16 %h11, 0x3f80;\ncvt.u16.u32 %h1, %r0;\n";
  int word = 0;
  for (std::string type : {"f16", "bf16"})
    for (const char* sign : {"0x0000", "0x8000"}) {
      const std::string one = type == "f16" ? "%h10" : "%h11", op = "fma.rn.oob." + type;
      body += std::string("or.b16 %h2, %h1, ") + (type == "f16" ? "0x7c00" : "0x7f80") + ";\nor.b16 %h2, %h2, " + sign +
              ";\n" + op + " %h3, %h2, " + one + ", " + one + ";\n" + op + " %h4, " + one + ", %h2, " + one +
              ";\nmov.b32 %r20, {%h3, %h4};\nst.global.b32 [%rd2+" + std::to_string(4 * word++) + "], %r20;\n";
    }
  Case c = words_case({.name = "fma.rn.oob of every NaN",
                       .tests = {"fma.rn.oob.f16", "fma.rn.oob.bf16"},
                       .body = body,
                       .threads = 128,
                       .blocks = 8,
                       .since = 81},
                      {}, 4, {}, false);
  c.check = [](std::span<const std::byte> output) {
    Report report;
    for (size_t i = 0; i < output.size() / 2; ++i) {
      uint16_t got;
      std::memcpy(&got, output.data() + 2 * i, 2);
      const auto special = static_cast<uint16_t>(i / 4 % 2 ? 0x7f80 : 0x7c00),
                 factor = static_cast<uint16_t>(i / 8 | special);
      if (factor == special) continue; // infinity
      report.add(got == ((factor & 0x7fff) == 0x7ff7 ? 0 : 0x7fff), [&] { return hex(factor) + ": got " + hex(got); });
    }
    return report;
  };
  emit(sink, std::move(c));
}

} // namespace

void half_cases(const Sink& sink) {
  table_cases(sink, {InstructionClass::half});
  oob_case(sink);
}
void approximation_cases(const Sink& sink) { table_cases(sink, {InstructionClass::special}); }
void comparison_cases(const Sink& sink) { table_cases(sink, {InstructionClass::compare}); }
void conversion_cases(const Sink& sink) { table_cases(sink, {InstructionClass::conversion}); }

} // namespace tilejit::conformance
