// Every row of the table of forms is tested by a conformance case, or stands here with the reason why not.
#include "runtime/simulator/forms.h"
#include "tests/runtime/simulator/conformance/case.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdio>
#include <map>
#include <set>

using namespace tilejit::conformance;
namespace simulator = tilejit::runtime::simulator;

namespace {

/// Rows that no case tests: their id, and where that leaves them.
const std::map<std::string, std::string> elsewhere{
    {"trap", "ends the launch: test_exec_control.cpp"},
    {"brkpt", "stops a GPU for its debugger, and the simulator not at all"},
    {"wmma_load", "fragments are the machine's own: cuda/test_matrices.cpp tests what load, product and store give"},
    {"wmma_store", "as wmma_load"},
    {"wmma_mma", "as wmma_load"},
    {"cp_async_bulk_tensor_load", "its row of im2col: refused by name"},
    {"cp_async_bulk_prefetch_tensor", "its row of im2col"},
    {"cvt_pack_rs", "not run by the simulator: the manual shows in a picture only which random bits go where"},
    {"cvt_fp64_pack", "not run by the simulator yet"},
    {"cvt_fp64_to_half", "not run by the simulator yet"},
    {"cvt_ue8m0_pack", "not run by the simulator yet"},
    {"cvt_ue8m0_from_half", "not run by the simulator yet"},
    {"cvt_ue8m0_to_half", "not run by the simulator yet"},
    {"redux_float", "not run by the simulator yet"},
};

} // namespace

TEST_CASE("every row of the table is tested or is known not to be") {
  auto rows = simulator::all_forms();
  std::set<size_t> covered;
  std::set<std::string> seen; // spellings that are known already
  size_t cases = 0;
  each_source([&](const Source& source) {
    ++cases;
    std::set<std::string> found;
    std::string text = ptx_of(source.make(true), "sm_100a"); // the module's names point into it
    simulator::Module module = simulator::parse(text);
    for (const simulator::Function& f : module.functions)
      for (const simulator::Instruction& i : f.body)
        if (std::string spelling(i.text);
            std::find(source.tests.begin(), source.tests.end(), spelling) != source.tests.end()) {
          covered.insert(i.row);
          found.insert(spelling);
        }
    for (const std::string& t : source.tests) {
      if (!found.contains(t)) FAIL_CHECK(source.name << " says that it tests " << t << ", which it does not have");
      seen.insert(t);
    }
  });
  std::set<std::string> excused;
  for (size_t r = 0; r < rows.size(); ++r) {
    std::string id(rows[r].id);
    if (covered.contains(r)) continue;
    if (elsewhere.contains(id))
      excused.insert(id);
    else
      FAIL_CHECK("no conformance case tests row " << r << ": " << id << ": " << rows[r].opcode << " "
                                                  << rows[r].modifiers << " " << rows[r].types << " "
                                                  << rows[r].operands);
  }
  for (const auto& [id, reason] : elsewhere)
    if (!excused.contains(id)) FAIL_CHECK(id << " is tested: take it off the list");
  std::printf("%zu cases, %zu spellings, %zu of %zu rows\n", cases, seen.size(), covered.size(), rows.size());
}
