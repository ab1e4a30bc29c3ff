#include "runtime/npy.h"

#include "runtime/device.h"
#include "runtime/files.h"
#include "runtime/tensor.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>
#include <utility>

namespace tilejit::runtime {
namespace {

static_assert(std::endian::native == std::endian::little, "arrays are copied between file and memory as they are");

constexpr size_t longest_header = 1 << 16; ///< NumPy itself stops at 10000 bytes

struct ElementType {
  std::string_view descr;
  DType type;
};
constexpr ElementType element_types[] = {
    {"<f4", DType::f32}, {"<f2", DType::f16}, {"<i4", DType::i32}, {"<i8", DType::i64}};

/// What the header's dictionary says.
struct Header {
  std::string descr;
  bool fortran_order = false;
  std::vector<int64_t> shape;
};

/// Reads the one kind of Python literal that a header may hold:
/// {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
class HeaderParser {
public:
  HeaderParser(std::string_view text, const std::string& path) : text_(text), path_(path) {}

  Header parse() {
    Header header;
    bool descr = false, order = false, shape = false;
    expect('{');
    while (!accept('}')) {
      std::string key = string();
      expect(':');
      if (key == "descr" && !std::exchange(descr, true)) {
        if (peek() == '[') throw Error(path_ + ": holds records with fields, not an array of numbers");
        header.descr = string();
      } else if (key == "fortran_order" && !std::exchange(order, true)) {
        header.fortran_order = boolean();
      } else if (key == "shape" && !std::exchange(shape, true)) {
        header.shape = tuple();
      } else {
        fail();
      }
      if (!accept(',') && peek() != '}') fail();
    }
    if (peek() != '\0' || !descr || !order || !shape) fail();
    return header;
  }

private:
  [[noreturn]] void fail() { throw Error(path_ + ": the header of the .npy file is damaged"); }

  char peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool accept(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) fail();
  }
  std::string string() {
    char quote = peek();
    if (quote != '\'' && quote != '"') fail();
    size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) fail();
    std::string value(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return value;
  }
  bool boolean() {
    peek();
    for (bool value : {true, false}) {
      std::string_view word = value ? "True" : "False";
      if (text_.substr(at_, word.size()) != word) continue;
      at_ += word.size();
      return value;
    }
    fail();
  }
  std::vector<int64_t> tuple() {
    std::vector<int64_t> values;
    expect('(');
    while (!accept(')')) {
      values.push_back(integer());
      if (!accept(',') && peek() != ')') fail();
    }
    return values;
  }
  int64_t integer() {
    if (peek() == '-') throw Error(path_ + ": the shape has a negative size");
    size_t begin = at_;
    int64_t value = 0;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_)
      if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, text_[at_] - '0', &value))
        throw Error(path_ + ": the shape has a size that does not fit 64 bits");
    if (at_ == begin) fail();
    return value;
  }

  std::string_view text_;
  const std::string& path_;
  size_t at_ = 0;
};

/// Bytes of an element of a plain little-endian type; 0: it is none.
int64_t element_bytes(std::string_view descr) {
  if (descr.size() != 3 || (descr[0] != '<' && descr[0] != '|')) return 0;
  int64_t bytes = descr[2] - '0';
  bool known = descr[1] == 'f'                      ? bytes == 2 || bytes == 4 || bytes == 8
               : descr[1] == 'i' || descr[1] == 'u' ? bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8
                                                    : descr[1] == 'b' && bytes == 1;
  return known && (descr[0] == '<') == (bytes > 1) ? bytes : 0;
}

[[noreturn]] void refuse(const std::string& descr, const std::string& path, std::string_view known) {
  std::string found = "element type '" + descr + "'";
  if (!descr.empty() && descr.back() == 'O') found = "Python objects";
  if (!descr.empty() && descr.front() == '>') found = "big-endian elements ('" + descr + "')";
  throw Error(path + ": holds " + found + "; only little-endian " + std::string(known) +
              " can be read (convert with array.astype)");
}

/// "float32" of "<f4".
std::string numpy_name(std::string_view descr) {
  std::string_view kind = descr[1] == 'f' ? "float" : descr[1] == 'i' ? "int" : descr[1] == 'u' ? "uint" : "bool";
  return std::string(kind) + (kind == "bool" ? "" : std::to_string(8 * (descr[2] - '0')));
}

class InputFile {
public:
  explicit InputFile(const std::string& path) : path_(path), descriptor_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (descriptor_ < 0) fail();
  }
  ~InputFile() { close(descriptor_); }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  /// Up to `bytes` bytes; fewer only at the end of the file. Memory grows with what is there, not with what is asked.
  std::vector<std::byte> read(uint64_t bytes) {
    std::vector<std::byte> data;
    while (data.size() < bytes) {
      size_t have = data.size();
      size_t more = static_cast<size_t>(std::min<uint64_t>(bytes - have, std::max<uint64_t>(1 << 20, have)));
      data.resize(have + more);
      ssize_t got = ::read(descriptor_, data.data() + have, more);
      if (got < 0 && errno != EINTR) fail();
      data.resize(have + static_cast<size_t>(std::max<ssize_t>(got, 0)));
      if (got == 0) break;
    }
    return data;
  }

private:
  [[noreturn]] void fail() {
    int error = errno;
    throw Error("cannot read " + path_ + ": " + std::strerror(error));
  }
  const std::string& path_;
  int descriptor_;
};

} // namespace

int64_t NpyArray::elements() const {
  int64_t count = 1;
  for (int64_t size : shape) count *= size;
  return count;
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

NpyArray read_npy(const std::string& path) {
  NpyFile file = read_npy_file(path);
  for (const ElementType& known : element_types)
    if (known.descr == file.descr) return {known.type, std::move(file.shape), std::move(file.data)};
  refuse(file.descr, path, "float32, float16, int32 and int64");
}

NpyFile read_npy_file(const std::string& path) {
  InputFile file(path);
  auto byte = [](const std::vector<std::byte>& bytes, size_t i) { return std::to_integer<uint32_t>(bytes[i]); };

  std::vector<std::byte> start = file.read(8);
  if (start.size() < 6 || std::memcmp(start.data(), "\x93NUMPY", 6) != 0)
    throw Error(path + ": not a .npy file (it does not begin with \\x93NUMPY)");
  if (start.size() < 8) throw Error(path + ": truncated in the header");
  uint32_t major = byte(start, 6), minor = byte(start, 7);
  if ((major != 1 && major != 2) || minor != 0)
    throw Error(path + ": .npy version " + std::to_string(major) + "." + std::to_string(minor) +
                "; only 1.0 and 2.0 can be read");
  std::vector<std::byte> length = file.read(major == 1 ? 2 : 4);
  if (length.size() < (major == 1 ? 2u : 4u)) throw Error(path + ": truncated in the header");
  size_t header_bytes = 0;
  for (size_t i = length.size(); i-- > 0;) header_bytes = header_bytes << 8 | byte(length, i);
  if (header_bytes > longest_header)
    throw Error(path + ": the header claims " + std::to_string(header_bytes) + " bytes; the file is damaged");
  std::vector<std::byte> text = file.read(header_bytes);
  if (text.size() < header_bytes) throw Error(path + ": truncated in the header");

  Header header = HeaderParser({reinterpret_cast<const char*>(text.data()), text.size()}, path).parse();
  NpyFile array;
  array.descr = header.descr;
  int64_t bytes = element_bytes(array.descr);
  if (bytes == 0) refuse(array.descr, path, "booleans, integers, float16, float32 and float64");
  // An array with one dimension at most is the same in both orders; NumPy then marks it as C order.
  if (header.fortran_order) throw Error(path + ": the array is in Fortran order; save numpy.ascontiguousarray(array)");
  array.shape = header.shape;

  for (int64_t size : array.shape)
    if (__builtin_mul_overflow(bytes, size, &bytes))
      throw Error(path + ": an array of shape " + shape_text(array.shape) + " does not fit 64 bits");
  array.data = file.read(static_cast<uint64_t>(bytes));
  std::string need =
      std::to_string(bytes) + " bytes for " + numpy_name(array.descr) + " of shape " + shape_text(array.shape);
  if (array.data.size() < static_cast<uint64_t>(bytes))
    throw Error(path + ": truncated: needs " + need + ", has " + std::to_string(array.data.size()));
  if (!file.read(1).empty()) throw Error(path + ": longer than it should be: needs " + need + ", has more");
  return array;
}

std::vector<std::byte> npy_bytes(const NpyArray& array) {
  const ElementType* element = nullptr;
  for (const ElementType& known : element_types)
    if (known.type == array.type) element = &known;
  if (!element) throw Error("a .npy file can't hold " + std::string(name_of(array.type)) + " elements");
  if (array.data.size() != static_cast<size_t>(array.elements()) * size_of(array.type))
    throw Error("an array of shape " + shape_text(array.shape) + " does not have " + std::to_string(array.data.size()) +
                " bytes");
  return npy_bytes(NpyFile{std::string(element->descr), array.shape, array.data});
}

std::vector<std::byte> npy_bytes(const NpyFile& array) {
  std::string shape = "(";
  for (size_t i = 0; i < array.shape.size(); ++i) shape += (i ? ", " : "") + std::to_string(array.shape[i]);
  shape += array.shape.size() == 1 ? ",)" : ")";
  std::string header = "{'descr': '" + array.descr + "', 'fortran_order': False, 'shape': " + shape + ", }";
  constexpr size_t before = 10; // magic, version, length
  header.append(63 - (before + header.size()) % 64, ' ');
  header += '\n'; // data begins at a multiple of 64
  if (header.size() > 0xffff)
    throw Error("an array with " + std::to_string(array.shape.size()) + " dimensions does not fit a .npy file");
  std::string start = "\x93NUMPY";
  start += {'\1', '\0', static_cast<char>(header.size() & 0xff), static_cast<char>(header.size() >> 8)};
  start += header;

  std::vector<std::byte> bytes(start.size() + array.data.size());
  std::memcpy(bytes.data(), start.data(), start.size());
  if (!array.data.empty()) std::memcpy(bytes.data() + start.size(), array.data.data(), array.data.size());
  return bytes;
}

void write_npy(const std::string& path, const NpyArray& array) {
  std::vector<std::byte> bytes = npy_bytes(array);
  OutputFile file(path);
  file.write(bytes);
  file.commit();
}

std::vector<float> to_floats(const NpyArray& array) { return floats_of(array.type, array.data); }

} // namespace tilejit::runtime
