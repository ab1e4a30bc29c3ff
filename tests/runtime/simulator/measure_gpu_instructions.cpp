// measure_gpu_instructions.cpp - latencies and throughputs of threads' instructions and of mma.sync, and throughputs of
// wgmma: of a chain of instructions that need each other, or of several chains in each of many warps.
#include "runtime/simulator/gpu_table.h"
#include "tests/runtime/simulator/measure_gpu.h"

#include <algorithm>

namespace tilejit::measure {
namespace {

const runtime::Gpu& h100() { return runtime::find_gpu("h100"); }

/// One instruction, or a few that belong together. '#' in its text is the chain's number. Of two texts with a '|'
/// between them steps use one and the other in turn: so that no two of them can be merged into one.
struct Instruction {
  std::string name, text;
  double latency = no_value, rate = no_value; ///< what the table has
  std::string machine_code = "";              ///< see Kernel::counted
  uint32_t machine_instructions = 1;          ///< of them a step
  uint32_t chains = 8;
  uint32_t since = 80;
  std::string setup = "";
  double scale = 1; ///< results for each step and thread
  bool slow = false;
  std::string results = ""; ///< of loads: the register that each chain's last one fills, without the chain's number
};

std::string step(const Instruction& i, uint32_t chain, uint32_t n) {
  std::string text = i.text;
  if (const size_t cut = text.find('|'); cut != text.npos) text = n % 2 ? text.substr(cut + 1) : text.substr(0, cut);
  return replaced(text, "#", number(chain)) + "\n";
}
std::string steps(const Instruction& i, uint32_t chains, uint32_t count) {
  std::string text;
  for (uint32_t n = 0; n < count; ++n) text += step(i, n % chains, n / chains);
  return text;
}

std::vector<Instruction> instructions() {
  const runtime::Gpu& g = h100();
  const runtime::Gpu::Latencies& l = g.latency;
  std::vector<Instruction> all{
      {"add.s32 (IADD3 and IMAD.IADD)", "add.s32 %x#, %x#, %y#;|add.s32 %y#, %y#, %x#;", no_value, no_value,
       "IADD3|IMAD\\.IADD|IADD|VIADD"},
      {"add.s32 of three (IADD3)",
       "add.s32 %x#, %x#, %y#; add.s32 %x#, %x#, %z0;|add.s32 %y#, %y#, %x#; add.s32 %y#, %y#, %z0;", l.alu, g.int32,
       "IADD3"},
      {"mad.lo.s32", "mad.lo.s32 %x#, %x#, %y0, %z0;", l.alu, g.int32, "IMAD"},
      {"mul.wide.u32", "mov.b64 {%a0, %a1}, %dx#; mul.wide.u32 %dx#, %a0, %a1;", l.alu, g.int32, "IMAD\\.WIDE"},
      {"mad.wide.u32 (IMAD.WIDE and IADD3)", "cvt.u32.u64 %x#, %dx#; mad.wide.u32 %dx#, %x#, %y#, %dx#;", no_value,
       no_value, "IMAD\\.WIDE"},
      {"mul.hi.u32", "mul.hi.u32 %x#, %x#, %y#;", l.alu, g.int32, "IMAD\\.HI"},
      {"add.s64", "add.s64 %dx#, %dx#, %dy#;|add.s64 %dy#, %dy#, %dx#;", no_value, no_value,
       "IADD|IMAD\\.X|IMAD\\.IADD|VIADD", 2},
      {"lop3.b32", "lop3.b32 %x#, %x#, %y#, %z0, 0x2d;|lop3.b32 %y#, %y#, %x#, %z0, 0x2d;", l.alu, g.int32, "LOP3"},
      {"shf.l.wrap.b32", "shf.l.wrap.b32 %x#, %x#, %y0, %z0;", l.alu, g.int32, "SHF"},
      {"prmt.b32", "prmt.b32 %x#, %x#, %y0, %z0;", l.alu, g.int32, "PRMT"},
      {"setp.lt.s32 + selp.b32", "setp.lt.s32 %p#, %x#, %y#; selp.b32 %x#, %z#, %w#, %p#;", 2 * l.alu, no_value,
       "SEL|ISETP\\.GE", 2, 4},
      {"max.s32 + min.s32", "max.s32 %x#, %x#, %y#;|min.s32 %x#, %x#, %z#;", l.alu, g.int32, "VIMNMX|IMNMX"},
      {"fma.rn.f32", "fma.rn.f32 %x#, %x#, %y0, %z0;", l.alu, g.fp32, "FFMA"},
      {"add.f32", "add.f32 %x#, %x#, %y#;|add.f32 %y#, %y#, %x#;", l.alu, g.fp32, "FADD"},
      {"mul.f32", "mul.f32 %x#, %x#, %y#;", l.alu, g.fp32, "FMUL"},
      {"max.f32 + min.f32", "max.f32 %x#, %x#, %y#;|min.f32 %x#, %x#, %z#;", l.alu, g.int32, "FMNMX"},
      // The assembler takes two units in turn where both can do it. HFMA2.MMA can't take halves of registers.
      {"fma.rn.f16x2 (HFMA2 and HFMA2.MMA)", "fma.rn.f16x2 %x#, %x#, %y0, %z0;", l.alu, g.fp32_half, "HFMA2"},
      {"fma.rn.f16 (HFMA2)", "mov.b32 {%th#, %hx#}, %x#; fma.rn.f16 %th#, %th#, %hx#, %hx#; mov.b32 %x#, {%th#, %hx#};",
       l.alu, g.fp32_half, "HFMA2 "},
      {"fma.rn.bf16x2 (HFMA2 and HFMA2.MMA)", "fma.rn.bf16x2 %x#, %x#, %y0, %z0;", l.alu, g.fp32_half, "HFMA2"},
      {"add.f16x2 (HADD2 and HFMA2.MMA)", "add.f16x2 %x#, %x#, %y0;", l.alu, g.fp32_half, "HADD2|HFMA2"},
      {"max.f16x2 + min.f16x2", "max.f16x2 %x#, %x#, %y#;|min.f16x2 %x#, %x#, %z#;", l.alu, no_value, "HMNMX2"},
      {"fma.rn.f64", "fma.rn.f64 %dx#, %dx#, %dy0, %dz0;", l.fp64, g.fp64, "DFMA"},
      {"add.f64", "add.f64 %dx#, %dx#, %dy#;|add.f64 %dy#, %dy#, %dx#;", l.fp64, g.fp64, "DADD"},
      {"popc.b32", "popc.b32 %x#, %x#;", l.special, g.special, "POPC"},
      {"brev.b32", "brev.b32 %x#, %x#;", l.special, g.special, "BREV"},
      {"bfind.u32", "bfind.u32 %x#, %x#;", l.special, g.special, "FLO"},
  };
  for (std::string name : {"ex2.approx.ftz.f32", "rsqrt.approx.ftz.f32", "lg2.approx.ftz.f32", "tanh.approx.f32",
                           "tanh.approx.f16x2", "ex2.approx.f16x2", "ex2.approx.ftz.bf16x2", "tanh.approx.bf16x2"}) {
    const bool two = name.find("16x2") != name.npos;
    all.push_back({name, name + " %x#, %x#;", l.special, two ? g.special / 2 : g.special, "MUFU", two ? 2u : 1u});
  }
  // Two reciprocals after each other would be none.
  all.push_back({"rcp.approx.ftz.f32 + add.f32", "rcp.approx.ftz.f32 %x#, %x#; add.f32 %x#, %x#, %y#;",
                 l.special + l.alu, g.special, "MUFU"});
  all.push_back(
      {"sin.approx.ftz.f32 (with a multiplication)", "sin.approx.ftz.f32 %x#, %x#;", no_value, g.special, "MUFU"});
  all.push_back({"sqrt.approx.ftz.f32", "sqrt.approx.ftz.f32 %x#, %x#;", no_value, g.special, "MUFU"});
  // Conversions, of what the bits of the last result mean as the other type; where sizes differ, in pairs.
  for (const char* name : {"cvt.rn.f32.s32", "cvt.rn.f32.u32", "cvt.rn.f32.s8", "cvt.rzi.s32.f32", "cvt.rni.s32.f32"})
    all.push_back({name, std::string(name) + " %x#, %x#;", l.conversion, g.conversion, "I2F|F2I"});
  const double both = 2 * l.conversion;
  auto pair = [&](const char* name, const char* text, double rate, const char* code, uint32_t count = 2,
                  uint32_t since = 80) {
    all.push_back({.name = name,
                   .text = text,
                   .latency = both,
                   .rate = rate,
                   .machine_code = code,
                   .machine_instructions = count,
                   .since = since});
  };
  pair("cvt.rni.f32.f32 + add.f32", "cvt.rni.f32.f32 %x#, %x#; add.f32 %x#, %x#, %y#;", g.conversion, "FRND", 1);
  pair("cvt.f64.f32 + cvt.rn.f32.f64", "cvt.f64.f32 %dx#, %x#; cvt.rn.f32.f64 %x#, %dx#;", g.conversion / 2, "F2F");
  pair("cvt.rn.satfinite.e4m3x2.f32 + cvt.rn.f16x2.e4m3x2",
       "cvt.rn.satfinite.e4m3x2.f32 %hx#, %x#, %y#; cvt.rn.f16x2.e4m3x2 %x#, %hx#;", g.resizing / 2, "F2FP", 2, 81);
  const double one = l.conversion;
  all.push_back({"cvt.f32.f16", "mov.b32 {%th#, %hx#}, %x#; cvt.f32.f16 %x#, %th#;", one, g.resizing, "HADD2\\.F32"});
  all.push_back({"cvt.rn.bf16x2.f32", "cvt.rn.bf16x2.f32 %x#, %x#, %y#;", one, g.resizing, "F2FP"});
  all.push_back({"cvt.rn.f16x2.f32", "cvt.rn.f16x2.f32 %x#, %x#, %y#;", one, g.resizing, "F2FP"});
  all.push_back({"cvt.rn.bf16x2.f32 + shl.b32 (back to f32)", "cvt.rn.bf16x2.f32 %x#, %x#, %y#; shl.b32 %x#, %x#, 16;",
                 one + l.alu, no_value, "F2FP"});
  // Across the warp.
  all.push_back({"shfl.sync.bfly.b32", "shfl.sync.bfly.b32 %x#, %x#, 1, 31, -1;", l.shuffle, 32, "SHFL"});
  all.push_back({"shfl.sync.idx.b32", "shfl.sync.idx.b32 %x#, %x#, %y#, 31, -1;", l.shuffle, 32, "SHFL"});
  all.push_back({"setp.lt.s32 + vote.sync.ballot.b32", "setp.lt.s32 %p#, %x#, %y#; vote.sync.ballot.b32 %x#, %p#, -1;",
                 no_value, no_value, "VOTE"});
  all.push_back(
      {"match.any.sync.b32", "match.any.sync.b32 %x#, %x#, -1;", no_value, no_value, "MATCH", 1, 8, 80, "", 1, true});
  all.push_back({"redux.sync.add.s32", "redux.sync.add.s32 %x#, %x#, -1;", no_value, no_value, "REDUX"});
  all.push_back({"redux.sync.max.u32", "redux.sync.max.u32 %x#, %x#, -1;", no_value, no_value, "REDUX"});
  return all;
}

Measurement latency_of(const Instruction& i) {
  const uint32_t less = i.slow ? 16 : 64, more = i.slow ? 64 : 256;
  Parts p{.name = i.name, .setup = i.setup, .less = steps(i, 1, less), .more = steps(i, 1, more), .since = i.since};
  p.counted = i.machine_code, p.counted_less = less * i.machine_instructions,
  p.counted_more = more * i.machine_instructions;
  return {"Latencies of instructions", i.name, {kernel_of(p)}, [=](Machine& m, const std::vector<Kernel>& kernels) {
            auto module = m.load(kernels[0]);
            Cycles best{1e30, 1e30};
            for (int launch = 0; launch < 3; ++launch)
              for (const Cycles& c : m.cycles(*module, 1, 1))
                best = {std::min(best.less, c.less), std::min(best.more, c.more)};
            return std::vector<Result>{{i.name, (best.more - best.less) / (more - less), "cycles", i.latency}};
          }};
}

constexpr const char* threads_rates = "Throughputs of a multiprocessor: threads' instructions";
constexpr const char* memory_rates = "Throughputs of a multiprocessor: shared memory, L1 and copies";
constexpr const char* tensor_rates = "Throughputs of a multiprocessor: tensor cores";

/// Many steps, a multiple of twice the chains: the loop's own instructions are few beside them, and all of them fit in
/// the nearest cache.
uint32_t steps_of_round(const Instruction& i) {
  // A move only names the halves of a register.
  const std::string text = replaced(i.text.substr(0, i.text.find('|')), "mov.", "!");
  const auto count = std::count(text.begin(), text.end(), ';') - std::count(text.begin(), text.end(), '!');
  const uint32_t instructions = std::max(i.machine_instructions, static_cast<uint32_t>(count));
  return 384 / instructions / (2 * i.chains) * 2 * i.chains;
}
/// Waits until all of the last round's loads have come.
std::string all_results(const Instruction& i) {
  if (i.results.empty()) return "";
  std::string text = "cvt.u32.u64 %a27, %rd4;\nmov.b32 %a26, 0;\n";
  for (uint32_t c = 0; c < i.chains; ++c)
    text += (i.results.starts_with("%d") ? "cvt.u32.u64 %a25, " : "mov.b32 %a25, ") + i.results + number(c) +
            ";\nxor.b32 %a26, %a26, %a25;\n";
  return text + "and.b32 %a26, %a26, %a27;\nsetp.ne.u32 %q3, %a26, 0;\n@%q3 bra END;\n";
}

Measurement throughput_of(const Instruction& i, const std::string& group = threads_rates,
                          const std::string& unit = "results a cycle", bool with_space = false) {
  const uint32_t threads = 1024;
  const uint32_t count = steps_of_round(i);
  Parts p{.name = i.name,
          .setup = i.setup,
          .body = steps(i, i.chains, count),
          .finish = all_results(i),
          .threads = threads,
          .since = i.since};
  p.shared = 40 * 1024;
  p.counted = i.machine_code, p.counted_less = count * i.machine_instructions;
  return rate_of(group, p, double{1} * count * threads * i.scale, unit, i.rate, with_space);
}

// --- mma.sync --------------------------------------------------------------------------------------------------------

struct Product {
  std::string shape, types; ///< types: of D, A, B, C
  uint32_t m, n, k;
  uint32_t a, b, d; ///< registers of a thread
  double table;     ///< multiply-adds of a multiprocessor in a cycle, as wgmma has
  std::string machine_code;
  uint32_t machine_instructions = 1;
  uint32_t since = 80;
  std::string name() const { return "mma.sync." + shape + "." + types; }
};

std::vector<Product> products() {
  const runtime::Gpu& g = h100();
  return {
      {"m16n8k16", "f32.f16.f16.f32", 16, 8, 16, 4, 2, 4, g.tensor_16bit, "HMMA"},
      {"m16n8k16", "f32.bf16.bf16.f32", 16, 8, 16, 4, 2, 4, g.tensor_16bit, "HMMA"},
      {"m16n8k16", "f16.f16.f16.f16", 16, 8, 16, 4, 2, 2, g.tensor_16bit, "HMMA"},
      {"m16n8k8", "f32.f16.f16.f32", 16, 8, 8, 2, 1, 4, g.tensor_16bit, "HMMA"},
      {"m16n8k8", "f32.tf32.tf32.f32", 16, 8, 8, 4, 2, 4, g.tensor_tf32, "HMMA"},
      {"m16n8k4", "f32.tf32.tf32.f32", 16, 8, 4, 2, 1, 4, g.tensor_tf32, "HMMA"},
      {"m16n8k32", "s32.s8.s8.s32", 16, 8, 32, 4, 2, 4, g.tensor_8bit, "IMMA"},
      {"m16n8k16", "s32.s8.s8.s32", 16, 8, 16, 2, 1, 4, g.tensor_8bit, "IMMA"},
      {"m16n8k32", "f32.e4m3.e4m3.f32", 16, 8, 32, 4, 2, 4, g.tensor_8bit, "HMMA", 2, 84},
      {"m8n8k4", "f64.f64.f64.f64", 8, 8, 4, 1, 1, 2, g.tensor_fp64, "DMMA"},
      {"m16n8k8", "f64.f64.f64.f64", 16, 8, 8, 4, 2, 4, g.tensor_fp64, "DMMA"},
      {"m16n8k16", "f64.f64.f64.f64", 16, 8, 16, 8, 4, 4, g.tensor_fp64, "DMMA"},
      {"m16n8k64", "s32.s4.s4.s32", 16, 8, 64, 4, 2, 4, g.tensor_4bit, ""},
      {"m16n8k256", "s32.b1.b1.s32.and.popc", 16, 8, 256, 4, 2, 4, g.tensor_1bit, "BMMA"},
  };
}

std::string list(const std::string& prefix, uint32_t first, uint32_t count) {
  std::string text = "{";
  for (uint32_t i = 0; i < count; ++i) text += (i ? ", " : "") + prefix + number(first + i);
  return text + "}";
}

std::string product_text(const Product& p, uint32_t chain) {
  const bool wide = p.types.starts_with("f64");
  const std::string d = list(wide                         ? "%fd"
                             : p.types.starts_with("f32") ? "%c"
                                                          : "%i",
                             chain * p.d + (wide ? 12 : 0), p.d);
  const std::string a = wide ? list("%fd", 0, p.a) : list("%x", 0, p.a),
                    b = wide ? list("%fd", 8, p.b) : list("%y", 0, p.b);
  std::string types = p.types, operation;
  if (const size_t cut = types.find(".and"); cut != types.npos)
    operation = types.substr(cut), types = types.substr(0, cut);
  return "mma.sync.aligned." + p.shape + ".row.col." + types + operation + " " + d + ", " + a + ", " + b + ", " + d +
         ";\n";
}

std::string product_steps(const Product& p, uint32_t chains, uint32_t count) {
  std::string text;
  for (uint32_t n = 0; n < count; ++n) {
    // An emulated product adds C later: of the same A and B it would be calculated once for all.
    if (p.since > 80) text += "add.u32 %y0, %y0, 1;\n";
    text += product_text(p, n % chains);
  }
  return text;
}

Measurement latency_of(const Product& p) {
  const uint32_t less = 16, more = 64;
  Parts parts{.name = p.name(), .less = product_steps(p, 1, less), .more = product_steps(p, 1, more), .since = p.since};
  parts.counted = p.machine_code, parts.counted_less = less * p.machine_instructions,
  parts.counted_more = more * p.machine_instructions;
  Measurement measured{"Latencies of mma.sync, from C to D", p.name(), {kernel_of(parts)}, {}};
  measured.run = [=](Machine& m, const std::vector<Kernel>& kernels) {
    auto module = m.load(kernels[0]);
    Cycles best{1e30, 1e30};
    for (const Cycles& c : m.cycles(*module, 1, 1)) best = {std::min(best.less, c.less), std::min(best.more, c.more)};
    const double latency = (best.more - best.less) / (more - less);
    return std::vector<Result>{{p.name(), latency, "cycles", h100().latency.mma}};
  };
  return measured;
}

Measurement throughput_of(const Product& p) {
  // Those that are no instruction of the machine are many.
  const uint32_t chains = 4, threads = 512,
                 count = p.machine_code.empty()       ? 4
                         : p.machine_instructions > 1 ? 32
                         : p.types.starts_with("f64") ? 64
                                                      : 192;
  Parts parts{.name = p.name(), .body = product_steps(p, chains, count), .threads = threads, .since = p.since};
  parts.counted = p.machine_code, parts.counted_less = count * p.machine_instructions;
  return rate_of(tensor_rates, parts, double{1} * count * (threads / 32) * p.m * p.n * p.k, "multiply-adds a cycle",
                 p.table * (p.types.starts_with("f64") ? 1 : h100().mma_sync_share));
}

// --- wgmma -----------------------------------------------------------------------------------------------------------

struct WarpgroupProduct {
  std::string types; ///< of D, A, B
  uint32_t n, k;
  bool a_in_registers;
  double table;
  std::string machine_code;
  std::string name() const {
    return "wgmma.m64n" + number(n) + "k" + number(k) + "." + types + (a_in_registers ? ", A in registers" : "");
  }
};

/// Descriptors %rd20 of A and %rd21 to %rd24 of B: rows of 128 bytes, swizzled, four steps along them. Constants, which
/// take no instruction beside each product; what lies there doesn't matter.
std::string descriptors() {
  std::string text = "mov.u64 %rd20, 0x4000004000010080;\n";
  for (uint64_t i = 0; i < 4; ++i)
    text += "mov.u64 %rd" + number(21 + i) + ", " + number(0x4000004000010280 + 2 * i) + ";\n";
  return text + "setp.ne.b32 %p15, 1, 0;\n";
}

std::string warpgroup_product(const WarpgroupProduct& p, uint32_t n) {
  const bool integer = p.types.starts_with("s32"), half = p.types.starts_with("f16");
  const bool sixteen = p.k == 16;
  std::string text = "wgmma.mma_async.sync.aligned.m64n" + number(p.n) + "k" + number(p.k) + "." + p.types + " " +
                     list(integer || half ? "%i" : "%c", 0, half ? p.n / 4 : p.n / 2) + ", " +
                     (p.a_in_registers ? list("%x", 0, 4) : "%rd20") + ", %rd" + number(21 + n % 4) + ", %p15";
  if (!integer) text += ", 1, 1";
  if (sixteen) text += p.a_in_registers ? ", 0" : ", 0, 0";
  return text + ";\n";
}
const std::string wait_for_products = "wgmma.wait_group.sync.aligned 0;\n";
/// A group, and the wait until only `pending` groups are under way.
std::string warpgroup_products(const WarpgroupProduct& p, uint32_t count, uint32_t pending = 0) {
  std::string text = "wgmma.fence.sync.aligned;\n";
  for (uint32_t n = 0; n < count; ++n) text += warpgroup_product(p, n);
  return text + "wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned " + number(pending) + ";\n";
}

constexpr uint32_t product_shared = 64 * 1024;
constexpr uint32_t products_of_round = 16;

Measurement throughput_of(const WarpgroupProduct& p, uint32_t warpgroups) {
  Parts parts{.name = p.name() + ", warpgroups: " + number(warpgroups),
              .setup = descriptors(),
              .body = warpgroup_products(p, products_of_round, 1),
              .finish = wait_for_products,
              .threads = 128 * warpgroups,
              .shared = product_shared};
  parts.counted = p.machine_code, parts.counted_less = products_of_round;
  return rate_of(tensor_rates, parts, double{1} * products_of_round * warpgroups * 64 * p.n * p.k,
                 "multiply-adds a cycle", p.table);
}

/// Groups of a single product against groups of four.
Measurement latency_of(const WarpgroupProduct& p) {
  const uint32_t groups = 4, products = 4;
  std::string one, four;
  for (uint32_t g = 0; g < groups; ++g) one += warpgroup_products(p, 1), four += warpgroup_products(p, products);
  Parts parts{.name = p.name() + " latency",
              .setup = descriptors(),
              .less = one,
              .more = four,
              .threads = 128,
              .shared = product_shared};
  parts.counted = p.machine_code, parts.counted_less = groups, parts.counted_more = groups * products;
  return {"Latencies of wgmma", p.name(), {kernel_of(parts)}, [=](Machine& m, const std::vector<Kernel>& kernels) {
            auto module = m.load(kernels[0]);
            Cycles best{1e30, 1e30};
            for (int launch = 0; launch < 3; ++launch)
              for (const Cycles& c : m.cycles(*module, 1, 4))
                best = {std::min(best.less, c.less), std::min(best.more, c.more)};
            const double each = (best.more - best.less) / (groups * (products - 1));
            return std::vector<Result>{
                {p.name() + ": each further product of a group", each, "cycles", 64.0 * p.n * p.k / p.table},
                {p.name() + ": a group of one, fence to wait", best.less / groups, "cycles", no_value},
                {p.name() + ": what that is beyond the product", best.less / groups - each, "cycles",
                 h100().latency.wgmma}};
          }};
}

std::vector<WarpgroupProduct> warpgroup_kinds() {
  const runtime::Gpu& g = h100();
  std::vector<WarpgroupProduct> all;
  for (bool registers : {false, true})
    for (uint32_t n : {256u, 128u, 64u, 32u, 8u})
      all.push_back({"f32.bf16.bf16", n, 16, registers, g.tensor_16bit, "HGMMA"});
  for (uint32_t n : {256u, 128u, 64u}) {
    all.push_back({"f32.f16.f16", n, 16, false, g.tensor_16bit, "HGMMA"});
    all.push_back({"f32.tf32.tf32", n, 8, false, g.tensor_tf32, "HGMMA"});
    all.push_back({"f32.e4m3.e4m3", n, 32, false, g.tensor_8bit, "QGMMA"});
    all.push_back({"s32.s8.s8", n, 32, false, g.tensor_8bit, "IGMMA"});
  }
  all.push_back({"f16.f16.f16", 256, 16, false, g.tensor_16bit, "HGMMA"});
  all.push_back({"f32.e4m3.e4m3", 256, 32, true, g.tensor_8bit, "QGMMA"});
  return all;
}

// --- shared memory ---------------------------------------------------------------------------------------------------

/// Loads of the lanes at multiples of `stride` bytes, each from where the one before it in its chain found the address:
/// what nobody needs is not loaded. `address`: the registers that hold it, "%x" or "%y".
Instruction shared_load(const std::string& name, uint32_t words, uint32_t stride, double scale, double table,
                        const std::string& address = "%x") {
  const uint32_t chains = words == 1 ? 8 : 4;
  const std::string more = address == "%x" ? ", %y#, %z#, %w#}" : ", %z#, %w#, %t#}";
  std::string setup = "and.b32 %a4, %r0, 31;\nmad.lo.u32 %a4, %a4, " + number(stride) + ", %r1;\n";
  if (words == 4)
    setup += "st.volatile.shared.v4.b32 [%a4], {%a4, %a4, %a4, %a4};\n";
  else
    setup += "st.volatile.shared.b32 [%a4], %a4;\n";
  setup += "bar.sync 0;\n";
  for (uint32_t c = 0; c < chains; ++c) setup += "ld.volatile.shared.b32 " + address + number(c) + ", [%a4];\n";
  return {.name = name,
          .text = words == 4 ? "ld.volatile.shared.v4.b32 {" + address + "#" + more + ", [" + address + "#];"
                             : "ld.shared.b32 " + address + "#, [" + address + "#];",
          .rate = table,
          .machine_code = words == 4 ? "LDS\\.128" : "LDS",
          .chains = chains,
          .setup = setup,
          .scale = scale,
          .results = address};
}

/// Word n of the rows is the address of lane n's own row: what a lane gets is where it reads next.
Instruction matrix_load(uint32_t matrices, const std::string& address = "%x") {
  std::string setup = "and.b32 %a4, %r0, 31;\nshl.b32 %a5, %a4, 2;\nadd.u32 %a5, %a5, %r1;\nmad.lo.u32 %a4, %a4, 16, "
                      "%r1;\nst.volatile.shared.b32 [%a5], %a4;\nbar.sync 0;\n";
  const uint32_t chains = matrices == 1 ? 8 : 4;
  for (uint32_t c = 0; c < chains; ++c) setup += "ld.volatile.shared.b32 " + address + number(c) + ", [%a5];\n";
  const std::string more = matrices == 1 ? "}" : address == "%x" ? ", %y#, %z#, %w#}" : ", %z#, %w#, %t#}";
  return {.name = "ldmatrix.x" + number(matrices),
          .text = "ldmatrix.sync.aligned.m8n8.x" + number(matrices) + ".shared.b16 {" + address + "#" + more + ", [" +
                  address + "#];",
          .rate = h100().wavefront_bytes,
          .machine_code = matrices == 1 ? "LDSM" : "LDSM.*\\.4",
          .chains = chains,
          .setup = setup,
          .scale = 4.0 * matrices,
          .results = address};
}

Instruction shared_store(const std::string& name, const std::string& text, uint32_t stride, const std::string& code,
                         double scale, double table) {
  return {.name = name,
          .text = text,
          .rate = table,
          .machine_code = code,
          .chains = code == "STS" ? 8u : 4u,
          .setup = "and.b32 %a4, %r0, 31;\nmad.lo.u32 %a4, %a4, " + number(stride) + ", %r1;\n",
          .scale = scale};
}

std::vector<Instruction> shared_accesses() {
  const double all = h100().wavefront_bytes;
  // Both words are used: else the assembler loads one.
  Instruction pairs = shared_load("ld.shared.v2.b32", 4, 8, 8, all);
  pairs.text = "ld.shared.v2.b32 {%x#, %y#}, [%x#]; xor.b32 %z#, %z#, %y#;";
  pairs.machine_code = "LDS\\.64";
  pairs.setup = "and.b32 %a4, %r0, 31;\nmad.lo.u32 %a4, %a4, 8, %r1;\nst.volatile.shared.v2.b32 [%a4], {%a4, %a4};\n"
                "bar.sync 0;\n";
  for (uint32_t c = 0; c < pairs.chains; ++c) pairs.setup += "ld.volatile.shared.b32 %x" + number(c) + ", [%a4];\n";
  const std::string quad = "{%x#, %y#, %z#, %w#}";
  return {
      shared_load("ld.shared.b32", 1, 4, 4, all),
      pairs,
      shared_load("ld.shared.v4.b32", 4, 16, 16, all),
      shared_store("st.shared.b32", "st.volatile.shared.b32 [%a4], %x#;", 4, "STS", 4, all),
      shared_store("st.shared.b64", "st.volatile.shared.b64 [%a4], %dx#;", 8, "STS\\.64", 8, all),
      shared_store("st.shared.v4.b32", "st.volatile.shared.v4.b32 [%a4], " + quad + ";", 16, "STS\\.128", 16, all),
      matrix_load(1),
      matrix_load(4),
      shared_store("stmatrix.x4", "stmatrix.sync.aligned.m8n8.x4.shared.b16 [%a4], " + quad + ";", 16, "STSM", 16, all),
  };
}

/// Conflicts: wavefronts by the table's reckoning, that is as many as lanes meet in a bank.
std::vector<Instruction> conflicts() {
  std::vector<Instruction> list;
  for (uint32_t degree : {1u, 2u, 4u, 8u, 16u, 32u}) {
    const std::string suffix = ", conflicts of degree " + number(degree);
    list.push_back(shared_load("ld.shared.b32" + suffix, 1, 4 * degree, degree / 32.0, 1));
    list.push_back(shared_store("st.shared.b32" + suffix, "st.volatile.shared.b32 [%a4], %x#;", 4 * degree, "STS",
                                degree / 32.0, 1));
  }
  list.push_back(shared_load("ld.shared.b32 of one address", 1, 0, 1 / 32.0, 1));
  list.push_back(shared_load("ld.shared.v4.b32 of one address", 4, 0, 1 / 32.0, 1));
  list.push_back(shared_load("ld.shared.v4.b32, rows of 144 bytes", 4, 144, 4 / 32.0, 1));
  list.push_back(shared_load("ld.shared.v4.b32, rows of 128 bytes", 4, 128, 32 / 32.0, 1));
  return list;
}

/// What one part of a block does while the other does something else.
void add_interference(std::vector<Measurement>& all) {
  const WarpgroupProduct shared_a{"f32.bf16.bf16", 256, 16, false, h100().tensor_16bit, "HGMMA"};
  const WarpgroupProduct registers_a{"f32.bf16.bf16", 256, 16, true, h100().tensor_16bit, "HGMMA"};
  const WarpgroupProduct narrow{"f32.bf16.bf16", 64, 16, false, h100().tensor_16bit, "HGMMA"};
  const Product warp_product = products()[1];
  const Instruction loads[] = {shared_load("ld.shared.v4.b32", 4, 16, 16, h100().wavefront_bytes, "%y"),
                               shared_load("ld.shared.b32", 1, 4, 4, h100().wavefront_bytes, "%y"),
                               matrix_load(4, "%y")};
  const std::string group = "A warpgroup that multiplies beside eight warps that load from shared memory";
  const uint32_t warp_products = 192;
  for (const Instruction& i : loads) {
    const uint32_t count = 256;
    const std::string loading = steps(i, i.chains, count);
    struct Partner {
      std::string name, setup, body, finish, code;
      uint32_t products;
      double work;
    };
    std::vector<Partner> partners;
    for (const WarpgroupProduct& p : {shared_a, registers_a, narrow})
      partners.push_back({p.name(), descriptors(), warpgroup_products(p, products_of_round, 1), wait_for_products,
                          "HGMMA", products_of_round, 64.0 * p.n * p.k * products_of_round});
    partners.push_back({warp_product.name(), "", product_steps(warp_product, 8, warp_products), "", "HMMA",
                        warp_products, 4.0 * 16 * 8 * 16 * warp_products});
    for (const Partner& p : partners) {
      Parts loads_measured{.name = i.name + " beside " + p.name,
                           .setup = p.setup + i.setup,
                           .body = loading,
                           .finish = all_results(i),
                           .threads = 256,
                           .shared = product_shared,
                           .background = p.body,
                           .background_end = p.finish,
                           .background_threads = 128};
      loads_measured.counted = i.machine_code, loads_measured.counted_less = count;
      all.push_back(rate_of(group, loads_measured, 256.0 * count * i.scale, "bytes a cycle", h100().wavefront_bytes));
      Parts product_measured{.name = p.name + " beside " + i.name,
                             .setup = p.setup + i.setup,
                             .body = p.body,
                             .finish = p.finish,
                             .threads = 128,
                             .shared = product_shared,
                             .background = loading,
                             .background_threads = 256};
      product_measured.counted = p.code, product_measured.counted_less = p.products;
      all.push_back(rate_of(group, product_measured, p.work, "multiply-adds a cycle",
                            h100().tensor_16bit * (p.code == "HMMA" ? h100().mma_sync_share : 1)));
    }
    Parts alone{.name = i.name + " alone",
                .setup = i.setup,
                .body = loading,
                .finish = all_results(i),
                .threads = 256,
                .shared = product_shared};
    alone.counted = i.machine_code, alone.counted_less = count;
    all.push_back(rate_of(group, alone, 256.0 * count * i.scale, "bytes a cycle", h100().wavefront_bytes));
  }
  Parts alone{.name = warp_product.name() + " alone, four warps",
              .body = product_steps(warp_product, 8, warp_products),
              .threads = 128,
              .shared = product_shared};
  alone.counted = "HMMA", alone.counted_less = warp_products;
  all.push_back(rate_of(group, alone, 4.0 * 16 * 8 * 16 * warp_products, "multiply-adds a cycle",
                        h100().tensor_16bit * h100().mma_sync_share));
}

} // namespace

std::vector<Measurement> latencies() {
  std::vector<Measurement> all;
  for (const Instruction& i : instructions()) all.push_back(latency_of(i));
  for (const Product& p : products()) all.push_back(latency_of(p));
  for (const WarpgroupProduct& p : warpgroup_kinds())
    if (p.types == "f32.bf16.bf16" || p.n == 256) all.push_back(latency_of(p));
  return all;
}

std::vector<Measurement> throughputs() {
  std::vector<Measurement> all;
  for (const Instruction& i : instructions()) all.push_back(throughput_of(i));
  // Beside each other: do they share a unit?
  const runtime::Gpu& g = h100();
  const Instruction mixed[] = {
      {"fma.rn.f32 of three registers of each chain", "fma.rn.f32 %x#, %x#, %y#, %z#;", no_value, no_value, "FFMA"},
      {"fma.rn.f16x2 of three registers of each chain", "fma.rn.f16x2 %x#, %x#, %y#, %z#;", no_value, no_value,
       "HFMA2"},
      {"fma.rn.f64 of three registers of each chain", "fma.rn.f64 %dx#, %dx#, %dy#, %dz#;", no_value, no_value, "DFMA"},
      {"ex2.approx.ftz.f32 with 4 fma.rn.f32 (ex2 results)",
       "ex2.approx.ftz.f32 %x#, %x#; fma.rn.f32 %y#, %y#, %z0, %w0; fma.rn.f32 %y#, %y#, %z0, %w0; fma.rn.f32 %y#, "
       "%y#, %z0, %w0; fma.rn.f32 %y#, %y#, %z0, %w0;",
       no_value, g.special, "MUFU|FFMA", 5, 4},
      {"fma.rn.f32 with lop3.b32 (both)",
       "fma.rn.f32 %x#, %x#, %y0, %y0; lop3.b32 %z#, %z#, %w#, %y1, 0x2d;|fma.rn.f32 %x#, %x#, %y0, %y0; lop3.b32 %w#, "
       "%w#, %z#, %y1, 0x2d;",
       no_value, 128, "FFMA|LOP3", 2, 8, 80, "", 2},
      {"fma.rn.f32 with mad.lo.s32 (both)", "fma.rn.f32 %x#, %x#, %y0, %y0; mad.lo.s32 %z#, %z#, %y1, %y1;", no_value,
       no_value, "FFMA|IMAD", 2, 8, 80, "", 2},
      {"mad.lo.s32 with lop3.b32 (both)",
       "mad.lo.s32 %x#, %x#, %y0, %y0; lop3.b32 %z#, %z#, %w#, %y1, 0x2d;|mad.lo.s32 %x#, %x#, %y0, %y0; lop3.b32 %w#, "
       "%w#, %z#, %y1, 0x2d;",
       no_value, 128, "IMAD|LOP3", 2, 8, 80, "", 2},
      {"fma.rn.f32 with fma.rn.f16x2 (both)", "fma.rn.f32 %x#, %x#, %y0, %y0; fma.rn.f16x2 %z#, %z#, %y1, %y1;",
       no_value, no_value, "FFMA|HFMA2", 2, 8, 80, "", 2},
      {"cvt.rn.bf16x2.f32 with lop3.b32 (both)",
       "cvt.rn.bf16x2.f32 %x#, %x#, %y0; lop3.b32 %z#, %z#, %w#, %y1, 0x2d;|cvt.rn.bf16x2.f32 %x#, %x#, %y0; lop3.b32 "
       "%w#, %w#, %z#, %y1, 0x2d;",
       no_value, no_value, "F2FP|LOP3", 2, 8, 80, "", 2},
      {"ex2.approx.ftz.f32 with cvt.rni.f32.f32 (both)",
       "ex2.approx.ftz.f32 %x#, %x#; cvt.rni.f32.f32 %y#, %y#; add.f32 %y#, %y#, %z#;", no_value, no_value, "MUFU|FRND",
       2, 8, 80, "", 2},
      {"ex2.approx.ftz.f32 with shfl.sync.bfly.b32 (both)",
       "ex2.approx.ftz.f32 %x#, %x#; shfl.sync.bfly.b32 %y#, %y#, 1, 31, -1;", no_value, no_value, "MUFU|SHFL", 2, 8,
       80, "", 2},
      {"shfl.sync.bfly.b32 with ld.shared.b32 (both)",
       "shfl.sync.bfly.b32 %x#, %x#, 1, 31, -1; ld.shared.b32 %y#, [%y#];", no_value, 32, "SHFL|LDS", 2, 8, 80,
       shared_load("", 1, 4, 1, 1, "%y").setup, 2},
  };
  for (const Instruction& i : mixed) all.push_back(throughput_of(i));
  for (const Instruction& i : shared_accesses()) all.push_back(throughput_of(i, memory_rates, "bytes a cycle"));
  for (const Instruction& i : conflicts()) all.push_back(throughput_of(i, memory_rates, "wavefronts a cycle"));
  // Each thread's own words hold their own addresses, or are counted up.
  const std::string words = "mad.wide.u32 %rd10, %r0, 8, %rd3;\n";
  std::string own = words, quads = "mad.wide.u32 %rd10, %r0, 16, %rd3;\n";
  for (uint32_t c = 0; c < 4; ++c) {
    own += "add.u64 %dx" + number(c) + ", %rd10, " + number(8192 * c) + ";\nst.global.b64 [%dx" + number(c) + "], %dx" +
           number(c) + ";\n";
    quads += "add.u64 %dx" + number(c) + ", %rd10, " + number(16384 * c) + ";\nst.global.v2.b64 [%dx" + number(c) +
             "], {%dx" + number(c) + ", %dx" + number(c) + "};\n";
  }
  Instruction l1{.name = "ld.global.b64 of 32 KB",
                 .text = "ld.global.b64 %dx#, [%dx#];",
                 .rate = g.wavefront_bytes,
                 .machine_code = "LDG",
                 .chains = 4,
                 .setup = own,
                 .scale = 8,
                 .results = "%dx"};
  Instruction l2{.name = "ld.global.cg.b64 of 32 KB",
                 .text = "ld.global.cg.b64 %dx#, [%dx#];",
                 .rate = g.l2_port,
                 .machine_code = "LDG",
                 .chains = 4,
                 .setup = own,
                 .scale = 8,
                 .results = "%dx"};
  Instruction l1_quads{.name = "ld.global.v2.b64 of 64 KB",
                       .text = "ld.global.v2.b64 {%dx#, %dy#}, [%dx#]; xor.b64 %dz#, %dz#, %dy#;",
                       .rate = g.wavefront_bytes,
                       .machine_code = "LDG.*128",
                       .chains = 4,
                       .setup = quads,
                       .scale = 16,
                       .results = "%dx"};
  Instruction atom_shared{.name = "atom.shared.add.u32 of different words",
                          .text = "atom.shared.add.u32 %x#, [%a4], %x#;",
                          .machine_code = "ATOMS",
                          .setup = "mad.lo.u32 %a4, %r0, 4, %r1;\n",
                          .results = "%x"};
  Instruction red_shared{.name = "red.shared.add.u32 of different words",
                         .text = "red.shared.add.u32 [%a4], %x#;",
                         .machine_code = "ATOMS",
                         .setup = "mad.lo.u32 %a4, %r0, 4, %r1;\n"};
  Instruction atom_global{.name = "atom.global.add.u32 of different words",
                          .text = "atom.global.add.u32 %x#, [%rd10], %x#;",
                          .machine_code = "ATOMG",
                          .setup = words,
                          .results = "%x"};
  Instruction red_global{.name = "red.global.add.u32 of different words",
                         .text = "red.global.add.u32 [%rd10], %x#;",
                         .machine_code = "REDG",
                         .setup = words};
  Instruction st_global{.name = "st.global.b64 of 8 KB",
                        .text = "st.volatile.global.b64 [%rd10], %dx#;",
                        .machine_code = "STG",
                        .setup = words,
                        .scale = 8};
  for (const Instruction* i : {&l1, &l1_quads, &l2, &atom_shared, &red_shared, &atom_global, &red_global, &st_global})
    all.push_back(throughput_of(*i, memory_rates, i->scale > 1 ? "bytes a cycle" : "results a cycle", true));
  return all;
}

std::vector<Measurement> product_throughputs() {
  std::vector<Measurement> all;
  for (const Product& p : products()) all.push_back(throughput_of(p));
  for (const WarpgroupProduct& p : warpgroup_kinds())
    for (uint32_t warpgroups : {1u, 2u}) all.push_back(throughput_of(p, warpgroups));
  add_interference(all);
  return all;
}

} // namespace tilejit::measure
