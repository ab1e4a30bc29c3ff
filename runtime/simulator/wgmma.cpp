// wgmma.cpp - see wgmma.h: queues, matrix descriptors. The arithmetic is in exec_mma.cpp.
#include "runtime/simulator/cluster.h"
#include "runtime/simulator/handlers.h"
#include "runtime/simulator/swizzle.h"

#include <algorithm>
#include <xmmintrin.h>

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

/// The chunks of 16 bytes that core matrices lie in, but for those beyond shared memory.
void find_chunks(const Warp* w, uint64_t bits, bool transpose, uint32_t first, uint32_t last,
                 std::vector<uint32_t>& chunks) {
  const MatrixDescriptor d(bits);
  chunks.resize(size_t{16} * (last - first));
  uint32_t *to = chunks.data(), most = 0;
  for (uint32_t m = first; m < last; ++m)
    for (uint32_t g = 0; g < 2; ++g, to += 8)
      for (uint32_t r = 0; r < 8; ++r) {
        to[r] = d.address(m, g, r, transpose);
        most = std::max(most, to[r]);
      }
  if (most + uint64_t{16} > w->shared_bytes)
    std::erase_if(chunks, [&](uint32_t at) { return at + uint64_t{16} > w->shared_bytes; });
}

/// A matrix of `groups` times 8 rows, all of it in bounds. Where groups are whole patterns of the swizzle apart, one
/// period of addresses says them all.
void locate(Warp* w, const Insn* ip, uint64_t bits, bool transpose, uint32_t groups, SharedMatrix& to) {
  const MatrixDescriptor d(bits);
  to.memory = w->shared;
  to.far = transpose && d.swizzle ? d.leading : d.stride;
  to.shift = transpose ? d.swizzle : 0;
  if (to.far % (128u << d.swizzle) != 0 && d.swizzle) to.shift = 5; // all of them
  const uint32_t period = std::min(1u << to.shift, groups), repeats = (groups - 1) >> to.shift;
  auto beyond = [&](uint32_t m) { return (m + (repeats << to.shift) < groups ? repeats : repeats - 1) * to.far; };
  uint32_t last = 0;
  for (uint32_t m = 0; m < period; ++m)
    for (uint32_t g = 0; g < 2; ++g)
      for (uint32_t r = 0; r < 8; ++r) {
        to.at[m][g][r] = d.address(m, g, r, transpose);
        last = std::max(last, to.at[m][g][r] + beyond(m));
      }
  if (last + uint64_t{16} > w->shared_bytes) fault(w, ip, Fault::out_of_bounds, Space::shared, 0, last, 16, false);
}

// --- the queue -------------------------------------------------------------------------------------------------------

const ProductWords& words_at(const Insn* ip) { return *reinterpret_cast<const ProductWords*>(ip + 1); }
ProductQueue& queue_of(Warp* w) { return w->block->products[w->index / 4]; }

const uint32_t* rows_of(const Insn* ip) { return reinterpret_cast<const uint32_t*>(&words_at(ip) + 1) + 4; }
uint32_t row_count(const ProductWords& w) { return w.n / (static_cast<Result>(w.result) == Result::f16 ? 4 : 2); }

/// Whether `next` continues the chain of `p`: it adds to the same D, which is not rounded between them, and does not
/// have it as A.
bool continues(const PendingProduct& p, const PendingProduct& next) {
  const ProductWords &a = words_at(p.ip), &b = words_at(next.ip);
  const auto result = static_cast<Result>(a.result);
  if (!next.keeps || (result != Result::f32 && result != Result::s32) || a.n != b.n || a.types != b.types ||
      a.result != b.result || !std::equal(rows_of(p.ip), rows_of(p.ip) + row_count(a), rows_of(next.ip)))
    return false;
  if (!(b.flags & product_register_a)) return true;
  return std::none_of(rows_of(next.ip) - 4, rows_of(next.ip), [&](uint32_t word) {
    return std::find(rows_of(p.ip), rows_of(p.ip) + row_count(a), word >> 2) != rows_of(p.ip) + row_count(a);
  });
}

void prepare(BlockState& block, uint32_t warpgroup, const PendingProduct& p, uint32_t place,
             WarpgroupProduct& product) {
  alignas(64) static thread_local uint32_t spread[max_product_steps / 8][4][4][32];
  const ProductWords& words = words_at(p.ip);
  const uint32_t* of_a = rows_of(p.ip) - 4;
  Warp* first = &block.warps[size_t{4} * warpgroup];
  for (uint32_t n = 0; n < 4; ++n) {
    product.files[n] = p.files[n];
    for (uint32_t r = 0; r < 4; ++r) {
      const uint8_t*& a = product.a_registers[n][r];
      a = nullptr;
      if (!(words.flags & product_register_a)) continue;
      a = p.files[n] + (of_a[r] >> 2);
      if (static_cast<PlaceKind>(of_a[r] & 3) == PlaceKind::row32) continue;
      std::fill_n(spread[place][n][r], 32, *reinterpret_cast<const uint32_t*>(a));
      a = reinterpret_cast<const uint8_t*>(spread[place][n][r]);
    }
  }
  product.transpose_a = words.flags & product_transpose_a;
  product.transpose_b = words.flags & product_transpose_b;
  product.negate = words.flags & product_negate;
  product.adds = p.keeps;
  product.exact = block.launch->program->instruments.exact_products;
  product.a_type = static_cast<Type>(words.types & 255), product.b_type = static_cast<Type>(words.types >> 8);
  product.result = static_cast<Result>(words.result);
  product.groups = words.n / 8;
  product.rows = rows_of(p.ip);
  if (!(words.flags & product_register_a)) locate(first, p.ip, p.a, product.transpose_a, 8, product.a);
  locate(first, p.ip, p.b, product.transpose_b, product.groups, product.b);
}

/// k of an instruction.
uint32_t steps_of(const ProductWords& words) {
  const auto type = static_cast<Type>(words.types & 255);
  return type == Type::tf32 ? 8 : type == Type::f16 || type == Type::bf16 ? 16 : 32;
}

/// Carries out the first product of the queue for all four warps, and with it those that continue its chain, `limit` at
/// most. Returns how many.
uint32_t complete_first(BlockState& block, uint32_t warpgroup, uint32_t limit) {
  static thread_local WarpgroupProduct all[max_product_steps / 8];
  ProductQueue& q = block.products[warpgroup];
  limit = std::min(limit, max_product_steps / steps_of(words_at(q.products[0].ip)));
  uint32_t count = 0;
  do {
    prepare(block, warpgroup, q.products[count], count, all[count]);
    ++count;
  } while (count < limit && continues(q.products[0], q.products[count]));
  unsigned before = _mm_getcsr();
  _mm_setcsr(mxcsr_matrix);
  handlers().wgmma(all, count);
  _mm_setcsr(before);
  q.products.erase(q.products.begin(), q.products.begin() + count);
  q.done += count;
  return count;
}

/// Shows the sanitizer what the product reads of shared memory. What is outside of it the product itself reports.
void show(Warp* w, const PendingProduct& p, uint64_t number) {
  static thread_local std::vector<uint32_t> a, b;
  const ProductWords& words = words_at(p.ip);
  a.clear();
  b.clear();
  const uint32_t n = w->index % 4;
  if (!(words.flags & product_register_a)) find_chunks(w, p.a, words.flags & product_transpose_a, 2 * n, 2 * n + 2, a);
  if (p.issued == 0) find_chunks(w, p.b, words.flags & product_transpose_b, 0, words.n / 8, b);
  w->block->sanitizer->product_issued(*w, p.ip, number, a, b);
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
  if (w->block->sanitizer) show(w, p, q.issued[n]);
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
  if (w->block->sanitizer) w->block->sanitizer->products_committed(*w);
  for (uint64_t i = 0; i < q.issued[n] - std::min(q.issued[n], q.done); ++i)
    if (q.products[i].group == 0) q.products[i].group = number;
  return after(ip);
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
  while (count > 0) count -= complete_first(*w->block, w->index / 4, count);
  if (w->block->sanitizer) w->block->sanitizer->products_left(*w, ip->imm);
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
      complete_first(block, g, 1);
}

const ProductHandlers& product_handlers() {
  static const ProductHandlers all{issue, commit, wait};
  return all;
}

} // namespace tilejit::runtime::simulator
