// forms.h - the instruction forms that the simulator knows: one row of forms.def each.
//
// A form is a family of instructions that differ only in modifiers and types: `add_float` is add{.rnd}{.ftz}{.sat}.f32
// and .f64. The table says which modifiers and types fit, what the operands are, and what the instruction costs;
// decoding, statistics and the enumeration of conformance tests all read it. Whoever lowers an instruction switches on
// `Instruction::form` and reads its types and modifiers, which are then known to be among those of the row.
#pragma once
#include "runtime/simulator/ast.h"

#include <string>
#include <string_view>
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
  integer, floating, half, double_, special, conversion, compare, move, load, store, atomic, prefetch, async_copy, matrix,
  shuffle, barrier, fence, branch, other,
};
std::string_view name_of(InstructionClass c);

/// The unit of the machine that executes it.
enum class Unit : uint8_t { none, alu, fma, fp64, special, memory, tensor, copy, control };

/// How an operand is used and what it may be. Made from the `operands` column of forms.def, whose head explains it.
struct OperandRole {
  enum class Use : uint8_t { read, write, read_write };
  enum class What : uint8_t { value, address, immediate, label, function, list, predicate };
  Use use = Use::read;
  What what = What::value;
  Type type = Type::none;    ///< fixed type; none: types[type_index], scaled
  uint8_t type_index = 0;
  bool wide = false;         ///< twice the width of that type (mul.wide)
  bool any_width = false;    ///< width is not checked (mov, ld/st/cvt may use wider registers)
  bool optional = false;
  bool pair = false;         ///< may be d|p
  enum class Count : uint8_t { one, vector, any, matrix_mn, matrix_mk, matrix_nk, warpgroup_mn, x_mod } count = Count::one;
  uint8_t fixed_count = 0;   ///< exactly that many elements
};

struct FormInfo {
  Form form;
  std::string_view id, opcode, modifiers, types, operands;
  InstructionClass instruction_class;
  Unit unit;
  uint32_t since; ///< PTX ISA version * 10
};

/// All rows, in the order of forms.def; form_info(Form::unknown) is an empty row.
std::span<const FormInfo> all_forms();
const FormInfo& form_info(Form form);
std::span<const OperandRole> operand_roles(Form form);

/// Gives `instruction` its form from its text (opcode, modifiers, types), and checks its operands against it. Returns an
/// empty string, or what is wrong with the operands. Leaves Form::unknown where no row fits.
std::string match_form(const Module& module, const Function& function, Instruction& instruction);

/// The rows whose text is nearest to `text`, best first: for messages.
std::string nearest_form(std::string_view text);

/// Every concrete spelling of a form ("add.ftz.f32", ...), at most `limit`: for conformance tests and the fuzzer's
/// dictionary.
std::vector<std::string> spellings(Form form, size_t limit = 4096);

/// The registers an instruction reads and writes (guard, address bases and vector elements included). A guarded
/// instruction's writes are partial: lanes without the guard keep the old value.
struct RegisterUse {
  std::vector<uint32_t> reads, writes;
};
void register_use(const Function& function, const Instruction& instruction, RegisterUse& out);

/// Instructions of an entry and of what it calls, by class: ("ld.global", 12), ("integer", 40), ...; classes that do not
/// occur are left out; the order is that of InstructionClass, then of Space.
std::vector<std::pair<std::string, uint64_t>> count_classes(const Module& module, uint32_t entry);

/// "line 71: 'mma.sp.sync...' is not known to the simulator (nearest: ...)": also for a form that is in the table but that
/// a stage after parsing cannot handle.
std::string describe_unknown(const Instruction& instruction);

} // namespace tilejit::runtime::simulator
