// calls.h - calls of functions: frames, and the handlers that make and leave them.
//
// A thread's stack lies in its local memory and holds a frame for each call: the function's .local variables, its
// parameters and results, and the .param variables of the calls that it makes. What a lane must know of its frame
// stands in rows of the register file (program.h: frame_base, ...), so lanes of a warp may have come by different ways.
// A call copies the arguments from the caller's frame to the callee's, a return copies the results back.
//
// Each depth of calls has a register file of its own, laid out for all functions of the program side by side: parts of
// a warp that are at the same depth in different functions do not touch each other's registers. They are made when a
// depth is first reached. Functions run with masks throughout: any lanes may have called them.
#pragma once
#include "runtime/simulator/warp.h"

#include <map>
#include <memory>
#include <mutex>
#include <vector>

namespace tilejit::runtime::simulator {

/// Register files of the depths beyond the entry's.
struct CallStack {
  std::vector<std::unique_ptr<uint8_t[], void (*)(void*)>> files; ///< of depth 1 and up
  uint32_t valid = 0;                                             ///< how many this block of threads has made use of
};

inline constexpr uint32_t max_call_depth = 1024;
/// A thread's stack where its need is not known: recursion, pointers to functions, alloca.
inline constexpr uint64_t open_stack_bytes = 65536;

/// The register file of a depth that has been reached.
uint8_t* file_at(const Warp* w, uint32_t depth);
/// At the begin of a block of threads.
void begin_calls(Warp& w);

/// Addresses of functions: function number k of the module is at function_window + 16 k.
inline constexpr uint64_t function_window = 0x7f30'0000'0010;

struct CallHandlers {
  /// imm: Program::call_sites; d: the module's function, or none, then a is the place of its address, and b says
  /// whether that is a scalar (0) or a row (1); c: guard, aux: its xor mask.
  Fn call;
  Fn ret;           ///< c: guard, aux: its xor mask
  Fn alloca_;       ///< d: result, a: sizes (rows of 32 or 64 bits: b = 0, 1), imm: alignment; guard as above
  Fn stack_save;    ///< d: result; b as above
  Fn stack_restore; ///< a: source; b as above
};
const CallHandlers& call_handlers();

/// What device code has from malloc: one allocation, given out in pieces. It lives as long as its module.
class DeviceHeap {
public:
  DeviceHeap(uint64_t begin, uint64_t bytes) : free_{{begin, bytes}} {}
  uint64_t allocate(uint64_t bytes); ///< 0: there is no room
  /// False: it was not allocated. `keep`: nobody gets it again while there is other room. Nothing orders a free before
  /// the malloc that gives the same bytes, so what a sanitizer knows of them would count against their new owner.
  bool release(uint64_t address, bool keep);
  void release_kept(); ///< between launches

private:
  std::mutex mutex_;
  uint64_t take(uint64_t bytes);
  void give_back(uint64_t begin, uint64_t bytes);
  std::map<uint64_t, uint64_t> free_, used_, kept_; ///< begin, bytes
};
inline constexpr uint64_t heap_bytes = 8 << 20; ///< CUDA's default

/// A function that the simulator has itself; null where there is none of that name.
Builtin find_builtin(std::string_view name);

} // namespace tilejit::runtime::simulator
