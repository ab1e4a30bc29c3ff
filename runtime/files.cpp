#include "runtime/files.h"

#include "runtime/device.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>

namespace fs = std::filesystem;

namespace tilejit::runtime {
namespace {

std::string reason(int error) { return std::strerror(error); }

/// The file that `path` leads to: renaming over a symbolic link would replace the link.
fs::path resolve(const std::string& path) {
  std::error_code failed;
  fs::path target = fs::weakly_canonical(path, failed);
  return failed ? fs::path(path) : target;
}

fs::path folder_of(const fs::path& target) {
  fs::path folder = target.parent_path();
  return folder.empty() ? fs::path(".") : folder;
}

bool is_special(const fs::path& target) {
  std::error_code failed;
  fs::file_status status = fs::status(target, failed);
  return fs::exists(status) && !fs::is_regular_file(status) && !fs::is_directory(status);
}

} // namespace

void check_writable(const std::string& path) {
  if (path.empty()) throw Error("cannot write a file with an empty name");
  fs::path target = resolve(path);
  std::error_code failed;
  if (fs::is_directory(target, failed)) throw Error("cannot write " + path + ": it is a folder");
  fs::path folder = folder_of(target);
  if (!fs::is_directory(folder, failed))
    throw Error("cannot write " + path + ": there is no folder " + folder.string());
  bool writable = is_special(target) ? access(target.c_str(), W_OK) == 0 : access(folder.c_str(), W_OK | X_OK) == 0;
  if (!writable) throw Error("cannot write " + path + ": " + reason(errno));
}

OutputFile::OutputFile(const std::string& path) : path_(path) {
  check_writable(path);
  fs::path target = resolve(path);
  target_ = target.string();
  if (is_special(target)) {
    descriptor_ = open(target_.c_str(), O_WRONLY | O_CLOEXEC);
    if (descriptor_ < 0) fail(errno);
    return;
  }
  std::string name = (folder_of(target) / ("." + target.filename().string() + ".XXXXXX")).string();
  descriptor_ = mkostemp(name.data(), O_CLOEXEC);
  if (descriptor_ < 0) fail(errno);
  temporary_ = name;
  // mkostemp makes files for the owner only; give this one the mode that a plain open would have, or the old file's.
  struct stat old;
  mode_t mode;
  if (stat(target_.c_str(), &old) == 0) {
    mode = old.st_mode & 07777;
  } else {
    mode_t mask = umask(0);
    umask(mask);
    mode = 0666 & ~mask;
  }
  if (fchmod(descriptor_, mode) != 0) fail(errno);
}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) close(descriptor_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

void OutputFile::fail(int error) {
  if (descriptor_ >= 0) close(descriptor_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
  descriptor_ = -1;
  temporary_.clear();
  throw Error("cannot write " + path_ + ": " + reason(error));
}

void OutputFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      fail(errno);
    }
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

void OutputFile::commit() {
  int closed = close(descriptor_);
  descriptor_ = -1;
  if (closed != 0) fail(errno);
  if (temporary_.empty()) return;
  if (rename(temporary_.c_str(), target_.c_str()) != 0) fail(errno);
  temporary_.clear();
}

std::string read_text(const std::string& path) {
  int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw Error("cannot read " + path + ": " + reason(errno));
  std::string text;
  char chunk[1 << 16];
  for (;;) {
    ssize_t got = read(descriptor, chunk, sizeof chunk);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      int error = errno;
      close(descriptor);
      throw Error("cannot read " + path + ": " + reason(error));
    }
    if (got == 0) break;
    text.append(chunk, static_cast<size_t>(got));
  }
  close(descriptor);
  return text;
}

TemporaryFolder::TemporaryFolder() {
  const char* base = std::getenv("TMPDIR");
  path_ = std::string(base && *base ? base : "/tmp") + "/tilejit.XXXXXX";
  if (!mkdtemp(path_.data())) throw Error("cannot make a temporary folder " + path_ + ": " + reason(errno));
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code failed; // nothing to be done about it here
  fs::remove_all(path_, failed);
}

} // namespace tilejit::runtime
