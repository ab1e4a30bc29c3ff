// tensormap.h - tensor maps: how a tensor lies in global memory and which boxes of it the tensor copies move.
//
// A map has 128 bytes, and all that it says is in the first 64, as on the machine: there are compilers whose kernels
// copy no more before tensormap.replace fills them in. NVIDIA does not tell the places of the fields; these are those
// where the driver puts them (tests/runtime/simulator/conformance/driver_maps.h) and CuTe DSL's host code. From bit:
//
//     0  address (signed) 57 bits        96  strides / 16, low 32 bits each (dimensions 1 to 4)
//    68  dimensions - 1    3           224  and their 4 high bits each
//    71  element           4           256  sizes - 1         32 bits each
//    75  interleave        2           416  element strides - 1  3
//    77  swizzle           2           440  box sizes - 1     8
//    79  fill with NaN     1
//    80  f32 is tf32       1            57  ours: which sizes are 0, 1 bit each
//
// So a map of zeros that tensormap.replace fills in is a map, too. `encode_tensormap` stands where a program would call
// cuTensorMapEncodeTiled, with the same restrictions.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tilejit::runtime::simulator {

/// The values that tensormap.replace gives the field elemtype; swizzle: log2 of its bytes - 4, and 0 for none.
enum class TensorElement : uint8_t { u8, u16, u32, s32, u64, s64, f16, f32, f32_ftz, f64, bf16, tf32, tf32_ftz };

inline constexpr uint32_t tensormap_bytes = 128, tensormap_used_bytes = 64;

/// What a map says.
struct TensorMap {
  uint64_t address = 0;  ///< a map may begin before its tensor, even below 0
  uint64_t dims[5]{};    ///< elements, innermost first
  uint64_t strides[4]{}; ///< bytes, of dims 1 and up
  uint16_t box[5]{};     ///< elements that a box spans
  uint8_t element_strides[5]{};
  uint8_t rank_less_one = 0;
  uint8_t element = 0; ///< TensorElement
  uint8_t interleave = 0, swizzle = 0, fill_nan = 0;

  uint32_t rank() const { return rank_less_one + 1u; }
};
/// From and to the 64 bytes that count. What does not fit into a field is cut off.
TensorMap unpack_tensormap(const void* bytes);
void pack_tensormap(const TensorMap& map, void* bytes);

/// What a box of 16-bit floats is filled with where it is outside of its tensor and the map says NaN; of wider ones it
/// is every two bytes.
inline constexpr uint16_t outside_nan = 0x7ff7;
bool is_floating(uint8_t element);
/// Bytes of an element; 0 where there is no such type.
uint32_t bytes_of_element(uint8_t element);
/// From one element of a box to the next along a dimension. The innermost has no such stride: the map's is ignored.
inline uint32_t step(const TensorMap& map, uint32_t dim) {
  return dim > 0 && map.element_strides[dim] ? map.element_strides[dim] : 1;
}
/// Elements of a box along a dimension: what it spans, taken in steps.
inline uint32_t box_elements(const TensorMap& map, uint32_t dim) {
  return (map.box[dim] + step(map, dim) - 1) / step(map, dim);
}
/// Bytes of a box in shared memory.
uint64_t box_bytes(const TensorMap& map);
/// What is wrong with it; empty where nothing is.
std::string flaw_of(const TensorMap& map);

struct TensorMapDescription {
  std::string type;                           ///< "u8 i8 u16 i16 u32 i32 u64 i64 f16 bf16 f32 tf32 f64 f8e4m3 f8e5m2"
  uint64_t address = 0;                       ///< of element 0
  std::vector<uint64_t> dims;                 ///< innermost first, 1 to 5
  std::vector<uint64_t> strides;              ///< bytes, of dims 1 and up
  std::vector<uint32_t> box, element_strides; ///< element_strides empty: 1; the innermost is ignored
  uint32_t swizzle = 0;                       ///< bytes: 0, 32, 64, 128
  bool fill_nan = false;                      ///< what is out of bounds; else it is zero
};
/// Throws runtime::Error for what the driver refuses.
std::array<std::byte, tensormap_bytes> encode_tensormap(const TensorMapDescription& description);

} // namespace tilejit::runtime::simulator
