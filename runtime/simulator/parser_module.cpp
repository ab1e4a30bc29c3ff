// parser_module.cpp - directives of the module, variables and their initializers. PTX ISA, 5.4 "Variables" and 11
// "Directives".
#include "runtime/simulator/parser.h"

#include <bit>

namespace tilejit::runtime::simulator {

// .version 8.7  .target sm_90a, debug  .address_size 64
void Parser::header() {
  if (!accept_word(".version")) fail_expected("'.version': a PTX file begins with it");
  Token version = token();
  size_t dot = version.text.find('.');
  bool good = version.kind == Token::Kind::float64 && dot != version.text.npos && dot > 0 && dot < 3 &&
              version.text.size() == dot + 2;
  for (char c : version.text) good = good && ((c >= '0' && c <= '9') || c == '.');
  if (!good) fail_expected("a version like 8.7");
  for (char c : version.text)
    if (c != '.') module_.version = module_.version * 10 + static_cast<uint32_t>(c - '0');
  lexer_.advance();
  if (!accept_word(".target")) fail_expected("'.target'");
  do {
    Token target = take_identifier("a target like sm_90a");
    if (target.text.starts_with("sm_") || target.text.starts_with("compute_")) module_.target = target.text;
  } while (accept(","));
  if (module_.target.empty()) fail("'.target' names no sm_...");
  if (accept_word(".address_size")) {
    Token where = token();
    module_.address_bits = static_cast<uint32_t>(take_integer("'.address_size'", 64));
    if (module_.address_bits != 64) fail(where, "only '.address_size 64' can be simulated");
  }
}

void Parser::module_statement() {
  if (accept(";")) return;
  if (token().is("@@")) { // DWARF of PTX before 2.0: the rest of the line
    uint32_t line = token().line;
    while (token().kind != Token::Kind::end && token().line == line) lexer_.advance();
    return;
  }
  if (token().kind != Token::Kind::dot_word) fail_expected("a directive");
  if (token().text == ".file") return directive_file();
  if (token().text == ".section") return directive_section();
  if (token().text == ".loc") return location();
  if (token().text == ".pragma") return skip_pragma();
  if (accept_word(".target")) {
    do take_identifier("a target");
    while (accept(","));
    return;
  }
  if (accept_word(".alias")) {
    Token alias = take_identifier("a function");
    expect(",");
    Token aliased = take_identifier("a function");
    auto from = functions_.find(alias.text), to = functions_.find(aliased.text);
    if (from == functions_.end() || to == functions_.end())
      fail(alias, "'.alias' takes two functions that are declared above");
    from->second = to->second;
    scopes_[0].symbols[alias.text].index = to->second;
    expect(";");
    return;
  }
  Linkage link = linkage();
  if (accept_word(".entry")) return function_declaration(link, true);
  if (accept_word(".func")) return function_declaration(link, false);
  if (accept_word(".global")) return variables(Space::global, link);
  if (accept_word(".const")) return variables(Space::constant, link);
  if (accept_word(".shared")) return variables(Space::shared, link);
  if (accept_word(".tex")) return variables(Space::global, link);
  fail_expected("a function or a variable");
}

Linkage Parser::linkage() {
  Linkage result = Linkage::internal;
  for (;;) {
    if (accept_word(".visible"))
      result = Linkage::visible;
    else if (accept_word(".extern"))
      result = Linkage::external;
    else if (accept_word(".weak"))
      result = Linkage::weak;
    else if (accept_word(".common"))
      result = Linkage::common;
    else
      return result;
  }
}

// .file 1 "path"[, timestamp, bytes]
void Parser::directive_file() {
  lexer_.advance();
  uint64_t number = take_integer("a file's number", 1'000'000);
  if (token().kind != Token::Kind::string) fail_expected("a path in quotes");
  if (number >= module_.files.size()) module_.files.resize(number + 1);
  module_.files[number] = std::string(token().text);
  lexer_.advance();
  while (accept(",")) take_integer("a time stamp or size", ~0ull);
}

// .section .debug_info { .b8 1,2,3 ... }: skipped, but the braces must match.
void Parser::directive_section() {
  lexer_.advance();
  while (token().kind == Token::Kind::dot_word || token().kind == Token::Kind::identifier) lexer_.advance();
  skip_balanced("{", "}");
}

// .pragma "nounroll", "...";
void Parser::skip_pragma() {
  lexer_.advance();
  do {
    if (token().kind != Token::Kind::string) fail_expected("a string");
    lexer_.advance();
  } while (accept(","));
  expect(";");
}

uint32_t Parser::vector_width() { return accept_word(".v2") ? 2 : accept_word(".v4") ? 4 : accept_word(".v8") ? 8 : 1; }

void Parser::variables(Space space, Linkage link) {
  uint32_t align = 0, vector = 1;
  Type type = Type::none;
  while (type == Type::none) {
    Token where = token();
    if (accept_word(".align")) {
      align = static_cast<uint32_t>(take_integer("an alignment", 1u << 20));
      if (!std::has_single_bit(align)) fail(where, "an alignment must be a power of two");
    } else if (accept_word(".attribute")) {
      skip_balanced("(", ")");
    } else if (uint32_t width = vector_width(); width > 1) {
      vector = width;
    } else if (token().kind == Token::Kind::dot_word) {
      type = find_type(token().text.substr(1));
      if (type == Type::none || kind_of(type) == TypeKind::predicate || bits_of(type) % 8 != 0)
        fail_expected("the type of a variable");
      lexer_.advance();
    } else {
      fail_expected("the type of a variable");
    }
  }
  do variable(space, link, type, vector, align);
  while (accept(","));
  expect(";");
}

uint32_t Parser::variable(Space space, Linkage link, Type type, uint32_t vector, uint32_t align) {
  Token name = take_identifier("a variable's name");
  Variable v;
  v.name = name.text;
  v.space = space;
  v.type = type;
  v.linkage = link;
  v.function = function_;
  v.line = name.line;
  uint64_t element = uint64_t{bytes_of(type)} * vector;
  v.align = align ? align : static_cast<uint32_t>(element);

  if (token().is("<")) fail("declare these variables one by one");
  std::vector<uint64_t> dims;
  bool open = false;
  v.bytes = element;
  while (accept("[")) {
    uint64_t extent = 0;
    if (token().is("]")) {
      if (!dims.empty()) fail("only the first extent of an array may be left out");
      open = true;
    } else {
      extent = take_integer("an array's extent", max_variable_bytes);
    }
    expect("]");
    dims.push_back(extent);
    if (dims.size() > max_nesting) fail("an array of more than 64 dimensions");
  }
  for (size_t i = open ? 1 : 0; i < dims.size(); ++i) {
    if (dims[i] != 0 && v.bytes > max_variable_bytes / dims[i])
      fail(name, "'" + std::string(name.text) + "' is larger than 4 GB");
    v.bytes *= dims[i];
  }
  uint64_t row = v.bytes;
  if (open) v.bytes = 0;
  if (space == Space::shared && v.bytes > max_shared_bytes)
    fail(name, "'" + std::string(name.text) + "' is larger than the 228 KB of shared memory");
  if (space == Space::local && v.bytes > (uint64_t{512} << 10))
    fail(name, "'" + std::string(name.text) + "' is larger than the 512 KB of a thread's local memory");

  if (token().is("=")) {
    lexer_.advance();
    if (space != Space::global && space != Space::constant)
      fail(name, "only .global and .const variables have initial values");
    uint64_t offset = 0;
    if (kind_of(type) == TypeKind::opaque) {
      skip_balanced("{", "}");
    } else if (dims.empty() && vector == 1) {
      bool braces = accept("{");
      initial_value(v, type, 0);
      if (braces) expect("}");
    } else {
      initializer(v, dims, type, vector, offset, 0);
    }
    if (open) v.bytes = row == 0 ? 0 : (offset + row - 1) / row * row;
  }
  if (function_ != none) {
    Function& f = function();
    if (space == Space::param) v.offset = place_in_frame(f.param_bytes, v.bytes, v.align);
    if (space == Space::local) {
      f.local_align = std::max(f.local_align, v.align);
      v.offset = place_in_frame(f.local_bytes, v.bytes, v.align);
    }
  }
  // A variable may be declared (.extern) before it is defined, and again after.
  if (auto it = scopes_.back().symbols.find(name.text);
      it != scopes_.back().symbols.end() && it->second.kind == Symbol::Kind::variable) {
    Variable& before = module_.variables[it->second.index];
    if (before.space == space && before.function == function_ &&
        (before.linkage == Linkage::external || link == Linkage::external)) {
      if (link != Linkage::external || before.bytes == 0) before = std::move(v);
      return it->second.index;
    }
  }
  auto index = static_cast<uint32_t>(module_.variables.size());
  module_.variables.push_back(std::move(v));
  declare(name, {Symbol::Kind::variable, index, 1});
  return index;
}

uint64_t Parser::place_in_frame(uint64_t& frame, uint64_t bytes, uint32_t align) {
  uint64_t offset = (frame + align - 1) / align * align;
  if (offset + bytes > max_variable_bytes) fail("the variables of this function are larger than 4 GB");
  frame = offset + bytes;
  return offset;
}

/// {a, {b, c}, d}: braces inside a list stand for one row of the next dimension.
void Parser::initializer(Variable& v, std::span<const uint64_t> dims, Type type, uint32_t vector, uint64_t& offset,
                         size_t depth) {
  if (depth > max_nesting) fail("this initializer is nested more than 64 deep");
  Token first = token();
  expect("{");
  uint64_t element = bytes_of(type), row = element * vector;
  for (size_t i = 1; i < dims.size(); ++i) row *= dims[i];
  if (dims.empty()) row = element;
  uint64_t begin = offset;
  if (accept("}")) return;
  do {
    if (token().is("{")) {
      offset = begin + (row == 0 ? 0 : (offset - begin + row - 1) / row * row);
      uint64_t next = offset;
      std::span<const uint64_t> inner = dims.empty() ? dims : dims.subspan(1);
      if (dims.empty()) fail("too many braces in this initializer");
      initializer(v, inner, type, vector, next, depth + 1);
      if (next > offset + row) fail(first, "too many values in this initializer");
      offset += row;
    } else {
      initial_value(v, type, offset);
      offset += element;
    }
    if (v.bytes != 0 && offset > v.bytes)
      fail(first, "'" + std::string(v.name) + "' has more initial values than elements");
  } while (accept(","));
  expect("}");
}

void Parser::put(Variable& v, uint64_t offset, uint32_t bytes, uint64_t value) {
  if (offset + bytes > v.data.size()) {
    initialized_bytes_ += offset + bytes - v.data.size();
    if (initialized_bytes_ > max_initialized_bytes) fail("more than 256 MB of initial values");
    v.data.resize(offset + bytes);
  }
  for (uint32_t i = 0; i < bytes; ++i) v.data[offset + i] = static_cast<uint8_t>(i < 8 ? value >> (8 * i) : 0);
}

/// A number, or an address: name, name+8, generic(name)+8, 0xFF00(name).
void Parser::initial_value(Variable& v, Type type, uint64_t offset) {
  uint32_t bytes = bytes_of(type);
  Relocation r{.offset = offset, .bytes = bytes};
  bool has_mask = token().kind == Token::Kind::integer && lexer_.peek().is("(");
  if (has_mask) {
    uint64_t mask = token().value;
    if (mask == 0 || mask % 0xff != 0 || !std::has_single_bit(mask / 0xff) || std::countr_zero(mask) % 8 != 0)
      fail("the mask of an address must be 0xFF, 0xFF00, ...");
    r.shift = static_cast<uint8_t>(std::countr_zero(mask));
    lexer_.advance();
    expect("(");
  }
  if (has_mask || (token().kind == Token::Kind::identifier && token().text != "WARP_SZ")) {
    Token name = take_identifier("a name");
    if (name.text == "generic" && accept("(")) {
      r.generic = true;
      name = take_identifier("a variable's name");
      if (token().is("+") || token().is("-")) r.addend = take_signed("an offset");
      expect(")");
    }
    const Symbol* symbol = find_symbol(name.text);
    if (symbol && symbol->kind == Symbol::Kind::variable)
      r.variable = symbol->index;
    else if (symbol && symbol->kind == Symbol::Kind::function)
      r.function = symbol->index;
    else
      fail(name, "'" + std::string(name.text) + "' is not a variable or function that is declared above");
    if (token().is("+") || token().is("-")) r.addend += take_signed("an offset");
    if (has_mask) expect(")");
    if (is_float(type)) fail(name, "an address cannot be the initial value of a floating-point variable");
    put(v, offset, bytes, 0);
    v.relocations.push_back(r);
    return;
  }
  Token where = token();
  Constant value = constant();
  uint64_t bits = value.bits;
  if (type == Type::f32 || type == Type::f64 || value.kind == Constant::Kind::floating) {
    if (type == Type::f64 || type == Type::b64)
      bits = std::bit_cast<uint64_t>(value.as_double());
    else if (type == Type::f32 || type == Type::b32)
      bits = value.is_single ? value.single : std::bit_cast<uint32_t>(static_cast<float>(value.as_double()));
    else
      fail(where, "a floating-point value in a variable of type ." + std::string(name_of(type)));
  }
  put(v, offset, bytes, bits);
}

} // namespace tilejit::runtime::simulator
