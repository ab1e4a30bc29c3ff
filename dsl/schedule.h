// schedule.h - how a kernel is to be run, apart from what it computes: changing a Schedule never changes a result's
// meaning. Block sizes are not here: a body reads them while it is recorded, so they belong to the kernel's own
// configuration.
#pragma once

namespace tilejit::dsl {

struct Schedule {
  int warps = 4;  ///< of a block: 1, 2, 4, 8 or 16
  int stages = 2; ///< tiles of a loop's loads that are in flight or in use; 1: no copy ahead
};

} // namespace tilejit::dsl
