// mma_tile.h - the arithmetic of mma.sync and wgmma, in the layout of their fragments.
//
// A row of 32 lanes already is a vector: lane l of accumulator register (h, p) is row l/4 + 8h, column 2(l%4) + p of a
// tile of 16 x 8. So the accumulators never move. For one k, A is a number for each quad of lanes, and B four numbers
// that are the same in all quads. Both are made panels first, as float32 and in the order of the chain, whatever type
// they had: one kernel multiplies them all. PTX ISA, "Matrix Fragments for mma.m16n8k16" and its neighbours.
//
// Our definition of the arithmetic, the same at every level of the host: products exact, one chain of fused
// multiply-adds in float32, pairs of k ascending and the odd one of a pair first (the order of vdpbf16ps). Subnormal
// operands count, as on the machine; a sum that is subnormal is flushed (MXCSR: FTZ, not DAZ), since the host is slow
// with those. NaN results are canonical. An f16 accumulator is rounded once an instruction. Integers of up to 8 bits go
// the same way: their sums over an instruction's k are below 2^24, hence exact.
//
// wgmma of bf16 is what the matrix units of some hosts compute (exec_amx.cpp): the products of even k and those of odd
// k are summed apart, each a chain from zero; then both sums, and the whole is added to D, of which subnormal numbers
// are zeros.
//
// Included by one .cpp, compiled once for each level.
#pragma once
#include "runtime/simulator/handlers.h"
#include "runtime/simulator/mma_vectors.h"

namespace tilejit::runtime::simulator {
namespace {

// --- elements --------------------------------------------------------------------------------------------------------
// Each: how many a dword holds; the float32 of number `E` in the order of the chain, odd ones first.

struct Bf16 {
  static constexpr int count = 2;
  template <int E>
  static Floats get(Words x) {
    return (Floats)(E == 0 ? (U32s)x & 0xffff0000u : (U32s)x << 16);
  }
};
/// The same where odd and even ones are summed apart: an instruction's odd ones come first.
struct Bf16Apart : Bf16 {};
struct F16 {
  static constexpr int count = 2;
  template <int E>
  static Floats get(Words x) {
    return from_f16(E == 0 ? (Words)((U32s)x >> 16) : x);
  }
};
struct Tf32 {
  static constexpr int count = 1;
  template <int E>
  static Floats get(Words x) {
    return (Floats)((U32s)x & ~0x1fffu);
  }
};
struct E5m2 { // the upper byte of an f16
  static constexpr int count = 4;
  template <int E>
  static Floats get(Words x) {
    return from_f16((Words)((U32s)x >> (8 * (E ^ 1)) << 8 & 0xff00));
  }
};
struct E4m3 { // an f16 whose exponent is 8 too small
  static constexpr int count = 4;
  template <int E>
  static Floats get(Words x) {
    const U32s b = (U32s)x >> (8 * (E ^ 1)), magnitude = b & 0x7f;
    const Floats value = from_f16((Words)((b & 0x80) << 8 | magnitude << 7)) * 256.0f;
    const U32s nan = U32s{} + 0x7fffffff;
    return magnitude == 0x7f ? (Floats)nan : value;
  }
};
template <int bits, bool is_signed>
struct Integer {
  static constexpr int count = 32 / bits;
  template <int E>
  static Floats get(Words x) {
    const U32s top = (U32s)x << (32 - bits - bits * (E ^ 1));
    return to_floats(is_signed ? (Words)((S32s)top >> (32 - bits)) : (Words)(top >> (32 - bits)));
  }
};

// --- panels ----------------------------------------------------------------------------------------------------------

// Of A: by step, h: for each lane the number of its row. Of B, for two tiles together: by step, tile, p: columns p, 2 +
// p, 4 + p, 6 + p.

inline constexpr int a_step = 2 * 32, b_step = 2 * 2 * 4; ///< floats

/// The step at which element E of dword q in half g of k takes part. The pairs of tf32 are two dwords.
template <class T>
inline int step_of(int g, int q, int e) {
  if (__is_same(T, Bf16Apart)) return 8 * e + 4 * g + q;
  return T::count == 1 ? 4 * g + (q ^ 1) : (4 * g + q) * T::count + e;
}
template <class T, int E = 0, class F>
inline void for_elements(F f) {
  f.template operator()<E>();
  if constexpr (E + 1 < T::count) for_elements<T, E + 1>(f);
}

/// A tile's 16 rows: cores by h and half of k. `sign` is xored into them.
template <class T>
void pack_a(const CoreRows (&cores)[2][2], int halves, uint32_t sign, float* panel) {
  for (int g = 0; g < halves; ++g)
    for (int h = 0; h < 2; ++h)
      for (int part = 0; part < 32; part += lanes) {
        const CoreRows& core = cores[h][g];
        Words x;
        if (core.at) {
          const uint8_t* rows[lanes / 4];
          for (int i = 0; i < lanes / 4; ++i) rows[i] = core.base + core.at[part / 4 + i];
          x = blocks(rows);
        } else
          x = load(core.base + 4 * part);
        x = (Words)((U32s)x ^ sign);
        float* to = panel + 32 * h + part;
        for_elements<T>([&]<int E>() {
          const Floats f = T::template get<E>(x);
          store(to + a_step * step_of<T>(g, 0, E), spread<0>(f));
          store(to + a_step * step_of<T>(g, 1, E), spread<1>(f));
          store(to + a_step * step_of<T>(g, 2, E), spread<2>(f));
          store(to + a_step * step_of<T>(g, 3, E), spread<3>(f));
        });
      }
}

/// Two tiles' 8 columns each: cores by tile and half of k, a row for each column. Columns 2c + p of four c are
/// transposed: a block of `x` is a column, then a dword of four.
template <class T>
void pack_b(const CoreRows (&cores)[2][2], int halves, float* panel) {
  for (int first = 0; first < 4; first += lanes / 4) { // blocks: tile 0 p 0, tile 0 p 1, tile 1 p 0, ...
    for (int g = 0; g < halves; ++g) {
      Words x[4], t[4];
#pragma GCC unroll 4
      for (int c = 0; c < 4; ++c) {
        const uint8_t* rows[lanes / 4];
#pragma GCC unroll 4
        for (int i = 0; i < lanes / 4; ++i) rows[i] = cores[(first + i) / 2][g].row(2 * c + (first + i) % 2);
        x[c] = blocks(rows);
      }
      t[0] = low_words(x[0], x[1]), t[1] = high_words(x[0], x[1]);
      t[2] = low_words(x[2], x[3]), t[3] = high_words(x[2], x[3]);
      x[0] = low_pairs(t[0], t[2]), x[1] = high_pairs(t[0], t[2]);
      x[2] = low_pairs(t[1], t[3]), x[3] = high_pairs(t[1], t[3]);
#pragma GCC unroll 4
      for (int q = 0; q < 4; ++q)
        for_elements<T>(
            [&]<int E>() { store(panel + b_step * step_of<T>(g, q, E) + 4 * first, T::template get<E>(x[q])); });
    }
  }
}
/// The same of 16-bit elements where a row is a k and its elements are the columns.
template <class T>
void pack_b_transposed(const CoreRows (&cores)[2][2], int, float* panel) {
  for (int g = 0; g < 2; ++g)
    for (int first = 0; first < 16; first += lanes / 4) { // blocks: k 0 of tile 0, of tile 1, k 1 of tile 0, ...
      const uint8_t* rows[lanes / 4];
      for (int i = 0; i < lanes / 4; ++i) rows[i] = cores[(first + i) % 2][g].row((first + i) / 2);
      const Words x = blocks(rows);
      const Floats odd = T::template get<0>(x), even = T::template get<1>(x);
      auto put = [&]<int N>() {
        const int k = (first + N) / 2; // of eight
        float* to = panel + b_step * step_of<T>(g, k / 2, k % 2 ^ 1) + (first + N) % 2 * 8;
        _mm_store_ps(to, block<N>(even));
        _mm_store_ps(to + 4, block<N>(odd));
      };
      put.template operator()<0>();
      if constexpr (lanes >= 8) put.template operator()<1>();
      if constexpr (lanes == 16) put.template operator()<2>(), put.template operator()<3>();
    }
}

// --- the kernel ------------------------------------------------------------------------------------------------------

/// A tile's accumulators: offsets of their rows in the file.
struct Tile {
  const uint32_t *c, *d;
};

#if defined(__FMA__)
inline constexpr int tiles_at_once = 2;
#else
inline constexpr int tiles_at_once = 1;
#endif

/// D = A B + C for N tiles that share A; the panel of B has both. `adds`: C counts. Accumulators stay in registers: two
/// vectors of each row with the widest vectors, else one. `is_f32`: the result is, which most are. Tiles come by value:
/// in registers, where a structure in memory would be read before it is written.
template <int N, bool is_f32>
[[gnu::noinline]] void multiply_as(uint8_t* file, Tile first, Tile second, const float* b, const float* a, int steps,
                                   Result result, bool adds) {
  constexpr int width = lanes == 16 ? 2 : 1;
  const bool integers = !is_f32 && result >= Result::s32, halves = !is_f32 && result == Result::f16;
  const Tile t[2] = {first, second};
#pragma GCC unroll 1
  for (int part = 0; part < 32; part += width * lanes) {
    auto row = [&](uint32_t offset, int v) { return reinterpret_cast<uint32_t*>(file + offset) + part + v * lanes; };
    Floats acc[N * 4 * width]; // by tile, h, p, vector
    auto at = [](int n, int h, int p, int v) { return ((n * 2 + h) * 2 + p) * width + v; };
#pragma GCC unroll 2
    for (int n = 0; n < N; ++n)
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h)
#pragma GCC unroll 2
        for (int v = 0; v < width; ++v) {
          Floats &even = acc[at(n, h, 0, v)], &odd = acc[at(n, h, 1, v)];
          if (!adds || integers)
            even = odd = Floats{};
          else if (halves) {
            const Words both = load(row(t[n].c[h], v));
            even = from_f16(both), odd = from_f16((Words)((U32s)both >> 16));
          } else {
            even = (Floats)load(row(t[n].c[2 * h], v));
            odd = (Floats)load(row(t[n].c[2 * h + 1], v));
          }
        }
    auto step = [&](int s) __attribute__((always_inline)) {
      Floats x[2][width];
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h)
#pragma GCC unroll 2
        for (int v = 0; v < width; ++v) x[h][v] = load_floats(a + a_step * s + 32 * h + part + v * lanes);
#pragma GCC unroll 2
      for (int n = 0; n < N; ++n)
#pragma GCC unroll 2
        for (int p = 0; p < 2; ++p) {
          const Floats y = four(b + b_step * s + b_step / 2 * n + 4 * p);
#pragma GCC unroll 2
          for (int h = 0; h < 2; ++h)
#pragma GCC unroll 2
            for (int v = 0; v < width; ++v) acc[at(n, h, p, v)] = fused(x[h][v], y, acc[at(n, h, p, v)]);
        }
    };
#pragma GCC unroll 1
    for (int s = 0; s < steps; s += 4) step(s), step(s + 1), step(s + 2), step(s + 3); // a multiple of 4 for all types
    if (__builtin_expect(any_nan(acc), false))
#pragma GCC unroll 16
      for (int i = 0; i < N * 4 * width; ++i) acc[i] = canonical(acc[i]);
#pragma GCC unroll 2
    for (int n = 0; n < N; ++n)
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h)
#pragma GCC unroll 2
        for (int v = 0; v < width; ++v) {
          if (halves) {
            store(row(t[n].d[h], v), (Floats)pack_f16(acc[at(n, h, 0, v)], acc[at(n, h, 1, v)]));
            continue;
          }
#pragma GCC unroll 2
          for (int p = 0; p < 2; ++p) {
            Floats x = acc[at(n, h, p, v)];
            if (integers) {
              S32s sum = (S32s)to_integers(x), c{};
              if (adds) c = (S32s)load(row(t[n].c[2 * h + p], v));
              x = (Floats)(result == Result::s32 ? (S32s)((U32s)sum + (U32s)c) : saturated_sum(sum, c));
            }
            store(row(t[n].d[2 * h + p], v), x);
          }
        }
  }
}

/// Of Bf16Apart, f32 results: N tiles whose C is D; `rows`: four of each tile. With 32 vector registers the sums of odd
/// and of even k grow side by side, else one after the other.
template <int N>
[[gnu::noinline]] void multiply_apart(uint8_t* file, const uint32_t* rows, const float* b, const float* a, int steps,
                                      bool adds) {
  constexpr int half = 8, count = N * 4; // steps of odd or of even k in an instruction; vectors
  constexpr bool together = lanes == 16;
#pragma GCC unroll 1
  for (int part = 0; part < 32; part += lanes) {
    auto row = [&](int i) { return reinterpret_cast<uint32_t*>(file + rows[i]) + part; };
    auto step = [&](int s, Floats(&acc)[count]) __attribute__((always_inline)) {
      const Floats x[2] = {load_floats(a + a_step * s + part), load_floats(a + a_step * s + 32 + part)};
#pragma GCC unroll 2
      for (int n = 0; n < N; ++n)
#pragma GCC unroll 2
        for (int p = 0; p < 2; ++p) {
          const Floats y = four(b + b_step * s + b_step / 2 * n + 4 * p);
#pragma GCC unroll 2
          for (int h = 0; h < 2; ++h) acc[4 * n + 2 * h + p] = fused(x[h], y, acc[4 * n + 2 * h + p]);
        }
    };
    Floats total[count];
#pragma GCC unroll 8
    for (int i = 0; i < count; ++i) total[i] = adds ? without_subnormals((Floats)load(row(i))) : Floats{};
#pragma GCC unroll 1
    for (int first = 0; first < steps; first += 2 * half) {
      Floats odd[count]{}, even[count]{};
      if (together)
#pragma GCC unroll 2
        for (int s = first; s < first + half; ++s) step(s, odd), step(s + half, even);
      else {
#pragma GCC unroll 4
        for (int s = first; s < first + half; ++s) step(s, odd);
#pragma GCC unroll 4
        for (int s = first + half; s < first + 2 * half; ++s) step(s, even);
      }
#pragma GCC unroll 8
      for (int i = 0; i < count; ++i) total[i] += odd[i] + even[i];
    }
    if (__builtin_expect(any_nan(total), false))
#pragma GCC unroll 8
      for (int i = 0; i < count; ++i) total[i] = canonical(total[i]);
#pragma GCC unroll 8
    for (int i = 0; i < count; ++i) store(row(i), total[i]);
  }
}

inline void multiply_two(uint8_t* file, Tile first, Tile second, const float* b, const float* a, int steps,
                         Result result, bool adds) {
  if (result == Result::f32)
    multiply_as<2, true>(file, first, second, b, a, steps, result, adds);
  else
    multiply_as<2, false>(file, first, second, b, a, steps, result, adds);
}
inline void multiply(uint8_t* file, Tile tile, const float* b, const float* a, int steps, Result result, bool adds) {
  if (result == Result::f32)
    multiply_as<1, true>(file, tile, tile, b, a, steps, result, adds);
  else
    multiply_as<1, false>(file, tile, tile, b, a, steps, result, adds);
}

} // namespace
} // namespace tilejit::runtime::simulator
