// lexer.cpp - see lexer.h.
#include "runtime/simulator/lexer.h"

#include "runtime/device.h"

#include <bit>
#include <charconv>

namespace tilejit::runtime::simulator {
namespace {

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool follows(char c) { return is_letter(c) || is_digit(c) || c == '_' || c == '$'; }
int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

} // namespace

void fail_at(uint32_t line, uint32_t column, const std::string& what) {
  throw Error("line " + std::to_string(line) + ", column " + std::to_string(column) + ": " + what);
}

void Lexer::fail(const std::string& what) const {
  fail_at(line_, static_cast<uint32_t>(position_ - line_start_ + 1), what);
}

void Lexer::skip_blanks() {
  while (position_ < text_.size()) {
    char c = text_[position_];
    if (c == '\n') {
      ++position_, ++line_;
      line_start_ = position_;
    } else if (c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v') {
      ++position_;
    } else if ((c == '/' && at(position_ + 1) == '/') || (c == '#' && position_ == line_start_)) {
      while (position_ < text_.size() && text_[position_] != '\n') ++position_;
    } else if (c == '/' && at(position_ + 1) == '*') {
      uint32_t line = line_, column = static_cast<uint32_t>(position_ - line_start_ + 1);
      for (position_ += 2; !(at(position_) == '*' && at(position_ + 1) == '/'); ++position_) {
        if (position_ >= text_.size()) fail_at(line, column, "this comment has no end");
        if (text_[position_] == '\n') ++line_, line_start_ = position_ + 1;
      }
      position_ += 2;
    } else {
      break;
    }
  }
}

Token Lexer::peek() const {
  Lexer ahead = *this;
  ahead.advance();
  return ahead.token_;
}

void Lexer::advance() {
  skip_blanks();
  token_ = Token{};
  token_.line = line_;
  token_.column = static_cast<uint32_t>(position_ - line_start_ + 1);
  if (position_ >= text_.size()) return;
  size_t begin = position_;
  char c = text_[position_];
  if (is_letter(c) || c == '_' || c == '$' || (c == '%' && follows(at(position_ + 1)))) {
    ++position_;
    while (follows(at(position_))) ++position_;
    token_.kind = Token::Kind::identifier;
  } else if (c == '.' && follows(at(position_ + 1)) && !is_digit(at(position_ + 1))) {
    ++position_;
    while (follows(at(position_)) || (at(position_) == ':' && at(position_ + 1) == ':' && follows(at(position_ + 2))))
      position_ += at(position_) == ':' ? 2 : 1;
    token_.kind = Token::Kind::dot_word;
  } else if (is_digit(c) || (c == '.' && is_digit(at(position_ + 1)))) {
    number();
  } else if (c == '"') {
    for (++position_; at(position_) != '"'; ++position_) {
      if (position_ >= text_.size() || text_[position_] == '\n') fail("this string has no end");
      if (text_[position_] == '\\' && at(position_ + 1) != '\n') ++position_;
    }
    token_.kind = Token::Kind::string;
    token_.text = text_.substr(begin + 1, position_ - begin - 1);
    ++position_;
    return;
  } else {
    static constexpr std::string_view pairs[] = {"<<", ">>", "==", "!=", "<=", ">=", "&&", "||", "@@"};
    static constexpr std::string_view singles = "{}()[],;:@!|+-*/%&^~<>=?";
    token_.kind = Token::Kind::punctuation;
    size_t length = 0;
    for (std::string_view p : pairs)
      if (text_.substr(position_, 2) == p) length = 2;
    if (length == 0 && singles.find(c) != std::string_view::npos) length = 1;
    if (length == 0) {
      static constexpr char digits[] = "0123456789abcdef";
      auto byte = static_cast<unsigned char>(c);
      if (byte >= 0x20 && byte < 0x7f) fail(std::string("'") + c + "' has no meaning here");
      fail(std::string("byte 0x") + digits[byte >> 4] + digits[byte & 15] + " has no meaning here; PTX is ASCII text");
    }
    position_ += length;
  }
  token_.text = text_.substr(begin, position_ - begin);
  if (token_.text.size() > max_name_bytes)
    fail_at(token_.line, token_.column, "this word has more than 4096 characters");
}

// 4.5.1, 4.5.2: 12, 012, 0x1f, 0b101, each with an optional U; 0fXXXXXXXX, 0dXXXXXXXXXXXXXXXX, 1.5, 1e-3.
void Lexer::number() {
  size_t begin = position_;
  char prefix = at(position_) == '0' ? at(position_ + 1) : '\0';
  if (prefix == 'f' || prefix == 'F' || prefix == 'd' || prefix == 'D') {
    bool single = prefix == 'f' || prefix == 'F';
    position_ += 2;
    int digits = 0;
    for (; hex_digit(at(position_)) >= 0; ++position_, ++digits)
      token_.value = token_.value << 4 | static_cast<uint64_t>(hex_digit(text_[position_]));
    if (digits != (single ? 8 : 16)) fail(single ? "0f takes 8 hexadecimal digits" : "0d takes 16 hexadecimal digits");
    token_.kind = single ? Token::Kind::float32 : Token::Kind::float64;
    return;
  }
  token_.kind = Token::Kind::integer;
  uint64_t base = 10;
  if (prefix == 'x' || prefix == 'X')
    base = 16, position_ += 2;
  else if (prefix == 'b' || prefix == 'B')
    base = 2, position_ += 2;
  if (base == 10) {
    size_t end = position_;
    while (is_digit(at(end))) ++end;
    bool exponent = (at(end) == 'e' || at(end) == 'E') &&
                    (is_digit(at(end + 1)) || ((at(end + 1) == '-' || at(end + 1) == '+') && is_digit(at(end + 2))));
    if (exponent || (at(end) == '.' && !is_letter(at(end + 1)))) {
      double value = 0;
      auto [p, error] = std::from_chars(text_.data() + position_, text_.data() + text_.size(), value);
      if (error != std::errc()) fail("this number does not fit a double");
      position_ = static_cast<size_t>(p - text_.data());
      token_.kind = Token::Kind::float64;
      token_.value = std::bit_cast<uint64_t>(value);
      return;
    }
    if (prefix && is_digit(prefix)) base = 8;
  }
  size_t first = position_;
  for (int digit; (digit = hex_digit(at(position_))) >= 0 && (digit < 10 || base == 16); ++position_) {
    if (static_cast<uint64_t>(digit) >= base)
      fail("this digit does not belong to a number of base " + std::to_string(base));
    if (token_.value > (~0ull - static_cast<uint64_t>(digit)) / base) fail("this number does not fit 64 bits");
    token_.value = token_.value * base + static_cast<uint64_t>(digit);
  }
  if (position_ == first) fail("a number has no digits");
  token_.is_unsigned = token_.value >> 63;
  if (at(position_) == 'U') token_.is_unsigned = true, ++position_;
  if (follows(at(position_))) fail("'" + std::string(text_.substr(begin, position_ + 1 - begin)) + "' is not a number");
}

void Lexer::extend_opcode() {
  size_t begin = static_cast<size_t>(token_.text.data() - text_.data());
  while (at(position_) == '.' && follows(at(position_ + 1))) {
    ++position_;
    while (follows(at(position_)) || (at(position_) == ':' && at(position_ + 1) == ':' && follows(at(position_ + 2))))
      position_ += at(position_) == ':' ? 2 : 1;
  }
  token_.text = text_.substr(begin, position_ - begin);
  if (token_.text.size() > max_name_bytes)
    fail_at(token_.line, token_.column, "this word has more than 4096 characters");
}

} // namespace tilejit::runtime::simulator
