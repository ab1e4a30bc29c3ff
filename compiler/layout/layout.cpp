#include "compiler/layout/layout.h"

#include "compiler/layout/f2.h"

#include <stdexcept>

namespace tilejit::layout {

Layout::Layout(const Spelling& spelling) : spelling_(spelling) {
  spelling_.validate();
  spelling_.canonicalize();
}

static unsigned checked(const Layout& layout, int dim) {
  if (dim < 0 || unsigned(dim) >= layout.rank())
    throw std::out_of_range("dim " + std::to_string(dim) + " of a layout of rank " + std::to_string(layout.rank()) +
                            ": " + layout.str());
  return unsigned(dim);
}

// --- building --------------------------------------------------------------------------------------------------------

Layout Layout::repeat(int dim, uint32_t n, Axis axis) const {
  Spelling s = spelling_;
  s.append(checked(*this, dim), n, axis);
  return Layout(s);
}

Layout Layout::replicate(uint32_t n, Axis axis) const {
  Spelling s = spelling_;
  s.append_copies(n, axis);
  return Layout(s);
}

Layout Layout::product(const Layout& outer) const {
  if (outer.rank() != rank())
    throw std::invalid_argument("the product of layouts of rank " + std::to_string(rank()) + " and " +
                                std::to_string(outer.rank()));
  Spelling s = spelling_;
  // Coordinate digits first: the number of each in the result.
  std::array<unsigned, 64> bit_number;
  std::array<unsigned, max_digits> odd_number;
  unsigned bits = 0, odds = 0;
  for (const CoordDigit& c : outer.coordinates()) {
    // Dims come in order, so a number given earlier belongs to the same or a lower dim and is not moved by later ones.
    if (c.bit())
      bit_number[bits++] = s.add_coordinate(c.dim, 2);
    else
      odd_number[odds++] = s.add_coordinate(c.dim, c.radix);
  }
  std::array<uint32_t, 5> inner;
  for (unsigned axis = 0; axis < inner.size(); ++axis) inner[axis] = extent(Axis(axis));
  for (const Digit& d : outer.digits()) {
    uint64_t image = 0;
    if (d.bit())
      for (uint64_t left = d.image; left; left &= left - 1)
        image |= uint64_t(1) << bit_number[unsigned(std::countr_zero(left))];
    else if (d.image)
      image = odd_number[d.image - 1] + 1;
    size_t at = 0;
    while (at < s.digits.size() && s.digits[at].axis <= d.axis) ++at;
    s.digits.insert(at, {d.axis, d.radix, d.stride * inner[unsigned(d.axis)], image});
  }
  return Layout(s);
}

// Gives every coordinate digit a new dim and weight, sorts them, and renumbers the images.
static Spelling relabel(const Spelling& s, unsigned rank, std::span<const CoordDigit> labels) {
  StaticVector<uint8_t, max_digits> order;
  for (size_t i = 0; i < labels.size(); ++i) order.push_back(uint8_t(i));
  std::stable_sort(order.begin(), order.end(), [&](uint8_t x, uint8_t y) {
    return labels[x].dim != labels[y].dim ? labels[x].dim < labels[y].dim : labels[x].weight < labels[y].weight;
  });
  Spelling result;
  result.rank = rank;
  std::array<unsigned, max_digits> number; // of the digit that was the i-th
  unsigned bits = 0, odds = 0;
  for (uint8_t i : order) {
    result.coords.push_back(labels[i]);
    number[i] = labels[i].bit() ? bits++ : odds++;
  }
  std::array<unsigned, 64> bit_number;
  std::array<unsigned, max_digits> odd_number;
  bits = odds = 0;
  for (size_t i = 0; i < labels.size(); ++i) (labels[i].bit() ? bit_number[bits++] : odd_number[odds++]) = number[i];
  result.digits = s.digits;
  for (Digit& d : result.digits) {
    if (d.bit()) {
      uint64_t image = 0;
      for (uint64_t left = d.image; left; left &= left - 1)
        image |= uint64_t(1) << bit_number[unsigned(std::countr_zero(left))];
      d.image = image;
    } else if (d.image) {
      d.image = odd_number[d.image - 1] + 1;
    }
  }
  return result;
}

Layout Layout::permute(std::span<const int> dims) const {
  std::array<int, max_rank> to;
  to.fill(-1);
  if (dims.size() != rank())
    throw std::invalid_argument("permute needs one entry for each of the " + std::to_string(rank()) + " dims");
  for (size_t d = 0; d < dims.size(); ++d) {
    const unsigned from = checked(*this, dims[d]);
    if (to[from] >= 0) throw std::invalid_argument("permute names dim " + std::to_string(from) + " twice");
    to[from] = int(d);
  }
  StaticVector<CoordDigit, max_digits> labels = spelling_.coords;
  for (CoordDigit& c : labels) c.dim = uint8_t(to[c.dim]);
  return Layout(relabel(spelling_, rank(), labels));
}

// Writes the digits of dim 0 so that one begins at weight `cut`.  A run of digits that follow each other both on their
// axis and in the coordinate counts through a range: it can be cut wherever the cut divides it.  Digits below weight
// `floor` stay as they are.  False when the cut falls inside a digit otherwise.
static bool cut_at(Spelling& s, uint32_t cut, uint32_t floor) {
  constexpr size_t npos = ~size_t(0);
  std::array<size_t, max_digits>
      owner; // per coordinate digit: the only place digit that moves it, if that moves nothing else
  unsigned bits = 0, odds = 0;
  size_t at = npos; // the coordinate digit that contains the cut
  for (size_t i = 0; i < s.coords.size(); ++i) {
    const CoordDigit c = s.coords[i];
    const unsigned number = c.bit() ? bits++ : odds++;
    owner[i] = npos;
    unsigned users = 0;
    for (size_t d = 0; d < s.digits.size(); ++d) {
      const Digit& digit = s.digits[d];
      if (digit.bit() != c.bit() || !(c.bit() ? digit.image >> number & 1 : digit.image == number + 1)) continue;
      ++users;
      owner[i] = !c.bit() || std::has_single_bit(digit.image) ? d : npos;
    }
    if (users != 1) owner[i] = npos;
    if (c.weight == cut) return true;
    if (c.weight < cut && cut < c.weight * uint64_t(c.radix)) at = i;
  }
  if (at == npos || owner[at] == npos) return at == npos;
  const auto follows = [&](size_t lower) { // coordinate digit lower + 1 also follows on the axis
    if (owner[lower] == npos || owner[lower + 1] == npos) return false;
    const Digit &x = s.digits[owner[lower]], &y = s.digits[owner[lower + 1]];
    return x.axis == y.axis && y.stride == x.stride * x.radix;
  };
  size_t first = at, last = at;
  while (first > 0 && s.coords[first - 1].weight >= floor && follows(first - 1)) --first;
  while (last + 1 < s.coords.size() && follows(last)) ++last;
  uint64_t total = 1;
  for (size_t i = first; i <= last; ++i) total *= s.coords[i].radix;
  const uint32_t base = s.coords[first].weight;
  if (cut % base || total % (cut / base)) return false;
  const uint32_t low = cut / base, high = uint32_t(total / low);

  const Digit bottom = s.digits[owner[first]];
  const size_t first_digit = owner[first];
  unsigned first_bit = 0, first_odd = 0, old_odds = 0;
  for (size_t i = 0; i < first; ++i) (s.coords[i].bit() ? first_bit : first_odd)++;
  for (size_t i = first; i <= last; ++i) old_odds += !s.coords[i].bit();
  for (size_t i = first; i <= last; ++i) { // a run's digits are neighbours
    s.coords.erase(first);
    s.digits.erase(first_digit);
  }
  const unsigned new_odds = (factors(low).odd > 1) + (factors(high).odd > 1);
  for (Digit& d : s.digits)
    if (!d.bit() && d.image > first_odd + old_odds) d.image += new_odds - old_odds;
  uint32_t weight = base, stride = bottom.stride;
  unsigned bit = first_bit, odd = first_odd;
  size_t where_coord = first, where_digit = first_digit;
  const auto add = [&](uint32_t radix) {
    s.coords.insert(where_coord++, {0, uint16_t(radix), weight});
    s.digits.insert(where_digit++, {bottom.axis, uint16_t(radix), stride, radix == 2 ? uint64_t(1) << bit++ : ++odd});
    weight *= radix;
    stride *= radix;
  };
  for (uint32_t part : {low, high}) {
    for (unsigned b = 0; b < factors(part).bits; ++b) add(2);
    if (factors(part).odd > 1) add(factors(part).odd);
  }
  return true;
}

std::optional<Layout> Layout::reshape(std::span<const uint32_t> shape) const {
  if (shape.size() > max_rank)
    throw std::invalid_argument("a layout has at most " + std::to_string(max_rank) + " dims");
  uint64_t elements_of_shape = 1;
  for (uint32_t n : shape) elements_of_shape *= n;
  if (elements_of_shape != elements())
    throw std::invalid_argument("reshape to " + std::to_string(elements_of_shape) + " elements of a layout of " +
                                std::to_string(elements()) + ": " + str());
  // First one long dim, row-major.
  std::array<uint32_t, max_rank> pitch{};
  uint32_t below = 1;
  for (unsigned d = rank(); d-- > 0;) {
    pitch[d] = below;
    below *= size(int(d));
  }
  StaticVector<CoordDigit, max_digits> labels = spelling_.coords;
  for (CoordDigit& c : labels) c = {0, c.radix, c.weight * pitch[c.dim]};
  Spelling flat = relabel(spelling_, 1, labels);
  // Then cut it, from below.
  below = 1;
  for (size_t d = shape.size(); d-- > 1;) {
    const uint32_t floor = below;
    below *= shape[d];
    if (!cut_at(flat, below, floor)) return std::nullopt;
  }
  labels = flat.coords;
  for (CoordDigit& c : labels) {
    uint32_t weight = c.weight;
    size_t d = shape.size() - 1;
    while (weight >= shape[d]) { // digits lie inside one dim, and a weight is a multiple of the sizes below its dim
      if (weight % shape[d]) return std::nullopt;
      weight /= shape[d--];
    }
    c = {uint8_t(d), c.radix, weight};
  }
  return Layout(relabel(flat, unsigned(shape.size()), labels));
}

Layout Layout::sliced(int dim, bool keep) const {
  const unsigned gone = checked(*this, dim);
  Spelling s = spelling_;
  const uint64_t bits = s.bits_of(gone);
  for (Digit& d : s.digits) {
    if (d.bit())
      d.image &= ~bits;
    else if (d.image && s.odd(unsigned(d.image) - 1).dim == gone)
      d.image = 0;
  }
  for (size_t i = s.coords.size(); i-- > 0;)
    if (s.coords[i].dim == gone) s.erase_coordinate(i);
  if (!keep) {
    for (CoordDigit& c : s.coords) c.dim = uint8_t(c.dim - (c.dim > gone));
    --s.rank;
  }
  // Registers that now repeat an element of the thread go.
  Elimination registers;
  for (size_t i = 0; i < s.digits.size();) {
    const Digit& d = s.digits[i];
    if (d.axis == Axis::reg && (d.bit() ? !registers.add(d.image) : d.image == 0))
      s.digits.erase(i);
    else
      ++i;
  }
  s.close_gaps(Axis::reg);
  return Layout(s);
}
Layout Layout::slice(int dim) const { return sliced(dim, false); }
Layout Layout::slice_keep(int dim) const { return sliced(dim, true); }

Layout Layout::insert(int dim, uint32_t n, Axis axis) const {
  if (dim < 0 || unsigned(dim) > rank())
    throw std::out_of_range("a dim cannot be inserted at " + std::to_string(dim) + " of a layout of rank " +
                            std::to_string(rank()));
  Spelling s = spelling_;
  ++s.rank;
  for (CoordDigit& c : s.coords) c.dim = uint8_t(c.dim + (c.dim >= unsigned(dim)));
  s.append(unsigned(dim), n, axis);
  return Layout(s);
}

// --- reading ---------------------------------------------------------------------------------------------------------

uint32_t Layout::size(int dim) const { return spelling_.size(checked(*this, dim)); }

std::array<uint32_t, max_rank> Layout::shape() const {
  std::array<uint32_t, max_rank> shape;
  shape.fill(1);
  for (const CoordDigit& c : spelling_.coords) shape[c.dim] *= c.radix;
  return shape;
}

uint32_t Layout::elements() const {
  uint32_t n = 1;
  for (const CoordDigit& c : spelling_.coords) n *= c.radix;
  return n;
}

Place Layout::where(const Coord& coord) const { return Inverse(*this)(coord); }

bool Layout::injective() const {
  Elimination bits;
  for (const Digit& d : spelling_.digits)
    if (d.bit() ? !bits.add(d.image) : d.image == 0) return false;
  return true;
}

size_t Layout::hash() const {
  uint64_t h = 0x9e3779b97f4a7c15u ^ spelling_.rank;
  const auto mix = [&](uint64_t value) {
    h = (h ^ value) * 0xff51afd7ed558ccdu;
    h ^= h >> 32;
  };
  for (const Digit& d : spelling_.digits) {
    mix(uint64_t(d.axis) << 48 | uint64_t(d.radix) << 32 | d.stride);
    mix(d.image);
  }
  for (const CoordDigit& c : spelling_.coords) mix(uint64_t(c.dim) << 48 | uint64_t(c.radix) << 32 | c.weight);
  return size_t(h);
}

Inverse::Inverse(const Layout& layout) : spelling_(layout.spelling()) {
  Elimination images;
  StaticVector<uint8_t, max_digits> index; // of the place digit behind each vector; axes are in the order of preference
  for (size_t i = 0; i < spelling_.digits.size(); ++i) {
    const Digit& d = spelling_.digits[i];
    if (d.bit()) {
      images.add(d.image);
      index.push_back(uint8_t(i));
    } else if (d.image) {
      odd_[d.image - 1] = uint8_t(i);
    }
  }
  const unsigned bits = spelling_.bit_count();
  for (unsigned b = 0; b < bits; ++b) {
    bit_[b] = 0;
    for (uint64_t left = *images.solve(uint64_t(1) << b); left; left &= left - 1)
      bit_[b] |= uint64_t(1) << index[size_t(std::countr_zero(left))];
  }
}

Place Inverse::operator()(const Coord& coord) const {
  uint64_t digits = 0;
  Place place;
  unsigned bits = 0, odds = 0;
  for (const CoordDigit& c : spelling_.coords) {
    const uint32_t value = coord[c.dim] / c.weight % c.radix;
    if (c.bit()) {
      if (value) digits ^= bit_[bits];
      ++bits;
    } else {
      const Digit& d = spelling_.digits[odd_[odds++]];
      place[d.axis] += value * d.stride;
    }
  }
  for (; digits; digits &= digits - 1) {
    const Digit& d = spelling_.digits[size_t(std::countr_zero(digits))];
    place[d.axis] += d.stride;
  }
  return place;
}

} // namespace tilejit::layout
