// case.cpp - see case.h.
#include "tests/runtime/simulator/conformance/case.h"

#include <cstring>
#include <random>
#include <set>
#include <sstream>
#include <stdexcept>

namespace tilejit::conformance {

void Report::add(bool good, const std::function<std::string()>& text) {
  ++compared;
  if (!good && ++wrong <= 4) first += "\n  " + text();
}

std::string hex(uint64_t value) {
  std::ostringstream text;
  text << "0x" << std::hex << value;
  return text.str();
}

std::vector<uint32_t> random_words(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<uint32_t> words(count);
  for (uint32_t& w : words) w = static_cast<uint32_t>(random());
  return words;
}

std::string ptx_of(const Case& c, const std::string& target) {
  // The targets that a driver knows came with a version of PTX.
  uint32_t version = std::max(c.since, target.starts_with("sm_1") ? 86u : 80u);
  return ".version " + std::to_string(version / 10) + "." + std::to_string(version % 10) + "\n.target " + target +
         "\n.address_size 64\n" + c.declarations +
         "\n.visible .entry k(.param .u64 in, .param .u64 out, .param .u64 u0, .param .u64 u1, .param .u64 u2, .param "
         ".u64 u3, .param .u64 u4) " +
         c.directives +
         "\n{\n.reg .b32 %r<400>; .reg .b64 %rd<150>; .reg .b16 %h<150>; .reg .f32 %f<100>; "
         ".reg .f64 %fd<50>; .reg .pred %p<50>;\nmov.u32 %r0, %ctaid.x;\nmov.u32 %r1, %ntid.x;\nmov.u32 %r2, "
         "%tid.x;\nmad.lo.u32 %r0, %r0, %r1, %r2;\nld.param.u64 %rd1, [in];\nld.param.u64 %rd2, [out];\n" +
         c.body + "\nret;\n}\n";
}

std::vector<std::byte> run(runtime::Device& device, const Case& c) {
  auto module = device.load({.name = "k",
                             .target = device.target(),
                             .ptx = ptx_of(c, device.target()),
                             .threads = c.threads,
                             .shared_bytes = c.shared});
  auto in = device.allocate(std::max<size_t>(c.input.size(), 16)), out = device.allocate(c.output);
  if (!c.input.empty()) device.upload(*in, 0, c.input);
  std::vector<std::byte> results(c.output * c.launches.size());
  for (size_t l = 0; l < c.launches.size(); ++l) {
    device.fill_zero(*out);
    runtime::Launch launch{.grid = {c.launches[l].blocks ? c.launches[l].blocks : c.blocks, 1, 1},
                           .parameters = {in->address(), out->address()}};
    const auto& values = c.launches[l].values;
    for (size_t u = 0; u < 5; ++u) launch.parameters.push_back(u < values.size() ? values[u] : uint64_t{0});
    device.launch(*module, launch);
    device.synchronize();
    device.download(*out, 0, std::span(results).subspan(l * c.output, c.output));
  }
  return results;
}

Case words_case(const Kernel& kernel, const std::vector<uint32_t>& input, uint32_t outputs, ExpectedWord expected,
                bool each) {
  uint32_t count = kernel.threads * kernel.blocks;
  Case c{.name = kernel.name,
         .tests = kernel.tests,
         .declarations = kernel.declarations,
         .directives = kernel.directives,
         .threads = kernel.threads,
         .blocks = kernel.blocks,
         .shared = kernel.shared,
         .since = kernel.since};
  if (each) c.body += "mad.wide.u32 %rd1, %r0, " + std::to_string(input.size() / count * 4) + ", %rd1;\n";
  c.body += "mad.wide.u32 %rd2, %r0, " + std::to_string(4 * outputs) + ", %rd2;\n" + kernel.body;
  auto bytes = std::as_bytes(std::span(input));
  c.input.assign(bytes.begin(), bytes.end());
  c.output = size_t{count} * outputs * 4;
  c.check = [=](std::span<const std::byte> output) {
    Report report;
    for (uint32_t thread = 0; thread < count; ++thread)
      for (uint32_t word = 0; word < outputs; ++word) {
        std::optional<uint32_t> e = expected(thread, word);
        if (!e) continue;
        uint32_t got;
        std::memcpy(&got, output.data() + 4 * (size_t{thread} * outputs + word), 4);
        report.add(got == *e, [&] {
          return "thread " + std::to_string(thread) + " word " + std::to_string(word) + ": got " + hex(got) +
                 ", expected " + hex(*e);
        });
      }
    return report;
  };
  return c;
}

void emit(const Sink& sink, Case c) {
  std::string name = c.name;
  std::vector<std::string> tests = c.tests;
  sink({name, tests, "", [c = std::move(c)](bool) { return c; }});
}

std::span<const Group> groups() {
  static constexpr Group all[] = {
      {"integers", integer_cases},
      {"floats", float_cases},
      {"halves", half_cases},
      {"approximations", approximation_cases},
      {"comparisons", comparison_cases},
      {"conversions", conversion_cases},
      {"moves", move_cases},
      {"warps", warp_cases},
      {"matrices", matrix_cases},
      {"warpgroups", warpgroup_cases},
      {"memory", memory_cases},
      {"atomics", atomic_cases},
      {"barriers", barrier_cases},
      {"copies", copy_cases},
      {"tensor copies", tensor_copy_cases},
      {"control", control_cases},
  };
  return all;
}

void each_source(const Sink& sink) {
  std::set<std::string> names;
  for (const Group& group : groups())
    group.make([&](Source source) {
      if (!names.insert(source.name).second) throw std::logic_error("two cases are called " + source.name);
      source.group = group.name;
      sink(std::move(source));
    });
}

} // namespace tilejit::conformance
