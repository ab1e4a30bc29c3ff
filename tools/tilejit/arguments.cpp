#include "tools/tilejit/arguments.h"

#include <algorithm>
#include <charconv>
#include <numeric>

namespace tilejit::tools {
namespace {

/// Insertions, deletions and replacements that make one name of the other (Levenshtein 1966).
size_t edits(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      size_t replaced = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

} // namespace

std::string one_line(std::string_view message) {
  while (!message.empty() && message.back() == '\n') message.remove_suffix(1);
  std::string line;
  for (char c : message) {
    if (c == '\n')
      line += "; ";
    else
      line += c;
  }
  return line;
}

Assignment parse_assignment(const std::string& option, const std::string& text) {
  size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size())
    throw InputError(option + " " + text + ": expected NAME=VALUE");
  return {text.substr(0, equals), text.substr(equals + 1)};
}

std::vector<Assignment> parse_assignments(const std::string& option, const std::vector<std::string>& texts) {
  std::vector<Assignment> assignments;
  for (const std::string& text : texts) {
    Assignment assignment = parse_assignment(option, text);
    for (const Assignment& before : assignments)
      if (before.name == assignment.name) throw InputError(option + " names '" + assignment.name + "' twice");
    assignments.push_back(assignment);
  }
  return assignments;
}

std::vector<int64_t> parse_shape(const std::string& name, const std::string& text) {
  std::vector<int64_t> shape;
  for (size_t begin = 0; begin <= text.size();) {
    size_t end = std::min(text.find(',', begin), text.size());
    int64_t size = 0;
    auto [stop, error] = std::from_chars(text.data() + begin, text.data() + end, size);
    if (error != std::errc() || stop != text.data() + end || size < 1)
      throw InputError("--shape " + name + "=" + text + ": '" + text.substr(begin, end - begin) +
                       "' is not a size; write positive integers apart by commas, as in " + name + "=1,128,4,64");
    shape.push_back(size);
    begin = end + 1;
  }
  return shape;
}

DType parse_float_type(const std::string& text) {
  for (DType type : {DType::bf16, DType::f16, DType::f32})
    if (name_of(type) == text) return type;
  throw InputError("--dtype " + text + ": use bf16, f16 or f32");
}

std::string unknown_name(std::string_view kind, const std::string& name, const std::vector<std::string>& known) {
  std::string message = "there is no " + std::string(kind) + " '" + name + "'";
  const std::string* nearest = nullptr;
  size_t fewest = std::max<size_t>(1, name.size() / 3) + 1;
  for (const std::string& candidate : known)
    if (size_t distance = edits(name, candidate); distance < fewest) {
      fewest = distance;
      nearest = &candidate;
    }
  if (nearest) message += " (did you mean '" + *nearest + "'?)";
  if (known.empty()) return message + "; there is none at all";
  message += "; there " + std::string(known.size() == 1 ? "is " : "are ");
  for (size_t i = 0; i < known.size(); ++i) message += (i ? ", " : "") + known[i];
  return message;
}

} // namespace tilejit::tools
