// demo - flash attention forward at the shape of a real model (Llama-3-8B: 32 query heads, 8 key/value heads, head
// width 128, bf16, causal), on a GPU where there is one, else on the simulator; checked against the definition in
// float64.
#include "lib/attention/softmax/attention.h"
#include "runtime/device.h"
#include "runtime/files.h"
#include "runtime/simulator/device.h"
#include "runtime/tensor.h"
#include "tools/demo_reference.h"
#include "tools/kernel_report.h"
#include "tools/progress.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fmt/format.h>
#include <fmt/ostream.h>
#include <iostream>
#include <random>
#include <thread>

namespace {

using namespace tilejit;

struct Options {
  std::string device;  ///< empty: a GPU if there is one
  int64_t tokens = 0;  ///< 0: as many as the time allows
  double seconds = 20; ///< for the simulator, all runs and the check together
  int64_t rows = 1024; ///< to compare with the definition
  uint64_t seed = 1;
  std::string ptx = "attention.ptx";
};

// Llama-3-8B, one sequence.
constexpr int64_t query_heads = 32, kv_heads = 8, width = 128;
constexpr int64_t context = 8192;    ///< of the model: what a GPU is given
constexpr double error_bound = 4e-3; ///< norm-wise, of bf16: 8 bits of P and O
const attention::AttentionOptions attention_options = {.causal = true, .lse = true};

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Multiply-adds of the two products over the visible half of the square, two operations each.
double operations(int64_t tokens) {
  double t = static_cast<double>(tokens);
  return 2 * 2 * static_cast<double>(query_heads * width) * t * (t + 1) / 2;
}

/// Standard normal values, rounded to bf16 as the kernel will see them.
std::vector<float> normal_values(int64_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = runtime::from_bf16(runtime::to_bf16(normal(random)));
  return values;
}

/// One problem: the values, and the tensors on the device.
struct Problem {
  int64_t tokens;
  std::vector<float> q, k, v;
  attention::AttentionInputs inputs;

  Problem(runtime::Device& device, int64_t length, uint64_t seed)
      : tokens(length), q(normal_values(tokens * query_heads * width, seed)),
        k(normal_values(tokens * kv_heads * width, seed + 1)), v(normal_values(tokens * kv_heads * width, seed + 2)),
        inputs{from_floats(device, DType::bf16, {1, tokens, query_heads, width}, q),
               from_floats(device, DType::bf16, {1, tokens, kv_heads, width}, k),
               from_floats(device, DType::bf16, {1, tokens, kv_heads, width}, v)} {}
};

attention::AttentionOutputs run(runtime::Device& device, const Problem& problem) {
  attention::AttentionOutputs outputs = attention::attention(device, problem.inputs, attention_options);
  device.synchronize();
  return outputs;
}

/// How much longer one causal run is than another: tiles of scores, of which each row block has a triangle and a half.
double work(int64_t tokens) { return static_cast<double>(tokens) * static_cast<double>(tokens + 128); }

/// The largest multiple of 64 whose run should take `allowed` seconds at most, judged by a run of `probe` tokens.
int64_t most_tokens(runtime::Device& device, int64_t probe, double allowed, uint64_t seed) {
  Problem problem(device, probe, seed);
  auto start = std::chrono::steady_clock::now();
  run(device, problem);
  double for_each = seconds_since(start) / work(probe);
  int64_t tokens = 64;
  while (tokens < context && work(tokens + 64) * for_each <= allowed) tokens += 64;
  return tokens;
}

/// Tokens that fill the time: a short run tells how long one may be that is measured well, and that one the rest.
int64_t choose_tokens(runtime::Device& device, const Options& options) {
  int64_t probe = most_tokens(device, 128, 0.08 * options.seconds, options.seed);
  return most_tokens(device, probe, 0.7 * options.seconds, options.seed);
}

void describe_compiler(const CompiledKernel& kernel, double seconds, const Options& options) {
  fmt::print("\nWhat the compiler produced\n{}", tools::to_text(tools::report(kernel), kernel, "  "));
  runtime::OutputFile file(options.ptx);
  file.write(kernel.ptx);
  file.commit();
  fmt::print("  {:<18}{} lines, in {}\n", "PTX", std::count(kernel.ptx.begin(), kernel.ptx.end(), '\n'),
             std::filesystem::absolute(options.ptx).string());
  fmt::print("\nHow long it took (the first kernel of a process, so nothing is warm)\n{}",
             tools::stages_text(kernel.stages, "  "));
  fmt::print("  {:<24}{:8.2f} ms\n", "with recording", seconds * 1e3);
}

int run_demo(const Options& options) {
  std::shared_ptr<runtime::Device> device =
      options.device.empty() ? runtime::open_default_device() : runtime::open_device(options.device);
  const bool gpu = device->name().starts_with("cuda");
  fmt::print("Flash attention forward, Llama-3-8B: {} query heads, {} key/value heads, head width {}, bf16, "
             "causal\n\nWhere it runs\n",
             query_heads, kv_heads, width);
  for (const std::string& line : runtime::describe_devices()) fmt::print("  {}\n", line);
  fmt::print("  chosen: {}\n", device->name());
  std::cout.flush();

  auto start = std::chrono::steady_clock::now();
  std::shared_ptr<const CompiledKernel> kernel =
      attention::attention_compiled(device->target(), Problem(*device, 64, options.seed).inputs, attention_options);
  describe_compiler(*kernel, seconds_since(start), options);
  std::fflush(stdout);

  int64_t tokens = options.tokens;
  if (tokens == 0 && gpu) tokens = context;
  if (tokens == 0) {
    fmt::print("\nMeasuring how many tokens the simulator does in {:.0f} s ...\n", options.seconds);
    std::fflush(stdout);
    tools::with_progress("measuring", [&] { tokens = choose_tokens(*device, options); });
  }

  Problem problem(*device, tokens, options.seed);
  attention::AttentionOutputs outputs;
  fmt::print("\nRunning {} tokens ...\n", tokens);
  std::fflush(stdout);
  std::atomic<double> share = -1; // of the blocks that are done; only the simulator tells
  if (auto* simulator = dynamic_cast<runtime::SimulatorDevice*>(device.get()))
    simulator->set_progress(
        [&](uint64_t done, uint64_t total) { share = static_cast<double>(done) / static_cast<double>(total); });
  double seconds =
      tools::with_progress("running", [&] { outputs = run(*device, problem); }, [&] { return share.load(); });
  if (gpu) { // warm now: the mean of some calls, by the device's own clock
    constexpr int repeats = 20;
    seconds = device->time([&] {
      for (int i = 0; i < repeats; ++i) outputs = attention::attention(*device, problem.inputs, attention_options);
    }) * 1e-3 /
              repeats;
  }
  fmt::print("  {:<18}{:.3g} s, {:.3g} GFLOP/s on {}\n", "time", seconds, operations(tokens) / seconds * 1e-9,
             device->name());
  if (auto* simulator = dynamic_cast<runtime::SimulatorDevice*>(device.get())) {
    simulator->set_progress(nullptr);
    const runtime::LaunchCounters& counters = simulator->last_launch();
    fmt::print("  {:<18}{} of {} blocks, {:.3g} million a second\n", "warp instructions", counters.warp_instructions,
               counters.blocks, static_cast<double>(counters.warp_instructions) / seconds * 1e-6);
  }

  demo::AttentionShape shape{.queries = tokens,
                             .keys = tokens,
                             .query_heads = query_heads,
                             .kv_heads = kv_heads,
                             .width = width,
                             .value_width = width};
  std::vector<int64_t> rows = demo::sample_rows(shape, options.rows, options.seed);
  std::vector<float> o = to_floats(*device, outputs.o), lse = to_floats(*device, *outputs.lse);
  demo::Errors errors;
  double checked = tools::with_progress("checking", [&] {
    errors = demo::compare(shape, true, 1 / std::sqrt(static_cast<double>(width)), problem.q, problem.k, problem.v, o,
                           lse, rows, std::max(1u, std::thread::hardware_concurrency()));
  });
  fmt::print("\nErrors against the definition in float64 ({} of {} rows, {:.1f} s)\n", errors.rows, shape.rows(),
             checked);
  fmt::print("  {:<18}{:.3g} (bound {:.3g})\n", "norm-wise", errors.norm_wise, error_bound);
  fmt::print("  {:<18}{:.3g} of an element of o (the largest is {:.3g})\n", "largest", errors.largest,
             errors.largest_reference);
  fmt::print("  {:<18}{:.3g}\n", "largest of lse", errors.largest_lse);
  if (!(errors.norm_wise <= error_bound)) {
    fmt::print("\nThe error is larger than it may be.\n");
    return 1;
  }
  return 0;
}

} // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App program("Flash attention forward at the shape of a real model, run and checked.", "demo");
  program.add_option("--device", options.device, "simulator[:sm_90a|sm_80], cuda[:N]; default: a GPU if there is one");
  program
      .add_option("--tokens", options.tokens, "Length of the sequence; default: what the time allows, 8192 on a GPU")
      ->check(CLI::Range(1, 1 << 20));
  program.add_option("--seconds", options.seconds, "Time to fill on the simulator (default 20)")
      ->check(CLI::Range(1, 100000));
  program.add_option("--rows", options.rows, "Rows to compare with the definition (default 1024)")
      ->check(CLI::Range(1, 1 << 30));
  program.add_option("--seed", options.seed, "Of the random inputs");
  program.add_option("--ptx", options.ptx, "Where to write the PTX (default attention.ptx)")->take_last();
  CLI11_PARSE(program, argc, argv);
  try {
    return run_demo(options);
  } catch (const std::exception& error) {
    std::cerr << "demo: " << error.what() << std::endl;
    return 1;
  }
}
