// liveness.h - where each register lives, and for how long.
//
// One row of 32 lanes a virtual register would be 190 KB a warp for a large attention kernel; at any point only some 30
// KB of them are live. So rows are allocated by linear scan over live intervals in block order (Poletto and Sarkar,
// "Linear scan register allocation", 1999), and the live rows of a warp stay in the first-level cache.
//
// Lanes that have diverged share rows and that is sound: every write touches only the lanes that run it, and each lane,
// on its own, goes through the program in an order that liveness covers.
#pragma once
#include "runtime/simulator/cfg.h"
#include "runtime/simulator/uniform.h"

#include <vector>

namespace tilejit::runtime::simulator {

struct Liveness {
  /// By block: registers live at its begin and at its end, ascending.
  std::vector<std::vector<uint32_t>> live_in, live_out;
  /// Registers that some path from the entry may read before any write.
  std::vector<uint32_t> maybe_undefined;
};

/// A write under a guard does not end a register's life.
Liveness analyse_liveness(const Function& function, const Cfg& cfg);

/// Where a register lies.
struct Place {
  enum class File : uint8_t {
    unused,    ///< never live: written and never read, or not reached. Writes may go to `index` all the same
    row32,     ///< 32 x 32 bits: 8, 16 and 32-bit registers
    row64,     ///< 32 x 64 bits
    row128,    ///< 32 x 128 bits: rows64 number `index` (low halves) and `index` + 1 (high halves)
    predicate, ///< one 32-bit mask, uniform or not
    uniform,   ///< one 64-bit scalar
  };
  File file = File::unused;
  uint32_t index = 0; ///< in its file
};

struct RowAllocation {
  std::vector<Place> place; ///< by register. No register that is named in a reachable instruction is `unused`
  uint32_t rows32 = 0, rows64 = 0, predicates = 0, uniforms = 0; ///< sizes of the files
};

/// Two registers share a place only if they are never live at once; a register that an instruction writes never shares
/// the place of another one that the same instruction reads or writes (so handlers may write before they have read
/// everything).
RowAllocation allocate_rows(const Function& function, const Cfg& cfg, const Liveness& liveness,
                            const Uniformity& uniformity);

} // namespace tilejit::runtime::simulator
