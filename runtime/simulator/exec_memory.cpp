// exec_memory.cpp - loads, stores, atomics, cp.async. PTX ISA 9.7.9 "ld", "st", 9.7.13 "atom", "red", 9.7.9.25
// "cp.async".
//
// Every address of a lane that executes is checked against the memory it must lie in; the error names it. A warp whose
// lanes all hit one allocation is checked once. Stores and atomics take effect in the order of the lanes.
//
// Main slot: a = address (row or scalar), imm = offset, c = guard, aux = its xor mask, d = flags. Next slot: up to 8
// words with the rows of the elements (loads, stores), or see the handler.
#include "runtime/simulator/control.h"
#include "runtime/simulator/handlers.h"
#include "runtime/simulator/memory_flags.h"
#include "runtime/simulator/small_floats.h"

namespace tilejit::runtime::simulator {
namespace {

struct alignas(64) Addresses {
  u64 at[32];
};

inline void addresses(Warp* w, const Insn* ip, u32 flags, u32 base, u32 offset, Addresses& out) {
  s64 add = s64(s32(offset));
  if (flags & address_row64) {
    const u64* a = row<u64>(w, base);
    LANES out.at[i] = a[i] + u64(add);
  } else if (flags & address_row32) {
    const u32* a = row<u32>(w, base);
    LANES out.at[i] = u64(u32(a[i] + offset));
  } else {
    u64 a = *reinterpret_cast<const u64*>(w->file + base) + u64(add);
    LANES out.at[i] = a;
  }
}

/// Turns device addresses into host ones, in place, for the lanes of `mask`; all bytes are there and aligned.
template <Space space>
inline void resolve(Warp* w, const Insn* ip, u32 mask, Addresses& a, u64 bytes, bool write) {
  u64 low = ~u64(0), high = 0, bits = 0;
  if (mask == ~0u) {
    for (int i = 0; i < 32; ++i) low = a.at[i] < low ? a.at[i] : low;
    for (int i = 0; i < 32; ++i) high = a.at[i] > high ? a.at[i] : high;
    for (int i = 0; i < 32; ++i) bits |= a.at[i];
  } else {
    for (u32 m = mask; m; m &= m - 1) {
      u64 x = a.at[__builtin_ctz(m)];
      low = x < low ? x : low;
      high = x > high ? x : high;
      bits |= x;
    }
  }
  if (__builtin_expect((bits & (bytes - 1)) != 0, 0))
    for (u32 m = mask; m; m &= m - 1) {
      u32 lane = u32(__builtin_ctz(m));
      if (a.at[lane] & (bytes - 1)) fault(w, ip, Fault::misaligned, space, lane, a.at[lane], bytes, write);
    }
  if constexpr (space == Space::shared) {
    if (__builtin_expect(high + bytes > w->shared_bytes || high + bytes < high, 0))
      for (u32 m = mask; m; m &= m - 1) {
        u32 lane = u32(__builtin_ctz(m));
        if (a.at[lane] > w->shared_bytes - bytes || w->shared_bytes < bytes)
          fault(w, ip, Fault::out_of_bounds, space, lane, a.at[lane], bytes, write);
      }
    u64 base = reinterpret_cast<u64>(w->shared);
    LANES a.at[i] += base;
  } else if constexpr (space == Space::local) {
    u64 base = reinterpret_cast<u64>(w->local);
    for (u32 m = mask; m; m &= m - 1) {
      u32 lane = u32(__builtin_ctz(m));
      if (a.at[lane] > w->local_bytes || w->local_bytes - a.at[lane] < bytes)
        fault(w, ip, Fault::out_of_bounds, space, lane, a.at[lane], bytes, write);
      a.at[lane] += base + lane * w->local_bytes;
    }
  } else if constexpr (space == Space::param) {
    for (u32 m = mask; m; m &= m - 1) {
      u32 lane = u32(__builtin_ctz(m));
      if (write || a.at[lane] > w->param_bytes || w->param_bytes - a.at[lane] < bytes)
        fault(w, ip, Fault::out_of_bounds, space, lane, a.at[lane], bytes, write);
      a.at[lane] += reinterpret_cast<u64>(w->params);
    }
  } else if constexpr (space == Space::global) {
    bool one = low >= w->allocation_begin && high < w->allocation_end && w->allocation_end - high >= bytes;
    if (__builtin_expect(!one, 0)) {
      one = high - low < window_bytes && find_allocation(w, low, high - low + bytes);
      if (!one)
        for (u32 m = mask; m; m &= m - 1) {
          u32 lane = u32(__builtin_ctz(m));
          u64 x = a.at[lane];
          bool here = x >= w->allocation_begin && x < w->allocation_end && w->allocation_end - x >= bytes;
          if (!here && !find_allocation(w, x, bytes)) fault(w, ip, Fault::out_of_bounds, space, lane, x, bytes, write);
        }
    }
    u64 base = reinterpret_cast<u64>(w->arena);
    LANES a.at[i] += base;
  } else { // generic: each lane on its own
    for (u32 m = mask; m; m &= m - 1) {
      u32 lane = u32(__builtin_ctz(m));
      u64 x = a.at[lane];
      if (x - shared_window < window_bytes) {
        u64 o = x - shared_window;
        if (o > w->shared_bytes || w->shared_bytes - o < bytes)
          fault(w, ip, Fault::out_of_bounds, Space::shared, lane, o, bytes, write);
        a.at[lane] = reinterpret_cast<u64>(w->shared) + o;
      } else if (x - local_window < window_bytes) {
        u64 o = x - local_window;
        if (o > w->local_bytes || w->local_bytes - o < bytes)
          fault(w, ip, Fault::out_of_bounds, Space::local, lane, o, bytes, write);
        a.at[lane] = reinterpret_cast<u64>(w->local) + lane * w->local_bytes + o;
      } else if (x - param_window < window_bytes) {
        u64 o = x - param_window;
        if (write || o > w->param_bytes || w->param_bytes - o < bytes)
          fault(w, ip, Fault::out_of_bounds, Space::param, lane, o, bytes, write);
        a.at[lane] = reinterpret_cast<u64>(w->params) + o;
      } else {
        bool here = x >= w->allocation_begin && x < w->allocation_end && w->allocation_end - x >= bytes;
        if (!here && !find_allocation(w, x, bytes))
          fault(w, ip, Fault::out_of_bounds, Space::generic, lane, x, bytes, write);
        a.at[lane] = reinterpret_cast<u64>(w->arena) + x;
      }
    }
  }
}

/// One lane after the other, each `step` bytes further on.
inline bool contiguous(const Addresses& a, u64 step) {
  u64 first = a.at[0], different = 0;
  for (int i = 0; i < 32; ++i) different |= a.at[i] ^ (first + u64(i) * step);
  return different == 0;
}

template <class T>
inline T read(u64 at) {
  T x;
  __builtin_memcpy(&x, reinterpret_cast<const void*>(at), sizeof(T));
  return x;
}
template <class T>
inline void write(u64 at, T x) {
  __builtin_memcpy(reinterpret_cast<void*>(at), &x, sizeof(T));
}

template <Space space, class T, int n>
const Insn* load(Warp* w, const Insn* ip) {
  u32 flags = ip->d, mask = w->active & (predicate(w, ip->c) ^ ip->aux);
  if (!mask) return ip + 2;
  const u32* rows = reinterpret_cast<const u32*>(ip + 1);
  Addresses a;
  addresses(w, ip, flags, ip->a, ip->imm, a);
  resolve<space>(w, ip, mask, a, sizeof(T) * n, false);
  using Lane = LaneOf<T>;
  if (mask == w->live && mask == ~0u && contiguous(a, sizeof(T) * n)) {
    const auto* from = reinterpret_cast<const T*>(a.at[0]);
    for (int e = 0; e < n; ++e) {
      Lane* d = row<T>(w, rows[e]);
      LANES d[i] = Lane(from[i * n + e]);
    }
  } else {
    for (u32 m = mask; m; m &= m - 1) {
      u32 lane = u32(__builtin_ctz(m));
      for (int e = 0; e < n; ++e) row<T>(w, rows[e])[lane] = Lane(read<T>(a.at[lane] + u64(e) * sizeof(T)));
    }
  }
  if (sizeof(T) < 4 && flags & sign_extend)
    for (int e = 0; e < n; ++e) {
      Lane* d = row<T>(w, rows[e]);
      if (sizeof(T) == 1)
        LANES d[i] = mask >> i & 1 ? Lane(s32(s8(d[i]))) : d[i];
      else
        LANES d[i] = mask >> i & 1 ? Lane(s32(s16(d[i]))) : d[i];
    }
  return ip + 2;
}
/// All lanes load the same, into scalars.
template <Space space, class T, int n>
const Insn* load_scalar(Warp* w, const Insn* ip) {
  const u32* slots = reinterpret_cast<const u32*>(ip + 1);
  u32 flags = ip->d;
  Addresses a;
  u32 lane = u32(__builtin_ctz(w->active));
  a.at[lane] = *reinterpret_cast<const u64*>(w->file + ip->a) + u64(s64(s32(ip->imm)));
  u64 keep = a.at[lane];
  for (int i = 0; i < 32; ++i) a.at[i] = keep;
  resolve<space>(w, ip, 1u << lane, a, sizeof(T) * n, false);
  for (int e = 0; e < n; ++e) {
    T x = read<T>(a.at[lane] + u64(e) * sizeof(T));
    u64 wide = sizeof(T) < 4 && flags & sign_extend ? u64(u32(sizeof(T) == 1 ? s32(s8(x)) : s32(s16(x)))) : u64(x);
    *reinterpret_cast<u64*>(w->file + slots[e]) = wide;
  }
  return ip + 2;
}

template <Space space, class T, int n>
const Insn* store(Warp* w, const Insn* ip) {
  u32 flags = ip->d, mask = w->active & (predicate(w, ip->c) ^ ip->aux);
  if (!mask) return ip + 2;
  const u32* rows = reinterpret_cast<const u32*>(ip + 1);
  Addresses a;
  addresses(w, ip, flags, ip->a, ip->imm, a);
  resolve<space>(w, ip, mask, a, sizeof(T) * n, true);
  if (mask == ~0u && contiguous(a, sizeof(T) * n)) {
    auto* to = reinterpret_cast<T*>(a.at[0]);
    for (int e = 0; e < n; ++e) {
      const auto* s = row<T>(w, rows[e]);
      LANES to[i * n + e] = T(s[i]);
    }
  } else {
    for (u32 m = mask; m; m &= m - 1) {
      u32 lane = u32(__builtin_ctz(m));
      for (int e = 0; e < n; ++e) write<T>(a.at[lane] + u64(e) * sizeof(T), T(row<T>(w, rows[e])[lane]));
    }
  }
  return ip + 2;
}

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

template <Space space, class T, Atomic op>
const Insn* atomic(Warp* w, const Insn* ip) {
  using W = typename Word<sizeof(T)>::type;
  u32 flags = ip->d, mask = w->active & (predicate(w, ip->c) ^ ip->aux);
  if (!mask) return ip + 2;
  const Insn* more = ip + 1;
  Addresses a;
  addresses(w, ip, flags, ip->a, ip->imm, a);
  resolve<space>(w, ip, mask, a, sizeof(T), true);
  LaneOf<T> old_values[32];
  for (u32 m = mask; m; m &= m - 1) {
    u32 lane = u32(__builtin_ctz(m));
    W* at = reinterpret_cast<W*>(a.at[lane]);
    T x = from_lane<T>(row<T>(w, more->a)[lane]);
    W old = __atomic_load_n(at, __ATOMIC_RELAXED), next;
    do {
      if constexpr (op == Atomic::cas)
        next = old == bits_as<W>(x) ? bits_as<W>(from_lane<T>(row<T>(w, more->b)[lane])) : old;
      else if constexpr (op == Atomic::add)
        next = bits_as<W>(sum(bits_as<T>(old), x));
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
  return ip + 2;
}

// --- cp.async --------------------------------------------------------------------------------------------------------
// Main slot: a = shared address, imm = its offset, d = flags. Next slot: d = flags of the source's address, a = source,
// b = its offset, c = bytes of a lane, imm = row of the number of bytes to read (0: all), aux = predicate to ignore the
// source (0: none).

template <bool generic_source>
const Insn* copy_async(Warp* w, const Insn* ip) {
  u32 mask = w->active & (predicate(w, ip->c) ^ ip->aux);
  if (!mask) return ip + 2;
  const Insn* more = ip + 1;
  u32 bytes = more->c;
  Addresses to, from;
  addresses(w, ip, ip->d, ip->a, ip->imm, to);
  if (ip->d & generic_address)
    LANES to.at[i] = to.at[i] - shared_window < window_bytes ? to.at[i] - shared_window : to.at[i];
  u64 shared = reinterpret_cast<u64>(w->shared);
  resolve<Space::shared>(w, ip, mask, to, bytes, true);
  u8 valid[32];
  u32 reads = mask;
  u32 ignored = more->aux ? predicate(w, more->aux) : 0;
  for (u32 i = 0; i < 32; ++i) {
    u32 n = more->imm ? row<u32>(w, more->imm)[i] : bytes;
    if (ignored >> i & 1) n = 0;
    if (mask >> i & 1 && n > bytes)
      fail(w, ip, "cp.async reads more bytes than it writes: the source size must not exceed the copy size");
    valid[i] = u8(n);
    if (n == 0) reads &= ~(1u << i);
  }
  addresses(w, ip, more->d, more->a, more->b, from);
  // Bytes that are not read need not exist; then each lane is looked up for what it reads.
  bool whole = true;
  for (u32 m = reads; m; m &= m - 1) whole = whole && valid[__builtin_ctz(m)] == bytes;
  if (whole) {
    if (reads) resolve<Space::global>(w, ip, reads, from, bytes, false);
  } else {
    for (u32 m = reads; m; m &= m - 1) {
      u32 lane = u32(__builtin_ctz(m));
      if (from.at[lane] & (bytes - 1))
        fault(w, ip, Fault::misaligned, Space::global, lane, from.at[lane], bytes, false);
      if (!find_allocation(w, from.at[lane], valid[lane]))
        fault(w, ip, Fault::out_of_bounds, Space::global, lane, from.at[lane], valid[lane], false);
      from.at[lane] += reinterpret_cast<u64>(w->arena);
    }
  }
  AsyncCopy& copy = new_copy(w);
  copy.mask = mask;
  copy.group = 0;
  copy.bytes = bytes;
  for (int i = 0; i < 32; ++i) {
    copy.valid[i] = valid[i];
    copy.to[i] = u32(to.at[i] - shared);
    copy.from[i] = reinterpret_cast<const u8*>(from.at[i]);
  }
  return ip + 2;
}

// --- choosing --------------------------------------------------------------------------------------------------------

template <Space space, class T>
Fn access(const Request& r, u32 n, bool is_store) {
  if (r.scalar)
    return n == 1   ? load_scalar<space, T, 1>
           : n == 2 ? load_scalar<space, T, 2>
           : n == 4 ? load_scalar<space, T, 4>
                    : nullptr;
  switch (n) {
  case 1: return is_store ? store<space, T, 1> : load<space, T, 1>;
  case 2: return is_store ? store<space, T, 2> : load<space, T, 2>;
  case 4:
    if constexpr (sizeof(T) <= 8) return is_store ? store<space, T, 4> : load<space, T, 4>;
    return nullptr;
  case 8:
    if constexpr (sizeof(T) == 4) return is_store ? store<space, T, 8> : load<space, T, 8>;
    return nullptr;
  default: return nullptr;
  }
}
template <Space space>
Fn access(const Request& r, bool is_store) {
  u32 n = has(r, Mod::v2) ? 2 : has(r, Mod::v4) ? 4 : has(r, Mod::v8) ? 8 : 1;
  switch (r.types[0]) {
  case Type::b8:
  case Type::u8:
  case Type::s8: return access<space, u8>(r, n, is_store);
  case Type::b16:
  case Type::u16:
  case Type::s16: return access<space, u16>(r, n, is_store);
  case Type::b32:
  case Type::u32:
  case Type::s32:
  case Type::f32: return access<space, u32>(r, n, is_store);
  case Type::b64:
  case Type::u64:
  case Type::s64:
  case Type::f64: return access<space, u64>(r, n, is_store);
  default: return nullptr;
  }
}
Fn access(const Request& r, Space space, bool is_store) {
  switch (space) {
  case Space::shared: return access<Space::shared>(r, is_store);
  case Space::global: return access<Space::global>(r, is_store);
  case Space::local: return access<Space::local>(r, is_store);
  case Space::param: return is_store ? nullptr : access<Space::param>(r, is_store);
  default: return access<Space::generic>(r, is_store);
  }
}

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
  case Type::f16: return add ? atomic<space, f16, Atomic::add> : nullptr;
  case Type::bf16: return add ? atomic<space, bf16, Atomic::add> : nullptr;
  case Type::f16x2: return add ? atomic<space, half2, Atomic::add> : nullptr;
  case Type::bf16x2: return add ? atomic<space, bhalf2, Atomic::add> : nullptr;
  default: return nullptr;
  }
}

} // namespace

Fn ISA(select_memory)(const Request& r) {
  switch (r.form) {
  case Form::ld:
  case Form::ld_nc: return access(r, r.space, false);
  case Form::st: return access(r, r.space, true);
  case Form::atom:
  case Form::atom_cas:
  case Form::red:
    return r.space == Space::shared   ? atomic_of<Space::shared>(r)
           : r.space == Space::global ? atomic_of<Space::global>(r)
                                      : atomic_of<Space::generic>(r);
  case Form::cp_async:
  case Form::cp_async_ignore: return copy_async<false>;
  default: return nullptr;
  }
}

} // namespace tilejit::runtime::simulator
