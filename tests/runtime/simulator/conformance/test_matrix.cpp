// Matrix instructions: where each element lies, and what the product is. PTX ISA 9.7.14 "Warp Level Matrix
// Instructions".
#include "tests/runtime/simulator/conformance/exact.h"
#include "tests/runtime/simulator/conformance/run_lanes.h"

#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <random>

using namespace tilejit;
using namespace tilejit::conformance;

namespace {

/// A type of matrix elements: how numbers become bits.
struct Element {
  const char* name;
  int bits;
  const Format* format; ///< null: an integer
  bool is_signed = false;
};
constexpr Element F16{"f16", 16, &f16}, BF16{"bf16", 16, &bf16}, TF32{"tf32", 32, &f32}, F32{"f32", 32, &f32},
    F64{"f64", 64, &f64}, E4M3{"e4m3", 8, &e4m3}, E5M2{"e5m2", 8, &e5m2}, S8{"s8", 8, nullptr, true},
    U8{"u8", 8, nullptr}, S4{"s4", 4, nullptr, true}, U4{"u4", 4, nullptr}, B1{"b1", 1, nullptr},
    S32{"s32", 32, nullptr, true};

uint64_t bits_of(const Element& e, double value) {
  if (e.format) return encode(*e.format, decode(f64, std::bit_cast<uint64_t>(value)));
  return static_cast<uint64_t>(static_cast<int64_t>(value)) & ((uint64_t{1} << e.bits) - 1);
}
double value_of(const Element& e, uint64_t bits) {
  if (e.format) return to_double(decode(*e.format, bits));
  if (e.is_signed && bits >> (e.bits - 1) & 1)
    return static_cast<double>(static_cast<int64_t>(bits | ~((uint64_t{1} << e.bits) - 1)));
  return static_cast<double>(bits);
}

struct Place {
  int row, column;
};
/// Element i of register r of lane `lane`. The manual's tables of all shapes come to this: a group of four lanes holds
/// a row of A (a column of B), each lane as many neighbours as fit a register; registers go through the rows 8 apart
/// first, then along k. Accumulators: two neighbours a lane, rows 8 apart next.
Place place_a(int lane, int r, int i, int per_register, int rows) {
  int group = lane / 4, member = lane % 4;
  if (rows == 8) return {group, member * per_register + 4 * per_register * r + i};
  return {group + 8 * (r % 2), member * per_register + 4 * per_register * (r / 2) + i};
}
Place place_b(int lane, int r, int i, int per_register) {
  return {lane % 4 * per_register + 4 * per_register * r + i, lane / 4};
}
Place place_c(int lane, int element) { return {lane / 4 + 8 * (element / 2), lane % 4 * 2 + element % 2}; }

struct Case {
  int m, n, k;
  Element d, a, b, c;
  std::string suffix = "";
};

struct Matrix {
  int columns;
  std::vector<double> values;
  Matrix(int rows, int columns) : columns(columns), values(static_cast<size_t>(rows * columns)) {}
  double& operator()(Place p) { return values[static_cast<size_t>(p.row * columns + p.column)]; }
  double& operator()(int row, int column) { return (*this)({row, column}); }
};

/// Runs one mma and gives D as numbers.
Matrix run_mma(runtime::Device& device, const Case& t, Matrix& a, Matrix& b, Matrix& c) {
  bool wide = t.a.bits == 64;
  int bits = wide ? 64 : 32, per = bits / t.a.bits, per_c = bits / t.c.bits, per_d = bits / t.d.bits;
  int regs_a = t.m * t.k / 32 / per, regs_b = t.n * t.k / 32 / per, elements = t.m * t.n / 32,
      regs_c = elements / per_c, regs_d = elements / per_d;
  int words = bits / 32;
  std::vector<uint32_t> input;
  auto push = [&](uint64_t reg) {
    input.push_back(static_cast<uint32_t>(reg));
    if (wide) input.push_back(static_cast<uint32_t>(reg >> 32));
  };
  for (int lane = 0; lane < 32; ++lane) {
    auto pack = [&](int regs, int per_register, auto element) {
      for (int r = 0; r < regs; ++r) {
        uint64_t reg = 0;
        for (int i = 0; i < per_register; ++i) reg |= element(r, i) << (i * bits / per_register & 63);
        push(reg);
      }
    };
    pack(regs_a, per, [&](int r, int i) { return bits_of(t.a, a(place_a(lane, r, i, per, t.m))); });
    pack(regs_b, per, [&](int r, int i) { return bits_of(t.b, b(place_b(lane, r, i, per))); });
    pack(regs_c, per_c, [&](int r, int i) { return bits_of(t.c, c(place_c(lane, r * per_c + i))); });
  }
  std::string reg = wide ? "%rd" : "%r", load = wide ? "ld.global.b64 " : "ld.global.b32 ",
              store = wide ? "st.global.b64 " : "st.global.b32 ";
  std::string body;
  int next = 10;
  auto list = [&](int regs, bool loaded) {
    std::string text = "{";
    for (int r = 0; r < regs; ++r, ++next) {
      text += (r ? ", " : "") + reg + std::to_string(next);
      if (loaded)
        body += load + reg + std::to_string(next) + ", [%rd1+" + std::to_string(4 * words * (next - 10)) + "];\n";
    }
    return text + "}";
  };
  std::string la = list(regs_a, true), lb = list(regs_b, true), lc = list(regs_c, true);
  int first_d = next;
  std::string ld = list(regs_d, false);
  body += std::string("mma.sync.aligned.m") + std::to_string(t.m) + "n" + std::to_string(t.n) + "k" +
          std::to_string(t.k) + ".row.col." + t.d.name + "." + t.a.name + "." + t.b.name + "." + t.c.name + t.suffix +
          " " + ld + ", " + la + ", " + lb + ", " + lc + ";\n";
  for (int r = 0; r < regs_d; ++r)
    body += store + "[%rd2+" + std::to_string(4 * words * r) + "], " + reg + std::to_string(first_d + r) + ";\n";
  auto out = run_lanes(device, "", body, input, static_cast<size_t>(regs_d * words));
  Matrix d(t.m, t.n);
  for (int lane = 0; lane < 32; ++lane)
    for (int e = 0; e < elements; ++e) {
      auto at = static_cast<size_t>((lane * regs_d + e / per_d) * words);
      uint64_t value = out[at] | (wide ? uint64_t{out[at + 1]} << 32 : 0);
      value = value >> (e % per_d * t.d.bits) & (t.d.bits == 64 ? ~uint64_t{0} : (uint64_t{1} << t.d.bits) - 1);
      d(place_c(lane, e)) = value_of(t.d, value);
    }
  return d;
}

std::string name(const Case& t) {
  return "m" + std::to_string(t.m) + "n" + std::to_string(t.n) + "k" + std::to_string(t.k) + "." + t.d.name + "." +
         t.a.name + "." + t.b.name + "." + t.c.name;
}

/// Small integers: every order of summation gives the same, so the result is exact.
void check_exactly(runtime::Device& device, const Case& t) {
  INFO(name(t));
  std::mt19937 random(7);
  auto small = [&](const Element& e) {
    if (e.bits == 1) return static_cast<double>(random() % 2);
    int limit = e.bits == 4 && !e.is_signed ? 15 : e.bits == 4 ? 7 : 8;
    int low = e.format || e.is_signed ? -limit : 0;
    return static_cast<double>(low + static_cast<int>(random() % static_cast<unsigned>(limit - low + 1)));
  };
  for (int round = 0; round < 4; ++round) {
    Matrix a(t.m, t.k), b(t.k, t.n), c(t.m, t.n);
    if (round == 0) { // one element of A meets one of B: shows a misplaced element by itself
      a(static_cast<int>(random()) % t.m & (t.m - 1), 3) = 1;
      for (int n = 0; n < t.n; ++n) b(3, n) = t.a.bits == 1 ? 1 : n % 7;
    } else {
      for (double& v : a.values) v = small(t.a);
      for (double& v : b.values) v = small(t.b);
      for (double& v : c.values)
        v = t.c.format == &f16 ? static_cast<double>(random() % 17) - 8 : static_cast<double>(random() % 2001) - 1000;
    }
    Matrix d = run_mma(device, t, a, b, c);
    size_t wrong = 0;
    for (int m = 0; m < t.m; ++m)
      for (int n = 0; n < t.n; ++n) {
        double sum = c(m, n);
        for (int k = 0; k < t.k; ++k) {
          if (t.suffix == ".xor.popc")
            sum += a(m, k) != b(k, n);
          else
            sum += a(m, k) * b(k, n);
        }
        // f16 accumulators hold integers up to 2048 exactly.
        if (t.d.format == &f16 && std::fabs(sum) > 2048) sum = value_of(F16, bits_of(F16, sum));
        if (d(m, n) != sum && wrong++ < 3)
          UNSCOPED_INFO("row " << m << " column " << n << ": got " << d(m, n) << ", expected " << sum);
      }
    CHECK(wrong == 0);
  }
}

/// Random numbers: within what rounding each partial sum may cost.
void check_closely(runtime::Device& device, const Case& t) {
  INFO(name(t));
  std::mt19937 random(9);
  std::normal_distribution<double> normal;
  Matrix a(t.m, t.k), b(t.k, t.n), c(t.m, t.n);
  for (double& v : a.values)
    v = value_of(t.a, bits_of(t.a, normal(random)) & (t.a.name == TF32.name ? ~uint64_t{0x1fff} : ~uint64_t{0}));
  for (double& v : b.values)
    v = value_of(t.b, bits_of(t.b, normal(random)) & (t.b.name == TF32.name ? ~uint64_t{0x1fff} : ~uint64_t{0}));
  for (double& v : c.values) v = value_of(t.c, bits_of(t.c, normal(random)));
  Matrix d = run_mma(device, t, a, b, c);
  double ulp = t.d.bits == 16 ? 0x1p-10 : t.d.bits == 32 ? 0x1p-22 : 0x1p-51;
  for (int m = 0; m < t.m; ++m)
    for (int n = 0; n < t.n; ++n) {
      double sum = c(m, n), size = std::fabs(sum);
      for (int k = 0; k < t.k; ++k) sum += a(m, k) * b(k, n), size += std::fabs(a(m, k) * b(k, n));
      REQUIRE(std::fabs(d(m, n) - sum) <= size * ulp);
    }
}

std::vector<Case> float_cases() {
  std::vector<Case> cases;
  for (int k : {8, 16}) {
    for (const Element& d : {F16, F32})
      for (const Element& c : {F16, F32})
        if (d.bits == c.bits) cases.push_back({16, 8, k, d, F16, F16, c});
    cases.push_back({16, 8, k, F32, BF16, BF16, F32});
  }
  for (int k : {4, 8}) cases.push_back({16, 8, k, F32, TF32, TF32, F32});
  for (const Element& a : {E4M3, E5M2})
    for (const Element& b : {E4M3, E5M2}) cases.push_back({16, 8, 32, F32, a, b, F32});
  return cases;
}

} // namespace

TEST_CASE("mma: floating point") {
  auto device = runtime::open_device("simulator:sm_100a");
  for (const Case& t : float_cases()) {
    check_exactly(*device, t);
    check_closely(*device, t);
  }
}

TEST_CASE("mma: double precision") {
  auto device = runtime::open_device("simulator:sm_100a");
  check_exactly(*device, {8, 8, 4, F64, F64, F64, F64});
  check_closely(*device, {8, 8, 4, F64, F64, F64, F64});
  for (int k : {4, 8, 16}) {
    check_exactly(*device, {16, 8, k, F64, F64, F64, F64});
    check_closely(*device, {16, 8, k, F64, F64, F64, F64});
  }
}

TEST_CASE("mma: integers") {
  auto device = runtime::open_device("simulator:sm_100a");
  for (const Element& a : {S8, U8})
    for (const Element& b : {S8, U8}) {
      check_exactly(*device, {8, 8, 16, S32, a, b, S32});
      check_exactly(*device, {16, 8, 16, S32, a, b, S32});
      check_exactly(*device, {16, 8, 32, S32, a, b, S32});
    }
  for (const Element& a : {S4, U4})
    for (const Element& b : {S4, U4}) {
      check_exactly(*device, {8, 8, 32, S32, a, b, S32});
      check_exactly(*device, {16, 8, 32, S32, a, b, S32});
      check_exactly(*device, {16, 8, 64, S32, a, b, S32});
    }
  for (std::string op : {".and.popc", ".xor.popc"}) {
    check_exactly(*device, {8, 8, 128, S32, B1, B1, S32, op});
    check_exactly(*device, {16, 8, 128, S32, B1, B1, S32, op});
    check_exactly(*device, {16, 8, 256, S32, B1, B1, S32, op});
  }
}

TEST_CASE("ldmatrix, stmatrix, movmatrix: every element") {
  auto device = runtime::open_device("simulator:sm_100a");
  // 64 rows of 16 bytes in shared memory; element e of row r is 256 r + e. Each lane gives the address of a row of its
  // own.
  auto element = [](uint32_t row, uint32_t e) { return 256 * row + e; };
  std::string fill = "mov.u32 %r1, tile;\n";
  for (uint32_t half = 0; half < 2; ++half) {
    fill += "add.u32 %r2, %r0, " + std::to_string(32 * half) +
            ";\nshl.b32 %r3, %r2, 8;\nshl.b32 %r4, %r2, 4;\nadd.u32 %r4, %r4, %r1;\n";
    for (uint32_t e = 0; e < 8; e += 2)
      fill += "add.u32 %r5, %r3, " + std::to_string(e) + ";\nadd.u32 %r6, %r3, " + std::to_string(e + 1) +
              ";\nshl.b32 %r6, %r6, 16;\nor.b32 %r5, %r5, %r6;\nst.shared.b32 [%r4+" + std::to_string(2 * e) +
              "], %r5;\n";
  }
  fill += "bar.sync 0;\n";
  std::string tile = ".shared .align 16 .b8 tile[1024];\n";
  auto row_of = [](uint32_t lane) { return (lane * 37 + 11) % 64; }; // 37 is odd: all different
  std::string address = "mul.lo.u32 %r7, %r0, 37;\nadd.u32 %r7, %r7, 11;\nand.b32 %r7, %r7, 63;\nshl.b32 %r7, %r7, "
                        "4;\nadd.u32 %r7, %r7, %r1;\n";
  for (uint32_t count : {1u, 2u, 4u})
    for (bool trans : {false, true}) {
      std::string regs = "{";
      for (uint32_t i = 0; i < count; ++i) regs += (i ? ", %r" : "%r") + std::to_string(10 + i);
      regs += "}";
      std::string modifiers = ".sync.aligned.m8n8.x" + std::to_string(count) + (trans ? ".trans" : "") + ".shared.b16 ";
      std::string stores;
      for (uint32_t i = 0; i < count; ++i)
        stores += "st.global.b32 [%rd2+" + std::to_string(4 * i) + "], %r" + std::to_string(10 + i) + ";\n";
      auto loaded =
          run_lanes(*device, tile, fill + address + "ldmatrix" + modifiers + regs + ", [%r7];\n" + stores, {}, count);
      // The halves of a lane's register i: matrix i, row lane/4, columns 2 (lane%4) and the next; transposed the other
      // way.
      auto expected = [&](uint32_t lane, uint32_t i, uint32_t half) {
        uint32_t row = lane / 4, column = lane % 4 * 2 + half;
        if (trans) std::swap(row, column);
        return element(row_of(8 * i + row), column);
      };
      for (uint32_t lane = 0; lane < 32; ++lane)
        for (uint32_t i = 0; i < count; ++i) {
          INFO("ldmatrix x" << count << (trans ? " trans" : "") << " lane " << lane << " register " << i);
          REQUIRE(loaded[count * lane + i] == (expected(lane, i, 0) | expected(lane, i, 1) << 16));
        }
      // What ldmatrix reads from there, stmatrix of the same shape writes back there.
      std::string registers;
      for (uint32_t i = 0; i < count; ++i)
        registers +=
            "mad.lo.u32 %r" + std::to_string(10 + i) + ", %r0, 65537, " + std::to_string((i + 1) * 0x01000200) + ";\n";
      std::string read;
      for (uint32_t k = 0; k < 8; ++k)
        read += "shl.b32 %r8, %r0, 5;\nadd.u32 %r8, %r8, %r1;\nld.shared.b32 %r9, [%r8+" + std::to_string(4 * k) +
                "];\nst.global.b32 [%rd2+" + std::to_string(4 * k) + "], %r9;\n";
      auto stored = run_lanes(*device, tile,
                              fill + address + registers + "bar.sync 0;\nstmatrix" + modifiers + "[%r7], " + regs +
                                  ";\nbar.sync 0;\n" + read,
                              {}, 8);
      std::vector<uint32_t> memory(64 * 8);
      for (uint32_t r = 0; r < 64; ++r)
        for (uint32_t e = 0; e < 8; ++e) memory[8 * r + e] = element(r, e);
      for (uint32_t lane = 0; lane < 32; ++lane)
        for (uint32_t i = 0; i < count; ++i)
          for (uint32_t half = 0; half < 2; ++half) {
            uint32_t value = (lane * 65537 + (i + 1) * 0x01000200) >> (16 * half) & 0xffff;
            uint32_t row = lane / 4, column = lane % 4 * 2 + half;
            if (trans) std::swap(row, column);
            memory[8 * row_of(8 * i + row) + column] = value;
          }
      for (size_t word = 0; word < 256; ++word) {
        INFO("stmatrix x" << count << (trans ? " trans" : "") << " word " << word);
        REQUIRE(stored[word] == (memory[2 * word] | memory[2 * word + 1] << 16));
      }
    }
  auto moved = run_lanes(*device, "",
                         "mad.lo.u32 %r1, %r0, 131074, 65536;\nmovmatrix.sync.aligned.m8n8.trans.b16 %r2, "
                         "%r1;\nst.global.b32 [%rd2], %r2;\n",
                         {}, 1);
  // Element (row, column) before: lane row * 4 + column / 2, half column % 2; its value is then 8 row + column.
  for (uint32_t lane = 0; lane < 32; ++lane)
    for (uint32_t half = 0; half < 2; ++half)
      REQUIRE((moved[lane] >> (16 * half) & 0xffff) == 8 * (lane % 4 * 2 + half) + lane / 4);
}
