// Memory: widths and vectors in every space, faults and what they say, atomics.
#include "tests/runtime/simulator/simulate.h"

#include <catch2/catch.hpp>

#include <algorithm>

using namespace tilejit::runtime;
using namespace tilejit::runtime::simulator::test;

namespace {

std::vector<uint8_t> random_bytes(size_t count) {
  Random random;
  std::vector<uint8_t> bytes(count);
  for (uint8_t& b : bytes) b = static_cast<uint8_t>(random());
  return bytes;
}

/// Copies n elements of `type` for each thread from p0 to p1 through registers, by way of a shared or local variable.
std::string copy_text(const std::string& type, int bytes, int n, const std::string& through,
                      const std::string& permute) {
  std::string reg = bytes == 8 ? "%rd" : bytes == 4 ? "%r" : "%h";
  std::string list, vector;
  for (int i = 0; i < n; ++i) list += (i ? ", " : "") + reg + std::to_string(30 + i);
  if (n > 1) list = "{" + list + "}", vector = ".v" + std::to_string(n);
  std::string step = std::to_string(bytes * n);
  std::string text = thread_index + "xor.b32 %r3, %r0, " + permute + ";\n" + element("%rd1", 0, "%r3", bytes * n) +
                     element("%rd2", 1, "%r3", bytes * n) + "ld.global" + vector + "." + type + " " + list +
                     ", [%rd1];\n";
  if (through == "shared")
    text += "mov.u32 %r4, buffer; xor.b32 %r5, %r2, " + permute + "; mad.lo.u32 %r4, %r5, " + step + ", %r4;\n" +
            "st.shared" + vector + "." + type + " [%r4], " + list + ";\nld.shared" + vector + "." + type + " " + list +
            ", [%r4];\n";
  if (through == "local")
    text += "st.local" + vector + "." + type + " [mine+64], " + list + ";\nld.local" + vector + "." + type + " " +
            list + ", [mine+64];\n";
  if (through == "generic")
    text += "mov.u64 %rd3, buffer; cvta.shared.u64 %rd3, %rd3; mad.wide.u32 %rd3, %r2, " + step + ", %rd3;\n" + "st" +
            vector + "." + type + " [%rd3], " + list + ";\nld" + vector + "." + type + " " + list + ", [%rd3];\n";
  return kernel_text({"u64", "u64"},
                     ".local .align 16 .b8 mine[96];\n" + text + "st.global" + vector + "." + type + " [%rd2], " +
                         list + ";",
                     "sm_90a", ".shared .align 16 .b8 buffer[2048];");
}

} // namespace

TEST_CASE("every width and vector goes through every space unchanged") {
  Simulator sim;
  struct Width {
    const char* type;
    int bytes, most;
  } widths[] = {{"b8", 1, 4}, {"u8", 1, 4}, {"b16", 2, 4}, {"b32", 4, 4}, {"f32", 4, 4}, {"b64", 8, 2}, {"f64", 8, 2}};
  for (const Width& w : widths)
    for (int n = 1; n <= w.most; n *= 2)
      for (std::string through : {"registers", "shared", "local", "generic"})
        for (std::string permute : {"0", "5"}) {
          if (std::string(w.type) == "f32" || std::string(w.type) == "f64") continue; // their registers are other files
          auto bytes = random_bytes(size_t{2} * 128 * static_cast<size_t>(w.bytes * n));
          auto from = sim.upload(bytes), to = sim.upload(std::vector<uint8_t>(bytes.size()));
          INFO(w.type << " v" << n << " through " << through << " permuted by " << permute);
          sim.run(copy_text(w.type, w.bytes, n, through, permute), 2, 128, {from->address(), to->address()});
          REQUIRE(sim.download<uint8_t>(*to) == bytes);
        }
}

TEST_CASE("narrow loads extend as their type says, to the width of the register") {
  Simulator sim;
  std::vector<uint8_t> bytes = random_bytes(128);
  auto from = sim.upload(bytes);
  auto load = [&](const std::string& code) {
    auto out = sim.upload(std::vector<uint64_t>(32));
    sim.run(kernel_text({"u64", "u64"}, thread_index + element("%rd1", 0, "%r0", 2) + element("%rd2", 1, "%r0", 8) +
                                            code + "st.global.b64 [%rd2], %rd9;"),
            1, 32, {from->address(), out->address()});
    return sim.download<uint64_t>(*out);
  };
  auto s8 = load("ld.global.s8 %r9, [%rd1+1]; cvt.u64.u32 %rd9, %r9;");
  auto u8 = load("ld.global.u8 %h9, [%rd1+1]; cvt.u64.u16 %rd9, %h9;");
  auto s8_16 = load("ld.global.s8 %h9, [%rd1+1]; cvt.u64.u16 %rd9, %h9;");
  auto s16 = load("ld.global.s16 %rd9, [%rd1];");
  auto u16 = load("ld.global.u16 %r9, [%rd1]; cvt.u64.u32 %rd9, %r9;");
  auto s8_64 = load("ld.global.s8 %rd9, [%rd1+1];");
  for (size_t i = 0; i < 32; ++i) {
    auto byte = static_cast<int8_t>(bytes[2 * i + 1]);
    auto half = static_cast<int16_t>(bytes[2 * i] | bytes[2 * i + 1] << 8);
    REQUIRE(s8[i] == static_cast<uint32_t>(byte));
    REQUIRE(u8[i] == static_cast<uint8_t>(byte));
    REQUIRE(s8_16[i] == static_cast<uint16_t>(byte));
    REQUIRE(s16[i] == static_cast<uint64_t>(int64_t{half}));
    REQUIRE(u16[i] == static_cast<uint16_t>(half));
    REQUIRE(s8_64[i] == static_cast<uint64_t>(int64_t{byte}));
  }
}

TEST_CASE("stores of wide registers keep the low bytes") {
  Simulator sim;
  auto out = sim.upload(std::vector<uint32_t>(64, 0x55555555));
  sim.run(kernel_text({"u64"}, thread_index + element("%rd1", 0, "%r0", 8) +
                                   "add.u32 %r3, %r0, 0x12345600; st.global.b8 [%rd1+1], %r3; " +
                                   "st.global.b16 [%rd1+4], %r3;"),
          1, 32, {out->address()});
  auto got = sim.download<uint32_t>(*out);
  for (uint32_t i = 0; i < 32; ++i) {
    REQUIRE(got[2 * i] == (0x55550055 | i << 8));
    REQUIRE(got[2 * i + 1] == (0x55555600 | i));
  }
}

TEST_CASE("parameters by value, constants, module variables, an array of each thread") {
  Simulator sim;
  auto out = sim.upload(std::vector<uint32_t>(64));
  std::string declarations = ".const .align 4 .b32 table[4] = {10, 20, 30, 40};\n.global .align 4 .u32 total = 7;\n"
                             ".global .align 8 .u64 pointer = generic(total);";
  sim.run(kernel_text({"u64", "u32", "f32", "f64"}, thread_index + element("%rd1", 0, "%r0", 4) + R"(
    .local .align 4 .b8 mine[64];
    // mine[i] = i * tid, then sum the entries that tid selects
    mov.u32 %r10, 0;
    mov.u64 %rd2, mine; cvta.local.u64 %rd3, %rd2;
  FILL:
    mul.lo.u32 %r11, %r10, %r0; mad.wide.u32 %rd4, %r10, 4, %rd3; st.b32 [%rd4], %r11;
    add.u32 %r10, %r10, 1; setp.lt.u32 %p1, %r10, 16; @%p1 bra FILL;
    and.b32 %r12, %r0, 15; mad.wide.u32 %rd4, %r12, 4, %rd2; ld.local.u32 %r13, [%rd4];
    and.b32 %r14, %r0, 3; mov.u64 %rd5, table; mad.wide.u32 %rd5, %r14, 4, %rd5; ld.const.u32 %r15, [%rd5];
    ld.global.u64 %rd6, [pointer]; ld.u32 %r16, [%rd6];
    ld.param.u32 %r17, [p1]; ld.param.f32 %f1, [p2]; cvt.rzi.u32.f32 %r18, %f1; ld.param.f64 %fd1, [p3]; cvt.rzi.u32.f64 %r19, %fd1;
    add.u32 %r13, %r13, %r15; add.u32 %r13, %r13, %r16; add.u32 %r13, %r13, %r17; add.u32 %r13, %r13, %r18; add.u32 %r13, %r13, %r19;
    st.global.b32 [%rd1], %r13;)",
                      "sm_90a", declarations),
          2, 32, {out->address(), uint32_t{1000}, 20000.5f, 300000.25});
  auto got = sim.download<uint32_t>(*out);
  for (uint32_t i = 0; i < 64; ++i) REQUIRE(got[i] == (i % 16) * i + 10 * (i % 4 + 1) + 7 + 1000 + 20000 + 300000);
}

TEST_CASE("a wrong address is reported with everything that is known about it") {
  Simulator sim;
  auto buffer = sim.upload(std::vector<uint32_t>(100));
  std::string located = R"(
    .loc 1 71 5
    st.global.b32 [%rd1], %r0;)";
  std::string ptx =
      kernel_text({"u64"}, thread_index + element("%rd1", 0, "%r0", 4) + located) + ".file 1 \"attention.cpp\"\n";
  std::string text = sim.error_of(ptx, 2, 64, {buffer->address()});
  CHECK_THAT(text, Catch::Contains("out-of-bounds") || Catch::Contains("out of bounds"));
  CHECK_THAT(text, Catch::Contains("'k'") || Catch::Contains("kernel k"));
  CHECK_THAT(text, Catch::Contains("line 16"));
  CHECK_THAT(text, Catch::Contains("attention.cpp:71"));
  CHECK_THAT(text, Catch::Contains("(1, 0, 0)"));  // block
  CHECK_THAT(text, Catch::Contains("(36, 0, 0)")); // thread 100 - 64
  CHECK_THAT(text, Catch::Contains("400"));        // the allocation's size
  // Nothing is left of it: the device works on.
  CHECK(sim.words("mov.u32 %r9, 5;", 1, 32)[7] == 5);
}

TEST_CASE("accesses outside of every space, before, behind, misaligned, wrapping") {
  Simulator sim;
  auto buffer = sim.upload(std::vector<uint32_t>(64));
  auto error = [&](const std::string& code, uint32_t shared = 0) {
    return sim.error_of(
        kernel_text(
            {"u64"},
            "ld.param.u64 %rd1, [p0]; mov.u64 %rd2, buffer; mov.u32 %r1, buffer;\n.local .align 16 .b8 mine[32];\n" +
                code,
            "sm_90a", ".shared .align 16 .b8 buffer[64];"),
        1, 32, {buffer->address()}, shared);
  };
  const std::string outside[] = {
      "ld.global.b32 %r2, [%rd1+256];",
      "ld.global.b32 %r2, [%rd1+-4];",
      "ld.global.v4.b32 {%r2,%r3,%r4,%r5}, [%rd1+256];",
      "st.global.b64 [%rd1+256], %rd1;",
      "ld.global.b32 %r2, [0];",
      "mov.u64 %rd3, -4; ld.global.b32 %r2, [%rd3];",
      "mov.u64 %rd3, 0x8000000000000000; st.global.b32 [%rd3], 1;",
      "ld.shared.b32 %r2, [%r1+64];",
      "ld.shared.b32 %r2, [%rd2+64];",
      "st.shared.b64 [%r1+64], %rd1;",
      "ld.shared.b32 %r2, [%r1+-4];",
      "mov.u32 %r3, 0xfffffffc; ld.shared.b32 %r2, [%r3];",
      "ld.local.b32 %r2, [mine+32];",
      "st.local.b32 [mine+-4], %r1;",
      "cvta.shared.u64 %rd3, %rd2; ld.b32 %r2, [%rd3+64];",
      "mov.u64 %rd3, mine; cvta.local.u64 %rd3, %rd3; ld.b32 %r2, [%rd3+32];",
      "ld.b32 %r2, [%rd1+1024];",
      "atom.global.add.u32 %r2, [%rd1+256], 1;",
      "red.shared.add.u32 [%r1+64], 1;",
      "cp.async.ca.shared.global [%r1], [%rd1+256], 4;",
      "cp.async.ca.shared.global [%r1+64], [%rd1], 4;",
      "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r2}, [%r1+64];",
      "mov.u32 %r3, 256; cp.async.ca.shared.global [%r1], [%rd1+252], 8;",
  };
  for (const std::string& code : outside) {
    INFO(code);
    std::string text = error(code);
    CHECK_THAT(text,
               Catch::Contains("out-of-bounds") || Catch::Contains("out of bounds") || Catch::Contains("misaligned"));
    CHECK_THAT(text, Catch::Contains("line"));
  }
  const std::string misaligned[] = {
      "ld.global.b32 %r2, [%rd1+2];",
      "ld.global.v2.b32 {%r2,%r3}, [%rd1+4];",
      "st.shared.v4.b32 [%r1+8], {%r2,%r3,%r4,%r5};",
      "ld.shared.b16 %h1, [%r1+1];",
      "ld.local.b64 %rd3, [mine+4];",
      "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r2}, [%r1+8];",
      "atom.global.add.u64 %rd3, [%rd1+4], 1;",
      "cp.async.cg.shared.global [%r1+8], [%rd1], 16;",
      "cp.async.ca.shared.global [%r1], [%rd1+4], 8;",
  };
  for (const std::string& code : misaligned) {
    INFO(code);
    CHECK_THAT(error(code), Catch::Contains("misaligned"));
  }
  // Dynamic shared memory ends where the launch says; a guard that is false is no access.
  std::string dynamic = "mov.u32 %r1, open; ld.shared.b32 %r2, [%r1+";
  auto with_open = [&](const std::string& at) {
    return sim.error_of(kernel_text({}, dynamic + at + "];", "sm_90a", ".extern .shared .align 16 .b8 open[];"), 1, 32,
                        {}, 128);
  };
  CHECK(with_open("124") == "");
  CHECK(with_open("128") != "");
  CHECK(error("setp.ne.u64 %p1, %rd1, %rd1; @%p1 ld.global.b32 %r2, [0];") == "");
}

TEST_CASE("memory that was freed is gone, and memory of another allocation is not near enough") {
  Simulator sim;
  auto a = sim.upload(std::vector<uint32_t>(64));
  uint64_t address = a->address();
  std::string read = kernel_text({"u64"}, "ld.param.u64 %rd1, [p0]; ld.global.b32 %r1, [%rd1];");
  CHECK(sim.error_of(read, 1, 32, {address}) == "");
  a.reset();
  CHECK(sim.error_of(read, 1, 32, {address}) != "");
  auto b = sim.upload(std::vector<uint32_t>(64)), c = sim.upload(std::vector<uint32_t>(64));
  CHECK(b->address() % 256 == 0);
  CHECK(c->address() % 256 == 0);
  uint64_t end = std::min(b->address(), c->address()) + 256;
  CHECK(sim.error_of(read, 1, 32, {end}) != "");
}

TEST_CASE("of many wrong blocks the first one is reported, on any number of threads") {
  Simulator sim;
  auto buffer = sim.upload(std::vector<uint32_t>(64 * 3 + 10));
  std::string ptx = kernel_text({"u64"}, thread_index + element("%rd1", 0, "%r0", 4) + "ld.global.b32 %r3, [%rd1];");
  std::string first = sim.error_of(ptx, 500, 64, {buffer->address()});
  CHECK_THAT(first, Catch::Contains("(3, 0, 0)"));
  CHECK_THAT(first, Catch::Contains("(10, 0, 0)"));
  for (int i = 0; i < 20; ++i) REQUIRE(sim.error_of(ptx, 500, 64, {buffer->address()}) == first);
}

TEST_CASE("memory that nobody wrote does not look like zeros") {
  Simulator sim;
  auto fresh = sim.device->allocate(4096);
  for (uint32_t word : sim.download<uint32_t>(*fresh)) {
    float value = bits_to<float>(word);
    REQUIRE(value != value);
  }
  auto shared =
      sim.words("mov.u32 %r3, buffer; mad.lo.u32 %r3, %r2, 4, %r3; ld.shared.b32 %r9, [%r3]; st.shared.b32 [%r3], 0;",
                4, 64, 0, ".shared .align 4 .b8 buffer[256];");
  for (uint32_t word : shared) { // in every block anew
    float value = bits_to<float>(word);
    REQUIRE(value != value);
  }
}

TEST_CASE("atomics of one warp take effect lane by lane; sums over blocks are complete") {
  Simulator sim;
  struct Case {
    const char *op, *type;
    uint32_t start, operand, want;
    const char* reg = "%r3";
  } cases[] = {
      {"add", "u32", 5, 1, 5 + 256},
      {"min", "s32", 3, 0xfffffff0, 0xfffffff0},
      {"max", "u32", 3, 0xfffffff0, 0xfffffff0},
      {"and", "b32", 0xff, 0x3c, 0x3c},
      {"or", "b32", 0x100, 0x3c, 0x13c},
      {"xor", "b32", 0x77, 0x3c, 0x77},
      {"inc", "u32", 0, 9, 256 % 10},
      {"dec", "u32", 0, 9, (10 - 256 % 10) % 10},
      {"exch", "b32", 1, 99, 99},
      {"add", "f32", 0x3f800000, 0x3f000000, 0x43010000, "%f3"},
  };
  for (const Case& c : cases)
    for (bool result : {true, false}) {
      if (!result && std::string(c.op) == "exch") continue;
      std::string op = result ? std::string("atom.global.") + c.op + "." + c.type +
                                    (c.reg[1] == 'f' ? " %f4" : " %r4") + ", [%rd1], " + c.reg + ";"
                              : std::string("red.global.") + c.op + "." + c.type + " [%rd1], " + c.reg + ";";
      auto cell = sim.upload(std::vector<uint32_t>{c.start});
      sim.run(kernel_text({"u64", "u32"}, "ld.param.u64 %rd1, [p0]; ld.param.u32 %r3, [p1]; mov.b32 %f3, %r3;\n" + op),
              4, 64, {cell->address(), c.operand});
      INFO(op);
      CHECK(sim.download<uint32_t>(*cell)[0] == c.want);
    }
  // Results: every lane gets its own ticket, in order within the warp.
  auto tickets = sim.words("mov.u32 %r3, cell; st.shared.b32 [%r3], 0; bar.sync 0; atom.shared.add.u32 %r9, [%r3], 2;",
                           1, 96, 0, ".shared .align 4 .b8 cell[4];");
  std::vector<uint32_t> sorted = tickets;
  std::sort(sorted.begin(), sorted.end());
  for (uint32_t i = 0; i < 96; ++i) REQUIRE(sorted[i] == 2 * i);
  for (uint32_t i = 1; i < 32; ++i) REQUIRE(tickets[i] == tickets[i - 1] + 2);
  // Compare and swap, 64 bits, as a lock-free maximum.
  auto cell = sim.upload(std::vector<uint64_t>{0});
  sim.run(kernel_text({"u64"}, thread_index + R"(
    ld.param.u64 %rd1, [p0]; cvt.u64.u32 %rd2, %r0; mul.lo.u64 %rd2, %rd2, 0x100000001; ld.global.u64 %rd3, [%rd1];
  AGAIN:
    setp.ge.u64 %p1, %rd3, %rd2; @%p1 bra DONE;
    mov.u64 %rd4, %rd3; atom.global.cas.b64 %rd3, [%rd1], %rd4, %rd2; setp.ne.u64 %p2, %rd3, %rd4; @%p2 bra AGAIN;
  DONE:)"),
          8, 64, {cell->address()});
  CHECK(sim.download<uint64_t>(*cell)[0] == 511 * uint64_t{0x100000001});
}

TEST_CASE("sums of floats over blocks do not depend on who comes first") {
  Simulator sim;
  std::string ptx = kernel_text(
      {"u64"}, thread_index +
                   "ld.param.u64 %rd1, [p0]; add.u32 %r3, %r0, 1; cvt.rn.f32.u32 %f1, %r3; rcp.rn.f32 %f1, %f1; "
                   "red.global.add.f32 [%rd1], %f1;");
  uint32_t first = 0;
  for (int i = 0; i < 10; ++i) {
    auto cell = sim.upload(std::vector<uint32_t>{0});
    sim.run(ptx, 64, 64, {cell->address()});
    uint32_t got = sim.download<uint32_t>(*cell)[0];
    if (i == 0) first = got;
    REQUIRE(got == first);
  }
  CHECK(bits_to<float>(first) == Approx(8.89).epsilon(0.01));
}

TEST_CASE("a launch that can't be is refused with the reason") {
  Simulator sim;
  std::string two = kernel_text({"u64", "u32"}, "");
  CHECK_THAT(sim.error_of(two, 1, 32, {uint64_t{1}}), Catch::Contains("parameter"));
  CHECK(sim.error_of(two, 1, 32, {uint64_t{1}, uint64_t{2}}) != ""); // 8 bytes for a .u32
  CHECK(sim.error_of(two, 1, 32, {uint64_t{1}, uint32_t{2}}) == "");
  CHECK(sim.error_of(two, 0, 32, {uint64_t{1}, uint32_t{2}}) != "");
  CHECK(sim.error_of(two, 1, 1025, {uint64_t{1}, uint32_t{2}}) != "");
  CHECK_THAT(sim.error_of(two, 1, 32, {uint64_t{1}, uint32_t{2}}, 228 * 1024), Catch::Contains("shared memory"));
  CHECK(sim.error_of(two, 1, 32, {uint64_t{1}, uint32_t{2}}, 227 * 1024) == "");
  const auto directed = [](const std::string& directive) {
    return ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k() " + directive + " { ret; }";
  };
  CHECK_THAT(sim.error_of(directed(".reqntid 64"), 1, 32, {}), Catch::Contains("blocks of (64, 1, 1)"));
  CHECK(sim.error_of(directed(".reqntid 64"), 1, 64, {}) == "");
  CHECK_THAT(sim.error_of(directed(".maxntid 32, 2"), 1, 65, {}), Catch::Contains("at most 64 threads a block"));
  CHECK(sim.error_of(directed(".maxntid 32, 2"), 1, 64, {}) == "");
  Simulator ampere("sm_80");
  CHECK_THAT(ampere.error_of(kernel_text({}, "", "sm_80"), 1, 32, {}, 164 * 1024), Catch::Contains("shared memory"));
  CHECK_THAT(ampere.error_of(kernel_text({}, "", "sm_90a"), 1, 32, {}), Catch::Contains("sm_90a"));
  CHECK(sim.error_of(kernel_text({}, "", "sm_80"), 1, 32, {}) == "");
  CHECK_THAT(sim.error_of(".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry other() { ret; }", 1, 32, {}),
             Catch::Contains("'k'"));
  CHECK_THAT(sim.error_of(kernel_text({}, "mul.lo.u32 %r1, %r2, %nowhere;"), 1, 32, {}), Catch::Contains("line 8"));
}
