// The `cuda` device: runtime/device.h over the CUDA Driver API.
//
// It works in the GPU's primary context, so that memory and streams are shared with other libraries in the process,
// and makes that context current only for the length of each call, so that theirs stays as they left it.
#include "runtime/cuda/driver.h"

#include <cstring>
#include <list>
#include <mutex>
#include <optional>

namespace tilejit::runtime::cuda {
namespace {

std::string bytes_text(size_t bytes) { return std::to_string(bytes) + " bytes"; }

/// The primary context of one GPU, held by the device and by everything that was made on it.
struct Context {
  std::shared_ptr<const Driver> driver;
  DeviceFacts facts;
  ContextHandle handle = nullptr;

  Context(std::shared_ptr<const Driver> with, DeviceFacts of) : driver(std::move(with)), facts(std::move(of)) {
    driver->check(driver->cuDevicePrimaryCtxRetain(&handle, facts.handle), "opening " + label());
  }
  ~Context() { driver->cuDevicePrimaryCtxRelease_v2(facts.handle); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  std::string label() const { return "cuda:" + std::to_string(facts.ordinal) + " (" + facts.name + ")"; }
};

/// Makes a context current for this thread while it lives.
class Current {
public:
  explicit Current(const Context& context) : driver_(*context.driver) {
    driver_.check(driver_.cuCtxPushCurrent_v2(context.handle), "using " + context.label());
  }
  ~Current() {
    ContextHandle popped;
    driver_.cuCtxPopCurrent_v2(&popped);
  }
  Current(const Current&) = delete;
  Current& operator=(const Current&) = delete;

private:
  const Driver& driver_;
};

/// For destructors, where an error has nowhere to go: a failing driver has already told it to the call that failed.
template <typename Release>
void release_quietly(const Context& context, Release release) {
  ContextHandle popped;
  if (context.driver->cuCtxPushCurrent_v2(context.handle) != success) return;
  release(*context.driver);
  context.driver->cuCtxPopCurrent_v2(&popped);
}

class CudaBuffer final : public Buffer {
public:
  CudaBuffer(std::shared_ptr<const Context> context, size_t bytes) : context_(std::move(context)), bytes_(bytes) {
    Current current(*context_);
    // The driver refuses 0 bytes, but an empty tensor is an ordinary one.
    context_->driver->check(context_->driver->cuMemAlloc_v2(&address_, bytes ? bytes : 1),
                            "allocating " + bytes_text(bytes) + " on " + context_->label());
  }
  ~CudaBuffer() override {
    release_quietly(*context_, [&](const Driver& driver) { driver.cuMemFree_v2(address_); });
  }
  uint64_t address() const override { return address_; }
  size_t size() const override { return bytes_; }

private:
  std::shared_ptr<const Context> context_;
  DeviceAddress address_ = 0;
  size_t bytes_;
};

/// An entry of a module in the driver.
class Function {
public:
  Function(const Context& context, const std::string& ptx, const std::string& entry, size_t dynamic_shared,
           const std::string& doing)
      : driver_(*context.driver) {
    char log[8192] = "";
    JitOption options[] = {jit_error_log_buffer, jit_error_log_buffer_size_bytes};
    void* values[] = {log, reinterpret_cast<void*>(sizeof log)};
    Result result = driver_.cuModuleLoadDataEx(&module_, ptx.c_str(), 2, options, values);
    if (result != success) {
      std::string reason = driver_.describe(result);
      if (result == error_unsupported_ptx)
        reason += "; the driver knows CUDA " + driver_.version() + ", install a newer one";
      size_t length = strnlen(log, sizeof log);
      if (length) reason += "\n" + std::string(log, length);
      throw Error(doing + " failed: " + reason);
    }
    try {
      driver_.check(driver_.cuModuleGetFunction(&handle_, module_, entry.c_str()), doing);
      allow_shared(dynamic_shared, doing);
    } catch (...) {
      driver_.cuModuleUnload(module_);
      throw;
    }
  }
  ~Function() { driver_.cuModuleUnload(module_); }
  Function(const Function&) = delete;
  Function& operator=(const Function&) = delete;

  void allow_shared(size_t bytes, const std::string& doing) const {
    driver_.check(driver_.cuFuncSetAttribute(handle_, max_dynamic_shared_size_bytes, static_cast<int>(bytes)),
                  doing + ", asking for " + bytes_text(bytes) + " of shared memory,");
  }
  /// Up to 16 blocks, where the GPU can, instead of the 8 that every one can.
  void allow_large_clusters(const std::string& doing) const {
    driver_.check(driver_.cuFuncSetAttribute(handle_, non_portable_cluster_size_allowed, 1),
                  doing + ", asking for clusters of more than 8 blocks,");
  }
  FunctionHandle handle() const { return handle_; }

private:
  const Driver& driver_;
  ModuleHandle module_ = nullptr;
  FunctionHandle handle_ = nullptr;
};

class CudaModule final : public Module {
public:
  CudaModule(std::shared_ptr<const Context> context, const CompiledKernel& kernel)
      : context_(std::move(context)), kernel_(std::make_shared<const CompiledKernel>(kernel)) {
    const std::string doing = "loading kernel " + kernel.name + " (" + kernel.target + ") on " + context_->label();
    size_t limit = static_cast<size_t>(context_->facts.max_shared_bytes);
    if (kernel.shared_bytes > limit)
      throw Error(doing + " failed: it needs " + bytes_text(kernel.shared_bytes) +
                  " of shared memory for a block, the GPU has " + bytes_text(limit));
    Current current(*context_);
    function_.emplace(*context_, kernel.ptx, kernel.name, kernel.shared_bytes, doing);
  }
  ~CudaModule() override {
    release_quietly(*context_, [&](const Driver&) { function_.reset(); });
  }
  const CompiledKernel& kernel() const override { return *kernel_; }
  const Function& function() const { return *function_; }
  const Context& context() const { return *context_; }

private:
  std::shared_ptr<const Context> context_;
  std::shared_ptr<const CompiledKernel> kernel_;
  std::optional<Function> function_;
};

class CudaStream final : public Stream {
public:
  explicit CudaStream(std::shared_ptr<const Context> context) : context_(std::move(context)) {
    Current current(*context_);
    // Flags 0: ordered with the default stream, where uploads and downloads happen.
    context_->driver->check(context_->driver->cuStreamCreate(&handle_, 0), "creating a stream on " + context_->label());
  }
  ~CudaStream() override {
    release_quietly(*context_, [&](const Driver& driver) { driver.cuStreamDestroy_v2(handle_); });
  }
  void synchronize() override {
    Current current(*context_);
    context_->driver->check(context_->driver->cuStreamSynchronize(handle_), "work in a stream of " + context_->label());
  }
  StreamHandle handle() const { return handle_; }
  const Context& context() const { return *context_; }

private:
  std::shared_ptr<const Context> context_;
  StreamHandle handle_ = nullptr;
};

struct Event {
  const Driver& driver;
  EventHandle handle = nullptr;
  explicit Event(const Driver& with) : driver(with) {
    driver.check(driver.cuEventCreate(&handle, 0), "creating an event");
  }
  ~Event() { driver.cuEventDestroy_v2(handle); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
};

using Size = std::array<uint32_t, 3>;

std::string size_text(const Size& size) {
  return std::to_string(size[0]) + " x " + std::to_string(size[1]) + " x " + std::to_string(size[2]);
}

/// What the driver is asked for.
struct Request {
  std::string kernel; ///< for errors: "k (sm_90a)"
  Size grid, block, cluster{};
  size_t shared_bytes = 0;
  std::string text() const {
    std::string threads = block[1] == 1 && block[2] == 1 ? std::to_string(block[0]) : size_text(block);
    return "kernel " + kernel + ", grid " + size_text(grid) + ", " + threads + " threads a block, " +
           (cluster[0] ? "clusters of " + size_text(cluster) + " blocks, " : "") + bytes_text(shared_bytes) +
           " of shared memory";
  }
};

Request request_of(const CompiledKernel& kernel, const Size& grid) {
  return {.kernel = kernel.name + " (" + kernel.target + ")",
          .grid = grid,
          .block = {kernel.threads, 1, 1},
          .cluster = kernel.cluster,
          .shared_bytes = kernel.shared_bytes};
}

size_t width_of(const ParameterValue& value) {
  return std::visit([](auto v) { return sizeof v; }, value);
}

size_t width_of(const KernelParameter& parameter, const CompiledKernel& kernel) {
  switch (parameter.kind) {
  case KernelParameter::Kind::pointer:
  case KernelParameter::Kind::stride: return 8;
  case KernelParameter::Kind::size: return 4;
  case KernelParameter::Kind::scalar: return size_of(kernel.arguments.at(parameter.argument).type);
  }
  return 0;
}

/// The driver reads as many values as the entry declares from where it is told; a launch with too few or too narrow
/// ones would read past their end.
void check_parameters(const CompiledKernel& kernel, const Launch& launch) {
  if (kernel.parameters.empty()) return; // a kernel written by hand, without a description
  if (launch.parameters.size() != kernel.parameters.size())
    throw Error("the launch of " + request_of(kernel, launch.grid).text() + " gives " +
                std::to_string(launch.parameters.size()) + " parameters, the kernel takes " +
                std::to_string(kernel.parameters.size()));
  for (size_t i = 0; i < launch.parameters.size(); ++i) {
    size_t given = width_of(launch.parameters[i]), taken = width_of(kernel.parameters[i], kernel);
    if (given < taken)
      throw Error("the launch of " + request_of(kernel, launch.grid).text() + " gives " + bytes_text(given) +
                  " for parameter " + std::to_string(i) + ", the kernel takes " + bytes_text(taken));
  }
}

class CudaDevice final : public Device {
public:
  explicit CudaDevice(std::shared_ptr<const Context> context) : context_(std::move(context)) {}
  ~CudaDevice() override {
    release_quietly(*context_, [&](const Driver&) { texts_.clear(); });
  }

  std::string name() const override {
    return "cuda:" + std::to_string(context_->facts.ordinal) + " (" + context_->facts.describe() + ")";
  }
  std::string target() const override { return context_->facts.target(); }

  std::shared_ptr<Buffer> allocate(size_t bytes) override { return std::make_shared<CudaBuffer>(context_, bytes); }

  void upload(Buffer& to, size_t offset, std::span<const std::byte> from) override {
    check_range("upload", to, offset, from.size());
    if (from.empty()) return;
    Current current(*context_);
    driver().check(driver().cuMemcpyHtoD_v2(to.address() + offset, from.data(), from.size()),
                   "copying " + bytes_text(from.size()) + " to " + context_->label());
  }

  void download(const Buffer& from, size_t offset, std::span<std::byte> to) override {
    check_range("download", from, offset, to.size());
    if (to.empty()) return;
    Current current(*context_);
    // In the default stream, which waits for every other one: errors of earlier launches appear here.
    driver().check(driver().cuMemcpyDtoH_v2(to.data(), from.address() + offset, to.size()),
                   "copying " + bytes_text(to.size()) + " from " + context_->label() + after());
  }

  void fill_zero(Buffer& buffer) override {
    if (buffer.size() == 0) return;
    Current current(*context_);
    driver().check(driver().cuMemsetD8_v2(buffer.address(), 0, buffer.size()),
                   "zeroing " + bytes_text(buffer.size()) + " on " + context_->label());
  }

  std::shared_ptr<Module> load(const CompiledKernel& kernel) override {
    return std::make_shared<CudaModule>(context_, kernel);
  }

  std::unique_ptr<Stream> create_stream() override { return std::make_unique<CudaStream>(context_); }

  void launch(const Module& module, const Launch& launch, Stream* stream) override {
    const auto* mine = dynamic_cast<const CudaModule*>(&module);
    const auto* queue = dynamic_cast<const CudaStream*>(stream);
    const CompiledKernel& kernel = module.kernel();
    if (!mine || mine->context().handle != context_->handle)
      throw Error("kernel " + kernel.name + " was loaded on another device than " + context_->label());
    if (stream && (!queue || queue->context().handle != context_->handle))
      throw Error("kernel " + kernel.name + " can't be launched on a stream of another device than " +
                  context_->label());
    check_parameters(kernel, launch);
    std::vector<void*> values;
    for (const ParameterValue& value : launch.parameters)
      values.push_back(
          std::visit([](const auto& v) { return const_cast<void*>(static_cast<const void*>(&v)); }, value));
    Current current(*context_);
    start(mine->function(), request_of(kernel, launch.grid), values, queue ? queue->handle() : nullptr);
  }

  void launch_ptx(const std::string& ptx, const PtxLaunch& launch) override {
    Request request{.kernel = launch.entry,
                    .grid = launch.grid,
                    .block = launch.block,
                    .cluster = launch.cluster,
                    .shared_bytes = launch.dynamic_shared};
    // The driver reads as many bytes as the entry declares, which may be more than the launch gives.
    std::vector<std::vector<std::byte>> parameters = launch.parameters;
    std::vector<void*> values;
    for (auto& bytes : parameters) {
      bytes.resize(std::max<size_t>(bytes.size(), most_parameter_bytes));
      values.push_back(bytes.data());
    }
    values.push_back(nullptr);
    Current current(*context_);
    start(function_of(ptx, request), request, values, nullptr);
  }

  void synchronize() override {
    Current current(*context_);
    driver().check(driver().cuCtxSynchronize(), "work on " + context_->label() + after());
  }

  double time(const std::function<void()>& work) override {
    Current current(*context_);
    Event begin(driver()), end(driver());
    // Both in the default stream, which is ordered with every other one.
    driver().check(driver().cuEventRecord(begin.handle, nullptr), "recording an event");
    work();
    driver().check(driver().cuEventRecord(end.handle, nullptr), "recording an event");
    driver().check(driver().cuEventSynchronize(end.handle), "timed work on " + context_->label() + after());
    float milliseconds = 0;
    driver().check(driver().cuEventElapsedTime(&milliseconds, begin.handle, end.handle), "reading a time");
    return milliseconds;
  }

private:
  static constexpr size_t most_parameter_bytes = 32764, portable_cluster = 8, most_texts = 16;

  const Driver& driver() const { return *context_->driver; }

  void start(const Function& function, const Request& request, std::vector<void*>& values, StreamHandle stream) {
    LaunchAttribute cluster{.id = cluster_dimension, .padding = {}, .cluster = {}};
    std::copy(request.cluster.begin(), request.cluster.end(), cluster.cluster);
    LaunchConfig config{request.grid[0],
                        request.grid[1],
                        request.grid[2],
                        request.block[0],
                        request.block[1],
                        request.block[2],
                        static_cast<unsigned>(request.shared_bytes),
                        stream,
                        &cluster,
                        request.cluster[0] ? 1u : 0u};
    if (size_t{request.cluster[0]} * request.cluster[1] * request.cluster[2] > portable_cluster)
      function.allow_large_clusters("the launch of " + request.text());
    Result result = driver().cuLaunchKernelEx(&config, function.handle(), values.data(), nullptr);
    if (result != success) driver().fail(result, "the launch of " + request.text() + ", on " + context_->label());
    std::lock_guard lock(last_mutex_);
    last_ = request;
  }

  /// The entry of a text, loaded or still there from a launch before. The context is current.
  const Function& function_of(const std::string& ptx, const Request& request) {
    const std::string doing = "loading kernel " + request.kernel + " on " + context_->label();
    std::lock_guard lock(texts_mutex_);
    for (auto it = texts_.begin(); it != texts_.end(); ++it)
      if (it->entry == request.kernel && it->ptx == ptx) {
        texts_.splice(texts_.begin(), texts_, it);
        it->function.allow_shared(request.shared_bytes, doing);
        return it->function;
      }
    texts_.emplace_front(ptx, request.kernel, *context_, request.shared_bytes, doing);
    if (texts_.size() > most_texts) texts_.pop_back();
    return texts_.front().function;
  }

  /// A kernel's own errors appear at the next call that waits; then the last launch is the first suspect.
  std::string after() const {
    std::lock_guard lock(last_mutex_);
    return last_ ? ", after the launch of " + last_->text() + "," : "";
  }

  void check_range(const char* doing, const Buffer& buffer, size_t offset, size_t bytes) const {
    if (offset > buffer.size() || bytes > buffer.size() - offset)
      throw Error(std::string(doing) + " of " + bytes_text(bytes) + " at offset " + std::to_string(offset) +
                  " is outside a buffer of " + bytes_text(buffer.size()));
  }

  std::shared_ptr<const Context> context_;
  mutable std::mutex last_mutex_; ///< a device may be used from several threads
  std::optional<Request> last_;

  struct Text {
    std::string ptx, entry;
    Function function;
    Text(std::string text, std::string name, const Context& context, size_t shared, const std::string& doing)
        : ptx(std::move(text)), entry(std::move(name)), function(context, ptx, entry, shared, doing) {}
  };
  std::mutex texts_mutex_;
  std::list<Text> texts_; ///< the one launched last first
};

} // namespace

std::shared_ptr<Device> open_cuda(int ordinal) {
  std::shared_ptr<const Driver> driver = Driver::load();
  DeviceFacts facts = device_facts(*driver, ordinal);
  if (facts.target().empty()) throw Error("cuda:" + std::to_string(ordinal) + " can't be used: " + facts.describe());
  return std::make_shared<CudaDevice>(std::make_shared<const Context>(driver, facts));
}

} // namespace tilejit::runtime::cuda
