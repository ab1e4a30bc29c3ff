// small_floats.h - f16, bf16 and the 8-bit formats as integers and float arithmetic that vectorizes.
//
// Included only by exec_*.cpp, in the anonymous namespace of that instruction set. Conversions round to nearest even in
// whatever flushing mode the machine is in; f16's subnormals are normal floats, bf16's are not.
#pragma once
#include "runtime/simulator/lanes.h"

namespace tilejit::runtime::simulator {
namespace {

inline f32 to_f32(f16 h) {
  u32 sign = u32(h.bits & 0x8000) << 16, em = u32(h.bits & 0x7fff) << 13;
  f32 small = bits_as<f32>(em + (113u << 23)) - 6.103515625e-05f; // 2^-14 + subnormal - 2^-14
  u32 normal = em + (112u << 23);
  normal = em >= 0x0f800000 ? em + (224u << 23) : normal;
  return bits_as<f32>((em < 0x00800000 ? bits_as<u32>(small) : normal) | sign);
}
inline f32 to_f32(bf16 h) { return bits_as<f32>(u32(h.bits) << 16); }
inline f32 to_f32(f32 x) { return x; }

template <class T>
T round_to(f32 x);
template <>
inline f16 round_to<f16>(f32 x) {
  u32 b = bits_as<u32>(x), sign = b >> 16 & 0x8000, a = b & 0x7fffffff;
  u32 normal = (a - (112u << 23) + 0xfff + (a >> 13 & 1)) >> 13; // a carry out of the mantissa makes infinity of 65520
  u32 small = bits_as<u32>(bits_as<f32>(a) + 0.5f) - 0x3f000000;
  u32 r = a < 0x38800000 ? small : normal;
  r = a >= 0x47800000 ? 0x7c00 : r;
  r = a > 0x7f800000 ? 0x7fff : r | sign;
  return {u16(r)};
}
template <>
inline bf16 round_to<bf16>(f32 x) {
  u32 b = bits_as<u32>(x);
  u32 r = (b + 0x7fff + (b >> 16 & 1)) >> 16;
  return {u16((b & 0x7fffffff) > 0x7f800000 ? 0x7fff : r)};
}
template <>
inline f32 round_to<f32>(f32 x) {
  return x;
}

/// Towards zero; finite values stay finite.
template <class T>
T truncate_to(f32 x);
template <>
inline bf16 truncate_to<bf16>(f32 x) {
  u32 b = bits_as<u32>(x);
  return {u16((b & 0x7fffffff) > 0x7f800000 ? 0x7fff : b >> 16)};
}
template <>
inline f16 truncate_to<f16>(f32 x) {
  u32 b = bits_as<u32>(x), sign = b >> 16 & 0x8000, a = b & 0x7fffffff;
  u32 e = a >> 23, shift = 126 - e; // subnormal: (1.m * 2^23) >> (126 - e)
  u32 small = shift < 32 ? ((a & 0x7fffff) | 0x800000) >> shift : 0;
  u32 r = a < 0x38800000 ? small : (a - (112u << 23)) >> 13;
  r = a >= 0x47800000 ? 0x7bff : r;
  r = a == 0x7f800000 ? 0x7c00 : r;
  r = a > 0x7f800000 ? 0x7fff : r | sign;
  return {u16(r)};
}

/// The float whose last bit is 1 wherever x is between two floats: a later rounding to fewer bits is then right.
inline f32 odd_f32(f64 x) {
  f32 f = static_cast<f32>(x);
  f64 back = static_cast<f64>(f);
  u32 b = bits_as<u32>(f);
  bool beyond = (back < 0 ? -back : back) > (x < 0 ? -x : x);
  u32 fixed = (beyond ? b - 1 : b) | 1;
  return bits_as<f32>(back != x && x == x ? fixed : b);
}
/// a + b rounded to odd.
inline f64 odd_sum(f64 a, f64 b) {
  f64 s = a + b, t = s - a, lost = (a - (s - t)) + (b - t);
  u64 bits = bits_as<u64>(s);
  bool fix = lost != 0.0 && lost == lost && !(bits & 1);
  u64 toward = (bits_as<u64>(lost) ^ bits) >> 63 ? bits - 1 : bits + 1;
  return fix ? bits_as<f64>(toward) : s;
}

template <class T>
inline constexpr u32 exponent_of = 0x7c00;
template <>
inline constexpr u32 exponent_of<bf16> = 0x7f80;
template <class T>
inline bool is_nan(T h) {
  return u32(h.bits & 0x7fff) > exponent_of<T>;
}
template <class T>
inline T flush(T h) {
  return {u16(h.bits & exponent_of<T> ? h.bits : h.bits & 0x8000)};
}

} // namespace
} // namespace tilejit::runtime::simulator
