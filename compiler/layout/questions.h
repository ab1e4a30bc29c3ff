// questions.h - what a compiler asks about tiles in registers: what does this conversion cost and how is it done, how
// wide may a load be, which lanes hold the parts of a row.
//
// Every answer is computed from the digits by linear algebra over bits, in about a microsecond; no pair of layouts is
// special. Functions named plan_* return what code generation needs, the others what a cost model needs.
#pragma once
#include "compiler/layout/layout.h"

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace tilejit::layout {

// --- moving elements between threads ---------------------------------------------------------------------------------

/// How a tile that lies as `from` comes to lie as `to`; the first class that fits.
///   rename    the same thread already has every element, in a register that does not depend on the thread: no code, or
///             `permutes` byte permutes (prmt) when elements narrower than 32 bits change their place in the word
///   select    the same thread has it, but the register depends on the thread: selects
///   shuffle   the same warp has it: `shuffles` shfl.idx of 32 bits per thread, the fewest there can be
///   memory    otherwise: through shared memory
/// Example: the accumulator of S = Q K^T (64 x 80, cast to bf16) as the A operand of P V is {rename, 0, 0, 0}.
struct Conversion {
  enum Kind : uint8_t { rename, select, shuffle, memory } kind;
  uint32_t permutes, shuffles;
  /// Issue slots per warp, the unit of the cost model: prmt 1, select 1, shuffle 4 (and 2 per register), memory 4 per
  /// wavefront and 40 for the barrier.
  uint32_t slots;
};
/// Shapes must be equal (std::invalid_argument).  `bits` is the width of an element.  Never fails otherwise: what
/// cannot be compared goes through memory.
Conversion convert(const Layout& from, const Layout& to, unsigned bits);

/// An affine function of the thread: `base` xor the masks of those thread bits that are set.
struct Affine {
  struct Term {
    Axis axis;       ///< lane, warp or cta
    uint32_t stride; ///< the bit is (place / stride) % 2
    uint32_t mask;
  };
  uint32_t base = 0;
  std::vector<Term> terms; ///< masks are not 0: no terms = the same in every thread
  uint32_t operator()(const Place& thread) const;
};

/// For rename and select: the register of `from` that register t of `to` takes is
///   registers[ (base[t] ^ thread) + sum over odd of step * ((place / stride) % radix) ]
/// where thread = thread(place).  For a rename, thread has no terms and odd is empty: register t takes
/// registers[base[t]].
struct LocalPlan {
  struct Odd {
    Axis axis;
    uint32_t stride, radix, step;
  };
  std::vector<uint32_t> base;
  Affine thread;
  std::vector<Odd> odd;
  std::vector<uint32_t> registers; ///< code -> register of `from`; codes can be xor-ed where register numbers cannot
};
/// nullopt unless convert() says rename or select.
std::optional<LocalPlan> plan_local(const Layout& from, const Layout& to);

/// For shuffle: rounds, each one 32-bit word (for elements of 64 bits: two).  In a round a thread packs the elements
/// source_registers[send[e](thread)], e = 0 .. payload-1, into a word, reads the word of lane source(thread), and
/// unpacks it into target_registers[keep[e](thread)].  A local round reads the thread's own lane: registers moves, no
/// shuffle.
struct ShufflePlan {
  struct Round {
    Affine source;
    std::vector<Affine> send, keep;
    bool local;
  };
  std::vector<Round> rounds;
  std::vector<uint32_t> source_registers, target_registers; ///< code -> register
  uint32_t shuffles;                                        ///< rounds that are not local
};
/// nullopt unless convert() says shuffle.
std::optional<ShufflePlan> plan_shuffles(const Layout& from, const Layout& to, unsigned bits);

/// The order of k that makes `accumulator` (whose dim 1 is k) the A operand `a` (whose dim 1 is k) without moving
/// anything: element k of the product is taken where the result says.  order[x] = the k index at which position x of
/// the operand's k axis is found; the other operand's rows must be taken in the same order.  nullopt: no such order.
/// (fp8 and tf32 products after a softmax.)
std::optional<std::vector<uint32_t>> contraction_order(const Layout& accumulator, const Layout& a);

// --- reductions ------------------------------------------------------------------------------------------------------

/// How a tile is reduced over dim: registers first (register r goes into target[r] of slice(dim)), then for every mask
/// in `butterflies` one shuffle-xor and combine of every remaining register, then `warps` partial results through
/// memory: the result lies as `partial` (dim has size warps, on the warp axis); convert it to `gathered` (dim in
/// registers) and combine in the thread.  gathered.slice(dim) is slice(dim) again.  With warps == 1 nothing goes
/// through memory and partial == slice_keep(dim).
struct Reduction {
  uint32_t in_thread;           ///< operations per thread on its own registers
  std::vector<uint32_t> target; ///< register of the tile -> register of slice(dim)
  std::vector<uint32_t> butterflies;
  uint32_t warps;
  Layout partial, gathered;
};
/// nullopt when a digit mixes dim with another one, or reaches it twice: convert to another layout first.
std::optional<Reduction> plan_reduction(const Layout& layout, int dim);

/// A thread holds the first copy of its elements when (lane & lanes) == 0 and all these digits of its warp and cta are
/// 0.  Exactly one thread holds the first copy of an element: the one that stores it.
struct FirstCopy {
  struct PlaceDigit {
    Axis axis; ///< warp or cta
    uint32_t stride, radix;
  };
  uint32_t lanes;
  std::vector<PlaceDigit> digits;
  bool holds(const Place& thread) const;
};
FirstCopy first_copy(const Layout& layout);

// --- coordinates as integer code -------------------------------------------------------------------------------------

/// A number (a coordinate, an offset in shared memory) as code computes it from a place:
///   sum over fields of   weight * (thread part + registers[r]),   or ^ in place of + when exclusive_or,
/// where the thread part combines (by the same + or ^) value * ((place / stride) % radix) of all terms.  `registers`
/// has an entry for every register.  Nearly always there is one field, of weight 1, that adds.
struct Linear {
  struct Term {
    Axis axis; ///< lane, warp or cta
    uint32_t stride, radix, value;
    bool top; ///< the highest digit of its axis: `% radix` may be left out
  };
  struct Field {
    bool exclusive_or;
    uint32_t weight;
    std::vector<Term> terms;
    std::vector<uint32_t> registers;
    uint32_t thread(const Place& place) const;
  };
  std::vector<Field> fields;
  bool adds() const { return fields.size() == 1 && !fields[0].exclusive_or; } ///< thread part + register part
  uint32_t operator()(const Place& place) const;
};
/// The coordinate of a thread's registers along dim.
Linear linear(const Layout& layout, int dim);

/// Bounds checks: coordinate along dim = thread part + register part, so an element is inside `bound` iff thread part <
/// bound - register part: one compare for each entry of register_parts (sorted, distinct), and none where register part
/// + thread_max < bound.  nullopt when a coordinate bit depends on both register and thread (compare per register
/// then).
struct Split {
  uint32_t thread_max;
  std::vector<uint32_t> register_parts;
};
std::optional<Split> split(const Layout& layout, int dim);

// --- global memory ---------------------------------------------------------------------------------------------------

/// Elements per global access along the contiguous dim: at most 16 bytes.  `align`: bytes known of the base address;
/// `divisor`: a number that divides every other stride, the tile's origin along dim and, when masked, the bound, all in
/// elements (0: no limit).
unsigned global_vector(const Layout& layout, int dim, unsigned bits, unsigned align, uint32_t divisor);
/// The registers of each access, elements in the order of dim: entry g * vector + e is the register of element e of
/// access g, and the coordinate of entry g * vector is a multiple of vector in every thread.  `vector` divides what
/// global_vector allows.
std::vector<uint32_t> vector_registers(const Layout& layout, int dim, unsigned vector);

} // namespace tilejit::layout
