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

namespace {

/// The fields of a word, `bits` each: a function of them and of those of other words.
template <typename F>
uint32_t by_field(int bits, F f) {
  uint32_t word = 0;
  for (int at = 0; at < 32; at += bits) word |= (static_cast<uint32_t>(f(at)) & ((1u << bits) - 1)) << at;
  return word;
}
template <typename F>
int sum_of_fields(int bits, F f) {
  int sum = 0;
  for (int at = 0; at < 32; at += bits) sum += f(at);
  return sum;
}
/// A word whose fields are looked at as signed or unsigned numbers.
struct Fields {
  uint32_t word;
  int bits;
  bool is_signed = false;
  int operator()(int at) const {
    const auto field = static_cast<int>(word >> at & ((1u << bits) - 1));
    return is_signed && field >> (bits - 1) ? field - (1 << bits) : field;
  }
};
int clamped(int x, int bits, bool is_signed) {
  return is_signed ? std::clamp(x, -(1 << (bits - 1)), (1 << (bits - 1)) - 1) : std::clamp(x, 0, (1 << bits) - 1);
}

std::vector<uint32_t> expected_of_words(uint32_t a, uint32_t b, uint32_t c) {
  const Fields s2a{a, 16, true}, s2b{b, 16, true}, s2c{c, 16, true}, u2a{a, 16}, u2b{b, 16}, u2c{c, 16},
      s4a{a, 8, true}, s4b{b, 8, true}, u4a{a, 8}, u4b{b, 8};
  const auto s = [](uint32_t x) { return static_cast<int32_t>(x); };
  int dot_signed = s(c), half_signed = s(c);
  uint32_t dot = c, half = c;
  for (int k = 0; k < 4; ++k)
    dot_signed += s4a(8 * k) * s4b(8 * k), dot += static_cast<uint32_t>(u4a(8 * k) * u4b(8 * k));
  for (int k = 0; k < 2; ++k)
    half_signed += s2a(16 * k) * s4b(8 * k), half += static_cast<uint32_t>(u2a(16 * k) * u4b(16 + 8 * k));
  return {
      by_field(16, [&](int k) { return u2a(k) + u2b(k); }),
      by_field(8, [&](int k) { return u4a(k) + u4b(k); }),
      by_field(16, [&](int k) { return u2a(k) - u2b(k); }),
      by_field(8, [&](int k) { return u4a(k) - u4b(k); }),
      by_field(16, [&](int k) { return clamped(s2a(k) + s2b(k), 16, true); }),
      by_field(8, [&](int k) { return clamped(u4a(k) + u4b(k), 8, false); }),
      by_field(8, [&](int k) { return clamped(s4a(k) - s4b(k), 8, true); }),
      by_field(16, [&](int k) { return clamped(u2a(k) - u2b(k), 16, false); }),
      by_field(16, [&](int k) { return std::abs(u2a(k) - u2b(k)); }),
      by_field(8, [&](int k) { return std::abs(u4a(k) - u4b(k)); }),
      static_cast<uint32_t>(sum_of_fields(16, [&](int k) { return std::abs(u2a(k) - u2b(k)); })),
      static_cast<uint32_t>(sum_of_fields(8, [&](int k) { return std::abs(u4a(k) - u4b(k)); })),
      static_cast<uint32_t>(sum_of_fields(16, [&](int k) { return std::abs(s2a(k) - s2b(k)); })),
      static_cast<uint32_t>(sum_of_fields(8, [&](int k) { return std::abs(s4a(k) - s4b(k)); })),
      by_field(8, [&](int k) { return (u4a(k) + u4b(k) + 1) / 2; }),
      by_field(16, [&](int k) { return (u2a(k) + u2b(k)) / 2; }),
      by_field(16, [&](int k) { return std::max(s2a(k), s2b(k)); }),
      by_field(16, [&](int k) { return std::min(u2a(k), u2b(k)); }),
      by_field(8, [&](int k) { return std::max(u4a(k), u4b(k)); }),
      by_field(8, [&](int k) { return std::min(s4a(k), s4b(k)); }),
      by_field(16, [&](int k) { return s2a(k) > s2b(k) ? -1 : 0; }),
      by_field(8, [&](int k) { return u4a(k) == u4b(k) ? -1 : 0; }),
      by_field(8, [&](int k) { return u4a(k) < u4b(k); }),
      by_field(8, [&](int k) { return -s4a(k); }),
      by_field(16, [&](int k) { return std::abs(s2a(k)); }),
      by_field(8, [&](int k) { return clamped(std::abs(s4a(k)), 8, true); }),
      by_field(16, [&](int k) { return std::max({s2a(k), s2b(k), s2c(k)}); }),
      by_field(16, [&](int k) { return std::min({u2a(k), u2b(k), u2c(k)}); }),
      by_field(16, [&](int k) { return std::max({s2a(k), s2b(k), 0}); }),
      by_field(16,
               [&](int k) { return std::max(Fields{static_cast<uint32_t>(s2a(k) + s2b(k)), 16, true}(0), s2c(k)); }),
      by_field(16, [&](int k) { return std::min((u2a(k) + u2b(k)) & 0xffff, u2c(k)); }),
      static_cast<uint32_t>(std::max(std::min({s(a), s(b), s(c)}), 0)),
      static_cast<uint32_t>(dot_signed),
      dot,
      static_cast<uint32_t>(half_signed),
      half,
  };
}

} // namespace

TEST_CASE("two and four numbers in a word") {
  Random random;
  constexpr uint32_t count = 1000;
  std::vector<uint32_t> in(3 * count);
  for (uint32_t& x : in)
    x = random() % 4 ? random() : (random() & 0x80808080) ^ (random() % 2 ? 0x7fff7f00 : 0x00010001);
  for (uint32_t i = 0; i < count; i += 5) in[3 * i + 1] ^= (in[3 * i] ^ in[3 * i + 1]) & 0xff00ffff; // equal fields
  for (const char* target : targets) {
    Kernels kernels("bits", target);
    auto out = kernels.zeros<uint32_t>(40 * count);
    kernels.run("packed_words", (count + 127) / 128, 128, kernels.upload(in), out, static_cast<int>(count));
    auto got = kernels.download<uint32_t>(out);
    for (uint32_t i = 0; i < count; ++i) {
      auto expected = expected_of_words(in[3 * i], in[3 * i + 1], in[3 * i + 2]);
      for (size_t k = 0; k < expected.size(); ++k) {
        INFO(target << ": result " << k << " of " << std::hex << in[3 * i] << ", " << in[3 * i + 1] << ", "
                    << in[3 * i + 2]);
        REQUIRE(got[40 * i + k] == expected[k]);
      }
    }
  }
}
