// reduce.cpp - reductions: registers first, then butterflies within the warp, then warps through shared memory.
#include "compiler/passes/to_llvm/emitter.h"
#include "compiler/passes/to_llvm/shared_address.h"

#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace tilejit::tile;

namespace tilejit::passes {

// The combine function on one element of each source: its body emitted here.
SmallVector<Value> Emitter::combine(ReduceOp op, ArrayRef<Value> a, ArrayRef<Value> b) {
  Block& body = op.getCombine().front();
  for (size_t t = 0; t < a.size(); ++t) {
    define(body.getArgument(t), {a[t]});
    define(body.getArgument(a.size() + t), {b[t]});
  }
  block(body);
  SmallVector<Value> results;
  for (Value value : body.getTerminator()->getOperands()) results.push_back(scalar(value));
  return results;
}

void Emitter::reduce(ReduceOp op) {
  size_t sources = op.getSources().size();
  layout::Reduction plan = *layout::plan_reduction(layout_of(op.getSources()[0]).getValue(), op.getAxis());

  // partial[t][r]: source t, register r of the result.
  auto fold = [&](ArrayRef<SmallVector<Value>> from, ArrayRef<uint32_t> target, unsigned registers) {
    std::vector<SmallVector<Value>> result(sources, SmallVector<Value>(registers));
    for (size_t r = 0; r < target.size(); ++r) {
      SmallVector<Value> next, sum;
      for (size_t t = 0; t < sources; ++t) next.push_back(from[t][r]), sum.push_back(result[t][target[r]]);
      if (result[0][target[r]]) next = combine(op, sum, next);
      for (size_t t = 0; t < sources; ++t) result[t][target[r]] = next[t];
    }
    return result;
  };
  std::vector<SmallVector<Value>> values;
  for (Value source : op.getSources()) values.push_back(elements(source));
  auto result_layout = [&](size_t t) { return cast<RankedTensorType>(op.getResults()[t].getType()); };
  unsigned registers = layout_of(result_layout(0)).getValue().count(layout::Axis::reg);
  values = fold(values, plan.target, registers);

  for (uint32_t mask : plan.butterflies)
    for (unsigned r = 0; r < registers; ++r) {
      SmallVector<Value> own, other;
      for (size_t t = 0; t < sources; ++t) {
        own.push_back(values[t][r]);
        other.push_back(shuffle_element(values[t][r], mask));
      }
      own = combine(op, own, other);
      for (size_t t = 0; t < sources; ++t) values[t][r] = own[t];
    }

  if (plan.warps > 1) {
    if (op.getScratch().size() != sources)
      throw CompileError("a reduction across warps has no scratch: run lower-conversions first");
    for (size_t t = 0; t < sources; ++t) {
      auto shared = cast<SharedType>(op.getScratch()[t].getType());
      shared_store(values[t], plan.partial, shared, shared_pointer(op.getScratch()[t]));
    }
    code_.barrier();
    for (size_t t = 0; t < sources; ++t) {
      auto shared = cast<SharedType>(op.getScratch()[t].getType());
      auto type = RankedTensorType::get(shared.getShape(), shared.getElementType(),
                                        LayoutAttr::get(op.getContext(), plan.gathered));
      SharedReader reader(code_, type, shared, shared_pointer(op.getScratch()[t]), /*fragment=*/1,
                          [&](const layout::Linear::Field& field) { return thread_part(field); });
      unsigned together = elements_per_word(type);
      values[t].clear();
      for (Value word : reader.all())
        for (unsigned e = 0; e < together; ++e) values[t].push_back(together == 1 ? word : code_.extract(word, e));
    }
    layout::Reduction gathered = *layout::plan_reduction(plan.gathered, op.getAxis());
    values = fold(values, gathered.target, registers);
  }
  for (size_t t = 0; t < sources; ++t) define(op.getResults()[t], pack(values[t], result_layout(t)));
}

// One element from the lane whose number differs by `mask`.
Value Emitter::shuffle_element(Value element, uint32_t mask) {
  Type type = element.getType();
  unsigned bits = type.getIntOrFloatBitWidth();
  if (bits == 64) {
    Value pair = code_.bitcast(element, VectorType::get({2}, code_.i32));
    return code_.bitcast(code_.vector({code_.shuffle_xor(code_.extract(pair, 0), mask),
                                       code_.shuffle_xor(code_.extract(pair, 1), mask)}),
                         type);
  }
  if (bits == 32) return code_.bitcast(code_.shuffle_xor(code_.bitcast(element, code_.i32), mask), type);
  Type narrow = code_.builder.getIntegerType(bits);
  Value word = code_.zero_extend(code_.bitcast(element, narrow), code_.i32);
  return code_.bitcast(code_.op("llvm.trunc", narrow, {code_.shuffle_xor(word, mask)}), type);
}

} // namespace tilejit::passes
