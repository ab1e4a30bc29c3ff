// launch_file.cpp - launches as JSON, see launch.h.
//
//   {"entry": "k", "grid": [2,1,1], "block": [384,1,1], "cluster": [1,1,1], "shared": 164864,
//    "arrays": {"q": {"in": "q.npy", "type": "bf16"}, "o": {"out": "o.npy", "type": "bf16", "shape": [300,128]}},
//    "args": [{"array": "q"}, {"i32": 300}, {"bytes": "00ff"}, {"struct": [{"array": "o"}, {"i64": 300}]},
//             {"tensormap": {"array": "q", "dims": [128,300], "strides": [256], "box": [64,128], "swizzle": 128}}]}
//
// An array may also hold what a struct does, for kernels that find addresses or tensor maps in memory:
//
//   "arrays": {"groups": {"struct": [{"array": "q"}, {"array": "o"}, {"i32": 300}]}, ...
// or be filled, where only the time counts, with zeros or with about normal random numbers:
//
//   "arrays": {"x": {"fill": "normal", "seed": 1, "type": "bf16", "shape": [8192,8192]}, "y": {"fill": "zero", ...
#include "runtime/files.h"
#include "tools/tilejit/arguments.h"
#include "tools/tilejit/launch.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

namespace tilejit::tools {
namespace {

using nlohmann::json;

class Reader {
public:
  explicit Reader(const std::string& path) : path_(path), folder_(std::filesystem::path(path).parent_path()) {}

  Launch read() {
    json root;
    try {
      root = json::parse(runtime::read_text(path_));
    } catch (const json::parse_error& error) {
      throw InputError(path_ + ": not JSON: " + error.what());
    }
    members(root, "the launch", {"entry", "grid", "block", "cluster", "shared", "arrays", "args"});
    Launch launch;
    launch.entry = string(require(root, "entry", "the launch"), "entry");
    dimensions(root, "grid", launch.grid);
    dimensions(root, "block", launch.block);
    dimensions(root, "cluster", launch.cluster);
    if (root.contains("shared")) launch.shared = number<uint32_t>(root["shared"], "shared");
    if (root.contains("arrays")) {
      if (!root["arrays"].is_object()) fail("'arrays' is an object of named arrays");
      for (const auto& [name, value] : root["arrays"].items()) launch.arrays[name] = array(name, value);
    }
    if (root.contains("args"))
      for (const json& value : list(root["args"], "args")) launch.arguments.push_back(argument(value));
    return launch;
  }

private:
  [[noreturn]] void fail(const std::string& what) const { throw InputError(path_ + ": " + what); }

  void members(const json& object, const std::string& what, std::initializer_list<const char*> known) const {
    if (!object.is_object()) fail(what + " is an object, not " + object.dump().substr(0, 60));
    for (const auto& [key, value] : object.items())
      if (std::find(known.begin(), known.end(), key) == known.end())
        fail(unknown_name("member", key, {known.begin(), known.end()}) + ", in " + what);
  }
  const json& require(const json& object, const char* key, const std::string& what) const {
    if (!object.contains(key)) fail(what + " has no '" + key + "'");
    return object[key];
  }
  std::string string(const json& value, const std::string& what) const {
    if (!value.is_string()) fail("'" + what + "' is text, not " + value.dump().substr(0, 60));
    return value.get<std::string>();
  }
  const json& list(const json& value, const std::string& what) const {
    if (!value.is_array()) fail("'" + what + "' is a list, not " + value.dump().substr(0, 60));
    return value;
  }
  template <typename T>
  T number(const json& value, const std::string& what) const {
    if constexpr (std::is_floating_point_v<T>) {
      if (!value.is_number()) fail("'" + what + "' is a number, not " + value.dump().substr(0, 60));
      return value.get<T>();
    } else {
      bool fits = value.is_number_unsigned() ? std::in_range<T>(value.get<uint64_t>())
                                             : value.is_number_integer() && std::in_range<T>(value.get<int64_t>());
      if (!fits)
        fail("'" + what + "' is an " + (std::is_unsigned_v<T> ? "unsigned " : "") + "integer of " +
             std::to_string(8 * sizeof(T)) + " bits, not " + value.dump().substr(0, 60));
      return value.get<T>();
    }
  }
  template <typename T>
  std::vector<T> numbers(const json& value, const std::string& what) const {
    std::vector<T> all;
    for (const json& x : list(value, what)) all.push_back(number<T>(x, what));
    return all;
  }
  void dimensions(const json& root, const char* key, std::array<uint32_t, 3>& to) const {
    if (!root.contains(key)) return;
    auto all = numbers<uint32_t>(root[key], key);
    if (all.empty() || all.size() > 3 || std::find(all.begin(), all.end(), 0u) != all.end())
      fail(std::string("'") + key + "' is a list of up to three positive numbers");
    to = {1, 1, 1};
    std::copy(all.begin(), all.end(), to.begin());
  }
  std::string file(const json& value, const std::string& what) const {
    return (folder_ / string(value, what)).string();
  }

  bool fills_randomly(const json& value) const {
    std::string fill = string(value, "fill");
    if (fill != "zero" && fill != "normal") fail("an array's 'fill' is zero or normal, not '" + fill + "'");
    return fill == "normal";
  }

  LaunchArray array(const std::string& name, const json& value) const {
    std::string what = "array '" + name + "'";
    members(value, what, {"in", "out", "inout", "struct", "fill", "seed", "type", "shape"});
    LaunchArray a;
    if (value.contains("in") + value.contains("out") + value.contains("inout") + value.contains("struct") +
            value.contains("fill") !=
        1)
      fail(what + " has one of 'in', 'out', 'inout', 'struct' and 'fill'");
    if (value.contains("struct")) {
      if (value.size() != 1) fail(what + " has a 'struct', which says its type and size");
      a.members = argument(value).members;
      if (a.members.empty()) fail(what + " has a 'struct' of nothing");
      return a;
    }
    if (value.contains("in")) a.in = file(value["in"], "in");
    if (value.contains("out")) a.out = file(value["out"], "out");
    if (value.contains("inout")) a.in = a.out = file(value["inout"], "inout");
    bool random = value.contains("fill") && fills_randomly(value["fill"]);
    if (value.contains("seed") && !random) fail(what + " has a 'seed', which is for the 'fill' normal");
    if (random) a.seed = value.contains("seed") ? number<uint64_t>(value["seed"], "seed") : 0;
    if (value.contains("type")) a.type = parse_element(string(value["type"], "type"));
    if (value.contains("shape")) a.shape = numbers<int64_t>(value["shape"], "shape");
    if (std::any_of(a.shape.begin(), a.shape.end(), [](int64_t size) { return size < 0; }))
      fail(what + " has a negative size in its 'shape'");
    if (a.in.empty()) require(value, "type", what), require(value, "shape", what);
    return a;
  }

  template <typename Signed, typename Unsigned>
  LaunchArgument integer(const json& value, const char* what) const {
    return value.is_number_unsigned() ? LaunchArgument::value(number<Unsigned>(value, what))
                                      : LaunchArgument::value(number<Signed>(value, what));
  }

  LaunchArgument argument(const json& value) const {
    if (!value.is_object() || value.size() != 1)
      fail("an argument is an object with one member, not " + value.dump().substr(0, 60));
    const std::string& kind = value.begin().key();
    const json& x = value.begin().value();
    if (kind == "array") return {.kind = LaunchArgument::Kind::array, .array = string(x, "array")};
    if (kind == "i32") return integer<int32_t, uint32_t>(x, "i32");
    if (kind == "i64") return integer<int64_t, uint64_t>(x, "i64");
    if (kind == "f32") return LaunchArgument::value(number<float>(x, "f32"));
    if (kind == "f64") return LaunchArgument::value(number<double>(x, "f64"));
    if (kind == "bytes") return {.bytes = bytes(string(x, "bytes"))};
    if (kind == "struct") {
      LaunchArgument a{.kind = LaunchArgument::Kind::structure};
      for (const json& member : list(x, "struct")) a.members.push_back(argument(member));
      return a;
    }
    if (kind == "tensormap") return {.kind = LaunchArgument::Kind::tensor_map, .map = tensor_map(x)};
    fail(unknown_name("kind of argument", kind, {"array", "i32", "i64", "f32", "f64", "bytes", "struct", "tensormap"}));
  }

  std::vector<std::byte> bytes(const std::string& text) const {
    auto digit = [&](char c) -> int {
      if (c >= '0' && c <= '9') return c - '0';
      if (c >= 'a' && c <= 'f') return c - 'a' + 10;
      if (c >= 'A' && c <= 'F') return c - 'A' + 10;
      fail("'bytes' is text of pairs of hexadecimal digits, not '" + text.substr(0, 60) + "'");
    };
    if (text.size() % 2) fail("'bytes' has an odd number of digits: '" + text.substr(0, 60) + "'");
    std::vector<std::byte> all;
    for (size_t i = 0; i < text.size(); i += 2) all.push_back(std::byte(digit(text[i]) << 4 | digit(text[i + 1])));
    return all;
  }

  LaunchTensorMap tensor_map(const json& value) const {
    members(value, "a tensormap", {"array", "dims", "strides", "box", "element_strides", "offset", "swizzle", "fill"});
    LaunchTensorMap map;
    map.array = string(require(value, "array", "a tensormap"), "array");
    map.dims = numbers<uint64_t>(require(value, "dims", "a tensormap"), "dims");
    map.box = numbers<uint32_t>(require(value, "box", "a tensormap"), "box");
    if (value.contains("strides")) map.strides = numbers<uint64_t>(value["strides"], "strides");
    if (value.contains("element_strides"))
      map.element_strides = numbers<uint32_t>(value["element_strides"], "element_strides");
    if (value.contains("offset")) map.offset = number<int64_t>(value["offset"], "offset");
    if (value.contains("swizzle")) map.swizzle = number<uint32_t>(value["swizzle"], "swizzle");
    if (value.contains("fill")) {
      std::string fill = string(value["fill"], "fill");
      if (fill != "zero" && fill != "nan") fail("'fill' is zero or nan, not '" + fill + "'");
      map.fill_nan = fill == "nan";
    }
    size_t rank = map.dims.size();
    if (rank < 1 || rank > 5 || map.box.size() != rank || map.strides.size() != rank - 1 ||
        (!map.element_strides.empty() && map.element_strides.size() != rank))
      fail("a tensormap has 1 to 5 'dims', as many in 'box' and 'element_strides', and one less in 'strides'");
    return map;
  }

  std::string path_;
  std::filesystem::path folder_;
};

} // namespace

Launch read_launch(const std::string& path) { return Reader(path).read(); }

} // namespace tilejit::tools
