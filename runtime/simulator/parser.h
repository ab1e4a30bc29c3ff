// parser.h - the recursive-descent parser behind `parse` (ast.h).
//
// One class in four files: what all share and constant expressions (parser.cpp), the module's directives and variables
// (parser_module.cpp), functions and statements (parser_function.cpp), operands (parser_operand.cpp). The first error
// ends the parse with an exception.
#pragma once
#include "runtime/simulator/forms.h"
#include "runtime/simulator/lexer.h"
#include "runtime/simulator/words.h"

#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

namespace tilejit::runtime::simulator {

inline constexpr size_t max_file_bytes = size_t{64} << 20;
inline constexpr size_t max_nesting = 64;
inline constexpr size_t max_operands = 512;
inline constexpr uint64_t max_registers = 1'000'000;
inline constexpr uint64_t max_variable_bytes = uint64_t{4} << 30;
inline constexpr uint64_t max_shared_bytes = 228 * 1024;
inline constexpr uint64_t max_initialized_bytes = uint64_t{256} << 20; ///< of all variables of a file together

class Parser {
public:
  explicit Parser(std::string_view ptx);
  Module run();

private:
  // --- shared (parser.cpp)
  struct Symbol {
    enum class Kind : uint8_t { reg, vector_register, variable, function, prototype } kind = Kind::reg;
    uint32_t index = none;
    uint32_t count = 1; ///< registers of a vector register: index, index + 1, ...
  };
  struct RegisterRange {
    Type type = Type::none;
    uint64_t count = 0;
  };
  struct Scope {
    std::unordered_map<std::string_view, Symbol> symbols;
    std::unordered_map<std::string_view, RegisterRange> ranges; ///< by prefix: `.reg .b32 %r<9>` is "%r" -> 9
    std::unordered_map<std::string_view, uint32_t> labels;      ///< Function::labels
    std::unordered_map<std::string_view, uint32_t> branch_tables, call_tables; ///< Function::tables
    size_t first_pending = 0; ///< pending_ from here on belongs to this scope
  };
  /// A label that was named before its scope was complete: in Function::pool or in Function::tables.
  struct Pending {
    std::string_view name;
    uint32_t line, column;
    uint32_t operand = none;
    uint32_t table = none, entry = none;
  };
  struct Constant {
    enum class Kind : uint8_t { integer, floating } kind = Kind::integer;
    bool is_unsigned = false;
    bool is_single = false; ///< a lone 0f...: `single` has its bits, which a NaN would lose on the way through a double
    uint32_t single = 0;
    uint64_t bits = 0; ///< of the integer or the double
    double as_double() const;
  };

  const Token& token() const { return lexer_.token(); }
  [[noreturn]] void fail(const std::string& what) const;
  [[noreturn]] void fail(const Token& where, const std::string& what) const;
  [[noreturn]] void fail_expected(std::string_view what) const;
  bool accept(std::string_view punctuation);
  bool accept_word(std::string_view word);
  void expect(std::string_view punctuation);
  Token take_identifier(std::string_view what);
  uint64_t take_integer(std::string_view what, uint64_t max);
  int64_t take_signed(std::string_view what);
  void skip_balanced(std::string_view open, std::string_view close);
  Constant constant(size_t depth = 0);
  Constant conditional(size_t depth);
  Constant binary(int level, size_t depth);
  static std::optional<Constant> operate(std::string_view op, double x, double y);
  static std::optional<Constant> operate(std::string_view op, const Constant& a, const Constant& b);
  Constant unary(size_t depth);

  Function& function() { return module_.functions[function_]; }
  const Symbol* find_symbol(std::string_view name);
  void declare(const Token& name, Symbol symbol);

  // --- module (parser_module.cpp)
  void header();
  void module_statement();
  void directive_file();
  void directive_section();
  void skip_pragma();
  Linkage linkage();
  /// `.align 16 .b8 name[4][8] = {...}, ...;` after its space.
  void variables(Space space, Linkage linkage);
  uint32_t variable(Space space, Linkage linkage, Type type, uint32_t vector, uint32_t align);
  uint32_t vector_width();
  void initializer(Variable& variable, std::span<const uint64_t> dims, Type type, uint32_t vector, uint64_t& offset,
                   size_t depth);
  void initial_value(Variable& variable, Type type, uint64_t offset);
  void put(Variable& variable, uint64_t offset, uint32_t bytes, uint64_t value);

  // --- functions (parser_function.cpp)
  void function_declaration(Linkage linkage, bool is_entry);
  void parameter_list(std::vector<Parameter>& list, bool is_entry);
  Parameter parameter(bool is_entry);
  void function_directives();
  void body();
  void statement();
  void open_scope();
  void close_scope(bool last);
  void registers();
  void label_or_table();
  void table(const Token& name, bool of_labels);
  void call_prototype(const Token& name);
  void location();
  uint32_t add_register(std::string_view name, Type type);
  void instruction();
  bool resolve(const Pending& pending);
  void resolve_all(bool last);
  uint64_t place_in_frame(uint64_t& frame, uint64_t bytes, uint32_t align);

  // --- operands (parser_operand.cpp)
  Operand operand(size_t depth = 0);
  Operand named_operand();
  Operand address(size_t depth);
  Operand elements(std::string_view close, Operand::Kind kind, size_t depth);
  Operand call_operand();
  Operand label_operand(Operand::Kind kind, size_t position);
  Operand store(Operand::Kind kind, size_t first);
  Operand immediate(const Constant& constant);

  Lexer lexer_;
  Module module_;
  FormMatcher matcher_;
  std::vector<Scope> scopes_; ///< [0] is the module's
  std::vector<Pending> pending_;
  std::vector<Pending> unresolved_; ///< labels of the instruction at hand: `operand` counts its operands
  std::vector<Operand> scratch_;    ///< operands that are not yet in the pool
  std::unordered_map<std::string_view, uint32_t> functions_;
  uint32_t function_ = none;
  uint32_t location_ = none;
  uint64_t declared_registers_ = 0, initialized_bytes_ = 0;
  std::map<std::array<uint32_t, 4>, uint32_t> locations_;
};

} // namespace tilejit::runtime::simulator
