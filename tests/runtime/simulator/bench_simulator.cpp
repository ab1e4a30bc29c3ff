// How fast the simulator is: warp-instructions and matrix operations per second, by kind of code.
//
//   bench_simulator [SECONDS [NAME]]     about SECONDS (default 1) for each line, or for those with NAME in them
//
// and how many times longer the same takes with the sanitizers, and with the counters.
//
// TILEJIT_SIMULATOR_ISA and TILEJIT_SIMULATOR_THREADS choose what is measured. A line is the best of its runs: other
// work on the machine only ever makes one slower. The first rate is by the clock, the second by the time that the
// process had a core, as if it had had all of them.
//
// At first, what the vectors are worth: the same decoded program run by a plain interpreter, which is the same handlers
// compiled to take one lane after the other ("plain").
#include "tests/runtime/simulator/simulate.h"

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <map>
#include <regex>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace tilejit::runtime;
using namespace tilejit::runtime::simulator::test;

namespace {

struct Workload {
  std::string name, setup, body;
  double instructions = 0; ///< of the body
  double operations = 0;   ///< floating-point operations of tensor cores, a warp and body
  int warps = 8;           ///< a block
};

std::string r(const char* prefix, int index) { return prefix + std::to_string(index); }

double count_instructions(const std::string& text) {
  double n = 0;
  for (char c : text) n += c == ';';
  return n;
}

Workload alu_mix() {
  Workload w{"ALU mix (fma add mul add.s32 xor setp selp)", "", "", 0, 0, 8};
  for (int i = 0; i < 32; ++i) {
    std::string a = r("%f", i % 8), b = r("%f", 8 + i % 4), x = r("%r", 10 + i % 8), y = r("%r", 20 + i % 4),
                p = r("%p", 2 + i % 4);
    w.body += "fma.rn.f32 " + a + ", " + a + ", " + b + ", " + r("%f", 12) + "; add.f32 " + b + ", " + b + ", " + a +
              "; mul.f32 " + r("%f", 16 + i % 8) + ", " + a + ", " + b + "; add.s32 " + x + ", " + x + ", " + y +
              "; xor.b32 " + y + ", " + y + ", " + x + "; setp.gt.f32 " + p + ", " + a + ", " + b + "; selp.b32 " +
              r("%r", 30 + i % 8) + ", " + x + ", " + y + ", " + p + ";\n";
  }
  return w;
}

/// What a flash-attention kernel does with 64 scores of a thread between its two products.
Workload softmax(bool ftz) {
  Workload w{ftz ? "softmax step, .ftz" : "softmax step",
             "mov.u32 %r100, buffer; mad.lo.u32 %r100, %r2, 16, %r100;\n",
             "",
             0,
             0,
             8};
  std::string f = ftz ? ".ftz" : "";
  auto s = [](int i) { return r("%s", i); };
  for (int i = 0; i < 64; ++i) w.body += "max" + f + ".f32 %f0, %f0, " + s(i) + ";\n";
  for (int lanes : {1, 2})
    w.body += "mov.b32 %r3, %f0; shfl.sync.bfly.b32 %r4, %r3, " + std::to_string(lanes) +
              ", 31, -1; mov.b32 %f1, %r4; max" + f + ".f32 %f0, %f0, %f1;\n";
  w.body += "neg.f32 %f2, %f0;\n";
  for (int i = 0; i < 64; ++i) w.body += "fma.rn" + f + ".f32 " + s(i) + ", " + s(i) + ", %f3, %f2;\n";
  for (int i = 0; i < 64; ++i) w.body += "ex2.approx.ftz.f32 " + s(i) + ", " + s(i) + ";\n";
  for (int i = 0; i < 64; ++i)
    w.body += "add" + f + ".f32 " + r("%f", 4 + i % 4) + ", " + r("%f", 4 + i % 4) + ", " + s(i) + ";\n";
  for (int i = 0; i < 32; ++i)
    w.body += "cvt.rn.bf16x2.f32 " + r("%r", 10 + i) + ", " + s(2 * i + 1) + ", " + s(2 * i) + ";\n";
  for (int i = 0; i < 8; ++i) {
    std::string list = "{" + r("%r", 10 + 4 * i) + ", " + r("%r", 11 + 4 * i) + ", " + r("%r", 12 + 4 * i) + ", " +
                       r("%r", 13 + 4 * i) + "}";
    w.body += "st.shared.v4.b32 [%r100], " + list + "; ld.shared.v4.b32 " + list + ", [%r100];\n";
  }
  return w;
}

Workload mma(const std::string& instruction, int a, int b, int c, double operations) {
  Workload w{instruction, "", "", 0, 0, 8};
  auto list = [](const char* prefix, int first, int count) {
    std::string text = "{";
    for (int i = 0; i < count; ++i) text += (i ? ", " : "") + r(prefix, first + i);
    return text + "}";
  };
  for (int n = 0; n < 16; ++n) {
    const char* accumulators = c == 2 ? "%r" : "%s";
    std::string d = list(accumulators, c == 2 ? 60 + 2 * n : 4 * n, c);
    w.body += instruction + " " + d + ", " + list("%r", 10, a) + ", " + list("%r", 20 + 2 * n, b) + ", " + d + ";\n";
  }
  w.operations = 16 * operations;
  return w;
}

/// 64 of k of a product of 64 x 128 for each warpgroup, operands in shared memory with a swizzle of 128 bytes.
Workload wgmma(const std::string& type, int k) {
  const int bytes = 32 / k; // of an element
  Workload w{"wgmma.m64n128k" + std::to_string(k) + " " + type,
             "mov.u32 %r3, buffer; shr.u32 %r3, %r3, 4; cvt.u64.u32 %rd40, %r3; or.b64 %rd40, %rd40, "
             "4611686293305294848; add.u64 %rd41, %rd40, 1024; setp.eq.u32 %p5, 0, 0;\n", // 128-byte swizzle, groups of
                                                                                          // rows 1024 bytes apart
             "wgmma.fence.sync.aligned;\n", 0, 0, 8};
  const int count = 4;
  std::string d = "{%s0";
  for (int i = 1; i < 64; ++i) d += ", " + r("%s", i);
  for (int i = 0; i < count; ++i)
    w.body += "add.u64 %rd42, %rd40, " + std::to_string(2 * i) + "; add.u64 %rd43, %rd41, " + std::to_string(2 * i) +
              "; wgmma.mma_async.sync.aligned.m64n128k" + std::to_string(k) + ".f32." + type + "." + type + " " + d +
              "}, %rd42, %rd43, %p5, 1, 1" + (bytes == 2 ? ", 0, 0" : "") + ";\n";
  w.body += "wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;\n";
  w.operations = count * 2.0 * 64 * 128 * k / 4;
  return w;
}

Workload repeated(const std::string& name, const std::string& line, int times, const std::string& setup = "") {
  Workload w{name, setup, "", 0, 0, 8};
  for (int i = 0; i < times; ++i) w.body += line + "\n";
  return w;
}

/// Memory that nobody has written would be a finding.
std::string clear_buffer() {
  std::string text = "mov.u32 %r100, buffer; mad.lo.u32 %r100, %r2, 16, %r100; mov.u32 %r101, 0;\n";
  for (int i = 0; i < 16; ++i)
    text += "st.shared.v4.b32 [%r100+" + std::to_string(4096 * i) + "], {%r101, %r101, %r101, %r101};\n";
  return text + "fence.proxy.async.shared::cta; bar.sync 0;\n";
}

/// Gives the registers of a workload that its setup does not set values, other ones in each lane: the sanitizers look
/// at every use of a register that may have none. Numbers of bf16, f16, tf32 and fp8 alike, none of them subnormal.
std::string give_values(const Workload& w) {
  auto names = [](const std::string& text) {
    static const std::regex name("%([a-z]+)[0-9]+");
    std::map<std::string, std::string> found; // name, kind
    for (std::sregex_iterator it(text.begin(), text.end(), name), end; it != end; ++it) found[it->str()] = it->str(1);
    return found;
  };
  static const std::map<std::string, std::string> from{{"r", "or.b32 $, %r2, 0x3f803f80;"},
                                                       {"f", "cvt.rn.f32.u32 $, %r2;"},
                                                       {"s", "cvt.rn.f32.u32 $, %r2;"},
                                                       {"p", "setp.gt.u32 $, %r2, 16;"}};
  std::string text;
  const auto set = names(thread_index + clear_buffer() + w.setup);
  for (const auto& [name, kind] : names(w.body))
    if (!set.contains(name) && from.contains(kind)) text += std::regex_replace(from.at(kind), std::regex("\\$"), name);
  return text + "\n";
}

std::vector<double> slowdowns[2]; ///< with sanitizers, with counters

double cpu_seconds() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

std::string chosen; ///< lines with that in their names

/// Prints a line; gives the warp-instructions a second by core time, in millions.
double measure(Simulator& sim, Workload w, double seconds) {
  if (w.name.find(chosen) == w.name.npos) return 0;
  w.instructions = count_instructions(w.body);
  const int blocks = 16;
  static const auto global = sim.upload(std::vector<uint32_t>(blocks * 256 * 16)); // 64 bytes for each thread
  auto text = [&](int trips) {
    return kernel_text({"u64"},
                       ".reg .f32 %s<64>;\n" + thread_index + clear_buffer() + give_values(w) + w.setup +
                           "mov.u32 %r190, 0;\nLOOP:\n" + w.body + "add.u32 %r190, %r190, 1; setp.lt.u32 %p1, %r190, " +
                           std::to_string(trips) + "; @%p1 bra LOOP;",
                       "sm_90a", ".shared .align 16 .b8 buffer[65536];");
  };
  double cpu = 1e9; // a trip
  auto run = [&](int trips) {
    tilejit::CompiledKernel kernel;
    kernel.name = "k", kernel.target = sim.device->target(), kernel.ptx = text(trips),
    kernel.threads = static_cast<uint32_t>(32 * w.warps);
    auto module = sim.device->load(kernel);
    Launch launch;
    launch.grid = {blocks, 1, 1};
    launch.parameters = {global->address()};
    auto begin = std::chrono::steady_clock::now();
    double cpu_begin = cpu_seconds();
    sim.device->launch(*module, launch);
    sim.device->synchronize();
    cpu = std::min(cpu, (cpu_seconds() - cpu_begin) / trips);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  int trips = 8;
  double time = run(trips);
  while (time < seconds / 8 && trips < (1 << 24)) trips *= 2, time = run(trips);
  double spent = time;
  while (spent < seconds) {
    double again = run(trips);
    spent += again;
    time = std::min(time, again);
  }
  double warps = static_cast<double>(blocks) * w.warps, cores = std::thread::hardware_concurrency();
  auto rate = [&](double work, const char* unit, double scale) {
    std::printf(" %8.1f %8.1f %s", warps * work * trips / time * scale, warps * work / cpu * cores * scale, unit);
  };
  std::printf("%-56s", w.name.c_str());
  rate(w.instructions + 3, "M warp-instructions/s", 1e-6);
  if (w.operations > 0) rate(w.operations, "GFLOP/s", 1e-9);
  auto& instrument = dynamic_cast<SimulatorDevice&>(*sim.device);
  for (Instruments with : {Instruments{.sanitize = true}, Instruments{.counters = true}}) {
    double plain = cpu;
    instrument.set_instruments(with);
    cpu = 1e9;
    for (int i = 0; i < 3; ++i) run(trips);
    double factor = cpu / plain;
    std::printf("  %s %.2f", with.sanitize ? "sanitized" : "counted", factor);
    slowdowns[with.counters].push_back(factor);
    cpu = plain;
  }
  instrument.set_instruments({});
  if (!instrument.findings().empty()) std::printf("  %s", instrument.findings()[0].message.c_str());
  instrument.clear_findings();
  std::printf("\n");
  std::fflush(stdout);
  return warps * (w.instructions + 3) / cpu * cores * 1e-6;
}

/// Rates of code without matrices at a level, measured in a process of its own: a process has one level.
std::vector<double> rates_at(const char* level, double seconds) {
  int ends[2];
  if (pipe(ends) != 0) return {};
  pid_t child = fork();
  if (child == 0) {
    if (level) setenv("TILEJIT_SIMULATOR_ISA", level, 1);
    Simulator sim;
    std::printf("%s\n", sim.device->name().c_str());
    double rates[2] = {measure(sim, alu_mix(), seconds), measure(sim, softmax(true), seconds)};
    _exit(write(ends[1], rates, sizeof rates) == sizeof rates ? 0 : 1);
  }
  std::vector<double> rates(2);
  bool complete = read(ends[0], rates.data(), 2 * sizeof(double)) == 2 * sizeof(double);
  waitpid(child, nullptr, 0);
  close(ends[0]);
  close(ends[1]);
  return complete ? rates : std::vector<double>{};
}

double geometric_mean(const std::vector<double>& all) {
  double sum = 0;
  for (double x : all) sum += std::log(x);
  return std::exp(sum / static_cast<double>(all.size()));
}

} // namespace

int main(int argc, char** argv) {
  double seconds = argc > 1 ? std::atof(argv[1]) : 1;
  if (argc > 2) chosen = argv[2];
  if (chosen.empty()) { // before anything chooses a level for this process
    auto plain = rates_at("plain", seconds), own = rates_at(nullptr, seconds);
    if (plain.size() == 2 && own.size() == 2)
      std::printf("against the plain interpreter: ALU mix %.1f times, softmax step %.1f times as fast\n\n",
                  own[0] / plain[0], own[1] / plain[1]);
  }
  Simulator sim;
  std::printf("%s, %u cores\n", sim.device->name().c_str(), std::thread::hardware_concurrency());
  const std::string own =
      "mov.u32 %r100, buffer; mad.lo.u32 %r100, %r2, 4, %r100; and.b32 %r101, %r2, 31; mul.lo.u32 %r101, %r101, 11; "
      "and.b32 %r101, %r101, 31; mov.u32 %r102, buffer; mad.lo.u32 %r101, %r101, 4, %r102; "
      "shr.u32 %r102, %r2, 5; mad.lo.u32 %r101, %r102, 128, %r101;\n";
  measure(sim, alu_mix(), seconds);
  measure(sim, softmax(false), seconds);
  measure(sim, softmax(true), seconds);
  measure(sim, mma("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", 4, 2, 4, 4096), seconds);
  measure(sim, mma("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", 4, 2, 4, 4096), seconds);
  measure(sim, mma("mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16", 4, 2, 2, 4096), seconds);
  measure(sim, mma("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32", 4, 2, 4, 2048), seconds);
  measure(sim, wgmma("bf16", 16), seconds);
  measure(sim, wgmma("f16", 16), seconds);
  measure(sim, wgmma("e4m3", 32), seconds);
  measure(sim, repeated("alone: add.f32", "add.f32 %f1, %f1, %f2; add.f32 %f3, %f3, %f4;", 32), seconds);
  measure(sim, repeated("alone: ex2.approx.ftz.f32", "ex2.approx.ftz.f32 %f1, %f2; ex2.approx.ftz.f32 %f3, %f4;", 32),
          seconds);
  measure(sim,
          repeated("alone: cvt.rn.bf16x2.f32", "cvt.rn.bf16x2.f32 %r3, %f1, %f2; cvt.rn.bf16x2.f32 %r4, %f3, %f4;", 32),
          seconds);
  measure(sim,
          repeated("alone: shfl.sync.bfly",
                   "shfl.sync.bfly.b32 %r3, %r4, 1, 31, -1; shfl.sync.bfly.b32 %r4, %r3, 8, 31, -1;", 32),
          seconds);
  measure(sim,
          repeated("alone: guarded add.f32, half of the lanes",
                   "@%p2 add.f32 %f1, %f1, %f2; @%p2 add.f32 %f3, %f3, %f4;", 32,
                   "and.b32 %r3, %r2, 1; setp.eq.u32 %p2, %r3, 1;\n"),
          seconds);
  measure(sim,
          repeated("alone: uniform add.u32", "add.u32 %r3, %r3, %r4; add.u32 %r5, %r5, %r6;", 32,
                   "mov.u32 %r3, %ctaid.x; mov.u32 %r4, 3; mov.u32 %r5, %ntid.x; mov.u32 %r6, %nctaid.x;\n"),
          seconds);
  measure(sim,
          repeated("alone: ld.shared.b32, contiguous", "ld.shared.b32 %r3, [%r100]; ld.shared.b32 %r4, [%r100+16384];",
                   32, own),
          seconds);
  measure(sim,
          repeated("alone: st.shared.b32, contiguous", "st.shared.b32 [%r100], %r3; st.shared.b32 [%r100+16384], %r4;",
                   32, own),
          seconds);
  measure(sim,
          repeated("alone: ld.shared.b32, permuted", "ld.shared.b32 %r3, [%r101]; ld.shared.b32 %r4, [%r101+16384];",
                   32, own),
          seconds);
  measure(sim,
          repeated("alone: st.shared.b32, permuted", "st.shared.b32 [%r101], %r3; st.shared.b32 [%r101+16384], %r4;",
                   32, own),
          seconds);
  measure(sim,
          repeated("alone: ld.shared.v4.b32", "ld.shared.v4.b32 {%r3, %r4, %r5, %r6}, [%r103];", 64,
                   "mov.u32 %r103, buffer; mad.lo.u32 %r103, %r2, 16, %r103;\n"),
          seconds);
  measure(sim,
          repeated("alone: ldmatrix.x4", "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r3, %r4, %r5, %r6}, [%r103];", 64,
                   "mov.u32 %r103, buffer; mad.lo.u32 %r103, %r2, 16, %r103;\n"),
          seconds);
  measure(sim,
          repeated("alone: ldmatrix.x4.trans",
                   "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%r3, %r4, %r5, %r6}, [%r103];", 64,
                   "mov.u32 %r103, buffer; mad.lo.u32 %r103, %r2, 16, %r103;\n"),
          seconds);
  // %rd41: a word of each thread's own, %rd42: the same in another order in the warp, %rd43: 16 bytes.
  const std::string global =
      "ld.param.u64 %rd40, [p0]; mad.wide.u32 %rd41, %r0, 4, %rd40; mad.wide.u32 %rd43, %r0, 16, %rd40; and.b32 %r101, "
      "%r2, 31; mul.lo.u32 %r101, %r101, 11; and.b32 %r101, %r101, 31; and.b32 %r102, %r0, -32; or.b32 %r101, %r101, "
      "%r102; mad.wide.u32 %rd42, %r101, 4, %rd40; mov.u32 %r103, buffer; mad.lo.u32 %r103, %r2, 16, %r103;\n";
  auto twice = [](const std::string& before, const std::string& after) {
    return before + "]" + after + "; " + before + "+16384]" + after + ";";
  };
  measure(sim, repeated("alone: ld.global.b32, contiguous", twice("ld.global.b32 %r3, [%rd41", ""), 32, global),
          seconds);
  measure(sim, repeated("alone: ld.global.b32, permuted", twice("ld.global.b32 %r3, [%rd42", ""), 32, global), seconds);
  measure(sim, repeated("alone: st.global.b32, contiguous", twice("st.global.b32 [%rd41", ", %r3"), 32, global),
          seconds);
  measure(sim, repeated("alone: ld.global.v4.b32", "ld.global.v4.b32 {%r3, %r4, %r5, %r6}, [%rd43];", 64, global),
          seconds);
  measure(
      sim,
      repeated("alone: cp.async, 16 bytes, four a group",
               "cp.async.cg.shared.global [%r103], [%rd43], 16; cp.async.cg.shared.global [%r103+4096], [%rd43], 16; "
               "cp.async.cg.shared.global [%r103+8192], [%rd43], 16; cp.async.cg.shared.global [%r103+12288], "
               "[%rd43], 16; cp.async.commit_group; cp.async.wait_group 0;",
               8, global),
      seconds);
  std::printf("geometric mean: sanitized %.2f, counted %.2f\n", geometric_mean(slowdowns[0]),
              geometric_mean(slowdowns[1]));
}
