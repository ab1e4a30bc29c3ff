#include "runtime/simulator/grid.h"

#include "runtime/simulator/cluster.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <thread>
#include <xmmintrin.h>

namespace tilejit::runtime::simulator {
namespace {

/// Handlers change how the host rounds.
struct RestoreMode {
  unsigned mode = _mm_getcsr();
  ~RestoreMode() { _mm_setcsr(mode); }
};

/// What blocks print, passed on in the order of the blocks.
class PrintedBlocks {
public:
  explicit PrintedBlocks(const std::function<void(std::string_view)>& output) : output_(output) {}
  void put(uint64_t block, std::string text) {
    std::lock_guard lock(mutex_);
    waiting_.emplace(block, std::move(text));
    for (auto first = waiting_.begin(); first != waiting_.end() && first->first == next_; ++next_) {
      if (first->second.empty()) {
      } else if (output_)
        output_(first->second);
      else
        std::fwrite(first->second.data(), 1, first->second.size(), stdout);
      first = waiting_.erase(first);
    }
  }

private:
  const std::function<void(std::string_view)>& output_;
  std::mutex mutex_;
  std::map<uint64_t, std::string> waiting_;
  uint64_t next_ = 0;
};

class Grid {
public:
  Grid(LaunchState& state, const GridHost& host)
      : state_(state), host_(host), size_(uint64_t{state.cluster[0]} * state.cluster[1] * state.cluster[2]),
        clusters_(uint64_t{state.grid[0]} * state.grid[1] * state.grid[2] / size_), printed_(host.output),
        stop_(clusters_) {
    const Program& p = *state.program;
    run_.counts.resize(p.block_instructions.size());
    run_.lanes.resize(run_.counts.size());
    run_.accesses.resize(p.counters.size());
    state.running = &running_;
  }

  GridRun run() {
    const Program& p = *state_.program;
    if (p.communicates && clusters_ > 1)
      in_turns();
    else
      one_by_one(p.ordered_blocks ? 1 : std::min<uint64_t>(host_.threads, clusters_));
    run_.last = stop_;
    return std::move(run_);
  }

private:
  void one_by_one(uint64_t workers) {
    std::vector<std::thread> others;
    for (uint64_t i = 1; i < workers; ++i) others.emplace_back([this] { work(false); });
    work(true);
    for (std::thread& t : others) t.join();
  }

  /// Takes clusters, in their order, until there are no more. The error of the first cluster that has one is kept, so
  /// that it is always the same.
  void work(bool reports) {
    RestoreMode restore;
    uint64_t index = 0;
    std::optional<ClusterState> cluster;
    ++running_;
    try {
      cluster.emplace(state_);
      while ((index = next_.fetch_add(1)) < stop_.load()) {
        cluster->run(index);
        finished(*cluster, reports);
      }
    } catch (...) {
      if (cluster) print(*cluster);
      std::lock_guard lock(mutex_);
      if (index < stop_.load()) {
        stop_ = index;
        run_.error = std::current_exception();
      }
    }
    --running_;
    if (cluster) collect(*cluster);
  }

  void in_turns() {
    constexpr uint32_t fuel = 64; // back edges a turn: short, since most of those who wait do it in a loop
    RestoreMode restore;
    const uint64_t limit = resident_clusters(state_, host_.architecture);
    uint64_t allowed = 1;
    std::vector<std::unique_ptr<ClusterState>> resident, spare;
    RandomOrder random(state_.seed.value_or(0));
    Circle circle;
    running_ = 1;
    try {
      while (next_ < clusters_ || !resident.empty()) {
        while (resident.size() < allowed && next_ < clusters_) {
          if (spare.empty()) spare.push_back(std::make_unique<ClusterState>(state_));
          resident.push_back(std::move(spare.back()));
          spare.pop_back();
          resident.back()->begin(next_++);
        }
        if (state_.seed)
          for (size_t n = resident.size(); n > 1; --n) std::swap(resident[n - 1], resident[random.below(n)]);
        size_t kept = 0;
        for (auto& cluster : resident) {
          Round last = Round::moved;
          for (int i = 0; i < 8 && last == Round::moved; ++i) last = cluster->round(fuel);
          if (last == Round::ended) {
            cluster->end();
            finished(*cluster, true);
            spare.push_back(std::move(cluster));
          } else
            std::swap(resident[kept++], cluster);
        }
        if (kept != resident.size())
          resident.resize(kept);
        else if (allowed < limit && next_ < clusters_)
          allowed = std::min(2 * allowed, limit); // nobody ends: they may wait for those that have not begun
        else if (circle.closes([&] { return hash_of(resident); }))
          break_circle(resident);
      }
    } catch (...) {
      run_.error = std::current_exception();
    }
    for (auto* all : {&resident, &spare})
      for (auto& cluster : *all)
        if (cluster) {
          print(*cluster);
          collect(*cluster);
        }
  }

  static uint64_t hash_of(const std::vector<std::unique_ptr<ClusterState>>& resident) {
    uint64_t h = 0;
    for (const auto& cluster : resident) h = (h ^ cluster->state_hash()) * 0x9e3779b97f4a7c15;
    return h;
  }
  void break_circle(const std::vector<std::unique_ptr<ClusterState>>& resident) {
    for (const auto& cluster : resident)
      if (cluster->complete_oldest()) return;
    std::string note;
    if (next_ < clusters_)
      note = "\n  and " + std::to_string((clusters_ - next_) * size_) + " of " + std::to_string(clusters_ * size_) +
             " blocks have not begun: a GPU holds " + std::to_string(resident.size() * size_) + " of them at once";
    resident.front()->report_deadlock(true, note);
  }

  void print(ClusterState& cluster) {
    for (auto& b : cluster.blocks) printed_.put(b->order, std::exchange(b->output, {}));
  }
  void finished(ClusterState& cluster, bool reports) {
    print(cluster);
    uint64_t done = done_.fetch_add(size_) + size_;
    if (!reports || !host_.progress) return;
    auto now = std::chrono::steady_clock::now();
    if (now - reported_ < std::chrono::milliseconds(50)) return;
    host_.progress(done, clusters_ * size_);
    reported_ = now;
  }
  void collect(ClusterState& cluster) {
    std::lock_guard lock(mutex_);
    for (auto& block : cluster.blocks) {
      for (size_t b = 0; b < run_.counts.size(); ++b) run_.counts[b] += block->block_counts[b];
      for (size_t b = 0; b < block->block_lanes.size(); ++b) run_.lanes[b] += block->block_lanes[b];
      for (size_t i = 0; i < run_.accesses.size() && !block->counters.empty(); ++i)
        run_.accesses[i] += block->counters[i];
      run_.found.merge(std::move(block->found));
    }
  }

  LaunchState& state_;
  const GridHost& host_;
  const uint64_t size_, clusters_; ///< blocks of a cluster, clusters
  PrintedBlocks printed_;
  std::atomic<uint64_t> next_{0}, done_{0}, stop_;
  std::atomic<uint32_t> running_{0};
  std::chrono::steady_clock::time_point reported_ = std::chrono::steady_clock::now(); ///< of the one that reports
  std::mutex mutex_;
  GridRun run_;
};

} // namespace

GridRun run_grid(LaunchState& state, const GridHost& host) { return Grid(state, host).run(); }

const Gpu& gpu_of(uint32_t architecture) { return find_gpu(architecture < 90 ? "a100" : "h100"); }

uint64_t resident_clusters(const LaunchState& state, uint32_t architecture) {
  const Gpu& gpu = gpu_of(architecture);
  const uint64_t threads = (uint64_t{state.block[0]} * state.block[1] * state.block[2] + 31) / 32 * 32,
                 shared = state.program_shared() + gpu.shared_reserved;
  const uint64_t blocks =
      std::max<uint64_t>(std::min<uint64_t>({gpu.blocks, gpu.threads / threads, gpu.shared_bytes / shared}), 1);
  const uint64_t size = uint64_t{state.cluster[0]} * state.cluster[1] * state.cluster[2];
  return std::max<uint64_t>(gpu.multiprocessors * blocks / size, 1);
}

} // namespace tilejit::runtime::simulator
