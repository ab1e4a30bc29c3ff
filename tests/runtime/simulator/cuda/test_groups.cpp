// Cooperative groups, and barriers, pipelines and semaphores of CUDA's C++ library, against plain loops on the host.
#include "tests/runtime/simulator/cuda/cuda.h"

#include <algorithm>
#include <numeric>

using namespace tilejit::runtime::simulator::test;

namespace {

constexpr int threads = 128;

std::vector<int> small_numbers(size_t count) {
  Random random;
  std::vector<int> values(count);
  for (int& v : values) v = static_cast<int>(random() % 40);
  return values;
}

/// The values of those threads of one warp or tile that `belongs` holds for, and the place of thread i among them.
struct Group {
  std::vector<int> threads, values;
  int sum() const { return std::accumulate(values.begin(), values.end(), 0); }
  int rank_of(int i) const { return static_cast<int>(std::find(threads.begin(), threads.end(), i) - threads.begin()); }
  /// Of the members for which `holds`, by rank.
  template <typename Holds>
  int mask(Holds holds) const {
    int bits = 0;
    for (size_t k = 0; k < values.size(); ++k) bits |= holds(values[k]) ? 1 << k : 0;
    return bits;
  }
};
template <typename Belongs>
Group group_of(const std::vector<int>& in, int i, int size, Belongs belongs) {
  Group g;
  for (int k = i / size * size; k < (i / size + 1) * size; ++k)
    if (belongs(in[static_cast<size_t>(k)])) g.threads.push_back(k), g.values.push_back(in[static_cast<size_t>(k)]);
  return g;
}

std::vector<int> run(const char* target, const std::string& kernel, const std::vector<int>& in, size_t results) {
  Kernels kernels("groups", target);
  auto out = kernels.zeros<int>(results * threads);
  kernels.run(kernel, 1, threads, kernels.upload(in), out);
  return kernels.download<int>(out);
}
std::vector<int> run_staged(const char* target, const std::string& kernel, const std::vector<int>& in, int n,
                            uint32_t shared) {
  Kernels kernels("groups", target);
  auto out = kernels.zeros<int>(in.size());
  kernels.launch({.entry = kernel,
                  .block = {64, 1, 1},
                  .dynamic_shared = shared,
                  .parameters = {Kernels::bytes_of(kernels.upload(in)), Kernels::bytes_of(out), Kernels::bytes_of(n)}});
  return kernels.download<int>(out);
}

} // namespace

TEST_CASE("tiles of eight threads, side by side") {
  const auto in = small_numbers(threads);
  for (const char* target : targets) {
    auto got = run(target, "tiles", in, 16);
    for (int i = 0; i < threads; ++i) {
      INFO(target << ", thread " << i);
      const int x = in[static_cast<size_t>(i)], rank = i % 8;
      const Group g = group_of(in, i, 8, [](int) { return true; });
      const auto& v = g.values;
      const auto at = [&](int k) { return v[static_cast<size_t>(k)]; };
      const int before = std::accumulate(v.begin(), v.begin() + rank, 0);
      const bool agree = g.mask([](int y) { return (y & 64) != 0; }) == 0;
      const std::vector<int> expected{g.sum(),
                                      *std::max_element(v.begin(), v.end()),
                                      before + x,
                                      before,
                                      g.mask([](int y) { return y > 5; }),
                                      g.mask([](int y) { return y == 3; }) != 0,
                                      g.mask([](int y) { return y > 1; }) == 255,
                                      g.mask([&](int y) { return y == x; }),
                                      agree ? 255 : 0,
                                      at(rank ^ 3),
                                      at(std::min(rank + 1, 7)),
                                      rank + 100 * (i / 8),
                                      agree};
      const auto first = got.begin() + 16 * i;
      REQUIRE(std::vector<int>(first, first + 13) == expected);
    }
  }
}

TEST_CASE("partitions of a warp by value") {
  const auto in = small_numbers(threads);
  for (const char* target : targets) {
    auto got = run(target, "partitions", in, 8);
    for (int i = 0; i < threads; ++i) {
      INFO(target << ", thread " << i);
      const int x = in[static_cast<size_t>(i)];
      const Group odd = group_of(in, i, 32, [&](int y) { return (y & 1) == (x & 1); }),
                  same = group_of(in, i, 32, [&](int y) { return y % 3 == x % 3; }),
                  here = group_of(in, i, 32, [](int y) { return y & 2; });
      const auto size = [](const Group& g) { return static_cast<int>(g.values.size()); };
      std::vector<int> expected{size(odd),
                                odd.sum(),
                                size(same) + 100 * same.rank_of(i),
                                *std::min_element(same.values.begin(), same.values.end()),
                                0,
                                0,
                                0};
      if (x & 2) {
        expected[4] = here.rank_of(i) + 100 * size(here);
        expected[5] = here.values[0];
        expected[6] = here.mask([](int y) { return (y & 1) != 0; });
      }
      const auto first = got.begin() + 8 * i;
      REQUIRE(std::vector<int>(first, first + 7) == expected);
    }
  }
}

TEST_CASE("tiles of several warps, which meet in reserved shared memory") {
  const auto in = small_numbers(threads);
  for (const char* target : targets) {
    auto got = run(target, "large_tiles", in, 3);
    for (int i = 0; i < threads; ++i) {
      INFO(target << ", thread " << i);
      const auto tile = in.begin() + i / 64 * 64;
      CHECK(got[static_cast<size_t>(3 * i)] == std::accumulate(tile, tile + 64, 0));
      CHECK(got[static_cast<size_t>(3 * i + 1)] == std::accumulate(tile, tile + i % 64 + 1, 0));
      CHECK(got[static_cast<size_t>(3 * i + 2)] == (std::find(tile, tile + 64, 3) != tile + 64) + 2 * tile[40]);
    }
  }
}

TEST_CASE("copies of a group, by a barrier, and in a pipeline") {
  for (const char* target : targets) {
    INFO(target);
    auto in = small_numbers(192);
    auto got = run_staged(target, "group_copies", in, 64, 256);
    for (size_t i = 0; i < 64; ++i) REQUIRE(got[i] == in[(i + 1) % 64] + 3 * in[64 + (i + 2) % 64]);
    got = run_staged(target, "split_barriers", in, 64, 256);
    for (size_t i = 0; i < 192; ++i) REQUIRE(got[i] == in[i / 64 * 64 + 63 - i % 64] + (i < 64 && i % 2 == 0 ? 1 : 0));
    got = run_staged(target, "pipeline_roles", in, 6, 256);
    for (size_t i = 0; i < 192; ++i) REQUIRE(got[i] == in[i / 32 * 32 + 31 - i % 32]);
  }
}

TEST_CASE("semaphores and a latch") {
  for (const char* target : targets) {
    Kernels kernels("groups", target);
    auto out = kernels.zeros<int>(6);
    kernels.run("semaphores", 4, 32, out);
    CHECK(kernels.download<int>(out) == std::vector<int>(6, 4));
  }
}
