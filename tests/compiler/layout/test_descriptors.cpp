// wgmma descriptors and TMA boxes, against what the hardware reads and writes.
//
// The address formulas are those of PTX ISA 9.1, section 9.7.15.5.1.2, "Shared Memory Matrix Layout", with its strides:
// leading dimension byte offset (K-major: from the first to the second 16-byte column without swizzle, else unused;
// MN-major: from the first 8 columns to the next without swizzle, from one span of rows to the next with it) and stride
// dimension byte offset; and of CUTLASS' table of canonical layouts.  A swizzle xors address bits 7, 8, 9 into bits 4,
// 5, 6.
#include "layout_testing.h"

using namespace tilejit::layout;
using namespace tilejit::layout::testing;

namespace {

unsigned swizzle_bits(unsigned span) { return span == 128 ? 3 : span == 64 ? 2 : span == 32 ? 1 : 0; }
uint32_t swizzle(uint32_t address, unsigned span) {
  for (unsigned b = 0; b < swizzle_bits(span); ++b)
    if (address >> (7 + b) & 1) address ^= 16u << b;
  return address;
}

/// The byte that wgmma reads for element (x, kk) of one instruction (kk < 32 bytes), with its operand at `start`.
uint32_t hardware_address(const Descriptor& d, unsigned bits, uint32_t x, uint32_t kk, uint32_t start) {
  const uint32_t size = bits / 8, chunk = 16 / size, pitch = std::max<uint32_t>(d.span, 16), width = pitch / size;
  uint32_t a = start;
  if (!d.mn_major)
    a += x % 8 * pitch + x / 8 * d.sbo + kk % chunk * size + kk / chunk * (d.span ? 16 : d.lbo);
  else if (d.span)
    a += x % width * size + x / width * d.lbo + kk % 8 * d.span + kk / 8 * d.sbo;
  else
    a += x % chunk * size + x / chunk * d.sbo + kk % 8 * 16 + kk / 8 * d.lbo;
  return swizzle(a, d.span);
}

/// Byte of element (x, k): tile with mn along dim `mn`.
struct Bytes {
  std::vector<uint32_t> offsets;
  uint32_t columns, size;
  int mn;
  Bytes(const Layout& tile, int mn_dim, unsigned bits)
      : offsets(offsets_of(tile)), columns(tile.size(1)), size(bits / 8), mn(mn_dim) {}
  uint32_t operator()(uint32_t x, uint32_t k) const {
    return offsets[mn == 0 ? x * columns + k : k * columns + x] * size;
  }
};

std::optional<Descriptor> check_descriptor(const Layout& tile, int mn, unsigned bits, uint64_t& checked) {
  const int k = 1 - mn;
  const auto d = wgmma_descriptor(tile, mn, k, bits, tile.size(mn));
  if (!d) return d;
  const Bytes byte(tile, mn, bits);
  const uint32_t step = 256 / bits;
  EXPECT(d->start.size() == tile.size(k) / step, tile);
  for (uint32_t s = 0; s < d->start.size(); ++s)
    for (uint32_t x = 0; x < tile.size(mn); ++x)
      for (uint32_t kk = 0; kk < step; ++kk)
        EXPECT(hardware_address(*d, bits, x, kk, d->start[s]) == byte(x, s * step + kk), tile);
  EXPECT(d->lbo % 16 == 0 && d->sbo % 16 == 0 && d->lbo < 1u << 18 && d->sbo < 1u << 18, tile);
  return d;
}

std::optional<TmaBoxes> check_boxes(const Layout& tile, int inner, unsigned bits, uint64_t& checked) {
  const auto boxes = tma_boxes(tile, inner, bits);
  if (!boxes) return boxes;
  const uint32_t size = bits / 8;
  const int outer = 1 - inner;
  const auto offsets = offsets_of(tile);
  uint64_t elements = 0;
  for (const TmaBoxes::At& box : boxes->at)
    for (uint32_t y = 0; y < boxes->box[size_t(outer)]; ++y)
      for (uint32_t x = 0; x < boxes->box[size_t(inner)]; ++x) {
        Coord c = box.origin;
        c[size_t(outer)] += y;
        c[size_t(inner)] += x;
        const uint32_t address = box.bytes + (y * boxes->box[size_t(inner)] + x) * size;
        EXPECT(swizzle(address, boxes->span) == offsets[flat(tile, c)] * size, tile);
        ++elements;
      }
  EXPECT(elements == tile.elements(), tile);
  return boxes;
}

/// Is there any descriptor for the tile?  Tries every form with the strides that the first elements dictate.
bool descriptor_exists(const Layout& tile, int mn, unsigned bits) {
  const Bytes byte(tile, mn, bits);
  const uint32_t size = bits / 8, chunk = 16 / size, step = 32 / size, rows = tile.size(mn), depth = tile.size(1 - mn);
  for (unsigned span : {0u, 32u, 64u, 128u})
    for (bool mn_major : {false, true}) {
      const uint32_t width = std::max(span, 16u) / size;
      if (mn_major && (bits != 16 || rows < width)) continue;
      const auto plain = [&](uint32_t x, uint32_t k) { return swizzle(byte(x, k), span); }; // the xor undoes itself
      Descriptor d{mn_major, uint8_t(span), 0, 0, {}};
      if (!mn_major) {
        d.sbo = rows > 8 ? plain(8, 0) : 0;
        d.lbo = span ? 16 : plain(0, chunk);
      } else {
        const uint32_t across = rows > width ? plain(width, 0) : 0, down = plain(0, 8);
        d.lbo = span ? across : down;
        d.sbo = span ? down : across;
      }
      bool good = true;
      for (uint32_t k0 = 0; k0 < depth && good; k0 += step)
        for (uint32_t x = 0; x < rows && good; ++x)
          for (uint32_t kk = 0; kk < step && good; ++kk)
            good = hardware_address(d, bits, x, kk, plain(0, k0)) == byte(x, k0 + kk);
      if (good) return true;
    }
  return false;
}

} // namespace

TEST_CASE("canonical tiles have descriptors and boxes that read and write every element") {
  uint64_t checked = 0;
  unsigned tiles = 0;
  for (unsigned bits : {16u, 8u, 32u})
    for (auto [mn, k] : {std::pair{64u, 64u},
                         {80u, 64u},
                         {192u, 128u},
                         {8u, 256u},
                         {112u, 32u},
                         {64u, 576u},
                         {256u, 128u},
                         {80u, 256u}})
      for (unsigned span : {0u, 32u, 64u, 128u}) {
        const uint32_t size = bits / 8;
        if ((span && k * size % span) || k * size < 32) continue;
        for (bool rows_first : {true, false}) {
          if (span && !rows_first) continue;
          const Layout tile = span ? swizzled(1, {mn, k}, bits, span) : core_matrices(1, {mn, k}, bits, rows_first);
          const auto d = check_descriptor(tile, 0, bits, checked);
          REQUIRE(d);
          CHECK_FALSE(d->mn_major);
          CHECK(d->span == span);
          ++tiles;
          if (span) {
            const auto boxes = check_boxes(tile, 1, bits, checked);
            REQUIRE(boxes);
            CHECK(boxes->span == span);
          }
          if (bits == 16 && mn % 16 == 0) { // the same memory, with its rows contracted
            const auto turned = check_descriptor(tile, 1, bits, checked);
            REQUIRE(turned);
            CHECK(turned->mn_major);
            CHECK(turned->span == span);
            ++tiles;
          }
        }
      }
  CHECK(tiles >= 117);
  CHECK(checked > 3200000);
}

TEST_CASE("the examples of the K and V tiles") {
  uint64_t checked = 0;
  const auto k = check_descriptor(swizzled(1, {64, 64}, 16, 128), 0, 16, checked);
  REQUIRE(k);
  CHECK((k->lbo == 16 && k->sbo == 1024 && k->start == std::vector<uint32_t>{0, 32, 64, 96}));
  const Layout v = swizzled(1, {80, 80}, 16, 32);
  CHECK(v == Layout::parse("k:80 j:80 | offset j1 j2 j4 j8 k1 k2 j8^k4 k8 k16*5 j16*5"));
  const auto d = check_descriptor(v, 1, 16, checked);
  REQUIRE(d);
  CHECK(
      (d->mn_major && d->lbo == 2560 && d->sbo == 256 && d->start == std::vector<uint32_t>{0, 512, 1024, 1536, 2048}));
  const auto boxes = check_boxes(v, 1, 16, checked);
  REQUIRE(boxes);
  CHECK((boxes->at.size() == 5 && boxes->box[0] == 80 && boxes->box[1] == 16));
  for (uint32_t n : {48u, 80u, 160u}) {
    const Layout tile = swizzled(1, {128, n}, 16, 32);
    const auto odd = check_descriptor(tile, 1, 16, checked);
    REQUIRE(odd);
    CHECK((odd->span == 32 && odd->lbo == 4096 && odd->sbo == 256 && odd->start[2] == 1024));
    CHECK(check_boxes(tile, 1, 16, checked));
  }
  // Three dims: heads x rows x columns, rows of all heads follow each other.
  const auto three = tma_boxes(swizzled(2, {2, 64, 64}, 16, 128), 2, 16);
  REQUIRE(three);
  CHECK((three->box == Coord{2, 64, 64, 1, 1} && three->at.size() == 1));
}

TEST_CASE("a descriptor is refused exactly when none exists") {
  uint64_t checked = 0;
  Random random(51);
  unsigned cases = 0, legal = 0;
  for (unsigned n = 0; n < 500; ++n) {
    const uint32_t mn = random.pick({16u, 24u, 40u, 64u}), k = random.pick({32u, 64u});
    Layout tile;
    const uint32_t kind = random.below(10);
    if (kind < 3) {
      tile = padded(1, {mn, k}, random.pick({0u, 8u, 16u}));
    } else if (kind < 5) {
      tile = random_shared(random, {mn, k});
    } else {
      Spelling s = swizzled(1, {mn, k}, 16, random.pick({32u, 64u})).spelling();
      const uint32_t x = random.below(uint32_t(s.digits.size())), y = random.below(uint32_t(s.digits.size()));
      if (s.digits[x].bit() && s.digits[y].bit()) std::swap(s.digits[x].image, s.digits[y].image);
      tile = Layout(s);
    }
    for (int dim : {0, 1}) {
      if (tile.size(1 - dim) % 16) continue;
      const auto d = check_descriptor(tile, dim, 16, checked);
      EXPECT(d.has_value() == descriptor_exists(tile, dim, 16), tile);
      ++cases;
      legal += d.has_value();
    }
  }
  CHECK(cases >= 603);
  CHECK(legal > 50);
  CHECK_FALSE(tma_boxes(padded(1, {64, 40}, 1), 1, 16)); // a row that does not begin at 16 bytes
}
