#include "runtime/ptxas.h"

#include "runtime/device.h"
#include "runtime/files.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <spawn.h>
#include <sstream>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;
namespace fs = std::filesystem;

namespace tilejit::runtime {
namespace {

bool is_program(const fs::path& path) {
  std::error_code failed;
  return fs::is_regular_file(path, failed) && access(path.c_str(), X_OK) == 0;
}

std::optional<std::string> from_environment(const char* variable) {
  const char* value = std::getenv(variable);
  if (!value || !*value) return std::nullopt;
  if (!is_program(value)) throw Error(std::string("$") + variable + " is " + value + ", which is not a program");
  return value;
}

std::optional<std::string> find_program(const std::string& name, std::vector<fs::path> more_folders) {
  std::vector<fs::path> folders;
  const char* path = std::getenv("PATH");
  std::istringstream list(path ? path : "");
  for (std::string folder; std::getline(list, folder, ':');) folders.push_back(folder.empty() ? "." : folder);
  folders.insert(folders.end(), more_folders.begin(), more_folders.end());
  for (const fs::path& folder : folders)
    if (is_program(folder / name)) return (folder / name).string();
  return std::nullopt;
}

const fs::path toolkit_folder = "/usr/local/cuda/bin";

std::vector<std::byte> read_bytes(const std::string& path) {
  std::string text = read_text(path);
  std::vector<std::byte> bytes(text.size());
  std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}

/// The number that stands before `words`: 168 of "Used 168 registers" for " registers".
std::optional<uint32_t> number_before(const std::string& line, std::string_view words) {
  size_t end = line.find(words);
  if (end == std::string::npos) return std::nullopt;
  size_t begin = end;
  while (begin > 0 && line[begin - 1] >= '0' && line[begin - 1] <= '9') --begin;
  uint32_t number = 0;
  auto [stop, error] = std::from_chars(line.data() + begin, line.data() + end, number);
  if (error != std::errc() || stop != line.data() + end) return std::nullopt;
  return number;
}

/// The word after `words`, without quotes: "f" of "Compiling entry function 'f' for" for "entry function ".
std::string word_after(const std::string& line, std::string_view words) {
  size_t begin = line.find(words);
  if (begin == std::string::npos) return "";
  begin += words.size();
  std::string word = line.substr(begin, line.find(' ', begin) - begin);
  std::erase(word, '\'');
  return word;
}

/// The report of `ptxas -v`:
///   ptxas info    : Compiling entry function 'f' for 'sm_90a'
///   ptxas info    : Function properties for f
///       0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
///   ptxas info    : Used 8 registers, used 0 barriers, 4096 bytes smem
std::vector<EntryResources> parse_report(const std::string& report) {
  std::vector<EntryResources> entries;
  bool of_entry = false; // properties are reported for device functions too
  std::istringstream lines(report);
  for (std::string line; std::getline(lines, line);) {
    if (std::string name = word_after(line, "Compiling entry function "); !name.empty()) {
      entries.push_back({name});
      of_entry = true;
    } else if (std::string of = word_after(line, "Function properties for "); !of.empty()) {
      of_entry = !entries.empty() && entries.back().name == of;
    }
    if (entries.empty()) continue;
    EntryResources& last = entries.back();
    auto read = [&](uint32_t& into, std::string_view words) { into = number_before(line, words).value_or(into); };
    if (of_entry) {
      read(last.stack_bytes, " bytes stack frame");
      read(last.spill_store_bytes, " bytes spill stores");
      read(last.spill_load_bytes, " bytes spill loads");
    }
    read(last.registers, " registers");
    read(last.shared_bytes, " bytes smem");
  }
  return entries;
}

} // namespace

ProcessResult run_process(const std::vector<std::string>& arguments) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw Error(std::string("cannot make a pipe: ") + std::strerror(errno));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
  pid_t child = 0;
  int error = posix_spawn(&child, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  if (error != 0) {
    close(ends[0]);
    throw Error("cannot run " + arguments[0] + ": " + std::strerror(error));
  }
  ProcessResult result;
  char chunk[1 << 14];
  for (;;) {
    ssize_t got = read(ends[0], chunk, sizeof chunk);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    result.output.append(chunk, static_cast<size_t>(got));
  }
  close(ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

std::string PtxasResult::warnings() const {
  std::string found;
  std::istringstream lines(messages);
  for (std::string line; std::getline(lines, line);) {
    bool note = line.find("warning") != std::string::npos || line.find("Potential Performance") != std::string::npos;
    if (note) found += line + "\n";
  }
  return found;
}

std::optional<std::string> find_ptxas() {
  if (auto named = from_environment("TILEJIT_PTXAS")) return named;
  return find_program("ptxas", {toolkit_folder});
}

PtxasResult run_ptxas(const std::string& ptxas, const std::string& ptx, const std::string& target,
                      const std::vector<std::string>& options) {
  TemporaryFolder folder;
  std::string source = folder.path() + "/kernel.ptx", cubin = folder.path() + "/kernel.cubin";
  OutputFile file(source);
  file.write(ptx);
  file.commit();
  std::vector<std::string> command = {ptxas, "-v", "-arch=" + target};
  command.insert(command.end(), options.begin(), options.end());
  command.insert(command.end(), {"-o", cubin, source});
  ProcessResult process = run_process(command);
  PtxasResult result;
  // Messages begin with the path of the temporary file: leave its name only.
  for (size_t at; (at = process.output.find(folder.path() + "/")) != std::string::npos;)
    process.output.erase(at, folder.path().size() + 1);
  result.messages = process.output;
  result.accepted = process.exit_code == 0;
  if (!result.accepted) return result;
  result.entries = parse_report(result.messages);
  result.cubin = read_bytes(cubin);
  return result;
}

std::string disassemble(const std::vector<std::byte>& cubin) {
  std::optional<std::string> ptxas = find_ptxas();
  std::vector<fs::path> folders;
  if (ptxas) folders.push_back(fs::path(*ptxas).parent_path());
  folders.push_back(toolkit_folder);
  std::optional<std::string> program = from_environment("TILEJIT_NVDISASM");
  if (!program) program = find_program("nvdisasm", folders);
  std::vector<std::string> command;
  if (program) {
    command = {*program, "-c"};
  } else if ((program = find_program("cuobjdump", folders))) {
    command = {*program, "-sass"};
  } else {
    throw Error("no nvdisasm and no cuobjdump found: set TILEJIT_NVDISASM, or put one of them on PATH (the Python "
                "package nvidia-cuda-nvdisasm has it)");
  }
  TemporaryFolder folder;
  std::string path = folder.path() + "/kernel.cubin";
  OutputFile file(path);
  file.write(cubin);
  file.commit();
  command.push_back(path);
  ProcessResult process = run_process(command);
  if (process.exit_code != 0) throw Error(*program + " failed: " + process.output);
  return process.output;
}

} // namespace tilejit::runtime
