// lowering.h - the class behind `lower`: lower.cpp (blocks, operands, arithmetic), lower_wide.cpp (memory, matrices,
// exchanges, barriers), lower_calls.cpp (calls, frames).
//
// Operands are resolved to rows or scalars of the warp's file; where there is no handler for a mixture, scalars are
// spread over scratch rows first. An instruction that runs in some lanes only (guard, or a block that a varying branch
// controls) gets a `masked` instruction in front of it, unless it takes the mask itself.
#pragma once
#include "runtime/simulator/cfg.h"
#include "runtime/simulator/control.h"
#include "runtime/simulator/handlers.h"
#include "runtime/simulator/liveness.h"
#include "runtime/simulator/product_registers.h"
#include "runtime/simulator/undefined.h"
#include "runtime/simulator/uniform.h"

#include <initializer_list>
#include <map>
#include <optional>
#include <set>

namespace tilejit::runtime::simulator {

class Lowering {
public:
  /// Of an entry, which comes first, or of a function that it may call.
  Lowering(std::shared_ptr<const Module> module, uint32_t function, std::array<uint32_t, 3> shape,
           const std::vector<uint64_t>& addresses, std::shared_ptr<Program> program);
  /// Adds the function's code; to `errors`, what cannot be run.
  void run(std::string& errors);

private:
  struct Source {
    uint32_t offset = 0;
    bool scalar = false;
  };
  struct Guard { ///< lanes: active & (predicate(offset) ^ turned)
    uint32_t offset = 0, turned = ~0u;
  };
  struct Address {
    uint32_t offset = 0, flags = 0, imm = 0;
  };
  struct Fixup {
    size_t insn = 0;
    uint32_t block = 0;
  };
  enum class Width : uint8_t { row32, row64, predicate, scalar };

  bool may_be_scalar(const Instruction& i) const;
  void resolve(size_t first_target);

  // --- blocks (lower.cpp)
  void layout();
  void choose_mode();
  void block(uint32_t b);
  void instruction(const Instruction& i);
  bool control_flow(const Instruction& i);
  void leave_block(uint32_t b);
  void jump_to(uint32_t block);
  bool ends_thread(uint32_t block) const { return f_.is_entry && (block == cfg_.exit() || cfg_.leaves[block]); }
  std::optional<uint32_t> mode_of(const Instruction& i) const;
  void set_mode(uint32_t mode);
  void unsupported(const Instruction& i);

  // --- the file
  uint32_t tail(uint32_t bytes, uint32_t align);
  uint32_t constant(uint64_t value);
  uint32_t special(Special s, uint32_t component, bool row);
  uint32_t scratch() { return scratch_first_ + 256 * (scratch_used_++ % scratch_rows); }
  uint32_t temporary_predicate(uint32_t n) const { return predicates_first_ + 4 * (allocation_.predicates + n); }
  uint32_t place(uint32_t reg, uint32_t half = 0) const;
  bool is_scalar(uint32_t reg) const { return allocation_.place[reg].file == Place::File::uniform; }
  bool is_wide(uint32_t reg) const { return bits_of(f_.registers[reg].type) == 64; }

  // --- operands
  Source source(const Operand& o, bool want_scalar = false);
  uint32_t row(const Operand& o, bool wide); ///< spread over a scratch row where it is a scalar
  uint32_t spread(Source s, bool wide);
  uint32_t sum(uint32_t row, uint64_t value); ///< a scratch row: 64 bits each, plus a number
  /// Predicate operand: offset and xor mask.
  Guard predicate(const Operand& o);
  uint32_t destination(const Operand& o); ///< a register's place, or a scratch row for `_`
  Address address(const Operand& o);
  bool in_frame(uint32_t variable) const; ///< it lies on the thread's stack
  uint32_t frame_offset(uint32_t variable) const;
  const std::vector<uint64_t>& addresses_;
  uint64_t variable_address(const Operand& o) const;

  // --- code
  Insn& emit(Fn fn, Insn fields = {});
  void emit_masked(Width width, uint32_t d); ///< before an instruction that writes `d`
  void emit_words(std::initializer_list<uint32_t> words);
  void emit_words(const std::vector<uint32_t>& words, uint32_t slots);
  Fn select(const Request& r) const;
  Request request(const Instruction& i) const;
  Request request(Form form, std::initializer_list<Type> types, std::initializer_list<Mod> mods = {}) const;
  /// One operation with 1 to 3 sources. `wide[n]`: source n has 64 bits. False: there is no handler.
  bool operate(Request r, Width width, uint32_t d, std::vector<Source> sources, const std::vector<bool>& wide,
               Insn fields = {});
  void join_runs();
  /// With instruments: in front of an access by `rows` lanes of `bytes` each, behind an operation that orders lanes.
  /// `moving`: of the access that follows.
  uint32_t dropped_elements(const Instruction& i);
  void observe_access(const Instruction& i, Observed::Kind kind, const Address& at, Space space, uint32_t bytes,
                      uint32_t elements, uint32_t rows = 32, bool unseen = false, Moving moving = nullptr);
  void observe_fragment(const Instruction& i);
  void observe_lanes(const Instruction& i, Observed::Kind kind);
  void observe_branch();
  void observe_async(Fn target);
  void observe_barrier();
  void observe_registers(uint32_t instruction);
  void observe_undefined(uint32_t instruction);
  void begin_undefined();
  void emit_undefined(UndefinedEvent event, const Guard& guard);
  void choose_granules();
  void find_stored_parameters();
  void find_watched_registers();
  void observe_block(uint32_t block);
  void count_statically(const Instruction& i, uint32_t block);
  bool helper(Helper h, Width width, uint32_t d, uint32_t a, uint32_t b = 0, bool final = true);

  // --- instructions
  bool arithmetic(const Instruction& i);
  bool move(const Instruction& i);
  bool move_part(uint32_t d, uint32_t a, uint32_t bits, uint32_t whole, uint32_t index);
  bool convert(const Instruction& i);
  bool compare(const Instruction& i);
  bool set(const Instruction& i);
  bool carry(const Instruction& i);
  bool lop3_bool(const Instruction& i);
  bool through_float(const Instruction& i);
  bool convert_address(const Instruction& i);
  bool predicate_logic(const Instruction& i);
  // lower_calls.cpp
  bool call(const Instruction& i);
  bool stack(const Instruction& i);
  // lower_async.cpp
  uint32_t operand_word(const Operand* o); ///< async.h; null: none
  void address_words(const Operand* o, std::vector<uint32_t>& words);
  bool emit_async(Fn fn, const std::vector<uint32_t>& words, Insn fields = {});
  bool mbarrier(const Instruction& i);
  bool cluster(const Instruction& i);
  bool bulk(const Instruction& i);
  bool warpgroup_product(const Instruction& i);
  // lower_wide.cpp
  bool load(const Instruction& i);
  bool store(const Instruction& i);
  bool atomic(const Instruction& i);
  bool wide_atomic(const Instruction& i);
  bool copy_async(const Instruction& i);
  bool matrix_move(const Instruction& i);
  static Result result_of(const Instruction& i);
  bool product(const Instruction& i);
  bool tile_product(const Instruction& i);
  bool fragment(const Instruction& i);
  bool exchange(const Instruction& i);
  bool barrier(const Instruction& i);

  std::shared_ptr<const Module> module_;
  const Module& m_;
  uint32_t function_;
  Function f_; ///< its instructions perhaps in another order (product_order.h)
  std::array<uint32_t, 3> shape_;
  const Handlers& h_;
  const ControlHandlers& c_;
  SharedLayout shared_;
  Cfg cfg_;
  Uniformity uniformity_;
  Liveness liveness_;
  std::vector<bool> is_read_;                       ///< by register, made when it is first asked for
  UndefinedRegisters undefined_;                    ///< likewise
  std::map<uint32_t, uint32_t> undefined_masks_;    ///< by register: places
  ProductHazards product_hazards_;                  ///< with the sanitizer
  std::map<uint32_t, uint32_t> products_, watched_; ///< by instruction, by register: their numbers in the program
  RowAllocation allocation_;
  std::shared_ptr<Program> p_;

  static constexpr uint32_t scratch_rows = 24, temporary_predicates = 8;
  uint32_t uniforms_first_ = 0, predicates_first_ = 0, rows64_first_ = 0, rows32_first_ = 0, scratch_first_ = 0,
           scratch_used_ = 0;
  std::map<uint64_t, uint32_t> constants_;
  std::map<std::array<uint32_t, 3>, uint32_t> specials_;
  std::vector<size_t> block_begin_;                        ///< at last that of the end
  uint32_t first_block_ = 0;                               ///< of this function, among the program's
  std::vector<std::pair<uint32_t, uint32_t>> call_blocks_; ///< call site, instruction that it returns to
  std::vector<Fixup> fixups_;
  std::string errors_;
  std::set<std::string> unsupported_;
  std::vector<size_t> repeatable_; ///< instructions of this block whose handlers take several at once
  struct {
    size_t first = 0, end = 0;     ///< in the code
    std::vector<uint32_t> written; ///< rows
  } sharing_;                      ///< mma.sync that share A, see exec_mma.cpp

  // of the instruction at hand
  Guard guard_;
  bool guarded_ = false, varying_ = false;
  Meta meta_;
  uint32_t mode_ = 0;
  uint32_t counter_ = 0; ///< Program::counters
};

} // namespace tilejit::runtime::simulator
