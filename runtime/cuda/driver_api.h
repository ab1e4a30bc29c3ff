// driver_api.h - the part of the CUDA Driver API that we call, declared by hand so that no toolkit is needed to build.
//
// Names, values and signatures follow the CUDA Driver API reference manual (docs.nvidia.com/cuda/cuda-driver-api).
// Handles are opaque pointers; a function whose ABI changed carries the suffix of its current version, which is also
// the name of its symbol in libcuda.so.1.
#pragma once
#include <cstddef>
#include <cstdint>

namespace tilejit::runtime::cuda {

using Result = int;                            ///< CUresult; 0 is success
using DeviceHandle = int;                      ///< CUdevice
using DeviceAddress = unsigned long long;      ///< CUdeviceptr
using ContextHandle = struct ContextOpaque*;   ///< CUcontext
using ModuleHandle = struct ModuleOpaque*;     ///< CUmodule
using FunctionHandle = struct FunctionOpaque*; ///< CUfunction
using StreamHandle = struct StreamOpaque*;     ///< CUstream; null is the default stream
using EventHandle = struct EventOpaque*;       ///< CUevent

inline constexpr Result success = 0;
inline constexpr Result error_no_device = 100;       ///< CUDA_ERROR_NO_DEVICE
inline constexpr Result error_unsupported_ptx = 222; ///< CUDA_ERROR_UNSUPPORTED_PTX_VERSION

/// CUdevice_attribute
enum DeviceAttribute : int {
  multiprocessor_count = 16,
  compute_capability_major = 75,
  compute_capability_minor = 76,
  max_shared_memory_per_block_optin = 97,
};

/// CUfunction_attribute
enum FunctionAttribute : int { max_dynamic_shared_size_bytes = 8, non_portable_cluster_size_allowed = 14 };

/// CUlaunchAttribute, of which we use the one for clusters: their size in blocks.
inline constexpr int cluster_dimension = 4; ///< CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
struct LaunchAttribute {
  int id;
  char padding[4];
  union {
    unsigned cluster[3];
    char all[64];
  };
};

/// CUlaunchConfig
struct LaunchConfig {
  unsigned grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes;
  StreamHandle stream;
  LaunchAttribute* attributes;
  unsigned attribute_count;
};

/// CUjit_option
enum JitOption : int { jit_error_log_buffer = 5, jit_error_log_buffer_size_bytes = 6 };

// One line for each function: symbol, parameters. All return Result.
#define TILEJIT_CUDA_FUNCTIONS(F)                                                                                      \
  F(cuGetErrorName, (Result, const char**))                                                                            \
  F(cuGetErrorString, (Result, const char**))                                                                          \
  F(cuInit, (unsigned flags))                                                                                          \
  F(cuDriverGetVersion, (int*))                                                                                        \
  F(cuDeviceGetCount, (int*))                                                                                          \
  F(cuDeviceGet, (DeviceHandle*, int ordinal))                                                                         \
  F(cuDeviceGetName, (char*, int bytes, DeviceHandle))                                                                 \
  F(cuDeviceGetAttribute, (int*, DeviceAttribute, DeviceHandle))                                                       \
  F(cuDeviceTotalMem_v2, (size_t*, DeviceHandle))                                                                      \
  F(cuDevicePrimaryCtxRetain, (ContextHandle*, DeviceHandle))                                                          \
  F(cuDevicePrimaryCtxRelease_v2, (DeviceHandle))                                                                      \
  F(cuCtxPushCurrent_v2, (ContextHandle))                                                                              \
  F(cuCtxPopCurrent_v2, (ContextHandle*))                                                                              \
  F(cuCtxSynchronize, ())                                                                                              \
  F(cuMemAlloc_v2, (DeviceAddress*, size_t))                                                                           \
  F(cuMemFree_v2, (DeviceAddress))                                                                                     \
  F(cuMemcpyHtoD_v2, (DeviceAddress, const void*, size_t))                                                             \
  F(cuMemcpyDtoH_v2, (void*, DeviceAddress, size_t))                                                                   \
  F(cuMemsetD8_v2, (DeviceAddress, unsigned char, size_t))                                                             \
  F(cuModuleLoadDataEx, (ModuleHandle*, const void*, unsigned count, JitOption*, void** values))                       \
  F(cuModuleUnload, (ModuleHandle))                                                                                    \
  F(cuModuleGetFunction, (FunctionHandle*, ModuleHandle, const char*))                                                 \
  F(cuFuncSetAttribute, (FunctionHandle, FunctionAttribute, int))                                                      \
  F(cuLaunchKernelEx, (const LaunchConfig*, FunctionHandle, void** parameters, void** extra))                          \
  F(cuStreamCreate, (StreamHandle*, unsigned flags))                                                                   \
  F(cuStreamSynchronize, (StreamHandle))                                                                               \
  F(cuStreamDestroy_v2, (StreamHandle))                                                                                \
  F(cuEventCreate, (EventHandle*, unsigned flags))                                                                     \
  F(cuEventRecord, (EventHandle, StreamHandle))                                                                        \
  F(cuEventSynchronize, (EventHandle))                                                                                 \
  F(cuEventElapsedTime, (float* milliseconds, EventHandle, EventHandle))                                               \
  F(cuEventDestroy_v2, (EventHandle))

} // namespace tilejit::runtime::cuda
