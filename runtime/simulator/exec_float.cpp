// exec_float.cpp - single and double precision arithmetic, comparisons, approximations. PTX ISA 9.7.3, 9.7.5, 9.7.6.
//
// Rounding is that of MXCSR, and so is that subnormal sources count as zeros for .ftz: lowering puts the machine into
// the mode that the next instructions need. Subnormal results are flushed here. NaN results are canonical: 0x7fffffff.
// Approximations are our own, from fma polynomials, the same on every CPU; where the manual's error bound allows the
// correctly rounded value (rcp, sqrt, div) that is the result.
#include "runtime/simulator/handlers.h"
#include "runtime/simulator/small_floats.h"

namespace tilejit::runtime::simulator {
namespace {

constexpr u32 nan32 = 0x7fffffff;
constexpr u64 nan64 = 0x7fffffffffffffff;

template <class T>
inline T canonical(T x) {
  if constexpr (sizeof(T) == 4)
    return bits_as<f32>(x != x ? nan32 : bits_as<u32>(x));
  else
    return bits_as<f64>(x != x ? nan64 : bits_as<u64>(x)); // PTX leaves the payload open for f64
}
/// [0, 1]; NaN becomes +0.
inline f32 saturate(f32 x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }
inline f32 flush(f32 x) {
  u32 b = bits_as<u32>(x);
  return bits_as<f32>((b & 0x7f800000) ? b : b & 0x80000000);
}

/// fma with one rounding. Without the instruction: the product is exact in double; the sum is rounded to odd there,
/// so that the second rounding, to float, sees what was lost (Boldo and Melquiond, "Emulation of FMA", 2008).
inline f32 fused(f32 a, f32 b, f32 c) {
#if defined(__FMA__)
  return __builtin_fmaf(a, b, c);
#else
  return static_cast<f32>(odd_sum(static_cast<f64>(a) * static_cast<f64>(b), static_cast<f64>(c)));
#endif
}
inline f64 fused(f64 a, f64 b, f64 c) { return __builtin_fma(a, b, c); }

constexpr int plain = 0, ftz_ = 1, sat_ = 2;
/// A result that is flushed is rounded first: what rounds up to the smallest normal number stays.
template <class T, int flags>
inline T finish(T x) {
  if constexpr (flags & sat_)
    return flags & ftz_ ? flush(saturate(x)) : saturate(x);
  else if constexpr (flags & ftz_) {
    u32 b = bits_as<u32>(x);
    b = b & 0x7f800000 ? b : b & 0x80000000;
    return bits_as<f32>(x != x ? nan32 : b);
  } else
    return canonical(x);
}
template <class T, int flags = 0>
struct Add : Ops2<T> {
  static inline T apply(T a, T b) { return finish<T, flags>(a + b); }
};
template <class T, int flags = 0>
struct Sub : Ops2<T> {
  static inline T apply(T a, T b) { return finish<T, flags>(a - b); }
};
template <class T, int flags = 0>
struct Mul : Ops2<T> {
  static inline T apply(T a, T b) { return finish<T, flags>(a * b); }
};
template <class T, int flags = 0>
struct Div : Ops2<T> {
  static inline T apply(T a, T b) { return finish<T, flags>(a / b); }
};
template <class T, int flags = 0>
struct Fma : Ops3<T> {
  static inline T apply(T a, T b, T c) { return finish<T, flags>(fused(a, b, c)); }
};
template <class T, int flags = 0>
struct Rcp : Ops1<T> {
  static inline T apply(T a) { return finish<T, flags>(T(1) / a); }
};
template <class T, int flags = 0>
struct Sqrt : Ops1<T> {
  static inline T apply(T a) {
    return finish<T, flags>(sizeof(T) == 4 ? T(__builtin_sqrtf(f32(a))) : T(__builtin_sqrt(a)));
  }
};
/// Two floats in 64 bits.
template <class Op>
struct Two2 {
  using D = u64;
  using A = u64;
  using B = u64;
  static inline u32 one(u32 a, u32 b) { return bits_as<u32>(Op::apply(bits_as<f32>(a), bits_as<f32>(b))); }
  static inline u64 apply(u64 a, u64 b) { return one(u32(a), u32(b)) | u64(one(u32(a >> 32), u32(b >> 32))) << 32; }
};
template <class Op>
struct Two3 {
  using D = u64;
  using A = u64;
  using B = u64;
  using C = u64;
  static inline u32 one(u32 a, u32 b, u32 c) {
    return bits_as<u32>(Op::apply(bits_as<f32>(a), bits_as<f32>(b), bits_as<f32>(c)));
  }
  static inline u64 apply(u64 a, u64 b, u64 c) {
    return one(u32(a), u32(b), u32(c)) | u64(one(u32(a >> 32), u32(b >> 32), u32(c >> 32))) << 32;
  }
};
/// A half operand and a float one, in the order of the instruction.
template <class Op, class Half>
struct Mixed2 {
  using D = f32;
  using A = Half;
  using B = f32;
  static inline f32 apply(Half a, f32 b) { return Op::apply(to_f32(a), b); }
};
template <class Op, class Half>
struct Mixed3 {
  using D = f32;
  using A = Half;
  using B = Half;
  using C = f32;
  static inline f32 apply(Half a, Half b, f32 c) { return Op::apply(to_f32(a), to_f32(b), c); }
};
template <class T>
struct Neg : Ops1<T> {
  static inline T apply(T a) { return -a; }
};
template <class T>
struct Abs : Ops1<T> {
  static inline T apply(T a) {
    return bits_as<T>(LaneOf<T>(bits_as<LaneOf<T>>(a) & ~(LaneOf<T>(1) << (sizeof(T) * 8 - 1))));
  }
};
struct NegFtz : Ops1<f32> {
  static inline f32 apply(f32 a) { return canonical(flush(-a)); }
};
struct AbsFtz : Ops1<f32> {
  static inline f32 apply(f32 a) { return canonical(flush(Abs<f32>::apply(a))); }
};
template <class T>
struct Copysign : Ops2<T> { // the sign of a, the rest of b
  static inline T apply(T a, T b) {
    constexpr LaneOf<T> sign = LaneOf<T>(1) << (sizeof(T) * 8 - 1);
    return bits_as<T>(LaneOf<T>((bits_as<LaneOf<T>>(a) & sign) | (bits_as<LaneOf<T>>(b) & ~sign)));
  }
};

/// min, max: a NaN loses (wins with .NaN), -0 < +0. In flushing mode subnormals compare as zeros and become zeros.
template <class T, bool less, bool nan, bool ftz>
inline T extreme(T a, T b) {
  using Bits = LaneOf<T>;
  const Bits x = bits_as<Bits>(a), y = bits_as<Bits>(b);
  constexpr Bits canonical_nan = sizeof(T) == 4 ? Bits(nan32) : Bits(nan64);
  Bits r = bits_as<Bits>((less ? a < b : a > b) ? a : b); // the machine's own: b where they are equal or one is NaN
  r = a == b ? (less ? x | y : x & y) : r;                // only zeros differ in their bits then
  r = b != b ? x : r;
  if constexpr (ftz) r = r & 0x7f800000 ? r : r & 0x80000000;
  r = (nan ? a != a || b != b : a != a && b != b) ? canonical_nan : r;
  return bits_as<T>(r);
}
template <class T, bool less, bool nan, bool ftz>
struct Extreme : Ops2<T> {
  static inline T apply(T a, T b) { return extreme<T, less, nan, ftz>(a, b); }
};
/// Of whole vectors: the compiler takes the steps of `extreme` apart into branches and makes twice as many of them.
/// That counts: a maximum of a row of scores is a chain.
#if defined(__AVX512F__)
using Floats = __m512;
inline Floats load_floats(const u32* a) { return _mm512_load_ps(a); }
inline void store_floats(u32* d, Floats x) { _mm512_store_ps(d, x); }
inline Floats all_floats(f32 x) { return _mm512_set1_ps(x); }
template <bool less, bool ftz>
inline Floats extreme(Floats a, Floats b) {
  Floats r = less ? _mm512_min_ps(a, b) : _mm512_max_ps(a, b);
  const __mmask16 equal = _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ), nan_b = _mm512_cmp_ps_mask(b, b, _CMP_UNORD_Q);
  r = less ? _mm512_mask_or_ps(r, equal, a, b) : _mm512_mask_and_ps(r, equal, a, b);
  r = _mm512_mask_mov_ps(r, nan_b, a);
  if constexpr (ftz) {
    const __mmask16 small = _mm512_testn_epi32_mask(_mm512_castps_si512(r), _mm512_set1_epi32(0x7f800000));
    r = _mm512_mask_and_ps(r, small, r, _mm512_set1_ps(-0.0f));
  }
  return _mm512_mask_mov_ps(r, _mm512_mask_cmp_ps_mask(nan_b, a, a, _CMP_UNORD_Q), all_floats(bits_as<f32>(nan32)));
}
#elif defined(__AVX2__)
using Floats = __m256;
inline Floats load_floats(const u32* a) { return _mm256_load_ps(reinterpret_cast<const f32*>(a)); }
inline void store_floats(u32* d, Floats x) { _mm256_store_ps(reinterpret_cast<f32*>(d), x); }
inline Floats all_floats(f32 x) { return _mm256_set1_ps(x); }
template <bool less, bool ftz>
inline Floats extreme(Floats a, Floats b) {
  Floats r = less ? _mm256_min_ps(a, b) : _mm256_max_ps(a, b); // b where they are equal
  const Floats equal = _mm256_cmp_ps(a, b, _CMP_EQ_OQ), nan_b = _mm256_cmp_ps(b, b, _CMP_UNORD_Q);
  r = less ? _mm256_or_ps(r, _mm256_and_ps(equal, a)) : _mm256_andnot_ps(_mm256_andnot_ps(a, equal), r);
  r = _mm256_blendv_ps(r, a, nan_b);
  if constexpr (ftz) {
    const __m256i exponent = _mm256_and_si256(_mm256_castps_si256(r), _mm256_set1_epi32(0x7f800000));
    const Floats small = _mm256_castsi256_ps(_mm256_cmpeq_epi32(exponent, _mm256_setzero_si256()));
    r = _mm256_andnot_ps(_mm256_andnot_ps(all_floats(-0.0f), small), r);
  }
  return _mm256_blendv_ps(r, all_floats(bits_as<f32>(nan32)), _mm256_cmp_ps(r, r, _CMP_UNORD_Q));
}
#endif
#if defined(__AVX2__)
template <bool less, bool ftz, unsigned K>
const Insn* extreme_rows(Warp* w, const Insn* ip) {
  constexpr int step = sizeof(Floats) / 4;
  for (u32 more = ip->imm;; --more) {
    u32* d = row<f32>(w, ip->d);
    const u32 *a = row<f32>(w, K & 1 ? ip->d : ip->a), *b = row<f32>(w, K & 2 ? ip->d : ip->b);
    const Floats sa = K & 1 ? all_floats(scalar<f32>(w, ip->a)) : Floats{},
                 sb = K & 2 ? all_floats(scalar<f32>(w, ip->b)) : Floats{};
    for (int i = 0; i < 32; i += step)
      store_floats(d + i, extreme<less, ftz>(K & 1 ? sa : load_floats(a + i), K & 2 ? sb : load_floats(b + i)));
    ++ip;
    if (more == 0) return ip;
  }
}
#endif
template <bool less, bool ftz>
Fn pick_extreme(const Request& r) {
#if defined(__AVX2__)
  static constexpr Fn table[] = {extreme_rows<less, ftz, 0>, extreme_rows<less, ftz, 1>, extreme_rows<less, ftz, 2>};
  if (!r.scalar && r.kinds < 3) return table[r.kinds];
#endif
  return pick2<Extreme<f32, less, false, ftz>>(r);
}
/// .xorsign.abs, and .abs alone.
template <bool less, bool nan, bool ftz, bool xorsign>
struct ExtremeAbs : Ops2<f32> {
  static inline f32 apply(f32 a, f32 b) {
    f32 r = extreme<f32, less, nan, ftz>(Abs<f32>::apply(a), Abs<f32>::apply(b));
    if (!xorsign) return r;
    u32 sign = (bits_as<u32>(a) ^ bits_as<u32>(b)) & 0x80000000;
    return r != r ? r : bits_as<f32>(bits_as<u32>(r) | sign);
  }
};
template <bool less, bool nan, bool ftz, bool abs>
struct Extreme3 : Ops3<f32> {
  static inline f32 apply(f32 a, f32 b, f32 c) {
    if (abs) a = Abs<f32>::apply(a), b = Abs<f32>::apply(b), c = Abs<f32>::apply(c);
    return extreme<f32, less, nan, ftz>(extreme<f32, less, nan, ftz>(a, b), c);
  }
};

// --- approximations --------------------------------------------------------------------------------------------------

/// 2^x: x = n + f, |f| <= 1/2; a polynomial of degree 6 for 2^f; n is added to the exponent, in two steps so that
/// subnormal results are rounded once. Error below 2 ulp; the manual allows 2^-22.
inline f32 exp2_polynomial(f32 f) {
  f32 p = 1.5403530394e-4f;
  p = fused(p, f, 1.3333558146e-3f);
  p = fused(p, f, 9.6181291076e-3f);
  p = fused(p, f, 5.5504108664e-2f);
  p = fused(p, f, 2.4022650695e-1f);
  p = fused(p, f, 6.9314718056e-1f);
  return fused(p, f, 1.0f);
}
constexpr f32 round_magic = 12582912.0f; // 1.5 * 2^23: adding it rounds to an integer
template <bool ftz>
struct Ex2 : Ops1<f32> {
  static inline f32 apply(f32 x) {
    if constexpr (ftz) {
      f32 shifted = x + round_magic, f = x - (shifted - round_magic);
      u32 r = bits_as<u32>(exp2_polynomial(f)) + (bits_as<u32>(shifted) << 23);
      r = x < -126.0f ? 0 : r;
      r = x >= 128.0f ? 0x7f800000 : r;
      return bits_as<f32>(x != x ? nan32 : r);
    } else {
      f32 t = x < -160.0f ? -160.0f : x > 136.0f ? 136.0f : x;
      t = x != x ? 0.0f : t;
      f32 shifted = t + round_magic, f = t - (shifted - round_magic);
      s32 k = s32(bits_as<u32>(shifted) - bits_as<u32>(round_magic)), half = k >> 1;
      f32 r = exp2_polynomial(f) * bits_as<f32>(u32(half + 127) << 23) * bits_as<f32>(u32(k - half + 127) << 23);
      return bits_as<f32>(x != x ? nan32 : bits_as<u32>(r));
    }
  }
};
/// log2(x) = e + log2(m), m in [sqrt(1/2), sqrt(2)): with s = (m - 1) / (m + 1) an odd series in s.
template <bool ftz>
struct Lg2 : Ops1<f32> {
  static inline f32 apply(f32 x) {
    u32 b = bits_as<u32>(x);
    bool subnormal = (b & 0x7f800000) == 0;
    f32 scaled = bits_as<f32>(b); // in IEEE mode only: 2^24 x is normal
    u32 v = !ftz && subnormal ? bits_as<u32>(scaled * 16777216.0f) : b;
    s32 shift = !ftz && subnormal ? -24 : 0;
    s32 e = s32(v + (0x3f800000 - 0x3f3504f3)) >> 23; // biased exponent of x / sqrt(1/2)
    f32 m = bits_as<f32>(v - (u32(e - 127) << 23));
    f32 s = (m - 1.0f) / (m + 1.0f), q = s * s;
    f32 p = 0.320598698f; // 2 / (9 ln 2)
    p = fused(p, q, 0.412198583f);
    p = fused(p, q, 0.577078016f);
    p = fused(p, q, 0.961796694f);
    p = fused(p, q, 2.88539008f);
    f32 r = fused(p, s, f32(e - 127 + shift));
    bool zero = (b & 0x7fffffff) == 0 || (ftz && subnormal);
    u32 out = bits_as<u32>(r);
    out = b == 0x7f800000 ? 0x7f800000 : out;
    out = s32(b) < 0 || b > 0x7f800000 ? nan32 : out;
    out = zero ? 0xff800000 : out;
    return bits_as<f32>(out);
  }
};
template <int flags>
struct Rsqrt : Ops1<f32> { // through double: correctly rounded but for rare ties
  static inline f32 apply(f32 x) {
    return finish<f32, flags>(static_cast<f32>(1.0 / __builtin_sqrt(static_cast<f64>(x))));
  }
};
inline f64 flush(f64 x) {
  u64 b = bits_as<u64>(x);
  return bits_as<f64>(b & 0x7ff0000000000000 ? b : b & 0x8000000000000000);
}
/// rcp.approx.ftz.f64, rsqrt.approx.ftz.f64: the lower half of the source does not count, that of the result is zero.
/// rsqrt.approx.f64, software on the machine, is CUDA's rsqrt() with its error of one unit in the last place.
template <bool root, bool ftz>
struct ApproxDouble : Ops1<f64> {
  static inline f64 apply(f64 x) {
    if (ftz) x = flush(bits_as<f64>(bits_as<u64>(x) & 0xffffffff00000000));
    f64 r = 1.0 / (root ? __builtin_sqrt(x) : x);
    if (ftz) r = flush(r);
    return canonical(ftz ? bits_as<f64>(bits_as<u64>(r) & 0xffffffff00000000) : r);
  }
};
/// sin, cos, as the machine does them: the angle becomes turns by a product in float32 that is cut off, not rounded, so
/// that large angles lose what they lose there (an H200's results lie within 4e-7 of it, however large the angle). Then
/// quarters of a turn, and a polynomial on [-pi/4, pi/4].
template <bool cosine, int flags>
struct Sine : Ops1<f32> {
  static inline f32 apply(f32 x) {
    constexpr f64 magic = 6755399441055744.0;       // 1.5 * 2^52
    constexpr f64 turns_in_1 = 0.15915493667125702; // 1 / (2 pi) as a float32
    // The product is exact in double; 24 of its 53 digits stay.
    f64 quarters = 4.0 * bits_as<f64>(bits_as<u64>(f64(x) * turns_in_1) & ~u64(0x1fffffff));
    quarters = quarters < 0x1p26 && quarters > -0x1p26 ? quarters : 0.0; // else whole turns
    f64 shifted = quarters + magic;
    u32 quadrant = u32(bits_as<u64>(shifted)) + (cosine ? 1 : 0);
    f32 r = f32((quarters - (shifted - magic)) * 1.5707963267948966), q = r * r;
    f32 s = fused(fused(fused(2.75573192e-6f, q, -1.98412698e-4f), q, 8.33333333e-3f), q, -1.66666667e-1f);
    s = fused(s * q, r, r);
    f32 c = fused(fused(fused(2.48015873e-5f, q, -1.38888889e-3f), q, 4.16666667e-2f), q, -0.5f);
    c = fused(c, q, 1.0f);
    f32 y = quadrant & 1 ? c : s;
    y = quadrant & 2 ? -y : y;
    f32 zero = x - x; // NaN for infinities and NaNs
    return finish<f32, flags>(zero == 0.0f ? y : zero);
  }
};
/// tanh(x) = (1 - e) / (1 + e), e = 2^(-2 |x| log2(e)); for small x the odd series.
struct Tanh : Ops1<f32> {
  static inline f32 apply(f32 x) {
    f32 a = Abs<f32>::apply(x);
    f32 limited = a > 20.0f ? 20.0f : a;
    f32 e = Ex2<false>::apply(limited * -2.88539008f);
    f32 large = (1.0f - e) / (1.0f + e);
    f32 q = a * a;
    f32 small = fused(fused(fused(-0.0539682540f, q, 0.133333333f), q, -0.333333333f) * q, a, a);
    f32 r = a < 0.25f ? small : large;
    r = bits_as<f32>(bits_as<u32>(r) | (bits_as<u32>(x) & 0x80000000));
    return canonical(x != x ? x : r);
  }
};
/// div.approx, div.full: the quotient rounded to nearest, where the manual promises 2 ulp; .approx gives 0 for |b| in
/// (2^126, 2^128), as documented.
template <bool full, int flags>
struct DivApprox : Ops2<f32> {
  static inline f32 apply(f32 a, f32 b) {
    f32 q = a / b;
    if constexpr (!full) {
      u32 size = bits_as<u32>(b) & 0x7fffffff;
      bool huge = size > 0x7e800000 && size < 0x7f800000;
      u32 sign = (bits_as<u32>(a) ^ bits_as<u32>(b)) & 0x80000000;
      f32 inf = a - a; // NaN for an infinite numerator
      q = huge ? bits_as<f32>(inf == 0.0f ? sign : nan32) : q;
    }
    return finish<f32, flags>(q);
  }
};

// --- comparisons -----------------------------------------------------------------------------------------------------

template <class T>
struct Cmp {
  using A = T;
};
#define CMP(name, expression)                                                                                          \
  template <class T>                                                                                                   \
  struct name : Cmp<T> {                                                                                               \
    static inline bool apply(T a, T b) { return expression; }                                                          \
  };
// clang-format off
CMP(Eq, a == b)
CMP(Ne, a != b && a == a && b == b)
CMP(Lt, a < b)
CMP(Le, a <= b)
CMP(Gt, a > b)
CMP(Ge, a >= b)
CMP(Equ, !(a < b) && !(a > b))
CMP(Neu, a != b)
CMP(Ltu, !(a >= b))
CMP(Leu, !(a > b))
CMP(Gtu, !(a <= b))
CMP(Geu, !(a < b))
CMP(Num, a == a && b == b)
CMP(Nan, a != a || b != b)
CMP(IntNe, a != b)
// clang-format on

template <class T>
Fn compare_float(const Request& r) {
  for (u32 k = 0; k < r.mod_count; ++k) switch (r.mods[k]) {
#define C(mod, Op)                                                                                                     \
  case Mod::mod:                                                                                                       \
    if constexpr (sizeof(T) == 4)                                                                                      \
      return pick_compare<Op<T>>(r);                                                                                   \
    else                                                                                                               \
      return rare_compare<Op<T>>(r);
      // clang-format off
      C(eq, Eq)
      C(ne, Ne)
      C(lt, Lt)
      C(le, Le)
      C(gt, Gt)
      C(ge, Ge)
      C(equ, Equ)
      C(neu, Neu)
      C(ltu, Ltu)
      C(leu, Leu)
      C(gtu, Gtu)
      C(geu, Geu)
      // clang-format on
    case Mod::num: return rare_compare<Num<T>>(r);
    case Mod::nan: return rare_compare<Nan<T>>(r);
    default: break;
    }
  return nullptr;
}
template <class T>
Fn compare_int(const Request& r) {
  for (u32 k = 0; k < r.mod_count; ++k) switch (r.mods[k]) {
      // clang-format off
      C(eq, Eq)
      C(ne, IntNe)
      C(lt, Lt)
      C(lo, Lt)
      C(le, Le)
      C(ls, Le)
      C(gt, Gt)
      C(hi, Gt)
      C(ge, Ge)
      C(hs, Ge)
      // clang-format on
    default: break;
    }
#undef C
  return nullptr;
}
template <Mod what, class T>
struct Testp : Cmp<T> {
  static inline bool apply(T a, T) {
    using Bits = LaneOf<T>;
    constexpr Bits exponent = sizeof(T) == 4 ? Bits(0x7f800000) : Bits(0x7ff0000000000000),
                   all = Bits(~(Bits(1) << (sizeof(T) * 8 - 1)));
    Bits x = bits_as<Bits>(a) & all;
    if (what == Mod::finite) return x < exponent;
    if (what == Mod::infinite) return x == exponent;
    if (what == Mod::number) return x <= exponent;
    if (what == Mod::notanumber) return x > exponent;
    bool tiny = (x & exponent) == 0;
    return what == Mod::normal ? x == 0 || (!tiny && x < exponent) : tiny && x != 0; // zeros count as normal
  }
};
template <class T>
Fn testp(const Request& r) {
  if (has(r, Mod::finite)) return rare_compare<Testp<Mod::finite, T>>(r);
  if (has(r, Mod::infinite)) return rare_compare<Testp<Mod::infinite, T>>(r);
  if (has(r, Mod::number)) return rare_compare<Testp<Mod::number, T>>(r);
  if (has(r, Mod::notanumber)) return rare_compare<Testp<Mod::notanumber, T>>(r);
  if (has(r, Mod::normal)) return rare_compare<Testp<Mod::normal, T>>(r);
  return rare_compare<Testp<Mod::subnormal, T>>(r);
}

template <template <class, int> class Op>
Fn arithmetic2(const Request& r) {
  bool ftz = has(r, Mod::ftz), sat = has(r, Mod::sat);
  switch (r.types[0]) {
  case Type::f64: return seldom2<Op<f64, plain>>(r);
  case Type::f32x2: return ftz ? rare2<Two2<Op<f32, ftz_>>>(r) : rare2<Two2<Op<f32, plain>>>(r);
  case Type::f32:
    if (sat) return ftz ? rare2<Op<f32, sat_ | ftz_>>(r) : rare2<Op<f32, sat_>>(r);
    return ftz ? pick2<Op<f32, ftz_>>(r) : pick2<Op<f32, plain>>(r);
  default: return nullptr;
  }
}
Fn fma_of(const Request& r) {
  bool ftz = has(r, Mod::ftz), sat = has(r, Mod::sat);
  switch (r.types[0]) {
  case Type::f64: return seldom3<Fma<f64>>(r);
  case Type::f32x2: return ftz ? rare3<Two3<Fma<f32, ftz_>>>(r) : rare3<Two3<Fma<f32, plain>>>(r);
  case Type::f32:
    if (sat) return ftz ? rare3<Fma<f32, sat_ | ftz_>>(r) : rare3<Fma<f32, sat_>>(r);
    return ftz ? pick3<Fma<f32, ftz_>>(r) : pick3<Fma<f32, plain>>(r);
  default: return nullptr;
  }
}
template <template <class, int> class Op>
Fn mixed2(const Request& r) {
  bool sat = has(r, Mod::sat);
  if (r.types[1] == Type::f16)
    return sat ? rare2<Mixed2<Op<f32, sat_>, f16>>(r) : rare2<Mixed2<Op<f32, plain>, f16>>(r);
  return sat ? rare2<Mixed2<Op<f32, sat_>, bf16>>(r) : rare2<Mixed2<Op<f32, plain>, bf16>>(r);
}
Fn mixed3(const Request& r) {
  bool sat = has(r, Mod::sat);
  if (r.types[1] == Type::f16)
    return sat ? rare3<Mixed3<Fma<f32, sat_>, f16>>(r) : rare3<Mixed3<Fma<f32, plain>, f16>>(r);
  return sat ? rare3<Mixed3<Fma<f32, sat_>, bf16>>(r) : rare3<Mixed3<Fma<f32, plain>, bf16>>(r);
}
template <template <class, int> class Op>
Fn one_of(const Request& r) {
  if (r.types[0] == Type::f64) return seldom1<Op<f64, plain>>(r);
  return has(r, Mod::ftz) ? pick1<Op<f32, ftz_>>(r) : pick1<Op<f32, plain>>(r);
}
template <bool less>
Fn extreme_of(const Request& r) {
  bool nan = has(r, Mod::NaN), ftz = has(r, Mod::ftz), abs = has(r, Mod::abs), xorsign = has(r, Mod::xorsign);
  if (r.types[0] == Type::f64) return seldom2<Extreme<f64, less, false, false>>(r);
  if (!abs) {
    if (nan) return ftz ? rows2<Extreme<f32, less, true, true>>(r) : rows2<Extreme<f32, less, true, false>>(r);
    return ftz ? pick_extreme<less, true>(r) : pick_extreme<less, false>(r);
  }
  if (xorsign) {
    if (nan) return ftz ? rare2<ExtremeAbs<less, true, true, true>>(r) : rare2<ExtremeAbs<less, true, false, true>>(r);
    return ftz ? rare2<ExtremeAbs<less, false, true, true>>(r) : rare2<ExtremeAbs<less, false, false, true>>(r);
  }
  if (nan) return ftz ? rare2<ExtremeAbs<less, true, true, false>>(r) : rare2<ExtremeAbs<less, true, false, false>>(r);
  return ftz ? rare2<ExtremeAbs<less, false, true, false>>(r) : rare2<ExtremeAbs<less, false, false, false>>(r);
}
template <bool less>
Fn extreme3_of(const Request& r) {
  bool nan = has(r, Mod::NaN), ftz = has(r, Mod::ftz), abs = has(r, Mod::abs);
  if (nan)
    return ftz   ? abs ? rare3<Extreme3<less, true, true, true>>(r) : rare3<Extreme3<less, true, true, false>>(r)
           : abs ? rare3<Extreme3<less, true, false, true>>(r)
                 : rare3<Extreme3<less, true, false, false>>(r);
  return ftz   ? abs ? rare3<Extreme3<less, false, true, true>>(r) : rare3<Extreme3<less, false, true, false>>(r)
         : abs ? rare3<Extreme3<less, false, false, true>>(r)
               : rare3<Extreme3<less, false, false, false>>(r);
}

} // namespace

Fn ISA(select_float)(const Request& r) {
  bool wide = r.types[0] == Type::f64, ftz = has(r, Mod::ftz);
  switch (r.form) {
  case Form::add_float: return arithmetic2<Add>(r);
  case Form::sub_float: return arithmetic2<Sub>(r);
  case Form::mul_float: return arithmetic2<Mul>(r);
  case Form::fma_float: return fma_of(r);
  case Form::add_mixed: return mixed2<Add>(r);
  case Form::sub_mixed: return mixed2<Sub>(r);
  case Form::fma_mixed: return mixed3(r);
  case Form::div_float:
    if (wide) return seldom2<Div<f64>>(r);
    return ftz ? rows2<Div<f32, ftz_>>(r) : rows2<Div<f32, plain>>(r);
  case Form::div_approx:
    if (has(r, Mod::full)) return ftz ? pick2<DivApprox<true, ftz_>>(r) : rows2<DivApprox<true, plain>>(r);
    return ftz ? rare2<DivApprox<false, ftz_>>(r) : rare2<DivApprox<false, plain>>(r);
  case Form::abs_float: return wide ? seldom1<Abs<f64>>(r) : ftz ? pick1<AbsFtz>(r) : pick1<Abs<f32>>(r);
  case Form::neg_float: return wide ? seldom1<Neg<f64>>(r) : ftz ? pick1<NegFtz>(r) : pick1<Neg<f32>>(r);
  case Form::copysign: return wide ? rare2<Copysign<f64>>(r) : rare2<Copysign<f32>>(r);
  case Form::min_float: return extreme_of<true>(r);
  case Form::max_float: return extreme_of<false>(r);
  case Form::min3_float: return extreme3_of<true>(r);
  case Form::max3_float: return extreme3_of<false>(r);
  case Form::rcp: return one_of<Rcp>(r);
  case Form::rcp_approx: return wide ? rare1<ApproxDouble<false, true>>(r) : one_of<Rcp>(r);
  case Form::sqrt:
  case Form::sqrt_approx: return one_of<Sqrt>(r);
  case Form::rsqrt_approx:
    if (wide) return ftz ? rare1<ApproxDouble<true, true>>(r) : rare1<ApproxDouble<true, false>>(r);
    return ftz ? pick1<Rsqrt<ftz_>>(r) : pick1<Rsqrt<plain>>(r);
  case Form::sin_approx: return ftz ? rows1<Sine<false, ftz_>>(r) : rows1<Sine<false, plain>>(r);
  case Form::cos_approx: return ftz ? rows1<Sine<true, ftz_>>(r) : rows1<Sine<true, plain>>(r);
  case Form::lg2_approx: return ftz ? pick1<Lg2<true>>(r) : pick1<Lg2<false>>(r);
  case Form::ex2_approx: return ftz ? pick1<Ex2<true>>(r) : pick1<Ex2<false>>(r);
  case Form::tanh_approx: return pick1<Tanh>(r);
  case Form::testp: return wide ? testp<f64>(r) : testp<f32>(r);
  case Form::setp:
    switch (r.types[0]) {
    case Type::b16:
    case Type::u16: return compare_int<u16>(r);
    case Type::s16: return compare_int<s16>(r);
    case Type::b32:
    case Type::u32: return compare_int<u32>(r);
    case Type::s32: return compare_int<s32>(r);
    case Type::b64:
    case Type::u64: return compare_int<u64>(r);
    case Type::s64: return compare_int<s64>(r);
    case Type::f32: return compare_float<f32>(r);
    case Type::f64: return compare_float<f64>(r);
    default: return nullptr;
    }
  default: return nullptr;
  }
}

} // namespace tilejit::runtime::simulator
