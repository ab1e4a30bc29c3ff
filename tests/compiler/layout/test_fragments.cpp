// The layouts that instructions prescribe, against the formulas of the manual and against strides; blocked and dot
// layouts.
//
// Formulas: PTX ISA 9.1, section 9.7.14.5, "Matrix multiply-accumulate operation using mma instruction": Matrix
// Fragments for mma.m16n8k8 (9.7.14.5.7), mma.m16n8k16 with floating point type (9.7.14.5.8) and mma.m16n8k32
// (9.7.14.5.10), where groupID = laneid >> 2 and threadID_in_group = laneid % 4; section 9.7.15.5.1.1, "Register
// Fragments", for wgmma, which gives figures only.
#include "layout_testing.h"

#include <numeric>

using namespace tilejit::layout;
using namespace tilejit::layout::testing;

namespace {

// Digits of a number, the lowest first: size and stride of each.
using Strides = std::vector<std::pair<uint32_t, uint32_t>>;

struct Fragment {
  const char* name;
  Layout layout;
  Coord (*manual)(uint32_t i, uint32_t group, uint32_t thread); // element i of the lane
  Strides lane_strides, value_strides; // the same as strides: (lane, value) -> column-major number
};

uint32_t strided(uint32_t value, const Strides& strides) {
  uint32_t sum = 0;
  for (auto [size, stride] : strides) sum += value % size * stride, value /= size;
  return sum;
}

std::vector<Fragment> fragments() {
  return {
      {"A, 16 bits",
       mma(Operand::a, 16),
       [](uint32_t i, uint32_t g, uint32_t t) {
         return Coord{i < 2 || (4 <= i && i < 6) ? g : g + 8, t * 2 + (i & 1) + (i >= 4 ? 8 : 0)};
       },
       {{4, 32}, {8, 1}},
       {{2, 16}, {2, 8}, {2, 128}}},
      {"B, 16 bits",
       mma(Operand::b, 16),
       [](uint32_t i, uint32_t g, uint32_t t) { return Coord{t * 2 + (i & 1) + (i >= 2 ? 8 : 0), g}; },
       {{4, 16}, {8, 1}},
       {{2, 8}, {2, 64}}},
      {"C",
       mma(Operand::c, 32),
       [](uint32_t i, uint32_t g, uint32_t t) { return Coord{i < 2 ? g : g + 8, t * 2 + (i & 1)}; },
       {{4, 32}, {8, 1}},
       {{2, 16}, {2, 8}}},
      {"A, 32 bits",
       mma(Operand::a, 32),
       [](uint32_t i, uint32_t g, uint32_t t) { return Coord{i == 0 || i == 2 ? g : g + 8, i < 2 ? t : t + 4}; },
       {{4, 16}, {8, 1}},
       {{2, 8}, {2, 64}}},
      {"B, 32 bits",
       mma(Operand::b, 32),
       [](uint32_t i, uint32_t g, uint32_t t) { return Coord{i == 0 ? t : t + 4, g}; },
       {{4, 8}, {8, 1}},
       {{2, 32}}},
      {"A, 8 bits",
       mma(Operand::a, 8),
       [](uint32_t i, uint32_t g, uint32_t t) {
         return Coord{i < 4 || (8 <= i && i < 12) ? g : g + 8, t * 4 + (i & 3) + (i >= 8 ? 16 : 0)};
       },
       {{4, 64}, {8, 1}},
       {{4, 16}, {2, 8}, {2, 256}}},
      {"B, 8 bits",
       mma(Operand::b, 8),
       [](uint32_t i, uint32_t g, uint32_t t) { return Coord{t * 4 + (i & 3) + (i >= 4 ? 16 : 0), g}; },
       {{4, 32}, {8, 1}},
       {{4, 8}, {2, 128}}},
  };
}

} // namespace

TEST_CASE("mma fragments are those of the manual, and of strides") {
  uint64_t checked = 0;
  for (const Fragment& f : fragments()) {
    const bool is_b = f.name[0] == 'B'; // strides count the non-contracted dim first
    for (uint32_t lane = 0; lane < 32; ++lane)
      for (uint32_t reg = 0; reg < f.layout.count(Axis::reg); ++reg) {
        const Coord c = f.layout.at({.reg = reg, .lane = lane});
        EXPECT(c == f.manual(reg, lane >> 2, lane % 4), f.name, f.layout);
        const uint32_t number = strided(lane, f.lane_strides) + strided(reg, f.value_strides);
        EXPECT((is_b ? c[1] + f.layout.size(1) * c[0] : c[0] + f.layout.size(0) * c[1]) == number, f.name);
      }
    CHECK(f.layout.injective());
  }
  CHECK(checked == 2 * 32 * (8 + 4 + 4 + 4 + 2 + 16 + 8));
}

TEST_CASE("wgmma fragments are those of the manual, and of strides") {
  uint64_t checked = 0;
  for (uint32_t n = 8; n <= 256; n += 8) {
    const Layout d = wgmma(Operand::c, n, 32);
    REQUIRE(d.count(Axis::reg) == n / 2);
    REQUIRE(d.injective());
    for_places(d, [&](const Place& p) {
      const uint32_t row = 16 * p.warp + (p.lane >> 2) + 8 * ((p.reg >> 1) & 1),
                     column = 8 * (p.reg / 4) + 2 * (p.lane % 4) + (p.reg & 1);
      EXPECT((d.at(p) == Coord{row, column}), d);
      const uint32_t thread = p.lane + 32 * p.warp;
      EXPECT(row + 64 * column ==
                 strided(thread, {{4, 128}, {8, 1}, {4, 16}}) + strided(p.reg, {{2, 64}, {2, 8}, {n / 8, 512}}),
             d);
    });
    EXPECT(d == mma(Operand::c, 32).repeat(1, n / 8, Axis::reg).repeat(0, 4, Axis::warp), d);
  }
  CHECK(checked == 2 * 270336 + 32);
  for (unsigned bits : {8u, 16u, 32u}) {
    const Layout a = wgmma(Operand::a, 0, bits);
    const uint32_t packed = 32 / bits;
    for_places(a, [&](const Place& p) {
      const uint32_t word = p.reg / packed, e = p.reg % packed;
      const Coord c = a.at(p);
      EXPECT((c == Coord{16 * p.warp + (p.lane >> 2) + 8 * (word & 1),
                         packed * (p.lane % 4) + e + 4 * packed * (word >> 1)}),
             a);
      EXPECT(c[0] + 64 * c[1] == strided(p.lane + 32 * p.warp, {{4, 64 * packed}, {8, 1}, {4, 16}}) +
                                     strided(p.reg, {{packed, 64}, {2, 8}, {2, 256 * packed}}),
             a);
    });
  }
  CHECK(checked == 2 * (270336 + 3584) + 32);
  CHECK_THROWS_WITH(wgmma(Operand::b, 64, 16), Catch::Contains("shared memory only"));
  CHECK_THROWS_WITH(wgmma(Operand::c, 12, 32), Catch::Contains("not 12"));
  CHECK_THROWS_WITH(mma(Operand::a, 64), Catch::Contains("not 64"));
}

TEST_CASE("three warpgroups: 12 warps, 192 rows") {
  uint64_t checked = 0;
  for (uint32_t n : {80u, 96u, 112u}) {
    const Layout d = wgmma(Operand::c, n, 32).repeat(0, 3, Axis::warp);
    const Layout a = wgmma(Operand::a, 0, 16).repeat(1, n / 16, Axis::reg).repeat(0, 3, Axis::warp);
    const Conversion c = convert(d, a, 16);
    CHECK(c.kind == Conversion::rename);
    CHECK(c.permutes == 0);
    CHECK(d.slice(1) == wgmma(Operand::c, 256, 32).repeat(0, 3, Axis::warp).slice(1));
    for_places(d, [&](const Place& p) {
      const uint32_t row = 64 * (p.warp / 4) + 16 * (p.warp % 4) + (p.lane >> 2) + 8 * ((p.reg >> 1) & 1);
      EXPECT((d.at(p) == Coord{row, 8 * (p.reg / 4) + 2 * (p.lane % 4) + (p.reg & 1)}), d);
    });
    const Layout tile = swizzled(1, {192, n}, 16, n * 2 % 128 == 0 ? 128 : n * 2 % 64 == 0 ? 64 : 32);
    simulate_matrix_access(Access::stmatrix, d, tile, 16, checked);
    const auto waves = wavefronts(Access::stmatrix, d, tile, 16);
    REQUIRE(waves);
    CHECK(waves->wavefronts == waves->least);
    CHECK(tma_boxes(tile, 1, 16));
    // A thread's rows, once each, and nothing else.
    const Layout rows = d.slice(1);
    for (uint32_t warp = 0; warp < 12; ++warp)
      for (uint32_t lane = 0; lane < 32; ++lane) {
        std::set<uint32_t> held, kept;
        for (uint32_t r = 0; r < d.count(Axis::reg); ++r) held.insert(d.at({r, lane, warp})[0]);
        for (uint32_t r = 0; r < rows.count(Axis::reg); ++r)
          EXPECT(kept.insert(rows.at({r, lane, warp})[0]).second, rows);
        EXPECT(held == kept, d, rows);
      }
  }
  CHECK(checked > 65000);
}

TEST_CASE("dot layouts give each warp exactly what its part of the product needs") {
  uint64_t checked = 0;
  for (uint32_t m : {16u, 48u, 64u, 96u, 128u})
    for (uint32_t n : {8u, 24u, 64u, 80u, 240u})
      for (uint32_t warps : {1u, 2u, 3u, 4u, 6u, 8u, 12u, 16u})
        for (unsigned bits : {8u, 16u, 32u}) {
          const uint32_t step = 256 / bits, k = 3 * step;
          const DotLayouts dot = dot_layouts(m, n, k, bits, warps);
          EXPECT(dot.row_warps * dot.column_warps * dot.copies == warps, dot.c);
          EXPECT(dot.row_warps == std::gcd(m / 16, warps), dot.c);
          for (const Layout* l : {&dot.a, &dot.b, &dot.c})
            EXPECT(l->count(Axis::warp) == warps && l->count(Axis::lane) == 32, *l);
          EXPECT((shape_of(dot.a) == Shape{m, k} && shape_of(dot.b) == Shape{k, n} && shape_of(dot.c) == Shape{m, n}),
                 dot.a, dot.b, dot.c);
          EXPECT(dot.c.count(Axis::reg) * 32 * dot.row_warps * dot.column_warps == m * n, dot.c);
          EXPECT(dot.a.count(Axis::reg) * 32 * dot.row_warps == m * k, dot.a);
          EXPECT(dot.b.count(Axis::reg) * 32 * dot.column_warps == k * n, dot.b);
          for (uint32_t w = 0; w < warps;
               ++w) { // the rows of a warp's c are the rows of its a; the columns those of its b
            std::set<uint32_t> rows, columns, a_rows, b_columns;
            for (uint32_t lane : {0u, 5u, 31u}) {
              for (uint32_t r = 0; r < dot.c.count(Axis::reg); ++r) {
                const Coord c = dot.c.at({r, lane, w});
                rows.insert(c[0] / 16);
                columns.insert(c[1] / 8);
              }
              for (uint32_t r = 0; r < dot.a.count(Axis::reg); ++r) a_rows.insert(dot.a.at({r, lane, w})[0] / 16);
              for (uint32_t r = 0; r < dot.b.count(Axis::reg); ++r) b_columns.insert(dot.b.at({r, lane, w})[1] / 8);
            }
            EXPECT(rows == a_rows && columns == b_columns, dot.a, dot.b, dot.c);
          }
          // The product of a chain: c of the first as a of the second, for 16 bits.
          if (bits == 16 && n % 16 == 0 && dot.column_warps == 1) {
            const Conversion c = convert(dot.c, dot_layouts(m, 64, n, 16, warps).a, 16);
            if (dot_layouts(m, 64, n, 16, warps).column_warps == 1 || dot.copies == 1)
              EXPECT(c.kind == Conversion::rename && c.permutes == 0, dot.c);
          }
        }
  CHECK(dot_layouts(64, 80, 16, 16, 4).c == wgmma(Operand::c, 80, 32));
  CHECK(dot_layouts(192, 80, 16, 16, 12).c == wgmma(Operand::c, 80, 32).repeat(0, 3, Axis::warp));
  CHECK(checked > 9000);
  CHECK_THROWS_WITH(dot_layouts(17, 8, 16, 16, 4), Catch::Contains("multiples of 16, not 17"));
  CHECK_THROWS_WITH(dot_layouts(16, 8, 8, 16, 4), Catch::Contains("multiples of 16, not 8"));
}

TEST_CASE("blocked covers every shape, in vectors and whole sectors") {
  uint64_t checked = 0, accesses = 0;
  for (auto [rows, columns] : {std::pair{64u, 80u},
                               {128u, 192u},
                               {16u, 576u},
                               {80u, 64u},
                               {80u, 256u},
                               {96u, 112u},
                               {64u, 64u},
                               {128u, 128u},
                               {112u, 96u},
                               {64u, 576u},
                               {192u, 80u}})
    for (unsigned bits : {8u, 16u, 32u})
      for (uint32_t warps : {1u, 4u, 8u}) {
        const Layout b = blocked({rows, columns}, bits, warps);
        EXPECT((shape_of(b) == Shape{rows, columns} && b.count(Axis::warp) == warps), b);
        const unsigned v = global_vector(b, 1, bits, 16, 0);
        EXPECT(v * bits == std::min(128u, bits << factors(columns).bits), b, uint64_t(v));
        const std::vector<uint32_t> registers = vector_registers(b, 1, v);
        EXPECT(registers.size() == b.count(Axis::reg), b);
        if (columns * bits / 8 % 32) continue;
        for (size_t r = 0; r < registers.size();
             r += v) { // every 32-byte sector that an instruction touches is used whole
          std::set<uint32_t> bytes, sectors;
          for (uint32_t lane = 0; lane < 32; ++lane)
            for (uint32_t e = 0; e < v; ++e)
              for (uint32_t x = 0; x < bits / 8; ++x) {
                const uint32_t byte = flat(b, b.at({.reg = registers[r + e], .lane = lane})) * bits / 8 + x;
                bytes.insert(byte);
                sectors.insert(byte / 32);
              }
          EXPECT(bytes.size() == sectors.size() * 32, b);
          ++accesses;
        }
      }
  CHECK(accesses >= 512);
  CHECK(blocked({64, 80}, 16, 4).str() == "i:64 j:80 | reg j1 j2 j4 j16*5 | lane j8 i1 i2 i4 i8 | warp i16 i32");
  CHECK(blocked({16, 576}, 16, 4).str() == "i:16 j:576 | reg j1 j2 j4 j64*9 | lane j8 j16 j32 i1 i2 | warp i4 i8");
  CHECK(blocked({64, 80}, 16, 4, 0).str() == "i:64 j:80 | reg i1 i2 i4 j16*5 | lane i8 i16 i32 j1 j2 | warp j4 j8");
  Random random(7);
  for (unsigned n = 0; n < 2000; ++n) { // anything at all
    Shape shape(random.between(0, 5));
    for (uint32_t& x : shape) x = random.chance(0.2) ? 1 : random.between(1, shape.size() > 3 ? 12 : 100);
    const uint32_t warps = random.between(1, 16);
    const unsigned bits = random.pick({8u, 16u, 32u, 64u});
    const int contiguous = random.chance(0.5) || shape.empty() ? -1 : int(random.below(uint32_t(shape.size())));
    const Layout b = blocked(shape, bits, warps, contiguous);
    EXPECT((shape_of(b) == shape && b.count(Axis::warp) == warps && b.count(Axis::lane) == 32), b);
    if (b.count(Axis::reg) * 32 * warps > 20000) continue;
    std::vector<bool> seen(b.elements());
    for_places(b, [&](const Place& p) { seen[flat(b, b.at(p))] = true; });
    EXPECT(std::find(seen.begin(), seen.end(), false) == seen.end(), b);
  }
  CHECK(checked > 5000);
  CHECK_THROWS_AS(blocked({4, 4}, 16, 0), std::invalid_argument);
  CHECK_THROWS_AS(blocked({4, 4}, 16, 4, 2), std::invalid_argument);
  CHECK_THROWS_AS(blocked({4, 0}, 16, 4), std::invalid_argument);
}
