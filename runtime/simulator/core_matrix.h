// core_matrix.h - eight rows of 16 bytes: what ldmatrix loads, what wgmma's operands consist of in shared memory, and
// what a 32-bit register of a warp holds of a matrix (lane 4r + q: bytes 4q to 4q + 3 of row r).
//
// Included by exec_*.cpp, hence the anonymous namespace (lanes.h).
#pragma once
#include <cstdint>
#include <emmintrin.h>

namespace tilejit::runtime::simulator {
namespace {

struct CoreMatrix {
  __m128i row[8];
};

/// Of 16-bit elements.
inline CoreMatrix transposed(const CoreMatrix& m) {
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
  CoreMatrix t;
  for (int i = 0; i < 4; ++i) {
    t.row[2 * i] = _mm_unpacklo_epi64(b[i], b[i + 4]);
    t.row[2 * i + 1] = _mm_unpackhi_epi64(b[i], b[i + 4]);
  }
  return t;
}

/// Where the rows of a core matrix lie.
struct CoreRows {
  const uint8_t* base = nullptr;
  const uint32_t* at = nullptr; ///< null: one after another, as in a register

  const uint8_t* row(int r) const { return base + (at ? at[r] : 16u * static_cast<uint32_t>(r)); }
};

} // namespace
} // namespace tilejit::runtime::simulator
