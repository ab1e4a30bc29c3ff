// launch.h - one launch of a PTX entry, written down: on the command line, as a JSON file, or in C++.
//
//   Launch launch = read_launch("launch.json");           // or fields filled by hand
//   LaunchResult result = run_launch(*device, ptx, launch); // copies arrays in, runs, copies them out
//   write_outputs(launch, result);                        // all files or none
//
// Arrays start at multiples of 256 bytes, as the driver places them.
//
// A PlacedLaunch is launched as often as one likes:
//
//   PlacedLaunch placed(*device, launch);
//   placed.upload();                                      // arrays as they are at first
//   device->launch_ptx(ptx, placed.how());
#pragma once
#include "runtime/device.h"
#include "tools/tilejit/elements.h"

#include <map>
#include <memory>
#include <optional>

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

/// An array in device memory: from and to files, random, or made of what a struct of `members` holds. Of none of these
/// it is zeroed before the launch.
struct LaunchArray {
  std::string in, out;          ///< files; the same one where it is written back in place; out empty: not written
  std::optional<uint64_t> seed; ///< of random numbers with mean 0 and deviation 1, about normal
  std::optional<Element> type;  ///< unset: that of the file `in`; u8 where there are members
  std::vector<int64_t> shape;   ///< that of `in`, where there is one
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
/// A launch whose arrays have their places in a device's memory.
class PlacedLaunch {
public:
  /// Throws InputError for what is wrong with the launch.
  PlacedLaunch(runtime::Device& device, const Launch& launch);
  void upload(); ///< all arrays, as they are before the launch
  const runtime::PtxLaunch& how() const { return how_; }
  LaunchResult collect() const; ///< what is to be written, as it is now

  struct Array {
    Element type{};
    std::vector<int64_t> shape;
    std::string descr; ///< of the file that is written: that of the file read, where it is the same one
    std::vector<std::byte> elements;
    std::shared_ptr<runtime::Buffer> buffer;
    bool is_output = false;
  };

private:
  runtime::Device& device_;
  std::map<std::string, Array> arrays_;
  runtime::PtxLaunch how_;
};
/// Throws InputError for what is wrong with the launch, runtime::Error for what is wrong with the PTX, and
/// runtime::ExecutionError (or FindingError) where the kernel could not go on.
LaunchResult run_launch(runtime::Device& device, const std::string& ptx, const Launch& launch);
/// All files or none.
void write_outputs(const Launch& launch, const LaunchResult& result);

} // namespace tilejit::tools
