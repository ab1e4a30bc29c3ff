// launch.h - one launch of a PTX entry, written down: on the command line, as a JSON file, or in C++.
//
//   Launch launch = read_launch("launch.json");           // or fields filled by hand
//   LaunchResult result = run_launch(*device, ptx, launch); // copies arrays in, runs, copies them out
//   write_outputs(launch, result);                        // all files or none
//
// Arrays start at multiples of 256 bytes, as the driver places them.
#pragma once
#include "runtime/simulator/device.h"
#include "tools/tilejit/elements.h"

#include <map>
#include <memory>

namespace tilejit::tools {

/// A tensor map over an array, given by value: PTX ISA, "Tensor-map".
struct LaunchTensorMap {
  std::string array;
  std::vector<uint64_t> dims;                 ///< innermost first
  std::vector<uint64_t> strides;              ///< bytes, of dimension 1 and on
  std::vector<uint32_t> box, element_strides; ///< element strides: 1 where empty
  int64_t offset = 0;                         ///< bytes into the array; a map may begin before it
  uint32_t swizzle = 0;                       ///< bytes: 0, 32, 64, 128
  bool fill_nan = false;                      ///< beyond the array: NaN, else zero
};

/// A parameter: bytes, the address of an array, a tensor map, or a struct of these by value.
struct LaunchArgument {
  enum class Kind : uint8_t { bytes, array, tensor_map, structure } kind = Kind::bytes;
  std::vector<std::byte> bytes;
  size_t align = 1;  ///< in a struct
  std::string array; ///< a name in Launch::arrays
  LaunchTensorMap map;
  std::vector<LaunchArgument> members;

  template <typename T>
  static LaunchArgument value(T x) {
    auto view = std::as_bytes(std::span(&x, 1));
    return {.bytes = {view.begin(), view.end()}, .align = sizeof x};
  }
};

/// An array in device memory: from and to files, or made of what a struct of `members` holds. Of neither it is zeroed
/// before the launch.
struct LaunchArray {
  std::string in, out;         ///< files; the same one where it is written back in place; out empty: not written
  std::optional<Element> type; ///< unset: that of the file `in`; u8 where there are members
  std::vector<int64_t> shape;  ///< that of `in`, where there is one
  std::vector<LaunchArgument> members; ///< addresses and tensor maps that kernels find in memory
};

struct Launch {
  std::string entry;
  std::array<uint32_t, 3> grid{1, 1, 1}, block{1, 1, 1}, cluster{0, 0, 0};
  uint32_t shared = 0; ///< bytes of dynamic shared memory
  std::map<std::string, LaunchArray> arrays;
  std::vector<LaunchArgument> arguments;
};

/// Reads a launch file; its paths are relative to it. Throws InputError.
Launch read_launch(const std::string& path);
/// Adds one --arg of the command line: "in:FILE.npy[:TYPE]", "out:FILE.npy:TYPE:SHAPE", "inout:FILE.npy[:TYPE]",
/// "i32:V", "i64:V", "f32:V", "f64:V". Throws InputError.
void add_argument(Launch& launch, const std::string& text);
/// "4,2,1", "4,2" or "4". Throws InputError.
std::array<uint32_t, 3> parse_dimensions(const std::string& option, const std::string& text);

struct LaunchResult {
  std::map<std::string, runtime::NpyFile> outputs; ///< by array
};
/// Throws InputError for what is wrong with the launch, runtime::Error for what is wrong with the PTX, and
/// runtime::ExecutionError (or FindingError) where the kernel could not go on.
LaunchResult run_launch(runtime::SimulatorDevice& device, const std::string& ptx, const Launch& launch);
/// All files or none.
void write_outputs(const Launch& launch, const LaunchResult& result);

} // namespace tilejit::tools
