// Our declarations of the CUDA Driver API against NVIDIA's cuda.h, where a toolkit is installed: built only then.
#include <cuda.h>

#include "runtime/cuda/driver_api.h"

#include <catch2/catch.hpp>

#include <type_traits>

namespace ours = tilejit::runtime::cuda;

namespace {

/// Two types that a function may be called through: both pointers (to what, the compiler can't compare), or numbers of
/// one size and kind.
template <typename A, typename B>
constexpr bool alike() {
  if constexpr (std::is_pointer_v<A> || std::is_pointer_v<B>)
    return std::is_pointer_v<A> && std::is_pointer_v<B>;
  else
    return sizeof(A) == sizeof(B) && std::is_floating_point_v<A> == std::is_floating_point_v<B>;
}

template <typename... A, typename... B>
constexpr bool alike(CUresult (*)(A...), ours::Result (*)(B...)) {
  if constexpr (sizeof...(A) != sizeof...(B))
    return false;
  else
    return (alike<A, B>() && ...);
}

} // namespace

TEST_CASE("functions have the parameters that cuda.h gives them") {
  using namespace ours;
#define COMPARE(name, parameters)                                                                                      \
  {                                                                                                                    \
    INFO(#name);                                                                                                       \
    constexpr bool same = alike(static_cast<decltype(&::name)>(nullptr), static_cast<Result(*) parameters>(nullptr));  \
    CHECK(same);                                                                                                       \
  }
  TILEJIT_CUDA_FUNCTIONS(COMPARE)
#undef COMPARE
}

TEST_CASE("constants have the values that cuda.h gives them") {
  CHECK(int(ours::success) == int(CUDA_SUCCESS));
  CHECK(int(ours::error_no_device) == int(CUDA_ERROR_NO_DEVICE));
  CHECK(int(ours::error_unsupported_ptx) == int(CUDA_ERROR_UNSUPPORTED_PTX_VERSION));
  CHECK(int(ours::multiprocessor_count) == int(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT));
  CHECK(int(ours::compute_capability_major) == int(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR));
  CHECK(int(ours::compute_capability_minor) == int(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR));
  CHECK(int(ours::max_shared_memory_per_block_optin) == int(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN));
  CHECK(int(ours::max_dynamic_shared_size_bytes) == int(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES));
  CHECK(int(ours::non_portable_cluster_size_allowed) == int(CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED));
  CHECK(ours::cluster_dimension == int(CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION));
  CHECK(int(ours::jit_error_log_buffer) == int(CU_JIT_ERROR_LOG_BUFFER));
  CHECK(int(ours::jit_error_log_buffer_size_bytes) == int(CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES));
}

TEST_CASE("structures lie as in cuda.h") {
  using ours::LaunchAttribute;
  using ours::LaunchConfig;
  CHECK(sizeof(LaunchAttribute) == sizeof(CUlaunchAttribute));
  CHECK(offsetof(LaunchAttribute, cluster) == offsetof(CUlaunchAttribute, value.clusterDim));
  CHECK(sizeof(LaunchConfig) == sizeof(CUlaunchConfig));
  CHECK(offsetof(LaunchConfig, grid_z) == offsetof(CUlaunchConfig, gridDimZ));
  CHECK(offsetof(LaunchConfig, block_x) == offsetof(CUlaunchConfig, blockDimX));
  CHECK(offsetof(LaunchConfig, shared_bytes) == offsetof(CUlaunchConfig, sharedMemBytes));
  CHECK(offsetof(LaunchConfig, stream) == offsetof(CUlaunchConfig, hStream));
  CHECK(offsetof(LaunchConfig, attributes) == offsetof(CUlaunchConfig, attrs));
  CHECK(offsetof(LaunchConfig, attribute_count) == offsetof(CUlaunchConfig, numAttrs));
}
