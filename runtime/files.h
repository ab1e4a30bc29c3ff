// files.h - writing a file so that a reader never sees half of it.
//
// Everything that the tools and the cache write goes through here: the bytes go to a temporary file beside the target,
// which takes the target's name only when all of them are on it. What fails leaves the old file, or none.
#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace tilejit::runtime {

/// A file that appears under its name with commit() and not before; without it nothing is left.
///
///   OutputFile out("o.npy");       // throws Error when the folder is missing or cannot be written
///   out.write(header);
///   out.write(data);
///   out.commit();
///
/// A path that names something other than a regular file (/dev/null, a pipe) is written straight through.
class OutputFile {
public:
  explicit OutputFile(const std::string& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text.data(), text.size()))); }
  void commit();

private:
  [[noreturn]] void fail(int error);

  std::string path_;      ///< as the caller named it, for messages
  std::string target_;    ///< with symbolic links resolved
  std::string temporary_; ///< empty: written straight through, or already committed
  int descriptor_ = -1;
};

/// Throws Error when a file at `path` could not be created now; for checking outputs before long work begins.
void check_writable(const std::string& path);

/// The whole of a file; throws Error with the path and the reason.
std::string read_text(const std::string& path);

/// A new empty folder under $TMPDIR (or /tmp) that goes with this object.
class TemporaryFolder {
public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }

private:
  std::string path_;
};

} // namespace tilejit::runtime
