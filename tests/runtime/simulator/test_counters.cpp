// Counters of a launch, against what the definition of each gives for kernels that are easy to count by hand.
#include "tests/runtime/simulator/simulate.h"

#include <catch2/catch.hpp>

using namespace tilejit::runtime;
using namespace tilejit::runtime::simulator::test;

namespace {

struct Counted : Simulator {
  Counted() { instrument().set_instruments({.counters = true}); }
  SimulatorDevice& instrument() { return dynamic_cast<SimulatorDevice&>(*device); }
  /// The counters of the only instruction that begins with `opcode`.
  InstructionCounters of(const std::string& opcode, const std::string& body, uint32_t blocks = 1, uint32_t threads = 32,
                         const std::vector<std::string>& kinds = {}, std::vector<ParameterValue> parameters = {}) {
    run(kernel_text(kinds, "mov.u32 %r0, %tid.x; mov.u32 %r1, buffer;\n" + body, "sm_90a",
                    ".shared .align 128 .b8 buffer[16384];"),
        blocks, threads, std::move(parameters));
    std::vector<InstructionCounters> all;
    for (const InstructionCounters& i : instrument().last_launch().instructions)
      if (i.opcode.starts_with(opcode)) all.push_back(i);
    REQUIRE(all.size() == 1);
    return all[0];
  }
};

} // namespace

TEST_CASE("bank conflicts of shared memory") {
  Counted sim;
  auto wavefronts = [&](const std::string& access, uint32_t step) {
    Traffic t = sim.of(access.substr(0, access.find(' ')),
                       "mad.lo.u32 %r2, %r0, " + std::to_string(step) + ", %r1;\n" + access + ";")
                    .shared;
    CHECK(t.requests == 1);
    return std::pair(t.transactions, t.least);
  };
  using P = std::pair<uint64_t, uint64_t>;
  const std::string load = "ld.shared.b32 %r3, [%r2]";
  CHECK(wavefronts(load, 0) == P(1, 1)); // all lanes read one word
  CHECK(wavefronts(load, 4) == P(1, 1));
  CHECK(wavefronts(load, 8) == P(2, 1));
  CHECK(wavefronts(load, 12) == P(1, 1)); // an odd number of words
  CHECK(wavefronts(load, 64) == P(16, 1));
  CHECK(wavefronts(load, 128) == P(32, 1));
  CHECK(wavefronts(load, 132) == P(1, 1)); // padded rows
  CHECK(wavefronts("ld.shared.u8 %r3, [%r2]", 1) == P(1, 1));
  CHECK(wavefronts("ld.shared.v2.b32 {%r3, %r4}, [%r2]", 8) == P(2, 2));
  CHECK(wavefronts("ld.shared.v2.b32 {%r3, %r4}, [%r2]", 16) == P(4, 2));
  CHECK(wavefronts("ld.shared.v4.b32 {%r3, %r4, %r5, %r6}, [%r2]", 16) == P(4, 4));
  CHECK(wavefronts("ld.shared.v4.b32 {%r3, %r4, %r5, %r6}, [%r2]", 128) == P(32, 4));
  CHECK(wavefronts("st.shared.v4.b32 [%r2], {%r3, %r4, %r5, %r6}", 144) == P(4, 4));
  const std::string matrix = "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r3, %r4, %r5, %r6}, [%r2]";
  CHECK(wavefronts(matrix, 16) == P(4, 4));
  CHECK(wavefronts(matrix, 128) == P(32, 4));
  CHECK(wavefronts(matrix, 80) == P(4, 4));
}

TEST_CASE("sectors of global memory") {
  Counted sim;
  auto buffer = sim.upload(std::vector<uint32_t>(8192));
  auto sectors = [&](uint32_t step, uint32_t offset = 0) {
    Traffic t = sim.of("ld.global",
                       "ld.param.u64 %rd1, [p0]; mad.wide.u32 %rd1, %r0, " + std::to_string(step) +
                           ", %rd1;\nld.global.b32 %r3, [%rd1+" + std::to_string(offset) + "];",
                       3, 64, {"u64"}, {buffer->address()})
                    .global;
    CHECK(t.requests == 6);
    CHECK(t.bytes == 6 * 128);
    return std::pair(t.transactions, t.least);
  };
  using P = std::pair<uint64_t, uint64_t>;
  CHECK(sectors(4) == P(24, 24));
  CHECK(sectors(4, 4) == P(30, 24));
  CHECK(sectors(0) == P(6, 6));
  CHECK(sectors(32) == P(192, 24));
  CHECK(sectors(128) == P(192, 24));
}

TEST_CASE("branches, lanes, operations") {
  Counted sim;
  const std::string odd = "and.b32 %r2, %r0, 1; setp.eq.u32 %p1, %r2, 1;\n";
  InstructionCounters branch = sim.of("bra", odd + "@%p1 bra A; add.u32 %r3, %r0, 1;\nA:", 2, 64);
  CHECK(branch.branches == 4);
  CHECK(branch.divergent == 4);
  CHECK(sim.of("bra", "setp.lt.u32 %p1, %r0, 32;\n@%p1 bra A; add.u32 %r3, %r0, 1;\nA:", 2, 64).divergent == 0);
  InstructionCounters half = sim.of("mul.lo", odd + "@%p1 bra A; mul.lo.u32 %r3, %r0, 3;\nA:", 2, 64);
  CHECK(half.executions == 4);
  CHECK(half.lanes == 64);
  InstructionCounters product =
      sim.of("mma",
             "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f0, %f1, %f2, %f3}, {%r2, %r3, %r4, %r5}, {%r6, "
             "%r7}, {%f0, %f1, %f2, %f3};",
             3, 64);
  CHECK(product.operations == 6 * 2 * 16 * 8 * 16);
  CHECK(product.operand_type == "bf16");
  CHECK(sim.of("ex2", "ex2.approx.ftz.f32 %f1, %f2;", 3, 64).special == 192);
  CHECK(sim.of("bar.sync", "bar.sync 0;", 3, 64).barrier_waits == 6);
}

TEST_CASE("a copy counts both of its memories, and no more of the source than it reads") {
  Counted sim;
  auto buffer = sim.upload(std::vector<uint32_t>(1024));
  InstructionCounters copy =
      sim.of("cp.async.cg",
             "ld.param.u64 %rd1, [p0]; mad.wide.u32 %rd1, %r0, 16, %rd1; mad.lo.u32 %r1, %r0, 16, %r1;\n"
             "setp.lt.u32 %p1, %r0, 8; selp.b32 %r3, 0, 16, %p1;\n"
             "cp.async.cg.shared.global [%r1], [%rd1], 16, %r3; cp.async.wait_all;",
             1, 32, {"u64"}, {buffer->address()});
  CHECK(copy.shared.bytes == 512);
  CHECK(copy.shared.transactions == 4);
  CHECK(copy.global.bytes == 384);
  CHECK(copy.global.transactions == 12);
}

TEST_CASE("counting changes neither results nor the number of instructions") {
  Counted counted;
  Simulator plain;
  const std::string body = "mul.lo.u32 %r9, %r0, %r0; and.b32 %r3, %r0, 3; setp.eq.u32 %p1, %r3, 0; @%p1 add.u32 %r9, "
                           "%r9, 7;";
  CHECK(counted.words(body, 5, 96) == plain.words(body, 5, 96));
  auto& with = counted.instrument().last_launch();
  auto& without = dynamic_cast<SimulatorDevice&>(*plain.device).last_launch();
  CHECK(with.warp_instructions == without.warp_instructions);
  uint64_t sum = 0;
  for (const InstructionCounters& i : with.instructions) sum += i.executions;
  CHECK(sum == with.warp_instructions);
  CHECK(without.instructions.empty());
}
