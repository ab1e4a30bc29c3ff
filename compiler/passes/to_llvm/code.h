// code.h - one thread's code: the LLVM dialect through plain calls.
//
// Everything that the lowering emits goes through this class, so that only code.cpp includes the LLVM dialect (seconds
// per translation unit) and only here is known what an instruction of the GPU is called. What has no op of its own is
// an intrinsic by name; inline PTX only where there is no intrinsic either, each in one function below.
#pragma once
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/BuiltinTypes.h"

#include <cstdint>

namespace tilejit::passes {

using mlir::ArrayRef;
using mlir::SmallVector;
using mlir::StringRef;
using mlir::Type;
using mlir::Value;

class Code {
public:
  explicit Code(mlir::MLIRContext* context);

  mlir::OpBuilder builder;
  mlir::Location location; ///< of the tile op that is being lowered; set by `at`

  Type i1, i8, i16, i32, i64, f32, global_pointer, shared_pointer;

  // ---- values ----------------------------------------------------------------------------------------------------
  Value constant(Type type, mlir::TypedAttr value);
  Value integer(Type type, int64_t value);
  Value number(int64_t value) { return integer(i32, value); } ///< of i32
  Value real(Type type, double value);
  Value zero(Type type); ///< of any type, vectors too
  Value poison(Type type);

  // ---- arithmetic ------------------------------------------------------------------------------------------------
  /// An op of the LLVM dialect by name; floating-point ones get `contract`, so that multiply and add may fuse.
  Value op(StringRef name, Type type, ArrayRef<Value> operands, ArrayRef<mlir::NamedAttribute> attributes = {});
  Value float_op(StringRef name, Type type, ArrayRef<Value> operands);
  Value add(Value a, Value b);
  Value sub(Value a, Value b);
  Value mul(Value a, Value b);
  Value exclusive_or(Value a, Value b);
  Value bit_and(Value a, Value b);
  Value shift_left(Value a, unsigned bits);
  Value shift_right(Value a, unsigned bits); ///< unsigned
  Value unsigned_remainder(Value a, unsigned divisor);
  Value unsigned_quotient(Value a, unsigned divisor);
  /// The predicate is LLVM's number, which is also arith's: eq 0, ne 1, slt 2, sle 3, sgt 4, sge 5, ult 6, ule 7, ugt
  /// 8, uge 9.
  enum Predicate { eq = 0, ne = 1, slt = 2, ult = 6 };
  Value compare(int64_t predicate, Value a, Value b);
  Value compare_float(int64_t predicate, Value a, Value b); ///< arith's number
  Value select(Value condition, Value yes, Value no);
  Value both(Value a, Value b); ///< of i1; a null value is true
  Value sign_extend(Value a, Type type);
  Value zero_extend(Value a, Type type);
  Value bitcast(Value a, Type type);
  Value extract(Value vector, unsigned element);
  Value vector(ArrayRef<Value> elements); ///< a vector of them; one element: itself
  SmallVector<Value> fields(Value aggregate);

  // ---- memory ----------------------------------------------------------------------------------------------------
  Value address(Value pointer, Value bytes);   ///< pointer + bytes (i32 or i64)
  Value address(Value pointer, int64_t bytes); ///< the same, an immediate
  Value load(Type type, Value pointer, unsigned align, bool invariant = false);
  void store(Value value, Value pointer, unsigned align);
  /// `words` values of i32, i16 or i8 (`type`), all zero where the predicate is false. Inline PTX.
  SmallVector<Value> load_global_if(Value predicate, Type type, unsigned words, Value pointer);
  void store_global_if(Value predicate, ArrayRef<Value> words, Value pointer);
  Value dynamic_shared(); ///< the start of the block's dynamic shared memory

  // ---- instructions ----------------------------------------------------------------------------------------------
  Value intrinsic(StringRef name, Type result, ArrayRef<Value> operands); ///< result null: none
  Value assembly(StringRef text, StringRef constraints, Type result, ArrayRef<Value> operands, bool side_effects);
  Value thread_in_block();
  Value block_in_grid(unsigned axis);
  Value shuffle_xor(Value word, unsigned mask);
  Value shuffle_from(Value word, Value lane);
  void barrier();
  /// Reads `source_bytes` of `bytes` and fills the rest with zeros; nothing happens where `enable` (null: true) is
  /// false.
  void copy_async(Value shared, Value global, unsigned bytes, Value source_bytes, Value enable);
  void commit_copies();
  void wait_copies(unsigned pending);
  SmallVector<Value> ldmatrix(Value shared, unsigned words, bool transposed); ///< words of i32
  /// d = c + a b for m16n8k16 (bf16, f16) or m16n8k8 (f32: tf32); words of i32, accumulators of f32.
  SmallVector<Value> mma(Type element, ArrayRef<Value> a, ArrayRef<Value> b, ArrayRef<Value> c);
  Value round_to_tf32(Value x); ///< f32 -> i32, to nearest
  Value exp2(Value x);          ///< f32, approximate: about 2 units in the last place, subnormals are 0
  Value log2(Value x);
  Value tanh(Value x);
  Value reciprocal_root(Value x);
  Value root(Value x);
  Value divide(Value a, Value b); ///< f32, 2 units in the last place, full range

  // ---- control flow ----------------------------------------------------------------------------------------------
  mlir::Block* block_after(mlir::Block* block, ArrayRef<Type> arguments = {});
  void branch(mlir::Block* to, ArrayRef<Value> arguments = {});
  void branch_if(Value condition, mlir::Block* yes, ArrayRef<Value> yes_arguments, mlir::Block* no,
                 ArrayRef<Value> no_arguments = {});
  void loop_back(mlir::Block* header, ArrayRef<Value> arguments); ///< LLVM must not unroll: the author did or did not
  void finish();                                                  ///< return

  // ---- functions -------------------------------------------------------------------------------------------------
  /// An empty kernel; the insertion point is its entry. `like` is its line in the debug information.
  mlir::Operation* kernel(StringRef name, ArrayRef<Type> parameters, unsigned threads, mlir::Location like,
                          mlir::ModuleOp module);
  /// What follows stands at the kernel's head, where all of it may be used.
  void to_head();
  /// What follows comes from there.
  void at(mlir::Location where);

private:
  mlir::Operation* function_ = nullptr;
  Value shared_;
  llvm::DenseMap<std::pair<Type, mlir::Attribute>, Value> constants_;
  mlir::Operation* last_constant_ = nullptr;                      ///< those of later requests stand before it
  mlir::StringAttr file_;                                         ///< the kernel's; null: it has no location
  mlir::Attribute scope_;                                         ///< its debug information
  llvm::DenseMap<mlir::StringAttr, mlir::Attribute> other_files_; ///< scopes inside it
};

/// For passes that create its ops.
void register_llvm_dialect(mlir::DialectRegistry& registry);

} // namespace tilejit::passes
