// cluster.h - blocks that run together: one host thread runs a cluster, all of its warps in turn, to its end.
//
// Warps run until they wait, in a fixed order, or with a seed in a random one. When nobody can go on, the oldest token
// that somebody waits for completes; where there is none, that is a deadlock and reported with what everybody waits
// for. Threads that poll can always go on: when all that run only poll, tokens complete too, and when nothing changes
// any more, that is a deadlock as well.
#pragma once
#include "runtime/simulator/async.h"
#include "runtime/simulator/block.h"

#include <deque>

namespace tilejit::runtime::simulator {

/// Reproducible numbers: splitmix64.
class RandomOrder {
public:
  explicit RandomOrder(uint64_t seed = 0) : state_(seed) {}
  uint64_t operator()() {
    uint64_t x = state_ += 0x9e3779b97f4a7c15;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
  }
  uint64_t below(uint64_t n) { return (*this)() % n; }

private:
  uint64_t state_;
};

struct ClusterState {
  const LaunchState* launch = nullptr;
  std::vector<std::unique_ptr<BlockState>> blocks; ///< by rank
  std::deque<Token> tokens;                        ///< in the order of their issue
  uint32_t phase = 0, arrived = 0;                 ///< of barrier.cluster: completed phases, arrivals in this one
  RandomOrder random;

  explicit ClusterState(const LaunchState& launch);
  ClusterState(const ClusterState&) = delete;
  /// Runs a cluster of blocks to its end.
  void run(uint64_t linear_index);
  /// Completes the tokens for which `ready` holds, oldest first.
  template <class Ready>
  void complete_where(Ready ready) {
    for (size_t i = 0; i < tokens.size();)
      if (ready(tokens[i]))
        complete(i);
      else
        ++i;
  }
  /// barrier.cluster is complete if all that live have arrived.
  void complete_barrier();

private:
  bool complete_awaited();
  void complete(size_t token);
  bool complete_at_random(); ///< true: some token has completed
  bool is_awaited(const Token& token) const;
  uint64_t state_hash() const;
  bool repeats();
  [[noreturn]] void report_deadlock(bool polls);

  struct Turns {
    BlockState* block = nullptr;
    Warp* warp = nullptr;
  };
  std::vector<Turns> turns_;
  uint64_t round_ = 0, window_hash_ = 0;
};

} // namespace tilejit::runtime::simulator
