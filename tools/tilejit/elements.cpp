// elements.cpp - see elements.h.
#include "tools/tilejit/elements.h"

#include "runtime/tensor.h"
#include "tools/tilejit/arguments.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <span>

namespace tilejit::tools {
namespace {

struct Row {
  Element type;
  std::string_view name, descr; ///< descr: of NumPy; empty: it has no such type
  size_t bytes;
};
constexpr Row rows[] = {
    {Element::i8, "i8", "|i1", 1},   {Element::i16, "i16", "<i2", 2},    {Element::i32, "i32", "<i4", 4},
    {Element::i64, "i64", "<i8", 8}, {Element::u8, "u8", "|u1", 1},      {Element::u16, "u16", "<u2", 2},
    {Element::u32, "u32", "<u4", 4}, {Element::u64, "u64", "<u8", 8},    {Element::f16, "f16", "<f2", 2},
    {Element::bf16, "bf16", "", 2},  {Element::f8e4m3, "f8e4m3", "", 1}, {Element::f8e5m2, "f8e5m2", "", 1},
    {Element::f32, "f32", "<f4", 4}, {Element::f64, "f64", "<f8", 8},
};
const Row& row_of(Element type) { return rows[static_cast<size_t>(type)]; }

/// One type's elements: what a value is, and how it is written.
template <typename T>
T load(const std::byte* at) {
  T x;
  std::memcpy(&x, at, sizeof x);
  return x;
}
template <typename T>
void store(std::byte* at, T x) {
  std::memcpy(at, &x, sizeof x);
}

/// A float of 8 bits: `mantissa` of them after the exponent's. e4m3 has no infinity, and one NaN for each sign.
double from_f8(uint8_t bits, int mantissa) {
  int bias = mantissa == 3 ? 7 : 15, exponent = (bits & 0x7f) >> mantissa, fraction = bits & ((1 << mantissa) - 1);
  double magnitude = exponent ? std::ldexp((1 << mantissa) + fraction, exponent - bias - mantissa)
                              : std::ldexp(fraction, 1 - bias - mantissa);
  if (mantissa == 3 && (bits & 0x7f) == 0x7f) magnitude = std::numeric_limits<double>::quiet_NaN();
  if (mantissa == 2 && exponent == 31)
    magnitude = fraction ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity();
  return bits & 0x80 ? -magnitude : magnitude;
}
uint8_t to_f8(double x, int mantissa) {
  if (std::isnan(x)) return 0x7f;
  uint8_t sign = std::signbit(x) ? 0x80 : 0, most = mantissa == 3 ? 0x7e : 0x7b;
  double magnitude = std::fabs(x);
  if (magnitude == 0) return sign;
  if (magnitude >= from_f8(most, mantissa)) return sign | most;
  int bias = mantissa == 3 ? 7 : 15, exponent = 0;
  std::frexp(magnitude, &exponent);                       // 0.5 <= fraction < 1
  int unit = std::max(exponent - 1, 1 - bias) - mantissa; // of the last place
  double places = std::nearbyint(std::ldexp(magnitude, -unit));
  // The codes of positive values are in their order, and the places count on through the exponents.
  int base = unit + mantissa + bias - 1; // exponents below
  return static_cast<uint8_t>(sign | (static_cast<int>(places) + base * (1 << mantissa)));
}

double float_at(const std::byte* at, Element type) {
  switch (type) {
  case Element::f16: return runtime::from_f16(load<uint16_t>(at));
  case Element::bf16: return runtime::from_bf16(load<uint16_t>(at));
  case Element::f8e4m3: return from_f8(load<uint8_t>(at), 3);
  case Element::f8e5m2: return from_f8(load<uint8_t>(at), 2);
  case Element::f32: return load<float>(at);
  default: return load<double>(at);
  }
}
/// Integers of any type, as a sign and a magnitude.
struct Integer {
  bool negative = false;
  uint64_t magnitude = 0;
};
Integer integer_at(const std::byte* at, Element type) {
  auto from = [](int64_t x) {
    return Integer{x < 0, x < 0 ? ~static_cast<uint64_t>(x) + 1 : static_cast<uint64_t>(x)};
  };
  switch (type) {
  case Element::i8: return from(load<int8_t>(at));
  case Element::i16: return from(load<int16_t>(at));
  case Element::i32: return from(load<int32_t>(at));
  case Element::i64: return from(load<int64_t>(at));
  case Element::u8: return {false, load<uint8_t>(at)};
  case Element::u16: return {false, load<uint16_t>(at)};
  case Element::u32: return {false, load<uint32_t>(at)};
  default: return {false, load<uint64_t>(at)};
  }
}
bool is_float(Element type) { return type >= Element::f16; }
bool is_signed(Element type) { return type <= Element::i64; }

/// A float that rounds twice, first to float32, can differ from one that rounds once: f16 and bf16 come from float32.
void put_float(std::byte* at, Element type, double x) {
  switch (type) {
  case Element::f16: return store(at, runtime::to_f16(static_cast<float>(x)));
  case Element::bf16: return store(at, runtime::to_bf16(static_cast<float>(x)));
  case Element::f8e4m3: return store(at, to_f8(x, 3));
  case Element::f8e5m2: return store(at, to_f8(x, 2));
  case Element::f32: return store(at, static_cast<float>(x));
  default: return store(at, x);
  }
}
bool put_integer(std::byte* at, Element type, Integer x) {
  size_t bits = 8 * bytes_of(type);
  uint64_t most = ~uint64_t{0} >> (64 - bits + (is_signed(type) ? 1 : 0));
  if (x.magnitude > most + (x.negative && is_signed(type) ? 1 : 0) || (x.negative && !is_signed(type) && x.magnitude))
    return false;
  uint64_t value = x.negative ? ~x.magnitude + 1 : x.magnitude;
  std::memcpy(at, &value, bytes_of(type));
  return true;
}

/// One element from a type to another; false: it does not fit.
bool convert(std::byte* to, Element to_type, const std::byte* from, Element from_type) {
  if (is_float(to_type)) {
    if (is_float(from_type)) {
      put_float(to, to_type, float_at(from, from_type));
    } else {
      Integer x = integer_at(from, from_type);
      put_float(to, to_type, (x.negative ? -1.0 : 1.0) * static_cast<double>(x.magnitude));
    }
    return true;
  }
  if (!is_float(from_type)) return put_integer(to, to_type, integer_at(from, from_type));
  double x = float_at(from, from_type);
  if (!(std::fabs(x) < 18446744073709551616.0) || x != std::trunc(x)) return false;
  return put_integer(to, to_type, {x < 0, static_cast<uint64_t>(std::fabs(x))});
}

std::string value_text(const std::byte* at, Element type) {
  char text[64];
  if (is_float(type))
    std::snprintf(text, sizeof text, "%g", float_at(at, type));
  else {
    Integer x = integer_at(at, type);
    std::snprintf(text, sizeof text, "%s%llu", x.negative ? "-" : "", static_cast<unsigned long long>(x.magnitude));
  }
  return text;
}

} // namespace

std::string_view name_of(Element type) { return row_of(type).name; }
size_t bytes_of(Element type) { return row_of(type).bytes; }

Element parse_element(const std::string& name) {
  std::vector<std::string> known;
  for (const Row& row : rows) {
    if (row.name == name) return row.type;
    known.emplace_back(row.name);
  }
  throw InputError(unknown_name("element type", name, known));
}

Element element_of(const runtime::NpyFile& file, const std::string& path) {
  for (const Row& row : rows)
    if (row.descr == file.descr) return row.type;
  if (file.descr == "|b1") return Element::u8;
  throw InputError(path + ": elements of type '" + file.descr + "' can't be in device memory");
}

std::vector<std::byte> to_device(const runtime::NpyFile& file, Element type, const std::string& path) {
  Element from = element_of(file, path);
  if (from == type) return file.data;
  size_t step = bytes_of(from), count = file.data.size() / step;
  std::vector<std::byte> data(count * bytes_of(type));
  for (size_t i = 0; i < count; ++i)
    if (!convert(data.data() + i * bytes_of(type), type, file.data.data() + i * step, from))
      throw InputError(path + ": " + value_text(file.data.data() + i * step, from) + " is no value of type " +
                       std::string(name_of(type)));
  return data;
}

runtime::NpyFile from_device(std::span<const std::byte> elements, Element type, const std::vector<int64_t>& shape,
                             const std::string& descr) {
  runtime::NpyFile file{descr, shape, {}};
  if (file.descr.empty()) file.descr = row_of(type).descr.empty() ? "<f4" : row_of(type).descr;
  Element to = element_of(file, "");
  if (to == type) {
    file.data.assign(elements.begin(), elements.end());
    return file;
  }
  size_t step = bytes_of(type), count = elements.size() / step;
  file.data.resize(count * bytes_of(to));
  for (size_t i = 0; i < count; ++i)
    if (!convert(file.data.data() + i * bytes_of(to), to, elements.data() + i * step, type))
      throw InputError("the result " + value_text(elements.data() + i * step, type) +
                       " does not fit the file's type, '" + file.descr + "'");
  return file;
}

} // namespace tilejit::tools
