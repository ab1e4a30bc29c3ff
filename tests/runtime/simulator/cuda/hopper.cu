// What CUDA C++ has for Hopper: clusters, barriers in shared memory, bulk and tensor copies, warpgroup products.
#include <cooperative_groups.h>
#include <cstdint>
#include <cuda.h>
#include <cuda/barrier>
#include <cuda/ptx>
#include <cuda_bf16.h>

namespace cg = cooperative_groups;
namespace ptx = cuda::ptx;

/// Each block counts its part in shared memory of whatever block a bin belongs to; then every block stores its own bins.
extern "C" __global__ void cluster_histogram(const int* in, int n, int* bins, int* ranks) {
  constexpr int own = 16;
  __shared__ int counts[own];
  cg::cluster_group cluster = cg::this_cluster();
  if (threadIdx.x < own) counts[threadIdx.x] = 0;
  cluster.sync();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
    int bin = in[i] % (own * cluster.num_blocks());
    atomicAdd(cluster.map_shared_rank(counts, bin / own) + bin % own, 1);
  }
  cluster.sync();
  int first = blockIdx.x / cluster.num_blocks() * cluster.num_blocks() * own;
  if (threadIdx.x < own) bins[first + cluster.block_rank() * own + threadIdx.x] = counts[threadIdx.x];
  if (threadIdx.x == 0) {
    int* of_this = ranks + 4 * blockIdx.x;
    of_this[0] = cluster.block_rank();
    of_this[1] = cluster.num_blocks();
    of_this[2] = cluster.query_shared_rank(cluster.map_shared_rank(counts, (cluster.block_rank() + 1) % cluster.num_blocks()));
    of_this[3] = cluster.block_index().x * 10 + cluster.dim_blocks().x;
  }
}

/// A ring of two stages that bulk copies fill; a bulk store, and a bulk reduction of the same numbers.
extern "C" __global__ void bulk_ring(const int* in, int chunks, int* out, int* sums) {
  constexpr int size = 256;
  __shared__ alignas(128) int stage[2][size];
  __shared__ uint64_t full[2];
  if (threadIdx.x == 0) {
    for (int s = 0; s < 2; ++s) ptx::mbarrier_init(&full[s], 1);
    ptx::fence_proxy_async(ptx::space_shared);
  }
  __syncthreads();
  auto fill = [&](int c) {
    ptx::mbarrier_arrive_expect_tx(ptx::sem_release, ptx::scope_cta, ptx::space_shared, &full[c % 2], sizeof stage[0]);
    ptx::cp_async_bulk(ptx::space_cluster, ptx::space_global, stage[c % 2], in + c * size, sizeof stage[0], &full[c % 2]);
  };
  if (threadIdx.x == 0) fill(0);
  for (int c = 0; c < chunks; ++c) {
    if (threadIdx.x == 0 && c + 1 < chunks) {
      ptx::cp_async_bulk_wait_group_read(ptx::n32_t<0>());
      fill(c + 1);
    }
    while (!ptx::mbarrier_try_wait_parity(&full[c % 2], c / 2 % 2)) {}
    stage[c % 2][threadIdx.x] = 2 * stage[c % 2][threadIdx.x] + 1;
    ptx::fence_proxy_async(ptx::space_shared);
    __syncthreads();
    if (threadIdx.x == 0) {
      ptx::cp_async_bulk(ptx::space_global, ptx::space_shared, out + c * size, stage[c % 2], sizeof stage[0]);
      ptx::cp_reduce_async_bulk(ptx::space_global, ptx::space_shared, ptx::op_add, sums, stage[c % 2], sizeof stage[0]);
      ptx::cp_async_bulk_commit_group();
    }
  }
  if (threadIdx.x == 0) ptx::cp_async_bulk_wait_group(ptx::n32_t<0>());
}

/// A barrier object of the library: arrivals of all threads, and tokens.
extern "C" __global__ void barrier_tokens(const int* in, int* out) {
  using Barrier = cuda::barrier<cuda::thread_scope_block>;
  __shared__ alignas(Barrier) unsigned char place[sizeof(Barrier)];
  __shared__ int x[128];
  Barrier& barrier = *reinterpret_cast<Barrier*>(place);
  if (threadIdx.x == 0) init(&barrier, blockDim.x);
  __syncthreads();
  int sum = 0;
  for (int round = 0; round < 3; ++round) {
    x[threadIdx.x] = in[round * 128 + threadIdx.x];
    auto token = barrier.arrive();
    sum += round;
    barrier.wait(std::move(token));
    sum += x[(threadIdx.x + 1) % 128];
    if (round == 1 && threadIdx.x >= 96) {
      barrier.arrive_and_drop();
      break;
    }
    barrier.arrive_and_wait();
  }
  out[threadIdx.x] = sum;
}

/// The box of a matrix, transposed on the way through shared memory; the map is the host's or, with `made`, built here.
template <bool made>
__device__ void transpose_box(const CUtensorMap* map, int x, int y, float* out) {
  __shared__ alignas(1024) float box[8][32];
  __shared__ uint64_t full;
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(&full, 1);
    ptx::fence_proxy_async(ptx::space_shared);
    if (made) ptx::fence_proxy_tensormap_generic(ptx::sem_acquire, ptx::scope_gpu, map, ptx::n32_t<128>());
    int32_t at[2]{x, y};
    ptx::mbarrier_arrive_expect_tx(ptx::sem_release, ptx::scope_cta, ptx::space_shared, &full, sizeof box);
    ptx::cp_async_bulk_tensor(ptx::space_cluster, ptx::space_global, box, map, at, &full);
  }
  __syncthreads();
  while (!ptx::mbarrier_try_wait_parity(&full, 0)) __nanosleep(20);
  for (int i = threadIdx.x; i < 8 * 32; i += blockDim.x) {
    int row = i % 8, column = i / 8, chunk = column / 4 ^ row; // the swizzle of 128 bytes
    out[i] = box[row][chunk * 4 + column % 4];
  }
}
extern "C" __global__ void tensor_box(const __grid_constant__ CUtensorMap map, int x, int y, float* out) {
  transpose_box<false>(&map, x, y, out);
}
/// `place`: 128 bytes of global memory for the map of a matrix of `rows` x `columns`.
extern "C" __global__ void tensor_map_made_here(const float* matrix, int rows, int columns, CUtensorMap* place, int x, int y,
                                                float* out) {
  __shared__ alignas(128) uint32_t map[32];
  if (threadIdx.x < 32) {
    map[threadIdx.x] = 0;
    __syncwarp();
    if (threadIdx.x == 0) {
      ptx::tensormap_replace_global_address(ptx::space_shared, map, matrix);
      ptx::tensormap_replace_rank(ptx::space_shared, map, 1);
      ptx::tensormap_replace_box_dim(ptx::space_shared, map, ptx::n32_t<0>(), 32);
      ptx::tensormap_replace_box_dim(ptx::space_shared, map, ptx::n32_t<1>(), 8);
      ptx::tensormap_replace_global_dim(ptx::space_shared, map, ptx::n32_t<0>(), columns);
      ptx::tensormap_replace_global_dim(ptx::space_shared, map, ptx::n32_t<1>(), rows);
      ptx::tensormap_replace_global_stride(ptx::space_shared, map, ptx::n32_t<0>(), uint64_t(columns) * 4);
      ptx::tensormap_replace_element_size(ptx::space_shared, map, ptx::n32_t<0>(), 1);
      ptx::tensormap_replace_element_size(ptx::space_shared, map, ptx::n32_t<1>(), 1);
      ptx::tensormap_replace_elemtype(ptx::space_shared, map, ptx::n32_t<7>());       // f32
      ptx::tensormap_replace_interleave_layout(ptx::space_shared, map, ptx::n32_t<0>());
      ptx::tensormap_replace_swizzle_mode(ptx::space_shared, map, ptx::n32_t<3>());   // 128 bytes
      ptx::tensormap_replace_fill_mode(ptx::space_shared, map, ptx::n32_t<0>());      // zeros
    }
    __syncwarp();
    ptx::tensormap_cp_fenceproxy(ptx::sem_release, ptx::scope_gpu, place, map, ptx::n32_t<128>());
  }
  __syncthreads();
  transpose_box<true>(place, x, y, out);
}

/// One box for all blocks of a cluster, and a number that each block leaves in its neighbour's memory.
extern "C" __global__ void multicast(const int* in, int* out) {
  __shared__ alignas(128) int box[64];
  __shared__ uint64_t full, told;
  __shared__ int number;
  uint32_t rank, count;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(count));
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(&full, 1);
    ptx::mbarrier_init(&told, 1);
    ptx::fence_mbarrier_init(ptx::sem_release, ptx::scope_cluster);
    ptx::mbarrier_arrive_expect_tx(ptx::sem_release, ptx::scope_cta, ptx::space_shared, &full, sizeof box);
    ptx::mbarrier_arrive_expect_tx(ptx::sem_release, ptx::scope_cta, ptx::space_shared, &told, sizeof number);
  }
  ptx::barrier_cluster_arrive(ptx::sem_release);
  ptx::barrier_cluster_wait(ptx::sem_acquire);
  if (threadIdx.x == 0) {
    if (rank == 0)
      ptx::cp_async_bulk(ptx::space_cluster, ptx::space_global, box, in, sizeof box, &full, uint16_t((1 << count) - 1));
    cg::cluster_group cluster = cg::this_cluster();
    uint32_t next = (rank + 1) % count;
    ptx::st_async(cluster.map_shared_rank(&number, next), int(100 + rank), cluster.map_shared_rank(&told, next));
  }
  while (!ptx::mbarrier_try_wait_parity(&full, 0)) {}
  while (!ptx::mbarrier_try_wait_parity(&told, 0)) {}
  out[blockIdx.x * 64 + threadIdx.x] = box[threadIdx.x] + number;
  ptx::barrier_cluster_arrive();
  ptx::barrier_cluster_wait();
}

/// C = A * B^T of one warpgroup: A 64 x 32, B 16 x 32, rows of 64 bytes with the swizzle of 64 bytes.
extern "C" __global__ void __launch_bounds__(128) warpgroup_product(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c) {
  __shared__ alignas(1024) __nv_bfloat16 tile_a[64 * 32], tile_b[16 * 32];
  auto place = [](int row, int column) { return row * 32 + ((column / 8 ^ row / 2 % 4) * 8 + column % 8); };
  for (int i = threadIdx.x; i < 64 * 32; i += 128) tile_a[place(i / 32, i % 32)] = a[i];
  for (int i = threadIdx.x; i < 16 * 32; i += 128) tile_b[place(i / 32, i % 32)] = b[i];
  ptx::fence_proxy_async(ptx::space_shared);
  __syncthreads();
  asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
  auto descriptor = [](const void* tile) {
    uint64_t address = __cvta_generic_to_shared(tile);
    return (address & 0x3ffff) >> 4 | uint64_t(1) << 16 | uint64_t(512 >> 4) << 32 | uint64_t(2) << 62;
  };
  float d[8];
  asm volatile("wgmma.fence.sync.aligned;");
  for (int k = 0; k < 2; ++k)
    asm volatile("{ .reg .pred p; setp.ne.u32 p, %10, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 {%0, %1, %2, %3, %4, %5, %6, %7}, %8, %9, p, 1, 1, 0, 0; }"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7])
                 : "l"(descriptor(tile_a) + 2 * k), "l"(descriptor(tile_b) + 2 * k), "r"(k));
  asm volatile("wgmma.commit_group.sync.aligned;");
  asm volatile("wgmma.wait_group.sync.aligned 0;"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]));
  asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
  int row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4, column = threadIdx.x % 4 * 2;
  for (int i = 0; i < 8; ++i) c[(row + i / 2 % 2 * 8) * 16 + column + i / 4 * 8 + i % 2] = d[i];
}

/// Matrices stored the other way, one elected lane, hints for the caches, and a launch that depends on another.
extern "C" __global__ void odds(const int* in, int* out) {
  __shared__ alignas(128) unsigned short tiles[4][64];
  cudaGridDependencySynchronize();
  int x = in[threadIdx.x];
  uint32_t row = __cvta_generic_to_shared(&tiles[threadIdx.x / 8][threadIdx.x % 8 * 8]);
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};"
               :
               : "r"(row), "r"(x), "r"(x + 1), "r"(x + 2), "r"(x + 3)
               : "memory");
  __syncwarp();
  for (int i = 0; i < 8; ++i) out[threadIdx.x * 8 + i] = tiles[threadIdx.x / 8][threadIdx.x % 8 * 8 + i];
  int elected;
  asm volatile("{ .reg .pred p; elect.sync _|p, 0xffffffff; selp.b32 %0, 1, 0, p; }" : "=r"(elected));
  if (elected) out[256] = 1000 + threadIdx.x;
  uint64_t policy;
  int hinted, ahead;
  asm volatile("createpolicy.fractional.L2::evict_last.b64 %0, 0.5;" : "=l"(policy));
  asm volatile("ld.global.L2::cache_hint.b32 %0, [%1], %2;" : "=r"(hinted) : "l"(in + 31), "l"(policy));
  asm volatile("prefetch.global.L2::evict_last [%0];" : : "l"(in));
  asm volatile("ld.global.L1::no_allocate.L2::128B.b32 %0, [%1];" : "=r"(ahead) : "l"(in + 30));
  if (threadIdx.x == 0) out[257] = hinted * 1000 + ahead;
  cudaTriggerProgrammaticLaunchCompletion();
}
