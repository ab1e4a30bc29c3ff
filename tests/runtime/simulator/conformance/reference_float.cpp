// reference_float.cpp - floating-point arithmetic, comparisons, and the approximations with their documented errors.
// PTX ISA 9.7.3, 9.7.4, 9.7.6.
#include "tests/runtime/simulator/conformance/exact.h"
#include "tests/runtime/simulator/conformance/reference.h"

#include <cmath>
#include <optional>

namespace tilejit::conformance {
namespace {

using Kind = Number::Kind;

std::optional<Format> format_of(const std::string& type) {
  if (type == "f16") return f16;
  if (type == "bf16") return bf16;
  if (type == "f32") return f32;
  if (type == "f64") return f64;
  return std::nullopt;
}

Rounding rounding_of(const Spelling& s) {
  return s.has("rz") ? Rounding::rz : s.has("rm") ? Rounding::rm : s.has("rp") ? Rounding::rp : Rounding::rn;
}

Expected exact(uint64_t bits) { return {.bits = bits}; }

/// The bits of a result; a NaN is canonical but for f64, where the manual leaves its payload open.
Expected result(const Format& f, uint64_t bits) {
  if (f.bits == 64 && is_nan(f, bits)) return {.kind = Expected::Kind::any_nan};
  return exact(bits);
}

Number magnitude(Number value) {
  value.negative = false;
  return value;
}
uint64_t sign_of(const Format& f) { return uint64_t{1} << (f.bits - 1); }

struct Finish {
  Format format;
  Rounding rounding;
  bool ftz, sat, relu;

  Expected operator()(const Number& value) const {
    uint64_t bits = encode(format, value, rounding);
    if (ftz) bits = flush(format, bits);
    // What is subnormal before it is rounded and normal after: the manual does not say which counts. An H200 flushes
    // it.
    if (ftz && !is_nan(format, bits) && compare(magnitude(value), magnitude(decode(format, bits))) < 0 &&
        is_subnormal(format, bits - 1))
      return {.kind = Expected::Kind::one_of,
              .bits = (sat || relu) && value.negative ? 0 : bits & sign_of(format),
              .other = sat && value.negative    ? 0
                       : relu && value.negative ? sign_of(format)
                                                : bits};
    if (is_nan(format, bits)) return sat ? exact(0) : result(format, bits);
    Number rounded = decode(format, bits);
    if (sat) {
      Number one = from_integer(false, 1);
      if (rounded.is(Kind::zero)) return {.kind = Expected::Kind::one_of, .bits = 0, .other = bits};
      if (rounded.negative) return exact(0);
      if (compare(rounded, one) > 0) return exact(encode(format, one));
    }
    // max(x, 0): whether -0 becomes +0 is not said.
    if (relu && rounded.negative)
      return rounded.is(Kind::zero) ? Expected{.kind = Expected::Kind::one_of, .bits = 0, .other = bits} : exact(0);
    return exact(bits);
  }
};

Reference scalar(const Spelling& s, const std::string& type) {
  auto format = format_of(type);
  if (!format) return {};
  Format f = *format;
  bool ftz = s.has("ftz");
  Rounding rounding = rounding_of(s);
  Finish finish{f, rounding, ftz, s.has("sat"), s.has("relu")};
  auto in = [=](uint64_t bits) { return decode(f, ftz ? flush(f, bits) : bits); };
  const std::string& op = s.opcode;
  uint64_t sign = uint64_t{1} << (f.bits - 1), all = f.bits == 64 ? ~uint64_t{0} : (uint64_t{1} << f.bits) - 1;
  if (op == "add") return [=](const Inputs& i) { return finish(add(in(i.a), in(i.b), rounding)); };
  if (op == "sub") return [=](const Inputs& i) { return finish(add(in(i.a), negate(in(i.b)), rounding)); };
  if (op == "mul") return [=](const Inputs& i) { return finish(multiply(in(i.a), in(i.b))); };
  if (op == "fma" || op == "mad") {
    bool out_of_bounds = s.has("oob");
    return [=](const Inputs& i) {
      Expected e = finish(fma(in(i.a), in(i.b), in(i.c), rounding));
      // .oob: 0 where a factor is the NaN that fills what lies outside of a tensor. The manual does not say which that
      // is; an H200 fills with 0x7ff7, and takes that of either sign.
      auto outside = [=](uint64_t bits) { return (bits & 0x7fff) == 0x7ff7; };
      if (out_of_bounds && (outside(i.a) || outside(i.b))) return exact(0);
      return e;
    };
  }
  if (op == "div" && !s.has("approx") && !s.has("full"))
    return [=](const Inputs& i) { return finish(divide(in(i.a), in(i.b))); };
  if (op == "rcp" && !s.has("approx"))
    return [=](const Inputs& i) { return finish(divide(from_integer(false, 1), in(i.a))); };
  if (op == "sqrt" && !s.has("approx")) return [=](const Inputs& i) { return finish(square_root(in(i.a))); };
  if (op == "abs" || op == "neg")
    return [=](const Inputs& i) {
      uint64_t a = ftz ? flush(f, i.a & all) : i.a & all;
      if (is_nan(f, a)) return Expected{.kind = Expected::Kind::any_nan}; // "implementation defined"
      return exact(op == "abs" ? a & ~sign : a ^ sign);
    };
  if (op == "copysign") return [=](const Inputs& i) { return exact((i.a & sign) | (i.b & all & ~sign)); };
  if (op == "min" || op == "max") {
    bool any_nan = s.has("NaN"), abs = s.has("abs"), xorsign = s.has("xorsign"), least = op == "min";
    bool three = s.sources == 3;
    return [=](const Inputs& i) {
      std::vector<uint64_t> numbers;
      uint64_t sign_of_result = 0;
      bool nan = false;
      for (uint64_t bits : three ? std::vector{i.a, i.b, i.c} : std::vector{i.a, i.b}) {
        bits = ftz ? flush(f, bits & all) : bits & all;
        sign_of_result ^= bits & sign;
        if (is_nan(f, bits))
          nan = true;
        else
          numbers.push_back(abs ? bits & ~sign : bits);
      }
      if (numbers.empty() || (nan && any_nan)) return result(f, f.canonical_nan);
      uint64_t r = numbers[0];
      for (uint64_t bits : numbers) {
        int order = compare(decode(f, bits), decode(f, r));
        if (order == 0) order = static_cast<int>((r & sign) != 0) - static_cast<int>((bits & sign) != 0); // -0 < +0
        if (least ? order < 0 : order > 0) r = bits;
      }
      return exact(xorsign ? (r & ~sign) | sign_of_result : r);
    };
  }
  return {};
}

/// f16x2, bf16x2, f32x2: each half by itself.
Reference packed(const Spelling& s, Reference (*scalar)(const Spelling&, const std::string&)) {
  std::string type = s.type();
  if (!type.ends_with("x2") || s.types.size() != 1) return {};
  std::string half = type.substr(0, type.size() - 2);
  Reference one = scalar(s, half);
  if (!one) return {};
  int n = bits_of(half);
  uint64_t all = (uint64_t{1} << n) - 1;
  return [=](const Inputs& i) {
    return Expected{
        .halves = {one({i.a & all, i.b & all, i.c & all}), one({i.a >> n & all, i.b >> n & all, i.c >> n & all})}};
  };
}

/// add, sub, fma with f16 or bf16 operands that are converted, exactly, to f32 first.
Reference mixed(const Spelling& s) {
  auto from = format_of(s.type(1));
  if (s.type() != "f32" || !from || from->bits != 16) return {};
  Format half = *from;
  Rounding rounding = rounding_of(s);
  Finish finish{f32, rounding, false, s.has("sat"), false};
  auto widened = [=](uint64_t bits) { return decode(half, bits & 0xffff); };
  auto single = [](uint64_t bits) { return decode(f32, bits & 0xffffffff); };
  if (s.opcode == "add") return [=](const Inputs& i) { return finish(add(widened(i.a), single(i.c), rounding)); };
  if (s.opcode == "sub")
    return [=](const Inputs& i) { return finish(add(widened(i.a), negate(single(i.c)), rounding)); };
  if (s.opcode == "fma")
    return [=](const Inputs& i) { return finish(fma(widened(i.a), widened(i.b), single(i.c), rounding)); };
  return {};
}

} // namespace

Reference float_reference(const Spelling& s) {
  if (s.types.size() == 2) return mixed(s);
  if (s.types.size() != 1) return {};
  if (Reference r = scalar(s, s.type())) return r;
  return packed(s, scalar);
}

// --- approximations
// ------------------------------------------------------------------------------------------------------

static Reference approximation(const Spelling& s, const std::string& type) {
  const std::string& op = s.opcode;
  auto format = format_of(type);
  if (!format) return {};
  Format f = *format;
  bool ftz = s.has("ftz");
  auto in = [=](uint64_t bits) { return to_double(decode(f, ftz ? flush(f, bits) : bits)); };
  // Zeros, infinities and NaN are exact; so are results that underflow to zero where ftz says so.
  auto near = [=](double value, double absolute, double relative) {
    if (std::isnan(value)) return result(f, f.canonical_nan);
    double least = f.bits == 64 ? 0x1p-1022 : f.exponent_bits == 8 ? 0x1p-126 : 0x1p-14;
    if (ftz && std::fabs(value) < least * 1.001) absolute += least; // at the border either side
    return Expected{.kind = Expected::Kind::near, .value = value, .absolute = absolute, .relative = relative};
  };
  if (type == "f64") {
    // rcp and rsqrt of doubles keep the upper 32 bits only.
    if (op != "rcp" && op != "rsqrt") return {};
    return [=](const Inputs& i) {
      double a = in(ftz ? i.a & 0xffffffff00000000 : i.a);
      return near(op == "rcp" ? 1 / a : a < 0 ? NAN : 1 / std::sqrt(a), 0, 0x1p-19);
    };
  }
  if (type == "f16" || type == "bf16") {
    double ulp = type == "f16" ? 0x1p-10 : 0x1p-7, subnormal = type == "f16" ? 0x1p-24 : 0x1p-133;
    if (op == "tanh")
      return [=](const Inputs& i) { return near(std::tanh(in(i.a)), subnormal, type == "f16" ? 0x1p-9 : 0x1p-7); };
    if (op == "ex2") return [=](const Inputs& i) { return near(std::exp2(in(i.a)), subnormal, ulp); };
    return {};
  }
  if (op == "ex2") return [=](const Inputs& i) { return near(std::exp2(in(i.a)), 0x1p-149, 0x1p-22); };
  if (op == "lg2")
    return [=](const Inputs& i) {
      double a = in(i.a);
      return near(a < 0 ? NAN : std::log2(a), 0x1p-22, 0x1p-22);
    };
  if (op == "sin" || op == "cos")
    return [=](const Inputs& i) {
      double a = in(i.a);
      if (std::isnan(a) || std::isinf(a)) return near(NAN, 0, 0);
      if (std::fabs(a) > 314.15)
        return Expected{.kind = Expected::Kind::near, .value = 0, .absolute = 1.0001, .relative = 0};
      return near(op == "sin" ? std::sin(a) : std::cos(a), std::fabs(a) <= 6.2831 ? 0x1p-20 : 0x1p-14, 0);
    };
  if (op == "tanh") return [=](const Inputs& i) { return near(std::tanh(in(i.a)), 0x1p-149, 0x1p-10); };
  if (op == "rcp") return [=](const Inputs& i) { return near(1 / in(i.a), 0x1p-149, 0x1p-22); };
  if (op == "rsqrt")
    return [=](const Inputs& i) {
      double a = in(i.a);
      return near(a < 0 ? NAN : 1 / std::sqrt(a), 0x1p-149, 0x1p-21);
    };
  if (op == "sqrt") return [=](const Inputs& i) { return near(std::sqrt(in(i.a)), 0x1p-149, 0x1p-21); };
  if (op == "div") {
    bool full = s.has("full");
    return [=](const Inputs& i) {
      double a = in(i.a), b = in(i.b);
      if (!full && std::fabs(b) > 0x1p126 && std::isfinite(b)) {
        // a * rcp(b) with rcp(b) = 0
        if (std::isinf(a) || std::isnan(a)) return near(NAN, 0, 0);
        return Expected{.kind = Expected::Kind::near, .value = 0, .absolute = std::fabs(a / b) * 1.01};
      }
      if (!full && b != 0 && std::fabs(b) < 0x1p-126) return Expected{.kind = Expected::Kind::anything};
      return near(a / b, 0x1p-148, 0x1p-21);
    };
  }
  return {};
}

Reference approximation_reference(const Spelling& s) {
  if (!s.has("approx") && !s.has("full")) return {};
  if (Reference r = approximation(s, s.type())) return r;
  return packed(s, approximation);
}

// --- comparisons
// ---------------------------------------------------------------------------------------------------------

namespace {

/// Whether a comparison holds between two operands of a type.
std::function<bool(uint64_t, uint64_t)> comparison(const Spelling& s, const std::string& type) {
  std::string op;
  for (const char* name : {"eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs", "equ", "neu", "ltu", "leu",
                           "gtu", "geu", "num", "nan"})
    if (s.has(name)) op = name;
  if (auto format = format_of(type)) {
    Format f = *format;
    bool ftz = s.has("ftz");
    return [=](uint64_t a, uint64_t b) {
      if (ftz) a = flush(f, a), b = flush(f, b);
      bool unordered = is_nan(f, a) || is_nan(f, b);
      if (op == "num") return !unordered;
      if (op == "nan") return unordered;
      bool or_unordered = op.size() == 3;
      if (unordered) return or_unordered;
      int order = compare(decode(f, a), decode(f, b));
      std::string base = op.substr(0, 2);
      return base == "eq"   ? order == 0
             : base == "ne" ? order != 0
             : base == "lt" ? order < 0
             : base == "le" ? order <= 0
             : base == "gt" ? order > 0
                            : order >= 0;
    };
  }
  int n = bits_of(type);
  bool sign = is_signed(type) && op != "lo" && op != "ls" && op != "hi" && op != "hs";
  return [=](uint64_t a, uint64_t b) {
    uint64_t all = n == 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1, top = sign ? uint64_t{1} << (n - 1) : 0;
    a = (a & all) ^ top, b = (b & all) ^ top;
    return op == "eq"                 ? a == b
           : op == "ne"               ? a != b
           : op == "lt" || op == "lo" ? a < b
           : op == "le" || op == "ls" ? a <= b
           : op == "gt" || op == "hi" ? a > b
                                      : a >= b;
  };
}

std::function<bool(bool, bool)> combination(const Spelling& s) {
  if (s.has("and")) return [](bool r, bool p) { return r && p; };
  if (s.has("or")) return [](bool r, bool p) { return r || p; };
  if (s.has("xor")) return [](bool r, bool p) { return r != p; };
  return [](bool r, bool) { return r; };
}

} // namespace

Reference compare_reference(const Spelling& s) {
  if (s.opcode == "setp") {
    auto combine = combination(s);
    std::string type = s.type();
    if (type.ends_with("x2")) {
      // Two comparisons: p of the low halves, q of the high ones.
      auto holds = comparison(s, type.substr(0, type.size() - 2));
      return [=](const Inputs& i) {
        return Expected{.bits = combine(holds(i.a & 0xffff, i.b & 0xffff), i.p),
                        .q = combine(holds(i.a >> 16 & 0xffff, i.b >> 16 & 0xffff), i.p)};
      };
    }
    auto holds = comparison(s, type);
    return [=](const Inputs& i) {
      bool r = holds(i.a, i.b);
      return Expected{.bits = combine(r, i.p), .q = combine(!r, i.p)};
    };
  }
  if (s.opcode == "set" && s.types.size() == 2) {
    auto combine = combination(s);
    std::string to = s.type(0), from = s.type(1);
    auto one = [](const std::string& type) -> uint64_t {
      if (type == "f32") return 0x3f800000;
      if (type == "f16") return 0x3c00;
      if (type == "bf16") return 0x3f80;
      return bits_of(type) == 16 ? 0xffff : 0xffffffff;
    };
    if (from.ends_with("x2")) {
      auto holds = comparison(s, from.substr(0, from.size() - 2));
      uint64_t yes = to.ends_with("x2") ? one(to.substr(0, to.size() - 2)) : 0xffff;
      return [=](const Inputs& i) {
        bool low = combine(holds(i.a & 0xffff, i.b & 0xffff), i.p),
             high = combine(holds(i.a >> 16 & 0xffff, i.b >> 16 & 0xffff), i.p);
        return exact((low ? yes : 0) | (high ? yes << 16 : 0));
      };
    }
    auto holds = comparison(s, from);
    uint64_t yes = one(to);
    return [=](const Inputs& i) { return exact(combine(holds(i.a, i.b), i.p) ? yes : 0); };
  }
  if (s.opcode == "slct" && s.types.size() == 2) {
    int n = bits_of(s.type(0));
    uint64_t all = n == 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1;
    bool floating = s.type(1) == "f32", ftz = s.has("ftz");
    return [=](const Inputs& i) {
      bool first = static_cast<int32_t>(i.c) >= 0;
      if (floating) {
        Number c = decode(f32, ftz ? flush(f32, i.c & 0xffffffff) : i.c & 0xffffffff);
        first = !c.is(Kind::nan) && (c.is(Kind::zero) || !c.negative); // -0 counts as +0, NaN selects b
      }
      return exact((first ? i.a : i.b) & all);
    };
  }
  if (s.opcode == "testp") {
    Format f = *format_of(s.type());
    return [=](const Inputs& i) {
      Number a = decode(f, i.a & (f.bits == 64 ? ~uint64_t{0} : 0xffffffff));
      bool finite = a.is(Kind::finite) || a.is(Kind::zero), subnormal = a.is(Kind::finite) && is_subnormal(f, i.a);
      bool r = s.has("finite")       ? finite
               : s.has("infinite")   ? a.is(Kind::infinite)
               : s.has("number")     ? !a.is(Kind::nan)
               : s.has("notanumber") ? a.is(Kind::nan)
               : s.has("normal")     ? finite && !subnormal // "zero is considered normal"
                                     : subnormal;
      return exact(r);
    };
  }
  return {};
}

} // namespace tilejit::conformance
