// cases_warpgroup.cpp - wgmma: every shape's fragments, descriptors of every swizzle and both majors, element by
// element. Addresses and fragments are written from the PTX manual: "Matrix Descriptor Format", "Canonical Layouts",
// "Register Fragments for wgmma.mma_async.m64nNk16" and its neighbours. Products here are of small integers, so that
// every order of summation gives the same; `rounding_cases` has numbers that are rounded.
#include "tests/runtime/simulator/conformance/matrix_product.h"

#include <cmath>
#include <cstring>
#include <random>

namespace tilejit::conformance {
namespace {

std::string number(int64_t n) { return std::to_string(n); }

struct Warpgroup {
  Element d = F32, a = BF16, b = BF16;
  int n = 8;
  int swizzle_a = 128, swizzle_b = 128; ///< bytes
  bool a_in_registers = false, transpose_a = false, transpose_b = false, keeps = false;
  int scale_a = 1, scale_b = 1;
  Numbers numbers = Numbers::integers;

  int element() const { return static_cast<int>(a.bits / 8); }
  int k() const { return 32 / element(); }
  bool half() const { return d.bits == 16; }
  bool integer() const { return !a.format; }
  int registers() const { return half() ? n / 4 : n / 2; }
  std::string spelling() const {
    return "wgmma.mma_async.sync.aligned.m64n" + number(n) + "k" + number(k()) + "." + d.name + "." + a.name + "." +
           b.name;
  }
  std::string name() const {
    auto operand = [](int swizzle, bool transposed) { return number(swizzle) + (transposed ? "t" : ""); };
    return spelling() + " a " + (a_in_registers ? "registers" : operand(swizzle_a, transpose_a)) + " b " +
           operand(swizzle_b, transpose_b) + (keeps ? " d" : "") + (scale_a < 0 ? " -a" : "") +
           (scale_b < 0 ? " -b" : "") + name_of(numbers);
  }
};

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

  Layout(int swizzle, int element, int rows, bool mn_major, std::mt19937& random)
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
constexpr double first_d = 3; ///< what D begins as

/// What a case multiplies, and where it lies.
struct Operands {
  Warpgroup w;
  Matrix a, b; ///< B by columns: b(n, k)
  Layout la, lb;

  Operands(const Warpgroup& w, std::mt19937& random)
      : w(w), a(64, static_cast<uint32_t>(w.k())), b(static_cast<uint32_t>(w.n), static_cast<uint32_t>(w.k())),
        la(w.swizzle_a, w.element(), 64, w.transpose_a, random),
        lb(w.swizzle_b, w.element(), w.n, w.transpose_b, random) {
    fill(a, w.a, w.numbers, random), fill(b, w.b, w.numbers, random);
  }
  /// A and B as they lie in shared memory, then the registers of A.
  std::vector<std::byte> input() const {
    std::vector<std::byte> image(size_of_a + size_of_b + 128 * 16, std::byte{0xff});
    auto put = [&](size_t at, const Element& type, double x) {
      uint64_t bits = bits_of(type, x);
      std::memcpy(image.data() + at, &bits, static_cast<size_t>(w.element()));
    };
    auto place = [&](const Matrix& matrix, const Layout& layout, const Element& type, int rows, int first) {
      for (int mn = 0; mn < rows; ++mn)
        for (int k = 0; k < w.k(); ++k)
          put(static_cast<size_t>(first + layout.offset(mn, k)), type,
              matrix(static_cast<uint32_t>(mn), static_cast<uint32_t>(k)));
    };
    place(a, la, w.a, 64, 0), place(b, lb, w.b, w.n, size_of_a);
    // Thread t, register r: row 16 (t / 32) + t % 32 / 4 + 8 (r % 2), bytes 4 (t % 4) + 16 (r / 2) of k.
    for (uint32_t t = 0; t < 128; ++t)
      for (uint32_t r = 0; r < 4; ++r)
        for (uint32_t byte = 0; byte < 4; byte += static_cast<uint32_t>(w.element()))
          put(size_of_a + size_of_b + 16 * t + 4 * r + byte, w.a,
              a(16 * (t / 32) + t % 32 / 4 + 8 * (r % 2),
                (4 * (t % 4) + 16 * (r / 2) + byte) / static_cast<uint32_t>(w.element())));
    return image;
  }
};

std::string body_of(const Operands& o) {
  const Warpgroup& w = o.w;
  std::string list;
  for (int i = 0; i < w.registers(); ++i) list += (i ? ", %d" : "{%d") + number(i);
  auto descriptor = [&](const char* to, int at, const Layout& l) {
    return "mov.u32 %r3, matrices;\nadd.u32 %r3, %r3, " + number(at + l.start()) +
           ";\nshr.u32 %r3, %r3, 4;\ncvt.u64.u32 " + to + ", %r3;\nor.b64 " + to + ", " + to + ", " +
           number(static_cast<int64_t>(l.descriptor_bits())) + ";\n";
  };
  std::string body =
      ".reg .b32 %d<" + number(w.registers()) +
      ">;\nmov.u32 %r5, 0;\nmov.u32 %r3, matrices;\nmad.lo.u32 %r3, %r0, 16, %r3;\nmad.wide.u32 %rd3, %r0, 16, "
      "%rd1;\nCOPY: ld.global.v4.b32 {%r40, %r41, %r42, %r43}, [%rd3];\nst.shared.v4.b32 [%r3], {%r40, %r41, %r42, "
      "%r43};\nadd.u64 %rd3, %rd3, 2048;\nadd.u32 %r3, %r3, 2048;\nadd.u32 %r5, %r5, 2048;\nsetp.lt.u32 %p1, %r5, " +
      number(size_of_a + size_of_b) +
      ";\n@%p1 bra COPY;\nld.global.v4.b32 {%r40, %r41, %r42, %r43}, [%rd3];\nfence.proxy.async.shared::cta;\n"
      "bar.sync 0;\n" +
      descriptor("%rd10", 0, o.la) + descriptor("%rd11", size_of_a, o.lb);
  const uint64_t half = bits_of(F16, first_d);
  const uint64_t begin = w.half() ? half << 16 | half : bits_of(w.d, first_d);
  for (int i = 0; i < w.registers(); ++i)
    body += "mov.b32 %d" + number(i) + ", " + number(static_cast<int64_t>(begin)) + ";\n";
  body += std::string("setp.eq.u32 %p5, ") + (w.keeps ? "%r0, %r0" : "%r3, %r5") + ";\nwgmma.fence.sync.aligned;\n" +
          w.spelling() + " " + list + "}, " + (w.a_in_registers ? "{%r40, %r41, %r42, %r43}" : "%rd10") +
          ", %rd11, %p5";
  if (!w.integer()) body += ", " + number(w.scale_a) + ", " + number(w.scale_b);
  if (w.element() == 2) {
    if (!w.a_in_registers) body += w.transpose_a ? ", 1" : ", 0";
    body += w.transpose_b ? ", 1" : ", 0";
  }
  body += ";\nwgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;\nmad.wide.u32 %rd2, %r0, " +
          number(4 * w.registers()) + ", %rd2;\n";
  for (int i = 0; i < w.registers(); ++i) body += "st.global.b32 [%rd2+" + number(4 * i) + "], %d" + number(i) + ";\n";
  return body;
}

/// Calls f(row, column, what D has there, the row of A, the column of B).
template <class F>
void each_result(const Operands& o, std::span<const std::byte> output, F f) {
  const Warpgroup& w = o.w;
  const auto depth = static_cast<uint32_t>(w.k());
  std::vector<double> as(depth), bs(depth);
  for (uint32_t t = 0; t < 128; ++t)
    for (uint32_t j = 0; j < static_cast<uint32_t>(w.n) / 8; ++j)
      for (uint32_t i = 0; i < 4; ++i) {
        const uint32_t row = 16 * (t / 32) + t % 32 / 4 + 8 * (i / 2), column = 8 * j + 2 * (t % 4) + i % 2;
        const uint32_t at = t * static_cast<uint32_t>(w.registers()) + (w.half() ? 2 * j + i / 2 : 4 * j + i);
        uint32_t word;
        std::memcpy(&word, output.data() + 4 * size_t{at}, 4);
        for (uint32_t k = 0; k < depth; ++k) as[k] = o.a(row, k), bs[k] = o.b(column, k);
        f(row, column, value_of(w.d, w.half() ? word >> (16 * (i % 2)) & 0xffff : word), as, bs);
      }
}

using Values = std::vector<double>;
Report check(const Operands& o, std::span<const std::byte> output) {
  const Warpgroup& w = o.w;
  Report report;
  each_result(o, output, [&](uint32_t row, uint32_t column, double got, const Values& as, const Values& bs) {
    double sum = w.keeps ? first_d : 0, size = std::fabs(sum);
    for (size_t k = 0; k < as.size(); ++k) {
      sum += as[k] * bs[k] * w.scale_a * w.scale_b;
      size += std::fabs(as[k] * bs[k]);
    }
    const double error =
        w.numbers == Numbers::integers ? 0 : rounding_of(w.d, w.a, static_cast<uint32_t>(w.k()), size, true);
    report.add(is_near(got, sum, size, error), [&] {
      return "row " + number(row) + " column " + number(column) + ": got " + std::to_string(got) + ", expected " +
             std::to_string(sum);
    });
  });
  return report;
}
Report check_exactly(const Operands& o, std::span<const std::byte> output) {
  const Warpgroup& w = o.w;
  Report report;
  each_result(o, output, [&](uint32_t row, uint32_t column, double got, const Values& as, const Values& bs) {
    const double sum = machine_sum(w.d, w.a, w.b, as, bs, w.keeps ? first_d : 0, true);
    report.add(got == sum, [&] {
      return "row " + number(row) + " column " + number(column) + ": got " + std::to_string(got) + ", exactly " +
             std::to_string(sum);
    });
  });
  return report;
}

void warpgroup_case(const Sink& sink, const Warpgroup& w, const std::string& more = "") {
  const std::string name = w.name() + more;
  const std::vector<std::string> tests{w.spelling(), "wgmma.fence.sync.aligned", "wgmma.commit_group.sync.aligned",
                                       "wgmma.wait_group.sync.aligned"};
  sink({name, tests, "", [=](bool) {
          std::seed_seq seed(name.begin(), name.end()); // any strides, the same ones for ever
          std::mt19937 random(seed);
          auto operands = std::make_shared<const Operands>(w, random);
          Case c{.name = name,
                 .tests = tests,
                 .declarations = ".extern .shared .align 1024 .b8 matrices[];",
                 .body = body_of(*operands),
                 .threads = 128,
                 .shared = size_of_a + size_of_b};
          c.input = operands->input();
          c.output = size_t{4} * 128 * static_cast<size_t>(w.registers());
          c.check = [operands](std::span<const std::byte> output) { return check(*operands, output); };
          if (w.numbers != Numbers::integers)
            c.check_exactly = [operands](std::span<const std::byte> output) {
              return check_exactly(*operands, output);
            };
          return c;
        }});
}

} // namespace

void warpgroup_cases(const Sink& sink) {
  // Every type, from shared memory and from registers.
  for (bool registers : {false, true}) {
    for (const Element& type : {BF16, F16, TF32, E4M3, E5M2})
      warpgroup_case(sink, {F32, type, type, 24, 128, 128, registers});
    warpgroup_case(sink, {F16, F16, F16, 40, 128, 64, registers, false, false, true});
    warpgroup_case(sink, {F16, E4M3, E5M2, 16, 64, 128, registers});
    warpgroup_case(sink, {F32, E5M2, E4M3, 16, 64, 128, registers, false, false, true, -1, 1});
    for (const Element& a : {S8, U8})
      for (const Element& b : {S8, U8}) warpgroup_case(sink, {S32, a, b, 32, 128, 32, registers, false, false, true});
  }
  // Every width; integers have those up to 32, and then multiples of 16.
  for (int n = 8; n <= 256; n += 8) {
    warpgroup_case(sink, {F32, BF16, BF16, n, 128, 128}, " width");
    for (bool keeps : {false, true}) {
      warpgroup_case(
          sink, {F16, F16, F16, n, 128, 128, n % 16 == 0, false, false, keeps, n % 24 == 0 ? -1 : 1, keeps ? -1 : 1},
          " width");
      warpgroup_case(sink, {F16, E4M3, E5M2, n, 64, 32, n % 16 != 0, false, false, keeps}, " width");
    }
  }
  // Every swizzle, both majors, any strides.
  for (int round = 0; round < 6; ++round)
    for (int a : {0, 32, 64, 128})
      for (int b : {0, 32, 64, 128}) {
        const std::string more = " round " + number(round);
        // A line of 128 bytes may reach beyond the matrix.
        int n = 8 * (1 + (round * 7 + a / 32 + b / 16) % (round ? 16 : 4));
        for (const Element& type : {TF32, E4M3, E5M2}) warpgroup_case(sink, {F32, type, type, n, a, b}, more);
        for (const Element& type : {S8, U8})
          warpgroup_case(sink, {S32, type, type, n > 32 ? n / 16 * 16 : n, a, b}, more);
        for (const Element& type : {BF16, F16})
          for (bool a_major : {false, true})
            for (bool b_major : {false, true})
              warpgroup_case(sink, {F32, type, type, n, a, b, false, a_major, b_major}, more);
        if (a == 0) warpgroup_case(sink, {F32, BF16, BF16, n, a, b, true, false, round % 2 == 0}, more);
      }
  // Negated operands, D added to or not.
  for (int a : {1, -1})
    for (int b : {1, -1})
      for (bool keeps : {false, true})
        warpgroup_case(sink, {F32, BF16, BF16, 16, 128, 128, a < 0, false, false, keeps, a, b}, " sign");
  // Sums that are rounded.
  for (bool registers : {false, true})
    for (bool keeps : {false, true}) {
      auto add = [&](const Element& d, const Element& type, Numbers numbers) {
        warpgroup_case(sink, {d, type, type, 16, 128, 128, registers, false, false, keeps, 1, 1, numbers});
      };
      for (const Element& type : {BF16, F16, TF32, E4M3, E5M2})
        for (Numbers numbers : {Numbers::normal, Numbers::wide}) add(F32, type, numbers);
      for (const Element& type : {F16, E4M3}) add(F16, type, Numbers::normal);
      if (!keeps)
        for (const Element& type : {BF16, TF32})
          for (Numbers numbers : {Numbers::tiny, Numbers::huge}) add(F32, type, numbers);
    }
}

} // namespace tilejit::conformance
