// passes.h - every pass of the compiler, in the order in which compiler/pipeline.cpp runs them. What a pass does and
// why it stands where it does is said at the head of its .cpp.
#pragma once
#include <memory>

namespace mlir {
class Pass;
}

namespace tilejit::passes {

std::unique_ptr<mlir::Pass> create_place();       ///< place.cpp: level 1 -> level 2, a layout for every tile
std::unique_ptr<mlir::Pass> create_stage_loads(); ///< stage_loads.cpp: operands through shared memory, cp.async rings
std::unique_ptr<mlir::Pass> create_lower_conversions(); ///< lower_conversions.cpp: the rest through shared memory
std::unique_ptr<mlir::Pass> create_allocate_shared();   ///< allocate_shared.cpp: offsets by liveness
std::unique_ptr<mlir::Pass> create_insert_barriers();   ///< insert_barriers.cpp: barriers by need
std::unique_ptr<mlir::Pass> create_to_llvm();           ///< to_llvm/: level 2 -> LLVM and NVVM dialects

/// Level 1 -> level 2, over one kernel, in this order. The pipeline runs them and `tilejit opt` knows them by name.
inline constexpr std::unique_ptr<mlir::Pass> (*kernel_passes[])() = {
    create_place, create_stage_loads, create_lower_conversions, create_allocate_shared, create_insert_barriers};

} // namespace tilejit::passes
