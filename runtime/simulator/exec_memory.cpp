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
#include "runtime/simulator/memory.h"
#include "runtime/simulator/memory_flags.h"
#include "runtime/simulator/small_floats.h"

namespace tilejit::runtime::simulator {
namespace {

struct alignas(64) Addresses {
  u64 at[32];
};

inline void addresses(Warp* w, u32 flags, u32 base, u32 offset, Addresses& out) {
  const u64 add = u64(s64(s32(offset)));
  if (flags & address_row64) {
    const u64* a = row<u64>(w, base);
    LANES out.at[i] = a[i] + add;
  } else if (flags & address_row32) {
    const u32* a = row<u32>(w, base);
    LANES out.at[i] = a[i] + offset;
  } else {
    const u64 a = *reinterpret_cast<const u64*>(w->file + base) + add;
    LANES out.at[i] = a;
  }
}

/// Where the memory of a space lies: offsets first .. last are those at which `bytes` bytes may begin.
struct Extent {
  u64 first = 0, last = 0; ///< last < first, as signed numbers: nowhere
  u64 host = 0;            ///< address of offset 0
  u64 stride = 0;          ///< from a lane's own memory to the next one's
};
template <Space space>
inline Extent extent(Warp* w, u64 bytes) {
  if constexpr (space == Space::shared)
    return {0, w->shared_bytes - bytes, reinterpret_cast<u64>(w->shared)};
  else if constexpr (space == Space::local)
    return {0, w->local_bytes - bytes, reinterpret_cast<u64>(w->local), w->local_bytes};
  else if constexpr (space == Space::param)
    return {0, w->param_bytes - bytes, reinterpret_cast<u64>(w->params)};
  else {
    const u64 host = reinterpret_cast<u64>(w->arena);
    if (s64(w->allocation_end - w->allocation_begin) < s64(bytes)) return {0, ~u64(0), host}; // none yet, or too small
    return {w->allocation_begin, w->allocation_end - bytes, host};
  }
}
/// By the signs of the distances to both ends; right for every address where first <= last, or first is 0 and last
/// negative.
inline bool holds(const Extent& e, u64 at) { return s64((at - e.first) | (e.last - at)) >= 0; }

/// One lane's address, by the slow way: windows of generic addresses, other allocations than the last.
template <Space space>
u64 locate_lane(Warp* w, const Insn* ip, u32 lane, u64 at, u64 bytes, bool write) {
  if (at & (bytes - 1)) fault(w, ip, Fault::misaligned, space, lane, at, bytes, write);
  if constexpr (space == Space::generic) {
    if (at - shared_window < window_bytes)
      return locate_lane<Space::shared>(w, ip, lane, at - shared_window, bytes, write);
    if (at - local_window < window_bytes)
      return locate_lane<Space::local>(w, ip, lane, at - local_window, bytes, write);
    if (at - param_window < window_bytes)
      return locate_lane<Space::param>(w, ip, lane, at - param_window, bytes, write);
  }
  if (space == Space::param && write) fault(w, ip, Fault::out_of_bounds, space, lane, at, bytes, write);
  Extent e = extent<space>(w, bytes);
  if (!holds(e, at)) {
    if constexpr (space == Space::shared)
      if (u8* remote = remote_shared(w, at, bytes)) return reinterpret_cast<u64>(remote);
    if ((space != Space::global && space != Space::generic) || !find_allocation(w, at, bytes))
      fault(w, ip, Fault::out_of_bounds, space, lane, at, bytes, write);
  }
  return e.host + at + lane * e.stride;
}

/// Device addresses of the lanes of `mask`, checked and made into host ones. True: all lanes run, and each one's bytes
/// follow those of the lane before; then only the first address is set.
template <Space space, u64 bytes>
[[gnu::noinline]] bool locate(Warp* w, const Insn* ip, u32 flags, u32 base, u32 offset, u32 mask, bool write,
                              Addresses& a) {
  addresses(w, flags, base, offset, a);
  if (__builtin_expect(mask == ~0u, true)) {
    const Extent e = extent<space>(w, bytes);
    // Differences are negative where a bound is crossed; all lanes are looked at together, by their sign bits.
    u64 crossed = 0, low = 0, jump = 0;
    for (int i = 0; i < 32; ++i) crossed |= (a.at[i] - e.first) | (e.last - a.at[i]);
    for (int i = 0; i < 32; ++i) low |= a.at[i];
    for (int i = 0; i < 32; ++i) jump |= a.at[i] ^ (a.at[0] + u64(i) * bytes);
    if (__builtin_expect(s64(crossed) >= 0 && (low & (bytes - 1)) == 0 && !(space == Space::param && write), true)) {
      if (jump == 0 && space != Space::local) {
        a.at[0] += e.host;
        return true;
      }
      if constexpr (space == Space::local)
        LANES a.at[i] += e.host + u64(i) * e.stride;
      else
        LANES a.at[i] += e.host;
      return false;
    }
  }
  for (u32 m = mask; m; m &= m - 1) {
    const u32 lane = u32(__builtin_ctz(m));
    a.at[lane] = locate_lane<space>(w, ip, lane, a.at[lane], bytes, write);
  }
  return false;
}
/// The same for a number of bytes that is known only now.
template <Space space>
bool locate_bytes(Warp* w, const Insn* ip, u32 flags, u32 base, u32 offset, u64 bytes, u32 mask, bool write,
                  Addresses& a) {
  return bytes == 16  ? locate<space, 16>(w, ip, flags, base, offset, mask, write, a)
         : bytes == 8 ? locate<space, 8>(w, ip, flags, base, offset, mask, write, a)
                      : locate<space, 4>(w, ip, flags, base, offset, mask, write, a);
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
inline __m128 read16(u64 at) { return _mm_loadu_ps(reinterpret_cast<const float*>(at)); }
inline __m128 read8(u64 at) { return _mm_castpd_ps(_mm_load_sd(reinterpret_cast<const double*>(at))); }
inline void write16(u64 at, __m128 x) { _mm_storeu_ps(reinterpret_cast<float*>(at), x); }
inline float* four(Warp* w, u32 offset, int lane) { return reinterpret_cast<float*>(w->file + offset) + lane; }

/// From memory into the rows of the n elements of each lane. Vectors of 32-bit elements go four lanes at a time, as
/// transpositions.
template <class T, int n>
[[gnu::noinline]] void gather(Warp* w, const u32* rows, Addresses& a, u32 mask, bool contiguous) {
  using Lane = LaneOf<T>;
  if (mask != ~0u) {
    for (u32 m = mask; m; m &= m - 1) {
      u32 lane = u32(__builtin_ctz(m));
      for (int e = 0; e < n; ++e) row<T>(w, rows[e])[lane] = Lane(read<T>(a.at[lane] + u64(e) * sizeof(T)));
    }
    return;
  }
  if constexpr (n == 1) {
    Lane* d = row<T>(w, rows[0]);
    if (contiguous) {
      const auto* from = reinterpret_cast<const T*>(a.at[0]);
      LANES d[i] = Lane(from[i]);
    } else {
      for (int i = 0; i < 32; ++i) d[i] = Lane(read<T>(a.at[i]));
    }
    return;
  }
  if (contiguous) {
    const u64 first = a.at[0];
    LANES a.at[i] = first + u64(i) * (sizeof(T) * n);
  }
  if constexpr (sizeof(T) == 4 && n == 4) {
    for (int i = 0; i < 32; i += 4) {
      __m128 x0 = read16(a.at[i]), x1 = read16(a.at[i + 1]), x2 = read16(a.at[i + 2]), x3 = read16(a.at[i + 3]);
      _MM_TRANSPOSE4_PS(x0, x1, x2, x3);
      _mm_store_ps(four(w, rows[0], i), x0), _mm_store_ps(four(w, rows[1], i), x1);
      _mm_store_ps(four(w, rows[2], i), x2), _mm_store_ps(four(w, rows[3], i), x3);
    }
  } else if constexpr (sizeof(T) == 4 && n == 2) {
    for (int i = 0; i < 32; i += 4) {
      __m128 x01 = _mm_movelh_ps(read8(a.at[i]), read8(a.at[i + 1])),
             x23 = _mm_movelh_ps(read8(a.at[i + 2]), read8(a.at[i + 3]));
      _mm_store_ps(four(w, rows[0], i), _mm_shuffle_ps(x01, x23, 0x88));
      _mm_store_ps(four(w, rows[1], i), _mm_shuffle_ps(x01, x23, 0xdd));
    }
  } else {
    for (int e = 0; e < n; ++e) {
      Lane* d = row<T>(w, rows[e]);
      for (int i = 0; i < 32; ++i) d[i] = Lane(read<T>(a.at[i] + u64(e) * sizeof(T)));
    }
  }
}
/// The other way. Later lanes win where two write the same bytes.
template <class T, int n>
[[gnu::noinline]] void scatter(Warp* w, const u32* rows, Addresses& a, u32 mask, bool contiguous) {
  if (mask != ~0u) {
    for (u32 m = mask; m; m &= m - 1) {
      u32 lane = u32(__builtin_ctz(m));
      for (int e = 0; e < n; ++e) write<T>(a.at[lane] + u64(e) * sizeof(T), T(row<T>(w, rows[e])[lane]));
    }
    return;
  }
  if constexpr (n == 1) {
    const auto* s = row<T>(w, rows[0]);
    if (contiguous) {
      auto* to = reinterpret_cast<T*>(a.at[0]);
      LANES to[i] = T(s[i]);
    } else {
      for (int i = 0; i < 32; ++i) write<T>(a.at[i], T(s[i]));
    }
    return;
  }
  if (contiguous) {
    const u64 first = a.at[0];
    LANES a.at[i] = first + u64(i) * (sizeof(T) * n);
  }
  if constexpr (sizeof(T) == 4 && n == 4) {
    for (int i = 0; i < 32; i += 4) {
      __m128 x0 = _mm_load_ps(four(w, rows[0], i)), x1 = _mm_load_ps(four(w, rows[1], i));
      __m128 x2 = _mm_load_ps(four(w, rows[2], i)), x3 = _mm_load_ps(four(w, rows[3], i));
      _MM_TRANSPOSE4_PS(x0, x1, x2, x3);
      write16(a.at[i], x0), write16(a.at[i + 1], x1), write16(a.at[i + 2], x2), write16(a.at[i + 3], x3);
    }
  } else if constexpr (sizeof(T) == 4 && n == 2) {
    for (int i = 0; i < 32; i += 4) {
      __m128 x0 = _mm_load_ps(four(w, rows[0], i)), x1 = _mm_load_ps(four(w, rows[1], i));
      __m128 low = _mm_unpacklo_ps(x0, x1), high = _mm_unpackhi_ps(x0, x1);
      write<u64>(a.at[i], bits_as<u64>(_mm_cvtsd_f64(_mm_castps_pd(low))));
      _mm_storeh_pi(reinterpret_cast<__m64*>(a.at[i + 1]), low);
      write<u64>(a.at[i + 2], bits_as<u64>(_mm_cvtsd_f64(_mm_castps_pd(high))));
      _mm_storeh_pi(reinterpret_cast<__m64*>(a.at[i + 3]), high);
    }
  } else {
    for (int i = 0; i < 32; ++i)
      for (int e = 0; e < n; ++e) write<T>(a.at[i] + u64(e) * sizeof(T), T(row<T>(w, rows[e])[i]));
  }
}

template <Space space, class T, int n>
const Insn* load(Warp* w, const Insn* ip) {
  const u32 flags = ip->d, mask = w->active & (predicate(w, ip->c) ^ ip->aux);
  if (!mask) return ip + 2;
  const u32* rows = reinterpret_cast<const u32*>(ip + 1);
  Addresses a;
  const bool contiguous = locate<space, sizeof(T) * n>(w, ip, flags, ip->a, ip->imm, mask, false, a);
  gather<T, n>(w, rows, a, mask, contiguous);
  if (sizeof(T) < 4 && flags & sign_extend)
    for (int e = 0; e < n; ++e) {
      LaneOf<T>* d = row<T>(w, rows[e]);
      if (sizeof(T) == 1)
        LANES d[i] = mask >> i & 1 ? LaneOf<T>(s32(s8(d[i]))) : d[i];
      else
        LANES d[i] = mask >> i & 1 ? LaneOf<T>(s32(s16(d[i]))) : d[i];
    }
  return ip + 2;
}
/// All lanes load the same parameter, into scalars.
template <class T, int n>
[[maybe_unused]] const Insn* load_scalar(Warp* w, const Insn* ip) {
  const u32* slots = reinterpret_cast<const u32*>(ip + 1);
  const u64 address = *reinterpret_cast<const u64*>(w->file + ip->a) + u64(s64(s32(ip->imm)));
  const u64 at = locate_lane<Space::param>(w, ip, u32(__builtin_ctz(w->active)), address, sizeof(T) * n, false);
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
  Addresses a;
  const bool contiguous = locate<space, sizeof(T) * n>(w, ip, ip->d, ip->a, ip->imm, mask, true, a);
  scatter<T, n>(w, reinterpret_cast<const u32*>(ip + 1), a, mask, contiguous);
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
  if (is_nan(a)) return b;
  if (is_nan(b)) return a;
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
  if (locate<space, sizeof(T)>(w, ip, ip->d, ip->a, ip->imm, mask, true, a)) {
    const u64 first = a.at[0];
    LANES a.at[i] = first + u64(i) * sizeof(T);
  }
  apply<T, op>(w, ip + 1, a, mask);
  return ip + 2;
}
#endif

// --- cp.async --------------------------------------------------------------------------------------------------------
// Main slot: a = shared address, imm = its offset, d = flags. Next slot: d = flags of the source's address, a = source,
// b = its offset, c = bytes of a lane, imm = row of the number of bytes to read (0: all), aux = predicate to ignore the
// source (0: none).

const Insn* copy_async(Warp* w, const Insn* ip) {
  const u32 mask = w->active & (predicate(w, ip->c) ^ ip->aux);
  if (!mask) return ip + 2;
  const Insn* more = ip + 1;
  const u32 bytes = more->c;
  Addresses to, from;
  const u64 shared = reinterpret_cast<u64>(w->shared);
  if (locate_bytes<Space::shared>(w, ip, ip->d, ip->a, ip->imm, bytes, mask, true, to)) {
    const u64 first = to.at[0];
    LANES to.at[i] = first + u64(i) * bytes;
  }
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
  } else if (reads && locate_bytes<Space::global>(w, ip, more->d, more->a, more->b, bytes, reads, false, from)) {
    const u64 first = from.at[0];
    LANES from.at[i] = first + u64(i) * bytes;
  }
  AsyncCopy& copy = new_copy(w);
  copy.mask = mask;
  copy.group = 0;
  copy.bytes = bytes;
  LANES copy.valid[i] = u8(valid[i]);
  LANES copy.to[i] = u32(to.at[i] - shared);
  __builtin_memcpy(copy.from, from.at, sizeof copy.from);
  return ip + 2;
}

// --- choosing --------------------------------------------------------------------------------------------------------

template <Space space, class T, int n>
Fn either(bool is_store) {
  return is_store ? store<space, T, n> : load<space, T, n>;
}
/// What compilers emit in loops; the rest at the lowest level only.
template <Space space, class T>
Fn access(u32 n, bool is_store) {
  constexpr bool often = space == Space::shared || space == Space::global || space == Space::generic;
  if (n == 1 && often) return either<space, T, 1>(is_store);
  if constexpr (sizeof(T) >= 4 && often) {
    if (n == 2) return either<space, T, 2>(is_store);
    if constexpr (sizeof(T) == 4)
      if (n == 4) return either<space, T, 4>(is_store);
  }
#if TILEJIT_EVERYTHING
  if (n == 1) return either<space, T, 1>(is_store);
  if (n == 2) return either<space, T, 2>(is_store);
  if (n == 4) return either<space, T, 4>(is_store);
  if constexpr (sizeof(T) == 4)
    if (n == 8) return either<space, T, 8>(is_store);
#endif
  return nullptr;
}
template <class T>
Fn scalars(u32 n) {
  RARE((n == 1 ? load_scalar<T, 1> : n == 2 ? load_scalar<T, 2> : n == 4 ? load_scalar<T, 4> : nullptr));
}
template <class T>
Fn access(const Request& r, bool is_store) {
  const u32 n = has(r, Mod::v2) ? 2 : has(r, Mod::v4) ? 4 : has(r, Mod::v8) ? 8 : 1;
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
  switch (r.types[0]) {
  case Type::b8:
  case Type::u8:
  case Type::s8: return access<u8>(r, is_store);
  case Type::b16:
  case Type::u16:
  case Type::s16: return access<u16>(r, is_store);
  case Type::b32:
  case Type::u32:
  case Type::s32:
  case Type::f32: return access<u32>(r, is_store);
  case Type::b64:
  case Type::u64:
  case Type::s64:
  case Type::f64: return access<u64>(r, is_store);
  default: return nullptr;
  }
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
