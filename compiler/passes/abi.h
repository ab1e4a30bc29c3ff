// abi.h - how a kernel's arguments become parameters of the PTX entry: the one place that the lowering and the launch
// facts both follow.
//
// Argument by argument: a view is its pointer, then its dynamic sizes (i32), then its dynamic strides (i64); a scalar
// is itself.
#pragma once
#include "runtime/compiled_kernel.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <vector>

namespace tilejit::passes {

std::vector<KernelArgument> kernel_arguments(mlir::func::FuncOp kernel);
std::vector<KernelParameter> kernel_parameters(mlir::func::FuncOp kernel);
unsigned kernel_warps(mlir::func::FuncOp kernel); ///< of a block

} // namespace tilejit::passes
