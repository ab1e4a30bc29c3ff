// ptx.h - level 3 to PTX: MLIR's LLVM dialect -> LLVM IR -> a short list of LLVM's passes -> NVPTX.
#pragma once
#include "compiler/compile.h"
#include "compiler/target/target.h"

#include <string>
#include <vector>

namespace mlir {
class ModuleOp;
}

namespace tilejit::ptx {

/// PTX text for the module's kernels. Appends what each step took to `stages`. Throws CompileError where LLVM can't
/// select an instruction for the target.
std::string to_ptx(mlir::ModuleOp module, const Target& target, const CompileOptions& options,
                   std::vector<StageTime>& stages);

/// The LLVM IR after LLVM's passes.
std::string to_llvm_ir(mlir::ModuleOp module, const Target& target, const CompileOptions& options);

} // namespace tilejit::ptx
