// program.h - an entry decoded for execution: what lowering (lower.cpp) makes and the handlers (exec_*.cpp) run.
//
// An instruction is 32 bytes: the function that executes it and the places of its operands as byte offsets into the
// warp's register file, so that nothing is scaled or looked up at run time. A handler executes all 32 lanes and returns
// the next instruction, or null when the warp must go back to the scheduler. Instructions with more operands than fit
// are followed by slots that only hold offsets.
//
// The register file of a warp: scalars of 8 bytes (constants, parameters of the launch, uniform registers), predicates
// (one 32-bit mask each), rows of 32 x 64 bits, rows of 32 x 32 bits. An operand is a row or a scalar; which of them is
// decided here, once, by choosing the handler.
#pragma once
#include "runtime/simulator/ast.h"
#include "runtime/simulator/counters.h"
#include "runtime/simulator/forms.h"

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace tilejit::runtime::simulator {

struct Warp;
struct Insn;
using Fn = const Insn* (*)(Warp*, const Insn*);

struct Insn {
  Fn fn = nullptr;
  uint32_t d = 0, a = 0, b = 0, c = 0; ///< byte offsets into the warp's file; some handlers give them other meanings
  uint32_t imm = 0;
  uint32_t aux = 0;
};
static_assert(sizeof(Insn) == 32);

/// What a handler is chosen by. Plain data: read by code that is compiled once for each instruction set.
struct Request {
  Form form{};
  Type types[Instruction::max_types]{};
  Mod mods[Instruction::max_mods]{};
  uint32_t mod_count = 0;
  Shape shape;
  uint32_t kinds = 0;  ///< bit i: source i is a scalar
  bool scalar = false; ///< the destination is a scalar too; then all sources are
  Space space = Space::generic;
};

/// How an instruction takes part in a warp that runs with some of its lanes off.
struct Meta {
  uint32_t line = 0;        ///< in the PTX
  uint32_t location = none; ///< Module::locations
  uint32_t block = 0;
};

/// A row or scalar that the scheduler fills when a warp begins.
struct SpecialSlot {
  Special special{};
  uint32_t component = 0;
  uint32_t offset = 0;
  bool row = false; ///< 32 x 32 bits
};

/// A part of a thread's frame on its stack: an argument, a result.
struct FramePart {
  uint32_t offset = 0, bytes = 0;
  bool operator==(const FramePart&) const = default;
};
/// What the simulator does itself, lane by lane: vprintf, malloc, ... (builtins.h)
using Builtin = void (*)(Warp*, const Insn*, uint32_t lane, const uint8_t* const* arguments, uint8_t* result);
/// A function as its callers see it (calls.h).
struct Callee {
  uint32_t code = none; ///< where it begins; none: it is a builtin, or not reached
  Builtin builtin = nullptr;
  uint32_t frame_bytes = 0; ///< its variables, parameters, results, and those of its calls
  std::vector<FramePart> parameters, results;
};
struct CallSite {
  uint32_t next = none; ///< where the callee returns to
  std::vector<FramePart> arguments, results;
};
/// Rows at fixed places of every file of a program with calls or alloca: by lane, where the frame begins and where the
/// stack's free part does (64 bits each), and the call that the function was called by (32 bits).
inline constexpr uint32_t frame_base = 128, frame_top = 384, frame_site = 640, frame_rows_end = 768;

/// MXCSR: exceptions masked, to nearest; subnormal sources are zeros for .ftz (those handlers flush results themselves:
/// the machine would also flush what rounds up to the smallest normal number), results are for the matrix instructions,
/// both for additions to global memory.
inline constexpr uint32_t mxcsr_ieee = 0x1f80, mxcsr_ftz = mxcsr_ieee | 0x0040, mxcsr_matrix = mxcsr_ieee | 0x8000,
                          mxcsr_flush = mxcsr_ieee | 0x8040;

/// What an observing instruction looks at.
struct Observed {
  enum class Kind : uint8_t {
    read,
    write,
    atomic,
    copy,           ///< cp.async: reads global memory now, writes shared memory later
    matrix_read,    ///< ldmatrix: rows of 16 bytes
    matrix_write,   ///< stmatrix
    fragment_write, ///< wmma.store: elements of a matrix, one of each lane after the other
    lanes,          ///< an operation that orders the lanes of its mask
    branch,
    fence,
    proxy_fence,
    map_release,
    map_acquire, ///< fence.proxy.tensormap
    async,       ///< all else that the sanitizer looks at itself
  };
  bool reads() const { return kind != Kind::write && kind != Kind::matrix_write && kind != Kind::fragment_write; }
  bool writes() const { return kind == Kind::atomic || !reads(); }

  Kind kind{};
  Space space = Space::generic;
  bool strong = false;     ///< volatile, relaxed, acquire, release, atomic
  bool release = false;    ///< or acq_rel
  bool wide = false;       ///< strong accesses, fences: for all blocks of the GPU
  bool unseen = false;     ///< an atomic operation whose result goes nowhere
  uint32_t bytes = 0;      ///< of a lane (of a row of a matrix)
  uint32_t elements = 0;   ///< of a lane's vector
  uint32_t dropped = 0;    ///< a load: those of them, by bits, that go to registers that nothing reads
  bool transposed = false; ///< matrix_write: .trans
  uint32_t rows = 32;      ///< lanes that give addresses
  uint32_t insn = 0;       ///< the observed instruction
  uint32_t counter = 0;    ///< Program::counters
  bool bypasses = false;   ///< the cache of the multiprocessor, L1
};

/// What the sanitizer looks at before an instruction that may touch registers of a wgmma (product_registers.h).
struct RegisterEvent {
  uint32_t observed = 0;
  bool fences = false;                              ///< it is a wgmma.fence
  std::vector<uint32_t> pending;                    ///< Program::products that must not be pending
  std::vector<uint32_t> unfenced;                   ///< watched registers that must have been fenced
  std::vector<uint32_t> touches;                    ///< watched registers
  uint32_t product = none;                          ///< Program::products: it is one
  std::vector<std::pair<uint32_t, uint32_t>> mixed; ///< watched register, other product: fenced between the two
  std::vector<uint32_t> uses;                       ///< watched registers of the product
};

/// Whether a result has a value, where some sources may have none (undefined.h).
enum class UndefinedResult : uint8_t {
  defined, ///< from memory, other lanes, ...
  any,     ///< undefined where any source is
  all,     ///< where all are: bits of several registers are put together
  select,  ///< where that of the two sources is that the predicate selects
};
/// What becomes of registers without a value in an instruction. Such registers have a mask each in the file: the lanes
/// that hold no value.
struct UndefinedEvent {
  uint32_t observed = 0;
  bool begins = false; ///< the function: those of `sources` have none, the others of `destinations` are not yet written
  UndefinedResult result{};
  std::vector<uint32_t> sources, destinations;                            ///< masks; none: a source that has a value
  std::vector<std::pair<uint32_t, std::string_view>> matters, matters_if; ///< masks, names of registers
  std::pair<uint32_t, std::string_view> guard{none, {}};                  ///< likewise, for all lanes that come here
  uint32_t predicate = 0, turned = 0;                                     ///< of `select` and `matters_if`
};

struct Program {
  std::shared_ptr<const Module> module;
  uint32_t entry = none;
  std::string name;

  std::vector<Insn> code;
  std::vector<Meta> meta;                              ///< by instruction
  std::vector<uint32_t> targets;                       ///< branch tables: places in `code`
  std::vector<uint32_t> block_instructions;            ///< by block: PTX instructions
  std::vector<std::array<uint16_t, 20>> block_classes; ///< by block: instructions by InstructionClass

  uint32_t file_bytes = 0;                              ///< of a warp
  std::vector<std::pair<uint32_t, uint64_t>> constants; ///< scalar slots and their values
  std::vector<SpecialSlot> specials;
  std::vector<uint32_t> undefined_rows32, undefined_rows64; ///< registers that may be read before they are written

  uint32_t default_mode = mxcsr_ieee;
  uint64_t static_shared = 0; ///< bytes; dynamic shared memory follows
  uint64_t local_bytes = 0;   ///< per thread; with `has_frames` the whole stack
  uint64_t param_bytes = 0;
  bool has_frames = false;     ///< there are calls, or alloca
  uint32_t frame_bytes = 0;    ///< of the entry: where a thread's stack begins to grow
  uint32_t frame_align = 16;   ///< of all frames
  std::vector<Callee> callees; ///< by function of the module
  std::vector<CallSite> call_sites;
  bool needs_heap = false; ///< it calls malloc

  Instruments instruments;
  std::vector<Observed> observed; ///< with instruments only
  std::vector<RegisterEvent> register_events;
  std::vector<UndefinedEvent> undefined_events;
  std::vector<uint32_t> products; ///< wgmma: instructions, by number
  uint32_t watched_registers = 0;
  std::vector<StaticCounters> counters;    ///< with counters only: of every instruction of the PTX
  uint32_t global_granule = 2;             ///< the same of global memory
  std::vector<uint32_t> stored_parameters; ///< where in the parameter block pointers stand that stores may go through
  bool stores_anywhere = false;            ///< a store may go through any other pointer
  uint32_t shared_granule = 2;             ///< log2 of the bytes of the smallest access to shared memory; 2 at most

  bool ordered_blocks = false; ///< results depend on the order of the blocks: run them one after another
  bool communicates = false;   ///< a block may wait for what another one does: run them in turns
};

} // namespace tilejit::runtime::simulator
