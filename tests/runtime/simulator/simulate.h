// simulate.h - PTX in, bytes out: what the execution tests share.
#pragma once
#include "runtime/device.h"
#include "runtime/simulator/device.h"

#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace tilejit::runtime::simulator::test {

/// A module with one entry `k` whose parameters are named p0, p1, ... with the given types; the usual registers are
/// declared.
inline std::string kernel_text(const std::vector<std::string>& parameters, const std::string& body,
                               const std::string& target = "sm_90a", const std::string& declarations = "") {
  std::string text = ".version 8.7\n.target " + target + "\n.address_size 64\n" + declarations + "\n.visible .entry k(";
  for (size_t i = 0; i < parameters.size(); ++i)
    text += (i ? ", .param ." : ".param .") + parameters[i] + " p" + std::to_string(i);
  return text +
         ")\n{\n.reg .pred %p<32>; .reg .b16 %h<64>; .reg .b32 %r<200>; .reg .f32 %f<64>; .reg .b64 %rd<64>; .reg .f64 "
         "%fd<32>;\n" +
         body + "\nret;\n}\n";
}

/// PTX that puts the address of element `index` (a .b32 register) of array parameter `p` into 64-bit register `to`.
inline std::string element(const std::string& to, int p, const std::string& index, int bytes) {
  return "ld.param.u64 " + to + ", [p" + std::to_string(p) + "];\nmad.wide.u32 " + to + ", " + index + ", " +
         std::to_string(bytes) + ", " + to + ";\n";
}
/// %r0 = index of the thread in the grid.
inline const std::string thread_index =
    "mov.u32 %r0, %ctaid.x;\nmov.u32 %r1, %ntid.x;\nmov.u32 %r2, %tid.x;\nmad.lo.u32 %r0, %r0, %r1, %r2;\n";

struct Simulator {
  std::shared_ptr<Device> device;

  explicit Simulator(const std::string& target = "sm_90a") : device(open_simulator(target)) {}
  explicit Simulator(std::shared_ptr<Device> other) : device(std::move(other)) {}

  template <typename T>
  std::shared_ptr<Buffer> upload(const std::vector<T>& values) {
    auto buffer = device->allocate(values.size() * sizeof(T));
    device->upload(*buffer, 0, std::as_bytes(std::span(values)));
    return buffer;
  }
  template <typename T>
  std::vector<T> download(const Buffer& buffer) {
    std::vector<T> values(buffer.size() / sizeof(T));
    device->download(buffer, 0, std::as_writable_bytes(std::span(values)));
    return values;
  }
  /// Runs entry `k` and waits; throws what the launch throws.
  void run(const std::string& ptx, uint32_t blocks, uint32_t threads, std::vector<ParameterValue> parameters,
           uint32_t shared_bytes = 0) {
    CompiledKernel kernel;
    kernel.name = "k";
    kernel.target = device->target();
    kernel.ptx = ptx;
    kernel.threads = threads;
    kernel.shared_bytes = shared_bytes;
    auto module = device->load(kernel);
    Launch launch;
    launch.grid = {blocks, 1, 1};
    launch.parameters = std::move(parameters);
    device->launch(*module, launch);
    device->synchronize();
  }
  /// What the error of a run says; empty where there was none.
  std::string error_of(const std::string& ptx, uint32_t blocks, uint32_t threads,
                       std::vector<ParameterValue> parameters, uint32_t shared_bytes = 0) {
    try {
      run(ptx, blocks, threads, std::move(parameters), shared_bytes);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
  /// One output word a thread: `body` leaves it in %r9; %r0 is the thread's index.
  std::vector<uint32_t> words(const std::string& body, uint32_t blocks, uint32_t threads, uint32_t shared_bytes = 0,
                              const std::string& declarations = "") {
    auto out = upload(std::vector<uint32_t>(size_t{blocks} * threads, 0xdeadbeef));
    run(kernel_text({"u64"}, thread_index + body + element("%rd60", 0, "%r0", 4) + "st.global.b32 [%rd60], %r9;",
                    "sm_90a", declarations),
        blocks, threads, {out->address()}, shared_bytes);
    return download<uint32_t>(*out);
  }
};

/// A reproducible stream of numbers.
struct Random {
  uint64_t state = 0x9e3779b97f4a7c15;
  uint32_t operator()() {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return static_cast<uint32_t>(state >> 16);
  }
};

template <typename To, typename From>
To bits_to(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

} // namespace tilejit::runtime::simulator::test
