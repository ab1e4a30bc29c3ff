// wgmma.h - matrix products of a warpgroup: wgmma.mma_async. PTX ISA "Asynchronous warpgroup-level matrix
// instructions".
//
// The four warps of a warpgroup issue a product together; it reads shared memory and registers and writes registers
// when a warp waits for its group, and not before. Then it is done for all four warps, so every one of them must have
// issued it. Registers that a pending product has are kept alive until the wait (register_use).
#pragma once
#include "runtime/simulator/warp.h"

#include <array>
#include <vector>

namespace tilejit::runtime::simulator {

class RandomOrder;

/// A product that has been issued: the instruction, and what it captured.
struct PendingProduct {
  const Insn* ip = nullptr;
  uint32_t issued = 0; ///< by which warps
  uint32_t group = 0;  ///< 0: not committed
  bool keeps = false;  ///< scale-d: D is added to
  uint64_t a = 0, b = 0;
  std::array<uint8_t*, 4> files{};
};
/// Of a warpgroup. Warps count what they have issued and committed; products leave at the front.
struct ProductQueue {
  std::vector<PendingProduct> products; ///< few: those at the front leave first
  uint64_t done = 0;
  std::array<uint64_t, 4> issued{};
  std::array<uint32_t, 4> groups{};
};

/// What the words of a product hold, in this order; then four words of A's registers and the rows of D.
struct ProductWords {
  uint32_t n, types, flags, result; ///< types: A | B << 8; result: Result
  uint32_t scale, scale_turned;     ///< predicate of scale-d
  uint32_t a, b;                    ///< descriptors
};
enum ProductFlags : uint32_t {
  product_register_a = 1,
  product_transpose_a = 2,
  product_transpose_b = 4,
  product_negate = 8,
};

struct ProductHandlers {
  Fn issue, commit, wait; ///< imm of wait: groups that may stay
};
const ProductHandlers& product_handlers();
/// What the products of a warpgroup read of shared memory: bytes, wavefronts, and how many these would be without
/// conflicts. `ip` issues it, `w` is one of its warps.
struct ProductReads {
  uint32_t bytes = 0, wavefronts = 0, least = 0;
};
ProductReads product_reads(const Warp* w, const Insn* ip);
/// Some of the products that all warps have issued.
void complete_products_at_random(BlockState& block, RandomOrder& random);

} // namespace tilejit::runtime::simulator
