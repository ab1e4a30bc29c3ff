// exec_matrix.cpp - matrices: ldmatrix, stmatrix, movmatrix, mma.sync. PTX ISA 9.7.14.
//
// The register operands of an instruction, in the order of the text, lie as offsets in the slots that follow it. Main
// slot of ldmatrix and stmatrix: as of loads and stores (exec_memory.cpp).
#include "runtime/simulator/control.h"
#include "runtime/simulator/handlers.h"
#include "runtime/simulator/lanes.h"
#include "runtime/simulator/memory_flags.h"
#include "runtime/simulator/mma_tile.h"

namespace tilejit::runtime::simulator {
namespace {

inline const u32* offsets_of(const Insn* ip) { return reinterpret_cast<const u32*>(ip + 1); }
inline u32* lanes_at(Warp* w, u32 offset) { return reinterpret_cast<u32*>(w->file + offset); }

// --- mma.sync --------------------------------------------------------------------------------------------------------

template <u32 groups, u32 accumulators>
inline MmaRows find_rows(Warp* w, const Insn* ip) {
  MmaRows rows;
  const u32* at = offsets_of(ip);
  for (u32 i = 0; i < accumulators; ++i) rows.d[i] = lanes_at(w, *at++);
  for (u32 i = 0; i < 2 * groups; ++i) rows.a[i] = lanes_at(w, *at++);
  for (u32 i = 0; i < groups; ++i) rows.b[i] = lanes_at(w, *at++);
  for (u32 i = 0; i < accumulators; ++i) rows.c[i] = lanes_at(w, *at++);
  return rows;
}

template <Element element, u32 groups, bool half>
const Insn* mma_sync(Warp* w, const Insn* ip) {
  mma<element, groups, half>(find_rows<groups, half ? 2 : 4>(w, ip));
  return ip + 3;
}

#if defined(__AVX512F__)
template <u32 groups>
[[gnu::target("avx512bf16")]] const Insn* mma_sync_unit(Warp* w, const Insn* ip) {
  mma_bf16_unit<groups>(find_rows<groups, 4>(w, ip));
  return ip + 3;
}
inline bool has_unit() { return __builtin_cpu_supports("avx512bf16"); }
#endif

template <Element element, bool half>
Fn choose_mma(u32 groups) {
#if defined(__AVX512F__)
  if (element == Element::bf16 && has_unit()) return groups == 2 ? mma_sync_unit<2> : mma_sync_unit<1>;
#endif
  return groups == 2 ? mma_sync<element, 2, half> : mma_sync<element, 1, half>;
}

// --- ldmatrix, stmatrix, movmatrix -----------------------------------------------------------------------------------
// Eight rows of eight 16-bit elements. In a register lane l holds elements 2(l % 4) and 2(l % 4) + 1 of row l / 4, so a
// register is the eight rows of 16 bytes one after the other.

#if !defined(__AVX512F__)
struct Matrix {
  __m128i row[8];
};

inline Matrix transposed(const Matrix& m) {
  __m128i a[8], b[8];
  for (int i = 0; i < 4; ++i) {
    a[2 * i] = _mm_unpacklo_epi16(m.row[2 * i], m.row[2 * i + 1]);
    a[2 * i + 1] = _mm_unpackhi_epi16(m.row[2 * i], m.row[2 * i + 1]);
  }
  // a: rows 01 columns 0-3, 01 4-7, 23 0-3, 23 4-7, ...
  for (int i = 0; i < 2; ++i)
    for (int high = 0; high < 2; ++high) {
      b[4 * i + 2 * high] = _mm_unpacklo_epi32(a[4 * i + high], a[4 * i + 2 + high]);
      b[4 * i + 2 * high + 1] = _mm_unpackhi_epi32(a[4 * i + high], a[4 * i + 2 + high]);
    }
  // b: rows 0-3 columns 01, 23, 45, 67, then rows 4-7
  Matrix t;
  for (int i = 0; i < 4; ++i) {
    t.row[2 * i] = _mm_unpacklo_epi64(b[i], b[i + 4]);
    t.row[2 * i + 1] = _mm_unpackhi_epi64(b[i], b[i + 4]);
  }
  return t;
}
#endif

/// Eight rows become the two halves of a register, straight or transposed.
template <bool transpose, class Row>
inline void put_matrix(u32* d, Row row) {
#if defined(__AVX512F__)
  auto half = [&](u32 r) {
    __m512i x = _mm512_castsi128_si512(row(r));
    x = _mm512_inserti32x4(x, row(r + 1), 1);
    x = _mm512_inserti32x4(x, row(r + 2), 2);
    return _mm512_inserti32x4(x, row(r + 3), 3);
  };
  __m512i low = half(0), high = half(4);
  if constexpr (transpose) { // element 8i + j is 8j + i of the two halves
    const __m512i columns = _mm512_set_epi16(59, 51, 43, 35, 27, 19, 11, 3, 58, 50, 42, 34, 26, 18, 10, 2, 57, 49, 41,
                                             33, 25, 17, 9, 1, 56, 48, 40, 32, 24, 16, 8, 0);
    const __m512i t = _mm512_permutex2var_epi16(low, columns, high);
    high = _mm512_permutex2var_epi16(low, _mm512_add_epi16(columns, _mm512_set1_epi16(4)), high);
    low = t;
  }
  _mm512_store_si512(d, low);
  _mm512_store_si512(d + 16, high);
#else
  Matrix m;
  for (u32 r = 0; r < 8; ++r) m.row[r] = row(r);
  if (transpose) m = transposed(m);
  for (u32 r = 0; r < 8; ++r) _mm_store_si128(reinterpret_cast<__m128i*>(d + 4 * r), m.row[r]);
#endif
}

inline __m128i load_row(const u32* from, u32 r) {
  return _mm_load_si128(reinterpret_cast<const __m128i*>(from + 4 * r));
}

const Insn* movmatrix(Warp* w, const Insn* ip) {
  const u32* s = lanes_at(w, offsets_of(ip)[1]);
  put_matrix<true>(lanes_at(w, offsets_of(ip)[0]), [&](u32 r) { return load_row(s, r); });
  return ip + 2;
}

/// Offsets in shared memory of the matrix rows that the first `count` lanes give the addresses of, all checked. False:
/// lanes are missing among them, whose rows are not touched.
template <u32 count>
inline bool find_matrix_rows(Warp* w, const Insn* ip, bool write, u64 (&at)[32], u32& mask) {
  const u32 flags = ip->d;
  const u64 add = static_cast<u64>(static_cast<s32>(ip->imm)) - (flags & generic_address ? shared_window : 0);
  if (flags & address_row64) {
    const u64* a = row<u64>(w, ip->a);
    for (u32 i = 0; i < count; ++i) at[i] = a[i] + add;
  } else if (flags & address_row32) {
    const u32* a = row<u32>(w, ip->a);
    for (u32 i = 0; i < count; ++i) at[i] = a[i] + ip->imm;
  } else {
    for (u32 i = 0; i < count; ++i) at[i] = scalar<u64>(w, ip->a) + add;
  }
  // An offset is right where it is a multiple of 16 below the last one; turned by 4 bits, anything else is a large
  // number.
  const u64 rows = w->shared_bytes / 16;
  u64 wrong = 0;
  for (u32 i = 0; i < count; ++i) wrong |= (at[i] >> 4 | at[i] << 60) >= rows;
  mask = w->active & (predicate(w, ip->c) ^ ip->aux);
  constexpr u32 needed = count == 32 ? ~0u : (1u << count % 32) - 1;
  if (__builtin_expect(!wrong && (mask & needed) == needed, true)) return true;
  for (u32 m = mask & needed; m; m &= m - 1) {
    const u32 lane = static_cast<u32>(__builtin_ctz(m));
    if (at[lane] % 16 != 0) fault(w, ip, Fault::misaligned, Space::shared, lane, at[lane], 16, write);
    if (at[lane] >= w->shared_bytes || w->shared_bytes - at[lane] < 16)
      fault(w, ip, Fault::out_of_bounds, Space::shared, lane, at[lane], 16, write);
  }
  return (mask & needed) == needed;
}

template <u32 matrices, bool transpose>
const Insn* ldmatrix(Warp* w, const Insn* ip) {
  alignas(64) u64 at[32];
  u32 mask;
  const bool all = find_matrix_rows<8 * matrices>(w, ip, false, at, mask);
  const u8* shared = w->shared;
  for (u32 k = 0; k < matrices; ++k) {
    u32* d = lanes_at(w, offsets_of(ip)[k]);
    auto load = [&](u32 r) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(shared + at[8 * k + r])); };
    if (__builtin_expect(all, true))
      put_matrix<transpose>(d, load);
    else
      put_matrix<transpose>(d, [&](u32 r) { return mask >> (8 * k + r) & 1 ? load(r) : _mm_set1_epi8(-1); });
  }
  return ip + 2;
}

template <u32 matrices, bool transpose>
const Insn* stmatrix(Warp* w, const Insn* ip) {
  alignas(64) u64 at[32];
  u32 mask;
  const bool all = find_matrix_rows<8 * matrices>(w, ip, true, at, mask);
  for (u32 k = 0; k < matrices; ++k) {
    alignas(64) u32 rows[32];
    const u32* s = lanes_at(w, offsets_of(ip)[k]);
    if constexpr (transpose) {
      put_matrix<true>(rows, [&](u32 r) { return load_row(s, r); });
      s = rows;
    }
    for (u32 r = 0; r < 8; ++r)
      if (all || mask >> (8 * k + r) & 1)
        _mm_storeu_si128(reinterpret_cast<__m128i*>(w->shared + at[8 * k + r]), load_row(s, r));
  }
  return ip + 2;
}

template <bool load, u32 matrices>
Fn choose_move(bool transpose) {
  if constexpr (load)
    return transpose ? ldmatrix<matrices, true> : ldmatrix<matrices, false>;
  else
    return transpose ? stmatrix<matrices, true> : stmatrix<matrices, false>;
}
template <bool load>
Fn choose_move(const Request& r) {
  const bool transpose = has(r, Mod::trans);
  if (has(r, Mod::x4)) return choose_move<load, 4>(transpose);
  if (has(r, Mod::x2)) return choose_move<load, 2>(transpose);
  return choose_move<load, 1>(transpose);
}

} // namespace

Fn ISA(select_matrix)(const Request& r) {
  switch (r.form) {
  case Form::ldmatrix: return choose_move<true>(r);
  case Form::stmatrix: return choose_move<false>(r);
  case Form::movmatrix: return movmatrix;
  case Form::mma_bf16: return choose_mma<Element::bf16, false>(r.shape.k / 8);
  case Form::mma_tf32: return choose_mma<Element::tf32, false>(r.shape.k / 4);
  case Form::mma_f16:
    if (r.types[0] != r.types[3]) return nullptr;
    return r.types[0] == Type::f16 ? choose_mma<Element::f16, true>(r.shape.k / 8)
                                   : choose_mma<Element::f16, false>(r.shape.k / 8);
  default: return nullptr;
  }
}

} // namespace tilejit::runtime::simulator
