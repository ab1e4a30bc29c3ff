// support.h - what the tests of the language share: record a few operations, look at the text, catch the mistake.
#pragma once
#include "dsl/dsl.h"

#include <catch2/catch.hpp>

#include <functional>
#include <string>
#include <vector>

namespace tilejit::dsl {

/// The text of a program that loads one tile for each of `inputs` (%0, %1, ...; those of rank 0 are scalar arguments,
/// %arg0, ...), computes `body` of them and stores what it returns.
struct Input {
  DType type = f32;
  Shape shape{};
};

inline Program program_of(const std::vector<Input>& inputs,
                          const std::function<std::vector<Tile>(const std::vector<Tile>&)>& body) {
  std::vector<ArgumentSpec> specs;
  for (size_t i = 0; i < inputs.size(); ++i) {
    std::string name(1, static_cast<char>('a' + i));
    specs.push_back(inputs[i].shape.empty() ? scalar_spec(name, inputs[i].type)
                                            : tensor_spec(name, inputs[i].type, inputs[i].shape));
  }
  size_t outputs = specs.size(); // one view of each type, to store whatever comes
  for (DType type : {i1, i8, i32, i64, f16, bf16, f32, f64})
    specs.push_back(tensor_spec(std::string(name_of(type)), type, {dynamic, dynamic, dynamic, dynamic}));
  return record("test", specs, [&](const Arguments& arguments) {
    auto place = [](const Shape& shape, size_t rank) {
      std::vector<Coordinate> at;
      for (int64_t size : shape) at.push_back(span(0, size));
      while (at.size() < rank) at.push_back(0);
      return at;
    };
    std::vector<Tile> tiles;
    for (size_t i = 0; i < inputs.size(); ++i) {
      const Shape& shape = inputs[i].shape;
      if (shape.empty())
        tiles.push_back(arguments.scalar(i));
      else
        tiles.push_back(arguments.view(i).at(place(shape, shape.size())).load());
    }
    for (const Tile& result : body(tiles))
      arguments.view(outputs + static_cast<size_t>(result.type())).at(place(result.shape(), 4)).store(result);
  });
}

inline std::string text_of(const std::vector<Input>& inputs,
                           const std::function<Tile(const std::vector<Tile>&)>& body) {
  return program_of(inputs, [&](const std::vector<Tile>& tiles) { return std::vector<Tile>{body(tiles)}; }).text();
}

/// The lines of a recorded program from the first that has `op` in it to the last that closes a region, after a line
/// break and without the indentation of the function.
inline std::string regions_of(const std::string& text, const std::string& op) {
  std::string result = "\n";
  size_t at = text.find(op);
  if (at == text.npos) return result;
  const std::string indentation = "    ", close = indentation + "}\n";
  size_t end = text.rfind(close) + close.size();
  for (at = text.rfind('\n', at) + 1; at < end;) {
    size_t next = text.find('\n', at) + 1;
    result += text.substr(at + indentation.size(), next - at - indentation.size());
    at = next;
  }
  return result;
}

/// What the author is told, "" where nothing is wrong.
inline std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

} // namespace tilejit::dsl
