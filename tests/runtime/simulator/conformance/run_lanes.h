// run_lanes.h - a few instructions on one warp: words in for each lane, words out for each lane.
#pragma once
#include "runtime/device.h"

#include <string>
#include <vector>

namespace tilejit::conformance {

/// Runs `body` with 32 threads. Lane l finds its input words at [%rd1 + 4 * i] and writes its output words to
/// [%rd2 + 4 * i]; %r0 is the lane. `declarations` come before the body. Returns 32 * outputs words, lane by lane.
inline std::vector<uint32_t> run_lanes(runtime::Device& device, const std::string& declarations,
                                       const std::string& body, const std::vector<uint32_t>& input, size_t outputs) {
  size_t inputs = input.size() / 32;
  std::string ptx = ".version 8.8\n.target sm_100a\n.address_size 64\n" + declarations +
                    "\n.visible .entry k(.param .u64 in, .param .u64 out)\n{\n"
                    ".reg .b32 %r<300>; .reg .b64 %rd<100>; .reg .pred %p<20>;\n"
                    "mov.u32 %r0, %tid.x;\nld.param.u64 %rd1, [in];\nld.param.u64 %rd2, [out];\n"
                    "mad.wide.u32 %rd1, %r0, " +
                    std::to_string(4 * inputs) + ", %rd1;\nmad.wide.u32 %rd2, %r0, " + std::to_string(4 * outputs) +
                    ", %rd2;\n" + body + "\nret;\n}\n";
  auto module = device.load({.name = "k", .target = "sm_100a", .ptx = ptx, .threads = 32});
  auto in = device.allocate(std::max<size_t>(input.size() * 4, 4)), out = device.allocate(32 * outputs * 4);
  device.fill_zero(*out);
  if (!input.empty()) device.upload(*in, 0, std::as_bytes(std::span(input)));
  device.launch(*module, {.parameters = {in->address(), out->address()}});
  device.synchronize();
  std::vector<uint32_t> output(32 * outputs);
  device.download(*out, 0, std::as_writable_bytes(std::span(output)));
  return output;
}

} // namespace tilejit::conformance
