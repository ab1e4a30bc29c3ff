// tilejit run: a kernel on .npy files.
#include "runtime/device.h"
#include "runtime/files.h"
#include "runtime/npy.h"
#include "runtime/tensor.h"
#include "tools/tilejit/commands.h"
#include "tools/tilejit/kernels.h"
#include "tools/tilejit/measure.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <limits>

namespace tilejit::tools {
namespace {

namespace fs = std::filesystem;
using runtime::NpyArray;

struct Options {
  std::string kernel, type = "bf16", device;
  std::vector<std::string> in, out, set;
  MeasureOptions measure;
};

bool is_floating(DType type) {
  return type == DType::bf16 || type == DType::f16 || type == DType::f32 || type == DType::f64;
}

/// The array's elements in the kernel's type: floats are rounded to nearest even, integers must fit.
std::vector<std::byte> convert(const NpyArray& array, DType type, const std::string& path) {
  if (is_floating(array.type) != is_floating(type))
    throw InputError(path + ": holds " +
                     (array.type == DType::i32   ? "int32"
                      : array.type == DType::i64 ? "int64"
                                                 : "floats") +
                     ", the kernel takes " + (is_floating(type) ? "float32 or float16" : "int32 or int64"));
  if (array.type == type) return array.data;
  if (is_floating(type)) return runtime::bytes_of(type, runtime::to_floats(array));
  // int32 and int64; not through floats, which do not hold them all.
  std::vector<std::byte> data;
  auto copy = [&]<typename From, typename To>(From, To) {
    for (size_t at = 0; at < array.data.size(); at += sizeof(From)) {
      From value;
      std::memcpy(&value, array.data.data() + at, sizeof value);
      if (value < std::numeric_limits<To>::min() || value > std::numeric_limits<To>::max())
        throw InputError(path + ": " + std::to_string(value) + " does not fit the kernel's type, " +
                         std::string(name_of(type)));
      To narrow = static_cast<To>(value);
      data.insert(data.end(), reinterpret_cast<std::byte*>(&narrow),
                  reinterpret_cast<std::byte*>(&narrow) + sizeof narrow);
    }
  };
  if (type == DType::i32)
    copy(int64_t(), int32_t());
  else if (type == DType::i64)
    copy(int32_t(), int64_t());
  else
    throw InputError(path + ": can't be converted to " + std::string(name_of(type)));
  return data;
}

/// What a file holds of an output: its own elements where .npy has such a type, else the next wider.
NpyArray to_npy(runtime::Device& device, const runtime::Tensor& tensor) {
  switch (tensor.type) {
  case DType::f16:
  case DType::f32:
  case DType::i32:
  case DType::i64: return {tensor.type, tensor.shape, to_bytes(device, tensor)};
  case DType::i1:
  case DType::i8: return {DType::i32, tensor.shape, runtime::bytes_of(DType::i32, to_floats(device, tensor))};
  case DType::bf16:
  case DType::f64: break;
  }
  return {DType::f32, tensor.shape, runtime::bytes_of(DType::f32, to_floats(device, tensor))};
}

void check_outputs(const std::vector<Assignment>& in, const std::vector<Assignment>& out) {
  auto same = [](const std::string& a, const std::string& b) {
    std::error_code failed;
    return fs::weakly_canonical(a, failed) == fs::weakly_canonical(b, failed);
  };
  for (size_t i = 0; i < out.size(); ++i) {
    runtime::check_writable(out[i].value);
    for (const Assignment& input : in)
      if (same(out[i].value, input.value))
        throw InputError("output '" + out[i].name + "' would overwrite " + input.value + ", which is input '" +
                         input.name + "'");
    for (size_t j = 0; j < i; ++j)
      if (same(out[i].value, out[j].value) && !fs::is_character_file(out[i].value))
        throw InputError("outputs '" + out[j].name + "' and '" + out[i].name + "' have the same file, " + out[i].value);
  }
}

void run(const Options& options, int& exit_code) {
  // Everything that can be wrong with the words first, then with the files, then with the device.
  const attention::KernelInfo& kernel = kernel_named(options.kernel);
  const DType type = parse_float_type(options.type);
  const attention::Parameters parameters = parse_parameters(kernel, options.set);
  const std::vector<Assignment> in = parse_assignments("--in", options.in),
                                out = parse_assignments("--out", options.out);
  for (const Assignment& input : in) tensor_named(kernel.inputs, "input", input.name);
  for (const attention::TensorInfo& input : kernel.inputs) {
    bool given = std::any_of(in.begin(), in.end(), [&](const Assignment& a) { return a.name == input.name; });
    if (!given && !input.optional)
      throw InputError("kernel '" + kernel.name + "' needs the input '" + input.name + "' [" + input.dims + "]: --in " +
                       input.name + "=FILE.npy");
  }
  std::vector<std::string> wanted;
  for (const Assignment& output : out) wanted.push_back(tensor_named(kernel.outputs, "output", output.name).name);
  check_outputs(in, out);

  std::map<std::string, NpyArray> arrays;
  for (const Assignment& input : in) {
    DType takes = tensor_named(kernel.inputs, "input", input.name).type.value_or(type);
    NpyArray array = runtime::read_npy(input.value);
    arrays[input.name] = {takes, array.shape, convert(array, takes, input.value)};
  }

  std::shared_ptr<runtime::Device> device =
      options.device.empty() ? runtime::open_default_device() : runtime::open_device(options.device);
  auto simulator = std::dynamic_pointer_cast<runtime::SimulatorDevice>(device);
  if (simulator)
    options.measure.begin(*simulator);
  else if (options.measure.any())
    throw InputError("only the simulator is an instrument: --device simulator");
  std::map<std::string, NpyArray> results;
  try {
    attention::Tensors inputs;
    for (const auto& [name, array] : arrays) inputs[name] = from_bytes(*device, array.type, array.shape, array.data);
    attention::Tensors outputs = kernel.run(*device, inputs, parameters, wanted);
    device->synchronize();
    for (const std::string& name : wanted) results[name] = to_npy(*device, outputs.at(name));
  } catch (const runtime::FindingError&) {
    options.measure.end(*simulator);
    exit_code = 3;
    return;
  } catch (const runtime::Error& error) {
    throw Failure(error.what());
  }
  if (simulator && options.measure.end(*simulator)) exit_code = 3;

  // All files or none: each is complete under a temporary name before the first gets its own.
  try {
    std::vector<std::unique_ptr<runtime::OutputFile>> files;
    for (const Assignment& output : out) {
      files.push_back(std::make_unique<runtime::OutputFile>(output.value));
      files.back()->write(npy_bytes(results[output.name]));
    }
    for (auto& file : files) file->commit();
  } catch (const runtime::Error& error) {
    throw Failure(error.what());
  }
}

} // namespace

void add_run(CLI::App& program, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand("run", "Runs a kernel on .npy files.");
  command->add_option("KERNEL", options->kernel, "Name of the kernel (tilejit list)")->required();
  command->add_option("--in", options->in, "Input, float32/float16/int32/int64 in C order")
      ->type_name("NAME=FILE.npy")
      ->allow_extra_args(false);
  command->add_option("--out", options->out, "Output; only those that are asked for are computed")
      ->type_name("NAME=FILE.npy")
      ->allow_extra_args(false)
      ->required();
  command->add_option("--set", options->set, "Parameter")->type_name("NAME=VALUE")->allow_extra_args(false);
  command->add_option("--dtype", options->type, "Element type of the kernel: bf16 (default), f16 or f32")
      ->type_name("TYPE");
  command->add_option("--device", options->device, "simulator[:sm_90a|sm_80], cuda[:N]; default: a GPU if there is one")
      ->type_name("DEVICE");
  options->measure.add_to(*command);
  command->callback([options, &exit_code] { run(*options, exit_code); });
}

} // namespace tilejit::tools
