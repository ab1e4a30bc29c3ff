// The cases of each group on the simulator, against their definitions. $TILEJIT_CONFORMANCE=brief: with few inputs.
#include "runtime/simulator/device.h"
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

/// Sums of products as an H200 forms them.
TEST_CASE("exact products") {
  auto device = runtime::open_simulator("sm_90a");
  device->set_instruments({.exact_products = true});
  size_t cases = 0;
  each_source([&](const Source& source) {
    if (source.group != std::string("matrices") && source.group != std::string("warpgroups")) return;
    Case c = source.make(true);
    if (!c.check_exactly) return;
    ++cases;
    Report report = c.check_exactly(run(*device, c));
    if (report.wrong)
      FAIL_CHECK(source.name << ": " << report.wrong << " of " << report.compared << " wrong" << report.first);
    CHECK(report.compared > 0);
  });
  CHECK(cases > 60);
}

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
