// words.cpp - names of types, modifiers, special registers and spaces.
#include "runtime/simulator/words.h"

#include <unordered_map>

namespace tilejit::runtime::simulator {
namespace {

struct TypeRow {
  std::string_view name;
  uint32_t bits;
  TypeKind kind;
};
constexpr TypeRow types[] = {
    {"", 0, TypeKind::none},
#define T(id, text, bits, kind) {text, bits, TypeKind::kind},
#include "runtime/simulator/words.def"
#undef T
};
constexpr std::string_view mods[] = {
    "?",
#define M(id, text) text,
#include "runtime/simulator/words.def"
#undef M
};
struct SpecialRow {
  std::string_view name;
  Type type;
  uint32_t components;
};
constexpr SpecialRow specials[] = {
#define S(id, text, type, components) {text, Type::type, components},
#include "runtime/simulator/words.def"
#undef S
};

template <typename Enum, typename Rows, typename Name>
std::unordered_map<std::string_view, Enum> index(const Rows& rows, size_t first, Name name) {
  std::unordered_map<std::string_view, Enum> map;
  for (size_t i = first; i < std::size(rows); ++i) map.emplace(name(rows[i]), static_cast<Enum>(i));
  return map;
}
template <typename Enum>
Enum look_up(const std::unordered_map<std::string_view, Enum>& map, std::string_view text, Enum otherwise) {
  auto it = map.find(text);
  return it == map.end() ? otherwise : it->second;
}

} // namespace

uint32_t bits_of(Type type) { return types[static_cast<size_t>(type)].bits; }
TypeKind kind_of(Type type) { return types[static_cast<size_t>(type)].kind; }
std::string_view name_of(Type type) { return types[static_cast<size_t>(type)].name; }
std::string_view name_of(Mod mod) { return mods[static_cast<size_t>(mod)]; }
std::string_view name_of(Special special) { return specials[static_cast<size_t>(special)].name; }
Type type_of(Special special) { return specials[static_cast<size_t>(special)].type; }
uint32_t components_of(Special special) { return specials[static_cast<size_t>(special)].components; }

std::string_view name_of(Space space) {
  static constexpr std::string_view names[] = {"generic", "reg", "global", "shared", "local", "param", "const"};
  return names[static_cast<size_t>(space)];
}

Type find_type(std::string_view text) {
  static const auto map = index<Type>(types, 1, [](const TypeRow& row) { return row.name; });
  return look_up(map, text, Type::none);
}
Mod find_mod(std::string_view text) {
  static const auto map = index<Mod>(mods, 1, [](std::string_view name) { return name; });
  return look_up(map, text, Mod::unknown);
}
std::optional<Special> find_special(std::string_view text) {
  static const auto map = index<Special>(specials, 0, [](const SpecialRow& row) { return row.name; });
  auto it = map.find(text);
  if (it != map.end()) return it->second;
  return std::nullopt;
}

std::optional<Space> space_of(Mod mod) {
  switch (mod) {
  case Mod::generic: return Space::generic;
  case Mod::reg: return Space::reg;
  case Mod::global: return Space::global;
  case Mod::shared:
  case Mod::shared_cta:
  case Mod::shared_cluster: return Space::shared;
  case Mod::local: return Space::local;
  case Mod::param:
  case Mod::param_entry:
  case Mod::param_func: return Space::param;
  case Mod::const_: return Space::constant;
  default: return std::nullopt;
  }
}

Space Instruction::space(size_t n) const {
  for (size_t i = 0; i < mod_count; ++i)
    if (auto space = space_of(mods[i]); space && n-- == 0) return *space;
  return Space::generic;
}

bool parse_shape(std::string_view word, Shape& shape) {
  shape = {};
  for (char letter : {'m', 'n', 'k'}) {
    if (word.empty()) return letter == 'k';
    if (word[0] != letter) return false;
    word.remove_prefix(1);
    uint32_t value = 0;
    size_t digits = 0;
    for (; digits < word.size() && digits < 4 && word[digits] >= '0' && word[digits] <= '9'; ++digits)
      value = value * 10 + static_cast<uint32_t>(word[digits] - '0');
    if (digits == 0) return false;
    word.remove_prefix(digits);
    (letter == 'm' ? shape.m : letter == 'n' ? shape.n : shape.k) = static_cast<uint16_t>(value);
  }
  return word.empty();
}

} // namespace tilejit::runtime::simulator
