// counters.cpp - see counters.h.
#include "runtime/simulator/counters.h"

#include "runtime/simulator/block.h"
#include "runtime/simulator/observe.h"

#include <algorithm>
#include <bit>

namespace tilejit::runtime::simulator {

const Insn* count_guarded(Warp* w, const Insn* ip) {
  w->block->counters[ip->imm].lanes += static_cast<uint32_t>(std::popcount(guarded_lanes(w, ip)));
  return ip + 1;
}

namespace {

uint32_t count_distinct(uint64_t* numbers, uint32_t count) {
  uint64_t low = ~uint64_t{0}, high = 0;
  for (uint32_t i = 0; i < count; ++i) low = std::min(low, numbers[i]), high = std::max(high, numbers[i]);
  if (high - low < 64) { // most often
    uint64_t bits = 0;
    for (uint32_t i = 0; i < count; ++i) bits |= uint64_t{1} << (numbers[i] - low);
    return static_cast<uint32_t>(std::popcount(bits));
  }
  std::sort(numbers, numbers + count);
  return static_cast<uint32_t>(std::unique(numbers, numbers + count) - numbers);
}

/// Wavefronts for these words of shared memory: a bank gives one word to all who ask for it, and another word only in
/// another cycle.
uint32_t wavefronts_of(uint64_t* words, uint32_t count) {
  uint64_t in_bank[32];
  uint32_t used = 0;
  bool conflict = false;
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t bank = words[i] % 32;
    if (used >> bank & 1)
      conflict |= in_bank[bank] != words[i];
    else
      in_bank[bank] = words[i], used |= 1u << bank;
  }
  if (!conflict) return 1;
  std::sort(words, words + count);
  uint32_t of_bank[32]{}, most = 0;
  for (auto end = std::unique(words, words + count); words != end; ++words)
    most = std::max(most, ++of_bank[*words % 32]);
  return most;
}

/// Lanes n and n + 1, or n and n + 2, have one address: for every pair of the active ones.
bool pairs_share(const Access& a) {
  for (uint32_t apart : {1u, 2u}) {
    bool all = true;
    for (uint32_t m = a.mask & (apart == 1 ? 0x55555555 : 0x33333333); m && all; m &= m - 1) {
      const int lane = std::countr_zero(m), other = lane + static_cast<int>(apart);
      all = !(a.mask >> other & 1) || a.at[lane] == a.at[other];
    }
    if (all) return true;
  }
  return false;
}

} // namespace

/// Accesses of more than 4 bytes are done in parts: half of the lanes at a time for 8 bytes, a quarter for 16. A load
/// gives two registers in a cycle where lanes share them in pairs (an engineer of NVIDIA's, for compute capability 7,
/// forums.developer.nvidia.com/t/unexpected-shared-memory-bank-conflict/77228; an H200 still does).
std::array<uint32_t, 2> wavefronts(const Access& a, uint32_t bytes, bool loads) {
  const uint32_t words_of_lane = std::max(1u, bytes / 4);
  uint32_t lanes = std::max(1u, 32 / words_of_lane);
  if (loads && words_of_lane > 1 && !a.contiguous && pairs_share(a)) lanes = std::min(32u, 2 * lanes);
  uint32_t all = 0, least = 0;
  for (uint32_t first = 0; first < 32; first += lanes) {
    uint32_t mask = a.mask & ((lanes == 32 ? ~0u : (1u << lanes) - 1) << first);
    if (!mask) continue;
    ++least;
    if (a.contiguous) {
      ++all;
      continue;
    }
    uint64_t words[32 * 8];
    uint32_t count = 0;
    for (uint32_t m = mask; m; m &= m - 1)
      for (uint32_t k = 0; k < words_of_lane; ++k) words[count++] = a.at[std::countr_zero(m)] / 4 + k;
    all += wavefronts_of(words, count);
  }
  return {all, least};
}

std::array<uint32_t, 2> sectors(const Access& a, uint32_t bytes) {
  if (a.contiguous) { // what it spans, and every byte of that
    const uint64_t begin = a.at[0], end = a.at[31] + bytes;
    return {static_cast<uint32_t>((end + 31) / 32 - begin / 32), static_cast<uint32_t>((end - begin + 31) / 32)};
  }
  uint64_t touched[64], starts[32], low = ~uint64_t{0}, high = 0;
  uint32_t count = 0, lanes = 0;
  for (uint32_t m = a.mask; m; m &= m - 1) {
    const uint64_t at = a.at[std::countr_zero(m)], last = at + bytes - 1;
    touched[count++] = at / 32;
    if (last / 32 != at / 32) touched[count++] = last / 32;
    starts[lanes++] = at / bytes;
    low = std::min(low, at), high = std::max(high, at + bytes);
  }
  // Lanes that read the same bytes need them once: the least is what the distinct bytes fill, and no more than there
  // is.
  const uint64_t distinct = std::min<uint64_t>(uint64_t{count_distinct(starts, lanes)} * bytes, high - low);
  return {count_distinct(touched, count), static_cast<uint32_t>((distinct + 31) / 32)};
}

namespace {

bool waits(Form form) {
  switch (form) {
  case Form::bar_sync:
  case Form::bar_red_popc:
  case Form::bar_red_pred:
  case Form::barrier_cluster_wait:
  case Form::mbarrier_test_wait:
  case Form::mbarrier_test_wait_parity:
  case Form::mbarrier_try_wait:
  case Form::mbarrier_try_wait_parity: return true;
  default: return false;
  }
}

/// What a matrix instruction multiplies; wmma.mma names it only where that is not f16.
Type operand_type(const Instruction& i) {
  return i.form == Form::wmma_mma && i.type_count == 2 ? Type::f16 : i.type(1);
}

} // namespace

std::vector<InstructionCounters> counters_of(const Program& p, const std::vector<uint64_t>& executions,
                                             const std::vector<uint64_t>& lanes,
                                             const std::vector<AccessCounters>& accesses) {
  std::vector<InstructionCounters> all;
  for (const StaticCounters& s : p.counters) {
    const Instruction& i = p.module->functions[s.function].body[s.instruction];
    InstructionCounters c{.ptx_line = s.line,
                          .opcode = std::string(i.text),
                          .ptx = std::string(p.module->source_line(s.line)),
                          .source = p.module->describe(s.location),
                          .category = std::string(name_of(class_of(i))),
                          .executions = executions[s.block]};
    const AccessCounters& a = accesses[all.size()];
    c.lanes = s.guarded ? a.lanes : lanes[s.block];
    c.global = a.global, c.shared = a.shared, c.local = a.local;
    c.branches = a.branches, c.divergent = a.divergent;
    c.operations = s.operations * c.executions;
    if (s.operations) c.operand_type = name_of(operand_type(i));
    c.special = s.special * c.lanes;
    if (waits(i.form)) c.barrier_waits = c.executions;
    all.push_back(std::move(c));
  }
  return all;
}

} // namespace tilejit::runtime::simulator
