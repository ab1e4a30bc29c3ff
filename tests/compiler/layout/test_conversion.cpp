// Conversions between registers: their class against sets of elements, and their plans carried out on values.
#include "layout_testing.h"

using namespace tilejit::layout;
using namespace tilejit::layout::testing;

namespace {

using Thread = std::pair<uint32_t, uint32_t>; // lane, warp

struct Brute {
  Conversion::Kind kind;
  uint32_t foreign; // most elements a thread must get from other lanes
};

Brute brute_class(const Layout& from, const Layout& to) {
  const uint32_t warps = from.count(Axis::warp), sources = from.count(Axis::reg), targets = to.count(Axis::reg);
  REQUIRE(sources <= 64);
  std::vector<uint64_t> held(from.elements()); // by element: the registers of the thread at hand that hold it
  std::vector<bool> in_warp(from.elements());
  std::vector<uint64_t> serves(targets,
                               ~uint64_t(0)); // the source registers that serve a target register in every thread
  bool local = true, warp_local = true;
  uint32_t most = 0;
  for (uint32_t w = 0; w < warps; ++w) {
    in_warp.assign(from.elements(), false);
    for (uint32_t l = 0; l < 32; ++l)
      for (uint32_t r = 0; r < sources; ++r) in_warp[flat(from, from.at({r, l, w}))] = true;
    for (uint32_t l = 0; l < 32; ++l) {
      std::vector<uint32_t> mine;
      for (uint32_t r = 0; r < sources; ++r) {
        mine.push_back(flat(from, from.at({r, l, w})));
        held[mine.back()] |= uint64_t(1) << r;
      }
      uint32_t foreign = 0;
      for (uint32_t r = 0; r < targets; ++r) {
        const uint32_t e = flat(to, to.at({r, l, w}));
        serves[r] &= held[e];
        foreign += held[e] == 0;
        warp_local = warp_local && in_warp[e];
      }
      local = local && foreign == 0;
      most = std::max(most, foreign);
      for (uint32_t e : mine) held[e] = 0;
    }
  }
  if (local) {
    const bool rename = std::find(serves.begin(), serves.end(), 0u) == serves.end();
    return {rename ? Conversion::rename : Conversion::select, 0};
  }
  return warp_local ? Brute{Conversion::shuffle, most} : Brute{Conversion::memory, 0};
}

/// Does what the plan says on registers that hold element numbers; true when every target register ends with its
/// element.
bool run(const LocalPlan& plan, const Layout& from, const Layout& to) {
  bool right = true;
  for_places(to, [&](const Place& p) {
    uint32_t code = plan.base[p.reg] ^ plan.thread(p);
    for (const LocalPlan::Odd& odd : plan.odd) code += p[odd.axis] / odd.stride % odd.radix * odd.step;
    right = right && from.at({plan.registers.at(code), p.lane, p.warp}) == to.at(p);
  });
  return right;
}

bool run(const ShufflePlan& plan, const Layout& from, const Layout& to, unsigned capacity) {
  const uint32_t targets = to.count(Axis::reg);
  for (uint32_t w = 0; w < to.count(Axis::warp); ++w) {
    std::vector<uint32_t> result(32 * targets, ~0u);
    for (const ShufflePlan::Round& round : plan.rounds) {
      if (round.send.size() > capacity || round.send.size() != round.keep.size()) return false;
      std::vector<std::vector<uint32_t>> sent(32); // what each lane puts into its word
      for (uint32_t lane = 0; lane < 32; ++lane)
        for (const Affine& send : round.send)
          sent[lane].push_back(flat(from, from.at({plan.source_registers.at(send(Place{0, lane, w})), lane, w})));
      for (uint32_t lane = 0; lane < 32; ++lane) {
        const uint32_t source = round.source(Place{0, lane, w});
        if (source >= 32 || (round.local && source != lane)) return false;
        for (size_t e = 0; e < round.keep.size(); ++e)
          result[lane * targets + plan.target_registers.at(round.keep[e](Place{0, lane, w}))] = sent[source][e];
      }
    }
    for (uint32_t lane = 0; lane < 32; ++lane)
      for (uint32_t r = 0; r < targets; ++r)
        if (result[lane * targets + r] != flat(to, to.at({r, lane, w}))) return false;
  }
  return true;
}

} // namespace

TEST_CASE("the class of a conversion is that of brute force, and its plan delivers") {
  uint64_t checked = 0;
  Random random(11);
  std::map<Conversion::Kind, unsigned> count;
  unsigned refused = 0, minimal = 0;
  for (unsigned n = 0; n < 3600; ++n) {
    const Layout a = random_layout(random, {}, {.mixing = random.pick({0.0, 0.5}), .max_registers = 32});
    const unsigned warp_bits = unsigned(std::countr_zero(a.count(Axis::warp)));
    const Layout b = n % 3 == 0
                         ? random_layout(random, shape_of(a), {.warp_bits = int(warp_bits), .max_registers = 1024})
                         : perturbed(random, a, n % 3);
    if (a.count(Axis::warp) != b.count(Axis::warp)) continue;
    const Brute want = brute_class(a, b);
    const Conversion got = convert(a, b, 32);
    const auto local = plan_local(a, b);
    const auto shuffles = plan_shuffles(a, b, 32);
    EXPECT(local.has_value() == (got.kind <= Conversion::select), a, b);
    EXPECT(shuffles.has_value() == (got.kind == Conversion::shuffle), a, b);
    if (got.kind != want.kind) {
      // Two things are given up: copies whose readers disagree about the register, and warps numbered with other
      // digits.
      EXPECT(got.kind == Conversion::memory, a, b);
      ++refused;
      continue;
    }
    ++count[got.kind];
    if (local) {
      EXPECT(run(*local, a, b), a, b);
      EXPECT((got.kind == Conversion::rename) == (local->thread.terms.empty() && local->odd.empty()), a, b);
    }
    if (shuffles) {
      EXPECT(run(*shuffles, a, b, 1), a, b);
      EXPECT(shuffles->shuffles == got.shuffles, a, b);
      EXPECT(got.shuffles == want.foreign, a, b, uint64_t(got.shuffles), uint64_t(want.foreign));
      ++minimal;
    }
    EXPECT(got.slots >= got.shuffles + got.permutes, a, b);
  }
  CHECK(count[Conversion::rename] > 150);
  CHECK(count[Conversion::select] > 100);
  CHECK(count[Conversion::memory] > 400);
  const unsigned plans = count[Conversion::rename] + count[Conversion::select] + count[Conversion::shuffle];
  CHECK(plans >= 1067);
  CHECK(plans + count[Conversion::memory] >= 2504);
  CHECK(minimal >= 650);
  INFO(refused);
  CHECK(refused < 80);
  CHECK(checked > 10000);
}

TEST_CASE("narrow elements: words are filled, and shuffles and byte permutes counted") {
  uint64_t checked = 0;
  Random random(21);
  unsigned plans = 0, least = 0, permutes = 0;
  for (unsigned n = 0; n < 900; ++n) {
    const Layout a = random_layout(random, {}, {.mixing = random.pick({0.0, 0.5})}), b = perturbed(random, a, n % 2);
    const unsigned bits = random.pick({8u, 16u}), packed = 32 / bits;
    const Conversion got = convert(a, b, bits);
    const Brute want = brute_class(a, b);
    if (got.kind == Conversion::memory && want.kind != Conversion::memory) continue;
    EXPECT(got.kind == want.kind, a, b);
    if (got.kind == Conversion::shuffle) {
      const auto plan = plan_shuffles(a, b, bits);
      REQUIRE(plan);
      EXPECT(run(*plan, a, b, packed), a, b);
      EXPECT(plan->shuffles == got.shuffles, a, b);
      ++plans;
      if (!a.injective()) continue;
      // A shuffle serves one source lane: as many as the words that each lane sends this thread.
      std::map<uint32_t, uint32_t> lane_of;
      for_places(a, [&](const Place& p) { lane_of[flat(a, a.at(p))] = p.lane; });
      std::map<Thread, std::map<uint32_t, uint32_t>> from;
      for_places(b, [&](const Place& p) {
        const uint32_t lane = lane_of[flat(b, b.at(p))];
        if (lane != p.lane) ++from[{p.lane, p.warp}][lane];
      });
      uint32_t most = 0;
      for (const auto& [thread, lanes] : from) {
        uint32_t words = 0;
        for (const auto& [lane, elements] : lanes) words += (elements + packed - 1) / packed;
        most = std::max(most, words);
      }
      EXPECT(got.shuffles == most, a, b, uint64_t(got.shuffles), uint64_t(most));
      ++least;
    }
    if (got.kind == Conversion::rename) {
      bool odd_inside = a.count(Axis::reg) % packed != 0; // a word that an odd digit runs through is not counted
      for (const Layout* l : {&a, &b})
        for (const Digit& d : l->digits()) odd_inside |= d.axis == Axis::reg && !d.bit() && d.stride < packed;
      if (odd_inside) continue;
      const auto plan = plan_local(a, b);
      uint32_t need = 0;
      for (uint32_t word = 0; word < b.count(Axis::reg); word += packed) {
        std::set<uint32_t> words;
        bool in_place = true;
        for (uint32_t e = 0; e < packed; ++e) {
          const uint32_t source = plan->registers[plan->base[word + e]];
          words.insert(source / packed);
          in_place &= source % packed == e;
        }
        if (words.size() > 1 || !in_place) need += std::max<uint32_t>(1, uint32_t(words.size()) - 1);
      }
      EXPECT(need == got.permutes, a, b, uint64_t(need), uint64_t(got.permutes));
      ++permutes;
    }
  }
  CHECK(plans > 200);
  CHECK(least >= 85);
  CHECK(permutes >= 77);
}

TEST_CASE("the probabilities of attention become an operand without moving") {
  unsigned free = 0;
  for (uint32_t n = 16; n <= 256; n += 16) {
    const Conversion warpgroup =
        convert(wgmma(Operand::c, n, 32), wgmma(Operand::a, 0, 16).repeat(1, n / 16, Axis::reg), 16);
    const Conversion warp =
        convert(mma(Operand::c, 32).repeat(1, n / 8, Axis::reg), mma(Operand::a, 16).repeat(1, n / 16, Axis::reg), 16);
    for (const Conversion& c : {warpgroup, warp}) {
      CHECK(c.kind == Conversion::rename);
      CHECK(c.permutes == 0);
      CHECK(c.slots == 0);
      ++free;
    }
  }
  CHECK(free == 32);
}

TEST_CASE("fp8 and tf32 products: shuffles, or none after renumbering the contraction") {
  uint64_t checked = 0;
  unsigned orders = 0;
  const auto try_order = [&](const Layout& accumulator, const Layout& a) {
    const auto order = contraction_order(accumulator, a);
    REQUIRE(order);
    ++orders;
    // Position x of the operand takes element order[x]: then every thread already holds its own.
    std::map<Thread, std::set<Coord>> held;
    for_places(accumulator, [&](const Place& p) { held[{p.lane, p.warp}].insert(accumulator.at(p)); });
    for_places(a, [&](const Place& p) {
      const Coord c = a.at(p);
      EXPECT(held[(Thread{p.lane, p.warp})].count(Coord{c[0], order->at(c[1])}), accumulator, a);
    });
    CHECK(std::set<uint32_t>(order->begin(), order->end()).size() == order->size());
  };
  for (uint32_t n = 32; n <= 256; n += 32) {
    const Layout accumulator = wgmma(Operand::c, n, 32), a = wgmma(Operand::a, 0, 8).repeat(1, n / 32, Axis::reg);
    CHECK(convert(accumulator, a, 8).kind == Conversion::shuffle);
    try_order(accumulator, a);
  }
  for (uint32_t n = 8; n <= 256; n += 8) {
    const Layout accumulator = wgmma(Operand::c, n, 32), a = wgmma(Operand::a, 0, 32).repeat(1, n / 8, Axis::reg);
    CHECK(convert(accumulator, a, 32).kind == Conversion::shuffle);
    try_order(accumulator, a);
  }
  CHECK(orders == 40);
  CHECK(contraction_order(wgmma(Operand::c, 96, 32), wgmma(Operand::a, 0, 8).repeat(1, 3, Axis::reg))->at(2) ==
        8); // k2 is found at j8
  CHECK_FALSE(contraction_order(wgmma(Operand::c, 64, 32), blocked({64, 64}, 32, 4)));
}

TEST_CASE("known conversions and their counts") {
  const auto shuffles = [](const Layout& a, const Layout& b, unsigned bits) {
    const Conversion c = convert(a, b, bits);
    CHECK(c.kind == Conversion::shuffle);
    return c.shuffles;
  };
  const Layout d = wgmma(Operand::c, 80, 32), c64 = mma(Operand::c, 32).repeat(1, 8, Axis::reg);
  CHECK(shuffles(wgmma(Operand::c, 96, 32), wgmma(Operand::a, 0, 8).repeat(1, 3, Axis::reg), 8) == 12);
  CHECK(shuffles(c64, mma(Operand::a, 8).repeat(1, 2, Axis::reg), 8) == 8);
  CHECK(shuffles(c64, mma(Operand::a, 32).repeat(1, 8, Axis::reg), 32) == 32);
  const Layout c16 = mma(Operand::c, 32).repeat(1, 2, Axis::reg);
  CHECK(shuffles(c16, c16.permute({1, 0}), 16) == 4);
  CHECK(shuffles(d, blocked({64, 80}, 16, 4), 16) == 20);
  const Layout columns = Layout::parse("j:80 | reg j16*5 | lane j1 j2 j4 j8 ~ | warp ~ ~");
  CHECK(shuffles(columns, d.slice(0), 32) == 20);
  CHECK(convert(Layout::parse("j:80 | reg j1*80 | lane ~ ~ ~ ~ ~ | warp ~ ~"), columns, 32).kind == Conversion::select);
  const Conversion through = convert(d, blocked({64, 80}, 32, 4), 32);
  CHECK(through.kind == Conversion::memory);
  CHECK(through.slots == 40 + 4 * (40 + 40)); // without conflict
  // 64-bit elements take two shuffles each.
  CHECK(convert(c16, c16.permute({1, 0}), 64).shuffles == 2 * convert(c16, c16.permute({1, 0}), 32).shuffles);
  // Digits that do not agree: memory, never an error.
  const Layout a = Layout::parse("i:16 j:160 | reg j1 i8 j8*10 | lane j2 j4 i1 i2 i4 | warp j80");
  const Layout b = Layout::parse("i:16 j:160 | reg j1*8 j32*5 | lane j8 j16 i1 i2 i4 | warp i8");
  CHECK(convert(a, b, 16).kind == Conversion::memory);
  CHECK_THROWS_WITH(convert(a, d, 16), Catch::Contains("keeps the shape"));
}
