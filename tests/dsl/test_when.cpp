// when() records both parts of a condition; Vars that either assigns are its results, all others are not.
#include "tests/dsl/support.h"

using namespace tilejit;
using namespace tilejit::dsl;
using Catch::Matchers::Contains;
using Tiles = std::vector<Tile>;

namespace {

std::string conditions_of(const std::function<Tiles(const Tiles&)>& body) {
  return regions_of(program_of({{i1}, {f32}, {f32}, {i32}}, body).text(), "scf.if");
}

} // namespace

TEST_CASE("a Var that one part assigns keeps its value in the other") {
  CHECK(conditions_of([](const Tiles& t) {
          Var x = t[1];
          when(t[0], [&] { x = x * t[2]; });
          return Tiles{x};
        }) == R"(
%0 = scf.if %arg0 -> (f32) {
  %2 = arith.mulf %arg1, %arg2 : f32
  scf.yield %2 : f32
} else {
  scf.yield %arg1 : f32
}
)");
}

TEST_CASE("both parts assign") {
  CHECK(conditions_of([](const Tiles& t) {
          Var x = t[1], y = t[2];
          when(t[0], [&] { x = y + 1.0; }, [&] { y = x; });
          return Tiles{x, y};
        }) == R"(
%0:2 = scf.if %arg0 -> (f32, f32) {
  %3 = arith.addf %arg2, %cst : f32
  scf.yield %3, %arg2 : f32, f32
} else {
  scf.yield %arg1, %arg1 : f32, f32
}
)");
}

TEST_CASE("what no part assigns is no result") {
  CHECK(conditions_of([](const Tiles& t) {
          Var same = t[1], x = t[2];
          when(t[0], [&] { x = x + same; });
          return Tiles{same};
        }) == "\n"); // and so nothing is left of it
}

TEST_CASE("a condition in a loop: the loop carries its result") {
  std::string text = program_of({{i32}, {f32}}, [](const Tiles& t) {
                       Var x = t[1], same = t[1];
                       for (Index i : range(t[0])) when(i < 3, [&] { x = x * same; });
                       return Tiles{x};
                     }).text();
  CHECK_THAT(text, Contains("iter_args(%arg5 = %arg1) -> (f32)") || Contains("-> (f32)  : i32 {"));
  CHECK_THAT(text, Contains("scf.if"));
  CHECK_THAT(text, Contains("arith.mulf"));
}

TEST_CASE("a loop in a condition") {
  std::string text = program_of({{i1}, {i32}, {f32}}, [](const Tiles& t) {
                       Var x = t[2];
                       when(t[0], [&] {
                         for (Index i : range(t[1])) x += i.to(f32);
                       });
                       return Tiles{x};
                     }).text();
  CHECK(text.find("scf.if") < text.find("scf.for"));
}

TEST_CASE("a part that only stores") {
  Program program = record("stores", {tensor_spec("x", f32, {dynamic}), scalar_spec("flag", i32)},
                           [](const Arguments& a) { when(a.scalar(1) > 0, [&] { a.view(0).at(0).store(1.0); }); });
  CHECK_THAT(program.text(), Contains("scf.if") && Contains("tile.store") && !Contains("else"));
}

TEST_CASE("conditions that are none, and values that end with a part") {
  auto error = [](const std::function<Tiles(const Tiles&)>& body) {
    return error_of([&] { program_of({{i1}, {f32}, {i1, {8}}}, body); });
  };
  CHECK_THAT(error([](const Tiles& t) {
               when(t[1], [] {});
               return Tiles{};
             }),
             Contains("test_when.cpp:") && Contains("when: the condition must be an i1 scalar, not f32 scalar"));
  CHECK_THAT(error([](const Tiles& t) {
               when(t[2], [] {});
               return Tiles{};
             }),
             Contains("not i1 [8]; for a tile of conditions use select"));
  CHECK_THAT(error([](const Tiles& t) {
               Tiles kept;
               when(t[0], [&] { kept.push_back(t[1] + 1.0); });
               return Tiles{kept[0] + 1.0};
             }),
             Contains("made inside a loop, a when or a combine function that has ended"));
  CHECK_THAT(error([](const Tiles& t) {
               try {
                 when(t[0], [] { throw 1; });
               } catch (int) {
               }
               return Tiles{t[1] + 1.0};
             }),
             Contains("when: a part of it was left by an exception"));
}
