// reduction.h - what the reductions of bulk copies compute, one element at a time.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace tilejit::conformance {

/// What an element becomes that holds `old` and is combined with x: "add", "inc", ...
uint64_t reduced(const std::string& op, const std::string& type, uint64_t old, uint64_t x);

/// Numbers of a type: integers of every size, floats without NaN, infinity or subnormals and of few bits, so that every
/// rounding and flushing agrees.
std::vector<uint8_t> operands_of(const std::string& type, size_t bytes, uint64_t seed);

} // namespace tilejit::conformance
