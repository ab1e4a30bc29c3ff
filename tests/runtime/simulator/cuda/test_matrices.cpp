// Matrix fragments: small integers, so that every result is exact.
#include "tests/runtime/simulator/conformance/exact.h"
#include "tests/runtime/simulator/cuda/cuda.h"

using namespace tilejit::runtime::simulator::test;
using namespace tilejit::conformance;

namespace {

struct Case {
  const char* name;
  int m, n, k;
  bool row_a, row_b;
  const Format *in, *out; ///< null: integers of 8 and 32 bits
  int low;                ///< of the operands
};
const Case cases[] = {
    {"f16_f32", 16, 16, 16, true, false, &f16, &f32, -4},     {"f16_f16", 8, 32, 16, false, true, &f16, &f16, -4},
    {"bf16_f32", 32, 8, 16, false, false, &bf16, &f32, -4},   {"tf32_f32", 16, 16, 8, true, true, &f32, &f32, -4},
    {"s8_s32", 16, 16, 16, true, true, nullptr, nullptr, -4}, {"u8_s32", 32, 8, 16, false, true, nullptr, nullptr, 0},
    {"f64_f64", 8, 8, 4, true, false, &f64, &f64, -4},
};

std::vector<uint8_t> bytes_of(const std::vector<int>& values, const Format* f, int integer_bytes) {
  std::vector<uint8_t> bytes;
  for (int v : values) {
    uint64_t bits =
        f ? encode(*f, from_integer(v < 0, static_cast<uint64_t>(v < 0 ? -v : v))) : static_cast<uint64_t>(v);
    for (int k = 0; k < (f ? f->bits / 8 : integer_bytes); ++k) bytes.push_back(static_cast<uint8_t>(bits >> (8 * k)));
  }
  return bytes;
}
int value_at(const std::vector<uint8_t>& bytes, size_t i, const Format* f) {
  size_t size = f ? static_cast<size_t>(f->bits) / 8 : 4;
  uint64_t bits = 0;
  for (size_t k = 0; k < size; ++k) bits |= uint64_t{bytes[i * size + k]} << (8 * k);
  return f ? static_cast<int>(to_double(decode(*f, bits))) : static_cast<int>(bits);
}

} // namespace

TEST_CASE("products of matrix fragments") {
  for (const char* target : targets)
    for (const Case& t : cases) {
      INFO(target << " " << t.name);
      Kernels kernels("matrices", target);
      Random random;
      auto numbers = [&](int count) {
        std::vector<int> values(static_cast<size_t>(count));
        for (int& v : values) v = t.low + static_cast<int>(random() % 9);
        return values;
      };
      auto a = numbers(t.m * t.k), b = numbers(t.k * t.n), c = numbers(t.m * t.n); // row by row
      auto transposed = [](const std::vector<int>& x, int rows, int columns) {
        std::vector<int> out(x.size());
        for (int r = 0; r < rows; ++r)
          for (int k = 0; k < columns; ++k) out[k * rows + r] = x[r * columns + k];
        return out;
      };
      auto da = kernels.upload(bytes_of(t.row_a ? a : transposed(a, t.m, t.k), t.in, 1));
      auto db = kernels.upload(bytes_of(t.row_b ? b : transposed(b, t.k, t.n), t.in, 1));
      auto dc = kernels.upload(bytes_of(c, t.out, 4));
      auto d = kernels.zeros<uint8_t>(bytes_of(c, t.out, 4).size());
      kernels.run(t.name, 1, 32, da, db, dc, d);
      auto got = kernels.download<uint8_t>(d);
      for (int r = 0; r < t.m; ++r)
        for (int n = 0; n < t.n; ++n) {
          int sum = c[r * t.n + n];
          for (int k = 0; k < t.k; ++k) sum += 2 * a[r * t.k + k] * b[k * t.n + n];
          INFO("row " << r << " column " << n);
          REQUIRE(value_at(got, n * t.m + r, t.out) == sum);
        }
    }
}
