// instructions.h - the layouts that instructions prescribe, and good ones where nothing does.
//
// Fragments are those of the PTX ISA, "Matrix Fragments for mma.m16n8k8 / k16 / k32" and "Register Fragments for
// wgmma".  A is m x k, B is k x n, C is m x n: dim 0 and dim 1 in that order.
//
//   A, 16 bits   i:16 j:16 | reg j1 i8 j8 | lane j2 j4 i1 i2 i4           (i = m, j = k)
//   B, 16 bits   i:16 j:8  | reg i1 i8    | lane i2 i4 j1 j2 j4           (i = k, j = n)
//   C            i:16 j:8  | reg j1 i8    | lane j2 j4 i1 i2 i4
#pragma once
#include "compiler/layout/layout.h"

#include <span>

namespace tilejit::layout {

enum class Operand : uint8_t { a, b, c };

/// The fragment of mma.m16n8: k8 for elements of 32 bits, k16 for 16, k32 for 8.  For c, `bits` does not matter.
Layout mma(Operand operand, unsigned bits);

/// The fragment of wgmma.m64nNkK, four warps.  a: 64 x (256 / bits), in registers, n is ignored; c: 64 x n, n a
/// multiple of 8 up to 256.  b lies in shared memory: std::invalid_argument.
Layout wgmma(Operand operand, uint32_t n, unsigned bits);

/// The operands of a whole m x n x k product on `warps` warps, mma fragments: as many warps on the rows as m / 16 lets
/// divide evenly, then on the columns as n / 8 lets, then copies.  a is m x k, b is k x n, c is m x n; each warp's a
/// and b hold exactly what its part of c needs.  Registers: a fragment's own, then k steps (a, b) or columns (c), then
/// rows.  m, n, k must be multiples of 16, 8 and 256 / bits.
struct DotLayouts {
  Layout a, b, c;
  uint32_t row_warps, column_warps, copies;
};
DotLayouts dot_layouts(uint32_t m, uint32_t n, uint32_t k, unsigned bits, uint32_t warps);

/// A layout for loads and stores of any shape (rank 0 to 5, any sizes): vectors of up to 16 bytes along dim
/// `contiguous` (-1: the last), lanes along it, then along the dims before it; warps along those dims, then along the
/// contiguous one; the rest in registers.  Where the tile has fewer elements than there are threads, threads hold
/// copies, and vectors are shortened before threads idle.  An odd factor of `warps` takes an odd factor of a dim, or
/// becomes copies.
Layout blocked(std::span<const uint32_t> shape, unsigned bits, uint32_t warps, int contiguous = -1);
inline Layout blocked(std::initializer_list<uint32_t> shape, unsigned bits, uint32_t warps, int contiguous = -1) {
  return blocked(std::span<const uint32_t>(shape.begin(), shape.size()), bits, warps, contiguous);
}

} // namespace tilejit::layout
