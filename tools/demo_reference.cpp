#include "tools/demo_reference.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <mutex>
#include <random>
#include <set>
#include <thread>

namespace tilejit::demo {
namespace {

/// The larger of the two; a NaN is larger than anything and stays.
void raise(double& most, double value) {
  if (std::isnan(value) || value > most) most = value;
}

/// One row by the definition: fills o (value_width) and returns lse.
double reference_row(const AttentionShape& s, bool causal, double scale, std::span<const float> q,
                     std::span<const float> k, std::span<const float> v, int64_t row, std::vector<double>& weights,
                     std::vector<double>& o) {
  int64_t head = row % s.query_heads, i = row / s.query_heads % s.queries, batch = row / s.query_heads / s.queries;
  int64_t kv_head = head / (s.query_heads / s.kv_heads);
  int64_t seen = causal ? std::clamp<int64_t>(i + s.keys - s.queries + 1, 0, s.keys) : s.keys;
  auto key_row = [&](int64_t j) { return (batch * s.keys + j) * s.kv_heads + kv_head; };

  std::fill(o.begin(), o.end(), 0.0);
  if (seen == 0) return -std::numeric_limits<double>::infinity();
  weights.resize(static_cast<size_t>(seen));
  double highest = -std::numeric_limits<double>::infinity();
  const float* query = &q[static_cast<size_t>(row * s.width)];
  for (int64_t j = 0; j < seen; ++j) {
    const float* key = &k[static_cast<size_t>(key_row(j) * s.width)];
    double dot = 0;
    for (int64_t d = 0; d < s.width; ++d) dot += static_cast<double>(query[d]) * static_cast<double>(key[d]);
    weights[static_cast<size_t>(j)] = scale * dot;
    highest = std::max(highest, scale * dot);
  }
  double sum = 0;
  for (double& weight : weights) sum += weight = std::exp(weight - highest);
  for (int64_t j = 0; j < seen; ++j) {
    const float* value = &v[static_cast<size_t>(key_row(j) * s.value_width)];
    for (int64_t d = 0; d < s.value_width; ++d)
      o[static_cast<size_t>(d)] += weights[static_cast<size_t>(j)] / sum * static_cast<double>(value[d]);
  }
  return highest + std::log(sum);
}

} // namespace

std::vector<int64_t> sample_rows(const AttentionShape& shape, int64_t count, uint64_t seed) {
  std::vector<int64_t> rows;
  if (shape.rows() <= count) {
    for (int64_t row = 0; row < shape.rows(); ++row) rows.push_back(row);
    return rows;
  }
  std::set<int64_t> drawn;
  for (int64_t i : {int64_t(0), shape.queries - 1})
    for (int64_t head = 0; head < shape.query_heads && static_cast<int64_t>(drawn.size()) < count; ++head)
      drawn.insert(i * shape.query_heads + head);
  std::mt19937_64 random(seed);
  while (static_cast<int64_t>(drawn.size()) < count)
    drawn.insert(static_cast<int64_t>(random() % static_cast<uint64_t>(shape.rows())));
  return {drawn.begin(), drawn.end()};
}

Errors compare(const AttentionShape& shape, bool causal, double scale, std::span<const float> q,
               std::span<const float> k, std::span<const float> v, std::span<const float> o, std::span<const float> lse,
               std::span<const int64_t> rows, unsigned threads, const std::function<void(double)>& progress) {
  Errors errors;
  double difference_squares = 0, reference_squares = 0;
  std::mutex mutex;
  std::atomic<size_t> next = 0;
  auto work = [&](bool reports) {
    Errors mine;
    double mine_difference = 0, mine_reference = 0;
    std::vector<double> weights, reference(static_cast<size_t>(shape.value_width));
    for (size_t at; (at = next++) < rows.size();) {
      if (reports && progress) progress(static_cast<double>(at) / static_cast<double>(rows.size()));
      int64_t row = rows[at];
      double reference_lse = reference_row(shape, causal, scale, q, k, v, row, weights, reference);
      for (size_t d = 0; d < reference.size(); ++d) {
        double got = static_cast<double>(o[static_cast<size_t>(row) * reference.size() + d]);
        double difference = std::fabs(got - reference[d]);
        mine_difference += difference * difference;
        mine_reference += reference[d] * reference[d];
        raise(mine.largest, difference);
        raise(mine.largest_reference, std::fabs(reference[d]));
      }
      int64_t head = row % shape.query_heads, i = row / shape.query_heads % shape.queries;
      int64_t batch = row / shape.query_heads / shape.queries;
      double got =
          static_cast<double>(lse[static_cast<size_t>((batch * shape.query_heads + head) * shape.queries + i)]);
      raise(mine.largest_lse, got == reference_lse ? 0 : std::fabs(got - reference_lse)); // -inf - -inf would be NaN
    }
    std::lock_guard lock(mutex);
    difference_squares += mine_difference;
    reference_squares += mine_reference;
    raise(errors.largest, mine.largest);
    raise(errors.largest_lse, mine.largest_lse);
    raise(errors.largest_reference, mine.largest_reference);
  };
  std::vector<std::thread> others;
  for (unsigned t = 1; t < threads; ++t) others.emplace_back(work, false);
  work(true);
  for (std::thread& other : others) other.join();
  errors.rows = static_cast<int64_t>(rows.size());
  errors.norm_wise = std::sqrt(difference_squares / reference_squares);
  return errors;
}

} // namespace tilejit::demo
