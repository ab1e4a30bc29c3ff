// The same launch gives the same bits at every instruction-set level of the host and on any number of host threads.
//
// The level is chosen once in a process, so the test runs itself again for each of them and compares what they print.
#include "tests/runtime/simulator/simulate.h"

#include <array>
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

/// Bytes on all ways through shared memory: lanes in and out of order, at the same place, of all widths. %r60 on: what
/// they find. Buffer: 16 bytes a thread, of which `barrier` parts writers and readers.
std::string moves(const std::string& barrier) {
  return R"(
    mul.lo.u32 %r3, %r0, 0x9e3779b9; xor.b32 %r4, %r3, 0x5bd1e995; mul.hi.u32 %r5, %r3, %r4; prmt.b32 %r6, %r3, %r5, 0x2610;
    mov.u32 %r30, buffer; mul.lo.u32 %r31, %r2, 11; and.b32 %r31, %r31, 127; mad.lo.u32 %r31, %r31, 16, %r30;
    mad.lo.u32 %r32, %r2, 16, %r30; xor.b32 %r33, %r32, 0x2f0; and.b32 %r34, %r2, 105; mad.lo.u32 %r34, %r34, 4, %r30;
    st.shared.v4.b32 [%r31], {%r3, %r4, %r5, %r6}; )" +
         barrier + R"( ld.shared.v4.b32 {%r60, %r61, %r62, %r63}, [%r33]; ld.shared.v2.b32 {%r64, %r65}, [%r33+8];
    ld.shared.b32 %r66, [%r33+4]; ld.shared.s8 %r67, [%r33+3]; ld.shared.u16 %r68, [%r33+6]; ld.shared.b32 %r69, [%r32];
    ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r70, %r71, %r72, %r73}, [%r33];
    ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%r74, %r75, %r76, %r77}, [%r33]; )" +
         barrier +
         R"( st.shared.b32 [%r34], %r3; st.shared.v2.b32 [%r33+8], {%r4, %r5}; st.shared.b16 [%r31+2], %r6; )" +
         barrier + R"( ld.shared.b32 %r78, [%r34]; ld.shared.b64 %rd20, [%r31]; cvt.u32.u64 %r79, %rd20; )" + barrier +
         R"(
    ld.param.u64 %rd21, [p1]; mad.wide.u32 %rd21, %r2, 16, %rd21; cp.async.cg.shared.global [%r33], [%rd21], 16;
    cp.async.ca.shared.global [%r33+2048], [%rd21], 8; cp.async.commit_group; cp.async.wait_group 0; )" +
         barrier + R"( ld.shared.v4.b32 {%r80, %r81, %r82, %r83}, [%r31]; ld.global.v2.b32 {%r84, %r85}, [%rd21+8];
)";
}
const std::string buffer = ".shared .align 16 .b8 buffer[4096];";

/// Products of a warpgroup, of operands with the exponents that `mask` and `set` leave: %f0 on, what they give. A from
/// shared memory and from registers, as they lie and transposed, negated; with and without what was there before.
std::string products(const std::string& type, const std::string& mask, const std::string& set) {
  auto registers = [](int first, int count) {
    std::string list = "{";
    for (int i = 0; i < count; ++i) list += (i ? ", %f" : "%f") + std::to_string(first + i);
    return list + "}";
  };
  const std::string instruction = "wgmma.mma_async.sync.aligned.m64n", kind = "k16.f32." + type + "." + type + " ";
  std::string text =
      "mov.u32 %r3, 0; mov.u32 %r30, operands; mad.lo.u32 %r4, %r2, 4, %r30;\n"
      "FILL: mad.lo.u32 %r5, %r3, 128, %r0; mul.lo.u32 %r5, %r5, 0x9e3779b9; shr.u32 %r6, %r5, 15; "
      "xor.b32 %r5, %r5, %r6; mul.lo.u32 %r5, %r5, 0x85ebca77;\nand.b32 %r5, %r5, " +
      mask + "; or.b32 %r5, %r5, " + set +
      "; st.shared.b32 [%r4], %r5; add.u32 %r4, %r4, 512; add.u32 %r3, %r3, 1; setp.lt.u32 %p1, %r3, 64; "
      "@%p1 bra FILL;\nfence.proxy.async; bar.sync 0;\n"
      "shr.u32 %r3, %r30, 4; cvt.u64.u32 %rd40, %r3; or.b64 %rd40, %rd40, 4611686293305294848;\n"
      "add.u64 %rd41, %rd40, 512; setp.eq.u32 %p5, 0, 0; setp.eq.u32 %p6, 0, 1;\n";
  // D: numbers, and some that are subnormal. A in registers: what there is in shared memory.
  for (int i = 0; i < 64; ++i)
    text += "mul.lo.u32 %r6, %r0, " + std::to_string(2654435761u + 2 * static_cast<unsigned>(i)) +
            "; and.b32 %r6, %r6, " + (i % 4 == 3 ? "0x807fffff" : "0x83ffffff") + "; mov.b32 %f" + std::to_string(i) +
            ", %r6;\n";
  text +=
      "mad.lo.u32 %r4, %r2, 16, %r30; ld.shared.v4.b32 {%r10, %r11, %r12, %r13}, [%r4];\nwgmma.fence.sync.aligned;\n";
  for (int step = 0; step < 4; ++step)
    text += "add.u64 %rd42, %rd40, " + std::to_string(2 * step) + "; add.u64 %rd43, %rd41, " +
            std::to_string(2 * step) + "; " + instruction + "64" + kind + registers(0, 32) +
            ", %rd42, %rd43, %p5, 1, 1, 0, 0;\n";
  for (int step = 0; step < 2; ++step)
    text += instruction + "24" + kind + registers(32, 12) + ", {%r10, %r11, %r12, %r13}, %rd41, " +
            (step ? "%p5" : "%p6") + ", -1, 1, 1;\n";
  text += instruction + "40" + kind + registers(44, 20) + ", %rd40, %rd41, %p5, 1, -1, 1, 1;\n";
  return text + "wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;\n";
}
const std::string operands = ".shared .align 1024 .b8 operands[32768];";

/// Hash of what the threads have in each register.
std::string digest_of(Simulator& sim, const std::string& body, const std::vector<std::string>& results,
                      const std::string& shared = buffer) {
  const uint32_t blocks = 64, threads = 128;
  std::string text = thread_index + body + "mov.u32 %r41, %r0;\n";
  for (const std::string& result : results)
    text += "mov.b32 %r40, " + result + ";\n" + element("%rd1", 0, "%r41", 4) +
            "st.global.b32 [%rd1], %r40; add.u32 %r41, %r41, " + std::to_string(blocks * threads) + ";\n";
  std::vector<uint32_t> source(4 * threads);
  Random random;
  for (uint32_t& word : source) word = random();
  auto out = sim.upload(std::vector<uint32_t>(results.size() * blocks * threads)), in = sim.upload(source);
  sim.run(kernel_text({"u64", "u64"}, text, "sm_90a", shared), blocks, threads, {out->address(), in->address()});
  auto words = sim.download<uint32_t>(*out);
  std::string lines;
  for (size_t r = 0; r < results.size(); ++r) {
    uint64_t hash = 0xcbf29ce484222325;
    for (size_t i = 0; i < blocks * threads; ++i) hash = (hash ^ words[r * blocks * threads + i]) * 0x100000001b3;
    lines += results[r] + "=" + std::to_string(hash) + "\n";
  }
  return lines;
}

/// A line for each result, and one for each finding in `moves` without its barriers.
std::string digest_of_this_process() {
  Simulator sim;
  std::vector<std::string> results, moved;
  for (int i = 5; i <= 45; ++i)
    if (i <= 25 || i >= 30) results.push_back("%f" + std::to_string(i));
  for (int i = 10; i <= 30; ++i) results.push_back("%r" + std::to_string(i));
  for (int i = 60; i <= 85; ++i) moved.push_back("%r" + std::to_string(i));
  std::string lines = digest_of(sim, mixed, results) + digest_of(sim, moves("bar.sync 0;"), moved);
  std::vector<std::string> sums;
  for (int i = 0; i < 64; ++i) sums.push_back("%f" + std::to_string(i));
  // Numbers near 1; all bits; all but subnormal numbers, NaN and infinities among them; zeros of both signs; products
  // that are subnormal, or nearly; f16 near 1.
  for (auto [type, mask, set] :
       {std::array{"bf16", "0x83ff83ff", "0x3c003c00"}, std::array{"bf16", "-1", "0"},
        std::array{"bf16", "-1", "0x00800080"}, std::array{"bf16", "0x80008000", "0"},
        std::array{"bf16", "0x83ff83ff", "0x20002000"}, std::array{"bf16", "0x83ff83ff", "0x1c001c00"},
        std::array{"f16", "0x8fff8fff", "0x30003000"}})
    lines += digest_of(sim, products(type, mask, set), sums, operands);
  auto& instrument = dynamic_cast<SimulatorDevice&>(*sim.device);
  instrument.set_instruments({.sanitize = true});
  for (const char* barrier : {"bar.sync 0;", "bar.warp.sync -1;"}) {
    digest_of(sim, moves(barrier), moved);
    lines += "findings " + std::to_string(instrument.findings().size()) + "\n";
    for (const Finding& f : instrument.findings()) lines += f.message + "\n";
    instrument.clear_findings();
  }
  return lines;
}

std::string own_path() {
  char self[4096];
  ssize_t length = readlink("/proc/self/exe", self, sizeof self);
  REQUIRE((length > 0 && length < static_cast<ssize_t>(sizeof self)));
  return {self, static_cast<size_t>(length)};
}
std::string digest_with(const std::string& environment) {
  std::string command = environment + " '" + own_path() + "' '[.digest]' 2>&1", output;
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

TEST_CASE("level", "[.level]") { Simulator().words("mov.u32 %r9, 1;", 1, 32); }

TEST_CASE("every instruction-set level and any number of threads give the same bits") {
  std::string baseline = digest_with("TILEJIT_SIMULATOR_ISA=v2");
  for (auto [level, here] :
       {std::pair{"v3", bool(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))},
        std::pair{"v4", bool(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"))},
        std::pair{"amx",
                  std::system(("TILEJIT_SIMULATOR_ISA=amx '" + own_path() + "' '[.level]' > /dev/null 2>&1").c_str()) ==
                      0}}) {
    if (!here) {
      WARN("this CPU lacks level " << level << ": not compared");
      continue;
    }
    CHECK(digest_with(std::string("TILEJIT_SIMULATOR_ISA=") + level) == baseline);
  }
  CHECK_THAT(baseline, Catch::Contains("has written")); // what the digest has of the sanitizer is not empty
  for (const char* threads : {"1", "2", "3", "7"})
    CHECK(digest_with(std::string("TILEJIT_SIMULATOR_THREADS=") + threads) == baseline);
}

TEST_CASE("a level that does not exist is refused by name") {
  CHECK(std::system(("TILEJIT_SIMULATOR_ISA=v9 '" + own_path() + "' '[.digest]' > /dev/null 2>&1").c_str()) != 0);
}
