// Memory of all spaces, against the host.
#include "tests/runtime/simulator/cuda/cuda.h"

#include <array>

using namespace tilejit::runtime::simulator::test;
using tilejit::runtime::PtxLaunch;

TEST_CASE("initialised variables, pointers among them") {
  for (const char* target : targets) {
    Kernels kernels("memory", target);
    auto out = kernels.zeros<float>(64);
    auto ints = kernels.zeros<int64_t>(64);
    kernels.run("initialised", 1, 64, out, ints);
    auto floats = kernels.download<float>(out);
    auto got = kernels.download<int64_t>(ints);
    const float weights[16] = {1, 2, 3, 4, .5f, -1};
    const int numbers[4] = {5, -6, 7, 0};
    const std::string words[3] = {"zero", "one", "twenty"};
    for (int i = 0; i < 64; ++i) {
      int letters = 0;
      for (char c : words[i % 3]) letters += c;
      CHECK(got[i] == int64_t{numbers[i & 3] - 12} * 10000 + letters);
      float expected = weights[i & 15] + weights[2] + static_cast<float>((i % 3 + 1) * 7) + 2.5f;
      CHECK(floats[i] == expected + static_cast<float>((i & 7) * 8 + i / 8 % 8));
    }
  }
}

TEST_CASE("vectors of all widths") {
  for (const char* target : targets) {
    Kernels kernels("memory", target);
    std::vector<std::array<float, 4>> in(64);
    std::vector<std::array<short, 4>> shorts(64);
    std::vector<std::array<uint8_t, 4>> bytes(64);
    std::vector<std::array<double, 2>> doubles(64);
    std::vector<std::array<int64_t, 2>> longs(64);
    for (int i = 0; i < 64; ++i) {
      in[i] = {i + .1f, i + .2f, i + .3f, i + .4f};
      shorts[i] = {static_cast<short>(-i), static_cast<short>(100 * i), 7, static_cast<short>(i - 40)};
      bytes[i] = {static_cast<uint8_t>(i), static_cast<uint8_t>(255 - i), 3, static_cast<uint8_t>(2 * i)};
      doubles[i] = {i * .5, 3. - i};
      longs[i] = {int64_t{i} << 40, -i};
    }
    auto out = kernels.zeros<std::array<float, 4>>(128);
    auto s = kernels.upload(shorts), b = kernels.upload(bytes), d = kernels.upload(doubles), l = kernels.upload(longs);
    kernels.run("vectors", 1, 64, kernels.upload(in), out, s, b, d, l);
    auto got = kernels.download<std::array<float, 4>>(out);
    auto gs = kernels.download<std::array<short, 4>>(s);
    auto gb = kernels.download<std::array<uint8_t, 4>>(b);
    auto gd = kernels.download<std::array<double, 2>>(d);
    auto gl = kernels.download<std::array<int64_t, 2>>(l);
    for (int i = 0; i < 64; ++i) {
      const auto& v = in[63 - i];
      CHECK(got[i] == std::array<float, 4>{v[3], v[2], v[1], v[0]});
      CHECK(got[64 + i] == in[i]);
      CHECK(gs[i] ==
            std::array<short, 4>{shorts[i][3], static_cast<short>(shorts[i][2] + 1), shorts[i][0], shorts[i][1]});
      CHECK(gb[i] ==
            std::array<uint8_t, 4>{bytes[i][3], bytes[i][2], bytes[i][0], static_cast<uint8_t>(bytes[i][1] + 1)});
      CHECK(gd[i] == std::array<double, 2>{doubles[i][1], doubles[i][0] + doubles[i][1]});
      CHECK(gl[i] == std::array<int64_t, 2>{longs[i][0] + longs[i][1], longs[i][1]});
    }
  }
}

TEST_CASE("local arrays with an index of run time") {
  for (const char* target : targets) {
    Kernels kernels("memory", target);
    constexpr int n = 30;
    Random random;
    std::vector<int> in(96 * n);
    for (int& x : in) x = static_cast<int>(random() % 1000);
    auto out = kernels.zeros<int>(96);
    kernels.run("local_arrays", 1, 96, kernels.upload(in), out, n);
    auto got = kernels.download<int>(out);
    for (int t = 0; t < 96; ++t) {
      unsigned counts[32] = {}, result = 0;
      short order[40];
      double sums[5] = {1, 2, 3, 4, 5};
      for (int k = 0; k < 40; ++k) order[k] = static_cast<short>(k);
      for (int k = 0; k < n; ++k) {
        int x = in[t * n + k];
        ++counts[x & 31];
        std::swap(order[x % 40], order[(x + k) % 40]);
        sums[x % 5] += x;
      }
      for (unsigned c : counts) result = result * 3 + c;
      for (short o : order) result = result * 5 + static_cast<unsigned>(o);
      CHECK(got[t] == static_cast<int>(result + static_cast<unsigned>(sums[t % 5])));
    }
  }
}

TEST_CASE("one pointer to memory of four spaces") {
  for (const char* target : targets) {
    Kernels kernels("memory", target);
    std::vector<int> in(64);
    for (int i = 0; i < 64; ++i) in[i] = i * 17 % 41;
    auto out = kernels.zeros<int>(128);
    kernels.run("generic", 1, 64, kernels.upload(in), out);
    auto got = kernels.download<int>(out);
    for (int i = 0; i < 64; ++i) {
      int expected = i % 4 == 0 ? in[(i + 1) % 64] : i % 4 == 1 ? in[i] * (i % 8) : i % 4 == 2 ? in[i] : 5;
      CHECK(got[2 * i] == expected);
      CHECK(got[2 * i + 1] == (i % 4 == 0 ? 1 : i % 4 == 1 ? 2 : 4));
    }
  }
}

TEST_CASE("a structure as a parameter") {
  struct Big {
    int numbers[24];
    double scale;
  } big{};
  for (int i = 0; i < 24; ++i) big.numbers[i] = i * i - 50;
  big.scale = .25;
  for (const char* target : targets) {
    Kernels kernels("memory", target);
    auto out = kernels.zeros<double>(96);
    kernels.run("big_parameter", 1, 96, big, out);
    auto got = kernels.download<double>(out);
    for (int i = 0; i < 96; ++i) CHECK(got[i] == big.numbers[i % 24] * .25 + big.numbers[i * 7 % 24]);
  }
}

TEST_CASE("transpositions and a product, tile by tile") {
  for (const char* target : targets) {
    Kernels kernels("memory", target);
    constexpr int rows = 37, columns = 53;
    std::vector<uint8_t> in(rows * columns);
    std::vector<double> wide(rows * columns);
    for (int i = 0; i < rows * columns; ++i) in[i] = static_cast<uint8_t>(i * 7), wide[i] = i * .125;
    auto out = kernels.zeros<uint8_t>(in.size());
    auto out_wide = kernels.zeros<double>(in.size());
    for (bool doubles : {false, true}) {
      PtxLaunch launch{.entry = doubles ? "transpose_f64" : "transpose_u8",
                       .grid = {(columns + 15) / 16, (rows + 15) / 16, 1},
                       .block = {16, 8, 1},
                       .dynamic_shared = doubles ? 16u * 17 * 8 : 0};
      auto source = doubles ? kernels.upload(wide) : kernels.upload(in);
      launch.parameters = {Kernels::bytes_of(source), Kernels::bytes_of(doubles ? out_wide : out),
                           Kernels::bytes_of(rows), Kernels::bytes_of(columns)};
      kernels.launch(launch);
    }
    auto got = kernels.download<uint8_t>(out);
    auto got_wide = kernels.download<double>(out_wide);
    bool right = true;
    for (int r = 0; r < rows; ++r)
      for (int c = 0; c < columns; ++c)
        right = right && got[c * rows + r] == in[r * columns + c] && got_wide[c * rows + r] == wide[r * columns + c];
    CHECK(right);

    constexpr int n = 45;
    std::vector<float> a(n * n), b(n * n);
    for (int i = 0; i < n * n; ++i) a[i] = static_cast<float>(i % 11 - 5), b[i] = static_cast<float>(i % 7 - 3);
    auto c = kernels.zeros<float>(n * n);
    auto da = kernels.upload(a), db = kernels.upload(b);
    kernels.launch(
        {.entry = "matrix_product",
         .grid = {3, 3, 1},
         .block = {16, 16, 1},
         .parameters = {Kernels::bytes_of(da), Kernels::bytes_of(db), Kernels::bytes_of(c), Kernels::bytes_of(n)}});
    auto product = kernels.download<float>(c);
    for (int r = 0; r < n; ++r)
      for (int k = 0; k < n; ++k) {
        float sum = 0;
        for (int m = 0; m < n; ++m) sum += a[r * n + m] * b[m * n + k];
        CHECK(product[r * n + k] == sum);
      }
  }
}
