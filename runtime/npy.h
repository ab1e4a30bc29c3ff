// npy.h - arrays in NumPy's .npy files, read strictly and written whole.
//
// Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html, versions 1.0 and 2.0. Only what a
// kernel can take is read: float32, float16, int32, int64, little-endian, C order. Everything else, and every file
// that is not exactly as long as its header says, is one clear Error that names the file.
#pragma once
#include "runtime/compiled_kernel.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tilejit::runtime {

/// Elements in C order, as they lie in the file.
struct NpyArray {
  DType type = DType::f32; ///< f32, f16, i32 or i64
  std::vector<int64_t> shape;
  std::vector<std::byte> data; ///< elements * size_of(type) bytes

  int64_t elements() const;
};

/// The same for whatever a file holds.
struct NpyFile {
  std::string descr; ///< NumPy's name of the element type: "<f4", "|u1"
  std::vector<int64_t> shape;
  std::vector<std::byte> data;
};
/// Any boolean, integer or floating-point type of NumPy; otherwise as read_npy.
NpyFile read_npy_file(const std::string& path);
std::vector<std::byte> npy_bytes(const NpyFile& file);

/// Throws Error: not readable, not .npy, another version, another element type, Fortran order, a shape whose size
/// does not fit 64 bits, fewer or more bytes than the shape needs.
NpyArray read_npy(const std::string& path);

/// The complete contents of a .npy file that holds `array`.
std::vector<std::byte> npy_bytes(const NpyArray& array);

/// Writes through a temporary file (files.h). Throws Error when the path cannot be written or the type is not one of
/// the four.
void write_npy(const std::string& path, const NpyArray& array);

/// The elements as float32; int32 and int64 to nearest even.
std::vector<float> to_floats(const NpyArray& array);

/// "[2, 16, 8, 64]"
std::string shape_text(const std::vector<int64_t>& shape);

} // namespace tilejit::runtime
