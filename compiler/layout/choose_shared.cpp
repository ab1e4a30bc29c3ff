// choose_shared.cpp - a layout of a shared tile without bank conflict, for a writer and a reader.
//
// Let the tile have n coordinate bits and let w bits fill the 128 bytes of all banks.  Lay out V first (the bits of one
// vector), then bits up to w, then H, the bits that move an element by multiples of 128 bytes and so within a bank.  An
// access by lanes whose bits span L, with vectors V, has no conflict iff H meets U = span(V, the lanes of one phase)
// only in 0.  For two accesses such an H always exists: extend U1 and U2 to dimension w, let I be their intersection,
// a_i and b_i bases of U1/I and U2/I; then a complement of U1 + U2 together with all a_i + b_i is one.  Odd digits go
// on top: they move all addresses of an access alike.
#include "compiler/layout/f2.h"
#include "compiler/layout/offsets.h"
#include "compiler/layout/shared_memory.h"

#include <stdexcept>

namespace tilejit::layout {

namespace {

constexpr uint32_t impossible = ~0u;

struct Cost {
  uint32_t slots = 0;  // wavefronts + instructions
  bool perfect = true; // no conflict, and no wider access could be had
};

Cost cost_of(std::span<const Use> uses, const Layout& tile, unsigned bits) {
  Cost cost;
  for (const Use& use : uses) {
    auto waves = wavefronts(use.access, use.registers, tile, bits);
    if (!waves) {
      cost.perfect = false;
      waves = wavefronts(Access::vector, use.registers, tile, bits);
    }
    if (!waves) return {impossible, false};
    cost.slots += waves->wavefronts + waves->instructions;
    const uint32_t registers = use.registers.count(Axis::reg);
    const uint32_t most = std::min(16u, (registers & (~registers + 1)) * std::max(bits, 8u) / 8);
    cost.perfect &= waves->wavefronts == waves->least && waves->bytes >= most;
  }
  return cost;
}

/// What a use asks of the address bits.
struct Need {
  bool fixed; // the lowest bits must be exactly `row`
  Vectors row, registers, lanes;
  Vectors threads; // all of lane, warp and cta
};

Need need_of(Access access, const Spelling& s, unsigned bits) {
  Need need{};
  Vectors lanes;
  for (const Digit& d : s.digits)
    if (d.bit()) (d.axis == Axis::reg ? need.registers : need.threads).push_back(d.image);
  for (uint32_t lane = 1; lane < 32; lane *= 2) {
    const Digit* d = s.find(Axis::lane, lane);
    lanes.push_back(d ? d->image : 0);
  }
  const unsigned packed = bits >= 32 ? 0 : unsigned(std::countr_zero(32u / std::max(bits, 8u)));
  if (access == Access::vector || need.registers.size() < packed) {
    need.lanes = lanes;
    return need;
  }
  need.fixed = true;
  if (access == Access::ldmatrix || access == Access::stmatrix) {
    for (unsigned b = 0; b < packed; ++b) need.row.push_back(need.registers[b]);
    need.row.push_back(lanes[0]);
    need.row.push_back(lanes[1]);
    need.lanes = {lanes[2], lanes[3], lanes[4]};
  } else {
    need.row = {lanes[2], lanes[3], lanes[4]};
    if (packed) need.lanes.push_back(need.registers[0]);
    need.lanes.push_back(lanes[0]);
    need.lanes.push_back(lanes[1]);
  }
  return need;
}

/// A basis of the span, reduced, the vectors with the fewest bits first.
Vectors simplest(std::span<const uint64_t> vectors) {
  Vectors basis = extend({}, vectors);
  for (size_t i = 0; i < basis.size(); ++i) { // make the highest bit of each vector its own
    for (size_t j = 0; j < i; ++j)
      if (basis[i] >> (63 - std::countl_zero(basis[j])) & 1) basis[i] ^= basis[j];
    const unsigned top = 63 - unsigned(std::countl_zero(basis[i]));
    for (size_t j = 0; j < i; ++j)
      if (basis[j] >> top & 1) basis[j] ^= basis[i];
  }
  std::sort(basis.begin(), basis.end(), [](uint64_t x, uint64_t y) {
    return std::popcount(x) != std::popcount(y) ? std::popcount(x) < std::popcount(y) : x < y;
  });
  return basis;
}

Vectors joined(std::span<const uint64_t> a, std::span<const uint64_t> b) {
  Vectors both;
  for (uint64_t v : a) both.push_back(v);
  for (uint64_t v : b) both.push_back(v);
  return both;
}

Vectors first(const Vectors& v, size_t n) {
  Vectors head;
  for (size_t i = 0; i < v.size() && i < n; ++i) head.push_back(v[i]);
  return head;
}

class Solver {
public:
  Solver(std::span<const Use> uses, unsigned bits) : bits_(std::max(bits, 8u)) {
    spelling_ = uses[0].registers.spelling();
    std::vector<Spelling> all;
    for (const Use& use : uses) {
      all.push_back(use.registers.spelling());
      if (!refine(all.back(), spelling_)) return;
    }
    for (Spelling& s : all)
      if (!refine(s, spelling_)) return;
    possible_ = true;
    total_ = spelling_.bit_count();
    for (unsigned b = 0; b < total_; ++b) units_.push_back(uint64_t(1) << b);
    for (size_t u = 0; u < uses.size(); ++u) needs_.push_back(need_of(uses[u].access, all[u], bits_));
    const unsigned size_bits = unsigned(std::countr_zero(bits_ / 8));
    width_ = size_bits >= 7 ? 0 : std::min(total_, 7 - size_bits);
    vector_ = size_bits >= 4 ? 0 : 4 - size_bits;
  }

  template <typename F>
  void candidates(F offer) const {
    if (!possible_) return;
    std::vector<Vectors> tried;
    const auto attempt = [&](const Vectors& low) {
      if (std::find(tried.begin(), tried.end(), low) != tried.end()) return;
      tried.push_back(low);
      if (const auto tile = solve(low)) offer(*tile);
    };
    bool any = false;
    for (const Need& n : needs_)
      if (n.fixed) {
        any = true;
        attempt(n.row);
      }
    if (any) return;
    // Vectors that both move, else vectors of one; none that a thread would step inside of.
    const Need &one = needs_.front(), &two = needs_.back();
    const Vectors common = intersect(one.registers, two.registers);
    const Vectors extras[] = {{}, apart(one.registers, one.threads), apart(two.registers, two.threads)};
    for (const Vectors& base :
         {apart(common, joined(one.threads, two.threads)), apart(common, one.threads), apart(common, two.threads)})
      for (const Vectors& extra : extras) {
        const Vectors low = first(joined(base, extend(base, extra, vector_)), vector_);
        for (size_t q = low.size() + 1; q-- > 0;) attempt(first(low, q)); // every width; the cost picks
      }
  }

private:
  /// The simplest vectors of a span that complete, to all of it, what it has in common with the threads.
  static Vectors apart(const Vectors& span, const Vectors& threads) {
    return extend(intersect(span, threads), simplest(span));
  }

  std::optional<Layout> solve(const Vectors& low) const {
    if (rank(low) != low.size()) return std::nullopt;
    struct User {
      const Need* need;
      size_t moved; // how many bits of V it moves at once
    };
    std::vector<User> users;
    for (const Need& n : needs_) {
      if (n.fixed && n.row != low) continue; // it will be served by vectors; the cost tells
      const Elimination registers(n.registers);
      size_t moved = n.fixed ? low.size() : 0;
      while (moved < low.size() && registers.contains(low[moved])) ++moved;
      users.push_back({&n, moved});
    }
    if (users.empty()) return std::nullopt;
    // Free choices are taken from the threads, of those first that move the most at once: a thread must not step inside
    // a vector.
    std::stable_sort(users.begin(), users.end(), [](const User& x, const User& y) { return x.moved > y.moved; });
    Vectors preferred;
    for (const User& u : users) preferred = joined(preferred, extend(preferred, u.need->threads));
    preferred = joined(preferred, extend(preferred, units_));

    std::vector<Vectors> spans;
    for (const User& u : users) {
      const Vectors span =
          u.need->fixed ? joined(low, u.need->lanes)
                        : joined(first(low, u.moved), first(u.need->lanes, width_ > u.moved ? width_ - u.moved : 0));
      // Dimension w: what one phase leaves open is filled, with V first.
      Vectors full = extend({}, span);
      full = joined(full, extend(full, low, width_));
      spans.push_back(joined(full, extend(full, preferred, width_)));
    }
    const Vectors &one = spans.front(), &two = spans.back();
    const Vectors common = intersect(one, two);
    const Vectors a = extend(common, one), b = extend(common, two);
    Vectors high = extend(joined(one, two), preferred);
    for (size_t i = 0; i < a.size() && i < b.size(); ++i) high.push_back(a[i] ^ b[i]);
    high = first(high, total_ - width_);
    const Vectors fixed = joined(low, high);
    if (rank(fixed) != fixed.size()) return std::nullopt;
    const Vectors bank = extend(fixed, preferred);

    Spelling s = spelling_;
    s.digits.clear();
    for (const Vectors* part : {&low, static_cast<const Vectors*>(&bank), static_cast<const Vectors*>(&high)})
      for (uint64_t image : *part) s.add_digit(Axis::offset, 2, image);
    for (unsigned n = 0; n < s.odd_count(); ++n) s.add_digit(Axis::offset, s.odd(n).radix, n + 1);
    return Layout(s);
  }

  unsigned bits_;
  bool possible_ = false;
  Spelling spelling_;
  unsigned total_ = 0, width_ = 0, vector_ = 0;
  Vectors units_;
  std::vector<Need> needs_;
};

} // namespace

Layout choose_shared(std::span<const Use> uses, unsigned bits, bool must_be_tma, int contiguous) {
  if (uses.empty()) throw std::invalid_argument("a shared tile is chosen for its uses, and there are none");
  const Layout& model = uses[0].registers;
  for (const Use& use : uses)
    if (use.registers.rank() != model.rank() || use.registers.shape() != model.shape())
      throw std::invalid_argument("the uses of a shared tile have different shapes: " + model.str() + " and " +
                                  use.registers.str());
  if (contiguous >= int(model.rank()))
    throw std::out_of_range("dim " + std::to_string(contiguous) + " of a tile: " + model.str());
  if (model.elements() == 1) {
    Spelling one;
    one.rank = model.rank();
    return Layout(one);
  }
  const auto all = model.shape();
  const std::span<const uint32_t> shape(all.data(), model.rank());
  const unsigned size = std::max(bits, 8u) / 8;

  std::optional<Layout> best;
  Cost best_cost{impossible, false};
  const auto offer = [&](const Layout& tile) {
    const Cost cost = cost_of(uses, tile, bits);
    if (cost.slots < best_cost.slots) {
      best = tile;
      best_cost = cost;
    }
  };
  const auto along_dims = [&](auto f) { // the last first, until nothing can be better
    for (int d = int(model.rank()) - 1; d >= 0 && !best_cost.perfect; --d)
      if (contiguous < 0 || d == contiguous) f(d);
  };
  // What the hardware knows; its pattern repeats every eight rows, which must be three bits of the dims that follow.
  along_dims([&](int d) {
    unsigned row_bits = 0;
    for (int r = int(model.rank()) - 1; r >= 0; --r) {
      if (r == d) continue;
      row_bits += factors(shape[size_t(r)]).bits;
      if (factors(shape[size_t(r)]).odd > 1) break;
    }
    if (row_bits < 3 || !std::has_single_bit(size) || size > 16) return;
    for (unsigned span : {128u, 64u, 32u})
      if (uint64_t(shape[size_t(d)]) * size % span == 0) return offer(swizzled(d, shape, bits, span));
  });
  if (must_be_tma && best) return *best;
  along_dims([&](int d) { offer(padded(d, shape, 0)); });
  if (!must_be_tma && !best_cost.perfect) Solver(uses, bits).candidates(offer);
  if (best_cost.slots == impossible) along_dims([&](int d) { offer(padded(d, shape, std::max(1u, 16 / size))); });
  return *best;
}

} // namespace tilejit::layout
