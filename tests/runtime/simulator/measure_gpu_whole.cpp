// measure_gpu_whole.cpp - what all multiprocessors do together: memory, L2, launches and blocks.
#include "runtime/simulator/gpu_table.h"
#include "tests/runtime/simulator/measure_gpu.h"

#include <algorithm>
#include <map>

namespace tilejit::measure {
namespace {

constexpr const char* group = "Whole GPU";
const runtime::Gpu& h100() { return runtime::find_gpu("h100"); }

constexpr const char* begin_text =
    "(.param .u64 out, .param .u64 in, .param .u64 repeats, .param .u64 zero, .param .u64 argument)\n";
constexpr uint32_t in_flight = 8; ///< loads of 16 bytes that a thread has under way

/// Every thread of the grid reads 16 bytes again and again, the grid's size further each time, and from the begin again
/// behind the end: argument / 2^32 loads for each of `in_flight`, of an array of argument % 2^32 times 4096 bytes.
/// With `copies` it writes what it reads to the half of the array behind.
Kernel read_kernel(const std::string& name, uint32_t threads, bool copies) {
  std::string loads, sink;
  for (uint32_t n = 0; n < in_flight; ++n) {
    const std::string v = "{%v" + number(4 * n) + ", %v" + number(4 * n + 1) + ", %v" + number(4 * n + 2) + ", %v" +
                          number(4 * n + 3) + "}";
    loads += "add.u64 %at, %in, %offset;\nld.global.cg.v4.b32 " + v + ", [%at];\nadd.u64 %w" + number(n) +
             ", %at, %size;\nadd.u64 %offset, %offset, %step;\nsetp.ge.u64 %p0, %offset, %size;\n@%p0 sub.u64 %offset, "
             "%offset, %size;\n";
    sink += copies ? "st.global.cg.v4.b32 [%w" + number(n) + "], " + v + ";\n" : "";
    for (uint32_t i = 0; i < 4 && !copies; ++i)
      sink += "xor.b32 %s" + number(i) + ", %s" + number(i) + ", %v" + number(4 * n + i) + ";\n";
  }
  return {.name = name,
          .ptx = std::string(".version 8.0\n.target sm_90a\n.address_size 64\n.visible .entry k") + begin_text +
                 ".maxntid " + number(threads) +
                 ", 1, 1\n{\n.reg .b32 %v<32>; .reg .b32 %s<4>; .reg .b64 %w<8>; .reg .b64 %clk<4>; .reg .b64 %in; "
                 ".reg .b64 %out; .reg .b64 %offset; .reg .b64 %step; .reg .b64 "
                 "%size; .reg .b64 %at; .reg .b64 %n; .reg .b64 %zero; .reg .b32 %r<8>; .reg .pred %p0;\n"
                 "mov.u64 %clk0, %clock64;\nld.param.u64 %out, [out];\nld.param.u64 %in, [in];\nld.param.u64 %zero, "
                 "[zero];\nld.param.u64 %n, [argument];\n"
                 "cvt.u32.u64 %r0, %n;\nshr.u64 %n, %n, 32;\nmul.wide.u32 %size, %r0, 4096;\nmov.u32 %r0, "
                 "%ctaid.x;\nmov.u32 %r1, %ntid.x;\nmov.u32 %r2, %tid.x;\n"
                 "mad.lo.u32 %r3, %r0, %r1, %r2;\nmul.wide.u32 %offset, %r3, 16;\nmov.u32 %r4, %nctaid.x;\nmul.lo.u32 "
                 "%r4, %r4, %r1;\nmul.wide.u32 %step, %r4, 16;\n"
                 "shr.u32 %r5, %r3, 5;\nmad.wide.u32 %out, %r5, 32, %out;\nmov.b32 %s0, %r3;\nmov.b32 %s1, "
                 "%r3;\nmov.b32 %s2, %r3;\nmov.b32 %s3, %r3;\nLOOP:\n" +
                 loads + sink +
                 "sub.u64 %n, %n, 1;\nsetp.ne.u64 %p0, %n, 0;\n@%p0 bra LOOP;\n"
                 // The clock is read when all has come: the sum is needed for the predicate.
                 "xor.b32 %s0, %s0, %s1;\nxor.b32 %s2, %s2, %s3;\nxor.b32 %s0, %s0, %s2;\nbar.sync 0;\ncvt.u32.u64 "
                 "%r6, %zero;\nand.b32 %s0, %s0, %r6;\nsetp.ne.u32 %p0, %s0, 0;\n@%p0 bra NEVER;\n"
                 "mov.u64 %clk1, %clock64;\nst.global.v2.b64 [%out], {%clk0, %clk1};\nst.global.v2.b64 [%out+16], "
                 "{%clk0, %clk1};\nNEVER:\nret;\n}\n",
          .threads = threads,
          .counted = copies ? "LDG.*128|STG.*128" : "LDG.*128",
          .counted_less = (copies ? 2 : 1) * in_flight};
}

/// The argument for an array and how many loads each thread makes; `times`: the array is read so often.
uint64_t reading(uint64_t bytes, uint32_t blocks, uint32_t threads, double times) {
  const double each = static_cast<double>(bytes) * times / (double{16} * in_flight * blocks * threads);
  return static_cast<uint64_t>(std::max(1.0, std::round(each))) << 32 | bytes / 4096;
}
double bytes_read(uint64_t argument, uint32_t blocks, uint32_t threads) {
  return static_cast<double>(argument >> 32) * 16 * in_flight * blocks * threads;
}

constexpr uint32_t read_threads = 1024, blocks_each = 2;

Measurement memory_rates() {
  return {group,
          "memory bandwidth",
          {read_kernel("read memory", read_threads, false), read_kernel("copy memory", read_threads, true)},
          [](Machine& m, const std::vector<Kernel>& kernels) {
            const uint32_t blocks = blocks_each * m.multiprocessors();
            const uint64_t bytes = m.brief() ? 8 << 20 : 2ull << 30;
            const uint64_t in = m.space(bytes).address();
            std::vector<Result> all;
            for (const bool copies : {false, true}) {
              auto module = m.load(kernels[copies]);
              const uint64_t argument = reading(bytes / 2, blocks, read_threads, 1);
              std::vector<double> rates;
              for (int launch = 0; launch < 7; ++launch) {
                m.flush_l2();
                m.device().synchronize();
                rates.push_back((copies ? 2 : 1) * bytes_read(argument, blocks, read_threads) /
                                m.time(*module, blocks, in, argument) / 1e6);
                if (m.brief()) break;
              }
              all.push_back({copies ? "copying 1 GB, bytes read and written" : "reading 1 GB", median(rates), "GB/s",
                             h100().memory_gb_per_s});
            }
            return all;
          }};
}

Measurement l2_rates() {
  return {group,
          "L2 bandwidth",
          {read_kernel("read L2", read_threads, false)},
          [](Machine& m, const std::vector<Kernel>& kernels) {
            auto module = m.load(kernels[0]);
            const uint32_t blocks = blocks_each * m.multiprocessors();
            const uint64_t in = m.space(m.brief() ? 8 << 20 : 96 << 20).address();
            auto cycles_of = [&](uint32_t grid, uint64_t argument) { // of the block that takes longest
              double most = 0;
              for (const Clocks& c : m.run(*module, grid, 1, in, argument))
                most = std::max(most, static_cast<double>(c.end_less - c.begin_less));
              return most;
            };
            auto rate = [&](uint32_t grid, uint64_t bytes, double times) {
              const uint64_t argument = reading(bytes, grid, read_threads, times);
              std::vector<double> rates;
              cycles_of(grid, argument);
              for (int launch = 0; launch < (m.brief() ? 1 : 5); ++launch)
                rates.push_back(bytes_read(argument, grid, read_threads) / cycles_of(grid, argument));
              return median(rates);
            };
            std::vector<Result> all;
            const uint64_t mb = 1 << 20;
            all.push_back({"L2: one multiprocessor reads 1 MB, one block of 1024 threads",
                           rate(1, mb, m.brief() ? 1 : 8), "bytes a cycle", h100().l2_port});
            if (m.brief()) return all;
            all.push_back({"L2: one multiprocessor reads 16 MB, one block of 1024 threads", rate(1, 16 * mb, 1),
                           "bytes a cycle", h100().l2_port});
            for (uint32_t part : {8u, 4u, 2u})
              all.push_back({"L2: a block on 1 of " + number(part) + " multiprocessors, 16 MB (each)",
                             rate(m.multiprocessors() / part, 16 * mb, 8) / (m.multiprocessors() / part),
                             "bytes a cycle", h100().l2_port});
            all.push_back(
                {"L2: all multiprocessors, 16 MB", rate(blocks, 16 * mb, 64), "bytes a cycle", h100().l2_bytes_all});
            for (uint64_t size : {8, 16, 24, 32, 40, 48, 56, 64, 96}) {
              const uint64_t argument = reading(size * mb, blocks, read_threads, 1024.0 / static_cast<double>(size));
              std::vector<double> rates;
              m.time(*module, blocks, in, argument);
              for (int launch = 0; launch < 5; ++launch)
                rates.push_back(bytes_read(argument, blocks, read_threads) / m.time(*module, blocks, in, argument) /
                                1e6);
              all.push_back({"reading " + number(size) + " MB over and over", median(rates), "GB/s"});
            }
            return all;
          }};
}

Kernel block_kernel(const std::string& name, uint32_t threads, uint32_t shared) {
  // Of each warp: the multiprocessor, and its first and last moment.
  return {.name = name,
          .ptx = std::string(".version 8.0\n.target sm_90a\n.address_size 64\n.extern .shared .align 16 .b8 "
                             "area[];\n.visible .entry k") +
                 begin_text +
                 "{\n.reg .b64 %rd<8>; .reg .b32 %r<8>; .reg .b64 %clk<2>;\nmov.u64 %clk0, %clock64;\nld.param.u64 "
                 "%rd0, [out];\nmov.u32 %r0, %ctaid.x;\nmov.u32 %r1, "
                 "%ntid.x;\nmov.u32 %r2, %tid.x;\nmad.lo.u32 %r3, %r0, %r1, %r2;\nshr.u32 %r3, %r3, 5;\nmad.wide.u32 "
                 "%rd0, %r3, 32, %rd0;\nmov.u32 %r4, %smid;\n"
                 "cvt.u64.u32 %rd1, %r4;\nmov.u32 %r5, area;\ncvt.u64.u32 %rd2, %r5;\nst.global.v2.b64 [%rd0], {%clk0, "
                 "%rd1};\nmov.u64 %clk1, %clock64;\nst.global.v2.b64 [%rd0+16], {%rd2, "
                 "%clk1};\nret;\n}\n",
          .threads = threads,
          .shared = shared};
}

Measurement block_starts() {
  Measurement all{group, "block starts", {}, {}};
  for (uint32_t threads : {32u, 128u, 384u, 1024u})
    all.kernels.push_back(block_kernel("blocks of " + number(threads) + " threads", threads, 200 * 1024));
  all.run = [](Machine& m, const std::vector<Kernel>& kernels) {
    std::vector<Result> results;
    for (const Kernel& kernel : kernels) {
      auto module = m.load(kernel);
      const uint32_t blocks = m.multiprocessors() * (m.brief() ? 2 : 16), warps = kernel.threads / 32;
      std::vector<double> gaps;
      for (int launch = 0; launch < (m.brief() ? 1 : 5); ++launch) {
        // One block fits in a multiprocessor: from the end of one to the begin of the next.
        const std::vector<Clocks> clocks = m.run(*module, blocks, 1);
        std::map<uint64_t, std::vector<std::pair<uint64_t, uint64_t>>> spans;
        for (uint32_t b = 0; b < blocks; ++b) {
          uint64_t begin = ~uint64_t{0}, end = 0;
          for (uint32_t w = 0; w < warps; ++w) {
            const Clocks& c = clocks[size_t{b} * warps + w];
            begin = std::min(begin, c.begin_less), end = std::max(end, c.end_more);
          }
          spans[clocks[size_t{b} * warps].end_less].push_back({begin, end});
        }
        for (auto& [multiprocessor, all_spans] : spans) {
          std::sort(all_spans.begin(), all_spans.end());
          for (size_t i = 1; i < all_spans.size(); ++i)
            gaps.push_back(static_cast<double>(all_spans[i].first) - static_cast<double>(all_spans[i - 1].second));
        }
      }
      results.push_back({kernel.name + ": from the last store of one to the begin of the next in its place",
                         median(gaps), "cycles", h100().block_start});
      results.push_back({kernel.name + ": the same, shortest",
                         gaps.empty() ? no_value : *std::min_element(gaps.begin(), gaps.end()), "cycles"});
    }
    return results;
  };
  return all;
}

Measurement launches() {
  const char* empty = "{\nret;\n}\n";
  auto kernel = [&](const std::string& name, uint32_t threads, uint32_t shared) {
    return Kernel{.name = name,
                  .ptx = std::string(".version 8.0\n.target sm_90a\n.address_size 64\n.visible .entry k") + begin_text +
                         empty,
                  .threads = threads,
                  .shared = shared};
  };
  return {group,
          "launches",
          {kernel("empty kernel, 32 threads", 32, 0), kernel("empty kernel, 1024 threads", 1024, 0),
           kernel("empty kernel, 32 threads and 200 KB", 32, 200 * 1024)},
          [](Machine& m, const std::vector<Kernel>& kernels) {
            std::vector<Result> all;
            for (const Kernel& k : kernels) {
              auto module = m.load(k);
              auto least = [&](uint32_t blocks, uint32_t count) {
                double best = 1e30;
                for (int i = 0; i < (m.brief() ? 1 : 7); ++i)
                  best = std::min(best, m.time(*module, blocks, m.input().address(), 0, count));
                return 1e3 * best;
              };
              const uint32_t some = m.brief() ? 2 : 16, more = m.brief() ? 4 : 256, sm = m.multiprocessors();
              least(1, 1);
              all.push_back({k.name + ": one launch between events", least(1, 1), "us"});
              all.push_back({k.name + ": a further launch", (least(1, 200) - least(1, 100)) / 100, "us"});
              const double each = (least(sm * more, 1) - least(sm * some, 1)) / (more - some);
              all.push_back({k.name + ": a further block on each multiprocessor", each * m.clock_mhz(), "cycles"});
            }
            return all;
          }};
}

Measurement clock_rate() {
  return {group, "clock", {clock_kernel()}, [](Machine& m, const std::vector<Kernel>&) {
            return std::vector<Result>{
                {"clock while all multiprocessors calculate", m.clock_mhz(), "MHz", h100().clock_mhz},
                {"multiprocessors", double{1} * m.multiprocessors(), "", double{1} * h100().multiprocessors}};
          }};
}

} // namespace

std::vector<Measurement> whole_gpu() { return {clock_rate(), launches(), block_starts(), l2_rates(), memory_rates()}; }

} // namespace tilejit::measure
