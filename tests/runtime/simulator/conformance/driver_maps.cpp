// driver_maps.cpp - see driver_maps.h. The function's parameters: CUDA Driver API, "Tensor Map Object Management".
#include "tests/runtime/simulator/conformance/driver_maps.h"

#include "runtime/cuda/driver.h"

#include <cstdlib>
#include <cstring>
#include <dlfcn.h>

namespace tilejit::conformance {
namespace {

using runtime::simulator::TensorMapDescription;

/// CUtensorMapDataType
int driver_type(const std::string& name) {
  static const std::map<std::string, int> types{{"u8", 0},  {"u16", 1},  {"u32", 2},  {"i32", 3},
                                                {"u64", 4}, {"i64", 5},  {"f16", 6},  {"f32", 7},
                                                {"f64", 8}, {"bf16", 9}, {"tf32", 11}};
  return types.at(name);
}

using Encode = int (*)(void* map, int type, uint32_t rank, void* address, const uint64_t* dims, const uint64_t* strides,
                       const uint32_t* box, const uint32_t* element_strides, int interleave, int swizzle, int promotion,
                       int fill);

/// Found once, with a context of the first GPU made current, which the function asks for.
Encode find_encode() {
  static const auto driver = runtime::cuda::Driver::load();
  runtime::cuda::ContextHandle context = nullptr;
  driver->check(driver->cuDevicePrimaryCtxRetain(&context, runtime::cuda::device_facts(*driver, 0).handle),
                "opening cuda:0");
  driver->check(driver->cuCtxPushCurrent_v2(context), "using cuda:0");
  const char* named = std::getenv("TILEJIT_LIBCUDA");
  void* library = dlopen(named && *named ? named : "libcuda.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  void* function = library ? dlsym(library, "cuTensorMapEncodeTiled") : nullptr;
  if (!function) throw runtime::Error("the driver has no cuTensorMapEncodeTiled: it must know CUDA 12.0 or later");
  return reinterpret_cast<Encode>(function);
}

std::array<std::byte, 128> encode_by_driver(const TensorMapDescription& d) {
  static const Encode encode = find_encode();
  alignas(64) std::array<std::byte, 128> map{};
  std::vector<uint32_t> steps = d.element_strides;
  if (steps.empty()) steps.assign(d.dims.size(), 1);
  std::vector<uint64_t> strides = d.strides;
  strides.resize(d.dims.size()); // one more than is read, so that there is a place of them for one dimension
  const int swizzle = d.swizzle == 32 ? 1 : d.swizzle == 64 ? 2 : d.swizzle == 128 ? 3 : 0;
  const int result =
      encode(map.data(), driver_type(d.type), static_cast<uint32_t>(d.dims.size()), reinterpret_cast<void*>(d.address),
             d.dims.data(), strides.data(), d.box.data(), steps.data(), 0, swizzle, 0, d.fill_nan);
  if (result != 0) throw runtime::Error("cuTensorMapEncodeTiled: CUDA error " + std::to_string(result));
  return map;
}

uint64_t fingerprint_of(const NamedMap& map) {
  const TensorMapDescription& d = map.what;
  Case c;
  c.body = map.name + d.type;
  c.launches.clear();
  auto add = [&](const auto& numbers) { c.launches.push_back({.values = {numbers.begin(), numbers.end()}}); };
  add(d.dims), add(d.strides), add(d.box), add(d.element_strides);
  add(std::vector<uint64_t>{d.address, d.swizzle, d.fill_nan});
  return fingerprint(c);
}

} // namespace

std::vector<NamedMap> driver_maps() {
  constexpr uint64_t address = 0x7f1234567890;
  std::vector<NamedMap> maps;
  auto add = [&](std::string name, TensorMapDescription d) {
    if (d.address == 0) d.address = address;
    maps.push_back({std::move(name), std::move(d)});
  };
  for (const char* type : {"u8", "u16", "u32", "i32", "u64", "i64", "f16", "f32", "f64", "bf16", "tf32"})
    for (bool nan : {false, true})
      add(std::string(type) + (nan ? " NaN" : ""),
          {.type = type, .dims = {1000, 77}, .strides = {8192}, .box = {16, 5}, .fill_nan = nan});
  for (uint32_t swizzle : {32, 64, 128})
    add("swizzle " + std::to_string(swizzle),
        {.type = "bf16", .dims = {256, 300}, .strides = {512}, .box = {swizzle / 2, 64}, .swizzle = swizzle});
  const std::vector<uint64_t> dims{0x101, 0x202, 0x303, 0x404, 0x505},
      strides{0x1000, 0x1122334450, 0x2233445560, 0xfffffffff0};
  const std::vector<uint32_t> box{32, 2, 3, 4, 5}, steps{1, 2, 3, 4, 5};
  for (size_t rank = 1; rank <= 5; ++rank)
    for (bool stepping : {false, true})
      add("rank " + std::to_string(rank) + (stepping ? " in steps" : ""),
          {.type = "f16",
           .dims = {dims.begin(), dims.begin() + rank},
           .strides = {strides.begin(), strides.begin() + rank - 1},
           .box = {box.begin(), box.begin() + rank},
           .element_strides =
               stepping ? std::vector<uint32_t>{steps.begin(), steps.begin() + rank} : std::vector<uint32_t>{}});
  add("the most of each", {.type = "u8",
                           .address = 0xfffffffff0,
                           .dims = {uint64_t{1} << 32, uint64_t{1} << 32, 1, uint64_t{1} << 31, uint64_t{1} << 32},
                           .strides = {0xfffffffff0, 0xfffffffff0, 0xfffffffff0, 0xfffffffff0},
                           .box = {256, 256, 1, 1, 1},
                           .element_strides = {1, 8, 8, 8, 8}});
  add("the least of each", {.type = "u8", .address = 16, .dims = {1, 1}, .strides = {16}, .box = {16, 1}});
  add("below zero", {.type = "u8", .address = 0 - uint64_t{4096}, .dims = {64, 64}, .strides = {64}, .box = {16, 1}});
  return maps;
}

Recording::Entry record_map(const NamedMap& map, bool driver) {
  Recording::Entry entry{.fingerprint = fingerprint_of(map)};
  try {
    auto bytes = driver ? encode_by_driver(map.what) : runtime::simulator::encode_tensormap(map.what);
    entry.bytes.assign(bytes.begin(), bytes.end());
  } catch (const runtime::Error& e) {
    entry.refused = true;
    auto text = std::as_bytes(std::span(e.what(), std::strlen(e.what())));
    entry.bytes.assign(text.begin(), text.end());
  }
  return entry;
}

} // namespace tilejit::conformance
