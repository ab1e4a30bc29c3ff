// The small kernels of kernels.h, compiled and run, against float64 references written from the definitions. The
// tolerances follow from the formats: one rounding to the output's type, and one of f32 for each addition.
#include "compiler/target/target.h"
#include "runtime/ptxas.h"
#include "tests/device.h"
#include "tests/dsl/kernels.h"
#include "tests/dsl/support.h"

#include <cmath>
#include <random>
#include <thread>

using namespace tilejit;
using namespace tilejit::dsl;

namespace {

runtime::Device& device() {
  static std::shared_ptr<runtime::Device> opened = open_test_device();
  return *opened;
}

// Unit roundoff of a type: the relative error of one rounding.
double roundoff(DType type) {
  switch (type) {
  case bf16: return std::ldexp(1, -8);
  case f16: return std::ldexp(1, -11);
  default: return std::ldexp(1, -24);
  }
}

// A tensor of random values in [-2, 2), and the values that it holds after rounding to its type.
struct Random {
  runtime::Tensor tensor;
  std::vector<float> values;

  Random(DType type, const Shape& shape, int seed, int64_t padding = 0) {
    std::mt19937 generator(seed);
    std::uniform_real_distribution<float> uniform(-2, 2);
    size_t count = 1;
    for (int64_t size : shape) count *= size;
    values.resize(count);
    for (float& value : values) value = uniform(generator);
    tensor = runtime::from_floats(device(), type, shape, values, padding);
    values = runtime::to_floats(device(), tensor);
  }
};

void check_close(const std::vector<float>& got, const std::vector<double>& wanted, const std::vector<double>& bound) {
  REQUIRE(got.size() == wanted.size());
  for (size_t i = 0; i < got.size(); ++i) {
    INFO("element " << i << ": " << got[i] << ", not " << wanted[i] << " within " << bound[i]);
    if (!(std::abs(got[i] - wanted[i]) <= bound[i])) FAIL();
  }
  SUCCEED();
}

void check_matmul(Jit& jit, const Matmul& how, DType type, DType out, int64_t m, int64_t n, int64_t k,
                  int64_t padding = 0) {
  INFO("matmul " << m << " x " << n << " x " << k << " of " << name_of(type));
  Random a(type, how.transpose_a ? Shape{k, m} : Shape{m, k}, 1, padding);
  Random b(type, how.transpose_b ? Shape{n, k} : Shape{k, n}, 2, padding);
  runtime::Tensor c = runtime::empty(device(), out, {m, n}, padding);
  jit.launch(device(), {cdiv(m, how.m), cdiv(n, how.n)}, {a.tensor, b.tensor, c});
  std::vector<double> wanted(m * n), bound(m * n);
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0, size = 0;
      for (int64_t x = 0; x < k; ++x) {
        double product = double(a.values[how.transpose_a ? x * m + i : i * k + x]) *
                         b.values[how.transpose_b ? j * k + x : x * n + j];
        sum += product;
        size += std::abs(product);
      }
      // Tensor cores may truncate each addition: 2 units. tf32 operands are rounded to 11 bits first, tf32x3 to 22.
      double operands = type != f32                        ? 0
                        : how.precision == Precision::tf32 ? 2 * std::ldexp(1, -11)
                                                           : 4 * std::ldexp(1, -22);
      wanted[i * n + j] = sum;
      bound[i * n + j] = size * (2 * double(k) * roundoff(f32) + operands) + std::abs(sum) * roundoff(out) + 1e-30;
    }
  check_close(runtime::to_floats(device(), c), wanted, bound);
}

void check_softmax(const Random& x, const runtime::Tensor& out) {
  int64_t m = out.shape[0], n = out.shape[1];
  std::vector<double> wanted(m * n), bound(m * n);
  for (int64_t row = 0; row < m; ++row) {
    double total = 0;
    for (int64_t i = 0; i < n; ++i) total += std::exp(double(x.values[row * n + i]));
    for (int64_t i = 0; i < n; ++i) {
      wanted[row * n + i] = std::exp(double(x.values[row * n + i])) / total;
      // exp2 (2 units) of an argument up to 6 in size (rounded twice), of each term and of the sum of n terms.
      bound[row * n + i] =
          wanted[row * n + i] * ((2 * (2 + 12) + double(n)) * roundoff(f32) + roundoff(out.type)) + 1e-7;
    }
  }
  check_close(runtime::to_floats(device(), out), wanted, bound);
}

} // namespace

TEST_CASE("vector add: any length") {
  Jit jit(vector_add());
  for (DType type : {f32, bf16, f16})
    for (int64_t n : {1, 31, 1000, 1024, 3001}) {
      INFO(n << " of " << name_of(type));
      Random x(type, {n}, 1), y(type, {n}, 2);
      runtime::Tensor out = runtime::empty(device(), type, {n});
      jit.launch(device(), {cdiv(n, 1024)}, {x.tensor, y.tensor, out});
      std::vector<double> wanted(n), bound(n);
      for (int64_t i = 0; i < n; ++i) {
        wanted[i] = double(x.values[i]) + y.values[i];
        bound[i] = std::abs(wanted[i]) * roundoff(type);
      }
      check_close(runtime::to_floats(device(), out), wanted, bound);
    }
}

TEST_CASE("fused softmax: rows of any length, padded or not") {
  Jit jit(softmax());
  for (DType type : {f32, bf16, f16})
    for (auto [m, n, padding] :
         {std::tuple<int64_t, int64_t, int64_t>{1, 1, 0}, {5, 37, 3}, {4, 256, 0}, {9, 1000, 8}}) {
      INFO(m << " rows of " << n << " " << name_of(type));
      Random x(type, {m, n}, 1, padding);
      runtime::Tensor out = runtime::empty(device(), type, {m, n}, padding);
      jit.launch(device(), {cdiv(m, 4)}, {x.tensor, out});
      check_softmax(x, out);
    }
}

TEST_CASE("the README's kernel, as printed") {
  const int64_t rows = 3;
  for (int64_t length : {1, 1000, 2500}) {
    INFO(rows << " rows of " << length);
    Random input(f32, {rows, length}, 1);
    runtime::Tensor x = input.tensor, out = runtime::empty(device(), f32, {rows, length});
    runtime::Device* const opened = &device();
    {
      runtime::Device* const device = opened;
#include "readme_kernel.inc"
    }
    check_softmax(input, out);
  }
}

TEST_CASE("matmul: odd sizes, transposed or not") {
  for (bool transpose_a : {false, true})
    for (bool transpose_b : {false, true}) {
      Matmul how{.transpose_a = transpose_a, .transpose_b = transpose_b};
      INFO("transposed: " << transpose_a << transpose_b);
      Jit jit(matmul(how));
      check_matmul(jit, how, bf16, f32, 64, 64, 32);
      check_matmul(jit, how, bf16, bf16, 70, 90, 50);
      check_matmul(jit, how, f16, f32, 33, 130, 100, 8);
    }
}

TEST_CASE("matmul of f32") {
  for (Precision precision : {Precision::tf32, Precision::tf32x3}) {
    Matmul how{.precision = precision};
    Jit jit(matmul(how));
    check_matmul(jit, how, f32, f32, 64, 64, 64);
    check_matmul(jit, how, f32, f32, 65, 40, 77);
  }
}

TEST_CASE("matmul: other blocks, warps and stages give the same product") {
  for (int warps : {1, 2, 8})
    for (int stages : {1, 3}) {
      INFO(warps << " warps, " << stages << " stages");
      Matmul how{.m = 32, .n = 48, .k = 16};
      Jit jit(matmul(how, {.warps = warps, .stages = stages}));
      check_matmul(jit, how, bf16, f32, 100, 100, 100);
    }
}

TEST_CASE("a view of a transposed tensor needs no other kernel") {
  Random x(f32, {40, 24}, 1);
  runtime::Tensor out = runtime::empty(device(), f32, {24, 40});
  Jit copy(kernel("copy(x, out)", [](View x, View out) {
    out.at(span(0, 32), span(0, 64)).store(x.at(span(0, 32), span(0, 64)).load());
  }));
  copy.launch(device(), {}, {x.tensor.transpose(0, 1), out});
  std::vector<float> got = runtime::to_floats(device(), out);
  for (int64_t i = 0; i < 24; ++i)
    for (int64_t j = 0; j < 40; ++j) CHECK(got[i * 40 + j] == x.values[j * 24 + i]);
}

TEST_CASE("reductions of several tiles, and to a scalar") {
  // The largest element of a vector, where it is, and how many are positive.
  Jit jit(kernel("argmax(x, value, where, positive)", [](View x, View value, View where, View positive) {
    Tile t = x.at(span(0, 128)).load_or(-INFINITY);
    auto best = reduce({t, iota(128)}, 0, [](const std::vector<Tile>& a, const std::vector<Tile>& b) {
      Tile first = a[0] > b[0] || (a[0] == b[0] && a[1] < b[1]);
      return std::vector<Tile>{select(first, a[0], b[0]), select(first, a[1], b[1])};
    });
    value.at(0).store(best[0]);
    where.at(0).store(best[1]);
    positive.at(0).store(sum((t > 0).to(i32), 0));
  }));
  Random x(f32, {100}, 3);
  runtime::Tensor value = runtime::empty(device(), f32, {1}), where = runtime::empty(device(), i32, {1}),
                  positive = runtime::empty(device(), i32, {1});
  jit.launch(device(), {}, {x.tensor, value, where, positive});
  auto best = std::max_element(x.values.begin(), x.values.end());
  CHECK(runtime::to_floats(device(), value)[0] == *best);
  CHECK(runtime::to_floats(device(), where)[0] == best - x.values.begin());
  CHECK(runtime::to_floats(device(), positive)[0] ==
        std::count_if(x.values.begin(), x.values.end(), [](float v) { return v > 0; }));
}

TEST_CASE("a launch compiles once for each specialization") {
  Jit jit(vector_add(128));
  auto run = [&](DType type, int64_t n) {
    Random x(type, {n}, 1), y(type, {n}, 2);
    runtime::Tensor out = runtime::empty(device(), type, {n});
    jit.launch(device(), {cdiv(n, 128)}, {x.tensor, y.tensor, out});
  };
  run(f32, 128);
  CHECK(jit.compilations() == 1);
  run(f32, 1024);
  run(f32, 4);
  CHECK(jit.compilations() == 1);
  run(f32, 5); // rows of 20 bytes
  CHECK(jit.compilations() == 2);
  run(bf16, 128);
  CHECK(jit.compilations() == 3);
  Jit(jit).compile(device().target(), {tensor_spec("x", f32, {dynamic}), tensor_spec("y", f32, {dynamic}),
                                       tensor_spec("out", f32, {dynamic})});
  CHECK(jit.compilations() == 3); // a copy shares the cache; specs and tensors meet in it
  auto second = runtime::open_device("simulator");
  Random x(f32, {128}, 1);
  CHECK_NOTHROW(jit.launch(device(), {0}, {x.tensor, x.tensor, x.tensor})); // no blocks: nothing to do
  CHECK(jit.compilations() == 3);
}

TEST_CASE("threads that launch at once compile once") {
  Jit jit(vector_add(256));
  auto spec = tensor_spec("", f32, {dynamic});
  std::vector<std::thread> threads;
  std::vector<std::shared_ptr<const CompiledKernel>> kernels(4);
  for (auto& kernel : kernels)
    threads.emplace_back([&] { kernel = jit.compile("sm_90a", std::vector<ArgumentSpec>{spec, spec, spec}); });
  for (std::thread& thread : threads) thread.join();
  CHECK(jit.compilations() == 1);
  for (auto& kernel : kernels) CHECK(kernel == kernels[0]);
}

TEST_CASE("a kernel that failed to compile may be tried again") {
  int attempts = 0;
  Jit jit(kernel("fails(x)", [&](View x) {
    if (++attempts == 1)
      x.at(0).store(zeros(bf16, {64}));
    else
      x.at(0).store(0);
  }));
  auto spec = tensor_spec("x", f32, {dynamic});
  CHECK(error_of([&] { jit.compile("sm_90a", std::vector<ArgumentSpec>{spec}); }) != "");
  CHECK(jit.compile("sm_90a", std::vector<ArgumentSpec>{spec})->name == "fails");
  CHECK(jit.compilations() == 1);
}

TEST_CASE("ptxas accepts each kernel for each target, without spills (needs ptxas)") {
  std::optional<std::string> ptxas = runtime::find_ptxas();
  if (!ptxas) {
    WARN("skipped: there is no ptxas here");
    return;
  }
  auto rows = [](DType type) { return tensor_spec("", type, {dynamic, dynamic}); };
  auto vector = tensor_spec("", bf16, {dynamic});
  std::vector<std::pair<Kernel, std::vector<ArgumentSpec>>> kernels = {
      {vector_add(), {vector, vector, vector}},
      {softmax(), {rows(bf16), rows(bf16)}},
      {matmul(), {rows(bf16), rows(bf16), rows(f32)}},
      {matmul({.transpose_a = true, .transpose_b = true}), {rows(f16), rows(f16), rows(f16)}},
      {matmul({.precision = Precision::tf32x3}), {rows(f32), rows(f32), rows(f32)}},
  };
  for (auto& [kernel, specs] : kernels)
    for (const Target& target : targets()) {
      INFO(kernel.name() << " for " << target.name);
      CompiledKernel compiled = compile(kernel.record(specs), {.target = std::string(target.name)});
      runtime::PtxasResult result = runtime::run_ptxas(*ptxas, compiled.ptx, compiled.target);
      INFO(result.messages);
      REQUIRE(result.accepted);
      REQUIRE(result.entries.size() == 1);
      CHECK(result.entries[0].spill_store_bytes == 0);
      CHECK(result.entries[0].stack_bytes == 0);
    }
}

// A step of a kernel that stands in another file, as far as the compiler can tell.
#line 7 "steps_of_others.h"
static Tile twice(const Tile& x) { return x + x; }
#line 276 "test_kernels.cpp"

TEST_CASE("the author's lines reach the PTX, those in other files too") {
  Kernel doubled = kernel("doubled(x, out)", [](View x, View out) {
    Span here = span(program_id(0) * 128, 128);
    out.at(here).store(twice(x.at(here).load()) * 3.0);
  });
  auto vector = tensor_spec("", f32, {dynamic});
  std::string ptx = compile(doubled.record({vector, vector})).ptx;
  CHECK_THAT(ptx, Catch::Matchers::Contains("test_kernels.cpp\"") && Catch::Matchers::Contains("steps_of_others.h\""));
  // ".loc FILE LINE COLUMN" of the file's number.
  auto number = [&](const std::string& file) {
    size_t end = ptx.find(file), begin = ptx.rfind(".file", end);
    return ptx.substr(begin + 6, ptx.find_first_of(" \t", begin + 6) - begin - 6);
  };
  CHECK_THAT(ptx, Catch::Matchers::Contains(".loc\t" + number("steps_of_others.h") + " 7 "));
  CHECK_THAT(ptx, Catch::Matchers::Contains(".loc\t" + number("test_kernels.cpp") + " 280 "));
}
