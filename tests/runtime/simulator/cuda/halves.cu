// f16, bf16 and fp8, single and packed, as softmax and normalization kernels use them.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

__device__ __half2 joined(__half a, __half b) { return __halves2half2(a, b); }
__device__ __nv_bfloat162 joined(__nv_bfloat16 a, __nv_bfloat16 b) { return __halves2bfloat162(a, b); }

template <typename H, typename H2>
__device__ void packed(const H2* a, const H2* b, H2* out) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  H2 x = a[i], y = b[i], *o = out + 12 * i;
  o[0] = __hadd2(x, y);
  o[1] = __hsub2(x, y);
  o[2] = __hmul2(x, y);
  o[3] = __hfma2(x, y, x);
  o[4] = __hmax2(x, y);
  o[5] = __hmin2(x, __hneg2(y));
  o[6] = __habs2(y);
  o[7] = __hfma2_relu(x, y, x);
  o[8] = __h2div(x, y);
  o[9] = __hlt2(x, y);
  o[10] = __lowhigh2highlow(x);
  o[11] = joined(__hadd(H(x.x), H(y.y)), __hmul(H(x.y), H(y.x)));
}
extern "C" __global__ void packed_f16(const __half2* a, const __half2* b, __half2* out) {
  packed<__half, __half2>(a, b, out);
}
extern "C" __global__ void packed_bf16(const __nv_bfloat162* a, const __nv_bfloat162* b, __nv_bfloat162* out) {
  packed<__nv_bfloat16, __nv_bfloat162>(a, b, out);
}

/// Rows of a softmax: warps reduce by shuffles, the numbers are packed halves.
extern "C" __global__ void softmax_f16(const __half2* in, __half2* out, int pairs) {
  const __half2* row = in + blockIdx.x * pairs;
  float largest = -1e30f, sum = 0;
  for (int i = threadIdx.x; i < pairs; i += 32) {
    float2 v = __half22float2(row[i]);
    largest = fmaxf(largest, fmaxf(v.x, v.y));
  }
  for (int d = 16; d; d /= 2) largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, d));
  for (int i = threadIdx.x; i < pairs; i += 32) {
    float2 v = __half22float2(row[i]);
    sum += exp2f((v.x - largest) * 1.4426950408889634f) + exp2f((v.y - largest) * 1.4426950408889634f);
  }
  for (int d = 16; d; d /= 2) sum += __shfl_xor_sync(~0u, sum, d);
  for (int i = threadIdx.x; i < pairs; i += 32) {
    float2 v = __half22float2(row[i]);
    out[blockIdx.x * pairs + i] = __floats2half2_rn(expf(v.x - largest) / sum, expf(v.y - largest) / sum);
  }
}

extern "C" __global__ void through_fp8(const float* in, float* out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  out[4 * i] = float(__nv_fp8_e4m3(in[i]));
  out[4 * i + 1] = float(__nv_fp8_e5m2(in[i]));
  out[4 * i + 2] = __half2float(__float2half_rz(in[i]));
  out[4 * i + 3] = __bfloat162float(__float2bfloat16_ru(in[i]));
}
