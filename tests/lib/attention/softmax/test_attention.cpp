// Attention against its definition in float64, over head widths, lengths, groups, types and storage.
#include "support.h"
#include "tests/device.h"

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <iostream>
#include <numeric>
#include <random>
#include <set>

using namespace tilejit;
using namespace tilejit::attention;
using dsl::Precision;

namespace {

void check(runtime::Device& device, const Case& c, uint64_t seed = 1) {
  INFO(c.text());
  demo::Errors errors = run_case(device, c, seed);
  if (errors.largest_reference == 0)
    CHECK(errors.largest == 0); // every row sees nothing
  else
    CHECK(errors.norm_wise <= tolerance(c));
  // Scores of 16-bit inputs are exact products summed in fp32; tf32 rounds each factor to 11 bits.
  CHECK(errors.largest_lse <= (c.type == DType::f32 && c.precision == Precision::tf32 ? 2e-3 : 1e-4));
}

using Width = std::pair<int64_t, int64_t>; // of keys, of values
const Width widths[] = {{16, 16},   {48, 48},   {64, 64},   {80, 80},   {96, 96},  {112, 112},
                        {128, 128}, {160, 160}, {192, 192}, {256, 256}, {192, 128}};
const int64_t lengths[] = {1, 7, 64, 129, 257, 1000};
const int64_t groups[] = {1, 3, 4, 8};
const Storage storages[] = {Storage::dense, Storage::padded, Storage::heads_outside};
const std::pair<DType, Precision> types[] = {{DType::bf16, Precision::tf32},
                                             {DType::f16, Precision::tf32},
                                             {DType::f32, Precision::tf32},
                                             {DType::f32, Precision::tf32x3}};

// A point of the grid: an index into each of its axes.
constexpr size_t axes = 7;
using Point = std::array<size_t, axes>;
constexpr Point sizes{std::size(widths),  std::size(types),  std::size(lengths),
                      std::size(lengths), std::size(groups), 2,
                      std::size(storages)};
Case case_of(const Point& point) {
  auto [type, precision] = types[point[1]];
  auto [d, dv] = widths[point[0]];
  return {type,          precision,          d, dv, lengths[point[2]], lengths[point[3]], 1, groups[point[4]],
          point[5] == 1, storages[point[6]], 1};
}

// The grid has 38,016 points. These are some of them in which any two values of two axes meet: point after point, the
// one of many random ones that has the most new pairs.
std::vector<Case> grid_by_pairs() {
  using Pair = std::array<size_t, 4>; // an axis and its value, another and its
  std::set<Pair> open;
  auto pairs_of = [&](const Point& point) {
    std::vector<Pair> pairs;
    for (size_t a = 0; a < axes; ++a)
      for (size_t b = a + 1; b < axes; ++b) pairs.push_back({a, point[a], b, point[b]});
    return pairs;
  };
  for (size_t a = 0; a < axes; ++a)
    for (size_t b = a + 1; b < axes; ++b)
      for (size_t i = 0; i < sizes[a]; ++i)
        for (size_t j = 0; j < sizes[b]; ++j) open.insert({a, i, b, j});
  std::mt19937 random(1);
  std::vector<Case> cases;
  while (!open.empty()) {
    Point best{};
    std::ptrdiff_t most = 0;
    for (int n = 0; n < 500; ++n) {
      Point point;
      for (size_t axis = 0; axis < axes; ++axis) point[axis] = random() % sizes[axis];
      auto [a, i, b, j] = *open.begin();
      point[a] = i, point[b] = j;
      auto pairs = pairs_of(point);
      auto fresh = std::count_if(pairs.begin(), pairs.end(), [&](const Pair& pair) { return open.contains(pair); });
      if (fresh > most) most = fresh, best = point;
    }
    for (const Pair& pair : pairs_of(best)) open.erase(pair);
    cases.push_back(case_of(best));
  }
  return cases;
}

} // namespace

TEST_CASE("widths, types, lengths, groups, masks and storage: any two values together") {
  auto device = open_test_device();
  std::vector<Case> cases = grid_by_pairs();
  CHECK(cases.size() >= std::size(widths) * std::size(lengths)); // fewer can't hold all pairs
  for (size_t n = 0; n < cases.size(); ++n) check(*device, cases[n], n);
}

// `test_attention '[.whole]'`: not in the usual run, it takes half an hour or more. In a random order, with a line now
// and then, so that a part of it says something too.
TEST_CASE("the whole grid", "[.whole]") {
  auto device = open_test_device();
  std::vector<size_t> order(std::accumulate(sizes.begin(), sizes.end(), size_t{1}, std::multiplies<>()));
  std::iota(order.begin(), order.end(), size_t{0});
  std::shuffle(order.begin(), order.end(), std::mt19937(7));
  for (size_t n = 0; n < order.size(); ++n) {
    Point point;
    size_t rest = order[n];
    for (size_t axis = 0; axis < axes; rest /= sizes[axis++]) point[axis] = rest % sizes[axis];
    check(*device, case_of(point), n);
    if ((n + 1) % 500 == 0) std::cout << n + 1 << " of " << order.size() << " points" << std::endl;
  }
}

TEST_CASE("every pair of lengths, causal and not") {
  auto device = open_test_device();
  for (int64_t queries : lengths)
    for (int64_t keys : lengths)
      for (bool causal : {false, true})
        check(*device, {.queries = queries, .keys = keys, .kv_heads = 1, .group = 1, .causal = causal});
}

TEST_CASE("keys and values of different widths") {
  auto device = open_test_device();
  for (auto [type, precision] : types) {
    check(*device, {type, precision, 64, 16, 65, 100, 2, 1, false, Storage::heads_outside});
    check(*device, {type, precision, 16, 256, 33, 70, 1, 2, true, Storage::padded});
  }
}

TEST_CASE("every group size, several key heads and batches") {
  auto device = open_test_device();
  for (int64_t group : groups)
    for (Storage storage : storages)
      check(*device, {.d = 128,
                      .dv = 128,
                      .queries = 129,
                      .keys = 129,
                      .kv_heads = 2,
                      .group = group,
                      .causal = true,
                      .storage = storage,
                      .batch = 2});
}

TEST_CASE("rows that see no key give zero and an lse of minus infinity") {
  auto device = open_test_device();
  Case c{.queries = 200, .keys = 70, .causal = true};
  Inputs inputs(*device, c, 5);
  AttentionOutputs outputs =
      attention::attention(*device, inputs.tensors(), {.scale = {}, .causal = true, .lse = true});
  device->synchronize();
  std::vector<float> o = to_floats(*device, outputs.o), lse = to_floats(*device, *outputs.lse);
  for (int64_t row = 0; row < 130; ++row) {
    CHECK(lse[row] == -INFINITY);
    for (int64_t d = 0; d < 64; ++d) REQUIRE(o[row * 64 + d] == 0);
  }
  CHECK(std::isfinite(lse[130]));
}

TEST_CASE("a second call with other lengths compiles nothing and gives the same bits for the same rows") {
  auto device = open_test_device();
  Case c{.queries = 77, .keys = 90, .causal = true};
  Inputs inputs(*device, c, 9);
  auto run = [&] {
    AttentionOutputs outputs = attention::attention(*device, inputs.tensors(), {.scale = {}, .causal = true});
    device->synchronize();
    return to_floats(*device, outputs.o);
  };
  CHECK(run() == run());
}

TEST_CASE("inputs that don't fit are refused in words") {
  auto device = open_test_device();
  auto tensor = [&](std::vector<int64_t> shape, DType type = DType::bf16) { return empty(*device, type, shape); };
  auto message = [&](AttentionInputs inputs, AttentionOptions options = {}) -> std::string {
    try {
      attention::attention(*device, inputs, options);
    } catch (const InputError& error) {
      return error.what();
    }
    return "no error";
  };
  using Catch::Contains;
  auto q = tensor({1, 8, 4, 64}), k = tensor({1, 8, 2, 64});
  CHECK_THAT(message({tensor({8, 4, 64}), k, k}), Contains("q must have 4 dims") && Contains("[8, 4, 64]"));
  CHECK_THAT(message({tensor({2, 8, 4, 64}), k, k}), Contains("batch sizes differ"));
  CHECK_THAT(message({q, k, tensor({1, 9, 2, 64})}), Contains("equal lengths and heads"));
  CHECK_THAT(message({tensor({1, 8, 3, 64}), k, k}), Contains("multiple of k's"));
  CHECK_THAT(message({tensor({1, 8, 4, 72}), tensor({1, 8, 2, 72}), k}), Contains("multiple of 16") && Contains("72"));
  CHECK_THAT(message({q, k, tensor({1, 8, 2, 64}, DType::f16)}), Contains("one element type"));
  CHECK_THAT(message({q, k, k}, {.scale = -1.0f}), Contains("positive"));
}

TEST_CASE("on a GPU (cuda): the same grid") {
  std::shared_ptr<runtime::Device> device;
  try {
    device = runtime::open_device("cuda");
  } catch (const runtime::Error& error) {
    std::cout << "skipped, no GPU: " << error.what() << "\n";
    return;
  }
  std::vector<Case> cases = grid_by_pairs();
  for (size_t n = 0; n < cases.size(); ++n) check(*device, cases[n], n);
}
