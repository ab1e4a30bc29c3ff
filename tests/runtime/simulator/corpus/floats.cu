// Floating-point instructions: f32, f64, f16, bf16, fp8, the approximations and all conversions.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

template <typename T>
__device__ void ops(T* out, const T* in, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  T a = in[3 * i], b = in[3 * i + 1], c = in[3 * i + 2];
  T* o = out + 16 * i;
  o[0] = a + b;
  o[1] = a - b;
  o[2] = a * b;
  o[3] = a / b;
  o[4] = fma(a, b, c);
  o[5] = sqrt(a);
  o[6] = fmin(a, b);
  o[7] = fmax(a, b);
  o[8] = a < b ? a : c;
  o[9] = isnan(a) ? b : c;
  o[10] = floor(a);
  o[11] = rint(a);
  o[12] = trunc(a);
  o[13] = fabs(a);
  o[14] = 1 / a;
  o[15] = copysign(a, b);
}
extern "C" __global__ void ops_f32(float* o, const float* i, int n) { ops(o, i, n); }
extern "C" __global__ void ops_f64(double* o, const double* i, int n) { ops(o, i, n); }

extern "C" __global__ void approximations(float* out, const float* in) {
  float x = in[threadIdx.x];
  float* o = out + 24 * threadIdx.x;
  o[0] = __expf(x);
  o[1] = __logf(x);
  o[2] = __sinf(x);
  o[3] = __cosf(x);
  o[4] = exp2f(x);
  o[5] = log2f(x);
  o[6] = rsqrtf(x);
  o[7] = __frcp_rn(x);
  o[8] = __fsqrt_rn(x);
  o[9] = __fdividef(x, in[0]);
  o[10] = __exp10f(x);
  o[11] = __log2f(x);
  o[12] = __frsqrt_rn(x);
  o[13] = __tanf(x);
  o[14] = __powf(x, in[1]);
  o[15] = __fmaf_rn(x, x, in[2]);
  o[16] = __fadd_rz(x, in[1]);
  o[17] = __fmul_rd(x, in[1]);
  o[18] = __fmaf_ru(x, in[1], in[2]);
  o[19] = __saturatef(x);
  o[20] = __fdiv_rn(x, in[2]);
  float t;
  asm("tanh.approx.f32 %0, %1;" : "=f"(t) : "f"(x));
  o[21] = t;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(t) : "f"(x));
  o[22] = t;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(t) : "f"(x));
  o[23] = t;
}

extern "C" __global__ void half_ops(__half* h, __nv_bfloat16* b, __half2* h2, __nv_bfloat162* b2) {
  int i = threadIdx.x;
  __half x = h[i], y = h[i + 32];
  h[i + 64] = __hadd(x, y);
  h[i + 96] = __hfma(x, y, x);
  h[i + 128] = __hmax(x, __hneg(y));
  h[i + 160] = __hdiv(x, y);
  h[i + 192] = hexp2(x);
  h[i + 224] = __hlt(x, y) ? x : y;
  __nv_bfloat16 u = b[i], v = b[i + 32];
  b[i + 64] = __hadd(u, v);
  b[i + 96] = __hfma(u, v, u);
  b[i + 128] = __hmin_nan(u, v);
  b[i + 160] = __hmul(u, v);
  b[i + 192] = __float2bfloat16_rz(__bfloat162float(u) * 3);
  __half2 p = h2[i], q = h2[i + 32];
  h2[i + 64] = __hfma2(p, q, p);
  h2[i + 96] = __hmax2(p, q);
  h2[i + 128] = __hfma2_relu(p, q, p);
  h2[i + 160] = __hadd2_sat(p, q);
  __nv_bfloat162 r = b2[i], s = b2[i + 32];
  b2[i + 64] = __hfma2(r, s, r);
  b2[i + 96] = __hmax2(r, __habs2(s));
  b2[i + 128] = __floats2bfloat162_rn(__low2float(r), __high2float(s));
}

extern "C" __global__ void conversions(const float* f, const double* d, const int* n, const long long* l, int* oi, long long* ol,
                                       float* of, double* od, unsigned* ou, unsigned char* o8) {
  int i = threadIdx.x;
  oi[8 * i] = (int)f[i];
  oi[8 * i + 1] = __float2int_rn(f[i]);
  oi[8 * i + 2] = __float2int_ru(f[i]);
  oi[8 * i + 3] = (int)d[i];
  oi[8 * i + 4] = (short)n[i];
  oi[8 * i + 5] = (signed char)n[i];
  oi[8 * i + 6] = __half2int_rd(__float2half(f[i]));
  oi[8 * i + 7] = __float_as_int(f[i]);
  ol[4 * i] = (long long)f[i];
  ol[4 * i + 1] = (long long)d[i];
  ol[4 * i + 2] = n[i];
  ol[4 * i + 3] = (long long)(unsigned long long)f[i];
  of[8 * i] = (float)n[i];
  of[8 * i + 1] = (float)l[i];
  of[8 * i + 2] = (float)d[i];
  of[8 * i + 3] = (float)(unsigned)n[i];
  of[8 * i + 4] = __half2float(__int2half_rn(n[i]));
  of[8 * i + 5] = __ull2float_rz(l[i]);
  of[8 * i + 6] = __double2float_rd(d[i]);
  of[8 * i + 7] = (float)(unsigned char)n[i];
  od[4 * i] = f[i];
  od[4 * i + 1] = n[i];
  od[4 * i + 2] = (double)l[i];
  od[4 * i + 3] = (double)__float2half(f[i]);
  ou[4 * i] = (unsigned)f[i];
  ou[4 * i + 1] = (unsigned)d[i];
  ou[4 * i + 2] = (unsigned short)f[i];
  ou[4 * i + 3] = __half_as_ushort(__float2half_rz(f[i]));
  __nv_fp8_e4m3 e(f[i]);
  __nv_fp8_e5m2 g(f[i]);
  o8[4 * i] = e.__x;
  o8[4 * i + 1] = g.__x;
  of[8 * i] += float(e) + float(g);
}
