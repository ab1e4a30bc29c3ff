// Cooperative groups, and the barriers, pipelines and semaphores of CUDA's C++ library.
#include <cooperative_groups.h>
#include <cooperative_groups/memcpy_async.h>
#include <cooperative_groups/reduce.h>
#include <cooperative_groups/scan.h>
#include <cuda/barrier>
#include <cuda/latch>
#include <cuda/pipeline>
#include <cuda/semaphore>

namespace cg = cooperative_groups;
#pragma nv_diag_suppress 20054 // constructors of shared variables, which are not run

// Each part of a warp by itself, all of them at once.
extern "C" __global__ void tiles(const int* in, int* out) {
  auto block = cg::this_thread_block();
  auto tile = cg::tiled_partition<8>(block);
  int i = block.thread_rank(), x = in[i], *o = out + 16 * i, agree;
  o[0] = cg::reduce(tile, x, cg::plus<int>());
  o[1] = cg::reduce(tile, x, cg::greater<int>());
  o[2] = cg::inclusive_scan(tile, x);
  o[3] = cg::exclusive_scan(tile, x);
  o[4] = tile.ballot(x > 5);
  o[5] = tile.any(x == 3);
  o[6] = tile.all(x > 1);
  o[7] = tile.match_any(x);
  o[8] = tile.match_all(x & 64, agree);
  o[9] = tile.shfl_xor(x, 3);
  o[10] = tile.shfl_down(x, 1);
  o[11] = tile.thread_rank() + 100 * tile.meta_group_rank();
  tile.sync();
  o[12] = agree;
}

// Parts that the values decide on.
extern "C" __global__ void partitions(const int* in, int* out) {
  auto warp = cg::tiled_partition<32>(cg::this_thread_block());
  int i = threadIdx.x, x = in[i], *o = out + 8 * i;
  auto odd = cg::binary_partition(warp, x & 1);
  o[0] = odd.size();
  o[1] = cg::reduce(odd, x, cg::plus<int>());
  auto same = cg::labeled_partition(warp, x % 3);
  o[2] = same.size() + 100 * same.thread_rank();
  o[3] = cg::reduce(same, x, cg::less<int>());
  o[4] = o[5] = o[6] = 0;
  if (x & 2) {
    auto here = cg::coalesced_threads();
    o[4] = here.thread_rank() + 100 * here.size();
    o[5] = here.shfl(x, 0);
    o[6] = here.ballot(x & 1);
  }
}

// Groups of several warps meet in memory that the system reserves.
extern "C" __global__ void large_tiles(const int* in, int* out) {
  auto tile = cg::tiled_partition<64>(cg::this_thread_block());
  int i = threadIdx.x, x = in[i];
  out[3 * i] = cg::reduce(tile, x, cg::plus<int>());
  out[3 * i + 1] = cg::inclusive_scan(tile, x);
  out[3 * i + 2] = tile.any(x == 3) + 2 * (tile.shfl(x, 40) & 0xff);
}

extern "C" __global__ void group_copies(const int* in, int* out, int n) {
  extern __shared__ int stage[];
  auto block = cg::this_thread_block();
  cg::memcpy_async(block, stage, in, sizeof(int) * n);
  cg::wait(block);
  int first = stage[(threadIdx.x + 1) % n];
  block.sync();
  cg::memcpy_async(block, stage, in + n, cuda::aligned_size_t<16>(sizeof(int) * n));
  cg::wait(block);
  out[threadIdx.x] = first + 3 * stage[(threadIdx.x + 2) % n];
}

extern "C" __global__ void split_barriers(const int* in, int* out, int n) {
  __shared__ cuda::barrier<cuda::thread_scope_block> barrier;
  extern __shared__ int stage[];
  auto block = cg::this_thread_block();
  if (block.thread_rank() == 0) init(&barrier, block.size());
  block.sync();
  for (int round = 0; round < 3; ++round) {
    cuda::memcpy_async(block, stage, in + round * n, cuda::aligned_size_t<16>(sizeof(int) * n), barrier);
    barrier.arrive_and_wait();
    out[round * n + threadIdx.x] = stage[n - 1 - threadIdx.x];
    auto token = barrier.arrive();
    barrier.wait(std::move(token));
  }
  if (threadIdx.x % 2) {
    barrier.arrive_and_drop();
  } else {
    barrier.arrive_and_wait();
    out[threadIdx.x] += 1;
  }
}

// One half of the block fetches, the other one works.
extern "C" __global__ void pipeline_roles(const int* in, int* out, int rounds) {
  constexpr int stages = 2;
  __shared__ cuda::pipeline_shared_state<cuda::thread_scope_block, stages> state;
  extern __shared__ int stage[];
  auto block = cg::this_thread_block();
  int half = block.size() / 2, i = threadIdx.x % half;
  bool produces = threadIdx.x < half;
  auto pipe = cuda::make_pipeline(block, &state, produces ? cuda::pipeline_role::producer : cuda::pipeline_role::consumer);
  for (int round = 0; round < rounds; ++round) {
    int* place = stage + round % stages * half;
    if (produces) {
      pipe.producer_acquire();
      cuda::memcpy_async(place + i, in + round * half + i, sizeof(int), pipe);
      pipe.producer_commit();
    } else {
      pipe.consumer_wait();
      out[round * half + i] = place[half - 1 - i];
      pipe.consumer_release();
    }
  }
}

__device__ cuda::binary_semaphore<cuda::thread_scope_device> one{1};
__device__ cuda::counting_semaphore<cuda::thread_scope_device, 3> some{2};
__device__ cuda::latch<cuda::thread_scope_device> everyone{4};
extern "C" __global__ void semaphores(int* out) { // four blocks
  if (threadIdx.x) return;
  one.acquire();
  out[0] += 1;
  one.release();
  some.acquire();
  atomicAdd(out + 1, 1);
  some.release();
  everyone.arrive_and_wait();
  out[2 + blockIdx.x] = *(volatile int*)out;
}
