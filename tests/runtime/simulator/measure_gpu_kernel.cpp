// measure_gpu_kernel.cpp - the frame of the kernels, and how they are run.
#include "runtime/cuda/driver.h"
#include "tests/runtime/simulator/measure_gpu.h"

#include <algorithm>
#include <atomic>
#include <random>
#include <span>
#include <thread>

namespace tilejit::measure {

std::string number(uint64_t n) { return std::to_string(n); }

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

double median(std::vector<double> values) {
  if (values.empty()) return no_value;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

namespace {

struct Family {
  const char* prefix;
  const char* type;
  uint32_t count;
  const char* to_word; ///< PTX that makes a 32-bit word %a31 of one, at '#'
};
constexpr Family families[] = {
    {"%x", "b32", most_chains, "mov.b32 %a31, %x#;"},
    {"%y", "b32", most_chains, "mov.b32 %a31, %y#;"},
    {"%z", "b32", most_chains, "mov.b32 %a31, %z#;"},
    {"%w", "b32", most_chains, "mov.b32 %a31, %w#;"},
    {"%dx", "b64", most_chains,
     "cvt.u32.u64 %a30, %dx#; shr.u64 %rd31, %dx#, 32; cvt.u32.u64 %a31, %rd31; xor.b32 %a31, %a31, %a30;"},
    {"%dy", "b64", most_chains,
     "cvt.u32.u64 %a30, %dy#; shr.u64 %rd31, %dy#, 32; cvt.u32.u64 %a31, %rd31; xor.b32 %a31, %a31, %a30;"},
    {"%dz", "b64", most_chains,
     "cvt.u32.u64 %a30, %dz#; shr.u64 %rd31, %dz#, 32; cvt.u32.u64 %a31, %rd31; xor.b32 %a31, %a31, %a30;"},
    {"%hx", "b16", most_chains, "cvt.u32.u16 %a31, %hx#;"},
    {"%c", "f32", 128, "mov.b32 %a31, %c#;"},
    {"%i", "b32", 128, "mov.b32 %a31, %i#;"},
    {"%fd", "f64", 32,
     "mov.b64 %rd31, %fd#; shr.u64 %rd30, %rd31, 32; cvt.u32.u64 %a30, %rd30; cvt.u32.u64 %a31, %rd31; xor.b32 %a31, "
     "%a31, %a30;"},
};

/// How many registers of a family, from 0 on, the text uses.
uint32_t used(const std::string& text, const std::string& prefix) {
  uint32_t count = 0;
  for (size_t at = 0; (at = text.find(prefix, at)) != std::string::npos;) {
    at += prefix.size();
    uint32_t n = 0;
    size_t end = at;
    while (end < text.size() && text[end] >= '0' && text[end] <= '9')
      n = 10 * n + static_cast<uint32_t>(text[end++] - '0');
    if (end > at) count = std::max(count, n + 1);
  }
  return count;
}

/// First values: words and pairs of words of the input, zeros for the rest.
std::string first_values(const Family& f, uint32_t count) {
  std::string text, prefix = f.prefix;
  for (uint32_t n = 0; n < count; ++n) {
    const std::string r = prefix + number(n);
    const std::string at = "[%rd2+" + number(8192 * (n + most_chains * static_cast<uint32_t>(&f - families))) + "]";
    if (prefix == "%c" || prefix == "%i")
      text += "mov.b32 " + r + ", 0" + (prefix == "%c" ? "f00000000;\n" : ";\n");
    else if (prefix == "%fd")
      text += "cvt.rn.f64.u32 " + r + ", %r0;\n";
    else if (prefix == "%hx")
      text += "cvt.u16.u32 " + r + ", %r0;\n";
    else
      text += "ld.global." + std::string(f.type) + " " + r + ", " + at + ";\n";
  }
  return text;
}

constexpr const char* parameters =
    "(.param .u64 out, .param .u64 in, .param .u64 repeats, .param .u64 zero, .param .u64 argument)\n";

std::string head(uint32_t since) {
  return ".version " + number(since / 10) + "." + number(since % 10) + "\n.target sm_90a\n.address_size 64\n";
}

} // namespace

Kernel kernel_of(const Parts& p) {
  const bool loops = !p.body.empty();
  const std::string all = p.setup + p.less + p.more + p.body + p.background;
  std::string initial, sink;
  for (const Family& f : families) {
    const uint32_t count = used(all, f.prefix);
    initial += first_values(f, count);
    for (uint32_t n = 0; n < count; ++n) sink += replaced(f.to_word, "#", number(n)) + " xor.b32 %a29, %a29, %a31;\n";
  }
  std::string declared;
  for (const Family& f : families)
    declared += ".reg ." + std::string(f.type) + " " + f.prefix + "<" + number(f.count) + ">; ";
  const uint32_t threads = p.threads + p.background_threads;
  const bool barrier = !p.one_thread;
  const std::string meet = p.cluster              ? "barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;\n"
                           : !barrier             ? ""
                           : p.background.empty() ? "bar.sync 0;\n"
                                                  : "bar.sync 1, " + number(p.threads) + ";\n";
  std::string text =
      head(p.since) + ".extern .shared .align 1024 .b8 area[];\n.visible .entry k" + parameters + ".maxntid " +
      number(threads) + ", 1, 1\n" + (p.cluster ? ".reqnctapercluster " + number(p.cluster) + ", 1, 1\n" : "") + "{\n" +
      declared +
      "\n.reg .b32 %r<8>; .reg .b32 %a<32>; .reg .b64 %rd<32>; .reg .b32 %t<16>; .reg .b16 %th<16>; .reg "
      ".f32 %tf<16>; .reg .b64 %td<16>; .reg .pred %p<16>; .reg .pred %q<4>; .reg .b64 %clk<5>; .reg .b64 %out; .reg "
      ".b32 "
      "%rep; .reg .b32 %repeats; .reg .b32 %round; .reg .b32 %rounds;\n";
  text += "mov.u32 %r0, %tid.x;\nmov.u32 %r1, area;\nld.param.u64 %out, [out];\nld.param.u64 %rd1, [in];\n"
          "ld.param.b64 %rd5, [repeats];\nmov.b64 {%repeats, %rounds}, %rd5;\nld.param.u64 %rd4, [zero];\n"
          "ld.param.u64 %rd3, [argument];\nmad.wide.u32 %rd2, %r0, 8, %rd1;\nmov.u32 %rep, 0;\nmov.b32 %a29, 0;\n";
  // Shared memory: random words, then 16 mbarriers of one arrival, then zeros up to 1024.
  text += "shl.b32 %a0, %r0, 2;\nFILL:\nsetp.ge.u32 %p0, %a0, " + number(p.shared) +
          ";\n@%p0 bra FILLED;\ncvt.u64.u32 %rd5, %a0;\nadd.u64 %rd5, %rd1, %rd5;\nld.global.b32 %a1, [%rd5];\nadd.u32 "
          "%a2, "
          "%r1, %a0;\nsetp.lt.u32 %p1, %a0, 1024;\nselp.b32 %a1, 0, %a1, %p1;\nst.shared.b32 [%a2], %a1;\nadd.u32 %a0, "
          "%a0, " +
          number(4 * threads) + ";\nbra FILL;\nFILLED:\nbar.sync 0;\nsetp.ne.u32 %p0, %r0, 0;\n@%p0 bra READY;\n";
  for (uint32_t b = 0; b < 16; ++b) text += "mbarrier.init.shared.b64 [%r1+" + number(8 * b) + "], 1;\n";
  text += "fence.mbarrier_init.release.cluster;\nREADY:\nbar.sync 0;\nadd.u32 %r1, %r1, 1024;\n";
  text += initial + p.setup;
  if (p.cluster) text += meet;
  // The clocks' places: ((repetition * blocks + block) * warps + warp) * 32.
  text += "mov.u32 %r2, %ctaid.x;\nmov.u32 %r3, %nctaid.x;\nshr.u32 %r4, %r0, 5;\nmad.lo.u32 %r2, %r2, " +
          number(threads / 32) +
          ", %r4;\nmul.wide.u32 %rd6, %r2, 32;\nadd.u64 %out, %out, %rd6;\nmul.lo.u32 %r3, %r3, " + number(threads) +
          ";\ncvt.u64.u32 %rd7, %r3;\nand.b32 %r5, %r0, 31;\nsetp.eq.u32 %q0, %r5, 0;\n";
  if (p.one_thread) text += "setp.ne.u32 %p0, %r0, 0;\n@%p0 bra END;\n";
  if (!p.background.empty()) text += "setp.ge.u32 %p0, %r0, " + number(p.threads) + ";\n@%p0 bra BACKGROUND;\n";
  text += "REPEAT:\n" + meet;
  if (loops) {
    // A warp that comes to bar.sync goes on to the next instruction that has to wait: a clock read right behind it
    // tells when the warp came, not when all had come. So it waits for a word, which is 0, and a branch.
    if (!meet.empty()) text += "ld.volatile.shared.b32 %a28, [%r1+-16];\nsetp.ne.u32 %q1, %a28, 0;\n@%q1 bra END;\n";
    text += "mov.u32 %round, 0;\nmov.u64 %clk0, %clock64;\nLOOP:\n.pragma \"nounroll\";\n" + p.body +
            "add.u32 %round, %round, 1;\nsetp.lt.u32 %q2, %round, %rounds;\n@%q2 bra LOOP;\n" + p.finish +
            "mov.u64 %clk1, %clock64;\n";
  } else {
    // Here the same would let the assembler move steps out of the parts. Of few steps and warps that are alike it
    // matters little: both parts begin as early.
    text += "mov.u64 %clk0, %clock64;\n" + p.less + "mov.u64 %clk1, %clock64;\n" + meet + "mov.u64 %clk2, %clock64;\n" +
            p.more + "mov.u64 %clk3, %clock64;\n";
  }
  text += std::string("@%q0 st.global.v2.b64 [%out], {%clk0, %clk1};\n@%q0 st.global.v2.b64 [%out+16], {") +
          (loops ? "%clk0, %clk1" : "%clk2, %clk3") +
          "};\nadd.u64 %out, %out, %rd7;\nadd.u32 %rep, %rep, 1;\nsetp.lt.u32 %p0, %rep, %repeats;\n@%p0 bra REPEAT;\n";
  if (!p.background.empty())
    text += meet + "st.volatile.shared.b32 [%r1+-8], 1;\nbra DONE;\nBACKGROUND:\n" + p.background +
            "ld.volatile.shared.b32 %a0, [%r1+-8];\nsetp.ne.u32 %p0, %a0, 0;\n" +
            // The warps of a warpgroup have to end together: the first that sees the flag ends all.
            (p.background.find("wgmma") == p.background.npos
                 ? ""
                 : "bar.red.or.pred %p0, 2, " + number(p.background_threads) + ", %p0;\n") +
            "@!%p0 bra BACKGROUND;\n" + p.background_end + "DONE:\n";
  if (p.cluster) text += meet; // nobody leaves while others may still read its shared memory
  text += "setp.eq.u64 %p0, %rd4, 0;\n@%p0 bra END;\n" + sink + "st.global.b32 [%out], %a29;\nEND:\nret;\n}\n";
  return {.name = p.name,
          .ptx = text,
          .threads = threads,
          .shared = p.shared,
          .counted = p.counted,
          .counted_less = p.counted_less,
          .counted_more = p.counted_more};
}

constexpr double rate_cycles = 100'000; ///< how long a loop runs of which a rate is told

/// All multiprocessors calculate for some milliseconds; each block reads the clock and the time around it.
Kernel clock_kernel() {
  std::string body;
  for (int i = 0; i < 64; ++i) body += "fma.rn.f32 %f0, %f0, %f1, %f1;\n";
  return {.name = "clock",
          .ptx = head(80) + ".visible .entry k" + parameters +
                 "{\n.reg .f32 %f<2>; .reg .b64 %rd<8>; .reg .b32 %r<4>; .reg .b64 %t<4>; .reg .pred %p0;\n"
                 "ld.param.u64 %rd0, [out];\nld.param.u64 %rd1, [argument];\nld.param.u64 %rd3, [zero];\n"
                 "cvt.rn.f32.u64 %f0, %rd3;\ncvt.rn.f32.u64 %f1, %rd3;\nmov.u64 %rd2, 0;\n"
                 "mov.u64 %t0, %clock64;\nmov.u64 %t1, %globaltimer;\nLOOP:\n" +
                 body +
                 "add.u64 %rd2, %rd2, 1;\nsetp.lt.u64 %p0, %rd2, %rd1;\n@%p0 bra LOOP;\nmov.u64 %t2, %clock64;\n"
                 "mov.u64 %t3, %globaltimer;\nmov.u32 %r0, %ctaid.x;\nmov.u32 %r1, %ntid.x;\nmov.u32 %r2, %tid.x;\n"
                 "mad.lo.u32 %r0, %r0, %r1, %r2;\nshr.u32 %r0, %r0, 5;\nmad.wide.u32 %rd0, %r0, 32, %rd0;\n"
                 "st.global.v2.b64 [%rd0], {%t0, %t1};\nst.global.v2.b64 [%rd0+16], {%t2, %t3};\n"
                 "setp.eq.u64 %p0, %rd3, 0;\n@%p0 bra END;\nst.global.f32 [%rd0], %f0;\nEND:\nret;\n}\n",
          .threads = 512};
}

// --- the machine -----------------------------------------------------------------------------------------------------

Machine::Machine(const std::string& name, bool brief) : device_(runtime::open_device(name)), brief_(brief) {
  if (name.starts_with("cuda")) {
    const auto driver = runtime::cuda::Driver::load();
    const int ordinal = name.find(':') == name.npos ? 0 : std::stoi(name.substr(name.find(':') + 1));
    const runtime::cuda::DeviceFacts facts = runtime::cuda::device_facts(*driver, ordinal);
    multiprocessors_ = static_cast<uint32_t>(facts.multiprocessors);
    title_ = facts.name + ", driver for CUDA " + driver->version();
  } else {
    multiprocessors_ = brief ? 2 : 132;
    title_ = device_->name();
  }
  input_ = device_->allocate(input_bytes);
  std::mt19937 random(1);
  std::vector<uint32_t> words(input_bytes / 4);
  for (uint32_t& w : words) w = static_cast<uint32_t>(random());
  device_->upload(*input_, 0, std::as_bytes(std::span(words)));
}

const runtime::Buffer& Machine::space(size_t bytes) {
  if (!space_ || space_->size() < bytes) {
    space_.reset();
    space_ = device_->allocate(bytes);
    device_->fill_zero(*space_);
  }
  return *space_;
}

void Machine::flush_l2() {
  if (!flush_) flush_ = device_->allocate(brief_ ? 1 << 20 : 256 << 20);
  device_->fill_zero(*flush_);
}

void Machine::reserve_out(size_t bytes) {
  if (!out_ || out_->size() < bytes) out_ = device_->allocate(std::max<size_t>(bytes, 1 << 20));
}

Machine::Prepared Machine::try_load(const Kernel& kernel) {
  try {
    return {device_->load({.name = "k",
                           .target = device_->target(),
                           .ptx = kernel.ptx,
                           .threads = kernel.threads,
                           .shared_bytes = kernel.shared}),
            ""};
  } catch (const runtime::Error& e) {
    return {nullptr, e.what()};
  }
}

std::shared_ptr<runtime::Module> Machine::load(const Kernel& kernel) {
  auto known = prepared_.find(&kernel);
  Prepared result = known == prepared_.end() ? try_load(kernel) : known->second;
  if (known != prepared_.end()) prepared_.erase(known);
  if (!result.module) throw Refused(result.refusal);
  return result.module;
}

void Machine::prepare(const std::vector<const Kernel*>& kernels) {
  std::vector<Prepared> results(kernels.size());
  std::atomic<size_t> next{0};
  auto work = [&] {
    for (size_t i; (i = next++) < kernels.size();) results[i] = try_load(*kernels[i]);
  };
  std::vector<std::thread> others;
  for (uint32_t t = 1; t < std::min(8u, std::thread::hardware_concurrency()); ++t) others.emplace_back(work);
  work();
  for (std::thread& t : others) t.join();
  prepared_.clear();
  for (size_t i = 0; i < kernels.size(); ++i) prepared_[kernels[i]] = results[i];
}

std::vector<Clocks> Machine::run(runtime::Module& module, uint32_t blocks, uint32_t repeats, uint64_t in,
                                 uint64_t argument, uint32_t rounds) {
  std::vector<Clocks> clocks(size_t{repeats} * blocks * (module.kernel().threads / 32));
  const size_t bytes = clocks.size() * sizeof(Clocks);
  reserve_out(bytes);
  device_->launch(module, {.grid = {blocks, 1, 1},
                           .parameters = {out_->address(), in ? in : input_->address(),
                                          uint64_t{rounds} << 32 | repeats, uint64_t{0}, argument}});
  device_->synchronize();
  device_->download(*out_, 0, std::as_writable_bytes(std::span(clocks)));
  return clocks;
}

std::vector<Cycles> Machine::cycles(runtime::Module& module, uint32_t blocks, uint32_t warps, uint64_t in,
                                    uint64_t argument, uint32_t rounds) {
  const uint32_t per_block = module.kernel().threads / 32;
  const std::vector<Clocks> clocks = run(module, blocks, repeats(), in, argument, rounds);
  std::vector<Cycles> all;
  for (uint32_t r = 1; r < repeats(); ++r) {
    const Clocks* first = &clocks[size_t{r} * blocks * per_block];
    Clocks span = *first;
    for (const Clocks* c = first; c < first + warps; ++c) {
      span.begin_less = std::min(span.begin_less, c->begin_less), span.end_less = std::max(span.end_less, c->end_less);
      span.begin_more = std::min(span.begin_more, c->begin_more), span.end_more = std::max(span.end_more, c->end_more);
    }
    all.push_back(
        {static_cast<double>(span.end_less - span.begin_less), static_cast<double>(span.end_more - span.begin_more)});
  }
  return all;
}

Measurement rate_of(const std::string& group, const Parts& parts, double work, const std::string& unit, double table,
                    bool with_space) {
  auto run = [=, name = parts.name, warps = parts.threads / 32](Machine& m, const std::vector<Kernel>& kernels) {
    auto module = m.load(kernels[0]);
    const uint64_t space = with_space ? m.space(1 << 20).address() : 0;
    auto spans = [&](uint32_t rounds) {
      std::vector<double> all;
      for (const Cycles& c : m.cycles(*module, 1, warps, 0, space, rounds)) all.push_back(c.less);
      return all;
    };
    // So long that what is at its begin and its end doesn't matter.
    uint32_t rounds = 2;
    if (!m.brief()) rounds = static_cast<uint32_t>(std::clamp(rate_cycles / (median(spans(2)) / 2), 2.0, 1e6));
    std::vector<double> rates;
    for (int launch = 0; launch < (m.brief() ? 1 : 3); ++launch)
      for (double cycles : spans(rounds)) rates.push_back(work * rounds / cycles);
    return std::vector<Result>{{name, median(rates), unit, table}};
  };
  return {group, parts.name, {kernel_of(parts)}, run};
}

double Machine::time(runtime::Module& module, uint32_t blocks, uint64_t in, uint64_t argument, uint32_t launches) {
  reserve_out(size_t{blocks} * (module.kernel().threads / 32) * sizeof(Clocks));
  return device_->time([&] {
    for (uint32_t l = 0; l < launches; ++l)
      device_->launch(
          module, {.grid = {blocks, 1, 1}, .parameters = {out_->address(), in, uint64_t{1}, uint64_t{0}, argument}});
  });
}

double Machine::clock_mhz() {
  if (clock_mhz_ > 0) return clock_mhz_;
  auto module = load(clock_kernel());
  std::vector<double> all;
  for (int launch = 0; launch < 3; ++launch) {
    // begin: clock, time; end: clock, time
    for (const Clocks& c : run(*module, multiprocessors_, 1, 0, brief_ ? 10 : 30000))
      if (c.end_more > c.end_less)
        all.push_back(1e3 * static_cast<double>(c.begin_more - c.begin_less) /
                      static_cast<double>(c.end_more - c.end_less));
  }
  return clock_mhz_ = median(all);
}

} // namespace tilejit::measure
