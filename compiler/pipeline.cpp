// pipeline.cpp - the whole way from a tile program to PTX, top to bottom.
#include "compiler/compile.h"
#include "compiler/dialect/dialect.h"
#include "compiler/passes/abi.h"
#include "compiler/passes/passes.h"
#include "compiler/program_impl.h"
#include "compiler/ptx/ptx.h"
#include "compiler/target/target.h"

#include "mlir/Pass/PassInstrumentation.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

#include <chrono>

using namespace mlir;

namespace tilejit {
namespace {

using Clock = std::chrono::steady_clock;

// Level 1 -> level 2: each tile gets a place, and what that needs.
void add_placement(OpPassManager& passes) {
  passes.addPass(createCSEPass()); // recorded programs repeat index arithmetic and hold what nobody used
  OpPassManager& kernel = passes.nest<func::FuncOp>();
  for (auto create : passes::kernel_passes) kernel.addPass(create());
}

// Level 2 -> level 3: one thread's code.
void add_lowering(OpPassManager& passes) { passes.addPass(passes::create_to_llvm()); }

// Times each pass and shows the IR after it to whoever asked.
struct Watch : PassInstrumentation {
  std::vector<StageTime>& stages;
  const CompileOptions& options;
  Clock::time_point start;

  Watch(std::vector<StageTime>& stages, const CompileOptions& options) : stages(stages), options(options) {}

  static bool counts(Pass* pass) { return !isa_adaptor(pass); }
  // Pass managers nest through adaptor passes, which have no argument.
  static bool isa_adaptor(Pass* pass) { return pass->getArgument().empty(); }

  void runBeforePass(Pass* pass, Operation*) override {
    if (counts(pass)) start = Clock::now();
  }
  void runAfterPass(Pass* pass, Operation* op) override {
    if (!counts(pass)) return;
    double milliseconds = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
    stages.push_back({pass->getArgument().str(), milliseconds});
    if (!options.after_pass) return;
    std::string text;
    llvm::raw_string_ostream stream(text);
    op->print(stream);
    options.after_pass(pass->getArgument().str(), text);
  }
};

// A copy of the program on its way down. The context is the program's, so one compilation of a program at a time.
class Compilation {
public:
  Compilation(const Program& program, const CompileOptions& options)
      : lock_(program.impl().mutex), options_(options), target_(find_target(options.target)) {
    if (!target_) {
      std::string known;
      for (const Target& target : targets()) known += (known.empty() ? "" : ", ") + std::string(target.name);
      throw CompileError("unknown target '" + options.target + "'; known are " + known);
    }
    context_ = program.impl().context.get();
    module_ = program.impl().module->clone();
    for (auto kernel : module_->getOps<func::FuncOp>())
      if (kernel->hasAttr(tile::kernel_attr))
        kernel->setAttr(tile::target_attr, StringAttr::get(context_, options.target));
  }

  const Target& target() const { return *target_; }
  ModuleOp module() { return *module_; }
  std::vector<StageTime>& stages() { return stages_; }
  func::FuncOp kernel() {
    for (auto kernel : module_->getOps<func::FuncOp>())
      if (kernel->hasAttr(tile::kernel_attr)) return kernel;
    throw CompileError("the program has no function with the attribute '" + tile::kernel_attr.str() + "'");
  }

  void run(void (*add_passes)(OpPassManager&)) {
    PassManager passes(context_);
    passes.enableVerifier(options_.verify);
    passes.addInstrumentation(std::make_unique<Watch>(stages_, options_));
    add_passes(passes);
    std::string message;
    ScopedDiagnosticHandler handler(context_, [&](Diagnostic& diagnostic) {
      if (diagnostic.getSeverity() != DiagnosticSeverity::Error) return;
      if (!message.empty()) message += "; ";
      message += describe(diagnostic.getLocation()) + diagnostic.str();
    });
    if (failed(passes.run(*module_))) throw CompileError(message.empty() ? "compilation failed" : message);
  }

  std::string text() {
    std::string text;
    llvm::raw_string_ostream stream(text);
    module_->print(stream);
    return text;
  }

private:
  static std::string describe(Location location) {
    if (auto file = location->findInstanceOf<FileLineColLoc>())
      return file.getFilename().str() + ":" + std::to_string(file.getLine()) + ": ";
    return "";
  }

  std::unique_lock<std::mutex> lock_;
  const CompileOptions& options_;
  const Target* target_;
  MLIRContext* context_;
  OwningOpRef<ModuleOp> module_;
  std::vector<StageTime> stages_;
};

} // namespace

CompiledKernel compile(const Program& program, const CompileOptions& options) {
  Compilation compilation(program, options);
  CompiledKernel kernel;
  kernel.name = compilation.kernel().getName().str();
  kernel.target = options.target;
  kernel.arguments = passes::kernel_arguments(compilation.kernel());
  kernel.parameters = passes::kernel_parameters(compilation.kernel());
  kernel.threads = 32 * passes::kernel_warps(compilation.kernel());

  compilation.run(add_placement);
  kernel.shared_bytes = compilation.kernel()->getAttrOfType<IntegerAttr>(tile::shared_bytes_attr).getInt();
  compilation.run(add_lowering);
  kernel.ptx = ptx::to_ptx(compilation.module(), compilation.target(), options, compilation.stages());

  kernel.stages = std::move(compilation.stages());
  return kernel;
}

std::string lower_to(const Program& program, Level level, const CompileOptions& options) {
  if (level == Level::tile) return program.text();
  Compilation compilation(program, options);
  compilation.run(add_placement);
  if (level == Level::placed) return compilation.text();
  compilation.run(add_lowering);
  if (level == Level::llvm_dialect) return compilation.text();
  if (level == Level::llvm) return ptx::to_llvm_ir(compilation.module(), compilation.target(), options);
  return ptx::to_ptx(compilation.module(), compilation.target(), options, compilation.stages());
}

} // namespace tilejit
