// Matrix instructions, element by element: fragments from the index formulas of the PTX manual, sums in the order that
// the simulator defines.
#include "tests/runtime/simulator/simulate.h"

#include <catch2/catch.hpp>

#include <cmath>

using namespace tilejit::runtime;
using namespace tilejit::runtime::simulator::test;

namespace {

enum class Kind { bf16, f16, tf32 };

float f16_value(uint16_t h) {
  int exponent = h >> 10 & 31, mantissa = h & 1023;
  float magnitude = exponent == 31  ? (mantissa ? NAN : INFINITY)
                    : exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -24)
                                    : std::ldexp(static_cast<float>(1024 + mantissa), exponent - 25);
  return h & 0x8000 ? -magnitude : magnitude;
}
/// Nearest even, by looking at both neighbours.
uint16_t nearest_f16(float x) {
  if (x != x) return 0x7fff;
  uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  double magnitude = std::fabs(static_cast<double>(x));
  if (magnitude >= 65520) return sign | 0x7c00;
  uint16_t low = 0, high = 0x7c00; // f16 numbers are ordered as their bits
  while (high - low > 1) {
    uint16_t middle = static_cast<uint16_t>((low + high) / 2);
    (f16_value(middle) <= magnitude ? low : high) = middle;
  }
  double up = high == 0x7c00 ? 65536.0 : f16_value(high), down = f16_value(low);
  if (magnitude - down > up - magnitude || (magnitude - down == up - magnitude && low % 2)) return sign | high;
  return sign | low;
}
float value_of(Kind kind, uint32_t bits) {
  if (kind == Kind::bf16) return bits_to<float>(bits << 16);
  if (kind == Kind::f16) return f16_value(static_cast<uint16_t>(bits));
  return bits_to<float>(bits & 0xffffe000);
}

/// The registers of one operand: [lane][register], and which element of the matrix each of their elements is.
struct Shape {
  Kind kind;
  int k;
  bool half; ///< f16 accumulators

  int per_register() const { return kind == Kind::tf32 ? 1 : 2; }
  int a_registers() const { return 16 * k / 32 / per_register(); }
  int b_registers() const { return 8 * k / 32 / per_register(); }
  int c_registers() const { return half ? 2 : 4; }

  // PTX ISA, "Matrix Fragments for mma.m16n8k4/k8/k16": i is the element's number in the lane's vector.
  void a(int lane, int i, int& row, int& column) const {
    int group = lane / 4, in_group = lane % 4;
    if (kind == Kind::tf32) {
      row = i % 2 ? group + 8 : group;
      column = i < 2 ? in_group : in_group + 4;
    } else {
      row = (i % 4) < 2 ? group : group + 8;
      column = in_group * 2 + (i & 1) + (i >= 4 ? 8 : 0);
    }
  }
  void b(int lane, int i, int& row, int& column) const {
    int group = lane / 4, in_group = lane % 4;
    column = group;
    row = kind == Kind::tf32 ? in_group + 4 * i : in_group * 2 + (i & 1) + (i >= 2 ? 8 : 0);
  }
  static void c(int lane, int i, int& row, int& column) {
    row = i < 2 ? lane / 4 : lane / 4 + 8;
    column = lane % 4 * 2 + (i & 1);
  }
  std::string name() const {
    std::string type = kind == Kind::bf16  ? "bf16"
                       : kind == Kind::f16 ? "f16"
                                           : "tf32",
                accumulator = half ? "f16" : "f32";
    return "mma.sync.aligned.m16n8k" + std::to_string(k) + ".row.col." + accumulator + "." + type + "." + type + "." +
           accumulator;
  }
};

const Shape shapes[] = {{Kind::bf16, 8, false}, {Kind::bf16, 16, false}, {Kind::f16, 8, false},
                        {Kind::f16, 16, false}, {Kind::f16, 8, true},    {Kind::f16, 16, true},
                        {Kind::tf32, 4, false}, {Kind::tf32, 8, false}};

std::string list(int first, int count) {
  std::string text = "{";
  for (int i = 0; i < count; ++i) text += (i ? ", %r" : "%r") + std::to_string(first + i);
  return text + "}";
}
std::string transfer(bool load, int parameter, int first, int count) {
  std::string text = element("%rd1", parameter, "%r0", 4 * count);
  for (int i = 0; i < count; ++i) {
    std::string at = "[%rd1+" + std::to_string(4 * i) + "]", reg = "%r" + std::to_string(first + i);
    text += load ? "ld.global.b32 " + reg + ", " + at + ";\n" : "st.global.b32 " + at + ", " + reg + ";\n";
  }
  return text;
}

/// Runs one instruction for `warps` warps; operands are [warp][lane][register].
std::vector<uint32_t> run_mma(const Shape& s, const std::vector<uint32_t>& a, const std::vector<uint32_t>& b,
                              const std::vector<uint32_t>& c, uint32_t warps) {
  Simulator sim;
  auto da = sim.upload(a), db = sim.upload(b), dc = sim.upload(c), dd = sim.upload(std::vector<uint32_t>(c.size()));
  std::string text = thread_index + transfer(true, 1, 10, s.a_registers()) + transfer(true, 2, 20, s.b_registers()) +
                     transfer(true, 3, 30, s.c_registers()) + s.name() + " " + list(40, s.c_registers()) + ", " +
                     list(10, s.a_registers()) + ", " + list(20, s.b_registers()) + ", " + list(30, s.c_registers()) +
                     ";\n" + transfer(false, 0, 40, s.c_registers());
  sim.run(kernel_text({"u64", "u64", "u64", "u64"}, text), warps, 32,
          {dd->address(), da->address(), db->address(), dc->address()});
  return sim.download<uint32_t>(*dd);
}

struct Matrices {
  float a[16][16] = {}, b[16][8] = {}, c[16][8] = {};
};
Matrices unpack(const Shape& s, const uint32_t* a, const uint32_t* b, const uint32_t* c) {
  Matrices m;
  int n = s.per_register(), row, column;
  auto part = [&](const uint32_t* registers, int count, int lane, int i) {
    uint32_t bits = registers[lane * count + i / n];
    return value_of(s.kind, n == 2 ? bits >> (16 * (i % 2)) & 0xffff : bits);
  };
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < s.a_registers() * n; ++i)
      s.a(lane, i, row, column), m.a[row][column] = part(a, s.a_registers(), lane, i);
    for (int i = 0; i < s.b_registers() * n; ++i)
      s.b(lane, i, row, column), m.b[row][column] = part(b, s.b_registers(), lane, i);
    for (int i = 0; i < 4; ++i) {
      Shape::c(lane, i, row, column);
      m.c[row][column] = s.half ? f16_value(static_cast<uint16_t>(c[lane * 2 + i / 2] >> (16 * (i % 2))))
                                : bits_to<float>(c[lane * 4 + i]);
    }
  }
  return m;
}

} // namespace

TEST_CASE("mma.sync: every shape and type, bit for bit against a chain of fused multiply-adds") {
  Random random;
  for (const Shape& s : shapes) {
    const uint32_t warps = 40;
    auto number = [&](Kind kind) -> uint32_t { // of either sign, away from the ends of the exponent's range
      uint32_t r = random();
      if (kind == Kind::bf16) return (r & 0x807f) | (120 + (r >> 16) % 12) << 7;
      if (kind == Kind::f16) return (r & 0x83ff) | (r >> 16) % 19 << 10; // with subnormal ones
      return (r & 0x807fffff) | (120 + (r >> 25) % 12) << 23;
    };
    auto fill = [&](int registers, auto make) {
      std::vector<uint32_t> x(size_t{warps} * 32 * static_cast<size_t>(registers));
      for (uint32_t& v : x) v = make();
      return x;
    };
    auto operand = [&] { return s.per_register() == 2 ? number(s.kind) | number(s.kind) << 16 : number(s.kind); };
    auto a = fill(s.a_registers(), operand), b = fill(s.b_registers(), operand);
    auto c = fill(s.c_registers(),
                  [&] { return s.half ? number(Kind::f16) | number(Kind::f16) << 16 : number(Kind::tf32); });
    auto d = run_mma(s, a, b, c, warps);
    for (uint32_t w = 0; w < warps; ++w) {
      size_t at = size_t{w} * 32;
      Matrices m = unpack(s, &a[at * static_cast<size_t>(s.a_registers())],
                          &b[at * static_cast<size_t>(s.b_registers())], &c[at * static_cast<size_t>(s.c_registers())]);
      for (int lane = 0; lane < 32; ++lane)
        for (int i = 0; i < 4; ++i) {
          int row, column;
          Shape::c(lane, i, row, column);
          float sum = m.c[row][column];
          for (int k = 0; k < s.k; k += 2)
            for (int odd : {1, 0}) sum = std::fma(m.a[row][k + odd], m.b[k + odd][column], sum);
          size_t lane_at = (at + static_cast<size_t>(lane)) * static_cast<size_t>(s.c_registers());
          INFO(s.name() << " warp " << w << " row " << row << " column " << column);
          if (s.half)
            REQUIRE((d[lane_at + static_cast<size_t>(i / 2)] >> (16 * (i % 2)) & 0xffff) == nearest_f16(sum));
          else
            REQUIRE(d[lane_at + static_cast<size_t>(i)] == bits_to<uint32_t>(sum));
        }
    }
  }
}

TEST_CASE("mma.sync one after another gives what each gives by itself") {
  // Programs of products that share A, or do not, or need what others wrote, as C, B or A.
  Random random;
  for (int round = 0; round < 40; ++round) {
    auto quad = [&] { return list(static_cast<int>(40 + 4 * (random() % 6)), 4); };
    std::vector<std::string> products;
    for (int i = 0; i < 12; ++i) {
      std::string a = list(random() % 4 ? 10 : 14, 4), b = list(static_cast<int>(20 + 2 * (random() % 5)), 2);
      std::string d = quad(), c = random() % 2 ? d : quad();
      if (random() % 8 == 0) d = random() % 2 ? a : list(20, 4);
      products.push_back("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 " + d + ", " + a + ", " + b + ", " + c +
                         ";\n");
    }
    std::vector<uint32_t> input(32 * 54);
    for (uint32_t& x : input) // exponents of bf16 near 0 and, now and then, subnormal ones
      x = (random() & 0x807f807f) | 0x3f003f00 | (random() & 0x01000080), x = random() % 200 ? x : x & 0x807f3fff;
    auto run = [&](const std::string& between) {
      Simulator sim;
      auto in = sim.upload(input), out = sim.upload(std::vector<uint32_t>(input.size()));
      std::string text = thread_index + transfer(true, 1, 10, 54);
      for (const std::string& p : products) text += p + between;
      text += transfer(false, 0, 10, 54);
      sim.run(kernel_text({"u64", "u64"}, text), 1, 32, {out->address(), in->address()});
      return sim.download<uint32_t>(*out);
    };
    CHECK(run("") == run("bar.warp.sync -1;\n"));
  }
}

TEST_CASE("mma.sync under a guard that is false does nothing") {
  for (const char* condition : {"ne", "eq"}) {
    Simulator sim;
    auto words = sim.words("mov.u32 %r10, 0x3f803f80; mov.u32 %r9, 7; setp." + std::string(condition) +
                               ".u32 %p1, %r2, %r2;\n@%p1 mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 "
                               "{%r9, %r3, %r4, %r5}, {%r10, %r10}, {%r10}, {%r6, %r6, %r6, %r6};",
                           1, 32);
    for (uint32_t x : words) CHECK((x == 7) == (std::string(condition) == "ne"));
  }
}

TEST_CASE("mma.sync at the ends of the range") {
  auto constant = [](const Shape& s, uint32_t a, uint32_t b, uint32_t c) {
    std::vector<uint32_t> x(32 * static_cast<size_t>(s.a_registers()), a),
        y(32 * static_cast<size_t>(s.b_registers()), b), z(32 * static_cast<size_t>(s.c_registers()), c);
    return run_mma(s, x, y, z, 1);
  };
  const Shape bf16{Kind::bf16, 16, false}, f16{Kind::f16, 16, false}, tf32{Kind::tf32, 8, false},
      half{Kind::f16, 16, true};
  // A subnormal bf16 counts: 2^-130 * 2^100 * 16.
  CHECK(constant(bf16, 0x00080008, 0x71807180, 0)[5] == bits_to<uint32_t>(std::ldexp(1.0f, -26)));
  // So does a subnormal tf32, 2^-127 * 2^100 * 8; a subnormal sum is flushed, an accumulator that is one counts.
  CHECK(constant(tf32, 0x00400000, 0x71800000, 0)[5] == bits_to<uint32_t>(std::ldexp(1.0f, -24)));
  CHECK(constant(bf16, 0, 0x3f803f80, 0x00000100)[5] == 0);
  CHECK(constant(bf16, 0x00800080, 0x3f803f80, 0x00400000)[5] == bits_to<uint32_t>(std::ldexp(16.5f, -126)));
  // Subnormal f16 are exact.
  CHECK(constant(f16, 0x00010001, 0x00010001, 0)[5] == bits_to<uint32_t>(std::ldexp(16.0f, -48)));
  // Infinities and NaN; NaN has one pattern.
  CHECK(constant(bf16, 0x7f807f80, 0x3f803f80, 0)[5] == 0x7f800000);
  CHECK(constant(bf16, 0x7f807f80, 0, 0)[5] == 0x7fffffff);
  CHECK(constant(f16, 0xfe01fe01, 0x3c003c00, 0)[5] == 0x7fffffff);
  CHECK(constant(tf32, 0x3f800000, 0xffc12345, 0)[5] == 0x7fffffff);
  CHECK(constant(half, 0x7bff7bff, 0x7bff7bff, 0)[5] == 0x7c007c00);
  CHECK(constant(half, 0x7e007e00, 0x3c003c00, 0)[5] == 0x7fff7fff);
  // tf32 uses 10 bits of mantissa.
  CHECK(constant(tf32, 0x3f801fff, 0x3f800000, 0)[5] == bits_to<uint32_t>(8.0f));
  // f16 accumulators are rounded once: 2048 + 16 * 1 is exact, one after the other would stay 2048.
  CHECK(constant(half, 0x3c003c00, 0x3c003c00, 0x68006800)[5] == 0x68086808);
}

TEST_CASE("wgmma of 8-bit floats: what is finite is summed as it is beside what is not") {
  // m64n16k32. A NaN in the last column of B makes the whole product go the slow way of exec_exact.cpp.
  Simulator sim;
  Random random;
  for (const std::string type : {"e4m3", "e5m2"})
    for (const bool half : {false, true}) {
      const int words = half ? 4 : 8;
      std::string body = "mov.u32 %r0, %tid.x; mov.u32 %r1, operand; setp.lt.u32 %p1, %r0, 32;\n" +
                         element("%rd1", 0, "%r0", 16) + "ld.global.v4.b32 {%r2, %r3, %r4, %r5}, [%rd1];\n" +
                         element("%rd2", 1, "%r0", 16) +
                         "@%p1 ld.global.v4.b32 {%r6, %r7, %r8, %r9}, [%rd2]; mad.lo.u32 %r10, %r0, 16, %r1;\n"
                         "@%p1 st.shared.v4.b32 [%r10], {%r6, %r7, %r8, %r9}; fence.proxy.async; bar.sync 0;\n" +
                         element("%rd3", 2, "%r0", 4 * words);
      std::string d = "{";
      for (int i = 0; i < words; ++i) {
        const std::string r = "%r" + std::to_string(20 + i);
        d += (i ? ", " : "") + r;
        body += "ld.global.b32 " + r + ", [%rd3+" + std::to_string(4 * i) + "];\n";
      }
      // Core matrices of 128 bytes: the other half of k is 128 bytes on, the next eight columns 256.
      body += "shr.u32 %r1, %r1, 4; cvt.u64.u32 %rd4, %r1; or.b64 %rd4, %rd4, 0x1000080000; setp.eq.u32 %p2, 0, 0;\n"
              "wgmma.fence.sync.aligned;\nwgmma.mma_async.sync.aligned.m64n16k32." +
              std::string(half ? "f16." : "f32.") + type + "." + type + " " + d +
              "}, {%r2, %r3, %r4, %r5}, %rd4, %p2, 1, 1;\n"
              "wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;\n";
      for (int i = 0; i < words; ++i)
        body += "st.global.b32 [%rd3+" + std::to_string(4 * i) + "], %r" + std::to_string(20 + i) + ";\n";
      const std::string ptx =
          kernel_text({"u64", "u64", "u64"}, body, "sm_90a", ".shared .align 128 .b8 operand[512];");
      for (int round = 0; round < 60; ++round) {
        // Of the bytes, some of a few exponents, some of all, some zero; all finite.
        auto bytes = [&](size_t count) {
          std::vector<uint8_t> all(count);
          const uint32_t kind = random() % 4;
          for (uint8_t& x : all) {
            x = static_cast<uint8_t>(random());
            if (kind == 1) x = (x & 0x8f) | 0x30;
            if (kind == 2 && random() % 8) x &= 0x80;
            if ((x & 0x7f) >= (type == "e4m3" ? 0x7f : 0x7c)) x ^= 0x40;
          }
          return all;
        };
        const std::vector<uint8_t> a = bytes(128 * 16), b = bytes(512);
        std::vector<uint32_t> c(128 * static_cast<size_t>(words));
        for (uint32_t& x : c) { // any bits, numbers near 1, zeros
          x = random();
          if (round % 3 == 1) x = half ? (x & 0x83ff83ff) | 0x3c003c00 : (x & 0x83ffffff) | 0x3c000000;
          if (round % 3 == 2) x &= half ? 0x80008000 : 0x80000000;
        }
        auto run = [&](const std::vector<uint8_t>& columns) {
          auto x = sim.upload(a), y = sim.upload(columns), z = sim.upload(c);
          sim.run(ptx, 1, 128, {x->address(), y->address(), z->address()});
          return sim.download<uint32_t>(*z);
        };
        std::vector<uint8_t> with_nan = b;
        with_nan[256 + 7 * 16] = 0x7f;
        const std::vector<uint32_t> finite = run(b), other = run(with_nan);
        size_t wrong = 0, changed = 0;
        for (size_t i = 0; i < finite.size(); ++i) {
          // Column 8 (i / 4) + 2 (lane % 4) + i % 2 of register i; halves are two columns a word.
          const size_t lane = i / static_cast<size_t>(words), r = i % static_cast<size_t>(words);
          const bool last = lane % 4 == 3 && (half ? r >= 2 : r >= 4 && r % 2 == 1);
          const uint32_t kept = half && last ? 0xffff : last ? 0 : ~0u;
          wrong += ((finite[i] ^ other[i]) & kept) != 0;
          changed += last && (half ? other[i] >> 16 : other[i]) == (half ? 0x7fffu : 0x7fffffffu);
        }
        INFO(type << " " << half << " round " << round);
        CHECK(wrong == 0);
        CHECK(changed == 64);
      }
    }
}
