// device.cpp - see device.h: modules, memory, launches.
#include "runtime/simulator/device.h"

#include "runtime/simulator/calls.h"
#include "runtime/simulator/grid.h"
#include "runtime/simulator/handlers.h"
#include "runtime/simulator/lower.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <optional>
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
  std::vector<uint64_t> addresses;                    ///< of all variables
  mutable std::unique_ptr<Allocation> heap_memory;    ///< made when a kernel that calls malloc is launched
  mutable std::unique_ptr<DeviceHeap> heap;
  uint32_t entry = none;
  /// By shape of the block and instruments; made when they are first asked for.
  mutable std::map<std::pair<std::array<uint32_t, 3>, Instruments>, std::shared_ptr<const Program>> programs;
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
    if (from.empty()) return;
    std::memcpy(memory_->host(to.address()) + offset, from.data(), from.size());
    memory_->mark_initialised(to.address() + offset, to.address() + offset + from.size());
  }
  void download(const Buffer& from, size_t offset, std::span<std::byte> to) override {
    check(from, offset, to.size(), "download");
    if (!to.empty()) std::memcpy(to.data(), memory_->host(from.address()) + offset, to.size());
  }
  void fill_zero(Buffer& buffer) override {
    check(buffer, 0, buffer.size(), "fill_zero");
    std::memset(memory_->host(buffer.address()), 0, buffer.size());
    memory_->mark_initialised(buffer.address(), buffer.address() + buffer.size());
  }

  std::shared_ptr<runtime::Module> load(const CompiledKernel& kernel) override;
  std::unique_ptr<Stream> create_stream() override { return std::make_unique<ImmediateStream>(); }
  void launch(const runtime::Module& module, const Launch& launch, Stream*) override;
  void launch_ptx(const std::string& ptx, const PtxLaunch& launch) override;
  void set_instruments(const Instruments& instruments) override {
    instruments_ = instruments;
    instruments_.counters |= instruments.estimate;
  }
  void set_seed(std::optional<uint64_t> seed) override { seed_ = seed; }
  const std::vector<Finding>& findings() const override { return findings_; }
  void clear_findings() override { findings_.clear(); }
  void synchronize() override {}
  double time(const std::function<void()>& work) override {
    auto start = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  }
  void set_output(std::function<void(std::string_view)> output) override { output_ = std::move(output); }
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
  void read(LoadedModule& module, const std::string& ptx, const std::string& entry);
  void initialize(LoadedModule& module);
  std::shared_ptr<const Program> program(const LoadedModule& module, const std::array<uint32_t, 3>& block) const;
  void require_shape(const LoadedModule& module, const std::array<uint32_t, 3>& grid,
                     const std::array<uint32_t, 3>& block) const;
  void require_shared(const LoadedModule& module, uint64_t dynamic) const;
  std::array<uint32_t, 3> cluster_of(const PtxLaunch& launch, const Function& f) const;
  void run(const LoadedModule& module, const PtxLaunch& launch);
  void run(LaunchState& state, const std::shared_ptr<const Program>& program);

  std::string target_;
  uint32_t threads_;
  std::shared_ptr<GlobalMemory> memory_;
  std::function<void(uint64_t, uint64_t)> progress_;
  std::function<void(std::string_view)> output_;
  LaunchCounters counters_;
  Instruments instruments_;
  std::optional<uint64_t> seed_;
  std::vector<Finding> findings_;
};

/// PTX for an older architecture runs; that with features of one architecture (sm_90a) only on that one, of a family
/// (sm_100f) on those of it that are not older.
void Simulator::require_target(std::string_view ptx) const {
  auto [number, suffix] = parts_of(ptx);
  auto [ours, ours_suffix] = parts_of(target_);
  bool fits = suffix.empty()  ? number <= ours
              : suffix == "f" ? number <= ours && number / 10 == ours / 10
                              : number == ours && (ours_suffix == suffix || ours_suffix == "a");
  if (!fits)
    throw Error("the PTX is for " + std::string(ptx) + " and cannot run on " + target_ + ": compile for " + target_ +
                ", or open simulator:" + std::string(ptx) + " (tilejit sim --gpu " + std::string(ptx) + ")");
}

/// Gives the module's global and constant variables memory and their initial values.
void Simulator::initialize(LoadedModule& module) {
  const simulator::Module& m = *module.ptx;
  module.addresses.assign(m.variables.size(), 0);
  auto has_memory = [](const Variable& v) { return v.space == Space::global || v.space == Space::constant; };
  for (size_t i = 0; i < m.variables.size(); ++i) {
    if (!has_memory(m.variables[i])) continue;
    module.variables.push_back(std::make_unique<Allocation>(memory_, m.variables[i].bytes));
    module.addresses[i] = module.variables.back()->address();
  }
  for (size_t i = 0; i < m.variables.size(); ++i) {
    const Variable& v = m.variables[i];
    if (!has_memory(v)) continue;
    uint8_t* at = memory_->host(module.addresses[i]);
    std::memset(at, 0, v.bytes);
    memory_->mark_initialised(module.addresses[i], module.addresses[i] + v.bytes);
    std::copy(v.data.begin(), v.data.end(), at);
    for (const Relocation& r : v.relocations) {
      uint64_t value = 0;
      if (r.variable != none && has_memory(m.variables[r.variable])) value = module.addresses[r.variable];
      if (r.function != none) value = function_window + 16 * uint64_t{r.function};
      value = (value + static_cast<uint64_t>(r.addend)) >> r.shift;
      std::memcpy(at + r.offset, &value, r.bytes);
    }
  }
}

void Simulator::read(LoadedModule& module, const std::string& ptx, const std::string& entry) {
  module.ptx = std::make_shared<simulator::Module>(parse(ptx));
  require_target(module.ptx->target);
  module.entry = module.ptx->find_function(entry);
  if (module.entry == none || !module.ptx->functions[module.entry].is_entry) {
    std::string entries;
    for (const Function& f : module.ptx->functions)
      if (f.is_entry) entries += (entries.empty() ? "; it has '" : ", '") + std::string(f.name) + "'";
    throw Error("the PTX has no entry '" + entry + "'" + entries);
  }
  initialize(module);
}

std::shared_ptr<const Program> Simulator::program(const LoadedModule& module,
                                                  const std::array<uint32_t, 3>& block) const {
  auto& program = module.programs[{block, instruments_}];
  if (!program) program = lower(module.ptx, module.entry, block, module.addresses, instruments_);
  return program;
}

void Simulator::require_shape(const LoadedModule& module, const std::array<uint32_t, 3>& grid,
                              const std::array<uint32_t, 3>& block) const {
  const std::string& name = module.compiled.name;
  for (uint32_t n : grid)
    if (n == 0) throw Error("launch of '" + name + "': a grid dimension is 0");
  if (grid[0] > 0x7fffffff || grid[1] > 0xffff || grid[2] > 0xffff)
    throw Error("launch of '" + name + "': a grid has at most 2147483647, 65535 and 65535 blocks in its dimensions");
  const auto size_of = [](const std::array<uint32_t, 3>& shape) { return uint64_t{shape[0]} * shape[1] * shape[2]; };
  const uint64_t threads = size_of(block);
  if (threads == 0 || block[0] > 1024 || block[1] > 1024 || block[2] > 64 || threads > 1024)
    throw Error("kernel '" + name + "' wants " + std::to_string(threads) +
                " threads a block: 1 to 1024 are possible, 64 at most in the third dimension");
  const Function& f = module.ptx->functions[module.entry];
  if (f.required_threads[0] != 0 && f.required_threads != block)
    throw Error("kernel '" + name + "' asks for blocks of " + tuple(f.required_threads) +
                " threads (.reqntid), the launch for " + tuple(block));
  if (f.max_threads[0] != 0 && size_of(f.max_threads) < threads)
    throw Error("kernel '" + name + "' is compiled for at most " + std::to_string(size_of(f.max_threads)) +
                " threads a block (.maxntid), the launch asks for " + std::to_string(threads));
}

/// The launch's, else the entry's, else one block.
std::array<uint32_t, 3> Simulator::cluster_of(const PtxLaunch& launch, const Function& f) const {
  std::array<uint32_t, 3> cluster = launch.cluster;
  if (cluster[0] == 0) cluster = f.cluster;
  for (size_t d = 0; d < 3; ++d) cluster[d] = std::max(cluster[d], 1u);
  for (size_t d = 0; d < 3; ++d) {
    if (f.cluster[0] != 0 && std::max(f.cluster[d], 1u) != cluster[d])
      throw Error("kernel '" + launch.entry + "' asks for clusters of " + tuple(f.cluster) +
                  " blocks, the launch for " + tuple(cluster));
    if (launch.grid[d] % cluster[d] != 0)
      throw Error("launch of '" + launch.entry + "': the grid " + tuple(launch.grid) +
                  " is not a multiple of the cluster " + tuple(cluster));
  }
  uint64_t blocks = uint64_t{cluster[0]} * cluster[1] * cluster[2];
  if (blocks > 16) throw Error("launch of '" + launch.entry + "': a cluster has at most 16 blocks");
  if (blocks > 1 && parts_of(target_).first < 90)
    throw Error("launch of '" + launch.entry + "': clusters need sm_90 or later, not " + target_);
  return cluster;
}

std::shared_ptr<runtime::Module> Simulator::load(const CompiledKernel& kernel) {
  auto module = std::make_shared<LoadedModule>();
  module->compiled = kernel;
  read(*module, kernel.ptx, kernel.name);
  require_shape(*module, {1, 1, 1}, {kernel.threads, 1, 1});
  program(*module, {kernel.threads, 1, 1}); // what the simulator does not know is reported now
  require_shared(*module, kernel.shared_bytes);
  return module;
}

void Simulator::require_shared(const LoadedModule& module, uint64_t dynamic) const {
  uint64_t shared = layout_shared(*module.ptx, module.entry).static_bytes + dynamic,
           most = parts_of(target_).first < 90 ? 163 * 1024 : 227 * 1024;
  if (shared > most)
    throw Error("kernel '" + module.compiled.name + "' wants " + std::to_string(shared) +
                " bytes of shared memory a block: " + target_ + " has " + std::to_string(most));
}

void Simulator::launch(const runtime::Module& module, const Launch& launch, Stream*) {
  const auto* loaded = dynamic_cast<const LoadedModule*>(&module);
  if (!loaded) throw Error("launch: the module belongs to another device");
  PtxLaunch how{.entry = loaded->compiled.name,
                .grid = launch.grid,
                .block = {loaded->compiled.threads, 1, 1},
                .cluster = loaded->compiled.cluster,
                .dynamic_shared = loaded->compiled.shared_bytes};
  for (const ParameterValue& parameter : launch.parameters)
    std::visit(
        [&](auto value) {
          auto bytes = std::as_bytes(std::span(&value, 1));
          how.parameters.emplace_back(bytes.begin(), bytes.end());
        },
        parameter);
  run(*loaded, how);
}

void Simulator::launch_ptx(const std::string& ptx, const PtxLaunch& launch) {
  LoadedModule module;
  module.compiled.name = launch.entry;
  read(module, ptx, launch.entry);
  run(module, launch);
}

void Simulator::run(const LoadedModule& module, const PtxLaunch& launch) {
  const simulator::Module& m = *module.ptx;
  const Function& f = m.functions[module.entry];
  require_shape(module, launch.grid, launch.block);
  require_shared(module, launch.dynamic_shared);
  if (launch.parameters.size() != f.parameters.size())
    throw Error("kernel '" + launch.entry + "' has " + std::to_string(f.parameters.size()) +
                " parameters, the launch gives " + std::to_string(launch.parameters.size()));
  auto program = this->program(module, launch.block);
  LaunchState state;
  state.program = program.get();
  state.memory = memory_.get();
  state.grid = launch.grid;
  state.block = launch.block;
  state.cluster = cluster_of(launch, f);
  state.explicit_cluster = launch.cluster[0] != 0 || f.cluster[0] != 0;
  state.seed = seed_;
  state.params.resize(f.param_bytes);
  for (size_t i = 0; i < f.parameters.size(); ++i) {
    const Variable& v = m.variables[f.parameters[i].variable];
    const std::vector<std::byte>& bytes = launch.parameters[i];
    if (bytes.size() != v.bytes)
      throw Error("parameter " + std::to_string(i) + " of kernel '" + launch.entry + "' has " +
                  std::to_string(v.bytes) + " bytes, the launch gives " + std::to_string(bytes.size()));
    if (!bytes.empty()) std::memcpy(state.params.data() + v.offset, bytes.data(), bytes.size());
  }
  if (program->needs_heap && !module.heap) {
    module.heap_memory = std::make_unique<Allocation>(memory_, heap_bytes);
    module.heap = std::make_unique<DeviceHeap>(module.heap_memory->address(), heap_bytes);
  }
  state.heap = module.heap.get();
  if (state.heap) state.heap->release_kept();
  std::optional<Allocation> workspace; // its size and the barrier's word
  auto asks_for = [&](std::initializer_list<Special> any) {
    return std::ranges::any_of(program->specials,
                               [&](const SpecialSlot& s) { return std::ranges::find(any, s.special) != any.end(); });
  };
  if (asks_for({Special::envreg2})) {
    const std::array<uint32_t, 2> words{8, 0};
    upload(workspace.emplace(memory_, sizeof words), 0, std::as_bytes(std::span(words)));
    state.workspace = workspace->address();
  }
  state.multiprocessors = gpu_of(parts_of(target_).first).multiprocessors;
  state.dynamic_shared = launch.dynamic_shared;
  state.shared_bytes = asks_for({Special::reserved_smem_offset_begin, Special::reserved_smem_offset_end,
                                 Special::reserved_smem_offset_0, Special::reserved_smem_offset_1})
                           ? state.reserved_shared() + reserved_shared_bytes
                           : state.program_shared();
  run(state, program);
}

void Simulator::run(LaunchState& state, const std::shared_ptr<const Program>& program) {
  auto start = std::chrono::steady_clock::now();
  const Program& p = *program;
  const uint64_t size = uint64_t{state.cluster[0]} * state.cluster[1] * state.cluster[2],
                 total = uint64_t{state.grid[0]} * state.grid[1] * state.grid[2];
  std::optional<GlobalHistory> history;
  if (p.instruments.sanitize) state.global = &history.emplace(state);
  std::shared_ptr<Recording> recording;
  if (p.instruments.estimate)
    state.recording = (recording = std::make_shared<Recording>(program, state.grid, state.block, state.cluster)).get();
  if (recording) recording->shared_bytes = state.program_shared();
  GridRun grid = run_grid(state, {threads_, parts_of(target_).first, progress_, output_});
  counters_ = {};
  counters_.blocks = total;
  std::array<uint64_t, 20> classes{};
  for (size_t b = 0; b < grid.counts.size(); ++b) {
    counters_.warp_instructions += grid.counts[b] * p.block_instructions[b];
    for (size_t c = 0; c < classes.size(); ++c) classes[c] += grid.counts[b] * p.block_classes[b][c];
  }
  for (size_t c = 0; c < classes.size(); ++c)
    if (classes[c]) counters_.classes.emplace_back(name_of(static_cast<InstructionClass>(c)), classes[c]);
  counters_.instructions = counters_of(p, grid.counts, grid.lanes, grid.accesses);
  if (recording) recording->end();
  if (!grid.error) counters_.recording = std::move(recording);
  counters_.milliseconds = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();

  if (history) {
    grid.found.merge(std::move(history->found()));
    history->mark_initialised(*memory_);
  } else { // nobody has looked what was written
    for (const GlobalMemory::Range& r : memory_->allocations()) memory_->mark_initialised(r.begin, r.end);
  }
  for (Finding& f : grid.found.take((grid.last + 1) * size - 1)) findings_.push_back(std::move(f));
  if (grid.error) {
    try {
      std::rethrow_exception(grid.error);
    } catch (const FindingError& e) {
      findings_.push_back(e.finding);
      throw;
    }
  }
  if (progress_) progress_(total, total);
}

} // namespace

std::optional<SeedDifference> compare_seeds(SimulatorDevice& device, std::span<const std::shared_ptr<Buffer>> buffers,
                                            const std::function<void()>& work, uint64_t seeds) {
  auto contents = [&] {
    std::vector<std::vector<std::byte>> all;
    for (const auto& b : buffers) device.download(*b, 0, all.emplace_back(b->size()));
    return all;
  };
  auto before = contents();
  device.set_seed(std::nullopt);
  work();
  auto wanted = contents();
  std::optional<SeedDifference> difference;
  for (uint64_t seed = 1; seed <= seeds && !difference; ++seed) {
    for (size_t b = 0; b < buffers.size(); ++b) device.upload(*buffers[b], 0, before[b]);
    device.set_seed(seed);
    work();
    auto got = contents();
    for (size_t b = 0; b < got.size() && !difference; ++b)
      if (auto at = std::mismatch(got[b].begin(), got[b].end(), wanted[b].begin()).first; at != got[b].end())
        difference = {seed, b, static_cast<size_t>(at - got[b].begin())};
  }
  device.set_seed(std::nullopt);
  return difference;
}

std::shared_ptr<SimulatorDevice> open_simulator(const std::string& target) {
  auto [number, suffix] = parts_of(target);
  if (number < 10 || !(suffix.empty() || suffix == "a" || suffix == "f"))
    throw Error("there is no target '" + target + "': use sm_80, sm_90a, ...");
  if (number < 80) throw Error("the simulator knows sm_80 and later, not " + target);
  return std::make_shared<Simulator>(target);
}

} // namespace tilejit::runtime
