// device.cpp - see device.h: modules, launches, host threads.
#include "runtime/simulator/device.h"

#include "runtime/simulator/block.h"
#include "runtime/simulator/handlers.h"
#include "runtime/simulator/lower.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

namespace tilejit::runtime {
namespace {

using namespace simulator;

struct Allocation final : Buffer {
  Allocation(std::shared_ptr<GlobalMemory> m, size_t bytes)
      : memory(std::move(m)), bytes_(bytes), address_(memory->allocate(bytes)) {}
  ~Allocation() override { memory->free(address_); }
  uint64_t address() const override { return address_; }
  size_t size() const override { return bytes_; }
  std::shared_ptr<GlobalMemory> memory;

private:
  size_t bytes_;
  uint64_t address_;
};

struct LoadedModule final : runtime::Module {
  const CompiledKernel& kernel() const override { return compiled; }
  CompiledKernel compiled;
  std::shared_ptr<const simulator::Module> ptx;
  std::vector<std::unique_ptr<Allocation>> variables; ///< global and constant ones
  std::shared_ptr<const Program> program;
};

struct ImmediateStream final : Stream {
  void synchronize() override {} // a launch is done when `launch` returns
};

uint32_t host_threads() {
  if (const char* text = std::getenv("TILEJIT_SIMULATOR_THREADS")) {
    uint32_t n = 0;
    auto [end, error] = std::from_chars(text, text + std::strlen(text), n);
    if (error != std::errc() || *end || n == 0 || n > 1024)
      throw Error("TILEJIT_SIMULATOR_THREADS is '" + std::string(text) + "', but must be a number from 1 to 1024");
    return n;
  }
  return std::max(1u, std::thread::hardware_concurrency());
}

/// "sm_90a" -> 90, "a".
std::pair<uint32_t, std::string_view> parts_of(std::string_view target) {
  uint32_t number = 0;
  if (!target.starts_with("sm_")) return {0, target};
  auto [end, error] = std::from_chars(target.data() + 3, target.data() + target.size(), number);
  return {error == std::errc() ? number : 0, target.substr(static_cast<size_t>(end - target.data()))};
}

class Simulator final : public SimulatorDevice {
public:
  explicit Simulator(std::string target)
      : target_(std::move(target)), threads_(host_threads()), memory_(std::make_shared<GlobalMemory>()) {}

  std::string name() const override {
    return "simulator (" + target_ + ", " + std::to_string(threads_) + (threads_ == 1 ? " thread, " : " threads, ") +
           handlers().name + ")";
  }
  std::string target() const override { return target_; }

  std::shared_ptr<Buffer> allocate(size_t bytes) override { return std::make_shared<Allocation>(memory_, bytes); }
  void upload(Buffer& to, size_t offset, std::span<const std::byte> from) override {
    check(to, offset, from.size(), "upload");
    if (!from.empty()) std::memcpy(memory_->host(to.address()) + offset, from.data(), from.size());
  }
  void download(const Buffer& from, size_t offset, std::span<std::byte> to) override {
    check(from, offset, to.size(), "download");
    if (!to.empty()) std::memcpy(to.data(), memory_->host(from.address()) + offset, to.size());
  }
  void fill_zero(Buffer& buffer) override {
    check(buffer, 0, buffer.size(), "fill_zero");
    std::memset(memory_->host(buffer.address()), 0, buffer.size());
  }

  std::shared_ptr<runtime::Module> load(const CompiledKernel& kernel) override;
  std::unique_ptr<Stream> create_stream() override { return std::make_unique<ImmediateStream>(); }
  void launch(const runtime::Module& module, const Launch& launch, Stream*) override;
  void synchronize() override {}
  double time(const std::function<void()>& work) override {
    auto start = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  }
  void set_progress(std::function<void(uint64_t, uint64_t)> progress) override { progress_ = std::move(progress); }
  const LaunchCounters& last_launch() const override { return counters_; }

private:
  void check(const Buffer& buffer, size_t offset, size_t bytes, const char* what) const {
    const auto* ours = dynamic_cast<const Allocation*>(&buffer);
    if (!ours || ours->memory != memory_) throw Error(std::string(what) + ": the buffer belongs to another device");
    if (offset > buffer.size() || bytes > buffer.size() - offset)
      throw Error(std::string(what) + ": bytes " + std::to_string(offset) + " to " + std::to_string(offset + bytes) +
                  " of a buffer of " + std::to_string(buffer.size()) + " bytes");
  }
  void require_target(std::string_view ptx) const;
  void initialize(LoadedModule& module, std::vector<uint64_t>& addresses);
  std::vector<uint8_t> parameters(const LoadedModule& module, const Launch& launch) const;
  void run(LaunchState& state);

  std::string target_;
  uint32_t threads_;
  std::shared_ptr<GlobalMemory> memory_;
  std::function<void(uint64_t, uint64_t)> progress_;
  LaunchCounters counters_;
};

/// PTX for an older architecture runs; that with features of one architecture (sm_90a) only on that one.
void Simulator::require_target(std::string_view ptx) const {
  auto [number, suffix] = parts_of(ptx);
  auto [ours, ours_suffix] = parts_of(target_);
  bool fits = suffix.empty() ? number <= ours : number == ours && (ours_suffix == suffix || ours_suffix == "a");
  if (!fits)
    throw Error("the PTX is for " + std::string(ptx) + " and cannot run on " + target_ + ": compile for " + target_ +
                ", or open simulator:" + std::string(ptx));
}

/// Gives the module's global and constant variables memory and their initial values.
void Simulator::initialize(LoadedModule& module, std::vector<uint64_t>& addresses) {
  const simulator::Module& m = *module.ptx;
  addresses.assign(m.variables.size(), 0);
  auto has_memory = [](const Variable& v) { return v.space == Space::global || v.space == Space::constant; };
  for (size_t i = 0; i < m.variables.size(); ++i) {
    if (!has_memory(m.variables[i])) continue;
    module.variables.push_back(std::make_unique<Allocation>(memory_, m.variables[i].bytes));
    addresses[i] = module.variables.back()->address();
  }
  for (size_t i = 0; i < m.variables.size(); ++i) {
    const Variable& v = m.variables[i];
    if (!has_memory(v)) continue;
    uint8_t* at = memory_->host(addresses[i]);
    std::memset(at, 0, v.bytes);
    std::copy(v.data.begin(), v.data.end(), at);
    for (const Relocation& r : v.relocations) {
      uint64_t value = 0;
      if (r.variable != none && has_memory(m.variables[r.variable])) value = addresses[r.variable];
      value = (value + static_cast<uint64_t>(r.addend)) >> r.shift;
      std::memcpy(at + r.offset, &value, r.bytes);
    }
  }
}

std::shared_ptr<runtime::Module> Simulator::load(const CompiledKernel& kernel) {
  auto module = std::make_shared<LoadedModule>();
  module->compiled = kernel;
  module->ptx = std::make_shared<simulator::Module>(parse(kernel.ptx));
  require_target(module->ptx->target);
  uint32_t entry = module->ptx->find_function(kernel.name);
  if (entry == none || !module->ptx->functions[entry].is_entry)
    throw Error("the PTX has no entry '" + kernel.name + "'");
  if (kernel.threads == 0 || kernel.threads > 1024)
    throw Error("kernel '" + kernel.name + "' wants " + std::to_string(kernel.threads) +
                " threads a block: 1 to 1024 are possible");
  std::vector<uint64_t> addresses;
  initialize(*module, addresses);
  module->program = lower(module->ptx, entry, {kernel.threads, 1, 1}, addresses);
  uint64_t shared = module->program->static_shared + kernel.shared_bytes,
           most = parts_of(target_).first < 90 ? 163 * 1024 : 227 * 1024;
  if (shared > most)
    throw Error("kernel '" + kernel.name + "' wants " + std::to_string(shared) +
                " bytes of shared memory a block: " + target_ + " has " + std::to_string(most));
  return module;
}

std::vector<uint8_t> Simulator::parameters(const LoadedModule& module, const Launch& launch) const {
  const simulator::Module& m = *module.ptx;
  const Function& f = m.functions[module.program->entry];
  if (launch.parameters.size() != f.parameters.size())
    throw Error("kernel '" + module.compiled.name + "' has " + std::to_string(f.parameters.size()) +
                " parameters, the launch gives " + std::to_string(launch.parameters.size()));
  std::vector<uint8_t> bytes(f.param_bytes);
  for (size_t i = 0; i < f.parameters.size(); ++i) {
    const Variable& v = m.variables[f.parameters[i].variable];
    std::visit(
        [&](auto value) {
          if (sizeof value != v.bytes)
            throw Error("parameter " + std::to_string(i) + " of kernel '" + module.compiled.name + "' has " +
                        std::to_string(v.bytes) + " bytes, the launch gives " + std::to_string(sizeof value));
          std::memcpy(bytes.data() + v.offset, &value, sizeof value);
        },
        launch.parameters[i]);
  }
  return bytes;
}

void Simulator::launch(const runtime::Module& module, const Launch& launch, Stream*) {
  const auto* loaded = dynamic_cast<const LoadedModule*>(&module);
  if (!loaded) throw Error("launch: the module belongs to another device");
  for (uint32_t n : launch.grid)
    if (n == 0) throw Error("launch of '" + loaded->compiled.name + "': a grid dimension is 0");
  LaunchState state;
  state.program = loaded->program.get();
  state.memory = memory_.get();
  state.grid = launch.grid;
  state.block = {loaded->compiled.threads, 1, 1};
  state.params = parameters(*loaded, launch);
  state.dynamic_shared = loaded->compiled.shared_bytes;
  state.shared_bytes = loaded->program->static_shared + state.dynamic_shared;
  run(state);
}

/// Blocks in their order to whichever host thread is free. The error of the first block that has one is thrown, so that
/// it is always the same.
void Simulator::run(LaunchState& state) {
  auto start = std::chrono::steady_clock::now();
  const Program& p = *state.program;
  uint64_t total = uint64_t{state.grid[0]} * state.grid[1] * state.grid[2];
  std::atomic<uint64_t> next{0}, done{0}, stop{total};
  std::mutex mutex;
  std::exception_ptr error;
  std::vector<uint64_t> counts(p.block_instructions.size());
  auto work = [&](bool reports) {
    uint64_t index = 0;
    try {
      BlockState block(state);
      auto reported = start;
      while ((index = next.fetch_add(1)) < stop.load()) {
        block.run(index);
        uint64_t finished = done.fetch_add(1) + 1;
        if (reports && progress_) {
          auto now = std::chrono::steady_clock::now();
          if (now - reported > std::chrono::milliseconds(50)) {
            progress_(finished, total);
            reported = now;
          }
        }
      }
      std::lock_guard lock(mutex);
      for (size_t b = 0; b < counts.size(); ++b) counts[b] += block.block_counts[b];
    } catch (...) {
      std::lock_guard lock(mutex);
      if (index < stop.load()) {
        stop = index;
        error = std::current_exception();
      }
    }
  };
  uint64_t workers = p.ordered_blocks ? 1 : std::min<uint64_t>(threads_, total);
  std::vector<std::thread> others;
  for (uint64_t i = 1; i < workers; ++i) others.emplace_back(work, false);
  work(true);
  for (std::thread& t : others) t.join();
  if (error) std::rethrow_exception(error);
  if (progress_) progress_(total, total);

  counters_ = {};
  counters_.blocks = total;
  std::array<uint64_t, 20> classes{};
  for (size_t b = 0; b < counts.size(); ++b) {
    counters_.warp_instructions += counts[b] * p.block_instructions[b];
    for (size_t c = 0; c < classes.size(); ++c) classes[c] += counts[b] * p.block_classes[b][c];
  }
  for (size_t c = 0; c < classes.size(); ++c)
    if (classes[c]) counters_.classes.emplace_back(name_of(static_cast<InstructionClass>(c)), classes[c]);
  counters_.milliseconds = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

} // namespace

std::shared_ptr<SimulatorDevice> open_simulator(const std::string& target) {
  auto [number, suffix] = parts_of(target);
  if (number < 10 || !(suffix.empty() || suffix == "a" || suffix == "f"))
    throw Error("there is no target '" + target + "': use sm_80, sm_90a, ...");
  if (number < 80) throw Error("the simulator knows sm_80 and later, not " + target);
  return std::make_shared<Simulator>(target);
}

} // namespace tilejit::runtime
