// arguments.h - reading what was typed: NAME=VALUE, shapes, element types, names that are almost right.
#pragma once
#include "runtime/compiled_kernel.h"

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tilejit::tools {

/// The user's mistake: told in one line, exit code 2.
struct InputError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// One line of any message: line ends become "; ".
std::string one_line(std::string_view message);

struct Assignment {
  std::string name, value;
};

/// "q=x.npy" of `option`; throws InputError unless both sides of the first '=' are there.
Assignment parse_assignment(const std::string& option, const std::string& text);

/// All assignments of one option; throws InputError when a name comes twice.
std::vector<Assignment> parse_assignments(const std::string& option, const std::vector<std::string>& texts);

/// "1,128,4,64"; throws InputError unless every size is a positive integer.
std::vector<int64_t> parse_shape(const std::string& name, const std::string& text);

/// bf16, f16 or f32.
DType parse_float_type(const std::string& text);

/// "there is no KIND 'atention' (did you mean 'attention'?); there are a, b, c": what an unknown name is answered with.
std::string unknown_name(std::string_view kind, const std::string& name, const std::vector<std::string>& known);

} // namespace tilejit::tools
