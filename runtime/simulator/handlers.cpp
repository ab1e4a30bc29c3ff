// handlers.cpp - which instruction set this machine runs.
#include "runtime/simulator/handlers.h"

#include "runtime/device.h"

#include <cstdlib>
#include <string_view>

namespace tilejit::runtime::simulator {

const Handlers& handlers_v2();
const Handlers& handlers_v3();
const Handlers& handlers_v4();

const Handlers& handlers() {
  static const Handlers& chosen = []() -> const Handlers& {
    __builtin_cpu_init();
    bool v3 = __builtin_cpu_supports("x86-64-v3"), v4 = __builtin_cpu_supports("x86-64-v4");
    if (const char* text = std::getenv("TILEJIT_SIMULATOR_ISA")) {
      std::string_view name(text);
      if (name == "v2") return handlers_v2();
      if (name == "v3" && v3) return handlers_v3();
      if (name == "v4" && v4) return handlers_v4();
      if (name == "v3" || name == "v4")
        throw Error("TILEJIT_SIMULATOR_ISA is '" + std::string(text) + "', but this CPU does not have x86-64-" +
                    std::string(text));
      throw Error("TILEJIT_SIMULATOR_ISA is '" + std::string(text) + "', but must be v2, v3 or v4");
    }
    return v4 ? handlers_v4() : v3 ? handlers_v3() : handlers_v2();
  }();
  return chosen;
}

} // namespace tilejit::runtime::simulator
