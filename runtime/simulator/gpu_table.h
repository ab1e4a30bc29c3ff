// gpu_table.h - what the time estimate knows of a GPU. All numbers are in gpu_table.cpp, each with its source.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tilejit::runtime {

/// Rates are per cycle and multiprocessor unless they say otherwise; latencies are cycles from issue to where the
/// result can be used.
struct Gpu {
  std::string_view name;   ///< "h100"
  std::string_view title;  ///< "H100 SXM5 80 GB"
  std::string_view target; ///< the newest PTX target that it runs: "sm_90a"
  double clock_mhz;
  uint32_t multiprocessors;

  // What limits the blocks of a multiprocessor.
  uint32_t threads, blocks, registers, shared_bytes, shared_reserved; ///< reserved: of each block

  // Threads' operations. Conversion: between integers and floating point, or to integral values, but for 32-bit
  // integers to fp32; resizing: to more or fewer bits of the same kind.
  double fp32, fp32_half, int32, fp64, special, conversion, int_to_float, resizing;
  // Multiply-adds of the tensor cores, by type, and what share of it mma.sync reaches, that of fp8 by itself.
  double tensor_16bit, tensor_tf32, tensor_8bit, tensor_4bit, tensor_1bit, tensor_fp64, mma_sync_share,
      mma_sync_fp8_share;
  double wgmma_least; ///< cycles of the smallest product

  // What shared memory gives to others while wgmma multiplies, by the columns of the product: 64 or fewer, 256.
  double wavefront_bytes, beside_wgmma_64, beside_wgmma_256;
  // Bytes of one multiprocessor to or from L2, by loads, by copies in bulk, by stores; and of all together.
  double l2_port, l2_port_bulk, l2_port_store, l2_bytes_all;
  double memory_gb_per_s; ///< of the whole GPU, by the data sheet
  double memory_share;    ///< what of it a kernel reaches
  uint64_t l2_capacity;   ///< what is found again there

  struct Latencies {
    double alu, half, wide, fp64, special, conversion, shuffle, redux, match;
    double mma, mma_short, mma_fp8, mma_fp64; ///< 32 bytes of a row of A; 16; fp64: beyond the multiplications
    double wgmma, wgmma_registers;            ///< beyond the multiplications: A from shared memory, from registers
    double shared, shared_wavefront;          ///< of the first wavefront, of each further one
    double l1, l2, memory, store;             ///< store: until a fence knows that it is done
    double remote;                            ///< shared memory of another block of the cluster
    double copy_engine, bulk_copy;     ///< from L2 until a wait has seen it, beyond a load: tensor copies, others
    double bulk_read;                  ///< of a store in bulk, until shared memory has been read
    double barrier, barrier_warp;      ///< and for each warp
    double mbarrier, mbarrier_arrival; ///< a wait for what is complete; from an arrival to the wait
    double cluster_barrier;
    double fence, fence_proxy, fence_wide; ///< of the block; between proxies, all memory; of a cluster and wider
  } latency;
  double memory_queue;      ///< wavefronts that wait for the load/store unit before warps stall
  double instruction_fetch; ///< cycles for each instruction that a multiprocessor meets for the first time
  double block_start;       ///< cycles from the end of a block to the begin of the next one in its place
  double block_interval;    ///< cycles between the begins of blocks of one multiprocessor, if all get some
};

const std::vector<Gpu>& gpu_table();
/// By name, or the first that runs a target: "h100", "sm_90a". Throws Error with the names that there are.
const Gpu& find_gpu(std::string_view name);

} // namespace tilejit::runtime
