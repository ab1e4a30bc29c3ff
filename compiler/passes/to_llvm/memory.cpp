// memory.cpp - loads, stores and copies between views and tiles.
//
// The address of an element is  pointer + sum index*stride  (the same for all threads)  + thread part  + register part,
// in 64 bits. The three are added in this order so that LLVM hoists what a loop does not change. An element is inside
// the view when its 32-bit coordinate, taken as unsigned, is below the size: a negative coordinate is outside, too.
// Checks that constants answer are left out.
#include "compiler/passes/access.h"
#include "compiler/passes/to_llvm/emitter.h"
#include "compiler/passes/to_llvm/shared_address.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

#include <numeric>

using namespace mlir;
using namespace tilejit::tile;

namespace tilejit::passes {

// Where the elements of a tile lie in a view, for a thread.
struct Emitter::Access {
  Emitter& emitter;
  ViewType view;
  ViewValues& values;
  SmallVector<Value> indices; // i32, one a view dim
  ArrayRef<int32_t> dims;
  LayoutAttr layout;
  RankedTensorType type; // shape of the tile
  SmallVector<RegisterCoordinates> coordinates;
  Value base;     // pointer + uniform part + thread part
  unsigned bytes; // of an element
  int contiguous = -1;
  unsigned vector = 1; // elements that lie side by side and may be accessed at once
  SmallVector<bool> checked;
  SmallVector<Value> start; // index + thread part, for checked dims
  std::map<std::pair<int, uint32_t>, Value> inside, offset;

  Access(Emitter& emitter, Value view_value, OperandRange index_values, ArrayRef<int32_t> dims, RankedTensorType type,
         LayoutAttr layout)
      : emitter(emitter), view(cast<ViewType>(view_value.getType())), values(emitter.views_[view_value]), dims(dims),
        layout(layout), type(type), bytes(element_bits(type.getElementType()) / 8) {
    Code& code = emitter.code_;
    for (Value index : index_values) indices.push_back(emitter.scalar(index));
    for (int d = 0; d < type.getRank(); ++d) coordinates.push_back(emitter.coordinates(layout, d));
    // Uniform part.
    Value sum;
    auto accumulate = [&](Value index, unsigned dim, bool is_signed) {
      Value wide = is_signed ? code.sign_extend(index, code.i64) : code.zero_extend(index, code.i64);
      Value part = code.mul(wide, stride_bytes(dim));
      sum = sum ? code.add(sum, part) : part;
    };
    for (auto [dim, index] : llvm::enumerate(indices))
      if (index_divisor(index_values[dim]) != 0) accumulate(index, dim, true);
    base = sum ? code.address(values.pointer, sum) : values.pointer;
    sum = {};
    for (auto [d, dim] : llvm::enumerate(dims))
      if (coordinates[d].thread) accumulate(coordinates[d].thread, dim, false);
    if (sum) base = code.address(base, sum);
    find_checks(index_values);
    contiguous = contiguous_tile_dim(view, dims);
    vector = access_elements(view, index_values, dims, type.getShape(), layout.getValue());
  }

  // The registers, those of one access side by side.
  std::vector<uint32_t> order(unsigned vector) const {
    if (vector > 1) return layout::vector_registers(layout.getValue(), contiguous, vector);
    std::vector<uint32_t> registers(layout.getValue().count(layout::Axis::reg));
    std::iota(registers.begin(), registers.end(), 0);
    return registers;
  }

  Value stride_bytes(unsigned dim) {
    Code& code = emitter.code_;
    if (!values.strides[dim]) return code.integer(code.i64, view.getStrides()[dim] * bytes);
    return code.mul(values.strides[dim], code.integer(code.i64, bytes));
  }

  void find_checks(OperandRange index_values) {
    for (auto [d, dim] : llvm::enumerate(dims)) {
      checked.push_back(may_leave(view, index_values, dims, type.getShape(), d));
      Value begin = indices[dim];
      if (checked.back() && coordinates[d].thread) begin = emitter.code_.add(begin, coordinates[d].thread);
      start.push_back(begin);
    }
  }

  // The address of register r's element.
  Value address(unsigned r) {
    Code& code = emitter.code_;
    Value pointer = base;
    int64_t immediate = 0;
    for (auto [d, dim] : llvm::enumerate(dims)) {
      RegisterCoordinates& place = coordinates[d];
      if (!place.values.empty()) {
        pointer = code.address(pointer, code.mul(code.zero_extend(place.values[r], code.i64), stride_bytes(dim)));
      } else if (place.constants[r] == 0) {
        continue;
      } else if (!values.strides[dim]) {
        immediate += int64_t(place.constants[r]) * view.getStrides()[dim] * bytes;
      } else {
        Value& part = offset[{d, place.constants[r]}];
        if (!part || part.getParentBlock() != code.builder.getInsertionBlock())
          part = code.mul(stride_bytes(dim), code.integer(code.i64, place.constants[r]));
        pointer = code.address(pointer, part);
      }
    }
    return immediate >= INT32_MIN && immediate <= INT32_MAX ? code.address(pointer, immediate)
                                                            : code.address(pointer, code.integer(code.i64, immediate));
  }

  // Whether register r's element is inside the view; null: it surely is.
  Value is_inside(unsigned r) {
    Code& code = emitter.code_;
    Value all;
    for (auto [d, dim] : llvm::enumerate(dims)) {
      if (!checked[d]) continue;
      RegisterCoordinates& place = coordinates[d];
      Value size = values.sizes[dim] ? values.sizes[dim] : code.number(view.getShape()[dim]);
      if (!place.values.empty()) {
        all = code.both(all, code.compare(Code::ult, code.add(start[d], place.values[r]), size));
        continue;
      }
      Value& known = inside[{d, place.constants[r]}];
      if (!known) {
        Value here = place.constants[r] ? code.add(start[d], code.number(place.constants[r])) : start[d];
        known = code.compare(Code::ult, here, size);
      }
      all = code.both(all, known);
    }
    return all;
  }
};

// Memory is accessed in words of 32 bits, or as what is narrower.
static Type memory_word(Code& code, unsigned bytes) { return bytes >= 4 ? code.i32 : bytes == 2 ? code.i16 : code.i8; }

void Emitter::load(LoadOp op) {
  RankedTensorType type = op.getType();
  Type element = type.getElementType();
  LayoutAttr layout = layout_of(type);
  Access access(*this, op.getView(), op.getIndices(), op.getDims(), type, layout);
  unsigned vector = op.getMask() ? 1 : access.vector;
  unsigned bytes = access.bytes, together = elements_per_word(type);
  SmallVector<Value> mask, result(layout.getValue().count(layout::Axis::reg));
  if (op.getMask()) mask = elements(op.getMask());
  std::vector<uint32_t> order = access.order(vector);
  Words packed(result.size() / together); // words that an access filled as a whole
  Type word = memory_word(code_, vector * bytes);
  unsigned word_bytes = std::min(4u, vector * bytes), count = vector * bytes / word_bytes;
  for (size_t first = 0; first < order.size(); first += vector) {
    unsigned r = order[first];
    Value predicate = code_.both(access.is_inside(r), mask.empty() ? Value() : mask[r]);
    Value pointer = access.address(r);
    SmallVector<Value> read;
    if (predicate) {
      read = code_.load_global_if(predicate, word, count, pointer);
    } else {
      Type whole = count == 1 ? word : Type(VectorType::get({count}, word));
      Value value = code_.load(whole, pointer, vector * bytes, !access.values.written);
      for (unsigned w = 0; w < count; ++w) read.push_back(count == 1 ? value : code_.extract(value, w));
    }
    // Back to elements.
    if (bytes == 8) {
      for (unsigned e = 0; e < vector; ++e) {
        Value pair = code_.vector({read[2 * e], read[2 * e + 1]});
        result[order[first + e]] = code_.bitcast(pair, element);
      }
    } else {
      unsigned in_word = word_bytes / bytes;
      for (unsigned e = 0; e < vector; e += in_word) {
        unsigned target = order[first + e];
        bool whole = in_word == together && target % together == 0;
        for (unsigned x = 0; x < in_word; ++x) whole &= order[first + e + x] == target + x;
        Type stored = element.isInteger(1) ? code_.i8 : element;
        Value value = code_.bitcast(read[e / in_word], in_word == 1 ? stored : VectorType::get({in_word}, stored));
        auto loaded = [&](Value x) {
          return element.isInteger(1) ? code_.compare(Code::ne, x, code_.integer(stored, 0)) : x;
        };
        if (whole)
          packed[target / together] = loaded(value);
        else
          for (unsigned x = 0; x < in_word; ++x)
            result[order[first + e + x]] = loaded(in_word == 1 ? value : code_.extract(value, x));
      }
    }
    if (predicate && op.getOther()) {
      Value other = scalar(op.getOther());
      for (unsigned e = 0; e < vector; ++e) {
        unsigned target = order[first + e];
        if (Value& whole = packed[target / together]; whole && target % together == 0)
          whole = code_.select(predicate, whole, code_.vector(SmallVector<Value>(together, other)));
        else if (!whole)
          result[target] = code_.select(predicate, result[target], other);
      }
    }
  }
  for (unsigned w = 0; w < packed.size(); ++w)
    if (!packed[w]) packed[w] = code_.vector(ArrayRef<Value>(result).slice(w * together, together));
  define(op.getResult(), packed);
}

void Emitter::store(StoreOp op) {
  RankedTensorType type = op.getValue().getType();
  LayoutAttr layout = layout_of(type);
  Access access(*this, op.getView(), op.getIndices(), op.getDims(), type, layout);
  unsigned vector = op.getMask() ? 1 : access.vector;
  unsigned bytes = access.bytes;
  SmallVector<Value> mask, value = elements(op.getValue());
  if (op.getMask()) mask = elements(op.getMask());
  if (type.getElementType().isInteger(1))
    for (Value& bit : value) bit = code_.zero_extend(bit, code_.i8);
  Value first_copy = holds_first_copy(layout.getValue());
  Type word = memory_word(code_, vector * bytes);
  unsigned word_bytes = std::min(4u, vector * bytes), count = vector * bytes / word_bytes;
  std::vector<uint32_t> order = access.order(vector);
  for (size_t first = 0; first < order.size(); first += vector) {
    unsigned r = order[first];
    SmallVector<Value> gathered;
    for (unsigned e = 0; e < vector; ++e) gathered.push_back(value[order[first + e]]);
    Value whole = code_.bitcast(code_.vector(gathered), count == 1 ? word : Type(VectorType::get({count}, word)));
    Value predicate = code_.both(code_.both(access.is_inside(r), mask.empty() ? Value() : mask[r]), first_copy);
    Value pointer = access.address(r);
    if (!predicate) {
      code_.store(whole, pointer, vector * bytes);
      continue;
    }
    SmallVector<Value> words;
    for (unsigned w = 0; w < count; ++w) words.push_back(count == 1 ? whole : code_.extract(whole, w));
    code_.store_global_if(predicate, words, pointer);
  }
}

void Emitter::copy_async(CopyAsyncOp op) {
  SharedType shared = op.getTarget().getType();
  LayoutAttr layout = op.getThreads();
  auto type = RankedTensorType::get(shared.getShape(), shared.getElementType());
  Access access(*this, op.getView(), op.getIndices(), op.getDims(), type, layout);
  unsigned bits = access.bytes * 8;
  Value target = shared_pointer(op.getTarget());
  auto writes =
      copy_access(layout.getValue(), shared.getLayout(), access.contiguous, bits, access.vector * access.bytes);
  if (!writes) throw CompileError("a copy of fewer than 4 bytes at a time"); // stage-loads makes none
  unsigned vector = writes->elements;
  SharedAddress addresses(code_, target, access.bytes, writes->addresses,
                          [&](const layout::Linear::Field& field) { return thread_part(field); });
  // A copy that is switched off must leave the slot alone: nobody would wait for the zeros that it wrote.
  auto constant = op.getEnable().getDefiningOp<arith::ConstantOp>();
  Value enable = constant && cast<IntegerAttr>(constant.getValue()).getInt() ? Value() : scalar(op.getEnable());
  enable = code_.both(enable, holds_first_copy(layout.getValue()));
  for (size_t x = 0; x * vector < writes->registers.size(); ++x) {
    unsigned r = writes->registers[x * vector];
    Value whole = code_.number(vector * access.bytes), inside = access.is_inside(r);
    Value size = inside ? code_.select(inside, whole, code_.number(0)) : whole;
    code_.copy_async(addresses[x], access.address(r), vector * access.bytes, size, enable);
  }
}

bool Emitter::global(Operation* op) {
  if (auto known = dyn_cast<LoadOp>(op)) return load(known), true;
  if (auto known = dyn_cast<StoreOp>(op)) return store(known), true;
  if (auto known = dyn_cast<CopyAsyncOp>(op)) return copy_async(known), true;
  if (isa<CommitOp>(op)) return code_.commit_copies(), true;
  if (auto known = dyn_cast<WaitOp>(op)) return code_.wait_copies(known.getPending()), true;
  return false;
}

} // namespace tilejit::passes
