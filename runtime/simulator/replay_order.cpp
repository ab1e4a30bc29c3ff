// replay_order.cpp - see replay_order.h.
#include "runtime/simulator/replay_order.h"

#include <algorithm>
#include <numeric>

namespace tilejit::runtime::simulator {
namespace {

using Kind = ReplayOp::Kind;
constexpr uint32_t window = 48; ///< instructions that one may overtake, assumed

const Instruction& instruction(const Program& p, uint32_t counter) {
  const StaticCounters& s = p.counters[counter];
  return p.module->functions[s.function].body[s.instruction];
}

/// Nothing moves over it.
bool stays(const Instruction& i, const ReplayOp& op) {
  switch (op.kind) {
  case Kind::plain:
  case Kind::access:
  case Kind::copy:
  case Kind::copy_commit: break;
  default: return true;
  }
  const InstructionClass c = class_of(i);
  return c == InstructionClass::branch || c == InstructionClass::barrier || c == InstructionClass::fence ||
         c == InstructionClass::other || i.text.starts_with("wgmma");
}

/// Bits: shared memory, all other.
struct Touches {
  uint32_t reads = 0, writes = 0;
};
Touches touches(const Instruction& i, const ReplayOp& op) {
  if (op.kind == Kind::copy || op.kind == Kind::copy_commit) return {3, 3};
  if (op.kind != Kind::access) return {};
  const bool shared = i.space() == Space::shared || i.form == Form::ldmatrix || i.form == Form::stmatrix;
  const uint32_t which = shared ? 1 : i.space() == Space::generic ? 3 : 2;
  const InstructionClass c = class_of(i);
  const bool loads = c == InstructionClass::load || i.form == Form::ldmatrix || i.form == Form::wmma_load;
  const bool ordered = i.any_of({Mod::volatile_, Mod::relaxed, Mod::acquire}) != Mod::unknown;
  return {which, loads && !ordered ? 0 : which};
}

double latency_of(const ReplayOp& op, const Touches& t, const Gpu& gpu) {
  if (op.kind != Kind::access) return std::max(op.latency, op.issue);
  return t.reads == 1 ? gpu.latency.shared : gpu.latency.l2;
}

} // namespace

ReplayOrder::ReplayOrder(const Program& p, const ReplayOps& ops, const Gpu& gpu)
    : order_(ops.ops.size()), end_(ops.ops.size()) {
  std::iota(order_.begin(), order_.end(), 0u);
  for (uint32_t first = 0; first < order_.size();) {
    uint32_t last = first;
    while (last < order_.size() && p.counters[last].block == p.counters[first].block) ++last;
    end_[first] = last;
    for (uint32_t begin = first; begin < last;) {
      uint32_t end = begin;
      while (end < last && !stays(instruction(p, end), ops.ops[end])) ++end;
      schedule(p, ops, gpu, begin, end);
      begin = end + 1;
    }
    first = last;
  }
}

/// Of instructions [first, last), over which nothing must not move.
void ReplayOrder::schedule(const Program& p, const ReplayOps& ops, const Gpu& gpu, uint32_t first, uint32_t last) {
  const uint32_t count = last - first;
  if (count < 2) return;
  struct Node {
    std::vector<std::pair<uint32_t, double>> after; ///< nodes that wait for it, and how long from its issue
    uint32_t waits = 0;
    double ready = 0, height = 0;
  };
  std::vector<Node> nodes(count);
  auto edge = [&](uint32_t from, uint32_t to, double delay) {
    if (from == to) return;
    nodes[from].after.emplace_back(to, delay);
    ++nodes[to].waits;
  };
  struct Register {
    uint32_t writer = none;
    std::vector<uint32_t> readers; ///< since then
  };
  std::vector<Register> registers(ops.registers);
  std::array<uint32_t, 2> writer{none, none};
  std::array<std::vector<uint32_t>, 2> readers;
  for (uint32_t n = 0; n < count; ++n) {
    const ReplayOp& op = ops.ops[first + n];
    auto latency = [&](uint32_t m) {
      const ReplayOp& from = ops.ops[first + m];
      return latency_of(from, touches(instruction(p, first + m), from), gpu);
    };
    for (uint32_t r : op.reads) {
      if (registers[r].writer != none) edge(registers[r].writer, n, latency(registers[r].writer));
      registers[r].readers.push_back(n);
    }
    for (uint32_t r : op.writes) {
      if (registers[r].writer != none) edge(registers[r].writer, n, 1);
      for (uint32_t reader : registers[r].readers) edge(reader, n, 0);
      registers[r] = {n, {}};
    }
    const Touches t = touches(instruction(p, first + n), op);
    for (uint32_t bit = 0; bit < 2; ++bit) {
      if ((t.reads | t.writes) >> bit & 1 && writer[bit] != none) edge(writer[bit], n, 1);
      if (t.writes >> bit & 1) {
        for (uint32_t reader : readers[bit]) edge(reader, n, 0);
        writer[bit] = n, readers[bit].clear();
      } else if (t.reads >> bit & 1)
        readers[bit].push_back(n);
    }
  }
  for (uint32_t n = count; n-- > 0;)
    for (auto [to, delay] : nodes[n].after) nodes[n].height = std::max(nodes[n].height, nodes[to].height + delay);

  std::vector<bool> done(count);
  uint32_t oldest = 0;
  double now = 0;
  for (uint32_t place = 0; place < count; ++place) {
    while (done[oldest]) ++oldest;
    // What can issue now, and of that what most hangs on; else what can issue first.
    uint32_t best = none;
    double best_time = 0;
    for (uint32_t n = oldest; n < std::min(count, oldest + window); ++n) {
      if (done[n] || nodes[n].waits > 0) continue;
      const double time = std::max(now, nodes[n].ready);
      if (best == none || time < best_time || (time == best_time && nodes[n].height > nodes[best].height))
        best = n, best_time = time;
    }
    order_[first + place] = first + best;
    done[best] = true;
    now = best_time + ops.ops[first + best].issue;
    for (auto [to, delay] : nodes[best].after) {
      --nodes[to].waits;
      nodes[to].ready = std::max(nodes[to].ready, best_time + delay);
    }
  }
}

WarpTrace ReplayOrder::apply(const WarpTrace& from) const {
  WarpTrace to;
  to.words.reserve(from.words.size());
  to.details.reserve(from.details.size());
  struct Executed {
    uint32_t instruction = 0;
    size_t detail = 0, count = 0;
  };
  std::vector<Executed> block;
  size_t detail = 0;
  auto put = [&](const Executed& e) {
    to.words.push_back(e.instruction);
    to.words.insert(to.words.end(), e.count, WarpTrace::detail);
    to.details.insert(to.details.end(), from.details.begin() + static_cast<std::ptrdiff_t>(e.detail),
                      from.details.begin() + static_cast<std::ptrdiff_t>(e.detail + e.count));
  };
  // A block whose execution is broken into, by other lanes or by the end of the trace, stays as it is.
  auto flush = [&] {
    const bool whole = !block.empty() && end_[block[0].instruction] == block[0].instruction + block.size();
    for (size_t n = 0; n < block.size(); ++n)
      put(whole ? block[order_[block[0].instruction + n] - block[0].instruction] : block[n]);
    block.clear();
  };
  for (size_t at = 0; at < from.words.size();) {
    Executed e{from.words[at++], detail, 0};
    for (; at < from.words.size() && from.words[at] == WarpTrace::detail; ++at) ++e.count;
    detail += e.count;
    if (!block.empty() && (e.instruction != block.back().instruction + 1 || end_[e.instruction] != 0)) flush();
    block.push_back(e);
  }
  flush();
  return to;
}

ClusterTrace ReplayOrder::apply(const ClusterTrace& from) const {
  ClusterTrace to(from.size());
  for (size_t b = 0; b < from.size(); ++b) {
    to[b].instructions = from[b].instructions;
    for (const WarpTrace& w : from[b].warps) to[b].warps.push_back(apply(w));
  }
  return to;
}

} // namespace tilejit::runtime::simulator
