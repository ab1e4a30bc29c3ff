// CUDA's mathematical functions against the host's long double, within the errors that CUDA documents: units in the
// last place between a result and the correctly rounded one (CUDA C++ Programming Guide, "Mathematical Functions").
#include "tests/runtime/simulator/cuda/cuda.h"

#include <cmath>
#include <limits>

using namespace tilejit::runtime::simulator::test;

namespace {

using Real = long double;

struct Function {
  const char* name;
  Real (*exact)(Real, Real);
  int ulps32, ulps64; ///< documented errors
  double low, high;   ///< of x
};
const Function functions[] = {
    {"sqrt", [](Real x, Real) { return std::sqrt(x); }, 0, 0, 0, 1e6},
    {"sin", [](Real x, Real) { return std::sin(x); }, 2, 2, -1e5, 1e5},
    {"cos", [](Real x, Real) { return std::cos(x); }, 2, 2, -1e5, 1e5},
    {"exp", [](Real x, Real) { return std::exp(x); }, 2, 1, -80, 80},
    {"log", [](Real x, Real) { return std::log(x); }, 1, 1, 1e-30, 1e30},
    {"tanh", [](Real x, Real) { return std::tanh(x); }, 2, 2, -12, 12},
    {"pow", [](Real x, Real z) { return std::pow(x, z); }, 4, 2, 1e-3, 50},
    {"erf", [](Real x, Real) { return std::erf(x); }, 2, 2, -4, 4},
    {"cbrt", [](Real x, Real) { return std::cbrt(x); }, 1, 1, -1e5, 1e5},
    {"atan2", [](Real x, Real z) { return std::atan2(x, z); }, 3, 2, -10, 10},
    {"log1p", [](Real x, Real) { return std::log1p(x); }, 1, 1, -.9, 100},
    {"expm1", [](Real x, Real) { return std::expm1(x); }, 1, 1, -10, 60},
    {"rsqrt", [](Real x, Real) { return 1 / std::sqrt(x); }, 2, 1, 1e-20, 1e20},
    {"divide", [](Real x, Real z) { return x / z; }, 0, 0, -1e8, 1e8},
    {"tan", [](Real x, Real) { return std::tan(x); }, 4, 2, -1e5, 1e5},
    {"fmod", [](Real x, Real z) { return std::fmod(x, z); }, 0, 0, -1e6, 1e6},
    {"exp2", [](Real x, Real) { return std::exp2(x); }, 2, 1, -120, 120},
    {"log2", [](Real x, Real) { return std::log2(x); }, 1, 1, 1e-30, 1e30},
    {"hypot", [](Real x, Real z) { return std::hypot(x, z); }, 3, 2, -1e10, 1e10},
    {"lgamma", [](Real x, Real) { return std::lgamma(x); }, 6, 4, 3, 100},
    {"round", [](Real x, Real) { return std::round(x); }, 0, 0, -1e6, 1e6},
    {"ldexp", [](Real x, Real z) { return std::ldexp(x, static_cast<int>(z)); }, 0, 0, -10, 10},
    {"asin", [](Real x, Real) { return std::asin(x); }, 2, 2, -1, 1},
    {"sinh", [](Real x, Real) { return std::sinh(x); }, 3, 2, -20, 20},
};

template <typename T>
void check_functions(const char* target, const std::string& entry) {
  Kernels kernels("math", target);
  Random random;
  constexpr int n = 384;
  for (int f = 0; f < static_cast<int>(std::size(functions)); ++f) {
    const Function& function = functions[f];
    INFO(function.name);
    std::vector<T> x(n), z(n);
    for (int i = 0; i < n; ++i) {
      double share = random() / 4294967296.;
      x[i] = static_cast<T>(function.low > 0 && function.high / function.low > 1e4
                                ? function.low * std::pow(function.high / function.low, share)
                                : function.low + (function.high - function.low) * share);
      z[i] = static_cast<T>(.5 + 7.5 * random() / 4294967296.);
    }
    auto out = kernels.zeros<T>(n);
    kernels.run(entry, 3, 128, kernels.upload(x), kernels.upload(z), out, f, n);
    auto got = kernels.download<T>(out);
    T ulps = sizeof(T) == 4 ? static_cast<T>(function.ulps32) : static_cast<T>(function.ulps64);
    for (int i = 0; i < n; ++i) {
      T exact = static_cast<T>(function.exact(x[i], z[i]));
      int exponent;
      std::frexp(exact, &exponent);
      T ulp = std::ldexp(T{1}, exponent - std::numeric_limits<T>::digits);
      INFO(x[i] << ", " << z[i] << " gives " << got[i]);
      REQUIRE(std::fabs(got[i] - exact) <= ulps * ulp);
    }
  }
}

} // namespace

TEST_CASE("mathematical functions, single precision") {
  for (const char* target : targets) check_functions<float>(target, "math_f32");
}
TEST_CASE("mathematical functions, double precision") {
  for (const char* target : targets) check_functions<double>(target, "math_f64");
}

TEST_CASE("arguments at the borders") {
  constexpr float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> x{0, -0.f, inf, -inf, nan, 1e-45f, 1e38f, -1};
  const std::vector<float> z(8, 2);
  for (const char* target : targets) {
    Kernels kernels("math", target);
    auto value = [&](int function) {
      auto out = kernels.zeros<float>(8);
      kernels.run("math_f32", 1, 32, kernels.upload(x), kernels.upload(z), out, function, 8);
      return kernels.download<float>(out);
    };
    for (int function : {0, 3, 4, 5, 6, 13}) {
      INFO(functions[function].name);
      auto got = value(function);
      for (int i = 0; i < 8; ++i) {
        INFO(x[i]);
        float exact = static_cast<float>(functions[function].exact(x[i], z[i]));
        bool same = std::isnan(exact)                 ? std::isnan(got[i])
                    : std::isinf(exact) || exact == 0 ? got[i] == exact && std::signbit(got[i]) == std::signbit(exact)
                                                      : std::fabs(got[i] - exact) <= 4e-7f * std::fabs(exact);
        CHECK(same);
      }
    }
  }
}

TEST_CASE("fast functions") {
  for (const char* target : targets) {
    Kernels kernels("math", target);
    constexpr int n = 256;
    std::vector<float> x(n);
    for (int i = 0; i < n; ++i) x[i] = .01f + 3.f * static_cast<float>(i) / n;
    auto out = kernels.zeros<float>(8 * n);
    kernels.run("fast_f32", 2, 128, kernels.upload(x), out, n);
    auto got = kernels.download<float>(out);
    for (int i = 0; i < n; ++i) {
      double v = x[i];
      const double exact[8] = {std::sin(v), std::cos(v),      std::exp(v),      std::log(v),
                               1 / v,       1 / std::sqrt(v), std::pow(v, 1.5), std::tanh(v)};
      const double relative[8] = {0, 0, 2e-6, 0, 3e-7, 1.2e-7, 2e-6, 1e-3},
                   absolute[8] = {2e-6, 2e-6, 0, 1e-6, 0, 0, 0, 0};
      for (int k = 0; k < 8; ++k) {
        INFO("function " << k << " of " << v << ": " << got[8 * i + k]);
        CHECK(std::fabs(got[8 * i + k] - exact[k]) <= relative[k] * std::fabs(exact[k]) + absolute[k]);
      }
    }
  }
}
