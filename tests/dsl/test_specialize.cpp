// Which facts of a tensor are compiled in, and how a launch fills in the rest.
#include "tests/dsl/support.h"

using namespace tilejit;
using namespace tilejit::dsl;
using Catch::Matchers::Contains;

namespace {

// Device memory at a chosen address, with nothing behind it.
struct Address : runtime::Buffer {
  explicit Address(uint64_t address) : at(address) {}
  uint64_t address() const override { return at; }
  size_t size() const override { return size_t(1) << 40; }
  uint64_t at;
};

runtime::Tensor tensor(DType type, Shape shape, Shape strides, uint64_t address = 256) {
  return {std::make_shared<Address>(address), type, std::move(shape), std::move(strides), 0};
}

} // namespace

TEST_CASE("rows stay open, their length and the stride 1 are fixed") {
  ArgumentSpec spec = specialize(tensor(bf16, {2, 300, 8, 128}, {307200, 1024, 128, 1}));
  CHECK(spec.is_tensor);
  CHECK(spec.type == bf16);
  CHECK(spec.shape == Shape{dynamic, dynamic, dynamic, 128});
  CHECK(spec.strides == Shape{dynamic, dynamic, dynamic, 1});
  CHECK(spec.align == 16);
}

TEST_CASE("a vector's length stays open") {
  ArgumentSpec spec = specialize(tensor(f32, {1000}, {1}));
  CHECK(spec.shape == Shape{dynamic});
  CHECK(spec.strides == Shape{1});
}

TEST_CASE("a transposed tensor runs along its other dim") {
  CHECK(specialize(tensor(f32, {64, 32}, {1, 64})).strides == Shape{1, dynamic});
  // A stride of 1 means nothing where the size is 1 ...
  CHECK(specialize(tensor(f32, {64, 1}, {1, 1})).strides == Shape{1, dynamic});
  CHECK(specialize(tensor(f32, {1, 64}, {1, 1})).strides == Shape{dynamic, 1});
  // ... unless there is no other.
  CHECK(specialize(tensor(f32, {1, 1}, {1, 1})).strides == Shape{dynamic, 1});
  CHECK(specialize(tensor(f32, {8, 8}, {80, 10})).strides == Shape{dynamic, dynamic});
}

TEST_CASE("alignment: of the address, of open strides, of an open row") {
  CHECK(specialize(tensor(bf16, {8, 64}, {64, 1}, 256 + 8)).align == 8);
  CHECK(specialize(tensor(bf16, {8, 64}, {64, 1}, 256 + 2)).align == 2);
  CHECK(specialize(tensor(bf16, {8, 64}, {66, 1})).align == 4);
  CHECK(specialize(tensor(f32, {8, 63}, {64, 1})).align == 16); // the fixed size is not assumed to be a multiple
  CHECK(specialize(tensor(f32, {1002}, {1})).align == 8);
  CHECK(specialize(tensor(f32, {8, 64}, {0, 1})).align == 16); // a repeated row
  CHECK(specialize(tensor(i8, {7}, {1}, 3)).align == 1);
}

TEST_CASE("a policy chooses the fixed sizes") {
  runtime::Tensor x = tensor(f32, {4, 8, 16}, {128, 16, 1});
  CHECK(specialize(x, {{0, -1}}).shape == Shape{4, dynamic, 16});
  CHECK(specialize(x, {{}}).shape == Shape{dynamic, dynamic, dynamic});
  CHECK(error_of([&] { specialize(x, {{3}}); }) ==
        "specialize: there is no dim 3 to fix in f32 [4, 8, 16] with strides [128, 16, 1]");
}

TEST_CASE("sizes above 2^31 - 2^24 are refused") {
  CHECK(error_of([] { specialize(tensor(i8, {int64_t(1) << 31}, {1})); }) ==
        "specialize: a size of 2147483648 in i8 [2147483648] with strides [1]; sizes must be at most 2^31 - 2^24: "
        "split the tensor");
  CHECK(error_of([] { specialize(tensor(i8, {(int64_t(1) << 31) - (1 << 24)}, {1})); }) == "");
}

TEST_CASE("a launch packs pointers, open sizes and strides, and scalars") {
  CompiledKernel kernel;
  kernel.name = "k";
  kernel.arguments = {tensor_spec("x", f32, {dynamic, 64}, {dynamic, 1}), scalar_spec("n", i64), scalar_spec("s", f32)};
  using Kind = KernelParameter::Kind;
  kernel.parameters = {
      {Kind::pointer, 0}, {Kind::size, 0, 0}, {Kind::stride, 0, 0}, {Kind::scalar, 1}, {Kind::scalar, 2}};
  runtime::Launch launch = pack(kernel, {3, 2}, {tensor(f32, {7, 64}, {128, 1}, 4096), int64_t(-5), 0.5});
  CHECK(launch.grid == std::array<uint32_t, 3>{3, 2, 1});
  CHECK(launch.parameters ==
        std::vector<runtime::ParameterValue>{uint64_t(4096), uint32_t(7), uint64_t(128), uint64_t(-5), 0.5f});
  // An i32 becomes an i64, not the other way round.
  CHECK(std::get<uint64_t>(pack(kernel, {}, {tensor(f32, {7, 64}, {128, 1}), 3, 1.0f}).parameters[3]) == 3);
}

TEST_CASE("arguments that do not fit the kernel") {
  CompiledKernel kernel;
  kernel.name = "k";
  kernel.arguments = {tensor_spec("x", f32, {dynamic, 64}, {dynamic, 1}), scalar_spec("n", i32)};
  auto launch = [&](std::vector<Argument> arguments, Grid grid = {}) {
    return error_of([&] { pack(kernel, grid, arguments); });
  };
  const std::string wanted = "k: argument 'x' is compiled for f32 [?, 64] with strides [?, 1] (? is open), not ";
  CHECK(launch({tensor(f32, {7, 32}, {32, 1}), 1}) == wanted + "f32 [7, 32] with strides [32, 1]");
  CHECK(launch({tensor(f32, {7, 64}, {128, 2}), 1}) == wanted + "f32 [7, 64] with strides [128, 2]");
  CHECK(launch({tensor(f16, {7, 64}, {64, 1}), 1}) == wanted + "f16 [7, 64] with strides [64, 1]");
  CHECK(launch({tensor(f32, {64}, {1}), 1}) == wanted + "f32 [64] with strides [1]");
  const std::string multiples = "k: argument 'x' is compiled for multiples of 16 bytes, which ";
  CHECK(launch({tensor(f32, {7, 64}, {64, 1}, 8), 1}) ==
        multiples + "the address of f32 [7, 64] with strides [64, 1] is not");
  CHECK(launch({tensor(f32, {7, 64}, {65, 1}), 1}) ==
        multiples + "a stride of 65 elements of f32 [7, 64] with strides [65, 1] is not");
  CHECK(launch({tensor(f32, {7, 64}, {64, 1})}) == "k takes 2 arguments, not 1");
  CHECK(launch({1, 1}) == "k: argument 'x' must be a tensor");
  CHECK(launch({tensor(f32, {7, 64}, {64, 1}), tensor(f32, {7, 64}, {64, 1})}) == "k: argument 'n' must be a scalar");
  CHECK(launch({tensor(f32, {7, 64}, {64, 1}), 1}, {1, 65536}) ==
        "k: a grid of 65536 blocks along y; the limit is 65535");
  CHECK(launch({tensor(f32, {7, 64}, {64, 1}), 1}, {-1}) == "k: a grid of -1 blocks along x; the limit is 2147483647");
  CHECK(launch({tensor(f32, {0, 64}, {64, 1}), 1}) == "");
}

TEST_CASE("a launch's scalars give the record its types") {
  Jit jit(kernel("scalars(a, b, c)", [](Scalar a, Scalar b, Scalar c) {
    CHECK(a.type() == i32);
    CHECK(b.type() == i64);
    CHECK(c.type() == f32);
  }));
  CHECK_THAT(jit.record({1, int64_t(1), 1.0}).text(), Contains("%arg0: i32 {tile.name = \"a\"}"));
  CHECK(error_of([&] { jit.record({1}); }) == "kernel scalars takes 3 arguments, not 1");
  CHECK(error_of([&] { jit.specialize("d", {}); }) == "kernel scalars has no argument 'd'");
}

TEST_CASE("Jit::specialize fixes other sizes") {
  Jit jit(kernel("fixed(x)", [](View x) { CHECK(x.fixed_size(0) == 12); }));
  jit.specialize("x", {{0}});
  CHECK_THAT(jit.record({tensor(f32, {12, 64}, {64, 1})}).text(), Contains("!tile.view<12x?xf32, strides = [?, 1]"));
}
