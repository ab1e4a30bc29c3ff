// tilejit - the command line: what there is, what a kernel lowers to, and running one on files.
//
// Exit codes: 0 done, 1 the work failed, 2 the input was wrong, 3 the simulator found something.
#include "compiler/program.h"
#include "lib/attention/registry.h"
#include "runtime/device.h"
#include "tools/tilejit/arguments.h"
#include "tools/tilejit/commands.h"

#include <algorithm>
#include <iostream>

int main(int argc, char** argv) {
  using namespace tilejit;
  CLI::App program("Tile kernels for GPUs: lists, compiles, shows and runs them.", "tilejit");
  program.set_version_flag("--version", TILEJIT_VERSION);
  program.require_subcommand(1);
  int exit_code = 0;
  tools::add_list(program);
  tools::add_run(program, exit_code);
  tools::add_sim(program, exit_code);
  tools::add_inspect(program);
  tools::add_devices(program);
  tools::add_opt(program, exit_code);

  auto complain = [](std::string_view message, int code) {
    std::cerr << "tilejit: " << tools::one_line(message) << std::endl;
    return code;
  };
  try {
    // CLI11 would say that a subcommand is required, and not that this is none.
    if (argc > 1 && argv[1][0] != '-') {
      std::vector<std::string> known;
      for (const CLI::App* command : program.get_subcommands([](const CLI::App*) { return true; }))
        known.push_back(command->get_name());
      if (std::find(known.begin(), known.end(), argv[1]) == known.end())
        throw tools::InputError(tools::unknown_name("subcommand", argv[1], known));
    }
    program.parse(argc, argv);
    std::cout.flush();
    if (!std::cout) return complain("cannot write to standard output", 1);
    return exit_code;
  } catch (const CLI::Success& asked) { // --help, --version
    return program.exit(asked);
  } catch (const CLI::ParseError& error) {
    return complain(std::string(error.what()) + " (tilejit --help shows how it is used)", 2);
  } catch (const tools::InputError& error) {
    return complain(error.what(), 2);
  } catch (const attention::InputError& error) {
    return complain(error.what(), 2);
  } catch (const CompileError& error) {
    return complain(error.what(), 2);
  } catch (const runtime::Error& error) {
    return complain(error.what(), 2);
  } catch (const std::exception& error) { // Failure, and what nobody thought of
    return complain(error.what(), 1);
  }
}
