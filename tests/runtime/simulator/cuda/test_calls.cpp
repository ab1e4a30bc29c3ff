// Functions: arguments and results, recursion, pointers, what the driver provides. The host says what comes out.
#include "tests/runtime/simulator/cuda/cuda.h"

#include <algorithm>
#include <functional>

using namespace tilejit::runtime::simulator::test;
using tilejit::runtime::Error;

namespace {

struct Point {
  double x, y, z;
  int tag;
  short small[3];
};
Point mix(const Point& a, const Point& b, float t) {
  return {a.x + (b.x - a.x) * t, a.y + (b.y - a.y) * t, a.z * b.z, a.tag ^ b.tag, {a.small[2], b.small[1], a.small[0]}};
}
int fibonacci(int n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
int sum_of_levels(int depth, const int* outer) {
  int mine[8];
  for (int k = 0; k < 8; ++k) mine[k] = outer[(k + depth) & 7] + k;
  if (depth == 0) return mine[3];
  int below = sum_of_levels(depth - 1, mine);
  return below + mine[below & 7];
}
std::string error_of(const std::function<void()>& launch) {
  try {
    launch();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

} // namespace

TEST_CASE("structures by value") {
  for (const char* target : targets) {
    Kernels kernels("calls", target);
    std::vector<Point> a(96), b(96);
    for (int i = 0; i < 96; ++i) {
      auto s = static_cast<short>(i);
      a[i] = {1.5 * i, -2.0 * i, 0.25 + i, i, {s, static_cast<short>(s + 1), static_cast<short>(-s)}};
      b[i] = {100. - i, i * i * .5, 3, 77 * i, {7, static_cast<short>(s * 3), 9}};
    }
    auto out = kernels.zeros<Point>(96);
    kernels.run("by_value", 1, 96, kernels.upload(a), kernels.upload(b), out);
    auto got = kernels.download<Point>(out);
    for (int i = 0; i < 96; ++i) {
      Point e = mix(a[i], b[i], .25f);
      if (i % 3 == 0) e = mix(e, b[i], .5f);
      INFO(i);
      CHECK((got[i].x == e.x && got[i].y == e.y && got[i].z == e.z && got[i].tag == e.tag));
      CHECK(std::equal(got[i].small, got[i].small + 3, e.small));
    }
  }
}

TEST_CASE("recursion, each lane to a depth of its own") {
  for (const char* target : targets) {
    Kernels kernels("calls", target);
    std::vector<int> in(128);
    for (int i = 0; i < 128; ++i) in[i] = (i * 7) % 13;
    auto out = kernels.zeros<int>(3 * 128);
    kernels.run("recursion", 2, 64, kernels.upload(in), out);
    auto got = kernels.download<int>(out);
    for (int i = 0; i < 128; ++i) {
      INFO(in[i]);
      CHECK(got[3 * i] == fibonacci(in[i]));
      CHECK(got[3 * i + 1] == (in[i] % 2 == 0 ? 10 : 20));
      CHECK(got[3 * i + 2] == (in[i] % 4 == 3 ? 2 * (in[i] % 5) + 3 : -1)); // Ackermann's function of 2 and n
    }
  }
}

// A GPU gives each thread 1 KB of stack unless the program asks the driver for more.
TEST_CASE("a stack that grows: arrays of every level", "[simulator]") {
  for (const char* target : targets) {
    Kernels kernels("calls", target);
    std::vector<int> in(64);
    for (int i = 0; i < 64; ++i) in[i] = i * 5 + 1;
    auto out = kernels.zeros<int>(64);
    kernels.run("levels", 1, 64, kernels.upload(in), out);
    auto got = kernels.download<int>(out);
    for (int i = 0; i < 64; ++i) {
      int start[8];
      for (int k = 0; k < 8; ++k) start[k] = in[i] * k;
      CHECK(got[i] == sum_of_levels(in[i] & 15, start));
    }
    Random random;
    std::vector<int> values(24 * 64);
    for (int& v : values) v = static_cast<int>(random() % 1000);
    auto sorted = kernels.zeros<int>(values.size());
    kernels.run("sorts", 1, 64, kernels.upload(values), sorted);
    auto result = kernels.download<int>(sorted);
    for (int i = 0; i < 64; ++i) std::sort(values.begin() + 24 * i, values.begin() + 24 * (i + 1));
    CHECK(result == values);
    auto dynamic = kernels.zeros<int>(64);
    kernels.run("variable_stack", 1, 64, kernels.upload(in), dynamic);
    auto sums = kernels.download<int>(dynamic);
    for (int i = 0; i < 64; ++i) {
      int n = in[i] % 20 + 1, sum = 0;
      for (int k = 0; k < n; ++k) sum += 2 * (k * k + i + 1);
      CHECK(sums[i] == sum - ((n - 1) * (n - 1) + i));
    }
  }
}

TEST_CASE("pointers to functions, virtual functions") {
  for (const char* target : targets) {
    Kernels kernels("calls", target);
    std::vector<int> which(64);
    std::vector<float> in(64);
    for (int i = 0; i < 64; ++i) which[i] = (i * 11) % 7, in[i] = static_cast<float>(i) * .5f;
    auto out = kernels.zeros<float>(4 * 64);
    kernels.run("pointers", 1, 64, kernels.upload(which), kernels.upload(in), out);
    auto got = kernels.download<float>(out);
    auto unary = [](int k, float x) { return k == 0 ? 2 * x : k == 1 ? x * x : x - 1; };
    for (int i = 0; i < 64; ++i) {
      INFO(i);
      int next = (which[i] + 1) % 3;
      CHECK(got[4 * i] == unary(which[i] % 3, in[i]));
      CHECK(got[4 * i + 1] == unary(next, unary(next, in[i])));
      CHECK(got[4 * i + 2] == (which[i] & 1 ? in[i] * in[i] * 4 : 3 * in[i] * in[i] * 2));
      CHECK(got[4 * i + 3] == in[i] * in[i]);
    }
  }
}

TEST_CASE("a pointer that is none of a function", "[simulator]") {
  for (const char* target : targets) {
    Kernels kernels("calls", target);
    auto out = kernels.zeros<float>(4 * 64);
    std::string error = error_of([&] { kernels.run("wild_pointer", 1, 32, uint64_t{0x1234}, out); });
    CHECK(error.find("not that of a function") != error.npos);
  }
}

TEST_CASE("printf: whole blocks in their order, each lane in its order", "[simulator]") {
  for (const char* target : targets) {
    Kernels kernels("calls", target);
    kernels.run("prints", 40, 64, 3);
    std::string expected;
    for (int block = 0; block < 40; ++block) {
      for (int i = 0; i < 3; ++i) {
        char line[200];
        std::snprintf(line, sizeof line, "block %d thread %2d: %s %5.2f|%-6d|%06x|%c|%lld|%e|%%|%.*f\n", block, i,
                      i & 1 ? "odd" : "even", i * 0.5, i * 10, static_cast<unsigned>(i * 255), 'a' + i, 1ll << (30 + i),
                      i * 1e10, 2, i / 3.0);
        expected += line;
      }
      expected += "no arguments\n";
    }
    CHECK(kernels.printed == expected);
  }
}

TEST_CASE("an assertion names its place", "[simulator]") {
  for (const char* target : targets) {
    Kernels kernels("calls", target);
    std::vector<int> in(64, 1);
    in[37] = 9;
    CHECK(error_of([&] { kernels.run("asserts", 1, 64, kernels.upload(in), 10); }) == "");
    std::string error = error_of([&] { kernels.run("asserts", 1, 64, kernels.upload(in), 5); });
    INFO(error);
    CHECK(error.find("thread (37, 0, 0)") != error.npos);
    CHECK(error.find("calls.cu:") != error.npos);
    CHECK(error.find("assertion 'in[threadIdx.x] < n && \"too large\"' failed") != error.npos);
  }
}

TEST_CASE("a recursion without end is an error", "[simulator]") {
  Kernels kernels("calls", "sm_80");
  std::string error = error_of([&] { kernels.run("endless", 1, 64, 1, kernels.zeros<int>(64)); });
  INFO(error);
  CHECK((error.find("overflows") != error.npos || error.find("nested more than 1024 deep") != error.npos));
}

TEST_CASE("malloc and free in a kernel") {
  for (const char* target : targets) {
    Kernels kernels("calls", target);
    std::vector<int> counts(64);
    for (int i = 0; i < 64; ++i) counts[i] = i % 9;
    auto out = kernels.zeros<int>(64);
    kernels.run("heap", 1, 64, kernels.upload(counts), out);
    auto got = kernels.download<int>(out);
    for (int i = 0; i < 64; ++i) CHECK(got[i] == (i + 1) * counts[i] * (counts[i] - 1) / 2);
  }
}

TEST_CASE("functions that synchronize their callers, or end them") {
  for (const char* target : targets) {
    Kernels kernels("calls", target);
    std::vector<int> in(128);
    for (int i = 0; i < 128; ++i) in[i] = i * 3 % 31;
    auto out = kernels.zeros<int>(128);
    kernels.run("together", 1, 128, kernels.upload(in), out);
    auto got = kernels.download<int>(out);
    for (int i = 0; i < 128; ++i) {
      int sum = 0, small = 0;
      for (int k = i / 32 * 32; k < i / 32 * 32 + 32; ++k) sum += in[k], small += in[k] & 3;
      CHECK(got[i] == sum + in[(i + 1) % 128] + small + (i % 5 == 0 ? 0 : 1000));
    }
  }
}
