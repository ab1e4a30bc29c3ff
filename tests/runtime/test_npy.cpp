#include "runtime/device.h"
#include "runtime/files.h"
#include "runtime/npy.h"
#include "runtime/tensor.h"

#include <catch2/catch.hpp>

#include <cstring>
#include <filesystem>
#include <fstream>

namespace fs = std::filesystem;
using namespace tilejit;
using namespace tilejit::runtime;
using Catch::Matchers::Contains;

namespace {

/// A .npy file as other programs write them: any version, header text and number of data bytes.
std::string file_text(const std::string& header, size_t data_bytes, int major = 1) {
  std::string text = "\x93NUMPY";
  text += {static_cast<char>(major), '\0'};
  for (int i = 0; i < (major == 1 ? 2 : 4); ++i) text += static_cast<char>(header.size() >> (8 * i) & 0xff);
  text += header;
  for (size_t i = 0; i < data_bytes; ++i) text += static_cast<char>(i);
  return text;
}

std::string header_text(const std::string& descr, const std::string& shape, const std::string& order = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }\n";
}

struct Fixture {
  TemporaryFolder folder;
  std::string path = folder.path() + "/x.npy";
  NpyArray read(const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
    return read_npy(path);
  }
};

} // namespace

TEST_CASE_METHOD(Fixture, "each of the four types is read, in both versions") {
  struct Case {
    const char* descr;
    DType type;
  };
  for (Case c : {Case{"<f4", DType::f32}, {"<f2", DType::f16}, {"<i4", DType::i32}, {"<i8", DType::i64}})
    for (int major : {1, 2}) {
      NpyArray array = read(file_text(header_text(c.descr, "(2, 3)"), 6 * size_of(c.type), major));
      CHECK(array.type == c.type);
      CHECK(array.shape == std::vector<int64_t>{2, 3});
      CHECK(array.elements() == 6);
      REQUIRE(array.data.size() == 6 * size_of(c.type));
      CHECK(array.data[5] == std::byte{5});
    }
}

TEST_CASE_METHOD(Fixture, "shapes of every rank, and headers that others lay out differently") {
  CHECK(read(file_text(header_text("<f4", "()"), 4)).shape.empty());
  CHECK(read(file_text(header_text("<f4", "(3,)"), 12)).shape == std::vector<int64_t>{3});
  CHECK(read(file_text(header_text("<f4", "(0, 7)"), 0)).elements() == 0);
  CHECK(read(file_text("{\"shape\":(1,2),\"fortran_order\":False,\"descr\":\"<f2\"}", 4)).type == DType::f16);
}

TEST_CASE_METHOD(Fixture, "what is written is read back, and data begins at a multiple of 64") {
  for (std::vector<int64_t> shape :
       {std::vector<int64_t>{}, {5}, {2, 3, 4}, {0}, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}}) {
    NpyArray array{DType::i32, shape, {}};
    array.data.resize(static_cast<size_t>(array.elements()) * 4);
    for (size_t i = 0; i < array.data.size(); ++i) array.data[i] = static_cast<std::byte>(i * 37);
    CHECK((npy_bytes(array).size() - array.data.size()) % 64 == 0);
    write_npy(path, array);
    NpyArray back = read_npy(path);
    CHECK(back.type == array.type);
    CHECK(back.shape == array.shape);
    CHECK(back.data == array.data);
  }
  CHECK(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 1);
}

TEST_CASE_METHOD(Fixture, "values become floats") {
  std::vector<float> values = {1.5f, -2.0f, 0.25f};
  for (DType type : {DType::f32, DType::f16}) CHECK(to_floats(NpyArray{type, {3}, bytes_of(type, values)}) == values);
  CHECK(to_floats(NpyArray{DType::i64, {2}, bytes_of(DType::i64, std::vector<float>{-3, 1e6f})}) ==
        std::vector<float>{-3, 1e6f});
}

TEST_CASE_METHOD(Fixture, "a file cut anywhere is reported, with its name") {
  std::string whole = file_text(header_text("<f4", "(2, 3)"), 24);
  for (size_t length = 0; length < whole.size(); ++length) {
    INFO("cut to " << length << " bytes");
    CHECK_THROWS_WITH(read(whole.substr(0, length)),
                      Contains("x.npy") && (Contains("truncated") || (Contains("not a .npy file"))));
  }
  CHECK_THROWS_WITH(read(whole.substr(0, whole.size() - 1)),
                    Contains("truncated: needs 24 bytes for float32 of shape [2, 3], has 23"));
  CHECK_THROWS_WITH(read(whole + "x"), Contains("longer than it should be"));
}

TEST_CASE_METHOD(Fixture, "other element types are refused by name") {
  CHECK_THROWS_WITH(read(file_text(header_text("<f8", "(1,)"), 8)), Contains("element type '<f8'"));
  CHECK_THROWS_WITH(read(file_text(header_text(">f4", "(1,)"), 4)), Contains("big-endian"));
  CHECK_THROWS_WITH(read(file_text(header_text("|O", "(1,)"), 4)), Contains("Python objects"));
  CHECK_THROWS_WITH(read(file_text(header_text("<c8", "(1,)"), 8)), Contains("'<c8'"));
  CHECK_THROWS_WITH(read(file_text("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", 4)),
                    Contains("records"));
}

TEST_CASE_METHOD(Fixture, "Fortran order is refused and the way out is named") {
  CHECK_THROWS_WITH(read(file_text(header_text("<f4", "(2, 3)", "True"), 24)), Contains("ascontiguousarray"));
}

TEST_CASE_METHOD(Fixture, "absurd shapes are refused without allocating them") {
  CHECK_THROWS_WITH(read(file_text(header_text("<f4", "(4611686018427387904, 4)"), 8)),
                    Contains("does not fit 64 bits"));
  CHECK_THROWS_WITH(read(file_text(header_text("<f4", "(99999999999999999999,)"), 8)),
                    Contains("does not fit 64 bits"));
  CHECK_THROWS_WITH(read(file_text(header_text("<f4", "(-1,)"), 8)), Contains("negative"));
  CHECK_THROWS_WITH(read(file_text(header_text("<f4", "(1152921504606846976,)"), 8)),
                    Contains("truncated: needs 46116"));
}

TEST_CASE_METHOD(Fixture, "damaged headers are refused") {
  for (std::string header :
       {"", "{", "{}", "{'descr': '<f4'}", "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'more': 1}",
        "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': 2}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} x", "{'descr': '<f4', 'descr': '<f4', 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2 3)}",
        "{'descr: '<f4', 'fortran_order': False, 'shape': (2,)}"}) {
    INFO(header);
    CHECK_THROWS_WITH(read(file_text(header, 8)), Contains("x.npy"));
  }
  CHECK_THROWS_WITH(read(file_text(header_text("<f4", "(2,)"), 8, 3)), Contains("version 3.0"));
  CHECK_THROWS_WITH(read("PK\3\4 this is an npz"), Contains("not a .npy file"));
  CHECK_THROWS_WITH(read(std::string("\x93NUMPY\2\0\xff\xff\xff\xff", 12)), Contains("claims 4294967295 bytes"));
}

TEST_CASE_METHOD(Fixture, "files that are not there, are folders, or can't be written") {
  CHECK_THROWS_WITH(read_npy(folder.path() + "/none.npy"), Contains("none.npy: No such file or directory"));
  CHECK_THROWS_WITH(read_npy(folder.path()), Contains("Is a directory"));
  CHECK_THROWS_WITH(write_npy(folder.path() + "/no/x.npy", {DType::f32, {0}, {}}), Contains("there is no folder"));
  CHECK_THROWS_WITH(write_npy(path, {DType::bf16, {1}, std::vector<std::byte>(2)}), Contains("bf16"));
  CHECK_THROWS_WITH(write_npy(path, {DType::f32, {3}, std::vector<std::byte>(8)}), Contains("does not have 8 bytes"));
  CHECK_FALSE(fs::exists(path));
}
