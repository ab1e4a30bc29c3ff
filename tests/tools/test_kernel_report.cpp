#include "tools/kernel_report.h"

#include "runtime/device.h"

#include <catch2/catch.hpp>

#include <cstdlib>

using namespace tilejit;
using namespace tilejit::tools;
using Catch::Matchers::Contains;

namespace {
CompiledKernel small_kernel() {
  CompiledKernel kernel;
  kernel.name = "f";
  kernel.target = "sm_80";
  kernel.threads = 64;
  kernel.shared_bytes = 4096;
  kernel.ptx = R"(
.version 8.0
.target sm_80
.address_size 64
.visible .entry f(.param .u64 p)
{
  .reg .b64 %a;
  .reg .b32 %x<3>;
  .shared .align 4 .b32 scratch[8];
  ld.param.u64 %a, [p];
  ld.global.u32 %x1, [%a];
  ld.global.u32 %x2, [%a+4];
  st.shared.u32 [scratch], %x1;
  bar.sync 0;
  st.global.u32 [%a], %x2;
  ret;
}
)";
  return kernel;
}
} // namespace

TEST_CASE("a report counts the instructions of the entry by class") {
  KernelReport r = report(small_kernel());
  CHECK(r.instructions == 7);
  CHECK(r.static_shared_bytes == 32);
  uint64_t loads = 0, most = r.classes.at(0).second;
  for (const auto& [name, count] : r.classes) {
    CHECK(count <= most);
    if (name == "ld.global" || name == "load.global") loads = count;
  }
  CHECK(loads == 2);
  std::string text = to_text(r, small_kernel(), "  ");
  CHECK_THAT(text,
             Contains("64 threads (2 warps)") && Contains("4096 bytes dynamic, 32 static") && Contains("  registers"));
}

TEST_CASE("where the PTX can't be read or the entry is not there, it says so") {
  CompiledKernel kernel = small_kernel();
  kernel.name = "g";
  CHECK_THROWS_WITH(report(kernel), Contains("no entry 'g'"));
  kernel.ptx = "nonsense";
  CHECK_THROWS_AS(report(kernel), runtime::Error);
}

TEST_CASE("equal stages are added up") {
  std::string text = stages_text({{"cse", 1}, {"place", 2}, {"cse", 3}});
  CHECK_THAT(text, Contains("cse") && Contains("4.00 ms") && Contains("6.00 ms") && !Contains("1.00 ms"));
}
