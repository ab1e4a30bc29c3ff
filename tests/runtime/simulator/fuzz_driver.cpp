// Runs LLVMFuzzerTestOneInput for a bounded time without libFuzzer: `fuzz FOLDER SECONDS [SEED]`. Inputs are the
// PTX files of a folder with bytes changed, cut, repeated, exchanged between files, and words of PTX put in. The
// sequence depends on the seed alone, so that a failure can be had again; the input at hand is written to
// `fuzz_last_input` before a crash ends the process.
#include "runtime/simulator/forms.h"
#include "tests/runtime/simulator/ptx_text.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

std::string input;

void save_input(int signal) {
  if (std::FILE* file = std::fopen("fuzz_last_input", "wb")) {
    std::fwrite(input.data(), 1, input.size(), file);
    std::fclose(file);
  }
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

class Mutator {
public:
  Mutator(std::vector<std::string> corpus, uint64_t seed) : corpus_(std::move(corpus)), random_(seed) {
    for (const auto& row : tilejit::runtime::simulator::all_forms())
      for (auto& text : tilejit::runtime::simulator::spellings(row, 3)) words_.push_back(text);
    for (const char* word : {"{",
                             "}",
                             "(",
                             ")",
                             "[",
                             "]",
                             ";",
                             ":",
                             ",",
                             "@",
                             "!",
                             "|",
                             "<",
                             ">",
                             "%r1",
                             "%rd1",
                             "%p1",
                             "_",
                             "bra L;",
                             "L:",
                             ".reg .b32 %r<99999>;",
                             ".reg .pred",
                             ".shared .b8 x[",
                             ".param .b64 q;",
                             ".loc 1 2 3",
                             ".section",
                             "0x7fffffffffffffff",
                             "-1",
                             "1.5",
                             "0f3f800000",
                             "/*",
                             "*/",
                             "//",
                             "\"",
                             ".branchtargets",
                             ".callprototype",
                             ".entry",
                             ".func",
                             ".global",
                             "= {1,{2}}",
                             "%tid.x",
                             "WARP_SZ",
                             "4294967296",
                             "18446744073709551615"})
      words_.push_back(word);
  }

  std::string next() {
    std::string text = pick(corpus_);
    // A window of a large file keeps the header and runs faster.
    if (text.size() > 6000 && random_() % 4) {
      size_t from = random_() % text.size();
      text = text.substr(0, 900) + text.substr(from, 3000) + (random_() % 2 ? "\n}\n" : "");
    }
    for (size_t edits = 1 + random_() % 6; edits-- > 0 && !text.empty();) {
      size_t at = random_() % text.size(), length = 1 + random_() % 40;
      switch (random_() % 9) {
      case 0: text[at] = static_cast<char>(random_()); break;
      case 1: text.erase(at, length); break;
      case 2: text.insert(at, pick(words_)); break;
      case 3: text.insert(at, text.substr(random_() % text.size(), length)); break;
      case 4: text.resize(at); break;
      case 5: {
        const std::string& other = pick(corpus_);
        text.insert(at, other.substr(random_() % other.size(), 200));
        break;
      }
      case 6: text.insert(at, std::string(random_() % 200, "{([-%0,"[random_() % 7])); break;
      case 7: { // one number for another
        size_t digit = text.find_first_of("0123456789", at);
        if (digit != text.npos) text.replace(digit, 1, std::to_string(random_()));
        break;
      }
      default: { // swap two lines
        size_t a = text.find('\n', at), b = text.find('\n', random_() % text.size());
        if (a == text.npos || b == text.npos || a == b) break;
        if (a > b) std::swap(a, b);
        std::rotate(text.begin() + static_cast<ptrdiff_t>(a), text.begin() + static_cast<ptrdiff_t>(b),
                    text.begin() + static_cast<ptrdiff_t>(std::min(b + length, text.size())));
      }
      }
    }
    return text;
  }

private:
  const std::string& pick(const std::vector<std::string>& from) { return from[random_() % from.size()]; }

  std::vector<std::string> corpus_, words_;
  std::mt19937_64 random_;
};

} // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: fuzz FOLDER SECONDS [SEED]\n");
    return 2;
  }
  std::vector<std::string> corpus, names;
  for (const auto& file : std::filesystem::directory_iterator(argv[1]))
    if (file.path().extension() == ".ptx") names.push_back(file.path().string());
  std::sort(names.begin(), names.end()); // the folder's own order differs between machines
  for (const std::string& name : names) corpus.push_back(tilejit::runtime::simulator::test::read_file(name));
  if (corpus.empty()) {
    std::fprintf(stderr, "no .ptx in %s\n", argv[1]);
    return 2;
  }
  std::signal(SIGABRT, save_input);
  std::signal(SIGSEGV, save_input);
  auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(std::atof(argv[2]));
  Mutator mutator(std::move(corpus), argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1);
  size_t runs = 0;
  for (; std::chrono::steady_clock::now() < end; ++runs) {
    input = mutator.next();
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
  }
  std::printf("%zu inputs\n", runs);
  return runs > 0 ? 0 : 1;
}
