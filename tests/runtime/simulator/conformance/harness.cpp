// harness.cpp - see harness.h.
#include "tests/runtime/simulator/conformance/harness.h"

#include "tests/runtime/simulator/conformance/exact.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <sstream>

namespace tilejit::conformance {
namespace {

constexpr uint64_t untouched = 0x5a5a5a5a5a5a5a5a; ///< what destinations hold before a guarded instruction

/// What one thread loads: operands a, b, c, e, and the predicate.
struct ThreadInputs {
  uint64_t value[4] = {};
  uint64_t predicate = 0;
};
struct Result {
  uint64_t d = 0, q = 0;
};

int input_index(char role) { return role == 'a' ? 0 : role == 'b' ? 1 : role == 'c' ? 2 : 3; }

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

struct Kernel {
  std::string ptx;
  std::vector<Variant> variants;
};

Kernel make_kernel(const std::string& text, const std::vector<OperandSlot>& slots) {
  Kernel k;
  std::vector<size_t> sources;
  bool immediates = false;
  for (size_t s = 0; s < slots.size(); ++s) {
    if (slots[s].immediate)
      immediates = true;
    else if (!slots[s].written)
      sources.push_back(s);
  }
  k.variants.push_back({});
  k.variants.push_back({.guarded = true});
  uint32_t all = 0;
  for (size_t s : sources) {
    all |= 1u << s;
    k.variants.push_back({.uniform = 1u << s});
  }
  if (sources.size() > 1) {
    for (size_t s : sources)
      if (sources.size() > 2) k.variants.push_back({.uniform = all & ~(1u << s)});
    k.variants.push_back({.uniform = all});
  }
  constexpr uint64_t immediate_values[] = {0x96, 0xe8, 0xca, 0x40, 0x1b, 0xfe, 0x00, 0xff};
  if (immediates)
    for (size_t v = 0; v < k.variants.size(); ++v)
      k.variants[v].immediate = immediate_values[v % std::size(immediate_values)];

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
    int index = slot.type == "pred" ? 4 : input_index(slot.role);
    std::string from = uniform ? "ld.param.b" : "ld.global.b",
                at = uniform ? "[u" + std::to_string(index) + "]" : "[%rd1+" + std::to_string(8 * index) + "]";
    if (slot.type == "pred")
      body << from << "32 %r0, " << at << ";\nsetp.ne.s32 " << name << ", %r0, 0;\n";
    else
      body << from << slot.register_bits() << " " << name << ", " << at << ";\n";
  };
  body << ".reg .b32 %r<9>; .reg .b64 %rd<9>; .reg .pred %guard; .reg .pred %q;\n"
          "mov.u32 %r1, %tid.x;\nmov.u32 %r2, %ctaid.x;\nmov.u32 %r3, %ntid.x;\nmad.lo.u32 %r4, %r2, %r3, %r1;\n"
          "ld.param.u64 %rd1, [in];\nmul.wide.u32 %rd2, %r4, 40;\nadd.u64 %rd1, %rd1, %rd2;\n"
          "ld.param.u64 %rd3, [out];\nmul.wide.u32 %rd4, %r4, "
       << sizeof(Result) * k.variants.size() << ";\nadd.u64 %rd3, %rd3, %rd4;\n"
       << "and.b32 %r5, %r4, 3;\nsetp.ne.u32 %guard, %r5, 0;\nsetp.ne.u32 %q, %r5, %r5;\n";
  for (const OperandSlot& slot : slots) {
    if (slot.immediate) continue;
    declare(slot, "");
    if (slot.written) continue;
    declare(slot, "u");
    load(slot, false);
    load(slot, true);
  }
  for (size_t v = 0; v < k.variants.size(); ++v) {
    const Variant& variant = k.variants[v];
    std::string operands;
    const OperandSlot* destination = nullptr;
    for (size_t s = 0; s < slots.size(); ++s) {
      const OperandSlot& slot = slots[s];
      if (!operands.empty()) operands += ", ";
      if (slot.immediate)
        operands += std::to_string(variant.immediate);
      else
        operands += register_name(slot, variant.uniform >> s & 1 ? "u" : "");
      if (slot.written) destination = &slot;
      if (slot.pair) operands += "|%q";
    }
    std::string d = register_name(*destination, "");
    if (variant.guarded) {
      int bits = destination->register_bits();
      if (bits == 1)
        body << "setp.ne.u32 " << d << ", %r5, %r5;\n"; // false
      else
        body << "mov.b" << bits << " " << d << ", "
             << (untouched & (bits == 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1)) << ";\n";
      body << "setp.ne.u32 %q, %r5, %r5;\n@%guard ";
    }
    body << text << " " << operands << ";\n";
    size_t at = v * sizeof(Result);
    if (destination->type == "pred")
      body << "selp.b32 %r6, 1, 0, " << d << ";\nst.global.b32 [%rd3+" << at << "], %r6;\n";
    else
      body << "st.global.b" << destination->register_bits() << " [%rd3+" << at << "], " << d << ";\n";
    if (destination->pair) body << "selp.b32 %r7, 1, 0, %q;\nst.global.b32 [%rd3+" << at + 8 << "], %r7;\n";
  }
  k.ptx = ".version 8.8\n.target sm_100a\n.address_size 64\n"
          ".visible .entry k(.param .u64 in, .param .u64 out, .param .u64 u0, .param .u64 u1, .param .u64 u2, .param "
          ".u64 u3, .param .u64 u4)\n{\n" +
          body.str() + "ret;\n}\n";
  return k;
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

std::string hex(uint64_t value) {
  std::ostringstream text;
  text << "0x" << std::hex << value;
  return text.str();
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

Outcome check_instruction(runtime::Device& device, const std::string& text, const std::vector<OperandSlot>& slots,
                          const Reference& reference, uint64_t seed, size_t limit) {
  Outcome outcome;
  Kernel k = make_kernel(text, slots);
  std::shared_ptr<runtime::Module> module;
  try {
    module = device.load({.name = "k", .target = "sm_100a", .ptx = k.ptx, .threads = 128});
  } catch (const runtime::Error& e) {
    outcome.refused = e.what();
    return outcome;
  }

  // All values of a lone 8-bit or 16-bit operand; else all pairs of special values, and random ones.
  std::mt19937_64 random(seed);
  std::vector<const OperandSlot*> sources;
  const OperandSlot* destination = nullptr;
  bool has_predicate = false;
  for (const OperandSlot& slot : slots) {
    if (slot.written)
      destination = &slot;
    else if (slot.type == "pred")
      has_predicate = true;
    else if (!slot.immediate)
      sources.push_back(&slot);
  }
  std::vector<ThreadInputs> inputs;
  auto add = [&](auto value_of) {
    ThreadInputs t;
    for (size_t s = 0; s < sources.size(); ++s) t.value[input_index(sources[s]->role)] = value_of(s);
    t.predicate = has_predicate ? random() & 1 : 0;
    inputs.push_back(t);
  };
  if (sources.size() == 1 && bits_of(sources[0]->type) == 8) {
    for (uint64_t v = 0; v < 256; ++v) add([&](size_t) { return random() << 8 | v; });
  } else if (sources.size() == 1 && sources[0]->register_bits() == 16) {
    for (uint64_t v = 0; v < 65536; ++v) add([&](size_t) { return v; });
  } else {
    std::vector<std::vector<uint64_t>> special;
    for (const OperandSlot* slot : sources) special.push_back(special_values(slot->type));
    if (sources.size() == 1)
      for (uint64_t v : special[0]) add([&](size_t) { return v; });
    else if (sources.size() >= 2)
      for (size_t x = 0; x < special[0].size(); ++x)
        for (size_t y = 0; y < special[1].size(); ++y) {
          size_t count = inputs.size();
          add([&](size_t s) {
            return s == 0   ? special[0][x]
                   : s == 1 ? special[1][y]
                            : special[s][(count * 7 + s + x) % special[s].size()];
          });
        }
    for (int r = 0; r < 2000; ++r)
      add([&](size_t s) {
        return random() % 8 == 0 ? special[s][random() % special[s].size()] : random_value(sources[s]->type, random);
      });
  }
  if (inputs.size() > limit) {
    std::shuffle(inputs.begin(), inputs.end(), random);
    inputs.resize(limit);
  }
  while (inputs.size() % 128) inputs.push_back(inputs[inputs.size() % 128]);

  auto in = device.allocate(inputs.size() * sizeof(ThreadInputs));
  auto out = device.allocate(inputs.size() * k.variants.size() * sizeof(Result));
  device.upload(*in, 0, std::as_bytes(std::span(inputs)));
  std::vector<Result> results(inputs.size() * k.variants.size());

  uint64_t all = destination->register_bits() == 64 ? ~uint64_t{0} : (uint64_t{1} << destination->register_bits()) - 1;
  constexpr int launches = 3; // each with other uniform operands; the first runs all threads, the others four warps
  for (int launch = 0; launch < launches; ++launch) {
    ThreadInputs uniform;
    for (const OperandSlot* slot : sources) {
      auto special = special_values(slot->type);
      uniform.value[input_index(slot->role)] =
          random() % 2 ? special[random() % special.size()] : random_value(slot->type, random);
    }
    uniform.predicate = has_predicate ? random() & 1 : 0;
    size_t threads = launch == 0 ? inputs.size() : 128;
    device.fill_zero(*out);
    runtime::Launch parameters{.grid = {static_cast<uint32_t>(threads / 128), 1, 1},
                               .parameters = {in->address(), out->address()}};
    for (uint64_t v : uniform.value) parameters.parameters.push_back(v);
    parameters.parameters.push_back(uniform.predicate);
    device.launch(*module, parameters);
    device.synchronize();
    device.download(*out, 0,
                    std::as_writable_bytes(std::span(results)).first(threads * k.variants.size() * sizeof(Result)));
    for (size_t t = 0; t < threads; ++t)
      for (size_t v = 0; v < k.variants.size(); ++v) {
        const Variant& variant = k.variants[v];
        Inputs i{.e = variant.immediate};
        for (size_t s = 0; s < slots.size(); ++s) {
          const OperandSlot& slot = slots[s];
          if (slot.written || slot.immediate) continue;
          const ThreadInputs& from = variant.uniform >> s & 1 ? uniform : inputs[t];
          if (slot.type == "pred") {
            i.p = from.predicate != 0;
            continue;
          }
          uint64_t value = from.value[input_index(slot.role)];
          if (slot.register_bits() < 64) value &= (uint64_t{1} << slot.register_bits()) - 1;
          (slot.role == 'a' ? i.a : slot.role == 'b' ? i.b : slot.role == 'c' ? i.c : i.e) = value;
        }
        Expected expected = variant.guarded && t % 4 == 0
                                ? Expected{.bits = destination->type == "pred" ? 0 : untouched & all}
                                : reference(i);
        const Result& got = results[t * k.variants.size() + v];
        ++outcome.compared;
        bool good = acceptable(expected, got.d, destination->type, all) &&
                    (!destination->pair || expected.kind == Expected::Kind::anything || (got.q & 1) == expected.q);
        if (good) continue;
        if (++outcome.wrong <= 4) {
          outcome.first += "\n  a " + hex(i.a) + " b " + hex(i.b) + " c " + hex(i.c) + " e " + hex(i.e) + " p " +
                           std::to_string(i.p) + (variant.guarded ? " guarded" : "") +
                           (variant.uniform ? " uniform " + hex(variant.uniform) : "") + ": got " + hex(got.d) +
                           (destination->pair ? "|" + std::to_string(got.q & 1) : "") + ", expected ";
          if (expected.kind == Expected::Kind::near)
            outcome.first += std::to_string(expected.value) + " (" +
                             hex(std::bit_cast<uint32_t>(static_cast<float>(expected.value))) + ")";
          else
            outcome.first +=
                (expected.halves.empty() ? hex(expected.bits & all)
                                         : hex(expected.halves[1].bits) + " above " + hex(expected.halves[0].bits)) +
                (destination->pair ? "|" + std::to_string(expected.q) : "");
        }
      }
  }
  return outcome;
}

} // namespace tilejit::conformance
