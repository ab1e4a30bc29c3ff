// tensormap.cpp - see tensormap.h. The restrictions are those of cuTensorMapEncodeTiled.
#include "runtime/simulator/tensormap.h"

#include "runtime/device.h"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace tilejit::runtime::simulator {
namespace {

struct NamedElement {
  std::string_view name;
  TensorElement element;
};
constexpr NamedElement names[] = {
    {"u8", TensorElement::u8},     {"i8", TensorElement::u8},     {"f8e4m3", TensorElement::u8},
    {"f8e5m2", TensorElement::u8}, {"u16", TensorElement::u16},   {"i16", TensorElement::u16},
    {"u32", TensorElement::u32},   {"i32", TensorElement::s32},   {"u64", TensorElement::u64},
    {"i64", TensorElement::s64},   {"f16", TensorElement::f16},   {"f32", TensorElement::f32},
    {"f64", TensorElement::f64},   {"bf16", TensorElement::bf16}, {"tf32", TensorElement::tf32},
};

/// Numbers in a row of bits.
struct Bits {
  uint64_t words[tensormap_used_bytes / 8]{};

  uint64_t get(uint32_t first, uint32_t count) const {
    const uint32_t at = first % 64;
    uint64_t x = words[first / 64] >> at;
    if (at + count > 64) x |= words[first / 64 + 1] << (64 - at);
    return x & ((uint64_t{1} << count) - 1);
  }
  void put(uint32_t first, uint32_t count, uint64_t x) {
    for (uint32_t i = 0; i < count; ++i, x >>= 1) {
      uint64_t& word = words[(first + i) / 64];
      const uint64_t bit = uint64_t{1} << (first + i) % 64;
      word = x & 1 ? word | bit : word & ~bit;
    }
  }
};

constexpr uint8_t tf32_from_f32 = static_cast<uint8_t>(TensorElement::tf32) - static_cast<uint8_t>(TensorElement::f32);

} // namespace

TensorMap unpack_tensormap(const void* bytes) {
  Bits bits;
  std::memcpy(bits.words, bytes, sizeof bits.words);
  TensorMap map;
  map.address = static_cast<uint64_t>(static_cast<int64_t>(bits.get(0, 57) << 7) >> 7);
  map.rank_less_one = static_cast<uint8_t>(bits.get(68, 3));
  map.element = static_cast<uint8_t>(bits.get(71, 4) + (bits.get(80, 1) ? tf32_from_f32 : 0));
  map.interleave = static_cast<uint8_t>(bits.get(75, 2));
  map.swizzle = static_cast<uint8_t>(bits.get(77, 2));
  map.fill_nan = static_cast<uint8_t>(bits.get(79, 1));
  for (uint32_t d = 0; d < 5; ++d) {
    map.dims[d] = bits.get(57 + d, 1) ? 0 : bits.get(256 + 32 * d, 32) + 1;
    map.element_strides[d] = static_cast<uint8_t>(bits.get(416 + 3 * d, 3) + 1);
    map.box[d] = static_cast<uint16_t>(bits.get(440 + 8 * d, 8) + 1);
    if (d < 4) map.strides[d] = (bits.get(96 + 32 * d, 32) | bits.get(224 + 4 * d, 4) << 32) << 4;
  }
  return map;
}

void pack_tensormap(const TensorMap& map, void* bytes) {
  Bits bits;
  std::memcpy(bits.words, bytes, sizeof bits.words);
  bits.put(0, 57, map.address);
  bits.put(68, 3, map.rank_less_one);
  const bool tf32 = map.element == static_cast<uint8_t>(TensorElement::tf32) ||
                    map.element == static_cast<uint8_t>(TensorElement::tf32_ftz);
  bits.put(71, 4, map.element - (tf32 ? tf32_from_f32 : 0u));
  bits.put(80, 1, tf32);
  bits.put(75, 2, map.interleave);
  bits.put(77, 2, map.swizzle);
  bits.put(79, 1, map.fill_nan);
  for (uint32_t d = 0; d < 5; ++d) {
    bits.put(57 + d, 1, map.dims[d] == 0);
    bits.put(256 + 32 * d, 32, map.dims[d] - 1);
    bits.put(416 + 3 * d, 3, map.element_strides[d] - 1u);
    bits.put(440 + 8 * d, 8, map.box[d] - 1u);
    if (d == 4) break;
    bits.put(96 + 32 * d, 32, map.strides[d] >> 4);
    bits.put(224 + 4 * d, 4, map.strides[d] >> 36);
  }
  std::memcpy(bytes, bits.words, sizeof bits.words);
}

bool is_floating(uint8_t element) { return element >= static_cast<uint8_t>(TensorElement::f16); }

uint32_t bytes_of_element(uint8_t element) {
  switch (static_cast<TensorElement>(element)) {
  case TensorElement::u8: return 1;
  case TensorElement::u16:
  case TensorElement::f16:
  case TensorElement::bf16: return 2;
  case TensorElement::u32:
  case TensorElement::s32:
  case TensorElement::f32:
  case TensorElement::f32_ftz:
  case TensorElement::tf32:
  case TensorElement::tf32_ftz: return 4;
  case TensorElement::u64:
  case TensorElement::s64:
  case TensorElement::f64: return 8;
  }
  return 0;
}

uint64_t box_bytes(const TensorMap& map) {
  uint64_t bytes = bytes_of_element(map.element);
  for (uint32_t d = 0; d < map.rank() && d < 5; ++d) bytes *= box_elements(map, d);
  return bytes;
}

std::string flaw_of(const TensorMap& map) {
  auto of = [](const char* what, uint32_t dim) { return std::string(what) + " of dimension " + std::to_string(dim); };
  if (map.rank() > 5) return "a tensor map has 1 to 5 dimensions";
  uint32_t bytes = bytes_of_element(map.element);
  if (bytes == 0) return "there is no element type " + std::to_string(map.element);
  if (map.interleave != 0) return "interleaved layouts are not known to the simulator: use none";
  if (map.swizzle > 3) return "there is no swizzle mode " + std::to_string(map.swizzle);
  if (map.address % 16 != 0) return "the tensor's address must be a multiple of 16 bytes";
  for (uint32_t d = 0; d < map.rank(); ++d) {
    if (map.dims[d] == 0 || map.dims[d] > uint64_t{1} << 32) return of("the size", d) + " must be 1 to 2^32";
    if (map.box[d] == 0 || map.box[d] > 256) return of("the box size", d) + " must be 1 to 256";
    if (map.element_strides[d] > 8) return of("the element stride", d) + " must be 1 to 8";
    if (d > 0 && (map.strides[d - 1] % 16 != 0 || map.strides[d - 1] >= uint64_t{1} << 40))
      return of("the stride", d) + " must be a multiple of 16 bytes, less than 2^40";
  }
  uint32_t inner = box_elements(map, 0) * bytes;
  if (inner % 16 != 0) return "the innermost dimension of a box must be a multiple of 16 bytes";
  if (map.swizzle && inner > 16u << map.swizzle)
    return "the innermost dimension of a box has " + std::to_string(inner) + " bytes, more than the swizzle's " +
           std::to_string(16u << map.swizzle);
  return "";
}

std::array<std::byte, tensormap_bytes> encode_tensormap(const TensorMapDescription& d) {
  auto refuse = [](const std::string& why) { throw Error("tensor map: " + why); };
  TensorMap map;
  std::fill_n(map.dims, 5, 1), std::fill_n(map.box, 5, 1), std::fill_n(map.element_strides, 5, 1);
  size_t rank = d.dims.size();
  if (rank < 1 || rank > 5) refuse("a tensor map has 1 to 5 dimensions, not " + std::to_string(rank));
  if (d.strides.size() != rank - 1) refuse("it needs a stride for every dimension but the innermost");
  if (d.box.size() != rank) refuse("it needs a box size for every dimension");
  if (!d.element_strides.empty() && d.element_strides.size() != rank)
    refuse("it needs an element stride for every dimension, or none");
  const NamedElement* found = nullptr;
  for (const NamedElement& n : names)
    if (n.name == d.type) found = &n;
  if (!found) refuse("there is no element type '" + d.type + "'");
  map.element = static_cast<uint8_t>(found->element);
  map.address = d.address;
  map.rank_less_one = static_cast<uint8_t>(rank - 1);
  for (size_t i = 0; i < rank; ++i) {
    map.dims[i] = d.dims[i];
    if (i > 0) map.strides[i - 1] = d.strides[i - 1];
    if (d.box[i] > 256) refuse("the box size of dimension " + std::to_string(i) + " must be 1 to 256");
    map.box[i] = static_cast<uint16_t>(d.box[i]);
    uint32_t step = d.element_strides.empty() ? 1 : d.element_strides[i];
    if (step < 1 || step > 8) refuse("the element stride of dimension " + std::to_string(i) + " must be 1 to 8");
    map.element_strides[i] = static_cast<uint8_t>(step);
  }
  switch (d.swizzle) {
  case 0: break;
  case 32: map.swizzle = 1; break;
  case 64: map.swizzle = 2; break;
  case 128: map.swizzle = 3; break;
  default: refuse("a swizzle has 0, 32, 64 or 128 bytes, not " + std::to_string(d.swizzle));
  }
  map.fill_nan = d.fill_nan;
  if (d.fill_nan && !is_floating(map.element)) refuse("elements of type " + d.type + " can't be NaN: fill with zeros");
  if (std::string flaw = flaw_of(map); !flaw.empty()) refuse(flaw);
  std::array<std::byte, tensormap_bytes> bytes{};
  pack_tensormap(map, bytes.data());
  return bytes;
}

} // namespace tilejit::runtime::simulator
