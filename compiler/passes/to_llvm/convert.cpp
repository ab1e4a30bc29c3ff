// convert.cpp - conversions within a warp: renamed registers, selects, shuffles. What crosses warps became shared
// memory in lower-conversions.
#include "compiler/passes/to_llvm/emitter.h"

using namespace mlir;
using namespace tilejit::tile;

namespace tilejit::passes {

// registers[code] for a code that the thread computes: selects over the codes it can take.
Value Emitter::choose(ArrayRef<Value> registers, Value code, ArrayRef<uint32_t> codes) {
  Value result = registers[codes[0]];
  for (uint32_t c : codes.drop_front())
    result = code_.select(code_.compare(Code::eq, code, code_.number(c)), registers[c], result);
  return result;
}

// The codes that an affine function can take.
static SmallVector<uint32_t> range_of(const layout::Affine& function) {
  SmallVector<uint32_t> values{function.base};
  for (const layout::Affine::Term& term : function.terms)
    for (uint32_t value : SmallVector<uint32_t>(values))
      if (!llvm::is_contained(values, value ^ term.mask)) values.push_back(value ^ term.mask);
  return values;
}

void Emitter::convert(ConvertOp op) {
  RankedTensorType from = op.getSource().getType(), to = op.getType();
  const layout::Layout& source = layout_of(from).getValue();
  const layout::Layout& target = layout_of(to).getValue();
  unsigned bits = element_bits(to.getElementType()), registers = target.count(layout::Axis::reg);
  layout::Conversion way = layout::convert(source, target, bits);
  SmallVector<Value> have = elements(op.getSource()), result(registers);

  if (way.kind == layout::Conversion::rename || way.kind == layout::Conversion::select) {
    layout::LocalPlan plan = *layout::plan_local(source, target);
    SmallVector<Value> by_code;
    for (uint32_t r : plan.registers) by_code.push_back(have[r]);
    if (plan.thread.terms.empty() && plan.odd.empty()) {
      for (unsigned t = 0; t < registers; ++t) result[t] = by_code[plan.base[t] ^ plan.thread.base];
    } else {
      Value thread = affine(plan.thread), odd;
      SmallVector<uint32_t> thread_codes = range_of(plan.thread), odd_codes{0};
      for (const auto& digit : plan.odd) {
        Value part = code_.mul(place_digit(digit.axis, digit.stride, digit.radix, false), code_.number(digit.step));
        odd = odd ? code_.add(odd, part) : part;
        SmallVector<uint32_t> more;
        for (uint32_t value : odd_codes)
          for (uint32_t n = 0; n < digit.radix; ++n) more.push_back(value + n * digit.step);
        odd_codes = more;
      }
      for (unsigned t = 0; t < registers; ++t) {
        Value code = code_.exclusive_or(thread, code_.number(plan.base[t]));
        if (odd) code = code_.add(code, odd);
        SmallVector<uint32_t> codes;
        for (uint32_t x : thread_codes)
          for (uint32_t o : odd_codes) codes.push_back((x ^ plan.base[t]) + o);
        result[t] = choose(by_code, code, codes);
      }
    }
  } else if (way.kind == layout::Conversion::shuffle) {
    layout::ShufflePlan plan = *layout::plan_shuffles(source, target, bits);
    Type element = to.getElementType();
    SmallVector<Value> by_code;
    for (uint32_t r : plan.source_registers) by_code.push_back(have[r]);
    // kept[code]: an element arrives under a code that may depend on the thread, so all places it may go to take it
    // where the code says so.
    SmallVector<Value> kept(plan.target_registers.size());
    for (const layout::ShufflePlan::Round& round : plan.rounds) {
      SmallVector<Value> sent;
      for (const layout::Affine& send : round.send) sent.push_back(choose(by_code, affine(send), range_of(send)));
      if (!round.local) sent = exchange(sent, affine(round.source), element);
      for (auto [keep, value] : llvm::zip(round.keep, sent)) {
        SmallVector<uint32_t> places = range_of(keep);
        Value place = places.size() > 1 ? affine(keep) : Value();
        for (uint32_t p : places)
          kept[p] = !kept[p] ? value
                    : !place ? value
                             : code_.select(code_.compare(Code::eq, place, code_.number(p)), value, kept[p]);
      }
    }
    for (auto [code, r] : llvm::enumerate(plan.target_registers)) result[r] = kept[code];
  } else {
    throw CompileError("internal: a conversion through shared memory reached the lowering: " + source.str() + " to " +
                       target.str());
  }
  define(op.getResult(), pack(result, to));
}

// The elements, packed into 32-bit words, from another lane.
SmallVector<Value> Emitter::exchange(ArrayRef<Value> elements, Value from_lane, Type element) {
  unsigned bits = element.isInteger(1) ? 8 : element.getIntOrFloatBitWidth();
  SmallVector<Value> result;
  if (bits == 64) {
    for (Value value : elements) {
      Value pair = code_.bitcast(value, VectorType::get({2}, code_.i32));
      Value low = code_.shuffle_from(code_.extract(pair, 0), from_lane),
            high = code_.shuffle_from(code_.extract(pair, 1), from_lane);
      result.push_back(code_.bitcast(code_.vector({low, high}), element));
    }
    return result;
  }
  unsigned in_word = 32 / bits;
  Type narrow = code_.builder.getIntegerType(bits);
  for (size_t first = 0; first < elements.size(); first += in_word) {
    ArrayRef<Value> group = elements.slice(first, std::min<size_t>(in_word, elements.size() - first));
    SmallVector<Value> parts;
    for (Value value : group)
      parts.push_back(element.isInteger(1) ? code_.zero_extend(value, code_.i8) : code_.bitcast(value, narrow));
    while (parts.size() < in_word) parts.push_back(code_.integer(narrow, 0));
    Value word = code_.shuffle_from(code_.bitcast(code_.vector(parts), code_.i32), from_lane);
    Value back = in_word == 1 ? word : code_.bitcast(word, VectorType::get({in_word}, narrow));
    for (size_t e = 0; e < group.size(); ++e) {
      Value one = in_word == 1 ? back : code_.extract(back, e);
      result.push_back(element.isInteger(1) ? code_.compare(Code::ne, one, code_.integer(code_.i8, 0))
                                            : code_.bitcast(one, element));
    }
  }
  return result;
}

} // namespace tilejit::passes
