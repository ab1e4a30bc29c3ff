// attention.h - softmax attention forward.
//
//   s_ij = scale * q_i . k_j, for the keys j that row i sees;  o_i = sum_j softmax(s_i)_j v_j;  lse_i = ln sum_j
//   exp(s_ij)
//
// One kernel body serves MHA, MQA and GQA (kv head = head / (HQ / HKV)), any head widths that are multiples of 16 up to
// 256 (keys and values independent), any lengths and strides. What a variant changes enters as functions: which keys a
// row sees (`Visibility`), and what becomes of a score (`Score`).
#pragma once
#include "dsl/dsl.h"
#include "lib/attention/registry.h"

#include <functional>
#include <optional>

namespace tilejit::attention {

// ---- variants ----------------------------------------------------------------------------------------------------

/// Where keys lie relative to rows, in the terms of a kernel: lengths of queries and keys.
struct Lengths {
  dsl::Index queries, keys;
};

/// Keys [begin, end) that some row of a block sees; those in [full_begin, full_end) are seen by all its rows, so they
/// need no mask. `full_begin` is left out where every row sees from `begin` on.
struct KeyRange {
  dsl::Index begin, end;
  std::optional<dsl::Index> full_begin;
  dsl::Index full_end;
};

/// Which keys a row sees.
struct Visibility {
  /// For the rows [first, first + count).
  std::function<KeyRange(const Lengths&, const dsl::Index& first, int64_t count)> range;
  /// i1 for each pair; `rows` is [m, 1], `columns` [1, n]. Keys beyond the end are masked by the body.
  std::function<dsl::Tile(const Lengths&, const dsl::Tile& rows, const dsl::Tile& columns)> sees;
};

Visibility every_key();
/// Bottom-right: key j is seen by row i iff j <= i + Tk - Tq.
Visibility causal_keys();

/// What becomes of a scaled score, natural units; null: nothing. Arguments: scores [m, n], rows [m, 1], columns [1, n].
using Score = std::function<dsl::Tile(const dsl::Tile& scores, const dsl::Tile& rows, const dsl::Tile& columns)>;

/// What a kernel is specialized for besides its tensors.
struct AttentionVariant {
  Visibility visibility = every_key();
  Score score;
  bool lse = false;
  dsl::Precision precision = dsl::Precision::tf32; ///< of f32 inputs
};

/// Tile sizes and schedule.
struct AttentionConfig {
  int64_t block_m, block_n; ///< rows and keys of a tile
  dsl::Schedule schedule;
};
/// A good one for head widths d (keys) and dv (values).
AttentionConfig attention_config(int64_t d, int64_t dv, DType type);

/// "attention(q, k, v, o, scale)" or, with lse, "attention(q, k, v, o, lse, scale)". Grid: row blocks, heads, batch.
dsl::Kernel attention_kernel(const AttentionConfig& config, const AttentionVariant& variant);

// ---- the call ----------------------------------------------------------------------------------------------------

struct AttentionInputs {
  runtime::Tensor q; ///< [B, Tq, HQ, D]
  runtime::Tensor k; ///< [B, Tk, HKV, D]; HQ is a multiple of HKV
  runtime::Tensor v; ///< [B, Tk, HKV, DV]
};

struct AttentionOptions {
  std::optional<float> scale; ///< D^-0.5 where it is not given; positive
  bool causal = false;
  bool lse = false;
  dsl::Precision precision = dsl::Precision::tf32; ///< f32 inputs: tf32, or tf32x3 for products that are exact to 2^-22
};

struct AttentionOutputs {
  runtime::Tensor o;                  ///< [B, Tq, HQ, DV], in the inputs' type
  std::optional<runtime::Tensor> lse; ///< [B, HQ, Tq], f32, natural log; -inf for a row that sees no key
};

/// Queues it on `stream` (null: the default). Throws InputError for shapes or types that don't fit.
AttentionOutputs attention(runtime::Device& device, const AttentionInputs& inputs, const AttentionOptions& options = {},
                           runtime::Stream* stream = nullptr);

/// What the call compiles for these inputs, for inspection. Compiled once: the call uses it, too.
std::shared_ptr<const CompiledKernel> attention_compiled(const std::string& target, const AttentionInputs& inputs,
                                                         const AttentionOptions& options = {});

const KernelInfo& attention_info();

} // namespace tilejit::attention
