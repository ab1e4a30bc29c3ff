// Which devices this machine has, and opening one of them by name.
#include "runtime/device.h"

#include "runtime/cuda/driver.h"
#include "runtime/simulator/device.h"

#include <charconv>

namespace tilejit::runtime {
namespace {

constexpr std::string_view usage = "use simulator, simulator:sm_90a, simulator:sm_80, cuda, or cuda:N";

/// The N of "cuda:N".
int ordinal_of(const std::string& name, std::string_view text) {
  int ordinal = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), ordinal);
  if (error != std::errc() || end != text.data() + text.size() || ordinal < 0)
    throw Error("there is no device '" + name + "': '" + std::string(text) + "' is not the number of a GPU");
  return ordinal;
}

} // namespace

std::shared_ptr<Device> open_device(const std::string& name) {
  size_t colon = name.find(':');
  std::string kind = name.substr(0, colon);
  bool detailed = colon != std::string::npos;
  std::string detail = detailed ? name.substr(colon + 1) : "";
  if (kind == "simulator" && detailed != detail.empty()) return detailed ? open_simulator(detail) : open_simulator();
  if (kind == "cuda" && detailed != detail.empty()) return cuda::open_cuda(detailed ? ordinal_of(name, detail) : 0);
  throw Error("there is no device '" + name + "': " + std::string(usage));
}

std::shared_ptr<Device> open_default_device() {
  try {
    return cuda::open_cuda(0);
  } catch (const Error&) { // no driver, no GPU, or one too old: `describe_devices` says which
    return open_simulator();
  }
}

std::vector<std::string> describe_devices() {
  std::vector<std::string> lines;
  try {
    std::shared_ptr<const cuda::Driver> driver = cuda::Driver::load();
    int count = driver->device_count();
    if (count == 0) lines.push_back("cuda: none: the NVIDIA driver is installed, but it finds no GPU");
    for (int ordinal = 0; ordinal < count; ++ordinal) {
      cuda::DeviceFacts facts = cuda::device_facts(*driver, ordinal);
      lines.push_back("cuda:" + std::to_string(ordinal) + ": " + facts.describe() + ", " +
                      std::to_string(facts.multiprocessors) + " multiprocessors, " +
                      std::to_string(facts.memory_bytes >> 20) + " MiB, driver for CUDA " + driver->version());
    }
  } catch (const Error& error) {
    lines.push_back("cuda: none: " + std::string(error.what()));
  }
  lines.push_back("simulator: " + open_simulator()->name());
  return lines;
}

} // namespace tilejit::runtime
