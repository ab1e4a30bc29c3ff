// Control flow: lanes that part and meet again, exits, barriers, and what is reported when they are misused.
#include "tests/runtime/simulator/simulate.h"

#include <catch2/catch.hpp>

using namespace tilejit::runtime;
using namespace tilejit::runtime::simulator::test;

namespace {

void require_words(const std::vector<uint32_t>& got, uint32_t (*want)(uint32_t)) {
  for (uint32_t i = 0; i < got.size(); ++i) {
    INFO("thread " << i);
    REQUIRE(got[i] == want(i));
  }
}

} // namespace

TEST_CASE("if and else, nested") {
  Simulator sim;
  auto got = sim.words(R"(
    and.b32 %r3, %r0, 1; setp.eq.u32 %p1, %r3, 0;
    and.b32 %r4, %r0, 2; setp.eq.u32 %p2, %r4, 0;
    @%p1 bra EVEN;
    mul.lo.u32 %r9, %r0, 3;
    @%p2 bra ODD_LOW;
    add.u32 %r9, %r9, 1000;
    bra JOIN_ODD;
  ODD_LOW:
    add.u32 %r9, %r9, 2000;
  JOIN_ODD:
    add.u32 %r9, %r9, 5;
    bra JOIN;
  EVEN:
    add.u32 %r9, %r0, 100;
    @!%p2 bra JOIN;
    xor.b32 %r9, %r9, 0x10000;
  JOIN:
    add.u32 %r9, %r9, 7;)",
                       2, 96);
  require_words(got, [](uint32_t i) -> uint32_t {
    uint32_t x;
    if (i % 2)
      x = 3 * i + (i & 2 ? 1000 : 2000) + 5;
    else
      x = (i + 100) ^ (i & 2 ? 0 : 0x10000);
    return x + 7;
  });
}

TEST_CASE("loops whose lanes make different numbers of trips, one in the other, with a break") {
  Simulator sim;
  auto got = sim.words(R"(
    rem.u32 %r3, %r0, 7;      // trips of the outer loop
    mov.u32 %r9, 0;
    mov.u32 %r4, 0;
    mov.u32 %r10, 0;          // a counter that is the same in all lanes that are still in the loop
  OUTER:
    setp.ge.u32 %p1, %r4, %r3;
    @%p1 bra DONE;
    mov.u32 %r5, 0;
  INNER:
    mad.lo.u32 %r9, %r5, %r4, %r9;
    add.u32 %r9, %r9, 1;
    setp.gt.u32 %p2, %r9, 40; // the break
    @%p2 bra LEFT;
    add.u32 %r5, %r5, 1;
    setp.le.u32 %p3, %r5, %r0;
    @%p3 bra INNER;
  LEFT:
    add.u32 %r4, %r4, 1;
    add.u32 %r10, %r10, 3;
    bra OUTER;
  DONE:
    mad.lo.u32 %r9, %r9, 1000, %r10;)",
                       1, 128);
  require_words(got, [](uint32_t i) {
    uint32_t x = 0, counter = 0;
    for (uint32_t o = 0; o < i % 7; ++o) {
      for (uint32_t n = 0;;) {
        x += n * o + 1;
        if (x > 40) break;
        if (++n > i) break;
      }
      counter += 3;
    }
    return x * 1000 + counter;
  });
}

TEST_CASE("lanes that have parted meet again before a shuffle of the whole warp") {
  Simulator sim;
  auto got = sim.words(R"(
    and.b32 %r3, %r0, 3; mov.u32 %r9, %r0; mov.u32 %r4, 0;
  LOOP:
    setp.ge.u32 %p1, %r4, %r3;
    @%p1 bra OUT;
    add.u32 %r9, %r9, 100; add.u32 %r4, %r4, 1;
    bra LOOP;
  OUT:
    shfl.sync.bfly.b32 %r9, %r9, 1, 0x1f, -1;)",
                       1, 64);
  require_words(got, [](uint32_t i) { return (i ^ 1) + 100 * ((i ^ 1) & 3); });
}

TEST_CASE(
    "threads that end early: by ret in a branch, by a guarded exit, in a block that is no whole number of warps") {
  Simulator sim;
  std::vector<uint32_t> zero(80, 0);
  auto out = sim.upload(zero);
  std::string body = thread_index + element("%rd1", 0, "%r0", 4) + R"(
    setp.ge.u32 %p1, %r2, 35; @%p1 bra END;
    and.b32 %r4, %r2, 1; setp.eq.u32 %p2, %r4, 1;
    st.global.b32 [%rd1], 1;
    @%p2 exit;
    bar.sync 0;
    st.global.b32 [%rd1], 2;
  END:)";
  sim.run(kernel_text({"u64"}, body), 2, 40, {out->address()});
  auto got = sim.download<uint32_t>(*out);
  for (uint32_t i = 0; i < 80; ++i) {
    INFO("thread " << i);
    REQUIRE(got[i] == (i % 40 >= 35 ? 0u : i % 2 ? 1u : 2u));
  }
}

TEST_CASE("a table of branches") {
  Simulator sim;
  auto got = sim.words(R"(
    and.b32 %r3, %r0, 3;
    mov.u32 %r9, 0;
  table: .branchtargets A, B, C, B;
    brx.idx %r3, table;
  A: add.u32 %r9, %r9, 1;
  B: add.u32 %r9, %r9, 10;
  C: add.u32 %r9, %r9, 100;)",
                       1, 64);
  require_words(got, [](uint32_t i) -> uint32_t { return i % 4 == 0 ? 111 : i % 4 == 2 ? 100 : 110; });
}

TEST_CASE("values that are the same in all lanes, after lanes have ended and inside of branches") {
  Simulator sim;
  auto got = sim.words(R"(
    mov.u32 %r9, 0;
    setp.eq.u32 %p1, %r2, 5; @%p1 exit;
    mov.u32 %r10, %ctaid.x; add.u32 %r10, %r10, 4;
    mov.u32 %r11, 0;
  LOOP:
    mul.lo.u32 %r12, %r11, %r10;
    add.u32 %r9, %r9, %r12;
    add.u32 %r11, %r11, 1;
    setp.lt.u32 %p2, %r11, %r10;
    @%p2 bra LOOP;
    setp.gt.u32 %p3, %r2, 16; @%p3 bra SKIP;
    mov.u32 %r13, %ntid.x; mad.lo.u32 %r9, %r13, %r13, %r9;
  SKIP:)",
                       3, 64);
  for (uint32_t b = 0; b < 3; ++b)
    for (uint32_t t = 0; t < 64; ++t) {
      uint32_t want = 0, n = b + 4;
      for (uint32_t i = 0; i < n; ++i) want += i * n;
      if (t <= 16) want += 64 * 64;
      if (t == 5) want = 0xdeadbeef; // never stored
      INFO("block " << b << " thread " << t);
      REQUIRE(got[b * 64 + t] == want);
    }
}

TEST_CASE("barriers order the shared memory of a block over many rounds") {
  Simulator sim;
  auto got = sim.words(R"(
    mov.u32 %r20, buffer;
    mad.lo.u32 %r21, %r2, 4, %r20;        // mine
    add.u32 %r22, %r2, 33; rem.u32 %r22, %r22, 160; mad.lo.u32 %r22, %r22, 4, %r20; // another warp's
    mov.u32 %r9, %r2; mov.u32 %r23, 0;
  LOOP:
    st.shared.b32 [%r21], %r9;
    bar.sync 0;
    ld.shared.b32 %r24, [%r22];
    bar.sync 0;
    mad.lo.u32 %r9, %r24, 3, %r9;
    add.u32 %r23, %r23, 1;
    setp.lt.u32 %p1, %r23, 20;
    @%p1 bra LOOP;)",
                       2, 160, 0, ".shared .align 4 .b8 buffer[640];");
  std::vector<uint32_t> x(160), y(160);
  for (uint32_t i = 0; i < 160; ++i) x[i] = i;
  for (int round = 0; round < 20; ++round) {
    for (uint32_t i = 0; i < 160; ++i) y[i] = x[i] + 3 * x[(i + 33) % 160];
    x = y;
  }
  for (uint32_t i = 0; i < 320; ++i) REQUIRE(got[i] == x[i % 160]);
}

TEST_CASE("named barriers: producers arrive, consumers wait") {
  Simulator sim;
  // Warps 0 and 1 produce into a buffer of one, warps 2 and 3 consume: barrier 1 is "full", barrier 2 is "empty".
  auto got = sim.words(R"(
    mov.u32 %r20, buffer; mov.u32 %r21, 0; mov.u32 %r9, 0;
    setp.ge.u32 %p1, %r2, 64; @%p1 bra CONSUME;
    mad.lo.u32 %r22, %r2, 4, %r20;
  PRODUCE:
    mad.lo.u32 %r23, %r21, 1000, %r2;
    st.shared.b32 [%r22], %r23;
    bar.arrive 1, 128;
    bar.sync 2, 128;
    add.u32 %r21, %r21, 1; setp.lt.u32 %p2, %r21, 5; @%p2 bra PRODUCE;
    bra END;
  CONSUME:
    sub.u32 %r24, %r2, 64; xor.b32 %r24, %r24, 33; mad.lo.u32 %r22, %r24, 4, %r20;
  NEXT:
    bar.sync 1, 128;
    ld.shared.b32 %r23, [%r22];
    add.u32 %r9, %r9, %r23;
    bar.arrive 2, 128;
    add.u32 %r21, %r21, 1; setp.lt.u32 %p2, %r21, 5; @%p2 bra NEXT;
  END:)",
                       1, 128, 0, ".shared .align 4 .b8 buffer[256];");
  for (uint32_t i = 0; i < 128; ++i) {
    INFO("thread " << i);
    REQUIRE(got[i] == (i < 64 ? 0 : 5 * ((i - 64) ^ 33) + 1000 * (0 + 1 + 2 + 3 + 4)));
  }
}

TEST_CASE("barriers that reduce") {
  Simulator sim;
  auto got = sim.words(R"(
    setp.lt.u32 %p1, %r2, 70;
    bar.red.popc.u32 %r3, 0, %p1;
    bar.red.and.pred %p2, 0, %p1;
    bar.red.or.pred %p3, 1, %p1;
    selp.u32 %r4, 1000, 0, %p2;
    selp.u32 %r5, 10000, 0, %p3;
    add.u32 %r9, %r3, %r4; add.u32 %r9, %r9, %r5;)",
                       1, 96);
  require_words(got, [](uint32_t) -> uint32_t { return 70 + 0 + 10000; });
}

TEST_CASE("warps of a block may wait for each other, and lanes of a warp too") {
  Simulator sim;
  auto across = sim.words(R"(
    mov.u32 %r20, flag; mov.u32 %r9, 7;
    st.shared.b32 [%r20], 0; bar.sync 0;
    setp.ge.u32 %p1, %r2, 32; @%p1 bra SET;
  WAIT:
    ld.volatile.shared.b32 %r21, [%r20]; setp.eq.u32 %p2, %r21, 0; @%p2 bra WAIT;
    mov.u32 %r9, %r21;
    bra END;
  SET:
    st.volatile.shared.b32 [%r20], 42;
  END:)",
                          1, 64, 0, ".shared .align 4 .b8 flag[4];");
  require_words(across, [](uint32_t i) -> uint32_t { return i < 32 ? 42 : 7; });
  auto within = sim.words(R"(
    mov.u32 %r20, flag; mov.u32 %r9, 7;
    st.shared.b32 [%r20], 0; bar.sync 0;
    setp.ne.u32 %p1, %r2, 31; @!%p1 bra SET;
  WAIT:
    ld.volatile.shared.b32 %r21, [%r20]; setp.eq.u32 %p2, %r21, 0; @%p2 bra WAIT;
    mov.u32 %r9, %r21;
    bra END;
  SET:
    st.volatile.shared.b32 [%r20], 43;
  END:)",
                          1, 32, 0, ".shared .align 4 .b8 flag[4];");
  require_words(within, [](uint32_t i) -> uint32_t { return i < 31 ? 43 : 7; });
}

TEST_CASE("a block that can't go on is reported, with what it waits for") {
  Simulator sim;
  // 64 threads, but the barrier expects 96.
  std::string wait = sim.error_of(kernel_text({}, "bar.sync 3, 96;"), 1, 64, {});
  CHECK_THAT(wait, Catch::Contains("deadlock"));
  CHECK_THAT(wait, Catch::Contains("barrier 3"));
  // Two warps at two barriers, each for both.
  std::string crossed = sim.error_of(
      kernel_text(
          {},
          "mov.u32 %r0, %tid.x; setp.lt.u32 %p1, %r0, 32; @%p1 bra A; bar.sync 1, 64; bra B; A: bar.sync 2, 64; B:"),
      1, 64, {});
  CHECK_THAT(crossed, Catch::Contains("deadlock"));
  // Half of a warp waits at the barrier of the block, the other half at another: aligned barriers need the whole warp.
  std::string divergent = sim.error_of(
      kernel_text({},
                  "mov.u32 %r0, %tid.x; setp.lt.u32 %p1, %r0, 16; @%p1 bra A; bar.sync 1; bra B; A: bar.sync 2; B:"),
      1, 32, {});
  CHECK(divergent != "");
  // Unaligned ones are for threads, but the threads of a warp are at one barrier at a time.
  std::string apart =
      sim.error_of(kernel_text({}, "mov.u32 %r0, %tid.x; and.b32 %r1, %r0, 31; setp.lt.u32 %p1, %r1, 16; @%p1 bra A;\n"
                                   "barrier.sync 1, 32; bra B; A: barrier.sync 2, 32; B:"),
                   1, 64, {});
  CHECK_THAT(apart, Catch::Contains("a warp can be at one barrier only"));
  // A shuffle whose mask names lanes that never come.
  std::string shuffle = sim.error_of(
      kernel_text({}, "mov.u32 %r0, %tid.x; setp.lt.u32 %p1, %r0, 16; @%p1 bra A;\n"
                      "shfl.sync.bfly.b32 %r1, %r0, 1, 31, -1; bra B; A: bar.warp.sync 0xffff; B: bar.sync 0;"),
      1, 32, {});
  CHECK(shuffle != "");
  // The device works on.
  CHECK(sim.words("mov.u32 %r9, 5;", 1, 32)[31] == 5);
}

TEST_CASE("trap ends the launch with the place of it") {
  Simulator sim;
  std::string text =
      sim.error_of(kernel_text({}, "mov.u32 %r0, %tid.x; setp.eq.u32 %p1, %r0, 37; @%p1 trap;"), 4, 64, {});
  CHECK_THAT(text, Catch::Contains("trap"));
  CHECK_THAT(text, Catch::Contains("(37, 0, 0)"));
  CHECK_THAT(text, Catch::Contains("line 8"));
}
