// Integers of every width: arithmetic, bits, 64-bit and 128-bit division, loops that lanes leave at different trips.
#include "numbers.h"

#define OPERATIONS(name, T)                                                                                            \
  extern "C" __global__ void operations_##name(const T* in, T* out, int n) {                                           \
    int i = blockIdx.x * blockDim.x + threadIdx.x;                                                                     \
    if (i < n) operations(in[3 * i], in[3 * i + 1], in[3 * i + 2], out + results_of_operations * i);                   \
  }
OPERATIONS(s8, int8_t)
OPERATIONS(u8, uint8_t)
OPERATIONS(s16, int16_t)
OPERATIONS(u16, uint16_t)
OPERATIONS(s32, int32_t)
OPERATIONS(u32, uint32_t)
OPERATIONS(s64, int64_t)
OPERATIONS(u64, uint64_t)

extern "C" __global__ void bit_tricks(const uint32_t* a, const uint32_t* b, const uint64_t* w, uint64_t* out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) bits(a[i], b[i], w[i], out + results_of_bits * i);
}

extern "C" __global__ void intrinsics(const uint32_t* a, const uint32_t* b, const uint64_t* w, uint32_t* out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  uint32_t x = a[i], y = b[i], *o = out + 16 * i;
  o[0] = __popc(x);
  o[1] = __clz(x);
  o[2] = __ffs(x);
  o[3] = __popcll(w[i]);
  o[4] = __clzll(w[i]);
  o[5] = __byte_perm(x, y, w[i] & 0x7777);
  o[6] = __funnelshift_l(x, y, w[i]);
  o[7] = __funnelshift_rc(x, y, w[i] & 63);
  o[8] = __umulhi(x, y);
  o[9] = __mulhi((int)x, (int)y);
  o[10] = __usad(x, y, 7);
  o[11] = __vadd4(x, y);
  o[12] = __vmaxs2(x, y);
  o[13] = __dp4a(x, y, 5u);
  o[14] = __hadd((int)x, (int)y);
  o[15] = (uint32_t)__brevll(w[i]);
}
