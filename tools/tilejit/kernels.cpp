#include "tools/tilejit/kernels.h"

#include <charconv>
#include <cmath>

namespace tilejit::tools {
namespace {

using attention::ParameterInfo;
using attention::ParameterValue;

template <typename Number>
bool read_number(const std::string& text, Number& number) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

ParameterValue parse_parameter(const ParameterInfo& info, const std::string& text) {
  auto wrong = [&](std::string_view expected) {
    return InputError("--set " + info.name + "=" + text + ": expected " + std::string(expected));
  };
  if (std::holds_alternative<bool>(info.initial)) {
    if (text == "true" || text == "1") return true;
    if (text == "false" || text == "0") return false;
    throw wrong("true or false");
  }
  if (std::holds_alternative<int64_t>(info.initial)) {
    int64_t number = 0;
    if (!read_number(text, number)) throw wrong("an integer");
    return number;
  }
  if (std::holds_alternative<double>(info.initial)) {
    double number = 0;
    if (!read_number(text, number) || !std::isfinite(number)) throw wrong("a finite number");
    return number;
  }
  return text;
}

template <typename Info>
std::vector<std::string> names_of(const std::vector<Info>& infos) {
  std::vector<std::string> names;
  for (const Info& info : infos) names.push_back(info.name);
  return names;
}

/// The one of this name; throws InputError with the nearest.
template <typename Info>
const Info& named(const std::vector<Info>& infos, std::string_view kind, const std::string& name) {
  for (const Info& info : infos)
    if (info.name == name) return info;
  throw InputError(unknown_name(kind, name, names_of(infos)));
}

} // namespace

const attention::KernelInfo& kernel_named(const std::string& name) {
  if (const attention::KernelInfo* kernel = attention::find_kernel(name)) return *kernel;
  std::vector<std::string> known;
  for (const attention::KernelInfo* kernel : attention::kernels()) known.push_back(kernel->name);
  throw InputError(unknown_name("kernel", name, known));
}

const attention::TensorInfo& tensor_named(const std::vector<attention::TensorInfo>& tensors, std::string_view kind,
                                          const std::string& name) {
  return named(tensors, kind, name);
}

attention::Parameters parse_parameters(const attention::KernelInfo& kernel, const std::vector<std::string>& settings) {
  attention::Parameters parameters;
  for (const Assignment& setting : parse_assignments("--set", settings))
    parameters[setting.name] = parse_parameter(named(kernel.parameters, "parameter", setting.name), setting.value);
  return parameters;
}

attention::Shapes parse_shapes(const attention::KernelInfo& kernel, const std::vector<std::string>& shapes) {
  attention::Shapes result = kernel.example;
  for (const Assignment& shape : parse_assignments("--shape", shapes))
    result[tensor_named(kernel.inputs, "input", shape.name).name] = parse_shape(shape.name, shape.value);
  return result;
}

} // namespace tilejit::tools
