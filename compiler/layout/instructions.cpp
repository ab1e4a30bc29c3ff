#include "compiler/layout/instructions.h"

#include <numeric>
#include <stdexcept>
#include <string>

namespace tilejit::layout {

static void check_bits(unsigned bits) {
  if (bits != 8 && bits != 16 && bits != 32)
    throw std::invalid_argument("matrix instructions take operands of 8, 16 or 32 bits, not " + std::to_string(bits));
}

Layout mma(Operand operand, unsigned bits) {
  static const Layout c = Layout::parse("i:16 j:8 | reg j1 i8 | lane j2 j4 i1 i2 i4");
  static const Layout a8 = Layout::parse("i:16 k:32 | reg k1 k2 i8 k16 | lane k4 k8 i1 i2 i4");
  static const Layout a16 = Layout::parse("i:16 k:16 | reg k1 i8 k8 | lane k2 k4 i1 i2 i4");
  static const Layout a32 = Layout::parse("i:16 k:8 | reg i8 k4 | lane k1 k2 i1 i2 i4");
  static const Layout b8 = Layout::parse("k:32 j:8 | reg k1 k2 k16 | lane k4 k8 j1 j2 j4");
  static const Layout b16 = Layout::parse("k:16 j:8 | reg k1 k8 | lane k2 k4 j1 j2 j4");
  static const Layout b32 = Layout::parse("k:8 j:8 | reg k4 | lane k1 k2 j1 j2 j4");
  if (operand == Operand::c) return c;
  check_bits(bits);
  if (operand == Operand::a) return bits == 8 ? a8 : bits == 16 ? a16 : a32;
  return bits == 8 ? b8 : bits == 16 ? b16 : b32;
}

Layout wgmma(Operand operand, uint32_t n, unsigned bits) {
  if (operand == Operand::b)
    throw std::invalid_argument("wgmma reads operand B from shared memory only: it has no layout in registers");
  if (operand == Operand::a) return mma(Operand::a, bits).repeat(0, 4, Axis::warp);
  if (n == 0 || n % 8 || n > 256)
    throw std::invalid_argument("wgmma has 8, 16 ... 256 columns, not " + std::to_string(n));
  return mma(Operand::c, 32).repeat(1, n / 8, Axis::reg).repeat(0, 4, Axis::warp);
}

namespace {

/// How `total` fragments along a dim are dealt: bits and an odd factor to warps, the rest to registers.
struct Deal {
  unsigned warp_bits, register_bits;
  uint32_t warp_odd, register_odd;
  Deal(uint32_t total, uint32_t warps)
      : warp_bits(factors(warps).bits), register_bits(factors(total).bits - warp_bits), warp_odd(factors(warps).odd),
        register_odd(factors(total).odd / warp_odd) {}
};

void append_if(Spelling& s, unsigned dim, uint32_t n, Axis axis) {
  if (n > 1) s.append(dim, n, axis);
}

} // namespace

// Bits come below odd factors, on every dim and on the warp axis: then any two layouts of a tile write its coordinates
// with digits that agree, and the warps of a, b and c are numbered with the same digits.
DotLayouts dot_layouts(uint32_t m, uint32_t n, uint32_t k, unsigned bits, uint32_t warps) {
  check_bits(bits);
  const uint32_t step = 256 / bits;
  const auto refuse = [&](const char* what, uint32_t value, uint32_t unit) {
    throw std::invalid_argument(std::string("a dot of mma fragments needs ") + what + " in multiples of " +
                                std::to_string(unit) + ", not " + std::to_string(value));
  };
  if (m == 0 || m % 16) refuse("m", m, 16);
  if (n == 0 || n % 8) refuse("n", n, 8);
  if (k == 0 || k % step) refuse("k", k, step);
  if (warps == 0) throw std::invalid_argument("a dot needs at least one warp");
  const uint32_t row_warps = std::gcd(m / 16, warps), column_warps = std::gcd(n / 8, warps / row_warps);
  const uint32_t copies = warps / row_warps / column_warps;
  const Deal rows(m / 16, row_warps), columns(n / 8, column_warps);
  const Factors spare = factors(copies);

  const auto build = [&](Operand operand) {
    const bool has_rows = operand != Operand::b, has_columns = operand != Operand::a; // the others' warps hold copies
    Spelling s = mma(operand, bits).spelling();
    const auto repeat = [&](unsigned dim, bool has_dim, uint32_t count, Axis axis) {
      if (has_dim)
        append_if(s, dim, count, axis);
      else if (axis == Axis::warp && count > 1)
        s.append_copies(count, axis);
    };
    const auto repeat_row = [&](uint32_t count, Axis axis) { repeat(0, has_rows, count, axis); };
    const auto repeat_column = [&](uint32_t count, Axis axis) { repeat(1, has_columns, count, axis); };
    // The order on the warp axis is rows, columns, copies: bits of all, then odd factors of all.  In registers it is k
    // steps or columns, then rows.  On a dim, register bits lie below warp bits, and all bits below odd factors.
    if (operand != Operand::c) append_if(s, operand == Operand::a ? 1 : 0, k / step, Axis::reg);
    repeat_column(1u << columns.register_bits, Axis::reg);
    if (columns.warp_bits == 0) repeat_column(columns.register_odd, Axis::reg);
    repeat_row(1u << rows.register_bits, Axis::reg);
    repeat_row(1u << rows.warp_bits, Axis::warp);
    repeat_column(1u << columns.warp_bits, Axis::warp);
    if (spare.bits) s.append_copies(1u << spare.bits, Axis::warp);
    repeat_row(rows.warp_odd, Axis::warp);
    repeat_column(columns.warp_odd, Axis::warp);
    if (spare.odd > 1) s.append_copies(spare.odd, Axis::warp);
    if (columns.warp_bits != 0) repeat_column(columns.register_odd, Axis::reg);
    repeat_row(rows.register_odd, Axis::reg);
    return Layout(s);
  };
  return {build(Operand::a), build(Operand::b), build(Operand::c), row_warps, column_warps, copies};
}

Layout blocked(std::span<const uint32_t> shape, unsigned bits, uint32_t warps, int contiguous) {
  if (shape.size() > max_rank)
    throw std::invalid_argument("a layout has at most " + std::to_string(max_rank) + " dims");
  const unsigned rank = unsigned(shape.size());
  if (warps == 0) throw std::invalid_argument("a tile needs at least one warp");
  if (contiguous < -1 || contiguous >= int(rank))
    throw std::invalid_argument("dim " + std::to_string(contiguous) + " of a tile of rank " + std::to_string(rank));
  uint64_t elements = 1;
  StaticVector<unsigned, max_rank> order; // contiguous first, then from the last dim to the first
  const unsigned inner = contiguous >= 0 ? unsigned(contiguous) : rank - 1;
  if (rank) order.push_back(inner);
  for (unsigned d = rank; d-- > 0;)
    if (d != inner) order.push_back(d);
  std::array<unsigned, max_rank> free_bits{};
  std::array<uint32_t, max_rank> free_odd{};
  for (unsigned d = 0; d < rank; ++d) {
    if (shape[d] == 0) throw std::invalid_argument("dim " + std::to_string(d) + " of a tile has size 0");
    elements *= shape[d];
    free_bits[d] = factors(shape[d]).bits;
    free_odd[d] = factors(shape[d]).odd;
  }
  if (elements >> 32) throw std::invalid_argument("a tile has fewer than 2^32 elements");

  Spelling s;
  s.rank = rank;
  const auto take = [&](unsigned dim, unsigned count, Axis axis) {
    if (count) s.append(dim, 1u << count, axis);
    free_bits[dim] -= count;
    return count;
  };
  // Vectors: 16 bytes, but no longer than what keeps every thread busy.
  if (rank) {
    const uint64_t per_thread = std::max<uint64_t>(1, elements / (32u * uint64_t(warps)));
    const unsigned widest = unsigned(std::bit_width(128u / std::max(bits, 8u))) - 1;
    take(inner, std::min({free_bits[inner], widest, unsigned(std::bit_width(per_thread)) - 1}), Axis::reg);
  }
  unsigned lanes = 5, warp_bits = factors(warps).bits;
  uint32_t warp_odd = factors(warps).odd;
  for (unsigned d : order) lanes -= take(d, std::min(free_bits[d], lanes), Axis::lane);
  if (lanes) s.append_copies(1u << lanes, Axis::lane);
  // Warps: the contiguous dim last.  All bits, then odd factors.
  StaticVector<unsigned, max_rank> outward;
  for (size_t i = 1; i < order.size(); ++i) outward.push_back(order[i]);
  if (rank) outward.push_back(inner);
  for (unsigned d : outward) warp_bits -= take(d, std::min(free_bits[d], warp_bits), Axis::warp);
  if (warp_bits) s.append_copies(1u << warp_bits, Axis::warp);
  for (unsigned d : order) take(d, free_bits[d], Axis::reg);
  for (unsigned d : outward) {
    const uint32_t common = std::gcd(free_odd[d], warp_odd);
    append_if(s, d, common, Axis::warp);
    free_odd[d] /= common;
    warp_odd /= common;
  }
  if (warp_odd > 1) s.append_copies(warp_odd, Axis::warp);
  for (unsigned d : order) append_if(s, d, free_odd[d], Axis::reg);
  return Layout(s);
}

} // namespace tilejit::layout
