// insert-barriers: barriers exactly where one warp could touch memory that another has not finished with.
//
// Stands after `allocate-shared`: whether two accesses collide depends on the bytes, since tiles share memory over
// time. The pass follows the program with the set of accesses since the last barrier; an op that would read what was
// written, or write what was read or written, gets a barrier in front. A loop's body is followed again with what its
// end leaves open, until nothing changes. Two accesses to one ring never collide here: `stage-loads` ordered them by
// its own waits and barrier.
//
// A view that the kernel both reads and writes is such memory, too: what a block stores it loads again, whichever
// threads do it. Two accesses to one view collide unless each thread touches the same elements in both. Different views
// are taken to be different memory, and what other blocks do is not ordered at all.
//
// After it a block has no race on shared memory, nor on a view, by construction. Scalars are the same in all threads of
// a block, so a barrier inside control flow is met by all.
#include "compiler/passes/access.h"
#include "compiler/passes/pass.h"
#include "compiler/passes/shared_tiles.h"

#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace tilejit::tile;

namespace tilejit::passes {
namespace {

// An access to a shared tile, or to the elements of a view.
struct Access {
  Operation* op; // the tile's tile.alloc, or the view's load or store
  enum Kind : unsigned { read, write, read_last_turn, write_last_turn } kind;
  bool writes() const { return kind & 1; }
};

// Accesses since the last barrier.
struct Pending {
  llvm::SmallSetVector<std::pair<Operation*, unsigned>, 8> accesses;

  void add(const Access& access) { accesses.insert({access.op, access.kind}); }
  void join(const Pending& other) { accesses.insert(other.accesses.begin(), other.accesses.end()); }
  // At the end of a loop's body: its indices have other values in the next turn.
  void join_last_turn(const Pending& body, scf::ForOp loop) {
    for (auto [op, kind] : body.accesses)
      accesses.insert({op, !isa<AllocOp>(op) && loop->isAncestor(op) ? kind | Access::read_last_turn : kind});
  }
};

bool collide(AllocOp a, AllocOp b) {
  if (a == b) return a.getType().getSlots() == 1;
  uint64_t a_begin = *a.getOffset(), b_begin = *b.getOffset();
  return a_begin < b_begin + b.getType().getBytes() && b_begin < a_begin + a.getType().getBytes();
}

// A load or store of a view, in one form.
struct ViewAccess {
  Value view;
  ValueRange indices;
  ArrayRef<int32_t> dims;
  LayoutAttr layout;

  explicit ViewAccess(Operation* op) {
    if (auto load = dyn_cast<LoadOp>(op))
      view = load.getView(), indices = load.getIndices(), dims = load.getDims(), layout = layout_of(load.getResult());
    else if (auto store = dyn_cast<StoreOp>(op))
      view = store.getView(), indices = store.getIndices(), dims = store.getDims(),
      layout = layout_of(store.getValue());
  }
  bool same_elements_in_each_thread(const ViewAccess& other) const {
    return layout == other.layout && layout.getValue().injective() && dims == other.dims &&
           llvm::equal(indices, other.indices);
  }
};

bool collide(const Access& before, const Access& now) {
  if (!before.writes() && !now.writes()) return false;
  auto a = dyn_cast<AllocOp>(before.op), b = dyn_cast<AllocOp>(now.op);
  if (a || b) return a && b && collide(a, b);
  ViewAccess x(before.op), y(now.op);
  return x.view == y.view && (before.kind >= Access::read_last_turn || !x.same_elements_in_each_thread(y));
}

bool needs_barrier(const Pending& pending, const Access& access) {
  return llvm::any_of(pending.accesses,
                      [&](auto& before) { return collide({before.first, Access::Kind(before.second)}, access); });
}

// What the op itself touches (not its regions).
SmallVector<Access> accesses_of(Operation* op) {
  SmallVector<Access> accesses;
  for (const SharedAccess& access : shared_accesses(op))
    accesses.push_back({access.allocation, access.write ? Access::write : Access::read});
  if (isa<LoadOp, StoreOp>(op) && is_written(ViewAccess(op).view))
    accesses.push_back({op, isa<StoreOp>(op) ? Access::write : Access::read});
  return accesses;
}

void follow(Block& block, Pending& pending);

void follow(Operation* op, Pending& pending) {
  if (isa<BarrierOp>(op)) return pending.accesses.clear();
  if (auto loop = dyn_cast<scf::ForOp>(op)) {
    // The body may not run at all, or after itself.
    for (size_t before = ~size_t(0); before != pending.accesses.size();) {
      before = pending.accesses.size();
      Pending body = pending;
      follow(*loop.getBody(), body);
      pending.join_last_turn(body, loop);
    }
    return;
  }
  if (op->getNumRegions() && !isa<ReduceOp>(op)) {
    Pending after = pending; // a region that is not taken
    for (Region& region : op->getRegions()) {
      Pending inside = pending;
      for (Block& block : region) follow(block, inside);
      after.join(inside);
    }
    pending = after;
    return;
  }
  SmallVector<Access> accesses = accesses_of(op);
  if (llvm::any_of(accesses, [&](const Access& access) { return needs_barrier(pending, access); })) {
    OpBuilder builder(op);
    BarrierOp::create(builder, op->getLoc());
    pending.accesses.clear();
  }
  if (isa<ReduceOp>(op) && !accesses.empty()) { // writes its scratch, meets, reads it
    pending.accesses.clear();
    for (Access& access : accesses) access.kind = Access::read;
  }
  for (const Access& access : accesses) pending.add(access);
}

void follow(Block& block, Pending& pending) {
  for (Operation& op : llvm::make_early_inc_range(block)) follow(&op, pending);
}

struct InsertBarriers : KernelPass<InsertBarriers> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(InsertBarriers)
  StringRef getArgument() const final { return "insert-barriers"; }
  StringRef getDescription() const final { return "barriers where memory changes hands between threads"; }
  void run(func::FuncOp kernel) {
    Pending pending;
    follow(kernel.front(), pending);
  }
};

} // namespace

std::unique_ptr<Pass> create_insert_barriers() { return std::make_unique<InsertBarriers>(); }

} // namespace tilejit::passes
