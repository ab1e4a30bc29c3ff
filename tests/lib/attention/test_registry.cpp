#include "lib/attention/registry.h"

#include <catch2/catch.hpp>
#include <set>

using namespace tilejit;
using namespace tilejit::attention;

TEST_CASE("kernels are found by name") {
  REQUIRE(find_kernel("attention") != nullptr);
  CHECK(find_kernel("attention")->name == "attention");
  CHECK(find_kernel("atention") == nullptr);
}

TEST_CASE("every kernel describes itself whole") {
  for (const KernelInfo* kernel : kernels()) {
    INFO(kernel->name);
    CHECK_FALSE(kernel->summary.empty());
    std::set<std::string> names;
    for (const auto* tensors : {&kernel->inputs, &kernel->outputs})
      for (const TensorInfo& tensor : *tensors) {
        CHECK(names.insert(tensor.name).second);
        CHECK_FALSE(tensor.dims.empty());
      }
    for (const TensorInfo& input : kernel->inputs) {
      if (input.optional) continue;
      REQUIRE(kernel->example.contains(input.name));
      CHECK(kernel->example.at(input.name).size() ==
            1 + static_cast<size_t>(std::count(input.dims.begin(), input.dims.end(), ',')));
    }
  }
}

TEST_CASE("every kernel records a program for its example shapes") {
  for (const KernelInfo* kernel : kernels())
    for (DType type : {DType::bf16, DType::f16, DType::f32}) {
      Program program = kernel->program(kernel->example, type, {});
      CHECK(program.name() == kernel->name);
      CHECK(Program::parse(program.text()).text() == program.text());
    }
}
