// fragment_memory.h - where wmma.load and wmma.store find the elements of a matrix in memory.
//
// Main slot of both: as of loads; b = the stride's row. Then words: rows, columns, bits of an element, registers, 1
// where rows lie in memory one after another, 1 for 64-bit registers, 1 for shared addresses, 0; then the registers.
// Slots of a fragment: exec_wmma.h.
#pragma once
#include "runtime/simulator/control.h"
#include "runtime/simulator/memory_flags.h"

namespace tilejit::runtime::simulator {
namespace {

struct FragmentMemory {
  uint64_t base = 0;   ///< generic address of the first element
  uint64_t stride = 0; ///< in elements, from a row (or column) to the next
  uint32_t columns = 0, bits = 0, registers = 0, elements = 0;
  bool by_rows = false, wide = false;

  FragmentMemory(const Warp* w, const Insn* ip) {
    const auto* words = reinterpret_cast<const uint32_t*>(ip + 1);
    columns = words[1], bits = words[2], registers = words[3], elements = words[0] * columns;
    by_rows = words[4], wide = words[5];
    const uint8_t* address = w->file + ip->a; // of a row, the first lane's
    base = ip->d & address_row32 ? *reinterpret_cast<const uint32_t*>(address)
                                 : *reinterpret_cast<const uint64_t*>(address);
    base += static_cast<uint64_t>(int64_t{static_cast<int32_t>(ip->imm)}) + (words[6] ? shared_window : 0);
    stride = *reinterpret_cast<const uint32_t*>(w->file + ip->b);
  }
  uint32_t slots_of_lane() const { return registers * (wide ? 64 : 32) / bits; }
  uint64_t bytes() const { return bits < 8 ? 1 : bits / 8; } ///< that an element is read or written with
  /// Of the element in a slot: from `base`.
  uint64_t bit(uint32_t slot) const {
    const uint64_t r = slot % elements / columns, c = slot % columns;
    return (by_rows ? r * stride + c : c * stride + r) * bits;
  }
};

} // namespace
} // namespace tilejit::runtime::simulator
