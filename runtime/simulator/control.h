// control.h - what handlers call that is not vector code: warps that wait, memory that is not there.
#pragma once
#include "runtime/simulator/warp.h"

namespace tilejit::runtime {
enum class FindingKind : uint8_t; // findings.h
}

namespace tilejit::runtime::simulator {

/// Generic addresses: windows of the spaces that are not global.
inline constexpr uint64_t shared_window = 0x7f00'0000'0000, local_window = 0x7f10'0000'0000,
                          param_window = 0x7f20'0000'0000;
inline constexpr uint64_t window_bytes = uint64_t{1} << 32;

/// Why an access cannot be done.
enum class Fault : uint8_t { out_of_bounds, misaligned };

/// Throws FindingError: kernel, line, C++ place, block, thread, address, nearest allocation.
[[noreturn]] void fault(Warp* w, const Insn* ip, Fault what, Space space, uint32_t lane, uint64_t address,
                        uint64_t bytes, bool write);
/// Throws runtime::Error for anything else that an instruction cannot do.
[[noreturn]] void fail(Warp* w, const Insn* ip, const char* what);
/// The same as a finding.
[[noreturn]] void fail(Warp* w, const Insn* ip, uint32_t lane, FindingKind kind, const std::string& what);
/// Of barriers and mbarriers.
[[noreturn]] void misused_barrier(Warp* w, const Insn* ip, const std::string& what);

/// The lanes that execute an instruction with c = guard, aux = its xor mask.
uint32_t guarded_lanes(const Warp* w, const Insn* ip);

/// Looks for the global allocation that holds all of [address, address + bytes) and remembers it in the warp.
bool find_allocation(Warp* w, uint64_t address, uint64_t bytes);

/// Lanes of the running split, or some that are at no place now, go on at `pc` later.
void park(Warp* w, const Insn* pc, uint32_t mask, Wait wait = Wait::nothing, uint32_t id = 0, uint32_t need = 0,
          const Insn* at = nullptr);

/// The host's address of `bytes` bytes that a lane reads or writes at a generic address; a fault where there are none.
uint8_t* host_address(Warp* w, const Insn* ip, uint32_t lane, uint64_t address, uint64_t bytes, bool write);

/// A .sync operation whose lanes are not all here: the running split waits for the others. Returns null.
const Insn* wait_for_lanes(Warp* w, const Insn* ip, uint32_t need);
/// The same of lanes that name their members, alike or each lane its own: those with one mask wait for one another.
/// Lanes that do not execute the operation go on behind it, at `after`.
const Insn* wait_for_members(Warp* w, const Insn* ip, const Insn* after, uint32_t lanes, const uint32_t* members,
                             bool by_lane);

/// Address of the host for one in the shared memory of another block of the cluster (async.h); null where there is
/// none.
uint8_t* remote_shared(Warp* w, const Insn* ip, uint64_t at, uint64_t bytes);

/// The cp.async of these lanes up to the warp's `number` take effect.
void complete_copies(Warp* w, uint32_t mask, uint32_t number);

/// A cp.async that the handler fills in.
AsyncCopy& new_copy(Warp* w);

/// Handlers of control flow, for lowering; not in need of vectors.
struct ControlHandlers {
  Fn head;         ///< begin of a basic block: imm its number; aux 1: lanes may meet here, 2: a loop begins here
  Fn jump;         ///< aux: distance in instructions
  Fn branch;       ///< a: predicate, imm: its xor mask, aux: distance; b: 1 when the taken lanes end instead
  Fn branch_table; ///< a: row of indices, aux: first of Program::targets, imm: how many
  Fn exit;         ///< c: guard, aux: its xor mask
  Fn trap, bar_sync, bar_arrive, bar_red, bar_warp, copy_commit, copy_wait, set_mode, clock;
};
const ControlHandlers& control_handlers();

} // namespace tilejit::runtime::simulator
