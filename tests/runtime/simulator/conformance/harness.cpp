// harness.cpp - see harness.h.
#include "tests/runtime/simulator/conformance/harness.h"

#include "tests/runtime/simulator/conformance/exact.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <memory>
#include <sstream>

namespace tilejit::conformance {
namespace {

constexpr uint64_t untouched = 0x5a5a5a5a5a5a5a5a; ///< what destinations hold before a guarded instruction

/// What one thread loads: operands a, b, c, e, and the predicate p.
struct ThreadInputs {
  uint64_t value[5] = {};
};
size_t input_index(char role) { return role == 'a' ? 0 : role == 'b' ? 1 : role == 'c' ? 2 : role == 'e' ? 3 : 4; }

struct Variant {
  bool guarded = false;
  uint32_t uniform = 0; ///< bit k: operand slot k comes from a parameter
  uint64_t immediate = 0;
};

std::string register_name(const OperandSlot& slot, const char* suffix) {
  if (slot.type == "pred") return std::string("%p_") + slot.role + suffix;
  return std::string(slot.register_bits() == 64   ? "%rd_"
                     : slot.register_bits() == 32 ? "%r_"
                                                  : "%h_") +
         slot.role + suffix;
}

/// How an instruction is run: with operands in rows, guarded, and with each choice of operands uniform.
std::vector<Variant> variants_of(const std::vector<OperandSlot>& slots) {
  std::vector<Variant> variants{{}, {.guarded = true}};
  std::vector<size_t> sources;
  bool immediates = false;
  for (size_t s = 0; s < slots.size(); ++s) {
    if (slots[s].immediate)
      immediates = true;
    else if (!slots[s].written)
      sources.push_back(s);
  }
  uint32_t all = 0;
  for (size_t s : sources) {
    all |= 1u << s;
    variants.push_back({.uniform = 1u << s});
  }
  if (sources.size() > 1) {
    for (size_t s : sources)
      if (sources.size() > 2) variants.push_back({.uniform = all & ~(1u << s)});
    variants.push_back({.uniform = all});
  }
  constexpr uint64_t immediate_values[] = {0x96, 0xe8, 0xca, 0x40, 0x1b, 0xfe, 0x00, 0xff};
  if (immediates)
    for (size_t v = 0; v < variants.size(); ++v)
      variants[v].immediate = immediate_values[v % std::size(immediate_values)];
  return variants;
}

const OperandSlot& destination_of(const std::vector<OperandSlot>& slots) {
  return *std::find_if(slots.begin(), slots.end(), [](const OperandSlot& slot) { return slot.written; });
}

/// The instruction's result is stored as wide as its register, a predicate as one byte; those of the second predicate
/// or of the carry follow after all of them.
struct Place {
  size_t bytes, second; ///< of a result; where the second ones begin
};

std::string make_body(const std::string& text, const std::vector<OperandSlot>& slots,
                      const std::vector<Variant>& variants, const Place& place) {
  const OperandSlot& destination = destination_of(slots);
  std::ostringstream body;
  auto declare = [&](const OperandSlot& slot, const char* suffix) {
    const char* type = slot.type == "pred"          ? ".pred "
                       : slot.register_bits() == 64 ? ".b64 "
                       : slot.register_bits() == 32 ? ".b32 "
                                                    : ".b16 ";
    body << ".reg " << type << register_name(slot, suffix) << ";\n";
  };
  /// Loads an operand: from this thread's inputs, or from the parameter that is the same for all.
  auto load = [&](const OperandSlot& slot, bool uniform) {
    std::string name = register_name(slot, uniform ? "u" : "");
    size_t index = input_index(slot.role);
    std::string from = uniform ? "ld.param.b" : "ld.global.b",
                at = uniform ? "[u" + std::to_string(index) + "]" : "[%rd1+" + std::to_string(8 * index) + "]";
    if (slot.type == "pred")
      body << from << "32 %r10, " << at << ";\nsetp.ne.s32 " << name << ", %r10, 0;\n";
    else
      body << from << slot.register_bits() << " " << name << ", " << at << ";\n";
  };
  body << ".reg .pred %guard; .reg .pred %q;\nmad.wide.u32 %rd1, %r0, " << sizeof(ThreadInputs)
       << ", %rd1;\nadd.u64 %rd3, %rd2, " << place.second << ";\nmad.wide.u32 %rd2, %r0, "
       << place.bytes * variants.size() << ", %rd2;\nmad.wide.u32 %rd3, %r0, " << variants.size()
       << ", %rd3;\nand.b32 %r5, %r0, 3;\nsetp.ne.u32 %guard, %r5, 0;\nsetp.ne.u32 %q, %r5, %r5;\n";
  for (const OperandSlot& slot : slots) {
    if (slot.immediate) continue;
    declare(slot, "");
    if (slot.written) continue;
    declare(slot, "u");
    load(slot, false);
    load(slot, true);
  }
  bool borrows = text.starts_with("sub");
  for (size_t v = 0; v < variants.size(); ++v) {
    const Variant& variant = variants[v];
    std::string operands;
    for (size_t s = 0; s < slots.size(); ++s) {
      const OperandSlot& slot = slots[s];
      std::string name = register_name(slot, variant.uniform >> s & 1 ? "u" : "");
      if (slot.carry) { // 1 - 1 carries, 0 - 1 borrows
        body << "selp.u32 %r6, 1, 0, " << name << ";\n"
             << (borrows ? "sub.cc.u32 %r6, 0, %r6;\n" : "add.cc.u32 %r6, %r6, -1;\n");
        continue;
      }
      if (!operands.empty()) operands += ", ";
      operands += slot.immediate ? std::to_string(variant.immediate) : name;
      if (slot.pair && !slots.back().carry) operands += "|%q";
    }
    std::string d = register_name(destination, "");
    if (variant.guarded) {
      int bits = destination.register_bits();
      if (bits == 1)
        body << "setp.ne.u32 " << d << ", %r5, %r5;\n"; // false
      else
        body << "mov.b" << bits << " " << d << ", "
             << (untouched & (bits == 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1)) << ";\n";
      body << "setp.ne.u32 %q, %r5, %r5;\n@%guard ";
    }
    body << text << " " << operands << ";\n";
    if (slots.back().carry && destination.pair)
      body << (borrows ? "subc.u32 %r7, 0, 0;\n" : "addc.u32 %r7, 0, 0;\n") << "setp.ne.u32 %q, %r7, 0;\n";
    size_t at = v * place.bytes;
    if (destination.type == "pred")
      body << "selp.b32 %r6, 1, 0, " << d << ";\nst.global.b8 [%rd2+" << at << "], %r6;\n";
    else
      body << "st.global.b" << destination.register_bits() << " [%rd2+" << at << "], " << d << ";\n";
    if (destination.pair) body << "selp.b32 %r7, 1, 0, %q;\nst.global.b8 [%rd3+" << v << "], %r7;\n";
  }
  return body.str();
}

const Format* format_of(const std::string& type) {
  if (type.starts_with("bf16")) return &bf16;
  if (type.starts_with("f16")) return &f16;
  if (type == "f64") return &f64;
  if (type.starts_with("f32") || type == "tf32") return &f32;
  if (type.starts_with("e4m3")) return &e4m3;
  if (type.starts_with("e5m2")) return &e5m2;
  return nullptr;
}

bool acceptable(const Expected& e, uint64_t got, const std::string& type, uint64_t mask) {
  if (!e.halves.empty()) {
    int bits = bits_of(type) / 2;
    std::string half = type.substr(0, type.size() - 2); // f16x2
    uint64_t low = (uint64_t{1} << bits) - 1;
    return acceptable(e.halves[0], got & low, half, low) && acceptable(e.halves[1], got >> bits & low, half, low);
  }
  const Format* f = format_of(type);
  switch (e.kind) {
  case Expected::Kind::anything: return true;
  case Expected::Kind::exact: return got == (e.bits & mask);
  case Expected::Kind::one_of: return got == (e.bits & mask) || got == (e.other & mask);
  case Expected::Kind::any_nan: return f && is_nan(*f, got);
  case Expected::Kind::near: {
    if (!f || is_nan(*f, got)) return false;
    double value = to_double(decode(*f, got));
    if (std::isinf(e.value) || std::isinf(value)) {
      // Rounded up to infinity at the very top is near, too.
      double greatest = f->bits == 64 ? 0x1.fffffffffffffp1023 : f->exponent_bits == 8 ? 0x1.fffffep127 : 65504;
      double a = std::fmin(std::fmax(e.value, -greatest), greatest),
             b = std::fmin(std::fmax(value, -greatest), greatest);
      return value == e.value || (!std::isinf(e.value) && std::fabs(a - b) <= std::fabs(a) * e.relative);
    }
    if (e.value == 0 && e.absolute == 0) return value == 0;
    return std::fabs(value - e.value) <= e.absolute + e.relative * std::fabs(e.value);
  }
  }
  return false;
}

} // namespace

int OperandSlot::register_bits() const {
  int bits = bits_of(type);
  return bits == 1 ? 1 : bits <= 16 ? 16 : bits;
}

std::optional<std::vector<OperandSlot>> operand_slots(const runtime::simulator::FormInfo& row,
                                                      const Spelling& spelling) {
  std::vector<OperandSlot> slots;
  std::istringstream tokens{std::string(row.operands)};
  for (std::string token; tokens >> token;) {
    OperandSlot slot;
    bool optional = token.ends_with("?") && !token.ends_with("*?"); // *?: one or a vector
    if (token.find_first_of("[(@&*x") != token.npos && row.id != "mov") return std::nullopt;
    if (token[0] == '#') slot.immediate = true, token.erase(0, 1);
    slot.role = token[0];
    slot.written = slot.role == 'd';
    slot.pair = token.find("|p") != token.npos;
    slot.type = slot.role == 'p' ? "pred" : spelling.type();
    if (size_t at = token.find('='); at != token.npos) {
      std::string name = token.substr(at + 1, token.find_first_of("+~|?", at) - at - 1);
      if (name == "w0")
        name = spelling.type().substr(0, 1) + std::to_string(2 * bits_of(spelling.type()));
      else if (name.size() == 1)
        name = spelling.type(static_cast<size_t>(name[0] - '0'));
      slot.type = name;
    }
    // The optional operand of comparisons goes with .and, .or, .xor.
    if (optional && !(slot.type == "pred" && (spelling.has("and") || spelling.has("or") || spelling.has("xor"))))
      continue;
    if (!slot.immediate && bits_of(slot.type) == 0) return std::nullopt;
    slots.push_back(slot);
  }
  if (slots.empty() || !slots[0].written) return std::nullopt;
  bool chain = row.id.ends_with("_cc") || row.id == "addc" || row.id == "subc" || row.id == "madc";
  if (chain) slots[0].pair = spelling.has("cc"), slots.push_back({.role = 'p', .type = "pred", .carry = true});
  return slots;
}

std::vector<uint64_t> special_values(const std::string& type) {
  if (type == "pred") return {0, 1};
  std::vector<uint64_t> values;
  if (const Format* f = format_of(type)) {
    int fraction = f->precision - 1 + f->dropped;
    uint64_t sign = uint64_t{1} << (f->bits - 1), one = ((uint64_t{1} << (f->exponent_bits - 1)) - 1) << fraction;
    uint64_t infinity = ((uint64_t{1} << f->exponent_bits) - 1) << fraction, ulp = 1;
    uint64_t half_step = uint64_t{1} << fraction;
    for (uint64_t v : {uint64_t{0},
                       ulp,
                       uint64_t{2},
                       half_step / 2,
                       half_step - 1,
                       half_step,
                       half_step + 1,
                       one - half_step,
                       one - 1,
                       one,
                       one + 1,
                       one + half_step / 2,
                       one + half_step,
                       one + 2 * half_step,
                       one + 3 * half_step + half_step / 4,
                       infinity - 1,
                       infinity - half_step,
                       infinity,
                       infinity + 1,
                       infinity + half_step / 2,
                       infinity | (half_step - 1),
                       one + 5 * half_step + half_step / 2 + half_step / 4,
                       one - 9 * half_step})
      values.push_back(v), values.push_back(v | sign);
    if (f->bits == 32) // near the borders of integers, halves, and the narrower formats
      for (float x : {0.5f,     1.5f,         2.5f,         65504.f,       65520.f,       127.5f, 255.5f,
                      32767.5f, 2147483648.f, 4294967296.f, 9.2233720e18f, 1.8446744e19f, 448.f,  464.f,
                      57344.f,  61440.f,      6.1035e-5f,   5.9e-8f,       3.14159274f,   100.f})
        for (float y : {x, -x}) values.push_back(std::bit_cast<uint32_t>(y));
    if (f->bits == 64)
      for (double x : {0.5, 1.5, 2.5, 2147483647.5, 2147483648.0, 4294967295.5, 9.223372036854775e18,
                       1.8446744073709552e19, 65519.99, 3.4028236e38, 1e-40})
        for (double y : {x, -x}) values.push_back(std::bit_cast<uint64_t>(y));
    if (type.ends_with("x2") && f->bits <= 32) {
      size_t n = values.size();
      for (size_t i = 0; i < n; ++i) values[i] |= values[(i * 7 + 3) % n] << f->bits;
    }
    return values;
  }
  int n = bits_of(type);
  uint64_t all = n == 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1;
  for (uint64_t v :
       {uint64_t{0},      uint64_t{1},      uint64_t{2},       uint64_t{3},          uint64_t{5},
        uint64_t{7},      uint64_t{8},      uint64_t{15},      uint64_t{16},         uint64_t{31},
        uint64_t{32},     uint64_t{33},     uint64_t{63},      uint64_t{64},         uint64_t{65},
        uint64_t{127},    uint64_t{128},    uint64_t{255},     uint64_t{256},        uint64_t{0x7fff},
        uint64_t{0x8000}, uint64_t{0xffff}, uint64_t{0x10000}, uint64_t{0x12345678}, all,
        all - 1,          all - 6,          all >> 1,          (all >> 1) + 1,       (all >> 1) - 1,
        all / 3,          all / 5,          uint64_t{0x80},    uint64_t{0xff7f},     uint64_t{0xfedcba9876543210}})
    values.push_back(v & all);
  return values;
}

uint64_t random_value(const std::string& type, std::mt19937_64& random) {
  if (type == "pred") return random() & 1;
  uint64_t value = random();
  if (const Format* f = format_of(type)) {
    int copies = type.ends_with("x2") ? 2 : 1;
    uint64_t result = 0, all = f->bits == 64 ? ~uint64_t{0} : (uint64_t{1} << f->bits) - 1;
    for (int k = 0; k < copies; ++k) {
      uint64_t part = random() & all;
      if (random() % 4) { // an exponent near that of one, so that operands meet
        int fraction = f->precision - 1 + f->dropped;
        uint64_t field = (uint64_t{1} << (f->exponent_bits - 1)) - 4 + random() % 8;
        part = (part & ((uint64_t{1} << fraction) - 1)) | (part & uint64_t{1} << (f->bits - 1)) | field << fraction;
      }
      result |= part << (k * (f->bits & 63));
    }
    return result;
  }
  int n = bits_of(type);
  value &= n == 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1;
  return random() % 3 == 0 ? value >> (random() % static_cast<uint64_t>(n)) : value;
}

namespace {

/// All values of a lone 8-bit or 16-bit operand; else all pairs of special values, and random ones.
std::vector<ThreadInputs> make_inputs(const std::vector<const OperandSlot*>& sources, size_t limit,
                                      std::mt19937_64& random) {
  std::vector<ThreadInputs> inputs;
  std::vector<size_t> numbers; // those of `sources` that are no predicates
  for (size_t s = 0; s < sources.size(); ++s)
    if (sources[s]->type != "pred") numbers.push_back(s);
  auto add = [&](auto value_of) {
    ThreadInputs t;
    for (size_t n = 0; n < numbers.size(); ++n) t.value[input_index(sources[numbers[n]]->role)] = value_of(n);
    for (const OperandSlot* slot : sources)
      if (slot->type == "pred") t.value[input_index(slot->role)] = random() & 1;
    inputs.push_back(t);
  };
  auto type = [&](size_t n) { return sources[numbers[n]]->type; };
  if (numbers.empty()) {
    while (inputs.size() < 128) add([](size_t) { return uint64_t{0}; });
  } else if (numbers.size() == 1 && bits_of(type(0)) == 8) {
    for (uint64_t v = 0; v < 256; ++v) add([&](size_t) { return random() << 8 | v; });
  } else if (numbers.size() == 1 && sources[numbers[0]]->register_bits() == 16) {
    for (uint64_t v = 0; v < 65536; ++v) add([&](size_t) { return v; });
  } else {
    std::vector<std::vector<uint64_t>> special;
    for (size_t n = 0; n < numbers.size(); ++n) special.push_back(special_values(type(n)));
    if (numbers.size() == 1)
      for (uint64_t v : special[0]) add([&](size_t) { return v; });
    else
      for (size_t x = 0; x < special[0].size(); ++x)
        for (size_t y = 0; y < special[1].size(); ++y) {
          size_t count = inputs.size();
          add([&](size_t n) {
            return n == 0   ? special[0][x]
                   : n == 1 ? special[1][y]
                            : special[n][(count * 7 + n + x) % special[n].size()];
          });
        }
    for (int r = 0; r < 2000; ++r)
      add([&](size_t n) {
        return random() % 8 == 0 ? special[n][random() % special[n].size()] : random_value(type(n), random);
      });
  }
  if (inputs.size() > limit) {
    std::shuffle(inputs.begin(), inputs.end(), random);
    inputs.resize(limit);
  }
  while (inputs.size() % 128) inputs.push_back(inputs[inputs.size() % 128]);
  return inputs;
}

/// What the comparison of an instruction's results needs to know.
struct Instruction {
  std::vector<OperandSlot> slots;
  Reference reference;
  std::vector<Variant> variants;
  std::vector<ThreadInputs> inputs, uniform; ///< uniform: one for each launch
  Place place;
  size_t output; ///< bytes of a launch

  Report check(std::span<const std::byte> output) const;
  Inputs operands(const ThreadInputs& thread, const ThreadInputs& same, const Variant& variant) const;
  std::string describe(const Inputs& i, const Variant& variant, uint64_t d, bool q, const Expected& expected) const;
};

Inputs Instruction::operands(const ThreadInputs& thread, const ThreadInputs& same, const Variant& variant) const {
  Inputs i{.e = variant.immediate};
  for (size_t s = 0; s < slots.size(); ++s) {
    const OperandSlot& slot = slots[s];
    if (slot.written || slot.immediate) continue;
    uint64_t value = (variant.uniform >> s & 1 ? same : thread).value[input_index(slot.role)];
    if (slot.register_bits() < 64) value &= (uint64_t{1} << slot.register_bits()) - 1;
    if (slot.role == 'p')
      i.p = value != 0;
    else
      (slot.role == 'a' ? i.a : slot.role == 'b' ? i.b : slot.role == 'c' ? i.c : i.e) = value;
  }
  return i;
}

std::string Instruction::describe(const Inputs& i, const Variant& variant, uint64_t d, bool q,
                                  const Expected& expected) const {
  bool pair = destination_of(slots).pair;
  std::string text = "a " + hex(i.a) + " b " + hex(i.b) + " c " + hex(i.c) + " e " + hex(i.e) + " p " +
                     std::to_string(i.p) + (variant.guarded ? " guarded" : "") +
                     (variant.uniform ? " uniform " + hex(variant.uniform) : "") + ": got " + hex(d) +
                     (pair ? "|" + std::to_string(q) : "") + ", expected ";
  if (expected.kind == Expected::Kind::near)
    return text + std::to_string(expected.value) + " (" +
           hex(std::bit_cast<uint32_t>(static_cast<float>(expected.value))) + ")";
  return text +
         (expected.halves.empty() ? hex(expected.bits)
                                  : hex(expected.halves[1].bits) + " above " + hex(expected.halves[0].bits)) +
         (pair ? "|" + std::to_string(expected.q) : "");
}

Report Instruction::check(std::span<const std::byte> results) const {
  Report report;
  const OperandSlot& destination = destination_of(slots);
  uint64_t all = destination.register_bits() == 64 ? ~uint64_t{0} : (uint64_t{1} << destination.register_bits()) - 1;
  bool carries = slots.back().carry;
  for (size_t launch = 0; launch < uniform.size(); ++launch)
    for (size_t t = 0; t < (launch == 0 ? inputs.size() : 128); ++t)
      for (size_t v = 0; v < variants.size(); ++v) {
        const Variant& variant = variants[v];
        Inputs i = operands(inputs[t], uniform[launch], variant);
        bool skipped = variant.guarded && t % 4 == 0;
        Expected expected = skipped ? Expected{.bits = destination.type == "pred" ? 0 : untouched & all,
                                               .q = carries && destination.pair && i.p}
                                    : reference(i);
        const std::byte* from = results.data() + launch * output + (t * variants.size() + v) * place.bytes;
        uint64_t d = 0;
        std::memcpy(&d, from, place.bytes);
        bool q = destination.pair && results[launch * output + place.second + t * variants.size() + v] != std::byte{0};
        bool good = acceptable(expected, d, destination.type, all) &&
                    (!destination.pair || expected.kind == Expected::Kind::anything || q == expected.q);
        report.add(good, [&] { return describe(i, variant, d, q, expected); });
      }
  return report;
}

} // namespace

Case instruction_case(const std::string& text, const std::vector<OperandSlot>& slots, const Reference& reference,
                      uint64_t seed, size_t limit, bool brief) {
  auto tested = std::make_shared<Instruction>();
  Instruction& t = *tested;
  t.slots = slots;
  t.reference = reference;
  t.variants = variants_of(slots);
  if (brief) t.variants.resize(1), limit = 128;
  std::mt19937_64 random(seed);
  std::vector<const OperandSlot*> sources;
  for (const OperandSlot& slot : slots)
    if (!slot.written && !slot.immediate) sources.push_back(&slot);
  t.inputs = make_inputs(sources, limit, random);
  for (int launch = 0; launch < (brief ? 1 : 3); ++launch) { // each with other uniform operands
    ThreadInputs uniform;
    for (const OperandSlot* slot : sources) {
      auto special = special_values(slot->type);
      uniform.value[input_index(slot->role)] =
          random() % 2 ? special[random() % special.size()] : random_value(slot->type, random);
    }
    t.uniform.push_back(uniform);
  }
  const OperandSlot& destination = destination_of(slots);
  size_t results = t.inputs.size() * t.variants.size();
  t.place.bytes = static_cast<size_t>(std::max(destination.register_bits() / 8, 1));
  t.place.second = results * t.place.bytes;
  t.output = results * (t.place.bytes + destination.pair);

  Case c{.name = text, .tests = {text}};
  c.threads = 128;
  c.blocks = static_cast<uint32_t>(t.inputs.size() / 128);
  c.body = make_body(text, slots, t.variants, t.place);
  auto bytes = std::as_bytes(std::span(t.inputs));
  c.input.assign(bytes.begin(), bytes.end());
  c.output = t.output;
  c.launches.clear();
  for (const ThreadInputs& uniform : t.uniform)
    c.launches.push_back({{std::begin(uniform.value), std::end(uniform.value)}, c.launches.empty() ? 0u : 1u});
  c.check = [tested](std::span<const std::byte> output) { return tested->check(output); };
  return c;
}

} // namespace tilejit::conformance
