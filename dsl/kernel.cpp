#include "dsl/kernel.h"

#include <algorithm>

namespace tilejit::dsl {

ArgumentSpec tensor_spec(const std::string& name, DType type, const Shape& shape, const Shape& strides,
                         uint32_t align) {
  ArgumentSpec spec{name, true, type, shape, strides, align};
  if (!strides.empty() && strides.size() != shape.size())
    throw Error("tensor_spec '" + name + "': " + std::to_string(shape.size()) + " sizes but " +
                std::to_string(strides.size()) + " strides");
  if (!strides.empty()) return spec;
  spec.strides.resize(shape.size());
  int64_t stride = 1;
  for (size_t dim = shape.size(); dim-- > 0;) {
    spec.strides[dim] = stride;
    stride = stride == dynamic || shape[dim] == dynamic ? dynamic : stride * shape[dim];
  }
  return spec;
}

ArgumentSpec scalar_spec(const std::string& name, DType type) { return {name, false, type, {}, {}, 1}; }

static std::string trimmed(const std::string& text) {
  size_t begin = text.find_first_not_of(" \t\n"), end = text.find_last_not_of(" \t\n");
  return begin == std::string::npos ? "" : text.substr(begin, end - begin + 1);
}

Kernel::Kernel(const std::string& signature, Body body, const Schedule& schedule, const Location& where)
    : body_(std::move(body)), schedule_(schedule), where_(where) {
  std::string text = trimmed(signature);
  size_t open = text.find('(');
  if (open == std::string::npos || open == 0 || text.back() != ')')
    throw Error("kernel '" + signature + "': write its name and the names of its arguments, \"scale(x, out)\"");
  name_ = trimmed(text.substr(0, open));
  std::string names = trimmed(text.substr(open + 1, text.size() - open - 2));
  for (size_t at = 0; !names.empty() && at <= names.size();) {
    size_t comma = std::min(names.find(',', at), names.size());
    std::string name = trimmed(names.substr(at, comma - at));
    if (name.empty()) throw Error("kernel '" + signature + "': an argument without a name");
    if (std::count(argument_names_.begin(), argument_names_.end(), name))
      throw Error("kernel '" + signature + "': two arguments are called '" + name + "'");
    argument_names_.push_back(name);
    at = comma + 1;
  }
}

Program Kernel::record(std::vector<ArgumentSpec> arguments) const {
  if (arguments.size() != argument_names_.size())
    throw Error("kernel " + name_ + " takes " + std::to_string(argument_names_.size()) + " arguments, not " +
                std::to_string(arguments.size()));
  for (size_t i = 0; i < arguments.size(); ++i) arguments[i].name = argument_names_[i];
  return dsl::record(name_, arguments, body_, schedule_, where_);
}

void detail::wrong_parameter_count(const Location& where, const std::string& signature, size_t named,
                                   size_t parameters) {
  throw Error(where, "kernel '" + signature + "' names " + std::to_string(named) +
                         " arguments, but its function takes " + std::to_string(parameters));
}

} // namespace tilejit::dsl
