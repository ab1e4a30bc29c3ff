// recording.cpp - see recording.h.
#include "runtime/simulator/recording.h"

#include <algorithm>
#include <bit>

namespace tilejit::runtime::simulator {
namespace {

constexpr uint64_t most_traced = 16;           ///< clusters of a launch
constexpr uint64_t most_touched = 1 << 20;     ///< of a launch, about
constexpr uint32_t cached_sectors = 2048;      ///< of L1, for one block: 64 KB
constexpr uint64_t memory_end = 1100ull << 30; ///< global memory lies below (memory.h)

thread_local Recording::Touches* touching = nullptr; ///< of the cluster that this thread runs

/// A sector is in the samples of this level and all below.
uint32_t level_of(uint64_t sector) {
  uint64_t hash = sector * 0x9e3779b97f4a7c15;
  hash = (hash ^ hash >> 32) * 0x9e3779b97f4a7c15;
  return static_cast<uint32_t>(std::countl_zero(hash));
}
void keep(Recording::Touches& t, uint32_t level) {
  t.level = level;
  std::erase_if(t.sectors, [&](uint64_t s) { return level_of(s / 2) < level; });
}

} // namespace

// --- traces ----------------------------------------------------------------------------------------------------------

void WarpTrace::begin(uint32_t instruction) {
  recording = block->instructions < BlockTrace::most;
  if (!recording) return;
  ++block->instructions;
  words.push_back(instruction);
}

void WarpTrace::add(const TraceDetail& d) {
  if (!recording) return;
  words.push_back(detail);
  details.push_back(d);
}

void WarpTrace::add_cached(const Access& a, uint32_t bytes, uint32_t sectors, bool bypasses) {
  if (!recording) return;
  uint64_t lines[64];
  uint32_t line_count = 0, missed = 0;
  std::vector<uint32_t>& cache = block->cached;
  if (cache.empty()) cache.assign(cached_sectors, 0);
  for (uint32_t m = a.mask; m; m &= m - 1) {
    const uint64_t first = a.at[std::countr_zero(m)], last = first + bytes - 1;
    for (uint64_t line = first / 128; line <= last / 128; ++line)
      if (std::find(lines, lines + line_count, line) == lines + line_count) lines[line_count++] = line;
    for (uint64_t sector = first / 32; sector <= last / 32 && !bypasses; ++sector) {
      uint32_t& place = cache[sector % cached_sectors];
      const auto tag = static_cast<uint32_t>(sector) + 1;
      missed += place != tag;
      place = tag;
    }
  }
  add({.lines = line_count, .sectors = bypasses ? sectors : std::min(missed, sectors)});
}

// --- the launch ------------------------------------------------------------------------------------------------------

Recording::Recording(std::shared_ptr<const Program> p, const std::array<uint32_t, 3>& g,
                     const std::array<uint32_t, 3>& b, const std::array<uint32_t, 3>& c)
    : program(std::move(p)), grid(g), block(b), cluster(c), blocks_(uint64_t{c[0]} * c[1] * c[2]) {
  const uint64_t clusters = uint64_t{g[0]} * g[1] * g[2] / blocks_, warps = (uint64_t{b[0]} * b[1] * b[2] + 31) / 32;
  work.resize(clusters);
  touches.resize(clusters);
  most_touches_ = std::max<uint64_t>(most_touched / std::max<uint64_t>(clusters, 1), 16);
  // All clusters of a small grid. Of a large one, places that are spread evenly and in step with none of its
  // dimensions: multiples of the golden ratio.
  std::vector<uint64_t> chosen;
  for (uint64_t i = 0; i < std::min(clusters, most_traced); ++i)
    chosen.push_back(clusters <= most_traced
                         ? i
                         : static_cast<uint64_t>(static_cast<double>(clusters) *
                                                 (0.6180339887498949 * static_cast<double>(i) -
                                                  static_cast<double>(static_cast<uint64_t>(0.6180339887498949 *
                                                                                            static_cast<double>(i))))));
  std::sort(chosen.begin(), chosen.end());
  chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
  for (uint64_t index : chosen) {
    traces.emplace_back(index, ClusterTrace(blocks_));
    for (BlockTrace& t : traces.back().second) t.warps.resize(warps);
  }
  for (auto& [index, trace] : traces)
    for (BlockTrace& t : trace)
      for (WarpTrace& w : t.warps) w.block = &t;
  weights_.assign(program->block_instructions.size(), 0);
  for (const StaticCounters& s : program->counters) weights_[s.block] += simulator::work_of(s);
}

uint64_t Recording::work_of(const std::vector<uint64_t>& executions) const {
  uint64_t work = 0;
  for (size_t b = 0; b < executions.size(); ++b) work += executions[b] * weights_[b];
  return work;
}

WarpTrace* Recording::trace_of(uint64_t block, uint32_t warp) {
  touching = &touches[block / blocks_];
  auto it = std::lower_bound(traces.begin(), traces.end(), block / blocks_,
                             [](const auto& t, uint64_t cluster) { return t.first < cluster; });
  if (it == traces.end() || it->first != block / blocks_) return nullptr;
  return &it->second[block % blocks_].warps[warp];
}

void Recording::touch(const Access& a, uint32_t bytes, bool writes) {
  if (a.contiguous) return touch(a.at[0], uint64_t{32} * bytes, writes);
  for (uint32_t m = a.mask; m; m &= m - 1) touch(a.at[std::countr_zero(m)], bytes, writes);
}
void Recording::touch(uint64_t address, uint64_t bytes, bool writes) {
  if (bytes == 0 || address + bytes > memory_end) return;
  std::vector<uint64_t>& known = touching->sectors;
  for (uint64_t sector = address / 32; sector <= (address + bytes - 1) / 32; ++sector) {
    if (level_of(sector) < touching->level) continue;
    const uint64_t touched = 2 * sector + writes;
    const auto recent = known.end() - static_cast<std::ptrdiff_t>(std::min<size_t>(known.size(), 16));
    if (std::find(recent, known.end(), touched) != known.end()) continue;
    known.push_back(touched);
    if (known.size() > most_touches_) keep(*touching, touching->level + 1);
  }
}

void Recording::end() {
  for (const Touches& t : touches) level = std::max(level, t.level);
  for (Touches& t : touches) keep(t, level);
}

} // namespace tilejit::runtime::simulator
