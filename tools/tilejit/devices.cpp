// tilejit devices: what kernels can run on here.
#include "runtime/device.h"
#include "tools/tilejit/commands.h"

#include <iostream>

namespace tilejit::tools {

void add_devices(CLI::App& program) {
  CLI::App* command = program.add_subcommand("devices", "Lists the devices of this machine, and why CUDA has none.");
  command->callback([] {
    for (const std::string& line : runtime::describe_devices()) std::cout << line << '\n';
  });
}

} // namespace tilejit::tools
