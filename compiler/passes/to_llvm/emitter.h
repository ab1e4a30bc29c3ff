// emitter.h - level 2 to one thread's code, in one walk.
//
// A tile in registers is a list of *words*: one LLVM value for each 32- or 64-bit element and each i1, or for as many
// smaller elements as fill 32 bits (a vector of two bf16) where the layout's lowest register digits keep them together.
// `Emitter` holds the map from values of the tile program to words, pointers and numbers, and walks the program; each
// group of ops has its own file of members.
#pragma once
#include "compiler/dialect/dialect.h"
#include "compiler/layout/questions.h"
#include "compiler/passes/to_llvm/code.h"
#include "compiler/program.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

#include <map>

namespace tilejit::passes {

using Words = SmallVector<Value>;

/// Elements that one word of a tile holds.
unsigned elements_per_word(mlir::RankedTensorType type);

/// A view in registers.
struct ViewValues {
  Value pointer;
  SmallVector<Value> sizes;   ///< i32; null where the type says it
  SmallVector<Value> strides; ///< i64; null where the type says it
  bool written;
};

/// A coordinate of a thread's registers: thread part + a constant for each register, or a value for each where bits
/// mix.
struct RegisterCoordinates {
  Value thread; ///< i32; null when it is 0 in every thread
  SmallVector<uint32_t> constants;
  SmallVector<Value> values; ///< in place of the two above
};

class Emitter {
public:
  Emitter(mlir::func::FuncOp kernel, mlir::ModuleOp module);
  void run();

private:
  // ---- emitter.cpp: the walk, control flow, words ------------------------------------------------------------------
  void declare();
  void block(mlir::Block& block);
  void emit(mlir::Operation* op);
  // Each group lowers the ops that it knows and says whether this was one.
  bool elementwise(mlir::Operation* op); ///< elementwise.cpp
  bool shape(mlir::Operation* op);       ///< elementwise.cpp
  bool control(mlir::Operation* op);     ///< emitter.cpp
  bool global(mlir::Operation* op);      ///< memory.cpp
  bool shared(mlir::Operation* op);      ///< shared.cpp
  bool matrix(mlir::Operation* op);      ///< dot.cpp: products, reductions, conversions
  void loop(mlir::scf::ForOp op);
  void branch(mlir::scf::IfOp op);
  Words& words(Value tile);
  Value scalar(Value value);
  void define(Value value, Words words) { words_[value] = std::move(words); }
  Type word_type(mlir::RankedTensorType type);
  SmallVector<Value> elements(Value tile);                           ///< one value for each register
  Words pack(ArrayRef<Value> elements, mlir::RankedTensorType type); ///< and back
  SmallVector<Type> carried_types(mlir::ValueRange values);
  SmallVector<Value> carried(mlir::ValueRange values); ///< all words of all values
  void define_carried(mlir::ValueRange values, ArrayRef<Value> words);

  // ---- coordinates.cpp ---------------------------------------------------------------------------------------------
  Value lane();
  Value warp();
  Value place_digit(layout::Axis axis, uint32_t stride, uint32_t radix, bool top);
  /// The thread part of one field; null when it is 0.
  Value thread_part(const layout::Linear::Field& field);
  RegisterCoordinates coordinates(tile::LayoutAttr layout, int dim);
  Value affine(const layout::Affine& function);
  Value holds_first_copy(const layout::Layout& layout); ///< null: every thread does

  // ---- elementwise.cpp ---------------------------------------------------------------------------------------------
  Value scalar_op(mlir::Operation* op, ArrayRef<Value> operands, Type element, unsigned lanes);

  // ---- memory.cpp --------------------------------------------------------------------------------------------------
  struct Access; ///< addresses and predicates of a tile's elements in a view
  void load(tile::LoadOp op);
  void store(tile::StoreOp op);
  void copy_async(tile::CopyAsyncOp op);

  // ---- shared.cpp --------------------------------------------------------------------------------------------------
  Value shared_pointer(Value shared);
  void shared_store(ArrayRef<Value> elements, const layout::Layout& layout, tile::SharedType type, Value pointer);

  // ---- dot.cpp, reduce.cpp, convert.cpp ----------------------------------------------------------------------------
  void dot(tile::DotOp op);
  void reduce(tile::ReduceOp op);
  SmallVector<Value> combine(tile::ReduceOp op, ArrayRef<Value> a, ArrayRef<Value> b);
  Value shuffle_element(Value element, uint32_t mask);
  void convert(tile::ConvertOp op);
  Value choose(ArrayRef<Value> registers, Value code, ArrayRef<uint32_t> codes);
  SmallVector<Value> exchange(ArrayRef<Value> elements, Value from_lane, Type element);

  mlir::func::FuncOp kernel_;
  mlir::ModuleOp module_;
  Code code_;
  Value lane_, warp_;
  llvm::DenseMap<Value, Words> words_;
  llvm::DenseMap<Value, ViewValues> views_;
  llvm::DenseMap<std::pair<tile::LayoutAttr, int>, RegisterCoordinates> coordinates_;
};

} // namespace tilejit::passes
