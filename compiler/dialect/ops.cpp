// ops.cpp - what each op of the tile dialect demands: the executable part of the specification in tile.td.
#include "compiler/dialect/dialect.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;

#define GET_OP_CLASSES
#include "compiler/dialect/TileOps.cpp.inc"

namespace tilejit::tile {

// The shape of a tile or of a shared tile.
static ArrayRef<int64_t> shape_of(Type type) {
  if (auto shared = dyn_cast<SharedType>(type)) return shared.getShape();
  return cast<RankedTensorType>(type).getShape();
}
static Type element_of(Type type) {
  if (auto shared = dyn_cast<SharedType>(type)) return shared.getElementType();
  return cast<RankedTensorType>(type).getElementType();
}

LogicalResult ProgramIdOp::verify() {
  if (getAxis() > 2) return emitOpError() << "axis must be 0, 1 or 2, not " << getAxis();
  return success();
}

LogicalResult SizeOp::verify() {
  if (getDim() >= getView().getType().getRank())
    return emitOpError() << "dim " << getDim() << " of " << getView().getType();
  return success();
}

OpFoldResult SizeOp::fold(FoldAdaptor) {
  int64_t size = getView().getType().getShape()[getDim()];
  if (ShapedType::isDynamic(size)) return {};
  return IntegerAttr::get(getType(), size);
}

LogicalResult IotaOp::verify() {
  if (getType().getRank() != 1 || !getType().getElementType().isInteger(32))
    return emitOpError() << "makes a tile of one dim of i32, not " << getType();
  return success();
}

LogicalResult SplatOp::verify() {
  if (getScalar().getType() != getType().getElementType())
    return emitOpError() << "of " << getScalar().getType() << " can't make " << getType();
  return success();
}

LogicalResult ToScalarOp::verify() {
  if (getSource().getType().getRank() != 0 || getScalar().getType() != getSource().getType().getElementType())
    return emitOpError() << "of " << getSource().getType() << " can't make " << getScalar().getType();
  return success();
}

LogicalResult ExpandDimsOp::verify() {
  SmallVector<int64_t> shape(shape_of(getSource().getType()));
  if (getDim() > shape.size()) return emitOpError() << "dim " << getDim() << " of " << getSource().getType();
  shape.insert(shape.begin() + getDim(), 1);
  if (shape_of(getType()) != ArrayRef<int64_t>(shape))
    return emitOpError() << "of " << getSource().getType() << " at dim " << getDim() << " is not " << getType();
  return success();
}

LogicalResult BroadcastOp::verify() {
  ArrayRef<int64_t> from = shape_of(getSource().getType()), to = shape_of(getType());
  bool fits = from.size() == to.size() && element_of(getSource().getType()) == element_of(getType());
  for (size_t d = 0; fits && d < from.size(); ++d) fits = from[d] == to[d] || from[d] == 1;
  if (!fits) return emitOpError() << getSource().getType() << " does not broadcast to " << getType();
  return success();
}

LogicalResult TransposeOp::verify() {
  ArrayRef<int64_t> from = shape_of(getSource().getType()), to = shape_of(getResult().getType());
  ArrayRef<int32_t> permutation = getPermutation();
  bool fits = from.size() == to.size() && permutation.size() == from.size();
  SmallVector<bool> seen(from.size());
  for (size_t d = 0; fits && d < from.size(); ++d) {
    int32_t p = permutation[d];
    fits = p >= 0 && p < int32_t(from.size()) && !seen[p] && to[d] == from[p];
    if (fits) seen[p] = true;
  }
  if (!fits || isa<SharedType>(getSource().getType()) != isa<SharedType>(getResult().getType()))
    return emitOpError() << getSource().getType() << " does not transpose to " << getResult().getType();
  return success();
}

LogicalResult ReduceOp::verify() {
  size_t n = getSources().size();
  Block& block = getCombine().front();
  if (n == 0 || getResults().size() != n || block.getNumArguments() != 2 * n)
    return emitOpError() << "takes n tiles, gives n tiles and combines 2n scalars";
  ArrayRef<int64_t> first = shape_of(getSources()[0].getType());
  if (getAxis() >= first.size()) return emitOpError() << "axis " << getAxis() << " of " << getSources()[0].getType();
  SmallVector<int64_t> shape(first);
  shape.erase(shape.begin() + getAxis());
  for (size_t t = 0; t < n; ++t) {
    Type element = element_of(getSources()[t].getType());
    if (shape_of(getSources()[t].getType()) != first ||
        shape_of(getResults()[t].getType()) != ArrayRef<int64_t>(shape) ||
        element_of(getResults()[t].getType()) != element || block.getArgument(t).getType() != element ||
        block.getArgument(n + t).getType() != element)
      return emitOpError() << "operand " << t << ": " << getSources()[t].getType() << " to "
                           << getResults()[t].getType();
  }
  auto yield = dyn_cast<YieldOp>(block.getTerminator());
  if (!yield || yield.getValues().size() != n) return emitOpError() << "must yield " << n << " values";
  for (size_t t = 0; t < n; ++t)
    if (yield.getValues()[t].getType() != element_of(getSources()[t].getType()))
      return emitOpError() << "must yield a " << element_of(getSources()[t].getType()) << " for operand " << t;
  return success();
}

void ReduceOp::getEffects(SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>& effects) {
  if (getScratch().empty()) return;
  effects.emplace_back(MemoryEffects::Read::get());
  effects.emplace_back(MemoryEffects::Write::get());
}

LogicalResult DotOp::verify() {
  ArrayRef<int64_t> a = shape_of(getA().getType()), b = shape_of(getB().getType()), c = shape_of(getType());
  if (a.size() != 2 || b.size() != 2 || c.size() != 2 || a[1] != b[0] || a[0] != c[0] || b[1] != c[1])
    return emitOpError() << "shapes do not fit: " << getA().getType() << " times " << getB().getType() << " into "
                         << getType();
  Type element = element_of(getA().getType());
  if (element_of(getB().getType()) != element || !(element.isBF16() || element.isF16() || element.isF32()))
    return emitOpError() << "operands are both bf16, f16 or f32, not " << element << " and "
                         << element_of(getB().getType());
  if (getAcc().getType() != getType() || !element_of(getType()).isF32())
    return emitOpError() << "accumulates in f32, in the type of acc";
  int64_t step = element.isF32() ? 8 : 16;
  if (a[0] % 16 || b[1] % 8 || a[1] % step)
    return emitOpError() << "needs M a multiple of 16, N of 8 and K of " << step << ", not " << a[0] << ", " << b[1]
                         << ", " << a[1];
  return success();
}

// What load, store and copy_async share: one index a view dim, one view dim a tile dim, equal element types.
static LogicalResult verify_access(Operation* op, ViewType view, size_t indices, ArrayRef<int32_t> dims, Type tile,
                                   Value mask) {
  ArrayRef<int64_t> shape = shape_of(tile);
  if (indices != view.getRank())
    return op->emitOpError() << "needs one index for each of the view's " << view.getRank() << " dims, not " << indices;
  if (dims.size() != shape.size())
    return op->emitOpError() << "needs one view dim for each of the tile's " << shape.size() << " dims";
  SmallVector<bool> seen(view.getRank());
  for (int32_t dim : dims) {
    if (dim < 0 || dim >= int32_t(view.getRank()) || seen[dim])
      return op->emitOpError() << "dims must be distinct dims of the view";
    seen[dim] = true;
  }
  if (element_of(tile) != view.getElementType())
    return op->emitOpError() << "element types differ: " << tile << " and " << view;
  if (mask && (shape_of(mask.getType()) != shape || !element_of(mask.getType()).isInteger(1)))
    return op->emitOpError() << "mask must be an i1 tile of the same shape, not " << mask.getType();
  return success();
}

LogicalResult LoadOp::verify() {
  if (getOther() && getOther().getType() != getType().getElementType())
    return emitOpError() << "other must be a " << getType().getElementType();
  return verify_access(*this, getView().getType(), getIndices().size(), getDims(), getType(), getMask());
}

LogicalResult StoreOp::verify() {
  return verify_access(*this, getView().getType(), getIndices().size(), getDims(), getValue().getType(), getMask());
}

LogicalResult CopyAsyncOp::verify() {
  return verify_access(*this, getView().getType(), getIndices().size(), getDims(), getTarget().getType(), {});
}

// Level 2 ops that move a tile: same shape and element type on both sides, and a layout where a tile is.
static LogicalResult verify_move(Operation* op, Type from, Type to) {
  if (shape_of(from) != shape_of(to) || element_of(from) != element_of(to))
    return op->emitOpError() << "shapes or element types differ: " << from << " and " << to;
  for (Type type : {from, to})
    if (isa<RankedTensorType>(type) && !layout_of(type)) return op->emitOpError() << "needs a layout on " << type;
  return success();
}

LogicalResult ConvertOp::verify() { return verify_move(*this, getSource().getType(), getType()); }
LogicalResult SharedLoadOp::verify() { return verify_move(*this, getSource().getType(), getType()); }
LogicalResult SharedStoreOp::verify() { return verify_move(*this, getValue().getType(), getTarget().getType()); }

OpFoldResult ConvertOp::fold(FoldAdaptor) { return getSource().getType() == getType() ? getSource() : OpFoldResult(); }

LogicalResult SlotOp::verify() {
  SharedType ring = getRing().getType(), slot = getType();
  if (ring.getShape() != slot.getShape() || ring.getElementType() != slot.getElementType() ||
      !(ring.getLayout() == slot.getLayout()) || slot.getSlots() != 1)
    return emitOpError() << "of " << ring << " is not " << slot;
  return success();
}

//===- how layouts pass through ops ---------------------------------------------------------------------------===//

std::optional<layout::Layout> operand_layout(Operation* op, unsigned operand, const layout::Layout& result) {
  if (op->hasTrait<OpTrait::Elementwise>()) return result;
  if (auto broadcast = dyn_cast<BroadcastOp>(op)) {
    layout::Layout source = result;
    ArrayRef<int64_t> from = shape_of(broadcast.getSource().getType()), to = shape_of(broadcast.getType());
    for (size_t d = 0; d < from.size(); ++d)
      if (from[d] != to[d]) source = source.slice_keep(d);
    return source;
  }
  if (auto expand = dyn_cast<ExpandDimsOp>(op)) return result.slice(expand.getDim());
  if (auto transpose = dyn_cast<TransposeOp>(op)) {
    // permute(p)'s dim d is dim p[d] of its layout, as the op has it, so the way back takes the inverse.
    SmallVector<int> inverse(transpose.getPermutation().size());
    for (auto [d, p] : llvm::enumerate(transpose.getPermutation())) inverse[p] = d;
    return result.permute(inverse);
  }
  return std::nullopt;
}

std::optional<layout::Layout> result_layout(Operation* op, const layout::Layout& source) {
  if (op->hasTrait<OpTrait::Elementwise>()) return source;
  if (auto expand = dyn_cast<ExpandDimsOp>(op)) return source.insert(expand.getDim(), 1, layout::Axis::reg);
  if (auto transpose = dyn_cast<TransposeOp>(op)) {
    SmallVector<int> permutation(transpose.getPermutation());
    return source.permute(permutation);
  }
  if (auto reduce = dyn_cast<ReduceOp>(op)) return source.slice(reduce.getAxis());
  return std::nullopt;
}

bool is_free(Operation* op) { return isa<SplatOp, IotaOp>(op) || op->hasTrait<OpTrait::ConstantLike>(); }

} // namespace tilejit::tile
