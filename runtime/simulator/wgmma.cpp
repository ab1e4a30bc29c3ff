// wgmma.cpp - see wgmma.h: queues, matrix descriptors. The arithmetic is in exec_wgmma.cpp.
#include "runtime/simulator/cluster.h"
#include "runtime/simulator/handlers.h"
#include "runtime/simulator/swizzle.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <emmintrin.h>

namespace tilejit::runtime::simulator {
namespace {

// --- matrix descriptors ----------------------------------------------------------------------------------------------
// PTX ISA "Matrix Descriptor Format": addresses and offsets in units of 16 bytes. A core matrix has 8 rows of 16 bytes.
// K-major, a row is 16 bytes of k; groups of 8 rows are `stride` apart, and without a swizzle the two halves of k are
// `leading` apart. M- or N-major (16-bit elements), a row is 8 elements of M or N at one k; a line of a swizzled layout
// holds 2, 4 or 8 of them, such lines of other M are `leading` apart, groups of 8 k `stride`; without a swizzle it is
// the other way round.

struct MatrixDescriptor {
  uint32_t start, leading, stride, base, swizzle;

  explicit MatrixDescriptor(uint64_t bits)
      : start(field(bits, 0)), leading(field(bits, 16)), stride(field(bits, 32)), base(bits >> 49 & 7),
        swizzle((4 - static_cast<uint32_t>(bits >> 62)) & 3) {}
  static uint32_t field(uint64_t bits, uint32_t at) { return static_cast<uint32_t>(bits >> at & 0x3fff) << 4; }

  /// Row `row` of the core matrix of group `m` of 8 rows and half `g` of k.
  uint32_t address(uint32_t m, uint32_t g, uint32_t row, bool transpose) const {
    uint32_t width = 1u << swizzle, at = start; // chunks in a line
    if (!transpose)
      at += m * stride + row * 16 * width + g * (swizzle ? 16 : leading);
    else if (!swizzle)
      at += m * stride + g * leading + row * 16;
    else
      at += m % width * 16 + m / width * leading + row * 16 * width + g * stride;
    return swizzled(at, swizzle, base);
  }
};

struct CoreMatrix {
  __m128i row[8];
};
/// Eight rows of eight 16-bit elements.
CoreMatrix transposed(const CoreMatrix& m) {
  __m128i a[8], b[8];
  for (int i = 0; i < 4; ++i) {
    a[2 * i] = _mm_unpacklo_epi16(m.row[2 * i], m.row[2 * i + 1]);
    a[2 * i + 1] = _mm_unpackhi_epi16(m.row[2 * i], m.row[2 * i + 1]);
  }
  for (int i = 0; i < 2; ++i)
    for (int high = 0; high < 2; ++high) {
      b[4 * i + 2 * high] = _mm_unpacklo_epi32(a[4 * i + high], a[4 * i + 2 + high]);
      b[4 * i + 2 * high + 1] = _mm_unpackhi_epi32(a[4 * i + high], a[4 * i + 2 + high]);
    }
  CoreMatrix t;
  for (int i = 0; i < 4; ++i) {
    t.row[2 * i] = _mm_unpacklo_epi64(b[i], b[i + 4]);
    t.row[2 * i + 1] = _mm_unpackhi_epi64(b[i], b[i + 4]);
  }
  return t;
}

/// Makes fragments of a matrix in shared memory: that of group m and half g goes to to[place(m, g)].
template <class Place>
void gather(Warp* w, const Insn* ip, uint64_t bits, bool transpose, uint32_t groups, CoreMatrix* to, Place place) {
  MatrixDescriptor d(bits);
  const uint64_t last = w->shared_bytes - 16;
  for (uint32_t m = 0; m < groups; ++m)
    for (uint32_t g = 0; g < 2; ++g) {
      CoreMatrix c;
      for (uint32_t r = 0; r < 8; ++r) {
        uint32_t at = d.address(m, g, r, transpose);
        if (w->shared_bytes < 16 || at > last) fault(w, ip, Fault::out_of_bounds, Space::shared, 0, at, 16, false);
        c.row[r] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(w->shared + at));
      }
      to[place(m, g)] = transpose ? transposed(c) : c;
    }
}

// --- the queue -------------------------------------------------------------------------------------------------------

const ProductWords& words_at(const Insn* ip) { return *reinterpret_cast<const ProductWords*>(ip + 1); }
ProductQueue& queue_of(Warp* w) { return w->block->products[w->index / 4]; }

uint32_t sign_bits(Type type) {
  switch (type) {
  case Type::f16:
  case Type::bf16: return 0x80008000;
  case Type::tf32: return 0x80000000;
  default: return 0x80808080;
  }
}

/// Carries out a product for all four warps.
void perform(BlockState& block, uint32_t warpgroup, const PendingProduct& p) {
  static thread_local CoreMatrix a[16], b[64];
  const ProductWords& words = words_at(p.ip);
  const uint32_t* more = reinterpret_cast<const uint32_t*>(&words + 1);
  Warp* first = &block.warps[size_t{4} * warpgroup];
  auto in_a = [](uint32_t m, uint32_t g) { return m / 2 * 4 + m % 2 + 2 * g; };
  if (words.flags & product_register_a) {
    for (uint32_t n = 0; n < 4; ++n) {
      Warp view = {};
      view.file = p.files[n];
      for (uint32_t r = 0; r < 4; ++r) {
        uint32_t lanes[32];
        for (uint32_t l = 0; l < 32; ++l) lanes[l] = static_cast<uint32_t>(operand_value(&view, more[r], l));
        std::memcpy(&a[4 * n + r], lanes, sizeof lanes);
      }
    }
  } else
    gather(first, p.ip, p.a, words.flags & product_transpose_a, 8, a, in_a);
  gather(first, p.ip, p.b, words.flags & product_transpose_b, words.n / 8, b,
         [](uint32_t m, uint32_t g) { return 2 * m + g; });
  auto a_type = static_cast<Type>(words.types & 255), b_type = static_cast<Type>(words.types >> 8);
  if (words.flags & product_negate) {
    __m128i sign = _mm_set1_epi32(static_cast<int>(sign_bits(a_type)));
    for (CoreMatrix& c : a)
      for (__m128i& row : c.row) row = _mm_xor_si128(row, sign);
  }
  WarpgroupProduct product;
  product.a = reinterpret_cast<const uint32_t*>(a);
  product.b = reinterpret_cast<const uint32_t*>(b);
  product.groups = words.n / 8;
  product.a_type = a_type, product.b_type = b_type;
  product.keeps = p.keeps;
  product.half = words.flags & product_half;
  product.saturates = words.flags & product_saturate;
  for (uint32_t n = 0; n < 4; ++n)
    for (uint32_t r = 0; r < words.rows; ++r) product.d[n][r] = reinterpret_cast<uint32_t*>(p.files[n] + more[4 + r]);
  unsigned before = _mm_getcsr();
  _mm_setcsr(mxcsr_matrix);
  handlers().select_wgmma(a_type)(product);
  _mm_setcsr(before);
}

bool needs_all_lanes(const Warp* w) { return w->live & ~w->active; }

const Insn* issue(Warp* w, const Insn* ip) {
  if (needs_all_lanes(w)) return wait_for_lanes(w, ip, w->live);
  uint32_t mask = guarded_lanes(w, ip);
  if (!mask) return after(ip);
  if (mask != ~0u || w->block->warps.size() < w->index / 4 * 4 + 4)
    fail(w, ip, "wgmma needs all threads of a warpgroup: four warps, the first a multiple of 4");
  ProductQueue& q = queue_of(w);
  uint32_t n = w->index % 4;
  uint64_t place = q.issued[n]++ - q.done;
  if (place == q.products.size()) {
    const ProductWords& words = words_at(ip);
    PendingProduct& p = q.products.emplace_back();
    p.ip = ip;
    p.keeps = (*reinterpret_cast<const uint32_t*>(w->file + words.scale) ^ words.scale_turned) & 1;
    p.a = words.a == no_operand ? 0 : operand_value(w, words.a, 0);
    p.b = operand_value(w, words.b, 0);
  }
  PendingProduct& p = q.products[place];
  if (p.ip != ip) fail(w, ip, "the warps of a warpgroup issue different wgmma instructions");
  p.files[n] = w->file;
  p.issued |= 1u << n;
  if (p.issued == 15)
    for (uint32_t other = 0; other < 4; ++other) {
      Warp& o = w->block->warps[w->index / 4 * 4 + other];
      for (uint32_t i = 0; i < o.split_count; ++i)
        if (o.splits[i].wait == Wait::warpgroup) o.splits[i].wait = Wait::nothing;
    }
  return after(ip);
}

const Insn* commit(Warp* w, const Insn* ip) {
  if (needs_all_lanes(w)) return wait_for_lanes(w, ip, w->live);
  ProductQueue& q = queue_of(w);
  uint32_t n = w->index % 4, number = ++q.groups[n];
  for (uint64_t i = 0; i < q.issued[n] - std::min(q.issued[n], q.done); ++i)
    if (q.products[i].group == 0) q.products[i].group = number;
  return after(ip);
}

void complete_first(BlockState& block, uint32_t warpgroup) {
  ProductQueue& q = block.products[warpgroup];
  perform(block, warpgroup, q.products.front());
  q.products.pop_front();
  ++q.done;
}

const Insn* wait(Warp* w, const Insn* ip) {
  if (needs_all_lanes(w)) return wait_for_lanes(w, ip, w->live);
  ProductQueue& q = queue_of(w);
  uint32_t n = w->index % 4, count = 0;
  for (const PendingProduct& p : q.products) {
    if (p.group == 0 || p.group + ip->imm > q.groups[n]) break;
    if (p.issued != 15) {
      park(w, ip, w->active, Wait::warpgroup);
      return nullptr;
    }
    ++count;
  }
  for (; count > 0; --count) complete_first(*w->block, w->index / 4);
  return after(ip);
}

} // namespace

/// A core matrix is eight rows of 16 bytes, which fill one wavefront where they are in different banks.
ProductReads product_reads(const Warp* w, const Insn* ip) {
  const ProductWords& words = words_at(ip);
  ProductReads reads;
  auto read = [&](uint32_t word, bool transpose, uint32_t groups) {
    MatrixDescriptor d(operand_value(w, word, 0));
    for (uint32_t m = 0; m < groups; ++m)
      for (uint32_t g = 0; g < 2; ++g) {
        uint32_t in_bank[8]{};
        for (uint32_t r = 0; r < 8; ++r) ++in_bank[d.address(m, g, r, transpose) / 16 % 8];
        reads.bytes += 128, ++reads.least;
        reads.wavefronts += *std::max_element(in_bank, in_bank + 8);
      }
  };
  if (!(words.flags & product_register_a)) read(words.a, words.flags & product_transpose_a, 8);
  read(words.b, words.flags & product_transpose_b, words.n / 8);
  return reads;
}

void complete_products_at_random(BlockState& block, RandomOrder& random) {
  for (uint32_t g = 0; g < block.products.size(); ++g)
    while (!block.products[g].products.empty() && block.products[g].products.front().issued == 15 &&
           block.products[g].products.front().group != 0 && random.below(4) == 0)
      complete_first(block, g);
}

const ProductHandlers& product_handlers() {
  static const ProductHandlers all{issue, commit, wait};
  return all;
}

} // namespace tilejit::runtime::simulator
