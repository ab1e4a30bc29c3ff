// exec_amx.cpp - wgmma of bf16 by the host's matrix units, where it has them: Intel's Architecture Instruction Set
// Extensions Programming Reference, "TDPBF16PS". The sums are those of multiply_apart (mma_tile.h), bit for bit.
//
// A tile of the host is 16 rows of 64 bytes: of D 16 rows and columns, of A 16 rows and the 16 k of an instruction, of
// B the same k, pairs of them together, and 16 columns. A row of D is four groups of four lanes, from the registers of
// two tiles of 8 columns: the columns come in the order of these registers, and B's are put in the same order.
#include "runtime/simulator/mma_vectors.h"
#include "runtime/simulator/wgmma_operands.h"

namespace tilejit::runtime::simulator {
namespace {

constexpr uint32_t most_products = max_product_steps / 16, most_pairs = 16;

struct alignas(64) TileConfiguration {
  uint8_t palette = 1, start_row = 0, reserved[14]{};
  uint16_t row_bytes[16]{};
  uint8_t rows[16]{};
};
/// Tiles: 0 D, 1 B, from 2 on A of each product.
constexpr TileConfiguration configuration() {
  TileConfiguration c;
  c.row_bytes[0] = 64, c.rows[0] = 16;
  c.row_bytes[1] = 64, c.rows[1] = 8;
  for (uint32_t i = 0; i < most_products; ++i) c.row_bytes[2 + i] = 32, c.rows[2 + i] = 16;
  return c;
}
// The compiler wants the numbers of tiles written out.
inline void load_a(const uint8_t (&a)[most_products][512], uint32_t count) {
  _tile_loadd(2, a[0], 32);
  if (count > 1) _tile_loadd(3, a[1], 32);
  if (count > 2) _tile_loadd(4, a[2], 32);
  if (count > 3) _tile_loadd(5, a[3], 32);
}
inline void multiply(const uint8_t (&b)[most_products][512], uint32_t count) {
  _tile_loadd(1, b[0], 64);
  _tile_dpbf16ps(0, 2, 1);
  if (count < 2) return;
  _tile_loadd(1, b[1], 64);
  _tile_dpbf16ps(0, 3, 1);
  if (count < 3) return;
  _tile_loadd(1, b[2], 64);
  _tile_dpbf16ps(0, 4, 1);
  if (count < 4) return;
  _tile_loadd(1, b[3], 64);
  _tile_dpbf16ps(0, 5, 1);
}
static_assert(most_products == 4);

/// The units take subnormal numbers for zeros.
inline __mmask32 subnormal(Words x) {
  const Words magnitude = _mm512_and_si512(x, _mm512_set1_epi16(0x7fff));
  return _mm512_cmplt_epu16_mask(_mm512_sub_epi16(magnitude, _mm512_set1_epi16(1)), _mm512_set1_epi16(0x7f));
}

/// A of one warp: 16 rows of 32 bytes. True: there are subnormal numbers.
bool pack_a(const WarpgroupProduct& p, uint32_t warp, uint8_t* to) {
  CoresOfA a;
  find_a(p, warp, a);
  const Words sign = _mm512_set1_epi32(p.negate ? static_cast<int>(0x80008000) : 0);
  __mmask32 any = 0;
  for (int r = 0; r < 16; r += 2) { // two rows of both halves of k
    const uint8_t* rows[4] = {a.at[r / 8][0].row(r % 8), a.at[r / 8][1].row(r % 8), a.at[r / 8][0].row(r % 8 + 1),
                              a.at[r / 8][1].row(r % 8 + 1)};
    const Words x = _mm512_xor_si512(blocks(rows), sign);
    any |= subnormal(x);
    _mm512_store_si512(to + 32 * r, x);
  }
  return any;
}
/// Groups 2n and 2n + 1 of B; alone, the last one twice. Eight rows of 64 bytes: pairs of k by 16 columns.
bool pack_b(const WarpgroupProduct& p, uint32_t n, uint8_t* to) {
  const uint32_t left = 2 * n, right = left + 1 < p.groups ? left + 1 : left;
  __mmask32 any = 0;
  for (uint32_t g = 0; g < 2; ++g) {
    const CoreRows cores[2] = {core_of(p.b, left, g), core_of(p.b, right, g)};
    Words rows[4];
    if (p.transpose_b) { // a row is a k, of eight columns
      for (int pair = 0; pair < 4; ++pair) {
        __m128i part[4];
        for (int tile = 0; tile < 2; ++tile) {
          auto row = [&](int k) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(cores[tile].row(k))); };
          const __m128 low = _mm_castsi128_ps(_mm_unpacklo_epi16(row(2 * pair), row(2 * pair + 1))),
                       high = _mm_castsi128_ps(_mm_unpackhi_epi16(row(2 * pair), row(2 * pair + 1)));
          part[2 * tile] = _mm_castps_si128(_mm_shuffle_ps(low, high, 0x88));
          part[2 * tile + 1] = _mm_castps_si128(_mm_shuffle_ps(low, high, 0xdd));
        }
        const uint8_t* at[4];
        for (int i = 0; i < 4; ++i) at[i] = reinterpret_cast<const uint8_t*>(part + i);
        rows[pair] = blocks(at);
      }
    } else { // a row is a column: four pairs of k
      Words x[4], t[4];
      for (int c = 0; c < 4; ++c) {
        const uint8_t* at[4] = {cores[0].row(2 * c), cores[0].row(2 * c + 1), cores[1].row(2 * c),
                                cores[1].row(2 * c + 1)};
        x[c] = blocks(at);
      }
      t[0] = low_words(x[0], x[1]), t[1] = high_words(x[0], x[1]);
      t[2] = low_words(x[2], x[3]), t[3] = high_words(x[2], x[3]);
      rows[0] = low_pairs(t[0], t[2]), rows[1] = high_pairs(t[0], t[2]);
      rows[2] = low_pairs(t[1], t[3]), rows[3] = high_pairs(t[1], t[3]);
    }
    for (int pair = 0; pair < 4; ++pair) {
      any |= subnormal(rows[pair]);
      _mm512_store_si512(to + 64 * (4 * g + uint32_t(pair)), rows[pair]);
    }
  }
  return any;
}

/// Four vectors of four blocks each become the blocks of each place, in their order; again, and it is as before.
inline void transpose_blocks(const Words (&x)[4], Words (&y)[4]) {
  const Words low = _mm512_shuffle_i32x4(x[0], x[1], 0x44), high = _mm512_shuffle_i32x4(x[0], x[1], 0xee),
              low2 = _mm512_shuffle_i32x4(x[2], x[3], 0x44), high2 = _mm512_shuffle_i32x4(x[2], x[3], 0xee);
  y[0] = _mm512_shuffle_i32x4(low, low2, 0x88), y[1] = _mm512_shuffle_i32x4(low, low2, 0xdd);
  y[2] = _mm512_shuffle_i32x4(high, high2, 0x88), y[3] = _mm512_shuffle_i32x4(high, high2, 0xdd);
}
/// Between D's registers and the rows of a tile; `rows`: eight registers, two tiles of (h, p).
struct Registers {
  uint8_t* file;
  const uint32_t* rows;
  uint32_t tiles; ///< 1: only the first four are there

  uint8_t* at(uint32_t tile, uint32_t h, uint32_t p, uint32_t half) const {
    return file + rows[tile < tiles ? 4 * tile + 2 * h + p : 2 * h + p] + 64 * half;
  }
  void to_tile(uint8_t* tile) const {
    for (uint32_t h = 0; h < 2; ++h)
      for (uint32_t half = 0; half < 2; ++half) {
        const Words x[4] = {load(at(0, h, 0, half)), load(at(0, h, 1, half)), load(at(1, h, 0, half)),
                            load(at(1, h, 1, half))};
        Words y[4];
        transpose_blocks(x, y);
        for (uint32_t r = 0; r < 4; ++r) _mm512_store_si512(tile + 64 * (8 * h + 4 * half + r), y[r]);
      }
  }
  void from_tile(const uint8_t* tile) const {
    for (uint32_t h = 0; h < 2; ++h)
      for (uint32_t half = 0; half < 2; ++half) {
        Words x[4], y[4];
        for (uint32_t r = 0; r < 4; ++r) x[r] = load(tile + 64 * (8 * h + 4 * half + r));
        transpose_blocks(x, y);
        for (uint32_t i = 0; i < 2 * tiles; ++i) {
          const Floats value = (Floats)y[i];
          const __mmask16 nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
          store(at(i / 2, h, i % 2, half), _mm512_mask_mov_ps(value, nan, (Floats)_mm512_set1_epi32(0x7fffffff)));
        }
      }
  }
};

void products(const WarpgroupProduct* p, uint32_t count) {
  alignas(64) static thread_local uint8_t a[4][most_products][512], b[most_pairs][most_products][512], d[2][1024];
  static constexpr TileConfiguration tiles = configuration();
  if (p->a_type != Type::bf16 || p->exact) return wgmma_kernel_v4()(p, count);
  const uint32_t pairs = (p->groups + 1) / 2;
  bool any = false;
  for (uint32_t i = 0; i < count; ++i) {
    for (uint32_t w = 0; w < 4; ++w) any |= pack_a(p[i], w, a[w][i]);
    for (uint32_t n = 0; n < pairs; ++n) any |= pack_b(p[i], n, b[n][i]);
  }
  if (any) return wgmma_kernel_v4()(p, count);
  _tile_loadconfig(&tiles);
  for (uint32_t w = 0; w < 4; ++w) {
    load_a(a[w], count);
    for (uint32_t n = 0; n < pairs; ++n) {
      const Registers registers{p->files[w], p->rows + 8 * n, 2 * n + 1 < p->groups ? 2u : 1u};
      uint8_t* tile = d[n % 2];
      if (p->adds) {
        registers.to_tile(tile);
        _tile_loadd(0, tile, 64);
      } else {
        _tile_zero(0);
      }
      multiply(b[n], count);
      _tile_stored(0, tile, 64);
      registers.from_tile(tile);
    }
  }
  _tile_release();
}

} // namespace

WarpgroupKernel amx_wgmma_kernel() { return products; }

} // namespace tilejit::runtime::simulator
