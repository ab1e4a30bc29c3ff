// cases_atomic.cpp - atom and red: every operation with every type, scalar, packed and vector, in every space. PTX ISA
// 9.7.13 "atom", "red".
#include "tests/runtime/simulator/conformance/exact.h"
#include "tests/runtime/simulator/conformance/harness.h"

#include <algorithm>
#include <cstring>

namespace tilejit::conformance {
namespace {

std::string number(int64_t n) { return std::to_string(n); }
uint64_t mask_of(int bits) { return bits == 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1; }

const Format* format_of(const std::string& type) {
  if (type.starts_with("bf16")) return &bf16;
  if (type.starts_with("f16")) return &f16;
  return type == "f32" ? &f32 : type == "f64" ? &f64 : nullptr;
}

/// What an element in memory becomes; nothing where the manual leaves the bits of a NaN open.
std::optional<uint64_t> combine_float(const std::string& op, const Format& f, uint64_t old, uint64_t b, bool flushes) {
  if (op == "exch") return b;
  if (flushes) old = flush(f, old), b = flush(f, b);
  Number x = decode(f, old), y = decode(f, b);
  if (op == "add") {
    uint64_t sum = encode(f, add(x, y));
    if (is_nan(f, sum)) return std::nullopt;
    return flushes ? flush(f, sum) : sum;
  }
  bool nan_x = is_nan(f, old), nan_y = is_nan(f, b);
  if (nan_x && nan_y) return std::nullopt;
  if (nan_x || nan_y) return nan_x ? b : old;
  int order = compare(x, y);
  if (order == 0) order = static_cast<int>(y.negative) - static_cast<int>(x.negative); // -0 < +0
  return (op == "min") == (order <= 0) ? old : b;
}

uint64_t combine_integer(const std::string& op, const std::string& type, uint64_t old, uint64_t b, uint64_t c) {
  int n = bits_of(type);
  uint64_t all = mask_of(n), top = is_signed(type) ? uint64_t{1} << (n - 1) : 0;
  if (op == "add") return (old + b) & all;
  if (op == "and") return old & b;
  if (op == "or") return old | b;
  if (op == "xor") return old ^ b;
  if (op == "inc") return old >= b ? 0 : old + 1;
  if (op == "dec") return old == 0 || old > b ? b : old - 1;
  if (op == "min") return (old ^ top) < (b ^ top) ? old : b;
  if (op == "max") return (old ^ top) > (b ^ top) ? old : b;
  if (op == "cas") return old == b ? c : old;
  return b; // exch
}

struct Atomic {
  std::string text, op, type; ///< "atom.global.add.u32"
  std::string space;          ///< where the memory is: "global" or "shared"
  bool generic = false;
  uint32_t count = 1; ///< elements of a vector
  uint32_t since = 80;
  std::string hint = "";
};

/// What the thread loads for each element: memory, b, c; 8 bytes each.
struct Values {
  uint64_t old, b, c;
};

/// Each thread has memory of its own; one of four stands aside. All pairs of special values, and random ones.
Case atomic_case(const Atomic& t, bool brief) {
  std::mt19937_64 random(11);
  auto special = special_values(t.type);
  std::vector<Values> values;
  for (uint64_t old : special)
    for (uint64_t b : special) values.push_back({old, b, special[random() % special.size()]});
  for (int i = 0; i < 1000; ++i)
    values.push_back({random_value(t.type, random), random_value(t.type, random), random_value(t.type, random)});
  // Comparisons that hold, and limits near the number.
  for (int i = 0; i < 200; ++i) {
    uint64_t old = random_value(t.type, random);
    values.push_back({old, i % 2 ? old : old + 1 - random() % 3, random()});
  }
  std::shuffle(values.begin(), values.end(), random);
  size_t block = 128 * t.count;
  values.resize(brief ? block : (values.size() + block - 1) / block * block, values[0]);
  for (Values& v : values) {
    uint64_t all = mask_of(bits_of(t.type));
    v.old &= all, v.b &= all, v.c &= all;
  }

  auto bytes = static_cast<uint32_t>(bits_of(t.type) / 8), share = bytes * t.count; // of memory for a thread
  std::string width = ".b" + number(8 * bytes), prefix = bytes == 8 ? "%rd" : bytes == 4 ? "%r" : "%h";
  bool returns = t.text.starts_with("atom"), cas = t.op == "cas";
  auto list = [&](uint32_t first) {
    std::string text;
    for (uint32_t i = 0; i < t.count; ++i) text += (i ? ", " : "") + prefix + number(first + i);
    return t.count == 1 ? text : "{" + text + "}";
  };
  // The output of a thread: what its memory holds afterwards, then what came back.
  std::string body = "mad.wide.u32 %rd1, %r0, " + number(24 * t.count) + ", %rd1;\nmad.wide.u32 %rd2, %r0, " +
                     number(share * (returns ? 2 : 1)) + ", %rd2;\nand.b32 %r20, %r0, 3;\nsetp.ne.u32 %p1, %r20, 0;\n";
  bool shared = t.space == "shared";
  if (shared)
    body += "mov.u32 %r21, %tid.x;\nmov.u64 %rd20, area;\nmad.wide.u32 %rd20, %r21, " + number(share) + ", %rd20;\n" +
            (t.generic ? "cvta.shared.u64 %rd21, %rd20;\n" : "mov.u64 %rd21, %rd20;\n");
  else
    body += "mov.u64 %rd20, %rd2;\nmov.u64 %rd21, %rd20;\n";
  std::string in = "." + t.space;
  for (uint32_t i = 0; i < t.count; ++i) {
    std::string at = number(24 * i), old = prefix + number(30 + i);
    body += "ld.global" + width + " " + old + ", [%rd1+" + at + "];\nst" + in + width + " [%rd20+" + number(bytes * i) +
            "], " + old + ";\nld.global" + width + " " + prefix + number(40 + i) + ", [%rd1+" + at + "+8];\nld.global" +
            width + " " + prefix + number(50 + i) + ", [%rd1+" + at + "+16];\nmov" + width + " " + prefix +
            number(60 + i) + ", 0x5a5a;\n";
  }
  if (!t.hint.empty()) body += "createpolicy.fractional.L2::evict_first.b64 %rd80;\n";
  body += "@%p1 " + t.text + " " + (returns ? list(60) + ", " : "") + "[%rd21], " + list(40) +
          (cas ? ", " + list(50) : "") + t.hint + ";\n";
  for (uint32_t i = 0; i < t.count; ++i) {
    if (shared)
      body += "ld.shared" + width + " " + prefix + number(30 + i) + ", [%rd20+" + number(bytes * i) + "];\nst.global" +
              width + " [%rd2+" + number(bytes * i) + "], " + prefix + number(30 + i) + ";\n";
    if (returns)
      body += "st.global" + width + " [%rd2+" + number(share + bytes * i) + "], " + prefix + number(60 + i) + ";\n";
  }
  Case c{.name = t.text + (t.generic ? " to " + t.space : "") + (t.hint.empty() ? "" : " with a policy"),
         .tests = {t.text},
         .declarations = ".shared .align 16 .b8 area[2048];",
         .body = body,
         .threads = 128,
         .blocks = static_cast<uint32_t>(values.size() / block),
         .since = t.since};
  auto raw = std::as_bytes(std::span(values));
  c.input.assign(raw.begin(), raw.end());
  size_t threads = values.size() / t.count;
  c.output = threads * share * (returns ? 2 : 1);
  c.check = [=](std::span<const std::byte> output) {
    Report report;
    const Format* f = format_of(t.type);
    bool packed = t.type.ends_with("x2");
    // Sums of f32 in global memory are flushed, those in shared memory are not.
    bool flushes = t.type == "f32" && !shared;
    for (size_t thread = 0; thread < threads; ++thread)
      for (uint32_t i = 0; i < t.count; ++i) {
        const Values& v = values[thread * t.count + i];
        uint64_t memory = 0, result = v.old;
        const std::byte* at = output.data() + thread * share * (returns ? 2 : 1) + i * bytes;
        std::memcpy(&memory, at, bytes);
        if (returns) result = 0, std::memcpy(&result, at + share, bytes);
        bool aside = thread % 4 == 0;
        auto describe = [&](const char* what, uint64_t got, uint64_t expected) {
          return what + (" of old " + hex(v.old)) + " b " + hex(v.b) + " c " + hex(v.c) + (aside ? " aside" : "") +
                 ": got " + hex(got) + ", expected " + hex(expected);
        };
        if (returns) {
          uint64_t expected = aside ? 0x5a5a : v.old;
          report.add(result == expected, [&] { return describe("the result", result, expected); });
        }
        int parts = packed ? 2 : 1, bits = bits_of(t.type) / parts;
        for (int part = 0; part < parts; ++part) {
          auto cut = [&](uint64_t word) { return word >> (part * bits & 63) & mask_of(bits); };
          uint64_t got = cut(memory);
          if (aside || !f) {
            uint64_t expected = aside ? v.old : combine_integer(t.op, t.type, v.old, v.b, v.c);
            report.add(got == cut(expected), [&] { return describe("the memory", memory, expected); });
            continue;
          }
          auto expected = combine_float(t.op, *f, cut(v.old), cut(v.b), flushes);
          report.add(expected ? got == *expected : is_nan(*f, got),
                     [&] { return describe("the memory", memory, expected.value_or(f->canonical_nan)); });
        }
      }
    return report;
  };
  return c;
}

void lone_case(const Sink& sink, const Atomic& t) {
  std::string name = t.text + (t.generic ? " to " + t.space : "") + (t.hint.empty() ? "" : " with a policy");
  sink({name, {t.text}, "", [=](bool brief) { return atomic_case(t, brief); }});
}

/// `text` in every way to say where.
void in_every_space(const Sink& sink, bool returns, const std::string& op, const std::string& tail,
                    const std::string& type, uint32_t since) {
  std::string opcode = returns ? "atom" : "red";
  for (std::string space : {"global", "shared"}) {
    lone_case(sink, {opcode + "." + space + "." + op + tail, op, type, space, false, 1, since});
    lone_case(sink, {opcode + "." + op + tail, op, type, space, true, 1, since});
  }
}

void scalar_cases(const Sink& sink) {
  struct Row {
    std::vector<std::string> operations, types;
  };
  const Row rows[] = {{{"and", "or", "xor"}, {"b32", "b64"}},
                      {{"add", "min", "max"}, {"u32", "s32", "u64", "s64"}},
                      {{"inc", "dec"}, {"u32"}},
                      {{"exch"}, {"b32", "b64"}},
                      {{"cas"}, {"b16", "b32", "b64"}},
                      {{"add"}, {"f32", "f64"}}};
  for (const Row& row : rows)
    for (const std::string& op : row.operations)
      for (const std::string& type : row.types) {
        if (op == "add" && type == "s64") continue; // the bits of u64 are those
        in_every_space(sink, true, op, "." + type, type, 80);
        if (op != "exch" && op != "cas") in_every_space(sink, false, op, "." + type, type, 80);
      }
  for (std::string type : {"f16", "f16x2", "bf16", "bf16x2"})
    for (bool returns : {true, false}) in_every_space(sink, returns, "add", ".noftz." + type, type, 80);
}

void vector_cases(const Sink& sink) {
  for (std::string opcode : {"atom", "red"}) {
    for (std::string type : {"f16", "bf16", "f16x2", "bf16x2"})
      for (uint32_t count : {2u, 4u, 8u}) {
        if (count * static_cast<uint32_t>(bits_of(type)) > 128) continue;
        for (std::string op : {"add", "min", "max"})
          lone_case(sink, {opcode + ".global." + op + ".noftz.v" + number(count) + "." + type, op, type, "global",
                           false, count, 81});
      }
    for (uint32_t count : {2u, 4u})
      lone_case(sink, {opcode + ".global.add.v" + number(count) + ".f32", "add", "f32", "global", false, count, 81});
  }
}

/// Orders, scopes and hints change nothing in the result.
void modifier_cases(const Sink& sink) {
  for (std::string opcode : {"atom", "red"})
    for (std::string order : {"relaxed", "acquire", "release", "acq_rel"}) {
      if (opcode == "red" && order != "relaxed" && order != "release") continue;
      for (std::string scope : {"cta", "cluster", "gpu", "sys"})
        for (std::string space : {"global", "shared"})
          lone_case(sink, {opcode + "." + order + "." + scope + "." + space + ".add.u32", "add", "u32", space});
    }
  lone_case(sink, {"atom.relaxed.gpu.global.max.L2::cache_hint.s32", "max", "s32", "global", false, 1, 80, ", %rd80"});
  lone_case(sink, {"red.relaxed.gpu.global.add.L2::cache_hint.f32", "add", "f32", "global", false, 1, 80, ", %rd80"});
  lone_case(sink, {"atom.shared::cta.exch.b32", "exch", "b32", "shared"});
  lone_case(sink, {"red.shared::cta.min.s64", "min", "s64", "shared"});
}

/// All threads of four warps at one place: the end does not depend on who came first, and of results that count each
/// comes once.
void contended_cases(const Sink& sink) {
  for (std::string space : {"global", "shared"}) {
    std::string body = "mov.u32 %r20, %tid.x;\n";
    body += space == "shared" ? "mov.u64 %rd20, area;\n" : "mov.u64 %rd20, %rd1;\n";
    body += "setp.eq.u32 %p1, %r20, 0;\n@%p1 st." + space + ".v4.b32 [%rd20], {0, 1000, 0, 0};\n@%p1 st." + space +
            ".v4.b32 [%rd20+16], {0, 0, 7, 0};\nbar.sync 0;\nshl.b32 %r21, 1, %r20;\ncvt.rn.f32.u32 %f1, %r20;\n";
    const char* operations[] = {"add.u32 %r30, [%rd20], 3",      "min.u32 %r31, [%rd20+4], %r20",
                                "max.s32 %r32, [%rd20+8], %r20", "or.b32 %r33, [%rd20+12], %r21",
                                "add.f32 %f2, [%rd20+16], %f1",  "inc.u32 %r34, [%rd20+20], 200",
                                "dec.u32 %r35, [%rd20+24], 300"};
    for (const char* operation : operations) body += "atom." + space + "." + operation + ";\n";
    body += "bar.sync 0;\n";
    for (uint32_t i = 0; i < 7; ++i)
      body += "ld." + space + ".b32 %r40, [%rd20+" + number(4 * i) + "];\nst.global.b32 [%rd2+" + number(4 * i) +
              "], %r40;\n";
    body += "st.global.b32 [%rd2+28], %r30;\nst.global.b32 [%rd2+32], %r34;\n";
    Kernel kernel{.name = "atomics of all threads at one place in " + space,
                  .tests = {"atom." + space + ".add.u32", "atom." + space + ".inc.u32"},
                  .body = body,
                  .declarations = ".shared .align 16 .b8 area[2048];",
                  .threads = 128};
    Case c = words_case(
        kernel, std::vector<uint32_t>(8), 9,
        [](uint32_t, uint32_t word) -> std::optional<uint32_t> {
          // shl by 32 and more gives 0; dec goes from 7 to 0, then from 300 down.
          const uint32_t expected[] = {384, 0, 127, 0xffffffff, 0x45fe0000, 128, 300 - 120};
          return word < 7 ? std::optional(expected[word]) : std::nullopt;
        },
        false);
    c.check = [ends = c.check](std::span<const std::byte> output) {
      Report report = ends(output);
      std::vector<uint32_t> sums, counts;
      for (size_t thread = 0; thread < 128; ++thread) {
        uint32_t words[2];
        std::memcpy(words, output.data() + thread * 36 + 28, 8);
        sums.push_back(words[0] / 3), counts.push_back(words[1]);
      }
      std::sort(sums.begin(), sums.end()), std::sort(counts.begin(), counts.end());
      for (uint32_t i = 0; i < 128; ++i)
        report.add(sums[i] == i && counts[i] == i, [&] { return "no thread or two got result " + number(i); });
      return report;
    };
    emit(sink, std::move(c));
  }
}

/// 128 bits: each thread has memory of its own, which half of those that compare find as they expect; one of four
/// stands aside.
void wide_cases(const Sink& sink) {
  auto input = random_words(32 * 12, 29); // memory, value, and what it is compared with
  for (uint32_t lane = 0; lane < 32; lane += 2)
    for (uint32_t word = 0; word < 4; ++word)
      input[12 * lane + 8 + word] = input[12 * lane + word] ^ (word == lane / 2 % 5);
  for (std::string op : {"exch", "cas"})
    for (std::string space : {".global", ".shared", ""})
      for (std::string order : {"", ".acq_rel.gpu"}) {
        const std::string text = "atom" + order + space + "." + op + ".b128",
                          place = space == ".global"   ? "%rd2"
                                  : space == ".shared" ? "%r12"
                                                       : "%rd11",
                          at = space == ".global" ? "global" : "shared";
        std::string body =
            ".reg .b128 %q<5>;\nmov.u32 %r11, area;\nmad.lo.u32 %r12, %r0, 16, %r11;\ncvt.u64.u32 %rd11, "
            "%r12;\ncvta.shared.u64 %rd11, %rd11;\n";
        for (uint32_t k = 0; k < 3; ++k) {
          const std::string low = "%rd" + number(20 + 2 * k), high = "%rd" + number(21 + 2 * k);
          body += "ld.global.v2.b64 {" + low + ", " + high + "}, [%rd1+" + number(16 * k) + "];\nmov.b128 %q" +
                  number(k) + ", {" + low + ", " + high + "};\n";
        }
        const std::string memory = at == "global" ? "%rd2" : "%r12";
        body += "st." + at + ".v2.b64 [" + memory +
                "], {%rd20, %rd21};\nmov.b128 %q3, {%rd22, %rd22};\nand.b32 %r13, %r0, "
                "3;\nsetp.ne.u32 %p1, %r13, 3;\n@%p1 " +
                text + " %q3, [" + place + "], " + (op == "cas" ? "%q2, " : "") +
                "%q1;\nmov.b128 {%rd30, %rd31}, %q3;\nld." + at + ".v2.b64 {%rd32, %rd33}, [" + memory +
                "];\nst.global.v2.b64 [%rd2], {%rd32, %rd33};\nst.global.v2.b64 [%rd2+16], {%rd30, %rd31};\n";
        emit(sink, words_case({.name = text,
                               .tests = {text},
                               .body = body,
                               .declarations = ".shared .align 16 .b8 area[512];",
                               .since = 84},
                              input, 8, [=](uint32_t lane, uint32_t word) -> std::optional<uint32_t> {
                                const uint32_t *old = input.data() + 12 * lane, *value = old + 4, *compared = old + 8;
                                const bool aside = lane % 4 == 3, equal = std::equal(old, old + 4, compared);
                                if (word >= 4) return aside ? value[word % 2] : old[word - 4];
                                return aside || (op == "cas" && !equal) ? old[word] : value[word];
                              }));
      }
  // All threads of four warps add to one number, each as often as it takes.
  emit(sink, words_case(
                 {.name = "atom.cas.b128 of all threads at one place",
                  .tests = {"atom.global.cas.b128"},
                  .body = ".reg .b128 %q<3>;\nld.global.v2.b64 {%rd20, %rd21}, [%rd1];\nadd.u32 %r11, %r0, "
                          "1;\ncvt.u64.u32 %rd22, %r11;\nAGAIN: add.u64 %rd24, %rd20, %rd22;\nadd.u64 %rd25, %rd21, "
                          "1;\nmov.b128 %q0, {%rd20, %rd21};\nmov.b128 %q1, {%rd24, %rd25};\natom.global.cas.b128 "
                          "%q2, [%rd1], %q0, %q1;\nmov.b128 {%rd26, %rd27}, %q2;\nsetp.ne.u64 %p1, %rd26, "
                          "%rd20;\nsetp.ne.or.u64 %p1, %rd27, %rd21, %p1;\nmov.u64 %rd20, %rd26;\nmov.u64 %rd21, "
                          "%rd27;\n@%p1 bra AGAIN;\nbar.sync 0;\nld.global.v2.b64 {%rd20, %rd21}, "
                          "[%rd1];\nst.global.v2.b64 [%rd2], {%rd20, %rd21};\n",
                  .threads = 128,
                  .since = 84},
                 {0, 0, 0, 0}, 4,
                 [](uint32_t, uint32_t word) -> std::optional<uint32_t> {
                   return word == 0 ? 128 * 129 / 2 : word == 2 ? 128 : 0;
                 },
                 false));
}

} // namespace

void atomic_cases(const Sink& sink) {
  scalar_cases(sink);
  vector_cases(sink);
  modifier_cases(sink);
  contended_cases(sink);
  wide_cases(sink);
}

} // namespace tilejit::conformance
