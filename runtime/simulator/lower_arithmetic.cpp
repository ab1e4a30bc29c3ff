// lower_arithmetic.cpp - lowering of instructions that take each lane by itself: arithmetic, moves, conversions,
// comparisons, predicates. One handler of the table does each; what has none is put together from those that exist.
#include "runtime/simulator/lowering.h"

#include <bit>

namespace tilejit::runtime::simulator {
namespace {

using Kind = Operand::Kind;

bool is_half(Type type) {
  return is_float(type) && (bits_of(type) == 16 || type == Type::f16x2 || type == Type::bf16x2);
}

/// Of setp and set, without what combines the result with a predicate.
Request comparison_of(Request r) {
  uint32_t kept = 0;
  for (uint32_t k = 0; k < r.mod_count; ++k)
    if (r.mods[k] != Mod::and_ && r.mods[k] != Mod::or_ && r.mods[k] != Mod::xor_) r.mods[kept++] = r.mods[k];
  r.mod_count = kept;
  return r;
}
/// What combines it.
Helper combination_of(const Instruction& i) {
  return i.has(Mod::and_) ? Helper::predicate_and : i.has(Mod::or_) ? Helper::predicate_or : Helper::predicate_xor;
}

} // namespace

bool Lowering::arithmetic(const Instruction& i) {
  auto operands = f_.operands(i);
  if (operands.empty() || operands[0].use != Operand::Use::write) return false;
  const Operand& d = operands[0];
  if (d.is(Kind::pair) || d.is(Kind::vector)) return false;
  Request r = request(i);
  Insn fields;
  bool scalar = d.is(Kind::reg) && is_scalar(d.index);
  Width width = scalar ? Width::scalar : bits_of(d.type) == 64 ? Width::row64 : Width::row32;
  std::vector<Source> sources;
  std::vector<bool> wide;
  for (const Operand& o : operands.subspan(1)) {
    if (o.type == Type::pred) { // selp
      Guard p = predicate(o);
      fields.c = p.offset;
      fields.aux = p.turned;
      continue;
    }
    if (i.form == Form::lop3 && o.role == 'e') {
      fields.imm = static_cast<uint32_t>(o.value);
      continue;
    }
    if (i.form == Form::bfi && o.role == 'e') {
      fields.aux = row(o, false);
      continue;
    }
    if (o.is(Kind::vector) || o.is(Kind::address)) return false;
    bool is_wide_source = bits_of(o.type) == 64;
    Source s = source(o, scalar);
    wide.push_back(is_wide_source);
    sources.push_back(s);
  }
  if (i.form == Form::selp) {
    r.scalar = scalar;
    r.kinds = (sources[0].scalar ? 1u : 0u) | (sources[1].scalar ? 2u : 0u);
    uint32_t at = destination(d);
    emit_masked(width, at);
    fields.d = at;
    fields.a = sources[0].offset;
    fields.b = sources[1].offset;
    emit(select(r), fields);
    return true;
  }
  return operate(r, width, destination(d), std::move(sources), wide, fields);
}

/// Field `index` of `bits` bits of a row of `whole` bits.
bool Lowering::move_part(uint32_t d, uint32_t a, uint32_t bits, uint32_t whole, uint32_t index) {
  Width width = bits == 64 ? Width::row64 : Width::row32;
  uint32_t shift = bits * index;
  if (whole == 64) {
    if (bits == 64) return operate(request(Form::mov, {Type::b64}), width, d, {{a, false}}, {true});
    if (bits == 32) return helper(index ? Helper::high : Helper::low, width, d, a);
    uint32_t half = scratch();
    helper(shift >= 32 ? Helper::high : Helper::low, width, half, a, 0, false);
    a = half;
    shift %= 32;
  }
  if (shift == 0) return operate(request(Form::mov, {Type::b32}), width, d, {{a, false}}, {false});
  return operate(request(Form::shr, {Type::b32}), width, d, {{a, false}, {constant(shift), true}}, {false, false});
}

bool Lowering::move(const Instruction& i) {
  auto operands = f_.operands(i);
  const Operand &d = operands[0], &a = operands[1];
  if (i.type() == Type::pred) {
    Guard p = predicate(a);
    uint32_t at = destination(d);
    emit_masked(Width::predicate, at);
    emit(h_.select_helper(Helper::predicate_move), {.d = at, .a = p.offset, .imm = p.turned});
    return true;
  }
  uint32_t bits = bits_of(i.type());
  if (a.is(Kind::label)) return false;
  if (bits == 128) {
    for (uint32_t half = 0; half < 2; ++half) {
      auto part = [&](const Operand& o) -> Source {
        if (!o.is(Kind::vector)) return {place(o.index, half), false};
        const Operand& e = f_.elements(o)[half];
        if (e.is(Kind::sink)) return {scratch(), false};
        return e.use == Operand::Use::write ? Source{place(e.index), is_scalar(e.index)} : source(e);
      };
      if ((a.is(Kind::vector) && a.count != 2) || (d.is(Kind::vector) && d.count != 2)) return false;
      Source to = part(d), from = part(a);
      if (to.scalar || !operate(request(Form::mov, {Type::b64}), Width::row64, to.offset, {from}, {true})) return false;
    }
    return true;
  }
  if (d.is(Kind::vector)) {
    auto parts = f_.elements(d);
    auto count = static_cast<uint32_t>(parts.size());
    uint32_t from = row(a, bits == 64);
    for (uint32_t n = 0; n < count; ++n)
      if (parts[n].is(Kind::reg) && !move_part(place(parts[n].index), from, bits / count, bits, n)) return false;
    return true;
  }
  if (a.is(Kind::vector)) {
    auto parts = f_.elements(a);
    std::vector<uint32_t> rows;
    for (const Operand& e : parts) rows.push_back(row(e, bits_of(e.type) == 64));
    uint32_t part = bits / static_cast<uint32_t>(rows.size());
    uint32_t at = destination(d);
    if (rows.size() == 1)
      return operate(request(Form::mov, {bits == 64 ? Type::b64 : Type::b32}), bits == 64 ? Width::row64 : Width::row32,
                     at, {{rows[0], false}}, {bits == 64});
    while (rows.size() > 1) { // join neighbours
      Helper join = part == 32 ? Helper::pack64 : part == 16 ? Helper::pack32 : Helper::pack16;
      part *= 2;
      Width width = part == 64 ? Width::row64 : Width::row32;
      std::vector<uint32_t> next;
      for (size_t n = 0; n + 1 < rows.size(); n += 2) {
        bool last = rows.size() == 2;
        uint32_t to = last ? at : scratch();
        helper(join, width, to, rows[n], rows[n + 1], last);
        next.push_back(to);
      }
      rows = next;
    }
    return true;
  }
  bool scalar = d.is(Kind::reg) && is_scalar(d.index);
  Source s = source(a, scalar);
  // A row is copied at the register's width; the lane of a scalar destination is the first.
  Type type = bits == 64 ? Type::b64 : Type::b32;
  if (scalar) {
    emit_masked(Width::scalar, place(d.index));
    Request r = request(bits == 64 ? Form::mov : Form::cvt, {Type::u32, Type::u32});
    if (bits == 64) r.types[0] = Type::b64;
    r.scalar = true;
    emit(select(r), {.d = place(d.index), .a = s.offset});
    return true;
  }
  return operate(request(Form::mov, {type}), bits == 64 ? Width::row64 : Width::row32, destination(d), {s},
                 {bits == 64});
}

/// ConvertMode.
static uint32_t convert_mode(const Instruction& i) {
  Mod r = i.rounding();
  return (r == Mod::rz || r == Mod::rzi   ? 1u
          : r == Mod::rm || r == Mod::rmi ? 2u
          : r == Mod::rp || r == Mod::rpi ? 3u
                                          : 0u) |
         (r == Mod::rni || r == Mod::rzi || r == Mod::rmi || r == Mod::rpi ? convert_integral : 0u) |
         (i.has(Mod::sat) ? convert_sat : 0u) | (i.has(Mod::ftz) && i.type(1) == Type::f32 ? convert_ftz : 0u);
}
bool Lowering::convert(const Instruction& i) {
  auto operands = f_.operands(i);
  const Operand &d = operands[0], &a = operands[1];
  Request r = request(i);
  bool scalar = d.is(Kind::reg) && is_scalar(d.index);
  Source s = source(a, scalar);
  bool wide_source = bits_of(i.type(1)) == 64;
  if (a.is(Kind::reg) && !wide_source && is_wide(a.index) && !s.scalar) { // a narrow type in a wide register
    uint32_t narrow = scratch();
    helper(Helper::low, Width::row32, narrow, s.offset, 0, false);
    s.offset = narrow;
  }
  uint32_t to = bits_of(i.type(0));
  bool wide_register = d.is(Kind::reg) && is_wide(d.index);
  if (scalar || !wide_register || to == 64)
    return operate(r,
                   scalar     ? Width::scalar
                   : to == 64 ? Width::row64
                              : Width::row32,
                   destination(d), {s}, {wide_source}, {.aux = convert_mode(i)});
  // A narrow result in a wide register is extended.
  uint32_t narrow = scratch();
  bool guarded = std::exchange(guarded_, false), varying = std::exchange(varying_, false);
  bool fine = operate(r, Width::row32, narrow, {s}, {wide_source}, {.aux = convert_mode(i)});
  guarded_ = guarded;
  varying_ = varying;
  bool extend = is_signed(i.type(0));
  return fine && operate(request(Form::cvt, {extend ? Type::s64 : Type::u64, extend ? Type::s32 : Type::u32}),
                         Width::row64, place(d.index), {{narrow, false}}, {false});
}

bool Lowering::compare(const Instruction& i) {
  auto operands = f_.operands(i);
  const Operand& d = operands[0];
  const Operand* combine = f_.operand(i, 'p');
  const bool packed = i.type() == Type::f16x2 || i.type() == Type::bf16x2, half = is_half(i.type());
  const Operand* first = d.is(Kind::pair) ? &f_.elements(d)[0] : &d;
  const Operand* second = d.is(Kind::pair) ? &f_.elements(d)[1] : nullptr;
  const Request r = comparison_of(request(i));
  const bool wide = bits_of(i.type()) == 64;
  std::vector<Source> sources{source(operands[1])};
  sources.push_back(i.form == Form::testp ? sources[0] : source(operands[2]));
  // Into temporaries first: destinations may be the guard or the third source.
  uint32_t yes = temporary_predicate(0), no = temporary_predicate(1);
  Guard guard = guard_;
  bool guarded = std::exchange(guarded_, false), varying = std::exchange(varying_, false);
  auto one = [&](uint32_t at, bool high) {
    std::vector<Source> s = sources;
    Request q = r;
    q.kinds = (s[0].scalar ? 1u : 0u) | (s[1].scalar ? 2u : 0u);
    q.scalar = high;
    Fn fn = half ? nullptr : h_.select_float(q);
    if (!fn) {
      s = {{spread(s[0], wide), false}, {spread(s[1], wide), false}};
      q.kinds = 0;
      fn = half ? h_.select_half(q) : h_.select_float(q);
    }
    if (!fn) return false;
    emit(fn, {.d = at, .a = s[0].offset, .b = s[1].offset});
    return true;
  };
  bool simple = !combine && !second && !guarded && !varying && first->is(Kind::reg);
  bool fine = one(simple ? place(first->index) : yes, false);
  if (fine && packed)
    fine = one(no, true);
  else if (fine && second)
    emit(h_.select_helper(Helper::predicate_not), {.d = no, .a = yes});
  if (fine && combine) {
    const Fn op = h_.select_helper(combination_of(i));
    Guard c = predicate(*combine);
    emit(op, {.d = yes, .a = yes, .b = c.offset, .aux = c.turned});
    if (second) emit(op, {.d = no, .a = no, .b = c.offset, .aux = c.turned});
  }
  guarded_ = guarded;
  varying_ = varying;
  if (!fine || simple) return fine;
  if (guarded && second) { // the first destination may be the guard
    emit(h_.select_helper(Helper::predicate_move), {.d = temporary_predicate(2), .a = guard.offset});
    guard_.offset = temporary_predicate(2);
  }
  for (auto [to, from] : {std::pair(first, yes), std::pair(second, no)}) {
    if (!to || !to->is(Kind::reg)) continue;
    emit_masked(Width::predicate, place(to->index));
    emit(h_.select_helper(Helper::predicate_move), {.d = place(to->index), .a = from});
  }
  return true;
}

/// set: a comparison whose result is a number: 1.0, or all ones; for two halves, two such.
bool Lowering::set(const Instruction& i) {
  auto operands = f_.operands(i);
  Type to = i.type(0), from = i.type(1);
  const bool packed = from == Type::f16x2 || from == Type::bf16x2, half = is_half(from);
  if (operands[0].is(Kind::reg) && is_scalar(operands[0].index)) return false;
  Request r = comparison_of(request(i));
  r.form = Form::setp;
  r.types[0] = from;
  bool wide = bits_of(from) == 64;
  uint32_t a = row(operands[1], wide), b = row(operands[2], wide), at = destination(operands[0]);
  uint64_t one = to == Type::f32                          ? 0x3f800000u
                 : to == Type::f16 || to == Type::f16x2   ? 0x3c00u
                 : to == Type::bf16 || to == Type::bf16x2 ? 0x3f80u
                 : packed                                 ? 0xffffu
                                                          : ~uint64_t{0};
  uint32_t results[2];
  for (uint32_t n = 0; n < (packed ? 2u : 1u); ++n) {
    r.scalar = n == 1; // the upper half
    Fn fn = half ? h_.select_half(r) : h_.select_float(r);
    if (!fn) return false;
    uint32_t yes = temporary_predicate(n);
    emit(fn, {.d = yes, .a = a, .b = b});
    if (const Operand* combine = f_.operand(i, 'p')) {
      Guard c = predicate(*combine);
      emit(h_.select_helper(combination_of(i)), {.d = yes, .a = yes, .b = c.offset, .aux = c.turned});
    }
    Request select_one = request(Form::selp, {Type::b32});
    select_one.kinds = 3;
    results[n] = packed ? scratch() : at;
    if (!packed) emit_masked(Width::row32, at);
    emit(select(select_one), {.d = results[n], .a = constant(one), .b = constant(0), .c = yes});
  }
  return !packed || helper(Helper::pack32, Width::row32, at, results[0], results[1]);
}

/// add.cc and its kin: the carry flag is a predicate of its own, one for each lane.
bool Lowering::carry(const Instruction& i) {
  auto operands = f_.operands(i);
  bool wide = bits_of(i.type()) == 64, subtract = i.form == Form::sub_cc || i.form == Form::subc;
  bool product = i.form == Form::mad_cc || i.form == Form::madc;
  bool in = i.form == Form::addc || i.form == Form::subc || i.form == Form::madc, out = i.has(Mod::cc);
  if (operands[0].is(Kind::reg) && is_scalar(operands[0].index)) return false;
  uint32_t a = row(operands[1], wide), b = row(operands[2], wide);
  if (product) {
    uint32_t at = scratch();
    Fn fn = select(request(Form::mul_int, {i.type()}, {i.has(Mod::hi) ? Mod::hi : Mod::lo}));
    emit(fn, {.d = at, .a = a, .b = b});
    a = at;
    b = row(operands[3], wide);
  }
  uint32_t flag = temporary_predicate(7), next = temporary_predicate(6);
  Insn fields{.a = a, .b = b, .imm = in, .aux = flag};
  if (out) {
    fields.d = next;
    emit(h_.select_carry(true, subtract, wide), fields);
  }
  fields.d = destination(operands[0]);
  emit_masked(wide ? Width::row64 : Width::row32, fields.d);
  emit(h_.select_carry(false, subtract, wide), fields);
  if (out) {
    emit_masked(Width::predicate, flag);
    emit(h_.select_helper(Helper::predicate_move), {.d = flag, .a = next});
  }
  return true;
}

/// lop3 with a predicate: (d != 0) combined with the last source.
bool Lowering::lop3_bool(const Instruction& i) {
  auto operands = f_.operands(i);
  const Operand &result = operands[0], &d = result.is(Kind::pair) ? f_.elements(result)[0] : result;
  uint32_t rows[3], all = scratch(), yes = temporary_predicate(0);
  for (size_t n = 0; n < 3; ++n) rows[n] = row(operands[n + 1], false);
  emit(select(request(Form::lop3, {Type::b32})),
       {.d = all, .a = rows[0], .b = rows[1], .c = rows[2], .imm = static_cast<uint32_t>(operands[4].value)});
  if (result.is(Kind::pair) && f_.elements(result)[1].is(Kind::reg)) {
    Guard c = predicate(*f_.operand(i, 'p'));
    uint32_t p = place(f_.elements(result)[1].index);
    emit(h_.select_float(request(Form::setp, {Type::u32}, {Mod::ne})),
         {.d = yes, .a = all, .b = row({.kind = Kind::integer, .value = 0}, false)});
    emit(h_.select_helper(combination_of(i)), {.d = yes, .a = yes, .b = c.offset, .aux = c.turned});
    if (d.is(Kind::reg))
      operate(request(Form::mov, {Type::b32}), Width::row32, place(d.index), {{all, false}}, {false});
    emit_masked(Width::predicate, p);
    emit(h_.select_helper(Helper::predicate_move), {.d = p, .a = yes});
    return true;
  }
  return !d.is(Kind::reg) ||
         operate(request(Form::mov, {Type::b32}), Width::row32, place(d.index), {{all, false}}, {false});
}

/// Approximations of halves: by that of floats, rounded.
bool Lowering::through_float(const Instruction& i) {
  auto operands = f_.operands(i);
  bool packed = bits_of(i.type()) == 32;
  Type half = i.type() == Type::f16 || i.type() == Type::f16x2 ? Type::f16 : Type::bf16;
  uint32_t a = row(operands[1], false), parts[2];
  for (uint32_t n = 0; n < (packed ? 2u : 1u); ++n) {
    uint32_t x = scratch();
    parts[n] = scratch();
    if (n)
      emit(select(request(Form::shr, {Type::b32})),
           {.d = x, .a = a, .b = row({.kind = Kind::integer, .value = 16}, false)});
    emit(select(request(Form::cvt, {Type::f32, half})), {.d = x, .a = n ? x : a});
    emit(select(request(i.form == Form::tanh_half ? Form::tanh_approx : Form::ex2_approx, {Type::f32})),
         {.d = x, .a = x});
    emit(select(request(Form::cvt, {half, Type::f32}, {Mod::rn})), {.d = parts[n], .a = x});
  }
  uint32_t at = destination(operands[0]);
  if (packed) return helper(Helper::pack32, Width::row32, at, parts[0], parts[1]);
  return operate(request(Form::mov, {Type::b32}), Width::row32, at, {{parts[0], false}}, {false});
}

bool Lowering::convert_address(const Instruction& i) {
  auto operands = f_.operands(i);
  Space space = i.space();
  uint64_t window = space == Space::shared  ? shared_window
                    : space == Space::local ? local_window
                    : space == Space::param ? param_window // the entry's, in functions too
                                            : 0;
  if (i.form == Form::isspacep) {
    uint32_t address = row(operands[1], true), at = destination(operands[0]);
    uint32_t inside = temporary_predicate(0), constants = temporary_predicate(1);
    Fn less = h_.select_float(request(Form::setp, {Type::u64}, {Mod::lt}));
    auto test = [&](uint64_t begin, uint64_t size) {
      uint32_t used = scratch_used_;
      emit(less, {.d = inside, .a = sum(address, ~begin + 1), .b = spread({constant(size), true}, true)});
      scratch_used_ = used;
    };
    // Everything below the windows is global, but for the constants that lie there.
    emit(h_.select_helper(Helper::predicate_move), {.d = constants});
    for (size_t v = 0; v < m_.variables.size() && !window; ++v)
      if (m_.variables[v].space == Space::constant) {
        test(addresses_[v], m_.variables[v].bytes);
        emit(h_.select_helper(Helper::predicate_or), {.d = constants, .a = constants, .b = inside});
      }
    if (space != Space::constant) test(window, window ? window_bytes : shared_window);
    emit_masked(Width::predicate, at);
    if (space == Space::constant)
      emit(h_.select_helper(Helper::predicate_move), {.d = at, .a = constants});
    else
      emit(h_.select_helper(Helper::predicate_and), {.d = at, .a = inside, .b = constants, .aux = ~0u});
    return true;
  }
  if (bits_of(i.type()) != 64) return false;
  bool scalar = operands[0].is(Kind::reg) && is_scalar(operands[0].index);
  Width width = scalar ? Width::scalar : Width::row64;
  uint32_t at = destination(operands[0]);
  Source a = source(operands[1], scalar);
  if (!window) return operate(request(Form::mov, {Type::b64}), width, at, {a}, {true});
  return operate(request(i.form == Form::cvta ? Form::add_int : Form::sub_int, {Type::u64}), width, at,
                 {a, {constant(window), true}}, {true, true});
}

bool Lowering::predicate_logic(const Instruction& i) {
  auto operands = f_.operands(i);
  uint32_t at = destination(operands[0]);
  Guard a = predicate(operands[1]), b = operands.size() > 2 ? predicate(operands[2]) : Guard{0, 0};
  Helper op = i.form == Form::and_   ? Helper::predicate_and
              : i.form == Form::or_  ? Helper::predicate_or
              : i.form == Form::xor_ ? Helper::predicate_xor
                                     : Helper::predicate_not;
  emit_masked(Width::predicate, at);
  emit(h_.select_helper(op), {.d = at, .a = a.offset, .b = b.offset, .imm = a.turned, .aux = b.turned});
  return true;
}

} // namespace tilejit::runtime::simulator
