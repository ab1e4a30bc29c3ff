// shared_address.h - the accesses of one thread to one shared tile.
#pragma once
#include "compiler/dialect/dialect.h"
#include "compiler/layout/shared_memory.h"
#include "compiler/passes/to_llvm/code.h"

#include <optional>

namespace tilejit::passes {

/// Pointers to the items of an access plan: one base for each group, the rest immediates.
class SharedAddress {
public:
  SharedAddress(Code& code, Value base, unsigned bytes, const layout::Addresses& addresses,
                llvm::function_ref<Value(const layout::Linear::Field&)> thread_part);
  Value operator[](size_t item) const;

private:
  Code& code_;
  unsigned bytes_;
  layout::Addresses addresses_;
  SmallVector<Value> groups_;
};

/// Words of a product's operand (0: a, 1: b, 2: acc) that one mma.sync takes.
inline unsigned fragment_words(unsigned operand) { return operand == 1 ? 2 : 4; }

/// Reads a shared tile into the words of a layout, each instruction at the moment when one of its words is first asked
/// for: a product that takes its fragments step by step holds only those of one step. `fragment` words at a time come
/// side by side (matrix_access).
class SharedReader {
public:
  SharedReader(Code& code, mlir::RankedTensorType type, tile::SharedType shared, Value pointer, unsigned fragment,
               llvm::function_ref<Value(const layout::Linear::Field&)> thread_part);
  Value word(unsigned index);
  SmallVector<Value> all();

private:
  void read(unsigned instruction);
  Type memory_type() const;

  Code& code_;
  Type element_;
  unsigned together_;
  std::optional<layout::MatrixAccess> matrix_;
  std::optional<layout::VectorAccess> vector_;
  std::optional<SharedAddress> address_;
  SmallVector<Value> words_, elements_;
  SmallVector<unsigned> source_; ///< of each word: the instruction
};

} // namespace tilejit::passes
