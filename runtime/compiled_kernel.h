// compiled_kernel.h - what a compiler hands to a runtime: PTX text and the facts of its launch.
//
// The one description that `compiler/` and `runtime/` share. It depends on nothing but the standard library, so that
// a program can load a precompiled kernel without linking the compiler, and the compiler can be tested without a
// device.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tilejit {

/// Element types of tensors and scalars, as they lie in device memory.
enum class DType : uint8_t { i1, i8, i32, i64, f16, bf16, f32, f64 };

/// Bytes of one element (i1 takes one byte in memory).
constexpr size_t size_of(DType type) {
  switch (type) {
  case DType::i1:
  case DType::i8: return 1;
  case DType::f16:
  case DType::bf16: return 2;
  case DType::i32:
  case DType::f32: return 4;
  case DType::i64:
  case DType::f64: return 8;
  }
  return 0;
}

constexpr std::string_view name_of(DType type) {
  switch (type) {
  case DType::i1: return "i1";
  case DType::i8: return "i8";
  case DType::i32: return "i32";
  case DType::i64: return "i64";
  case DType::f16: return "f16";
  case DType::bf16: return "bf16";
  case DType::f32: return "f32";
  case DType::f64: return "f64";
  }
  return "?";
}

/// A size or stride that is not known before the launch.
inline constexpr int64_t dynamic = -1;

/// One argument of a kernel as its author wrote it: a tensor or a scalar. A compiled kernel serves every tensor that
/// `matches` it: fixed sizes and strides are equal, and `align` bytes divide the address and every dynamic stride.
struct KernelArgument {
  std::string name;
  bool is_tensor = true;
  DType type = DType::f32;
  std::vector<int64_t> shape;   ///< elements, or `dynamic`; empty for a scalar
  std::vector<int64_t> strides; ///< elements, or `dynamic`
  uint32_t align = 1;           ///< bytes
  bool written = false;         ///< the kernel stores to it
};

/// One `.param` of the PTX entry, in order. Pointers are 64 bits, sizes 32, strides 64 (in elements).
struct KernelParameter {
  enum class Kind : uint8_t { pointer, size, stride, scalar } kind;
  uint32_t argument = 0; ///< which KernelArgument
  uint32_t dim = 0;      ///< which dimension, for size and stride
};

/// How long one stage of the compilation took.
struct StageTime {
  std::string name;
  double milliseconds = 0;
};

/// PTX for one target and one specialization, with all that a launch needs to know.
struct CompiledKernel {
  std::string name;   ///< the entry in the PTX
  std::string target; ///< "sm_90a"
  std::string ptx;
  uint32_t threads = 0;              ///< per block, a multiple of 32
  uint32_t shared_bytes = 0;         ///< dynamic shared memory of a block
  std::array<uint32_t, 3> cluster{}; ///< blocks of a cluster; 0: as the PTX says, or none
  std::vector<KernelArgument> arguments;
  std::vector<KernelParameter> parameters;
  std::vector<StageTime> stages;
};

} // namespace tilejit
