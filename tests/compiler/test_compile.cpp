// The whole compiler on small programs: what comes out, and what is refused in words.
#include "compiler/compile.h"

#include <catch2/catch.hpp>

using namespace tilejit;
using Catch::Contains;

namespace {

const char* const add = R"(
func.func @add(%x: !tile.view<?xf32, strides = [1], align = 16> {tile.name = "x"},
               %y: !tile.view<?xf32, strides = [1], align = 16> {tile.name = "y"}, %n: f32 {tile.name = "n"})
    attributes {tile.kernel, tile.warps = 4 : i32} {
  %pid = tile.program_id 0
  %c = arith.constant 1024 : i32
  %i = arith.muli %pid, %c : i32
  %a = tile.load %x[%i] dims [0] : !tile.view<?xf32, strides = [1], align = 16> -> tensor<1024xf32>
  %s = tile.splat %n : f32 -> tensor<1024xf32>
  %b = arith.addf %a, %s : tensor<1024xf32>
  tile.store %b, %y[%i] dims [0] : tensor<1024xf32> -> !tile.view<?xf32, strides = [1], align = 16>
  return
}
)";

std::string error_of(const std::string& text, const CompileOptions& options = {}) {
  try {
    compile(Program::parse(text, "test.mlir"), options);
  } catch (const CompileError& error) {
    return error.what();
  }
  return "no error";
}

} // namespace

TEST_CASE("a compiled kernel says what a launch needs") {
  CompiledKernel kernel = compile(Program::parse(add));
  CHECK(kernel.name == "add");
  CHECK(kernel.target == "sm_90a");
  CHECK(kernel.threads == 128);
  CHECK(kernel.shared_bytes == 0);
  REQUIRE(kernel.arguments.size() == 3);
  CHECK(kernel.arguments[0].name == "x");
  CHECK(kernel.arguments[0].is_tensor);
  CHECK_FALSE(kernel.arguments[0].written);
  CHECK(kernel.arguments[1].written);
  CHECK_FALSE(kernel.arguments[2].is_tensor);
  // x: pointer, size; y: pointer, size; n.
  REQUIRE(kernel.parameters.size() == 5);
  CHECK(kernel.parameters[1].kind == KernelParameter::Kind::size);
  CHECK(kernel.parameters[2].kind == KernelParameter::Kind::pointer);
  CHECK(kernel.parameters[2].argument == 1);
  CHECK(kernel.parameters[4].kind == KernelParameter::Kind::scalar);
  for (const char* stage : {"place", "to-llvm", "translate", "llvm-opt", "nvptx"})
    CHECK(std::any_of(kernel.stages.begin(), kernel.stages.end(), [&](const StageTime& s) { return s.name == stage; }));
}

TEST_CASE("PTX is for the target, has wide accesses, and leads back to the source") {
  for (auto [target, version] : {std::pair("sm_80", ".version 7.0"), std::pair("sm_90a", ".version 8.0")}) {
    CompileOptions options;
    options.target = target;
    options.verify = true;
    std::string ptx = compile(Program::parse(add, "add.mlir"), options).ptx;
    CHECK_THAT(ptx, Contains(version) && Contains(std::string(".target ") + target));
    CHECK_THAT(ptx, Contains("ld.global.v4.b32") && Contains("st.global.v4.b32"));
    CHECK_THAT(ptx, Contains("add.mlir") && Contains(".loc"));
    CHECK_THAT(ptx, !Contains(", debug"));
  }
}

TEST_CASE("compiling twice gives the same text, fully optimized too") {
  Program program = Program::parse(add);
  CHECK(compile(program).ptx == compile(program).ptx);
  CompileOptions options;
  options.optimize_fully = true;
  CHECK_THAT(compile(program, options).ptx, Contains("st.global.v4.b32"));
}

TEST_CASE("a program's text at each level") {
  Program program = Program::parse(add);
  CHECK_THAT(lower_to(program, Level::tile), Contains("tile.load") && !Contains("#tile.layout"));
  CHECK_THAT(lower_to(program, Level::placed), Contains("#tile.layout"));
  CHECK_THAT(lower_to(program, Level::llvm_dialect), Contains("llvm.func"));
  CHECK_THAT(lower_to(program, Level::llvm), Contains("define"));
  CHECK_THAT(lower_to(program, Level::ptx), Contains(".visible .entry add"));
  CHECK(Program::parse(program.text()).text() == program.text());
}

TEST_CASE("after each pass whoever asked sees the IR") {
  std::vector<std::string> seen;
  CompileOptions options;
  options.after_pass = [&](std::string_view pass, const std::string& ir) {
    seen.push_back(std::string(pass));
    CHECK_FALSE(ir.empty());
  };
  compile(Program::parse(add), options);
  CHECK(seen == std::vector<std::string>{"cse", "place", "stage-loads", "lower-conversions", "allocate-shared",
                                         "insert-barriers", "to-llvm"});
}

TEST_CASE("what can't be compiled is refused in words") {
  CompileOptions options;
  options.target = "sm_12";
  CHECK_THAT(error_of(add, options), Contains("unknown target 'sm_12'") && Contains("sm_80"));
  CHECK_THAT(error_of("func.func @f() { return }"), Contains("tile.kernel"));
  CHECK_THAT(error_of("func.func @f() {\n  %x = tile.nonsense\n  return\n}"), Contains("test.mlir:2:"));
  auto kernel = [](const std::string& arguments, const std::string& body,
                   const std::string& attributes = "tile.kernel") {
    return "func.func @f(%v: !tile.view<64xf32, strides = [1], align = 16>" + arguments + ") attributes {" +
           attributes + "} {\n  %c = arith.constant 0 : i32\n" + body + "  return\n}";
  };
  CHECK(error_of(kernel("", "")) == "no error");
  CHECK_THAT(error_of(kernel("", R"(
  %x = tile.load %v[%c] dims [0] : !tile.view<64xf32, strides = [1], align = 16> -> tensor<64xf32>
  %y = arith.addf %x, %c : tensor<64xf32>
)")),
             Contains("test.mlir:5:"));
  CHECK_THAT(error_of(R"(
func.func @f(%a: !tile.view<64x64xbf16, strides = [64, 1], align = 16>) attributes {tile.kernel} {
  %c = arith.constant 0 : i32
  %x = tile.load %a[%c, %c] dims [0, 1] : !tile.view<64x64xbf16, strides = [64, 1], align = 16> -> tensor<64x32xbf16>
  %zero = arith.constant dense<0.0> : tensor<64x32xf32>
  %y = tile.dot %x, %x, %zero : tensor<64x32xbf16>, tensor<64x32xbf16> -> tensor<64x32xf32>
  return
})"),
             Contains("test.mlir:6:") && Contains("shapes do not fit"));
  // What no tile program holds.
  CHECK_THAT(error_of("func.func private @f(%n: i32) attributes {tile.kernel}"), Contains("needs a body"));
  CHECK_THAT(error_of("func.func @f(%n: i32) -> i32 attributes {tile.kernel} { return %n : i32 }"),
             Contains("returns nothing"));
  CHECK_THAT(error_of(kernel(", %n: index", "")), Contains("argument 1 must be a view or a scalar, not 'index'"));
  CHECK_THAT(error_of(kernel(", %t: tensor<4xf32>", "")), Contains("not 'tensor<4xf32>'"));
  CHECK_THAT(error_of(kernel("", "  %i = arith.constant 0 : index\n")),
             Contains("test.mlir:3:") && Contains("'index'"));
  CHECK_THAT(error_of(kernel("", "  %t = arith.constant dense<0.0> : tensor<4xf80>\n")), Contains("f80"));
  CHECK_THAT(error_of(kernel("", R"(
  %x = tile.load %v[%c] dims [0] : !tile.view<64xf32, strides = [1], align = 16> -> tensor<?xf32>
)")),
             Contains("fixed shape"));
  for (const char* warps : {"0 : i32", "33 : i32", "4 : i64", "\"four\""})
    CHECK_THAT(error_of(kernel("", "", std::string("tile.kernel, tile.warps = ") + warps)),
               Contains("tile.warps must be an i32 from 1 to 32"));
  CHECK_THAT(error_of(kernel("", "", "tile.kernel, tile.stages = 0 : i32")), Contains("tile.stages"));
  CHECK_THAT(error_of(lower_to(Program::parse(add), Level::placed)), Contains("placed program"));
  // What a tile program may hold and this compiler does not lower.
  const std::string f64_view = "!tile.view<64xf64, strides = [1], align = 16>";
  CHECK_THAT(error_of("func.func @f(%v: " + f64_view + ") attributes {tile.kernel} {\n  %c = arith.constant 0 : i32\n" +
                      "  %x = tile.load %v[%c] dims [0] : " + f64_view + " -> tensor<64xf64>\n" +
                      "  %y = math.exp %x : tensor<64xf64>\n  tile.store %y, %v[%c] dims [0] : tensor<64xf64> -> " +
                      f64_view + "\n  return\n}"),
             Contains("math.exp") && Contains("f64"));
}
