// cases_copy.cpp - asynchronous copies: cp.async, bulk copies and reductions, st.async and red.async. PTX ISA 9.7.9
// "Data Movement and Conversion Instructions: Asynchronous copy".
#include "tests/runtime/simulator/conformance/case.h"
#include "tests/runtime/simulator/conformance/reduction.h"
#include "tests/runtime/simulator/conformance/reference.h"

#include <cstring>

namespace tilejit::conformance {
namespace {

std::string number(int64_t n) { return std::to_string(n); }

/// Words of shared memory to the output of the thread.
std::string hand_out(uint32_t words, const std::string& address) {
  std::string text;
  for (uint32_t i = 0; i < words; ++i)
    text += "ld.shared.b32 %r90, [" + address + "+" + number(4 * i) + "];\nst.global.b32 [%rd2+" + number(4 * i) +
            "], %r90;\n";
  return text;
}

// --- cp.async ---

/// Every lane copies `bytes` to 16 bytes of its own that hold 0x77; it reads `reads` of them, where that says so.
void copy_case(const Sink& sink, const std::string& spelling, uint32_t bytes, const std::string& wait,
               std::vector<std::string> tests, std::optional<uint32_t> reads = {}, bool ignores = false,
               bool policy = false) {
  auto input = random_words(32 * 4, 21);
  std::string operands = "[%r21], [%rd1], " + number(bytes);
  if (reads) operands += ", " + (*reads == 99 ? std::string("%r24") : number(*reads));
  if (ignores) operands += ", %p2";
  if (policy) operands += ", %rd40";
  std::string body =
      "mov.u32 %r20, area;\nmad.lo.u32 %r21, %r0, 16, %r20;\nand.b32 %r22, %r0, 3;\nsetp.ne.u32 %p1, %r22, "
      "0;\nmov.u32 %r23, 0x77777777;\nst.shared.v4.b32 [%r21], {%r23, %r23, %r23, %r23};\nrem.u32 %r24, "
      "%r0, " +
      number(bytes + 1) + ";\nsetp.gt.u32 %p2, %r0, 15;\n" +
      (policy ? "createpolicy.fractional.L2::evict_first.b64 %rd40;\n" : "") + "@%p1 " + spelling + " " + operands +
      ";\n" + wait + hand_out(4, "%r21");
  tests.push_back(spelling);
  std::string name = spelling + " of " + number(bytes) +
                     (reads ? " reading " + (*reads == 99 ? std::string("some") : number(*reads)) : "") +
                     (ignores ? " or nothing" : "") + (policy ? " with a policy" : "") + " by " + tests[0];
  emit(sink, words_case({.name = name,
                         .tests = tests,
                         .body = body,
                         .declarations = ".shared .align 16 .b8 area[512];\n.shared .align 8 .b64 bar;"},
                        input, 4, [=](uint32_t lane, uint32_t word) -> std::optional<uint32_t> {
                          uint8_t expected[16];
                          std::memset(expected, 0x77, 16);
                          if (lane % 4 != 0) {
                            uint32_t n = ignores && lane > 15 ? 0
                                         : !reads             ? bytes
                                         : *reads == 99       ? lane % (bytes + 1)
                                                              : *reads;
                            std::memset(expected, 0, bytes);
                            std::memcpy(expected, &input[4 * lane], n);
                          }
                          uint32_t w;
                          std::memcpy(&w, expected + 4 * word, 4);
                          return w;
                        }));
}

void copy_cases_of_threads(const Sink& sink) {
  const std::string all = "cp.async.wait_all;\n", group = "cp.async.commit_group;\ncp.async.wait_group 0;\n";
  for (std::string space : {".shared.global", ".shared::cta.global"})
    for (uint32_t bytes : {4u, 8u, 16u})
      for (std::string cache : {"ca", "cg"}) {
        if (cache == "cg" && bytes != 16) continue;
        std::string spelling = "cp.async." + cache + space;
        copy_case(sink, spelling, bytes, all, {"cp.async.wait_all"});
        copy_case(sink, spelling, bytes, group, {"cp.async.commit_group", "cp.async.wait_group"});
        copy_case(sink, spelling, bytes, all, {"cp.async.wait_all"}, 0);
        copy_case(sink, spelling, bytes, all, {"cp.async.wait_all"}, 99);
        copy_case(sink, spelling, bytes, all, {"cp.async.wait_all"}, {}, true);
      }
  copy_case(sink, "cp.async.cg.shared.global.L2::128B", 16, all, {"cp.async.wait_all"});
  copy_case(sink, "cp.async.ca.shared.global.L2::cache_hint", 16, all, {"cp.async.wait_all"}, {}, false, true);
  // Completion by an mbarrier. Without .noinc the arrivals of the copies are expected besides those of init.
  for (std::string form : {"", ".noinc"})
    for (std::string space : {".shared", ".shared::cta"}) {
      std::string arrive = "cp.async.mbarrier.arrive" + form + space + ".b64";
      std::string wait = arrive + " [bar];\n" + (form.empty() ? "mbarrier.arrive.shared.b64 _, [bar];\n" : "") +
                         "WAIT: mbarrier.try_wait.parity.shared.b64 %p5, [bar], 0;\n@!%p5 bra WAIT;\n";
      auto input = random_words(32 * 4, 22);
      emit(sink, words_case(
                     {.name = arrive,
                      .tests = {arrive},
                      .body = "mov.u32 %r20, area;\nmad.lo.u32 %r21, %r0, 16, %r20;\nsetp.eq.u32 %p1, %r0, "
                              "0;\n@%p1 mbarrier.init.shared.b64 [bar], 32;\nbar.sync 0;\ncp.async.cg.shared.global "
                              "[%r21], [%rd1], 16;\n" +
                              wait + "xor.b32 %r22, %r0, 31;\nmad.lo.u32 %r22, %r22, 16, %r20;\n" + hand_out(4, "%r22"),
                      .declarations = ".shared .align 16 .b8 area[512];\n.shared .align 8 .b64 bar;"},
                     input, 4, [=](uint32_t lane, uint32_t word) -> std::optional<uint32_t> {
                       return input[4 * (lane ^ 31) + word];
                     }));
    }
  // Groups complete in order: with one left the first has come.
  auto input = random_words(32 * 8, 23);
  emit(sink,
       words_case({.name = "cp.async groups in order",
                   .tests = {"cp.async.commit_group", "cp.async.wait_group"},
                   .body = "mov.u32 %r20, area;\nmad.lo.u32 %r21, %r0, 32, %r20;\ncp.async.ca.shared.global [%r21], "
                           "[%rd1], 16;\ncp.async.commit_group;\ncp.async.ca.shared.global [%r21+16], [%rd1+16], "
                           "16;\ncp.async.commit_group;\ncp.async.wait_group 1;\n" +
                           hand_out(4, "%r21") + "cp.async.wait_group 0;\n" +
                           "ld.shared.b32 %r90, [%r21+28];\nst.global.b32 [%rd2+16], %r90;\n",
                   .declarations = ".shared .align 16 .b8 area[1024];"},
                  input, 5, [=](uint32_t lane, uint32_t word) -> std::optional<uint32_t> {
                    return input[8 * lane + (word < 4 ? word : 7)];
                  }));
}

// --- bulk copies ---

const std::string bulk_memory = ".shared .align 128 .b8 area[1024];\n.shared .align 8 .b64 bar;";
/// %r20: the area, %r21: the thread's 16 bytes there, which hold words 4 t ... of `seed`; %p1: thread 0; bar: one
/// arrival.
std::string bulk_set_up(const std::string& words = "shl.b32 %r30, %r42, 2;\n") {
  return "mov.u32 %r42, %tid.x;\nmov.u32 %r20, area;\nmad.lo.u32 %r21, %r42, 16, %r20;\nsetp.eq.u32 %p1, %r42, "
         "0;\n@%p1 "
         "mbarrier.init.shared.b64 [bar], 1;\n" +
         words +
         "add.u32 %r31, %r30, 1;\nadd.u32 %r32, %r30, 2;\nadd.u32 %r33, %r30, 3;\nst.shared.v4.b32 [%r21], {%r30, "
         "%r31, "
         "%r32, %r33};\nst.shared.v4.b32 [%r21+512], {0, 0, 0, 0};\nfence.mbarrier_init.release.cluster;\n"
         "fence.proxy.async;\nbar.sync 0;\n";
}
const std::string wait_bar = "WAIT: mbarrier.try_wait.parity.shared.b64 %p5, [bar], 0;\n@!%p5 bra WAIT;\n";

void bulk_cases(const Sink& sink) {
  auto input = random_words(128, 24);
  for (std::string to : {"shared::cluster", "shared::cta"})
    for (std::string hint : {"", ".L2::cache_hint"}) {
      std::string load = "cp.async.bulk." + to + ".global.mbarrier::complete_tx::bytes" + hint;
      emit(sink, words_case(
                     {.name = load,
                      .tests = {load, "mbarrier.arrive.expect_tx.shared.b64"},
                      .body = bulk_set_up() +
                              "createpolicy.fractional.L2::evict_first.b64 %rd40;\n"
                              "@%p1 mbarrier.arrive.expect_tx.shared.b64 _, [bar], 272;\n@%p1 " +
                              load + " [area+32], [%rd1], 256, [bar]" + (hint.empty() ? "" : ", %rd40") + ";\n@%p1 " +
                              load + " [area], [%rd1+496], 16, [bar]" + (hint.empty() ? "" : ", %rd40") + ";\n" +
                              wait_bar + hand_out(4, "%r21"),
                      .declarations = bulk_memory,
                      .since = to == "shared::cta" ? 86u : 80u},
                     input, 4,
                     [=](uint32_t lane, uint32_t word) -> std::optional<uint32_t> {
                       uint32_t at = 4 * lane + word; // words of the area
                       if (at < 4) return input[124 + at];
                       return at >= 8 && at < 72 ? input[at - 8] : at;
                     },
                     false));
    }
  for (std::string hint : {"", ".L2::cache_hint"}) {
    std::string store = "cp.async.bulk.global.shared::cta.bulk_group" + hint;
    emit(sink, words_case({.name = store,
                           .tests = {store, "cp.async.bulk.commit_group", "cp.async.bulk.wait_group",
                                     "cp.async.bulk.wait_group.read"},
                           .body = "mov.u64 %rd50, %rd2;\n" + bulk_set_up() +
                                   "createpolicy.fractional.L2::evict_first.b64 %rd40;\n@!%p1 bra DONE;\n" + store +
                                   " [%rd50+64], [area+16], 304" + (hint.empty() ? "" : ", %rd40") +
                                   ";\ncp.async.bulk.commit_group;\ncp.async.bulk.wait_group.read "
                                   "0;\ncp.async.bulk.wait_group 0;\nDONE:\n",
                           .declarations = bulk_memory},
                          {}, 4, [](uint32_t lane, uint32_t word) -> std::optional<uint32_t> {
                            uint32_t at = 4 * lane + word;
                            return at >= 16 && at < 92 ? at - 16 + 4 : 0;
                          }));
  }
  // Bytes by mask: bit i of the mask for byte i of every 16.
  std::string masked = "cp.async.bulk.global.shared::cta.bulk_group.cp_mask";
  emit(sink,
       words_case({.name = masked,
                   .tests = {masked},
                   .body = "mov.u64 %rd50, %rd2;\n" + bulk_set_up("mad.lo.u32 %r30, %r42, 0x01010101, 0x40302010;\n") +
                           "mov.b16 %h1, 0x50f3;\n@!%p1 bra DONE;\n" + masked +
                           " [%rd50], [area], 512, %h1;\ncp.async.bulk.commit_group;\ncp.async.bulk.wait_group "
                           "0;\nDONE:\n",
                   .declarations = bulk_memory,
                   .since = 86},
                  {}, 4, [](uint32_t lane, uint32_t word) -> std::optional<uint32_t> {
                    uint32_t value = lane * 0x01010101 + 0x40302010 + word, keep = 0;
                    for (uint32_t byte = 0; byte < 4; ++byte)
                      if (0x50f3 >> (4 * word + byte) & 1) keep |= 0xffu << (8 * byte);
                    return value & keep;
                  }));
  for (std::string hint : {"", ".L2::cache_hint"}) {
    std::string prefetch = "cp.async.bulk.prefetch.L2.global" + hint;
    emit(sink, words_case(
                   {.name = prefetch,
                    .tests = {prefetch},
                    .body = "createpolicy.fractional.L2::evict_first.b64 %rd40;\n" + prefetch + " [%rd1], 256" +
                            (hint.empty() ? "" : ", %rd40") +
                            ";\nmad.wide.u32 %rd10, %r0, 4, %rd1;\nld.global.b32 %r20, [%rd10];\nst.global.b32 "
                            "[%rd2], %r20;\n"},
                   input, 1, [=](uint32_t lane, uint32_t) -> std::optional<uint32_t> { return input[lane]; }, false));
  }
  // From one block of a cluster to the other, and from global memory to both.
  Kernel kernel{.name = "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes",
                .tests = {"cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes"},
                .body = "mov.u32 %r40, %cluster_ctarank;\nxor.b32 %r41, %r40, 1;\n" + bulk_set_up() +
                        "mad.lo.u32 %r30, %r40, 1000, %r30;\nst.shared.b32 [%r21], %r30;\nfence.proxy.async;\n"
                        "@%p1 mbarrier.arrive.expect_tx.shared.b64 _, [bar], 512;\nbarrier.cluster.arrive;\n"
                        "barrier.cluster.wait;\nadd.u32 %r43, %r20, 512;\nmapa.shared::cluster.u32 %r43, %r43, %r41;\n"
                        "mov.u32 %r44, bar;\nmapa.shared::cluster.u32 %r44, %r44, %r41;\n"
                        "@%p1 cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%r43], [area], "
                        "512, [%r44];\n" +
                        wait_bar + "add.u32 %r21, %r21, 512;\n" + hand_out(4, "%r21") +
                        "barrier.cluster.arrive;\nbarrier.cluster.wait;\n",
                .declarations = bulk_memory,
                .directives = ".reqnctapercluster 2",
                .blocks = 2};
  emit(sink, words_case(kernel, {}, 4, [](uint32_t thread, uint32_t word) -> std::optional<uint32_t> {
         uint32_t other = (thread / 32) ^ 1;
         return 4 * (thread % 32) + word + (word == 0 ? 1000 * other : 0);
       }));
  std::string multicast = "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster";
  kernel.name = multicast;
  kernel.tests = {multicast};
  // Each block sends a half to both.
  kernel.body =
      "mov.u32 %r40, %cluster_ctarank;\n" + bulk_set_up() +
      "@%p1 mbarrier.arrive.expect_tx.shared.b64 _, [bar], 512;\nbarrier.cluster.arrive;\nbarrier.cluster.wait;\n"
      "mad.lo.u32 %r43, %r40, 256, %r20;\nmul.wide.u32 %rd10, %r40, 256;\nadd.u64 %rd10, %rd1, %rd10;\nmov.b16 "
      "%h1, 3;\n@%p1 " +
      multicast + " [%r43], [%rd10], 256, [bar], %h1;\n" + wait_bar + hand_out(4, "%r21") +
      "barrier.cluster.arrive;\nbarrier.cluster.wait;\n";
  emit(sink,
       words_case(
           kernel, input, 4,
           [=](uint32_t thread, uint32_t word) -> std::optional<uint32_t> { return input[4 * (thread % 32) + word]; },
           false));
}

// --- reductions ---

std::vector<uint32_t> words_of(const std::vector<uint8_t>& bytes) {
  std::vector<uint32_t> words(bytes.size() / 4);
  std::memcpy(words.data(), bytes.data(), bytes.size());
  return words;
}

void reduction_case(const Sink& sink, bool to_global, const std::string& op, const std::string& type) {
  std::vector<uint8_t> old = operands_of(type, 256, 31), x = operands_of(type, 256, 32), expected = old;
  auto width = static_cast<size_t>(bits_of(type) / 8);
  for (size_t at = 0; at < 256; at += width) {
    uint64_t a = 0, b = 0;
    std::memcpy(&a, &old[at], width), std::memcpy(&b, &x[at], width);
    a = reduced(op, type, a, b);
    std::memcpy(&expected[at], &a, width);
  }
  std::vector<uint32_t> input = words_of(old), more = words_of(x), wanted = words_of(expected);
  input.insert(input.end(), more.begin(), more.end());
  std::string noftz = (type == "f16" || type == "bf16") && op == "add" ? ".noftz" : "";
  std::string spelling =
      std::string("cp.reduce.async.bulk.") +
      (to_global ? "global.shared::cta.bulk_group." : "shared::cluster.shared::cta.mbarrier::complete_tx::bytes.") +
      op + noftz + "." + type;
  // The operand is at the area, the old values at +512 or in the output.
  std::string body =
      "mov.u64 %rd50, %rd2;\nmov.u32 %r20, area;\nmad.lo.u32 %r21, %r0, 8, %r20;\nmad.wide.u32 %rd10, %r0, "
      "8, %rd1;\nld.global.b64 %rd11, [%rd10];\nld.global.b64 %rd12, [%rd10+256];\nst.shared.b64 [%r21], "
      "%rd12;\n" +
      std::string(to_global ? "st.global.b64 [%rd2], %rd11;\nfence.proxy.async.global;\n"
                            : "st.shared.b64 [%r21+512], %rd11;\n") +
      "setp.eq.u32 %p1, %r0, 0;\n@%p1 mbarrier.init.shared.b64 [bar], 1;\nfence.mbarrier_init.release."
      "cluster;\nfence.proxy.async.shared::cta;\nbar.sync 0;\n";
  if (to_global)
    body += "@!%p1 bra DONE;\n" + spelling +
            " [%rd50], [area], 256;\ncp.async.bulk.commit_group;\n"
            "cp.async.bulk.wait_group 0;\nDONE:\n";
  else
    body += "@%p1 mbarrier.arrive.expect_tx.shared.b64 _, [bar], 256;\n@%p1 " + spelling +
            " [area+512], [area], 256, [bar];\n" + wait_bar + "add.u32 %r21, %r21, 512;\n" + hand_out(2, "%r21");
  emit(sink,
       words_case(
           {.name = spelling,
            .tests = {spelling},
            .body = body,
            .declarations = bulk_memory,
            .directives = to_global ? "" : ".reqnctapercluster 1"},
           input, 2, [=](uint32_t lane, uint32_t word) -> std::optional<uint32_t> { return wanted[2 * lane + word]; },
           false));
}

void reduction_cases(const Sink& sink) {
  struct Row {
    std::vector<std::string> operations, types;
  };
  for (const Row& row :
       {Row{{"and", "or", "xor"}, {"b32", "b64"}}, Row{{"add"}, {"u32", "s32", "u64", "f16", "bf16", "f32", "f64"}},
        Row{{"min", "max"}, {"u32", "s32", "u64", "s64", "f16", "bf16"}}, Row{{"inc", "dec"}, {"u32"}}})
    for (const std::string& op : row.operations)
      for (const std::string& type : row.types) reduction_case(sink, true, op, type);
  for (const Row& row : {Row{{"and", "or", "xor"}, {"b32"}}, Row{{"add"}, {"u32", "s32", "u64"}},
                         Row{{"min", "max"}, {"u32", "s32"}}, Row{{"inc", "dec"}, {"u32"}}})
    for (const std::string& op : row.operations)
      for (const std::string& type : row.types) reduction_case(sink, false, op, type);
}

// --- st.async, red.async ---

void remote_cases(const Sink& sink) {
  /// Every thread of a block does `text` on 16 bytes of its own in the other block, whose mbarrier counts `bytes`.
  auto remote = [&](const std::string& spelling, const std::string& operand, uint32_t bytes, ExpectedWord expected) {
    emit(sink,
         words_case({.name = spelling,
                     .tests = {spelling},
                     .body = "mov.u32 %r40, %cluster_ctarank;\nxor.b32 %r41, %r40, 1;\n" + bulk_set_up() +
                             "@%p1 mbarrier.arrive.expect_tx.shared.b64 _, [bar], " + number(32 * bytes) +
                             ";\nbarrier.cluster.arrive;\nbarrier.cluster.wait;\nmapa.shared::cluster.u32 %r43, %r21, "
                             "%r41;\nmov.u32 %r44, bar;\nmapa.shared::cluster.u32 %r44, %r44, %r41;\nmad.lo.u32 %r50, "
                             "%r40, 1000, %r42;\nadd.u32 %r51, %r50, 1;\nadd.u32 %r52, %r50, 2;\nadd.u32 %r53, %r50, "
                             "3;\nmov.b64 %rd50, {%r50, %r51};\nmov.b64 %rd51, {%r52, %r53};\nmov.b32 %f50, "
                             "%r50;\nmov.b64 %fd30, %rd50;\n" +
                             spelling + " [%r43], " + operand + ", [%r44];\n" + wait_bar + hand_out(4, "%r21") +
                             "barrier.cluster.arrive;\nbarrier.cluster.wait;\n",
                     .declarations = bulk_memory,
                     .directives = ".reqnctapercluster 2",
                     .blocks = 2,
                     .since = 81},
                    {}, 4, std::move(expected)));
  };
  struct Store {
    const char *type, *operand;
    uint32_t words;
  };
  for (const Store& s : {Store{"b32", "%r50", 1}, Store{"u32", "%r50", 1}, Store{"s32", "%r50", 1},
                         Store{"f32", "%f50", 1}, Store{"b64", "%rd50", 2}, Store{"u64", "%rd50", 2},
                         Store{"s64", "%rd50", 2}, Store{"f64", "%fd30", 2}, Store{"v2.b32", "{%r50, %r51}", 2},
                         Store{"v4.b32", "{%r50, %r51, %r52, %r53}", 4}, Store{"v2.b64", "{%rd50, %rd51}", 4}})
    for (std::string weak : {"", ".weak"}) {
      std::string vector = s.type[0] == 'v' ? "." + std::string(s.type, 2) : "",
                  type = s.type[0] == 'v' ? std::string(s.type + 3) : s.type;
      remote("st.async" + weak + ".shared::cluster.mbarrier::complete_tx::bytes" + vector + "." + type, s.operand,
             4 * s.words, [=](uint32_t thread, uint32_t word) -> std::optional<uint32_t> {
               uint32_t other = (thread / 32) ^ 1, lane = thread % 32;
               return word < s.words ? 1000 * other + lane + word : 4 * lane + word;
             });
    }
  struct Reduce {
    std::vector<std::string> operations, types;
  };
  for (const Reduce& row : {Reduce{{"inc", "dec"}, {"u32"}}, Reduce{{"min", "max"}, {"u32", "s32"}},
                            Reduce{{"and", "or", "xor"}, {"b32"}}, Reduce{{"add"}, {"u32", "s32", "u64"}}})
    for (const std::string& op : row.operations)
      for (const std::string& type : row.types) {
        bool wide = type == "u64";
        remote("red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes." + op + "." + type,
               wide ? "%rd50" : "%r50", wide ? 8 : 4, [=](uint32_t thread, uint32_t word) -> std::optional<uint32_t> {
                 uint32_t other = (thread / 32) ^ 1, lane = thread % 32, x = 1000 * other + lane;
                 uint32_t old = 4 * lane + word;
                 if (!wide) return word == 0 ? static_cast<uint32_t>(reduced(op, type, old, x)) : old;
                 if (word >= 2) return old;
                 uint64_t sum =
                     reduced(op, type, (uint64_t{4 * lane + 1} << 32) | (4 * lane), (uint64_t{x + 1} << 32) | x);
                 return static_cast<uint32_t>(sum >> (32 * word));
               });
      }
}

} // namespace

void copy_cases(const Sink& sink) {
  copy_cases_of_threads(sink);
  bulk_cases(sink);
  reduction_cases(sink);
  remote_cases(sink);
}

} // namespace tilejit::conformance
