#include "compiler/passes/access.h"

#include "compiler/layout/questions.h"

#include "mlir/Dialect/SCF/IR/SCF.h"

#include <numeric>

using namespace mlir;
using namespace tilejit::tile;

namespace tilejit::passes {

bool is_written(Value view) {
  return llvm::any_of(view.getUsers(), [](Operation* user) { return isa<StoreOp>(user); });
}

uint32_t index_divisor(Value index, unsigned depth) {
  if (depth > 8) return 1;
  if (auto argument = dyn_cast<BlockArgument>(index)) {
    auto loop = dyn_cast<scf::ForOp>(argument.getOwner()->getParentOp());
    if (!loop || index != loop.getInductionVar()) return 1;
    return std::gcd(index_divisor(loop.getLowerBound(), depth + 1), index_divisor(loop.getStep(), depth + 1));
  }
  Operation* op = index.getDefiningOp();
  if (auto constant = dyn_cast<arith::ConstantOp>(op))
    return uint32_t(std::abs(cast<IntegerAttr>(constant.getValue()).getInt()));
  auto operand = [&](unsigned i) { return index_divisor(op->getOperand(i), depth + 1); };
  if (isa<arith::AddIOp, arith::SubIOp>(op)) return std::gcd(operand(0), operand(1));
  if (isa<arith::SelectOp>(op)) return std::gcd(operand(1), operand(2));
  if (isa<arith::MaxSIOp, arith::MinSIOp>(op)) return std::gcd(operand(0), operand(1));
  if (isa<arith::MulIOp>(op)) {
    uint64_t product = uint64_t(operand(0)) * operand(1);
    return uint32_t(std::min<uint64_t>(product & -product, 1 << 16)); // its powers of two: no access asks for more
  }
  return 1;
}

int contiguous_tile_dim(ViewType view, ArrayRef<int32_t> dims) {
  for (auto [d, dim] : llvm::enumerate(dims))
    if (dim == view.getContiguousDim()) return int(d);
  return -1;
}

bool may_leave(ViewType view, ValueRange indices, ArrayRef<int32_t> dims, ArrayRef<int64_t> shape, int d) {
  int64_t size = view.getShape()[dims[d]];
  auto constant = indices[dims[d]].getDefiningOp<arith::ConstantOp>();
  int64_t index = constant ? cast<IntegerAttr>(constant.getValue()).getInt() : -1;
  return ShapedType::isDynamic(size) || index < 0 || index + shape[d] > size;
}

unsigned access_elements(ViewType view, ValueRange indices, ArrayRef<int32_t> dims, ArrayRef<int64_t> shape,
                         const layout::Layout& layout, unsigned depth) {
  int contiguous = contiguous_tile_dim(view, dims);
  if (contiguous < 0) return 1;
  unsigned dim = dims[contiguous], bits = element_bits(view.getElementType()), bytes = bits / 8;
  uint32_t common = view.getAlign() / std::gcd(view.getAlign(), bytes); // of address, dynamic strides and extent
  common = std::gcd(common, index_divisor(indices[dim], depth));
  int64_t size = view.getShape()[dim];
  if (!ShapedType::isDynamic(size) && may_leave(view, indices, dims, shape, contiguous))
    common = std::gcd<uint32_t>(common, size);
  for (auto [other, stride] : llvm::enumerate(view.getStrides())) {
    if (other == dim || ShapedType::isDynamic(stride)) continue;
    bool moves = index_divisor(indices[other], depth) != 0 || llvm::is_contained(dims, int32_t(other));
    if (moves) common = std::gcd<uint32_t>(common, std::abs(stride));
  }
  return layout::global_vector(layout, contiguous, bits, view.getAlign(), common);
}

std::optional<layout::VectorAccess> copy_access(const layout::Layout& threads, const layout::Layout& shared, int dim,
                                                unsigned bits, unsigned max_bytes) {
  for (unsigned bytes = max_bytes; bytes >= 4 && bytes * 8 >= bits; bytes /= 2) {
    std::optional<layout::VectorAccess> access = layout::vector_access(threads, shared, bits, bytes);
    if (!access || access->elements * bits < 32) return std::nullopt;
    // Shared memory may have another dim's elements side by side: then a narrower run is asked for.
    bool runs = true;
    for (size_t r = 0; runs && r < access->registers.size(); ++r) {
      unsigned e = r % access->elements;
      layout::Coord first = threads.at({.reg = access->registers[r - e]});
      if (dim >= 0) first[dim] += e;
      runs = (dim >= 0 || e == 0) && threads.at({.reg = access->registers[r]}) == first;
    }
    if (runs) return access;
  }
  return std::nullopt;
}

} // namespace tilejit::passes
