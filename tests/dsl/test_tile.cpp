// Each function of dsl/tile.h records the operation that it should, with operands in their order.
#include "tests/dsl/support.h"

using namespace tilejit;
using namespace tilejit::dsl;
using Catch::Matchers::Contains;
using Tiles = std::vector<Tile>;

#define RECORDS(inputs, expression, line)                                                                              \
  CHECK_THAT(text_of(inputs, [](const Tiles& t) -> Tile { return expression; }), Contains(line))

namespace {
const std::vector<Input> floats{{f32, {64, 80}}, {f32, {64, 80}}, {f32, {64, 80}}};
const std::vector<Input> ints{{i32, {64}}, {i32, {64}}};
const std::vector<Input> scalars{{i32}, {i32}, {f32}, {f32}};
const std::vector<Input> mixed{{f32, {64, 80}}, {f32, {64}}, {f32, {80}}, {f32}};
} // namespace

TEST_CASE("arithmetic of floats") {
  RECORDS(floats, t[0] + t[1], "%2 = arith.addf %0, %1 : tensor<64x80xf32>");
  RECORDS(floats, t[0] - t[1], "%2 = arith.subf %0, %1 : tensor<64x80xf32>");
  RECORDS(floats, t[0] * t[1], "%2 = arith.mulf %0, %1 : tensor<64x80xf32>");
  RECORDS(floats, t[0] / t[1], "%2 = arith.divf %0, %1 : tensor<64x80xf32>");
  RECORDS(floats, max(t[0], t[1]), "%2 = arith.maxnumf %0, %1 : tensor<64x80xf32>");
  RECORDS(floats, min(t[0], t[1]), "%2 = arith.minnumf %0, %1 : tensor<64x80xf32>");
  RECORDS(floats, -t[0], "%1 = arith.negf %0 : tensor<64x80xf32>");
  RECORDS(floats, fma(t[0], t[1], t[2]), "%3 = math.fma %0, %1, %2 : tensor<64x80xf32>");
}

TEST_CASE("arithmetic of integers") {
  RECORDS(ints, t[0] + t[1], "%2 = arith.addi %0, %1 : tensor<64xi32>");
  RECORDS(ints, t[0] - t[1], "%2 = arith.subi %0, %1 : tensor<64xi32>");
  RECORDS(ints, t[0] * t[1], "%2 = arith.muli %0, %1 : tensor<64xi32>");
  RECORDS(ints, t[0] / t[1], "%2 = arith.divsi %0, %1 : tensor<64xi32>");
  RECORDS(ints, t[0] % t[1], "%2 = arith.remsi %0, %1 : tensor<64xi32>");
  RECORDS(ints, max(t[0], t[1]), "%2 = arith.maxsi %0, %1 : tensor<64xi32>");
  RECORDS(ints, min(t[0], t[1]), "%2 = arith.minsi %0, %1 : tensor<64xi32>");
  RECORDS(ints, -t[0], "%1 = arith.subi %cst, %0 : tensor<64xi32>");
  RECORDS(ints, t[0] & t[1], "%2 = arith.andi %0, %1 : tensor<64xi32>");
  RECORDS(ints, t[0] | t[1], "%2 = arith.ori %0, %1 : tensor<64xi32>");
  RECORDS(ints, t[0] ^ t[1], "%2 = arith.xori %0, %1 : tensor<64xi32>");
  RECORDS(ints, t[0] << t[1], "%2 = arith.shli %0, %1 : tensor<64xi32>");
  RECORDS(ints, t[0] >> t[1], "%2 = arith.shrsi %0, %1 : tensor<64xi32>");
  RECORDS(ints, abs(t[0]), "%2 = arith.maxsi %0, %1 : tensor<64xi32>");
}

TEST_CASE("functions of floats") {
  RECORDS(floats, exp(t[0]), "%1 = math.exp %0 : tensor<64x80xf32>");
  RECORDS(floats, exp2(t[0]), "%1 = math.exp2 %0 : tensor<64x80xf32>");
  RECORDS(floats, log(t[0]), "%1 = math.log %0 : tensor<64x80xf32>");
  RECORDS(floats, log2(t[0]), "%1 = math.log2 %0 : tensor<64x80xf32>");
  RECORDS(floats, sqrt(t[0]), "%1 = math.sqrt %0 : tensor<64x80xf32>");
  RECORDS(floats, rsqrt(t[0]), "%1 = math.rsqrt %0 : tensor<64x80xf32>");
  RECORDS(floats, tanh(t[0]), "%1 = math.tanh %0 : tensor<64x80xf32>");
  RECORDS(floats, abs(t[0]), "%1 = math.absf %0 : tensor<64x80xf32>");
}

TEST_CASE("comparisons") {
  RECORDS(floats, t[0] == t[1], "%2 = arith.cmpf oeq, %0, %1 : tensor<64x80xf32>");
  RECORDS(floats, t[0] != t[1], "%2 = arith.cmpf une, %0, %1 : tensor<64x80xf32>");
  RECORDS(floats, t[0] < t[1], "%2 = arith.cmpf olt, %0, %1 : tensor<64x80xf32>");
  RECORDS(floats, t[0] <= t[1], "%2 = arith.cmpf ole, %0, %1 : tensor<64x80xf32>");
  RECORDS(floats, t[0] > t[1], "%2 = arith.cmpf ogt, %0, %1 : tensor<64x80xf32>");
  RECORDS(floats, t[0] >= t[1], "%2 = arith.cmpf oge, %0, %1 : tensor<64x80xf32>");
  RECORDS(ints, t[0] == t[1], "%2 = arith.cmpi eq, %0, %1 : tensor<64xi32>");
  RECORDS(ints, t[0] != t[1], "%2 = arith.cmpi ne, %0, %1 : tensor<64xi32>");
  RECORDS(ints, t[0] < t[1], "%2 = arith.cmpi slt, %0, %1 : tensor<64xi32>");
  RECORDS(ints, t[0] <= t[1], "%2 = arith.cmpi sle, %0, %1 : tensor<64xi32>");
  RECORDS(ints, t[0] > t[1], "%2 = arith.cmpi sgt, %0, %1 : tensor<64xi32>");
  RECORDS(ints, t[0] >= t[1], "%2 = arith.cmpi sge, %0, %1 : tensor<64xi32>");
}

TEST_CASE("conditions") {
  RECORDS(floats, t[0] < t[1] && t[1] < t[2], "%5 = arith.andi %3, %4 : tensor<64x80xi1>");
  RECORDS(floats, t[0] < t[1] || t[1] < t[2], "%5 = arith.ori %3, %4 : tensor<64x80xi1>");
  RECORDS(floats, !(t[0] < t[1]), "%3 = arith.xori %2, %cst : tensor<64x80xi1>");
  RECORDS(floats, select(t[0] < t[1], t[1], t[2]),
          "%4 = arith.select %3, %1, %2 : tensor<64x80xi1>, tensor<64x80xf32>");
  RECORDS(floats, select(t[0] < t[1], t[1], 0), "%3 = arith.select %2, %1, %cst : tensor<64x80xi1>, tensor<64x80xf32>");
  RECORDS(scalars, select(t[0] < t[1], t[2], t[3]), "%1 = arith.select %0, %arg2, %arg3 : f32");
}

TEST_CASE("casts") {
  RECORDS(floats, t[0].to(bf16), "arith.truncf %0 : tensor<64x80xf32> to tensor<64x80xbf16>");
  RECORDS(floats, t[0].to(f64), "arith.extf %0 : tensor<64x80xf32> to tensor<64x80xf64>");
  RECORDS(floats, t[0].to(i32), "arith.fptosi %0 : tensor<64x80xf32> to tensor<64x80xi32>");
  RECORDS(floats, t[0].to(i1), "arith.cmpf une, %0, %cst : tensor<64x80xf32>");
  RECORDS(ints, t[0].to(f32), "arith.sitofp %0 : tensor<64xi32> to tensor<64xf32>");
  RECORDS(ints, t[0].to(i64), "arith.extsi %0 : tensor<64xi32> to tensor<64xi64>");
  RECORDS(ints, t[0].to(i8), "arith.trunci %0 : tensor<64xi32> to tensor<64xi8>");
  RECORDS(ints, t[0].to(i1), "arith.cmpi ne, %0, %cst : tensor<64xi32>");
  RECORDS(ints, (t[0] < t[1]).to(i32), "arith.extui %2 : tensor<64xi1> to tensor<64xi32>");
  RECORDS(ints, (t[0] < t[1]).to(f32), "arith.uitofp %2 : tensor<64xi1> to tensor<64xf32>");
  // f16 and bf16 meet in f32.
  const std::vector<Input> half{{f16, {64}}};
  RECORDS(half, t[0].to(bf16), "%1 = arith.extf %0 : tensor<64xf16> to tensor<64xf32>");
  RECORDS(half, t[0].to(bf16), "%2 = arith.truncf %1 : tensor<64xf32> to tensor<64xbf16>");
  RECORDS(half, t[0].to(f16), "tile.store %0,"); // nothing to do
}

TEST_CASE("numbers take the type and shape of what they meet") {
  RECORDS(floats, t[0] * 2, "dense<2.000000e+00> : tensor<64x80xf32>");
  RECORDS(floats, 0.5 * t[0], "dense<5.000000e-01> : tensor<64x80xf32>");
  RECORDS(ints, t[0] + 7, "dense<7> : tensor<64xi32>");
  RECORDS(ints, 7 - t[0], "%1 = arith.subi %cst, %0 : tensor<64xi32>");
  const std::vector<Input> half{{bf16, {64}}};
  RECORDS(half, t[0] + 1.0f, "dense<1.000000e+00> : tensor<64xbf16>");
  RECORDS(half, max(t[0], -INFINITY), "dense<0xFF80> : tensor<64xbf16>");
}

TEST_CASE("integers of different widths meet in the wider") {
  const std::vector<Input> widths{{i32, {64}}, {i64, {64}}, {i8, {64}}};
  RECORDS(widths, t[0] + t[1], "%2 = arith.extsi %0 : tensor<64xi32> to tensor<64xi64>");
  RECORDS(widths, t[0] + t[1], "%3 = arith.addi %2, %1 : tensor<64xi64>");
  RECORDS(widths, t[2] + t[0], "%2 = arith.extsi %1 : tensor<64xi8> to tensor<64xi32>");
}

TEST_CASE("scalars combine with tiles, tiles with dims of size 1") {
  RECORDS(mixed, t[0] * t[3], "%1 = tile.splat %arg3 : f32 -> tensor<64x80xf32>");
  RECORDS(mixed, t[0] * t[3], "%2 = arith.mulf %0, %1 : tensor<64x80xf32>");
  RECORDS(mixed, t[0] - t[1].column(), "%2 = tile.expand_dims %1, 1 : tensor<64xf32> -> tensor<64x1xf32>");
  RECORDS(mixed, t[0] - t[1].column(), "%3 = tile.broadcast %2 : tensor<64x1xf32> -> tensor<64x80xf32>");
  RECORDS(mixed, t[0] - t[1].column(), "%4 = arith.subf %0, %3 : tensor<64x80xf32>");
  RECORDS(mixed, t[0] - t[2].row(), "%2 = tile.expand_dims %1, 0 : tensor<80xf32> -> tensor<1x80xf32>");
  RECORDS(mixed, t[0] - t[2].row(), "%3 = tile.broadcast %2 : tensor<1x80xf32> -> tensor<64x80xf32>");
  // Both sides repeat.
  RECORDS(mixed, t[1].column() * t[2].row(), ": tensor<64x1xf32> -> tensor<64x80xf32>");
  RECORDS(mixed, t[1].column() * t[2].row(), ": tensor<1x80xf32> -> tensor<64x80xf32>");
  RECORDS(mixed, t[3].broadcast({64, 80}), "tile.splat %arg3 : f32 -> tensor<64x80xf32>");
  RECORDS(mixed, t[1].expand(-1).expand(0), "tile.expand_dims %1, 0 : tensor<64x1xf32> -> tensor<1x64x1xf32>");
}

TEST_CASE("scalar constants fold while recording") {
  RECORDS(scalars, (Tile(6) * 7 + cdiv(t[0], 1) * 0) + 0, "arith.constant 42 : i32");
  RECORDS(scalars, select(Tile(2) > 1, t[0], t[1]), "tile.splat %arg0 : i32 -> tensor<i32>");
  STATIC_REQUIRE(cdiv(129, 64) == 3);
  // cdiv of a size: (n + 63) / 64
  RECORDS(scalars, cdiv(t[0], 64), "%0 = arith.addi %arg0, %c63_i32 : i32");
  RECORDS(scalars, cdiv(t[0], 64), "%1 = arith.divsi %0, %c64_i32 : i32");
}

TEST_CASE("tiles out of nothing") {
  RECORDS(scalars, iota(64), "tile.iota : tensor<64xi32>");
  RECORDS(scalars, zeros(f32, {64, 80}), "arith.constant dense<0.000000e+00> : tensor<64x80xf32>");
  RECORDS(scalars, full(bf16, {64}, 1.5), "arith.constant dense<1.500000e+00> : tensor<64xbf16>");
  RECORDS(scalars, full(f32, {64, 80}, t[2]), "tile.splat %arg2 : f32 -> tensor<64x80xf32>");
  RECORDS(scalars, full(f32, {}, 3), "arith.constant 3.000000e+00 : f32");
  RECORDS(scalars, program_id(2), "tile.program_id 2");
}

TEST_CASE("products") {
  const std::vector<Input> half{{bf16, {64, 32}}, {bf16, {32, 80}}, {f32, {64, 80}}};
  RECORDS(half, dot(t[0], t[1]),
          "%2 = tile.dot %0, %1, %cst : tensor<64x32xbf16>, tensor<32x80xbf16> -> tensor<64x80xf32>");
  RECORDS(half, dot(t[0], t[1]), "arith.constant dense<0.000000e+00> : tensor<64x80xf32>");
  RECORDS(half, dot(t[0], t[1], t[2]), "%3 = tile.dot %0, %1, %2 :");
  const std::vector<Input> full{{f32, {16, 8}}, {f32, {8, 8}}};
  RECORDS(full, dot(t[0], t[1], Precision::tf32x3), "precision = 1");
}

TEST_CASE("transposes") {
  const std::vector<Input> cube{{f32, {2, 4, 8}}};
  RECORDS(floats, transpose(t[0]), "%1 = tile.transpose %0, [1, 0] : tensor<64x80xf32> -> tensor<80x64xf32>");
  RECORDS(cube, permute(t[0], {2, 0, 1}), "tile.transpose %0, [2, 0, 1] : tensor<2x4x8xf32> -> tensor<8x2x4xf32>");
}

TEST_CASE("reductions") {
  RECORDS(floats, sum(t[0], 1), "tile.reduce %0 axis 1 : (tensor<64x80xf32>) -> tensor<64xf32>");
  RECORDS(floats, sum(t[0], 0), "tile.reduce %0 axis 0 : (tensor<64x80xf32>) -> tensor<80xf32>");
  RECORDS(floats, sum(t[0], -1), "tile.reduce %0 axis 1");
  RECORDS(floats, sum(t[0], 1), "arith.addf %arg11, %arg12 : f32");
  RECORDS(floats, reduce_max(t[0], 1), "arith.maxnumf %arg11, %arg12 : f32");
  RECORDS(floats, reduce_min(t[0], 1), "arith.minnumf %arg11, %arg12 : f32");
  RECORDS(ints, sum(t[0], 0), "arith.addi %arg10, %arg11 : i32");
  RECORDS(ints, reduce_max(t[0], 0), "arith.maxsi %arg10, %arg11 : i32");
  // All dims: a scalar.
  RECORDS(ints, sum(t[0], 0), "%2 = tile.to_scalar %1 : tensor<i32> -> i32");
  // 16-bit floats are summed in f32.
  const std::vector<Input> half{{bf16, {64, 80}}};
  RECORDS(half, sum(t[0], 1), "tile.reduce %1 axis 1 : (tensor<64x80xf32>) -> tensor<64xf32>");
  RECORDS(half, sum(t[0], 1), "arith.truncf %2 : tensor<64xf32> to tensor<64xbf16>");
}

TEST_CASE("reductions by any function, of several tiles") {
  RECORDS(floats, reduce(t[0], 1, [](const Scalar& a, const Scalar& b) { return a * b; }),
          "arith.mulf %arg11, %arg12 : f32");
  std::string text = text_of({{f32, {64, 80}}, {i32, {64, 80}}}, [](const Tiles& t) {
    return reduce({t[0], t[1]}, 1, [](const Tiles& a, const Tiles& b) {
      Tile first = a[0] > b[0] || (a[0] == b[0] && a[1] < b[1]);
      return Tiles{select(first, a[0], b[0]), select(first, a[1], b[1])};
    })[1];
  });
  CHECK_THAT(text, Contains("tile.reduce %0, %1 axis 1 : (tensor<64x80xf32>, tensor<64x80xi32>) -> "
                            "(tensor<64xf32>, tensor<64xi32>)"));
  CHECK_THAT(text, Contains("tile.yield %8, %9 : f32, i32"));
}

TEST_CASE("a tile knows its type and shape") {
  program_of({{bf16, {64, 80}}, {i32}}, [](const Tiles& t) {
    CHECK(t[0].type() == bf16);
    CHECK(t[0].shape() == Shape{64, 80});
    CHECK(t[0].size(-1) == 80);
    CHECK(t[1].rank() == 0);
    CHECK((t[0] == t[0]).type() == i1);
    return t;
  });
}

TEST_CASE("what nobody uses is not recorded") {
  std::string text = text_of(floats, [](const Tiles& t) {
    exp(t[0] + t[1]);
    return t[2];
  });
  CHECK_THAT(text, !Contains("math.exp") && !Contains("arith.addf"));
  CHECK_THAT(text, !Contains("tile.load %arg0"));
}

TEST_CASE("the text of a recording is the program") {
  Program program = program_of(floats, [](const Tiles& t) {
    Var m = full(f32, {64}, -INFINITY);
    for (Index n : range(0, 100, 10)) m = max(m, reduce_max(t[0] * n.to(f32), 1));
    return Tiles{m, dot(t[0].to(f16), transpose(t[1]).to(f16))};
  });
  CHECK(Program::parse(program.text()).text() == program.text());
}

TEST_CASE("every operation carries its line") {
  std::string here;
  Program program = program_of(floats, [&](const Tiles& t) {
    here = "test_tile.cpp\":" + std::to_string(__LINE__ + 1) + ":"; // the line below
    return Tiles{t[0] * t[1]};
  });
  CHECK_THAT(program.text(true), Contains(here));
}
