// matrix_product.h - products of a warp: the types of elements, the lane and register that hold each of them, and the
// kernel that multiplies. PTX ISA "Matrix Fragments for mma.m16n8k16 ..." and its neighbours.
#pragma once
#include "tests/runtime/simulator/conformance/case.h"
#include "tests/runtime/simulator/conformance/exact.h"

#include <random>

namespace tilejit::conformance {

/// A type of matrix elements: how numbers become bits.
struct Element {
  const char* name;
  uint32_t bits;
  const Format* format; ///< null: an integer
  bool is_signed = false;

  int dropped() const { return format ? format->dropped : 0; }
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
/// Numbers of a test.
enum class Numbers {
  integers, ///< small: every order of summation gives the same
  normal,   ///< of the normal distribution
  wide,     ///< of very different sizes, subnormal ones of small types among them
  tiny,     ///< whose products are near the smallest normal float32
  huge      ///< and near the greatest
};
const char* name_of(Numbers numbers);
void fill(Matrix& matrix, const Element& type, Numbers numbers, std::mt19937& random);

/// What a sum of products may be off; `size`: the sum of their magnitudes and of C's, `k`: how many there are. An H200
/// cuts every term at 2^-25 of the greatest one's power of two (2^-13 where wgmma multiplies 8-bit numbers), sums
/// exactly and cuts that off to the type of D; for f16 it rounds.
double rounding_of(const Element& d, const Element& a, uint32_t k, double size, bool warpgroup);

/// Whether a result may stand for a sum; `size`: that of the magnitudes. Partial sums may be beyond the greatest
/// float32.
bool is_near(double got, double sum, double size, double error);

/// The sum of the products a[k] * b[k] and of c as an H200 forms it (exec_exact.cpp says how), by integers of 128 bits.
double machine_sum(const Element& d, const Element& a, const Element& b, std::span<const double> as,
                   std::span<const double> bs, double c, bool warpgroup);

/// For `words_case`: each lane loads its registers of A, B and C and stores those of D.
Kernel kernel_of(const Product& product);
std::vector<uint32_t> input_of(const Product& product, const Matrix& a, const Matrix& b, const Matrix& c);
uint32_t output_words(const Product& product); ///< of a lane
std::vector<uint32_t> output_of(const Product& product, const Matrix& d);
Matrix matrix_d(const Product& product, std::span<const std::byte> output);

} // namespace tilejit::conformance
