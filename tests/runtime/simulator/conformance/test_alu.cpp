// Every arithmetic form of the table, in every spelling, against its reference.
#include "tests/runtime/simulator/conformance/harness.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdio>
#include <map>
#include <set>

using namespace tilejit;
using namespace tilejit::conformance;
using runtime::simulator::InstructionClass;

namespace {

bool is_source(const OperandSlot& slot) { return !slot.written && !slot.immediate && slot.type != "pred"; }

void check_rows(std::initializer_list<InstructionClass> classes) {
  auto device = runtime::open_device("simulator:sm_100a");
  size_t spellings = 0, compared = 0;
  std::map<std::string, size_t> undefined; // rows without a reference
  std::set<std::string> seen;              // operations with their types
  for (const auto& row : runtime::simulator::all_forms()) {
    if (std::find(classes.begin(), classes.end(), row.instruction_class) == classes.end()) continue;
    for (const std::string& text : runtime::simulator::spellings(row)) {
      Spelling spelling(text);
      auto slots = operand_slots(row, spelling);
      if (slots) spelling.sources = static_cast<size_t>(std::count_if(slots->begin(), slots->end(), is_source));
      Reference reference = slots ? find_reference(spelling) : Reference();
      if (!reference) {
        ++undefined[std::string(row.id)];
        continue;
      }
      // All operands for the first spelling with these types, a sample that differs for each of the others: modifiers
      // multiply, and what they do shows in a few of those operands.
      std::string operation = std::string(row.id) + " " + spelling.opcode;
      for (const std::string& type : spelling.types) operation += "." + type;
      size_t limit = seen.insert(operation).second ? ~size_t{0} : 512;
      Outcome outcome = check_instruction(*device, text, *slots, reference, 1 + spellings, limit);
      ++spellings;
      compared += outcome.compared;
      if (!outcome.refused.empty()) FAIL_CHECK(text << " does not run: " << outcome.refused);
      if (outcome.wrong)
        FAIL_CHECK(text << ": " << outcome.wrong << " of " << outcome.compared << " wrong" << outcome.first);
    }
  }
  std::printf("%zu spellings, %zu results compared; no reference for:", spellings, compared);
  for (const auto& [id, count] : undefined) std::printf(" %s", id.c_str());
  std::printf("\n");
  CHECK(spellings > 0);
}

} // namespace

TEST_CASE("integers") { check_rows({InstructionClass::integer}); }
TEST_CASE("floats") { check_rows({InstructionClass::floating, InstructionClass::double_}); }
TEST_CASE("halves") { check_rows({InstructionClass::half}); }
TEST_CASE("approximations") { check_rows({InstructionClass::special}); }
TEST_CASE("comparisons") { check_rows({InstructionClass::compare}); }
TEST_CASE("conversions") { check_rows({InstructionClass::conversion}); }
TEST_CASE("moves") { check_rows({InstructionClass::move}); }
