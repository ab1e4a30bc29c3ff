// product_order.cpp - see product_order.h.
#include "runtime/simulator/product_order.h"

#include "runtime/simulator/forms.h"

#include <algorithm>

namespace tilejit::runtime::simulator {
namespace {

/// As many as wait at once: their operands stay alive.
constexpr size_t most_waiting = 8;

bool is_product(const Instruction& i) { return i.guard == none && i.text.starts_with("mma.sync."); }

enum class Memory { none, reads, writes };
Memory memory_of(const Instruction& i) {
  switch (class_of(i)) {
  case InstructionClass::load: return Memory::reads;
  case InstructionClass::store:
  case InstructionClass::atomic:
  case InstructionClass::async_copy:
  case InstructionClass::fence:
  case InstructionClass::barrier: return Memory::writes; // these, too, say what is ordered
  case InstructionClass::matrix:
    return i.form == Form::ldmatrix || i.form == Form::wmma_load ? Memory::reads
           : is_product(i) || i.form == Form::movmatrix          ? Memory::none
                                                                 : Memory::writes;
  default: return Memory::none;
  }
}
bool brings_lanes_together(const Instruction& i) {
  const InstructionClass c = class_of(i);
  return c == InstructionClass::matrix || c == InstructionClass::shuffle || c == InstructionClass::barrier;
}

class Order {
public:
  Order(Function& f, bool sanitize)
      : f_(f), sanitize_(sanitize), read_(f.registers.size()), written_(f.registers.size()) {}

  void block(uint32_t begin, uint32_t end) {
    if (std::none_of(f_.body.begin() + begin, f_.body.begin() + end, is_product)) return;
    ordered_.clear();
    has_written_ = true; // who knows
    for (uint32_t n = begin; n < end; ++n) {
      const Instruction& i = f_.body[n];
      register_use(f_, i, use_);
      const bool product = is_product(i);
      const bool goes_on = !needs_waiting() && (product ? joins(i) : n + 1 < end && may_pass(i));
      if (!goes_on) release();
      if (product)
        wait(i);
      else
        ordered_.push_back(i);
      has_written_ = memory_of(i) == Memory::writes || (has_written_ && !brings_lanes_together(i));
    }
    release();
    std::copy(ordered_.begin(), ordered_.end(), f_.body.begin() + begin);
  }

private:
  /// Whether the instruction needs a result of those that wait, or changes what they read.
  bool needs_waiting() const {
    auto is_in = [&](const std::vector<uint32_t>& last) { return [&](uint32_t r) { return last[r] == group_; }; };
    return std::any_of(use_.reads.begin(), use_.reads.end(), is_in(written_)) ||
           std::any_of(use_.writes.begin(), use_.writes.end(), is_in(written_)) ||
           std::any_of(use_.writes.begin(), use_.writes.end(), is_in(read_));
  }
  /// Whether it is of the kind of those that wait, and has their A.
  bool joins(const Instruction& i) const {
    if (waiting_.empty()) return true;
    const Instruction& first = waiting_[0];
    auto a = f_.elements(*f_.operand(i, 'a')), b = f_.elements(*f_.operand(first, 'a'));
    return waiting_.size() < most_waiting && i.text == first.text &&
           std::equal(
               a.begin(), a.end(), b.begin(), b.end(),
               [](const Operand& x, const Operand& y) { return x.is(y.kind) && x.index == y.index; });
  }
  /// Whether the sanitizers see the same where it goes before those that wait.
  bool may_pass(const Instruction& i) const {
    const Memory m = memory_of(i);
    return !sanitize_ || m == Memory::none || (m == Memory::reads && !orders_writes_);
  }
  void wait(const Instruction& i) {
    orders_writes_ = orders_writes_ || has_written_;
    waiting_.push_back(i);
    for (uint32_t r : use_.reads) read_[r] = group_;
    for (uint32_t r : use_.writes) written_[r] = group_;
  }
  void release() {
    ordered_.insert(ordered_.end(), waiting_.begin(), waiting_.end());
    waiting_.clear();
    orders_writes_ = false;
    ++group_;
  }

  Function& f_;
  const bool sanitize_;
  bool has_written_ = true;    ///< something since lanes came together last
  bool orders_writes_ = false; ///< those that wait do
  RegisterUse use_;
  std::vector<Instruction> ordered_, waiting_;
  uint32_t group_ = 1;                   ///< of those that wait
  std::vector<uint32_t> read_, written_; ///< by register: the last group that does so
};

} // namespace

void join_products(Function& f, const Cfg& cfg, bool sanitize) {
  if (std::none_of(f.body.begin(), f.body.end(), is_product)) return;
  Order order(f, sanitize);
  for (const Block& b : cfg.blocks) order.block(b.begin, b.end);
}

} // namespace tilejit::runtime::simulator
