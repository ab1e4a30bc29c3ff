#include "compiler/target/target.h"

namespace tilejit {

// Shared-memory sizes: CUDA C++ Programming Guide, table "Technical Specifications per Compute Capability".
static constexpr Target table[] = {
    {.name = "sm_80", .ptx = "+ptx70", .max_shared_bytes = 163 * 1024, .has_wgmma = false, .has_tma = false},
    {.name = "sm_90a", .ptx = "+ptx80", .max_shared_bytes = 227 * 1024, .has_wgmma = true, .has_tma = true},
};

std::span<const Target> targets() { return table; }

const Target* find_target(std::string_view name) {
  for (const Target& target : table)
    if (target.name == name) return &target;
  return nullptr;
}

} // namespace tilejit
