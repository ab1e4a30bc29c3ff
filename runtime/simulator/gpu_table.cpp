// gpu_table.cpp - see gpu_table.h.
//
// Sources, by the letter behind each number:
//   [w] NVIDIA's white papers. "A100 Tensor Core GPU Architecture" (2020): Table 4, and for what limits blocks Table 5.
//       "H100 Tensor Core GPU Architecture" (2022): Table 3, and Table 4 for the limits. Memory: the data sheets of the
//       SXM boards. Tensor rates: dense FLOP/s / (2 x multiprocessors x clock).
//   [c] CUDA Programming Guide, "Compute Capabilities", Table 32: what a multiprocessor has less what a block can have.
//   [p] CUDA C++ Programming Guide, table "Throughput of Native Arithmetic Instructions", columns 8.0 and 9.0: Table 4
//       of release 12.6; since release 13 it is in the Best Practices Guide, section 12.1.1.
//   [f] Shah et al., "FlashAttention-3", arXiv:2407.08608 (2024), footnote 5, which quotes [p] for an H100.
//   [l] Luo et al., "Benchmarking and Dissecting the Nvidia Hopper GPU Architecture", arXiv:2402.13499 (2024): Table IV
//       (latencies) and Table VII (mma.sync), measured on an A100 PCIe and an H800 PCIe.
//   [m] Luo et al., "Dissecting the NVIDIA Hopper Architecture through Microbenchmarking and Multiple Level Analysis",
//       arXiv:2501.12084 (2025): the section on the Tensor Memory Accelerator.
//   [t] measured by tests/runtime/simulator/measure_gpu on an H200, docs/benchmarks/gpu.md. Its multiprocessors are
//       an H100's.
//   assumed: no public source that we know of, a rounded guess from several, or one that we don't follow.
// [c], [p], [l] and [m] were checked against what others quote of these tables, not in the documents themselves.
#include "runtime/simulator/gpu_table.h"

#include "runtime/device.h"

namespace tilejit::runtime {

namespace {

Gpu a100() {
  return {
      .name = "a100",
      .title = "A100 SXM4 80 GB",
      .target = "sm_80",
      .clock_mhz = 1410,          // [w] boost
      .multiprocessors = 108,     // [w]
      .threads = 2048,            // [w]
      .blocks = 32,               // [w]
      .registers = 65536,         // [w]
      .shared_bytes = 164 * 1024, // [w]
      .shared_reserved = 1024,    // [c]
      .fp32 = 64,                 // [p]
      .fp32_half = 128,           // [p] packed instructions: 256 half-precision results
      .int32 = 64,                // [p]
      .fp64 = 32,                 // [w] FP64 cores
      .special = 16,              // [p]
      .conversion = 16,           // [p] "all other type conversions"
      .int_to_float = 16,         // [p] the same
      .resizing = 64,             // [p] from 8 and 16 bits to 32; assumed for fp32 to 16 bits too, where [p] has 16
      .tensor_16bit = 1024,       // [w] 312 TFLOP/s
      .tensor_tf32 = 512,         // [w] 156 TFLOP/s
      .tensor_8bit = 2048,        // [w] 624 TOP/s
      .tensor_4bit = 4096,        // [w] 1248 TOP/s
      .tensor_1bit = 16384,       // [w] 4992 TOP/s
      .tensor_fp64 = 64,          // [w] 19.5 TFLOP/s
      .mma_sync_share = 1,        // [l] 310.6 of 312 TFLOP/s
      .mma_sync_fp8_share = 1,    // it has none
      .wgmma_least = 0,           // it has none
      .wavefront_bytes = 128,     // 32 banks of 4 bytes
      .beside_wgmma_64 = 1,       // it has none
      .beside_wgmma_256 = 1,
      .l2_port = 64,           // assumed
      .l2_port_bulk = 64,      // it has no such copies
      .l2_port_store = 32,     // assumed: as of H100
      .l2_bytes_all = 5120,    // [w] the section on the L2 cache
      .memory_gb_per_s = 2039, // [w]
      .memory_share = 0.91,    // assumed: as of H200
      .l2_capacity = 40 << 20, // [w]
      .latency = {.alu = 4,    // assumed, as all latencies here without a source
                  .half = 4,
                  .wide = 5,
                  .fp64 = 8,
                  .special = 18,
                  .conversion = 18,
                  .shuffle = 24,
                  .redux = 44,
                  .match = 376,
                  .mma = 25, // [l] m16n8k16, fp16: 24.6
                  .mma_short = 18,
                  .mma_fp8 = 25,
                  .mma_fp64 = 18,
                  .wgmma = 0, // it has none
                  .wgmma_registers = 0,
                  .shared = 23,
                  .shared_wavefront = 2.5,
                  .l1 = 38,      // [l] 37.9
                  .l2 = 262,     // [l] 261.5
                  .memory = 466, // [l] 466.3
                  .store = 430,
                  .remote = 0, // it has no clusters
                  .copy_engine = 0,
                  .bulk_copy = 0,
                  .bulk_read = 0,
                  .barrier = 12.6,
                  .barrier_warp = 1.83,
                  .mbarrier = 41,
                  .mbarrier_arrival = 17,
                  .cluster_barrier = 0,
                  .fence = 12,
                  .fence_proxy = 0,
                  .fence_wide = 268},
      .memory_queue = 16,     // assumed
      .instruction_fetch = 3, // assumed: what short kernels with cold caches take longer
      .block_start = 336,     // assumed: as of H100
      .block_interval = 155,  // assumed: as of H100
  };
}

Gpu h100() {
  return {
      .name = "h100",
      .title = "H100 SXM5 80 GB",
      .target = "sm_90a",
      .clock_mhz = 1830,            // [w] at which its tensor rates are given
      .multiprocessors = 132,       // [w]
      .threads = 2048,              // [w]
      .blocks = 32,                 // [w]
      .registers = 65536,           // [w]
      .shared_bytes = 228 * 1024,   // [w]
      .shared_reserved = 1024,      // [c]
      .fp32 = 128,                  // [p]
      .fp32_half = 128,             // [p] packed instructions: 256 half-precision results
      .int32 = 64,                  // [p]
      .fp64 = 64,                   // [w] FP64 cores
      .special = 16,                // [f], [t]
      .conversion = 16,             // [p] "all other type conversions", [t]
      .int_to_float = 64,           // [t] 32-bit integers to fp32: as other integer operations
      .resizing = 64,               // [p] from 8 and 16 bits to 32, [t] as other integer operations
      .tensor_16bit = 2048,         // [w] 989 TFLOP/s, [t]
      .tensor_tf32 = 1024,          // [w] 495 TFLOP/s, [t]
      .tensor_8bit = 4096,          // [w] 1979 TOP/s, [t]
      .tensor_4bit = 4096,          // assumed: it has no such products any more
      .tensor_1bit = 16384,         // assumed
      .tensor_fp64 = 128,           // [w] 67 TFLOP/s, at 1980 MHz, [t]
      .mma_sync_share = 0.666,      // [t] 1364 of 2048
      .mma_sync_fp8_share = 0.2,    // [t] 796 of 4096
      .wgmma_least = 13,            // [t] m64n8k16, A in registers
      .wavefront_bytes = 128,       // 32 banks of 4 bytes, [t]
      .beside_wgmma_64 = 0.37,      // [t] 48 of 128 bytes a cycle
      .beside_wgmma_256 = 0.25,     // [t] 32
      .l2_port = 84,                // [t]
      .l2_port_bulk = 107,          // [t]
      .l2_port_store = 32,          // [t] stores 33, copies in bulk 34
      .l2_bytes_all = 4559,         // [t]
      .memory_gb_per_s = 3350,      // [w]
      .memory_share = 0.91,         // assumed: as of H200
      .l2_capacity = 33 << 20,      // assumed: of its 50 MB [w] what H200 gives of its 60 MB
      .latency = {.alu = 4,         // [t], as all latencies
                  .half = 8,        // fma, add; max and min: 4
                  .wide = 12,       // mad.wide; mul.hi: 9
                  .fp64 = 8,        //
                  .special = 17,    // 16.9
                  .conversion = 17, // 16.9
                  .shuffle = 24,    // bfly 24.0, idx 26.1
                  .redux = 44,
                  .match = 376,
                  .mma = 24.4,       // m16n8k16 of 16 bits, m16n8k32 of 8, m16n8k8 of tf32
                  .mma_short = 17.3, // half as deep
                  .mma_fp8 = 44,
                  .mma_fp64 = 18,        // m8n8k4 26, m16n8k8 50, m16n8k16 82
                  .wgmma = 57,           // n = 256: 67
                  .wgmma_registers = 47, // n = 256: 56
                  .shared = 23,
                  .shared_wavefront = 2.5, // ld.shared.v4 32, ldmatrix.x4 29; assumed for conflicts
                  .l1 = 34,
                  .l2 = 280, // 254 to 313
                  .memory = 683,
                  .store = 449,      // st.global and a fence
                  .remote = 198,     // a load
                  .copy_engine = 58, // tensor copies: 340
                  .bulk_copy = 4,    // 286
                  .bulk_read = 38,   // 1 KB
                  .barrier = 12.6,   // with the next: 1 warp 14, 4 warps 20, 8 27, 16 42, 32 71
                  .barrier_warp = 1.83,
                  .mbarrier = 41,
                  .mbarrier_arrival = 17, // two warps that wait for each other: 116
                  .cluster_barrier = 73,  // .relaxed: 73 to 97
                  .fence = 12,            // 8 to 16
                  .fence_proxy = 148,     // with .shared::cta as .fence
                  .fence_wide = 268},
      .memory_queue = 16,     // assumed
      .instruction_fetch = 3, // assumed: what short kernels with cold caches take longer
      .block_start = 336,     // [t] 316 to 410, by threads
      .block_interval = 155,  // [t] 155 to 183, by threads
  };
}

/// An H100 with other memory.
Gpu h200() {
  Gpu gpu = h100();
  gpu.name = "h200";
  gpu.title = "H200 SXM 141 GB";
  gpu.clock_mhz = 1980;       // [t] while all multiprocessors calculate
  gpu.memory_gb_per_s = 4800; // data sheet
  gpu.memory_share = 0.91;    // [t] 4356
  gpu.l2_capacity = 40 << 20; // [t] what is read over and over at full rate; 60 MB by the driver
  return gpu;
}

} // namespace

const std::vector<Gpu>& gpu_table() {
  static const std::vector<Gpu> table{a100(), h100(), h200()};
  return table;
}

const Gpu& find_gpu(std::string_view name) {
  for (const Gpu& g : gpu_table())
    if (g.name == name || g.target == name || (name.starts_with("sm_90") && g.target == "sm_90a")) return g;
  std::string known;
  for (const Gpu& g : gpu_table()) known += (known.empty() ? "" : ", ") + std::string(g.name);
  throw Error("the time estimate knows no GPU '" + std::string(name) + "': it knows " + known);
}

} // namespace tilejit::runtime
