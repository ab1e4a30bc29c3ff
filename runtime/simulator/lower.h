// lower.h - from a function's instructions to a Program.
#pragma once
#include "runtime/simulator/program.h"

namespace tilejit::runtime::simulator {

/// Decodes `entry` for blocks of `block_shape` threads. `addresses`: by variable of the module, the device addresses of
/// global and constant ones. Throws Error with every instruction that the simulator does not know or cannot run.
std::shared_ptr<const Program> lower(std::shared_ptr<const Module> module, uint32_t entry,
                                     std::array<uint32_t, 3> block_shape, const std::vector<uint64_t>& addresses,
                                     const Instruments& instruments = {});

} // namespace tilejit::runtime::simulator
