// undefined.cpp - see undefined.h.
#include "runtime/simulator/undefined.h"

#include "runtime/simulator/forms.h"

#include <algorithm>

namespace tilejit::runtime::simulator {
namespace {

using Kind = Operand::Kind;
using Result = UndefinedResult;

Result result_of(const Instruction& i) {
  switch (class_of(i)) {
  case InstructionClass::integer:
  case InstructionClass::floating:
  case InstructionClass::half:
  case InstructionClass::double_:
  case InstructionClass::special:
  case InstructionClass::conversion:
  case InstructionClass::compare:
  case InstructionClass::move: break;
  default: return Result::defined;
  }
  switch (i.form) {
  case Form::selp: return Result::select;
  case Form::and_:
  case Form::or_:
  case Form::lop3:
  case Form::lop3_bool:
  case Form::prmt:
  case Form::bfi:
  case Form::shf: return Result::all;
  case Form::setp: return i.any_of({Mod::and_, Mod::or_, Mod::xor_}) == Mod::unknown ? Result::any : Result::all;
  case Form::mov: return Result::all; // one source, or the parts of a wider value
  default: return Result::any;
  }
}

class Finder {
public:
  Finder(const Function& f, const Cfg& cfg, const Liveness& liveness) : f_(f), cfg_(cfg), tracked_(f.registers.size()) {
    for (uint32_t r : liveness.maybe_undefined)
      if (std::none_of(f.parameters.begin(), f.parameters.end(), [&](const Parameter& p) { return p.reg == r; }))
        found_.at_begin.push_back(r);
    for (uint32_t r : found_.at_begin) tracked_[r] = true;
  }
  UndefinedRegisters run() {
    // Where the first block is a loop's head, its begin is not that of the function.
    if (found_.at_begin.empty() || !cfg_.blocks[0].predecessors.empty()) return {};
    for (bool changed = true; changed;) {
      changed = false;
      for (const Instruction& i : f_.body) {
        UndefinedStep step = step_of(i);
        if (step.result == Result::defined) continue;
        if (std::none_of(step.sources.begin(), step.sources.end(), [&](uint32_t r) { return is_tracked(r); })) continue;
        for (uint32_t r : step.destinations)
          if (!tracked_[r]) tracked_[r] = true, changed = true;
      }
    }
    for (uint32_t r = 0; r < tracked_.size(); ++r)
      if (tracked_[r]) found_.tracked.push_back(r);
    for (uint32_t n = 0; n < f_.body.size(); ++n) {
      if (cfg_.block_of[n] == none) continue;
      UndefinedStep step = step_of(f_.body[n]);
      step.instruction = n;
      auto keep = [&](std::vector<uint32_t>& registers) {
        std::erase_if(registers, [&](uint32_t r) { return !is_tracked(r); });
        return !registers.empty();
      };
      const bool writes = keep(step.destinations);
      if (!is_tracked(step.guard)) step.guard = none;
      const bool looks = keep(step.matters) | keep(step.matters_if) | (step.guard != none);
      for (uint32_t& r : step.sources)
        if (!is_tracked(r)) r = none;
      if (writes || looks) found_.steps.push_back(std::move(step));
    }
    return std::move(found_);
  }

private:
  bool is_tracked(uint32_t r) const { return r != none && tracked_[r]; }

  template <class F>
  void each_register(const Operand& o, F f) const {
    if (o.is(Kind::vector) || o.is(Kind::pair) || o.is(Kind::list)) {
      for (const Operand& e : f_.elements(o)) each_register(e, f);
    } else if (!o.is(Kind::address))
      f(o);
  }
  void add(const Operand* o, std::vector<uint32_t>& to) const {
    if (o)
      each_register(*o, [&](const Operand& e) {
        if (e.is(Kind::reg)) to.push_back(e.index);
      });
  }
  void add_addresses(const Operand& o, std::vector<uint32_t>& to) const {
    if (!o.is(Kind::address)) return;
    if (o.base == Kind::reg) to.push_back(o.index);
    for (const Operand& e : f_.elements(o)) add(&e, to);
  }

  UndefinedStep step_of(const Instruction& i) const {
    UndefinedStep step;
    step.result = result_of(i);
    const InstructionClass c = class_of(i);
    for (const Operand& o : f_.operands(i))
      each_register(o, [&](const Operand& e) {
        if (e.use != Operand::Use::read && e.is(Kind::reg)) step.destinations.push_back(e.index);
        if (e.use == Operand::Use::read && !e.is(Kind::sink)) step.sources.push_back(e.is(Kind::reg) ? e.index : none);
      });
    if (step.result == Result::select) { // the predicate comes last
      if (step.sources.size() != 3) step.result = Result::all;
      step.sources.resize(std::min<size_t>(step.sources.size(), 2));
    }
    if (step.result == Result::all) // a number is no part that was given a value
      std::erase(step.sources, none);
    if (step.sources.empty()) step.result = Result::defined;
    const bool acts = c == InstructionClass::load || c == InstructionClass::store || c == InstructionClass::atomic ||
                      c == InstructionClass::async_copy || c == InstructionClass::branch;
    if (acts && i.guard != none) step.guard = i.guard;
    if (i.form == Form::brx) add(&f_.operands(i)[0], step.matters);
    if (i.form == Form::call) return step;
    for (const Operand& o : f_.operands(i)) add_addresses(o, step.matters);
    const bool is_private = i.space() == Space::local || i.space() == Space::param;
    if ((c == InstructionClass::store && !is_private) || c == InstructionClass::atomic)
      for (char role : {'b', 'c'}) add(f_.operand(i, role), step.matters);
    if (c == InstructionClass::matrix)
      for (char role : {'a', 'b', 'c'}) add(f_.operand(i, role), step.matters);
    if (i.text.starts_with("wgmma.mma_async")) add(f_.operand(i, 'x'), step.matters_if);
    return step;
  }

  const Function& f_;
  const Cfg& cfg_;
  std::vector<bool> tracked_;
  UndefinedRegisters found_;
};

} // namespace

UndefinedRegisters find_undefined(const Function& f, const Cfg& cfg, const Liveness& liveness) {
  return Finder(f, cfg, liveness).run();
}

} // namespace tilejit::runtime::simulator
