// block.h - one block of threads: its warps, barriers and shared memory. Its cluster (cluster.h) gives the warps their
// turns.
#pragma once
#include "runtime/simulator/async.h"
#include "runtime/simulator/calls.h"
#include "runtime/simulator/control.h"
#include "runtime/simulator/counters.h"
#include "runtime/simulator/findings.h"
#include "runtime/simulator/memory.h"
#include "runtime/simulator/recording.h"
#include "runtime/simulator/sanitize.h"
#include "runtime/simulator/wgmma.h"

#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace tilejit::runtime::simulator {

/// cp.async of a warp that have not been waited for: they happen when a wait covers them, and not before.
struct AsyncQueue {
  std::vector<AsyncCopy> copies;
  std::array<uint32_t, 32> groups{};        ///< by lane: commits so far
  uint32_t issued = 0, observed = 0;        ///< for the sanitizer
  std::array<uint32_t, 32> bulk_groups{};   ///< by lane: commits of bulk copies so far
  std::array<uint32_t, 32> cluster_phase{}; ///< by lane: phase of barrier.cluster it has arrived in, plus one
};

struct Barrier {
  uint32_t threads = 0;  ///< that have arrived
  uint32_t rounded = 0;  ///< the same with whole warps counted as 32, for barriers with a count
  uint32_t expected = 0; ///< 0: all threads that live
  uint32_t popc = 0;     ///< bar.red: predicates that hold, of `votes`
  uint32_t votes = 0;
};

/// Shared memory that the system keeps for itself and for libraries (cooperative groups), of each block.
inline constexpr uint64_t reserved_shared_bytes = 1024;

/// What all blocks of a launch share.
struct LaunchState {
  const Program* program = nullptr;
  GlobalMemory* memory = nullptr;
  GlobalHistory* global = nullptr; ///< with the sanitizer only
  Recording* recording = nullptr;  ///< for the time estimate only
  std::array<uint32_t, 3> grid{1, 1, 1}, block{1, 1, 1};
  std::vector<uint8_t> params;
  uint64_t dynamic_shared = 0;              ///< bytes of a block
  uint64_t shared_bytes = 0;                ///< all that a block may touch
  std::array<uint32_t, 3> cluster{1, 1, 1}; ///< in blocks
  bool explicit_cluster = false;
  std::optional<uint64_t> seed;             ///< of a random order
  std::atomic<uint32_t>* running = nullptr; ///< host threads that run clusters
  DeviceHeap* heap = nullptr;               ///< for malloc, where the program has it
  uint64_t workspace = 0;                   ///< address of cooperative groups' words for a barrier of the grid
  uint32_t multiprocessors = 1;

  uint64_t program_shared() const { return program->static_shared + dynamic_shared; }
  /// Where the part begins that the system reserves, for programs that ask for it: behind their own.
  uint64_t reserved_shared() const {
    return (program_shared() + reserved_shared_bytes - 1) & ~(reserved_shared_bytes - 1);
  }
};

/// What a warp did with its turn; the later the more.
enum class Turn : uint8_t { idle, polled, moved };

struct BlockState {
  const LaunchState* launch = nullptr;
  ClusterState* cluster = nullptr;
  uint32_t rank = 0; ///< in the cluster
  std::array<uint32_t, 3> index{}, in_cluster{};
  uint64_t order = 0; ///< among the blocks of the launch: cluster by cluster
  uint32_t threads = 0, live_threads = 0;
  bool has_begun = false; ///< some warp has had a turn
  std::vector<Warp> warps;
  std::vector<AsyncQueue> queues;
  std::vector<CallStack> calls;
  std::string output; ///< of this block's vprintf
  std::array<Barrier, 16> barriers{};
  std::vector<Mbarrier> mbarriers;
  std::vector<ProductQueue> products; ///< by warpgroup

  /// Memory that the blocks of one host thread use one after another.
  std::unique_ptr<uint8_t[], void (*)(void*)> files{nullptr, nullptr}, shared{nullptr, nullptr},
      local{nullptr, nullptr};
  std::vector<uint64_t> block_counts; ///< by basic block, over all blocks of threads

  FindingLog found;                     ///< likewise
  std::vector<uint64_t> block_lanes;    ///< likewise by basic block: lanes; with counters only
  std::vector<AccessCounters> counters; ///< by Program::counters; empty without counters
  std::optional<Sanitizer> sanitizer;

  /// Prepares for the blocks of a launch.
  explicit BlockState(const LaunchState& launch);
  BlockState(const BlockState&) = delete;
  void begin(); ///< `index`, `in_cluster` and `order` are set
  Turn run_warp(Warp& w, uint32_t fuel);
  void end(); ///< all threads have ended

private:
  uint64_t work_before_ = 0; ///< for the time estimate: of the blocks before this one
  void fill_specials(Warp& w);
};

} // namespace tilejit::runtime::simulator
