// Recordings: each file of data/ against the simulator; and the recorder's whole way with a simulator in place of a
// GPU.
#include "tests/runtime/simulator/conformance/recording.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <unistd.h>

using namespace tilejit;
using namespace tilejit::conformance;
namespace fs = std::filesystem;

namespace {

struct Folder {
  fs::path path = fs::temp_directory_path() / ("tilejit-recording-" + std::to_string(getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
};

/// A recording of the cases whose name or group has `only` in it, by the recorder itself.
Recording recorded(const Folder& folder, const std::string& only) {
  std::string file = folder.path / "simulator.recording";
  std::string command =
      std::string(TILEJIT_RECORDER) + " --device simulator:sm_90a --out " + file + " --only '" + only + "'";
  REQUIRE(std::system((command + " > /dev/null 2>&1").c_str()) == 0);
  return read_recording(file);
}

} // namespace

TEST_CASE("recordings of GPUs: the simulator gives the same") {
  size_t files = 0;
  for (const auto& file : fs::directory_iterator(TILEJIT_RECORDINGS)) {
    if (file.path().extension() != ".recording") continue;
    ++files;
    Recording recording = read_recording(file.path());
    auto device = replaying_simulator(recording.target);
    Replay r = replay(recording, *device);
    std::printf(
        "%s, driver %s, %s: %zu cases compared, %zu of them equal in every byte; %zu not run there, %zu changed "
        "since; %zu tensor maps\n",
        recording.device.c_str(), recording.driver.c_str(), recording.date.c_str(), r.cases, r.identical, r.refused,
        r.changed, r.maps);
    for (const std::string& wrong : r.wrong) FAIL_CHECK(wrong);
    CHECK(r.cases > 0);
  }
  CHECK(files > 0);
}

TEST_CASE("sines of large angles lose what a GPU's lose") {
  // The manual promises nothing beyond 2 pi. The simulator follows the H200 to any angle.
  const Recording recording = read_recording(std::string(TILEJIT_RECORDINGS) + "/h200.recording");
  auto device = replaying_simulator(recording.target);
  size_t cases = 0, large = 0;
  each_source([&](const Source& source) {
    if (!source.name.starts_with("sin_approx") && !source.name.starts_with("cos_approx")) return;
    const auto entry = recording.entries.find(source.name);
    if (entry == recording.entries.end() || entry->second.digest || entry->second.refused) return;
    const Case c = source.make(true);
    const std::vector<std::byte> mine = run(*device, c), &theirs = entry->second.bytes;
    REQUIRE(mine.size() == theirs.size());
    const size_t inputs = c.input.size() / (mine.size() / sizeof(float)); // bytes for a result; the angle comes first
    ++cases;
    for (size_t i = 0; i < mine.size() / sizeof(float); ++i) {
      float x, y, angle;
      std::memcpy(&x, &mine[i * sizeof x], sizeof x);
      std::memcpy(&y, &theirs[i * sizeof y], sizeof y);
      std::memcpy(&angle, &c.input[i * inputs], sizeof angle);
      large += std::isfinite(angle) && std::fabs(angle) > 6.3f;
      INFO(source.name << " of " << angle);
      CHECK(std::isnan(x) == std::isnan(y));
      if (!std::isnan(x)) CHECK(std::fabs(x - y) < 0x1p-20f);
    }
  });
  CHECK(cases == 4);
  CHECK(large > 100);
}

TEST_CASE("what the recorder writes is what is read and compared") {
  Folder folder;
  auto device = replaying_simulator("sm_90a");
  for (std::string only : {"add_half", "ex2", "warps", "2d"}) {
    Recording recording = recorded(folder, only);
    CHECK(recording.target == "sm_90a");
    CHECK(recording.entries.size() > 3);
    Replay r = replay(recording, *device);
    CHECK(r.cases + r.refused == recording.entries.size());
    CHECK(r.cases > 3);
    CHECK(r.identical == r.cases);
    CHECK(r.changed == 0);
    CHECK(r.wrong.empty());
    // All of them are the simulator's own: a digest is left of each.
    condense(recording, *device);
    std::string file = folder.path / "condensed";
    write_recording(file, recording);
    Recording condensed = read_recording(file);
    for (auto& [name, entry] : condensed.entries) CHECK((entry.refused || (entry.digest && entry.bytes.empty())));
    r = replay(condensed, *device);
    CHECK((r.cases > 3 && r.identical == r.cases && r.wrong.empty()));
    for (auto& [name, entry] : condensed.entries)
      if (entry.digest) *entry.digest ^= 1;
    CHECK(replay(condensed, *device).identical == 0);
  }
}

TEST_CASE("a recording that differs is told from one that may") {
  Folder folder;
  auto device = replaying_simulator("sm_90a");
  // An exact result: one bit is too much.
  Recording exact = recorded(folder, "add_int: add.u32");
  REQUIRE(exact.entries.size() == 1);
  exact.entries.begin()->second.bytes[64] ^= std::byte{1};
  CHECK(replay(exact, *device).wrong.size() == 1);
  // An approximation: the last bit is free, half of the number is not. Input 0 of ex2 is drawn; all are floats.
  Recording near = recorded(folder, "ex2_approx: ex2.approx.f32");
  REQUIRE(near.entries.size() == 1);
  auto& bytes = near.entries.begin()->second.bytes;
  size_t finite = 0; // a result between 1 and 2^64, so that its last bit is well within the bound
  while (bytes[finite + 3] < std::byte{0x40} || bytes[finite + 3] > std::byte{0x5f}) finite += 4;
  bytes[finite] ^= std::byte{1};
  Replay r = replay(near, *device);
  CHECK(r.wrong.empty());
  CHECK(r.identical == 0);
  bytes[finite + 2] ^= std::byte{0x40};
  CHECK(replay(near, *device).wrong.size() == 1);
  // A case that was changed since is not compared.
  exact.entries.begin()->second.fingerprint ^= 1;
  r = replay(exact, *device);
  CHECK((r.changed == 1 && r.cases == 0 && r.wrong.empty()));
}

TEST_CASE("a damaged recording is named") {
  using Catch::Matchers::Contains;
  Folder folder;
  std::string path = folder.path / "bad";
  auto error = [&](const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
    try {
      read_recording(path);
    } catch (const runtime::Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  std::string header = "tilejit conformance 1\ndevice x\ndriver 1\ntarget sm_90a\ndate d\n";
  CHECK(error(header).empty());
  CHECK(error(header + "case ran 0123456789abcdef 2 a name\nab\n").empty());
  CHECK(error(header + "case same 0123456789abcdef 0123456789abcdef a name\ncase ran 0 2 b\nab\n").empty());
  CHECK_THAT(error("hello\n"), Contains("first line"));
  CHECK_THAT(error("tilejit conformance 1\ndevice x\n"), Contains("driver"));
  CHECK_THAT(error(header + "case ran 0123456789abcdef 20 a name\nab\n"), Contains("ends within a name"));
  CHECK_THAT(error(header + "what\n"), Contains("no case in 'what'"));
}
