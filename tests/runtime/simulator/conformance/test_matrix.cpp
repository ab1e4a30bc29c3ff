// Rounding of matrix products: random numbers, within what the rounding of each partial sum may cost. Where each
// element lies is tested in cases_matrix.cpp.
#include "tests/runtime/simulator/conformance/matrix_product.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <random>

using namespace tilejit;
using namespace tilejit::conformance;

namespace {

void check(runtime::Device& device, const Product& t) {
  INFO(t.spelling());
  std::mt19937 random(9);
  std::normal_distribution<double> normal;
  auto fill = [&](Matrix& matrix, const Element& type) {
    for (double& v : matrix.values) v = value_of(type, bits_of(type, normal(random)));
  };
  Matrix a(t.m, t.k), b(t.k, t.n), c(t.m, t.n);
  fill(a, t.a);
  fill(b, t.b);
  fill(c, t.c);
  Matrix d = matrix_d(t, run(device, words_case(kernel_of(t), input_of(t, a, b, c), output_words(t), {})));
  // Of the sum of magnitudes. Partial sums of f16 are kept in f32.
  double error = std::ldexp(1, (t.d.bits == 16 ? 1 : 2) - t.d.format->precision);
  for (uint32_t m = 0; m < t.m; ++m)
    for (uint32_t n = 0; n < t.n; ++n) {
      long double sum = c(m, n), size = std::fabs(sum); // more precise than any type of D
      for (uint32_t k = 0; k < t.k; ++k) {
        long double product = static_cast<long double>(a(m, k)) * b(k, n);
        sum += product;
        size += std::fabs(product);
      }
      REQUIRE(std::fabs(d(m, n) - sum) <= size * error);
    }
}

} // namespace

TEST_CASE("rounding of mma: floating point") {
  auto device = runtime::open_device("simulator:sm_100a");
  for (uint32_t k : {8u, 16u}) {
    check(*device, {16, 8, k, F32, F16, F16, F32});
    check(*device, {16, 8, k, F16, F16, F16, F16});
    check(*device, {16, 8, k, F32, BF16, BF16, F32});
  }
  for (uint32_t k : {4u, 8u}) check(*device, {16, 8, k, F32, TF32, TF32, F32});
  for (const Element& a : {E4M3, E5M2})
    for (const Element& b : {E4M3, E5M2}) check(*device, {16, 8, 32, F32, a, b, F32});
}

TEST_CASE("rounding of mma: double precision") {
  auto device = runtime::open_device("simulator:sm_100a");
  check(*device, {8, 8, 4, F64, F64, F64, F64});
  for (uint32_t k : {4u, 8u, 16u}) check(*device, {16, 8, k, F64, F64, F64, F64});
}
