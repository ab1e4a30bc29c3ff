// Every mistake names the author's file and line, and both shapes or types.
#include "tests/dsl/support.h"

using namespace tilejit;
using namespace tilejit::dsl;
using Tiles = std::vector<Tile>;

// clang-format off
// The body's mistake must be on the line where the macro is used.
#define FAILS(body, message)                                                                                           \
  CHECK(error_of([] { program_of(inputs, [](const Tiles& t) -> Tiles body); }) ==                                      \
        "test_errors.cpp:" + std::to_string(__LINE__) + ": " message)
#define MISTAKE(expression, message) FAILS({ return {expression}; }, message)

namespace {
// t[0] to t[8]
const std::vector<Input> inputs{{f32, {64, 128}}, {bf16, {64, 128}}, {f32, {64}},     {i32, {64, 128}}, {i32},
                                {f32},            {i64},             {bf16, {24, 16}}, {f32, {32, 128}}};
} // namespace

TEST_CASE("element types that differ") {
  MISTAKE(t[0] + t[1], "+: element types differ: f32 [64, 128] and bf16 [64, 128]; convert one with .to(...)");
  MISTAKE(t[0] * t[3], "*: element types differ: f32 [64, 128] and i32 [64, 128]; convert one with .to(...)");
  MISTAKE(t[4] < t[5], "<: element types differ: i32 scalar and f32 scalar; convert one with .to(...)");
  MISTAKE(select(t[0] < 0, t[0], t[1]), "select: element types differ: f32 [64, 128] and bf16 [64, 128]; convert one "
                                        "with .to(...)");
  MISTAKE(t[3] + 0.5, "+: the number 0.5 is not an integer, but meets i32; convert the tile with .to(f32)");
  MISTAKE(t[3] + 3000000000, "+: the number 3000000000 does not fit i32");
  MISTAKE(t[3].to(i8) + 128, "+: the number 128 does not fit i8");
}

TEST_CASE("shapes that differ") {
  MISTAKE(t[0] - t[8], "-: shapes differ: f32 [64, 128] and f32 [32, 128]");
  MISTAKE(t[0] - t[2], "-: numbers of dims differ: f32 [64, 128] and f32 [64]; x.column() makes [n] an [n, 1], "
                       "x.row() a [1, n]");
  MISTAKE(t[0] - t[2].row(), "-: shapes differ: f32 [64, 128] and f32 [1, 64]");
  MISTAKE(t[2].broadcast({64, 128}), "broadcast: f32 [64] does not repeat to f32 [64, 128]; make it two dims with "
                                     ".column() or .row()");
  MISTAKE(t[0].column(), "column needs a tile of one dim, not f32 [64, 128]");
  MISTAKE(t[0].expand(4), "expand: there is no dim 4 in the result of f32 [64, 128]");
}

TEST_CASE("operations that a type does not have") {
  MISTAKE(exp(t[3]), "exp needs floats (convert with .to(f32)), not i32 [64, 128]");
  MISTAKE(exp(t[0].to(f64)), "exp needs f16, bf16 or f32 (convert with .to(f32)), not f64 [64, 128]");
  MISTAKE((t[0] < 0) + (t[0] > 1), "+ needs numbers (convert with .to(i32)), not i1 [64, 128]");
  MISTAKE(t[0] && t[0], "&& needs i1 on both sides, not f32 [64, 128]");
  MISTAKE(!t[3], "! needs i1, not i32 [64, 128]");
  MISTAKE(t[0] % t[0], "% needs integers, not f32 [64, 128]");
  MISTAKE(fma(t[3], t[3], t[3]), "fma needs floats, not i32 [64, 128]");
  MISTAKE(select(t[3], t[0], t[0]), "select needs an i1 condition, not i32 [64, 128]");
}

TEST_CASE("products that do not fit") {
  MISTAKE(dot(t[0], t[0]), "dot: inner sizes differ: f32 [64, 128] times f32 [64, 128]; transpose the second operand?");
  MISTAKE(dot(t[0], t[1]), "dot: element types differ: f32 [64, 128] times bf16 [64, 128]; convert one with .to(...)");
  MISTAKE(dot(t[0], t[2]), "dot needs two tiles of two dims, not f32 [64, 128] times f32 [64]");
  MISTAKE(dot(t[3], t[3]), "dot multiplies bf16, f16 or f32, not i32 [64, 128] times i32 [64, 128]");
  MISTAKE(dot(t[7], transpose(t[7])), "dot [M, K] times [K, N] needs M a multiple of 16, N of 8 and K of 16, not "
                                      "bf16 [24, 16] times bf16 [16, 24]");
  MISTAKE(dot(t[0], transpose(t[8]), t[0]), "dot: the sum is f32 [64, 32], but acc is f32 [64, 128]");
}

TEST_CASE("whole tiles") {
  MISTAKE(transpose(t[2]), "transpose needs a tile of two dims (see permute), not f32 [64]");
  MISTAKE(permute(t[0], {0, 0}), "permute needs each dim of the tile once, not f32 [64, 128]");
  MISTAKE(sum(t[0], 2), "sum: there is no dim 2 in f32 [64, 128]");
  MISTAKE(reduce_max(t[5], 0), "reduce_max needs a tile with at least one dim, not f32 scalar");
  MISTAKE(reduce({t[0], t[8]}, 0, CombineMany())[0], "reduce: shapes differ: f32 [64, 128] and f32 [32, 128]");
  MISTAKE(sum(t[0] < 0, 0), "sum needs numbers (convert with .to(i32)), not i1 [64, 128]");
  MISTAKE(reduce(t[0], 0, [](auto& a, auto& b) { return a < b; }), "reduce: the combine function returned i1 scalar for "
                                                                   "f32 scalar");
  FAILS({ return {reduce(t[0], 0, [&](auto& a, auto& b) { return a + t[2]; })}; },
        "a combine function works on its scalars and can't use a tile, f32 [64]");
  FAILS({ Var v = 0.0; return {reduce(t[0], 0, [&](auto& a, auto& b) { v = a; return a; })}; },
        "a combine function can't assign a Var from outside; it returns its result");
  FAILS({ return {reduce(t[0], 0, [&](auto& a, auto& b) { for (Index i : range(4)) a + i; return b; })}; },
        "range: a combine function can't hold a loop");
  FAILS({ return {reduce(t[0], 0, [&](auto& a, auto& b) { return a + sum(full(f32, {4}, b), 0); })}; },
        "a combine function works on its scalars and can't use a tile, f32 [4]");
}

TEST_CASE("shapes that no tile has") {
  MISTAKE(zeros(f32, {64, 0}), "full: sizes of a tile are at least 1, not 0");
  MISTAKE(zeros(f32, {2, 2, 2, 2, 2}), "full: a tile has at most 4 dims");
  MISTAKE(iota(0), "iota: sizes of a tile are at least 1, not 0");
  MISTAKE(full(f32, {4}, t[4]), "full needs f32 scalar, not i32 scalar");
  MISTAKE(program_id(3), "program_id: a grid has axes 0, 1 and 2, not 3");
}

TEST_CASE("Vars keep their type and shape") {
  FAILS({ Var v = t[0]; v = t[2].column(); return {}; },
        "assigning f32 [64, 1] to a Var of f32 [64, 128]; a Var keeps its type and shape");
  FAILS({ Var v = t[0]; v = t[1]; return {}; },
        "assigning bf16 [64, 128] to a Var of f32 [64, 128]; a Var keeps its type and shape");
  FAILS({ Var a = t[0]; Var b = t[1]; a = b; return {}; },
        "assigning bf16 [64, 128] to a Var of f32 [64, 128]; a Var keeps its type and shape");
  FAILS({ Var v = t[4]; v += t[6]; return {}; },
        "assigning i64 scalar to a Var of i32 scalar; a Var keeps its type and shape");
}

TEST_CASE("loops") {
  MISTAKE(*range(0, t[6]).begin(), "range: the end must be an i32 scalar, not i64 scalar; convert it with .to(i32)");
  MISTAKE(*range(t[5]).begin(), "range: the end must be an i32 scalar, not f32 scalar");
  MISTAKE(*range(0, t[4], 0).begin(), "range: the step must be positive, not 0");
  FAILS({ for (Index i : range(t[4])) break; return {}; },
        "range: the body of this loop was left by break, return or an exception; it is recorded once for all turns, so "
        "it has to run to its end (a shorter range, or select and masks, leave turns out)");
  FAILS({ for (Index i : range(t[4])) return {}; return {}; },
        "range: the body of this loop was left by break, return or an exception; it is recorded once for all turns, so "
        "it has to run to its end (a shorter range, or select and masks, leave turns out)");
}

TEST_CASE("a value that a loop made ends with the loop") {
  FAILS({ Tiles kept; for (Index i : range(t[4])) kept.push_back(i + 1); return {kept[0] * 2}; },
        "this tile was made inside a loop, a when or a combine function that has ended; to carry a value out of a loop or a "
        "when, assign it to a Var that was made before it");
  FAILS({ auto v = std::make_unique<Var>(t[5]); for (Index i : range(t[4])) v.reset(); return {}; },
        "range: a Var that was made before this loop was destroyed inside it");
}

TEST_CASE("an exception that leaves a loop spoils the recording, even where it is caught") {
  std::string error = error_of([] {
    program_of(inputs, [](const Tiles& t) {
      try {
        for (Index i : range(t[4])) throw 1;
      } catch (int) {}
      return Tiles{t[0] + t[0]};
    });
  });
  CHECK_THAT(error, Catch::Matchers::Contains("was left by break, return or an exception"));
  // The next recording starts afresh.
  CHECK(error_of([] { program_of(inputs, [](const Tiles& t) { return Tiles{t[0] + t[0]}; }); }) == "");
}

TEST_CASE("tiles outside their recording") {
  CHECK(error_of([] { iota(4); }) ==
        "test_errors.cpp:" + std::to_string(__LINE__ - 1) + ": tiles exist only while a kernel is recorded");
  Tiles leaked;
  program_of(inputs, [&](const Tiles& t) { return leaked.push_back(t[0]), Tiles{}; });
  auto use = [&](const Tiles&) { return Tiles{leaked[0] + 1}; };
  CHECK_THAT(error_of([&] { program_of(inputs, use); }), Catch::Matchers::Contains("belongs to another recording"));
}

TEST_CASE("memory") {
  auto memory = [](auto body) {
    return error_of([&] {
      record("memory", {tensor_spec("x", bf16, {dynamic, 64}), scalar_spec("n", i64)},
             [&](const Arguments& a) { body(a.view("x"), a.scalar("n")); });
    });
  };
  auto at = [](int line) { return "test_errors.cpp:" + std::to_string(line) + ": "; };
  CHECK(memory([](View x, Scalar) { x.at(0).load(); }) ==
        at(__LINE__ - 1) + "load: view 'x' of bf16 [?, 64] has 2 dims, but at() got 1 coordinates");
  CHECK(memory([](View x, Scalar n) { x.at(n, span(0, 64)).load(); }) ==
        at(__LINE__ - 1) + "load: coordinate 0 of view 'x' of bf16 [?, 64] must be an i32 scalar, not i64 scalar; "
                           "convert it with .to(i32)");
  CHECK(memory([](View x, Scalar) { x.at(0, span(0, 0)).load(); }) ==
        at(__LINE__ - 1) + "load: the span of dim 1 of view 'x' of bf16 [?, 64] has length 0");
  CHECK(memory([](View x, Scalar) { x.at(0, span(0, 64)).store(zeros(f32, {64})); }) ==
        at(__LINE__ - 1) + "store: f32 [64] into a window bf16 [64]; convert it with .to(bf16)");
  CHECK(memory([](View x, Scalar) { x.at(0, span(0, 64)).store(zeros(bf16, {32})); }) ==
        at(__LINE__ - 1) + "store: bf16 [32] does not repeat to bf16 [64]");
  CHECK(memory([](View x, Scalar) { x.at(0, span(0, 64)).load(iota(64), 0); }) ==
        at(__LINE__ - 1) + "load: a mask is i1, not i32 [64]");
  CHECK(memory([](View x, Scalar) { x.at(0, span(0, 64)).load_or(Tile(0.0)); }) ==
        at(__LINE__ - 1) + "load: `other` is a bf16 scalar, not f32 scalar");
  CHECK(memory([](View x, Scalar) { x.size(2); }) ==
        at(__LINE__ - 1) + "size: there is no dim 2 in view 'x' of bf16 [?, 64]");
  CHECK(memory([](View x, Scalar) { x.fixed_size(0); }) ==
        at(__LINE__ - 1) + "fixed_size: the size of dim 0 of view 'x' of bf16 [?, 64] is not known before the launch; "
                           "fix it with Jit::specialize, or use size()");
}

TEST_CASE("kernels that are put together wrongly") {
  auto nothing = [](View, View) {};
  CHECK(error_of([&] { kernel("add(x)", nothing); }) ==
        "test_errors.cpp:" + std::to_string(__LINE__ - 1) +
            ": kernel 'add(x)' names 1 arguments, but its function takes 2");
  CHECK(error_of([&] { kernel("add", nothing); }) ==
        "kernel 'add': write its name and the names of its arguments, \"scale(x, out)\"");
  CHECK(error_of([&] { kernel("add(x, x)", nothing); }) == "kernel 'add(x, x)': two arguments are called 'x'");
  CHECK(error_of([&] { kernel("add(x, )", nothing); }) == "kernel 'add(x, )': an argument without a name");
  Kernel fine = kernel("fine(x, y)", nothing);
  CHECK(error_of([&] { fine.record({tensor_spec("", f32, {4}), scalar_spec("", f32)}); }) ==
        "test_errors.cpp:" + std::to_string(__LINE__ - 2) +
            ": argument 'y' is a tensor in the kernel's body, but a scalar was given");
  CHECK(error_of([&] { fine.record({}); }) == "kernel fine takes 2 arguments, not 0");
  CHECK(error_of([&] { kernel("a b(x, y)", nothing).record({tensor_spec("", f32, {4}), tensor_spec("", f32, {4})}); }) ==
        "kernel 'a b': a kernel's name is letters, digits and _");
  CHECK(error_of([] { record("k", {}, [](const Arguments&) {}, {.warps = 3}); }) ==
        "k: Schedule::warps is a power of two from 1 to 32, not 3");
  CHECK(error_of([] { record("k", {}, [](const Arguments&) {}, {.stages = 0}); }) ==
        "k: Schedule::stages is at least 1, not 0");
  CHECK(error_of([] { record("k", {tensor_spec("x", f32, {4}, {1}, 3)}, [](const Arguments&) {}); }) ==
        "k: argument 'x': align must be a power of two, not 3");
}
