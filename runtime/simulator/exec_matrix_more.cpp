// exec_matrix_more.cpp - mma.sync of fp8, f64 and integers: any shape, one product at a time. PTX ISA 9.7.15.
//
// Only at the lowest level: right, not fast. Fragments: with E elements in a 32-bit register (f64: one in 64 bits),
// register r and element e of lane l hold
//   A[l/4 + 8 (r % 2)][E (l%4) + e + 4E (r / 2)]   (m8: rows l/4, columns + 4E r)
//   B[E (l%4) + e + 4E r][l/4]                      (k, n)
//   C[l/4 + 8 (i / 2)][2 (l%4) + i % 2]             i counts elements over registers
// Floating point: exact products, a chain of fp32 fma over k in pairs, ascending, the odd element of a pair first, with
// subnormals flushed (lowering sets that mode); f16 accumulators are rounded once an instruction.
#include "runtime/simulator/control.h"
#include "runtime/simulator/handlers.h"
#include "runtime/simulator/small_floats.h"

namespace tilejit::runtime::simulator {
namespace {

#if TILEJIT_EVERYTHING
/// Decodes element e of a register.
using Get = f64 (*)(u64 bits, int e);
f64 get_e4m3(u64 x, int e) {
  u32 h = u32(x >> (8 * e)) & 255, em = h & 127;
  f64 v = em == 127 ? __builtin_nan("") : em < 8 ? em * 0x1p-9 : f64(bits_as<f32>((em << 20) + (120u << 23)));
  return h & 128 ? -v : v;
}
f64 get_e5m2(u64 x, int e) { return to_f32(f16{u16((u32(x >> (8 * e)) & 255) << 8)}); }
f64 get_f64(u64 x, int) { return bits_as<f64>(x); }
f64 get_u8(u64 x, int e) { return u8(x >> (8 * e)); }
f64 get_s8(u64 x, int e) { return s8(x >> (8 * e)); }
f64 get_u4(u64 x, int e) { return u32(x >> (4 * e)) & 15; }
f64 get_s4(u64 x, int e) { return s32(u32(x >> (4 * e)) << 28) >> 28; }
f64 get_f16(u64 x, int e) { return to_f32(f16{u16(x >> (16 * e))}); }
f64 get_bf16(u64 x, int e) { return to_f32(bf16{u16(x >> (16 * e))}); }
f64 get_tf32(u64 x, int) { return bits_as<f32>(u32(x) & ~0x1fffu); }
f64 get_b1(u64 x, int) { return f64(x & 1); }
u32 bits_of_element(Type type) {
  switch (type) {
  case Type::f64: return 64;
  case Type::f16:
  case Type::bf16: return 16;
  case Type::u8:
  case Type::s8: return 8;
  case Type::u4:
  case Type::s4: return 4;
  case Type::b1: return 1;
  default: return 32;
  }
}
Get get_of(Type type) {
  switch (type) {
  case Type::e4m3: return get_e4m3;
  case Type::e5m2: return get_e5m2;
  case Type::f64: return get_f64;
  case Type::u8: return get_u8;
  case Type::s8: return get_s8;
  case Type::u4: return get_u4;
  case Type::f16: return get_f16;
  case Type::bf16: return get_bf16;
  case Type::tf32: return get_tf32;
  case Type::b1: return get_b1;
  default: return get_s4;
  }
}

enum class Accumulate { f32, f16, f64, s32, s32_saturated };

/// Main slot: d, a: the element types of A and B; b: k; imm: m; c = guard, aux = its xor mask. Then the rows: d, a, b,
/// c.
template <Accumulate how, int E>
const Insn* product(Warp* w, const Insn* ip) {
  constexpr bool wide = how == Accumulate::f64;
  constexpr int slots = wide ? 3 : 2;
  u32 mask = w->active & (predicate(w, ip->c) ^ ip->aux);
  if (!mask) return ip + 1 + slots;
  if (w->active != w->live) return wait_for_lanes(w, ip, w->live);
  if (mask != ~0u) fail(w, ip, "a matrix instruction needs all 32 lanes of the warp");
  const int m = int(ip->imm), k = int(ip->b), groups = m / 8;
  const int a_registers = m * k / (32 * E), b_registers = 8 * k / (32 * E), c_elements = m / 4;
  const int c_registers = how == Accumulate::f16 ? c_elements / 2 : c_elements;
  const u32 *d = reinterpret_cast<const u32*>(ip + 1), *a = d + c_registers, *b = a + a_registers, *c = b + b_registers;
  const Get get_a = get_of(Type(ip->d)), get_b = get_of(Type(ip->a));
  auto bits = [&](u32 offset, int lane) { return wide ? row<u64>(w, offset)[lane] : u64(row<u32>(w, offset)[lane]); };
  static thread_local f64 A[16][64], B[8][64];
  for (int r = 0; r < a_registers; ++r)
    for (int lane = 0; lane < 32; ++lane)
      for (int e = 0; e < E; ++e)
        A[lane / 4 + 8 * (r % groups)][E * (lane % 4) + e + 4 * E * (r / groups)] = get_a(bits(a[r], lane), e);
  for (int r = 0; r < b_registers; ++r)
    for (int lane = 0; lane < 32; ++lane)
      for (int e = 0; e < E; ++e) B[lane / 4][E * (lane % 4) + e + 4 * E * r] = get_b(bits(b[r], lane), e);
  auto one = [&](int lane, int i, u64 old) -> u64 {
    const f64 *x = A[lane / 4 + 8 * (i / 2)], *y = B[2 * (lane % 4) + i % 2];
    if constexpr (how == Accumulate::f64) {
      f64 sum = bits_as<f64>(old);
      for (int n = 0; n < k; ++n) sum = __builtin_fma(x[n], y[n], sum);
      return bits_as<u64>(sum);
    } else if constexpr (how == Accumulate::s32 || how == Accumulate::s32_saturated) {
      s64 sum = s32(u32(old));
      for (int n = 0; n < k; ++n) sum += s64(x[n]) * s64(y[n]);
      if (how == Accumulate::s32_saturated)
        sum = sum > 0x7fffffff ? 0x7fffffff : sum < -s64(0x80000000) ? -s64(0x80000000) : sum;
      return u32(sum);
    } else {
      f32 sum = how == Accumulate::f16 ? to_f32(f16{u16(old)}) : bits_as<f32>(u32(old));
      for (int n = 0; n < k; ++n) sum = static_cast<f32>(odd_sum(x[n ^ 1] * y[n ^ 1], f64(sum)));
      if (how == Accumulate::f16) return round_to<f16>(sum).bits;
      return sum != sum ? 0x7fffffffu : bits_as<u32>(sum);
    }
  };
  // All of C is read before any of D is written: they may be the same registers.
  static thread_local u64 old[4][32];
  for (int r = 0; r < c_registers; ++r)
    for (int lane = 0; lane < 32; ++lane) old[r][lane] = bits(c[r], lane);
  for (int r = 0; r < c_registers; ++r)
    for (int lane = 0; lane < 32; ++lane) {
      if constexpr (how == Accumulate::f16)
        row<u32>(w, d[r])[lane] =
            u32(one(lane, 2 * r, old[r][lane] & 0xffff)) | u32(one(lane, 2 * r + 1, old[r][lane] >> 16)) << 16;
      else if constexpr (wide)
        row<u64>(w, d[r])[lane] = one(lane, r, old[r][lane]);
      else
        row<u32>(w, d[r])[lane] = u32(one(lane, r, old[r][lane]));
    }
  return ip + 1 + slots;
}

/// Single bits: 32 of k in a register, so that a product is a count of bits. The fields of `product`.
template <bool exclusive>
const Insn* product_of_bits(Warp* w, const Insn* ip) {
  u32 mask = w->active & (predicate(w, ip->c) ^ ip->aux);
  if (!mask) return ip + 3;
  if (w->active != w->live) return wait_for_lanes(w, ip, w->live);
  if (mask != ~0u) fail(w, ip, "a matrix instruction needs all 32 lanes of the warp");
  const int m = int(ip->imm), words = int(ip->b) / 32, groups = m / 8;
  const int a_registers = groups * words / 4, b_registers = words / 4, c_registers = m / 4;
  const u32 *d = reinterpret_cast<const u32*>(ip + 1), *a = d + c_registers, *b = a + a_registers, *c = b + b_registers;
  u32 A[16][8], B[8][8], sum[4][32];
  for (int r = 0; r < a_registers; ++r)
    for (int lane = 0; lane < 32; ++lane)
      A[lane / 4 + 8 * (r % groups)][lane % 4 + 4 * (r / groups)] = row<u32>(w, a[r])[lane];
  for (int r = 0; r < b_registers; ++r)
    for (int lane = 0; lane < 32; ++lane) B[lane / 4][lane % 4 + 4 * r] = row<u32>(w, b[r])[lane];
  for (int r = 0; r < c_registers; ++r)
    for (int lane = 0; lane < 32; ++lane) {
      const u32 *x = A[lane / 4 + 8 * (r / 2)], *y = B[2 * (lane % 4) + r % 2];
      u32 count = row<u32>(w, c[r])[lane];
      for (int k = 0; k < words; ++k) count += u32(__builtin_popcount(exclusive ? x[k] ^ y[k] : x[k] & y[k]));
      sum[r][lane] = count;
    }
  for (int r = 0; r < c_registers; ++r) std::memcpy(row<u32>(w, d[r]), sum[r], 128);
  return ip + 3;
}
#endif

} // namespace
} // namespace tilejit::runtime::simulator

#include "runtime/simulator/exec_wmma.h"

namespace tilejit::runtime::simulator {

Fn ISA(select_matrix_more)(const Request& r) {
#if TILEJIT_EVERYTHING
  switch (r.form) {
  case Form::wmma_load: return wmma_move<true>;
  case Form::wmma_store: return wmma_move<false>;
  case Form::wmma_mma: return wmma_product;
  case Form::mma_fp8: return r.types[0] == Type::f16 ? product<Accumulate::f16, 4> : product<Accumulate::f32, 4>;
  case Form::mma_int8:
    return has(r, Mod::satfinite) ? product<Accumulate::s32_saturated, 4> : product<Accumulate::s32, 4>;
  case Form::mma_int4:
    return has(r, Mod::satfinite) ? product<Accumulate::s32_saturated, 8> : product<Accumulate::s32, 8>;
  case Form::mma_b1: return has(r, Mod::xor_) ? product_of_bits<true> : product_of_bits<false>;
  case Form::mma_f64: return product<Accumulate::f64, 1>;
  default: return nullptr;
  }
#else
  (void)r;
  return nullptr;
#endif
}

} // namespace tilejit::runtime::simulator
