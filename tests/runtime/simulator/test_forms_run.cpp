// Every row of the table of forms can run: an instruction is made for each, and the simulator must take it. What it
// does not take yet is listed here, by form, and nowhere else.
#include "runtime/device.h"
#include "runtime/simulator/form_rows.h"

#include <array>
#include <catch2/catch.hpp>
#include <cstdio>
#include <map>
#include <set>

using namespace tilejit;
using namespace tilejit::runtime::simulator;

namespace {

/// What parses but does not run yet: a form, or only its spellings with that word.
struct NotYet {
  Form form;
  std::string word = "";
};
const std::vector<NotYet> not_yet{
    // Boxes for convolutions
    {Form::cp_async_bulk_tensor_load, "im2col"},
    {Form::cp_async_bulk_tensor_load, "im2col::w"},
    {Form::cp_async_bulk_tensor_store, "im2col"},
    {Form::cp_async_bulk_tensor_store, "im2col::w"},
    {Form::cp_reduce_async_bulk_tensor, "im2col"},
    {Form::cp_reduce_async_bulk_tensor, "im2col::w"},
    // Boxes of rows anywhere, of sm_100
    {Form::cp_async_bulk_tensor_load, "tile::gather4"},
    {Form::cp_async_bulk_tensor_store, "tile::gather4"},
    {Form::cp_async_bulk_tensor_store, "tile::scatter4"},
    {Form::cp_reduce_async_bulk_tensor, "tile::gather4"},
    {Form::cp_reduce_async_bulk_tensor, "tile::scatter4"},
    // Narrow formats of sm_100, random rounding
    {Form::cvt_pack_rs},
    {Form::cvt_fp64_pack},
    {Form::cvt_fp64_to_half},
    {Form::cvt_ue8m0_pack},
    {Form::cvt_ue8m0_from_half},
    {Form::cvt_ue8m0_to_half},
    // Reductions of floats over a warp, of sm_100
    {Form::redux_float},
    // Generic addresses of 32 bits, which no compiler makes any more
    {Form::cvta, "u32"},
    {Form::cvta_to, "u32"},
    // No instructions, though the rows let them pass: vectors of 128-bit elements, of eight small ones
    {Form::ld, "b128"},
    {Form::ld_nc, "b128"},
    {Form::st, "b128"},
    {Form::ld, "v8"},
    {Form::ld_nc, "v8"},
    {Form::st, "v8"},
    // Not every pair of operation and type that these rows let pass is an instruction
    {Form::atom},
    {Form::red},
};

/// An instruction of a row, spelled as `text`, with operands that fit it.
class Instance {
public:
  Instance(const Row& row, const std::string& text) : row_(row) {
    for (size_t begin = text.find('.'); begin != text.npos;) {
      size_t end = text.find('.', begin + 1);
      words_.push_back(text.substr(begin + 1, end == text.npos ? end : end - begin - 1));
      begin = end;
    }
    for (const std::string& word : words_)
      if (Type t = type_named(word); t != Type::none && types_.size() < row.types.size()) types_.push_back(t);
    for (const OperandPattern& pattern : row.operands)
      if (!left_out(pattern)) operands_ += (operands_.empty() ? " " : ", ") + operand(pattern);
  }
  const std::string& operands() const { return operands_; }

private:
  static Type type_named(const std::string& word) {
    static const std::map<std::string, Type, std::less<>> types{
#define T(id, text, bits, kind) {text, Type::id},
#include "runtime/simulator/words.def"
#undef T
    };
    auto it = types.find(word);
    return it == types.end() ? Type::none : it->second;
  }
  bool has(std::string_view word) const { return std::find(words_.begin(), words_.end(), word) != words_.end(); }
  bool starts(std::string_view word) const { return row_.info->opcode.starts_with(word); }

  /// Optional operands go with modifiers.
  bool left_out(const OperandPattern& p) const {
    if (!p.optional) return false;
    if (p.role == 'e' && p.type == Type::b64) return !has("L2::cache_hint");
    if (p.role == 'c' && p.type == Type::b16) return !has("multicast::cluster") && !has("cp_mask");
    if (p.role == 'm') return !has("mbarrier::complete_tx::bytes");
    return true;
  }

  std::string register_of(Type type) {
    std::string name = type == Type::pred     ? "%p"
                       : bits_of(type) <= 16  ? "%h"
                       : bits_of(type) == 32  ? "%r"
                       : bits_of(type) == 128 ? "%rq"
                                              : "%rd";
    return name + std::to_string(++next_);
  }
  std::string vector(Type type, uint32_t count) {
    std::string text = "{";
    for (uint32_t n = 0; n < count; ++n) text += (n ? ", " : "") + register_of(type);
    return text + "}";
  }
  uint32_t word_count(std::string_view prefix) const {
    for (const std::string& word : words_)
      if (word.size() > prefix.size() && word.starts_with(prefix) && isdigit(word[prefix.size()]))
        return static_cast<uint32_t>(std::stoul(word.substr(prefix.size())));
    return 1;
  }
  std::array<uint32_t, 3> shape() const {
    unsigned m = 0, n = 0, k = 0;
    for (const std::string& word : words_)
      if (std::sscanf(word.c_str(), "m%un%uk%u", &m, &n, &k) == 3) break;
    return {m, n, k};
  }

  std::string operand(const OperandPattern& p) {
    using What = OperandPattern::What;
    using Count = OperandPattern::Count;
    switch (p.what) {
    case What::predicate: return register_of(Type::pred);
    case What::label: return starts("brx") ? "table" : "there";
    case What::function: return "f";
    case What::list: return p.use == Operand::Use::write ? "(result)" : "(argument)";
    case What::immediate: {
      if (starts("cp.async")) return has("wait_group") ? "0" : "16";
      if (starts("setmaxnreg")) return "40";
      bool bytes = starts("applypriority") || starts("discard") || starts("fence.proxy") || starts("tensormap.cp");
      return bytes ? "128" : "1";
    }
    case What::address: {
      bool tensor = row_.info->opcode.find("bulk") != std::string_view::npos &&
                    row_.info->opcode.find("tensor") != std::string_view::npos;
      bool store = tensor && row_.operands[0].role == 'd' && row_.info->modifiers.starts_with("DIM global");
      if (!tensor || p.role != (store ? 'd' : 'a')) return "[%rd1]";
      return "[%rd1, " + vector(Type::b32, has("tile::gather4") || has("tile::scatter4") ? 5 : dimensions()) + "]";
    }
    case What::value: break;
    }
    Type type = p.type != Type::none ? p.type : p.type_index < types_.size() ? types_[p.type_index] : Type::none;
    if (p.double_width) type = twice(type);
    auto [m, n, k] = shape();
    uint32_t bits = std::max(bits_of(type), 1u), whole = bits == 64 ? 64 : 32;
    Type lane = whole == 64 ? Type::b64 : Type::b32;
    switch (p.count) {
    case Count::vector_mod:
      if (uint32_t count = word_count("v"); count > 1) return vector(type, count);
      return register_of(type);
    case Count::x_mod: return vector(type, word_count("x"));
    case Count::fixed: return vector(type, p.fixed);
    case Count::matrix_mn: return vector(lane, m * n * bits / 32 / whole);
    case Count::matrix_mk: return vector(lane, m * k * bits / 32 / whole);
    case Count::matrix_nk: return vector(lane, n * k * bits / 32 / whole);
    case Count::warpgroup_mn: return vector(lane, m * n * bits / 128 / whole);
    case Count::fragment: {
      if (starts("cp.async")) return vector(type, std::max(dimensions(), 3u) - 2);
      bool product = starts("wmma.mma"), is_a = product ? p.role == 'a' : has("a"),
           is_b = product ? p.role == 'b' : has("b");
      Type element = types_.size() == 4 ? types_[p.role == 'd'   ? 0
                                                 : p.role == 'a' ? 1
                                                 : p.role == 'b' ? 2
                                                                 : 3]
                     : is_a || is_b     ? (product ? Type::f16 : types_[0])
                                        : types_[p.role == 'c' && product ? 1 : 0];
      uint32_t elements = is_a ? m * k : is_b ? k * n : m * n, width = bits_of(element) == 64 ? 64 : 32;
      return vector(width == 64 ? Type::b64 : Type::b32, std::max(1u, elements * bits_of(element) / (32 * width)));
    }
    case Count::any:
    case Count::one: break;
    }
    return register_of(type);
  }
  uint32_t dimensions() const {
    for (const std::string& word : words_)
      if (word.size() == 2 && word[1] == 'd' && isdigit(word[0])) return static_cast<uint32_t>(word[0] - '0');
    return 1;
  }

  const Row& row_;
  std::vector<std::string> words_;
  std::vector<Type> types_;
  std::string operands_;
  int next_ = 1;
};

std::string kernel(const std::string& instruction) {
  return ".version 8.8\n.target sm_100a\n.address_size 64\n"
         ".func (.param .b32 result) f(.param .b32 argument)\n{\nret;\n}\n"
         ".visible .entry k()\n{\n.reg .pred %p<300>; .reg .b16 %h<300>; .reg .b32 %r<300>; .reg .b64 %rd<300>;\n"
         ".reg .b128 %rq<20>; .param .b32 argument; .param .b32 result;\n"
         "table: .branchtargets there;\n" +
         instruction + ";\nthere:\nret;\n}\n";
}

} // namespace

TEST_CASE("every form of the table runs, or is known not to") {
  auto device = runtime::open_device("simulator:sm_100a");
  std::set<const NotYet*> excused;
  size_t taken = 0;
  for (const Row& row : rows())
    for (const std::string& text : spellings(*row.info, 48)) {
      std::string instruction = text + Instance(row, text).operands();
      INFO(row.info->id << ": " << instruction);
      try {
        device->load({.name = "k", .target = "sm_100a", .ptx = kernel(instruction), .threads = 128});
        ++taken;
      } catch (const runtime::Error& e) {
        if (std::string message = e.what(); message.find("cannot run") == message.npos) FAIL_CHECK(message);
        const NotYet* excuse = nullptr;
        for (const NotYet& n : not_yet)
          if (n.form == row.info->form && (n.word.empty() || (text + ".").find("." + n.word + ".") != text.npos))
            excuse = &n;
        CHECK(excuse != nullptr);
        excused.insert(excuse);
      }
    }
  CHECK(taken > 2500);
  for (const NotYet& n : not_yet)
    if (!excused.contains(&n)) FAIL_CHECK(form_info(n.form).id << " runs now: take it off the list");
}
