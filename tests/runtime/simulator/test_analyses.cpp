// Control-flow graph, dominators, liveness, rows and uniformity: small cases by hand, and properties on random graphs
// and on the PTX of nvcc against brute force.
#include "runtime/simulator/forms.h"
#include "runtime/simulator/liveness.h"
#include "tests/runtime/simulator/ptx_text.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <random>
#include <set>

using namespace tilejit::runtime::simulator;
using namespace tilejit::runtime::simulator::test;

namespace {

struct Analysed {
  Module module;
  Cfg cfg;
  explicit Analysed(const std::string& body) : module(parse(entry(body))) { cfg = build_cfg(module, function()); }
  const Function& function() const { return module.functions.at(module.find_function("k")); }
  uint32_t block_of_line(uint32_t line) const { // body begins on line 7
    for (uint32_t i = 0; i < function().body.size(); ++i)
      if (function().body[i].line == line) return cfg.block_of[i];
    return none;
  }
  uint32_t reg(std::string_view name) const {
    for (uint32_t r = 0; r < function().registers.size(); ++r)
      if (function().registers[r].name == name) return r;
    return none;
  }
  Uniformity uniformity(std::array<uint32_t, 3> shape = {128, 1, 1}) const {
    return analyse_uniformity(function(), cfg, shape);
  }
};

/// Every block that is on all paths from `from` to the exit, by removing each block in turn.
std::set<uint32_t> post_dominators(const Cfg& cfg, uint32_t from) {
  std::set<uint32_t> result;
  for (uint32_t removed = 0; removed < cfg.blocks.size(); ++removed) {
    if (removed == from) continue;
    std::vector<bool> seen(cfg.blocks.size() + 1);
    std::vector<uint32_t> work{from};
    seen[from] = true;
    while (!work.empty()) {
      uint32_t b = work.back();
      work.pop_back();
      if (b == cfg.exit()) break;
      for (uint32_t s : cfg.blocks[b].successors)
        if (s != removed && !seen[s]) seen[s] = true, work.push_back(s);
    }
    if (!seen[cfg.exit()]) result.insert(removed);
  }
  return result;
}

std::vector<bool> reached_from(const Cfg& cfg, uint32_t from) {
  std::vector<bool> seen(cfg.blocks.size() + 1);
  std::vector<uint32_t> work{from};
  seen[from] = true;
  while (!work.empty()) {
    uint32_t b = work.back();
    work.pop_back();
    if (b == cfg.exit()) continue;
    for (uint32_t s : cfg.blocks[b].successors)
      if (!seen[s]) seen[s] = true, work.push_back(s);
  }
  return seen;
}

/// Nothing that follows `from` can loop for ever: else post-dominance is a matter of definition.
bool always_ends(const Cfg& cfg, uint32_t from) {
  std::vector<bool> seen = reached_from(cfg, from);
  for (uint32_t b = 0; b < cfg.blocks.size(); ++b)
    if (seen[b] && !reached_from(cfg, b)[cfg.exit()]) return false;
  return true;
}

void check_graph(const Cfg& cfg) {
  for (const Loop& loop : cfg.loops) {
    REQUIRE(loop.head < loop.end);
    if (loop.parent == none) continue;
    const Loop& parent = cfg.loops[loop.parent];
    REQUIRE((parent.head < loop.head && loop.end <= parent.end && loop.depth == parent.depth + 1));
  }
  for (uint32_t b = 0; b < cfg.blocks.size(); ++b) {
    const Block& block = cfg.blocks[b];
    for (uint32_t s : block.successors) {
      // An edge back goes to the head of a loop around both.
      if (s != cfg.exit() && s <= b) {
        bool to_head = false;
        for (uint32_t l = block.loop; l != none; l = cfg.loops[l].parent) to_head = to_head || cfg.loops[l].head == s;
        REQUIRE(to_head);
      }
    }
    if (b > 0) {
      // Something before it leads to it, so the least numbers run first.
      bool forward = false;
      for (uint32_t p : block.predecessors) forward = forward || p < b;
      REQUIRE(forward);
      REQUIRE(block.dominator < b);
    }
    if (always_ends(cfg, b)) {
      auto all = post_dominators(cfg, b);
      if (block.post_dominator == cfg.exit()) {
        REQUIRE(all.empty());
      } else {
        REQUIRE(all.count(block.post_dominator) == 1);
        auto rest = all;
        rest.erase(block.post_dominator);
        // Immediate: all others post-dominate it in turn.
        auto next = post_dominators(cfg, block.post_dominator);
        REQUIRE(std::includes(next.begin(), next.end(), rest.begin(), rest.end()));
      }
    }
  }
}

/// Live registers before each instruction, by searching forward from it.
bool live_before(const Function& f, const Cfg& cfg, uint32_t instruction, uint32_t reg) {
  std::set<uint32_t> seen;
  std::vector<uint32_t> work{instruction};
  RegisterUse use;
  while (!work.empty()) {
    uint32_t i = work.back();
    work.pop_back();
    if (!seen.insert(i).second) continue;
    register_use(f, f.body[i], use);
    if (std::find(use.reads.begin(), use.reads.end(), reg) != use.reads.end()) return true;
    if (f.body[i].guard == none && std::find(use.writes.begin(), use.writes.end(), reg) != use.writes.end()) continue;
    const Block& block = cfg.blocks[cfg.block_of[i]];
    if (i + 1 < block.end)
      work.push_back(i + 1);
    else
      for (uint32_t s : block.successors)
        if (s != cfg.exit()) work.push_back(cfg.blocks[s].begin);
  }
  return false;
}

void check_rows(const Module& m, const Function& f, const Cfg& cfg, bool brute_force) {
  Liveness live = analyse_liveness(f, cfg);
  Uniformity uniform = analyse_uniformity(f, cfg, {128, 1, 1});
  RowAllocation rows = allocate_rows(f, cfg, live, uniform);
  RegisterUse use;
  auto width = [&](uint32_t r) { return rows.place[r].file == Place::File::row128 ? 2u : 1u; };
  auto file = [&](uint32_t r) {
    return rows.place[r].file == Place::File::row128 ? Place::File::row64 : rows.place[r].file;
  };
  auto apart = [&](const std::vector<uint32_t>& registers) {
    std::set<std::pair<Place::File, uint32_t>> taken;
    for (uint32_t r : registers)
      for (uint32_t k = 0; k < width(r); ++k)
        if (!taken.insert({file(r), rows.place[r].index + k}).second) return false;
    return true;
  };
  for (uint32_t b = 0; b < cfg.blocks.size(); ++b) {
    const Block& block = cfg.blocks[b];
    if (brute_force)
      for (uint32_t r = 0; r < f.registers.size(); ++r) {
        bool listed = std::binary_search(live.live_in[b].begin(), live.live_in[b].end(), r);
        REQUIRE(listed == live_before(f, cfg, block.begin, r));
      }
    // Walk back through the block: whatever is live or touched at one instruction lies apart.
    std::set<uint32_t> now(live.live_out[b].begin(), live.live_out[b].end());
    for (uint32_t i = block.end; i-- > block.begin;) {
      register_use(f, f.body[i], use);
      std::set<uint32_t> all = now;
      all.insert(use.reads.begin(), use.reads.end());
      all.insert(use.writes.begin(), use.writes.end());
      for (uint32_t r : all) REQUIRE(rows.place[r].file != Place::File::unused);
      REQUIRE(apart({all.begin(), all.end()}));
      if (f.body[i].guard == none)
        for (uint32_t r : use.writes) now.erase(r);
      now.insert(use.reads.begin(), use.reads.end());
    }
    REQUIRE(std::vector<uint32_t>(now.begin(), now.end()) == live.live_in[b]);
  }
  for (uint32_t r = 0; r < f.registers.size(); ++r) {
    uint32_t size = file(r) == Place::File::row32       ? rows.rows32
                    : file(r) == Place::File::row64     ? rows.rows64
                    : file(r) == Place::File::predicate ? rows.predicates
                                                        : rows.uniforms;
    if (file(r) != Place::File::unused) REQUIRE(rows.place[r].index + width(r) <= size);
  }
}

} // namespace

TEST_CASE("blocks, edges and a diamond") {
  Analysed a("add.s32 %r1, %r1, 1;\n@%p1 bra ELSE;\nadd.s32 %r2, %r2, 1;\nbra.uni JOIN;\nELSE:\nadd.s32 %r3, %r3, "
             "1;\nJOIN:\nadd.s32 %r4, "
             "%r4, 1;\nret;\nadd.s32 %r5, %r5, 1;");
  REQUIRE(a.cfg.blocks.size() == 4); // the last instruction cannot be reached
  CHECK(a.block_of_line(16) == none);
  CHECK(a.cfg.blocks[0].successors.size() == 2);
  CHECK(a.cfg.blocks[0].post_dominator == a.block_of_line(14));
  CHECK(a.cfg.blocks[a.block_of_line(14)].dominator == 0);
  CHECK(a.cfg.blocks[3].post_dominator == a.cfg.exit());
  CHECK(a.cfg.loops.empty());
  check_graph(a.cfg);
}

TEST_CASE("loops are contiguous though they are left from the middle") {
  // The exit stands in the text before the rest of the loop.
  Analysed a("HEAD:\n@%p1 bra REST;\n@%p2 bra HEAD;\nbra BREAK;\nBREAK:\nadd.s32 %r1, %r1, 1;\nret;\nREST:\n@%p3 bra "
             "BREAK;\nINNER:\n@%p4 bra INNER;\nbra HEAD;");
  check_graph(a.cfg);
  REQUIRE(a.cfg.loops.size() == 2);
  uint32_t after = a.block_of_line(12);
  CHECK(a.cfg.blocks[after].loop == none);
  CHECK(a.cfg.loops[0].head == 0);
  CHECK(after >= a.cfg.loops[0].end);
  CHECK(a.cfg.loops[1].parent == 0);
  CHECK(a.cfg.loops[1].depth == 2);
}

TEST_CASE("guarded exits, endless loops, tables, empty bodies") {
  Analysed guarded("@%p1 ret;\nadd.s32 %r1, %r1, 1;");
  CHECK(guarded.cfg.blocks[0].successors == std::vector<uint32_t>{guarded.cfg.exit(), 1});
  Analysed endless("@%p1 bra OUT;\nL:\nbra L;\nOUT:\nret;");
  check_graph(endless.cfg);
  Analysed table("T: .branchtargets A, B, A;\nbrx.idx %r1, T;\nA:\nret;\nB:\ntrap;");
  CHECK(table.cfg.blocks[0].successors.size() == 2);
  Analysed empty("");
  CHECK(empty.cfg.blocks.empty());
  CHECK(empty.cfg.exit() == 0);
  Analysed end("@%p1 bra END;\nadd.s32 %r1, %r1, 1;\nEND:");
  CHECK(end.cfg.block_of_label[0] == end.cfg.exit());
}

TEST_CASE("random graphs: order, loops and dominators against brute force") {
  std::mt19937 random(1);
  for (int round = 0; round < 400; ++round) {
    uint32_t blocks = 2 + random() % 14;
    std::string body;
    for (uint32_t b = 0; b < blocks; ++b) {
      body += "L" + std::to_string(b) + ":\nadd.s32 %r" + std::to_string(random() % 8) + ", %r" +
              std::to_string(random() % 8) + ", %r" + std::to_string(random() % 8) + ";\n";
      if (random() % 3 == 0) body += "@%p1 mov.b32 %r" + std::to_string(random() % 8) + ", 5;\n";
      auto target = [&] { return "L" + std::to_string(random() % blocks); };
      switch (random() % 6) {
      case 0: body += "bra " + target() + ";\n"; break;
      case 1: body += "ret;\n"; break;
      case 2: body += "@%p2 ret;\n"; break;
      case 3:
      case 4: body += "@%p1 bra " + target() + ";\n"; break;
      default: break;
      }
    }
    INFO(body);
    Analysed a(body);
    check_graph(a.cfg);
    check_rows(a.module, a.function(), a.cfg, true);
  }
}

TEST_CASE("random programs: lanes that run together agree on uniform registers") {
  // Four lanes, each with registers of its own; the lanes at the least block run it together. Instructions are add,
  // setp and mov of tid, ctaid and constants.
  std::mt19937 random(3);
  size_t uniform_writes = 0, diverged = 0;
  for (int round = 0; round < 600; ++round) {
    uint32_t blocks = 3 + random() % 8;
    std::string body;
    auto r = [&] { return "%r" + std::to_string(1 + random() % 6); };
    auto p = [&] { return "%p" + std::to_string(1 + random() % 3); };
    for (int i = 1; i <= 6; ++i)
      body += "mov.u32 %r" + std::to_string(i) + ", " + (i == 1 ? "%tid.x" : std::to_string(i)) + ";\n";
    for (int i = 1; i <= 3; ++i) body += "setp.lt.u32 %p" + std::to_string(i) + ", %r" + std::to_string(i) + ", 2;\n";
    for (uint32_t b = 0; b < blocks; ++b) {
      body += "L" + std::to_string(b) + ":\n";
      for (int i = 0; i < 3; ++i) {
        std::string guard = random() % 5 == 0 ? "@" + p() + " " : "";
        switch (random() % 4) {
        case 0: body += guard + "setp.lt.u32 " + p() + ", " + r() + ", " + std::to_string(random() % 9) + ";\n"; break;
        case 1: body += guard + "mov.u32 " + r() + ", " + std::to_string(random() % 9) + ";\n"; break;
        default: body += guard + "add.u32 " + r() + ", " + r() + ", " + r() + ";\n";
        }
      }
      if (random() % 4 == 0) body += "@" + p() + " ret;\n";
      if (random() % 3)
        body += (random() % 6 ? "@" + p() + " " : "") + "bra L" + std::to_string(random() % blocks) + ";\n";
    }
    INFO(body);
    Analysed a(body);
    const Function& f = a.function();
    Uniformity u = a.uniformity({32, 1, 1});
    Liveness live = analyse_liveness(f, a.cfg);
    constexpr size_t lanes = 4;
    std::vector<std::vector<uint32_t>> values(lanes, std::vector<uint32_t>(f.registers.size()));
    std::vector<uint32_t> at(lanes, 0);
    for (int step = 0; step < 200; ++step) {
      uint32_t b = *std::min_element(at.begin(), at.end());
      if (b == a.cfg.exit()) break;
      std::vector<size_t> group;
      for (size_t lane = 0; lane < lanes; ++lane)
        if (at[lane] == b) group.push_back(lane);
      diverged += group.size() < lanes;
      auto agree = [&](uint32_t reg) {
        for (size_t lane : group)
          if (values[lane][reg] != values[group[0]][reg]) return false;
        return true;
      };
      for (uint32_t reg : live.live_in[b])
        if (u.reg[reg]) REQUIRE(agree(reg));
      const Block& block = a.cfg.blocks[b];
      for (size_t lane : group) at[lane] = none;
      for (uint32_t i = block.begin; i < block.end; ++i) {
        const Instruction& instruction = f.body[i];
        auto operands = f.operands(instruction);
        for (size_t lane : group) {
          if (at[lane] != none) continue; // left by a guarded exit or branch
          auto& v = values[lane];
          if (instruction.guard != none && !v[instruction.guard]) continue;
          auto value = [&](size_t n) {
            const Operand& o = operands[n];
            return o.is(Operand::Kind::reg)       ? v[o.index]
                   : o.is(Operand::Kind::special) ? static_cast<uint32_t>(lane)
                                                  : static_cast<uint32_t>(o.value);
          };
          switch (instruction.form) {
          case Form::mov: v[operands[0].index] = value(1); break;
          case Form::add_int: v[operands[0].index] = value(1) + value(2); break;
          case Form::setp: v[operands[0].index] = value(1) < value(2); break;
          case Form::ret: at[lane] = a.cfg.exit(); break;
          case Form::bra: at[lane] = a.cfg.block_of_label[operands[0].index]; break;
          default: FAIL("an instruction that this test does not make");
          }
        }
        if (instruction.form == Form::bra || instruction.form == Form::ret) continue;
        uint32_t destination = operands[0].index;
        if (!u.reg[destination]) continue;
        ++uniform_writes;
        REQUIRE(agree(destination));
      }
      // Fall through: the successor in the text.
      for (size_t lane : group)
        if (at[lane] == none) at[lane] = block.end == f.body.size() ? a.cfg.exit() : a.cfg.block_of[block.end];
    }
  }
  CHECK(uniform_writes > 2000);
  CHECK(diverged > 2000);
}

TEST_CASE("what nvcc made: graphs and rows") {
  for (const auto& file : std::filesystem::directory_iterator(TILEJIT_CUDA)) {
    if (file.path().extension() != ".ptx") continue;
    Module m = parse(read_file(file.path().string()));
    for (const Function& f : m.functions) {
      if (f.is_prototype) continue;
      INFO(file.path().filename().string() << ": " << f.name);
      Cfg cfg = build_cfg(m, f);
      check_graph(cfg);
      check_rows(m, f, cfg, false);
    }
  }
}

TEST_CASE("rows are reused, and as few as the registers that live at once") {
  std::string body;
  for (int i = 1; i < 60; ++i)
    body += "mov.b32 %r" + std::to_string(i) + ", %tid.x;\nst.shared.b32 [0], %r" + std::to_string(i) + ";\n";
  body += ".reg .b128 %q<3>; mov.b128 %q1, {%rd1, %rd2}; mov.b128 {%rd3, %rd4}, %q1;";
  Analysed a(body);
  Liveness live = analyse_liveness(a.function(), a.cfg);
  RowAllocation rows = allocate_rows(a.function(), a.cfg, live, a.uniformity());
  CHECK(rows.rows32 == 1);
  CHECK(rows.rows64 == 4); // %q1 lies beside its parts; its copies take the parts' rows
  CHECK(rows.place[a.reg("%q1")].file == Place::File::row128);
  CHECK(live.maybe_undefined == std::vector<uint32_t>{a.reg("%rd1"), a.reg("%rd2")});
}

TEST_CASE("uniform and varying registers") {
  Analysed a("ld.param.u32 %r1, [n];\n"
             "mov.u32 %r2, %ctaid.x;\n"
             "mov.u32 %r3, %tid.x;\n"
             "shr.u32 %r4, %r3, 5;\n"
             "mad.lo.s32 %r5, %r2, %r1, %r4;\n"
             "add.s32 %r6, %r3, %r5;\n"
             "and.b32 %r7, %r3, 127;\n"
             "shr.u32 %r8, %r7, 5;\n"
             "and.b32 %r9, %r3, 96;\n"
             "mov.u32 %r10, %tid.y;\n"
             "setp.lt.s32 %p1, %r5, 7;\n"
             "setp.lt.s32 %p2, %r6, 7;\n"
             "vote.sync.ballot.b32 %r11, %p2, -1;\n"
             "shfl.sync.idx.b32 %r12, %r6, 0, 31, -1;\n"
             "shfl.sync.bfly.b32 %r13, %r6, 1, 31, -1;\n"
             "@%p2 mov.u32 %r14, 1;\n"
             "@%p1 mov.u32 %r15, 1;\n"
             "ld.shared.u32 %r16, [0];\n"
             "and.b32 %r17, %r3, 15;\nshr.u32 %r18, %r17, 5;\n"
             "add.s32 %r19, %r20, 1;\n");
  auto uniform = [&](std::array<uint32_t, 3> shape, int r) -> bool {
    return a.uniformity(shape).reg[a.reg("%r" + std::to_string(r))];
  };
  for (int r : {1, 2, 4, 5, 8, 9, 10, 11, 12, 15}) {
    INFO(r);
    CHECK(uniform({128, 1, 1}, r));
  }
  for (int r : {3, 6, 7, 13, 14, 16, 19}) {
    INFO(r);
    CHECK_FALSE(uniform({128, 1, 1}, r));
  }
  // Rows of 16 threads: a warp spans two of them.
  CHECK_FALSE(uniform({16, 8, 1}, 4));
  CHECK_FALSE(uniform({16, 8, 1}, 10));
  CHECK(uniform({64, 2, 1}, 10));
  auto u = a.uniformity();
  CHECK(u.reg[a.reg("%p1")]);
  CHECK_FALSE(u.reg[a.reg("%p2")]);
}

TEST_CASE("what a varying branch controls is varying") {
  Analysed a("mov.u32 %r3, %tid.x;\nsetp.lt.s32 %p1, %r3, 7;\n"
             "mov.u32 %r1, 0;\nmov.u32 %r2, 0;\nmov.u32 %r4, 0;\n"
             "@%p1 bra JOIN;\n"
             "mov.u32 %r1, 1;\n"
             "JOIN:\nadd.s32 %r4, %r4, 1;\n" // after the join
             "LOOP:\nadd.s32 %r2, %r2, 1;\n" // a counter in a loop of one trip count
             "setp.lt.s32 %p2, %r2, 10;\n@%p2 bra LOOP;\n"
             "mov.u32 %r5, 0;\nVARYING:\nadd.s32 %r5, %r5, 1;\nsetp.lt.s32 %p3, %r5, %r3;\n@%p3 bra VARYING;\n"
             "st.shared.b32 [0], %r5;\n"
             // Lanes that leave this loop end: those that stay agree on the counter.
             "mov.u32 %r6, 0;\nLAST:\nadd.s32 %r6, %r6, 1;\nst.shared.b32 [0], %r6;\nsetp.lt.s32 %p3, %r6, %r3;\n@%p3 "
             "bra LAST;\n");
  auto u = a.uniformity();
  CHECK_FALSE(u.reg[a.reg("%r1")]);
  CHECK(u.reg[a.reg("%r2")]);
  CHECK(u.reg[a.reg("%r4")]);
  CHECK_FALSE(u.reg[a.reg("%r5")]);
  CHECK(u.reg[a.reg("%r6")]);
  CHECK(u.varying_branch[0]);
  CHECK_FALSE(u.varying_block[0]);
  // The caller may want rows.
  auto rows =
      analyse_uniformity(a.function(), a.cfg, {128, 1, 1}, [](const Instruction& i) { return i.form != Form::mov; });
  CHECK_FALSE(rows.reg[a.reg("%r4")]);
}

TEST_CASE("where some lanes may wait and others go on, what follows is varying") {
  for (std::string wait : {"@%p1 barrier.sync 1, 32;", "barrier.sync %r3, 32;", "@%p1 barrier.cluster.wait;",
                           "@%p1 mbarrier.try_wait.parity.shared.b64 %p2, [%r2], 0;",
                           "mbarrier.try_wait.parity.shared.b64 %p2, [%r3], 0;"}) {
    INFO(wait);
    Analysed a("mov.u32 %r3, %tid.x;\nsetp.lt.s32 %p1, %r3, 7;\nmov.u32 %r2, 0;\n" + wait +
               "\nadd.u32 %r1, %r2, 1;\nst.shared.b32 [0], %r1;\n");
    CHECK_FALSE(a.uniformity().reg[a.reg("%r1")]);
  }
  for (std::string wait : {"bar.sync 1, 32;", "barrier.sync 1, 32;", "barrier.cluster.wait;",
                           "mbarrier.try_wait.parity.shared.b64 %p2, [%r2], 0;"}) {
    INFO(wait);
    Analysed a("mov.u32 %r2, 0;\n" + wait + "\nadd.u32 %r1, %r2, 1;\nst.shared.b32 [0], %r1;\n");
    CHECK(a.uniformity().reg[a.reg("%r1")]);
  }
}

TEST_CASE("leaving early controls nothing") {
  Analysed a("mov.u32 %r3, %tid.x;\nsetp.ge.s32 %p1, %r3, 7;\n@%p1 bra OUT;\nmov.u32 %r1, 1;\nst.shared.b32 [0], "
             "%r1;\nOUT:\nret;");
  CHECK(a.uniformity().reg[a.reg("%r1")]);
  Analysed b("mov.u32 %r3, %tid.x;\nsetp.ge.s32 %p1, %r3, 7;\nmov.u32 %r1, 0;\n@%p1 bra OUT;\nmov.u32 %r1, "
             "1;\nOUT:\nst.shared.b32 [0], %r1;\nret;");
  CHECK_FALSE(b.uniformity().reg[b.reg("%r1")]);
}

TEST_CASE("results of calls are varying, and so is everything in a function") {
  Module m = parse(
      header +
      ".func (.param .b32 out) g(.param .b32 in) { .reg .b32 %r<3>; mov.u32 %r1, 5; st.param.b32 [out], %r1; ret; }\n"
      ".entry k() { .reg .b32 %r<9>; { .param .b32 a; .param .b32 r; st.param.b32 [a], 1; call (r), g, (a);\n"
      "ld.param.b32 %r1, [r]; } ret; }\n");
  for (const char* name : {"g", "k"}) {
    const Function& f = m.functions[m.find_function(name)];
    auto u = analyse_uniformity(f, build_cfg(m, f), {32, 1, 1});
    CHECK(std::find(u.reg.begin(), u.reg.end(), true) == u.reg.end());
  }
}
