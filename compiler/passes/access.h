// access.h - how many elements of a tile in a view may be accessed at once: what loads, stores and asynchronous copies
// share, and what the pass that chooses copies has to know before they are lowered.
#pragma once
#include "compiler/dialect/dialect.h"
#include "compiler/layout/shared_memory.h"

namespace tilejit::passes {

/// Whether the kernel stores to a view.
bool is_written(mlir::Value view);

/// A number that surely divides an index (0: the index is 0), from how it is computed. `depth`: steps already taken of
/// the few that are followed.
uint32_t index_divisor(mlir::Value index, unsigned depth = 0);

/// The tile dim that runs along the view's contiguous dim, or -1.
int contiguous_tile_dim(tile::ViewType view, llvm::ArrayRef<int32_t> dims);

/// Whether elements of tile dim `d` may lie outside the view.
bool may_leave(tile::ViewType view, mlir::ValueRange indices, llvm::ArrayRef<int32_t> dims,
               llvm::ArrayRef<int64_t> shape, int d);

/// Elements that lie side by side in the view, aligned, and inside or outside together, for registers placed by
/// `layout`; 1 where the tile has no contiguous dim.
unsigned access_elements(tile::ViewType view, mlir::ValueRange indices, llvm::ArrayRef<int32_t> dims,
                         llvm::ArrayRef<int64_t> shape, const layout::Layout& layout, unsigned depth = 0);

/// How the registers of `threads` are copied to `shared`: runs of at least 4 and at most `max_bytes` bytes that go
/// along tile dim `dim` on both sides. Null where there are none.
std::optional<layout::VectorAccess> copy_access(const layout::Layout& threads, const layout::Layout& shared, int dim,
                                                unsigned bits, unsigned max_bytes);

} // namespace tilejit::passes
