// parser_operand.cpp - operands of instructions. PTX ISA, 6 "Instruction Operands".
#include "runtime/simulator/parser.h"

#include <bit>

namespace tilejit::runtime::simulator {

/// Moves the scratch operands from `first` on into the function's pool.
Operand Parser::store(Operand::Kind kind, size_t first) {
  Function& f = function();
  if (f.pool.size() + scratch_.size() > (1u << 30)) fail("this function has too many operands");
  Operand o;
  o.kind = kind;
  o.first = static_cast<uint32_t>(f.pool.size());
  o.count = static_cast<uint32_t>(scratch_.size() - first);
  f.pool.insert(f.pool.end(), scratch_.begin() + static_cast<ptrdiff_t>(first), scratch_.end());
  scratch_.resize(first);
  return o;
}

Operand Parser::immediate(const Constant& constant) {
  Operand o;
  if (constant.kind == Constant::Kind::integer) {
    o.kind = Operand::Kind::integer;
    o.value = static_cast<int64_t>(constant.bits);
  } else if (constant.is_single) {
    o.kind = Operand::Kind::float32;
    o.value = constant.single;
  } else {
    o.kind = Operand::Kind::float64;
    o.value = static_cast<int64_t>(constant.bits);
  }
  return o;
}

Operand Parser::operand(size_t depth) {
  if (depth > max_nesting) fail("operands are nested more than 64 deep");
  Operand result;
  if (accept("{")) {
    result = elements("}", Operand::Kind::vector, depth);
  } else if (accept("[")) {
    result = address(depth);
  } else if (token().is("!") && lexer_.peek().kind == Token::Kind::identifier) {
    lexer_.advance();
    Token name = token();
    result = named_operand();
    if (!result.is(Operand::Kind::reg) || function().registers[result.index].type != Type::pred)
      fail(name, "'!' takes a predicate register");
    result.negated = true;
  } else if (token().kind == Token::Kind::identifier && token().text != "WARP_SZ") {
    result = named_operand();
  } else {
    result = immediate(constant(depth));
  }
  if (token().is("|") && (result.is(Operand::Kind::reg) || result.is(Operand::Kind::sink))) {
    lexer_.advance();
    size_t first = scratch_.size();
    scratch_.push_back(result);
    if (token().kind != Token::Kind::identifier) fail_expected("a register");
    Operand second = named_operand();
    if (!second.is(Operand::Kind::reg) && !second.is(Operand::Kind::sink)) fail("'|' joins two registers");
    scratch_.push_back(second);
    result = store(Operand::Kind::pair, first);
  }
  return result;
}

/// What follows an opening brace or parenthesis, up to its end.
Operand Parser::elements(std::string_view close, Operand::Kind kind, size_t depth) {
  size_t first = scratch_.size();
  if (!token().is(close)) {
    do {
      if (scratch_.size() - first >= max_operands) fail("a list of more than 512 operands");
      scratch_.push_back(operand(depth + 1));
    } while (accept(","));
  }
  expect(close);
  return store(kind, first);
}

/// A register (or a component of a vector), a special register, a variable with an offset, a function, `_`.
Operand Parser::named_operand() {
  Token name = token();
  lexer_.advance();
  Operand o;
  if (name.text == "_") return o;
  auto component = [&](uint32_t limit) -> uint32_t {
    static constexpr std::string_view names[][2] = {{".x", ".r"}, {".y", ".g"}, {".z", ".b"}, {".w", ".a"}};
    for (uint32_t i = 0; i < 4 && i < limit; ++i)
      if (accept_word(names[i][0]) || accept_word(names[i][1])) return i;
    return none;
  };
  if (auto special = find_special(name.text)) {
    o.kind = Operand::Kind::special;
    o.index = static_cast<uint32_t>(*special);
    if (uint32_t n = components_of(*special); n > 0) {
      uint32_t c = component(n);
      if (c == none) fail_expected("'.x', '.y' or '.z' after '" + std::string(name.text) + "'");
      o.component = static_cast<uint8_t>(c);
    }
    return o;
  }
  const Symbol* symbol = find_symbol(name.text);
  if (!symbol) fail(name, "'" + std::string(name.text.substr(0, 80)) + "' is not declared");
  o.index = symbol->index;
  switch (symbol->kind) {
  case Symbol::Kind::reg: o.kind = Operand::Kind::reg; break;
  case Symbol::Kind::vector_register: {
    uint32_t first_register = symbol->index, count = symbol->count;
    o.kind = Operand::Kind::reg;
    if (uint32_t c = component(count); c != none) {
      o.index += c;
      break;
    }
    size_t first = scratch_.size();
    for (uint32_t i = 0; i < count; ++i) {
      o.index = first_register + i;
      scratch_.push_back(o);
    }
    return store(Operand::Kind::vector, first);
  }
  case Symbol::Kind::variable:
    o.kind = Operand::Kind::variable;
    if (token().is("+") || token().is("-")) o.value = take_signed("an offset");
    break;
  case Symbol::Kind::function: o.kind = Operand::Kind::function; break;
  case Symbol::Kind::prototype: o.kind = Operand::Kind::prototype; break;
  }
  return o;
}

/// [base], [base+8], [base, {coordinates}, ...] after the bracket.
Operand Parser::address(size_t depth) {
  Token where = token();
  Operand base = operand(depth + 1);
  Operand result;
  if (base.is(Operand::Kind::reg)) {
    if (token().is("+") || token().is("-")) base.value = take_signed("an offset");
  } else if (!base.is(Operand::Kind::variable) && !base.is(Operand::Kind::integer)) {
    fail(where, "an address is a register, a variable or a number, with an offset");
  }
  size_t first = scratch_.size();
  while (accept(",")) {
    if (scratch_.size() - first >= max_operands) fail("an address of more than 512 operands");
    scratch_.push_back(operand(depth + 1));
  }
  expect("]");
  result = store(Operand::Kind::address, first);
  result.base = base.kind;
  result.index = base.index;
  result.value = base.value;
  return result;
}

/// Operands of `call`: lists in parentheses, a function or a register, a prototype or a table of functions.
Operand Parser::call_operand() {
  if (accept("(")) return elements(")", Operand::Kind::list, 0);
  if (token().kind == Token::Kind::identifier && !find_symbol(token().text)) {
    for (size_t i = scopes_.size(); i-- > 1;) {
      auto it = scopes_[i].call_tables.find(token().text);
      if (it == scopes_[i].call_tables.end()) continue;
      lexer_.advance();
      Operand o;
      o.kind = Operand::Kind::targets;
      o.index = it->second;
      return o;
    }
  }
  return operand();
}

/// A label, which may come later, as operand number `position` of its instruction.
Operand Parser::label_operand(Operand::Kind kind, size_t position) {
  Token name = take_identifier("a label");
  Operand o;
  o.kind = kind;
  unresolved_.push_back({name.text, name.line, name.column, static_cast<uint32_t>(position)});
  return o;
}

} // namespace tilejit::runtime::simulator
