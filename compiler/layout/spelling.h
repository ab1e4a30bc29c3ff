// spelling.h - the digits of a layout, written in one of the ways in which they can be written.
//
// A layout is a function; a spelling is how one writes it.  `reg j1*15` and `reg j1*3 j3*5` are the same function, and
// so are `reg j1*3 j3` and `reg j1 j2*3`.  Class Layout always holds the canonical spelling, so that equal functions
// have equal fields.  Questions about two layouts need the opposite: spellings refined until both write a coordinate
// with the same digits.  This header is the shared workshop of the files in this folder; users of layouts need layout.h
// only.
#pragma once
#include "compiler/layout/static_vector.h"

#include <array>
#include <bit>
#include <compare>
#include <cstdint>
#include <string>

namespace tilejit::layout {

/// The axes of places.  `reg` counts elements of one thread (two bf16 elements share a 32-bit register), `cta` the
/// blocks of a cluster, `offset` the elements of a shared-memory tile.
enum class Axis : uint8_t { reg, lane, warp, cta, offset };
const char* name(Axis axis);

inline constexpr unsigned max_rank = 5;    ///< dims are written i, j, k, l, m
inline constexpr unsigned max_digits = 48; ///< far more than a tile of 2^32 elements needs

/// One digit of a place: a place on an axis is the sum of digit value * stride.
/// Radix 2: `image` is the set of coordinate bits that this bit flips, numbered as CoordDigit says; 0 = a copy.
/// Odd radix: `image` is 1 + the number of the odd coordinate digit that it equals; 0 = a copy.
struct Digit {
  Axis axis;
  uint16_t radix;
  uint32_t stride;
  uint64_t image;
  bool bit() const { return radix == 2; }
  bool operator==(const Digit&) const = default;
};

/// One digit of a coordinate: a coordinate along `dim` is the sum of digit value * weight.  The radix-2 digits of all
/// dims, in the order of (dim, weight), are the coordinate bits 0, 1, 2 ... of an image; the odd ones are numbered in
/// the same way, apart.
struct CoordDigit {
  uint8_t dim;
  uint16_t radix;
  uint32_t weight;
  bool bit() const { return radix == 2; }
  bool operator==(const CoordDigit&) const = default;
};

using Coord = std::array<uint32_t, max_rank>;

struct Place {
  uint32_t reg = 0, lane = 0, warp = 0, cta = 0, offset = 0;
  uint32_t& operator[](Axis axis) { return (&reg)[unsigned(axis)]; }
  uint32_t operator[](Axis axis) const { return const_cast<Place&>(*this)[axis]; }
  bool operator==(const Place&) const = default;
};

struct Spelling {
  unsigned rank = 0;
  StaticVector<Digit, max_digits> digits;      ///< by axis, then stride
  StaticVector<CoordDigit, max_digits> coords; ///< by dim, then weight

  bool operator==(const Spelling&) const = default;

  // --- reading ---
  uint32_t size(unsigned dim) const;     ///< product of the radices of dim
  uint32_t count(Axis axis) const;       ///< product of the radices on the axis
  uint32_t extent(Axis axis) const;      ///< 1 + the largest value; more than count() when there is padding
  unsigned bit_count() const;            ///< coordinate bits
  unsigned odd_count() const;            ///< odd coordinate digits
  uint64_t bits_of(unsigned dim) const;  ///< the coordinate bits of dim, as an image
  CoordDigit bit(unsigned number) const; ///< coordinate bit of that number
  CoordDigit odd(unsigned number) const; ///< odd coordinate digit of that number
  bool in_dim(const Digit& digit, unsigned dim) const; ///< does the digit's image touch dim?
  const Digit* find(Axis axis, uint32_t stride) const;
  const Digit* odd_owner(unsigned number) const; ///< the place digit that equals odd coordinate digit `number`
  Coord at(const Place& place) const;
  std::string text(bool with_shape = true) const;

  // --- building ---
  /// A new top digit of dim; returns its number (bit number, or odd number).  Radix is 2 or odd.
  unsigned add_coordinate(unsigned dim, uint32_t radix);
  /// Adds a digit above everything on its axis.
  void add_digit(Axis axis, uint32_t radix, uint64_t image);
  /// n elements more along dim: its bits, then its odd part, become the highest digits of dim and of the axis.
  void append(unsigned dim, uint32_t n, Axis axis);
  void append_copies(uint32_t n, Axis axis);
  /// Writes odd coordinate digit `number` as two: the lower of radix `low`.
  void split_odd(unsigned number, uint32_t low);
  /// Writes an odd copy digit (by index) as two.
  void split_copy(size_t index, uint32_t low);
  void erase_coordinate(size_t index); ///< of a dim that no image names any more; images are renumbered
  /// Gives the digits of the axis, in order, dense strides.
  void close_gaps(Axis axis);

  void canonicalize();
  /// Throws std::invalid_argument when an invariant does not hold (layout.h lists them).
  void validate() const;

private:
  bool merge_step();
};

/// Refines two spellings of one shape to the same coordinate digits.  False when a boundary of one cuts a digit of the
/// other unevenly.
bool refine(Spelling& a, Spelling& b);
/// Does the same for the digits of warp and cta.  False when they do not have a common refinement.
bool refine_threads(Spelling& a, Spelling& b);

/// n = 2^bits * odd.
struct Factors {
  unsigned bits;
  uint32_t odd;
};
inline Factors factors(uint32_t n) { return {unsigned(std::countr_zero(n)), n >> std::countr_zero(n)}; }

} // namespace tilejit::layout
