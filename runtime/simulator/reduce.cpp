// reduce.cpp - reductions of bulk copies, element by element. PTX ISA "cp.reduce.async.bulk".
#include "runtime/simulator/async.h"
#include "runtime/simulator/small_floats.h"

namespace tilejit::runtime::simulator {
namespace {

template <class T>
T combined(T old, T x, Reduction op) {
  switch (op) {
  case Reduction::add: return static_cast<T>(old + x);
  case Reduction::min: return old < x ? old : x;
  case Reduction::max: return old > x ? old : x;
  case Reduction::inc: return old >= x ? T(0) : static_cast<T>(old + 1);
  case Reduction::dec: return old == 0 || old > x ? x : static_cast<T>(old - 1);
  default: break;
  }
  if constexpr (!(T(0.5) > T(0))) { // integers
    if (op == Reduction::and_) return old & x;
    if (op == Reduction::or_) return old | x;
    if (op == Reduction::xor_) return old ^ x;
  }
  return x;
}
f32 least_or_most(f32 a, f32 b, Reduction op) { // a number wins over NaN
  if (a != a) return b;
  if (b != b) return a;
  return op == Reduction::min ? (a < b ? a : b) : (a > b ? a : b);
}
template <class H>
H combined_half(H old, H x, Reduction op) {
  f32 a = to_f32(old), b = to_f32(x);
  return round_to<H>(op == Reduction::add ? a + b : least_or_most(a, b, op));
}

template <class T, class Word, class F>
void each(u8* to, const u8* from, u32 bytes, F f) {
  for (u32 i = 0; i < bytes; i += sizeof(T)) {
    auto* at = reinterpret_cast<Word*>(to + i);
    T x;
    __builtin_memcpy(&x, from + i, sizeof x);
    Word old = __atomic_load_n(at, __ATOMIC_RELAXED), next;
    do next = bits_as<Word>(f(bits_as<T>(old), x));
    while (!__atomic_compare_exchange_n(at, &old, next, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
  }
}
template <class T, class Word>
void numbers(u8* to, const u8* from, u32 bytes, Reduction op) {
  each<T, Word>(to, from, bytes, [=](T old, T x) { return combined(old, x, op); });
}

} // namespace

void reduce(u8* to, const u8* from, u32 bytes, Type type, Reduction op) {
  if (op == Reduction::add) // sums wrap
    type = type == Type::s32 ? Type::u32 : type == Type::s64 ? Type::u64 : type;
  switch (type) {
  case Type::s32: return numbers<s32, u32>(to, from, bytes, op);
  case Type::u64:
  case Type::b64: return numbers<u64, u64>(to, from, bytes, op);
  case Type::s64: return numbers<s64, u64>(to, from, bytes, op);
  case Type::f32: return numbers<f32, u32>(to, from, bytes, op);
  case Type::f64: return numbers<f64, u64>(to, from, bytes, op);
  case Type::f16: return each<f16, u16>(to, from, bytes, [=](f16 old, f16 x) { return combined_half(old, x, op); });
  case Type::bf16: return each<bf16, u16>(to, from, bytes, [=](bf16 old, bf16 x) { return combined_half(old, x, op); });
  default: return numbers<u32, u32>(to, from, bytes, op);
  }
}

} // namespace tilejit::runtime::simulator
