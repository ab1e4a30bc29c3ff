// The `cuda` device against fake_libcuda: which calls it makes, what it does with their errors, what it releases.
#include "runtime/cuda/driver.h"
#include "runtime/device.h"
#include "runtime/tensor.h"
#include "tests/runtime/cuda/fake_libcuda.h"

#include <catch2/catch.hpp>

#include <cstdlib>
#include <dlfcn.h>

using namespace tilejit;
using namespace tilejit::runtime;
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;

namespace {

const char* ptx = R"(
.version 8.0
.target sm_90a
.address_size 64
.visible .entry scale(.param .u64 x, .param .u32 n, .param .u64 stride, .param .f32 factor)
{
  ret;
}
)";

CompiledKernel scale_kernel() {
  CompiledKernel kernel;
  kernel.name = "scale";
  kernel.target = "sm_90a";
  kernel.ptx = ptx;
  kernel.threads = 128;
  kernel.shared_bytes = 98304;
  kernel.arguments = {{.name = "x", .shape = {dynamic}, .strides = {dynamic}, .written = true},
                      {.name = "factor", .is_tensor = false, .type = DType::f32}};
  using Kind = KernelParameter::Kind;
  kernel.parameters = {{Kind::pointer, 0}, {Kind::size, 0}, {Kind::stride, 0}, {Kind::scalar, 1}};
  return kernel;
}

struct Fake {
  void* library = nullptr;
  Fake() {
    setenv("TILEJIT_LIBCUDA", FAKE_LIBCUDA, 1);
    unsetenv("TILEJIT_FAKE_GPUS");
    unsetenv("TILEJIT_FAKE_FAIL");
    library = dlopen(FAKE_LIBCUDA, RTLD_NOW);
    REQUIRE(library);
    function<void()>("fake_reset")();
  }
  ~Fake() { dlclose(library); }
  template <typename Signature>
  Signature* function(const char* name) {
    auto* found = reinterpret_cast<Signature*>(dlsym(library, name));
    REQUIRE(found);
    return found;
  }
  void gpus(const char* list) { function<void(const char*)>("fake_gpus")(list); }
  void fail(const char* name, int code, const char* log = "") {
    function<void(const char*, int, const char*)>("fake_fail")(name, code, log);
  }
  std::string calls() { return function<const char*()>("fake_calls")(); }
  int alive() { return function<int()>("fake_alive")(); }
  int pushed() { return function<int()>("fake_pushed")(); }
};

} // namespace

TEST_CASE_METHOD(Fake, "a kernel is loaded and launched with what the driver needs") {
  std::shared_ptr<Device> device = open_device("cuda");
  CHECK(device->target() == "sm_90a");
  CHECK(device->name() == "cuda:0 (Fake H100, compute capability 9.0, kernels compiled for sm_90a)");
  Tensor x = from_floats(*device, DType::f32, {3}, std::vector<float>{1, 2, 3});
  auto module = device->load(scale_kernel());
  device->launch(*module, {{5, 6, 7}, {x.address(), uint32_t(3), uint64_t(1), 0.5f}});
  device->synchronize();
  CHECK_THAT(calls(), Contains("cuFuncSetAttribute 8 98304"));
  CHECK_THAT(calls(), Contains("cuLaunchKernelEx grid 5 6 7 block 128 1 1 shared 98304 default parameters " +
                               std::to_string(x.address()) + " 3 1 1056964608"));
  CHECK(to_floats(*device, x) == std::vector<float>{1, 2, 3});

  auto stream = device->create_stream();
  device->launch(*module, {{1, 1, 1}, {x.address(), uint32_t(3), uint64_t(1), 0.5f}}, stream.get());
  stream->synchronize();
  CHECK_THAT(calls(), Contains("shared 98304 stream parameters") && Contains("cuStreamSynchronize"));
}

TEST_CASE_METHOD(Fake, "an entry of any PTX is launched with blocks and clusters of any shape") {
  const std::string ptx = ".version 8.0\n.target sm_90a\n.visible .entry scale(.param .u64 x, .param .u32 n) { ret; }";
  auto bytes = [](auto value) {
    auto all = std::as_bytes(std::span(&value, 1));
    return std::vector<std::byte>(all.begin(), all.end());
  };
  PtxLaunch launch{.entry = "scale",
                   .grid = {16, 2, 1},
                   .block = {32, 4, 2},
                   .cluster = {2, 1, 1},
                   .dynamic_shared = 512,
                   .parameters = {bytes(uint64_t{77}), bytes(uint32_t{5})}};
  {
    auto device = open_device("cuda");
    device->launch_ptx(ptx, launch);
    CHECK_THAT(calls(), Contains("cuFuncSetAttribute 8 512"));
    CHECK_THAT(calls(), Contains("grid 16 2 1 block 32 4 2 shared 512 default cluster 2 1 1 parameters 77 5"));
    CHECK_THAT(calls(), !Contains("cuFuncSetAttribute 14 1"));
    // Loaded once; clusters of more than 8 blocks are asked for, and none where the launch names none.
    launch.cluster = {16, 1, 1};
    device->launch_ptx(ptx, launch);
    CHECK_THAT(calls(), Contains("cuFuncSetAttribute 14 1"));
    launch.cluster = {};
    device->launch_ptx(ptx, launch);
    CHECK_THAT(calls(), Contains("shared 512 default parameters 77 5"));
    std::string all = calls();
    CHECK(all.find("cuModuleLoadDataEx") == all.rfind("cuModuleLoadDataEx"));
    // As many texts as are kept, and more.
    for (int i = 0; i < 40; ++i) device->launch_ptx(ptx + std::string(size_t(i + 1), ' '), launch);
    CHECK(alive() == 1 + 16);
    launch.entry = "other";
    CHECK_THROWS_WITH(device->launch_ptx(ptx, launch), Contains("loading kernel other on cuda:0 (Fake H100) failed"));
    launch.entry = "scale";
    fail("cuCtxSynchronize", 700);
    CHECK_THROWS_WITH(device->synchronize(), Contains("kernel scale, grid 16 x 2 x 1, 32 x 4 x 2 threads a block"));
  }
  CHECK(alive() == 0);
  CHECK(pushed() == 0);
}

TEST_CASE_METHOD(Fake, "everything is released, contexts are left as they were") {
  {
    auto device = open_device("cuda:0");
    auto buffer = device->allocate(0);
    CHECK(buffer->size() == 0);
    auto other = device->allocate(1000);
    device->fill_zero(*other);
    auto module = device->load(scale_kernel());
    auto stream = device->create_stream();
    device->time([] {});
    device.reset(); // what was made on it keeps the context
    CHECK(alive() == 5);
  }
  CHECK(alive() == 0);
  CHECK(pushed() == 0);
}

TEST_CASE_METHOD(Fake, "the target follows the compute capability") {
  struct Case {
    const char* capability;
    const char* target;
  };
  for (Case c : {Case{"8.0", "sm_80"},
                 {"8.6", "sm_80"},
                 {"8.9", "sm_80"},
                 {"9.0", "sm_90a"},
                 {"10.0", "sm_80"},
                 {"12.1", "sm_80"}}) {
    gpus(("A GPU:" + std::string(c.capability)).c_str());
    auto device = open_device("cuda");
    CHECK(device->target() == c.target);
    CHECK_THAT(device->name(),
               Contains("compute capability " + std::string(c.capability) + ", kernels compiled for " + c.target));
  }
  gpus("Old:7.5");
  CHECK_THROWS_WITH(open_device("cuda"), Contains("cuda:0 can't be used: Old, compute capability 7.5: too old"));
}

TEST_CASE_METHOD(Fake, "devices are listed and opened by number") {
  gpus("First:9.0,Second:8.9");
  CHECK_THAT(open_device("cuda:1")->name(), StartsWith("cuda:1 (Second"));
  CHECK_THROWS_WITH(open_device("cuda:2"), Contains("no device cuda:2: this machine has 2 GPUs, cuda:0 to cuda:1"));
  for (const char* name : {"cuda:", "cuda:x", "cuda:-1", "cuda:1x", "gpu", "", "simulator:"}) {
    INFO(name);
    CHECK_THROWS_WITH(open_device(name), Contains("there is no device '" + std::string(name) + "'"));
  }
  std::vector<std::string> lines = describe_devices();
  REQUIRE(lines.size() == 3);
  CHECK_THAT(lines[0], StartsWith("cuda:0: First, compute capability 9.0") && Contains("132 multiprocessors"));
  CHECK_THAT(lines[1], StartsWith("cuda:1: Second") && Contains("driver for CUDA 12.4"));
  CHECK_THAT(lines[2], StartsWith("simulator"));
  CHECK_THAT(open_default_device()->name(), StartsWith("cuda:0"));
}

TEST_CASE_METHOD(Fake, "no GPU, no driver, a broken driver, an old driver") {
  gpus("");
  CHECK_THROWS_WITH(open_device("cuda"), Contains("it finds no GPU"));
  CHECK_THAT(open_default_device()->name(), Contains("simulator"));
  fail("cuInit", 100);
  CHECK_THROWS_WITH(open_device("cuda"), Contains("it finds no GPU (CUDA_ERROR_NO_DEVICE)"));
  fail("cuInit", 803);
  CHECK_THROWS_WITH(open_device("cuda"), Contains("starting the NVIDIA driver (cuInit) failed: CUDA error 803"));

  setenv("TILEJIT_LIBCUDA", "libcuda-that-is-not-there.so.1", 1);
  CHECK_THROWS_WITH(open_device("cuda"), StartsWith("libcuda-that-is-not-there.so.1 not found: "));
  std::vector<std::string> lines = describe_devices();
  REQUIRE(lines.size() == 2);
  CHECK_THAT(lines[0], StartsWith("cuda: none: libcuda-that-is-not-there.so.1 not found"));
  setenv("TILEJIT_LIBCUDA", "libm.so.6", 1); // a library, but none of the driver's functions in it
  CHECK_THROWS_WITH(open_device("cuda"),
                    Contains("libm.so.6 has no function cuGetErrorName: the NVIDIA driver is too old"));
}

TEST_CASE_METHOD(Fake, "an error names the driver's word for it, the kernel and the launch") {
  auto device = open_device("cuda");
  auto module = device->load(scale_kernel());
  Launch launch{{2, 1, 1}, {uint64_t(0), uint32_t(3), uint64_t(1), 0.5f}};
  fail("cuLaunchKernelEx", 701);
  CHECK_THROWS_WITH(device->launch(*module, launch),
                    Contains("the launch of kernel scale (sm_90a), grid 2 x 1 x 1, 128 threads a block, 98304 bytes of "
                             "shared memory, on cuda:0 (Fake H100) failed: CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"));
  fail("cuLaunchKernelEx", 0);
  device->launch(*module, launch);
  fail("cuCtxSynchronize", 700); // an error of the kernel appears where one waits for it
  CHECK_THROWS_WITH(device->synchronize(), Contains("CUDA_ERROR_ILLEGAL_ADDRESS") &&
                                               Contains("after the launch of kernel scale (sm_90a), grid 2 x 1 x 1"));
  fail("cuMemAlloc_v2", 2);
  CHECK_THROWS_WITH(device->allocate(12345),
                    Contains("allocating 12345 bytes on cuda:0 (Fake H100) failed: CUDA_ERROR_OUT_OF_MEMORY"));
  CHECK(pushed() == 0);
}

TEST_CASE_METHOD(Fake, "PTX that the driver refuses comes with its log") {
  auto device = open_device("cuda");
  fail("cuModuleLoadDataEx", 218, "ptxas application ptx input, line 9; fatal: Parsing error");
  CHECK_THROWS_WITH(device->load(scale_kernel()),
                    Contains("loading kernel scale (sm_90a) on cuda:0 (Fake H100) failed: CUDA_ERROR_INVALID_PTX") &&
                        Contains("line 9; fatal: Parsing error"));
  fail("cuModuleLoadDataEx", 222);
  CHECK_THROWS_WITH(device->load(scale_kernel()), Contains("the driver knows CUDA 12.4, install a newer one"));
  fail("cuModuleLoadDataEx", 0);
  CompiledKernel kernel = scale_kernel();
  kernel.name = "other";
  CHECK_THROWS_WITH(device->load(kernel), Contains("CUDA_ERROR_NOT_FOUND"));
  kernel = scale_kernel();
  kernel.shared_bytes = 300000;
  CHECK_THROWS_WITH(device->load(kernel),
                    Contains("needs 300000 bytes of shared memory for a block, the GPU has 232448 bytes"));
  device.reset();
  CHECK(alive() == 0);
}

TEST_CASE_METHOD(Fake, "mistakes of the caller are caught before the driver sees them") {
  auto device = open_device("cuda");
  auto module = device->load(scale_kernel());
  std::string before = calls();
  CHECK_THROWS_WITH(device->launch(*module, {{1, 1, 1}, {uint64_t(0), uint32_t(3)}}),
                    Contains("gives 2 parameters, the kernel takes 4"));
  CHECK_THROWS_WITH(device->launch(*module, {{1, 1, 1}, {uint64_t(0), uint32_t(3), uint32_t(1), 0.5f}}),
                    Contains("gives 4 bytes for parameter 2, the kernel takes 8 bytes"));
  CHECK_THAT(calls().substr(before.size()), !Contains("cuLaunchKernelEx"));
  auto buffer = device->allocate(16);
  std::vector<std::byte> bytes(17);
  CHECK_THROWS_WITH(device->upload(*buffer, 0, bytes),
                    Contains("upload of 17 bytes at offset 0 is outside a buffer of 16 bytes"));
  CHECK_THROWS_WITH(device->download(*buffer, 20, std::span(bytes).first(1)), Contains("at offset 20"));
  device->upload(*buffer, 0, std::span(bytes).first(16));
  device->upload(*buffer, 16, {});
}
