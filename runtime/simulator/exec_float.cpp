// exec_float.cpp - single and double precision arithmetic, comparisons, approximations. PTX ISA 9.7.3, 9.7.5, 9.7.6.
//
// Rounding and flushing of subnormals are those of MXCSR: lowering puts the machine into the mode that the next
// instructions need (rounding modifier, .ftz), so an operation is written once. NaN results are canonical: 0x7fffffff.
// Approximations are our own, from fma polynomials, the same on every CPU; where the manual's error bound allows the
// correctly rounded value (rcp, sqrt, div) that is the result.
#include "runtime/simulator/handlers.h"
#include "runtime/simulator/lanes.h"

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
inline f64 add_odd(f64 a, f64 b) {
  f64 s = a + b, t = s - a, lost = (a - (s - t)) + (b - t);
  u64 bits = bits_as<u64>(s);
  bool fix = lost != 0.0 && !(bits & 1);
  // Towards the lost part: away from zero when both have the same sign.
  u64 toward = (bits_as<u64>(lost) ^ bits) >> 63 ? bits - 1 : bits + 1;
  return fix ? bits_as<f64>(toward) : s;
}
inline f32 fused(f32 a, f32 b, f32 c) {
#if defined(__FMA__)
  return __builtin_fmaf(a, b, c);
#else
  return static_cast<f32>(add_odd(static_cast<f64>(a) * static_cast<f64>(b), static_cast<f64>(c)));
#endif
}
inline f64 fused(f64 a, f64 b, f64 c) { return __builtin_fma(a, b, c); }

template <class T>
struct Ops1 {
  using D = T;
  using A = T;
};
template <class T>
struct Ops2 {
  using D = T;
  using A = T;
  using B = T;
};
template <class T>
struct Ops3 {
  using D = T;
  using A = T;
  using B = T;
  using C = T;
};
template <class T, bool sat>
inline T finish(T x) {
  if constexpr (sat)
    return saturate(x);
  else
    return canonical(x);
}
template <class T, bool sat = false>
struct Add : Ops2<T> {
  static inline T apply(T a, T b) { return finish<T, sat>(a + b); }
};
template <class T, bool sat = false>
struct Sub : Ops2<T> {
  static inline T apply(T a, T b) { return finish<T, sat>(a - b); }
};
template <class T, bool sat = false>
struct Mul : Ops2<T> {
  static inline T apply(T a, T b) { return finish<T, sat>(a * b); }
};
template <class T, bool sat = false>
struct Fma : Ops3<T> {
  static inline T apply(T a, T b, T c) { return finish<T, sat>(fused(a, b, c)); }
};
template <class T>
struct Div : Ops2<T> {
  static inline T apply(T a, T b) { return canonical(a / b); }
};
template <class T>
struct Rcp : Ops1<T> {
  static inline T apply(T a) { return canonical(T(1) / a); }
};
template <class T>
struct Sqrt : Ops1<T> {
  static inline T apply(T a) { return canonical(sizeof(T) == 4 ? T(__builtin_sqrtf(f32(a))) : T(__builtin_sqrt(a))); }
};
template <class T>
struct Neg : Ops1<T> {
  static inline T apply(T a) { return -a; }
};
template <class T>
struct Abs : Ops1<T> {
  static inline T apply(T a) {
    return sizeof(T) == 4 ? bits_as<T>(LaneOf<T>(bits_as<LaneOf<T>>(a) & ~(LaneOf<T>(1) << (sizeof(T) * 8 - 1))))
                          : bits_as<T>(LaneOf<T>(bits_as<LaneOf<T>>(a) & ~(LaneOf<T>(1) << (sizeof(T) * 8 - 1))));
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
  Bits x = bits_as<Bits>(a), y = bits_as<Bits>(b);
  Bits same = less ? x | y : x & y; // equal: only zeros differ in their bits
  Bits r = (less ? a < b : a > b) ? x : (less ? b < a : b > a) ? y : same;
  constexpr Bits canonical_nan = sizeof(T) == 4 ? Bits(nan32) : Bits(nan64);
  if constexpr (ftz) r = r & 0x7f800000 ? r : r & 0x80000000;
  bool nan_a = a != a, nan_b = b != b;
  if constexpr (nan) {
    r = nan_a || nan_b ? canonical_nan : r;
  } else {
    Bits keep_a = x, keep_b = y;
    if constexpr (ftz) keep_a = x & 0x7f800000 ? x : x & 0x80000000, keep_b = y & 0x7f800000 ? y : y & 0x80000000;
    r = nan_a ? keep_b : nan_b ? keep_a : r;
    r = nan_a && nan_b ? canonical_nan : r;
  }
  return bits_as<T>(r);
}
template <class T, bool less, bool nan, bool ftz>
struct Extreme : Ops2<T> {
  static inline T apply(T a, T b) { return extreme<T, less, nan, ftz>(a, b); }
};
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
/// subnormal results are rounded once (in flushing mode they become zeros). Error below 2 ulp; the manual allows 2^-22.
struct Ex2 : Ops1<f32> {
  static inline f32 apply(f32 x) {
    constexpr f32 magic = 12582912.0f; // 1.5 * 2^23: adding it rounds to an integer
    f32 t = x < -160.0f ? -160.0f : x > 136.0f ? 136.0f : x;
    t = x != x ? 0.0f : t;
    f32 shifted = t + magic, n = shifted - magic, f = t - n;
    f32 p = 1.5403530394e-4f;
    p = fused(p, f, 1.3333558146e-3f);
    p = fused(p, f, 9.6181291076e-3f);
    p = fused(p, f, 5.5504108664e-2f);
    p = fused(p, f, 2.4022650695e-1f);
    p = fused(p, f, 6.9314718056e-1f);
    p = fused(p, f, 1.0f);
    s32 k = s32(bits_as<u32>(shifted) - bits_as<u32>(magic)), half = k >> 1;
    f32 r = p * bits_as<f32>(u32(half + 127) << 23) * bits_as<f32>(u32(k - half + 127) << 23);
    return bits_as<f32>(x != x ? nan32 : bits_as<u32>(r));
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
struct Rsqrt : Ops1<f32> { // through double: correctly rounded but for rare ties
  static inline f32 apply(f32 x) {
    f32 r = static_cast<f32>(1.0 / __builtin_sqrt(static_cast<f64>(x)));
    return canonical(r);
  }
};
struct RsqrtDouble : Ops1<f64> {
  static inline f64 apply(f64 x) { return canonical(1.0 / __builtin_sqrt(x)); }
};
struct RcpApproxDouble : Ops1<f64> { // 20 bits of the mantissa, subnormals flushed: rcp.approx.ftz.f64
  static inline f64 apply(f64 x) {
    u64 b = bits_as<u64>(x);
    if ((b & 0x7ff0000000000000) == 0) b &= 0x8000000000000000;
    u64 r = bits_as<u64>(1.0 / bits_as<f64>(b));
    if ((r & 0x7ff0000000000000) == 0) r &= 0x8000000000000000;
    return canonical(bits_as<f64>(r & 0xffffffff00000000));
  }
};
/// sin, cos: quadrant by multiples of pi/2 in three parts, then a polynomial on [-pi/4, pi/4]. The manual promises an
/// absolute error of 2^-20.5 in [-pi, pi]; the reduction keeps that to about 10^5 and says nothing beyond.
template <bool cosine>
struct Sine : Ops1<f32> {
  static inline f32 apply(f32 x) {
    constexpr f32 magic = 12582912.0f;
    f32 t = fused(x, 0.636619772f, magic);
    u32 quadrant = bits_as<u32>(t) + (cosine ? 1 : 0);
    f32 n = t - magic;
    f32 r = fused(n, -1.57079637f, x);
    r = fused(n, 4.37113883e-8f, r);
    r = fused(n, 1.71512489e-15f, r);
    f32 q = r * r;
    f32 s = fused(fused(fused(2.75573192e-6f, q, -1.98412698e-4f), q, 8.33333333e-3f), q, -1.66666667e-1f);
    s = fused(s * q, r, r);
    f32 c = fused(fused(fused(2.48015873e-5f, q, -1.38888889e-3f), q, 4.16666667e-2f), q, -0.5f);
    c = fused(c, q, 1.0f);
    f32 y = quadrant & 1 ? c : s;
    y = quadrant & 2 ? -y : y;
    f32 zero = x - x; // NaN for infinities and NaNs
    return canonical(zero == 0.0f ? y : zero);
  }
};
/// tanh(x) = (1 - e) / (1 + e), e = 2^(-2 |x| log2(e)); for small x the odd series.
struct Tanh : Ops1<f32> {
  static inline f32 apply(f32 x) {
    f32 a = Abs<f32>::apply(x);
    f32 limited = a > 20.0f ? 20.0f : a;
    f32 e = Ex2::apply(limited * -2.88539008f);
    f32 large = (1.0f - e) / (1.0f + e);
    f32 q = a * a;
    f32 small = fused(fused(fused(-0.0539682540f, q, 0.133333333f), q, -0.333333333f) * q, a, a);
    f32 r = a < 0.25f ? small : large;
    r = bits_as<f32>(bits_as<u32>(r) | (bits_as<u32>(x) & 0x80000000));
    return canonical(x != x ? x : r);
  }
};
/// div.approx, div.full: a * (1 / b) through double, so the quotient is right where the manual promises 2 ulp; .approx
/// gives 0 for |b| in (2^126, 2^128), as documented.
template <bool full>
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
    return canonical(q);
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
CMP(Eq, a == b)
CMP(Ne, a != b && a == a && b == b) CMP(Lt, a < b) CMP(Le, a <= b) CMP(Gt, a > b) CMP(Ge, a >= b)
    CMP(Equ, !(a < b) && !(a > b)) CMP(Neu, a != b) CMP(Ltu, !(a >= b)) CMP(Leu, !(a > b)) CMP(Gtu, !(a <= b))
        CMP(Geu, !(a < b)) CMP(Num, a == a && b == b) CMP(Nan, a != a || b != b) CMP(IntNe, a != b)

            template <class T>
            Fn compare_float(const Request& r) {
  for (u32 k = 0; k < r.mod_count; ++k) switch (r.mods[k]) {
    case Mod::eq: return pick_compare<Eq<T>>(r);
    case Mod::ne: return pick_compare<Ne<T>>(r);
    case Mod::lt: return pick_compare<Lt<T>>(r);
    case Mod::le: return pick_compare<Le<T>>(r);
    case Mod::gt: return pick_compare<Gt<T>>(r);
    case Mod::ge: return pick_compare<Ge<T>>(r);
    case Mod::equ: return pick_compare<Equ<T>>(r);
    case Mod::neu: return pick_compare<Neu<T>>(r);
    case Mod::ltu: return pick_compare<Ltu<T>>(r);
    case Mod::leu: return pick_compare<Leu<T>>(r);
    case Mod::gtu: return pick_compare<Gtu<T>>(r);
    case Mod::geu: return pick_compare<Geu<T>>(r);
    case Mod::num: return pick_compare<Num<T>>(r);
    case Mod::nan: return pick_compare<Nan<T>>(r);
    default: break;
    }
  return nullptr;
}
template <class T>
Fn compare_int(const Request& r) {
  for (u32 k = 0; k < r.mod_count; ++k) switch (r.mods[k]) {
    case Mod::eq: return pick_compare<Eq<T>>(r);
    case Mod::ne: return pick_compare<IntNe<T>>(r);
    case Mod::lt:
    case Mod::lo: return pick_compare<Lt<T>>(r);
    case Mod::le:
    case Mod::ls: return pick_compare<Le<T>>(r);
    case Mod::gt:
    case Mod::hi: return pick_compare<Gt<T>>(r);
    case Mod::ge:
    case Mod::hs: return pick_compare<Ge<T>>(r);
    default: break;
    }
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
    return what == Mod::normal ? !tiny && x < exponent : tiny && x != 0;
  }
};
template <class T>
Fn testp(const Request& r) {
  if (has(r, Mod::finite)) return pick_compare<Testp<Mod::finite, T>>(r);
  if (has(r, Mod::infinite)) return pick_compare<Testp<Mod::infinite, T>>(r);
  if (has(r, Mod::number)) return pick_compare<Testp<Mod::number, T>>(r);
  if (has(r, Mod::notanumber)) return pick_compare<Testp<Mod::notanumber, T>>(r);
  if (has(r, Mod::normal)) return pick_compare<Testp<Mod::normal, T>>(r);
  return pick_compare<Testp<Mod::subnormal, T>>(r);
}

template <template <class, bool> class Op>
Fn arithmetic2(const Request& r) {
  if (r.types[0] == Type::f64) return pick2<Op<f64, false>>(r);
  if (r.types[0] != Type::f32) return nullptr;
  return has(r, Mod::sat) ? pick2<Op<f32, true>>(r) : pick2<Op<f32, false>>(r);
}
template <bool less>
Fn extreme_of(const Request& r) {
  bool nan = has(r, Mod::NaN), ftz = has(r, Mod::ftz), abs = has(r, Mod::abs), xorsign = has(r, Mod::xorsign);
  if (r.types[0] == Type::f64) return pick2<Extreme<f64, less, false, false>>(r);
  if (!abs) {
    if (nan) return ftz ? pick2<Extreme<f32, less, true, true>>(r) : pick2<Extreme<f32, less, true, false>>(r);
    return ftz ? pick2<Extreme<f32, less, false, true>>(r) : pick2<Extreme<f32, less, false, false>>(r);
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
  bool wide = r.types[0] == Type::f64, ftz = has(r, Mod::ftz), sat = has(r, Mod::sat);
  switch (r.form) {
  case Form::add_float: return arithmetic2<Add>(r);
  case Form::sub_float: return arithmetic2<Sub>(r);
  case Form::mul_float: return arithmetic2<Mul>(r);
  case Form::fma_float:
    if (wide) return pick3<Fma<f64>>(r);
    if (r.types[0] != Type::f32) return nullptr;
    return sat ? rare3<Fma<f32, true>>(r) : pick3<Fma<f32>>(r);
  case Form::div_float: return wide ? pick2<Div<f64>>(r) : pick2<Div<f32>>(r);
  case Form::div_approx: return has(r, Mod::full) ? pick2<DivApprox<true>>(r) : pick2<DivApprox<false>>(r);
  case Form::abs_float: return wide ? pick1<Abs<f64>>(r) : ftz ? pick1<AbsFtz>(r) : pick1<Abs<f32>>(r);
  case Form::neg_float: return wide ? pick1<Neg<f64>>(r) : ftz ? pick1<NegFtz>(r) : pick1<Neg<f32>>(r);
  case Form::copysign: return wide ? rare2<Copysign<f64>>(r) : rare2<Copysign<f32>>(r);
  case Form::min_float: return extreme_of<true>(r);
  case Form::max_float: return extreme_of<false>(r);
  case Form::min3_float: return extreme3_of<true>(r);
  case Form::max3_float: return extreme3_of<false>(r);
  case Form::rcp: return wide ? pick1<Rcp<f64>>(r) : pick1<Rcp<f32>>(r);
  case Form::rcp_approx: return wide ? pick1<RcpApproxDouble>(r) : pick1<Rcp<f32>>(r);
  case Form::sqrt: return wide ? pick1<Sqrt<f64>>(r) : pick1<Sqrt<f32>>(r);
  case Form::sqrt_approx: return pick1<Sqrt<f32>>(r);
  case Form::rsqrt_approx: return wide ? pick1<RsqrtDouble>(r) : pick1<Rsqrt>(r);
  case Form::sin_approx: return pick1<Sine<false>>(r);
  case Form::cos_approx: return pick1<Sine<true>>(r);
  case Form::lg2_approx: return ftz ? pick1<Lg2<true>>(r) : pick1<Lg2<false>>(r);
  case Form::ex2_approx: return pick1<Ex2>(r);
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
