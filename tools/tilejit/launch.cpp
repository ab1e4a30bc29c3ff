// launch.cpp - see launch.h: arguments of the command line, and running a launch.
#include "tools/tilejit/launch.h"

#include "runtime/files.h"
#include "runtime/simulator/tensormap.h"
#include "tools/tilejit/arguments.h"

#include <charconv>
#include <filesystem>

namespace tilejit::tools {
namespace {

namespace fs = std::filesystem;

template <typename T>
bool parse_number(std::string_view text, T& value) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

/// Integers may be written signed or unsigned, in decimal or as 0x...
template <typename Signed, typename Unsigned>
bool parse_integer(std::string_view text, LaunchArgument& argument) {
  Signed a{};
  Unsigned b{};
  bool hexadecimal = text.starts_with("0x");
  auto [end, error] =
      std::from_chars(text.data() + (hexadecimal ? 2 : 0), text.data() + text.size(), b, hexadecimal ? 16 : 10);
  if (error == std::errc() && end == text.data() + text.size() && !text.empty())
    argument = LaunchArgument::value(b);
  else if (parse_number(text, a))
    argument = LaunchArgument::value(a);
  else
    return false;
  return true;
}

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts{""};
  for (char c : text)
    if (c == at)
      parts.emplace_back();
    else
      parts.back() += c;
  return parts;
}

std::vector<int64_t> parse_extents(const std::string& option, const std::string& text) {
  std::vector<int64_t> shape;
  for (const std::string& part : split(text, 'x')) {
    int64_t size = 0;
    if (!parse_number(part, size) || size < 0)
      throw InputError(option + ": '" + text + "' is not a shape; write sizes apart by x, as in 64x96");
    shape.push_back(size);
  }
  return shape;
}

std::string as_written(const std::string& text) { return "--arg " + text; }

/// Each is a sum of four uniform numbers: quickly made, and near enough to a normal one.
runtime::NpyFile random_numbers(uint64_t seed, const std::vector<int64_t>& shape, size_t count) {
  std::vector<float> values(count);
  uint64_t state = seed;
  for (float& value : values) {
    uint64_t bits = state += 0x9e3779b97f4a7c15; // splitmix64
    bits = (bits ^ bits >> 30) * 0xbf58476d1ce4e5b9;
    bits = (bits ^ bits >> 27) * 0x94d049bb133111eb;
    bits ^= bits >> 31;
    int sum = 0;
    for (int i = 0; i < 4; ++i) sum += static_cast<int>(bits >> 16 * i & 0xffff) - 0x8000;
    value = static_cast<float>(sum) * (1.7320508f / 65536); // four of variance 1/12
  }
  auto bytes = std::as_bytes(std::span(values));
  return {"<f4", shape, {bytes.begin(), bytes.end()}};
}

using Prepared = PlacedLaunch::Array;

/// An array with all that its files say: elements, shape, type.
Prepared prepare(const std::string& name, const LaunchArray& array) {
  Prepared p;
  if (!array.members.empty()) {
    if (!array.in.empty() || !array.out.empty())
      throw InputError("array '" + name + "' has members and a file: one or the other");
    p.type = Element::u8;
    return p; // filled when all others have their places
  }
  if (array.in.empty()) {
    if (!array.type) throw InputError("array '" + name + "' has no file to read and no element type");
    p.type = *array.type;
    p.shape = array.shape;
    int64_t bytes = static_cast<int64_t>(bytes_of(p.type));
    for (int64_t size : p.shape)
      if (size < 0 || __builtin_mul_overflow(bytes, size, &bytes) || bytes > (int64_t{1} << 38))
        throw InputError("array '" + name + "' of shape " + runtime::shape_text(p.shape) +
                         " is larger than the simulator's memory");
    if (array.seed)
      p.elements = to_device(random_numbers(*array.seed, p.shape, static_cast<size_t>(bytes) / bytes_of(p.type)),
                             p.type, "array '" + name + "'");
    else
      p.elements.resize(static_cast<size_t>(bytes));
    return p;
  }
  runtime::NpyFile file = runtime::read_npy_file(array.in);
  p.type = array.type ? *array.type : element_of(file, array.in);
  p.shape = file.shape;
  if (!array.shape.empty() && array.shape != file.shape)
    throw InputError(array.in + ": has shape " + runtime::shape_text(file.shape) + ", the launch says " +
                     runtime::shape_text(array.shape));
  if (array.in == array.out) p.descr = file.descr;
  p.elements = to_device(file, p.type, array.in);
  return p;
}

using Arrays = std::map<std::string, Prepared>;

const Prepared& array_named(const Arrays& arrays, const std::string& name) {
  auto it = arrays.find(name);
  if (it != arrays.end()) return it->second;
  std::vector<std::string> known;
  for (const auto& [other, array] : arrays) known.push_back(other);
  throw InputError(unknown_name("array", name, known));
}

/// 0 where it has no place yet.
uint64_t address_of(const Prepared& array) { return array.buffer ? array.buffer->address() : 0; }

LaunchArgument resolve(const LaunchTensorMap& map, const Prepared& array) {
  int64_t size = static_cast<int64_t>(array.elements.size());
  if (map.offset >= size)
    throw InputError("the tensor map over '" + map.array + "': its offset of " + std::to_string(map.offset) +
                     " bytes is beyond the array, which has " + std::to_string(size));
  auto bytes = runtime::simulator::encode_tensormap({.type = std::string(name_of(array.type)),
                                                     .address = address_of(array) + static_cast<uint64_t>(map.offset),
                                                     .dims = map.dims,
                                                     .strides = map.strides,
                                                     .box = map.box,
                                                     .element_strides = map.element_strides,
                                                     .swizzle = map.swizzle,
                                                     .fill_nan = map.fill_nan});
  return {.bytes = {bytes.begin(), bytes.end()}, .align = 64};
}

/// Bytes of a parameter, and how they are aligned in a struct.
LaunchArgument resolve(const LaunchArgument& argument, const Arrays& arrays) {
  switch (argument.kind) {
  case LaunchArgument::Kind::bytes: return argument;
  case LaunchArgument::Kind::array: return LaunchArgument::value(address_of(array_named(arrays, argument.array)));
  case LaunchArgument::Kind::tensor_map: return resolve(argument.map, array_named(arrays, argument.map.array));
  case LaunchArgument::Kind::structure: break;
  }
  LaunchArgument whole;
  auto pad = [&](size_t align) { whole.bytes.resize((whole.bytes.size() + align - 1) / align * align); };
  for (const LaunchArgument& member : argument.members) {
    LaunchArgument part = resolve(member, arrays);
    pad(part.align);
    whole.align = std::max(whole.align, part.align);
    whole.bytes.insert(whole.bytes.end(), part.bytes.begin(), part.bytes.end());
  }
  pad(whole.align);
  return whole;
}

} // namespace

std::array<uint32_t, 3> parse_dimensions(const std::string& option, const std::string& text) {
  std::array<uint32_t, 3> dimensions{1, 1, 1};
  std::vector<std::string> parts = split(text, ',');
  bool fine = parts.size() <= 3;
  for (size_t i = 0; fine && i < parts.size(); ++i) fine = parse_number(parts[i], dimensions[i]) && dimensions[i] > 0;
  if (!fine) throw InputError(option + " " + text + ": expected up to three positive numbers, as in 4,2,1");
  return dimensions;
}

void add_argument(Launch& launch, const std::string& text) {
  std::vector<std::string> parts = split(text, ':');
  const std::string& kind = parts[0];
  auto expect = [&](bool fine, const char* form) {
    if (!fine) throw InputError(as_written(text) + ": expected " + form);
  };
  auto add_array = [&](LaunchArray array) {
    std::string name = std::to_string(launch.arguments.size());
    launch.arrays[name] = std::move(array);
    launch.arguments.push_back({.kind = LaunchArgument::Kind::array, .array = name});
  };
  if (kind == "in" || kind == "inout") {
    expect((parts.size() == 2 || parts.size() == 3) && !parts[1].empty(),
           kind == "in" ? "in:FILE.npy[:TYPE]" : "inout:FILE.npy[:TYPE]");
    LaunchArray array{.in = parts[1], .out = kind == "inout" ? parts[1] : ""};
    if (parts.size() == 3) array.type = parse_element(parts[2]);
    return add_array(std::move(array));
  }
  if (kind == "out") {
    expect(parts.size() == 4 && !parts[1].empty(), "out:FILE.npy:TYPE:SHAPE, as in out:o.npy:f32:64x96");
    return add_array(
        {.out = parts[1], .type = parse_element(parts[2]), .shape = parse_extents(as_written(text), parts[3])});
  }
  LaunchArgument argument;
  float single = 0;
  double twofold = 0;
  if (kind == "i32" && parts.size() == 2) {
    expect(parse_integer<int32_t, uint32_t>(parts[1], argument), "i32:V with an integer of 32 bits");
  } else if (kind == "i64" && parts.size() == 2) {
    expect(parse_integer<int64_t, uint64_t>(parts[1], argument), "i64:V with an integer of 64 bits");
  } else if (kind == "f32" && parts.size() == 2) {
    expect(parse_number(parts[1], single), "f32:V with a number");
    argument = LaunchArgument::value(single);
  } else if (kind == "f64" && parts.size() == 2) {
    expect(parse_number(parts[1], twofold), "f64:V with a number");
    argument = LaunchArgument::value(twofold);
  } else {
    expect(false, "in:FILE.npy[:TYPE], out:FILE.npy:TYPE:SHAPE, inout:FILE.npy[:TYPE], i32:V, i64:V, f32:V or f64:V");
  }
  launch.arguments.push_back(std::move(argument));
}

PlacedLaunch::PlacedLaunch(runtime::Device& device, const Launch& launch)
    : device_(device), how_{.entry = launch.entry,
                            .grid = launch.grid,
                            .block = launch.block,
                            .cluster = launch.cluster,
                            .dynamic_shared = launch.shared} {
  for (const auto& [name, array] : launch.arrays) {
    arrays_[name] = prepare(name, array);
    arrays_[name].is_output = !array.out.empty();
  }
  // What is made of addresses has its size before these are known.
  auto fill = [&] {
    for (const auto& [name, array] : launch.arrays)
      if (!array.members.empty())
        arrays_[name].elements =
            resolve({.kind = LaunchArgument::Kind::structure, .members = array.members}, arrays_).bytes;
  };
  fill();
  for (auto& [name, array] : arrays_) array.buffer = device.allocate(array.elements.size());
  fill();
  for (const LaunchArgument& argument : launch.arguments) how_.parameters.push_back(resolve(argument, arrays_).bytes);
}

void PlacedLaunch::upload() {
  for (auto& [name, array] : arrays_) device_.upload(*array.buffer, 0, array.elements);
}

LaunchResult PlacedLaunch::collect() const {
  LaunchResult result;
  for (const auto& [name, array] : arrays_) {
    if (!array.is_output) continue;
    std::vector<std::byte> elements(array.elements.size());
    device_.download(*array.buffer, 0, elements);
    result.outputs[name] = from_device(elements, array.type, array.shape, array.descr);
  }
  return result;
}

LaunchResult run_launch(runtime::Device& device, const std::string& ptx, const Launch& launch) {
  PlacedLaunch placed(device, launch);
  placed.upload();
  device.launch_ptx(ptx, placed.how());
  return placed.collect();
}

void write_outputs(const Launch& launch, const LaunchResult& result) {
  std::vector<std::unique_ptr<runtime::OutputFile>> files;
  for (const auto& [name, output] : result.outputs) {
    files.push_back(std::make_unique<runtime::OutputFile>(launch.arrays.at(name).out));
    files.back()->write(runtime::npy_bytes(output));
  }
  for (auto& file : files) file->commit();
}

} // namespace tilejit::tools
