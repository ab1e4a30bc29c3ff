#include "dsl/jit.h"

#include <algorithm>
#include <limits>
#include <mutex>
#include <numeric>

namespace tilejit::dsl {
namespace {

constexpr uint64_t widest_alignment = 16; // bytes of the widest access of one thread
// An index of 32 bits may step past the end of a dim, by a tile and the copies that are started ahead.
constexpr int64_t largest_size = (int64_t(1) << 31) - (int64_t(1) << 24);

std::string list(const std::vector<int64_t>& extents) {
  std::string text = "[";
  for (size_t i = 0; i < extents.size(); ++i)
    text += (i ? ", " : "") + (extents[i] == dynamic ? std::string("?") : std::to_string(extents[i]));
  return text + "]";
}

std::string describe(const runtime::Tensor& tensor) {
  return std::string(name_of(tensor.type)) + " " + list(tensor.shape) + " with strides " + list(tensor.strides);
}

void check_sizes(const runtime::Tensor& tensor, const std::string& what) {
  for (int64_t size : tensor.shape)
    if (size < 0 || size > largest_size)
      throw Error(what + ": a size of " + std::to_string(size) + " in " + describe(tensor) +
                  "; sizes must be at most 2^31 - 2^24: split the tensor");
}

// The dim that threads run along: the last of stride 1, those of size 1 only if there is no other.
int contiguous_dim(const runtime::Tensor& tensor) {
  int found = -1;
  for (int dim = 0; dim < tensor.rank(); ++dim)
    if (tensor.strides[dim] == 1 && (tensor.shape[dim] != 1 || found < 0 || tensor.shape[found] == 1)) found = dim;
  return found;
}

// The bytes that a kernel for `spec` assumes to divide: the address, each dynamic stride, a dynamic contiguous size.
template <typename Visit>
void for_each_aligned(const ArgumentSpec& spec, const runtime::Tensor& tensor, Visit visit) {
  auto element = static_cast<int64_t>(size_of(tensor.type));
  visit("the address", static_cast<int64_t>(tensor.address()));
  for (size_t dim = 0; dim < spec.shape.size(); ++dim) {
    if (spec.strides[dim] == dynamic)
      visit("a stride of " + std::to_string(tensor.strides[dim]) + " elements", tensor.strides[dim] * element);
    else if (spec.strides[dim] == 1 && spec.shape[dim] == dynamic)
      visit("a row of " + std::to_string(tensor.shape[dim]) + " elements", tensor.shape[dim] * element);
  }
}

std::string key_of(const std::string& target, const std::vector<ArgumentSpec>& specs) {
  std::string key = target;
  auto append = [&](int64_t value) { key.append(reinterpret_cast<const char*>(&value), sizeof value); };
  for (const ArgumentSpec& spec : specs) {
    append(spec.is_tensor ? 1 : 0);
    append(static_cast<int64_t>(spec.type));
    append(static_cast<int64_t>(spec.shape.size()));
    for (int64_t size : spec.shape) append(size);
    for (int64_t stride : spec.strides) append(stride);
    append(spec.align);
  }
  return key;
}

} // namespace

// ---- specialization ------------------------------------------------------------------------------------------------

ArgumentSpec specialize(const runtime::Tensor& tensor, const Specialization& specialization) {
  check_sizes(tensor, "specialize");
  ArgumentSpec spec{"", true, tensor.type, Shape(tensor.shape.size(), dynamic), Shape(tensor.shape.size(), dynamic)};
  for (int dim : specialization.fixed_sizes) {
    int resolved = dim < 0 ? dim + tensor.rank() : dim;
    if (resolved < 0 || resolved >= tensor.rank())
      throw Error("specialize: there is no dim " + std::to_string(dim) + " to fix in " + describe(tensor));
    spec.shape[resolved] = tensor.shape[resolved];
  }
  if (int dim = contiguous_dim(tensor); dim >= 0) spec.strides[dim] = 1;
  uint64_t align = widest_alignment;
  for_each_aligned(spec, tensor, [&](const std::string&, int64_t bytes) {
    while (static_cast<uint64_t>(bytes) % align) align /= 2;
  });
  spec.align = static_cast<uint32_t>(align);
  return spec;
}

ArgumentSpec specialize(const runtime::Tensor& tensor) {
  return specialize(tensor, Specialization::last_dim(tensor.rank()));
}

// ---- launches ------------------------------------------------------------------------------------------------------

static void check_tensor(const std::string& kernel, const ArgumentSpec& spec, const runtime::Tensor& tensor) {
  std::string what = kernel + ": argument '" + spec.name + "'";
  check_sizes(tensor, what);
  auto fits = [](const Shape& wanted, const Shape& given) {
    return std::equal(wanted.begin(), wanted.end(), given.begin(), given.end(),
                      [](int64_t want, int64_t have) { return want == dynamic || want == have; });
  };
  if (tensor.type != spec.type || !fits(spec.shape, tensor.shape) || !fits(spec.strides, tensor.strides))
    throw Error(what + " is compiled for " + std::string(name_of(spec.type)) + " " + list(spec.shape) +
                " with strides " + list(spec.strides) + " (? is open), not " + describe(tensor));
  for_each_aligned(spec, tensor, [&](const std::string& which, int64_t bytes) {
    if (static_cast<uint64_t>(bytes) % spec.align)
      throw Error(what + " is compiled for multiples of " + std::to_string(spec.align) + " bytes, which " + which +
                  " of " + describe(tensor) + " is not");
  });
}

static uint32_t blocks(const std::string& kernel, char axis, int64_t count, int64_t limit) {
  if (count < 0 || count > limit)
    throw Error(kernel + ": a grid of " + std::to_string(count) + " blocks along " + axis + "; the limit is " +
                std::to_string(limit));
  return static_cast<uint32_t>(count);
}

runtime::Launch pack(const CompiledKernel& kernel, const Grid& grid, const std::vector<Argument>& arguments) {
  if (arguments.size() != kernel.arguments.size())
    throw Error(kernel.name + " takes " + std::to_string(kernel.arguments.size()) + " arguments, not " +
                std::to_string(arguments.size()));
  for (size_t i = 0; i < arguments.size(); ++i) {
    const ArgumentSpec& spec = kernel.arguments[i];
    const auto* tensor = std::get_if<runtime::Tensor>(&arguments[i].value());
    if (spec.is_tensor != (tensor != nullptr))
      throw Error(kernel.name + ": argument '" + spec.name + "' must be " + (tensor ? "a scalar" : "a tensor"));
    if (tensor) check_tensor(kernel.name, spec, *tensor);
  }

  runtime::Launch launch;
  launch.grid = {blocks(kernel.name, 'x', grid.x, std::numeric_limits<int32_t>::max()),
                 blocks(kernel.name, 'y', grid.y, 65535), blocks(kernel.name, 'z', grid.z, 65535)};
  for (const KernelParameter& parameter : kernel.parameters) {
    const Argument& argument = arguments[parameter.argument];
    const auto* tensor = std::get_if<runtime::Tensor>(&argument.value());
    switch (parameter.kind) {
    case KernelParameter::Kind::pointer: launch.parameters.emplace_back(tensor->address()); break;
    case KernelParameter::Kind::size:
      launch.parameters.emplace_back(static_cast<uint32_t>(tensor->shape[parameter.dim]));
      break;
    case KernelParameter::Kind::stride:
      launch.parameters.emplace_back(static_cast<uint64_t>(tensor->strides[parameter.dim]));
      break;
    case KernelParameter::Kind::scalar: {
      const ArgumentSpec& spec = kernel.arguments[parameter.argument];
      auto wrong = [&] {
        return Error(kernel.name + ": argument '" + spec.name + "' must be a scalar of " +
                     std::string(name_of(spec.type)));
      };
      if (const auto* f = std::get_if<float>(&argument.value())) {
        if (spec.type == f32)
          launch.parameters.emplace_back(*f);
        else if (spec.type == f64)
          launch.parameters.emplace_back(static_cast<double>(*f));
        else
          throw wrong();
      } else {
        const auto* narrow = std::get_if<int32_t>(&argument.value());
        if (spec.type == i32 && narrow)
          launch.parameters.emplace_back(static_cast<uint32_t>(*narrow));
        else if (spec.type == i64)
          launch.parameters.emplace_back(static_cast<uint64_t>(narrow ? *narrow : std::get<int64_t>(argument.value())));
        else
          throw wrong();
      }
    }
    }
  }
  return launch;
}

// ---- Jit -----------------------------------------------------------------------------------------------------------

namespace {

// One specialization for one target. Its lock is held while it is compiled, so that two threads that want the same
// kernel compile it once, and two that want different ones do not wait for each other.
struct Entry {
  std::mutex mutex;
  std::shared_ptr<const CompiledKernel> kernel;
  std::map<uint64_t, std::shared_ptr<runtime::Module>> modules; ///< by Device::id
};

} // namespace

struct Jit::State {
  Kernel kernel;
  CompileOptions options;
  std::map<std::string, Specialization> specializations; ///< by argument, where it is not the default

  std::mutex mutex; ///< of what follows
  std::map<std::string, std::shared_ptr<Entry>> entries;
  int compilations = 0;

  std::vector<ArgumentSpec> specs(const std::vector<Argument>& arguments) const {
    const std::vector<std::string>& names = kernel.argument_names();
    if (arguments.size() != names.size())
      throw Error("kernel " + kernel.name() + " takes " + std::to_string(names.size()) + " arguments, not " +
                  std::to_string(arguments.size()));
    std::vector<ArgumentSpec> result;
    for (size_t i = 0; i < arguments.size(); ++i) {
      const auto& value = arguments[i].value();
      if (const auto* tensor = std::get_if<runtime::Tensor>(&value)) {
        check_sizes(*tensor, kernel.name() + ": argument '" + names[i] + "'");
        auto chosen = specializations.find(names[i]);
        result.push_back(chosen == specializations.end() ? dsl::specialize(*tensor)
                                                         : dsl::specialize(*tensor, chosen->second));
        result.back().name = names[i];
      } else {
        DType type = std::holds_alternative<float>(value) ? f32 : std::holds_alternative<int32_t>(value) ? i32 : i64;
        result.push_back(scalar_spec(names[i], type));
      }
    }
    return result;
  }

  // The entry for these specs, compiled, with its lock held.
  std::pair<std::shared_ptr<Entry>, std::unique_lock<std::mutex>> compiled(const std::string& target,
                                                                           const std::vector<ArgumentSpec>& specs) {
    std::shared_ptr<Entry> entry;
    {
      std::lock_guard lock(mutex);
      std::shared_ptr<Entry>& found = entries[key_of(target, specs)];
      if (!found) found = std::make_shared<Entry>();
      entry = found;
    }
    std::unique_lock lock(entry->mutex);
    if (!entry->kernel) {
      CompileOptions here = options;
      here.target = target;
      entry->kernel = std::make_shared<CompiledKernel>(tilejit::compile(kernel.record(specs), here));
      std::lock_guard count(mutex);
      ++compilations;
    }
    return {std::move(entry), std::move(lock)};
  }
};

Jit::Jit(Kernel kernel, CompileOptions options)
    : state_(std::make_shared<State>(std::move(kernel), std::move(options))) {}

Jit& Jit::specialize(const std::string& argument, Specialization specialization) {
  const auto& names = state_->kernel.argument_names();
  if (std::find(names.begin(), names.end(), argument) == names.end())
    throw Error("kernel " + state_->kernel.name() + " has no argument '" + argument + "'");
  state_->specializations[argument] = std::move(specialization);
  return *this;
}

void Jit::launch(runtime::Device& device, const Grid& grid, const std::vector<Argument>& arguments,
                 runtime::Stream* stream) {
  std::shared_ptr<runtime::Module> module;
  {
    auto [entry, lock] = state_->compiled(device.target(), state_->specs(arguments));
    std::shared_ptr<runtime::Module>& loaded = entry->modules[device.id()];
    if (!loaded) loaded = device.load(*entry->kernel);
    module = loaded;
  }
  runtime::Launch launch = pack(module->kernel(), grid, arguments);
  if (std::find(launch.grid.begin(), launch.grid.end(), 0u) == launch.grid.end())
    device.launch(*module, launch, stream);
}

std::shared_ptr<const CompiledKernel> Jit::compile(const std::string& target, const std::vector<Argument>& arguments) {
  return compile(target, state_->specs(arguments));
}

std::shared_ptr<const CompiledKernel> Jit::compile(const std::string& target, const std::vector<ArgumentSpec>& specs) {
  return state_->compiled(target, specs).first->kernel;
}

Program Jit::record(const std::vector<Argument>& arguments) const {
  return state_->kernel.record(state_->specs(arguments));
}

const Kernel& Jit::kernel() const { return state_->kernel; }

int Jit::compilations() const {
  std::lock_guard lock(state_->mutex);
  return state_->compilations;
}

} // namespace tilejit::dsl
