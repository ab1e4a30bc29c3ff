// exec_move.cpp - moves, selection, predicates, execution under a mask, and the exchanges of a warp: shfl, vote, match,
// redux, elect. PTX ISA 9.7.9 "mov", 9.7.6 "selp", 9.7.13 "Parallel Synchronization".
//
// Instructions that look at other lanes carry their guard themselves, in the slot after them.
#include "runtime/simulator/control.h"
#include "runtime/simulator/handlers.h"
#include "runtime/simulator/lanes.h"

namespace tilejit::runtime::simulator {
namespace {

template <class T>
struct Mov {
  using D = T;
  using A = T;
  static inline T apply(T a) { return a; }
};

struct Pack64 {
  using D = u64;
  using A = u32;
  using B = u32;
  static inline u64 apply(u32 a, u32 b) { return u64(b) << 32 | a; }
};
struct Pack32 {
  using D = u32;
  using A = u32;
  using B = u32;
  static inline u32 apply(u32 a, u32 b) { return (a & 0xffff) | b << 16; }
};
struct Pack16 {
  using D = u32;
  using A = u32;
  using B = u32;
  static inline u32 apply(u32 a, u32 b) { return (a & 0xff) | (b & 0xff) << 8; }
};
struct Low {
  using D = u32;
  using A = u64;
  static inline u32 apply(u64 a) { return u32(a); }
};
struct High {
  using D = u32;
  using A = u64;
  static inline u32 apply(u64 a) { return u32(a >> 32); }
};

template <class T, unsigned K>
const Insn* selp(Warp* w, const Insn* ip) {
  auto* d = row<T>(w, ip->d);
  const auto* a = row<T>(w, K & 1 ? ip->d : ip->a);
  const auto* b = row<T>(w, K & 2 ? ip->d : ip->b);
  const T sa = K & 1 ? scalar<T>(w, ip->a) : 0, sb = K & 2 ? scalar<T>(w, ip->b) : 0;
  u32 m = predicate(w, ip->c) ^ ip->aux;
  LANES d[i] = m >> i & 1 ? (K & 1 ? sa : a[i]) : (K & 2 ? sb : b[i]);
  return ip + 1;
}
template <class T>
const Insn* selp_scalar(Warp* w, const Insn* ip) {
  put_scalar<T>(w, ip->d, (predicate(w, ip->c) ^ ip->aux) & 1 ? scalar<T>(w, ip->a) : scalar<T>(w, ip->b));
  return ip + 1;
}
template <class T>
Fn pick_selp(const Request& r) {
  if (r.scalar) return selp_scalar<T>;
  static constexpr Fn table[] = {selp<T, 0>, selp<T, 1>, selp<T, 2>, selp<T, 3>};
  return table[r.kinds & 3];
}
template <class T, bool is_float>
struct Slct {
  using D = T;
  using A = T;
  using B = T;
  using C = typename Choose<is_float, f32, s32>::type;
  static inline T apply(T a, T b, C c) { return c >= C(0) ? a : b; }
};

// Predicates: whole masks. `imm` and `aux` turn sources round.
#define PREDICATE(name, expression)                                                                                    \
  const Insn* name(Warp* w, const Insn* ip) {                                                                          \
    u32 a = predicate(w, ip->a) ^ ip->imm, b = predicate(w, ip->b) ^ ip->aux;                                          \
    (void)b;                                                                                                           \
    predicate(w, ip->d) = expression;                                                                                  \
    return ip + 1;                                                                                                     \
  }
PREDICATE(pred_and, a& b)
PREDICATE(pred_or, a | b)
PREDICATE(pred_xor, a ^ b)
PREDICATE(pred_mov, a)
PREDICATE(pred_not, ~a)

// --- execution under a mask: the next instruction, a pure one, in some lanes only ------------------------------------

template <class T>
const Insn* masked(Warp* w, const Insn* ip) {
  u32 m = w->active & (predicate(w, ip->c) ^ ip->aux);
  const Insn* next = ip + 1;
  if (!m) return next + 1;
  if (m == w->live) return next->fn(w, next);
  T* d = reinterpret_cast<T*>(w->file + ip->d);
  alignas(64) T old[32];
  LANES old[i] = d[i];
  const Insn* after = next->fn(w, next);
  LANES d[i] = m >> i & 1 ? d[i] : old[i];
  return after;
}
const Insn* masked_predicate(Warp* w, const Insn* ip) {
  u32 m = w->active & (predicate(w, ip->c) ^ ip->aux);
  const Insn* next = ip + 1;
  if (m == w->live) return next->fn(w, next);
  u32 old = predicate(w, ip->d);
  const Insn* after = next->fn(w, next);
  u32& d = predicate(w, ip->d);
  d = (d & m) | (old & ~m);
  return after;
}
/// For scalars: all lanes or none.
const Insn* skip(Warp* w, const Insn* ip) { return w->active & (predicate(w, ip->c) ^ ip->aux) ? ip + 1 : ip + 2; }

// --- exchanges -------------------------------------------------------------------------------------------------------
// Main slot: d, a, b, c, imm = offset of a predicate result (0: none). Next slot: d = guard, a = its xor mask,
// b = member mask (an operand), c = kinds: 1 b is a row, 2 c is a row, 4 member mask is a row, 8 the result is a
// scalar, 16 not .sync (no member mask).

struct Exchange {
  u32 mask = 0; ///< lanes that execute
  bool wait = false;
};
inline Exchange enter(Warp* w, const Insn* ip) {
  const Insn* more = ip + 1;
  Exchange e;
  e.mask = w->active & (predicate(w, more->d) ^ more->a);
  if (more->c & 16 || !e.mask) return e;
  u32 members = 0;
  if (more->c & 4)
    for (u32 m = e.mask; m; m &= m - 1) members |= row<u32>(w, more->b)[__builtin_ctz(m)];
  else
    members = scalar<u32>(w, more->b);
  e.wait = (members & w->live & ~w->active) != 0;
  return e;
}
const Insn* wait_for_members(Warp* w, const Insn* ip, u32 mask) {
  const Insn* more = ip + 1;
  return wait_for_members(w, ip, ip + 2, mask, reinterpret_cast<u32*>(w->file + more->b), more->c & 4);
}
/// Those of the lanes that have the member mask of the first of them: parts of a warp may do the same side by side.
inline u32 group_of(Warp* w, const Insn* ip, u32 lanes) {
  const Insn* more = ip + 1;
  if (!(more->c & 4)) return lanes;
  const u32* members = row<u32>(w, more->b);
  u32 first = members[__builtin_ctz(lanes)], group = 0;
  for (u32 m = lanes; m; m &= m - 1) group |= members[__builtin_ctz(m)] == first ? m & -m : 0;
  return group;
}
inline void put_row(Warp* w, u32 offset, u32 mask, const u32* values) {
  u32* d = row<u32>(w, offset);
  if (mask == w->live)
    LANES d[i] = values[i];
  else
    LANES d[i] = mask >> i & 1 ? values[i] : d[i];
}
inline void put_uniform(Warp* w, const Insn* ip, u32 mask, u32 value) {
  if (ip[1].c & 8) {
    put_scalar<u32>(w, ip->d, value);
    return;
  }
  alignas(64) u32 values[32];
  LANES values[i] = value;
  put_row(w, ip->d, mask, values);
}
inline void put_predicate(Warp* w, u32 offset, u32 mask, u32 value) {
  u32& d = predicate(w, offset);
  d = mask == w->live ? value : (d & ~mask) | (value & mask);
}
#define ENTER                                                                                                          \
  Exchange e = enter(w, ip);                                                                                           \
  if (__builtin_expect(e.wait, 0)) return wait_for_members(w, ip, e.mask);                                             \
  if (!e.mask) return ip + 2;
#define EACH_GROUP                                                                                                     \
  for (u32 rest = e.mask, group = group_of(w, ip, rest); rest; rest &= ~group, group = rest ? group_of(w, ip, rest) : 0)

/// A butterfly of the whole warp, as reductions are made of: the permutation is one of whole vectors and one within
/// each of them.
inline void butterfly(u32* d, const u32* a, u32 b) {
#if defined(__AVX512F__)
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i index = _mm512_xor_si512(lane, _mm512_set1_epi32(s32(b & 15)));
  const u32 other = b & 16;
  const __m512i low = _mm512_load_si512(a + other), high = _mm512_load_si512(a + (16 ^ other));
  _mm512_store_si512(d, _mm512_permutexvar_epi32(index, low));
  _mm512_store_si512(d + 16, _mm512_permutexvar_epi32(index, high));
#elif defined(__AVX2__)
  const __m256i index = _mm256_xor_si256(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(s32(b & 7)));
  const u32 other = b & 24;
  __m256i part[4];
  for (u32 k = 0; k < 4; ++k) part[k] = _mm256_load_si256(reinterpret_cast<const __m256i*>(a + ((8 * k) ^ other)));
  for (u32 k = 0; k < 4; ++k)
    _mm256_store_si256(reinterpret_cast<__m256i*>(d + 8 * k), _mm256_permutevar8x32_epi32(part[k], index));
#else
  alignas(64) u32 from[32];
  std::memcpy(from, a, sizeof from);
  for (u32 i = 0; i < 32; ++i) d[i] = from[i ^ b];
#endif
}

template <Mod mode>
const Insn* shfl(Warp* w, const Insn* ip) {
  ENTER
  u32 kinds = ip[1].c;
  if (mode == Mod::bfly && e.mask == ~0u && !(kinds & 3) && (scalar<u32>(w, ip->c) & 0x1f1f) == 0x1f) {
    butterfly(row<u32>(w, ip->d), row<u32>(w, ip->a), scalar<u32>(w, ip->b) & 31);
    if (ip->imm) predicate(w, ip->imm) = ~0u;
    return ip + 2;
  }
  alignas(64) u32 index[32], inside[32], result[32];
  const u32* a = row<u32>(w, ip->a);
  auto step = [](u32 lane, u32 b, u32 c, u32& j, bool& in) {
    u32 segment = c >> 8 & 31, bound = c & 31, last = (lane & segment) | (bound & ~segment), first = lane & segment;
    b &= 31;
    if (mode == Mod::up)
      j = lane - b, in = s32(j) >= s32(last);
    else if (mode == Mod::down)
      j = lane + b, in = j <= last;
    else if (mode == Mod::bfly)
      j = lane ^ b, in = j <= last;
    else
      j = first | (b & ~segment), in = j <= last;
    j = in ? j : lane;
  };
  if (kinds & 3) {
    for (u32 i = 0; i < 32; ++i) {
      bool in;
      step(i, kinds & 1 ? row<u32>(w, ip->b)[i] : scalar<u32>(w, ip->b),
           kinds & 2 ? row<u32>(w, ip->c)[i] : scalar<u32>(w, ip->c), index[i], in);
      inside[i] = in ? ~0u : 0;
    }
  } else {
    u32 b = scalar<u32>(w, ip->b), c = scalar<u32>(w, ip->c);
    LANES {
      bool in;
      step(u32(i), b, c, index[i], in);
      inside[i] = in ? ~0u : 0;
    }
  }
#if defined(__AVX512F__)
  __m512i low = _mm512_load_si512(a), high = _mm512_load_si512(a + 16);
  _mm512_store_si512(result, _mm512_permutex2var_epi32(low, _mm512_load_si512(index), high));
  _mm512_store_si512(result + 16, _mm512_permutex2var_epi32(low, _mm512_load_si512(index + 16), high));
#else
  for (int i = 0; i < 32; ++i) result[i] = a[index[i] & 31];
#endif
  if (e.mask != ~0u) // from lanes that take no part, which the manual leaves open: as on an H200
    LANES result[i] = e.mask >> index[i] & 1 ? result[i] : 0;
  put_row(w, ip->d, e.mask, result);
  if (ip->imm) put_predicate(w, ip->imm, e.mask, mask_of(inside));
  return ip + 2;
}

/// a: a predicate, aux: its xor mask.
template <Mod mode>
const Insn* vote(Warp* w, const Insn* ip) {
  ENTER
  const u32 votes = predicate(w, ip->a) ^ ip->aux; // `d` may be the same predicate
  EACH_GROUP {
    u32 p = votes & group;
    bool yes = mode == Mod::all ? p == group : mode == Mod::any ? p != 0 : p == 0 || p == group;
    if (mode == Mod::ballot)
      put_uniform(w, ip, group, p);
    else
      put_predicate(w, ip->d, group, yes ? ~0u : 0);
  }
  return ip + 2;
}
const Insn* activemask(Warp* w, const Insn* ip) {
  u32 m = w->active & (predicate(w, ip[1].d) ^ ip[1].a);
  if (m) put_uniform(w, ip, m, m);
  return ip + 2;
}
template <class T, bool all>
const Insn* match(Warp* w, const Insn* ip) {
  ENTER
  const T* a = reinterpret_cast<const T*>(w->file + ip->a);
  alignas(64) u32 result[32] = {};
  u32 agree = 0;
  EACH_GROUP {
    bool same = true;
    for (u32 m = group; m; m &= m - 1) {
      u32 i = u32(__builtin_ctz(m));
      for (u32 j = 0; j < 32; ++j)
        if (group >> j & 1 && a[i] == a[j]) result[i] |= 1u << j;
      same = same && result[i] == group;
    }
    if (same) agree |= group;
  }
  if (all)
    for (u32 i = 0; i < 32; ++i) result[i] = agree >> i & 1 ? result[i] : 0;
  put_row(w, ip->d, e.mask, result);
  if (ip->imm) put_predicate(w, ip->imm, e.mask, agree);
  return ip + 2;
}
enum class Reduce { add, min, max, smin, smax, and_, or_, xor_ };
template <Reduce op>
const Insn* redux(Warp* w, const Insn* ip) {
  ENTER
  const u32* a = row<u32>(w, ip->a);
  EACH_GROUP {
    u32 x = a[__builtin_ctz(group)];
    for (u32 m = group & (group - 1); m; m &= m - 1) {
      u32 y = a[__builtin_ctz(m)];
      switch (op) {
      case Reduce::add: x += y; break;
      case Reduce::min: x = x < y ? x : y; break;
      case Reduce::max: x = x > y ? x : y; break;
      case Reduce::smin: x = s32(x) < s32(y) ? x : y; break;
      case Reduce::smax: x = s32(x) > s32(y) ? x : y; break;
      case Reduce::and_: x &= y; break;
      case Reduce::or_: x |= y; break;
      case Reduce::xor_: x ^= y; break;
      }
    }
    put_uniform(w, ip, group, x);
  }
  return ip + 2;
}
const Insn* elect(Warp* w, const Insn* ip) {
  ENTER
  EACH_GROUP {
    u32 leader = u32(__builtin_ctz(group));
    if (ip->d) put_uniform(w, ip, group, leader);
    if (ip->imm) put_predicate(w, ip->imm, group, 1u << leader);
  }
  return ip + 2;
}

Fn redux_of(const Request& r) {
  bool is_signed = r.types[0] == Type::s32;
  if (has(r, Mod::add)) return redux<Reduce::add>;
  if (has(r, Mod::min)) return is_signed ? redux<Reduce::smin> : redux<Reduce::min>;
  if (has(r, Mod::max)) return is_signed ? redux<Reduce::smax> : redux<Reduce::max>;
  return has(r, Mod::and_) ? redux<Reduce::and_> : has(r, Mod::or_) ? redux<Reduce::or_> : redux<Reduce::xor_>;
}

} // namespace

Fn ISA(select_move)(const Request& r) {
  bool wide = r.types[0] == Type::b64 || r.types[0] == Type::u64 || r.types[0] == Type::s64 || r.types[0] == Type::f64;
  switch (r.form) {
  case Form::mov:
    if (r.types[0] == Type::pred) return pred_mov;
    if (r.scalar) return unary_scalar<Mov<u64>>;
    if (wide) return r.kinds ? unary<Mov<u64>, 1> : unary<Mov<u64>, 0>;
    return r.kinds ? unary<Mov<u32>, 1> : unary<Mov<u32>, 0>;
  case Form::selp: return wide ? pick_selp<u64>(r) : pick_selp<u32>(r);
  case Form::slct:
    if (wide) return r.types[1] == Type::f32 ? rare3<Slct<u64, true>>(r) : rare3<Slct<u64, false>>(r);
    return r.types[1] == Type::f32 ? rare3<Slct<u32, true>>(r) : rare3<Slct<u32, false>>(r);
  case Form::and_: return r.types[0] == Type::pred ? pred_and : nullptr;
  case Form::or_: return r.types[0] == Type::pred ? pred_or : nullptr;
  case Form::xor_: return r.types[0] == Type::pred ? pred_xor : nullptr;
  case Form::not_: return r.types[0] == Type::pred ? pred_not : nullptr;
  case Form::shfl_sync:
  case Form::shfl:
    if (has(r, Mod::up)) return shfl<Mod::up>;
    if (has(r, Mod::down)) return shfl<Mod::down>;
    return has(r, Mod::bfly) ? shfl<Mod::bfly> : shfl<Mod::idx>;
  case Form::vote_sync:
  case Form::vote: return has(r, Mod::all) ? vote<Mod::all> : has(r, Mod::any) ? vote<Mod::any> : vote<Mod::uni>;
  case Form::vote_sync_ballot:
  case Form::vote_ballot: return vote<Mod::ballot>;
  case Form::activemask: return activemask;
  case Form::match_any: return wide ? match<u64, false> : match<u32, false>;
  case Form::match_all: return wide ? match<u64, true> : match<u32, true>;
  case Form::redux: return redux_of(r);
  case Form::elect: return elect;
  default: return nullptr;
  }
}

Fn ISA(select_helper)(Helper helper) {
  switch (helper) {
  case Helper::splat32: return unary<Mov<u32>, 1>;
  case Helper::splat64: return unary<Mov<u64>, 1>;
  case Helper::pack64: return binary<Pack64, 0>;
  case Helper::pack32: return binary<Pack32, 0>;
  case Helper::pack16: return binary<Pack16, 0>;
  case Helper::low: return unary<Low, 0>;
  case Helper::high: return unary<High, 0>;
  case Helper::predicate_move: return pred_mov;
  case Helper::predicate_not: return pred_not;
  case Helper::predicate_and: return pred_and;
  case Helper::predicate_or: return pred_or;
  case Helper::predicate_xor: return pred_xor;
  }
  return nullptr;
}

const Handlers& ISA(handlers)() {
#define NAME_(isa) "x86-64-" #isa
#define NAME(isa) NAME_(isa)
  static const Handlers all{NAME(TILEJIT_ISA),   ISA(select_int),
                            ISA(select_float),   ISA(select_half),
                            ISA(select_convert), ISA(select_move),
                            ISA(select_memory),  ISA(select_moving),
                            ISA(select_matrix),  ISA(select_matrix_more),
                            ISA(select_carry),   ISA(select_helper),
                            masked<u32>,         masked<u64>,
                            masked_predicate,    skip,
                            ISA(mma_handler)(),  ISA(wgmma_kernel)()};
  return all;
}

} // namespace tilejit::runtime::simulator
