// cluster.h - blocks that run together: one host thread gives all warps of a cluster their turns.
//
// Warps run until they wait, in a fixed order, or with a seed in a random one. When nobody can go on, the oldest token
// that somebody waits for completes; where there is none, that is a deadlock and reported with what everybody waits
// for. Threads that poll can always go on: when all that run only poll, tokens complete too, and when nothing changes
// any more, that is a deadlock as well.
#pragma once
#include "runtime/simulator/async.h"
#include "runtime/simulator/block.h"

#include <bit>
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

/// Says when a state comes again within a few rounds, so that nothing can come of going on. It looks ever more seldom.
class Circle {
public:
  /// One more round; `hash` of the state is taken only now and then.
  template <class Hash>
  bool closes(Hash hash) {
    constexpr uint64_t first = 256, window = 16;
    if (++round_ < first) return false;
    uint64_t begin = std::bit_floor(round_);
    if (round_ - begin > window) return false;
    uint64_t now = hash();
    if (round_ == begin) {
      begin_hash_ = now;
      return false;
    }
    return now == begin_hash_;
  }
  uint64_t rounds() const { return round_; }

private:
  uint64_t round_ = 0, begin_hash_ = 0;
};

enum class Round : uint8_t {
  ended, ///< all threads have
  polled,
  moved,
};

struct ClusterState {
  const LaunchState* launch = nullptr;
  std::vector<std::unique_ptr<BlockState>> blocks; ///< by rank
  std::deque<Token> tokens;                        ///< in the order of their issue
  std::vector<Unawaited> unawaited;                ///< of those that have completed
  uint64_t issued = 0;                             ///< tokens
  uint32_t phase = 0, arrived = 0;                 ///< of barrier.cluster: completed phases, arrivals in this one
  Moment arrivals, completed_arrivals;             ///< likewise, for the sanitizer
  Agents agents;                                   ///< likewise
  GlobalTouches touches;                           ///< likewise
  RandomOrder random;

  explicit ClusterState(const LaunchState& launch);
  ClusterState(const ClusterState&) = delete;
  /// Runs a cluster of blocks to its end.
  void run(uint64_t linear_index);
  /// The same in parts: rounds, until one says that all have ended. Each gives every warp a turn of `fuel` back edges
  /// at most.
  void begin(uint64_t linear_index);
  Round round(uint32_t fuel);
  void end();
  /// The oldest token completes; false: there is none.
  bool complete_oldest();
  /// A hash of all that decides what the threads do next, but for global memory.
  uint64_t state_hash() const;
  /// Throws what everybody waits for. `polls`: threads run in circles. `note`: more to say.
  [[noreturn]] void report_deadlock(bool polls, const std::string& note = "");
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
  bool time_out();
  void complete(size_t token);
  bool complete_at_random(); ///< true: some token has completed
  bool is_awaited(const Token& token) const;
  std::string what_it_does(BlockState& block, const Warp& warp, const Split& split) const; ///< "waits for ..."

  struct Turns {
    BlockState* block = nullptr;
    Warp* warp = nullptr;
  };
  std::vector<Turns> turns_, order_; ///< by block and warp; as they are given now
  uint32_t timeouts_ = 0;            ///< since something was completed
};

} // namespace tilejit::runtime::simulator
