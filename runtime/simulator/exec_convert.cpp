// exec_convert.cpp - cvt. PTX ISA 9.7.9 "cvt", "cvt.pack".
//
// Rounding of results to f32 and f64 is that of MXCSR, set by lowering; rounding to integral values (.rni ...) and to
// smaller formats is done here. Float to integer clamps; NaN becomes 0, or the
// highest bit alone where either has 64 bits. Between formats a NaN becomes the canonical one, but from f64 and from
// bf16 it keeps its sign and the upper bits of its payload, as an H200 does.
#include "runtime/simulator/handlers.h"
#include "runtime/simulator/small_floats.h"

namespace tilejit::runtime::simulator {
namespace {

// The types that cvt converts from and to, which have their PTX names here too.
#define INTEGERS(X) X(u8) X(s8) X(u16) X(s16) X(u32) X(s32) X(u64) X(s64)
#define FLOATS(X) X(f16) X(bf16) X(f32) X(f64)

template <class T>
inline constexpr bool is_float_type = false;
template <>
inline constexpr bool is_float_type<f16> = true;
template <>
inline constexpr bool is_float_type<bf16> = true;
template <>
inline constexpr bool is_float_type<f32> = true;
template <>
inline constexpr bool is_float_type<f64> = true;
template <class T>
struct Limits {
  static constexpr bool is_signed = T(-1) < T(0);
  static constexpr int bits = int(sizeof(T) * 8);
  static constexpr T lowest = is_signed ? T(T(1) << (bits - 1)) : T(0), highest = T(~lowest);
};

/// What a lane gets: narrow integers are extended to 32 bits.
template <class T>
struct Widened {
  using type = T;
};
template <>
struct Widened<u8> {
  using type = u32;
};
template <>
struct Widened<u16> {
  using type = u32;
};
template <>
struct Widened<s8> {
  using type = s32;
};
template <>
struct Widened<s16> {
  using type = s32;
};

// --- integers --------------------------------------------------------------------------------------------------------

template <class To, class From, bool sat>
struct IntToInt {
  using D = typename Widened<To>::type;
  using A = From;
  static inline D apply(From a) {
    if constexpr (sat) {
      if constexpr (!Limits<To>::is_signed && Limits<From>::is_signed)
        if (a < 0) return 0;
      if constexpr (sizeof(To) <= sizeof(From)) {
        using Big = typename Choose<Limits<From>::is_signed, s64, u64>::type;
        constexpr bool can_exceed = sizeof(To) < sizeof(From) || (Limits<To>::is_signed && !Limits<From>::is_signed);
        if constexpr (can_exceed) {
          if (Big(a) > Big(Limits<To>::highest)) return D(Limits<To>::highest);
          if constexpr (Limits<From>::is_signed && Limits<To>::is_signed)
            if (Big(a) < Big(Limits<To>::lowest)) return D(Limits<To>::lowest);
        }
      }
    }
    return D(To(a));
  }
};
template <class To>
Fn int_from(const Request& r) {
  if constexpr (sizeof(To) >= 4)
    if (!has(r, Mod::sat)) switch (r.types[1]) {
      case Type::u32: return pick1<IntToInt<To, u32, false>>(r);
      case Type::s32: return pick1<IntToInt<To, s32, false>>(r);
      case Type::u64: return pick1<IntToInt<To, u64, false>>(r);
      case Type::s64: return pick1<IntToInt<To, s64, false>>(r);
      default: break;
      }
#define FROM(T)                                                                                                        \
  case Type::T: return has(r, Mod::sat) ? rare1<IntToInt<To, T, true>>(r) : seldom1<IntToInt<To, T, false>>(r);
  switch (r.types[1]) {
    INTEGERS(FROM)
  default: return nullptr;
  }
#undef FROM
}

// --- integers and floats ---------------------------------------------------------------------------------------------

enum class Round { nearest, zero, down, up, away };
inline f32 integral(f32 x, Round r) {
  switch (r) {
  case Round::nearest: return __builtin_rintf(x);
  case Round::zero: return __builtin_truncf(x);
  case Round::down: return __builtin_floorf(x);
  default: return __builtin_ceilf(x);
  }
}
inline f64 integral(f64 x, Round r) {
  switch (r) {
  case Round::nearest: return __builtin_rint(x);
  case Round::zero: return __builtin_trunc(x);
  case Round::down: return __builtin_floor(x);
  default: return __builtin_ceil(x);
  }
}

template <class To, class From, Round round>
struct FloatToInt {
  using D = typename Widened<To>::type;
  using A = From;
  using F = typename Choose<sizeof(From) == 8, f64, f32>::type;
  static inline D apply(From a) {
    F x;
    if constexpr (sizeof(From) == 8)
      x = a;
    else
      x = to_f32(a);
    x = integral(x, round);
    constexpr F low = F(Limits<To>::lowest),
                beyond = F(2) * F(To(1) << (Limits<To>::bits - 2)) * (Limits<To>::is_signed ? F(1) : F(2));
    bool over = x >= beyond, under = x < low;
    F safe = over || under || x != x ? F(0) : x;
    constexpr D of_nan = sizeof(To) == 8 || sizeof(From) == 8 ? D(To(To(1) << (Limits<To>::bits - 1))) : D(0);
    D r = D(static_cast<To>(safe));
    return over ? D(Limits<To>::highest) : under ? D(Limits<To>::lowest) : x != x ? of_nan : r;
  }
};
template <class To, class From>
Fn float_to_int(const Request& r) {
  if (has(r, Mod::rzi)) {
    if constexpr (sizeof(To) == 4 && sizeof(From) == 4)
      return pick1<FloatToInt<To, From, Round::zero>>(r);
    else
      return rare1<FloatToInt<To, From, Round::zero>>(r);
  }
  if (has(r, Mod::rni)) return rare1<FloatToInt<To, From, Round::nearest>>(r);
  if (has(r, Mod::rmi)) return rare1<FloatToInt<To, From, Round::down>>(r);
  return rare1<FloatToInt<To, From, Round::up>>(r);
}
template <class To>
Fn int_from_float(const Request& r) {
#define FROM(T)                                                                                                        \
  case Type::T: return float_to_int<To, T>(r);
  switch (r.types[1]) {
    FLOATS(FROM)
  default: return int_from<To>(r);
  }
#undef FROM
}

inline f32 saturated(f32 x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }

/// A float to one of the half types.
template <class To, Round round>
inline To to_half(f32 x) {
  if constexpr (round == Round::nearest) return round_to<To>(x);
  To t = truncate_to<To>(x);
  if constexpr (round == Round::zero) return t;
  f32 back = to_f32(t);
  bool away = round == Round::up ? back < x : back > x; // the magnitude must grow: truncation went the other way
  return {u16(away ? t.bits + 1 : t.bits)};
}
inline f32 flushed(f32 x) {
  u32 b = bits_as<u32>(x);
  return bits_as<f32>(b & 0x7f800000 ? b : b & 0x80000000);
}
template <class To, class From>
inline f32 half_source(From a) {
  if constexpr (is_float_type<From>) {
    if constexpr (sizeof(From) == 8)
      return odd_f32(a);
    else
      return to_f32(a);
  } else if constexpr (sizeof(From) == 8) { // beyond 2^53 the low bits only say whether it is between two doubles
    u64 size = a < From(0) ? u64(0) - u64(a) : u64(a);
    size = size >> 53 && (size & 0x7ff) ? (size & ~u64(0x7ff)) | 0x800 : size;
    f64 d = f64(size);
    return odd_f32(a < From(0) ? -d : d);
  } else
    return odd_f32(f64(a));
}
/// A NaN of f64 in a half type; `r` where it is none.
template <class To, class From>
inline To keep_nan(From a, To r) {
  if constexpr (is_float_type<From> && sizeof(From) == 8) {
    constexpr int payload = exponent_of<To> == 0x7c00 ? 10 : 7;
    const u64 b = bits_as<u64>(a);
    const u32 quiet = u32(b >> 48 & 0x8000) | exponent_of<To> | 1u << (payload - 1) |
                      u32(b >> (52 - payload) & ((1u << payload) - 1));
    if (a != a) return {u16(quiet)};
  }
  return r;
}
template <class To, class From>
struct ToHalf {
  using D = To;
  using A = From;
  static inline To apply(From a) { return keep_nan<To>(a, round_to<To>(half_source<To>(a))); }
};
#if TILEJIT_EVERYTHING
/// Any rounding, .sat and .ftz: what `aux` says (ConvertMode).
template <class To, class From>
const Insn* to_half_in_mode(Warp* w, const Insn* ip) {
  for (u32 more = ip->imm;; --more) {
    auto* d = row<To>(w, ip->d);
    const auto* a = row<From>(w, ip->a);
    const u32 mode = ip->aux;
    for (int i = 0; i < 32; ++i) {
      f32 x = half_source<To>(from_lane<From>(a[i]));
      if (mode & convert_ftz) x = flushed(x);
      if (mode & convert_integral) {
        switch (mode & convert_rounding) {
        case 0: x = integral(x, Round::nearest); break;
        case 1: x = integral(x, Round::zero); break;
        case 2: x = integral(x, Round::down); break;
        default: x = integral(x, Round::up); break;
        }
      }
      if (mode & convert_sat) x = saturated(x);
      To t;
      switch (mode & convert_integral ? 0 : mode & convert_rounding) {
      case 0: t = to_half<To, Round::nearest>(x); break;
      case 1: t = to_half<To, Round::zero>(x); break;
      case 2: t = to_half<To, Round::down>(x); break;
      default: t = to_half<To, Round::up>(x); break;
      }
      if (!(mode & convert_sat)) t = keep_nan<To>(from_lane<From>(a[i]), t);
      d[i] = to_lane<To>(t);
    }
    ++ip;
    if (more == 0) return ip;
  }
}
#endif
template <class To, class From>
Fn half_from(const Request& r) {
  for (Mod special : {Mod::rz, Mod::rm, Mod::rp, Mod::sat, Mod::rni, Mod::rzi, Mod::rmi, Mod::rpi})
    if (has(r, special)) RARE((r.kinds == 0 && !r.scalar ? to_half_in_mode<To, From> : nullptr));
  if constexpr (is_float_type<From> && sizeof(From) == 4)
    return rows1<ToHalf<To, From>>(r);
  else
    return rare1<ToHalf<To, From>>(r);
}
template <class To>
Fn half(const Request& r) {
#define FROM(T)                                                                                                        \
  case Type::T: return half_from<To, T>(r);
  switch (r.types[1]) {
    INTEGERS(FROM)
    FLOATS(FROM)
  default: return nullptr;
  }
#undef FROM
}

template <class To, class From, bool sat, bool ftz>
struct ToFloat {
  using D = To;
  using A = From;
  static inline To apply(From a) {
    To x;
    if constexpr (!is_float_type<From> || sizeof(From) >= 4) {
      if constexpr (ftz && sizeof(From) == 4 && is_float_type<From>) a = flushed(a);
      x = static_cast<To>(a);
    } else
      x = static_cast<To>(to_f32(a));
    if constexpr (sat) x = x > To(0) ? (x < To(1) ? x : To(1)) : To(0);
    if constexpr (ftz && sizeof(To) == 4) x = flushed(x);
    constexpr bool keeps_nan =
        sizeof(To) == 4 && (sizeof(From) == 8 || (!ftz && exponent_of<From> == exponent_of<bf16>));
    if constexpr (is_float_type<From> && !keeps_nan) {
      constexpr LaneOf<To> nan = sizeof(To) == 4 ? LaneOf<To>(0x7fffffff) : LaneOf<To>(0x7fffffffffffffff);
      x = bits_as<To>(x != x ? nan : bits_as<LaneOf<To>>(x));
    }
    return x;
  }
};
template <class T, Round round, bool sat>
struct Integral {
  using D = T;
  using A = T;
  static inline T apply(T a) {
    T x = integral(a, round);
    if constexpr (sizeof(T) == 4)
      x = bits_as<f32>(x != x ? 0x7fffffffu : bits_as<u32>(x));
    else
      x = bits_as<f64>(x != x ? 0x7fffffffffffffffull : bits_as<u64>(x));
    if constexpr (sat) x = x > T(0) ? (x < T(1) ? x : T(1)) : T(0);
    return x;
  }
};
template <class To, class From>
Fn float_from(const Request& r) {
  if constexpr (sizeof(To) == sizeof(From) && is_float_type<From>) {
    bool sat = has(r, Mod::sat);
    if (has(r, Mod::rni))
      return sat ? rare1<Integral<To, Round::nearest, true>>(r) : rare1<Integral<To, Round::nearest, false>>(r);
    if (has(r, Mod::rzi))
      return sat ? rare1<Integral<To, Round::zero, true>>(r) : rare1<Integral<To, Round::zero, false>>(r);
    if (has(r, Mod::rmi))
      return sat ? rare1<Integral<To, Round::down, true>>(r) : rare1<Integral<To, Round::down, false>>(r);
    if (has(r, Mod::rpi))
      return sat ? rare1<Integral<To, Round::up, true>>(r) : rare1<Integral<To, Round::up, false>>(r);
  }
  bool sat = has(r, Mod::sat), ftz = has(r, Mod::ftz);
  constexpr bool narrow = is_float_type<From> && sizeof(From) == 2, word = sizeof(From) == 4;
  if (sat) return ftz ? rare1<ToFloat<To, From, true, true>>(r) : rare1<ToFloat<To, From, true, false>>(r);
  if constexpr (sizeof(To) == 4 && (narrow || (word && !is_float_type<From>))) {
    if constexpr (is_float_type<From> && exponent_of<From> == 0x7c00)
      return rows1<ToFloat<To, From, false, false>>(r); // f16: never subnormal as f32
    else
      return ftz ? rare1<ToFloat<To, From, false, true>>(r) : pick1<ToFloat<To, From, false, false>>(r);
  } else
    return ftz ? rare1<ToFloat<To, From, false, true>>(r) : seldom1<ToFloat<To, From, false, false>>(r);
}
template <class To>
Fn floating(const Request& r) {
#define FROM(T)                                                                                                        \
  case Type::T: return float_from<To, T>(r);
  switch (r.types[1]) {
    INTEGERS(FROM)
    FLOATS(FROM)
  default: return nullptr;
  }
#undef FROM
}

// --- packs and special formats ---------------------------------------------------------------------------------------

/// With .relu negatives become +0; with .satfinite what overflows becomes the largest finite value.
template <class To, Round round, bool relu, bool finite>
inline u32 packed_half(f32 x) {
  To t = to_half<To, round>(x);
  u32 b = t.bits;
  bool nan = (b & 0x7fff) > exponent_of<To>;
  if (finite) b = !nan && (b & 0x7fff) == exponent_of<To> ? (b & 0x8000) | (exponent_of<To> - 1) : b;
  if (relu) b = !nan && (b & 0x8000) ? 0 : b;
  return b;
}
template <class To, Round round, bool relu, bool finite>
struct Pack {
  using D = u32;
  using A = f32;
  using B = f32;
  static inline u32 apply(f32 a, f32 b) {
    return packed_half<To, round, relu, finite>(a) << 16 | packed_half<To, round, relu, finite>(b);
  }
};
template <class To, Round round, bool relu, bool finite>
struct One {
  using D = To;
  using A = f32;
  static inline To apply(f32 a) { return {u16(packed_half<To, round, relu, finite>(a))}; }
};
template <class To, bool pack, Round round>
Fn pack_of(const Request& r) {
  bool relu = has(r, Mod::relu), finite = has(r, Mod::satfinite);
#define P(relu, finite)                                                                                                \
  if constexpr (pack && round == Round::nearest && !relu && !finite)                                                   \
    return rows2<Pack<To, round, relu, finite>>(r);                                                                    \
  else if constexpr (pack)                                                                                             \
    return rare2<Pack<To, round, relu, finite>>(r);                                                                    \
  else                                                                                                                 \
    return rare1<One<To, round, relu, finite>>(r);
  if (relu) {
    if (finite) {
      P(true, true)
    }
    P(true, false)
  }
  if (finite) {
    P(false, true)
  }
  P(false, false)
#undef P
}
template <class To, bool pack>
Fn pack_of(const Request& r) {
  return has(r, Mod::rz) ? pack_of<To, pack, Round::zero>(r) : pack_of<To, pack, Round::nearest>(r);
}

/// tf32 is a float whose low 13 bits are zero, and so is its canonical NaN; .rna cuts a NaN off.
template <Round round, bool relu, bool finite>
struct ToTf32 {
  using D = f32;
  using A = f32;
  static inline f32 apply(f32 x) {
    u32 b = bits_as<u32>(x), size = b & 0x7fffffff;
    u32 r = round == Round::away ? b + 0x1000 : round == Round::nearest ? b + 0xfff + (b >> 13 & 1) : b;
    r &= 0xffffe000;
    if (finite) r = (r & 0x7fffffff) == 0x7f800000 ? (r & 0x80000000) | 0x7f7fe000 : r;
    if (relu) r = s32(r) < 0 ? 0 : r;
    return bits_as<f32>(size <= 0x7f800000 ? r : round == Round::away ? b & 0xffffe000 : 0x7fffe000);
  }
};
template <Round round>
Fn tf32_of(const Request& r) {
  bool relu = has(r, Mod::relu), finite = has(r, Mod::satfinite);
  if (relu) return finite ? rare1<ToTf32<round, true, true>>(r) : rare1<ToTf32<round, true, false>>(r);
  return finite ? rare1<ToTf32<round, false, true>>(r) : rows1<ToTf32<round, false, false>>(r);
}

/// e4m3 (no infinity, largest 448) and e5m2 (largest 57344); always saturating, as PTX demands.
template <bool e4m3, bool relu>
inline u32 to_fp8(f32 x) {
  constexpr u32 mantissa = e4m3 ? 3 : 2, bias = e4m3 ? 7 : 15, drop = 23 - mantissa, top = e4m3 ? 0x7e : 0x7b;
  u32 b = bits_as<u32>(x), sign = b >> 24 & 0x80, a = b & 0x7fffffff;
  constexpr u32 magic = (127 - bias + 1 + drop) << 23; // its last bit is the smallest subnormal
  u32 small = bits_as<u32>(bits_as<f32>(a) + bits_as<f32>(magic)) - magic;
  u32 normal = (a - ((127 - bias) << 23) + ((1u << (drop - 1)) - 1) + (a >> drop & 1)) >> drop;
  u32 r = a < (127 - bias + 1) << 23 ? small : a >= 0x50000000 ? top : normal;
  r = r > top ? top : r;
  bool nan = a > 0x7f800000;
  if (relu && sign && !nan) return 0;
  return nan ? 0x7f : r | sign;
}
template <bool e4m3, bool relu>
struct Fp8Pack {
  using D = u32;
  using A = f32;
  using B = f32;
  static inline u32 apply(f32 a, f32 b) { return to_fp8<e4m3, relu>(a) << 8 | to_fp8<e4m3, relu>(b); }
};
template <bool e4m3, bool relu>
struct Fp8FromHalf {
  using D = u32;
  using A = u32;
  static inline u32 apply(u32 a) {
    return to_fp8<e4m3, relu>(to_f32(f16{u16(a >> 16)})) << 8 | to_fp8<e4m3, relu>(to_f32(f16{u16(a)}));
  }
};
template <bool e4m3>
inline u32 fp8_to_half(u32 h) {
  if (!e4m3) return (h & 0x7f) > 0x7c ? 0x7fff : h << 8;
  u32 sign = (h & 0x80) << 8, em = h & 0x7f;
  u32 normal = (em << 7) + (8u << 10), small = u32(round_to<f16>(f32(em) * 0.001953125f).bits);
  return (em == 0x7f ? 0x7fff : (em < 8 ? small : normal)) | (em == 0x7f ? 0 : sign);
}
template <bool e4m3, bool relu>
struct Fp8ToHalf {
  using D = u32;
  using A = u32;
  static inline u32 apply(u32 a) {
    u32 low = fp8_to_half<e4m3>(a & 255), high = fp8_to_half<e4m3>(a >> 8 & 255);
    if (relu) low = low & 0x8000 ? 0 : low, high = high & 0x8000 ? 0 : high;
    return high << 16 | low;
  }
};
#define FP8(name, pick)                                                                                                \
  (e4m3   ? relu ? pick<name<true, true>>(r) : pick<name<true, false>>(r)                                              \
   : relu ? pick<name<false, true>>(r)                                                                                 \
          : pick<name<false, false>>(r))

/// cvt.pack.sat: a and b clamped to `To`; the narrow forms shift them in below c.
template <class To, int width>
inline u32 clamped(s32 x) {
  constexpr s32 low = Limits<To>::is_signed ? -(s32(1) << (width - 1)) : 0,
                high = Limits<To>::is_signed ? (s32(1) << (width - 1)) - 1 : s32((s64(1) << width) - 1);
  return u32(x < low ? low : x > high ? high : x) & u32((u64(1) << width) - 1);
}
template <class To, int width>
struct PackInt {
  using D = u32;
  using A = s32;
  using B = s32;
  using C = u32;
  static inline u32 apply(s32 a, s32 b, u32 c) {
    return clamped<To, width>(a) << width | clamped<To, width>(b) | c << (2 * width);
  }
};
template <class To>
struct PackInt16 {
  using D = u32;
  using A = s32;
  using B = s32;
  static inline u32 apply(s32 a, s32 b) { return clamped<To, 16>(a) << 16 | clamped<To, 16>(b); }
};

Fn convert(const Request& r) {
  switch (r.types[0]) {
#define TO(T)                                                                                                          \
  case Type::T: return int_from_float<T>(r);
    INTEGERS(TO)
#undef TO
  case Type::f16:
    if (has(r, Mod::relu) || has(r, Mod::satfinite)) return pack_of<f16, false>(r);
    return half<f16>(r);
  case Type::bf16:
    if (has(r, Mod::relu) || has(r, Mod::satfinite)) return pack_of<bf16, false>(r);
    return half<bf16>(r);
  case Type::f32: return floating<f32>(r);
  case Type::f64: return floating<f64>(r);
  default: return nullptr;
  }
}

} // namespace

Fn ISA(select_convert)(const Request& r) {
  bool relu = has(r, Mod::relu);
  switch (r.form) {
  case Form::cvt: return convert(r);
  case Form::cvt_pack: return r.types[0] == Type::f16x2 ? pack_of<f16, true>(r) : pack_of<bf16, true>(r);
  case Form::cvt_tf32:
    return has(r, Mod::rna)  ? tf32_of<Round::away>(r)
           : has(r, Mod::rn) ? tf32_of<Round::nearest>(r)
                             : tf32_of<Round::zero>(r);
  case Form::cvt_fp8_pack: {
    bool e4m3 = r.types[0] == Type::e4m3x2;
    return FP8(Fp8Pack, rare2);
  }
  case Form::cvt_fp8_from_half: {
    bool e4m3 = r.types[0] == Type::e4m3x2;
    return FP8(Fp8FromHalf, rare1);
  }
  case Form::cvt_fp8_to_half: {
    bool e4m3 = r.types[1] == Type::e4m3x2;
    return FP8(Fp8ToHalf, rare1);
  }
  case Form::cvt_pack_int:
    switch (r.types[0]) {
    case Type::u16: return rare2<PackInt16<u16>>(r);
    case Type::s16: return rare2<PackInt16<s16>>(r);
    case Type::u8: return rare3<PackInt<u8, 8>>(r);
    case Type::s8: return rare3<PackInt<s8, 8>>(r);
    case Type::u4: return rare3<PackInt<u8, 4>>(r);
    case Type::s4: return rare3<PackInt<s8, 4>>(r);
    case Type::u2: return rare3<PackInt<u8, 2>>(r);
    case Type::s2: return rare3<PackInt<s8, 2>>(r);
    default: return nullptr;
    }
  default: return nullptr;
  }
}

} // namespace tilejit::runtime::simulator
