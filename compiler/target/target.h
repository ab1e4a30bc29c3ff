// target.h - one table of GPUs: what each can do. The only place that knows an architecture's name; everything else
// asks for a capability.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

namespace tilejit {

struct Target {
  std::string_view name;     ///< "sm_90a", as LLVM and ptxas write it
  std::string_view ptx;      ///< LLVM feature of the lowest PTX version that knows it
  uint32_t max_shared_bytes; ///< dynamic shared memory that one block may ask for
  bool has_cp_async = true;  ///< asynchronous copies global -> shared (sm_80 on)
  bool has_wgmma;
  bool has_tma;
};

std::span<const Target> targets();
/// The target of this name, or null.
const Target* find_target(std::string_view name);

} // namespace tilejit
