// How near the simulator's time estimate is to a GPU, on kernels of other compilers:
//
//   bench_estimate FOLDER ... --device cuda --out gpu.json      # on a machine with a GPU: times
//   bench_estimate FOLDER ... --with gpu.json                   # anywhere: estimates, and both in one table
//
// FOLDERs are those that the scripts beside this have made (README.md). On a GPU each launch is timed by itself, with
// L2 swept before it, and so is an empty kernel. What a launch writes the case's next one finds; large arrays that are
// only filled are an exception.
#include "runtime/cuda/driver.h"
#include "runtime/files.h"
#include "runtime/simulator/estimate.h"
#include "tests/runtime/simulator/peers/children.h"
#include "tools/tilejit/launch.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <fmt/core.h>
#include <nlohmann/json.hpp>

using namespace tilejit;
using namespace tilejit::tools;
namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr auto patience = std::chrono::seconds(20); ///< for one case
constexpr int repetitions = 10;

const std::string helpers = R"(.version 7.0
.target sm_80
.address_size 64
.visible .entry empty() { ret; }
.visible .entry delay()
{
  .reg .u64 %begin, %now;
  .reg .pred %more;
  mov.u64 %begin, %clock64;
again:
  mov.u64 %now, %clock64;
  sub.u64 %now, %now, %begin;
  setp.lt.u64 %more, %now, 2000000;
  @%more bra again;
  ret;
}
)";

std::string today() {
  std::time_t now = std::time(nullptr);
  char text[16];
  std::strftime(text, sizeof text, "%Y-%m-%d", std::gmtime(&now));
  return text;
}

/// Calls `work(name, ptx, launch, is_last)` for each launch of a case, in a copy of its folder: they change arrays.
template <typename Work>
void each_step(const fs::path& folder, const json& description, const Work& work) {
  runtime::TemporaryFolder temporary;
  const fs::path copy = fs::path(temporary.path()) / "case";
  fs::copy(folder, copy);
  const auto& steps = description["steps"];
  for (const auto& step : steps) {
    const std::string name = step.get<std::string>(), ptx = runtime::read_text((copy / (name + ".ptx")).string());
    work(name, ptx, read_launch((copy / (name + ".json")).string()), &step == &steps.back());
  }
}

json description_of(const fs::path& folder) { return json::parse(runtime::read_text((folder / "case.json").string())); }

/// Times one launch at a time on a GPU.
class Stopwatch {
public:
  explicit Stopwatch(const std::string& name)
      : device_(runtime::open_device(name)), sweep_(device_->allocate(size_t{256} << 20)) {}

  runtime::Device& device() { return *device_; }

  /// Microseconds: the least and the median. `prepare` is called before each launch.
  json time(const std::string& ptx, const runtime::PtxLaunch& how, const std::function<void()>& prepare) {
    std::vector<double> all;
    for (int i = 0; i < repetitions; ++i) {
      prepare();
      device_->fill_zero(*sweep_);
      // The launch is queued while this runs, so that what the host does for it is not in the time.
      device_->launch_ptx(helpers, {.entry = "delay"});
      all.push_back(1000 * device_->time([&] { device_->launch_ptx(ptx, how); }));
    }
    std::ranges::sort(all);
    return {{"min", all.front()}, {"median", (all[(all.size() - 1) / 2] + all[all.size() / 2]) / 2}};
  }

  /// Of the launch overhead, and of what the device is.
  json about() {
    json about{{"device", device_->name()},
               {"driver", runtime::cuda::Driver::load()->version()},
               {"date", today()},
               {"kernels", json::object()}};
    device_->launch_ptx(helpers, {.entry = "empty"});
    about["empty"] = time(helpers, {.entry = "empty"}, [] {});
    return about;
  }

  json of_case(const fs::path& folder) {
    json times = json::object();
    each_step(folder, description_of(folder),
              [&](const std::string& name, const std::string& ptx, const Launch& launch, bool is_last) {
                PlacedLaunch placed(*device_, launch);
                placed.upload();
                device_->launch_ptx(ptx, placed.how());
                device_->synchronize();
                if (!is_last) write_outputs(launch, placed.collect());
                times[name] = time(ptx, placed.how(), [&] { placed.upload(); });
              });
    return times;
  }

private:
  std::shared_ptr<runtime::Device> device_;
  std::shared_ptr<runtime::Buffer> sweep_; ///< larger than any L2
};

std::string name_of(const fs::path& folder) { return (folder.parent_path().filename() / folder.filename()).string(); }

json measure(const std::string& device, const std::vector<fs::path>& cases) {
  std::unique_ptr<Stopwatch> stopwatch; // of a child
  json results;
  auto work = [&](size_t i) {
    if (!stopwatch) stopwatch = std::make_unique<Stopwatch>(device);
    return (i == 0 ? stopwatch->about() : stopwatch->of_case(cases[i - 1])).dump();
  };
  auto on_end = [&](size_t i, const peers::Outcome& outcome) {
    const std::string name = i == 0 ? "the empty kernel" : name_of(cases[i - 1]);
    if (!outcome.good) {
      fmt::print(stderr, "{}: {}\n", name, outcome.text);
      results["failed"][name] = outcome.text;
    } else if (i == 0) {
      results.update(json::parse(outcome.text));
    } else {
      const json of_case = json::parse(outcome.text);
      for (const auto& [step, times] : of_case.items()) results["kernels"][name + "/" + step] = times;
    }
  };
  peers::in_children(cases.size() + 1, 1, patience, work, on_end);
  return results;
}

/// Which row of the table a measurement is of.
std::string known_gpu(const json& measured) {
  std::string device = measured.value("device", "");
  std::ranges::transform(device, device.begin(), [](unsigned char c) { return std::tolower(c); });
  for (const runtime::Gpu& gpu : runtime::gpu_table())
    if (device.find(gpu.name) != std::string::npos) return std::string(gpu.name);
  return "h100";
}

json estimate_all(const std::string& gpu, const std::vector<fs::path>& cases) {
  json results{{"device", "estimate"}, {"gpu", gpu}, {"date", today()}, {"kernels", json::object()}};
  for (const fs::path& folder : cases) try {
      const json description = description_of(folder);
      auto device = runtime::open_simulator(description["target"].get<std::string>());
      device->set_instruments({.estimate = true});
      each_step(folder, description,
                [&](const std::string& name, const std::string& ptx, const Launch& launch, bool is_last) {
                  PlacedLaunch placed(*device, launch);
                  placed.upload();
                  device->launch_ptx(ptx, placed.how());
                  if (!is_last) write_outputs(launch, placed.collect());
                  const runtime::Estimate e = runtime::estimate(device->last_launch(), runtime::find_gpu(gpu));
                  results["kernels"][name_of(folder) + "/" + name] = {
                      {"microseconds", e.microseconds}, {"bound_by", e.bound_by}, {"roofline_share", e.roofline_share}};
                });
    } catch (const std::exception& error) {
      fmt::print(stderr, "{}: {}\n", name_of(folder), error.what());
      results["failed"][name_of(folder)] = error.what();
    }
  return results;
}

struct Pair {
  double measured, estimated; ///< microseconds, the empty launch taken off
};

/// The value below which `share` of all are.
double percentile(const std::vector<double>& sorted, double share) {
  return sorted[static_cast<size_t>(std::lround(share * static_cast<double>(sorted.size() - 1)))];
}

void print_summary(const std::vector<Pair>& pairs) {
  if (pairs.empty()) return fmt::print("no kernel is in both\n");
  size_t apart = 0, alike = 0;
  for (size_t i = 0; i < pairs.size(); ++i)
    for (size_t j = i + 1; j < pairs.size(); ++j) {
      const auto& [a, b] = std::minmax(pairs[i], pairs[j], [](auto& x, auto& y) { return x.measured < y.measured; });
      if (b.measured <= 1.2 * a.measured) continue;
      ++apart;
      alike += a.estimated < b.estimated;
    }
  std::vector<double> ratios;
  double logarithms = 0;
  for (const Pair& p : pairs) {
    ratios.push_back(p.estimated / p.measured);
    logarithms += std::log(ratios.back());
  }
  std::ranges::sort(ratios);
  fmt::print("\nOf {} pairs of kernels whose times differ by more than 20 %, the estimate orders {:.1f} % alike.\n",
             apart, apart ? 100.0 * static_cast<double>(alike) / static_cast<double>(apart) : 100.0);
  fmt::print("Estimated over measured, {} kernels: geometric mean {:.2f}, 10th percentile {:.2f}, 90th {:.2f}.\n",
             pairs.size(), std::exp(logarithms / static_cast<double>(pairs.size())), percentile(ratios, 0.1),
             percentile(ratios, 0.9));
}

void print_table(const json& measured, const json& estimated) {
  if (!measured.contains("empty")) throw runtime::Error("the empty kernel was not measured");
  const double empty = measured["empty"]["min"];
  fmt::print("{}, driver {}, {}; an empty launch takes {:.2f} µs\n\n", measured["device"].get<std::string>(),
             measured["driver"].get<std::string>(), measured["date"].get<std::string>(), empty);
  fmt::print("| kernel | measured, µs | less the empty launch | estimated, µs | estimated / measured | bound by |\n"
             "|---|---:|---:|---:|---:|---|\n");
  std::vector<Pair> pairs, large;
  for (const auto& [name, e] : estimated["kernels"].items()) {
    if (!measured["kernels"].contains(name)) continue;
    const double time = measured["kernels"][name]["min"], least = 0.05; // of what is left, the clock's resolution
    const Pair pair{std::max(time - empty, least), e["microseconds"]};
    pairs.push_back(pair);
    if (pair.measured >= 20) large.push_back(pair);
    fmt::print("| {} | {:.2f} | {:.2f} | {:.2f} | {:.2f} | {} |\n", name, time, pair.measured, pair.estimated,
               pair.estimated / pair.measured, e["bound_by"].get<std::string>());
  }
  print_summary(pairs);
  fmt::print("\nThose that take 20 µs and more:\n");
  print_summary(large);
}

} // namespace

int main(int count, char** words) {
  CLI::App program("How near the simulator's time estimate is to a GPU.");
  std::vector<std::string> folders;
  std::string device = "simulator", gpu, out, with;
  program.add_option("FOLDER", folders, "Folders of cases")->required();
  program.add_option("--device", device, "simulator (default), cuda or cuda:N");
  program.add_option("--gpu", gpu, "The GPU of the estimate; default: the measured one, else h100");
  program.add_option("--out", out, "The results as JSON")->type_name("FILE.json");
  program.add_option("--with", with, "What --out of the other device has written: prints both in one table")
      ->type_name("FILE.json");
  CLI11_PARSE(program, count, words);
  try {
    if (!out.empty()) runtime::check_writable(out);
    std::vector<fs::path> cases;
    for (const std::string& folder : folders)
      for (const auto& entry : fs::directory_iterator(fs::canonical(folder)))
        if (fs::exists(entry.path() / "case.json")) cases.push_back(entry.path());
    std::ranges::sort(cases);
    const json other = with.empty() ? json::object() : json::parse(runtime::read_text(with));
    const bool cuda = device.starts_with("cuda");
    if (gpu.empty()) gpu = known_gpu(other);
    const json results = cuda ? measure(device, cases) : estimate_all(gpu, cases);
    if (!out.empty()) {
      runtime::OutputFile file(out);
      file.write(results.dump(1) + "\n");
      file.commit();
    }
    if (!with.empty()) print_table(cuda ? results : other, cuda ? other : results);
    fmt::print(stderr, "{} launches of {} cases, {} cases failed\n", results["kernels"].size(), cases.size(),
               results.contains("failed") ? results["failed"].size() : 0);
    return results["kernels"].empty();
  } catch (const std::exception& error) {
    fmt::print("{}\n", error.what());
    return 1;
  }
}
