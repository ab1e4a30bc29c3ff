// Memory, shapes, reductions, products and loops, run for each target on shapes that no tile divides: what moves
// elements is held to the elements themselves, what computes to the definition.
#include "tests/dsl/values.h"

using namespace tilejit;
using namespace tilejit::dsl;
using Tiles = std::vector<Tile>;

namespace {

const DType types[] = {i1, i8, i32, i64, f16, bf16, f32, f64};

// The elements of `x` with its dims in another order.
std::vector<Real> permuted(const Array& x, const std::vector<int>& order) {
  std::vector<int64_t> strides(x.shape.size(), 1), sizes, steps;
  for (size_t d = x.shape.size(); d-- > 1;) strides[d - 1] = strides[d] * x.shape[d];
  for (int d : order) sizes.push_back(x.shape[size_t(d)]), steps.push_back(strides[size_t(d)]);
  std::vector<Real> result;
  std::function<void(size_t, int64_t)> walk = [&](size_t d, int64_t at) {
    if (d == sizes.size()) return result.push_back(x.values[size_t(at)]);
    for (int64_t i = 0; i < sizes[d]; ++i) walk(d + 1, at + i * steps[d]);
  };
  walk(0, 0);
  return result;
}

} // namespace

// ---- memory --------------------------------------------------------------------------------------------------------

TEST_CASE("loads and stores of every type: dense, padded, transposed, through a mask") {
  const int64_t m = 37, n = 50;
  Jit copy(kernel("copy(x, out)", [](View x, View out) {
    Span rows = span(program_id(0) * 16, 16), columns = span(program_id(1) * 32, 32);
    out.at(rows, columns).store(x.at(rows, columns).load());
  }));
  Jit masked(kernel("masked(x, out)", [](View x, View out) {
    Span rows = span(program_id(0) * 16, 16), columns = span(program_id(1) * 32, 32);
    Tile odd = ((rows.begin + iota(16)).column() + (columns.begin + iota(32)).row()) % 2 == 1;
    out.at(rows, columns).store(x.at(rows, columns).load(odd, 1), odd || (columns.begin + iota(32)).row() < 40);
  }));
  const Grid grid{3, 2};
  for (const auto& device : devices())
    for (DType type : types)
      for (int64_t padding : {0, 3, 14}) {
        INFO(name_of(type) << " padding " << padding << " for " << device->target());
        Array x = random_array(type, {m, n}, 1), turned{type, {n, m}, permuted(x, {1, 0})};
        runtime::Tensor out = runtime::empty(*device, type, {m, n}, padding);
        copy.launch(*device, grid, {upload(*device, x, padding), out});
        check_equal({type, {m, n}, download(*device, out)}, x.values);

        runtime::Tensor again = runtime::empty(*device, type, {m, n}, padding);
        copy.launch(*device, grid, {upload(*device, turned, padding).transpose(0, 1), again});
        check_equal({type, {m, n}, download(*device, again)}, x.values);

        runtime::Tensor into = runtime::empty(*device, type, {n, m}, padding);
        copy.launch(*device, grid, {upload(*device, x, padding), into.transpose(0, 1)});
        check_equal({type, {n, m}, download(*device, into)}, turned.values);

        runtime::Tensor some = runtime::empty(*device, type, {m, n}, padding);
        masked.launch(*device, grid, {upload(*device, x, padding), some});
        std::vector<Real> wanted;
        for (int64_t i = 0; i < m; ++i)
          for (int64_t j = 0; j < n; ++j)
            wanted.push_back((i + j) % 2 == 1 ? x.values[size_t(i * n + j)] : j < 40 ? 1 : 0);
        check_equal({type, {m, n}, download(*device, some)}, wanted);
      }
}

TEST_CASE("outside a view is zero, or what the author says, on every side") {
  for (const auto& device : devices())
    for (DType type : types) {
      INFO(name_of(type) << " for " << device->target());
      Array x = random_array(type, {7, 13}, 1);
      Jit jit(kernel("around(x, zero, one)", [](View x, View zero, View one) {
        Span rows = span(-5, 20), columns = span(-3, 24);
        zero.at(span(0, 20), span(0, 24)).store(x.at(rows, columns).load());
        one.at(span(0, 20), span(0, 24)).store(x.at(rows, columns).load_or(1));
      }));
      runtime::Tensor zero = runtime::empty(*device, type, {20, 24}), one = runtime::empty(*device, type, {20, 24});
      jit.launch(*device, {}, {upload(*device, x), zero, one});
      for (Real other : {Real(0), Real(1)}) {
        std::vector<Real> wanted;
        for (int64_t i = -5; i < 15; ++i)
          for (int64_t j = -3; j < 21; ++j)
            wanted.push_back(i >= 0 && i < 7 && j >= 0 && j < 13 ? x.values[size_t(i * 13 + j)] : other);
        check_equal({type, {20, 24}, download(*device, other == 0 ? zero : one)}, wanted);
      }
    }
}

TEST_CASE("windows of four dims, with places and spans, at scalars from arguments and from memory") {
  for (const auto& device : devices()) {
    INFO(device->target());
    Array x = random_array(i32, {3, 5, 4, 9}, 1);
    Jit jit(kernel("slices(x, where, out, head)", [](View x, View where, View out, Scalar head) {
      Index batch = where.at(1).load();
      out.at(span(0, 8), span(0, 16)).store(x.at(batch, span(1, 8), head, span(0, 16)).load());
    }));
    runtime::Tensor out = runtime::empty(*device, i32, {4, 9});
    jit.launch(*device, {}, {upload(*device, x), upload(*device, {i32, {2}, {0, 2}}), out, 3});
    std::vector<Real> wanted;
    for (int64_t i = 1; i < 5; ++i)
      for (int64_t j = 0; j < 9; ++j) wanted.push_back(x.values[size_t(((2 * 5 + i) * 4 + 3) * 9 + j)]);
    check_equal({i32, {4, 9}, download(*device, out)}, wanted);
  }
}

TEST_CASE("each block has its number along three axes") {
  for (const auto& device : devices()) {
    Jit jit(kernel("ids(out)", [](View out) {
      Index x = program_id(0), y = program_id(1), z = program_id(2);
      out.at(z, y, x).store(x + 10 * y + 100 * z);
    }));
    runtime::Tensor out = runtime::empty(*device, i32, {4, 3, 5});
    jit.launch(*device, {5, 3, 4}, {out});
    std::vector<Real> wanted;
    for (int z = 0; z < 4; ++z)
      for (int y = 0; y < 3; ++y)
        for (int x = 0; x < 5; ++x) wanted.push_back(x + 10 * y + 100 * z);
    check_equal({i32, {4, 3, 5}, download(*device, out)}, wanted);
  }
}

TEST_CASE("offsets are of 64 bits: rows further from the first than 2^32 bytes") {
  Jit jit(kernel("far(x, out, row)",
                 [](View x, View out, Scalar row) { out.at(span(0, 64)).store(x.at(row, span(0, 64)).load()); }));
  struct Rows {
    int count;
    int64_t stride;
  };
  for (const auto& device : devices())
    for (auto [count, stride] : {Rows{2, (int64_t(1) << 31) + 4}, {5000, (int64_t(1) << 20) + 4}}) {
      INFO(count << " rows " << stride << " elements apart, for " << device->target());
      Array x = random_array(f32, {64}, 1);
      // Only the last row is read, so only it needs memory: the view begins that far before its buffer.
      runtime::Tensor last = upload(*device, x), out = runtime::empty(*device, f32, {64});
      runtime::Tensor view{last.buffer, f32, {count, 64}, {stride, 1}, -(count - 1) * stride};
      jit.launch(*device, {}, {view, out, count - 1});
      check_equal({f32, {64}, download(*device, out)}, x.values);
    }
}

TEST_CASE("what a block has stored it reads back, whichever thread stored it") {
  for (const auto& device : devices())
    for (DType type : {f32, bf16, i64}) {
      INFO(name_of(type) << " for " << device->target());
      Array x = random_array(type, {64, 64}, 1);
      runtime::Tensor tensor = upload(*device, x);
      Jit in_place(kernel("transpose_in_place(x)", [](View x) {
        Window all = x.at(span(0, 64), span(0, 64));
        all.store(transpose(all.load()));
      }));
      in_place.launch(*device, {}, {tensor});
      check_equal({type, {64, 64}, download(*device, tensor)}, permuted(x, {1, 0}));

      Jit through(kernel("through_memory(x, buffer)", [](View x, View buffer) {
        for (Index i : range(0, 64, 16)) {
          buffer.at(span(0, 16), span(0, 64)).store(x.at(span(i, 16), span(0, 64)).load());
          Tile columns = buffer.at(span(0, 16), span(16, 16)).load();
          x.at(span(i, 16), span(0, 16)).store(transpose(columns));
        }
      }));
      runtime::Tensor second = upload(*device, x), buffer = runtime::empty(*device, type, {16, 64});
      through.launch(*device, {}, {second, buffer});
      std::vector<Real> wanted = x.values;
      for (size_t i = 0; i < 64; ++i)
        for (size_t j = 0; j < 16; ++j) wanted[i * 64 + j] = x.values[(i / 16 * 16 + j) * 64 + 16 + i % 16];
      check_equal({type, {64, 64}, download(*device, second)}, wanted);
    }
}

TEST_CASE("a product's operand that the loop before has stored") {
  for (const auto& device : devices()) {
    INFO(device->target());
    // x[n + 1] = x[n] * a: each turn multiplies what the turn before has stored.
    Jit jit(kernel("powers(x, a)", [](View x, View a) {
      Span all = span(0, 32);
      Tile factor = a.at(all, all).load();
      for (Index n : range(0, 4)) x.at(n + 1, all, all).store(dot(x.at(n, all, all).load(), factor).to(f16));
    }));
    Array x{f16, {5, 32, 32}, std::vector<Real>(5 * 32 * 32)}, a{f16, {32, 32}, std::vector<Real>(32 * 32)};
    for (size_t i = 0; i < 32; ++i)
      for (size_t j = 0; j < 32; ++j) {
        x.values[i * 32 + j] = Real(int(i * 7 + j * 3) % 11 - 5);
        a.values[i * 32 + j] = (i + 1) % 32 == j ? 2 : 0; // turns the columns and doubles
      }
    runtime::Tensor tensor = upload(*device, x);
    jit.launch(*device, {}, {tensor, upload(*device, a)});
    std::vector<Real> wanted = x.values;
    for (size_t n = 0; n < 4; ++n)
      for (size_t i = 0; i < 32; ++i)
        for (size_t j = 0; j < 32; ++j)
          wanted[((n + 1) * 32 + i) * 32 + j] = 2 * wanted[(n * 32 + i) * 32 + (j + 31) % 32];
    check_equal({f16, {5, 32, 32}, download(*device, tensor)}, wanted);
  }
}

// ---- shapes --------------------------------------------------------------------------------------------------------

TEST_CASE("transposes and permutations of every type") {
  for (const auto& device : devices())
    for (DType type : types)
      for (int warps : {1, 4}) {
        INFO(name_of(type) << ", " << warps << " warps, for " << device->target());
        Array x = random_array(type, {24, 40}, 1), cube = random_array(type, {3, 10, 12}, 2);
        check_equal(
            run_on_tiles(
                *device, {x}, type, {40, 24}, [](const Tiles& t) { return transpose(t[0]); }, {.warps = warps}, 8),
            permuted(x, {1, 0}));
        for (const std::vector<int>& order : std::vector<std::vector<int>>{{2, 0, 1}, {0, 2, 1}}) {
          Shape turned;
          for (int d : order) turned.push_back(cube.shape[size_t(d)]);
          check_equal(run_on_tiles(
                          *device, {cube}, type, turned, [&](const Tiles& t) { return permute(t[0], order); },
                          {.warps = warps}, 2),
                      permuted(cube, order));
        }
      }
}

TEST_CASE("broadcasts, splats and iota") {
  for (const auto& device : devices())
    for (DType type : types) {
      INFO(name_of(type) << " for " << device->target());
      Array x = random_array(type, {33}, 1), y = random_array(type, {50}, 2);
      std::vector<Real> rows, columns, numbers;
      for (size_t i = 0; i < 33; ++i)
        for (size_t j = 0; j < 50; ++j) {
          rows.push_back(y.values[j]);
          columns.push_back(x.values[i]);
          numbers.push_back(Real(100 * i + j));
        }
      check_equal(
          run_on_tiles(*device, {x, y}, type, {33, 50}, [](const Tiles& t) { return t[1].row().broadcast({33, 50}); }),
          rows);
      check_equal(run_on_tiles(*device, {x, y}, type, {33, 50},
                               [](const Tiles& t) { return t[0].column().broadcast({33, 50}); }),
                  columns);
      check_equal(run_on_tiles(*device, {x}, i32, {33, 50},
                               [](const Tiles&) { return 100 * iota(33).column() + iota(50).row(); }),
                  numbers);
      Jit splat(kernel("splat(x, out)", [](View x, View out) {
        out.at(span(0, 4), span(0, 8)).store(full(x.type(), {4, 8}, x.at(7).load()));
      }));
      runtime::Tensor out = runtime::empty(*device, type, {3, 7});
      splat.launch(*device, {}, {upload(*device, x), out});
      check_equal({type, {3, 7}, download(*device, out)}, std::vector<Real>(21, x.values[7]));
    }
}

// ---- reductions ----------------------------------------------------------------------------------------------------

TEST_CASE("reductions of every type, along every axis, within and across warps") {
  for (const auto& device : devices())
    for (DType type : {i8, i32, i64, f16, bf16, f32, f64})
      for (const Shape& shape : {Shape{24, 80}, Shape{5, 96}, Shape{112}, Shape{3, 10, 20}, Shape{1, 7}})
        for (int warps : {1, 8}) {
          Array x = random_array(type, shape, 1);
          for (int axis = 0; axis < int(shape.size()); ++axis) {
            INFO(name_of(type) << " of rank " << shape.size() << " axis " << axis << ", " << warps << " warps, for "
                               << device->target());
            std::vector<int> order;
            Shape left;
            for (int d = 0; d < int(shape.size()); ++d)
              if (d != axis) order.push_back(d), left.push_back(shape[size_t(d)]);
            order.push_back(axis);
            std::vector<Real> lines = permuted(x, order), sums, sizes, most, least;
            auto length = size_t(shape[size_t(axis)]);
            for (size_t line = 0; line < lines.size() / length; ++line) {
              Real sum = 0, size = 0, high = lines[line * length], low = high;
              uint64_t whole = 0;
              for (size_t i = 0; i < length; ++i) {
                Real v = lines[line * length + i];
                if (is_float(type))
                  sum += v;
                else
                  whole += static_cast<uint64_t>(static_cast<int64_t>(v));
                size += std::abs(v), high = std::max(high, v), low = std::min(low, v);
              }
              sums.push_back(is_float(type) ? sum : wrapped(type, static_cast<int64_t>(whole)));
              sizes.push_back(size), most.push_back(high), least.push_back(low);
            }
            auto reduced = [&](auto function) {
              // A result of no dims is a scalar, which is stored as a row of one.
              Shape out = left.empty() ? Shape{1} : left;
              return run_on_tiles(*device, {x}, type, out,
                                  [&](const Tiles& t) {
                                    Tile result = function(t[0]);
                                    return left.empty() ? result.expand(0) : result;
                                  },
                                  {.warps = warps});
            };
            DType sum_type = type == f16 || type == bf16 ? f32 : type;
            check_values(reduced([&](const Tile& t) { return sum(t, axis); }), sums, [&](size_t i) {
              if (!is_float(type)) return Real(0);
              return sizes[i] * Real(length) * roundoff(sum_type) + std::abs(sums[i]) * roundoff(type);
            });
            check_equal(reduced([&](const Tile& t) { return reduce_max(t, axis); }), most);
            check_equal(reduced([&](const Tile& t) { return reduce_min(t, axis); }), least);
          }
        }
}

TEST_CASE("a reduction skips NaNs, and combines conditions") {
  for (const auto& device : devices()) {
    INFO(device->target());
    Array x = random_array(f32, {20, 48}, 1);
    std::vector<Real> most, any;
    for (size_t i = 0; i < 20; ++i) {
      for (size_t j = 0; j < 48; j += 1 + i % 3) x.values[i * 48 + j] = NAN;
      Real high = NAN;
      bool large = false;
      for (size_t j = 0; j < 48; ++j) {
        high = std::fmax(high, x.values[i * 48 + j]);
        large |= x.values[i * 48 + j] > 7.5L;
      }
      most.push_back(high), any.push_back(large);
    }
    check_equal(run_on_tiles(*device, {x}, f32, {20}, [](const Tiles& t) { return reduce_max(t[0], 1); }), most);
    check_equal(
        run_on_tiles(*device, {x}, i1, {20},
                     [](const Tiles& t) { return reduce(t[0] > 7.5, 1, [](auto& a, auto& b) { return a || b; }); }),
        any);
  }
}

// ---- products ------------------------------------------------------------------------------------------------------

TEST_CASE("products of every tile that fits, from memory and from registers") {
  struct Sizes {
    int64_t m, n, k;
  };
  for (const auto& device : devices())
    for (DType type : {f16, bf16, f32})
      for (auto [m, n, k] : {Sizes{16, 8, 16}, {48, 40, 80}, {32, 96, 48}, {80, 16, 112}})
        for (int warps : {1, 4}) {
          INFO(name_of(type) << " " << m << " x " << n << " x " << k << ", " << warps << " warps, for "
                             << device->target());
          Array a = random_array(type, {m, k}, 1), b = random_array(type, {n, k}, 2), c = random_array(f32, {m, n}, 3);
          std::vector<Real> wanted(size_t(m * n)), doubled(wanted), size(wanted);
          for (int64_t i = 0; i < m; ++i)
            for (int64_t j = 0; j < n; ++j) {
              Real sum = 0, all = std::abs(c.values[size_t(i * n + j)]);
              for (int64_t x = 0; x < k; ++x) {
                Real product = a.values[size_t(i * k + x)] * b.values[size_t(j * k + x)];
                sum += product, all += std::abs(product);
              }
              wanted[size_t(i * n + j)] = sum + c.values[size_t(i * n + j)];
              doubled[size_t(i * n + j)] = 4 * sum + c.values[size_t(i * n + j)];
              size[size_t(i * n + j)] = all;
            }
          for (Precision precision : {Precision::tf32, Precision::tf32x3}) {
            // Additions of the tensor core may truncate; f32 operands are rounded to 11 bits, or to 22.
            Real operands = type != f32 ? 0 : precision == Precision::tf32 ? 2 * 0x1p-11L : 4 * 0x1p-22L;
            auto bound = [&](Real factor) {
              return [&, factor](size_t i) { return factor * size[i] * (2 * Real(k) * 0x1p-24L + operands); };
            };
            check_values(run_on_tiles(*device, {a, b, c}, f32, {m, n},
                                      [&](const Tiles& t) { return dot(t[0], transpose(t[1]), t[2], precision); },
                                      {.warps = warps}),
                         wanted, bound(1));
            check_values(
                run_on_tiles(*device, {a, b, c}, f32, {m, n},
                             [&](const Tiles& t) { return dot(t[0] + t[0], transpose(t[1] + t[1]), t[2], precision); },
                             {.warps = warps}),
                doubled, bound(4));
            if (type != f32) break;
          }
        }
}

// ---- loops ---------------------------------------------------------------------------------------------------------

TEST_CASE("loops carry tiles and scalars, nest, run not at all, and take their bounds from the launch") {
  Jit jit(kernel("loops(x, out, count, step)", [](View x, View out, Scalar count, Scalar step) {
    Tile t = x.at(span(0, 48)).load();
    Var total = zeros(i32, {48}), previous = t, turns = Tile(0);
    for (Index i : range(0, count, step)) {
      for (Index j : range(i, i + 2)) total += previous * (j + 1);
      Tile kept = previous;
      previous = kept + t;
      turns += 1;
      when(turns > 2, [&] { total -= 1; }, [&] { total += kept; });
    }
    out.at(0, span(0, 48)).store(total);
    out.at(1, span(0, 48)).store(previous + turns);
  }));
  for (const auto& device : devices())
    for (int count : {0, 1, 7, -3})
      for (int step : {1, 3}) {
        INFO(count << " by " << step << " for " << device->target());
        Array x{i32, {45}, {}};
        for (int i = 0; i < 45; ++i) x.values.push_back(i - 20);
        runtime::Tensor out = runtime::empty(*device, i32, {2, 45});
        jit.launch(*device, {}, {upload(*device, x), out, count, step});
        std::vector<Real> wanted(90);
        for (size_t e = 0; e < 45; ++e) {
          int t = int(e) - 20, total = 0, previous = t, turns = 0;
          for (int i = 0; i < count; i += step) {
            for (int j = i; j < i + 2; ++j) total += previous * (j + 1);
            int kept = previous;
            previous = kept + t;
            total += ++turns > 2 ? -1 : kept;
          }
          wanted[e] = total, wanted[45 + e] = previous + turns;
        }
        check_equal({i32, {2, 45}, download(*device, out)}, wanted);
      }
}
