// planted.h - kernels with exactly one bug, and their clean twins.
#pragma once
#include "tests/runtime/simulator/simulate.h"

#include <catch2/catch.hpp>

namespace tilejit::runtime::simulator::test {

/// A sanitized simulator.
struct Sanitized : Simulator {
  Sanitized() { instrument().set_instruments({.sanitize = true}); }
  SimulatorDevice& instrument() { return dynamic_cast<SimulatorDevice&>(*device); }

  /// Kinds of the findings of a launch, in their order; the launch itself goes to its end.
  std::vector<FindingKind> kinds(const std::string& ptx, uint32_t blocks, uint32_t threads,
                                 std::vector<ParameterValue> parameters = {}) {
    instrument().clear_findings();
    run(ptx, blocks, threads, std::move(parameters));
    return found();
  }
  /// The same in clusters of `size` blocks, with addresses as parameters.
  std::vector<FindingKind> kinds_in_clusters(const std::string& ptx, uint32_t size, uint32_t blocks, uint32_t threads,
                                             const std::vector<uint64_t>& addresses) {
    instrument().clear_findings();
    PtxLaunch launch{.entry = "k", .grid = {blocks, 1, 1}, .block = {threads, 1, 1}, .cluster = {size, 1, 1}};
    for (const uint64_t& address : addresses) {
      auto bytes = std::as_bytes(std::span(&address, 1));
      launch.parameters.push_back({bytes.begin(), bytes.end()});
    }
    instrument().launch_ptx(ptx, launch);
    return found();
  }

protected:
  std::vector<FindingKind> found() {
    std::vector<FindingKind> all;
    for (const Finding& f : instrument().findings()) {
      UNSCOPED_INFO(f.message);
      all.push_back(f.kind);
    }
    return all;
  }
};

/// `%r0` is the thread, `%r1` its warp, `%r2` its lane, `%r3` the address of its own word in `buffer` (4 KiB).
inline std::string block_text(const std::string& body, const std::vector<std::string>& parameters = {}) {
  return kernel_text(parameters,
                     "mov.u32 %r0, %tid.x; shr.u32 %r1, %r0, 5; and.b32 %r2, %r0, 31;\n"
                     "mov.u32 %r3, buffer; mad.lo.u32 %r3, %r0, 4, %r3;\n" +
                         body,
                     "sm_90a", ".shared .align 16 .b8 buffer[4096];");
}

/// Whether a finding is about writes that agree.
inline bool is_mild(const Finding& f) { return f.message.find(simulator::same_values) != std::string::npos; }

inline const std::vector<FindingKind> nothing;
inline std::vector<FindingKind> only(FindingKind kind) { return {kind}; }

} // namespace tilejit::runtime::simulator::test
