// lower.cpp - see lower.h, lowering.h.
#include "runtime/simulator/lower.h"

#include "runtime/device.h"
#include "runtime/simulator/calls.h"
#include "runtime/simulator/lowering.h"
#include "runtime/simulator/memory_flags.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace tilejit::runtime::simulator {
namespace {

using Kind = Operand::Kind;

/// Forms that change nothing the simulator models: hints, fences (one memory, always coherent), counters.
bool is_nothing(Form form) {
  switch (form) {
  case Form::prefetch:
  case Form::prefetch_tensormap:
  case Form::applypriority:
  case Form::discard:
  case Form::membar:
  case Form::fence:
  case Form::fence_proxy:
  case Form::fence_mbarrier_init:
  case Form::fence_sync_restrict:
  case Form::fence_proxy_async_generic:
  case Form::fence_proxy_tensormap:
  case Form::cp_async_bulk_prefetch:
  case Form::cp_async_bulk_prefetch_tensor:
  case Form::nanosleep:
  case Form::brkpt: // there is no debugger
  case Form::pmevent:
  case Form::setmaxnreg:
  case Form::wgmma_fence:
  case Form::griddepcontrol: return true;
  default: return false;
  }
}

} // namespace

Lowering::Lowering(std::shared_ptr<const Module> module, uint32_t function, std::array<uint32_t, 3> shape,
                   const std::vector<uint64_t>& addresses, std::shared_ptr<Program> program)
    : addresses_(addresses), module_(std::move(module)), m_(*module_), function_(function), f_(m_.functions[function]),
      shape_(shape), h_(handlers()), c_(control_handlers()), shared_(layout_shared(m_, program->entry)),
      cfg_(build_cfg(m_, f_)), p_(std::move(program)) {}

void Lowering::run(std::string& errors) {
  uniformity_ = analyse_uniformity(m_, f_, cfg_, shape_, [&](const Instruction& i) {
    switch (i.form) {
    case Form::ld:
      return i.space() == Space::param && i.vector_length() <= 4 && bits_of(i.type()) <= 64 && i.guard == none;
    case Form::match_any:
    case Form::match_all:
    case Form::shfl_sync: return false;
    case Form::mov: {
      auto operands = f_.operands(i);
      return i.type() != Type::b128 && !operands[0].is(Kind::vector) && !operands[1].is(Kind::vector);
    }
    case Form::vote_sync_ballot:
    case Form::vote_ballot:
    case Form::activemask:
    case Form::redux:
    case Form::cvta:
    case Form::cvta_to: return true;
    case Form::setp:
    case Form::vote:
    case Form::vote_sync:
    case Form::isspacep: return true; // predicates are masks anyway
    case Form::cvt: {
      uint32_t to = bits_of(f_.registers[f_.operands(i)[0].index].type);
      if (f_.operands(i)[0].is(Kind::reg) && to == 64 && bits_of(i.type(0)) < 64) return false;
      break;
    }
    default: break;
    }
    Request r = request(i);
    r.scalar = true;
    r.kinds = 7;
    return select(r) != nullptr;
  });
  liveness_ = analyse_liveness(f_, cfg_);
  allocation_ = allocate_rows(f_, cfg_, liveness_, uniformity_);
  layout();
  choose_granules();
  find_stored_parameters();
  if (f_.is_entry) {
    p_->static_shared = shared_.static_bytes;
    p_->param_bytes = f_.param_bytes;
    choose_mode();
  }
  p_->callees[function_].code = static_cast<uint32_t>(p_->code.size());
  first_block_ = static_cast<uint32_t>(p_->block_instructions.size());
  size_t first_target = p_->targets.size();

  ends_thread_.assign(cfg_.blocks.size(), false);
  for (auto b = static_cast<uint32_t>(cfg_.blocks.size()); b-- > 0;) {
    const Block& block = cfg_.blocks[b];
    bool trivial = true;
    for (uint32_t i = block.begin; i < block.end; ++i) {
      const Instruction& x = f_.body[i];
      trivial = trivial && x.guard == none && (x.form == Form::ret || x.form == Form::exit || x.form == Form::bra);
    }
    for (uint32_t s : block.successors) trivial = trivial && (s == cfg_.exit() || (s > b && ends_thread_[s]));
    ends_thread_[b] = trivial;
  }
  for (uint32_t b = 0; b < cfg_.blocks.size(); ++b) block(b);
  block_begin_.push_back(p_->code.size());
  if (!f_.is_entry)
    emit(call_handlers().ret, {.imm = function_, .aux = ~0u});
  else if (cfg_.blocks.empty())
    emit(c_.exit, {.aux = ~0u});
  if (!errors_.empty()) errors += (errors.empty() ? "" : "\n") + errors_;
  for (const Fixup& fix : fixups_)
    p_->code[fix.insn].aux =
        static_cast<uint32_t>(static_cast<int64_t>(block_begin_[fix.block]) - static_cast<int64_t>(fix.insn));
  auto begin_at = [&](uint32_t instruction) {
    uint32_t block = instruction == f_.body.size() ? cfg_.exit() : cfg_.block_of[instruction];
    return block_begin_[block == none ? cfg_.exit() : block];
  };
  for (auto [site, next] : call_blocks_) p_->call_sites[site].next = static_cast<uint32_t>(begin_at(next));
  for (size_t n = first_target; n < p_->targets.size(); ++n) { // made pointers when all code is there
    auto& target = p_->targets[n];
    target = reinterpret_cast<const Insn*>(uintptr_t{block_begin_[reinterpret_cast<uintptr_t>(target)]});
  }
}

// --- the file --------------------------------------------------------------------------------------------------------

void Lowering::layout() {
  // Offset 0 is a predicate that is never set, and "none".
  uniforms_first_ = !f_.is_entry ? tail(0, 128) : p_->has_frames ? frame_rows_end : 64;
  predicates_first_ = uniforms_first_ + 8 * allocation_.uniforms;
  rows64_first_ = (predicates_first_ + 4 * (allocation_.predicates + temporary_predicates) + 127) / 128 * 128;
  rows32_first_ = rows64_first_ + 256 * allocation_.rows64;
  scratch_first_ = rows32_first_ + 128 * allocation_.rows32;
  p_->file_bytes = scratch_first_ + 256 * scratch_rows;
  for (uint32_t r : liveness_.maybe_undefined) {
    const Place& at = allocation_.place[r];
    if (at.file == Place::File::row32) p_->undefined_rows32.push_back(place(r));
    if (at.file == Place::File::row64) p_->undefined_rows64.push_back(place(r));
    if (at.file == Place::File::row128)
      p_->undefined_rows64.push_back(place(r)), p_->undefined_rows64.push_back(place(r, 1));
  }
}

uint32_t Lowering::place(uint32_t reg, uint32_t half) const {
  const Place& at = allocation_.place[reg];
  switch (at.file) {
  case Place::File::row32: return rows32_first_ + 128 * at.index;
  case Place::File::row64:
  case Place::File::row128: return rows64_first_ + 256 * (at.index + half);
  case Place::File::predicate: return predicates_first_ + 4 * at.index;
  case Place::File::uniform: return uniforms_first_ + 8 * at.index;
  case Place::File::unused: break;
  }
  return scratch_first_;
}

uint32_t Lowering::tail(uint32_t bytes, uint32_t align) {
  uint32_t at = (p_->file_bytes + align - 1) / align * align;
  p_->file_bytes = at + bytes;
  return at;
}
uint32_t Lowering::constant(uint64_t value) {
  auto [it, is_new] = constants_.try_emplace(value, 0);
  if (is_new) {
    it->second = tail(8, 8);
    p_->constants.emplace_back(it->second, value);
  }
  return it->second;
}
uint32_t Lowering::special(Special s, uint32_t component, bool row) {
  auto [it, is_new] = specials_.try_emplace({static_cast<uint32_t>(s), component, row}, 0);
  if (is_new) {
    it->second = row ? tail(128, 128) : tail(8, 8);
    p_->specials.push_back({s, component, it->second, row});
  }
  return it->second;
}

// --- operands --------------------------------------------------------------------------------------------------------

uint64_t Lowering::variable_address(const Operand& o) const {
  const Variable& v = m_.variables[o.index];
  auto plus = static_cast<uint64_t>(o.value);
  switch (v.space) {
  case Space::shared: return shared_.offset[o.index] + plus;
  case Space::local:
  case Space::param: return (in_frame(o.index) ? frame_offset(o.index) : v.offset) + plus;
  default: return addresses_[o.index] + plus;
  }
}

Lowering::Source Lowering::source(const Operand& o, bool want_scalar) {
  switch (o.kind) {
  case Kind::reg: return {place(o.index), is_scalar(o.index)};
  case Kind::integer:
  case Kind::float32:
  case Kind::float64: return {constant(static_cast<uint64_t>(o.value)), true};
  case Kind::variable: {
    if (f_.is_entry || !in_frame(o.index)) return {constant(variable_address(o)), true};
    return {sum(frame_base, variable_address(o)), false};
  }
  case Kind::function: return {constant(function_window + 16 * uint64_t{o.index}), true};
  case Kind::special: {
    auto s = static_cast<Special>(o.index);
    switch (s) {
    case Special::clock:
    case Special::clock64:
    case Special::clock_hi:
    case Special::globaltimer:
    case Special::globaltimer_lo:
    case Special::globaltimer_hi: {
      uint32_t at = special(s, 0, false);
      emit(c_.clock, {.d = at, .imm = s == Special::clock_hi || s == Special::globaltimer_hi});
      return {at, true};
    }
    case Special::tid:
    case Special::laneid:
    case Special::lanemask_eq:
    case Special::lanemask_le:
    case Special::lanemask_lt:
    case Special::lanemask_ge:
    case Special::lanemask_gt: return {special(s, o.component, !want_scalar), want_scalar};
    default: return {special(s, o.component, false), true};
    }
  }
  default: return {0, true};
  }
}

uint32_t Lowering::spread(Source s, bool wide) {
  if (!s.scalar) return s.offset;
  uint32_t at = scratch();
  emit(h_.select_helper(wide ? Helper::splat64 : Helper::splat32), {.d = at, .a = s.offset});
  return at;
}
uint32_t Lowering::sum(uint32_t row, uint64_t value) {
  uint32_t at = scratch();
  emit(select(request(Form::add_int, {Type::u64})), {.d = at, .a = row, .b = spread({constant(value), true}, true)});
  return at;
}
uint32_t Lowering::row(const Operand& o, bool wide) { return spread(source(o), wide); }

Lowering::Guard Lowering::predicate(const Operand& o) {
  if (o.is(Kind::reg)) return {place(o.index), o.negated ? ~0u : 0u};
  if (o.is(Kind::special)) return {special(static_cast<Special>(o.index), 0, false), o.negated ? ~0u : 0u};
  return {0, (o.value != 0) != o.negated ? ~0u : 0u};
}

uint32_t Lowering::destination(const Operand& o, bool) { return o.is(Kind::reg) ? place(o.index) : scratch(); }

Lowering::Address Lowering::address(const Operand& o) {
  if (o.base == Kind::variable && !f_.is_entry && in_frame(o.index))
    return {frame_base, address_row64, static_cast<uint32_t>(variable_address(o))};
  if (o.base == Kind::variable) return {constant(variable_address(o)), 0, 0};
  if (o.base == Kind::integer) return {constant(static_cast<uint64_t>(o.value)), 0, 0};
  uint32_t flags = is_scalar(o.index) ? 0 : is_wide(o.index) ? address_row64 : address_row32;
  if (o.value == static_cast<int32_t>(o.value)) return {place(o.index), flags, static_cast<uint32_t>(o.value)};
  uint32_t base = spread({place(o.index), is_scalar(o.index)}, is_wide(o.index)); // a far offset
  if (!is_wide(o.index)) {
    uint32_t wide = scratch();
    emit(select(request(Form::cvt, {Type::u64, Type::u32})), {.d = wide, .a = base});
    base = wide;
  }
  return {sum(base, static_cast<uint64_t>(o.value)), address_row64, 0};
}

// --- code ------------------------------------------------------------------------------------------------------------

Insn& Lowering::emit(Fn fn, Insn fields) {
  fields.fn = fn;
  p_->code.push_back(fields);
  p_->meta.push_back(meta_);
  return p_->code.back();
}
void Lowering::emit_masked(Width width, uint32_t d) {
  if (!guarded_ && !varying_) return;
  if (width == Width::scalar) {
    if (guarded_) emit(h_.skip, {.c = guard_.offset, .aux = guard_.turned});
    return;
  }
  emit(width == Width::row32   ? h_.masked32
       : width == Width::row64 ? h_.masked64
                               : h_.masked_predicate,
       {.d = d, .c = guard_.offset, .aux = guard_.turned});
}
void Lowering::emit_words(const std::vector<uint32_t>& words, uint32_t slots) {
  for (uint32_t s = 0; s < slots; ++s) {
    Insn slot;
    uint32_t raw[8]{};
    for (uint32_t k = 0; k < 8; ++k)
      if (s * 8 + k < words.size()) raw[k] = words[s * 8 + k];
    std::memcpy(static_cast<void*>(&slot), raw, sizeof slot);
    p_->code.push_back(slot);
    p_->meta.push_back(meta_);
  }
}

Fn Lowering::select(const Request& r) const {
  for (auto choose : {h_.select_int, h_.select_float, h_.select_half, h_.select_convert, h_.select_move})
    if (Fn fn = choose(r)) return fn;
  return nullptr;
}
Request Lowering::request(const Instruction& i) const {
  Request r;
  r.form = i.form;
  for (size_t t = 0; t < i.type_count; ++t) r.types[t] = i.types[t];
  for (size_t k = 0; k < i.mod_count; ++k) r.mods[k] = i.mods[k];
  r.mod_count = i.mod_count;
  r.shape = i.shape;
  r.space = i.space();
  return r;
}
Request Lowering::request(Form form, std::initializer_list<Type> types, std::initializer_list<Mod> mods) const {
  Request r;
  r.form = form;
  std::copy(types.begin(), types.end(), r.types);
  std::copy(mods.begin(), mods.end(), r.mods);
  r.mod_count = static_cast<uint32_t>(mods.size());
  return r;
}

bool Lowering::operate(Request r, Width width, uint32_t d, std::vector<Source> sources, const std::vector<bool>& wide,
                       Insn fields) {
  r.scalar = width == Width::scalar;
  auto kinds = [&] {
    r.kinds = 0;
    for (size_t n = 0; n < sources.size(); ++n)
      if (sources[n].scalar) r.kinds |= 1u << n;
  };
  kinds();
  Fn fn = select(r);
  for (size_t n = 0; n < sources.size() && !fn && !r.scalar; ++n) { // spread one scalar after the other
    if (!sources[n].scalar) continue;
    sources[n] = {spread(sources[n], wide[n]), false};
    kinds();
    fn = select(r);
  }
  if (!fn) return false;
  fields.d = d;
  if (!sources.empty()) fields.a = sources[0].offset;
  if (sources.size() > 1) fields.b = sources[1].offset;
  if (sources.size() > 2) fields.c = sources[2].offset;
  emit_masked(width, d);
  bool loops = width != Width::scalar && r.form != Form::lop3 && r.form != Form::bfi && r.form != Form::selp;
  if (loops && !guarded_ && !varying_) repeatable_.push_back(p_->code.size());
  emit(fn, fields);
  return true;
}
/// Equal operations in a row become one call: the first one's `imm` counts the others.
void Lowering::join_runs() {
  for (size_t n = 0; n < repeatable_.size();) {
    size_t first = repeatable_[n], count = 1;
    while (n + count < repeatable_.size() && repeatable_[n + count] == first + count &&
           p_->code[first + count].fn == p_->code[first].fn)
      ++count;
    p_->code[first].imm = static_cast<uint32_t>(count - 1);
    n += count;
  }
  repeatable_.clear();
}
bool Lowering::helper(Helper h, Width width, uint32_t d, uint32_t a, uint32_t b, bool final) {
  if (final) emit_masked(width, d);
  emit(h_.select_helper(h), {.d = d, .a = a, .b = b});
  return true;
}

// --- modes -----------------------------------------------------------------------------------------------------------

/// The mode of MXCSR that an instruction needs; nothing where it does not care.
std::optional<uint32_t> Lowering::mode_of(const Instruction& i) const {
  uint32_t mode = i.has(Mod::ftz) ? mxcsr_ftz : mxcsr_ieee;
  auto rounded = [&] {
    Mod r = i.rounding();
    return mode | (r == Mod::rm ? 0x2000u : r == Mod::rp ? 0x4000u : r == Mod::rz ? 0x6000u : 0u);
  };
  switch (i.form) {
  case Form::add_float:
  case Form::sub_float:
  case Form::mul_float:
  case Form::fma_float:
  case Form::div_float:
  case Form::rcp:
  case Form::sqrt:
  case Form::add_mixed:
  case Form::sub_mixed:
  case Form::fma_mixed: return rounded();
  case Form::min_float:
  case Form::max_float:
  case Form::min3_float:
  case Form::max3_float:
  case Form::div_approx:
  case Form::sqrt_approx:
  case Form::sin_approx:
  case Form::cos_approx:
  case Form::lg2_approx:
  case Form::ex2_approx:
  case Form::tanh_approx: return mode;
  case Form::rcp_approx:
  case Form::rsqrt_approx: return i.type() == Type::f64 ? mxcsr_ieee : mode;
  case Form::setp:
  case Form::set: {
    Type t = i.form == Form::set ? i.type(1) : i.type();
    if (!is_float(t)) return std::nullopt;
    return bits_of(t) == 32 && t == Type::f32 ? mode : mxcsr_ieee;
  }
  case Form::slct: return i.type(1) == Type::f32 ? std::optional(mode) : std::nullopt;
  case Form::add_half:
  case Form::sub_half:
  case Form::mul_half:
  case Form::fma_half:
  case Form::min_half:
  case Form::max_half:
  case Form::tanh_half:
  case Form::ex2_half:
    return i.type() == Type::f16 || i.type() == Type::f16x2 ? std::nullopt : std::optional(mxcsr_ieee);
  case Form::cvt: {
    Type to = i.type(0), from = i.type(1);
    bool narrow_to = bits_of(to) == 16, narrow_from = bits_of(from) == 16;
    if (!is_float(to) && !is_float(from)) return std::nullopt;
    bool by_bits = i.rounding() == Mod::unknown || i.rounding() == Mod::rn || i.rounding() == Mod::rz;
    if (is_float(to) && is_float(from) && by_bits && (narrow_from || (narrow_to && from == Type::f32)))
      return std::nullopt;
    return is_float(to) && !narrow_to && (i.rounding() == Mod::rz || i.rounding() == Mod::rm || i.rounding() == Mod::rp)
               ? rounded()
               : mode;
  }
  case Form::mma_bf16:
  case Form::mma_f16:
  case Form::mma_tf32:
  case Form::mma_fp8: return mxcsr_matrix;
  case Form::mma_f64: return mxcsr_ieee;
  case Form::wmma_mma: return i.type() == Type::f64 ? mxcsr_ieee : mxcsr_matrix;
  case Form::atom:
  case Form::red:
    if (!is_float(i.type())) return std::nullopt;
    // Additions to floats in global memory flush subnormals, those in shared memory do not.
    return i.type() == Type::f32 && i.space() == Space::global ? mxcsr_matrix : mxcsr_ieee;
  default: return std::nullopt;
  }
}
/// Between blocks the machine is in the mode that most instructions want, so that few of them need to change it.
void Lowering::choose_mode() {
  std::map<uint32_t, uint64_t> weights;
  for (uint32_t b = 0; b < cfg_.blocks.size(); ++b) {
    uint64_t weight =
        cfg_.blocks[b].loop == none ? 1 : uint64_t{8} << std::min(3 * cfg_.loops[cfg_.blocks[b].loop].depth, 30u);
    for (uint32_t i = cfg_.blocks[b].begin; i < cfg_.blocks[b].end; ++i)
      if (auto mode = mode_of(f_.body[i])) weights[*mode] += weight;
  }
  for (auto [mode, weight] : weights)
    if (weight > weights[p_->default_mode]) p_->default_mode = mode;
}
void Lowering::set_mode(uint32_t mode) {
  if (mode == mode_) return;
  emit(c_.set_mode, {.imm = mode});
  mode_ = mode;
}

// --- blocks ----------------------------------------------------------------------------------------------------------

void Lowering::unsupported(const Instruction& i) {
  if (!unsupported_.insert(std::string(i.text)).second || unsupported_.size() > 50) return; // each spelling once
  errors_ += (errors_.empty() ? "" : "\n") + std::string("line ") + std::to_string(i.line) +
             ": the simulator cannot run '" + std::string(i.text) + "' yet";
}

void Lowering::block(uint32_t b) {
  const Block& block = cfg_.blocks[b];
  block_begin_.push_back(p_->code.size());
  varying_ = uniformity_.varying_block[b];
  bool loop = std::any_of(block.predecessors.begin(), block.predecessors.end(),
                          [&](uint32_t from) { return Cfg::is_back_edge(from, b); });
  const Instruction& first = f_.body[block.begin];
  meta_ = {first.line, first.location, first_block_ + b};
  mode_ = p_->default_mode;
  emit(c_.head, {.imm = first_block_ + b, .aux = (varying_ ? 0u : 1u) | (loop ? 2u : 0u)});
  observe_block(first_block_ + b);
  p_->block_instructions.push_back(block.end - block.begin);
  auto& classes = p_->block_classes.emplace_back();
  classes.fill(0);
  for (uint32_t n = block.begin; n < block.end; ++n) {
    const Instruction& i = f_.body[n];
    ++classes[static_cast<size_t>(class_of(i))];
    meta_ = {i.line, i.location, first_block_ + b};
    count_statically(i, first_block_ + b);
    scratch_used_ = 0;
    guarded_ = i.guard != none;
    guard_ = guarded_ ? Guard{place(i.guard), i.guard_negated ? ~0u : 0u} : Guard{};
    instruction(i);
  }
  join_runs();
  set_mode(p_->default_mode);
  leave_block(b);
}

void Lowering::jump_to(uint32_t block) {
  if (ends_thread(block)) {
    emit(c_.exit, {.aux = ~0u});
    return;
  }
  fixups_.push_back({p_->code.size(), block});
  emit(c_.jump);
}
void Lowering::leave_block(uint32_t b) {
  const Block& block = cfg_.blocks[b];
  const Instruction& last = f_.body[block.end - 1];
  bool leaves = last.form == Form::bra || last.form == Form::brx || last.form == Form::ret || last.form == Form::exit ||
                last.form == Form::trap || last.form == Form::call; // calls know where they return to
  if (leaves && (last.guard == none || last.form == Form::call)) return;
  uint32_t next = block.end == f_.body.size() ? cfg_.exit() : cfg_.block_of[block.end];
  if (next == none) next = cfg_.exit();
  if (next != b + 1 || next == cfg_.exit()) jump_to(next);
}

bool Lowering::control_flow(const Instruction& i) {
  switch (i.form) {
  case Form::bra: {
    set_mode(p_->default_mode);
    uint32_t target = cfg_.block_of_label[f_.operands(i)[0].index];
    uint32_t at = static_cast<uint32_t>(&i - f_.body.data()),
             next = at + 1 == f_.body.size() ? cfg_.exit() : cfg_.block_of[at + 1];
    if (guarded_) observe_branch();
    if (!guarded_)
      jump_to(target);
    else if (!ends_thread(target) && (next == none || ends_thread(next))) { // those that go on are the ones that jump
      emit(c_.branch, {.a = guard_.offset, .b = 1, .imm = ~guard_.turned});
      jump_to(target);
    } else if (ends_thread(target))
      emit(c_.branch, {.a = guard_.offset, .b = 1, .imm = guard_.turned});
    else {
      fixups_.push_back({p_->code.size(), target});
      emit(c_.branch, {.a = guard_.offset, .imm = guard_.turned});
    }
    return true;
  }
  case Form::brx: {
    set_mode(p_->default_mode);
    auto operands = f_.operands(i);
    uint32_t index = row(operands[0], false);
    if (!operands[1].is(Kind::targets)) return false;
    const auto& labels = f_.tables[operands[1].index];
    auto first = static_cast<uint32_t>(p_->targets.size());
    for (uint32_t label : labels) {
      uint32_t target = cfg_.block_of_label[label];
      if (target == cfg_.exit()) return false;
      p_->targets.push_back(reinterpret_cast<const Insn*>(uintptr_t{target})); // made a pointer at the end
    }
    emit(c_.branch_table, {.a = index, .c = guard_.offset, .imm = static_cast<uint32_t>(labels.size()), .aux = first});
    emit(nullptr, {.a = guard_.turned});
    return true;
  }
  case Form::ret:
  case Form::exit:
    set_mode(p_->default_mode);
    if (guarded_) observe_branch();
    if (i.form == Form::ret && !f_.is_entry)
      emit(call_handlers().ret, {.c = guard_.offset, .imm = function_, .aux = guard_.turned});
    else
      emit(c_.exit, {.c = guard_.offset, .aux = guard_.turned});
    return true;
  case Form::trap: emit(c_.trap, {.c = guard_.offset, .aux = guard_.turned}); return true;
  case Form::call: return call(i);
  default: return false;
  }
}

void Lowering::instruction(const Instruction& i) {
  if (auto mode = mode_of(i)) set_mode(*mode);
  if (is_nothing(i.form)) {
    if (i.form == Form::membar || i.form == Form::fence) observe_lanes(Observed::Kind::fence);
    return;
  }
  bool done = false;
  switch (i.form) {
  case Form::bra:
  case Form::brx:
  case Form::ret:
  case Form::exit:
  case Form::call:
  case Form::trap: done = control_flow(i); break;
  case Form::alloca:
  case Form::stacksave:
  case Form::stackrestore: done = stack(i); break;
  case Form::mov: done = move(i); break;
  case Form::cvt: done = convert(i); break;
  case Form::setp:
  case Form::testp: done = compare(i); break;
  case Form::set: done = set(i); break;
  case Form::add_cc:
  case Form::addc:
  case Form::sub_cc:
  case Form::subc:
  case Form::mad_cc:
  case Form::madc: done = carry(i); break;
  case Form::lop3_bool: done = lop3_bool(i); break;
  case Form::tanh_half:
  case Form::ex2_half: done = through_float(i); break;
  case Form::cvta:
  case Form::cvta_to:
  case Form::isspacep: done = convert_address(i); break;
  case Form::and_:
  case Form::or_:
  case Form::xor_:
  case Form::not_: done = i.type() == Type::pred ? predicate_logic(i) : arithmetic(i); break;
  case Form::ld:
  case Form::ld_nc: done = load(i); break;
  case Form::st: done = store(i); break;
  case Form::atom:
  case Form::atom_cas:
  case Form::red: done = atomic(i); break;
  case Form::cp_async:
  case Form::cp_async_ignore:
  case Form::cp_async_commit_group:
  case Form::cp_async_wait_group:
  case Form::cp_async_wait_all: done = copy_async(i); break;
  case Form::ldmatrix:
  case Form::stmatrix:
  case Form::movmatrix: done = matrix_move(i); break;
  case Form::mma_bf16:
  case Form::mma_f16:
  case Form::mma_tf32:
  case Form::mma_fp8:
  case Form::mma_int8:
  case Form::mma_int4:
  case Form::mma_b1:
  case Form::mma_f64: done = product(i); break;
  case Form::wmma_load:
  case Form::wmma_store:
  case Form::wmma_mma: done = fragment(i); break;
  case Form::shfl:
  case Form::shfl_sync:
  case Form::vote:
  case Form::vote_sync:
  case Form::vote_ballot:
  case Form::vote_sync_ballot:
  case Form::match_any:
  case Form::match_all:
  case Form::activemask:
  case Form::redux:
  case Form::elect: done = exchange(i); break;
  case Form::bar_sync:
  case Form::bar_arrive:
  case Form::bar_red_popc:
  case Form::bar_red_pred:
  case Form::bar_warp_sync: done = barrier(i); break;
  case Form::createpolicy_fractional:
  case Form::createpolicy_range:
  case Form::createpolicy_cvt: // policies are hints
    done = operate(request(Form::mov, {Type::b64}), is_scalar(f_.operands(i)[0].index) ? Width::scalar : Width::row64,
                   place(f_.operands(i)[0].index), {{constant(0), true}}, {true});
    break;
  case Form::mbarrier_init:
  case Form::mbarrier_inval:
  case Form::mbarrier_expect_tx:
  case Form::mbarrier_complete_tx:
  case Form::mbarrier_arrive:
  case Form::mbarrier_arrive_expect_tx:
  case Form::mbarrier_arrive_nocomplete:
  case Form::mbarrier_arrive_drop:
  case Form::mbarrier_arrive_drop_expect_tx:
  case Form::mbarrier_arrive_drop_nocomplete:
  case Form::mbarrier_test_wait:
  case Form::mbarrier_test_wait_parity:
  case Form::mbarrier_try_wait:
  case Form::mbarrier_try_wait_parity:
  case Form::mbarrier_pending_count:
  case Form::cp_async_mbarrier_arrive: done = mbarrier(i); break;
  case Form::mapa:
  case Form::getctarank:
  case Form::barrier_cluster_arrive:
  case Form::barrier_cluster_wait: done = cluster(i); break;
  case Form::cp_async_bulk_load:
  case Form::cp_async_bulk_store:
  case Form::cp_async_bulk_commit_group:
  case Form::cp_async_bulk_wait_group:
  case Form::cp_reduce_async_bulk:
  case Form::cp_async_bulk_tensor_load:
  case Form::cp_async_bulk_tensor_store:
  case Form::cp_reduce_async_bulk_tensor:
  case Form::tensormap_replace:
  case Form::tensormap_cp_fenceproxy:
  case Form::st_async:
  case Form::red_async: done = bulk(i); break;
  case Form::wgmma_half:
  case Form::wgmma_half_reg:
  case Form::wgmma_float:
  case Form::wgmma_float_reg:
  case Form::wgmma_int8:
  case Form::wgmma_int8_reg:
  case Form::wgmma_commit_group:
  case Form::wgmma_wait_group: done = warpgroup_product(i); break;
  default: done = arithmetic(i); break;
  }
  if (!done) unsupported(i);
  // The lanes of these come together, and what they did before is done.
  InstructionClass c = class_of(i);
  if (c == InstructionClass::shuffle || c == InstructionClass::matrix || i.form == Form::ldmatrix ||
      i.form == Form::stmatrix || i.form == Form::bar_warp_sync)
    observe_lanes(Observed::Kind::lanes);
}

// --- arithmetic ------------------------------------------------------------------------------------------------------

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
    uint32_t at = destination(d, width == Width::row64);
    emit_masked(width, at);
    fields.d = at;
    fields.a = sources[0].offset;
    fields.b = sources[1].offset;
    emit(select(r), fields);
    return true;
  }
  return operate(r, width, destination(d, width == Width::row64), std::move(sources), wide, fields);
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
    uint32_t at = destination(d, false);
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
    uint32_t at = destination(d, bits == 64);
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
  return operate(request(Form::mov, {type}), bits == 64 ? Width::row64 : Width::row32, destination(d, bits == 64), {s},
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
                   destination(d, to == 64), {s}, {wide_source}, {.aux = convert_mode(i)});
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
  bool packed = i.type() == Type::f16x2 || i.type() == Type::bf16x2;
  const Operand* first = d.is(Kind::pair) ? &f_.elements(d)[0] : &d;
  const Operand* second = d.is(Kind::pair) ? &f_.elements(d)[1] : nullptr;
  Request r = request(i);
  uint32_t modifiers = 0;
  for (uint32_t k = 0; k < r.mod_count; ++k) // the comparison alone
    if (r.mods[k] != Mod::and_ && r.mods[k] != Mod::or_ && r.mods[k] != Mod::xor_) r.mods[modifiers++] = r.mods[k];
  r.mod_count = modifiers;
  bool wide = bits_of(i.type()) == 64;
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
    Fn fn = nullptr;
    if (bits_of(i.type()) == 16 && is_float(i.type()))
      fn = nullptr;
    else if (!packed)
      fn = h_.select_float(q);
    if (!fn) {
      s = {{spread(s[0], wide), false}, {spread(s[1], wide), false}};
      q.kinds = 0;
      fn = packed || (bits_of(i.type()) == 16 && is_float(i.type())) ? h_.select_half(q) : h_.select_float(q);
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
    Helper op = i.has(Mod::and_)  ? Helper::predicate_and
                : i.has(Mod::or_) ? Helper::predicate_or
                                  : Helper::predicate_xor;
    Guard c = predicate(*combine);
    emit(h_.select_helper(op), {.d = yes, .a = yes, .b = c.offset, .aux = c.turned});
    if (second) emit(h_.select_helper(op), {.d = no, .a = no, .b = c.offset, .aux = c.turned});
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
  bool packed = from == Type::f16x2 || from == Type::bf16x2, half = packed || (bits_of(from) == 16 && is_float(from));
  if (operands[0].is(Kind::reg) && is_scalar(operands[0].index)) return false;
  Request r = request(i);
  r.form = Form::setp;
  r.types[0] = from;
  uint32_t modifiers = 0;
  for (uint32_t k = 0; k < r.mod_count; ++k)
    if (r.mods[k] != Mod::and_ && r.mods[k] != Mod::or_ && r.mods[k] != Mod::xor_) r.mods[modifiers++] = r.mods[k];
  r.mod_count = modifiers;
  bool wide = bits_of(from) == 64;
  uint32_t a = row(operands[1], wide), b = row(operands[2], wide), at = destination(operands[0], false);
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
      Helper op = i.has(Mod::and_)  ? Helper::predicate_and
                  : i.has(Mod::or_) ? Helper::predicate_or
                                    : Helper::predicate_xor;
      emit(h_.select_helper(op), {.d = yes, .a = yes, .b = c.offset, .aux = c.turned});
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
  fields.d = destination(operands[0], wide);
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
    emit(h_.select_helper(i.has(Mod::and_) ? Helper::predicate_and : Helper::predicate_or),
         {.d = yes, .a = yes, .b = c.offset, .aux = c.turned});
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
  uint32_t at = destination(operands[0], false);
  if (packed) return helper(Helper::pack32, Width::row32, at, parts[0], parts[1]);
  return operate(request(Form::mov, {Type::b32}), Width::row32, at, {{parts[0], false}}, {false});
}

bool Lowering::convert_address(const Instruction& i) {
  auto operands = f_.operands(i);
  Space space = i.space();
  uint64_t window = space == Space::shared  ? shared_window
                    : space == Space::local ? local_window
                    : space == Space::param ? (f_.is_entry ? param_window : local_window) // a function's: on the stack
                                            : 0;
  if (i.form == Form::isspacep) {
    uint64_t size = window ? window_bytes : shared_window; // everything below the windows is global
    uint32_t offset = sum(row(operands[1], true), ~window + 1), end = spread({constant(size), true}, true);
    uint32_t at = destination(operands[0], false);
    emit_masked(Width::predicate, at);
    emit(h_.select_float(request(Form::setp, {Type::u64}, {Mod::lt})), {.d = at, .a = offset, .b = end});
    return true;
  }
  if (bits_of(i.type()) != 64) return false;
  bool scalar = operands[0].is(Kind::reg) && is_scalar(operands[0].index);
  Width width = scalar ? Width::scalar : Width::row64;
  uint32_t at = destination(operands[0], true);
  Source a = source(operands[1], scalar);
  if (!window) return operate(request(Form::mov, {Type::b64}), width, at, {a}, {true});
  return operate(request(i.form == Form::cvta ? Form::add_int : Form::sub_int, {Type::u64}), width, at,
                 {a, {constant(window), true}}, {true, true});
}

bool Lowering::predicate_logic(const Instruction& i) {
  auto operands = f_.operands(i);
  uint32_t at = destination(operands[0], false);
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
