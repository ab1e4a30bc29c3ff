// linear.h - integer code for the digits of a place: shared by coordinates (questions.cpp) and offsets
// (shared_memory.cpp).
#pragma once
#include "compiler/layout/questions.h"

#include <vector>

namespace tilejit::layout {

/// Numbers the registers of a thread by their digits, lowest first: register r's value of digit d is (r / stride) %
/// radix.
inline uint32_t value_of(const Digit& digit, uint32_t place) { return place / digit.stride % digit.radix; }

/// The number that `dim` of the spelling is, for `items` items per thread whose reg digits are those of the spelling.
Linear make_linear(const Spelling& spelling, unsigned dim, uint32_t items);

} // namespace tilejit::layout
