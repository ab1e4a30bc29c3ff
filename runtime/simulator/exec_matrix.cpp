// exec_matrix.cpp - matrices between lanes and shared memory: ldmatrix, stmatrix, movmatrix. PTX ISA 9.7.14.
//
// The register operands of an instruction, in the order of the text, lie as offsets in the slots that follow it. Main
// slot of ldmatrix and stmatrix: as of loads and stores (exec_memory.cpp).
#include "runtime/simulator/control.h"
#include "runtime/simulator/core_matrix.h"
#include "runtime/simulator/handlers.h"
#include "runtime/simulator/lanes.h"
#include "runtime/simulator/memory_flags.h"

namespace tilejit::runtime::simulator {
namespace {

inline const u32* offsets_of(const Insn* ip) { return reinterpret_cast<const u32*>(ip + 1); }
inline u32* lanes_at(Warp* w, u32 offset) { return reinterpret_cast<u32*>(w->file + offset); }

// --- ldmatrix, stmatrix, movmatrix -----------------------------------------------------------------------------------
// Eight rows of eight 16-bit elements. In a register lane l holds elements 2(l % 4) and 2(l % 4) + 1 of row l / 4, so a
// register is the eight rows of 16 bytes one after the other.

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
  CoreMatrix m;
  for (u32 r = 0; r < 8; ++r) m.row[r] = row(r);
  if (transpose) m = transposed(m);
  for (u32 r = 0; r < 8; ++r) _mm_store_si128(reinterpret_cast<__m128i*>(d + 4 * r), m.row[r]);
#endif
}

inline __m128i load_row(const u32* from, u32 r) {
  return _mm_load_si128(reinterpret_cast<const __m128i*>(from + 4 * r));
}

/// Whether no lane executes the instruction, or some are still elsewhere; `next`: where the warp goes on then.
inline bool leaves(Warp* w, const Insn* ip, const Insn*& next) {
  next = ip + 2;
  if (!(w->active & (predicate(w, ip->c) ^ ip->aux))) return true;
  if (__builtin_expect(w->active == w->live, true)) return false;
  next = wait_for_lanes(w, ip, w->live);
  return true;
}

const Insn* movmatrix(Warp* w, const Insn* ip) {
  const Insn* next;
  if (leaves(w, ip, next)) return next;
  const u32* s = lanes_at(w, offsets_of(ip)[1]);
  put_matrix<true>(lanes_at(w, offsets_of(ip)[0]), [&](u32 r) { return load_row(s, r); });
  return next;
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
  const Insn* next;
  if (leaves(w, ip, next)) return next;
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
  return next;
}

template <u32 matrices, bool transpose>
const Insn* stmatrix(Warp* w, const Insn* ip) {
  const Insn* next;
  if (leaves(w, ip, next)) return next;
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
  return next;
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
  default: return nullptr;
  }
}

} // namespace tilejit::runtime::simulator
