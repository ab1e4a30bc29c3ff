// tensor_copy.cpp - tensor copies: boxes between global and shared memory, and instructions on tensor maps. PTX ISA
// "cp.async.bulk.tensor", "Tensors", "tensormap.replace", "tensormap.cp_fenceproxy".
//
// A box lies packed in shared memory, its innermost dimension contiguous, and is swizzled by address. Elements outside
// the tensor are filled on loads and left out on stores; but where a row of the tensor ends within 16 bytes, a store or
// a reduction goes on to their end, as it does on an H200.
#include "runtime/simulator/cluster.h"
#include "runtime/simulator/swizzle.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace tilejit::runtime::simulator {

namespace {

/// Elements that there are not: zero, or with `fill_nan` the NaN that fma.oob knows again, as an H200 writes it.
void fill(uint8_t* to, uint32_t count, const TensorMap& map) {
  const uint32_t bytes = count * bytes_of_element(map.element);
  if (!map.fill_nan || !is_floating(map.element)) return void(std::memset(to, 0, bytes));
  for (uint32_t i = 0; i < bytes; i += 2) std::memcpy(to + i, &outside_nan, 2);
}

/// The part of a box that lies along its innermost dimension.
struct BoxRow {
  uint64_t global = 0;          ///< of its first element, in the tensor or not
  uint32_t first = 0, last = 0; ///< those of its elements that are in the tensor
};
/// Calls f(row, offset in the packed box) for every row of a token's box.
template <class F>
void each_row(const Token& t, F f) {
  const TensorMap& map = t.map;
  uint32_t bytes = bytes_of_element(map.element), count = box_elements(map, 0);
  uint32_t index[5]{};
  for (uint32_t offset = 0; offset < t.bytes; offset += count * bytes) {
    BoxRow row;
    int64_t begin = t.coordinates[0], size = static_cast<int64_t>(map.dims[0]);
    row.global = map.address + static_cast<uint64_t>(begin * static_cast<int64_t>(bytes));
    bool inside = true;
    for (uint32_t d = 1; d < map.rank(); ++d) {
      int64_t at = t.coordinates[d] + int64_t{step(map, d)} * index[d];
      inside = inside && at >= 0 && at < static_cast<int64_t>(map.dims[d]);
      row.global += static_cast<uint64_t>(at) * map.strides[d - 1];
    }
    if (inside) {
      row.first = static_cast<uint32_t>(std::clamp<int64_t>(-begin, 0, count));
      row.last = std::max(row.first, static_cast<uint32_t>(std::clamp<int64_t>(size - begin, 0, count)));
      if (t.kind == Token::Kind::tensor_store && row.last > row.first)
        row.last = (row.last * bytes + 15) / 16 * 16 / bytes;
    }
    f(row, offset);
    for (uint32_t d = 1; d < map.rank(); ++d) {
      if (++index[d] < box_elements(map, d)) break;
      index[d] = 0;
    }
  }
}
/// Calls f(host address in global memory, place in the packed box, bytes) for what of a row is in the tensor.
template <class F>
void with_piece(Token& t, const BoxRow& row, uint32_t offset, bool writes, F f) {
  if (row.first == row.last) return;
  uint32_t bytes = bytes_of_element(t.map.element), size = (row.last - row.first) * bytes;
  uint64_t begin = row.global + uint64_t{row.first} * bytes;
  Warp* w = t.warp;
  if (begin < w->allocation_begin || begin + size > w->allocation_end)
    if (!find_allocation(w, begin, size))
      fault(w, t.ip, Fault::out_of_bounds, Space::global, t.lane, begin, size, writes);
  f(t.block->launch->memory->host(begin), offset + row.first * bytes, size);
}

} // namespace

std::vector<BoxPiece> pieces_of(const Token& t) {
  std::vector<BoxPiece> pieces;
  const uint32_t bytes = bytes_of_element(t.map.element);
  each_row(t, [&](const BoxRow& row, uint32_t offset) {
    if (row.first < row.last)
      pieces.push_back(
          {row.global + uint64_t{row.first} * bytes, offset + row.first * bytes, (row.last - row.first) * bytes});
  });
  return pieces;
}

void load_box(Token& t) {
  t.data.resize(t.bytes);
  if (t.kind == Token::Kind::tensor_store) {
    const uint8_t* from = t.block->shared.get();
    for (uint32_t at = 0; at < t.bytes; at += 16)
      std::memcpy(t.data.data() + at, from + swizzled(t.shared + at, t.map.swizzle), 16);
    return;
  }
  uint32_t count = box_elements(t.map, 0);
  each_row(t, [&](const BoxRow& row, uint32_t offset) {
    if (row.first > 0 || row.last < count) fill(t.data.data() + offset, count, t.map);
    with_piece(t, row, offset, false,
               [&](const uint8_t* from, uint32_t at, uint32_t n) { std::memcpy(t.data.data() + at, from, n); });
  });
}

void store_box(Token& t) {
  if (t.kind == Token::Kind::tensor_store) {
    each_row(t, [&](const BoxRow& row, uint32_t offset) {
      with_piece(t, row, offset, true, [&](uint8_t* to, uint32_t at, uint32_t n) {
        if (t.reduction == Reduction::none)
          std::memcpy(to, t.data.data() + at, n);
        else
          reduce(to, t.data.data() + at, n, t.type, t.reduction);
      });
    });
    return;
  }
  for (uint32_t m = t.blocks; m; m &= m - 1) {
    uint8_t* to = t.block->cluster->blocks[static_cast<size_t>(std::countr_zero(m))]->shared.get();
    for (uint32_t at = 0; at < t.bytes; at += 16)
      std::memcpy(to + swizzled(t.shared + at, t.map.swizzle), t.data.data() + at, 16);
  }
}

// --- instructions ----------------------------------------------------------------------------------------------------

namespace {

/// The type that a reduction has by its tensor's elements.
Type type_of(uint8_t element) {
  switch (static_cast<TensorElement>(element)) {
  case TensorElement::s32: return Type::s32;
  case TensorElement::u64: return Type::u64;
  case TensorElement::s64: return Type::s64;
  case TensorElement::f16: return Type::f16;
  case TensorElement::bf16: return Type::bf16;
  case TensorElement::f64: return Type::f64;
  case TensorElement::f32:
  case TensorElement::f32_ftz: return Type::f32;
  default: return Type::u32;
  }
}

} // namespace

uint8_t* locate(Warp* w, const Insn* ip, uint32_t lane, uint64_t address, uint64_t bytes, uint64_t align, bool write) {
  if (address - param_window < window_bytes) {
    uint64_t at = address - param_window;
    if (at % align != 0) fault(w, ip, Fault::misaligned, Space::param, lane, at, align, write);
    if (write || at > w->param_bytes || w->param_bytes - at < bytes)
      fault(w, ip, Fault::out_of_bounds, Space::param, lane, at, bytes, write);
    return const_cast<uint8_t*>(w->params) + at;
  }
  if (address - shared_window < window_bytes) {
    SharedPlace at = shared_place(w, ip, lane, address, bytes, align, write);
    return at.block->shared.get() + at.offset;
  }
  if (address % align != 0) fault(w, ip, Fault::misaligned, Space::global, lane, address, align, write);
  if (!find_allocation(w, address, bytes))
    fault(w, ip, Fault::out_of_bounds, Space::global, lane, address, bytes, write);
  return w->arena + address;
}

/// imm: BulkFlags | Reduction << 8; words: shared address, map, mbarrier, mask of blocks, coordinates.
const Insn* tensor(Warp* w, const Insn* ip) {
  const uint32_t* words = words_of(ip);
  for (uint32_t mask = guarded_lanes(w, ip); mask; mask &= mask - 1) {
    auto lane = static_cast<uint32_t>(std::countr_zero(mask));
    bool stores = ip->imm & bulk_to_global;
    Token t;
    t.kind = stores ? Token::Kind::tensor_store : Token::Kind::tensor_load;
    t.block = w->block, t.warp = w, t.ip = ip;
    t.lane = lane, t.lanes = 1u << lane;
    t.map_at = address_value(w, words + 2, lane);
    t.map = unpack_tensormap(locate(w, ip, lane, t.map_at, tensormap_bytes, 64, false));
    std::string flaw = flaw_of(t.map);
    if (flaw.empty() && t.map.rank() != ip->b)
      flaw = "it has " + std::to_string(t.map.rank()) + " dimensions, the instruction " + std::to_string(ip->b);
    if (!flaw.empty()) fail(w, ip, ("the tensor map cannot be used: " + flaw).c_str());
    t.bytes = static_cast<uint32_t>(box_bytes(t.map));
    t.reduction = static_cast<Reduction>(ip->imm >> 8);
    t.type = type_of(t.map.element);
    SharedPlace at = shared_place(w, ip, lane, address_value(w, words, lane), t.bytes, 128, !stores);
    t.shared = at.offset;
    if (!stores) {
      t.blocks = target_blocks(w, ip, lane, words[6], at);
      t.barrier = shared_place(w, ip, lane, address_value(w, words + 4, lane), 8, 8, true).offset;
    }
    for (uint32_t d = 0; d < ip->b; ++d) t.coordinates[d] = static_cast<int32_t>(operand_value(w, words[7 + d], lane));
    if (const int64_t begin = int64_t{t.coordinates[0]} * bytes_of_element(t.map.element); begin % 16 != 0)
      fail(w, ip, lane, FindingKind::misaligned,
           "the box begins at element " + std::to_string(t.coordinates[0]) + " of the innermost dimension, " +
               std::to_string(begin) + " bytes in: it must be a multiple of 16 bytes");
    for (uint32_t d = 0; stores && d < ip->b; ++d)
      if (t.coordinates[d] < 0)
        fail(w, ip, lane, FindingKind::out_of_bounds,
             "the box begins at " + std::to_string(t.coordinates[d]) + " in dimension " + std::to_string(d) +
                 ": a store to a tensor must not begin before it, a GPU stops with an illegal instruction");
    on_issue(std::move(t));
  }
  return after(ip);
}

/// imm: TensorMapField; words: address, ordinal, value.
const Insn* map_replace(Warp* w, const Insn* ip) {
  const uint32_t* words = words_of(ip);
  for (uint32_t mask = guarded_lanes(w, ip); mask; mask &= mask - 1) {
    auto lane = static_cast<uint32_t>(std::countr_zero(mask));
    uint64_t address = address_value(w, words, lane) + (ip->b ? shared_window : 0);
    uint64_t value = operand_value(w, words[3], lane),
             ordinal = words[2] == no_operand ? 0 : operand_value(w, words[2], lane) & 0xffffffff;
    uint8_t* at = locate(w, ip, lane, address, tensormap_bytes, 64, true);
    if (w->block->sanitizer) w->block->sanitizer->map_touched(*w, ip, lane, address, true);
    TensorMap map = unpack_tensormap(at);
    auto field = static_cast<Mod>(ip->imm);
    if (ordinal > (field == Mod::global_stride ? 3u : 4u)) fail(w, ip, "a tensor map has no such dimension");
    /// A number that the field can hold.
    auto within = [&](uint64_t least, uint64_t most, const char* what) {
      if (value < least || value > most)
        fail(w, ip,
             ("a tensor map's " + std::string(what) + " must be " + std::to_string(least) + " to " +
              std::to_string(most) + ", not " + std::to_string(value))
                 .c_str());
      return value;
    };
    auto narrow = [&](uint64_t least, uint64_t most, const char* what) {
      return static_cast<uint8_t>(within(least, most, what));
    };
    switch (field) {
    case Mod::global_address: map.address = within(0, (uint64_t{1} << 57) - 1, "address"); break;
    case Mod::rank: map.rank_less_one = narrow(0, 4, "number of dimensions less one"); break;
    case Mod::box_dim: map.box[ordinal] = static_cast<uint16_t>(within(1, 256, "box size")); break;
    case Mod::global_dim: map.dims[ordinal] = value & 0xffffffff; break;
    case Mod::global_stride:
      if (value % 16 != 0) fail(w, ip, "a tensor map's strides must be multiples of 16 bytes");
      map.strides[ordinal] = within(0, (uint64_t{1} << 40) - 1, "stride");
      break;
    case Mod::element_stride: map.element_strides[ordinal] = narrow(1, 8, "element stride"); break;
    case Mod::elemtype: map.element = narrow(0, 15, "element type"); break;
    case Mod::interleave_layout: map.interleave = narrow(0, 2, "interleave layout"); break;
    case Mod::swizzle_mode: map.swizzle = narrow(0, 3, "swizzle mode"); break;
    case Mod::fill_mode: map.fill_nan = narrow(0, 1, "fill mode"); break;
    default: break; // swizzle_atomicity, of later machines: nothing looks at it
    }
    pack_tensormap(map, at);
  }
  return after(ip);
}

/// words: destination, source. All lanes of the warp give the same addresses.
const Insn* map_copy(Warp* w, const Insn* ip) {
  if (w->live & ~w->active) return wait_for_lanes(w, ip, w->live);
  uint32_t mask = guarded_lanes(w, ip);
  if (!mask) return after(ip);
  auto lane = static_cast<uint32_t>(std::countr_zero(mask));
  const uint32_t* words = words_of(ip);
  SharedPlace from = shared_place(w, ip, lane, address_value(w, words + 2, lane), tensormap_bytes, 128, false);
  uint8_t* to = locate(w, ip, lane, address_value(w, words, lane), tensormap_bytes, 128, true);
  if (w->block->sanitizer) {
    Sanitizer& s = *w->block->sanitizer;
    s.lanes_ordered(*w, w->live);
    s.map_touched(*w, ip, lane, shared_window + ((uint64_t{from.block->rank} + 1) << rank_shift) + from.offset, false);
    s.map_touched(*w, ip, lane, address_value(w, words, lane), true);
    s.map_fence(*w, w->live, true);
    s.lanes_ordered(*w, w->live);
  }
  std::memcpy(to, from.block->shared.get() + from.offset, tensormap_bytes);
  return after(ip);
}

} // namespace tilejit::runtime::simulator
