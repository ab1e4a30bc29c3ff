// CUDA's mathematical functions, f32 and f64: what nvcc makes of them is long runs of arithmetic, tables in memory, and
// slow paths for large arguments.
#include <cstdint>

#define UNARY(T, number, expression)                                                                                   \
  case number: y = expression; break;
template <typename T>
__device__ T evaluated(int function, T x, T z) {
  T y = 0;
  switch (function) {
    UNARY(T, 0, sqrt(x))
    UNARY(T, 1, sin(x))
    UNARY(T, 2, cos(x))
    UNARY(T, 3, exp(x))
    UNARY(T, 4, log(x))
    UNARY(T, 5, tanh(x))
    UNARY(T, 6, pow(x, z))
    UNARY(T, 7, erf(x))
    UNARY(T, 8, cbrt(x))
    UNARY(T, 9, atan2(x, z))
    UNARY(T, 10, log1p(x))
    UNARY(T, 11, expm1(x))
    UNARY(T, 12, rsqrt(x))
    UNARY(T, 13, x / z)
    UNARY(T, 14, tan(x))
    UNARY(T, 15, fmod(x, z))
    UNARY(T, 16, exp2(x))
    UNARY(T, 17, log2(x))
    UNARY(T, 18, hypot(x, z))
    UNARY(T, 19, lgamma(x))
    UNARY(T, 20, round(x))
    UNARY(T, 21, ldexp(x, (int)z))
    UNARY(T, 22, asin(x))
    UNARY(T, 23, sinh(x))
  }
  return y;
}
extern "C" __global__ void math_f32(const float* x, const float* z, float* out, int function, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) out[i] = evaluated(function, x[i], z[i]);
}
extern "C" __global__ void math_f64(const double* x, const double* z, double* out, int function, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) out[i] = evaluated(function, x[i], z[i]);
}
// The fast ones, that become single instructions.
extern "C" __global__ void fast_f32(const float* x, float* out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  float* o = out + 8 * i;
  o[0] = __sinf(x[i]);
  o[1] = __cosf(x[i]);
  o[2] = __expf(x[i]);
  o[3] = __logf(x[i]);
  o[4] = __fdividef(1.f, x[i]);
  o[5] = __frsqrt_rn(x[i]);
  o[6] = __powf(x[i], 1.5f);
  asm("tanh.approx.f32 %0, %1;" : "=f"(o[7]) : "f"(x[i]));
}
