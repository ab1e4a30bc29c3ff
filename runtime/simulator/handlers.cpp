// handlers.cpp - which instruction set this machine runs.
#include "runtime/simulator/handlers.h"

#include "runtime/device.h"

#include <cstdlib>
#include <string_view>

namespace tilejit::runtime::simulator {

const Handlers& handlers_v2();
const Handlers& handlers_v3();
const Handlers& handlers_v4();
/// Only in the benchmark: the lowest level compiled without vectors, to compare with.
[[gnu::weak]] const Handlers& handlers_plain();

namespace {

const Handlers& level() {
  static const Handlers& chosen = []() -> const Handlers& {
    __builtin_cpu_init();
    bool v3 = __builtin_cpu_supports("x86-64-v3"), v4 = __builtin_cpu_supports("x86-64-v4");
    if (const char* text = std::getenv("TILEJIT_SIMULATOR_ISA")) {
      std::string_view name(text);
      if (name == "v2") return handlers_v2();
      if (name == "plain" && &handlers_plain) return handlers_plain();
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

template <auto member, typename... Arguments>
auto first_of(Arguments... arguments) {
  auto fn = (level().*member)(arguments...);
  return fn ? fn : (handlers_v2().*member)(arguments...);
}

} // namespace

const Handlers& handlers() {
  static const Handlers all = [] {
    Handlers h = level();
    h.select_int = first_of<&Handlers::select_int>;
    h.select_float = first_of<&Handlers::select_float>;
    h.select_half = first_of<&Handlers::select_half>;
    h.select_convert = first_of<&Handlers::select_convert>;
    h.select_move = first_of<&Handlers::select_move>;
    h.select_memory = first_of<&Handlers::select_memory>;
    h.select_moving = first_of<&Handlers::select_moving>;
    h.select_matrix = first_of<&Handlers::select_matrix>;
    h.select_matrix_more = first_of<&Handlers::select_matrix_more>;
    h.select_carry = first_of<&Handlers::select_carry>;
    return h;
  }();
  return all;
}

} // namespace tilejit::runtime::simulator
