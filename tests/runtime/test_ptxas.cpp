#include "runtime/device.h"
#include "runtime/files.h"
#include "runtime/ptxas.h"

#include <catch2/catch.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>

using namespace tilejit::runtime;
using Catch::Matchers::Contains;

namespace {

const char* good_ptx = R"(
.version 8.0
.target sm_80
.address_size 64
.visible .entry add_one(.param .u64 p)
{
  .reg .b64 %a;
  .reg .b32 %x;
  .shared .align 4 .b32 scratch[256];
  ld.param.u64 %a, [p];
  ld.global.u32 %x, [%a];
  st.shared.u32 [scratch], %x;
  bar.sync 0;
  ld.shared.u32 %x, [scratch+4];
  add.s32 %x, %x, 1;
  st.global.u32 [%a], %x;
  ret;
}
.visible .entry nothing()
{
  ret;
}
)";

struct Environment {
  std::string name, old;
  bool was_set;
  Environment(const std::string& variable, const std::string& value) : name(variable) {
    const char* before = std::getenv(name.c_str());
    was_set = before != nullptr;
    if (before) old = before;
    setenv(name.c_str(), value.c_str(), 1);
  }
  ~Environment() {
    if (was_set)
      setenv(name.c_str(), old.c_str(), 1);
    else
      unsetenv(name.c_str());
  }
};

std::string script(const TemporaryFolder& folder, const std::string& name, const std::string& body) {
  std::string path = folder.path() + "/" + name;
  std::ofstream(path) << "#!/bin/sh\n" << body;
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  return path;
}

} // namespace

TEST_CASE("the report of ptxas is read, entry by entry") {
  TemporaryFolder folder;
  std::string fake = script(folder, "ptxas", R"sh(
while [ $# -gt 1 ]; do [ "$1" = -o ] && echo cubin > "$2"; shift; done
cat <<'END'
ptxas info    : 11 bytes gmem
ptxas info    : Compiling entry function 'first' for 'sm_90a'
ptxas info    : Function properties for first
    16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 168 registers, used 2 barriers, 16 bytes cumulative stack size, 1024 bytes smem
ptxas info    : Function properties for helper
    99 bytes stack frame, 99 bytes spill stores, 99 bytes spill loads
ptxas info    : Compiling entry function 'second' for 'sm_90a'
ptxas info    : Function properties for second
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized
ptxas info    : Used 4 registers, used 0 barriers
END
)sh");
  PtxasResult result = run_ptxas(fake, good_ptx, "sm_90a");
  REQUIRE(result.accepted);
  REQUIRE(result.entries.size() == 2);
  CHECK(result.entries[0].name == "first");
  CHECK(result.entries[0].registers == 168);
  CHECK(result.entries[0].stack_bytes == 16);
  CHECK(result.entries[0].spill_store_bytes == 8);
  CHECK(result.entries[0].spill_load_bytes == 12);
  CHECK(result.entries[0].shared_bytes == 1024);
  CHECK(result.entries[1].registers == 4);
  CHECK(result.entries[1].shared_bytes == 0);
  CHECK(result.cubin.size() == 6);
  CHECK_THAT(result.warnings(), Contains("C7510") && !Contains("gmem"));
}

TEST_CASE("the real ptxas accepts good PTX and says why it refuses bad (skipped where there is none)") {
  std::optional<std::string> ptxas = find_ptxas();
  if (!ptxas) {
    WARN("skipped: no ptxas on this machine");
    return;
  }
  PtxasResult good = run_ptxas(*ptxas, good_ptx, "sm_80");
  INFO(good.messages);
  REQUIRE(good.accepted);
  REQUIRE(good.entries.size() == 2);
  for (const EntryResources& entry : good.entries) {
    CHECK(entry.registers > 0);
    CHECK(entry.spill_store_bytes == 0);
    CHECK(entry.shared_bytes == (entry.name == "add_one" ? 1024u : 0u));
  }
  CHECK(good.cubin.size() > 500);

  std::string text = good_ptx;
  text.replace(text.find("add.s32"), 7, "bad.s32");
  PtxasResult bad = run_ptxas(*ptxas, text, "sm_80");
  CHECK_FALSE(bad.accepted);
  CHECK(bad.cubin.empty());
  CHECK_THAT(bad.messages, Contains("kernel.ptx") && Contains("bad") && !Contains("/tilejit."));
  CHECK_FALSE(run_ptxas(*ptxas, good_ptx, "sm_123456").accepted);

  std::string code;
  try {
    code = disassemble(good.cubin);
  } catch (const Error& error) {
    CHECK_THAT(error.what(), Contains("no nvdisasm and no cuobjdump"));
    WARN("skipped: no disassembler on this machine");
    return;
  }
  CHECK_THAT(code, Contains("EXIT"));
}

TEST_CASE("a named ptxas must be a program") {
  Environment variable("TILEJIT_PTXAS", "/no/such/ptxas");
  CHECK_THROWS_WITH(find_ptxas(), Contains("$TILEJIT_PTXAS is /no/such/ptxas, which is not a program"));
}

TEST_CASE("a disassembler is asked for the machine code") {
  TemporaryFolder folder;
  std::vector<std::byte> cubin(10);
  {
    Environment variable("TILEJIT_NVDISASM", script(folder, "nvdisasm", "echo disassembled; wc -c < $2"));
    CHECK_THAT(disassemble(cubin), Contains("disassembled\n10"));
  }
  Environment variable("TILEJIT_NVDISASM", script(folder, "broken", "echo cannot >&2; exit 3"));
  CHECK_THROWS_WITH(disassemble(cubin), Contains("failed: cannot"));
}

TEST_CASE("processes: output, exit codes, signals, and what can't be started") {
  ProcessResult result = run_process({"/bin/sh", "-c", "echo out; echo err >&2; cat; exit 7"});
  CHECK(result.exit_code == 7);
  CHECK(result.output == "out\nerr\n");
  CHECK(run_process({"/bin/sh", "-c", "kill -9 $$"}).exit_code == 128 + 9);
  CHECK(run_process({"/bin/sh", "-c", "head -c 300000 /dev/zero"}).output.size() == 300000);
  CHECK_THROWS_WITH(run_process({"/no/such/program"}), Contains("cannot run /no/such/program"));
}
