// lower-conversions: what must cross threads through shared memory gets its shared memory.
//
// Stands after `stage-loads`, which took the conversions that an asynchronous copy serves better, and before
// `allocate-shared`, which needs to see every shared tile. A `tile.convert` that neither renaming, selects nor shuffles
// can do becomes a store to and a load from a tile that suits both sides; a reduction across warps gets its scratch.
//
// After it every remaining `tile.convert` stays within a warp. Barriers are not its business: `insert-barriers` sees
// the new stores and loads.
#include "compiler/layout/questions.h"
#include "compiler/layout/shared_memory.h"
#include "compiler/passes/pass.h"
#include "compiler/passes/transfer.h"

using namespace mlir;
using namespace tilejit::tile;

namespace tilejit::passes {
namespace {

void lower(ConvertOp convert) {
  const layout::Layout& from = layout_of(convert.getSource()).getValue();
  const layout::Layout& to = layout_of(convert.getResult()).getValue();
  RankedTensorType type = convert.getType();
  unsigned bits = element_bits(type.getElementType());
  if (layout::convert(from, to, bits).kind != layout::Conversion::memory) return;
  OpBuilder builder(convert);
  auto shared =
      SharedType::get(type.getContext(), type.getShape(), type.getElementType(), transfer_tile(from, to, bits), 1);
  Value tile = AllocOp::create(builder, convert.getLoc(), shared, IntegerAttr());
  SharedStoreOp::create(builder, convert.getLoc(), convert.getSource(), tile);
  convert.getResult().replaceAllUsesWith(SharedLoadOp::create(builder, convert.getLoc(), type, tile));
  convert.erase();
}

void lower(ReduceOp reduce) {
  if (!reduce.getScratch().empty()) return;
  std::optional<layout::Reduction> plan =
      layout::plan_reduction(layout_of(reduce.getSources()[0]).getValue(), reduce.getAxis());
  if (!plan)
    throw CompileError("a reduction's source has a layout that mixes dims: " +
                       layout_of(reduce.getSources()[0]).getValue().str());
  if (plan->warps == 1) return;
  OpBuilder builder(reduce);
  SmallVector<Value> tiles;
  for (Value source : reduce.getSources()) {
    auto type = cast<RankedTensorType>(source.getType());
    SmallVector<int64_t> shape(type.getShape());
    shape[reduce.getAxis()] = plan->warps;
    layout::Layout tile = transfer_tile(plan->partial, plan->gathered, element_bits(type.getElementType()));
    auto shared = SharedType::get(type.getContext(), shape, type.getElementType(), tile, 1);
    tiles.push_back(AllocOp::create(builder, reduce.getLoc(), shared, IntegerAttr()));
  }
  reduce.getScratchMutable().assign(tiles);
}

struct LowerConversions : KernelPass<LowerConversions> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(LowerConversions)
  StringRef getArgument() const final { return "lower-conversions"; }
  StringRef getDescription() const final { return "conversions and reductions across warps through shared memory"; }
  void run(func::FuncOp kernel) {
    kernel.walk([](ConvertOp convert) { lower(convert); });
    kernel.walk([](ReduceOp reduce) { lower(reduce); });
  }
};

} // namespace

std::unique_ptr<Pass> create_lower_conversions() { return std::make_unique<LowerConversions>(); }

} // namespace tilejit::passes
