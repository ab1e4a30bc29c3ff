// exec_mma.cpp - mma.sync and wgmma of floats and integers of up to 8 bits: operands become panels, then tiles are
// multiplied (mma_tile.h). PTX ISA 9.7.14, 9.7.15.
//
// A register of mma.sync, and a core matrix of wgmma, is eight rows of 16 bytes of k. An instruction has one or two of
// them along k.
#include "runtime/simulator/control.h"
#include "runtime/simulator/handlers.h"
#include "runtime/simulator/lanes.h"
#include "runtime/simulator/mma_tile.h"
#include "runtime/simulator/small_floats.h"
#include "runtime/simulator/wgmma_operands.h"

#include <algorithm>

namespace tilejit::runtime::simulator {
namespace {

/// What depends on the type of an operand.
struct Packing {
  void (*a)(const CoreRows (&)[2][2], int halves, u32 sign, float* panel);
  void (*b)(const CoreRows (&)[2][2], int halves, float* panel);
  void (*b_transposed)(const CoreRows (&)[2][2], int halves, float* panel);
  int steps; ///< in half of k
  u32 signs; ///< of the elements of a dword
};
template <class T>
constexpr Packing packing(u32 signs) {
  // mma.sync transposes nothing.
  if constexpr (__is_same(T, Bf16)) return {pack_a<T>, pack_b<T>, nullptr, 8, signs};
  if constexpr (T::count == 2) return {pack_a<T>, pack_b<T>, pack_b_transposed<T>, 8, signs};
  return {pack_a<T>, pack_b<T>, nullptr, 4 * T::count, signs};
}
const Packing& packing_of(Type type) {
  static constexpr Packing all[] = {
      packing<Bf16>(0x80008000),     packing<F16>(0x80008000),     packing<Tf32>(0x80000000),
      packing<E4m3>(0x80808080),     packing<E5m2>(0x80808080),    packing<Integer<8, true>>(0),
      packing<Integer<8, false>>(0), packing<Integer<4, true>>(0), packing<Integer<4, false>>(0)};
  switch (type) {
  case Type::bf16: return all[0];
  case Type::f16: return all[1];
  case Type::tf32: return all[2];
  case Type::e4m3: return all[3];
  case Type::e5m2: return all[4];
  case Type::s8: return all[5];
  case Type::u8: return all[6];
  case Type::s4: return all[7];
  default: return all[8];
  }
}

int least_exponent(Type type) {
  return type == Type::bf16 || type == Type::tf32 ? -126 : type == Type::e4m3 ? -6 : -14;
}
ExactTile exact_tile(Type a, Type b, bool warpgroup) {
  const bool small = warpgroup && (a == Type::e4m3 || a == Type::e5m2);
  return {
      .digits = small ? 13 : 25, .kept = small ? 14 : 24, .least_a = least_exponent(a), .least_b = least_exponent(b)};
}

/// a + b, where the machine is told to flush subnormal results.
u32 with_subnormals(f32 a, f32 b) {
  const f64 sum = f64(a) + f64(b), size = __builtin_fabs(sum);
  if (sum != sum) return 0x7fffffff;
  return size < 0x1p-126 ? u32(size * 0x1p149) | (bits_as<u32>(f32(__builtin_copysign(1.0, sum))) & 0x80000000)
                         : bits_as<u32>(f32(sum));
}

/// Of wgmma.
const Packing& warpgroup_packing_of(Type type) {
  static constexpr Packing apart = packing<Bf16Apart>(0x80008000);
  return type == Type::bf16 ? apart : packing_of(type);
}

/// mma.sync of 8-bit floats is none of the machine: ptxas makes f16 of them, multiplies elements 0 and 1 of each dword,
/// adds the product of elements 2 and 3, and adds C at last.
[[gnu::cold, gnu::noinline]] void multiply_by_halves(const ExactTile& t) {
  const u32 rows = t.result == Result::f16 ? 2 : 4, offsets[] = {0, 128, 256, 384};
  alignas(64) float a[32 * a_step], b[32 * b_step];
  alignas(64) u32 sum[4][32];
  for (int s = 0; s < t.steps; ++s) { // by dword and element: mma_tile.h
    const int to = s / 4 * 2 + s % 2 + s % 4 / 2 * (t.steps / 2);
    std::memcpy(a + a_step * to, t.a + a_step * s, sizeof(float) * a_step);
    std::memcpy(b + b_step * to, t.b + b_step * s, sizeof(float) * (b_step / 2));
  }
  ExactTile half = t;
  half.file = reinterpret_cast<u8*>(sum), half.c = half.d = offsets, half.steps = t.steps / 2;
  half.least_a = half.least_b = least_exponent(Type::f16);
  for (int second = 0; second < 2; ++second) {
    half.a = a + a_step * half.steps * second, half.b = b + b_step * half.steps * second, half.adds = second;
    ISA(multiply_exactly)(half);
  }
  for (u32 n = 0; n < rows; ++n) {
    const u32* c = reinterpret_cast<const u32*>(t.file + t.c[n]);
    u32* d = reinterpret_cast<u32*>(t.file + t.d[n]);
    for (u32 i = 0; i < 32; ++i) {
      auto halves = [&](int p) {
        auto part = [&](u32 x) { return to_f32(f16{u16(x >> 16 * p)}); };
        return u32(round_to<f16>(part(sum[n][i]) + part(c[i])).bits) << 16 * p;
      };
      d[i] = t.result == Result::f16 ? halves(0) | halves(1)
                                     : with_subnormals(bits_as<f32>(sum[n][i]), bits_as<f32>(c[i]));
    }
  }
}

// --- mma.sync --------------------------------------------------------------------------------------------------------
// Slots behind the main one hold 14 offsets: rows of D (4), A (h + 2 * half of k), B (half of k), C (4). The fields: d
// = type of A | of B << 8, a = halves of k, b = Result, c = guard, aux = its xor mask; imm = how many products follow
// that have the same A and need nothing of each other's results.

constexpr u32 slots_of_product = 3;
inline const u32* offsets_of(const Insn* ip) { return reinterpret_cast<const u32*>(ip + 1); }

const Insn* mma_sync(Warp* w, const Insn* ip) {
  const u32 count = ip->imm + 1, mask = w->active & (predicate(w, ip->c) ^ ip->aux);
  const Insn* next = ip + slots_of_product * count;
  if (__builtin_expect(mask != ~0u, false)) {
    if (!mask) return next;
    if (w->active != w->live) return wait_for_lanes(w, ip, w->live);
    fail(w, ip, "a matrix instruction needs all 32 lanes of the warp");
  }
  const Packing &pack_of_a = packing_of(static_cast<Type>(ip->d & 255)),
                &pack_of_b = packing_of(static_cast<Type>(ip->d >> 8));
  const int halves = static_cast<int>(ip->a & ~product_exact), steps = halves * pack_of_a.steps;
  const auto result = static_cast<Result>(ip->b);
  alignas(64) float a[64 * a_step], b[64 * b_step];
  const u32* rows = offsets_of(ip);
  const CoreRows of_a[2][2] = {{{w->file + rows[4]}, {w->file + rows[6]}}, {{w->file + rows[5]}, {w->file + rows[7]}}};
  pack_of_a.a(of_a, halves, 0, a);
  const bool exact = ip->a & product_exact && (result == Result::f32 || result == Result::f16);
  ExactTile all = exact_tile(static_cast<Type>(ip->d & 255), static_cast<Type>(ip->d >> 8), false);
  const bool of_bytes = pack_of_a.steps == 16;
  all.file = w->file, all.a = a, all.steps = steps, all.result = result, all.adds = true;
  for (; ip != next; ip += slots_of_product) {
    const u32* pair[2] = {offsets_of(ip), offsets_of(ip)};
    const bool two = ip + slots_of_product != next;
    if (two) pair[1] = offsets_of(ip += slots_of_product);
    const CoreRows of_b[2][2] = {{{w->file + pair[0][8]}, {w->file + pair[0][9]}},
                                 {{w->file + pair[1][8]}, {w->file + pair[1][9]}}};
    pack_of_b.b(of_b, halves, b);
    const Tile left{pair[0] + 10, pair[0]}, right{pair[1] + 10, pair[1]};
    if (exact) {
      for (int n = 0; n <= two; ++n) {
        all.c = pair[n] + 10, all.d = pair[n], all.b = b + b_step / 2 * n;
        of_bytes ? multiply_by_halves(all) : ISA(multiply_exactly)(all);
      }
      continue;
    }
    if (tiles_at_once == 2 && two) {
      multiply_two(w->file, left, right, b, a, steps, result, true);
      continue;
    }
    multiply(w->file, left, b, a, steps, result, true);
    if (two) multiply(w->file, right, b + b_step / 2, a, steps, result, true);
  }
  return next;
}

// --- wgmma -----------------------------------------------------------------------------------------------------------

/// A of one warp, in the panel.
void pack_a_of(const WarpgroupProduct& p, u32 warp, float* panel) {
  const Packing& packing = warpgroup_packing_of(p.a_type);
  CoresOfA a;
  find_a(p, warp, a);
  packing.a(a.at, 2, p.negate ? packing.signs : 0, panel);
}
/// Groups 2n and 2n + 1 of B; alone, the last one twice.
void pack_b_of(const WarpgroupProduct& p, u32 n, float* panel) {
  const Packing& packing = warpgroup_packing_of(p.b_type);
  const u32 left = 2 * n, right = left + 1 < p.groups ? left + 1 : left;
  const CoreRows cores[2][2] = {{core_of(p.b, left, 0), core_of(p.b, left, 1)},
                                {core_of(p.b, right, 0), core_of(p.b, right, 1)}};
  (p.transpose_b ? packing.b_transposed : packing.b)(cores, 2, panel);
}

/// The powers of two of a panel of 8-bit floats. False: not all of them are finite.
bool powers_of(const float* panel, u32 count, int least_exponent, float* powers) {
  const S32s least = S32s{} + ((127 + least_exponent) << 23);
  S32s most{};
  for (u32 i = 0; i < count; i += lanes) {
    const S32s bits = (S32s)load(panel + i), size = bits & 0x7f800000, power = size > least ? size : least;
    store(powers + i, (Floats)((bits & 0x7fffffff) == 0 ? 0 : power));
    most = size > most ? size : most;
  }
  s32 of_lane[lanes];
  std::memcpy(of_lane, &most, sizeof most);
  return *std::max_element(of_lane, of_lane + lanes) < 0x7f800000;
}

/// Product by product.
void exact_products(const WarpgroupProduct* p, u32 count) {
  const u32 registers = p->result == Result::f16 ? 2 : 4, pairs = (p->groups + 1) / 2;
  const u32 steps = u32(2 * warpgroup_packing_of(p->a_type).steps), a_size = steps * a_step, b_size = steps * b_step;
  alignas(64) static thread_local float a[32 * a_step], b[16 * 32 * b_step], a_powers[32 * a_step],
      b_powers[16 * 32 * b_step];
  ExactTile tile = exact_tile(p->a_type, p->b_type, true);
  tile.a = a, tile.steps = int(steps), tile.result = p->result;
  const bool small = tile.digits == 13;
  for (u32 i = 0; i < count; ++i) {
    for (u32 n = 0; n < pairs; ++n) pack_b_of(p[i], n, b + n * b_size);
    const bool is_finite = small && powers_of(b, pairs * b_size, tile.least_b, b_powers);
    for (u32 w = 0; w < 4; ++w) {
      pack_a_of(p[i], w, a);
      tile.a_powers = is_finite && powers_of(a, a_size, tile.least_a, a_powers) ? a_powers : nullptr;
      tile.file = p->files[w], tile.adds = p[i].adds || i;
      for (u32 n = 0; n < p->groups; ++n) {
        const u32 at = n / 2 * b_size + n % 2 * (b_step / 2);
        tile.c = tile.d = p->rows + n * registers, tile.b = b + at, tile.b_powers = b_powers + at;
        ISA(multiply_exactly)(tile);
      }
    }
  }
}

/// Products one after another into the same D: their steps follow each other in the panels, one chain. A is packed warp
/// by warp, so that its panel is still in the first-level cache.
void products(const WarpgroupProduct* p, u32 count) {
  // 8-bit floats always: what their sums lose is not a matter of the last digit.
  if (p->a_type == Type::e4m3 || p->a_type == Type::e5m2 || (p->exact && p->result <= Result::f16))
    return exact_products(p, count);
  const u32 each = u32(2 * warpgroup_packing_of(p->a_type).steps), steps = count * each, b_size = steps * b_step;
  const u32 pairs = (p->groups + 1) / 2, registers = p->result == Result::f16 ? 2 : 4;
  alignas(64) static thread_local float a[max_product_steps * a_step], b[16 * max_product_steps * b_step];
  for (u32 i = 0; i < count; ++i)
    for (u32 n = 0; n < pairs; ++n) pack_b_of(p[i], n, b + n * b_size + i * each * b_step);
  for (u32 w = 0; w < 4; ++w) {
    for (u32 i = 0; i < count; ++i) pack_a_of(p[i], w, a + i * each * a_step);
    for (u32 n = 0; n < p->groups; ++n) {
      const u32* rows = p->rows + n * registers;
      const float* columns = b + n / 2 * b_size + n % 2 * (b_step / 2);
      const Tile tile{rows, rows}, next{rows + registers, rows + registers};
      if (p->a_type == Type::bf16 && tiles_at_once == 2 && n + 1 < p->groups)
        multiply_apart<2>(p->files[w], rows, columns, a, int(steps), p->adds), ++n;
      else if (p->a_type == Type::bf16)
        multiply_apart<1>(p->files[w], rows, columns, a, int(steps), p->adds);
      else if (tiles_at_once == 2 && n + 1 < p->groups)
        multiply_two(p->files[w], tile, next, columns, a, int(steps), p->result, p->adds), ++n;
      else
        multiply(p->files[w], tile, columns, a, int(steps), p->result, p->adds);
    }
  }
}

} // namespace

Fn ISA(mma_handler)() { return mma_sync; }
WarpgroupKernel ISA(wgmma_kernel)() { return products; }

} // namespace tilejit::runtime::simulator
