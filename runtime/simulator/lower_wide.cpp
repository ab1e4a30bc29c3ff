// lower_wide.cpp - lowering of instructions with many operands: memory, matrices, exchanges between lanes, barriers.
// The places of fields and words are described with the handlers (exec_memory.cpp, exec_matrix.cpp, exec_move.cpp,
// control.cpp).
#include "runtime/simulator/async.h"
#include "runtime/simulator/lowering.h"
#include "runtime/simulator/memory_flags.h"
#include "runtime/simulator/observe.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace tilejit::runtime::simulator {
namespace {

using Kind = Operand::Kind;

std::span<const Operand> elements_of(const Function& f, const Operand& o) {
  return o.is(Kind::vector) ? f.elements(o) : std::span<const Operand>(&o, 1);
}

} // namespace

bool Lowering::load(const Instruction& i) {
  auto operands = f_.operands(i);
  const Operand& a = *f_.operand(i, 'a');
  auto parts = elements_of(f_, operands[0]);
  Request r = request(i);
  Type type = i.type();
  r.form = Form::ld;
  if (a.base == Kind::variable && in_frame(a.index)) r.space = Space::local;
  if (i.form == Form::ld_nc && r.space == Space::generic) r.space = Space::global; // ldu without a space
  if (r.space == Space::constant) r.space = Space::global;                         // constants lie in global memory
  uint32_t bits = bits_of(type);
  std::vector<uint32_t> rows;
  std::vector<std::pair<const Operand*, uint32_t>> extend; // 64-bit registers that get less
  bool all_scalar = true, any_scalar = false;
  for (const Operand& e : parts) {
    bool scalar = e.is(Kind::reg) && is_scalar(e.index);
    all_scalar = all_scalar && (scalar || e.is(Kind::sink));
    any_scalar = any_scalar || scalar;
  }
  if (any_scalar && !all_scalar) return false;
  if (bits == 128) { // two halves each
    if (parts.size() != 1 || any_scalar) return false;
    r.types[0] = Type::b64;
    r.mods[r.mod_count++] = Mod::v2;
    for (uint32_t half = 0; half < 2; ++half)
      rows.push_back(parts[0].is(Kind::reg) ? place(parts[0].index, half) : scratch());
  } else {
    for (const Operand& e : parts) {
      bool widen = e.is(Kind::reg) && is_wide(e.index) && bits < 64 && !any_scalar;
      rows.push_back(widen || e.is(Kind::sink) ? scratch() : place(e.index));
      if (widen) extend.emplace_back(&e, rows.back());
    }
  }
  if ((r.space == Space::global || r.space == Space::generic) &&
      i.any_of({Mod::volatile_, Mod::relaxed, Mod::acquire, Mod::mmio}) != Mod::unknown)
    p_->communicates = true;
  Address at = address(a);
  r.scalar = any_scalar;
  if (any_scalar && at.flags) return false;
  Fn fn = h_.select_memory(r);
  if (!fn) return false;
  uint32_t flags = at.flags | (is_signed(type) && bits < 32 ? sign_extend : 0);
  auto elements = static_cast<uint32_t>(rows.size());
  observe_access(i, Observed::Kind::read, at, r.space, bits / 8 * static_cast<uint32_t>(parts.size()), elements, 32,
                 false, h_.select_moving(r));
  emit(fn, {.d = flags, .a = at.offset, .c = guard_.offset, .imm = at.imm, .aux = guard_.turned});
  emit_words(rows, 1);
  for (auto [e, row] : extend) {
    bool is_signed_type = is_signed(type);
    // A load of 8 or 16 bits has been extended to 32 already.
    if (!operate(request(Form::cvt, {is_signed_type ? Type::s64 : Type::u64, is_signed_type ? Type::s32 : Type::u32}),
                 Width::row64, place(e->index), {{row, false}}, {false}))
      return false;
  }
  return true;
}

bool Lowering::store(const Instruction& i) {
  const Operand &a = *f_.operand(i, 'a'), &b = *f_.operand(i, 'b');
  Request r = request(i);
  if (a.base == Kind::variable && in_frame(a.index)) r.space = Space::local;
  uint32_t bits = bits_of(i.type());
  std::vector<uint32_t> rows;
  if (bits == 128) {
    if (!b.is(Kind::reg)) return false;
    r.types[0] = Type::b64;
    r.mods[r.mod_count++] = Mod::v2;
    rows = {place(b.index, 0), place(b.index, 1)};
  } else {
    for (const Operand& e : elements_of(f_, b)) {
      bool wide_register = e.is(Kind::reg) && is_wide(e.index);
      uint32_t at = row(e, wide_register || bits == 64);
      if (wide_register && bits < 64) {
        uint32_t narrow = scratch();
        helper(Helper::low, Width::row32, narrow, at, 0, false);
        at = narrow;
      }
      rows.push_back(at);
    }
  }
  Address at = address(a);
  Fn fn = h_.select_memory(r);
  if (!fn) return false;
  auto elements = static_cast<uint32_t>(rows.size());
  observe_access(i, Observed::Kind::write, at, r.space, bits == 128 ? 16 : bits / 8 * elements, elements, 32, false,
                 h_.select_moving(r));
  emit(fn, {.d = at.flags, .a = at.offset, .c = guard_.offset, .imm = at.imm, .aux = guard_.turned});
  emit_words(rows, 1);
  return true;
}

/// Of 128 bits.
bool Lowering::wide_atomic(const Instruction& i) {
  const Operand &a = *f_.operand(i, 'a'), &b = *f_.operand(i, 'b'), *c = f_.operand(i, 'c'), *d = f_.operand(i, 'd');
  if ((i.form != Form::atom_cas && !i.has(Mod::exch)) || !b.is(Kind::reg) || (c && !c->is(Kind::reg))) return false;
  std::vector<uint32_t> words;
  address_words(&a, words);
  const uint32_t value = place(c ? c->index : b.index), compared = c ? place(b.index) : 0;
  words.insert(words.end(), {value, compared, d->is(Kind::reg) ? place(d->index) : 0});
  observe_access(i, Observed::Kind::atomic, address(a), i.space(), 16, 1);
  emit(simulator::wide_atomic, {.d = 1, .c = guard_.offset, .imm = i.space() == Space::shared, .aux = guard_.turned});
  emit_words(words, 1);
  p_->communicates |= i.space() != Space::shared;
  return true;
}

bool Lowering::atomic(const Instruction& i) {
  if (bits_of(i.type()) == 128) return wide_atomic(i);
  const Operand* d = f_.operand(i, 'd');
  const Operand &a = *f_.operand(i, 'a'), &b = *f_.operand(i, 'b');
  const Operand* c = f_.operand(i, 'c');
  Request r = request(i);
  bool wide = bits_of(i.type()) == 64;
  std::span<const Operand> values = elements_of(f_, b), results;
  if (d) results = elements_of(f_, *d);
  Fn fn = h_.select_memory(r);
  if (!fn || (c && values.size() > 1)) return false;
  std::vector<uint32_t> rows;
  for (const Operand& e : values) {
    rows.push_back(row(e, wide));
    if (values.size() == 1 || results.empty() || !e.is(Kind::reg)) continue;
    uint32_t copy = scratch(); // an element's result may go where a later element's operand is
    emit(select(request(Form::mov, {wide ? Type::b64 : Type::b32})), {.d = copy, .a = rows.back()});
    rows.back() = copy;
  }
  Address at = address(a);
  bool looked_at = false;
  for (size_t n = 0; n < values.size(); ++n) { // a vector: each element is an atomic operation of its own
    Insn words;
    if (d && results[n].is(Kind::reg)) {
      if (is_scalar(results[n].index)) return false;
      words.d = place(results[n].index);
      looked_at = true;
    }
    words.a = rows[n];
    words.b = c ? row(*c, wide) : 0;
    Address element{at.offset, at.flags, at.imm + static_cast<uint32_t>(n) * bytes_of(i.type())};
    observe_access(i, Observed::Kind::atomic, element, r.space, bytes_of(i.type()), 1, 32, words.d == 0);
    emit(fn, {.d = at.flags, .a = at.offset, .c = guard_.offset, .imm = element.imm, .aux = guard_.turned});
    emit(nullptr, words);
  }
  // Sums of floats depend on their order, and results that are looked at on who comes first.
  if (r.space != Space::shared) {
    p_->ordered_blocks |= is_float(i.type());
    p_->communicates |= looked_at;
  }
  return true;
}

bool Lowering::copy_async(const Instruction& i) {
  switch (i.form) {
  case Form::cp_async_commit_group: emit(c_.copy_commit, {.c = guard_.offset, .aux = guard_.turned}); return true;
  case Form::cp_async_wait_group:
    emit(c_.copy_wait,
         {.c = guard_.offset, .imm = static_cast<uint32_t>(f_.operands(i)[0].value), .aux = guard_.turned});
    return true;
  case Form::cp_async_wait_all: emit(c_.copy_wait, {.a = 1, .c = guard_.offset, .aux = guard_.turned}); return true;
  default: break;
  }
  const Operand &to = *f_.operand(i, 'd'), &from = *f_.operand(i, 'a'), &size = *f_.operand(i, 'b');
  const Operand *reads = f_.operand(i, 'c'), *ignore = f_.operand(i, 'p');
  if (size.value != 4 && size.value != 8 && size.value != 16) return false;
  Address d = address(to), a = address(from);
  Insn words;
  words.d = a.flags;
  words.a = a.offset;
  words.b = a.imm;
  words.c = static_cast<uint32_t>(size.value);
  words.imm = reads ? row(*reads, false) : 0;
  if (ignore) {
    Guard p = predicate(*ignore);
    words.aux = p.offset;
    if (p.turned) {
      words.aux = temporary_predicate(0);
      emit(h_.select_helper(Helper::predicate_move), {.d = words.aux, .a = p.offset, .imm = p.turned});
    }
  }
  observe_access(i, Observed::Kind::copy, d, Space::shared, words.c, 1);
  emit(h_.select_memory(request(i)),
       {.d = d.flags, .a = d.offset, .c = guard_.offset, .imm = d.imm, .aux = guard_.turned});
  emit(nullptr, words);
  return true;
}

bool Lowering::matrix_move(const Instruction& i) {
  auto operands = f_.operands(i);
  Fn fn = h_.select_matrix(request(i));
  if (!fn) return false;
  std::vector<uint32_t> rows;
  if (i.form == Form::movmatrix) {
    rows = {destination(operands[0]), row(operands[1], false)};
    emit(fn, {.c = guard_.offset, .aux = guard_.turned});
    emit_words(rows, 1);
    return true;
  }
  const Operand& data = i.form == Form::ldmatrix ? *f_.operand(i, 'd') : *f_.operand(i, 'b');
  for (const Operand& e : elements_of(f_, data))
    rows.push_back(i.form == Form::ldmatrix ? destination(e) : row(e, false));
  Address at = address(*f_.operand(i, 'a'));
  uint32_t flags = at.flags | (i.space() == Space::generic ? generic_address : 0);
  bool is_load = i.form == Form::ldmatrix;
  observe_access(i, is_load ? Observed::Kind::matrix_read : Observed::Kind::matrix_write, at, i.space(), 16, 1,
                 8 * static_cast<uint32_t>(rows.size()));
  if (!p_->observed.empty()) p_->observed.back().transposed = i.has(Mod::trans);
  emit(fn, {.d = flags, .a = at.offset, .c = guard_.offset, .imm = at.imm, .aux = guard_.turned});
  emit_words(rows, 1);
  return true;
}

Result Lowering::result_of(const Instruction& i) {
  if (i.type() == Type::s32) return i.has(Mod::satfinite) ? Result::s32_saturated : Result::s32;
  return i.type() == Type::f16 ? Result::f16 : Result::f32;
}

bool Lowering::product(const Instruction& i) {
  Fn fn = h_.select_matrix_more(request(i));
  if (!fn) return tile_product(i);
  bool wide = i.form == Form::mma_f64;
  std::vector<uint32_t> rows;
  for (char role : {'d', 'a', 'b', 'c'})
    for (const Operand& e : elements_of(f_, *f_.operand(i, role)))
      rows.push_back(role == 'd' ? destination(e) : row(e, wide));
  emit(fn, {.b = i.shape.k, .c = guard_.offset, .imm = i.shape.m, .aux = guard_.turned});
  emit_words(rows, wide ? 3 : 2);
  return true;
}

/// One that exec_mma.cpp computes, in tiles of 16 rows: of eight rows, the others go to where nobody looks. It joins
/// the one before where both have the same A and it needs no result of the others.
bool Lowering::tile_product(const Instruction& i) {
  constexpr size_t rows_of_d = 4, rows_of_a = 4, rows_of_b = 2;
  const uint32_t bits = i.type(1) == Type::tf32 ? 32 : bits_of(i.type(1)), halves = i.shape.k * bits / 128;
  std::vector<uint32_t> words(rows_of_d + rows_of_a + rows_of_b + 4);
  auto fill = [&](char role, size_t at, size_t size) {
    auto parts = elements_of(f_, *f_.operand(i, role));
    for (size_t n = 0; n < size; ++n) {
      if (n < parts.size())
        words[at + n] = role == 'd' ? destination(parts[n]) : row(parts[n], false);
      else
        words[at + n] = role == 'd' ? scratch() : words[at];
    }
  };
  fill('d', 0, rows_of_d);
  fill('a', rows_of_d, rows_of_a);
  if (i.shape.m == 8) words[5] = words[4]; // the second eight rows of A
  fill('b', rows_of_d + rows_of_a, rows_of_b);
  fill('c', rows_of_d + rows_of_a + rows_of_b, 4);
  const Insn fields{.d = static_cast<uint32_t>(i.type(1)) | static_cast<uint32_t>(i.type(2)) << 8,
                    .a = halves | (p_->instruments.exact_products ? product_exact : 0),
                    .b = static_cast<uint32_t>(result_of(i)),
                    .c = guard_.offset,
                    .aux = guard_.turned};
  auto same_as_first = [&] {
    const Insn& f = p_->code[sharing_.first];
    const auto* first = reinterpret_cast<const uint32_t*>(&f + 1);
    return f.d == fields.d && f.a == fields.a && f.b == fields.b && f.c == fields.c && f.aux == fields.aux &&
           std::equal(first + rows_of_d, first + rows_of_d + rows_of_a, words.begin() + rows_of_d);
  };
  auto written = [&](uint32_t row) {
    return std::find(sharing_.written.begin(), sharing_.written.end(), row) != sharing_.written.end();
  };
  // Lanes that come together twice with nothing in between are looked at once.
  const bool observed = p_->code.size() == sharing_.end + 1 && p_->code.back().fn == observing_handlers().lanes;
  if (p_->code.size() == sharing_.end + observed && same_as_first() &&
      std::none_of(words.begin() + rows_of_d, words.end(), written)) {
    ++p_->code[sharing_.first].imm;
    if (observed) p_->code.pop_back(), p_->meta.pop_back(), p_->observed.pop_back();
  } else {
    sharing_.first = p_->code.size();
    sharing_.written.clear();
  }
  sharing_.written.insert(sharing_.written.end(), words.begin(), words.begin() + rows_of_d);
  emit(h_.mma, fields);
  emit_words(words, 2);
  sharing_.end = p_->code.size();
  return true;
}

/// wmma: fragments in a layout that only these instructions know (exec_wmma.h).
bool Lowering::fragment(const Instruction& i) {
  Insn main{.c = guard_.offset, .aux = guard_.turned};
  Fn fn = h_.select_matrix_more(request(i));
  if (!fn) return false;
  // A fragment holds its matrix a whole number of times.
  auto holds = [](size_t registers, Type type, uint32_t elements) {
    uint32_t slots = 32 * static_cast<uint32_t>(registers) * (bits_of(type) == 64 ? 1 : 32 / bits_of(type));
    return slots >= elements && slots % elements == 0;
  };
  if (i.form == Form::wmma_mma) {
    const bool halves = i.type_count == 2;
    std::vector<uint32_t> words{i.shape.m, i.shape.n, i.shape.k};
    for (size_t t = 0; t < 4; ++t)
      words.push_back(static_cast<uint32_t>(!halves            ? i.type(t)
                                            : t == 1 || t == 2 ? Type::f16
                                                               : i.type(t == 0 ? 0 : 1)));
    words.push_back(i.has(Mod::satfinite) ? 1 : i.has(Mod::xor_) ? 2 : 0);
    for (char role : {'d', 'a', 'b', 'c'}) {
      auto parts = elements_of(f_, *f_.operand(i, role));
      for (const Operand& e : parts) {
        bool wide = i.type() == Type::f64;
        words.push_back(role == 'd' ? destination(e) : row(e, wide));
      }
      words.resize(8 * (words.size() / 8 + (words.size() % 8 != 0)));
    }
    const auto slots = static_cast<uint32_t>(words.size() / 8);
    if (slots != 5) return false; // each fragment a slot of its own
    std::vector<uint32_t> counts;
    for (char role : {'d', 'a', 'b', 'c'})
      counts.push_back(static_cast<uint32_t>(elements_of(f_, *f_.operand(i, role)).size()));
    const uint32_t elements[] = {words[0] * words[1], words[0] * words[2], words[1] * words[2], words[0] * words[1]};
    for (size_t f = 0; f < 4; ++f)
      if (!holds(counts[f], static_cast<Type>(words[3 + f]), elements[f])) return false;
    main.d = counts[0], main.a = counts[1], main.b = counts[2], main.imm = counts[3];
    emit(fn, main);
    emit_words(words, slots);
    return true;
  }
  const bool load = i.form == Form::wmma_load, row_major = i.has(Mod::row);
  const Operand &data = *f_.operand(i, load ? 'd' : 'b'), *stride = f_.operand(i, load ? 'b' : 'c');
  const bool wide = i.type() == Type::f64;
  auto [m, n, k] = i.shape;
  if (i.has(Mod::a)) n = k;
  if (i.has(Mod::b)) m = k;
  auto parts = elements_of(f_, data);
  if (!holds(parts.size(), i.type(), uint32_t{m} * n)) return false;
  std::vector<uint32_t> words{m,
                              n,
                              static_cast<uint32_t>(bits_of(i.type())),
                              static_cast<uint32_t>(parts.size()),
                              row_major,
                              wide,
                              i.space() == Space::shared};
  words.resize(8);
  for (const Operand& e : parts) words.push_back(load ? destination(e) : row(e, wide));
  main.b = stride ? row(*stride, false) : spread({constant(row_major ? n : m), true}, false);
  Address at = address(*f_.operand(i, 'a'));
  main.d = at.flags, main.a = at.offset, main.imm = at.imm;
  observe_fragment(i);
  emit(fn, main);
  emit_words(words, 2);
  return true;
}

bool Lowering::exchange(const Instruction& i) {
  auto operands = f_.operands(i);
  const Operand &result = operands[0], &d = result.is(Kind::pair) ? f_.elements(result)[0] : result;
  const Operand* second = result.is(Kind::pair) ? &f_.elements(result)[1] : nullptr;
  Insn main, words;
  words.d = guard_.offset;
  words.a = guard_.turned;
  auto either = [&](const Operand& o, uint32_t flag) {
    Source s = source(o);
    if (!s.scalar) words.c |= flag;
    return s.offset;
  };
  auto members = [&](const Operand* o) {
    if (o)
      words.b = either(*o, 4);
    else
      words.c |= 16;
  };
  bool to_predicate = d.type == Type::pred;
  bool elect_nothing = i.form == Form::elect && d.is(Kind::sink);
  main.d = elect_nothing ? 0 : destination(d);
  if (!to_predicate && d.is(Kind::reg) && is_scalar(d.index)) words.c |= 8;
  if (second && second->is(Kind::reg)) main.imm = place(second->index);
  switch (i.form) {
  case Form::shfl:
  case Form::shfl_sync:
    if (words.c & 8) return false;
    main.a = row(*f_.operand(i, 'a'), false);
    main.b = either(*f_.operand(i, 'b'), 1);
    main.c = either(*f_.operand(i, 'c'), 2);
    members(f_.operand(i, 'e'));
    break;
  case Form::vote:
  case Form::vote_ballot:
  case Form::vote_sync:
  case Form::vote_sync_ballot: {
    Guard p = predicate(*f_.operand(i, 'p'));
    main.a = p.offset;
    main.aux = p.turned;
    members(f_.operand(i, 'a'));
    break;
  }
  case Form::activemask: words.c |= 16; break;
  case Form::match_any:
  case Form::match_all:
    if (words.c & 8) return false;
    main.a = row(*f_.operand(i, 'a'), bits_of(i.type()) == 64);
    members(f_.operand(i, 'b'));
    break;
  case Form::redux:
    main.a = row(*f_.operand(i, 'a'), false);
    members(f_.operand(i, 'b'));
    break;
  case Form::elect:
    if (words.c & 8) return false;
    members(f_.operand(i, 'a'));
    break;
  default: return false;
  }
  emit(h_.select_move(request(i)), main);
  emit(nullptr, words);
  return true;
}

bool Lowering::barrier(const Instruction& i) {
  const Operand &a = *f_.operand(i, 'a'), *b = f_.operand(i, 'b'), *p = f_.operand(i, 'p');
  Insn main, words;
  main.c = guard_.offset;
  main.aux = guard_.turned;
  Source id = source(a);
  main.a = id.offset;
  words.b = id.scalar ? 0 : 1;
  if (b) {
    Source count = source(*b);
    main.b = count.offset;
    words.b |= count.scalar ? 0 : 2;
  }
  if (i.has(Mod::aligned) || i.text.starts_with("bar.")) words.b |= 4;
  Fn fn = i.form == Form::bar_sync        ? c_.bar_sync
          : i.form == Form::bar_arrive    ? c_.bar_arrive
          : i.form == Form::bar_warp_sync ? c_.bar_warp
                                          : c_.bar_red;
  if (i.form == Form::bar_red_popc || i.form == Form::bar_red_pred) {
    const Operand& d = f_.operands(i)[0];
    main.imm = i.form == Form::bar_red_popc ? 0 : i.has(Mod::and_) ? 1 : 2;
    if (d.is(Kind::reg) && is_scalar(d.index)) return false;
    main.d = destination(d);
    Guard predicate_guard = predicate(*p);
    words.d = predicate_guard.offset;
    words.a = predicate_guard.turned;
  }
  if (i.form != Form::bar_warp_sync) observe_barrier();
  emit(fn, main);
  emit(nullptr, words);
  return true;
}

} // namespace tilejit::runtime::simulator
