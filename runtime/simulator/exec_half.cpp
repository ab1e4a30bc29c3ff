// exec_half.cpp - f16 and bf16 arithmetic, alone and two in a register. PTX ISA 9.7.4, 9.7.7.
//
// Sums, differences and f16 products round once in float and once to the half type, which is the same as rounding once
// (24 >= 2 * 11 + 2 bits); bf16 products and all fma go through double, rounded to odd. Runs in IEEE mode.
#include "runtime/simulator/handlers.h"
#include "runtime/simulator/small_floats.h"

namespace tilejit::runtime::simulator {
namespace {

constexpr int plain = 0, ftz_ = 1, sat_ = 2, relu_ = 4, oob_ = 8;

template <class T, int flags>
inline T before(T x) {
  return flags & ftz_ ? flush(x) : x;
}
template <class T, int flags>
inline T finish(f32 x) {
  if (flags & sat_) x = x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f;
  T r = round_to<T>(x);
  if (flags & relu_) r.bits = is_nan(r) ? 0x7fff : r.bits & 0x8000 ? 0 : r.bits;
  return flags & ftz_ ? (is_nan(r) ? r : flush(r)) : r;
}
template <class T, int flags = 0>
struct Add : Ops2<T> {
  static inline T apply(T a, T b) {
    return finish<T, flags>(to_f32(before<T, flags>(a)) + to_f32(before<T, flags>(b)));
  }
};
template <class T, int flags = 0>
struct Sub : Ops2<T> {
  static inline T apply(T a, T b) {
    return finish<T, flags>(to_f32(before<T, flags>(a)) - to_f32(before<T, flags>(b)));
  }
};
template <class T, int flags = 0>
struct Mul : Ops2<T> {
  static inline T apply(T a, T b) {
    if constexpr (exponent_of<T> == exponent_of<bf16>)
      return finish<T, flags>(odd_f32(f64(to_f32(before<T, flags>(a))) * f64(to_f32(before<T, flags>(b)))));
    else
      return finish<T, flags>(to_f32(before<T, flags>(a)) * to_f32(before<T, flags>(b)));
  }
};
/// The NaN of elements outside of a tensor, of either sign.
template <class T>
inline bool is_outside(T x) {
  return (x.bits & 0x7fff) == 0x7ff7;
}
template <class T, int flags = 0>
struct Fma : Ops3<T> {
  static inline T apply(T a, T b, T c) {
    f64 p = f64(to_f32(before<T, flags>(a))) * f64(to_f32(before<T, flags>(b)));
    T r = finish<T, flags>(odd_f32(odd_sum(p, f64(to_f32(before<T, flags>(c))))));
    if (flags & oob_) r.bits = is_outside(a) || is_outside(b) ? 0 : r.bits;
    return r;
  }
};
template <class T, int flags = 0>
struct Neg : Ops1<T> {
  static inline T apply(T a) { return before<T, flags>({u16(a.bits ^ 0x8000)}); }
};
template <class T, int flags = 0>
struct Abs : Ops1<T> {
  static inline T apply(T a) { return before<T, flags>({u16(a.bits & 0x7fff)}); }
};
template <class T, bool less, bool nan, bool ftz, bool abs, bool xorsign>
struct Extreme : Ops2<T> {
  static inline T apply(T a, T b) {
    u16 sign = u16((a.bits ^ b.bits) & 0x8000);
    if (ftz) a = flush(a), b = flush(b);
    if (abs) a.bits &= 0x7fff, b.bits &= 0x7fff;
    f32 x = to_f32(a), y = to_f32(b);
    u16 same = less ? a.bits | b.bits : a.bits & b.bits;
    u16 r = (less ? x < y : x > y) ? a.bits : (less ? y < x : y > x) ? b.bits : same;
    bool na = is_nan(a), nb = is_nan(b);
    r = na ? b.bits : nb ? a.bits : r;
    bool bad = nan ? na || nb : na && nb;
    if (xorsign) r = u16(r | sign);
    return {u16(bad ? 0x7fff : r)};
  }
};

/// The two halves of a register, each on its own.
template <class Op>
struct Packed1 {
  using D = u32;
  using A = u32;
  static inline u32 apply(u32 a) { return Op::apply({u16(a)}).bits | u32(Op::apply({u16(a >> 16)}).bits) << 16; }
};
template <class Op>
struct Packed2 {
  using D = u32;
  using A = u32;
  using B = u32;
  static inline u32 apply(u32 a, u32 b) {
    return Op::apply({u16(a)}, {u16(b)}).bits | u32(Op::apply({u16(a >> 16)}, {u16(b >> 16)}).bits) << 16;
  }
};
template <class Op>
struct Packed3 {
  using D = u32;
  using A = u32;
  using B = u32;
  using C = u32;
  static inline u32 apply(u32 a, u32 b, u32 c) {
    return Op::apply({u16(a)}, {u16(b)}, {u16(c)}).bits |
           u32(Op::apply({u16(a >> 16)}, {u16(b >> 16)}, {u16(c >> 16)}).bits) << 16;
  }
};

template <template <class, int> class Op, int flags>
Fn half1(const Request& r) {
  switch (r.types[0]) {
  case Type::f16: return rare1<Op<f16, flags>>(r);
  case Type::bf16: return rare1<Op<bf16, flags>>(r);
  case Type::f16x2: return rare1<Packed1<Op<f16, flags>>>(r);
  case Type::bf16x2: return rare1<Packed1<Op<bf16, flags>>>(r);
  default: return nullptr;
  }
}
template <template <class, int> class Op, int flags>
Fn half2(const Request& r) {
  if constexpr (flags == plain) switch (r.types[0]) {
    case Type::f16x2: return rows2<Packed2<Op<f16, flags>>>(r);
    case Type::bf16x2: return rows2<Packed2<Op<bf16, flags>>>(r);
    default: break;
    }
  switch (r.types[0]) {
  case Type::f16: return rare2<Op<f16, flags>>(r);
  case Type::bf16: return rare2<Op<bf16, flags>>(r);
  case Type::f16x2: return rare2<Packed2<Op<f16, flags>>>(r);
  case Type::bf16x2: return rare2<Packed2<Op<bf16, flags>>>(r);
  default: return nullptr;
  }
}
template <int flags>
Fn half3(const Request& r) {
  switch (r.types[0]) {
  case Type::f16: return rare3<Fma<f16, flags>>(r);
  case Type::bf16: return rare3<Fma<bf16, flags>>(r);
  case Type::f16x2: return rare3<Packed3<Fma<f16, flags>>>(r);
  case Type::bf16x2: return rare3<Packed3<Fma<bf16, flags>>>(r);
  default: return nullptr;
  }
}
template <template <class, int> class Op>
Fn arithmetic(const Request& r) {
  bool ftz = has(r, Mod::ftz), sat = has(r, Mod::sat);
  if (ftz) return sat ? half2<Op, ftz_ | sat_>(r) : half2<Op, ftz_>(r);
  return sat ? half2<Op, sat_>(r) : half2<Op, plain>(r);
}
template <class T, bool less, bool packed>
Fn extreme_of(const Request& r) {
  bool nan = has(r, Mod::NaN), ftz = has(r, Mod::ftz);
#define E(nan, ftz, abs, x)                                                                                            \
  if constexpr (packed)                                                                                                \
    return rare2<Packed2<Extreme<T, less, nan, ftz, abs, x>>>(r);                                                      \
  else                                                                                                                 \
    return rare2<Extreme<T, less, nan, ftz, abs, x>>(r);
  if (has(r, Mod::xorsign)) {
    if (nan) {
      if (ftz) {
        E(true, true, true, true)
      }
      E(true, false, true, true)
    }
    if (ftz) {
      E(false, true, true, true)
    }
    E(false, false, true, true)
  }
  if (has(r, Mod::abs)) {
    if (nan) {
      E(true, false, true, false)
    }
    E(false, false, true, false)
  }
  if (nan) {
    if (ftz) {
      E(true, true, false, false)
    }
    E(true, false, false, false)
  }
  if (ftz) {
    E(false, true, false, false)
  }
  E(false, false, false, false)
#undef E
}
template <bool less>
Fn extreme_of(const Request& r) {
  switch (r.types[0]) {
  case Type::f16: return extreme_of<f16, less, false>(r);
  case Type::bf16: return extreme_of<bf16, less, false>(r);
  case Type::f16x2: return extreme_of<f16, less, true>(r);
  case Type::bf16x2: return extreme_of<bf16, less, true>(r);
  default: return nullptr;
  }
}

// Comparisons of halves: `high` takes the upper one of a packed register.
template <class T, bool high, bool ftz, Mod mod>
struct Compare {
  using A = u32;
  static inline bool apply(u32 x, u32 y) {
    T p{u16(high ? x >> 16 : x)}, q{u16(high ? y >> 16 : y)};
    if (ftz) p = flush(p), q = flush(q);
    f32 a = to_f32(p), b = to_f32(q);
    switch (mod) {
    case Mod::eq: return a == b;
    case Mod::ne: return a != b && a == a && b == b;
    case Mod::lt: return a < b;
    case Mod::le: return a <= b;
    case Mod::gt: return a > b;
    case Mod::ge: return a >= b;
    case Mod::equ: return !(a < b) && !(a > b);
    case Mod::neu: return a != b;
    case Mod::ltu: return !(a >= b);
    case Mod::leu: return !(a > b);
    case Mod::gtu: return !(a <= b);
    case Mod::geu: return !(a < b);
    case Mod::num: return a == a && b == b;
    default: return a != a || b != b;
    }
  }
};
template <class T, bool high, bool ftz>
Fn compare_half(const Request& r) {
  if (r.kinds) return nullptr;
  for (u32 k = 0; k < r.mod_count; ++k) switch (r.mods[k]) {
#define C(mod)                                                                                                         \
  case Mod::mod: RARE((compare<Compare<T, high, ftz, Mod::mod>, 0>));
      // clang-format off
      C(eq)
      C(ne)
      C(lt)
      C(le)
      C(gt)
      C(ge)
      C(equ)
      C(neu)
      C(ltu)
      C(leu)
      C(gtu)
      C(geu)
      C(num)
      C(nan)
    // clang-format on
#undef C
    default: break;
    }
  return nullptr;
}

} // namespace

Fn ISA(select_half)(const Request& r) {
  bool ftz = has(r, Mod::ftz), relu = has(r, Mod::relu), oob = has(r, Mod::oob);
  switch (r.form) {
  case Form::add_half: return arithmetic<Add>(r);
  case Form::sub_half: return arithmetic<Sub>(r);
  case Form::mul_half: return arithmetic<Mul>(r);
  case Form::fma_half:
    if (oob) return relu ? half3<oob_ | relu_>(r) : half3<oob_>(r);
    if (has(r, Mod::sat)) return ftz ? half3<ftz_ | sat_>(r) : half3<sat_>(r);
    if (relu) return ftz ? half3<ftz_ | relu_>(r) : half3<relu_>(r);
    return ftz ? half3<ftz_>(r) : half3<plain>(r);
  case Form::neg_half: return ftz ? half1<Neg, ftz_>(r) : half1<Neg, plain>(r);
  case Form::abs_half: return ftz ? half1<Abs, ftz_>(r) : half1<Abs, plain>(r);
  case Form::min_half: return extreme_of<true>(r);
  case Form::max_half: return extreme_of<false>(r);
  case Form::setp: {
    bool high = r.scalar; // lowering asks for the upper half so
    switch (r.types[0]) {
    case Type::f16:
    case Type::f16x2:
      if (ftz) return high ? compare_half<f16, true, true>(r) : compare_half<f16, false, true>(r);
      return high ? compare_half<f16, true, false>(r) : compare_half<f16, false, false>(r);
    case Type::bf16:
    case Type::bf16x2: return high ? compare_half<bf16, true, false>(r) : compare_half<bf16, false, false>(r);
    default: return nullptr;
    }
  }
  default: return nullptr;
  }
}

} // namespace tilejit::runtime::simulator
