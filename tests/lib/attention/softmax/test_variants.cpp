// A mask or a score change is a function handed to the one kernel body: these variants touch nothing in the library.
#include "support.h"
#include "tests/device.h"

#include <catch2/catch.hpp>
#include <cmath>

using namespace tilejit;
using namespace tilejit::attention;
using namespace tilejit::dsl;

namespace {

// Row i sees keys i + Tk - Tq - left .. i + Tk - Tq + right.
Visibility window_keys(int left, int right) {
  return {[=](const Lengths& length, const Index& first, int64_t count) {
            Index own = first + length.keys - length.queries;
            return KeyRange{own - left, own + (count + right), own + (count - 1 - left), own + (right + 1)};
          },
          [=](const Lengths& length, const Tile& rows, const Tile& columns) {
            Tile own = rows + (length.keys - length.queries);
            return columns >= own - left && columns <= own + right;
          }};
}

Score softcap(float cap) {
  return [=](const Tile& s, const Tile&, const Tile&) { return tanh(s * (1 / cap)) * cap; };
}

// The definition, for one head, with any mask and score.
template <typename Sees, typename ScoreOf>
std::vector<double> reference(const Case& c, const Inputs& x, Sees sees, ScoreOf score) {
  std::vector<double> o(c.queries * c.dv, 0.0);
  for (int64_t i = 0; i < c.queries; ++i) {
    std::vector<double> p(c.keys, 0.0);
    double sum = 0;
    for (int64_t j = 0; j < c.keys; ++j) {
      if (!sees(i, j)) continue;
      double s = 0;
      for (int64_t d = 0; d < c.d; ++d) s += double(x.q.values[i * c.d + d]) * x.k.values[j * c.d + d];
      sum += p[j] = std::exp(score(s / std::sqrt(double(c.d)), i, j));
    }
    for (int64_t j = 0; j < c.keys; ++j)
      for (int64_t d = 0; sum > 0 && d < c.dv; ++d) o[i * c.dv + d] += p[j] / sum * x.v.values[j * c.dv + d];
  }
  return o;
}

double error_of(const Case& c, const AttentionVariant& variant, auto sees, auto score) {
  auto device = open_test_device();
  Inputs inputs(*device, c, 3);
  AttentionConfig config = attention_config(c.d, c.dv, c.type);
  Jit jit(attention_kernel(config, variant));
  runtime::Tensor o = empty(*device, c.type, {1, c.queries, 1, c.dv});
  jit.launch(*device, {cdiv(c.queries, config.block_m), 1, 1},
             {inputs.q.tensor, inputs.k.tensor, inputs.v.tensor, o, 1 / std::sqrt(float(c.d))});
  device->synchronize();
  std::vector<float> got = to_floats(*device, o);
  std::vector<double> want = reference(c, inputs, sees, score);
  double difference = 0, norm = 0;
  for (size_t n = 0; n < want.size(); ++n) difference += std::pow(got[n] - want[n], 2), norm += want[n] * want[n];
  return std::sqrt(difference / norm);
}

} // namespace

TEST_CASE("a sliding window is a visibility") {
  Case c{.queries = 300, .keys = 300};
  for (auto [left, right] : {std::pair(100, 0), std::pair(10, 20), std::pair(150, 40)}) {
    INFO("left " << left << " right " << right);
    double error = error_of(
        c, {.visibility = window_keys(left, right), .score = nullptr},
        [&](int64_t i, int64_t j) { return j >= i - left && j <= i + right; },
        [](double s, int64_t, int64_t) { return s; });
    CHECK(error <= tolerance(c));
  }
}

TEST_CASE("a softcap is a score") {
  Case c{.queries = 130, .keys = 200};
  double error = error_of(
      c, {.visibility = causal_keys(), .score = softcap(2)}, [&](int64_t i, int64_t j) { return j <= i + 70; },
      [](double s, int64_t, int64_t) { return 2 * std::tanh(s / 2); });
  CHECK(error <= tolerance(c));
}

TEST_CASE("ALiBi is a score") {
  Case c{.queries = 130, .keys = 130};
  Score alibi = [](const Tile& s, const Tile& rows, const Tile& columns) {
    return s - abs((rows - columns).to(f32)) * 0.125f;
  };
  double error = error_of(
      c, {.visibility = every_key(), .score = alibi}, [](int64_t, int64_t) { return true; },
      [](double s, int64_t i, int64_t j) { return s - 0.125 * std::abs(double(i - j)); });
  CHECK(error <= tolerance(c));
}
