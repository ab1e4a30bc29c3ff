// ptx_text.h - short ways to write PTX in tests.
#pragma once
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace tilejit::runtime::simulator::test {

inline const std::string header = ".version 8.7\n.target sm_90a\n.address_size 64\n"; // 3 lines

/// An entry `k` with parameters p (u64), n (u32) and the usual registers; `body` begins on line 7.
inline std::string entry(const std::string& body) {
  return header + ".visible .entry k(.param .u64 p, .param .u32 n)\n{\n" +
         ".reg .pred %p<9>; .reg .b16 %h<9>; .reg .b32 %r<99>; .reg .f32 %f<99>; .reg .b64 %rd<9>; .reg .f64 "
         "%fd<9>;\n" +
         body + "\n}\n";
}

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

} // namespace tilejit::runtime::simulator::test
