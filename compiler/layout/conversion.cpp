// conversion.cpp - how a tile in registers comes to lie in other registers: the class of a conversion and the plan of
// its moves.
//
// Let S(q), T(q) be the images of digit q of the source and of the target, R the span of the source's register images.
// A thread holds all that it needs iff T(reg digits) lie in R and T(q) ^ S(q) lies in R for every digit q of the thread
// (lane, warp, cta); a warp does iff the same holds with the lane images added to R.  Odd digits are matched one to
// one, so they either stay where they are, or move between registers, or a warp's own share is selected out of
// registers that all warps hold.
#include "compiler/layout/f2.h"
#include "compiler/layout/questions.h"
#include "compiler/layout/shared_memory.h"

#include <stdexcept>

namespace tilejit::layout {

namespace {

/// A thread bit and its images in the source and the target.
struct ThreadBit {
  Axis axis;
  uint32_t stride;
  uint64_t from, to;
};

/// Solutions are masks: source register bits first, then lane bits.
struct Pair {
  Spelling from, to;
  Conversion::Kind kind = Conversion::memory;
  StaticVector<uint32_t, max_digits> from_strides, to_strides; // of the register bits
  Vectors from_registers, to_registers, from_lanes;            // their images
  StaticVector<ThreadBit, max_digits> threads;                 // five lanes, then warp and cta bits
  // rename and select: which source register bits make up a target register bit, and what a thread bit adds
  Vectors local_registers, local_threads;
  uint32_t odd_registers = 1; // product of the odd radices in the target's registers
  bool odd_select = false;

  // shuffle: the source of (target register bits x, thread bits y) is register source_register, lane source_lane, both
  // linear.
  Vectors register_source, register_lane; // per target register bit
  Vectors thread_source, thread_lane;     // per thread bit
  Vectors together;                       // target register bits (as sets) whose elements travel in one word
  Vectors rounds;                         // the other independent sets: their span numbers the rounds
  Vectors phase;                          // per thread bit: the round (as a set of `rounds`) that it adds
  unsigned free_rounds = 0;               // rounds in which every lane reads itself

  Pair(const Layout& a, const Layout& b, unsigned bits) : from(a.spelling()), to(b.spelling()) { classify(bits); }

private:
  void classify(unsigned bits);
  bool match_odd_digits();
  bool plan_rounds(unsigned bits);
};

bool Pair::match_odd_digits() {
  for (unsigned n = 0; n < from.odd_count(); ++n) {
    const Digit *source = from.odd_owner(n), *target = to.odd_owner(n);
    if (target->axis == Axis::reg) {
      if (source->axis != Axis::reg) return false;
      odd_registers *= target->radix;
    } else if (source->axis == Axis::reg) {
      odd_select = true;
    } else if (source->axis != target->axis || source->stride != target->stride) {
      return false;
    }
  }
  return true;
}

void Pair::classify(unsigned bits) {
  if (!refine(from, to) || !refine_threads(from, to) || !match_odd_digits()) return;
  for (const Digit& d : from.digits)
    if (d.bit() && d.axis == Axis::reg) {
      from_strides.push_back(d.stride);
      from_registers.push_back(d.image);
    }
  for (const Digit& d : to.digits)
    if (d.bit() && d.axis == Axis::reg) {
      to_strides.push_back(d.stride);
      to_registers.push_back(d.image);
    }
  for (uint32_t lane = 1; lane < 32; lane *= 2) {
    const Digit *source = from.find(Axis::lane, lane), *target = to.find(Axis::lane, lane);
    threads.push_back({Axis::lane, lane, source ? source->image : 0, target ? target->image : 0});
    from_lanes.push_back(threads.back().from);
  }
  for (const Digit& d : from.digits)
    if (d.bit() && (d.axis == Axis::warp || d.axis == Axis::cta))
      threads.push_back({d.axis, d.stride, d.image, to.find(d.axis, d.stride)->image});

  Elimination basis(from_registers);
  const auto solve_local = [&] {
    for (uint64_t image : to_registers) {
      const auto x = basis.solve(image);
      if (!x) return false;
      local_registers.push_back(*x);
    }
    for (const ThreadBit& t : threads) {
      const auto x = basis.solve(t.from ^ t.to);
      if (!x) return false;
      local_threads.push_back(*x);
    }
    return true;
  };
  if (solve_local()) {
    const bool depends =
        odd_select || std::any_of(local_threads.begin(), local_threads.end(), [](uint64_t x) { return x != 0; });
    kind = depends ? Conversion::select : Conversion::rename;
    return;
  }
  if (!odd_select && plan_rounds(bits)) kind = Conversion::shuffle;
}

// Elements a 32-bit word can carry, as a number of bits: 0 for 32 and 64 bits, 1 for 16, 2 for 8.
unsigned payload_bits(unsigned bits) { return bits >= 32 ? 0 : unsigned(std::countr_zero(32u / std::max(bits, 8u))); }

bool Pair::plan_rounds(unsigned bits) {
  const unsigned registers = unsigned(from_registers.size());
  const uint64_t register_mask = (uint64_t(1) << registers) - 1;
  Vectors columns = from_registers;
  for (uint64_t lane : from_lanes) columns.push_back(lane);
  const Elimination warp(columns);
  for (uint64_t image : to_registers) {
    const auto x = warp.solve(image);
    if (!x) return false;
    register_source.push_back(*x & register_mask);
    register_lane.push_back(*x >> registers);
  }
  // Thread bits: stay among the lanes that the registers reach anyway where that is possible, so that rounds become
  // local.
  const Vectors reached = extend({}, register_lane);
  Vectors near_columns = from_registers;
  for (uint64_t lanes : reached) near_columns.push_back(xor_of(from_lanes, lanes));
  const Elimination near(near_columns);
  for (size_t q = 0; q < threads.size(); ++q) {
    const ThreadBit& t = threads[q];
    const uint64_t own = t.axis == Axis::lane ? uint64_t(t.stride) : 0;
    if (const auto x = near.solve(t.from ^ t.to)) {
      thread_source.push_back(*x & register_mask);
      thread_lane.push_back(own ^ xor_of(reached, *x >> registers));
    } else if (const auto y = warp.solve(t.from ^ t.to)) {
      thread_source.push_back(*y & register_mask);
      thread_lane.push_back(own ^ (*y >> registers));
    } else {
      return false;
    }
  }
  // Elements that come from one lane travel together.
  const Vectors alike = kernel(register_lane);
  for (size_t i = 0; i < alike.size() && i < payload_bits(bits); ++i) together.push_back(alike[i]);
  Vectors units;
  for (size_t i = 0; i < to_registers.size(); ++i) units.push_back(uint64_t(1) << i);
  rounds = extend(together, units);
  Vectors round_lane; // the lane that each round bit adds
  for (uint64_t set : rounds) round_lane.push_back(xor_of(register_lane, set));

  // In round t thread l takes the target registers numbered t ^ phase(l), from lane thread_lane(l) ^ round_lane(t ^
  // phase(l)): the phases must make that a permutation of the lanes.  Best is l ^ round_lane(t): then the rounds t with
  // round_lane(t) = 0 are local.
  const Elimination lanes(round_lane);
  bool local = true;
  for (size_t q = 0; q < threads.size() && local; ++q) {
    const uint64_t own = threads[q].axis == Axis::lane ? uint64_t(threads[q].stride) : 0;
    const auto x = lanes.solve(thread_lane[q] ^ own);
    if (x)
      phase.push_back(*x);
    else
      local = false;
  }
  if (local) {
    free_rounds = 1u << (round_lane.size() - lanes.rank());
    return true;
  }
  phase.clear();
  Elimination chosen;
  StaticVector<bool, 64> independent;
  for (size_t q = 0; q < 5; ++q) independent.push_back(chosen.add(thread_lane[q]));
  for (size_t q = 0; q < threads.size(); ++q) {
    phase.push_back(0);
    if (q >= 5 || independent[q]) continue;
    for (size_t r = 0; r < round_lane.size(); ++r)
      if (chosen.add(thread_lane[q] ^ round_lane[r])) {
        phase.back() = uint64_t(1) << r;
        break;
      }
  }
  // Copies may leave it short of a permutation: lanes that read the same lane must then ask for the same register.
  Vectors read_lane, read_register;
  for (size_t q = 0; q < 5; ++q) {
    uint64_t registers_added = 0;
    for (uint64_t left = phase[q]; left; left &= left - 1) registers_added ^= rounds[size_t(std::countr_zero(left))];
    read_lane.push_back(thread_lane[q] ^ xor_of(round_lane, phase[q]));
    read_register.push_back(thread_source[q] ^ xor_of(register_source, registers_added));
  }
  for (uint64_t same : kernel(read_lane))
    if (xor_of(read_register, same)) return false;
  return true;
}

uint32_t words_per_round(const Pair& p, unsigned bits) {
  const unsigned capacity = payload_bits(bits);
  if (p.together.size() == capacity) return p.odd_registers;
  const uint32_t elements = p.odd_registers << p.together.size();
  return (elements + (1u << capacity) - 1) >> capacity; // odd copies fill the word that the bits cannot
}

uint32_t count_shuffles(const Pair& p, unsigned bits) {
  return ((1u << p.rounds.size()) - p.free_rounds) * words_per_round(p, bits) * (bits > 32 ? 2 : 1);
}

uint32_t count_permutes(const Pair& p, unsigned bits) {
  const unsigned low = std::min<unsigned>(payload_bits(bits), unsigned(p.to_registers.size()));
  if (payload_bits(bits) == 0) return 0;
  bool same = true;
  Vectors words; // the source words that one target word draws from
  for (unsigned b = 0; b < low; ++b) {
    same &= p.local_registers[b] == uint64_t(1) << b;
    words.push_back(p.local_registers[b] >> low);
  }
  if (same) return 0;
  const uint32_t sources = 1u << rank(words);
  return (p.odd_registers << (p.to_registers.size() - low)) * std::max(1u, sources - 1);
}

/// Codes of registers: bits below, the number of the odd combination above.  Coordinate digits order the odd part, so
/// that equal odd codes of source and target mean equal coordinates.
struct Codes {
  std::vector<uint32_t> registers; // code -> register
  std::array<uint32_t, max_digits>
      step{}; // per odd coordinate digit in registers: what its value 1 adds to the odd code
  uint32_t odd = 1;

  Codes(const Spelling& s, std::span<const uint32_t> bit_strides) {
    std::vector<uint32_t> odd_offsets{0};
    for (unsigned n = 0; n < s.odd_count(); ++n) {
      const Digit* d = s.odd_owner(n);
      if (d->axis != Axis::reg) continue;
      step[n] = odd;
      const size_t below = odd_offsets.size();
      for (uint32_t v = 1; v < d->radix; ++v)
        for (size_t i = 0; i < below; ++i) odd_offsets.push_back(odd_offsets[i] + v * d->stride);
      odd *= d->radix;
    }
    for (uint32_t offset : odd_offsets)
      for (uint32_t x = 0; x < 1u << bit_strides.size(); ++x) {
        uint32_t reg = offset;
        for (size_t b = 0; b < bit_strides.size(); ++b) reg += (x >> b & 1) * bit_strides[b];
        registers.push_back(reg);
      }
  }
};

void check_shapes(const Layout& from, const Layout& to) {
  if (from.rank() != to.rank() || from.shape() != to.shape())
    throw std::invalid_argument("a conversion keeps the shape; it was asked from " + from.str() + " to " + to.str());
}

} // namespace

uint32_t Affine::operator()(const Place& thread) const {
  uint32_t value = base;
  for (const Term& t : terms)
    if (thread[t.axis] / t.stride % 2) value ^= t.mask;
  return value;
}

Conversion convert(const Layout& from, const Layout& to, unsigned bits) {
  check_shapes(from, to);
  const Pair p(from, to, bits);
  switch (p.kind) {
  case Conversion::rename: {
    const uint32_t permutes = count_permutes(p, bits);
    return {Conversion::rename, permutes, 0, permutes};
  }
  case Conversion::select: return {Conversion::select, 0, 0, to.count(Axis::reg)};
  case Conversion::shuffle: {
    const uint32_t shuffles = count_shuffles(p, bits), words = (to.count(Axis::reg) * bits + 31) / 32;
    return {Conversion::shuffle, 0, shuffles, 4 * shuffles + 2 * words};
  }
  case Conversion::memory: break;
  }
  const Layout tile = choose_shared({{Access::vector, from}, {Access::vector, to}}, bits);
  uint32_t slots = 40;
  for (const Layout* registers : {&from, &to})
    if (const auto waves = wavefronts(Access::vector, *registers, tile, bits)) slots += 4 * waves->wavefronts;
  return {Conversion::memory, 0, 0, slots};
}

std::optional<LocalPlan> plan_local(const Layout& from, const Layout& to) {
  check_shapes(from, to);
  const Pair p(from, to, 32);
  if (p.kind != Conversion::rename && p.kind != Conversion::select) return std::nullopt;
  const Codes source(p.from, p.from_strides), target(p.to, p.to_strides);
  const unsigned bits = unsigned(p.from_strides.size());
  LocalPlan plan;
  plan.registers = source.registers;
  // The odd code of the source that has the coordinates of an odd code of the target.
  plan.base.resize(target.registers.size());
  for (uint32_t code = 0; code < target.registers.size(); ++code) {
    const uint32_t x = code & ((1u << p.to_strides.size()) - 1), odd = code >> p.to_strides.size();
    uint32_t source_odd = 0;
    for (unsigned n = 0; n < p.to.odd_count(); ++n)
      if (target.step[n]) source_odd += odd / target.step[n] % p.to.odd(n).radix * source.step[n];
    plan.base[target.registers[code]] = uint32_t(xor_of(p.local_registers, x)) | source_odd << bits;
  }
  for (size_t q = 0; q < p.threads.size(); ++q)
    if (p.local_threads[q])
      plan.thread.terms.push_back({p.threads[q].axis, p.threads[q].stride, uint32_t(p.local_threads[q])});
  for (unsigned n = 0; n < p.to.odd_count(); ++n) {
    const Digit *s = p.from.odd_owner(n), *t = p.to.odd_owner(n);
    if (s->axis == Axis::reg && t->axis != Axis::reg)
      plan.odd.push_back({t->axis, t->stride, t->radix, source.step[n] << bits});
  }
  return plan;
}

std::optional<ShufflePlan> plan_shuffles(const Layout& from, const Layout& to, unsigned bits) {
  check_shapes(from, to);
  const Pair p(from, to, bits);
  if (p.kind != Conversion::shuffle) return std::nullopt;
  const Codes source_codes(p.from, p.from_strides), target_codes(p.to, p.to_strides);
  const unsigned source_bits = unsigned(p.from_strides.size()), target_bits = unsigned(p.to_strides.size());

  // Everything below is linear in (t, thread): the sets of target register bits that a round and a thread bit select,
  // then the lane read and the register read there.
  const auto target_of = [&](uint64_t round) {
    uint64_t set = 0;
    for (; round; round &= round - 1) set ^= p.rounds[size_t(std::countr_zero(round))];
    return set;
  };
  const auto lane_of = [&](uint64_t set) { return xor_of(p.register_lane, set); };
  const auto register_of = [&](uint64_t set) { return xor_of(p.register_source, set); };
  const size_t count = p.threads.size();
  Vectors keep_mask, read_lane, read_register; // per thread bit
  for (size_t q = 0; q < count; ++q) {
    const uint64_t set = target_of(p.phase[q]);
    keep_mask.push_back(set);
    read_lane.push_back(p.thread_lane[q] ^ lane_of(set));
    read_register.push_back(p.thread_source[q] ^ register_of(set));
  }
  // The sender's view: lane s is read by the lanes l with read(l) = s; any of them asks for the right register.
  // reader[b] = the lane bits of a reader of lane bit b.  Lanes that nobody reads may send anything.
  Vectors lane_columns;
  for (size_t q = 0; q < 5; ++q) lane_columns.push_back(read_lane[q]);
  Elimination readers(lane_columns);
  // A complement of the read lanes makes every lane solvable; the added vectors are numbers 5.. and are dropped.
  for (uint64_t b = 1; b < 32; b *= 2) readers.add(b);
  const auto reader_of = [&](uint64_t lane) { return *readers.solve(lane) & 31; };
  const auto asked = [&](uint64_t reader) { return xor_of(read_register, reader); }; // by the lane bits of a reader

  ShufflePlan plan;
  plan.source_registers = source_codes.registers;
  plan.target_registers = target_codes.registers;
  plan.shuffles = 0;
  std::vector<uint64_t> together{0};
  for (uint64_t set : p.together)
    for (size_t i = 0, n = together.size(); i < n; ++i) together.push_back(together[i] ^ set);
  const uint32_t capacity = 1u << payload_bits(bits);
  const auto masks = [&](auto of) {
    std::vector<Affine::Term> terms;
    for (size_t q = 0; q < count; ++q)
      if (const uint64_t mask = of(q)) terms.push_back({p.threads[q].axis, p.threads[q].stride, uint32_t(mask)});
    return terms;
  };
  const std::vector<Affine::Term> source_terms = masks([&](size_t q) { return read_lane[q]; });
  const std::vector<Affine::Term> keep_terms = masks([&](size_t q) { return keep_mask[q]; });
  // Sending: for lane bit b the reader is reader_of(b); a warp bit moves what is read (read_lane) and so the reader,
  // and what is asked.
  const std::vector<Affine::Term> send_terms = masks([&](size_t q) {
    return q < 5 ? asked(reader_of(uint64_t(1) << q)) : asked(reader_of(read_lane[q])) ^ read_register[q];
  });
  for (uint64_t t = 0; t < uint64_t(1) << p.rounds.size(); ++t) {
    const uint64_t set = target_of(t), lane = lane_of(set);
    ShufflePlan::Round round;
    round.source = {uint32_t(lane), source_terms};
    round.local = p.free_rounds && lane == 0;
    const auto flush = [&] {
      if (round.send.empty()) return;
      plan.rounds.push_back(round);
      plan.shuffles += !round.local;
      round.send.clear();
      round.keep.clear();
    };
    for (uint32_t odd = 0; odd < target_codes.odd; ++odd) {
      uint32_t source_odd = 0;
      for (unsigned n = 0; n < p.to.odd_count(); ++n)
        if (target_codes.step[n]) source_odd += odd / target_codes.step[n] % p.to.odd(n).radix * source_codes.step[n];
      for (uint64_t other : together) {
        const uint32_t keep = uint32_t(set ^ other) | odd << target_bits;
        const uint32_t send = uint32_t(register_of(set ^ other) ^ asked(reader_of(lane))) | source_odd << source_bits;
        round.keep.push_back({keep, keep_terms});
        round.send.push_back({send, send_terms});
        if (round.send.size() == capacity) flush();
      }
      if (p.together.size() == payload_bits(bits)) flush();
    }
    flush();
  }
  if (bits > 32) plan.shuffles *= 2;
  return plan;
}

// Match k digit by digit: where both put a digit of k on the same lane or warp digit, that is the match; the k digits
// in registers are matched in order, which only renames registers.
std::optional<std::vector<uint32_t>> contraction_order(const Layout& accumulator, const Layout& a) {
  constexpr unsigned k = 1;
  if (accumulator.rank() != 2 || a.rank() != 2 || accumulator.shape() != a.shape()) return std::nullopt;
  Spelling s = accumulator.spelling(), d = a.spelling();
  if (!refine(s, d) || !refine_threads(s, d)) return std::nullopt;
  // The coordinate digit of a place digit, if it is exactly one; index into coords, or -1 for a copy, or nullopt.
  const auto target = [](const Spelling& x, const Digit& digit) -> std::optional<int> {
    if (!digit.image) return -1;
    if (digit.bit() && std::popcount(digit.image) != 1) return std::nullopt;
    unsigned number = digit.bit() ? unsigned(std::countr_zero(digit.image)) : unsigned(digit.image) - 1;
    for (size_t i = 0; i < x.coords.size(); ++i)
      if (x.coords[i].bit() == digit.bit() && number-- == 0) return int(i);
    return std::nullopt;
  };
  std::array<int, max_digits> found; // coordinate digit of the operand -> coordinate digit of the accumulator
  found.fill(-1);
  std::vector<int> source_registers, target_registers;
  std::vector<int> source_others, target_others;
  for (const Spelling* x : {&s, &d})
    for (const Digit& digit : x->digits) {
      if (digit.axis != Axis::reg) continue;
      const auto c = target(*x, digit);
      if (!c || *c < 0) return std::nullopt;
      const bool contracted = x->coords[size_t(*c)].dim == k;
      (x == &s ? (contracted ? source_registers : source_others) : (contracted ? target_registers : target_others))
          .push_back(*c);
    }
  std::sort(source_others.begin(), source_others.end());
  std::sort(target_others.begin(), target_others.end());
  if (source_others != target_others || source_registers.size() != target_registers.size()) return std::nullopt;
  for (const Digit& x : d.digits) {
    if (x.axis == Axis::reg) continue;
    const Digit* y = s.find(x.axis, x.stride);
    if (!y || y->radix != x.radix) return std::nullopt;
    const auto from = target(s, *y), to = target(d, x);
    if (!from || !to || (*from < 0) != (*to < 0)) return std::nullopt;
    if (*from < 0) continue;
    const bool contracted = s.coords[size_t(*from)].dim == k;
    if (contracted != (d.coords[size_t(*to)].dim == k)) return std::nullopt;
    if (!contracted && *from != *to) return std::nullopt;
    if (contracted) found[size_t(*to)] = *from;
  }
  const auto by_radix = [](const Spelling& x) {
    return [&x](int m, int n) {
      const CoordDigit p = x.coords[size_t(m)], q = x.coords[size_t(n)];
      return p.radix != q.radix ? p.radix < q.radix : p.weight < q.weight;
    };
  };
  std::sort(source_registers.begin(), source_registers.end(), by_radix(s));
  std::sort(target_registers.begin(), target_registers.end(), by_radix(d));
  for (size_t i = 0; i < source_registers.size(); ++i) {
    if (s.coords[size_t(source_registers[i])].radix != d.coords[size_t(target_registers[i])].radix) return std::nullopt;
    found[size_t(target_registers[i])] = source_registers[i];
  }
  std::vector<uint32_t> order(a.size(k));
  for (uint32_t x = 0; x < order.size(); ++x)
    for (size_t i = 0; i < d.coords.size(); ++i) {
      const CoordDigit c = d.coords[i];
      if (c.dim != k) continue;
      if (found[i] < 0) return std::nullopt;
      order[x] += x / c.weight % c.radix * s.coords[size_t(found[i])].weight;
    }
  return order;
}

} // namespace tilejit::layout
