// reference_integer.cpp - integer arithmetic, logic, shifts, permutations. PTX ISA 9.7.1, 9.7.2, 9.7.8, 9.7.9.
#include "tests/runtime/simulator/conformance/reference.h"

#include <algorithm>
#include <bit>

namespace tilejit::conformance {
namespace {

using S = __int128;
using U = unsigned __int128;

uint64_t mask(int bits) { return bits == 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1; }
uint64_t cut(U value, int bits) { return static_cast<uint64_t>(value) & mask(bits); }
/// The value of a register as a mathematical integer.
S value(uint64_t bits, int width, bool is_signed) {
  bits &= mask(width);
  if (is_signed && bits >> (width - 1)) return static_cast<S>(bits) - (S{1} << width);
  return static_cast<S>(bits);
}
Expected exact(uint64_t bits) { return {.bits = bits}; }

struct Range {
  S low, high;
};
Range range(int width, bool is_signed) {
  if (is_signed) return {-(S{1} << (width - 1)), (S{1} << (width - 1)) - 1};
  return {0, (S{1} << width) - 1};
}
S clamp(S v, Range r) { return v < r.low ? r.low : v > r.high ? r.high : v; }

Reference arithmetic(const Spelling& s) {
  std::string type = s.type();
  if (is_floating(type) || type.ends_with("x2")) return {};
  int n = bits_of(type);
  bool sign = is_signed(type), sat = s.has("sat"), hi = s.has("hi"), wide = s.has("wide");
  const std::string& op = s.opcode;
  auto v = [=](uint64_t bits) { return value(bits, n, sign); };
  auto finish = [=](S result) { return exact(cut(static_cast<U>(sat ? clamp(result, range(n, sign)) : result), n)); };
  if (op == "add") return [=](const Inputs& i) { return finish(v(i.a) + v(i.b)); };
  if (op == "sub") return [=](const Inputs& i) { return finish(v(i.a) - v(i.b)); };
  if (op == "mul" || op == "mad") {
    bool add = op == "mad";
    return [=](const Inputs& i) {
      // Signed products fit 127 bits and a sign; unsigned ones need all 128.
      if (wide) {
        S product = v(i.a) * v(i.b);
        return exact(cut(static_cast<U>(product) + (add ? U{i.c} : 0), 2 * n));
      }
      U product = sign ? static_cast<U>(v(i.a) * v(i.b)) : static_cast<U>(v(i.a)) * static_cast<U>(v(i.b));
      uint64_t part = hi ? cut(sign ? static_cast<U>(static_cast<S>(product) >> n) : product >> n, n) : cut(product, n);
      if (!add) return exact(part);
      return sat ? finish(v(part) + v(i.c)) : exact(cut(U{part} + i.c, n));
    };
  }
  if (op == "mul24" || op == "mad24") {
    bool add = op == "mad24";
    return [=](const Inputs& i) {
      S a = value(i.a, 24, sign), b = value(i.b, 24, sign);
      S product = a * b; // 48 bits
      S part = value(cut(static_cast<U>(hi ? product >> 16 : product), 32), 32, sign);
      return add ? finish(part + v(i.c)) : exact(cut(static_cast<U>(part), 32));
    };
  }
  if (op == "sad")
    return [=](const Inputs& i) {
      S a = v(i.a), b = v(i.b);
      return exact(cut(static_cast<U>(v(i.c) + (a < b ? b - a : a - b)), n));
    };
  if (op == "div" || op == "rem")
    return [=](const Inputs& i) {
      S a = v(i.a), b = v(i.b);
      if (b == 0) return Expected{.kind = Expected::Kind::anything}; // machine-specific
      if (sign && b == -1 && a == range(n, true).low) return Expected{.kind = Expected::Kind::anything};
      return exact(cut(static_cast<U>(op == "div" ? a / b : a % b), n));
    };
  if (op == "abs") return [=](const Inputs& i) { return exact(cut(static_cast<U>(v(i.a) < 0 ? -v(i.a) : v(i.a)), n)); };
  if (op == "neg") return [=](const Inputs& i) { return exact(cut(static_cast<U>(-v(i.a)), n)); };
  if (op == "min" || op == "max") {
    bool relu = s.has("relu");
    return [=](const Inputs& i) {
      S a = v(i.a), b = v(i.b), r = (op == "min") == (a < b) ? a : b;
      return exact(cut(static_cast<U>(relu && r < 0 ? 0 : r), n));
    };
  }
  return {};
}

/// Extended precision: p is the carry that goes in, q the one that comes out.
Reference carries(const Spelling& s) {
  const std::string& op = s.opcode;
  bool takes = op == "addc" || op == "subc" || op == "madc", subtracts = op.starts_with("sub");
  if (!takes && !s.has("cc")) return {};
  int n = bits_of(s.type());
  bool product = op.starts_with("mad"), hi = s.has("hi"), sign = is_signed(s.type());
  return [=](const Inputs& i) {
    U in = takes && i.p, a = i.a & mask(n), b = i.b & mask(n);
    if (product) {
      U whole = sign ? static_cast<U>(value(i.a, n, true) * value(i.b, n, true)) : a * b;
      a = cut(hi ? whole >> n : whole, n);
      b = i.c & mask(n);
    }
    // Subtraction borrows where the difference is negative: the bits above n are then ones.
    U result = subtracts ? a - b - in : a + b + in;
    return Expected{.bits = cut(result, n), .q = s.has("cc") && (result >> n & 1) != 0};
  };
}

/// Two 16-bit halves, each by itself.
Reference packed(const Spelling& s) {
  std::string type = s.type();
  if (type != "u16x2" && type != "s16x2") return {};
  Spelling half = s;
  half.types[0] = type.substr(0, 3);
  Reference one = arithmetic(half);
  if (!one) return {};
  return [=](const Inputs& i) {
    uint64_t low = one({i.a & 0xffff, i.b & 0xffff, i.c & 0xffff}).bits;
    uint64_t high = one({i.a >> 16 & 0xffff, i.b >> 16 & 0xffff, i.c >> 16 & 0xffff}).bits;
    return exact(low | high << 16);
  };
}

Reference logic(const Spelling& s) {
  int n = bits_of(s.type());
  const std::string& op = s.opcode;
  if (op == "and") return [=](const Inputs& i) { return exact(cut(i.a & i.b, n)); };
  if (op == "or") return [=](const Inputs& i) { return exact(cut(i.a | i.b, n)); };
  if (op == "xor") return [=](const Inputs& i) { return exact(cut(i.a ^ i.b, n)); };
  if (op == "not") return [=](const Inputs& i) { return exact(cut(~i.a, n)); };
  if (op == "cnot") return [=](const Inputs& i) { return exact(cut(i.a, n) == 0); };
  if (op == "lop3") {
    bool predicate = s.has("and") || s.has("or"), both = s.has("and");
    // The immediate is operand e: a truth table of a (0xF0), b (0xCC), c (0xAA).
    return [=](const Inputs& i) {
      uint64_t d = 0;
      for (int k = 0; k < 32; ++k) d |= (i.e >> ((i.a >> k & 1) * 4 + (i.b >> k & 1) * 2 + (i.c >> k & 1)) & 1) << k;
      Expected r = exact(d);
      if (predicate) r.q = both ? d != 0 && i.p : d != 0 || i.p;
      return r;
    };
  }
  if (op == "shl")
    return [=](const Inputs& i) {
      return exact((i.b & 0xffffffff) >= static_cast<uint64_t>(n) ? 0 : cut(U{i.a} << (i.b & 0xff), n));
    };
  if (op == "shr") {
    bool sign = is_signed(s.type());
    return [=](const Inputs& i) {
      uint64_t count = std::min<uint64_t>(i.b & 0xffffffff, 64);
      return exact(cut(static_cast<U>(value(i.a, n, sign) >> count), n));
    };
  }
  if (op == "shf") {
    bool left = s.has("l"), clamped = s.has("clamp");
    return [=](const Inputs& i) {
      uint64_t c = i.c & 0xffffffff, k = clamped ? std::min<uint64_t>(c, 32) : c & 31;
      uint64_t both = (i.b & 0xffffffff) << 32 | (i.a & 0xffffffff);
      return exact(left ? cut(U{both} << k >> 32, 32) : cut(both >> k, 32));
    };
  }
  return {};
}

Reference bits(const Spelling& s) {
  const std::string &op = s.opcode, type = s.type();
  int n = bits_of(type);
  bool sign = is_signed(type);
  if (op == "popc") return [=](const Inputs& i) { return exact(static_cast<uint64_t>(std::popcount(i.a & mask(n)))); };
  if (op == "clz")
    return [=](const Inputs& i) { return exact(static_cast<uint64_t>(std::countl_zero(i.a & mask(n)) - (64 - n))); };
  if (op == "brev")
    return [=](const Inputs& i) {
      uint64_t r = 0;
      for (int k = 0; k < n; ++k) r |= (i.a >> k & 1) << (n - 1 - k);
      return exact(r);
    };
  if (op == "bfind") {
    bool shift = s.has("shiftamt");
    return [=](const Inputs& i) {
      uint64_t a = i.a & mask(n);
      if (sign && a >> (n - 1)) a = ~a & mask(n); // the highest bit that is not a copy of the sign
      if (a == 0) return exact(0xffffffff);
      auto top = static_cast<uint64_t>(63 - std::countl_zero(a));
      return exact(shift ? static_cast<uint64_t>(n - 1) - top : top);
    };
  }
  // Position and length have 8 bits, says the manual; of 64-bit fields ptxas (13.0) makes code that has more.
  auto has_more = [=](uint64_t pos, uint64_t len) { return n == 64 && ((pos | len) & 0xffffff00) != 0; };
  if (op == "bfe")
    return [=](const Inputs& i) {
      if (has_more(i.b, i.c)) return Expected{.kind = Expected::Kind::anything};
      uint64_t pos = i.b & 0xff, len = i.c & 0xff, a = i.a & mask(n), msb = static_cast<uint64_t>(n) - 1, sbit;
      if (!sign || len == 0)
        sbit = 0;
      else
        sbit = a >> std::min(pos + len - 1, msb) & 1;
      uint64_t d = 0;
      for (uint64_t k = 0; k <= msb; ++k) d |= (k < len && pos + k <= msb ? a >> (pos + k) & 1 : sbit) << k;
      return exact(d);
    };
  if (op == "bfi")
    return [=](const Inputs& i) {
      if (has_more(i.c, i.e)) return Expected{.kind = Expected::Kind::anything};
      uint64_t pos = i.c & 0xff, len = i.e & 0xff, d = i.b & mask(n);
      for (uint64_t k = 0; k < len && pos + k < static_cast<uint64_t>(n); ++k)
        d = (d & ~(uint64_t{1} << (pos + k))) | (i.a >> k & 1) << (pos + k);
      return exact(d);
    };
  if (op == "bmsk") {
    bool clamped = s.has("clamp");
    return [=](const Inputs& i) {
      uint64_t pos = i.a & 0xffffffff, len = i.b & 0xffffffff;
      if (!clamped) pos &= 31, len &= 31;
      uint64_t d = 0;
      for (uint64_t k = 0; k < 32; ++k) d |= uint64_t{k >= pos && k - pos < len} << k;
      return exact(d);
    };
  }
  if (op == "szext") {
    bool clamped = s.has("clamp");
    return [=](const Inputs& i) {
      uint64_t width = i.b & 0xffffffff;
      if (!clamped) width &= 31;
      if (width >= 32) return exact(i.a & mask(32));
      if (width == 0) return exact(0);
      return exact(cut(static_cast<U>(value(i.a, static_cast<int>(width), sign)), 32));
    };
  }
  if (op == "fns")
    return [=](const Inputs& i) {
      int32_t offset = static_cast<int32_t>(i.c);
      uint64_t m = i.a & mask(32), base = i.b & 0xffffffff;
      if (base > 31 || offset == INT32_MIN) return Expected{.kind = Expected::Kind::anything};
      if (offset == 0) return exact(m >> base & 1 ? base : 0xffffffff);
      int64_t left = offset > 0 ? int64_t{offset} : -int64_t{offset};
      for (auto k = static_cast<int>(base); k >= 0 && k < 32; k += offset > 0 ? 1 : -1)
        if (m >> k & 1 && --left == 0) return exact(static_cast<uint64_t>(k));
      return exact(0xffffffff);
    };
  if (op == "prmt") {
    auto mode = [=, modes = std::vector<std::string>{"f4e", "b4e", "rc8", "ecl", "ecr", "rc16"}] {
      for (const std::string& m : modes)
        if (s.has(m)) return m;
      return std::string();
    }();
    return [=](const Inputs& i) {
      uint64_t bytes = (i.b & mask(32)) << 32 | (i.a & mask(32)), c = i.c & mask(32), d = 0;
      uint64_t k = c & 3;
      for (uint64_t n4 = 0; n4 < 4; ++n4) {
        uint64_t selector;
        if (mode == "f4e")
          selector = (k + n4) & 7;
        else if (mode == "b4e")
          selector = (k - n4) & 7;
        else if (mode == "rc8")
          selector = k;
        else if (mode == "ecl")
          selector = std::max(k, n4);
        else if (mode == "ecr")
          selector = std::min(k, n4);
        else if (mode == "rc16")
          selector = (k & 1) * 2 + (n4 & 1);
        else
          selector = c >> (4 * n4) & 15;
        uint64_t byte = bytes >> (8 * (selector & 7)) & 0xff;
        if (selector & 8) byte = byte & 0x80 ? 0xff : 0; // the sign, repeated
        d |= byte << (8 * n4);
      }
      return exact(d);
    };
  }
  if (op == "dp4a" || op == "dp2a") {
    bool signed_a = is_signed(s.type(0)), signed_b = is_signed(s.type(1)), four = op == "dp4a", high = s.has("hi");
    return [=](const Inputs& i) {
      S sum = value(i.c, 32, signed_a || signed_b);
      for (int k = 0; k < (four ? 4 : 2); ++k) {
        S a = four ? value(i.a >> (8 * k), 8, signed_a) : value(i.a >> (16 * k), 16, signed_a);
        S b = value(i.b >> (8 * (k + (high ? 2 : 0))), 8, signed_b);
        sum += a * b;
      }
      return exact(cut(static_cast<U>(sum), 32));
    };
  }
  if (op == "vabsdiff2" || op == "vabsdiff4") {
    bool signed_a = is_signed(s.type(1)), signed_b = is_signed(s.type(2)), sum = s.has("add");
    const int width = op == "vabsdiff2" ? 16 : 8;
    return [=](const Inputs& i) {
      uint64_t d = sum ? i.c : 0;
      for (int k = 0; k < 32; k += width) {
        S a = value(i.a >> k, width, signed_a), b = value(i.b >> k, width, signed_b);
        auto distance = static_cast<uint64_t>(a < b ? b - a : a - b);
        d = sum ? d + distance : d | cut(distance, width) << k;
      }
      return exact(d & 0xffffffff);
    };
  }
  if (op == "selp") return [=](const Inputs& i) { return exact(cut(i.p ? i.a : i.b, n)); };
  if (op == "mov") return [=](const Inputs& i) { return exact(cut(i.a, n)); };
  return {};
}

} // namespace

Reference integer_reference(const Spelling& s) {
  if (Reference r = carries(s)) return r;
  for (auto* find : {arithmetic, packed, logic, bits})
    if (Reference r = find(s)) return r;
  return {};
}

} // namespace tilejit::conformance
