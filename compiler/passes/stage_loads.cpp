// stage-loads: operands of matrix products come through shared memory, copied there while earlier tiles are in use.
//
// Stands after `place`, which left `load -> (transpose) -> convert -> dot` wherever a loaded tile is an operand, and
// before `lower-conversions`, which would take each such conversion through registers and shared memory with a full
// stop. Here the load becomes an asynchronous copy (cp.async) into shared memory, from which the product reads its
// fragments:
//
//   in a loop     a ring of `tile.stages` slots. Copies for the first stages-1 iterations start before the loop; each
//                 iteration waits for its own slot, meets the other warps once, starts the copy for stages-1 iterations
//                 ahead into the slot that was read last, and works. Copies past the end are switched off, their empty
//                 groups keep the count of pending groups constant. The one barrier serves both sides: the slot's data
//                 is visible, and the slot to be overwritten is no longer read.
//   elsewhere     one slot; copied where the load stood, waited for before its first use.
//
// A load keeps its registers where something else than a product uses it, where it is masked, where the kernel also
// writes to its view (a copy ahead would miss what is stored meanwhile), where its elements are too scattered for a
// copy of 4 bytes, or where the target has no asynchronous copies.
//
// After it: a product's operand is a tile in operand layout or a shared tile. Rings are read and written only under
// this protocol, so `insert-barriers` leaves them alone.
#include "compiler/layout/questions.h"
#include "compiler/passes/access.h"
#include "compiler/passes/pass.h"
#include "compiler/passes/transfer.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace tilejit::tile;
using tilejit::layout::Layout;

namespace tilejit::passes {
namespace {

// Words of a thread that a loop's tiles may take, its loop-invariant operands included, before such an operand is read
// from shared memory in every iteration instead. The rest of 255 is for addresses, fragments and row statistics.
constexpr unsigned register_budget = 168;

// A load whose every user is `transpose* -> convert -> operand of dot` (or any conversion through shared memory).
struct Staged {
  LoadOp load;
  SmallVector<ConvertOp> converts; // the ends of the chains
  Layout shared;
};

// The layout that `convert`'s result would have as seen from the load: transposes between them undone.
Layout seen_from_load(ConvertOp convert, LoadOp load) {
  Layout layout = layout_of(convert.getResult()).getValue();
  for (Value source = convert.getSource(); source != load.getResult();) {
    Operation* transpose = source.getDefiningOp();
    layout = *operand_layout(transpose, 0, layout);
    source = transpose->getOperand(0);
  }
  return layout;
}

bool collect_converts(Value value, SmallVectorImpl<ConvertOp>& converts) {
  for (Operation* user : value.getUsers()) {
    if (auto transpose = dyn_cast<TransposeOp>(user)) {
      if (!collect_converts(transpose.getResult(), converts)) return false;
    } else if (auto convert = dyn_cast<ConvertOp>(user)) {
      unsigned bits = element_bits(convert.getType().getElementType());
      layout::Conversion way =
          layout::convert(layout_of(convert.getSource()).getValue(), layout_of(convert.getResult()).getValue(), bits);
      if (way.kind != layout::Conversion::memory || convert->use_empty()) return false;
      converts.push_back(convert);
    } else {
      return false;
    }
  }
  return !converts.empty();
}

// Pipelining computes an index from the loop's counter in a few more steps than the load does.
constexpr unsigned pipelining_depth = 3;

// Bytes that one lane copies at a time.
unsigned copy_bytes(LoadOp load) {
  ViewType view = load.getView().getType();
  return access_elements(view, load.getIndices(), load.getDims(), load.getType().getShape(),
                         layout_of(load.getResult()).getValue(), pipelining_depth) *
         element_bits(view.getElementType()) / 8;
}

std::optional<Staged> match(LoadOp load) {
  if (load.getMask() || load.getOther() || is_written(load.getView()) || copy_bytes(load) < 4) return std::nullopt;
  Staged staged{load, {}, {}};
  if (!collect_converts(load.getResult(), staged.converts)) return std::nullopt;
  Layout writer = layout_of(load.getResult()).getValue();
  unsigned bits = element_bits(load.getType().getElementType());
  int contiguous = contiguous_tile_dim(load.getView().getType(), load.getDims());
  staged.shared = transfer_tile(writer, seen_from_load(staged.converts.front(), load), bits, contiguous);
  if (!copy_access(writer, staged.shared, contiguous, bits, copy_bytes(load))) return std::nullopt;
  return staged;
}

class Staging {
public:
  explicit Staging(func::FuncOp kernel) : kernel_(kernel), builder_(kernel.getContext()), stages_(stages_of(kernel)) {}

  void run() {
    std::vector<Staged> found;
    kernel_.walk([&](LoadOp load) {
      if (auto staged = match(load)) found.push_back(*staged);
    });
    llvm::MapVector<Operation*, std::vector<Staged>> loops; // innermost loop -> its pipelined loads
    std::vector<Staged> plain;
    for (Staged& staged : found) {
      auto loop = dyn_cast<scf::ForOp>(staged.load->getParentOp());
      if (loop && stages_ > 1 && address_is_known_ahead(staged.load, loop))
        loops[loop].push_back(staged);
      else
        plain.push_back(staged);
    }
    for (auto& [loop, loads] : loops) pipeline(cast<scf::ForOp>(loop), loads);
    copy_in_place(plain);
  }

private:
  // ---- parts ----------------------------------------------------------------------------------------------------

  SharedType shared_type(Staged& staged, unsigned slots) {
    RankedTensorType type = staged.load.getType();
    return SharedType::get(type.getContext(), type.getShape(), type.getElementType(), staged.shared, slots);
  }

  // Allocations live as long as their uses (allocate-shared), so they all stand at the top.
  Value allocate(Staged& staged, unsigned slots) {
    OpBuilder::InsertionGuard guard(builder_);
    builder_.setInsertionPointToStart(&kernel_.front());
    return AllocOp::create(builder_, staged.load.getLoc(), shared_type(staged, slots), IntegerAttr());
  }

  Value constant(Location loc, Type type, int64_t value) {
    return arith::ConstantOp::create(builder_, loc, type, builder_.getIntegerAttr(type, value));
  }

  void copy(LoadOp load, ValueRange indices, Value target, Value enable) {
    CopyAsyncOp::create(builder_, load.getLoc(), load.getView(), indices, target, enable, load.getDimsAttr(),
                        layout_of(load.getResult()));
  }

  // Lets the users of a staged load read `tile` (shared, in the load's shape) instead. A product takes the shared tile
  // itself; any other user, and a product's operand that is worth its registers, a load of it at `at` (null: in place).
  void read_from(Staged& staged, Value tile, Operation* at) {
    for (ConvertOp convert : staged.converts) {
      bool in_registers = at && worth_registers(convert);
      builder_.setInsertionPoint(at ? at : convert); // the tile has landed there
      Value source = transposed_like(convert.getSource(), staged.load, tile);
      for (OpOperand& use : llvm::make_early_inc_range(convert.getResult().getUses())) {
        auto dot = dyn_cast<DotOp>(use.getOwner());
        if (dot && !in_registers && use.getOperandNumber() < 2) use.set(source);
      }
      if (convert.getResult().use_empty()) continue;
      convert.getResult().replaceAllUsesWith(
          SharedLoadOp::create(builder_, convert.getLoc(), convert.getType(), source));
    }
    for (ConvertOp convert : staged.converts) erase_chain(convert, staged.load);
  }

  // `tile` under the transposes that lie between the load and `source`.
  Value transposed_like(Value source, LoadOp load, Value tile) {
    if (source == load.getResult()) return tile;
    auto transpose = cast<TransposeOp>(source.getDefiningOp());
    Value inner = transposed_like(transpose.getSource(), load, tile);
    auto from = cast<SharedType>(inner.getType());
    SmallVector<int> permutation(transpose.getPermutation());
    SmallVector<int64_t> shape;
    for (int dim : permutation) shape.push_back(from.getShape()[dim]);
    auto type = SharedType::get(from.getContext(), shape, from.getElementType(), from.getLayout().permute(permutation),
                                from.getSlots());
    return TransposeOp::create(builder_, transpose.getLoc(), type, inner, transpose.getPermutationAttr());
  }

  void erase_chain(Operation* op, LoadOp load) {
    while (op->use_empty()) {
      Operation* source = op == load ? nullptr : op->getOperand(0).getDefiningOp();
      op->erase();
      if (!source) return;
      op = source;
    }
  }

  // An operand that a loop reads in every iteration is held in registers where the loop's other tiles leave room.
  bool worth_registers(ConvertOp convert) {
    unsigned most = 0, own = words(convert.getType());
    for (Operation* user : convert->getUsers()) {
      if (auto dot = dyn_cast<DotOp>(user)) own = words(convert.getType()) * parts(dot);
      for (auto loop = user->getParentOfType<scf::ForOp>(); loop && !loop->isAncestor(convert);
           loop = loop->getParentOfType<scf::ForOp>()) {
        unsigned carried = 0, inside = 0;
        for (Value value : loop.getRegionIterArgs()) carried += words(value.getType());
        loop.walk([&](DotOp dot) {
          // A product that accumulates into what the loop carries has no registers of its own. Any other's result is
          // held twice: as it is, and as an operand.
          if (llvm::is_contained(loop.getYieldedValues(), dot.getResult())) return;
          unsigned result = words(dot.getType());
          inside = std::max(inside, result + result * element_bits(element(dot)) / 32 * parts(dot));
        });
        most = std::max(most, carried + inside);
      }
    }
    return most != 0 && most + own <= register_budget;
  }

  static Type element(DotOp dot) {
    Type type = dot.getB().getType(); // of a load that was staged before, a shared tile
    auto shared = dyn_cast<SharedType>(type);
    return shared ? shared.getElementType() : cast<RankedTensorType>(type).getElementType();
  }

  // What a product makes of each word of an operand: an f32 that is split gives two.
  static unsigned parts(DotOp dot) { return element(dot).isF32() && dot.getPrecision() == Precision::tf32x3 ? 2 : 1; }

  static unsigned words(Type type) {
    LayoutAttr layout = layout_of(type);
    if (!layout) return 1;
    unsigned bits = element_bits(cast<RankedTensorType>(type).getElementType());
    return (layout.getValue().count(layout::Axis::reg) * bits + 31) / 32;
  }

  // ---- loops ----------------------------------------------------------------------------------------------------

  // True where the load's indices in a later iteration can be computed now: from the counter and from values outside.
  static bool address_is_known_ahead(LoadOp load, scf::ForOp loop) {
    SmallVector<Value> todo(load.getIndices());
    while (!todo.empty()) {
      Value value = todo.pop_back_val();
      if (value == loop.getInductionVar() || loop.isDefinedOutsideOfLoop(value)) continue;
      Operation* op = value.getDefiningOp();
      if (!op || !isMemoryEffectFree(op) || op->getNumRegions()) return false;
      todo.append(op->operand_begin(), op->operand_end());
    }
    return true;
  }

  // The load's indices as they are where the counter has the value `counter`.
  SmallVector<Value> indices_at(LoadOp load, scf::ForOp loop, Value counter) {
    IRMapping mapping;
    mapping.map(loop.getInductionVar(), counter);
    SmallVector<Value> indices;
    for (Value index : load.getIndices()) indices.push_back(clone_into(index, loop, mapping));
    return indices;
  }

  Value clone_into(Value value, scf::ForOp loop, IRMapping& mapping) {
    if (Value known = mapping.lookupOrNull(value)) return known;
    if (loop.isDefinedOutsideOfLoop(value)) return value;
    Operation* op = value.getDefiningOp();
    for (Value operand : op->getOperands()) mapping.map(operand, clone_into(operand, loop, mapping));
    builder_.clone(*op, mapping);
    return mapping.lookup(value);
  }

  Value counter_after(scf::ForOp loop, Value counter, int64_t iterations) {
    if (iterations == 0) return counter;
    Location loc = loop.getLoc();
    Value steps = constant(loc, loop.getStep().getType(), iterations);
    Value distance = arith::MulIOp::create(builder_, loc, loop.getStep(), steps);
    return arith::AddIOp::create(builder_, loc, counter, distance);
  }

  void start_copies(MutableArrayRef<Staged> loads, ArrayRef<Value> rings, scf::ForOp loop, Value counter, Value slot) {
    Value enable =
        arith::CmpIOp::create(builder_, loop.getLoc(), arith::CmpIPredicate::slt, counter, loop.getUpperBound());
    for (auto [staged, ring] : llvm::zip(loads, rings)) {
      LoadOp load = staged.load;
      SmallVector<Value> indices = indices_at(load, loop, counter);
      Value target = SlotOp::create(builder_, load.getLoc(), shared_type(staged, 1), ring, slot);
      copy(load, indices, target, enable);
    }
    CommitOp::create(builder_, loop.getLoc());
  }

  void pipeline(scf::ForOp loop, MutableArrayRef<Staged> loads) {
    Location loc = loop.getLoc();
    Type i32 = builder_.getI32Type();
    SmallVector<Value> rings;
    for (Staged& staged : loads) rings.push_back(allocate(staged, stages_));

    builder_.setInsertionPoint(loop);
    for (unsigned s = 0; s + 1 < stages_; ++s)
      start_copies(loads, rings, loop, counter_after(loop, loop.getLowerBound(), s), constant(loc, i32, s));

    // Two more carried values: the slot to read and the slot to fill, both counted round the ring.
    Value first[] = {constant(loc, i32, 0), constant(loc, i32, stages_ - 1)};
    loop = cast<scf::ForOp>(*loop.replaceWithAdditionalYields(
        rewriter_, first, /*replaceInitOperandUsesInLoop=*/false,
        [&](OpBuilder& builder, Location where, ArrayRef<BlockArgument> arguments) {
          SmallVector<Value> next;
          for (Value slot : arguments) {
            auto number = [&](int64_t value) {
              return arith::ConstantOp::create(builder, where, builder.getI32IntegerAttr(value)).getResult();
            };
            Value up = arith::AddIOp::create(builder, where, slot, number(1));
            Value wrap = arith::CmpIOp::create(builder, where, arith::CmpIPredicate::eq, up, number(stages_));
            next.push_back(arith::SelectOp::create(builder, where, wrap, number(0), up));
          }
          return next;
        }));
    Value read = loop.getRegionIterArgs()[loop.getNumRegionIterArgs() - 2];
    Value fill = loop.getRegionIterArgs().back();

    builder_.setInsertionPointToStart(loop.getBody());
    WaitOp::create(builder_, loc, stages_ - 2);
    BarrierOp::create(builder_, loc);
    start_copies(loads, rings, loop, counter_after(loop, loop.getInductionVar(), stages_ - 1), fill);
    for (auto [staged, ring] : llvm::zip(loads, rings)) {
      builder_.setInsertionPoint(staged.load);
      Value tile = SlotOp::create(builder_, staged.load.getLoc(), shared_type(staged, 1), ring, read);
      read_from(staged, tile, nullptr);
    }
  }

  // ---- elsewhere ------------------------------------------------------------------------------------------------

  // The first op of the load's block that uses it, or holds one that does.
  static Operation* first_use(Staged& staged) {
    Block* block = staged.load->getBlock();
    Operation* first = nullptr;
    for (ConvertOp convert : staged.converts)
      for (Operation* user : convert->getUsers()) {
        Operation* here = block->findAncestorOpInBlock(*user);
        if (!first || here->isBeforeInBlock(first)) first = here;
      }
    return first;
  }

  // Groups committed between two ops of a block: those that may stay in flight when the older one must have landed.
  static unsigned commits_between(Operation* from, Operation* to) {
    unsigned commits = 0;
    for (Operation* op = from->getNextNode(); op != to; op = op->getNextNode()) {
      if (isa<CommitOp>(op))
        ++commits;
      else if (op->getNumRegions() && op->walk([](CommitOp) { return WalkResult::interrupt(); }).wasInterrupted())
        commits = 0; // unknown: a loop that commits also waits; take none as in flight
    }
    return commits;
  }

  void copy_in_place(MutableArrayRef<Staged> loads) {
    // First all copies, each where its load stands, then the waits: so that a wait can count the groups behind it.
    SmallVector<std::pair<Value, Operation*>> copied; // shared tile, its commit
    for (Staged& staged : loads) {
      Value tile = allocate(staged, 1);
      builder_.setInsertionPoint(staged.load);
      copy(staged.load, staged.load.getIndices(), tile, constant(staged.load.getLoc(), builder_.getI1Type(), 1));
      copied.push_back({tile, CommitOp::create(builder_, staged.load.getLoc())});
    }
    // Loads that are first used at one place share its wait.
    llvm::MapVector<Operation*, SmallVector<size_t>> users;
    for (auto [i, staged] : llvm::enumerate(loads)) users[first_use(staged)].push_back(i);
    for (auto& [user, members] : users) {
      unsigned pending = ~0u;
      for (size_t i : members) pending = std::min(pending, commits_between(copied[i].second, user));
      builder_.setInsertionPoint(user);
      WaitOp::create(builder_, loads[members.front()].load.getLoc(), pending);
      BarrierOp::create(builder_, loads[members.front()].load.getLoc());
      for (size_t i : members) read_from(loads[i], copied[i].first, user);
    }
  }

  func::FuncOp kernel_;
  OpBuilder builder_;
  IRRewriter rewriter_{kernel_.getContext()};
  unsigned stages_;
};

struct StageLoads : KernelPass<StageLoads> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(StageLoads)
  StringRef getArgument() const final { return "stage-loads"; }
  StringRef getDescription() const final { return "operands of products through shared memory, ahead of their use"; }
  void run(func::FuncOp kernel) {
    if (target_of(kernel).has_cp_async) Staging(kernel).run();
  }
};

} // namespace

std::unique_ptr<Pass> create_stage_loads() { return std::make_unique<StageLoads>(); }

} // namespace tilejit::passes
