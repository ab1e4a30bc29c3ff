// exec_exact.cpp - sums of products bit for bit as an H200's tensor cores form them.
//
// What they do, found from their results (tests/runtime/simulator/conformance/data; NVIDIA does not say): C and all
// products of an instruction are cut off at one place, 25 binary digits below the greatest of their powers of two,
// where that of a product is the sum of its factors' exponents (those of subnormal numbers are the least of the type).
// What is left is summed exactly, and the sum cut off to the 24 digits of float32; for an f16 result it is rounded. The
// 8-bit floats of wgmma keep 13 digits below, and 14 of the sum.
//
// A pass over k for the exponents and one for the sum: in double, which is slow, or for the 8-bit floats of wgmma,
// whose terms have 16 digits at most, in float32 and 32-bit integers.
#include "runtime/simulator/handlers.h"
#include "runtime/simulator/mma_tile.h"
#include "runtime/simulator/small_floats.h"

namespace tilejit::runtime::simulator {
namespace {

inline f64 power_of_two(s32 exponent) { return bits_as<f64>(u64(s64(1023 + exponent)) << 52); }

/// 8-bit floats of wgmma, all of A and B finite.
void multiply_small(const ExactTile& t) {
  constexpr int width = lanes == 16 ? 2 : 1, count = 4 * width;
  constexpr s32 infinite = 0x7f800000;
  const bool halves = t.result == Result::f16;
#pragma GCC unroll 1
  for (int part = 0; part < 32; part += width * lanes) {
    auto at = [](int h, int p, int v) { return (h * 2 + p) * width + v; };
    auto row = [&](u32 offset, int v) { return reinterpret_cast<u32*>(t.file + offset) + part + v * lanes; };
    auto for_steps = [&](const float* a, const float* b, auto add) __attribute__((always_inline)) {
#pragma GCC unroll 2
      for (int s = 0; s < t.steps; ++s) {
        const Floats y[2] = {four(b + b_step * s), four(b + b_step * s + 4)};
#pragma GCC unroll 2
        for (int h = 0; h < 2; ++h)
#pragma GCC unroll 2
          for (int v = 0; v < width; ++v) {
            const Floats x = load_floats(a + a_step * s + 32 * h + part + v * lanes);
            add(at(h, 0, v), x * y[0]);
            add(at(h, 1, v), x * y[1]);
          }
      }
    };
    Floats c[count]{};
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h)
#pragma GCC unroll 2
      for (int v = 0; v < width; ++v) {
        if (!t.adds) continue;
        const Words even = load(row(t.c[halves ? h : 2 * h], v));
        const Words odd = halves ? (Words)((U32s)even >> 16) : load(row(t.c[2 * h + 1], v));
        c[at(h, 0, v)] = halves ? from_f16(even) : (Floats)even;
        c[at(h, 1, v)] = halves ? from_f16(odd) : (Floats)odd;
      }
    S32s greatest[count]{}; // the bits of powers of two
    for_steps(t.a_powers, t.b_powers,
              [&](int i, Floats power) { greatest[i] = (S32s)power > greatest[i] ? (S32s)power : greatest[i]; });
    Floats scale[count];
    S32s sum[count], of_products[count];
#pragma GCC unroll 8
    for (int i = 0; i < count; ++i) {
      const S32s size = (S32s)c[i] & 0x7fffffff, least = S32s{} + ((halves ? 127 - 14 : 1) << 23);
      S32s power = size & infinite;
      power = size == 0 ? 0 : power > least ? power : least;
      of_products[i] = greatest[i];
      greatest[i] = power > greatest[i] ? power : greatest[i];
      scale[i] = (Floats)(S32s)((U32s{} + ((2 * 127u + 13) << 23)) - (U32s)greatest[i]);
      sum[i] = truncated(c[i] * scale[i]);
    }
    for_steps(t.a, t.b,
              [&](int i, Floats product) { sum[i] = (S32s)((U32s)sum[i] + (U32s)truncated(product * scale[i])); });
    Floats d[count];
#pragma GCC unroll 8
    for (int i = 0; i < count; ++i) {
      const S32s size = (S32s)c[i] & 0x7fffffff, nan = S32s{} + 0x7fffffff;
      const int dropped = halves ? 0 : 0x3ff; // 14 digits are left
      const Floats digits = (Floats)((S32s)to_floats((Words)sum[i]) & ~dropped);
      d[i] = digits * (Floats)(S32s)((U32s)greatest[i] - (13u << 23));
      d[i] = of_products[i] == 0 ? (Floats)(size == 0 ? 0 : (S32s)c[i] & ~dropped) : d[i];
      d[i] = size >= infinite ? size == infinite ? c[i] : (Floats)nan : d[i];
    }
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h)
#pragma GCC unroll 2
      for (int v = 0; v < width; ++v) {
        const Floats even = d[at(h, 0, v)], odd = d[at(h, 1, v)];
        store(row(t.d[halves ? h : 2 * h], v), halves ? (Floats)pack_f16(even, odd) : even);
        if (!halves) store(row(t.d[2 * h + 1], v), odd);
      }
  }
}

} // namespace

void ISA(multiply_exactly)(const ExactTile& t) {
  if (t.a_powers) return multiply_small(t);
  constexpr s32 none = -10000;
  auto exponent = [](f32 x, s32 least) {
    const u32 bits = bits_as<u32>(x) & 0x7fffffff;
    const s32 e = s32(bits >> 23) - 127;
    return bits == 0 ? none : e < least ? least : e;
  };
  alignas(64) f64 scale[32], sum[32], plain[32];
  alignas(64) s32 greatest[32];
  alignas(64) u32 results[4][32]; // of rows h, columns p: C and D may share registers
  for (int h = 0; h < 2; ++h) {
    for (int p = 0; p < 2; ++p) {
      const u32* c = reinterpret_cast<const u32*>(t.file + t.c[t.result == Result::f16 ? h : 2 * h + p]);
      auto addend = [&](int i) {
        if (!t.adds) return 0.0f;
        return t.result == Result::f16 ? to_f32(f16{u16(c[i] >> 16 * p)}) : bits_as<f32>(c[i]);
      };
      auto factors = [&](int s, int i, f32& x, f32& y) {
        x = t.a[a_step * s + 32 * h + i], y = t.b[b_step * s + 4 * p + i % 4];
      };
      LANES greatest[i] = exponent(addend(i), t.result == Result::f16 ? -14 : -126);
      for (int s = 0; s < t.steps; ++s) LANES {
          f32 x, y;
          factors(s, i, x, y);
          const s32 e = exponent(x, t.least_a) + exponent(y, t.least_b);
          greatest[i] = e > greatest[i] ? e : greatest[i];
        }
      LANES {
        greatest[i] = greatest[i] < -300 ? -300 : greatest[i]; // all are zero
        scale[i] = power_of_two(t.digits - greatest[i]);
        plain[i] = f64(addend(i));
        sum[i] = __builtin_trunc(plain[i] * scale[i]) + 0.0; // no sum is -0
      }
      for (int s = 0; s < t.steps; ++s) LANES {
          f32 x, y;
          factors(s, i, x, y);
          const f64 product = f64(x) * f64(y);
          plain[i] += product;
          sum[i] += __builtin_trunc(product * scale[i]);
        }
      LANES {
        const f64 exact = sum[i] * power_of_two(greatest[i] - t.digits);
        const f64 r = plain[i] - plain[i] == 0 ? exact : plain[i]; // infinities and NaN go their own way
        const u64 bits = bits_as<u64>(r), size = bits & ~(u64(1) << 63);
        u32 d;
        if (t.result == Result::f16) {
          d = round_to<f16>(odd_f32(r)).bits;
        } else {
          const u64 cut = size >> (53 - t.kept) << (53 - t.kept);
          const s32 lost = 897 - s32(size >> 52); // digits of a subnormal result
          const u64 digits = (size & 0xfffffffffffff) | u64(1) << 52;
          d = size >= u64(1151) << 52 ? 0x7f800000 : u32((cut >> 29) - (u64(896) << 23));
          if (lost > 0) d = lost > 24 ? 0 : u32(digits >> (29 + lost));
          d = size > u64(2047) << 52 ? 0x7fffffff : d | u32(bits >> 32 & 0x80000000);
        }
        results[2 * h + p][i] = d;
      }
    }
  }
  for (int n = 0; n < (t.result == Result::f16 ? 2 : 4); ++n) {
    auto* d = reinterpret_cast<u32*>(t.file + t.d[n]);
    if (t.result == Result::f16)
      LANES d[i] = results[2 * n][i] | results[2 * n + 1][i] << 16;
    else
      LANES d[i] = results[n][i];
  }
}

} // namespace tilejit::runtime::simulator
