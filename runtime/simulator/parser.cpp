// parser.cpp - the parser's tools: tokens, names, constant expressions. See parser.h.
#include "runtime/simulator/parser.h"

#include "runtime/device.h"

#include <bit>
#include <limits>

namespace tilejit::runtime::simulator {

Module parse(std::string_view ptx) {
  if (ptx.size() > max_file_bytes) throw Error("this PTX has more than 64 MB");
  return Parser(ptx).run();
}

namespace {
std::shared_ptr<const std::string> own(std::string_view text) { return std::make_shared<const std::string>(text); }
} // namespace

Parser::Parser(std::string_view ptx) : lexer_({}), module_{.text = own(ptx)} {
  // Drivers hand out PTX as C strings, and some files carry the final NUL.
  std::string_view text = *module_.text;
  module_.line_begins.push_back(0);
  for (size_t end = text.find('\n'); end != text.npos; end = text.find('\n', end + 1))
    module_.line_begins.push_back(end + 1);
  while (!text.empty() && text.back() == '\0') text.remove_suffix(1);
  lexer_ = Lexer(text);
  scopes_.emplace_back();
}

Module Parser::run() {
  header();
  while (token().kind != Token::Kind::end) module_statement();
  return std::move(module_);
}

void Parser::fail(const Token& where, const std::string& what) const { fail_at(where.line, where.column, what); }
void Parser::fail(const std::string& what) const { fail(token(), what); }

void Parser::fail_expected(std::string_view what) const {
  std::string found = token().kind == Token::Kind::end ? "the file ends here"
                                                       : "found '" + std::string(token().text.substr(0, 80)) + "'";
  fail("expected " + std::string(what) + ", " + found);
}

bool Parser::accept(std::string_view punctuation) {
  if (!token().is(punctuation)) return false;
  lexer_.advance();
  return true;
}
bool Parser::accept_word(std::string_view word) {
  if (!token().is_word(word)) return false;
  lexer_.advance();
  return true;
}
void Parser::expect(std::string_view punctuation) {
  if (!accept(punctuation)) fail_expected("'" + std::string(punctuation) + "'");
}

Token Parser::take_identifier(std::string_view what) {
  if (token().kind != Token::Kind::identifier) fail_expected(what);
  Token name = token();
  lexer_.advance();
  return name;
}

uint64_t Parser::take_integer(std::string_view what, uint64_t max) {
  Token where = token();
  Constant value = constant();
  if (value.kind != Constant::Kind::integer) fail(where, std::string(what) + " must be an integer");
  if (!value.is_unsigned && static_cast<int64_t>(value.bits) < 0)
    fail(where, std::string(what) + " must not be negative");
  if (value.bits > max) fail(where, std::string(what) + " must be at most " + std::to_string(max));
  return value.bits;
}

int64_t Parser::take_signed(std::string_view what) {
  Token where = token();
  Constant value = constant();
  if (value.kind != Constant::Kind::integer) fail(where, std::string(what) + " must be an integer");
  return static_cast<int64_t>(value.bits);
}

void Parser::skip_balanced(std::string_view open, std::string_view close) {
  Token first = token();
  expect(open);
  for (size_t depth = 1; depth > 0; lexer_.advance()) {
    if (token().kind == Token::Kind::end) fail(first, "this '" + std::string(open) + "' is never closed");
    if (token().is(open)) ++depth;
    if (token().is(close)) --depth;
  }
}

// --- constant expressions --------------------------------------------------------------------------------------------
// 4.5.3 to 4.5.6: integers have 64 bits and are unsigned where one operand is; comparisons give signed 0 and 1. Floats
// are doubles.

double Parser::Constant::as_double() const {
  if (kind == Kind::floating) return std::bit_cast<double>(bits);
  return is_unsigned ? static_cast<double>(bits) : static_cast<double>(static_cast<int64_t>(bits));
}

Parser::Constant Parser::constant(size_t depth) { return conditional(depth); }

Parser::Constant Parser::conditional(size_t depth) {
  if (depth > max_nesting) fail("this expression is nested more than 64 deep");
  Constant condition = binary(0, depth);
  if (!accept("?")) return condition;
  Constant yes = conditional(depth + 1);
  expect(":");
  Constant no = conditional(depth + 1);
  bool take = condition.kind == Constant::Kind::integer ? condition.bits != 0 : condition.as_double() != 0;
  return take ? yes : no;
}

/// Nothing: the operator takes integers.
std::optional<Parser::Constant> Parser::operate(std::string_view op, double x, double y) {
  const auto floating = [](double value) {
    return Constant{.kind = Constant::Kind::floating, .bits = std::bit_cast<uint64_t>(value)};
  };
  const auto truth = [](bool value) { return Constant{.bits = value}; };
  if (op == "+") return floating(x + y);
  if (op == "-") return floating(x - y);
  if (op == "*") return floating(x * y);
  if (op == "/") return floating(x / y);
  if (op == "==") return truth(x == y);
  if (op == "!=") return truth(x != y);
  if (op == "<") return truth(x < y);
  if (op == ">") return truth(x > y);
  if (op == "<=") return truth(x <= y);
  if (op == ">=") return truth(x >= y);
  return std::nullopt;
}

/// Of integers. Nothing: a division by zero.
std::optional<Parser::Constant> Parser::operate(std::string_view op, const Constant& a, const Constant& b) {
  const bool is_unsigned = a.is_unsigned || b.is_unsigned;
  const uint64_t x = a.bits, y = b.bits;
  const auto sx = static_cast<int64_t>(x), sy = static_cast<int64_t>(y);
  const auto truth = [](bool value) { return Constant{.bits = value}; };
  const auto number = [&](uint64_t bits) { return Constant{.is_unsigned = is_unsigned, .bits = bits}; };
  const auto shifted = [&](uint64_t bits) { return Constant{.is_unsigned = a.is_unsigned, .bits = bits}; };
  if (op == "||") return truth(x != 0 || y != 0);
  if (op == "&&") return truth(x != 0 && y != 0);
  if (op == "|") return number(x | y);
  if (op == "^") return number(x ^ y);
  if (op == "&") return number(x & y);
  if (op == "==") return truth(x == y);
  if (op == "!=") return truth(x != y);
  if (op == "<") return truth(is_unsigned ? x < y : sx < sy);
  if (op == ">") return truth(is_unsigned ? x > y : sx > sy);
  if (op == "<=") return truth(is_unsigned ? x <= y : sx <= sy);
  if (op == ">=") return truth(is_unsigned ? x >= y : sx >= sy);
  if (op == "<<") return shifted(y > 63 ? 0 : x << y);
  if (op == ">>" && a.is_unsigned) return shifted(y > 63 ? 0 : x >> y);
  if (op == ">>") return shifted(static_cast<uint64_t>(sx >> (y > 63 ? 63 : y)));
  if (op == "+") return number(x + y);
  if (op == "-") return number(x - y);
  if (op == "*") return number(x * y);
  if (y == 0) return std::nullopt;
  const bool negates = !is_unsigned && sy == -1; // the lowest number / -1 traps on the host
  if (op == "/") return number(negates ? 0 - x : is_unsigned ? x / y : static_cast<uint64_t>(sx / sy));
  return number(negates ? 0 : is_unsigned ? x % y : static_cast<uint64_t>(sx % sy));
}

Parser::Constant Parser::binary(int level, size_t depth) {
  static constexpr std::string_view operators[][5] = {
      {"||"},       {"&&"},     {"|"},           {"^"}, {"&"}, {"==", "!="}, {"<", ">", "<=", ">="},
      {"<<", ">>"}, {"+", "-"}, {"*", "/", "%"},
  };
  constexpr int levels = static_cast<int>(std::size(operators));
  if (level == levels) return unary(depth);
  Constant a = binary(level + 1, depth);
  for (;;) {
    std::string_view op;
    for (std::string_view candidate : operators[level])
      if (!candidate.empty() && token().is(candidate)) op = candidate;
    if (op.empty()) return a;
    Token where = token();
    lexer_.advance();
    Constant b = binary(level + 1, depth);
    const bool floating = a.kind == Constant::Kind::floating || b.kind == Constant::Kind::floating;
    const auto result = floating ? operate(op, a.as_double(), b.as_double()) : operate(op, a, b);
    if (!result) fail(where, floating ? "'" + std::string(op) + "' takes integers" : "division by zero");
    a = *result;
  }
}

Parser::Constant Parser::unary(size_t depth) {
  if (depth > max_nesting) fail("this expression is nested more than 64 deep");
  Token where = token();
  Constant result;
  if (accept("+")) return unary(depth + 1);
  if (accept("-")) {
    result = unary(depth + 1);
    if (result.kind == Constant::Kind::floating)
      result.bits ^= uint64_t{1} << 63, result.single ^= 1u << 31;
    else
      result.bits = 0 - result.bits, result.is_unsigned = false;
    return result;
  }
  if (accept("!") || accept("~")) {
    result = unary(depth + 1);
    if (result.kind != Constant::Kind::integer) fail(where, "'" + std::string(where.text) + "' takes an integer");
    if (where.text == "!")
      result.bits = result.bits == 0, result.is_unsigned = false;
    else
      result.bits = ~result.bits;
    return result;
  }
  if (accept("(")) {
    bool to_signed = accept_word(".s64"), to_unsigned = !to_signed && accept_word(".u64");
    if (to_signed || to_unsigned) {
      expect(")");
      result = unary(depth + 1);
      if (result.kind != Constant::Kind::integer) fail(where, "this cast takes an integer");
      result.is_unsigned = to_unsigned;
      return result;
    }
    result = conditional(depth + 1);
    expect(")");
    return result;
  }
  switch (token().kind) {
  case Token::Kind::integer:
    result.bits = token().value;
    result.is_unsigned = token().is_unsigned;
    break;
  case Token::Kind::float64:
    result.kind = Constant::Kind::floating;
    result.bits = token().value;
    break;
  case Token::Kind::float32:
    result.kind = Constant::Kind::floating;
    result.is_single = true;
    result.single = static_cast<uint32_t>(token().value);
    result.bits = std::bit_cast<uint64_t>(static_cast<double>(std::bit_cast<float>(result.single)));
    break;
  case Token::Kind::identifier:
    if (token().text == "WARP_SZ") {
      result.bits = 32;
      break;
    }
    [[fallthrough]];
  default: fail_expected("a number");
  }
  lexer_.advance();
  return result;
}

// --- names -----------------------------------------------------------------------------------------------------------

const Parser::Symbol* Parser::find_symbol(std::string_view name) {
  for (size_t i = scopes_.size(); i-- > 0;) {
    Scope& scope = scopes_[i];
    if (auto it = scope.symbols.find(name); it != scope.symbols.end()) return &it->second;
    if (scope.ranges.empty()) continue;
    // %r17 may be number 17 of %r<N> or number 7 of %r1<N>; a number has no leading zero.
    for (size_t cut = name.size(); cut-- > 1 && name[cut] >= '0' && name[cut] <= '9';) {
      std::string_view digits = name.substr(cut);
      if (digits.size() > 7) break;
      if (digits.size() > 1 && digits[0] == '0') continue;
      auto range = scope.ranges.find(name.substr(0, cut));
      if (range == scope.ranges.end()) continue;
      uint64_t number = 0;
      for (char digit : digits) number = number * 10 + static_cast<uint64_t>(digit - '0');
      if (number >= range->second.count) continue;
      uint32_t index = add_register(name, range->second.type);
      return &scope.symbols.emplace(name, Symbol{Symbol::Kind::reg, index, 1}).first->second;
    }
  }
  return nullptr;
}

void Parser::declare(const Token& name, Symbol symbol) {
  if (name.text == "_") fail(name, "'_' is not a name");
  if (find_special(name.text)) fail(name, "'" + std::string(name.text) + "' is a special register");
  if (!scopes_.back().symbols.emplace(name.text, symbol).second)
    fail(name, "'" + std::string(name.text) + "' is declared twice in this scope");
}

// --- the module as its users see it ----------------------------------------------------------------------------------

uint32_t Module::find_function(std::string_view name) const {
  for (size_t i = 0; i < functions.size(); ++i)
    if (functions[i].name == name) return static_cast<uint32_t>(i);
  return none;
}

std::string Module::describe(uint32_t location) const {
  std::string text;
  for (int depth = 0; location < locations.size() && depth < 16; ++depth) {
    const Location& at = locations[location];
    if (depth) text += ", inlined at ";
    text += at.file < files.size() && !files[at.file].empty() ? files[at.file] : "file " + std::to_string(at.file);
    text += ":" + std::to_string(at.line) + ":" + std::to_string(at.column);
    location = at.inlined_at;
  }
  return text;
}

std::string_view Module::source_line(uint32_t line) const {
  if (line == 0 || line > line_begins.size()) return {};
  std::string_view rest = std::string_view(*text).substr(line_begins[line - 1]);
  rest = rest.substr(0, rest.find('\n'));
  while (!rest.empty() && (rest.back() == ' ' || rest.back() == '\t' || rest.back() == '\r')) rest.remove_suffix(1);
  while (!rest.empty() && (rest.front() == ' ' || rest.front() == '\t')) rest.remove_prefix(1);
  return rest;
}

} // namespace tilejit::runtime::simulator
