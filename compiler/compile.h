// compile.h - tile program in, PTX and launch facts out. Light: names no MLIR type.
#pragma once
#include "compiler/program.h"
#include "runtime/compiled_kernel.h"

#include <functional>
#include <string>
#include <string_view>

namespace tilejit {

/// How far a program is lowered, for reading.
enum class Level { tile, placed, llvm_dialect, llvm, ptx };

struct CompileOptions {
  std::string target = "sm_90a";
  bool verify = false;         ///< run MLIR's verifier after each pass (tests do)
  bool optimize_fully = false; ///< LLVM's O3 in place of the short list of passes: slower, rarely better
  /// Called after each pass with its name and the IR; printing the IR is what makes this slow.
  std::function<void(std::string_view pass, const std::string& ir)> after_pass;
};

/// Compiles for one target. Throws CompileError: the target lacks something, or shared memory does not suffice.
CompiledKernel compile(const Program& program, const CompileOptions& options = {});

/// The program's text at a level.
std::string lower_to(const Program& program, Level level, const CompileOptions& options = {});

} // namespace tilejit
