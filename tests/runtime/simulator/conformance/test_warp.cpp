// Operations of a whole warp: shuffles, votes, matches, reductions. PTX ISA 9.7.9 "shfl.sync", 9.7.13 "vote.sync",
// "match.sync", "activemask", "redux.sync", "elect.sync".
#include "tests/runtime/simulator/conformance/run_lanes.h"

#include <bit>
#include <catch2/catch.hpp>
#include <map>
#include <random>

using namespace tilejit;
using namespace tilejit::conformance;

namespace {

struct Shuffled {
  int source;
  bool in_range;
};

/// The manual's pseudocode.
Shuffled shuffle(const std::string& mode, int lane, uint32_t b, uint32_t c) {
  int bval = static_cast<int>(b & 0x1f), cval = static_cast<int>(c & 0x1f), segment = static_cast<int>(c >> 8 & 0x1f);
  int max_lane = (lane & segment) | (cval & ~segment & 0x1f), min_lane = lane & segment, j = 0;
  bool p = false;
  if (mode == "up") j = lane - bval, p = j >= max_lane;
  if (mode == "down") j = lane + bval, p = j <= max_lane;
  if (mode == "bfly") j = lane ^ bval, p = j <= max_lane;
  if (mode == "idx") j = min_lane | (bval & ~segment & 0x1f), p = j <= max_lane;
  return {p ? j : lane, p};
}

std::vector<uint32_t> random_words(size_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<uint32_t> words(n);
  for (uint32_t& w : words) w = random();
  return words;
}

/// `instruction` only where the lane is in `members`.
std::string among(uint32_t members, const std::string& instruction) {
  return "mov.u32 %r200, " + std::to_string(members) +
         ";\nshr.u32 %r201, %r200, %r0;\nand.b32 %r201, %r201, 1;\n"
         "setp.eq.u32 %p9, %r201, 0;\n@%p9 bra SKIP;\n" +
         instruction + "\nSKIP:\n";
}

constexpr uint32_t member_masks[] = {0xffffffff, 0x0000ffff, 0xaaaaaaaa, 0x80000001, 0x00000010, 0x7ffffffe};

} // namespace

TEST_CASE("shuffles") {
  auto device = runtime::open_device("simulator:sm_100a");
  for (std::string mode : {"up", "down", "bfly", "idx"})
    for (uint32_t c : {0x1fu, 0x0u, 0x181fu, 0x1e1fu, 0x1000u, 0x1c07u, 0x0010u})
      for (int kind = 0; kind < 3; ++kind) { // b: a constant, the same for all lanes, one for each
        for (uint32_t b : {0u, 1u, 2u, 3u, 4u, 7u, 8u, 16u, 21u, 31u}) {
          auto input = random_words(64, b + c);
          for (uint32_t lane = 0; lane < 32; ++lane) input[2 * lane + 1] = kind == 2 ? input[2 * lane + 1] & 31 : b;
          std::string source = kind == 0 ? std::to_string(b) : "%r2";
          if (kind == 1) input[1] = b;
          std::string body = "ld.global.b32 %r1, [%rd1];\nld.global.b32 %r2, [%rd1+4];\n";
          if (kind == 1) body += "shfl.sync.idx.b32 %r2, %r2, 0, 31, -1;\n";
          body += "shfl.sync." + mode + ".b32 %r3|%p1, %r1, " + source + ", " + std::to_string(c) +
                  ", -1;\nselp.b32 %r4, 1, 0, %p1;\nst.global.b32 [%rd2], %r3;\nst.global.b32 [%rd2+4], %r4;\n";
          auto out = run_lanes(*device, "", body, input, 2);
          for (int lane = 0; lane < 32; ++lane) {
            auto l = static_cast<size_t>(lane);
            Shuffled expected = shuffle(mode, lane, input[2 * l + 1], c);
            INFO("shfl.sync." << mode << " b " << input[2 * l + 1] << " c " << c << " lane " << lane);
            REQUIRE(out[2 * l] == input[2 * static_cast<size_t>(expected.source)]);
            REQUIRE(out[2 * l + 1] == uint32_t{expected.in_range});
          }
        }
      }
}

TEST_CASE("votes, activemask, elect: among any members") {
  auto device = runtime::open_device("simulator:sm_100a");
  for (uint32_t members : member_masks)
    for (uint32_t pattern : {0u, 0xffffffffu, 0x12345678u, members}) {
      std::vector<uint32_t> input(32);
      for (uint32_t lane = 0; lane < 32; ++lane) input[lane] = pattern >> lane & 1;
      std::string mask = std::to_string(members);
      auto out = run_lanes(
          *device, "",
          "ld.global.b32 %r1, [%rd1];\nsetp.ne.s32 %p1, %r1, 0;\n" +
              among(members, "vote.sync.all.pred %p2, %p1, " + mask + ";\nvote.sync.any.pred %p3, %p1, " + mask +
                                 ";\nvote.sync.uni.pred %p4, %p1, " + mask + ";\nvote.sync.ballot.b32 %r2, %p1, " +
                                 mask + ";\nvote.sync.ballot.b32 %r3, !%p1, " + mask +
                                 ";\nactivemask.b32 %r4;\nelect.sync %r5|%p5, " + mask +
                                 ";\nselp.b32 %r6, 1, 0, %p2;\nselp.b32 %r7, 1, 0, %p3;\nselp.b32 %r8, 1, 0, "
                                 "%p4;\nselp.b32 %r9, 1, 0, %p5;\n"
                                 "st.global.b32 [%rd2], %r2;\nst.global.b32 [%rd2+4], %r3;\nst.global.b32 [%rd2+8], "
                                 "%r4;\nst.global.b32 [%rd2+12], %r5;\n"
                                 "st.global.b32 [%rd2+16], %r6;\nst.global.b32 [%rd2+20], %r7;\nst.global.b32 "
                                 "[%rd2+24], %r8;\nst.global.b32 [%rd2+28], %r9;"),
          input, 8);
      auto leader = static_cast<uint32_t>(std::countr_zero(members));
      for (uint32_t lane = 0; lane < 32; ++lane) {
        if (!(members >> lane & 1)) continue;
        const uint32_t* o = &out[8 * lane];
        INFO("members " << members << " pattern " << pattern << " lane " << lane);
        CHECK(o[0] == (pattern & members));
        CHECK(o[1] == (~pattern & members));
        CHECK(o[2] == members);
        CHECK(o[3] == leader);
        CHECK(o[4] == uint32_t{(pattern & members) == members});
        CHECK(o[5] == uint32_t{(pattern & members) != 0});
        CHECK(o[6] == uint32_t{(pattern & members) == 0 || (pattern & members) == members});
        CHECK(o[7] == uint32_t{lane == leader});
      }
    }
}

TEST_CASE("matches and reductions: among any members") {
  auto device = runtime::open_device("simulator:sm_100a");
  for (uint32_t members : member_masks)
    for (uint32_t range : {1u, 3u, 0xffffffffu}) {
      auto input = random_words(32, range);
      for (uint32_t& w : input) w = range == 0xffffffff ? w : w % range + 0xfffffffe;
      std::string mask = std::to_string(members);
      std::string instructions =
          "match.any.sync.b32 %r2, %r1, " + mask + ";\nmatch.all.sync.b32 %r3|%p1, %r1, " + mask +
          ";\ncvt.s64.s32 %rd3, %r1;\nmatch.any.sync.b64 %r4, %rd3, " + mask +
          ";\nselp.b32 %r5, 1, 0, %p1;\nst.global.b32 [%rd2], %r2;\nst.global.b32 [%rd2+4], %r3;\n"
          "st.global.b32 [%rd2+8], %r4;\nst.global.b32 [%rd2+12], %r5;\n";
      const char* reductions[] = {"add.u32", "add.s32", "min.u32", "min.s32", "max.u32",
                                  "max.s32", "and.b32", "or.b32",  "xor.b32"};
      for (int k = 0; k < 9; ++k)
        instructions += std::string("redux.sync.") + reductions[k] + " %r1" + std::to_string(k) + ", %r1, " + mask +
                        ";\nst.global.b32 [%rd2+" + std::to_string(16 + 4 * k) + "], %r1" + std::to_string(k) + ";\n";
      auto out = run_lanes(*device, "", "ld.global.b32 %r1, [%rd1];\n" + among(members, instructions), input, 13);
      uint32_t expected[9] = {0, 0, ~0u, 0x7fffffff, 0, 0x80000000, ~0u, 0, 0};
      for (uint32_t lane = 0; lane < 32; ++lane) {
        if (!(members >> lane & 1)) continue;
        uint32_t a = input[lane];
        auto lesser = [](uint32_t x, uint32_t y) { return static_cast<int32_t>(x) < static_cast<int32_t>(y); };
        expected[0] += a, expected[1] += a;
        expected[2] = std::min(expected[2], a), expected[4] = std::max(expected[4], a);
        expected[3] = lesser(a, expected[3]) ? a : expected[3], expected[5] = lesser(expected[5], a) ? a : expected[5];
        expected[6] &= a, expected[7] |= a, expected[8] ^= a;
      }
      for (uint32_t lane = 0; lane < 32; ++lane) {
        if (!(members >> lane & 1)) continue;
        uint32_t same = 0;
        for (uint32_t other = 0; other < 32; ++other)
          if (members >> other & 1 && input[other] == input[lane]) same |= 1u << other;
        const uint32_t* o = &out[13 * lane];
        INFO("members " << members << " range " << range << " lane " << lane);
        CHECK(o[0] == same);
        CHECK(o[1] == (same == members ? members : 0));
        CHECK(o[2] == same);
        CHECK(o[3] == uint32_t{same == members});
        for (int k = 0; k < 9; ++k) CHECK(o[4 + k] == expected[k]);
      }
    }
}

TEST_CASE("carry chains: 128-bit sums, differences and products") {
  auto device = runtime::open_device("simulator:sm_100a");
  auto input = random_words(32 * 8, 5);
  for (size_t lane = 0; lane < 8; ++lane) // long carries
    for (size_t k = 0; k < 8; ++k)
      input[8 * lane + k] = lane & 1 ? 0xffffffff : k == 4 ? static_cast<uint32_t>(lane) : 0;
  std::string body;
  for (int k = 0; k < 8; ++k)
    body += "ld.global.b32 %r" + std::to_string(10 + k) + ", [%rd1+" + std::to_string(4 * k) + "];\n";
  auto chain = [&](const char* first, const char* next, const char* last, int to) {
    for (int k = 0; k < 4; ++k)
      body += std::string(k == 0   ? first
                          : k == 3 ? last
                                   : next) +
              " %r" + std::to_string(to + k) + ", %r" + std::to_string(10 + k) + ", %r" + std::to_string(14 + k) +
              ";\n";
  };
  chain("add.cc.u32", "addc.cc.u32", "addc.u32", 20);
  chain("sub.cc.u32", "subc.cc.u32", "subc.u32", 24);
  // (a1 a0) * b0 by 32-bit parts: lo, then hi with carry.
  body += "mul.lo.u32 %r28, %r10, %r14;\nmul.hi.u32 %r29, %r10, %r14;\nmad.lo.cc.u32 %r29, %r11, %r14, "
          "%r29;\nmadc.hi.u32 %r30, %r11, %r14, 0;\n";
  body += "mov.b64 %rd3, {%r10, %r11}; mov.b64 %rd4, {%r14, %r15}; mov.b64 %rd5, {%r12, %r13}; mov.b64 %rd6, {%r16, "
          "%r17};\n"
          "add.cc.u64 %rd7, %rd3, %rd4;\naddc.u64 %rd8, %rd5, %rd6;\nmov.b64 {%r31, %r32}, %rd7; mov.b64 {%r33, %r34}, "
          "%rd8;\n";
  for (int k = 0; k < 15; ++k)
    body += "st.global.b32 [%rd2+" + std::to_string(4 * k) + "], %r" + std::to_string(20 + k) + ";\n";
  auto out = run_lanes(*device, "", body, input, 15);
  for (size_t lane = 0; lane < 32; ++lane) {
    using Wide = unsigned __int128;
    auto wide = [&](const uint32_t* w) { return Wide{w[0]} | Wide{w[1]} << 32 | Wide{w[2]} << 64 | Wide{w[3]} << 96; };
    Wide a = wide(&input[8 * lane]), b = wide(&input[8 * lane + 4]);
    const uint32_t* o = &out[15 * lane];
    INFO("lane " << lane);
    CHECK((wide(o) == a + b));
    CHECK((wide(o + 4) == a - b));
    Wide product = Wide{static_cast<uint64_t>(a)} * static_cast<uint32_t>(b);
    CHECK(o[8] == static_cast<uint32_t>(product));
    CHECK(o[9] == static_cast<uint32_t>(product >> 32));
    CHECK(o[10] == static_cast<uint32_t>(product >> 64));
    CHECK((wide(o + 11) == a + b));
  }
}
