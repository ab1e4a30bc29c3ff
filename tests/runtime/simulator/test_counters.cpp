// Counters of a launch, against what the definition of each gives for kernels that are easy to count by hand.
#include "runtime/simulator/tensormap.h"
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
  // Lanes that share what they load. `address` makes %r2, in units of 16 bytes, from the lane %r0.
  auto shared_by = [&](const std::string& access, const std::string& address) {
    return sim.of(access.substr(0, access.find(' ')), address + "mad.lo.u32 %r2, %r2, 16, %r1;\n" + access + ";")
        .shared.transactions;
  };
  const std::string quad = "ld.shared.v4.b32 {%r3, %r4, %r5, %r6}, [%r2]";
  CHECK(shared_by(quad, "mov.u32 %r2, 0;\n") == 2);
  CHECK(shared_by(quad, "shr.u32 %r2, %r0, 1;\n") == 2); // 0, 0, 1, 1, ...
  CHECK(shared_by(quad, "and.b32 %r2, %r0, 1;\n") == 2); // 0, 1, 0, 1, ...
  CHECK(shared_by(quad, "and.b32 %r2, %r0, 3;\n") == 4); // 0, 1, 2, 3, 0, ...
  CHECK(shared_by("ld.shared.v2.b32 {%r3, %r4}, [%r2]", "mov.u32 %r2, 0;\n") == 1);
  CHECK(shared_by("st.shared.v4.b32 [%r2], {%r3, %r4, %r5, %r6}", "mov.u32 %r2, 0;\n") == 4);
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

TEST_CASE("an instruction counts the lanes that its guard leaves on") {
  Counted sim;
  auto lanes = [&](const std::string& opcode, const std::string& body) {
    InstructionCounters c = sim.of(opcode, body, 3, 64);
    CHECK(c.executions == 6);
    return c.lanes;
  };
  const std::string third = "rem.u32 %r2, %r0, 3; setp.eq.u32 %p1, %r2, 0;\n"; // 22 of threads 0 to 63
  CHECK(lanes("mul.lo", third + "@%p1 mul.lo.u32 %r3, %r0, %r0;") == 3 * 22);
  CHECK(lanes("mul.lo", third + "@!%p1 mul.lo.u32 %r3, %r0, %r0;") == 3 * 42);
  CHECK(lanes("mul.lo", third + "mul.lo.u32 %r3, %r0, %r0;") == 3 * 64);
  CHECK(lanes("st.shared", third + "mad.lo.u32 %r4, %r0, 4, %r1; @%p1 st.shared.b32 [%r4], %r0;") == 3 * 22);
  CHECK(lanes("bra", third + "@%p1 bra A; add.u32 %r3, %r0, 1;\nA:") == 3 * 22);
  CHECK(lanes("membar", third + "@%p1 membar.gl;") == 3 * 22);
  CHECK(lanes("mul.lo", "mov.u32 %r2, %ctaid.x; setp.eq.u32 %p1, %r2, 1; @%p1 mul.lo.u32 %r3, %r2, %r2;") == 64);
  CHECK(sim.of("ex2", third + "@%p1 ex2.approx.f32 %f2, %f1;", 3, 64).special == 3 * 22);
  // Of the lower half of each warp: 0, 3, .. 15 and 33, 36, .. 45.
  CHECK(lanes("mul.lo", third +
                            "and.b32 %r5, %r0, 16; setp.ne.u32 %p2, %r5, 0;\n@%p2 bra A;\n@%p1 mul.lo.u32 %r3, %r0, "
                            "%r0;\nadd.u32 %r3, %r3, 1;\nA:") == 3 * (6 + 5));
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

namespace {

/// Thread 0 does `ask`, which brings `bytes` bytes to `buffer` (address %r1), and all wait for them.
std::string with_mbarrier(const std::string& ask, uint32_t bytes) {
  return ".shared .align 8 .b64 full; mov.u32 %r8, full; setp.eq.u32 %p1, %r0, 0; @%p1 mbarrier.init.shared.b64 "
         "[full], "
         "1; bar.sync 0;\n@!%p1 bra WAIT;\nmbarrier.arrive.expect_tx.shared.b64 _, [full], " +
         std::to_string(bytes) + ";\n" + ask +
         ";\nWAIT: mbarrier.try_wait.parity.shared.b64 %p2, [%r8], 0; @!%p2 bra WAIT;\n";
}
bool same(const Traffic& t, uint64_t requests, uint64_t bytes, uint64_t transactions, uint64_t least) {
  INFO(t.requests << " requests, " << t.bytes << " bytes, " << t.transactions << " transactions, " << t.least);
  CHECK(t.requests == requests);
  CHECK(t.bytes == bytes);
  CHECK(t.transactions == transactions);
  CHECK(t.least == least);
  return true;
}

} // namespace

TEST_CASE("a bulk copy counts its bytes in both memories, once for each block") {
  Counted sim;
  auto buffer = sim.upload(std::vector<uint32_t>(4096));
  const std::string load =
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%rd1], 4096, [%r8]";
  InstructionCounters c = sim.of("cp.async.bulk.shared", "ld.param.u64 %rd1, [p0];" + with_mbarrier(load, 4096), 3, 64,
                                 {"u64"}, {buffer->address()});
  same(c.global, 3, 3 * 4096, 3 * 128, 3 * 128);
  same(c.shared, 3, 3 * 4096, 3 * 32, 3 * 32);
  // 16 bytes off the sectors: one more of them.
  c = sim.of("cp.async.bulk.shared", "ld.param.u64 %rd1, [p0]; add.u64 %rd1, %rd1, 16;" + with_mbarrier(load, 4096), 1,
             64, {"u64"}, {buffer->address()});
  same(c.global, 1, 4096, 129, 128);
  c = sim.of("cp.async.bulk.global",
             "ld.param.u64 %rd1, [p0]; st.shared.b32 [%r1], %r0; fence.proxy.async; setp.eq.u32 %p1, %r0, 0;\n@%p1 "
             "cp.async.bulk.global.shared::cta.bulk_group [%rd1], [%r1], 512;\ncp.async.bulk.commit_group; "
             "cp.async.bulk.wait_group 0;",
             2, 32, {"u64"}, {buffer->address()});
  same(c.global, 2, 1024, 32, 32);
  same(c.shared, 2, 1024, 8, 8);
}

TEST_CASE("a tensor copy counts the rows that are in the tensor, and the whole box in shared memory") {
  Counted sim;
  auto buffer = sim.upload(std::vector<uint16_t>(256 * 100));
  auto launch_with = [&](int row) {
    auto& device = sim.instrument();
    auto map = simulator::encode_tensormap({.type = "bf16",
                                            .address = buffer->address(),
                                            .dims = {256, 100},
                                            .strides = {512},
                                            .box = {64, 32},
                                            .swizzle = 128});
    PtxLaunch launch{.entry = "k", .block = {32, 1, 1}};
    launch.parameters.push_back({map.begin(), map.end()});
    std::string text = kernel_text({},
                                   "mov.u32 %r0, %tid.x; mov.u32 %r1, buffer; mov.b64 %rd1, map; cvta.param.u64 %rd1, "
                                   "%rd1; mov.u32 %r2, 64; mov.u32 %r3, " +
                                       std::to_string(row) + ";\n" +
                                       with_mbarrier("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::"
                                                     "complete_tx::bytes [%r1], [%rd1, {%r2, %r3}], [%r8]",
                                                     4096),
                                   "sm_90a", ".shared .align 1024 .b8 buffer[4096];");
    text.replace(text.find("k()"), 3, "k(.param .align 64 .b8 map[128])");
    device.launch_ptx(text, launch);
    for (const InstructionCounters& i : device.last_launch().instructions)
      if (i.opcode.starts_with("cp.async.bulk.tensor")) return i;
    FAIL("there is no such instruction");
    return InstructionCounters{};
  };
  // 32 rows of 64 elements, 128 bytes that begin at a multiple of 128.
  InstructionCounters c = launch_with(0);
  same(c.global, 1, 32 * 128, 32 * 4, 32 * 4);
  same(c.shared, 1, 4096, 32, 32);
  // Of rows 90 to 121 there are ten.
  c = launch_with(90);
  same(c.global, 1, 10 * 128, 10 * 4, 10 * 4);
  same(c.shared, 1, 4096, 32, 32);
}

TEST_CASE("products of a warpgroup read their operands from shared memory once") {
  Counted sim;
  std::string d = "{%f0";
  for (int i = 1; i < 32; ++i) d += ", %f" + std::to_string(i);
  // 128-byte swizzle, groups of 8 rows 1024 bytes apart.
  InstructionCounters c = sim.of("wgmma.mma_async",
                                 "shr.u32 %r2, %r1, 4; cvt.u64.u32 %rd1, %r2; or.b64 %rd1, %rd1, 4611686293305294848; "
                                 "setp.ne.u32 %p1, 0, 0;\nwgmma.fence.sync.aligned;\n"
                                 "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 " +
                                     d +
                                     "}, %rd1, %rd1, %p1, 1, 1, 0, 0;\nwgmma.commit_group.sync.aligned; "
                                     "wgmma.wait_group.sync.aligned 0;",
                                 2, 128);
  // A: 64 x 16, B: 64 x 16, two bytes each; 128 bytes a wavefront. Two warpgroups.
  same(c.shared, 2, 2 * 2 * 2048, 2 * 32, 2 * 32);
  CHECK(c.operations == 2 * 2 * 64 * 64 * 16);
  CHECK(c.operand_type == "bf16");
  CHECK(c.executions == 8);
}

TEST_CASE("operations on mbarriers are accesses of 8 bytes") {
  Counted sim;
  const std::string init = "setp.eq.u32 %p1, %r0, 0; @%p1 mbarrier.init.shared.b64 [%r1], 64; bar.sync 0;\n";
  InstructionCounters c = sim.of("mbarrier.arrive", init + "mbarrier.arrive.shared.b64 _, [%r1];", 3, 64);
  same(c.shared, 6, 6 * 32 * 8, 6 * 2, 6 * 2); // half of the lanes at a time
  c = sim.of("mbarrier.init", init, 3, 64);
  same(c.shared, 3, 3 * 8, 3, 3);
  c = sim.of(
      "mbarrier.try_wait",
      init + "mbarrier.arrive.shared.b64 _, [%r1];\nW: mbarrier.try_wait.parity.shared.b64 %p2, [%r1], 0; @!%p2 bra W;",
      3, 64);
  CHECK(c.barrier_waits == 6);
  CHECK(c.shared.requests == 6);
}

TEST_CASE("local memory: lanes at one offset are neighbours") {
  Counted sim;
  const std::string local = ".local .align 16 .b8 frame[256]; mov.u32 %r2, frame;\n";
  same(sim.of("st.local", local + "st.local.b32 [%r2+4], %r0;", 2, 64).local, 4, 4 * 128, 4 * 4, 4 * 4);
  same(sim.of("st.local", local + "st.local.v2.b32 [%r2+8], {%r0, %r0};").local, 1, 256, 8, 8);
  // Each lane at a word of its own: 32 lines, of each a sector.
  same(sim.of("st.local", local + "mad.lo.u32 %r2, %r0, 4, %r2; st.local.b32 [%r2], %r0;").local, 1, 128, 32, 4);
  // The same words through a generic address.
  same(sim.of("st.b32", ".local .align 16 .b8 frame[256]; mov.u64 %rd1, frame; cvta.local.u64 %rd1, "
                        "%rd1; st.b32 [%rd1+4], %r0;")
           .local,
       1, 128, 4, 4);
}

TEST_CASE("an atomic of a vector counts all of its elements") {
  Counted sim;
  auto buffer = sim.upload(std::vector<float>(64));
  InstructionCounters c = sim.of("red.global",
                                 "ld.param.u64 %rd1, [p0]; mad.wide.u32 %rd1, %r0, 8, %rd1; mov.f32 %f1, 0f3F800000;\n"
                                 "red.global.add.v2.f32 [%rd1], {%f1, %f1};",
                                 1, 32, {"u64"}, {buffer->address()});
  CHECK(c.global.bytes == 256);
}

TEST_CASE("shared memory of another block of the cluster is shared memory") {
  Counted sim;
  PtxLaunch launch{.entry = "k", .grid = {2, 1, 1}, .block = {32, 1, 1}, .cluster = {2, 1, 1}};
  sim.instrument().launch_ptx(
      kernel_text(
          {},
          "mov.u32 %r0, %tid.x; mov.u32 %r1, buffer; mad.lo.u32 %r1, %r0, 4, %r1; mov.u32 %r2, %cluster_ctarank; "
          "xor.b32 %r2, %r2, 1; mapa.shared::cluster.u32 %r3, %r1, %r2; barrier.cluster.arrive.aligned; "
          "barrier.cluster.wait.aligned;\nst.shared::cluster.b32 [%r3], %r0;\nbarrier.cluster.arrive.aligned; "
          "barrier.cluster.wait.aligned;",
          "sm_90a", ".shared .align 128 .b8 buffer[128];"),
      launch);
  for (const InstructionCounters& i : sim.instrument().last_launch().instructions) {
    if (i.opcode.starts_with("st.shared")) same(i.shared, 2, 256, 2, 2);
    if (i.opcode.starts_with("barrier.cluster.wait")) CHECK(i.barrier_waits == 2);
  }
}

TEST_CASE(
    "special-function operations: two for a pair of halves, one in a rounded division, none in loads of fragments") {
  Counted sim;
  CHECK(sim.of("ex2", "ex2.approx.f16x2 %r3, %r2;", 1, 64).special == 128);
  CHECK(sim.of("div", "div.rn.f32 %f3, %f2, %f1;", 1, 64).special == 64);
  CHECK(sim.of("fma", "fma.rn.f32 %f3, %f2, %f1, %f1;", 1, 64).special == 0);
  CHECK(sim.of("wmma.load",
               "wmma.load.a.sync.aligned.row.m16n16k16.shared.f16 {%r2, %r3, %r4, %r5, %r6, %r7, %r8, %r9}, "
               "[%r1];")
            .operations == 0);
}

TEST_CASE("fragments of wmma: one request for the words or sectors of the matrix") {
  Counted sim;
  auto of = [&](const std::string& text) {
    return sim.of(text.substr(0, text.find('.', 5)), "mov.u32 %r20, 24;\n" + text);
  };
  // 16 rows of 32 bytes one after another: 128 words, which four wavefronts deliver.
  const std::string registers = " {%r2, %r3, %r4, %r5, %r6, %r7, %r8, %r9}, ";
  same(of("wmma.load.a.sync.aligned.row.m16n16k16.shared.f16" + registers + "[%r1];").shared, 1, 512, 4, 4);
  // Rows 48 bytes apart: of each four rows, which make a group of 32 words, some lie in the same banks.
  const Traffic t = of("wmma.load.a.sync.aligned.row.m16n16k16.shared.f16" + registers + "[%r1], %r20;").shared;
  CHECK((t.requests == 1 && t.bytes == 512 && t.least == 4 && t.transactions > 4));
  // Eight registers of f32: 16 x 16 sums.
  same(of("wmma.store.d.sync.aligned.row.m16n16k16.shared.f32 [%r1]," + registers.substr(0, registers.size() - 2) + ";")
           .shared,
       1, 1024, 8, 8);
}
