// Kernels that were valid once, changed at random and run: whatever the PTX does, the simulator gives results or an
// error, and the host goes on. `fuzz_run SECONDS [SEED]`; built with the `asan` preset every access of the host is
// checked.
//
// The kernels are the conformance cases. Inputs run in child processes, so that one that never ends is only late and
// one that crashes is kept: it is written to fuzz_run_crash.ptx and the program fails.
#include "runtime/simulator/device.h"
#include "tests/runtime/simulator/conformance/case.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <random>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace tilejit;
using namespace tilejit::conformance;

namespace {

constexpr unsigned patience = 3; ///< seconds for one input
constexpr int late = 77;         ///< exit code of a child whose input did not end

/// What the parent knows of a child.
struct Shared {
  uint64_t input = 0; ///< the number of the one that runs
  uint64_t ran = 0, failed = 0;
};

class Mutator {
public:
  explicit Mutator(const std::vector<Source>& cases) : cases_(cases) {}

  /// Input `number` of the sequence of `seed`: the case, its body changed in one to four places.
  Case input(uint64_t seed, uint64_t number) {
    random_.seed(seed * 0x9e3779b97f4a7c15 + number);
    Case c = pick(cases_).make(true);
    c.blocks = std::min(c.blocks, 2u); // a cluster, where there is one
    for (uint64_t edits = 1 + random_() % 4; edits-- > 0;) edit(c.body);
    return c;
  }

private:
  template <class T>
  const T& pick(const std::vector<T>& from) {
    return from[random_() % from.size()];
  }
  /// The begin of a random line, and its end.
  std::pair<size_t, size_t> line(const std::string& text) {
    size_t at = random_() % text.size(), begin = text.rfind('\n', at) == text.npos ? 0 : text.rfind('\n', at) + 1;
    return {begin, std::min(text.find('\n', begin), text.size())};
  }
  /// A word of these characters after a random place: its begin and length, or nothing.
  std::pair<size_t, size_t> word(const std::string& text, const char* first, const char* rest) {
    size_t begin = text.find_first_of(first, random_() % text.size());
    if (begin == text.npos) return {0, 0};
    size_t end = std::min(text.find_first_not_of(rest, begin + 1), text.size());
    return {begin, end - begin};
  }

  void edit(std::string& text) {
    if (text.size() < 4) return;
    static const std::string letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:";
    static const std::string modifiers = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:.";
    auto [begin, end] = line(text);
    switch (random_() % 8) {
    case 0: text.erase(begin, end - begin); break;
    case 1: { // a line once more, elsewhere
      std::string copy = text.substr(begin, end - begin) + "\n";
      text.insert(line(text).first, copy);
      break;
    }
    case 2:
    case 3: { // a register for another of its kind
      auto [at, n] = word(text, "%", letters.c_str());
      auto [other, m] = word(text, "%", letters.c_str());
      if (n > 2 && m > 2 && text[at + 1] == text[other + 1]) text.replace(at, n, text.substr(other, m));
      break;
    }
    case 4:
    case 5: { // a number for another
      static const std::vector<std::string> numbers = {
          "0",  "1",  "-1", "2",  "3", "4",   "7",          "8",          "15",         "16",
          "31", "32", "33", "64", "-", "255", "0x7fffffff", "0x80000000", "0xffffffff", "0xfffffff0"};
      auto [at, n] = word(text, "0123456789", "0123456789abcdefx");
      std::string number = random_() % 4 ? pick(numbers) : std::to_string(random_() >> (random_() % 60));
      // Not within a name, where it would most often name nothing.
      if (n > 0 && (at == 0 || letters.find(text[at - 1]) == letters.npos)) text.replace(at, n, number);
      break;
    }
    case 6: { // the words of an instruction for those of another
      auto [at, n] = word(text, ".", modifiers.c_str());
      auto [other, m] = word(text, ".", modifiers.c_str());
      if (n && m) text.replace(at, n, text.substr(other, m));
      break;
    }
    default: { // an instruction of another case
      std::string other = pick(cases_).make(true).body;
      if (other.size() < 4) break;
      auto [from, to] = line(other);
      text.insert(begin, other.substr(from, to - from) + "\n");
    }
    }
  }

  const std::vector<Source>& cases_;
  std::mt19937_64 random_;
};

/// Runs inputs from shared.input on until the time is over.
void run_inputs(const std::vector<Source>& cases, uint64_t seed, std::chrono::steady_clock::time_point end,
                Shared& shared) {
  std::signal(SIGALRM, [](int) { std::_Exit(late); });
  Mutator mutator(cases);
  auto device = runtime::open_simulator("sm_100a");
  device->set_output([](std::string_view) {});
  for (; std::chrono::steady_clock::now() < end; ++shared.input) {
    Case c = mutator.input(seed, shared.input);
    device->set_instruments({.sanitize = shared.input % 2 != 0, .counters = shared.input % 3 == 0});
    device->set_seed(shared.input % 5 == 0 ? std::optional<uint64_t>(shared.input) : std::nullopt);
    alarm(patience);
    try {
      run(*device, c);
      ++shared.ran;
    } catch (const runtime::Error& e) {
      // Refused before it ran, or ended by what it did; either has something to say.
      if (std::string(e.what()).size() < 8) std::abort();
      ++shared.failed;
    }
    alarm(0);
    device->clear_findings();
  }
}

} // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: fuzz_run SECONDS [SEED]\n");
    return 2;
  }
  uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  auto end = std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                                                    std::chrono::duration<double>(std::atof(argv[1])));
  std::vector<Source> cases;
  each_source([&](Source source) { cases.push_back(std::move(source)); });
  void* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 1;
  Shared& shared = *new (memory) Shared;
  uint64_t endless = 0, crashes = 0;
  while (std::chrono::steady_clock::now() < end && crashes < 10) {
    std::fflush(nullptr);
    pid_t child = fork();
    if (child == 0) {
      run_inputs(cases, seed, end, shared);
      std::_Exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (status == 0) continue;
    if (WIFEXITED(status) && WEXITSTATUS(status) == late) {
      ++endless;
    } else {
      std::string file = "fuzz_run_crash" + (crashes ? std::to_string(crashes) : "") + ".ptx";
      std::ofstream(file) << "// input " << shared.input << " of seed " << seed << "\n"
                          << ptx_of(Mutator(cases).input(seed, shared.input), "sm_100a");
      std::printf("input %lu of seed %lu ended the process with status %d: %s\n", shared.input, seed, status,
                  file.c_str());
      ++crashes;
    }
    ++shared.input;
  }
  std::printf("%lu inputs: %lu ran, %lu were refused or ended by an error, %lu did not end in %u s, %lu crashed\n",
              shared.input, shared.ran, shared.failed, endless, patience, crashes);
  return crashes || !shared.ran;
}
