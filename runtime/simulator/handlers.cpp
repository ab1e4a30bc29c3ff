// handlers.cpp - which instruction set this machine runs.
#include "runtime/simulator/handlers.h"

#include "runtime/device.h"

#include <cpuid.h>
#include <cstdlib>
#include <string_view>
#include <sys/syscall.h>
#include <unistd.h>

namespace tilejit::runtime::simulator {

const Handlers& handlers_v2();
const Handlers& handlers_v3();
const Handlers& handlers_v4();
/// Only in the benchmark: the lowest level compiled without vectors, to compare with.
[[gnu::weak]] const Handlers& handlers_plain();

namespace {

/// Whether the CPU has matrix units for bf16, and the kernel lets this process use them: it saves their registers only
/// for those who have asked. Intel's manual, CPUID leaf 7; Documentation/arch/x86/xstate.rst of Linux.
bool has_matrix_units() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  constexpr unsigned bf16 = 1u << 22, tile = 1u << 24;
  constexpr long request_permission = 0x1023, tile_data = 18;
  return (d & (bf16 | tile)) == (bf16 | tile) && syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}
const Handlers& handlers_amx() {
  static const Handlers all = [] {
    Handlers h = handlers_v4();
    h.name = "x86-64-v4 with AMX";
    h.wgmma = amx_wgmma_kernel();
    return h;
  }();
  return all;
}

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
      if (name == "amx" && v4 && has_matrix_units()) return handlers_amx();
      if (name == "amx")
        throw Error("TILEJIT_SIMULATOR_ISA is 'amx', but this machine has no matrix units (AMX) for bf16");
      if (name == "v3" || name == "v4")
        throw Error("TILEJIT_SIMULATOR_ISA is '" + std::string(text) + "', but this CPU does not have x86-64-" +
                    std::string(text));
      throw Error("TILEJIT_SIMULATOR_ISA is '" + std::string(text) + "', but must be v2, v3, v4 or amx");
    }
    return v4 && has_matrix_units() ? handlers_amx() : v4 ? handlers_v4() : v3 ? handlers_v3() : handlers_v2();
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
