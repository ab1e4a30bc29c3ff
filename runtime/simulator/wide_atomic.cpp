// wide_atomic.cpp - atom.cas.b128 and atom.exch.b128.
#include "runtime/simulator/block.h"
#include "runtime/simulator/cluster.h"

#include <bit>
#include <cstring>

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

uint8_t* place_of(Warp* w, const Insn* ip, uint32_t lane, uint64_t address) {
  constexpr uint64_t bytes = sizeof(Wide);
  if (ip->imm || address - shared_window < window_bytes) {
    SharedPlace at = shared_place(w, ip, lane, address, bytes, bytes, true);
    return at.block->shared.get() + at.offset;
  }
  if (address % bytes != 0) fault(w, ip, Fault::misaligned, Space::global, lane, address, bytes, true);
  return host_address(w, ip, lane, address, bytes, true);
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
  for (uint32_t m = guarded_lanes(w, ip); m; m &= m - 1) {
    const auto lane = static_cast<uint32_t>(std::countr_zero(m));
    auto* at = reinterpret_cast<Wide*>(place_of(w, ip, lane, address_value(w, words, lane)));
    const Wide expected = compared ? get(w, compared, lane) : 0;
    const Wide old = exchange(at, compared ? &expected : nullptr, get(w, value, lane));
    if (result) put(w, result, lane, old);
  }
  return after(ip);
}

} // namespace tilejit::runtime::simulator
