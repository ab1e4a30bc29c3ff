// device.h - the interface that every device implements: `cuda` (the driver) and `simulator` (this CPU).
//
// A program asks `open_device` for one, allocates buffers, loads compiled kernels as modules and launches them. All
// errors are `runtime::Error` with a message that says what to do.
#pragma once
#include "runtime/compiled_kernel.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

namespace tilejit::runtime {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Device memory; freed with its last reference.
class Buffer {
public:
  virtual ~Buffer() = default;
  virtual uint64_t address() const = 0; ///< device address, a multiple of 256
  virtual size_t size() const = 0;      ///< bytes
};

/// A loaded kernel.
class Module {
public:
  virtual ~Module() = default;
  virtual const CompiledKernel& kernel() const = 0;
};

/// An ordered queue of work. Work in different streams may overlap.
class Stream {
public:
  virtual ~Stream() = default;
  virtual void synchronize() = 0; ///< waits; throws the first error of the work queued so far
};

/// Values of a PTX entry's parameters, in order; their widths must be those that the entry declares.
using ParameterValue = std::variant<uint64_t, uint32_t, float, double>;

struct Launch {
  std::array<uint32_t, 3> grid{1, 1, 1};
  std::vector<ParameterValue> parameters;
};

/// A launch of an entry of any PTX, as the driver's interface knows it.
struct PtxLaunch {
  std::string entry;
  std::array<uint32_t, 3> grid{1, 1, 1}, block{1, 1, 1};
  std::array<uint32_t, 3> cluster{0, 0, 0};       ///< in blocks; 0: what the entry asks for
  uint32_t dynamic_shared = 0;                    ///< bytes
  std::vector<std::vector<std::byte>> parameters; ///< as many bytes as the entry declares for each
};

class Device {
public:
  virtual ~Device() = default;
  uint64_t id() const { return id_; }     ///< no other device of this process has or will have it
  virtual std::string name() const = 0;   ///< for people: "simulator (sm_90a, 2 threads)"
  virtual std::string target() const = 0; ///< what to compile for: "sm_90a"
  virtual std::shared_ptr<Buffer> allocate(size_t bytes) = 0;
  virtual void upload(Buffer& to, size_t offset, std::span<const std::byte> from) = 0;
  virtual void download(const Buffer& from, size_t offset, std::span<std::byte> to) = 0;
  virtual void fill_zero(Buffer& buffer) = 0;
  virtual std::shared_ptr<Module> load(const CompiledKernel& kernel) = 0;
  virtual std::unique_ptr<Stream> create_stream() = 0;
  /// Queues one launch on `stream` (null: the device's default stream).
  virtual void launch(const Module& module, const Launch& launch, Stream* stream = nullptr) = 0;
  /// Queues one launch on the default stream. The module stays loaded for a while: its variables keep what a launch of
  /// the same text left in them on a GPU; on the simulator every launch finds them as they were declared.
  virtual void launch_ptx(const std::string& ptx, const PtxLaunch& launch) = 0;
  virtual void synchronize() = 0;
  /// Milliseconds that `work` took on the device (events on a GPU, the clock on the simulator).
  virtual double time(const std::function<void()>& work) = 0;

private:
  static inline std::atomic<uint64_t> opened_{0};
  uint64_t id_ = ++opened_;
};

/// Opens "simulator", "simulator:sm_80", "cuda", "cuda:1". Throws Error where there is no such device: for `cuda`
/// the message says whether the driver is missing, too old, or has no GPU.
std::shared_ptr<Device> open_device(const std::string& name);

/// A GPU if the driver finds one, else the simulator.
std::shared_ptr<Device> open_default_device();

/// One line for each device of this machine, and why CUDA has none where it has none.
std::vector<std::string> describe_devices();

} // namespace tilejit::runtime
