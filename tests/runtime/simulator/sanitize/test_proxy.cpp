// The generic and the asynchronous proxy: what threads have written is there for bulk copies and wgmma only behind a
// proxy fence, and what those have written is there for threads as soon as they have waited.
#include "tests/runtime/simulator/sanitize/async_kernels.h"

using namespace tilejit::runtime;
using namespace tilejit::runtime::simulator::test;

namespace {
const std::string store = "st.shared.b32 [%r3], %r0;\n", barrier = "bar.sync 0;\n",
                  done = "@%p1 cp.async.bulk.wait_group 0;\n";
}

TEST_CASE("a bulk store of what threads have written") {
  AsyncSimulator sim;
  CHECK(sim.of(store + proxy_fence + barrier + store_bulk + done) == nothing); // by those who have written
  CHECK(sim.of(store + barrier + proxy_fence + store_bulk + done) == nothing); // by the one that stores
  CHECK(sim.of(store + "fence.proxy.async;\n" + barrier + store_bulk + done) == nothing);
  CHECK(sim.of(store + barrier + store_bulk + done) == only(FindingKind::proxy_race));
  const Finding& f = sim.first();
  CHECK_THAT(f.message, Catch::Contains("cp.async.bulk.global") && Catch::Contains("st.shared.b32 [%r3], %r0;") &&
                            Catch::Contains("fence.proxy.async is missing"));
  CHECK(f.ptx_line > f.other_ptx_line);
  // A fence of memory is none of proxies, and one before the store is too early.
  CHECK(sim.of(store + "membar.cta;\n" + barrier + store_bulk + done) == only(FindingKind::proxy_race));
  CHECK(sim.of(proxy_fence + store + barrier + store_bulk + done) == only(FindingKind::proxy_race));
  // Without the barrier it is not ordered at all.
  CHECK(sim.of(store + proxy_fence + store_bulk + done).back() == FindingKind::shared_race);
}

TEST_CASE("the fence may be anywhere on the way: through mbarriers and atomics") {
  AsyncSimulator sim;
  // Warps 1 to 3 write and arrive, warp 0 waits and stores.
  auto ring = [&](const std::string& fence) {
    return sim.of(initialise(0, 96) + "setp.eq.u32 %p3, %r1, 0; @%p3 bra WAIT;\n" + store + fence +
                  "mbarrier.arrive.shared.b64 _, [bar]; bra END;\nWAIT:\n" + wait_for(0, "0") +
                  "@%p1 cp.async.bulk.global.shared::cta.bulk_group [%rd1], [tile+128], 384;\n"
                  "@%p1 cp.async.bulk.commit_group;\n" +
                  done + "END:");
  };
  CHECK(ring(proxy_fence) == nothing);
  CHECK(ring("") == only(FindingKind::proxy_race));
  auto flag = [&](const std::string& fence) {
    return sim.of("@%p1 st.volatile.shared.b32 [tile+1024], 0;\n" + barrier +
                  "setp.eq.u32 %p3, %r0, 32; setp.eq.u32 %p4, %r1, 0; @%p4 bra WAIT; @!%p3 bra END;\n"
                  "st.shared.v4.b32 [tile], {%r0, %r0, %r0, %r0};\n" +
                  fence +
                  "atom.release.cta.shared.add.u32 %r4, [tile+1024], 1; bra END;\n"
                  "WAIT: ld.acquire.cta.shared.b32 %r4, [tile+1024]; setp.eq.u32 %p5, %r4, 0; @%p5 bra WAIT;\n"
                  "@%p1 cp.async.bulk.global.shared::cta.bulk_group [%rd1], [tile], 16;\n"
                  "@%p1 cp.async.bulk.commit_group;\n" +
                  done + "END:");
  };
  CHECK(flag(proxy_fence) == nothing);
  CHECK(flag("") == only(FindingKind::proxy_race));
}

TEST_CASE("a bulk load over what threads have written; what they have read needs no fence") {
  AsyncSimulator sim;
  auto run = [&](const std::string& before) {
    return sim.of(initialise(0, 1) + before + load_bulk(0, 512) + wait_for(0, "0") + "ld.shared.b32 %r4, [%r3];");
  };
  CHECK(run("") == nothing);
  CHECK(run(store + proxy_fence + barrier) == nothing);
  CHECK(run(store + barrier) == only(FindingKind::proxy_race));
  // Read between two loads: ordered by a barrier, and that is enough.
  CHECK(sim.of(initialise(0, 1) + load_bulk(0, 512) + wait_for(0, "0") + "ld.shared.b32 %r4, [%r3];\n" + barrier +
               load_bulk(0, 512) + wait_for(0, "1") + "ld.shared.b32 %r4, [%r3];") == nothing);
}

TEST_CASE("from one asynchronous operation to the next no fence is needed") {
  AsyncSimulator sim;
  CHECK(sim.of(initialise(0, 1) + load_bulk(0, 512) + wait_for(0, "0") + store_bulk + done) == nothing);
}

TEST_CASE("cp.async goes through the generic proxy") {
  AsyncSimulator sim;
  auto run = [&](const std::string& fence) {
    return sim.of("cp.async.ca.shared.global [%r3], [%rd1], 4; cp.async.commit_group; cp.async.wait_group 0;\n" +
                  fence + barrier + "ld.shared.b32 %r4, [tile];\n" + store_bulk + done);
  };
  CHECK(run(proxy_fence) == nothing);
  CHECK(run("") == only(FindingKind::proxy_race));
}

TEST_CASE("global memory has proxies, too") {
  AsyncSimulator sim;
  auto run = [&](const std::string& fence) {
    return sim.of(initialise(0, 1) + "mad.wide.u32 %rd2, %r0, 4, %rd1; st.global.b32 [%rd2], %r0;\n" + fence + barrier +
                  load_bulk(0, 512) + wait_for(0, "0") + "ld.shared.b32 %r4, [%r3];");
  };
  CHECK(run("fence.proxy.async.global;\n") == nothing);
  CHECK(run("fence.proxy.async;\n") == nothing);
  CHECK(run("") == only(FindingKind::proxy_race));
}

TEST_CASE("an mbarrier itself needs no fence") {
  AsyncSimulator sim;
  CHECK(sim.of("@%p1 mbarrier.init.shared.b64 [bar], 1;\n" + load_bulk(0, 512) + barrier + wait_for(0, "0") +
               "ld.shared.b32 %r4, [%r3];") == nothing);
}
