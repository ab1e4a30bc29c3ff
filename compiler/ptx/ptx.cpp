#include "compiler/ptx/ptx.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/Analysis/AliasAnalysis.h"
#include "llvm/Analysis/CGSCCPassManager.h"
#include "llvm/Analysis/LoopAnalysisManager.h"
#include "llvm/IR/InlineAsm.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/Instructions.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/OptBisect.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/ErrorHandling.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Target/TargetOptions.h"
#include "llvm/Transforms/InstCombine/InstCombine.h"
#include "llvm/Transforms/Scalar/EarlyCSE.h"
#include "llvm/Transforms/Scalar/LICM.h"
#include "llvm/Transforms/Scalar/LoopPassManager.h"
#include "llvm/Transforms/Scalar/LoopRotation.h"
#include "llvm/Transforms/Scalar/SimplifyCFG.h"

#include <chrono>
#include <mutex>

namespace tilejit::ptx {
namespace {

using Clock = std::chrono::steady_clock;

// An instruction that the target lacks ends LLVM's selection in a fatal error; as an exception it reaches the author.
[[noreturn]] void throw_fatal(void*, const char* reason, bool) {
  throw CompileError(std::string("LLVM can't generate code for this target: ") + reason);
}

void initialize() {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
    llvm::install_fatal_error_handler(throw_fatal);
    // Shared-memory addresses in 32 bits: their arithmetic is a third of a pipelined loop's.
    const char* arguments[] = {"tilejit", "-nvptx-short-ptr"};
    llvm::cl::ParseCommandLineOptions(2, arguments);
  });
}

// Passes of the back end that do again what `optimize` and ptxas do, for a third of its time. Measured on attention of
// widths 64, 128 and 256, causal or not, sm_80 and sm_90a: without the first three the machine code is the same
// instruction for instruction; without the last one its loops are 0 to 4 instructions shorter at widths 64 and 128.
class CodegenGate : public llvm::OptPassGate {
public:
  bool isEnabled() const override { return true; }
  bool shouldRunPass(llvm::StringRef pass, llvm::StringRef) const override {
    return !llvm::is_contained({"slsr", "nary-reassociate", "early-cse", "Loop Strength Reduction"}, pass);
  }
};

class Backend {
public:
  Backend(mlir::ModuleOp module, const Target& target, const CompileOptions& options, std::vector<StageTime>& stages)
      : options_(options), stages_(stages) {
    initialize();
    step("initialize");
    translate(module);
    make_machine(target);
    step("translate");
    optimize();
    step("llvm-opt");
  }

  std::string ir() {
    std::string text;
    llvm::raw_string_ostream stream(text);
    module_->print(stream, nullptr);
    return text;
  }

  std::string assembly() {
    llvm::SmallString<0> text;
    llvm::raw_svector_ostream stream(text);
    llvm::legacy::PassManager passes;
    if (!options_.optimize_fully) context_.setOptPassGate(gate_);
    if (machine_->addPassesToEmitFile(passes, stream, nullptr, llvm::CodeGenFileType::AssemblyFile))
      throw CompileError("LLVM can't write PTX");
    passes.run(*module_);
    step("nvptx");
    return std::string(text);
  }

private:
  void step(const char* name) {
    auto now = Clock::now();
    stages_.push_back({name, std::chrono::duration<double, std::milli>(now - start_).count()});
    start_ = now;
  }

  void translate(mlir::ModuleOp module) {
    mlir::DialectRegistry registry;
    mlir::registerBuiltinDialectTranslation(registry);
    mlir::registerLLVMDialectTranslation(registry);
    module->getContext()->appendDialectRegistry(registry);
    module_ = mlir::translateModuleToLLVMIR(module, context_);
    if (!module_) throw CompileError("translation to LLVM IR failed");
    // Inline PTX must not move across control flow that lanes may leave; MLIR's op can't say so.
    for (llvm::Function& function : *module_)
      for (llvm::Instruction& instruction : llvm::instructions(function))
        if (auto* call = llvm::dyn_cast<llvm::CallInst>(&instruction);
            call && call->isInlineAsm() && call->mayHaveSideEffects())
          call->setConvergent();
  }

  void make_machine(const Target& target) {
    llvm::Triple triple("nvptx64-nvidia-cuda");
    std::string error;
    const llvm::Target* backend = llvm::TargetRegistry::lookupTarget(triple, error);
    if (!backend) throw CompileError("LLVM has no NVPTX back end: " + error);
    llvm::TargetOptions options;
    options.AllowFPOpFusion = llvm::FPOpFusion::Standard;
    machine_.reset(backend->createTargetMachine(triple, llvm::StringRef(target.name), llvm::StringRef(target.ptx),
                                                options, llvm::Reloc::PIC_, std::nullopt,
                                                llvm::CodeGenOptLevel::Default));
    module_->setTargetTriple(triple);
    module_->setDataLayout(machine_->createDataLayout());
  }

  void optimize() {
    llvm::LoopAnalysisManager loops;
    llvm::FunctionAnalysisManager functions;
    llvm::CGSCCAnalysisManager graphs;
    llvm::ModuleAnalysisManager modules;
    llvm::PipelineTuningOptions tuning;
    tuning.LoopUnrolling = false;
    tuning.LoopVectorization = tuning.SLPVectorization = false;
    llvm::PassBuilder builder(machine_.get(), tuning);
    builder.registerModuleAnalyses(modules);
    builder.registerCGSCCAnalyses(graphs);
    builder.registerFunctionAnalyses(functions);
    builder.registerLoopAnalyses(loops);
    builder.crossRegisterProxies(loops, functions, graphs, modules);
    llvm::ModulePassManager passes;
    if (options_.optimize_fully) {
      passes = builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O3);
    } else {
      // Loop rotation is what LICM and ptxas need. Common subexpressions are merged last: before LICM that costs
      // registers (14 more at width 128). No memory SSA, no second round: they changed nothing in the machine code.
      llvm::FunctionPassManager function;
      function.addPass(llvm::InstCombinePass());
      function.addPass(llvm::SimplifyCFGPass());
      llvm::LoopPassManager loop;
      loop.addPass(llvm::LoopRotatePass());
      loop.addPass(llvm::LICMPass(llvm::LICMOptions()));
      function.addPass(llvm::createFunctionToLoopPassAdaptor(std::move(loop), /*UseMemorySSA=*/true));
      function.addPass(llvm::EarlyCSEPass());
      passes.addPass(llvm::createModuleToFunctionPassAdaptor(std::move(function)));
    }
    passes.run(*module_, modules);
  }

  const CompileOptions& options_;
  std::vector<StageTime>& stages_;
  Clock::time_point start_ = Clock::now();
  CodegenGate gate_;
  llvm::LLVMContext context_;
  std::unique_ptr<llvm::Module> module_;
  std::unique_ptr<llvm::TargetMachine> machine_;
};

} // namespace

std::string to_ptx(mlir::ModuleOp module, const Target& target, const CompileOptions& options,
                   std::vector<StageTime>& stages) {
  return Backend(module, target, options, stages).assembly();
}

std::string to_llvm_ir(mlir::ModuleOp module, const Target& target, const CompileOptions& options) {
  std::vector<StageTime> stages;
  return Backend(module, target, options, stages).ir();
}

} // namespace tilejit::ptx
