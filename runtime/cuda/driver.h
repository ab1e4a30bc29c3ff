// driver.h - libcuda.so.1 opened at run time, and its errors made readable.
//
// Nothing of CUDA is linked: a program with tilejit in it starts on any machine, and only opening a cuda device asks
// for the driver. $TILEJIT_LIBCUDA names another library in its place (the tests use a recording one).
#pragma once
#include "runtime/cuda/driver_api.h"
#include "runtime/device.h"

#include <memory>
#include <string>

namespace tilejit::runtime::cuda {

/// The driver's functions. One object for each opened device; loading the library again costs microseconds.
class Driver {
public:
  /// Loads and initializes the driver. Throws Error that says what is missing: the library, a function in it (a
  /// driver too old), or whatever made cuInit fail.
  static std::shared_ptr<const Driver> load();
  ~Driver();
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  /// "12.4", the newest CUDA that the driver knows.
  std::string version() const;
  int device_count() const;

  /// "CUDA_ERROR_OUT_OF_MEMORY (out of memory)"
  std::string describe(Result result) const;
  /// Throws Error "<doing> failed: CUDA_ERROR_... (...)" unless `result` is success.
  void check(Result result, const std::string& doing) const {
    if (result != success) fail(result, doing);
  }
  [[noreturn]] void fail(Result result, const std::string& doing) const;

#define TILEJIT_DECLARE(name, parameters) Result(*name) parameters = nullptr;
  TILEJIT_CUDA_FUNCTIONS(TILEJIT_DECLARE)
#undef TILEJIT_DECLARE

private:
  Driver() = default;
  void* library_ = nullptr;
};

/// What one GPU is.
struct DeviceFacts {
  int ordinal = 0;
  DeviceHandle handle = 0;
  std::string name; ///< "NVIDIA H100 80GB HBM3"
  int major = 0, minor = 0;
  int multiprocessors = 0;
  int max_shared_bytes = 0; ///< of one block, opted in
  size_t memory_bytes = 0;
  /// What kernels are compiled for: the exact architecture for 9.0 ("sm_90a"), else the newest one whose PTX every
  /// later GPU takes ("sm_80"); empty below 8.0, which nothing here is compiled for.
  std::string target() const;
  /// "NVIDIA L4, compute capability 8.9, kernels compiled for sm_80"
  std::string describe() const;
};

/// Throws Error when there is no such device.
DeviceFacts device_facts(const Driver& driver, int ordinal);

/// Opens the `ordinal`-th GPU. Throws Error as device.h says.
std::shared_ptr<Device> open_cuda(int ordinal);

} // namespace tilejit::runtime::cuda
