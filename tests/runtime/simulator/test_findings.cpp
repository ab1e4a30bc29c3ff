// Findings: what an error of a launch carries, and how findings are written down.
#include "tests/runtime/simulator/simulate.h"

#include <catch2/catch.hpp>

using namespace tilejit::runtime;
using namespace tilejit::runtime::simulator::test;

namespace {

/// The only finding of a launch, which ends it where `ends`.
Finding found(const std::string& ptx, uint32_t blocks, uint32_t threads, std::vector<ParameterValue> parameters = {},
              uint32_t shared = 0) {
  Simulator sim;
  CHECK(sim.error_of(ptx, blocks, threads, std::move(parameters), shared) != "");
  auto& device = dynamic_cast<SimulatorDevice&>(*sim.device);
  REQUIRE(device.findings().size() == 1);
  return device.findings()[0];
}

} // namespace

TEST_CASE("accesses that cannot be done are findings with their place") {
  std::string located = ".file 1 \"kernel.cpp\"\n";
  Finding f = found(kernel_text({},
                                ".loc 1 12 3\nmov.u32 %r0, %tid.x; mov.u32 %r1, %ctaid.x; shl.b32 %r2, %r0, 2;\n"
                                "setp.eq.u32 %p1, %r1, 2;\n@%p1 ld.shared.b32 %r3, [%r2+252];",
                                "sm_90a", located),
                    4, 64, {}, 256);
  CHECK(f.kind == FindingKind::out_of_bounds);
  CHECK(f.ptx_line == 12);
  CHECK_THAT(f.source, Catch::StartsWith("kernel.cpp:12"));
  CHECK(f.other_ptx_line == 0);
  CHECK(f.block == std::array<uint32_t, 3>{2, 0, 0});
  CHECK(f.thread == std::array<uint32_t, 3>{1, 0, 0});

  CHECK(found(kernel_text({}, "mov.u32 %r0, %tid.x; ld.shared.b32 %r3, [%r0];"), 1, 32, {}, 256).kind ==
        FindingKind::misaligned);
  CHECK(found(kernel_text({}, "bar.sync 3, 96;"), 1, 64).kind == FindingKind::deadlock);
  CHECK(found(kernel_text({}, "bar.sync 3, 40;"), 1, 64).kind == FindingKind::barrier);
}

TEST_CASE("an aligned barrier in diverged code is a misused barrier, an unaligned one is none") {
  auto split = [](const std::string& barrier) {
    return kernel_text({}, "mov.u32 %r0, %tid.x; and.b32 %r0, %r0, 1; setp.eq.u32 %p1, %r0, 0; @%p1 bra A;\n" +
                               barrier + "; bra B;\nA: " + barrier + ";\nB:");
  };
  CHECK(found(split("bar.sync 0"), 1, 64).kind == FindingKind::barrier);
  CHECK(found(kernel_text({}, "mov.u32 %r0, %tid.x; setp.lt.u32 %p1, %r0, 40;\n@%p1 bar.sync 0;"), 1, 64).kind ==
        FindingKind::barrier);
  Simulator sim;
  CHECK(sim.error_of(split("barrier.sync 0"), 1, 64, {}) == "");
  // Threads that have ended take no part.
  CHECK(sim.error_of(kernel_text({}, "mov.u32 %r0, %tid.x; setp.lt.u32 %p1, %r0, 40;\n@%p1 exit;\nbar.sync 0;"), 1, 64,
                     {}) == "");
}

TEST_CASE("barriers with counts that do not fit") {
  // Two warps at one barrier, each with its own count.
  auto text = [](const std::string& first, const std::string& second) {
    return kernel_text({}, "mov.u32 %r0, %tid.x; setp.lt.u32 %p1, %r0, 32; @%p1 bra A;\nbar.sync 1, " + second +
                               "; bra B;\nA: bar.sync 1, " + first + ";\nB:");
  };
  CHECK(found(text("64", "96"), 1, 64).kind == FindingKind::barrier);
  Simulator sim;
  CHECK(sim.error_of(text("64", "64"), 1, 64, {}) == "");
  CHECK(found(kernel_text({}, "bar.sync 16;"), 1, 64).kind == FindingKind::barrier);
}

TEST_CASE("local memory has bounds, too") {
  auto text = [](int offset) {
    return kernel_text({}, ".local .align 8 .b8 own[64];\nmov.u32 %r0, %tid.x; mov.u32 %r1, own; st.local.b32 [%r1+" +
                               std::to_string(offset) + "], %r0;");
  };
  Simulator sim;
  CHECK(sim.error_of(text(60), 1, 32, {}) == "");
  CHECK(found(text(64), 1, 32).kind == FindingKind::out_of_bounds);
  CHECK(found(text(62), 1, 32).kind == FindingKind::misaligned);
}

TEST_CASE("findings as JSON") {
  CHECK(to_json({}) == "[]\n");
  Finding f{.kind = FindingKind::shared_race,
            .message = "a \"b\"\n",
            .ptx_line = 7,
            .other_ptx_line = 9,
            .source = "k.cpp:1:2",
            .block = {1, 2, 3},
            .thread = {4, 5, 6}};
  std::string text = to_json(std::span(&f, 1));
  for (const char* part :
       {"\"kind\": \"shared-race\"", "\"message\": \"a \\\"b\\\"\\n\"", "\"ptx_line\": 7", "\"other_ptx_line\": 9",
        "\"source\": \"k.cpp:1:2\"", "\"other_source\": null", "\"block\": [1, 2, 3]", "\"thread\": [4, 5, 6]"})
    CHECK_THAT(text, Catch::Contains(part));
}

TEST_CASE("any shape of a block, and parameters as bytes") {
  auto device = open_simulator();
  auto out = device->allocate(4 * 2 * 3 * 4);
  std::string ptx = kernel_text({"u64", "align 8 .b8"}, "ld.param.u64 %rd1, [p0]; ld.param.u32 %r5, [p1+4];\n"
                                                        "mov.u32 %r0, %tid.x; mov.u32 %r1, %tid.y; mov.u32 %r2, %tid.z;"
                                                        "mad.lo.u32 %r3, %r2, 2, %r1; mad.lo.u32 %r3, %r3, 4, %r0;\n"
                                                        "mad.wide.u32 %rd2, %r3, 4, %rd1; add.u32 %r3, %r3, %r5;"
                                                        "st.global.b32 [%rd2], %r3;");
  ptx.replace(ptx.find("p1)"), 3, "p1[8])");
  uint64_t address = out->address();
  uint32_t pair[2] = {7, 1000};
  auto bytes = [](const auto& x) {
    auto view = std::as_bytes(std::span(&x, 1));
    return std::vector<std::byte>(view.begin(), view.end());
  };
  device->launch_ptx(ptx, {.entry = "k", .block = {4, 2, 3}, .parameters = {bytes(address), bytes(pair)}});
  std::vector<uint32_t> values(24);
  device->download(*out, 0, std::as_writable_bytes(std::span(values)));
  for (uint32_t i = 0; i < 24; ++i) CHECK(values[i] == i + 1000);
  CHECK_THROWS_WITH(device->launch_ptx(ptx, {.entry = "k", .parameters = {bytes(address), bytes(address), {}}}),
                    Catch::Contains("2 parameters"));
  CHECK_THROWS_WITH(device->launch_ptx(ptx, {.entry = "k", .block = {65, 16, 1}}), Catch::Contains("1040 threads"));
}

TEST_CASE("a target's PTX runs on what has its features") {
  auto runs = [](const std::string& ptx, const std::string& on) {
    Simulator sim(on);
    return sim.error_of(kernel_text({}, "", ptx), 1, 32, {}) == "";
  };
  CHECK(runs("sm_80", "sm_90a"));
  CHECK(runs("sm_90", "sm_90a"));
  CHECK(runs("sm_90a", "sm_90a"));
  CHECK(!runs("sm_90a", "sm_90"));
  CHECK(!runs("sm_90a", "sm_100"));
  CHECK(!runs("sm_90", "sm_80"));
  CHECK(runs("sm_100f", "sm_100a")); // a family, and those of it that came later
  CHECK(runs("sm_100f", "sm_103"));
  CHECK(!runs("sm_103f", "sm_100f"));
  CHECK(!runs("sm_100f", "sm_120f"));
}

TEST_CASE("a variable that another module defines is missing where it is used") {
  Simulator sim;
  const std::string declared = ".extern .global .u32 elsewhere;\n.extern .const .u32 constant;\n";
  CHECK(sim.error_of(kernel_text({}, "mov.u32 %r0, 1;", "sm_90a", declared), 1, 32, {}) == "");
  for (const char* use :
       {"ld.global.u32 %r0, [elsewhere];", "mov.u64 %rd1, elsewhere;", "ld.const.u32 %r0, [constant];"})
    CHECK_THAT(sim.error_of(kernel_text({}, use, "sm_90a", declared), 1, 32, {}),
               Catch::Contains("declared .extern but not defined"));
  CHECK(sim.error_of(kernel_text({}, "ld.global.u32 %r0, [elsewhere];", "sm_90a",
                                 ".extern .global .u32 elsewhere;\n.visible .global .u32 elsewhere = 3;\n"),
                     1, 32, {}) == "");
}
