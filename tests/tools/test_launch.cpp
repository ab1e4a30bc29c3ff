// Launches: arguments and files to memory and back.
#include "runtime/files.h"
#include "tests/runtime/simulator/simulate.h"
#include "tools/tilejit/arguments.h"
#include "tools/tilejit/launch.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>

using namespace tilejit;
using namespace tilejit::tools;
using tilejit::runtime::NpyFile;
using tilejit::runtime::simulator::test::kernel_text;

namespace {

template <typename T>
NpyFile file_of(const std::string& descr, const std::vector<T>& values) {
  auto view = std::as_bytes(std::span(values));
  return {descr, {static_cast<int64_t>(values.size())}, {view.begin(), view.end()}};
}
template <typename T>
std::vector<T> values_of(std::span<const std::byte> bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}
void write(const std::string& path, const NpyFile& file) {
  runtime::OutputFile out(path);
  out.write(runtime::npy_bytes(file));
  out.commit();
}

} // namespace

TEST_CASE("8-bit floats: every value, and those between two of them") {
  for (Element type : {Element::f8e4m3, Element::f8e5m2}) {
    int mantissa = type == Element::f8e4m3 ? 3 : 2, bias = type == Element::f8e4m3 ? 7 : 15,
        most = type == Element::f8e4m3 ? 0x7e : 0x7b;
    std::vector<uint8_t> codes(most + 1);
    std::vector<float> values(most + 1);
    for (int code = 0; code <= most; ++code) {
      int exponent = code >> mantissa, fraction = code % (1 << mantissa);
      codes[code] = static_cast<uint8_t>(code);
      values[code] =
          static_cast<float>(exponent ? (1 + fraction / double(1 << mantissa)) * std::pow(2.0, exponent - bias)
                                      : fraction / double(1 << mantissa) * std::pow(2.0, 1 - bias));
    }
    CHECK(values_of<float>(from_device(std::as_bytes(std::span(codes)), type, {most + 1}).data) == values);
    CHECK(values_of<uint8_t>(to_device(file_of("<f4", values), type, "x")) == codes);
    for (int code = 0; code < most; ++code) {
      float low = values[code], high = values[code + 1], middle = (low + high) / 2;
      std::vector<float> between{std::nextafter(middle, low), middle, std::nextafter(middle, high), -middle};
      int even = code % 2 ? code + 1 : code;
      std::vector<uint8_t> expected{uint8_t(code), uint8_t(even), uint8_t(code + 1), uint8_t(even | 0x80)};
      REQUIRE(values_of<uint8_t>(to_device(file_of("<f4", between), type, "x")) == expected);
    }
    std::vector<float> large{1e9f, -INFINITY, NAN};
    CHECK(values_of<uint8_t>(to_device(file_of("<f4", large), type, "x")) ==
          std::vector<uint8_t>{uint8_t(most), uint8_t(most | 0x80), 0x7f});
  }
}

TEST_CASE("integers become other integers only where they fit") {
  auto wide = file_of<int64_t>("<i8", {0, 255, 200});
  CHECK(values_of<uint8_t>(to_device(wide, Element::u8, "x")) == std::vector<uint8_t>{0, 255, 200});
  CHECK_THROWS_WITH(to_device(wide, Element::i8, "x.npy"), Catch::Contains("x.npy: 255 is no value of type i8"));
  CHECK_THROWS_AS(to_device(file_of<int32_t>("<i4", {-1}), Element::u64, "x"), InputError);
  CHECK(values_of<int64_t>(to_device(file_of<float>("<f4", {-3, 7}), Element::i64, "x")) ==
        std::vector<int64_t>{-3, 7});
  CHECK_THROWS_AS(to_device(file_of<float>("<f4", {0.5f}), Element::i32, "x"), InputError);
  CHECK(values_of<double>(to_device(file_of<int64_t>("<i8", {INT64_MIN}), Element::f64, "x")) ==
        std::vector<double>{-0x1p63});
}

TEST_CASE("arguments of the command line") {
  Launch launch;
  for (const char* text : {"i32:-5", "i32:4294967295", "i64:0x10", "f32:0.5", "f64:-2", "in:a.npy:bf16",
                           "out:b.npy:f32:4x0x3", "inout:c.npy"})
    add_argument(launch, text);
  CHECK(values_of<int32_t>(launch.arguments[0].bytes) == std::vector<int32_t>{-5});
  CHECK(values_of<uint32_t>(launch.arguments[1].bytes) == std::vector<uint32_t>{~0u});
  CHECK(values_of<uint64_t>(launch.arguments[2].bytes) == std::vector<uint64_t>{16});
  CHECK(values_of<float>(launch.arguments[3].bytes) == std::vector<float>{0.5f});
  CHECK(values_of<double>(launch.arguments[4].bytes) == std::vector<double>{-2});
  CHECK(launch.arrays["5"].in == "a.npy");
  CHECK(launch.arrays["5"].type == Element::bf16);
  CHECK(launch.arrays["6"].shape == std::vector<int64_t>{4, 0, 3});
  CHECK(launch.arrays["7"].out == "c.npy");
  for (const char* text : {"", "i32", "i32:", "i32:x", "i32:4294967296", "i64:1:2", "f32:", "in:", "in:a:b16",
                           "out:a.npy", "out:a.npy:f32", "out:a.npy:f32:4,4", "outin:a.npy"})
    CHECK_THROWS_AS(add_argument(launch, text), InputError);
}

TEST_CASE("a launch file: arrays, structs with natural alignment, results") {
  runtime::TemporaryFolder folder;
  std::string at = folder.path() + "/";
  write(at + "q.npy", file_of<float>("<f4", {1, 2, 3, 4}));
  write(at + "s.npy", file_of<int16_t>("<i2", {10, 20, 30, 40}));
  std::ofstream(at + "launch.json") << R"({"entry": "k", "grid": [1], "block": [2, 2], "shared": 64,
    "arrays": {"q": {"in": "q.npy", "type": "bf16"}, "o": {"out": "o.npy", "type": "bf16", "shape": [2, 2]},
               "s": {"inout": "s.npy"}},
    "args": [{"array": "q"}, {"struct": [{"array": "o"}, {"i32": 3}, {"bytes": "Ff00"}, {"array": "s"}]}]})";
  // o = q, and s += 3 + 255
  std::string ptx = kernel_text({"u64", "align 8 .b8"}, R"(
    ld.param.u64 %rd1, [p0]; ld.param.u64 %rd2, [p1]; ld.param.u32 %r5, [p1+8]; ld.param.u8 %r6, [p1+12];
    ld.param.u64 %rd3, [p1+16]; mov.u32 %r0, %tid.x; mov.u32 %r1, %tid.y; mad.lo.u32 %r0, %r1, 2, %r0;
    mul.wide.u32 %rd4, %r0, 2; add.u64 %rd1, %rd1, %rd4; add.u64 %rd2, %rd2, %rd4; add.u64 %rd3, %rd3, %rd4;
    ld.global.b16 %h1, [%rd1]; st.global.b16 [%rd2], %h1;
    ld.global.u16 %r7, [%rd3]; add.u32 %r7, %r7, %r5; add.u32 %r7, %r7, %r6; st.global.u16 [%rd3], %r7;)");
  ptx.replace(ptx.find("p1)"), 3, "p1[24])");
  Launch launch = read_launch(at + "launch.json");
  CHECK(launch.block == std::array<uint32_t, 3>{2, 2, 1});
  auto device = runtime::open_simulator();
  LaunchResult result = run_launch(*device, ptx, launch);
  write_outputs(launch, result);
  NpyFile o = runtime::read_npy_file(at + "o.npy"), s = runtime::read_npy_file(at + "s.npy");
  CHECK(o.descr == "<f4");
  CHECK(o.shape == std::vector<int64_t>{2, 2});
  CHECK(values_of<float>(o.data) == std::vector<float>{1, 2, 3, 4});
  CHECK(s.descr == "<i2");
  CHECK(values_of<int16_t>(s.data) == std::vector<int16_t>{268, 278, 288, 298});
}

TEST_CASE("an array may hold what a struct does: addresses of others, and of others like it") {
  runtime::TemporaryFolder folder;
  std::string at = folder.path() + "/";
  write(at + "x.npy", file_of<float>("<f4", {1, 2, 3, 4}));
  write(at + "y.npy", file_of<float>("<f4", {10, 20, 30, 40}));
  auto description = [&](const std::string& arrays) {
    std::ofstream(at + "launch.json") << R"({"entry": "k", "block": [4], "args": [{"array": "all"}], "arrays": {)" +
                                             arrays + R"("x": {"in": "x.npy"}, "y": {"inout": "y.npy"}}})";
    return at + "launch.json";
  };
  // y = x + y + 5, by way of `all`, which has the address of `few`.
  const std::string ptx = kernel_text({"u64"}, R"(
    ld.param.u64 %rd1, [p0]; ld.global.u32 %r5, [%rd1]; ld.global.u64 %rd2, [%rd1+8];
    ld.global.u64 %rd3, [%rd2]; ld.global.u64 %rd4, [%rd2+8];
    mov.u32 %r0, %tid.x; mul.wide.u32 %rd5, %r0, 4; add.u64 %rd3, %rd3, %rd5; add.u64 %rd4, %rd4, %rd5;
    ld.global.f32 %f1, [%rd3]; ld.global.f32 %f2, [%rd4]; cvt.rn.f32.u32 %f3, %r5;
    add.f32 %f2, %f2, %f1; add.f32 %f2, %f2, %f3; st.global.f32 [%rd4], %f2;)");
  const std::string all = R"("all": {"struct": [{"i32": 5}, {"array": "few"}]}, )",
                    few = R"("few": {"struct": [{"array": "x"}, {"array": "y"}]}, )";
  auto device = runtime::open_simulator();
  for (bool sanitize : {false, true}) {
    device->set_instruments({.sanitize = sanitize});
    LaunchResult result = run_launch(*device, ptx, read_launch(description(all + few)));
    CHECK(result.outputs.size() == 1);
    CHECK(values_of<float>(result.outputs.at("y").data) == std::vector<float>{16, 27, 38, 49});
    CHECK(device->findings().empty());
  }
  CHECK_THROWS_WITH(run_launch(*device, ptx, read_launch(description(all))), Catch::Contains("'few'"));
  CHECK_THROWS_WITH(read_launch(description(R"("all": {"struct": []}, )")), Catch::Contains("of nothing"));
  CHECK_THROWS_WITH(read_launch(description(R"("all": {"struct": [{"i32": 5}], "type": "u8"}, )")),
                    Catch::Contains("says its type and size"));
  CHECK_THROWS_WITH(read_launch(description(R"("all": {"struct": [{"i32": 5}], "in": "x.npy"}, )")),
                    Catch::Contains("one of 'in', 'out', 'inout', 'struct' and 'fill'"));
}

TEST_CASE("a tensor map by value: offset, element strides, fill, swizzle") {
  runtime::TemporaryFolder folder;
  std::string at = folder.path() + "/";
  std::vector<float> x(16 * 12); // rows of 16 elements
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
  write(at + "x.npy", file_of<float>("<f4", x));
  // The map begins in row 2 and sees 10 rows of 12; a box has rows 8, 10 and 12, which is beyond it, each from
  // element 4.
  std::ofstream(at + "launch.json") << R"({"entry": "k", "block": [32],
    "arrays": {"x": {"in": "x.npy"}, "o": {"out": "o.npy", "type": "f32", "shape": [3, 8]}},
    "args": [{"array": "o"}, {"tensormap": {"array": "x", "offset": 128, "dims": [12, 10], "strides": [64], "box": [8, 6],
              "element_strides": [1, 2], "fill": "nan", "swizzle": 32}}]})";
  std::string ptx = kernel_text({"u64", "align 64 .b8"}, R"(
    .shared .align 128 .b8 box[96]; .shared .align 8 .b64 bar;
    mov.u32 %r0, %tid.x; setp.eq.u32 %p1, %r0, 0; mov.b64 %rd1, p1; cvta.param.u64 %rd1, %rd1;
    @%p1 mbarrier.init.shared.b64 [bar], 1;
    @%p1 fence.proxy.async;
    bar.sync 0;
    @%p1 mbarrier.arrive.expect_tx.shared.b64 _, [bar], 96;
    @%p1 cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [box], [%rd1, {4, 6}], [bar];
W:  mbarrier.try_wait.parity.shared.b64 %p2, [bar], 0;
    @!%p2 bra W;
    setp.ge.u32 %p3, %r0, 24;
    @%p3 ret;
    mov.u32 %r1, box; mad.lo.u32 %r1, %r0, 4, %r1; ld.shared.b32 %r2, [%r1];
    )" + runtime::simulator::test::element("%rd2", 0, "%r0", 4) +
                                                             "st.global.b32 [%rd2], %r2;");
  ptx.replace(ptx.find("p1)"), 3, "p1[128])");
  Launch launch = read_launch(at + "launch.json");
  auto device = runtime::open_simulator();
  write_outputs(launch, run_launch(*device, ptx, launch));
  auto o = values_of<float>(runtime::read_npy_file(at + "o.npy").data);
  for (int row = 0; row < 3; ++row)
    for (int i = 0; i < 8; ++i) {
      int lies_at = 8 * row + (row / 4 % 2 ? i ^ 4 : i); // 32 bytes: chunks change places in every second 128 bytes
      if (row < 2)
        CHECK(o[lies_at] == static_cast<float>(16 * (2 + 6 + 2 * row) + 4 + i));
      else
        CHECK(std::isnan(o[lies_at]));
    }
  // A map may begin before its array: here by 1000 rows, and so does the box.
  launch.arguments[1].map.offset -= int64_t{64} * 1000;
  launch.arguments[1].map.dims[1] += 1000;
  std::string farther = ptx;
  farther.replace(farther.find("{4, 6}"), 6, "{4, 1006}");
  write_outputs(launch, run_launch(*device, farther, launch));
  auto same = values_of<float>(runtime::read_npy_file(at + "o.npy").data);
  CHECK(std::vector<float>(same.begin(), same.begin() + 16) == std::vector<float>(o.begin(), o.begin() + 16));
  CHECK(std::isnan(same[16]));
  launch.arguments[1].map.offset = 4096;
  CHECK_THROWS_WITH(run_launch(*device, ptx, launch), Catch::Contains("beyond the array"));
  launch.arguments[1].map.offset = 8;
  CHECK_THROWS_WITH(run_launch(*device, ptx, launch), Catch::Contains("multiple of 16"));
}

TEST_CASE("arrays may be filled with zeros or random numbers; what is placed can be launched again") {
  runtime::TemporaryFolder folder;
  std::string at = folder.path() + "/";
  write(at + "y.npy", file_of<float>("<f4", std::vector<float>(4096, 1)));
  std::ofstream(at + "launch.json") << R"({"entry": "k", "grid": [32], "block": [128],
    "arrays": {"x": {"fill": "normal", "seed": 3, "type": "f32", "shape": [4096]},
               "z": {"fill": "zero", "type": "f32", "shape": [4096]}, "y": {"inout": "y.npy"}},
    "args": [{"array": "x"}, {"array": "z"}, {"array": "y"}]})";
  // y += x + z
  const std::string ptx = kernel_text({"u64", "u64", "u64"}, R"(
    ld.param.u64 %rd1, [p0]; ld.param.u64 %rd2, [p1]; ld.param.u64 %rd3, [p2];
    mov.u32 %r0, %tid.x; mov.u32 %r1, %ctaid.x; mad.lo.u32 %r0, %r1, 128, %r0; mul.wide.u32 %rd5, %r0, 4;
    add.u64 %rd1, %rd1, %rd5; add.u64 %rd2, %rd2, %rd5; add.u64 %rd3, %rd3, %rd5;
    ld.global.f32 %f1, [%rd1]; ld.global.f32 %f2, [%rd2]; add.f32 %f1, %f1, %f2;
    ld.global.f32 %f2, [%rd3]; add.f32 %f2, %f2, %f1; st.global.f32 [%rd3], %f2;)");
  auto device = runtime::open_simulator();
  PlacedLaunch placed(*device, read_launch(at + "launch.json"));
  auto result = [&] { return values_of<float>(placed.collect().outputs.at("y").data); };
  placed.upload();
  CHECK(result() == std::vector<float>(4096, 1));
  device->launch_ptx(ptx, placed.how());
  const std::vector<float> once = result();
  device->launch_ptx(ptx, placed.how());
  CHECK(result() != once);
  placed.upload();
  device->launch_ptx(ptx, placed.how());
  CHECK(result() == once);
  double sum = 0, squares = 0;
  for (float y : once) sum += y - 1, squares += (y - 1) * (y - 1);
  CHECK(std::abs(sum / 4096) < 0.1);
  CHECK(std::abs(squares / 4096 - 1) < 0.1);
}

TEST_CASE("launch files that are wrong") {
  runtime::TemporaryFolder folder;
  auto message = [&](const std::string& text) -> std::string {
    std::string path = folder.path() + "/launch.json";
    std::ofstream(path) << text;
    try {
      read_launch(path);
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  };
  CHECK_THAT(message("{"), Catch::Contains("not JSON"));
  CHECK_THAT(message("[]"), Catch::Contains("object"));
  CHECK_THAT(message("{}"), Catch::Contains("entry"));
  CHECK_THAT(message(R"({"entry": "k", "grids": [1]})"), Catch::Contains("did you mean 'grid'"));
  CHECK_THAT(message(R"({"entry": "k", "grid": [0]})"), Catch::Contains("positive"));
  CHECK_THAT(message(R"({"entry": "k", "args": [{"i32": 5000000000}]})"), Catch::Contains("32 bits"));
  CHECK_THAT(message(R"({"entry": "k", "args": [{"f32": "1"}]})"), Catch::Contains("number"));
  CHECK_THAT(message(R"({"entry": "k", "args": [{"bytes": "0"}]})"), Catch::Contains("odd"));
  CHECK_THAT(message(R"({"entry": "k", "args": [{"arry": "q"}]})"), Catch::Contains("did you mean 'array'"));
  CHECK_THAT(message(R"({"entry": "k", "arrays": {"q": {"type": "f32"}}})"), Catch::Contains("one of"));
  CHECK_THAT(message(R"({"entry": "k", "arrays": {"q": {"out": "q.npy", "type": "f32"}}})"), Catch::Contains("shape"));
  CHECK_THAT(message(R"({"entry": "k", "arrays": {"q": {"fill": "zero", "type": "f32"}}})"), Catch::Contains("shape"));
  CHECK_THAT(message(R"({"entry": "k", "arrays": {"q": {"fill": "ones", "type": "f32", "shape": [1]}}})"),
             Catch::Contains("zero or normal"));
  CHECK_THAT(message(R"({"entry": "k", "arrays": {"q": {"fill": "zero", "seed": 1, "type": "f32", "shape": [1]}}})"),
             Catch::Contains("'seed'"));
  CHECK_THAT(message(R"({"entry": "k", "arrays": {"q": {"in": "q.npy", "type": "f33"}}})"), Catch::Contains("f33"));
  CHECK_THAT(message(R"({"entry": "k", "shared": -4})"), Catch::Contains("unsigned"));
  CHECK_THAT(message(R"({"entry": "k", "arrays": {"q": {"out": "q.npy", "type": "f32", "shape": [4, -1]}}})"),
             Catch::Contains("negative size"));
  CHECK_THAT(message(R"({"entry": "k", "args": [{"tensormap": {"array": "q", "dims": [8, 8], "box": [8]}}]})"),
             Catch::Contains("strides"));
}
