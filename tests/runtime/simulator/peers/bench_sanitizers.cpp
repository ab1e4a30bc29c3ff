// How many times longer kernels of other compilers take with all sanitizers on:
// `bench_sanitizers FOLDER ...`, folders that the scripts beside this have made (README.md).
//
// Core time of a case's launches, reading the PTX included, the least of three runs; the cases with their factors, then
// the geometric mean and the worst.
#include "runtime/files.h"
#include "runtime/simulator/device.h"
#include "tools/tilejit/launch.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <fmt/core.h>
#include <nlohmann/json.hpp>

using namespace tilejit;
using namespace tilejit::tools;
namespace fs = std::filesystem;

namespace {

double core_seconds() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

/// Of the launches of a case, one after another, in a copy of its folder: they change arrays.
double run(const fs::path& folder, bool sanitize) {
  runtime::TemporaryFolder temporary;
  const fs::path copy = fs::path(temporary.path()) / "case";
  fs::copy(folder, copy);
  const auto description = nlohmann::json::parse(runtime::read_text((copy / "case.json").string()));
  auto device = runtime::open_simulator(description["target"].get<std::string>());
  device->set_instruments({.sanitize = sanitize});
  double seconds = 0;
  for (const auto& step : description["steps"]) {
    const std::string name = step.get<std::string>(), ptx = runtime::read_text((copy / (name + ".ptx")).string());
    Launch launch = read_launch((copy / (name + ".json")).string());
    const double begin = core_seconds();
    auto outputs = run_launch(*device, ptx, launch);
    seconds += core_seconds() - begin;
    write_outputs(launch, outputs);
  }
  return seconds;
}

/// Times of a case without sanitizers and with them.
std::pair<double, double> times_of(const fs::path& folder) {
  double plain = 1e9, sanitized = 1e9;
  for (int i = 0; i < 3; ++i) {
    plain = std::min(plain, run(folder, false));
    sanitized = std::min(sanitized, run(folder, true));
  }
  return {plain, sanitized};
}

} // namespace

int main(int count, char** words) {
  if (count < 2) {
    fmt::print("usage: {} FOLDER ...\n", words[0]);
    return 2;
  }
  try {
    double logarithms = 0, worst = 0;
    int cases = 0;
    for (int i = 1; i < count; ++i)
      for (const auto& entry : fs::directory_iterator(words[i])) {
        if (!fs::exists(entry.path() / "case.json")) continue;
        const auto [plain, sanitized] = times_of(entry.path());
        fmt::print("{:<60} {:8.3f} s {:8.3f} s sanitized {:6.2f} times\n", entry.path().filename().string(), plain,
                   sanitized, sanitized / plain);
        std::fflush(stdout);
        logarithms += std::log(sanitized / plain);
        worst = std::max(worst, sanitized / plain);
        ++cases;
      }
    if (cases)
      fmt::print("{} cases: geometric mean {:.2f}, worst {:.2f}\n", cases, std::exp(logarithms / cases), worst);
    return cases ? 0 : 1;
  } catch (const std::exception& error) {
    fmt::print("{}\n", error.what());
    return 1;
  }
}
