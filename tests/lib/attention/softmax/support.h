// support.h - inputs for attention's tests, and the comparison with the definition in float64 (tools/demo_reference.h).
#pragma once
#include "lib/attention/softmax/attention.h"
#include "tools/demo_reference.h"

#include <random>
#include <string>
#include <thread>
#include <vector>

namespace tilejit::attention {

enum class Storage { dense, padded, heads_outside };

struct Case {
  DType type = DType::bf16;
  dsl::Precision precision = dsl::Precision::tf32;
  int64_t d = 64, dv = 64, queries = 64, keys = 64, kv_heads = 1, group = 1;
  bool causal = false;
  Storage storage = Storage::dense;
  int64_t batch = 1;

  demo::AttentionShape shape() const {
    return {.batch = batch,
            .queries = queries,
            .keys = keys,
            .query_heads = kv_heads * group,
            .kv_heads = kv_heads,
            .width = d,
            .value_width = dv};
  }
  std::string text() const {
    return std::string(name_of(type)) + (precision == dsl::Precision::tf32x3 ? " tf32x3" : "") + " d " +
           std::to_string(d) + "/" + std::to_string(dv) + " tq " + std::to_string(queries) + " tk " +
           std::to_string(keys) + " heads " + std::to_string(kv_heads) + "x" + std::to_string(group) +
           (causal ? " causal" : "") +
           (storage == Storage::padded          ? " padded"
            : storage == Storage::heads_outside ? " [B,H,T,D]"
                                                : "");
  }
};

/// Values of [B, T, H, D] in C order, and the tensor that holds them in the storage asked for.
struct Input {
  std::vector<float> values; ///< as rounded to the tensor's type
  runtime::Tensor tensor;
};

inline Input make_input(runtime::Device& device, DType type, Storage storage, std::vector<int64_t> shape,
                        uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<int64_t> stored = shape;
  if (storage == Storage::heads_outside) std::swap(stored[1], stored[2]);
  std::vector<float> values(static_cast<size_t>(shape[0] * shape[1] * shape[2] * shape[3]));
  for (float& value : values) value = normal(random);
  Input input;
  input.tensor = from_floats(device, type, stored, values, storage == Storage::padded ? 8 : 0);
  if (storage == Storage::heads_outside) input.tensor = input.tensor.transpose(1, 2);
  input.values = to_floats(device, input.tensor);
  return input;
}

struct Inputs {
  Input q, k, v;
  Inputs(runtime::Device& device, const Case& c, uint64_t seed)
      : q(make_input(device, c.type, c.storage, {c.batch, c.queries, c.kv_heads * c.group, c.d}, seed)),
        k(make_input(device, c.type, c.storage, {c.batch, c.keys, c.kv_heads, c.d}, seed + 1)),
        v(make_input(device, c.type, c.storage, {c.batch, c.keys, c.kv_heads, c.dv}, seed + 2)) {}
  AttentionInputs tensors() const { return {q.tensor, k.tensor, v.tensor}; }
};

/// Runs attention and compares every row.
inline demo::Errors run_case(runtime::Device& device, const Case& c, uint64_t seed = 1) {
  Inputs inputs(device, c, seed);
  AttentionOptions options{.scale = {}, .causal = c.causal, .lse = true, .precision = c.precision};
  AttentionOutputs outputs = attention(device, inputs.tensors(), options);
  device.synchronize();
  std::vector<float> o = to_floats(device, outputs.o), lse = to_floats(device, *outputs.lse);
  auto rows = demo::sample_rows(c.shape(), c.shape().rows(), 0);
  return demo::compare(c.shape(), c.causal, 1 / std::sqrt(static_cast<double>(c.d)), inputs.q.values, inputs.k.values,
                       inputs.v.values, o, lse, rows, std::max(1u, std::thread::hardware_concurrency()));
}

/// Norm-wise error that a type may have.
inline double tolerance(const Case& c) {
  if (c.type == DType::bf16) return 4e-3;
  if (c.type == DType::f16) return 1e-3;
  return c.precision == dsl::Precision::tf32 ? 1e-3 : 1e-5;
}

} // namespace tilejit::attention
