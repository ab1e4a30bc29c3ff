// shared_layouts.cpp - the layouts that tiles in shared memory have: what the hardware writes, padded rows, parts of a
// tile.
#include "compiler/layout/offsets.h"
#include "compiler/layout/shared_memory.h"

#include <stdexcept>

namespace tilejit::layout {

static unsigned check_tile(int contiguous, std::span<const uint32_t> shape) {
  if (shape.empty() || shape.size() > max_rank)
    throw std::invalid_argument("a shared tile has 1 to " + std::to_string(max_rank) + " dims, not " +
                                std::to_string(shape.size()));
  if (contiguous < 0 || size_t(contiguous) >= shape.size())
    throw std::invalid_argument("dim " + std::to_string(contiguous) + " of a shared tile of rank " +
                                std::to_string(shape.size()));
  for (uint32_t n : shape)
    if (n == 0) throw std::invalid_argument("a dim of a shared tile has size 0");
  return unsigned(contiguous);
}

// Every dim but `inner`, the last first.
template <typename F>
static void for_other_dims(size_t rank, unsigned inner, F f) {
  for (unsigned d = unsigned(rank); d-- > 0;)
    if (d != inner) f(d);
}

Layout padded(int contiguous, std::span<const uint32_t> shape, uint32_t extra) {
  const unsigned inner = check_tile(contiguous, shape);
  Spelling s;
  s.rank = unsigned(shape.size());
  s.append(inner, shape[inner], Axis::offset);
  uint64_t pitch = uint64_t(shape[inner]) + extra;
  for_other_dims(shape.size(), inner, [&](unsigned d) {
    const size_t first = s.digits.size();
    s.append(d, shape[d], Axis::offset);
    uint64_t stride = pitch;
    for (size_t i = first; i < s.digits.size(); ++i) {
      s.digits[i].stride = uint32_t(stride);
      stride *= s.digits[i].radix;
    }
    pitch = stride;
  });
  if (pitch >> 32) throw std::invalid_argument("a shared tile has fewer than 2^32 elements");
  return Layout(s);
}

Layout swizzled(int contiguous, std::span<const uint32_t> shape, unsigned bits, unsigned span) {
  if (span == 0) return padded(contiguous, shape, 0);
  const unsigned inner = check_tile(contiguous, shape);
  if (span != 32 && span != 64 && span != 128)
    throw std::invalid_argument("the hardware swizzles spans of 32, 64 or 128 bytes, not " + std::to_string(span));
  if (bits < 8 || bits > 128 || !std::has_single_bit(bits))
    throw std::invalid_argument("an element of a shared tile has 8, 16, 32, 64 or 128 bits, not " +
                                std::to_string(bits));
  const uint32_t bytes = bits / 8, width = span / bytes;
  if (shape[inner] % width)
    throw std::invalid_argument("a row of " + std::to_string(shape[inner] * uint64_t(bytes)) +
                                " bytes has no swizzle of span " + std::to_string(span));
  Spelling s;
  s.rank = unsigned(shape.size());
  s.append(inner, width, Axis::offset);
  for_other_dims(shape.size(), inner, [&](unsigned d) { s.append(d, shape[d], Axis::offset); });
  s.append(inner, shape[inner] / width, Axis::offset);
  // The hardware xors address bits 7, 8, 9 into bits 4, 5, 6 (as many as the span has chunks of 16 bytes, as a power of
  // two).
  for (uint32_t b = 0; 16u << b < span; ++b) {
    Digit *to = nullptr, *from = nullptr;
    for (Digit& d : s.digits) {
      if (d.stride * uint64_t(bytes) == 16u << b) to = &d;
      if (d.stride * uint64_t(bytes) == 128u << b) from = &d;
      if (!d.bit() && d.stride * uint64_t(bytes) <= 128u << b)
        throw std::invalid_argument("the rows of a tile with swizzle span " + std::to_string(span) +
                                    " must be a multiple of " + std::to_string(1024 / span) + " in number");
    }
    if (from && to) from->image ^= to->image;
  }
  return Layout(s);
}

Layout core_matrices(int contiguous, std::span<const uint32_t> shape, unsigned bits, bool rows_first) {
  const unsigned inner = check_tile(contiguous, shape);
  if (shape.size() != 2)
    throw std::invalid_argument("core matrices make tiles of rank 2, not " + std::to_string(shape.size()));
  const unsigned outer = 1 - inner;
  const uint32_t width = 128 / bits;
  if (shape[inner] % width || shape[outer] % 8)
    throw std::invalid_argument("a core matrix has 8 rows of 16 bytes; the tile is not a whole number of them");
  Spelling s;
  s.rank = 2;
  s.append(inner, width, Axis::offset);
  s.append(outer, 8, Axis::offset);
  if (rows_first) s.append(outer, shape[outer] / 8, Axis::offset);
  s.append(inner, shape[inner] / width, Axis::offset);
  if (!rows_first) s.append(outer, shape[outer] / 8, Axis::offset);
  return Layout(s);
}

std::optional<Subtile> subtile(const Layout& shared, const Coord& origin, std::span<const uint32_t> shape) {
  if (shape.size() != shared.rank())
    throw std::invalid_argument("a subtile has the rank of its tile: " + std::to_string(shape.size()) + " sizes for " +
                                shared.str());
  Spelling s = shared.spelling();
  // Cut the dims: digits below the new size stay, the others go.
  for (unsigned d = 0; d < shape.size(); ++d) {
    if (shape[d] == 0 || origin[d] + uint64_t(shape[d]) > shared.size(int(d)) || origin[d] % shape[d])
      return std::nullopt;
    unsigned odds = 0;
    for (size_t i = 0; i < s.coords.size(); ++i) {
      const CoordDigit c = s.coords[i];
      if (c.dim == d && c.weight < shape[d] && shape[d] < c.weight * uint64_t(c.radix)) {
        if (c.bit() || shape[d] % c.weight || c.radix % (shape[d] / c.weight)) return std::nullopt;
        s.split_odd(odds, shape[d] / c.weight);
        break;
      }
      odds += !c.bit();
    }
    uint32_t kept = 1;
    for (const CoordDigit& c : s.coords)
      if (c.dim == d && c.weight < shape[d]) kept *= c.radix;
    if (kept != shape[d]) return std::nullopt;
  }
  const Vectors inverse = inverse_bits(s);
  StaticVector<uint8_t, max_digits> bit_digits; // place digit (index) of each offset bit
  for (size_t i = 0; i < s.digits.size(); ++i)
    if (s.digits[i].bit()) bit_digits.push_back(uint8_t(i));
  uint64_t inside = 0, start = 0; // offset bits
  Vectors kept_inverse;
  uint32_t offset = 0;
  Spelling part;
  part.rank = s.rank;
  unsigned bits = 0, odds = 0;
  StaticVector<uint8_t, max_digits> kept_odds;
  for (const CoordDigit& c : s.coords) {
    const unsigned number = c.bit() ? bits++ : odds++;
    const bool stays = c.weight < shape[c.dim];
    if (stays) {
      part.coords.push_back(c);
      if (c.bit()) {
        inside |= inverse[number];
        kept_inverse.push_back(inverse[number]);
      } else {
        kept_odds.push_back(uint8_t(number));
      }
      continue;
    }
    const uint32_t value = origin[c.dim] / c.weight % c.radix;
    if (!value) continue;
    if (c.bit())
      start ^= inverse[number];
    else
      offset += value * s.odd_owner(number)->stride;
  }
  if (inside & start || unsigned(std::popcount(inside)) != kept_inverse.size()) return std::nullopt;
  for (uint64_t left = start; left; left &= left - 1)
    offset += s.digits[bit_digits[size_t(std::countr_zero(left))]].stride;
  const Elimination images(kept_inverse); // offset bit -> the kept coordinate bits
  unsigned offset_bit = 0;
  for (const Digit& d : s.digits) {
    if (d.bit()) {
      const unsigned number = offset_bit++;
      if (inside >> number & 1)
        part.digits.push_back({Axis::offset, 2, d.stride, *images.solve(uint64_t(1) << number)});
    } else {
      for (size_t n = 0; n < kept_odds.size(); ++n)
        if (d.image == kept_odds[n] + 1u) part.digits.push_back({Axis::offset, d.radix, d.stride, n + 1});
    }
  }
  return Subtile{offset, Layout(part)};
}

} // namespace tilejit::layout
