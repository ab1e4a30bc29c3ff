// clocks.h - what is ordered before what: vector clocks over everything that touches memory.
//
// Everything that touches memory in an order of its own is an agent with an epoch that only grows: the warps of a
// block, and the queues of their asynchronous copies. A clock says, for each agent, up to which epoch its accesses are
// ordered before what is going to happen here. Who releases gives its clock away, who acquires takes the maximum.
//
// One thread may release while the rest of its warp does not: then the warp's accesses up to its last synchronisation
// are given away, and of the later ones only those of that thread.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace tilejit::runtime::simulator {

struct ClockEntry {
  uint32_t epoch = 0;      ///< of all lanes
  uint32_t lane_epoch = 0; ///< of one lane besides; 0: of none
  uint32_t lane = 0;

  bool covers(uint32_t e, uint32_t l) const { return e <= epoch || (e <= lane_epoch && l == lane); }
  void join(const ClockEntry& o) {
    uint32_t most = epoch > o.epoch ? epoch : o.epoch;
    const ClockEntry& late = lane_epoch > o.lane_epoch ? *this : o;
    const ClockEntry& early = lane_epoch > o.lane_epoch ? o : *this;
    // Two lanes cannot be kept apart: better to miss a race than to invent one.
    if (early.lane_epoch > most && early.lane != late.lane) most = late.lane_epoch;
    uint32_t single = late.lane_epoch > most ? late.lane_epoch : 0, l = late.lane;
    epoch = most;
    lane_epoch = single;
    lane = l;
  }
};

struct Clock {
  std::vector<ClockEntry> entries; ///< by agent

  void join(const Clock& o) {
    for (std::size_t i = 0; i < entries.size(); ++i) entries[i].join(o.entries[i]);
  }
  void clear() {
    for (ClockEntry& e : entries) e = {};
  }
};

} // namespace tilejit::runtime::simulator
