// exact.cpp - see exact.h.
#include "tests/runtime/simulator/conformance/exact.h"

#include <cmath>

namespace tilejit::conformance {
namespace {

using Wide = unsigned __int128;
using Kind = Number::Kind;

int length(Wide value) {
  int n = 0;
  for (; value; value >>= 1) ++n;
  return n;
}

Number nan() { return {.kind = Kind::nan}; }
Number infinity(bool negative) { return {.kind = Kind::infinite, .negative = negative}; }
Number zero(bool negative) { return {.kind = Kind::zero, .negative = negative}; }

/// The integer shifted so that it has `bits` bits.
Number with_length(Number a, int bits) {
  int shift = bits - length(a.integer);
  if (shift >= 0) {
    a.integer <<= shift;
  } else {
    a.sticky = a.sticky || (a.integer & ((Wide{1} << -shift) - 1)) != 0;
    a.integer >>= -shift;
  }
  a.exponent -= shift;
  return a;
}

int bias(const Format& f) { return (1 << (f.exponent_bits - 1)) - 1; }
int fraction_bits(const Format& f) { return f.precision - 1; }

/// Whether a magnitude q + rest/2^k rounds away from zero. `half`: rest against one half: -1 below, 0 equal, 1 above.
bool rounds_up(Rounding rounding, bool negative, bool odd, bool inexact, int half) {
  switch (rounding) {
  case Rounding::rn: return half > 0 || (half == 0 && odd);
  case Rounding::rna: return half >= 0 && inexact;
  case Rounding::rz: return false;
  case Rounding::rm: return inexact && negative;
  case Rounding::rp: return inexact && !negative;
  }
  return false;
}

/// integer >> shift, rounded.
Wide shift_rounded(const Number& a, int shift, Rounding rounding) {
  if (shift <= 0) return a.integer << -shift;
  Wide q = shift > 127 ? 0 : a.integer >> shift;
  Wide rest = shift > 127 ? a.integer : a.integer & ((Wide{1} << shift) - 1);
  int half = -1;
  if (shift <= 128) {
    Wide middle = Wide{1} << (shift - 1);
    half = rest > middle || (rest == middle && a.sticky) ? 1 : rest == middle ? 0 : -1;
  }
  bool inexact = rest != 0 || a.sticky;
  return q + (rounds_up(rounding, a.negative, q & 1, inexact, half) ? 1 : 0);
}

} // namespace

Number decode(const Format& f, uint64_t bits) {
  bool negative = bits >> (f.bits - 1) & 1;
  uint64_t field = (bits >> (f.dropped + fraction_bits(f))) & ((uint64_t{1} << f.exponent_bits) - 1);
  uint64_t fraction = (bits >> f.dropped) & ((uint64_t{1} << fraction_bits(f)) - 1);
  uint64_t highest = (uint64_t{1} << f.exponent_bits) - 1;
  if (is_nan(f, bits)) return nan();
  if (f.has_infinity && field == highest) return infinity(negative);
  if (field == 0 && fraction == 0) return zero(negative);
  Number n{.kind = Kind::finite, .negative = negative};
  n.integer = field == 0 ? fraction : fraction | uint64_t{1} << fraction_bits(f);
  n.exponent = (field == 0 ? 1 : static_cast<int>(field)) - bias(f) - fraction_bits(f);
  return n;
}

bool is_nan(const Format& f, uint64_t bits) {
  if (!f.has_nan) return false;
  uint64_t magnitude = (bits & ((f.bits == 64 ? ~uint64_t{0} >> 1 : (uint64_t{1} << (f.bits - 1)) - 1))) >> f.dropped;
  uint64_t infinite = ((uint64_t{1} << f.exponent_bits) - 1) << fraction_bits(f);
  if (f.has_infinity) return magnitude > infinite;
  return magnitude == (infinite | ((uint64_t{1} << fraction_bits(f)) - 1));
}

bool is_subnormal(const Format& f, uint64_t bits) {
  uint64_t field = (bits >> (f.dropped + fraction_bits(f))) & ((uint64_t{1} << f.exponent_bits) - 1);
  return field == 0 && ((bits >> f.dropped) & ((uint64_t{1} << fraction_bits(f)) - 1)) != 0;
}

uint64_t flush(const Format& f, uint64_t bits) {
  return is_subnormal(f, bits) ? bits & (uint64_t{1} << (f.bits - 1)) : bits;
}

uint64_t encode(const Format& f, const Number& value, Rounding rounding, bool finite) {
  uint64_t sign = uint64_t{value.negative} << (f.bits - 1);
  uint64_t infinite = ((uint64_t{1} << f.exponent_bits) - 1) << fraction_bits(f);
  uint64_t greatest =
      f.has_infinity ? infinite - 1 : (infinite | ((uint64_t{1} << fraction_bits(f)) - 1)) - (f.has_nan ? 1 : 0);
  auto pack = [&](uint64_t magnitude) { return sign | magnitude << f.dropped; };
  if (value.is(Kind::nan)) return f.canonical_nan;
  if (value.is(Kind::zero)) return sign;
  auto overflow = [&] {
    bool up = rounding == Rounding::rn || rounding == Rounding::rna || (rounding == Rounding::rp && !value.negative) ||
              (rounding == Rounding::rm && value.negative);
    if (finite || !f.has_infinity) return finite || !up ? pack(greatest) : f.canonical_nan;
    return pack(up ? infinite : greatest);
  };
  if (value.is(Kind::infinite)) return finite ? pack(greatest) : f.has_infinity ? pack(infinite) : f.canonical_nan;
  int lowest = 1 - bias(f) - fraction_bits(f); // exponent of the last place of subnormals
  int place = std::max(length(value.integer) - 1 + value.exponent - fraction_bits(f), lowest);
  Wide q = shift_rounded(value, place - value.exponent, rounding);
  if (length(q) > f.precision) q >>= 1, ++place; // a carry: the dropped bit is zero
  if (q == 0) return sign;
  uint64_t magnitude = static_cast<uint64_t>(q);
  if (magnitude >> fraction_bits(f)) {
    int64_t field = place - lowest + 1;
    if (field > (int64_t{1} << f.exponent_bits)) return overflow();
    magnitude =
        (static_cast<uint64_t>(field) << fraction_bits(f)) | (magnitude & ((uint64_t{1} << fraction_bits(f)) - 1));
  }
  return magnitude > greatest ? overflow() : pack(magnitude);
}

Number from_integer(bool negative, uint64_t magnitude) {
  if (magnitude == 0) return zero(false);
  return {.kind = Kind::finite, .negative = negative, .integer = magnitude};
}

double to_double(const Number& v) {
  if (v.is(Kind::nan)) return std::nan("");
  double magnitude = v.is(Kind::infinite) ? INFINITY
                     : v.is(Kind::zero)   ? 0.0
                                          : std::ldexp(static_cast<double>(v.integer), v.exponent);
  return v.negative ? -magnitude : magnitude;
}

Number negate(Number v) {
  v.negative = !v.negative;
  return v;
}

Number add(const Number& a, const Number& b, Rounding rounding) {
  if (a.is(Kind::nan) || b.is(Kind::nan)) return nan();
  if (a.is(Kind::infinite)) return b.is(Kind::infinite) && a.negative != b.negative ? nan() : a;
  if (b.is(Kind::infinite)) return b;
  if (a.is(Kind::zero) && b.is(Kind::zero))
    return zero(a.negative == b.negative ? a.negative : rounding == Rounding::rm);
  if (a.is(Kind::zero)) return b;
  if (b.is(Kind::zero)) return a;
  // The greater one gets 120 bits: enough for a product of doubles, and room for a carry. What the other loses then
  // lies far below the last bit of any format.
  Number x = with_length(a, 120), y = with_length(b, 120);
  if (x.exponent < y.exponent || (x.exponent == y.exponent && x.integer < y.integer)) std::swap(x, y);
  int shift = x.exponent - y.exponent;
  bool lost = shift > 127 || (y.integer & ((Wide{1} << shift) - 1)) != 0;
  y.integer = shift > 127 ? 0 : y.integer >> shift;
  Number sum{.kind = Kind::finite, .negative = x.negative, .integer = 0, .exponent = x.exponent, .sticky = lost};
  if (x.negative == y.negative)
    sum.integer = x.integer + y.integer;
  else
    sum.integer = x.integer - y.integer - (lost ? 1 : 0);
  if (sum.integer == 0 && !lost) return zero(rounding == Rounding::rm);
  return sum;
}

Number multiply(const Number& a, const Number& b) {
  bool negative = a.negative != b.negative;
  if (a.is(Kind::nan) || b.is(Kind::nan)) return nan();
  if (a.is(Kind::infinite) || b.is(Kind::infinite))
    return a.is(Kind::zero) || b.is(Kind::zero) ? nan() : infinity(negative);
  if (a.is(Kind::zero) || b.is(Kind::zero)) return zero(negative);
  return {.kind = Kind::finite,
          .negative = negative,
          .integer = a.integer * b.integer,
          .exponent = a.exponent + b.exponent};
}

Number fma(const Number& a, const Number& b, const Number& c, Rounding rounding) {
  return add(multiply(a, b), c, rounding);
}

Number divide(const Number& a, const Number& b) {
  bool negative = a.negative != b.negative;
  if (a.is(Kind::nan) || b.is(Kind::nan)) return nan();
  if (a.is(Kind::infinite)) return b.is(Kind::infinite) ? nan() : infinity(negative);
  if (b.is(Kind::infinite)) return zero(negative);
  if (b.is(Kind::zero)) return a.is(Kind::zero) ? nan() : infinity(negative);
  if (a.is(Kind::zero)) return zero(negative);
  Number x = with_length(a, 127), y = with_length(b, 53);
  return {.kind = Kind::finite,
          .negative = negative,
          .integer = x.integer / y.integer,
          .exponent = x.exponent - y.exponent,
          .sticky = x.integer % y.integer != 0};
}

Number square_root(const Number& a) {
  if (a.is(Kind::nan) || a.is(Kind::zero)) return a;
  if (a.negative) return nan();
  if (a.is(Kind::infinite)) return a;
  Number x = with_length(a, 126);
  if (x.exponent % 2 != 0) x = with_length(a, 125);
  Wide root = 0;
  for (int bit = 63; bit >= 0; --bit) {
    Wide trial = root | Wide{1} << bit;
    if (trial * trial <= x.integer) root = trial;
  }
  return {.kind = Kind::finite,
          .negative = false,
          .integer = root,
          .exponent = x.exponent / 2,
          .sticky = root * root != x.integer};
}

int compare(const Number& a, const Number& b) {
  if (a.is(Kind::zero) && b.is(Kind::zero)) return 0;
  if (a.is(Kind::infinite) && b.is(Kind::infinite) && a.negative == b.negative) return 0;
  Number difference = add(a, negate(b));
  return difference.is(Kind::zero) ? 0 : difference.negative ? -1 : 1;
}

Number round_to_integer(const Number& v, Rounding rounding) {
  if (!v.is(Kind::finite) || v.exponent >= 0) return v;
  Number result{.kind = Kind::finite, .negative = v.negative, .integer = shift_rounded(v, -v.exponent, rounding)};
  if (result.integer == 0) result.kind = Kind::zero;
  return result;
}

} // namespace tilejit::conformance
