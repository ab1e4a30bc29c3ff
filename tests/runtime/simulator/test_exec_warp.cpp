// Operations of a whole warp: shuffles, votes, matches, reductions, special registers.
#include "tests/runtime/simulator/simulate.h"

#include <catch2/catch.hpp>

using namespace tilejit::runtime;
using namespace tilejit::runtime::simulator::test;

namespace {

struct Shuffled {
  uint32_t value;
  bool valid;
};

/// PTX ISA, "shfl.sync": the pseudocode of its description.
Shuffled shuffled(const std::string& mode, const std::vector<uint32_t>& x, uint32_t lane, uint32_t b, uint32_t c) {
  uint32_t clamp = c & 31, segment = c >> 8 & 31, offset = b & 31;
  uint32_t most = (lane & segment) | (clamp & ~segment), least = lane & segment;
  uint32_t from = 0;
  bool valid = false;
  if (mode == "up")
    from = lane - offset, valid = static_cast<int32_t>(from) >= static_cast<int32_t>(most);
  else if (mode == "down")
    from = lane + offset, valid = from <= most;
  else if (mode == "bfly")
    from = lane ^ offset, valid = from <= most;
  else
    from = least | (offset & ~segment), valid = from <= most;
  return {x[valid ? from : lane], valid};
}

} // namespace

TEST_CASE("shfl.sync in every mode, with constants and with values of each lane") {
  Simulator sim;
  std::vector<uint32_t> x(32);
  for (uint32_t i = 0; i < 32; ++i) x[i] = 1000 + i * i;
  for (std::string mode : {"up", "down", "bfly", "idx"})
    for (uint32_t width : {32u, 16u, 8u, 4u})
      for (uint32_t b : {0u, 1u, 3u, 8u, 17u, 31u})
        for (bool constant : {true, false}) {
          uint32_t c = (32 - width) << 8 | (mode == "up" ? 0 : 31);
          std::string b_text = std::to_string(b), c_text = std::to_string(c);
          std::string prologue = "mul.lo.u32 %r3, %r0, %r0; add.u32 %r3, %r3, 1000;\n";
          if (!constant) {
            prologue += "and.b32 %r4, %r0, 0; add.u32 %r4, %r4, " + b_text +
                        "; shr.u32 %r5, %r0, 4; add.u32 %r4, %r4, %r5;\n" + "mov.u32 %r6, " + c_text + ";\n";
            b_text = "%r4", c_text = "%r6";
          }
          auto got = sim.words(prologue + "shfl.sync." + mode + ".b32 %r7|%p1, %r3, " + b_text + ", " + c_text +
                                   ", -1;\nselp.u32 %r8, 0x80000000, 0, %p1; or.b32 %r9, %r7, %r8;",
                               1, 32);
          for (uint32_t lane = 0; lane < 32; ++lane) {
            Shuffled want = shuffled(mode, x, lane, constant ? b : b + lane / 16, c);
            INFO(mode << " width " << width << " b " << b << " lane " << lane << (constant ? " constant" : ""));
            REQUIRE(got[lane] == (want.value | (want.valid ? 0x80000000u : 0)));
          }
        }
}

TEST_CASE("votes, matches and reductions over a mask, in a part of the warp") {
  Simulator sim;
  // Lanes 8 to 27 take the branch; everything there names exactly them.
  auto run = [&](const std::string& body) {
    return sim.words("mov.u32 %r9, 0; mov.u32 %r30, 0x0ffffff0; sub.u32 %r3, %r0, 4; setp.ge.u32 %p1, %r3, 24;\n"
                     "@%p1 bra END;\n" +
                         body + "\nEND:",
                     1, 32);
  };
  auto inside = [](uint32_t lane) { return lane >= 4 && lane < 28; };
  struct Case {
    std::string body;
    uint32_t (*want)(uint32_t);
  } cases[] = {
      {"setp.gt.u32 %p2, %r0, 9; vote.sync.ballot.b32 %r9, %p2, %r30;",
       [](uint32_t) -> uint32_t { return 0x0ffffc00; }},
      {"setp.gt.u32 %p2, %r0, 3; vote.sync.all.pred %p3, %p2, %r30; selp.u32 %r9, 1, 2, %p3;",
       [](uint32_t) -> uint32_t { return 1; }},
      {"setp.gt.u32 %p2, %r0, 27; vote.sync.any.pred %p3, %p2, %r30; selp.u32 %r9, 1, 2, %p3;",
       [](uint32_t) -> uint32_t { return 2; }},
      {"setp.gt.u32 %p2, %r0, 5; vote.sync.uni.pred %p3, !%p2, %r30; selp.u32 %r9, 1, 2, %p3;",
       [](uint32_t) -> uint32_t { return 2; }},
      {"shr.u32 %r4, %r0, 3; match.any.sync.b32 %r9, %r4, %r30;",
       [](uint32_t i) -> uint32_t { return (0xffu << (i & ~7u)) & 0x0ffffff0; }},
      {"mov.u32 %r4, 9; match.all.sync.b32 %r9|%p4, %r4, %r30;", [](uint32_t) -> uint32_t { return 0x0ffffff0; }},
      {"shr.u32 %r4, %r0, 4; match.all.sync.b32 %r9, %r4, %r30;", [](uint32_t) -> uint32_t { return 0; }},
      {"redux.sync.add.u32 %r9, %r0, %r30;", [](uint32_t) -> uint32_t { return (4 + 27) * 12; }},
      {"sub.u32 %r4, %r0, 20; redux.sync.min.s32 %r9, %r4, %r30;",
       [](uint32_t) -> uint32_t { return static_cast<uint32_t>(-16); }},
      {"sub.u32 %r4, %r0, 20; redux.sync.max.u32 %r9, %r4, %r30;",
       [](uint32_t) -> uint32_t { return static_cast<uint32_t>(-1); }},
      {"redux.sync.xor.b32 %r9, %r0, %r30;",
       [](uint32_t) -> uint32_t {
         uint32_t x = 0;
         for (uint32_t i = 4; i < 28; ++i) x ^= i;
         return x;
       }},
      {"activemask.b32 %r9;", [](uint32_t) -> uint32_t { return 0x0ffffff0; }},
      {"elect.sync _|%p5, %r30; selp.u32 %r9, 1, 2, %p5;", [](uint32_t i) -> uint32_t { return i == 4 ? 1 : 2; }},
  };
  for (const Case& c : cases) {
    auto got = run(c.body);
    for (uint32_t i = 0; i < 32; ++i) {
      INFO(c.body << " lane " << i);
      REQUIRE(got[i] == (inside(i) ? c.want(i) : 0));
    }
  }
}

TEST_CASE("the two halves of a warp, parted, each shuffle among themselves") {
  Simulator sim;
  auto got = sim.words(R"(
    setp.lt.u32 %p1, %r0, 16; @%p1 bra LOW;
    shfl.sync.bfly.b32 %r9, %r0, 3, 31, 0xffff0000; add.u32 %r9, %r9, 100;
    bra END;
  LOW:
    shfl.sync.idx.b32 %r9, %r0, 7, 31, 0x0000ffff;
  END:)",
                       1, 32);
  for (uint32_t i = 0; i < 32; ++i) REQUIRE(got[i] == (i < 16 ? 7 : (i ^ 3) + 100));
}

TEST_CASE("special registers") {
  Simulator sim;
  auto one = [&](const std::string& name, uint32_t blocks = 3, uint32_t threads = 96) {
    return sim.words("mov.u32 %r9, " + name + ";", blocks, threads);
  };
  auto check = [&](const std::string& name, uint32_t (*want)(uint32_t block, uint32_t thread)) {
    auto got = one(name);
    for (uint32_t i = 0; i < got.size(); ++i) {
      INFO(name << " thread " << i);
      REQUIRE(got[i] == want(i / 96, i % 96));
    }
  };
  check("%tid.x", [](uint32_t, uint32_t t) { return t; });
  check("%tid.y", [](uint32_t, uint32_t) { return 0u; });
  check("%ntid.x", [](uint32_t, uint32_t) { return 96u; });
  check("%ntid.z", [](uint32_t, uint32_t) { return 1u; });
  check("%ctaid.x", [](uint32_t b, uint32_t) { return b; });
  check("%nctaid.x", [](uint32_t, uint32_t) { return 3u; });
  check("%laneid", [](uint32_t, uint32_t t) { return t % 32; });
  check("%warpid", [](uint32_t, uint32_t t) { return t / 32; });
  check("%nwarpid", [](uint32_t, uint32_t) { return 3u; });
  check("%lanemask_lt", [](uint32_t, uint32_t t) { return (1u << t % 32) - 1; });
  check("%lanemask_eq", [](uint32_t, uint32_t t) { return 1u << t % 32; });
  check("%lanemask_ge", [](uint32_t, uint32_t t) { return ~((1u << t % 32) - 1); });
  check("WARP_SZ", [](uint32_t, uint32_t) { return 32u; });
}
