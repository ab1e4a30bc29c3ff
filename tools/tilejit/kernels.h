// kernels.h - the library's kernels as the command line names them: looked up, with parameters and shapes from text.
#pragma once
#include "lib/attention/registry.h"
#include "tools/tilejit/arguments.h"

namespace tilejit::tools {

/// Throws InputError with the nearest name.
const attention::KernelInfo& kernel_named(const std::string& name);

/// The tensor of this name among a kernel's inputs or outputs (`kind`, for the message). Throws InputError.
const attention::TensorInfo& tensor_named(const std::vector<attention::TensorInfo>& tensors, std::string_view kind,
                                          const std::string& name);

/// The values of --set, each of the parameter's own kind. Throws InputError.
attention::Parameters parse_parameters(const attention::KernelInfo& kernel, const std::vector<std::string>& settings);

/// The kernel's example shapes, with those of --shape in their place. Throws InputError.
attention::Shapes parse_shapes(const attention::KernelInfo& kernel, const std::vector<std::string>& shapes);

} // namespace tilejit::tools
