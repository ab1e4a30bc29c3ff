// form_rows.h - the rows of forms.def, compiled: what FormMatcher matches against.
#pragma once
#include "runtime/simulator/forms.h"

#include <string>
#include <string_view>
#include <vector>

namespace tilejit::runtime::simulator {

/// One column entry between blanks, as alternatives.
template <typename T>
struct Slot {
  std::vector<T> alternatives;
  bool optional = false;
};

/// A modifier, or the shape of a matrix: m64nNk16 has n = any_n.
struct ModPattern {
  Mod mod = Mod::unknown;
  Shape shape;
  static constexpr uint16_t any_n = 0xffff;
  bool matches(Mod m, const Shape& s) const {
    if (m != mod) return false;
    return mod != Mod::shape || (s.m == shape.m && s.k == shape.k &&
                                 (s.n == shape.n || (shape.n == any_n && s.n % 8 == 0 && s.n >= 8 && s.n <= 256)));
  }
};

/// What forms.def says about one operand.
struct OperandPattern {
  enum class What : uint8_t { value, predicate, address, immediate, label, function, list };
  enum class Count : uint8_t {
    one,
    any,
    vector_mod,
    x_mod,
    fixed,
    matrix_mn,
    matrix_mk,
    matrix_nk,
    warpgroup_mn,
    fragment
  };
  char role = 0;
  What what = What::value;
  Operand::Use use = Operand::Use::read;
  Type type = Type::none; ///< none: types[type_index] of the instruction
  uint8_t type_index = 0;
  bool double_width = false, wider_too = false, any_width = false, optional = false, pair = false;
  Count count = Count::one;
  uint32_t fixed = 1;
};

struct Row {
  const FormInfo* info;
  std::vector<std::string_view> opcode; ///< words
  std::vector<Slot<ModPattern>> modifiers;
  std::vector<Slot<Type>> types;
  std::vector<OperandPattern> operands;
};

const std::vector<Row>& rows();
/// Rows by the first word of their opcode, longest opcode first.
std::span<const Row* const> rows_of(std::string_view first_word);

std::vector<std::string_view> split(std::string_view text, char separator);

/// "" and the operands are marked with role, use and type, or what is wrong. `progress`: how many operands fitted.
std::string check_operands(const Row& row, Function& function, Instruction& instruction, size_t& progress);

/// The twice as wide type of the same kind.
Type twice(Type type);

} // namespace tilejit::runtime::simulator
