// to-llvm: level 2 -> level 3. One thread's code in the LLVM dialect.
//
// Last of the passes: every tile has its place, every shared tile its bytes, every barrier stands where it must. One
// walk over the structured program emits the code directly, rather than by rewriting patterns: an op becomes as many
// instructions as a thread has words, loops become blocks whose arguments are those words, and nothing is ever packed
// into wide structs, which LLVM's optimizer is slow on.
#include "compiler/passes/to_llvm/emitter.h"

#include "compiler/passes/abi.h"
#include "compiler/passes/pass.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace tilejit::tile;

namespace tilejit::passes {

unsigned elements_per_word(RankedTensorType type) {
  Type element = type.getElementType();
  if (element.isInteger(1) || element.getIntOrFloatBitWidth() >= 32) return 1;
  unsigned most = 32 / element.getIntOrFloatBitWidth(), together = 1;
  for (const layout::Digit& digit : layout_of(type).getValue().digits()) {
    if (digit.axis != layout::Axis::reg || digit.stride != together) continue;
    if (digit.radix != 2 || together == most) break;
    together *= 2;
  }
  return together;
}

Emitter::Emitter(func::FuncOp kernel, ModuleOp module) : kernel_(kernel), module_(module), code_(kernel.getContext()) {}

void Emitter::run() {
  declare();
  block(kernel_.front());
}

// The function and its parameters, in the order of abi.h.
void Emitter::declare() {
  SmallVector<Type> types;
  for (Type type : kernel_.getArgumentTypes()) {
    auto view = dyn_cast<ViewType>(type);
    if (!view) {
      types.push_back(type);
      continue;
    }
    types.push_back(code_.global_pointer);
    for (int64_t size : view.getShape())
      if (ShapedType::isDynamic(size)) types.push_back(code_.i32);
    for (int64_t stride : view.getStrides())
      if (ShapedType::isDynamic(stride)) types.push_back(code_.i64);
  }
  Operation* function = code_.kernel(kernel_.getName(), types, 32 * kernel_warps(kernel_), kernel_.getLoc(), module_);
  auto parameter = function->getRegion(0).front().args_begin();
  std::vector<KernelArgument> facts = kernel_arguments(kernel_);
  for (auto [i, argument] : llvm::enumerate(kernel_.getArguments())) {
    auto view = dyn_cast<ViewType>(argument.getType());
    if (!view) {
      define(argument, {*parameter++});
      continue;
    }
    ViewValues& values = views_[argument];
    values.pointer = *parameter++;
    values.written = facts[i].written;
    for (int64_t size : view.getShape())
      values.sizes.push_back(ShapedType::isDynamic(size) ? Value(*parameter++) : Value());
    for (int64_t stride : view.getStrides())
      values.strides.push_back(ShapedType::isDynamic(stride) ? Value(*parameter++) : Value());
  }
}

void Emitter::block(Block& block) {
  for (Operation& op : block) {
    code_.at(op.getLoc());
    emit(&op);
  }
}

void Emitter::emit(Operation* op) {
  if (elementwise(op) || shape(op) || control(op) || global(op) || shared(op) || matrix(op)) return;
  throw CompileError("the lowering does not know '" + op->getName().getStringRef().str() + "'");
}

// ---- words -------------------------------------------------------------------------------------------------------

Words& Emitter::words(Value tile) {
  auto known = words_.find(tile);
  if (known == words_.end()) throw CompileError("internal: a tile is used before it is lowered");
  return known->second;
}

Value Emitter::scalar(Value value) { return words(value).front(); }

Type Emitter::word_type(RankedTensorType type) {
  unsigned together = elements_per_word(type);
  return together == 1 ? type.getElementType() : Type(VectorType::get({int64_t(together)}, type.getElementType()));
}

SmallVector<Value> Emitter::elements(Value tile) {
  unsigned together = elements_per_word(cast<RankedTensorType>(tile.getType()));
  SmallVector<Value> elements;
  for (Value word : words(tile))
    for (unsigned e = 0; e < together; ++e) elements.push_back(together == 1 ? word : code_.extract(word, e));
  return elements;
}

Words Emitter::pack(ArrayRef<Value> elements, RankedTensorType type) {
  unsigned together = elements_per_word(type);
  Words words;
  for (size_t r = 0; r < elements.size(); r += together) words.push_back(code_.vector(elements.slice(r, together)));
  return words;
}

// ---- control flow ------------------------------------------------------------------------------------------------

bool Emitter::control(Operation* op) {
  return llvm::TypeSwitch<Operation*, bool>(op)
      .Case([&](scf::ForOp op) { return loop(op), true; })
      .Case([&](scf::IfOp op) { return branch(op), true; })
      .Case<scf::YieldOp, YieldOp>([](auto) { return true; }) // read by the op that holds it
      .Case([&](func::ReturnOp) { return code_.finish(), true; })
      .Default([](Operation*) { return false; });
}

SmallVector<Type> Emitter::carried_types(ValueRange values) {
  SmallVector<Type> types;
  for (Value value : values) {
    auto tile = dyn_cast<RankedTensorType>(value.getType());
    if (!tile) {
      types.push_back(value.getType());
      continue;
    }
    unsigned count = layout_of(tile).getValue().count(layout::Axis::reg) / elements_per_word(tile);
    types.append(count, word_type(tile));
  }
  return types;
}

SmallVector<Value> Emitter::carried(ValueRange values) {
  SmallVector<Value> all;
  for (Value value : values) all.append(words(value));
  return all;
}

void Emitter::define_carried(ValueRange values, ArrayRef<Value> all) {
  for (Value value : values) {
    size_t count = carried_types(value).size();
    define(value, Words(all.take_front(count)));
    all = all.drop_front(count);
  }
}

//   here:    br header(begin, init...)
//   header:  (i, carried...)  br i < end ? body : after
//   body:    ...              br header(i + step, next...)
void Emitter::loop(scf::ForOp op) {
  Block* here = code_.builder.getInsertionBlock();
  SmallVector<Type> types{op.getInductionVar().getType()};
  types.append(carried_types(op.getRegionIterArgs()));
  Block* header = code_.block_after(here, types);
  Block* body = code_.block_after(header);
  Block* after = code_.block_after(body);
  SmallVector<Value> first{scalar(op.getLowerBound())};
  first.append(carried(op.getInitArgs()));
  code_.branch(header, first);

  code_.builder.setInsertionPointToStart(header);
  SmallVector<Value> arguments(header->args_begin(), header->args_end());
  Value inside = code_.compare(Code::slt, arguments[0], scalar(op.getUpperBound()));
  code_.branch_if(inside, body, {}, after);

  code_.builder.setInsertionPointToStart(body);
  define(op.getInductionVar(), {arguments[0]});
  define_carried(op.getRegionIterArgs(), ArrayRef<Value>(arguments).drop_front());
  block(*op.getBody());
  code_.at(op.getLoc());
  SmallVector<Value> next{code_.add(arguments[0], scalar(op.getStep()))};
  next.append(carried(op.getYieldedValues()));
  code_.loop_back(header, next);

  // Blocks that the body made stand between it and `after`.
  code_.builder.setInsertionPointToStart(after);
  define_carried(op.getResults(), ArrayRef<Value>(arguments).drop_front());
}

void Emitter::branch(scf::IfOp op) {
  Block* here = code_.builder.getInsertionBlock();
  Block* yes = code_.block_after(here);
  Block* no = op.elseBlock() ? code_.block_after(yes) : nullptr;
  Block* after = code_.block_after(no ? no : yes, carried_types(op.getResults()));
  code_.branch_if(scalar(op.getCondition()), yes, {}, no ? no : after);
  for (auto [target, source] : {std::pair(yes, op.thenBlock()), std::pair(no, op.elseBlock())}) {
    if (!source) continue;
    code_.builder.setInsertionPointToStart(target);
    block(*source);
    code_.at(op.getLoc());
    code_.branch(after, carried(source->getTerminator()->getOperands()));
  }
  code_.builder.setInsertionPointToStart(after);
  SmallVector<Value> results(after->args_begin(), after->args_end());
  define_carried(op.getResults(), results);
}

// ---- the pass ----------------------------------------------------------------------------------------------------

namespace {
struct ToLlvm : PassWrapper<ToLlvm, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ToLlvm)
  StringRef getArgument() const final { return "to-llvm"; }
  StringRef getDescription() const final { return "one thread's code in the LLVM dialect"; }
  void getDependentDialects(DialectRegistry& registry) const override { register_llvm_dialect(registry); }
  void runOnOperation() final {
    SmallVector<func::FuncOp> kernels(getOperation().getOps<func::FuncOp>());
    for (func::FuncOp kernel : kernels) {
      if (!kernel->hasAttr(kernel_attr)) continue;
      try {
        Emitter(kernel, getOperation()).run();
      } catch (const std::exception& error) {
        kernel.emitError(error.what());
        return signalPassFailure();
      }
      kernel.erase();
    }
  }
};
} // namespace

std::unique_ptr<Pass> create_to_llvm() { return std::make_unique<ToLlvm>(); }

} // namespace tilejit::passes
