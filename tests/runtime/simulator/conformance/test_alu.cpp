// Every arithmetic form of the table, in every spelling, against its reference.
#include "tests/runtime/simulator/conformance/harness.h"

#include <catch2/catch.hpp>
#include <cstdio>
#include <map>

using namespace tilejit;
using namespace tilejit::conformance;
using runtime::simulator::InstructionClass;

namespace {

void check_rows(std::initializer_list<InstructionClass> classes) {
  auto device = runtime::open_device("simulator:sm_100a");
  size_t spellings = 0, compared = 0;
  std::map<std::string, size_t> undefined; // rows without a reference
  for (const auto& row : runtime::simulator::all_forms()) {
    if (std::find(classes.begin(), classes.end(), row.instruction_class) == classes.end()) continue;
    for (const std::string& text : runtime::simulator::spellings(row)) {
      Spelling spelling(text);
      auto slots = operand_slots(row, spelling);
      Reference reference = slots ? find_reference(spelling) : Reference();
      if (!reference) {
        ++undefined[std::string(row.id)];
        continue;
      }
      Outcome outcome = check_instruction(*device, text, *slots, reference, 1 + spellings);
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

TEST_CASE("integer arithmetic, logic, shifts") { check_rows({InstructionClass::integer}); }
TEST_CASE("single and double precision") { check_rows({InstructionClass::floating, InstructionClass::double_}); }
TEST_CASE("half precision") { check_rows({InstructionClass::half}); }
TEST_CASE("approximations") { check_rows({InstructionClass::special}); }
TEST_CASE("comparison and selection") { check_rows({InstructionClass::compare}); }
TEST_CASE("conversions") { check_rows({InstructionClass::conversion}); }
TEST_CASE("moves") { check_rows({InstructionClass::move}); }
