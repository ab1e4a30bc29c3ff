// cases_control.cpp - branches, calls, what ends a thread, and special registers. PTX ISA 9.7.12 "Control Flow
// Instructions", 9.7.19 "Miscellaneous Instructions", 10 "Special Registers".
#include "tests/runtime/simulator/conformance/case.h"

#include <cstring>

namespace tilejit::conformance {
namespace {

std::string number(int64_t n) { return std::to_string(n); }
std::string store(uint32_t word, const std::string& reg) {
  return "st.global.b32 [%rd2+" + number(4 * word) + "], " + reg + ";\n";
}
ExpectedWord same(std::vector<uint32_t> expected) {
  return
      [expected = std::move(expected)](uint32_t, uint32_t word) -> std::optional<uint32_t> { return expected[word]; };
}

void branch_cases(const Sink& sink) {
  // Each lane goes round as often as its number says; every second one leaves in the middle.
  emit(sink,
       words_case({.name = "bra",
                   .tests = {"bra"},
                   .body = "mov.u32 %r20, 0;\nmov.u32 %r21, 0;\nLOOP: setp.ge.u32 %p1, %r21, %r0;\n@%p1 bra "
                           "DONE;\nadd.u32 %r20, %r20, %r21;\nadd.u32 %r21, %r21, 1;\nand.b32 %r22, %r0, "
                           "1;\nsetp.eq.u32 %p2, %r22, 1;\nsetp.gt.u32 %p3, %r21, 6;\nand.pred %p2, %p2, %p3;\n@%p2 "
                           "bra OUT;\nbra LOOP;\nOUT: add.u32 %r20, %r20, 1000;\nDONE:\n" +
                           store(0, "%r20")},
                  {}, 1, [](uint32_t lane, uint32_t) -> std::optional<uint32_t> {
                    uint32_t sum = 0;
                    for (uint32_t i = 0; i < lane;) {
                      sum += i++;
                      if (lane % 2 && i > 6) return sum + 1000;
                    }
                    return sum;
                  }));
  emit(sink,
       words_case({.name = "bra.uni",
                   .tests = {"bra.uni"},
                   .body = "mov.u32 %r20, 0;\nLOOP: add.u32 %r20, %r20, %r0;\nadd.u32 %r21, %r21, 0;\nadd.u32 %r22, "
                           "%r22, 0;\nbra.uni NEXT;\nadd.u32 %r20, %r20, 5000;\nNEXT:\n" +
                           store(0, "%r20")},
                  {}, 1, [](uint32_t lane, uint32_t) -> std::optional<uint32_t> { return lane; }));
  for (std::string spelling : {"brx.idx", "brx.idx.uni"}) {
    bool uniform = spelling.ends_with("uni");
    std::string index = uniform ? "mov.u32 %r21, 2;\n" : "and.b32 %r21, %r0, 3;\n";
    emit(sink, words_case({.name = spelling,
                           .tests = {spelling},
                           .body = index + "table: .branchtargets A, B, C, B;\nmov.u32 %r20, 1;\n" + spelling +
                                   " %r21, table;\nA: add.u32 %r20, %r20, 10;\nB: add.u32 %r20, %r20, 100;\nC: add.u32 "
                                   "%r20, %r20, 1000;\n" +
                                   store(0, "%r20")},
                          {}, 1, [=](uint32_t lane, uint32_t) -> std::optional<uint32_t> {
                            const uint32_t ends[] = {1111, 1101, 1001, 1101};
                            return ends[uniform ? 2 : lane % 4];
                          }));
  }
}

void call_cases(const Sink& sink) {
  const std::string functions =
      ".func (.param .b32 result) triple(.param .b32 x) {\n.reg .b32 %r<5>;\nld.param.b32 %r1, [x];\nmul.lo.u32 %r2, "
      "%r1, "
      "3;\nst.param.b32 [result], %r2;\nret;\n}\n"
      ".func (.param .b32 result) early(.param .b32 x) {\n.reg .b32 %r<5>;\n.reg .pred %p<3>;\nld.param.b32 %r1, "
      "[x];\nst.param.b32 [result], %r1;\nsetp.lt.u32 %p1, %r1, 7;\n@%p1 ret;\nadd.u32 %r1, %r1, 500;\nst.param.b32 "
      "[result], %r1;\nret.uni;\n}\n"
      ".func (.param .b32 result) sum(.param .b32 n) {\n.reg .b32 %r<9>;\n.reg .pred %p<3>;\nld.param.b32 %r1, "
      "[n];\nmov.u32 %r2, 0;\nsetp.eq.u32 %p1, %r1, 0;\n@%p1 bra END;\nsub.u32 %r3, %r1, 1;\n{\n.param .b32 a;\n.param "
      ".b32 r;\nst.param.b32 [a], %r3;\ncall (r), sum, (a);\nld.param.b32 %r4, [r];\nadd.u32 %r2, %r4, %r1;\n}\nEND: "
      "st.param.b32 [result], %r2;\nret;\n}\n";
  auto call = [](const std::string& text, const std::string& function) {
    return "{\n.param .b32 a;\n.param .b32 r;\nst.param.b32 [a], %r0;\n" + text + " (r), " + function +
           ", (a);\nld.param.b32 %r20, [r];\n}\n";
  };
  for (std::string spelling : {"call", "call.uni"})
    emit(sink,
         words_case({.name = spelling,
                     .tests = {spelling, "ret", "ret.uni"},
                     .body = call(spelling, "triple") + store(0, "%r20") + call(spelling, "early") + store(1, "%r20"),
                     .declarations = functions},
                    {}, 2, [](uint32_t lane, uint32_t word) -> std::optional<uint32_t> {
                      return word == 0 ? 3 * lane : lane < 7 ? lane : lane + 500;
                    }));
  emit(sink,
       words_case({.name = "call of itself",
                   .tests = {"call"},
                   .body = call("call", "sum") + store(0, "%r20"),
                   .declarations = functions},
                  {}, 1, [](uint32_t lane, uint32_t) -> std::optional<uint32_t> { return lane * (lane + 1) / 2; }));
  // By address: every second lane another function.
  emit(sink,
       words_case({.name = "call by address",
                   .tests = {"call"},
                   .body = "mov.u64 %rd20, triple;\nmov.u64 %rd21, early;\nand.b32 %r21, %r0, 1;\nsetp.eq.u32 %p1, "
                           "%r21, 0;\nselp.b64 %rd20, %rd20, %rd21, %p1;\nkind: .callprototype (.param .b32 _) _ "
                           "(.param .b32 _);\n{\n.param .b32 a;\n.param .b32 r;\nst.param.b32 [a], %r0;\ncall (r), "
                           "%rd20, (a), kind;\nld.param.b32 %r20, [r];\n}\n" +
                           store(0, "%r20"),
                   .declarations = functions},
                  {}, 1, [](uint32_t lane, uint32_t) -> std::optional<uint32_t> {
                    return lane % 2 == 0 ? 3 * lane : lane < 7 ? lane : lane + 500;
                  }));
}

void end_cases(const Sink& sink) {
  for (std::string spelling : {"exit", "ret"})
    emit(sink, words_case({.name = spelling + " of some lanes",
                           .tests = {spelling},
                           .body = "mov.u32 %r20, 5;\n" + store(0, "%r20") + "setp.gt.u32 %p1, %r0, 9;\n@%p1 " +
                                   spelling + ";\nmov.u32 %r20, 6;\n" + store(1, "%r20")},
                          {}, 2, [](uint32_t lane, uint32_t word) -> std::optional<uint32_t> {
                            return word == 0 ? 5 : lane > 9 ? 0 : 6;
                          }));
}

/// What has no result: the thread goes on with its registers as they were.
void harmless_cases(const Sink& sink) {
  auto harmless = [&](const std::string& spelling, const std::string& operands, uint32_t threads = 32,
                      const std::string& directives = "") {
    emit(sink, words_case({.name = spelling + (operands.empty() ? "" : " ") + operands,
                           .tests = {spelling},
                           .body = "mov.u32 %r21, 40;\nadd.u32 %r20, %r0, 3;\n" + spelling + " " + operands + ";\n" +
                                   store(0, "%r20"),
                           .directives = directives,
                           .threads = threads},
                          {}, 1, [](uint32_t thread, uint32_t) -> std::optional<uint32_t> { return thread + 3; }));
  };
  harmless("nanosleep.u32", "20");
  harmless("nanosleep.u32", "%r21");
  harmless("pmevent", "3");
  harmless("pmevent.mask", "0x5");
  harmless("griddepcontrol.launch_dependents", "");
  harmless("griddepcontrol.wait", "");
  harmless("setmaxnreg.dec.sync.aligned.u32", "40", 128, ".maxnreg 64 .reqntid 128");
  // More registers only after fewer.
  emit(sink, words_case({.name = "setmaxnreg down and up",
                         .tests = {"setmaxnreg.dec.sync.aligned.u32", "setmaxnreg.inc.sync.aligned.u32"},
                         .body = "add.u32 %r20, %r0, 3;\nsetmaxnreg.dec.sync.aligned.u32 40;\nadd.u32 %r20, %r20, "
                                 "1;\nsetmaxnreg.inc.sync.aligned.u32 64;\n" +
                                 store(0, "%r20"),
                         .directives = ".maxnreg 64 .reqntid 128",
                         .threads = 128},
                        {}, 1, [](uint32_t thread, uint32_t) -> std::optional<uint32_t> { return thread + 4; }));
}

void register_cases(const Sink& sink) {
  struct Row {
    const char* name;
    std::function<std::optional<uint32_t>(uint32_t)> expected; ///< of a thread; 3 blocks of 64
  };
  auto always = [](uint32_t v) { return [=](uint32_t) -> std::optional<uint32_t> { return v; }; };
  const Row rows[] = {
      {"%tid.x", [](uint32_t t) -> std::optional<uint32_t> { return t % 64; }},
      {"%tid.y", always(0)},
      {"%tid.z", always(0)},
      {"%ntid.x", always(64)},
      {"%ntid.y", always(1)},
      {"%ctaid.x", [](uint32_t t) -> std::optional<uint32_t> { return t / 64; }},
      {"%ctaid.y", always(0)},
      {"%nctaid.x", always(3)},
      {"%nctaid.z", always(1)},
      {"%laneid", [](uint32_t t) -> std::optional<uint32_t> { return t % 32; }},
      {"%lanemask_eq", [](uint32_t t) -> std::optional<uint32_t> { return 1u << t % 32; }},
      {"%lanemask_lt", [](uint32_t t) -> std::optional<uint32_t> { return (1u << t % 32) - 1; }},
      {"%lanemask_le", [](uint32_t t) -> std::optional<uint32_t> { return (1u << t % 32) * 2 - 1; }},
      {"%lanemask_gt", [](uint32_t t) -> std::optional<uint32_t> { return ~((1u << t % 32) * 2 - 1); }},
      {"%lanemask_ge", [](uint32_t t) -> std::optional<uint32_t> { return ~((1u << t % 32) - 1); }},
      {"WARP_SZ", always(32)},
      {"%dynamic_smem_size", always(512)},
      {"%cluster_ctarank", always(0)},
      {"%cluster_nctarank", always(1)},
      {"%cluster_ctaid.x", always(0)},
      {"%cluster_nctaid.x", always(1)},
      {"%clusterid.x", [](uint32_t t) -> std::optional<uint32_t> { return t / 64; }},
      {"%nclusterid.x", always(3)},
  };
  std::string body;
  std::vector<Row> all(std::begin(rows), std::end(rows));
  for (uint32_t i = 0; i < all.size(); ++i)
    body += "mov.u32 %r20, " + std::string(all[i].name) + ";\n" + store(i, "%r20");
  emit(sink,
       words_case(
           {.name = "special registers", .tests = {"mov.u32"}, .body = body, .threads = 64, .blocks = 3, .shared = 512},
           {}, static_cast<uint32_t>(all.size()),
           [=](uint32_t thread, uint32_t word) { return all[word].expected(thread); }));
  // Those whose value is the machine's own are in range, and clocks go on.
  emit(sink,
       words_case({.name = "special registers of the machine",
                   .tests = {"mov.u32", "mov.u64"},
                   .body = "mov.u32 %r20, %smid;\nmov.u32 %r21, %nsmid;\nsetp.lt.u32 %p1, %r20, %r21;\nmov.u32 %r22, "
                           "%warpid;\nmov.u32 %r23, %nwarpid;\nsetp.lt.u32 %p2, %r22, %r23;\nmov.u64 %rd20, "
                           "%clock64;\nmov.u64 %rd21, %globaltimer;\nmov.u32 %r27, %clock;\nmov.u32 %r24, "
                           "0;\nSPIN: add.u32 %r24, %r24, 1;\nsetp.lt.u32 %p3, %r24, 100;\n@%p3 bra SPIN;\nmov.u64 "
                           "%rd22, %clock64;\nmov.u64 %rd23, %globaltimer;\nmov.u32 %r28, %clock;\nsetp.lt.u64 %p4, "
                           "%rd20, %rd22;\nsetp.le.u64 %p5, %rd21, %rd23;\nsetp.ne.u32 %p6, %r27, %r28;\nmov.u32 "
                           "%r25, %total_smem_size;\nsetp.ge.u32 %p7, %r25, 512;\nmov.u64 %rd24, %gridid;\n"
                           "and.pred %p1, %p1, %p2;\nand.pred %p4, %p4, %p5;\nand.pred %p4, %p4, %p6;\nselp.b32 "
                           "%r26, 1, 0, %p1;\n" +
                           store(0, "%r26") + "selp.b32 %r26, 1, 0, %p4;\n" + store(1, "%r26") +
                           "selp.b32 %r26, 1, 0, %p7;\n" + store(2, "%r26"),
                   .threads = 64,
                   .blocks = 3,
                   .shared = 512},
                  {}, 3, same({1, 1, 1})));
  // Where the system's shared memory lies is the machine's own, but it has its size and is not the program's.
  emit(sink,
       words_case({.name = "special registers of shared memory",
                   .tests = {"mov.u32"},
                   .body = "mov.u32 %r20, %reserved_smem_offset_begin;\nmov.u32 %r21, "
                           "%reserved_smem_offset_end;\nmov.u32 %r22, %reserved_smem_offset_cap;\nmov.u32 %r23, "
                           "%reserved_smem_offset_1;\nmov.u32 %r24, own;\nmov.u32 %r25, %total_smem_size;\nmov.u32 "
                           "%r26, %aggr_smem_size;\nsub.u32 %r27, %r21, %r20;\nsetp.le.u32 %p1, %r27, %r22;\n"
                           "setp.ge.and.u32 %p2, %r23, %r20, %p1;\nsetp.lt.and.u32 %p2, %r23, %r21, %p2;\n"
                           "add.u32 %r28, %r24, 640;\nsetp.ge.u32 %p3, %r24, %r21;\nsetp.le.or.u32 %p3, %r28, "
                           "%r20, %p3;\nsetp.ge.u32 %p4, %r25, 640;\nsetp.ge.and.u32 %p4, %r26, %r25, %p4;\n"
                           "selp.b32 %r26, 1, 0, %p2;\n" +
                           store(0, "%r26") + "selp.b32 %r26, 1, 0, %p3;\n" + store(1, "%r26") +
                           "selp.b32 %r26, 1, 0, %p4;\n" + store(2, "%r26"),
                   .declarations = ".shared .b8 own[128];",
                   .shared = 512,
                   .since = 81},
                  {}, 3, same({1, 1, 1})));
}

} // namespace

void control_cases(const Sink& sink) {
  branch_cases(sink);
  call_cases(sink);
  end_cases(sink);
  harmless_cases(sink);
  register_cases(sink);
}

} // namespace tilejit::conformance
