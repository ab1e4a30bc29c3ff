// lower_async.cpp - lowering of asynchronous copies, mbarriers and clusters. The fields and words of each are described
// with their handlers (async.h).
#include "runtime/simulator/async.h"
#include "runtime/simulator/lowering.h"
#include "runtime/simulator/memory_flags.h"
#include "runtime/simulator/wgmma.h"

#include <cstring>

namespace tilejit::runtime::simulator {
namespace {

using Kind = Operand::Kind;

Reduction reduction_of(const Instruction& i) {
  switch (i.any_of({Mod::add, Mod::min, Mod::max, Mod::inc, Mod::dec, Mod::and_, Mod::or_, Mod::xor_})) {
  case Mod::add: return Reduction::add;
  case Mod::min: return Reduction::min;
  case Mod::max: return Reduction::max;
  case Mod::inc: return Reduction::inc;
  case Mod::dec: return Reduction::dec;
  case Mod::and_: return Reduction::and_;
  case Mod::or_: return Reduction::or_;
  case Mod::xor_: return Reduction::xor_;
  default: return Reduction::none;
  }
}
bool is_reduction(Form form) {
  return form == Form::cp_reduce_async_bulk || form == Form::cp_reduce_async_bulk_tensor || form == Form::red_async;
}
/// All that stands in a list, lists in it included.
void flatten(const Function& f, const Operand& o, std::vector<const Operand*>& out) {
  if (!o.is(Kind::vector) && !o.is(Kind::address)) {
    out.push_back(&o);
    return;
  }
  for (const Operand& e : f.elements(o)) flatten(f, e, out);
}

} // namespace

uint32_t Lowering::operand_word(const Operand* o) {
  if (!o) return no_operand;
  Source s = source(*o);
  if (s.scalar) return simulator::operand_word(s.offset, PlaceKind::scalar);
  bool wide = o->is(Kind::reg) ? is_wide(o->index) : o->is(Kind::variable);
  return simulator::operand_word(s.offset, wide ? PlaceKind::row64 : PlaceKind::row32);
}
/// Two words.
void Lowering::address_words(const Operand* o, std::vector<uint32_t>& words) {
  if (!o) {
    words.insert(words.end(), {no_operand, 0});
    return;
  }
  if (o->base == Kind::variable && m_.variables[o->index].space == Space::param && f_.is_entry) { // as a generic one
    words.insert(words.end(),
                 {simulator::operand_word(constant(param_window + variable_address(*o)), PlaceKind::scalar), 0});
    return;
  }
  Address a = address(*o);
  PlaceKind kind = a.flags & address_row64   ? PlaceKind::row64
                   : a.flags & address_row32 ? PlaceKind::row32
                                             : PlaceKind::scalar;
  words.insert(words.end(), {simulator::operand_word(a.offset, kind), a.imm});
}
bool Lowering::emit_async(Fn fn, const std::vector<uint32_t>& words, Insn fields) {
  auto slots = static_cast<uint32_t>((words.size() + 7) / 8);
  fields.d = slots;
  fields.c = guard_.offset;
  fields.aux = guard_.turned;
  observe_async(fn);
  if (p_->instruments.sanitize)
    p_->observed.push_back({.kind = Observed::Kind::async, .insn = static_cast<uint32_t>(p_->code.size())});
  emit(fn, fields);
  emit_words(words, slots);
  return true;
}

bool Lowering::mbarrier(const Instruction& i) {
  const AsyncHandlers& h = async_handlers();
  const Operand *d = f_.operand(i, 'd'), *a = f_.operand(i, 'a'), *b = f_.operand(i, 'b');
  uint32_t result = d && d->is(Kind::reg) ? place(d->index) : 0;
  if (i.form == Form::mbarrier_pending_count) return emit_async(h.pending_count, {operand_word(a)}, {.a = result});
  std::vector<uint32_t> words;
  address_words(a, words);
  words.push_back(operand_word(b));
  auto plain = [&](MbarrierOp op, uint32_t flags = 0) {
    if (i.has(Mod::relaxed)) flags |= mbarrier_relaxed;
    return emit_async(h.mbarrier, words, {.a = result, .imm = static_cast<uint32_t>(op) | flags});
  };
  switch (i.form) {
  case Form::mbarrier_init: return plain(MbarrierOp::init);
  case Form::mbarrier_inval: return plain(MbarrierOp::inval);
  case Form::mbarrier_expect_tx: return plain(MbarrierOp::expect);
  case Form::mbarrier_complete_tx: return plain(MbarrierOp::complete);
  case Form::mbarrier_arrive: return plain(MbarrierOp::arrive);
  case Form::mbarrier_arrive_expect_tx: return plain(MbarrierOp::arrive, mbarrier_expects);
  case Form::mbarrier_arrive_nocomplete: return plain(MbarrierOp::arrive, mbarrier_incomplete);
  case Form::mbarrier_arrive_drop: return plain(MbarrierOp::drop);
  case Form::mbarrier_arrive_drop_expect_tx: return plain(MbarrierOp::drop, mbarrier_expects);
  case Form::mbarrier_arrive_drop_nocomplete: return plain(MbarrierOp::drop, mbarrier_incomplete);
  case Form::mbarrier_test_wait: return emit_async(h.mbarrier_wait, words, {.a = result, .imm = 0});
  case Form::mbarrier_test_wait_parity: return emit_async(h.mbarrier_wait, words, {.a = result, .imm = 1});
  case Form::mbarrier_try_wait: return emit_async(h.mbarrier_wait, words, {.a = result, .imm = 2});
  case Form::mbarrier_try_wait_parity: return emit_async(h.mbarrier_wait, words, {.a = result, .imm = 3});
  case Form::cp_async_mbarrier_arrive: return emit_async(h.copies_arrive, words, {.imm = i.has(Mod::noinc)});
  default: return false;
  }
}

bool Lowering::cluster(const Instruction& i) {
  const AsyncHandlers& h = async_handlers();
  auto operands = f_.operands(i);
  switch (i.form) {
  case Form::barrier_cluster_arrive:
    return emit_async(h.cluster_arrive, {}, {.imm = (i.has(Mod::aligned) ? 1u : 0u) | (i.has(Mod::relaxed) ? 2u : 0u)});
  case Form::barrier_cluster_wait: return emit_async(h.cluster_wait, {}, {.imm = i.has(Mod::aligned)});
  case Form::mapa:
    return emit_async(
        h.map_address, {operand_word(&operands[1]), operand_word(&operands[2])},
        {.a = destination(operands[0]), .b = i.space() == Space::generic, .imm = bits_of(i.type()) == 64});
  case Form::getctarank: return emit_async(h.block_rank, {operand_word(&operands[1])}, {.a = destination(operands[0])});
  default: return false;
  }
}

bool Lowering::bulk(const Instruction& i) {
  const AsyncHandlers& h = async_handlers();
  std::vector<uint32_t> words;
  const Operand *d = f_.operand(i, 'd'), *a = f_.operand(i, 'a'), *b = f_.operand(i, 'b'), *m = f_.operand(i, 'm');
  auto reduction = static_cast<uint32_t>(is_reduction(i.form) ? reduction_of(i) : Reduction::none);
  bool to_global = i.space() == Space::global;
  switch (i.form) {
  case Form::cp_async_bulk_commit_group: return emit_async(h.bulk_commit, {});
  case Form::cp_async_bulk_wait_group:
    return emit_async(h.bulk_wait, {}, {.b = i.has(Mod::read), .imm = static_cast<uint32_t>(a->value)});
  case Form::cp_async_bulk_store:
  case Form::cp_async_bulk_load:
  case Form::cp_reduce_async_bulk:
    address_words(d, words);
    address_words(a, words);
    words.push_back(operand_word(b));
    address_words(m, words);
    words.push_back(i.has(Mod::multicast_cluster) || i.has(Mod::cp_mask) ? operand_word(f_.operand(i, 'c'))
                                                                         : no_operand);
    if (to_global && reduction && is_float(i.type())) p_->ordered_blocks = true; // sums depend on their order
    return emit_async(h.bulk, words,
                      {.b = static_cast<uint32_t>(i.type()),
                       .imm = (to_global ? bulk_to_global : 0u) |
                              (i.space(1) == Space::shared ? bulk_from_shared : 0u) | reduction << 8});
  case Form::cp_async_bulk_tensor_load:
  case Form::cp_async_bulk_tensor_store:
  case Form::cp_reduce_async_bulk_tensor: {
    if (i.has(Mod::im2col) || i.has(Mod::im2col_w) || i.has(Mod::tile_gather4) || i.has(Mod::tile_scatter4))
      return false;
    const Operand *shared = to_global ? a : d, *map = to_global ? d : a;
    address_words(shared, words);
    address_words(map, words);
    address_words(m, words);
    words.push_back(i.has(Mod::multicast_cluster) ? operand_word(f_.operand(i, 'c')) : no_operand);
    std::vector<const Operand*> coordinates;
    flatten(f_, *map, coordinates);
    for (const Operand* c : coordinates) words.push_back(operand_word(c));
    if (reduction) p_->ordered_blocks = true; // the map says whether these are floats
    return emit_async(
        h.tensor, words,
        {.b = static_cast<uint32_t>(coordinates.size()), .imm = (to_global ? bulk_to_global : 0u) | reduction << 8});
  }
  case Form::st_async:
  case Form::red_async: {
    address_words(a, words);
    address_words(m, words);
    std::vector<const Operand*> elements;
    flatten(f_, *b, elements);
    for (const Operand* e : elements) words.push_back(operand_word(e));
    return emit_async(h.store_async, words,
                      {.b = static_cast<uint32_t>(i.type()),
                       .imm = static_cast<uint32_t>(elements.size()) | bytes_of(i.type()) << 8 | reduction << 16});
  }
  case Form::tensormap_replace:
    address_words(a, words);
    words.push_back(operand_word(f_.operand(i, 'c')));
    words.push_back(operand_word(b));
    return emit_async(
        h.map_replace, words,
        {.b = i.space() == Space::shared,
         .imm = static_cast<uint32_t>(i.any_of(
             {Mod::global_address, Mod::rank, Mod::box_dim, Mod::global_dim, Mod::global_stride, Mod::element_stride,
              Mod::elemtype, Mod::interleave_layout, Mod::swizzle_mode, Mod::swizzle_atomicity, Mod::fill_mode}))});
  case Form::tensormap_cp_fenceproxy:
    address_words(d, words);
    address_words(a, words);
    return emit_async(h.map_copy, words);
  default: return false;
  }
}

bool Lowering::warpgroup_product(const Instruction& i) {
  const ProductHandlers& h = product_handlers();
  if (i.form == Form::wgmma_commit_group) return emit_async(h.commit, {});
  if (i.form == Form::wgmma_wait_group)
    return emit_async(h.wait, {}, {.imm = static_cast<uint32_t>(f_.operands(i)[0].value)});
  const Operand &d = *f_.operand(i, 'x'), &a = *f_.operand(i, 'a'), &b = *f_.operand(i, 'b'), &p = *f_.operand(i, 'p');
  auto number = [&](char role) { return f_.operand(i, role) ? f_.operand(i, role)->value : 0; };
  bool in_registers = a.is(Kind::vector);
  bool transpose_a = i.form == Form::wgmma_half && number('f'),
       transpose_b = i.form == Form::wgmma_half ? number('m') : i.form == Form::wgmma_half_reg && number('f');
  bool is_integer = i.form == Form::wgmma_int8 || i.form == Form::wgmma_int8_reg;
  if (i.shape.n == 0 || i.shape.n > 256 || i.shape.n % 8 != 0) return false;
  Guard scale = predicate(p);
  auto rows = f_.elements(d);
  ProductWords words{.n = i.shape.n,
                     .types = static_cast<uint32_t>(i.type(1)) | static_cast<uint32_t>(i.type(2)) << 8,
                     .flags = (in_registers ? product_register_a : 0u) | (transpose_a ? product_transpose_a : 0u) |
                              (transpose_b ? product_transpose_b : 0u) |
                              (!is_integer && number('c') * number('e') < 0 ? product_negate : 0u),
                     .result = static_cast<uint32_t>(result_of(i)),
                     .scale = scale.offset,
                     .scale_turned = scale.turned,
                     .a = in_registers ? no_operand : operand_word(&a),
                     .b = operand_word(&b)};
  std::vector<uint32_t> all(sizeof words / 4);
  std::memcpy(all.data(), &words, sizeof words);
  for (uint32_t r = 0; r < 4; ++r) all.push_back(in_registers ? operand_word(&f_.elements(a)[r]) : 0);
  for (const Operand& e : rows) {
    if (!e.is(Kind::reg) || is_scalar(e.index)) return false;
    all.push_back(place(e.index));
  }
  if (auto it = products_.find(static_cast<uint32_t>(&i - f_.body.data())); it != products_.end())
    p_->products[it->second] = static_cast<uint32_t>(p_->code.size());
  return emit_async(h.issue, all);
}

} // namespace tilejit::runtime::simulator
