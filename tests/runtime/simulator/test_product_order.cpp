// Products that are brought together: which move, and that nothing changes by it.
#include "runtime/simulator/forms.h"
#include "runtime/simulator/product_order.h"
#include "tests/runtime/simulator/ptx_text.h"
#include "tests/runtime/simulator/simulate.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

using namespace tilejit::runtime;
using namespace tilejit::runtime::simulator;
using namespace tilejit::runtime::simulator::test;

namespace {

/// Product of A in registers 4a .. 4a + 3 of %r and B in 80 + 2b, 81 + 2b; D and C in registers 4d .. of %f.
std::string product(int d, int a, int b, const std::string& guard = "") {
  auto list = [](const char* prefix, int first, int count) {
    std::string text = "{";
    for (int i = 0; i < count; ++i) text += (i ? ", " : "") + std::string(prefix) + std::to_string(first + i);
    return text + "}";
  };
  const std::string sums = list("%f", 4 * d, 4);
  return guard + "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 " + sums + ", " + list("%r", 4 * a, 4) + ", " +
         list("%r", 80 + 2 * b, 2) + ", " + sums + ";\n";
}
std::string load(int b) {
  return "ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r" + std::to_string(80 + 2 * b) + ", %r" +
         std::to_string(81 + 2 * b) + "}, [%r99];\n";
}

simulator::Module parsed(const std::string& body) {
  std::string text = entry(body);
  text.replace(text.find("%r<99>"), 6, "%r<120>");
  return parse(text);
}
/// Lines of the body in the order that they have then, from 0.
std::vector<uint32_t> order(const std::string& body, bool sanitize = false) {
  const simulator::Module module = parsed(body);
  Function f = module.functions.at(module.find_function("k"));
  join_products(f, build_cfg(module, f), sanitize);
  std::vector<uint32_t> lines;
  for (const Instruction& i : f.body) lines.push_back(i.line - 7);
  return lines;
}
using Lines = std::vector<uint32_t>;

} // namespace

TEST_CASE("products of the same A come together, and what is between them goes first") {
  CHECK(order(load(0) + product(0, 1, 0) + load(1) + product(1, 1, 1) + load(2) + product(2, 1, 2)) ==
        Lines{0, 2, 4, 1, 3, 5});
  // Of another A: each where it is.
  CHECK(order(product(0, 1, 0) + product(1, 2, 0) + product(2, 1, 0)) == Lines{0, 1, 2});
  // The order of two groups stays.
  CHECK(order(product(0, 1, 0) + load(1) + product(1, 1, 1) + load(2) + product(0, 2, 2)) == Lines{1, 3, 0, 2, 4});
}

TEST_CASE("a product stays in front of what needs it, or changes what it reads") {
  for (const std::string between : {"add.f32 %f60, %f0, %f61;\n", "mov.f32 %f0, %f61;\n", "mov.b32 %r80, %r20;\n",
                                    "mov.b32 %r4, %r20;\n", "@%p1 mov.b32 %r4, %r20;\n"})
    CHECK(order(product(0, 1, 0) + between + product(1, 1, 1)) == Lines{0, 1, 2});
  CHECK(order(product(0, 1, 0) + product(0, 1, 1) + load(2) + product(0, 1, 2)) == Lines{0, 2, 1, 3});
  CHECK(order(product(0, 1, 0) + "add.f32 %f60, %f62, %f61;\n" + product(1, 1, 1)) == Lines{1, 0, 2});
  // A product with a guard is not moved, nor is one moved out of its block.
  CHECK(order(product(0, 1, 0, "@%p1 ") + load(1) + product(1, 1, 1)) == Lines{0, 1, 2});
  CHECK(order(product(0, 1, 0) + "@%p1 bra END;\n" + product(1, 1, 1) + "END:\n" + product(2, 1, 1)) ==
        Lines{0, 1, 2, 4});
}

TEST_CASE("with the sanitizers a product is also what brings lanes together") {
  const std::string store = "st.shared.b32 [%r99], %r70;\n", read = "ld.shared.b32 %r70, [%r99];\n";
  auto both = [](const std::string& before, const std::string& between) {
    return order(before + product(0, 1, 0) + between + product(1, 1, 1), true);
  };
  // Nothing is passed that writes; what reads only where lanes have come together since the last write.
  CHECK(both(load(0), store) == Lines{0, 1, 2, 3});
  CHECK(both(load(0), read) == Lines{0, 2, 1, 3});
  CHECK(both(load(0), load(1)) == Lines{0, 2, 1, 3});
  CHECK(both(load(0) + store, read) == Lines{0, 1, 2, 3, 4});
  CHECK(both(store + load(0), read) == Lines{0, 1, 3, 2, 4});
  CHECK(both("", read) == Lines{0, 1, 2}); // a write may be in the block before
  CHECK(both("", "add.f32 %f60, %f62, %f61;\n") == Lines{1, 0, 2});
  CHECK(both(load(0), "bar.sync 0;\n") == Lines{0, 1, 2, 3});
}

TEST_CASE("random instructions keep the order of those that touch the same registers, and give the same results") {
  std::mt19937 random(7);
  auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  Simulator sim;
  auto& device = dynamic_cast<SimulatorDevice&>(*sim.device);
  for (int round = 0; round < 100; ++round) {
    CAPTURE(round);
    std::string body;
    for (int n = 0; n < 60; ++n) switch (below(8)) {
      case 0: body += load(below(6)); break;
      case 1:
        body += "mov.b32 %r" + std::to_string(80 + below(12)) + ", %r" + std::to_string(4 + below(12)) + ";\n";
        break;
      case 2: body += "mov.b32 %r" + std::to_string(4 + below(12)) + ", %f" + std::to_string(below(16)) + ";\n"; break;
      case 3: body += "mul.f32 %f" + std::to_string(below(16)) + ", %f" + std::to_string(below(16)) + ", 0.5;\n"; break;
      default: body += product(below(4), 1 + below(3), below(6)); break;
      }
    // Registers by line.
    const Lines lines = order(body);
    const simulator::Module module = parsed(body);
    const Function& f = module.functions.at(module.find_function("k"));
    std::vector<RegisterUse> uses(f.body.size());
    for (size_t i = 0; i < f.body.size(); ++i) register_use(f, f.body[i], uses[i]);
    auto meet = [](const std::vector<uint32_t>& a, const std::vector<uint32_t>& b) {
      return std::any_of(a.begin(), a.end(), [&](uint32_t r) { return std::find(b.begin(), b.end(), r) != b.end(); });
    };
    Lines sorted = lines;
    std::sort(sorted.begin(), sorted.end());
    for (size_t i = 0; i < sorted.size(); ++i) REQUIRE(sorted[i] == i);
    for (size_t i = 0; i < lines.size(); ++i)
      for (size_t k = i + 1; k < lines.size(); ++k) {
        const RegisterUse &first = uses[lines[i]], &second = uses[lines[k]];
        const bool depend =
            meet(first.writes, second.reads) || meet(first.reads, second.writes) || meet(first.writes, second.writes);
        if (depend) REQUIRE(lines[i] < lines[k]);
      }
    // With counters the program runs as it is written.
    std::string start = thread_index +
                        "mov.u32 %r99, buffer; mad.lo.u32 %r98, %r2, 16, %r99; mov.b32 %r97, 0x3f803f00;\n"
                        "st.shared.v4.b32 [%r98], {%r97, %r2, %r97, %r97}; bar.sync 0;\n",
                end = "mov.b32 %r9, 0;\n";
    for (int i = 4; i < 16; ++i)
      start += "mad.lo.u32 %r" + std::to_string(i) + ", %r2, 65537, " + std::to_string(0x3f003f80 + i) + ";\n";
    for (int i = 0; i < 12; ++i) start += "mov.b32 %r" + std::to_string(80 + i) + ", 0x3f803f80;\n";
    for (int i = 0; i < 16; ++i) {
      start += "mov.f32 %f" + std::to_string(i) + ", 1.0;\n";
      end += "mov.b32 %r98, %f" + std::to_string(i) + "; mad.lo.u32 %r9, %r9, 31, %r98;\n";
    }
    auto run = [&](bool as_written) {
      device.set_instruments({.counters = as_written});
      return sim.words(start + body + end, 1, 32, 0, ".shared .align 16 .b8 buffer[512];");
    };
    REQUIRE(run(false) == run(true));
  }
}
