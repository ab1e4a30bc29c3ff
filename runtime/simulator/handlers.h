// handlers.h - the handlers of one instruction set, as lowering sees them.
//
// exec_*.cpp are compiled once for each level of x86-64 (TILEJIT_ISA = v2, v3, v4); each copy exports its choosers
// under its own names. `handlers()` gives those that this machine runs, or those that TILEJIT_SIMULATOR_ISA names.
// Results are the same bit for bit. What is rare exists only at the lowest level (TILEJIT_EVERYTHING): a chooser of
// `handlers()` that has no handler of its own level asks that one.
#pragma once
#include "runtime/simulator/program.h"

namespace tilejit::runtime::simulator {

/// Steps that lowering needs and that are no instruction of their own.
enum class Helper : uint8_t {
  splat32,
  splat64, ///< a row of a scalar
  pack64,
  pack32,
  pack16, ///< {a, b} with a in the low half: of 32, 16, 8 bits each
  low,
  high, ///< half of a 64-bit row
  predicate_move,
  predicate_not,
  predicate_and,
  predicate_or,
  predicate_xor, ///< imm, aux: xor masks of a, b
};

/// `aux` of a conversion: how it rounds (none, .rn, .rni: 0), and what else its rarer handlers are told at run time.
enum ConvertMode : uint32_t {
  convert_rounding = 3, ///< 0 nearest, 1 to zero, 2 down, 3 up
  convert_sat = 4,
  convert_ftz = 8,
  convert_integral = 16, ///< to an integral value
};

/// Where a matrix lies in shared memory, as core matrices of 8 rows of 16 bytes: row r of half g of k of group m of 8
/// is at memory + at[m % period][g][r] + m / period * far, where the period is 1 << shift. A row is one of M or N;
/// transposed, one of k.
struct SharedMatrix {
  const uint8_t* memory;
  uint32_t shift, far;
  uint32_t at[32][2][8];
};
enum class Result : uint8_t { f32, f16, s32, s32_saturated };
/// Beside the halves of k in the fields of mma.sync.
inline constexpr uint32_t product_exact = 256;

/// D = A B + C for a tile of 16 x 8 with float results, as an H200 sums it: exec_exact.cpp.
struct ExactTile {
  uint8_t* file;
  const uint32_t *c, *d; ///< offsets of their rows in the file
  const float *a, *b;    ///< panels: mma_tile.h
  int steps;
  Result result;
  bool adds;            ///< C counts
  int digits, kept;     ///< below the greatest power of two, and of the sum
  int least_a, least_b; ///< exponents of A's and B's type
  /// Panels of the powers of two of A and B, where all are finite and of 8 bits, and this is wgmma; else null.
  const float *a_powers, *b_powers;
};

/// What wgmma computes: 64 rows, sixteen of each warp, by 8 * groups columns and 32 bytes of k.
struct WarpgroupProduct {
  Type a_type, b_type;
  Result result;
  uint32_t groups;
  bool adds, negate, transpose_a, transpose_b, exact; ///< exact: as ExactTile
  const uint8_t* a_registers[4][4];                   ///< by warp; null: A is in shared memory
  SharedMatrix a, b;
  uint8_t* files[4];    ///< by warp
  const uint32_t* rows; ///< offsets of D's rows in a file
};
/// `count` products that follow one another, all but the first adding to the D of that: of the same types, shape and
/// rows. Their k, together, at most `max_product_steps`.
using WarpgroupKernel = void (*)(const WarpgroupProduct*, uint32_t count);
inline constexpr uint32_t max_product_steps = 64;

/// Where the lanes' bytes of an access lie that is of all lanes, in one piece of memory of less than 2 GB.
struct Together {
  uint8_t* base = nullptr;
  bool contiguous = false;     ///< each lane's bytes follow those of the lane before, from `base` on
  alignas(64) uint32_t at[32]; ///< else where they are, from `base`
};
/// What a load or store does once that is known.
using Moving = const Insn* (*)(Warp*, const Insn* access, const Together&);

struct Handlers {
  const char* name;
  /// Each gives the handler of the form, or null: not here, or not for these kinds of operands.
  Fn (*select_int)(const Request&);
  Fn (*select_float)(const Request&);
  Fn (*select_half)(const Request&);
  Fn (*select_convert)(const Request&);
  Fn (*select_move)(const Request&);   ///< mov, selp, predicates, shuffles, votes
  Fn (*select_memory)(const Request&); ///< ld, st, atom, red, cp.async
  Moving (*select_moving)(const Request&);
  Fn (*select_matrix)(const Request&);      ///< ldmatrix, stmatrix, movmatrix
  Fn (*select_matrix_more)(const Request&); ///< mma of f64 and single bits, wmma
  /// add.cc and its kin: the carry that goes out (a predicate), or the sum.
  Fn (*select_carry)(bool out, bool subtract, bool wide);
  Fn (*select_helper)(Helper);
  Fn masked32, masked64, masked_predicate, skip; ///< the next instruction under a mask, see exec_move.cpp
  Fn mma;                                        ///< mma.sync of all other types
  WarpgroupKernel wgmma;
};
const Handlers& handlers();
WarpgroupKernel wgmma_kernel_v4();
WarpgroupKernel amx_wgmma_kernel(); ///< for a CPU with AMX, else as v4 (exec_amx.cpp)

#ifdef TILEJIT_ISA
#define ISA_NAME_(name, isa) name##_##isa
#define ISA_NAME(name, isa) ISA_NAME_(name, isa)
#define ISA(name) ISA_NAME(name, TILEJIT_ISA)
Fn ISA(select_int)(const Request&);
Fn ISA(select_float)(const Request&);
Fn ISA(select_half)(const Request&);
Fn ISA(select_convert)(const Request&);
Fn ISA(select_move)(const Request&);
Fn ISA(select_memory)(const Request&);
Moving ISA(select_moving)(const Request&);
Fn ISA(select_matrix)(const Request&);
Fn ISA(select_matrix_more)(const Request&);
Fn ISA(select_carry)(bool out, bool subtract, bool wide);
Fn ISA(select_helper)(Helper);
Fn ISA(mma_handler)();
void ISA(multiply_exactly)(const ExactTile&);
WarpgroupKernel ISA(wgmma_kernel)();
const Handlers& ISA(handlers)();
#endif

} // namespace tilejit::runtime::simulator
