// Attention against its definition in float64, over head widths, lengths, groups, types and storage.
#include "support.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <iostream>

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

std::shared_ptr<runtime::Device> simulator() { return runtime::open_device("simulator"); }

const int64_t widths[] = {16, 48, 64, 80, 96, 112, 128, 160, 192, 256};
const int64_t lengths[] = {1, 7, 64, 129, 257, 1000};
const int64_t groups[] = {1, 3, 4, 8};
const std::pair<DType, Precision> types[] = {{DType::bf16, Precision::tf32},
                                             {DType::f16, Precision::tf32},
                                             {DType::f32, Precision::tf32},
                                             {DType::f32, Precision::tf32x3}};

} // namespace

TEST_CASE("every head width in every type, lengths, groups, storage and mask in turn") {
  auto device = simulator();
  unsigned turn = 0;
  for (int64_t width : widths)
    for (auto [type, precision] : types) {
      // Strides without common factor, so that the axes combine differently for each width.
      int64_t queries = lengths[turn % 6], keys = lengths[(turn * 5 + turn / 6 + 3) % 6],
              group = groups[(turn / 2) % 4];
      check(*device, {type, precision, width, width, queries, keys, 1, group, turn % 3 != 0, Storage(turn % 3), 1},
            turn);
      ++turn;
    }
}

TEST_CASE("every pair of lengths, causal and not") {
  auto device = simulator();
  for (int64_t queries : lengths)
    for (int64_t keys : lengths)
      for (bool causal : {false, true})
        check(*device, {.queries = queries, .keys = keys, .kv_heads = 1, .group = 1, .causal = causal});
}

TEST_CASE("keys and values of different widths") {
  auto device = simulator();
  for (auto [type, precision] : types) {
    check(*device, {type, precision, 192, 128, 129, 257, 1, 3, true, Storage::dense});
    check(*device, {type, precision, 64, 16, 65, 100, 2, 1, false, Storage::heads_outside});
    check(*device, {type, precision, 16, 256, 33, 70, 1, 2, true, Storage::padded});
  }
}

TEST_CASE("every group size, several key heads and batches") {
  auto device = simulator();
  for (int64_t group : groups)
    for (Storage storage : {Storage::dense, Storage::padded, Storage::heads_outside})
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
  auto device = simulator();
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
  auto device = simulator();
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
  auto device = simulator();
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
  for (int64_t width : widths)
    for (auto [type, precision] : types)
      for (bool causal : {false, true}) check(*device, {type, precision, width, width, 257, 1000, 2, 4, causal});
}
