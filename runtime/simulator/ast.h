// ast.h - a PTX file as data: what `parse` makes of the text, and what every later stage reads.
//
// text -> tokens -> Module (this file) -> form of every instruction (forms.h) -> control-flow graph (cfg.h) ->
// liveness and rows (liveness.h), uniformity (uniform.h) -> decoded program.
//
// A function's body is flat: one array of instructions in text order; labels are positions in it; `{ }` scopes,
// register ranges and vector registers are resolved, so that a register, a variable, a label and a function are plain
// numbers. Lists (vector elements, call arguments, operands of an instruction) lie in one pool a function. Names are
// views of the module's own copy of the text.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tilejit::runtime::simulator {

inline constexpr uint32_t none = ~0u; ///< "no such register, label, ..."

// --- words -----------------------------------------------------------------------------------------------------------

enum class Type : uint8_t {
  none,
#define T(id, text, bits, kind) id,
#include "runtime/simulator/words.def"
#undef T
};
enum class TypeKind : uint8_t { none, bits, unsigned_integer, signed_integer, floating, predicate, opaque };
uint32_t bits_of(Type type); ///< bits of a register of this type (packed types: of the whole pack); none: 0
TypeKind kind_of(Type type);
std::string_view name_of(Type type); ///< "f16x2", without the dot
inline uint32_t bytes_of(Type type) { return (bits_of(type) + 7) / 8; }
inline bool is_signed(Type type) { return kind_of(type) == TypeKind::signed_integer; }
inline bool is_float(Type type) { return kind_of(type) == TypeKind::floating; }

/// Every word that may follow an opcode and is not a type.
enum class Mod : uint16_t {
  unknown, ///< a word that words.def does not know
#define M(id, text) id,
#include "runtime/simulator/words.def"
#undef M
};
std::string_view name_of(Mod mod);

enum class Special : uint8_t {
#define S(id, text, type, components) id,
#include "runtime/simulator/words.def"
#undef S
};
std::string_view name_of(Special special); ///< with its %
Type type_of(Special special);

enum class Space : uint8_t { generic, reg, global, shared, local, param, constant };
std::string_view name_of(Space space);

enum class Form : uint16_t; ///< a row of forms.def; declared in forms.h

// --- operands --------------------------------------------------------------------------------------------------------

struct Operand {
  enum class Kind : uint8_t {
    sink,      ///< `_`: nothing is written, or no value given
    reg,       ///< index: Function::registers; negated: `!p`
    special,   ///< index: Special; component 0..2 for .x .y .z (vector specials only)
    integer,   ///< value
    float32,   ///< value: the 32 bits (0fXXXXXXXX)
    float64,   ///< value: the 64 bits (0dXXXXXXXXXXXXXXXX or 1.5)
    variable,  ///< the address of Module::variables[index] plus value, in the variable's own space
    function,  ///< the address of Module::functions[index]
    label,     ///< Function::labels[index]
    targets,   ///< Function::tables[index]: a .branchtargets list
    prototype, ///< Module::functions[index] without a body: a .callprototype, or .calltargets (tables[index] then)
    vector,    ///< {a, b, ...}: elements
    pair,      ///< d|p: two elements
    address,   ///< [base + value]: base tells what `index` is: reg, variable, or integer (absolute). Elements: the
               ///< coordinates of a tensor address [map, {c0, c1}] and what else follows the first comma
    list,      ///< ( ... ) of a call: elements
  };
  enum class Use : uint8_t { read, write, read_write };

  Kind kind = Kind::sink;
  bool negated = false;
  uint8_t component = 0;
  Kind base = Kind::integer;
  // What the form says about the operand (elements of vectors, pairs and lists included), once the form is known. Float
  // immediates then have the width of their type, and integers are as written.
  Use use = Use::read;
  char role = 0;          ///< its letter in forms.def: 'd', 'a', 'b', ...
  Type type = Type::none; ///< none: an address, a label, a function, a list
  uint32_t index = none;
  uint32_t first = 0, count = 0; ///< elements: Function::pool[first .. first + count)
  int64_t value = 0;

  bool is(Kind k) const { return kind == k; }
  bool is_immediate() const { return kind == Kind::integer || kind == Kind::float32 || kind == Kind::float64; }
};

// --- instructions ----------------------------------------------------------------------------------------------------

struct Shape {
  uint16_t m = 0, n = 0, k = 0;
  bool operator==(const Shape&) const = default;
};

struct Instruction {
  static constexpr size_t max_mods = 14, max_types = 6;

  Form form{};      ///< Form::unknown until a row of forms.def fits
  uint16_t row = 0; ///< that row: all_forms()[row]
  uint8_t mod_count = 0, type_count = 0;
  std::array<Mod, max_mods> mods{};    ///< in the order of the text, without the opcode's own words and the types
  std::array<Type, max_types> types{}; ///< in the order of the text
  Shape shape;                         ///< .m16n8k16, .m64n128k16, .m8n8 (k 0)
  bool guard_negated = false;          ///< @!p
  uint32_t guard = none;               ///< register of @p
  uint32_t first = 0, count = 0;       ///< operands: Function::pool
  uint32_t line = 0, column = 0;       ///< in the PTX, from 1
  uint32_t location = none;            ///< Module::locations: the C++ place of the last .loc
  std::string_view text;               ///< "mma.sync.aligned.m16n8k16...": opcode with all modifiers

  bool has(Mod mod) const {
    for (size_t i = 0; i < mod_count; ++i)
      if (mods[i] == mod) return true;
    return false;
  }
  /// The first of `set` that is present, in the order of the text; Mod::unknown where there is none.
  Mod any_of(std::initializer_list<Mod> set) const {
    for (size_t i = 0; i < mod_count; ++i)
      for (Mod m : set)
        if (mods[i] == m) return m;
    return Mod::unknown;
  }
  Type type(size_t i = 0) const { return i < type_count ? types[i] : Type::none; }
  Mod rounding() const {
    return any_of({Mod::rn, Mod::rz, Mod::rm, Mod::rp, Mod::rna, Mod::rs, Mod::rni, Mod::rzi, Mod::rmi, Mod::rpi});
  }
  Mod comparison() const {
    return any_of({Mod::eq, Mod::ne, Mod::lt, Mod::le, Mod::gt, Mod::ge, Mod::lo, Mod::ls, Mod::hi, Mod::hs, Mod::equ,
                   Mod::neu, Mod::ltu, Mod::leu, Mod::gtu, Mod::geu, Mod::num, Mod::nan});
  }
  uint32_t vector_length() const { ///< of .v2, .v4, .v8; 1 without
    return has(Mod::v2) ? 2 : has(Mod::v4) ? 4 : has(Mod::v8) ? 8 : has(Mod::v16) ? 16 : has(Mod::v32) ? 32 : 1;
  }
  /// State space number `n` among the space modifiers (cp.async.shared.global: 0 shared, 1 global); generic where none.
  Space space(size_t n = 0) const;
};

// --- declarations ----------------------------------------------------------------------------------------------------

/// A virtual register of a function. `.v2`/`.v4` registers are split into their components.
struct Register {
  std::string_view name; ///< "%r17"
  Type type = Type::none;
};

enum class Linkage : uint8_t { internal, visible, external, weak, common };

/// A pointer in an initializer: at byte `offset`, `bytes` wide, the address of `variable` or of `function` plus
/// `addend`.
struct Relocation {
  uint64_t offset = 0;
  uint32_t bytes = 8;
  uint32_t variable = none, function = none;
  bool generic = false; ///< generic(x): a generic address, else one in the variable's own space
  uint8_t shift = 0;    ///< mask operators 0xFF00(x): bits to the right
  int64_t addend = 0;
};

struct Variable {
  std::string_view name;
  Space space = Space::global;
  Type type = Type::none; ///< of an element
  uint64_t bytes = 0;     ///< 0: an open array `x[]` (dynamic shared memory, or an extern)
  uint32_t align = 1;
  uint64_t offset = 0;      ///< local, param: in the function's frame. global, constant, shared: unset
  uint32_t function = none; ///< the function that declares it; none: the module
  Linkage linkage = Linkage::internal;
  std::vector<uint8_t> data; ///< the initializer's bytes (the rest is zero)
  std::vector<Relocation> relocations;
  bool is_pointer = false; ///< `.param .u64 .ptr .global .align 16 x`
  uint32_t line = 0;
};

struct Label {
  std::string_view name;
  uint32_t position = none; ///< index into Function::body; body.size() at the end
};

/// A parameter or return value of a function: a `.param` variable, or a `.reg` of .func's older ABI.
struct Parameter {
  uint32_t variable = none;
  uint32_t reg = none;
};

struct Function {
  std::string_view name;
  bool is_entry = false;
  bool is_prototype = false; ///< no body: .extern, a forward declaration that never came, .callprototype
  bool no_return = false;
  Linkage linkage = Linkage::internal;
  std::vector<Parameter> parameters, results;
  std::array<uint32_t, 3> max_threads{}, required_threads{},
      cluster{}; ///< .maxntid .reqntid .reqnctapercluster; 0: unset
  uint32_t min_blocks_per_sm = 0, max_registers = 0;
  uint64_t param_bytes = 0; ///< .param variables: an entry's parameter block; a .func's frame of arguments, results and
                            ///< the .param variables that its calls use
  uint64_t local_bytes = 0; ///< .local variables, per thread
  uint32_t local_align = 1;

  std::vector<Register> registers; ///< only those that the body names
  std::vector<Label> labels;
  std::vector<std::vector<uint32_t>> tables; ///< .branchtargets: labels; .calltargets: functions
  std::vector<Instruction> body;
  std::vector<Operand> pool;
  uint32_t line = 0;

  std::span<const Operand> operands(const Instruction& i) const { return {pool.data() + i.first, i.count}; }
  std::span<const Operand> elements(const Operand& o) const { return {pool.data() + o.first, o.count}; }
  /// The operand with that letter in forms.def; null where it was left out.
  const Operand* operand(const Instruction& i, char role) const {
    for (const Operand& o : operands(i))
      if (o.role == role) return &o;
    return nullptr;
  }
};

/// A place in the C++ (or whatever) source: `.loc file line column`, with the place it was inlined at.
struct Location {
  uint32_t file = 0; ///< index into Module::files
  uint32_t line = 0, column = 0;
  uint32_t inlined_at = none; ///< Module::locations
  bool operator==(const Location&) const = default;
};

struct Module {
  std::shared_ptr<const std::string> text; ///< owns all names
  uint32_t version = 0;                    ///< .version 8.7 -> 87
  std::string_view target;                 ///< "sm_90a"
  uint32_t address_bits = 64;
  std::vector<Function> functions;
  std::vector<Variable> variables; ///< of the module and of all functions
  std::vector<std::string> files;  ///< .file by number; empty where a number was not used
  std::vector<Location> locations;
  std::vector<size_t> line_begins; ///< in the text

  /// The function of that name with a body (or a prototype where there is none); `none` where there is no such name.
  uint32_t find_function(std::string_view name) const;
  /// "attention.cpp:71:5", with ", inlined at ..." where it was; empty for `none`.
  std::string describe(uint32_t location) const;
  /// Line `line` of the PTX, without leading and trailing blanks.
  std::string_view source_line(uint32_t line) const;
};

/// Reads a PTX file: PTX ISA "Source format" and "Directives". Throws runtime::Error "line 3, column 7: ..." for the
/// first thing that is wrong: grammar, unknown names, operands that do not fit their instruction, files over 64 MB,
/// more than a million registers, names over 4 KB, variables over 4 GB. An instruction that no row of forms.def fits is
/// no error here: see `require_known_forms`.
Module parse(std::string_view ptx);

// --- what an entry reaches -------------------------------------------------------------------------------------------

/// `entry` and every function it may call, in order of first call. A function whose address is taken counts as called.
std::vector<uint32_t> reachable_functions(const Module& module, uint32_t entry);

/// Where the shared variables that an entry may touch lie in a block's shared memory.
struct SharedLayout {
  std::vector<uint64_t> offset; ///< by variable; meaningful for reachable shared variables
  uint64_t static_bytes = 0;    ///< dynamic shared memory begins here (all `.extern .shared x[]` share that address)
};
SharedLayout layout_shared(const Module& module, uint32_t entry);

/// Throws one Error that lists every instruction reachable from `entry` whose form is unknown, each as
/// "line 71: 'mma.sp...' is not known to the simulator (nearest: ...)".
void require_known_forms(const Module& module, uint32_t entry);

} // namespace tilejit::runtime::simulator
