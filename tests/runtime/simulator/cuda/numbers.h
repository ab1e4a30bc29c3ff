// numbers.h - integer algorithms in plain C++: nvcc compiles them for the device, the host's compiler for the
// reference.
#pragma once
#include <cstdint>

#ifdef __CUDACC__
#define BOTH __host__ __device__ inline
#else
#define BOTH inline
#endif

constexpr int results_of_operations = 16, results_of_bits = 20;

/// Arithmetic of one width; T's conversions and shifts are those of C++20.
template <typename T>
BOTH void operations(T a, T b, T c, T* out) {
  T shift = static_cast<T>(b & static_cast<T>(sizeof(T) * 8 - 1));
  bool minus_one = static_cast<T>(b + 1) == 0; // the quotient of the lowest number has no place in a signed type
  out[0] = static_cast<T>(a + b);
  out[1] = static_cast<T>(a - b);
  out[2] = static_cast<T>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
  out[3] = b == 0 || minus_one ? a : static_cast<T>(a / b);
  out[4] = b == 0 || minus_one ? b : static_cast<T>(a % b);
  out[5] = static_cast<T>((a & b) ^ (c | ~b));
  out[6] = static_cast<T>(static_cast<uint64_t>(a) << shift);
  out[7] = static_cast<T>(a >> shift);
  out[8] = a < b ? c : static_cast<T>(b - c);
  out[9] = a > b ? a : b;
  out[10] = static_cast<T>(a < c ? a : c);
  out[11] = static_cast<T>(static_cast<uint64_t>(a) * 13 + static_cast<uint64_t>(b) * static_cast<uint64_t>(c));
  out[12] = static_cast<T>(a / 7);
  out[13] = static_cast<T>(b % 10);
  out[14] = static_cast<T>(!a + 2 * (a == b) + 4 * (b >= c));
  out[15] = static_cast<T>(-a);
}

BOTH uint32_t rotated(uint32_t x, uint32_t n) { return x << (n & 31) | x >> (-n & 31); }
BOTH uint64_t rotated(uint64_t x, uint32_t n) { return x << (n & 63) | x >> (-n & 63); }
BOTH uint32_t reversed(uint32_t x) {
  x = (x >> 1 & 0x55555555) | (x & 0x55555555) << 1;
  x = (x >> 2 & 0x33333333) | (x & 0x33333333) << 2;
  x = (x >> 4 & 0x0f0f0f0f) | (x & 0x0f0f0f0f) << 4;
  return x << 24 | (x & 0xff00) << 8 | (x >> 8 & 0xff00) | x >> 24;
}
BOTH uint32_t spread_bits(uint32_t x) { // a zero between any two bits
  x &= 0xffff;
  x = (x | x << 8) & 0x00ff00ff;
  x = (x | x << 4) & 0x0f0f0f0f;
  x = (x | x << 2) & 0x33333333;
  return (x | x << 1) & 0x55555555;
}
BOTH uint32_t crc32(uint64_t x) {
  uint32_t crc = ~0u;
  for (int i = 0; i < 8; ++i) {
    crc ^= static_cast<uint8_t>(x >> (8 * i));
    for (int k = 0; k < 8; ++k) crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
  }
  return ~crc;
}
BOTH uint64_t hashed(uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccd;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53;
  return x ^ x >> 33;
}
BOTH uint32_t greatest_divisor(uint32_t a, uint32_t b) {
  while (b) {
    uint32_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}
BOTH uint32_t square_root(uint64_t x) { // of integers, bit by bit
  uint64_t root = 0;
  for (int bit = 31; bit >= 0; --bit) {
    uint64_t tried = root | uint64_t{1} << bit;
    if (tried * tried <= x) root = tried;
  }
  return static_cast<uint32_t>(root);
}
BOTH uint64_t power_modulo(uint64_t base, uint64_t exponent, uint64_t modulus) {
  uint64_t result = 1 % modulus;
  for (base %= modulus; exponent; exponent >>= 1) {
    if (exponent & 1) result = result * base % modulus;
    base = base * base % modulus;
  }
  return result;
}
__extension__ typedef unsigned __int128 Wide;
__extension__ typedef __int128 SignedWide;

BOTH void bits(uint32_t a, uint32_t b, uint64_t w, uint64_t* out) {
  out[0] = rotated(a, b);
  out[1] = rotated(w, a);
  out[2] = reversed(a);
  out[3] = spread_bits(a) | spread_bits(b) << 1;
  out[4] = crc32(w);
  out[5] = hashed(w);
  out[6] = greatest_divisor(a, b | 1);
  out[7] = square_root(w);
  out[8] = power_modulo(w, a, (b >> 4) | 1);
  out[9] = static_cast<uint64_t>(Wide{w} * hashed(w) >> 64);
  out[10] = static_cast<uint64_t>(Wide{w} * a + (Wide{b} << 64) >> 32);
  out[11] = static_cast<uint64_t>((Wide{w} << (b & 127)) >> (a & 127));
  out[12] = static_cast<uint64_t>((static_cast<SignedWide>(static_cast<int64_t>(w)) * static_cast<int32_t>(a)) >> 70);
  out[13] = static_cast<uint64_t>(((Wide{w} << 64) | hashed(w)) / (Wide{b} << 20 | 1));    // a call, in PTX
  out[14] = (a & b) | (b & 0xff00) | (~a & w);                                             // three-input logic
  out[15] = (a & 0xff) << 24 | (b >> 8 & 0xff) << 16 | (a >> 16 & 0xff) << 8 | (b & 0xff); // a permutation of bytes
  out[16] = a >> 5 & 0x7f;
  out[17] = static_cast<uint64_t>(static_cast<int64_t>(w << 20) >> 40); // a signed field
  out[18] = w % (static_cast<uint64_t>(a) + 1);
  out[19] = static_cast<uint64_t>(static_cast<int64_t>(w) / ((2 * static_cast<int64_t>(b) + 3) * (a & 1 ? 1 : -1)));
}
