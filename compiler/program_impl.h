// program_impl.h - what a Program holds; for the compiler and the recorder only.
#pragma once
#include "compiler/program.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"

#include <mutex>

namespace tilejit {

struct Program::Impl {
  std::unique_ptr<mlir::MLIRContext> context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  std::mutex mutex; ///< a context serves one thread at a time

  mlir::func::FuncOp kernel(); ///< the one `func.func` with `tile.kernel`
};

/// A context with every dialect of the compiler, without threads.
std::unique_ptr<mlir::MLIRContext> make_context();

} // namespace tilejit
