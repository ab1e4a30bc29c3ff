// cp.async: copies take effect as late as they may, so that a wait that is missing is a wrong answer.
#include "tests/runtime/simulator/simulate.h"

#include <catch2/catch.hpp>

using namespace tilejit::runtime;
using namespace tilejit::runtime::simulator::test;

namespace {

/// Each thread: fills its 32 bytes of shared memory with `old`, runs `body` (%r20: its shared address, %rd20: its 32
/// bytes of p1), and stores the eight words that are then there to p0.
std::vector<uint32_t> copied(const std::string& body, const std::vector<uint32_t>& source, uint32_t threads = 64) {
  Simulator sim;
  auto from = sim.upload(source), to = sim.upload(std::vector<uint32_t>(size_t{threads} * 8));
  std::string text = "mov.u32 %r0, %tid.x; mov.u32 %r20, buffer; mad.lo.u32 %r20, %r0, 32, %r20;\n" +
                     element("%rd20", 1, "%r0", 32) + element("%rd21", 0, "%r0", 32);
  for (int i = 0; i < 8; ++i) text += "st.shared.b32 [%r20+" + std::to_string(4 * i) + "], 77;\n";
  text += body;
  for (int i = 0; i < 8; ++i)
    text += "\nld.shared.b32 %r30, [%r20+" + std::to_string(4 * i) + "]; st.global.b32 [%rd21+" +
            std::to_string(4 * i) + "], %r30;";
  sim.run(kernel_text({"u64", "u64"}, text, "sm_90a",
                      ".shared .align 16 .b8 buffer[" + std::to_string(32 * threads) + "];"),
          1, threads, {to->address(), from->address()});
  return sim.download<uint32_t>(*to);
}

std::vector<uint32_t> numbers(size_t count) {
  std::vector<uint32_t> x(count);
  for (size_t i = 0; i < count; ++i) x[i] = static_cast<uint32_t>(1000 + i);
  return x;
}

void require_rows(const std::vector<uint32_t>& got, const std::vector<int>& words) {
  for (size_t thread = 0; thread < got.size() / 8; ++thread)
    for (size_t i = 0; i < 8; ++i) {
      INFO("thread " << thread << " word " << i);
      // A word of the copy, or what was there before (-1), or a zero (-2).
      uint32_t want = words[i] == -1   ? 77
                      : words[i] == -2 ? 0
                                       : static_cast<uint32_t>(1000 + 8 * thread + static_cast<size_t>(words[i]));
      REQUIRE(got[8 * thread + i] == want);
    }
}

const std::string copy16 = "cp.async.cg.shared.global [%r20], [%rd20], 16;\n";
const std::string copy16_high = "cp.async.ca.shared.global [%r20+16], [%rd20+16], 16;\n";
const std::string commit = "cp.async.commit_group;\n";

} // namespace

TEST_CASE("a copy is not there before its wait, and is there after it") {
  auto source = numbers(64 * 8);
  require_rows(copied(copy16, source), {-1, -1, -1, -1, -1, -1, -1, -1});
  require_rows(copied(copy16 + commit, source), {-1, -1, -1, -1, -1, -1, -1, -1});
  require_rows(copied(copy16 + commit + "bar.sync 0;", source), {-1, -1, -1, -1, -1, -1, -1, -1});
  require_rows(copied(copy16 + commit + "cp.async.wait_group 0;", source), {0, 1, 2, 3, -1, -1, -1, -1});
  require_rows(copied(copy16 + "cp.async.wait_all;", source), {0, 1, 2, 3, -1, -1, -1, -1});
  // Not committed: no group covers it.
  require_rows(copied(copy16 + "cp.async.wait_group 0;", source), {-1, -1, -1, -1, -1, -1, -1, -1});
}

TEST_CASE("wait_group n leaves the n youngest groups pending") {
  auto source = numbers(64 * 8);
  std::string two = copy16 + commit + copy16_high + commit;
  require_rows(copied(two + "cp.async.wait_group 2;", source), {-1, -1, -1, -1, -1, -1, -1, -1});
  require_rows(copied(two + "cp.async.wait_group 1;", source), {0, 1, 2, 3, -1, -1, -1, -1});
  require_rows(copied(two + "cp.async.wait_group 0;", source), {0, 1, 2, 3, 4, 5, 6, 7});
  // Empty groups count.
  require_rows(copied(copy16 + commit + commit + commit + "cp.async.wait_group 2;", source),
               {0, 1, 2, 3, -1, -1, -1, -1});
  require_rows(copied(copy16 + copy16_high + commit + commit + "cp.async.wait_group 1;", source),
               {0, 1, 2, 3, 4, 5, 6, 7});
}

TEST_CASE("sizes of 4 and 8 bytes, and sources that are shorter") {
  auto source = numbers(64 * 8);
  require_rows(copied("cp.async.ca.shared.global [%r20+4], [%rd20+8], 4; cp.async.ca.shared.global [%r20+8], "
                      "[%rd20+24], 8; cp.async.wait_all;",
                      source),
               {-1, 2, 6, 7, -1, -1, -1, -1});
  require_rows(
      copied("mov.u32 %r21, 8; cp.async.cg.shared.global [%r20], [%rd20], 16, %r21; cp.async.wait_all;", source),
      {0, 1, -2, -2, -1, -1, -1, -1});
  require_rows(copied("cp.async.cg.shared.global [%r20], [%rd20], 16, 0; cp.async.wait_all;", source),
               {-2, -2, -2, -2, -1, -1, -1, -1});
  // Nothing is read of a source of size 0: the address may be anything that is aligned.
  require_rows(
      copied(
          "mov.u64 %rd22, 0; mov.u32 %r21, 0; cp.async.cg.shared.global [%r20], [%rd22], 16, %r21; cp.async.wait_all;",
          source),
      {-2, -2, -2, -2, -1, -1, -1, -1});
  require_rows(
      copied("setp.eq.u32 %p1, %r0, %r0; cp.async.cg.shared.global [%r20], [%rd20], 16, %p1; cp.async.wait_all;",
             source),
      {-2, -2, -2, -2, -1, -1, -1, -1});
}

TEST_CASE("guards and branches: each lane waits for its own groups") {
  auto source = numbers(64 * 8);
  // Odd lanes copy; all commit and wait.
  auto guarded = copied(
      "and.b32 %r21, %r0, 1; setp.eq.u32 %p1, %r21, 1; @%p1 " + copy16 + commit + "cp.async.wait_group 0;", source);
  // Lanes below 8 wait, the others do not.
  auto parted =
      copied(copy16 + commit + "setp.ge.u32 %p1, %r0, 8; @%p1 bra SKIP; cp.async.wait_group 0; SKIP:", source);
  // Lanes below 8 make a second group of which they leave the last pending; the others have but one, and leave that.
  auto groups = copied(copy16 + commit + "setp.ge.u32 %p1, %r0, 8; @%p1 bra SKIP; " + copy16_high + commit +
                           "SKIP: cp.async.wait_group 1;",
                       source);
  for (uint32_t thread = 0; thread < 64; ++thread) {
    INFO("thread " << thread);
    REQUIRE(guarded[8 * thread] == (thread % 2 ? 1000 + 8 * thread : 77));
    REQUIRE(parted[8 * thread] == (thread < 8 ? 1000 + 8 * thread : 77));
    REQUIRE(groups[8 * thread] == (thread < 8 ? 1000 + 8 * thread : 77));
    REQUIRE(groups[8 * thread + 4] == 77);
  }
}

TEST_CASE("a ring of stages: right with its wait, wrong with one that waits too little") {
  // Three stages; thread t sums word t of every tile. Group i holds tile i.
  auto run = [](const std::string& wait) {
    Simulator sim;
    std::vector<uint32_t> source(16 * 64);
    for (uint32_t i = 0; i < source.size(); ++i) source[i] = i * i;
    auto from = sim.upload(source), to = sim.upload(std::vector<uint32_t>(64));
    std::string text = R"(
    mov.u32 %r0, %tid.x; ld.param.u64 %rd1, [p1]; mad.wide.u32 %rd1, %r0, 4, %rd1; mov.u32 %r20, ring; mad.lo.u32 %r20, %r0, 4, %r20;
    mov.u32 %r1, 0; mov.u32 %r9, 0;
    cp.async.ca.shared.global [%r20], [%rd1], 4; cp.async.commit_group;
    cp.async.ca.shared.global [%r20+256], [%rd1+256], 4; cp.async.commit_group;
  LOOP:
    add.u32 %r2, %r1, 2; setp.ge.u32 %p1, %r2, 16; @%p1 bra NONE;
    rem.u32 %r3, %r2, 3; mad.lo.u32 %r4, %r3, 256, %r20; mad.wide.u32 %rd2, %r2, 256, %rd1;
    cp.async.ca.shared.global [%r4], [%rd2], 4;
  NONE:
    cp.async.commit_group;
    )" + wait + R"(
    bar.sync 0;
    rem.u32 %r3, %r1, 3; xor.b32 %r5, %r0, 63; mov.u32 %r6, ring; mad.lo.u32 %r6, %r3, 256, %r6; mad.lo.u32 %r6, %r5, 4, %r6;
    ld.shared.b32 %r7, [%r6]; add.u32 %r9, %r9, %r7;
    bar.sync 0;
    add.u32 %r1, %r1, 1; setp.lt.u32 %p2, %r1, 16; @%p2 bra LOOP;
    )" + element("%rd3", 0, "%r0", 4) +
                       "st.global.b32 [%rd3], %r9;";
    sim.run(kernel_text({"u64", "u64"}, text, "sm_90a", ".shared .align 16 .b8 ring[768];"), 1, 64,
            {to->address(), from->address()});
    return sim.download<uint32_t>(*to);
  };
  std::vector<uint32_t> want(64);
  for (uint32_t t = 0; t < 64; ++t)
    for (uint32_t tile = 0; tile < 16; ++tile) want[t] += (tile * 64 + (t ^ 63)) * (tile * 64 + (t ^ 63));
  CHECK(run("cp.async.wait_group 2;") == want);
  CHECK(run("cp.async.wait_group 3;") != want);
}
