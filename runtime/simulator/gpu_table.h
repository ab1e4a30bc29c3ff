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

  // Threads' operations. Conversion: between integers and floating point, or to integral values; resizing: to more or
  // fewer bits of the same kind.
  double fp32, fp32_half, int32, fp64, special, conversion, resizing;
  // Multiply-adds of the tensor cores, by type, and what of it mma.sync reaches.
  double tensor_16bit, tensor_tf32, tensor_8bit, tensor_4bit, tensor_1bit, tensor_fp64, mma_sync_share;

  double wavefront_bytes, l2_port, l2_bytes_all; ///< l2_bytes_all: of the whole GPU
  double memory_gb_per_s;                        ///< of the whole GPU
  uint64_t l2_capacity;

  struct Latencies {
    double alu, fp64, special, conversion, shuffle, mma, wgmma, shared, l1, l2, memory, copy_engine, barrier, fence;
  } latency;
  double memory_queue; ///< wavefronts that wait for the load/store unit before warps stall
  double block_start;  ///< cycles from the end of a block to the begin of the next one in its place
};

const std::vector<Gpu>& gpu_table();
/// By name, or the first that runs a target: "h100", "sm_90a". Throws Error with the names that there are.
const Gpu& find_gpu(std::string_view name);

} // namespace tilejit::runtime
