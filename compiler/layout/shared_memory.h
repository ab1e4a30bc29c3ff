// shared_memory.h - tiles in shared memory: where they lie, who reads them how, and what that costs.
//
// Shared memory has 32 banks of 4 bytes.  An access of a warp is done in phases (32, 16 or 8 lanes for 4, 8 or 16 bytes
// a lane; one 8x8 matrix of ldmatrix), and a phase takes as many wavefronts as its fullest bank has distinct words.  A
// layout of the tile that gives every phase one wavefront has no bank conflict; swizzles (xor-ed digits) do it without
// padding.
//
//   Layout tile = swizzled(0, {64, 64}, 16, 128);      // the 128-byte swizzle of the hardware, rows along dim 0
//   wavefronts(Access::ldmatrix, operand, tile, 16)    // no bank conflict when .wavefronts == .least
//   matrix_access(Access::ldmatrix, operand, tile, 16) // which lane reads where, which registers it fills
#pragma once
#include "compiler/layout/questions.h"

#include <optional>
#include <span>
#include <vector>

namespace tilejit::layout {

// --- layouts ---------------------------------------------------------------------------------------------------------

/// What TMA writes with the given swizzle span of 128, 64 or 32 bytes (0: row-major): boxes of `span` bytes along the
/// contiguous dim and all of the other dims, 16-byte chunks xor-ed with the row.  Tiles must be aligned to 8 * span
/// bytes.  Throws std::invalid_argument when the span does not divide a row.
Layout swizzled(int contiguous, std::span<const uint32_t> shape, unsigned bits, unsigned span);
inline Layout swizzled(int contiguous, std::initializer_list<uint32_t> shape, unsigned bits, unsigned span) {
  return swizzled(contiguous, std::span<const uint32_t>(shape.begin(), shape.size()), bits, span);
}
/// Row-major along `contiguous`, with `extra` unused elements after each row.  Affine: it serves any layout of
/// registers.
Layout padded(int contiguous, std::span<const uint32_t> shape, uint32_t extra);
inline Layout padded(int contiguous, std::initializer_list<uint32_t> shape, uint32_t extra) {
  return padded(contiguous, std::span<const uint32_t>(shape.begin(), shape.size()), extra);
}
/// The canonical operand of wgmma without swizzle: 8 x 16-byte core matrices, rows of them first when `rows_first`.
/// Rank 2.
Layout core_matrices(int contiguous, std::span<const uint32_t> shape, unsigned bits, bool rows_first = true);
inline Layout core_matrices(int contiguous, std::initializer_list<uint32_t> shape, unsigned bits,
                            bool rows_first = true) {
  return core_matrices(contiguous, std::span<const uint32_t>(shape.begin(), shape.size()), bits, rows_first);
}

/// The part of a shared tile that begins at `origin` and has `shape`: the same kind of layout, `offset` elements
/// further on.  nullopt when the origin or the shape cuts through a digit.
struct Subtile {
  uint32_t offset;
  Layout layout;
};
std::optional<Subtile> subtile(const Layout& shared, const Coord& origin, std::span<const uint32_t> shape);

// --- addresses -------------------------------------------------------------------------------------------------------

/// The offset (in elements) of each item of a thread: registers, vectors, or matrix instructions.  Item x is at
///   base of group at[x].group  +  at[x].immediate
/// and the base of group g is the sum over fields f of `thread` of weight * (thread part of f  (+ or ^)  groups[g][f]).
/// There are few groups (usually one): immediates go into the instruction.  `thread`'s own `registers` are empty.
struct Addresses {
  struct Item {
    uint32_t group, immediate;
  };
  Linear thread;
  std::vector<std::vector<uint32_t>> groups;
  std::vector<Item> at;
  uint32_t operator()(uint32_t item, const Place& thread) const;
};
/// Of every register.  nullopt when the two write a coordinate with digits that do not agree and the shared tile is not
/// affine.
std::optional<Addresses> addresses(const Layout& registers, const Layout& shared);

/// Vector accesses: the widest (up to `max_bytes`) that the same registers of every thread can make.  Access x moves
/// the registers registers[x * elements + e], e in the order of addresses; its address, a multiple of `elements`, is
/// that of item x.
struct VectorAccess {
  unsigned elements;
  Addresses addresses;
  std::vector<uint32_t> registers;
};
std::optional<VectorAccess> vector_access(const Layout& registers, const Layout& shared, unsigned bits,
                                          unsigned max_bytes = 16);

enum class Access : uint8_t { vector, ldmatrix, ldmatrix_trans, stmatrix, stmatrix_trans };

/// ldmatrix and stmatrix (PTX ISA, "Warp-level matrix load instruction: ldmatrix"): instruction x moves `words` (4, 2
/// or 1) 32-bit registers of each thread; word w holds the elements registers[x * words + w] and the 32 / bits - 1
/// registers after it.  The lane l that executes gives the address of item x for lane l: the row of 16 bytes of matrix
/// l / 8, row l % 8.  Lanes beyond 8 * words give any.  nullopt when the instruction does not fit the two layouts.
///
/// `fragment`: so many neighbouring words (1, 2 or 4) come from one instruction where that can be.  A product's operand
/// has to lie in that many registers side by side, and what two instructions wrote would have to be moved there.
struct MatrixAccess {
  bool transposed;
  unsigned words;
  Addresses rows;
  std::vector<uint32_t> registers;
};
std::optional<MatrixAccess> matrix_access(Access access, const Layout& registers, const Layout& shared, unsigned bits,
                                          unsigned fragment = 1);

// --- cost ------------------------------------------------------------------------------------------------------------

/// One warp reading or writing the whole tile.  `least` is what no layout of the tile can beat with accesses of this
/// width.
struct Waves {
  uint32_t wavefronts, least, instructions;
  unsigned bytes; ///< per lane and access
};
/// Simulates accesses on 32 banks: one, since all of a pair cost the same, unless padding or digits that do not agree
/// make them differ; then the slowest warp counts.  nullopt: the instruction does not fit.
std::optional<Waves> wavefronts(Access access, const Layout& registers, const Layout& shared, unsigned bits);

/// The cheapest shared layout (wavefronts + instructions) found for its uses, one or two: writer and reader.  It has no
/// bank conflict unless a wider access is worth one, as happens with copies and mixed bits on lanes.  What the hardware
/// knows comes first (span 128, 64, 32 bytes: then TMA and wgmma can share the tile); a layout is solved for where that
/// is cheaper, unless must_be_tma.  A matrix access that cannot be had becomes a vector access; where digits do not
/// agree the tile is row-major with padding.  Never fails.  `contiguous`: the dim that must lie in a row (what a tensor
/// copy or wide asynchronous copies write), -1 for any.
struct Use {
  Access access;
  Layout registers;
};
Layout choose_shared(std::span<const Use> uses, unsigned bits, bool must_be_tma = false, int contiguous = -1);
inline Layout choose_shared(std::initializer_list<Use> uses, unsigned bits, bool must_be_tma = false,
                            int contiguous = -1) {
  return choose_shared(std::span<const Use>(uses.begin(), uses.size()), bits, must_be_tma, contiguous);
}

// --- what wgmma and TMA are told -------------------------------------------------------------------------------------

/// The matrix descriptor of a wgmma operand (PTX ISA, "Asynchronous Warpgroup Level Matrix Shared Memory Layout"), less
/// its base address; bytes throughout.  start[s] = what to add to the base for the s-th 32-byte step of k.
///   128x80 V tile of bf16 with span 32, as N-major B:  {mn_major, 32, lbo 4096, sbo 256, start 0, 512, 1024, ...}
struct Descriptor {
  bool mn_major;
  uint8_t span;
  uint32_t lbo, sbo;
  std::vector<uint32_t> start;
};
/// `mn` and `k` are the dims of the tile, `rows` how many of mn one instruction takes.  nullopt exactly when no
/// descriptor exists.
std::optional<Descriptor> wgmma_descriptor(const Layout& shared, int mn, int k, unsigned bits, uint32_t rows);

/// The tensor copies that fill a shared tile: the shape of one box, and where each begins.
struct TmaBoxes {
  uint8_t span;
  Coord box;
  struct At {
    Coord origin;
    uint32_t bytes;
  };
  std::vector<At> at;
};
std::optional<TmaBoxes> tma_boxes(const Layout& shared, int contiguous, unsigned bits);

} // namespace tilejit::layout
