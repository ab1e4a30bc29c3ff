// swizzle.h - how shared memory is permuted for tensor copies and matrix descriptors, so that a column of 16-byte
// chunks lies in different banks. PTX ISA "Swizzling modes".
//
// The chunk's number within a row of 32, 64 or 128 bytes (address bits 4 and up) is xored with the number of the
// 128-byte line (address bits 7 and up). It is its own inverse.
#pragma once
#include <cstdint>

namespace tilejit::runtime::simulator {

/// `mode`: 0 none, 1, 2, 3: rows of 32, 64, 128 bytes. `base`: number of the line at which the pattern begins.
inline uint32_t swizzled(uint32_t address, uint32_t mode, uint32_t base = 0) {
  uint32_t line = (address >> 7) - base;
  return address ^ (line & ((1u << mode) - 1)) << 4;
}

} // namespace tilejit::runtime::simulator
