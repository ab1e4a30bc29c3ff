// Random accesses of two warps to one piece of memory, of all widths and orders of lanes: whether the sanitizer finds a
// race must be what a model of single bytes says. The model knows barriers, threads and bytes, and nothing of records
// (records.h), chunks, or accesses that are as usual.
#include "tests/runtime/simulator/sanitize/planted.h"

#include <array>
#include <optional>

using namespace tilejit::runtime;
using namespace tilejit::runtime::simulator::test;

namespace {

constexpr uint32_t memory_bytes = 2048, threads = 64;

struct Choices {
  uint64_t state;
  uint32_t below(uint32_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(state >> 33) % n;
  }
};

/// An access by some lanes of both warps: lane l of warp w begins at base + w * apart + (l * turn % 32 ^ swap) * width.
struct Access {
  bool writes = false;
  uint32_t width = 4, base = 0, apart = 0, turn = 1, swap = 0;
  uint32_t lanes = ~0u;

  uint32_t address(uint32_t thread) const { return base + thread / 32 * apart + (thread * turn % 32 ^ swap) * width; }
  bool executes(uint32_t thread) const { return lanes >> thread % 32 & 1; }
};
/// Nothing: a barrier.
using Step = std::optional<Access>;

std::vector<Step> random_program(Choices& random, uint32_t bytes = memory_bytes) {
  std::vector<Step> steps;
  const uint32_t least = random.below(3); // log2 of the smallest width
  for (uint32_t n = 3 + random.below(6); n; --n) {
    if (random.below(2)) {
      steps.push_back(std::nullopt);
      continue;
    }
    Access a;
    a.writes = random.below(2);
    a.width = 1u << (least + random.below(5 - least));
    a.apart = random.below(3) ? 32 * a.width : random.below(3) * a.width; // most often the warps do not meet
    a.base = random.below((bytes - 64 * a.width) / a.width + 1) * a.width;
    if (random.below(2)) a.base &= ~127u;
    if (random.below(2)) a.turn = 1 + 2 * random.below(16);
    if (random.below(3) == 0) a.swap = random.below(32);
    if (random.below(4) == 0) a.lanes = random.below(2) ? 0xffff : random.below(2) ? 0xff : 0x55555555;
    steps.push_back(a);
  }
  return steps;
}

std::string text_of(const std::vector<Step>& steps, bool shared) {
  const std::string space = shared ? "shared" : "global";
  // Every byte is written first.
  std::string text = shared ? "mov.u32 %r3, buffer; cvt.u64.u32 %rd1, %r3;\n" : "ld.param.u64 %rd1, [p0];\n";
  text += "mul.wide.u32 %rd2, %r2, 16; add.u64 %rd2, %rd1, %rd2; and.b32 %r5, %r2, 31; mov.u32 %r10, 1;\n"
          "mov.u32 %r11, 1; mov.u32 %r12, 1; mov.u32 %r13, 1; mov.u64 %rd10, 1; mov.u16 %h1, 1;\n";
  for (int i = 0; i < 2; ++i)
    text += "st." + space + ".v4.b32 [%rd2+" + std::to_string(1024 * i) + "], {%r10, %r10, %r10, %r10};\n";
  text += "bar.sync 0;\n";
  for (const Step& step : steps) {
    if (!step) {
      text += "bar.sync 0;\n";
      continue;
    }
    const Access& a = *step;
    auto number = [](uint32_t x) { return std::to_string(x); };
    text += "mul.lo.u32 %r6, %r2, " + number(a.turn) + "; and.b32 %r6, %r6, 31; xor.b32 %r6, %r6, " + number(a.swap) +
            "; mul.lo.u32 %r6, %r6, " + number(a.width) + "; shr.u32 %r7, %r2, 5; mad.lo.u32 %r6, %r7, " +
            number(a.apart) + ", %r6; cvt.u64.u32 %rd3, %r6; add.u64 %rd3, %rd3, %rd1;\n";
    std::string guard;
    if (a.lanes != ~0u) {
      text += "shr.u32 %r8, " + number(a.lanes) + ", %r5; and.b32 %r8, %r8, 1; setp.ne.u32 %p1, %r8, 0;\n";
      guard = "@%p1 ";
    }
    const std::string type = a.width == 16 ? ".v4.b32" : ".b" + number(8 * a.width),
                      value = a.width == 16  ? "{%r10, %r11, %r12, %r13}"
                              : a.width == 8 ? "%rd10"
                              : a.width == 4 ? "%r10"
                                             : "%h1",
                      at = "[%rd3+" + number(a.base) + "]";
    text +=
        guard +
        (a.writes ? "st." + space + type + " " + at + ", " + value : "ld." + space + type + " " + value + ", " + at) +
        ";\n";
  }
  return kernel_text({"u64"}, thread_index + text, "sm_90a",
                     ".shared .align 128 .b8 buffer[" + std::to_string(memory_bytes) + "];");
}

/// Whether accesses between two barriers meet: the last write of a byte, the last read of it by each warp.
bool has_race(const std::vector<Step>& steps) {
  struct Byte {
    int writer = -1;
    std::array<int, 2> readers{-1, -1};
  };
  std::vector<Byte> bytes(memory_bytes);
  for (const Step& step : steps) {
    if (!step) {
      bytes.assign(memory_bytes, {});
      continue;
    }
    for (uint32_t thread = 0; thread < threads; ++thread) {
      if (!step->executes(thread)) continue;
      const int me = static_cast<int>(thread);
      for (uint32_t i = 0; i < step->width; ++i) {
        Byte& b = bytes[step->address(thread) + i];
        auto other = [&](int who) { return who >= 0 && who != me; };
        if (other(b.writer) || (step->writes && (other(b.readers[0]) || other(b.readers[1])))) return true;
        if (step->writes)
          b.writer = me;
        else
          b.readers[thread / 32] = me;
      }
    }
  }
  return false;
}

} // namespace

TEST_CASE("random accesses race where single bytes do") {
  const bool shared = GENERATE(true, false), counters = GENERATE(false, true);
  Simulator sim;
  auto& instrument = dynamic_cast<SimulatorDevice&>(*sim.device);
  instrument.set_instruments({.sanitize = true, .counters = counters});
  auto buffer = sim.upload(std::vector<uint8_t>(memory_bytes));
  int races = 0, clean = 0;
  for (uint32_t round = 0; round < 600; ++round) {
    Choices random{round * 0x9e3779b97f4a7c15u + 1};
    const std::vector<Step> steps = random_program(random);
    const std::string text = text_of(steps, shared);
    sim.run(text, 1, threads, {buffer->address()});
    const auto& findings = instrument.findings();
    const bool expected = has_race(steps);
    ++(expected ? races : clean);
    INFO(text << (findings.empty() ? "" : findings[0].message));
    REQUIRE(!findings.empty() == expected);
    for (const Finding& f : findings) REQUIRE(f.kind == (shared ? FindingKind::shared_race : FindingKind::global_race));
    instrument.clear_findings();
  }
  CHECK(std::min(races, clean) > 100);
}

TEST_CASE("what lanes load and store is the same with the sanitizers") {
  const bool shared = GENERATE(true, false);
  constexpr uint32_t bytes = 12288; // several pages of global memory
  Simulator sim;
  auto& instrument = dynamic_cast<SimulatorDevice&>(*sim.device);
  for (uint32_t round = 0; round < 200; ++round) {
    Choices random{round * 0x9e3779b97f4a7c15u + 7};
    const std::string space = shared ? "shared" : "global";
    // Byte i of the memory is a number that no other place near it has; what is loaded is added up in %r9.
    std::string text = "ld.param.u64 %rd1, [p1];\nmov.u32 %r3, buffer; mov.u32 %r9, 0; mov.u32 %r12, 0;\n";
    if (shared) text += "cvt.u64.u32 %rd1, %r3;\n";
    text += "FILL: mad.lo.u32 %r4, %r12, 32, %r2; mul.wide.u32 %rd2, %r4, 4; add.u64 %rd2, %rd2, %rd1; "
            "mul.lo.u32 %r4, %r4, 0x9e3779b1; st." +
            space +
            ".b32 [%rd2], %r4; add.u32 %r12, %r12, 1; setp.lt.u32 %p1, "
            "%r12, " +
            std::to_string(bytes / 128) + "; @%p1 bra FILL; bar.sync 0;\n";
    uint32_t number = 0;
    for (const Step& step : random_program(random, bytes)) {
      if (!step) continue;
      const Access& a = *step;
      text += "mul.lo.u32 %r6, %r2, " + std::to_string(a.turn) + "; and.b32 %r6, %r6, 31; xor.b32 %r6, %r6, " +
              std::to_string(a.swap) + "; mul.lo.u32 %r6, %r6, " + std::to_string(a.width) +
              "; cvt.u64.u32 %rd3, %r6; add.u64 %rd3, %rd3, %rd1; mad.lo.u32 %r20, %r2, 77, " +
              std::to_string(++number) +
              "; mov.u32 %r21, %r20; add.u32 %r22, %r20, %r9; add.u32 %r23, %r20, 5; cvt.u64.u32 %rd20, %r22; "
              "cvt.u16.u32 %h20, %r22; shr.u32 %r8, " +
              std::to_string(a.lanes) + ", %r2; and.b32 %r8, %r8, 1; setp.ne.u32 %p1, %r8, 0;\n";
      const std::string type = a.width == 16  ? ".v4.b32"
                               : a.width == 2 ? ".s16"
                                              : ".b" + std::to_string(8 * a.width),
                        value = a.width == 16  ? "{%r20, %r21, %r22, %r23}"
                                : a.width == 8 ? "%rd20"
                                : a.width == 4 ? "%r20"
                                               : "%h20",
                        at = "[%rd3+" + std::to_string(a.base) + "]";
      if (a.writes)
        text += "@%p1 st." + space + type + " " + at + ", " + value + ";\n";
      else
        text +=
            "@%p1 ld." + space + type + " " + value + ", " + at +
            "; xor.b32 %r9, %r9, %r20; mad.lo.u32 %r9, %r9, 31, "
            "%r21; cvt.u32.u64 %r20, %rd20; add.u32 %r9, %r9, %r20; cvt.s32.s16 %r20, %h20; mad.lo.u32 %r9, %r9, 7, "
            "%r20; mad.lo.u32 %r9, %r22, 3, %r9; add.u32 %r9, %r9, %r23;\n";
      text += "bar.sync 0;\n";
    }
    text += element("%rd60", 0, "%r0", 4) + "st.global.b32 [%rd60], %r9;\n";
    text = kernel_text({"u64", "u64"}, thread_index + text, "sm_90a",
                       ".shared .align 128 .b8 buffer[" + std::to_string(bytes) + "];");
    auto run = [&](bool sanitize) {
      instrument.set_instruments({.sanitize = sanitize});
      auto out = sim.upload(std::vector<uint32_t>(32)), memory = sim.upload(std::vector<uint32_t>(bytes / 4));
      sim.run(text, 1, 32, {out->address(), memory->address()});
      auto all = sim.download<uint32_t>(*out), rest = sim.download<uint32_t>(*memory);
      all.insert(all.end(), rest.begin(), rest.end());
      return all;
    };
    INFO(text);
    REQUIRE(run(false) == run(true));
  }
}

TEST_CASE("a program with more accesses than a record can name is refused") {
  Sanitized sim;
  std::string stores;
  for (int i = 0; i < 1 << 19; ++i) stores += "st.shared.b32 [%r3], %r0;\n";
  CHECK(sim.error_of(block_text(stores), 1, 32, {}).find("more than the sanitizers can tell apart (524288)") !=
        std::string::npos);
}
