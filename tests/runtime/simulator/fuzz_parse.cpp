// The parser, the analyses and the lowering against any bytes: an Error, or a module of which every entry becomes a
// program. Built with `clang++ -fsanitize=fuzzer,address` this is a libFuzzer target (fuzz.sh); fuzz_driver.cpp runs it
// for a bounded time.
#include "runtime/device.h"
#include "runtime/simulator/forms.h"
#include "runtime/simulator/liveness.h"
#include "runtime/simulator/lower.h"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tilejit::runtime;
  using namespace tilejit::runtime::simulator;
  try {
    auto module = std::make_shared<const simulator::Module>(parse({reinterpret_cast<const char*>(data), size}));
    const simulator::Module& m = *module;
    for (uint32_t f = 0; f < m.functions.size(); ++f) {
      const Function& function = m.functions[f];
      if (function.is_prototype) continue;
      Cfg cfg = build_cfg(m, function);
      Liveness live = analyse_liveness(function, cfg);
      Uniformity uniform = analyse_uniformity(function, cfg, {64, 2, 1});
      RowAllocation rows = allocate_rows(function, cfg, live, uniform);
      if (rows.place.size() != function.registers.size()) std::abort();
      for (const Instruction& i : function.body) m.describe(i.location);
      if (!function.is_entry) continue;
      count_classes(m, f);
      layout_shared(m, f);
      auto program = lower(module, f, {64, 2, 1}, std::vector<uint64_t>(m.variables.size()));
      if (program->code.empty()) std::abort();
    }
  } catch (const Error& e) {
    // A message has something to say, on whichever line.
    if (std::string(e.what()).size() < 8) std::abort();
  }
  return 0;
}
