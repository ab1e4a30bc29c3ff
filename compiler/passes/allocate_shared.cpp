// allocate-shared: gives every shared tile its offset in the block's dynamic shared memory.
//
// Stands after the passes that make shared tiles and before `insert-barriers`, since two tiles that take turns at the
// same bytes need a barrier between them. A tile lives from the first to the last op that touches it, seen from the
// block in which it is allocated: a ring allocated before a loop lives through the loop, a tile allocated inside it for
// part of an iteration. Largest first, each at the lowest offset that no tile alive at the same time occupies.
//
// After it every `tile.alloc` has `offset`, and the kernel the total as `tile.shared_bytes`, which is within the
// target's limit (else: an error that says how much is asked for).
#include "compiler/passes/pass.h"
#include "compiler/passes/shared_tiles.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace tilejit::tile;

namespace tilejit::passes {
namespace {

struct Lifetime {
  AllocOp allocation;
  unsigned begin, end; // numbers of ops, both alive
  uint64_t bytes, offset = 0;
  bool overlaps(const Lifetime& other) const { return begin <= other.end && other.begin <= end; }
};

// A swizzle repeats every 1024 bytes, and a tile that starts there keeps its banks; small tiles need only vector
// access.
uint64_t alignment(uint64_t bytes) { return bytes >= 1024 ? 1024 : 16; }

struct AllocateShared : KernelPass<AllocateShared> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(AllocateShared)
  StringRef getArgument() const final { return "allocate-shared"; }
  StringRef getDescription() const final { return "offsets of shared tiles, by liveness"; }

  void run(func::FuncOp kernel) {
    // Number ops so that an op's regions lie between its own number and its last.
    llvm::DenseMap<Operation*, std::pair<unsigned, unsigned>> span;
    unsigned count = 0;
    kernel.walk([&](Operation* op, const WalkStage& stage) {
      if (stage.isBeforeAllRegions()) span[op].first = count++;
      if (stage.isAfterAllRegions()) span[op].second = count++;
    });
    std::vector<Lifetime> lifetimes;
    kernel.walk([&](AllocOp allocation) {
      Lifetime lifetime{allocation, ~0u, 0, allocation.getType().getBytes()};
      extend(lifetime, allocation.getResult(), span);
      if (lifetime.begin <= lifetime.end) lifetimes.push_back(lifetime);
    });
    std::stable_sort(lifetimes.begin(), lifetimes.end(),
                     [](const Lifetime& a, const Lifetime& b) { return a.bytes > b.bytes; });
    uint64_t total = 0;
    std::vector<Lifetime*> placed;
    for (Lifetime& lifetime : lifetimes) {
      std::vector<Lifetime*> rivals;
      for (Lifetime* other : placed)
        if (other->overlaps(lifetime)) rivals.push_back(other);
      std::sort(rivals.begin(), rivals.end(), [](auto* a, auto* b) { return a->offset < b->offset; });
      for (Lifetime* rival : rivals) {
        if (lifetime.offset + lifetime.bytes <= rival->offset) break;
        lifetime.offset =
            std::max(lifetime.offset, llvm::alignTo(rival->offset + rival->bytes, alignment(lifetime.bytes)));
      }
      placed.push_back(&lifetime);
      total = std::max(total, lifetime.offset + lifetime.bytes);
      lifetime.allocation.setOffset(lifetime.offset);
    }
    const Target& target = target_of(kernel);
    if (total > target.max_shared_bytes)
      throw CompileError("the kernel needs " + std::to_string(total) + " bytes of shared memory, and " +
                         std::string(target.name) + " has " + std::to_string(target.max_shared_bytes) +
                         " for a block: take smaller tiles or fewer stages");
    kernel->setAttr(shared_bytes_attr, Builder(kernel.getContext()).getI64IntegerAttr(total));
  }

  // The ops of the allocation's block that touch the tile, themselves or in their regions.
  static void extend(Lifetime& lifetime, Value shared,
                     llvm::DenseMap<Operation*, std::pair<unsigned, unsigned>>& span) {
    for (Operation* user : shared.getUsers()) {
      if (is_view_of_shared(user)) {
        extend(lifetime, user->getResult(0), span);
        continue;
      }
      Operation* here = lifetime.allocation->getBlock()->findAncestorOpInBlock(*user);
      lifetime.begin = std::min(lifetime.begin, span[here].first);
      lifetime.end = std::max(lifetime.end, span[here].second);
    }
  }
};

} // namespace

std::unique_ptr<Pass> create_allocate_shared() { return std::make_unique<AllocateShared>(); }

} // namespace tilejit::passes
