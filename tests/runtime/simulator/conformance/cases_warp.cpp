// cases_warp.cpp - operations of a whole warp: shuffles, votes, matches, reductions. PTX ISA 9.7.9 "shfl.sync", 9.7.13
// "vote.sync", "match.sync", "activemask", "redux.sync", "elect.sync".
#include "tests/runtime/simulator/conformance/case.h"
#include "tests/runtime/simulator/conformance/exact.h"

#include <bit>

namespace tilejit::conformance {
namespace {

struct Shuffled {
  int source;
  bool in_range;
};

/// The manual's pseudocode.
Shuffled shuffle(const std::string& mode, int lane, uint32_t b, uint32_t c) {
  int bval = static_cast<int>(b & 0x1f), cval = static_cast<int>(c & 0x1f), segment = static_cast<int>(c >> 8 & 0x1f);
  int max_lane = (lane & segment) | (cval & ~segment & 0x1f), min_lane = lane & segment, j = 0;
  bool p = false;
  if (mode == "up") j = lane - bval, p = j >= max_lane;
  if (mode == "down") j = lane + bval, p = j <= max_lane;
  if (mode == "bfly") j = lane ^ bval, p = j <= max_lane;
  if (mode == "idx") j = min_lane | (bval & ~segment & 0x1f), p = j <= max_lane;
  return {p ? j : lane, p};
}

constexpr uint32_t member_masks[] = {0xffffffff, 0x0000ffff, 0xaaaaaaaa, 0x80000001, 0x00000010, 0x7ffffffe};

bool is_member(uint32_t members, uint32_t lane) { return members >> lane & 1; }

/// `instruction` only where the lane is in `members`.
std::string among(uint32_t members, const std::string& instruction) {
  return "mov.u32 %r200, " + std::to_string(members) +
         ";\nshr.u32 %r201, %r200, %r0;\nand.b32 %r201, %r201, 1;\nsetp.eq.u32 %p9, %r201, 0;\n@%p9 bra SKIP;\n" +
         instruction + "\nSKIP:\n";
}
std::string store(uint32_t word, const std::string& reg) {
  return "st.global.b32 [%rd2+" + std::to_string(4 * word) + "], " + reg + ";\n";
}
std::string store_predicate(uint32_t word, const std::string& p) {
  return "selp.b32 %r199, 1, 0, " + p + ";\n" + store(word, "%r199");
}

void shuffle_cases(const Sink& sink, const std::string& spelling, const std::string& mode, uint32_t members) {
  constexpr uint32_t clamps[] = {0x1f, 0x0, 0x181f, 0x1e1f, 0x1000, 0x1c07, 0x0010};
  constexpr uint32_t distances[] = {0, 1, 2, 3, 4, 7, 8, 16, 21, 31};
  bool sync = spelling.find("sync") != spelling.npos;
  const char* kinds[] = {"immediate", "uniform", "register"};
  for (int kind = 0; kind < 3; ++kind) {
    auto input = random_words(64, 17);
    for (uint32_t lane = 0; lane < 32; ++lane) input[2 * lane + 1] &= 31;
    std::string body;
    std::vector<std::pair<uint32_t, uint32_t>> runs; // b, where it is the same for all, and c
    for (uint32_t c : clamps)
      for (uint32_t b : distances) {
        auto n = static_cast<uint32_t>(runs.size());
        if (kind == 2 && b != 0) continue; // b from the inputs
        std::string source = kind == 0 ? std::to_string(b) : "%r2";
        if (kind == 1) body += "ld.param.u32 %r2, [u0];\nadd.u32 %r2, %r2, " + std::to_string(b) + ";\n";
        body += spelling + " %r3|%p1, %r1, " + source + ", " + std::to_string(c) +
                (sync ? ", " + std::to_string(members) : "") + ";\n" + store(2 * n, "%r3") +
                store_predicate(2 * n + 1, "%p1");
        runs.emplace_back(b, c);
      }
    auto outputs = static_cast<uint32_t>(2 * runs.size());
    emit(sink, words_case({.name = spelling + " by " + kinds[kind] + " among " + hex(members),
                           .tests = {spelling},
                           .body = "ld.global.b32 %r1, [%rd1];\nld.global.b32 %r2, [%rd1+4];\n" + among(members, body)},
                          input, outputs, [=](uint32_t lane, uint32_t word) -> std::optional<uint32_t> {
                            if (!is_member(members, lane)) return 0;
                            auto [b, c] = runs[word / 2];
                            Shuffled s = shuffle(mode, static_cast<int>(lane), kind == 2 ? input[2 * lane + 1] : b, c);
                            if (word % 2) return s.in_range;
                            auto source = static_cast<uint32_t>(s.source);
                            if (!is_member(members, source)) return std::nullopt; // undefined
                            return input[2 * source];
                          }));
  }
}

void vote_cases(const Sink& sink, uint32_t members, uint32_t pattern) {
  std::vector<uint32_t> input(32);
  for (uint32_t lane = 0; lane < 32; ++lane) input[lane] = pattern >> lane & 1;
  std::string mask = std::to_string(members);
  auto leader = static_cast<uint32_t>(std::countr_zero(members));
  std::string body = "vote.sync.all.pred %p2, %p1, " + mask + ";\nvote.sync.any.pred %p3, %p1, " + mask +
                     ";\nvote.sync.uni.pred %p4, %p1, " + mask + ";\nvote.sync.ballot.b32 %r2, %p1, " + mask +
                     ";\nvote.sync.ballot.b32 %r3, !%p1, " + mask + ";\nactivemask.b32 %r4;\nelect.sync %r5|%p5, " +
                     mask + ";\n" + store(0, "%r2") + store(1, "%r3") + store(2, "%r4") + store(3, "%r5") +
                     store_predicate(4, "%p2") + store_predicate(5, "%p3") + store_predicate(6, "%p4") +
                     store_predicate(7, "%p5");
  emit(sink, words_case({.name = "votes among " + hex(members) + " of " + hex(pattern),
                         .tests = {"vote.sync.all.pred", "vote.sync.any.pred", "vote.sync.uni.pred",
                                   "vote.sync.ballot.b32", "activemask.b32", "elect.sync"},
                         .body = "ld.global.b32 %r1, [%rd1];\nsetp.ne.s32 %p1, %r1, 0;\n" + among(members, body)},
                        input, 8, [=](uint32_t lane, uint32_t word) -> std::optional<uint32_t> {
                          if (!is_member(members, lane)) return 0;
                          uint32_t set = pattern & members;
                          const uint32_t expected[] = {
                              set,      ~pattern & members,         members,       leader, set == members,
                              set != 0, set == 0 || set == members, lane == leader};
                          // Which lanes are active together is the machine's choice; one that runs is in the mask.
                          if (word == 2 && members != 0xffffffff) return std::nullopt;
                          return expected[word];
                        }));
  // Before PTX ISA 6.4 votes took no mask: the active lanes vote.
  if (members == 0xffffffff)
    emit(sink, words_case({.name = "votes without a mask of " + hex(pattern),
                           .tests = {"vote.all.pred", "vote.any.pred", "vote.uni.pred", "vote.ballot.b32"},
                           .body = "ld.global.b32 %r1, [%rd1];\nsetp.ne.s32 %p1, %r1, 0;\nvote.all.pred %p2, %p1;\n"
                                   "vote.any.pred %p3, %p1;\nvote.uni.pred %p4, !%p1;\nvote.ballot.b32 %r2, %p1;\n" +
                                   store(0, "%r2") + store_predicate(1, "%p2") + store_predicate(2, "%p3") +
                                   store_predicate(3, "%p4")},
                          input, 4, [=](uint32_t, uint32_t word) -> std::optional<uint32_t> {
                            const uint32_t expected[] = {pattern, pattern == 0xffffffff, pattern != 0,
                                                         pattern == 0 || pattern == 0xffffffff};
                            return expected[word];
                          }));
}

void match_cases(const Sink& sink, uint32_t members, uint32_t range) {
  auto input = random_words(64, range);
  for (uint32_t& w : input) w = range == 0xffffffff ? w : w % range + 0xfffffffe;
  std::string mask = std::to_string(members);
  std::string body = "match.any.sync.b32 %r3, %r1, " + mask + ";\nmatch.all.sync.b32 %r4|%p1, %r1, " + mask +
                     ";\nmatch.any.sync.b64 %r5, %rd3, " + mask + ";\nmatch.all.sync.b64 %r6|%p2, %rd3, " + mask +
                     ";\n" + store(0, "%r3") + store(1, "%r4") + store_predicate(2, "%p1") + store(3, "%r5") +
                     store(4, "%r6") + store_predicate(5, "%p2");
  emit(sink,
       words_case({.name = "matches among " + hex(members) + " of " + std::to_string(range) + " values",
                   .tests = {"match.any.sync.b32", "match.all.sync.b32", "match.any.sync.b64", "match.all.sync.b64"},
                   .body = "ld.global.b32 %r1, [%rd1];\nld.global.b32 %r2, [%rd1+4];\nmov.b64 %rd3, {%r1, %r2};\n" +
                           among(members, body)},
                  input, 6, [=](uint32_t lane, uint32_t word) -> std::optional<uint32_t> {
                    if (!is_member(members, lane)) return 0;
                    uint32_t same = 0;
                    for (uint32_t other = 0; other < 32; ++other)
                      if (is_member(members, other) && input[2 * other] == input[2 * lane] &&
                          (word < 3 || input[2 * other + 1] == input[2 * lane + 1]))
                        same |= 1u << other;
                    switch (word % 3) {
                    case 0: return same;
                    case 1: return same == members ? members : 0;
                    default: return same == members;
                    }
                  }));
}

void redux_cases(const Sink& sink, uint32_t members, uint32_t range) {
  auto input = random_words(32, range);
  for (uint32_t& w : input) w = range == 0xffffffff ? w : w % range + 0xfffffffe;
  const char* names[] = {"add.u32", "add.s32", "min.u32", "min.s32", "max.u32",
                         "max.s32", "and.b32", "or.b32",  "xor.b32"};
  std::string body;
  std::vector<std::string> tests;
  for (uint32_t k = 0; k < 9; ++k) {
    tests.push_back(std::string("redux.sync.") + names[k]);
    body += tests[k] + " %r2, %r1, " + std::to_string(members) + ";\n" + store(k, "%r2");
  }
  std::vector<uint32_t> e = {0, 0, ~0u, 0x7fffffff, 0, 0x80000000, ~0u, 0, 0};
  for (uint32_t lane = 0; lane < 32; ++lane) {
    if (!is_member(members, lane)) continue;
    uint32_t a = input[lane];
    auto lesser = [](uint32_t x, uint32_t y) { return static_cast<int32_t>(x) < static_cast<int32_t>(y); };
    e[0] += a, e[1] += a;
    e[2] = std::min(e[2], a), e[4] = std::max(e[4], a);
    e[3] = lesser(a, e[3]) ? a : e[3], e[5] = lesser(e[5], a) ? a : e[5];
    e[6] &= a, e[7] |= a, e[8] ^= a;
  }
  emit(sink, words_case({.name = "reductions among " + hex(members) + " of " + std::to_string(range) + " values",
                         .tests = tests,
                         .body = "ld.global.b32 %r1, [%rd1];\n" + among(members, body)},
                        input, 9, [=](uint32_t lane, uint32_t word) -> std::optional<uint32_t> {
                          return is_member(members, lane) ? e[word] : 0;
                        }));
}

/// Eight lanes each name themselves as members: four groups, or with `late` three and one that comes in two parts.
void tile_cases(const Sink& sink, bool late) {
  auto input = random_words(32, 23);
  for (uint32_t& w : input) w %= 3;
  const std::vector<std::string> spellings{
      "vote.sync.ballot.b32", "vote.sync.all.pred", "vote.sync.any.pred", "match.any.sync.b32", "match.all.sync.b32",
      "redux.sync.add.u32",   "redux.sync.max.s32", "elect.sync",         "bar.warp.sync",      "shfl.sync.bfly.b32"};
  std::string body =
      "ld.global.b32 %r1, [%rd1];\nand.b32 %r2, %r0, 24;\nmov.u32 %r3, 255;\nshl.b32 %r3, %r3, %r2;\n"
      "mov.u32 %r4, words;\nmad.lo.u32 %r5, %r0, 4, %r4;\nst.shared.b32 [%r4+128], 0;\nbar.sync 0;\nsetp.ne.u32 %p1, "
      "%r1, 0;\n";
  // A lane of the second group waits for what the first group does after its operations.
  if (late)
    body += "setp.ne.u32 %p2, %r0, 13;\n@%p2 bra JOIN;\nPOLL: ld.volatile.shared.b32 %r6, [%r4+128];\nsetp.eq.u32 %p3, "
            "%r6, 0;\n@%p3 bra POLL;\nJOIN:\n";
  body +=
      "vote.sync.ballot.b32 %r10, %p1, %r3;\nvote.sync.all.pred %p4, %p1, %r3;\nvote.sync.any.pred %p5, %p1, %r3;\n"
      "match.any.sync.b32 %r11, %r1, %r3;\nmatch.all.sync.b32 %r12|%p6, %r1, %r3;\nredux.sync.add.u32 %r13, %r1, "
      "%r3;\nredux.sync.max.s32 %r14, %r1, %r3;\nelect.sync %r15|%p7, %r3;\nst.shared.b32 [%r5], "
      "%r1;\nbar.warp.sync %r3;\nxor.b32 %r7, %r0, 5;\nmad.lo.u32 %r7, %r7, 4, %r4;\nld.shared.b32 %r16, "
      "[%r7];\nshfl.sync.bfly.b32 %r17, %r1, 3, 0x181f, %r3;\nsetp.eq.u32 %p8, %r0, 0;\n@%p8 st.volatile.shared.b32 "
      "[%r4+128], 1;\n";
  for (uint32_t k = 0; k < 8; ++k) body += store(k, "%r" + std::to_string(10 + k));
  for (uint32_t k = 4; k < 8; ++k) body += store_predicate(4 + k, "%p" + std::to_string(k));
  emit(sink, words_case({.name = std::string("groups of eight lanes") + (late ? ", one of them in parts" : ""),
                         .tests = spellings,
                         .body = body,
                         .declarations = ".shared .b32 words[33];"},
                        input, 12, [=](uint32_t lane, uint32_t word) -> std::optional<uint32_t> {
                          const uint32_t first = lane & 24, members = 255u << first;
                          uint32_t set = 0, equal = 0, sum = 0, most = 0;
                          for (uint32_t other = first; other < first + 8; ++other) {
                            set |= (input[other] != 0 ? 1u : 0u) << other;
                            equal |= (input[other] == input[lane] ? 1u : 0u) << other;
                            sum += input[other];
                            most = std::max(most, input[other]);
                          }
                          const uint32_t expected[] = {set,
                                                       equal,
                                                       equal == members ? members : 0,
                                                       sum,
                                                       most,
                                                       first,
                                                       input[lane ^ 5],
                                                       input[lane ^ 3],
                                                       set == members,
                                                       set != 0,
                                                       equal == members,
                                                       lane == first};
                          return expected[word];
                        }));
}

} // namespace

void warp_cases(const Sink& sink) {
  for (std::string mode : {"up", "down", "bfly", "idx"}) {
    for (uint32_t members : member_masks) shuffle_cases(sink, "shfl.sync." + mode + ".b32", mode, members);
    shuffle_cases(sink, "shfl." + mode + ".b32", mode, 0xffffffff); // without a mask: before PTX ISA 6.4
  }
  for (uint32_t members : member_masks) {
    for (uint32_t pattern : {0u, 0xffffffffu, 0x12345678u, 0x0000fff0u}) vote_cases(sink, members, pattern);
    for (uint32_t range : {1u, 3u, 0xffffffffu}) match_cases(sink, members, range), redux_cases(sink, members, range);
  }
  for (bool late : {false, true}) tile_cases(sink, late);
}

} // namespace tilejit::conformance
