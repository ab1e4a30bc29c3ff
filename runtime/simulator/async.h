// async.h - what takes effect later than it is issued: bulk copies, remote stores, arrivals of copies; and mbarriers,
// by which most of it is waited for.
//
// Such an operation is a token in the queue of its cluster. Memory changes only when the token completes, and it
// completes as late as the memory model allows: when a thread waits for it and nobody else can go on. So a kernel that
// forgets to wait sees the bytes that were there before. With a seed, tokens complete at random times instead.
//
// The operands of these instructions are encoded alike: slots of words follow the main slot, an operand is a word (its
// place in the file and what lies there), an address two (its base and an offset). Main slot: d = slots that follow,
// c = guard, aux = its xor mask, a = the result's place (0: none), b and imm as the handler says.
#pragma once
#include "runtime/simulator/control.h"
#include "runtime/simulator/tensormap.h"

#include <bit>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace tilejit::runtime::simulator {

struct ClusterState;

// --- operands --------------------------------------------------------------------------------------------------------

enum class PlaceKind : uint32_t { scalar, row32, row64 };
inline constexpr uint32_t no_operand = ~0u;
inline uint32_t operand_word(uint32_t offset, PlaceKind kind) { return offset << 2 | static_cast<uint32_t>(kind); }
inline uint64_t operand_value(const Warp* w, uint32_t word, uint32_t lane) {
  const uint8_t* at = w->file + (word >> 2);
  return static_cast<PlaceKind>(word & 3) == PlaceKind::row32
             ? reinterpret_cast<const uint32_t*>(at)[lane]
             : reinterpret_cast<const uint64_t*>(at)[static_cast<PlaceKind>(word & 3) == PlaceKind::row64 ? lane : 0];
}
/// Of the two words of an address.
inline uint64_t address_value(const Warp* w, const uint32_t* words, uint32_t lane) {
  uint64_t base = operand_value(w, words[0], lane);
  if (static_cast<PlaceKind>(words[0] & 3) == PlaceKind::row32) return static_cast<uint32_t>(base + words[1]);
  return base + static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(words[1])));
}
template <class F>
void each_lane(uint32_t mask, F f) {
  for (; mask; mask &= mask - 1) f(static_cast<uint32_t>(std::countr_zero(mask)));
}
inline const uint32_t* words_of(const Insn* ip) { return reinterpret_cast<const uint32_t*>(ip + 1); }
inline const Insn* after(const Insn* ip) { return ip + 1 + ip->d; }

// --- shared memory of a cluster --------------------------------------------------------------------------------------

/// In the shared window of a cluster, block `rank` begins at (rank + 1) << rank_shift; below that lies one's own.
inline constexpr uint32_t rank_shift = 24;
struct SharedPlace {
  BlockState* block = nullptr;
  uint32_t offset = 0;
};
/// Of an address in any of the shared spaces, generic or not; reports what is out of bounds.
SharedPlace shared_place(Warp* w, const Insn* ip, uint32_t lane, uint64_t address, uint64_t bytes, uint64_t align,
                         bool write);

// --- mbarriers -------------------------------------------------------------------------------------------------------

/// PTX ISA "Parallel Synchronization and Communication Instructions: mbarrier". `phase` counts the completed ones.
struct Mbarrier {
  uint32_t address = 0; ///< in its block's shared memory
  uint32_t phase = 0;
  uint32_t expected = 0, pending = 0;
  int64_t transactions = 0;
};
inline constexpr uint32_t max_arrivals = (1u << 20) - 1;

enum class MbarrierOp : uint32_t { init, inval, expect, complete, arrive, drop };
/// With a MbarrierOp in `imm`.
inline constexpr uint32_t mbarrier_expects = 16, mbarrier_incomplete = 32, mbarrier_relaxed = 64;

Mbarrier* find_mbarrier(BlockState& block, uint32_t address);
/// The same; where there is none, the instruction is at fault.
Mbarrier& require_mbarrier(Warp* w, const Insn* ip, BlockState& block, uint32_t address);
/// Events of an mbarrier. Each may complete the phase.
void arrive_on(Warp* w, const Insn* ip, BlockState& block, Mbarrier& barrier, uint32_t count);
void complete_transactions(BlockState& block, Mbarrier& barrier, uint64_t bytes);
/// "phase 3 with 1 of 2 arrivals pending and 4096 bytes outstanding".
std::string describe(const Mbarrier& barrier);

// --- tokens ----------------------------------------------------------------------------------------------------------

enum class Reduction : uint8_t { none, add, min, max, inc, dec, and_, or_, xor_ };

struct Token {
  enum class Kind : uint8_t {
    to_shared,   ///< bulk, from global or shared memory to that of one or more blocks
    to_global,   ///< bulk, from shared memory
    tensor_load, ///< of a box
    tensor_store,
    store,         ///< st.async, red.async: `data` into the shared memory of a block
    copies_arrive, ///< cp.async.mbarrier.arrive: `lanes` arrive when their copies so far are done
  };
  Kind kind{};
  uint64_t id = 0;          ///< in the cluster
  bool from_shared = false; ///< to_shared: the source is shared memory
  bool captured = false;    ///< the source has been read, into `data`
  Reduction reduction = Reduction::none;
  Type type{}; ///< of a reduction's elements
  BlockState* block = nullptr;
  Warp* warp = nullptr;
  const Insn* ip = nullptr;
  uint32_t lane = 0, lanes = 0;
  uint32_t group = 0; ///< bulk groups: 0: not committed; else the number that its thread's commit gave it
  bool has_group = false;
  uint32_t blocks = 0;     ///< ranks of the blocks that are written to
  uint32_t shared = 0;     ///< address in a block's shared memory: of the one that issued, or of `blocks`
  uint32_t source = 0;     ///< to_shared from shared memory
  uint32_t barrier = none; ///< address of the mbarrier in each of `blocks`
  uint32_t copies = 0;     ///< copies_arrive: those of the warp up to this number
  uint64_t global = 0;
  uint32_t bytes = 0;
  uint32_t byte_mask = 0xffff; ///< bit i: byte i of every 16 is written
  TensorMap map;
  uint64_t map_at = 0; ///< its generic address
  int32_t coordinates[5]{};
  std::vector<uint8_t> data;
};

/// What has taken effect before anybody waited for it. That is up to chance, so it counts as left over all the same
/// when the block ends.
struct Unawaited {
  enum class Kind : uint8_t {
    read,  ///< of shared memory, by a bulk or tensor copy
    write, ///< of shared memory, told to an mbarrier
    copy,  ///< cp.async, likewise
  };
  Kind kind{};
  Warp* warp = nullptr; ///< that issued it
  const Insn* ip = nullptr;
  uint32_t lane = 0;
  uint32_t group = 0;                 ///< as of a token
  const BlockState* block = nullptr;  ///< whose mbarrier it is
  uint32_t barrier = none, phase = 0; ///< the phase that it was for
};
/// A thread comes from a wait for an mbarrier.
void awaited(BlockState& block, uint32_t barrier, uint32_t phases);

/// A token is made: it has been checked, and will complete some time.
void on_issue(Token token);
/// It takes effect now. The token has left the queue.
void on_complete(Token& token);
/// The blocks of a cluster have ended: reports what nobody has waited for.
void report_leftovers(const ClusterState& cluster);
/// The token's source is read now, so that it may be overwritten.
void capture(Token& token);
/// Element-wise: to = to op from. Atomic for others that do the same.
void reduce(uint8_t* to, const uint8_t* from, uint32_t bytes, Type type, Reduction op);

/// Reads a box of a tensor map into packed bytes or the other way, see tensor_copy.cpp.
void load_box(Token& token);
void store_box(Token& token);
/// What of a box lies in its tensor, in the order of the box: `offset` in the packed box.
struct BoxPiece {
  uint64_t global = 0;
  uint32_t offset = 0, bytes = 0;
};
std::vector<BoxPiece> pieces_of(const Token& token);

// --- handlers --------------------------------------------------------------------------------------------------------

struct AsyncHandlers {
  Fn mbarrier;                     ///< imm: MbarrierOp and flags; words: address, count or bytes
  Fn mbarrier_wait;                ///< imm: 1 parity, 2 may park; words: address, state or parity
  Fn pending_count;                ///< words: state
  Fn map_address;                  ///< mapa; imm: 1 the result has 64 bits; b: 1 it is generic; words: source, rank
  Fn block_rank;                   ///< getctarank; words: source
  Fn cluster_arrive, cluster_wait; ///< imm: 1 aligned, 2 relaxed
  Fn copies_arrive;                ///< cp.async.mbarrier.arrive; imm: 1 noinc; words: address
  /// imm: BulkFlags | Reduction << 8; b: type; words: destination, source, size, mbarrier, mask of blocks
  /// or, where it stores, of bytes
  Fn bulk;
  Fn bulk_commit;
  Fn bulk_wait; ///< imm: groups that may stay; b: 1 it is enough that the sources have been read
  /// imm: BulkFlags | Reduction << 8; words: shared address, map, mbarrier, mask of blocks, coordinates
  Fn tensor;
  Fn store_async; ///< imm: elements | bytes of each << 8 | Reduction << 16; b: type; words: address, mbarrier, elements
  Fn map_replace; ///< imm: TensorMapField; words: address, ordinal, value
  Fn map_copy;    ///< tensormap.cp_fenceproxy; words: destination, source
};
/// atom.cas.b128, atom.exch.b128; imm: 1: the address is one of shared memory; words: address, and the places of the
/// value, of the one that is compared (0: none) and of the result (0: none).
const Insn* wide_atomic(Warp* w, const Insn* ip);
enum BulkFlags : uint32_t { bulk_to_global = 1, bulk_from_shared = 2, bulk_multicast = 4 };
const AsyncHandlers& async_handlers();

// Those that are not in mbarrier.cpp.
const Insn* bulk(Warp* w, const Insn* ip);
const Insn* bulk_commit(Warp* w, const Insn* ip);
const Insn* bulk_wait(Warp* w, const Insn* ip);
const Insn* store_async(Warp* w, const Insn* ip);
const Insn* tensor(Warp* w, const Insn* ip);
const Insn* map_replace(Warp* w, const Insn* ip);
const Insn* map_copy(Warp* w, const Insn* ip);
/// The blocks that a copy to shared memory writes to, as a mask: those that the word names, else that of `to`.
uint32_t target_blocks(Warp* w, const Insn* ip, uint32_t lane, uint32_t mask_word, const SharedPlace& to);
/// Host address of `bytes` bytes at a global, generic or parameter address.
uint8_t* locate(Warp* w, const Insn* ip, uint32_t lane, uint64_t address, uint64_t bytes, uint64_t align, bool write);

} // namespace tilejit::runtime::simulator
