// text.cpp - the text form of layouts and the tables they draw.
#include "compiler/layout/layout.h"

#include <charconv>
#include <stdexcept>
#include <vector>

namespace tilejit::layout {

namespace {

/// A weight of a dim that the text mentions, before the digits are known to be complete.
struct Mention {
  unsigned dim;
  uint32_t weight, radix;
};

struct Token {
  Axis axis;
  uint32_t radix, stride;
  std::vector<Mention> image;
};

class Parser {
public:
  explicit Parser(std::string_view text) : text_(text) {}

  Layout run(std::span<const uint32_t> shape, bool has_head) {
    if (has_head)
      head();
    else
      for (size_t d = 0; d < shape.size(); ++d) {
        letters_ += "ijklm"[d];
        sizes_.push_back(shape[d]);
      }
    bool first = !has_head;
    while (first || accept('|')) {
      skip();
      if (first && at_ == text_.size()) break;
      first = false;
      axis();
    }
    skip();
    if (at_ != text_.size()) fail("expected '|' or the end");
    return build();
  }

private:
  [[noreturn]] void fail(const std::string& why) const {
    throw std::invalid_argument("layout \"" + std::string(text_) + "\", column " + std::to_string(at_ + 1) + ": " +
                                why);
  }
  void skip() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool accept(char c) {
    skip();
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  uint32_t number(const char* what) {
    uint32_t value = 0;
    const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    if (error != std::errc() || value == 0)
      fail(std::string("expected ") + what + ", a whole number from 1 to 2^32 - 1");
    at_ = size_t(end - text_.data());
    return value;
  }
  bool at_end_of_part() {
    skip();
    return at_ == text_.size() || peek() == '|';
  }

  void head() {
    while (!at_end_of_part()) {
      const char letter = peek();
      if (letter < 'a' || letter > 'z') fail("expected the shape, such as i:64 j:80");
      if (letters_.find(letter) != std::string::npos) fail(std::string("dim ") + letter + " is named twice");
      if (letters_.size() == max_rank) fail("at most " + std::to_string(max_rank) + " dims are possible");
      ++at_;
      if (!accept(':')) fail("expected ':' and the size of the dim");
      letters_ += letter;
      sizes_.push_back(number("the size of the dim"));
    }
  }

  void axis() {
    skip();
    const size_t begin = at_;
    while (peek() >= 'a' && peek() <= 'z') ++at_;
    const std::string_view word = text_.substr(begin, at_ - begin);
    for (Axis axis : {Axis::reg, Axis::lane, Axis::warp, Axis::cta, Axis::offset}) {
      if (word != name(axis)) continue;
      for (const Token& token : tokens_)
        if (token.axis == axis) fail("axis " + std::string(word) + " appears twice");
      uint64_t dense = 1;
      while (!at_end_of_part()) digit(axis, dense);
      return;
    }
    at_ = begin;
    fail("expected an axis: reg, lane, warp, cta or offset");
  }

  Mention mention() {
    const size_t dim = letters_.find(peek());
    if (peek() == '\0' || dim == std::string::npos)
      fail("expected a digit such as j8, j16*5, i1^j8 or ~, of the dims in the head");
    ++at_;
    return {unsigned(dim), number("a weight"), 2};
  }

  void digit(Axis axis, uint64_t& dense) {
    std::vector<Mention> image;
    uint32_t n = 2;
    const bool copy = peek() == '~';
    if (copy) {
      ++at_;
      if (peek() >= '0' && peek() <= '9') n = number("the number of copies");
    } else {
      image.push_back(mention());
      if (peek() == '*') {
        ++at_;
        n = number("the number of steps");
      }
      while (peek() == '^') {
        if (n != 2) fail("only bits can be xor-ed");
        ++at_;
        image.push_back(mention());
      }
    }
    if (peek() == '@') {
      ++at_;
      dense = number("a stride");
    }
    // The bits of n come first, then its odd part: j8*10 = j8 j16*5.
    const Factors f = factors(n);
    for (unsigned b = 0; b <= f.bits; ++b) {
      const uint32_t radix = b < f.bits ? 2 : f.odd;
      if (radix == 1) continue;
      if (radix > 65535) fail("an odd factor is at most 65535");
      std::vector<Mention> part = image;
      for (Mention& m : part) {
        m.weight <<= b;
        m.radix = radix;
      }
      if (dense >> 32) fail("the axis has 2^32 places or more");
      tokens_.push_back({axis, radix, uint32_t(dense), part});
      dense *= radix;
    }
  }

  Layout build() {
    Spelling s;
    s.rank = unsigned(sizes_.size());
    for (const Token& token : tokens_)
      for (const Mention& m : token.image) {
        size_t at = 0;
        while (at < s.coords.size() &&
               (s.coords[at].dim < m.dim || (s.coords[at].dim == m.dim && s.coords[at].weight < m.weight)))
          ++at;
        const bool known = at < s.coords.size() && s.coords[at].dim == m.dim && s.coords[at].weight == m.weight;
        if (known && s.coords[at].radix != m.radix)
          fail(std::string("weight ") + letters_[m.dim] + std::to_string(m.weight) + " has both radix " +
               std::to_string(s.coords[at].radix) + " and " + std::to_string(m.radix));
        if (!known) s.coords.insert(at, {uint8_t(m.dim), uint16_t(m.radix), m.weight});
      }
    for (const Token& token : tokens_) {
      uint64_t image = 0;
      for (const Mention& m : token.image) {
        unsigned number = 0;
        for (const CoordDigit& c : s.coords) {
          if (c.dim == m.dim && c.weight == m.weight) break;
          number += c.radix == 2 ? m.radix == 2 : m.radix != 2;
        }
        image ^= m.radix == 2 ? uint64_t(1) << number : number + 1;
      }
      size_t at = 0;
      while (at < s.digits.size() && s.digits[at].axis <= token.axis) ++at;
      s.digits.insert(at, {token.axis, uint16_t(token.radix), token.stride, image});
    }
    for (unsigned d = 0; d < s.rank; ++d)
      if (s.size(d) != sizes_[d])
        fail(std::string("the digits of ") + letters_[d] + " make " + std::to_string(s.size(d)) +
             " elements, its size is " + std::to_string(sizes_[d]));
    try {
      return Layout(s);
    } catch (const std::invalid_argument& error) {
      fail(error.what());
    }
  }

  std::string_view text_;
  size_t at_ = 0;
  std::string letters_;
  std::vector<uint32_t> sizes_;
  std::vector<Token> tokens_;
};

} // namespace

Layout Layout::parse(std::string_view text) { return Parser(text).run({}, true); }
Layout Layout::parse(std::string_view digits, std::span<const uint32_t> shape) {
  if (shape.size() > max_rank)
    throw std::invalid_argument("a layout has at most " + std::to_string(max_rank) + " dims");
  return Parser(digits).run(shape, false);
}

std::string Layout::draw(int dim0, int dim1) const {
  const auto known = [&](int dim) { return dim >= 0 && unsigned(dim) < rank(); };
  const uint32_t rows = known(dim0) ? size(dim0) : 1, columns = known(dim1) ? size(dim1) : 1;
  const bool warps = count(Axis::warp) > 1;
  const Inverse inverse(*this);
  std::vector<std::string> cells;
  size_t width = std::to_string(columns - 1).size();
  for (uint32_t r = 0; r < rows; ++r)
    for (uint32_t c = 0; c < columns; ++c) {
      Coord coord{};
      if (known(dim0)) coord[size_t(dim0)] = r;
      if (known(dim1)) coord[size_t(dim1)] = c;
      const Place p = inverse(coord);
      cells.push_back(shared() ? std::to_string(p.offset)
                               : (warps ? std::to_string(p.warp) + "." : "") + std::to_string(p.lane) + ":" +
                                     std::to_string(p.reg));
      width = std::max(width, cells.back().size());
    }
  const auto pad = [](const std::string& text, size_t to) {
    return std::string(to > text.size() ? to - text.size() : 0, ' ') + text;
  };
  const size_t margin = std::max<size_t>(3, std::to_string(rows - 1).size());
  std::string out =
      pad(std::string(1, known(dim0) ? "ijklm"[dim0] : ' ') + '\\' + (known(dim1) ? "ijklm"[dim1] : ' '), margin);
  for (uint32_t c = 0; c < columns; ++c) out += ' ' + pad(std::to_string(c), width);
  for (uint32_t r = 0; r < rows; ++r) {
    out += '\n' + pad(std::to_string(r), margin);
    for (uint32_t c = 0; c < columns; ++c) out += ' ' + pad(cells[size_t(r) * columns + c], width);
  }
  return out + '\n';
}

} // namespace tilejit::layout
