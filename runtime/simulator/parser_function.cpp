// parser_function.cpp - functions, their declarations, labels, scopes and instructions.
#include "runtime/simulator/parser.h"

namespace tilejit::runtime::simulator {

// .visible .entry name (params) .maxntid 128 { ... }
// .func (result) name (params) .noreturn { ... }, or ; for a forward declaration
void Parser::function_declaration(Linkage link, bool is_entry) {
  Function f;
  f.is_entry = is_entry;
  f.linkage = link;
  f.is_prototype = true;
  auto index = static_cast<uint32_t>(module_.functions.size());
  module_.functions.push_back(std::move(f));
  function_ = index;
  open_scope();
  while (accept_word(".attribute")) skip_balanced("(", ")");
  if (!is_entry && token().is("(")) parameter_list(function().results, false);
  Token name = take_identifier("a function's name");
  function().name = name.text;
  function().line = name.line;
  uint32_t earlier = none;
  if (auto it = functions_.find(name.text); it != functions_.end()) earlier = it->second;
  if (token().is("(")) parameter_list(function().parameters, is_entry);
  function_directives();
  bool has_body = token().is("{");
  if (earlier != none) {
    // Keep the first index: calls refer to it. Variables of this declaration follow.
    Function again = std::move(module_.functions.back());
    module_.functions.pop_back();
    Function& before = module_.functions[earlier];
    if (before.is_entry != is_entry) fail(name, "'" + std::string(name.text) + "' is both an entry and a function");
    if (has_body && !before.is_prototype) fail(name, "'" + std::string(name.text) + "' is defined twice");
    for (auto* list : {&again.parameters, &again.results})
      for (Parameter& p : *list)
        if (p.variable != none) module_.variables[p.variable].function = earlier;
    if (has_body || before.is_prototype) before = std::move(again);
    function_ = earlier;
  } else {
    functions_.emplace(name.text, index);
    if (!scopes_[0].symbols.emplace(name.text, Symbol{Symbol::Kind::function, index, 1}).second)
      fail(name, "'" + std::string(name.text) + "' is declared twice");
  }
  if (has_body) {
    function().is_prototype = false;
    body();
  } else {
    scopes_.pop_back();
    expect(";");
  }
  function_ = none;
  location_ = none;
  declared_registers_ = 0;
}

void Parser::parameter_list(std::vector<Parameter>& list, bool is_entry) {
  expect("(");
  while (!token().is(")")) {
    list.push_back(parameter(is_entry));
    if (list.size() > 4096) fail("more than 4096 parameters");
    if (!accept(",")) break;
  }
  expect(")");
}

// .param .u64 .ptr .global .align 16 name   .param .align 8 .b8 name[16]   .reg .b32 name
Parameter Parser::parameter(bool is_entry) {
  Parameter result;
  if (!is_entry && accept_word(".reg")) {
    if (token().kind != Token::Kind::dot_word) fail_expected("a register's type");
    Type type = find_type(token().text.substr(1));
    if (type == Type::none) fail_expected("a register's type");
    lexer_.advance();
    Token name = take_identifier("a parameter's name");
    result.reg = add_register(name.text, type);
    if (name.text != "_") declare(name, {Symbol::Kind::reg, result.reg, 1});
    return result;
  }
  if (!accept_word(".param")) fail_expected("'.param'");
  Variable v;
  v.space = Space::param;
  v.function = function_;
  uint32_t align = 0, vector = 1;
  while (token().kind == Token::Kind::dot_word) {
    Token where = token();
    if (accept_word(".align")) {
      auto value = static_cast<uint32_t>(take_integer("an alignment", 1u << 20));
      if (value == 0 || (value & (value - 1)) != 0) fail(where, "an alignment must be a power of two");
      if (!v.is_pointer) align = value; // else: of what it points to
    } else if (accept_word(".ptr")) {
      v.is_pointer = true;
    } else if (v.is_pointer && (accept_word(".global") || accept_word(".shared") || accept_word(".local") ||
                                accept_word(".const") || accept_word(".generic"))) {
    } else if (uint32_t width = vector_width(); width > 1) {
      vector = width;
    } else {
      Type type = find_type(where.text.substr(1));
      if (type == Type::none || v.type != Type::none || bits_of(type) % 8 != 0)
        fail_expected("a parameter's type or name");
      v.type = type;
      lexer_.advance();
    }
  }
  if (v.type == Type::none) fail_expected("a parameter's type");
  Token name = take_identifier("a parameter's name");
  v.name = name.text;
  v.line = name.line;
  v.bytes = uint64_t{bytes_of(v.type)} * vector;
  v.align = align ? align : static_cast<uint32_t>(v.bytes);
  while (accept("[")) {
    uint64_t extent = token().is("]") ? 0 : take_integer("an array's extent", max_variable_bytes);
    expect("]");
    if (extent != 0 && v.bytes > max_variable_bytes / extent)
      fail(name, "'" + std::string(name.text) + "' is larger than 4 GB");
    v.bytes *= extent;
  }
  if (is_entry && v.bytes > 32764)
    fail(name, "'" + std::string(name.text) + "' is larger than the 32764 bytes of an entry's parameters");
  v.offset = place_in_frame(function().param_bytes, v.bytes, v.align);
  result.variable = static_cast<uint32_t>(module_.variables.size());
  module_.variables.push_back(std::move(v));
  if (name.text != "_") declare(name, {Symbol::Kind::variable, result.variable, 1});
  return result;
}

void Parser::function_directives() {
  auto triple = [&](std::array<uint32_t, 3>& to) {
    to = {1, 1, 1};
    for (size_t i = 0; i < 3; ++i) {
      to[i] = static_cast<uint32_t>(take_integer("a number of threads or blocks", ~0u));
      if (i == 2 || !accept(",")) break;
    }
  };
  auto number = [&] { return static_cast<uint32_t>(take_integer("this directive's value", ~0u)); };
  for (;;) {
    if (token().kind != Token::Kind::dot_word) return;
    if (accept_word(".maxntid"))
      triple(function().max_threads);
    else if (accept_word(".reqntid"))
      triple(function().required_threads);
    else if (accept_word(".reqnctapercluster"))
      triple(function().cluster);
    else if (accept_word(".minnctapersm"))
      function().min_blocks_per_sm = number();
    else if (accept_word(".maxnreg"))
      function().max_registers = number();
    else if (accept_word(".maxnctapersm") || accept_word(".maxclusterrank"))
      number();
    else if (accept_word(".noreturn"))
      function().no_return = true;
    else if (accept_word(".explicitcluster") || accept_word(".blocksareclusters") || accept_word(".unified") ||
             accept_word(".abi_preserve_control")) {
      if (token().kind == Token::Kind::integer) number();
    } else if (accept_word(".abi_preserve"))
      number();
    else if (accept_word(".attribute"))
      skip_balanced("(", ")");
    else if (token().is_word(".pragma"))
      skip_pragma();
    else
      fail_expected("'{' or a directive of a function");
  }
}

void Parser::open_scope() {
  if (scopes_.size() > max_nesting) fail("scopes are nested more than 64 deep");
  scopes_.emplace_back();
  scopes_.back().first_pending = pending_.size();
}

void Parser::close_scope(bool last) {
  resolve_all(last);
  scopes_.pop_back();
}

/// Fills in the labels that the innermost scope defines. What it does not define waits for the scope around it.
void Parser::resolve_all(bool last) {
  size_t kept = scopes_.back().first_pending;
  for (size_t i = kept; i < pending_.size(); ++i) {
    if (resolve(pending_[i])) continue;
    if (last) {
      const Pending& p = pending_[i];
      fail_at(p.line, p.column, "label '" + std::string(p.name) + "' is not defined");
    }
    pending_[kept++] = pending_[i];
  }
  pending_.resize(kept);
}

bool Parser::resolve(const Pending& pending) {
  const Scope& scope = scopes_.back();
  Function& f = function();
  if (pending.operand != none && f.pool[pending.operand].kind == Operand::Kind::targets) {
    auto it = scope.branch_tables.find(pending.name);
    if (it == scope.branch_tables.end()) return false;
    f.pool[pending.operand].index = it->second;
    return true;
  }
  auto it = scope.labels.find(pending.name);
  if (it == scope.labels.end()) return false;
  if (pending.operand != none)
    f.pool[pending.operand].index = it->second;
  else
    f.tables[pending.table][pending.entry] = it->second;
  return true;
}

void Parser::body() {
  Token open = token();
  expect("{");
  size_t depth = scopes_.size();
  for (;;) {
    if (token().kind == Token::Kind::end)
      fail(open, "the body of '" + std::string(function().name) + "' is never closed");
    if (accept("{")) {
      open_scope();
    } else if (token().is("}")) {
      bool last = scopes_.size() == depth;
      close_scope(last);
      lexer_.advance();
      if (last) return;
    } else {
      statement();
    }
  }
}

void Parser::statement() {
  if (accept(";")) return;
  const Token& t = token();
  if (t.kind == Token::Kind::identifier) {
    if (lexer_.peek().is(":")) return label_or_table();
    return instruction();
  }
  if (t.is("@")) return instruction();
  if (t.kind != Token::Kind::dot_word) fail_expected("an instruction");
  if (t.text == ".loc") return location();
  if (t.text == ".pragma") return skip_pragma();
  if (t.text == ".file") return directive_file();
  if (t.text == ".section") return directive_section();
  if (accept_word(".reg")) return registers();
  Linkage link = linkage();
  if (accept_word(".local")) return variables(Space::local, link);
  if (accept_word(".shared")) return variables(Space::shared, link);
  if (accept_word(".param")) return variables(Space::param, link);
  if (accept_word(".global")) return variables(Space::global, link);
  if (accept_word(".const")) return variables(Space::constant, link);
  fail_expected("an instruction or a declaration");
}

uint32_t Parser::add_register(std::string_view name, Type type) {
  Function& f = function();
  f.registers.push_back({name, type});
  return static_cast<uint32_t>(f.registers.size() - 1);
}

// .reg .b32 %r<100>, x;   .reg .v4 .f32 v;
void Parser::registers() {
  uint32_t vector = vector_width();
  if (token().kind != Token::Kind::dot_word) fail_expected("a register's type");
  Type type = find_type(token().text.substr(1));
  if (type == Type::none || kind_of(type) == TypeKind::opaque || bits_of(type) < 8) {
    if (type != Type::pred) fail_expected("a register's type");
  }
  lexer_.advance();
  if (uint32_t width = vector_width(); width > 1) vector = width;
  do {
    Token name = take_identifier("a register's name");
    uint64_t count = 1;
    if (accept("<")) {
      if (token().kind != Token::Kind::integer)
        fail_expected("a number of registers"); // not an expression: 9> is no comparison
      count = token().value;
      lexer_.advance();
      expect(">");
      if (vector > 1) fail(name, "a range of vector registers");
      if (find_special(name.text)) fail(name, "'" + std::string(name.text) + "' is a special register");
      if (!scopes_.back().ranges.emplace(name.text, RegisterRange{type, count}).second)
        fail(name, "'" + std::string(name.text) + "' is declared twice in this scope");
    } else {
      uint32_t index = add_register(name.text, type);
      for (uint32_t i = 1; i < vector; ++i) add_register(name.text, type);
      declare(name, {vector > 1 ? Symbol::Kind::vector_register : Symbol::Kind::reg, index, vector});
    }
    if (count > max_registers || (declared_registers_ += count) > max_registers)
      fail(name, "this function declares more than a million registers");
  } while (accept(","));
  expect(";");
}

void Parser::label_or_table() {
  Token name = take_identifier("a label");
  expect(":");
  if (accept_word(".branchtargets")) return table(name, true);
  if (accept_word(".calltargets")) return table(name, false);
  if (accept_word(".callprototype")) return call_prototype(name);
  Function& f = function();
  auto index = static_cast<uint32_t>(f.labels.size());
  if (!scopes_.back().labels.emplace(name.text, index).second)
    fail(name, "label '" + std::string(name.text) + "' is defined twice in this scope");
  f.labels.push_back({name.text, static_cast<uint32_t>(f.body.size())});
}

// name: .branchtargets L1, L2;   name: .calltargets f, g;
void Parser::table(const Token& name, bool of_labels) {
  auto index = static_cast<uint32_t>(function().tables.size());
  auto& tables = of_labels ? scopes_.back().branch_tables : scopes_.back().call_tables;
  if (!tables.emplace(name.text, index).second)
    fail(name, "'" + std::string(name.text) + "' is defined twice in this scope");
  function().tables.emplace_back();
  do {
    Token entry = take_identifier(of_labels ? "a label" : "a function");
    auto& entries = function().tables[index];
    if (of_labels) {
      pending_.push_back({entry.text, entry.line, entry.column, none, index, static_cast<uint32_t>(entries.size())});
      entries.push_back(none);
    } else {
      const Symbol* symbol = find_symbol(entry.text);
      if (!symbol || symbol->kind != Symbol::Kind::function)
        fail(entry, "'" + std::string(entry.text) + "' is not a function");
      entries.push_back(symbol->index);
    }
  } while (accept(","));
  expect(";");
}

// name: .callprototype (result) _ (params) .noreturn;
void Parser::call_prototype(const Token& name) {
  uint32_t caller = function_;
  Function f;
  f.name = name.text;
  f.is_prototype = true;
  f.line = name.line;
  auto index = static_cast<uint32_t>(module_.functions.size());
  module_.functions.push_back(std::move(f));
  declare(name, {Symbol::Kind::prototype, index, 1});
  function_ = index;
  open_scope();
  if (token().is("(")) parameter_list(function().results, false);
  take_identifier("'_'");
  if (token().is("(")) parameter_list(function().parameters, false);
  function_directives();
  scopes_.pop_back();
  function_ = caller;
  expect(";");
}

// .loc 1 20 7, function_name $L__info_string0, inlined_at 1 80 3
void Parser::location() {
  lexer_.advance();
  auto place = [&] {
    Location at;
    at.file = static_cast<uint32_t>(take_integer("a file's number", 1'000'000));
    at.line = static_cast<uint32_t>(take_integer("a line", ~0u));
    at.column = static_cast<uint32_t>(take_integer("a column", ~0u));
    return at;
  };
  auto add = [&](const Location& at) {
    auto [it, fresh] = locations_.emplace(std::array{at.file, at.line, at.column, at.inlined_at},
                                          static_cast<uint32_t>(module_.locations.size()));
    if (fresh) module_.locations.push_back(at);
    return it->second;
  };
  Location at = place();
  while (accept(",")) {
    Token attribute = take_identifier("'function_name' or 'inlined_at'");
    if (attribute.text == "function_name") {
      take_identifier("a label of .debug_str");
      if (accept("+")) take_integer("an offset", ~0u);
    } else if (attribute.text == "inlined_at") {
      // The place of the call may itself have been inlined: the latest .loc of that very place knows.
      Location call = place();
      at.inlined_at = none;
      for (size_t i = module_.locations.size(); i-- > 0 && i + 256 > module_.locations.size();) {
        const Location& known = module_.locations[i];
        if (known.file == call.file && known.line == call.line && known.column == call.column) {
          at.inlined_at = static_cast<uint32_t>(i);
          break;
        }
      }
      if (at.inlined_at == none) at.inlined_at = add(call);
    } else {
      fail(attribute, "expected 'function_name' or 'inlined_at', found '" + std::string(attribute.text) + "'");
    }
  }
  location_ = at.line == 0 ? none : add(at);
}

void Parser::instruction() {
  Instruction i;
  i.line = token().line;
  i.column = token().column;
  i.location = location_;
  if (accept("@")) {
    i.guard_negated = accept("!");
    Token name = take_identifier("a predicate register");
    const Symbol* symbol = find_symbol(name.text);
    if (!symbol || symbol->kind != Symbol::Kind::reg) fail(name, "'" + std::string(name.text) + "' is not a register");
    if (function().registers[symbol->index].type != Type::pred)
      fail(name, "'" + std::string(name.text) + "' is not a predicate register");
    i.guard = symbol->index;
  }
  bool is_opcode =
      token().kind == Token::Kind::identifier && ((token().text[0] | 0x20) >= 'a' && (token().text[0] | 0x20) <= 'z');
  if (!is_opcode) fail_expected("an instruction");
  lexer_.extend_opcode();
  i.text = token().text;
  lexer_.advance();
  bool is_call = i.text == "call" || i.text.starts_with("call.");
  bool is_branch = i.text == "bra" || i.text.starts_with("bra."), is_table = i.text.starts_with("brx.");
  size_t first = scratch_.size();
  unresolved_.clear();
  if (!token().is(";")) {
    do {
      if (scratch_.size() - first >= max_operands) fail("an instruction of more than 512 operands");
      if (is_branch || (is_table && scratch_.size() > first))
        scratch_.push_back(
            label_operand(is_branch ? Operand::Kind::label : Operand::Kind::targets, scratch_.size() - first));
      else
        scratch_.push_back(is_call ? call_operand() : operand());
    } while (accept(","));
  }
  expect(";");
  Function& f = function();
  Operand all = store(Operand::Kind::list, first);
  i.first = all.first;
  i.count = all.count;
  for (Pending& p : unresolved_) {
    p.operand += i.first;
    pending_.push_back(p);
  }
  std::string wrong = matcher_.match(module_, f, i);
  if (!wrong.empty()) fail_at(i.line, i.column, wrong);
  f.body.push_back(i);
}

} // namespace tilejit::runtime::simulator
