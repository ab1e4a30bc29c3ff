// exec_wmma.h - wmma: fragments of a warp that only these instructions can tell the layout of. PTX ISA 9.7.14.
//
// The manual leaves the layout open. Here a fragment's slots, lane after lane and register after register, are the
// matrix row by row, once or as many times as there is room: code that changes all elements alike keeps the copies
// alike. Arithmetic is that of exec_matrix_more.cpp, which includes this. Only at the lowest level: right, not fast.
#pragma once
#include "runtime/simulator/fragment_memory.h"

namespace tilejit::runtime::simulator {
namespace {

#if TILEJIT_EVERYTHING
struct Fragment {
  Warp* w;
  const u32* rows; ///< of the registers
  u32 registers, bits, wide, elements;
  u32 per_register() const { return (wide ? 64 : 32) / bits; }
  u32 slots() const { return 32 * registers * per_register(); }
  u64 get(u32 slot) const {
    const u32 per = per_register(), lane = slot / (registers * per), k = slot % (registers * per);
    const u64 word = wide ? row<u64>(w, rows[k / per])[lane] : row<u32>(w, rows[k / per])[lane];
    return bits == 64 ? word : word >> (k % per * bits) & ((u64(1) << bits) - 1);
  }
  void put(u32 slot, u64 value) const {
    const u32 per = per_register(), lane = slot / (registers * per), k = slot % (registers * per);
    if (wide) {
      row<u64>(w, rows[k / per])[lane] = value;
      return;
    }
    u32& word = row<u32>(w, rows[k / per])[lane];
    const u32 mask = u32((u64(1) << bits) - 1) << (k % per * bits);
    word = (word & ~mask) | (u32(value) << (k % per * bits) & mask);
  }
};

/// fragment_memory.h
template <bool load>
const Insn* wmma_move(Warp* w, const Insn* ip) {
  const Insn* next = ip + 3;
  if (!whole_warp(w, ip, next)) return next;
  const FragmentMemory memory(w, ip);
  const Fragment f{
      w, reinterpret_cast<const u32*>(ip + 1) + 8, memory.registers, memory.bits, memory.wide, memory.elements};
  for (u32 slot = 0; slot < (load ? f.slots() : f.elements); ++slot) {
    const u64 bit = memory.bit(slot), bytes = memory.bytes();
    u8* host = host_address(w, ip, slot / memory.slots_of_lane(), memory.base + bit / 8, bytes, !load);
    u64 value = 0;
    if constexpr (load) {
      std::memcpy(&value, host, bytes);
      f.put(slot, value >> bit % 8);
    } else {
      value = f.get(slot);
      std::memcpy(host, &value, bytes);
    }
  }
  return next;
}

/// Main slot: d, a, b, imm = registers of D, A, B, C. Then words: m, n, k, the four types, 1 satfinite, 2 xor; then a
/// slot of registers for each.
const Insn* wmma_product(Warp* w, const Insn* ip) {
  const Insn* next = ip + 6;
  if (!whole_warp(w, ip, next)) return next;
  const u32* words = reinterpret_cast<const u32*>(ip + 1);
  const u32 m = words[0], n = words[1], k = words[2];
  const Type d = Type(words[3]), a = Type(words[4]), b = Type(words[5]), c = Type(words[6]);
  const u32 wide = d == Type::f64;
  const Fragment A{w, words + 16, ip->a, bits_of_element(a), wide, m * k},
      B{w, words + 24, ip->b, bits_of_element(b), wide, k * n},
      C{w, words + 32, ip->imm, bits_of_element(c), wide, m * n},
      D{w, words + 8, ip->d, bits_of_element(d), wide, m * n};
  static thread_local f64 x[32 * 128], y[32 * 128];
  static thread_local u64 sums[1024];
  const Get get_a = get_of(a), get_b = get_of(b);
  for (u32 s = 0; s < A.elements; ++s) x[s] = get_a(A.get(s));
  for (u32 s = 0; s < B.elements; ++s) y[s % n * k + s / n] = get_b(B.get(s)); // columns
  for (u32 s = 0; s < D.elements; ++s) {
    const f64 *p = x + s / n * k, *q = y + s % n * k;
    const u64 old = C.get(s);
    if (d == Type::f64) {
      f64 sum = bits_as<f64>(old);
      for (u32 i = 0; i < k; ++i) sum = __builtin_fma(p[i], q[i], sum);
      sums[s] = bits_as<u64>(sum);
    } else if (d == Type::s32) {
      s64 sum = s32(u32(old));
      for (u32 i = 0; i < k; ++i) sum += words[7] == 2 ? s64(p[i] != q[i]) : s64(p[i]) * s64(q[i]);
      if (words[7] == 1) sum = sum > 0x7fffffff ? 0x7fffffff : sum < -s64(0x80000000) ? -s64(0x80000000) : sum;
      sums[s] = u32(sum);
    } else {
      f32 sum = c == Type::f16 ? to_f32(f16{u16(old)}) : bits_as<f32>(u32(old));
      for (u32 i = 0; i < k; ++i) sum = static_cast<f32>(odd_sum(p[i ^ 1] * q[i ^ 1], f64(sum)));
      sums[s] = d == Type::f16 ? round_to<f16>(sum).bits : sum != sum ? 0x7fffffffu : bits_as<u32>(sum);
    }
  }
  for (u32 slot = 0; slot < D.slots(); ++slot) D.put(slot, sums[slot % D.elements]);
  return next;
}
#endif

} // namespace
} // namespace tilejit::runtime::simulator
