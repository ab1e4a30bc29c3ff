// operand_check.cpp - operands against a row of forms.def: how many, of which kind, how wide.
//
// What passes here the lowering may rely on: every register has the width that the row asks for, vectors have the right
// number of elements, and immediates stand only where they may.
#include "runtime/simulator/form_rows.h"

#include <algorithm>
#include <bit>

namespace tilejit::runtime::simulator {
namespace {

using What = OperandPattern::What;
using Count = OperandPattern::Count;
using Kind = Operand::Kind;

std::string bits_text(uint32_t bits) { return std::to_string(bits) + " bits"; }

/// Registers that hold `elements` of `type` a lane, packed to 32 bits.
uint32_t packed_registers(uint32_t elements_of_all, uint32_t lanes, Type type) {
  uint32_t bits = bits_of(type) == 64 ? 64 : 32;
  return std::max<uint32_t>(1, elements_of_all * bits_of(type) / (lanes * bits));
}

struct Check {
  Function& function;
  const Instruction& i;

  /// The type of one register (or immediate) of this operand.
  Type type(const OperandPattern& p) const {
    Type t = p.type != Type::none ? p.type : i.type(p.type_index);
    if (p.double_width) return twice(t);
    switch (p.count) {
    case Count::matrix_mn:
    case Count::matrix_mk:
    case Count::matrix_nk:
    case Count::warpgroup_mn: return t == Type::f32 || t == Type::f64 || t == Type::s32 ? t : Type::b32;
    default: return t;
    }
  }
  uint32_t count(const OperandPattern& p) const {
    Type t = p.type != Type::none ? p.type : i.type(p.type_index);
    switch (p.count) {
    case Count::vector_mod: return i.vector_length();
    case Count::x_mod: return i.has(Mod::x4) ? 4 : i.has(Mod::x2) ? 2 : 1;
    case Count::fixed: return p.fixed;
    case Count::matrix_mn: return packed_registers(uint32_t{i.shape.m} * i.shape.n, 32, t);
    case Count::matrix_mk: return packed_registers(uint32_t{i.shape.m} * i.shape.k, 32, t);
    case Count::matrix_nk: return packed_registers(uint32_t{i.shape.n} * i.shape.k, 32, t);
    case Count::warpgroup_mn: return packed_registers(uint32_t{i.shape.m} * i.shape.n, 128, t);
    default: return 1;
    }
  }

  std::string register_width(const OperandPattern& p, Type type, const Operand& o) const {
    const Register& r = function.registers[o.index];
    uint32_t want = bits_of(type), have = bits_of(r.type);
    if ((type == Type::pred) != (r.type == Type::pred))
      return type == Type::pred ? "'" + std::string(r.name) + "' is not a predicate"
                                : "'" + std::string(r.name) + "' is a predicate";
    if (p.any_width || have == want || (p.wider_too && have > want)) return {};
    // A register of 8 bits is a 16-bit one to everybody but loads, stores and conversions; 8-bit results go to 16 bits.
    if (want == 8 && have == 16) return {};
    return "'" + std::string(r.name) + "' has " + bits_text(have) + ", " + bits_text(want) + " are needed";
  }

  /// One register or immediate of type `type`; marks it.
  std::string single(const OperandPattern& p, Type type, Operand& o) const {
    bool written = p.use != Operand::Use::read;
    o.use = p.use;
    o.role = p.role;
    o.type = type;
    switch (o.kind) {
    case Kind::reg:
      if (o.negated && p.what != What::predicate) return "'!' only fits a predicate that is read";
      return register_width(p, type, o);
    case Kind::sink: return written ? "" : "'_' cannot be read";
    case Kind::special:
      if (written) return "a special register cannot be written";
      return {};
    case Kind::integer:
      if (written) return "a number cannot be written";
      if (is_float(type) && bits_of(type) != 16 && !(bits_of(type) == 32 && type != Type::f32))
        return "an integer where a floating-point number is needed";
      return {};
    case Kind::float32:
    case Kind::float64:
      if (written) return "a number cannot be written";
      return float_width(type, o);
    case Kind::variable:
    case Kind::function:
      if (written) return "an address cannot be written";
      if (is_float(type) || bits_of(type) < 32) return "an address needs 32 or 64 bits";
      return {};
    default: return "a register or a number is needed";
    }
  }

  /// Gives a floating-point immediate the width of its operand.
  static std::string float_width(Type type, Operand& o) {
    bool fits = is_float(type) || kind_of(type) == TypeKind::bits;
    if (fits && bits_of(type) == 64) {
      if (o.kind == Kind::float32)
        o.value = std::bit_cast<int64_t>(static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(o.value))));
      o.kind = Kind::float64;
      return {};
    }
    if (fits && bits_of(type) == 32) {
      if (o.kind == Kind::float64)
        o.value = std::bit_cast<uint32_t>(static_cast<float>(std::bit_cast<double>(o.value)));
      o.kind = Kind::float32;
      return {};
    }
    return "a floating-point number where ." + std::string(name_of(type)) + " is needed";
  }

  std::span<Operand> elements(const Operand& o) const { return {function.pool.data() + o.first, o.count}; }

  /// A mov between one wide register and a vector: {a, b} is as wide as the type.
  std::string pack(const OperandPattern& p, Type type, Operand& o) const {
    auto parts = elements(o);
    if (parts.empty()) return "an empty vector";
    if (bits_of(type) % parts.size() != 0) return "a vector of " + std::to_string(parts.size());
    uint32_t part = bits_of(type) / static_cast<uint32_t>(parts.size());
    Type element = part == 64   ? Type::b64
                   : part == 32 ? Type::b32
                   : part == 16 ? Type::b16
                   : part == 8  ? Type::b8
                                : Type::none;
    if (element == Type::none) return "a vector of " + std::to_string(parts.size());
    for (Operand& e : parts)
      if (std::string wrong = single(p, element, e); !wrong.empty()) return wrong;
    return {};
  }

  std::string value(const OperandPattern& p, Operand& o) const {
    Type t = type(p);
    o.use = p.use;
    o.role = p.role;
    o.type = t;
    if (o.is(Kind::pair)) {
      if (!p.pair) return "'|' is not for this operand";
      auto parts = elements(o);
      if (std::string wrong = single(p, t, parts[0]); !wrong.empty()) return wrong;
      return single(p, Type::pred, parts[1]);
    }
    if (p.count == Count::any) return o.is(Kind::vector) ? pack(p, t, o) : single(p, t, o);
    uint32_t n = p.count == Count::fragment && o.is(Kind::vector) ? o.count : count(p);
    if (n > 8 && p.count == Count::fragment) return "a fragment has at most 8 registers";
    if (!o.is(Kind::vector)) {
      if (n != 1) return "a vector of " + std::to_string(n) + " is needed";
      return single(p, t, o);
    }
    auto parts = elements(o);
    if (p.count == Count::one || parts.size() != n)
      return n == 1 && p.count == Count::one
                 ? "a vector does not fit here"
                 : "a vector of " + std::to_string(n) + " is needed, not of " + std::to_string(parts.size());
    for (Operand& e : parts)
      if (std::string wrong = single(p, t, e); !wrong.empty()) return wrong;
    return {};
  }

  void mark_read(Operand& o, char role) const {
    o.role = role;
    o.use = Operand::Use::read;
    if (o.is(Kind::vector) || o.is(Kind::pair) || o.is(Kind::list) || o.is(Kind::address))
      for (Operand& e : elements(o)) mark_read(e, role);
  }

  std::string fit(const OperandPattern& p, Operand& o) const {
    switch (p.what) {
    case What::value: return value(p, o);
    case What::predicate:
      if (o.is(Kind::vector) || o.is(Kind::pair)) return "a predicate is needed";
      return single(p, Type::pred, o);
    case What::address: {
      if (!o.is(Kind::address)) return "an address in brackets is needed";
      mark_read(o, p.role);
      if (o.base == Kind::reg) {
        const Register& r = function.registers[o.index];
        if (bits_of(r.type) != 32 && bits_of(r.type) != 64)
          return "'" + std::string(r.name) + "' is not wide enough for an address";
      }
      return {};
    }
    case What::immediate:
      o.role = p.role;
      o.type = Type::s64;
      return o.is(Kind::integer) ? "" : "an integer constant is needed";
    case What::label: o.role = p.role; return o.is(Kind::label) || o.is(Kind::targets) ? "" : "a label is needed";
    case What::function:
      o.role = p.role;
      if (p.role == 'm') return o.is(Kind::prototype) || o.is(Kind::targets) ? "" : "a prototype is needed";
      if (o.is(Kind::reg) && bits_of(function.registers[o.index].type) == 64) return {};
      return o.is(Kind::function) ? "" : "a function or a 64-bit register is needed";
    case What::list: {
      if (!o.is(Kind::list)) return "a list in parentheses is needed";
      o.role = p.role;
      for (Operand& e : elements(o)) {
        mark_read(e, p.role);
        e.use = p.use;
        if (e.is(Kind::reg)) e.type = function.registers[e.index].type;
        bool fits = e.is(Kind::reg) || e.is(Kind::variable) ||
                    (p.use == Operand::Use::read && (e.is_immediate() || e.is(Kind::special)));
        if (!fits) return "an argument is a .param variable, a register or a number";
      }
      return {};
    }
    }
    return {};
  }
};

} // namespace

Type twice(Type type) {
  switch (type) {
  case Type::u16: return Type::u32;
  case Type::s16: return Type::s32;
  case Type::u32: return Type::u64;
  case Type::s32: return Type::s64;
  default: return type;
  }
}

std::string check_operands(const Row& row, Function& function, Instruction& i, size_t& progress) {
  Check check{function, i};
  std::span<Operand> operands{function.pool.data() + i.first, i.count};
  size_t o = 0;
  std::string skipped; // why an optional operand did not take what stands there
  auto needed = static_cast<size_t>(
      std::count_if(row.operands.begin(), row.operands.end(), [](const OperandPattern& p) { return !p.optional; }));
  for (size_t p = 0; p < row.operands.size(); ++p) {
    const OperandPattern& pattern = row.operands[p];
    if (!pattern.optional)
      --needed;
    else if (operands.size() - o <= needed) // what is left is for those that must be there
      continue;
    if (o == operands.size()) {
      if (pattern.optional) continue;
      progress = o;
      return skipped.empty() ? "too few of them, " + std::to_string(o) : skipped;
    }
    std::string wrong = check.fit(pattern, operands[o]);
    if (wrong.empty()) {
      ++o;
      continue;
    }
    wrong = "number " + std::to_string(o + 1) + ": " + wrong;
    if (!pattern.optional) {
      progress = o;
      return skipped.empty() ? wrong : skipped;
    }
    if (skipped.empty()) skipped = wrong;
  }
  progress = o;
  if (o < operands.size()) return skipped.empty() ? "too many of them, " + std::to_string(operands.size()) : skipped;
  return {};
}

void register_use(const Function& function, const Instruction& i, RegisterUse& out) {
  out.reads.clear();
  out.writes.clear();
  if (i.guard != none) out.reads.push_back(i.guard);
  auto visit = [&](auto&& self, const Operand& o) -> void {
    switch (o.kind) {
    case Kind::reg:
      if (o.use != Operand::Use::write) out.reads.push_back(o.index);
      if (o.use != Operand::Use::read) out.writes.push_back(o.index);
      break;
    case Kind::address:
      if (o.base == Kind::reg) out.reads.push_back(o.index);
      [[fallthrough]];
    case Kind::vector:
    case Kind::pair:
    case Kind::list:
      for (const Operand& e : function.elements(o)) self(self, e);
      break;
    default: break;
    }
  };
  for (const Operand& o : function.operands(i)) visit(visit, o);
  if (i.form != Form::wgmma_wait_group) return;
  // What pending products have is in use until here.
  for (const Instruction& other : function.body)
    if (other.text.starts_with("wgmma.mma_async"))
      for (const Operand& o : function.operands(other))
        if (o.is(Kind::vector))
          for (const Operand& e : function.elements(o))
            if (e.is(Kind::reg)) out.reads.push_back(e.index);
}

} // namespace tilejit::runtime::simulator
