// forms.cpp - the table of forms: compiling its rows, matching modifiers and types, messages.
#include "runtime/simulator/form_rows.h"
#include "runtime/simulator/words.h"

#include <algorithm>
#include <stdexcept>

namespace tilejit::runtime::simulator {
namespace {

constexpr FormInfo table[] = {
#define F(id, opcode, modifiers, types, operands, class_, unit, since)                                                 \
  {Form::id, #id, opcode, modifiers, types, operands, InstructionClass::class_, Unit::unit, since},
#define G(id, opcode, modifiers, types, operands, class_, unit, since)                                                 \
  F(id, opcode, modifiers, types, operands, class_, unit, since)
#include "runtime/simulator/forms.def"
#undef F
};

/// The sets that forms.def names in capitals.
constexpr std::pair<std::string_view, std::string_view> sets[] = {
    {"RND", "rn|rz|rm|rp"},
    {"RNDI", "rni|rzi|rmi|rpi"},
    {"CMP", "eq|ne|lt|le|gt|ge|lo|ls|hi|hs"},
    {"SCMP", "eq|ne|lt|le|gt|ge"},
    {"FCMP", "eq|ne|lt|le|gt|ge|equ|neu|ltu|leu|gtu|geu|num|nan"},
    {"BOOL", "and|or|xor"},
    {"SPACE", "global|shared|shared::cta|shared::cluster|local|param|param::entry|param::func|const"},
    {"ASPACE", "global|shared|shared::cta|shared::cluster|local|param|param::entry|const"},
    {"GSPACE", "global|shared|shared::cta|shared::cluster"},
    {"SCOPE", "cta|cluster|gpu|sys"},
    {"SEM", "relaxed|acquire|release|acq_rel"},
    {"LDCACHE", "ca|cg|cs|lu|cv"},
    {"STCACHE", "wb|cg|cs|wt"},
    {"EVICT", "L1::evict_normal|L1::evict_unchanged|L1::evict_first|L1::evict_last|L1::no_allocate|L2::evict_last|"
              "L2::evict_normal|L2::evict_first"},
    {"L2EVICT", "L2::evict_last|L2::evict_normal|L2::evict_first|L2::evict_unchanged"},
    {"PREFETCH", "L2::64B|L2::128B|L2::256B"},
    {"VEC", "v2|v4|v8"},
    {"AOP", "and|or|xor|exch|add|inc|dec|min|max"},
    {"ROP", "and|or|xor|add|inc|dec|min|max"},
    {"DIM", "1d|2d|3d|4d|5d"},
    {"TMAMODE", "tile|im2col|im2col::w|tile::gather4|tile::scatter4"},
    {"TMAFIELD", "global_address|rank|box_dim|global_dim|global_stride|element_stride|elemtype|interleave_layout|"
                 "swizzle_mode|swizzle_atomicity|"
                 "fill_mode"},
    {"INT", "u16|s16|u32|s32|u64|s64"},
    {"INT8", "u8|s8|u16|s16|u32|s32|u64|s64"},
    {"BITS", "b16|b32|b64"},
    {"HALF", "f16|f16x2|bf16|bf16x2"},
    {"MEM", "b8|b16|b32|b64|b128|u8|s8|u16|s16|u32|s32|u64|s64|f32|f64"},
    {"ATOMIC", "b32|b64|u32|u64|s32|s64|f32|f64"},
};

/// A mistake in forms.def: found by the first use of the table, so by every test.
[[noreturn]] void bad_table(const FormInfo& info, std::string_view what) {
  throw std::logic_error("forms.def, " + std::string(info.id) + ": " + std::string(what));
}

void expand(std::string_view slot, std::vector<std::string_view>& out) {
  for (std::string_view word : split(slot, '|')) {
    auto set = std::find_if(std::begin(sets), std::end(sets), [&](const auto& s) { return s.first == word; });
    if (set != std::end(sets))
      expand(set->second, out);
    else
      out.push_back(word);
  }
}

ModPattern mod_pattern(const FormInfo& info, std::string_view word) {
  ModPattern p{find_mod(word), {}};
  if (p.mod != Mod::unknown) return p;
  std::string text(word);
  size_t any = text.find('N');
  if (any != text.npos) text.replace(any, 1, "8");
  if (!parse_shape(text, p.shape)) bad_table(info, word);
  if (any != text.npos) p.shape.n = ModPattern::any_n;
  p.mod = Mod::shape;
  return p;
}

OperandPattern operand_pattern(const FormInfo& info, std::string_view text) {
  using What = OperandPattern::What;
  using Count = OperandPattern::Count;
  OperandPattern p;
  std::string_view rest = text;
  auto take = [&](std::string_view prefix) {
    if (!rest.starts_with(prefix)) return false;
    rest.remove_prefix(prefix.size());
    return true;
  };
  auto letter = [&] {
    if (rest.empty() || rest[0] < 'a' || rest[0] > 'z') bad_table(info, text);
    p.role = rest[0];
    rest.remove_prefix(1);
  };
  if (take("[")) {
    p.what = What::address;
    letter();
    if (!take("]")) bad_table(info, text);
  } else if (take("(")) {
    p.what = What::list;
    letter();
    if (!take(")")) bad_table(info, text);
    if (p.role == 'd') p.use = Operand::Use::write;
  } else {
    if (take("#"))
      p.what = What::immediate;
    else if (take("@"))
      p.what = What::label;
    else if (take("&"))
      p.what = What::function;
    letter();
    if (p.what == What::value) {
      if (p.role == 'd') p.use = Operand::Use::write;
      if (p.role == 'x') p.use = Operand::Use::read_write;
      if (p.role == 'p') p.what = What::predicate, p.type = Type::pred;
    }
  }
  if (take("=")) {
    p.double_width = take("w");
    size_t end = rest.find_first_of("+~*|?");
    std::string_view name = rest.substr(0, end);
    rest.remove_prefix(name.size());
    if (name.size() == 1)
      p.type_index = static_cast<uint8_t>(name[0] - '0');
    else if ((p.type = find_type(name)) == Type::none)
      bad_table(info, text);
  }
  while (!rest.empty()) {
    if (take("+"))
      p.wider_too = true;
    else if (take("~"))
      p.any_width = true;
    else if (take("|p"))
      p.pair = true;
    else if (take("*v"))
      p.count = Count::vector_mod;
    else if (take("*wmn"))
      p.count = Count::warpgroup_mn;
    else if (take("*mn"))
      p.count = Count::matrix_mn;
    else if (take("*mk"))
      p.count = Count::matrix_mk;
    else if (take("*nk"))
      p.count = Count::matrix_nk;
    else if (take("*x"))
      p.count = Count::x_mod;
    else if (take("*f"))
      p.count = Count::fragment;
    else if (take("*?"))
      p.count = Count::any;
    else if (take("*4"))
      p.count = Count::fixed, p.fixed = 4;
    else if (take("?"))
      p.optional = true;
    else
      bad_table(info, text);
  }
  return p;
}

Row compile(const FormInfo& info) {
  Row row{&info, split(info.opcode, '.'), {}, {}, {}};
  std::vector<std::string_view> words;
  auto slot = [&](std::string_view text) {
    words.clear();
    bool optional = text.ends_with("?");
    if (optional) text.remove_suffix(1);
    expand(text, words);
    return optional;
  };
  for (std::string_view text : split(info.modifiers, ' ')) {
    Slot<ModPattern> s;
    s.optional = slot(text);
    for (std::string_view word : words) s.alternatives.push_back(mod_pattern(info, word));
    row.modifiers.push_back(std::move(s));
  }
  for (std::string_view text : split(info.types, ' ')) {
    Slot<Type> s;
    s.optional = slot(text);
    for (std::string_view word : words) {
      s.alternatives.push_back(find_type(word));
      if (s.alternatives.back() == Type::none) bad_table(info, word);
    }
    row.types.push_back(std::move(s));
  }
  for (std::string_view text : split(info.operands, ' ')) row.operands.push_back(operand_pattern(info, text));
  return row;
}

/// Each modifier takes the first free slot that has it; all slots that are not optional must be taken.
bool modifiers_fit(const Row& row, const Instruction& i) {
  uint64_t taken = 0;
  for (size_t m = 0; m < i.mod_count; ++m) {
    bool found = false;
    for (size_t s = 0; s < row.modifiers.size() && !found; ++s) {
      if (taken >> s & 1) continue;
      for (const ModPattern& p : row.modifiers[s].alternatives)
        if (p.matches(i.mods[m], i.shape)) {
          found = true;
          break;
        }
      if (found) taken |= uint64_t{1} << s;
    }
    if (!found) return false;
  }
  for (size_t s = 0; s < row.modifiers.size(); ++s)
    if (!(taken >> s & 1) && !row.modifiers[s].optional) return false;
  return true;
}

bool types_fit(const Row& row, const Instruction& i) {
  size_t t = 0;
  for (const Slot<Type>& s : row.types) {
    bool fits =
        t < i.type_count && std::find(s.alternatives.begin(), s.alternatives.end(), i.types[t]) != s.alternatives.end();
    if (fits)
      ++t;
    else if (!s.optional)
      return false;
  }
  return t == i.type_count;
}

/// Words after the opcode as modifiers, types and a shape. False where there is an unknown word or too many.
bool decode_words(std::span<const std::string_view> words, Instruction& i) {
  i.mod_count = i.type_count = 0;
  i.shape = {};
  for (std::string_view word : words) {
    if (Type type = find_type(word); type != Type::none) {
      if (i.type_count == Instruction::max_types) return false;
      i.types[i.type_count++] = type;
      continue;
    }
    Mod mod = find_mod(word);
    Shape shape;
    if (mod == Mod::unknown && parse_shape(word, shape)) {
      mod = Mod::shape;
      i.shape = shape;
    }
    if (mod == Mod::unknown || i.mod_count == Instruction::max_mods) return false;
    i.mods[i.mod_count++] = mod;
  }
  return true;
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t up = row[j];
      row[j] = std::min({up + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = up;
    }
  }
  return row[b.size()];
}

std::string word_of(const ModPattern& p) {
  if (p.mod != Mod::shape) return std::string(name_of(p.mod));
  std::string text =
      "m" + std::to_string(p.shape.m) + "n" + std::to_string(p.shape.n == ModPattern::any_n ? 8 : p.shape.n);
  return p.shape.k ? text + "k" + std::to_string(p.shape.k) : text;
}
std::string word_of(Type type) { return std::string(name_of(type)); }

} // namespace

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    size_t end = text.find(separator);
    std::string_view part = text.substr(0, end);
    if (!part.empty()) parts.push_back(part);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
  }
  return parts;
}

const std::vector<Row>& rows() {
  static const std::vector<Row> compiled = [] {
    std::vector<Row> all;
    for (const FormInfo& info : table) all.push_back(compile(info));
    return all;
  }();
  return compiled;
}

std::span<const Row* const> rows_of(std::string_view first_word) {
  static const auto index = [] {
    std::unordered_map<std::string_view, std::vector<const Row*>> map;
    for (const Row& row : rows()) map[row.opcode[0]].push_back(&row);
    for (auto& [word, list] : map)
      std::stable_sort(list.begin(), list.end(),
                       [](const Row* a, const Row* b) { return a->opcode.size() > b->opcode.size(); });
    return map;
  }();
  auto it = index.find(first_word);
  if (it == index.end()) return {};
  return it->second;
}

std::span<const FormInfo> all_forms() { return table; }

InstructionClass class_of(const Instruction& i) {
  return i.form == Form::unknown ? InstructionClass::other : table[i.row].instruction_class;
}

const FormInfo& form_info(Form form) {
  static const auto first = [] {
    std::vector<const FormInfo*> rows(static_cast<size_t>(Form::count), nullptr);
    for (const FormInfo& info : table)
      if (!rows[static_cast<size_t>(info.form)]) rows[static_cast<size_t>(info.form)] = &info;
    return rows;
  }();
  static const FormInfo unknown{Form::unknown, "unknown", "", "", "", "", InstructionClass::other, Unit::none, 0};
  const FormInfo* info = first[static_cast<size_t>(form)];
  return info ? *info : unknown;
}

/// An opcode with modifiers, and every row that it fits.
struct FormMatcher::Spelling {
  Instruction words;
  std::vector<std::pair<const Row*, Instruction>> rows;
};
FormMatcher::FormMatcher() = default;
FormMatcher::~FormMatcher() = default;

const FormMatcher::Spelling& FormMatcher::find(std::string_view text) {
  auto it = spellings_.find(text);
  if (it != spellings_.end()) return *it->second;
  auto spelling = std::make_unique<Spelling>();
  std::vector<std::string_view> words = split(text, '.');
  if (!words.empty()) {
    Instruction i;
    size_t decoded = 0; // words of the opcode that `i` was decoded after
    bool known = false;
    for (const Row* row : rows_of(words[0])) {
      size_t n = row->opcode.size();
      if (words.size() < n || !std::equal(row->opcode.begin(), row->opcode.end(), words.begin())) continue;
      if (decoded != n) {
        known = decode_words(std::span(words).subspan(n), i);
        decoded = n;
      }
      if (known && modifiers_fit(*row, i) && types_fit(*row, i)) spelling->rows.emplace_back(row, i);
    }
  }
  return *spellings_.emplace(text, std::move(spelling)).first->second;
}

std::string FormMatcher::match(const Module& module, Function& function, Instruction& i) {
  const Spelling& spelling = find(i.text);
  std::string best;
  size_t furthest = 0;
  for (const auto& [row, words] : spelling.rows) {
    i.mods = words.mods;
    i.mod_count = words.mod_count;
    i.types = words.types;
    i.type_count = words.type_count;
    i.shape = words.shape;
    size_t progress = 0;
    std::string wrong = check_operands(*row, function, i, progress);
    if (wrong.empty()) {
      i.form = row->info->form;
      i.row = static_cast<uint16_t>(row->info - table);
      return {};
    }
    if (best.empty() || progress > furthest) {
      best = "operands of '" + std::string(i.text) + "': " + wrong;
      furthest = progress;
    }
  }
  i.form = Form::unknown;
  return best;
}

std::string nearest_form(std::string_view text) {
  std::vector<std::string_view> words = split(text, '.');
  if (words.empty()) return {};
  auto present = [&](std::string_view word) { return std::find(words.begin(), words.end(), word) != words.end(); };
  std::vector<Type> types;
  for (std::string_view word : words)
    if (Type type = find_type(word); type != Type::none) types.push_back(type);
  const Row* best = nullptr;
  double best_score = 0;
  std::string best_text;
  for (const Row& row : rows()) {
    size_t distance = edit_distance(row.opcode[0], words[0]);
    if (2 * distance > words[0].size()) continue; // another word altogether
    // The spelling of this row that keeps as many of the text's words as it can.
    double score = 0;
    std::string spelling;
    auto use = [&](std::string_view word, bool from_text) {
      if (!spelling.empty()) spelling += '.';
      spelling += word;
      score += from_text ? 1 : -0.25;
    };
    for (size_t i = 0; i < row.opcode.size(); ++i) {
      bool same = i < words.size() && row.opcode[i] == words[i];
      use(row.opcode[i], same);
      if (i == 0) {
        auto longest = static_cast<double>(std::max(row.opcode[0].size(), words[0].size()));
        score += same ? 8 : -8 * static_cast<double>(distance) / longest;
      }
    }
    for (const auto& s : row.modifiers) {
      const ModPattern* chosen = &s.alternatives[0];
      bool found = false;
      for (const ModPattern& a : s.alternatives)
        if (!found && present(word_of(a))) chosen = &a, found = true;
      if (found || !s.optional) use(word_of(*chosen), found);
    }
    size_t t = 0;
    for (const auto& s : row.types) {
      bool found =
          t < types.size() && std::find(s.alternatives.begin(), s.alternatives.end(), types[t]) != s.alternatives.end();
      if (found || !s.optional) use(name_of(found ? types[t] : s.alternatives[0]), found);
      ++t;
    }
    if (!best || score > best_score) best = &row, best_score = score, best_text = spelling;
  }
  return best_text;
}

std::string describe_unknown(const Instruction& i) {
  std::string nearest = nearest_form(i.text);
  return "line " + std::to_string(i.line) + ": '" + std::string(i.text) + "' is not known to the simulator" +
         (nearest.empty() ? "" : " (nearest: " + nearest + ")");
}

std::vector<std::string> spellings(const FormInfo& info, size_t limit) {
  const Row& row = rows()[static_cast<size_t>(&info - table)];
  std::vector<std::string> texts{std::string(info.opcode)};
  auto extend = [&](const auto& slots) {
    for (const auto& s : slots) {
      std::vector<std::string> next;
      for (const std::string& text : texts) {
        if (s.optional && next.size() < limit) next.push_back(text);
        for (const auto& a : s.alternatives)
          if (next.size() < limit) next.push_back(text + "." + word_of(a));
      }
      texts = std::move(next);
    }
  };
  extend(row.modifiers);
  extend(row.types);
  return texts;
}

std::string_view name_of(InstructionClass c) {
  static constexpr std::string_view names[] = {"integer",    "float",    "half",       "double", "special function",
                                               "conversion", "compare",  "move",       "load",   "store",
                                               "atomic",     "prefetch", "async copy", "matrix", "shuffle",
                                               "barrier",    "fence",    "branch",     "other"};
  return names[static_cast<size_t>(c)];
}

} // namespace tilejit::runtime::simulator
