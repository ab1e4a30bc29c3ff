#include "tests/runtime/cuda/fake_libcuda.h"

#include "runtime/cuda/driver_api.h"

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

using namespace tilejit::runtime::cuda;

namespace {

struct Gpu {
  std::string name;
  int major, minor;
};

/// A module: the PTX, and the widths of its entry's parameters, which the real driver knows too.
struct FakeModule {
  std::string ptx;
  std::vector<size_t> widths;
};

struct State {
  std::vector<Gpu> gpus;
  std::map<std::string, int> failures;
  std::string failure_log;
  std::string calls;
  std::set<void*> alive;
  int pushed = 0;
};
State state;

std::vector<Gpu> parse_gpus(const std::string& list) {
  std::vector<Gpu> gpus;
  std::istringstream entries(list);
  for (std::string entry; std::getline(entries, entry, ',');) {
    size_t colon = entry.find(':'), dot = entry.find('.', colon);
    gpus.push_back({entry.substr(0, colon), std::atoi(entry.c_str() + colon + 1), std::atoi(entry.c_str() + dot + 1)});
  }
  return gpus;
}

/// ".param .u64 x" -> 8. Arrays and alignment do not occur in the tests' kernels.
std::vector<size_t> parameter_widths(const std::string& ptx) {
  std::vector<size_t> widths;
  for (size_t at = 0; (at = ptx.find(".param .", at)) != std::string::npos; ++at)
    widths.push_back(static_cast<size_t>(std::atoi(ptx.c_str() + at + 9)) / 8);
  return widths;
}

template <typename... Values>
Result called(const char* name, const Values&... values) {
  std::ostringstream line;
  line << name;
  ((line << ' ' << values), ...);
  state.calls += line.str() + "\n";
  auto failure = state.failures.find(name);
  return failure == state.failures.end() ? success : failure->second;
}

/// Objects are heap blocks, so that a use after release is seen by AddressSanitizer too.
template <typename Handle>
Handle make(size_t bytes = 16) {
  void* object = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  std::memset(object, 0xa5, (bytes + 255) / 256 * 256);
  state.alive.insert(object);
  return reinterpret_cast<Handle>(object);
}

template <typename Handle>
Result release(Handle handle) {
  void* object = reinterpret_cast<void*>(handle);
  if (!state.alive.erase(object)) return 400; // CUDA_ERROR_INVALID_HANDLE
  std::free(object);
  return success;
}

std::map<ModuleHandle, FakeModule> modules;
ContextHandle primary = nullptr;
int retained = 0;

} // namespace

#define FAKE(...)                                                                                                      \
  if (Result result = called(__func__ __VA_OPT__(, ) __VA_ARGS__)) return result

extern "C" {

void fake_reset() {
  for (void* object : state.alive) std::free(object);
  state = State();
  modules.clear();
  retained = 0;
  const char* gpus = std::getenv("TILEJIT_FAKE_GPUS");
  state.gpus = parse_gpus(gpus ? gpus : "Fake H100:9.0");
  if (const char* fail = std::getenv("TILEJIT_FAKE_FAIL")) {
    std::string text = fail;
    size_t equals = text.find('=');
    state.failures[text.substr(0, equals)] = std::atoi(text.c_str() + equals + 1);
  }
}
void fake_gpus(const char* list) { state.gpus = parse_gpus(list); }
void fake_fail(const char* function, int code, const char* log) {
  if (code)
    state.failures[function] = code;
  else
    state.failures.erase(function);
  state.failure_log = log ? log : "";
}
const char* fake_calls() { return state.calls.c_str(); }
int fake_alive() { return static_cast<int>(state.alive.size()); }
int fake_pushed() { return state.pushed; }

Result cuGetErrorName(Result result, const char** name) {
  static const std::map<Result, const char*> names = {{2, "CUDA_ERROR_OUT_OF_MEMORY"},
                                                      {100, "CUDA_ERROR_NO_DEVICE"},
                                                      {218, "CUDA_ERROR_INVALID_PTX"},
                                                      {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"},
                                                      {500, "CUDA_ERROR_NOT_FOUND"},
                                                      {700, "CUDA_ERROR_ILLEGAL_ADDRESS"},
                                                      {701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"}};
  auto found = names.find(result);
  if (found == names.end()) return 1;
  *name = found->second;
  return success;
}
Result cuGetErrorString(Result, const char** text) {
  *text = "as the test asked";
  return success;
}
Result cuInit(unsigned) {
  FAKE();
  return success;
}
Result cuDriverGetVersion(int* version) {
  FAKE();
  *version = 12040;
  return success;
}
Result cuDeviceGetCount(int* count) {
  FAKE();
  *count = static_cast<int>(state.gpus.size());
  return success;
}
Result cuDeviceGet(DeviceHandle* device, int ordinal) {
  FAKE(ordinal);
  *device = ordinal;
  return success;
}
Result cuDeviceGetName(char* name, int bytes, DeviceHandle device) {
  FAKE();
  std::strncpy(name, state.gpus.at(static_cast<size_t>(device)).name.c_str(), static_cast<size_t>(bytes));
  return success;
}
Result cuDeviceGetAttribute(int* value, DeviceAttribute attribute, DeviceHandle device) {
  FAKE(attribute);
  const Gpu& gpu = state.gpus.at(static_cast<size_t>(device));
  switch (attribute) {
  case multiprocessor_count: *value = 132; break;
  case compute_capability_major: *value = gpu.major; break;
  case compute_capability_minor: *value = gpu.minor; break;
  case max_shared_memory_per_block_optin: *value = 227 * 1024; break;
  default: return 1; // CUDA_ERROR_INVALID_VALUE
  }
  return success;
}
Result cuDeviceTotalMem_v2(size_t* bytes, DeviceHandle) {
  FAKE();
  *bytes = size_t(80) << 30;
  return success;
}
Result cuDevicePrimaryCtxRetain(ContextHandle* context, DeviceHandle) {
  FAKE();
  if (retained++ == 0) primary = make<ContextHandle>();
  *context = primary;
  return success;
}
Result cuDevicePrimaryCtxRelease_v2(DeviceHandle) {
  FAKE();
  return --retained == 0 ? release(primary) : success;
}
Result cuCtxPushCurrent_v2(ContextHandle context) {
  FAKE();
  if (context != primary) return 201; // CUDA_ERROR_INVALID_CONTEXT
  ++state.pushed;
  return success;
}
Result cuCtxPopCurrent_v2(ContextHandle* context) {
  FAKE();
  *context = primary;
  --state.pushed;
  return success;
}
Result cuCtxSynchronize() {
  FAKE();
  return success;
}
Result cuMemAlloc_v2(DeviceAddress* address, size_t bytes) {
  FAKE(bytes);
  if (bytes == 0 || !state.pushed) return 1;
  *address = make<DeviceAddress>(bytes);
  return success;
}
Result cuMemFree_v2(DeviceAddress address) {
  FAKE();
  return release(address);
}
Result cuMemcpyHtoD_v2(DeviceAddress to, const void* from, size_t bytes) {
  FAKE(bytes);
  std::memcpy(reinterpret_cast<void*>(to), from, bytes);
  return success;
}
Result cuMemcpyDtoH_v2(void* to, DeviceAddress from, size_t bytes) {
  FAKE(bytes);
  std::memcpy(to, reinterpret_cast<void*>(from), bytes);
  return success;
}
Result cuMemsetD8_v2(DeviceAddress to, unsigned char value, size_t bytes) {
  FAKE(static_cast<int>(value), bytes);
  std::memset(reinterpret_cast<void*>(to), value, bytes);
  return success;
}
Result cuModuleLoadDataEx(ModuleHandle* module, const void* image, unsigned count, JitOption* options, void** values) {
  if (Result result = called(__func__)) {
    for (unsigned i = 0; i < count; ++i)
      if (options[i] == jit_error_log_buffer) std::strcpy(static_cast<char*>(values[i]), state.failure_log.c_str());
    return result;
  }
  *module = make<ModuleHandle>();
  std::string ptx = static_cast<const char*>(image);
  modules[*module] = {ptx, parameter_widths(ptx)};
  return success;
}
Result cuModuleUnload(ModuleHandle module) {
  FAKE();
  modules.erase(module);
  return release(module);
}
Result cuModuleGetFunction(FunctionHandle* function, ModuleHandle module, const char* name) {
  FAKE(name);
  if (modules.at(module).ptx.find(std::string(".entry ") + name) == std::string::npos) return 500;
  *function = reinterpret_cast<FunctionHandle>(module);
  return success;
}
Result cuFuncSetAttribute(FunctionHandle, FunctionAttribute attribute, int value) {
  FAKE(attribute, value);
  return success;
}
Result cuLaunchKernelEx(const LaunchConfig* c, FunctionHandle function, void** parameters, void**) {
  std::ostringstream values;
  for (size_t width : modules.at(reinterpret_cast<ModuleHandle>(function)).widths) {
    uint64_t value = 0;
    std::memcpy(&value, *parameters++, width);
    values << ' ' << value;
  }
  std::ostringstream cluster;
  for (unsigned i = 0; i < c->attribute_count; ++i)
    if (c->attributes[i].id == cluster_dimension)
      for (unsigned n : c->attributes[i].cluster) cluster << ' ' << n;
  FAKE("grid", c->grid_x, c->grid_y, c->grid_z, "block", c->block_x, c->block_y, c->block_z, "shared", c->shared_bytes,
       c->stream ? "stream" : "default",
       (cluster.str().empty() ? "" : "cluster" + cluster.str() + " ") + "parameters" + values.str());
  return success;
}
Result cuStreamCreate(StreamHandle* stream, unsigned flags) {
  FAKE(flags);
  *stream = make<StreamHandle>();
  return success;
}
Result cuStreamSynchronize(StreamHandle) {
  FAKE();
  return success;
}
Result cuStreamDestroy_v2(StreamHandle stream) {
  FAKE();
  return release(stream);
}
Result cuEventCreate(EventHandle* event, unsigned) {
  FAKE();
  *event = make<EventHandle>();
  return success;
}
Result cuEventRecord(EventHandle event, StreamHandle) {
  FAKE();
  auto now = std::chrono::steady_clock::now().time_since_epoch().count();
  std::memcpy(reinterpret_cast<void*>(event), &now, sizeof now);
  return success;
}
Result cuEventSynchronize(EventHandle) {
  FAKE();
  return success;
}
Result cuEventElapsedTime(float* milliseconds, EventHandle begin, EventHandle end) {
  FAKE();
  long long from, to;
  std::memcpy(&from, reinterpret_cast<void*>(begin), sizeof from);
  std::memcpy(&to, reinterpret_cast<void*>(end), sizeof to);
  *milliseconds = static_cast<float>(static_cast<double>(to - from) * 1e-6);
  return success;
}
Result cuEventDestroy_v2(EventHandle event) {
  FAKE();
  return release(event);
}
}

namespace {
const bool loaded = (fake_reset(), true); // last in this file: everything above is ready
}
