// harness.h - one instruction, many operands: the case of a spelling whose operands are registers and immediates.
//
// Each thread loads its operands from memory and runs the instruction several times: with operands in rows, under a
// guard that some lanes fail, with one operand after the other the same for the whole warp, and with all of them so.
// The simulator has code of its own for each of these.
#pragma once
#include "runtime/simulator/forms.h"
#include "tests/runtime/simulator/conformance/case.h"
#include "tests/runtime/simulator/conformance/reference.h"

#include <optional>
#include <random>

namespace tilejit::conformance {

/// One operand of an instruction, from the `operands` column of forms.def. `pair` of an instruction with .cc: the carry
/// that comes out.
struct OperandSlot {
  char role = 0;
  std::string type; ///< "u32"; "pred" for predicates
  bool written = false, immediate = false, pair = false;
  bool carry = false;        ///< not written down: the carry that goes in, from a predicate
  int register_bits() const; ///< 1 for a predicate, else 16, 32 or 64
};

/// The operands that a spelling takes; nothing where they are not plain registers and immediates.
std::optional<std::vector<OperandSlot>> operand_slots(const runtime::simulator::FormInfo& row,
                                                      const Spelling& spelling);

/// Bits worth trying for an operand of that type: zeros, ones, borders, subnormals, infinities, NaNs.
std::vector<uint64_t> special_values(const std::string& type);
uint64_t random_value(const std::string& type, std::mt19937_64& random);

/// The case of one instruction. All pairs of special values and random ones, at most `limit` of them (drawn by `seed`);
/// `brief`: 128 of them, operands in registers of the threads' own only.
Case instruction_case(const std::string& text, const std::vector<OperandSlot>& slots, const Reference& reference,
                      uint64_t seed, size_t limit, bool brief);

/// The cases of all rows of these classes, in every spelling, where there is a reference for it.
void table_cases(const Sink& sink, std::initializer_list<runtime::simulator::InstructionClass> classes);

} // namespace tilejit::conformance
