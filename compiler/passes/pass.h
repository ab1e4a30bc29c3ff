// pass.h - what the passes over one kernel share: the base class and the facts that stand on the function.
#pragma once
#include "compiler/dialect/dialect.h"
#include "compiler/passes/passes.h"
#include "compiler/program.h"
#include "compiler/target/target.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"

namespace tilejit::passes {

/// Warps of a block; 4 where the kernel does not say.
inline unsigned warps_of(mlir::func::FuncOp kernel) {
  auto warps = kernel->getAttrOfType<mlir::IntegerAttr>(tile::warps_attr);
  return warps ? warps.getInt() : 4;
}

/// How many tiles of a loop's loads are held at a time (2: one in use, one on its way); 2 where the kernel does not
/// say.
inline unsigned stages_of(mlir::func::FuncOp kernel) {
  auto stages = kernel->getAttrOfType<mlir::IntegerAttr>(tile::stages_attr);
  return stages ? stages.getInt() : 2;
}

/// The GPU that is compiled for; sm_90a where the kernel does not say (a program under `tilejit opt`).
inline const Target& target_of(mlir::func::FuncOp kernel) {
  auto name = kernel->getAttrOfType<mlir::StringAttr>(tile::target_attr);
  const Target* target = find_target(name ? std::string_view(name.getValue()) : "sm_90a");
  if (!target) throw CompileError("unknown target '" + name.getValue().str() + "'");
  return *target;
}

/// A pass over each kernel of a module. `Derived::run(kernel)` may throw CompileError; here it becomes a diagnostic.
template <typename Derived>
struct KernelPass : mlir::PassWrapper<Derived, mlir::OperationPass<mlir::func::FuncOp>> {
  void runOnOperation() final {
    mlir::func::FuncOp kernel = this->getOperation();
    if (!kernel->hasAttr(tile::kernel_attr)) return;
    try {
      static_cast<Derived*>(this)->run(kernel);
    } catch (const std::exception& error) {
      kernel.emitError(error.what());
      this->signalPassFailure();
    }
  }
  void getDependentDialects(mlir::DialectRegistry& registry) const override { tile::register_dialects(registry); }
};

} // namespace tilejit::passes
