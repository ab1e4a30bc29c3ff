// tilejit opt: the compiler's passes one at a time, as MLIR's own opt tools run them.
#include "compiler/opt.h"
#include "tools/tilejit/commands.h"

namespace tilejit::tools {

void add_opt(CLI::App& program, int& exit_code) {
  CLI::App* command =
      program.add_subcommand("opt", "Runs chosen passes on a .mlir file: tilejit opt --PASS ... FILE.mlir");
  command->prefix_command(); // everything after it is MLIR's to read, --help too
  command->set_help_flag();
  command->callback([command, &exit_code] {
    std::vector<std::string> words = command->remaining();
    words.insert(words.begin(), "tilejit opt");
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    exit_code = opt_main(static_cast<int>(words.size()), argv.data()) ? 2 : 0; // what failed is the input
  });
}

} // namespace tilejit::tools
