// tilejit list: the library's kernels with their inputs, outputs and parameters.
#include "tools/tilejit/commands.h"
#include "tools/tilejit/kernels.h"

#include <fmt/format.h>
#include <iostream>

namespace tilejit::tools {
namespace {

std::string tensor_line(const attention::TensorInfo& tensor) {
  std::string type = tensor.type ? std::string(name_of(*tensor.type)) : "";
  return fmt::format("    {:<12}{:<18}{:<5}{}{}\n", tensor.name + (tensor.optional ? "?" : ""), "[" + tensor.dims + "]",
                     type, tensor.summary,
                     tensor.optional ? (tensor.summary.empty() ? "optional" : " (optional)") : "");
}

std::string default_text(const attention::ParameterInfo& parameter) {
  if (!parameter.initial_text.empty()) return parameter.initial_text;
  return std::visit([](const auto& value) { return fmt::format("{}", value); }, parameter.initial);
}

std::string to_text(const attention::KernelInfo& kernel) {
  std::string text = fmt::format("{}: {}\n  inputs\n", kernel.name, kernel.summary);
  for (const attention::TensorInfo& input : kernel.inputs) text += tensor_line(input);
  text += "  outputs\n";
  for (const attention::TensorInfo& output : kernel.outputs) text += tensor_line(output);
  if (!kernel.parameters.empty()) text += "  parameters\n";
  for (const attention::ParameterInfo& parameter : kernel.parameters)
    text += fmt::format("    {:<12}{:<18}     {}\n", parameter.name, "= " + default_text(parameter), parameter.summary);
  return text;
}

} // namespace

void add_list(CLI::App& program) {
  CLI::App* command = program.add_subcommand("list", "Lists the library's kernels: inputs, outputs, parameters.");
  command->callback([] {
    bool first = true;
    for (const attention::KernelInfo* kernel : attention::kernels())
      std::cout << (std::exchange(first, false) ? "" : "\n") << to_text(*kernel);
  });
}

} // namespace tilejit::tools
