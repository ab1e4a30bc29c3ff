#include "runtime/device.h"
#include "runtime/files.h"

#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>
#include <sys/stat.h>

namespace fs = std::filesystem;
using namespace tilejit::runtime;
using Catch::Matchers::Contains;

namespace {
std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  return names;
}
} // namespace

TEST_CASE("a file appears with commit, whole, and replaces what was there") {
  TemporaryFolder folder;
  std::string path = folder.path() + "/out";
  {
    OutputFile file(path);
    file.write("abandoned");
  }
  CHECK(names_in(folder.path()).empty());
  for (std::string text : {"first", "second, longer", "3"}) {
    OutputFile file(path);
    file.write(text.substr(0, 1));
    file.write(text.substr(1));
    if (text != "first") CHECK(read_text(path) != text);
    file.commit();
    CHECK(read_text(path) == text);
  }
  CHECK(names_in(folder.path()) == std::vector<std::string>{"out"});
}

TEST_CASE("modes and links are kept") {
  TemporaryFolder folder;
  std::string path = folder.path() + "/out", link = folder.path() + "/link";
  std::ofstream(path) << "old";
  chmod(path.c_str(), 0640);
  fs::create_symlink("out", link);
  OutputFile file(link);
  file.write("new");
  file.commit();
  CHECK(fs::is_symlink(link));
  CHECK(read_text(path) == "new");
  struct stat status;
  REQUIRE(stat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0640);
}

TEST_CASE("a device is written to, not replaced") {
  OutputFile file("/dev/null");
  file.write("gone");
  file.commit();
  CHECK(fs::is_character_file("/dev/null"));
}

TEST_CASE("what can't be written is said before anything is") {
  TemporaryFolder folder;
  CHECK_THROWS_WITH(check_writable(folder.path() + "/no/such/out"), Contains("there is no folder"));
  CHECK_THROWS_WITH(check_writable(folder.path()), Contains("it is a folder"));
  CHECK_THROWS_WITH(check_writable(""), Contains("empty name"));
  CHECK_THROWS_WITH(OutputFile(folder.path() + "/no/such/out"), Contains("cannot write"));
  std::ofstream(folder.path() + "/file") << "x";
  CHECK_THROWS_WITH(check_writable(folder.path() + "/file/out"), Contains("there is no folder"));
  CHECK_THROWS_WITH(read_text(folder.path() + "/missing"), Contains("missing: No such file"));
  CHECK_THROWS_WITH(read_text(folder.path()), Contains("Is a directory"));
}

TEST_CASE("a full disk leaves nothing behind") {
  if (!fs::exists("/dev/full")) return;
  OutputFile file("/dev/full");
  CHECK_THROWS_WITH(file.write("x"), Contains("No space left"));
}

TEST_CASE("a temporary folder goes with its contents") {
  std::string path;
  {
    TemporaryFolder folder;
    path = folder.path();
    fs::create_directories(path + "/a/b");
    std::ofstream(path + "/a/b/c") << "x";
    CHECK(fs::exists(path));
  }
  CHECK_FALSE(fs::exists(path));
}
