// Kernels that other compilers make here and now, run and compared with double precision:
// `simulator_peers SCRIPT.py [CASE]`, or a folder that the script made.
//
// The script is called with a folder (peers.py) and leaves there, for each case, a folder with PTX, launches as
// `tilejit sim` takes them, arrays, and `case.json`: the launches in their order, and which files are to hold what.
// TILEJIT_PYTHON lists the Pythons to try, apart by colons; exit code 77 says that none has the compiler.
#include "runtime/files.h"
#include "tools/tilejit/arguments.h"
#include "tools/tilejit/launch.h"

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

/// Runs a case in a copy of its folder and says whether all was as it should be.
bool run_case(const fs::path& folder, const json& description, std::optional<uint64_t> seed) {
  runtime::TemporaryFolder temporary;
  fs::path copy = fs::path(temporary.path()) / "case";
  fs::copy(folder, copy);
  auto device = runtime::open_simulator(description["target"].get<std::string>());
  device->set_instruments({.sanitize = !seed});
  device->set_seed(seed);
  bool good = true;
  uint64_t instructions = 0;
  for (const json& step : description["steps"]) {
    std::string name = step.get<std::string>();
    try {
      Launch launch = read_launch((copy / (name + ".json")).string());
      write_outputs(launch, run_launch(*device, runtime::read_text((copy / (name + ".ptx")).string()), launch));
      instructions += device->last_launch().warp_instructions;
    } catch (const std::exception& error) {
      fmt::print("  {}: {}\n", name, error.what());
      return false;
    }
    std::map<std::string, int> known; // by kind and what the message says
    for (const auto& finding : device->findings()) {
      const auto name_of_kind = runtime::name_of(finding.kind);
      auto it = std::ranges::find_if(description["known"], [&](const json& k) {
        return k[0] == name_of_kind && std::regex_search(finding.message, std::regex(k[1].get<std::string>()));
      });
      if (it != description["known"].end()) {
        ++known[fmt::format("{} \"{}\"", name_of_kind, (*it)[1].get<std::string>())];
        continue;
      }
      fmt::print("  {}: {}: {}\n", name, name_of_kind, finding.message);
      good = false;
    }
    for (const auto& [what, times] : known) fmt::print("  {}: known: {}, {} times\n", name, what, times);
    device->clear_findings();
  }
  for (const json& check : description["checks"]) {
    std::string got = check["got"], expected = check["expected"];
    double error = error_of((copy / got).string(), (copy / expected).string()), most = check["most"];
    bool fine = error <= most; // not so for NaN
    if (!fine) fmt::print("  {}: error {:.3g}, more than {:.3g}\n", got, error, most);
    good &= fine;
  }
  std::string how = seed ? fmt::format("seed {}", *seed) : "sanitized";
  fmt::print("{} {} ({}): {} launches, {} warp-instructions\n", good ? "ok    " : "FAILED", folder.filename().string(),
             how, description["steps"].size(), instructions);
  return good;
}

} // namespace

int main(int count, char** words) {
  if (count < 2) {
    fmt::print("usage: {} SCRIPT.py|FOLDER [CASE]\n", words[0]);
    return 2;
  }
  try {
    runtime::TemporaryFolder temporary;
    fs::path made = words[1];
    if (!fs::is_directory(made)) {
      made = temporary.path();
      if (int code = make_cases(words[1], made); code != 0) return code == skipped ? skipped : 1;
    }
    bool good = true;
    size_t cases = 0;
    for (const auto& entry : fs::directory_iterator(made)) {
      if (!entry.is_directory() || (count > 2 && entry.path().filename() != words[2])) continue;
      ++cases;
      json description = json::parse(runtime::read_text((entry.path() / "case.json").string()));
      for (std::optional<uint64_t> seed : {std::optional<uint64_t>{}, {1}, {2}})
        good &= run_case(entry.path(), description, seed);
    }
    if (cases == 0) fmt::print("no case\n");
    return good && cases ? 0 : 1;
  } catch (const std::exception& error) {
    fmt::print("{}\n", error.what());
    return 1;
  }
}
