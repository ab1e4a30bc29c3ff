// reference_convert.cpp - cvt in its forms. PTX ISA 9.7.9 "Data Movement and Conversion Instructions: cvt".
#include "tests/runtime/simulator/conformance/exact.h"
#include "tests/runtime/simulator/conformance/reference.h"

#include <optional>

namespace tilejit::conformance {
namespace {

using Kind = Number::Kind;

std::optional<Format> format_of(const std::string& type) {
  if (type == "f16") return f16;
  if (type == "bf16") return bf16;
  if (type == "f32") return f32;
  if (type == "f64") return f64;
  if (type == "tf32") return tf32;
  return std::nullopt;
}

uint64_t mask(int bits) { return bits == 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1; }
Expected exact(uint64_t bits) { return {.bits = bits}; }

Rounding rounding_of(const Spelling& s) {
  if (s.has("rna")) return Rounding::rna;
  if (s.has("rz") || s.has("rzi")) return Rounding::rz;
  if (s.has("rm") || s.has("rmi")) return Rounding::rm;
  if (s.has("rp") || s.has("rpi")) return Rounding::rp;
  return Rounding::rn;
}

/// An integer in a register of at least 32 bits is extended by its type.
uint64_t extended(uint64_t bits, const std::string& type) {
  int n = bits_of(type);
  bits &= mask(n);
  return is_signed(type) && bits >> (n - 1) ? bits | ~mask(n) : bits;
}

struct Limits {
  __int128 low, high;
};
Limits limits(const std::string& type) {
  int n = bits_of(type);
  if (is_signed(type)) return {-(__int128{1} << (n - 1)), (__int128{1} << (n - 1)) - 1};
  return {0, (__int128{1} << n) - 1};
}
__int128 as_integer(uint64_t bits, const std::string& type) {
  uint64_t wide = extended(bits, type);
  return is_signed(type) ? __int128{static_cast<int64_t>(wide)} : __int128{wide};
}

Reference integer_to_integer(const Spelling& s, const std::string& to, const std::string& from) {
  bool sat = s.has("sat");
  return [=](const Inputs& i) {
    __int128 v = as_integer(i.a, from);
    if (sat) v = v < limits(to).low ? limits(to).low : v > limits(to).high ? limits(to).high : v;
    return exact(extended(static_cast<uint64_t>(v), to));
  };
}

Reference float_to_integer(const Spelling& s, const std::string& to, const Format& f) {
  Rounding rounding = rounding_of(s);
  bool ftz = s.has("ftz");
  return [=](const Inputs& i) {
    uint64_t bits = i.a & mask(f.bits);
    Number v = round_to_integer(decode(f, ftz ? flush(f, bits) : bits), rounding);
    if (v.is(Kind::nan)) // nothing but the highest bit, where either has 64 bits
      return exact(f.bits == 64 || bits_of(to) == 64 ? extended(uint64_t{1} << (bits_of(to) - 1), to) : 0);
    Limits l = limits(to);
    if (v.is(Kind::zero)) return exact(0);
    bool beyond = v.is(Kind::infinite) || v.exponent > 64;
    unsigned __int128 magnitude = beyond ? ~static_cast<unsigned __int128>(0) >> 2 : v.integer << v.exponent;
    __int128 value = v.negative ? -static_cast<__int128>(magnitude) : static_cast<__int128>(magnitude);
    value = value < l.low ? l.low : value > l.high ? l.high : value; // always clamped
    return exact(extended(static_cast<uint64_t>(value), to));
  };
}

Reference integer_to_float(const Spelling& s, const Format& f, const std::string& from) {
  Rounding rounding = rounding_of(s);
  bool sat = s.has("sat");
  return [=](const Inputs& i) {
    __int128 v = as_integer(i.a, from);
    if (sat) v = v < 0 ? 0 : v > 1 ? 1 : v;
    return exact(encode(f, from_integer(v < 0, static_cast<uint64_t>(v < 0 ? -v : v)), rounding));
  };
}

/// A NaN in fewer bits: its sign, that it is quiet, and the upper bits of its payload.
uint64_t cut_nan(const Format& to, const Format& from, uint64_t bits) {
  int fraction = to.precision - 1;
  uint64_t payload = bits >> (from.precision - 1 - fraction) & mask(fraction);
  return (bits >> (from.bits - 1)) << (to.bits - 1) | mask(to.exponent_bits) << fraction |
         uint64_t{1} << (fraction - 1) | payload;
}

Reference float_to_float(const Spelling& s, const Format& to, const Format& from) {
  Rounding rounding = rounding_of(s);
  bool sat = s.has("sat"), relu = s.has("relu"), finite = s.has("satfinite");
  bool integral = s.has("rni") || s.has("rzi") || s.has("rmi") || s.has("rpi");
  // .ftz flushes f32 inputs and results; other types keep their subnormals.
  bool ftz_in = s.has("ftz") && from.bits == 32, ftz_out = s.has("ftz") && to.bits == 32 && to.dropped == 0;
  bool copies = to.bits == from.bits && to.precision == from.precision;
  bool away = rounding == Rounding::rna;
  auto of = [=](uint64_t bits) {
    Number v = decode(from, bits);
    if (integral) v = round_to_integer(v, rounding);
    uint64_t r = encode(to, v, rounding, finite);
    if (ftz_out) r = flush(to, r);
    if (is_nan(to, r)) {
      if (sat) return exact(0);
      // f64's payload is open; a conversion that changes nothing may keep the source's.
      if (to.bits == 64 || copies) return Expected{.kind = Expected::Kind::any_nan};
      // What the manual leaves open is as on an H200.
      if (from.bits == 64) return exact(cut_nan(to, from, bits));
      if (from.bits == 16 && to.bits == 32 && !ftz_out && from.exponent_bits == to.exponent_bits)
        return exact(bits << 16);
      if (to.dropped && away) return exact(bits & ~mask(to.dropped));
      return exact(to.canonical_nan);
    }
    Number rounded = decode(to, r);
    if (sat) {
      if (rounded.is(Kind::zero)) return Expected{.kind = Expected::Kind::one_of, .bits = 0, .other = r};
      if (rounded.negative) return exact(0);
      if (compare(rounded, from_integer(false, 1)) > 0) return exact(encode(to, from_integer(false, 1)));
    }
    if (relu && rounded.negative) {
      if (rounded.is(Kind::zero)) return Expected{.kind = Expected::Kind::one_of, .bits = 0, .other = r};
      return exact(0);
    }
    return exact(r);
  };
  return [=](const Inputs& i) {
    uint64_t bits = i.a & mask(from.bits);
    if (!ftz_in) return of(bits);
    Expected flushed = of(flush(from, bits));
    // An H200's cvt.rp.ftz.sat.f16.f32 rounds a subnormal up.
    if (to.bits == 16 && rounding == Rounding::rp && is_subnormal(from, bits))
      return Expected{.kind = Expected::Kind::one_of, .bits = flushed.bits, .other = of(bits).bits};
    return flushed;
  };
}

/// Two numbers in one register, the first operand in the upper half.
Reference pack(const Spelling& s, const Format& to, const Format& from, bool from_pair) {
  Reference one = float_to_float(s, to, from);
  return [=](const Inputs& i) {
    uint64_t high = from_pair ? i.a >> from.bits : i.a, low = from_pair ? i.a : i.b;
    return Expected{.halves = {one({.a = low}), one({.a = high})}};
  };
}

/// cvt.pack.sat: two saturated integers, `a` above `b`; for types under 16 bits shifted into c.
Reference pack_integers(const Spelling& s) {
  std::string to = s.type(0), from = s.type(1);
  int n = bits_of(to);
  bool with_c = s.types.size() == 3;
  return [=](const Inputs& i) {
    auto part = [&](uint64_t bits) {
      __int128 v = as_integer(bits, from);
      v = v < limits(to).low ? limits(to).low : v > limits(to).high ? limits(to).high : v;
      return static_cast<uint64_t>(v) & mask(n);
    };
    uint64_t d = part(i.a) << n | part(i.b);
    if (with_c) d |= (i.c & 0xffffffff) << (2 * n);
    return exact(d & 0xffffffff);
  };
}

} // namespace

Reference conversion_reference(const Spelling& s) {
  if (s.opcode != "cvt") return {};
  if (s.has("rs")) return {};
  if (s.has("pack")) return pack_integers(s);
  if (s.types.size() != 2) return {};
  std::string to = s.type(0), from = s.type(1);
  auto to_format = format_of(to), from_format = format_of(from);
  if (to_format && from_format) return float_to_float(s, *to_format, *from_format);
  if (to == "f16x2" && from == "f32") return pack(s, f16, f32, false);
  if (to == "bf16x2" && from == "f32") return pack(s, bf16, f32, false);
  if (to == "e4m3x2" && from == "f32") return pack(s, e4m3, f32, false);
  if (to == "e5m2x2" && from == "f32") return pack(s, e5m2, f32, false);
  if (to == "e4m3x2" && from == "f16x2") return pack(s, e4m3, f16, true);
  if (to == "e5m2x2" && from == "f16x2") return pack(s, e5m2, f16, true);
  if (to == "f16x2" && from == "e4m3x2") return pack(s, f16, e4m3, true);
  if (to == "f16x2" && from == "e5m2x2") return pack(s, f16, e5m2, true);
  if (is_floating(to) ? to_format == std::nullopt : to == "pred") return {};
  if (is_floating(from) && !from_format) return {};
  if (to_format) return integer_to_float(s, *to_format, from);
  if (from_format) return float_to_integer(s, to, *from_format);
  return integer_to_integer(s, to, from);
}

} // namespace tilejit::conformance
