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

namespace {

/// Block 0 does the one and tells block 1, which then does the other; both in all their threads.
std::string handed_over(const std::string& one, const std::string& other) {
  return "mov.u32 %r10, %ctaid.x; setp.ne.u32 %p4, %r10, 0; @%p4 bra OTHER;\n" + one +
         "bar.sync 0; @%p1 membar.gl; @%p1 st.relaxed.gpu.global.b32 [%rd1+12288], 7; bra END;\nOTHER: @!%p1 bra "
         "GO;\nASK: ld.acquire.gpu.global.b32 %r11, [%rd1+12288]; setp.ne.u32 %p5, %r11, 7; @%p5 bra ASK;\n"
         "GO: bar.sync 0;\n" +
         other + "END:\n";
}

/// A tensor map in shared memory, `%r20`, of the 128 words at %rd1; `%rd20`: where it goes in global memory.
const std::string image = [] {
  std::string text = "mov.u32 %r20, tile; add.u32 %r20, %r20, 8192; mad.lo.u32 %r21, %r2, 4, %r20; add.u64 %rd20, "
                     "%rd1, 8192; setp.eq.u32 %p6, %r1, 0;\n@%p6 st.shared.b32 [%r21], 0;\nbar.sync 0;\n";
  for (const char* field :
       {"global_address.shared::cta.b1024.b64 [%r20], %rd1", "rank.shared::cta.b1024.b32 [%r20], 0",
        "box_dim.shared::cta.b1024.b32 [%r20], 0, 128", "global_dim.shared::cta.b1024.b32 [%r20], 0, 128",
        "element_stride.shared::cta.b1024.b32 [%r20], 0, 1", "elemtype.shared::cta.b1024.b32 [%r20], 2",
        "interleave_layout.shared::cta.b1024.b32 [%r20], 0", "swizzle_mode.shared::cta.b1024.b32 [%r20], 0",
        "fill_mode.shared::cta.b1024.b32 [%r20], 0"})
    text += std::string("@%p1 tensormap.replace.tile.") + field + ";\n";
  return text;
}();
const std::string
    publish = "@!%p6 bra SENT;\ntensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.sync.aligned "
              "[%rd20], [%r20], 128;\nSENT:\n",
    release_map = "fence.proxy.tensormap::generic.release.gpu;\n",
    acquire_map = "fence.proxy.tensormap::generic.acquire.gpu [%rd20], 128;\n",
    change = "@%p1 tensormap.replace.tile.rank.global.b1024.b32 [%rd20], 0;\n",
    load_box = "@%p1 mbarrier.arrive.expect_tx.shared.b64 _, [bar], 512;\n"
               "@%p1 cp.async.bulk.tensor.1d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [tile], "
               "[%rd20, {0}], [bar];\n";

} // namespace

TEST_CASE("proxies between blocks") {
  AsyncSimulator sim;
  auto run = [&](const std::string& before, const std::string& after) {
    sim.device->fill_zero(*sim.array);
    return sim.of(initialise(0, 1) + "mad.wide.u32 %rd2, %r0, 4, %rd1;\n" +
                      handed_over("st.global.b32 [%rd2], %r0;\n" + before,
                                  after + load_bulk(0, 512) + wait_for(0, "0") + "ld.shared.b32 %r4, [%r3];\n"),
                  128, 2);
  };
  CHECK(run("fence.proxy.async.global;\n", "") == nothing);
  CHECK(run("", "fence.proxy.async;\n") == nothing);
  CHECK(run("", "") == only(FindingKind::proxy_race));
  CHECK_THAT(sim.first().message, Catch::Contains("cp.async.bulk.shared") && Catch::Contains("fence.proxy.async"));
}

TEST_CASE("what a bulk store has written, for another block") {
  AsyncSimulator sim;
  auto run = [&](const std::string& wait) {
    sim.device->fill_zero(*sim.array);
    return sim.of(handed_over(store + proxy_fence + barrier + store_bulk + wait,
                              "mad.wide.u32 %rd2, %r0, 4, %rd1; ld.global.b32 %r4, [%rd2];\n"),
                  128, 2);
  };
  CHECK(run(done) == nothing);
  CHECK(run("@%p1 cp.async.bulk.wait_group.read 0;\n") == only(FindingKind::global_race));
  CHECK_THAT(sim.first().message, Catch::Contains("cp.async.bulk.wait_group"));
}

TEST_CASE("a tensor map that the kernel makes") {
  AsyncSimulator sim;
  const std::string use = load_box + wait_for(0, "0") + "ld.shared.b32 %r4, [%r3];\n";
  auto run = [&](const std::string& between) { return sim.of(initialise(0, 1) + image + between + use); };
  CHECK(run(publish + acquire_map) == nothing);
  CHECK(run(publish) == only(FindingKind::proxy_race));
  CHECK_THAT(sim.first().message, Catch::Contains("tensor map lies in") && Catch::Contains("cp_fenceproxy") &&
                                      Catch::Contains("fence.proxy.tensormap"));
  // Changed where it lies.
  CHECK(run(publish + acquire_map + change + release_map + acquire_map) == nothing);
  CHECK(run(publish + acquire_map + change + acquire_map) == only(FindingKind::proxy_race));
  CHECK(run(publish + acquire_map + change + release_map) == only(FindingKind::proxy_race));
}

TEST_CASE("accesses to a tensor map are accesses to memory") {
  AsyncSimulator sim;
  // Another warp changes it before the first one sends it.
  auto change_by_other = [&](const std::string& between) {
    return sim.of(initialise(0, 1) + image +
                  "bar.sync 0; setp.eq.u32 %p7, %r0, 32;\n"
                  "@%p7 tensormap.replace.tile.rank.shared::cta.b1024.b32 [%r20], 0;\n" +
                  between + publish + acquire_map + load_box + wait_for(0, "0"));
  };
  CHECK(change_by_other(barrier) == nothing);
  CHECK(change_by_other("").front() == FindingKind::shared_race);
  // While a copy may still read it.
  auto change_early = [&](const std::string& before, const std::string& after) {
    return sim.of(initialise(0, 1) + image + publish + acquire_map + load_box + before + change + after);
  };
  CHECK(change_early(wait_for(0, "0"), "") == nothing);
  CHECK(change_early("", wait_for(0, "0")) == only(FindingKind::async_hazard));
}

TEST_CASE("a tensor map for another block") {
  AsyncSimulator sim;
  auto run = [&](const std::string& acquire) {
    sim.device->fill_zero(*sim.array);
    return sim.of(
        initialise(0, 1) + "add.u64 %rd20, %rd1, 8192;\n" +
            handed_over(image + publish, acquire + load_box + wait_for(0, "0") + "ld.shared.b32 %r4, [%r3];\n"),
        128, 2);
  };
  CHECK(run(acquire_map) == nothing);
  CHECK(run("") == only(FindingKind::proxy_race));
}
