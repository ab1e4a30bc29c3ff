// exec_observe.cpp - the loops over lanes and records of what observes a kernel (observe.h, records.h, sanitize.h).
#include "runtime/simulator/exec_access.h"
#include "runtime/simulator/handlers.h"
#include "runtime/simulator/observe.h"

namespace tilejit::runtime::simulator {
namespace {

/// What is to be known of 32 addresses; bits as `addresses` returns them.
#if defined(__AVX512F__)
u32 classify(const u32* a, u32 add, u32 shift, u64 align, u64 end, u64* out) {
  const __m512i numbers = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i low = _mm512_add_epi32(_mm512_load_si512(a), _mm512_set1_epi32(s32(add))),
                high = _mm512_add_epi32(_mm512_load_si512(a + 16), _mm512_set1_epi32(s32(add)));
  const __m512i first = _mm512_set1_epi32(s32(a[0] + add)),
                steps = _mm512_sll_epi32(numbers, _mm_cvtsi32_si128(s32(shift)));
  const __m512i from = _mm512_add_epi32(first, steps);
  const __m512i jump =
      _mm512_or_si512(_mm512_xor_si512(low, from),
                      _mm512_xor_si512(high, _mm512_add_epi32(from, _mm512_set1_epi32(s32(16u << shift)))));
  const __m512i far = _mm512_or_si512(_mm512_xor_si512(low, first), _mm512_xor_si512(high, first));
  const u32 wrong =
      _mm512_cmpgt_epu32_mask(_mm512_max_epu32(low, high), _mm512_set1_epi32(s32(end < ~0u ? u32(end) : ~0u))) |
      _mm512_test_epi32_mask(_mm512_or_si512(low, high), _mm512_set1_epi32(s32(align)));
  _mm512_store_si512(out, _mm512_cvtepu32_epi64(_mm512_castsi512_si256(low)));
  _mm512_store_si512(out + 8, _mm512_cvtepu32_epi64(_mm512_extracti64x4_epi64(low, 1)));
  _mm512_store_si512(out + 16, _mm512_cvtepu32_epi64(_mm512_castsi512_si256(high)));
  _mm512_store_si512(out + 24, _mm512_cvtepu32_epi64(_mm512_extracti64x4_epi64(high, 1)));
  return (_mm512_test_epi32_mask(jump, jump) == 0 ? 1 : 0) | (wrong == 0 ? 2 : 0) |
         (_mm512_test_epi32_mask(far, _mm512_set1_epi32(~127)) == 0 ? 4 : 0);
}
u32 classify(const u64* a, u64 add, u32 shift, u64 align, u64 end, u64* out) {
  const __m512i numbers = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7), first = _mm512_set1_epi64(s64(a[0] + add));
  const __m128i count = _mm_cvtsi32_si128(s32(shift));
  __m512i jump = _mm512_setzero_si512(), far = jump, all = jump, most = jump;
  for (u32 i = 0; i < 32; i += 8) {
    const __m512i x = _mm512_add_epi64(_mm512_load_si512(a + i), _mm512_set1_epi64(s64(add)));
    const __m512i steps = _mm512_sll_epi64(_mm512_add_epi64(numbers, _mm512_set1_epi64(i)), count);
    jump = _mm512_or_si512(jump, _mm512_xor_si512(x, _mm512_add_epi64(first, steps)));
    far = _mm512_or_si512(far, _mm512_xor_si512(x, first));
    all = _mm512_or_si512(all, x);
    most = _mm512_max_epu64(most, x);
    _mm512_store_si512(out + i, x);
  }
  const u32 wrong = _mm512_cmpgt_epu64_mask(most, _mm512_set1_epi64(s64(end))) |
                    _mm512_test_epi64_mask(all, _mm512_set1_epi64(s64(align)));
  return (_mm512_test_epi64_mask(jump, jump) == 0 ? 1 : 0) | (wrong == 0 ? 2 : 0) |
         (_mm512_test_epi64_mask(far, _mm512_set1_epi64(~127ll)) == 0 ? 4 : 0);
}
#else
template <class A>
u32 classify(const A* a, A add, u32 shift, u64 align, u64 end, u64* out) {
  const A first = a[0] + add, last = end < A(~A(0)) ? A(end) : A(~A(0));
  A jump = 0, odd = 0, far = 0, beyond = 0;
  for (int i = 0; i < 32; ++i) {
    const A x = a[i] + add;
    jump |= x ^ (first + (A(i) << shift));
    odd |= x & A(align);
    far |= x ^ first;
    beyond |= x > last;
  }
  LANES out[i] = A(a[i] + add);
  return (jump == 0 ? 1 : 0) | ((odd | beyond) == 0 ? 2 : 0) | (far >> 7 == 0 ? 4 : 0);
}
#endif
u32 addresses(const u8* file, u32 flags, u32 base, u32 offset, u64 bytes, u64 align, u64 end, u64* out) {
  const u32 shift = u32(__builtin_ctzll(bytes)); // of vectors of three there are none
  const u64 add = u64(s64(s32(offset)));
  if (flags & address_row64)
    return classify(reinterpret_cast<const u64*>(__builtin_assume_aligned(file + base, 64)), add, shift, align, end,
                    out);
  if (flags & address_row32)
    return classify(reinterpret_cast<const u32*>(__builtin_assume_aligned(file + base, 64)), offset, shift, align, end,
                    out);
  const u64 a = *reinterpret_cast<const u64*>(file + base) + add;
  LANES out[i] = a;
  return (a & align || a > end ? 0 : 2) | 4;
}

// --- records ---------------------------------------------------------------------------------------------------------

constexpr Record whose = agent_mask | 31;

inline u32 epoch_before(const Shadow& s, u32 agent) {
  return agent == s.agent ? s.least_sync : agent < s.before->count ? s.before->of[agent] : 0;
}
/// Whether records of this agent and epoch are ordered before all lanes of the warp.
inline bool is_before(const Shadow& s, Record r) {
  return u32(r >> epoch_first) <= epoch_before(s, u32(r >> agent_first) & 0xfff);
}

/// Whether all `count` records (8, 16 or 32) have the agent and epoch of the first.
template <u32 count>
inline bool of_one_epoch(const Record* records) {
#if defined(__AVX512F__)
  const __m512i first = _mm512_set1_epi64(s64(records[0])), looked_at = _mm512_set1_epi64(s64(mixed));
  u32 others = 0;
  for (u32 i = 0; i < count; i += 8)
    others |= _mm512_test_epi64_mask(_mm512_xor_si512(_mm512_loadu_si512(records + i), first), looked_at);
  return others == 0;
#else
  Record differ = 0;
  for (u32 i = 0; i < count; ++i) differ |= records[i] ^ records[0];
  return differ >> agent_first == 0;
#endif
}

/// The chunks of a contiguous access of 1 << log2 bytes a lane: lanes and width of their records.
template <u32 log2>
struct Row {
  static constexpr u32 chunks = 2u << log2;
  alignas(64) Record of[chunks];
  constexpr Row() : of{} {
    for (u32 i = 0; i < chunks; ++i)
      of[i] = (log2 < 4 ? i << (4 - log2) : i >> (log2 - 4)) | Record{log2 < 4 ? log2 : 4} << width_first;
  }
};
template <u32 log2>
constexpr Row<log2> row_of{};
struct Lanes {
  alignas(64) Record of[32];
  constexpr Lanes() : of{} {
    for (u32 i = 0; i < 32; ++i) of[i] = i | one_lane;
  }
};
constexpr Lanes each_lane{};

/// Whether each of these records is the access's own (`mine`, `own`: lane and width), or ordered before it.
[[gnu::noinline, gnu::noclone]] bool settled_one_by_one(const Record* records, const Record* own, u32 count,
                                                        const Shadow& s, Record mine, bool may_be_empty) {
  u64 open = 0;
#if defined(__AVX512F__)
  const __mmask8 valid = count < 8 ? (1u << count) - 1 : 0xff; // else a multiple of 8
  const __m512i of_mine = _mm512_set1_epi64(s64(mine)), compared = _mm512_set1_epi64(s64(whose | width_mask));
  for (u32 i = 0; i < count; i += 8) {
    const __m512i r = _mm512_maskz_loadu_epi64(valid, records + i);
    const __m256i agent = _mm256_and_si256(_mm512_cvtepi64_epi32(_mm512_srli_epi64(r, agent_first)),
                                           _mm256_set1_epi32((1 << agent_bits) - 1)),
                  epoch = _mm512_cvtepi64_epi32(_mm512_srli_epi64(r, epoch_first));
    __m256i before = _mm256_mmask_i32gather_epi32(
        _mm256_setzero_si256(), _mm256_cmplt_epu32_mask(agent, _mm256_set1_epi32(s32(s.before->count))), agent,
        s.before->of, 4);
    before = _mm256_mask_mov_epi32(before, _mm256_cmpeq_epi32_mask(agent, _mm256_set1_epi32(s32(s.agent))),
                                   _mm256_set1_epi32(s32(s.least_sync)));
    const u32 is_own = _mm512_testn_epi64_mask(
                  _mm512_xor_si512(r, _mm512_or_si512(of_mine, _mm512_maskz_loadu_epi64(valid, own + i))), compared),
              empty = _mm512_testn_epi64_mask(r, r), ordered = _mm256_cmple_epu32_mask(epoch, before);
    open |= ~(empty ? (may_be_empty ? empty : 0) | (ordered & ~empty) | is_own : ordered | is_own) & valid;
  }
#else
  for (u32 i = 0; i < count; ++i) {
    const bool is_own = ((records[i] ^ (mine | own[i])) & (whose | width_mask)) == 0;
    open |= u64(!(records[i] == 0 ? may_be_empty : is_own || is_before(s, records[i])));
  }
#endif
  return open == 0;
}
/// The usual cases: everybody meets records of one agent and epoch, or his own.
inline bool settled_records(const Record* records, const Record* own, u32 count, const Shadow& s, Record mine,
                            bool may_be_empty) {
  Record differ = 0;
  for (u32 i = 0; i < count; ++i) differ |= records[i] ^ records[0];
  if (differ >> agent_first == 0 && (records[0] == 0 ? may_be_empty : is_before(s, records[0]))) return true;
  Record strange = 0;
  for (u32 i = 0; i < count; ++i) {
    const Record other = (records[i] ^ (mine | own[i])) & (whose | width_mask);
    strange |= records[i] == 0 ? (may_be_empty ? 0 : whose) : other;
  }
  return strange == 0 || settled_one_by_one(records, own, count, s, mine, may_be_empty);
}

/// The records that the lanes meet, of their first granules. False: within a lane they differ in more than the lane;
/// where only that differs, the record is of no lane.
template <u32 log2>
inline bool records_at(const RecordPlane& p, const u32* at, Record* records) {
  constexpr u32 bytes = 1u << log2;
  const u32 each = bytes >> p.shift;
  u32 mixes = 0; // lanes
#if defined(__AVX512F__)
  const __m512i mixture = _mm512_set1_epi64(s64(mixed)), parts = _mm512_set1_epi64(s64(width_mask)),
                whole = _mm512_set1_epi64(s64(one_lane));
  for (u32 lane = 0; lane < 32; lane += 8) {
    const __m256i offset = _mm256_load_si256(reinterpret_cast<const __m256i*>(at + lane));
    __m512i r = _mm512_i32gather_epi64(_mm256_srli_epi32(offset, 4), p.chunks, 8);
    const __mmask8 mix = _mm512_cmpeq_epi64_mask(r, mixture);
    mixes |= u32(mix) << lane;
    if constexpr (log2 < 4) {
      const __m512i width = _mm512_srli_epi64(_mm512_and_si512(r, parts), width_first);
      const __m512i within = _mm512_and_si512(_mm512_cvtepu32_epi64(offset), _mm512_set1_epi64(15));
      const __mmask8 divided = _mm512_cmplt_epu64_mask(width, _mm512_set1_epi64(log2)) & ~mix; // lanes differ
      const __mmask8 has = _mm512_test_epi64_mask(r, r) & ~mix;
      r = _mm512_mask_add_epi64(r, has, r, _mm512_srlv_epi64(within, width));
      r = _mm512_mask_or_epi64(r, has, _mm512_andnot_si512(parts, r), whole);
      r = _mm512_mask_andnot_epi64(r, divided, parts, r);
      if (mix)
        r = _mm512_mask_i32gather_epi64(r, mix, _mm256_srl_epi32(offset, _mm_cvtsi32_si128(s32(p.shift))), p.granules,
                                        8);
    }
    _mm512_store_si512(records + lane, r);
  }
#else
  for (u32 lane = 0; lane < 32; ++lane) {
    Record r = p.chunks[at[lane] >> 4];
    if (r == mixed) {
      mixes |= 1u << lane;
      r = p.granules[at[lane] >> p.shift];
    } else if (log2 < 4 && r != 0) {
      const u32 width = u32(r >> width_first) & 7;
      r = ((r + ((at[lane] & 15) >> width)) & ~width_mask) | (width < log2 ? 0 : one_lane);
    }
    records[lane] = r;
  }
#endif
  for (u32 m = each > 1 ? mixes : 0; m; m &= m - 1) {
    const u32 lane = u32(__builtin_ctz(m));
    const Record* r = p.granules + (at[lane] >> p.shift);
    Record differ = 0;
    for (u32 k = 1; k < each; ++k) differ |= r[k] ^ r[0];
    if (differ >> agent_first) return false;
    records[lane] = differ & 31 ? r[0] & ~width_mask : r[0];
  }
  return true;
}
template <u32 log2>
[[gnu::noinline]] bool settled(const RecordPlane& p, const u32* at, const Shadow& s, Record mine, bool may_be_empty) {
  alignas(64) Record records[32];
  return records_at<log2>(p, at, records) && settled_records(records, each_lane.of, 32, s, mine, may_be_empty);
}

/// Gives the granules of a chunk records of their own.
[[gnu::noinline, gnu::cold]] void mix(const RecordPlane& p, u32 chunk) {
  const Record r = p.chunks[chunk];
  const u32 width = u32(r >> width_first) & 7, count = 16u >> p.shift;
  for (u32 i = 0; i < count; ++i)
    p.granules[chunk * count + i] = r == 0 ? 0 : ((r + (i << p.shift >> width)) & ~width_mask) | one_lane;
  p.chunks[chunk] = mixed;
}
/// Whether all chunks of a line of 128 bytes are mixed.
inline bool is_mixed(const RecordPlane& p, u32 line) {
  return p.chunks[8 * line] == mixed && of_one_epoch<8>(p.chunks + 8 * line);
}
template <u32 log2>
inline void mark_granules(const RecordPlane& p, const u32* at, u32 lanes, Record mine) {
  const u32 shift = p.shift, each = (1u << log2) >> shift;
  Record *const granules = p.granules, own = mine | one_lane;
  if (each == 1)
#pragma GCC unroll 8
    for (u32 lane = 0; lane < lanes; ++lane) granules[at[lane] >> shift] = own + lane;
  else
    for (u32 lane = 0; lane < lanes; ++lane)
      for (u32 k = 0; k < each; ++k) granules[(at[lane] >> shift) + k] = own + lane;
}
template <u32 log2>
[[gnu::noinline]] void mark(const RecordPlane& p, const u32* at, u32 lanes, Record mine) {
  if constexpr (log2 >= 4) {
    for (u32 lane = 0; lane < lanes; ++lane) p.chunks[at[lane] >> 4] = (mine | one_lane) + lane;
  } else {
    for (u32 lane = 0; lane < lanes; ++lane)
      if (p.chunks[at[lane] >> 4] != mixed) mix(p, at[lane] >> 4);
    mark_granules<log2>(p, at, lanes, mine);
  }
}
template <u32 log2>
void mark_row(const RecordPlane& p, u32 first, Record mine) {
  for (u32 i = 0; i < row_of<log2>.chunks; ++i) p.chunks[first / 16 + i] = mine | row_of<log2>.of[i];
}
/// Whether no lanes are at one place, where that is easily seen: they are at different places in 32 times `bytes`.
template <u32 bytes>
inline bool apart(const u32* at) {
  u32 places = 0;
  for (u32 i = 0; i < 32; ++i) places |= 1u << (at[i] / bytes & 31);
  return places == ~0u;
}

// --- an access of all lanes that is as usual -------------------------------------------------------------------------
// A whole warp's, to memory where it meets nothing that is not ordered before it. Everything else, all that might be a
// finding, takes the sanitizer's long way: these functions return false, and have changed nothing.

/// Of a contiguous access that begins at offset `first`.
template <u32 log2>
[[gnu::noinline]] bool settled_by_lane(const RecordPlane& p, u32 first, const Shadow& s, Record mine,
                                       bool may_be_empty) {
  alignas(64) u32 at[32];
  for (u32 i = 0; i < 32; ++i) at[i] = first + (i << log2);
  return settled<log2>(p, at, s, mine, may_be_empty);
}
template <u32 log2>
inline bool settled_row(const RecordPlane& p, u32 first, const Shadow& s, Record mine, bool may_be_empty) {
  return settled_records(p.chunks + first / 16, row_of<log2>.of, row_of<log2>.chunks, s, mine, may_be_empty) ||
         settled_by_lane<log2>(p, first, s, mine, may_be_empty);
}

/// `settled` and `mark` of all lanes; `line`: that they are all in, or none. `own_records`: each lane has met its own,
/// so no two are at one place.
template <u32 log2>
inline bool settled_in(const RecordPlane& p, const u32* at, u32 line, const Shadow& s, Record mine, bool may_be_empty,
                       bool& own_records) {
  if (log2 == 4 || line == none || p.shift != 2) return settled<log2>(p, at, s, mine, may_be_empty);
  auto is_fine = [&](Record r) { return r == 0 ? may_be_empty : is_before(s, r); };
  const Record* chunks = p.chunks + 8 * line;
  if (chunks[0] != mixed || !of_one_epoch<8>(chunks))
    return (of_one_epoch<8>(chunks) && is_fine(chunks[0])) || settled<log2>(p, at, s, mine, may_be_empty);
  const Record* granules = p.granules + 32 * line;
  const Record own = mine | one_lane;
  if (log2 == 2 && ((granules[at[0] / 4 % 32] ^ own) & (whose | width_mask)) == 0) {
    // Written a moment ago, one by one: vectors of them would have to wait for the stores.
    Record strange = 0;
#pragma GCC unroll 8
    for (u32 i = 0; i < 32; ++i) {
      asm("" : "+r"(i)); // not as vectors
      strange |= granules[at[i] / 4 % 32] ^ (own + i);
    }
    own_records = (strange & (whose | width_mask)) == 0;
    if (own_records) return true;
  }
  if (of_one_epoch<32>(granules) && is_fine(granules[0])) return true;
  if (log2 > 2) return settled<log2>(p, at, s, mine, may_be_empty);
  alignas(64) Record records[32];
  for (u32 i = 0; i < 32; ++i) records[i] = p.granules[at[i] >> 2];
  return settled_records(records, each_lane.of, 32, s, mine, may_be_empty);
}
template <u32 log2>
inline void mark_in(const RecordPlane& p, const u32* at, u32 line, Record mine) {
  if (log2 < 4 && line != none && is_mixed(p, line)) return mark_granules<log2>(p, at, 32, mine);
  mark<log2>(p, at, 32, mine);
}
inline u32 line_of(const u32* at) {
#if defined(__AVX512F__)
  const __m512i first = _mm512_set1_epi32(s32(at[0])), looked_at = _mm512_set1_epi32(~127);
  const u32 others = _mm512_test_epi32_mask(_mm512_xor_si512(_mm512_load_si512(at), first), looked_at) |
                     _mm512_test_epi32_mask(_mm512_xor_si512(_mm512_load_si512(at + 16), first), looked_at);
  return others == 0 ? at[0] >> 7 : none;
#else
  u32 differ = 0;
  for (u32 i = 0; i < 32; ++i) differ |= at[i] ^ at[0];
  return differ < 128 ? at[0] >> 7 : none;
#endif
}

/// The records that an access meets, and leaves.
struct Met {
  const RecordPlane* written = nullptr;
  const RecordPlane* reads = nullptr; ///< of the readers in the mask: a write meets them, too
  u64 readers = 0;
  const RecordPlane* marked = nullptr;
};
/// An access that meets nothing it is not ordered after leaves its record. `at`: the lanes' offsets, or where
/// `contiguous` only that of the first.
template <u32 log2, bool writes>
[[gnu::noinline]] bool touch(const Met& met, bool contiguous, const u32* at, const Shadow& s, Record mine,
                             bool may_be_empty) {
  if (contiguous) {
    if (!settled_row<log2>(*met.written, at[0], s, mine, may_be_empty)) return false;
    for (u64 m = writes ? met.readers : 0; m; m &= m - 1)
      if (!settled_row<log2>(met.reads[__builtin_ctzll(m)], at[0], s, mine, true)) return false;
    mark_row<log2>(*met.marked, at[0], mine);
    return true;
  }
  const u32 line = line_of(at);
  bool own_written = false, own_read = false;
  if (!settled_in<log2>(*met.written, at, line, s, mine, may_be_empty, own_written)) return false;
  if (writes && !own_written && !apart<1u << log2>(at)) return false;
  for (u64 m = writes ? met.readers : 0; m; m &= m - 1)
    if (!settled_in<log2>(met.reads[__builtin_ctzll(m)], at, line, s, mine, true, own_read)) return false;
  mark_in<log2>(*met.marked, at, line, mine);
  return true;
}

template <u32 log2, bool writes>
inline bool usual_shared(const Warp* w, Shadow& s, Record mine, Together& t) {
  BlockShadow& b = *s.block;
  if (!writes && s.reader == ~0u) return false;
  u32 line, last;
  if (t.contiguous) {
    t.at[0] = u32(t.base - w->shared);
    if (t.at[0] & 15) return false;
    line = t.at[0] >> 7, last = (t.at[0] + (32u << log2) - 1) >> 7;
  } else {
    line = last = line_of(t.at);
  }
  Met met{&b.writes, b.reads, 0, writes ? &b.writes : &b.reads[s.reader]};
  auto each_line = [&](auto f) {
    if (line == none)
      for (u32 i = 0; i < 32; ++i) f(b.readers[t.at[i] >> 7]);
    else
      for (u32 l = line; l <= last; ++l) f(b.readers[l]);
  };
  if constexpr (writes) each_line([&](u64 readers) { met.readers |= readers; });
  if (!touch<log2, writes>(met, t.contiguous, t.at, s, mine, writes)) return false;
  if constexpr (!writes) {
    const u64 bit = u64(1) << s.reader;
    each_line([&](u64& readers) {
      if (!(readers & bit)) readers |= bit;
    });
  } else if (t.contiguous && (t.at[0] & 127) == 0 && (32u << log2) % 128 == 0) { // their readers are done with
    each_line([](u64& readers) { readers = 0; });
  }
  return true;
}

template <u32 log2, bool writes>
inline bool usual_global(const Warp* w, const Shadow& s, Record mine, const Together& t) {
  constexpr u32 page_bytes = BlockShadow::page_bytes;
  const BlockShadow& b = *s.block;
  if (w->allocation_begin != b.begin || w->allocation_end != b.end || (!writes && !b.whole)) return false;
  if (!b.written) return true;
  u64 first = u64(t.base - w->arena);
  alignas(64) u32 at[32]; // in the page
  if (t.contiguous) {
    at[0] = u32(first) & (page_bytes - 1);
    if (at[0] & 15 || at[0] + (32u << log2) > page_bytes) return false;
  } else {
    const u32 within = u32(first) & (page_bytes - 1);
    u32 differ = 0;
    for (u32 i = 0; i < 32; ++i) differ |= (t.at[i] + within) ^ (t.at[0] + within);
    if (differ / page_bytes) return false;
    first += t.at[0];
    for (u32 i = 0; i < 32; ++i) at[i] = (t.at[i] + within) & (page_bytes - 1);
  }
  const u64 number = first / page_bytes;
  const BlockShadow::Page& page = b.pages[number % BlockShadow::near];
  if (page.number != number || !page.writes) return false;
  const Met met{page.writes, page.reads, 1, writes ? page.writes : page.reads};
  return touch<log2, writes>(met, t.contiguous, at, s, mine, true);
}

/// As `observe_access`; but what is usual it also moves, since it knows from where to where.
template <Space space, u32 log2, bool writes>
const Insn* usual(Warp* w, const Insn* ip) {
  const bool moves = ip->d & moves_itself;
  Together t;
  if ((w->active & (predicate(w, ip->c) ^ ip->aux)) != ~0u) return observe_access(w, ip) + moves;
  if (!together<space, 1u << log2>(w, ip->d, ip->a, ip->imm, t)) return observe_access(w, ip) + moves;
  Shadow& s = *w->shadow;
  const Record mine = Record{s.epoch} << epoch_first | Record{s.agent} << agent_first | Record{ip->b} << place_first;
  const bool is_usual =
      space == Space::shared ? usual_shared<log2, writes>(w, s, mine, t) : usual_global<log2, writes>(w, s, mine, t);
  if (!is_usual) return observe_access(w, ip) + moves;
  s.touched = true;
  if (!moves) return ip + 1;
  Moving move;
  __builtin_memcpy(&move, &ip[1].d, sizeof move);
  return move(w, ip + 2, t);
}
template <Space space>
Fn usual_access(u32 bytes, bool writes) {
#if defined(__AVX2__)
  switch (bytes) {
  case 2: return writes ? usual<space, 1, true> : usual<space, 1, false>;
  case 4: return writes ? usual<space, 2, true> : usual<space, 2, false>;
  case 8: return writes ? usual<space, 3, true> : usual<space, 3, false>;
  case 16: return writes ? usual<space, 4, true> : usual<space, 4, false>;
  }
#endif
  return observe_access;
}
Fn usual_access(Space space, u32 bytes, bool writes) {
  return space == Space::shared ? usual_access<Space::shared>(bytes, writes)
                                : usual_access<Space::global>(bytes, writes);
}

template <u32 log2>
constexpr RecordLoops loops() {
  return {settled<log2>, mark<log2>, mark_row<log2>};
}

} // namespace

const ObservingLoops& ISA(observing_loops)() {
  static constexpr ObservingLoops all{addresses, usual_access, {loops<1>(), loops<2>(), loops<3>(), loops<4>()}};
  return all;
}

} // namespace tilejit::runtime::simulator
