// recording.cpp - see recording.h.
#include "runtime/simulator/recording.h"

#include "runtime/device.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <sys/mman.h>

namespace tilejit::runtime::simulator {
namespace {

constexpr uint64_t most_traced = 16;           ///< clusters of a launch
constexpr uint32_t cached_sectors = 2048;      ///< of L1, for one block: 64 KB
constexpr uint64_t memory_end = 1100ull << 30; ///< global memory lies below (memory.h)

/// Which sectors of global memory have been touched: a bitmap that takes memory only where something was.
class SectorSet {
public:
  SectorSet() {
    void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) throw Error("the simulator cannot reserve address space for the time estimate");
    words_ = static_cast<uint64_t*>(at);
  }
  ~SectorSet() { munmap(words_, bytes); }
  SectorSet(const SectorSet&) = delete;
  void add(uint64_t first, uint64_t last) {
    for (uint64_t sector = first; sector <= last;) {
      const uint64_t in_word = std::min<uint64_t>(63 - sector % 64, last - sector);
      const uint64_t mask = ~uint64_t{0} >> (63 - in_word) << sector % 64;
      std::atomic_ref<uint64_t> word(words_[sector / 64]);
      if ((word.load(std::memory_order_relaxed) & mask) != mask)
        count_ += static_cast<uint64_t>(std::popcount(mask & ~word.fetch_or(mask, std::memory_order_relaxed)));
      sector += in_word + 1;
    }
  }
  uint64_t count() const { return count_; }

private:
  static constexpr uint64_t bytes = memory_end / 32 / 8;
  uint64_t* words_ = nullptr;
  std::atomic<uint64_t> count_{0};
};

} // namespace

struct Recording::Footprints {
  SectorSet read, written;
};

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
    : program(std::move(p)), grid(g), block(b), cluster(c), footprints_(std::make_shared<Footprints>()),
      blocks_(uint64_t{c[0]} * c[1] * c[2]) {
  const uint64_t clusters = uint64_t{g[0]} * g[1] * g[2] / blocks_, warps = (uint64_t{b[0]} * b[1] * b[2] + 31) / 32;
  work.resize(clusters);
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
  (writes ? footprints_->written : footprints_->read).add(address / 32, (address + bytes - 1) / 32);
}

void Recording::end() {
  read_bytes = 32 * footprints_->read.count();
  written_bytes = 32 * footprints_->written.count();
  footprints_.reset();
}

} // namespace tilejit::runtime::simulator
