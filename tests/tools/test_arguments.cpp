#include "tools/tilejit/arguments.h"

#include <catch2/catch.hpp>

using namespace tilejit;
using namespace tilejit::tools;
using Catch::Matchers::Contains;

TEST_CASE("assignments") {
  Assignment a = parse_assignment("--in", "q=dir/x=1.npy");
  CHECK(a.name == "q");
  CHECK(a.value == "dir/x=1.npy");
  for (const char* text : {"q", "=x", "q=", "="})
    CHECK_THROWS_WITH(parse_assignment("--in", text), Contains("--in " + std::string(text) + ": expected NAME=VALUE"));
  CHECK(parse_assignments("--set", {"a=1", "b=2"}).size() == 2);
  CHECK_THROWS_WITH(parse_assignments("--set", {"a=1", "a=2"}), Contains("names 'a' twice"));
}

TEST_CASE("shapes") {
  CHECK(parse_shape("q", "1,128,4,64") == std::vector<int64_t>{1, 128, 4, 64});
  CHECK(parse_shape("q", "7") == std::vector<int64_t>{7});
  for (const char* text : {"", ",", "1,", ",1", "1,,2", "0,1", "-3", "1x2", "1.5", "99999999999999999999", " 1"}) {
    INFO(text);
    CHECK_THROWS_AS(parse_shape("q", text), InputError);
  }
}

TEST_CASE("element types") {
  CHECK(parse_float_type("bf16") == DType::bf16);
  CHECK(parse_float_type("f16") == DType::f16);
  CHECK(parse_float_type("f32") == DType::f32);
  for (const char* text : {"i32", "float16", "", "BF16"}) CHECK_THROWS_AS(parse_float_type(text), InputError);
}

TEST_CASE("an unknown name is answered with the nearest, and all") {
  std::vector<std::string> known = {"attention", "linear_attention", "gla"};
  CHECK(unknown_name("kernel", "atention", known) ==
        "there is no kernel 'atention' (did you mean 'attention'?); there are attention, linear_attention, gla");
  CHECK(unknown_name("kernel", "gle", known).find("'gla'?") != std::string::npos);
  CHECK(unknown_name("kernel", "softmax", known).find("did you mean") == std::string::npos);
  CHECK(unknown_name("input", "x", {"q"}) == "there is no input 'x' (did you mean 'q'?); there is q");
  CHECK(unknown_name("input", "x", {}) == "there is no input 'x'; there is none at all");
}

TEST_CASE("messages become one line") {
  CHECK(one_line("a\nb\n") == "a; b");
  CHECK(one_line("a") == "a");
  CHECK(one_line("\n") == "");
}
