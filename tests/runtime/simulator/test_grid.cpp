// Blocks that wait for each other: barriers of the grid, flags, and what a GPU has room for.
#include "tests/runtime/simulator/simulate.h"

#include <catch2/catch.hpp>

using namespace tilejit::runtime;
using namespace tilejit::runtime::simulator::test;

namespace {

/// Adds one to the counter p`p` and waits until it is at least `rounds` times the number of blocks.
std::string grid_barrier(int p, const std::string& rounds, const std::string& label) {
  return "bar.sync 0; setp.ne.u32 %p20, %r2, 0; @%p20 bra PASSED" + label + ";\n" + "ld.param.u64 %rd20, [p" +
         std::to_string(p) + "]; membar.gl; mov.u32 %r20, %nctaid.x; mul.lo.u32 %r20, %r20, " + rounds +
         "; red.global.add.u32 [%rd20], 1;\nWAIT" + label +
         ": ld.acquire.gpu.global.u32 %r21, [%rd20]; setp.lt.u32 %p21, %r21, %r20; @%p21 bra WAIT" + label +
         ";\nPASSED" + label + ": bar.sync 0;\n";
}

/// Each block writes its number to p0, and after a barrier of the grid (counter p1) reads the mirrored block's into p2.
std::string mirror() {
  return kernel_text({"u64", "u64", "u64"}, thread_index +
                                                "mov.u32 %r3, %ctaid.x; mov.u32 %r4, %nctaid.x; sub.u32 %r4, %r4, %r3; "
                                                "sub.u32 %r4, %r4, 1; mad.lo.u32 %r5, %r4, %r1, %r2;\n" +
                                                element("%rd1", 0, "%r0", 4) + "st.global.u32 [%rd1], %r3;\n" +
                                                grid_barrier(1, "1", "A") + element("%rd2", 0, "%r5", 4) +
                                                "ld.global.u32 %r6, [%rd2];\n" + element("%rd3", 2, "%r0", 4) +
                                                "st.global.u32 [%rd3], %r6;");
}

struct Blocks : Simulator {
  SimulatorDevice& instrument() { return dynamic_cast<SimulatorDevice&>(*device); }
  std::string mirror_error(uint32_t blocks, uint32_t threads, uint32_t shared = 0) {
    auto written = device->allocate(4 * blocks * threads), counter = upload(std::vector<uint32_t>(1)),
         read = device->allocate(4 * blocks * threads);
    std::string error =
        error_of(mirror(), blocks, threads, {written->address(), counter->address(), read->address()}, shared);
    std::vector<uint32_t> wanted;
    for (uint32_t b = 0; b < blocks; ++b) wanted.insert(wanted.end(), threads, blocks - 1 - b);
    if (error.empty()) CHECK(download<uint32_t>(*read) == wanted);
    return error;
  }
};

} // namespace

TEST_CASE("a barrier of the whole grid") {
  Blocks sim;
  for (uint32_t blocks : {1, 2, 37, 500}) CHECK(sim.mirror_error(blocks, 64) == "");
}

TEST_CASE("a barrier of the whole grid in random orders") {
  Blocks sim;
  for (uint64_t seed : {1, 2, 3}) {
    sim.instrument().set_seed(seed);
    CHECK(sim.mirror_error(20, 64) == "");
  }
}

TEST_CASE("a barrier over more blocks than a GPU holds at once is a deadlock") {
  Blocks sim;
  const uint32_t shared = 200 << 10; // one block a multiprocessor, and an H100 has 132
  CHECK(sim.mirror_error(132, 32, shared) == "");
  std::string error = sim.mirror_error(133, 32, shared);
  CHECK(error.find("deadlock") != error.npos);
  CHECK(error.find("1 of 133 blocks have not begun: a GPU holds 132 of them at once") != error.npos);
  REQUIRE(sim.instrument().findings().size() == 1);
  CHECK(sim.instrument().findings()[0].kind == FindingKind::deadlock);
}

TEST_CASE("what a block reads of one that comes later in the grid has been written") {
  Blocks sim;
  sim.instrument().set_instruments({.sanitize = true});
  CHECK(sim.mirror_error(7, 64) == "");
  for (const Finding& f : sim.instrument().findings()) FAIL_CHECK(f.message);
}

TEST_CASE("a chain of flags from the last block to the first") {
  Blocks sim;
  const uint32_t blocks = 100;
  auto flags = sim.upload(std::vector<uint32_t>(blocks + 1));
  sim.run(kernel_text({"u64"}, "mov.u32 %r0, %ctaid.x; mov.u32 %r1, %nctaid.x; add.u32 %r2, %r0, 1; mov.u32 %r3, 0;\n" +
                                   element("%rd1", 0, "%r0", 4) + element("%rd2", 0, "%r2", 4) +
                                   "setp.eq.u32 %p1, %r2, %r1; @%p1 bra LAST;\n"
                                   "WAIT: ld.volatile.global.u32 %r3, [%rd2]; setp.eq.u32 %p2, %r3, 0; @%p2 bra WAIT;\n"
                                   "LAST: add.u32 %r3, %r3, 1; membar.gl; st.volatile.global.u32 [%rd1], %r3;"),
          blocks, 1, {flags->address()});
  auto got = sim.download<uint32_t>(*flags);
  for (uint32_t b = 0; b < blocks; ++b) CHECK(got[b] == blocks - b);
}

TEST_CASE("a lock that blocks take in turns") {
  Blocks sim;
  const uint32_t blocks = 64;
  auto lock = sim.upload(std::vector<uint32_t>(2));
  sim.run(kernel_text({"u64"}, "ld.param.u64 %rd1, [p0];\n"
                               "TRY: atom.acquire.gpu.global.cas.b32 %r1, [%rd1], 0, 1; setp.ne.u32 %p1, %r1, 0; "
                               "@%p1 bra TRY;\n"
                               "ld.global.u32 %r2, [%rd1+4]; add.u32 %r2, %r2, 1; st.global.u32 [%rd1+4], %r2;\n"
                               "membar.gl; atom.release.gpu.global.exch.b32 %r3, [%rd1], 0;"),
          blocks, 1, {lock->address()});
  CHECK(sim.download<uint32_t>(*lock) == std::vector<uint32_t>{0, blocks});
}

TEST_CASE("the words that cooperative groups find through %envreg, and the number of a multiprocessor") {
  Blocks sim;
  const uint32_t blocks = 140;
  auto out = sim.upload(std::vector<uint32_t>(4 * blocks));
  sim.run(kernel_text({"u64"}, "mov.b32 %r1, %envreg1; mov.b32 %r2, %envreg2; mov.b64 %rd1, {%r2, %r1};\n"
                               "ld.u32 %r3, [%rd1]; atom.add.u32 %r4, [%rd1+4], 1;\n"
                               "mov.u32 %r5, %smid; mov.u32 %r6, %nsmid; mov.u32 %r7, %ctaid.x;\n" +
                                   element("%rd2", 0, "%r7", 16) + "st.global.v4.u32 [%rd2], {%r3, %r4, %r5, %r6};"),
          blocks, 1, {out->address()});
  auto got = sim.download<uint32_t>(*out);
  std::vector<bool> seen(blocks);
  for (uint32_t b = 0; b < blocks; ++b) {
    CHECK(got[4 * b] == 8); // bytes of the workspace
    REQUIRE(got[4 * b + 1] < blocks);
    seen[got[4 * b + 1]] = true; // each block counted once, from 0 on
    CHECK(got[4 * b + 2] == b % 132);
    CHECK(got[4 * b + 3] == 132);
  }
  CHECK(seen == std::vector<bool>(blocks, true));
}
