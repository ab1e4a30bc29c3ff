// Runs all conformance cases on a device and writes its outputs to a file: README.md.
//
// The cases run in child processes: a case that fails on a GPU takes the process's context with it, and one that hangs
// would wait for ever. The next child goes on after it.
#include "runtime/cuda/driver.h"
#include "tests/runtime/simulator/conformance/recording.h"

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

constexpr auto patience = std::chrono::seconds(60); ///< for one case

struct Options {
  std::string device = "cuda", out, only; ///< only: cases whose group or name has this in it
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

/// In a child: the header if the file is new, then all cases after `done`. Each is announced to the parent.
int record(const Options& options, const std::vector<Source>& cases, size_t done, int announce) {
  auto device = runtime::open_device(options.device);
  std::ofstream file(options.out, std::ios::binary | std::ios::app);
  if (done == 0) {
    bool cuda = options.device.starts_with("cuda");
    write_header(file, {.device = name_of(device->name()),
                        .driver = cuda ? runtime::cuda::Driver::load()->version() : "none",
                        .target = device->target(),
                        .date = today()});
  }
  for (size_t i = done; i < cases.size(); ++i) {
    uint64_t started = i;
    if (write(announce, &started, sizeof started) != sizeof started) return 1;
    Recording::Entry entry = record_case(*device, cases[i].make(true));
    write_entry(file, cases[i].name, entry);
    file.flush();
    if (!file) {
      std::fprintf(stderr, "cannot write %s\n", options.out.c_str());
      return 1;
    }
  }
  return 0;
}

/// Starts a child that goes on after `done` cases; what ended it, and at which case.
struct Ended {
  size_t at = 0;
  std::string why; ///< empty: all are done
  bool began = false;
};
Ended record_in_child(const Options& options, const std::vector<Source>& cases, size_t done) {
  int pipe_ends[2];
  if (pipe(pipe_ends) != 0) throw runtime::Error("cannot make a pipe");
  pid_t child = fork();
  if (child == 0) {
    close(pipe_ends[0]);
    int status = 1;
    try {
      status = record(options, cases, done, pipe_ends[1]);
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
    if (started % 100 == 0) std::fprintf(stderr, "\r%zu of %zu", ended.at, cases.size());
  }
  close(pipe_ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (ended.why.empty() && status != 0)
    ended.why = WIFSIGNALED(status) ? std::string("the process ended by signal ") + std::to_string(WTERMSIG(status))
                                    : "the process failed";
  return ended;
}

} // namespace

int main(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    std::string name = argv[i];
    std::string* value = name == "--device" ? &options.device
                         : name == "--out"  ? &options.out
                         : name == "--only" ? &options.only
                                            : nullptr;
    if (!value || i + 1 == argc) {
      std::fprintf(stderr, "usage: record_conformance [--device cuda|cuda:N|simulator] [--out FILE] [--only TEXT]\n");
      return 2;
    }
    *value = argv[++i];
  }
  try {
    std::vector<Source> cases;
    each_source([&](Source source) {
      if (source.name.find(options.only) != std::string::npos ||
          std::string(source.group).find(options.only) != std::string::npos)
        cases.push_back(std::move(source));
    });
    std::string name = options.out;
    if (name.empty()) options.out = options.device + ".recording";
    std::filesystem::remove(options.out);
    for (size_t done = 0; done < cases.size();) {
      Ended ended = record_in_child(options, cases, done);
      if (ended.why.empty()) break;
      if (!ended.began) return 1; // the device itself: it has said so
      Recording::Entry entry{.fingerprint = fingerprint(cases[ended.at].make(true)), .refused = true};
      auto text = std::as_bytes(std::span(ended.why));
      entry.bytes.assign(text.begin(), text.end());
      std::ofstream file(options.out, std::ios::binary | std::ios::app);
      write_entry(file, cases[ended.at].name, entry);
      done = ended.at + 1;
    }
    Recording recording = read_recording(options.out);
    size_t refused = 0;
    for (const auto& [of, entry] : recording.entries) refused += entry.refused;
    std::fprintf(stderr, "\r");
    std::printf("%s, driver %s, %s: %zu cases in %s, %zu of them not run by this device\n", recording.device.c_str(),
                recording.driver.c_str(), recording.target.c_str(), recording.entries.size(), options.out.c_str(),
                refused);
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
