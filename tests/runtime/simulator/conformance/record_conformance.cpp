// Runs all conformance cases on a device and writes its outputs to a file: README.md.
//
// The cases run in child processes: a case that fails on a GPU takes the process's context with it, and one that hangs
// would wait for ever. The next child goes on after it. Most of the time goes into the driver's compiler, so several
// run side by side, each with a part of the cases.
#include "runtime/cuda/driver.h"
#include "tests/runtime/simulator/conformance/driver_maps.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace tilejit;
using namespace tilejit::conformance;

namespace {

constexpr auto patience = std::chrono::seconds(30); ///< for one case
constexpr int goes_on = 3; ///< exit code of a child whose device is no longer good for anything

struct Options {
  std::string device = "cuda", out, only; ///< only: cases whose group or name has this in it
  size_t jobs = 1;
};

/// A child's share of the cases, and the file that it writes.
struct Part {
  size_t begin, end;
  std::string out;
};

std::string today() {
  std::time_t now = std::time(nullptr);
  char text[16];
  std::strftime(text, sizeof text, "%Y-%m-%d", std::gmtime(&now));
  return text;
}

/// What a device is called, without what this program adds to it: "cuda:0 (NVIDIA H100, compute ..." -> "NVIDIA H100".
std::string name_of(const std::string& name) {
  size_t from = name.find('('), to = name.find(',');
  if (!name.starts_with("cuda") || from == name.npos || to == name.npos) return name;
  return name.substr(from + 1, to - from - 1);
}

/// In a child: cases `done` to the end of its part, after the header where that is all of it. Each is announced to the
/// parent.
int record(const Options& options, const Part& part, const std::vector<Source>& cases, size_t done, int announce) {
  auto device = runtime::open_device(options.device);
  std::ofstream file(part.out, std::ios::binary | std::ios::app);
  if (done == 0) {
    bool cuda = options.device.starts_with("cuda");
    write_header(file, {.device = name_of(device->name()),
                        .driver = cuda ? runtime::cuda::Driver::load()->version() : "none",
                        .target = device->target(),
                        .date = today()});
  }
  for (size_t i = done; i < part.end; ++i) {
    uint64_t started = i;
    if (write(announce, &started, sizeof started) != sizeof started) return 1;
    Recording::Entry entry = record_case(*device, cases[i].make(true));
    write_entry(file, "case", cases[i].name, entry);
    file.flush();
    if (!file) {
      std::fprintf(stderr, "cannot write %s\n", part.out.c_str());
      return 1;
    }
    if (!entry.refused) continue;
    try {
      device->synchronize();
    } catch (const runtime::Error&) {
      return goes_on; // the failure stays with the process
    }
  }
  return 0;
}

/// Starts a child that goes on after `done` cases; what ended it, and at which case.
struct Ended {
  size_t at = 0;
  std::string why;       ///< what kept it from writing down case `at`
  bool all_done = false; ///< else it wrote case `at` down, unless `why` says otherwise
  bool began = false;
};
Ended record_in_child(const Options& options, const Part& part, const std::vector<Source>& cases, size_t done) {
  int pipe_ends[2];
  if (pipe(pipe_ends) != 0) throw runtime::Error("cannot make a pipe");
  pid_t child = fork();
  if (child == 0) {
    close(pipe_ends[0]);
    int status = 1;
    try {
      status = record(options, part, cases, done, pipe_ends[1]);
    } catch (const std::exception& e) {
      std::fprintf(stderr, "%s\n", e.what());
    }
    std::_Exit(status);
  }
  close(pipe_ends[1]);
  Ended ended{.at = done};
  // The pipe ends with the child. A case that takes too long ends the child.
  for (;;) {
    pollfd news{.fd = pipe_ends[0], .events = POLLIN};
    if (poll(&news, 1, static_cast<int>(std::chrono::milliseconds(patience).count())) <= 0) {
      kill(child, SIGKILL);
      ended.why = "it took too long";
      break;
    }
    uint64_t started;
    if (read(pipe_ends[0], &started, sizeof started) != sizeof started) break;
    ended.at = started, ended.began = true;
  }
  close(pipe_ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  ended.all_done = ended.why.empty() && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  const bool wrote = WIFEXITED(status) && WEXITSTATUS(status) == goes_on;
  if (ended.why.empty() && !ended.all_done && !wrote)
    ended.why = WIFSIGNALED(status) ? std::string("the process ended by signal ") + std::to_string(WTERMSIG(status))
                                    : "the process failed";
  return ended;
}

/// All of a part, by one child after another. False: the device itself cannot be used, and a child has said so.
bool record_part(const Options& options, const Part& part, const std::vector<Source>& cases) {
  std::filesystem::remove(part.out);
  for (size_t done = part.begin; done < part.end;) {
    Ended ended = record_in_child(options, part, cases, done);
    if (ended.all_done) break;
    if (!ended.began) return false;
    if (!ended.why.empty()) {
      Recording::Entry entry{.fingerprint = fingerprint(cases[ended.at].make(true)), .refused = true};
      auto text = std::as_bytes(std::span(ended.why));
      entry.bytes.assign(text.begin(), text.end());
      std::ofstream file(part.out, std::ios::binary | std::ios::app);
      write_entry(file, "case", cases[ended.at].name, entry);
    }
    done = ended.at + 1;
  }
  return true;
}

/// In a process of its own: the tensor maps, behind what the file has.
bool record_maps(const Options& options) {
  pid_t process = fork();
  if (process == 0) {
    try {
      auto device = runtime::open_device(options.device); // starts the driver
      std::ofstream file(options.out, std::ios::binary | std::ios::app);
      for (const NamedMap& map : driver_maps())
        write_entry(file, "map", map.name, record_map(map, options.device.starts_with("cuda")));
      std::_Exit(file.flush() ? 0 : 1);
    } catch (const std::exception& e) {
      std::fprintf(stderr, "%s\n", e.what());
    }
    std::_Exit(1);
  }
  int status = 1;
  waitpid(process, &status, 0);
  return status == 0;
}

/// The parts side by side, each in a process of its own, and then their files one after another in `options.out`.
bool record_all(const Options& options, const std::vector<Source>& cases) {
  std::vector<Part> parts;
  std::vector<pid_t> processes;
  for (size_t i = 0; i < options.jobs; ++i)
    parts.push_back({cases.size() * i / options.jobs, cases.size() * (i + 1) / options.jobs,
                     options.out + "." + std::to_string(i)});
  for (const Part& part : parts) {
    pid_t process = fork();
    if (process == 0) {
      bool good = false;
      try {
        good = record_part(options, part, cases);
      } catch (const std::exception& e) {
        std::fprintf(stderr, "%s\n", e.what());
      }
      std::_Exit(good ? 0 : 1);
    }
    processes.push_back(process);
  }
  bool good = true;
  for (pid_t process : processes) {
    int status = 1;
    waitpid(process, &status, 0);
    good = good && status == 0;
  }
  std::ofstream all(options.out, std::ios::binary | std::ios::trunc);
  for (const Part& part : parts) {
    std::ifstream one(part.out, std::ios::binary);
    if (one.peek() != std::ifstream::traits_type::eof()) all << one.rdbuf();
    std::filesystem::remove(part.out);
  }
  return good && all.flush();
}

} // namespace

int main(int argc, char** argv) {
  Options options;
  std::string jobs = "1", condensed;
  for (int i = 1; i < argc; ++i) {
    std::string name = argv[i];
    std::string* value = name == "--device"     ? &options.device
                         : name == "--out"      ? &options.out
                         : name == "--only"     ? &options.only
                         : name == "--jobs"     ? &jobs
                         : name == "--condense" ? &condensed
                                                : nullptr;
    if (!value || i + 1 == argc) {
      std::fprintf(stderr, "usage: record_conformance [--device cuda|cuda:N|simulator] [--out FILE] [--only TEXT] "
                           "[--jobs N]\n       record_conformance --condense FILE --out FILE\n");
      return 2;
    }
    *value = argv[++i];
  }
  try {
    if (!condensed.empty() && !options.out.empty()) {
      Recording recording = read_recording(condensed);
      condense(recording, *replaying_simulator(recording.target));
      write_recording(options.out, recording);
      return 0;
    }
    std::vector<Source> cases;
    each_source([&](Source source) {
      if (source.name.find(options.only) != std::string::npos ||
          std::string(source.group).find(options.only) != std::string::npos)
        cases.push_back(std::move(source));
    });
    auto [end, error] = std::from_chars(jobs.data(), jobs.data() + jobs.size(), options.jobs);
    if (error != std::errc() || *end || options.jobs == 0) {
      std::fprintf(stderr, "--jobs %s: expected a positive number\n", jobs.c_str());
      return 2;
    }
    options.jobs = std::clamp<size_t>(cases.size(), 1, options.jobs);
    if (options.out.empty()) options.out = options.device + ".recording";
    if (!record_all(options, cases)) return 1;
    if (options.only.empty() && !record_maps(options)) return 1;
    Recording recording = read_recording(options.out);
    size_t refused = 0;
    for (const auto& [of, entry] : recording.entries) refused += entry.refused;
    std::printf("%s, driver %s, %s: %zu cases and %zu tensor maps in %s, %zu cases not run by this device\n",
                recording.device.c_str(), recording.driver.c_str(), recording.target.c_str(), recording.entries.size(),
                recording.maps.size(), options.out.c_str(), refused);
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
