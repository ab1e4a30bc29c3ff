// cases_barrier.cpp - barriers of a block, a warp and a cluster, and mbarriers. PTX ISA 9.7.13 "bar, barrier",
// "bar.warp.sync", "barrier.cluster", "mbarrier".
#include "tests/runtime/simulator/conformance/case.h"

namespace tilejit::conformance {
namespace {

std::string number(int64_t n) { return std::to_string(n); }
std::string store(uint32_t word, const std::string& reg) {
  return "st.global.b32 [%rd2+" + number(4 * word) + "], " + reg + ";\n";
}
std::string store_predicate(uint32_t word, const std::string& p) {
  return "selp.b32 %r199, 1, 0, " + p + ";\n" + store(word, "%r199");
}

/// Each thread leaves a word in shared memory, and takes that of another warp after the barrier.
void block_case(const Sink& sink, const std::string& spelling, const std::string& operands, const std::string& set_up,
                uint32_t members) {
  std::string body = "mov.u32 %r20, area;\nmad.lo.u32 %r21, %r0, 4, %r20;\nadd.u32 %r22, %r0, 100;\nst.shared.b32 "
                     "[%r21], %r22;\nmov.u32 %r25, 0;\nsetp.ge.u32 %p1, %r0, " +
                     number(members) + ";\n@%p1 bra DONE;\n" + set_up + spelling + " " + operands +
                     ";\nadd.u32 %r23, %r0, 33;\nrem.u32 %r23, %r23, " + number(members) +
                     ";\nmad.lo.u32 %r24, %r23, 4, %r20;\nld.shared.b32 %r25, [%r24];\nDONE:\n" + store(0, "%r25");
  emit(sink, words_case({.name = spelling + " " + operands + " for " + number(members),
                         .tests = {spelling},
                         .body = body,
                         .declarations = ".shared .b32 area[128];",
                         .threads = 128},
                        {}, 1, [=](uint32_t thread, uint32_t) -> std::optional<uint32_t> {
                          return thread < members ? (thread + 33) % members + 100 : 0;
                        }));
}

void block_cases(const Sink& sink) {
  for (std::string spelling : {"bar.sync", "bar.cta.sync", "barrier.sync", "barrier.sync.aligned", "barrier.cta.sync",
                               "barrier.cta.sync.aligned"}) {
    block_case(sink, spelling, "0", "", 128);
    block_case(sink, spelling, "%r30", "mov.u32 %r30, 7;\n", 128);
    block_case(sink, spelling, "3, 64", "", 64);
    block_case(sink, spelling, "%r30, %r31", "mov.u32 %r30, 15;\nmov.u32 %r31, 96;\n", 96);
  }
  // The first warp arrives and goes on; the second waits for it.
  for (std::string stem : {"bar", "bar.cta", "barrier", "barrier.cta"})
    for (std::string aligned : {"", ".aligned"}) {
      if (stem.starts_with("bar.") && !aligned.empty()) continue;
      if (stem == "bar" && !aligned.empty()) continue;
      std::string arrive = stem + ".arrive" + aligned;
      emit(sink, words_case({.name = arrive,
                             .tests = {arrive},
                             .body = "mov.u32 %r20, area;\nand.b32 %r21, %r0, 31;\nmad.lo.u32 %r20, %r21, 4, "
                                     "%r20;\nsetp.ge.u32 %p1, %r0, 32;\nmov.u32 %r22, 0;\n@%p1 bra SECOND;\nadd.u32 "
                                     "%r23, %r0, 9;\nst.shared.b32 [%r20], %r23;\n" +
                                     arrive + " 1, 64;\nbra DONE;\nSECOND:\n" + stem + ".sync" + aligned +
                                     " 1, 64;\nld.shared.b32 %r22, [%r20];\nDONE:\n" + store(0, "%r22"),
                             .declarations = ".shared .b32 area[32];",
                             .threads = 64},
                            {}, 1, [](uint32_t thread, uint32_t) -> std::optional<uint32_t> {
                              return thread < 32 ? 0 : thread - 32 + 9;
                            }));
      // Reductions over the block: how many, whether all, whether any; the predicate negated in the second operation.
      for (uint32_t pattern = 0; pattern < 3; ++pattern) {
        // 0: the multiples of three; 1: all; 2: none
        std::string set = pattern == 0   ? "rem.u32 %r20, %r0, 3;\nsetp.eq.u32 %p1, %r20, 0;\n"
                          : pattern == 1 ? "setp.eq.u32 %p1, %r0, %r0;\n"
                                         : "setp.ne.u32 %p1, %r0, %r0;\n";
        std::string popc = stem + ".red.popc" + aligned + ".u32", all = stem + ".red.and" + aligned + ".pred",
                    any = stem + ".red.or" + aligned + ".pred";
        uint32_t count = pattern == 0 ? 43 : pattern == 1 ? 128 : 0;
        emit(sink, words_case({.name = stem + ".red" + aligned + " of " + number(count),
                               .tests = {popc, all, any},
                               .body = set + popc + " %r21, 0, %p1;\n" + popc + " %r22, 1, 128, !%p1;\n" + all +
                                       " %p2, 2, %p1;\n" + all + " %p3, 0, 128, !%p1;\n" + any + " %p4, 1, %p1;\n" +
                                       any + " %p5, 2, 128, !%p1;\n" + store(0, "%r21") + store(1, "%r22") +
                                       store_predicate(2, "%p2") + store_predicate(3, "%p3") +
                                       store_predicate(4, "%p4") + store_predicate(5, "%p5"),
                               .threads = 128},
                              {}, 6, [=](uint32_t, uint32_t word) -> std::optional<uint32_t> {
                                const uint32_t expected[] = {count,      128 - count, count == 128,
                                                             count == 0, count != 0,  count != 128};
                                return expected[word];
                              }));
      }
    }
  // Unaligned ones are for threads, not warps. First the lower halves of two warps; what all do afterwards is done
  // once.
  auto lower = [](uint32_t thread) { return thread % 32 < 16; };
  emit(sink, words_case({.name = "barrier.sync of half warps",
                         .tests = {"barrier.sync"},
                         .body = "mov.u32 %r20, area;\nmad.lo.u32 %r21, %r0, 4, %r20;\nadd.u32 %r22, %r0, 100;\n"
                                 "st.shared.b32 [%r21], %r22;\nld.param.u32 %r23, [u0];\nand.b32 %r24, %r0, 31;\n"
                                 "setp.lt.u32 %p1, %r24, 16;\n@%p1 barrier.sync 1, 32;\nadd.u32 %r23, %r23, 1;\n"
                                 "xor.b32 %r25, %r0, 32;\nmad.lo.u32 %r25, %r25, 4, %r20;\nld.shared.b32 %r26, "
                                 "[%r25];\nselp.b32 %r26, %r26, 0, %p1;\n" +
                                 store(0, "%r23") + store(1, "%r26"),
                         .declarations = ".shared .b32 area[64];",
                         .threads = 64},
                        {}, 2, [=](uint32_t thread, uint32_t word) -> std::optional<uint32_t> {
                          return word == 0 ? 1 : lower(thread) ? (thread ^ 32) + 100 : 0;
                        }));
  for (uint32_t members : {0xffffffffu, 0x0000ffffu, 0xaaaaaaaau, 0x80000001u})
    emit(sink,
         words_case({.name = "bar.warp.sync among " + hex(members),
                     .tests = {"bar.warp.sync"},
                     .body = "mov.u32 %r20, area;\nmad.lo.u32 %r21, %r0, 4, %r20;\nmov.u32 %r26, 0;\nmov.u32 %r22, " +
                             number(members) +
                             ";\nshr.u32 %r23, %r22, %r0;\nand.b32 %r23, %r23, 1;\nsetp.eq.u32 %p1, %r23, "
                             "0;\n@%p1 bra DONE;\nadd.u32 %r24, %r0, 50;\nst.shared.b32 [%r21], "
                             "%r24;\nbar.warp.sync " +
                             number(members) +
                             ";\nxor.b32 %r25, %r0, 31;\nshr.u32 %r23, %r22, %r25;\nand.b32 %r23, %r23, "
                             "1;\nsetp.eq.u32 %p1, %r23, 0;\n@%p1 bra DONE;\nmad.lo.u32 %r25, %r25, 4, "
                             "%r20;\nld.shared.b32 %r26, [%r25];\nDONE:\n" +
                             store(0, "%r26"),
                     .declarations = ".shared .b32 area[32];"},
                    {}, 1, [=](uint32_t lane, uint32_t) -> std::optional<uint32_t> {
                      bool both = (members >> lane & 1) && (members >> (lane ^ 31) & 1);
                      return both ? (lane ^ 31) + 50 : 0;
                    }));
}

// --- mbarriers ---

/// What one thread does with an mbarrier, step by step, and what it must see.
class Transcript {
public:
  explicit Transcript(std::string name) : name_(std::move(name)) {}
  /// An instruction with its operands.
  Transcript& step(const std::string& spelling, const std::string& operands) {
    tests_.push_back(spelling);
    body_ += spelling + " " + operands + ";\n";
    return *this;
  }
  /// Whether a wait succeeds: `spelling` gives a predicate.
  Transcript& see(const std::string& spelling, const std::string& operands, bool expected) {
    step(spelling, "%p2, " + operands);
    body_ += store_predicate(static_cast<uint32_t>(expected_.size()), "%p2");
    expected_.push_back(expected);
    return *this;
  }
  Transcript& see_count(const std::string& state, uint32_t expected) {
    step("mbarrier.pending_count.b64", "%r20, " + state);
    body_ += store(static_cast<uint32_t>(expected_.size()), "%r20");
    expected_.push_back(expected);
    return *this;
  }
  void emit_to(const Sink& sink, uint32_t since = 80) const {
    auto expected = expected_;
    emit(sink, words_case({.name = name_,
                           .tests = tests_,
                           .body = "setp.ne.u32 %p1, %r0, 0;\nmov.u32 %r30, bar;\nmov.u64 %rd30, bar;\ncvta.shared.u64 "
                                   "%rd31, %rd30;\n@%p1 bra DONE;\n" +
                                   body_ + "DONE:\n",
                           .declarations = ".shared .align 8 .b64 bar[2];",
                           .since = since},
                          {}, static_cast<uint32_t>(expected.size()),
                          [=](uint32_t thread, uint32_t word) -> std::optional<uint32_t> {
                            return thread == 0 ? expected[word] : 0;
                          }));
  }

private:
  std::string name_, body_;
  std::vector<std::string> tests_;
  std::vector<uint32_t> expected_;
};

void mbarrier_cases(const Sink& sink) {
  // `space` and the address that goes with it: shared by name, by 32-bit and 64-bit register, generic.
  struct Where {
    const char *space, *address;
  };
  for (Where w : {Where{".shared", "[bar]"}, Where{".shared::cta", "[%r30]"}, Where{"", "[%rd31]"}}) {
    std::string s = w.space, at = w.address, b = s + ".b64";
    std::string test = "mbarrier.test_wait" + b, parity = "mbarrier.test_wait.parity" + b,
                attempt = "mbarrier.try_wait" + b, attempt_parity = "mbarrier.try_wait.parity" + b;
    Transcript("mbarrier phases" + s)
        .step("mbarrier.init" + b, at + ", 3")
        .step("mbarrier.arrive" + b, "%rd10, " + at)
        .see_count("%rd10", 3)
        .see(test, at + ", %rd10", false)
        .step("mbarrier.arrive" + b, "%rd11, " + at + ", 2")
        .see_count("%rd11", 2)
        .see(test, at + ", %rd10", true)
        .see(test, at + ", %rd11", true)
        .see(parity, at + ", 0", true)
        .see(parity, at + ", 1", false)
        .step("mbarrier.arrive" + b, "%rd12, " + at)
        .see_count("%rd12", 3)
        .see(test, at + ", %rd12", false)
        .step("mbarrier.arrive.noComplete" + b, "%rd13, " + at + ", 1")
        .see_count("%rd13", 2)
        .step("mbarrier.arrive" + b, "%rd14, " + at)
        .see(attempt, at + ", %rd12", true)
        .see(attempt_parity, at + ", 1", true)
        .see(attempt_parity, at + ", 0, 100", false)
        .see(parity, at + ", 0", false)
        .step("mbarrier.inval" + b, at)
        .step("mbarrier.init" + b, at + ", 1")
        .see(parity, at + ", 1", true) // the phase before the first
        .see(parity, at + ", 0", false)
        .emit_to(sink);
    Transcript("mbarrier arrivals that are dropped" + s)
        .step("mbarrier.init" + b, at + ", 4")
        .step("mbarrier.arrive_drop" + b, "%rd10, " + at)
        .see_count("%rd10", 4)
        .step("mbarrier.arrive_drop.noComplete" + b, "%rd11, " + at + ", 1")
        .see_count("%rd11", 3)
        .step("mbarrier.arrive" + b, "%rd12, " + at + ", 2")
        .see(test, at + ", %rd12", true)
        .step("mbarrier.arrive" + b, "%rd13, " + at) // 2 are expected from now on
        .see_count("%rd13", 2)
        .step("mbarrier.arrive_drop" + b, "%rd14, " + at + ", 1")
        .see(test, at + ", %rd13", true)
        .step("mbarrier.arrive" + b, "%rd15, " + at)
        .see_count("%rd15", 1)
        .see(test, at + ", %rd15", true)
        .emit_to(sink);
  }
  for (Where w : {Where{".shared", "[bar]"}, Where{".shared::cta", "[%r30]"}, Where{"", "[%rd31]"}}) {
    std::string s = w.space, at = w.address, b = s + ".b64";
    std::string parity = "mbarrier.test_wait.parity" + b;
    Transcript("mbarrier transactions" + s)
        .step("mbarrier.init" + b, at + ", 2")
        .step("mbarrier.arrive" + b, "%rd10, " + at)
        .step("mbarrier.arrive.expect_tx" + b, "%rd10, " + at + ", 48")
        .see_count("%rd10", 1)
        .see(parity, at + ", 0", false)
        .step("mbarrier.complete_tx.relaxed.cta.shared::cta.b64", "[bar], 32")
        .see(parity, at + ", 0", false)
        .step("mbarrier.complete_tx.relaxed.cta.shared::cta.b64", "[bar], 16")
        .see(parity, at + ", 0", true)
        .step("mbarrier.expect_tx.relaxed.cta" + b, at + ", 8")
        .step("mbarrier.arrive" + b, "%rd11, " + at + ", 2")
        .see(parity, at + ", 1", false)
        .step("mbarrier.complete_tx.relaxed.cta.shared::cta.b64", "[bar], 8")
        .see(parity, at + ", 1", true)
        .step("mbarrier.arrive" + b, "%rd11, " + at)
        .step("mbarrier.arrive_drop.expect_tx" + b, "%rd12, " + at + ", 4")
        .see(parity, at + ", 0", false)
        .step("mbarrier.complete_tx.relaxed.cta.shared::cta.b64", "[bar], 4")
        .see(parity, at + ", 0", true)
        .emit_to(sink);
  }
  // Orders and scopes; no result where none is wanted.
  for (std::string scope : {"cta", "cluster"})
    for (std::string kind : {"ordered", "relaxed"}) {
      std::string arrives = kind == "ordered" ? ".release." : ".relaxed.",
                  waits = kind == "ordered" ? ".acquire." : ".relaxed.";
      std::string space = ".shared::cta.b64";
      Transcript t("mbarrier " + kind + " " + scope);
      t.step("mbarrier.init" + space, "[bar], 1")
          .step("mbarrier.arrive" + arrives + scope + space, "_, [bar]")
          .see("mbarrier.test_wait.parity" + waits + scope + space, "[bar], 0", true)
          .step("mbarrier.arrive.expect_tx" + arrives + scope + space, "_, [bar], 0")
          .see("mbarrier.try_wait.parity" + waits + scope + space, "[bar], 1", true)
          .step("mbarrier.arrive" + arrives + scope + space, "%rd10, [bar], 1")
          .see("mbarrier.test_wait" + waits + scope + space, "[bar], %rd10", true)
          .see("mbarrier.try_wait" + waits + scope + space, "[bar], %rd10", true);
      t.emit_to(sink, kind == "ordered" ? 80 : 87);
    }

  // Producer and consumer: warp 0 writes, arrives; warp 1 waits, reads. Fences that order the proxies change nothing.
  auto handover = [&](const std::string& name, const std::vector<std::string>& fences, uint32_t since) {
    std::string between;
    for (const std::string& fence : fences) between += fence + ";\n";
    std::vector<std::string> tests{"mbarrier.init.shared.b64", "mbarrier.arrive.shared.b64",
                                   "mbarrier.try_wait.parity.shared.b64"};
    tests.insert(tests.end(), fences.begin(), fences.end());
    emit(sink,
         words_case({.name = name,
                     .tests = tests,
                     .body = "mov.u32 %r20, area;\nand.b32 %r21, %r0, 31;\nmad.lo.u32 %r20, %r21, 4, "
                             "%r20;\nsetp.eq.u32 %p1, %r0, 0;\n@%p1 mbarrier.init.shared.b64 [bar], 32;\n" +
                             between +
                             "bar.sync 0;\nsetp.ge.u32 %p1, %r0, 32;\nmov.u32 %r22, 0;\n@%p1 bra SECOND;\nadd.u32 "
                             "%r23, %r0, 9;\nst.shared.b32 [%r20], %r23;\n" +
                             between +
                             "mbarrier.arrive.shared.b64 %rd10, [bar];\nbra DONE;\nSECOND:\nWAIT: "
                             "mbarrier.try_wait.parity.shared.b64 %p2, [bar], 0;\n@!%p2 bra WAIT;\nxor.b32 %r24, "
                             "%r21, 5;\nmov.u32 %r20, area;\nmad.lo.u32 %r20, %r24, 4, %r20;\nld.shared.b32 %r22, "
                             "[%r20];\nDONE:\n" +
                             store(0, "%r22"),
                     .declarations = ".shared .b32 area[32];\n.shared .align 8 .b64 bar;",
                     .threads = 64,
                     .since = since},
                    {}, 1, [](uint32_t thread, uint32_t) -> std::optional<uint32_t> {
                      return thread < 32 ? 0 : ((thread - 32) ^ 5) + 9;
                    }));
  };
  handover("an mbarrier between warps", {}, 80);
  for (std::string fence : {"fence.mbarrier_init.release.cluster", "fence.proxy.alias", "fence.proxy.async",
                            "fence.proxy.async.global", "fence.proxy.async.shared::cta",
                            "fence.proxy.async.shared::cluster", "fence.proxy.tensormap::generic.release.gpu"})
    handover("an mbarrier between warps with " + fence, {fence}, fence.find("tensormap") != fence.npos ? 83 : 80);
  for (std::string space : {"shared::cta", "shared::cluster"}) {
    // .release goes with the writer's own shared memory, .acquire with that of the cluster.
    std::string order = space == "shared::cta" ? "release" : "acquire";
    handover("an mbarrier between warps with restricted fences of " + space,
             {"fence." + order + ".sync_restrict::" + space + ".cluster",
              "fence.proxy.async::generic." + order + ".sync_restrict::" + space + ".cluster"},
             86);
  }
}

// --- clusters ---

/// Two blocks of a cluster of 32 threads each; `body` may use %r40: the rank, %r41: the other one.
void cluster_case(const Sink& sink, const std::string& name, const std::vector<std::string>& tests,
                  const std::string& body, uint32_t outputs, ExpectedWord expected) {
  emit(sink,
       words_case({.name = name,
                   .tests = tests,
                   .body = "mov.u32 %r40, %cluster_ctarank;\nxor.b32 %r41, %r40, 1;\nmov.u32 %r42, %tid.x;\nmov.u32 "
                           "%r43, area;\nmad.lo.u32 %r44, %r42, 4, %r43;\nsetp.eq.u32 %p10, %r42, 0;\n" +
                           body,
                   .declarations = ".shared .align 16 .b32 area[64];\n.shared .align 8 .b64 bar;",
                   .directives = ".reqnctapercluster 2",
                   .threads = 32,
                   .blocks = 4},
                  {}, outputs, std::move(expected)));
}

void cluster_cases(const Sink& sink) {
  for (std::string aligned : {"", ".aligned"})
    for (std::string order : {"", "release", "relaxed"}) {
      std::string arrive = "barrier.cluster.arrive" + (order.empty() ? "" : "." + order) + aligned,
                  wait = "barrier.cluster.wait" + std::string(order.empty() ? "" : ".acquire") + aligned;
      std::string fence = order == "relaxed" ? "fence.acq_rel.cluster;\n" : "";
      cluster_case(
          sink, arrive + " and " + wait,
          {arrive, wait, "mapa.shared::cluster.u32", "st.shared::cluster.b32", "ld.shared::cluster.b32",
           "getctarank.shared::cluster.u32", "mapa.u64", "getctarank.u64"},
          // Each leaves a word with the other, waits, reads its own; then reads the other's own word.
          "mapa.shared::cluster.u32 %r45, %r44, %r41;\nmad.lo.u32 %r46, %r40, 100, %r42;\n"
          "st.shared::cluster.b32 [%r45], %r46;\nadd.u32 %r47, %r46, 1000;\nst.shared.b32 [%r44+128], %r47;\n" +
              fence + arrive + ";\n" + wait + ";\n" +
              "ld.shared.b32 %r48, [%r44];\nld.shared::cluster.b32 %r49, [%r45+128];\n"
              "getctarank.shared::cluster.u32 %r50, %r45;\ngetctarank.shared::cluster.u32 %r51, %r44;\n"
              "mov.u64 %rd40, area;\ncvta.shared.u64 %rd40, %rd40;\nmapa.u64 %rd41, %rd40, %r41;\n"
              "getctarank.u64 %r52, %rd41;\nld.b32 %r53, [%rd41+128];\n" +
              store(0, "%r48") + store(1, "%r49") + store(2, "%r50") + store(3, "%r51") + store(4, "%r52") +
              store(5, "%r53") + arrive + ";\n" + wait + ";\n",
          6, [](uint32_t thread, uint32_t word) -> std::optional<uint32_t> {
            uint32_t rank = thread / 32 % 2, other = rank ^ 1, t = thread % 32;
            const uint32_t expected[] = {other * 100 + t, other * 100 + t + 1000, other, rank,
                                         other,           other * 100 + 1000};
            return expected[word];
          });
    }
  // Arrivals from afar, with and without bytes; atomics on the other's memory.
  cluster_case(sink, "an mbarrier of another block",
               {"mbarrier.arrive.release.cluster.shared::cluster.b64",
                "mbarrier.arrive.expect_tx.release.cluster.shared::cluster.b64",
                "mbarrier.arrive_drop.release.cluster.shared::cluster.b64",
                "mbarrier.expect_tx.relaxed.cluster.shared::cluster.b64",
                "mbarrier.complete_tx.relaxed.cluster.shared::cluster.b64",
                "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64", "atom.shared::cluster.add.u32",
                "red.shared::cluster.max.u32"},
               "st.shared.b32 [%r44], %r42;\n@%p10 mbarrier.init.shared.b64 [bar], 3;\nfence.mbarrier_init.release."
               "cluster;\nbarrier.cluster.arrive;\nbarrier.cluster.wait;\nmov.u32 %r45, bar;\nmapa.shared::cluster.u32 "
               "%r45, %r45, %r41;\nmapa.shared::cluster.u32 %r46, %r43, %r41;\n"
               "atom.shared::cluster.add.u32 %r47, [%r46], 1;\nred.shared::cluster.max.u32 [%r46+4], %r42;\n"
               "@!%p10 bra WAIT;\nmbarrier.expect_tx.relaxed.cluster.shared::cluster.b64 [%r45], 8;\n"
               "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r45];\n"
               "mbarrier.arrive.expect_tx.release.cluster.shared::cluster.b64 _, [%r45], 16;\n"
               "mbarrier.arrive_drop.release.cluster.shared::cluster.b64 _, [%r45];\n"
               "mbarrier.complete_tx.relaxed.cluster.shared::cluster.b64 [%r45], 24;\n"
               "WAIT: mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 %p1, [bar], 0;\n@!%p1 bra WAIT;\n"
               "barrier.cluster.arrive;\nbarrier.cluster.wait;\nld.shared.b32 %r48, [area];\nld.shared.b32 %r49, "
               "[area+4];\n" +
                   store(0, "%r48") + store(1, "%r49"),
               2, [](uint32_t, uint32_t word) -> std::optional<uint32_t> { return word == 0 ? 32 : 31; });
}

} // namespace

void barrier_cases(const Sink& sink) {
  block_cases(sink);
  mbarrier_cases(sink);
  cluster_cases(sink);
}

} // namespace tilejit::conformance
