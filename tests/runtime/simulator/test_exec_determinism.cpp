// The same launch gives the same bits at every instruction-set level of the host and on any number of host threads.
//
// The level is chosen once in a process, so the test runs itself again for each of them and compares what they print.
#include "tests/runtime/simulator/simulate.h"

#include <catch2/catch.hpp>

#include <cstdio>
#include <cstdlib>
#include <unistd.h>

using namespace tilejit::runtime;
using namespace tilejit::runtime::simulator::test;

namespace {

/// Arithmetic of all kinds on raw bits: NaN, infinities and subnormals among them.
const char* const mixed = R"(
    mul.lo.u32 %r3, %r0, 0x9e3779b9; xor.b32 %r4, %r3, 0x5bd1e995; mul.hi.u32 %r5, %r3, %r4; prmt.b32 %r6, %r3, %r5, 0x2610;
    mov.b32 %f1, %r3; mov.b32 %f2, %r4; mov.b32 %f3, %r5; mov.b32 %f4, %r6;
    fma.rn.f32 %f5, %f1, %f2, %f3; fma.rn.ftz.f32 %f6, %f2, %f3, %f4; add.f32 %f7, %f1, %f4; mul.ftz.f32 %f8, %f2, %f4;
    sub.rz.f32 %f9, %f1, %f3; fma.rm.f32 %f10, %f1, %f3, %f2; div.rn.f32 %f11, %f1, %f2; sqrt.rn.f32 %f12, %f3; rcp.approx.ftz.f32 %f13, %f4;
    rsqrt.approx.f32 %f14, %f2; ex2.approx.ftz.f32 %f15, %f1; lg2.approx.f32 %f16, %f3; sin.approx.f32 %f17, %f2; cos.approx.f32 %f18, %f3;
    tanh.approx.f32 %f19, %f4; max.f32 %f20, %f1, %f2; min.NaN.f32 %f21, %f3, %f4; div.full.f32 %f22, %f2, %f3; mul.rp.f32 %f23, %f3, %f4;
    cvt.rn.bf16x2.f32 %r10, %f1, %f2; cvt.rn.f16x2.f32 %r11, %f3, %f4; cvt.rna.tf32.f32 %r12, %f1; cvt.rn.f32.s32 %f24, %r3; cvt.rzi.s32.f32 %r13, %f2;
    fma.rn.f16x2 %r14, %r3, %r4, %r5; add.f16x2 %r15, %r4, %r6; fma.rn.bf16x2 %r16, %r3, %r5, %r6; max.bf16x2 %r17, %r3, %r4;
    cvt.f64.f32 %fd1, %f1; cvt.f64.f32 %fd2, %f2; fma.rn.f64 %fd3, %fd1, %fd2, %fd1; div.rn.f64 %fd4, %fd1, %fd2; add.rn.f64 %fd3, %fd3, %fd4;
    cvt.rn.f32.f64 %f25, %fd3; mov.b64 %rd10, %fd4; cvt.u32.u64 %r18, %rd10; shr.u64 %rd11, %rd10, 32; cvt.u32.u64 %r19, %rd11;
    shfl.sync.bfly.b32 %r20, %r3, 5, 31, -1; div.s32 %r21, %r3, %r4; rem.u32 %r22, %r4, %r5; bfe.s32 %r23, %r3, 5, 9; lop3.b32 %r24, %r3, %r4, %r5, 0xca;
    mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f30, %f31, %f32, %f33}, {%r3, %r4, %r5, %r6}, {%r4, %r5}, {%f1, %f2, %f3, %f4};
    mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f34, %f35, %f36, %f37}, {%r3, %r4, %r5, %r6}, {%r4, %r5}, {%f1, %f2, %f3, %f4};
    mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%f38, %f39, %f40, %f41}, {%r3, %r4, %r5, %r6}, {%r4, %r5}, {%f1, %f2, %f3, %f4};
    mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%r25, %r26}, {%r3, %r4, %r5, %r6}, {%r4, %r5}, {%r3, %r6};
    mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e5m2.f32 {%f42, %f43, %f44, %f45}, {%r3, %r4, %r5, %r6}, {%r4, %r5}, {%f1, %f2, %f3, %f4};
    mma.sync.aligned.m16n8k32.row.col.satfinite.s32.s8.u8.s32 {%r27, %r28, %r29, %r30}, {%r3, %r4, %r5, %r6}, {%r4, %r5}, {%r3, %r4, %r5, %r6};
)";

/// A line for each result of `mixed`: its register, and a hash of what all threads have in it.
std::string digest_of_this_process() {
  Simulator sim;
  const uint32_t blocks = 64, threads = 128;
  std::vector<std::string> results;
  for (int i = 5; i <= 45; ++i)
    if (i <= 25 || i >= 30) results.push_back("%f" + std::to_string(i));
  for (int i = 10; i <= 30; ++i) results.push_back("%r" + std::to_string(i));
  std::string text = thread_index + mixed + "mov.u32 %r41, %r0;\n";
  for (const std::string& result : results)
    text += "mov.b32 %r40, " + result + ";\n" + element("%rd1", 0, "%r41", 4) +
            "st.global.b32 [%rd1], %r40; add.u32 %r41, %r41, " + std::to_string(blocks * threads) + ";\n";
  auto out = sim.upload(std::vector<uint32_t>(results.size() * blocks * threads));
  sim.run(kernel_text({"u64"}, text), blocks, threads, {out->address()});
  auto words = sim.download<uint32_t>(*out);
  std::string lines;
  for (size_t r = 0; r < results.size(); ++r) {
    uint64_t hash = 0xcbf29ce484222325;
    for (size_t i = 0; i < blocks * threads; ++i) hash = (hash ^ words[r * blocks * threads + i]) * 0x100000001b3;
    lines += results[r] + "=" + std::to_string(hash) + "\n";
  }
  return lines;
}

std::string digest_with(const std::string& environment) {
  char self[4096];
  ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  REQUIRE(length > 0);
  self[length] = 0;
  std::string command = environment + " '" + self + "' '[.digest]' 2>&1", output;
  FILE* pipe = popen(command.c_str(), "r");
  REQUIRE(pipe);
  char line[512];
  while (fgets(line, sizeof line, pipe)) output += line;
  int status = pclose(pipe);
  INFO(environment << "\n" << output);
  REQUIRE(status == 0);
  size_t begin = output.find("%f5="), end = output.find("end of digest");
  REQUIRE(begin != output.npos);
  REQUIRE(end != output.npos);
  return output.substr(begin, end - begin);
}

} // namespace

TEST_CASE("digest", "[.digest]") { std::printf("\n%send of digest\n", digest_of_this_process().c_str()); }

TEST_CASE("every instruction-set level and any number of threads give the same bits") {
  std::string baseline = digest_with("TILEJIT_SIMULATOR_ISA=v2");
  for (auto [level, here] :
       {std::pair{"v3", bool(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))},
        std::pair{"v4", bool(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"))}}) {
    if (!here) {
      WARN("this CPU lacks level " << level << ": not compared");
      continue;
    }
    CHECK(digest_with(std::string("TILEJIT_SIMULATOR_ISA=") + level) == baseline);
  }
  for (const char* threads : {"1", "2", "3", "7"})
    CHECK(digest_with(std::string("TILEJIT_SIMULATOR_THREADS=") + threads) == baseline);
}

TEST_CASE("a level that does not exist is refused by name") {
  char self[4096];
  ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  REQUIRE(length > 0);
  self[length] = 0;
  CHECK(std::system(("TILEJIT_SIMULATOR_ISA=v9 '" + std::string(self) + "' '[.digest]' > /dev/null 2>&1").c_str()) !=
        0);
}
