// commands.h - the subcommands of `tilejit`, one file each.
//
// Each function adds one subcommand to the program, whose callback does the work. A callback reports the user's
// mistakes by throwing InputError (or attention::InputError, or runtime::Error and CompileError while it is still
// reading its input) and work that failed by Failure; main.cpp turns them into one line and an exit code.
#pragma once
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <stdexcept>

namespace tilejit::tools {

/// The input was good, the work failed: exit code 1.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

void add_list(CLI::App& program);
void add_run(CLI::App& program, int& exit_code);
void add_sim(CLI::App& program, int& exit_code); ///< 3: something was found
void add_inspect(CLI::App& program);
void add_devices(CLI::App& program);
void add_opt(CLI::App& program, int& exit_code);

} // namespace tilejit::tools
