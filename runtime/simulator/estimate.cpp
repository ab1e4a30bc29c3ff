// estimate.cpp - see estimate.h: occupancy, which blocks a multiprocessor gets, what the replay of them says.
#include "runtime/simulator/estimate.h"

#include "runtime/simulator/replay.h"
#include "runtime/simulator/replay_order.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <queue>

namespace tilejit::runtime {
namespace {

using namespace simulator;

constexpr uint64_t most_replayed = 2'000'000; ///< warp-instructions
constexpr double latency_bound = 0.6; ///< where no resource is used more than this, waiting is what bounds a kernel

/// 90 of "sm_90a".
uint32_t architecture(std::string_view target) {
  uint32_t number = 0;
  for (char c : target)
    if (c >= '0' && c <= '9') number = 10 * number + static_cast<uint32_t>(c - '0');
  return number;
}

struct Residence {
  uint32_t registers = 0, blocks = 0;
  bool given = false;
  std::string limit;
};

Residence residence_of(const Recording& r, const Gpu& gpu, uint32_t given) {
  const Function& f = r.program->module->functions[r.program->entry];
  const uint32_t threads = r.block[0] * r.block[1] * r.block[2], warps = (threads + 31) / 32;
  Residence at;
  at.given = given != 0;
  at.registers = given ? given : estimate_registers(*r.program, r.block);
  // ptxas keeps to what the entry asks for, and spills what does not fit.
  uint32_t most = std::min(255u, gpu.registers / (32 * warps * std::max(1u, f.min_blocks_per_sm)) / 8 * 8);
  if (f.max_registers) most = std::min(most, f.max_registers);
  if (!given) at.registers = std::min(at.registers, most);
  const uint32_t allocated = (at.registers + 7) / 8 * 8; // by warp, in units of 256
  auto limit = [&](uint64_t blocks, const char* what) {
    if (!at.limit.empty() && blocks >= at.blocks) return;
    at.blocks = static_cast<uint32_t>(blocks);
    at.limit = what;
  };
  limit(gpu.blocks, "blocks");
  limit(gpu.threads / (32 * warps), "threads");
  limit(gpu.registers / (32 * warps * std::max(allocated, 8u)), "registers");
  limit(gpu.shared_bytes / (r.shared_bytes + gpu.shared_reserved), "shared memory");
  if (at.blocks == 0)
    throw Error("no block of '" + r.program->name + "' fits a multiprocessor of " + std::string(gpu.title) + ": " +
                at.limit);
  return at;
}

/// Where and when clusters run, if each goes to the first place that is free.
struct Schedule {
  std::vector<uint64_t> begin;   ///< by cluster, in units of work
  std::vector<uint64_t> busiest; ///< the clusters of the multiprocessor that gets most, in their order
};
Schedule schedule_of(const std::vector<uint64_t>& work, uint64_t groups, uint64_t resident) {
  struct Place {
    uint64_t free, group, slot;
    bool operator>(const Place& o) const { return std::tie(free, slot, group) > std::tie(o.free, o.slot, o.group); }
  };
  std::priority_queue<Place, std::vector<Place>, std::greater<>> places;
  for (uint64_t slot = 0; slot < resident; ++slot)
    for (uint64_t g = 0; g < groups; ++g) places.push({0, g, slot});
  Schedule s;
  std::vector<std::vector<uint64_t>> got(groups);
  std::vector<uint64_t> sum(groups);
  for (uint64_t c = 0; c < work.size(); ++c) {
    Place p = places.top();
    places.pop();
    s.begin.push_back(p.free);
    got[p.group].push_back(c);
    sum[p.group] += work[c];
    p.free += std::max<uint64_t>(work[c], 1);
    places.push(p);
  }
  s.busiest = std::move(got[static_cast<size_t>(std::max_element(sum.begin(), sum.end()) - sum.begin())]);
  return s;
}

uint64_t work_of(const Recording& r, const ClusterTrace& trace) {
  uint64_t work = 0;
  for (const BlockTrace& b : trace)
    for (const WarpTrace& w : b.warps)
      for (uint32_t word : w.words)
        if (word != WarpTrace::detail) work += simulator::work_of(r.program->counters[word]);
  return work;
}
uint64_t sectors_of(const ReplayOps& ops, const ClusterTrace& trace) {
  uint64_t sectors = 0;
  for (const BlockTrace& b : trace)
    for (const WarpTrace& w : b.warps) {
      size_t detail = 0;
      const ReplayOp* op = nullptr;
      bool first = true;
      for (uint32_t word : w.words)
        if (word != WarpTrace::detail)
          op = &ops.ops[word], first = true;
        else if (const TraceDetail& d = w.details[detail++]; std::exchange(first, false) || !op->once)
          sectors += d.sectors;
    }
  return sectors;
}
uint64_t instructions_of(const ClusterTrace& trace) {
  uint64_t sum = 0;
  for (const BlockTrace& b : trace) sum += b.instructions;
  return sum;
}

/// What is replayed of the clusters that a multiprocessor gets.
struct Selection {
  std::map<uint64_t, ClusterTrace> scheduled; ///< by traced cluster: in the order in which a compiler would put it
  std::vector<const ClusterTrace*> clusters;  ///< of `scheduled`
  double replayed_work = 0, all_work = 0;
  double scale() const { return replayed_work > 0 ? all_work / replayed_work : 1; }
};
/// Each cluster of `list` by the traced one that is nearest in its amount of work; not all of them where that is much.
Selection select(const Recording& r, const ReplayOrder& order, const std::vector<uint64_t>& trace_work,
                 const std::vector<uint64_t>& list, uint32_t resident) {
  Selection s;
  uint64_t instructions = 0;
  for (uint64_t c : list) {
    s.all_work += static_cast<double>(r.work[c]);
    if (s.clusters.size() >= resident && instructions > most_replayed) continue;
    auto distance = [&](const auto& t) {
      const uint64_t a = r.work[t.first], b = r.work[c];
      return std::pair(std::max(a, b) - std::min(a, b), std::max(t.first, c) - std::min(t.first, c));
    };
    const auto nearest = std::min_element(r.traces.begin(), r.traces.end(),
                                          [&](const auto& a, const auto& b) { return distance(a) < distance(b); });
    auto [it, is_new] = s.scheduled.try_emplace(nearest->first);
    if (is_new) it->second = order.apply(nearest->second);
    s.clusters.push_back(&it->second);
    s.replayed_work += static_cast<double>(trace_work[static_cast<size_t>(nearest - r.traces.begin())]);
    instructions += instructions_of(nearest->second);
  }
  return s;
}

struct Footprint {
  double touched = 0; ///< bytes of global memory, each counted once, twice if read and written
  double memory = 0;  ///< bytes from and to memory
};
/// What L2 finds of the touches of all clusters, in their order in time: what was touched last before so much else that
/// L2 cannot hold it comes from memory again. Age is told by generations, each an eighth of L2.
Footprint footprint_of(const Recording& r, const Gpu& gpu, const Schedule& schedule) {
  constexpr uint32_t generations = 8;
  std::vector<std::pair<double, uint64_t>> touches; // by time
  std::vector<uint64_t> known;
  for (size_t c = 0; c < r.touches.size(); ++c) {
    const std::vector<uint64_t>& sectors = r.touches[c].sectors;
    const double step = static_cast<double>(r.work[c]) / static_cast<double>(sectors.size());
    for (size_t n = 0; n < sectors.size(); ++n)
      touches.emplace_back(static_cast<double>(schedule.begin[c]) + step * static_cast<double>(n), sectors[n]);
    known.insert(known.end(), sectors.begin(), sectors.end());
  }
  std::sort(touches.begin(), touches.end());
  std::sort(known.begin(), known.end());
  known.erase(std::unique(known.begin(), known.end()), known.end());
  const double bytes = 32 * static_cast<double>(uint64_t{1} << r.level),
               generation = static_cast<double>(gpu.l2_capacity) / generations / bytes;
  struct Sector {
    uint32_t touched = 0; ///< generation
    bool written = false; ///< and not yet in memory
  };
  std::vector<Sector> sectors(known.size());
  uint64_t transfers = 0, of_this = 0;
  uint32_t now = generations;
  for (const auto& [time, touch] : touches) {
    Sector& s = sectors[static_cast<size_t>(std::lower_bound(known.begin(), known.end(), touch & ~uint64_t{1}) -
                                            known.begin())];
    const bool writes = touch & 1;
    if (now - s.touched >= generations) {
      transfers += !writes;
      s.written = false;
    }
    if (writes && !s.written) {
      ++transfers;
      s.written = true;
    }
    if (s.touched == now) continue;
    s.touched = now;
    if (static_cast<double>(++of_this) < generation) continue;
    ++now;
    of_this = 0;
  }
  return {bytes * static_cast<double>(known.size()), bytes * static_cast<double>(transfers)};
}

/// The share of the bytes that go through L2 that memory has.
double beyond_l2(const Recording& r, const ReplayOps& ops, const std::vector<uint64_t>& trace_work,
                 double from_memory) {
  uint64_t traced_sectors = 0;
  for (const auto& [cluster, trace] : r.traces) traced_sectors += sectors_of(ops, trace);
  const auto traced_work = static_cast<double>(std::accumulate(trace_work.begin(), trace_work.end(), uint64_t{0})),
             all_work = static_cast<double>(std::accumulate(r.work.begin(), r.work.end(), uint64_t{0}));
  const double through_l2 = 32.0 * static_cast<double>(traced_sectors) * all_work / std::max(1.0, traced_work);
  return through_l2 > 0 ? std::min(1.0, from_memory / through_l2) : 0;
}

/// How long the GPU would take if one of its parts did its share of the work at full rate, and all else at once.
void add_roofline(Estimate& e, const LaunchCounters& launch, const Recording& r, const Gpu& gpu, double touched) {
  const double per_microsecond = gpu.clock_mhz * gpu.multiprocessors;
  double tensor = 0, arithmetic = 0, special = 0;
  for (size_t n = 0; n < launch.instructions.size(); ++n) {
    const InstructionCounters& i = launch.instructions[n];
    const StaticCounters& s = r.program->counters[n];
    if (i.operations)
      tensor += static_cast<double>(i.operations) / (2 * tensor_rate(gpu, i.operand_type) * per_microsecond);
    const Instruction& x = r.program->module->functions[s.function].body[s.instruction];
    if (class_of(x) == InstructionClass::floating && all_forms()[x.row].unit == Unit::fma)
      arithmetic += static_cast<double>(i.lanes) / (gpu.fp32 * per_microsecond);
    special += static_cast<double>(i.special) / (gpu.special * per_microsecond);
  }
  const double memory = touched / (gpu.memory_gb_per_s * 1e3);
  for (auto [time, name] : {std::pair(tensor, "tensor cores"), std::pair(arithmetic, "fp32"),
                            std::pair(special, "special functions"), std::pair(memory, "memory")})
    if (time > e.roofline_microseconds) e.roofline_microseconds = time, e.roofline_of = name;
  e.roofline_share = e.roofline_microseconds / std::max(e.microseconds, 1e-9);
}

} // namespace

std::string_view name_of(Stall s) {
  static constexpr std::string_view names[] = {
      "instructions", "issue",     "not selected", "arithmetic", "special function", "shared memory", "global memory",
      "products",     "unit busy", "memory queue", "copies",     "barrier",          "mbarrier",      "fence"};
  return names[static_cast<size_t>(s)];
}
std::string_view name_of(Resource r) {
  static constexpr std::string_view names[] = {"issue",         "fma",    "alu", "fp64",  "special function",
                                               "shared memory", "tensor", "L2",  "memory"};
  return names[static_cast<size_t>(r)];
}

Estimate estimate(const LaunchCounters& launch, const Gpu& gpu, const EstimateOptions& options) {
  if (!launch.recording) throw Error("the launch was not recorded: set Instruments::estimate before it");
  const Recording& r = *launch.recording;
  const std::string_view target = r.program->module->target;
  if (architecture(target) > architecture(gpu.target))
    throw Error("the PTX is for " + std::string(target) + ", which " + std::string(gpu.title) + " does not run");
  Estimate e;
  e.gpu = gpu.title;
  const Residence residence = residence_of(r, gpu, options.registers);
  e.registers = residence.registers, e.registers_given = residence.given;
  e.resident_blocks = residence.blocks, e.limited_by = residence.limit;
  const uint32_t cluster_blocks = r.cluster[0] * r.cluster[1] * r.cluster[2];
  const uint32_t warps = (r.block[0] * r.block[1] * r.block[2] + 31) / 32;
  const uint64_t groups = std::max(1u, gpu.multiprocessors / cluster_blocks), clusters = r.work.size();
  const uint64_t in_a_wave = groups * residence.blocks;
  e.occupancy = 32.0 * warps * residence.blocks / gpu.threads;
  e.waves = static_cast<double>(clusters) / static_cast<double>(in_a_wave);

  std::vector<uint64_t> trace_work;
  for (const auto& [cluster, trace] : r.traces) trace_work.push_back(work_of(r, trace));
  const ReplayOps ops = replay_ops(*r.program, gpu, r.block);
  const ReplayOrder order(*r.program, ops, gpu);
  const Schedule schedule = schedule_of(r.work, groups, residence.blocks);
  const Footprint footprint = footprint_of(r, gpu, schedule);
  const Selection selection = select(r, order, trace_work, schedule.busiest, residence.blocks);
  e.replayed_blocks = selection.clusters.size() * cluster_blocks;
  const double scale = selection.scale();
  e.replayed_share = 1 / scale;
  const auto active = static_cast<double>(std::min(groups, clusters) * cluster_blocks);
  const ReplayShare share{
      .l2 = gpu.l2_bytes_all / active,
      .memory = gpu.memory_gb_per_s * gpu.memory_share * 1e3 / gpu.clock_mhz / active,
      .beyond_l2 = beyond_l2(r, ops, trace_work, footprint.memory),
  };

  ReplayResult result = Replay(ops, gpu, share, cluster_blocks).run(selection.clusters, residence.blocks);
  e.cycles = result.cycles * scale;
  e.microseconds = e.cycles / gpu.clock_mhz;
  e.use = result.busy;
  double stalled = 0;
  for (InstructionEstimate& i : result.instructions) {
    if (!i.issued) continue;
    for (size_t s = 0; s < i.stalls.size(); ++s) e.stalls[s] += i.stalls[s], stalled += i.stalls[s];
    e.instructions.push_back(i);
  }
  for (double& s : e.stalls) s /= std::max(stalled, 1e-9);
  const auto most_used = std::max_element(e.use.begin(), e.use.end());
  if (*most_used >= latency_bound)
    e.bound_by = name_of(static_cast<Resource>(most_used - e.use.begin()));
  else
    e.bound_by = "latency: " + std::string(name_of(static_cast<Stall>(
                                   std::max_element(e.stalls.begin() + 2, e.stalls.end()) - e.stalls.begin())));
  add_roofline(e, launch, r, gpu, footprint.touched);
  return e;
}

} // namespace tilejit::runtime
