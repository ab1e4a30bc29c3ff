// mbarriers, bulk copies, clusters: when they take effect, what is reported when they never do.
#include "tests/runtime/simulator/simulate.h"

#include <catch2/catch.hpp>

using namespace tilejit::runtime;
using namespace tilejit::runtime::simulator::test;

namespace {

const std::string shared = ".shared .align 128 .b8 buffer[8192]; .shared .align 8 .b64 bar[4];";

std::string words_error(const std::string& body, uint32_t threads = 32) {
  Simulator sim;
  auto out = sim.upload(std::vector<uint32_t>(threads));
  return sim.error_of(kernel_text({"u64"}, thread_index + body, "sm_90a", shared), 1, threads, {out->address()});
}
std::vector<uint32_t> words(const std::string& body, uint32_t threads = 32) {
  return Simulator().words(body, 1, threads, 0, shared);
}
const std::string init = "setp.eq.u32 %p1, %r0, 0; @%p1 mbarrier.init.shared.b64 [bar], ";

/// A kernel of blocks in a cluster; one word a thread in %r9.
std::vector<uint32_t> cluster_words(const std::string& body, std::array<uint32_t, 3> grid,
                                    std::array<uint32_t, 3> cluster, uint32_t threads = 32) {
  auto device = open_simulator("sm_90a");
  uint32_t count = grid[0] * grid[1] * grid[2] * threads;
  auto out = device->allocate(count * 4);
  PtxLaunch launch{.entry = "k", .grid = grid, .block = {threads, 1, 1}, .cluster = cluster};
  uint64_t address = out->address();
  auto bytes = std::as_bytes(std::span(&address, 1));
  launch.parameters = {{bytes.begin(), bytes.end()}};
  std::string linear =
      "mov.u32 %r0, %ctaid.z; mov.u32 %r1, %nctaid.y; mov.u32 %r2, %ctaid.y; mad.lo.u32 %r0, %r0, %r1, "
      "%r2; mov.u32 %r1, %nctaid.x; mov.u32 %r2, %ctaid.x; mad.lo.u32 %r0, %r0, %r1, %r2; mov.u32 "
      "%r1, %ntid.x; mov.u32 %r2, %tid.x; mad.lo.u32 %r0, %r0, %r1, %r2;\n";
  device->launch_ptx(kernel_text({"u64"}, linear + body + element("%rd60", 0, "%r0", 4) + "st.global.b32 [%rd60], %r9;",
                                 "sm_90a", shared),
                     launch);
  std::vector<uint32_t> values(count);
  device->download(*out, 0, std::as_writable_bytes(std::span(values)));
  return values;
}

} // namespace

TEST_CASE("a phase ends when all arrivals and all bytes have come") {
  // After init with 2: one arrival, then 16 bytes expected with the second, then complete_tx.
  auto got = words(init + R"(2; bar.sync 0; mov.u32 %r9, 0;
    setp.ne.u32 %p2, %r0, 0; @%p2 bra DONE;
    mbarrier.arrive.shared.b64 %rd1, [bar];
    mbarrier.test_wait.shared.b64 %p3, [bar], %rd1; selp.u32 %r3, 1, 0, %p3; or.b32 %r9, %r9, %r3;
    mbarrier.pending_count.b64 %r4, %rd1; shl.b32 %r4, %r4, 8; or.b32 %r9, %r9, %r4;
    mbarrier.arrive.expect_tx.shared.b64 %rd2, [bar], 16;
    mbarrier.test_wait.shared.b64 %p3, [bar], %rd1; selp.u32 %r3, 2, 0, %p3; or.b32 %r9, %r9, %r3;
    mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [bar], 16;
    mbarrier.test_wait.shared.b64 %p3, [bar], %rd1; selp.u32 %r3, 4, 0, %p3; or.b32 %r9, %r9, %r3;
    mbarrier.test_wait.parity.shared.b64 %p3, [bar], 0; selp.u32 %r3, 8, 0, %p3; or.b32 %r9, %r9, %r3;
    mbarrier.test_wait.parity.shared.b64 %p3, [bar], 1; selp.u32 %r3, 16, 0, %p3; or.b32 %r9, %r9, %r3;
    DONE:)");
  REQUIRE(got[0] == (0x200u | 4 | 8)); // pending before the first arrival: 2
}

TEST_CASE("arrivals by count, dropped arrivals, invalidation") {
  auto got = words(init + R"(4; bar.sync 0; mov.u32 %r9, 0;
    setp.ne.u32 %p2, %r0, 0; @%p2 bra DONE;
    mbarrier.arrive.noComplete.shared.b64 %rd1, [bar], 2;
    mbarrier.arrive_drop.shared.b64 %rd2, [bar], 2;
    mbarrier.test_wait.shared.b64 %p3, [bar], %rd1; selp.u32 %r9, 1, 0, %p3;
    mbarrier.arrive.shared.b64 %rd1, [bar], 2;
    mbarrier.test_wait.shared.b64 %p3, [bar], %rd1; selp.u32 %r3, 2, 0, %p3; or.b32 %r9, %r9, %r3;
    mbarrier.inval.shared.b64 [bar]; mbarrier.init.shared.b64 [bar], 1;
    DONE:)");
  REQUIRE(got[0] == 3);
}

TEST_CASE("misuse of an mbarrier is named") {
  using Catch::Matchers::Contains;
  REQUIRE_THAT(words_error("mbarrier.arrive.shared.b64 _, [bar];"), Contains("mbarrier.init must come first"));
  REQUIRE_THAT(words_error("mbarrier.init.shared.b64 [bar], 1;"), Contains("initialised again"));
  REQUIRE_THAT(words_error(init + "1; bar.sync 0; @%p1 mbarrier.arrive.shared.b64 %rd1, [bar], 2;"),
               Contains("2 arrivals on an mbarrier that waits for 1 more"));
  REQUIRE_THAT(words_error(init + "1; bar.sync 0; @%p1 mbarrier.arrive.noComplete.shared.b64 %rd1, [bar], 1;"),
               Contains("this arrival completes the phase"));
  REQUIRE_THAT(words_error("setp.eq.u32 %p1, %r0, 0; @%p1 mbarrier.init.shared.b64 [bar+4], 1;"),
               Contains("multiple of 8"));
}

TEST_CASE("a phase that cannot complete is a deadlock with its counts") {
  using Catch::Matchers::Contains;
  std::string text = words_error(init + R"(3; bar.sync 0; @%p1 mbarrier.arrive.expect_tx.shared.b64 %rd1, [bar], 640;
    WAIT: mbarrier.try_wait.parity.shared.b64 %p2, [bar], 0; @!%p2 bra WAIT;)");
  REQUIRE_THAT(text, Contains("deadlock"));
  REQUIRE_THAT(text, Contains("phase 0 with 2 of 3 arrivals pending and a transaction count of 640 bytes"));
  text = words_error(init + "1; bar.sync 0; WAIT: mbarrier.test_wait.parity.shared.b64 %p2, [bar], 0; @!%p2 bra WAIT;");
  REQUIRE_THAT(text, Contains("poll for what never comes"));
  REQUIRE_THAT(words_error("WAIT: ld.volatile.shared.u32 %r3, [buffer]; setp.ne.u32 %p1, %r3, 5; @%p1 bra WAIT;"),
               Contains("poll for what never comes"));
}

TEST_CASE("a bulk copy is there after the wait for its mbarrier, and not before") {
  Simulator sim;
  std::vector<uint32_t> source(64);
  for (uint32_t i = 0; i < 64; ++i) source[i] = 1000 + i;
  auto run = [&](const std::string& wait) {
    auto in = sim.upload(source), out = sim.upload(std::vector<uint32_t>(64));
    sim.run(kernel_text({"u64", "u64"},
                        thread_index + R"(
      mov.u32 %r3, buffer; mad.lo.u32 %r3, %r0, 4, %r3; st.shared.u32 [%r3], 7;
      fence.proxy.async.shared::cta;
      ld.param.u64 %rd1, [p1];)" +
                            init + R"(1; bar.sync 0;
      @%p1 mbarrier.arrive.expect_tx.shared.b64 _, [bar], 256;
      @%p1 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [buffer], [%rd1], 256, [bar];
      )" + wait + "ld.shared.u32 %r9, [%r3];" +
                            element("%rd60", 0, "%r0", 4) + "st.global.b32 [%rd60], %r9;",
                        "sm_90a", shared),
            1, 64, {out->address(), in->address()});
    return sim.download<uint32_t>(*out);
  };
  REQUIRE(run("") == std::vector<uint32_t>(64, 7));
  REQUIRE(run("bar.sync 0;") == std::vector<uint32_t>(64, 7));
  REQUIRE(run("W: mbarrier.try_wait.parity.shared.b64 %p2, [bar], 0; @!%p2 bra W;") == source);
  REQUIRE(run("W: mbarrier.test_wait.parity.shared.b64 %p2, [bar], 0; @!%p2 bra W;") == source);
}

TEST_CASE("bulk stores: the source is read by wait_group.read, the destination written by wait_group") {
  Simulator sim;
  auto run = [&](const std::string& wait, const std::string& copy) {
    auto out = sim.upload(std::vector<uint32_t>(64, 5)), seen = sim.upload(std::vector<uint32_t>(32));
    sim.run(kernel_text({"u64", "u64"},
                        thread_index + R"(
      mov.u32 %r3, buffer; mad.lo.u32 %r3, %r0, 4, %r3; mov.u32 %r4, 7; st.shared.u32 [%r3], %r4;
      fence.proxy.async.shared::cta; bar.sync 0; ld.param.u64 %rd1, [p0]; setp.eq.u32 %p1, %r0, 0;
      @%p1 )" + copy + R"(
      @%p1 cp.async.bulk.commit_group;
      )" + wait + R"( bar.sync 0; mov.u32 %r4, 9; st.shared.u32 [%r3], %r4;
      mad.wide.u32 %rd2, %r0, 4, %rd1; ld.global.u32 %r9, [%rd2];)" +
                            element("%rd60", 1, "%r0", 4) + "st.global.b32 [%rd60], %r9;",
                        "sm_90a", shared),
            1, 32, {out->address(), seen->address()});
    return std::pair(sim.download<uint32_t>(*out)[3], sim.download<uint32_t>(*seen)[3]);
  };
  const std::string copy = "cp.async.bulk.global.shared::cta.bulk_group [%rd1], [buffer], 128;";
  REQUIRE(run("@%p1 cp.async.bulk.wait_group 0;", copy) == std::pair(7u, 7u));
  REQUIRE(run("@%p1 cp.async.bulk.wait_group.read 0;", copy) == std::pair(7u, 5u));
  REQUIRE(run("@%p1 cp.async.bulk.wait_group 1;", copy) == std::pair(9u, 5u));
  REQUIRE(run("@%p1 cp.async.bulk.wait_group 0;",
              "cp.reduce.async.bulk.global.shared::cta.bulk_group.add.u32 [%rd1], [buffer], 128;") ==
          std::pair(12u, 12u));
  REQUIRE(run("@%p1 cp.async.bulk.wait_group 0;",
              "cp.reduce.async.bulk.global.shared::cta.bulk_group.min.s32 [%rd1], [buffer], 128;") ==
          std::pair(5u, 5u));
}

TEST_CASE("cp.async arrives on an mbarrier when its copies are done") {
  Simulator sim;
  std::vector<uint32_t> source(128);
  for (uint32_t i = 0; i < 128; ++i) source[i] = 500 + i;
  for (std::string form : {"", ".noinc"}) {
    auto in = sim.upload(source), out = sim.upload(std::vector<uint32_t>(128));
    std::string count = form.empty() ? "32" : "64"; // with .noinc the arrival of the copies was counted in
    sim.run(kernel_text({"u64", "u64"},
                        thread_index + init + count + R"(; bar.sync 0;
      mov.u32 %r3, buffer; mad.lo.u32 %r3, %r0, 16, %r3;)" +
                            element("%rd1", 1, "%r0", 16) + R"(
      cp.async.cg.shared.global [%r3], [%rd1], 16;
      cp.async.mbarrier.arrive)" +
                            form + R"(.shared.b64 [bar];
      mbarrier.arrive.shared.b64 %rd2, [bar];
      W: mbarrier.try_wait.shared.b64 %p2, [bar], %rd2; @!%p2 bra W;
      xor.b32 %r4, %r0, 31; mov.u32 %r5, buffer; mad.lo.u32 %r5, %r4, 16, %r5;
      ld.shared.v4.u32 {%r10, %r11, %r12, %r13}, [%r5];)" +
                            element("%rd60", 0, "%r4", 16) + "st.global.v4.b32 [%rd60], {%r10, %r11, %r12, %r13};",
                        "sm_90a", shared),
            1, 32, {out->address(), in->address()});
    REQUIRE(sim.download<uint32_t>(*out) == source);
  }
}

TEST_CASE("a cluster: its registers, its barrier, the shared memory of its blocks") {
  // Each block tells its neighbour its rank; grid (4, 2), clusters of (2, 1).
  auto got = cluster_words(R"(mov.u32 %r3, %cluster_ctarank; mov.u32 %r4, %cluster_nctarank;
    setp.eq.u32 %p1, %r2, 0; xor.b32 %r5, %r3, 1; mapa.shared::cluster.u32 %r6, buffer, %r5;
    mov.u32 %r7, %ctaid.x; mov.u32 %r8, %ctaid.y; mad.lo.u32 %r7, %r8, 16, %r7;
    @%p1 st.shared::cluster.u32 [%r6], %r7;
    barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;
    ld.shared.u32 %r9, [buffer]; mad.lo.u32 %r9, %r4, 256, %r9;
    getctarank.shared::cluster.u32 %r10, %r6; mad.lo.u32 %r9, %r10, 4096, %r9;
    mov.u32 %r10, %clusterid.x; mad.lo.u32 %r9, %r10, 65536, %r9;)",
                           {4, 2, 1}, {2, 1, 1});
  for (uint32_t y = 0; y < 2; ++y)
    for (uint32_t x = 0; x < 4; ++x)
      for (uint32_t t = 0; t < 32; ++t)
        REQUIRE(got[(y * 4 + x) * 32 + t] == ((x ^ 1) + 16 * y) + 512 + 4096 * ((x & 1) ^ 1) + 65536 * (x / 2));
}

TEST_CASE("remote arrivals, stores and atomics; multicast") {
  // Block 0 waits for one arrival and 8 bytes from block 1.
  auto got = cluster_words(R"(setp.eq.u32 %p1, %r2, 0; mov.u32 %r3, %cluster_ctarank; setp.eq.and.u32 %p2, %r3, 1, %p1;
    @%p1 mbarrier.init.shared.b64 [bar], 1; @%p1 st.shared.v2.u32 [buffer], {0, 0};
    @%p1 st.shared.u32 [buffer+64], 1;
    barrier.cluster.arrive.release; barrier.cluster.wait.acquire;
    mapa.shared::cluster.u32 %r4, buffer, 0; mapa.shared::cluster.u32 %r5, bar, 0;
    mov.u32 %r10, 11; mov.u32 %r11, 22;
    @%p2 mbarrier.arrive.expect_tx.release.cluster.shared::cluster.b64 _, [%r5], 8;
    @%p2 st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v2.u32 [%r4], {%r10, %r11}, [%r5];
    @%p2 atom.shared::cluster.add.u32 %r12, [%r4+64], 5;
    mov.u32 %r9, 0; setp.ne.u32 %p3, %r3, 0; @%p3 bra OVER;
    W: mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 %p4, [bar], 0; @!%p4 bra W;
    ld.shared.v2.u32 {%r6, %r7}, [buffer]; mad.lo.u32 %r9, %r6, 100, %r7;
    OVER: barrier.cluster.arrive; barrier.cluster.wait;
    @%p3 bra END; ld.shared.u32 %r8, [buffer+64]; mad.lo.u32 %r9, %r8, 10000, %r9; END:)",
                           {2, 1, 1}, {2, 1, 1});
  REQUIRE(got[0] == 61122);
  REQUIRE(got[31] == 61122);
}

TEST_CASE("a warp of a cluster that waits for a block that has ended the other way") {
  using Catch::Matchers::Contains;
  REQUIRE_THROWS_WITH(cluster_words("mov.u32 %r3, %cluster_ctarank; setp.eq.u32 %p1, %r3, 0; @%p1 "
                                    "barrier.cluster.wait; mov.u32 %r9, 0;",
                                    {2, 1, 1}, {2, 1, 1}),
                      Contains("barrier.cluster.wait without barrier.cluster.arrive"));
  REQUIRE_THROWS_WITH(cluster_words("mov.u32 %r9, 0;", {3, 1, 1}, {2, 1, 1}), Contains("not a multiple"));
}

TEST_CASE("an order that matters is found by seeds, one that does not is not") {
  auto device = open_simulator("sm_90a");
  auto out = device->allocate(4096);
  device->fill_zero(*out);
  auto run = [&](const std::string& body) {
    uint64_t address = out->address();
    auto bytes = std::as_bytes(std::span(&address, 1));
    PtxLaunch launch{.entry = "k", .block = {128, 1, 1}, .parameters = {{bytes.begin(), bytes.end()}}};
    std::vector<std::shared_ptr<Buffer>> buffers{out};
    return compare_seeds(
        *device, buffers,
        [&] { device->launch_ptx(kernel_text({"u64"}, thread_index + body, "sm_90a", shared), launch); }, 20);
  };
  std::string store = "ld.param.u64 %rd1, [p0]; ";
  REQUIRE(run(store + "st.global.u32 [%rd1], %r0;").has_value());
  REQUIRE(!run(store + "red.global.add.u32 [%rd1], %r0;").has_value());
}
