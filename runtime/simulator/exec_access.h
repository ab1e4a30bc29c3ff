// exec_access.h - the lanes of an access to memory: where their bytes lie, checked, and how they move.
//
// Included only by exec_memory.cpp and exec_observe.cpp. Every address of a lane that executes is checked against the
// memory it must lie in; the error names it. An access of all lanes that lies as a whole in one piece of memory is
// found to do so by vector comparisons, and then moves without a look at single lanes; every other one goes lane by
// lane.
#pragma once
#include "runtime/simulator/control.h"
#include "runtime/simulator/handlers.h"
#include "runtime/simulator/lanes.h"
#include "runtime/simulator/memory_flags.h"

namespace tilejit::runtime::simulator {
namespace {

// --- addresses -------------------------------------------------------------------------------------------------------

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

/// One lane's address on the host. Looks at everything: windows of generic addresses, other allocations than the last.
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
      if (u8* remote = remote_shared(w, ip, at, bytes)) return reinterpret_cast<u64>(remote);
    if ((space != Space::global && space != Space::generic) || !find_allocation(w, at, bytes))
      fault(w, ip, Fault::out_of_bounds, space, lane, at, bytes, write);
  }
  return e.host + at + lane * e.stride;
}
/// Host addresses of the lanes of `mask`, one by one.
template <Space space>
[[gnu::noinline]] void locate_lanes(Warp* w, const Insn* ip, u32 flags, u32 base, u32 offset, u64 bytes, u32 mask,
                                    bool write, Addresses& a) {
  addresses(w, flags, base, offset, a);
  for (u32 m = mask; m; m &= m - 1) {
    const u32 lane = u32(__builtin_ctz(m));
    a.at[lane] = locate_lane<space>(w, ip, lane, a.at[lane], bytes, write);
  }
}

// --- all lanes together ----------------------------------------------------------------------------------------------

/// Whether lane i's number is lane 0's plus i * step.
template <u32 step>
inline bool ascends(const u32* a) {
#if defined(__AVX512F__)
  const __m512i steps = _mm512_mullo_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                                           _mm512_set1_epi32(step));
  const __m512i low = _mm512_add_epi32(_mm512_set1_epi32(s32(a[0])), steps);
  return (_mm512_cmpneq_epi32_mask(low, _mm512_load_si512(a)) |
          _mm512_cmpneq_epi32_mask(_mm512_add_epi32(low, _mm512_set1_epi32(16 * step)), _mm512_load_si512(a + 16))) ==
         0;
#else
  u32 jump = 0;
  const u32 first = a[0];
  for (u32 i = 0; i < 32; ++i) jump |= a[i] ^ (first + i * step);
  return jump == 0;
#endif
}
template <u64 step>
inline bool ascends(const u64* a) {
#if defined(__AVX512F__)
  const __m512i steps =
      _mm512_mullo_epi64(_mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7), _mm512_set1_epi64(step)); // a constant
  const __m512i low = _mm512_add_epi64(_mm512_set1_epi64(s64(a[0])), steps);
  u32 jump = 0;
  for (u32 i = 0; i < 4; ++i)
    jump |= _mm512_cmpneq_epi64_mask(_mm512_add_epi64(low, _mm512_set1_epi64(s64(8 * i * step))),
                                     _mm512_load_si512(a + 8 * i));
  return jump == 0;
#else
  u64 jump = 0;
  const u64 first = a[0];
  for (u64 i = 0; i < 32; ++i) jump |= a[i] ^ (first + i * step);
  return jump == 0;
#endif
}
/// at[i] = a[i] + add; true: all are multiples of `align` not beyond `last`. Turned so that the bits that must be 0 are
/// the highest, what is not a multiple is a large number; and by the signs of it and of its distance to the end that is
/// one reduction.
template <u32 align, class A>
inline bool within(const A* a, A add, u32 last, u32* at) {
  using Signed = typename Choose<sizeof(A) == 8, s64, s32>::type;
  constexpr u32 shift = u32(__builtin_ctz(align));
  const A end = last >> shift;
  A wrong = 0;
  for (int i = 0; i < 32; ++i) {
    const A x = a[i] + add;
    const A turned = shift ? A(x >> shift | x << ((8 * sizeof(A) - shift) % (8 * sizeof(A)))) : x;
    wrong |= turned | (end - turned);
  }
  LANES at[i] = u32(a[i] + add);
  return Signed(wrong) >= 0;
}

/// False: some lane is out of bounds, misaligned, or in other memory than most; nothing has happened.
template <Space space, u64 bytes>
inline bool together(Warp* w, u32 flags, u32 base, u32 offset, Together& t) {
  const Extent e = extent<space>(w, bytes);
  const s64 span = s64(e.last - e.first);
  if (span < 0 || span > 0x7fffffff || (e.first & (bytes - 1))) return false;
  constexpr bool from_zero = space == Space::shared || space == Space::local || space == Space::param;
  if (flags & address_row64) {
    const u64* a = row<u64>(w, base);
    const u64 add = u64(s64(s32(offset))) - e.first, first = a[0] + add;
    if (space != Space::local && ascends<bytes>(a)) {
      if ((first & (bytes - 1)) || first > u64(span) || u64(span) - first < 31 * bytes) return false;
      t.base = reinterpret_cast<u8*>(e.host + e.first + first);
      return t.contiguous = true;
    }
    if (!within<bytes>(a, add, u32(span), t.at)) return false;
  } else if (from_zero && flags & address_row32) {
    const u32* a = row<u32>(w, base);
    const u32 first = a[0] + offset;
    if (space != Space::local && ascends<bytes>(a)) {
      if ((first & (bytes - 1)) || first > u32(span) || u32(span) - first < 31 * bytes) return false;
      t.base = reinterpret_cast<u8*>(e.host + first);
      return t.contiguous = true;
    }
    if (!within<bytes>(a, offset, u32(span), t.at)) return false;
  } else
    return false;
  if constexpr (space == Space::local) LANES t.at[i] += u32(i) * u32(e.stride);
  t.base = reinterpret_cast<u8*>(e.host + e.first);
  t.contiguous = false;
  return true;
}
template <Space space, u64 bytes>
[[gnu::noinline]] bool locate(Warp* w, u32 flags, u32 base, u32 offset, Together& t) {
  return together<space, bytes>(w, flags, base, offset, t);
}

// --- moving ----------------------------------------------------------------------------------------------------------

template <class T>
inline T read(const u8* at) {
  T x;
  __builtin_memcpy(&x, at, sizeof(T));
  return x;
}
template <class T>
inline void write(u8* at, T x) {
  __builtin_memcpy(at, &x, sizeof(T));
}

/// As many threads' 16 bytes as make four vectors, thread 4q + j in quarter q of vector j: transposed within the
/// quarters they are four rows.
inline __m128 load16(const u8* at) { return _mm_loadu_ps(reinterpret_cast<const float*>(at)); }
inline void store16(u8* at, __m128 x) { _mm_storeu_ps(reinterpret_cast<float*>(at), x); }
#if defined(__AVX512F__)
using Quads = __m512;
inline Quads load_quads(const u8* const (&at)[4]) {
  Quads x = _mm512_castps128_ps512(load16(at[0]));
  x = _mm512_insertf32x4(x, load16(at[1]), 1);
  x = _mm512_insertf32x4(x, load16(at[2]), 2);
  return _mm512_insertf32x4(x, load16(at[3]), 3);
}
template <u32 q>
inline __m128 quarter(Quads x) {
  return _mm512_extractf32x4_ps(x, q);
}
#define QUADS(operation) _mm512_##operation
#define QUADS_DOUBLE(operation, a, b)                                                                                  \
  _mm512_castpd_ps(_mm512_##operation##_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)))
#elif defined(__AVX2__)
using Quads = __m256;
inline Quads load_quads(const u8* const (&at)[2]) {
  return _mm256_insertf128_ps(_mm256_castps128_ps256(load16(at[0])), load16(at[1]), 1);
}
template <u32 q>
inline __m128 quarter(Quads x) {
  return _mm256_extractf128_ps(x, q);
}
#define QUADS(operation) _mm256_##operation
#define QUADS_DOUBLE(operation, a, b)                                                                                  \
  _mm256_castpd_ps(_mm256_##operation##_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)))
#else
using Quads = __m128;
inline Quads load_quads(const u8* const (&at)[1]) { return load16(at[0]); }
template <u32 q>
inline __m128 quarter(Quads x) {
  return x;
}
#define QUADS(operation) _mm_##operation
#define QUADS_DOUBLE(operation, a, b) _mm_castpd_ps(_mm_##operation##_pd(_mm_castps_pd(a), _mm_castps_pd(b)))
#endif
constexpr u32 quarters = sizeof(Quads) / 16;
inline void transpose_quads(Quads (&x)[4]) {
  const Quads a = QUADS(unpacklo_ps)(x[0], x[1]), b = QUADS(unpackhi_ps)(x[0], x[1]),
              c = QUADS(unpacklo_ps)(x[2], x[3]), d = QUADS(unpackhi_ps)(x[2], x[3]);
  x[0] = QUADS_DOUBLE(unpacklo, a, c), x[1] = QUADS_DOUBLE(unpackhi, a, c);
  x[2] = QUADS_DOUBLE(unpacklo, b, d), x[3] = QUADS_DOUBLE(unpackhi, b, d);
}
inline Quads load_row(Warp* w, u32 offset, u32 lane) {
  return QUADS(load_ps)(reinterpret_cast<const float*>(row<u32>(w, offset) + lane));
}
inline void store_row(Warp* w, u32 offset, u32 lane, Quads x) {
  QUADS(store_ps)(reinterpret_cast<float*>(row<u32>(w, offset) + lane), x);
}
#undef QUADS_DOUBLE
#undef QUADS
template <u32 q, class Place>
inline void store_quarter(const Quads (&x)[4], u32 lane, Place place) {
  if constexpr (q < quarters)
    for (u32 j = 0; j < 4; ++j) store16(place(lane + 4 * q + j), quarter<q>(x[j]));
}

inline float* four(Warp* w, u32 offset, u32 lane) { return reinterpret_cast<float*>(row<u32>(w, offset) + lane); }

/// From memory into the rows of the n elements of each lane; `place(i)` is where lane i's bytes begin. A row of the
/// result may be that of the addresses.
template <class T, int n, class Place>
inline void gather_all(Warp* w, const u32* rows, Place place) {
  if constexpr (sizeof(T) == 4 && n == 4) {
    for (u32 lane = 0; lane < 32; lane += 4 * quarters) {
      Quads x[4];
      for (u32 j = 0; j < 4; ++j) {
        const u8* at[quarters];
        for (u32 q = 0; q < quarters; ++q) at[q] = place(lane + 4 * q + j);
        x[j] = load_quads(at);
      }
      transpose_quads(x);
      for (u32 e = 0; e < 4; ++e) store_row(w, rows[e], lane, x[e]);
    }
  } else if constexpr (sizeof(T) == 4 && n == 2) {
    auto pair = [&](u32 i) {
      return _mm_castpd_ps(_mm_loadh_pd(_mm_load_sd(reinterpret_cast<const double*>(place(i))),
                                        reinterpret_cast<const double*>(place(i + 1))));
    };
    for (u32 lane = 0; lane < 32; lane += 4) {
      const __m128 x01 = pair(lane), x23 = pair(lane + 2);
      _mm_store_ps(four(w, rows[0], lane), _mm_shuffle_ps(x01, x23, 0x88));
      _mm_store_ps(four(w, rows[1], lane), _mm_shuffle_ps(x01, x23, 0xdd));
    }
  } else {
    LaneOf<T>* d[n];
    for (int e = 0; e < n; ++e) d[e] = row<T>(w, rows[e]);
#pragma GCC unroll 8
    for (u32 i = 0; i < 32; ++i) {
      const u8* at = place(i);
      LaneOf<T> x[n];
      for (int e = 0; e < n; ++e) x[e] = LaneOf<T>(read<T>(at + u64(e) * sizeof(T)));
      for (int e = 0; e < n; ++e) d[e][i] = x[e];
    }
  }
}
/// The other way. Later lanes win where two write the same bytes.
template <class T, int n, class Place>
inline void scatter_all(Warp* w, const u32* rows, Place place) {
  if constexpr (sizeof(T) == 4 && n == 4) {
    for (u32 lane = 0; lane < 32; lane += 4 * quarters) {
      Quads x[4];
      for (u32 e = 0; e < 4; ++e) x[e] = load_row(w, rows[e], lane);
      transpose_quads(x);
      store_quarter<0>(x, lane, place), store_quarter<1>(x, lane, place);
      store_quarter<2>(x, lane, place), store_quarter<3>(x, lane, place);
    }
  } else if constexpr (sizeof(T) == 4 && n == 2) {
    for (u32 lane = 0; lane < 32; lane += 4) {
      const __m128 x0 = _mm_load_ps(four(w, rows[0], lane)), x1 = _mm_load_ps(four(w, rows[1], lane));
      const __m128 low = _mm_unpacklo_ps(x0, x1), high = _mm_unpackhi_ps(x0, x1);
      _mm_storel_pi(reinterpret_cast<__m64*>(place(lane)), low);
      _mm_storeh_pi(reinterpret_cast<__m64*>(place(lane + 1)), low);
      _mm_storel_pi(reinterpret_cast<__m64*>(place(lane + 2)), high);
      _mm_storeh_pi(reinterpret_cast<__m64*>(place(lane + 3)), high);
    }
  } else {
    const LaneOf<T>* s[n];
    for (int e = 0; e < n; ++e) s[e] = row<T>(w, rows[e]);
#pragma GCC unroll 8
    for (u32 i = 0; i < 32; ++i) {
      u8* at = place(i);
      for (int e = 0; e < n; ++e) write<T>(at + u64(e) * sizeof(T), T(s[e][i]));
    }
  }
}

template <class T, int n>
[[gnu::noinline]] void gather(Warp* w, const u32* rows, const Together& t) {
  constexpr u32 bytes = sizeof(T) * n;
  const u8* base = t.base;
  if (t.contiguous) {
    if constexpr (n == 1) {
      LaneOf<T>* d = row<T>(w, rows[0]);
      LANES d[i] = LaneOf<T>(read<T>(base + u32(i) * bytes));
    } else
      gather_all<T, n>(w, rows, [=](u32 i) { return base + i * bytes; });
    return;
  }
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4 && n == 1) {
    u32* d = row<T>(w, rows[0]);
    for (u32 i = 0; i < 32; i += 16)
      _mm512_store_si512(d + i, _mm512_i32gather_epi32(_mm512_load_si512(t.at + i), base, 1));
    return;
  }
#endif
  gather_all<T, n>(w, rows, [&](u32 i) { return base + t.at[i]; });
}
template <class T, int n>
[[gnu::noinline]] void scatter(Warp* w, const u32* rows, const Together& t) {
  constexpr u32 bytes = sizeof(T) * n;
  u8* base = t.base;
  if (t.contiguous) {
    if constexpr (n == 1) {
      const LaneOf<T>* s = row<T>(w, rows[0]);
      LANES write<T>(base + u32(i) * bytes, T(s[i]));
    } else
      scatter_all<T, n>(w, rows, [=](u32 i) { return base + i * bytes; });
    return;
  }
  scatter_all<T, n>(w, rows, [&](u32 i) { return base + t.at[i]; });
}

/// Lane by lane, with host addresses.
template <class T, int n>
[[gnu::noinline]] void gather_lanes(Warp* w, const u32* rows, const Addresses& a, u32 mask) {
  for (u32 m = mask; m; m &= m - 1) {
    const u32 lane = u32(__builtin_ctz(m));
    const u8* at = reinterpret_cast<const u8*>(a.at[lane]);
    for (int e = 0; e < n; ++e) row<T>(w, rows[e])[lane] = LaneOf<T>(read<T>(at + u64(e) * sizeof(T)));
  }
}
template <class T, int n>
[[gnu::noinline]] void scatter_lanes(Warp* w, const u32* rows, const Addresses& a, u32 mask) {
  for (u32 m = mask; m; m &= m - 1) {
    const u32 lane = u32(__builtin_ctz(m));
    u8* at = reinterpret_cast<u8*>(a.at[lane]);
    for (int e = 0; e < n; ++e) write<T>(at + u64(e) * sizeof(T), T(row<T>(w, rows[e])[lane]));
  }
}

} // namespace
} // namespace tilejit::runtime::simulator
