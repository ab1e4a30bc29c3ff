// measure_gpu_waits.cpp - latencies of memory, of barriers and fences, and of copies: from their begin to the end of
// the wait for them.
#include "runtime/simulator/gpu_table.h"
#include "runtime/simulator/tensormap.h"
#include "tests/runtime/simulator/measure_gpu.h"

#include <algorithm>
#include <span>

namespace tilejit::measure {
namespace {

constexpr const char* memory_group = "Latencies of memory";
constexpr const char* barrier_group = "Latencies of barriers and fences";
constexpr const char* copy_group = "Latencies of copies, from issue to the wait's end";

/// Steps one after another, of which each waits for the one before. '~' in the text is the step's number, '^' its
/// number modulo 2: the phase of an mbarrier.
struct Chain {
  std::string name, setup, step;
  double table = no_value;
  uint32_t less = 16, more = 64;
  uint32_t threads = 32, cluster = 0, since = 80, shared = 16384;
  bool one_thread = false;
  std::string machine_code = "";
  uint32_t machine_instructions = 1;
  std::string unit = "cycles";
  double subtract = 0; ///< of what the step has beside what is measured
};

std::string repeated(const std::string& step, uint32_t count, uint32_t first) {
  std::string text;
  for (uint32_t n = first; n < first + count; ++n)
    text += replaced(replaced(step, "~", number(n)), "^", number(n % 2)) + "\n";
  return text;
}

Kernel kernel_of(const Chain& c) {
  Parts p{.name = c.name,
          .setup = c.setup,
          .less = repeated(c.step, c.less, 0),
          .more = repeated(c.step, c.more, c.less),
          .threads = c.threads,
          .shared = c.shared,
          .cluster = c.cluster,
          .since = c.since,
          .one_thread = c.one_thread};
  p.counted = c.machine_code, p.counted_less = c.less * c.machine_instructions,
  p.counted_more = c.more * c.machine_instructions;
  return kernel_of(p);
}

double least(Machine& m, runtime::Module& module, const Chain& c, uint64_t in = 0, uint64_t argument = 0) {
  Cycles best{1e30, 1e30};
  for (const Cycles& now : m.cycles(module, std::max(1u, c.cluster), c.threads / 32, in, argument))
    best = {std::min(best.less, now.less), std::min(best.more, now.more)};
  return (best.more - best.less) / (c.more - c.less) - c.subtract;
}

/// The chain in a space of its own, which is its argument.
Measurement measured(const std::string& group, const Chain& c) {
  return {group, c.name, {kernel_of(c)}, [=](Machine& m, const std::vector<Kernel>& kernels) {
            auto module = m.load(kernels[0]);
            const uint64_t space = m.space(1 << 20).address();
            double best = 1e30;
            for (int launch = 0; launch < 3; ++launch) best = std::min(best, least(m, *module, c, 0, space));
            return std::vector<Result>{{c.name, best, c.unit, c.table}};
          }};
}

const runtime::Gpu& h100() { return runtime::find_gpu("h100"); }
const runtime::Gpu::Latencies& table() { return h100().latency; }

// --- memory ----------------------------------------------------------------------------------------------------------

/// One line after another, each of another part of L2.
Measurement l2_by_line() {
  Chain c{.name = "ld.global.cg.b64 by line, hits in L2",
          .setup = "mov.u64 %dx0, %rd3;\nst.global.b64 [%dx0], %dx0;\nfence.acq_rel.gpu;\n",
          .step = "ld.global.cg.b64 %dx0, [%dx0];",
          .one_thread = true,
          .machine_code = "LDG"};
  return {memory_group, c.name, {kernel_of(c)}, [=](Machine& m, const std::vector<Kernel>& kernels) {
            auto module = m.load(kernels[0]);
            const uint32_t lines = m.brief() ? 2 : 256;
            const uint64_t space = m.space(4 << 20).address();
            std::vector<double> all;
            for (uint32_t i = 0; i < lines; ++i)
              all.push_back(least(m, *module, c, 0, space + i * uint64_t{4096 + 128}));
            std::sort(all.begin(), all.end());
            auto at = [&](double part) { return all[static_cast<size_t>(part * static_cast<double>(all.size() - 1))]; };
            return std::vector<Result>{{"L2 hit, mean of " + number(lines) + " lines",
                                        [&] {
                                          double sum = 0;
                                          for (double v : all) sum += v;
                                          return sum / static_cast<double>(all.size());
                                        }(),
                                        "cycles", table().l2},
                                       {"L2 hit, nearest line", all.front(), "cycles"},
                                       {"L2 hit, lower quarter", at(0.25), "cycles"},
                                       {"L2 hit, median", at(0.5), "cycles"},
                                       {"L2 hit, upper quarter", at(0.75), "cycles"},
                                       {"L2 hit, farthest line", all.back(), "cycles"}};
          }};
}

/// A chain over lines that are not in L2: what it held has been replaced since they were written.
Measurement memory_chase(const std::string& name, uint64_t stride, uint32_t steps, double row) {
  Chain c{.name = name,
          .setup = "mov.u64 %dx0, %rd3;\n",
          .step = "ld.global.cg.b64 %dx0, [%dx0];",
          .less = steps / 4,
          .more = steps,
          .one_thread = true,
          .machine_code = "LDG"};
  return {memory_group, name, {kernel_of(c)}, [=](Machine& m, const std::vector<Kernel>& kernels) {
            auto module = m.load(kernels[0]);
            // The space is the measurement's own: other contents would be no addresses. Each repetition goes on where
            // the one before ended, so that no line is read twice.
            const uint64_t lines = uint64_t{m.repeats()} * (c.less + c.more) + 1;
            auto space = m.device().allocate(lines * stride);
            for (uint64_t i = 0; i < lines; ++i) {
              const uint64_t next[1] = {space->address() + (i + 1) % lines * stride};
              m.device().upload(*space, i * stride, std::as_bytes(std::span(next)));
            }
            std::vector<double> all;
            for (int launch = 0; launch < (m.brief() ? 1 : 3); ++launch) {
              m.flush_l2();
              for (const Cycles& now : m.cycles(*module, 1, 1, 0, space->address()))
                all.push_back((now.more - now.less) / (c.more - c.less));
            }
            return std::vector<Result>{{name, median(all), "cycles", row}};
          }};
}

void add_memory(std::vector<Measurement>& all) {
  auto add = [&](Chain c) { all.push_back(measured(memory_group, c)); };
  const std::string words = "shl.b32 %a5, %r0, 2;\nadd.u32 %a5, %a5, %r1;\n";
  add({.name = "ld.shared.b32",
       .setup = words + "st.shared.b32 [%a5], %a5;\nmov.b32 %x0, %a5;\n",
       .step = "ld.shared.b32 %x0, [%x0];",
       .table = table().shared,
       .machine_code = "LDS"});
  add({.name = "ld.shared.v4.b32",
       .setup = "shl.b32 %a5, %r0, 4;\nadd.u32 %x0, %a5, %r1;\nst.shared.v4.b32 [%x0], {%x0, %x0, %x0, %x0};\n",
       .step = "ld.volatile.shared.v4.b32 {%x0, %y0, %z0, %w0}, [%x0];",
       .table = table().shared,
       .machine_code = "LDS\\.128"});
  // Word n of the rows is the address of lane n's own row: what a lane gets is where it reads next.
  add({.name = "ldmatrix.x4",
       .setup = words + "shl.b32 %x0, %r0, 4;\nadd.u32 %x0, %x0, %r1;\nst.shared.b32 [%a5], %x0;\nbar.sync 0;\n",
       .step = "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%x0, %y0, %z0, %w0}, [%x0];",
       .table = table().shared,
       .machine_code = "LDSM.*\\.4"});
  add({.name = "st.shared.b32 + ld.shared.b32",
       .setup = words,
       .step = "st.volatile.shared.b32 [%a5], %x0;\nld.volatile.shared.b32 %x0, [%a5];",
       .machine_code = "LDS|STS",
       .machine_instructions = 2});
  const std::string own = "mad.wide.u32 %dx0, %r0, 8, %rd3;\nst.global.b64 [%dx0], %dx0;\n";
  add({.name = "ld.global.b64, hits in L1",
       .setup = own,
       .step = "ld.global.b64 %dx0, [%dx0];",
       .table = table().l1,
       .machine_code = "LDG"});
  add({.name = "ld.global.ca.b64, hits in L1",
       .setup = own,
       .step = "ld.global.ca.b64 %dx0, [%dx0];",
       .table = table().l1,
       .machine_code = "LDG"});
  all.push_back(l2_by_line());
  all.push_back(memory_chase("Memory, stride 4352 bytes", 4096 + 256, 256, table().memory));
  all.push_back(memory_chase("Memory, stride 16512 bytes", 16384 + 128, 256, table().memory));
  all.push_back(memory_chase("Memory, stride of 2 MB + 256 bytes", (2 << 20) + 256, 32, no_value));
  // Addresses of which the assembler can't know that all lanes have the same: it would add up the lanes' words first.
  const std::string shared_word = "cvt.u32.u64 %a6, %rd4;\nand.b32 %a6, %a6, %r0;\nadd.u32 %a5, %r1, %a6;\n";
  const std::string global_word = "cvt.u64.u32 %rd12, %r0;\nand.b64 %rd12, %rd12, %rd4;\nadd.u64 %rd10, %rd3, %rd12;\n";
  add({.name = "atom.shared.add.u32, one lane",
       .setup = shared_word,
       .step = "atom.shared.add.u32 %x0, [%a5], %x0;",
       .one_thread = true,
       .machine_code = "ATOMS"});
  add({.name = "atom.shared.cas.b32, one lane",
       .setup = shared_word,
       .step = "atom.shared.cas.b32 %x0, [%a5], %x0, %y0;",
       .one_thread = true,
       .machine_code = "ATOMS"});
  add({.name = "atom.global.add.u32, one lane",
       .setup = global_word,
       .step = "atom.global.add.u32 %x0, [%rd10], %x0;",
       .table = table().l2,
       .one_thread = true,
       .machine_code = "ATOMG"});
  add({.name = "atom.global.cas.b32, one lane",
       .setup = global_word,
       .step = "atom.global.cas.b32 %x0, [%rd10], %x0, %y0;",
       .table = table().l2,
       .one_thread = true,
       .machine_code = "ATOMG"});
  add({.name = "red.global.add.u32 of one word, one lane (a further one)",
       .setup = global_word,
       .step = "red.global.add.u32 [%rd10], %x0;",
       .one_thread = true,
       .machine_code = "REDG"});
  add({.name = "ld.acquire.gpu.b64",
       .setup = own,
       .step = "ld.acquire.gpu.global.b64 %dx0, [%dx0];",
       .table = table().l2,
       .machine_code = "LDG"});
  add({.name = "st.release.gpu.b32 + ld.acquire.gpu.b32",
       .setup = global_word,
       .step = "st.release.gpu.global.b32 [%rd10], %x0;\nld.acquire.gpu.global.b32 %x0, [%rd10];",
       .one_thread = true,
       .machine_code = "LDG|STG",
       .machine_instructions = 2});
  // The other block's shared memory.
  add({.name = "ld.shared::cluster.b32 of the other block",
       .setup = "mov.u32 %a6, %cluster_ctarank;\nshl.b32 %a5, %r0, 2;\nadd.u32 %a5, %a5, "
                "%r1;\nmapa.shared::cluster.u32 %a7, %a5, %a6;\n"
                "st.shared.b32 [%a5], %a7;\nxor.b32 %a6, %a6, 1;\nmapa.shared::cluster.u32 %x0, %a5, %a6;\n",
       .step = "ld.shared::cluster.b32 %x0, [%x0];",
       .cluster = 2,
       .machine_code = "LD"});
}

// --- barriers --------------------------------------------------------------------------------------------------------

void add_barriers(std::vector<Measurement>& all) {
  auto add = [&](Chain c) { all.push_back(measured(barrier_group, c)); };
  for (uint32_t threads : {32u, 128u, 256u, 512u, 1024u})
    add({.name = "bar.sync of " + number(threads) + " threads",
         .step = "bar.sync 0;",
         .table = table().barrier,
         .threads = threads,
         .machine_code = "BAR"});
  add({.name = "bar.sync 1, 128 of 128 threads",
       .step = "bar.sync 1, 128;",
       .table = table().barrier,
       .threads = 128,
       .machine_code = "BAR"});
  add({.name = "bar.warp.sync", .step = "bar.warp.sync -1;", .machine_code = "WARPSYNC|NOP"});
  add({.name = "mbarrier.arrive + try_wait of one thread",
       .step = "mbarrier.arrive.shared.b64 %rd11, [%r1+-1024];\nW~:\nmbarrier.try_wait.shared.b64 %p1, [%r1+-1024], "
               "%rd11;\n@!%p1 bra W~;",
       .table = table().shared + table().barrier,
       .one_thread = true,
       .machine_code = "SYNCS",
       .machine_instructions = 2});
  add({.name = "mbarrier.try_wait of a phase that is complete, one thread",
       .step = "W~:\nmbarrier.try_wait.parity.shared.b64 %p1, [%r1+-1024], 1;\n@!%p1 bra W~;",
       .table = table().shared,
       .one_thread = true,
       .machine_code = "SYNCS"});
  // One warp to the other and back: what a consumer waits after its producer's arrival.
  add({.name = "two warps that wait for each other's mbarrier, there and back",
       .setup = "shr.u32 %a5, %r0, 5;\nshl.b32 %a6, %a5, 3;\nadd.u32 %a6, %a6, %r1;\nadd.u32 %a6, %a6, -1024;\nxor.b32 "
                "%a7, %a6, 8;\n"
                "and.b32 %a8, %r0, 31;\nsetp.eq.u32 %p2, %a8, 0;\nsetp.eq.u32 %p3, %a5, 0;\nsetp.ne.u32 %p4, %a5, "
                "0;\nand.pred %p3, %p3, %p2;\nand.pred %p4, %p4, %p2;\n",
       .step = "@%p3 mbarrier.arrive.shared.b64 %rd11, [%a7];\nW~:\nmbarrier.try_wait.parity.shared.b64 %p1, [%a6], "
               "^;\n@!%p1 bra W~;\n@%p4 mbarrier.arrive.shared.b64 %rd11, [%a7];",
       .table = 2 * (table().shared + table().barrier),
       .threads = 64,
       .machine_code = "SYNCS",
       .machine_instructions = 3});
  for (std::string fence : {"fence.acq_rel.cta", "fence.acq_rel.cluster", "fence.acq_rel.gpu", "fence.sc.cta",
                            "fence.sc.gpu", "fence.proxy.async.shared::cta", "fence.proxy.async"}) {
    const double row = fence.ends_with("gpu") ? table().l2 : table().fence;
    add({.name = fence + ", nothing stored",
         .step = fence + ";",
         .table = row,
         .one_thread = true,
         .machine_code = fence.find("proxy") != fence.npos ? "FENCE"
                         : fence.ends_with("cta")          ? "MEMBAR"
                                                           : "MEMBAR.*GPU"});
    add({.name = "st.shared.b32 + " + fence,
         .setup = "mov.b32 %a5, %r1;\n",
         .step = "st.volatile.shared.b32 [%a5], %x0;\n" + fence + ";",
         .table = row,
         .one_thread = true,
         .machine_code = "STS"});
  }
  for (std::string fence : {"fence.acq_rel.cta", "fence.acq_rel.gpu", "fence.sc.gpu"})
    add({.name = "st.global.b32 + " + fence,
         .setup = "mov.u64 %rd10, %rd3;\n",
         .step = "st.volatile.global.b32 [%rd10], %x0;\n" + fence + ";",
         .table = fence.ends_with("gpu") ? table().l2 : table().fence,
         .one_thread = true,
         .machine_code = "STG"});
  for (uint32_t blocks : {2u, 4u, 8u})
    for (uint32_t threads : {32u, 256u})
      for (std::string order : {"", ".relaxed"})
        add({.name = "barrier.cluster.arrive" + order + " + wait, blocks: " + number(blocks) +
                     ", threads of each: " + number(threads),
             .step = "barrier.cluster.arrive" + order + ".aligned;\nbarrier.cluster.wait.aligned;",
             .table = table().shared + table().barrier,
             .threads = threads,
             .cluster = blocks,
             .machine_code = "UCGABAR",
             .machine_instructions = 2});
}

// --- copies ----------------------------------------------------------------------------------------------------------

constexpr uint32_t area = 32 * 1024 + 1024;
const std::string wait_for_bytes = "W~:\nmbarrier.try_wait.parity.shared.b64 %p1, [%r1+-1024], ^;\n@!%p1 bra W~;";

std::string bulk_load(uint32_t bytes, uint32_t from, uint32_t to = 0) {
  return "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r1+" + number(to) + "], [%rd1+" +
         number(from) + "], " + number(bytes) + ", [%r1+-1024];\n";
}
std::string expect(uint32_t bytes) {
  return "mbarrier.arrive.expect_tx.shared.b64 %rd11, [%r1+-1024], " + number(bytes) + ";\n";
}

/// A copy of a box, 128 bytes wide, of a tensor of 16-bit elements in the input.
Measurement tensor_load(uint32_t rows) {
  const uint32_t bytes = rows * 128;
  Chain c{.name = "cp.async.bulk.tensor.2d of " + number(bytes) + " bytes from L2",
          .setup = "fence.proxy.tensormap::generic.acquire.gpu [%rd3], 128;\nmov.b32 %a5, 0;\nmov.b32 %a6, 64;\n",
          .step = expect(bytes) +
                  "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%r1], [%rd3, "
                  "{%a5, %a6}], [%r1+-1024];\n" +
                  wait_for_bytes,
          .table = table().l2 + table().copy_engine,
          .less = 4,
          .more = 16,
          .since = 83,
          .shared = area,
          .one_thread = true,
          .machine_code = "UTMALDG"};
  return {copy_group, c.name, {kernel_of(c)}, [=](Machine& m, const std::vector<Kernel>& kernels) {
            auto module = m.load(kernels[0]);
            const auto map = runtime::simulator::encode_tensormap({.type = "f16",
                                                                   .address = m.input().address(),
                                                                   .dims = {64, 8192},
                                                                   .strides = {128},
                                                                   .box = {64, rows},
                                                                   .element_strides = {},
                                                                   .swizzle = 128});
            auto place = m.device().allocate(sizeof map);
            m.device().upload(*place, 0, map);
            double best = 1e30;
            for (int launch = 0; launch < 3; ++launch) best = std::min(best, least(m, *module, c, 0, place->address()));
            return std::vector<Result>{{c.name, best, "cycles", bytes <= 1024 ? c.table : no_value}};
          }};
}

/// Two groups of copies in turn, of which one is always under way. %a20 is the phase that a group has behind it: 1 at
/// first, which the wait takes for complete.
Measurement bulk_rate() {
  const uint32_t copies = 12, bytes = 8192;
  std::string body, waits;
  for (uint32_t group = 0; group < 2; ++group) {
    const std::string barrier = "[%r1+-" + number(1024 - 8 * group) + "]";
    auto wait = [&](const std::string& label) {
      return label + ":\nmbarrier.try_wait.parity.shared.b64 %p1, " + barrier + ", %a20;\n@!%p1 bra " + label + ";\n";
    };
    body += wait("W" + number(group)) + "mbarrier.arrive.expect_tx.shared.b64 %rd11, " + barrier + ", " +
            number(copies * bytes) + ";\n";
    for (uint32_t n = group * copies; n < (group + 1) * copies; ++n)
      body += replaced(bulk_load(bytes, n * bytes, n * bytes), "[%r1+-1024]", barrier);
    waits += wait("E" + number(group));
  }
  Parts p{.name = "cp.async.bulk of 8 KB each from L2",
          .setup = "mov.b32 %a20, 1;\n",
          .body = body + "xor.b32 %a20, %a20, 1;\n",
          .finish = waits,
          .shared = 2 * copies * bytes + 1024,
          .one_thread = true};
  p.counted = "UBLKCP", p.counted_less = 2 * copies;
  return rate_of("Throughputs of a multiprocessor: shared memory, L1 and copies", p, 2.0 * copies * bytes,
                 "bytes a cycle", h100().l2_port);
}

void add_copies(std::vector<Measurement>& all) {
  auto add = [&](Chain c) { all.push_back(measured(copy_group, c)); };
  const std::string lanes = "shl.b32 %a5, %r0, 4;\nadd.u32 %a5, %a5, %r1;\nmad.wide.u32 %rd10, %r0, 16, %rd1;\n";
  add({.name = "cp.async.cg of 16 bytes for each lane, from L2",
       .setup = lanes,
       .step = "cp.async.cg.shared.global [%a5], [%rd10], 16;\ncp.async.wait_all;",
       .table = table().l2,
       .machine_code = "LDGSTS"});
  add({.name = "cp.async.cg of 16 bytes by one lane, from L2",
       .setup = lanes,
       .step = "cp.async.cg.shared.global [%a5], [%rd10], 16;\ncp.async.wait_all;",
       .table = table().l2,
       .one_thread = true,
       .machine_code = "LDGSTS"});
  add({.name = "cp.async.ca of 4 bytes for each lane, from L1",
       .setup = lanes,
       .step = "cp.async.ca.shared.global [%a5], [%rd10], 4;\ncp.async.wait_all;",
       .table = table().l1,
       .machine_code = "LDGSTS"});
  for (uint32_t bytes : {16u, 256u, 1024u, 4096u, 16384u})
    add({.name = "cp.async.bulk of " + number(bytes) + " bytes from L2",
         .step = expect(bytes) + bulk_load(bytes, 0) + wait_for_bytes,
         .table = bytes <= 1024 ? table().l2 + table().copy_engine : no_value,
         .less = 4,
         .more = 16,
         .shared = area,
         .one_thread = true,
         .machine_code = "UBLKCP"});
  for (uint32_t rows : {1u, 8u, 64u, 128u}) all.push_back(tensor_load(rows));
  for (uint32_t bytes : {1024u, 16384u})
    for (std::string reads : {"", ".read"})
      add({.name = "cp.async.bulk of " + number(bytes) + " bytes to L2, wait_group" + reads,
           .step = "cp.async.bulk.global.shared::cta.bulk_group [%rd3], [%r1], " + number(bytes) +
                   ";\ncp.async.bulk.commit_group;\ncp.async.bulk.wait_group" + reads + " 0;",
           .table = bytes <= 1024 ? reads.empty() ? table().l2 + table().copy_engine : table().copy_engine : no_value,
           .less = 4,
           .more = 16,
           .shared = area,
           .one_thread = true,
           .machine_code = "UBLKCP"});
  all.push_back(bulk_rate());
}

} // namespace

std::vector<Measurement> asynchronous_latencies() {
  std::vector<Measurement> all;
  add_memory(all);
  add_barriers(all);
  add_copies(all);
  return all;
}

} // namespace tilejit::measure
