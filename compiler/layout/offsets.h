// offsets.h - composing a layout of registers with a layout of shared memory: which digits of a place move an element
// by how much.
#pragma once
#include "compiler/layout/f2.h"
#include "compiler/layout/layout.h"

#include <optional>

namespace tilejit::layout {

/// The inverse of a shared layout's bits: per coordinate bit, the set of offset bits (numbered among the bits) that it
/// flips.
Vectors inverse_bits(const Spelling& shared);

/// Place of `registers` -> offset: a spelling with the digits of `registers` and one dim, whose digits have the strides
/// of `shared` as weights.  nullopt when the two write a coordinate with digits that do not agree.
std::optional<Spelling> compose(const Layout& registers, const Layout& shared);

/// offset = sum over dims of pitch * coordinate, for tiles where that is so (row-major, padded).
std::optional<Coord> pitches(const Layout& shared);

} // namespace tilejit::layout
