// exec_int.cpp - integer arithmetic, logic, shifts. PTX ISA 9.7.1, 9.7.2, 9.7.8.
#include "runtime/simulator/handlers.h"
#include "runtime/simulator/lanes.h"

namespace tilejit::runtime::simulator {
namespace {

template <class T>
struct UnsignedOf;
template <>
struct UnsignedOf<u8> {
  using type = u8;
  using wide = u16;
};
template <>
struct UnsignedOf<s8> {
  using type = u8;
  using wide = s16;
};
template <>
struct UnsignedOf<u16> {
  using type = u16;
  using wide = u32;
};
template <>
struct UnsignedOf<s16> {
  using type = u16;
  using wide = s32;
};
template <>
struct UnsignedOf<u32> {
  using type = u32;
  using wide = u64;
};
template <>
struct UnsignedOf<s32> {
  using type = u32;
  using wide = s64;
};
template <>
struct UnsignedOf<u64> {
  using type = u64;
  using wide = u128;
};
template <>
struct UnsignedOf<s64> {
  using type = u64;
  using wide = s128;
};
template <class T>
using Unsigned = typename UnsignedOf<T>::type;
template <class T>
using Wide = typename UnsignedOf<T>::wide;
/// For products of 16 bits, which C++ would promote to a signed int.
template <class T>
using Arithmetic = typename Choose<sizeof(T) == 8, u64, u32>::type;
template <class T>
inline constexpr bool signed_type = T(-1) < T(0);
template <class T>
inline constexpr int bits = int(sizeof(T) * 8);
template <class T>
inline constexpr T lowest = signed_type<T> ? T(T(1) << (bits<T> - 1)) : T(0);
template <class T>
inline constexpr T highest = T(~lowest<T>);

#define OP1(name, ...)                                                                                                 \
  template <class T>                                                                                                   \
  struct name : Ops1<T> {                                                                                              \
    static inline T apply(T a) { __VA_ARGS__ }                                                                         \
  };
#define OP2(name, ...)                                                                                                 \
  template <class T>                                                                                                   \
  struct name : Ops2<T> {                                                                                              \
    static inline T apply(T a, T b) { __VA_ARGS__ }                                                                    \
  };
#define OP3(name, ...)                                                                                                 \
  template <class T>                                                                                                   \
  struct name : Ops3<T> {                                                                                              \
    static inline T apply(T a, T b, T c) { __VA_ARGS__ }                                                               \
  };

template <class T>
inline T mul_low(T a, T b) {
  return T(Arithmetic<T>(a) * Arithmetic<T>(b));
}
template <class T>
inline T mul_high(T a, T b) {
  return T((Wide<T>(a) * Wide<T>(b)) >> bits<T>);
}
template <class T>
inline T clamp_add(s64 x) {
  return x > s64(highest<T>) ? highest<T> : x < s64(lowest<T>) ? lowest<T> : T(x);
}

OP2(Add, return T(Arithmetic<T>(a) + Arithmetic<T>(b));)
OP2(Sub, return T(Arithmetic<T>(a) - Arithmetic<T>(b));)
OP2(AddSat, return clamp_add<T>(s64(a) + s64(b));)
OP2(SubSat, return clamp_add<T>(s64(a) - s64(b));)
OP2(MulLow, return mul_low(a, b);)
OP2(MulHigh, return mul_high(a, b);)
template <class T>
struct MulWide {
  using D = Wide<T>;
  using A = T;
  using B = T;
  static inline D apply(T a, T b) { return D(D(a) * D(b)); }
};
OP3(MadLow, return T(Arithmetic<T>(mul_low(a, b)) + Arithmetic<T>(c));)
OP3(MadHigh, return T(Arithmetic<T>(mul_high(a, b)) + Arithmetic<T>(c));)
OP3(MadHighSat, return clamp_add<T>(s64(mul_high(a, b)) + s64(c));)
template <class T>
struct MadWide {
  using D = Wide<T>;
  using A = T;
  using B = T;
  using C = Wide<T>;
  static inline D apply(T a, T b, D c) { return D(Arithmetic<D>(D(D(a) * D(b))) + Arithmetic<D>(c)); }
};
OP3(Sad, Unsigned<T> x = Unsigned<T>(a < b ? Arithmetic<T>(b) - Arithmetic<T>(a) : Arithmetic<T>(a) - Arithmetic<T>(b));
    return T(Arithmetic<T>(c) + x);)
// Division by zero, and its remainder, are all ones, as on an H200; PTX leaves them undefined.
OP2(Div, return b == 0 ? T(-1) : (signed_type<T> && b == T(-1)) ? T(0 - Arithmetic<T>(a)) : T(a / b);)
OP2(Rem, return b == 0 ? T(~T(0)) : (signed_type<T> && b == T(-1)) ? T(0) : T(a % b);)
OP1(Abs, return a < 0 ? T(0 - Arithmetic<T>(a)) : a;)
OP1(Neg, return T(0 - Arithmetic<T>(a));)
OP2(Min, return a < b ? a : b;)
OP2(Max, return a > b ? a : b;)
OP2(MinRelu, T m = a < b ? a : b; return m > 0 ? m : T(0);)
OP2(MaxRelu, T m = a > b ? a : b; return m > 0 ? m : T(0);)
OP2(And, return a & b;)
OP2(Or, return a | b;)
OP2(Xor, return a ^ b;)
OP1(Not, return T(~a);)
OP1(Cnot, return a == 0 ? T(1) : T(0);)

template <class T>
struct Shl {
  using D = T;
  using A = T;
  using B = u32;
  static inline T apply(T a, u32 b) { return b >= u32(bits<T>) ? T(0) : T(a << b); }
};
template <class T>
struct Shr {
  using D = T;
  using A = T;
  using B = u32;
  static inline T apply(T a, u32 b) {
    if constexpr (signed_type<T>)
      return T(a >> (b >= u32(bits<T>) ? bits<T> - 1 : b));
    else
      return b >= u32(bits<T>) ? T(0) : T(a >> b);
  }
};
/// shf: the 64 bits {b, a} moved by c. Left gives the high half, right the low one.
template <bool left, bool wrap>
struct Shf {
  using D = u32;
  using A = u32;
  using B = u32;
  using C = u32;
  static inline u32 apply(u32 a, u32 b, u32 c) {
    u32 n = wrap ? c & 31 : c > 32 ? 32 : c;
    u64 both = u64(b) << 32 | a;
    return left ? u32((both << n) >> 32) : u32(both >> n);
  }
};

template <class T>
struct Popc {
  using D = u32;
  using A = T;
  static inline u32 apply(T a) {
    return sizeof(T) == 8 ? u32(__builtin_popcountll(a)) : u32(__builtin_popcount(u32(a)));
  }
};
template <class T>
struct Clz {
  using D = u32;
  using A = T;
  static inline u32 apply(T a) {
    return a == 0 ? bits<T> : sizeof(T) == 8 ? u32(__builtin_clzll(a)) : u32(__builtin_clz(u32(a)));
  }
};
template <class T, bool amount>
struct Bfind {
  using D = u32;
  using A = T;
  static inline u32 apply(T a) {
    Unsigned<T> x = Unsigned<T>(signed_type<T> && a < 0 ? ~a : a);
    if (x == 0) return ~0u;
    u32 zeros = Clz<Unsigned<T>>::apply(x);
    return amount ? zeros : u32(bits<T> - 1) - zeros;
  }
};
OP1(Brev, T x = 0; for (int k = 0; k < bits<T>; ++k) x = T(x | ((a >> k & 1) << (bits<T> - 1 - k))); return x;)
template <class T>
struct Bfe {
  using D = T;
  using A = T;
  using B = u32;
  using C = u32;
  static inline T apply(T a, u32 b, u32 c) {
    u32 pos = b & 255, len = c & 255;
    if (len == 0) return 0;
    constexpr u32 top = bits<T> - 1;
    u32 last = pos + len - 1 > top ? top : pos + len - 1;
    Unsigned<T> sign = signed_type<T> ? Unsigned<T>(a) >> last & 1 : 0;
    Unsigned<T> field = pos > top ? 0 : Unsigned<T>(a) >> pos;
    if (len < u32(bits<T>)) {
      Unsigned<T> mask = Unsigned<T>((Unsigned<T>(1) << len) - 1);
      // Bits beyond the register's top are copies of its sign.
      Unsigned<T> have = pos > top             ? 0
                         : pos + len > top + 1 ? Unsigned<T>((Unsigned<T>(1) << (top + 1 - pos)) - 1)
                                               : mask;
      return T(sign ? (field & have) | ~have : field & mask);
    }
    if (pos == 0) return a;
    Unsigned<T> have = pos > top ? 0 : Unsigned<T>(~Unsigned<T>(0) >> pos);
    return T(sign ? field | ~have : field);
  }
};
OP3(
    Fns, // position of the c-th set bit from b on (c > 0), or before b (c < 0); all ones where there is none
    int start = int(b & 31);
    int n = int(c); if (n == 0) return a >> start & 1 ? u32(start) : ~0u;
    for (int k = start; k >= 0 && k < 32; k += n > 0 ? 1 : -1) if (a >> k & 1) {
      int m = n > 0 ? --n : ++n;
      if (m == 0) return u32(k);
    } return ~0u;)
template <bool clamp>
struct Bmsk {
  using D = u32;
  using A = u32;
  using B = u32;
  static inline u32 apply(u32 a, u32 b) {
    u32 pos = clamp ? (a > 32 ? 32 : a) : a & 31, len = clamp ? (b > 32 ? 32 : b) : b & 31;
    u64 mask = ((u64(1) << len) - 1) << pos;
    return u32(mask);
  }
};
template <class T, bool clamp>
struct Szext {
  using D = T;
  using A = T;
  using B = u32;
  static inline T apply(T a, u32 b) {
    if (clamp && b >= 32) return a;
    u32 n = b & 31;
    if (n == 0) return 0;
    return T(T(u32(a) << (32 - n)) >> (32 - n));
  }
};
template <class T, bool high>
struct Mul24 {
  using D = T;
  using A = T;
  using B = T;
  static inline T apply(T a, T b) {
    s64 x = signed_type<T> ? s64(s32(u32(a) << 8) >> 8) : s64(u32(a) & 0xffffff),
        y = signed_type<T> ? s64(s32(u32(b) << 8) >> 8) : s64(u32(b) & 0xffffff);
    return high ? T((x * y) >> 16) : T(x * y);
  }
};
template <class T, bool high, bool sat>
struct Mad24 {
  using D = T;
  using A = T;
  using B = T;
  using C = T;
  static inline T apply(T a, T b, T c) {
    T product = Mul24<T, high>::apply(a, b);
    return sat ? clamp_add<T>(s64(product) + s64(c)) : T(u32(product) + u32(c));
  }
};
template <bool a_signed, bool b_signed>
struct Dp4a {
  using D = u32;
  using A = u32;
  using B = u32;
  using C = u32;
  static inline u32 apply(u32 a, u32 b, u32 c) {
    for (int k = 0; k < 32; k += 8)
      c += u32((a_signed ? s32(s8(a >> k)) : s32(u8(a >> k))) * (b_signed ? s32(s8(b >> k)) : s32(u8(b >> k))));
    return c;
  }
};
template <bool a_signed, bool b_signed, bool high>
struct Dp2a {
  using D = u32;
  using A = u32;
  using B = u32;
  using C = u32;
  static inline u32 apply(u32 a, u32 b, u32 c) {
    for (int k = 0; k < 2; ++k) {
      s32 x = a_signed ? s32(s16(a >> 16 * k)) : s32(u16(a >> 16 * k));
      u32 byte = b >> (8 * k + (high ? 16 : 0));
      c += u32(x * (b_signed ? s32(s8(byte)) : s32(u8(byte))));
    }
    return c;
  }
};
/// Two 16-bit operations in one register.
template <template <class> class Op, class T>
struct Pair {
  using D = u32;
  using A = u32;
  using B = u32;
  static inline u32 apply(u32 a, u32 b) {
    return u32(u16(Op<T>::apply(T(a), T(b)))) | u32(u16(Op<T>::apply(T(a >> 16), T(b >> 16)))) << 16;
  }
};

/// prmt: each byte of the result is a byte of {b, a}, or its sign spread.
struct Prmt {
  using D = u32;
  using A = u32;
  using B = u32;
  using C = u32;
  static inline u32 apply(u32 a, u32 b, u32 c) {
    u64 both = u64(b) << 32 | a;
    u32 d = 0;
    for (int k = 0; k < 4; ++k) {
      u32 selector = c >> (4 * k) & 15, byte = u32(both >> (8 * (selector & 7))) & 255;
      if (selector & 8) byte = byte & 128 ? 255 : 0;
      d |= byte << (8 * k);
    }
    return d;
  }
};
template <Mod mode>
struct PrmtMode {
  using D = u32;
  using A = u32;
  using B = u32;
  using C = u32;
  static inline u32 apply(u32 a, u32 b, u32 c) {
    u32 n = c & 3, selector = 0;
    for (u32 k = 0; k < 4; ++k) {
      u32 from = mode == Mod::f4e   ? n + k
                 : mode == Mod::b4e ? (n - k) & 7
                 : mode == Mod::rc8 ? n
                 : mode == Mod::ecl ? (k < n ? n : k)
                 : mode == Mod::ecr ? (k > n ? n : k)
                                    : (n & 1) * 2 + (k & 1);
      selector |= from << (4 * k);
    }
    return Prmt::apply(a, b, selector);
  }
};

/// lop3: any function of three bits; its truth table is `imm`.
const Insn* lop3(Warp* w, const Insn* ip) {
  u32* d = row<u32>(w, ip->d);
  const u32 *a = row<u32>(w, ip->a), *b = row<u32>(w, ip->b), *c = row<u32>(w, ip->c);
  u32 on[8];
  for (int k = 0; k < 8; ++k) on[k] = ip->imm >> k & 1 ? ~0u : 0u;
  LANES {
    u32 x = a[i], y = b[i], z = c[i];
    u32 low = (~y & ((~z & on[0]) | (z & on[1]))) | (y & ((~z & on[2]) | (z & on[3])));
    u32 high = (~y & ((~z & on[4]) | (z & on[5]))) | (y & ((~z & on[6]) | (z & on[7])));
    d[i] = (~x & low) | (x & high);
  }
  return ip + 1;
}

/// bfi has four sources: c = position, aux = length.
template <class T>
[[maybe_unused]] const Insn* bfi(Warp* w, const Insn* ip) {
  auto* d = row<T>(w, ip->d);
  const auto *a = row<T>(w, ip->a), *b = row<T>(w, ip->b);
  const u32 *c = row<u32>(w, ip->c), *e = row<u32>(w, ip->aux);
  LANES {
    u32 pos = c[i] & 255, len = e[i] & 255;
    T mask = len >= u32(bits<T>) ? T(~T(0)) : T((T(1) << len) - 1);
    mask = pos >= u32(bits<T>) ? T(0) : T(mask << pos);
    T field = pos >= u32(bits<T>) ? T(0) : T(a[i] << pos);
    d[i] = (field & mask) | (b[i] & ~mask);
  }
  return ip + 1;
}

/// The carry out of a sum, as a predicate; `imm` is 1 when aux holds one that comes in. CC.CF is the carry out of the
/// adder: a - b is a + ~b + 1, so after a subtraction it says that nothing was borrowed. nvcc's own division of 128-bit
/// numbers follows sub.cc with addc and counts on that.
[[maybe_unused]] inline u32 carry_in(Warp* w, const Insn* ip, bool subtract) {
  if (!ip->imm) return 0;
  return subtract ? ~predicate(w, ip->aux) : predicate(w, ip->aux);
}
template <class T, bool subtract>
[[maybe_unused]] const Insn* carry(Warp* w, const Insn* ip) {
  const auto *a = row<T>(w, ip->a), *b = row<T>(w, ip->b);
  u32 in = carry_in(w, ip, subtract), out = 0;
  for (int i = 0; i < 32; ++i) {
    T x = a[i], y = b[i], c = T(in >> i & 1), r;
    bool over =
        subtract ? x < y || (x == y && c) : __builtin_add_overflow(x, y, &r) || __builtin_add_overflow(r, c, &r);
    out |= u32(over) << i;
  }
  predicate(w, ip->d) = subtract ? ~out : out;
  return ip + 1;
}
template <class T, bool subtract>
[[maybe_unused]] const Insn* add_carry(Warp* w, const Insn* ip) {
  auto* d = row<T>(w, ip->d);
  const auto *a = row<T>(w, ip->a), *b = row<T>(w, ip->b);
  u32 in = carry_in(w, ip, subtract);
  LANES d[i] = subtract ? T(a[i] - b[i] - (in >> i & 1)) : T(a[i] + b[i] + (in >> i & 1));
  return ip + 1;
}

// --- choosing --------------------------------------------------------------------------------------------------------

template <template <class> class Op>
Fn bits2(const Request& r) { // the same for signed and unsigned
  switch (r.types[0]) {
  case Type::b16:
  case Type::u16:
  case Type::s16: return seldom2<Op<u16>>(r);
  case Type::b32:
  case Type::u32:
  case Type::s32: return pick2<Op<u32>>(r);
  case Type::b64:
  case Type::u64:
  case Type::s64: return pick2<Op<u64>>(r);
  case Type::u16x2:
  case Type::s16x2:
    if constexpr (sizeof(typename Op<u16>::B) == 2)
      return rare2<Pair<Op, u16>>(r);
    else
      return nullptr;
  default: return nullptr;
  }
}
template <template <class> class Op, bool seldom = false>
Fn ints2(const Request& r) {
  if constexpr (!seldom) {
    if (r.types[0] == Type::u32 || r.types[0] == Type::b32) return pick2<Op<u32>>(r);
    if (r.types[0] == Type::s32) return pick2<Op<s32>>(r);
  }
  switch (r.types[0]) {
  case Type::u16:
  case Type::b16: return seldom2<Op<u16>>(r);
  case Type::s16: return seldom2<Op<s16>>(r);
  case Type::u32:
  case Type::b32: return seldom2<Op<u32>>(r);
  case Type::s32: return seldom2<Op<s32>>(r);
  case Type::u64:
  case Type::b64: return seldom2<Op<u64>>(r);
  case Type::s64: return seldom2<Op<s64>>(r);
  case Type::u16x2:
    if constexpr (sizeof(typename Op<u16>::B) == 2)
      return rare2<Pair<Op, u16>>(r);
    else
      return nullptr;
  case Type::s16x2:
    if constexpr (sizeof(typename Op<u16>::B) == 2)
      return rare2<Pair<Op, s16>>(r);
    else
      return nullptr;
  default: return nullptr;
  }
}
template <template <class> class Op>
Fn wide2(const Request& r) {
  switch (r.types[0]) {
  case Type::u16: return seldom2<Op<u16>>(r);
  case Type::s16: return seldom2<Op<s16>>(r);
  case Type::u32: return pick2<Op<u32>>(r);
  case Type::s32: return pick2<Op<s32>>(r);
  default: return nullptr;
  }
}
template <template <class> class Op>
Fn wide3(const Request& r) {
  switch (r.types[0]) {
  case Type::u16: return seldom3<Op<u16>>(r);
  case Type::s16: return seldom3<Op<s16>>(r);
  case Type::u32: return pick3<Op<u32>>(r);
  case Type::s32: return pick3<Op<s32>>(r);
  default: return nullptr;
  }
}
template <template <class> class Op>
Fn bits3(const Request& r) { // the same for signed and unsigned
  switch (r.types[0]) {
  case Type::u16:
  case Type::s16: return seldom3<Op<u16>>(r);
  case Type::u32:
  case Type::s32: return pick3<Op<u32>>(r);
  case Type::u64:
  case Type::s64: return pick3<Op<u64>>(r);
  default: return nullptr;
  }
}
template <template <class> class Op>
Fn ints3(const Request& r) {
  switch (r.types[0]) {
  case Type::u16: return seldom3<Op<u16>>(r);
  case Type::s16: return seldom3<Op<s16>>(r);
  case Type::u32: return seldom3<Op<u32>>(r);
  case Type::s32: return seldom3<Op<s32>>(r);
  case Type::u64: return seldom3<Op<u64>>(r);
  case Type::s64: return seldom3<Op<s64>>(r);
  default: return nullptr;
  }
}
template <template <class> class Op>
Fn bits1(const Request& r) {
  switch (r.types[0]) {
  case Type::b16: return seldom1<Op<u16>>(r);
  case Type::b32: return pick1<Op<u32>>(r);
  case Type::b64: return pick1<Op<u64>>(r);
  default: return nullptr;
  }
}
template <template <class> class Op>
Fn signed1(const Request& r) {
  switch (r.types[0]) {
  case Type::s16: return seldom1<Op<s16>>(r);
  case Type::s32: return pick1<Op<s32>>(r);
  case Type::s64: return pick1<Op<s64>>(r);
  default: return nullptr;
  }
}
template <bool amount>
Fn bfind(const Request& r) {
  switch (r.types[0]) {
  case Type::u32: return rare1<Bfind<u32, amount>>(r);
  case Type::s32: return rare1<Bfind<s32, amount>>(r);
  case Type::u64: return rare1<Bfind<u64, amount>>(r);
  case Type::s64: return rare1<Bfind<s64, amount>>(r);
  default: return nullptr;
  }
}
Fn prmt(const Request& r) {
  if (has(r, Mod::f4e)) return rare3<PrmtMode<Mod::f4e>>(r);
  if (has(r, Mod::b4e)) return rare3<PrmtMode<Mod::b4e>>(r);
  if (has(r, Mod::rc8)) return rare3<PrmtMode<Mod::rc8>>(r);
  if (has(r, Mod::ecl)) return rare3<PrmtMode<Mod::ecl>>(r);
  if (has(r, Mod::ecr)) return rare3<PrmtMode<Mod::ecr>>(r);
  if (has(r, Mod::rc16)) return rare3<PrmtMode<Mod::rc16>>(r);
  return pick3<Prmt>(r);
}
Fn dot(const Request& r) {
  bool a = r.types[0] == Type::s32, b = r.types[1] == Type::s32;
  if (r.form == Form::dp4a)
    return a   ? b ? rare3<Dp4a<true, true>>(r) : rare3<Dp4a<true, false>>(r)
           : b ? rare3<Dp4a<false, true>>(r)
               : rare3<Dp4a<false, false>>(r);
  if (has(r, Mod::hi))
    return a   ? b ? rare3<Dp2a<true, true, true>>(r) : rare3<Dp2a<true, false, true>>(r)
           : b ? rare3<Dp2a<false, true, true>>(r)
               : rare3<Dp2a<false, false, true>>(r);
  return a   ? b ? rare3<Dp2a<true, true, false>>(r) : rare3<Dp2a<true, false, false>>(r)
         : b ? rare3<Dp2a<false, true, false>>(r)
             : rare3<Dp2a<false, false, false>>(r);
}

/// The fields of a register, of `width` bits each: the distances, or their sum with c.
template <int width, bool sign_a, bool sign_b, bool add>
struct AbsoluteDifferences {
  using D = u32;
  using A = u32;
  using B = u32;
  using C = u32;
  static inline u32 apply(u32 a, u32 b, u32 c) {
    u32 r = add ? c : 0;
    for (int k = 0; k < 32; k += width) {
      s32 x = field<sign_a>(a << (32 - width - k)), y = field<sign_b>(b << (32 - width - k));
      u32 distance = u32(x < y ? y - x : x - y);
      r = add ? r + distance : r | (distance & ((1u << width) - 1)) << k;
    }
    return r;
  }
  template <bool is_signed>
  static inline s32 field(u32 at_the_top) {
    return is_signed ? s32(at_the_top) >> (32 - width) : s32(at_the_top >> (32 - width));
  }
};
template <int width, bool sign_a, bool sign_b>
Fn absolute_differences(const Request& r) {
  return has(r, Mod::add) ? rare3<AbsoluteDifferences<width, sign_a, sign_b, true>>(r)
                          : rare3<AbsoluteDifferences<width, sign_a, sign_b, false>>(r);
}
template <int width>
Fn absolute_differences(const Request& r) {
  const bool b = r.types[2] == Type::s32;
  if (r.types[1] == Type::s32)
    return b ? absolute_differences<width, true, true>(r) : absolute_differences<width, true, false>(r);
  return b ? absolute_differences<width, false, true>(r) : absolute_differences<width, false, false>(r);
}

} // namespace

Fn ISA(select_int)(const Request& r) {
  bool hi = has(r, Mod::hi), sat = has(r, Mod::sat),
       wide64 = r.types[0] == Type::u64 || r.types[0] == Type::s64 || r.types[0] == Type::b64;
  bool is_signed32 = r.types[0] == Type::s32;
  int bits_of_type = wide64 ? 64 : is_signed32 || r.types[0] == Type::u32 ? 32 : 16;
  switch (r.form) {
  case Form::add_int: return sat ? seldom2<AddSat<s32>>(r) : bits2<Add>(r);
  case Form::sub_int: return sat ? seldom2<SubSat<s32>>(r) : bits2<Sub>(r);
  case Form::mul_int: return !hi ? bits2<MulLow>(r) : bits_of_type == 32 ? ints2<MulHigh>(r) : ints2<MulHigh, true>(r);
  case Form::mul_wide: return wide2<MulWide>(r);
  case Form::mad_int: return sat ? seldom3<MadHighSat<s32>>(r) : hi ? ints3<MadHigh>(r) : bits3<MadLow>(r);
  case Form::mad_wide: return wide3<MadWide>(r);
  case Form::mul24:
    if (is_signed32) return hi ? rare2<Mul24<s32, true>>(r) : rare2<Mul24<s32, false>>(r);
    return hi ? rare2<Mul24<u32, true>>(r) : rare2<Mul24<u32, false>>(r);
  case Form::mad24:
    if (is_signed32)
      return sat  ? rare3<Mad24<s32, true, true>>(r)
             : hi ? rare3<Mad24<s32, true, false>>(r)
                  : rare3<Mad24<s32, false, false>>(r);
    return hi ? rare3<Mad24<u32, true, false>>(r) : rare3<Mad24<u32, false, false>>(r);
  case Form::sad: return ints3<Sad>(r);
  case Form::div_int: return ints2<Div, true>(r);
  case Form::rem: return ints2<Rem, true>(r);
  case Form::abs_int: return signed1<Abs>(r);
  case Form::neg_int: return signed1<Neg>(r);
  case Form::min_int:
    if (has(r, Mod::relu)) return is_signed32 ? seldom2<MinRelu<s32>>(r) : rare2<Pair<MinRelu, s16>>(r);
    return ints2<Min>(r);
  case Form::max_int:
    if (has(r, Mod::relu)) return is_signed32 ? seldom2<MaxRelu<s32>>(r) : rare2<Pair<MaxRelu, s16>>(r);
    return ints2<Max>(r);
  case Form::vabsdiff2: return absolute_differences<16>(r);
  case Form::vabsdiff4: return absolute_differences<8>(r);
  case Form::popc: return wide64 ? seldom1<Popc<u64>>(r) : seldom1<Popc<u32>>(r);
  case Form::clz: return wide64 ? seldom1<Clz<u64>>(r) : seldom1<Clz<u32>>(r);
  case Form::bfind: return has(r, Mod::shiftamt) ? bfind<true>(r) : bfind<false>(r);
  case Form::fns: return rare3<Fns<u32>>(r);
  case Form::brev: return wide64 ? rare1<Brev<u64>>(r) : rare1<Brev<u32>>(r);
  case Form::bfe:
    switch (r.types[0]) {
    case Type::u32: return pick3<Bfe<u32>>(r);
    case Type::s32: return pick3<Bfe<s32>>(r);
    case Type::u64: return seldom3<Bfe<u64>>(r);
    default: return seldom3<Bfe<s64>>(r);
    }
  case Form::bfi:
    if (r.kinds || r.scalar) return nullptr;
    RARE(wide64 ? bfi<u64> : bfi<u32>);
  case Form::szext:
    if (is_signed32) return has(r, Mod::clamp) ? rare2<Szext<s32, true>>(r) : rare2<Szext<s32, false>>(r);
    return has(r, Mod::clamp) ? rare2<Szext<u32, true>>(r) : rare2<Szext<u32, false>>(r);
  case Form::bmsk: return has(r, Mod::clamp) ? rare2<Bmsk<true>>(r) : rare2<Bmsk<false>>(r);
  case Form::dp4a:
  case Form::dp2a: return dot(r);
  case Form::and_: return bits2<And>(r);
  case Form::or_: return bits2<Or>(r);
  case Form::xor_: return bits2<Xor>(r);
  case Form::not_: return bits1<Not>(r);
  case Form::cnot: return bits1<Cnot>(r);
  case Form::lop3: return r.kinds || r.scalar ? nullptr : lop3;
  case Form::shf:
    if (has(r, Mod::l)) return has(r, Mod::wrap) ? pick3<Shf<true, true>>(r) : pick3<Shf<true, false>>(r);
    return has(r, Mod::wrap) ? pick3<Shf<false, true>>(r) : pick3<Shf<false, false>>(r);
  case Form::shl: return bits2<Shl>(r);
  case Form::shr: return ints2<Shr>(r);
  case Form::prmt: return prmt(r);
  default: return nullptr;
  }
}

Fn ISA(select_carry)(bool out, bool subtract, bool wide) {
  if (out) RARE(subtract ? wide ? carry<u64, true> : carry<u32, true> : wide ? carry<u64, false> : carry<u32, false>);
  RARE(subtract ? wide ? add_carry<u64, true> : add_carry<u32, true>
       : wide   ? add_carry<u64, false>
                : add_carry<u32, false>);
}

} // namespace tilejit::runtime::simulator
