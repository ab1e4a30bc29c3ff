#include "compiler/passes/transfer.h"

#include "compiler/layout/shared_memory.h"

#include <optional>

namespace tilejit::passes {

using layout::Access;
using layout::Layout;

Layout transfer_tile(const Layout& writer, const Layout& reader, unsigned bits, int contiguous) {
  std::optional<Layout> best;
  unsigned least = 0;
  for (Access access : {Access::ldmatrix, Access::ldmatrix_trans, Access::vector}) {
    Layout tile =
        layout::choose_shared({{Access::vector, writer}, {access, reader}}, bits, /*must_be_tma=*/false, contiguous);
    auto reads = layout::wavefronts(access, reader, tile, bits);
    auto writes = layout::wavefronts(Access::vector, writer, tile, bits);
    if (!reads || !writes) continue;
    unsigned cost = reads->wavefronts + reads->instructions + writes->wavefronts + writes->instructions;
    if (!best || cost < least) best = tile, least = cost;
  }
  // Where digits do not agree nothing could be counted; choose_shared's padded tile serves everyone.
  return best ? *best
              : layout::choose_shared({{Access::vector, writer}, {Access::vector, reader}}, bits, /*must_be_tma=*/false,
                                      contiguous);
}

} // namespace tilejit::passes
