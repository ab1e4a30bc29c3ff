// Every operation on single elements, in each type that it takes, run for each target on a shape that no tile divides,
// against exact integers or the definition in extended precision.
#include "tests/dsl/values.h"

using namespace tilejit;
using namespace tilejit::dsl;
using Tiles = std::vector<Tile>;

namespace {

const Shape shape{3, 45};
constexpr int64_t overhang = 3; // tiles are [6, 48]

Array compute(Device& device, const std::vector<Array>& inputs, DType type,
              const std::function<Tile(const Tiles&)>& body) {
  return run_on_tiles(device, inputs, type, shape, body, {}, overhang);
}

/// Replaces the first values, so that each meets each of them in another operand.
Array with_special(Array array, unsigned operand, const std::vector<Real>& special) {
  size_t count = special.size();
  for (size_t i = 0; i < count * count && i < array.values.size(); ++i)
    array.values[i] = special[operand == 0 ? i / count : i % count];
  return array;
}

// ---- floats --------------------------------------------------------------------------------------------------------

struct FloatOperation {
  const char* name;
  unsigned operands;
  Tile (*body)(const Tiles&);
  Real (*definition)(Real, Real, Real);
  Real relative = 0, absolute = 0; ///< error of the machine's approximation in f32, before it is rounded to the type
  bool positive = false;           ///< defined for positive numbers only
};

// The approximations' errors are those that the PTX manual gives for ex2, lg2, tanh, rsqrt and div.full.
const FloatOperation arithmetic[] = {
    {"a + b", 2, [](const Tiles& t) { return t[0] + t[1]; }, [](Real a, Real b, Real) { return a + b; }},
    {"a - b", 2, [](const Tiles& t) { return t[0] - t[1]; }, [](Real a, Real b, Real) { return a - b; }},
    {"a * b", 2, [](const Tiles& t) { return t[0] * t[1]; }, [](Real a, Real b, Real) { return a * b; }},
    {"a / b", 2, [](const Tiles& t) { return t[0] / t[1]; }, [](Real a, Real b, Real) { return a / b; }, 0x1p-22L},
    {"-a", 1, [](const Tiles& t) { return -t[0]; }, [](Real a, Real, Real) { return -a; }},
    {"abs", 1, [](const Tiles& t) { return abs(t[0]); }, [](Real a, Real, Real) { return std::abs(a); }},
    {"max", 2, [](const Tiles& t) { return max(t[0], t[1]); }, [](Real a, Real b, Real) { return std::fmax(a, b); }},
    {"min", 2, [](const Tiles& t) { return min(t[0], t[1]); }, [](Real a, Real b, Real) { return std::fmin(a, b); }},
    {"fma", 3, [](const Tiles& t) { return fma(t[0], t[1], t[2]); }, [](Real a, Real b, Real c) { return a * b + c; }},
    {"select", 3, [](const Tiles& t) { return select(t[0] < t[1], t[1], t[2]); },
     [](Real a, Real b, Real c) { return a < b ? b : c; }},
};

// Of f16, bf16 and f32.
const FloatOperation functions[] = {
    {"exp", 1, [](const Tiles& t) { return exp(t[0]); }, [](Real a, Real, Real) { return std::exp(a); }, 0x1p-19L},
    {"exp2", 1, [](const Tiles& t) { return exp2(t[0]); }, [](Real a, Real, Real) { return std::exp2(a); }, 0x1p-22L},
    {"log", 1, [](const Tiles& t) { return log(t[0]); }, [](Real a, Real, Real) { return std::log(a); }, 0x1p-22L,
     0x1p-22L, true},
    {"log2", 1, [](const Tiles& t) { return log2(t[0]); }, [](Real a, Real, Real) { return std::log2(a); }, 0x1p-22L,
     0x1p-22L, true},
    {"sqrt", 1, [](const Tiles& t) { return sqrt(t[0]); }, [](Real a, Real, Real) { return std::sqrt(a); }, 0, 0, true},
    {"rsqrt", 1, [](const Tiles& t) { return rsqrt(t[0]); }, [](Real a, Real, Real) { return 1 / std::sqrt(a); },
     0x1p-22L, 0, true},
    {"tanh", 1, [](const Tiles& t) { return tanh(t[0]); }, [](Real a, Real, Real) { return std::tanh(a); }, 0x1p-10L},
};

std::vector<Array> float_inputs(DType type, unsigned operands, bool positive) {
  const Real infinity = INFINITY, none = NAN;
  std::vector<Real> special{0, 1, -1, 3.5, -0.75, infinity, -infinity, none};
  std::vector<Array> inputs;
  for (unsigned i = 0; i < operands; ++i) {
    inputs.push_back(with_special(random_array(type, shape, i + 1), i, special));
    if (positive)
      for (Real& x : inputs[i].values) x = std::isnan(x) || x == 0 ? 2 : std::abs(x);
  }
  return inputs;
}

void check(Device& device, DType type, const FloatOperation& operation) {
  INFO(operation.name << " of " << name_of(type) << " for " << device.target());
  std::vector<Array> inputs = float_inputs(type, operation.operands, operation.positive);
  Array got = compute(device, inputs, type, operation.body);
  std::vector<Real> wanted;
  for (size_t i = 0; i < inputs[0].values.size(); ++i) {
    Real x[3] = {};
    for (size_t n = 0; n < inputs.size(); ++n) x[n] = inputs[n].values[i];
    wanted.push_back(rounded(type, operation.definition(x[0], x[1], x[2])));
  }
  // Of f64 the definition is itself rounded, to 64 bits.
  bool exact = operation.relative == 0 && operation.absolute == 0 && type != f64;
  check_values(got, wanted, [&](size_t i) {
    Real error = operation.relative * std::abs(wanted[i]) + operation.absolute;
    return exact ? 0 : error + 2 * roundoff(type) * std::abs(wanted[i]);
  });
}

} // namespace

TEST_CASE("operations on floats") {
  for (const auto& device : devices()) {
    for (const FloatOperation& operation : arithmetic)
      for (DType type : {f16, bf16, f32, f64}) check(*device, type, operation);
    for (const FloatOperation& operation : functions)
      for (DType type : {f16, bf16, f32}) check(*device, type, operation);
  }
}

TEST_CASE("an exponential's error grows with its argument no faster than the argument's own rounding") {
  for (const auto& device : devices()) {
    Array x{f32, shape, {}};
    for (int64_t i = 0; i < x.count(); ++i) x.values.push_back(rounded(f32, -87 + Real(i) * 175 / 135));
    std::vector<Real> wanted, wanted2;
    for (Real v : x.values) wanted.push_back(std::exp(v)), wanted2.push_back(std::exp2(v));
    auto bound = [&](const std::vector<Real>& of) {
      return [&](size_t i) { return of[i] * (0x1p-22L + std::abs(x.values[i]) * 0x1p-23L); };
    };
    check_values(compute(*device, {x}, f32, [](const Tiles& t) { return exp(t[0]); }), wanted, bound(wanted));
    check_values(compute(*device, {x}, f32, [](const Tiles& t) { return exp2(t[0]); }), wanted2, bound(wanted2));
  }
}

TEST_CASE("comparisons: with a NaN only != is true") {
  struct Comparison {
    const char* name;
    Tile (*body)(const Tiles&);
    bool (*definition)(Real, Real);
  };
  const Comparison comparisons[] = {
      {"==", [](const Tiles& t) { return t[0] == t[1]; }, [](Real a, Real b) { return a == b; }},
      {"!=", [](const Tiles& t) { return t[0] != t[1]; }, [](Real a, Real b) { return a != b; }},
      {"<", [](const Tiles& t) { return t[0] < t[1]; }, [](Real a, Real b) { return a < b; }},
      {"<=", [](const Tiles& t) { return t[0] <= t[1]; }, [](Real a, Real b) { return a <= b; }},
      {">", [](const Tiles& t) { return t[0] > t[1]; }, [](Real a, Real b) { return a > b; }},
      {">=", [](const Tiles& t) { return t[0] >= t[1]; }, [](Real a, Real b) { return a >= b; }},
  };
  for (const auto& device : devices())
    for (DType type : {f16, bf16, f32, f64, i8, i32, i64})
      for (const Comparison& comparison : comparisons) {
        INFO(comparison.name << " of " << name_of(type) << " for " << device->target());
        std::vector<Array> inputs = float_inputs(type, 2, false);
        if (!is_float(type))
          for (unsigned i = 0; i < 2; ++i)
            inputs[i] = with_special(random_array(type, shape, i), i, {0, 1, -1, 100, -100});
        std::vector<Real> wanted;
        for (size_t i = 0; i < inputs[0].values.size(); ++i)
          wanted.push_back(comparison.definition(inputs[0].values[i], inputs[1].values[i]));
        check_equal(compute(*device, inputs, i1, comparison.body), wanted);
      }
}

// ---- integers ------------------------------------------------------------------------------------------------------

namespace {

struct IntegerOperation {
  const char* name;
  Tile (*body)(const Tiles&);
  int64_t (*definition)(int64_t, int64_t); ///< of 64 bits, then cut to the type's
  enum Second { any, divisor, shift } second = any;
};

int64_t wrap(uint64_t x) { return static_cast<int64_t>(x); }
uint64_t u(int64_t x) { return static_cast<uint64_t>(x); }

const IntegerOperation integer_operations[] = {
    {"a + b", [](const Tiles& t) { return t[0] + t[1]; }, [](int64_t a, int64_t b) { return wrap(u(a) + u(b)); }},
    {"a - b", [](const Tiles& t) { return t[0] - t[1]; }, [](int64_t a, int64_t b) { return wrap(u(a) - u(b)); }},
    {"a * b", [](const Tiles& t) { return t[0] * t[1]; }, [](int64_t a, int64_t b) { return wrap(u(a) * u(b)); }},
    {"a / b", [](const Tiles& t) { return t[0] / t[1]; }, [](int64_t a, int64_t b) { return a / b; },
     IntegerOperation::divisor},
    {"a % b", [](const Tiles& t) { return t[0] % t[1]; }, [](int64_t a, int64_t b) { return a % b; },
     IntegerOperation::divisor},
    {"a & b", [](const Tiles& t) { return t[0] & t[1]; }, [](int64_t a, int64_t b) { return a & b; }},
    {"a | b", [](const Tiles& t) { return t[0] | t[1]; }, [](int64_t a, int64_t b) { return a | b; }},
    {"a ^ b", [](const Tiles& t) { return t[0] ^ t[1]; }, [](int64_t a, int64_t b) { return a ^ b; }},
    {"a << b", [](const Tiles& t) { return t[0] << t[1]; }, [](int64_t a, int64_t b) { return wrap(u(a) << b); },
     IntegerOperation::shift},
    {"a >> b", [](const Tiles& t) { return t[0] >> t[1]; }, [](int64_t a, int64_t b) { return a >> b; },
     IntegerOperation::shift},
    {"max", [](const Tiles& t) { return max(t[0], t[1]); }, [](int64_t a, int64_t b) { return std::max(a, b); }},
    {"min", [](const Tiles& t) { return min(t[0], t[1]); }, [](int64_t a, int64_t b) { return std::min(a, b); }},
    {"-a", [](const Tiles& t) { return -t[0]; }, [](int64_t a, int64_t) { return wrap(-u(a)); }},
    {"abs", [](const Tiles& t) { return abs(t[0]); }, [](int64_t a, int64_t) { return a < 0 ? wrap(-u(a)) : a; }},
    {"cdiv", [](const Tiles& t) { return cdiv(abs(t[0] / 4), abs(t[1] / 4) + 1); },
     [](int64_t a, int64_t b) {
       int64_t n = std::abs(a / 4), d = std::abs(b / 4) + 1;
       return n / d + (n % d != 0);
     }},
    {"select", [](const Tiles& t) { return select(t[0] > t[1], t[0], t[1] + 1); },
     [](int64_t a, int64_t b) { return a > b ? a : wrap(u(b) + 1); }},
    {"numbers", [](const Tiles& t) { return 3 * t[0] - (t[1] ^ 5) + 7; },
     [](int64_t a, int64_t b) { return wrap(3 * u(a) - u(b ^ 5) + 7); }},
};

} // namespace

TEST_CASE("operations on integers wrap around") {
  for (const auto& device : devices())
    for (DType type : {i8, i32, i64})
      for (const IntegerOperation& operation : integer_operations) {
        INFO(operation.name << " of " << name_of(type) << " for " << device->target());
        Real least = -std::ldexp(Real(1), bits_of(type) - 1);
        std::vector<Real> special{0, 1, -1, 7, least + 1, -least - 1};
        Array a = with_special(random_array(type, shape, 1), 0, special);
        Array b = with_special(random_array(type, shape, 2), 1, special);
        for (Real& x : b.values) {
          if (operation.second == IntegerOperation::divisor && x == 0) x = 3;
          if (operation.second == IntegerOperation::shift)
            x = Real(static_cast<uint64_t>(static_cast<int64_t>(x)) % unsigned(bits_of(type)));
        }
        std::vector<Real> wanted;
        for (size_t i = 0; i < a.values.size(); ++i)
          wanted.push_back(wrapped(type, operation.definition(int64_t(a.values[i]), int64_t(b.values[i]))));
        check_equal(compute(*device, {a, b}, type, operation.body), wanted);
      }
}

TEST_CASE("conditions") {
  struct Condition {
    const char* name;
    Tile (*body)(const Tiles&);
    bool (*definition)(bool, bool, bool);
  };
  const Condition conditions[] = {
      {"a && b", [](const Tiles& t) { return t[0] && t[1]; }, [](bool a, bool b, bool) { return a && b; }},
      {"a || b", [](const Tiles& t) { return t[0] || t[1]; }, [](bool a, bool b, bool) { return a || b; }},
      {"!a", [](const Tiles& t) { return !t[0]; }, [](bool a, bool, bool) { return !a; }},
      {"a == b", [](const Tiles& t) { return t[0] == t[1]; }, [](bool a, bool b, bool) { return a == b; }},
      {"a != b", [](const Tiles& t) { return t[0] != t[1]; }, [](bool a, bool b, bool) { return a != b; }},
      {"select", [](const Tiles& t) { return select(t[0], t[1], t[2]); },
       [](bool a, bool b, bool c) { return a ? b : c; }},
  };
  for (const auto& device : devices())
    for (const Condition& condition : conditions) {
      INFO(condition.name << " for " << device->target());
      std::vector<Array> inputs;
      for (unsigned i = 0; i < 3; ++i) inputs.push_back(random_array(i1, shape, i));
      std::vector<Real> wanted;
      for (size_t i = 0; i < inputs[0].values.size(); ++i)
        wanted.push_back(
            condition.definition(inputs[0].values[i] != 0, inputs[1].values[i] != 0, inputs[2].values[i] != 0));
      check_equal(compute(*device, inputs, i1, condition.body), wanted);
    }
}

// ---- casts ---------------------------------------------------------------------------------------------------------

TEST_CASE("every type to every other") {
  const DType types[] = {i1, i8, i32, i64, f16, bf16, f32, f64};
  for (const auto& device : devices())
    for (DType from : types)
      for (DType to : types) {
        INFO(name_of(from) << " to " << name_of(to) << " for " << device->target());
        Array x = random_array(from, shape, 1);
        if (is_float(from)) {
          // Halves between two neighbours of the target and around them, either sign.
          for (size_t i = 0; i < x.values.size(); ++i)
            if (is_float(to) && i % 2) x.values[i] = rounded(from, rounded(to, x.values[i]) * (1 + roundoff(to)));
          Real largest = from == f16 || to == f16 ? 60000 : to == i8 ? 100 : 1000000;
          std::vector<Real> special{0, 0.5, -0.5, 1.5, -2.5, largest, -largest};
          for (Real& s : special) s = rounded(from, s);
          if (is_float(to)) special.insert(special.end(), {INFINITY, -INFINITY, NAN});
          x = with_special(x, 0, special);
          for (Real& v : x.values)
            if (to == i8 && std::abs(v) > 127) v = 100;
        } else if (from != i1) {
          // Integers just beyond what the target's significand holds: ties and their neighbours.
          if (is_float(to))
            for (size_t i = 0; i < x.values.size(); ++i) {
              int digits = format_of(to).digits, room = bits_of(from) - 1;
              if (room <= digits + 1) continue;
              auto tie = static_cast<int64_t>(std::ldexp(Real(1), digits)) + 2 * static_cast<int64_t>(i) + 1;
              int up = static_cast<int>(i % size_t(room - digits));
              if (to == f16) up = std::min(up, 3);
              x.values[i] = std::ldexp(Real(tie), up) + (up ? Real(int64_t(i % 3) - 1) : 0);
            }
          if (to == f16)
            for (Real& v : x.values) v = std::fmod(v, Real(60000));
        }
        std::vector<Real> wanted;
        for (Real v : x.values)
          wanted.push_back(to == i1       ? Real(v != 0)
                           : is_float(to) ? rounded(to, v)
                                          : wrapped(to, static_cast<int64_t>(std::trunc(v))));
        check_equal(compute(*device, {x}, to, [&](const Tiles& t) { return t[0].to(to); }), wanted);
      }
}
