// device.h - where tests run that do not care: on the simulator, or where TILEJIT_TEST_DEVICE says ("cuda").
#pragma once
#include "runtime/device.h"

#include <cstdlib>

namespace tilejit {

inline bool tests_on_gpu() {
  const char* named = std::getenv("TILEJIT_TEST_DEVICE");
  return named && std::string(named).starts_with("cuda");
}
/// `simulated`: which simulator, where it is one: "simulator:sm_80".
inline std::shared_ptr<runtime::Device> open_test_device(const std::string& simulated = "simulator") {
  return runtime::open_device(tests_on_gpu() ? std::getenv("TILEJIT_TEST_DEVICE") : simulated);
}

} // namespace tilejit
