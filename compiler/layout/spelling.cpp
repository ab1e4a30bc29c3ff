#include "compiler/layout/spelling.h"

#include "compiler/layout/f2.h"

#include <limits>
#include <stdexcept>

namespace tilejit::layout {

static constexpr Axis axes[] = {Axis::reg, Axis::lane, Axis::warp, Axis::cta, Axis::offset};
static constexpr char dim_names[] = "ijklm";

const char* name(Axis axis) {
  static constexpr const char* names[] = {"reg", "lane", "warp", "cta", "offset"};
  return names[unsigned(axis)];
}

// --- reading ---------------------------------------------------------------------------------------------------------

uint32_t Spelling::size(unsigned dim) const {
  uint32_t n = 1;
  for (const CoordDigit& c : coords)
    if (c.dim == dim) n *= c.radix;
  return n;
}

uint32_t Spelling::count(Axis axis) const {
  uint32_t n = 1;
  for (const Digit& d : digits)
    if (d.axis == axis) n *= d.radix;
  return n;
}

uint32_t Spelling::extent(Axis axis) const {
  uint32_t last = 0;
  for (const Digit& d : digits)
    if (d.axis == axis) last += (d.radix - 1) * d.stride;
  return last + 1;
}

unsigned Spelling::bit_count() const {
  return unsigned(std::count_if(coords.begin(), coords.end(), [](const CoordDigit& c) { return c.bit(); }));
}
unsigned Spelling::odd_count() const { return unsigned(coords.size()) - bit_count(); }

uint64_t Spelling::bits_of(unsigned dim) const {
  uint64_t mask = 0, next = 1;
  for (const CoordDigit& c : coords) {
    if (!c.bit()) continue;
    if (c.dim == dim) mask |= next;
    next <<= 1;
  }
  return mask;
}

static size_t index_of(const Spelling& s, unsigned number, bool bit) {
  for (size_t i = 0; i < s.coords.size(); ++i)
    if (s.coords[i].bit() == bit && number-- == 0) return i;
  throw std::out_of_range("a layout has no such coordinate digit");
}
CoordDigit Spelling::bit(unsigned number) const { return coords[index_of(*this, number, true)]; }
CoordDigit Spelling::odd(unsigned number) const { return coords[index_of(*this, number, false)]; }

bool Spelling::in_dim(const Digit& digit, unsigned dim) const {
  if (!digit.image) return false;
  return digit.bit() ? (digit.image & bits_of(dim)) != 0 : odd(unsigned(digit.image) - 1).dim == dim;
}

const Digit* Spelling::find(Axis axis, uint32_t stride) const {
  for (const Digit& d : digits)
    if (d.axis == axis && d.stride == stride) return &d;
  return nullptr;
}

const Digit* Spelling::odd_owner(unsigned number) const {
  for (const Digit& d : digits)
    if (!d.bit() && d.image == number + 1) return &d;
  return nullptr;
}

Coord Spelling::at(const Place& place) const {
  uint64_t bits = 0;
  std::array<uint32_t, max_digits> odds{};
  Place left = place;
  for (size_t i = digits.size(); i-- > 0;) { // greedy from the top: strides exceed all that is below them
    const Digit& d = digits[i];
    const uint32_t value = std::min(left[d.axis] / d.stride, uint32_t(d.radix) - 1);
    left[d.axis] -= value * d.stride;
    if (!value || !d.image) continue;
    if (d.bit())
      bits ^= d.image;
    else
      odds[d.image - 1] = value;
  }
  Coord coord{};
  unsigned next_odd = 0;
  for (const CoordDigit& c : coords) {
    if (c.bit()) {
      if (bits & 1) coord[c.dim] += c.weight;
      bits >>= 1;
    } else {
      coord[c.dim] += odds[next_odd++] * c.weight;
    }
  }
  return coord;
}

std::string Spelling::text(bool with_shape) const {
  std::string out;
  if (with_shape)
    for (unsigned d = 0; d < rank; ++d) out += std::string(d ? " " : "") + dim_names[d] + ":" + std::to_string(size(d));
  for (Axis axis : axes) {
    uint32_t dense = 1;
    for (const Digit& d : digits) {
      if (d.axis != axis) continue;
      if (dense == 1) out += (out.empty() ? "" : " | ") + std::string(name(axis));
      out += ' ';
      if (!d.image) {
        out += d.bit() ? "~" : "~" + std::to_string(d.radix);
      } else if (!d.bit()) {
        const CoordDigit c = odd(unsigned(d.image) - 1);
        out += dim_names[c.dim] + std::to_string(c.weight) + "*" + std::to_string(c.radix);
      } else {
        std::string token; // largest weight of a dim first, dims in order: i8^i2^j1
        for (unsigned dim = 0; dim < rank; ++dim)
          for (uint64_t left = d.image & bits_of(dim); left;) {
            const unsigned top = 63 - unsigned(std::countl_zero(left));
            token += (token.empty() ? "" : "^") + (dim_names[dim] + std::to_string(bit(top).weight));
            left ^= uint64_t(1) << top;
          }
        out += token;
      }
      if (d.stride != dense) out += "@" + std::to_string(d.stride);
      dense = d.stride * d.radix;
    }
  }
  return out;
}

// --- building --------------------------------------------------------------------------------------------------------

unsigned Spelling::add_coordinate(unsigned dim, uint32_t radix) {
  if (radix > std::numeric_limits<uint16_t>::max())
    throw std::invalid_argument("a layout's odd factor is at most 65535, not " + std::to_string(radix));
  const uint32_t weight = size(dim);
  size_t at = 0;
  unsigned bits = 0, odds = 0;
  while (at < coords.size() && coords[at].dim <= dim) (coords[at++].bit() ? bits : odds)++;
  coords.insert(at, {uint8_t(dim), uint16_t(radix), weight});
  const uint64_t below = (uint64_t(1) << bits) - 1;
  for (Digit& d : digits) {
    if (radix == 2 && d.bit())
      d.image = (d.image & below) | ((d.image & ~below) << 1);
    else if (radix != 2 && !d.bit() && d.image > odds)
      ++d.image;
  }
  return radix == 2 ? bits : odds;
}

void Spelling::add_digit(Axis axis, uint32_t radix, uint64_t image) {
  const uint32_t stride = extent(axis);
  size_t at = 0;
  while (at < digits.size() && digits[at].axis <= axis) ++at;
  digits.insert(at, {axis, uint16_t(radix), stride, image});
}

void Spelling::append(unsigned dim, uint32_t n, Axis axis) {
  if (n == 0) throw std::invalid_argument("a layout cannot be repeated 0 times: " + text());
  const Factors f = factors(n);
  for (unsigned b = 0; b < f.bits; ++b) {
    const unsigned number = add_coordinate(dim, 2);
    add_digit(axis, 2, uint64_t(1) << number);
  }
  if (f.odd > 1) {
    const unsigned number = add_coordinate(dim, f.odd);
    add_digit(axis, f.odd, number + 1);
  }
}

void Spelling::append_copies(uint32_t n, Axis axis) {
  if (n == 0) throw std::invalid_argument("a layout cannot be replicated 0 times: " + text());
  const Factors f = factors(n);
  if (f.odd > std::numeric_limits<uint16_t>::max())
    throw std::invalid_argument("a layout's odd factor is at most 65535, not " + std::to_string(f.odd));
  for (unsigned b = 0; b < f.bits; ++b) add_digit(axis, 2, 0);
  if (f.odd > 1) add_digit(axis, f.odd, 0);
}

void Spelling::split_odd(unsigned number, uint32_t low) {
  const size_t c = index_of(*this, number, false);
  const CoordDigit whole = coords[c];
  const uint16_t high = uint16_t(whole.radix / low);
  coords[c].radix = uint16_t(low);
  coords.insert(c + 1, {whole.dim, high, whole.weight * low});
  size_t owner = digits.size();
  for (size_t i = 0; i < digits.size(); ++i) {
    Digit& d = digits[i];
    if (d.bit()) continue;
    if (d.image == number + 1) owner = i;
    if (d.image > number + 1) ++d.image;
  }
  if (owner == digits.size()) return;
  Digit upper = digits[owner];
  digits[owner].radix = uint16_t(low);
  upper.radix = high;
  upper.stride *= low;
  upper.image += 1;
  digits.insert(owner + 1, upper);
}

void Spelling::split_copy(size_t index, uint32_t low) {
  Digit upper = digits[index];
  digits[index].radix = uint16_t(low);
  upper.radix = uint16_t(upper.radix / low);
  upper.stride *= low;
  digits.insert(index + 1, upper);
}

void Spelling::erase_coordinate(size_t index) {
  unsigned bits = 0, odds = 0;
  for (size_t i = 0; i < index; ++i) (coords[i].bit() ? bits : odds)++;
  const bool bit = coords[index].bit();
  const uint64_t below = (uint64_t(1) << bits) - 1;
  for (Digit& d : digits) {
    if (bit && d.bit())
      d.image = (d.image & below) | ((d.image >> 1) & ~below);
    else if (!bit && !d.bit() && d.image > odds)
      --d.image;
  }
  coords.erase(index);
}

void Spelling::close_gaps(Axis axis) {
  uint32_t stride = 1;
  for (Digit& d : digits) {
    if (d.axis != axis) continue;
    d.stride = stride;
    stride *= d.radix;
  }
}

// --- canonical form --------------------------------------------------------------------------------------------------

// An odd digit directly below another digit of the same axis is merged with an odd one and moved above a bit, where the
// coordinate's digits are neighbours in the same way.  Bits keep their order and so their numbers.
bool Spelling::merge_step() {
  for (size_t i = 0; i + 1 < digits.size(); ++i) {
    Digit &x = digits[i], &y = digits[i + 1];
    if (x.bit() || x.axis != y.axis || y.stride != x.stride * x.radix) continue;
    if ((x.image == 0) != (y.image == 0)) continue;
    if (x.image == 0) { // copies
      if (y.bit()) {
        y.radix = x.radix;
        y.stride = x.stride * 2;
        x.radix = 2;
      } else {
        x.radix = uint16_t(x.radix * y.radix);
        digits.erase(i + 1);
      }
      return true;
    }
    if (y.bit() && std::popcount(y.image) != 1) continue;
    const size_t cx = index_of(*this, unsigned(x.image) - 1, false);
    const size_t cy = index_of(*this, y.bit() ? unsigned(std::countr_zero(y.image)) : unsigned(y.image) - 1, y.bit());
    if (cy != cx + 1 || coords[cy].dim != coords[cx].dim) continue;
    if (y.bit()) {
      unsigned users = 0;
      for (const Digit& d : digits) users += d.bit() && (d.image & y.image);
      if (users != 1) continue;
      const uint64_t bit = y.image;
      y = {x.axis, x.radix, x.stride * 2, x.image};
      x = {x.axis, 2, x.stride, bit};
      coords[cy].radix = coords[cx].radix;
      coords[cy].weight = coords[cx].weight * 2;
      coords[cx].radix = 2;
    } else {
      if (uint32_t(x.radix) * y.radix > std::numeric_limits<uint16_t>::max()) continue;
      x.radix = coords[cx].radix = uint16_t(x.radix * y.radix);
      digits.erase(i + 1);
      erase_coordinate(cy);
    }
    return true;
  }
  return false;
}

void Spelling::canonicalize() {
  while (merge_step()) {
  }
}

// --- invariants ------------------------------------------------------------------------------------------------------

void Spelling::validate() const {
  const auto refuse = [&](const std::string& why) {
    throw std::invalid_argument("not a layout: " + why + ": " + text());
  };
  if (rank > max_rank)
    refuse("rank " + std::to_string(rank) + ", at most " + std::to_string(max_rank) + " dims are possible");
  std::array<uint64_t, max_rank> sizes;
  sizes.fill(1);
  for (const CoordDigit& c : coords) {
    if (c.dim >= rank) refuse("a coordinate digit names a dim beyond the rank");
    if (c.radix < 2 || (c.radix % 2 == 0 && c.radix != 2)) refuse("the radix of a digit is 2 or odd");
    if (c.weight != sizes[c.dim])
      refuse(std::string("dim ") + dim_names[c.dim] + " has no digit of weight " + std::to_string(sizes[c.dim]));
    sizes[c.dim] *= c.radix;
    if (sizes[c.dim] >> 32) refuse("a dim has 2^32 elements or more");
  }
  Elimination all, registers, offsets;
  uint64_t odds_hit = 0;
  unsigned lanes = 0;
  bool threads = false, memory = false;
  Axis axis = Axis::reg;
  uint64_t dense = 1, top = 0;
  for (const Digit& d : digits) {
    if (d.axis != axis) {
      axis = d.axis;
      dense = 1;
      top = 0;
    }
    if (d.radix < 2 || (d.radix % 2 == 0 && d.radix != 2)) refuse("the radix of a digit is 2 or odd");
    (axis == Axis::offset ? memory : threads) = true;
    if (axis == Axis::offset ? d.stride <= top : d.stride != dense)
      refuse(std::string("on ") + name(axis) + " stride " + std::to_string(d.stride) +
             (axis == Axis::offset ? " does not exceed what lies below it" : " leaves a gap, which only offset may"));
    dense *= d.radix;
    top += uint64_t(d.radix - 1) * d.stride;
    if (top >> 32) refuse(std::string(name(axis)) + " has 2^32 places or more");
    if (d.bit()) {
      all.add(d.image);
      if (axis == Axis::reg && !registers.add(d.image)) refuse("a thread would hold an element in two registers");
      if (axis == Axis::offset && !offsets.add(d.image)) refuse("an element would lie at two offsets");
      if (axis == Axis::lane) ++lanes;
    } else {
      if (axis == Axis::lane) refuse("a warp has 32 lanes: no odd digit can lie on them");
      if (d.image == 0) {
        if (axis == Axis::reg) refuse("a thread would hold an element in " + std::to_string(d.radix) + " registers");
        if (axis == Axis::offset) refuse("an element would lie at " + std::to_string(d.radix) + " offsets");
        continue;
      }
      const uint64_t bit = uint64_t(1) << (d.image - 1);
      if (odds_hit & bit) refuse("two digits claim the same odd coordinate digit");
      odds_hit |= bit;
      if (odd(unsigned(d.image) - 1).radix != d.radix)
        refuse("an odd digit and its coordinate digit have different radices");
    }
  }
  if (all.rank() != bit_count() || unsigned(std::popcount(odds_hit)) != odd_count())
    refuse("some elements are at no place");
  if (lanes != 0 && lanes != 5) refuse("a warp has 32 lanes, five bits, not " + std::to_string(lanes));
  if (threads && memory) refuse("a tile lies in threads or in shared memory, not in both");
}

// --- refinement ------------------------------------------------------------------------------------------------------

bool refine(Spelling& a, Spelling& b) {
  size_t i = 0;
  unsigned odds = 0;
  while (i < a.coords.size() && i < b.coords.size()) {
    const CoordDigit x = a.coords[i], y = b.coords[i];
    if (x == y) {
      odds += !x.bit();
      ++i;
      continue;
    }
    if (x.dim != y.dim || x.bit() || y.bit()) return false;
    if (x.radix % y.radix == 0)
      a.split_odd(odds, y.radix);
    else if (y.radix % x.radix == 0)
      b.split_odd(odds, x.radix);
    else
      return false;
  }
  return i == a.coords.size() && i == b.coords.size();
}

// Writes digit i of `s` with a low part of radix `low`.
static void split_place(Spelling& s, size_t i, uint32_t low) {
  if (s.digits[i].image == 0)
    s.split_copy(i, low);
  else
    s.split_odd(unsigned(s.digits[i].image) - 1, low);
}

bool refine_threads(Spelling& a, Spelling& b) {
  size_t i = 0, j = 0;
  const auto relevant = [](const Spelling& s, size_t n) {
    return s.digits[n].axis == Axis::warp || s.digits[n].axis == Axis::cta;
  };
  while (true) {
    while (i < a.digits.size() && !relevant(a, i)) ++i;
    while (j < b.digits.size() && !relevant(b, j)) ++j;
    if (i == a.digits.size() || j == b.digits.size()) return i == a.digits.size() && j == b.digits.size();
    const Digit x = a.digits[i], y = b.digits[j];
    if (x.axis != y.axis || x.stride != y.stride) return false;
    if (x.radix == y.radix) {
      ++i, ++j;
      continue;
    }
    if (x.bit() || y.bit()) return false;
    if (x.radix % y.radix == 0)
      split_place(a, i, y.radix);
    else if (y.radix % x.radix == 0)
      split_place(b, j, x.radix);
    else
      return false;
    if (!refine(a, b)) return false;
    i = j = 0;
  }
}

} // namespace tilejit::layout
