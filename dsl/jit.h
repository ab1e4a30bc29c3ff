// jit.h - compile and launch: a kernel, its tensors, and a cache of what was compiled for them.
//
// The first launch with tensors of a kind (types, fixed sizes, alignment: their specialization) records and compiles
// the kernel; every later launch of that kind only fills in pointers, sizes and strides.
#pragma once
#include "compiler/compile.h"
#include "dsl/kernel.h"
#include "runtime/device.h"
#include "runtime/tensor.h"

#include <concepts>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

namespace tilejit::dsl {

/// Which facts of a tensor are compiled in. The stride 1 of the last dim that has it always is; other strides never
/// are, nor are addresses, of both only the alignment (up to 16 bytes).
struct Specialization {
  /// Dims whose sizes are fixed (negative: from the end).
  std::vector<int> fixed_sizes;
  /// The last dim of a tensor of rank 2 or more: a head's width, a row's length. Numbers of rows stay open.
  static Specialization last_dim(int rank) { return {rank >= 2 ? std::vector<int>{-1} : std::vector<int>{}}; }
};

/// The spec that serves `tensor` and all like it. Throws Error: a size above 2^31 - 2^24, a dim out of range.
ArgumentSpec specialize(const runtime::Tensor& tensor, const Specialization& specialization);
ArgumentSpec specialize(const runtime::Tensor& tensor);

/// An argument of a launch: a tensor, an integer of 32 or 64 bits (by its C++ type), or a fraction, which is an f32
/// also when written as a double.
class Argument {
public:
  Argument(const runtime::Tensor& tensor) : value_(tensor) {}
  template <std::integral N>
    requires(sizeof(N) >= 4)
  Argument(N value) {
    if constexpr (sizeof(N) == 4)
      value_ = static_cast<int32_t>(value);
    else
      value_ = static_cast<int64_t>(value);
  }
  template <std::floating_point N>
  Argument(N value) : value_(static_cast<float>(value)) {}

  const std::variant<runtime::Tensor, int32_t, int64_t, float>& value() const { return value_; }

private:
  std::variant<runtime::Tensor, int32_t, int64_t, float> value_;
};

/// Blocks along the three axes of program_id. An axis of 0 blocks: nothing to do.
struct Grid {
  int64_t x = 1, y = 1, z = 1;
};

/// A kernel and everything compiled of it. Thread-safe; copies share the cache.
class Jit {
public:
  explicit Jit(Kernel kernel, CompileOptions options = {});

  /// Fixes other sizes of one argument than Specialization::last_dim. Before the first launch.
  Jit& specialize(const std::string& argument, Specialization specialization);

  /// Queues a launch on `stream` (null: the device's default). Throws Error for arguments that don't fit, and what
  /// recording, compiling and the device throw.
  void launch(runtime::Device& device, const Grid& grid, const std::vector<Argument>& arguments,
              runtime::Stream* stream = nullptr);

  /// The kernel that a launch with these arguments runs, compiled now if it was not yet.
  std::shared_ptr<const CompiledKernel> compile(const std::string& target, const std::vector<Argument>& arguments);
  /// The same from specs, for a program without the device or the tensors.
  std::shared_ptr<const CompiledKernel> compile(const std::string& target, const std::vector<ArgumentSpec>& specs);

  /// The tile program for these arguments.
  Program record(const std::vector<Argument>& arguments) const;

  const Kernel& kernel() const;
  int compilations() const; ///< so far

private:
  struct State;
  std::shared_ptr<State> state_;
};

/// The launch of a compiled kernel: its parameters from the arguments. Throws Error when a tensor does not match the
/// kernel's specialization: element type, rank, a fixed size or stride, alignment.
runtime::Launch pack(const CompiledKernel& kernel, const Grid& grid, const std::vector<Argument>& arguments);

} // namespace tilejit::dsl
