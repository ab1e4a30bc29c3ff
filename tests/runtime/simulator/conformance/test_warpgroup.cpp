// wgmma against its definition: every shape's fragments, descriptors of every swizzle and both majors, element by
// element. Addresses and fragments are written from the PTX manual: "Matrix Descriptor Format", "Strides", "Register
// Fragments for wgmma.mma_async.m64nNk16" and its neighbours.
#include "tests/runtime/simulator/simulate.h"

#include <catch2/catch.hpp>

#include <cmath>

using namespace tilejit::runtime;
using namespace tilejit::runtime::simulator::test;

namespace {

/// In `check` a name of its own hides it.
const auto element_address = element;

/// Small integers that every type holds exactly, so that sums are exact and the result is one number.
uint32_t encode(const std::string& type, int value) {
  auto bits = bits_to<uint32_t>(static_cast<float>(value));
  if (type == "tf32") return bits;
  if (type == "bf16") return bits >> 16;
  if (type == "s8" || type == "u8") return static_cast<uint8_t>(value);
  int exponent_bits = type == "f16" || type == "e5m2" ? 5 : 4, mantissa_bits = type == "f16"    ? 10
                                                                               : type == "e5m2" ? 2
                                                                                                : 3;
  int width = 1 + exponent_bits + mantissa_bits;
  if (value == 0) return 0;
  int exponent = static_cast<int>(bits >> 23 & 255) - 127 + (1 << (exponent_bits - 1)) - 1;
  return static_cast<uint32_t>((value < 0 ? 1 << (width - 1) : 0) | exponent << mantissa_bits) |
         (bits & 0x7fffff) >> (23 - mantissa_bits);
}

struct Case {
  std::string type_d = "f32", type_a = "bf16", type_b = "bf16";
  int n = 8;
  int swizzle_a = 128, swizzle_b = 128; ///< bytes
  bool a_in_registers = false, transpose_a = false, transpose_b = false, keeps = false;
  int scale_a = 1, scale_b = 1;
  bool saturates = false;
};

int bytes_of(const std::string& type) { return type == "tf32" ? 4 : type == "f16" || type == "bf16" ? 2 : 1; }
bool is_integer(const std::string& type) { return type[0] == 's' || type[0] == 'u'; }

/// Where an element of a matrix lies, from the beginning of the matrix. For K-major: rows of `mn`, contiguous along k.
struct Layout {
  int swizzle, element, rows; ///< rows: of M or N
  bool transposed;
  int width() const { return swizzle ? swizzle : 16; } ///< bytes of a line
  // Offsets for the descriptor. K-major: lines of 8 rows make a group of 8 * width bytes; all of k is in one line, or
  // without a swizzle in a second core matrix after all rows.
  int stride() const {
    if (!transposed) return 8 * width();
    return swizzle ? 8 * width() * (rows * element / width()) : 128; // groups of 8 k: behind all M, or of 8 M
  }
  int leading() const {
    if (!transposed) return swizzle ? 16 : rows * 16;
    return swizzle ? 8 * width() : rows / 8 * 128;
  }
  int offset(int mn, int k) const {
    int at = 0;
    if (!transposed) {
      int byte = k * element;
      at = mn / 8 * stride() + mn % 8 * width() + (swizzle ? byte : byte / 16 * leading() + byte % 16);
    } else {
      int byte = mn * element; // along a line
      at = swizzle ? byte / width() * leading() + byte % width() + k / 8 * stride() + k % 8 * width()
                   : byte / 16 * stride() + k / 8 * leading() + k % 8 * 16 + byte % 16;
    }
    // Chunks of 16 bytes are xored with the line of 128 bytes, modulo the chunks of a line.
    return swizzle ? at ^ at / 128 % (swizzle / 16) * 16 : at;
  }
  uint64_t descriptor_bits() const {
    uint64_t mode = swizzle == 128 ? 1 : swizzle == 64 ? 2 : swizzle == 32 ? 3 : 0;
    return mode << 62 | uint64_t(stride() / 16) << 32 | uint64_t(leading() / 16) << 16;
  }
};

void check(const Case& c) {
  CAPTURE(c.type_d, c.type_a, c.type_b, c.n, c.swizzle_a, c.swizzle_b, c.a_in_registers, c.transpose_a, c.transpose_b,
          c.keeps, c.scale_a, c.scale_b, c.saturates);
  const int element = bytes_of(c.type_a), k_size = 32 / element;
  const bool half = c.type_d == "f16", integer = is_integer(c.type_a);
  Random random;
  auto value = [&](const std::string& type) {
    int x = static_cast<int>(random() % 9) - 4;
    return type == "u8" ? x + 4 + 240 : x;
  };
  std::vector<std::vector<int>> a(64, std::vector<int>(size_t(k_size))),
      b(size_t(c.n), std::vector<int>(size_t(k_size)));
  for (auto& row : a)
    for (int& x : row) x = value(c.type_a);
  for (auto& row : b)
    for (int& x : row) x = value(c.type_b);
  Layout la{c.swizzle_a, element, 64, c.transpose_a}, lb{c.swizzle_b, element, c.n, c.transpose_b};
  std::vector<uint8_t> image_a(16384), image_b(32768);
  auto put = [&](std::vector<uint8_t>& image, int at, const std::string& type, int x) {
    uint32_t bits = encode(type, x);
    std::memcpy(image.data() + at, &bits, size_t(element));
  };
  for (int m = 0; m < 64; ++m)
    for (int k = 0; k < k_size; ++k) put(image_a, la.offset(m, k), c.type_a, a[size_t(m)][size_t(k)]);
  for (int n = 0; n < c.n; ++n)
    for (int k = 0; k < k_size; ++k) put(image_b, lb.offset(n, k), c.type_b, b[size_t(n)][size_t(k)]);
  // Registers of A: thread t, register r: row 16 (t / 32) + t % 32 / 4 + 8 (r % 2), bytes 4 (t % 4) + 16 (r / 2) of k.
  std::vector<uint32_t> registers(128 * 4);
  for (int t = 0; t < 128; ++t)
    for (int r = 0; r < 4; ++r)
      for (int byte = 0; byte < 4; byte += element) {
        int row = 16 * (t / 32) + t % 32 / 4 + 8 * (r % 2), k = (4 * (t % 4) + 16 * (r / 2) + byte) / element;
        registers[size_t(4 * t + r)] |= encode(c.type_a, a[size_t(row)][size_t(k)]) << (8 * byte);
      }

  const int count = half ? c.n / 4 : c.n / 2;
  std::string list;
  for (int i = 0; i < count; ++i) list += (i ? ", %d" : "{%d") + std::to_string(i);
  list += "}";
  std::string wgmma = "wgmma.mma_async.sync.aligned.m64n" + std::to_string(c.n) + "k" + std::to_string(k_size) +
                      (c.saturates ? ".satfinite." : ".") + c.type_d + "." + c.type_a + "." + c.type_b + " " + list +
                      ", " + (c.a_in_registers ? "{%r40, %r41, %r42, %r43}" : "%rd10") + ", %rd11, %p5";
  if (!integer) wgmma += ", " + std::to_string(c.scale_a) + ", " + std::to_string(c.scale_b);
  if (element == 2)
    wgmma += (c.a_in_registers ? std::string() : c.transpose_a ? ", 1" : ", 0") + (c.transpose_b ? ", 1" : ", 0");
  std::string body = ".reg .b32 %d<" + std::to_string(count) + ">;\n" + thread_index;
  body += R"(mov.u32 %r5, 0; ld.param.u64 %rd1, [p1]; ld.param.u64 %rd2, [p2]; mad.wide.u32 %rd1, %r0, 4, %rd1;
    mad.wide.u32 %rd2, %r0, 4, %rd2; mov.u32 %r3, matrix_a; mad.lo.u32 %r3, %r0, 4, %r3; mov.u32 %r4, matrix_b;
    mad.lo.u32 %r4, %r0, 4, %r4;
    A: ld.global.u32 %r6, [%rd1]; st.shared.u32 [%r3], %r6; add.u64 %rd1, %rd1, 512; add.u32 %r3, %r3, 512;
    add.u32 %r5, %r5, 512; setp.lt.u32 %p1, %r5, 16384; @%p1 bra A; mov.u32 %r5, 0;
    B: ld.global.u32 %r6, [%rd2]; st.shared.u32 [%r4], %r6; add.u64 %rd2, %rd2, 512; add.u32 %r4, %r4, 512;
    add.u32 %r5, %r5, 512; setp.lt.u32 %p1, %r5, 32768; @%p1 bra B;
    fence.proxy.async.shared::cta; bar.sync 0;
    mov.u32 %r3, matrix_a; shr.u32 %r3, %r3, 4; cvt.u64.u32 %rd10, %r3; mov.u32 %r4, matrix_b; shr.u32 %r4, %r4, 4;
    cvt.u64.u32 %rd11, %r4;)";
  body += "or.b64 %rd10, %rd10, " + std::to_string(static_cast<int64_t>(la.descriptor_bits())) +
          "; or.b64 %rd11, %rd11, " + std::to_string(static_cast<int64_t>(lb.descriptor_bits())) + ";\n";
  body += element_address("%rd20", 3, "%r0", 16) + "ld.global.v4.b32 {%r40, %r41, %r42, %r43}, [%rd20];\n";
  // D begins as 3 in the type of D.
  const uint32_t begin = half ? 0x42004200u : integer ? 3u : bits_to<uint32_t>(3.0f);
  for (int i = 0; i < count; ++i) body += "mov.b32 %d" + std::to_string(i) + ", " + std::to_string(begin) + ";";
  body += std::string("setp.eq.u32 %p5, 1, ") + (c.keeps ? "1" : "0") + ";\nwgmma.fence.sync.aligned;\n" + wgmma +
          ";\nwgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;\n" +
          element_address("%rd21", 0, "%r0", 4 * count);
  for (int i = 0; i < count; ++i)
    body += "st.global.b32 [%rd21+" + std::to_string(4 * i) + "], %d" + std::to_string(i) + ";";

  Simulator sim;
  auto out = sim.upload(std::vector<uint32_t>(size_t(128 * count))), in_a = sim.upload(image_a),
       in_b = sim.upload(image_b), in_registers = sim.upload(registers);
  sim.run(kernel_text({"u64", "u64", "u64", "u64"}, body, "sm_90a",
                      ".shared .align 1024 .b8 matrix_a[16384]; .shared .align 1024 .b8 matrix_b[32768];"),
          1, 128, {out->address(), in_a->address(), in_b->address(), in_registers->address()});
  auto got = sim.download<uint32_t>(*out);
  for (int t = 0; t < 128; ++t)
    for (int j = 0; j < c.n / 8; ++j)
      for (int i = 0; i < 4; ++i) {
        int row = 16 * (t / 32) + t % 32 / 4 + 8 * (i / 2), column = 8 * j + 2 * (t % 4) + i % 2;
        int64_t sum = 0;
        for (int k = 0; k < k_size; ++k) sum += a[size_t(row)][size_t(k)] * b[size_t(column)][size_t(k)];
        sum = sum * c.scale_a * c.scale_b + (c.keeps ? 3 : 0);
        uint32_t word = got[size_t(t * count + (half ? 2 * j + i / 2 : 4 * j + i))];
        CAPTURE(row, column);
        if (integer)
          REQUIRE(static_cast<int32_t>(word) == sum);
        else if (half)
          REQUIRE((word >> (16 * (i % 2)) & 0xffff) == encode("f16", static_cast<int>(sum)));
        else
          REQUIRE(static_cast<double>(bits_to<float>(word)) == static_cast<double>(sum));
      }
}

} // namespace

TEST_CASE("wgmma: every type, from shared memory and from registers") {
  for (const char* type : {"bf16", "f16", "tf32", "e4m3", "e5m2"})
    for (bool registers : {false, true}) check({"f32", type, type, 24, 128, 128, registers});
  for (bool registers : {false, true}) {
    check({"f16", "f16", "f16", 40, 128, 64, registers, false, false, true});
    check({"f16", "e4m3", "e5m2", 16, 64, 128, registers});
    check({"f32", "e5m2", "e4m3", 16, 64, 128, registers, false, false, true, -1, 1});
    for (const char* a : {"s8", "u8"})
      for (const char* b : {"s8", "u8"}) check({"s32", a, b, 32, 128, 32, registers, false, false, true});
  }
}

TEST_CASE("wgmma: every width") {
  for (int n = 8; n <= 256; n += 8) check({"f32", "bf16", "bf16", n});
}

TEST_CASE("wgmma: every swizzle, both majors") {
  for (int swizzle : {0, 32, 64, 128})
    for (const char* type : {"bf16", "tf32", "e4m3"}) check({"f32", type, type, 64, swizzle, swizzle});
  for (int swizzle : {0, 32, 64, 128})
    for (bool a : {false, true})
      for (bool b : {false, true}) check({"f32", "f16", "f16", 128, swizzle, swizzle, false, a, b});
  for (int swizzle : {0, 32, 64, 128}) check({"f32", "bf16", "bf16", 64, 128, swizzle, true, false, true});
}

TEST_CASE("wgmma: negated operands, D added to or not") {
  for (int a : {1, -1})
    for (int b : {1, -1})
      for (bool keeps : {false, true}) check({"f32", "bf16", "bf16", 16, 128, 128, a < 0, false, false, keeps, a, b});
}
