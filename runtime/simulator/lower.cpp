// lower.cpp - see lower.h, lowering.h.
#include "runtime/simulator/lower.h"

#include "runtime/device.h"
#include "runtime/simulator/calls.h"
#include "runtime/simulator/lowering.h"
#include "runtime/simulator/memory_flags.h"
#include "runtime/simulator/product_order.h"

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
      cfg_(build_cfg(m_, f_)), p_(std::move(program)) {
  if (!p_->instruments.counters && !p_->instruments.estimate) join_products(f_, cfg_, p_->instruments.sanitize);
}

/// Whether there is a handler that computes it once for the whole warp.
bool Lowering::may_be_scalar(const Instruction& i) const {
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
}

void Lowering::run(std::string& errors) {
  uniformity_ = analyse_uniformity(f_, cfg_, shape_, [this](const Instruction& i) { return may_be_scalar(i); });
  liveness_ = analyse_liveness(f_, cfg_);
  allocation_ = allocate_rows(f_, cfg_, liveness_, uniformity_);
  layout();
  choose_granules();
  find_stored_parameters();
  find_watched_registers();
  if (p_->instruments.sanitize) undefined_ = find_undefined(f_, cfg_, liveness_);
  if (f_.is_entry) {
    p_->static_shared = shared_.static_bytes;
    p_->param_bytes = f_.param_bytes;
    choose_mode();
  }
  p_->callees[function_].code = static_cast<uint32_t>(p_->code.size());
  first_block_ = static_cast<uint32_t>(p_->block_instructions.size());
  size_t first_target = p_->targets.size();

  for (uint32_t b = 0; b < cfg_.blocks.size(); ++b) block(b);
  block_begin_.push_back(p_->code.size());
  if (!f_.is_entry)
    emit(call_handlers().ret, {.imm = function_, .aux = ~0u});
  else if (cfg_.blocks.empty())
    emit(c_.exit, {.aux = ~0u});
  if (!errors_.empty()) errors += (errors.empty() ? "" : "\n") + errors_;
  resolve(first_target);
}

/// Blocks have their places now: jumps go there, calls return there, and so do the tables of branches from
/// `first_target` on.
void Lowering::resolve(size_t first_target) {
  for (const Fixup& fix : fixups_)
    p_->code[fix.insn].aux =
        static_cast<uint32_t>(static_cast<int64_t>(block_begin_[fix.block]) - static_cast<int64_t>(fix.insn));
  auto begin_at = [&](uint32_t instruction) {
    uint32_t block = instruction == f_.body.size() ? cfg_.exit() : cfg_.block_of[instruction];
    return block_begin_[block == none ? cfg_.exit() : block];
  };
  for (auto [site, next] : call_blocks_) p_->call_sites[site].next = static_cast<uint32_t>(begin_at(next));
  for (size_t n = first_target; n < p_->targets.size(); ++n) // so far blocks
    p_->targets[n] = static_cast<uint32_t>(block_begin_[p_->targets[n]]);
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

uint32_t Lowering::destination(const Operand& o) { return o.is(Kind::reg) ? place(o.index) : scratch(); }

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
    return i.type() == Type::f32 && i.space() == Space::global ? mxcsr_flush : mxcsr_ieee;
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
  if (b == 0) begin_undefined();
  p_->block_instructions.push_back(block.end - block.begin);
  auto& classes = p_->block_classes.emplace_back();
  classes.fill(0);
  for (uint32_t n = block.begin; n < block.end; ++n) {
    const Instruction& i = f_.body[n];
    ++classes[static_cast<size_t>(class_of(i))];
    meta_ = {i.line, i.location, first_block_ + b};
    scratch_used_ = 0;
    guarded_ = i.guard != none;
    guard_ = guarded_ ? Guard{place(i.guard), i.guard_negated ? ~0u : 0u} : Guard{};
    count_statically(i, first_block_ + b);
    observe_undefined(n);
    observe_registers(n);
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
      p_->targets.push_back(target); // made a place in the code at the end
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
    if (i.form == Form::membar || i.form == Form::fence || i.form == Form::fence_mbarrier_init)
      observe_lanes(i, Observed::Kind::fence);
    if ((i.form == Form::fence_proxy && !i.has(Mod::alias)) || i.form == Form::fence_proxy_async_generic)
      observe_lanes(i, Observed::Kind::proxy_fence);
    if (i.form == Form::fence_proxy_tensormap)
      observe_lanes(i, i.has(Mod::release) ? Observed::Kind::map_release : Observed::Kind::map_acquire);
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
  if (c == InstructionClass::shuffle || c == InstructionClass::matrix || i.form == Form::bar_warp_sync)
    observe_lanes(i, Observed::Kind::lanes);
}

} // namespace tilejit::runtime::simulator
