// liveness.cpp - see liveness.h.
#include "runtime/simulator/liveness.h"

#include "runtime/device.h"
#include "runtime/simulator/forms.h"

#include <algorithm>
#include <queue>

namespace tilejit::runtime::simulator {
namespace {

constexpr uint64_t max_set_bits = uint64_t{1} << 33; ///< of all sets together: 1 GB

/// A set of registers as words of bits.
class BitSets {
public:
  BitSets(size_t sets, size_t bits) : words_((bits + 63) / 64), data_(sets * words_) {}
  uint64_t* operator[](size_t set) { return data_.data() + set * words_; }
  size_t words() const { return words_; }

private:
  size_t words_;
  std::vector<uint64_t> data_;
};

} // namespace

Liveness analyse_liveness(const Function& f, const Cfg& cfg) {
  size_t blocks = cfg.blocks.size();
  Liveness result;
  result.live_in.resize(blocks);
  result.live_out.resize(blocks);
  if (blocks == 0) return result;

  // Registers that are read before they are written in some block: only those can be live at a block's border.
  std::vector<uint32_t> number(f.registers.size(), none), crossing;
  std::vector<uint32_t> written_in(f.registers.size(), none);
  RegisterUse use;
  for (uint32_t b = 0; b < blocks; ++b)
    for (uint32_t i = cfg.blocks[b].begin; i < cfg.blocks[b].end; ++i) {
      register_use(f, f.body[i], use);
      for (uint32_t r : use.reads)
        if (written_in[r] != b && number[r] == none) {
          number[r] = static_cast<uint32_t>(crossing.size());
          crossing.push_back(r);
        }
      if (f.body[i].guard == none)
        for (uint32_t r : use.writes) written_in[r] = b;
    }
  if (uint64_t{blocks} * crossing.size() * 3 > max_set_bits)
    throw Error("'" + std::string(f.name) + "' has too many blocks and registers to analyse: " +
                std::to_string(blocks) + " blocks, " + std::to_string(crossing.size()) + " registers live across them");

  BitSets reads(blocks, crossing.size()), writes(blocks, crossing.size()), in(blocks, crossing.size());
  auto bit = [](uint32_t n) { return uint64_t{1} << (n & 63); };
  for (uint32_t b = 0; b < blocks; ++b) {
    uint64_t *read = reads[b], *write = writes[b];
    for (uint32_t i = cfg.blocks[b].begin; i < cfg.blocks[b].end; ++i) {
      register_use(f, f.body[i], use);
      for (uint32_t r : use.reads)
        if (uint32_t n = number[r]; n != none && !(write[n >> 6] & bit(n))) read[n >> 6] |= bit(n);
      if (f.body[i].guard == none)
        for (uint32_t r : use.writes)
          if (uint32_t n = number[r]; n != none) write[n >> 6] |= bit(n);
    }
  }

  // live_in = reads | (union of the successors' live_in & ~writes), backwards until nothing changes.
  std::vector<bool> queued(blocks, true);
  std::vector<uint32_t> work;
  for (uint32_t b = 0; b < blocks; ++b) work.push_back(b); // the last block first
  std::vector<uint64_t> out(in.words());
  auto union_of_successors = [&](uint32_t b) {
    std::fill(out.begin(), out.end(), 0);
    for (uint32_t s : cfg.blocks[b].successors)
      if (s != cfg.exit())
        for (size_t w = 0; w < out.size(); ++w) out[w] |= in[s][w];
  };
  while (!work.empty()) {
    uint32_t b = work.back();
    work.pop_back();
    queued[b] = false;
    union_of_successors(b);
    bool changed = false;
    for (size_t w = 0; w < out.size(); ++w) {
      uint64_t now = reads[b][w] | (out[w] & ~writes[b][w]);
      changed = changed || now != in[b][w];
      in[b][w] = now;
    }
    if (!changed) continue;
    for (uint32_t p : cfg.blocks[b].predecessors)
      if (!queued[p]) queued[p] = true, work.push_back(p);
  }
  auto list = [&](const uint64_t* set) {
    std::vector<uint32_t> registers;
    for (size_t w = 0; w < in.words(); ++w)
      for (uint64_t rest = set[w]; rest; rest &= rest - 1)
        registers.push_back(crossing[w * 64 + static_cast<size_t>(__builtin_ctzll(rest))]);
    std::sort(registers.begin(), registers.end());
    return registers;
  };
  for (uint32_t b = 0; b < blocks; ++b) {
    result.live_in[b] = list(in[b]);
    union_of_successors(b);
    result.live_out[b] = list(out.data());
  }
  result.maybe_undefined = result.live_in[0];
  return result;
}

namespace {

struct Interval {
  uint32_t reg = none;
  uint32_t begin = none, end = 0; ///< positions, both included

  void cover(uint32_t position) {
    begin = begin == none ? position : std::min(begin, position);
    end = std::max(end, position);
  }
};

/// Places of one file: free ones are handed out lowest first, so that the file stays small.
class FreeList {
public:
  uint32_t take() {
    if (free_.empty()) return size_++;
    uint32_t place = free_.top();
    free_.pop();
    return place;
  }
  void give(uint32_t place) { free_.push(place); }
  /// Two neighbours, always new: 128-bit registers are rare.
  uint32_t take_pair() {
    if (!pairs_.empty()) {
      uint32_t place = pairs_.back();
      pairs_.pop_back();
      return place;
    }
    size_ += 2;
    return size_ - 2;
  }
  void give_pair(uint32_t place) { pairs_.push_back(place); }
  uint32_t size() const { return size_; }

private:
  std::priority_queue<uint32_t, std::vector<uint32_t>, std::greater<>> free_;
  std::vector<uint32_t> pairs_;
  uint32_t size_ = 0;
};

} // namespace

RowAllocation allocate_rows(const Function& f, const Cfg& cfg, const Liveness& liveness, const Uniformity& uniformity) {
  RowAllocation result;
  result.place.resize(f.registers.size());

  // Positions count instructions in the order of the blocks. Intervals without holes include both ends, so a register
  // that an instruction writes overlaps those that it reads.
  std::vector<Interval> intervals(f.registers.size());
  RegisterUse use;
  uint32_t position = 0;
  for (uint32_t b = 0; b < cfg.blocks.size(); ++b) {
    const Block& block = cfg.blocks[b];
    for (uint32_t r : liveness.live_in[b]) intervals[r].cover(position);
    for (uint32_t i = block.begin; i < block.end; ++i, ++position) {
      register_use(f, f.body[i], use);
      for (uint32_t r : use.reads) intervals[r].cover(position);
      for (uint32_t r : use.writes) intervals[r].cover(position);
    }
    for (uint32_t r : liveness.live_out[b]) intervals[r].cover(position - 1);
  }

  std::vector<uint32_t> order;
  for (uint32_t r = 0; r < f.registers.size(); ++r)
    if (intervals[r].begin != none) order.push_back(r);
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    return std::pair(intervals[a].begin, a) < std::pair(intervals[b].begin, b);
  });

  FreeList rows32, rows64, predicates, uniforms;
  auto file_of = [&](uint32_t r) {
    Type type = f.registers[r].type;
    if (type == Type::pred) return Place::File::predicate;
    if (bits_of(type) == 128) return Place::File::row128;
    if (uniformity.reg[r]) return Place::File::uniform;
    return bits_of(type) == 64 ? Place::File::row64 : Place::File::row32;
  };
  auto list_of = [&](Place::File file) -> FreeList& {
    switch (file) {
    case Place::File::row32: return rows32;
    case Place::File::predicate: return predicates;
    case Place::File::uniform: return uniforms;
    default: return rows64;
    }
  };
  using Ending = std::pair<uint32_t, uint32_t>; // last position, register
  std::priority_queue<Ending, std::vector<Ending>, std::greater<>> active;
  for (uint32_t r : order) {
    while (!active.empty() && active.top().first < intervals[r].begin) {
      Place place = result.place[active.top().second];
      active.pop();
      if (place.file == Place::File::row128)
        rows64.give_pair(place.index);
      else
        list_of(place.file).give(place.index);
    }
    Place::File file = file_of(r);
    result.place[r] = {file, file == Place::File::row128 ? rows64.take_pair() : list_of(file).take()};
    active.emplace(intervals[r].end, r);
  }
  result.rows32 = rows32.size();
  result.rows64 = rows64.size();
  result.predicates = predicates.size();
  result.uniforms = uniforms.size();
  return result;
}

} // namespace tilejit::runtime::simulator
