// Instructions on bits and small integers, and barriers by name, against the manual's definitions.
#include "tests/runtime/simulator/cuda/cuda.h"

#include <algorithm>
#include <bit>

using namespace tilejit::runtime::simulator::test;

namespace {

uint32_t bit(uint32_t x, uint32_t at) { return x >> at & 1; }
uint32_t field(uint32_t a, uint32_t at, uint32_t count, bool is_signed) {
  at &= 255, count &= 255;
  uint32_t sign = is_signed && count > 0 ? bit(a, std::min(at + count - 1, 31u)) : 0, d = 0;
  for (uint32_t i = 0; i < 32; ++i) d |= (i < count && at + i <= 31 ? bit(a, at + i) : sign) << i;
  return d;
}
uint32_t insert(uint32_t a, uint32_t b, uint32_t at, uint32_t count) {
  at &= 255, count &= 255;
  for (uint32_t i = 0; i < count && at + i <= 31; ++i) b = (b & ~(1u << (at + i))) | bit(a, i) << (at + i);
  return b;
}
uint32_t mask(uint32_t at, uint32_t count, bool clamp) {
  if (!clamp) at &= 31, count &= 31;
  uint32_t d = 0;
  for (uint64_t i = at; i < uint64_t{at} + count && i < 32; ++i) d |= 1u << i;
  return d;
}
uint32_t extend(uint32_t a, uint32_t bits, bool is_signed, bool clamp) {
  if (clamp && bits >= 32) return a;
  bits &= 31;
  uint32_t low = a & ((1u << bits) - 1);
  return is_signed && bits > 0 && bit(a, bits - 1) ? low | ~0u << bits : low;
}
uint32_t byte(uint64_t ab, uint32_t n) { return static_cast<uint32_t>(ab >> (8 * n) & 255); }
uint32_t permute(uint32_t a, uint32_t b, const std::array<uint32_t, 4>& which) {
  uint64_t ab = uint64_t{b} << 32 | a;
  return byte(ab, which[0]) | byte(ab, which[1]) << 8 | byte(ab, which[2]) << 16 | byte(ab, which[3]) << 24;
}
uint32_t highest(uint32_t a, bool is_signed) {
  if (is_signed && static_cast<int32_t>(a) < 0) a = ~a;
  return static_cast<uint32_t>(31 - std::countl_zero(a)); // -1 where there is none
}
uint32_t nth_set(uint32_t a, int base, int offset) {
  if (offset == 0) return bit(a, base) ? base : ~0u;
  int count = std::abs(offset);
  for (int at = base; at >= 0 && at < 32; at += offset > 0 ? 1 : -1)
    if (bit(a, at) && --count == 0) return at;
  return ~0u;
}
int32_t low24(uint32_t a) { return static_cast<int32_t>(a << 8) >> 8; }

} // namespace

TEST_CASE("bits") {
  Random random;
  const uint32_t threads = 256;
  std::vector<uint32_t> in;
  for (uint32_t i = 0; i < threads; ++i) {
    in.insert(in.end(), {random(), random(), i % 2 ? random() : random() % 40, random() % 70});
    if (i % 16 == 0) in[4 * i] = i % 32 ? ~0u : 0;
  }
  for (const char* target : targets) {
    Kernels kernels("bits", target);
    auto out = kernels.zeros<uint32_t>(32 * threads);
    kernels.run("bits", 2, threads / 2, kernels.upload(in), out);
    auto got = kernels.download<uint32_t>(out);
    for (uint32_t i = 0; i < threads; ++i) {
      uint32_t a = in[4 * i], b = in[4 * i + 1], c = in[4 * i + 2], s = in[4 * i + 3], n = std::min(s, 32u), w = s & 31;
      auto half = [&](uint32_t k) { return a >> (16 * k) & 0xffff; };
      uint64_t ba = uint64_t{b} << 32 | a;
      std::vector<uint32_t> expected{
          field(a, s, c, false),
          field(a, s, c, true),
          insert(a, b, s, c),
          uint32_t{(a & 1) == 0},
          mask(s, c, true),
          mask(s, c, false),
          extend(a, s, true, false),
          extend(a, s, false, true),
          c + static_cast<uint32_t>(std::abs(int64_t{static_cast<int32_t>(a)} - static_cast<int32_t>(b))),
          permute(a, b, {s % 4, s % 4 + 1, s % 4 + 2, s % 4 + 3}),
          permute(a, b, {s % 2 * 2, s % 2 * 2 + 1, s % 2 * 2, s % 2 * 2 + 1}),
          n == 32 ? a : static_cast<uint32_t>(ba << n >> 32),
          static_cast<uint32_t>(ba >> w),
          c + static_cast<int16_t>(half(0)) * byte(b, 0) + static_cast<int16_t>(half(1)) * byte(b, 1),
          c + half(0) * static_cast<int8_t>(byte(b, 2)) + half(1) * static_cast<int8_t>(byte(b, 3)),
          static_cast<uint32_t>(std::clamp(static_cast<int32_t>(a), 0, 0xffff)) << 16 |
              static_cast<uint32_t>(std::clamp(static_cast<int32_t>(b), 0, 0xffff)),
          highest(a, true) == ~0u ? ~0u : 31 - highest(a, true),
          highest(a, false),
          (a & b) | (a & c) | (b & c),
          nth_set(a, static_cast<int>(w), static_cast<int>(c & 7) - 3),
          static_cast<uint32_t>(int64_t{low24(a)} * low24(b)),
          static_cast<uint32_t>(uint64_t{a & 0xffffff} * (b & 0xffffff)),
          permute(a, b, {s & 7, s >> 4 & 7, 0, 0}),
      };
      for (size_t k = 0; k < expected.size(); ++k) {
        INFO("result " << k << " of " << a << ", " << b << ", " << c << ", " << s);
        CHECK(got[32 * i + k] == expected[k]);
      }
    }
  }
}

TEST_CASE("barriers by name, with fewer threads than the block has") {
  const int threads = 128, half = threads / 2;
  std::vector<int> in(3 * half);
  Random random;
  for (int& x : in) x = static_cast<int>(random() % 1000);
  int odd = 0;
  for (int t = 32; t < 96; ++t) odd += in[t] & 1;
  for (const char* target : targets) {
    Kernels kernels("bits", target);
    auto out = kernels.zeros<int>(3 * half + 64);
    kernels.run("named_barriers", 1, threads, kernels.upload(in), out);
    auto got = kernels.download<int>(out);
    for (int round = 0; round < 3; ++round)
      for (int t = 0; t < half; ++t) REQUIRE(got[round * half + t] == in[round * half + half - 1 - t]);
    for (int t = 0; t < 64; ++t) REQUIRE(got[3 * half + t] == odd * 2 + (odd == 64));
  }
}

TEST_CASE("copies that arrive at a barrier, a matrix turned within a warp") {
  std::vector<int> in(128);
  Random random;
  for (int& x : in) x = static_cast<int>(random());
  auto element = [&](int row, int column) { return in[row * 4 + column / 2] >> (column % 2 * 16) & 0xffff; };
  for (const char* target : targets) {
    Kernels kernels("bits", target);
    auto out = kernels.zeros<int>(160);
    kernels.run("copies", 1, 32, kernels.upload(in), out);
    auto got = kernels.download<int>(out);
    for (int i = 0; i < 128; ++i) REQUIRE(got[i] == in[127 - i]);
    for (int t = 0; t < 32; ++t) {
      int row = t / 4, column = t % 4 * 2;
      REQUIRE(static_cast<uint32_t>(got[128 + t]) ==
              (static_cast<uint32_t>(element(column + 1, row)) << 16 | static_cast<uint32_t>(element(column, row))));
    }
  }
}
