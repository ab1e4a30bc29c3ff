// lower_observe.cpp - lowering with instruments: instructions that observe others (observe.h), and what is known of
// every instruction without running it (counters.h).
#include "runtime/simulator/lowering.h"
#include "runtime/simulator/observe.h"

#include <algorithm>
#include <bit>

namespace tilejit::runtime::simulator {

/// The smallest access that may go to shared memory.
void Lowering::choose_granule() {
  uint32_t least = 1u << p_->shared_granule;
  for (const Instruction& i : f_.body) {
    bool accesses = i.form == Form::ld || i.form == Form::st || i.form == Form::atom || i.form == Form::atom_cas ||
                    i.form == Form::red;
    if (accesses && (i.space() == Space::shared || i.space() == Space::generic) && i.type() != Type::none)
      least = std::min(least, bytes_of(i.type()));
  }
  p_->shared_granule = static_cast<uint32_t>(std::countr_zero(std::bit_floor(std::max(least, 1u))));
}

void Lowering::observe_access(const Instruction& i, Observed::Kind kind, const Address& at, Space space, uint32_t bytes,
                              uint32_t elements, uint32_t rows) {
  if (!p_->instruments.sanitize && !p_->instruments.counters) return;
  if (space == Space::param || space == Space::constant) return;
  Observed o{.kind = kind, .space = space, .bytes = bytes, .elements = elements, .rows = rows};
  bool atomic = kind == Observed::Kind::atomic;
  o.strong =
      atomic || i.any_of({Mod::volatile_, Mod::relaxed, Mod::acquire, Mod::release, Mod::acq_rel}) != Mod::unknown;
  o.acquire = i.has(Mod::acquire) || i.has(Mod::acq_rel);
  o.release = i.has(Mod::release) || i.has(Mod::acq_rel);
  o.insn = static_cast<uint32_t>(p_->code.size() + 1);
  auto index = static_cast<uint32_t>(p_->observed.size());
  p_->observed.push_back(o);
  if (!p_->counters.empty()) p_->counters.back().observed = index;
  emit(observing_handlers().access,
       {.d = at.flags, .a = at.offset, .b = index, .c = guard_.offset, .imm = at.imm, .aux = guard_.turned});
}

void Lowering::observe_lanes(Observed::Kind kind) {
  if (!p_->instruments.sanitize) return;
  auto index = static_cast<uint32_t>(p_->observed.size());
  p_->observed.push_back({.kind = kind, .insn = static_cast<uint32_t>(p_->code.size())});
  emit(observing_handlers().lanes, {.b = index, .c = guard_.offset, .aux = guard_.turned});
}

void Lowering::observe_branch() {
  if (!p_->instruments.counters) return;
  auto index = static_cast<uint32_t>(p_->observed.size());
  p_->observed.push_back({.kind = Observed::Kind::branch, .insn = static_cast<uint32_t>(p_->code.size() + 1)});
  p_->counters.back().observed = index;
  emit(observing_handlers().branch, {.a = guard_.offset, .b = index, .imm = guard_.turned});
}

void Lowering::observe_block(uint32_t block) {
  if (p_->instruments.counters) emit(observing_handlers().block, {.imm = block});
}

void Lowering::count_statically(const Instruction& i, uint32_t block) {
  if (!p_->instruments.counters) return;
  StaticCounters c{.line = i.line, .location = i.location, .block = block, .function = function_};
  c.instruction = static_cast<uint32_t>(&i - f_.body.data());
  if (class_of(i) == InstructionClass::matrix && i.shape.m && i.shape.n && i.shape.k) {
    c.operations = uint64_t{2} * i.shape.m * i.shape.n * i.shape.k;
    if (i.text.starts_with("wgmma")) c.operations /= 4; // of each warp of the warpgroup
  }
  p_->counters.push_back(c);
}

} // namespace tilejit::runtime::simulator
