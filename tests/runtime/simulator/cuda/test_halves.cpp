// Half-precision kernels: every result is the exact one, rounded once.
#include "tests/runtime/simulator/conformance/exact.h"
#include "tests/runtime/simulator/cuda/cuda.h"

#include <bit>
#include <cmath>

using namespace tilejit::runtime::simulator::test;
using namespace tilejit::conformance;

namespace {

Number number(double x) { return decode(f64, std::bit_cast<uint64_t>(x)); }
double value(const Format& f, uint32_t bits) { return to_double(decode(f, bits & 0xffff)); }
uint32_t rounded(const Format& f, const Number& x) { return static_cast<uint32_t>(encode(f, x)); }

void check_packed(const char* target, const std::string& entry, const Format& f) {
  INFO(target << " " << entry);
  Kernels kernels("halves", target);
  Random random;
  constexpr int n = 512;
  std::vector<uint32_t> a(n), b(n);
  for (auto* v : {&a, &b})
    for (uint32_t& x : *v) {
      uint32_t halves[2];
      for (uint32_t& h : halves)
        h = rounded(f, number((static_cast<double>(random()) / 2147483648. - 1) *
                              std::exp2(static_cast<double>(random() % 9))));
      x = halves[1] << 16 | halves[0];
    }
  auto out = kernels.zeros<uint32_t>(12 * n);
  kernels.run(entry, 4, 128, kernels.upload(a), kernels.upload(b), out);
  auto got = kernels.download<uint32_t>(out);
  for (int i = 0; i < n; ++i) {
    uint32_t expected[12]{};
    for (int h = 0; h < 2; ++h) {
      uint32_t xb = a[i] >> (16 * h) & 0xffff, yb = b[i] >> (16 * h) & 0xffff;
      Number x = decode(f, xb), y = decode(f, yb);
      auto put = [&](int k, uint32_t bits) { expected[k] |= bits << (16 * h); };
      put(0, rounded(f, add(x, y)));
      put(1, rounded(f, add(x, negate(y))));
      put(2, rounded(f, multiply(x, y)));
      put(3, rounded(f, fma(x, y, x)));
      put(4, compare(x, y) > 0 ? xb : yb);
      put(5, compare(x, negate(y)) < 0 ? xb : yb ^ 0x8000);
      put(6, yb & 0x7fff);
      uint32_t product = rounded(f, fma(x, y, x));
      put(7, product & 0x8000 ? 0 : product);
      put(8, rounded(f, divide(x, y)));
      put(9, compare(x, y) < 0 ? rounded(f, number(1)) : 0);
    }
    expected[10] = a[i] << 16 | a[i] >> 16;
    Number x0 = decode(f, a[i] & 0xffff), x1 = decode(f, a[i] >> 16), y0 = decode(f, b[i] & 0xffff),
           y1 = decode(f, b[i] >> 16);
    expected[11] = rounded(f, multiply(x1, y0)) << 16 | rounded(f, add(x0, y1));
    for (int k = 0; k < 12; ++k) {
      INFO("result " << k << " of " << std::hex << a[i] << ", " << b[i] << ": " << got[12 * i + k] << ", expected "
                     << expected[k]);
      if (k == 8) { // a quotient may be off by one in its last place
        for (int h = 0; h < 2; ++h) {
          int difference = static_cast<int>(got[12 * i + k] >> (16 * h) & 0xffff) -
                           static_cast<int>(expected[k] >> (16 * h) & 0xffff);
          REQUIRE(std::abs(difference) <= 1);
        }
      } else
        REQUIRE(got[12 * i + k] == expected[k]);
    }
  }
}

} // namespace

TEST_CASE("packed halves") {
  for (const char* target : targets) {
    check_packed(target, "packed_f16", f16);
    check_packed(target, "packed_bf16", bf16);
  }
}

TEST_CASE("softmax of halves") {
  for (const char* target : targets) {
    Kernels kernels("halves", target);
    constexpr int rows = 5, pairs = 150;
    Random random;
    std::vector<uint32_t> in(rows * pairs);
    for (uint32_t& x : in)
      x = rounded(f16, number(random() / 4294967296. * 8 - 4)) | rounded(f16, number(random() / 4294967296. * 8 - 4))
                                                                     << 16;
    auto out = kernels.zeros<uint32_t>(in.size());
    kernels.run("softmax_f16", rows, 32, kernels.upload(in), out, pairs);
    auto got = kernels.download<uint32_t>(out);
    for (int r = 0; r < rows; ++r) {
      double largest = -1e30, sum = 0;
      for (int e = 0; e < 2 * pairs; ++e)
        largest = std::max(largest, value(f16, in[r * pairs + e / 2] >> (16 * (e % 2))));
      for (int e = 0; e < 2 * pairs; ++e)
        sum += std::exp(value(f16, in[r * pairs + e / 2] >> (16 * (e % 2))) - largest);
      for (int e = 0; e < 2 * pairs; ++e) {
        double exact = std::exp(value(f16, in[r * pairs + e / 2] >> (16 * (e % 2))) - largest) / sum;
        CHECK(std::fabs(value(f16, got[r * pairs + e / 2] >> (16 * (e % 2))) - exact) <= exact * 0x1p-10 + 0x1p-25);
      }
    }
  }
}

TEST_CASE("fp8 and directed roundings") {
  for (const char* target : targets) {
    Kernels kernels("halves", target);
    constexpr int n = 600;
    std::vector<float> in(n);
    for (int i = 0; i < n; ++i) in[i] = static_cast<float>((i - 300) * std::pow(1.02, i % 97));
    in[0] = 1e6f, in[1] = -1e6f, in[2] = 1e-9f;
    auto out = kernels.zeros<float>(4 * n);
    kernels.run("through_fp8", 5, 128, kernels.upload(in), out, n);
    auto got = kernels.download<float>(out);
    for (int i = 0; i < n; ++i) {
      Number x = decode(f32, std::bit_cast<uint32_t>(in[i]));
      INFO(in[i]);
      CHECK(got[4 * i] == to_double(decode(e4m3, encode(e4m3, x, Rounding::rn, true))));
      CHECK(got[4 * i + 1] == to_double(decode(e5m2, encode(e5m2, x, Rounding::rn, true))));
      CHECK(got[4 * i + 2] == to_double(decode(f16, encode(f16, x, Rounding::rz))));
      CHECK(got[4 * i + 3] == to_double(decode(bf16, encode(bf16, x, Rounding::rp))));
    }
  }
}
