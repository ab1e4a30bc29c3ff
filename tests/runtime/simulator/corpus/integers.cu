// Integer instructions of all widths, as nvcc makes them of plain C++.
#include <cstdint>

template <typename T>
__device__ void integer_ops(T* out, const T* in, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  T a = in[2 * i], b = in[2 * i + 1];
  out[8 * i + 0] = a + b;
  out[8 * i + 1] = a - b;
  out[8 * i + 2] = a * b;
  out[8 * i + 3] = b != 0 ? a / b : a;
  out[8 * i + 4] = b != 0 ? a % b : b;
  out[8 * i + 5] = (a & b) ^ (a | ~b);
  out[8 * i + 6] = a << (b & 7);
  out[8 * i + 7] = a >> (b & 7);
}
extern "C" __global__ void ops_s8(int8_t* o, const int8_t* i, int n) { integer_ops(o, i, n); }
extern "C" __global__ void ops_u16(uint16_t* o, const uint16_t* i, int n) { integer_ops(o, i, n); }
extern "C" __global__ void ops_s32(int32_t* o, const int32_t* i, int n) { integer_ops(o, i, n); }
extern "C" __global__ void ops_u32(uint32_t* o, const uint32_t* i, int n) { integer_ops(o, i, n); }
extern "C" __global__ void ops_s64(int64_t* o, const int64_t* i, int n) { integer_ops(o, i, n); }
extern "C" __global__ void ops_u64(uint64_t* o, const uint64_t* i, int n) { integer_ops(o, i, n); }

extern "C" __global__ void bits(uint32_t* out, const uint32_t* in, unsigned long long* wide) {
  uint32_t i = threadIdx.x, a = in[3 * i], b = in[3 * i + 1], c = in[3 * i + 2];
  unsigned long long w = wide[i];
  uint32_t* o = out + 24 * i;
  o[0] = __popc(a);
  o[1] = __clz(a);
  o[2] = __ffs(a);
  o[3] = __brev(a);
  o[4] = __byte_perm(a, b, c);
  o[5] = __funnelshift_l(a, b, c);
  o[6] = __funnelshift_rc(a, b, c);
  o[7] = __umulhi(a, b);
  o[8] = __mulhi((int)a, (int)b);
  o[9] = __popcll(w);
  o[10] = __clzll(w);
  o[11] = __dp4a((int)a, (int)b, (int)c);
  o[12] = __dp4a(a, b, c);
  o[13] = __usad(a, b, c);
  o[14] = min((int)a, (int)b) + max(a, b);
  o[15] = abs((int)a);
  o[16] = __vadd2(a, b);
  o[17] = __vmaxs2(a, b);
  o[18] = (a >> 5) & 0x7f;
  o[19] = __umul24(a, b);
  o[20] = (uint32_t)(((unsigned long long)a * b + w) >> 17);
  o[21] = __uhadd(a, b);
  o[22] = (uint32_t)__brevll(w);
  o[23] = (uint32_t)__umul64hi(w, w);
}

// A dense switch becomes a branch table.
extern "C" __global__ void table(int* out, const int* in) {
  int x = in[threadIdx.x], r;
  switch (x) {
  case 0: r = x * 3 + 1; break;
  case 1: r = in[x]; break;
  case 2: out[64] = x; r = 7; break;
  case 3: r = out[x] - 5; break;
  case 4: out[65] = 1; r = 12; break;
  case 5: r = in[9] * x; break;
  case 6: r = in[10] / 3; break;
  case 7: r = in[11] % 7; break;
  default: r = -1;
  }
  out[threadIdx.x] = r;
}
