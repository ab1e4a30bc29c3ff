// The parser and the analyses against any bytes: an Error, or a module that every analysis takes. Built with
// `clang++ -fsanitize=fuzzer,address` this is a libFuzzer target; fuzz_driver.cpp runs it for a bounded time.
#include "runtime/device.h"
#include "runtime/simulator/forms.h"
#include "runtime/simulator/liveness.h"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tilejit::runtime;
  using namespace tilejit::runtime::simulator;
  try {
    simulator::Module m = parse({reinterpret_cast<const char*>(data), size});
    for (uint32_t f = 0; f < m.functions.size(); ++f) {
      const Function& function = m.functions[f];
      if (function.is_prototype) continue;
      Cfg cfg = build_cfg(m, function);
      Liveness live = analyse_liveness(function, cfg);
      Uniformity uniform = analyse_uniformity(m, function, cfg, {64, 2, 1});
      RowAllocation rows = allocate_rows(function, cfg, live, uniform);
      if (rows.place.size() != function.registers.size()) std::abort();
      for (const Instruction& i : function.body) m.describe(i.location);
      if (!function.is_entry) continue;
      count_classes(m, f);
      layout_shared(m, f);
      require_known_forms(m, f);
    }
  } catch (const Error& e) {
    // A message has something to say, on whichever line.
    if (std::string(e.what()).size() < 8) std::abort();
  }
  return 0;
}
