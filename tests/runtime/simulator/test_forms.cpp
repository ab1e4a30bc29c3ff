// The table of forms: it compiles, every spelling it lists finds its own form, statistics and register use follow it.
#include "runtime/simulator/forms.h"
#include "tests/runtime/simulator/ptx_text.h"

#include <catch2/catch.hpp>
#include <map>
#include <set>

using namespace tilejit::runtime::simulator;
using namespace tilejit::runtime::simulator::test;

namespace {

Form form_of(const std::string& instruction) {
  Module m = parse(entry(instruction));
  return m.functions.at(m.find_function("k")).body.at(0).form;
}

} // namespace

TEST_CASE("every row of the table is found by its own spellings") {
  // Operands as the row's pattern asks for them would repeat the checker; an unknown form leaves operands unchecked, a
  // known one complains about none at all, unless it takes none. Either way the form is known.
  size_t checked = 0;
  for (const FormInfo& row : all_forms()) {
    auto texts = spellings(row, 64);
    INFO(row.id << " " << row.opcode);
    REQUIRE_FALSE(texts.empty());
    for (const std::string& text : texts) {
      INFO(text);
      std::string ptx = entry(text + ";");
      bool needs_operands = false;
      for (std::string_view rest = row.operands; !rest.empty();) {
        std::string_view word = rest.substr(0, rest.find(' '));
        needs_operands = needs_operands || !word.ends_with("?") || word.ends_with("*?");
        rest.remove_prefix(std::min(rest.size(), word.size() + 1));
      }
      try {
        Module m = parse(ptx);
        CHECK_FALSE(needs_operands);
        CHECK(m.functions.at(m.find_function("k")).body.at(0).form != Form::unknown);
      } catch (const std::runtime_error& e) {
        // bra and brx ask for their label before the table is asked.
        CHECK(needs_operands);
        bool expected = std::string(e.what()).find("too few") != std::string::npos || row.form == Form::bra ||
                        row.form == Form::brx;
        CHECK(expected);
      }
      ++checked;
    }
  }
  CHECK(checked > 2000);
}

TEST_CASE("an operand that may be left out leaves the number to the one that may not") {
  CHECK(form_of("tensormap.replace.tile.rank.shared::cta.b1024.b32 [%rd1], 1;") == Form::tensormap_replace);
  CHECK(form_of("tensormap.replace.tile.box_dim.shared::cta.b1024.b32 [%rd1], 0, 64;") == Form::tensormap_replace);
  CHECK(form_of("tensormap.replace.tile.global_stride.shared::cta.b1024.b64 [%rd1], 1, %rd2;") ==
        Form::tensormap_replace);
}

TEST_CASE("modifiers in any order, families by type") {
  CHECK(form_of("fma.rn.ftz.f32 %f1, %f2, %f3, %f4;") == Form::fma_float);
  CHECK(form_of("fma.ftz.rn.f32 %f1, %f2, %f3, %f4;") == Form::fma_float);
  CHECK(form_of("add.s32 %r1, %r2, 3;") == Form::add_int);
  CHECK(form_of("add.f32 %f1, %f2, %f3;") == Form::add_float);
  CHECK(form_of("add.bf16x2 %r1, %r2, %r3;") == Form::add_half);
  CHECK(form_of("cvt.rn.bf16x2.f32 %r1, %f1, %f2;") == Form::cvt_pack);
  CHECK(form_of("cvt.rn.satfinite.e4m3x2.f32 %h1, %f1, %f2;") == Form::cvt_fp8_pack);
  CHECK(form_of("cvt.u64.u32 %rd1, %r1;") == Form::cvt);
  CHECK(form_of("cvt.s16.s8 %h1, %h2;") == Form::cvt);
  CHECK(form_of("ld.global.L1::no_allocate.L2::128B.v4.u32 {%r1,%r2,%r3,%r4}, [%rd1];") == Form::ld);
  CHECK(form_of("ld.global.nc.v2.f64 {%fd1,%fd2}, [%rd1];") == Form::ld_nc);
  CHECK(form_of("cp.async.cg.shared.global.L2::128B [%r1], [%rd1], 16;") == Form::cp_async);
  CHECK(form_of("cp.async.ca.shared.global [%r1], [%rd1], 4, %r2;") == Form::cp_async);
  CHECK(form_of("cp.async.ca.shared.global [%r1], [%rd1], 4, %p2;") == Form::cp_async_ignore);
  CHECK(form_of("cp.async.wait_all;") == Form::cp_async_wait_all);
  CHECK(form_of("bar.sync 0;") == Form::bar_sync);
  CHECK(form_of("barrier.sync.aligned %r1, 64;") == Form::bar_sync);
  CHECK(form_of("lop3.b32 %r1, %r2, %r3, %r4, 0xE8;") == Form::lop3);
  CHECK(form_of("lop3.or.b32 %r1|%p1, %r2, %r3, %r4, 0xE8, %p2;") == Form::lop3_bool);
  CHECK(form_of("atom.global.add.f32 _, [%rd1], %f1;") == Form::atom);
  CHECK(form_of("atom.acq_rel.gpu.global.cas.b32 %r1, [%rd1], %r2, %r3;") == Form::atom_cas);
  CHECK(form_of("red.relaxed.gpu.global.add.noftz.bf16x2 [%rd1], %r1;") == Form::red);
  CHECK(form_of("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%f1,%f2,%f3,%f4}, {%r1,%r2,%r3,%r4}, {%r5,%r6}, "
                "{%f1,%f2,%f3,%f4};") == Form::mma_tf32);
  CHECK(form_of("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%r1,%r2,%r3,%r4}, [%r5+32];") == Form::ldmatrix);
  std::string d;
  for (int i = 1; i <= 64; ++i) d += (i == 1 ? "%f" : ", %f") + std::to_string(i);
  CHECK(form_of("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" + d + "}, %rd1, %rd2, %p1, 1, 1, 0, 1;") ==
        Form::wgmma_half);
  CHECK(form_of("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" + d +
                "}, {%r1,%r2,%r3,%r4}, %rd2, %p1, 1, 1, 1;") == Form::wgmma_half_reg);
  CHECK(form_of("wgmma.mma_async.sync.aligned.m64n129k16.f32.bf16.bf16 {%f1}, %rd1, %rd2, %p1, 1, 1, 0, 1;") ==
        Form::unknown);
  CHECK(form_of("add.rn.s32 %r1, %r2, %r3;") == Form::unknown);
  CHECK(form_of("add.ftz.ftz.f32 %f1, %f2, %f3;") == Form::unknown);
  CHECK(form_of("add %r1, %r2, %r3;") == Form::unknown);
}

TEST_CASE("register use: destinations, vectors, pairs, addresses, guards") {
  Module m = parse(
      entry("@%p1 ld.global.v2.b32 {%r1, %r2}, [%rd1+8];\nsetp.lt.s32 %p2|%p3, %r1, %r2;\nst.shared.b32 [%r3], %r4;\n"
            "mov.b64 %rd2, {%r5, %r6};\nmma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%f1,%f2,%f3,%f4}, {%r1,%r2}, "
            "{%r3}, "
            "{%f1,%f2,%f3,%f4};"));
  const Function& f = m.functions.at(m.find_function("k"));
  auto names = [&](const std::vector<uint32_t>& registers) {
    std::string text;
    for (uint32_t r : registers) text += std::string(f.registers[r].name) + " ";
    return text;
  };
  RegisterUse use;
  register_use(f, f.body[0], use);
  CHECK(names(use.reads) == "%p1 %rd1 ");
  CHECK(names(use.writes) == "%r1 %r2 ");
  register_use(f, f.body[1], use);
  CHECK(names(use.reads) == "%r1 %r2 ");
  CHECK(names(use.writes) == "%p2 %p3 ");
  register_use(f, f.body[2], use);
  CHECK(names(use.reads) == "%r3 %r4 ");
  CHECK(use.writes.empty());
  register_use(f, f.body[3], use);
  CHECK(names(use.reads) == "%r5 %r6 ");
  CHECK(names(use.writes) == "%rd2 ");
  register_use(f, f.body[4], use);
  CHECK(names(use.reads) == "%r1 %r2 %r3 %f1 %f2 %f3 %f4 ");
  CHECK(names(use.writes) == "%f1 %f2 %f3 %f4 ");
}

TEST_CASE("instructions by class") {
  Module m = parse(entry(
      "ld.param.u64 %rd1, [p];\nld.global.f32 %f1, [%rd1];\nld.global.f32 %f2, [%rd1+4];\nadd.f32 %f1, %f1, %f2;\n"
      "add.f64 %fd1, %fd1, %fd2;\nadd.bf16 %h1, %h2, %h3;\nst.shared.f32 [%r1], %f1;\nex2.approx.f32 %f1, %f1;\n"
      "atom.shared.add.u32 %r1, [%r2], %r3;\nbar.sync 0;\nret;"));
  auto counts = count_classes(m, m.find_function("k"));
  std::map<std::string, uint64_t> by_name(counts.begin(), counts.end());
  CHECK(by_name == std::map<std::string, uint64_t>{{"ld.param", 1},
                                                   {"ld.global", 2},
                                                   {"float", 1},
                                                   {"double", 1},
                                                   {"half", 1},
                                                   {"st.shared", 1},
                                                   {"special function", 1},
                                                   {"atom.shared", 1},
                                                   {"barrier", 1},
                                                   {"branch", 1}});
}

TEST_CASE("shared memory of an entry: only what it reaches, dynamic memory last") {
  Module m = parse(header +
                   ".shared .align 4 .b8 a[10]; .shared .align 16 .b8 b[32]; .shared .b8 unused[1000];\n"
                   ".extern .shared .align 128 .b8 dyn[];\n.extern .shared .b8 dyn2[];\n"
                   ".func f() { .reg .b32 %r<3>; mov.u32 %r1, b; ret; }\n"
                   ".entry k() { .reg .b32 %r<3>; mov.u32 %r1, a; mov.u32 %r1, dyn; mov.u32 %r2, dyn2; call f; ret; }\n"
                   ".entry empty() { ret; }\n");
  SharedLayout layout = layout_shared(m, m.find_function("k"));
  auto offset = [&](std::string_view name) {
    for (size_t i = 0; i < m.variables.size(); ++i)
      if (m.variables[i].name == name) return layout.offset[i];
    return ~uint64_t{0};
  };
  CHECK(offset("a") == 0);
  CHECK(offset("b") == 16);
  CHECK(layout.static_bytes == 128);
  CHECK(offset("dyn") == 128);
  CHECK(offset("dyn2") == 128);
  CHECK(layout_shared(m, m.find_function("empty")).static_bytes == 0);
}
