// values.h - tensors of every element type as exact numbers, and kernels over whole tiles: for tests that run an
// operation and compare each element with a reference.
#pragma once
#include "compiler/target/target.h"
#include "dsl/dsl.h"
#include "runtime/simulator/device.h"

#include <catch2/catch.hpp>

#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace tilejit::dsl {

/// Holds every value of every element type: 64 bits of significand (x87).
using Real = long double;
static_assert(std::numeric_limits<Real>::digits >= 64);

inline bool is_float(DType type) { return type == f16 || type == bf16 || type == f32 || type == f64; }

struct FloatFormat {
  int digits, least_exponent, largest_exponent;
};
inline FloatFormat format_of(DType type) {
  switch (type) {
  case f16: return {11, -14, 15};
  case bf16: return {8, -126, 127};
  case f32: return {24, -126, 127};
  default: return {53, -1022, 1023};
  }
}

/// To nearest, ties to even, as IEEE 754 defines it; too large becomes infinity.
inline Real rounded(DType type, Real x) {
  if (!is_float(type) || x == 0 || !std::isfinite(x)) return x;
  FloatFormat format = format_of(type);
  int unit = std::max(std::ilogb(x), format.least_exponent) - (format.digits - 1);
  Real result = std::ldexp(std::nearbyint(std::ldexp(x, -unit)), unit);
  return std::abs(result) >= std::ldexp(Real(1), format.largest_exponent + 1) ? std::copysign(Real(INFINITY), x)
                                                                              : result;
}
/// Relative error of one rounding.
inline Real roundoff(DType type) { return std::ldexp(Real(1), -format_of(type).digits); }

inline int bits_of(DType type) { return type == i1 ? 1 : 8 * static_cast<int>(size_of(type)); }
/// The low bits of an integer, as a signed number (of an i1: 0 or 1).
inline Real wrapped(DType type, int64_t x) {
  if (type == i1) return x & 1;
  int unused = 64 - bits_of(type);
  return Real(static_cast<int64_t>(static_cast<uint64_t>(x) << unused) >> unused);
}

// ---- tensors ---------------------------------------------------------------------------------------------------

struct Array {
  DType type;
  Shape shape;
  std::vector<Real> values; ///< in C order, each a value of the type

  int64_t count() const {
    int64_t count = 1;
    for (int64_t size : shape) count *= size;
    return count;
  }
};

inline std::vector<std::byte> encode(DType type, const std::vector<Real>& values) {
  std::vector<std::byte> bytes(values.size() * size_of(type));
  for (size_t i = 0; i < values.size(); ++i) {
    std::byte* at = bytes.data() + i * size_of(type);
    auto put = [&](auto value) { std::memcpy(at, &value, sizeof value); };
    switch (type) {
    case i1:
    case i8: put(static_cast<int8_t>(values[i])); break;
    case i32: put(static_cast<int32_t>(values[i])); break;
    case i64: put(static_cast<int64_t>(values[i])); break;
    case f16: put(runtime::to_f16(static_cast<float>(values[i]))); break;
    case bf16: put(runtime::to_bf16(static_cast<float>(values[i]))); break;
    case f32: put(static_cast<float>(values[i])); break;
    case f64: put(static_cast<double>(values[i])); break;
    }
  }
  return bytes;
}

inline std::vector<Real> decode(DType type, const std::vector<std::byte>& bytes) {
  std::vector<Real> values(bytes.size() / size_of(type));
  for (size_t i = 0; i < values.size(); ++i) {
    const std::byte* at = bytes.data() + i * size_of(type);
    auto get = [&](auto value) {
      std::memcpy(&value, at, sizeof value);
      return value;
    };
    switch (type) {
    case i1:
    case i8: values[i] = get(int8_t()); break;
    case i32: values[i] = get(int32_t()); break;
    case i64: values[i] = get(int64_t()); break;
    case f16: values[i] = runtime::from_f16(get(uint16_t())); break;
    case bf16: values[i] = runtime::from_bf16(get(uint16_t())); break;
    case f32: values[i] = get(float()); break;
    case f64: values[i] = get(double()); break;
    }
  }
  return values;
}

/// A simulator of each target, which looks for races and uninitialised reads.
using Device = runtime::SimulatorDevice;
inline const std::vector<std::shared_ptr<Device>>& devices() {
  static const std::vector<std::shared_ptr<Device>> all = [] {
    std::vector<std::shared_ptr<Device>> opened;
    for (const Target& target : targets()) {
      opened.push_back(runtime::open_simulator(std::string(target.name)));
      opened.back()->set_instruments({.sanitize = true});
    }
    return opened;
  }();
  return all;
}

inline runtime::Tensor upload(Device& device, const Array& array, int64_t padding = 0) {
  return runtime::from_bytes(device, array.type, array.shape, encode(array.type, array.values), padding);
}
/// What the launches so far have made of a tensor; they must have done so without a finding.
inline std::vector<Real> download(Device& device, const runtime::Tensor& tensor) {
  std::vector<std::byte> bytes = runtime::to_bytes(device, tensor);
  std::vector<runtime::Finding> findings = device.findings();
  device.clear_findings();
  for (const runtime::Finding& finding : findings) FAIL(finding.message);
  return decode(tensor.type, bytes);
}

/// Random values: floats around 1 in size, either sign; integers of any bits.
inline Array random_array(DType type, const Shape& shape, unsigned seed) {
  Array array{type, shape, {}};
  std::mt19937_64 generator(seed);
  std::uniform_real_distribution<double> exponent(-3, 3);
  for (int64_t i = 0; i < array.count(); ++i) {
    uint64_t bits = generator();
    Real value = is_float(type) ? rounded(type, std::exp2(exponent(generator)) * (bits & 1 ? -1 : 1))
                                : wrapped(type, static_cast<int64_t>(bits));
    array.values.push_back(value);
  }
  return array;
}

// ---- kernels over whole tiles ----------------------------------------------------------------------------------

/// A window over the whole of a view, as a tile of this shape.
inline Window whole(const View& view, const Shape& tile) {
  std::vector<Coordinate> at;
  for (int64_t size : tile) at.push_back(span(0, size));
  return view.at(at);
}

/// Runs `body` on tiles of the inputs, one block, and gives what it returned, for an output of this type and shape.
/// Each tile is larger than its tensor by `overhang` in every dim, which the bounds of the views cut off.
inline Array run_on_tiles(Device& device, const std::vector<Array>& inputs, DType type, const Shape& shape,
                          const std::function<Tile(const std::vector<Tile>&)>& body, const Schedule& schedule = {},
                          int64_t overhang = 0) {
  auto tile_shape = [&](Shape shape) {
    for (int64_t& size : shape) size += overhang;
    return shape;
  };
  std::string signature = "test(out";
  for (size_t i = 0; i < inputs.size(); ++i) signature += std::string(", x") + std::to_string(i);
  Jit jit(kernel(
      signature + ")",
      [&](const Arguments& arguments) {
        std::vector<Tile> tiles;
        for (size_t i = 0; i < inputs.size(); ++i)
          tiles.push_back(whole(arguments.view(i + 1), tile_shape(inputs[i].shape)).load());
        whole(arguments.view(0), tile_shape(shape)).store(body(tiles));
      },
      schedule));
  runtime::Tensor out = runtime::empty(device, type, shape);
  std::vector<Argument> arguments{out};
  for (const Array& input : inputs) arguments.push_back(upload(device, input));
  jit.launch(device, {}, arguments);
  return {type, shape, download(device, out)};
}

/// Every element within its bound of what is wanted; NaN only where NaN is wanted, infinities exactly.
inline void check_values(const Array& got, const std::vector<Real>& wanted, const std::function<Real(size_t)>& bound) {
  REQUIRE(got.values.size() == wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i) {
    bool same = std::isnan(wanted[i])   ? std::isnan(got.values[i])
                : std::isinf(wanted[i]) ? got.values[i] == wanted[i]
                                        : std::abs(got.values[i] - wanted[i]) <= bound(i);
    if (!same)
      FAIL("element " << i << ": " << static_cast<double>(got.values[i]) << ", not " << static_cast<double>(wanted[i])
                      << " within " << static_cast<double>(bound(i)));
  }
  SUCCEED();
}
inline void check_equal(const Array& got, const std::vector<Real>& wanted) {
  check_values(got, wanted, [](size_t) { return Real(0); });
}

} // namespace tilejit::dsl
