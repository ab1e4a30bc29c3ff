#include "compiler/layout/shared_memory.h"

#include "compiler/layout/linear.h"
#include "compiler/layout/offsets.h"

#include <numeric>
#include <stdexcept>

namespace tilejit::layout {

// --- composition -----------------------------------------------------------------------------------------------------

Vectors inverse_bits(const Spelling& shared) {
  Elimination images;
  for (const Digit& d : shared.digits)
    if (d.bit()) images.add(d.image);
  Vectors inverse;
  for (unsigned b = 0, n = shared.bit_count(); b < n; ++b) inverse.push_back(*images.solve(uint64_t(1) << b));
  return inverse;
}

std::optional<Spelling> compose(const Layout& registers, const Layout& shared) {
  Spelling a = registers.spelling(), b = shared.spelling();
  if (!refine(a, b)) return std::nullopt;
  const Vectors inverse = inverse_bits(b);
  std::array<unsigned, max_digits> odd_inverse{};
  Spelling result;
  result.rank = 1;
  unsigned odds = 0;
  for (const Digit& d : b.digits) {
    result.coords.push_back({0, d.radix, d.stride});
    if (!d.bit()) odd_inverse[d.image - 1] = odds++;
  }
  result.digits = a.digits;
  for (Digit& d : result.digits) {
    if (d.bit())
      d.image = xor_of(inverse, d.image);
    else if (d.image)
      d.image = odd_inverse[d.image - 1] + 1;
  }
  return result;
}

std::optional<Coord> pitches(const Layout& shared) {
  const Spelling& s = shared.spelling();
  Coord pitch{};
  for (const Digit& d : s.digits) {
    if (d.bit() && std::popcount(d.image) != 1) return std::nullopt;
    const CoordDigit c = d.bit() ? s.bit(unsigned(std::countr_zero(d.image))) : s.odd(unsigned(d.image) - 1);
    if (d.stride % c.weight) return std::nullopt;
    uint32_t& p = pitch[c.dim];
    if (p && p != d.stride / c.weight) return std::nullopt;
    p = d.stride / c.weight;
  }
  return pitch;
}

static void check_pair(const Layout& registers, const Layout& shared) {
  if (registers.rank() != shared.rank() || registers.shape() != shared.shape())
    throw std::invalid_argument("a tile of registers and one of shared memory must have one shape: " + registers.str() +
                                " and " + shared.str());
  if (registers.count(Axis::offset) != 1) throw std::invalid_argument("not a layout of registers: " + registers.str());
}

// --- addresses -------------------------------------------------------------------------------------------------------

// Items of `code` (its registers), in the order that `items` names them.
static Addresses make_addresses(Linear code, std::span<const uint32_t> items) {
  Addresses result;
  std::vector<uint32_t> group(code.fields.size());
  result.at.reserve(items.size());
  for (uint32_t item : items) {
    uint32_t immediate = 0;
    for (size_t f = 0; f < code.fields.size(); ++f) {
      const Linear::Field& field = code.fields[f];
      if (field.exclusive_or)
        group[f] = field.registers[item];
      else
        immediate += field.weight * field.registers[item];
    }
    const auto known = std::find(result.groups.begin(), result.groups.end(), group); // groups are few
    result.at.push_back({uint32_t(known - result.groups.begin()), immediate});
    if (known == result.groups.end()) result.groups.push_back(group);
  }
  for (Linear::Field& f : code.fields) f.registers.clear();
  result.thread = std::move(code);
  return result;
}

uint32_t Addresses::operator()(uint32_t item, const Place& place) const {
  uint32_t sum = at[item].immediate;
  for (size_t f = 0; f < thread.fields.size(); ++f) {
    const Linear::Field& field = thread.fields[f];
    const uint32_t part = field.thread(place), constant = groups[at[item].group][f];
    sum += field.weight * (field.exclusive_or ? part ^ constant : part + constant);
  }
  return sum;
}

// The offset in an affine tile: the coordinates times the pitches.
static Linear affine_code(const Layout& registers, const Coord& pitch) {
  Linear code;
  Linear::Field sum{false, 1, {}, std::vector<uint32_t>(registers.count(Axis::reg))};
  for (unsigned d = 0; d < registers.rank(); ++d)
    for (Linear::Field& f : linear(registers, int(d)).fields) {
      if (f.exclusive_or) {
        f.weight *= pitch[d];
        code.fields.push_back(std::move(f));
        continue;
      }
      for (Linear::Term t : f.terms) {
        t.value *= pitch[d];
        if (t.value) sum.terms.push_back(t);
      }
      for (size_t r = 0; r < sum.registers.size(); ++r) sum.registers[r] += pitch[d] * f.registers[r];
    }
  code.fields.insert(code.fields.begin(), std::move(sum));
  return code;
}

static std::vector<uint32_t> iota(uint32_t n) {
  std::vector<uint32_t> all(n);
  std::iota(all.begin(), all.end(), 0u);
  return all;
}

std::optional<Addresses> addresses(const Layout& registers, const Layout& shared) {
  check_pair(registers, shared);
  const uint32_t count = registers.count(Axis::reg);
  if (const auto offsets = compose(registers, shared))
    return make_addresses(make_linear(*offsets, 0, count), iota(count));
  if (const auto pitch = pitches(shared)) return make_addresses(affine_code(registers, *pitch), iota(count));
  return std::nullopt;
}

namespace {

/// Vectors found in a composed map: the register bits (as sets of register bits) that step along the lowest offsets.
struct Run {
  Vectors steps;
  StaticVector<Digit, max_digits> register_bits;
};

Run run_of(const Spelling& offsets, unsigned at_most) {
  Run run;
  Vectors images;
  uint64_t threads = 0;
  for (const Digit& d : offsets.digits) {
    if (!d.bit()) continue;
    if (d.axis == Axis::reg) {
      images.push_back(d.image);
      run.register_bits.push_back(d);
    } else {
      threads |= d.image;
    }
  }
  const Elimination basis(images);
  for (size_t i = 0; i < offsets.coords.size() && i < at_most; ++i) {
    const CoordDigit c = offsets.coords[i];
    const uint64_t bit = uint64_t(1) << i;
    if (!c.bit() || c.weight != bit || threads & bit) break;
    const auto x = basis.solve(bit);
    if (!x) break;
    run.steps.push_back(*x);
  }
  size_t v = run.steps.size();
  for (size_t i = v; i < offsets.coords.size(); ++i)
    v = std::min(v, size_t(std::countr_zero(offsets.coords[i].weight)));
  while (run.steps.size() > v) run.steps.erase(v);
  return run;
}

unsigned widest(unsigned bits, unsigned max_bytes) {
  const unsigned elements = max_bytes * 8 / std::max(bits, 8u);
  return elements ? unsigned(std::bit_width(elements)) - 1 : 0;
}

/// The dim of pitch 1 of an affine tile and the vector along it.
std::pair<int, unsigned> affine_vector(const Layout& registers, const Coord& pitch, unsigned bits, unsigned max_bytes) {
  int inner = -1;
  uint32_t divisor = 0;
  for (unsigned d = 0; d < registers.rank(); ++d) {
    if (pitch[d] == 1 && inner < 0)
      inner = int(d);
    else
      divisor = std::gcd(divisor, pitch[d]);
  }
  if (inner < 0) return {0, 1};
  return {inner, global_vector(registers, inner, bits, max_bytes, divisor)};
}

} // namespace

std::optional<VectorAccess> vector_access(const Layout& registers, const Layout& shared, unsigned bits,
                                          unsigned max_bytes) {
  check_pair(registers, shared);
  const uint32_t count = registers.count(Axis::reg);
  VectorAccess result;
  std::vector<uint32_t> bases;
  if (const auto offsets = compose(registers, shared)) {
    const Run run = run_of(*offsets, widest(bits, max_bytes));
    result.elements = 1u << run.steps.size();
    for (uint32_t r = 0; r < count; ++r) {
      uint64_t low = 0;
      for (const Digit& d : run.register_bits)
        if (value_of(d, r)) low ^= d.image;
      if (low & (result.elements - 1)) continue; // not the first of its vector
      bases.push_back(r);
      for (uint32_t e = 0; e < result.elements; ++e) {
        uint32_t reg = r;
        for (uint64_t set = xor_of(run.steps, e); set; set &= set - 1) {
          const Digit& d = run.register_bits[size_t(std::countr_zero(set))];
          reg = value_of(d, reg) ? reg - d.stride : reg + d.stride;
        }
        result.registers.push_back(reg);
      }
    }
    result.addresses = make_addresses(make_linear(*offsets, 0, count), bases);
    return result;
  }
  const auto pitch = pitches(shared);
  if (!pitch) return std::nullopt;
  const auto [inner, vector] = affine_vector(registers, *pitch, bits, max_bytes);
  result.elements = vector;
  result.registers = vector > 1 ? vector_registers(registers, inner, vector) : iota(count);
  for (size_t i = 0; i < result.registers.size(); i += vector) bases.push_back(result.registers[i]);
  result.addresses = make_addresses(affine_code(registers, *pitch), bases);
  return result;
}

namespace {

/// A matrix access in terms of a composed map: the lanes that execute and the registers that make up one instruction.
struct MatrixDigits {
  Spelling rows;                        // item, executing lane, warp -> offset of the row that the lane points to
  StaticVector<uint32_t, 4> words;      // what the matrices of an instruction add to the register
  StaticVector<Digit, max_digits> item; // the register digits (with their own strides) that number the instructions
};

std::optional<MatrixDigits> divide(Access access, const Spelling& offsets, unsigned bits, unsigned fragment) {
  const bool transposed = access == Access::ldmatrix_trans || access == Access::stmatrix_trans;
  if (access == Access::vector || bits < 8 || bits > 32 || (transposed && bits != 16)) return std::nullopt;
  const unsigned packed = unsigned(std::countr_zero(32u / bits));
  StaticVector<Digit, 8> low; // the bits inside a word
  for (unsigned b = 0; b < packed; ++b) {
    const Digit* d = offsets.find(Axis::reg, 1u << b);
    if (!d || !d->bit()) return std::nullopt;
    low.push_back(*d);
  }
  StaticVector<Digit, 8> lanes;
  for (uint32_t lane = 1; lane < 32; lane *= 2) {
    const Digit* d = offsets.find(Axis::lane, lane);
    if (!d) return std::nullopt;
    lanes.push_back(*d);
  }
  // The 16 bytes of a row, lowest first, and the number of the row.
  StaticVector<Digit, 8> inside, row;
  if (transposed) {
    inside = {lanes[2], lanes[3], lanes[4]};
    row = {low[0], lanes[0], lanes[1]};
  } else {
    inside = low;
    inside.push_back(lanes[0]);
    inside.push_back(lanes[1]);
    row = {lanes[2], lanes[3], lanes[4]};
  }
  const uint64_t inside_mask = (uint64_t(1) << inside.size()) - 1;
  for (size_t i = 0; i < offsets.coords.size(); ++i) {
    const CoordDigit c = offsets.coords[i];
    if (i < inside.size() ? !c.bit() || c.weight != 1u << i : c.weight % (inside_mask + 1) != 0) return std::nullopt;
  }
  if (offsets.coords.size() < inside.size()) return std::nullopt;
  uint64_t threads = 0;
  for (const Digit& d : offsets.digits) {
    if (!d.bit()) continue;
    if (d.axis != Axis::reg) threads |= d.image;
    const auto found = std::find(inside.begin(), inside.end(), d);
    if (found == inside.end() ? d.image & inside_mask : d.image != uint64_t(1) << (found - inside.begin()))
      return std::nullopt;
  }
  // Two register bits number the matrices of an instruction: those inside the fragment, then those that the thread's
  // own bits would have to be xor-ed with: on a lane that xor costs nothing.
  MatrixDigits result;
  StaticVector<Digit, max_digits> matrices;
  for (const Digit& d : offsets.digits) {
    if (d.axis != Axis::reg || std::find(low.begin(), low.end(), d) != low.end()) continue;
    if (d.bit()) matrices.push_back(d);
  }
  const auto rank = [&](const Digit& d) { return d.stride < fragment << packed ? 0 : d.image & threads ? 1 : 2; };
  std::stable_sort(matrices.begin(), matrices.end(), [&](const Digit& a, const Digit& b) { return rank(a) < rank(b); });
  while (matrices.size() > 2) matrices.erase(2);
  result.words.push_back(0);
  for (const Digit& d : matrices)
    for (size_t i = 0, n = result.words.size(); i < n; ++i) result.words.push_back(result.words[i] + d.stride);

  result.rows.rank = 1;
  result.rows.coords = offsets.coords;
  for (const Digit& d : offsets.digits) {
    if (d.axis != Axis::reg || std::find(low.begin(), low.end(), d) != low.end() ||
        std::find(matrices.begin(), matrices.end(), d) != matrices.end())
      continue;
    result.item.push_back(d);
    result.rows.digits.push_back(d);
  }
  result.rows.close_gaps(Axis::reg);
  for (unsigned b = 0; b < 5; ++b) {
    const uint64_t image = b < 3 ? row[b].image : b - 3 < matrices.size() ? matrices[b - 3].image : 0;
    result.rows.digits.push_back({Axis::lane, 2, 1u << b, image});
  }
  for (const Digit& d : offsets.digits)
    if (d.axis > Axis::lane) result.rows.digits.push_back(d);
  return result;
}

} // namespace

std::optional<MatrixAccess> matrix_access(Access access, const Layout& registers, const Layout& shared, unsigned bits,
                                          unsigned fragment) {
  check_pair(registers, shared);
  const auto offsets = compose(registers, shared);
  if (!offsets) return std::nullopt;
  const auto digits = divide(access, *offsets, bits, fragment);
  if (!digits) return std::nullopt;
  const uint32_t items = digits->rows.count(Axis::reg);
  MatrixAccess result{access == Access::ldmatrix_trans || access == Access::stmatrix_trans,
                      unsigned(digits->words.size()),
                      make_addresses(make_linear(digits->rows, 0, items), iota(items)),
                      {}};
  for (uint32_t x = 0; x < items; ++x) {
    uint32_t reg = 0, left = x;
    for (const Digit& d : digits->item) {
      reg += left % d.radix * d.stride;
      left /= d.radix;
    }
    for (uint32_t word : digits->words) result.registers.push_back(reg + word);
  }
  return result;
}

// --- cost ------------------------------------------------------------------------------------------------------------

namespace {

struct Phase {
  uint32_t wavefronts = 0, words = 0;
};

/// One phase: `count` accesses of `bytes` bytes at these byte addresses.
Phase simulate(std::span<const uint64_t> address, unsigned bytes) {
  std::array<uint8_t, 32> in_bank{};
  uint64_t words[32][32]; // at most 32 distinct words in a phase: 32 lanes of a word, 16 of two, 8 of four
  Phase phase;
  for (uint64_t a : address)
    for (uint64_t w = a / 4; w <= (a + bytes - 1) / 4; ++w) {
      const unsigned bank = w % 32;
      const uint64_t* end = words[bank] + in_bank[bank];
      if (std::find(static_cast<const uint64_t*>(words[bank]), end, w) != end) continue;
      words[bank][in_bank[bank]++] = w;
      ++phase.words;
      phase.wavefronts = std::max<uint32_t>(phase.wavefronts, in_bank[bank]);
    }
  return phase;
}

/// One instruction: the phases of a warp's 32 accesses.
Waves simulate_access(const std::array<uint64_t, 32>& address, unsigned bytes) {
  const unsigned per_phase = std::clamp(128u / std::max(bytes, 4u), 1u, 32u);
  Waves waves{0, 0, 1, bytes};
  for (unsigned lane = 0; lane < 32; lane += per_phase) {
    const Phase p = simulate({address.data() + lane, per_phase}, bytes);
    waves.wavefronts += p.wavefronts;
    waves.least += (p.words + 31) / 32;
  }
  return waves;
}

} // namespace

// Do all accesses of a warp, and of all warps, cost the same?  Registers and warps move the addresses of the lanes
// either by a xor of plain address bits, which permutes banks, or by a constant number of words, which rotates them.
static bool uniform(const Spelling& offsets, unsigned size) {
  uint64_t lanes = 0, others = 0;
  for (const Digit& d : offsets.digits)
    if (d.bit()) (d.axis == Axis::lane ? lanes : others) |= d.image;
  bool lanes_plain = true, whole_words = true;
  unsigned bit = 0;
  for (const CoordDigit& c : offsets.coords) {
    const bool by_lane = c.bit() && lanes >> bit++ & 1;
    if (by_lane)
      lanes_plain &= std::has_single_bit(c.weight);
    else if (!std::has_single_bit(c.weight) || !c.bit())
      whole_words &= c.weight * size % 4 == 0;
  }
  return whole_words && (lanes_plain || !(lanes & others));
}

std::optional<Waves> wavefronts(Access access, const Layout& registers, const Layout& shared, unsigned bits) {
  check_pair(registers, shared);
  const unsigned size = std::max(bits, 8u) / 8;
  const auto offsets = compose(registers, shared);
  std::array<uint64_t, 32> address;
  if (access != Access::vector) {
    if (!offsets) return std::nullopt;
    const auto digits = divide(access, *offsets, bits, 1);
    if (!digits) return std::nullopt;
    const Spelling& rows = digits->rows;
    const uint32_t instructions = rows.count(Axis::reg), matrices = instructions * uint32_t(digits->words.size());
    const auto one_matrix = [&](uint32_t item, uint32_t matrix, uint32_t warp) {
      for (uint32_t row = 0; row < 8; ++row)
        address[row] = uint64_t(rows.at({.reg = item, .lane = 8 * matrix + row, .warp = warp})[0]) * size;
      return simulate({address.data(), 8}, 16).wavefronts;
    };
    if (uniform(*offsets, size)) return Waves{one_matrix(0, 0, 0) * matrices, matrices, instructions, 16};
    Waves worst{0, matrices, instructions, 16};
    for (uint32_t warp = 0; warp < rows.count(Axis::warp); ++warp) {
      uint32_t sum = 0;
      for (uint32_t item = 0; item < instructions; ++item)
        for (uint32_t matrix = 0; matrix < digits->words.size(); ++matrix) sum += one_matrix(item, matrix, warp);
      worst.wavefronts = std::max(worst.wavefronts, sum);
    }
    return worst;
  }
  if (offsets && uniform(*offsets, size)) {
    const unsigned vector = 1u << run_of(*offsets, widest(bits, 16)).steps.size();
    std::array<uint64_t, 64> step; // bytes, per offset bit
    unsigned bit = 0;
    for (const CoordDigit& c : offsets->coords)
      if (c.bit()) step[bit++] = uint64_t(c.weight) * size;
    std::array<uint64_t, 32> image{};
    for (uint32_t lane = 1; lane < 32; ++lane) {
      const Digit* d = offsets->find(Axis::lane, std::bit_floor(lane));
      image[lane] = image[lane - std::bit_floor(lane)] ^ (d ? d->image : 0);
    }
    for (uint32_t lane = 0; lane < 32; ++lane) {
      address[lane] = 0;
      for (uint64_t left = image[lane]; left; left &= left - 1) address[lane] += step[size_t(std::countr_zero(left))];
    }
    Waves waves = simulate_access(address, vector * size);
    waves.instructions = registers.count(Axis::reg) / vector;
    waves.wavefronts *= waves.instructions;
    waves.least *= waves.instructions;
    return waves;
  }
  // Padding or digits that do not agree: every instruction of every warp; the slowest warp counts.
  const auto plan = vector_access(registers, shared, bits);
  if (!plan) return std::nullopt;
  const unsigned bytes = plan->elements * size;
  Waves worst{0, 0, uint32_t(plan->registers.size()) / plan->elements, bytes};
  for (uint32_t warp = 0; warp < registers.count(Axis::warp); ++warp) {
    Waves waves{};
    for (uint32_t item = 0; item < worst.instructions; ++item) {
      for (uint32_t lane = 0; lane < 32; ++lane)
        address[lane] = uint64_t(plan->addresses(item, {.lane = lane, .warp = warp})) * size;
      const Waves one = simulate_access(address, bytes);
      waves.wavefronts += one.wavefronts;
      waves.least += one.least;
    }
    if (waves.wavefronts >= worst.wavefronts) {
      worst.wavefronts = waves.wavefronts;
      worst.least = waves.least;
    }
  }
  return worst;
}

} // namespace tilejit::layout
