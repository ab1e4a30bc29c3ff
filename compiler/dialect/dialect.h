// dialect.h - the tile dialect in C++: include this to build or match tile programs. Light: no LLVM dialect, no NVVM.
#pragma once
#include "compiler/layout/layout.h"

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/Hashing.h"

#include <optional>

namespace tilejit::layout {
inline llvm::hash_code hash_value(const Layout& layout) { return layout.hash(); }
} // namespace tilejit::layout

#include "compiler/dialect/TileDialect.h.inc"
#include "compiler/dialect/TileEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "compiler/dialect/TileAttributes.h.inc"
#define GET_TYPEDEF_CLASSES
#include "compiler/dialect/TileTypes.h.inc"
#define GET_OP_CLASSES
#include "compiler/dialect/TileOps.h.inc"

namespace tilejit::tile {

/// The layout of a placed tile; null for a tile of level 1.
inline LayoutAttr layout_of(mlir::Type type) {
  auto tile = llvm::dyn_cast<mlir::RankedTensorType>(type);
  return tile ? llvm::dyn_cast_if_present<LayoutAttr>(tile.getEncoding()) : LayoutAttr();
}
inline LayoutAttr layout_of(mlir::Value value) { return layout_of(value.getType()); }

/// The same shape and element type with another layout (null: none).
inline mlir::RankedTensorType with_layout(mlir::RankedTensorType type, LayoutAttr layout) {
  return mlir::RankedTensorType::get(type.getShape(), type.getElementType(), layout);
}

/// Bits of one element as it lies in memory and registers (i1: 8).
inline unsigned element_bits(mlir::Type element) { return element.isInteger(1) ? 8 : element.getIntOrFloatBitWidth(); }

/// How a layout passes through an op that computes each element of its result from elements of its tile operands that
/// lie in the same thread. `operand_layout`: what tile operand `operand` must have so that the result has `result`
/// without moving data. `result_layout`: what the result then has when tile operand 0 has `source`. Null: the op does
/// not say (dot and memory ops choose their own, the placement pass asks them elsewhere).
std::optional<layout::Layout> operand_layout(mlir::Operation* op, unsigned operand, const layout::Layout& result);
std::optional<layout::Layout> result_layout(mlir::Operation* op, const layout::Layout& source);

/// True for a value that any layout can hold at no cost, since each thread computes its own elements: constants,
/// splats, iota.
bool is_free(mlir::Operation* op);

/// Attributes of a kernel's `func.func`.
inline constexpr llvm::StringLiteral kernel_attr = "tile.kernel"; ///< unit: this function is a kernel
inline constexpr llvm::StringLiteral warps_attr = "tile.warps";   ///< i32: warps of a block
inline constexpr llvm::StringLiteral stages_attr = "tile.stages"; ///< i32: copies in flight + 1 of a loop's loads
inline constexpr llvm::StringLiteral name_attr = "tile.name";     ///< of an argument: the author's name for it
inline constexpr llvm::StringLiteral target_attr = "tile.target"; ///< string: "sm_90a", set when compilation begins
inline constexpr llvm::StringLiteral shared_bytes_attr = "tile.shared_bytes"; ///< i64: set by allocate-shared

/// Registers the dialect and the upstream ones that tile programs use: arith, math, scf, func.
void register_dialects(mlir::DialectRegistry& registry);

} // namespace tilejit::tile
