// Threads that work together, against plain loops on the host.
#include "tests/runtime/simulator/cuda/cuda.h"

#include <algorithm>
#include <bit>
#include <numeric>

using namespace tilejit::runtime::simulator::test;

namespace {

std::vector<int> small_numbers(size_t count) {
  Random random;
  std::vector<int> values(count);
  for (int& v : values) v = static_cast<int>(random() % 32);
  return values;
}

} // namespace

TEST_CASE("sums of blocks, prefix sums") {
  for (const char* target : targets) {
    Kernels kernels("threads", target);
    auto in = small_numbers(1000);
    for (uint32_t threads : {32u, 96u, 256u}) {
      uint32_t blocks = (1000 + threads - 1) / threads;
      auto out = kernels.zeros<int>(blocks);
      kernels.launch(
          {.entry = "block_sums",
           .grid = {blocks, 1, 1},
           .block = {threads, 1, 1},
           .dynamic_shared = threads / 32 * 4,
           .parameters = {Kernels::bytes_of(kernels.upload(in)), Kernels::bytes_of(out), Kernels::bytes_of(1000)}});
      auto got = kernels.download<int>(out);
      for (uint32_t b = 0; b < blocks; ++b)
        CHECK(got[b] == std::accumulate(in.begin() + b * threads, in.begin() + std::min(1000u, (b + 1) * threads), 0));
    }
    auto out = kernels.zeros<int>(256);
    kernels.run("prefix_sums", 1, 256, kernels.upload(in), out);
    std::vector<int> expected(256);
    std::partial_sum(in.begin(), in.begin() + 256, expected.begin());
    CHECK(kernels.download<int>(out) == expected);
  }
}

TEST_CASE("exchanges within a warp, of all lanes and of some") {
  for (const char* target : targets)
    for (uint32_t members : {~0u, 0x0f0f30f1u, 0x20u}) {
      Kernels kernels("threads", target);
      auto in = small_numbers(96);
      auto out = kernels.zeros<int>(16 * 96);
      kernels.run("warp_wide", 1, 96, kernels.upload(in), out, members);
      auto got = kernels.download<int>(out);
      int odd = 0, large = 0, all_small = 1;
      for (int x : in) odd += x & 1, large |= x > 30, all_small &= x < 31;
      for (int t = 0; t < 96; ++t) {
        const int *warp = in.data() + t / 32 * 32, lane = t % 32, x = in[t], *o = got.data() + 16 * t;
        INFO("thread " << t << " members " << members);
        if (members >> lane & 1) {
          int any = 0, ballot = 0, same = 0, sum = 0, most = -1, exclusive = 0;
          for (int k = 0; k < 32; ++k) {
            if (!(members >> k & 1)) continue;
            any |= warp[k] > 20;
            ballot |= (warp[k] & 1) << k;
            same |= (warp[k] % 5 == x % 5) << k;
            sum += warp[k];
            most = std::max(most, warp[k]);
            exclusive ^= warp[k];
          }
          CHECK(o[0] == warp[5]);
          CHECK(o[1] == any);
          CHECK(o[2] == 1);
          CHECK(o[3] == ballot);
          CHECK(o[4] == same);
          CHECK(o[5] == static_cast<int>(members + 1));
          CHECK(o[6] == sum);
          CHECK(o[7] == most);
          CHECK(o[8] == exclusive);
          CHECK(o[9] == static_cast<int>(members));
        }
        CHECK(o[10] == (lane % 8 >= 3 ? warp[lane - 3] : x));
        CHECK(o[11] == (lane % 16 < 14 ? warp[lane + 2] : x));
        CHECK(o[12] == warp[lane ^ 9]);
        CHECK(o[13] == odd);
        CHECK(o[14] == large * 2 + all_small);
        CHECK(o[15] == *std::min_element(warp, warp + 32));
      }
    }
}

TEST_CASE("groups that exist at run time only") {
  for (const char* target : targets) {
    Kernels kernels("threads", target);
    auto in = small_numbers(64);
    auto out = kernels.zeros<int>(128);
    kernels.run("groups", 1, 64, kernels.upload(in), out);
    auto got = kernels.download<int>(out);
    for (int t = 0; t < 64; ++t) {
      int sum = std::accumulate(in.begin() + t / 8 * 8, in.begin() + t / 8 * 8 + 8, 0);
      int before = 0, all = 0;
      for (int k = t / 32 * 32; k < t / 32 * 32 + 32; ++k) all += in[k] & 1, before += k < t && in[k] & 1;
      CHECK(got[2 * t] == sum * 100 + t % 8);
      CHECK(got[2 * t + 1] == (in[t] & 1 ? before + 100 * all : -1));
    }
  }
}

TEST_CASE("atomics of all kinds") {
  for (const char* target : targets) {
    Kernels kernels("threads", target);
    constexpr int n = 300;
    auto in = small_numbers(n);
    std::vector<int> ints(32);
    ints[2] = 100, ints[5] = -1;
    auto i = kernels.upload(ints);
    auto wide = kernels.zeros<uint64_t>(2);
    auto floats = kernels.zeros<float>(1);
    auto doubles = kernels.zeros<double>(1);
    auto halves = kernels.zeros<uint32_t>(1);
    kernels.run("atomics", 3, 128, kernels.upload(in), i, wide, floats, doubles, halves, n);
    auto got = kernels.download<int>(i);
    int sum = std::accumulate(in.begin(), in.end(), 0), bits = 0, exclusive = 0, cleared = -1, down = 0;
    for (int x : in) bits |= x, exclusive ^= x, cleared &= ~(1 << (x & 7));
    for (int k = 0; k < n; ++k) down = down == 0 || down > 6 ? 6 : down - 1;
    CHECK(got[0] == sum);
    CHECK(got[1] == *std::max_element(in.begin(), in.end()));
    CHECK(got[2] == *std::min_element(in.begin(), in.end()));
    CHECK(got[3] == bits);
    CHECK(got[4] == exclusive);
    CHECK(got[5] == cleared);
    CHECK(got[6] == -n);
    CHECK(got[7] == n % 10);
    CHECK(got[8] == down);
    CHECK(got[9] == 2 * n);
    CHECK(got[10] != 0);
    CHECK(got[11] == got[10]);
    for (int b = 0; b < 16; ++b)
      CHECK(got[16 + b] == std::count_if(in.begin(), in.end(), [&](int x) { return (x & 15) == b; }));
    CHECK(kernels.download<uint64_t>(wide)[0] == static_cast<uint64_t>(sum) << 20);
    CHECK(kernels.download<uint64_t>(wide)[1] == static_cast<uint64_t>(got[1]) * static_cast<uint64_t>(got[1]));
    CHECK(kernels.download<float>(floats)[0] == n * .5f);
    CHECK(kernels.download<double>(doubles)[0] == sum * .25);
    CHECK(kernels.download<uint32_t>(halves)[0] == 0x60b05cb0); // 600 and 300
  }
  Kernels kernels("threads", "sm_90a");
  auto sums = kernels.zeros<float>(4), pairs = kernels.zeros<float>(2);
  kernels.run("vector_atomics", 2, 64, sums, pairs);
  CHECK(kernels.download<float>(sums) == std::vector<float>{128, 256, 384, 512});
  CHECK(kernels.download<float>(pairs) == std::vector<float>{2 * 63 * 32, 128});
}

TEST_CASE("locks and relays between lanes of one warp") {
  for (const char* target : targets) {
    Kernels kernels("threads", target);
    auto lock = kernels.zeros<int>(1), counter = kernels.zeros<int>(1);
    kernels.run("locks", 3, 96, lock, counter);
    CHECK(kernels.download<int>(counter)[0] == 3 * 96);
    auto flags = kernels.zeros<int>(64), out = kernels.zeros<int>(64);
    kernels.run("relay", 1, 64, flags, out);
    auto got = kernels.download<int>(out);
    for (int i = 0; i < 64; ++i) CHECK(got[i] == 1 + i * (i + 1) / 2);
  }
}

TEST_CASE("the last block adds up") {
  for (const char* target : targets) {
    Kernels kernels("threads", target);
    auto in = small_numbers(32 * 50);
    auto partial = kernels.zeros<int>(50), out = kernels.zeros<int>(1);
    kernels.run("last_block", 50, 32, kernels.upload(in), partial, out);
    CHECK(kernels.download<int>(out)[0] == std::accumulate(in.begin(), in.end(), 0));
  }
}

TEST_CASE("named barriers: producers arrive, consumers wait") {
  for (const char* target : targets) {
    Kernels kernels("threads", target);
    auto in = small_numbers(256);
    auto out = kernels.zeros<int>(256);
    kernels.run("named_barriers", 1, 128, kernels.upload(in), out);
    auto got = kernels.download<int>(out);
    for (int i = 0; i < 256; ++i) CHECK(got[i] == 2 * in[i / 64 * 64 + 63 - i % 64]);
  }
}

TEST_CASE("special registers") {
  for (const char* target : targets) {
    Kernels kernels("threads", target);
    auto out = kernels.zeros<uint64_t>(16 * 128 * 2);
    kernels.launch({.entry = "special",
                    .grid = {2, 1, 1},
                    .block = {16, 4, 1},
                    .dynamic_shared = 48,
                    .parameters = {Kernels::bytes_of(out)}});
    auto got = kernels.download<uint64_t>(out);
    for (uint32_t t = 0; t < 128; ++t) {
      const uint64_t* o = got.data() + 16 * t;
      uint32_t lane = t % 32;
      INFO(t);
      CHECK(o[0] == lane);
      CHECK(o[1] == t % 64 / 32);
      CHECK(o[2] == 64);
      CHECK(o[3] < o[4]);
      CHECK(o[5] == (1u << lane) - 1);
      CHECK(o[6] == uint32_t(~((1u << lane) - 1)));
      CHECK(o[7] == 1u << lane);
      CHECK(o[8] == 48);
      CHECK(o[9] >= 48);
      CHECK(o[10] == t / 64);
      CHECK(o[11] == 4);
      CHECK(o[13] == 1);
      CHECK(o[14] == 1);
      CHECK(o[15] == t % 16 + 1000 * (t % 64 / 16));
    }
  }
}
