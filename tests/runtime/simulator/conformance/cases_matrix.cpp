// cases_matrix.cpp - matrices of a warp: ldmatrix, stmatrix, movmatrix, and where each element of an mma lies. PTX ISA
// 9.7.14 "Warp Level Matrix Instructions". Products are of small integers, so that every order of summation gives the
// same; those of `rounding_case` are of normal numbers, within what the rounding of each partial sum may cost.
#include "tests/runtime/simulator/conformance/matrix_product.h"

#include <cmath>
#include <random>

namespace tilejit::conformance {
namespace {

std::string number(int64_t n) { return std::to_string(n); }

// --- moves ---

/// 64 rows of 16 bytes in shared memory; element e of row r is 256 r + e.
uint32_t element(uint32_t row, uint32_t e) { return 256 * row + e; }
/// The row whose address a lane gives: 37 is odd, so all are different.
uint32_t row_of(uint32_t lane) { return (lane * 37 + 11) % 64; }

const std::string tile = ".shared .align 16 .b8 tile[1024];";
/// %r11: the address of the tile; %r17: that of the lane's row.
std::string fill_tile() {
  std::string text = "mov.u32 %r11, tile;\n";
  for (uint32_t half = 0; half < 2; ++half) {
    text += "add.u32 %r12, %r0, " + number(32 * half) +
            ";\nshl.b32 %r13, %r12, 8;\nshl.b32 %r14, %r12, 4;\nadd.u32 %r14, %r14, %r11;\n";
    for (uint32_t e = 0; e < 8; e += 2)
      text += "add.u32 %r15, %r13, " + number(e) + ";\nadd.u32 %r16, %r13, " + number(e + 1) +
              ";\nshl.b32 %r16, %r16, 16;\nor.b32 %r15, %r15, %r16;\nst.shared.b32 [%r14+" + number(2 * e) +
              "], %r15;\n";
  }
  return text + "bar.sync 0;\nmad.lo.u32 %r17, %r0, 37, 11;\nand.b32 %r17, %r17, 63;\nshl.b32 %r17, %r17, 4;\nadd.u32 "
                "%r17, %r17, %r11;\n";
}
std::string list(const std::string& prefix, uint32_t first, uint32_t count) {
  std::string text = "{";
  for (uint32_t i = 0; i < count; ++i) text += (i ? ", " : "") + prefix + number(first + i);
  return text + "}";
}
/// The row and column of half `half` of a lane's register.
std::pair<uint32_t, uint32_t> place(uint32_t lane, uint32_t half, bool trans) {
  uint32_t row = lane / 4, column = lane % 4 * 2 + half;
  return trans ? std::pair(column, row) : std::pair(row, column);
}

void tile_cases(const Sink& sink, uint32_t count, bool trans, const std::string& space) {
  std::string modifiers = ".sync.aligned.m8n8.x" + number(count) + (trans ? ".trans" : "") + space + ".b16";
  // Without a space the address is generic.
  std::string address = space.empty() ? "cvta.shared.u64 %rd10, %rd10;\n" : "";
  address = "cvt.u64.u32 %rd10, %r17;\n" + address;
  std::string at = space.empty() ? "[%rd10]" : "[%r17]";
  std::string body = fill_tile() + address + "ldmatrix" + modifiers + " " + list("%r", 20, count) + ", " + at + ";\n";
  for (uint32_t i = 0; i < count; ++i)
    body += "st.global.b32 [%rd2+" + number(4 * i) + "], %r" + number(20 + i) + ";\n";
  emit(sink,
       words_case(
           {.name = "ldmatrix" + modifiers, .tests = {"ldmatrix" + modifiers}, .body = body, .declarations = tile}, {},
           count, [=](uint32_t lane, uint32_t i) -> std::optional<uint32_t> {
             uint32_t word = 0;
             for (uint32_t half = 0; half < 2; ++half) {
               auto [row, column] = place(lane, half, trans);
               word |= element(row_of(8 * i + row), column) << (16 * half);
             }
             return word;
           }));

  body = fill_tile() + address;
  for (uint32_t i = 0; i < count; ++i)
    body += "mad.lo.u32 %r" + number(20 + i) + ", %r0, 65537, " + number((i + 1) * 0x01000200) + ";\n";
  body += "bar.sync 0;\nstmatrix" + modifiers + " " + at + ", " + list("%r", 20, count) +
          ";\nbar.sync 0;\nshl.b32 %r18, %r0, 5;\nadd.u32 %r18, %r18, %r11;\n";
  for (uint32_t k = 0; k < 8; ++k)
    body += "ld.shared.b32 %r19, [%r18+" + number(4 * k) + "];\nst.global.b32 [%rd2+" + number(4 * k) + "], %r19;\n";
  std::vector<uint32_t> memory(64 * 8);
  for (uint32_t r = 0; r < 64; ++r)
    for (uint32_t e = 0; e < 8; ++e) memory[8 * r + e] = element(r, e);
  for (uint32_t lane = 0; lane < 32; ++lane)
    for (uint32_t i = 0; i < count; ++i)
      for (uint32_t half = 0; half < 2; ++half) {
        auto [row, column] = place(lane, half, trans);
        memory[8 * row_of(8 * i + row) + column] = (lane * 65537 + (i + 1) * 0x01000200) >> (16 * half) & 0xffff;
      }
  emit(sink,
       words_case(
           {.name = "stmatrix" + modifiers, .tests = {"stmatrix" + modifiers}, .body = body, .declarations = tile}, {},
           8, [=](uint32_t lane, uint32_t k) -> std::optional<uint32_t> {
             return memory[16 * lane + 2 * k] | memory[16 * lane + 2 * k + 1] << 16;
           }));
}

/// A guard that holds for no lane leaves everything as it was; lanes that come one after the other are waited for.
void guarded_case(const Sink& sink) {
  const std::string load = "ldmatrix.sync.aligned.m8n8.x1.shared.b16",
                    store = "stmatrix.sync.aligned.m8n8.x1.shared.b16", move = "movmatrix.sync.aligned.m8n8.trans.b16";
  emit(sink, words_case(
                 {.name = "matrices under a guard, and in parts",
                  .tests = {load, store, move},
                  .body = fill_tile() + "mov.u32 %r20, 5;\nmov.u32 %r21, 6;\nsetp.ne.u32 %p1, %r0, %r0;\n@%p1 " + load +
                          " {%r20}, [%r17];\n@%p1 " + move + " %r21, %r17;\n@%p1 " + store +
                          " [%r17], {%r17};\nst.global.b32 [%rd2], %r20;\nst.global.b32 [%rd2+4], %r21;\n"
                          // Lane 3 waits for what lane 0 does before the load.
                          "mov.u32 %r22, flag;\nst.shared.b32 [%r22], 0;\nbar.sync 0;\nsetp.ne.u32 %p2, %r0, 3;\n@%p2 "
                          "bra FIRST;\nPOLL: ld.volatile.shared.b32 %r23, [%r22];\nsetp.eq.u32 %p3, %r23, 0;\n@%p3 bra "
                          "POLL;\nFIRST:\nsetp.eq.u32 %p4, %r0, 0;\n@%p4 st.volatile.shared.b32 [%r22], 1;\n" +
                          load + " {%r24}, [%r17];\n" + move +
                          " %r25, %r24;\nst.global.b32 [%rd2+8], "
                          "%r24;\nst.global.b32 [%rd2+12], %r25;\n",
                  .declarations = tile + "\n.shared .b32 flag;"},
                 {}, 4, [](uint32_t lane, uint32_t word) -> std::optional<uint32_t> {
                   if (word < 2) return 5 + word;
                   uint32_t bits = 0;
                   for (uint32_t half = 0; half < 2; ++half) {
                     auto [row, column] = place(lane, half, word == 3);
                     bits |= element(row_of(row), column) << (16 * half);
                   }
                   return bits;
                 }));
}

// --- products ---

void product_case(const Sink& sink, const Product& t) {
  std::mt19937 random(7);
  auto pick = [&](int low, int high) {
    return low + static_cast<int>(random() % static_cast<uint32_t>(high - low + 1));
  };
  auto fill = [&](Matrix& matrix, const Element& e) {
    for (double& v : matrix.values)
      v = e.bits == 1               ? pick(0, 1)
          : e.bits == 4             ? (e.is_signed ? pick(-8, 7) : pick(0, 15))
          : e.format || e.is_signed ? pick(-8, 8)
                                    : pick(0, 16);
  };
  Matrix a(t.m, t.k), b(t.k, t.n), c(t.m, t.n);
  fill(a, t.a);
  fill(b, t.b);
  fill(c, t.c);
  Matrix d = c;
  for (uint32_t row = 0; row < t.m; ++row)
    for (uint32_t column = 0; column < t.n; ++column)
      for (uint32_t k = 0; k < t.k; ++k)
        d(row, column) += t.operation == ".xor.popc" ? a(row, k) != b(k, column) : a(row, k) * b(k, column);
  uint32_t words = output_words(t);
  emit(sink, words_case(kernel_of(t), input_of(t, a, b, c), words,
                        [words, expected = output_of(t, d)](uint32_t lane, uint32_t word) -> std::optional<uint32_t> {
                          return expected[lane * words + word];
                        }));
}

/// Of 8-bit floats: ptxas for sm_90 makes two products of f16, of elements 0 and 1 and of elements 2 and 3 of each
/// dword, one added to the other, and a sum with C.
double sum_by_halves(const Product& t, const std::vector<double>& as, const std::vector<double>& bs, double c) {
  double sum = 0;
  for (size_t half : {0, 1}) {
    std::vector<double> a, b;
    for (size_t k = 0; k < as.size(); ++k)
      if (k / 2 % 2 == half) a.push_back(as[k]), b.push_back(bs[k]);
    sum = machine_sum(t.d, F16, F16, a, b, sum, false);
  }
  return t.d.bits == 16 ? value_of(t.d, bits_of(t.d, sum + c)) : static_cast<float>(sum + c);
}

void rounding_case(const Sink& sink, const Product& t, Numbers numbers) {
  std::mt19937 random(9);
  Matrix a(t.m, t.k), b(t.k, t.n), c(t.m, t.n);
  fill(a, t.a, numbers, random), fill(b, t.b, numbers, random), fill(c, t.c, numbers, random);
  Kernel kernel = kernel_of(t);
  kernel.name += name_of(numbers);
  Case all = words_case(kernel, input_of(t, a, b, c), output_words(t), {});
  all.check = [=](std::span<const std::byte> output) {
    const Matrix d = matrix_d(t, output);
    Report report;
    for (uint32_t m = 0; m < t.m; ++m)
      for (uint32_t n = 0; n < t.n; ++n) {
        long double sum = c(m, n), size = std::fabs(sum); // more precise than any type of D
        for (uint32_t k = 0; k < t.k; ++k) {
          long double product = static_cast<long double>(a(m, k)) * b(k, n);
          sum += product;
          size += std::fabs(product);
        }
        const double error = rounding_of(t.d, t.a, t.k, static_cast<double>(size), false);
        report.add(is_near(d(m, n), static_cast<double>(sum), static_cast<double>(size), error), [&] {
          return "row " + number(m) + " column " + number(n) + ": got " + std::to_string(d(m, n)) + ", expected " +
                 std::to_string(static_cast<double>(sum));
        });
      }
    return report;
  };
  if (t.d.bits != 64) // doubles are rounded one by one
    all.check_exactly = [=](std::span<const std::byte> output) {
      const Matrix d = matrix_d(t, output);
      Report report;
      for (uint32_t m = 0; m < t.m; ++m)
        for (uint32_t n = 0; n < t.n; ++n) {
          std::vector<double> as, bs;
          for (uint32_t k = 0; k < t.k; ++k) as.push_back(a(m, k)), bs.push_back(b(k, n));
          const double sum =
              t.a.bits == 8 ? sum_by_halves(t, as, bs, c(m, n)) : machine_sum(t.d, t.a, t.b, as, bs, c(m, n), false);
          report.add(d(m, n) == sum, [&] {
            return "row " + number(m) + " column " + number(n) + ": got " + std::to_string(d(m, n)) + ", exactly " +
                   std::to_string(sum);
          });
        }
      return report;
    };
  emit(sink, std::move(all));
}

void rounding_cases(const Sink& sink) {
  for (Numbers numbers : {Numbers::normal, Numbers::wide}) {
    for (uint32_t k : {8u, 16u}) {
      rounding_case(sink, {16, 8, k, F32, F16, F16, F32}, numbers);
      rounding_case(sink, {16, 8, k, F32, BF16, BF16, F32}, numbers);
    }
    for (uint32_t k : {4u, 8u}) rounding_case(sink, {16, 8, k, F32, TF32, TF32, F32}, numbers);
    for (const Element& a : {E4M3, E5M2})
      for (const Element& b : {E4M3, E5M2}) rounding_case(sink, {16, 8, 32, F32, a, b, F32, "", 84}, numbers);
  }
  for (uint32_t k : {8u, 16u}) {
    rounding_case(sink, {16, 8, k, F16, F16, F16, F16}, Numbers::normal);
    for (Numbers numbers : {Numbers::tiny, Numbers::huge})
      rounding_case(sink, {16, 8, k, F32, BF16, BF16, F32}, numbers);
  }
  rounding_case(sink, {16, 8, 8, F32, TF32, TF32, F32}, Numbers::tiny);
  rounding_case(sink, {8, 8, 4, F64, F64, F64, F64}, Numbers::normal);
  for (uint32_t k : {4u, 8u, 16u}) rounding_case(sink, {16, 8, k, F64, F64, F64, F64}, Numbers::normal);
}

void product_cases(const Sink& sink) {
  for (uint32_t k : {8u, 16u}) {
    product_case(sink, {16, 8, k, F32, F16, F16, F32});
    product_case(sink, {16, 8, k, F16, F16, F16, F16});
    product_case(sink, {16, 8, k, F32, BF16, BF16, F32});
  }
  for (uint32_t k : {4u, 8u}) product_case(sink, {16, 8, k, F32, TF32, TF32, F32});
  for (const Element& a : {E4M3, E5M2})
    for (const Element& b : {E4M3, E5M2})
      for (uint32_t k : {16u, 32u}) {
        product_case(sink, {16, 8, k, F32, a, b, F32, "", k == 16 ? 87u : 84u});
        product_case(sink, {16, 8, k, F16, a, b, F16, "", 87});
      }
  product_case(sink, {8, 8, 4, F64, F64, F64, F64});
  for (uint32_t k : {4u, 8u, 16u}) product_case(sink, {16, 8, k, F64, F64, F64, F64});
  for (const Element& a : {S8, U8})
    for (const Element& b : {S8, U8}) {
      product_case(sink, {8, 8, 16, S32, a, b, S32});
      for (uint32_t k : {16u, 32u}) product_case(sink, {16, 8, k, S32, a, b, S32});
    }
  for (const Element& a : {S4, U4})
    for (const Element& b : {S4, U4}) {
      product_case(sink, {8, 8, 32, S32, a, b, S32});
      for (uint32_t k : {32u, 64u}) product_case(sink, {16, 8, k, S32, a, b, S32});
    }
  for (std::string operation : {".and.popc", ".xor.popc"}) {
    product_case(sink, {8, 8, 128, S32, B1, B1, S32, operation});
    for (uint32_t k : {128u, 256u}) product_case(sink, {16, 8, k, S32, B1, B1, S32, operation});
  }
}

} // namespace

void matrix_cases(const Sink& sink) {
  for (uint32_t count : {1u, 2u, 4u})
    for (bool trans : {false, true})
      for (std::string space : {"", ".shared", ".shared::cta"}) tile_cases(sink, count, trans, space);
  emit(sink, words_case({.name = "movmatrix",
                         .tests = {"movmatrix.sync.aligned.m8n8.trans.b16"},
                         .body = "mad.lo.u32 %r11, %r0, 131074, 65536;\nmovmatrix.sync.aligned.m8n8.trans.b16 %r12, "
                                 "%r11;\nst.global.b32 [%rd2], %r12;\n"},
                        {}, 1, [](uint32_t lane, uint32_t) -> std::optional<uint32_t> {
                          // Element (row, column) before: lane 4 row + column / 2, half column % 2; its value is 8 row
                          // + column.
                          auto half = [&](uint32_t h) { return 8 * (lane % 4 * 2 + h) + lane / 4; };
                          return half(0) | half(1) << 16;
                        }));
  guarded_case(sink);
  product_cases(sink);
  rounding_cases(sink);
}

} // namespace tilejit::conformance
