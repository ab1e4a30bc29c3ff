// transfer.h - the shared tile through which elements pass from one layout of registers to another.
#pragma once
#include "compiler/layout/layout.h"

namespace tilejit::passes {

/// A layout that `writer` fills by vector stores (or copies) and `reader` empties with the fewest wavefronts and
/// instructions, by ldmatrix where that fits. `contiguous`: the dim whose elements must lie side by side, because
/// copies write several of them at a time; -1: any.
layout::Layout transfer_tile(const layout::Layout& writer, const layout::Layout& reader, unsigned bits,
                             int contiguous = -1);

} // namespace tilejit::passes
