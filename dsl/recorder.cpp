#include "dsl/recorder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Iterators.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/BitVector.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"

#include <atomic>
#include <cctype>
#include <cmath>

using namespace mlir;

namespace tilejit::dsl {
namespace {

thread_local Recorder* newest = nullptr;

// "attention.h:41: "; folders would only make messages long.
std::string position(llvm::StringRef file, unsigned line) {
  return (file.substr(file.find_last_of('/') + 1) + ":" + llvm::Twine(line) + ": ").str();
}

bool is_identifier(const std::string& text) {
  auto word = [](unsigned char c) { return std::isalnum(c) || c == '_'; };
  return !text.empty() && !std::isdigit(static_cast<unsigned char>(text[0])) && llvm::all_of(text, word);
}

} // namespace

Error::Error(const Location& where, const std::string& what)
    : Error(position(where.file_name(), where.line()) + what) {}

// ---- a recording ---------------------------------------------------------------------------------------------------

Recorder::Recorder(const std::string& name, const std::vector<ArgumentSpec>& arguments, const Schedule& schedule,
                   const Location& where)
    : context_(make_context()), builder(context_.get()), specs_(arguments), outer_(newest) {
  static std::atomic<uint64_t> recordings{0};
  id_ = ++recordings;
  if (!is_identifier(name)) throw Error("kernel '" + name + "': a kernel's name is letters, digits and _");
  if (schedule.warps < 1 || schedule.warps > 32 || (schedule.warps & (schedule.warps - 1)))
    throw Error(name + ": Schedule::warps is a power of two from 1 to 32, not " + std::to_string(schedule.warps));
  if (schedule.stages < 1)
    throw Error(name + ": Schedule::stages is at least 1, not " + std::to_string(schedule.stages));

  SmallVector<Type> types;
  for (const ArgumentSpec& spec : specs_) {
    if (!spec.is_tensor) {
      types.push_back(element(spec.type));
      continue;
    }
    auto extents = [](const std::vector<int64_t>& values) {
      return llvm::map_to_vector(values, [](int64_t v) { return v == dynamic ? ShapedType::kDynamic : v; });
    };
    SmallVector<int64_t> shape = extents(spec.shape), strides = extents(spec.strides);
    std::string wrong;
    ScopedDiagnosticHandler handler(context_.get(), [&](Diagnostic& diagnostic) { wrong = diagnostic.str(); });
    auto error = [&] { return emitError(builder.getUnknownLoc()); };
    Type view = tile::ViewType::getChecked(error, context_.get(), ArrayRef(shape), ArrayRef(strides),
                                           element(spec.type), spec.align);
    if (!view) throw Error(name + ": argument '" + spec.name + "': " + wrong);
    types.push_back(view);
  }
  auto here = location(where);
  module_ = ModuleOp::create(here);
  builder.setInsertionPointToEnd(module_->getBody());
  kernel_ = func::FuncOp::create(builder, here, name, builder.getFunctionType(types, {}));
  kernel_->setAttr(tile::kernel_attr, builder.getUnitAttr());
  kernel_->setAttr(tile::warps_attr, builder.getI32IntegerAttr(schedule.warps));
  kernel_->setAttr(tile::stages_attr, builder.getI32IntegerAttr(schedule.stages));
  for (auto [number, spec] : llvm::enumerate(specs_))
    if (!spec.name.empty()) kernel_.setArgAttr(number, tile::name_attr, builder.getStringAttr(spec.name));
  builder.setInsertionPointToStart(kernel_.addEntryBlock());
  newest = this;
}

Recorder::~Recorder() { newest = outer_; }

Recorder& Recorder::current(const Location& where) {
  if (!newest) throw Error(where, "tiles exist only while a kernel is recorded");
  if (newest->broken_) throw Error(*newest->broken_);
  return *newest;
}

Recorder* Recorder::find(uint64_t recording) {
  Recorder* found = newest;
  while (found && found->id_ != recording) found = found->outer_;
  return found;
}

Program Recorder::finish() {
  if (broken_) throw Error(*broken_);
  func::ReturnOp::create(builder, kernel_.getLoc());

  // Folding leaves constants behind, and authors compute what they then don't use.
  kernel_.walk<WalkOrder::PostOrder, ReverseIterator>([](Operation* op) {
    if (isOpTriviallyDead(op)) op->erase();
  });

  std::string wrong;
  ScopedDiagnosticHandler handler(context_.get(), [&](Diagnostic& diagnostic) {
    llvm::raw_string_ostream stream(wrong);
    if (auto where = dyn_cast<FileLineColLoc>(diagnostic.getLocation()))
      stream << position(where.getFilename().getValue(), where.getLine());
    stream << diagnostic.str();
  });
  if (failed(verify(*module_))) throw Error(wrong);
  auto impl = std::make_shared<Program::Impl>();
  impl->context = std::move(context_);
  impl->module = std::move(module_);
  return Program(std::move(impl));
}

// ---- types ---------------------------------------------------------------------------------------------------------

Type Recorder::element(DType type) {
  switch (type) {
  case DType::i1: return builder.getI1Type();
  case DType::i8: return builder.getI8Type();
  case DType::i32: return builder.getI32Type();
  case DType::i64: return builder.getI64Type();
  case DType::f16: return builder.getF16Type();
  case DType::bf16: return builder.getBF16Type();
  case DType::f32: return builder.getF32Type();
  case DType::f64: return builder.getF64Type();
  }
  llvm_unreachable("an element type");
}

DType Recorder::dtype_of(Type type) {
  Type element = element_of(type);
  if (element.isBF16()) return DType::bf16;
  unsigned bits = element.getIntOrFloatBitWidth();
  if (element.isInteger()) return bits == 1 ? DType::i1 : bits == 8 ? DType::i8 : bits == 32 ? DType::i32 : DType::i64;
  return bits == 16 ? DType::f16 : bits == 32 ? DType::f32 : DType::f64;
}

Type Recorder::element_of(Type type) { return getElementTypeOrSelf(type); }

SmallVector<int64_t> Recorder::shape_of(Type type) {
  auto tile = dyn_cast<RankedTensorType>(type);
  return tile ? SmallVector<int64_t>(tile.getShape()) : SmallVector<int64_t>();
}

Type Recorder::with_element(Type type, Type element) {
  auto tile = dyn_cast<RankedTensorType>(type);
  return tile ? Type(RankedTensorType::get(tile.getShape(), element)) : element;
}

std::string Recorder::describe(Type type) {
  std::string text(name_of(dtype_of(type)));
  if (!isa<RankedTensorType>(type)) return text + " scalar";
  return text + " [" + llvm::join(llvm::map_range(shape_of(type), [](int64_t n) { return std::to_string(n); }), ", ") +
         "]";
}

mlir::Location Recorder::location(const Location& where) {
  return FileLineColLoc::get(context_.get(), where.file_name(), where.line(), where.column());
}

// ---- values --------------------------------------------------------------------------------------------------------

Value Recorder::value(uint64_t recording, uint32_t index, const Location& where) {
  if (recording != id_) throw Error(where, "this tile belongs to another recording, which has ended or is interrupted");
  Value value = values_[index];
  if (!value.getParentRegion()->isAncestor(builder.getInsertionBlock()->getParent()))
    throw Error(where,
                "this tile was made inside a loop, a when or a combine function that has ended; to carry a value out "
                "of a loop or a when, assign it to a Var that was made before it");
  if (in_combine() && isa<RankedTensorType>(value.getType()))
    throw Error(where, "a combine function works on its scalars and can't use a tile, " + describe(value.getType()));
  return value;
}

Value Recorder::value(const Operand& operand, Type element) {
  if (operand.tile_) return value(*operand.tile_, operand.where());
  if (!element) return literal(operand.literal_, operand.where());
  return constant("a number", operand.literal_, element, operand.where());
}

Value Recorder::literal(const Literal& number, const Location& where) {
  DType type = number.kind == Literal::Kind::boolean   ? DType::i1
               : number.kind == Literal::Kind::integer ? DType::i32
                                                       : DType::f32;
  return constant("a number", number, element(type), where);
}

uint32_t Recorder::enter(Value value) {
  values_.push_back(value);
  return static_cast<uint32_t>(values_.size() - 1);
}

Tile Recorder::tile(Value value) {
  // A tile of rank 0 is a scalar to authors.
  if (auto type = dyn_cast<RankedTensorType>(value.getType()); type && type.getRank() == 0)
    value = tile::ToScalarOp::create(builder, value.getLoc(), type.getElementType(), value);
  return Tile(id_, enter(value));
}

Value Recorder::constant(llvm::StringRef what, const Literal& number, Type type, const Location& where) {
  Type element = element_of(type);
  bool fraction = number.kind == Literal::Kind::fraction;
  TypedAttr one;
  if (isa<FloatType>(element)) {
    one = FloatAttr::get(element, fraction ? number.fraction : static_cast<double>(number.integer));
  } else {
    std::string shown = std::to_string(number.integer);
    if (fraction) llvm::raw_string_ostream(shown = "") << llvm::format("%g", number.fraction);
    if (fraction)
      throw Error(where, (what + ": the number " + shown + " is not an integer, but meets " +
                          std::string(name_of(dtype_of(element))) + "; convert the tile with .to(f32)")
                             .str());
    unsigned bits = element.getIntOrFloatBitWidth();
    bool fits = bits == 1 ? number.integer == 0 || number.integer == 1 : llvm::isIntN(bits, number.integer);
    if (!fits)
      throw Error(where,
                  (what + ": the number " + shown + " does not fit " + std::string(name_of(dtype_of(element)))).str());
    one = IntegerAttr::get(element, APInt(bits, static_cast<uint64_t>(number.integer), bits > 1));
  }
  if (auto tile = dyn_cast<RankedTensorType>(type)) one = DenseElementsAttr::get(tile, Attribute(one));
  return constant(one, location(where));
}

Value Recorder::constant(TypedAttr value, mlir::Location where) {
  if (in_combine()) return arith::ConstantOp::create(builder, where, value);
  Value& known = constants_[value];
  if (!known) {
    OpBuilder::InsertionGuard guard(builder);
    if (last_constant_)
      builder.setInsertionPointAfter(last_constant_);
    else
      builder.setInsertionPointToStart(&kernel_.front());
    known = arith::ConstantOp::create(builder, where, value);
    last_constant_ = known.getDefiningOp();
  }
  return known;
}

Value Recorder::shared(Value value) {
  auto folded = value.getDefiningOp<arith::ConstantOp>();
  return folded ? constant(folded.getValue(), folded.getLoc()) : value;
}

Value Recorder::index(llvm::StringRef what, const Operand& operand) {
  Value value = this->value(operand, element(DType::i32));
  if (!value.getType().isInteger(32))
    throw Error(operand.where(), (what + " must be an i32 scalar, not " + describe(value.getType()) +
                                  (value.getType().isInteger() ? "; convert it with .to(i32)" : ""))
                                     .str());
  return value;
}

// The wider of two integer types, or null when the types can't meet.
static Type meet(Type a, Type b) {
  if (a == b) return a;
  bool integers = a.isInteger() && b.isInteger() && !a.isInteger(1) && !b.isInteger(1);
  if (!integers) return {};
  return a.getIntOrFloatBitWidth() > b.getIntOrFloatBitWidth() ? a : b;
}

SmallVector<Value> Recorder::unify_types(llvm::StringRef what, ArrayRef<const Operand*> operands) {
  SmallVector<Value> values(operands.size());
  Type common, first;
  bool fraction = false, boolean = true;
  for (auto [operand, value] : llvm::zip_equal(operands, values)) {
    if (!operand->tile_) {
      fraction |= operand->literal_.kind == Literal::Kind::fraction;
      boolean &= operand->literal_.kind == Literal::Kind::boolean;
      continue;
    }
    value = this->value(*operand);
    if (!common) {
      first = value.getType();
      common = element_of(first);
    }
    Type both = meet(common, element_of(value.getType()));
    if (!both)
      throw Error(operand->where(), (what + ": element types differ: " + describe(first) + " and " +
                                     describe(value.getType()) + "; convert one with .to(...)")
                                        .str());
    common = both;
  }
  if (!common) common = element(fraction ? DType::f32 : boolean ? DType::i1 : DType::i32);
  for (auto [operand, value] : llvm::zip_equal(operands, values))
    value = value ? cast(value, common, operand->where()) : constant(what, operand->literal_, common, operand->where());
  return values;
}

Value Recorder::broadcast(llvm::StringRef what, const Location& where, Value value, ArrayRef<int64_t> shape) {
  SmallVector<int64_t> from = shape_of(value.getType());
  auto type = RankedTensorType::get(shape, element_of(value.getType()));
  if (value.getType() == type) return value;
  if (!isa<RankedTensorType>(value.getType())) {
    if (shape.empty()) return value;
    Attribute known;
    if (matchPattern(value, m_Constant(&known))) return constant(DenseElementsAttr::get(type, known), location(where));
    return add<tile::SplatOp>(where, type, value);
  }
  bool fits = from.size() == shape.size();
  for (size_t d = 0; fits && d < from.size(); ++d) fits = from[d] == shape[d] || from[d] == 1;
  if (!fits)
    throw Error(where, (what + ": " + describe(value.getType()) + " does not repeat to " + describe(type) +
                        (from.size() == 1 && shape.size() == 2 ? "; make it two dims with .column() or .row()" : ""))
                           .str());
  return add<tile::BroadcastOp>(where, type, value);
}

void Recorder::unify_shapes(llvm::StringRef what, const Location& where, MutableArrayRef<Value> values) {
  SmallVector<int64_t> shape;
  Value widest;
  for (Value value : values) {
    SmallVector<int64_t> mine = shape_of(value.getType());
    if (mine.empty()) continue;
    if (!widest) shape = mine, widest = value;
    if (mine.size() != shape.size())
      throw Error(where, (what + ": numbers of dims differ: " + describe(widest.getType()) + " and " +
                          describe(value.getType()) + "; x.column() makes [n] an [n, 1], x.row() a [1, n]")
                             .str());
    for (size_t d = 0; d < shape.size(); ++d) {
      if (shape[d] == 1) shape[d] = mine[d];
      if (mine[d] != shape[d] && mine[d] != 1)
        throw Error(
            where,
            (what + ": shapes differ: " + describe(widest.getType()) + " and " + describe(value.getType())).str());
    }
  }
  for (Value& value : values) value = broadcast(what, where, value, shape);
}

SmallVector<Value> Recorder::unify(llvm::StringRef what, ArrayRef<const Operand*> operands) {
  SmallVector<Value> values = unify_types(what, operands);
  unify_shapes(what, operands.front()->where(), values);
  return values;
}

Value Recorder::cast(Value value, Type element, const Location& where) {
  Type from = element_of(value.getType()), to = with_element(value.getType(), element);
  if (from == element) return value;
  unsigned from_bits = from.getIntOrFloatBitWidth(), to_bits = element.getIntOrFloatBitWidth();
  bool from_float = isa<FloatType>(from), to_float = isa<FloatType>(element);
  if (element.isInteger(1)) {
    Value zero = constant("to", 0, value.getType(), where);
    if (from_float) return add<arith::CmpFOp>(where, arith::CmpFPredicate::UNE, value, zero);
    return add<arith::CmpIOp>(where, arith::CmpIPredicate::ne, value, zero);
  }
  if (from_float && to_float) {
    if (from_bits == to_bits) // bf16 and f16: each value of either is an f32
      return cast(cast(value, this->element(DType::f32), where), element, where);
    if (from_bits < to_bits) return add<arith::ExtFOp>(where, to, value);
    return add<arith::TruncFOp>(where, to, value);
  }
  if (from_float) return add<arith::FPToSIOp>(where, to, value);
  if (to_float && from_bits == 1) return add<arith::UIToFPOp>(where, to, value);
  if (to_float) return add<arith::SIToFPOp>(where, to, value);
  if (from_bits > to_bits) return add<arith::TruncIOp>(where, to, value);
  if (from_bits == 1) return add<arith::ExtUIOp>(where, to, value);
  return add<arith::ExtSIOp>(where, to, value);
}

// ---- Vars ----------------------------------------------------------------------------------------------------------

uint32_t Recorder::add_variable(Var* variable) {
  variables_.push_back(variable);
  return static_cast<uint32_t>(variables_.size() - 1);
}

void Recorder::assign(Var& variable, const Operand& operand) {
  const Location& where = operand.where();
  if (variable.recording_ != id_) throw Error(where, "this Var belongs to another recording");
  if (variable.slot_ == Var::no_slot) throw Error(where, "this Var was moved from");
  if (combine_begin_ && variable.slot_ < *combine_begin_)
    throw Error(where, "a combine function can't assign a Var from outside; it returns its result");
  Type type = values_[variable.value_].getType();
  Value value = operand.tile_ ? this->value(operand) : constant("a Var", operand.literal_, type, where);
  if (value.getType() != type)
    throw Error(where, "assigning " + describe(value.getType()) + " to a Var of " + describe(type) +
                           "; a Var keeps its type and shape");
  variable.value_ = enter(value);
}

SmallVector<uint32_t> Recorder::visible_variables() {
  SmallVector<uint32_t> slots;
  Region* here = builder.getInsertionBlock()->getParent();
  for (auto [slot, variable] : llvm::enumerate(variables_)) // the others are left over from a loop that has ended
    if (variable && values_[variable->value_].getParentRegion()->isAncestor(here)) slots.push_back(slot);
  return slots;
}

// ---- loops ---------------------------------------------------------------------------------------------------------

void Recorder::begin(Range& range) {
  if (in_combine()) throw Error(range.where_, "range: a combine function can't hold a loop");
  Loop loop{{}, {}, range.where_};
  loop.carried = visible_variables();
  SmallVector<Value> before;
  for (uint32_t slot : loop.carried) before.push_back(values_[variables_[slot]->value_]);
  auto at = [&](uint32_t index) { return value(id_, index, range.where_); };
  loop.op =
      scf::ForOp::create(builder, location(range.where_), at(range.begin_), at(range.end_), at(range.step_), before);
  builder.setInsertionPointToStart(loop.op.getBody());
  for (auto [slot, argument] : llvm::zip_equal(loop.carried, loop.op.getRegionIterArgs()))
    variables_[slot]->value_ = enter(argument);
  range.induction_ = enter(loop.op.getInductionVar());
  loops_.push_back(std::move(loop));
  range.depth_ = loops_.size();
}

void Recorder::end(Range& range) {
  if (range.depth_ != loops_.size())
    throw Error(range.where_, "range: loops must end in the reverse of the order in which they began");
  Loop loop = std::move(loops_.back());
  loops_.pop_back();

  // Which arguments changed?
  llvm::BitVector unchanged(1 + loop.carried.size()); // the first argument is the counter
  SmallVector<Value> inits, yields;
  SmallVector<uint32_t> changed;
  for (auto [i, slot] : llvm::enumerate(loop.carried)) {
    Var* variable = variables_[slot];
    if (!variable) throw Error(range.where_, "range: a Var that was made before this loop was destroyed inside it");
    Value now = value(id_, variable->value_, range.where_);
    Value before = loop.op.getInitArgs()[i];
    if (now == loop.op.getRegionIterArg(i)) {
      unchanged.set(1 + i);
      loop.op.getRegionIterArg(i).replaceAllUsesWith(before);
      llvm::replace(values_, Value(loop.op.getRegionIterArg(i)), before);
    } else {
      changed.push_back(slot);
      inits.push_back(before);
      yields.push_back(now);
    }
  }
  // A Var may hold what was another's argument until a moment ago.
  for (Value& value : yields)
    for (auto [i, argument] : llvm::enumerate(loop.op.getRegionIterArgs()))
      if (unchanged[1 + i] && value == argument) value = loop.op.getInitArgs()[i];

  Block* body = loop.op.getBody();
  if (body->mightHaveTerminator()) body->getTerminator()->erase(); // MLIR adds one where nothing is carried
  builder.setInsertionPointToEnd(body);
  scf::YieldOp::create(builder, location(range.where_), yields);
  body->eraseArguments(unchanged);

  builder.setInsertionPoint(loop.op);
  auto op = scf::ForOp::create(builder, loop.op.getLoc(), loop.op.getLowerBound(), loop.op.getUpperBound(),
                               loop.op.getStep(), inits);
  op.getRegion().takeBody(loop.op.getRegion());
  loop.op.erase();
  builder.setInsertionPointAfter(op);
  for (auto [slot, result] : llvm::zip_equal(changed, op.getResults())) variables_[slot]->value_ = enter(result);
}

void Recorder::abandon(const Range& range) noexcept {
  if (!broken_)
    broken_ =
        Error(range.where_, "range: the body of this loop was left by break, return or an exception; it is "
                            "recorded once for all turns, so it has to run to its end (a shorter range, or select "
                            "and masks, leave turns out)")
            .what();
}

// ---- conditions ----------------------------------------------------------------------------------------------------

void Recorder::when(const Operand& condition, const std::function<void()>& body,
                    const std::function<void()>& otherwise) {
  const Location& where = condition.where();
  if (in_combine()) throw Error(where, "when: a combine function can't hold a condition; use select");
  Value test = value(condition);
  if (!test.getType().isInteger(1))
    throw Error(where, "when: the condition must be an i1 scalar, not " + describe(test.getType()) +
                           "; for a tile of conditions use select");

  SmallVector<uint32_t> slots = visible_variables();
  auto values = [&] {
    return llvm::map_to_vector(slots, [&](uint32_t slot) {
      if (!variables_[slot]) throw Error(where, "when: a Var that was made before it was destroyed inside it");
      return value(id_, variables_[slot]->value_, where);
    });
  };
  const SmallVector<Value> before = values();
  auto at = location(where);
  auto draft = scf::IfOp::create(builder, at, TypeRange(), test, /*withElseRegion=*/true);
  // Records one part and says what the Vars hold at its end; they then hold again what they held before.
  auto record = [&](Block* block, const std::function<void()>& part) {
    if (block->mightHaveTerminator()) block->getTerminator()->erase();
    builder.setInsertionPointToEnd(block);
    SmallVector<Value> after;
    try {
      if (part) part();
      if (broken_) throw Error(*broken_);
      after = values();
    } catch (...) {
      if (!broken_) broken_ = Error(where, "when: a part of it was left by an exception").what();
      throw;
    }
    for (auto [slot, value] : llvm::zip_equal(slots, before)) variables_[slot]->value_ = enter(value);
    return after;
  };
  SmallVector<Value> yes = record(draft.thenBlock(), body), no = record(draft.elseBlock(), otherwise);

  SmallVector<uint32_t> changed;
  SmallVector<Value> yes_changed, no_changed;
  for (auto [slot, old, a, b] : llvm::zip_equal(slots, before, yes, no)) {
    if (a == old && b == old) continue;
    changed.push_back(slot);
    yes_changed.push_back(a);
    no_changed.push_back(b);
  }
  for (auto [block, yields] : {std::pair(draft.thenBlock(), &yes_changed), std::pair(draft.elseBlock(), &no_changed)}) {
    builder.setInsertionPointToEnd(block);
    scf::YieldOp::create(builder, at, *yields);
  }
  builder.setInsertionPoint(draft);
  bool has_else = !changed.empty() || draft.elseBlock()->getOperations().size() > 1;
  auto op = scf::IfOp::create(builder, at, TypeRange(ValueRange(yes_changed)), test, /*withElseRegion=*/false);
  op.getThenRegion().takeBody(draft.getThenRegion());
  if (has_else) op.getElseRegion().takeBody(draft.getElseRegion());
  draft.erase();
  builder.setInsertionPointAfter(op);
  for (auto [slot, result] : llvm::zip_equal(changed, op.getResults())) variables_[slot]->value_ = enter(result);
}

// ---- combine functions ---------------------------------------------------------------------------------------------

void Recorder::combine(Region& region, ArrayRef<Type> elements, const Location& where,
                       llvm::function_ref<std::vector<Tile>(std::vector<Tile>, std::vector<Tile>)> body) {
  if (in_combine()) throw Error(where, "reduce: a combine function can't reduce");
  OpBuilder::InsertionGuard guard(builder);
  size_t n = elements.size();
  SmallVector<Type> types(elements);
  types.append(elements.begin(), elements.end());
  Block* block = builder.createBlock(&region, {}, types, SmallVector<mlir::Location>(2 * n, location(where)));
  combine_begin_ = variables_.size();
  llvm::scope_exit restore([&] { combine_begin_.reset(); });
  std::vector<Tile> a, b;
  for (size_t i = 0; i < n; ++i) a.push_back(tile(block->getArgument(i))), b.push_back(tile(block->getArgument(n + i)));
  std::vector<Tile> results = body(a, b);
  if (results.size() != n)
    throw Error(where, "reduce: the combine function returned " + std::to_string(results.size()) + " scalars for " +
                           std::to_string(n) + " tiles");
  SmallVector<Value> values;
  for (size_t i = 0; i < n; ++i) {
    values.push_back(value(results[i], where));
    if (values[i].getType() != elements[i])
      throw Error(where, "reduce: the combine function returned " + describe(values[i].getType()) + " for " +
                             describe(elements[i]));
  }
  tile::YieldOp::create(builder, location(where), values);
}

// ---- record --------------------------------------------------------------------------------------------------------

Program record(const std::string& name, const std::vector<ArgumentSpec>& arguments, const Body& body,
               const Schedule& schedule, const Location& where) {
  Recorder recorder(name, arguments, schedule, where);
  body(Recorder::arguments());
  return recorder.finish();
}

} // namespace tilejit::dsl
