// lower_observe.cpp - lowering with instruments: instructions that observe others (observe.h), and what is known of
// every instruction without running it (counters.h).
#include "runtime/simulator/lowering.h"
#include "runtime/simulator/memory_flags.h"
#include "runtime/simulator/observe.h"
#include "runtime/simulator/tensormap.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace tilejit::runtime::simulator {

/// The smallest accesses that may go to shared and to global memory.
void Lowering::choose_granules() {
  uint32_t shared = 1u << p_->shared_granule, global = 1u << p_->global_granule;
  for (const Instruction& i : f_.body) {
    bool accesses = i.form == Form::ld || i.form == Form::ld_nc || i.form == Form::st || i.form == Form::atom ||
                    i.form == Form::atom_cas || i.form == Form::red || i.form == Form::wmma_load ||
                    i.form == Form::wmma_store;
    if (!accesses || i.type() == Type::none) continue;
    if (i.space() == Space::shared || i.space() == Space::generic) shared = std::min(shared, bytes_of(i.type()));
    if (i.space() == Space::global || i.space() == Space::generic) global = std::min(global, bytes_of(i.type()));
  }
  auto log2 = [](uint32_t bytes) {
    return static_cast<uint32_t>(std::countr_zero(std::bit_floor(std::max(bytes, 1u))));
  };
  p_->shared_granule = log2(shared);
  p_->global_granule = log2(global);
}

/// Which pointers of the launch stores may go through: for each register, the parameters that its value may be computed
/// from. Bit 63: memory, other functions, or more than 63 parameters.
void Lowering::find_stored_parameters() {
  if (!p_->instruments.sanitize) return;
  constexpr uint64_t anywhere = uint64_t{1} << 63;
  std::vector<uint64_t> from(f_.registers.size());
  std::vector<uint32_t> slots; // by bit: offset in the parameter block
  auto slot = [&](uint64_t offset) -> uint64_t {
    auto it = std::find(slots.begin(), slots.end(), static_cast<uint32_t>(offset));
    auto index = static_cast<size_t>(it - slots.begin());
    if (index >= 63) return anywhere;
    if (it == slots.end()) slots.push_back(static_cast<uint32_t>(offset));
    return uint64_t{1} << index;
  };
  // A tensor map that is a parameter begins with the address of its tensor (tensormap.h).
  auto is_map = [&](const Operand& o) {
    const Variable& v = m_.variables[o.index];
    return v.space == Space::param && f_.is_entry && v.bytes == tensormap_bytes && v.align >= 64 && o.value == 0;
  };
  auto leaves = [&](const Operand& o, auto&& visit, auto&& self) -> void {
    if (o.is(Operand::Kind::vector) || o.is(Operand::Kind::pair) || o.is(Operand::Kind::list))
      for (const Operand& e : f_.elements(o)) self(e, visit, self);
    else
      visit(o);
  };
  for (bool changed = true; changed;) {
    changed = false;
    for (const Instruction& i : f_.body) {
      uint64_t sources = 0;
      bool loads = i.form == Form::ld || i.form == Form::ld_nc || i.form == Form::atom || i.form == Form::atom_cas;
      for (const Operand& operand : f_.operands(i)) {
        if (loads && operand.is(Operand::Kind::address)) {
          bool parameter = i.space() == Space::param && operand.base == Operand::Kind::variable && f_.is_entry;
          if (parameter)
            for (uint32_t k = 0; k < i.vector_length(); ++k)
              sources |= slot(m_.variables[operand.index].offset + static_cast<uint64_t>(operand.value) +
                              uint64_t{k} * bytes_of(i.type()));
          else if (bits_of(i.type()) >= 64)
            sources |= anywhere;
          continue;
        }
        leaves(
            operand,
            [&](const Operand& o) {
              if (o.is(Operand::Kind::reg) && o.use != Operand::Use::write && !loads) sources |= from[o.index];
              if (o.is(Operand::Kind::variable) && m_.variables[o.index].space != Space::shared &&
                  m_.variables[o.index].space != Space::local)
                sources |= is_map(o) ? slot(m_.variables[o.index].offset) : anywhere;
            },
            leaves);
      }
      if (i.form == Form::call) sources = anywhere;
      for (const Operand& operand : f_.operands(i))
        leaves(
            operand,
            [&](const Operand& o) {
              if (!o.is(Operand::Kind::reg) || o.use == Operand::Use::read ||
                  (from[o.index] | sources) == from[o.index])
                return;
              from[o.index] |= sources;
              changed = true;
            },
            leaves);
    }
  }
  uint64_t stored = f_.is_entry ? 0 : anywhere, maps = 0;
  for (const Variable& v : m_.variables)
    for (size_t bit = 0; bit < slots.size(); ++bit)
      if (v.function == function_ && v.space == Space::param && v.bytes == tensormap_bytes && v.offset == slots[bit])
        maps |= uint64_t{1} << bit;
  for (const Instruction& i : f_.body) {
    bool copies = class_of(i) == InstructionClass::async_copy && f_.operand(i, 'd');
    bool makes_map = i.form == Form::tensormap_replace || i.form == Form::tensormap_cp_fenceproxy;
    bool stores = i.form == Form::st || i.form == Form::wmma_store || i.form == Form::red || i.form == Form::atom ||
                  i.form == Form::atom_cas || i.form == Form::call || copies || makes_map;
    if (!stores || i.space() == Space::shared || i.space() == Space::local || i.space() == Space::param) continue;
    const Operand* a = f_.operand(i, copies || i.form == Form::tensormap_cp_fenceproxy ? 'd' : 'a');
    uint64_t through = anywhere;
    if (a && a->is(Operand::Kind::address) && i.form != Form::call) {
      if (a->base == Operand::Kind::reg) through = from[a->index];
      if (a->base == Operand::Kind::variable && is_map(*a)) through = slot(m_.variables[a->index].offset);
    }
    if (!makes_map && i.text.find("tensor") != std::string_view::npos && through & ~maps)
      through = anywhere; // a pointer to a map
    stored |= through;
  }
  if (stored & anywhere) p_->stores_anywhere = true;
  for (size_t bit = 0; bit < slots.size(); ++bit)
    if (stored >> bit & 1) p_->stored_parameters.push_back(slots[bit]);
}

namespace {
/// Whether the scope of a strong access or a fence has all blocks of the GPU in it; that is so where none is named.
bool reaches_all(const Instruction& i) { return !i.has(Mod::cta) && !i.has(Mod::cluster); }

/// The lanes that an operation brings together; null: it doesn't name them, or writes its result over them.
const Operand* members_of(const Function& f, const Instruction& i) {
  const Operand* members = nullptr;
  switch (i.form) {
  case Form::shfl_sync: members = f.operand(i, 'e'); break;
  case Form::vote_sync:
  case Form::vote_sync_ballot:
  case Form::elect:
  case Form::bar_warp_sync: members = f.operand(i, 'a'); break;
  case Form::match_any:
  case Form::match_all:
  case Form::redux: members = f.operand(i, 'b'); break;
  default: return nullptr;
  }
  RegisterUse use;
  register_use(f, i, use);
  const bool is_lost = members->is(Operand::Kind::reg) &&
                       std::find(use.writes.begin(), use.writes.end(), members->index) != use.writes.end();
  return is_lost ? nullptr : members;
}
} // namespace

/// Padding is loaded with its vector: nobody minds that it was never written.
uint32_t Lowering::dropped_elements(const Instruction& i) {
  const Operand* d = f_.operand(i, 'd');
  if (!d || !d->is(Operand::Kind::vector)) return 0;
  if (is_read_.empty()) {
    is_read_.resize(f_.registers.size());
    RegisterUse use;
    for (const Instruction& other : f_.body) {
      register_use(f_, other, use);
      for (uint32_t r : use.reads) is_read_[r] = true;
    }
  }
  uint32_t dropped = 0, n = 0;
  for (const Operand& e : f_.elements(*d)) {
    if (!e.is(Operand::Kind::reg) || !is_read_[e.index]) dropped |= 1u << n;
    ++n;
  }
  return dropped;
}

void Lowering::observe_access(const Instruction& i, Observed::Kind kind, const Address& at, Space space, uint32_t bytes,
                              uint32_t elements, uint32_t rows, bool unseen, Moving moving) {
  if (!p_->instruments.sanitize && !p_->instruments.counters) return;
  if (space == Space::param || space == Space::constant) return;
  Observed o{.kind = kind, .space = space, .bytes = bytes, .elements = elements, .rows = rows};
  if (p_->instruments.sanitize && kind == Observed::Kind::read) o.dropped = dropped_elements(i);
  bool atomic = kind == Observed::Kind::atomic;
  o.strong =
      atomic || i.any_of({Mod::volatile_, Mod::relaxed, Mod::acquire, Mod::release, Mod::acq_rel}) != Mod::unknown;
  o.release = i.has(Mod::release) || i.has(Mod::acq_rel);
  o.wide = reaches_all(i);
  o.unseen = unseen;
  o.counter = counter_;
  o.bypasses = o.strong || i.any_of({Mod::cg, Mod::cs, Mod::cv}) != Mod::unknown;
  const bool is_usual = !p_->instruments.counters && !o.strong && kind != Observed::Kind::copy && rows == 32 &&
                        (space == Space::shared || space == Space::global);
  const Fn fn = is_usual ? observing_loops().usual_access(space, bytes, o.writes()) : observing_handlers().access;
  const bool moves = moving && fn != observing_handlers().access;
  o.insn = static_cast<uint32_t>(p_->code.size() + (moves ? 2 : 1));
  auto index = static_cast<uint32_t>(p_->observed.size());
  p_->observed.push_back(o);
  emit(fn, {.d = at.flags | (moves ? moves_itself : 0),
            .a = at.offset,
            .b = index,
            .c = guard_.offset,
            .imm = at.imm,
            .aux = guard_.turned});
  if (!moves) return;
  Insn slot;
  std::memcpy(&slot.d, &moving, sizeof moving);
  emit(nullptr, slot);
}

void Lowering::observe_fragment(const Instruction& i) {
  if (!p_->instruments.sanitize && !p_->instruments.counters) return;
  emit(observing_handlers().fragment,
       {.b = static_cast<uint32_t>(p_->observed.size()), .c = guard_.offset, .aux = guard_.turned});
  p_->observed.push_back({.kind = i.form == Form::wmma_load ? Observed::Kind::read : Observed::Kind::fragment_write,
                          .space = i.space(),
                          .bytes = std::max(1u, bits_of(i.type()) / 8),
                          .insn = static_cast<uint32_t>(p_->code.size()),
                          .counter = counter_});
}

void Lowering::find_watched_registers() {
  if (!p_->instruments.sanitize) return;
  product_hazards_ = find_product_hazards(f_, cfg_);
  for (uint32_t i = 0; i < f_.body.size(); ++i)
    if (is_product(f_.body[i])) {
      products_[i] = static_cast<uint32_t>(p_->products.size());
      p_->products.push_back(none);
    }
  for (const ProductHazards::Unfenced& u : product_hazards_.unfenced)
    if (watched_.try_emplace(u.reg, p_->watched_registers).second) ++p_->watched_registers;
}

/// In front of an instruction: the wgmma registers that it touches, where that may be wrong.
void Lowering::observe_registers(uint32_t instruction) {
  if (products_.empty()) return;
  const Instruction& i = f_.body[instruction];
  RegisterEvent event{.observed = static_cast<uint32_t>(p_->observed.size()),
                      .fences = i.form == Form::wgmma_fence && !watched_.empty()};
  for (const ProductHazards::Pending& p : product_hazards_.pending)
    if (p.instruction == instruction) event.pending.push_back(products_[p.product]);
  for (const ProductHazards::Unfenced& u : product_hazards_.unfenced)
    if (u.product == instruction) {
      if (u.by == none)
        event.unfenced.push_back(watched_[u.reg]);
      else
        event.mixed.emplace_back(watched_[u.reg], products_[u.by]);
    }
  if (auto it = products_.find(instruction); it != products_.end() && !watched_.empty()) {
    event.product = it->second;
    RegisterUse use;
    register_use(f_, i, use);
    for (const auto* registers : {&use.reads, &use.writes})
      for (uint32_t r : *registers)
        if (auto watched = watched_.find(r); watched != watched_.end()) event.uses.push_back(watched->second);
  }
  if (!watched_.empty())
    for (uint32_t r : touched_registers(f_, i))
      if (auto it = watched_.find(r); it != watched_.end()) event.touches.push_back(it->second);
  if (event.fences || !event.pending.empty() || !event.unfenced.empty() || !event.touches.empty() ||
      !event.uses.empty()) {
    p_->observed.push_back({.kind = Observed::Kind::async, .insn = static_cast<uint32_t>(p_->code.size())});
    emit(observing_handlers().registers,
         {.c = guard_.offset, .imm = static_cast<uint32_t>(p_->register_events.size()), .aux = guard_.turned});
    p_->register_events.push_back(std::move(event));
  }
}

void Lowering::emit_undefined(UndefinedEvent event, const Guard& guard) {
  event.observed = static_cast<uint32_t>(p_->observed.size());
  p_->observed.push_back({.kind = Observed::Kind::async, .insn = static_cast<uint32_t>(p_->code.size())});
  emit(observing_handlers().undefined,
       {.c = guard.offset, .imm = static_cast<uint32_t>(p_->undefined_events.size()), .aux = guard.turned});
  p_->undefined_events.push_back(std::move(event));
}
void Lowering::begin_undefined() {
  if (undefined_.tracked.empty()) return;
  UndefinedEvent event{.begins = true};
  for (uint32_t r : undefined_.tracked) event.destinations.push_back(undefined_masks_[r] = tail(4, 4));
  for (uint32_t r : undefined_.at_begin) event.sources.push_back(undefined_masks_[r]);
  emit_undefined(std::move(event), {});
}
/// In front of an instruction: registers without a value that it uses, and what it makes of them.
void Lowering::observe_undefined(uint32_t instruction) {
  auto it = std::lower_bound(undefined_.steps.begin(), undefined_.steps.end(), instruction,
                             [](const UndefinedStep& s, uint32_t i) { return s.instruction < i; });
  if (it == undefined_.steps.end() || it->instruction != instruction) return;
  UndefinedEvent event{.result = it->result};
  for (uint32_t r : it->sources) event.sources.push_back(r == none ? none : undefined_masks_[r]);
  for (uint32_t r : it->destinations) event.destinations.push_back(undefined_masks_[r]);
  for (uint32_t r : it->matters) event.matters.emplace_back(undefined_masks_[r], f_.registers[r].name);
  for (uint32_t r : it->matters_if) event.matters_if.emplace_back(undefined_masks_[r], f_.registers[r].name);
  if (it->guard != none) event.guard = {undefined_masks_[it->guard], f_.registers[it->guard].name};
  if (it->result == UndefinedResult::select || !it->matters_if.empty()) {
    const Guard p = predicate(*f_.operand(f_.body[instruction], 'p'));
    event.predicate = p.offset;
    event.turned = p.turned;
  }
  emit_undefined(std::move(event), guard_);
}

void Lowering::observe_lanes(const Instruction& i, Observed::Kind kind) {
  if (!p_->instruments.sanitize) return;
  auto index = static_cast<uint32_t>(p_->observed.size());
  p_->observed.push_back({.kind = kind, .wide = reaches_all(i), .insn = static_cast<uint32_t>(p_->code.size())});
  Source members{constant(~0u), true};
  if (kind == Observed::Kind::lanes)
    if (const Operand* named = members_of(f_, i)) members = source(*named);
  emit(observing_handlers().lanes,
       {.a = members.offset, .b = index, .c = guard_.offset, .imm = !members.scalar, .aux = guard_.turned});
}

void Lowering::observe_branch() {
  if (!p_->instruments.counters) return;
  emit(observing_handlers().branch, {.a = guard_.offset, .b = counter_, .imm = guard_.turned});
}

void Lowering::observe_block(uint32_t block) {
  if (p_->instruments.counters) emit(observing_handlers().block, {.imm = block});
}

void Lowering::observe_async(Fn target) {
  if (p_->instruments.counters && observes(target)) emit(observing_handlers().async, {.imm = counter_});
}
void Lowering::observe_barrier() {
  if (p_->instruments.estimate) emit(observing_handlers().barrier);
}

namespace {

/// How often a thread uses the special-function unit, as ptxas expands the instruction: also where that only gives a
/// first approximation, or halves are done one by one.
uint32_t special_operations(const Instruction& i) {
  switch (i.form) {
  case Form::div_float:
  case Form::rcp:
  case Form::sqrt: return 1;
  default: break;
  }
  if (class_of(i) != InstructionClass::special) return 0;
  return i.type() == Type::f16x2 || i.type() == Type::bf16x2 ? 2 : 1;
}

} // namespace

void Lowering::count_statically(const Instruction& i, uint32_t block) {
  if (!p_->instruments.counters) return;
  counter_ = static_cast<uint32_t>(p_->counters.size());
  StaticCounters c{.line = i.line, .location = i.location, .block = block, .function = function_};
  c.instruction = static_cast<uint32_t>(&i - f_.body.data());
  if (all_forms()[i.row].unit == Unit::tensor && i.shape.m && i.shape.n && i.shape.k) {
    c.operations = uint64_t{2} * i.shape.m * i.shape.n * i.shape.k;
    if (i.text.starts_with("wgmma")) c.operations /= 4; // of each warp of the warpgroup
  }
  c.special = special_operations(i);
  c.guarded = guarded_;
  p_->counters.push_back(c);
  if (p_->instruments.estimate) emit(observing_handlers().mark, {.imm = counter_});
  if (guarded_) emit(count_guarded, {.c = guard_.offset, .imm = counter_, .aux = guard_.turned});
}

} // namespace tilejit::runtime::simulator
