// cases_matrix.cpp - matrices of a warp: ldmatrix, stmatrix, movmatrix, and where each element of an mma lies. PTX ISA
// 9.7.14 "Warp Level Matrix Instructions". Products here are of small integers, so that every order of summation gives
// the same: what rounding may do is tested elsewhere.
#include "tests/runtime/simulator/conformance/case.h"
#include "tests/runtime/simulator/conformance/exact.h"

#include <bit>
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

// --- products ---

/// A type of matrix elements: how small integers become bits.
struct Element {
  const char* name;
  uint32_t bits;
  const Format* format; ///< null: an integer
  bool is_signed = false;
};
constexpr Element F16{"f16", 16, &f16}, BF16{"bf16", 16, &bf16}, TF32{"tf32", 32, &f32}, F32{"f32", 32, &f32},
    F64{"f64", 64, &f64}, E4M3{"e4m3", 8, &e4m3}, E5M2{"e5m2", 8, &e5m2}, S8{"s8", 8, nullptr, true},
    U8{"u8", 8, nullptr}, S4{"s4", 4, nullptr, true}, U4{"u4", 4, nullptr}, B1{"b1", 1, nullptr},
    S32{"s32", 32, nullptr, true};

uint64_t bits_of(const Element& e, int64_t value) {
  if (e.format) return encode(*e.format, from_integer(value < 0, static_cast<uint64_t>(std::abs(value))));
  return static_cast<uint64_t>(value) & ((uint64_t{1} << e.bits) - 1);
}

struct Product {
  uint32_t m, n, k;
  Element d, a, b, c;
  std::string operation = ""; ///< ".xor.popc"
  uint32_t since = 80;
};

/// The manual's tables of all shapes come to this: a group of four lanes holds a row of A (a column of B), each lane as
/// many neighbours as fit a register; registers go through the rows 8 apart first, then along k. Accumulators: two
/// neighbours a lane, rows 8 apart next.
struct Fragments {
  Product p;
  uint32_t width, per; ///< bits of a register; elements of A or B in one
  uint32_t regs_a, regs_b, regs_c, regs_d;
  explicit Fragments(const Product& t)
      : p(t), width(t.a.bits == 64 ? 64 : 32), per(width / t.a.bits), regs_a(t.m * t.k / 32 / per),
        regs_b(t.n * t.k / 32 / per), regs_c(t.m * t.n / 32 * t.c.bits / width),
        regs_d(t.m * t.n / 32 * t.d.bits / width) {}
  std::pair<uint32_t, uint32_t> a(uint32_t lane, uint32_t r, uint32_t i) const {
    uint32_t group = lane / 4, member = lane % 4;
    if (p.m == 8) return {group, member * per + 4 * per * r + i};
    return {group + 8 * (r % 2), member * per + 4 * per * (r / 2) + i};
  }
  std::pair<uint32_t, uint32_t> b(uint32_t lane, uint32_t r, uint32_t i) const {
    return {lane % 4 * per + 4 * per * r + i, lane / 4};
  }
  std::pair<uint32_t, uint32_t> c(uint32_t lane, uint32_t e) const {
    return {lane / 4 + 8 * (e / 2), lane % 4 * 2 + e % 2};
  }
};

void product_case(const Sink& sink, const Product& t) {
  Fragments f(t);
  std::mt19937 random(7);
  auto draw = [&](const Element& e) -> int64_t {
    auto pick = [&](int64_t low, int64_t high) {
      return low + static_cast<int64_t>(random() % static_cast<uint32_t>(high - low + 1));
    };
    if (e.bits == 1) return pick(0, 1);
    if (e.bits == 4) return e.is_signed ? pick(-8, 7) : pick(0, 15);
    return e.format || e.is_signed ? pick(-8, 8) : pick(0, 16);
  };
  std::vector<int64_t> a(t.m * t.k), b(t.k * t.n), d(t.m * t.n);
  for (int64_t& v : a) v = draw(t.a);
  for (int64_t& v : b) v = draw(t.b);
  for (int64_t& v : d) v = static_cast<int64_t>(random() % 17) - 8;
  std::vector<uint32_t> input;
  uint32_t words = f.width / 32;
  auto push = [&](uint64_t reg) {
    input.push_back(static_cast<uint32_t>(reg));
    if (words == 2) input.push_back(static_cast<uint32_t>(reg >> 32));
  };
  for (uint32_t lane = 0; lane < 32; ++lane) {
    auto pack = [&](uint32_t regs, uint32_t per, auto bits) {
      for (uint32_t r = 0; r < regs; ++r) {
        uint64_t reg = 0;
        for (uint32_t i = 0; i < per; ++i) reg |= bits(r, i) << (i * f.width / per & 63);
        push(reg);
      }
    };
    uint32_t per_c = f.width / t.c.bits;
    pack(f.regs_a, f.per, [&](uint32_t r, uint32_t i) {
      auto [row, column] = f.a(lane, r, i);
      return bits_of(t.a, a[row * t.k + column]);
    });
    pack(f.regs_b, f.per, [&](uint32_t r, uint32_t i) {
      auto [row, column] = f.b(lane, r, i);
      return bits_of(t.b, b[row * t.n + column]);
    });
    pack(f.regs_c, per_c, [&](uint32_t r, uint32_t i) {
      auto [row, column] = f.c(lane, r * per_c + i);
      return bits_of(t.c, d[row * t.n + column]);
    });
  }
  for (uint32_t row = 0; row < t.m; ++row)
    for (uint32_t column = 0; column < t.n; ++column)
      for (uint32_t k = 0; k < t.k; ++k) {
        int64_t x = a[row * t.k + k], y = b[k * t.n + column];
        d[row * t.n + column] += t.operation == ".xor.popc" ? x != y : x * y;
      }

  std::string text = "mma.sync.aligned.m" + number(t.m) + "n" + number(t.n) + "k" + number(t.k) + ".row.col." +
                     t.d.name + "." + t.a.name + "." + t.b.name + "." + t.c.name + t.operation;
  std::string reg = words == 2 ? "%rd" : "%r", type = words == 2 ? "b64" : "b32", body;
  uint32_t loads = f.regs_a + f.regs_b + f.regs_c, first = 20;
  for (uint32_t i = 0; i < loads; ++i)
    body += "ld.global." + type + " " + reg + number(first + i) + ", [%rd1+" + number(4 * words * i) + "];\n";
  uint32_t to = first + loads;
  body += text + " " + list(reg, to, f.regs_d) + ", " + list(reg, first, f.regs_a) + ", " +
          list(reg, first + f.regs_a, f.regs_b) + ", " + list(reg, first + f.regs_a + f.regs_b, f.regs_c) + ";\n";
  for (uint32_t i = 0; i < f.regs_d; ++i)
    body += "st.global." + type + " [%rd2+" + number(4 * words * i) + "], " + reg + number(to + i) + ";\n";
  emit(sink, words_case({.name = text, .tests = {text}, .body = body, .since = t.since}, input, f.regs_d * words,
                        [=](uint32_t lane, uint32_t word) -> std::optional<uint32_t> {
                          uint32_t per = f.width / t.d.bits, r = word / words;
                          uint64_t bits = 0;
                          for (uint32_t i = 0; i < per; ++i) {
                            auto [row, column] = f.c(lane, r * per + i);
                            bits |= bits_of(t.d, d[row * t.n + column]) << (i * t.d.bits & 63);
                          }
                          return static_cast<uint32_t>(bits >> (word % words * 32));
                        }));
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
  product_cases(sink);
}

} // namespace tilejit::conformance
