// exec_memory.cpp - loads, stores, atomics, cp.async. PTX ISA 9.7.9 "ld", "st", 9.7.13 "atom", "red", 9.7.9.25
// "cp.async".
//
// How lanes find their bytes, and how these move: exec_access.h. Stores and atomics take effect in the order of the
// lanes.
//
// Main slot: a = address (row or scalar), imm = offset, c = guard, aux = its xor mask, d = flags. Next slot: up to 8
// words with the rows of the elements (loads, stores), or see the handler.
#include "runtime/simulator/exec_access.h"
#include "runtime/simulator/handlers.h"
#include "runtime/simulator/memory.h"
#include "runtime/simulator/small_floats.h"

namespace tilejit::runtime::simulator {
namespace {

template <class T, int n>
inline void extend_signs(Warp* w, const u32* rows, u32 mask) {
  for (int e = 0; e < n; ++e) {
    LaneOf<T>* d = row<T>(w, rows[e]);
    if (sizeof(T) == 1)
      LANES d[i] = mask >> i & 1 ? LaneOf<T>(s32(s8(d[i]))) : d[i];
    else
      LANES d[i] = mask >> i & 1 ? LaneOf<T>(s32(s16(d[i]))) : d[i];
  }
}

template <Space space, class T, int n>
const Insn* load(Warp* w, const Insn* ip) {
  const u32 flags = ip->d, mask = w->active & (predicate(w, ip->c) ^ ip->aux);
  if (!mask) return ip + 2;
  const u32* rows = reinterpret_cast<const u32*>(ip + 1);
  Together t;
  if (mask == ~0u && locate<space, sizeof(T) * n>(w, flags, ip->a, ip->imm, t))
    gather<T, n>(w, rows, t);
  else {
    Addresses a;
    locate_lanes<space>(w, ip, flags, ip->a, ip->imm, sizeof(T) * n, mask, false, a);
    gather_lanes<T, n>(w, rows, a, mask);
  }
  if (sizeof(T) < 4 && flags & sign_extend) extend_signs<T, n>(w, rows, mask);
  return ip + 2;
}
/// All lanes load the same parameter, into scalars.
template <class T, int n>
[[maybe_unused]] const Insn* load_scalar(Warp* w, const Insn* ip) {
  const u32* slots = reinterpret_cast<const u32*>(ip + 1);
  const u64 address = *reinterpret_cast<const u64*>(w->file + ip->a) + u64(s64(s32(ip->imm)));
  const u8* at = reinterpret_cast<const u8*>(
      locate_lane<Space::param>(w, ip, u32(__builtin_ctz(w->active)), address, sizeof(T) * n, false));
  for (int e = 0; e < n; ++e) {
    T x = read<T>(at + u64(e) * sizeof(T));
    u64 wide = sizeof(T) < 4 && ip->d & sign_extend ? u64(u32(sizeof(T) == 1 ? s32(s8(x)) : s32(s16(x)))) : u64(x);
    *reinterpret_cast<u64*>(w->file + slots[e]) = wide;
  }
  return ip + 2;
}

template <Space space, class T, int n>
const Insn* store(Warp* w, const Insn* ip) {
  const u32 mask = w->active & (predicate(w, ip->c) ^ ip->aux);
  if (!mask) return ip + 2;
  const u32* rows = reinterpret_cast<const u32*>(ip + 1);
  Together t;
  if (mask == ~0u && locate<space, sizeof(T) * n>(w, ip->d, ip->a, ip->imm, t))
    scatter<T, n>(w, rows, t);
  else {
    Addresses a;
    locate_lanes<space>(w, ip, ip->d, ip->a, ip->imm, sizeof(T) * n, mask, true, a);
    scatter_lanes<T, n>(w, rows, a, mask);
  }
  return ip + 2;
}

/// The moving alone, for whoever has found the places already (exec_observe.cpp).
template <class T, int n, bool is_store>
const Insn* move(Warp* w, const Insn* ip, const Together& t) {
  const u32* rows = reinterpret_cast<const u32*>(ip + 1);
  if constexpr (is_store) {
    scatter<T, n>(w, rows, t);
  } else {
    gather<T, n>(w, rows, t);
    if (sizeof(T) < 4 && ip->d & sign_extend) extend_signs<T, n>(w, rows, ~0u);
  }
  return ip + 2;
}

#if TILEJIT_EVERYTHING
// --- atomics ---------------------------------------------------------------------------------------------------------
// Next slot: d = result row (0: none), a = operand, b = second operand of cas. Blocks run on several host threads, so
// the operations are atomic on the host too.

enum class Atomic { and_, or_, xor_, exch, add, inc, dec, min, max, cas };

template <class T, Atomic op>
inline T combine(T old, T x) {
  if constexpr (op == Atomic::exch)
    return x;
  else if constexpr (sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8) {
    if constexpr (op == Atomic::and_)
      return old & x;
    else if constexpr (op == Atomic::or_)
      return old | x;
    else if constexpr (op == Atomic::xor_)
      return old ^ x;
    else if constexpr (op == Atomic::inc)
      return old >= x ? T(0) : T(old + 1);
    else if constexpr (op == Atomic::dec)
      return old == 0 || old > x ? x : T(old - 1);
    else if constexpr (op == Atomic::min)
      return old < x ? old : x;
    else if constexpr (op == Atomic::max)
      return old > x ? old : x;
  }
  return x;
}
struct half2 {
  u32 bits;
};
struct bhalf2 {
  u32 bits;
};
inline f32 sum(f32 a, f32 b) {
  f32 r = a + b;
  return bits_as<f32>(r != r ? 0x7fffffffu : bits_as<u32>(r));
}
inline f64 sum(f64 a, f64 b) { return a + b; }
inline f16 sum(f16 a, f16 b) { return round_to<f16>(to_f32(a) + to_f32(b)); }
inline bf16 sum(bf16 a, bf16 b) { return round_to<bf16>(to_f32(a) + to_f32(b)); }
inline half2 sum(half2 a, half2 b) {
  return {u32(sum(f16{u16(a.bits)}, f16{u16(b.bits)}).bits) |
          u32(sum(f16{u16(a.bits >> 16)}, f16{u16(b.bits >> 16)}).bits) << 16};
}
inline bhalf2 sum(bhalf2 a, bhalf2 b) {
  return {u32(sum(bf16{u16(a.bits)}, bf16{u16(b.bits)}).bits) |
          u32(sum(bf16{u16(a.bits >> 16)}, bf16{u16(b.bits >> 16)}).bits) << 16};
}
inline u32 sum(u32 a, u32 b) { return a + b; }
inline u64 sum(u64 a, u64 b) { return a + b; }
/// The lesser or the greater; a number wins over NaN, and -0 is less than +0.
template <class H>
inline H extreme(H a, H b, bool least) {
  if (is_nan(a) || is_nan(b)) return !is_nan(b) ? b : !is_nan(a) ? a : H{0x7fff};
  f32 x = to_f32(a), y = to_f32(b);
  return (x < y || (x == y && a.bits > b.bits)) == least ? a : b;
}
inline half2 extreme(half2 a, half2 b, bool least) {
  return {u32(extreme(f16{u16(a.bits)}, f16{u16(b.bits)}, least).bits) |
          u32(extreme(f16{u16(a.bits >> 16)}, f16{u16(b.bits >> 16)}, least).bits) << 16};
}
inline bhalf2 extreme(bhalf2 a, bhalf2 b, bool least) {
  return {u32(extreme(bf16{u16(a.bits)}, bf16{u16(b.bits)}, least).bits) |
          u32(extreme(bf16{u16(a.bits >> 16)}, bf16{u16(b.bits >> 16)}, least).bits) << 16};
}
template <class T>
inline constexpr bool is_half = false;
template <>
inline constexpr bool is_half<f16> = true;
template <>
inline constexpr bool is_half<bf16> = true;
template <>
inline constexpr bool is_half<half2> = true;
template <>
inline constexpr bool is_half<bhalf2> = true;
/// The sum of floats as global memory adds them: subnormals are zeros.
inline f32 flushed(f32 x) {
  return bits_as<f32>(bits_as<u32>(x) & 0x7f800000 ? bits_as<u32>(x) : bits_as<u32>(x) & 0x80000000);
}
inline f32 flushed_sum(f32 a, f32 b) { return flushed(sum(flushed(a), flushed(b))); }

template <int bytes>
struct Word {
  using type = u32;
};
template <>
struct Word<2> {
  using type = u16;
};
template <>
struct Word<8> {
  using type = u64;
};

inline bool in_global_memory(const Warp* w, const void* host) {
  return reinterpret_cast<u64>(host) - reinterpret_cast<u64>(w->arena) - GlobalMemory::base < GlobalMemory::reserved;
}
template <class T, Atomic op>
[[gnu::noinline]] void apply(Warp* w, const Insn* more, const Addresses& a, u32 mask) {
  using W = typename Word<sizeof(T)>::type;
  LaneOf<T> old_values[32];
  for (u32 m = mask; m; m &= m - 1) {
    u32 lane = u32(__builtin_ctz(m));
    W* at = reinterpret_cast<W*>(a.at[lane]);
    T x = from_lane<T>(row<T>(w, more->a)[lane]);
    W old = __atomic_load_n(at, __ATOMIC_RELAXED), next;
    do {
      if constexpr (op == Atomic::cas)
        next = old == bits_as<W>(x) ? bits_as<W>(from_lane<T>(row<T>(w, more->b)[lane])) : old;
      else if constexpr (op == Atomic::add && __is_same(T, f32))
        next = bits_as<W>(in_global_memory(w, at) ? flushed_sum(bits_as<T>(old), x) : sum(bits_as<T>(old), x));
      else if constexpr (op == Atomic::add)
        next = bits_as<W>(sum(bits_as<T>(old), x));
      else if constexpr (is_half<T>)
        next = bits_as<W>(extreme(bits_as<T>(old), x, op == Atomic::min));
      else
        next = bits_as<W>(combine<T, op>(bits_as<T>(old), x));
    } while (!__atomic_compare_exchange_n(at, &old, next, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
    old_values[lane] = to_lane<T>(bits_as<T>(old));
  }
  if (more->d)
    for (u32 m = mask; m; m &= m - 1) {
      u32 lane = u32(__builtin_ctz(m));
      row<T>(w, more->d)[lane] = old_values[lane];
    }
}
template <Space space, class T, Atomic op>
const Insn* atomic(Warp* w, const Insn* ip) {
  const u32 mask = w->active & (predicate(w, ip->c) ^ ip->aux);
  if (!mask) return ip + 2;
  Addresses a;
  locate_lanes<space>(w, ip, ip->d, ip->a, ip->imm, sizeof(T), mask, true, a);
  apply<T, op>(w, ip + 1, a, mask);
  return ip + 2;
}
#endif

// --- cp.async --------------------------------------------------------------------------------------------------------
// Main slot: a = shared address, imm = its offset, d = flags. Next slot: d = flags of the source's address, a = source,
// b = its offset, c = bytes of a lane, imm = row of the number of bytes to read (0: all), aux = predicate to ignore the
// source (0: none).

/// Host addresses of the lanes of `mask`, of a number of bytes that is known only now.
template <Space space>
void locate_bytes(Warp* w, const Insn* ip, u32 flags, u32 base, u32 offset, u32 bytes, u32 mask, bool write,
                  Addresses& a) {
  Together t;
  if (mask == ~0u && (bytes == 16  ? locate<space, 16>(w, flags, base, offset, t)
                      : bytes == 8 ? locate<space, 8>(w, flags, base, offset, t)
                                   : locate<space, 4>(w, flags, base, offset, t))) {
    const u64 first = reinterpret_cast<u64>(t.base);
    if (t.contiguous)
      LANES a.at[i] = first + u64(i) * bytes;
    else
      LANES a.at[i] = first + t.at[i];
  } else
    locate_lanes<space>(w, ip, flags, base, offset, bytes, mask, write, a);
}

const Insn* copy_async(Warp* w, const Insn* ip) {
  const u32 mask = w->active & (predicate(w, ip->c) ^ ip->aux);
  if (!mask) return ip + 2;
  const Insn* more = ip + 1;
  const u32 bytes = more->c;
  Addresses to, from;
  const u64 shared = reinterpret_cast<u64>(w->shared);
  locate_bytes<Space::shared>(w, ip, ip->d, ip->a, ip->imm, bytes, mask, true, to);
  u32 valid[32], reads = mask, part = 0; // lanes that read something, lanes that read less than all
  LANES valid[i] = bytes;
  if (more->imm | more->aux) {
    const u32 ignored = more->aux ? predicate(w, more->aux) : 0;
    for (u32 i = 0; i < 32; ++i) {
      if (more->imm) valid[i] = row<u32>(w, more->imm)[i];
      if (ignored >> i & 1) valid[i] = 0;
      if (mask >> i & 1 && valid[i] > bytes)
        fail(w, ip, "cp.async reads more bytes than it writes: the source size must not exceed the copy size");
      if (valid[i] != bytes) part |= 1u << i;
      if (valid[i] == 0) reads &= ~(1u << i);
    }
  }
  if (reads & part) { // bytes that are not read need not exist: each lane is looked up for what it reads
    addresses(w, more->d, more->a, more->b, from);
    for (u32 m = reads; m; m &= m - 1) {
      u32 lane = u32(__builtin_ctz(m));
      if (from.at[lane] & (bytes - 1))
        fault(w, ip, Fault::misaligned, Space::global, lane, from.at[lane], bytes, false);
      if (!find_allocation(w, from.at[lane], valid[lane]))
        fault(w, ip, Fault::out_of_bounds, Space::global, lane, from.at[lane], valid[lane], false);
      from.at[lane] += reinterpret_cast<u64>(w->arena);
    }
  } else if (reads)
    locate_bytes<Space::global>(w, ip, more->d, more->a, more->b, bytes, reads, false, from);
  AsyncCopy& copy = new_copy(w);
  copy.mask = mask;
  copy.group = 0;
  copy.bytes = bytes;
  copy.whole = part == 0;
  LANES copy.valid[i] = u8(valid[i]);
  LANES copy.to[i] = u32(to.at[i] - shared);
  __builtin_memcpy(copy.from, from.at, sizeof copy.from);
  return ip + 2;
}

// --- choosing --------------------------------------------------------------------------------------------------------

/// f<n>() of the number of elements: what compilers emit in loops, the rest at the lowest level only.
template <class T, bool often, class F>
auto of_count(u32 n, F f) -> decltype(f.template operator()<1>()) {
  if (n == 1 && often) return f.template operator()<1>();
  if constexpr (sizeof(T) >= 4 && often) {
    if (n == 2) return f.template operator()<2>();
    if constexpr (sizeof(T) == 4)
      if (n == 4) return f.template operator()<4>();
  }
#if TILEJIT_EVERYTHING
  if (n == 1) return f.template operator()<1>();
  if (n == 2) return f.template operator()<2>();
  if (n == 4) return f.template operator()<4>();
  if constexpr (sizeof(T) == 4)
    if (n == 8) return f.template operator()<8>();
#endif
  return nullptr;
}
/// f<T>() of the type of the elements.
template <class F>
auto of_type(Type type, F f) -> decltype(f.template operator()<u8>()) {
  switch (type) {
  case Type::b8:
  case Type::u8:
  case Type::s8: return f.template operator()<u8>();
  case Type::b16:
  case Type::u16:
  case Type::s16: return f.template operator()<u16>();
  case Type::b32:
  case Type::u32:
  case Type::s32:
  case Type::f32: return f.template operator()<u32>();
  case Type::b64:
  case Type::u64:
  case Type::s64:
  case Type::f64: return f.template operator()<u64>();
  default: return nullptr;
  }
}
u32 element_count(const Request& r) { return has(r, Mod::v2) ? 2 : has(r, Mod::v4) ? 4 : has(r, Mod::v8) ? 8 : 1; }

template <Space space, class T>
Fn access(u32 n, bool is_store) {
  constexpr bool often = space == Space::shared || space == Space::global || space == Space::generic;
  return of_count<T, often>(
      n, [&]<int count>() -> Fn { return is_store ? store<space, T, count> : load<space, T, count>; });
}
template <class T>
Fn scalars([[maybe_unused]] u32 n) {
  RARE((n == 1 ? load_scalar<T, 1> : n == 2 ? load_scalar<T, 2> : n == 4 ? load_scalar<T, 4> : nullptr));
}
template <class T>
Fn access(const Request& r, bool is_store) {
  const u32 n = element_count(r);
  if (r.scalar) return r.space == Space::param && !is_store ? scalars<T>(n) : nullptr;
  switch (r.space) {
  case Space::shared: return access<Space::shared, T>(n, is_store);
  case Space::global:
  case Space::constant: return access<Space::global, T>(n, is_store);
  case Space::local: return access<Space::local, T>(n, is_store);
  case Space::param: return is_store ? nullptr : access<Space::param, T>(n, false);
  default: return access<Space::generic, T>(n, is_store);
  }
}
Fn access(const Request& r, bool is_store) {
  return of_type(r.types[0], [&]<class T>() { return access<T>(r, is_store); });
}

#if TILEJIT_EVERYTHING
template <Space space, class U, class S>
Fn atomic_int(const Request& r) {
  bool is_signed = r.types[0] == Type::s32 || r.types[0] == Type::s64;
  if (r.form == Form::atom_cas) return atomic<space, U, Atomic::cas>;
  if (has(r, Mod::exch)) return atomic<space, U, Atomic::exch>;
  if (has(r, Mod::and_)) return atomic<space, U, Atomic::and_>;
  if (has(r, Mod::or_)) return atomic<space, U, Atomic::or_>;
  if (has(r, Mod::xor_)) return atomic<space, U, Atomic::xor_>;
  if (has(r, Mod::inc)) return atomic<space, U, Atomic::inc>;
  if (has(r, Mod::dec)) return atomic<space, U, Atomic::dec>;
  if (has(r, Mod::min)) return is_signed ? atomic<space, S, Atomic::min> : atomic<space, U, Atomic::min>;
  if (has(r, Mod::max)) return is_signed ? atomic<space, S, Atomic::max> : atomic<space, U, Atomic::max>;
  return has(r, Mod::add) ? atomic<space, U, Atomic::add> : nullptr;
}
template <Space space, class H>
Fn atomic_half(const Request& r) {
  if (has(r, Mod::add)) return atomic<space, H, Atomic::add>;
  bool vector = has(r, Mod::v2) || has(r, Mod::v4) || has(r, Mod::v8); // the others only add
  if (!vector) return nullptr;
  return has(r, Mod::min) ? atomic<space, H, Atomic::min> : has(r, Mod::max) ? atomic<space, H, Atomic::max> : nullptr;
}
template <Space space>
Fn atomic_of(const Request& r) {
  bool add = has(r, Mod::add);
  switch (r.types[0]) {
  case Type::b16: return r.form == Form::atom_cas ? atomic<space, u16, Atomic::cas> : nullptr;
  case Type::b32:
  case Type::u32:
  case Type::s32: return atomic_int<space, u32, s32>(r);
  case Type::b64:
  case Type::u64:
  case Type::s64: return atomic_int<space, u64, s64>(r);
  case Type::f32:
    return add ? atomic<space, f32, Atomic::add> : has(r, Mod::exch) ? atomic<space, u32, Atomic::exch> : nullptr;
  case Type::f64:
    return add ? atomic<space, f64, Atomic::add> : has(r, Mod::exch) ? atomic<space, u64, Atomic::exch> : nullptr;
  case Type::f16: return atomic_half<space, f16>(r);
  case Type::bf16: return atomic_half<space, bf16>(r);
  case Type::f16x2: return atomic_half<space, half2>(r);
  case Type::bf16x2: return atomic_half<space, bhalf2>(r);
  default: return nullptr;
  }
}

#endif

} // namespace

Moving ISA(select_moving)(const Request& r) {
  return of_type(r.types[0], [&]<class T>() {
    return of_count<T, true>(
        element_count(r), [&]<int n>() -> Moving { return r.form == Form::st ? move<T, n, true> : move<T, n, false>; });
  });
}
Fn ISA(select_memory)(const Request& r) {
  switch (r.form) {
  case Form::ld:
  case Form::ld_nc: return access(r, false);
  case Form::st: return access(r, true);
#if TILEJIT_EVERYTHING
  case Form::atom:
  case Form::atom_cas:
  case Form::red:
    return r.space == Space::shared   ? atomic_of<Space::shared>(r)
           : r.space == Space::global ? atomic_of<Space::global>(r)
                                      : atomic_of<Space::generic>(r);
#endif
  case Form::cp_async:
  case Form::cp_async_ignore: return copy_async;
  default: return nullptr;
  }
}

} // namespace tilejit::runtime::simulator
