// gpu_table.cpp - see gpu_table.h.
//
// Sources, by the letter behind each number:
//   [w] NVIDIA's white papers: "A100 Tensor Core GPU Architecture" (2020), "H100 Tensor Core GPU Architecture" (2022),
//       and the data sheets of the SXM boards. Tensor rates: dense FLOP/s / (2 x multiprocessors x clock).
//   [p] CUDA C++ Programming Guide: tables "Throughput of Native Arithmetic Instructions" and "Technical Specifications
//       per Compute Capability", columns 8.0 and 9.0.
//   [l] Luo et al., "Benchmarking and Dissecting the Nvidia Hopper GPU Architecture via Microbenchmarking",
//       arXiv:2402.13499 (2024).
//   assumed: no public source that we know of, or a rounded guess from several.
// Figures of [p] and [l] were written down from memory of these tables: check one before you lean on it.
#include "runtime/simulator/gpu_table.h"

#include "runtime/device.h"

namespace tilejit::runtime {

const std::vector<Gpu>& gpu_table() {
  static const std::vector<Gpu> table{
      {
          .name = "a100",
          .title = "A100 SXM4 80 GB",
          .target = "sm_80",
          .clock_mhz = 1410,            // [w] boost
          .multiprocessors = 108,       // [w]
          .threads = 2048,              // [p]
          .blocks = 32,                 // [p]
          .registers = 65536,           // [p]
          .shared_bytes = 164 * 1024,   // [p]
          .shared_reserved = 1024,      // [p]
          .fp32 = 64,                   // [p]
          .fp32_half = 128,             // [p] packed instructions: 256 half-precision results
          .int32 = 64,                  // [p]
          .fp64 = 32,                   // [p]
          .special = 16,                // [p]
          .conversion = 64,             // [p] between 32-bit types
          .tensor_16bit = 1024,         // [w] 312 TFLOP/s
          .tensor_tf32 = 512,           // [w] 156 TFLOP/s
          .tensor_8bit = 2048,          // [w] 624 TOP/s
          .tensor_4bit = 4096,          // [w] 1248 TOP/s
          .tensor_1bit = 16384,         // [w] 4992 TOP/s
          .tensor_fp64 = 64,            // [w] 19.5 TFLOP/s
          .mma_sync_share = 1,          // [l]
          .wavefront_bytes = 128,       // [p] 32 banks of 4 bytes
          .l2_port = 64,                // [w]
          .l2_bytes_all = 5120,         // [w]
          .memory_gb_per_s = 2039,      // [w]
          .l2_capacity = 40 << 20,      // [w]
          .latency = {.alu = 4,         // assumed: as of Volta and later, by many measurements
                      .fp64 = 8,        // assumed
                      .special = 18,    // assumed
                      .conversion = 12, // assumed
                      .shuffle = 23,    // assumed
                      .mma = 25,        // [l] m16n8k16
                      .wgmma = 0,       // it has none
                      .shared = 29,     // [l]
                      .l1 = 38,         // [l]
                      .l2 = 262,        // [l]
                      .memory = 466,    // [l]
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
          .clock_mhz = 1830,              // [w] at which its tensor rates are given
          .multiprocessors = 132,         // [w]
          .threads = 2048,                // [p]
          .blocks = 32,                   // [p]
          .registers = 65536,             // [p]
          .shared_bytes = 228 * 1024,     // [p]
          .shared_reserved = 1024,        // [p]
          .fp32 = 128,                    // [p]
          .fp32_half = 128,               // [p] packed instructions: 256 half-precision results
          .int32 = 64,                    // [p]
          .fp64 = 64,                     // [p]
          .special = 16,                  // [p]
          .conversion = 64,               // [p] between 32-bit types
          .tensor_16bit = 2048,           // [w] 989 TFLOP/s
          .tensor_tf32 = 1024,            // [w] 495 TFLOP/s
          .tensor_8bit = 4096,            // [w] 1979 TOP/s
          .tensor_4bit = 4096,            // assumed: it has no such products any more
          .tensor_1bit = 16384,           // assumed
          .tensor_fp64 = 128,             // [w] 67 TFLOP/s
          .mma_sync_share = 0.63,         // [l]
          .wavefront_bytes = 128,         // [p] 32 banks of 4 bytes
          .l2_port = 64,                  // assumed: as of A100
          .l2_bytes_all = 5120,           // assumed: as of A100
          .memory_gb_per_s = 3350,        // [w]
          .l2_capacity = 50 << 20,        // [w]
          .latency = {.alu = 4,           // assumed: as of Volta and later, by many measurements
                      .fp64 = 8,          // assumed
                      .special = 18,      // assumed
                      .conversion = 12,   // assumed
                      .shuffle = 23,      // assumed
                      .mma = 33,          // [l] m16n8k16
                      .wgmma = 32,        // assumed: from the last operands to the wait's end
                      .shared = 29,       // [l]
                      .l1 = 41,           // [l]
                      .l2 = 263,          // [l]
                      .memory = 479,      // [l]
                      .copy_engine = 170, // [l] that a tensor copy takes more than a load
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
