// exec_observe.cpp - the loops over lanes and records of what observes a kernel (observe.h, sanitize.h).
#include "runtime/simulator/handlers.h"
#include "runtime/simulator/lanes.h"
#include "runtime/simulator/memory_flags.h"
#include "runtime/simulator/observe.h"

namespace tilejit::runtime::simulator {
namespace {

u32 addresses(const u8* file, u32 flags, u32 base, u32 offset, u64 bytes, u64 align, u64 end, u64* out) {
  alignas(64) u64 at[32];
  const u64 add = u64(s64(s32(offset)));
  if (flags & address_row64) {
    const u64* a = reinterpret_cast<const u64*>(file + base);
    LANES at[i] = a[i] + add;
  } else if (flags & address_row32) {
    const u32* a = reinterpret_cast<const u32*>(file + base);
    LANES at[i] = a[i] + offset;
  } else {
    const u64 a = *reinterpret_cast<const u64*>(file + base) + add;
    LANES at[i] = a;
  }
  u64 jump = 0, wrong = 0, expected = at[0];
  for (int i = 0; i < 32; ++i, expected += bytes) jump |= at[i] ^ expected;
  for (int i = 0; i < 32; ++i) wrong |= (at[i] & align) | u64(s64(end - at[i]) >> 63) | u64(s64(at[i]) >> 63);
  for (int i = 0; i < 32; ++i) out[i] = at[i];
  return (jump == 0 ? 1 : 0) | (wrong == 0 ? 2 : 0);
}
u64 differ(const u64* records, u64 count) {
  const u64 first = records[0];
  u64 d = 0;
  for (u64 i = 0; i < count; ++i) d |= records[i] ^ first;
  return d;
}
template <u32 each>
u64 strange(const u64* records, u64 pattern, u64 mask) {
  u64 d = 0;
  for (u64 lane = 0; lane < 32; ++lane)
    for (u32 k = 0; k < each; ++k) d |= (records[lane * each + k] ^ (pattern | lane)) & mask;
  return d;
}
template <u32 each>
void put(u64* records, u64 mine) {
  for (u64 lane = 0; lane < 32; ++lane)
    for (u32 k = 0; k < each; ++k) records[lane * each + k] = mine | lane;
}
template <u32 each>
constexpr RecordLoops loops() {
  return {strange<each>, put<each>};
}

} // namespace

const ObservingLoops& ISA(observing_loops)() {
  static constexpr ObservingLoops all{
      addresses, differ, {loops<1>(), loops<2>(), loops<4>(), loops<8>(), loops<16>(), loops<32>()}};
  return all;
}

} // namespace tilejit::runtime::simulator
