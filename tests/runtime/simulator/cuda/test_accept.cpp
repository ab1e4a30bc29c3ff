// Everything that nvcc made of our CUDA C++ is taken: every entry of every file decodes into a program.
#include "runtime/device.h"
#include "runtime/simulator/lower.h"
#include "tests/runtime/simulator/ptx_text.h"

#include <catch2/catch.hpp>
#include <filesystem>

using namespace tilejit::runtime;
using namespace tilejit::runtime::simulator;

TEST_CASE("every entry of the files that nvcc made") {
  size_t entries = 0;
  for (const auto& file : std::filesystem::directory_iterator(TILEJIT_CUDA)) {
    if (file.path().extension() != ".ptx") continue;
    INFO(file.path().filename());
    auto module = std::make_shared<simulator::Module>(parse(test::read_file(file.path())));
    std::vector<uint64_t> addresses(module->variables.size());
    for (uint32_t f = 0; f < module->functions.size(); ++f) {
      if (!module->functions[f].is_entry) continue;
      INFO(module->functions[f].name);
      CHECK_NOTHROW(lower(module, f, {128, 1, 1}, addresses));
      ++entries;
    }
  }
  CHECK(entries > 50);
}
