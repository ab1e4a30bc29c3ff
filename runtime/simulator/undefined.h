// undefined.h - registers that may be read before they have a value.
//
// To compute with a register that nothing has written is no mistake as long as nothing comes of it: compilers select
// such values away, and hold them in lanes whose results they never store. So it is followed at run time, lane by lane,
// which registers hold one, and reported where it matters: in an address, in what is stored to memory that others can
// see, in an operand of a matrix product, in the condition of a branch. Only what may come from such a register is
// followed; for most programs that is nothing.
#pragma once
#include "runtime/simulator/cfg.h"
#include "runtime/simulator/liveness.h"
#include "runtime/simulator/program.h"

#include <vector>

namespace tilejit::runtime::simulator {

/// What an instruction makes of registers without a value.
struct UndefinedStep {
  uint32_t instruction = 0; ///< in the body
  UndefinedResult result{};
  std::vector<uint32_t> sources, destinations; ///< registers; `none` for a source that has a value
  std::vector<uint32_t> matters;               ///< registers that must have a value
  uint32_t guard = none;                       ///< likewise, in all lanes that come here
  std::vector<uint32_t> matters_if;            ///< likewise where the operand 'p' holds
};
struct UndefinedRegisters {
  std::vector<uint32_t> at_begin, tracked; ///< without a value at the function's begin; those and all they may go to
  std::vector<UndefinedStep> steps;        ///< by instruction, ascending
};
UndefinedRegisters find_undefined(const Function& function, const Cfg& cfg, const Liveness& liveness);

} // namespace tilejit::runtime::simulator
