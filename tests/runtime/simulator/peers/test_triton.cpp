// Kernels that Triton compiles here and now, where it is installed, against double precision. TILEJIT_PYTHON names the
// Python that has it.
#include "tests/runtime/simulator/conformance/exact.h"
#include "tests/runtime/simulator/ptx_text.h"
#include "tests/runtime/simulator/simulate.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <functional>
#include <iostream>
#include <numeric>
#include <sstream>
#include <sys/wait.h>

using namespace tilejit::runtime;
using namespace tilejit::runtime::simulator::test;
using namespace tilejit::conformance;

namespace {

/// One of Triton's kernels.
struct Compiled {
  std::string name, entry, architecture, ptx;
  uint32_t threads = 0, shared = 0;
  bool is(const std::string& prefix) const { return name.starts_with(prefix); }
};

/// What the script made; empty where Triton is not installed.
std::vector<Compiled> compile_all() {
  auto folder = std::filesystem::temp_directory_path() / ("tilejit-triton-" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  const char* python = std::getenv("TILEJIT_PYTHON");
  int status = std::system((std::string(python ? python : "python3") + " " TILEJIT_PEERS "/triton_kernels.py " +
                            folder.string() + " > " + (folder / "log").string() + " 2>&1")
                               .c_str());
  std::string log = read_file(folder / "log");
  std::vector<Compiled> kernels;
  std::istringstream index(read_file(folder / "index"));
  for (std::string line; std::getline(index, line);) {
    Compiled k;
    std::istringstream(line) >> k.name >> k.entry >> k.architecture >> k.threads >> k.shared;
    k.ptx = read_file(folder / (k.name + ".ptx"));
    kernels.push_back(k);
  }
  std::filesystem::remove_all(folder);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
    std::cout << "skipped: " << log;
    return {};
  }
  INFO(log);
  REQUIRE(status == 0);
  return kernels;
}

/// A simulator of the kernel's architecture with arrays on it.
class Run {
public:
  explicit Run(const Compiled& k)
      : kernel_(k), simulator_("sm_" + k.architecture + (k.architecture == "90" ? "a" : "")) {}

  /// Numbers as the element type of a kernel, and as what that type made of them.
  std::shared_ptr<Buffer> upload(std::vector<double>& values, const std::string& type) {
    const Format& format = type == "fp16" ? f16 : type == "bf16" ? bf16 : type == "fp8e5" ? e5m2 : f32;
    std::vector<uint8_t> bytes;
    for (double& v : values) {
      uint64_t bits = encode(format, decode(f64, bits_to<uint64_t>(v)));
      v = to_double(decode(format, bits));
      for (int k = 0; k < format.bits / 8; ++k) bytes.push_back(static_cast<uint8_t>(bits >> (8 * k)));
    }
    return simulator_.upload(bytes);
  }
  std::shared_ptr<Buffer> zeros(size_t count) { return simulator_.upload(std::vector<float>(count)); }
  template <typename... Parameters>
  void operator()(std::array<uint32_t, 3> grid, const Parameters&... parameters) {
    PtxLaunch launch{
        .entry = kernel_.entry, .grid = grid, .block = {kernel_.threads, 1, 1}, .dynamic_shared = kernel_.shared};
    (add(launch, parameters), ...);
    // Triton adds memory for its own use: global, and of the profiler. TMA descriptors are made in the first.
    auto scratch = zeros(1 << 16);
    add(launch, scratch);
    add(launch, uint64_t{0});
    static_cast<SimulatorDevice&>(*simulator_.device).launch_ptx(kernel_.ptx, launch);
  }
  std::vector<float> download(const std::shared_ptr<Buffer>& buffer) { return simulator_.download<float>(*buffer); }
  std::vector<int> integers(const std::shared_ptr<Buffer>& buffer) { return simulator_.download<int>(*buffer); }

private:
  static void add(PtxLaunch& launch, const std::shared_ptr<Buffer>& buffer) { add(launch, buffer->address()); }
  template <typename T>
  static void add(PtxLaunch& launch, const T& value) {
    auto bytes = std::as_bytes(std::span(&value, 1));
    launch.parameters.emplace_back(bytes.begin(), bytes.end());
  }
  const Compiled& kernel_;
  Simulator simulator_;
};

std::vector<double> numbers(size_t count, double range = 1) {
  Random random;
  std::vector<double> values(count);
  for (double& v : values) v = (random() / 2147483648. - 1) * range;
  return values;
}
/// Norm-wise: |got - expected| / |expected|.
double error_of(const std::vector<float>& got, const std::vector<double>& expected) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += (got[i] - expected[i]) * (got[i] - expected[i]);
    size += expected[i] * expected[i];
  }
  return std::sqrt(difference / size);
}

void check_add(const Compiled& k) {
  Run run(k);
  auto x = numbers(1000), y = numbers(1000, 3);
  auto out = run.zeros(1000);
  run({2, 1, 1}, run.upload(x, "fp32"), run.upload(y, "fp32"), out, 1000);
  std::transform(x.begin(), x.end(), y.begin(), x.begin(), std::plus<>());
  CHECK(error_of(run.download(out), x) < 1e-7);
}
void check_softmax(const Compiled& k) {
  Run run(k);
  constexpr int rows = 3, n = 700;
  auto x = numbers(rows * n, 5);
  auto out = run.zeros(x.size());
  run({rows, 1, 1}, run.upload(x, "fp32"), out, n);
  for (int r = 0; r < rows; ++r) {
    double sum = 0;
    for (int i = 0; i < n; ++i) sum += x[r * n + i] = std::exp(x[r * n + i]);
    for (int i = 0; i < n; ++i) x[r * n + i] /= sum;
  }
  CHECK(error_of(run.download(out), x) < 1e-6);
}
void check_product(const Compiled& k, const std::string& type) {
  Run run(k);
  bool tma = k.is("product_tma"); // strides are multiples of 16 bytes
  const int m = 100, n = tma ? 96 : 90, depth = tma ? 136 : 130;
  auto a = numbers(m * depth), b = numbers(depth * n);
  auto da = run.upload(a, type), db = run.upload(b, type), out = run.zeros(m * n);
  run({2, 2, 1}, da, db, out, m, n, depth);
  std::vector<double> expected(m * n);
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j)
      for (int x = 0; x < depth; ++x) expected[i * n + j] += a[i * depth + x] * b[x * n + j];
  CHECK(error_of(run.download(out), expected) < (type == "fp32" ? 1e-3 : 1e-6)); // of fp32: products of tf32
}
void check_attention(const Compiled& k, const std::string& type) {
  Run run(k);
  constexpr int heads = 2, t = 150, d = 64;
  auto q = numbers(heads * t * d), keys = numbers(heads * t * d, 2), v = numbers(heads * t * d, 1.5);
  auto dq = run.upload(q, type), dk = run.upload(keys, type), dv = run.upload(v, type), out = run.zeros(q.size());
  const uint32_t rows = type == "bf16" ? 128 : 64;
  run({(t + rows - 1) / rows, heads, 1}, dq, dk, dv, out, t, .125f);
  std::vector<double> expected(q.size());
  for (int h = 0; h < heads; ++h)
    for (int i = 0; i < t; ++i) {
      double total = 0;
      for (int j = 0; j <= i; ++j) {
        double s = 0;
        for (int x = 0; x < d; ++x) s += q[(h * t + i) * d + x] * keys[(h * t + j) * d + x];
        double p = std::exp(s * .125);
        total += p;
        for (int x = 0; x < d; ++x) expected[(h * t + i) * d + x] += p * v[(h * t + j) * d + x];
      }
      for (int x = 0; x < d; ++x) expected[(h * t + i) * d + x] /= total;
    }
  CHECK(error_of(run.download(out), expected) < (type == "bf16" ? 4e-3 : 1e-3));
}
void check_inverse(const Compiled& k) {
  Run run(k);
  constexpr int n = 32;
  auto a = numbers(n * n, .3);
  auto out = run.zeros(n * n);
  run({1, 1, 1}, run.upload(a, "fp32"), out);
  std::vector<double> expected(n * n);
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < n; ++j) {
      expected[i * n + j] = i == j;
      for (int x = 0; x < i; ++x) expected[i * n + j] -= a[i * n + x] * expected[x * n + j];
    }
  CHECK(error_of(run.download(out), expected) < 1e-6);
}
void check_scan_and_sort(const Compiled& k) {
  Run run(k);
  auto x = numbers(256, 8);
  for (double& v : x) v = std::fabs(v);
  auto sums = run.zeros(256), order = run.zeros(256), counts = run.zeros(16);
  run({1, 1, 1}, run.upload(x, "fp32"), sums, order, counts);
  std::vector<int> expected(16);
  for (double v : x) ++expected[static_cast<size_t>(v)];
  CHECK(run.integers(counts) == expected);
  std::vector<double> running(256);
  std::partial_sum(x.begin(), x.end(), running.begin());
  CHECK(error_of(run.download(sums), running) < 1e-6);
  std::sort(x.begin(), x.end());
  CHECK(error_of(run.download(order), x) == 0);
}

} // namespace

TEST_CASE("kernels that Triton compiled") {
  std::vector<std::string> not_yet;
  for (const Compiled& k : compile_all()) {
    INFO(k.name);
    auto type_after = [&](const std::string& prefix) {
      return k.name.substr(prefix.size(), k.name.rfind('_') - prefix.size());
    };
    try {
      if (k.is("add"))
        check_add(k);
      else if (k.is("softmax"))
        check_softmax(k);
      else if (k.is("product_tma"))
        check_product(k, "fp16");
      else if (k.is("product_"))
        check_product(k, type_after("product_"));
      else if (k.is("attention_"))
        check_attention(k, type_after("attention_"));
      else if (k.is("inverse"))
        check_inverse(k);
      else if (k.is("scan_and_sort"))
        check_scan_and_sort(k);
      else
        FAIL("no check for " << k.name);
    } catch (const Error& e) {
      // Every instruction is known; those that do not run yet (test_forms_run.cpp lists them) are named.
      if (k.architecture == "80" || std::string(e.what()).find("cannot run") == std::string::npos) FAIL_CHECK(e.what());
      not_yet.push_back(k.name);
    }
  }
  for (const std::string& name : not_yet) std::cout << "does not run yet: " << name << "\n";
}
