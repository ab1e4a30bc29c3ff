// counters.h - what a kernel did, counted by instruction of the PTX.
//
// What is the same for every execution of an instruction (its class, its floating-point operations) is known when the
// program is lowered and multiplied by how often its basic block ran; only what depends on addresses and lanes is
// counted while the kernel runs, by the observing instructions (observe.h).
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace tilejit::runtime {

/// What a launch is watched with beyond what is always checked. Off, they cost nothing.
struct Instruments {
  bool sanitize = false; ///< races, uninitialised reads, misuse of asynchronous operations
  bool counters = false; ///< by line of the PTX and of the source
  bool estimate = false; ///< records what the time estimate needs (estimate.h); counts, too
  /// Matrix products are summed bit for bit as by an H200 (exec_exact.cpp): many times slower.
  bool exact_products = false;
  auto operator<=>(const Instruments&) const = default;
};

/// Accesses to one memory. A transaction is a sector of 32 bytes (global) or a wavefront (shared: what the banks
/// deliver in one cycle); `least` are those that the bytes of the same accesses need at least.
struct Traffic {
  uint64_t requests = 0, bytes = 0, transactions = 0, least = 0;

  void operator+=(const Traffic& o) {
    requests += o.requests, bytes += o.bytes, transactions += o.transactions, least += o.least;
  }
};

/// One instruction of the PTX, over a whole launch. Executions are by warp; an instruction that a warp executes in
/// parts counts once for each.
struct InstructionCounters {
  uint32_t ptx_line = 0;
  std::string opcode;                 ///< with its modifiers
  std::string ptx;                    ///< the line
  std::string source;                 ///< "attention.cpp:71:5"; empty without .loc
  std::string category;               ///< class of instruction: "integer", "matrix", ...
  uint64_t executions = 0, lanes = 0; ///< lanes: those that were active, and that its guard left on
  Traffic global, shared, local;
  uint64_t branches = 0, divergent = 0; ///< conditional branches, and those whose lanes parted
  uint64_t operations = 0;              ///< floating-point operations of tensor cores
  std::string operand_type;             ///< of those: "bf16", "f16", "tf32", ...
  uint64_t special = 0;                 ///< operations of the special-function unit, by thread
  uint64_t barrier_waits = 0;           ///< by warp
};

namespace simulator {

/// What is known of an instruction without running it.
struct StaticCounters {
  uint32_t line = 0, location = ~0u, block = 0;
  uint32_t function = 0, instruction = 0; ///< Module::functions, Function::body
  uint64_t operations = 0;                ///< of a warp
  uint32_t special = 0;                   ///< operations of the special-function unit, of a thread
  bool guarded = false;
};

/// What is counted at run time, by instruction.
struct AccessCounters {
  Traffic global, shared, local;
  uint64_t branches = 0, divergent = 0;
  uint64_t lanes = 0; ///< with a guard: those that it left on

  void operator+=(const AccessCounters& o) {
    global += o.global, shared += o.shared, local += o.local;
    branches += o.branches, divergent += o.divergent;
    lanes += o.lanes;
  }
};

struct Access;
struct Insn;
struct Program;
struct Warp;
/// In front of an instruction with a guard (c, aux: its xor mask); imm = index in Program::counters.
const Insn* count_guarded(Warp* w, const Insn* ip);
/// All of a launch, in the order of the PTX; `executions` and `lanes` by basic block.
std::vector<InstructionCounters> counters_of(const Program& p, const std::vector<uint64_t>& executions,
                                             const std::vector<uint64_t>& lanes,
                                             const std::vector<AccessCounters>& accesses);
/// Wavefronts of an access to shared memory, and how many it would take without conflicts. `loads`: it only reads;
/// lanes may then share what they get.
std::array<uint32_t, 2> wavefronts(const Access& a, uint32_t bytes, bool loads);
/// 32-byte sectors of an access to global memory, and how many its bytes fill at least.
std::array<uint32_t, 2> sectors(const Access& a, uint32_t bytes);

} // namespace simulator
} // namespace tilejit::runtime
