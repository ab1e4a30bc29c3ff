// memory.cpp - see memory.h.
#include "runtime/simulator/memory.h"

#include "runtime/device.h"
#include "runtime/simulator/findings.h"

#include <algorithm>
#include <cstring>
#include <sys/mman.h>

namespace tilejit::runtime::simulator {
namespace {

void* reserve(size_t bytes) {
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED)
    throw Error("the simulator cannot reserve " + std::to_string(bytes >> 30) +
                " GiB of address space: raise the limit (ulimit -v)");
  return at;
}

} // namespace

GlobalMemory::GlobalMemory() {
  range_ = static_cast<uint8_t*>(reserve(reserved));
  pages_ = static_cast<uint32_t*>(reserve(reserved / page * sizeof(uint32_t)));
}

GlobalMemory::~GlobalMemory() {
  munmap(range_, reserved);
  munmap(pages_, reserved / page * sizeof(uint32_t));
}

uint64_t GlobalMemory::allocate(size_t bytes) {
  std::lock_guard lock(mutex_);
  uint64_t pages = (bytes + page - 1) / page + (bytes == 0), step = (pages + 1) * page; // a free page behind
  if (bytes > reserved || step > reserved)
    throw Error("the simulator cannot allocate " + std::to_string(bytes) + " bytes: more than its 1 TiB");
  // Addresses are used again only after all others: a pointer to freed memory is then found out.
  auto fits = [&](uint64_t at) {
    auto after = allocations_.lower_bound(at);
    if (after != allocations_.end() && after->first < at + step) return after->second / page * page + 2 * page;
    if (after != allocations_.begin() && std::prev(after)->second + page > at)
      return std::prev(after)->second / page * page + 2 * page;
    return at;
  };
  uint64_t at = next_;
  for (int round = 0;;) {
    if (at + step > base + reserved) {
      if (++round == 2)
        throw Error("the simulator's 1 TiB of global memory has no free run of " + std::to_string(bytes) + " bytes");
      at = base;
    }
    uint64_t better = fits(at);
    if (better == at) break;
    at = better;
  }
  next_ = at + step;
  allocations_[at] = at + bytes;
  for (uint64_t p = 0; p < pages; ++p) pages_[(at - base) / page + p] = static_cast<uint32_t>(p + 1);
  std::memset(host(at), 0xff, bytes);
  return at;
}

void GlobalMemory::free(uint64_t address) {
  std::lock_guard lock(mutex_);
  auto it = allocations_.find(address);
  if (it == allocations_.end()) return;
  uint64_t bytes = it->second - address, pages = (bytes + page - 1) / page + (bytes == 0);
  for (uint64_t p = 0; p < pages; ++p) pages_[(address - base) / page + p] = 0;
  madvise(host(address), pages * page, MADV_DONTNEED);
  initialised_.erase(initialised_.lower_bound(address), initialised_.lower_bound(it->second));
  allocations_.erase(it);
}

std::vector<GlobalMemory::Range> GlobalMemory::allocations() const {
  std::lock_guard lock(mutex_);
  std::vector<Range> all;
  for (const auto& [begin, end] : allocations_) all.push_back({begin, end});
  return all;
}

bool GlobalMemory::is_initialised(uint64_t begin, uint64_t end) const {
  auto after = initialised_.upper_bound(begin);
  return begin == end || (after != initialised_.begin() && std::prev(after)->second >= end);
}

void GlobalMemory::mark_initialised(uint64_t begin, uint64_t end) {
  std::lock_guard lock(mutex_);
  if (begin >= end) return;
  auto it = initialised_.upper_bound(begin);
  if (it != initialised_.begin() && std::prev(it)->second >= begin) --it;
  while (it != initialised_.end() && it->first <= end) {
    begin = std::min(begin, it->first);
    end = std::max(end, it->second);
    it = initialised_.erase(it);
  }
  initialised_[begin] = end;
}

GlobalMemory::Range GlobalMemory::find(uint64_t address) const {
  if (address - base >= reserved) return {};
  uint64_t index = (address - base) / page;
  uint32_t entry = pages_[index];
  if (entry == 0) return {};
  uint64_t begin = base + (index - (entry - 1)) * page;
  auto it = allocations_.find(begin);
  return {begin, it->second};
}

std::string GlobalMemory::describe_nearest(uint64_t address) const {
  std::lock_guard lock(mutex_);
  if (allocations_.empty()) return "nothing is allocated";
  auto after = allocations_.upper_bound(address);
  const std::pair<const uint64_t, uint64_t>* best = nullptr;
  auto distance = [&](const std::pair<const uint64_t, uint64_t>& a) {
    return address < a.first ? a.first - address : address < a.second ? 0 : address - a.second;
  };
  if (after != allocations_.end()) best = &*after;
  if (after != allocations_.begin() && (!best || distance(*std::prev(after)) <= distance(*best)))
    best = &*std::prev(after);
  std::string range = "[" + hexadecimal(best->first) + ", " + hexadecimal(best->second) + ") of " +
                      std::to_string(best->second - best->first) + " bytes";
  if (address < best->first) return std::to_string(best->first - address) + " bytes before the allocation " + range;
  if (address < best->second)
    return "inside the allocation " + range + ", " + std::to_string(best->second - address) + " bytes before its end";
  return std::to_string(address - best->second) + " bytes after the end of the allocation " + range;
}

} // namespace tilejit::runtime::simulator
