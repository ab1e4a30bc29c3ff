// async_kernels.h - what kernels with asynchronous operations begin with, and their shapes in the tests.
#pragma once
#include "tests/runtime/simulator/sanitize/planted.h"

namespace tilejit::runtime::simulator::test {

/// `%r0` the thread, `%r1` its warp, `%r2` its lane; `%p1` thread 0, `%p2` the first lane of a warp; `%rd1` the array;
/// `%r3` the thread's own word in `tile` (16 KiB). Four mbarriers `bar`.
inline std::string async_text(const std::string& body) {
  return kernel_text(
      {"u64"},
      "mov.u32 %r0, %tid.x; shr.u32 %r1, %r0, 5; and.b32 %r2, %r0, 31; setp.eq.u32 %p1, %r0, 0;\n"
      "setp.eq.u32 %p2, %r2, 0; ld.param.u64 %rd1, [p0]; mov.u32 %r3, tile; mad.lo.u32 %r3, %r0, 4, %r3;\n" +
          body,
      "sm_90a", ".shared .align 1024 .b8 tile[16384]; .shared .align 8 .b64 bar[4];");
}
/// Thread 0 initialises mbarrier `n`, and all know it.
inline std::string initialise(int n, int count) {
  return "@%p1 mbarrier.init.shared.b64 [bar+" + std::to_string(8 * n) + "], " + std::to_string(count) +
         "; bar.sync 0;\n";
}
inline std::string wait_for(int n, const std::string& parity) {
  static int labels = 0;
  std::string label = "W" + std::to_string(labels++);
  return label + ": mbarrier.try_wait.parity.shared.b64 %p9, [bar+" + std::to_string(8 * n) + "], " + parity +
         "; @!%p9 bra " + label + ";\n";
}
/// Thread 0 copies `bytes` to the begin of `tile` and expects them on mbarrier `n`.
inline std::string load_bulk(int n, int bytes) {
  std::string at = "[bar+" + std::to_string(8 * n) + "]", size = std::to_string(bytes);
  return "@%p1 mbarrier.arrive.expect_tx.shared.b64 _, " + at + ", " + size +
         ";\n@%p1 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [tile], [%rd1], " + size + ", " +
         at + ";\n";
}
inline const std::string proxy_fence = "fence.proxy.async.shared::cta;\n";
inline const std::string store_bulk = "@%p1 cp.async.bulk.global.shared::cta.bulk_group [%rd1], [tile], 512;\n"
                                      "@%p1 cp.async.bulk.commit_group;\n";

/// Runs such kernels on an array of 16 KiB.
struct AsyncSimulator : Sanitized {
  std::shared_ptr<Buffer> array = upload(std::vector<uint32_t>(4096, 3));

  std::vector<FindingKind> of(const std::string& body, uint32_t threads = 128, uint32_t blocks = 1) {
    return kinds(async_text(body), blocks, threads, {array->address()});
  }
  /// Those of a launch that ends with its last finding.
  std::vector<FindingKind> ended(const std::string& body, uint32_t threads = 128) {
    instrument().clear_findings();
    CHECK(error_of(async_text(body), 1, threads, {array->address()}) != "");
    return found();
  }
  /// The same in a cluster of two blocks.
  std::vector<FindingKind> in_cluster(const std::string& body, uint32_t threads = 32) {
    return kinds_in_clusters(async_text(body), 2, 2, threads, {array->address()});
  }
  /// That ends the launch.
  std::vector<FindingKind> ended_in_cluster(const std::string& body) {
    CHECK_THROWS_AS(in_cluster(body), Error);
    return found();
  }
  const Finding& first() { return instrument().findings().at(0); }
};

} // namespace tilejit::runtime::simulator::test
