// wgmma: shared memory and registers of products that may not be done.
#include "tests/runtime/simulator/sanitize/async_kernels.h"

#include <algorithm>

using namespace tilejit::runtime;
using namespace tilejit::runtime::simulator::test;

namespace {

const std::string barrier = "bar.sync 0;\n", fence = "wgmma.fence.sync.aligned;\n",
                  commit = "wgmma.commit_group.sync.aligned;\n";
std::string wait(int groups) { return "wgmma.wait_group.sync.aligned " + std::to_string(groups) + ";\n"; }
std::string registers(const std::string& name, int first, int count) {
  std::string text = "{";
  for (int i = 0; i < count; ++i) text += (i ? ", %" : "%") + name + std::to_string(first + i);
  return text + "}";
}
/// Descriptors without swizzle in %rd10 (A: the first 2 KiB of `tile`) and %rd11 (B: 512 bytes behind it).
const std::string descriptors = "mov.u32 %r20, tile; shr.u32 %r20, %r20, 4; cvt.u64.u32 %rd10, %r20;\n"
                                "or.b64 %rd10, %rd10, 68720001024; add.u64 %rd11, %rd10, 128; setp.ne.u32 %p8, 0, 1;\n";
/// D in %f`d` and the seven that follow; `a`: a descriptor or four registers.
std::string product(int d, const std::string& a = "%rd10", const std::string& keeps = "1") {
  bool in_registers = a[0] == '{';
  return "setp.ne.u32 %p8, " + keeps + ", 0; wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 " +
         registers("f", d, 8) + ", " + a + ", %rd11, %p8, 1, 1, " + (in_registers ? "0;\n" : "0, 0;\n");
}
const std::string loaded = initialise(0, 1) + load_bulk(0, 2560) + wait_for(0, "0") + descriptors;
const std::string zero = [] {
  std::string text;
  for (int i = 0; i < 16; ++i) text += "mov.f32 %f" + std::to_string(i) + ", 0f00000000;\n";
  return text + "mov.b32 %r30, 0; mov.b32 %r31, 0; mov.b32 %r32, 0; mov.b32 %r33, 0;\n";
}();
const std::string keep = "mad.wide.u32 %rd5, %r0, 4, %rd1; st.global.f32 [%rd5+8192], %f3;\n";
const std::string a_registers = registers("r", 30, 4);

bool has(const std::vector<FindingKind>& found, FindingKind kind) {
  return std::find(found.begin(), found.end(), kind) != found.end();
}

} // namespace

TEST_CASE("a product and its waits") {
  AsyncSimulator sim;
  CHECK(sim.of(loaded + zero + fence + product(0) + commit + wait(0) + keep) == nothing);
  CHECK(sim.of(loaded + zero + fence + product(0) + product(0) + product(8, a_registers) + commit + wait(0) + keep) ==
        nothing);
  CHECK(sim.of(loaded + zero + fence + product(0) + commit + product(8) + commit + wait(1) + keep + wait(0)) ==
        nothing);
  CHECK(sim.of(loaded + fence + product(0, "%rd10", "0") + commit + wait(0) + keep) == nothing);
}

TEST_CASE("operands that have not come yet") {
  AsyncSimulator sim;
  const std::string rest = descriptors + zero + fence + product(0) + commit + wait(0) + keep;
  CHECK(has(sim.of(initialise(0, 1) + load_bulk(0, 2560) + rest + wait_for(0, "0")), FindingKind::async_hazard));
  CHECK_THAT(sim.first().message, Catch::Contains("wgmma.mma_async") && Catch::Contains("cp.async.bulk.shared"));
  CHECK(sim.of(initialise(0, 1) + load_bulk(0, 2048) + wait_for(0, "0") + rest) == only(FindingKind::uninitialised));
  CHECK(sim.of(initialise(0, 1) + load_bulk(0, 512) + wait_for(0, "0") + rest) == only(FindingKind::uninitialised));
  // Only the first warp has waited.
  CHECK(has(sim.of(initialise(0, 1) + load_bulk(0, 2560) + "setp.ne.u32 %p3, %r1, 0; @%p3 bra OTHERS;\n" +
                   wait_for(0, "0") + "OTHERS:\n" + rest),
            FindingKind::async_hazard));
}

TEST_CASE("operands that threads have written") {
  AsyncSimulator sim;
  std::string fill;
  for (int i = 0; i < 5; ++i) fill += "st.shared.b32 [%r3+" + std::to_string(512 * i) + "], 0;\n";
  auto run = [&](const std::string& between) {
    return sim.of(fill + between + descriptors + zero + fence + product(0) + commit + wait(0) + keep);
  };
  CHECK(run(proxy_fence + barrier) == nothing);
  CHECK(run(barrier + proxy_fence) == nothing);
  CHECK(has(run(barrier), FindingKind::proxy_race));
  CHECK(!has(run(barrier), FindingKind::shared_race));
  CHECK(has(run(proxy_fence), FindingKind::shared_race));
}

TEST_CASE("operands that are overwritten while a product may still read them") {
  AsyncSimulator sim;
  auto run = [&](const std::string& before, const std::string& after) {
    return sim.of(loaded + zero + fence + product(0) + commit + before + "st.shared.b32 [%r3+2048], 0;\n" + after +
                  keep);
  };
  CHECK(run(wait(0) + barrier, "") == nothing);
  CHECK(run(wait(0), "") == nothing); // a wait is for the whole warpgroup
  CHECK(run("", wait(0)) == only(FindingKind::async_hazard));
  CHECK_THAT(sim.first().message, Catch::Contains("may still read") && Catch::Contains("wgmma.wait_group"));
  CHECK(run(wait(1), wait(0)) == only(FindingKind::async_hazard));
  // A copy into the stage.
  auto refill = [&](const std::string& before, const std::string& after) {
    return sim.of("@%p1 mbarrier.init.shared.b64 [bar+8], 1;\n" + loaded + zero + fence + product(0) + commit + before +
                  load_bulk(1, 2560) + after + wait_for(1, "0") + keep);
  };
  CHECK(refill(wait(0), "") == nothing);
  const std::vector<FindingKind> both_ways{FindingKind::async_hazard, FindingKind::async_hazard};
  CHECK(refill("", wait(0)) == both_ways); // the copy after the first warp's product, and the others' after the copy
}

TEST_CASE("registers that are touched before the wait") {
  AsyncSimulator sim;
  auto run = [&](const std::string& a, const std::string& before, const std::string& after) {
    return sim.of(loaded + zero + fence + product(0, a) + commit + before + after + keep);
  };
  const std::string reads = "add.f32 %f20, %f3, %f3;\n", writes = "mov.f32 %f3, 0f3f800000;\n",
                    a_written = "mov.b32 %r31, 7;\n";
  for (const std::string& touch : {reads, writes}) {
    CHECK(run("%rd10", wait(0) + touch, "") == nothing);
    CHECK(run("%rd10", touch, wait(0)) == only(FindingKind::async_hazard));
    CHECK_THAT(sim.first().message,
               Catch::Contains("touches registers of the product") && Catch::Contains("wgmma.wait_group"));
    CHECK(sim.first().other_ptx_line != 0);
    CHECK(run("%rd10", wait(1) + touch, wait(0)) == only(FindingKind::async_hazard));
  }
  CHECK(run(a_registers, wait(0) + a_written, "") == nothing);
  CHECK(run(a_registers, a_written, wait(0)) == only(FindingKind::async_hazard));
  CHECK(run("%rd10", a_written, wait(0)) == nothing); // they are not this product's
  // Not committed, so no wait covers it.
  CHECK(has(sim.of(loaded + zero + fence + product(0) + wait(0) + keep + commit + wait(0)), FindingKind::async_hazard));
}

TEST_CASE("two products in flight in a loop: only the older one may be touched") {
  AsyncSimulator sim;
  auto loop = [&](int stay) {
    return sim.of(loaded + zero + "mov.u32 %r10, 0;\n" + fence + product(0) + commit + "LOOP:\n" + fence + product(8) +
                  commit + wait(stay) + "add.f32 %f20, %f0, %f1;\n" + fence + product(0) + commit + wait(stay) +
                  "add.f32 %f20, %f8, %f9;\nadd.u32 %r10, %r10, 1; setp.lt.u32 %p4, %r10, 3; @%p4 bra LOOP;\n" +
                  wait(0) + keep);
  };
  CHECK(loop(1) == nothing);
  CHECK(has(loop(2), FindingKind::async_hazard));
  // Registers that only some path touches too early, and this is not gone.
  auto branch = [&](const std::string& taken) {
    return sim.of(loaded + zero + fence + product(0) + commit + "setp.eq.u32 %p3, %r0, " + taken +
                  "; @!%p3 bra OVER;\nadd.f32 %f20, %f0, %f1;\nOVER:\n" + wait(0) + keep);
  };
  CHECK(branch("1000") == nothing);
  CHECK(branch("5") == only(FindingKind::async_hazard));
}

TEST_CASE("wgmma.fence before the first product, and behind accesses to its registers") {
  AsyncSimulator sim;
  auto first = [&](const std::string& f) {
    return sim.of(loaded + f + product(0, "%rd10", "0") + commit + wait(0) + keep);
  };
  CHECK(first(fence) == nothing);
  CHECK(first("") == only(FindingKind::async_hazard));
  CHECK_THAT(sim.first().message, Catch::Contains("before any wgmma.fence"));
  auto again = [&](const std::string& between, const std::string& a = "%rd10") {
    return sim.of(loaded + zero + fence + product(0, a) + commit + wait(0) + between + product(0, a) + commit +
                  wait(0) + keep);
  };
  const std::string scale = "mul.f32 %f3, %f3, 0f40000000;\n";
  CHECK(again("") == nothing);
  CHECK(again(scale + fence) == nothing);
  CHECK(again(scale) == only(FindingKind::async_hazard));
  CHECK_THAT(sim.first().message, Catch::Contains("wgmma.fence is missing"));
  CHECK(again(fence + scale) == only(FindingKind::async_hazard));
  CHECK(again(scale + "mul.f32 %f2, %f2, 0f40000000;\n") == only(FindingKind::async_hazard)); // once for a product
  CHECK(again("mov.b32 %r31, 7;\n", a_registers) == only(FindingKind::async_hazard));
  CHECK(again("mov.b32 %r31, 7;\n" + fence, a_registers) == nothing);
  CHECK(again("mov.f32 %f9, %f9;\n") == nothing); // another's register
}

TEST_CASE("wgmma.fence between products that use the same registers otherwise") {
  AsyncSimulator sim;
  // D in %f0 to %f3, of another shape.
  const std::string smaller = "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 " + registers("f", 0, 4) +
                              ", %rd10, %rd11, %p8, 1, 1, 0, 0;\n",
                    done = commit + wait(0);
  auto run = [&](const std::string& first, const std::string& between, const std::string& second) {
    return sim.of(loaded + zero + fence + first + done + between + second + done + keep);
  };
  CHECK(run(product(0), "", product(0)) == nothing);
  CHECK(run(product(0), fence, smaller) == nothing);
  CHECK(run(product(0), "", smaller) == only(FindingKind::async_hazard));
  CHECK_THAT(sim.first().message, Catch::Contains("of another shape") && Catch::Contains("m64n16k16"));
  CHECK(run(smaller, "", product(0)) == only(FindingKind::async_hazard));
  CHECK(run(product(8), "", smaller) == nothing);                              // other registers
  CHECK(run(product(0, a_registers), "", product(8, a_registers)) == nothing); // both read them
  // Only on a way that is not taken.
  auto guarded = [&](const std::string& value) {
    return run(product(0), "setp.ne.u32 %p3, " + value + ", 0; @!%p3 bra LATER;\n" + fence + "LATER:\n", smaller);
  };
  CHECK(guarded("1") == nothing);
  CHECK(guarded("0") == only(FindingKind::async_hazard));
  // An accumulator becomes an operand.
  const std::string as_a = "wgmma.mma_async.sync.aligned.m64n16k8.f32.tf32.tf32 " + registers("f", 8, 8) + ", " +
                           registers("f", 0, 4) + ", %rd11, %p8, 1, 1;\n";
  CHECK(run(product(0), fence, as_a) == nothing);
  CHECK(run(product(0), "", as_a) == only(FindingKind::async_hazard));
}

TEST_CASE("a product that nobody waits for") {
  AsyncSimulator sim;
  CHECK(sim.of(loaded + zero + fence + product(0) + commit) == only(FindingKind::async_hazard));
}

TEST_CASE("a descriptor that points outside of shared memory") {
  AsyncSimulator sim;
  CHECK(sim.ended(loaded + zero + fence + "add.u64 %rd11, %rd10, 1020;\n" + product(0) + commit + wait(0)).back() ==
        FindingKind::out_of_bounds);
  CHECK_THAT(sim.instrument().findings().back().message, Catch::Contains("wgmma.mma_async"));
}

TEST_CASE("a product that nobody waits for, in random orders") {
  AsyncSimulator sim;
  const std::string work =
      "mov.u32 %r10, 0;\nWORK: add.u32 %r10, %r10, 1; setp.lt.u32 %p3, %r10, 200; @%p3 bra WORK;\n";
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    sim.instrument().set_seed(seed);
    CHECK(sim.of(loaded + zero + fence + product(0) + commit + work) == only(FindingKind::async_hazard));
    CHECK_THAT(sim.first().message, Catch::Contains("nothing waits for it"));
    CHECK(sim.of(loaded + zero + fence + product(0) + commit + work + wait(0)) == nothing);
  }
}
