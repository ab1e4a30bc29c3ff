// lexer.h - PTX text as tokens. PTX ISA, 4 "Syntax".
//
// A token is a view of the text. Opcodes with their modifiers are one token when asked for with `opcode()`, since only
// the parser knows where an instruction begins.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace tilejit::runtime::simulator {

struct Token {
  enum class Kind : uint8_t {
    end,
    identifier,  ///< name, %register, $label, _
    dot_word,    ///< ".b32", ".shared::cta": text with its dot
    integer,     ///< value; is_unsigned: ends in U or does not fit 63 bits
    float32,     ///< 0f...: value holds the 32 bits
    float64,     ///< 0d... or decimal: value holds the 64 bits
    string,      ///< text without its quotes
    punctuation, ///< one or two characters
  };
  Kind kind = Kind::end;
  bool is_unsigned = false;
  std::string_view text;
  uint64_t value = 0;
  uint32_t line = 1, column = 1;

  bool is(std::string_view punctuation) const { return kind == Kind::punctuation && text == punctuation; }
  bool is_word(std::string_view word) const { return kind == Kind::dot_word && text == word; }
};

/// "line 3, column 7: what": the one form of every message about a place in PTX text.
[[noreturn]] void fail_at(uint32_t line, uint32_t column, const std::string& what);
inline constexpr size_t max_name_bytes = 4096;

class Lexer {
public:
  explicit Lexer(std::string_view text) : text_(text) { advance(); }
  /// The token at hand.
  const Token& token() const { return token_; }
  /// The one after it.
  Token peek() const;
  void advance();
  /// Widens the token at hand, an identifier, to an opcode with all its modifiers.
  void extend_opcode();

private:
  void skip_blanks();
  void number();
  [[noreturn]] void fail(const std::string& what) const;
  char at(size_t i) const { return i < text_.size() ? text_[i] : '\0'; }

  std::string_view text_;
  size_t position_ = 0, line_start_ = 0;
  uint32_t line_ = 1;
  Token token_;
};

} // namespace tilejit::runtime::simulator
