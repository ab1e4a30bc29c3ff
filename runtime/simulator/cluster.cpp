// cluster.cpp - see cluster.h: the scheduler, completion of tokens, deadlocks.
#include "runtime/simulator/cluster.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstring>
#include <thread>
#include <xmmintrin.h>

namespace tilejit::runtime::simulator {

ClusterState::ClusterState(const LaunchState& l) : launch(&l) {
  uint32_t count = l.cluster[0] * l.cluster[1] * l.cluster[2];
  for (uint32_t rank = 0; rank < count; ++rank) {
    blocks.push_back(std::make_unique<BlockState>(l));
    blocks.back()->cluster = this;
    blocks.back()->rank = rank;
    for (Warp& w : blocks.back()->warps) turns_.push_back({blocks.back().get(), &w});
  }
}

// --- tokens ----------------------------------------------------------------------------------------------------------

void ClusterState::complete(size_t i) {
  Token token = std::move(tokens[i]);
  tokens.erase(tokens.begin() + static_cast<std::ptrdiff_t>(i));
  timeouts_ = 0;
  on_complete(token);
}

bool ClusterState::is_awaited(const Token& token) const {
  if (token.barrier == none) return false;
  for (uint32_t m = token.blocks; m; m &= m - 1)
    for (const Warp& w : blocks[static_cast<size_t>(std::countr_zero(m))]->warps)
      for (uint32_t i = 0; i < w.split_count; ++i)
        if (w.splits[i].wait == Wait::mbarrier && w.splits[i].id == token.barrier) return true;
  return false;
}
bool ClusterState::complete_awaited() {
  for (size_t i = 0; i < tokens.size(); ++i)
    if (is_awaited(tokens[i])) {
      complete(i);
      return true;
    }
  return false;
}
/// All stand still: the time limits of mbarrier.try_wait run out, and it gives false. Threads that then do nothing but
/// try again get a few turns: nothing will come.
bool ClusterState::time_out() {
  constexpr uint32_t patience = 100;
  if (++timeouts_ > patience) return false;
  bool any = false;
  for (auto& b : blocks)
    for (Warp& w : b->warps)
      for (uint32_t i = 0; i < w.split_count; ++i) {
        Split& s = w.splits[i];
        if (s.wait != Wait::mbarrier) continue;
        if (s.pc->a) *reinterpret_cast<uint32_t*>(file_at(&w, s.depth) + s.pc->a) &= ~s.mask;
        s.pc = after(s.pc);
        s.wait = Wait::nothing;
        any = true;
      }
  return any;
}
bool ClusterState::complete_at_random() {
  bool any = false;
  for (; !tokens.empty() && random.below(2); any = true) complete(random.below(tokens.size()));
  for (auto& b : blocks) complete_products_at_random(*b, random);
  return any;
}

void ClusterState::complete_barrier() {
  uint32_t live = 0;
  for (auto& b : blocks) live += b->live_threads;
  if (arrived < live || arrived == 0) return;
  ++phase;
  arrived = 0;
  completed_arrivals = arrivals;
  for (auto& b : blocks)
    for (Warp& w : b->warps)
      for (uint32_t i = 0; i < w.split_count; ++i)
        if (w.splits[i].wait == Wait::cluster) w.splits[i].wait = Wait::nothing;
}

// --- the scheduler ---------------------------------------------------------------------------------------------------

void ClusterState::begin(uint64_t linear_index) {
  if (launch->seed) random = RandomOrder(*launch->seed * 0x2545f4914f6cdd1d + linear_index);
  tokens.clear();
  unawaited.clear();
  issued = 0;
  phase = arrived = timeouts_ = 0;
  arrivals.clear();
  completed_arrivals.clear();
  agents.begin(static_cast<uint32_t>(blocks.size()), static_cast<uint32_t>(blocks[0]->warps.size()));
  touches = {};
  if (launch->global && launch->global->grid()) launch->global->grid()->set_cluster(linear_index, agents, touches);
  const auto &grid = launch->grid, &shape = launch->cluster;
  std::array<uint32_t, 3> count{grid[0] / shape[0], grid[1] / shape[1], grid[2] / shape[2]},
      at{static_cast<uint32_t>(linear_index % count[0]), static_cast<uint32_t>(linear_index / count[0] % count[1]),
         static_cast<uint32_t>(linear_index / count[0] / count[1])};
  for (auto& b : blocks) {
    uint32_t r = b->rank;
    b->in_cluster = {r % shape[0], r / shape[0] % shape[1], r / shape[0] / shape[1]};
    b->index = {at[0] * shape[0] + b->in_cluster[0], at[1] * shape[1] + b->in_cluster[1],
                at[2] * shape[2] + b->in_cluster[2]};
    b->order = linear_index * blocks.size() + r;
    b->begin();
  }
  order_ = turns_;
}

Round ClusterState::round(uint32_t fuel) {
  const bool shuffles = launch->seed.has_value();
  if (shuffles)
    for (size_t n = order_.size(); n > 1; --n) std::swap(order_[n - 1], order_[random.below(n)]);
  Turn best = Turn::idle;
  bool live = false;
  for (const Turns& t : order_) {
    if (!t.warp->live) continue;
    live = true;
    best = std::max(best, t.block->run_warp(*t.warp, shuffles ? 2 + static_cast<uint32_t>(random.below(16)) : fuel));
    if (shuffles && complete_at_random()) best = Turn::moved;
  }
  if (!live) return Round::ended;
  if (best == Turn::idle) {
    if (!complete_awaited() && !time_out()) report_deadlock(false);
    return Round::moved;
  }
  if (best == Turn::polled && complete_oldest()) return Round::moved;
  return best == Turn::moved ? Round::moved : Round::polled;
}

void ClusterState::end() {
  report_leftovers(*this);
  while (complete_oldest()) {
  }
  for (auto& b : blocks) b->end();
  if (!launch->global) return;
  touches.agents = std::move(agents);
  launch->global->finish(blocks[0]->order / blocks.size(), std::move(touches));
}

bool ClusterState::complete_oldest() {
  if (tokens.empty()) return false;
  complete(0);
  return true;
}

void ClusterState::run(uint64_t linear_index) {
  begin(linear_index);
  Circle circle;
  uint64_t moved = 0;
  for (Round last; (last = round(1024)) != Round::ended;) {
    if (last == Round::moved && ++moved % 64 != 0) continue; // a program that goes in circles polls, nearly always
    if (!circle.closes([&] { return state_hash(); }) || complete_oldest()) continue;
    // Another cluster may still change global memory: only if they all run in circles nothing will.
    if (launch->running->load() > 1 && circle.rounds() <= uint64_t{1} << 14)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    else
      report_deadlock(true);
  }
  end();
}

uint64_t ClusterState::state_hash() const {
  uint64_t h[4]{tokens.size(), 1, 2, 3}; // chains that the machine runs side by side
  auto add = [&](const void* data, size_t bytes) {
    const auto* at = static_cast<const uint8_t*>(data);
    for (size_t i = 0; i < bytes; i += sizeof h) {
      uint64_t x[4]{};
      std::memcpy(x, at + i, std::min(bytes - i, sizeof x));
      for (int k = 0; k < 4; ++k) {
        h[k] = (h[k] ^ x[k]) * 0x9e3779b97f4a7c15;
        h[k] ^= h[k] >> 29;
      }
    }
  };
  for (const auto& b : blocks) {
    add(b->files.get(), b->warps.size() * launch->program->file_bytes);
    add(b->shared.get(), launch->shared_bytes);
    for (const Warp& w : b->warps)
      for (uint32_t i = 0; i < w.split_count; ++i) {
        uint64_t place[2]{reinterpret_cast<uint64_t>(w.splits[i].pc),
                          uint64_t{w.splits[i].mask} << 8 | static_cast<uint64_t>(w.splits[i].wait)};
        add(place, sizeof place);
      }
    for (const Mbarrier& m : b->mbarriers) add(&m, sizeof m);
  }
  return ((h[0] * 31 + h[1]) * 31 + h[2]) * 31 + h[3];
}
// --- deadlocks -------------------------------------------------------------------------------------------------------

namespace {
std::string lanes_text(uint32_t mask) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%08x", mask);
  return text;
}
} // namespace

std::string ClusterState::what_it_does(BlockState& b, const Warp& w, const Split& s) const {
  switch (s.wait) {
  case Wait::nothing: return "polls";
  case Wait::barrier: {
    const Barrier& barrier = b.barriers[s.id];
    return "waits for barrier " + std::to_string(s.id) + ", where " +
           std::to_string(barrier.expected ? barrier.rounded : barrier.threads) + " of " +
           std::to_string(barrier.expected ? barrier.expected : b.live_threads) + " threads have arrived";
  }
  case Wait::mbarrier: {
    const Mbarrier* barrier = find_mbarrier(b, s.id);
    return "waits for the mbarrier at shared address " + std::to_string(s.id) + ": " +
           (barrier ? describe(*barrier) : "it has been invalidated");
  }
  case Wait::cluster:
    return "waits for the cluster's barrier, where " + std::to_string(arrived) + " threads have arrived";
  case Wait::warpgroup: return "waits for the other warps of its warpgroup to issue the same wgmma";
  case Wait::lanes:
    return "waits for lanes " + lanes_text(s.need & w.live & ~s.mask) + " of its warp to come to the same instruction";
  case Wait::rejoin: break;
  }
  return "waits for the other lanes of its warp";
}

void ClusterState::report_deadlock(bool polls, const std::string& note) {
  std::string text;
  const BlockState* first = nullptr;
  Finding finding{.kind = FindingKind::deadlock};
  const Program& p = *launch->program;
  const ControlHandlers& c = control_handlers();
  size_t shown = 0;
  for (const auto& b : blocks)
    for (const Warp& w : b->warps)
      for (uint32_t i = 0; i < w.split_count; ++i) {
        const Split& s = w.splits[i];
        if (++shown > 8) continue;
        const Meta& meta = p.meta[static_cast<size_t>(s.pc - p.code.data()) - (s.wait == Wait::barrier ? 2 : 0)];
        uint32_t line = meta.line;
        bool divergent =
            s.wait == Wait::lanes && (s.pc->fn == c.bar_sync || s.pc->fn == c.bar_arrive || s.pc->fn == c.bar_red);
        if (divergent && !polls) finding.kind = FindingKind::barrier;
        if (shown == 1) {
          first = b.get();
          finding.ptx_line = line;
          finding.source = p.module->describe(meta.location);
          finding.thread = thread_of(w, static_cast<uint32_t>(std::countr_zero(s.mask)));
        }
        text += "\n  ";
        if (blocks.size() > 1) text += "block " + tuple(b->index) + ", ";
        text += "warp " + std::to_string(w.index) + ", lanes " + lanes_text(s.mask) + ", line " + std::to_string(line) +
                " '" + std::string(p.module->source_line(line)) + "': ";
        text += what_it_does(*b, w, s);
      }
  if (shown > 8) text += "\n  and " + std::to_string(shown - 8) + " more";
  if (!first) first = blocks[0].get();
  finding.block = first->index;
  finding.message = "kernel '" + p.name + "': deadlock in block " + tuple(first->index) +
                    (polls ? ": threads poll for what never comes" : ": no thread can go on") + text + note;
  throw FindingError(std::move(finding));
}

} // namespace tilejit::runtime::simulator
