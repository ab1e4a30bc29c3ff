// cuda.h - runs the kernels of a file that nvcc compiled, for sm_80 and for sm_90a; on a GPU, too (tests/device.h), but
// for tests of what the simulator says, which are tagged [simulator].
#pragma once
#include "tests/device.h"
#include "tests/runtime/simulator/ptx_text.h"
#include "tests/runtime/simulator/simulate.h"

#include <catch2/catch.hpp>

namespace tilejit::runtime::simulator::test {

inline const char* const targets[] = {"sm_80", "sm_90a"};

/// The kernels of one file on one device.
class Kernels {
public:
  Kernels(const std::string& file, const std::string& target)
      : simulator(open_test_device("simulator:" + target)),
        ptx_(read_file(std::string(TILEJIT_CUDA "/") + file + "." + target + ".ptx")) {
    REQUIRE_FALSE(ptx_.empty());
    if (SimulatorDevice* s = simulated()) s->set_output([this](std::string_view text) { printed += text; });
  }
  /// Null on a GPU.
  SimulatorDevice* simulated() { return dynamic_cast<SimulatorDevice*>(simulator.device.get()); }

  /// Parameters: buffers, numbers, structures.
  template <typename... Parameters>
  void run(const std::string& entry, uint32_t blocks, uint32_t threads, const Parameters&... parameters) {
    launch({.entry = entry, .grid = {blocks, 1, 1}, .block = {threads, 1, 1}, .parameters = {bytes_of(parameters)...}});
  }
  void launch(const PtxLaunch& launch) { simulator.device->launch_ptx(ptx_, launch); }
  template <typename T>
  static std::vector<std::byte> bytes_of(const T& value) {
    auto bytes = std::as_bytes(std::span(&value, 1));
    return {bytes.begin(), bytes.end()};
  }
  static std::vector<std::byte> bytes_of(const std::shared_ptr<Buffer>& buffer) { return bytes_of(buffer->address()); }

  template <typename T>
  std::shared_ptr<Buffer> upload(const std::vector<T>& values) {
    return simulator.upload(values);
  }
  template <typename T>
  std::shared_ptr<Buffer> zeros(size_t count) {
    return simulator.upload(std::vector<T>(count));
  }
  template <typename T>
  std::vector<T> download(const std::shared_ptr<Buffer>& buffer) {
    return simulator.download<T>(*buffer);
  }

  Simulator simulator;
  std::string printed;

private:
  std::string ptx_;
};

} // namespace tilejit::runtime::simulator::test
