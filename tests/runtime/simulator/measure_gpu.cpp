// Measures on a GPU what the time estimate has to know of it, and prints it as Markdown beside what gpu_table.cpp says:
//
//     measure_gpu [--device cuda|cuda:N|simulator] [--only TEXT] [--brief] [--ptx FOLDER]
//
// It needs only libc, libm and the NVIDIA driver, as record_conformance does. The measurements run in a child process:
// one that fails on a GPU takes the process's context with it, and the next child goes on after it. --brief is for the
// simulator, where it shows that the program works; the numbers say nothing there. --ptx writes the kernels instead.
#include "tests/runtime/simulator/measure_gpu.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace tilejit;
using namespace tilejit::measure;

namespace {

struct Options {
  std::string device = "cuda", only, ptx; ///< only: measurements whose group or name has this in it
  bool brief = false;
};

std::vector<Measurement> all_measurements(const Options& options) {
  std::vector<Measurement> all;
  for (auto make : {whole_gpu, latencies, asynchronous_latencies, throughputs, product_throughputs})
    for (Measurement& m : make())
      if (m.name.find(options.only) != std::string::npos || m.group.find(options.only) != std::string::npos)
        all.push_back(std::move(m));
  // The tables are groups: each in one piece.
  std::vector<Measurement> ordered;
  for (const Measurement& first : all) {
    bool known = false;
    for (const Measurement& m : ordered) known = known || m.group == first.group;
    for (const Measurement& m : all)
      if (!known && m.group == first.group) ordered.push_back(m);
  }
  return ordered;
}

std::string text_of(double value) {
  if (std::isnan(value)) return "";
  char text[32];
  std::snprintf(text, sizeof text, std::abs(value) < 100 ? "%.2f" : "%.0f", value);
  return text;
}

std::string one_line(std::string text) {
  for (char& c : text)
    if (c == '\n' || c == '|') c = ' ';
  return text.substr(0, 300);
}

std::string row(const Result& r) {
  return "| " + r.name + " | " + text_of(r.value) + " | " + r.unit + " | " + text_of(r.table) + " |";
}
std::string failed_row(const Measurement& m, const std::string& why) {
  return "| " + m.name + " | failed: " + one_line(why) + " | | |";
}

/// To the parent: a line that begins with what it is. H: the head; P: kernels are loaded; S: a measurement
/// begins; R: a row.
bool tell(int pipe_end, char kind, const std::string& text) {
  const std::string line = kind + text + "\n";
  return write(pipe_end, line.data(), line.size()) == static_cast<ssize_t>(line.size());
}

std::string head(Machine& machine) {
  const std::time_t now = std::time(nullptr);
  char date[16];
  std::strftime(date, sizeof date, "%Y-%m-%d", std::gmtime(&now));
  return machine.title() + ", " + date + ", " + text_of(machine.clock_mhz()) + " MHz, " +
         number(machine.multiprocessors()) + " multiprocessors";
}

/// In a child: all after `done`, until one fails in a way that nothing works after it.
int measure(const Options& options, const std::vector<Measurement>& all, size_t done, bool first, int pipe_end) {
  Machine machine(options.device, options.brief);
  if (first && !tell(pipe_end, 'H', head(machine))) return 1;
  constexpr size_t batch = 24;
  for (size_t i = done; i < all.size(); ++i) {
    if ((i - done) % batch == 0) {
      if (!tell(pipe_end, 'P', "")) return 1;
      std::vector<const Kernel*> kernels;
      for (size_t n = i; n < std::min(i + batch, all.size()); ++n)
        for (const Kernel& k : all[n].kernels) kernels.push_back(&k);
      machine.prepare(kernels);
    }
    if (!tell(pipe_end, 'S', number(i))) return 1;
    try {
      for (const Result& r : all[i].run(machine, all[i].kernels))
        if (!tell(pipe_end, 'R', row(r))) return 1;
    } catch (const Refused& e) {
      if (!tell(pipe_end, 'R', failed_row(all[i], e.what()))) return 1;
    } catch (const std::exception& e) {
      tell(pipe_end, 'R', failed_row(all[i], e.what()));
      return 0;
    }
  }
  return 0;
}

class Report {
public:
  explicit Report(const std::vector<Measurement>& all) : all_(all) {}
  void head(const std::string& text) { std::printf("%s\n", text.c_str()); }
  void row(size_t at, const std::string& text) {
    if (all_[at].group != group_) {
      group_ = all_[at].group;
      std::printf("\n## %s\n\n| what | measured | unit | table |\n|---|---|---|---|\n", group_.c_str());
    }
    std::printf("%s\n", text.c_str());
    std::fflush(stdout);
  }

private:
  const std::vector<Measurement>& all_;
  std::string group_;
};

/// Starts a child that goes on after `done` measurements. Returns how many are done then; `began`: it had a device.
size_t measure_in_child(const Options& options, const std::vector<Measurement>& all, size_t done, bool& began,
                        Report& report) {
  int pipe_ends[2];
  if (pipe(pipe_ends) != 0) throw runtime::Error("cannot make a pipe");
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    close(pipe_ends[0]);
    int status = 1;
    try {
      status = measure(options, all, done, !began, pipe_ends[1]);
    } catch (const std::exception& e) {
      std::fprintf(stderr, "%s\n", e.what());
    }
    std::_Exit(status);
  }
  close(pipe_ends[1]);
  size_t next = done, at = done;
  bool has_row = false, started = false, measuring = false;
  std::string text, why;
  const auto patience = std::chrono::seconds(options.device.starts_with("cuda") ? 5 : 60);
  // The pipe ends with the child. A measurement that takes too long ends the child.
  for (;;) {
    pollfd news{.fd = pipe_ends[0], .events = POLLIN, .revents = 0};
    // A context may take long to make, and so may kernels to assemble.
    if (poll(&news, 1, static_cast<int>(std::chrono::milliseconds(measuring ? patience : 4 * patience).count())) <= 0) {
      kill(child, SIGKILL);
      why = "it took too long";
      break;
    }
    char bytes[4096];
    const ssize_t count = read(pipe_ends[0], bytes, sizeof bytes);
    if (count <= 0) break;
    text.append(bytes, static_cast<size_t>(count));
    for (size_t end; (end = text.find('\n')) != text.npos; text.erase(0, end + 1)) {
      const std::string rest = text.substr(1, end - 1);
      switch (text[0]) {
      case 'H': report.head(rest); break;
      case 'P': measuring = false; break;
      case 'S': at = std::stoul(rest), next = at + 1, has_row = false, measuring = started = began = true; break;
      case 'R': report.row(at, rest), has_row = true; break;
      }
    }
  }
  close(pipe_ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (why.empty() && WIFSIGNALED(status))
    why = "the process ended by signal " + number(static_cast<uint64_t>(WTERMSIG(status)));
  if (started && (!why.empty() || !has_row))
    report.row(at, failed_row(all[at], why.empty() ? "the process failed" : why));
  return started ? next : done;
}

void write_kernels(const Options& options, const std::vector<Measurement>& all) {
  std::filesystem::create_directories(options.ptx);
  size_t index = 0;
  for (const Measurement& m : all)
    for (const Kernel& k : m.kernels) {
      char prefix[8];
      std::snprintf(prefix, sizeof prefix, "%03zu", index++);
      std::ofstream file(std::filesystem::path(options.ptx) / (std::string(prefix) + ".ptx"));
      file << "// " << m.group << ": " << k.name << "\n// " << k.counted_less << " " << k.counted_more << " "
           << k.counted << "\n"
           << k.ptx;
    }
  std::printf("%zu kernels in %s: behind each name how often what must stand between the clock's reads\n", index,
              options.ptx.c_str());
}

} // namespace

int main(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    std::string* value = name == "--device" ? &options.device
                         : name == "--only" ? &options.only
                         : name == "--ptx"  ? &options.ptx
                                            : nullptr;
    if (name == "--brief") {
      options.brief = true;
    } else if (value && i + 1 < argc) {
      *value = argv[++i];
    } else {
      std::fprintf(stderr,
                   "usage: measure_gpu [--device cuda|cuda:N|simulator] [--only TEXT] [--brief] [--ptx FOLDER]\n");
      return 2;
    }
  }
  try {
    const std::vector<Measurement> all = all_measurements(options);
    if (!options.ptx.empty()) return write_kernels(options, all), 0;
    Report report(all);
    bool began = false;
    for (size_t done = 0; done < all.size();) {
      const size_t next = measure_in_child(options, all, done, began, report);
      if (next == done) return 1; // the device itself: it has said so
      done = next;
    }
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
