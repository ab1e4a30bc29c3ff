#include "compiler/layout/questions.h"

#include "compiler/layout/f2.h"
#include "compiler/layout/linear.h"

#include <algorithm>
#include <stdexcept>

namespace tilejit::layout {

static unsigned checked(const Layout& layout, int dim) {
  layout.size(dim); // throws when there is no such dim
  return unsigned(dim);
}

// --- reductions ------------------------------------------------------------------------------------------------------

std::optional<Reduction> plan_reduction(const Layout& layout, int dim) {
  const unsigned along = checked(layout, dim);
  const Spelling& s = layout.spelling();
  const uint64_t bits = s.bits_of(along);
  Elimination distinct;
  Reduction plan{};
  plan.warps = 1;
  for (const Digit& d : s.digits) {
    if (!s.in_dim(d, along)) continue;
    if (d.bit()) {
      if (d.image & ~bits) return std::nullopt;        // mixed with another dim
      if (!distinct.add(d.image)) return std::nullopt; // reached twice: would be counted twice
    }
    if (d.axis == Axis::cta) return std::nullopt; // no block sees another's registers or shared memory
    if (d.axis == Axis::lane) plan.butterflies.push_back(d.stride);
    if (d.axis == Axis::warp) plan.warps *= d.radix;
  }
  // What is left after registers and lanes: dim keeps the digits of the warps only.
  Spelling left;
  left.rank = s.rank;
  left.coords = s.coords;
  StaticVector<uint32_t, max_digits> source_stride, source_radix; // of the register digits that stay
  for (const Digit& d : s.digits) {
    const bool reduced = s.in_dim(d, along);
    if (d.axis == Axis::reg && reduced) continue;
    if (d.axis == Axis::reg) {
      source_stride.push_back(d.stride);
      source_radix.push_back(d.radix);
    }
    left.digits.push_back(d);
    if (d.axis == Axis::lane && reduced) left.digits.back().image = 0;
  }
  left.close_gaps(Axis::reg);
  // Coordinate digits of dim that no warp digit names go; the images of the warps are made the digits of dim, one by
  // one.
  StaticVector<uint8_t, max_digits> warp_digits;
  for (size_t i = 0; i < left.digits.size(); ++i)
    if (left.digits[i].axis == Axis::warp && left.in_dim(left.digits[i], along)) {
      warp_digits.push_back(uint8_t(i));
      left.digits[i].image = 0;
    }
  for (size_t i = left.coords.size(); i-- > 0;)
    if (left.coords[i].dim == along) left.erase_coordinate(i);
  for (uint8_t i : warp_digits) {
    const uint32_t radix = left.digits[i].radix;
    const unsigned number = left.add_coordinate(along, radix);
    left.digits[i].image = radix == 2 ? uint64_t(1) << number : number + 1;
  }
  plan.partial = Layout(left);

  // Gathered: the result, with dim's warps in registers above the others.
  const Layout kept = layout.slice_keep(dim);
  plan.gathered = kept;
  for (uint8_t i : warp_digits) plan.gathered = plan.gathered.repeat(dim, left.digits[i].radix, Axis::reg);

  const uint32_t registers = layout.count(Axis::reg), results = kept.count(Axis::reg);
  plan.in_thread = registers - results;
  plan.target.resize(registers);
  for (uint32_t r = 0; r < registers; ++r) {
    uint32_t stride = 1;
    for (size_t i = 0; i < source_stride.size(); ++i) {
      plan.target[r] += r / source_stride[i] % source_radix[i] * stride;
      stride *= source_radix[i];
    }
  }
  return plan;
}

FirstCopy first_copy(const Layout& layout) {
  FirstCopy first{};
  Elimination images;
  for (const Digit& d : layout.digits()) { // in the order reg, lane, warp, cta
    const bool copy = d.bit() ? !images.add(d.image) : d.image == 0;
    if (!copy) continue;
    if (d.axis == Axis::lane)
      first.lanes |= d.stride;
    else
      first.digits.push_back({d.axis, d.stride, d.radix});
  }
  return first;
}

bool FirstCopy::holds(const Place& thread) const {
  if (thread.lane & lanes) return false;
  return std::all_of(digits.begin(), digits.end(),
                     [&](const PlaceDigit& d) { return thread[d.axis] / d.stride % d.radix == 0; });
}

// --- coordinates as integer code -------------------------------------------------------------------------------------

// A coordinate digit that one thread digit, or the registers, alone decide goes into one field that adds.  Bits that
// several decide are xor-ed; neighbouring ones (weights w, 2w, 4w ...) make one field of weight w.
Linear make_linear(const Spelling& s, unsigned dim, uint32_t items) {
  struct Output {
    CoordDigit digit;
    unsigned number; // bit or odd number
    bool shared;
  };
  StaticVector<Output, max_digits> outputs;
  unsigned bits = 0, odds = 0;
  for (const CoordDigit& c : s.coords) {
    const unsigned number = c.bit() ? bits++ : odds++;
    if (c.dim != dim) continue;
    unsigned users = 0;
    bool registers = false;
    if (c.bit())
      for (const Digit& d : s.digits)
        if (d.bit() && d.image >> number & 1) (d.axis == Axis::reg ? registers = true : (++users, true));
    outputs.push_back({c, number, users + registers > 1});
  }
  // The bits that each register flips: every digit, from the lowest, repeats what is there for each of its further
  // values.
  std::vector<uint64_t> images{0};
  images.reserve(items);
  for (const Digit& d : s.digits)
    if (d.axis == Axis::reg)
      for (size_t n = images.size(), value = 1; value < d.radix; ++value)
        for (size_t r = 0; r < n; ++r) images.push_back(images[r] ^ (d.bit() ? d.image : 0));

  Linear result;
  // The field of the output digits in [begin, end) that are shared, or of those that are not.
  const auto add_field = [&](bool exclusive_or, uint32_t weight, size_t begin, size_t end) {
    Linear::Field field{exclusive_or, weight, {}, std::vector<uint32_t>(items)};
    const auto value_in = [&](const Digit& d) {
      uint32_t value = 0;
      for (size_t i = begin; i < end; ++i) {
        const Output& o = outputs[i];
        if (o.shared != exclusive_or || o.digit.bit() != d.bit()) continue;
        if (d.bit() ? d.image >> o.number & 1 : d.image == o.number + 1) value += o.digit.weight / weight;
      }
      return value;
    };
    for (size_t i = 0; i < s.digits.size(); ++i) {
      const Digit& d = s.digits[i];
      const uint32_t value = value_in(d);
      if (!value) continue;
      if (d.axis == Axis::reg) {
        if (!d.bit())
          for (uint32_t r = 0; r < items; ++r) field.registers[r] += value_of(d, r) * value;
        continue;
      }
      const bool top = i + 1 == s.digits.size() || s.digits[i + 1].axis != d.axis;
      if (!field.terms.empty()) { // two neighbouring digits that step on evenly are one
        Linear::Term& last = field.terms.back();
        if (last.axis == d.axis && last.stride * last.radix == d.stride && value == last.value * last.radix &&
            (!exclusive_or || std::has_single_bit(last.value))) {
          last.radix *= d.radix;
          last.top = top;
          continue;
        }
      }
      field.terms.push_back({d.axis, d.stride, d.radix, value, top});
    }
    uint64_t mine = 0;
    std::array<uint32_t, 64> value_of_bit;
    for (size_t i = begin; i < end; ++i) {
      const Output& o = outputs[i];
      if (o.shared != exclusive_or || !o.digit.bit()) continue;
      mine |= uint64_t(1) << o.number;
      value_of_bit[o.number] = o.digit.weight / weight;
    }
    for (uint32_t r = 0; r < items; ++r)
      for (uint64_t left = images[r] & mine; left; left &= left - 1)
        field.registers[r] += value_of_bit[size_t(std::countr_zero(left))];
    result.fields.push_back(std::move(field));
  };
  const bool any_shared = std::any_of(outputs.begin(), outputs.end(), [](const Output& o) { return o.shared; });
  const bool any_alone = std::any_of(outputs.begin(), outputs.end(), [](const Output& o) { return !o.shared; });
  if (any_alone || !any_shared) add_field(false, 1, 0, outputs.size());
  for (size_t i = 0; i < outputs.size();) {
    if (!outputs[i].shared) {
      ++i;
      continue;
    }
    size_t end = i + 1;
    while (end < outputs.size() && outputs[end].shared &&
           outputs[end].digit.weight == outputs[end - 1].digit.weight * 2)
      ++end;
    add_field(true, outputs[i].digit.weight, i, end);
    i = end;
  }
  return result;
}

uint32_t Linear::Field::thread(const Place& place) const {
  uint32_t value = 0;
  for (const Term& t : terms) {
    const uint32_t part = t.value * (place[t.axis] / t.stride % t.radix);
    value = exclusive_or ? value ^ part : value + part;
  }
  return value;
}

uint32_t Linear::operator()(const Place& place) const {
  uint32_t sum = 0;
  for (const Field& f : fields) {
    const uint32_t thread = f.thread(place), reg = f.registers[place.reg];
    sum += f.weight * (f.exclusive_or ? thread ^ reg : thread + reg);
  }
  return sum;
}

Linear linear(const Layout& layout, int dim) {
  return make_linear(layout.spelling(), checked(layout, dim), layout.count(Axis::reg));
}

std::optional<Split> split(const Layout& layout, int dim) {
  const unsigned along = checked(layout, dim);
  const Spelling& s = layout.spelling();
  uint64_t thread_bits = 0, register_bits = 0;
  uint32_t thread_max = 0;
  std::vector<uint32_t> parts{0};
  const auto widen = [&](const CoordDigit& c) {
    for (size_t i = 0, n = parts.size(); i < n; ++i)
      for (uint32_t v = 1; v < c.radix; ++v) parts.push_back(parts[i] + v * c.weight);
  };
  for (const Digit& d : s.digits)
    if (d.bit()) (d.axis == Axis::reg ? register_bits : thread_bits) |= d.image;
  if (thread_bits & register_bits & s.bits_of(along)) return std::nullopt;
  unsigned bits = 0, odds = 0;
  for (const CoordDigit& c : s.coords) {
    const unsigned number = c.bit() ? bits++ : odds++;
    if (c.dim != along) continue;
    const bool in_register = c.bit() ? register_bits >> number & 1 : s.odd_owner(number)->axis == Axis::reg;
    if (in_register)
      widen(c);
    else
      thread_max += (c.radix - 1) * c.weight;
  }
  std::sort(parts.begin(), parts.end());
  return Split{thread_max, parts};
}

// --- global memory ---------------------------------------------------------------------------------------------------

// The register bits (as sets) that step along the lowest bits of dim, while they are independent of the thread.
static Vectors run_along(const Layout& layout, unsigned dim, unsigned at_most) {
  const Spelling& s = layout.spelling();
  Vectors registers, steps;
  uint64_t threads = 0;
  for (const Digit& d : s.digits)
    if (d.bit()) {
      if (d.axis == Axis::reg)
        registers.push_back(d.image);
      else
        threads |= d.image;
    }
  const Elimination basis(registers);
  unsigned number = 0;
  for (const CoordDigit& c : s.coords) {
    if (!c.bit()) continue;
    const uint64_t bit = uint64_t(1) << number++;
    if (c.dim != dim) continue;
    if (c.weight != 1u << steps.size() || steps.size() == at_most || threads & bit) break;
    const auto x = basis.solve(bit);
    if (!x) break;
    steps.push_back(*x);
  }
  return steps;
}

unsigned global_vector(const Layout& layout, int dim, unsigned bits, unsigned align, uint32_t divisor) {
  const unsigned along = checked(layout, dim);
  unsigned v = 1u << run_along(layout, along, unsigned(std::bit_width(128u / std::max(bits, 8u))) - 1).size();
  while (v > 1 && (v * std::max(bits, 8u) / 8 > align || (divisor && divisor % v))) v /= 2;
  return v;
}

std::vector<uint32_t> vector_registers(const Layout& layout, int dim, unsigned vector) {
  const unsigned along = checked(layout, dim);
  if (!std::has_single_bit(vector))
    throw std::invalid_argument("a vector has 1, 2, 4 ... elements, not " + std::to_string(vector));
  const Vectors steps = run_along(layout, along, unsigned(std::countr_zero(vector)));
  if (1u << steps.size() != vector)
    throw std::invalid_argument("no thread holds vectors of " + std::to_string(vector) + " elements along dim " +
                                std::to_string(dim) + " of " + layout.str());
  const Spelling& s = layout.spelling();
  StaticVector<Digit, max_digits> register_bits;
  for (const Digit& d : s.digits)
    if (d.axis == Axis::reg && d.bit()) register_bits.push_back(d);
  std::vector<uint32_t> result;
  const uint32_t count = layout.count(Axis::reg);
  for (uint32_t r = 0; r < count; ++r) {
    if (layout.at({.reg = r})[along] % vector) continue; // not the first of its run
    for (uint32_t e = 0; e < vector; ++e) {
      uint64_t set = 0;
      for (size_t b = 0; b < steps.size(); ++b)
        if (e >> b & 1) set ^= steps[b];
      uint32_t reg = r;
      for (; set; set &= set - 1) {
        const Digit& d = register_bits[size_t(std::countr_zero(set))];
        reg = value_of(d, reg) ? reg - d.stride : reg + d.stride;
      }
      result.push_back(reg);
    }
  }
  return result;
}

} // namespace tilejit::layout
