// insert-barriers: barriers exactly where one warp could touch shared memory that another has not finished with.
//
// Stands after `allocate-shared`: whether two accesses collide depends on the bytes, since tiles share memory over
// time. The pass follows the program with the set of accesses since the last barrier; an op that would read what was
// written, or write what was read or written, gets a barrier in front. A loop's body is followed again with what its
// end leaves open, until nothing changes. Two accesses to one ring never collide here: `stage-loads` ordered them by
// its own waits and barrier.
//
// After it the program is free of races on shared memory by construction. Scalars are the same in all threads of a
// block, so a barrier inside control flow is met by all.
#include "compiler/passes/pass.h"
#include "compiler/passes/shared_tiles.h"

#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace tilejit::tile;

namespace tilejit::passes {
namespace {

// Accesses since the last barrier, by allocation.
struct Pending {
  llvm::SmallSetVector<Operation*, 8> read, written;
  void clear() { read.clear(), written.clear(); }
  void join(const Pending& other) {
    read.insert(other.read.begin(), other.read.end());
    written.insert(other.written.begin(), other.written.end());
  }
  void add(const SharedAccess& access) { (access.write ? written : read).insert(access.allocation); }
  size_t size() const { return read.size() + written.size(); }
};

bool collide(AllocOp a, AllocOp b) {
  if (a == b) return a.getType().getSlots() == 1;
  uint64_t a_begin = *a.getOffset(), b_begin = *b.getOffset();
  return a_begin < b_begin + b.getType().getBytes() && b_begin < a_begin + a.getType().getBytes();
}

bool needs_barrier(const Pending& pending, const SharedAccess& access) {
  auto hits = [&](const auto& set) {
    return llvm::any_of(set, [&](Operation* op) { return collide(cast<AllocOp>(op), access.allocation); });
  };
  return hits(pending.written) || (access.write && hits(pending.read));
}

void follow(Block& block, Pending& pending);

void follow(Operation* op, Pending& pending) {
  if (isa<BarrierOp>(op)) return pending.clear();
  if (auto loop = dyn_cast<scf::ForOp>(op)) {
    // The body may not run at all, or after itself.
    for (size_t before = ~size_t(0); before != pending.size();) {
      before = pending.size();
      Pending body = pending;
      follow(*loop.getBody(), body);
      pending.join(body);
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
  SmallVector<SharedAccess> accesses = shared_accesses(op);
  if (llvm::any_of(accesses, [&](const SharedAccess& access) { return needs_barrier(pending, access); })) {
    OpBuilder builder(op);
    BarrierOp::create(builder, op->getLoc());
    pending.clear();
  }
  if (isa<ReduceOp>(op) && !accesses.empty()) { // writes its scratch, meets, reads it
    pending.clear();
    for (SharedAccess access : accesses) pending.add({access.allocation, false});
    return;
  }
  for (const SharedAccess& access : accesses) pending.add(access);
}

void follow(Block& block, Pending& pending) {
  for (Operation& op : llvm::make_early_inc_range(block)) follow(&op, pending);
}

struct InsertBarriers : KernelPass<InsertBarriers> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(InsertBarriers)
  StringRef getArgument() const final { return "insert-barriers"; }
  StringRef getDescription() const final { return "barriers where shared memory changes hands"; }
  void run(func::FuncOp kernel) {
    Pending pending;
    follow(kernel.front(), pending);
  }
};

} // namespace

std::unique_ptr<Pass> create_insert_barriers() { return std::make_unique<InsertBarriers>(); }

} // namespace tilejit::passes
