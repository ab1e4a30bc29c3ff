// uniform.cpp - see uniform.h.
#include "runtime/simulator/uniform.h"

#include "runtime/simulator/forms.h"

#include <algorithm>

namespace tilejit::runtime::simulator {
namespace {

class Analysis {
public:
  Analysis(const Function& f, const Cfg& cfg, std::array<uint32_t, 3> shape,
           const std::function<bool(const Instruction&)>& may_be_scalar)
      : f_(f), cfg_(cfg), shape_(shape), may_be_scalar_(may_be_scalar), users_(f.registers.size()),
        definitions_(f.registers.size()) {
    result_.reg.assign(f.registers.size(), true);
    result_.varying_block.assign(cfg.blocks.size(), false);
    result_.varying_branch.assign(cfg.blocks.size(), false);
    // Threads of a warp have consecutive tid.x: then tid.x is (a multiple of 32) + lane.
    whole_rows_ = shape[0] % 32 == 0 || (shape[1] == 1 && shape[2] == 1);
  }

  Uniformity run() {
    collect();
    if (!f_.is_entry) {
      result_.reg.assign(f_.registers.size(), false);
      result_.varying_block.assign(cfg_.blocks.size(), true);
      for (size_t b = 0; b < cfg_.blocks.size(); ++b) result_.varying_branch[b] = cfg_.blocks[b].successors.size() > 1;
      return std::move(result_);
    }
    find_thread_indices();
    for (uint32_t i = 0; i < f_.body.size(); ++i)
      if (cfg_.block_of[i] != none) work_.push_back(i);
    // Undefined registers hold whatever each lane's row held.
    do {
      while (!work_.empty()) {
        uint32_t i = work_.back();
        work_.pop_back();
        visit(i);
      }
      part_at_waits();
    } while (!work_.empty());
    return std::move(result_);
  }

private:
  void collect() {
    for (uint32_t i = 0; i < f_.body.size(); ++i) {
      if (cfg_.block_of[i] == none) continue;
      register_use(f_, f_.body[i], use_);
      for (uint32_t r : use_.reads) users_[r].push_back(i);
      for (uint32_t r : use_.writes) definitions_[r].push_back(i);
    }
    for (uint32_t r = 0; r < f_.registers.size(); ++r)
      if (definitions_[r].empty()) result_.reg[r] = false;
  }

  /// Registers that are tid.x, or tid.x with higher bits cleared: (a value for the warp, a multiple of 32) + lane.
  void find_thread_indices() {
    thread_index_.assign(f_.registers.size(), false);
    if (!whole_rows_) return;
    for (bool changed = true; changed;) {
      changed = false;
      for (uint32_t r = 0; r < f_.registers.size(); ++r) {
        if (thread_index_[r] || definitions_[r].size() != 1) continue;
        const Instruction& i = f_.body[definitions_[r][0]];
        if (i.guard != none) continue;
        auto operands = f_.operands(i);
        bool is = false;
        if (i.form == Form::mov && operands[0].is(Operand::Kind::reg))
          is = is_thread_index(operands[1]);
        else if (i.form == Form::cvt && !is_float(i.type(0)) && bits_of(i.type(0)) >= 32)
          is = is_thread_index(operands[1]);
        else if (i.form == Form::and_ && i.type() != Type::pred)
          is = is_thread_index(operands[1]) && operands[2].is(Operand::Kind::integer) && (operands[2].value & 31) == 31;
        if (is) thread_index_[r] = changed = true;
      }
    }
  }
  bool is_thread_index(const Operand& o) const {
    if (o.is(Operand::Kind::special)) return static_cast<Special>(o.index) == Special::tid && o.component == 0;
    return o.is(Operand::Kind::reg) && thread_index_[o.index];
  }

  /// The lane drops out: tid.x >> 5, tid.x & ~31, tid.x / 32.
  bool drops_lane(const Instruction& i) const {
    auto operands = f_.operands(i);
    if (operands.size() < 3 || !is_thread_index(operands[1]) || !operands[2].is(Operand::Kind::integer)) return false;
    int64_t value = operands[2].value;
    switch (i.form) {
    case Form::shr: return value >= 5;
    case Form::and_: return (value & 31) == 0;
    case Form::div_int: return value > 0 && value % 32 == 0;
    case Form::bfe: return value >= 5;
    default: return false;
    }
  }

  bool is_parameter(const Operand& address) const {
    return address.base == Operand::Kind::variable &&
           std::any_of(f_.parameters.begin(), f_.parameters.end(),
                       [&](const Parameter& p) { return p.variable == address.index; });
  }

  bool varying_special(const Operand& o) const {
    switch (static_cast<Special>(o.index)) {
    case Special::tid:
      if (shape_[o.component] == 1) return false;
      if (o.component == 0) return true;
      return (o.component == 1 ? shape_[0] : shape_[0] * shape_[1]) % 32 != 0;
    case Special::laneid:
    case Special::lanemask_eq:
    case Special::lanemask_le:
    case Special::lanemask_lt:
    case Special::lanemask_ge:
    case Special::lanemask_gt: return true;
    default: return false;
    }
  }

  bool varying(const Operand& o) const {
    switch (o.kind) {
    case Operand::Kind::reg: return o.use != Operand::Use::write && !result_.reg[o.index];
    case Operand::Kind::special: return varying_special(o);
    case Operand::Kind::address:
      if (o.base == Operand::Kind::reg && !result_.reg[o.index]) return true;
      [[fallthrough]];
    case Operand::Kind::vector:
    case Operand::Kind::pair:
    case Operand::Kind::list:
      for (const Operand& e : f_.elements(o))
        if (varying(e)) return true;
      return false;
    default: return false;
    }
  }

  bool varying_result(const Instruction& i) const {
    if (may_be_scalar_ && !may_be_scalar_(i)) return true;
    switch (i.form) {
    // One result for all lanes that take part, whatever they bring.
    case Form::activemask:
    case Form::bar_red_popc:
    case Form::bar_red_pred: return false;
    case Form::vote_sync:
    case Form::vote_sync_ballot:
    case Form::vote:
    case Form::vote_ballot:
    case Form::match_all:
    case Form::redux:
    case Form::redux_float: {
      const Operand* members = f_.operand(i, i.form == Form::vote_sync || i.form == Form::vote_sync_ballot ? 'a' : 'b');
      return members && varying(*members);
    }
    case Form::shfl_sync: {
      // Without a pair: the predicate says for each lane whether its source was in range.
      auto operands = f_.operands(i);
      bool one_segment = operands[3].is(Operand::Kind::integer) && (operands[3].value & 0x1f1f) == 0x1f;
      return !(i.has(Mod::idx) && operands[0].is(Operand::Kind::reg) && one_segment && !varying(operands[2]) &&
               !varying(operands[4]));
    }
    case Form::ld: {
      Space space = i.space();
      // .param holds the entry's parameters, and the results of calls.
      if (space == Space::param ? !is_parameter(f_.operands(i)[1]) : space != Space::constant) return true;
      break;
    }
    case Form::shr:
    case Form::and_:
    case Form::div_int:
    case Form::bfe:
      if (drops_lane(i)) return false;
      break;
    // Each lane has its own result, or the simulator's handlers give rows.
    case Form::unknown:
    case Form::ld_nc:
    case Form::atom:
    case Form::atom_cas:
    case Form::shfl:
    case Form::match_any:
    case Form::elect:
    case Form::call:
    case Form::alloca:
    case Form::stacksave: return true;
    default:
      if (class_of(i) == InstructionClass::matrix || class_of(i) == InstructionClass::barrier) return true;
    }
    for (const Operand& o : f_.operands(i))
      if (varying(o)) return true;
    return false;
  }

  void visit(uint32_t index) {
    const Instruction& i = f_.body[index];
    uint32_t b = cfg_.block_of[index];
    bool varying_guard = i.guard != none && !result_.reg[i.guard];
    if (index + 1 == cfg_.blocks[b].end && !result_.varying_branch[b]) {
      bool varies = (i.form == Form::bra && varying_guard) ||
                    (i.form == Form::brx && (varying_guard || varying(f_.operands(i)[0])));
      if (varies) branch(b);
    }
    if (i.form == Form::wgmma_wait_group) return; // it reads the results of all products, and writes nothing
    register_use(f_, i, use_);
    bool all_varying = true;
    for (uint32_t r : use_.writes) all_varying = all_varying && !result_.reg[r];
    if (all_varying) return;
    if (!result_.varying_block[b] && !varying_guard && !varying_result(i)) return;
    std::vector<uint32_t> writes = use_.writes;
    for (uint32_t r : writes)
      if (result_.reg[r]) {
        result_.reg[r] = false;
        work_.insert(work_.end(), users_[r].begin(), users_[r].end());
      }
  }

  /// The loop may wait for what another lane writes: it reads memory that others write meanwhile.
  bool polls(uint32_t loop) const {
    for (uint32_t b = cfg_.loops[loop].head; b < cfg_.loops[loop].end; ++b)
      for (uint32_t i = cfg_.blocks[b].begin; i < cfg_.blocks[b].end; ++i) {
        const Instruction& x = f_.body[i];
        if (x.form == Form::atom || x.form == Form::atom_cas) return true;
        if (x.form == Form::ld && x.any_of({Mod::volatile_, Mod::relaxed, Mod::acquire}) != Mod::unknown) return true;
      }
    return false;
  }
  bool leaves_polling_loop(uint32_t b) const {
    for (uint32_t loop = cfg_.blocks[b].loop; loop != none; loop = cfg_.loops[loop].parent)
      for (uint32_t s : cfg_.blocks[b].successors)
        if ((s == cfg_.exit() || !cfg_.contains(loop, s)) && polls(loop)) return true;
    return false;
  }

  /// The lanes part at the end of block b: everything up to its post-dominator is controlled by it. Lanes that leave a
  /// loop which may wait for them must not wait at its end in turn: then there is no such end.
  void branch(uint32_t b) {
    result_.varying_branch[b] = true;
    const Block& block = cfg_.blocks[b];
    size_t sides = 0;
    for (uint32_t s : block.successors) sides += s != cfg_.exit() && !cfg_.leaves[s];
    if (sides <= 1) return;
    control(block.successors, leaves_polling_loop(b) ? cfg_.exit() : block.post_dominator);
  }

  /// `blocks`, and what can be reached from them without passing `end`, is varying.
  void control(std::vector<uint32_t> blocks, uint32_t end) {
    std::vector<bool> seen(cfg_.blocks.size());
    for (size_t k = 0; k < blocks.size(); ++k) {
      const uint32_t b = blocks[k];
      if (b == cfg_.exit() || b == end || seen[b]) continue;
      seen[b] = true;
      blocks.insert(blocks.end(), cfg_.blocks[b].successors.begin(), cfg_.blocks[b].successors.end());
      if (result_.varying_block[b]) continue;
      result_.varying_block[b] = true;
      for (uint32_t i = cfg_.blocks[b].begin; i < cfg_.blocks[b].end; ++i) work_.push_back(i);
    }
  }

  /// Some lanes may wait here while others go on.
  bool parts(const Instruction& i) const {
    switch (i.form) {
    case Form::bar_sync:
    case Form::bar_red_popc:
    case Form::bar_red_pred:
      if (i.has(Mod::aligned) || i.text.starts_with("bar.")) return false; // for whole warps
      break;
    case Form::barrier_cluster_wait:
      if (i.has(Mod::aligned)) return false;
      break;
    case Form::mbarrier_try_wait:
    case Form::mbarrier_try_wait_parity: break;
    default: return false;
    }
    if (i.guard != none && !result_.reg[i.guard]) return true;
    for (const Operand& o : f_.operands(i))
      if (o.use != Operand::Use::write && varying(o)) return true;
    return false;
  }
  /// Outside of what varying branches control such an instruction parts the warp for good: nothing says where the lanes
  /// that go on may wait for the others, which may need them.
  void part_at_waits() {
    for (uint32_t b = 0; b < cfg_.blocks.size(); ++b)
      for (uint32_t i = cfg_.blocks[b].begin; i < cfg_.blocks[b].end && !result_.varying_block[b]; ++i)
        if (parts(f_.body[i])) control({b}, cfg_.exit());
  }

  const Function& f_;
  const Cfg& cfg_;
  std::array<uint32_t, 3> shape_;
  const std::function<bool(const Instruction&)>& may_be_scalar_;
  std::vector<std::vector<uint32_t>> users_, definitions_;
  std::vector<bool> thread_index_;
  std::vector<uint32_t> work_;
  RegisterUse use_;
  Uniformity result_;
  bool whole_rows_ = false;
};

} // namespace

Uniformity analyse_uniformity(const Function& function, const Cfg& cfg, std::array<uint32_t, 3> block_shape,
                              const std::function<bool(const Instruction&)>& may_be_scalar) {
  return Analysis(function, cfg, block_shape, may_be_scalar).run();
}

} // namespace tilejit::runtime::simulator
