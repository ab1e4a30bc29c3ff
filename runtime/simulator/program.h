// program.h - the decoded program: what the lowering makes of a kernel and the interpreter runs.
//
// An instruction is 32 bytes: a handler and operands that are byte offsets into the warp's file, which follows the `Warp`
// in memory. A handler does the work for 32 lanes at once and returns the next instruction; null stops the warp
// (`Warp::stop` says why). Handlers come from a table that is compiled once for each instruction-set level of the host
// (handlers.def lists them, exec_*.cpp define them); all of them give the same bits.
//
// The file of a warp:   rows of 32 x 32 bits | rows of 32 x 64 bits | uniform scalars, 8 bytes each | predicates, one
// 32-bit mask each | constants. Registers narrower than 32 bits lie in 32-bit rows with the bits above them zero.
//
// Handlers are compiled with different flags in different files, so nothing here may be an inline function that the linker
// could merge: plain data only.
#pragma once
#include <cstddef>
#include <cstdint>

namespace tilejit::runtime::simulator {

struct Insn;
struct Warp;
struct BlockRun;
struct Program;
using Fn = const Insn* (*)(Warp&, const Insn*);

struct Insn {
  Fn fn = nullptr;
  uint32_t d = 0, a = 0, b = 0, c = 0; ///< offsets into the file, from the Warp's own address
  uint32_t imm = 0;
  uint32_t aux = 0;
};
static_assert(sizeof(Insn) == 32);

/// Every operation that has handlers.
enum class Op : uint16_t {
#define OP(id, d, a, b, c) id,
#define DO(id) id,
#include "runtime/simulator/handlers.def"
#undef OP
#undef DO
  count,
};

/// The handlers of an operation, by which of its operands a, b, c (bits 0, 1, 2) are uniform scalars; null where there is
/// none: the lowering then makes rows of the scalars. `run` executes `imm` instructions of the same handler in a row.
/// `scalar`: everything is uniform, the result too.
struct OpHandlers {
  Fn rows[8] = {};
  Fn run[8] = {};
  Fn scalar = nullptr;
};

struct HandlerTable {
  const char* name = ""; ///< "avx512"
  OpHandlers op[static_cast<size_t>(Op::count)];
  /// to[lane] = from[lane] for the lanes of `mask`, in a row of 128 or 256 bytes.
  void (*blend)(void* to, const void* from, uint32_t bytes, uint32_t mask) = nullptr;
};

/// The table of the best level that this CPU has, or of what TILEJIT_SIMULATOR_ISA names: baseline, avx2, avx512,
/// avx512bf16. Throws runtime::Error for a level that is unknown or that this CPU lacks.
const HandlerTable& host_handlers();

/// Global memory as handlers see it (memory.h owns it): device address - `base` is the offset from `host`.
/// slot[offset >> slot_bits] is the allocation that lies there, as offsets.
struct GlobalView {
  static constexpr uint32_t slot_bits = 16;
  struct Slot {
    uint64_t begin, end;
  };
  uint8_t* host = nullptr;
  uint64_t base = 0, bytes = 0;
  const Slot* slots = nullptr;
};

/// Generic addresses of the other spaces: PTX ISA "Generic Addressing".
inline constexpr uint64_t shared_window = 0x0000'7f00'0000'0000, local_window = 0x0000'7f10'0000'0000,
                          param_window = 0x0000'7f20'0000'0000, window_bytes = uint64_t{1} << 32;

/// Why a handler returned null.
enum class Stop : uint8_t {
  none,
  exited,    ///< the running lanes have ended
  diverged,  ///< lanes of `stop_mask` go on at `stop_pc`, the others of `active` at `pc`
  switched,  ///< `brx`: every lane has its own pc, in the scratch row `lane_pc`
  converge,  ///< a warp-wide operation at `pc` needs the lanes `stop_mask`, and some of them are elsewhere
  barrier,   ///< waits at barrier `stop_id`; goes on at `pc`
  quantum,   ///< has run long enough; goes on at `pc`
};

struct alignas(64) Warp {
  uint32_t active = 0; ///< lanes that execute the instruction: of the running split, of the guard
  uint32_t live = 0;   ///< lanes that exist and have not exited
  uint8_t* shared = nullptr;
  uint64_t shared_bytes = 0;
  GlobalView global;
  uint8_t* local = nullptr; ///< lane i's local memory begins at local + i * local_stride
  uint64_t local_stride = 0, local_bytes = 0;
  const uint8_t* params = nullptr;
  uint64_t param_bytes = 0;
  uint64_t* block_counts = nullptr; ///< executions, by basic block
  const Insn* code = nullptr;
  const uint32_t* lists = nullptr;
  BlockRun* block = nullptr;
  uint32_t index = 0;  ///< in the block
  uint32_t carry = 0;  ///< condition code CC.CF, a lane a bit
  uint32_t quantum = 0; ///< loop iterations until Stop::quantum

  Stop stop = Stop::none;
  uint32_t stop_mask = 0, stop_id = 0, stop_count = 0, stop_pc = 0;
  const Insn* pc = nullptr;
  bool arrive_only = false;
  uint32_t barrier_result[32] = {}; ///< bar.red, by barrier
  uint32_t lane_pc[32] = {};
  alignas(64) uint64_t scratch[32] = {}; ///< of the masked execution
  alignas(64) uint8_t* pointers[32] = {}; ///< of memory handlers
};

/// How memory operands are given: Insn::c of memory handlers.
namespace address {
enum Space : uint32_t { generic, global, shared, local, param };
enum Kind : uint32_t { row64 = 0, row32 = 8, uniform = 16 };
inline constexpr uint32_t space_mask = 7, kind_mask = 24;
} // namespace address

/// Called by handlers; never return. `lane`'s access of `bytes` at `at` (as the program wrote it) is outside of what it may
/// touch, or not aligned.
enum class Access : uint8_t { load, store, atomic, copy };
[[noreturn]] void fault_memory(Warp& warp, const Insn* ip, uint32_t lane, uint64_t at, uint32_t space, uint32_t bytes,
                               Access access);
[[noreturn]] void fault(Warp& warp, const Insn* ip, uint32_t lane, const char* kind, const char* what);

/// bits of `imm` of floating-point handlers that have no variant of their own.
namespace fp {
enum : uint32_t {
  rn = 0, rm = 1, rp = 2, rz = 3, rna = 4, rs = 5, rounding = 7, // 0..3 as MXCSR's rounding control
  ftz = 8, sat = 16, relu = 32, nan = 64, abs = 128, xorsign = 256, satfinite = 512, single = 1024, to_int = 2048,
};
} // namespace fp

} // namespace tilejit::runtime::simulator
