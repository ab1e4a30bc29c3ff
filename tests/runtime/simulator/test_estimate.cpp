// The time estimate must rank: pairs of kernels that do the same work, of which one is known from first principles to
// be faster. Each pair says why. Bounds are ratios that the argument supports, not cycles.
#include "runtime/simulator/estimate.h"
#include "tests/runtime/simulator/simulate.h"

#include <catch2/catch.hpp>

#include <functional>

using namespace tilejit::runtime;
using namespace tilejit::runtime::simulator::test;

namespace {

constexpr uint64_t array_bytes = 64 << 20;

struct Kernel {
  std::string body;
  uint32_t blocks = 132, threads = 128, shared = 0;
  const char* gpu = "h100";
};

/// p0 and p1 are arrays of 64 MB; %r0 = thread in the grid, %r2 in its block, %rd1 and %rd2 = p0 and p1 + 4 * %r0;
/// %r1 = threads of the grid, `buffer` = 32 KB of shared memory, %r9 its address.
const std::string begin = R"(mov.u32 %r3, %ctaid.x; mov.u32 %r4, %ntid.x; mov.u32 %r2, %tid.x; mov.u32 %r5, %nctaid.x;
mad.lo.u32 %r0, %r3, %r4, %r2; mul.lo.u32 %r1, %r4, %r5; mov.u32 %r9, buffer;
ld.param.u64 %rd3, [p0]; ld.param.u64 %rd4, [p1]; mad.wide.u32 %rd1, %r0, 4, %rd3; mad.wide.u32 %rd2, %r0, 4, %rd4;
)";

std::string repeat(int n, const std::function<std::string(int)>& f) {
  std::string text;
  for (int i = 0; i < n; ++i) text += f(i);
  return text;
}
std::string number(int i) { return std::to_string(i); }
/// Registers that differ from lane to lane, so that nothing is the same for a whole warp.
const std::string varying =
    repeat(44, [](int i) { return "mov.b32 %f" + number(i) + ", %r2; mov.u32 %r" + number(20 + i) + ", %r2;\n"; });

Estimate estimate_of(const Kernel& k) {
  Simulator sim(find_gpu(k.gpu).target == "sm_80" ? "sm_80" : "sm_90a");
  auto& device = dynamic_cast<SimulatorDevice&>(*sim.device);
  auto a = sim.device->allocate(array_bytes), b = sim.device->allocate(array_bytes);
  device.set_instruments({.estimate = true});
  sim.run(kernel_text({"u64", "u64"}, begin + varying + k.body, sim.device->target(),
                      ".shared .align 1024 .b8 buffer[32768];"),
          k.blocks, k.threads, {a->address(), b->address()}, k.shared);
  return estimate(device.last_launch(), find_gpu(k.gpu));
}

/// `slow` takes at least `ratio` times as long.
void ranks(const Kernel& fast, const Kernel& slow, double ratio) {
  Estimate f = estimate_of(fast), s = estimate_of(slow);
  INFO("fast: " << f.microseconds << " us, " << f.bound_by << "; slow: " << s.microseconds << " us, " << s.bound_by);
  CHECK(f.microseconds > 0);
  CHECK(s.microseconds >= ratio * f.microseconds);
}

/// `body` `n` times, in a loop whose counter is %r10.
std::string loop(int n, const std::string& body) {
  return "mov.u32 %r10, 0;\nLOOP:\n" + body + "add.u32 %r10, %r10, 1; setp.lt.u32 %p1, %r10, " + number(n) +
         ";\n@%p1 bra LOOP;\n";
}

} // namespace

TEST_CASE("shared memory: a bank gives one word a cycle, so 32 words of one bank take 32 cycles") {
  auto kernel = [](int stride) {
    return Kernel{"mul.lo.u32 %r11, %r2, " + number(stride) +
                  "; and.b32 %r11, %r11, 16383; add.u32 %r11, %r11, %r9;\n" +
                  loop(16, repeat(8, [](int i) {
                         return "ld.shared.b32 %r" + number(20 + i) + ", [%r11+" + number(4 * i) + "];\n";
                       }))};
  };
  ranks(kernel(4), kernel(128), 8);
  ranks(kernel(132), kernel(128), 8); // rows of 33 words: their first words are in different banks
  ranks(kernel(4), kernel(8), 1.3);   // every other bank: two words of each that is used
}

TEST_CASE("global memory: a warp that reads neighbours needs 4 sectors, one that reads every 32nd word needs 32") {
  auto kernel = [](int words) {
    return Kernel{.body = "mul.lo.u32 %r11, %r1, 4; mul.wide.u32 %rd5, %r0, " + number(4 * words) +
                          "; add.u64 %rd5, %rd3, %rd5;\n" +
                          repeat(8,
                                 [&](int i) {
                                   return "ld.global.b32 %r" + number(20 + i) + ", [%rd5]; mul.wide.u32 %rd6, %r11, " +
                                          number(words) + "; add.u64 %rd5, %rd5, %rd6;\n";
                                 }),
                  .blocks = 264,
                  .threads = 128};
  };
  ranks(kernel(1), kernel(32), 2.5);
}

TEST_CASE("vector loads: with one load at a time under way, four times the bytes come in the same latency") {
  // The same 16 words for each thread, and each load is used before the next.
  Kernel scalar{.body =
                    loop(16, "ld.global.f32 %f1, [%rd1]; add.f32 %f2, %f2, %f1; mad.wide.u32 %rd1, %r1, 4, %rd1;\n")};
  Kernel vector{.body =
                    "mad.wide.u32 %rd1, %r0, 16, %rd3;\n" +
                    loop(4, "ld.global.v4.f32 {%f1, %f3, %f4, %f5}, [%rd1]; add.f32 %f2, %f2, %f1; add.f32 %f2, %f2, "
                            "%f3; add.f32 %f2, %f2, %f4; add.f32 %f2, %f2, %f5; mad.wide.u32 %rd1, %r1, 16, %rd1;\n")};
  ranks(vector, scalar, 1.5);
}

TEST_CASE("latency: more warps have more loads under way") {
  // 64 dependent loads in all for each multiprocessor; one warp waits for each, four share them.
  auto kernel = [](uint32_t threads, int loads) {
    return Kernel{.body = loop(loads, "ld.global.b32 %r11, [%rd1]; and.b32 %r11, %r11, 0; mad.wide.u32 %rd1, %r11, 4, "
                                      "%rd1; mad.wide.u32 %rd1, %r1, 4, %rd1;\n"),
                  .threads = threads};
  };
  ranks(kernel(128, 16), kernel(32, 64), 3);
}

TEST_CASE("arithmetic: a chain waits for each result, independent operations do not") {
  auto kernel = [](int chains) {
    return Kernel{.body = loop(8, repeat(64,
                                         [&](int i) {
                                           std::string f = "%f" + number(i % chains);
                                           return "fma.rn.f32 " + f + ", " + f + ", " + f + ", " + f + ";\n";
                                         })),
                  .threads = 32};
  };
  ranks(kernel(8), kernel(1), 2);
}

TEST_CASE("special functions: 16 a cycle, a quarter of the fp32 units of a multiprocessor or less") {
  auto kernel = [](int special) {
    return Kernel{.body = loop(8, repeat(32,
                                         [&](int i) {
                                           std::string f = "%f" + number(i);
                                           return i % 8 < special
                                                      ? "ex2.approx.ftz.f32 " + f + ", " + f + ";\n"
                                                      : "fma.rn.f32 " + f + ", " + f + ", " + f + ", " + f + ";\n";
                                         })),
                  .threads = 512};
  };
  ranks(kernel(2), kernel(4), 1.5);
  ranks(kernel(4), kernel(8), 1.5);
  CHECK(estimate_of(kernel(8)).bound_by == "special function");
}

TEST_CASE("division: rounded correctly it is a sequence of instructions, approximately a reciprocal and a product") {
  auto kernel = [](const char* divide) {
    return Kernel{.body = loop(8, repeat(16,
                                         [&](int i) {
                                           std::string f = "%f" + number(i);
                                           return std::string(divide) + " " + f + ", " + f + ", %f40;\n";
                                         })),
                  .threads = 512};
  };
  ranks(kernel("div.approx.ftz.f32"), kernel("div.rn.f32"), 1.2);
}

TEST_CASE("conversions: few units go from floating point to integers, more of them to another number of bits") {
  auto kernel = [](const char* convert, const char* from) {
    return Kernel{.body = loop(8, repeat(32, [&](int i) { return convert + number(20 + i) + from; })), .threads = 512};
  };
  ranks(kernel("cvt.rn.bf16x2.f32 %r", ", %f0, %f1;\n"), kernel("cvt.rzi.s32.f32 %r", ", %f0;\n"), 2);
  ranks(kernel("cvt.rn.f32.s32 %f", ", %r2;\n"), kernel("cvt.rn.f32.s8 %f", ", %r2;\n"), 2); // as a Hopper does it
}

TEST_CASE("packed halves: two operations in an instruction") {
  Kernel single{.body = loop(8, repeat(64,
                                       [](int i) {
                                         std::string f = "%f" + number(i % 32);
                                         return "fma.rn.f32 " + f + ", " + f + ", " + f + ", " + f + ";\n";
                                       })),
                .threads = 512};
  Kernel packed{.body = loop(8, repeat(32,
                                       [](int i) {
                                         std::string r = "%r" + number(20 + i);
                                         return "fma.rn.f16x2 " + r + ", " + r + ", " + r + ", " + r + ";\n";
                                       })),
                .threads = 512};
  ranks(packed, single, 1.5);
}

TEST_CASE("divergence: a warp whose lanes part runs both sides") {
  auto kernel = [](const char* bit) {
    auto side = repeat(64, [](int i) {
      std::string r = "%r" + number(20 + i % 8);
      return "mul.lo.u32 " + r + ", " + r + ", 3;\n";
    });
    return Kernel{.body = "and.b32 %r12, %r2, " + std::string(bit) + "; setp.eq.u32 %p2, %r12, 0;\n" +
                          loop(8, "@%p2 bra ELSE;\n" + side + "bra DONE;\nELSE:\n" + side + "DONE:\n")};
  };
  ranks(kernel("32"), kernel("1"), 1.6);
}

TEST_CASE("copies: a ring with the next tile under way hides latency that waiting for each tile does not") {
  // Each thread copies 16 bytes a step and then works on them for a while.
  auto kernel = [](int pending) {
    const std::string copy =
        "and.b32 %r12, %r13, 3; mad.lo.u32 %r12, %r12, 2048, %r14; cp.async.cg.shared.global [%r12], "
        "[%rd1], 16; cp.async.commit_group; mad.wide.u32 %rd1, %r1, 16, %rd1; add.u32 %r13, %r13, 1;\n";
    return Kernel{.body = "mov.u32 %r13, 0; mad.lo.u32 %r14, %r2, 16, %r9; mad.wide.u32 %rd1, %r0, 16, %rd3;\n" +
                          repeat(pending, [&](int) { return copy; }) +
                          loop(16, copy + "cp.async.wait_group " + number(pending) + "; bar.sync 0;\n" +
                                       "ld.shared.f32 %f1, [%r14];\n" +
                                       repeat(64, [](int) { return std::string("fma.rn.f32 %f1, %f1, %f1, %f1;\n"); }) +
                                       "bar.sync 0;\n")};
  };
  ranks(kernel(2), kernel(0), 1.5);
}

TEST_CASE("bulk copies: a ring of two stages against one") {
  // Thread 0 asks for the next stage before all work on this one.
  auto kernel = [](int stages) {
    const std::string ask = "@%p3 bra ASK#; bra ASKED#;\nASK#: and.b32 %r12, %r13, " + number(stages - 1) +
                            "; mad.lo.u32 %r15, %r12, 8, %r16; mad.lo.u32 %r17, %r12, 8192, %r9; "
                            "mbarrier.arrive.expect_tx.shared.b64 _, [%r15], "
                            "8192;\ncp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r17], [%rd3], "
                            "8192, [%r15]; add.u64 "
                            "%rd3, %rd3, 8192; add.u32 %r13, %r13, 1;\nASKED#:\n";
    auto at = [&](std::string text, const std::string& n) {
      for (size_t i; (i = text.find('#')) != std::string::npos;) text.replace(i, 1, n);
      return text;
    };
    return Kernel{
        .body = ".shared .align 8 .b64 full[2]; mov.u32 %r16, full; setp.eq.u32 %p3, %r2, 0; mov.u32 %r13, 0;\n"
                "@%p3 mbarrier.init.shared.b64 [full], 1; @%p3 mbarrier.init.shared.b64 [full+8], 1; bar.sync 0;\n"
                "mad.wide.u32 %rd3, %r3, 65536, %rd3;\n" +
                (stages == 2 ? at(ask, "A") : std::string()) +
                loop(8, at(ask, "B") + "and.b32 %r12, %r10, " + number(stages - 1) +
                            "; mad.lo.u32 %r15, %r12, 8, %r16; shr.u32 %r18, %r10, " + number(stages - 1) +
                            "; and.b32 %r18, %r18, 1;\nW: mbarrier.try_wait.parity.shared.b64 %p4, [%r15], %r18; "
                            "@!%p4 bra W;\n" +
                            repeat(128, [](int) { return std::string("fma.rn.f32 %f1, %f1, %f1, %f1;\n"); }) +
                            "bar.sync 0;\n")};
  };
  ranks(kernel(2), kernel(1), 1.3);
}

namespace {

std::string registers(const std::string& prefix, int first, int count) {
  return "{" + repeat(count, [&](int i) { return (i ? ", " + prefix : prefix) + number(first + i); }) + "}";
}
/// 64 x 64 x 16 multiply-adds of a warpgroup, as wgmma, as mma.sync, as fma.
std::string warpgroup_product() {
  return "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 " + registers("%f", 0, 32) +
         ", %rd5, %rd5, %p2, 1, 1, 0, 0;\n";
}
std::string descriptor() {
  return "setp.eq.u32 %p2, 0, 0; shr.u32 %r11, %r9, 4; cvt.u64.u32 %rd5, %r11; or.b64 %rd5, %rd5, "
         "4611686293305294848;\n"
         "wgmma.fence.sync.aligned;\n";
}
const std::string commit = "wgmma.commit_group.sync.aligned;\n", wait_all = "wgmma.wait_group.sync.aligned 0;\n";

} // namespace

TEST_CASE("products: wgmma, mma.sync, fma, in this order, for the same multiply-adds") {
  // mma.sync reaches 0.63 of the rate of wgmma; sixteen products follow each other before a wait.
  Kernel wgmma{.body = descriptor() + loop(8, repeat(16, [](int) { return warpgroup_product(); }) + commit + wait_all)};
  // A warp's quarter of it: 16 x 64 x 16, eight products of m16n8k16.
  Kernel mma{.body = loop(32, repeat(32, [](int i) {
                            return "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 " +
                                   registers("%f", i % 8 * 4, 4) + ", {%r20, %r21, %r22, %r23}, {%r24, %r25}, " +
                                   registers("%f", i % 8 * 4, 4) + ";\n";
                          }))};
  // A thread's share of it: 64 * 64 * 16 / 128.
  Kernel fma{.body = loop(32, repeat(4 * 512, [](int i) {
                            std::string f = "%f" + number(i % 32);
                            return "fma.rn.f32 " + f + ", %f40, %f41, " + f + ";\n";
                          }))};
  ranks(wgmma, mma, 1.3);
  ranks(mma, fma, 5);
}

TEST_CASE("products: one wait for four products lets them follow each other, a wait after each does not") {
  Kernel together{.body =
                      descriptor() + loop(16, repeat(4, [](int) { return warpgroup_product(); }) + commit + wait_all)};
  Kernel each{.body = descriptor() + loop(16, repeat(4, [](int) { return warpgroup_product() + commit + wait_all; }))};
  ranks(together, each, 1.2);
}

TEST_CASE("waves: one block more than there are multiprocessors takes another wave") {
  // 160 KB of shared memory: one block fits a multiprocessor.
  auto kernel = [](uint32_t blocks) {
    return Kernel{.body = loop(32, repeat(16, [](int) { return std::string("fma.rn.f32 %f1, %f1, %f1, %f1;\n"); })),
                  .blocks = blocks,
                  .shared = 160 * 1024};
  };
  ranks(kernel(132), kernel(133), 1.7);
  ranks(kernel(133), kernel(265), 1.3);
  Estimate full = estimate_of(kernel(264)), more = estimate_of(kernel(133)); // both two waves
  CHECK(full.microseconds == Approx(more.microseconds).epsilon(0.02));
  CHECK(full.waves == 2);
}

TEST_CASE("occupancy: two blocks that are there at once hide each other's waits") {
  auto kernel = [](uint32_t shared) {
    return Kernel{.body =
                      loop(16, "ld.global.b32 %r11, [%rd1]; and.b32 %r11, %r11, 0; mad.wide.u32 %rd1, %r11, 4, %rd1; "
                               "mad.wide.u32 %rd1, %r1, 4, %rd1;\n"),
                  .blocks = 264,
                  .threads = 32,
                  .shared = shared};
  };
  ranks(kernel(64 * 1024), kernel(160 * 1024), 1.7);
}

TEST_CASE("L2: what is read again comes from L2, and faster than from memory") {
  // 2 MB over and over, or 64 MB once.
  auto kernel = [](uint32_t mask) {
    return Kernel{.body = "mov.u32 %r11, %r0;\n" +
                          loop(16, "and.b32 %r12, %r11, " + number(static_cast<int>(mask)) +
                                       "; mad.wide.u32 %rd1, %r12, 16, %rd3; ld.global.cg.v4.f32 {%f1, %f2, %f3, %f4}, "
                                       "[%rd1]; add.u32 %r11, %r11, %r1;\n"),
                  .blocks = 264,
                  .threads = 992};
  };
  ranks(kernel((1 << 17) - 1), kernel((1 << 22) - 1), 1.3);
}

namespace {

/// 264 blocks of 1024 threads read 32 pieces of 16 bytes for each thread. `at_once` of them are read in a step, of
/// 2^22.
std::string read_steps(const std::string& first, int at_once) {
  return first + loop(32, "and.b32 %r12, %r13, 4194303; mad.wide.u32 %rd1, %r12, 16, %rd3; ld.global.cg.v4.f32 {%f1, "
                          "%f2, %f3, %f4}, [%rd1]; add.u32 %r13, %r13, " +
                              number(at_once) + "; bar.sync 0;\n");
}

} // namespace

TEST_CASE("L2: it holds what blocks share while they run, not an array larger than itself for a second reading") {
  // 138 MB through L2 each: 64 MB twice, one time after the other, or two blocks at a time the same.
  Kernel apart{.body = read_steps("mov.u32 %r13, %r0;\n", 264 * 1024), .blocks = 264, .threads = 1024};
  Kernel shared{.body = read_steps("shr.u32 %r14, %r3, 1; mad.lo.u32 %r13, %r14, %r4, %r2;\n", 132 * 1024),
                .blocks = 264,
                .threads = 1024};
  ranks(shared, apart, 1.4);
}

TEST_CASE("barriers: more warps take longer") {
  auto kernel = [](uint32_t threads) { return Kernel{.body = loop(64, "bar.sync 0;\n"), .threads = threads}; };
  ranks(kernel(32), kernel(256), 1.3);
  ranks(kernel(256), kernel(1024), 1.5);
}

TEST_CASE("fences: of the GPU, they go to L2") {
  auto kernel = [](const char* scope) {
    return Kernel{.body = loop(16, "fence.acq_rel." + std::string(scope) + ";\n"), .threads = 32};
  };
  ranks(kernel("cta"), kernel("gpu"), 5);
}

TEST_CASE("products: a narrow one waits for its operands") {
  // m64n8k16 reads 2304 bytes for 4 cycles of multiplications; from n = 64 on the tensor cores take longer.
  auto kernel = [](int n) {
    return Kernel{.body = descriptor() + loop(8, repeat(16,
                                                        [&](int) {
                                                          return "wgmma.mma_async.sync.aligned.m64n" + number(n) +
                                                                 "k16.f32.bf16.bf16 " + registers("%f", 0, n / 2) +
                                                                 ", %rd5, %rd5, %p2, 1, 1, 0, 0;\n";
                                                        }) +
                                                     commit + wait_all)};
  };
  const double narrow = estimate_of(kernel(8)).cycles, wide = estimate_of(kernel(64)).cycles;
  CHECK(wide > 1.3 * narrow);
  CHECK(wide < 2.5 * narrow);
}

TEST_CASE("shared memory: beside products of warpgroups there is less of it") {
  auto kernel = [](bool loads) {
    return Kernel{
        .body = descriptor() + "setp.lt.u32 %p3, %r2, 128;\n@%p3 bra PRODUCTS;\n" +
                loop(16, repeat(16, [](int i) { return "ld.shared.b32 %r" + number(20 + i) + ", [%r9];\n"; })) +
                "bra DONE;\nPRODUCTS:\n" +
                (loads ? repeat(64, [](int) { return warpgroup_product(); }) + commit + wait_all : std::string()) +
                "DONE:\n",
        .threads = 640};
  };
  ranks(kernel(false), kernel(true), 1.15);
}

TEST_CASE("the order in a basic block is the compiler's: only what it may not move matters") {
  auto load = [](int i) { return "ld.global.f32 %f" + number(i) + ", [%rd1+" + number(1024 * i) + "];\n"; };
  auto use = [](int i) { return "fma.rn.f32 %f40, %f" + number(i) + ", %f41, %f40;\n"; };
  Kernel grouped{.body = repeat(8, load) + repeat(8, use)};
  Kernel mixed{.body = repeat(8, [&](int i) { return load(i) + use(i); })};
  Kernel apart{.body = repeat(8, [&](int i) { return load(i) + use(i) + "bar.sync 0;\n"; })};
  double first = estimate_of(grouped).microseconds;
  CHECK(estimate_of(mixed).microseconds == Approx(first).epsilon(0.05));
  CHECK(estimate_of(apart).microseconds > 3 * first);
}

TEST_CASE("the GPU: what an A100 does, an H100 does faster") {
  Kernel h{.body = loop(16, repeat(64,
                                   [](int i) {
                                     std::string f = "%f" + number(i % 32);
                                     return "fma.rn.f32 " + f + ", " + f + ", " + f + ", " + f + ";\n";
                                   })),
           .blocks = 1056,
           .threads = 256};
  Kernel a = h;
  a.gpu = "a100";
  ranks(h, a, 2); // twice the units, 1.2 times the multiprocessors, 1.3 times the clock
}

TEST_CASE("what a kernel at full rate is bound by") {
  Kernel fma{.body = loop(16, repeat(64,
                                     [](int i) {
                                       std::string f = "%f" + number(i % 32);
                                       return "fma.rn.f32 " + f + ", " + f + ", " + f + ", " + f + ";\n";
                                     })),
             .blocks = 1056,
             .threads = 256};
  Estimate e = estimate_of(fma);
  INFO(e.bound_by);
  CHECK((e.bound_by == "fma" || e.bound_by == "issue"));
  CHECK(e.roofline_of == "fp32");
  CHECK(e.roofline_share > 0.8);
  CHECK(e.roofline_share <= 1);
  // 1056 blocks x 8 warps x 1024 instructions at four a cycle and multiprocessor.
  CHECK(e.cycles >= 1056.0 * 8 * 1024 / (4 * 132));

  Kernel copy{.body = "mad.wide.u32 %rd1, %r0, 16, %rd3; mad.wide.u32 %rd2, %r0, 16, %rd4;\n" +
                      repeat(4,
                             [](int) {
                               return std::string(
                                   "ld.global.v4.b32 {%r20, %r21, %r22, %r23}, [%rd1]; st.global.v4.b32 [%rd2], "
                                   "{%r20, %r21, %r22, %r23}; mad.wide.u32 %rd1, %r1, 16, %rd1; mad.wide.u32 %rd2, "
                                   "%r1, 16, %rd2;\n");
                             }),
              .blocks = 1056,
              .threads = 512};
  Estimate c = estimate_of(copy);
  INFO(c.bound_by << " " << c.microseconds);
  CHECK(c.bound_by == "memory");
  CHECK(c.roofline_of == "memory");
  CHECK(c.roofline_share > 0.7);
  CHECK(c.roofline_share <= 1);
  // 2 x 1056 x 512 x 64 bytes at 3350 GB/s.
  CHECK(c.roofline_microseconds == Approx(2.0 * 1056 * 512 * 64 / 3350e3).epsilon(0.01));
}

TEST_CASE("registers, when they are given, limit the blocks") {
  Simulator sim;
  auto& device = dynamic_cast<SimulatorDevice&>(*sim.device);
  device.set_instruments({.estimate = true});
  sim.run(kernel_text({}, "mov.u32 %r0, %tid.x;"), 264, 256, {});
  Estimate e = estimate(device.last_launch(), find_gpu("h100"), {.registers = 128});
  CHECK(e.registers_given);
  CHECK(e.resident_blocks == 2); // 65536 / (256 * 128)
  CHECK(e.limited_by == "registers");
  CHECK(e.occupancy == 0.25);
  CHECK(e.waves == 1);
  CHECK(estimate(device.last_launch(), find_gpu("h100")).resident_blocks == 8); // 2048 / 256
}

TEST_CASE("registers are as few as a block can have: ptxas spills the others") {
  Simulator sim;
  auto& device = dynamic_cast<SimulatorDevice&>(*sim.device);
  device.set_instruments({.estimate = true});
  auto one = sim.device->allocate(4096);
  sim.run(
      kernel_text(
          {"u64"},
          "mov.u32 %r0, %tid.x; ld.param.u64 %rd1, [p0];\n" +
              repeat(190, [](int i) { return "mul.lo.u32 %r" + number(1 + i) + ", %r0, " + number(3 + i) + ";\n"; }) +
              "bar.sync 0;\n" + repeat(190, [](int i) { return "add.u32 %r0, %r0, %r" + number(1 + i) + ";\n"; }) +
              "st.global.u32 [%rd1], %r0;\n"),
      132, 384, {one->address()});
  Estimate e = estimate(device.last_launch(), find_gpu("h100"));
  CHECK(e.registers == 168); // 65536 / 384 = 170, in units of 8
  CHECK(e.resident_blocks == 1);
}

TEST_CASE("an H200 is an H100 with faster memory") {
  Kernel copy{.body = "ld.global.f32 %f1, [%rd1]; st.global.f32 [%rd2], %f1;\n", .blocks = 8448, .threads = 1024};
  Kernel faster = copy;
  faster.gpu = "h200";
  ranks(faster, copy, 1.1);
}

TEST_CASE("the estimate is the same for any number of host threads, and costs the results nothing") {
  Kernel k{.body = loop(4, "ld.global.f32 %f1, [%rd1]; fma.rn.f32 %f2, %f1, %f1, %f2; st.global.f32 [%rd2], %f2;\n"),
           .blocks = 500};
  setenv("TILEJIT_SIMULATOR_THREADS", "1", 1);
  Estimate one = estimate_of(k);
  setenv("TILEJIT_SIMULATOR_THREADS", "3", 1);
  Estimate three = estimate_of(k);
  unsetenv("TILEJIT_SIMULATOR_THREADS");
  CHECK(one.cycles == three.cycles);
  CHECK(one.use == three.use);
}

TEST_CASE("an estimate needs a recording") {
  Simulator sim;
  sim.run(kernel_text({}, "mov.u32 %r0, %tid.x;"), 1, 32, {});
  REQUIRE_THROWS_WITH(estimate(dynamic_cast<SimulatorDevice&>(*sim.device).last_launch(), find_gpu("h100")),
                      Catch::Matchers::Contains("Instruments::estimate"));
  auto& device = dynamic_cast<SimulatorDevice&>(*sim.device);
  device.set_instruments({.estimate = true});
  sim.run(kernel_text({}, "mov.u32 %r0, %tid.x;"), 1, 32, {});
  REQUIRE_THROWS_WITH(estimate(device.last_launch(), find_gpu("a100")), Catch::Matchers::Contains("sm_90a"));
  REQUIRE_THROWS_WITH(find_gpu("h1000"), Catch::Matchers::Contains("a100, h100"));
}
