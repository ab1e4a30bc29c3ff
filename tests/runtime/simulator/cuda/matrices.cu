// The matrix fragments of mma.h: shapes, layouts and types; memory of all spaces.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <mma.h>

using namespace nvcuda;

template <typename Layout>
constexpr bool is_row = false;
template <>
constexpr bool is_row<wmma::row_major> = true;

/// D = 2 A B + C of one tile; A and B are staged in shared memory when `staged`.
template <int M, int N, int K, typename In, typename LayoutA, typename LayoutB, typename T, typename Out, bool staged>
__device__ void product(const T* a, const T* b, const Out* c, Out* d) {
  __shared__ T sa[M * K], sb[K * N];
  const T *pa = a, *pb = b;
  if (staged) {
    for (int i = threadIdx.x; i < M * K; i += 32) sa[i] = a[i];
    for (int i = threadIdx.x; i < K * N; i += 32) sb[i] = b[i];
    __syncwarp();
    pa = sa, pb = sb;
  }
  wmma::fragment<wmma::matrix_a, M, N, K, In, LayoutA> fa;
  wmma::fragment<wmma::matrix_b, M, N, K, In, LayoutB> fb;
  wmma::fragment<wmma::accumulator, M, N, K, Out> fc;
  wmma::load_matrix_sync(fa, pa, is_row<LayoutA> ? K : M);
  wmma::load_matrix_sync(fb, pb, is_row<LayoutB> ? N : K);
  wmma::load_matrix_sync(fc, c, N, wmma::mem_row_major);
  for (int i = 0; i < fa.num_elements; ++i) fa.x[i] = fa.x[i] + fa.x[i];
  wmma::mma_sync(fc, fa, fb, fc);
  wmma::store_matrix_sync(d, fc, M, wmma::mem_col_major);
}

#define PRODUCT(name, M, N, K, In, LayoutA, LayoutB, T, Out, staged)                                                   \
  extern "C" __global__ void name(const T* a, const T* b, const Out* c, Out* d) {                                      \
    product<M, N, K, In, wmma::LayoutA, wmma::LayoutB, T, Out, staged>(a, b, c, d);                                    \
  }
PRODUCT(f16_f32, 16, 16, 16, __half, row_major, col_major, __half, float, true)
PRODUCT(f16_f16, 8, 32, 16, __half, col_major, row_major, __half, __half, false)
PRODUCT(bf16_f32, 32, 8, 16, __nv_bfloat16, col_major, col_major, __nv_bfloat16, float, false)
PRODUCT(tf32_f32, 16, 16, 8, wmma::precision::tf32, row_major, row_major, float, float, true)
PRODUCT(s8_s32, 16, 16, 16, signed char, row_major, row_major, signed char, int, false)
PRODUCT(u8_s32, 32, 8, 16, unsigned char, col_major, row_major, unsigned char, int, true)
PRODUCT(f64_f64, 8, 8, 4, double, row_major, col_major, double, double, false)
