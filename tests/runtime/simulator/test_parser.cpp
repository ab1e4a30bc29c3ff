// The parser: what it makes of good text, and the one clear line that it makes of bad text.
#include "runtime/device.h"
#include "runtime/simulator/forms.h"
#include "tests/runtime/simulator/ptx_text.h"

#include <bit>
#include <catch2/catch.hpp>

using tilejit::runtime::Error;
using namespace tilejit::runtime::simulator;
using namespace tilejit::runtime::simulator::test;
using Kind = Operand::Kind;

namespace {

std::string error_of(const std::string& ptx) {
  try {
    parse(ptx);
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

const Function& only_function(const Module& m) { return m.functions.at(m.find_function("k")); }
const Variable& variable(const Module& m, std::string_view name) {
  for (const Variable& v : m.variables)
    if (v.name == name) return v;
  FAIL("no variable " << name);
  throw 0;
}
/// The first operand of the first instruction, a source if `n` says so.
Operand operand(const Module& m, size_t n, size_t instruction = 0) {
  const Function& f = only_function(m);
  return f.operands(f.body.at(instruction))[n];
}

} // namespace

TEST_CASE("header, entry, parameters and directives") {
  Module m = parse("// made by hand\n.version 7.0\n.target sm_80, debug\n.address_size 64\n"
                   ".visible .entry k(\n .param .u64 .ptr .global .align 16 a,\n .param .align 64 .b8 map[128],\n "
                   ".param .b16 h, .param .f32 s)\n"
                   ".maxntid 128, 2\n.reqntid 64\n.minnctapersm 3 .maxnreg 200 .reqnctapercluster 2, 1, 1\n{ ret; }\n");
  CHECK(m.version == 70);
  CHECK(m.target == "sm_80");
  const Function& f = only_function(m);
  CHECK(f.is_entry);
  CHECK(f.linkage == Linkage::visible);
  CHECK(f.max_threads == std::array<uint32_t, 3>{128, 2, 1});
  CHECK(f.required_threads == std::array<uint32_t, 3>{64, 1, 1});
  CHECK(f.cluster == std::array<uint32_t, 3>{2, 1, 1});
  CHECK(f.min_blocks_per_sm == 3);
  CHECK(f.max_registers == 200);
  REQUIRE(f.parameters.size() == 4);
  CHECK(variable(m, "a").is_pointer);
  CHECK(variable(m, "a").offset == 0);
  CHECK(variable(m, "map").offset == 64);
  CHECK(variable(m, "map").bytes == 128);
  CHECK(variable(m, "h").offset == 192);
  CHECK(variable(m, "s").offset == 196);
  CHECK(f.param_bytes == 200);
}

TEST_CASE("registers: ranges, scopes, vectors") {
  Module m = parse(entry(".reg .b32 %r1<20>; .reg .v4 .f32 %v; .reg .b16 %w;\n"
                         "mov.b32 %r5, %r17;\n" // number 17 of %r, not 7 of %r1
                         "{ .reg .b64 %r<9>; mov.b64 %r5, %r6; }\n"
                         "mov.b32 %r5, %r17;\n"
                         "st.global.v4.f32 [%rd1], %v;\n"
                         "mov.f32 %f1, %v.y;"));
  const Function& f = only_function(m);
  CHECK(operand(m, 0, 0).index == operand(m, 0, 2).index);
  CHECK(operand(m, 1, 0).index == operand(m, 1, 2).index);
  CHECK(f.registers[operand(m, 0, 0).index].type == Type::b32);
  CHECK(operand(m, 0, 1).index != operand(m, 0, 0).index);
  CHECK(f.registers[operand(m, 0, 1).index].type == Type::b64);
  Operand vector = operand(m, 1, 3);
  REQUIRE(vector.is(Kind::vector));
  REQUIRE(vector.count == 4);
  CHECK(f.elements(vector)[1].index == operand(m, 1, 4).index);
  // A declared range costs nothing until it is used.
  CHECK(parse(entry(".reg .b32 %x<900000>; mov.b32 %x899999, 1;")).functions[0].registers.size() == 1);
}

TEST_CASE("labels belong to their scope, and may come later") {
  Module m = parse(entry("bra L; { bra L; bra OUT; L: add.s32 %r1, %r1, 1; } L: add.s32 %r2, %r2, 1; OUT: ret;"));
  const Function& f = only_function(m);
  auto position = [&](size_t i) { return f.labels[operand(m, 0, i).index].position; };
  CHECK(position(0) == 4);
  CHECK(position(1) == 3);
  CHECK(position(2) == 5);
  // A label at the very end.
  Module end = parse(entry("@%p1 bra END; add.s32 %r1, %r1, 1; END:"));
  CHECK(only_function(end).labels[operand(end, 0).index].position == 2);
}

TEST_CASE("operands") {
  Module m = parse(entry(".shared .align 16 .b8 tile[64];\n"
                         "@!%p3 add.s32 %r1, %r2, -7;\n"                 // 0
                         "mov.f32 %f1, 0f3F800000;\n"                    // 1
                         "mov.f32 %f1, 1.5;\n"                           // 2
                         "mov.f64 %fd1, 0d3FF8000000000000;\n"           // 3
                         "mov.u32 %r1, %ctaid.z;\n"                      // 4
                         "mov.u32 %r1, tile+12;\n"                       // 5
                         "ld.shared.v2.b32 {%r1, _}, [tile+8];\n"        // 6
                         "ld.global.b32 %r1, [%rd1+-16];\n"              // 7
                         "setp.lt.and.s32 %p1|%p2, %r1, 0x10, !%p3;\n"   // 8
                         "mov.b64 {%r1, %r2}, %rd3;\n"                   // 9
                         "mov.f32 %f1, 0fFFC12345;\n"                    // 10
                         "ld.shared.b32 %r1, [64];\n"                    // 11
                         "shfl.sync.bfly.b32 %r3|%p4, %r1, 1, 31, -1;\n" // 12
                         "mul.wide.u16 %r1, %h1, 3;\n"                   // 13
                         "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%rd1, "
                         "{%r2, %r3}], [%r4];\n" // 14
                         ));
  const Function& f = only_function(m);
  CHECK(f.body[0].guard != none);
  CHECK(f.body[0].guard_negated);
  CHECK(operand(m, 2, 0).value == -7);
  CHECK(operand(m, 1, 1).is(Kind::float32));
  CHECK(operand(m, 1, 1).value == 0x3F800000);
  CHECK(operand(m, 1, 2).is(Kind::float32));
  CHECK(operand(m, 1, 2).value == std::bit_cast<int32_t>(1.5f));
  CHECK(operand(m, 1, 3).is(Kind::float64));
  CHECK(operand(m, 1, 4).component == 2);
  CHECK(operand(m, 1, 5).is(Kind::variable));
  CHECK(operand(m, 1, 5).value == 12);
  CHECK(f.elements(operand(m, 0, 6))[1].is(Kind::sink));
  CHECK(operand(m, 1, 6).base == Kind::variable);
  CHECK(operand(m, 1, 7).value == -16);
  REQUIRE(operand(m, 0, 8).is(Kind::pair));
  CHECK(operand(m, 3, 8).negated);
  CHECK(operand(m, 0, 9).is(Kind::vector));
  CHECK(operand(m, 1, 10).value == 0xFFC12345);
  CHECK(operand(m, 1, 11).base == Kind::integer);
  CHECK(f.body[13].form == Form::mul_wide);
  CHECK(operand(m, 0, 13).type == Type::u32);
  CHECK(f.operand(f.body[12], 'e')->value == -1);
  CHECK(f.operand(f.body[12], 'z') == nullptr);
  CHECK(f.elements(*f.operand(f.body[14], 'a')).size() == 1);
  CHECK(f.body[14].space(0) == Space::shared);
  CHECK(f.body[14].space(1) == Space::global);
}

TEST_CASE("constant expressions") {
  auto value = [](const std::string& text) { return operand(parse(entry("mov.b64 %rd1, " + text + ";")), 1).value; };
  CHECK(value("1 + 2 * 3") == 7);
  CHECK(value("(1 + 2) * -3") == -9);
  CHECK(value("0x10 | 0b101 | 010") == 0x1d);
  CHECK(value("-1 >> 1") == -1);
  CHECK(value("(.u64) -1 >> 63") == 1);
  CHECK(value("18446744073709551615") == -1);
  CHECK(value("5 > 3 ? 10 : 20") == 10);
  CHECK(value("!0 + ~0") == 0);
  CHECK(value("7 % 4 << 2 == 12 && 1") == 1);
  CHECK(value("WARP_SZ * 2") == 64);
  CHECK(value("0xFFFFFFFFU") == 0xFFFFFFFF);
  CHECK(value("-9223372036854775807 - 1 ") == std::numeric_limits<int64_t>::min());
  CHECK(value("(-9223372036854775807 - 1) / -1") == std::numeric_limits<int64_t>::min());
  CHECK_THAT(error_of(entry("mov.b64 %rd1, 1/0;")), Catch::Contains("division by zero"));
}

TEST_CASE("variables and their initial values") {
  Module m = parse(header + ".func f(.param .b32 x);\n"
                            ".global .align 4 .u32 a = 5;\n"
                            ".const .f32 w[4] = {1.0, 0f40000000};\n"
                            ".global .b8 rows[3][4] = {{1}, {2, 3}, 4, 5};\n"
                            ".global .u64 q[2] = {generic(rows)+4, a};\n"
                            ".global .b8 bytes[2] = {0xFF(a), 0xFF00(a)};\n"
                            ".global .u64 fp = f;\n"
                            ".extern .shared .align 16 .b8 dynamic[];\n"
                            ".global .s16 open[] = {1, -2, 3};\n"
                            ".global .v4 .f32 vec = {1.0, 2.0, 3.0, 4.0};\n"
                            ".global .align 8 .f64 d = 0.5;\n"
                            ".extern .global .u32 later; .visible .global .u32 later = 9;\n");
  CHECK(variable(m, "a").data == std::vector<uint8_t>{5, 0, 0, 0});
  CHECK(variable(m, "w").bytes == 16);
  CHECK(variable(m, "w").data == std::vector<uint8_t>{0, 0, 0x80, 0x3f, 0, 0, 0, 0x40});
  CHECK(variable(m, "rows").data == std::vector<uint8_t>{1, 0, 0, 0, 2, 3, 0, 0, 4, 5});
  const Variable& q = variable(m, "q");
  REQUIRE(q.relocations.size() == 2);
  CHECK(q.relocations[0].generic);
  CHECK(q.relocations[0].addend == 4);
  CHECK(m.variables[q.relocations[0].variable].name == "rows");
  CHECK_FALSE(q.relocations[1].generic);
  CHECK(q.relocations[1].offset == 8);
  CHECK(variable(m, "bytes").relocations[1].shift == 8);
  CHECK(m.functions[variable(m, "fp").relocations[0].function].name == "f");
  CHECK(variable(m, "dynamic").bytes == 0);
  CHECK(variable(m, "open").bytes == 6);
  CHECK(variable(m, "open").data == std::vector<uint8_t>{1, 0, 0xfe, 0xff, 3, 0});
  CHECK(variable(m, "vec").data.size() == 16);
  CHECK(variable(m, "vec").align == 16);
  CHECK(variable(m, "later").data.size() == 4);
}

TEST_CASE("source places: .file, .loc, inlining, DWARF sections") {
  Module m =
      parse(header + ".visible .entry k()\n{ .reg .b32 %r<9>;\n"
                     ".loc 1 10 3\nadd.s32 %r1, %r1, 1;\n"
                     ".loc 2 5 7, function_name $L__info_string0, inlined_at 1 10 3\nadd.s32 %r1, %r1, 2;\n"
                     ".loc 3 1 1, function_name $L__info_string0+8, inlined_at 2 5 7\nadd.s32 %r1, %r1, 3;\n"
                     ".loc 1 10 3\nadd.s32 %r1, %r1, 4;\n}\n"
                     ".file 1 \"a.cpp\"\n.file 2 \"b.h\", 1234, 99\n.file 3 \"c.h\"\n"
                     ".section .debug_str\n{\n$L__info_string0:\n.b8 95,90,0\n}\n.section .debug_abbrev { .b8 1 }\n");
  const Function& f = only_function(m);
  CHECK(m.describe(f.body[0].location) == "a.cpp:10:3");
  CHECK(m.describe(f.body[1].location) == "b.h:5:7, inlined at a.cpp:10:3");
  CHECK(m.describe(f.body[2].location) == "c.h:1:1, inlined at b.h:5:7, inlined at a.cpp:10:3");
  CHECK(f.body[3].location == f.body[0].location);
  CHECK(m.source_line(f.body[1].line) == "add.s32 %r1, %r1, 2;");
}

TEST_CASE("functions, calls, prototypes and tables") {
  Module m = parse(
      header + ".extern .func (.param .b32 r) vprintf(.param .b64 a, .param .b64 b);\n"
               ".func (.param .b32 out) g(.param .b32 in, .param .align 8 .b8 s[16]);\n"
               ".func (.reg .b32 ro) old(.reg .b32 ri) { add.s32 ro, ri, 1; ret; }\n"
               ".visible .entry k()\n{ .reg .b32 %r<9>; .reg .b64 %rd<9>;\n"
               "{ .param .b32 p0; .param .align 8 .b8 p1[16]; .param .b32 ret0;\n"
               "st.param.b32 [p0], %r1; st.param.b64 [p1+8], %rd1;\n"
               "call.uni (ret0), g, (p0, p1); ld.param.b32 %r2, [ret0]; }\n"
               "call (%r3), old, (%r2);\n"
               "proto: .callprototype (.param .b32 _) _ (.param .b32 _, .param .align 8 .b8 _[16]);\n"
               "mov.u64 %rd2, g;\n"
               "{ .param .b32 p0; .param .align 8 .b8 p1[16]; .param .b32 ret0; call (ret0), %rd2, (p0, p1), proto; }\n"
               "T: .branchtargets A, B;\nbrx.idx %r1, T;\nA: ret;\nB: trap;\n}\n"
               ".func (.param .b32 out) g(.param .b32 in, .param .align 8 .b8 s[16]) { .reg .b32 %r<3>;"
               " ld.param.b32 %r1, [in]; st.param.b32 [out], %r1; ret; }\n");
  uint32_t k = m.find_function("k"), g = m.find_function("g");
  const Function& f = m.functions[k];
  CHECK_FALSE(m.functions[g].is_prototype);
  CHECK(m.functions[g].parameters.size() == 2);
  CHECK(m.functions[m.find_function("vprintf")].is_prototype);
  const Instruction& call = f.body[2];
  REQUIRE(call.form == Form::call);
  CHECK(f.operand(call, 'f')->index == g);
  CHECK(f.elements(*f.operand(call, 'a')).size() == 2);
  CHECK(f.operand(f.body[6], 'm')->is(Kind::prototype));
  const Instruction& brx = f.body[7];
  REQUIRE(brx.form == Form::brx);
  const auto& table = f.tables[f.operands(brx)[1].index];
  REQUIRE(table.size() == 2);
  CHECK(f.labels[table[1]].position == 9);
  // The frame: two scopes' variables, each at its own place, aligned.
  CHECK(f.param_bytes >= 2 * (4 + 16 + 4));
  auto reached = reachable_functions(m, k);
  CHECK(std::find(reached.begin(), reached.end(), g) != reached.end());
  RegisterUse use;
  register_use(f, f.body[4], use);
  CHECK(use.writes.size() == 1);
  CHECK(use.reads.size() == 1);
}

TEST_CASE("instructions that are not known are all named, with the nearest that is") {
  Module m = parse(entry(
      "add.s32 %r1, %r1, 1;\nmma.sp.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f1}, {%r1}, {%r2}, {%f1}, %r3, 0;\n"
      "add.u33 %r1, %r2, %r3;\nfrobnicate.b32 %r1, %r2;"));
  uint32_t k = m.find_function("k");
  try {
    require_known_forms(m, k);
    FAIL("no error");
  } catch (const Error& e) {
    std::string text = e.what();
    CHECK_THAT(text, Catch::Contains(
                         "line 8: 'mma.sp.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32' is not known to the simulator "
                         "(nearest: mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32)"));
    CHECK_THAT(text, Catch::Contains("line 9: 'add.u33'"));
    CHECK_THAT(text, Catch::EndsWith("line 10: 'frobnicate.b32' is not known to the simulator"));
  }
  // Another entry of the same file is not in the way.
  Module two = parse(header + ".entry a() { frob; }\n.entry b() { ret; }\n");
  CHECK_NOTHROW(require_known_forms(two, two.find_function("b")));
  CHECK_THROWS_AS(require_known_forms(two, two.find_function("a")), Error);
}

TEST_CASE("one clear line for each malformed text") {
  struct Case {
    const char* body;
    const char* message;
  };
  const Case cases[] = {
      {"add.s32 %r1, %r2;", "line 7, column 1: operands of 'add.s32': too few of them, 2"},
      {"add.s32 %r1, %r2, %r3, %r4;", "too many of them, 4"},
      {"add.s32 %rd1, %r2, %r3;", "number 1: '%rd1' has 64 bits, 32 bits are needed"},
      {"add.s32 %r1, %r2, %p1;", "'%p1' is a predicate"},
      {"selp.b32 %r1, %r2, %r3, %r4;", "'%r4' is not a predicate"},
      {"add.s32 1, %r2, %r3;", "a number cannot be written"},
      {"add.s32 %r1, %r2, 1.5;", "a floating-point number where .s32 is needed"},
      {"add.s32 %r1, %r2, %q7;", "line 7, column 19: '%q7' is not declared"},
      {"add.s32 %r1, %r2, %r99;", "'%r99' is not declared"},
      {"bra NOWHERE;", "line 7, column 5: label 'NOWHERE' is not defined"},
      {"{ INNER: } bra INNER;", "label 'INNER' is not defined"},
      {"L: L: ret;", "label 'L' is defined twice"},
      {"ld.global.v4.f32 {%f1, %f2}, [%rd1];", "a vector of 4 is needed, not of 2"},
      {"ld.global.f32 %f1, %rd1;", "an address in brackets is needed"},
      {"ld.global.f32 %f1, [%h1];", "'%h1' is not wide enough for an address"},
      {"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f1,%f2,%f3,%f4}, {%r1,%r2}, {%r5,%r6}, "
       "{%f1,%f2,%f3,%f4};",
       "number 2: a vector of 4 is needed, not of 2"},
      {"mov.b64 {%r1, %r2, %r3}, %rd1;", "a vector of 3"},
      {"cp.async.wait_group %r1;", "an integer constant is needed"},
      {"@%r1 ret;", "'%r1' is not a predicate register"},
      {".reg .b32 %r1<5>, %z, %z;", "'%z' is declared twice"},
      {".reg .b32 %tid;", "'%tid' is a special register"},
      {".reg .b32 %x<2000000>;", "more than a million registers"},
      {".shared .b8 s[300000];", "larger than the 228 KB of shared memory"},
      {".global .b8 s[99999][99999];", "larger than 4 GB"},
      {"mov.u32 %r1, %tid;", "expected '.x', '.y' or '.z' after '%tid'"},
      {"mov.f32 %f1, 0f3F80;", "0f takes 8 hexadecimal digits"},
      {"mov.b32 %r1, 99999999999999999999;", "does not fit 64 bits"},
      {"mov.b32 %r1, 12abc;", "is not a number"},
      {"/* no end", "line 7, column 1: this comment has no end"},
      {"add.s32 %r1, %r2, \x80;", "byte 0x80 has no meaning here"},
      {"%r1 + 5;", "expected an instruction, found '%r1'"},
      {".loc 1 2", "expected a number"},
      {".frob;", "expected an instruction or a declaration, found '.frob'"},
  };
  for (const Case& c : cases) {
    INFO(c.body);
    CHECK_THAT(error_of(entry(c.body)), Catch::Contains(c.message) && Catch::StartsWith("line "));
  }
  CHECK_THAT(error_of(""),
             Catch::Equals("line 1, column 1: expected '.version': a PTX file begins with it, the file ends here"));
  CHECK_THAT(error_of("hello"), Catch::Contains("expected '.version'"));
  CHECK_THAT(error_of(".version 8.0\n.target sm_80\n.address_size 32"), Catch::Contains("only '.address_size 64'"));
  CHECK_THAT(error_of(header + ".visible .entry k() { ret;"), Catch::Contains("the body of 'k' is never closed"));
  CHECK_THAT(error_of(header + ".entry k() { ret; } .entry k() { ret; }"), Catch::Contains("'k' is defined twice"));
  CHECK_THAT(error_of(header + ".section .debug { .b8 1, {"), Catch::Contains("never closed"));
  CHECK_THAT(error_of(header + ".global .u32 x[2] = {1, 2, 3};"), Catch::Contains("more initial values than elements"));
  CHECK_THAT(error_of(header + ".global .u32 " + std::string(5000, 'x') + ";"),
             Catch::Contains("more than 4096 characters"));
  CHECK_THAT(error_of(header + ".entry k() { " + std::string(100, '{')), Catch::Contains("nested more than 64 deep"));
  CHECK_THAT(error_of(entry("mov.b32 %r1, " + std::string(100000, '(') + "1;")),
             Catch::Contains("nested more than 64 deep"));
  CHECK_THAT(error_of(entry("mov.b32 %r1, " + std::string(100000, '-') + "1;")),
             Catch::Contains("nested more than 64 deep"));
  std::string many = "foo %r1";
  for (int i = 0; i < 600; ++i) many += ", %r1";
  CHECK_THAT(error_of(entry(many + ";")), Catch::Contains("more than 512 operands"));
}

TEST_CASE("entry names of 300 characters") {
  std::string name = "_Z" + std::string(298, 'k');
  Module m = parse(header + ".visible .entry " + name + "() { ret; }");
  CHECK(m.find_function(name) != none);
}

TEST_CASE("a truncated file is an error or a module, never anything else") {
  for (const char* name : {"/memory.sm_80.ptx", "/calls.sm_80.ptx"}) {
    std::string whole = read_file(std::string(TILEJIT_CUDA) + name);
    REQUIRE_FALSE(whole.empty());
    size_t errors = 0;
    for (size_t size = 0; size < whole.size(); size += 37) errors += error_of(whole.substr(0, size)) != "no error";
    CHECK(errors > whole.size() / 37 / 2);
  }
}
