// The time estimate of the library's attention ranks what is known beforehand: half of the scores take less time than
// all, and copies that run ahead less than copies that are waited for.
#include "runtime/simulator/estimate.h"
#include "support.h"

#include <catch2/catch.hpp>

using namespace tilejit;
using namespace tilejit::attention;

namespace {

/// Of `full`, what two multiprocessors are and have: a grid of a few blocks is several waves to it.
runtime::Gpu two_multiprocessors(const char* full) {
  runtime::Gpu gpu = runtime::find_gpu(full);
  const double share = 2.0 / gpu.multiprocessors;
  gpu.multiprocessors = 2;
  gpu.l2_bytes_all *= share;
  gpu.memory_gb_per_s *= share;
  return gpu;
}

runtime::Estimate estimate_of(const char* target, const char* gpu, bool causal, int stages) {
  auto device = runtime::open_simulator(target);
  Case c{.d = 64, .dv = 64, .queries = 512, .keys = 512, .kv_heads = 4};
  Inputs inputs(*device, c, 1);
  AttentionConfig config = attention_config(c.d, c.dv, c.type);
  config.schedule.stages = stages;
  dsl::Jit jit(attention_kernel(config, {.visibility = causal ? causal_keys() : every_key()}));
  runtime::Tensor o = empty(*device, c.type, {1, c.queries, c.kv_heads, c.dv});
  device->set_instruments({.estimate = true});
  jit.launch(*device, {(c.queries + config.block_m - 1) / config.block_m, c.kv_heads, 1},
             {inputs.q.tensor, inputs.k.tensor, inputs.v.tensor, o, 0.125f});
  device->synchronize();
  runtime::Estimate e = runtime::estimate(device->last_launch(), two_multiprocessors(gpu));
  UNSCOPED_INFO(target << (causal ? " causal" : "") << ", " << stages << " stages: " << e.microseconds << " us, "
                       << e.bound_by << ", " << e.resident_blocks << " resident, " << e.registers << " registers");
  return e;
}

} // namespace

TEST_CASE("attention that sees half of the keys takes less time") {
  for (auto [target, gpu] : {std::pair("sm_80", "a100"), std::pair("sm_90a", "h100")}) {
    // Of 4 x 4 tiles of 128 x 128 scores 10 are computed; of these the 4 on the diagonal are masked.
    double causal = estimate_of(target, gpu, true, 2).microseconds,
           full = estimate_of(target, gpu, false, 2).microseconds;
    CHECK(full > 1.15 * causal);
    CHECK(full < 16.0 / 10 * 1.1 * causal);
  }
}

TEST_CASE("attention whose copies run ahead takes less time") {
  for (auto [target, gpu] : {std::pair("sm_80", "a100"), std::pair("sm_90a", "h100")}) {
    runtime::Estimate one = estimate_of(target, gpu, false, 1), two = estimate_of(target, gpu, false, 2);
    CHECK(one.microseconds > 1.03 * two.microseconds);
  }
}
