// Kernels that other compilers make here and now, run and compared with double precision:
// `simulator_peers SCRIPT.py [CASE]`, or a folder that the script made. `--device cuda` runs each case of a folder once
// on a GPU, in child processes.
//
// The script is called with a folder (peers.py) and leaves there, for each case, a folder with PTX, launches as
// `tilejit sim` takes them, arrays, and `case.json`: the launches in their order, and which files are to hold what.
// TILEJIT_PYTHON lists the Pythons to try, apart by colons; exit code 77 says that none has the compiler.
#include "runtime/files.h"
#include "runtime/simulator/device.h"
#include "tests/runtime/simulator/peers/children.h"
#include "tools/tilejit/arguments.h"
#include "tools/tilejit/launch.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fmt/core.h>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <sys/wait.h>

using namespace tilejit;
using namespace tilejit::tools;
namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr int skipped = 77;

/// The exit code of the script under the first Python that has the compiler.
int make_cases(const std::string& script, const fs::path& folder) {
  const char* pythons = std::getenv("TILEJIT_PYTHON");
  std::string list = pythons ? pythons : "python3", log = (folder / "log").string();
  int code = skipped;
  for (size_t begin = 0; begin <= list.size() && code == skipped;) {
    size_t end = std::min(list.find(':', begin), list.size());
    std::string command =
        list.substr(begin, end - begin) + " " + script + " " + folder.string() + " > " + log + " 2>&1";
    int status = std::system(command.c_str());
    code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    begin = end + 1;
  }
  if (code == skipped) fmt::print("skipped: {}", runtime::read_text(log));
  if (code != 0 && code != skipped) fmt::print("{} failed:\n{}", script, runtime::read_text(log));
  return code;
}

std::vector<double> values_of(const runtime::NpyFile& file) {
  auto as = [&]<typename T>(T) {
    std::vector<T> values(file.data.size() / sizeof(T));
    std::memcpy(values.data(), file.data.data(), file.data.size());
    return std::vector<double>(values.begin(), values.end());
  };
  if (file.descr == "<f8") return as(double{});
  if (file.descr == "<f4") return as(float{});
  if (file.descr == "<i4") return as(int32_t{});
  throw runtime::Error("elements of type " + file.descr + " can't be compared: use float64, float32 or int32");
}

/// |got - expected| / |expected| over all elements.
double error_of(const std::string& got_file, const std::string& expected_file) {
  auto got = values_of(runtime::read_npy_file(got_file)), expected = values_of(runtime::read_npy_file(expected_file));
  if (got.size() != expected.size()) throw runtime::Error(got_file + ": not as many elements as " + expected_file);
  double difference = 0, size = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    difference += (got[i] - expected[i]) * (got[i] - expected[i]);
    size += expected[i] * expected[i];
  }
  return std::sqrt(difference / size);
}

/// Runs a case in a copy of its folder. Whether all was as it should be, and what there is to say.
struct Judgement {
  bool good = true;
  std::string text;
};
Judgement run_case(runtime::Device& device, const fs::path& folder, const std::string& how) {
  runtime::TemporaryFolder temporary;
  fs::path copy = fs::path(temporary.path()) / "case";
  fs::copy(folder, copy);
  const json description = json::parse(runtime::read_text((folder / "case.json").string()));
  auto* simulator = dynamic_cast<runtime::SimulatorDevice*>(&device);
  Judgement judgement;
  auto say = [&]<typename... Values>(fmt::format_string<Values...> text, Values&&... values) {
    judgement.text += fmt::format(text, std::forward<Values>(values)...);
  };
  uint64_t instructions = 0;
  for (const json& step : description["steps"]) {
    std::string name = step.get<std::string>();
    try {
      Launch launch = read_launch((copy / (name + ".json")).string());
      write_outputs(launch, run_launch(device, runtime::read_text((copy / (name + ".ptx")).string()), launch));
    } catch (const std::exception& error) {
      say("FAILED {} ({}): {}: {}\n", folder.filename().string(), how, name, error.what());
      judgement.good = false;
      return judgement;
    }
    if (!simulator) continue;
    instructions += simulator->last_launch().warp_instructions;
    std::map<std::string, int> known; // by kind and what the message says
    for (const auto& finding : simulator->findings()) {
      const auto name_of_kind = runtime::name_of(finding.kind);
      auto it = std::ranges::find_if(description["known"], [&](const json& k) {
        return k[0] == name_of_kind && std::regex_search(finding.message, std::regex(k[1].get<std::string>()));
      });
      if (it != description["known"].end()) {
        ++known[fmt::format("{} \"{}\"", name_of_kind, (*it)[1].get<std::string>())];
        continue;
      }
      say("  {}: {}: {}\n", name, name_of_kind, finding.message);
      judgement.good = false;
    }
    for (const auto& [what, times] : known) say("  {}: known: {}, {} times\n", name, what, times);
    simulator->clear_findings();
  }
  for (const json& check : description["checks"]) {
    std::string got = check["got"], expected = check["expected"];
    double error = error_of((copy / got).string(), (copy / expected).string()), most = check["most"];
    bool fine = error <= most; // not so for NaN
    if (!fine) say("  {}: error {:.3g}, more than {:.3g}\n", got, error, most);
    judgement.good &= fine;
  }
  say("{} {} ({}): {} launches", judgement.good ? "ok    " : "FAILED", folder.filename().string(), how,
      description["steps"].size());
  if (simulator) say(", {} warp-instructions", instructions);
  judgement.text += "\n";
  return judgement;
}

/// With all sanitizers, and in two random orders.
bool run_on_simulator(const fs::path& folder) {
  bool good = true;
  const json description = json::parse(runtime::read_text((folder / "case.json").string()));
  for (std::optional<uint64_t> seed : {std::optional<uint64_t>{}, {1}, {2}}) {
    auto device = runtime::open_simulator(description["target"].get<std::string>());
    device->set_instruments({.sanitize = !seed});
    device->set_seed(seed);
    Judgement judgement = run_case(*device, folder, seed ? fmt::format("seed {}", *seed) : "sanitized");
    fmt::print("{}", judgement.text);
    good &= judgement.good;
  }
  return good;
}

/// Several at once: most of the time the driver compiles.
bool run_on_gpu(const std::string& name, const std::vector<fs::path>& folders) {
  std::shared_ptr<runtime::Device> device; // of a child
  size_t good = 0;
  auto work = [&](size_t i) {
    if (!device) device = runtime::open_device(name);
    Judgement judgement = run_case(*device, folders[i], name);
    if (!judgement.good) throw runtime::Error(judgement.text);
    return judgement.text;
  };
  auto on_end = [&](size_t i, const peers::Outcome& outcome) {
    good += outcome.good;
    bool told = outcome.text.ends_with('\n');
    fmt::print("{}",
               told ? outcome.text : fmt::format("FAILED {}: {}\n", folders[i].filename().string(), outcome.text));
    std::fflush(stdout);
  };
  peers::in_children(folders.size(), 8, std::chrono::seconds(20), work, on_end);
  fmt::print("{} of {} cases are right\n", good, folders.size());
  return good == folders.size();
}

} // namespace

int main(int count, char** words) {
  CLI::App program("Kernels of other compilers, run and compared with double precision.");
  std::string source, only, device = "simulator";
  program.add_option("SOURCE", source, "SCRIPT.py, or a folder that it made")->required();
  program.add_option("CASE", only, "One case; default all");
  program.add_option("--device", device, "simulator (default), cuda or cuda:N");
  CLI11_PARSE(program, count, words);
  try {
    runtime::TemporaryFolder temporary;
    fs::path made = source;
    if (!fs::is_directory(made)) {
      made = temporary.path();
      if (int code = make_cases(source, made); code != 0) return code == skipped ? skipped : 1;
    }
    std::vector<fs::path> cases;
    for (const auto& entry : fs::directory_iterator(made))
      if (entry.is_directory() && (only.empty() || entry.path().filename() == only)) cases.push_back(entry.path());
    std::ranges::sort(cases);
    if (cases.empty()) fmt::print("no case\n");
    bool good = !cases.empty();
    if (device.starts_with("cuda"))
      good &= run_on_gpu(device, cases);
    else
      for (const fs::path& folder : cases) good &= run_on_simulator(folder);
    return good ? 0 : 1;
  } catch (const std::exception& error) {
    fmt::print("{}\n", error.what());
    return 1;
  }
}
