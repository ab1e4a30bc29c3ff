// A matrix product as Hopper kernels do it: a producer warp fills a ring of stages by tensor copies, a warpgroup
// multiplies them, mbarriers tell each other. In order, in a hundred random orders, under the sanitizers, and with each
// step of its protocol left out.
#include "runtime/simulator/tensormap.h"
#include "tests/runtime/simulator/simulate.h"

#include <catch2/catch.hpp>

#include <cmath>

using namespace tilejit::runtime;
using namespace tilejit::runtime::simulator;
using namespace tilejit::runtime::simulator::test;

namespace {

constexpr uint32_t rows = 64, columns = 64, depth = 512, step = 64, stages = 2;

/// The steps of the protocol; a bug is a step that is empty, or one put elsewhere.
struct Protocol {
  std::string wait_full = "F: mbarrier.try_wait.parity.shared.b64 %p4, [%r3], %r6; @!%p4 bra F;",
              wait_empty = "E: mbarrier.try_wait.parity.shared.b64 %p4, [%r4], %r6; @!%p4 bra E;", expected = "16384",
              fence = "wgmma.fence.sync.aligned;", commit = "wgmma.commit_group.sync.aligned;",
              wait_products = "wgmma.wait_group.sync.aligned 0;", release = "@%p7 mbarrier.arrive.shared.b64 _, [%r4];",
              early_release, before_products, proxy_fence;
};

/// C (64 x 64, f32) = A (64 x 512) B^T (64 x 512), bf16. Threads 0 to 127 multiply, 128 to 255 load.
std::string pipeline(const Protocol& p = {}) {
  std::string d = "{%d0";
  for (int i = 1; i < 32; ++i) d += ", %d" + std::to_string(i);
  d += "}";
  std::string text = R"(.version 8.7
.target sm_90a
.address_size 64
.visible .entry k(.param .u64 out, .param .align 64 .b8 map_a[128], .param .align 64 .b8 map_b[128])
{ .reg .pred %p<9>; .reg .b32 %r<40>; .reg .b32 %d<32>; .reg .b64 %rd<40>;
.shared .align 1024 .b8 tiles[32768]; .shared .align 8 .b64 full[2]; .shared .align 8 .b64 empty[2];
mov.u32 %r0, %tid.x; setp.eq.u32 %p1, %r0, 0; mov.u32 %r20, full; mov.u32 %r21, empty; mov.u32 %r22, tiles;
@%p1 mbarrier.init.shared.b64 [full], 1; @%p1 mbarrier.init.shared.b64 [full+8], 1;
@%p1 mbarrier.init.shared.b64 [empty], 4; @%p1 mbarrier.init.shared.b64 [empty+8], 4;
fence.mbarrier_init.release.cluster; bar.sync 0;
mov.u32 %r1, 0;
setp.lt.u32 %p2, %r0, 128; @%p2 bra CONSUMER;
setmaxnreg.dec.sync.aligned.u32 40;
setp.ne.u32 %p3, %r0, 128; @%p3 bra END;
mov.b64 %rd1, map_a; cvta.param.u64 %rd1, %rd1; mov.b64 %rd2, map_b; cvta.param.u64 %rd2, %rd2;
PRODUCE: and.b32 %r2, %r1, 1; mad.lo.u32 %r3, %r2, 8, %r20; mad.lo.u32 %r4, %r2, 8, %r21; mad.lo.u32 %r5, %r2, 16384, %r22;
shr.u32 %r6, %r1, 1; and.b32 %r6, %r6, 1; xor.b32 %r6, %r6, 1;
)" + p.wait_empty + "\nmbarrier.arrive.expect_tx.shared.b64 _, [%r3], " +
                     p.expected + R"(; shl.b32 %r7, %r1, 6; add.u32 %r8, %r5, 8192;
cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%r5], [%rd1, {%r7, 0}], [%r3];
cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%r8], [%rd2, {%r7, 0}], [%r3];
add.u32 %r1, %r1, 1; setp.lt.u32 %p5, %r1, 8; @%p5 bra PRODUCE; bra END;
CONSUMER: setmaxnreg.inc.sync.aligned.u32 232; setp.ne.u32 %p6, 0, 0; and.b32 %r12, %r0, 31; setp.eq.u32 %p7, %r12, 0;
CONSUME: and.b32 %r2, %r1, 1; mad.lo.u32 %r3, %r2, 8, %r20; mad.lo.u32 %r4, %r2, 8, %r21; mad.lo.u32 %r5, %r2, 16384, %r22;
shr.u32 %r6, %r1, 1; and.b32 %r6, %r6, 1;
)" + p.wait_full + "\n" +
                     p.before_products + p.proxy_fence + R"(
shr.u32 %r9, %r5, 4; cvt.u64.u32 %rd3, %r9; or.b64 %rd3, %rd3, 4611686293305294848; add.u64 %rd4, %rd3, 512;
)" + p.fence + "\n";
  for (int k = 0; k < 4; ++k)
    text += "add.u64 %rd5, %rd3, " + std::to_string(2 * k) + "; add.u64 %rd6, %rd4, " + std::to_string(2 * k) +
            "; wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 " + d +
            ", %rd5, %rd6, %p6, 1, 1, 0, 0; setp.eq.u32 %p6, 0, 0;\n";
  text += p.early_release + "\n" + p.commit + "\n" + p.wait_products + "\n" + p.release + R"(
add.u32 %r1, %r1, 1; setp.lt.u32 %p5, %r1, 8; @%p5 bra CONSUME;
ld.param.u64 %rd7, [out]; mad.wide.u32 %rd7, %r0, 128, %rd7;
)";
  for (int i = 0; i < 32; ++i)
    text += "st.global.b32 [%rd7+" + std::to_string(4 * i) + "], %d" + std::to_string(i) + ";\n";
  return text + "END: ret; }";
}

struct Product {
  std::shared_ptr<SimulatorDevice> device = open_simulator("sm_90a");
  std::vector<uint16_t> a, b;
  std::shared_ptr<Buffer> in_a, in_b, out;
  PtxLaunch launch{.entry = "k", .block = {256, 1, 1}};

  Product() : a(rows * depth), b(columns * depth) {
    Random random;
    for (auto* x : {&a, &b})
      for (uint16_t& v : *x)
        v = static_cast<uint16_t>(bits_to<uint32_t>(static_cast<float>(random() % 2001) / 1000.0f - 1.0f) >> 16);
    auto upload = [&](const std::vector<uint16_t>& x) {
      auto buffer = device->allocate(x.size() * 2);
      device->upload(*buffer, 0, std::as_bytes(std::span(x)));
      return buffer;
    };
    in_a = upload(a), in_b = upload(b);
    out = device->allocate(rows * columns * 4);
    device->fill_zero(*out);
    uint64_t address = out->address();
    auto bytes = std::as_bytes(std::span(&address, 1));
    launch.parameters.push_back({bytes.begin(), bytes.end()});
    for (const auto& in : {in_a, in_b}) {
      auto map = encode_tensormap({.type = "bf16",
                                   .address = in->address(),
                                   .dims = {depth, 64},
                                   .strides = {depth * 2},
                                   .box = {step, 64},
                                   .swizzle = 128});
      launch.parameters.push_back({map.begin(), map.end()});
    }
  }
  /// The largest difference from the exact product.
  double error(const std::string& text) {
    device->launch_ptx(text, launch);
    std::vector<float> c(rows * columns);
    device->download(*out, 0, std::as_writable_bytes(std::span(c)));
    auto value = [](uint16_t x) { return static_cast<double>(bits_to<float>(static_cast<uint32_t>(x) << 16)); };
    double worst = 0;
    for (uint32_t t = 0; t < 128; ++t)
      for (uint32_t i = 0; i < 32; ++i) {
        uint32_t row = 16 * (t / 32) + t % 32 / 4 + 8 * (i / 2 % 2), column = 8 * (i / 4) + 2 * (t % 4) + i % 2;
        double sum = 0;
        for (uint32_t k = 0; k < depth; ++k) sum += value(a[row * depth + k]) * value(b[column * depth + k]);
        double difference = std::abs(sum - static_cast<double>(c[t * 32 + i]));
        worst = std::isnan(difference) ? INFINITY : std::max(worst, difference);
      }
    return worst;
  }
};

} // namespace

TEST_CASE("a product through a ring of stages is right, in every order") {
  Product p;
  REQUIRE(p.error(pipeline()) < 1e-4);
  REQUIRE(p.device->findings().empty());
  std::vector<std::shared_ptr<Buffer>> buffers{p.out};
  std::string text = pipeline();
  REQUIRE(!compare_seeds(*p.device, buffers, [&] { p.device->launch_ptx(text, p.launch); }, 100).has_value());
}

TEST_CASE("the sanitizers find nothing in it, in any order") {
  Product p;
  p.device->set_instruments({.sanitize = true});
  REQUIRE(p.error(pipeline()) < 1e-4);
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    p.device->set_seed(seed);
    REQUIRE(p.error(pipeline()) < 1e-4);
  }
  for (const Finding& f : p.device->findings()) UNSCOPED_INFO(f.message);
  REQUIRE(p.device->findings().empty());
}

TEST_CASE("each step of the protocol that is left out is found, in order and in random orders") {
  Product p;
  p.device->set_instruments({.sanitize = true});
  /// Whether a finding of that kind is among those of a launch without a seed, and of as many of 10 with one.
  auto finds = [&](const Protocol& protocol, FindingKind kind, int seeded = 10) {
    int found = 0;
    for (uint64_t seed = 0; seed <= 10; ++seed) {
      p.device->clear_findings();
      p.device->set_seed(seed ? std::optional(seed) : std::nullopt);
      try {
        p.device->launch_ptx(pipeline(protocol), p.launch);
      } catch (const FindingError&) { // a phase that is overrun ends the launch
      }
      bool here = false;
      for (const Finding& f : p.device->findings()) {
        here = here || f.kind == kind;
        if (seed == 0) UNSCOPED_INFO(f.message);
      }
      if (seed == 0 && !here) return false;
      found += seed != 0 && here;
    }
    UNSCOPED_INFO(found << " of 10 seeds");
    return found >= seeded;
  };
  const std::string release = Protocol{}.release;
  CHECK(finds({.wait_full = ""}, FindingKind::async_hazard));
  // Filled again when the copies have come, but may not have been multiplied; or at once, and the phase is overrun.
  CHECK(finds({.wait_empty = "E: mbarrier.try_wait.parity.shared.b64 %p4, [%r3], %r6; @!%p4 bra E;"},
              FindingKind::async_hazard));
  CHECK(finds({.wait_empty = ""}, FindingKind::barrier, 0));
  CHECK(finds({.wait_products = ""}, FindingKind::async_hazard));
  CHECK(finds({.wait_products = "wgmma.wait_group.sync.aligned 1;"}, FindingKind::async_hazard));
  CHECK(finds({.fence = ""}, FindingKind::async_hazard));
  CHECK(finds({.release = "", .early_release = release}, FindingKind::async_hazard));
  CHECK(finds({.expected = "8192"}, FindingKind::async_hazard));
  CHECK(finds({.release = ""}, FindingKind::deadlock));
  CHECK(finds({.expected = "20480"}, FindingKind::deadlock));
  // The consumers change the stage before they multiply it.
  Protocol change{.before_products =
                      "mad.lo.u32 %r13, %r0, 4, %r5; ld.shared.b32 %r14, [%r13]; st.shared.b32 [%r13], %r14;\n"
                      "bar.sync 1, 128;\n"};
  CHECK(finds(change, FindingKind::proxy_race));
  change.proxy_fence = "fence.proxy.async.shared::cta; bar.sync 1, 128;";
  CHECK(!finds(change, FindingKind::proxy_race, 0));
  CHECK(p.device->findings().empty());
}
