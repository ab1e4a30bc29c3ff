#include "runtime/tensor.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace tilejit::runtime {
namespace {

std::string describe(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

/// Elements of a C-order shape; throws Error when a size is negative or the bytes do not fit 63 bits.
int64_t count(const std::vector<int64_t>& shape, DType type) {
  int64_t elements = 1, bytes = static_cast<int64_t>(size_of(type));
  for (int64_t size : shape)
    if (size < 0 || __builtin_mul_overflow(elements, size, &elements) || __builtin_mul_overflow(bytes, size, &bytes))
      throw Error("a tensor of shape " + describe(shape) + " can't be made: every size must be at least 0 and all " +
                  "elements together must fit 63 bits of bytes");
  return elements;
}

/// The first and one past the last element that the view reaches, counted from the buffer's start.
struct Extent {
  int64_t begin, end;
};
Extent extent(const Tensor& tensor) {
  Extent e{tensor.offset, tensor.offset + 1};
  for (size_t d = 0; d < tensor.shape.size(); ++d) {
    int64_t reach = (tensor.shape[d] - 1) * tensor.strides[d];
    (reach < 0 ? e.begin : e.end) += reach;
  }
  return e;
}

/// Calls row(offset, dense) for every row of the last dim, in C order: the element offset of its start in the view's
/// buffer, and in a dense array.
template <typename Row>
void for_each_row(const Tensor& tensor, Row row) {
  int64_t length = tensor.rank() ? tensor.shape.back() : 1;
  std::vector<int64_t> index(tensor.shape.size(), 0);
  int64_t offset = tensor.offset;
  for (int64_t dense = 0, all = tensor.elements(); dense < all; dense += length) {
    row(offset, dense);
    for (int d = tensor.rank() - 2; d >= 0; --d) {
      offset += tensor.strides[d];
      if (++index[d] < tensor.shape[d]) break;
      offset -= index[d] * tensor.strides[d];
      index[d] = 0;
    }
  }
}

void copy_elements(std::byte* to, int64_t to_stride, const std::byte* from, int64_t from_stride, int64_t elements,
                   size_t size) {
  if (elements <= 0) return;
  if (to_stride == 1 && from_stride == 1) {
    std::memcpy(to, from, static_cast<size_t>(elements) * size);
    return;
  }
  int64_t step_to = to_stride * static_cast<int64_t>(size), step_from = from_stride * static_cast<int64_t>(size);
  for (int64_t i = 0; i < elements; ++i) std::memcpy(to + i * step_to, from + i * step_from, size);
}

/// To nearest even, saturating; NaN becomes 0.
template <typename Int>
Int to_integer(float value) {
  if (std::isnan(value)) return 0;
  // As a double the lower bound is exact; the upper may round up, and then it is out of range itself.
  double rounded = std::nearbyint(static_cast<double>(value));
  if (rounded <= static_cast<double>(std::numeric_limits<Int>::min())) return std::numeric_limits<Int>::min();
  if (rounded >= static_cast<double>(std::numeric_limits<Int>::max())) return std::numeric_limits<Int>::max();
  return static_cast<Int>(rounded);
}

template <typename T, typename Convert>
std::vector<float> convert_from(std::span<const std::byte> elements, Convert convert) {
  std::vector<float> values(elements.size() / sizeof(T));
  for (size_t i = 0; i < values.size(); ++i) {
    T element;
    std::memcpy(&element, elements.data() + i * sizeof(T), sizeof(T));
    values[i] = convert(element);
  }
  return values;
}

template <typename T, typename Convert>
std::vector<std::byte> convert_to(std::span<const float> values, Convert convert) {
  std::vector<std::byte> elements(values.size() * sizeof(T));
  for (size_t i = 0; i < values.size(); ++i) {
    T element = convert(values[i]);
    std::memcpy(elements.data() + i * sizeof(T), &element, sizeof(T));
  }
  return elements;
}

} // namespace

int64_t Tensor::elements() const { return count(shape, type); }

Tensor Tensor::transpose(int a, int b) const {
  if (a < 0 || b < 0 || a >= rank() || b >= rank())
    throw Error("transpose of dims " + std::to_string(a) + " and " + std::to_string(b) + " of a tensor of shape " +
                describe(shape));
  Tensor view = *this;
  std::swap(view.shape[a], view.shape[b]);
  std::swap(view.strides[a], view.strides[b]);
  return view;
}

Tensor Tensor::slice(int dim, int64_t begin, int64_t end) const {
  if (dim < 0 || dim >= rank() || begin < 0 || end < begin || end > shape[dim])
    throw Error("slice [" + std::to_string(begin) + ", " + std::to_string(end) + ") of dim " + std::to_string(dim) +
                " of a tensor of shape " + describe(shape));
  Tensor view = *this;
  view.shape[dim] = end - begin;
  view.offset += begin * strides[dim];
  return view;
}

Tensor empty(Device& device, DType type, std::vector<int64_t> shape, int64_t padding) {
  if (padding < 0) throw Error("the padding of a tensor's rows can't be negative");
  count(shape, type);
  Tensor tensor;
  tensor.type = type;
  tensor.strides.assign(shape.size(), 1);
  std::vector<int64_t> padded = shape;
  if (!padded.empty()) padded.back() += padding;
  for (size_t d = shape.size(); d-- > 1;) tensor.strides[d - 1] = tensor.strides[d] * padded[d];
  tensor.shape = std::move(shape);
  tensor.buffer = device.allocate(static_cast<size_t>(count(padded, type)) * size_of(type));
  device.fill_zero(*tensor.buffer);
  return tensor;
}

Tensor from_bytes(Device& device, DType type, const std::vector<int64_t>& shape, std::span<const std::byte> elements,
                  int64_t padding) {
  size_t size = size_of(type);
  if (elements.size() != static_cast<size_t>(count(shape, type)) * size)
    throw Error("a tensor of shape " + describe(shape) + " and type " + std::string(name_of(type)) + " needs " +
                std::to_string(count(shape, type)) + " elements, got " + std::to_string(elements.size() / size));
  Tensor tensor = empty(device, type, shape, padding);
  if (padding == 0) {
    if (!elements.empty()) device.upload(*tensor.buffer, 0, elements);
    return tensor;
  }
  std::vector<std::byte> image(tensor.buffer->size());
  int64_t length = tensor.rank() ? tensor.shape.back() : 1;
  for_each_row(tensor, [&](int64_t offset, int64_t dense) {
    copy_elements(image.data() + offset * size, 1, elements.data() + dense * size, 1, length, size);
  });
  if (!image.empty()) device.upload(*tensor.buffer, 0, image);
  return tensor;
}

std::vector<std::byte> to_bytes(Device& device, const Tensor& tensor) {
  size_t size = size_of(tensor.type);
  std::vector<std::byte> elements(static_cast<size_t>(tensor.elements()) * size);
  if (elements.empty()) return elements;
  Extent e = extent(tensor);
  if (e.begin < 0 || static_cast<size_t>(e.end) * size > tensor.buffer->size())
    throw Error("a tensor of shape " + describe(tensor.shape) + " and strides " + describe(tensor.strides) +
                " reaches outside its buffer of " + std::to_string(tensor.buffer->size()) + " bytes");
  std::vector<std::byte> image(static_cast<size_t>(e.end - e.begin) * size);
  device.download(*tensor.buffer, static_cast<size_t>(e.begin) * size, image);
  int64_t length = tensor.rank() ? tensor.shape.back() : 1;
  int64_t stride = tensor.rank() ? tensor.strides.back() : 1;
  for_each_row(tensor, [&](int64_t offset, int64_t dense) {
    copy_elements(elements.data() + dense * size, 1, image.data() + (offset - e.begin) * size, stride, length, size);
  });
  return elements;
}

Tensor from_floats(Device& device, DType type, const std::vector<int64_t>& shape, std::span<const float> values,
                   int64_t padding) {
  return from_bytes(device, type, shape, bytes_of(type, values), padding);
}

std::vector<float> to_floats(Device& device, const Tensor& tensor) {
  return floats_of(tensor.type, to_bytes(device, tensor));
}

std::vector<float> floats_of(DType type, std::span<const std::byte> elements) {
  auto plain = [](auto value) { return static_cast<float>(value); };
  switch (type) {
  case DType::i1: return convert_from<uint8_t>(elements, [](uint8_t value) { return value ? 1.0f : 0.0f; });
  case DType::i8: return convert_from<int8_t>(elements, plain);
  case DType::i32: return convert_from<int32_t>(elements, plain);
  case DType::i64: return convert_from<int64_t>(elements, plain);
  case DType::f16: return convert_from<uint16_t>(elements, from_f16);
  case DType::bf16: return convert_from<uint16_t>(elements, from_bf16);
  case DType::f32: return convert_from<float>(elements, plain);
  case DType::f64: return convert_from<double>(elements, plain);
  }
  throw Error("unknown element type");
}

std::vector<std::byte> bytes_of(DType type, std::span<const float> values) {
  switch (type) {
  case DType::i1: return convert_to<uint8_t>(values, [](float value) { return static_cast<uint8_t>(value != 0); });
  case DType::i8: return convert_to<int8_t>(values, to_integer<int8_t>);
  case DType::i32: return convert_to<int32_t>(values, to_integer<int32_t>);
  case DType::i64: return convert_to<int64_t>(values, to_integer<int64_t>);
  case DType::f16: return convert_to<uint16_t>(values, to_f16);
  case DType::bf16: return convert_to<uint16_t>(values, to_bf16);
  case DType::f32: return convert_to<float>(values, [](float value) { return value; });
  case DType::f64: return convert_to<double>(values, [](float value) { return static_cast<double>(value); });
  }
  throw Error("unknown element type");
}

uint16_t to_bf16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  if (value != value) return static_cast<uint16_t>(bits >> 16 | 0x40); // quiet, so that no payload rounds to infinity
  bits += 0x7fff + (bits >> 16 & 1);                                   // to nearest, ties to even
  return static_cast<uint16_t>(bits >> 16);
}

float from_bf16(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

uint16_t to_f16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  uint32_t sign = bits >> 16 & 0x8000;
  uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return static_cast<uint16_t>(sign | 0x7e00);  // NaN
  if (magnitude >= 0x477ff000) return static_cast<uint16_t>(sign | 0x7c00); // 65520 and more round to infinity
  if (magnitude < 0x38800000) {
    // Below 2^-14 the result is a multiple of 2^-24: adding 0.5 leaves it in the low bits, rounded by the hardware.
    float sum = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(sum) - 0x3f000000));
  }
  magnitude += 0xfff + (magnitude >> 13 & 1); // to nearest, ties to even
  return static_cast<uint16_t>(sign | ((magnitude - 0x38000000) >> 13));
}

float from_f16(uint16_t bits) {
  uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  uint32_t exponent = bits >> 10 & 0x1f, mantissa = bits & 0x3ff;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000 | mantissa << 13);
  if (exponent == 0) {
    float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
  }
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
}

} // namespace tilejit::runtime
