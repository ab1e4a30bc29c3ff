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

const Insn* movmatrix(Warp* w, const Insn* ip) {
  CoreMatrix m;
  std::memcpy(&m, lanes_at(w, offsets_of(ip)[1]), 128);
  m = transposed(m);
  std::memcpy(lanes_at(w, offsets_of(ip)[0]), &m, 128);
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
  for (u32 k = 0; k < matrices; ++k) {
    CoreMatrix m;
    for (u32 r = 0; r < 8; ++r) {
      const u8* from = w->shared + at[8 * k + r];
      m.row[r] =
          all || mask >> (8 * k + r) & 1 ? _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)) : _mm_set1_epi8(-1);
    }
    if (transpose) m = transposed(m);
    std::memcpy(lanes_at(w, offsets_of(ip)[k]), &m, 128);
  }
  return ip + 2;
}

template <u32 matrices, bool transpose>
const Insn* stmatrix(Warp* w, const Insn* ip) {
  alignas(64) u64 at[32];
  u32 mask;
  const bool all = find_matrix_rows<8 * matrices>(w, ip, true, at, mask);
  for (u32 k = 0; k < matrices; ++k) {
    CoreMatrix m;
    std::memcpy(&m, lanes_at(w, offsets_of(ip)[k]), 128);
    if (transpose) m = transposed(m);
    for (u32 r = 0; r < 8; ++r)
      if (all || mask >> (8 * k + r) & 1)
        _mm_storeu_si128(reinterpret_cast<__m128i*>(w->shared + at[8 * k + r]), m.row[r]);
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
  default: return nullptr;
  }
}

} // namespace tilejit::runtime::simulator
