// tensor.h - a strided array in device memory, as kernels take them.
#pragma once
#include "runtime/device.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace tilejit::runtime {

/// A view of a device buffer: element type, shape, strides in elements. Copying it copies the view, not the data.
struct Tensor {
  std::shared_ptr<Buffer> buffer;
  DType type = DType::f32;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides; ///< elements
  int64_t offset = 0;           ///< elements from the buffer's start to element (0, 0, ...)

  int rank() const { return static_cast<int>(shape.size()); }
  int64_t elements() const;
  uint64_t address() const { return buffer->address() + static_cast<uint64_t>(offset) * size_of(type); }

  /// The same data with dims a and b exchanged.
  Tensor transpose(int a, int b) const;
  /// Elements [begin, end) of one dim.
  Tensor slice(int dim, int64_t begin, int64_t end) const;
};

/// A new C-order tensor, zeroed. `padding`: extra elements between rows of the last dim (so strides are not dense).
Tensor empty(Device& device, DType type, std::vector<int64_t> shape, int64_t padding = 0);

/// A tensor from its elements in C order, size_of(type) bytes each.
Tensor from_bytes(Device& device, DType type, const std::vector<int64_t>& shape, std::span<const std::byte> elements,
                  int64_t padding = 0);

/// All elements in C order, size_of(type) bytes each, whatever the strides.
std::vector<std::byte> to_bytes(Device& device, const Tensor& tensor);

/// A tensor from float32 values in C order of `shape`, rounded to `type` (nearest even).
Tensor from_floats(Device& device, DType type, const std::vector<int64_t>& shape, std::span<const float> values,
                   int64_t padding = 0);

/// All elements in C order as float32, whatever the strides.
std::vector<float> to_floats(Device& device, const Tensor& tensor);

/// Conversions of dense elements: to float32, and from float32 to nearest even. An i1 is 0 or 1 and true where the
/// float is not 0; integers saturate, and NaN becomes 0.
std::vector<float> floats_of(DType type, std::span<const std::byte> elements);
std::vector<std::byte> bytes_of(DType type, std::span<const float> values);

/// Conversions of one value, to nearest even; NaN stays NaN.
uint16_t to_bf16(float value);
uint16_t to_f16(float value);
float from_bf16(uint16_t bits);
float from_f16(uint16_t bits);

} // namespace tilejit::runtime
