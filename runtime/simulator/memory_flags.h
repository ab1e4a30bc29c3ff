// memory_flags.h - how lowering tells the memory handlers what an address is.
#pragma once
#include <cstdint>

namespace tilejit::runtime::simulator {

inline constexpr uint32_t address_row32 = 1, address_row64 = 2; ///< else a scalar
inline constexpr uint32_t sign_extend = 4;                      ///< of loads of 8 and 16 bits
inline constexpr uint32_t generic_address = 8;                  ///< may be one of the shared window
inline constexpr uint32_t moves_itself = 16; ///< of observing instructions: the next slot has the access's Moving

} // namespace tilejit::runtime::simulator
