// Races and uninitialised reads of shared memory: each bug is found, and its clean twin is not reported.
#include "tests/runtime/simulator/sanitize/planted.h"

#include <algorithm>
#include <cstdlib>

using namespace tilejit::runtime;
using namespace tilejit::runtime::simulator::test;

TEST_CASE("a thread reads what another warp writes") {
  Sanitized sim;
  auto text = [](const std::string& between) {
    return block_text("st.shared.b32 [%r3], %r0;\n" + between + "\nxor.b32 %r4, %r0, 32; shl.b32 %r4, %r4, 2;\n" +
                      "mov.u32 %r5, buffer; add.u32 %r4, %r4, %r5;\nld.shared.b32 %r6, [%r4];");
  };
  CHECK(sim.kinds(text("bar.sync 0;"), 2, 64) == nothing);
  CHECK(sim.kinds(text("barrier.sync 1, 64;"), 2, 64) == nothing);
  // The first warp reads what the second has not yet written and then writes; the second reads what the first has
  // written.
  const std::vector expected{FindingKind::shared_race, FindingKind::uninitialised, FindingKind::shared_race};
  CHECK(sim.kinds(text(""), 2, 64) == expected);
  CHECK(sim.kinds(text("bar.warp.sync -1;"), 2, 64) == expected);
}

TEST_CASE("lanes of a warp are ordered by the operations that bring them together") {
  Sanitized sim;
  auto text = [](const std::string& between) {
    return block_text("st.shared.b32 [%r3], %r0;\n" + between + "\nxor.b32 %r4, %r3, 4; ld.shared.b32 %r6, [%r4];");
  };
  for (const char* together : {"bar.warp.sync -1;", "shfl.sync.bfly.b32 %r7, %r0, 1, 31, -1;", "bar.sync 0;",
                               "vote.sync.any.pred %p1, %p2, -1;"})
    CHECK(sim.kinds(text(together), 1, 64) == nothing);
  CHECK(sim.kinds(text(""), 1, 64) == only(FindingKind::shared_race));
}

TEST_CASE("a lane executes an operation of the warp whose mask does not name it") {
  Sanitized sim;
  auto run = [&](const std::string& operation) {
    return sim.kinds(block_text("setp.lt.u32 %p1, %r2, 8; @%p1 " + operation), 1, 32);
  };
  for (const std::string operation :
       {"shfl.sync.idx.b32 %r7, %r0, 1, 31, ", "vote.sync.ballot.b32 %r7, %p1, ", "match.any.sync.b32 %r7, %r0, ",
        "redux.sync.add.s32 %r7, %r0, ", "bar.warp.sync "}) {
    INFO(operation);
    CHECK(run(operation + "0xff;") == nothing);
    CHECK(run(operation + "0x7f;") == only(FindingKind::barrier));
  }
}

TEST_CASE("parts of a warp that come together are ordered among themselves") {
  Sanitized sim;
  // Each lane stores its word, comes together with its half of the warp, and reads a word `distance` lanes away.
  auto halves = [](const std::string& together, int distance) {
    return block_text("st.shared.b32 [%r3], %r0;\n"
                      "setp.lt.u32 %p1, %r2, 16; selp.b32 %r10, 65535, -65536, %p1; mov.u32 %r11, %r10;\n" +
                      together + "\nxor.b32 %r4, %r3, " + std::to_string(4 * distance) + "; ld.shared.b32 %r6, [%r4];");
  };
  for (const char* together :
       {"bar.warp.sync %r10;", "shfl.sync.bfly.b32 %r7, %r0, 1, 31, %r10;", "vote.sync.any.pred %p2, %p1, %r10;",
        "redux.sync.add.s32 %r7, %r0, %r10;", "match.any.sync.b32 %r7, %r0, %r10;",
        "@%p1 bra LOW; bar.warp.sync 0xffff0000; bra END; LOW: bar.warp.sync 0xffff; END: bar.warp.sync %r10;"}) {
    INFO(together);
    CHECK(sim.kinds(halves(together, 1), 1, 64) == nothing);
    CHECK(sim.kinds(halves(together, 8), 1, 64) == nothing);
    CHECK(sim.kinds(halves(together, 16), 1, 64) == only(FindingKind::shared_race));
    CHECK(sim.kinds(halves(std::string(together) + "bar.warp.sync -1;", 16), 1, 64) == nothing);
  }
  // Who comes together with somebody comes after all that he came after: pairs, then pairs of pairs.
  const std::string pairs = "shr.u32 %r12, %r2, 1; shl.b32 %r12, %r12, 1; mov.u32 %r13, 3; shl.b32 %r13, %r13, %r12;\n"
                            "bar.warp.sync %r13;\n";
  const std::string others = "mov.u32 %r13, 5; and.b32 %r12, %r2, 1; shl.b32 %r13, %r13, %r12; and.b32 %r12, %r2, 28;\n"
                             "shl.b32 %r13, %r13, %r12; bar.warp.sync %r13;\n";
  for (int distance : {1, 2, 3}) CHECK(sim.kinds(halves(pairs + others, distance), 1, 32) == nothing);
  CHECK(sim.kinds(halves(others + pairs, 3), 1, 32) == nothing);
  CHECK(sim.kinds(halves(pairs, 2), 1, 32) == only(FindingKind::shared_race));
  CHECK(sim.kinds(halves(pairs + others, 4), 1, 32) == only(FindingKind::shared_race));
  // Half of a warp goes its own way.
  auto apart = [&](int distance) {
    return block_text("st.shared.b32 [%r3], %r0;\nsetp.lt.u32 %p1, %r2, 16; @!%p1 bra END; bar.warp.sync 0xffff;\n"
                      "xor.b32 %r4, %r3, " +
                      std::to_string(4 * distance) + "; ld.shared.b32 %r6, [%r4];\nEND: bar.warp.sync -1;");
  };
  CHECK(sim.kinds(apart(8), 1, 32) == nothing);
  CHECK(sim.kinds(apart(16), 1, 32) == only(FindingKind::shared_race));
}

TEST_CASE("what a lane gives away includes what the lanes did that it came together with") {
  Sanitized sim;
  // Warp 0: lanes 0 and 1 store and come together; lane 0 alone arrives, and warp 1 reads what lane `which` has stored.
  auto text = [](const std::string& together, int which) {
    return block_text("mov.u32 %r5, buffer; setp.eq.u32 %p1, %r0, 0; @%p1 mbarrier.init.shared.b64 [%r5+1024], 1;\n"
                      "bar.sync 0; setp.eq.u32 %p1, %r1, 1; @%p1 bra SECOND;\n"
                      "setp.gt.u32 %p2, %r2, 2; @%p2 bra END; st.shared.b32 [%r3], %r0;\n" +
                      together +
                      "setp.eq.u32 %p2, %r2, 0; @%p2 mbarrier.arrive.shared.b64 %rd40, [%r5+1024];\nbra END;\n"
                      "SECOND:\nmbarrier.try_wait.parity.shared.b64 %p2, [%r5+1024], 0; @!%p2 bra SECOND;\n"
                      "ld.shared.b32 %r6, [%r5+" +
                      std::to_string(4 * which) + "];\nEND:");
  };
  const std::string two = "setp.eq.u32 %p3, %r2, 2; selp.b32 %r13, 4, 3, %p3; bar.warp.sync %r13;\n";
  CHECK(sim.kinds(text(two, 0), 1, 64) == nothing);
  CHECK(sim.kinds(text(two, 1), 1, 64) == nothing);
  CHECK(sim.kinds(text(two, 2), 1, 64) == only(FindingKind::shared_race));
  CHECK(sim.kinds(text("", 1), 1, 64) == only(FindingKind::shared_race));
}

TEST_CASE("warps that store to one place: whether they agree") {
  Sanitized sim;
  // Each warp stores 32 words at the same place, two a lane.
  auto run = [&](const std::string& values, const std::string& between = "") {
    return sim.kinds(block_text("mov.u32 %r5, buffer; mad.lo.u32 %r4, %r2, 8, %r5;\n" + values + between +
                                "st.shared.v2.b32 [%r4], {%r6, %r7};\nEND:"),
                     1, 64);
  };
  CHECK(run("mov.u32 %r6, %r2; mov.u32 %r7, 9;\n") == only(FindingKind::shared_race));
  CHECK(is_mild(sim.instrument().findings()[0]));
  CHECK(run("mov.u32 %r6, %r1; mov.u32 %r7, 9;\n") == only(FindingKind::shared_race));
  CHECK(!is_mild(sim.instrument().findings()[0]));
  // Those that differ come last.
  CHECK(run("mov.u32 %r6, 5; setp.eq.u32 %p1, %r2, 31; selp.b32 %r7, %r1, 9, %p1;\n") ==
        only(FindingKind::shared_race));
  CHECK(!is_mild(sim.instrument().findings()[0]));
  // A write that agrees is none that is read too early.
  CHECK(run("mov.u32 %r6, 5; mov.u32 %r7, 9; ld.shared.b32 %r8, [%r4+4];\n").size() > 1);
  // In order.
  CHECK(run("mov.u32 %r6, %r1; mov.u32 %r7, 9; setp.eq.u32 %p1, %r1, 0;\n",
            "@%p1 st.shared.v2.b32 [%r4], {%r6, %r7}; bar.sync 0; @%p1 bra END;\n") == nothing);
}

TEST_CASE("warps that store a matrix to one place: whether they agree") {
  Sanitized sim;
  // Two matrices a warp; element [r][c] of the first is r in all copies, of the second the warp or 7.
  auto run = [&](const std::string& modifiers, const std::string& second, const std::string& row) {
    return sim.kinds(block_text("mov.u32 %r5, buffer; and.b32 %r4, %r2, 15; mad.lo.u32 %r4, %r4, 16, %r5;\n"
                                "shr.u32 %r6, %r2, 2; mul.lo.u32 %r6, %r6, 65537; mad.lo.u32 %r7, " +
                                second + ", 65537, 0;\n" + row + "stmatrix.sync.aligned.m8n8.x2" + modifiers +
                                ".shared.b16 [%r4], {%r6, %r7};"),
                     1, 64);
  };
  for (const std::string modifiers : {"", ".trans"}) {
    CHECK(run(modifiers, "7", "") == only(FindingKind::shared_race));
    CHECK(is_mild(sim.instrument().findings()[0]));
    CHECK(run(modifiers, "%r1", "") == only(FindingKind::shared_race));
    CHECK(!is_mild(sim.instrument().findings()[0]));
    // The last element of the last row alone.
    CHECK(run(modifiers, "7", "setp.eq.u32 %p1, %r0, 63; selp.b32 %r7, 9, %r7, %p1;\n") ==
          only(FindingKind::shared_race));
    CHECK(!is_mild(sim.instrument().findings()[0]));
  }
}

TEST_CASE("fragments of wmma are read and written like anything else") {
  Sanitized sim;
  const std::string registers = "{%r6, %r7, %r8, %r9, %r10, %r11, %r12, %r13}", shape = ".sync.aligned.row.m16n16k16";
  const std::string load = "wmma.load.a" + shape + ".shared.f16 " + registers + ", [%r5];\n",
                    store = "wmma.store.d" + shape + ".shared.f32 [%r5], " + registers + ";\n";
  auto text = [&](const std::string& first, const std::string& between, const std::string& second) {
    std::string values = "mov.u32 %r5, buffer; setp.eq.u32 %p1, %r1, 0;\n";
    for (int r = 6; r < 14; ++r) values += "mov.u32 %r" + std::to_string(r) + ", %r0;\n";
    return block_text(values + "@%p1 bra FIRST;\n" + between + second + "bra END;\nFIRST:\n" + first + between +
                      "END:");
  };
  // 256 floats, of which the second warp reads the last; it also reads one behind them.
  const std::string read = "ld.shared.b32 %r14, [%r5+1020];\n", behind = "ld.shared.b32 %r14, [%r5+1024];\n";
  CHECK(sim.kinds(text(store, "bar.sync 0;\n", read), 1, 64) == nothing);
  CHECK(sim.kinds(text(store, "", read), 1, 64) == only(FindingKind::shared_race));
  CHECK(sim.kinds(text(store, "bar.sync 0;\n", behind), 1, 64) == only(FindingKind::uninitialised));
  CHECK(sim.kinds(text(store, "bar.sync 0;\n", load), 1, 64) == nothing);
  CHECK(sim.kinds(text(store, "", load), 1, 64) == only(FindingKind::shared_race));
  CHECK(sim.kinds(text("", "", load), 1, 64) == only(FindingKind::uninitialised));
  // The warp itself: the lanes of a matrix instruction come together.
  CHECK(sim.kinds(text(store + load, "", ""), 1, 64) == nothing);
  // Two warps store to one place.
  CHECK(sim.kinds(text(store, "", store), 1, 64) == only(FindingKind::shared_race));
  // A matrix that others still read.
  CHECK(sim.kinds(text(store + "bar.sync 0;\n" + load, "", "bar.sync 0; st.shared.b32 [%r5+8], %r1;\n"), 1, 64) ==
        only(FindingKind::shared_race));
}

TEST_CASE("a buffer that is written again while it is still read") {
  Sanitized sim;
  auto text = [](const std::string& between) {
    return block_text("st.shared.b32 [%r3], %r0; bar.sync 0;\n"
                      "xor.b32 %r4, %r0, 32; shl.b32 %r4, %r4, 2; mov.u32 %r5, buffer; add.u32 %r4, %r4, %r5;\n"
                      "mov.u32 %r8, 0;\nLOOP:\nld.shared.b32 %r6, [%r4];\n" +
                      between + "\nst.shared.b32 [%r3], %r6;\nbar.sync 0;\n" +
                      "add.u32 %r8, %r8, 1; setp.lt.u32 %p1, %r8, 5; @%p1 bra LOOP;");
  };
  CHECK(sim.kinds(text("bar.sync 1;"), 3, 64) == nothing);
  CHECK(sim.kinds(text(""), 3, 64).at(0) == FindingKind::shared_race);
  const Finding& f = sim.instrument().findings()[0];
  CHECK(f.ptx_line != f.other_ptx_line);
  CHECK_THAT(f.message, Catch::Contains("st.shared.b32 [%r3], %r6;"));
  CHECK_THAT(f.message, Catch::Contains("ld.shared.b32 %r6, [%r4];"));
}

TEST_CASE("named barriers: those who arrive release, those who wait acquire") {
  Sanitized sim;
  // Warp 0 writes and arrives, warp 1 waits and reads; then the other way through barrier 2.
  auto text = [](const std::string& back) {
    return block_text("setp.eq.u32 %p1, %r1, 0; mov.u32 %r5, buffer; mad.lo.u32 %r5, %r2, 4, %r5; @%p1 bra FIRST;\n"
                      "bar.sync 1, 64; ld.shared.b32 %r6, [%r5];\n" +
                      back + " bra END;\nFIRST: st.shared.b32 [%r5], %r0; bar.arrive 1, 64; bar.sync 2, 64;\n" +
                      "st.shared.b32 [%r5], %r1;\nEND:");
  };
  CHECK(sim.kinds(text("bar.arrive 2, 64;"), 1, 64) == nothing);
  // The reader lets the writer go before it reads.
  std::string early =
      block_text("setp.eq.u32 %p1, %r1, 0; mov.u32 %r5, buffer; mad.lo.u32 %r5, %r2, 4, %r5; @%p1 bra FIRST;\n"
                 "bar.sync 1, 64; bar.arrive 2, 64; ld.shared.b32 %r6, [%r5]; bra END;\n"
                 "FIRST: st.shared.b32 [%r5], %r0; bar.arrive 1, 64; bar.sync 2, 64; st.shared.b32 [%r5], %r1;\nEND:");
  CHECK(sim.kinds(early, 1, 64) == only(FindingKind::shared_race));
}

TEST_CASE("memory that nobody has written") {
  Sanitized sim;
  CHECK(sim.kinds(block_text("ld.shared.b32 %r6, [%r3];"), 2, 32) == only(FindingKind::uninitialised));
  CHECK(sim.kinds(block_text("st.shared.b32 [%r3], %r0; ld.shared.b32 %r6, [%r3];"), 2, 32) == nothing);
  // Every second word is written.
  CHECK(sim.kinds(block_text("and.b32 %r4, %r0, 1; setp.eq.u32 %p1, %r4, 0; @%p1 st.shared.b32 [%r3], %r0;\n"
                             "ld.shared.b32 %r6, [%r3];"),
                  1, 32) == only(FindingKind::uninitialised));
}

TEST_CASE("one store, two lanes, one place") {
  Sanitized sim;
  auto text = [](const std::string& value) { return block_text("st.shared.b32 [buffer], " + value + ";"); };
  CHECK(sim.kinds(text("%r1"), 1, 32) == nothing);
  CHECK(sim.kinds(text("%r2"), 1, 32) == only(FindingKind::shared_race));
}

TEST_CASE("neighbouring bytes are not one place") {
  Sanitized sim;
  auto text = [](int step) {
    return block_text("mov.u32 %r4, buffer; mad.lo.u32 %r4, %r0, " + std::to_string(step) +
                      ", %r4; st.shared.u16 [%r4], %r0;\n"
                      "setp.ne.u32 %p1, %r0, 0; @%p1 bra END; ld.shared.u16 %r5, [buffer];\nEND:");
  };
  CHECK(sim.kinds(text(2), 1, 64) == nothing);
  CHECK(sim.kinds(text(0), 1, 64).at(0) == FindingKind::shared_race);
}

TEST_CASE("atomics do not race with each other, but with plain accesses") {
  Sanitized sim;
  auto text = [](const std::string& before, const std::string& after) {
    return block_text("setp.ne.u32 %p1, %r0, 0; @%p1 bra A; st.shared.b32 [buffer], 0;\nA: " + before +
                      "atom.shared.add.u32 %r4, [buffer], 1;\n" + after + "ld.shared.b32 %r5, [buffer];");
  };
  CHECK(sim.kinds(text("bar.sync 0;", "bar.sync 0;"), 1, 96) == nothing);
  CHECK(sim.kinds(text("", "bar.sync 0;"), 1, 96) != nothing);
  CHECK(sim.kinds(text("bar.sync 0;", ""), 1, 96) != nothing);
}

TEST_CASE("a flag with release and acquire orders what was written before it") {
  Sanitized sim;
  auto text = [](const std::string& publish, const std::string& look) {
    return block_text("setp.eq.u32 %p1, %r0, 0; @%p1 st.volatile.shared.b32 [buffer+1024], 0; bar.sync 0;\n"
                      "setp.eq.u32 %p2, %r1, 0; @%p2 bra WRITE;\n"
                      "WAIT: " +
                      look +
                      " %r4, [buffer+1024]; setp.eq.u32 %p3, %r4, 0; @%p3 bra WAIT;\n"
                      "ld.shared.b32 %r5, [buffer]; bra END;\n"
                      "WRITE: @%p1 st.shared.b32 [buffer], 7;\n" +
                      publish + "\nEND:");
  };
  CHECK(sim.kinds(text("@%p1 st.release.cta.shared.b32 [buffer+1024], 1;", "ld.acquire.cta.shared.b32"), 1, 64) ==
        nothing);
  CHECK(sim.kinds(text("membar.cta; @%p1 st.volatile.shared.b32 [buffer+1024], 1;", "ld.volatile.shared.b32"), 1, 64) ==
        nothing);
  CHECK(sim.kinds(text("@%p1 st.volatile.shared.b32 [buffer+1024], 1;", "ld.volatile.shared.b32"), 1, 64) ==
        only(FindingKind::shared_race));
}

TEST_CASE("copies: waited for, told to the others, and none left") {
  Sanitized sim;
  auto source = sim.upload(std::vector<uint32_t>(256, 5));
  auto text = [](const std::string& wait, const std::string& barrier, const std::string& rest = "") {
    return block_text("ld.param.u64 %rd1, [p0]; mul.wide.u32 %rd2, %r0, 16; add.u64 %rd1, %rd1, %rd2;\n"
                      "mov.u32 %r4, buffer; mad.lo.u32 %r5, %r0, 16, %r4; xor.b32 %r6, %r0, 32;"
                      "mad.lo.u32 %r6, %r6, 16, %r4;\n"
                      "cp.async.cg.shared.global [%r5], [%rd1], 16;\ncp.async.commit_group;\n" +
                          wait + barrier + "\nld.shared.b32 %r7, [%r6];\n" + rest,
                      {"u64"});
  };
  auto run = [&](const std::string& ptx) { return sim.kinds(ptx, 1, 64, {source->address()}); };
  CHECK(run(text("cp.async.wait_group 0;", "bar.sync 0;")) == nothing);
  CHECK(run(text("", "bar.sync 0;", "cp.async.wait_group 0;")) == only(FindingKind::async_hazard));
  CHECK(run(text("cp.async.wait_group 1;", "bar.sync 0;", "cp.async.wait_all;")) == only(FindingKind::async_hazard));
  // Waited for, but the other warp is not told.
  CHECK(run(text("cp.async.wait_group 0;", "")).size() >= 1);
  // Nobody waits.
  CHECK(run(block_text("ld.param.u64 %rd1, [p0]; cp.async.ca.shared.global [buffer], [%rd1], 4;", {"u64"})).back() ==
        FindingKind::async_hazard);
}

TEST_CASE("a copy into a buffer that another warp still reads") {
  Sanitized sim;
  auto source = sim.upload(std::vector<uint32_t>(1024, 5));
  auto text = [](const std::string& barrier) {
    return block_text("ld.param.u64 %rd1, [p0]; st.shared.b32 [%r3], %r0; bar.sync 0;\n"
                      "xor.b32 %r4, %r0, 32; shl.b32 %r4, %r4, 2; mov.u32 %r5, buffer; add.u32 %r4, %r4, %r5;\n"
                      "ld.shared.b32 %r6, [%r4];\n" +
                          barrier +
                          "\ncp.async.ca.shared.global [%r3], [%rd1], 4;\n"
                          "cp.async.wait_all;",
                      {"u64"});
  };
  CHECK(sim.kinds(text("bar.sync 0;"), 1, 64, {source->address()}) == nothing);
  auto found = sim.kinds(text(""), 1, 64, {source->address()});
  CHECK(std::count(found.begin(), found.end(), FindingKind::shared_race) == 1);
}

TEST_CASE("findings are the same for any number of host threads, and not repeated") {
  auto all = [](const char* threads) {
    setenv("TILEJIT_SIMULATOR_THREADS", threads, 1);
    Sanitized sim;
    sim.kinds(block_text("mov.u32 %r7, %ctaid.x; setp.lt.u32 %p1, %r7, 5; @%p1 bra END; st.shared.b32 [%r3], %r0;\n"
                         "xor.b32 %r4, %r3, 128; ld.shared.b32 %r6, [%r4];\nxor.b32 %r4, %r3, 4;\n"
                         "ld.shared.b32 %r6, [%r4];\nEND:"),
              40, 64);
    unsetenv("TILEJIT_SIMULATOR_THREADS");
    return to_json(sim.instrument().findings());
  };
  std::string one = all("1");
  CHECK_THAT(one, Catch::Contains("\"block\": [5, 0, 0]"));
  CHECK(one.find("[6, 0, 0]") == std::string::npos);
  for (int i = 0; i < 5; ++i) CHECK(all("4") == one);
}

TEST_CASE("padding that is loaded with a vector and used by nobody may be uninitialised") {
  Sanitized sim;
  auto run = [&](const std::string& use) {
    return sim.kinds(
        block_text("mov.u32 %r4, buffer; mad.lo.u32 %r4, %r2, 16, %r4; st.shared.v2.b32 [%r4], {%r0, %r0}; "
                   "st.shared.b32 [%r4+8], %r0;\nld.shared.v4.b32 {%r5, %r6, %r7, %r8}, [%r4];\n" +
                   use),
        1, 32);
  };
  CHECK(run("add.u32 %r9, %r5, %r7;") == nothing);
  CHECK(run("add.u32 %r9, %r5, %r8;") == only(FindingKind::uninitialised));
}
