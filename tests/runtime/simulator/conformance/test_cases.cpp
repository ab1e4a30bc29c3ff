// The cases of each group on the simulator, against their definitions. $TILEJIT_CONFORMANCE=brief: with few inputs.
#include "tests/runtime/simulator/conformance/case.h"

#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>

using namespace tilejit;
using namespace tilejit::conformance;

namespace {

void check_group(const char* name) {
  auto device = runtime::open_device("simulator:sm_100a");
  const char* extent = std::getenv("TILEJIT_CONFORMANCE");
  bool brief = extent && std::strcmp(extent, "brief") == 0;
  size_t cases = 0, compared = 0;
  for (const Group& group : groups()) {
    if (std::strcmp(group.name, name) != 0) continue;
    group.make([&](const Source& source) {
      ++cases;
      Case c = source.make(brief);
      try {
        Report report = c.check(run(*device, c));
        compared += report.compared;
        if (report.wrong)
          FAIL_CHECK(source.name << ": " << report.wrong << " of " << report.compared << " wrong" << report.first);
        if (!report.compared) FAIL_CHECK(source.name << " compares nothing");
      } catch (const runtime::Error& e) {
        FAIL_CHECK(source.name << " does not run: " << e.what());
      }
    });
  }
  std::printf("%zu cases, %zu results compared\n", cases, compared);
  CHECK(cases > 0);
}

} // namespace

TEST_CASE("integers") { check_group("integers"); }
TEST_CASE("floats") { check_group("floats"); }
TEST_CASE("halves") { check_group("halves"); }
TEST_CASE("approximations") { check_group("approximations"); }
TEST_CASE("comparisons") { check_group("comparisons"); }
TEST_CASE("conversions") { check_group("conversions"); }
TEST_CASE("moves") { check_group("moves"); }
TEST_CASE("warps") { check_group("warps"); }
TEST_CASE("matrices") { check_group("matrices"); }
TEST_CASE("warpgroups") { check_group("warpgroups"); }
TEST_CASE("memory") { check_group("memory"); }
TEST_CASE("atomics") { check_group("atomics"); }
TEST_CASE("barriers") { check_group("barriers"); }
TEST_CASE("copies") { check_group("copies"); }
TEST_CASE("tensor copies") { check_group("tensor copies"); }
TEST_CASE("control") { check_group("control"); }
