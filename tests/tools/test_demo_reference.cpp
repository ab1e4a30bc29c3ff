#include "tools/demo_reference.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <limits>
#include <numeric>
#include <set>

using namespace tilejit::demo;

namespace {

struct Case {
  AttentionShape shape{
      .batch = 2, .queries = 3, .keys = 5, .query_heads = 4, .kv_heads = 2, .width = 2, .value_width = 3};
  bool causal = false;
  std::vector<float> q, k, v, o, lse;

  Case() {
    const AttentionShape& s = shape;
    q.assign(static_cast<size_t>(s.rows() * s.width), 0.0f); // all scores 0: every seen key weighs the same
    k.assign(static_cast<size_t>(s.batch * s.keys * s.kv_heads * s.width), 1.0f);
    v.resize(static_cast<size_t>(s.batch * s.keys * s.kv_heads * s.value_width));
    std::iota(v.begin(), v.end(), 0.0f);
  }

  /// Fills o and lse with the mean of the values that each row sees, computed here from the indices alone.
  void expect_means() {
    const AttentionShape& s = shape;
    o.assign(static_cast<size_t>(s.rows() * s.value_width), 0.0f);
    lse.assign(static_cast<size_t>(s.rows()), -std::numeric_limits<float>::infinity());
    for (int64_t b = 0; b < s.batch; ++b)
      for (int64_t i = 0; i < s.queries; ++i)
        for (int64_t h = 0; h < s.query_heads; ++h) {
          int64_t seen = 0;
          std::vector<double> sum(static_cast<size_t>(s.value_width));
          for (int64_t j = 0; j < s.keys; ++j) {
            if (causal && j > i + s.keys - s.queries) continue;
            ++seen;
            for (int64_t d = 0; d < s.value_width; ++d)
              sum[static_cast<size_t>(d)] +=
                  static_cast<double>(((b * s.keys + j) * s.kv_heads + h / 2) * s.value_width + d);
          }
          if (seen == 0) continue;
          for (int64_t d = 0; d < s.value_width; ++d)
            o[static_cast<size_t>(((b * s.queries + i) * s.query_heads + h) * s.value_width + d)] =
                static_cast<float>(sum[static_cast<size_t>(d)] / static_cast<double>(seen));
          lse[static_cast<size_t>((b * s.query_heads + h) * s.queries + i)] =
              static_cast<float>(std::log(static_cast<double>(seen)));
        }
  }

  Errors run(unsigned threads = 1) const {
    std::vector<int64_t> rows = sample_rows(shape, shape.rows(), 1);
    return compare(shape, causal, 0.5, q, k, v, o, lse, rows, threads);
  }
};

} // namespace

TEST_CASE("equal scores give the mean of the visible values, grouped heads and causality included") {
  for (bool causal : {false, true})
    for (unsigned threads : {1u, 3u}) {
      Case c;
      c.causal = causal;
      c.expect_means();
      Errors errors = c.run(threads);
      CHECK(errors.rows == c.shape.rows());
      CHECK(errors.norm_wise < 1e-6);
      CHECK(errors.largest < 1e-4);
      CHECK(errors.largest_lse < 1e-6);
      CHECK(errors.largest_reference > 10);
    }
}

TEST_CASE("rows that see nothing are 0 and -inf") {
  Case c;
  c.causal = true;
  c.shape.queries = 7; // two rows before the first key
  c.q.assign(static_cast<size_t>(c.shape.rows() * c.shape.width), 0.0f);
  c.expect_means();
  CHECK(std::isinf(c.lse[0]));
  Errors errors = c.run();
  CHECK(errors.norm_wise < 1e-6);
  CHECK(errors.largest_lse < 1e-6);
}

TEST_CASE("weights follow the scores") {
  Case c;
  c.shape = {.batch = 1, .queries = 1, .keys = 2, .query_heads = 1, .kv_heads = 1, .width = 2, .value_width = 1};
  c.q = {2, 0};
  c.k = {1, 5, 3, 5};
  c.v = {10, 20};
  double p = 1 / (1 + std::exp(0.5 * (6 - 2)));
  c.o = {static_cast<float>(10 * p + 20 * (1 - p))};
  c.lse = {static_cast<float>(0.5 * 6 + std::log(1 + std::exp(0.5 * (2 - 6))))};
  Errors errors = c.run();
  CHECK(errors.norm_wise < 1e-6);
  CHECK(errors.largest_lse < 1e-6);
}

TEST_CASE("errors are seen, and a NaN is the largest of all") {
  Case c;
  c.expect_means();
  c.o[17] += 1;
  c.lse[3] += 0.5f;
  Errors errors = c.run();
  CHECK(errors.largest == Approx(1).epsilon(1e-4));
  CHECK(errors.largest_lse == Approx(0.5).epsilon(1e-4));
  c.o[2] = NAN;
  c.lse[5] = NAN;
  for (unsigned threads : {1u, 3u}) {
    errors = c.run(threads);
    CHECK(std::isnan(errors.norm_wise));
    CHECK(std::isnan(errors.largest));
    CHECK(std::isnan(errors.largest_lse));
  }
}

TEST_CASE("a sample has the first and last row of each head, no row twice, and is the same each time") {
  AttentionShape shape{.queries = 100, .keys = 100, .query_heads = 8};
  std::vector<int64_t> rows = sample_rows(shape, 40, 5);
  std::set<int64_t> unique(rows.begin(), rows.end());
  CHECK(unique.size() == 40);
  for (int64_t head = 0; head < 8; ++head) {
    CHECK(unique.count(head));
    CHECK(unique.count(99 * 8 + head));
  }
  CHECK(sample_rows(shape, 40, 5) == rows);
  CHECK(sample_rows(shape, 10000, 5).size() == 800);
}
