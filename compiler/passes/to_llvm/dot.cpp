// dot.cpp - matrix products by mma.sync.
//
// Which registers make up an instruction's fragments is read from the layouts: thread 0 of warp 0 holds, of every
// fragment, the elements at fixed places, so the register at a coordinate is all that is needed. Steps of k are
// outermost, and each operand's fragments are taken once a step, which is when a shared operand is read.
#include "compiler/layout/instructions.h"
#include "compiler/passes/abi.h"
#include "compiler/passes/to_llvm/emitter.h"
#include "compiler/passes/to_llvm/shared_address.h"

#include <set>

using namespace mlir;
using namespace tilejit::tile;

namespace tilejit::passes {

namespace {

// Registers of thread 0, warp 0 by coordinate.
class RegisterAt {
public:
  explicit RegisterAt(const layout::Layout& layout) {
    for (uint32_t r = 0; r < layout.count(layout::Axis::reg); ++r) {
      layout::Coord coord = layout.at({.reg = r});
      at_[{coord[0], coord[1]}] = r;
      first_.insert(coord[0]);
      second_.insert(coord[1]);
    }
  }
  uint32_t operator()(uint32_t i, uint32_t j) const { return at_.at({i, j}); }
  /// Where fragments begin along a dim: the coordinates that are multiples of its extent.
  SmallVector<uint32_t> begins(int dim, uint32_t extent) const {
    SmallVector<uint32_t> begins;
    for (uint32_t x : dim ? second_ : first_)
      if (x % extent == 0) begins.push_back(x);
    return begins;
  }

private:
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> at_;
  std::set<uint32_t> first_, second_;
};

// An operand's words, from registers or step by step from shared memory; of f32 operands as tf32, whole or split.
class OperandWords {
public:
  OperandWords(Code& code, unsigned together, SmallVector<Value> words)
      : code_(code), together_(together), words_(std::move(words)) {}
  OperandWords(Code& code, unsigned together, std::unique_ptr<SharedReader> reader)
      : code_(code), together_(together), reader_(std::move(reader)) {}

  Value word(uint32_t reg) { return reader_ ? reader_->word(reg / together_) : words_[reg / together_]; }
  Value high(uint32_t reg) {
    Value& known = high_[reg];
    if (!known) known = code_.round_to_tf32(word(reg));
    return known;
  }
  /// What rounding to tf32 left over, itself rounded.
  Value low(uint32_t reg) {
    Value& known = low_[reg];
    if (!known) {
      Value rest = code_.op("llvm.fsub", code_.f32, {word(reg), code_.bitcast(high(reg), code_.f32)});
      known = code_.round_to_tf32(rest);
    }
    return known;
  }

private:
  Code& code_;
  unsigned together_;
  SmallVector<Value> words_;
  std::unique_ptr<SharedReader> reader_;
  llvm::DenseMap<uint32_t, Value> high_, low_;
};

} // namespace

bool Emitter::matrix(Operation* op) {
  if (auto known = dyn_cast<DotOp>(op)) return dot(known), true;
  if (auto known = dyn_cast<ReduceOp>(op)) return reduce(known), true;
  if (auto known = dyn_cast<ConvertOp>(op)) return convert(known), true;
  return false;
}

void Emitter::dot(DotOp op) {
  RankedTensorType type = op.getType();
  auto shape = [](Value operand) {
    auto shared = dyn_cast<SharedType>(operand.getType());
    return shared ? RankedTensorType::get(shared.getShape(), shared.getElementType())
                  : cast<RankedTensorType>(operand.getType());
  };
  Type element = shape(op.getA()).getElementType();
  unsigned bits = element_bits(element);
  layout::DotLayouts layouts = layout::dot_layouts(type.getDimSize(0), type.getDimSize(1),
                                                   shape(op.getA()).getDimSize(1), bits, kernel_warps(kernel_));
  auto operand = [&](OpOperand& use, const layout::Layout& layout) {
    Value value = use.get();
    auto placed = with_layout(shape(value), LayoutAttr::get(value.getContext(), layout));
    auto shared = dyn_cast<SharedType>(value.getType());
    if (!shared) {
      if (layout_of(value) != layout_of(placed))
        throw CompileError("internal: an operand of a product has the layout " + layout_of(value).getValue().str() +
                           ", not " + layout.str());
      return OperandWords(code_, elements_per_word(placed), words(value));
    }
    return OperandWords(code_, elements_per_word(placed),
                        std::make_unique<SharedReader>(
                            code_, placed, shared, shared_pointer(value), fragment_words(use.getOperandNumber()),
                            [&](const layout::Linear::Field& field) { return thread_part(field); }));
  };
  OperandWords a = operand(op.getAMutable(), layouts.a), b = operand(op.getBMutable(), layouts.b);
  RegisterAt a_at(layouts.a), b_at(layouts.b), c_at(layouts.c);
  // Of one instruction: k elements, and how far apart in k the two words of a row are.
  uint32_t k_extent = 256 / bits, k_apart = k_extent / 2;
  bool is_tf32 = element.isF32(), is_split = is_tf32 && op.getPrecision() == Precision::tf32x3;

  Words accumulator = words(op.getAcc());
  SmallVector<uint32_t> rows = c_at.begins(0, 16), columns = c_at.begins(1, 8);
  for (uint32_t k : a_at.begins(1, k_extent)) {
    auto a_words = [&](uint32_t i, auto part) {
      return SmallVector<Value>{part(a, a_at(i, k)), part(a, a_at(i + 8, k)), part(a, a_at(i, k + k_apart)),
                                part(a, a_at(i + 8, k + k_apart))};
    };
    auto b_words = [&](uint32_t j, auto part) {
      return SmallVector<Value>{part(b, b_at(k, j)), part(b, b_at(k + k_apart, j))};
    };
    auto whole = [](OperandWords& x, uint32_t r) { return x.word(r); };
    auto high = [](OperandWords& x, uint32_t r) { return x.high(r); };
    auto low = [](OperandWords& x, uint32_t r) { return x.low(r); };
    for (uint32_t j : columns)
      for (uint32_t i : rows) {
        uint32_t c[] = {c_at(i, j), c_at(i, j + 1), c_at(i + 8, j), c_at(i + 8, j + 1)};
        SmallVector<Value> sum;
        for (uint32_t r : c) sum.push_back(accumulator[r]);
        if (is_split) { // small products first; what is left out is of the order of 2^-22
          sum = code_.mma(element, a_words(i, low), b_words(j, high), sum);
          sum = code_.mma(element, a_words(i, high), b_words(j, low), sum);
        }
        sum = is_tf32 ? code_.mma(element, a_words(i, high), b_words(j, high), sum)
                      : code_.mma(element, a_words(i, whole), b_words(j, whole), sum);
        for (unsigned x = 0; x < 4; ++x) accumulator[c[x]] = sum[x];
      }
  }
  define(op.getResult(), accumulator);
}

} // namespace tilejit::passes
