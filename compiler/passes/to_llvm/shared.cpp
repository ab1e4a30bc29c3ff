// shared.cpp - tiles in shared memory: addresses, ldmatrix, vector loads and stores.
#include "compiler/passes/shared_tiles.h"
#include "compiler/passes/to_llvm/emitter.h"
#include "compiler/passes/to_llvm/shared_address.h"

using namespace mlir;
using namespace tilejit::tile;

namespace tilejit::passes {

Value Emitter::shared_pointer(Value shared) {
  Operation* op = shared.getDefiningOp();
  if (auto alloc = dyn_cast<AllocOp>(op)) {
    if (!alloc.getOffset()) throw CompileError("a shared tile has no place yet: run allocate-shared first");
    return code_.address(code_.dynamic_shared(), int64_t(*alloc.getOffset()));
  }
  if (auto slot = dyn_cast<SlotOp>(op)) {
    Value bytes = code_.mul(scalar(slot.getIndex()), code_.number(slot.getRing().getType().getSlotBytes()));
    return code_.address(shared_pointer(slot.getRing()), bytes);
  }
  return shared_pointer(op->getOperand(0)); // a transpose is another reading of the same bytes
}

SharedAddress::SharedAddress(Code& code, Value base, unsigned bytes, const layout::Addresses& addresses,
                             llvm::function_ref<Value(const layout::Linear::Field&)> thread_part)
    : code_(code), bytes_(bytes), addresses_(addresses) {
  SmallVector<Value> parts;
  for (const layout::Linear::Field& field : addresses.thread.fields) parts.push_back(thread_part(field));
  for (const std::vector<uint32_t>& group : addresses.groups) {
    Value sum;
    for (auto [f, field] : llvm::enumerate(addresses.thread.fields)) {
      Value own = group[f] ? code.number(group[f]) : Value();
      Value part = !parts[f]            ? own
                   : !own               ? parts[f]
                   : field.exclusive_or ? code.exclusive_or(parts[f], own)
                                        : code.add(parts[f], own);
      if (!part) continue;
      if (field.weight * bytes != 1) part = code.mul(part, code.number(field.weight * bytes));
      sum = sum ? code.add(sum, part) : part;
    }
    groups_.push_back(sum ? code.address(base, sum) : base);
  }
}

Value SharedAddress::operator[](size_t item) const {
  const layout::Addresses::Item& at = addresses_.at[item];
  return code_.address(groups_[at.group], int64_t(at.immediate) * bytes_);
}

// ---- reading -----------------------------------------------------------------------------------------------------

SharedReader::SharedReader(Code& code, RankedTensorType type, SharedType shared, Value pointer, unsigned fragment,
                           llvm::function_ref<Value(const layout::Linear::Field&)> thread_part)
    : code_(code), element_(type.getElementType()), together_(elements_per_word(type)) {
  const layout::Layout& layout = layout_of(type).getValue();
  unsigned bits = element_bits(element_);
  words_.resize(layout.count(layout::Axis::reg) / together_);
  for (auto access : {layout::Access::ldmatrix, layout::Access::ldmatrix_trans})
    if (!matrix_ && !element_.isInteger(1)) // a word of ldmatrix is four bytes, of conditions one
      matrix_ = layout::matrix_access(access, layout, shared.getLayout(), bits, fragment);
  if (!matrix_) vector_ = layout::vector_access(layout, shared.getLayout(), bits);
  if (!matrix_ && !vector_) throw CompileError("a shared tile and its reader have digits that do not agree");
  address_.emplace(code, pointer, bits / 8, matrix_ ? matrix_->rows : vector_->addresses, thread_part);
  // Which instruction fills which word.
  source_.resize(words_.size());
  const std::vector<uint32_t>& registers = matrix_ ? matrix_->registers : vector_->registers;
  unsigned stride = matrix_ ? matrix_->words : vector_->elements;
  for (size_t i = 0; i < registers.size(); ++i) source_[registers[i] / together_] = i / stride;
}

Value SharedReader::word(unsigned index) {
  if (!words_[index]) read(source_[index]);
  return words_[index];
}

Words SharedReader::all() {
  for (unsigned w = 0; w < words_.size(); ++w) word(w);
  return words_;
}

void SharedReader::read(unsigned instruction) {
  Type word_type = together_ == 1 ? element_ : Type(VectorType::get({together_}, element_));
  if (matrix_) {
    SmallVector<Value> read = code_.ldmatrix((*address_)[instruction], matrix_->words, matrix_->transposed);
    for (unsigned w = 0; w < matrix_->words; ++w)
      words_[matrix_->registers[instruction * matrix_->words + w] / together_] = code_.bitcast(read[w], word_type);
    return;
  }
  // The registers of a vector may fill parts of several words; then all instructions of those words are read at once.
  unsigned elements = vector_->elements;
  Type whole = elements == 1 ? memory_type() : Type(VectorType::get({elements}, memory_type()));
  if (elements_.empty()) elements_.resize(words_.size() * together_);
  Value value = code_.load(whole, (*address_)[instruction], elements * element_bits(element_) / 8);
  for (unsigned e = 0; e < elements; ++e) {
    Value one = elements == 1 ? value : code_.extract(value, e);
    if (element_.isInteger(1)) one = code_.compare(Code::ne, one, code_.integer(code_.i8, 0));
    elements_[vector_->registers[instruction * elements + e]] = one;
  }
  for (unsigned e = 0; e < elements; ++e) {
    unsigned w = vector_->registers[instruction * elements + e] / together_;
    ArrayRef<Value> parts = ArrayRef<Value>(elements_).slice(w * together_, together_);
    for (unsigned part = 0; part < together_; ++part)
      if (!parts[part]) {
        for (size_t i = 0; i < vector_->registers.size(); ++i)
          if (vector_->registers[i] == w * together_ + part) read(i / elements);
      }
    if (!words_[w]) words_[w] = code_.vector(parts);
  }
}

Type SharedReader::memory_type() const { return element_.isInteger(1) ? code_.i8 : element_; }

void Emitter::shared_store(ArrayRef<Value> elements, const layout::Layout& layout, SharedType type, Value pointer) {
  unsigned bits = element_bits(type.getElementType());
  auto access = layout::vector_access(layout, type.getLayout(), bits);
  if (!access) throw CompileError("a shared tile and its writer have digits that do not agree");
  SharedAddress address(code_, pointer, bits / 8, access->addresses,
                        [&](const layout::Linear::Field& field) { return thread_part(field); });
  Block* after = nullptr;
  if (Value first_copy = holds_first_copy(layout)) { // of threads that hold the same elements one stores them
    Block* storing = code_.block_after(code_.builder.getInsertionBlock());
    after = code_.block_after(storing);
    code_.branch_if(first_copy, storing, {}, after);
    code_.builder.setInsertionPointToStart(storing);
  }
  for (size_t x = 0; x * access->elements < access->registers.size(); ++x) {
    SmallVector<Value> values;
    for (unsigned e = 0; e < access->elements; ++e) {
      Value value = elements[access->registers[x * access->elements + e]];
      values.push_back(type.getElementType().isInteger(1) ? code_.zero_extend(value, code_.i8) : value);
    }
    code_.store(code_.vector(values), address[x], access->elements * bits / 8);
  }
  if (!after) return;
  code_.branch(after);
  code_.builder.setInsertionPointToStart(after);
}

bool Emitter::shared(Operation* op) {
  if (is_view_of_shared(op) || isa<AllocOp>(op)) return true; // addresses are computed where they are used
  if (isa<BarrierOp>(op)) return code_.barrier(), true;
  if (auto load = dyn_cast<SharedLoadOp>(op)) {
    unsigned fragment = 1;
    for (OpOperand& use : load->getUses())
      if (isa<DotOp>(use.getOwner())) fragment = std::max(fragment, fragment_words(use.getOperandNumber()));
    SharedReader reader(code_, load.getType(), load.getSource().getType(), shared_pointer(load.getSource()), fragment,
                        [&](const layout::Linear::Field& field) { return thread_part(field); });
    define(load, reader.all());
    return true;
  }
  if (auto store = dyn_cast<SharedStoreOp>(op)) {
    shared_store(elements(store.getValue()), layout_of(store.getValue()).getValue(), store.getTarget().getType(),
                 shared_pointer(store.getTarget()));
    return true;
  }
  return false;
}

} // namespace tilejit::passes
