// reference.cpp - spellings and types; which file defines what.
#include "tests/runtime/simulator/conformance/reference.h"

#include <algorithm>

namespace tilejit::conformance {
namespace {

struct TypeRow {
  const char* name;
  int bits;
};
constexpr TypeRow type_rows[] = {
    {"b8", 8},      {"b16", 16},   {"b32", 32}, {"b64", 64},   {"u8", 8},    {"s8", 8},
    {"u16", 16},    {"s16", 16},   {"u32", 32}, {"s32", 32},   {"u64", 64},  {"s64", 64},
    {"u16x2", 32},  {"s16x2", 32}, {"f16", 16}, {"f16x2", 32}, {"bf16", 16}, {"bf16x2", 32},
    {"tf32", 32},   {"f32", 32},   {"f64", 64}, {"f32x2", 64}, {"pred", 1},  {"e4m3x2", 16},
    {"e5m2x2", 16}, {"u4", 4},     {"s4", 4},   {"u2", 2},     {"s2", 2},
};
const TypeRow* find_row(const std::string& name) {
  for (const TypeRow& row : type_rows)
    if (name == row.name) return &row;
  return nullptr;
}

} // namespace

bool is_type(const std::string& word) { return find_row(word) != nullptr; }
int bits_of(const std::string& type) {
  const TypeRow* row = find_row(type);
  return row ? row->bits : 0;
}
bool is_floating(const std::string& type) {
  return type.find('f') != type.npos || type.starts_with("e4m3") || type.starts_with("e5m2");
}
bool is_signed(const std::string& type) { return type.starts_with("s"); }

Spelling::Spelling(const std::string& text) {
  size_t begin = 0;
  for (bool first = true; begin <= text.size(); first = false) {
    size_t end = std::min(text.find('.', begin), text.size());
    std::string word = text.substr(begin, end - begin);
    if (first)
      opcode = word;
    else
      words.push_back(word);
    begin = end + 1;
  }
  for (const std::string& word : words)
    if (is_type(word)) types.push_back(word);
}

bool Spelling::has(const std::string& word) const { return std::find(words.begin(), words.end(), word) != words.end(); }

Reference find_reference(const Spelling& s) {
  // Comparisons and conversions first: their opcodes say all; the others are told apart by type.
  for (auto* find :
       {compare_reference, conversion_reference, approximation_reference, float_reference, integer_reference})
    if (Reference r = find(s)) return r;
  return {};
}

} // namespace tilejit::conformance
