// reduction.cpp - see reduction.h.
#include "tests/runtime/simulator/conformance/reduction.h"

#include "tests/runtime/simulator/conformance/exact.h"
#include "tests/runtime/simulator/conformance/harness.h"

#include <cstring>

namespace tilejit::conformance {
namespace {

const Format* format_of(const std::string& type) {
  return type == "f16" ? &f16 : type == "bf16" ? &bf16 : type == "f32" ? &f32 : type == "f64" ? &f64 : nullptr;
}

} // namespace

uint64_t reduced(const std::string& op, const std::string& type, uint64_t old, uint64_t x) {
  auto bits = static_cast<uint32_t>(bits_of(type));
  const Format* f = format_of(type);
  if (f) {
    Number a = decode(*f, old), b = decode(*f, x);
    if (op == "add") return encode(*f, add(a, b));
    return (op == "min") == (compare(a, b) < 0) ? old : x;
  }
  uint64_t all = (bits == 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1),
           top = is_signed(type) ? uint64_t{1} << (bits - 1) : 0;
  if (op == "add") return (old + x) & all;
  if (op == "and") return old & x;
  if (op == "or") return old | x;
  if (op == "xor") return old ^ x;
  if (op == "inc") return old >= x ? 0 : old + 1;
  if (op == "dec") return old == 0 || old > x ? x : old - 1;
  return (op == "min") == ((old ^ top) < (x ^ top)) ? old : x;
}

std::vector<uint8_t> operands_of(const std::string& type, size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint8_t> bytes(size);
  auto width = static_cast<size_t>(bits_of(type) / 8);
  const Format* f = format_of(type);
  for (size_t at = 0; at < size; at += width) {
    uint64_t value = random_value(type, random);
    if (f) value = encode(*f, from_integer(random() & 1, 1 + random() % 100));
    std::memcpy(&bytes[at], &value, width);
  }
  return bytes;
}

} // namespace tilejit::conformance
