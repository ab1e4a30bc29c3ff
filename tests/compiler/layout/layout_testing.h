// layout_testing.h - random layouts and brute force, for the property tests of the layout algebra.
//
// A property is checked at many thousand places; EXPECT counts and stays silent until one fails, and a test ends by
// requiring that it has checked as many as it is meant to.
#pragma once
#include "compiler/layout/instructions.h"
#include "compiler/layout/questions.h"
#include "compiler/layout/shared_memory.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <vector>

namespace tilejit::layout {

#define EXPECT(condition, ...)                                                                                         \
  do {                                                                                                                 \
    ++checked;                                                                                                         \
    if (!(condition)) {                                                                                                \
      FAIL(#condition << " at check " << checked << ": " << testing::describe(__VA_ARGS__));                           \
    }                                                                                                                  \
  } while (false)

namespace testing {

inline std::string describe() { return ""; }
inline std::string describe(const Layout& layout) { return layout.str() + "\n"; }
inline std::string describe(const std::string& text) { return text + "\n"; }
inline std::string describe(const char* text) { return std::string(text) + "\n"; }
inline std::string describe(uint64_t value) { return std::to_string(value) + " "; }
template <typename T, typename... Rest>
std::string describe(const T& value, const Rest&... rest) {
  std::string text;
  text += describe(value);
  (void)std::initializer_list<int>{(text += describe(rest), 0)...};
  return text;
}

class Random {
public:
  explicit Random(uint64_t seed) : generator_(seed) {}
  uint32_t below(uint32_t n) { return uint32_t(generator_() % n); }
  uint32_t between(uint32_t low, uint32_t high) { return low + below(high - low + 1); }
  bool chance(double p) { return double(generator_() >> 11) / double(uint64_t(1) << 53) < p; }
  template <typename T>
  T pick(std::initializer_list<T> values) {
    return values.begin()[below(uint32_t(values.size()))];
  }
  template <typename C>
  auto& pick(C& values) {
    return values[below(uint32_t(values.size()))];
  }
  template <typename C>
  void shuffle(C& values) {
    for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[below(uint32_t(i))]);
  }

private:
  std::mt19937_64 generator_;
};

using Shape = std::vector<uint32_t>;
inline Shape shape_of(const Layout& layout) {
  const auto all = layout.shape();
  return Shape(all.begin(), all.begin() + layout.rank());
}

/// Drops the registers that repeat an element of their thread.
inline Spelling without_duplicates(Spelling s) {
  std::vector<uint64_t> kept;
  for (size_t i = 0; i < s.digits.size();) {
    const Digit d = s.digits[i];
    bool drop = false;
    if (d.axis == Axis::reg && d.bit()) { // by trying all sums: kept is small
      for (uint64_t set = 0; set < uint64_t(1) << kept.size() && !drop; ++set) {
        uint64_t sum = 0;
        for (size_t b = 0; b < kept.size(); ++b)
          if (set >> b & 1) sum ^= kept[b];
        drop = sum == d.image;
      }
      if (!drop) kept.push_back(d.image);
    } else if (d.axis == Axis::reg) {
      drop = d.image == 0;
    }
    if (drop)
      s.digits.erase(i);
    else
      ++i;
  }
  s.close_gaps(Axis::reg);
  return s;
}

struct Options {
  int warp_bits = -1; ///< -1: 0 to 3
  double mixing = 0.4;
  uint32_t max_registers = 64;
  unsigned low_bits = 2, high_bits = 5; ///< of a dim
};

/// A random surjective layout of registers with copies, xor and odd digits.  Any shape when `shape` is empty.
inline Layout random_layout(Random& random, Shape shape = {}, const Options& options = {}) {
  const bool any_shape = shape.empty();
  while (true) {
    if (any_shape) {
      shape.assign(random.pick({1u, 2u, 2u, 2u, 3u}), 1);
      for (uint32_t& n : shape) {
        const unsigned high = shape.size() == 3 ? std::min(3u, options.high_bits) : options.high_bits;
        n = (1u << random.between(std::min(options.low_bits, high), high)) *
            random.pick({1u, 1u, 1u, 3u, 5u, 7u, 9u, 15u});
        if (random.chance(0.05)) n = 1;
      }
    }
    Spelling s;
    s.rank = unsigned(shape.size());
    std::vector<std::pair<uint32_t, uint64_t>> odds; // radix, image
    for (unsigned d = 0; d < s.rank; ++d) {
      const Factors f = factors(shape[d]);
      for (unsigned b = 0; b < f.bits; ++b) s.add_coordinate(d, 2);
      if (f.odd > 1) odds.push_back({f.odd, s.add_coordinate(d, f.odd) + 1});
    }
    const unsigned bits = s.bit_count();
    const unsigned warps = options.warp_bits >= 0 ? unsigned(options.warp_bits) : random.pick({0u, 1u, 2u, 2u, 3u});
    const unsigned copies = random.pick({0u, 0u, 1u, 2u});
    std::vector<Axis> slots(5, Axis::lane);
    slots.insert(slots.end(), warps, Axis::warp);
    if (bits + copies > slots.size()) slots.insert(slots.end(), bits + copies - slots.size(), Axis::reg);
    std::vector<uint64_t> vectors;
    for (unsigned b = 0; b < bits; ++b) vectors.push_back(uint64_t(1) << b);
    vectors.resize(slots.size());
    random.shuffle(vectors);
    if (random.chance(options.mixing)) // column operations keep the span
      for (unsigned i = 0, n = unsigned(double(vectors.size()) * 2 * options.mixing); i < n; ++i) {
        const uint32_t a = random.below(uint32_t(vectors.size())), b = random.below(uint32_t(vectors.size()));
        if (a != b) vectors[a] ^= vectors[b];
      }
    struct Item {
      Axis axis;
      uint32_t radix;
      uint64_t image;
    };
    std::vector<Item> items;
    for (size_t i = 0; i < slots.size(); ++i) items.push_back({slots[i], 2, vectors[i]});
    for (auto [radix, image] : odds) items.push_back({random.chance(0.8) ? Axis::reg : Axis::warp, radix, image});
    if (random.chance(0.1)) items.push_back({Axis::warp, 3, 0});
    random.shuffle(items);
    for (const Item& item : items) s.add_digit(item.axis, item.radix, item.image);
    s = without_duplicates(s);
    if (s.count(Axis::reg) <= options.max_registers && s.count(Axis::warp) <= 12) return Layout(s);
  }
}

/// A layout near `a`: registers and lanes exchanged, registers reordered, or thread bits mixed with register bits.
inline Layout perturbed(Random& random, const Layout& a, unsigned how) {
  while (true) {
    Spelling s = a.spelling();
    std::vector<size_t> pool, registers;
    for (size_t i = 0; i < s.digits.size(); ++i) {
      const Digit& d = s.digits[i];
      if (d.bit() && (d.axis == Axis::reg || d.axis == Axis::lane)) pool.push_back(i);
      if (d.axis == Axis::reg) registers.push_back(i);
    }
    if (how == 1) {
      for (unsigned n = random.pick({1u, 2u, 4u}); n-- > 0;)
        std::swap(s.digits[random.pick(pool)].image, s.digits[random.pick(pool)].image);
    } else {
      std::vector<Digit> shuffled;
      for (size_t i : registers) shuffled.push_back(s.digits[i]);
      random.shuffle(shuffled);
      for (size_t i = 0; i < registers.size(); ++i) s.digits[registers[i]] = shuffled[i];
      s.close_gaps(Axis::reg);
      if (how == 2 && !registers.empty() && random.chance(0.5))
        for (Digit& d : s.digits) {
          const Digit& g = s.digits[random.pick(registers)];
          if (d.bit() && d.axis != Axis::reg && g.bit() && random.chance(0.3)) d.image ^= g.image;
        }
    }
    try {
      return Layout(s);
    } catch (const std::invalid_argument&) {
      how = 0; // the exchange made copies of registers: reorder only
    }
  }
}

/// A random shared layout: bits in any order, some xor-ed, odd digits on top.
inline Layout random_shared(Random& random, const Shape& shape) {
  Spelling s;
  s.rank = unsigned(shape.size());
  std::vector<uint64_t> bits;
  for (unsigned d = 0; d < s.rank; ++d) {
    const Factors f = factors(shape[d]);
    for (unsigned b = 0; b < f.bits; ++b) s.add_coordinate(d, 2);
    if (f.odd > 1) s.add_coordinate(d, f.odd);
  }
  for (unsigned b = 0; b < s.bit_count(); ++b) bits.push_back(uint64_t(1) << b);
  random.shuffle(bits);
  if (bits.size() > 1)
    for (unsigned n = random.pick({0u, 0u, 3u}); n-- > 0;) {
      const uint32_t a = random.below(uint32_t(bits.size())), b = random.below(uint32_t(bits.size()));
      if (a != b) bits[a] ^= bits[b];
    }
  for (uint64_t image : bits) s.add_digit(Axis::offset, 2, image);
  for (unsigned n = 0; n < s.odd_count(); ++n) s.add_digit(Axis::offset, s.odd(n).radix, n + 1);
  return Layout(s);
}

/// Every place of a layout of registers.
template <typename F>
void for_places(const Layout& layout, F f) {
  for (uint32_t cta = 0; cta < layout.count(Axis::cta); ++cta)
    for (uint32_t warp = 0; warp < layout.count(Axis::warp); ++warp)
      for (uint32_t lane = 0; lane < layout.count(Axis::lane); ++lane)
        for (uint32_t reg = 0; reg < layout.count(Axis::reg); ++reg) f(Place{reg, lane, warp, cta, 0});
}
/// Every element.
template <typename F>
void for_elements(const Layout& layout, F f) {
  Coord c{};
  for (uint32_t left = layout.elements(), index = 0; index < left; ++index) {
    uint32_t rest = index;
    for (unsigned d = layout.rank(); d-- > 0; rest /= layout.size(int(d))) c[d] = rest % layout.size(int(d));
    f(c);
  }
}
/// The row-major number of an element.
inline uint32_t flat(const Layout& layout, const Coord& c) {
  uint32_t index = 0;
  const auto shape = layout.shape();
  for (unsigned d = 0; d < layout.rank(); ++d) index = index * shape[d] + c[d];
  return index;
}
/// Offset of every element of a shared tile, by its row-major number.
inline std::vector<uint32_t> offsets_of(const Layout& shared) {
  std::vector<uint32_t> offsets(shared.elements());
  const Inverse inverse(shared);
  for_elements(shared, [&](const Coord& c) { offsets[flat(shared, c)] = inverse(c).offset; });
  return offsets;
}

/// A matrix access of every warp: each register must meet its element.
inline void simulate_matrix_access(Access access, const Layout& registers, const Layout& shared, unsigned bits,
                                   uint64_t& checked) {
  const auto plan = matrix_access(access, registers, shared, bits);
  REQUIRE(plan);
  const uint32_t packed = 32 / bits, row = 128 / bits;
  EXPECT(plan->registers.size() * packed == registers.count(Axis::reg), registers, shared);
  for (uint32_t w = 0; w < registers.count(Axis::warp); ++w)
    for (uint32_t item = 0; item < plan->registers.size() / plan->words; ++item)
      for (uint32_t word = 0; word < plan->words; ++word)
        for (uint32_t lane = 0; lane < 32; ++lane)
          for (uint32_t e = 0; e < packed; ++e) {
            // PTX ISA 9.1, section 9.7.14.5.15 (ldmatrix): thread t holds elements 2 (t % 4) and 2 (t % 4) + 1 of row t
            // / 4 (16 bits); with .trans row and column change places.
            const uint32_t r = plan->transposed ? 2 * (lane % 4) + e : lane / 4;
            const uint32_t column = plan->transposed ? lane / 4 : packed * (lane % 4) + e;
            const uint32_t address = plan->rows(item, Place{0, 8 * word + r, w});
            EXPECT(address % row == 0, registers, shared);
            EXPECT(shared.at({.offset = address + column}) ==
                       registers.at({plan->registers[item * plan->words + word] + e, lane, w}),
                   registers, shared);
          }
}

} // namespace testing
} // namespace tilejit::layout
