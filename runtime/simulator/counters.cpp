// counters.cpp - see counters.h.
#include "runtime/simulator/counters.h"

#include "runtime/simulator/observe.h"

#include <algorithm>
#include <bit>

namespace tilejit::runtime::simulator {

/// Accesses of more than 4 bytes are done in parts: half of the lanes at a time for 8 bytes, a quarter for 16. In each
/// part a bank gives one word to all who ask for it, and another word only in another cycle.
std::array<uint32_t, 2> wavefronts(const Access& a, uint32_t bytes) {
  const uint32_t parts = std::max(1u, bytes / 4), lanes = std::max(1u, 32 / parts), words = std::max(1u, bytes / 4);
  uint32_t all = 0, least = 0;
  for (uint32_t first = 0; first < 32; first += lanes) {
    uint32_t mask = a.mask & ((lanes == 32 ? ~0u : (1u << lanes) - 1) << first);
    if (!mask) continue;
    ++least;
    if (a.contiguous) {
      ++all;
      continue;
    }
    uint64_t banks[32][4]; // distinct words of each bank; a fifth is searched for among all lanes
    uint32_t count[32]{}, most = 1;
    uint64_t seen[32 * 8];
    uint32_t seen_count = 0;
    for (uint32_t m = mask; m; m &= m - 1) {
      for (uint32_t k = 0; k < words; ++k) {
        uint64_t word = a.at[std::countr_zero(m)] / 4 + k;
        uint32_t bank = word % 32;
        bool known = false;
        for (uint32_t i = 0; i < std::min(count[bank], 4u) && !known; ++i) known = banks[bank][i] == word;
        if (!known && count[bank] >= 4)
          for (uint32_t i = 0; i < seen_count && !known; ++i) known = seen[i] == word;
        if (known) continue;
        if (count[bank] < 4) banks[bank][count[bank]] = word;
        seen[seen_count++] = word;
        most = std::max(most, ++count[bank]);
      }
    }
    all += most;
  }
  return {all, least};
}

std::array<uint32_t, 2> sectors(const Access& a, uint32_t bytes) {
  if (a.contiguous) { // what it spans, and every byte of that
    const uint64_t begin = a.at[0], end = a.at[31] + bytes;
    return {static_cast<uint32_t>((end + 31) / 32 - begin / 32), static_cast<uint32_t>((end - begin + 31) / 32)};
  }
  uint64_t ids[64];
  uint32_t count = 0;
  auto note = [&](uint64_t id) {
    for (uint32_t i = count; i-- > 0;)
      if (ids[i] == id) return;
    ids[count++] = id;
  };
  for (uint32_t m = a.mask; m; m &= m - 1) {
    uint64_t at = a.at[std::countr_zero(m)];
    note(at / 32);
    if (bytes > 1) note((at + bytes - 1) / 32);
  }
  // Lanes that read the same bytes need them once: the least is what the distinct bytes fill, and no more than there
  // is.
  uint64_t distinct = 0, low = ~uint64_t{0}, high = 0;
  uint64_t starts[32];
  uint32_t starts_count = 0;
  for (uint32_t m = a.mask; m; m &= m - 1) {
    uint64_t at = a.at[std::countr_zero(m)];
    low = std::min(low, at), high = std::max(high, at + bytes);
    bool known = false;
    for (uint32_t i = starts_count; i-- > 0 && !known;) known = starts[i] == at;
    if (!known) starts[starts_count++] = at, distinct += bytes;
  }
  if (distinct > high - low) distinct = high - low;
  return {count, static_cast<uint32_t>((distinct + 31) / 32)};
}

namespace {

bool waits(Form form) { return form == Form::bar_sync || form == Form::bar_red_popc || form == Form::bar_red_pred; }

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
                          .executions = executions[s.block],
                          .lanes = lanes[s.block]};
    if (s.observed != none) {
      const AccessCounters& a = accesses[s.observed];
      c.global = a.global, c.shared = a.shared, c.local = a.local;
      c.branches = a.branches, c.divergent = a.divergent;
    }
    c.operations = s.operations * c.executions;
    if (s.operations) c.operand_type = name_of(i.type(1));
    if (class_of(i) == InstructionClass::special) c.special = c.lanes;
    if (waits(i.form)) c.barrier_waits = c.executions;
    all.push_back(std::move(c));
  }
  return all;
}

} // namespace tilejit::runtime::simulator
