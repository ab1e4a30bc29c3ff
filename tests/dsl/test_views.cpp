// Views and windows record loads and stores; arguments become those of the function; kernels give them names.
#include "tests/dsl/support.h"

using namespace tilejit;
using namespace tilejit::dsl;
using Catch::Matchers::Contains;

namespace {

const ArgumentSpec q = tensor_spec("q", bf16, {dynamic, dynamic, 32, 128}, {dynamic, dynamic, 128, 1});
const ArgumentSpec lengths = tensor_spec("lengths", i32, {dynamic}, {1}, 4);
const ArgumentSpec scale = scalar_spec("scale", f32);

std::string text_of(const std::function<void(View, View, Scalar)>& body) {
  return kernel("test(q, lengths, scale)", [=](View a, View b, Scalar c) { body(a, b, c); })
      .record({q, lengths, scale})
      .text();
}

} // namespace

TEST_CASE("arguments of the function") {
  std::string text = kernel("test(q, lengths, scale)", [](View, View, Scalar) {}, {.warps = 8, .stages = 3})
                         .record({q, lengths, scale})
                         .text();
  CHECK_THAT(text, Contains("func.func @test(%arg0: !tile.view<?x?x32x128xbf16, strides = [?, ?, 128, 1], align = 16> "
                            "{tile.name = \"q\"}, %arg1: !tile.view<?xi32, strides = [1], align = 4> {tile.name = "
                            "\"lengths\"}, %arg2: f32 {tile.name = \"scale\"}) attributes {tile.kernel, tile.stages = "
                            "3 : i32, tile.warps = 8 : i32}"));
}

TEST_CASE("a load takes its tile's dims from the spans") {
  std::string text = text_of([](View q, View, Scalar) {
    Index b = program_id(1), m = program_id(0);
    Window from = q.at(b, span(m * 64, 64), 5, span(0, 128));
    CHECK(from.shape() == Shape{64, 128});
    from.store(from.load());
  });
  CHECK_THAT(text, Contains("%3 = tile.load %arg0[%0, %2, %c5_i32, %c0_i32] dims [1, 3] : "
                            "<?x?x32x128xbf16, strides = [?, ?, 128, 1], align = 16> -> tensor<64x128xbf16>"));
  CHECK_THAT(text, Contains("tile.store %3, %arg0[%0, %2,") && Contains("dims [1, 3] : tensor<64x128xbf16> -> "));
}

TEST_CASE("loads with a mask, and with another value outside") {
  auto row = [](View q) { return q.at(0, span(0, 64), 0, 0); };
  std::string text = text_of([&](View q, View, Scalar) { row(q).store(row(q).load(iota(64) < 7, -INFINITY)); });
  CHECK_THAT(text, Contains("mask %1 : tensor<64xi1> other %cst_") && Contains("arith.constant 0xFF80 : bf16"));
  text = text_of([&](View q, View, Scalar) { row(q).store(row(q).load_or(1)); });
  CHECK_THAT(text,
             Contains("other %cst : bf16") && Contains("arith.constant 1.000000e+00 : bf16") && !Contains("mask"));
  // A mask repeats to the window's shape.
  text = text_of([&](View q, View, Scalar) {
    Window w = q.at(0, span(0, 64), 0, span(0, 128));
    w.store(0, (iota(64) < 7).column());
  });
  CHECK_THAT(text, Contains("tile.broadcast %2 : tensor<64x1xi1> -> tensor<64x128xi1>") &&
                       Contains("mask %3 : tensor<64x128xi1>"));
}

TEST_CASE("a window without spans is a scalar") {
  std::string text = text_of([](View, View lengths, Scalar) { lengths.at(0).store(lengths.at(1).load() + 1); });
  CHECK_THAT(text, Contains("tile.load %arg1[%c1_i32] dims [] : <?xi32, strides = [1], align = 4> -> tensor<i32>"));
  CHECK_THAT(text, Contains("tile.to_scalar %0 : tensor<i32> -> i32"));
  CHECK_THAT(text, Contains("tile.splat %2 : i32 -> tensor<i32>"));
}

TEST_CASE("sizes: numbers where the specialization fixes them, operations elsewhere") {
  text_of([](View q, View lengths, Scalar) {
    CHECK(q.fixed_size(-1) == 128);
    CHECK(q.rank() == 4);
    CHECK(q.type() == bf16);
    CHECK(q.name() == "q");
    CHECK(lengths.rank() == 1);
  });
  std::string text = text_of([](View q, View lengths, Scalar) { lengths.at(0).store(q.size(1) * q.size(2)); });
  CHECK_THAT(text, Contains("%0 = tile.size %arg0, 1 :") && Contains("arith.muli %0, %c32_i32") &&
                       !Contains("tile.size %arg0, 2"));
}

TEST_CASE("a body may ask for its arguments by name") {
  Kernel k = kernel("named(x, factor)", [](const Arguments& a) {
    CHECK(a.size() == 2);
    CHECK(a.has("x"));
    CHECK_FALSE(a.has("mask"));
    a.view("x").at(0).store(a.scalar("factor"));
  });
  CHECK_THAT(k.record({tensor_spec("", f32, {4}), scalar_spec("", f32)}).text(), Contains("tile.splat %arg1 : f32"));
}

TEST_CASE("strides of a spec in C order") {
  CHECK(tensor_spec("x", f32, {2, 3, 4}).strides == Shape{12, 4, 1});
  CHECK(tensor_spec("x", f32, {dynamic, 3, 4}).strides == Shape{12, 4, 1});
  CHECK(tensor_spec("x", f32, {2, dynamic, 4}).strides == Shape{dynamic, 4, 1});
  CHECK(tensor_spec("x", f32, {2, dynamic}).strides == Shape{dynamic, 1});
}

TEST_CASE("one recording may interrupt another") {
  std::string inner;
  std::string outer = text_of([&](View, View lengths, Scalar) {
    Var x = 1;
    inner = text_of([&](View, View lengths, Scalar) { lengths.at(0).store(7); });
    x = x + program_id(0);
    lengths.at(0).store(x);
  });
  CHECK_THAT(inner, Contains("7 : i32") && !Contains("program_id"));
  CHECK_THAT(outer, !Contains("7 : i32") && Contains("program_id"));
}
