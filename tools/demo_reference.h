// demo_reference.h - what the demo compares with: softmax attention written from its definition, in float64, for a
// sample of rows, so that a long sequence is checked in seconds.
//
//   s_j = scale * q_i . k_j for the keys that row i sees (causal, bottom-right: j <= i + Tk - Tq)
//   p_j = exp(s_j - max s) / sum exp(s - max s);  o_i = sum_j p_j v_j;  lse_i = max s + ln sum exp(s - max s)
//
// A row that sees no key has o = 0 and lse = -inf.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace tilejit::demo {

/// Sizes of q [B, Tq, HQ, D], k [B, Tk, HKV, D], v [B, Tk, HKV, DV], all in C order; HQ is a multiple of HKV.
struct AttentionShape {
  int64_t batch = 1, queries = 0, keys = 0, query_heads = 1, kv_heads = 1, width = 64, value_width = 64;
  int64_t rows() const { return batch * queries * query_heads; } ///< a row is (b, i, h), numbered in C order
};

struct Errors {
  int64_t rows = 0;             ///< compared
  double norm_wise = 0;         ///< ||o - reference|| / ||reference||, Frobenius norms over the compared rows
  double largest = 0;           ///< largest |o - reference| of an element
  double largest_lse = 0;       ///< largest |lse - reference|
  double largest_reference = 0; ///< largest |reference|, to read `largest` by
};

/// At most `count` rows: the first and the last of each head first, then rows drawn at random from `seed`.
std::vector<int64_t> sample_rows(const AttentionShape& shape, int64_t count, uint64_t seed);

/// Compares o [B, Tq, HQ, DV] and lse [B, HQ, Tq] with the definition, for `rows`. q, k and v hold the values that the
/// kernel got, after rounding to its type. Uses `threads` threads; `progress` is told the share that is done, from one
/// of them.
Errors compare(const AttentionShape& shape, bool causal, double scale, std::span<const float> q,
               std::span<const float> k, std::span<const float> v, std::span<const float> o, std::span<const float> lse,
               std::span<const int64_t> rows, unsigned threads, const std::function<void(double)>& progress = {});

} // namespace tilejit::demo
