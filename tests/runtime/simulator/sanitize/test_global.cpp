// Races and uninitialised reads of global memory.
#include "tests/runtime/simulator/sanitize/planted.h"

using namespace tilejit::runtime;
using namespace tilejit::runtime::simulator::test;

namespace {

/// `%rd1`: the word of the thread in the grid; `%rd2`: the array; `%r8` the thread's index.
std::string grid_text(const std::string& body, const std::vector<std::string>& parameters = {"u64"}) {
  return block_text("mov.u32 %r8, %ctaid.x; mov.u32 %r9, %ntid.x; mad.lo.u32 %r8, %r8, %r9, %r0;\n"
                    "ld.param.u64 %rd2, [p0]; mad.wide.u32 %rd1, %r8, 4, %rd2;\n" +
                        body,
                    parameters);
}

} // namespace

TEST_CASE("a place that all blocks write") {
  Sanitized sim;
  auto words = sim.upload(std::vector<uint32_t>(1024));
  auto run = [&](const std::string& body) { return sim.kinds(grid_text(body), 4, 32, {words->address()}); };
  CHECK(run("setp.eq.u32 %p1, %r0, 0; @%p1 st.global.b32 [%rd2], %r8;") == only(FindingKind::global_race));
  const Finding& f = sim.instrument().findings()[0];
  CHECK(f.ptx_line == f.other_ptx_line);
  CHECK(f.block == std::array<uint32_t, 3>{1, 0, 0});
  CHECK(run("red.global.add.u32 [%rd2], 1;") == nothing);
  CHECK(run("red.global.add.u32 [%rd2], 1; ld.global.b32 %r4, [%rd2];") != nothing);
  CHECK(run("st.global.b32 [%rd1], %r8; ld.global.b32 %r4, [%rd1];") == nothing);
  // The next block's words are read.
  CHECK(run("st.global.b32 [%rd1], %r8; ld.global.b32 %r4, [%rd1+128];") == only(FindingKind::global_race));
  CHECK(run("ld.global.b32 %r4, [%rd1+128];") == nothing);
}

TEST_CASE("threads of a block") {
  Sanitized sim;
  auto words = sim.upload(std::vector<uint32_t>(1024));
  auto run = [&](const std::string& between) {
    return sim.kinds(grid_text("st.global.b32 [%rd1], %r8;\n" + between +
                               "\nxor.b32 %r4, %r8, 32; mad.wide.u32 %rd3, %r4, 4, %rd2; ld.global.b32 %r5, [%rd3];"),
                     2, 64, {words->address()});
  };
  CHECK(run("bar.sync 0;") == nothing);
  CHECK(run("").size() >= 1);
  CHECK(sim.instrument().findings()[0].kind == FindingKind::global_race);
}

TEST_CASE("stores to one place: whether they agree") {
  Sanitized sim;
  auto words = sim.upload(std::vector<uint32_t>(1024));
  auto run = [&](const std::string& value, uint32_t threads) {
    return sim.kinds(grid_text("mov.u32 %r4, " + value + "; st.global.b32 [%rd2], %r4;"), 1, threads,
                     {words->address()});
  };
  CHECK(run("5", 32) == nothing); // lanes of one instruction that agree
  CHECK(run("%r2", 32) == only(FindingKind::global_race));
  CHECK(!is_mild(sim.instrument().findings()[0]));
  CHECK(run("5", 64) == only(FindingKind::global_race)); // warps that do
  CHECK(is_mild(sim.instrument().findings()[0]));
  CHECK(run("%r1", 64) == only(FindingKind::global_race));
  CHECK(!is_mild(sim.instrument().findings()[0]));
}

TEST_CASE("global memory that has never been written") {
  Sanitized sim;
  auto fresh = sim.device->allocate(1024);
  auto run = [&](const std::string& body) { return sim.kinds(grid_text(body), 2, 64, {fresh->address()}); };
  CHECK(run("ld.global.b32 %r4, [%rd1];") == only(FindingKind::uninitialised));
  std::vector<uint32_t> half(64);
  sim.device->upload(*fresh, 0, std::as_bytes(std::span(half)));
  CHECK(run("ld.global.b32 %r4, [%rd1];") == only(FindingKind::uninitialised));
  CHECK(sim.instrument().findings()[0].block == std::array<uint32_t, 3>{1, 0, 0});
  CHECK(run("st.global.b32 [%rd1], %r0; ld.global.b32 %r4, [%rd1];") == nothing);
  auto zeroed = sim.device->allocate(1024);
  sim.device->fill_zero(*zeroed);
  CHECK(sim.kinds(grid_text("ld.global.b32 %r4, [%rd1];"), 2, 64, {zeroed->address()}) == nothing);
}

TEST_CASE("the last block adds up what the others have left: with a fence and an atomic") {
  Sanitized sim;
  auto words = sim.upload(std::vector<uint32_t>(1024));
  auto count = sim.upload(std::vector<uint32_t>(1));
  auto run = [&](const std::string& fence) {
    sim.device->fill_zero(*count);
    return sim.kinds(grid_text("setp.ne.u32 %p1, %r0, 0; @%p1 bra END; ld.param.u64 %rd5, [p1];\n"
                               "st.global.b32 [%rd1], %r8;\n" +
                                   fence +
                                   "\natom.global.add.u32 %r4, [%rd5], 1; setp.ne.u32 %p2, %r4, 3; @%p2 bra END;\n" +
                                   fence + "\nld.global.b32 %r5, [%rd2]; ld.global.b32 %r6, [%rd2+128];\nEND:",
                               {"u64", "u64"}),
                     4, 32, {words->address(), count->address()});
  };
  CHECK(run("membar.gl;") == nothing);
  CHECK(run("") != nothing);
}

TEST_CASE("only what a kernel may write is looked at, whatever way its pointers go") {
  Sanitized sim;
  auto words = sim.upload(std::vector<uint32_t>(1024));
  auto pointers = sim.upload(std::vector<uint64_t>{words->address()});
  // The address is loaded from memory.
  CHECK(sim.kinds(grid_text("ld.global.u64 %rd4, [%rd2]; setp.eq.u32 %p1, %r0, 0; @%p1 st.global.b32 [%rd4], %r8;"), 3,
                  32, {pointers->address()}) == only(FindingKind::global_race));
}

TEST_CASE("the heap: memory that was freed has no past") {
  Sanitized sim;
  const std::string heap = ".extern .func (.param .b64 result) malloc (.param .b64 bytes);\n"
                           ".extern .func free (.param .b64 address);\n",
                    get = "{ .param .b64 bytes; .param .b64 got; mov.u64 %rd10, 64; st.param.b64 [bytes], %rd10;\n"
                          "call.uni (got), malloc, (bytes); ld.param.b64 %rd11, [got]; }\n",
                    put = "{ .param .b64 old; st.param.b64 [old], %rd11; call.uni free, (old); }\n",
                    use = "st.b32 [%rd11], %r0; ld.b32 %r5, [%rd11];\n", look = "ld.b32 %r5, [%rd11];\n";
  auto run = [&](const std::string& body) {
    return sim.kinds(kernel_text({}, thread_index + body, "sm_90a", heap), 4, 64);
  };
  CHECK(run(get + use + put + get + use + put) == nothing); // all threads of all blocks
  CHECK(run(get + look + put) == only(FindingKind::uninitialised));
  CHECK(run(get + use + put + get + look + put) == only(FindingKind::uninitialised));
}
