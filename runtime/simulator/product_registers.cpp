// product_registers.cpp - see product_registers.h: two analyses over the paths of a function.
#include "runtime/simulator/product_registers.h"

#include "runtime/simulator/forms.h"

#include <algorithm>
#include <tuple>

namespace tilejit::runtime::simulator {
namespace {

struct Product {
  uint32_t instruction = 0;
  Shape shape;
  std::vector<uint32_t> d, a; ///< registers
};

bool is_of_family(const Instruction& i) { return i.text.starts_with("wgmma."); }

void add_registers(const Function& f, const Operand* o, std::vector<uint32_t>& to) {
  if (!o || !o->is(Operand::Kind::vector)) return;
  for (const Operand& e : f.elements(*o))
    if (e.is(Operand::Kind::reg)) to.push_back(e.index);
}

class Analysis {
public:
  Analysis(const Function& f, const Cfg& cfg) : f_(f), cfg_(cfg), users_(f.registers.size()), of_(f.body.size(), none) {
    for (uint32_t i = 0; i < f.body.size(); ++i) {
      if (!is_product(f.body[i]) || cfg.block_of[i] == none) continue;
      Product p{.instruction = i, .shape = f.body[i].shape};
      add_registers(f, f.operand(f.body[i], 'x'), p.d);
      add_registers(f, f.operand(f.body[i], 'a'), p.a);
      of_[i] = static_cast<uint32_t>(products_.size());
      for (const auto* registers : {&p.d, &p.a})
        for (uint32_t r : *registers)
          if (users_[r].empty() || users_[r].back() != of_[i]) users_[r].push_back(of_[i]);
      products_.push_back(std::move(p));
    }
  }
  ProductHazards run() {
    ProductHazards found;
    if (products_.empty()) return found;
    find_pending(found);
    find_unfenced(found);
    return found;
  }

private:
  /// By product: in how many commits' time it has been issued at the latest, or `done`.
  using Ages = std::vector<uint8_t>;
  static constexpr uint8_t done = 255, oldest = 254;

  /// Forward over the graph until nothing changes: `state` by block, at its begin; join(into, from) says whether it
  /// changed something.
  template <class State, class Step, class Join>
  void solve(std::vector<State>& state, Step step, Join join) {
    std::vector<uint32_t> work{0};
    std::vector<bool> reached(state.size());
    reached[0] = true;
    while (!work.empty()) {
      const uint32_t b = work.back();
      work.pop_back();
      State now = state[b];
      for (uint32_t i = cfg_.blocks[b].begin; i < cfg_.blocks[b].end; ++i) step(now, i);
      for (uint32_t s : cfg_.blocks[b].successors) {
        if (s == cfg_.exit()) continue;
        const bool is_new = !reached[s];
        if (is_new) state[s] = now;
        if (is_new || join(state[s], now)) work.push_back(s);
        reached[s] = true;
      }
    }
  }

  void age(Ages& ages, uint32_t n) const {
    const Instruction& i = f_.body[n];
    if (of_[n] != none) ages[of_[n]] = 0;
    if (i.guard != none) return; // it may not have been executed
    if (i.form == Form::wgmma_commit_group) {
      for (uint8_t& a : ages) a = a >= oldest ? a : static_cast<uint8_t>(a + 1);
    } else if (i.form == Form::wgmma_wait_group) {
      const int64_t stay = f_.operands(i)[0].value;
      for (uint8_t& a : ages)
        if (a != 0 && a > stay) a = done;
    }
  }

  void find_pending(ProductHazards& found) {
    std::vector<Ages> begin(cfg_.blocks.size(), Ages(products_.size(), done));
    solve(
        begin, [&](Ages& now, uint32_t i) { age(now, i); },
        [](Ages& into, const Ages& from) {
          bool changed = false;
          for (size_t p = 0; p < into.size(); ++p)
            if (from[p] < into[p]) into[p] = from[p], changed = true;
          return changed;
        });
    for (uint32_t b = 0; b < cfg_.blocks.size(); ++b) {
      Ages now = begin[b];
      for (uint32_t i = cfg_.blocks[b].begin; i < cfg_.blocks[b].end; ++i) {
        std::vector<uint32_t> meets;
        auto meet = [&](uint32_t reg, auto allowed) {
          for (uint32_t p : users_[reg])
            if (now[p] != done && !allowed(products_[p])) meets.push_back(p);
        };
        for (uint32_t r : touched_registers(f_, f_.body[i])) meet(r, [](const Product&) { return false; });
        if (of_[i] != none) {
          const Product& mine = products_[of_[i]];
          auto has = [](const std::vector<uint32_t>& set, uint32_t r) {
            return std::find(set.begin(), set.end(), r) != set.end();
          };
          for (uint32_t r : mine.d) meet(r, [&](const Product& p) { return p.shape == mine.shape && !has(p.a, r); });
          for (uint32_t r : mine.a) meet(r, [&](const Product& p) { return !has(p.d, r); });
        }
        std::sort(meets.begin(), meets.end());
        meets.erase(std::unique(meets.begin(), meets.end()), meets.end());
        for (uint32_t p : meets) found.pending.push_back({i, products_[p].instruction});
        age(now, i);
      }
    }
    std::sort(found.pending.begin(), found.pending.end(), [](const auto& a, const auto& b) {
      return std::pair(a.instruction, a.product) < std::pair(b.instruction, b.product);
    });
  }

  /// Both accumulate in the register, which orders them, or neither writes it.
  static bool get_along(const Product& p, const Product& q, uint32_t reg) {
    auto has = [&](const std::vector<uint32_t>& set) { return std::find(set.begin(), set.end(), reg) != set.end(); };
    if (!has(p.d) && !has(q.d)) return true;
    return p.shape == q.shape && has(p.d) && has(q.d) && !has(p.a) && !has(q.a);
  }

  void find_unfenced(ProductHazards& found) {
    struct Since {               // the last fence; at the begin there was none
      std::vector<bool> touched; ///< by register
      std::vector<bool> issued;  ///< by product
    };
    std::vector<Since> begin(cfg_.blocks.size(),
                             {std::vector<bool>(f_.registers.size(), true), std::vector<bool>(products_.size())});
    auto step = [&](Since& now, uint32_t n) {
      const Instruction& i = f_.body[n];
      if (i.form == Form::wgmma_fence && i.guard == none) {
        now.touched.assign(now.touched.size(), false);
        now.issued.assign(now.issued.size(), false);
      }
      for (uint32_t r : touched_registers(f_, i)) now.touched[r] = true;
      if (of_[n] != none) now.issued[of_[n]] = true;
    };
    auto join = [](std::vector<bool>& into, const std::vector<bool>& from) {
      bool changed = false;
      for (size_t i = 0; i < into.size(); ++i)
        if (from[i] && !into[i]) into[i] = true, changed = true;
      return changed;
    };
    solve(begin, step, [&](Since& into, const Since& from) {
      const bool touched = join(into.touched, from.touched);
      return join(into.issued, from.issued) || touched;
    });
    for (uint32_t b = 0; b < cfg_.blocks.size(); ++b) {
      Since now = begin[b];
      for (uint32_t i = cfg_.blocks[b].begin; i < cfg_.blocks[b].end; ++i) {
        if (of_[i] != none)
          for (const auto* registers : {&products_[of_[i]].d, &products_[of_[i]].a})
            for (uint32_t r : *registers) {
              if (now.touched[r]) found.unfenced.push_back({i, r});
              for (uint32_t p : users_[r])
                if (now.issued[p] && !get_along(products_[p], products_[of_[i]], r))
                  found.unfenced.push_back({i, r, products_[p].instruction});
            }
        step(now, i);
      }
    }
    std::sort(found.unfenced.begin(), found.unfenced.end(), [](const auto& a, const auto& b) {
      return std::tuple(a.product, a.reg, a.by) < std::tuple(b.product, b.reg, b.by);
    });
  }

  const Function& f_;
  const Cfg& cfg_;
  std::vector<Product> products_;
  std::vector<std::vector<uint32_t>> users_; ///< by register: products
  std::vector<uint32_t> of_;                 ///< by instruction: products
};

} // namespace

bool is_product(const Instruction& i) { return i.text.starts_with("wgmma.mma_async"); }

std::vector<uint32_t> touched_registers(const Function& f, const Instruction& i) {
  std::vector<uint32_t> all;
  if (is_of_family(i)) return all;
  RegisterUse use;
  register_use(f, i, use);
  all = use.reads;
  all.insert(all.end(), use.writes.begin(), use.writes.end());
  return all;
}

ProductHazards find_product_hazards(const Function& f, const Cfg& cfg) { return Analysis(f, cfg).run(); }

} // namespace tilejit::runtime::simulator
