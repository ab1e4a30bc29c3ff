// range() records one loop; Vars that its body changes are carried, all others are not.
#include "tests/dsl/support.h"

using namespace tilejit;
using namespace tilejit::dsl;
using Catch::Matchers::Contains;
using Tiles = std::vector<Tile>;

namespace {

std::string loops_of(const std::function<Tiles(const Tiles&)>& body) {
  return regions_of(program_of({{i32}, {f32}, {f32}}, body).text(), "scf.for");
}

} // namespace

TEST_CASE("a loop carries the Var that it changes") {
  CHECK(loops_of([](const Tiles& t) {
          Var x = t[1];
          for (Index i : range(0, t[0], 4)) x = x * t[2];
          return Tiles{x};
        }) == R"(
%0 = scf.for %arg11 = %c0_i32 to %arg0 step %c4_i32 iter_args(%arg12 = %arg1) -> (f32)  : i32 {
  %2 = arith.mulf %arg12, %arg2 : f32
  scf.yield %2 : f32
}
)");
}

TEST_CASE("a loop does not carry what it leaves alone") {
  CHECK(loops_of([](const Tiles& t) {
          Var same = t[1], x = t[2];
          for (Index i : range(t[0])) x = x * same;
          return Tiles{x, same};
        }) == R"(
%0 = scf.for %arg11 = %c0_i32 to %arg0 step %c1_i32 iter_args(%arg12 = %arg2) -> (f32)  : i32 {
  %3 = arith.mulf %arg12, %arg1 : f32
  scf.yield %3 : f32
}
)");
}

TEST_CASE("a loop that changes no Var") {
  CHECK(loops_of([](const Tiles& t) {
          Var same = t[1];
          Tiles seen;
          for (Index i : range(2, t[0])) seen.push_back(same);
          return seen; // the value from before the loop
        }) == "\n");
  Program program = record("stores", {tensor_spec("x", f32, {dynamic})}, [](const Arguments& a) {
    Var value = 1.0;
    for (Index i : range(0, a.view(0).size(0))) a.view(0).at(i).store(value);
  });
  CHECK_THAT(program.text(), Contains("scf.for %arg1 = %c0_i32 to %0 step %c1_i32  : i32 {"));
}

TEST_CASE("two Vars that exchange their values") {
  CHECK(loops_of([](const Tiles& t) {
          Var a = t[1], b = t[2];
          for (Index i : range(t[0])) {
            Tile old = a;
            a = b;
            b = old;
          }
          return Tiles{a, b};
        }) == R"(
%0:2 = scf.for %arg11 = %c0_i32 to %arg0 step %c1_i32 iter_args(%arg12 = %arg1, %arg13 = %arg2) -> (f32, f32)  : i32 {
  scf.yield %arg13, %arg12 : f32, f32
}
)");
}

TEST_CASE("a Var that takes the value of one that stays") {
  CHECK(loops_of([](const Tiles& t) {
          Var changing = t[1], staying = t[2];
          for (Index i : range(t[0])) changing = staying;
          return Tiles{changing};
        }) == R"(
%0 = scf.for %arg11 = %c0_i32 to %arg0 step %c1_i32 iter_args(%arg12 = %arg1) -> (f32)  : i32 {
  scf.yield %arg2 : f32
}
)");
}

TEST_CASE("nested loops carry through both") {
  CHECK(loops_of([](const Tiles& t) {
          Var inner = t[1], outer = t[2], same = t[1];
          for (Index i : range(t[0])) {
            for (Index j : range(i, 10)) inner = inner + same;
            outer = outer + inner;
          }
          return Tiles{inner, outer};
        }) == R"(
%0:2 = scf.for %arg11 = %c0_i32 to %arg0 step %c1_i32 iter_args(%arg12 = %arg1, %arg13 = %arg2) -> (f32, f32)  : i32 {
  %3 = scf.for %arg14 = %arg11 to %c10_i32 step %c1_i32 iter_args(%arg15 = %arg12) -> (f32)  : i32 {
    %5 = arith.addf %arg15, %arg1 : f32
    scf.yield %5 : f32
  }
  %4 = arith.addf %arg13, %3 : f32
  scf.yield %3, %4 : f32, f32
}
)");
}

TEST_CASE("a Var made inside a loop is carried by the loops inside") {
  CHECK(loops_of([](const Tiles& t) {
          Var total = t[1];
          for (Index i : range(t[0])) {
            Var part = t[2];
            for (Index j : range(i)) part += part;
            total += part;
          }
          return Tiles{total};
        }) == R"(
%0 = scf.for %arg11 = %c0_i32 to %arg0 step %c1_i32 iter_args(%arg12 = %arg1) -> (f32)  : i32 {
  %2 = scf.for %arg13 = %c0_i32 to %arg11 step %c1_i32 iter_args(%arg14 = %arg2) -> (f32)  : i32 {
    %4 = arith.addf %arg14, %arg14 : f32
    scf.yield %4 : f32
  }
  %3 = arith.addf %arg12, %2 : f32
  scf.yield %3 : f32
}
)");
}

TEST_CASE("two loops in a row share a body") {
  CHECK(loops_of([](const Tiles& t) {
          Var x = t[1];
          auto turn = [&](const Index& i, bool masked) {
            Tile next = x * t[2];
            x = masked ? select(i < t[0], next, x) : next;
          };
          for (Index i : range(0, 64, 8)) turn(i, false);
          for (Index i : range(64, 72, 8)) turn(i, true);
          return Tiles{x};
        }) == R"(
%0 = scf.for %arg11 = %c0_i32 to %c64_i32 step %c8_i32 iter_args(%arg12 = %arg1) -> (f32)  : i32 {
  %3 = arith.mulf %arg12, %arg2 : f32
  scf.yield %3 : f32
}
%1 = scf.for %arg11 = %c64_i32 to %c72_i32 step %c8_i32 iter_args(%arg12 = %0) -> (f32)  : i32 {
  %3 = arith.mulf %arg12, %arg2 : f32
  %4 = arith.cmpi slt, %arg11, %arg0 : i32
  %5 = arith.select %4, %3, %arg12 : f32
  scf.yield %5 : f32
}
)");
}

TEST_CASE("a Var assigned and set back is not carried") {
  CHECK(loops_of([](const Tiles& t) {
          Var x = t[1], y = t[2];
          for (Index i : range(t[0])) {
            Tile old = x;
            x = x * 2;
            y = y + x;
            x = old;
          }
          return Tiles{x, y};
        }) == R"(
%0 = scf.for %arg11 = %c0_i32 to %arg0 step %c1_i32 iter_args(%arg12 = %arg2) -> (f32)  : i32 {
  %3 = arith.mulf %arg1, %cst : f32
  %4 = arith.addf %arg12, %3 : f32
  scf.yield %4 : f32
}
)");
}

TEST_CASE("Vars in containers keep their identity") {
  std::string text = loops_of([](const Tiles& t) {
    std::vector<Var> vars;
    for (int i = 0; i < 5; ++i) vars.emplace_back(t[1]); // moves the earlier ones about
    for (Index i : range(t[0]))
      for (Var& v : vars) v *= 2.0;
    return Tiles{vars[0], vars[4]};
  });
  CHECK_THAT(text, Contains("%0:5 = scf.for"));
}

TEST_CASE("a copy of a Var is a Var of its own") {
  program_of({{f32}, {f32}}, [](const Tiles& t) {
    Var a = t[0], b = a;
    b = t[1];
    Tile kept = a;
    a = b;
    return Tiles{kept, a};
  });
  std::string text = program_of({{f32}, {f32}}, [](const Tiles& t) {
                       Var a = t[0], b = a;
                       b = t[1];
                       return Tiles{a};
                     }).text();
  CHECK_THAT(text, Contains("tile.splat %arg0") && !Contains("tile.splat %arg1"));
}

TEST_CASE("a number assigned to a Var takes its type and shape") {
  std::string text = text_of({{i32}, {bf16, {64}}}, [](const Tiles& t) {
    Var x = t[1];
    for (Index i : range(t[0])) x = 0;
    return x;
  });
  CHECK_THAT(text, Contains("arith.constant dense<0.000000e+00> : tensor<64xbf16>"));
}
