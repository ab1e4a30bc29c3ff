// Hopper's asynchronous instructions as CUDA C++ uses them, against plain loops, in a fixed order and in random ones.
#include "runtime/simulator/tensormap.h"
#include "tests/runtime/simulator/cuda/cuda.h"

#include <bit>
#include <numeric>
#include <optional>

using namespace tilejit::runtime;
using namespace tilejit::runtime::simulator::test;

namespace {

std::vector<int> numbers(size_t count, uint32_t below) {
  Random random;
  std::vector<int> values(count);
  for (int& v : values) v = static_cast<int>(random() % below);
  return values;
}
/// Calls f(kernels) for several orders of what may happen.
template <class F>
void in_all_orders(F f) {
  for (std::optional<uint64_t> seed : {std::optional<uint64_t>{}, {1}, {2}, {3}}) {
    INFO("seed " << (seed ? std::to_string(*seed) : "none"));
    Kernels kernels("hopper", "sm_90a");
    if (SimulatorDevice* s = kernels.simulated()) s->set_seed(seed);
    f(kernels);
    if (SimulatorDevice* s = kernels.simulated()) CHECK(s->findings().empty());
  }
}

} // namespace

TEST_CASE("clusters share memory") {
  auto in = numbers(1000, 1 << 20);
  for (uint32_t size : {1u, 2u, 4u, 8u})
    in_all_orders([&](Kernels& kernels) {
      auto bins = kernels.zeros<int>(16 * 8), ranks = kernels.zeros<int>(4 * 8);
      kernels.launch({.entry = "cluster_histogram",
                      .grid = {8, 1, 1},
                      .block = {64, 1, 1},
                      .cluster = {size, 1, 1},
                      .parameters = {Kernels::bytes_of(kernels.upload(in)), Kernels::bytes_of(1000),
                                     Kernels::bytes_of(bins), Kernels::bytes_of(ranks)}});
      std::vector<int> expected(16 * 8), places;
      for (int i = 0; i < 1000; ++i) {
        uint32_t block = i / 64 % 8;
        ++expected[block / size * size * 16 + in[i] % (16 * size)];
      }
      for (uint32_t b = 0; b < 8; ++b)
        for (uint32_t x : {b % size, size, (b + 1) % size, b % size * 10 + size}) places.push_back(static_cast<int>(x));
      CHECK(kernels.download<int>(bins) == expected);
      CHECK(kernels.download<int>(ranks) == places);
    });
}

TEST_CASE("a ring of bulk copies, bulk stores and reductions") {
  const int chunks = 5;
  auto in = numbers(256 * chunks, 1000);
  in_all_orders([&](Kernels& kernels) {
    auto out = kernels.zeros<int>(in.size()), sums = kernels.zeros<int>(256);
    kernels.run("bulk_ring", 1, 256, kernels.upload(in), chunks, out, sums);
    std::vector<int> doubled, added(256);
    for (size_t i = 0; i < in.size(); ++i) {
      doubled.push_back(2 * in[i] + 1);
      added[i % 256] += doubled.back();
    }
    CHECK(kernels.download<int>(out) == doubled);
    CHECK(kernels.download<int>(sums) == added);
  });
}

TEST_CASE("a barrier of the library: tokens, and threads that leave") {
  auto in = numbers(3 * 128, 1000);
  in_all_orders([&](Kernels& kernels) {
    auto out = kernels.zeros<int>(128);
    kernels.run("barrier_tokens", 1, 128, kernels.upload(in), out);
    std::vector<int> expected(128);
    for (int t = 0; t < 128; ++t) {
      int next = (t + 1) % 128;
      expected[t] = 1 + in[next] + in[128 + next];
      if (t < 96) expected[t] += 2 + in[(next < 96 ? 256 : 128) + next]; // the others have left with what they had
    }
    CHECK(kernels.download<int>(out) == expected);
  });
}

TEST_CASE("tensor maps of the host and of the device") {
  const int rows = 20, columns = 40, x = 12, y = 15;
  std::vector<float> matrix(rows * columns), expected;
  std::iota(matrix.begin(), matrix.end(), 1.f);
  for (int c = x; c < x + 32; ++c)
    for (int r = y; r < y + 8; ++r) expected.push_back(r < rows && c < columns ? matrix[r * columns + c] : 0);
  in_all_orders([&](Kernels& kernels) {
    auto in = kernels.upload(matrix), out = kernels.zeros<float>(256);
    auto map = tilejit::runtime::simulator::encode_tensormap({.type = "f32",
                                                              .address = in->address(),
                                                              .dims = {columns, rows},
                                                              .strides = {columns * 4},
                                                              .box = {32, 8},
                                                              .swizzle = 128});
    kernels.run("tensor_box", 1, 64, map, x, y, out);
    CHECK(kernels.download<float>(out) == expected);
    auto again = kernels.zeros<float>(256), place = kernels.zeros<float>(32);
    kernels.run("tensor_map_made_here", 1, 64, in, rows, columns, place, x, y, again);
    CHECK(kernels.download<float>(again) == expected);
  });
}

TEST_CASE("one copy for a cluster, numbers for its neighbours") {
  auto in = numbers(64, 1000);
  in_all_orders([&](Kernels& kernels) {
    auto out = kernels.zeros<int>(4 * 64);
    kernels.launch({.entry = "multicast",
                    .grid = {4, 1, 1},
                    .block = {64, 1, 1},
                    .cluster = {4, 1, 1},
                    .parameters = {Kernels::bytes_of(kernels.upload(in)), Kernels::bytes_of(out)}});
    std::vector<int> expected;
    for (int block = 0; block < 4; ++block)
      for (int v : in) expected.push_back(v + 100 + (block + 3) % 4);
    CHECK(kernels.download<int>(out) == expected);
  });
}

TEST_CASE("a product of a warpgroup") {
  auto a = numbers(64 * 32, 17), b = numbers(16 * 32, 9);
  auto narrow = [](const std::vector<int>& values) {
    std::vector<uint16_t> bf16;
    for (int v : values) bf16.push_back(static_cast<uint16_t>(std::bit_cast<uint32_t>(static_cast<float>(v)) >> 16));
    return bf16;
  };
  in_all_orders([&](Kernels& kernels) {
    auto c = kernels.zeros<float>(64 * 16);
    kernels.run("warpgroup_product", 1, 128, kernels.upload(narrow(a)), kernels.upload(narrow(b)), c);
    std::vector<float> expected(64 * 16);
    for (int i = 0; i < 64; ++i)
      for (int j = 0; j < 16; ++j)
        for (int k = 0; k < 32; ++k) expected[i * 16 + j] += static_cast<float>(a[i * 32 + k] * b[j * 32 + k]);
    CHECK(kernels.download<float>(c) == expected);
  });
}

TEST_CASE("matrices stored by a warp, an elected lane, cache hints") {
  auto in = numbers(32, 1 << 20);
  in_all_orders([&](Kernels& kernels) {
    auto out = kernels.zeros<int>(258);
    kernels.run("odds", 1, 32, kernels.upload(in), out);
    std::vector<int> expected;
    for (int matrix = 0; matrix < 4; ++matrix)
      for (int row = 0; row < 8; ++row)
        for (int column = 0; column < 8; ++column) {
          int word = in[row * 4 + column / 2] + matrix;
          expected.push_back(word >> (column % 2 * 16) & 0xffff);
        }
    auto got = kernels.download<int>(out);
    CHECK(std::vector<int>(got.begin(), got.begin() + 256) == expected);
    CHECK((got[256] >= 1000 && got[256] < 1032));
    CHECK(got[257] == in[31] * 1000 + in[30]);
  });
}
