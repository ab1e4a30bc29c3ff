#include "compiler/opt.h"

#include "compiler/dialect/dialect.h"
#include "compiler/passes/passes.h"

#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"

namespace tilejit {

int opt_main(int argc, char** argv) {
  mlir::DialectRegistry registry;
  tile::register_dialects(registry);
  for (auto create : passes::kernel_passes) mlir::registerPass(create);
  mlir::registerPass(passes::create_to_llvm);
  mlir::registerCSEPass();
  mlir::registerCanonicalizerPass();
  return mlir::failed(mlir::MlirOptMain(argc, argv, "tilejit opt: passes over tile programs\n", registry));
}

} // namespace tilejit
