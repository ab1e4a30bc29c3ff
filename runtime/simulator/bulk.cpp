// bulk.cpp - tokens: bulk copies, reductions and remote stores, issued and completed. PTX ISA "cp.async.bulk",
// "cp.reduce.async.bulk", "st.async", "red.async".
#include "runtime/simulator/cluster.h"
#include "runtime/simulator/observe.h"

#include <bit>
#include <cstring>
#include <xmmintrin.h>

namespace tilejit::runtime::simulator {

void on_issue(Token token) {
  token.has_group = token.barrier == none;
  if (!token.block->counters.empty()) count_transfer(token);
  token.id = ++token.block->cluster->issued;
  if (token.block->sanitizer) token.block->sanitizer->issued(token);
  token.block->cluster->tokens.push_back(std::move(token));
}

namespace {

/// Handlers and tokens run in whatever mode the last instruction wanted.
struct PlainMode {
  unsigned before = _mm_getcsr();
  PlainMode() { _mm_setcsr(mxcsr_ieee); }
  ~PlainMode() { _mm_setcsr(before); }
};

uint8_t* shared_of(BlockState& block, uint32_t at) { return block.shared.get() + at; }
template <class F>
void each_block(Token& t, F f) {
  for (uint32_t m = t.blocks; m; m &= m - 1) f(*t.block->cluster->blocks[static_cast<size_t>(std::countr_zero(m))]);
}
void write(Token& t, uint8_t* to) {
  if (t.byte_mask != 0xffff) {
    for (uint32_t i = 0; i < t.bytes; ++i)
      if (t.byte_mask >> i % 16 & 1) to[i] = t.data[i];
  } else if (t.reduction == Reduction::none)
    std::memcpy(to, t.data.data(), t.bytes);
  else
    reduce(to, t.data.data(), t.bytes, t.type, t.reduction);
}

} // namespace

void capture(Token& t) {
  if (t.captured) return;
  t.captured = true;
  switch (t.kind) {
  case Token::Kind::to_shared:
  case Token::Kind::to_global: {
    const uint8_t* from = t.kind == Token::Kind::to_global ? shared_of(*t.block, t.shared)
                          : t.from_shared                  ? shared_of(*t.block, t.source)
                                                           : t.block->launch->memory->host(t.global);
    t.data.assign(from, from + t.bytes);
    break;
  }
  case Token::Kind::tensor_load:
  case Token::Kind::tensor_store: load_box(t); break;
  default: break;
  }
}

bool reads_shared(const Token& t) { return t.kind == Token::Kind::to_global || t.kind == Token::Kind::tensor_store; }

/// It completes now; `phase` of the mbarrier in `block`.
void remember(const Token& t, const BlockState* block, uint32_t phase) {
  std::vector<Unawaited>& all = t.block->cluster->unawaited;
  const Program& p = *t.block->launch->program;
  Unawaited u{.warp = t.warp, .ip = t.ip, .lane = t.lane, .group = t.group, .block = block, .barrier = t.barrier};
  u.kind = reads_shared(t) ? Unawaited::Kind::read : Unawaited::Kind::write;
  u.phase = phase;
  if (t.kind != Token::Kind::copies_arrive) return all.push_back(u);
  if (!t.block->sanitizer) return; // it is the one who reports cp.async
  u.kind = Unawaited::Kind::copy;
  for (const AsyncCopy& copy : t.warp->async->copies) {
    if (copy.number > t.copies || !(copy.mask & t.lanes)) continue;
    u.ip = &p.code[p.observed[copy.observed].insn];
    u.lane = static_cast<uint32_t>(std::countr_zero(copy.mask & t.lanes));
    all.push_back(u);
  }
}

void on_complete(Token& t) {
  PlainMode mode;
  if (t.barrier == none) {
    if (!t.captured) remember(t, nullptr, 0);
  } else
    each_block(t, [&](BlockState& b) {
      if (const Mbarrier* m = find_mbarrier(b, t.barrier)) remember(t, &b, m->phase);
    });
  capture(t);
  switch (t.kind) {
  case Token::Kind::to_shared:
  case Token::Kind::store: each_block(t, [&](BlockState& b) { write(t, shared_of(b, t.shared)); }); break;
  case Token::Kind::to_global: write(t, t.block->launch->memory->host(t.global)); break;
  case Token::Kind::tensor_load:
  case Token::Kind::tensor_store: store_box(t); break;
  case Token::Kind::copies_arrive: complete_copies(t.warp, t.lanes, t.copies); break;
  }
  if (t.barrier == none) return;
  if (t.block->sanitizer) t.block->sanitizer->completed(t);
  each_block(t, [&](BlockState& b) {
    Mbarrier& barrier = require_mbarrier(t.warp, t.ip, b, t.barrier);
    if (t.kind == Token::Kind::copies_arrive)
      arrive_on(t.warp, t.ip, b, barrier, static_cast<uint32_t>(std::popcount(t.lanes)));
    else
      complete_transactions(b, barrier, t.bytes);
  });
}

void awaited(BlockState& block, uint32_t barrier, uint32_t phases) {
  std::erase_if(block.cluster->unawaited,
                [&](const Unawaited& u) { return u.block == &block && u.barrier == barrier && u.phase < phases; });
}

namespace {
void report(const Warp& w, const Insn* ip, uint32_t lane, Unawaited::Kind kind) {
  BlockState& b = *w.block;
  FindingLog::Key key{FindingKind::async_hazard, static_cast<uint32_t>(ip - b.launch->program->code.data()), none};
  if (!b.found.is_new(key)) return;
  static constexpr const char* texts[] = {"ends while this copy may still read its shared memory: wait for it with "
                                          "cp.async.bulk.wait_group.read",
                                          "ends while this copy may still write shared memory: wait for its mbarrier",
                                          "ends while this copy may still write shared memory: wait for it, or for "
                                          "the mbarrier that it arrives on"};
  b.found.add(key, b.order,
              finding_at(w, ip, lane, key.kind, std::string(": the block ") + texts[static_cast<size_t>(kind)]));
}
} // namespace

void report_leftovers(const ClusterState& cluster) {
  for (const Token& t : cluster.tokens)
    if (t.kind != Token::Kind::copies_arrive && !(reads_shared(t) && t.captured))
      report(*t.warp, t.ip, t.lane, reads_shared(t) ? Unawaited::Kind::read : Unawaited::Kind::write);
  for (const Unawaited& u : cluster.unawaited) report(*u.warp, u.ip, u.lane, u.kind);
}

// --- instructions ----------------------------------------------------------------------------------------------------

namespace {

Token new_token(Warp* w, const Insn* ip, uint32_t lane, Token::Kind kind) {
  Token t;
  t.kind = kind;
  t.block = w->block, t.warp = w, t.ip = ip;
  t.lane = lane, t.lanes = 1u << lane;
  return t;
}

} // namespace

uint32_t target_blocks(Warp* w, const Insn* ip, uint32_t lane, uint32_t mask_word, const SharedPlace& to) {
  if (mask_word == no_operand) return 1u << to.block->rank;
  uint64_t mask = operand_value(w, mask_word, lane) & 0xffff;
  if (mask >> w->block->cluster->blocks.size() != 0)
    fail(w, ip, "the multicast mask names a block that the cluster does not have");
  return static_cast<uint32_t>(mask);
}

/// imm: BulkFlags | Reduction << 8; b: type; words: destination, source, size, mbarrier, mask of blocks, or of
/// bytes where it stores.
const Insn* bulk(Warp* w, const Insn* ip) {
  const uint32_t* words = words_of(ip);
  each_lane(guarded_lanes(w, ip), [&](uint32_t lane) {
    bool stores = ip->imm & bulk_to_global;
    Token t = new_token(w, ip, lane, stores ? Token::Kind::to_global : Token::Kind::to_shared);
    t.bytes = static_cast<uint32_t>(operand_value(w, words[4], lane));
    t.reduction = static_cast<Reduction>(ip->imm >> 8);
    t.type = static_cast<Type>(ip->b);
    t.from_shared = ip->imm & bulk_from_shared;
    if (t.bytes % 16 != 0)
      fail(w, ip, lane, FindingKind::misaligned,
           "it copies " + std::to_string(t.bytes) + " bytes, but the size of a bulk copy is a multiple of 16");
    uint64_t to = address_value(w, words, lane), from = address_value(w, words + 2, lane);
    auto global = [&](uint64_t address, bool writes) {
      if (address % 16 != 0) fault(w, ip, Fault::misaligned, Space::global, lane, address, 16, writes);
      if (t.bytes && !find_allocation(w, address, t.bytes))
        fault(w, ip, Fault::out_of_bounds, Space::global, lane, address, t.bytes, writes);
      t.global = address;
    };
    if (stores) {
      t.shared = shared_place(w, ip, lane, from, t.bytes, 16, false).offset;
      global(to, true);
      if (words[7] != no_operand) t.byte_mask = operand_value(w, words[7], lane) & 0xffff;
    } else {
      SharedPlace at = shared_place(w, ip, lane, to, t.bytes, 16, true);
      t.shared = at.offset;
      t.blocks = target_blocks(w, ip, lane, words[7], at);
      t.barrier = shared_place(w, ip, lane, address_value(w, words + 5, lane), 8, 8, true).offset;
      if (t.from_shared)
        t.source = shared_place(w, ip, lane, from, t.bytes, 16, false).offset;
      else
        global(from, false);
    }
    on_issue(std::move(t));
  });
  return after(ip);
}

const Insn* bulk_commit(Warp* w, const Insn* ip) {
  uint32_t mask = guarded_lanes(w, ip);
  each_lane(mask, [&](uint32_t lane) { ++w->async->bulk_groups[lane]; });
  for (Token& t : w->block->cluster->tokens)
    if (t.warp == w && t.has_group && t.group == 0 && mask >> t.lane & 1) t.group = w->async->bulk_groups[t.lane];
  for (Unawaited& u : w->block->cluster->unawaited)
    if (u.warp == w && u.block == nullptr && u.group == 0 && mask >> u.lane & 1)
      u.group = w->async->bulk_groups[u.lane];
  if (w->block->sanitizer) w->block->sanitizer->bulk_committed(*w, mask);
  return after(ip);
}
const Insn* bulk_wait(Warp* w, const Insn* ip) {
  uint32_t mask = guarded_lanes(w, ip);
  auto covered = [&](const auto& t) {
    return t.warp == w && t.group != 0 && mask >> t.lane & 1 && t.group + ip->imm <= w->async->bulk_groups[t.lane];
  };
  if (ip->b) {
    for (Token& t : w->block->cluster->tokens)
      if (covered(t)) capture(t);
  } else
    w->block->cluster->complete_where(covered);
  std::erase_if(w->block->cluster->unawaited, [&](const Unawaited& u) { return u.block == nullptr && covered(u); });
  if (w->block->sanitizer) w->block->sanitizer->bulk_left(*w, mask, ip->imm, ip->b);
  return after(ip);
}

/// imm: elements | bytes of each << 8 | Reduction << 16; b: type; words: address, mbarrier, elements.
const Insn* store_async(Warp* w, const Insn* ip) {
  const uint32_t *words = words_of(ip), count = ip->imm & 255, bytes = ip->imm >> 8 & 255;
  each_lane(guarded_lanes(w, ip), [&](uint32_t lane) {
    Token t = new_token(w, ip, lane, Token::Kind::store);
    t.bytes = count * bytes;
    t.reduction = static_cast<Reduction>(ip->imm >> 16);
    t.type = static_cast<Type>(ip->b);
    SharedPlace to = shared_place(w, ip, lane, address_value(w, words, lane), t.bytes, t.bytes, true);
    SharedPlace barrier = shared_place(w, ip, lane, address_value(w, words + 2, lane), 8, 8, true);
    if (to.block != barrier.block) fail(w, ip, "the address and the mbarrier are in different blocks of the cluster");
    t.shared = to.offset, t.barrier = barrier.offset;
    t.blocks = 1u << to.block->rank;
    t.captured = true;
    for (uint32_t e = 0; e < count; ++e) {
      uint64_t value = operand_value(w, words[4 + e], lane);
      const auto* from = reinterpret_cast<const uint8_t*>(&value);
      t.data.insert(t.data.end(), from, from + bytes);
    }
    on_issue(std::move(t));
  });
  return after(ip);
}

} // namespace tilejit::runtime::simulator
