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

// Level 1: views and scalars come in, scalars and tiles without a layout are computed, nothing is returned. Later
// passes rely on it, so what a file holds is checked here; what is recorded is so by construction.
static LogicalResult check_tile_program(func::FuncOp kernel) {
  if (kernel.isExternal()) return kernel.emitError("a kernel needs a body");
  if (kernel.getNumResults()) return kernel.emitError("a kernel returns nothing: it stores to its views");
  auto is_element = [](Type type) {
    return type.isF16() || type.isBF16() || type.isF32() || type.isF64() || type.isSignlessInteger(1) ||
           type.isSignlessInteger(8) || type.isSignlessInteger(32) || type.isSignlessInteger(64);
  };
  constexpr llvm::StringLiteral elements = "; elements are i1, i8, i32, i64, f16, bf16, f32 or f64";
  for (auto [number, type] : llvm::enumerate(kernel.getArgumentTypes())) {
    auto view = dyn_cast<tile::ViewType>(type);
    if (!is_element(view ? view.getElementType() : type))
      return kernel.emitError() << "argument " << number << " must be a view or a scalar, not " << type << elements;
  }
  WalkResult all = kernel.walk([&](Operation* op) {
    auto check = [&](ValueRange values) {
      for (Type type : values.getTypes()) {
        auto tile = dyn_cast<RankedTensorType>(type);
        if (tile && tile.getEncoding()) {
          op->emitError("tiles have a layout already: this is a placed program, which `tilejit opt` takes further");
          return false;
        }
        if (!is_element(tile ? tile.getElementType() : type) || (tile && !tile.hasStaticShape())) {
          op->emitError() << "a tile program holds scalars and tiles of fixed shape, not " << type << elements;
          return false;
        }
      }
      return true;
    };
    bool fits = check(op->getResults());
    if (op != kernel)
      for (Region& region : op->getRegions())
        for (Block& block : region) fits = fits && check(block.getArguments());
    return fits ? WalkResult::advance() : WalkResult::interrupt();
  });
  return failure(all.wasInterrupted());
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
  if (failed(check_tile_program(impl->kernel()))) throw CompileError(message);
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
