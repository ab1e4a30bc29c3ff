// harness.h - one instruction, many operands: a kernel is made for a spelling, run on the simulator, and every result
// compared with the reference.
//
// Each thread loads its operands from memory and runs the instruction several times: with operands in rows, under a
// guard that some lanes fail, with one operand after the other the same for the whole warp, and with all of them so.
// The simulator has code of its own for each of these.
#pragma once
#include "runtime/device.h"
#include "runtime/simulator/forms.h"
#include "tests/runtime/simulator/conformance/reference.h"

#include <optional>
#include <random>

namespace tilejit::conformance {

/// One operand of an instruction, from the `operands` column of forms.def.
struct OperandSlot {
  char role = 0;
  std::string type; ///< "u32"; "pred" for predicates
  bool written = false, immediate = false, pair = false;
  int register_bits() const; ///< 1 for a predicate, else 16, 32 or 64
};

/// The operands that a spelling takes; nothing where they are not plain registers and immediates.
std::optional<std::vector<OperandSlot>> operand_slots(const runtime::simulator::FormInfo& row,
                                                      const Spelling& spelling);

/// Bits worth trying for an operand of that type: zeros, ones, borders, subnormals, infinities, NaNs.
std::vector<uint64_t> special_values(const std::string& type);
uint64_t random_value(const std::string& type, std::mt19937_64& random);

struct Outcome {
  size_t compared = 0, wrong = 0;
  std::string first;   ///< what the first few wrong ones were
  std::string refused; ///< the simulator's message where it does not run the instruction
};

/// Runs `text` on `device` with some thousand operands, at most `limit` of them (drawn by `seed`).
Outcome check_instruction(runtime::Device& device, const std::string& text, const std::vector<OperandSlot>& slots,
                          const Reference& reference, uint64_t seed, size_t limit = ~size_t{0});

} // namespace tilejit::conformance
