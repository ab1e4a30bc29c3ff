// Races of global memory between blocks that talk to each other.
#include "tests/runtime/simulator/sanitize/planted.h"

#include <algorithm>
#include <cstdlib>

using namespace tilejit::runtime;
using namespace tilejit::runtime::simulator::test;

namespace {

/// `%r0` the thread, `%r4` the block, `%r8` the thread in the grid; `%rd1` its word in the array `%rd2`; `%rd3` flags;
/// `%p1` thread 0; `%p4` block 0.
std::string text(const std::string& body) {
  return block_text("mov.u32 %r4, %ctaid.x; mov.u32 %r9, %ntid.x; mad.lo.u32 %r8, %r4, %r9, %r0;\n"
                    "ld.param.u64 %rd2, [p0]; mad.wide.u32 %rd1, %r8, 4, %rd2; ld.param.u64 %rd3, [p1];\n"
                    "setp.eq.u32 %p1, %r0, 0; setp.eq.u32 %p4, %r4, 0;\n" +
                        body,
                    {"u64", "u64"});
}
const std::string arrive = "red.global.add.u32 [%rd3], 1;", look = "ld.acquire.gpu.global.u32 %r21, [%rd3];";

/// All blocks wait until all have come, for the `round`th time: thread 0 does it for its block. Without `fence` it
/// gives nothing away, without `waits` it goes on at once.
std::string barrier(int round, const std::string& fence = "membar.gl;", bool waits = true) {
  static int labels = 0;
  const std::string n = std::to_string(labels++);
  return "bar.sync 0; @!%p1 bra PASSED" + n + ";\n" + fence + "\nmov.u32 %r20, %nctaid.x; mul.lo.u32 %r20, %r20, " +
         std::to_string(round) + "; " + arrive + "\nWAIT" + n + ": " + look +
         (waits ? " setp.lt.u32 %p21, %r21, %r20; @%p21 bra WAIT" + n + ";" : "") + "\nPASSED" + n + ": bar.sync 0;\n";
}

struct Grid : Sanitized {
  std::shared_ptr<Buffer> words = upload(std::vector<uint32_t>(4096)), flags = upload(std::vector<uint32_t>(64));

  std::vector<FindingKind> of(const std::string& body, uint32_t blocks = 4, uint32_t threads = 64) {
    device->fill_zero(*flags);
    device->fill_zero(*words);
    return kinds(text(body), blocks, threads, {words->address(), flags->address()});
  }
  /// The same in clusters.
  std::vector<FindingKind> in_clusters(const std::string& body, uint32_t size, uint32_t blocks, uint32_t threads = 64) {
    device->fill_zero(*flags);
    return kinds_in_clusters(text(body), size, blocks, threads, {words->address(), flags->address()});
  }
  const Finding& first() { return instrument().findings().at(0); }
};

const std::string store = "st.global.b32 [%rd1], %r8;\n";
/// Of the next block's words, the last block's in front of the first's.
const std::string read_next =
    "mov.u32 %r10, %nctaid.x; add.u32 %r11, %r4, 1; rem.u32 %r11, %r11, %r10; mad.lo.u32 %r11, %r11, %r9, %r0;\n"
    "mad.wide.u32 %rd4, %r11, 4, %rd2; ld.global.b32 %r12, [%rd4];\n";
const auto race = only(FindingKind::global_race);
/// A race that is met from either side is reported for each.
bool races(const std::vector<FindingKind>& found) {
  return !found.empty() && std::ranges::all_of(found, [](FindingKind k) { return k == FindingKind::global_race; });
}

} // namespace

TEST_CASE("phases that barriers of the grid part") {
  Grid sim;
  for (uint64_t seed : {0, 1, 2}) {
    if (seed) sim.instrument().set_seed(seed);
    CHECK(sim.of(store + barrier(1) + read_next) == nothing);
    CHECK(sim.of(store + barrier(1) + read_next + barrier(2) + store) == nothing);
    CHECK(sim.of(store + barrier(1) + read_next + barrier(2) + store + barrier(3) + read_next) == nothing);
    // One of them is missing.
    CHECK(races(sim.of(store + barrier(1) + read_next + store)));
    CHECK(races(sim.of(store + barrier(1) + read_next + barrier(2) + store + read_next)));
  }
}

TEST_CASE("a barrier of the grid without its parts") {
  Grid sim;
  CHECK(sim.of(store + barrier(1, "") + read_next) == race); // nothing is fenced
  CHECK_THAT(sim.first().message, Catch::Contains("a release behind the one"));
  CHECK(sim.of(store + barrier(1, "membar.cta;") + read_next) == race);
  CHECK(sim.of(store + barrier(1, "fence.acq_rel.cluster;") + read_next) == race);
  CHECK(sim.of(store + barrier(1, "fence.acq_rel.gpu;") + read_next) == nothing);
  CHECK(sim.of(store + barrier(1, "fence.sc.sys;") + read_next) == nothing);
  CHECK(sim.of(store + "membar.gl;\n" + barrier(1, "") + read_next) == nothing); // each thread its own
  CHECK(sim.of(store + barrier(1, "membar.gl;", false) + read_next) == race);    // it doesn't wait
  // The rest of the block writes behind the fence.
  CHECK(sim.of("bar.sync 0; @%p1 membar.gl;\n" + store + barrier(1, "") + read_next) == race);
}

TEST_CASE("a flag is for those who have read it, and for what came before") {
  Grid sim;
  // Block 0 writes, raises the flag, and perhaps writes again; the others wait for the flag and read.
  auto run = [&](const std::string& raise, const std::string& after, const std::string& wait) {
    return sim.of("@!%p4 bra OTHERS; st.global.b32 [%rd2], %r8;\nbar.sync 0;\n@%p1 " + raise + "\n" + after +
                      "bra END;\nOTHERS: @!%p1 bra READ;\nWAIT: " + wait +
                      "setp.eq.u32 %p5, %r12, 0; @%p5 bra WAIT;\nREAD: bar.sync 0; ld.global.b32 %r13, [%rd2];\nEND:",
                  3, 1);
  };
  const std::string acquire = "ld.acquire.gpu.global.b32 %r12, [%rd3]; ", again = "@%p1 st.global.b32 [%rd2], 5;\n";
  CHECK(run("st.release.gpu.global.b32 [%rd3], 1;", "", acquire) == nothing);
  CHECK(run("st.relaxed.gpu.global.b32 [%rd3], 1;", "", acquire) == race);
  CHECK(run("st.release.cta.global.b32 [%rd3], 1;", "", acquire).size() >= 1); // not for other blocks
  CHECK(run("atom.acq_rel.gpu.global.exch.b32 %r12, [%rd3], 1;", "", acquire) == nothing);
  CHECK(run("st.release.gpu.global.b32 [%rd3], 1;", "", "atom.acquire.gpu.global.or.b32 %r12, [%rd3], 0; ") == nothing);
  // What comes behind the release, it does not give away.
  CHECK(run("st.release.gpu.global.b32 [%rd3], 1;", again, acquire) == race);
}

TEST_CASE("what one block knows of another, it passes on") {
  Grid sim;
  // 0 writes for 1, and 1 tells 2.
  auto run = [&](const std::string& pass) {
    return sim.of("setp.eq.u32 %p5, %r4, 1; setp.eq.u32 %p6, %r4, 2; @%p5 bra ONE; @%p6 bra TWO;\n"
                  "st.global.b32 [%rd2], 7; membar.gl; st.volatile.global.b32 [%rd3], 1; bra END;\n"
                  "ONE: ld.volatile.global.b32 %r12, [%rd3]; setp.eq.u32 %p7, %r12, 0; @%p7 bra ONE;\n" +
                      pass +
                      "st.volatile.global.b32 [%rd3+4], 1; bra END;\n"
                      "TWO: ld.volatile.global.b32 %r12, [%rd3+4]; setp.eq.u32 %p7, %r12, 0; @%p7 bra TWO;\n"
                      "ld.global.b32 %r13, [%rd2];\nEND:",
                  3, 1);
  };
  CHECK(run("membar.gl;\n") == nothing);
  CHECK(run("") == race);
}

TEST_CASE("a store begins anew what stands at a flag, an atomic operation adds to it") {
  Grid sim;
  // Both blocks write their word and count the flag up, 1 after 0; block 2 reads the word of block 0.
  auto run = [&](const std::string& one) {
    return sim.of("setp.eq.u32 %p5, %r4, 1; setp.eq.u32 %p6, %r4, 2; @%p5 bra ONE; @%p6 bra TWO;\n"
                  "st.global.b32 [%rd1], 7; membar.gl; red.global.add.u32 [%rd3], 1; bra END;\n"
                  "ONE: ld.volatile.global.b32 %r12, [%rd3]; setp.ne.u32 %p7, %r12, 1; @%p7 bra ONE;\n" +
                      one +
                      "bra END;\n"
                      "TWO: ld.volatile.global.b32 %r12, [%rd3]; setp.lt.u32 %p7, %r12, 2; @%p7 bra TWO;\n"
                      "ld.global.b32 %r13, [%rd2];\nEND:",
                  3, 1);
  };
  CHECK(run("red.global.add.u32 [%rd3], 1;\n") == nothing);
  CHECK(run("st.volatile.global.b32 [%rd3], 2;\n") == race);
  CHECK(run("membar.gl; st.volatile.global.b32 [%rd3], 2;\n") == nothing);
}

TEST_CASE("a counter that threads set and blocks count with") {
  Grid sim;
  const std::string count = "@%p1 atom.global.add.u32 %r12, [%rd2], 1;\n", set = "@%p1 st.global.b32 [%rd2], 0;\n";
  // Block 0 sets it for all.
  CHECK(sim.of("@!%p4 bra COUNT;\n" + set + "COUNT:\n" + barrier(1) + count) == nothing);
  CHECK(sim.of("@!%p4 bra COUNT;\n" + set + "COUNT:\n" + count).size() >= 1);
  CHECK(sim.first().kind == FindingKind::global_race);
  // The last one resets it: it has read what all others have counted.
  const std::string last = "@!%p1 bra END;\natom.global.add.u32 %r12, [%rd2], 1; setp.ne.u32 %p5, %r12, 3; "
                           "@%p5 bra END;\nst.global.b32 [%rd2], 0;\nEND:";
  CHECK(sim.of(barrier(1) + last) == nothing);
  // The first one does.
  const std::string first = "@!%p1 bra END;\natom.global.add.u32 %r12, [%rd2], 1; setp.ne.u32 %p5, %r12, 0; "
                            "@%p5 bra END;\nst.global.b32 [%rd2], 0;\nEND:";
  CHECK(sim.of(barrier(1) + first) != nothing);
  // An operation for the block alone is none for others.
  CHECK(sim.of(barrier(1) + "@%p1 atom.global.cta.add.u32 %r12, [%rd2], 1;\n") == race);
}

TEST_CASE("a lock: what it guards, and what it does not") {
  Grid sim;
  auto run = [&](const std::string& inside, const std::string& unlock, const std::string& behind) {
    return sim.of("@!%p1 bra END;\nTRY: atom.acquire.gpu.global.cas.b32 %r12, [%rd3], 0, 1; setp.ne.u32 %p5, %r12, 0; "
                  "@%p5 bra TRY;\n" +
                      inside + unlock + behind + "END:",
                  8);
  };
  const std::string add = "ld.global.u32 %r13, [%rd2]; add.u32 %r13, %r13, 1; st.global.u32 [%rd2], %r13;\n",
                    unlock = "atom.release.gpu.global.exch.b32 %r12, [%rd3], 0;\n";
  CHECK(run(add, unlock, "") == nothing);
  CHECK(run(add, "membar.gl; st.volatile.global.b32 [%rd3], 0;\n", "") == nothing);
  CHECK(run(add, "st.volatile.global.b32 [%rd3], 0;\n", "") != nothing);
  CHECK(run("", unlock, add) != nothing);
}

TEST_CASE("clusters of blocks: their barrier is for themselves") {
  Grid sim;
  const std::string cluster_barrier = "barrier.cluster.arrive.aligned; barrier.cluster.wait.aligned;\n",
                    // the word of the other block of the pair
      read_other = "xor.b32 %r11, %r4, 1; mad.lo.u32 %r11, %r11, %r9, %r0; mad.wide.u32 %rd4, %r11, 4, %rd2;\n"
                   "ld.global.b32 %r12, [%rd4];\n";
  CHECK(sim.in_clusters(store + cluster_barrier + read_other, 2, 4) == nothing);
  CHECK(races(sim.in_clusters(store + read_other, 2, 4)));
  CHECK(races(sim.in_clusters(store + cluster_barrier + read_other + store, 2, 4))); // the second barrier is missing
  CHECK(sim.in_clusters(store + cluster_barrier + read_other + cluster_barrier + store, 2, 4) == nothing);
  CHECK(races(sim.in_clusters(store + cluster_barrier + read_next, 2, 4))); // the next may be of another cluster
  CHECK(sim.in_clusters(store + barrier(1) + read_next, 2, 4) == nothing);
  CHECK(sim.in_clusters(store + barrier(1) + read_next + barrier(2) + store, 2, 4) == nothing);
  CHECK(races(sim.in_clusters(store + barrier(1) + read_next + cluster_barrier + store, 2, 4)));
}

TEST_CASE("operations without a result acquire nothing, whatever thread of the host runs first") {
  Grid sim;
  CHECK(races(sim.of("@%p1 membar.gl; " + store + "membar.gl;\n@%p1 red.global.add.u32 [%rd3], 1;\n" + read_next, 16)));
  CHECK(races(sim.of(store + "membar.gl;\n@%p1 atom.global.add.u32 _, [%rd3], 1;\n" + read_next, 16)));
}

TEST_CASE("all that have read a place must be done before it is written") {
  Grid sim;
  // Every block reads the words of block 0, which writes them again when the flag says that `count` are done.
  auto run = [&](int count) {
    return sim.of(barrier(1) +
                      "mad.wide.u32 %rd4, %r0, 4, %rd2; ld.global.b32 %r12, [%rd4];\nbar.sync 0;\n@!%p1 bra PASSED;\n"
                      "membar.gl; red.global.add.u32 [%rd3+4], 1;\n@!%p4 bra PASSED;\nWAIT: ld.acquire.gpu.global.u32 "
                      "%r21, [%rd3+4]; setp.lt.u32 %p21, %r21, " +
                      std::to_string(count) + "; @%p21 bra WAIT;\nPASSED: bar.sync 0;\n@%p4 st.global.b32 [%rd4], 1;",
                  6);
  };
  CHECK(run(6) == nothing);
  CHECK(run(2) == race);
}

TEST_CASE("blocks that store to one place: whether they agree") {
  Grid sim;
  auto run = [&](const std::string& value) {
    return sim.of(barrier(1) + "mov.u32 %r12, " + value + "; @%p1 st.global.b32 [%rd2], %r12;\n");
  };
  CHECK(run("5") == race);
  CHECK(is_mild(sim.first()));
  CHECK(run("%r4") == race);
  CHECK(!is_mild(sim.first()));
}

TEST_CASE("findings between blocks do not depend on the number of host threads") {
  auto all = [](const char* threads, const std::string& body) {
    setenv("TILEJIT_SIMULATOR_THREADS", threads, 1);
    Grid sim;
    sim.of(body, 40);
    unsetenv("TILEJIT_SIMULATOR_THREADS");
    return to_json(sim.instrument().findings());
  };
  for (const std::string& body : {store + "membar.gl;\n" + arrive + "\n" + read_next, // nobody waits
                                  store + barrier(1) + read_next + store}) {
    const std::string one = all("1", body);
    CHECK_THAT(one, Catch::Contains("global-race"));
    for (int i = 0; i < 3; ++i) CHECK(all("4", body) == one);
  }
}
