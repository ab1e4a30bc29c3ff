// kernel.h - what surrounds the arithmetic: views of tensors, loops, the kernel itself and its recording.
//
//   Kernel scale = kernel("scale(x, out, factor)", [](View x, View out, Scalar factor) {
//     Index row = program_id(0);
//     for (Index n : range(0, x.size(1), 256)) {
//       Window from = x.at(row, span(n, 256)), to = out.at(row, span(n, 256));
//       to.store(from.load() * factor);
//     }
//   });
//
// A kernel is recorded once for each specialization: sizes, strides and alignments that are known are compiled in.
#pragma once
#include "compiler/program.h"
#include "dsl/schedule.h"
#include "dsl/tile.h"

#include <cstddef>
#include <functional>
#include <initializer_list>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace tilejit::dsl {

// ---- views -----------------------------------------------------------------------------------------------------

/// Elements [begin, begin + length) of a view's dim.
struct Span {
  Tile begin; ///< i32 scalar; may be negative or beyond the end: what lies outside the view is masked
  int64_t length;
};
inline Span span(const Tile& begin, int64_t length) { return {begin, length}; }

/// Where a tile lies along one dim of a view: at one place, or over a span, which makes it a dim of the tile.
struct Coordinate {
  Coordinate(const Span& span) : begin(span.begin), length(span.length), is_span(true) {}
  Coordinate(const Tile& place) : begin(place) {}
  template <std::integral N>
  Coordinate(N place, const Location& where = Location::current()) : begin(place, where) {}

  Tile begin;
  int64_t length = 1;
  bool is_span = false;
};

/// A rectangle of a view, of the shape of its spans in order. Elements outside the view in a spanned dim read as 0 (or
/// `other`) and are not written; other coordinates must lie inside the view.
class Window {
public:
  Tile load(const Location& where = Location::current()) const;
  /// Elements with a false mask are not read and become `other`, as do those outside the view.
  Tile load(const Operand& mask, const Operand& other = 0) const;
  /// Elements outside the view become `other`.
  Tile load_or(const Operand& other) const;
  /// `value` has the view's element type; it broadcasts to the window's shape.
  void store(const Operand& value) const;
  void store(const Operand& value, const Operand& mask) const;
  Shape shape() const;

private:
  friend class View;
  friend class Recorder;
  Window(uint64_t recording, uint32_t argument, std::vector<Coordinate> coordinates)
      : recording_(recording), argument_(argument), coordinates_(std::move(coordinates)) {}
  uint64_t recording_;
  uint32_t argument_;
  std::vector<Coordinate> coordinates_;
};

/// A tensor argument. A block loads what it has stored before; of other blocks' stores nothing is known.
class View {
public:
  DType type(const Location& where = Location::current()) const;
  int rank(const Location& where = Location::current()) const;
  const std::string& name(const Location& where = Location::current()) const;

  /// Size along a dim (negative: from the end), i32; a constant where the specialization fixes it.
  Index size(int dim, const Location& where = Location::current()) const;
  /// The same as a C++ number, for tile shapes; an error where the size is not fixed.
  int64_t fixed_size(int dim, const Location& where = Location::current()) const;

  /// One coordinate for each dim: `q.at(b, span(m, 64), h, span(0, 128))` is a window of shape [64, 128].
  template <typename... Coordinates>
  Window at(const Coordinates&... coordinates) const {
    return Window(recording_, argument_, {Coordinate(coordinates)...});
  }
  Window at(std::vector<Coordinate> coordinates) const { return Window(recording_, argument_, std::move(coordinates)); }

private:
  friend class Recorder;
  View(uint64_t recording, uint32_t argument) : recording_(recording), argument_(argument) {}
  uint64_t recording_;
  uint32_t argument_;
};

// ---- loops -----------------------------------------------------------------------------------------------------

/// `for (Index i : range(begin, end, step))` records one loop; the C++ body runs once. i is i32, begin <= i < end, step
/// > 0. The body may assign Vars; it must not leave by `break`, `return` or an exception.
class Range {
public:
  class Iterator {
  public:
    explicit Iterator(Range* range) : range_(range) {}
    Index operator*() const;
    Iterator& operator++();
    bool operator!=(const Iterator&) const;

  private:
    Range* range_;
  };
  Range(const Operand& begin, const Operand& end, const Operand& step);
  ~Range();
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;
  Iterator begin();
  Iterator end() { return Iterator(this); }

private:
  friend class Recorder;
  uint64_t recording_;
  uint32_t begin_, end_, step_; ///< values
  Location where_;
  enum class State : uint8_t { before, inside, after } state_ = State::before;
  size_t depth_ = 0; ///< of nested loops, while inside
  uint32_t induction_ = 0;
};
inline Range range(const Operand& begin, const Operand& end, const Operand& step) { return Range(begin, end, step); }
inline Range range(const Operand& begin, const Operand& end) { return Range(begin, end, Operand(1, begin.where())); }
inline Range range(const Operand& end) { return Range(Operand(0, end.where()), end, Operand(1, end.where())); }

/// Runs `body`, or else `otherwise`, by what the i1 scalar `condition` is in the running kernel; both C++ functions are
/// recorded once. They may assign Vars, which afterwards hold what the part that ran gave them.
void when(const Operand& condition, const std::function<void()>& body, const std::function<void()>& otherwise = {});

// ---- kernels ---------------------------------------------------------------------------------------------------

/// What is known of an argument while a kernel is recorded: a tensor's type, sizes, strides and alignment, or a
/// scalar's type. jit.h makes them from tensors (`specialize`); `written` plays no part.
using ArgumentSpec = KernelArgument;

/// A tensor's spec; sizes may be `dynamic`. Without strides: C order, the last stride 1, strides that depend on a
/// dynamic size dynamic.
ArgumentSpec tensor_spec(const std::string& name, DType type, const Shape& shape, const Shape& strides = {},
                         uint32_t align = 16);
ArgumentSpec scalar_spec(const std::string& name, DType type);

/// The arguments inside a body that takes `const Arguments&`, by number or name.
class Arguments {
public:
  size_t size(const Location& where = Location::current()) const;
  bool has(const std::string& name, const Location& where = Location::current()) const;
  View view(size_t number, const Location& where = Location::current()) const;
  View view(const std::string& name, const Location& where = Location::current()) const;
  Scalar scalar(size_t number, const Location& where = Location::current()) const;
  Scalar scalar(const std::string& name, const Location& where = Location::current()) const;

private:
  friend class Recorder;
  Arguments() = default;
};

using Body = std::function<void(const Arguments&)>;

/// Runs `body` once and returns what it recorded. Throws Error.
Program record(const std::string& name, const std::vector<ArgumentSpec>& arguments, const Body& body,
               const Schedule& schedule = {}, const Location& where = Location::current());

/// A kernel's name, its arguments' names, its body and its schedule.
class Kernel {
public:
  /// `signature`: "name(first, second)". Throws Error when it is not of that form.
  Kernel(const std::string& signature, Body body, const Schedule& schedule = {},
         const Location& where = Location::current());

  const std::string& name() const { return name_; }
  const std::vector<std::string>& argument_names() const { return argument_names_; }
  const Schedule& schedule() const { return schedule_; }

  /// Records it for one specialization; the specs take this kernel's argument names. Throws Error.
  Program record(std::vector<ArgumentSpec> arguments) const;

private:
  std::string name_;
  std::vector<std::string> argument_names_;
  Body body_;
  Schedule schedule_;
  Location where_;
};

namespace detail {
template <typename T>
T argument(const Arguments& arguments, size_t number, const Location& where) {
  static_assert(std::is_same_v<T, View> || std::is_same_v<T, Scalar>, "a kernel's parameters are Views and Scalars");
  if constexpr (std::is_same_v<T, View>)
    return arguments.view(number, where);
  else
    return arguments.scalar(number, where);
}
template <typename F>
struct Parameters : Parameters<decltype(&F::operator())> {};
template <typename R, typename F, typename... P>
struct Parameters<R (F::*)(P...) const> {
  static constexpr size_t count = sizeof...(P);
  static constexpr bool takes_arguments = std::is_same_v<std::tuple<std::decay_t<P>...>, std::tuple<Arguments>>;
  template <typename Function>
  static void call(const Function& function, const Arguments& arguments, const Location& where) {
    [&]<size_t... number>(std::index_sequence<number...>) {
      function(argument<std::decay_t<P>>(arguments, number, where)...);
    }(std::index_sequence_for<P...>{});
  }
};
[[noreturn]] void wrong_parameter_count(const Location& where, const std::string& signature, size_t named,
                                        size_t parameters);
} // namespace detail

/// A kernel from "name(first, second, ...)" and a C++ function of as many Views (tensors) and Scalars, or of one
/// `const Arguments&`. What the function captures is a constant of the record.
template <typename Function>
Kernel kernel(const std::string& signature, Function function, const Schedule& schedule = {},
              const Location& where = Location::current()) {
  using Parameters = detail::Parameters<Function>;
  if constexpr (Parameters::takes_arguments) {
    return Kernel(signature, Body(std::move(function)), schedule, where);
  } else {
    Body body = [function = std::move(function), where](const Arguments& a) { Parameters::call(function, a, where); };
    Kernel result(signature, std::move(body), schedule, where);
    if (result.argument_names().size() != Parameters::count)
      detail::wrong_parameter_count(where, signature, result.argument_names().size(), Parameters::count);
    return result;
  }
}

} // namespace tilejit::dsl
