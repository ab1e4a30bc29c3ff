// reference.h - what each instruction computes, one lane at a time, written from the PTX ISA manual.
//
// Independent of the simulator: only the spelling of an instruction comes in. `find_reference` gives a function from
// the operands' bits to what may come out, or nothing where this file has no definition.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace tilejit::conformance {

/// "cvt.rn.satfinite.e4m3x2.f32", taken apart.
struct Spelling {
  explicit Spelling(const std::string& text);
  std::string opcode;             ///< "cvt"
  std::vector<std::string> words; ///< all after it
  std::vector<std::string> types; ///< those of them that are types
  size_t sources = 0;             ///< operands that it reads: min has two or three
  bool has(const std::string& word) const;
  std::string type(size_t i = 0) const { return i < types.size() ? types[i] : ""; }
};

bool is_type(const std::string& word);
int bits_of(const std::string& type); ///< of the register
bool is_floating(const std::string& type);
bool is_signed(const std::string& type);

struct Inputs {
  uint64_t a = 0, b = 0, c = 0, e = 0;
  bool p = false; ///< predicate source
};

/// What may come out: exact bits (a set of them, should the manual leave a choice), or a number and how far off it may
/// be.
struct Expected {
  enum class Kind { exact, one_of, any_nan, near, anything } kind = Kind::exact;
  uint64_t bits = 0, other = 0; ///< one_of: either
  double value = 0, absolute = 0, relative = 0;
  bool q = false;               ///< second, predicate destination
  std::vector<Expected> halves; ///< of a packed type: the low one, the high one; then they say all
};

using Reference = std::function<Expected(const Inputs&)>;

Reference find_reference(const Spelling& spelling);
Reference integer_reference(const Spelling& spelling);
Reference float_reference(const Spelling& spelling);
Reference approximation_reference(const Spelling& spelling);
Reference compare_reference(const Spelling& spelling);
Reference conversion_reference(const Spelling& spelling);

} // namespace tilejit::conformance
