// lanes.h - how handlers are made: an operation on one lane becomes loops over 32 lanes for every kind of operands.
//
// Included only by exec_*.cpp. Those are compiled several times, for different instruction sets, so everything here is
// in an anonymous namespace: a linker that merged inline functions might keep the copy that the machine cannot run.
//
// An operation is a struct with types D (result), A, B, C (sources) and a static `apply` on one lane; the compiler
// turns the loops into vector code. Aliasing of operands is exact or absent (liveness.h), which is what `ivdep` says.
//
// Several equal operations in a row are one call: `imm` of the first tells how many follow it.
//
// Operations that are rare, or large, exist only at the lowest level (TILEJIT_EVERYTHING), where code is compact; the
// others fall back on those. So the three levels together stay small enough to ship.
#pragma once
#include "runtime/simulator/warp.h"

#include <cstring>
#include <immintrin.h>

namespace tilejit::runtime::simulator {
namespace {

using u8 = uint8_t;
using u16 = uint16_t;
using u32 = uint32_t;
using u64 = uint64_t;
using s8 = int8_t;
using s16 = int16_t;
using s32 = int32_t;
using s64 = int64_t;
using f32 = float;
using f64 = double;
__extension__ typedef __int128 s128;
__extension__ typedef unsigned __int128 u128;

struct f16 {
  u16 bits;
};
struct bf16 {
  u16 bits;
};

#define LANES _Pragma("GCC ivdep") for (int i = 0; i < 32; ++i)

template <bool C, class A, class B>
struct Choose {
  using type = A;
};
template <class A, class B>
struct Choose<false, A, B> {
  using type = B;
};
/// The integer that a lane of a row holds for values of T.
template <class T>
using LaneOf = typename Choose<sizeof(T) == 8, u64, u32>::type;

template <class To, class From>
inline To bits_as(From from) {
  return __builtin_bit_cast(To, from);
}

template <class T>
inline T from_lane(LaneOf<T> x) {
  if constexpr (sizeof(T) == sizeof(x))
    return bits_as<T>(x);
  else if constexpr (sizeof(T) == 2)
    return bits_as<T>(static_cast<u16>(x));
  else
    return bits_as<T>(static_cast<u8>(x));
}
template <class T>
inline LaneOf<T> to_lane(T x) {
  if constexpr (sizeof(T) == sizeof(LaneOf<T>))
    return bits_as<LaneOf<T>>(x);
  else if constexpr (sizeof(T) == 2)
    return bits_as<u16>(x);
  else
    return bits_as<u8>(x);
}
template <class T>
inline LaneOf<T>* row(Warp* w, u32 offset) {
  return reinterpret_cast<LaneOf<T>*>(__builtin_assume_aligned(w->file + offset, 64));
}
template <class T>
inline T scalar(Warp* w, u32 offset) {
  return from_lane<T>(*reinterpret_cast<LaneOf<T>*>(w->file + offset));
}
inline u32& predicate(Warp* w, u32 offset) { return *reinterpret_cast<u32*>(w->file + offset); }

/// Bit i of the result is whether lanes[i] is not 0; every lane is 0 or ~0.
inline u32 mask_of(const u32* lanes) {
#if defined(__AVX512BW__) && defined(__AVX512DQ__)
  __m512i a = _mm512_load_si512(lanes), b = _mm512_load_si512(lanes + 16);
  return static_cast<u32>(_mm512_movepi32_mask(a)) | static_cast<u32>(_mm512_movepi32_mask(b)) << 16;
#elif defined(__AVX2__)
  u32 m = 0;
  for (int i = 0; i < 4; ++i)
    m |= static_cast<u32>(_mm256_movemask_ps(_mm256_load_ps(reinterpret_cast<const float*>(lanes) + 8 * i))) << (8 * i);
  return m;
#else
  u32 m = 0;
  for (int i = 0; i < 8; ++i)
    m |= static_cast<u32>(_mm_movemask_ps(_mm_load_ps(reinterpret_cast<const float*>(lanes) + 4 * i))) << (4 * i);
  return m;
#endif
}

/// Operations whose sources and result are of one type derive from these.
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

// --- handlers of operations ------------------------------------------------------------------------------------------

template <class Op, unsigned K>
const Insn* unary(Warp* w, const Insn* ip) {
  using A = typename Op::A;
  using D = typename Op::D;
  for (u32 more = ip->imm;; --more) {
    auto* d = row<D>(w, ip->d);
    if constexpr (K & 1) {
      auto x = to_lane<D>(Op::apply(scalar<A>(w, ip->a)));
      LANES d[i] = x;
    } else {
      const auto* a = row<A>(w, ip->a);
      LANES d[i] = to_lane<D>(Op::apply(from_lane<A>(a[i])));
    }
    ++ip;
    if (more == 0) return ip;
  }
}

template <class Op, unsigned K>
const Insn* binary(Warp* w, const Insn* ip) {
  using A = typename Op::A;
  using B = typename Op::B;
  using D = typename Op::D;
  for (u32 more = ip->imm;; --more) {
    auto* d = row<D>(w, ip->d);
    const auto* a = row<A>(w, K & 1 ? ip->d : ip->a);
    const auto* b = row<B>(w, K & 2 ? ip->d : ip->b);
    const A sa = K & 1 ? scalar<A>(w, ip->a) : A{};
    const B sb = K & 2 ? scalar<B>(w, ip->b) : B{};
    LANES d[i] = to_lane<D>(Op::apply(K & 1 ? sa : from_lane<A>(a[i]), K & 2 ? sb : from_lane<B>(b[i])));
    ++ip;
    if (more == 0) return ip;
  }
}

template <class Op, unsigned K>
const Insn* ternary(Warp* w, const Insn* ip) {
  using A = typename Op::A;
  using B = typename Op::B;
  using C = typename Op::C;
  using D = typename Op::D;
  for (u32 more = ip->imm;; --more) {
    auto* d = row<D>(w, ip->d);
    const auto* a = row<A>(w, K & 1 ? ip->d : ip->a);
    const auto* b = row<B>(w, K & 2 ? ip->d : ip->b);
    const auto* c = row<C>(w, K & 4 ? ip->d : ip->c);
    const A sa = K & 1 ? scalar<A>(w, ip->a) : A{};
    const B sb = K & 2 ? scalar<B>(w, ip->b) : B{};
    const C sc = K & 4 ? scalar<C>(w, ip->c) : C{};
    LANES d[i] = to_lane<D>(
        Op::apply(K & 1 ? sa : from_lane<A>(a[i]), K & 2 ? sb : from_lane<B>(b[i]), K & 4 ? sc : from_lane<C>(c[i])));
    ++ip;
    if (more == 0) return ip;
  }
}

template <class T>
inline void put_scalar(Warp* w, u32 offset, T x) {
  *reinterpret_cast<u64*>(w->file + offset) = to_lane<T>(x);
}
template <class Op>
const Insn* unary_scalar(Warp* w, const Insn* ip) {
  put_scalar(w, ip->d, Op::apply(scalar<typename Op::A>(w, ip->a)));
  return ip + 1;
}
template <class Op>
const Insn* binary_scalar(Warp* w, const Insn* ip) {
  put_scalar(w, ip->d, Op::apply(scalar<typename Op::A>(w, ip->a), scalar<typename Op::B>(w, ip->b)));
  return ip + 1;
}
template <class Op>
const Insn* ternary_scalar(Warp* w, const Insn* ip) {
  put_scalar(
      w, ip->d,
      Op::apply(scalar<typename Op::A>(w, ip->a), scalar<typename Op::B>(w, ip->b), scalar<typename Op::C>(w, ip->c)));
  return ip + 1;
}

/// Comparisons: the result is a predicate. K == 3: both are scalars, one compare for all lanes.
template <class Op, unsigned K>
const Insn* compare(Warp* w, const Insn* ip) {
  using A = typename Op::A;
  if constexpr (K == 3) {
    predicate(w, ip->d) = Op::apply(scalar<A>(w, ip->a), scalar<A>(w, ip->b)) ? ~0u : 0u;
  } else {
    const auto* a = row<A>(w, K & 1 ? ip->b : ip->a);
    const auto* b = row<A>(w, K & 2 ? ip->a : ip->b);
    const A sa = K & 1 ? scalar<A>(w, ip->a) : A{};
    const A sb = K & 2 ? scalar<A>(w, ip->b) : A{};
    alignas(64) u32 lanes[32];
    LANES lanes[i] = Op::apply(K & 1 ? sa : from_lane<A>(a[i]), K & 2 ? sb : from_lane<A>(b[i])) ? ~0u : 0u;
    predicate(w, ip->d) = mask_of(lanes);
  }
  return ip + 1;
}

// --- choosing one of them --------------------------------------------------------------------------------------------
// Null: there is no variant for these kinds; lowering then turns the scalars into rows. The lowest level only has to be
// right, and does without most variants.

#if TILEJIT_EVERYTHING
#define VARIANT(...) nullptr
#else
#define VARIANT(...) __VA_ARGS__
#endif

template <class Op>
Fn pick1(const Request& r) {
  if (r.scalar) return unary_scalar<Op>;
  return r.kinds == 0 ? unary<Op, 0> : nullptr;
}
template <class Op>
Fn pick2(const Request& r) {
  if (r.scalar) return binary_scalar<Op>;
  switch (r.kinds) {
  case 0: return binary<Op, 0>;
  case 1: return VARIANT(binary<Op, 1>);
  case 2: return VARIANT(binary<Op, 2>);
  default: return nullptr;
  }
}
template <class Op>
Fn pick3(const Request& r) {
  if (r.scalar) return ternary_scalar<Op>;
  switch (r.kinds) {
  case 0: return ternary<Op, 0>;
  case 2: return VARIANT(ternary<Op, 2>);
  case 4: return VARIANT(ternary<Op, 4>);
  case 6: return VARIANT(ternary<Op, 6>);
  default: return nullptr;
  }
}
template <class Op>
Fn pick_compare(const Request& r) {
  switch (r.kinds) {
  case 0: return compare<Op, 0>;
  case 2: return VARIANT(compare<Op, 2>);
  case 3: return compare<Op, 3>;
  default: return nullptr;
  }
}

/// Rows only.
template <class Op>
Fn rows1(const Request& r) {
  return r.kinds == 0 && !r.scalar ? unary<Op, 0> : nullptr;
}
template <class Op>
Fn rows2(const Request& r) {
  return r.kinds == 0 && !r.scalar ? binary<Op, 0> : nullptr;
}
template <class Op>
Fn rows3(const Request& r) {
  return r.kinds == 0 && !r.scalar ? ternary<Op, 0> : nullptr;
}

/// Rare: rows only, and only at the lowest level.
#if TILEJIT_EVERYTHING
#define RARE(...) return __VA_ARGS__
#else
#define RARE(...) return nullptr
#endif
template <class Op>
Fn rare1(const Request& r) {
  RARE(rows1<Op>(r));
}
template <class Op>
Fn rare2(const Request& r) {
  RARE(rows2<Op>(r));
}
template <class Op>
Fn rare3(const Request& r) {
  RARE(rows3<Op>(r));
}
/// Rare, but scalars occur: indices.
template <class Op>
Fn seldom1(const Request& r) {
  RARE((r.scalar ? unary_scalar<Op> : rows1<Op>(r)));
}
template <class Op>
Fn seldom2(const Request& r) {
  RARE((r.scalar ? binary_scalar<Op> : rows2<Op>(r)));
}
template <class Op>
Fn seldom3(const Request& r) {
  RARE((r.scalar ? ternary_scalar<Op> : rows3<Op>(r)));
}
template <class Op>
Fn rare_compare(const Request& r) {
  RARE((r.kinds == 0 ? compare<Op, 0> : r.kinds == 3 ? compare<Op, 3> : nullptr));
}

[[gnu::noinline, gnu::cold, maybe_unused]] bool has(const Request& r, Mod mod) {
  for (u32 i = 0; i < r.mod_count; ++i)
    if (r.mods[i] == mod) return true;
  return false;
}

} // namespace
} // namespace tilejit::runtime::simulator
