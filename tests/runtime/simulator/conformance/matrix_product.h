// matrix_product.h - products of a warp: the types of elements, the lane and register that hold each of them, and the
// kernel that multiplies. PTX ISA "Matrix Fragments for mma.m16n8k16 ..." and its neighbours.
#pragma once
#include "tests/runtime/simulator/conformance/case.h"
#include "tests/runtime/simulator/conformance/exact.h"

namespace tilejit::conformance {

/// A type of matrix elements: how numbers become bits.
struct Element {
  const char* name;
  uint32_t bits;
  const Format* format; ///< null: an integer
  bool is_signed = false;
};
inline constexpr Element F16{"f16", 16, &f16}, BF16{"bf16", 16, &bf16}, TF32{"tf32", 32, &tf32}, F32{"f32", 32, &f32},
    F64{"f64", 64, &f64}, E4M3{"e4m3", 8, &e4m3}, E5M2{"e5m2", 8, &e5m2}, S8{"s8", 8, nullptr, true},
    U8{"u8", 8, nullptr}, S4{"s4", 4, nullptr, true}, U4{"u4", 4, nullptr}, B1{"b1", 1, nullptr},
    S32{"s32", 32, nullptr, true};
/// The nearest number of the type.
uint64_t bits_of(const Element& type, double value);
double value_of(const Element& type, uint64_t bits);

struct Matrix {
  uint32_t columns;
  std::vector<double> values; ///< row by row
  Matrix(uint32_t rows, uint32_t columns) : columns(columns), values(rows * columns) {}
  double& operator()(uint32_t row, uint32_t column) { return values[row * columns + column]; }
  double operator()(uint32_t row, uint32_t column) const { return values[row * columns + column]; }
};

/// D = A * B + C by one mma.sync.
struct Product {
  uint32_t m, n, k;
  Element d, a, b, c;
  std::string operation = ""; ///< ".xor.popc"
  uint32_t since = 80;

  std::string spelling() const; ///< "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32"
};
/// What a sum of products may be off, of the sum of their magnitudes. Partial sums of f16 are kept in f32.
double rounding_of(const Element& d);

/// For `words_case`: each lane loads its registers of A, B and C and stores those of D.
Kernel kernel_of(const Product& product);
std::vector<uint32_t> input_of(const Product& product, const Matrix& a, const Matrix& b, const Matrix& c);
uint32_t output_words(const Product& product); ///< of a lane
std::vector<uint32_t> output_of(const Product& product, const Matrix& d);
Matrix matrix_d(const Product& product, std::span<const std::byte> output);

} // namespace tilejit::conformance
