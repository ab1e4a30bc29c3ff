// product_registers.h - instructions that come too near to the registers of a wgmma.
//
// Between the issue of a product and the wait for its group nothing may touch its accumulators, or its A where that
// lies in registers; and between an access to such registers and the next product on them there must be a wgmma.fence,
// also where the access is that of another product, unless both of the same shape accumulate there, or both only read
// them. PTX ISA "wgmma.fence", "wgmma.wait_group". Where some path through a
// function may break this the sanitizer looks when it runs; elsewhere nothing is left to do.
#pragma once
#include "runtime/simulator/cfg.h"

#include <vector>

namespace tilejit::runtime::simulator {

struct ProductHazards {
  /// An instruction touches registers of a product that may not have been waited for. Both are places in the body.
  struct Pending {
    uint32_t instruction = 0, product = 0;
  };
  /// A product on a register that may have been touched since the last fence: by another product, or else (`none`).
  struct Unfenced {
    uint32_t product = 0, reg = 0, by = none;
  };
  std::vector<Pending> pending;   ///< by instruction, ascending
  std::vector<Unfenced> unfenced; ///< by product, ascending
};

bool is_product(const Instruction& i);
ProductHazards find_product_hazards(const Function& function, const Cfg& cfg);
/// Registers that an instruction touches by itself: none for the instructions of the wgmma family.
std::vector<uint32_t> touched_registers(const Function& function, const Instruction& i);

} // namespace tilejit::runtime::simulator
