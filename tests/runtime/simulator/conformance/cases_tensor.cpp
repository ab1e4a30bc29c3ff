// cases_tensor.cpp - copies of boxes of tensors, 1 to 5 dimensions, every swizzle and fill. PTX ISA 5.5
// "Tensors", 9.7.9 "cp.async.bulk.tensor", "tensormap.replace". The map is made by the kernel itself, as Triton's
// kernels do: its bits are the machine's own.
#include "tests/runtime/simulator/conformance/case.h"
#include "tests/runtime/simulator/conformance/reduction.h"

#include <cstring>

namespace tilejit::conformance {
namespace {

std::string number(int64_t n) { return std::to_string(n); }

struct Element {
  const char* name;
  uint32_t code, bytes; ///< of tensormap.replace's elemtype
  uint64_t nan = 0;     ///< what fills, where it is not zero; 0: the type has none
};
constexpr Element U8{"u8", 0, 1}, U16{"u16", 1, 2}, U32{"u32", 2, 4}, S32{"s32", 3, 4}, U64{"u64", 4, 8},
    F16{"f16", 6, 2, 0x7ff7}, F32{"f32", 7, 4, 0x7ff77ff7}, F64{"f64", 9, 8, 0x7ff77ff77ff77ff7},
    BF16{"bf16", 10, 2, 0x7ff7};

struct Box {
  std::string name;
  Element element;
  std::vector<uint64_t> dims;
  std::vector<uint32_t> box;
  std::vector<int32_t> at;
  uint32_t swizzle = 0; ///< bytes
  bool nan = false;
  std::vector<uint32_t> steps = {}; ///< of the traversal; empty: 1; the innermost is ignored
  uint32_t step(size_t d) const { return d == 0 || steps.empty() ? 1 : steps[d]; }
  uint32_t count(size_t d) const { return (box[d] + step(d) - 1) / step(d); }
  /// Strides in bytes leave room between rows.
  std::vector<uint64_t> strides() const {
    std::vector<uint64_t> all{element.bytes};
    for (size_t d = 0; d < dims.size(); ++d) all.push_back((all.back() * dims[d] + 15) / 16 * 16 + (d ? 0 : 16));
    return all;
  }
  size_t tensor_bytes() const { return strides().back(); }
  uint32_t bytes() const {
    uint32_t n = element.bytes;
    for (size_t d = 0; d < box.size(); ++d) n *= count(d);
    return n;
  }
};

constexpr uint32_t area_bytes = 4096;

/// f(byte in shared memory, byte in the tensor or -1) for each element of the box. Elements are packed, the first
/// dimension innermost; a swizzle of 32, 64, 128 bytes exchanges 16-byte chunks within each 128 bytes: the chunk's
/// number is xored with that of the 128 bytes. `stores`: a row of the tensor goes on to a multiple of 16 bytes.
template <class F>
void each_element(const Box& b, F f, bool stores = false) {
  auto strides = b.strides();
  const uint64_t per_chunk = 16 / b.element.bytes;
  std::vector<uint32_t> index(b.dims.size());
  for (uint32_t place = 0;; ++place) {
    bool inside = true;
    uint64_t offset = 0;
    for (size_t d = 0; d < index.size(); ++d) {
      int64_t at = b.at[d] + int64_t{index[d]} * b.step(d);
      const uint64_t size = d == 0 && stores ? (b.dims[0] + per_chunk - 1) / per_chunk * per_chunk : b.dims[d];
      inside = inside && at >= 0 && at < static_cast<int64_t>(size);
      offset += static_cast<uint64_t>(at) * strides[d];
    }
    uint32_t byte = place * b.element.bytes, chunks = b.swizzle / 16;
    if (chunks) byte ^= byte / 128 % chunks * 16;
    f(byte, inside ? static_cast<int64_t>(offset) : -1);
    size_t d = 0;
    while (d < index.size() && ++index[d] == b.count(d)) index[d++] = 0;
    if (d == index.size()) return;
  }
}

/// %rd60: the map of the tensor at register `address`; %p1: thread 0; %r20: the area of shared memory.
std::string make_map(const Box& b, const std::string& address) {
  std::string text =
      "mov.u32 %r20, area;\nmov.u32 %r21, image;\nmad.lo.u32 %r21, %r0, 4, %r21;\nst.shared.b32 [%r21], "
      "0;\nsetp.eq.u32 %p1, %r0, 0;\nmov.u64 %rd60, map;\ncvta.global.u64 %rd60, %rd60;\nbar.sync 0;\n@!%p1 "
      "bra MADE;\n";
  auto replace = [&](const std::string& field, const std::string& values, const char* type = "b32") {
    text += "tensormap.replace.tile." + field + ".shared::cta.b1024." + type + " [image], " + values + ";\n";
  };
  auto strides = b.strides();
  auto rank = static_cast<int64_t>(b.dims.size());
  replace("global_address", address, "b64");
  replace("rank", number(rank - 1));
  for (size_t d = 0; d < b.dims.size(); ++d) {
    std::string n = number(static_cast<int64_t>(d)) + ", ";
    replace("box_dim", n + number(b.box[d]));
    replace("global_dim", n + number(static_cast<int64_t>(b.dims[d])));
    replace("element_stride", n + number(b.steps.empty() ? 1 : b.steps[d]));
    if (d + 1 < b.dims.size()) {
      text += "mov.u64 %rd61, " + number(static_cast<int64_t>(strides[d + 1])) + ";\n";
      replace("global_stride", n + "%rd61", "b64");
    }
  }
  replace("elemtype", number(b.element.code));
  replace("interleave_layout", "0");
  replace("swizzle_mode", b.swizzle == 32 ? "1" : b.swizzle == 64 ? "2" : b.swizzle == 128 ? "3" : "0");
  replace("fill_mode", b.nan ? "1" : "0");
  return text +
         "MADE:\nbar.warp.sync -1;\n"
         "tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.sync.aligned [%rd60], [image], "
         "128;\nfence.proxy.tensormap::generic.acquire.gpu [%rd60], 128;\n";
}
const std::vector<std::string> map_instructions = {
    "tensormap.replace.tile.global_address.shared::cta.b1024.b64", "tensormap.replace.tile.rank.shared::cta.b1024.b32",
    "tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.sync.aligned",
    "fence.proxy.tensormap::generic.acquire.gpu"};

std::string coordinates(const Box& b) {
  std::string text = "{";
  for (size_t d = 0; d < b.at.size(); ++d) text += (d ? ", " : "") + number(b.at[d]);
  return text + "}";
}
std::string dimension(const Box& b) { return number(static_cast<int64_t>(b.dims.size())) + "d"; }

std::vector<uint8_t> random_bytes(size_t n, uint32_t seed) {
  auto words = random_words((n + 3) / 4, seed);
  std::vector<uint8_t> bytes(words.size() * 4);
  std::memcpy(bytes.data(), words.data(), bytes.size());
  return bytes;
}
std::vector<std::byte> as_input(const std::vector<uint8_t>& bytes) {
  auto raw = std::as_bytes(std::span(bytes));
  return {raw.begin(), raw.end()};
}

/// Byte by byte.
std::function<Report(std::span<const std::byte>)> same_bytes(std::vector<uint8_t> expected) {
  return [expected = std::move(expected)](std::span<const std::byte> output) {
    Report report;
    for (size_t i = 0; i < expected.size(); ++i)
      report.add(static_cast<uint8_t>(output[i]) == expected[i], [&] {
        return "byte " + std::to_string(i) + ": got " + hex(static_cast<uint8_t>(output[i])) + ", expected " +
               hex(expected[i]);
      });
    return report;
  };
}

constexpr const char* memory =
    ".shared .align 1024 .b8 area[4096];\n.shared .align 128 .b8 image[128];\n.shared .align 8 "
    ".b64 bar;\n.global .align 128 .b8 map[128];";
/// `area` from or to registers: every thread 128 bytes.
const std::string fill_area =
    "mov.u32 %r30, 0x77777777;\nmad.lo.u32 %r31, %r0, 128, %r20;\nmov.u32 %r32, 0;\nFILL: "
    "st.shared.b32 [%r31], %r30;\nadd.u32 %r31, %r31, 4;\nadd.u32 %r32, %r32, 1;\nsetp.lt.u32 "
    "%p3, %r32, 32;\n@%p3 bra FILL;\n";
const std::string area_out =
    "mad.wide.u32 %rd62, %r0, 128, %rd2;\nmad.lo.u32 %r31, %r0, 128, %r20;\nmov.u32 %r32, "
    "0;\nOUT: ld.shared.b32 %r30, [%r31];\nst.global.b32 [%rd62], %r30;\nadd.u32 %r31, %r31, "
    "4;\nadd.u64 %rd62, %rd62, 4;\nadd.u32 %r32, %r32, 1;\nsetp.lt.u32 %p3, %r32, 32;\n@%p3 bra "
    "OUT;\n";

void load_case(const Sink& sink, const Box& b, const std::string& to = "shared::cluster", bool hint = false) {
  std::string spelling = "cp.async.bulk.tensor." + dimension(b) + "." + to +
                         ".global.tile.mbarrier::complete_tx::bytes" + (hint ? ".L2::cache_hint" : "");
  Case c{.name = spelling + " of " + b.name,
         .tests = map_instructions,
         .declarations = memory,
         .since = to == "shared::cta" ? 86u : 85u};
  c.tests.push_back(spelling);
  c.body = make_map(b, "%rd1") + fill_area +
           "createpolicy.fractional.L2::evict_first.b64 %rd40;\n@%p1 mbarrier.init.shared.b64 [bar], "
           "1;\nfence.mbarrier_init.release.cluster;\nfence.proxy.async;\nbar.sync 0;\n@%p1 "
           "mbarrier.arrive.expect_tx.shared.b64 _, [bar], " +
           number(b.bytes()) + ";\n@%p1 " + spelling + " [area], [%rd60, " + coordinates(b) + "], [bar]" +
           (hint ? ", %rd40" : "") + ";\nWAIT: mbarrier.try_wait.parity.shared.b64 %p2, [bar], 0;\n@!%p2 bra WAIT;\n" +
           area_out;
  auto tensor = random_bytes(b.tensor_bytes(), 41);
  std::vector<uint8_t> expected(area_bytes, 0x77);
  uint64_t fill = b.nan ? b.element.nan : 0;
  each_element(b, [&](uint32_t to_byte, int64_t from) {
    std::memcpy(&expected[to_byte],
                from < 0 ? reinterpret_cast<const uint8_t*>(&fill) : &tensor[static_cast<size_t>(from)],
                b.element.bytes);
  });
  c.input = as_input(tensor);
  c.output = area_bytes;
  c.check = same_bytes(expected);
  emit(sink, std::move(c));
}

/// Stores the area, or with an operation reduces it, into a tensor that holds numbers. in: the area, then the tensor.
void store_case(const Sink& sink, const Box& b, const std::string& op = "", bool hint = false) {
  std::string spelling = std::string("cp.") + (op.empty() ? "" : "reduce.") + "async.bulk.tensor." + dimension(b) +
                         ".global.shared::cta" + (op.empty() ? "" : "." + op) + ".tile.bulk_group" +
                         (hint ? ".L2::cache_hint" : "");
  Case c{.name = spelling + " of " + b.name, .tests = map_instructions, .declarations = memory, .since = 85};
  c.tests.push_back(spelling);
  auto tensor = operands_of(b.element.name, (b.tensor_bytes() + 127) / 128 * 128, 42),
       area = operands_of(b.element.name, area_bytes, 43);
  // The tensor goes to the output by 128 bytes a warp; the area by 128 bytes a thread.
  c.body =
      "mad.wide.u32 %rd62, %r0, 4, %rd2;\nadd.u64 %rd63, %rd1, " + number(area_bytes) +
      ";\nmad.wide.u32 %rd63, %r0, 4, %rd63;\nmov.u32 %r32, 0;\nTENSOR: ld.global.b32 %r30, [%rd63];\nst.global.b32 "
      "[%rd62], %r30;\nadd.u64 %rd62, %rd62, 128;\nadd.u64 %rd63, %rd63, 128;\nadd.u32 %r32, %r32, 1;\nsetp.lt.u32 "
      "%p3, %r32, " +
      number(static_cast<int64_t>(tensor.size() / 128)) + ";\n@%p3 bra TENSOR;\nfence.proxy.async.global;\n" +
      make_map(b, "%rd2") +
      "mad.wide.u32 %rd62, %r0, 128, %rd1;\nmad.lo.u32 %r31, %r0, 128, %r20;\nmov.u32 %r32, 0;\nIN: ld.global.b32 "
      "%r30, [%rd62];\nst.shared.b32 [%r31], %r30;\nadd.u32 %r31, %r31, 4;\nadd.u64 %rd62, %rd62, 4;\nadd.u32 %r32, "
      "%r32, 1;\nsetp.lt.u32 %p3, %r32, 32;\n@%p3 bra IN;\ncreatepolicy.fractional.L2::evict_first.b64 "
      "%rd40;\nfence.proxy.async.shared::cta;\nbar.sync 0;\n@!%p1 bra DONE;\n" +
      spelling + " [%rd60, " + coordinates(b) + "], [area]" + (hint ? ", %rd40" : "") +
      ";\ncp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;\nDONE:\n";
  std::vector<uint8_t> expected = tensor;
  each_element(
      b,
      [&](uint32_t from, int64_t to) {
        if (to < 0) return;
        uint64_t old = 0, x = 0;
        std::memcpy(&old, &expected[static_cast<size_t>(to)], b.element.bytes);
        std::memcpy(&x, &area[from], b.element.bytes);
        if (!op.empty()) x = reduced(op, b.element.name, old, x);
        std::memcpy(&expected[static_cast<size_t>(to)], &x, b.element.bytes);
      },
      true);
  area.insert(area.end(), tensor.begin(), tensor.end());
  c.input = as_input(area);
  c.output = tensor.size();
  c.check = same_bytes(expected);
  emit(sink, std::move(c));
}

/// A box of `rank` dimensions whose rows fill the swizzle, inside the tensor or beyond its first or last elements.
/// Along the innermost dimension it begins at a multiple of 16 bytes, as it must.
Box box_of(const Element& e, size_t rank, uint32_t swizzle, const std::string& where, bool nan = false) {
  static const std::vector<uint32_t> outer[] = {{}, {8}, {4, 4}, {2, 3, 2}, {2, 2, 1, 3}};
  Box b{.element = e, .swizzle = swizzle, .nan = nan};
  uint32_t row = (swizzle ? swizzle : 64) / e.bytes;
  b.box = {row};
  b.box.insert(b.box.end(), outer[rank - 1].begin(), outer[rank - 1].end());
  for (size_t d = 0; d < rank; ++d) {
    auto step = static_cast<int32_t>(d ? 1 : 16 / e.bytes);
    b.dims.push_back(b.box[d] + (d ? 3 : 3 * static_cast<uint32_t>(step) / 2 + 1));
    auto last = static_cast<int32_t>(b.dims[d] - b.box[d]) / step * step;
    const bool before = where == "before" || where == (d ? "above" : "left");
    b.at.push_back(before ? -step : where == "after" ? last + step : last - (d ? step : 0));
  }
  b.name = number(static_cast<int64_t>(rank)) + "d " + e.name + " swizzled by " + number(swizzle) + " " + where +
           (nan ? " filled with NaN" : "");
  return b;
}

void multicast_case(const Sink& sink) {
  // Each of two blocks loads half of the rows for both.
  Box b = box_of(BF16, 2, 128, "inside");
  std::string spelling =
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster";
  Case c{.name = spelling,
         .tests = {spelling},
         .declarations = memory,
         .directives = ".reqnctapercluster 2",
         .threads = 32,
         .blocks = 2,
         .since = 85};
  std::string map = make_map(b, "%rd1");
  // One map for each block: the two make theirs at the same time.
  map = "mov.u32 %r40, %cluster_ctarank;\nmov.u32 %r41, %r0;\nmov.u32 %r0, %tid.x;\n" + map;
  size_t at = 0;
  while ((at = map.find("mov.u64 %rd60, map;\n", at)) != map.npos) {
    map.replace(at, 20, "mov.u64 %rd60, map;\nmad.wide.u32 %rd60, %r40, 128, %rd60;\n");
    at += 40;
  }
  c.declarations = std::string(memory);
  c.declarations.replace(c.declarations.find("map[128]"), 8, "map[256]");
  c.body =
      map + fill_area +
      "@%p1 mbarrier.init.shared.b64 [bar], 1;\nfence.mbarrier_init.release.cluster;\nfence.proxy.async;\n@%p1 "
      "mbarrier.arrive.expect_tx.shared.b64 _, [bar], " +
      number(2 * b.bytes()) +
      ";\nbarrier.cluster.arrive;\nbarrier.cluster.wait;\nmad.lo.u32 %r42, %r40, 1024, %r20;\nadd.u32 %r43, %r40, " +
      number(b.at[1]) + ";\nmov.b16 %h1, 3;\n@%p1 " + spelling + " [%r42], [%rd60, {" + number(b.at[0]) +
      ", %r43}], [bar], %h1;\nWAIT: mbarrier.try_wait.parity.shared.b64 %p2, [bar], 0;\n@!%p2 bra WAIT;\n" +
      "mul.lo.u32 %r41, %r40, " + number(area_bytes) + ";\ncvt.u64.u32 %rd64, %r41;\nadd.u64 %rd2, %rd2, %rd64;\n" +
      area_out + "barrier.cluster.arrive;\nbarrier.cluster.wait;\n";
  auto tensor = random_bytes(b.tensor_bytes(), 44);
  std::vector<uint8_t> expected(area_bytes, 0x77);
  for (uint32_t block = 0; block < 2; ++block) {
    Box mine = b;
    mine.at[1] += static_cast<int32_t>(block);
    each_element(mine, [&](uint32_t to, int64_t from) {
      if (from < 0)
        std::memset(&expected[1024 * block + to], 0, b.element.bytes);
      else
        std::memcpy(&expected[1024 * block + to], &tensor[static_cast<size_t>(from)], b.element.bytes);
    });
  }
  expected.insert(expected.end(), expected.begin(), expected.begin() + area_bytes);
  c.input = as_input(tensor);
  c.output = 2 * area_bytes;
  c.check = same_bytes(expected);
  emit(sink, std::move(c));
}

} // namespace

void tensor_copy_cases(const Sink& sink) {
  for (size_t rank = 1; rank <= 5; ++rank)
    for (uint32_t swizzle : {0u, 32u, 64u, 128u})
      for (std::string where : {"inside", "before", "after"}) {
        load_case(sink, box_of(F32, rank, swizzle, where));
        load_case(sink, box_of(F32, rank, swizzle, where, true));
        if (where != "before") store_case(sink, box_of(U32, rank, swizzle, where)); // a store must not begin there
      }
  for (const Element& e : {U8, U16, S32, U64, F16, BF16, F64})
    for (uint32_t swizzle : {0u, 128u}) {
      load_case(sink, box_of(e, 3, swizzle, "after"));
      if (e.nan) load_case(sink, box_of(e, 3, swizzle, "before", true));
      store_case(sink, box_of(e, 3, swizzle, "after"));
    }
  for (std::string where : {"left", "above"}) load_case(sink, box_of(F32, 3, 64, where));
  // Not every row.
  Box strided = box_of(F32, 2, 0, "inside");
  strided.name = "2d f32 by steps";
  strided.dims = {64, 40}, strided.box = {32, 16}, strided.at = {8, 3}, strided.steps = {2, 3};
  load_case(sink, strided);
  for (std::string to : {"shared::cta", "shared::cluster"})
    for (bool hint : {false, true}) {
      Box b = box_of(BF16, 2, 128, "after");
      b.name += " again";
      load_case(sink, b, to, hint);
    }
  Box hinted = box_of(BF16, 2, 128, "after");
  store_case(sink, hinted, "", true);
  for (size_t rank = 1; rank <= 5; ++rank) store_case(sink, box_of(U32, rank, 32, "after"), "add");
  for (const char* op : {"add", "min", "max", "inc", "dec", "and", "or", "xor"})
    store_case(sink, box_of(U32, 2, 128, "after"), op);
  for (const char* op : {"min", "max"}) store_case(sink, box_of(S32, 2, 128, "after"), op);
  for (const Element& e : {F16, BF16})
    for (const char* op : {"add", "min", "max"}) store_case(sink, box_of(e, 2, 128, "after"), op);
  store_case(sink, box_of(F32, 2, 128, "after"), "add");
  store_case(sink, box_of(U64, 2, 128, "after"), "add");
  multicast_case(sink);
  // Prefetches do nothing that shows.
  for (size_t rank = 1; rank <= 5; ++rank) {
    Box b = box_of(F32, rank, 0, "after");
    std::string spelling = "cp.async.bulk.prefetch.tensor." + dimension(b) + ".L2.global.tile";
    Case c{.name = spelling, .tests = {spelling, "prefetch.tensormap"}, .declarations = memory, .since = 85};
    c.body = make_map(b, "%rd1") + "@%p1 prefetch.tensormap [%rd60];\n@%p1 " + spelling + " [%rd60, " + coordinates(b) +
             "];\nmad.wide.u32 %rd63, %r0, 4, %rd1;\nld.global.b32 %r30, [%rd63];\nmad.wide.u32 %rd63, %r0, 4, "
             "%rd2;\nst.global.b32 [%rd63], %r30;\n";
    auto tensor = random_bytes(std::max<size_t>(b.tensor_bytes(), 128), 45);
    c.input = as_input(tensor);
    c.output = 128;
    c.check = same_bytes({tensor.begin(), tensor.begin() + 128});
    emit(sink, std::move(c));
  }
}

} // namespace tilejit::conformance
