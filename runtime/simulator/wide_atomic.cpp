// wide_atomic.cpp - atom.cas.b128 and atom.exch.b128.
#include "runtime/simulator/async.h"

namespace tilejit::runtime::simulator {
namespace {

using Wide = unsigned __int128;

/// Of a register of 128 bits: two rows, one behind the other.
Wide get(const Warp* w, uint32_t place, uint32_t lane) {
  const auto* low = reinterpret_cast<const uint64_t*>(w->file + place);
  return Wide{low[32 + lane]} << 64 | low[lane];
}
void put(Warp* w, uint32_t place, uint32_t lane, Wide value) {
  auto* low = reinterpret_cast<uint64_t*>(w->file + place);
  low[lane] = static_cast<uint64_t>(value);
  low[32 + lane] = static_cast<uint64_t>(value >> 64);
}

/// The host threads of other clusters may be at the same place: cmpxchg16b, which every x86-64-v2 has.
[[gnu::target("cx16")]] Wide exchange(Wide* at, const Wide* compared, Wide value) {
  for (Wide old = *at;;) {
    const Wide found = __sync_val_compare_and_swap(at, compared ? *compared : old, value);
    if (compared || found == old) return found;
    old = found;
  }
}

} // namespace

const Insn* wide_atomic(Warp* w, const Insn* ip) {
  const uint32_t *words = words_of(ip), value = words[2], compared = words[3], result = words[4];
  each_lane(guarded_lanes(w, ip), [&](uint32_t lane) {
    const uint64_t address = address_value(w, words, lane) + (ip->imm ? shared_window : 0);
    auto* at = reinterpret_cast<Wide*>(locate(w, ip, lane, address, sizeof(Wide), sizeof(Wide), true));
    const Wide expected = compared ? get(w, compared, lane) : 0;
    const Wide old = exchange(at, compared ? &expected : nullptr, get(w, value, lane));
    if (result) put(w, result, lane, old);
  });
  return after(ip);
}

} // namespace tilejit::runtime::simulator
