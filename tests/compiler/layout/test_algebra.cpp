// The algebra itself: text, canonical form, evaluation, inverse, and every operation against its definition at every
// place.
#include "layout_testing.h"

#include "compiler/layout/offsets.h"

using namespace tilejit::layout;
using namespace tilejit::layout::testing;

static std::vector<Coord> table(const Layout& layout) {
  std::vector<Coord> cells;
  for_places(layout, [&](const Place& p) { cells.push_back(layout.at(p)); });
  return cells;
}

TEST_CASE("the examples that teach the algebra") {
  const Layout c = Layout::parse("i:16 j:8 | reg j1 i8 | lane j2 j4 i1 i2 i4");
  CHECK(c.at({.reg = 3, .lane = 5}) == Coord{9, 3});
  CHECK(c.where({9, 2}) == Place{.reg = 2, .lane = 5});
  CHECK(c.draw().substr(0, 88) == "i\\j    0    1    2    3    4    5    6    7\n"
                                  "  0  0:0  0:1  1:0  1:1  2:0  2:1  3:0  3:1\n");
  const Layout d = Layout::parse("i:64 j:80 | reg j1 i8 j8*10 | lane j2 j4 i1 i2 i4 | warp i16 i32");
  CHECK(d.str() == "i:64 j:80 | reg j1 i8 j8 j16*5 | lane j2 j4 i1 i2 i4 | warp i16 i32");
  CHECK(d == c.repeat(1, 10, Axis::reg).repeat(0, 4, Axis::warp));
  CHECK(d.at({.reg = 5, .lane = 7, .warp = 2}) == Coord{33, 15});
  CHECK(d.count(Axis::reg) == 40);
  CHECK(d.slice(1).str() == "i:64 | reg i8 | lane ~ ~ i1 i2 i4 | warp i16 i32");
  CHECK(d.slice_keep(1).str() == "i:64 j:1 | reg i8 | lane ~ ~ i1 i2 i4 | warp i16 i32");
  CHECK(d.repeat(0, 3, Axis::warp).count(Axis::warp) == 12);
  const Layout k = swizzled(1, {64, 64}, 16, 128);
  CHECK(k.str() == "i:64 j:64 | offset j1 j2 j4 j8 j16 j32 i1^j8 i2^j16 i4^j32 i8 i16 i32");
  CHECK(k.where({7, 0}).offset * 2 == 1008);
  CHECK(k.where({2, 40}).offset * 2 == 368);
  CHECK(d.permute({1, 0}).permute({1, 0}) == d);
  CHECK(Layout::parse(d.str(false), {64, 80}) == d);
  CHECK(Layout().elements() == 1);
  CHECK(Layout::parse(Layout().str()) == Layout());
}

TEST_CASE("at, where, copies, text and canonical form agree with brute force") {
  uint64_t checked = 0;
  Random random(1);
  for (unsigned n = 0; n < 375; ++n) {
    const Layout m = random_layout(random);
    std::set<Coord> seen;
    uint32_t places = 0;
    for_places(m, [&](const Place& p) {
      const Coord c = m.at(p);
      for (unsigned d = 0; d < max_rank; ++d) EXPECT(c[d] < (d < m.rank() ? m.size(int(d)) : 1), m);
      seen.insert(c);
      ++places;
    });
    EXPECT(seen.size() == m.elements(), m);
    EXPECT(m.injective() == (places == m.elements()), m);
    for (const Coord& c : seen) EXPECT(m.at(m.where(c)) == c, m);
    EXPECT(Layout::parse(m.str()) == m, m);
    EXPECT(Layout::parse(m.str(false), shape_of(m)) == m, m);
    // Another spelling of the same function.
    Spelling s = m.spelling();
    for (unsigned tries = 0; tries < 3; ++tries)
      for (unsigned odd = 0; odd < s.odd_count(); ++odd)
        for (uint32_t p : {3u, 5u})
          if (s.odd(odd).radix % p == 0 && s.odd(odd).radix > p && random.chance(0.5)) {
            s.split_odd(odd, p);
            break;
          }
    const Layout again(s);
    EXPECT(again == m, m, again);
    EXPECT(again.hash() == m.hash(), m);
    EXPECT(table(again) == table(m), m);
  }
  CHECK(checked >= 300000);
}

TEST_CASE("an odd digit below bits has one canonical form") {
  CHECK(Layout::parse("i:6 j:32 | reg i1*3 i3 | lane j1 j2 j4 j8 j16") ==
        Layout::parse("i:6 j:32 | reg i1*6 | lane j1 j2 j4 j8 j16"));
  CHECK(Layout::parse("i:32 | lane i1 i2 i4 i8 i16 | warp ~3 ~ ~5") ==
        Layout::parse("i:32 | lane i1 i2 i4 i8 i16 | warp ~30"));
  CHECK(Layout::parse("i:15 | reg i1*3 i3*5") == Layout::parse("i:15 | reg i1*15"));
  CHECK(Layout::parse("i:15 | reg i5*3 i1*5") != Layout::parse("i:15 | reg i1*15"));
  // The bit above is xor-ed elsewhere: it cannot change places with the odd digit.
  CHECK(Layout::parse("i:6 j:16 | reg i1*3 i3 | lane j1 j2 j4 j8 i3").at({.reg = 4, .lane = 16}) == Coord{1, 0});
}

TEST_CASE("fields are equal exactly when functions are") {
  uint64_t checked = 0;
  Random random(2);
  unsigned equal = 0;
  for (unsigned n = 0; n < 400; ++n) {
    const Layout a = random_layout(random, {}, {.max_registers = 16});
    const Layout b =
        random.chance(0.5) ? perturbed(random, a, 0) : random_layout(random, shape_of(a), {.max_registers = 64});
    bool same = true;
    for (Axis axis : {Axis::reg, Axis::lane, Axis::warp}) same &= a.count(axis) == b.count(axis);
    same = same && table(a) == table(b);
    EXPECT((a == b) == same, a, b);
    if (same) EXPECT(a.hash() == b.hash(), a);
    equal += same;
  }
  CHECK(equal > 20);
  CHECK(equal < 380);
}

TEST_CASE("repeat, replicate, product, permute and insert at every place") {
  uint64_t checked = 0;
  Random random(3);
  for (unsigned n = 0; n < 120; ++n) {
    const Layout m = random_layout(random);
    const int dim = int(random.below(m.rank()));
    const uint32_t times = random.pick({1u, 2u, 3u, 5u, 6u});
    const Axis axis = random.pick({Axis::reg, Axis::warp});
    const uint32_t below = m.count(axis), step = m.size(dim);
    const Layout repeated = m.repeat(dim, times, axis), copied = m.replicate(times, Axis::warp);
    for_places(repeated, [&](Place p) {
      const Coord got = repeated.at(p);
      const uint32_t copy = p[axis] / below;
      p[axis] %= below;
      Coord want = m.at(p);
      want[size_t(dim)] += step * copy;
      EXPECT(got == want, m, repeated);
    });
    for_places(copied, [&](Place p) {
      const Coord got = copied.at(p);
      p.warp %= m.count(Axis::warp);
      EXPECT(got == m.at(p), m, copied);
    });
    Spelling outer_digits; // warps over every dim, no lanes: a factor
    outer_digits.rank = m.rank();
    for (unsigned d = 0; d < m.rank(); ++d)
      outer_digits.append(d, random.pick({1u, 2u, 3u}), random.pick({Axis::warp, Axis::reg}));
    const Layout outer(outer_digits), whole = m.product(outer);
    for_places(whole, [&](Place p) {
      const Coord got = whole.at(p);
      Place o{p.reg / m.count(Axis::reg), 0, p.warp / m.count(Axis::warp)};
      p.reg %= m.count(Axis::reg);
      p.warp %= m.count(Axis::warp);
      Coord want = m.at(p);
      const Coord tile = outer.at(o);
      for (unsigned d = 0; d < m.rank(); ++d) want[d] += m.size(int(d)) * tile[d];
      EXPECT(got == want, m, outer, whole);
    });
    std::vector<int> order(m.rank());
    for (unsigned d = 0; d < m.rank(); ++d) order[d] = int(d);
    random.shuffle(order);
    const Layout turned = m.permute(order);
    const unsigned position = random.below(m.rank() + 1);
    const Layout wider = m.insert(int(position), times, Axis::reg);
    for_places(m, [&](Place p) {
      const Coord c = m.at(p), t = turned.at(p);
      for (unsigned d = 0; d < m.rank(); ++d) EXPECT(t[d] == c[size_t(order[d])], m, turned);
      const uint32_t x = random.below(times);
      p.reg += x * m.count(Axis::reg);
      const Coord w = wider.at(p);
      for (unsigned d = 0; d <= m.rank(); ++d) EXPECT(w[d] == (d == position ? x : c[d - (d > position)]), m, wider);
    });
  }
  CHECK(checked >= 300000);
}

TEST_CASE("slice keeps what each thread holds, once") {
  uint64_t checked = 0;
  Random random(4);
  for (unsigned n = 0; n < 200; ++n) {
    const Layout m = random_layout(random);
    const int dim = int(random.below(m.rank()));
    const Layout kept = m.slice_keep(dim), gone = m.slice(dim);
    REQUIRE(kept.rank() == m.rank());
    REQUIRE(kept.size(dim) == 1);
    REQUIRE(gone.rank() == m.rank() - 1);
    REQUIRE(gone.count(Axis::reg) == kept.count(Axis::reg));
    EXPECT(gone.insert(dim, 1, Axis::reg) == kept, m);
    using Thread = std::pair<uint32_t, uint32_t>;
    std::map<Thread, std::set<Coord>> want;
    std::map<Thread, std::vector<Coord>> got;
    for_places(m, [&](const Place& p) {
      Coord c = m.at(p);
      c[size_t(dim)] = 0;
      want[{p.lane, p.warp}].insert(c);
    });
    for_places(kept, [&](const Place& p) {
      const Coord c = kept.at(p), less = gone.at(p);
      got[{p.lane, p.warp}].push_back(c);
      for (unsigned d = 0; d < gone.rank(); ++d) EXPECT(less[d] == c[d + (d >= unsigned(dim))], m);
    });
    for (auto& [thread, values] : got) {
      std::sort(values.begin(), values.end());
      EXPECT(values == std::vector<Coord>(want[thread].begin(), want[thread].end()), m, kept);
    }
  }
  CHECK(checked >= 50000);
}

TEST_CASE("reshape is row-major, and refused only where a digit would be cut") {
  uint64_t checked = 0;
  Random random(5);
  unsigned refused = 0, done = 0;
  for (unsigned n = 0; n < 150; ++n) {
    const Layout m = random_layout(random);
    const uint32_t total = m.elements();
    for (uint32_t a = 1; a <= total; ++a) {
      if (total % a) continue;
      const auto r = m.reshape({a, total / a});
      if (!r) {
        ++refused;
        continue;
      }
      ++done;
      for_places(m, [&](const Place& p) {
        const Coord c = r->at(p);
        EXPECT(c[0] * (total / a) + c[1] == flat(m, m.at(p)), m, *r);
      });
    }
    const auto line = m.reshape({total});
    REQUIRE(line);
    const auto back = line->reshape(shape_of(m));
    REQUIRE(back);
    EXPECT(*back == m, m, *line);
  }
  CHECK(done > 500);
  CHECK(refused > 20);
  CHECK(checked >= 300000);
  CHECK_FALSE(Layout::parse("i:80 | reg i1 i2 i4 | lane i8 ~ ~ ~ ~ | warp i16*5").reshape({16, 5}));
  CHECK(Layout::parse("i:80 | reg i1 i2 i4 | lane i8 ~ ~ ~ ~ | warp i16*5").reshape({5, 1, 16}));
  CHECK(Layout::parse("i:120 | reg i1*120").reshape({2, 3, 4, 5})->str() == "i:2 j:3 k:4 l:5 | reg l1*5 k1 k2 j1*3 i1");
  CHECK_THROWS_WITH(Layout::parse("i:32 | lane i1 i2 i4 i8 i16").reshape({5}),
                    Catch::Contains("reshape to 5 elements"));
}

TEST_CASE("a subtile is the same pattern further on") {
  uint64_t checked = 0;
  Random random(6);
  const auto compare = [&](const Layout& tile, const Shape& shape, const Coord& origin, const Subtile& part) {
    const Inverse whole(tile), small(part.layout);
    for_elements(part.layout, [&](const Coord& c) {
      Coord there = c;
      for (unsigned d = 0; d < tile.rank(); ++d) there[d] += origin[d];
      EXPECT(whole(there).offset == part.offset + small(c).offset, tile, part.layout);
    });
    CHECK(shape_of(part.layout) == shape);
  };
  const Layout tile = swizzled(1, {128, 128}, 16, 128);
  for (uint32_t column : {0u, 64u}) {
    const auto part = subtile(tile, {0, column}, Shape{128, 64});
    REQUIRE(part);
    CHECK(part->offset * 2 == column / 64 * 16384);
    CHECK(part->layout == swizzled(1, {128, 64}, 16, 128));
    compare(tile, {128, 64}, {0, column}, *part);
  }
  const auto rows = subtile(tile, {8, 0}, Shape{8, 128});
  REQUIRE(rows);
  CHECK_FALSE(subtile(tile, {1, 0}, Shape{1, 128})); // inside the swizzle's pattern
  unsigned found = 0;
  for (unsigned n = 0; n < 600; ++n) {
    const Shape shape{random.pick({8u, 16u, 48u, 80u}), random.pick({16u, 64u, 96u})};
    const Layout whole = random.chance(0.5) ? random_shared(random, shape)
                                            : swizzled(1, {shape[0], 64}, 16, random.pick({32u, 64u, 128u}));
    Shape size;
    Coord origin{};
    for (unsigned d = 0; d < 2; ++d) {
      const uint32_t parts = random.pick({1u, 2u, 3u, 4u, 5u, 6u});
      const uint32_t all = whole.size(int(d));
      size.push_back(all % parts ? all : all / parts);
      origin[d] = random.below(all / size[d]) * size[d];
    }
    if (const auto part = subtile(whole, origin, size)) {
      ++found;
      compare(whole, size, origin, *part);
    }
  }
  CHECK(found > 100);
  CHECK(checked >= 300000);
}

TEST_CASE("composed with a shared tile, a place's element is at the tile's offset for it") {
  uint64_t checked = 0;
  Random random(7);
  unsigned composed = 0;
  for (unsigned n = 0; n < 300; ++n) {
    const Layout m = random_layout(random), tile = random_shared(random, shape_of(m));
    const auto offsets = compose(m, tile);
    if (!offsets) continue; // digits of odd sizes that do not agree
    ++composed;
    const Inverse where(tile);
    for_places(m, [&](const Place& p) { EXPECT(offsets->at(p)[0] == where(m.at(p)).offset, m, tile); });
  }
  CHECK(composed > 100);
  CHECK(checked >= 300000);
}

TEST_CASE("dims of size 1 and ranks 0 to 5") {
  const Layout column = Layout::parse("i:64 j:1 | reg i8 | lane ~ ~ i1 i2 i4 | warp i16 i32");
  CHECK(column.size(1) == 1);
  CHECK(column.slice(1).insert(1, 1, Axis::reg) == column);
  CHECK(column.reshape({1, 64, 1})->rank() == 3);
  CHECK(column.permute({1, 0}).str() == "i:1 j:64 | reg j8 | lane ~ ~ j1 j2 j4 | warp j16 j32");
  CHECK(column.repeat(1, 4, Axis::reg).at({.reg = 2})[1] == 1);
  CHECK(convert(column, column, 32).kind == Conversion::rename);
  CHECK(global_vector(column, 1, 32, 16, 0) == 1);
  const Layout five = Layout::parse("i:2 j:2 k:2 l:2 m:6 | reg m1*6 | lane i1 j1 k1 l1 ~");
  CHECK(five.rank() == 5);
  CHECK(five.at({.reg = 5, .lane = 15}) == Coord{1, 1, 1, 1, 5});
  CHECK(five.slice(4).slice(0).str() == "i:2 j:2 k:2 | lane ~ i1 j1 k1 ~");
  CHECK(five.reshape({16, 6})->str() == "i:16 j:6 | reg j1 j2*3 | lane i8 i4 i2 i1 ~");
}

TEST_CASE("invariants refuse, and say why") {
  const auto refused = [](const char* text, const char* why) {
    INFO(text);
    CHECK_THROWS_AS(Layout::parse(text), std::invalid_argument);
    CHECK_THROWS_WITH(Layout::parse(text), Catch::Contains(why) && Catch::Contains(text));
  };
  refused("i:32 | reg i1 | lane i1 i2 i4 i8 i16 | reg i1", "appears twice");
  refused("i:4 j:32 | reg i1 i1 i2 | lane j1 j2 j4 j8 j16", "a thread would hold an element in two registers");
  refused("i:4 j:32 | reg i1 i2 i1^i2 | lane j1 j2 j4 j8 j16", "a thread would hold an element in two registers");
  refused("i:32 | reg ~3 | lane i1 i2 i4 i8 i16", "a thread would hold an element in 3 registers");
  refused("i:32 | reg ~ | lane i1 i2 i4 i8 i16", "a thread would hold an element in two registers");
  refused("i:4 | offset i1 i2 ~", "an element would lie at two offsets");
  refused("i:4 | offset i1 i2 ~3", "an element would lie at 3 offsets");
  refused("i:64 | lane i1 i2 i4 i16 i32", "make 32 elements, its size is 64");
  refused("i:64 | reg i128 | lane i1 i2 i4 i8 i16", "has no digit of weight 32");
  refused("i:24 | reg i1 i2^i4 | lane i4 i8*3 ~ ~ ~", "no odd digit can lie on them");
  refused("i:8 | lane i1 i2 i4", "five bits, not 3");
  refused("i:64 | lane i1 i2 i4 i8 i16 i32", "five bits, not 6");
  refused("i:9 j:32 | reg i1*3 i1*3 i3*3 | lane j1 j2 j4 j8 j16", "claim the same odd coordinate digit");
  refused("i:4 j:4 | reg i1 | lane j1 j2 i1^j1 ~ i1", "make 2 elements, its size is 4");
  refused("i:4 | reg i1^i2 | lane i1^i2 ~ ~ ~ ~", "some elements are at no place");
  refused("i:64 | reg i32@2 | lane i1 i2 i4 i8 i16", "leaves a gap");
  refused("i:8 | offset i1 i2@1 i4", "does not exceed what lies below it");
  refused("i:64 | lane i1 i2 i4 i8 i16 | offset i32", "in threads or in shared memory");
  refused("i:32 | lane i1 i2 i4 i8 i16 | thread ~", "expected an axis");
  refused("i:32 | lane i1 i2 k4 i8 i16", "expected a digit");
  refused("i:32 i:2 | lane i1 i2 i4 i8 i16", "named twice");
  refused("i:0 | reg ~", "a whole number from 1");
  refused("i:2 j:2 k:2 l:2 m:2 n:2 | reg i1", "at most 5 dims");
  refused("i:6 | reg i1*3^i3", "only bits can be xor-ed");
  refused("i:6 j:32 | reg i1*3 i1 i3 | lane j1 j2 j4 j8 j16", "both radix");
  refused("i:32 | lane i1 i2 i4 i8 i16 x", "expected a digit");
  CHECK_THROWS_AS(Layout().size(0), std::out_of_range);
  CHECK_THROWS_AS(mma(Operand::c, 32).slice(2), std::out_of_range);
  CHECK_THROWS_AS(mma(Operand::c, 32).permute({0, 0}), std::invalid_argument);
  CHECK_THROWS_AS(mma(Operand::c, 32).repeat(0, 2, Axis::lane), std::invalid_argument);
  CHECK_THROWS_AS(mma(Operand::c, 32).repeat(0, 0, Axis::reg), std::invalid_argument);
  CHECK_THROWS_AS(mma(Operand::c, 32).product(Layout()), std::invalid_argument);
}
