// exec_wgmma.cpp - the arithmetic of wgmma, by the definition of mma_tile.h.
//
// Core matrices of 8 rows of 16 bytes are the registers of mma.sync's fragments: lane 4r + q holds four bytes of row r.
// So a product of 64 x 8n x 32 bytes of k is one tile for each warp and group of 8 columns. B is made a panel once for
// all four warps, A once a warp: per step of k what a vector of accumulators is multiplied by. Steps are in the order
// of the chain: pairs of k ascending, the odd one first.
#include "runtime/simulator/handlers.h"
#include "runtime/simulator/lanes.h"
#include "runtime/simulator/mma_tile.h"

namespace tilejit::runtime::simulator {
namespace {

using BPanel = float[2][4]; ///< of a step: columns p, 2 + p, 4 + p, 6 + p
constexpr int max_steps = 32, max_groups = 32;

/// The values of the 8-bit formats, as many as there are.
struct SmallFloats {
  float value[256];
  SmallFloats(int exponent_bits, int mantissa_bits, bool has_infinity) {
    const int bias = (1 << (exponent_bits - 1)) - 1, top = (1 << exponent_bits) - 1, full = (1 << mantissa_bits) - 1;
    for (int i = 0; i < 256; ++i) {
      int e = (i & 127) >> mantissa_bits, m = i & full;
      float x = e ? static_cast<float>(full + 1 + m) : 2.0f * static_cast<float>(m);
      for (int n = e; n < bias + mantissa_bits; ++n) x *= 0.5f;
      for (int n = bias + mantissa_bits; n < e; ++n) x *= 2.0f;
      if (e == top && has_infinity) x = m ? __builtin_nanf("") : __builtin_inff();
      if (e == top && m == full && !has_infinity) x = __builtin_nanf("");
      value[i] = i & 128 ? -x : x;
    }
  }
};
const float* values_of(Type type) {
  static const SmallFloats e4m3(4, 3, false), e5m2(5, 2, true);
  return type == Type::e4m3 ? e4m3.value : e5m2.value;
}

inline int steps_of(Type type) { return type == Type::tf32 ? 8 : type == Type::f16 || type == Type::bf16 ? 16 : 32; }

/// Four consecutive dwords of one pair q, as steps of the chain.
void pack_four(__m128i x, Type type, const float* values, BPanel* steps, int p) {
  if (type == Type::tf32) {
    _mm_store_si128(reinterpret_cast<__m128i*>(steps[0][p]), _mm_and_si128(x, _mm_set1_epi32(~0x1fff)));
  } else if (type == Type::bf16)
    unpack<Element::bf16>(x, steps[1][p], steps[0][p]);
  else if (type == Type::f16)
    unpack<Element::f16>(x, steps[1][p], steps[0][p]);
  else {
    alignas(16) u8 bytes[16];
    _mm_store_si128(reinterpret_cast<__m128i*>(bytes), x);
    for (int e = 0; e < 4; ++e)
      for (int c = 0; c < 4; ++c) steps[e ^ 1][p][c] = values[bytes[4 * c + e]];
  }
}
/// First step of pair q in half g of k. The pairs of tf32 are two dwords.
inline int first_step(Type type, int g, int q) {
  const int each = steps_of(type) / 8;
  return each == 1 ? 4 * g + (q ^ 1) : (4 * g + q) * each;
}

inline void columns(const u32* core, int p, __m128i (&x)[4]) {
  const float* from = reinterpret_cast<const float*>(core) + 4 * p;
  __m128 row[4] = {_mm_loadu_ps(from), _mm_loadu_ps(from + 8), _mm_loadu_ps(from + 16), _mm_loadu_ps(from + 24)};
  _MM_TRANSPOSE4_PS(row[0], row[1], row[2], row[3]);
  for (int q = 0; q < 4; ++q) x[q] = _mm_castps_si128(row[q]);
}

template <int Q>
inline void spread_to(float* to, const float* from) {
  for (int at = 0; at < 32; at += lanes)
    store(reinterpret_cast<u32*>(to) + at, spread<Q>(load_floats(reinterpret_cast<const u32*>(from) + at)));
}
/// A register of A: for every step the value of each lane's row.
void pack_a(const u32* core, Type type, const float* values, float (*panel)[2][32], int h, int g) {
  alignas(64) float element[4][32]; // by step of a pair
  const int each = steps_of(type) / 8;
  if (each == 4) {
    const u8* bytes = reinterpret_cast<const u8*>(core);
    for (int l = 0; l < 32; ++l)
      for (int e = 0; e < 4; ++e) element[e ^ 1][l] = values[bytes[4 * l + e]];
  } else
    for (int at = 0; at < 32; at += 4) {
      const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(core + at));
      if (type == Type::tf32)
        _mm_store_si128(reinterpret_cast<__m128i*>(element[0] + at), _mm_and_si128(x, _mm_set1_epi32(~0x1fff)));
      else if (type == Type::bf16)
        unpack<Element::bf16>(x, element[1] + at, element[0] + at);
      else
        unpack<Element::f16>(x, element[1] + at, element[0] + at);
    }
  for (int e = 0; e < each; ++e) {
    spread_to<0>(panel[first_step(type, g, 0) + e][h], element[e]);
    spread_to<1>(panel[first_step(type, g, 1) + e][h], element[e]);
    spread_to<2>(panel[first_step(type, g, 2) + e][h], element[e]);
    spread_to<3>(panel[first_step(type, g, 3) + e][h], element[e]);
  }
}

/// J groups of 8 columns of one warp.
template <int J>
inline void chain(const WarpgroupProduct& p, u32* const* d, const float (*a)[2][32], const BPanel* b, int steps) {
  for (int part = 0; part < parts; ++part) {
    const int at = part * lanes;
    Floats acc[J][2][2];
#pragma GCC unroll 2
    for (int j = 0; j < J; ++j)
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        if (!p.keeps)
          acc[j][h][0] = acc[j][h][1] = Floats{};
        else if (p.half)
          unpack<Element::f16>(load(d[2 * j + h] + at), acc[j][h][0], acc[j][h][1]);
        else
          acc[j][h][0] = load_floats(d[4 * j + 2 * h] + at), acc[j][h][1] = load_floats(d[4 * j + 2 * h + 1] + at);
      }
#pragma GCC unroll 1
    for (int s = 0; s < steps; ++s) {
      const Floats x[2] = {load_floats(reinterpret_cast<const u32*>(a[s][0]) + at),
                           load_floats(reinterpret_cast<const u32*>(a[s][1]) + at)};
#pragma GCC unroll 2
      for (int j = 0; j < J; ++j) {
        const Floats b0 = four(b[j * max_steps + s][0]), b1 = four(b[j * max_steps + s][1]);
#pragma GCC unroll 2
        for (int h = 0; h < 2; ++h) {
          acc[j][h][0] = fused(x[h], b0, acc[j][h][0]);
          acc[j][h][1] = fused(x[h], b1, acc[j][h][1]);
        }
      }
    }
#pragma GCC unroll 2
    for (int j = 0; j < J; ++j)
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        if (p.half) {
          store(d[2 * j + h] + at, pack_f16(acc[j][h][0], acc[j][h][1]));
        } else {
          store(d[4 * j + 2 * h] + at, canonical(acc[j][h][0]));
          store(d[4 * j + 2 * h + 1] + at, canonical(acc[j][h][1]));
        }
      }
  }
}

bool any_subnormal(const u32* x, u32 count) {
  u32 found = 0;
  for (u32 i = 0; i < count; ++i)
    for (u32 half : {x[i] & 0x7fff, x[i] >> 16 & 0x7fff}) found |= half - 1 < 0x7f;
  return found;
}

[[gnu::noinline]] void product_floats(const WarpgroupProduct& p) {
  alignas(64) BPanel b[max_groups * max_steps];
  alignas(64) float a[max_steps][2][32];
  const int steps = steps_of(p.a_type), groups = int(p.groups);
  const float *a_values = values_of(p.a_type), *b_values = values_of(p.b_type);
  const u32 before = _mm_getcsr();
  if (p.a_type == Type::bf16 && (any_subnormal(p.a, 16 * 32) || any_subnormal(p.b, 64 * p.groups)))
    _mm_setcsr(before & ~0x8040u);
  for (int j = 0; j < groups; ++j)
    for (int g = 0; g < 2; ++g)
      for (int half = 0; half < 2; ++half) {
        __m128i x[4];
        columns(p.b + 32 * (2 * j + g), half, x);
        for (int q = 0; q < 4; ++q)
          pack_four(x[q], p.b_type, b_values, b + j * max_steps + first_step(p.b_type, g, q), half);
      }
  const int registers = p.half ? 2 : 4;
  for (int w = 0; w < 4; ++w) {
    for (int h = 0; h < 2; ++h)
      for (int g = 0; g < 2; ++g) pack_a(p.a + 32 * (4 * w + h + 2 * g), p.a_type, a_values, a, h, g);
    int j = 0;
#if defined(__FMA__)
    for (; j + 2 <= groups; j += 2) chain<2>(p, p.d[w] + registers * j, a, b + j * max_steps, steps);
#endif
    for (; j < groups; ++j) chain<1>(p, p.d[w] + registers * j, a, b + j * max_steps, steps);
  }
  asm volatile("" ::: "memory");
  _mm_setcsr(before);
}

#if defined(__AVX512F__)
/// bf16 by vdpbf16ps: pairs of k at once, the same chain.
template <int J>
[[gnu::target("avx512bf16")]] inline void chain_unit(bool keeps, u32* const* d, const __m512i (*a)[2][2],
                                                     const u32 (*b)[2][4]) {
  __m512 acc[J][2][2][2]; // j, h, p, half of the lanes
#pragma GCC unroll 2
  for (int j = 0; j < J; ++j)
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r)
#pragma GCC unroll 2
      for (int s = 0; s < 2; ++s)
        acc[j][r / 2][r % 2][s] = keeps ? _mm512_load_ps(d[4 * j + r] + 16 * s) : _mm512_setzero_ps();
#pragma GCC unroll 1
  for (int q = 0; q < 8; ++q)
#pragma GCC unroll 2
    for (int j = 0; j < J; ++j)
#pragma GCC unroll 2
      for (int p = 0; p < 2; ++p) {
        const __m512i y = _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(b[8 * j + q][p])));
#pragma GCC unroll 2
        for (int h = 0; h < 2; ++h)
#pragma GCC unroll 2
          for (int s = 0; s < 2; ++s)
            acc[j][h][p][s] = _mm512_dpbf16_ps(acc[j][h][p][s], (__m512bh)a[q][h][s], (__m512bh)y);
      }
#pragma GCC unroll 2
  for (int j = 0; j < J; ++j)
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r)
#pragma GCC unroll 2
      for (int s = 0; s < 2; ++s) _mm512_store_ps(d[4 * j + r] + 16 * s, canonical(acc[j][r / 2][r % 2][s]));
}
[[gnu::noinline, gnu::target("avx512bf16")]] void product_unit(const WarpgroupProduct& p) {
  const __m512i magnitude = _mm512_set1_epi16(0x7fff), one = _mm512_set1_epi16(1);
  __m512i least = _mm512_set1_epi16(-1);
  auto see = [&](const u32* x, u32 count) {
    for (u32 i = 0; i < count; i += 16)
      least = _mm512_min_epu16(least, _mm512_sub_epi16(_mm512_and_si512(_mm512_loadu_si512(x + i), magnitude), one));
  };
  see(p.a, 16 * 32);
  see(p.b, 64 * p.groups);
  if (_mm512_cmplt_epu16_mask(least, _mm512_set1_epi16(0x7f)) != 0) return product_floats(p);
  alignas(64) u32 b[8 * max_groups][2][4];
  const int groups = int(p.groups);
  for (int j = 0; j < groups; ++j)
    for (int g = 0; g < 2; ++g)
      for (int half = 0; half < 2; ++half) {
        __m128i x[4];
        columns(p.b + 32 * (2 * j + g), half, x);
        for (int q = 0; q < 4; ++q) _mm_store_si128(reinterpret_cast<__m128i*>(b[8 * j + 4 * g + q][half]), x[q]);
      }
  for (int w = 0; w < 4; ++w) {
    __m512i a[8][2][2];
    for (int g = 0; g < 2; ++g)
      for (int h = 0; h < 2; ++h)
        for (int s = 0; s < 2; ++s) {
          const __m512i x = _mm512_loadu_si512(p.a + 32 * (4 * w + h + 2 * g) + 16 * s);
          a[4 * g][h][s] = _mm512_shuffle_epi32(x, _MM_PERM_AAAA);
          a[4 * g + 1][h][s] = _mm512_shuffle_epi32(x, _MM_PERM_BBBB);
          a[4 * g + 2][h][s] = _mm512_shuffle_epi32(x, _MM_PERM_CCCC);
          a[4 * g + 3][h][s] = _mm512_shuffle_epi32(x, _MM_PERM_DDDD);
        }
    int j = 0;
    for (; j + 2 <= groups; j += 2) chain_unit<2>(p.keeps, p.d[w] + 4 * j, a, b + 8 * j);
    for (; j < groups; ++j) chain_unit<1>(p.keeps, p.d[w] + 4 * j, a, b + 8 * j);
  }
}
#endif

#if TILEJIT_EVERYTHING
/// Integers, exactly.
void product_integers(const WarpgroupProduct& p) {
  auto value = [](const u32* core, int row, int k, Type type) {
    const u8 x = reinterpret_cast<const u8*>(core + 32 * (k / 16))[16 * row + k % 16];
    return type == Type::s8 ? s32(s8(x)) : s32(x);
  };
  for (int w = 0; w < 4; ++w)
    for (int j = 0; j < int(p.groups); ++j)
      for (int r = 0; r < 4; ++r)
        for (int l = 0; l < 32; ++l) {
          u32& d = p.d[w][4 * j + r][l];
          s64 sum = p.keeps ? s32(d) : 0;
          const u32* a = p.a + 32 * (4 * w + r / 2);
          for (int k = 0; k < 32; ++k) {
            const u8 x = reinterpret_cast<const u8*>(a + 64 * (k / 16))[16 * (l / 4) + k % 16];
            sum +=
                s64(p.a_type == Type::s8 ? s32(s8(x)) : s32(x)) * value(p.b + 64 * j, 2 * (l % 4) + r % 2, k, p.b_type);
          }
          if (p.saturates) sum = sum > 0x7fffffff ? 0x7fffffff : sum < -s64(0x80000000) ? -s64(0x80000000) : sum;
          d = u32(sum);
        }
}
#endif

} // namespace

WarpgroupKernel ISA(select_wgmma)(Type type) {
  switch (type) {
  case Type::bf16:
#if defined(__AVX512F__)
    if (__builtin_cpu_supports("avx512bf16")) return product_unit;
#endif
    return product_floats;
  case Type::f16:
  case Type::tf32:
  case Type::e4m3:
  case Type::e5m2: return product_floats;
#if TILEJIT_EVERYTHING
  case Type::s8:
  case Type::u8: return product_integers;
#endif
  default: return nullptr;
  }
}

} // namespace tilejit::runtime::simulator
