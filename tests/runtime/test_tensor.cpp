#include "runtime/device.h"
#include "runtime/tensor.h"

#include <catch2/catch.hpp>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>

using namespace tilejit;
using namespace tilejit::runtime;
using Catch::Matchers::Contains;

namespace {

/// Device memory that is host memory: what tensor.h does is the same on every device.
class HostBuffer final : public Buffer {
public:
  explicit HostBuffer(size_t bytes) : bytes_(bytes, std::byte{0xcd}) {}
  uint64_t address() const override { return reinterpret_cast<uint64_t>(bytes_.data()); }
  size_t size() const override { return bytes_.size(); }
  mutable std::vector<std::byte> bytes_;
};

class HostDevice final : public Device {
public:
  std::string name() const override { return "host"; }
  std::string target() const override { return "none"; }
  std::shared_ptr<Buffer> allocate(size_t bytes) override { return std::make_shared<HostBuffer>(bytes); }
  void upload(Buffer& to, size_t offset, std::span<const std::byte> from) override {
    auto& bytes = static_cast<HostBuffer&>(to).bytes_;
    REQUIRE(offset + from.size() <= bytes.size());
    std::memcpy(bytes.data() + offset, from.data(), from.size());
  }
  void download(const Buffer& from, size_t offset, std::span<std::byte> to) override {
    auto& bytes = static_cast<const HostBuffer&>(from).bytes_;
    REQUIRE(offset + to.size() <= bytes.size());
    std::memcpy(to.data(), bytes.data() + offset, to.size());
  }
  void fill_zero(Buffer& buffer) override {
    auto& bytes = static_cast<HostBuffer&>(buffer).bytes_;
    std::fill(bytes.begin(), bytes.end(), std::byte{0});
  }
  std::shared_ptr<Module> load(const CompiledKernel&) override { throw Error("not here"); }
  std::unique_ptr<Stream> create_stream() override { throw Error("not here"); }
  void launch(const Module&, const Launch&, Stream*) override { throw Error("not here"); }
  void launch_ptx(const std::string&, const PtxLaunch&) override { throw Error("not here"); }
  void synchronize() override {}
  double time(const std::function<void()>&) override { return 0; }
};

/// The 16-bit value nearest to x, ties to even, found by trying both neighbours in double.
template <typename Decode>
uint16_t nearest(float x, Decode decode, uint16_t infinity, double beyond) {
  uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  double magnitude = std::fabs(static_cast<double>(x));
  uint16_t low = 0, high = infinity; // magnitudes grow with their bits
  while (high - low > 1) {
    uint16_t middle = static_cast<uint16_t>((low + high) / 2);
    (static_cast<double>(decode(middle)) <= magnitude ? low : high) = middle;
  }
  double below = decode(low), above = high == infinity ? beyond : static_cast<double>(decode(high));
  double down = magnitude - below, up = above - magnitude;
  bool upwards = up < down || (up == down && (low & 1));
  return static_cast<uint16_t>(sign | (upwards ? high : low));
}

std::vector<float> counting(size_t n) {
  std::vector<float> values(n);
  std::iota(values.begin(), values.end(), 1.0f);
  return values;
}

} // namespace

TEST_CASE("every 16-bit value survives the way to float and back") {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    uint16_t half = static_cast<uint16_t>(bits);
    if (std::isnan(from_f16(half)))
      CHECK(std::isnan(from_f16(to_f16(from_f16(half)))));
    else if (to_f16(from_f16(half)) != half)
      FAIL("f16 " << bits);
    if (std::isnan(from_bf16(half)))
      CHECK(std::isnan(from_bf16(to_bf16(from_bf16(half)))));
    else if (to_bf16(from_bf16(half)) != half)
      FAIL("bf16 " << bits);
  }
}

TEST_CASE("rounding is to nearest even, subnormals and overflow included") {
  std::mt19937 random(7);
  std::vector<float> values = {0.0f,       -0.0f,      1.0f,       65504.0f,  65519.99f,    65520.0f,
                               0x1p-24f,   0x1p-25f,   0x1.8p-25f, 0x1p-14f,  0x1.ffcp-15f, 0x1.fffp-15f,
                               0x1.004p0f, 0x1.00cp0f, 3.4e38f,    0x1.01p0f, 0x1.03p0f,    0x1p-149f,
                               0x1p-133f,  0x1p-134f,  INFINITY,   -INFINITY};
  for (int i = 0; i < 200000; ++i) {
    float value = std::bit_cast<float>(static_cast<uint32_t>(random()));
    if (!std::isnan(value)) values.push_back(value);
    values.push_back(std::ldexp(static_cast<float>(random()), static_cast<int>(random() % 48) - 60)); // near f16
  }
  for (float value : values) {
    // One more binade where infinity stands decides what overflows: 2^16 for f16, 2^128 for bf16.
    uint16_t f16 = std::isinf(value) ? to_f16(value) : nearest(value, from_f16, 0x7c00, 0x1p16);
    uint16_t bf16 = std::isinf(value) ? to_bf16(value) : nearest(value, from_bf16, 0x7f80, 0x1p128);
    if (to_f16(value) != f16) FAIL("f16 of " << value << ": " << to_f16(value) << " for " << f16);
    if (to_bf16(value) != bf16) FAIL("bf16 of " << value << ": " << to_bf16(value) << " for " << bf16);
  }
  CHECK(from_f16(to_f16(-INFINITY)) == -INFINITY);
  CHECK(from_bf16(to_bf16(INFINITY)) == INFINITY);
  CHECK(std::isnan(from_bf16(to_bf16(std::bit_cast<float>(0x7f800001u))))); // a payload only in the low bits
  CHECK(std::isnan(from_f16(to_f16(std::bit_cast<float>(0x7f800001u)))));
}

TEST_CASE("integers round to even and saturate") {
  std::vector<float> values = {0.5f, 1.5f, 2.5f, -1.5f, 3e9f, -3e9f, 1e30f, -1e30f, NAN, 127.6f, -129.0f};
  auto through = [&](DType type) { return floats_of(type, bytes_of(type, values)); };
  CHECK(through(DType::i32) ==
        std::vector<float>{0, 2, 2, -2, 2147483647.0f, -2147483648.0f, 2147483647.0f, -2147483648.0f, 0, 128, -129});
  CHECK(through(DType::i8) == std::vector<float>{0, 2, 2, -2, 127, -128, 127, -128, 0, 127, -128});
  CHECK(through(DType::i64) == std::vector<float>{0, 2, 2, -2, 3e9f, -3e9f, 0x1p63f, -0x1p63f, 0, 128, -129});
  CHECK(through(DType::i1) == std::vector<float>{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1});
}

TEST_CASE("a tensor holds its values whatever its type and padding") {
  HostDevice device;
  std::vector<float> values = counting(2 * 3 * 5);
  for (DType type : {DType::f32, DType::f16, DType::bf16, DType::f64, DType::i32, DType::i64, DType::i8})
    for (int64_t padding : {0, 1, 3}) {
      Tensor tensor = from_floats(device, type, {2, 3, 5}, values, padding);
      CHECK(tensor.strides == std::vector<int64_t>{3 * (5 + padding), 5 + padding, 1});
      CHECK(tensor.elements() == 30);
      CHECK(to_floats(device, tensor) == values);
    }
}

TEST_CASE("padding is zero") {
  HostDevice device;
  Tensor tensor = from_floats(device, DType::f32, {2, 2}, counting(4), 1);
  Tensor with_padding = tensor;
  with_padding.shape = {2, 3};
  CHECK(to_floats(device, with_padding) == std::vector<float>{1, 2, 0, 3, 4, 0});
}

TEST_CASE("views: transposed, sliced, and both") {
  HostDevice device;
  Tensor tensor = from_floats(device, DType::bf16, {2, 3, 4}, counting(24), 2);
  auto at = [](int i, int j, int k) { return static_cast<float>(1 + 12 * i + 4 * j + k); };

  Tensor view = tensor.transpose(0, 2).slice(0, 1, 3).slice(1, 2, 3);
  CHECK(view.shape == std::vector<int64_t>{2, 1, 2});
  CHECK(to_floats(device, view) == std::vector<float>{at(0, 2, 1), at(1, 2, 1), at(0, 2, 2), at(1, 2, 2)});
  CHECK(view.address() == tensor.address() + 2 * (1 + 2 * 6));
  CHECK(to_floats(device, tensor.slice(1, 1, 1)).empty());

  Tensor reversed = tensor.slice(0, 0, 1).slice(1, 0, 1);
  reversed.offset += 3;
  reversed.strides[2] = -1;
  CHECK(to_floats(device, reversed) == std::vector<float>{4, 3, 2, 1});
}

TEST_CASE("tensors without dims and without elements") {
  HostDevice device;
  CHECK(to_floats(device, from_floats(device, DType::f32, {}, std::vector<float>{7})) == std::vector<float>{7});
  Tensor nothing = empty(device, DType::f16, {3, 0, 2});
  CHECK(nothing.elements() == 0);
  CHECK(to_floats(device, nothing).empty());
}

TEST_CASE("what can't be a tensor says why") {
  HostDevice device;
  CHECK_THROWS_WITH(empty(device, DType::f32, {2, -1}), Contains("[2, -1]"));
  CHECK_THROWS_WITH(empty(device, DType::f32, {int64_t(1) << 40, int64_t(1) << 40}), Contains("63 bits"));
  CHECK_THROWS_WITH(from_floats(device, DType::f32, {2, 2}, counting(3)), Contains("needs 4 elements, got 3"));
  Tensor tensor = empty(device, DType::f32, {2, 2});
  CHECK_THROWS_WITH(tensor.slice(1, 0, 3), Contains("slice [0, 3) of dim 1"));
  CHECK_THROWS_WITH(tensor.transpose(0, 2), Contains("dims 0 and 2"));
  tensor.shape = {3, 2};
  CHECK_THROWS_WITH(to_floats(device, tensor), Contains("reaches outside its buffer of 16 bytes"));
}
