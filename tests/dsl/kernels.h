// kernels.h - three small kernels, to read before writing one's own.
//
// Each is a function that takes what is fixed while recording (block sizes, variants) and returns a Kernel; a Jit
// compiles it for the tensors that it meets and launches it:
//
//   Jit add(vector_add());
//   add.launch(device, {cdiv(n, 1024)}, {x, y, out});
#pragma once
#include "dsl/dsl.h"

#include <cmath>
#include <limits>
#include <numbers>

namespace tilejit::dsl {

/// out = x + y, all [n]. Grid: one block for each `block` elements.
inline Kernel vector_add(int block = 1024) {
  return kernel("vector_add(x, y, out)", [=](View x, View y, View out) {
    Span here = span(program_id(0) * block, block);
    out.at(here).store(x.at(here).load() + y.at(here).load());
  });
}

/// out[m, :] = exp(x[m, :]) / sum(exp(x[m, :])), both [M, N] with any N. Grid: one block for each `rows` rows.
///
/// One pass finds each row's maximum and its sum, rescaled whenever the maximum grows (Milakov and Gimelshein, arXiv
/// 1805.02867); the second writes. exp2 is the GPU's own exponential, so the factor log2(e) goes into x.
inline Kernel softmax(int rows = 4, int block = 256) {
  return kernel("softmax(x, out)", [=](View x, View out) {
    Span m = span(program_id(0) * rows, rows);
    constexpr float lowest = std::numeric_limits<float>::lowest(); // finite, so that -inf - top is never NaN
    Var top = full(f32, {rows}, lowest), total = zeros(f32, {rows});
    for (Index n : range(0, x.size(1), block)) {
      Tile s = x.at(m, span(n, block)).load_or(-INFINITY).to(f32) * std::numbers::log2e;
      Tile higher = max(top, reduce_max(s, 1));
      total = total * exp2(top - higher) + sum(exp2(s - higher.column()), 1);
      top = higher;
    }
    for (Index n : range(0, x.size(1), block)) {
      Tile s = x.at(m, span(n, block)).load().to(f32) * std::numbers::log2e;
      out.at(m, span(n, block)).store((exp2(s - top.column()) / total.column()).to(out.type()));
    }
  });
}

struct Matmul {
  int m = 64, n = 64, k = 32;
  bool transpose_a = false; ///< a is [K, M]
  bool transpose_b = false; ///< b is [N, K]
  Precision precision = Precision::tf32;
};

/// c = a * b: [M, K] times [K, N], any sizes, products summed in f32. Grid: cdiv(M, m) by cdiv(N, n).
inline Kernel matmul(const Matmul& how = {}, const Schedule& schedule = {}) {
  return kernel(
      "matmul(a, b, c)",
      [=](View a, View b, View c) {
        Span m = span(program_id(0) * how.m, how.m), n = span(program_id(1) * how.n, how.n);
        Var acc = zeros(f32, {how.m, how.n});
        for (Index at : range(0, a.size(how.transpose_a ? 0 : 1), how.k)) {
          Span k = span(at, how.k);
          Tile left = how.transpose_a ? transpose(a.at(k, m).load()) : a.at(m, k).load();
          Tile right = how.transpose_b ? transpose(b.at(n, k).load()) : b.at(k, n).load();
          acc = dot(left, right, acc, how.precision);
        }
        c.at(m, n).store(acc.to(c.type()));
      },
      schedule);
}

} // namespace tilejit::dsl
