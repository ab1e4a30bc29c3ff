// elementwise.cpp - arith and math ops on scalars and tiles, and the ops that only rename registers.
//
// Most are one row of a table: the name of the LLVM op. Where all operands and the result have equally many elements in
// a word, an op works on words, so that two bf16 are added by one instruction.
#include "compiler/passes/to_llvm/emitter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/StringMap.h"

#include <numbers>

using namespace mlir;
using namespace tilejit::tile;

namespace tilejit::passes {
namespace {

struct Row {
  enum Kind { none, integer, floating, intrinsic } kind = none;
  StringRef name;
};

// Ops that LLVM has under another name. Maximum and minimum are instructions, never compare and select.
const llvm::StringMap<Row>& table() {
  static const llvm::StringMap<Row> rows = {
      {"arith.addi", {Row::integer, "llvm.add"}},
      {"arith.subi", {Row::integer, "llvm.sub"}},
      {"arith.muli", {Row::integer, "llvm.mul"}},
      {"arith.divsi", {Row::integer, "llvm.sdiv"}},
      {"arith.divui", {Row::integer, "llvm.udiv"}},
      {"arith.remsi", {Row::integer, "llvm.srem"}},
      {"arith.remui", {Row::integer, "llvm.urem"}},
      {"arith.andi", {Row::integer, "llvm.and"}},
      {"arith.ori", {Row::integer, "llvm.or"}},
      {"arith.xori", {Row::integer, "llvm.xor"}},
      {"arith.shli", {Row::integer, "llvm.shl"}},
      {"arith.shrsi", {Row::integer, "llvm.ashr"}},
      {"arith.shrui", {Row::integer, "llvm.lshr"}},
      {"arith.extsi", {Row::integer, "llvm.sext"}},
      {"arith.extui", {Row::integer, "llvm.zext"}},
      {"arith.trunci", {Row::integer, "llvm.trunc"}},
      {"arith.maxsi", {Row::intrinsic, "llvm.smax"}},
      {"arith.minsi", {Row::intrinsic, "llvm.smin"}},
      {"arith.maxui", {Row::intrinsic, "llvm.umax"}},
      {"arith.minui", {Row::intrinsic, "llvm.umin"}},
      {"arith.sitofp", {Row::integer, "llvm.sitofp"}},
      {"arith.uitofp", {Row::integer, "llvm.uitofp"}},
      {"arith.fptosi", {Row::integer, "llvm.fptosi"}},
      {"arith.fptoui", {Row::integer, "llvm.fptoui"}},
      {"arith.bitcast", {Row::integer, "llvm.bitcast"}},
      {"arith.select", {Row::integer, "llvm.select"}},
      {"arith.extf", {Row::integer, "llvm.fpext"}},
      {"arith.truncf", {Row::integer, "llvm.fptrunc"}},
      {"arith.addf", {Row::floating, "llvm.fadd"}},
      {"arith.subf", {Row::floating, "llvm.fsub"}},
      {"arith.mulf", {Row::floating, "llvm.fmul"}},
      {"arith.negf", {Row::floating, "llvm.fneg"}},
      {"arith.maxnumf", {Row::intrinsic, "llvm.maxnum"}},
      {"arith.minnumf", {Row::intrinsic, "llvm.minnum"}},
      {"arith.maximumf", {Row::intrinsic, "llvm.maximum"}},
      {"arith.minimumf", {Row::intrinsic, "llvm.minimum"}},
      {"math.absf", {Row::intrinsic, "llvm.fabs"}},
      {"math.fma", {Row::intrinsic, "llvm.fma"}},
  };
  return rows;
}

Type of_lanes(Type element, unsigned lanes) {
  return lanes == 1 ? element : Type(VectorType::get({int64_t(lanes)}, element));
}

// An integer as the f32 next to it towards zero, its last bit set where that is not exact. Rounded once more, to fewer
// bits, this gives what the integer itself would (rounding to odd).
Value to_odd_f32(Code& code, Value x) {
  if (x.getType().getIntOrFloatBitWidth() < 32) return code.op("llvm.sitofp", code.f32, {x}); // exact
  bool wide = x.getType().isInteger(64);
  Value near = code.intrinsic(wide ? "llvm.nvvm.ll2f.rz" : "llvm.nvvm.i2f.rz", code.f32, {x});
  Value back = code.intrinsic(wide ? "llvm.nvvm.f2ll.rz" : "llvm.nvvm.f2i.rz", x.getType(), {near});
  Value inexact = code.zero_extend(code.compare(Code::ne, back, x), code.i32);
  return code.bitcast(code.op("llvm.or", code.i32, {code.bitcast(near, code.i32), inexact}), code.f32);
}

// For comparisons: PTX has none of bf16 with .ftz, which LLVM would make of two extended ones.
Value bf16_to_f32(Code& code, Value x) {
  Value bits = code.zero_extend(code.bitcast(x, code.i16), code.i32);
  return code.bitcast(code.shift_left(bits, 16), code.f32);
}

// Functions that the hardware has, or that are made of such, in f32.
Value function(Code& code, Operation* op, ArrayRef<Value> x) {
  auto times = [&](Value value, double factor) {
    return code.float_op("llvm.fmul", code.f32, {value, code.real(code.f32, factor)});
  };
  if (isa<math::Exp2Op>(op)) return code.exp2(x[0]);
  if (isa<math::ExpOp>(op)) return code.exp2(times(x[0], std::numbers::log2e));
  if (isa<math::Log2Op>(op)) return code.log2(x[0]);
  if (isa<math::LogOp>(op)) return times(code.log2(x[0]), std::numbers::ln2);
  if (isa<math::TanhOp>(op)) return code.tanh(x[0]);
  if (isa<math::SqrtOp>(op)) return code.root(x[0]);
  if (isa<math::RsqrtOp>(op)) return code.reciprocal_root(x[0]);
  if (isa<arith::DivFOp>(op)) return code.divide(x[0], x[1]);
  if (isa<arith::SIToFPOp>(op)) return to_odd_f32(code, x[0]);
  return {};
}

bool is_function(Operation* op, Type element) {
  if (isa<arith::SIToFPOp>(op)) return element.isBF16(); // not every GPU converts in one step
  return isa<math::Exp2Op, math::ExpOp, math::Log2Op, math::LogOp, math::TanhOp, math::SqrtOp, math::RsqrtOp,
             arith::DivFOp>(op);
}

} // namespace

// One elementwise op on values of `lanes` elements each.
Value Emitter::scalar_op(Operation* op, ArrayRef<Value> operands, Type element, unsigned lanes) {
  Type result = of_lanes(element, lanes);
  if (auto compare = dyn_cast<arith::CmpIOp>(op))
    return code_.compare(int64_t(compare.getPredicate()), operands[0], operands[1]);
  if (auto compare = dyn_cast<arith::CmpFOp>(op)) {
    SmallVector<Value> x(operands);
    if (x[0].getType().isBF16())
      for (Value& value : x) value = bf16_to_f32(code_, value);
    return code_.compare_float(int64_t(compare.getPredicate()), x[0], x[1]);
  }
  if (isa<arith::DivFOp>(op) && element.isF64()) return code_.op("llvm.fdiv", result, operands);
  if (is_function(op, element)) { // in f32, one element at a time
    if (element.isF64())
      throw CompileError("the lowering has no '" + op->getName().getStringRef().str() + "' of f64: use f32");
    SmallVector<Value> results;
    for (unsigned e = 0; e < lanes; ++e) {
      SmallVector<Value> x;
      for (Value operand : operands) {
        Value value = lanes == 1 ? operand : code_.extract(operand, e);
        bool narrow = isa<FloatType>(value.getType()) && value.getType() != code_.f32;
        x.push_back(narrow ? code_.op("llvm.fpext", code_.f32, {value}) : value);
      }
      Value value = function(code_, op, x);
      results.push_back(element == code_.f32 ? value : code_.op("llvm.fptrunc", element, {value}));
    }
    return code_.vector(results);
  }
  Row row = table().lookup(op->getName().getStringRef());
  if (row.kind == Row::integer) return code_.op(row.name, result, operands);
  if (row.kind == Row::floating) return code_.float_op(row.name, result, operands);
  if (row.kind == Row::intrinsic) return code_.intrinsic(row.name, result, operands);
  throw CompileError("the lowering does not know '" + op->getName().getStringRef().str() + "'");
}

bool Emitter::elementwise(Operation* op) {
  if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
    auto type = dyn_cast<RankedTensorType>(constant.getType());
    if (!type) {
      define(constant, {code_.constant(constant.getType(), cast<TypedAttr>(constant.getValue()))});
      return true;
    }
    auto dense = cast<DenseElementsAttr>(constant.getValue());
    if (!dense.isSplat()) throw CompileError("a tile constant must have one value in all elements");
    Value element = code_.constant(type.getElementType(), cast<TypedAttr>(dense.getSplatValue<Attribute>()));
    unsigned registers = layout_of(type).getValue().count(layout::Axis::reg);
    define(constant, pack(SmallVector<Value>(registers, element), type));
    return true;
  }
  if (!op->hasTrait<OpTrait::Elementwise>() || op->getNumResults() != 1) return false;
  auto type = dyn_cast<RankedTensorType>(op->getResult(0).getType());
  if (!type) {
    SmallVector<Value> operands;
    for (Value operand : op->getOperands()) operands.push_back(scalar(operand));
    define(op->getResult(0), {scalar_op(op, operands, op->getResult(0).getType(), 1)});
    return true;
  }
  // A condition of one bit, and anything of another width, is taken element by element, in groups that fill a word.
  unsigned lanes = isa<arith::SelectOp>(op) ? 1 : elements_per_word(type);
  unsigned registers = layout_of(type).getValue().count(layout::Axis::reg);
  SmallVector<Words> operands;
  for (Value operand : op->getOperands()) {
    auto tile = dyn_cast<RankedTensorType>(operand.getType());
    if (!tile)
      operands.push_back(Words(registers / lanes, scalar(operand))); // select with one condition
    else if (elements_per_word(tile) == lanes)
      operands.push_back(words(operand));
    else {
      SmallVector<Value> each = elements(operand);
      Words grouped;
      for (size_t r = 0; r < each.size(); r += lanes)
        grouped.push_back(code_.vector(ArrayRef<Value>(each).slice(r, lanes)));
      operands.push_back(grouped);
    }
  }
  SmallVector<Value> results;
  for (unsigned w = 0; w < registers / lanes; ++w) {
    SmallVector<Value> values;
    for (Words& operand : operands) values.push_back(operand[w]);
    results.push_back(scalar_op(op, values, type.getElementType(), lanes));
  }
  define(op->getResult(0), lanes == elements_per_word(type) ? results : pack(results, type));
  return true;
}

// ---- shape -------------------------------------------------------------------------------------------------------

bool Emitter::shape(Operation* op) {
  if (auto id = dyn_cast<ProgramIdOp>(op)) return define(id, {code_.block_in_grid(id.getAxis())}), true;
  if (auto size = dyn_cast<SizeOp>(op)) {
    Value known = views_[size.getView()].sizes[size.getDim()];
    define(size, {known ? known : code_.number(size.getView().getType().getShape()[size.getDim()])});
    return true;
  }
  if (auto scalar = dyn_cast<ToScalarOp>(op))
    return define(scalar.getScalar(), {elements(scalar.getSource()).front()}), true;
  if (!isa<SplatOp, IotaOp, BroadcastOp, ExpandDimsOp, TransposeOp>(op) || isa<SharedType>(op->getResult(0).getType()))
    return false;
  auto type = cast<RankedTensorType>(op->getResult(0).getType());
  LayoutAttr layout = layout_of(type);
  unsigned registers = layout.getValue().count(layout::Axis::reg);
  if (auto splat = dyn_cast<SplatOp>(op)) {
    define(splat, pack(SmallVector<Value>(registers, scalar(splat.getScalar())), type));
  } else if (isa<IotaOp>(op)) {
    RegisterCoordinates place = coordinates(layout, 0);
    SmallVector<Value> values = place.values;
    for (uint32_t constant : place.constants)
      values.push_back(place.thread ? code_.add(place.thread, code_.number(constant)) : code_.number(constant));
    define(op->getResult(0), pack(values, type));
  } else if (auto broadcast = dyn_cast<BroadcastOp>(op)) {
    // Register r holds the element whose coordinate is 0 where the source has size 1: found in the same thread.
    SmallVector<Value> source = elements(broadcast.getSource());
    auto from = broadcast.getSource().getType();
    const layout::Layout& own = layout_of(from).getValue();
    SmallVector<Value> values;
    for (unsigned r = 0; r < registers; ++r) {
      layout::Coord coord = layout.getValue().at({.reg = r});
      for (int d = 0; d < type.getRank(); ++d)
        if (from.getDimSize(d) == 1) coord[d] = 0;
      values.push_back(source[own.where(coord).reg]);
    }
    define(broadcast, pack(values, type));
  } else { // transpose, expand_dims: the same registers under other coordinates
    Words same = words(op->getOperand(0));
    define(op->getResult(0), same);
  }
  return true;
}

} // namespace tilejit::passes
