// cases_memory.cpp - loads and stores of every type and vector in every space, addresses, hints and fences. PTX
// ISA 9.7.9 "ld", "st" and the sections after them, 9.7.13 "membar, fence".
#include "tests/runtime/simulator/conformance/case.h"

#include <cstring>

namespace tilejit::conformance {
namespace {

std::string number(int64_t n) { return std::to_string(n); }

constexpr uint32_t share = 32; ///< bytes of memory that a thread works on

/// Where the 32 bytes of a thread lie: a text that makes their address, and what goes between the brackets.
struct Where {
  const char* name;
  const char* space; ///< as ld and st spell it
  const char* make;
  const char* address;
  bool copied = true; ///< not the global arrays of the case themselves
};
const Where spaces[] = {
    {"global", ".global", "", "", false},
    {"shared", ".shared", "mov.u32 %r20, area;\nmad.lo.u32 %r20, %r0, 32, %r20;\n", "%r20"},
    {"shared::cta", ".shared::cta", "mov.u64 %rd20, area;\nmad.wide.u32 %rd20, %r0, 32, %rd20;\n", "%rd20"},
    {"local", ".local", "mov.u32 %r20, mine;\n", "%r20"},
    {"generic to global", "", "", "", false},
    {"generic to shared", "",
     "mov.u64 %rd20, area;\nmad.wide.u32 %rd20, %r0, 32, %rd20;\ncvta.shared.u64 %rd20, %rd20;\n", "%rd20"},
    {"generic to local", "", "mov.u64 %rd20, mine;\ncvta.local.u64 %rd20, %rd20;\n", "%rd20"},
};
const std::string area = ".shared .align 32 .b8 area[1024];";
const std::string mine = ".local .align 32 .b8 mine[32];\n";

struct Width {
  const char* type;
  uint32_t bytes;
  bool is_signed = false;
};
constexpr Width widths[] = {{"b8", 1},        {"u8", 1},  {"s8", 1, true}, {"b16", 2}, {"u16", 2},
                            {"s16", 2, true}, {"b32", 4}, {"u32", 4},      {"s32", 4}, {"f32", 4},
                            {"b64", 8},       {"u64", 8}, {"s64", 8},      {"f64", 8}};

std::string registers(const Width& w, uint32_t count) {
  std::string text;
  for (uint32_t i = 0; i < count; ++i)
    text += (i ? ", " : "") + std::string(w.bytes == 8 ? "%rd" : "%r") + number(30 + i);
  return count == 1 ? text : "{" + text + "}";
}
/// 32 bytes from one address to another, by words.
std::string copy(const std::string& from_space, const std::string& from, const std::string& to_space,
                 const std::string& to) {
  std::string text;
  for (uint32_t at = 0; at < share; at += 4)
    text += "ld" + from_space + ".b32 %r21, [" + from + "+" + number(at) + "];\nst" + to_space + ".b32 [" + to + "+" +
            number(at) + "], %r21;\n";
  return text;
}
uint32_t word_of(const uint8_t* bytes) {
  uint32_t word;
  std::memcpy(&word, bytes, 4);
  return word;
}

constexpr uint32_t untouched = 0x5a5a5a5a;
/// One lane of four stands aside.
const std::string guard = "and.b32 %r22, %r0, 3;\nsetp.ne.u32 %p1, %r22, 0;\n";
bool stands_aside(uint32_t thread) { return thread % 4 == 0; }

/// `text` loads `count` elements from `offset` of the thread's bytes; narrow ones are extended to a register of 32
/// bits.
void load_case(const Sink& sink, const std::string& text, const Where& where, const Width& w, uint32_t count,
               const std::string& hint = "", uint32_t since = 80) {
  auto input = random_words(32 * share / 4, 3);
  uint32_t offset = count * w.bytes < share ? count * w.bytes : 0;
  std::string body = mine + guard + where.make, address = where.copied ? where.address : "%rd1";
  if (where.copied) body += copy(".global", "%rd1", where.space, where.address) + "bar.sync 0;\n";
  for (uint32_t i = 0; i < count; ++i)
    body += w.bytes == 8 ? "mov.b64 %rd" + number(30 + i) + ", " + number(untouched) + ";\n"
                         : "mov.b32 %r" + number(30 + i) + ", " + number(untouched) + ";\n";
  body += (hint.empty() ? "" : "createpolicy.fractional.L2::evict_first.b64 %rd40;\n") + std::string("@%p1 ") + text +
          " " + registers(w, count) + ", [" + address + "+" + number(offset) + "]" + hint + ";\n";
  for (uint32_t i = 0; i < count; ++i)
    body += w.bytes == 8 ? "st.global.b64 [%rd2+" + number(8 * i) + "], %rd" + number(30 + i) + ";\n"
                         : "st.global.b32 [%rd2+" + number(8 * i) + "], %r" + number(30 + i) + ";\n";
  std::vector<uint8_t> bytes(input.size() * 4);
  std::memcpy(bytes.data(), input.data(), bytes.size());
  emit(sink, words_case({.name = text + " from " + where.name + (hint.empty() ? "" : " with a policy"),
                         .tests = {text},
                         .body = body,
                         .declarations = area,
                         .since = since},
                        input, 2 * count, [=](uint32_t thread, uint32_t word) -> std::optional<uint32_t> {
                          if (w.bytes < 8 && word % 2) return 0;
                          if (stands_aside(thread)) return word % 2 ? 0 : untouched;
                          const uint8_t* at = bytes.data() + thread * share + offset + word / 2 * w.bytes;
                          if (w.bytes >= 4) return word_of(at + word % 2 * 4);
                          uint32_t value = w.bytes == 1 ? at[0] : at[0] | at[1] << 8;
                          uint32_t sign = 1u << (8 * w.bytes - 1);
                          return w.is_signed && value & sign ? value | ~(2 * sign - 1) : value;
                        }));
}

/// `text` stores `count` elements at `offset` of the thread's bytes, which hold zeros.
void store_case(const Sink& sink, const std::string& text, const Where& where, const Width& w, uint32_t count,
                const std::string& hint = "", uint32_t since = 80) {
  auto input = random_words(32 * 16, 4);
  uint32_t offset = count * w.bytes < share ? count * w.bytes : 0;
  std::string body = mine + guard + where.make, address = where.copied ? where.address : "%rd2";
  if (where.copied)
    for (uint32_t at = 0; at < share; at += 4)
      body += std::string("st") + where.space + ".b32 [" + where.address + "+" + number(at) + "], 0;\n";
  for (uint32_t i = 0; i < count; ++i)
    body += w.bytes == 8 ? "ld.global.b64 %rd" + number(30 + i) + ", [%rd1+" + number(8 * i) + "];\n"
                         : "ld.global.b32 %r" + number(30 + i) + ", [%rd1+" + number(8 * i) + "];\n";
  body += (hint.empty() ? "" : "createpolicy.fractional.L2::evict_first.b64 %rd40;\n") + std::string("@%p1 ") + text +
          " [" + address + "+" + number(offset) + "], " + registers(w, count) + hint + ";\n";
  if (where.copied) body += "bar.sync 0;\n" + copy(where.space, where.address, ".global", "%rd2");
  emit(sink, words_case({.name = text + " to " + where.name + (hint.empty() ? "" : " with a policy"),
                         .tests = {text},
                         .body = body,
                         .declarations = area,
                         .since = since},
                        input, share / 4, [=](uint32_t thread, uint32_t word) -> std::optional<uint32_t> {
                          uint8_t bytes[share] = {};
                          if (!stands_aside(thread))
                            for (uint32_t i = 0; i < count; ++i)
                              std::memcpy(bytes + offset + i * w.bytes, &input[thread * 16 + 2 * i], w.bytes);
                          return word_of(bytes + 4 * word);
                        }));
}

std::string vector_of(uint32_t count) { return count == 1 ? "" : ".v" + number(count); }

void access_cases(const Sink& sink) {
  for (const Where& where : spaces)
    for (const Width& w : widths)
      for (uint32_t count : {1u, 2u, 4u}) {
        if (count * w.bytes > 16) continue;
        std::string tail = where.space + vector_of(count) + "." + w.type;
        load_case(sink, "ld" + tail, where, w, count);
        store_case(sink, "st" + tail, where, w, count);
      }
  const Where& global = spaces[0];
  const Width b32{"b32", 4}, b64{"b64", 8};
  // 256 bits at a time: PTX ISA 8.8, sm_100.
  load_case(sink, "ld.global.v8.b32", global, b32, 8, "", 88);
  load_case(sink, "ld.global.v4.b64", global, b64, 4, "", 88);
  store_case(sink, "st.global.v8.b32", global, b32, 8, "", 88);
  store_case(sink, "st.global.v4.b64", global, b64, 4, "", 88);
  // What says how and not what leaves the value alone.
  for (const char* how : {"ca", "cg", "cs", "lu", "cv", "L1::evict_normal", "L1::evict_unchanged", "L1::evict_first",
                          "L1::evict_last", "L1::no_allocate", "L2::64B", "L2::128B", "L2::256B"})
    load_case(sink, "ld.global." + std::string(how) + ".b32", global, b32, 1);
  load_case(sink, "ld.weak.global.v4.b32", global, b32, 4);
  load_case(sink, "ld.volatile.global.v2.b64", global, b64, 2);
  load_case(sink, "ld.volatile.shared.v2.b32", spaces[1], b32, 2);
  load_case(sink, "ld.mmio.relaxed.sys.global.b32", global, b32, 1, "", 82);
  load_case(sink, "ld.global.L1::evict_last.L2::cache_hint.L2::128B.v4.b32", global, b32, 4, ", %rd40");
  for (const char* how : {"wb", "cg", "cs", "wt", "L1::evict_normal", "L1::evict_unchanged", "L1::evict_first",
                          "L1::evict_last", "L1::no_allocate"})
    store_case(sink, "st.global." + std::string(how) + ".b32", global, b32, 1);
  store_case(sink, "st.weak.global.v4.b32", global, b32, 4);
  store_case(sink, "st.volatile.global.v2.b64", global, b64, 2);
  store_case(sink, "st.volatile.shared.v2.b32", spaces[1], b32, 2);
  store_case(sink, "st.mmio.relaxed.sys.global.b32", global, b32, 1, "", 82);
  store_case(sink, "st.global.L1::evict_last.L2::cache_hint.v4.b32", global, b32, 4, ", %rd40");
  for (const char* scope : {"cta", "cluster", "gpu", "sys"})
    for (const Where& where : {spaces[0], spaces[1], spaces[4]}) {
      for (const char* order : {"relaxed", "acquire"})
        load_case(sink, std::string("ld.") + order + "." + scope + where.space + ".b32", where, b32, 1);
      for (const char* order : {"relaxed", "release"})
        store_case(sink, std::string("st.") + order + "." + scope + where.space + ".b64", where, b64, 1);
    }
  for (const Width& w : widths)
    for (uint32_t count : {1u, 2u, 4u}) {
      if (count * w.bytes > 16) continue;
      load_case(sink, "ld.global.nc" + vector_of(count) + "." + w.type, global, w, count);
      load_case(sink, "ldu.global" + vector_of(count) + "." + w.type, global, w, count);
    }
  for (const char* how : {"ca", "cg", "cs", "L1::evict_last", "L1::no_allocate", "L2::128B"})
    load_case(sink, "ld.global.nc." + std::string(how) + ".b32", global, b32, 1);
  load_case(sink, "ld.global.nc.L1::evict_first.L2::cache_hint.v4.b32", global, b32, 4, ", %rd40");
}

/// 128 bits in one register.
void quad_cases(const Sink& sink) {
  auto input = random_words(128, 5);
  auto same = [=](uint32_t thread, uint32_t word) -> std::optional<uint32_t> { return input[4 * thread + word]; };
  emit(sink, words_case({.name = "ld, st and mov of b128",
                         .tests = {"ld.global.b128", "st.global.b128", "mov.b128"},
                         .body = ".reg .b128 %q1, %q2;\nld.global.b128 %q1, [%rd1];\nmov.b128 {%rd10, %rd11}, "
                                 "%q1;\nmov.b128 %q2, {%rd10, %rd11};\nst.global.b128 [%rd2], %q2;\n",
                         .since = 83},
                        input, 4, same));
}

// --- constants, parameters, addresses ---

void constant_cases(const Sink& sink) {
  auto values = random_words(64, 6);
  std::string table = ".const .align 16 .b32 table[64] = {";
  for (size_t i = 0; i < values.size(); ++i) table += (i ? ", " : "") + number(values[i]);
  table += "};\n";
  for (uint32_t count : {1u, 2u, 4u})
    for (bool generic : {false, true}) {
      std::string text = std::string("ld") + (generic ? "" : ".const") + vector_of(count) + ".b32", list;
      std::string body = "mov.u64 %rd20, table;\n";
      if (generic) body += "cvta.const.u64 %rd20, %rd20;\n";
      // Every lane elsewhere, then all of them at one place.
      body += "and.b32 %r20, %r0, " + number(64 / count - 1) + ";\nmad.wide.u32 %rd21, %r20, " + number(4 * count) +
              ", %rd20;\n" + text + " " + registers({"b32", 4}, count) + ", [%rd21];\n";
      for (uint32_t i = 0; i < count; ++i)
        body += "st.global.b32 [%rd2+" + number(4 * i) + "], %r" + number(30 + i) + ";\n";
      body += text + " " + registers({"b32", 4}, count) + ", [%rd20+" + number(4 * count) + "];\n";
      for (uint32_t i = 0; i < count; ++i)
        body += "st.global.b32 [%rd2+" + number(4 * (count + i)) + "], %r" + number(30 + i) + ";\n";
      emit(sink, words_case({.name = text + (generic ? " from generic to constants" : " from constants"),
                             .tests = {text},
                             .body = body,
                             .declarations = table},
                            {}, 2 * count, [=](uint32_t thread, uint32_t word) -> std::optional<uint32_t> {
                              if (word >= count) return values[word];
                              return values[thread % (64 / count) * count + word];
                            }));
    }
  // The bytes of a parameter, whole and in parts, from its own space and by a generic address.
  Case c = words_case(
      {.name = "ld.param",
       .tests = {"ld.param.b64", "ld.param.v2.b32", "ld.param.u16", "ld.param.s8", "cvta.param.u64", "isspacep.param"},
       .body = "ld.param.b64 %rd20, [u1];\nst.global.b64 [%rd2], %rd20;\nld.param.v2.b32 {%r20, %r21}, "
               "[u1];\nst.global.b32 [%rd2+8], %r21;\nld.param.u16 %r22, [u1+2];\nst.global.b32 [%rd2+12], "
               "%r22;\nld.param.s8 %r23, [u1+7];\nst.global.b32 [%rd2+16], %r23;\nmov.b64 %rd21, u1;\ncvta.param.u64 "
               "%rd21, %rd21;\nld.b32 %r24, [%rd21+4];\nst.global.b32 [%rd2+20], %r24;\nisspacep.param %p1, "
               "%rd21;\nselp.b32 %r25, 1, 0, %p1;\nst.global.b32 [%rd2+24], %r25;\n"},
      {}, 8, [](uint32_t, uint32_t word) -> std::optional<uint32_t> {
        const uint32_t expected[] = {0x44332211, 0xf8776655, 0xf8776655, 0x4433, 0xfffffff8, 0xf8776655, 1, 0};
        return expected[word];
      });
  c.launches = {{{0, 0xf877665544332211}}};
  emit(sink, std::move(c));
  // In a function too .param is where the entry's parameters are, and not its own.
  c = words_case(
      {.name = "the entry's parameters in a function",
       .tests = {"isspacep.param", "cvta.param.u64"},
       .body = ".local .align 8 .b8 mine[8];\n.reg .b64 %frame;\nmov.b64 %rd20, u1;\ncvta.param.u64 %rd20, "
               "%rd20;\nmov.b64 %frame, mine;\ncvta.local.u64 %rd21, %frame;\n{ .param .b64 where; .param .b32 what; "
               "st.param.b64 [where], %rd20; call (what), seen, (where); ld.param.b32 %r20, [what]; }\n{ .param .b64 "
               "where; .param .b32 what; st.param.b64 [where], %rd21; call (what), seen, (where); ld.param.b32 %r21, "
               "[what]; }\nst.global.v2.b32 [%rd2], {%r20, %r21};\n",
       .declarations = ".func (.param .b32 what) seen(.param .b64 where)\n{ .reg .b64 %a<3>; .reg .b32 %w; .reg .pred "
                       "%q;\nld.param.b64 %a1, [where];\nmov.u32 %w, 0;\nisspacep.param %q, %a1;\n@!%q bra "
                       "DONE;\ncvta.to.param.u64 %a2, %a1;\ncvta.param.u64 %a2, %a2;\nld.b32 %w, "
                       "[%a2];\nDONE:\nst.param.b32 [what], %w;\nret; }\n"},
      {}, 2, [](uint32_t, uint32_t word) -> std::optional<uint32_t> { return word == 0 ? 0x44332211 : 0; });
  c.launches = {{{0, 0xf877665544332211}}};
  emit(sink, std::move(c));
}

void address_cases(const Sink& sink) {
  struct Space {
    std::string name;
    std::string variable; ///< whose address in that space goes in
  };
  const Space all[] = {{"global", "everywhere"}, {"shared", "area"}, {"shared::cta", "area"},
                       {"local", "mine"},        {"const", "table"}, {"shared::cluster", "area"}};
  for (const Space& from : all) {
    std::vector<std::string> tests = {"cvta." + from.name + ".u64", "cvta.to." + from.name + ".u64"};
    std::string body = mine + "mov.u64 %rd20, " + from.variable + ";\n" + tests[0] + " %rd21, %rd20;\n" + tests[1] +
                       " %rd22, %rd21;\nsetp.eq.u64 %p1, %rd20, %rd22;\nselp.b32 %r20, 1, 0, %p1;\nst.global.b32 "
                       "[%rd2], %r20;\n";
    std::vector<uint32_t> expected{1};
    for (const Space& to : all) {
      tests.push_back("isspacep." + to.name);
      body += tests.back() + " %p1, %rd21;\nselp.b32 %r20, 1, 0, %p1;\nst.global.b32 [%rd2+" +
              number(4 * static_cast<int64_t>(expected.size())) + "], %r20;\n";
      expected.push_back(from.variable == to.variable);
    }
    // What was stored in the space is loaded by the generic address.
    if (from.name != "const")
      body += "st." + from.name + ".b32 [%rd20], 77;\nld.b32 %r20, [%rd21];\n";
    else
      body += "ld.b32 %r20, [%rd21];\n";
    body += "st.global.b32 [%rd2+" + number(4 * static_cast<int64_t>(expected.size())) + "], %r20;\n";
    expected.push_back(77);
    auto count = static_cast<uint32_t>(expected.size());
    emit(sink,
         words_case({.name = "addresses of " + from.name,
                     .tests = tests,
                     .body = body,
                     .declarations = area + ".global .align 4 .b8 everywhere[4];\n.const .b32 table[1] = {77};\n"},
                    {}, count, [=](uint32_t, uint32_t word) -> std::optional<uint32_t> { return expected[word]; }));
  }
}

// --- hints ---

void hint_cases(const Sink& sink) {
  auto input = random_words(1024, 7);
  /// `text` may do nothing that shows: the word at %rd1 stays what it was.
  auto harmless = [&](const std::string& spelling, const std::string& text, uint32_t since = 80) {
    emit(sink, words_case({.name = spelling,
                           .tests = {spelling},
                           .body = text + "\nld.global.b32 %r20, [%rd1];\nst.global.b32 [%rd2], %r20;\n",
                           .since = since},
                          input, 1,
                          [=](uint32_t thread, uint32_t) -> std::optional<uint32_t> { return input[32 * thread]; }));
  };
  for (const char* space : {"", ".global"})
    for (const char* level : {".L1", ".L2"}) {
      std::string text = std::string("prefetch") + space + level;
      harmless(text, text + " [%rd1];");
    }
  harmless("prefetch.local.L1", mine + "mov.u64 %rd20, mine;\nprefetch.local.L1 [%rd20];");
  for (const char* how : {"L2::evict_last", "L2::evict_normal"}) {
    std::string text = std::string("prefetch.global.") + how;
    harmless(text, text + " [%rd1];");
  }
  harmless("prefetchu.L1", "prefetchu.L1 [%rd1];");
  harmless("applypriority.global.L2::evict_normal", "applypriority.global.L2::evict_normal [%rd1], 128;");
  for (std::string first : {"L2::evict_last", "L2::evict_normal", "L2::evict_first", "L2::evict_unchanged"})
    for (std::string second : {"", ".L2::evict_first", ".L2::evict_unchanged"}) {
      std::string fractional = "createpolicy.fractional." + first + second + ".b64",
                  range = "createpolicy.range.global." + first + second + ".b64";
      std::string use = "ld.global.L2::cache_hint.b32 %r21, [%rd1], %rd20;";
      harmless(fractional, fractional + " %rd20, 0.5;\n" + use);
      harmless(range, range + " %rd20, [%rd1], 0x100, 0x200;\n" + use);
    }
  // 0x10F0...: how CUDA spells the policy "evict normal".
  harmless("createpolicy.cvt.L2.b64",
           "createpolicy.cvt.L2.b64 %rd20, 0x10F0000000000000;\nld.global.L2::cache_hint.b32 %r21, [%rd1], %rd20;");
  // After discard the bytes are anything until they are written again.
  emit(sink, words_case({.name = "discard.global.L2",
                         .tests = {"discard.global.L2"},
                         .body = "discard.global.L2 [%rd1], 128;\nst.global.b32 [%rd1+4], %r0;\nld.global.b32 %r20, "
                                 "[%rd1+4];\nst.global.b32 [%rd2], %r20;\n"},
                        input, 1, [](uint32_t thread, uint32_t) -> std::optional<uint32_t> { return thread; }));
}

// --- fences ---

/// The first warp writes a word and, after a fence, a flag; the second waits for the flag, fences, and reads the word.
void fence_case(const Sink& sink, const std::string& writer, const std::string& reader,
                const std::string& operands = "", uint32_t since = 80) {
  std::vector<std::string> tests{writer};
  if (reader != writer) tests.push_back(reader);
  emit(sink, words_case(
                 {.name = writer + (reader == writer ? "" : " and " + reader),
                  .tests = tests,
                  .body = "and.b32 %r20, %r0, 31;\nmad.wide.u32 %rd20, %r20, 8, %rd1;\nsetp.ge.u32 %p1, %r0, "
                          "32;\n@%p1 bra READ;\nadd.u32 %r21, %r0, 5;\nst.global.b32 [%rd20], %r21;\n" +
                          writer + operands +
                          ";\nst.relaxed.gpu.global.b32 [%rd20+4], 1;\nmov.b32 %r22, 0;\nbra DONE;\nREAD:\nWAIT: "
                          "ld.relaxed.gpu.global.b32 %r23, [%rd20+4];\nsetp.eq.u32 %p2, %r23, 0;\n@%p2 bra "
                          "WAIT;\n" +
                          reader + operands + ";\nld.global.b32 %r22, [%rd20];\nDONE: st.global.b32 [%rd2], %r22;\n",
                  .threads = 64,
                  .since = since},
                 std::vector<uint32_t>(64), 1,
                 [](uint32_t thread, uint32_t) -> std::optional<uint32_t> { return thread < 32 ? 0 : thread - 32 + 5; },
                 false));
}

void fence_cases(const Sink& sink) {
  for (const char* level : {"cta", "gl", "sys"})
    fence_case(sink, std::string("membar.") + level, std::string("membar.") + level);
  for (std::string scope : {".cta", ".cluster", ".gpu", ".sys"}) {
    for (std::string kind : {"fence.sc", "fence.acq_rel"}) fence_case(sink, kind + scope, kind + scope);
    fence_case(sink, "fence" + scope, "fence" + scope);
    fence_case(sink, "fence.release" + scope, "fence.acquire" + scope, "", 86);
  }
}

} // namespace

void memory_cases(const Sink& sink) {
  access_cases(sink);
  quad_cases(sink);
  constant_cases(sink);
  address_cases(sink);
  hint_cases(sink);
  fence_cases(sink);
}

} // namespace tilejit::conformance
