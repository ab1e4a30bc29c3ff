// kernel_report.h - what a compiled kernel is made of, for people: instructions by class, shared memory, registers, the
// time of each stage. What `tilejit inspect --stats` and the demo print.
#pragma once
#include "runtime/compiled_kernel.h"
#include "runtime/ptxas.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tilejit::tools {

struct KernelReport {
  uint64_t instructions = 0;                             ///< of the PTX entry and what it calls
  std::vector<std::pair<std::string, uint64_t>> classes; ///< the same by class, most first
  uint64_t static_shared_bytes = 0;                      ///< declared in the PTX
  std::optional<runtime::EntryResources> resources;      ///< nothing where there is no ptxas, or it refused the PTX
  std::string ptxas_messages;                            ///< why it refused, or its warnings
};

/// Reads the PTX with the simulator's parser and, where one is installed, asks ptxas. Throws Error when the PTX can't
/// be parsed.
KernelReport report(const CompiledKernel& kernel);

/// The report as lines of text, each beginning with `indent`.
std::string to_text(const KernelReport& report, const CompiledKernel& kernel, const std::string& indent = "");

/// The stages of the compilation with their times, equal names added up, and the total.
std::string stages_text(const std::vector<StageTime>& stages, const std::string& indent = "");

} // namespace tilejit::tools
