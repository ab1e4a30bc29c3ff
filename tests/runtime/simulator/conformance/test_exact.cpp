// The exact arithmetic that the references stand on, against this machine's own single and double precision.
#include "tests/runtime/simulator/conformance/exact.h"

#include <bit>
#include <catch2/catch.hpp>
#include <cfenv>
#include <cmath>
#include <random>
#include <vector>

using namespace tilejit::conformance;

namespace {

constexpr std::pair<Rounding, int> modes[] = {{Rounding::rn, FE_TONEAREST},
                                              {Rounding::rz, FE_TOWARDZERO},
                                              {Rounding::rm, FE_DOWNWARD},
                                              {Rounding::rp, FE_UPWARD}};

template <typename Real, typename Bits>
void against_host(const Format& f, uint64_t seed) {
  std::mt19937_64 random(seed);
  auto draw = [&]() -> Bits {
    Bits bits = static_cast<Bits>(random());
    switch (random() % 4) {
    case 0: return bits;
    case 1: return static_cast<Bits>(bits & ~(((Bits{1} << f.exponent_bits) - 1) << (f.precision - 1))); // subnormal
    default: {                                                                                           // near one
      Bits field = static_cast<Bits>(((Bits{1} << (f.exponent_bits - 1)) - 30 + random() % 60)) << (f.precision - 1);
      return (bits & ((Bits{1} << (f.precision - 1)) - 1)) | (bits & Bits{1} << (f.bits - 1)) | field;
    }
    }
  };
  std::vector<Bits> special;
  for (Real x : {Real(0), Real(1), Real(-1), Real(3), std::numeric_limits<Real>::max(),
                 std::numeric_limits<Real>::min(), std::numeric_limits<Real>::denorm_min(),
                 std::numeric_limits<Real>::infinity(), std::numeric_limits<Real>::quiet_NaN()})
    for (Real y : {x, -x}) special.push_back(std::bit_cast<Bits>(y));
  for (auto [rounding, mode] : modes) {
    size_t wrong = 0;
    for (int i = 0; i < 40000; ++i) {
      auto pick = [&] { return random() % 5 == 0 ? special[random() % special.size()] : draw(); };
      volatile Real a = std::bit_cast<Real>(pick()), b = std::bit_cast<Real>(pick()), c = std::bit_cast<Real>(pick());
      Number x = decode(f, std::bit_cast<Bits>(Real(a))), y = decode(f, std::bit_cast<Bits>(Real(b))),
             z = decode(f, std::bit_cast<Bits>(Real(c)));
      std::fesetround(mode);
      volatile Real host[] = {a + b, a - b, a * b, a / b, std::fma(Real(a), Real(b), Real(c)), std::sqrt(Real(a))};
      std::fesetround(FE_TONEAREST);
      Number ours[] = {add(x, y, rounding), add(x, negate(y), rounding), multiply(x, y),
                       divide(x, y),        fma(x, y, z, rounding),      square_root(x)};
      for (int k = 0; k < 6; ++k) {
        uint64_t bits = encode(f, ours[k], rounding);
        bool same = std::isnan(host[k]) ? is_nan(f, bits) : bits == std::bit_cast<Bits>(Real(host[k]));
        wrong += !same;
      }
    }
    CHECK(wrong == 0);
  }
}

} // namespace

TEST_CASE("single and double precision as this machine has them") {
  against_host<float, uint32_t>(f32, 1);
  against_host<double, uint64_t>(f64, 2);
}

TEST_CASE("narrow formats: every value survives, ties go to even") {
  for (const Format& f : {f16, bf16, e4m3, e5m2}) {
    for (uint64_t bits = 0; bits < uint64_t{1} << f.bits; ++bits)
      if (!is_nan(f, bits)) REQUIRE(encode(f, decode(f, bits)) == bits);
    // Halfway between a number and the next lies a tie.
    for (uint64_t bits = 0; bits + 1 < uint64_t{1} << (f.bits - 1); ++bits) {
      Number low = decode(f, bits), high = decode(f, bits + 1);
      if (high.is(Number::Kind::nan) || high.is(Number::Kind::infinite)) break;
      Number middle = add(low, high);
      --middle.exponent;
      REQUIRE(encode(f, middle) == (bits & 1 ? bits + 1 : bits));
      REQUIRE(encode(f, middle, Rounding::rz) == bits);
      REQUIRE(encode(f, middle, Rounding::rp) == bits + 1);
      REQUIRE(encode(f, middle, Rounding::rna) == bits + 1);
    }
  }
  CHECK(to_double(decode(e4m3, 0x7e)) == 448);
  CHECK(to_double(decode(e5m2, 0x7b)) == 57344);
  CHECK(encode(e4m3, from_integer(false, 1000), Rounding::rn, true) == 0x7e);
  CHECK(encode(e5m2, from_integer(true, 1000000), Rounding::rn, true) == 0xfb);
}

TEST_CASE("rounding to integers") {
  auto rounded = [](double x, Rounding r) {
    return to_double(round_to_integer(decode(f64, std::bit_cast<uint64_t>(x)), r));
  };
  for (double x : {0.0, 0.25, 0.5, 0.75, 1.5, 2.5, 3.5000001, 1e15 + 0.5, 1e300})
    for (double y : {x, -x}) {
      CHECK(rounded(y, Rounding::rn) == std::nearbyint(y));
      CHECK(rounded(y, Rounding::rz) == std::trunc(y));
      CHECK(rounded(y, Rounding::rm) == std::floor(y));
      CHECK(rounded(y, Rounding::rp) == std::ceil(y));
    }
}
