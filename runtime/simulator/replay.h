// replay.h - one multiprocessor (or as many as a cluster has blocks) works through the blocks that it gets.
//
// Event by event: of all warps that run, the one that can issue first does. It can when its operands are there, its
// scheduler (one of four) and the unit that it needs are free. Units are reserved for the cycles that they work; a
// result comes a latency later. Accesses to global memory also take their share of what L2 and memory deliver.
// Barriers, and mbarriers by their phases, hold warps until all that arrived in the recording have arrived here;
// copies and products end when the last of what they need has come.
#pragma once
#include "runtime/simulator/recording.h"
#include "runtime/simulator/replay_ops.h"

#include <map>
#include <memory>

namespace tilejit::runtime::simulator {

/// What of the GPU the multiprocessors of the replay have for themselves.
struct ReplayShare {
  double l2 = 0, memory = 0; ///< bytes a cycle, each
  double beyond_l2 = 0;      ///< share of the bytes through L2 that memory delivers or takes
};

struct ReplayResult {
  double cycles = 0;
  std::array<double, static_cast<size_t>(Resource::count)> busy{}; ///< share of the time
  std::vector<InstructionEstimate> instructions;                   ///< by Program::counters
};

class Replay {
public:
  Replay(const ReplayOps& ops, const Gpu& gpu, const ReplayShare& share, uint32_t cluster_blocks);
  ~Replay();
  /// Works through the clusters in this order, `resident` of them at a time.
  ReplayResult run(const std::vector<const ClusterTrace*>& clusters, uint32_t resident);

private:
  struct Multiprocessor;
  struct Instance;
  struct Warp;
  struct Products;
  struct Phase;

  void begin(const ClusterTrace& trace, uint32_t slot, double at);
  void prepare(Warp& w);
  void finish(Warp& w);
  double gate(const Warp& w) const;
  void issue(Warp& w, double at);
  double compute(Warp& w, double at);
  void copy_in_bulk(Warp& w, double at);
  void start_product(Warp& w, double at);
  double synchronize(Warp& w, double at, double arrives);
  void access(Warp& w, double at, double& ready, double& arrived);
  double transfer(Multiprocessor& m, double at, uint32_t sectors, double port);
  void arrive(Warp& w, const TraceDetail& d, double at);
  void wake(std::vector<Warp*>& waiting);
  void multiply(Products& p);
  void release_first_blocked();

  const ReplayOps& ops_;
  const Gpu& gpu_;
  ReplayShare share_;
  double load_latency_;                                          ///< beyond L1
  std::vector<std::unique_ptr<Multiprocessor>> multiprocessors_; ///< by rank in the cluster
  std::vector<std::unique_ptr<Instance>> instances_;
  std::vector<Warp*> running_;
  std::vector<const ClusterTrace*> waiting_; ///< clusters, the next one last
  double end_ = 0;
  ReplayResult result_;
};

} // namespace tilejit::runtime::simulator
