// cases_move.cpp - moves that are more than one register to another: vectors packed and taken apart, addresses, memory
// of the stack. PTX ISA 9.7.9 "mov", 9.7.10 "stacksave, stackrestore, alloca".
#include "tests/runtime/simulator/conformance/harness.h"

namespace tilejit::conformance {
namespace {

using runtime::simulator::InstructionClass;

std::string number(int64_t n) { return std::to_string(n); }
std::string list(const std::string& prefix, uint32_t first, uint32_t count) {
  std::string text = "{";
  for (uint32_t i = 0; i < count; ++i) text += (i ? ", " : "") + prefix + number(first + i);
  return text + "}";
}

/// `mov.bN` of `parts` elements into one register, and back. The two words of a thread become two others by taking the
/// elements in reverse.
void pack_case(const Sink& sink, uint32_t bits, uint32_t parts) {
  uint32_t part = bits / parts;
  auto input = random_words(64, bits + parts);
  std::string text = "mov.b" + number(bits), whole = bits == 64 ? "%rd" : bits == 32 ? "%r" : "%h";
  std::string piece = part == 32 ? "%r" : part == 16 ? "%h" : "%b";
  std::string body = ".reg .b8 %b<40>;\nld.global.b" + number(bits) + " " + whole + "20, [%rd1];\n" + text + " " +
                     list(piece, 20, parts) + ", " + whole + "20;\n" + text + " " + whole + "21, {";
  for (uint32_t i = 0; i < parts; ++i) body += (i ? ", " : "") + piece + number(20 + parts - 1 - i);
  body += "};\nst.global.b" + number(bits) + " [%rd2], " + whole + "21;\n";
  // One element alone, the others into the sink.
  body += text + " {";
  for (uint32_t i = 0; i < parts; ++i) body += std::string(i ? ", " : "") + (i == 1 ? piece + "30" : "_");
  body += "}, " + whole + "20;\nst.global.b" + number(part) + " [%rd2+8], " + piece + "30;\n";
  emit(sink, words_case({.name = text + " of " + number(parts), .tests = {text}, .body = body}, input, 4,
                        [=](uint32_t lane, uint32_t word) -> std::optional<uint32_t> {
                          uint64_t v = input[2 * lane] | uint64_t{input[2 * lane + 1]} << 32, r = 0;
                          uint64_t all = (uint64_t{1} << part) - 1;
                          if (word == 3) return 0;
                          if (word == 2) return static_cast<uint32_t>(v >> part & all);
                          for (uint32_t i = 0; i < parts; ++i) r |= (v >> (i * part) & all) << ((parts - 1 - i) * part);
                          return static_cast<uint32_t>(r >> (32 * word));
                        }));
}

void constant_cases(const Sink& sink) {
  struct Row {
    const char *text, *store;
    uint64_t bits;
    bool wide;
  };
  const Row rows[] = {{"mov.u32 %r20, 0xdeadbeef", "b32 %r20", 0xdeadbeef, false},
                      {"mov.s32 %r20, -5", "b32 %r20", 0xfffffffb, false},
                      {"mov.b32 %r20, 0F40490FDB", "b32 %r20", 0x40490fdb, false},
                      {"mov.f32 %f20, 0f3f800001", "f32 %f20", 0x3f800001, false},
                      {"mov.f32 %f20, 1.5", "f32 %f20", 0x3fc00000, false},
                      {"mov.f64 %fd20, 0d3FF0000000000001", "f64 %fd20", 0x3ff0000000000001, true},
                      {"mov.f64 %fd20, -0.1", "f64 %fd20", 0xbfb999999999999a, true},
                      {"mov.u64 %rd20, 0xfedcba9876543210", "b64 %rd20", 0xfedcba9876543210, true},
                      {"mov.b64 %rd20, -2", "b64 %rd20", 0xfffffffffffffffe, true},
                      {"mov.u32 %r20, 0b1011", "b32 %r20", 11, false},
                      {"mov.u32 %r20, 0777", "b32 %r20", 511, false},
                      {"mov.u32 %r20, (3 + 4) * 2 - 1 << 1", "b32 %r20", 26, false},
                      {"mov.u32 %r20, 7 > 3 ? 10 : 20", "b32 %r20", 10, false},
                      {"mov.u32 %r20, ~1 & 0xff", "b32 %r20", 254, false},
                      {"mov.u32 %r20, !0 + WARP_SZ", "b32 %r20", 33, false}};
  std::string body;
  std::vector<uint32_t> expected;
  std::vector<std::string> tests;
  for (const Row& row : rows) {
    std::string text = row.text, store = row.store;
    tests.push_back(text.substr(0, text.find(' ')));
    size_t blank = store.find(' ');
    body += text + ";\nst.global." + store.substr(0, blank) + " [%rd2+" +
            number(4 * static_cast<int64_t>(expected.size())) + "], " + store.substr(blank + 1) + ";\n";
    expected.push_back(static_cast<uint32_t>(row.bits));
    expected.push_back(row.wide ? static_cast<uint32_t>(row.bits >> 32) : 0);
  }
  auto count = static_cast<uint32_t>(expected.size());
  emit(sink, words_case({.name = "constants", .tests = tests, .body = body}, {}, count,
                        [=](uint32_t, uint32_t word) -> std::optional<uint32_t> { return expected[word]; }));
}

} // namespace

void move_cases(const Sink& sink) {
  table_cases(sink, {InstructionClass::move});
  for (auto [bits, parts] : {std::pair(16u, 2u), {32u, 2u}, {32u, 4u}, {64u, 2u}, {64u, 4u}})
    pack_case(sink, bits, parts);
  constant_cases(sink);
  // Elements of a variable, with offsets.
  emit(sink,
       words_case({.name = "addresses of variables",
                   .tests = {"mov.u32", "mov.u64"},
                   .body = "mov.u64 %rd20, numbers;\nmov.u64 %rd21, numbers+8;\nsub.u64 %rd22, %rd21, "
                           "%rd20;\nst.global.b64 [%rd2], %rd22;\nld.global.b32 %r20, [numbers+4];\nld.global.b32 "
                           "%r21, [%rd21+-8];\nst.global.b32 [%rd2+8], %r20;\nst.global.b32 [%rd2+12], %r21;\nmov.u32 "
                           "%r22, local+4;\nmov.u32 %r23, local;\nsub.u32 %r22, %r22, %r23;\nst.global.b32 "
                           "[%rd2+16], %r22;\n",
                   .declarations = ".global .align 8 .b32 numbers[4] = {5, 6, 7, 8};\n.shared .b32 local[2];\n"},
                  {}, 6, [](uint32_t, uint32_t word) -> std::optional<uint32_t> {
                    const uint32_t expected[] = {8, 0, 6, 5, 4, 0};
                    return expected[word];
                  }));
  // Memory of the stack is the thread's own, and comes back.
  for (std::string type : {"u64"}) {
    std::vector<std::string> tests{"stacksave." + type, "alloca." + type, "stackrestore." + type};
    emit(sink,
         words_case({.name = "stack by " + type,
                     .tests = tests,
                     .body = tests[0] + " %rd20;\nmov.u64 %rd23, 64;\n" + tests[1] +
                             " %rd21, %rd23, 32;\nst.local.b32 [%rd21], %r0;\nst.local.b32 [%rd21+60], 7;\nand.b64 "
                             "%rd22, %rd21, 31;\nst.global.b64 [%rd2], %rd22;\n" +
                             tests[1] +
                             " %rd24, %rd23;\nst.local.b32 [%rd24], 9;\nld.local.b32 %r20, [%rd21];\nld.local.b32 "
                             "%r21, [%rd21+60];\nst.global.b32 [%rd2+8], %r20;\nst.global.b32 [%rd2+12], %r21;\n" +
                             tests[2] + " %rd20;\n" + tests[0] +
                             " %rd25;\nsetp.eq.u64 %p1, %rd20, %rd25;\nselp.b32 %r22, 1, 0, %p1;\nst.global.b32 "
                             "[%rd2+16], %r22;\n"},
                    {}, 6, [](uint32_t thread, uint32_t word) -> std::optional<uint32_t> {
                      const uint32_t expected[] = {0, 0, thread, 7, 1, 0};
                      return expected[word];
                    }));
  }
}

} // namespace tilejit::conformance
