// forms.h - the instruction forms that the simulator knows: one row of forms.def each.
//
// A form is a family of instructions that differ only in modifiers and types: `add_float` is add{.rnd}{.ftz}{.sat}.f32
// and .f64. The table says which modifiers and types fit, what the operands are, and what the instruction costs;
// decoding, statistics and the enumeration of conformance tests all read it. Whoever lowers an instruction switches on
// `Instruction::form` and reads its types and modifiers, which are then known to be among those of the row.
#pragma once
#include "runtime/simulator/ast.h"

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace tilejit::runtime::simulator {

enum class Form : uint16_t {
  unknown,
#define F(id, opcode, modifiers, types, operands, class_, unit, since) id,
#include "runtime/simulator/forms.def"
#undef F
  count,
};

/// What an instruction does, for statistics. Loads, stores and atomics are told apart by space as well.
enum class InstructionClass : uint8_t {
  integer,
  floating,
  half,
  double_,
  special,
  conversion,
  compare,
  move,
  load,
  store,
  atomic,
  prefetch,
  async_copy,
  matrix,
  shuffle,
  barrier,
  fence,
  branch,
  other,
};
std::string_view name_of(InstructionClass c);

/// The unit of the machine that executes it.
enum class Unit : uint8_t { none, alu, fma, fp64, special, memory, tensor, copy, control };

struct FormInfo {
  Form form;
  std::string_view id, opcode, modifiers, types, operands; ///< the columns of forms.def
  InstructionClass instruction_class;
  Unit unit;
  uint32_t since; ///< PTX ISA version * 10
};

/// All rows, in the order of forms.def; several rows may have one form.
std::span<const FormInfo> all_forms();
/// The first row of a form; form_info(Form::unknown) is an empty row.
const FormInfo& form_info(Form form);
/// Of the instruction's own row: add.f64 is double_, add.f32 floating.
InstructionClass class_of(const Instruction& instruction);

/// Finds the forms of one text's instructions; remembers the spellings it has seen there.
class FormMatcher {
public:
  FormMatcher();
  ~FormMatcher();
  /// Gives `instruction` its form, modifiers and types from its text, and its operands their roles. Returns an empty
  /// string, or what is wrong with the operands. Leaves Form::unknown where no row fits opcode and modifiers.
  std::string match(const Module& module, Function& function, Instruction& instruction);

private:
  struct Spelling;
  const Spelling& find(std::string_view text);
  std::unordered_map<std::string_view, std::unique_ptr<Spelling>> spellings_; ///< keys are views of the PTX
};

/// A spelling of the table that is nearest to `text`: for messages. Empty where nothing is near.
std::string nearest_form(std::string_view text);

/// Every concrete spelling of a row ("add.ftz.f32", ...), at most `limit`: for conformance tests and dictionaries.
std::vector<std::string> spellings(const FormInfo& row, size_t limit = 4096);

/// The registers an instruction reads and writes (guard, address bases and vector elements included). A guarded
/// instruction's writes are partial: lanes without the guard keep the old value.
struct RegisterUse {
  std::vector<uint32_t> reads, writes;
};
void register_use(const Function& function, const Instruction& instruction, RegisterUse& out);

/// Instructions of an entry and of what it calls, by class: ("ld.global", 12), ("integer", 40), ...; classes that do
/// not occur are left out; the order is that of InstructionClass, then of Space.
std::vector<std::pair<std::string, uint64_t>> count_classes(const Module& module, uint32_t entry);

/// "line 71: 'mma.sp.sync...' is not known to the simulator (nearest: ...)": also for a form that is in the table but
/// that a stage after parsing cannot handle.
std::string describe_unknown(const Instruction& instruction);

} // namespace tilejit::runtime::simulator
