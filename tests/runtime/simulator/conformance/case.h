// case.h - one kernel that tests one or a few instructions: its text, its inputs, and what may come out.
//
// A case does not know where it runs: on the simulator for the tests, on a GPU for the recorder. Everything in it is
// made from a fixed seed, so that a recorded result can be compared years later.
#pragma once
#include "runtime/device.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace tilejit::conformance {

/// What a comparison with the definition found.
struct Report {
  size_t compared = 0, wrong = 0;
  std::string first; ///< the first few wrong ones, a line each
  /// One comparison; `text` says what was got and what was expected.
  void add(bool good, const std::function<std::string()>& text);
};

struct Case {
  std::string name;                           ///< unique: "add.sat.s32"
  std::vector<std::string> tests;             ///< the instructions that it is about, as they are spelled in the body
  std::string declarations, directives, body; ///< of the module, of its entry k, and that one's text: see `ptx_of`
  uint32_t threads = 32, blocks = 1, shared = 0;
  uint32_t since = 80; ///< PTX ISA version * 10
  std::vector<std::byte> input;
  size_t output = 0; ///< bytes of a launch
  struct Launch {
    std::vector<uint64_t> values = {}; ///< of the parameters u0, u1, ...
    uint32_t blocks = 0;               ///< 0: all of them
  };
  std::vector<Launch> launches = {{}};
  std::function<Report(std::span<const std::byte>)> check = {}; ///< of the outputs of all launches, one after another
  /// Where an H200 rounds as we know it to: the same, with nothing left open. So does the simulator with exact
  /// products.
  std::function<Report(std::span<const std::byte>)> check_exactly = {};
};

/// The module of a case. Its entry is k(in, out, u0 .. u4), all .u64; registers %r<400>, %rd<150>, %h<150>, %f<100>,
/// %fd<50>, %p<50> are declared; %r0 is the thread's index in the grid, %rd1 = in, %rd2 = out.
std::string ptx_of(const Case& c, const std::string& target);

/// The outputs of all launches. Throws what the device throws.
std::vector<std::byte> run(runtime::Device& device, const Case& c);

/// A case as the generators give it: made when it is needed.
struct Source {
  std::string name;
  std::vector<std::string> tests;
  const char* group = "";
  /// `brief`: with few inputs, for the recorder.
  std::function<Case(bool brief)> make;
};
using Sink = std::function<void(Source)>;

/// What word `word` of the output of thread `thread` must be; nothing: anything.
using ExpectedWord = std::function<std::optional<uint32_t>(uint32_t thread, uint32_t word)>;
/// The kernel of `words_case`.
struct Kernel {
  std::string name;
  std::vector<std::string> tests;
  std::string body, declarations = "", directives = "";
  uint32_t threads = 32, blocks = 1, shared = 0, since = 80;
};
/// A case of 32-bit words: each thread finds the input at %rd1, or with `each` its own share of it, and writes
/// `outputs` words to [%rd2 + 4 * i].
Case words_case(const Kernel& kernel, const std::vector<uint32_t>& input, uint32_t outputs, ExpectedWord expected,
                bool each = true);
/// Hands on a case that is cheap to make.
void emit(const Sink& sink, Case c);

/// Words of a fixed sequence.
std::vector<uint32_t> random_words(size_t count, uint32_t seed);
std::string hex(uint64_t value);

/// All of them, group by group.
struct Group {
  const char* name;
  void (*make)(const Sink&);
};
std::span<const Group> groups();
void each_source(const Sink& sink); ///< the names are unique

void integer_cases(const Sink&);
void float_cases(const Sink&);
void half_cases(const Sink&);
void approximation_cases(const Sink&);
void comparison_cases(const Sink&);
void conversion_cases(const Sink&);
void move_cases(const Sink&);
void warp_cases(const Sink&);
void matrix_cases(const Sink&);
void warpgroup_cases(const Sink&);
void memory_cases(const Sink&);
void atomic_cases(const Sink&);
void barrier_cases(const Sink&);
void copy_cases(const Sink&);
void tensor_copy_cases(const Sink&);
void control_cases(const Sink&);

} // namespace tilejit::conformance
