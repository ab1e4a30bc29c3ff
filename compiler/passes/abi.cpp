#include "compiler/passes/abi.h"

#include "compiler/dialect/dialect.h"
#include "compiler/passes/access.h"
#include "compiler/passes/pass.h"

using namespace mlir;
using namespace tilejit::tile;

namespace tilejit::passes {

static DType dtype_of(Type type) {
  if (type.isBF16()) return DType::bf16;
  if (type.isF16()) return DType::f16;
  if (type.isF32()) return DType::f32;
  if (type.isF64()) return DType::f64;
  if (type.isInteger(1)) return DType::i1;
  if (type.isInteger(8)) return DType::i8;
  if (type.isInteger(32)) return DType::i32;
  if (type.isInteger(64)) return DType::i64;
  throw CompileError("an argument's type has no counterpart in device memory");
}

std::vector<KernelArgument> kernel_arguments(func::FuncOp kernel) {
  std::vector<KernelArgument> arguments;
  auto fixed_or_dynamic = [](int64_t value) { return ShapedType::isDynamic(value) ? dynamic : value; };
  for (auto [i, value] : llvm::enumerate(kernel.getArguments())) {
    KernelArgument& argument = arguments.emplace_back();
    auto name = kernel.getArgAttrOfType<StringAttr>(i, name_attr);
    argument.name = name ? name.str() : "argument " + std::to_string(i);
    auto view = dyn_cast<ViewType>(value.getType());
    argument.is_tensor = bool(view);
    argument.type = dtype_of(view ? view.getElementType() : value.getType());
    if (!view) continue;
    for (int64_t size : view.getShape()) argument.shape.push_back(fixed_or_dynamic(size));
    for (int64_t stride : view.getStrides()) argument.strides.push_back(fixed_or_dynamic(stride));
    argument.align = view.getAlign();
    argument.written = is_written(value);
  }
  return arguments;
}

std::vector<KernelParameter> kernel_parameters(func::FuncOp kernel) {
  std::vector<KernelParameter> parameters;
  for (auto [i, type] : llvm::enumerate(kernel.getArgumentTypes())) {
    uint32_t argument = i;
    auto view = dyn_cast<ViewType>(type);
    if (!view) {
      parameters.push_back({KernelParameter::Kind::scalar, argument, 0});
      continue;
    }
    parameters.push_back({KernelParameter::Kind::pointer, argument, 0});
    for (auto [dim, size] : llvm::enumerate(view.getShape()))
      if (ShapedType::isDynamic(size)) parameters.push_back({KernelParameter::Kind::size, argument, uint32_t(dim)});
    for (auto [dim, stride] : llvm::enumerate(view.getStrides()))
      if (ShapedType::isDynamic(stride)) parameters.push_back({KernelParameter::Kind::stride, argument, uint32_t(dim)});
  }
  return parameters;
}

unsigned kernel_warps(func::FuncOp kernel) { return warps_of(kernel); }

} // namespace tilejit::passes
