// Tensor maps as bytes: fields and their places, and a kernel that copies no more of a map than counts.
#include "runtime/simulator/tensormap.h"
#include "tests/runtime/simulator/simulate.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

using namespace tilejit::runtime;
using namespace tilejit::runtime::simulator;
using namespace tilejit::runtime::simulator::test;

namespace {

bool same(const TensorMap& a, const TensorMap& b) {
  return a.address == b.address && std::ranges::equal(a.dims, b.dims) && std::ranges::equal(a.strides, b.strides) &&
         std::ranges::equal(a.box, b.box) && std::ranges::equal(a.element_strides, b.element_strides) &&
         a.rank_less_one == b.rank_less_one && a.element == b.element && a.interleave == b.interleave &&
         a.swizzle == b.swizzle && a.fill_nan == b.fill_nan;
}

} // namespace

TEST_CASE("what is packed into a tensor map comes out again, whatever was there") {
  std::mt19937_64 random(3);
  auto up_to = [&](uint64_t most) { return random() % (most + 1); };
  for (int round = 0; round < 1000; ++round) {
    TensorMap map;
    map.address = up_to((uint64_t{1} << 56) - 1);
    if (round % 2) map.address = -map.address;
    for (uint64_t& size : map.dims) size = round % 3 ? up_to(uint64_t{1} << 32) : up_to(3);
    for (uint64_t& stride : map.strides) stride = up_to((uint64_t{1} << 36) - 1) * 16;
    for (uint16_t& size : map.box) size = static_cast<uint16_t>(1 + up_to(255));
    for (uint8_t& step : map.element_strides) step = static_cast<uint8_t>(1 + up_to(7));
    map.rank_less_one = static_cast<uint8_t>(up_to(4));
    map.element = static_cast<uint8_t>(up_to(12));
    map.swizzle = static_cast<uint8_t>(up_to(3));
    map.fill_nan = static_cast<uint8_t>(up_to(1));
    uint64_t bytes[tensormap_used_bytes / 8];
    for (uint64_t& word : bytes) word = random();
    pack_tensormap(map, bytes);
    REQUIRE(same(unpack_tensormap(bytes), map));
  }
}

TEST_CASE("places of a tensor map's fields") {
  // 5 dimensions of bf16, a swizzle of 64 bytes: numbers that show where each of their bytes goes.
  const auto map = encode_tensormap({.type = "bf16",
                                     .address = 0x123456789ab0,
                                     .dims = {0x101, 0x202, 0x303, 0x404, 0x505},
                                     .strides = {0x1122334450, 0x10, 0x20, 0x30},
                                     .box = {32, 2, 3, 4, 5},
                                     .element_strides = {1, 2, 3, 4, 5},
                                     .swizzle = 64});
  uint64_t words[16];
  std::memcpy(words, map.data(), sizeof words);
  CHECK(words[0] == 0x123456789ab0);
  CHECK((words[1] & 0xffffffff) == (4 << 4 | 10 << 7 | 2 << 13)); // 5 dimensions, bf16, 64 bytes
  CHECK(words[1] >> 32 == 0x12233445);                            // stride / 16: low bits here,
  CHECK(words[2] == (1 | uint64_t{2} << 32));
  CHECK(words[3] == (3 | uint64_t{1} << 32)); // and high bits here
  CHECK(words[4] == (0x100 | uint64_t{0x201} << 32));
  CHECK(words[5] == (0x302 | uint64_t{0x403} << 32));
  CHECK((words[6] & 0xffffffff) == 0x504);
  CHECK(words[6] >> 32 == (0b100'011'010'001'000 | uint64_t{31} << 24));
  CHECK(words[7] == 0x04030201);
  CHECK(std::all_of(words + 8, words + 16, [](uint64_t word) { return word == 0; }));
}

TEST_CASE("a map of which a kernel has copied the first 64 bytes, and set the address and a size") {
  Simulator sim;
  std::vector<uint32_t> values(2 * 64);
  for (uint32_t i = 0; i < values.size(); ++i) values[i] = i;
  auto data = sim.upload(values), out = sim.upload(std::vector<uint32_t>(32));
  auto place = sim.upload(std::vector<uint32_t>(32, 0xdeadbeef)); // what is behind the 64 bytes does not count
  // Rows of 16 words, from the second half on; a box of 2 rows of 16 from row 2, the last that there is.
  const auto map =
      encode_tensormap({.type = "u32", .address = data->address(), .dims = {16, 1}, .strides = {64}, .box = {16, 2}});
  std::string copy;
  for (int i = 0; i < 64; i += 16)
    copy += "ld.param.v2.b64 {%rd10, %rd11}, [p2+" + std::to_string(i) + "]; st.global.v2.b64 [%rd1+" +
            std::to_string(i) + "], {%rd10, %rd11};\n";
  const std::string text = kernel_text(
      {"u64", "u64", "align 64 .b8", "u64"},
      "ld.param.u64 %rd1, [p1]; ld.param.u64 %rd2, [p3]; mov.u32 %r0, %tid.x; setp.eq.u32 %p1, %r0, 0; mov.u32 %r1, "
      "box;\n"
      "@!%p1 bra WAIT;\n" +
          copy +
          "tensormap.replace.tile.global_address.global.b1024.b64 [%rd1], %rd2;\n"
          "tensormap.replace.tile.global_dim.global.b1024.b32 [%rd1], 1, 3;\n"
          "fence.proxy.tensormap::generic.release.gpu; fence.proxy.tensormap::generic.acquire.gpu [%rd1], 128;\n"
          "mbarrier.init.shared.b64 [bar], 1; fence.proxy.async; mbarrier.arrive.expect_tx.shared.b64 _, [bar], 128;\n"
          "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [box], [%rd1, {0, 2}], "
          "[bar];\n"
          "WAIT: bar.sync 0;\nW: mbarrier.try_wait.parity.shared.b64 %p2, [bar], 0; @!%p2 bra W;\n"
          "mad.lo.u32 %r1, %r0, 4, %r1; ld.shared.b32 %r2, [%r1];\n" +
          element("%rd60", 0, "%r0", 4) + "st.global.b32 [%rd60], %r2;",
      "sm_90a", ".shared .align 128 .b8 box[128]; .shared .align 8 .b64 bar;");
  std::string sized = text;
  sized.replace(sized.find("p2,"), 3, "p2[128],");
  auto& device = dynamic_cast<SimulatorDevice&>(*sim.device);
  device.set_instruments({.sanitize = true});
  PtxLaunch launch{.entry = "k", .grid = {1, 1, 1}, .block = {32, 1, 1}};
  auto add = [&](std::span<const std::byte> bytes) { launch.parameters.emplace_back(bytes.begin(), bytes.end()); };
  const uint64_t addresses[] = {out->address(), place->address(), data->address() + 256};
  add(std::as_bytes(std::span(addresses, 1))), add(std::as_bytes(std::span(addresses + 1, 1))), add(map);
  add(std::as_bytes(std::span(addresses + 2, 1)));
  device.launch_ptx(sized, launch);
  std::vector<uint32_t> expected(32);
  for (uint32_t i = 0; i < 16; ++i) expected[i] = 64 + 2 * 16 + i; // the second row of the box is beyond the tensor
  CHECK(sim.download<uint32_t>(*out) == expected);
  for (const Finding& f : device.findings()) UNSCOPED_INFO(f.message);
  CHECK(device.findings().empty());
}
