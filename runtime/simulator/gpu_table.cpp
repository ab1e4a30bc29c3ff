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
//   assumed: no public source that we know of, a rounded guess from several, or one that we don't follow.
// [c], [p], [l] and [m] were checked against what others quote of these tables, not in the documents themselves.
#include "runtime/simulator/gpu_table.h"

#include "runtime/device.h"

namespace tilejit::runtime {

const std::vector<Gpu>& gpu_table() {
  static const std::vector<Gpu> table{
      {
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
          .resizing = 64,             // [p] from 8 and 16 bits to 32; assumed for fp32 to 16 bits too, where [p] has 16
          .tensor_16bit = 1024,       // [w] 312 TFLOP/s
          .tensor_tf32 = 512,         // [w] 156 TFLOP/s
          .tensor_8bit = 2048,        // [w] 624 TOP/s
          .tensor_4bit = 4096,        // [w] 1248 TOP/s
          .tensor_1bit = 16384,       // [w] 4992 TOP/s
          .tensor_fp64 = 64,          // [w] 19.5 TFLOP/s
          .mma_sync_share = 1,        // [l] 310.6 of 312 TFLOP/s
          .wavefront_bytes = 128,     // 32 banks of 4 bytes
          .l2_port = 64,              // assumed
          .l2_bytes_all = 5120,       // [w] the section on the L2 cache
          .memory_gb_per_s = 2039,    // [w]
          .l2_capacity = 40 << 20,    // [w]
          .latency = {.alu = 4,       // assumed: as of Volta and later, by many measurements
                      .fp64 = 8,      // assumed
                      .special = 18,  // assumed
                      .conversion = 12, // assumed
                      .shuffle = 23,    // assumed
                      .mma = 25,        // [l] m16n8k16, fp16: 24.6
                      .wgmma = 0,       // it has none
                      .shared = 29,     // [l]
                      .l1 = 38,         // [l] 37.9
                      .l2 = 262,        // [l] 261.5
                      .memory = 466,    // [l] 466.3
                      .copy_engine = 0, // it has none
                      .barrier = 20,    // assumed
                      .fence = 20},     // assumed
          .memory_queue = 16,           // assumed
          .block_start = 200,           // assumed
      },
      {
          .name = "h100",
          .title = "H100 SXM5 80 GB",
          .target = "sm_90a",
          .clock_mhz = 1830,          // [w] at which its tensor rates are given
          .multiprocessors = 132,     // [w]
          .threads = 2048,            // [w]
          .blocks = 32,               // [w]
          .registers = 65536,         // [w]
          .shared_bytes = 228 * 1024, // [w]
          .shared_reserved = 1024,    // [c]
          .fp32 = 128,                // [p]
          .fp32_half = 128,           // [p] packed instructions: 256 half-precision results
          .int32 = 64,                // [p]
          .fp64 = 64,                 // [w] FP64 cores
          .special = 16,              // [f]
          .conversion = 16,           // [p] "all other type conversions"
          .resizing = 64,             // [p] from 8 and 16 bits to 32; assumed for fp32 to 16 bits too, where [p] has 16
          .tensor_16bit = 2048,       // [w] 989 TFLOP/s
          .tensor_tf32 = 1024,        // [w] 495 TFLOP/s
          .tensor_8bit = 4096,        // [w] 1979 TOP/s
          .tensor_4bit = 4096,        // assumed: it has no such products any more
          .tensor_1bit = 16384,       // assumed
          .tensor_fp64 = 128,         // [w] 67 TFLOP/s, at 1980 MHz
          .mma_sync_share = 0.63,     // [l] on the average of types and shapes
          .wavefront_bytes = 128,     // 32 banks of 4 bytes
          .l2_port = 64,              // assumed
          .l2_bytes_all = 5120,       // assumed: as of A100
          .memory_gb_per_s = 3350,    // [w]
          .l2_capacity = 50 << 20,    // [w]
          .latency = {.alu = 4,       // assumed: as of Volta and later, by many measurements
                      .fp64 = 8,      // assumed
                      .special = 18,  // assumed
                      .conversion = 12,   // assumed
                      .shuffle = 23,      // assumed
                      .mma = 24,          // [l] m16n8k16, fp16: 24.1
                      .wgmma = 32,        // assumed: from the last operands to the wait's end
                      .shared = 29,       // [l]
                      .l1 = 41,           // [l] 40.7
                      .l2 = 263,          // [l] 263.0
                      .memory = 479,      // [l] 478.8
                      .copy_engine = 170, // [m] that a tensor copy takes more than a load
                      .barrier = 20,      // assumed
                      .fence = 20},       // assumed
          .memory_queue = 16,             // assumed
          .block_start = 200,             // assumed
      },
  };
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
