// cfg.cpp - blocks, their order, loops, dominators. See cfg.h.
#include "runtime/simulator/cfg.h"

#include "runtime/device.h"
#include "runtime/simulator/forms.h"

#include <algorithm>

namespace tilejit::runtime::simulator {
namespace {

constexpr uint32_t max_loop_depth = 1000;

/// Blocks in text order, successors as text-order numbers, `end` for leaving the function.
struct RawBlock {
  uint32_t begin, end;
  std::vector<uint32_t> successors;
};

bool ends_block(const Instruction& i) {
  switch (i.form) {
  case Form::bra:
  case Form::brx:
  case Form::ret:
  case Form::exit:
  case Form::call: return true;
  case Form::trap: return i.guard == none;
  default: return false;
  }
}

std::vector<RawBlock> find_blocks(const Module& module, const Function& f) {
  auto size = static_cast<uint32_t>(f.body.size());
  std::vector<bool> leader(size + 1);
  leader[0] = true;
  auto jump_to = [&](uint32_t label) { leader[f.labels[label].position] = true; };
  for (const Operand& o : f.pool)
    if (o.is(Operand::Kind::label)) jump_to(o.index);
  // Tables of functions share the vector, but only branch tables are named by a brx.
  for (const Instruction& i : f.body)
    if (i.form == Form::brx)
      for (uint32_t label : f.tables[f.operands(i)[1].index]) jump_to(label);
  auto calls_no_return = [&](const Instruction& i) {
    if (i.form != Form::call || i.guard != none) return false;
    const Operand* callee = f.operand(i, 'f');
    return callee && callee->is(Operand::Kind::function) && module.functions[callee->index].no_return;
  };
  for (uint32_t i = 0; i < size; ++i)
    if (ends_block(f.body[i])) leader[i + 1] = true;

  std::vector<uint32_t> block_at(size + 1);
  std::vector<RawBlock> blocks;
  for (uint32_t i = 0; i < size; ++i) {
    if (leader[i]) blocks.push_back({i, i, {}});
    block_at[i] = static_cast<uint32_t>(blocks.size() - 1);
    blocks.back().end = i + 1;
  }
  auto end = static_cast<uint32_t>(blocks.size());
  block_at[size] = end;
  for (uint32_t b = 0; b < end; ++b) {
    RawBlock& block = blocks[b];
    auto add = [&](uint32_t to) {
      if (std::find(block.successors.begin(), block.successors.end(), to) == block.successors.end())
        block.successors.push_back(to);
    };
    const Instruction& last = f.body[block.end - 1];
    bool falls_through = true;
    if (last.form == Form::call ? calls_no_return(last) : ends_block(last)) {
      falls_through = last.guard != none;
      if (last.form == Form::bra) {
        add(block_at[f.labels[f.operands(last)[0].index].position]);
      } else if (last.form == Form::brx) {
        for (uint32_t label : f.tables[f.operands(last)[1].index]) add(block_at[f.labels[label].position]);
      } else {
        add(end);
      }
    }
    if (falls_through) add(b + 1);
  }
  return blocks;
}

/// Bourdoncle's weak topological order by repeated strongly connected components, without recursion on the host's
/// stack.
class WeakOrder {
public:
  explicit WeakOrder(const std::vector<RawBlock>& blocks)
      : blocks_(blocks), subset_(blocks.size(), none), number_(blocks.size()), low_(blocks.size()),
        on_stack_(blocks.size()), component_(blocks.size(), none) {}

  struct LoopSpan {
    uint32_t begin, end, parent, depth; ///< places in the order
  };
  std::vector<uint32_t> order; ///< text-order numbers
  std::vector<LoopSpan> loops;

  void run() {
    if (blocks_.empty()) return;
    // Everything that can be reached is the outermost subset.
    std::vector<uint32_t> reached{0};
    subset_[0] = 0;
    for (size_t i = 0; i < reached.size(); ++i)
      for (uint32_t to : blocks_[reached[i]].successors)
        if (to < blocks_.size() && subset_[to] == none) subset_[to] = 0, reached.push_back(to);
    tasks_.push_back({Task::Kind::expand, {0}, none});
    while (!tasks_.empty()) {
      Task task = std::move(tasks_.back());
      tasks_.pop_back();
      if (task.kind == Task::Kind::block)
        order.push_back(task.blocks[0]);
      else if (task.kind == Task::Kind::close)
        loops[task.loop].end = static_cast<uint32_t>(order.size());
      else if (task.kind == Task::Kind::expand)
        expand(task.blocks, task.loop);
      else
        open(task);
    }
  }

private:
  struct Task {
    enum class Kind : uint8_t { block, loop, close, expand } kind;
    std::vector<uint32_t> blocks; ///< loop: its blocks, the head first. expand: where the subset is entered
    uint32_t loop;                ///< the enclosing one; close: the one to close
  };

  /// A loop: its head, then the rest as a subset of its own without the edges back to the head.
  void open(const Task& task) {
    auto loop = static_cast<uint32_t>(loops.size());
    uint32_t depth = task.loop == none ? 1 : loops[task.loop].depth + 1;
    if (depth > max_loop_depth) throw Error("loops are nested more than 1000 deep");
    loops.push_back({static_cast<uint32_t>(order.size()), 0, task.loop, depth});
    uint32_t head = task.blocks[0];
    order.push_back(head);
    subset_[head] = none;
    ++subsets_;
    for (size_t i = 1; i < task.blocks.size(); ++i) subset_[task.blocks[i]] = subsets_;
    // Where the rest is entered: from the head, or (irreducible) from outside.
    std::vector<uint32_t> entries;
    for (uint32_t to : blocks_[head].successors)
      if (to < blocks_.size() && subset_[to] == subsets_) entries.push_back(to);
    tasks_.push_back({Task::Kind::close, {}, loop});
    if (task.blocks.size() > 1) tasks_.push_back({Task::Kind::expand, std::move(entries), loop});
  }

  /// Tarjan's components of a subset, put on the task stack in topological order. Later text is visited first, so that
  /// among independent components the earlier text comes first.
  void expand(std::vector<uint32_t> entries, uint32_t loop) {
    uint32_t subset = subset_[entries.empty() ? 0 : entries[0]];
    std::sort(entries.begin(), entries.end(), std::greater<>());
    ++generation_;
    std::vector<Task> components; // in reverse topological order
    std::vector<uint32_t> stack;
    struct Visit {
      uint32_t block;
      std::vector<uint32_t> successors;
    };
    std::vector<Visit> visits;
    uint32_t next = 0;
    auto enter = [&](uint32_t b) {
      number_[b] = low_[b] = next++;
      component_[b] = generation_;
      on_stack_[b] = true;
      stack.push_back(b);
      Visit v{b, {}};
      for (uint32_t to : blocks_[b].successors)
        if (to < blocks_.size() && subset_[to] == subset) v.successors.push_back(to);
      std::sort(v.successors.begin(), v.successors.end()); // taken from the back
      visits.push_back(std::move(v));
    };
    for (uint32_t entry : entries) {
      if (component_[entry] == generation_) continue;
      enter(entry);
      while (!visits.empty()) {
        Visit& v = visits.back();
        if (!v.successors.empty()) {
          uint32_t to = v.successors.back();
          v.successors.pop_back();
          if (component_[to] != generation_)
            enter(to);
          else if (on_stack_[to])
            low_[v.block] = std::min(low_[v.block], number_[to]);
          continue;
        }
        uint32_t b = v.block;
        visits.pop_back();
        if (!visits.empty()) low_[visits.back().block] = std::min(low_[visits.back().block], low_[b]);
        if (low_[b] != number_[b]) continue;
        Task task{Task::Kind::block, {b}, loop};
        auto first = std::find(stack.rbegin(), stack.rend(), b).base() - 1;
        for (auto it = first; it != stack.end(); ++it) {
          on_stack_[*it] = false;
          if (*it != b) task.blocks.push_back(*it);
        }
        stack.erase(first, stack.end());
        const auto& self = blocks_[b].successors;
        if (task.blocks.size() > 1 || std::find(self.begin(), self.end(), b) != self.end())
          task.kind = Task::Kind::loop;
        components.push_back(std::move(task));
      }
    }
    for (Task& task : components) tasks_.push_back(std::move(task)); // the last is run first
  }

  const std::vector<RawBlock>& blocks_;
  std::vector<Task> tasks_;
  std::vector<uint32_t> subset_, number_, low_;
  std::vector<bool> on_stack_;
  std::vector<uint32_t> component_;
  uint32_t generation_ = 0, subsets_ = 0;
};

/// Cooper, Harvey, Kennedy, "A simple, fast dominance algorithm", 2001. `order`: reverse post-order, the root first.
template <typename Predecessors>
std::vector<uint32_t> dominators(const std::vector<uint32_t>& order, size_t nodes, Predecessors predecessors) {
  std::vector<uint32_t> place(nodes, none), dominator(nodes, none);
  for (uint32_t i = 0; i < order.size(); ++i) place[order[i]] = i;
  dominator[order[0]] = order[0];
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t i = 1; i < order.size(); ++i) {
      uint32_t node = order[i], best = none;
      predecessors(node, [&](uint32_t p) {
        if (place[p] == none || dominator[p] == none) return;
        if (best == none) {
          best = p;
          return;
        }
        uint32_t a = p, b = best;
        while (a != b) {
          while (place[a] > place[b]) a = dominator[a];
          while (place[b] > place[a]) b = dominator[b];
        }
        best = a;
      });
      if (best != none && dominator[node] != best) dominator[node] = best, changed = true;
    }
  }
  return dominator;
}

void find_dominators(Cfg& cfg) {
  if (cfg.blocks.empty()) return;
  std::vector<uint32_t> order(cfg.blocks.size());
  for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  auto dominator = dominators(order, order.size(), [&](uint32_t b, auto visit) {
    for (uint32_t p : cfg.blocks[b].predecessors) visit(p);
  });
  for (uint32_t b = 1; b < order.size(); ++b) cfg.blocks[b].dominator = dominator[b];
}

void find_post_dominators(Cfg& cfg) {
  uint32_t exit = cfg.exit();
  std::vector<std::vector<uint32_t>> before(exit + 1); // edges turned round
  for (uint32_t b = 0; b < exit; ++b)
    for (uint32_t to : cfg.blocks[b].successors) before[to].push_back(b);
  std::vector<std::vector<uint32_t>> after(exit); // with the edges that let endless loops end
  for (uint32_t b = 0; b < exit; ++b) after[b] = cfg.blocks[b].successors;

  std::vector<bool> seen(exit + 1);
  std::vector<uint32_t> work{exit};
  seen[exit] = true;
  auto flood = [&] {
    while (!work.empty()) {
      uint32_t b = work.back();
      work.pop_back();
      for (uint32_t p : before[b])
        if (!seen[p]) seen[p] = true, work.push_back(p);
    }
  };
  flood();
  for (uint32_t b = exit; b-- > 0;)
    if (!seen[b]) {
      before[exit].push_back(b);
      after[b].push_back(exit);
      seen[b] = true;
      work.push_back(b);
      flood();
    }

  // Post-order over the turned edges.
  std::vector<uint32_t> order;
  std::vector<std::pair<uint32_t, size_t>> stack{{exit, 0}};
  std::fill(seen.begin(), seen.end(), false);
  seen[exit] = true;
  while (!stack.empty()) {
    auto& [b, next] = stack.back();
    if (next < before[b].size()) {
      uint32_t p = before[b][next++];
      if (!seen[p]) seen[p] = true, stack.emplace_back(p, 0);
    } else {
      order.push_back(b);
      stack.pop_back();
    }
  }
  std::reverse(order.begin(), order.end());
  auto dominator = dominators(order, exit + 1, [&](uint32_t b, auto visit) {
    if (b == exit) return;
    for (uint32_t s : after[b]) visit(s);
  });
  for (uint32_t b = 0; b < exit; ++b) cfg.blocks[b].post_dominator = dominator[b];
}

void find_leaving(const Function& f, Cfg& cfg) {
  cfg.leaves.assign(cfg.blocks.size(), false);
  for (uint32_t b = cfg.exit(); b-- > 0;) {
    const Block& block = cfg.blocks[b];
    bool leaves = true;
    for (uint32_t i = block.begin; i < block.end; ++i) {
      const Instruction& x = f.body[i];
      leaves = leaves && x.guard == none && (x.form == Form::ret || x.form == Form::exit || x.form == Form::bra);
    }
    for (uint32_t s : block.successors) leaves = leaves && (s == cfg.exit() || (s > b && cfg.leaves[s]));
    cfg.leaves[b] = leaves;
  }
}

} // namespace

Cfg build_cfg(const Module& module, const Function& f) {
  Cfg cfg;
  std::vector<RawBlock> raw = find_blocks(module, f);
  WeakOrder weak(raw);
  weak.run();
  auto count = static_cast<uint32_t>(weak.order.size());
  std::vector<uint32_t> renumber(raw.size() + 1, none);
  renumber[raw.size()] = count;
  for (uint32_t i = 0; i < count; ++i) renumber[weak.order[i]] = i;

  cfg.blocks.resize(count);
  cfg.block_of.assign(f.body.size(), none);
  for (uint32_t b = 0; b < count; ++b) {
    const RawBlock& from = raw[weak.order[b]];
    cfg.blocks[b].begin = from.begin;
    cfg.blocks[b].end = from.end;
    for (uint32_t to : from.successors) cfg.blocks[b].successors.push_back(renumber[to]);
    for (uint32_t i = from.begin; i < from.end; ++i) cfg.block_of[i] = b;
  }
  for (uint32_t b = 0; b < count; ++b)
    for (uint32_t to : cfg.blocks[b].successors)
      if (to < count) cfg.blocks[to].predecessors.push_back(b);
  for (const Label& label : f.labels)
    cfg.block_of_label.push_back(label.position == f.body.size() ? count : cfg.block_of[label.position]);
  for (const auto& loop : weak.loops) {
    auto index = static_cast<uint32_t>(cfg.loops.size());
    cfg.loops.push_back({loop.begin, loop.end, loop.parent, loop.depth});
    for (uint32_t b = loop.begin; b < loop.end; ++b) cfg.blocks[b].loop = index; // inner loops come later
  }
  find_dominators(cfg);
  find_post_dominators(cfg);
  find_leaving(f, cfg);
  return cfg;
}

} // namespace tilejit::runtime::simulator
