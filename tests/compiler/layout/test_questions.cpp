// Questions about one tile of registers: coordinates as code, bounds, reductions, first copies, global vectors.
#include "layout_testing.h"

using namespace tilejit::layout;
using namespace tilejit::layout::testing;

TEST_CASE("linear code computes every coordinate") {
  uint64_t checked = 0;
  Random random(31);
  unsigned adds = 0, several = 0;
  for (unsigned n = 0; n < 250; ++n) {
    const Layout m = random_layout(random, {}, {.mixing = random.pick({0.0, 0.15, 0.5})});
    const int dim = int(random.below(m.rank()));
    const Linear code = linear(m, dim);
    adds += code.adds();
    several += code.fields.size() > 1;
    for (const Linear::Field& f : code.fields)
      for (const Linear::Term& t : f.terms) {
        EXPECT(t.axis != Axis::reg && t.value != 0, m);
        EXPECT(t.top == (t.stride * t.radix == m.count(t.axis)), m);
      }
    for_places(m, [&](const Place& p) { EXPECT(code(p) == m.at(p)[size_t(dim)], m); });
  }
  CHECK(adds > 50);
  CHECK(several > 20);
  CHECK(checked > 200000);
  // What code generation sees: row = lane / 4 + 16 * warp + {0, 8}, two terms.
  const Linear row = linear(wgmma(Operand::c, 80, 32), 0);
  REQUIRE(row.adds());
  REQUIRE(row.fields[0].terms.size() == 2);
  const Linear::Term& lane = row.fields[0].terms[0];
  CHECK((lane.axis == Axis::lane && lane.stride == 4 && lane.radix == 8 && lane.value == 1 && lane.top));
  CHECK(row.fields[0].registers[2] == 8);
  // A bit above an odd digit, flipped by two lane bits: a field of weight 3.
  const Layout odd_below = Layout::parse("i:6 j:8 | reg i1*3 | lane i3 j1 j2 j4 i3");
  const Linear code = linear(odd_below, 0);
  REQUIRE(code.fields.size() == 2);
  CHECK((code.fields[1].exclusive_or && code.fields[1].weight == 3));
  for_places(odd_below, [&](const Place& p) { EXPECT(code(p) == odd_below.at(p)[0], odd_below); });
}

TEST_CASE("bounds: thread part < bound - register part") {
  uint64_t checked = 0;
  Random random(32);
  for (unsigned n = 0; n < 150; ++n) {
    const Layout m = random_layout(random, {}, {.mixing = 0.15, .max_registers = 32});
    const int dim = int(random.below(m.rank()));
    const auto parts = split(m, dim);
    const Linear code = linear(m, dim);
    if (!parts) {
      CHECK_FALSE(code.adds());
      continue;
    }
    const uint32_t bound = random.below(m.size(dim) + 1);
    for_places(m, [&](const Place& p) {
      const uint32_t thread = m.at({0, p.lane, p.warp})[size_t(dim)], reg = m.at({p.reg, 0, 0})[size_t(dim)];
      const bool inside = m.at(p)[size_t(dim)] < bound;
      EXPECT(inside == (int64_t(thread) < int64_t(bound) - reg), m);
      EXPECT(std::binary_search(parts->register_parts.begin(), parts->register_parts.end(), reg), m);
      EXPECT(thread <= parts->thread_max, m);
      EXPECT(!(reg + parts->thread_max < bound) || inside, m);
    });
  }
  CHECK(checked > 26000);
  const Layout d = wgmma(Operand::c, 80, 32);
  CHECK(split(d, 1)->register_parts.size() == 20);
  CHECK(split(d, 0)->register_parts.size() == 2);
  CHECK(split(d, 1)->thread_max == 6);
  CHECK_FALSE(split(Layout::parse("i:2 j:32 | reg i1 | lane i1^j1 j2 j4 j8 j16 | warp j1"), 0));
}

TEST_CASE("a planned reduction adds every element once") {
  uint64_t checked = 0;
  Random random(33);
  unsigned refused = 0, through_memory = 0;
  for (unsigned n = 0; n < 400; ++n) {
    const Layout m = random_layout(random, {}, {.mixing = random.pick({0.0, 0.25}), .max_registers = 32});
    const int dim = int(random.below(m.rank()));
    const auto plan = plan_reduction(m, dim);
    if (!plan) {
      ++refused;
      continue;
    }
    const auto value = [&](const Coord& c) { return uint64_t(c[0]) * 100003 + c[1] * 1009 + c[2] * 13 + 1; };
    const auto rest = [&](Coord c) {
      c[size_t(dim)] = 0;
      return c;
    };
    std::map<Coord, uint64_t> want;
    for_elements(m, [&](const Coord& c) { want[rest(c)] += value(c); });

    const Layout kept = m.slice_keep(dim);
    const uint32_t registers = kept.count(Axis::reg), warps = m.count(Axis::warp);
    std::vector<uint64_t> sums(size_t(warps) * 32 * registers);
    const auto at = [&](uint32_t w, uint32_t l, uint32_t r) -> uint64_t& {
      return sums[(size_t(w) * 32 + l) * registers + r];
    };
    EXPECT(plan->in_thread == m.count(Axis::reg) - registers, m);
    for_places(m, [&](const Place& p) { at(p.warp, p.lane, plan->target[p.reg]) += value(m.at(p)); });
    for (uint32_t mask : plan->butterflies) {
      std::vector<uint64_t> old = sums;
      for (uint32_t w = 0; w < warps; ++w)
        for (uint32_t l = 0; l < 32; ++l)
          for (uint32_t r = 0; r < registers; ++r) at(w, l, r) += old[(size_t(w) * 32 + (l ^ mask)) * registers + r];
    }
    // Through memory: what lies as `partial` is read as `gathered`, and summed in the thread.
    EXPECT(plan->partial.size(dim) == plan->warps && plan->gathered.size(dim) == plan->warps, m);
    EXPECT(plan->partial.count(Axis::reg) == registers, m, plan->partial);
    EXPECT(plan->gathered.slice_keep(dim) == kept, m, plan->gathered);
    EXPECT(plan->warps > 1 || plan->partial == kept, m, plan->partial);
    through_memory += plan->warps > 1;
    std::map<Coord, uint64_t> memory;
    for_places(plan->partial, [&](const Place& p) {
      const auto [cell, added] = memory.emplace(plan->partial.at(p), at(p.warp, p.lane, p.reg));
      EXPECT(added || cell->second == at(p.warp, p.lane, p.reg), m, plan->partial); // copies agree
    });
    const auto last = plan_reduction(plan->gathered, dim);
    REQUIRE(last);
    EXPECT(last->butterflies.empty() && last->warps == 1, m);
    std::vector<uint64_t> results(sums.size());
    for_places(plan->gathered, [&](const Place& p) {
      results[(size_t(p.warp) * 32 + p.lane) * registers + last->target[p.reg]] += memory.at(plan->gathered.at(p));
    });
    for_places(kept, [&](const Place& p) {
      EXPECT(results[(size_t(p.warp) * 32 + p.lane) * registers + p.reg] == want[rest(kept.at(p))], m, kept);
    });
  }
  CHECK(refused > 20);
  CHECK(refused < 250);
  CHECK(through_memory > 50);
  CHECK(checked > 88000);
  const auto rows = plan_reduction(wgmma(Operand::c, 80, 32), 1);
  REQUIRE(rows);
  CHECK(rows->in_thread == 38);
  CHECK(rows->butterflies == std::vector<uint32_t>{1, 2});
  CHECK(rows->warps == 1);
  CHECK(plan_reduction(wgmma(Operand::c, 80, 32), 0)->warps == 4);
  CHECK_FALSE(plan_reduction(Layout::parse("i:2 j:16 | lane i1^j1 j2 j4 j8 j1"), 0));
}

TEST_CASE("row statistics lie where the next product needs them") {
  for (uint32_t n = 64; n <= 256; n += 16) {
    const Layout s = wgmma(Operand::c, n, 32);
    CHECK(s.slice(1) == wgmma(Operand::c, 128, 32).slice(1));
    CHECK(convert(s.slice_keep(1), wgmma(Operand::c, 80, 32).slice_keep(1), 32).kind == Conversion::rename);
  }
}

TEST_CASE("exactly one thread holds the first copy of an element") {
  uint64_t checked = 0;
  Random random(34);
  for (unsigned n = 0; n < 200; ++n) {
    const Layout m = random_layout(random, {}, {.max_registers = 32});
    const FirstCopy first = first_copy(m);
    std::vector<uint32_t> holders(m.elements());
    const Inverse where(m);
    for_places(m, [&](const Place& p) {
      const Coord c = m.at(p);
      const bool holds = first.holds(p);
      EXPECT(holds == (where(c) == p), m);
      holders[flat(m, c)] += holds;
    });
    for (uint32_t count : holders) EXPECT(count == 1, m);
    EXPECT((first.lanes == 0 && first.digits.empty()) == m.injective(), m);
  }
  CHECK(checked > 250000);
  const FirstCopy first = first_copy(Layout::parse("i:64 | reg i8 | lane ~ ~ i1 i2 i4 | warp i16 ~ i32*2 ~3"));
  CHECK(first.lanes == 3);
  REQUIRE(first.digits.size() == 2);
  CHECK((first.digits[0].stride == 2 && first.digits[0].radix == 2 && first.digits[1].stride == 8 &&
         first.digits[1].radix == 3));
}

TEST_CASE("global vectors are the widest that the same registers of every thread can make") {
  uint64_t checked = 0;
  Random random(35);
  // Is there a grouping of the registers into runs of v, aligned along dim, the same in every thread?
  const auto possible = [](const Layout& m, int dim, uint32_t v) {
    if (m.size(dim) % v) return false;
    const uint32_t registers = m.count(Axis::reg);
    const auto key = [&](const Place& p) { // (run, element in the run)
      Coord c = m.at(p);
      const uint32_t e = c[size_t(dim)] % v;
      c[size_t(dim)] -= e;
      return std::pair{c, e};
    };
    for (uint32_t w = 0; w < m.count(Axis::warp); ++w)
      for (uint32_t l = 0; l < m.count(Axis::lane); ++l) {
        std::map<Coord, uint32_t> size;
        for (uint32_t r = 0; r < registers; ++r) {
          const auto [run, e] = key({r, l, w});
          ++size[run];
          if (e != key({r, 0, 0}).second) return false; // another element of the run than in thread 0
        }
        for (const auto& [run, n] : size)
          if (n != v) return false;
      }
    return true;
  };
  for (unsigned n = 0; n < 400; ++n) {
    const Layout m = random_layout(random, {}, {.mixing = 0.3, .max_registers = 32});
    const int dim = int(random.below(m.rank()));
    const unsigned bits = random.pick({8u, 16u, 32u});
    const uint32_t v = global_vector(m, dim, bits, 16, 0);
    EXPECT(possible(m, dim, v), m);
    if (v * 2 * bits <= 128) EXPECT(!possible(m, dim, v * 2), m, uint64_t(v));
    const std::vector<uint32_t> registers = vector_registers(m, dim, v);
    EXPECT(std::set<uint32_t>(registers.begin(), registers.end()).size() == m.count(Axis::reg), m);
    for (size_t r = 0; r < registers.size(); ++r)
      for (uint32_t lane : {0u, 13u, 31u}) {
        Coord base = m.at({.reg = registers[r - r % v], .lane = lane});
        EXPECT(base[size_t(dim)] % v == 0, m);
        base[size_t(dim)] += uint32_t(r % v);
        EXPECT(base == m.at({.reg = registers[r], .lane = lane}), m);
      }
  }
  CHECK(checked > 10000);
  const Layout b = blocked({64, 80}, 16, 4);
  CHECK(global_vector(b, 1, 16, 16, 0) == 8);
  CHECK(global_vector(b, 1, 16, 8, 0) == 4);
  CHECK(global_vector(b, 1, 16, 16, 6) == 2);
  CHECK(global_vector(b, 0, 16, 16, 0) == 1);
  CHECK_THROWS_AS(vector_registers(b, 1, 16), std::invalid_argument);
}
