#include "runtime/cuda/driver.h"

#include <cstdlib>
#include <dlfcn.h>

namespace tilejit::runtime::cuda {

std::shared_ptr<const Driver> Driver::load() {
  const char* named = std::getenv("TILEJIT_LIBCUDA");
  const std::string library = named && *named ? named : "libcuda.so.1";
  std::shared_ptr<Driver> driver(new Driver);
  driver->library_ = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (!driver->library_) {
    const char* reason = dlerror();
    throw Error(library + " not found: " + (reason ? reason : "no reason given") +
                "; a cuda device needs an NVIDIA GPU and its driver (the simulator needs neither)");
  }
#define TILEJIT_RESOLVE(name, parameters)                                                                              \
  driver->name = reinterpret_cast<Result(*) parameters>(dlsym(driver->library_, #name));                               \
  if (!driver->name)                                                                                                   \
    throw Error(library + " has no function " #name ": the NVIDIA driver is too old; it must know CUDA 11.8 or "       \
                          "later");
  TILEJIT_CUDA_FUNCTIONS(TILEJIT_RESOLVE)
#undef TILEJIT_RESOLVE
  Result result = driver->cuInit(0);
  if (result == error_no_device)
    throw Error("the NVIDIA driver is installed, but it finds no GPU (CUDA_ERROR_NO_DEVICE)");
  driver->check(result, "starting the NVIDIA driver (cuInit)");
  return driver;
}

Driver::~Driver() {
  if (library_) dlclose(library_);
}

std::string Driver::version() const {
  int version = 0; // 1000 * major + 10 * minor
  check(cuDriverGetVersion(&version), "asking for the driver's version");
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

int Driver::device_count() const {
  int count = 0;
  check(cuDeviceGetCount(&count), "counting the GPUs");
  return count;
}

std::string Driver::describe(Result result) const {
  const char *name = nullptr, *text = nullptr;
  if (cuGetErrorName(result, &name) != success || !name) return "CUDA error " + std::to_string(result);
  std::string described = name;
  if (cuGetErrorString(result, &text) == success && text) described += std::string(" (") + text + ")";
  return described;
}

void Driver::fail(Result result, const std::string& doing) const {
  throw Error(doing + " failed: " + describe(result));
}

namespace {

/// What kernels may be compiled for, newest first. PTX of a target with features of its own ("a") runs on exactly
/// that compute capability; other PTX runs on every later one too (PTX manual, ".target").
struct Target {
  int major, minor;
  bool exact;
  const char* name;
};
constexpr Target targets[] = {{9, 0, true, "sm_90a"}, {8, 0, false, "sm_80"}};

} // namespace

std::string DeviceFacts::target() const {
  for (const Target& target : targets) {
    bool same = major == target.major && minor == target.minor;
    bool later = major > target.major || (major == target.major && minor > target.minor);
    if (same || (later && !target.exact)) return target.name;
  }
  return "";
}

std::string DeviceFacts::describe() const {
  std::string capability = std::to_string(major) + "." + std::to_string(minor);
  std::string text = name + ", compute capability " + capability;
  if (target().empty()) return text + ": too old, tilejit needs 8.0 or later";
  return text + ", kernels compiled for " + target();
}

DeviceFacts device_facts(const Driver& driver, int ordinal) {
  int count = driver.device_count();
  if (count == 0) throw Error("the NVIDIA driver is installed, but it finds no GPU");
  if (ordinal < 0 || ordinal >= count)
    throw Error("there is no device cuda:" + std::to_string(ordinal) + ": this machine has " +
                (count == 1 ? "one GPU, cuda:0"
                            : std::to_string(count) + " GPUs, cuda:0 to cuda:" + std::to_string(count - 1)));
  const std::string doing = "reading the properties of cuda:" + std::to_string(ordinal);
  DeviceFacts facts;
  facts.ordinal = ordinal;
  driver.check(driver.cuDeviceGet(&facts.handle, ordinal), doing);
  char name[256] = "";
  driver.check(driver.cuDeviceGetName(name, sizeof name, facts.handle), doing);
  facts.name = name;
  auto attribute = [&](int& value, DeviceAttribute which) {
    driver.check(driver.cuDeviceGetAttribute(&value, which, facts.handle), doing);
  };
  attribute(facts.major, compute_capability_major);
  attribute(facts.minor, compute_capability_minor);
  attribute(facts.multiprocessors, multiprocessor_count);
  attribute(facts.max_shared_bytes, max_shared_memory_per_block_optin);
  driver.check(driver.cuDeviceTotalMem_v2(&facts.memory_bytes, facts.handle), doing);
  return facts;
}

} // namespace tilejit::runtime::cuda
