// recorder.h - what the functions of the language write into: one tile program under construction. For the .cpp files
// of dsl/ only; authors never see it.
//
// A Tile is a number in `values_`, the table of a recording's values: the program is still being rewritten while tiles
// refer to it (a loop drops the carried values that it turns out not to need), and the table follows.
//
// Loops. When a loop begins, nobody knows yet which Vars its body will assign, so every living Var becomes an argument
// of the loop. When it ends, the Vars that still hold their own argument were not assigned: their arguments go, and
// uses of them read the value from before the loop. The others are yielded, and afterwards hold the loop's results.
// The parts of a `when` read values from outside as they are; the Vars that either assigned hold its results.
#pragma once
#include "compiler/dialect/dialect.h"
#include "compiler/program_impl.h"
#include "dsl/kernel.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Builders.h"

#include <optional>

namespace tilejit::dsl {

class Recorder {
  std::unique_ptr<mlir::MLIRContext> context_; // first, since all that follows lives in it
  mlir::OwningOpRef<mlir::ModuleOp> module_;
  mlir::func::FuncOp kernel_;

public:
  Recorder(const std::string& name, const std::vector<ArgumentSpec>& arguments, const Schedule& schedule,
           const Location& where);
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  /// The recording that this thread is at. Throws Error when there is none, or when a loop of it was left half
  /// recorded.
  static Recorder& current(const Location& where);
  /// That recording if it is still going on, if only to be resumed; else null. Never throws.
  static Recorder* find(uint64_t recording);

  static Arguments arguments() { return {}; }
  Program finish();

  // ---- values --------------------------------------------------------------------------------------------------

  /// The operation of a tile's value. Throws Error for a tile of another recording, or of a loop that has ended.
  mlir::Value value(uint64_t recording, uint32_t index, const Location& where);
  mlir::Value value(const Tile& tile, const Location& where) { return value(tile.recording_, tile.value_, where); }
  /// The operand's value; a number becomes a constant of `element`, or where that is null of i1, i32 or f32.
  mlir::Value value(const Operand& operand, mlir::Type element = {});
  mlir::Value literal(const Literal& number, const Location& where); ///< a constant scalar of i1, i32 or f32
  Tile tile(mlir::Value value);
  uint32_t enter(mlir::Value value); ///< a new line in the table

  /// The operands as values of one element type and shape, by the rules of tile.h; `what` names the operation.
  llvm::SmallVector<mlir::Value> unify(llvm::StringRef what, llvm::ArrayRef<const Operand*> operands);
  /// Only the element type; shapes stay as they are.
  llvm::SmallVector<mlir::Value> unify_types(llvm::StringRef what, llvm::ArrayRef<const Operand*> operands);
  /// Only the shape.
  void unify_shapes(llvm::StringRef what, const Location& where, llvm::MutableArrayRef<mlir::Value> values);
  /// `value` repeated to `shape`; throws Error when it does not fit.
  mlir::Value broadcast(llvm::StringRef what, const Location& where, mlir::Value value, llvm::ArrayRef<int64_t> shape);
  /// Each element in another type.
  mlir::Value cast(mlir::Value value, mlir::Type element, const Location& where);
  mlir::Value constant(llvm::StringRef what, const Literal& number, mlir::Type type, const Location& where);
  /// An i32 scalar, e.g. a coordinate. Throws Error for anything else.
  mlir::Value index(llvm::StringRef what, const Operand& operand);

  /// Adds an operation, or returns the constant or the operand that it amounts to.
  template <typename Op, typename... Arguments>
  mlir::Value add(const Location& where, Arguments&&... arguments) {
    return shared(builder.createOrFold<Op>(location(where), std::forward<Arguments>(arguments)...));
  }
  mlir::Location location(const Location& where);
  mlir::Type element(DType type);

  /// "f32 [64, 128]", "i32 scalar".
  static std::string describe(mlir::Type type);
  static mlir::Type element_of(mlir::Type type);
  static llvm::SmallVector<int64_t> shape_of(mlir::Type type);
  static DType dtype_of(mlir::Type type);
  static mlir::Type with_element(mlir::Type type, mlir::Type element);

  // ---- structure -----------------------------------------------------------------------------------------------

  void begin(Range& range);
  void end(Range& range);
  void abandon(const Range& range) noexcept;
  void when(const Operand& condition, const std::function<void()>& body, const std::function<void()>& otherwise);
  Tile induction(const Range& range) { return Tile(id_, range.induction_); }
  void assign(Var& variable, const Operand& value);
  uint32_t add_variable(Var* variable);
  void move_variable(uint32_t slot, Var* variable) { variables_[slot] = variable; }
  /// Builds a combine function: `body` runs between two scalars of each of `elements` and the values that it returns.
  void combine(mlir::Region& region, llvm::ArrayRef<mlir::Type> elements, const Location& where,
               llvm::function_ref<std::vector<Tile>(std::vector<Tile>, std::vector<Tile>)> body);
  bool in_combine() const { return combine_begin_.has_value(); }

  // ---- arguments -----------------------------------------------------------------------------------------------

  const std::vector<ArgumentSpec>& specs() const { return specs_; }
  mlir::Value argument(uint32_t number) { return kernel_.getArgument(number); }
  View view(size_t number) const;
  uint64_t id() const { return id_; }

  /// Where windows and views need the private parts of their classes.
  struct Access {
    static uint64_t recording(const Window& w) { return w.recording_; }
    static uint32_t argument(const Window& w) { return w.argument_; }
    static const std::vector<Coordinate>& coordinates(const Window& w) { return w.coordinates_; }
  };

  mlir::OpBuilder builder;

private:
  /// The constant at the kernel's head that stands for all equal ones, so that the program is short to read. Inside a
  /// combine function, which stands for itself, a constant stays where it is.
  mlir::Value constant(mlir::TypedAttr value, mlir::Location where);
  mlir::Value shared(mlir::Value value); ///< the same, if `value` is a constant

  /// The living Vars whose values may be read here, by slot.
  llvm::SmallVector<uint32_t> visible_variables();

  struct Loop {
    mlir::scf::ForOp op;
    llvm::SmallVector<uint32_t> carried; ///< slots of the Vars that are its arguments, in order
    Location where;
  };

  std::vector<ArgumentSpec> specs_;
  uint64_t id_;
  Recorder* outer_; ///< the recording that this one interrupts
  std::vector<mlir::Value> values_;
  llvm::DenseMap<mlir::Attribute, mlir::Value> constants_;
  mlir::Operation* last_constant_ = nullptr;
  std::vector<Var*> variables_; ///< by slot; null: gone
  std::vector<Loop> loops_;
  std::optional<size_t> combine_begin_; ///< inside a combine function: the first slot of its own Vars
  std::optional<std::string> broken_;   ///< why nothing more can be recorded
};

} // namespace tilejit::dsl
