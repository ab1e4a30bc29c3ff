// lower_calls.cpp - lowering of calls and of what lies in a thread's frame (calls.h); the entry with its functions.
#include "runtime/simulator/calls.h"
#include "runtime/simulator/lower.h"
#include "runtime/simulator/lowering.h"
#include "runtime/simulator/records.h"

#include "runtime/device.h"

#include <algorithm>
#include <set>

namespace tilejit::runtime::simulator {
namespace {

using Kind = Operand::Kind;

uint32_t rounded(uint64_t bytes, uint32_t align) { return static_cast<uint32_t>((bytes + align - 1) / align * align); }

/// Where a variable lies in its function's frame: .local ones first, then those in .param.
uint32_t place_in_frame(const Function& f, const Variable& v) {
  return static_cast<uint32_t>(v.offset + (v.space == Space::param ? rounded(f.local_bytes, 16) : 0));
}

bool uses_frames(const Function& f) {
  return std::any_of(f.body.begin(), f.body.end(), [](const Instruction& i) {
    return i.form == Form::call || i.form == Form::alloca || i.form == Form::stacksave || i.form == Form::stackrestore;
  });
}
uint32_t frame_bytes(const Function& f) {
  bool params = !f.is_entry || uses_frames(f);
  return rounded(params ? rounded(f.local_bytes, 16) + f.param_bytes : f.local_bytes, 16);
}

/// The greatest need of stack below a function; nothing where it has no bound: recursion, a call of a pointer, alloca.
class StackNeed {
public:
  StackNeed(const Module& m, uint32_t align) : m_(m), align_(align), state_(m.functions.size()), need_(state_.size()) {}
  std::optional<uint64_t> of(uint32_t function) {
    if (state_[function] == State::open) return std::nullopt;
    if (state_[function] == State::known) return need_[function];
    state_[function] = State::open;
    const Function& f = m_.functions[function];
    uint64_t below = 0;
    for (const Instruction& i : f.body) {
      if (i.form == Form::alloca) return std::nullopt;
      if (i.form != Form::call) continue;
      const Operand* callee = f.operand(i, 'f');
      if (!callee || !callee->is(Kind::function)) return std::nullopt;
      auto need = of(callee->index);
      if (!need) return std::nullopt;
      below = std::max(below, *need);
    }
    state_[function] = State::known;
    return need_[function] = rounded(frame_bytes(f), align_) + below;
  }

private:
  enum class State : uint8_t { unknown, open, known };
  const Module& m_;
  uint32_t align_;
  std::vector<State> state_;
  std::vector<uint64_t> need_;
};

std::vector<FramePart> parts_of(const Module& m, const Function& f, const std::vector<Parameter>& parameters) {
  std::vector<FramePart> parts;
  for (const Parameter& p : parameters) {
    if (p.variable == none) continue;
    const Variable& v = m.variables[p.variable];
    parts.push_back({place_in_frame(f, v), static_cast<uint32_t>(v.bytes)});
  }
  return parts;
}

} // namespace

bool Lowering::in_frame(uint32_t variable) const {
  const Variable& v = m_.variables[variable];
  if (v.space == Space::local) return true;
  if (v.space != Space::param) return false;
  // An entry's own parameters lie in the launch's parameter block.
  return !f_.is_entry || std::none_of(f_.parameters.begin(), f_.parameters.end(),
                                      [&](const Parameter& p) { return p.variable == variable; });
}
uint32_t Lowering::frame_offset(uint32_t variable) const { return place_in_frame(f_, m_.variables[variable]); }

bool Lowering::call(const Instruction& i) {
  const Operand *results = f_.operand(i, 'd'), *arguments = f_.operand(i, 'a'), &callee = *f_.operand(i, 'f');
  CallSite site;
  for (auto [list, parts] : {std::pair(results, &site.results), std::pair(arguments, &site.arguments)}) {
    if (!list) continue;
    for (const Operand& o : f_.elements(*list)) {
      // Registers as arguments are of the ABI before PTX 2.0.
      if (!o.is(Kind::variable) || m_.variables[o.index].space != Space::param || o.value != 0) return false;
      parts->push_back({frame_offset(o.index), static_cast<uint32_t>(m_.variables[o.index].bytes)});
    }
  }
  Insn fields{.d = none, .c = guard_.offset, .aux = guard_.turned};
  fields.imm = static_cast<uint32_t>(p_->call_sites.size());
  if (callee.is(Kind::function)) {
    const Callee& target = p_->callees[callee.index];
    if (target.builtin && site.arguments.size() > 8) return false;
    fields.d = callee.index;
  } else if (callee.is(Kind::reg)) {
    fields.a = place(callee.index);
    fields.b = is_scalar(callee.index) ? 0 : 1;
  } else
    return false;
  set_mode(p_->default_mode);
  call_blocks_.emplace_back(fields.imm, static_cast<uint32_t>(&i - f_.body.data()) + 1);
  p_->call_sites.push_back(std::move(site));
  emit(call_handlers().call, fields);
  return true;
}

bool Lowering::stack(const Instruction& i) {
  auto operands = f_.operands(i);
  const CallHandlers& h = call_handlers();
  bool wide = bits_of(i.type()) == 64;
  Insn fields{.b = wide, .c = guard_.offset, .aux = guard_.turned};
  if (i.form == Form::stackrestore)
    fields.a = row(operands[0], wide);
  else
    fields.d = destination(operands[0]);
  if (i.form == Form::alloca) {
    const Operand* align = f_.operand(i, 'b');
    int64_t bytes = align ? align->value : 8;
    if (bytes <= 0 || bytes > 4096 || (bytes & (bytes - 1))) return false;
    fields.a = row(*f_.operand(i, 'a'), wide);
    fields.imm = static_cast<uint32_t>(std::max<int64_t>(bytes, 8));
  }
  emit(i.form == Form::alloca ? h.alloca_ : i.form == Form::stacksave ? h.stack_save : h.stack_restore, fields);
  return true;
}

std::shared_ptr<const Program> lower(std::shared_ptr<const Module> module, uint32_t entry,
                                     std::array<uint32_t, 3> block_shape, const std::vector<uint64_t>& addresses,
                                     const Instruments& instruments) {
  const Module& m = *module;
  require_known_forms(m, entry);
  auto p = std::make_shared<Program>();
  p->module = module;
  p->entry = entry;
  p->instruments = instruments;
  p->name = std::string(m.functions[entry].name);
  p->callees.resize(m.functions.size());
  std::vector<uint32_t> functions = reachable_functions(m, entry);
  std::string errors;
  std::set<uint32_t> missed; // variables
  auto complain = [&](const std::string& text) { errors += (errors.empty() ? "" : "\n") + text; };
  for (uint32_t k : functions) {
    const Function& f = m.functions[k];
    p->frame_align = std::max(p->frame_align, f.local_align);
    p->has_frames = p->has_frames || uses_frames(f);
    Callee& callee = p->callees[k];
    callee.parameters = parts_of(m, f, f.parameters);
    callee.results = parts_of(m, f, f.results);
    callee.frame_bytes = frame_bytes(f);
    bool old = callee.parameters.size() != f.parameters.size() || callee.results.size() != f.results.size();
    if (old)
      complain("line " + std::to_string(f.line) + ": the simulator cannot run '" + std::string(f.name) +
               "' yet: its parameters are registers");
    for (const Operand& o : f.pool) {
      if (!o.is(Operand::Kind::variable) && !(o.is(Operand::Kind::address) && o.base == Operand::Kind::variable))
        continue;
      const Variable& v = m.variables[o.index];
      const bool missing = v.linkage == Linkage::external && (v.space == Space::global || v.space == Space::constant);
      if (missing && missed.insert(o.index).second)
        complain("'" + std::string(f.name) + "' uses '" + std::string(v.name) +
                 "', which is declared .extern but not defined: link the module that defines it");
    }
    if (!f.is_prototype) continue;
    callee.builtin = find_builtin(f.name);
    p->needs_heap = p->needs_heap || f.name == "malloc" || f.name == "free";
    if (!callee.builtin)
      complain("line " + std::to_string(f.line) + ": '" + std::string(f.name) +
               "' is called but not defined, and no function that the simulator has itself");
  }
  // Which block gets which piece of the heap depends on who comes first.
  p->ordered_blocks = p->needs_heap;
  p->frame_bytes = p->callees[entry].frame_bytes;
  p->local_bytes = p->frame_bytes;
  if (p->has_frames) {
    auto need = StackNeed(m, p->frame_align).of(entry);
    p->local_bytes = need ? *need : p->frame_bytes + open_stack_bytes;
  }
  for (uint32_t k : functions)
    if (!m.functions[k].is_prototype) Lowering(module, k, block_shape, addresses, p).run(errors);
  if (instruments.sanitize && p->observed.size() >> place_bits)
    complain("line " + std::to_string(m.functions[entry].line) + ": '" + p->name + "' has " +
             std::to_string(p->observed.size()) + " accesses to memory, more than the sanitizers can tell apart (" +
             std::to_string(1u << place_bits) + "): run it without them, or smaller kernels");
  if (!errors.empty()) throw Error(errors);
  p->file_bytes = (p->file_bytes + 127) / 128 * 128;
  return p;
}

} // namespace tilejit::runtime::simulator
