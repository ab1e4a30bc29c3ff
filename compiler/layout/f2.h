// f2.h - linear algebra over F2, the field of bits: a vector is the set of ones in a uint64_t, addition is xor.
//
// The radix-2 digits of a layout are such vectors, and nearly every question about a layout is "does this vector lie in
// the span of those, and as the sum of which?".  Elimination answers it: it keeps independent vectors by their highest
// bit.
#pragma once
#include "compiler/layout/static_vector.h"

#include <bit>
#include <cstdint>
#include <optional>
#include <span>

namespace tilejit::layout {

using Vectors = StaticVector<uint64_t, 64>;

/// The xor of those members of `vectors` that `members` selects.
inline uint64_t xor_of(std::span<const uint64_t> vectors, uint64_t members) {
  uint64_t sum = 0;
  for (; members; members &= members - 1) sum ^= vectors[std::countr_zero(members)];
  return sum;
}

/// An echelon basis that grows one vector at a time and remembers which of the added vectors make up each of its own.
class Elimination {
public:
  Elimination() {}
  explicit Elimination(std::span<const uint64_t> vectors) {
    for (uint64_t v : vectors) add(v);
  }
  /// Adds the next vector (number 0, 1, 2 ...); false when it depends on those before.
  bool add(uint64_t v) {
    uint64_t members = uint64_t(1) << added_++;
    reduce(v, members);
    last_members_ = members;
    if (!v) return false;
    const int top = 63 - std::countl_zero(v);
    vector_[top] = v;
    members_[top] = members;
    pivots_ |= uint64_t(1) << top;
    return true;
  }
  /// The vectors whose sum is `target`, independent ones that were added early preferred; nullopt when it is not in the
  /// span.
  std::optional<uint64_t> solve(uint64_t target) const {
    uint64_t members = 0;
    reduce(target, members);
    if (target) return std::nullopt;
    return members;
  }
  bool contains(uint64_t v) const {
    uint64_t members = 0;
    reduce(v, members);
    return v == 0;
  }
  unsigned rank() const { return unsigned(std::popcount(pivots_)); }
  /// After an add that returned false: the added vectors (itself included) that sum to zero.
  uint64_t relation() const { return last_members_; }

private:
  void reduce(uint64_t& v, uint64_t& members) const {
    for (uint64_t left = v & pivots_; left;) {
      const int top = 63 - std::countl_zero(left);
      v ^= vector_[top];
      members ^= members_[top];
      left = v & pivots_ & ((uint64_t(1) << top) - 1);
    }
  }

  uint64_t pivots_ = 0, last_members_ = 0;
  unsigned added_ = 0;
  uint64_t vector_[64], members_[64];
};

inline unsigned rank(std::span<const uint64_t> vectors) { return Elimination(vectors).rank(); }

/// All the ways (a basis of them) in which the vectors sum to zero.
inline Vectors kernel(std::span<const uint64_t> vectors) {
  Vectors relations;
  Elimination basis;
  for (uint64_t v : vectors)
    if (!basis.add(v)) relations.push_back(basis.relation());
  return relations;
}

/// A basis of the vectors that lie in both spans.
inline Vectors intersect(std::span<const uint64_t> a, std::span<const uint64_t> b) {
  Vectors independent, common;
  Elimination basis;
  for (uint64_t v : a)
    if (basis.add(v)) independent.push_back(v);
  Elimination both(independent);
  for (uint64_t v : b) // a sum of a's and b's vectors that is zero has equal halves: each half is in both spans
    if (!both.add(v))
      common.push_back(xor_of(independent, both.relation() & ((uint64_t(1) << independent.size()) - 1)));
  Vectors result;
  Elimination distinct;
  for (uint64_t v : common)
    if (distinct.add(v)) result.push_back(v);
  return result;
}

/// Those candidates, in order, that extend the span of `vectors`, until it has `dimension` dimensions.
inline Vectors extend(std::span<const uint64_t> vectors, std::span<const uint64_t> candidates,
                      unsigned dimension = 64) {
  Elimination basis(vectors);
  Vectors added;
  for (uint64_t v : candidates) {
    if (basis.rank() >= dimension) break;
    if (!basis.contains(v)) {
      basis.add(v);
      added.push_back(v);
    }
  }
  return added;
}

} // namespace tilejit::layout
