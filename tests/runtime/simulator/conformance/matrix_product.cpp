// matrix_product.cpp - see matrix_product.h.
#include "tests/runtime/simulator/conformance/matrix_product.h"

#include <algorithm>
#include <bit>
#include <climits>
#include <cmath>
#include <cstring>

namespace tilejit::conformance {

uint64_t bits_of(const Element& type, double value) {
  if (type.format) return encode(*type.format, decode(f64, std::bit_cast<uint64_t>(value)));
  return static_cast<uint64_t>(static_cast<int64_t>(value)) & ((uint64_t{1} << type.bits) - 1);
}
double value_of(const Element& type, uint64_t bits) {
  if (type.format) return to_double(decode(*type.format, bits));
  bool negative = type.is_signed && bits >> (type.bits - 1) & 1;
  return static_cast<double>(static_cast<int64_t>(bits)) -
         (negative ? static_cast<double>(uint64_t{1} << type.bits) : 0);
}

namespace {

std::string number(uint64_t n) { return std::to_string(n); }

struct Place {
  uint32_t row, column;
};
/// One operand: the registers of a lane, and the elements in each.
struct Fragment {
  Element type;
  uint32_t width, per, registers; ///< bits of a register, its elements
  Fragment(const Product& p, const Element& type, uint32_t elements)
      : type(type), width(p.a.bits == 64 ? 64 : 32), per(width / type.bits), registers(elements / 32 / per) {}
};
struct Fragments {
  Product p;
  Fragment a, b, c, d;
  uint32_t words; ///< 32-bit ones in a register
  explicit Fragments(const Product& p)
      : p(p), a(p, p.a, p.m * p.k), b(p, p.b, p.n * p.k), c(p, p.c, p.m * p.n), d(p, p.d, p.m * p.n),
        words(a.width / 32) {}
  // Where element i of register r of a lane lies. The manual's tables of all shapes come to this: a group of four lanes
  // holds a row of A (a column of B), each lane as many neighbours as fit a register; registers go through the rows 8
  // apart first, then along k. Accumulators: two neighbours a lane, rows 8 apart next.
  Place in_a(uint32_t lane, uint32_t r, uint32_t i) const {
    uint32_t halves = p.m / 8;
    return {lane / 4 + 8 * (r % halves), lane % 4 * a.per + 4 * a.per * (r / halves) + i};
  }
  Place in_b(uint32_t lane, uint32_t r, uint32_t i) const { return {lane % 4 * b.per + 4 * b.per * r + i, lane / 4}; }
  Place in_d(uint32_t lane, uint32_t r, uint32_t i) const { // and in C
    uint32_t e = r * d.per + i;
    return {lane / 4 + 8 * (e / 2), lane % 4 * 2 + e % 2};
  }
};

/// Appends a lane's registers of one operand.
template <typename PlaceOf>
void pack(std::vector<uint32_t>& words, const Fragment& f, const Matrix& values, PlaceOf place_of) {
  for (uint32_t r = 0; r < f.registers; ++r) {
    uint64_t reg = 0;
    for (uint32_t i = 0; i < f.per; ++i) {
      Place at = place_of(r, i);
      reg |= bits_of(f.type, values(at.row, at.column)) << (i * f.type.bits);
    }
    for (uint32_t word = 0; word < f.width / 32; ++word) words.push_back(static_cast<uint32_t>(reg >> (32 * word)));
  }
}

} // namespace

std::string Product::spelling() const {
  return "mma.sync.aligned.m" + number(m) + "n" + number(n) + "k" + number(k) + ".row.col." + d.name + "." + a.name +
         "." + b.name + "." + c.name + operation;
}

const char* name_of(Numbers numbers) {
  switch (numbers) {
  case Numbers::integers: return "";
  case Numbers::normal: return " rounded";
  case Numbers::wide: return " wide";
  case Numbers::tiny: return " tiny";
  case Numbers::huge: return " huge";
  }
  return "";
}

void fill(Matrix& matrix, const Element& type, Numbers numbers, std::mt19937& random) {
  std::normal_distribution<double> normal;
  for (double& x : matrix.values) {
    if (numbers == Numbers::integers) {
      x = static_cast<double>(random() % 9) + (type.format || type.is_signed ? -4 : 240);
      continue;
    }
    x = normal(random);
    const auto spread = static_cast<int>(random() % 25) - 12;
    if (numbers == Numbers::wide && type.format->exponent_bits < 8) // any finite bits
      do x = value_of(type, random() & ((uint64_t{1} << type.bits) - 1));
      while (!std::isfinite(x));
    else if (numbers == Numbers::wide)
      x = std::ldexp(x, spread);
    else if (numbers == Numbers::tiny)
      x = std::ldexp(x, spread / 3 - (type.bits == 32 && type.dropped() == 0 ? 126 : 63));
    else if (numbers == Numbers::huge)
      x = std::ldexp(x, type.bits == 32 && type.dropped() == 0 ? 126 : 63);
    x = value_of(type, bits_of(type, x));
  }
}

double rounding_of(const Element& d, const Element& a, uint32_t k, double size, bool warpgroup) {
  const double cut = std::ldexp(size * (k + 1), warpgroup && a.bits == 8 ? -13 : -25);
  const double last = std::ldexp(size, 1 - d.format->precision) * (d.bits != 16 && warpgroup && a.bits == 8 ? 1024 : 1);
  // Every sum that is subnormal may be flushed; those of f16 have steps of 2^-24.
  return cut + last + std::ldexp(k + 1, d.bits == 16 ? -24 : d.bits == 32 ? -126 : -1022);
}

bool is_near(double got, double sum, double size, double error) {
  return size >= 0x1.fffffep127 || std::fabs(got - sum) <= error;
}

double machine_sum(const Element& d, const Element& a, const Element& b, std::span<const double> as,
                   std::span<const double> bs, double c, bool warpgroup) {
  const bool small = warpgroup && a.bits == 8;
  const int digits = small ? 13 : 25;
  auto exponent = [](const Element& type, double x) {
    return std::max(std::ilogb(x), 2 - (1 << (type.format->exponent_bits - 1)));
  };
  int greatest = c == 0 ? INT_MIN : exponent(d, c);
  for (size_t k = 0; k < as.size(); ++k)
    if (as[k] != 0 && bs[k] != 0) greatest = std::max(greatest, exponent(a, as[k]) + exponent(b, bs[k]));
  if (greatest == INT_MIN) return 0;
  auto cut = [&](double x) { return static_cast<__int128>(std::trunc(std::ldexp(x, digits - greatest))); };
  __int128 sum = cut(c);
  for (size_t k = 0; k < as.size(); ++k) sum += cut(as[k] * bs[k]);
  Number number = from_integer(sum < 0, 0);
  if (sum != 0)
    number = {.kind = Number::Kind::finite,
              .negative = sum < 0,
              .integer = static_cast<unsigned __int128>(sum < 0 ? -sum : sum),
              .exponent = greatest - digits};
  if (d.bits == 16) return to_double(decode(*d.format, encode(*d.format, number)));
  Format kept = *d.format; // float32, or what is left of it
  if (small) kept.precision = 14, kept.dropped = 10;
  const double cut_off = to_double(decode(kept, encode(kept, number, Rounding::rz)));
  return std::fabs(to_double(number)) >= 0x1p128 ? std::copysign(INFINITY, cut_off) : cut_off;
}

Kernel kernel_of(const Product& product) {
  Fragments f(product);
  std::string reg = f.words == 2 ? "%rd" : "%r", type = f.words == 2 ? "b64 " : "b32 ", body;
  auto at = [&](uint32_t r) { return number(4 * f.words * r) + "]"; };
  uint32_t next = 20, loads = f.a.registers + f.b.registers + f.c.registers;
  auto list = [&](uint32_t registers) {
    std::string text = "{";
    for (uint32_t r = 0; r < registers; ++r) text += (r ? ", " : "") + reg + number(next++);
    return text + "}";
  };
  for (uint32_t r = 0; r < loads; ++r)
    body += "ld.global." + type + reg + number(next + r) + ", [%rd1+" + at(r) + ";\n";
  std::string a = list(f.a.registers), b = list(f.b.registers), c = list(f.c.registers), d = list(f.d.registers);
  body += product.spelling() + " " + d + ", " + a + ", " + b + ", " + c + ";\n";
  next -= f.d.registers;
  for (uint32_t r = 0; r < f.d.registers; ++r)
    body += "st.global." + type + "[%rd2+" + at(r) + ", " + reg + number(next + r) + ";\n";
  return {.name = product.spelling(), .tests = {product.spelling()}, .body = body, .since = product.since};
}

std::vector<uint32_t> input_of(const Product& product, const Matrix& a, const Matrix& b, const Matrix& c) {
  Fragments f(product);
  std::vector<uint32_t> words;
  for (uint32_t lane = 0; lane < 32; ++lane) {
    pack(words, f.a, a, [&](uint32_t r, uint32_t i) { return f.in_a(lane, r, i); });
    pack(words, f.b, b, [&](uint32_t r, uint32_t i) { return f.in_b(lane, r, i); });
    pack(words, f.c, c, [&](uint32_t r, uint32_t i) { return f.in_d(lane, r, i); });
  }
  return words;
}

uint32_t output_words(const Product& product) {
  Fragments f(product);
  return f.d.registers * f.words;
}
std::vector<uint32_t> output_of(const Product& product, const Matrix& d) {
  Fragments f(product);
  std::vector<uint32_t> words;
  for (uint32_t lane = 0; lane < 32; ++lane)
    pack(words, f.d, d, [&](uint32_t r, uint32_t i) { return f.in_d(lane, r, i); });
  return words;
}
Matrix matrix_d(const Product& product, std::span<const std::byte> output) {
  Fragments f(product);
  Matrix d(product.m, product.n);
  const uint32_t bytes = f.d.width / 8;
  for (uint32_t lane = 0; lane < 32; ++lane)
    for (uint32_t r = 0; r < f.d.registers; ++r) {
      uint64_t reg = 0;
      std::memcpy(&reg, output.data() + (lane * f.d.registers + r) * bytes, bytes);
      for (uint32_t i = 0; i < f.d.per; ++i) {
        Place at = f.in_d(lane, r, i);
        uint64_t bits = reg >> (i * f.d.type.bits) & (~uint64_t{0} >> (64 - f.d.type.bits));
        d(at.row, at.column) = value_of(f.d.type, bits);
      }
    }
  return d;
}

} // namespace tilejit::conformance
