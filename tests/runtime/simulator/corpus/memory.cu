// Memory: spaces, vectors, caches, atomics, fences, warp-wide operations, asynchronous copies, matrices.
#include <cstdint>
#include <cuda_fp16.h>
#include <cuda_pipeline.h>
#include <mma.h>

__constant__ float weights[16] = {1, 2, 3, 4};
__constant__ struct { short a; char b[3]; const float* p; } record = {7, {1, 2, 3}, weights};
__device__ int counter = 5;
__device__ int* counter_address = &counter;

extern "C" __global__ void vectors(float4* out, const float4* __restrict__ in, uint2* u, short4* s, double2* d, uchar4* c) {
  __shared__ float4 tile[128];
  int i = threadIdx.x;
  tile[i] = in[i];
  __syncthreads();
  float4 v = tile[127 - i];
  v.x *= weights[i & 15];
  v.y += record.a + record.b[i % 3] + *record.p;
  out[i] = v;
  u[i] = make_uint2(u[i].y, u[i].x);
  s[i].z = s[i].w;
  d[i].x += d[i].y;
  c[i] = make_uchar4(c[i].w, c[i].z, c[i].y, c[i].x);
  __stcs(out + 128 + i, __ldcg(in + 128 + i));
  *counter_address = i;
}
extern "C" __global__ void atomics(int* a, unsigned* u, unsigned long long* l, float* f, double* d, __half2* h) {
  extern __shared__ int shared[];
  int i = threadIdx.x;
  if (i < 32) shared[i] = 0;
  __syncthreads();
  atomicAdd(shared + (i & 31), a[i]);
  atomicMax(a, i);
  atomicCAS(u, 3u, 4u);
  atomicExch(u + 1, i);
  atomicInc(u + 2, 100);
  atomicAdd(l, 1ull);
  atomicAnd(a + 1, i);
  atomicAdd(f, 1.5f);
  atomicAdd(d, 2.5);
  atomicAdd(h, h[1]);
  atomicAdd_system(a + 2, 1);
  __threadfence();
  __threadfence_block();
  __threadfence_system();
  int old = atomicAdd_block(a + 3, shared[i & 31]);
  u[i + 8] = old;
  while (((volatile int*)a)[4] == 0) __nanosleep(20);
}
extern "C" __global__ void warps(int* out, const int* in, unsigned long long* t) {
  int i = threadIdx.x, x = in[i];
  int y = __shfl_xor_sync(~0u, x, 1) + __shfl_sync(~0u, x, 3) + __shfl_up_sync(~0u, x, 2) + __shfl_down_sync(~0u, x, 4, 16);
  y += __any_sync(~0u, x > 3) + __all_sync(~0u, x > 1) + __popc(__ballot_sync(~0u, x & 1));
  y += __match_any_sync(~0u, x);
  int p;
  y += __match_all_sync(~0u, x, &p) + p;
  y += __reduce_add_sync(~0u, x) + __reduce_max_sync(~0u, (unsigned)x) + __reduce_xor_sync(~0u, (unsigned)x);
  y += __activemask();
  __syncwarp();
  y += __syncthreads_count(x) + __syncthreads_or(x) + __syncthreads_and(x);
  unsigned smid, lane;
  asm volatile("mov.u32 %0, %%smid;" : "=r"(smid));
  asm volatile("mov.u32 %0, %%laneid;" : "=r"(lane));
  t[i] = clock64() + clock();
  out[i] = y + smid * 0 + lane;
}
extern "C" __global__ void __launch_bounds__(128, 2) copies(float* out, const float* in, int n) {
  __shared__ __align__(16) float tile[2][512];
  int i = threadIdx.x;
  __pipeline_memcpy_async(&tile[0][4 * i], in + 4 * i, 16);
  __pipeline_commit();
  __pipeline_memcpy_async(&tile[1][4 * i], in + 512 + 4 * i, 16, i < n ? 0 : 8);
  __pipeline_memcpy_async(&tile[1][i], in + 9 * i, 4);
  __pipeline_commit();
  __pipeline_wait_prior(1);
  __syncthreads();
  out[i] = tile[0][511 - i];
  __pipeline_wait_prior(0);
  __syncthreads();
  out[i + 128] = tile[1][511 - i];
  asm volatile("prefetch.global.L2 [%0];" ::"l"(in + 4096));
  if (n < 0) __trap();
}
extern "C" __global__ void matrices(float* c, const __half* a, const __half* b) {
  __shared__ __half sa[16 * 16], sb[16 * 8];
  int lane = threadIdx.x;
  for (int i = lane; i < 256; i += 32) sa[i] = a[i];
  for (int i = lane; i < 128; i += 32) sb[i] = b[i];
  __syncwarp();
  uint32_t ra[4], rb[2];
  float d[4] = {};
  unsigned pa = (unsigned)__cvta_generic_to_shared(sa + (lane & 15) * 16 + (lane >> 4) * 8);
  unsigned pb = (unsigned)__cvta_generic_to_shared(sb + (lane & 15) * 8);
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(ra[0]), "=r"(ra[1]), "=r"(ra[2]), "=r"(ra[3]) : "r"(pa));
  asm volatile("{ .reg .b32 t; mov.b32 t, %2; ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [t]; }"
               : "=r"(rb[0]), "=r"(rb[1]) : "r"(pb));
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(ra[0]), "r"(ra[1]), "r"(ra[2]), "r"(ra[3]), "r"(rb[0]), "r"(rb[1]));
  for (int i = 0; i < 4; ++i) c[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = d[i];
}
extern "C" __global__ void nested(float* out, const float* in, int rows, int columns) {
  for (int r = blockIdx.x; r < rows; r += gridDim.x) {
    float best = -1e30f;
    for (int c = threadIdx.x; c < columns; c += blockDim.x) {
      float v = in[r * columns + c];
      if (v < 0) continue;
      if (v > 100) break;
      while (v > 10) v *= 0.5f;
      best = fmaxf(best, v);
    }
    out[r * blockDim.x + threadIdx.x] = best;
  }
}
