// plane.h - the records of a memory (records.h), one granule at a time.
#pragma once
#include "runtime/simulator/records.h"

#include <algorithm>
#include <memory>

namespace tilejit::runtime::simulator {

class Plane : public RecordPlane {
public:
  /// Room for whole lines of 128 bytes, which are looked at together.
  Plane(uint64_t bytes, uint32_t shift) : chunk_count_((bytes + 127) / 128 * 8), per_chunk_(16u >> shift) {
    this->shift = shift;
    records_ = std::make_unique_for_overwrite<Record[]>(chunk_count_ * (1 + per_chunk_));
    chunks = records_.get();
    granules = chunks + chunk_count_;
    clear();
  }
  void clear() { std::fill_n(chunks, chunk_count_, Record{0}); }

  [[gnu::always_inline]] Record at(uint64_t granule) const {
    const Record r = chunks[granule / per_chunk_];
    return r == mixed ? granules[granule] : part(r, granule % per_chunk_);
  }
  /// `r` is of one lane.
  void put(uint64_t first, uint64_t count, Record r) {
    for (const uint64_t end = first + count; first < end;) {
      const uint64_t chunk = first / per_chunk_, last = std::min(end, (chunk + 1) * per_chunk_);
      if (last - first == per_chunk_) {
        chunks[chunk] = r;
      } else {
        if (chunks[chunk] != mixed) mix(chunk);
        std::fill(granules + first, granules + last, r);
      }
      first = last;
    }
  }
  /// Calls f(record, granule, count) for pieces of granules first .. first + count - 1: within each, records are of one
  /// agent and epoch, and `record` is that of the first.
  template <class F>
  void pieces(uint64_t first, uint64_t count, F f) const {
    for (const uint64_t end = first + count; first < end;) {
      const Record r = chunks[first / per_chunk_];
      const uint64_t last = r == mixed ? first + 1 : std::min(end, (first / per_chunk_ + 1) * per_chunk_);
      f(at(first), first, last - first);
      first = last;
    }
  }

private:
  [[gnu::always_inline]] Record part(Record r, uint64_t granule) const {
    if (r == 0) return 0;
    const auto width = static_cast<uint32_t>(r >> width_first) & 7;
    return ((r + (granule << shift >> width)) & ~width_mask) | one_lane;
  }
  void mix(uint64_t chunk) {
    const Record r = chunks[chunk];
    for (uint64_t g = 0; g < per_chunk_; ++g) granules[chunk * per_chunk_ + g] = part(r, g);
    chunks[chunk] = mixed;
  }

  uint64_t chunk_count_;
  uint32_t per_chunk_; ///< granules
  std::unique_ptr<Record[]> records_;
};

} // namespace tilejit::runtime::simulator
