// recording.h - what the time estimate (estimate.h) is told of a launch that has run.
//
// A trace of a block is, warp by warp, its PTX instructions in the order in which they were executed, and with each
// what only the execution knows: wavefronts and sectors of its accesses, what its copies move, which phase of which
// barrier it arrives in or waits for. Blocks are alike in most kernels, so a few clusters of a launch are traced,
// spread over the grid. Of the others only the amount of work is kept, and which sectors of global memory they touched,
// in order: of a sample of all sectors, the same for all clusters, where those are many.
#pragma once
#include "runtime/simulator/observe.h"

#include <array>
#include <memory>
#include <vector>

namespace tilejit::runtime::simulator {

struct BlockTrace;

/// Something that depends on the execution; an instruction may have several.
struct TraceDetail {
  enum class Role : uint8_t { access, arrival, wait };
  Role role = Role::access;
  uint32_t wavefronts = 0; ///< of shared memory
  uint32_t lines = 0;      ///< of 128 bytes of global or local memory: what L1 looks up
  uint32_t sectors = 0;    ///< of 32 bytes between L1 and L2
  uint32_t rank = 0;       ///< whose shared memory it is, in the cluster
  uint32_t object = ~0u;   ///< of an arrival or a wait: which barrier
  uint32_t phase = 0;      ///< that the arrival counts in; or how many phases must be complete
};

/// Numbers of barriers in a cluster: mbarriers by address, those of bar.sync, that of the cluster.
inline uint32_t mbarrier_object(uint32_t rank, uint32_t address) { return rank << 20 | address; }
inline uint32_t barrier_object(uint32_t rank, uint32_t id) { return rank << 20 | 1u << 19 | id; }
inline constexpr uint32_t cluster_barrier_object = ~0u - 1;

struct WarpTrace {
  static constexpr uint32_t detail = ~0u;
  BlockTrace* block = nullptr;
  std::vector<uint32_t> words; ///< Program::counters, each followed by `detail` for each of its details
  std::vector<TraceDetail> details;
  bool recording = true;

  void begin(uint32_t instruction);
  void add(const TraceDetail& d);
  /// An access that L1 may serve.
  void add_cached(const Access& a, uint32_t bytes, uint32_t sectors, bool bypasses);
};

struct BlockTrace {
  static constexpr uint64_t most = 1 << 20; ///< instructions; a trace of more is broken off
  std::vector<WarpTrace> warps;
  uint64_t instructions = 0;
  std::array<uint32_t, 16> phases{}; ///< of the barriers of bar.sync, completed
  std::vector<uint32_t> cached;      ///< sectors in L1, while the block runs

  void end() { cached = {}; }
};

using ClusterTrace = std::vector<BlockTrace>; ///< by rank

/// How much an execution by a warp counts: products by their size, anything else as one instruction.
inline uint64_t work_of(const StaticCounters& c) { return 1 + c.operations / 1024; }

struct Recording {
  std::shared_ptr<const Program> program;
  std::array<uint32_t, 3> grid{}, block{}, cluster{};
  uint64_t shared_bytes = 0;  ///< of a block
  std::vector<uint64_t> work; ///< by cluster: warp-instructions, products counted by their size
  std::vector<std::pair<uint64_t, ClusterTrace>> traces; ///< by number of the cluster, ascending
  struct Touches {
    std::vector<uint64_t> sectors; ///< 2 x address / 32, + 1 where it was written
    uint32_t level = 0;            ///< one sector in 2^level is in the sample
  };
  std::vector<Touches> touches; ///< by cluster
  uint32_t level = 0;           ///< after end(), of all clusters

  Recording(std::shared_ptr<const Program> program, const std::array<uint32_t, 3>& grid,
            const std::array<uint32_t, 3>& block, const std::array<uint32_t, 3>& cluster);
  /// Called as a block begins, by the thread that runs it: what that touches from then on counts for its cluster.
  WarpTrace* trace_of(uint64_t block, uint32_t warp);
  void touch(const Access& a, uint32_t bytes, bool writes);
  void touch(uint64_t address, uint64_t bytes, bool writes);
  /// Of executions by basic block.
  uint64_t work_of(const std::vector<uint64_t>& executions) const;
  void add_work(uint64_t block, uint64_t amount) { work[block / blocks_] += amount; }
  void end(); ///< of the launch

private:
  size_t most_touches_ = 0;       ///< of a cluster
  std::vector<uint64_t> weights_; ///< by basic block: what an execution by a warp counts in `work`
  uint64_t blocks_ = 1;
};

} // namespace tilejit::runtime::simulator
