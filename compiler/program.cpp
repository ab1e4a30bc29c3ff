#include "compiler/dialect/dialect.h"
#include "compiler/program_impl.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/AsmState.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/SourceMgr.h"

using namespace mlir;

namespace tilejit {

std::unique_ptr<MLIRContext> make_context() {
  DialectRegistry registry;
  tile::register_dialects(registry);
  registry.insert<LLVM::LLVMDialect>();
  auto context = std::make_unique<MLIRContext>(registry, MLIRContext::Threading::DISABLED);
  context->loadAllAvailableDialects();
  return context;
}

func::FuncOp Program::Impl::kernel() {
  for (auto function : module->getOps<func::FuncOp>())
    if (function->hasAttr(tile::kernel_attr)) return function;
  throw CompileError("the program has no function with the attribute '" + tile::kernel_attr.str() + "'");
}

Program Program::parse(std::string_view text, const std::string& file) {
  auto impl = std::make_shared<Impl>();
  impl->context = make_context();
  std::string message;
  ScopedDiagnosticHandler handler(impl->context.get(), [&](Diagnostic& diagnostic) {
    if (!message.empty() || diagnostic.getSeverity() != DiagnosticSeverity::Error) return;
    if (auto where = dyn_cast<FileLineColLoc>(diagnostic.getLocation()))
      message = where.getFilename().str() + ":" + std::to_string(where.getLine()) + ":" +
                std::to_string(where.getColumn()) + ": ";
    message += diagnostic.str();
  });
  llvm::SourceMgr sources;
  sources.AddNewSourceBuffer(llvm::MemoryBuffer::getMemBufferCopy(llvm::StringRef(text), file), llvm::SMLoc());
  impl->module = parseSourceFile<ModuleOp>(sources, ParserConfig(impl->context.get()));
  if (!impl->module) throw CompileError(message.empty() ? file + ": not a tile program" : message);
  impl->kernel(); // there must be one
  return Program(std::move(impl));
}

std::string Program::name() const { return impl_->kernel().getName().str(); }

std::string Program::text(bool locations) const {
  std::string text;
  llvm::raw_string_ostream stream(text);
  OpPrintingFlags flags;
  if (locations) flags.enableDebugInfo();
  impl_->module->print(stream, flags);
  return text;
}

} // namespace tilejit
