// The PTX on both targets, as ptxas sees it: accepted, and without spills.
#include "support.h"

#include "runtime/ptxas.h"

#include <catch2/catch.hpp>
#include <iostream>

using namespace tilejit;
using namespace tilejit::attention;

TEST_CASE("with ptxas: accepted on every target, without spills") {
  auto ptxas = runtime::find_ptxas();
  if (!ptxas) {
    std::cout << "skipped: there is no ptxas\n";
    return;
  }
  auto check = [&](int64_t d, int64_t dv, DType type, bool causal, const std::string& target) {
    INFO(target << " d " << d << "/" << dv << " " << name_of(type) << (causal ? " causal" : ""));
    Program program = attention_info().program(
        {{"q", {1, 4096, 32, d}}, {"k", {1, 4096, 8, d}}, {"v", {1, 4096, 8, dv}}}, type, {{"causal", causal}});
    CompileOptions options;
    options.target = target;
    CompiledKernel kernel = compile(program, options);
    runtime::PtxasResult result = runtime::run_ptxas(*ptxas, kernel.ptx, target);
    INFO(result.messages);
    REQUIRE(result.accepted);
    REQUIRE(result.entries.size() == 1);
    CHECK(result.entries[0].spill_store_bytes == 0);
    CHECK(result.entries[0].spill_load_bytes == 0);
    CHECK(result.entries[0].stack_bytes == 0);
  };
  for (const char* target : {"sm_80", "sm_90a"}) {
    for (bool causal : {false, true}) check(128, 128, DType::bf16, causal, target); // the demo's
    check(64, 64, DType::f16, true, target);
    check(80, 80, DType::bf16, false, target);
    check(256, 256, DType::bf16, true, target);
    check(192, 128, DType::bf16, true, target);
    check(128, 128, DType::f32, true, target);
  }
}
