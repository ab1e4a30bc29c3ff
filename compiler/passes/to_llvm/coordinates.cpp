// coordinates.cpp - where a thread's registers lie, as integer code.
#include "compiler/passes/to_llvm/emitter.h"

using namespace mlir;
using namespace tilejit::tile;

namespace tilejit::passes {

// Thread numbers are computed once, at the entry: everything that depends only on the thread follows there.
Value Emitter::lane() {
  if (lane_) return lane_;
  OpBuilder::InsertionGuard guard(code_.builder);
  code_.to_head();
  Value thread = code_.thread_in_block();
  lane_ = code_.bit_and(thread, code_.number(31));
  warp_ = code_.shift_right(thread, 5);
  return lane_;
}
Value Emitter::warp() { return lane(), warp_; }

Value Emitter::place_digit(layout::Axis axis, uint32_t stride, uint32_t radix, bool top) {
  Value place = axis == layout::Axis::lane ? lane() : warp();
  Value quotient = stride == 1 ? place : code_.unsigned_quotient(place, stride);
  return top ? quotient : code_.unsigned_remainder(quotient, radix);
}

Value Emitter::thread_part(const layout::Linear::Field& field) {
  Value sum;
  for (const layout::Linear::Term& term : field.terms) {
    Value digit = place_digit(term.axis, term.stride, term.radix, term.top);
    Value part = term.value == 1 ? digit : code_.mul(digit, code_.number(term.value));
    sum = !sum ? part : field.exclusive_or ? code_.exclusive_or(sum, part) : code_.add(sum, part);
  }
  return sum;
}

RegisterCoordinates Emitter::coordinates(LayoutAttr layout, int dim) {
  auto [known, fresh] = coordinates_.try_emplace({layout, dim});
  if (!fresh) return known->second;
  lane();
  OpBuilder::InsertionGuard guard(code_.builder);
  code_.builder.setInsertionPointAfterValue(warp_);
  RegisterCoordinates result;
  layout::Linear linear = layout::linear(layout.getValue(), dim);
  unsigned registers = layout.getValue().count(layout::Axis::reg);
  if (linear.fields.empty()) {
    result.constants.assign(registers, 0);
  } else if (linear.adds()) {
    const layout::Linear::Field& field = linear.fields[0];
    result.thread = thread_part(field);
    if (result.thread && field.weight != 1) result.thread = code_.mul(result.thread, code_.number(field.weight));
    for (unsigned r = 0; r < registers; ++r) result.constants.push_back(field.weight * field.registers[r]);
  } else {
    result.values.assign(registers, Value());
    for (const layout::Linear::Field& field : linear.fields) {
      Value thread = thread_part(field);
      for (unsigned r = 0; r < registers; ++r) {
        Value own = code_.number(field.registers[r]);
        Value part = !thread ? own : field.exclusive_or ? code_.exclusive_or(thread, own) : code_.add(thread, own);
        if (field.weight != 1) part = code_.mul(part, code_.number(field.weight));
        result.values[r] = result.values[r] ? code_.add(result.values[r], part) : part;
      }
    }
  }
  return coordinates_[{layout, dim}] = result;
}

Value Emitter::affine(const layout::Affine& function) {
  Value result = code_.number(function.base);
  for (const layout::Affine::Term& term : function.terms) {
    Value bit = place_digit(term.axis, term.stride, 2, false);
    result = code_.exclusive_or(result, code_.mul(bit, code_.number(term.mask)));
  }
  return result;
}

Value Emitter::holds_first_copy(const layout::Layout& layout) {
  layout::FirstCopy first = layout::first_copy(layout);
  Value holds;
  if (first.lanes) holds = code_.compare(Code::eq, code_.bit_and(lane(), code_.number(first.lanes)), code_.number(0));
  for (const auto& digit : first.digits)
    holds = code_.both(
        holds, code_.compare(Code::eq, place_digit(digit.axis, digit.stride, digit.radix, false), code_.number(0)));
  return holds;
}

} // namespace tilejit::passes
