// exec_observe.cpp - the loops over lanes and records of what observes a kernel (observe.h, sanitize.h).
#include "runtime/simulator/handlers.h"
#include "runtime/simulator/lanes.h"
#include "runtime/simulator/memory_flags.h"
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
template <u32 each>
void put(u64* records, u64 mine) {
  for (u64 lane = 0; lane < 32; ++lane)
    for (u32 k = 0; k < each; ++k) records[lane * each + k] = mine | lane;
}

/// A record's agent and epoch, and those together with the lane (sanitize.h).
constexpr u32 agent_first = 28, epoch_first = 40;
constexpr u64 agent_mask = 0xfffull << agent_first, whose = agent_mask | 31;

#if defined(__AVX512F__)
/// The first record of eight lanes.
inline __m512i firsts(const u64* records, const u64* at, u32 shift, u32 lane) {
  const __m512i granule = _mm512_srl_epi64(_mm512_load_si512(at + lane), _mm_cvtsi32_si128(s32(shift)));
  return _mm512_i64gather_epi64(granule, records, 8);
}
inline __m512i lane_numbers(u32 lane) {
  return _mm512_add_epi64(_mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7), _mm512_set1_epi64(lane));
}
#endif

/// Records of one agent, none later than what is ordered before the access.
inline bool is_before(const Horizon& h, u64 r) {
  return u32(r >> epoch_first) <= h.epoch(h.context, u32(r >> agent_first) & 0xfff);
}

/// Whether the records of 32 lanes are of one agent and epoch.
template <u32 each>
inline bool alike(const u64* records) {
#if defined(__AVX512F__)
  const __m512i first = _mm512_set1_epi64(s64(records[0]));
  __m512i differ = _mm512_setzero_si512();
  for (u32 i = 0; i < 32 * each; i += 8)
    differ = _mm512_or_si512(differ, _mm512_xor_si512(_mm512_loadu_si512(records + i), first));
  return _mm512_test_epi64_mask(differ, _mm512_set1_epi64(s64(~0ull << agent_first))) == 0;
#else
  u64 differ = 0;
  for (u32 i = 0; i < 32 * each; ++i) differ |= records[i] ^ records[0];
  return differ >> agent_first == 0;
#endif
}
/// The usual cases: everybody meets records of one agent and epoch, or his own.
template <u32 each>
bool settled_row(const u64* records, const Horizon& h) {
  if (alike<each>(records) && (records[0] == 0 ? h.may_be_empty : is_before(h, records[0]))) return true;
  u64 strange = 0, empty = 0;
  for (u64 lane = 0; lane < 32; ++lane)
    for (u32 k = 0; k < each; ++k) {
      const u64 r = records[lane * each + k];
      strange |= (r ^ (h.self | lane)) & whose;
      empty |= r == 0;
    }
  return strange == 0 && (h.may_be_empty || !empty);
}

/// Bits above the lane's in which the records of a lane differ, of any of them.
template <u32 each>
inline u64 differ_within(const u64* records, const u64* at, u32 shift, u32 lanes) {
#if defined(__AVX2__)
  if constexpr (each >= 4) {
    __m256i differ = _mm256_setzero_si256();
    for (u32 lane = 0; lane < lanes; ++lane) {
      const u64* r = records + (at[lane] >> shift);
      const __m256i first = _mm256_set1_epi64x(s64(r[0]));
      for (u32 k = 0; k < each; k += 4)
        differ = _mm256_or_si256(differ,
                                 _mm256_xor_si256(first, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(r + k))));
    }
    const __m128i half = _mm_or_si128(_mm256_castsi256_si128(differ), _mm256_extracti128_si256(differ, 1));
    return u64(_mm_cvtsi128_si64(half)) | u64(_mm_extract_epi64(half, 1));
  }
#endif
  u64 differ = 0;
  for (u32 lane = 0; lane < lanes; ++lane) {
    const u64* r = records + (at[lane] >> shift);
    for (u32 k = 1; k < each; ++k) differ |= r[k] ^ r[0];
  }
  return differ;
}

template <u32 each>
bool settled(const u64* records, const u64* at, u32 shift, u32 lanes, const Horizon& h) {
  const u64 differ = each > 1 ? differ_within<each>(records, at, shift, lanes) : 0;
  if (differ >> agent_first) return false;
  const u64 own = differ ? 0 : whose; // the lanes of the others are not known then
  alignas(64) u64 first[32];
  u32 open = 0; // lanes that are not yet known to be fine
#if defined(__AVX512F__)
  const __m512i lead = _mm512_set1_epi64(s64(records[at[0] >> shift]));
  __m512i unlike = _mm512_setzero_si512();
  for (u32 lane = 0; lane < lanes; lane += 8) {
    const __m512i r = firsts(records, at, shift, lane);
    unlike = _mm512_or_si512(unlike, _mm512_xor_si512(r, lead));
    _mm512_store_si512(first + lane, r);
  }
  const bool alike = _mm512_test_epi64_mask(unlike, _mm512_set1_epi64(s64(~0ull << agent_first))) == 0;
#else
  const u64 lead = records[at[0] >> shift];
  u64 unlike = 0;
  for (u32 lane = 0; lane < lanes; ++lane) {
    first[lane] = records[at[lane] >> shift];
    unlike |= first[lane] ^ lead;
  }
  const bool alike = unlike >> agent_first == 0;
#endif
  if (alike && (first[0] == 0 ? h.may_be_empty : is_before(h, first[0]))) return true; // most often
#if defined(__AVX512F__)
  for (u32 lane = 0; lane < lanes; lane += 8) {
    const __m512i r = _mm512_load_si512(first + lane);
    const __m512i mine = _mm512_or_si512(_mm512_set1_epi64(s64(h.self)), lane_numbers(lane));
    const u32 strange = own ? _mm512_test_epi64_mask(_mm512_xor_si512(r, mine), _mm512_set1_epi64(s64(own))) : 0xff;
    const u32 empty = _mm512_testn_epi64_mask(r, r);
    open |= (h.may_be_empty ? strange & ~empty : strange | empty) << lane;
  }
#else
  for (u32 lane = 0; lane < lanes; ++lane) {
    const bool mine = own && ((first[lane] ^ (h.self | lane)) & own) == 0;
    open |= u32(first[lane] == 0 ? !h.may_be_empty : !mine) << lane;
  }
#endif
  while (open) { // an agent at a time
    const u32 lead = u32(__builtin_ctz(open));
    if (first[lead] == 0 || !is_before(h, first[lead])) return false;
    const u32 agent = u32(first[lead] >> agent_first) & 0xfff;
    const u64 bound = u64(h.epoch(h.context, agent)) << 12 | 0xfff;
    u32 others = 0; // and what is later
#if defined(__AVX512F__)
    for (u32 lane = 0; lane < lanes; lane += 8) {
      const __m512i key = _mm512_srli_epi64(_mm512_load_si512(first + lane), agent_first);
      const __mmask8 same =
          _mm512_testn_epi64_mask(_mm512_xor_si512(key, _mm512_set1_epi64(agent)), _mm512_set1_epi64(0xfff));
      others |= (_mm512_mask_cmple_epu64_mask(same, key, _mm512_set1_epi64(s64(bound))) ^ 0xffu) << lane;
    }
#else
    for (u32 lane = 0; lane < lanes; ++lane) {
      const u64 key = first[lane] >> agent_first;
      others |= u32((key & 0xfff) != agent || key > bound) << lane;
    }
#endif
    open &= others;
  }
  return true;
}
template <u32 each>
void mark(u64* records, const u64* at, u32 shift, u32 lanes, u64 mine) {
  for (u32 lane = 0; lane < lanes; ++lane) {
    u64* r = records + (at[lane] >> shift);
    const u64 own = mine | lane;
#if defined(__AVX2__)
    if constexpr (each >= 4) {
      for (u32 k = 0; k < each; k += 4)
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(r + k), _mm256_set1_epi64x(s64(own)));
      continue;
    }
#endif
    for (u32 k = 0; k < each; ++k) r[k] = own;
  }
}
bool own(const u64* records, const u64* at, u32 shift, u32 lanes) {
  u64 other = 0;
#if defined(__AVX512F__)
  for (u32 lane = 0; lane < lanes; lane += 8)
    other |= _mm512_test_epi64_mask(_mm512_xor_si512(firsts(records, at, shift, lane), lane_numbers(lane)),
                                    _mm512_set1_epi64(31));
#else
  for (u32 lane = 0; lane < lanes; ++lane) other |= (records[at[lane] >> shift] ^ lane) & 31;
#endif
  return other == 0;
}

template <u32 each>
constexpr RecordLoops loops() {
  return {settled_row<each>, put<each>, settled<each>, mark<each>};
}

} // namespace

const ObservingLoops& ISA(observing_loops)() {
  static constexpr ObservingLoops all{
      addresses, own, {loops<1>(), loops<2>(), loops<4>(), loops<8>(), loops<16>(), loops<32>()}};
  return all;
}

} // namespace tilejit::runtime::simulator
