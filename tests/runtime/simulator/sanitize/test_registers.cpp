// Registers that are used before they have a value: only where it matters, lane by lane.
#include "tests/runtime/simulator/sanitize/planted.h"

using namespace tilejit::runtime;
using namespace tilejit::runtime::simulator::test;

namespace {

/// `%p1`: the thread is below 16.
std::vector<FindingKind> of(const std::string& body, uint32_t threads = 64) {
  Sanitized sim;
  auto array = sim.upload(std::vector<uint32_t>(1024, 3));
  return sim.kinds(
      block_text("setp.lt.u32 %p1, %r0, 16; ld.param.u64 %rd1, [p0]; mad.wide.u32 %rd2, %r0, 4, %rd1;\n" + body,
                 {"u64"}),
      1, threads, {array->address()});
}
const std::vector<FindingKind> found{FindingKind::uninitialised};

} // namespace

TEST_CASE("what is stored, addresses, and conditions of branches must have a value") {
  CHECK(of("st.global.b32 [%rd2], %r50;") == found);
  CHECK(of("mov.b32 %r50, 5; st.global.b32 [%rd2], %r50;") == nothing);
  CHECK(of("add.u32 %r51, %r50, 1; mul.lo.u32 %r51, %r51, 3; st.global.b32 [%rd2], %r51;") == found);
  CHECK(of("st.shared.b32 [%r3], %r50;") == found);
  CHECK(of("add.u32 %r51, %r50, 1;") == nothing); // nothing comes of it
  CHECK(of("and.b32 %r51, %r50, 12; cvt.u64.u32 %rd3, %r51; add.u64 %rd3, %rd3, %rd1; ld.global.b32 %r52, [%rd3];") ==
        found);
  CHECK(of("setp.eq.u32 %p5, %r50, 7; @%p5 bra OVER; mov.b32 %r51, 1;\nOVER:") == found);
  CHECK(of("@%p5 st.global.b32 [%rd2], %r0;") == found);
  CHECK(of("red.global.add.u32 [%rd2], %r50;") == found);
}

TEST_CASE("a guarded load, and what becomes of the lanes without a value") {
  const std::string load = "@%p1 ld.global.b32 %r50, [%rd2];\n";
  CHECK(of(load + "add.u32 %r51, %r50, 1; @%p1 st.global.b32 [%rd2], %r51;") == nothing);
  CHECK(of(load + "add.u32 %r51, %r50, 1; st.global.b32 [%rd2], %r51;") == found);
  CHECK(of(load + "selp.b32 %r51, %r50, 0, %p1; st.global.b32 [%rd2], %r51;") == nothing);
  CHECK(of(load + "selp.b32 %r51, 0, %r50, %p1; st.global.b32 [%rd2], %r51;") == found);
  CHECK(of(load + "@!%p1 mov.b32 %r50, 0; st.global.b32 [%rd2], %r50;") == nothing);
  CHECK(of("mov.b32 %r50, 0;\n" + load + "st.global.b32 [%rd2], %r50;") == nothing);
  // Only one way leads to a value.
  CHECK(of("@!%p1 bra OVER; mov.b32 %r50, 1;\nOVER: st.global.b32 [%rd2], %r50;") == found);
  CHECK(of("@!%p1 bra OVER; mov.b32 %r50, 1;\nOVER: @%p1 st.global.b32 [%rd2], %r50;") == nothing);
  CHECK(of("mov.u32 %r51, 0;\nLOOP: @%p1 st.global.b32 [%rd2], %r50; mov.b32 %r50, 1; add.u32 %r51, %r51, 1;\n"
           "setp.lt.u32 %p2, %r51, 3; @%p2 bra LOOP;") == found);
}

TEST_CASE("parts of a register, and operands of a product") {
  CHECK(of("mov.b16 %h1, 5; mov.b32 %r50, {%h1, %h2}; mov.b32 {%h3, %h4}, %r50; st.global.b16 [%rd2], %h3;") ==
        nothing);
  CHECK(of("mov.b32 %r50, {%h1, %h2}; st.global.b32 [%rd2], %r50;") == found);
  auto product = [](const std::string& before) {
    return of(before +
                  "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f0, %f1, %f2, %f3}, {%r60, %r60, %r60, %r60}, "
                  "{%r61, %r61}, {%f4, %f4, %f4, %f4};\nst.global.f32 [%rd2], %f0;",
              32);
  };
  CHECK(product("mov.b32 %r60, 0; mov.b32 %r61, 0; mov.f32 %f4, 0f00000000;\n") == nothing);
  CHECK(product("mov.b32 %r60, 0; mov.f32 %f4, 0f00000000;\n") == found);
  CHECK(product("mov.b32 %r60, 0; mov.b32 %r61, 0;\n") == found);
}

TEST_CASE("a finding names the register, the line and the thread") {
  Sanitized sim;
  auto array = sim.upload(std::vector<uint32_t>(64));
  sim.kinds(block_text(
                "setp.lt.u32 %p1, %r0, 16; ld.param.u64 %rd1, [p0]; @%p1 mov.b32 %r77, 1;\nst.global.b32 [%rd1], %r77;",
                {"u64"}),
            1, 32, {array->address()});
  for (const Finding& f : sim.instrument().findings()) {
    if (f.kind != FindingKind::uninitialised) continue;
    CHECK_THAT(f.message, Catch::Contains("%r77") && Catch::Contains("st.global.b32 [%rd1], %r77;"));
    CHECK(f.thread == std::array<uint32_t, 3>{16, 0, 0});
    return;
  }
  FAIL("nothing found");
}
