// descriptors.cpp - how wgmma and TMA are told where a shared tile lies.
//
// Both know a few forms only: dense boxes, with 16-byte chunks xor-ed by address bits 7..9.  So: undo that xor for each
// span in turn; if every coordinate digit then moves the address by one single stride, the strides are compared with
// the forms of the manual (PTX ISA, "Asynchronous Warpgroup Level Matrix Shared Memory Layout" and "Matrix Descriptor";
// the canonical forms are those of CUTLASS too).
#include "compiler/layout/offsets.h"
#include "compiler/layout/shared_memory.h"

namespace tilejit::layout {

namespace {

/// A coordinate digit and how many bytes its step moves the address, once the hardware's swizzle is undone.
struct Stride {
  uint8_t dim;
  uint32_t radix, weight, bytes;
};

class Strides {
public:
  static std::optional<Strides> of(const Layout& shared, unsigned bits, unsigned span) {
    const Spelling& s = shared.spelling();
    const uint32_t size = bits / 8;
    Vectors strides; // of the offset bits, in bytes
    uint64_t known = 0;
    for (const Digit& d : s.digits)
      if (d.bit()) {
        strides.push_back(uint64_t(d.stride) * size);
        if (std::has_single_bit(strides.back())) known |= strides.back();
      }
    uint64_t needed = 0;
    for (unsigned b = 0; 16u << b < span; ++b) needed |= (16u << b) | (128u << b);
    if ((known & needed) != needed) return std::nullopt;
    const Vectors inverse = inverse_bits(s);
    Strides result;
    unsigned bit = 0, odd = 0;
    for (const CoordDigit& c : s.coords) {
      uint64_t bytes;
      if (c.bit()) {
        uint64_t offsets = inverse[bit++], flips = 0;
        for (unsigned b = 0; 16u << b < span; ++b)
          for (size_t i = 0; i < strides.size(); ++i)
            if (strides[i] == 128u << b && offsets >> i & 1) flips |= 16u << b;
        for (size_t i = 0; i < strides.size(); ++i)
          if (std::has_single_bit(strides[i]) && flips & strides[i]) offsets ^= uint64_t(1) << i;
        if (std::popcount(offsets) != 1) return std::nullopt;
        bytes = strides[size_t(std::countr_zero(offsets))];
      } else {
        bytes = uint64_t(s.odd_owner(odd++)->stride) * size;
      }
      result.all_.push_back({c.dim, c.radix, c.weight, uint32_t(bytes)});
    }
    return result;
  }

  std::optional<uint32_t> at(int dim, uint32_t weight) const {
    for (const Stride& s : all_)
      if (s.dim == dim && s.weight == weight) return s.bytes;
    return std::nullopt;
  }
  const Stride* find(int dim, uint32_t weight) const {
    for (const Stride& s : all_)
      if (s.dim == dim && s.weight == weight) return &s;
    return nullptr;
  }
  /// Bytes per `low` steps of dim when its digits of weight in [low, high) have one pitch; 0 when there are none.
  std::optional<uint32_t> pitch(int dim, uint32_t low, uint32_t high) const {
    std::optional<uint64_t> pitch;
    for (const Stride& s : all_) {
      if (s.dim != dim || s.weight < low || s.weight >= high) continue;
      if (s.weight % low) return std::nullopt;
      const uint64_t steps = s.weight / low;
      if (s.bytes % steps || (pitch && *pitch != s.bytes / steps)) return std::nullopt;
      pitch = s.bytes / steps;
    }
    return uint32_t(pitch.value_or(0));
  }
  /// Bytes to the coordinate, counting the digits of weight >= low only.
  uint32_t to(int dim, uint32_t coordinate, uint32_t low) const {
    uint32_t bytes = 0;
    for (const Stride& s : all_)
      if (s.dim == dim && s.weight >= low) bytes += coordinate / s.weight % s.radix * s.bytes;
    return bytes;
  }

private:
  StaticVector<Stride, max_digits> all_;
};

} // namespace

std::optional<Descriptor> wgmma_descriptor(const Layout& shared, int mn, int k, unsigned bits, uint32_t rows) {
  if (bits != 8 && bits != 16 && bits != 32) return std::nullopt;
  const uint32_t size = bits / 8, chunk = 16 / size,
                 step = 32 / size; // chunk: elements of a core matrix' row; step: k of one wgmma
  const uint32_t total_mn = shared.size(mn), total_k = shared.size(k);
  if (total_k % step || rows == 0 || rows > total_mn) return std::nullopt;
  for (unsigned span : {128u, 64u, 32u, 0u}) {
    const auto strides = Strides::of(shared, bits, span);
    if (!strides) continue;
    const uint32_t width = std::max(span, 16u) / size; // elements of a row of the swizzle atom
    Descriptor result{false, uint8_t(span), 0, 0, {}};
    if (strides->at(k, 1) == size) {
      const auto across = strides->pitch(mn, 8, rows), next = strides->at(k, chunk);
      if (strides->pitch(k, 1, chunk) != size || strides->pitch(mn, 1, 8) != std::max(span, 16u) || !across || !next)
        continue;
      if (span && (*next != 16 || strides->pitch(k, 1, std::min(width, total_k)) != size)) continue;
      result.lbo = *next;
      result.sbo = *across;
    } else if (strides->at(mn, 1) == size && bits == 16) {
      const auto across = strides->pitch(mn, width, rows), down = strides->at(k, 8);
      if (total_mn < width || strides->pitch(mn, 1, std::min(width, total_mn)) != size) continue;
      if (strides->pitch(k, 1, 8) != std::max(span, 16u) || !across || !down) continue;
      result.mn_major = true;
      result.lbo = span ? *across : *down;
      result.sbo = span ? *down : *across;
    } else {
      continue;
    }
    for (uint32_t k0 = 0; k0 < total_k; k0 += step) result.start.push_back(strides->to(k, k0, step));
    return result;
  }
  return std::nullopt;
}

std::optional<TmaBoxes> tma_boxes(const Layout& shared, int contiguous, unsigned bits) {
  const uint32_t size = bits / 8;
  if (size == 0 || shared.size(contiguous) == 0) return std::nullopt;
  for (unsigned span : {128u, 64u, 32u, 0u}) {
    const auto strides = Strides::of(shared, bits, span);
    if (!strides) continue;
    TmaBoxes result{uint8_t(span), {}, {}};
    result.box.fill(1);
    // The box: a run along the contiguous dim, then rows that follow each other, the last of the other dims first.
    uint64_t dense = size;
    const auto run = [&](int dim, uint32_t limit) {
      uint32_t& length = result.box[size_t(dim)];
      while (const Stride* s = strides->find(dim, length)) {
        if (s->bytes != dense || length * s->radix > limit) break;
        length *= s->radix;
        dense *= s->radix;
      }
      return length == shared.size(dim);
    };
    const bool whole_row = run(contiguous, span ? span / size : 256);
    if (dense % 16 || (span && dense != span)) continue;
    bool go_on = span || whole_row;
    for (int d = int(shared.rank()) - 1; d >= 0 && go_on; --d)
      if (d != contiguous) go_on = run(d, 256);
    // Where the boxes begin.
    std::vector<TmaBoxes::At> boxes{{{}, 0}};
    for (int d = int(shared.rank()) - 1; d >= 0; --d) {
      const uint32_t length = result.box[size_t(d)];
      for (size_t i = 0, n = boxes.size(); i < n; ++i)
        for (uint32_t c = length; c < shared.size(d); c += length) {
          TmaBoxes::At box = boxes[i];
          box.origin[size_t(d)] = c;
          box.bytes += strides->to(d, c, length);
          boxes.push_back(box);
        }
    }
    const uint32_t alignment = std::max(128u, span * 8);
    if (boxes.size() > 1 && std::any_of(boxes.begin(), boxes.end(), [&](const auto& b) { return b.bytes % alignment; }))
      continue;
    result.at = std::move(boxes);
    return result;
  }
  return std::nullopt;
}

} // namespace tilejit::layout
