// Integer kernels against the same C++ on the host.
#include "tests/runtime/simulator/cuda/cuda.h"
#include "tests/runtime/simulator/cuda/numbers.h"

#include <bit>

using namespace tilejit::runtime::simulator::test;

namespace {

/// Small, large and border numbers.
template <typename T>
std::vector<T> numbers(size_t count, Random& random) {
  std::vector<T> values(count);
  for (T& v : values) {
    uint64_t bits = uint64_t{random()} << 32 | random();
    switch (random() % 6) {
    case 0: bits = random() % 4; break;
    case 1: bits = ~uint64_t{random() % 4}; break;
    case 2: bits = (uint64_t{1} << (sizeof(T) * 8 - 1)) - random() % 3; break;
    case 3: bits >>= random() % 64; break;
    default: break;
    }
    v = static_cast<T>(bits);
  }
  return values;
}

template <typename T>
void check_operations(Kernels& kernels, const std::string& name) {
  INFO(name);
  Random random;
  constexpr int n = 1000;
  auto in = numbers<T>(3 * n, random);
  auto out = kernels.zeros<T>(results_of_operations * n);
  kernels.run("operations_" + name, (n + 95) / 96, 96, kernels.upload(in), out, n);
  auto got = kernels.download<T>(out);
  for (int i = 0; i < n; ++i) {
    T expected[results_of_operations];
    T a = in[3 * i], b = in[3 * i + 1], c = in[3 * i + 2];
    operations(a, b, c, expected);
    for (int k = 0; k < results_of_operations; ++k) {
      INFO("result " << k << " of " << +a << ", " << +b << ", " << +c);
      REQUIRE(+got[i * results_of_operations + k] == +expected[k]);
    }
  }
}

/// Inputs of the kernels that take two words and a double one.
struct Words {
  int n = 500;
  std::vector<uint32_t> a, b;
  std::vector<uint64_t> w;
};
Words words() {
  Random random;
  Words inputs;
  auto count = static_cast<size_t>(inputs.n);
  inputs.a = numbers<uint32_t>(count, random);
  inputs.b = numbers<uint32_t>(count, random);
  inputs.w = numbers<uint64_t>(count, random);
  return inputs;
}

} // namespace

TEST_CASE("arithmetic of every width") {
  for (const char* target : targets) {
    INFO(target);
    Kernels kernels("numbers", target);
    check_operations<int8_t>(kernels, "s8");
    check_operations<uint8_t>(kernels, "u8");
    check_operations<int16_t>(kernels, "s16");
    check_operations<uint16_t>(kernels, "u16");
    check_operations<int32_t>(kernels, "s32");
    check_operations<uint32_t>(kernels, "u32");
    check_operations<int64_t>(kernels, "s64");
    check_operations<uint64_t>(kernels, "u64");
  }
}

TEST_CASE("bits, hashes, roots, numbers of 128 bits") {
  for (const char* target : targets) {
    INFO(target);
    Kernels kernels("numbers", target);
    const auto [n, a, b, w] = words();
    auto out = kernels.zeros<uint64_t>(results_of_bits * n);
    kernels.run("bit_tricks", 4, 128, kernels.upload(a), kernels.upload(b), kernels.upload(w), out, n);
    auto got = kernels.download<uint64_t>(out);
    for (int i = 0; i < n; ++i) {
      uint64_t expected[results_of_bits];
      bits(a[i], b[i], w[i], expected);
      for (int k = 0; k < results_of_bits; ++k) {
        INFO("result " << k << " of " << a[i] << ", " << b[i] << ", " << w[i]);
        REQUIRE(got[i * results_of_bits + k] == expected[k]);
      }
    }
  }
}

TEST_CASE("integer intrinsics") {
  for (const char* target : targets) {
    INFO(target);
    Kernels kernels("numbers", target);
    const auto [n, a, b, w] = words();
    auto out = kernels.zeros<uint32_t>(16 * n);
    kernels.run("intrinsics", 4, 128, kernels.upload(a), kernels.upload(b), kernels.upload(w), out, n);
    auto got = kernels.download<uint32_t>(out);
    for (int i = 0; i < n; ++i) {
      uint32_t x = a[i], y = b[i], z = static_cast<uint32_t>(w[i]);
      uint64_t pair = uint64_t{y} << 32 | x;
      uint32_t bytes = 0, sums = 0, halves = 0, products = 5;
      for (int k = 0; k < 4; ++k) {
        bytes |= static_cast<uint32_t>(pair >> (8 * (z >> (4 * k) & 7)) & 255) << (8 * k);
        sums |= ((x >> (8 * k)) + (y >> (8 * k)) & 255) << (8 * k);
        products += (x >> (8 * k) & 255) * (y >> (8 * k) & 255);
      }
      for (int k = 0; k < 2; ++k) {
        auto p = static_cast<int16_t>(x >> (16 * k)), q = static_cast<int16_t>(y >> (16 * k));
        halves |= uint32_t{static_cast<uint16_t>(std::max(p, q))} << (16 * k);
      }
      uint64_t reversed_bits = 0;
      for (int k = 0; k < 64; ++k) reversed_bits |= (w[i] >> k & 1) << (63 - k);
      uint32_t right = std::min(z & 63, 32u);
      const uint32_t expected[16] = {
          static_cast<uint32_t>(std::popcount(x)),
          static_cast<uint32_t>(std::countl_zero(x)),
          x ? static_cast<uint32_t>(std::countr_zero(x)) + 1 : 0,
          static_cast<uint32_t>(std::popcount(w[i])),
          static_cast<uint32_t>(std::countl_zero(w[i])),
          bytes,
          static_cast<uint32_t>(pair << (z & 31) >> 32),
          static_cast<uint32_t>(pair >> right),
          static_cast<uint32_t>(uint64_t{x} * y >> 32),
          static_cast<uint32_t>(int64_t{static_cast<int32_t>(x)} * static_cast<int32_t>(y) >> 32),
          (x > y ? x - y : y - x) + 7,
          sums,
          halves,
          products,
          static_cast<uint32_t>((int64_t{static_cast<int32_t>(x)} + static_cast<int32_t>(y)) >> 1),
          static_cast<uint32_t>(reversed_bits)};
      for (int k = 0; k < 16; ++k) {
        INFO("result " << k << " of " << x << ", " << y << ", " << w[i]);
        REQUIRE(got[16 * i + k] == expected[k]);
      }
    }
  }
}
