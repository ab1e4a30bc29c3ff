// mma_tile.h - the arithmetic of mma.sync, in the layout of its fragments.
//
// A row of 32 lanes already is a SIMD vector: lane l of accumulator register (h, p) is row l/4 + 8h, column 2(l%4) + p.
// So the accumulators never move. Per k, A is a permutation within each quad of lanes, and B is four numbers, one for
// each lane of a quad: 128 bits broadcast over the vector. PTX ISA, "Matrix Fragments for mma.m16n8k16" and its
// neighbours.
//
// Our definition of the arithmetic, the same at every level of the host: products exact, one chain of fused
// multiply-adds in float32, pairs of k ascending and the odd one of a pair first (the order of vdpbf16ps), subnormals
// flushed on both sides. A bf16 operand that is subnormal is not flushed, as on the machine: then this one instruction
// runs with gradual underflow throughout. NaN results are canonical. An f16 accumulator is rounded once an instruction.
//
// Included by one .cpp, compiled once for each level.
#pragma once
#include <cstdint>
#include <immintrin.h>

namespace tilejit::runtime::simulator {
namespace {

enum class Element : uint8_t { bf16, f16, tf32 };

/// The registers of one instruction: rows of 32 lanes. A register of A: h + 2 * group of k; of B: group of k.
struct MmaRows {
  const uint32_t* a[4];
  const uint32_t* b[2];
  const uint32_t* c[4];
  uint32_t* d[4];
};

#if defined(__AVX512F__)
using Floats = __m512;
using Words = __m512i;
inline Words load(const uint32_t* p) { return _mm512_load_si512(p); }
inline Floats load_floats(const uint32_t* p) { return _mm512_load_ps(p); }
inline void store(uint32_t* p, Floats x) { _mm512_store_ps(p, x); }
inline void store(uint32_t* p, Words x) { _mm512_store_si512(p, x); }
inline Floats four(const float* p) { return _mm512_broadcast_f32x4(_mm_load_ps(p)); }
inline Floats fused(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
inline Floats even_bf16(Words x) { return _mm512_castsi512_ps(_mm512_slli_epi32(x, 16)); }
inline Floats odd_bf16(Words x) { return _mm512_castsi512_ps(_mm512_and_si512(x, _mm512_set1_epi32(-65536))); }
inline Floats even_f16(Words x) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(x)); }
inline Floats odd_f16(Words x) { return even_f16(_mm512_srli_epi32(x, 16)); }
inline Floats tf32(Words x) { return _mm512_castsi512_ps(_mm512_and_si512(x, _mm512_set1_epi32(~0x1fff))); }
inline Floats canonical(Floats x) {
  return _mm512_mask_mov_ps(x, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q),
                            _mm512_castsi512_ps(_mm512_set1_epi32(0x7fffffff)));
}
/// Low halves from `even`, high halves from `odd`, to nearest even.
inline Words pack_f16(Floats even, Floats odd) {
  auto half = [](Floats x) {
    Words h = _mm512_cvtepu16_epi32(_mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    return _mm512_mask_mov_epi32(h, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), _mm512_set1_epi32(0x7fff));
  };
  return _mm512_or_si512(half(even), _mm512_slli_epi32(half(odd), 16));
}
template <int Q>
inline Floats spread(Floats x) {
  return _mm512_permute_ps(x, Q * 0x55);
}
#elif defined(__AVX2__)
using Floats = __m256;
using Words = __m256i;
inline Words load(const uint32_t* p) { return _mm256_load_si256(reinterpret_cast<const Words*>(p)); }
inline Floats load_floats(const uint32_t* p) { return _mm256_load_ps(reinterpret_cast<const float*>(p)); }
inline void store(uint32_t* p, Floats x) { _mm256_store_ps(reinterpret_cast<float*>(p), x); }
inline void store(uint32_t* p, Words x) { _mm256_store_si256(reinterpret_cast<Words*>(p), x); }
inline Floats four(const float* p) { return _mm256_broadcast_ps(reinterpret_cast<const __m128*>(p)); }
inline Floats fused(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
inline Floats even_bf16(Words x) { return _mm256_castsi256_ps(_mm256_slli_epi32(x, 16)); }
inline Floats odd_bf16(Words x) { return _mm256_castsi256_ps(_mm256_and_si256(x, _mm256_set1_epi32(-65536))); }
inline Floats even_f16(Words x) {
  Words low = _mm256_and_si256(x, _mm256_set1_epi32(0xffff));
  return _mm256_cvtph_ps(_mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1)));
}
inline Floats odd_f16(Words x) { return even_f16(_mm256_srli_epi32(x, 16)); }
inline Floats tf32(Words x) { return _mm256_castsi256_ps(_mm256_and_si256(x, _mm256_set1_epi32(~0x1fff))); }
inline Floats canonical(Floats x) {
  return _mm256_blendv_ps(x, _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff)), _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
}
inline Words pack_f16(Floats even, Floats odd) {
  auto half = [](Floats x) {
    Words h = _mm256_cvtepu16_epi32(_mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    return _mm256_blendv_epi8(h, _mm256_set1_epi32(0x7fff), _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)));
  };
  return _mm256_or_si256(half(even), _mm256_slli_epi32(half(odd), 16));
}
template <int Q>
inline Floats spread(Floats x) {
  return _mm256_permute_ps(x, Q * 0x55);
}
#else
using Floats = __m128;
using Words = __m128i;
inline Words load(const uint32_t* p) { return _mm_load_si128(reinterpret_cast<const Words*>(p)); }
inline Floats load_floats(const uint32_t* p) { return _mm_load_ps(reinterpret_cast<const float*>(p)); }
inline void store(uint32_t* p, Floats x) { _mm_store_ps(reinterpret_cast<float*>(p), x); }
inline void store(uint32_t* p, Words x) { _mm_store_si128(reinterpret_cast<Words*>(p), x); }
inline Floats four(const float* p) { return _mm_load_ps(p); }
/// Two lanes of a * b + c rounded once: in doubles the product is exact and the sum is rounded to odd, so that the last
/// rounding is right (Boldo and Melquiond, "Emulation of a FMA and correctly rounded sums: proved algorithms using
/// rounding to odd", 2008).
inline __m128 fused_pair(__m128 a, __m128 b, __m128 c) {
  __m128d p = _mm_mul_pd(_mm_cvtps_pd(a), _mm_cvtps_pd(b)), z = _mm_cvtps_pd(c);
  __m128d s = _mm_add_pd(p, z), t = _mm_sub_pd(s, p);
  __m128d e = _mm_add_pd(_mm_sub_pd(p, _mm_sub_pd(s, t)), _mm_sub_pd(z, t)), zero = _mm_setzero_pd();
  __m128i inexact = _mm_castpd_si128(_mm_or_pd(_mm_cmplt_pd(e, zero), _mm_cmpgt_pd(e, zero)));
  __m128i bits = _mm_castpd_si128(s), one = _mm_set1_epi64x(1), none = _mm_setzero_si128();
  __m128i even = _mm_cmpeq_epi64(_mm_and_si128(bits, one), none);
  __m128i down = _mm_cmpgt_epi64(none, _mm_xor_si128(bits, _mm_castpd_si128(e)));
  bits = _mm_add_epi64(bits, _mm_and_si128(_mm_or_si128(down, one), _mm_and_si128(inexact, even)));
  return _mm_cvtpd_ps(_mm_castsi128_pd(bits));
}
[[gnu::noinline]] Floats fused(Floats a, Floats b, Floats c) {
  return _mm_movelh_ps(fused_pair(a, b, c), fused_pair(_mm_movehl_ps(a, a), _mm_movehl_ps(b, b), _mm_movehl_ps(c, c)));
}
inline Floats even_bf16(Words x) { return _mm_castsi128_ps(_mm_slli_epi32(x, 16)); }
inline Floats odd_bf16(Words x) { return _mm_castsi128_ps(_mm_and_si128(x, _mm_set1_epi32(-65536))); }
inline Floats even_f16(Words x) {
  Words magnitude = _mm_slli_epi32(_mm_and_si128(x, _mm_set1_epi32(0x7fff)), 13);
  Words sign = _mm_slli_epi32(_mm_and_si128(x, _mm_set1_epi32(0x8000)), 16);
  // The exponent's bias is corrected by an addition where the f16 is normal, else by an exact subtraction of floats.
  Words normal = _mm_add_epi32(magnitude, _mm_set1_epi32(112 << 23)), base = _mm_set1_epi32(113 << 23);
  Words tiny = _mm_castps_si128(_mm_sub_ps(_mm_castsi128_ps(_mm_add_epi32(magnitude, base)), _mm_castsi128_ps(base)));
  Words special = _mm_add_epi32(normal, _mm_set1_epi32(112 << 23)); // infinities and NaN
  Words is_tiny = _mm_cmpgt_epi32(_mm_set1_epi32(1 << 23), magnitude);
  Words is_special = _mm_cmpgt_epi32(magnitude, _mm_set1_epi32((31 << 23) - 1));
  return _mm_castsi128_ps(
      _mm_or_si128(sign, _mm_blendv_epi8(_mm_blendv_epi8(normal, tiny, is_tiny), special, is_special)));
}
inline Floats odd_f16(Words x) { return even_f16(_mm_srli_epi32(x, 16)); }
inline Floats tf32(Words x) { return _mm_castsi128_ps(_mm_and_si128(x, _mm_set1_epi32(~0x1fff))); }
inline Floats canonical(Floats x) {
  return _mm_blendv_ps(x, _mm_castsi128_ps(_mm_set1_epi32(0x7fffffff)), _mm_cmpunord_ps(x, x));
}
inline Words half_of(Floats x) {
  Words bits = _mm_castps_si128(x), magnitude = _mm_and_si128(bits, _mm_set1_epi32(0x7fffffff));
  Words sign = _mm_and_si128(_mm_srli_epi32(bits, 16), _mm_set1_epi32(0x8000));
  Words odd = _mm_and_si128(_mm_srli_epi32(magnitude, 13), _mm_set1_epi32(1));
  Words normal = _mm_srli_epi32(_mm_add_epi32(_mm_add_epi32(magnitude, _mm_set1_epi32(0xfff - (112 << 23))), odd), 13);
  // Adding 0.5 makes the hardware round at the last place of a subnormal f16.
  Words half = _mm_set1_epi32(0x3f000000);
  Words tiny = _mm_sub_epi32(_mm_castps_si128(_mm_add_ps(_mm_castsi128_ps(magnitude), _mm_castsi128_ps(half))), half);
  Words h = _mm_blendv_epi8(normal, tiny, _mm_cmpgt_epi32(_mm_set1_epi32(0x38800000), magnitude));
  h = _mm_blendv_epi8(h, _mm_set1_epi32(0x7c00), _mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x477fefff)));
  h = _mm_or_si128(h, sign);
  return _mm_blendv_epi8(h, _mm_set1_epi32(0x7fff), _mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x7f800000)));
}
inline Words pack_f16(Floats even, Floats odd) { return _mm_or_si128(half_of(even), _mm_slli_epi32(half_of(odd), 16)); }
template <int Q>
inline Floats spread(Floats x) {
  return _mm_shuffle_ps(x, x, Q * 0x55);
}
#endif

inline constexpr int lanes = sizeof(Floats) / 4, parts = 32 / lanes;

template <Element E>
inline void unpack(Words x, Floats& even, Floats& odd) {
  if constexpr (E == Element::bf16)
    even = even_bf16(x), odd = odd_bf16(x);
  else
    even = even_f16(x), odd = odd_f16(x);
}
template <Element E>
inline void unpack(const __m128i x, float* even, float* odd) {
  if constexpr (E == Element::bf16) {
    _mm_store_si128(reinterpret_cast<__m128i*>(even), _mm_slli_epi32(x, 16));
    _mm_store_si128(reinterpret_cast<__m128i*>(odd), _mm_and_si128(x, _mm_set1_epi32(-65536)));
  } else {
#if defined(__F16C__)
    __m128i low = _mm_and_si128(x, _mm_set1_epi32(0xffff));
    __m128i both = _mm_packus_epi32(low, _mm_srli_epi32(x, 16));
    _mm_store_ps(even, _mm_cvtph_ps(both));
    _mm_store_ps(odd, _mm_cvtph_ps(_mm_unpackhi_epi64(both, both)));
#else
    _mm_store_ps(even, even_f16(x));
    _mm_store_ps(odd, odd_f16(x));
#endif
  }
}

/// B: for each step of k and each column parity p the four values of columns p, 2 + p, 4 + p, 6 + p. Lane 4n + q of a
/// register holds column n, so a 4x4 transposition gives them.
template <Element E, int Groups>
inline void pack_b(const MmaRows& r, float (*panel)[2][4]) {
  constexpr int steps = E == Element::tf32 ? 4 : 8; // of k, in a register
  for (int g = 0; g < Groups; ++g)
    for (int p = 0; p < 2; ++p) {
      const float* from = reinterpret_cast<const float*>(r.b[g]) + 4 * p;
      __m128 row[4] = {_mm_load_ps(from), _mm_load_ps(from + 8), _mm_load_ps(from + 16), _mm_load_ps(from + 24)};
      _MM_TRANSPOSE4_PS(row[0], row[1], row[2], row[3]);
      for (int q = 0; q < 4; ++q) {
        __m128i x = _mm_castps_si128(row[q]);
        if constexpr (E == Element::tf32)
          _mm_store_si128(reinterpret_cast<__m128i*>(panel[steps * g + q][p]),
                          _mm_and_si128(x, _mm_set1_epi32(~0x1fff)));
        else
          unpack<E>(x, panel[steps * g + 2 * q][p], panel[steps * g + 2 * q + 1][p]);
      }
    }
}

template <int Q>
inline void step(Floats (&acc)[2][2], const Floats (&a)[2], const float (&b)[2][4]) {
  Floats b0 = four(b[0]), b1 = four(b[1]);
#if !defined(__FMA__)
#pragma GCC unroll 1 // the emulation is large
#endif
  for (int h = 0; h < 2; ++h) {
    Floats x = spread<Q>(a[h]);
    acc[h][0] = fused(x, b0, acc[h][0]);
    acc[h][1] = fused(x, b1, acc[h][1]);
  }
}

/// D = A B + C in float32 chains, for any element type. `Groups`: registers of B. `half`: C and D are f16.
template <Element E, int Groups, bool half>
inline void mma_chain(const MmaRows& r) {
  alignas(64) float panel[16][2][4];
  pack_b<E, Groups>(r, panel);
#pragma GCC unroll 1
  for (int part = 0; part < parts; ++part) {
    const int at = part * lanes;
    Floats acc[2][2];
    for (int h = 0; h < 2; ++h) {
      if constexpr (half)
        unpack<Element::f16>(load(r.c[h] + at), acc[h][0], acc[h][1]);
      else
        acc[h][0] = load_floats(r.c[2 * h] + at), acc[h][1] = load_floats(r.c[2 * h + 1] + at);
    }
#pragma GCC unroll 2
    for (int g = 0; g < Groups; ++g) {
      Floats even[2], odd[2];
      if constexpr (E == Element::tf32) {
        for (int h = 0; h < 2; ++h) even[h] = tf32(load(r.a[h + 2 * g] + at));
        step<1>(acc, even, panel[4 * g + 1]);
        step<0>(acc, even, panel[4 * g]);
        step<3>(acc, even, panel[4 * g + 3]);
        step<2>(acc, even, panel[4 * g + 2]);
      } else {
        for (int h = 0; h < 2; ++h) unpack<E>(load(r.a[h + 2 * g] + at), even[h], odd[h]);
        step<0>(acc, odd, panel[8 * g + 1]);
        step<0>(acc, even, panel[8 * g]);
        step<1>(acc, odd, panel[8 * g + 3]);
        step<1>(acc, even, panel[8 * g + 2]);
        step<2>(acc, odd, panel[8 * g + 5]);
        step<2>(acc, even, panel[8 * g + 4]);
        step<3>(acc, odd, panel[8 * g + 7]);
        step<3>(acc, even, panel[8 * g + 6]);
      }
    }
    for (int h = 0; h < 2; ++h) {
      if constexpr (half) {
        store(r.d[h] + at, pack_f16(acc[h][0], acc[h][1]));
      } else {
        store(r.d[2 * h] + at, canonical(acc[h][0]));
        store(r.d[2 * h + 1] + at, canonical(acc[h][1]));
      }
    }
  }
}

/// Whether a bf16 of A or B is subnormal: (x & 0x7fff) - 1 is then below 0x7f, unsigned.
template <int Groups>
inline bool has_subnormal(const MmaRows& r) {
  auto part = [](const uint32_t* row, int at) { return _mm_load_si128(reinterpret_cast<const __m128i*>(row + at)); };
  __m128i least = _mm_set1_epi16(-1), magnitude = _mm_set1_epi16(0x7fff), one = _mm_set1_epi16(1);
  for (int at = 0; at < 32; at += 4) {
    for (int i = 0; i < 2 * Groups; ++i)
      least = _mm_min_epu16(least, _mm_sub_epi16(_mm_and_si128(part(r.a[i], at), magnitude), one));
    for (int i = 0; i < Groups; ++i)
      least = _mm_min_epu16(least, _mm_sub_epi16(_mm_and_si128(part(r.b[i], at), magnitude), one));
  }
  return static_cast<uint16_t>(_mm_cvtsi128_si32(_mm_minpos_epu16(least))) < 0x7f;
}

/// The chain with subnormals kept, on a host that flushes them (MXCSR: FTZ | DAZ) before and after.
template <int Groups>
[[gnu::noinline]] inline void mma_gradual(const MmaRows& r) {
  const uint32_t before = _mm_getcsr();
  _mm_setcsr(before & ~0x8040u);
  asm volatile("" ::: "memory");
  mma_chain<Element::bf16, Groups, false>(r);
  asm volatile("" ::: "memory");
  _mm_setcsr(before);
}

template <Element E, int Groups, bool half>
inline void mma(const MmaRows& r) {
  if constexpr (E == Element::bf16)
    if (__builtin_expect(has_subnormal<Groups>(r), false)) return mma_gradual<Groups>(r);
  mma_chain<E, Groups, half>(r);
}

#if defined(__AVX512F__)
/// bf16 by the host's own instruction: vdpbf16ps is the same chain, odd before even, flushing.
template <int Groups>
[[gnu::target("avx512bf16")]] inline void mma_bf16_unit(const MmaRows& r) {
  __m512i a[2 * Groups][2], b[Groups][2];
  const __m512i magnitude = _mm512_set1_epi16(0x7fff), one = _mm512_set1_epi16(1);
  __m512i least = _mm512_set1_epi16(-1);
  auto see = [&](__m512i x) {
    least = _mm512_min_epu16(least, _mm512_sub_epi16(_mm512_and_si512(x, magnitude), one));
    return x;
  };
  for (int s = 0; s < 2; ++s) {
    for (int i = 0; i < 2 * Groups; ++i) a[i][s] = see(_mm512_load_si512(r.a[i] + 16 * s));
    for (int i = 0; i < Groups; ++i) b[i][s] = see(_mm512_load_si512(r.b[i] + 16 * s));
  }
  if (__builtin_expect(_mm512_cmplt_epu16_mask(least, _mm512_set1_epi16(0x7f)) != 0, false)) {
    return mma_gradual<Groups>(r);
  }
  __m512 acc[2][2][2]; // h, p, half of the lanes
  for (int h = 0; h < 2; ++h)
    for (int p = 0; p < 2; ++p)
      for (int s = 0; s < 2; ++s) acc[h][p][s] = _mm512_load_ps(r.c[2 * h + p] + 16 * s);
  // Columns p, 2 + p, 4 + p, 6 + p at pair q: lanes 8c + 4p + q of the register.
  const __m512i first = _mm512_setr_epi32(0, 8, 16, 24, 0, 8, 16, 24, 0, 8, 16, 24, 0, 8, 16, 24);
#pragma GCC unroll 2
  for (int g = 0; g < Groups; ++g) {
#pragma GCC unroll 4
    for (int q = 0; q < 4; ++q) {
      __m512i column[2];
#pragma GCC unroll 2
      for (int p = 0; p < 2; ++p)
        column[p] = _mm512_permutex2var_epi32(b[g][0], _mm512_add_epi32(first, _mm512_set1_epi32(4 * p + q)), b[g][1]);
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h)
#pragma GCC unroll 2
        for (int s = 0; s < 2; ++s) {
          __m512i x = a[h + 2 * g][s];
          switch (q) {
          case 0: x = _mm512_shuffle_epi32(x, _MM_PERM_AAAA); break;
          case 1: x = _mm512_shuffle_epi32(x, _MM_PERM_BBBB); break;
          case 2: x = _mm512_shuffle_epi32(x, _MM_PERM_CCCC); break;
          default: x = _mm512_shuffle_epi32(x, _MM_PERM_DDDD); break;
          }
#pragma GCC unroll 2
          for (int p = 0; p < 2; ++p) acc[h][p][s] = _mm512_dpbf16_ps(acc[h][p][s], (__m512bh)x, (__m512bh)column[p]);
        }
    }
  }
  for (int h = 0; h < 2; ++h)
    for (int p = 0; p < 2; ++p)
      for (int s = 0; s < 2; ++s) _mm512_store_ps(r.d[2 * h + p] + 16 * s, canonical(acc[h][p][s]));
}
#endif

} // namespace
} // namespace tilejit::runtime::simulator
