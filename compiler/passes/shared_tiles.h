// shared_tiles.h - which op touches which shared tile: what allocation and barrier insertion both need to know.
#pragma once
#include "compiler/dialect/dialect.h"

namespace tilejit::passes {

/// The allocation behind a shared tile: through slots and transposes.
inline tile::AllocOp allocation_of(mlir::Value shared) {
  mlir::Operation* op = shared.getDefiningOp();
  while (op && !llvm::isa<tile::AllocOp>(op)) op = op->getOperand(0).getDefiningOp();
  return llvm::cast<tile::AllocOp>(op);
}

/// True for the ops that only name a part or a view of a tile.
inline bool is_view_of_shared(mlir::Operation* op) {
  return llvm::isa<tile::SlotOp>(op) ||
         (llvm::isa<tile::TransposeOp>(op) && llvm::isa<tile::SharedType>(op->getResult(0).getType()));
}

/// One op's access to the memory of one allocation.
struct SharedAccess {
  tile::AllocOp allocation;
  bool write;
};

/// All accesses of an op, itself only (not its regions).
inline llvm::SmallVector<SharedAccess> shared_accesses(mlir::Operation* op) {
  llvm::SmallVector<SharedAccess> accesses;
  if (is_view_of_shared(op)) return accesses;
  for (mlir::OpOperand& operand : op->getOpOperands()) {
    if (!llvm::isa<tile::SharedType>(operand.get().getType())) continue;
    bool write = llvm::isa<tile::SharedStoreOp, tile::CopyAsyncOp, tile::ReduceOp>(op);
    accesses.push_back({allocation_of(operand.get()), write});
  }
  return accesses;
}

} // namespace tilejit::passes
