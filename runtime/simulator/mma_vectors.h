// mma_vectors.h - vectors of the host as wide as this level has them, for the products of matrices (mma_tile.h).
//
// A vector is `lanes` numbers, in blocks of four that most instructions keep apart. What GCC's vector types express is
// written with them; intrinsics are for the rest.
#pragma once
#include "runtime/simulator/core_matrix.h"

#include <cstring>
#include <immintrin.h>

namespace tilejit::runtime::simulator {
namespace {

#if defined(__AVX512F__)
inline constexpr int lanes = 16;
using Floats = __m512;
using Words = __m512i;
inline Words load(const void* p) { return _mm512_loadu_si512(p); }
inline Floats load_floats(const float* p) { return _mm512_load_ps(p); }
inline void store(void* p, Floats x) { _mm512_store_ps(p, x); }
inline Floats four(const float* p) { return _mm512_broadcast_f32x4(_mm_load_ps(p)); }
inline Floats fused(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
inline Words low_words(Words a, Words b) { return _mm512_unpacklo_epi32(a, b); }
inline Words high_words(Words a, Words b) { return _mm512_unpackhi_epi32(a, b); }
inline Words low_pairs(Words a, Words b) { return _mm512_unpacklo_epi64(a, b); }
inline Words high_pairs(Words a, Words b) { return _mm512_unpackhi_epi64(a, b); }
inline Words to_integers(Floats x) { return _mm512_cvtps_epi32(x); }
inline Floats to_floats(Words x) { return _mm512_cvtepi32_ps(x); }
/// Of the low halves.
inline Floats from_f16(Words x) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(x)); }
inline Words to_f16(Floats x) {
  return _mm512_cvtepu16_epi32(_mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
template <int Q>
inline Floats spread(Floats x) {
  return _mm512_permute_ps(x, Q * 0x55);
}
template <int N>
inline __m128 block(Floats x) {
  return _mm512_extractf32x4_ps(x, N);
}
inline Words blocks(const uint8_t* const* p) {
  auto at = [&](int i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p[i])); };
  Words x = _mm512_castsi128_si512(at(0));
  x = _mm512_inserti32x4(x, at(1), 1);
  x = _mm512_inserti32x4(x, at(2), 2);
  return _mm512_inserti32x4(x, at(3), 3);
}
template <int N>
inline bool any_nan(const Floats (&x)[N]) {
  __mmask16 good[2] = {0xffff, 0xffff}; // two chains
#pragma GCC unroll 8
  for (int i = 0; i < N; i += 2) good[i / 2 % 2] = _mm512_mask_cmp_ps_mask(good[i / 2 % 2], x[i], x[i + 1], _CMP_ORD_Q);
  return (good[0] & good[1]) != 0xffff;
}
#elif defined(__AVX2__)
inline constexpr int lanes = 8;
using Floats = __m256;
using Words = __m256i;
inline Words load(const void* p) { return _mm256_loadu_si256(static_cast<const Words*>(p)); }
inline Floats load_floats(const float* p) { return _mm256_load_ps(p); }
inline void store(void* p, Floats x) { _mm256_store_ps(static_cast<float*>(p), x); }
inline Floats four(const float* p) { return _mm256_broadcast_ps(reinterpret_cast<const __m128*>(p)); }
inline Floats fused(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
inline Words low_words(Words a, Words b) { return _mm256_unpacklo_epi32(a, b); }
inline Words high_words(Words a, Words b) { return _mm256_unpackhi_epi32(a, b); }
inline Words low_pairs(Words a, Words b) { return _mm256_unpacklo_epi64(a, b); }
inline Words high_pairs(Words a, Words b) { return _mm256_unpackhi_epi64(a, b); }
inline Words to_integers(Floats x) { return _mm256_cvtps_epi32(x); }
inline Floats to_floats(Words x) { return _mm256_cvtepi32_ps(x); }
inline Floats from_f16(Words x) {
  Words low = _mm256_and_si256(x, _mm256_set1_epi32(0xffff));
  return _mm256_cvtph_ps(_mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1)));
}
inline Words to_f16(Floats x) {
  return _mm256_cvtepu16_epi32(_mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
template <int Q>
inline Floats spread(Floats x) {
  return _mm256_permute_ps(x, Q * 0x55);
}
template <int N>
inline __m128 block(Floats x) {
  return _mm256_extractf128_ps(x, N);
}
inline Words blocks(const uint8_t* const* p) {
  return _mm256_loadu2_m128i(reinterpret_cast<const __m128i*>(p[1]), reinterpret_cast<const __m128i*>(p[0]));
}
template <int N>
inline bool any_nan(const Floats (&x)[N]) {
  Floats bad = _mm256_cmp_ps(x[0], x[1], _CMP_UNORD_Q);
  for (int i = 2; i < N; i += 2) bad = _mm256_or_ps(bad, _mm256_cmp_ps(x[i], x[i + 1], _CMP_UNORD_Q));
  return _mm256_movemask_ps(bad) != 0;
}
#else
inline constexpr int lanes = 4;
using Floats = __m128;
using Words = __m128i;
inline Words load(const void* p) { return _mm_loadu_si128(static_cast<const Words*>(p)); }
inline Floats load_floats(const float* p) { return _mm_load_ps(p); }
inline void store(void* p, Floats x) { _mm_store_ps(static_cast<float*>(p), x); }
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
inline Words low_words(Words a, Words b) { return _mm_unpacklo_epi32(a, b); }
inline Words high_words(Words a, Words b) { return _mm_unpackhi_epi32(a, b); }
inline Words low_pairs(Words a, Words b) { return _mm_unpacklo_epi64(a, b); }
inline Words high_pairs(Words a, Words b) { return _mm_unpackhi_epi64(a, b); }
inline Words to_integers(Floats x) { return _mm_cvtps_epi32(x); }
inline Floats to_floats(Words x) { return _mm_cvtepi32_ps(x); }
inline Floats from_f16(Words x) {
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
inline Words to_f16(Floats x) {
  Words bits = _mm_castps_si128(x), magnitude = _mm_and_si128(bits, _mm_set1_epi32(0x7fffffff));
  Words sign = _mm_and_si128(_mm_srli_epi32(bits, 16), _mm_set1_epi32(0x8000));
  Words odd = _mm_and_si128(_mm_srli_epi32(magnitude, 13), _mm_set1_epi32(1));
  Words normal = _mm_srli_epi32(_mm_add_epi32(_mm_add_epi32(magnitude, _mm_set1_epi32(0xfff - (112 << 23))), odd), 13);
  // Adding 0.5 makes the hardware round at the last place of a subnormal f16.
  Words half = _mm_set1_epi32(0x3f000000);
  Words tiny = _mm_sub_epi32(_mm_castps_si128(_mm_add_ps(_mm_castsi128_ps(magnitude), _mm_castsi128_ps(half))), half);
  Words h = _mm_blendv_epi8(normal, tiny, _mm_cmpgt_epi32(_mm_set1_epi32(0x38800000), magnitude));
  h = _mm_blendv_epi8(h, _mm_set1_epi32(0x7c00), _mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x477fefff)));
  return _mm_or_si128(h, sign);
}
template <int Q>
inline Floats spread(Floats x) {
  return _mm_shuffle_ps(x, x, Q * 0x55);
}
template <int N>
inline __m128 block(Floats x) {
  return x;
}
inline Words blocks(const uint8_t* const* p) { return load(p[0]); }
template <int N>
inline bool any_nan(const Floats (&x)[N]) {
  Floats bad = _mm_cmpunord_ps(x[0], x[1]);
  for (int i = 2; i < N; i += 2) bad = _mm_or_ps(bad, _mm_cmpunord_ps(x[i], x[i + 1]));
  return _mm_movemask_ps(bad) != 0;
}
#endif

typedef uint32_t U32s __attribute__((vector_size(sizeof(Words))));
typedef int32_t S32s __attribute__((vector_size(sizeof(Words))));

inline S32s truncated(Floats x) { return __builtin_convertvector(x, S32s); }
inline Floats canonical(Floats x) {
  const S32s nan = S32s{} + 0x7fffffff;
  return x == x ? x : (Floats)nan;
}
inline Floats without_subnormals(Floats x) {
  return ((S32s)x & 0x7f800000) == 0 ? (Floats)((S32s)x & (S32s{} - 0x7fffffff - 1)) : x;
}
/// Low halves from `even`, high halves from `odd`, to nearest even.
inline Words pack_f16(Floats even, Floats odd) {
  auto half = [](Floats x) {
    const S32s h = (S32s)to_f16(x), nan = S32s{} + 0x7fff;
    return x == x ? h : nan;
  };
  return (Words)(half(even) | half(odd) << 16);
}
inline S32s saturated_sum(S32s a, S32s b) {
  const S32s sum = (S32s)((U32s)a + (U32s)b), overflow = (a ^ sum) & (b ^ sum);
  return overflow < 0 ? a >> 31 ^ 0x7fffffff : sum;
}

} // namespace
} // namespace tilejit::runtime::simulator
