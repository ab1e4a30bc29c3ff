// Shuffles with every kind of operand, and in a warp that has parted.
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

TEST_CASE("a shuffle from a lane that takes no part gives zero") {
  Simulator sim;
  auto got = sim.words("mov.u32 %r9, 5; and.b32 %r3, %r0, 1; setp.eq.u32 %p1, %r3, 1; add.u32 %r4, %r0, 100;\n"
                       "@%p1 shfl.sync.down.b32 %r9, %r4, 3, 31, 0xaaaaaaaa;",
                       1, 32);
  for (uint32_t i = 0; i < 32; ++i) REQUIRE(got[i] == (i % 2 == 0 ? 5 : i + 3 > 31 ? i + 100 : 0));
  got = sim.words("mov.u32 %r9, 5; and.b32 %r3, %r0, 1; setp.eq.u32 %p1, %r3, 1; mov.u32 %r4, 7;\n"
                  "@%p1 shfl.sync.idx.b32 %r9, %r4, 3, 31, 0xaaaaaaaa;",
                  1, 32);
  for (uint32_t i = 0; i < 32; ++i) REQUIRE(got[i] == (i % 2 ? 7 : 5));
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
