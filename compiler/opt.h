// opt.h - the compiler's passes one at a time, as MLIR's own `opt` tools run them.
#pragma once

namespace tilejit {

/// `tilejit opt [--PASS ...] FILE.mlir`: runs passes in the order given and prints the result. Returns the exit status.
int opt_main(int argc, char** argv);

} // namespace tilejit
