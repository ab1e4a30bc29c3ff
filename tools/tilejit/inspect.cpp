// tilejit inspect: what a kernel, or a tile program from a file, is lowered to, and what it costs.
#include "compiler/compile.h"
#include "runtime/device.h"
#include "runtime/files.h"
#include "runtime/ptxas.h"
#include "tools/kernel_report.h"
#include "tools/tilejit/commands.h"
#include "tools/tilejit/kernels.h"

#include <chrono>
#include <filesystem>
#include <iostream>
#include <optional>

namespace tilejit::tools {
namespace {

struct Options {
  std::string subject, type = "bf16", target = "sm_90a", emit, output;
  std::vector<std::string> set, shapes;
  bool stats = false;
};

struct Emission {
  std::string_view name;
  std::optional<Level> level; ///< nothing: machine code
};
constexpr Emission emissions[] = {
    {"tile", Level::tile}, {"placed", Level::placed}, {"llvm-dialect", Level::llvm_dialect},
    {"llvm", Level::llvm}, {"ptx", Level::ptx},       {"sass", std::nullopt}};

const Emission& emission_named(const std::string& name) {
  std::vector<std::string> known;
  for (const Emission& emission : emissions) {
    if (emission.name == name) return emission;
    known.emplace_back(emission.name);
  }
  throw InputError("--emit " + name + ": " + unknown_name("level", name, known));
}

bool is_file(const std::string& subject) {
  return subject.find('/') != std::string::npos || std::filesystem::path(subject).extension() == ".mlir";
}

Program program_of(const Options& options) {
  if (is_file(options.subject)) {
    if (!options.set.empty() || !options.shapes.empty())
      throw InputError("--set and --shape are for the library's kernels; " + options.subject +
                       " is a tile program of its own");
    return Program::parse(runtime::read_text(options.subject), options.subject);
  }
  const attention::KernelInfo& kernel = kernel_named(options.subject);
  const attention::Parameters parameters = parse_parameters(kernel, options.set);
  const attention::Shapes shapes = parse_shapes(kernel, options.shapes);
  const DType type = parse_float_type(options.type);
  return kernel.program(shapes, type, parameters);
}

std::string sass(const CompiledKernel& kernel) {
  std::optional<std::string> ptxas = runtime::find_ptxas();
  if (!ptxas) throw InputError("--emit sass needs ptxas: put it on PATH or name it in TILEJIT_PTXAS");
  runtime::PtxasResult result = runtime::run_ptxas(*ptxas, kernel.ptx, kernel.target);
  if (!result.accepted) throw Failure("ptxas refused the PTX: " + result.messages);
  return runtime::disassemble(result.cubin);
}

void write(const std::string& path, const std::string& text) try {
  runtime::OutputFile file(path);
  file.write(text);
  file.commit();
} catch (const runtime::Error& error) { // its name was good: check_writable
  throw Failure(error.what());
}

void inspect(const Options& options) {
  // Statistics alone unless a level is asked for; PTX where neither is.
  std::optional<Emission> emission;
  if (!options.emit.empty())
    emission = emission_named(options.emit);
  else if (!options.stats)
    emission = emission_named("ptx");
  if (!options.output.empty()) runtime::check_writable(options.output);

  auto start = std::chrono::steady_clock::now();
  Program program = program_of(options);
  double recorded = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();

  CompileOptions compile_options;
  compile_options.target = options.target;
  std::optional<CompiledKernel> kernel;
  if (options.stats || (emission && (!emission->level || emission->level == Level::ptx)))
    kernel = compile(program, compile_options);

  std::string text, stats;
  if (emission && !emission->level)
    text = sass(*kernel);
  else if (emission && emission->level == Level::ptx)
    text = kernel->ptx;
  else if (emission)
    text = lower_to(program, *emission->level, compile_options);
  if (options.stats) {
    std::vector<StageTime> stages = kernel->stages;
    stages.insert(stages.begin(), {"record", recorded});
    stats =
        kernel->name + "\n" + to_text(report(*kernel), *kernel, "  ") + "compile time\n" + stages_text(stages, "  ");
  }

  std::string& main_text = emission ? text : stats;
  if (!main_text.empty() && main_text.back() != '\n') main_text += '\n';
  if (options.output.empty())
    std::cout << main_text;
  else
    write(options.output, main_text);
  if (emission && options.stats) std::cout << stats;
}

} // namespace

void add_inspect(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand("inspect", "Shows what a kernel is lowered to, and what it costs.");
  command
      ->add_option("KERNEL", options->subject, "Name of a kernel (tilejit list), or a .mlir file with a tile program")
      ->required();
  command->add_option("--emit", options->emit, "tile, placed, llvm-dialect, llvm, ptx (default) or sass")
      ->type_name("LEVEL");
  command->add_flag("--stats", options->stats, "Instructions by class, registers, spills, shared memory, stage times");
  command->add_option("--set", options->set, "Parameter")->type_name("NAME=VALUE")->allow_extra_args(false);
  command->add_option("--shape", options->shapes, "Shape of an input; an example's where it is not given")
      ->type_name("NAME=B,T,H,D")
      ->allow_extra_args(false);
  command->add_option("--dtype", options->type, "Element type of the kernel: bf16 (default), f16 or f32")
      ->type_name("TYPE");
  command->add_option("--gpu", options->target, "What to compile for: sm_90a (default) or sm_80")->type_name("TARGET");
  command->add_option("-o,--output", options->output, "File to write instead of standard output")->type_name("FILE");
  command->callback([options] {
    try {
      inspect(*options);
    } catch (const CompileError& error) { // names file and line where it has one, else we name the file
      std::string message = error.what();
      if (is_file(options->subject) && !message.starts_with(options->subject))
        message = options->subject + ": " + message;
      throw CompileError(message);
    }
  });
}

} // namespace tilejit::tools
