// registry.h - what the library holds, described: for the command line, the documentation, and whoever wants to list
// it.
//
// A kernel's own file defines its `KernelInfo` and registry.cpp lists it; that is all that a new kernel needs.
#pragma once
#include "dsl/dsl.h"

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

namespace tilejit::attention {

/// Inputs or parameters that a kernel can't take: one line that says which and what would do.
struct InputError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct TensorInfo {
  std::string name;
  std::string dims; ///< "B,Tq,HQ,D": sizes that share a letter are equal
  bool optional = false;
  std::optional<DType> type; ///< where it does not follow the kernel's element type: f32 for statistics, gates, states
  std::string summary;
};

using ParameterValue = std::variant<bool, int64_t, double, std::string>;

struct ParameterInfo {
  std::string name;
  ParameterValue initial;   ///< its alternative is the parameter's kind
  std::string initial_text; ///< where the default is computed: "D^-0.5"
  std::string summary;
};

using Tensors = std::map<std::string, runtime::Tensor>;
using Parameters = std::map<std::string, ParameterValue>; ///< only those that were set
using Shapes = std::map<std::string, std::vector<int64_t>>;

struct KernelInfo {
  std::string name, summary;
  std::vector<TensorInfo> inputs, outputs;
  std::vector<ParameterInfo> parameters;
  Shapes example; ///< of every input: what `inspect` shows where no shapes are given

  /// Runs it; gives the outputs in `wanted`. Throws InputError for inputs that don't fit.
  std::function<Tensors(runtime::Device&, const Tensors& inputs, const Parameters&,
                        const std::vector<std::string>& wanted)>
      run;
  /// The tile program for dense inputs of these shapes.
  std::function<Program(const Shapes&, DType, const Parameters&)> program;
};

std::span<const KernelInfo* const> kernels();
const KernelInfo* find_kernel(const std::string& name); ///< null where there is none

/// A parameter's value, or its default.
template <typename T>
T parameter(const KernelInfo& kernel, const Parameters& parameters, const std::string& name) {
  if (auto set = parameters.find(name); set != parameters.end()) return std::get<T>(set->second);
  for (const ParameterInfo& info : kernel.parameters)
    if (info.name == name) return std::get<T>(info.initial);
  throw std::logic_error("kernel '" + kernel.name + "' has no parameter '" + name + "'");
}

} // namespace tilejit::attention
