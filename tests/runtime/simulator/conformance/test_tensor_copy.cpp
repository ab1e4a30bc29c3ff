// cp.async.bulk.tensor: boxes of 1 to 5 dimensions, element by element against PTX ISA "Tensors": packed innermost
// first, 16-byte chunks permuted by the swizzle, elements out of bounds filled or left alone.
#include "runtime/simulator/tensormap.h"
#include "tests/runtime/simulator/simulate.h"

#include <catch2/catch.hpp>

using namespace tilejit::runtime;
using namespace tilejit::runtime::simulator;
using namespace tilejit::runtime::simulator::test;

namespace {

struct Box {
  std::vector<uint64_t> dims;
  std::vector<uint32_t> box;
  std::vector<int32_t> at;
  uint32_t swizzle = 0;
  std::vector<uint32_t> steps; ///< empty: 1; the innermost is ignored, as the driver's manual has it
  bool nan = false;
};

/// f32 tensors with strides that leave room between rows.
struct Tensor {
  std::vector<uint64_t> strides; ///< bytes, of all dimensions
  uint64_t bytes = 0;
  explicit Tensor(const std::vector<uint64_t>& dims) {
    uint64_t stride = 4;
    for (uint64_t d : dims) {
      strides.push_back(stride);
      stride = (stride * d + 15) / 16 * 16 + 16;
    }
    bytes = stride;
  }
};

std::string coordinates(const Box& b) {
  std::string text = "{";
  for (size_t i = 0; i < b.at.size(); ++i) text += (i ? ", " : "") + std::to_string(b.at[i]);
  return text + "}";
}
uint32_t step(const Box& b, size_t d) { return d == 0 || b.steps.empty() ? 1 : b.steps[d]; }
uint32_t elements(const Box& b, size_t d) { return (b.box[d] + step(b, d) - 1) / step(b, d); }

/// Loads the box into shared memory that holds 0x77 bytes, and gives shared memory; or with `store` the tensor after
/// shared memory of words 0, 1, 2, ... was stored.
std::vector<uint32_t> run(const Box& b, const std::string& reduction, bool store, std::vector<uint32_t>& tensor) {
  auto device = open_simulator("sm_90a");
  Tensor t(b.dims);
  tensor.resize(t.bytes / 4);
  for (size_t i = 0; i < tensor.size(); ++i) tensor[i] = static_cast<uint32_t>(0x1000 + i);
  auto global = device->allocate(t.bytes), out = device->allocate(16384);
  device->upload(*global, 0, std::as_bytes(std::span(tensor)));
  TensorMapDescription description{.type = reduction.empty() ? "f32" : "u32",
                                   .address = global->address(),
                                   .dims = b.dims,
                                   .strides = {t.strides.begin() + 1, t.strides.end()},
                                   .box = b.box,
                                   .element_strides = b.steps,
                                   .swizzle = b.swizzle,
                                   .fill_nan = b.nan};
  auto map = encode_tensormap(description);
  uint64_t bytes = 4;
  for (size_t d = 0; d < b.box.size(); ++d) bytes *= elements(b, d);
  std::string dim = std::to_string(b.dims.size()) + "d";
  std::string text = R"(.version 8.7
.target sm_90a
.address_size 64
.visible .entry k(.param .u64 out, .param .align 64 .b8 map[128])
{ .reg .pred %p<4>; .reg .b32 %r<9>; .reg .b64 %rd<9>; .shared .align 1024 .b8 buffer[16384]; .shared .align 8 .b64 bar;
mov.u32 %r0, %tid.x; setp.eq.u32 %p1, %r0, 0; mov.b64 %rd1, map; cvta.param.u64 %rd1, %rd1;
mov.u32 %r1, %r0; mov.u32 %r3, buffer;
FILL: mad.lo.u32 %r2, %r1, 4, %r3; st.shared.u32 [%r2], )" +
                     std::string(store ? "%r1" : "0x77777777") +
                     R"(; add.u32 %r1, %r1, 32; setp.lt.u32 %p2, %r1, 4096; @%p2 bra FILL;
@%p1 mbarrier.init.shared.b64 [bar], 1; fence.proxy.async; bar.sync 0;
)";
  if (store)
    text += "@%p1 cp." + std::string(reduction.empty() ? "" : "reduce.") + "async.bulk.tensor." + dim +
            ".global.shared::cta" + (reduction.empty() ? "" : "." + reduction) + ".tile.bulk_group [%rd1, " +
            coordinates(b) + "], [buffer]; @%p1 cp.async.bulk.commit_group; @%p1 cp.async.bulk.wait_group 0;\n";
  else
    text += "@%p1 mbarrier.arrive.expect_tx.shared.b64 _, [bar], " + std::to_string(bytes) +
            "; @%p1 cp.async.bulk.tensor." + dim +
            ".shared::cluster.global.tile.mbarrier::complete_tx::bytes [buffer], [%rd1, " + coordinates(b) +
            "], [bar];\nW: mbarrier.try_wait.parity.shared.b64 %p2, [bar], 0; @!%p2 bra W;\n";
  text += R"(ld.param.u64 %rd2, [out]; mov.u32 %r1, %r0;
COPY: mad.lo.u32 %r2, %r1, 4, %r3; ld.shared.u32 %r4, [%r2]; mad.wide.u32 %rd3, %r1, 4, %rd2; st.global.u32 [%rd3], %r4;
add.u32 %r1, %r1, 32; setp.lt.u32 %p2, %r1, 4096; @%p2 bra COPY; ret; })";
  uint64_t address = out->address();
  auto first = std::as_bytes(std::span(&address, 1));
  device->launch_ptx(
      text,
      {.entry = "k", .block = {32, 1, 1}, .parameters = {{first.begin(), first.end()}, {map.begin(), map.end()}}});
  REQUIRE(device->findings().empty());
  std::vector<uint32_t> shared(4096);
  device->download(*out, 0, std::as_writable_bytes(std::span(shared)));
  device->download(*global, 0, std::as_writable_bytes(std::span(tensor)));
  return shared;
}

/// Calls f(word in shared memory, word in the tensor or -1) for each element of the box.
template <class F>
void each_element(const Box& b, F f) {
  Tensor t(b.dims);
  std::vector<uint32_t> index(b.dims.size());
  for (uint32_t place = 0;; ++place) {
    bool inside = true;
    uint64_t offset = 0;
    for (size_t d = 0; d < index.size(); ++d) {
      int64_t at = b.at[d] + static_cast<int64_t>(index[d]) * step(b, d);
      inside = inside && at >= 0 && at < static_cast<int64_t>(b.dims[d]);
      offset += static_cast<uint64_t>(at) * t.strides[d];
    }
    uint32_t byte = place * 4, chunks = b.swizzle / 16;
    if (chunks) byte ^= byte / 128 % chunks * 16;
    f(byte / 4, inside ? static_cast<int64_t>(offset / 4) : -1);
    size_t d = 0;
    while (d < index.size() && ++index[d] == elements(b, d)) index[d++] = 0;
    if (d == index.size()) return;
  }
}

void check_load(const Box& b) {
  CAPTURE(b.dims, b.box, b.at, b.swizzle, b.steps);
  std::vector<uint32_t> tensor;
  auto shared = run(b, "", false, tensor);
  std::vector<uint32_t> wanted(4096, 0x77777777);
  each_element(b, [&](uint32_t word, int64_t from) {
    wanted[word] = from >= 0 ? tensor[static_cast<size_t>(from)] : b.nan ? 0x7ff77ff7 : 0;
  });
  REQUIRE(shared == wanted);
}
void check_store(const Box& b, const std::string& reduction = "") {
  CAPTURE(b.dims, b.box, b.at, b.swizzle, b.steps, reduction);
  std::vector<uint32_t> tensor;
  run(b, reduction, true, tensor);
  std::vector<uint32_t> wanted(tensor.size());
  for (size_t i = 0; i < wanted.size(); ++i) wanted[i] = static_cast<uint32_t>(0x1000 + i);
  each_element(b, [&](uint32_t word, int64_t to) {
    if (to < 0) return;
    uint32_t& old = wanted[static_cast<size_t>(to)];
    old = reduction == "add" ? old + word : reduction == "min" ? std::min(old, word) : word;
  });
  REQUIRE(tensor == wanted);
}

const std::vector<Box> boxes{
    {{100}, {64}, {8}},
    {{100}, {64}, {60}},
    {{100}, {64}, {-20}},
    {{40, 20}, {8, 16}, {4, 2}, 32},
    {{40, 20}, {16, 16}, {28, 10}, 64},
    {{40, 20}, {32, 16}, {-4, -3}, 128},
    {{40, 20}, {32, 8}, {0, 3}, 128, {}, true},
    {{20, 9, 7}, {16, 4, 4}, {8, 6, 5}, 64, {}, true},
    {{12, 5, 6, 4}, {8, 3, 4, 2}, {4, 3, -1, 3}, 32},
    {{12, 5, 6, 4, 3}, {8, 2, 3, 2, 3}, {-4, 4, 4, 1, 1}},
    {{64, 20}, {16, 8}, {4, 1}, 64, {2, 3}},
    {{20, 9, 7}, {16, 4, 6}, {-4, 2, 1}, 64, {1, 2, 4}, true},
    {{64, 20}, {32, 8}, {-8, 13}, 128, {4, 1}},
};

} // namespace

TEST_CASE("tensor copies load boxes") {
  for (const Box& b : boxes) check_load(b);
}
TEST_CASE("tensor copies store and reduce boxes") {
  for (const Box& b : boxes)
    if (std::ranges::all_of(b.at, [](int32_t at) { return at >= 0; })) check_store(b);
  for (const char* reduction : {"add", "min"}) check_store(boxes[4], reduction);
}

TEST_CASE("where a box must not begin") {
  using Catch::Matchers::Contains;
  std::vector<uint32_t> tensor;
  const Box uneven{{40, 20}, {16, 16}, {6, 0}, 64}, left{{40, 20}, {16, 16}, {-4, 0}, 64},
      above{{40, 20}, {16, 16}, {0, -1}, 64};
  for (bool store : {false, true})
    CHECK_THROWS_WITH(run(uneven, "", store, tensor), Contains("24 bytes in: it must be a multiple of 16 bytes"));
  CHECK_NOTHROW(run(left, "", false, tensor));
  CHECK_THROWS_WITH(run(left, "", true, tensor), Contains("begins at -4 in dimension 0: a store"));
  CHECK_THROWS_WITH(run(above, "add", true, tensor), Contains("begins at -1 in dimension 1: a store"));
}

TEST_CASE("a map's restrictions are those of the driver") {
  using Catch::Matchers::Contains;
  TensorMapDescription good{
      .type = "bf16", .address = 256, .dims = {64, 8}, .strides = {128}, .box = {64, 8}, .swizzle = 128};
  REQUIRE_NOTHROW(encode_tensormap(good));
  auto refuses = [&](auto change, const char* why) {
    TensorMapDescription bad = good;
    change(bad);
    REQUIRE_THROWS_WITH(encode_tensormap(bad), Contains(why));
  };
  refuses([](auto& d) { d.type = "f12"; }, "no element type 'f12'");
  refuses([](auto& d) { d.address = 8; }, "multiple of 16");
  refuses([](auto& d) { d.strides = {120}; }, "multiple of 16");
  refuses([](auto& d) { d.box = {128, 8}; }, "more than the swizzle's 128");
  refuses([](auto& d) { d.box = {64, 257}; }, "1 to 256");
  refuses([](auto& d) { d.box = {4, 8}; }, "multiple of 16 bytes");
  refuses([](auto& d) { d.swizzle = 48; }, "0, 32, 64 or 128");
  refuses([](auto& d) { d.type = "i32", d.fill_nan = true, d.swizzle = 0, d.box = {32, 8}; }, "can't be NaN");
  refuses([](auto& d) { d.dims.clear(); }, "1 to 5 dimensions");
}

TEST_CASE("a map made on the device by tensormap.replace is the one that is encoded") {
  auto device = open_simulator("sm_90a");
  auto out = device->allocate(128);
  std::string text = R"(.version 8.7
.target sm_90a
.address_size 64
.visible .entry k(.param .u64 out)
{ .reg .b32 %r<9>; .reg .b64 %rd<9>; .shared .align 128 .b8 map[128]; mov.u32 %r0, %tid.x; mov.u32 %r1, map;
mad.lo.u32 %r1, %r0, 4, %r1; st.shared.u32 [%r1], 0; bar.sync 0; ld.param.u64 %rd1, [out]; mov.b64 %rd2, 4096; mov.b64 %rd3, 208;
)";
  auto replace = [&](const std::string& field, const std::string& type, const std::string& values) {
    text += "tensormap.replace.tile." + field + ".shared::cta.b1024." + type + " [map], " + values + ";\n";
  };
  replace("global_address", "b64", "%rd2");
  replace("rank", "b32", "1");
  replace("box_dim", "b32", "0, 64");
  replace("box_dim", "b32", "1, 8");
  replace("global_dim", "b32", "0, 100");
  replace("global_dim", "b32", "1, 50");
  replace("global_stride", "b64", "0, %rd3");
  replace("element_stride", "b32", "0, 1");
  replace("element_stride", "b32", "1, 1");
  replace("elemtype", "b32", "10");
  replace("interleave_layout", "b32", "0");
  replace("swizzle_mode", "b32", "3");
  replace("fill_mode", "b32", "1");
  text += "tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.sync.aligned [%rd1], [map], 128;\n"
          "fence.proxy.tensormap::generic.acquire.gpu [%rd1], 128; ret; }";
  uint64_t address = out->address();
  auto first = std::as_bytes(std::span(&address, 1));
  device->launch_ptx(text, {.entry = "k", .block = {32, 1, 1}, .parameters = {{first.begin(), first.end()}}});
  std::array<std::byte, 128> got;
  device->download(*out, 0, got);
  auto wanted = encode_tensormap({.type = "bf16",
                                  .address = 4096,
                                  .dims = {100, 50},
                                  .strides = {208},
                                  .box = {64, 8},
                                  .swizzle = 128,
                                  .fill_nan = true});
  REQUIRE(got == wanted);
}
