// program.h - a tile program (level 1), as recorded by the DSL or read from a `.mlir` file. Light: names no MLIR type.
#pragma once
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

namespace tilejit {

/// A program that is not well formed, or that the compiler can't take: the message says what, and where.
struct CompileError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// One kernel as a tile program. Copies share the program, which never changes once made.
class Program {
public:
  struct Impl; ///< program_impl.h: the MLIR module and its context
  explicit Program(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

  /// Reads the textual IR of one kernel; `file` names it in messages. Throws CompileError with line and column.
  static Program parse(std::string_view text, const std::string& file = "input");

  std::string name() const;
  std::string text(bool locations = false) const; ///< parse(text()) is the same program
  Impl& impl() const { return *impl_; }

private:
  std::shared_ptr<Impl> impl_;
};

} // namespace tilejit
