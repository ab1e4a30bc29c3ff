// Threads that work together: barriers, exchanges within a warp, atomics, fences, clocks.
#include <cooperative_groups.h>
#include <cstdint>
#include <cuda_fp16.h>

namespace cg = cooperative_groups;

/// Sums over blocks of any number of threads, by shuffles and dynamic shared memory.
extern "C" __global__ void block_sums(const int* in, int* out, int n) {
  extern __shared__ int partial[];
  int i = blockIdx.x * blockDim.x + threadIdx.x, x = i < n ? in[i] : 0;
  for (int d = 16; d; d /= 2) x += __shfl_down_sync(~0u, x, d);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = x;
  __syncthreads();
  if (threadIdx.x < 32) {
    x = threadIdx.x < blockDim.x / 32 ? partial[threadIdx.x] : 0;
    for (int d = 16; d; d /= 2) x += __shfl_xor_sync(~0u, x, d);
    if (threadIdx.x == 0) out[blockIdx.x] = x;
  }
}

/// Prefix sums, in place in shared memory.
extern "C" __global__ void prefix_sums(const int* in, int* out) {
  __shared__ int a[2][256];
  int i = threadIdx.x, from = 0;
  a[0][i] = in[i];
  __syncthreads();
  for (int d = 1; d < 256; d *= 2, from ^= 1) {
    a[from ^ 1][i] = i >= d ? a[from][i] + a[from][i - d] : a[from][i];
    __syncthreads();
  }
  out[i] = a[from][i];
}

extern "C" __global__ void warp_wide(const int* in, int* out, unsigned members) {
  int lane = threadIdx.x & 31, x = in[threadIdx.x], *o = out + 16 * threadIdx.x;
  if (members >> lane & 1) {
    o[0] = __shfl_sync(members, x, 5);
    o[1] = __any_sync(members, x > 20);
    o[2] = __all_sync(members, x >= 0);
    o[3] = __ballot_sync(members, x & 1);
    o[4] = __match_any_sync(members, x % 5);
    int same;
    o[5] = __match_all_sync(members, x >= 0, &same) + same;
    o[6] = __reduce_add_sync(members, x);
    o[7] = __reduce_max_sync(members, x);
    o[8] = __reduce_xor_sync(members, (unsigned)x);
    o[9] = __activemask();
    __syncwarp(members);
  }
  o[10] = __shfl_up_sync(~0u, x, 3, 8);
  o[11] = __shfl_down_sync(~0u, x, 2, 16);
  o[12] = __shfl_xor_sync(~0u, x, 9);
  o[13] = __syncthreads_count(x & 1);
  o[14] = __syncthreads_or(x > 30) * 2 + __syncthreads_and(x < 31);
  o[15] = __reduce_min_sync(~0u, (unsigned)x);
}

/// Groups of threads that only exist at run time.
extern "C" __global__ void groups(const int* in, int* out) {
  auto block = cg::this_thread_block();
  auto tile = cg::tiled_partition<8>(block);
  int x = in[threadIdx.x];
  int sum = x;
  for (int d = tile.size() / 2; d; d /= 2) sum += tile.shfl_down(sum, d);
  out[2 * threadIdx.x] = tile.shfl(sum, 0) * 100 + tile.thread_rank();
  int rank = -1;
  if (x & 1) {
    auto active = cg::coalesced_threads();
    rank = active.thread_rank() + 100 * active.size();
  }
  out[2 * threadIdx.x + 1] = rank;
}

extern "C" __global__ void atomics(const int* in, int* ints, unsigned long long* wide, float* floats, double* doubles,
                                   __half2* halves, int n) {
  __shared__ int bins[16];
  if (threadIdx.x < 16) bins[threadIdx.x] = 0;
  __syncthreads();
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) {
    int x = in[i];
    atomicAdd(&bins[x & 15], 1);
    atomicAdd(ints, x);
    atomicMax(ints + 1, x);
    atomicMin(ints + 2, x);
    atomicOr(ints + 3, x);
    atomicXor(ints + 4, x);
    atomicAnd(ints + 5, ~(1 << (x & 7)));
    atomicSub(ints + 6, 1);
    atomicInc((unsigned*)ints + 7, 9);
    atomicDec((unsigned*)ints + 8, 6);
    atomicAdd_system(ints + 9, 2);
    atomicAdd(wide, (unsigned long long)x << 20);
    atomicMax(wide + 1, (unsigned long long)x * x);
    atomicAdd(floats, 0.5f);
    atomicAdd(doubles, 0.25 * x);
    atomicAdd(halves, __floats2half2_rn(1, 2));
    int old = atomicCAS(ints + 10, 0, i + 1); // one of them
    if (old == 0) atomicExch(ints + 11, i + 1);
  }
  __syncthreads();
  if (threadIdx.x < 16) atomicAdd(ints + 16 + threadIdx.x, bins[threadIdx.x]);
}

#if __CUDA_ARCH__ >= 900
extern "C" __global__ void vector_atomics(float4* sums, float2* pairs) {
  atomicAdd(sums, make_float4(1, 2, 3, 4));
  atomicAdd(pairs, make_float2(threadIdx.x, 1));
}
#endif

/// A lock that the lanes of a warp take one after the other.
extern "C" __global__ void locks(int* lock, int* counter) {
  for (bool done = false; !done;) {
    if (atomicCAS(lock, 0, 1) == 0) {
      int old = *(volatile int*)counter;
      *(volatile int*)counter = old + 1;
      __threadfence();
      atomicExch(lock, 0);
      done = true;
    }
  }
}

/// The last block to finish adds what all of them found.
__device__ unsigned finished;
extern "C" __global__ void last_block(const int* in, int* partial, int* out) {
  __shared__ bool last;
  int x = in[blockIdx.x * blockDim.x + threadIdx.x];
  x = __reduce_add_sync(~0u, x);
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = x;
    __threadfence();
    last = atomicAdd(&finished, 1) == gridDim.x - 1;
  }
  __syncthreads();
  if (last) {
    int sum = 0;
    for (int b = threadIdx.x; b < gridDim.x; b += blockDim.x) sum += ((volatile int*)partial)[b];
    sum = __reduce_add_sync(~0u, sum);
    if (threadIdx.x == 0) *out = sum, finished = 0;
  }
}

/// Two halves of a block at barriers of their own: producers arrive, consumers wait.
extern "C" __global__ void named_barriers(const int* in, int* out) {
  __shared__ int stage[64];
  int i = threadIdx.x;
  for (int round = 0; round < 4; ++round) {
    if (i < 64) {
      stage[i] = in[64 * round + i];
      asm volatile("barrier.cta.arrive 1, 128;" ::: "memory");
      asm volatile("bar.sync 2, 128;" ::: "memory");
    } else {
      asm volatile("barrier.cta.sync 1, 128;" ::: "memory");
      out[64 * round + i - 64] = stage[127 - i] * 2;
      asm volatile("bar.arrive 2, 128;" ::: "memory");
    }
  }
}

/// Each lane waits for the one before it.
extern "C" __global__ void relay(volatile int* flags, int* out) {
  int i = threadIdx.x;
  while (i > 0 && flags[i - 1] == 0) __nanosleep(32);
  out[i] = i == 0 ? 1 : out[i - 1] + i;
  __threadfence();
  flags[i] = 1;
}

extern "C" __global__ void special(uint64_t* out) {
  uint64_t* o = out + 16 * (blockIdx.x * blockDim.x * blockDim.y + threadIdx.y * blockDim.x + threadIdx.x);
  uint32_t x;
  uint64_t before = clock64(), time;
#define READ(at, name)                                                                                                 \
  asm volatile("mov.u32 %0, %%" #name ";" : "=r"(x));                                                                  \
  o[at] = x;
  READ(0, laneid)
  READ(1, warpid)
  READ(2, nwarpid)
  READ(3, smid)
  READ(4, nsmid)
  READ(5, lanemask_lt)
  READ(6, lanemask_ge)
  READ(7, lanemask_eq)
  READ(8, dynamic_smem_size)
  READ(9, total_smem_size)
  READ(10, ctaid.x)
  READ(11, ntid.y)
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(time));
  o[12] = time;
  uint64_t after = clock64();
  o[13] = after > before;
  o[14] = clock() != 0;
  o[15] = threadIdx.x + 1000 * threadIdx.y;
}
