// findings.h - what the simulator found wrong with a kernel, as data.
//
// A finding names the kernel, the place in the PTX and in the source it was compiled from, the block and the thread;
// where two places conflict, both. An access out of bounds, a misaligned one, a deadlock and a misused barrier end the
// launch: its error carries the finding. What the sanitizers find lets the launch go on. Each kind is reported once for
// a pair of places, and the list is the same whatever the number of host threads.
#pragma once
#include "runtime/device.h"

#include <map>
#include <tuple>

namespace tilejit::runtime {

enum class FindingKind : uint8_t {
  out_of_bounds,
  misaligned,
  uninitialised,
  shared_race,
  global_race,
  proxy_race, ///< generic and asynchronous proxy, ordered but without a proxy fence
  barrier,
  deadlock,
  async_hazard, ///< memory or registers of an asynchronous operation that may still run
};
std::string_view name_of(FindingKind kind); ///< "out-of-bounds"

struct Finding {
  FindingKind kind{};
  std::string message;                       ///< one complete sentence with all of the below
  uint32_t ptx_line = 0, other_ptx_line = 0; ///< from 1; 0: there is no other place
  std::string source, other_source;          ///< "attention.cpp:71:5"; empty without .loc
  std::array<uint32_t, 3> block{}, thread{};
};

/// A kernel that could not go on.
struct ExecutionError : Error {
  using Error::Error;
};
/// The same, for a reason that is a finding.
struct FindingError : ExecutionError {
  explicit FindingError(Finding f) : ExecutionError(f.message), finding(std::move(f)) {}
  Finding finding;
};

/// A JSON array of objects with the members of Finding; `null` for an other place that there is not.
std::string to_json(std::span<const Finding> findings);

namespace simulator {

struct Warp;
struct Insn;
struct LaunchState;

std::string tuple(const std::array<uint32_t, 3>& x); ///< "(1, 2, 3)"
/// Index in the block of the thread in a lane.
std::array<uint32_t, 3> thread_of(const Warp& w, uint32_t lane);
/// A finding at an instruction: "kernel 'k', a.cpp:1:2, PTX line 7 'st...': block (0, 0, 0), thread (1, 0, 0) WHAT".
Finding finding_at(const LaunchState& launch, uint64_t block, uint32_t thread, const Insn* ip, FindingKind kind,
                   const std::string& what);
std::array<uint32_t, 3> block_index(const LaunchState& launch, uint64_t block);
std::string hexadecimal(uint64_t x); ///< "0x..."
Finding finding_at(const Warp& w, const Insn* ip, uint32_t lane, FindingKind kind, const std::string& what);

/// Ends the message of two writes that nothing orders but that agree: which of them comes last makes no difference.
inline constexpr std::string_view same_values = "; the values are the same";

/// The findings of some blocks of a launch, each once for a pair of places. What two places do to each other is `mild`
/// only as long as it always is.
class FindingLog {
public:
  struct Key {
    FindingKind kind{};
    uint32_t place = 0, other = 0; ///< instructions of the program
    auto operator<=>(const Key&) const = default;
  };
  /// True once for a key, and once more after mild ones: describe it then with `add`.
  bool is_new(const Key& key, bool mild = false) const;
  void add(const Key& key, uint64_t block, Finding finding, bool mild = false);
  /// Where both have a key the one of the lower block stays: what one host thread would have found first.
  void merge(FindingLog&& other);
  /// Those of blocks 0 .. last, by block and place.
  std::vector<Finding> take(uint64_t last) const;
  bool empty() const { return found_.empty(); }

private:
  struct Entry {
    uint64_t block = 0;
    bool mild = false;
    Finding finding;
  };
  void put(const Key& key, Entry entry);
  std::map<Key, Entry> found_;
};

} // namespace simulator
} // namespace tilejit::runtime
