// No kernel of attention races, reads what nobody wrote, or touches what a copy may still touch: every width and type,
// masked and not, on both targets, with all of the simulator's sanitizers.
#include "runtime/simulator/device.h"
#include "support.h"

#include <catch2/catch.hpp>

using namespace tilejit;
using namespace tilejit::attention;

TEST_CASE("the sanitizers find nothing") {
  std::vector<Case> cases;
  for (int64_t d : {16, 48, 64, 80, 96, 112, 128, 160, 192, 256})
    for (bool causal : {false, true}) cases.push_back({.d = d, .dv = d, .queries = 130, .keys = 257, .causal = causal});
  cases.push_back({.d = 192, .dv = 128, .queries = 70, .keys = 129, .kv_heads = 2, .group = 3, .causal = true});
  cases.push_back({.d = 64, .dv = 64, .queries = 1, .keys = 1000, .storage = Storage::padded});
  cases.push_back(
      {.type = DType::f16, .d = 80, .dv = 48, .queries = 129, .keys = 65, .storage = Storage::heads_outside});
  for (dsl::Precision precision : {dsl::Precision::tf32, dsl::Precision::tf32x3})
    for (int64_t d : {48, 128})
      cases.push_back({.type = DType::f32, .precision = precision, .d = d, .dv = d, .queries = 65, .keys = 130});
  for (const char* target : {"sm_80", "sm_90a"}) {
    auto device = runtime::open_simulator(target);
    device->set_instruments({.sanitize = true});
    for (const Case& c : cases) {
      INFO(target << " " << c.text());
      Inputs inputs(*device, c, 1);
      AttentionOptions options{.causal = c.causal, .lse = true, .precision = c.precision};
      attention::attention(*device, inputs.tensors(), options);
      device->synchronize();
      for (const runtime::Finding& finding : device->findings()) UNSCOPED_INFO(finding.message);
      REQUIRE(device->findings().empty());
    }
  }
}
