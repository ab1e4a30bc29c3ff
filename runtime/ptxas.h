// ptxas.h - NVIDIA's assembler and disassembler, run as programs where they are installed.
//
// Nothing here is needed to run a kernel: the driver assembles PTX itself. Tests and `--stats` ask ptxas whether it
// accepts the PTX and what registers and spills the kernel will have on the GPU.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tilejit::runtime {

/// What one .entry costs, as ptxas reports it.
struct EntryResources {
  std::string name;
  uint32_t registers = 0;         ///< per thread
  uint32_t stack_bytes = 0;       ///< per thread
  uint32_t spill_store_bytes = 0; ///< per thread
  uint32_t spill_load_bytes = 0;  ///< per thread
  uint32_t shared_bytes = 0;      ///< static shared memory of a block; dynamic is the launch's
};

struct PtxasResult {
  bool accepted = false;
  std::vector<EntryResources> entries; ///< in the order of the report; empty when not accepted
  std::string messages;                ///< everything that ptxas printed, its report of resources included
  std::vector<std::byte> cubin;        ///< empty when not accepted

  /// Warnings and advice among the messages (performance notes such as C7510), one a line; empty when there are none.
  std::string warnings() const;
};

/// The path of `ptxas`: $TILEJIT_PTXAS, else on PATH, else /usr/local/cuda/bin; nothing when there is none.
/// Throws Error when $TILEJIT_PTXAS is set and is not a program.
std::optional<std::string> find_ptxas();

/// Assembles PTX for `target` ("sm_90a"). Throws Error when `ptxas` can't be run at all; PTX that it refuses is a
/// result with `accepted` false and its reasons in `messages`.
PtxasResult run_ptxas(const std::string& ptxas, const std::string& ptx, const std::string& target,
                      const std::vector<std::string>& options = {});

/// The machine code of a cubin as text, by nvdisasm or cuobjdump ($TILEJIT_NVDISASM, PATH, beside ptxas,
/// /usr/local/cuda/bin). Throws Error when neither is installed or it fails.
std::string disassemble(const std::vector<std::byte>& cubin);

/// A program that ran to its end.
struct ProcessResult {
  int exit_code = 0;  ///< 128 + n when signal n ended it
  std::string output; ///< standard output and standard error together
};

/// Runs a program (a path, no shell) with standard input empty. Throws Error when it can't be started.
ProcessResult run_process(const std::vector<std::string>& arguments);

} // namespace tilejit::runtime
