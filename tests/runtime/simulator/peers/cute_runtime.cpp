// What the host code of CuTe DSL's kernels calls, in place of the library that calls CUDA: there is one device, kernels
// are known by their names, and a launch is told to whoever set `on_launch` (cute_recorder.py). Nothing runs.
#include <cstdint>
#include <cstdio>
#include <set>
#include <string>

namespace {

/// cudaLaunchAttribute and cudaLaunchConfig_t.
struct Attribute {
  uint32_t kind, unused, value[16];
};
struct Configuration {
  uint32_t grid[3], block[3];
  uint64_t shared;
  void* stream;
  const Attribute* attributes;
  uint32_t attribute_count;
};
constexpr uint32_t cluster_dimension = 4; // cudaLaunchAttributeClusterDimension
constexpr int most_shared_memory = 97;    // cudaDevAttrMaxSharedMemoryPerBlockOptin

} // namespace

extern "C" {

/// 0 where the launch is written down.
int (*on_launch)(const char* kernel, const uint32_t* grid, const uint32_t* block, const uint32_t* cluster,
                 uint64_t shared, void** parameters) = nullptr;

int _cudaLaunchKernelEx(const Configuration* how, const char* kernel, void** parameters) {
  const uint32_t none[3] = {0, 0, 0}, *cluster = none;
  for (uint32_t i = 0; i < how->attribute_count; ++i)
    if (how->attributes[i].kind == cluster_dimension) cluster = how->attributes[i].value;
  return on_launch(kernel, how->grid, how->block, cluster, how->shared, parameters);
}

int _cudaLibraryLoadData(void** library, void* binary, void*, void*, uint32_t, void*, void*, uint32_t) {
  *library = binary;
  return 0;
}
int _cudaLibraryGetKernel(const char** kernel, void*, const char* name) {
  static std::set<std::string> names;
  *kernel = names.insert(name).first->c_str();
  return 0;
}
int _cuKernelGetAttribute(int* value, int, void*, int) { return *value = 0; }
int _cudaDeviceGetAttribute(int* value, int attribute, int) {
  *value = attribute == most_shared_memory ? 227 * 1024 : 0;
  return 0;
}
int _cudaFuncSetAttribute(void*, int, int) { return 0; }
int _cudaKernelSetAttributeForDevice(void*, int, int, int) { return 0; }
int _cudaGetDevice(int* device) { return *device = 0; }
int _cudaSetDevice(int) { return 0; }

int cuda_dialect_init_library_once(void** library, int (*load)(void**), int (*load_to_device)(void**, int), void*) {
  if (*library) return 0;
  int error = load(library);
  return error ? error : load_to_device(library, 0);
}
void cuda_dialect_unload_library_once(void**) {}
void CuteDSLRT_TVMFFISetRaisedCudaError(void*, int error) {
  std::fprintf(stderr, "a launch could not be written down: error %d\n", error);
}
}
