// demo - flash attention forward at the shape of a real model (Llama-3-8B: 32 query heads, 8 key/value heads, head width
// 128, bf16, causal), on a GPU where there is one, else on the simulator; checked against the definition in float64.
#include "lib/attention/softmax/attention.h"
#include "runtime/device.h"
#include "runtime/files.h"
#include "runtime/tensor.h"
#include "tools/demo_reference.h"
#include "tools/kernel_report.h"
#include "tools/progress.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <fmt/format.h>
#include <iostream>
#include <random>
#include <thread>

namespace {

using namespace tilejit;
using runtime::Tensor;

struct Options {
  std::string device; ///< empty: a GPU if there is one
  int64_t tokens = 0; ///< 0: as many as fit the time
  double seconds = 20;
  int64_t sample = 512;
  uint64_t seed = 1;
  std::string ptx = "attention.ptx";
};

// Llama-3-8B, one sequence.
constexpr int64_t query_heads = 32, kv_heads = 8, width = 128;
constexpr int64_t gpu_tokens = 8192; // the model's context
constexpr int64_t granule = 64;      // tokens are a multiple of it

demo::AttentionShape shape_of(int64_t tokens) {
  return {.batch = 1, .queries = tokens, .keys = tokens, .query_heads = query_heads, .kv_heads = kv_heads, .width = width,
          .value_width = width};
}

/// Products of a causal attention: two matrix products over half of the square, 2 operations for a multiply-add.
double operations(int64_t tokens) {
  double t = static_cast<double>(tokens);
  return 2.0 * 2.0 * static_cast<double>(query_heads * width) * t * (t + 1) / 2;
}

/// Standard normal values, rounded to bf16 as the kernel will see them.
std::vector<float> normal_values(int64_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = runtime::from_bf16(runtime::to_bf16(normal(random)));
  return values;
}

struct Inputs {
  demo::AttentionShape shape;
  std::vector<float> q, k, v;
  Tensor dq, dk, dv, o, lse;

  Inputs(runtime::Device& device, int64_t tokens, uint64_t seed) : shape(shape_of(tokens)) {
    q = normal_values(tokens * query_heads * width, seed);
    k = normal_values(tokens * kv_heads * width, seed + 1);
    v = normal_values(tokens * kv_heads * width, seed + 2);
    dq = from_floats(device, DType::bf16, {1, tokens, query_heads, width}, q);
    dk = from_floats(device, DType::bf16, {1, tokens, kv_heads, width}, k);
    dv = from_floats(device, DType::bf16, {1, tokens, kv_heads, width}, v);
    o = empty(device, DType::bf16, {1, tokens, query_heads, width});
    lse = empty(device, DType::f32, {1, query_heads, tokens});
  }
};

} // namespace
