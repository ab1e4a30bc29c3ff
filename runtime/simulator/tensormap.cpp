// tensormap.cpp - see tensormap.h. The restrictions are those of cuTensorMapEncodeTiled.
#include "runtime/simulator/tensormap.h"

#include "runtime/device.h"

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

} // namespace

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

std::array<std::byte, 128> encode_tensormap(const TensorMapDescription& d) {
  auto refuse = [](const std::string& why) { throw Error("tensor map: " + why); };
  TensorMap map;
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
  if (std::string flaw = flaw_of(map); !flaw.empty()) refuse(flaw);
  std::array<std::byte, 128> bytes;
  std::memcpy(bytes.data(), &map, sizeof map);
  return bytes;
}

} // namespace tilejit::runtime::simulator
