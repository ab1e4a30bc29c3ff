#include "lib/attention/registry.h"

#include "lib/attention/softmax/attention.h"

namespace tilejit::attention {

std::span<const KernelInfo* const> kernels() {
  static const KernelInfo* const all[] = {&attention_info()};
  return all;
}

const KernelInfo* find_kernel(const std::string& name) {
  for (const KernelInfo* kernel : kernels())
    if (kernel->name == name) return kernel;
  return nullptr;
}

} // namespace tilejit::attention
