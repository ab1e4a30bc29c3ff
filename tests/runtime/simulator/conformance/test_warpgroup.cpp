// wgmma against its definition: every shape's fragments, descriptors of every swizzle and both majors, element by
// element. Addresses and fragments are written from the PTX manual: "Matrix Descriptor Format", "Canonical Layouts",
// "Register Fragments for wgmma.mma_async.m64nNk16" and its neighbours.
#include "tests/runtime/simulator/simulate.h"

#include <catch2/catch.hpp>

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

/// A canonical layout with strides of its own, somewhere in a part of shared memory. The manual's table, in units of
/// elements, T of which are 16 bytes, w = swizzle / 16 (1 without):
///   MN-major  none       ((T,1,m),(8,k)) : ((1,T,SBO),(T,LBO))
///             swizzled   ((T,w,m),(8,k)) : ((1,T,LBO),(wT,SBO))
///   K-major   none       ((8,m),(T,2k))  : ((T,SBO),(1,LBO))
///             swizzled   ((8,m),(T,2k))  : ((wT,SBO),(1,T))
/// and on the bytes Swizzle<log2 w, 4, 3>: bits 4 and up are xored with bits 7 and up, counted from where the pattern
/// begins.
struct Layout {
  int swizzle, element, rows; ///< bytes; rows: of M or N
  bool mn_major;
  int leading = 16, stride = 0, begin = 0, first_k = 0; ///< bytes; first_k: elements

  Layout(int swizzle, int element, int rows, bool mn_major, Random& random)
      : swizzle(swizzle), element(element), rows(rows), mn_major(mn_major) {
    // Either stride may be the inner one. Gaps of whole lines, or of whole patterns, which is what programs have.
    int gap = random() % 4 == 0 ? 16 : random() % 2 ? 128 : 8 * line();
    auto below = [&](uint32_t n) { return static_cast<int>(random() % n); };
    int groups = mn_major ? (rows * element + line() - 1) / line() : rows / 8, inner = 8 * line() + gap * below(3);
    bool groups_inside = random() % 2;
    int outer = inner * (groups_inside ? groups : 2) + gap * below(3);
    int of_groups = groups_inside ? inner : outer, of_k = groups_inside ? outer : inner;
    if (!mn_major && swizzle)
      stride = inner, first_k = below(static_cast<uint32_t>(swizzle / 32)) * 32 / element;
    else if (mn_major && swizzle)
      leading = of_groups, stride = of_k;
    else
      stride = of_groups, leading = of_k;
    begin = swizzle ? 128 * below(9) : 16 * below(9);
  }
  int line() const { return swizzle ? swizzle : 16; }

  int plain(int mn, int k) const {
    const int T = 16 / element, w = line() / 16, LBO = leading / element, SBO = stride / element;
    if (mn_major) {
      int at = mn % T + mn / T % w * T + k % 8 * w * T;
      return (at + mn / (T * w) * (swizzle ? LBO : SBO) + k / 8 * (swizzle ? SBO : LBO)) * element;
    }
    return (mn % 8 * w * T + mn / 8 * SBO + k % T + k / T * (swizzle ? T : LBO)) * element;
  }
  int offset(int mn, int k) const {
    int at = plain(mn, first_k + k);
    return begin + (at ^ ((at >> 7) % (line() / 16)) << 4);
  }
  int start() const { return begin + plain(0, first_k); }
  uint64_t descriptor_bits() const {
    uint64_t mode = swizzle == 128 ? 1 : swizzle == 64 ? 2 : swizzle == 32 ? 3 : 0;
    uint64_t base = swizzle && begin % (8 * swizzle) ? begin >> 7 & 7 : 0;
    return mode << 62 | base << 49 | uint64_t(stride / 16) << 32 | uint64_t(leading / 16) << 16;
  }
};
constexpr int size_of_a = 32768, size_of_b = 131072;

void check(const Case& c) {
  CAPTURE(c.type_d, c.type_a, c.type_b, c.n, c.swizzle_a, c.swizzle_b, c.a_in_registers, c.transpose_a, c.transpose_b,
          c.keeps, c.scale_a, c.scale_b, c.saturates);
  const int element = bytes_of(c.type_a), k_size = 32 / element;
  const bool half = c.type_d == "f16", integer = is_integer(c.type_a);
  static Random random;
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
  Layout la(c.swizzle_a, element, 64, c.transpose_a, random), lb(c.swizzle_b, element, c.n, c.transpose_b, random);
  CAPTURE(la.leading, la.stride, la.begin, la.first_k, lb.leading, lb.stride, lb.begin, lb.first_k);
  std::vector<uint8_t> image_a(size_of_a, 0xff), image_b(size_of_b, 0xff);
  auto put = [&](std::vector<uint8_t>& image, int at, const std::string& type, int x) {
    uint32_t bits = encode(type, x);
    REQUIRE(size_t(at + element) <= image.size());
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
  auto copy = [&](const char* name, int parameter, int first, int size) { // by 128 threads
    return "mov.u32 %r5, 0; ld.param.u64 %rd1, [p" + std::to_string(parameter) +
           "]; mad.wide.u32 %rd1, %r0, 4, %rd1; mov.u32 %r3, matrices; mad.lo.u32 %r3, %r0, 4, %r3; add.u32 %r3, "
           "%r3, " +
           std::to_string(first) + ";\n" + name + ": ld.global.u32 %r6, [%rd1]; st.shared.u32 [%r3], %r6;" +
           "add.u64 %rd1, %rd1, 512; add.u32 %r3, %r3, 512; add.u32 %r5, %r5, 512; setp.lt.u32 %p1, %r5, " +
           std::to_string(size) + "; @%p1 bra " + name + ";\n";
  };
  auto descriptor = [&](const char* to, int at, const Layout& l) {
    return "mov.u32 %r3, matrices; add.u32 %r3, %r3, " + std::to_string(at + l.start()) +
           "; shr.u32 %r3, %r3, 4; cvt.u64.u32 " + to + ", %r3; or.b64 " + to + ", " + to + ", " +
           std::to_string(static_cast<int64_t>(l.descriptor_bits())) + ";\n";
  };
  body += copy("A", 1, 0, size_of_a) + copy("B", 2, size_of_a, size_of_b) +
          "fence.proxy.async.shared::cta; bar.sync 0;\n" + descriptor("%rd10", 0, la) +
          descriptor("%rd11", size_of_a, lb);
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
  sim.run(kernel_text({"u64", "u64", "u64", "u64"}, body, "sm_90a", ".extern .shared .align 1024 .b8 matrices[];"), 1,
          128, {out->address(), in_a->address(), in_b->address(), in_registers->address()}, size_of_a + size_of_b);
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

TEST_CASE("wgmma: every swizzle, both majors, any strides") {
  for (int round = 0; round < 6; ++round)
    for (int a : {0, 32, 64, 128})
      for (int b : {0, 32, 64, 128}) {
        int n = 8 * (1 + (round * 7 + a / 32 + b / 16) % 16); // a line of 128 bytes may reach beyond the matrix
        for (const char* type : {"tf32", "e4m3", "e5m2"}) check({"f32", type, type, n, a, b});
        for (const char* type : {"s8", "u8"}) check({"s32", type, type, n, a, b});
        for (const char* type : {"bf16", "f16"})
          for (bool a_major : {false, true})
            for (bool b_major : {false, true}) check({"f32", type, type, n, a, b, false, a_major, b_major});
        check({"f32", "bf16", "bf16", n, a, b, true, false, round % 2 == 0});
      }
}

TEST_CASE("wgmma: f16 accumulators of every width, negated, from shared memory and registers") {
  for (int n = 8; n <= 256; n += 8)
    for (bool keeps : {false, true}) {
      check({"f16", "f16", "f16", n, 128, 128, n % 16 == 0, false, false, keeps, n % 24 == 0 ? -1 : 1, keeps ? -1 : 1});
      check({"f16", "e4m3", "e5m2", n, 64, 32, n % 16 != 0, false, false, keeps});
    }
}

TEST_CASE("wgmma: negated operands, D added to or not") {
  for (int a : {1, -1})
    for (int b : {1, -1})
      for (bool keeps : {false, true}) check({"f32", "bf16", "bf16", 16, 128, 128, a < 0, false, false, keeps, a, b});
}
