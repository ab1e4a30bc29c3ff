// exec_matrix_more.cpp - mma.sync of f64 and of single bits, and wmma: one product at a time. PTX ISA 9.7.14.
//
// Only at the lowest level: right, not fast. Fragments of f64: register r of lane l holds A[l/4 + 8 (r % 2)][l%4 + 4
// (r / 2)] (m8: rows l/4, columns l%4 + 4r), B[l%4 + 4r][l/4] (k, n), C[l/4 + 8 (r / 2)][2 (l%4) + r % 2]. Those of
// single bits are alike, with 32 of k in place of each.
#include "runtime/simulator/control.h"
#include "runtime/simulator/handlers.h"
#include "runtime/simulator/small_floats.h"

namespace tilejit::runtime::simulator {
namespace {

#if TILEJIT_EVERYTHING
/// The number that an element's bits are.
using Get = f64 (*)(u64 bits);
f64 get_f64(u64 x) { return bits_as<f64>(x); }
f64 get_u8(u64 x) { return u8(x); }
f64 get_s8(u64 x) { return s8(x); }
f64 get_u4(u64 x) { return x & 15; }
f64 get_s4(u64 x) { return s32(u32(x) << 28) >> 28; }
f64 get_f16(u64 x) { return to_f32(f16{u16(x)}); }
f64 get_bf16(u64 x) { return to_f32(bf16{u16(x)}); }
f64 get_tf32(u64 x) { return bits_as<f32>(u32(x) & ~0x1fffu); }
f64 get_b1(u64 x) { return x & 1; }
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

/// Whether the whole warp is here. `next`: where it goes on when none of it executes the instruction.
bool whole_warp(Warp* w, const Insn* ip, const Insn*& next) {
  const u32 mask = w->active & (predicate(w, ip->c) ^ ip->aux);
  if (!mask) return false;
  if (w->active != w->live) {
    next = wait_for_lanes(w, ip, w->live);
    return false;
  }
  if (mask != ~0u) fail(w, ip, "a matrix instruction needs all 32 lanes of the warp");
  return true;
}

/// Main slot: b: k; imm: m; c = guard, aux = its xor mask. Then the rows: d, a, b, c. A chain of fma, k ascending.
const Insn* product_of_doubles(Warp* w, const Insn* ip) {
  const Insn* next = ip + 4;
  if (!whole_warp(w, ip, next)) return next;
  const int m = int(ip->imm), k = int(ip->b), groups = m / 8, c_registers = m / 4;
  const u32 *d = reinterpret_cast<const u32*>(ip + 1), *a = d + c_registers, *b = a + m * k / 32, *c = b + k / 4;
  f64 A[16][16], B[8][16], sum[4][32];
  for (int r = 0; r < m * k / 32; ++r)
    for (int lane = 0; lane < 32; ++lane)
      A[lane / 4 + 8 * (r % groups)][lane % 4 + 4 * (r / groups)] = bits_as<f64>(row<u64>(w, a[r])[lane]);
  for (int r = 0; r < k / 4; ++r)
    for (int lane = 0; lane < 32; ++lane) B[lane / 4][lane % 4 + 4 * r] = bits_as<f64>(row<u64>(w, b[r])[lane]);
  for (int r = 0; r < c_registers; ++r)
    for (int lane = 0; lane < 32; ++lane) {
      const f64 *x = A[lane / 4 + 8 * (r / 2)], *y = B[2 * (lane % 4) + r % 2];
      sum[r][lane] = bits_as<f64>(row<u64>(w, c[r])[lane]);
      for (int n = 0; n < k; ++n) sum[r][lane] = __builtin_fma(x[n], y[n], sum[r][lane]);
    }
  for (int r = 0; r < c_registers; ++r) std::memcpy(row<u64>(w, d[r]), sum[r], 256);
  return next;
}

/// A product is a count of bits. Fields as above.
template <bool exclusive>
const Insn* product_of_bits(Warp* w, const Insn* ip) {
  const Insn* next = ip + 3;
  if (!whole_warp(w, ip, next)) return next;
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
  return next;
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
  case Form::mma_b1: return has(r, Mod::xor_) ? product_of_bits<true> : product_of_bits<false>;
  case Form::mma_f64: return product_of_doubles;
  default: return nullptr;
  }
#else
  (void)r;
  return nullptr;
#endif
}

} // namespace tilejit::runtime::simulator
