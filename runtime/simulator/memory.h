// memory.h - the simulator's global memory.
//
// Device addresses are offsets into one reserved range of host memory, so a device address becomes a host address by an
// addition. Every allocation begins on a page of 64 KiB of its own with a free page behind it: the table of pages tells
// in one step whether an access lies inside an allocation. Fresh memory holds 0xff bytes: a NaN in every floating-point
// type.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace tilejit::runtime::simulator {

class GlobalMemory {
public:
  GlobalMemory();
  ~GlobalMemory();
  GlobalMemory(const GlobalMemory&) = delete;
  GlobalMemory& operator=(const GlobalMemory&) = delete;

  uint64_t allocate(size_t bytes);
  void free(uint64_t address);
  uint8_t* host(uint64_t address) const { return arena() + address; }
  /// Host address of device address 0 (which is not mapped).
  uint8_t* arena() const { return range_ - base; }
  /// The allocation that holds `address`: [begin, end); empty where there is none. Not to be called while another
  /// thread allocates.
  struct Range {
    uint64_t begin = 0, end = 0;
  };
  Range find(uint64_t address) const;
  std::vector<Range> allocations() const;
  /// Whether all of [begin, end), inside one allocation, has been given values.
  bool is_initialised(uint64_t begin, uint64_t end) const;
  void mark_initialised(uint64_t begin, uint64_t end);
  /// "0 bytes after the allocation [0x..., 0x...) of 64 bytes": the nearest one, for messages.
  std::string describe_nearest(uint64_t address) const;

  static constexpr uint64_t base = uint64_t{1} << 36, reserved = uint64_t{1} << 40; ///< the range of device addresses

private:
  static constexpr uint64_t page = uint64_t{1} << 16;
  mutable std::mutex mutex_;
  uint8_t* range_ = nullptr;
  uint32_t* pages_ = nullptr;                ///< by page: 1 + how many pages after the allocation's first one; 0: none
  std::map<uint64_t, uint64_t> allocations_; ///< begin -> end
  std::map<uint64_t, uint64_t> initialised_; ///< disjoint ranges that do not touch, begin -> end
  uint64_t next_ = base;
};

} // namespace tilejit::runtime::simulator
