// tile.h - the values of a kernel: Tile, Var, and every function on them.
//
// While a kernel is recorded (kernel.h) its C++ body runs once; each function here adds an operation to the program
// and returns a Tile that stands for its result. Numbers, bools, vectors and ifs of C++ are constants of the record.
//
// Types. An operation needs operands of one element type. A C++ number takes the other operand's type (a fraction
// beside integers is an error; two numbers give i32 or f32). Integers of different widths meet in the wider. All other
// mixes - f32 with bf16, i32 with f32 - are errors: say `.to(type)`.
//
// Shapes. Scalars combine with every tile. Tiles of equal rank combine as in NumPy: dims of size 1 repeat. Different
// ranks are an error: `x.column()` makes [n] an [n, 1], `x.row()` a [1, n].
//
// Every mistake throws dsl::Error, whose text begins with the file and line of the expression that made it.
#pragma once
#include "runtime/compiled_kernel.h"

#include <concepts>
#include <cstdint>
#include <functional>
#include <source_location>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace tilejit::dsl {

using enum DType; // f32, bf16, i32, ...
using Location = std::source_location;
using Shape = std::vector<int64_t>;

/// A kernel author's mistake: "attention.h:41: dot: inner sizes differ: ...".
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
  Error(const Location& where, const std::string& what);
};

/// bool, and every integer and floating-point type of C++.
template <typename T>
concept Number = std::integral<T> || std::floating_point<T>;

/// A C++ number, before the operation that it meets gives it a type.
struct Literal {
  enum class Kind : uint8_t { boolean, integer, fraction } kind;
  int64_t integer = 0; ///< of a boolean too
  double fraction = 0;

  template <Number N>
  constexpr Literal(N value) {
    if constexpr (std::same_as<N, bool>)
      kind = Kind::boolean, integer = value;
    else if constexpr (std::floating_point<N>)
      kind = Kind::fraction, fraction = static_cast<double>(value);
    else if (std::in_range<int64_t>(value))
      kind = Kind::integer, integer = static_cast<int64_t>(value);
    else
      kind = Kind::fraction, fraction = static_cast<double>(value); // no integer type has it, so none will take it
  }
};

/// An immutable value of the kernel: element type and a shape of 0 to 4 dims; rank 0 is a scalar. Cheap to copy.
/// It lives as long as the recording; a value made inside a loop ends with the loop (a Var carries one out).
class [[maybe_unused]] Tile { // a loop need not use its counter
public:
  /// A constant scalar: i1 of a bool, i32 of an integer, f32 of a fraction.
  template <Number N>
  Tile(N value, const Location& where = Location::current()) : Tile(constant(value, where)) {}
  Tile(const Tile&) = default;
  Tile& operator=(const Tile&) = delete; ///< a Tile never changes; a Var does

  DType type(const Location& where = Location::current()) const;
  Shape shape(const Location& where = Location::current()) const;
  int rank(const Location& where = Location::current()) const { return static_cast<int>(shape(where).size()); }
  int64_t size(int dim, const Location& where = Location::current()) const; ///< negative dims count from the end

  /// Each element in another type: to nearest even; float to integer towards zero; to i1: is it not 0.
  Tile to(DType type, const Location& where = Location::current()) const;
  Tile column(const Location& where = Location::current()) const; ///< [n] -> [n, 1]
  Tile row(const Location& where = Location::current()) const;    ///< [n] -> [1, n]
  /// Inserts a dim of size 1 before `dim`; -1: after the last.
  Tile expand(int dim, const Location& where = Location::current()) const;
  /// Repeats a scalar, or the dims of size 1.
  Tile broadcast(const Shape& shape, const Location& where = Location::current()) const;

protected:
  friend class Recorder;
  explicit Tile(uint64_t recording, uint32_t value) : recording_(recording), value_(value) {}
  static Tile constant(Literal value, const Location& where);

  uint64_t recording_; ///< which recording it belongs to
  uint32_t value_;     ///< its place in that recording's table of values
};

using Scalar = Tile; ///< a Tile of rank 0
using Index = Tile;  ///< a Scalar of i32

/// An argument of the functions below: a tile or a number, and the line where the author wrote it. Never named by
/// authors; it is here because an operator can't have a defaulted argument of its own.
class Operand {
public:
  Operand(const Tile& tile, const Location& where = Location::current()) : tile_(&tile), where_(where) {}
  template <Number N>
  Operand(N value, const Location& where = Location::current()) : literal_(value), where_(where) {}

  const Location& where() const { return where_; }
  bool is_tile() const { return tile_ != nullptr; }
  const Literal& literal() const { return literal_; } ///< where it is no tile

private:
  friend class Recorder;
  const Tile* tile_ = nullptr;
  Literal literal_ = 0;
  Location where_;
};

/// A Tile that may be assigned again, inside loops too: a loop carries the Vars that its body changes from one turn to
/// the next. It keeps its type and shape. Copying a Var makes a Var of its own; `Tile x = var;` keeps today's value.
class Var : public Tile {
public:
  Var(const Tile& value);
  template <Number N>
  Var(N value, const Location& where = Location::current()) : Var(Tile(value, where)) {}
  Var(const Var& other) : Var(static_cast<const Tile&>(other)) {}
  Var(Var&& other) noexcept;
  ~Var();

  Var& operator=(const Operand& value) &;
  Var& operator=(const Var& value) && = delete; // so that `a = b` of two Vars is the line above, with its location
  Var& operator+=(const Operand& value) &;
  Var& operator-=(const Operand& value) &;
  Var& operator*=(const Operand& value) &;
  Var& operator/=(const Operand& value) &;

private:
  friend class Recorder;
  static constexpr uint32_t no_slot = ~0u;
  uint32_t slot_; ///< its place in the recording's list of living Vars
};

// ---- tiles out of nothing --------------------------------------------------------------------------------------

/// 0, 1, ..., n - 1 as i32, shape [n].
Tile iota(int64_t n, const Location& where = Location::current());
Tile zeros(DType type, const Shape& shape, const Location& where = Location::current());
/// Every element `value` (a scalar or a number); shape {} makes a scalar.
Tile full(DType type, const Shape& shape, const Operand& value);
/// This block's number along an axis of the grid (0, 1 or 2), i32.
Index program_id(int axis, const Location& where = Location::current());

// ---- element by element ----------------------------------------------------------------------------------------

Tile operator+(const Operand& a, const Operand& b);
Tile operator-(const Operand& a, const Operand& b);
Tile operator*(const Operand& a, const Operand& b);
Tile operator/(const Operand& a, const Operand& b); ///< of integers: towards zero
Tile operator%(const Operand& a, const Operand& b); ///< integers: the remainder of /
Tile operator-(const Operand& x);

Tile operator==(const Operand& a, const Operand& b); ///< comparisons give i1; with a NaN only != is true
Tile operator!=(const Operand& a, const Operand& b);
Tile operator<(const Operand& a, const Operand& b);
Tile operator<=(const Operand& a, const Operand& b);
Tile operator>(const Operand& a, const Operand& b);
Tile operator>=(const Operand& a, const Operand& b);

Tile operator&&(const Operand& a, const Operand& b); ///< of i1; both sides are evaluated
Tile operator||(const Operand& a, const Operand& b);
Tile operator!(const Operand& x);

Tile operator&(const Operand& a, const Operand& b); ///< bits of integers
Tile operator|(const Operand& a, const Operand& b);
Tile operator^(const Operand& a, const Operand& b);
Tile operator<<(const Operand& a, const Operand& b);
Tile operator>>(const Operand& a, const Operand& b); ///< keeps the sign

Tile max(const Operand& a, const Operand& b); ///< of a number and a NaN: the number (IEEE 754-2008 maxNum)
Tile min(const Operand& a, const Operand& b);
/// a / b rounded up, for a >= 0 and b > 0.
Tile cdiv(const Operand& a, const Operand& b);
template <std::integral A, std::integral B>
constexpr int64_t cdiv(A a, B b) {
  return (static_cast<int64_t>(a) + static_cast<int64_t>(b) - 1) / static_cast<int64_t>(b);
}

Tile abs(const Operand& x);
Tile exp(const Operand& x); ///< this and the following to tanh: of f16, bf16 and f32, by the GPU's approximations
Tile exp2(const Operand& x);
Tile log(const Operand& x);
Tile log2(const Operand& x);
Tile sqrt(const Operand& x);
Tile rsqrt(const Operand& x);
Tile tanh(const Operand& x);
Tile fma(const Operand& a, const Operand& b, const Operand& c); ///< a * b + c, rounded once

/// `yes` where the i1 `condition` is true, else `no`.
Tile select(const Operand& condition, const Operand& yes, const Operand& no);

// ---- whole tiles -----------------------------------------------------------------------------------------------

/// How a product of f32 tiles uses the tensor core: one product of operands rounded to 11 bits, or three products that
/// keep about 22. bf16 and f16 products are exact either way.
enum class Precision { tf32, tf32x3 };

/// a [M, K] times b [K, N], plus acc [M, N]; f32 result. a and b: both bf16, f16 or f32. M a multiple of 16, N of 8, K
/// of 16 (f32: 8).
Tile dot(const Operand& a, const Operand& b, Precision precision = Precision::tf32);
Tile dot(const Operand& a, const Operand& b, const Operand& acc, Precision precision = Precision::tf32);

/// [m, n] -> [n, m].
Tile transpose(const Operand& x);
/// Dim d of the result is dim order[d] of x.
Tile permute(const Operand& x, const std::vector<int>& order);

/// Reductions along an axis (negative: from the end), which is dropped from the shape; of [n] they give a scalar. f16
/// and bf16 are summed in f32 and rounded once. The order of the elements is the compiler's, the same in every run.
Tile sum(const Operand& x, int axis);
Tile reduce_max(const Operand& x, int axis); ///< skips NaNs, as max does
Tile reduce_min(const Operand& x, int axis);

using Combine = std::function<Tile(const Scalar&, const Scalar&)>;
using CombineMany = std::function<std::vector<Tile>(const std::vector<Scalar>&, const std::vector<Scalar>&)>;
/// Reduces by any associative and commutative function of two scalars.
Tile reduce(const Operand& x, int axis, const Combine& combine);
/// Several tiles of one shape together, e.g. values and their indices: `combine` takes one scalar of each tile, twice.
std::vector<Tile> reduce(const std::vector<Tile>& tiles, int axis, const CombineMany& combine,
                         const Location& where = Location::current());

} // namespace tilejit::dsl
