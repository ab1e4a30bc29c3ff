// exact.h - binary floating point by the definition: an exact value, then one rounding.
//
// For conformance references only: slow, plain, and with nothing of the simulator in it. A Number is a sign, a 128-bit
// integer and a power of two; `sticky` says that the true magnitude lies strictly between that integer and the next
// one, which happens only when more bits lie above than any format keeps.
#pragma once
#include <cstdint>

namespace tilejit::conformance {

enum class Rounding { rn, rz, rm, rp, rna };

struct Number {
  enum class Kind { zero, finite, infinite, nan } kind = Kind::zero;
  bool negative = false;
  unsigned __int128 integer = 0;
  int exponent = 0; ///< value = integer * 2^exponent
  bool sticky = false;

  bool is(Kind k) const { return kind == k; }
};

/// A format of IEEE 754's kind. `precision` counts the hidden bit.
struct Format {
  int bits, exponent_bits, precision;
  bool has_infinity = true; ///< false: the highest exponent holds numbers too, and only all ones is NaN (e4m3)
  int dropped = 0;          ///< low bits of the container that are always zero (tf32 in 32 bits)
  uint64_t canonical_nan = 0;
  bool has_nan = true;
};
inline constexpr Format f16{16, 5, 11, true, 0, 0x7fff};
inline constexpr Format bf16{16, 8, 8, true, 0, 0x7fff};
inline constexpr Format f32{32, 8, 24, true, 0, 0x7fffffff};
inline constexpr Format f64{64, 11, 53, true, 0, 0x7fffffffffffffff};
inline constexpr Format tf32{32, 8, 11, true, 13, 0x7fffe000};
inline constexpr Format e5m2{8, 5, 3, true, 0, 0x7f};
inline constexpr Format e4m3{8, 4, 4, false, 0, 0x7f};

Number decode(const Format& format, uint64_t bits);
/// The value rounded to the format; the canonical NaN. Overflow goes to infinity or the greatest number as the rounding
/// says; `finite`: always to the greatest number (satfinite).
uint64_t encode(const Format& format, const Number& value, Rounding rounding = Rounding::rn, bool finite = false);
bool is_nan(const Format& format, uint64_t bits);
bool is_subnormal(const Format& format, uint64_t bits);
/// Subnormal: zero of the same sign.
uint64_t flush(const Format& format, uint64_t bits);

Number from_integer(bool negative, uint64_t magnitude);
double to_double(const Number& value);

Number negate(Number value);
/// An exact zero sum of unlike signs is +0, and -0 when rounding down.
Number add(const Number& a, const Number& b, Rounding rounding = Rounding::rn);
Number multiply(const Number& a, const Number& b);
Number fma(const Number& a, const Number& b, const Number& c, Rounding rounding = Rounding::rn);
Number divide(const Number& a, const Number& b);
Number square_root(const Number& a);
/// -1, 0, 1; neither may be NaN.
int compare(const Number& a, const Number& b);
/// To an integer value; NaN and infinities stay.
Number round_to_integer(const Number& value, Rounding rounding);

} // namespace tilejit::conformance
