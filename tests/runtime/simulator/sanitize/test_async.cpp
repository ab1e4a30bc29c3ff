// Asynchronous copies and mbarriers: each bug is found, and its clean twin is not reported.
#include "tests/runtime/simulator/sanitize/async_kernels.h"

#include <algorithm>
#include <cstdlib>

using namespace tilejit::runtime;
using namespace tilejit::runtime::simulator::test;

namespace {
const std::string barrier = "bar.sync 0;\n", look = "ld.shared.b32 %r4, [%r3];\n";

bool has(const std::vector<FindingKind>& found, FindingKind kind) {
  return std::find(found.begin(), found.end(), kind) != found.end();
}
} // namespace

TEST_CASE("what a bulk load writes is there after the wait for its mbarrier") {
  AsyncSimulator sim;
  CHECK(sim.of(initialise(0, 1) + load_bulk(0, 512) + wait_for(0, "0") + look) == nothing);
  // A barrier is no wait.
  CHECK(sim.of(initialise(0, 1) + load_bulk(0, 512) + barrier + look + wait_for(0, "0")) ==
        only(FindingKind::async_hazard));
  CHECK_THAT(sim.first().message, Catch::Contains("ld.shared.b32 %r4") && Catch::Contains("may still write") &&
                                      Catch::Contains("cp.async.bulk.shared::cluster"));
  CHECK(sim.first().other_ptx_line != 0);
  // One warp waits and does not tell the others.
  auto told = [&](const std::string& how) {
    return sim.of(initialise(0, 1) + load_bulk(0, 512) + "setp.ne.u32 %p3, %r1, 0; @%p3 bra OTHERS;\n" +
                  wait_for(0, "0") + "OTHERS:\n" + how + look);
  };
  CHECK(told(barrier) == nothing);
  CHECK(has(told(""), FindingKind::async_hazard));
  // Beyond what is loaded nothing has ever been written.
  CHECK(sim.of(initialise(0, 1) + load_bulk(0, 256) + wait_for(0, "0") + look) == only(FindingKind::uninitialised));
  // It does not wait for the phase in which the bytes come.
  CHECK(has(sim.of(initialise(0, 1) + load_bulk(0, 512) + wait_for(0, "1") + look + wait_for(0, "0")),
            FindingKind::async_hazard));
}

TEST_CASE("bytes that nobody expects do not hold up a phase") {
  AsyncSimulator sim;
  auto run = [&](const std::string& expected) {
    return sim.of(
        initialise(0, 1) + "@%p1 mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [bar], " + expected + ";\n" +
        "@%p1 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [tile], [%rd1], 256, [bar];\n"
        "@%p1 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [tile+256], [%rd1], 256, [bar];\n"
        "@%p1 mbarrier.arrive.shared.b64 _, [bar];\n" +
        wait_for(0, "0") + look);
  };
  CHECK(run("512") == nothing);
  CHECK(has(run("256"), FindingKind::async_hazard));
}

TEST_CASE("a ring of one stage: full, read, empty, full again") {
  AsyncSimulator sim;
  // Thread 0 loads three times, warps 1 to 4 read; each releases by one of its lanes.
  auto ring = [&](const std::string& wait_empty, const std::string& before_release, const std::string& wait_full,
                  bool early = false) {
    const std::string look =
        "add.u32 %r5, %r3, 0; ld.shared.b32 %r4, [tile+64]; ld.shared.b32 %r6, [%r5];\n" + before_release;
    const std::string release = "@%p2 mbarrier.arrive.shared.b64 _, [bar+8];\n";
    return sim.of("@%p1 mbarrier.init.shared.b64 [bar+8], 4;\n" + initialise(0, 1) +
                      "mov.u32 %r10, 0; setp.ge.u32 %p3, %r0, 32; @%p3 bra READ; @!%p1 bra END;\n"
                      "LOAD: and.b32 %r11, %r10, 1; xor.b32 %r12, %r11, 1;\n" +
                      wait_empty + load_bulk(0, 1024) +
                      "add.u32 %r10, %r10, 1; setp.lt.u32 %p4, %r10, 3; @%p4 bra LOAD; bra END;\n"
                      "READ: and.b32 %r11, %r10, 1;\n" +
                      wait_full + (early ? release + look : look + release) +
                      "add.u32 %r10, %r10, 1; setp.lt.u32 %p4, %r10, 3; @%p4 bra READ;\nEND:",
                  160);
  };
  const std::string full = wait_for(0, "%r11"), empty = wait_for(1, "%r12"), together = "bar.warp.sync -1;\n";
  CHECK(ring(empty, together, full) == nothing);
  CHECK(ring(empty, "shfl.sync.bfly.b32 %r7, %r4, 1, 31, -1;\n", full) == nothing);
  // One lane releases while others of its warp may still read.
  CHECK(ring(empty, "", full) == std::vector{FindingKind::shared_race, FindingKind::shared_race}); // two reads
  // The release comes before the reads.
  CHECK(has(ring(empty, together, full, true), FindingKind::shared_race));
}

TEST_CASE("a stage that is filled again though it may still be read or written") {
  AsyncSimulator sim;
  const std::string load = load_bulk(0, 512), again = load_bulk(1, 512);
  const std::string begin = "@%p1 mbarrier.init.shared.b64 [bar+8], 1;\n" + initialise(0, 1);
  CHECK(sim.of(begin + load + wait_for(0, "0") + again + wait_for(1, "0") + look) == nothing);
  CHECK(sim.of(begin + load + again + wait_for(0, "0") + wait_for(1, "0") + look) == only(FindingKind::async_hazard));
  CHECK(sim.of(begin + load + wait_for(0, "0") + look + barrier + again + wait_for(1, "0") + look) == nothing);
  CHECK(
      has(sim.of(begin + load + wait_for(0, "0") + look + again + wait_for(1, "0") + look), FindingKind::shared_race));
}

TEST_CASE("the source of a bulk store that is written while the copy may still read it") {
  AsyncSimulator sim;
  auto run = [&](const std::string& wait) {
    return sim.of("st.shared.b32 [%r3], %r0;\n" + proxy_fence + barrier + store_bulk + wait + barrier +
                  "st.shared.b32 [%r3], %r2;\n@%p1 cp.async.bulk.wait_group 0;");
  };
  CHECK(run("@%p1 cp.async.bulk.wait_group.read 0;\n") == nothing);
  CHECK(run("@%p1 cp.async.bulk.wait_group 0;\n") == nothing);
  CHECK(run("") == only(FindingKind::async_hazard));
  CHECK(run("@%p1 cp.async.bulk.wait_group.read 1;\n") == only(FindingKind::async_hazard));
  CHECK_THAT(sim.first().message, Catch::Contains("may still read") && Catch::Contains("wait_group.read"));
  // The wait of another thread is no wait.
  CHECK(run("setp.eq.u32 %p3, %r0, 1; @%p3 cp.async.bulk.wait_group.read 0;\n") == only(FindingKind::async_hazard));
}

TEST_CASE("lanes of a warp that issue one store together") {
  AsyncSimulator sim;
  auto run = [&](const std::string& source) {
    return sim.of("st.shared.b32 [%r3], %r0;\n" + proxy_fence + barrier + "setp.ge.u32 %p3, %r0, 32; @%p3 bra END;\n" +
                  source +
                  "cp.async.bulk.global.shared::cta.bulk_group [%rd1], [%r5], 256;\n"
                  "cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;\nEND:");
  };
  CHECK(run("mov.u32 %r5, tile;\n") == nothing); // the same bytes to the same place
  CHECK(run("mov.u32 %r5, tile; and.b32 %r6, %r2, 1; mad.lo.u32 %r5, %r6, 256, %r5;\n") ==
        only(FindingKind::async_hazard));
}

TEST_CASE("a store that a thread issues twice") {
  AsyncSimulator sim;
  auto run = [&](const std::string& wait) {
    return sim.of(
        "st.shared.b32 [%r3], %r0;\n" + proxy_fence + barrier +
        "@!%p1 bra END; mov.u32 %r10, 0;\nAGAIN: cp.async.bulk.global.shared::cta.bulk_group [%rd1], [tile], 512;"
        " cp.async.bulk.commit_group;\n" +
        wait + "add.u32 %r10, %r10, 1; setp.lt.u32 %p3, %r10, 2; @%p3 bra AGAIN; cp.async.bulk.wait_group 0;\nEND:");
  };
  CHECK(run("cp.async.bulk.wait_group 0;\n") == nothing);
  CHECK(run("") == only(FindingKind::async_hazard));
}

TEST_CASE("what a bulk store writes is there after wait_group, and not after wait_group.read") {
  AsyncSimulator sim;
  auto run = [&](const std::string& wait) {
    return sim.of("st.shared.b32 [%r3], %r0;\n" + proxy_fence + barrier + store_bulk + wait + barrier +
                  "mad.wide.u32 %rd2, %r0, 4, %rd1; ld.global.b32 %r4, [%rd2];\n@%p1 cp.async.bulk.wait_group 0;");
  };
  CHECK(run("@%p1 cp.async.bulk.wait_group 0;\n") == nothing);
  CHECK(run("@%p1 cp.async.bulk.wait_group.read 0;\n") == only(FindingKind::async_hazard));
}

TEST_CASE("a bulk store of memory that nobody has written") {
  AsyncSimulator sim;
  CHECK(sim.of("@%p1 st.shared.b32 [tile], %r0;\n" + proxy_fence + store_bulk + "@%p1 cp.async.bulk.wait_group 0;") ==
        only(FindingKind::uninitialised));
}

TEST_CASE("blocks whose bulk stores write the same place") {
  AsyncSimulator sim;
  auto run = [&](const std::string& copy) {
    return sim.of("st.shared.b32 [%r3], %r0;\n" + proxy_fence + barrier + "@%p1 " + copy +
                      "\n@%p1 cp.async.bulk.commit_group; @%p1 cp.async.bulk.wait_group 0;",
                  128, 2);
  };
  CHECK(run("cp.async.bulk.global.shared::cta.bulk_group [%rd1], [tile], 512;") == only(FindingKind::global_race));
  CHECK(run("cp.reduce.async.bulk.global.shared::cta.bulk_group.add.u32 [%rd1], [tile], 512;") == nothing);
}

TEST_CASE("copies that nobody waits for before the block ends") {
  AsyncSimulator sim;
  const std::string fill = "st.shared.b32 [%r3], %r0;\n" + proxy_fence + barrier;
  CHECK(sim.of(initialise(0, 1) + load_bulk(0, 512)) == only(FindingKind::async_hazard));
  CHECK(sim.of(fill + store_bulk) == only(FindingKind::async_hazard));
  CHECK(sim.of(fill + store_bulk + "@%p1 cp.async.bulk.wait_group.read 0;") == nothing);
}

TEST_CASE("what nobody waits for is left over, also if by chance it has taken effect") {
  AsyncSimulator sim;
  const std::string fill = "st.shared.b32 [%r3], %r0;\n" + proxy_fence + barrier,
                    // time in which copies may complete
      work = "mov.u32 %r10, 0;\nWORK: add.u32 %r10, %r10, 1; setp.lt.u32 %p3, %r10, 200; @%p3 bra WORK;\n",
                    late = "@%p1 cp.async.bulk.wait_group.read 0;\n",
                    copies = "cp.async.ca.shared.global [%r3], [%rd1], 4;\n"
                             "cp.async.mbarrier.arrive.noinc.shared.b64 [bar];\n";
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    sim.instrument().set_seed(seed);
    CHECK(sim.of(initialise(0, 1) + load_bulk(0, 512) + work) == only(FindingKind::async_hazard));
    CHECK(sim.of(initialise(0, 1) + load_bulk(0, 512) + work + wait_for(0, "0")) == nothing);
    CHECK(sim.of(fill + store_bulk + work) == only(FindingKind::async_hazard));
    CHECK(sim.of(fill + store_bulk + work + late) == nothing);
    CHECK(sim.of(initialise(0, 128) + copies + work) == only(FindingKind::async_hazard));
    CHECK(sim.of(initialise(0, 128) + copies + work + wait_for(0, "0")) == nothing);
    CHECK(sim.of(initialise(0, 128) + copies + work + "cp.async.wait_all;\n") == nothing);
    // Two phases, of which the second is not waited for.
    const std::string twice = initialise(0, 1) + load_bulk(0, 512) + wait_for(0, "0") + barrier + load_bulk(0, 512);
    CHECK(sim.of(twice + work) == only(FindingKind::async_hazard));
    CHECK(sim.of(twice + work + wait_for(0, "1")) == nothing);
  }
  sim.instrument().set_instruments({}); // always reported
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    sim.instrument().set_seed(seed);
    CHECK(sim.of(initialise(0, 1) + load_bulk(0, 512) + work) == only(FindingKind::async_hazard));
    CHECK_THAT(sim.first().message, Catch::Contains("thread (0, 0, 0): the block ends while"));
    CHECK(sim.of(initialise(0, 1) + load_bulk(0, 512) + work + wait_for(0, "0")) == nothing);
  }
}

TEST_CASE("cp.async that arrives on an mbarrier") {
  AsyncSimulator sim;
  auto run = [&](const std::string& arrive) {
    return sim.of(initialise(0, 128) + "cp.async.ca.shared.global [%r3], [%rd1], 4;\n" + arrive + wait_for(0, "0") +
                  "xor.b32 %r4, %r3, 128; ld.shared.b32 %r5, [%r4];\ncp.async.wait_all;");
  };
  CHECK(run("cp.async.mbarrier.arrive.noinc.shared.b64 [bar];\n") == nothing);
  CHECK(run("mbarrier.arrive.shared.b64 _, [bar];\n") == only(FindingKind::async_hazard));
}

TEST_CASE("an arrival gives away what was written before it, if it releases") {
  AsyncSimulator sim;
  auto run = [&](const std::string& arrive) {
    return sim.of(initialise(0, 128) + "st.shared.b32 [%r3], %r0;\n" + arrive + wait_for(0, "0") +
                  "xor.b32 %r4, %r3, 128; ld.shared.b32 %r5, [%r4];");
  };
  CHECK(run("mbarrier.arrive.shared.b64 _, [bar];\n") == nothing);
  CHECK(run("mbarrier.arrive.release.cta.shared::cta.b64 _, [bar];\n") == nothing);
  CHECK(run("fence.acq_rel.cta; mbarrier.arrive.relaxed.cta.shared::cta.b64 _, [bar];\n") == nothing);
  CHECK(run("mbarrier.arrive.relaxed.cta.shared::cta.b64 _, [bar];\n") == only(FindingKind::shared_race));
  // Only one lane of each warp arrives: the others' stores are not given away.
  auto one = [&](const std::string& together) {
    return sim.of(initialise(0, 4) + "st.shared.b32 [%r3], %r0;\n" + together +
                  "@%p2 mbarrier.arrive.shared.b64 _, [bar];\n" + wait_for(0, "0") +
                  "xor.b32 %r4, %r3, 128; ld.shared.b32 %r5, [%r4];");
  };
  CHECK(one("bar.warp.sync -1;\n") == nothing);
  CHECK(one("") == only(FindingKind::shared_race));
}

TEST_CASE("an mbarrier is no data while it lives") {
  AsyncSimulator sim;
  CHECK(sim.of(initialise(0, 1) + "ld.shared.b32 %r4, [bar];") == only(FindingKind::barrier));
  CHECK(sim.first().other_ptx_line != 0);
  CHECK(sim.of(initialise(0, 1) + "@%p1 st.shared.b64 [bar], %rd1;") == only(FindingKind::barrier));
  CHECK(sim.of(initialise(0, 1) + "@%p1 mbarrier.inval.shared.b64 [bar];\n" + barrier +
               "@%p1 st.shared.b64 [bar], %rd1;") == nothing);
  CHECK(sim.of(initialise(0, 1) + "@%p1 mbarrier.inval.shared.b64 [bar];\n@%p1 mbarrier.init.shared.b64 [bar], 1;\n" +
               barrier + load_bulk(0, 512) + wait_for(0, "0") + look) == nothing);
  CHECK(sim.ended(initialise(0, 1) + "@%p1 mbarrier.init.shared.b64 [bar], 1;") == only(FindingKind::barrier));
  // Its initialisation is not ordered before its use.
  CHECK(has(sim.of("@%p1 mbarrier.init.shared.b64 [bar], 128;\nmbarrier.arrive.shared.b64 _, [bar];"),
            FindingKind::shared_race));
}

TEST_CASE("counts that do not fit, and phases that cannot end") {
  AsyncSimulator sim;
  CHECK(sim.ended(initialise(0, 2) + "mbarrier.arrive.shared.b64 _, [bar], 3;") == only(FindingKind::barrier));
  CHECK(sim.ended(initialise(0, 2) + "@%p1 mbarrier.arrive.shared.b64 _, [bar];\n" + wait_for(0, "0")) ==
        only(FindingKind::deadlock));
  CHECK(sim.ended(initialise(0, 1) + "@%p1 mbarrier.arrive.expect_tx.shared.b64 _, [bar], 64;\n" + wait_for(0, "0")) ==
        only(FindingKind::deadlock));
}

TEST_CASE("bulk copies that are misaligned or out of bounds") {
  AsyncSimulator sim;
  auto run = [&](const std::string& to, const std::string& from, const std::string& bytes) {
    return sim.ended(initialise(0, 1) +
                     "add.u64 %rd2, %rd1, 16380; add.u64 %rd3, %rd1, 8; add.u64 %rd4, %rd1, 16368;\n" +
                     "@%p1 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [" + to + "], [" + from +
                     "], " + bytes + ", [bar];");
  };
  CHECK(run("tile+8", "%rd1", "16") == only(FindingKind::misaligned));
  CHECK(run("tile", "%rd3", "16") == only(FindingKind::misaligned));
  CHECK(run("tile", "%rd1", "24") == only(FindingKind::misaligned));
  CHECK(run("tile", "%rd4", "32") == only(FindingKind::out_of_bounds));
  CHECK(run("tile+16384", "%rd1", "64") == only(FindingKind::out_of_bounds));
}

TEST_CASE("the shared memory of a cluster") {
  AsyncSimulator sim;
  const std::string
      other = "mov.u32 %r10, %cluster_ctarank; xor.b32 %r11, %r10, 1; mapa.shared::cluster.u32 %r12, %r3, %r11;\n",
      together = "barrier.cluster.arrive.release; barrier.cluster.wait.acquire;\n";
  // Each writes into the other's memory, and all read their own.
  auto write = [&](const std::string& between) {
    return sim.in_cluster(other + together + "st.shared::cluster.b32 [%r12], %r0;\n" + between + look + together);
  };
  CHECK(write(together) == nothing);
  CHECK(write("fence.acq_rel.cluster; barrier.cluster.arrive.relaxed; barrier.cluster.wait.acquire;\n") == nothing);
  CHECK(has(write(""), FindingKind::shared_race));
  CHECK(has(write("barrier.cluster.arrive.relaxed; barrier.cluster.wait.acquire;\n"), FindingKind::shared_race));
  // st.async: 128 bytes, counted by the mbarrier of the block that they go to.
  auto send = [&](const std::string& wait) {
    return sim.in_cluster(other + "mov.u32 %r13, bar; mapa.shared::cluster.u32 %r14, %r13, %r11;\n" + initialise(0, 1) +
                          "@%p1 mbarrier.arrive.expect_tx.shared.b64 _, [bar], 128;\n" + together +
                          "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.b32 [%r12], %r0, [%r14];\n" +
                          wait + together);
  };
  CHECK(send(wait_for(0, "0") + look) == nothing);
  CHECK(has(send(look + wait_for(0, "0")), FindingKind::async_hazard));
  // Block 1 arrives at the mbarrier of block 0 when it has written there.
  auto arrive = [&](const std::string& arrival) {
    return sim.in_cluster(other + "mov.u32 %r13, bar; mapa.shared::cluster.u32 %r14, %r13, 0;\n" + initialise(0, 32) +
                          together + "setp.eq.u32 %p3, %r10, 0; @%p3 bra WAIT;\nst.shared::cluster.b32 [%r12], %r0;\n" +
                          arrival + " _, [%r14]; bra END;\nWAIT:\n" + wait_for(0, "0") +
                          "ld.shared.b32 %r4, [tile+4];\nEND:\n" + together);
  };
  CHECK(arrive("mbarrier.arrive.release.cluster.shared::cluster.b64") == nothing);
  CHECK(has(arrive("mbarrier.arrive.relaxed.cluster.shared::cluster.b64"), FindingKind::shared_race));
}

TEST_CASE("global memory that the barrier of a cluster orders") {
  AsyncSimulator sim;
  auto run = [&](const std::string& between) {
    return sim.in_cluster(
        "mov.u32 %r10, %cluster_ctarank; mad.lo.u32 %r11, %r10, 128, 0; cvt.u64.u32 %rd2, %r11; add.u64 %rd2, %rd1, "
        "%rd2;\n"
        "mad.wide.u32 %rd2, %r0, 4, %rd2; st.global.b32 [%rd2], %r0;\n" +
        between +
        "xor.b32 %r11, %r11, 128; cvt.u64.u32 %rd3, %r11; add.u64 %rd3, %rd1, %rd3; ld.global.b32 %r4, [%rd3];\n");
  };
  CHECK(run("barrier.cluster.arrive; barrier.cluster.wait;\n") == nothing);
  CHECK(has(run(""), FindingKind::global_race));
}

TEST_CASE("findings of asynchronous operations do not depend on the number of host threads") {
  auto all = [](const char* threads) {
    setenv("TILEJIT_SIMULATOR_THREADS", threads, 1);
    AsyncSimulator sim;
    sim.of(initialise(0, 1) + load_bulk(0, 512) + look + "st.shared.b32 [%r3], %r0;\n" + wait_for(0, "0") + barrier +
               store_bulk,
           128, 30);
    unsetenv("TILEJIT_SIMULATOR_THREADS");
    return to_json(sim.instrument().findings());
  };
  const std::string one = all("1");
  CHECK_THAT(one, Catch::Contains("async-hazard"));
  for (int i = 0; i < 3; ++i) CHECK(all("3") == one);
}

TEST_CASE("thousands of mbarriers leave room for the copies of warps") {
  AsyncSimulator sim;
  CHECK(
      sim.kinds(kernel_text({"u64"},
                            thread_index + "ld.param.u64 %rd1, [p0]; mov.u32 %r3, many; mad.lo.u32 %r5, %r2, 4, %r3;\n"
                                           "setp.ne.u32 %p1, %r2, 0; @%p1 bra COPY;\nmov.u32 %r4, 0;\n"
                                           "NEXT: add.u32 %r3, %r3, 8; mbarrier.init.shared.b64 [%r3+1024], 1;\n"
                                           "add.u32 %r4, %r4, 1; setp.lt.u32 %p2, %r4, 5000; @%p2 bra NEXT;\n"
                                           "COPY: cp.async.ca.shared.global [%r5], [%rd1], 4; cp.async.wait_all;\n"
                                           "ld.shared.b32 %r6, [%r5];",
                            "sm_90a", ".shared .align 16 .b8 many[41040];"),
                1, 64, {sim.array->address()}) == nothing);
}

TEST_CASE("the shared memory of a cluster exists while its block runs") {
  AsyncSimulator sim;
  const std::string
      other = "mov.u32 %r10, %cluster_ctarank; xor.b32 %r11, %r10, 1; mapa.shared::cluster.u32 %r12, %r3, %r11;\n",
      together = "barrier.cluster.arrive.release; barrier.cluster.wait.acquire;\n",
      met = "barrier.cluster.arrive.relaxed; barrier.cluster.wait;\n", own = "st.shared.b32 [%r3], %r0;\n",
      read = "ld.shared::cluster.b32 %r4, [%r12];\n";
  CHECK(sim.in_cluster(other + own + together + read + met) == nothing); // to have met is enough
  CHECK(sim.in_cluster(other + together + "st.shared::cluster.b32 [%r12], %r0;\n" + together) == nothing);
  // The other block may end before it is read; it may not have begun when it is written to.
  CHECK(has(sim.ended_in_cluster(other + own + together + read), FindingKind::barrier));
  CHECK(has(sim.in_cluster(other + own + together + "setp.eq.u32 %p3, %r10, 0; @%p3 bra END;\n" + read + "END:\n"),
            FindingKind::barrier));
  CHECK(has(sim.in_cluster(other + "st.shared::cluster.b32 [%r12], %r0;\n" + together), FindingKind::barrier));
  // A block that waits for a flag of the reader instead.
  const std::string flag = "mov.u32 %r13, bar; mapa.shared::cluster.u32 %r14, %r13, 0;\n" + initialise(0, 32) + own +
                           together + "setp.eq.u32 %p3, %r10, 0; @%p3 bra WAIT;\n";
  const std::string arrive = "mbarrier.arrive.relaxed.cluster.shared::cluster.b64 _, [%r14];\n";
  auto waits = [&](const std::string& reads) {
    return sim.in_cluster(other + flag + reads + "bra END;\nWAIT:\n" + wait_for(0, "0") + "END:\n");
  };
  CHECK(waits(read + arrive) == nothing);
  CHECK(has(waits(arrive + read), FindingKind::barrier));
}
