// tilejit sim: any entry of any PTX file on the simulator.
#include "runtime/files.h"
#include "tools/tilejit/arguments.h"
#include "tools/tilejit/commands.h"
#include "tools/tilejit/launch.h"
#include "tools/tilejit/measure.h"

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <set>

namespace tilejit::tools {
namespace {

struct Options {
  std::string ptx, entry, grid, block, cluster, launch, gpu = "sm_90a";
  uint32_t shared = 0, seeds = 0;
  std::vector<std::string> arguments;
  MeasureOptions measure;
};

std::string text_of(const std::array<uint32_t, 3>& x) {
  return std::to_string(x[0]) + "," + std::to_string(x[1]) + "," + std::to_string(x[2]);
}

Launch launch_of(const Options& options) {
  if (!options.launch.empty()) {
    if (!options.entry.empty() || !options.grid.empty() || !options.block.empty() || !options.cluster.empty() ||
        options.shared || !options.arguments.empty())
      throw InputError(
          "--launch says all about the launch: leave out --entry, --grid, --block, --cluster, --shared and "
          "--arg");
    return read_launch(options.launch);
  }
  if (options.entry.empty() || options.grid.empty() || options.block.empty())
    throw InputError("sim needs --entry NAME, --grid X,Y,Z and --block X,Y,Z, or --launch FILE.json");
  Launch launch;
  launch.entry = options.entry;
  launch.grid = parse_dimensions("--grid", options.grid);
  launch.block = parse_dimensions("--block", options.block);
  if (!options.cluster.empty()) launch.cluster = parse_dimensions("--cluster", options.cluster);
  launch.shared = options.shared;
  for (const std::string& argument : options.arguments) add_argument(launch, argument);
  return launch;
}

/// Files that can't be written are told before the long work, not after it.
void check_outputs(const Launch& launch) {
  std::set<std::string> files;
  for (const auto& [name, array] : launch.arrays) {
    if (array.out.empty()) continue;
    runtime::check_writable(array.out);
    if (!files.insert(std::filesystem::weakly_canonical(array.out).string()).second &&
        !std::filesystem::is_character_file(array.out))
      throw InputError("two arrays are written to " + array.out);
  }
}

/// Runs the launch again with each of seeds 1 .. `seeds`. What it says of them.
std::string compare_seeds(runtime::SimulatorDevice& device, const std::string& ptx, const Launch& launch,
                          const LaunchResult& wanted, uint32_t seeds, int& exit_code) {
  for (uint32_t seed = 1; seed <= seeds; ++seed) {
    device.set_seed(seed);
    LaunchResult got = run_launch(device, ptx, launch);
    for (const auto& [name, file] : wanted.outputs) {
      const std::vector<std::byte>&a = file.data, &b = got.outputs.at(name).data;
      auto at = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first;
      if (at == a.end()) continue;
      exit_code = 3;
      return ", array '" + name + "' depends on the order: with --seed " + std::to_string(seed) +
             " it differs from byte " + std::to_string(at - a.begin()) + " of its file's data on (--sanitize says why)";
    }
  }
  return ", the same bits with " + std::to_string(seeds) + (seeds == 1 ? " seed" : " seeds");
}

void simulate(const Options& options, int& exit_code) {
  std::string ptx = runtime::read_text(options.ptx);
  Launch launch = launch_of(options);
  check_outputs(launch);
  auto device = runtime::open_simulator(options.gpu);
  options.measure.begin(*device);
  std::string remark;
  try {
    LaunchResult result = run_launch(*device, ptx, launch);
    if (options.seeds) remark = compare_seeds(*device, ptx, launch, result, options.seeds, exit_code);
    write_outputs(launch, result);
  } catch (const runtime::FindingError&) {
    remark = ", ended by the last finding";
  } catch (const runtime::ExecutionError& error) {
    throw Failure(error.what());
  }
  if (options.measure.end(*device)) exit_code = 3;
  size_t found = device->findings().size();
  std::cout << launch.entry << ": grid " << text_of(launch.grid) << ", block " << text_of(launch.block) << ", "
            << device->name() << ": " << device->last_launch().warp_instructions << " warp-instructions, " << found
            << (found == 1 ? " finding" : " findings") << remark << "\n";
}

} // namespace

void add_sim(CLI::App& program, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand("sim", "Runs an entry of a PTX file on the simulator.");
  command->add_option("FILE", options->ptx, "PTX, whatever compiler made it")->required()->type_name("FILE.ptx");
  command->add_option("--entry", options->entry, "Name of the entry")->type_name("NAME");
  command->add_option("--grid", options->grid, "Blocks")->type_name("X,Y,Z");
  command->add_option("--block", options->block, "Threads of a block")->type_name("X,Y,Z");
  command->add_option("--cluster", options->cluster, "Blocks of a cluster")->type_name("X,Y,Z");
  command->add_option("--shared", options->shared, "Dynamic shared memory of a block")->type_name("BYTES");
  command
      ->add_option("--arg", options->arguments,
                   "One for each parameter, in their order: in:FILE.npy[:TYPE], out:FILE.npy:TYPE:SHAPE (as 64x96), "
                   "inout:FILE.npy[:TYPE], i32:V, i64:V, f32:V, f64:V; TYPE is the element type in device memory")
      ->type_name("KIND")
      ->allow_extra_args(false);
  command->add_option("--launch", options->launch, "The launch as JSON, in place of the options above")
      ->type_name("FILE.json");
  command->add_option("--gpu", options->gpu, "Architecture; default sm_90a")->type_name("sm_NN");
  options->measure.add_to(*command);
  command
      ->add_option("--seeds", options->seeds,
                   "Runs it again with seeds 1 to N and says whether every output has the same bits each time")
      ->type_name("N")
      ->excludes("--seed");
  command->callback([options, &exit_code] { simulate(*options, exit_code); });
}

} // namespace tilejit::tools
