// recording.cpp - see recording.h.
#include "tests/runtime/simulator/conformance/recording.h"

#include "runtime/simulator/device.h"
#include "tests/runtime/simulator/conformance/driver_maps.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <sstream>

namespace tilejit::conformance {
namespace {

constexpr const char* first_line = "tilejit conformance 1";

class Hash { // FNV-1a
public:
  void add(const void* data, size_t n) {
    for (size_t i = 0; i < n; ++i) state_ = (state_ ^ static_cast<const unsigned char*>(data)[i]) * 0x100000001b3;
  }
  void add(const std::string& text) { add(text.c_str(), text.size() + 1); }
  void add(uint64_t number) { add(&number, sizeof number); }
  uint64_t value() const { return state_; }

private:
  uint64_t state_ = 0xcbf29ce484222325;
};

[[noreturn]] void bad_file(const std::string& path, const std::string& what) {
  throw runtime::Error(path + " is not a recording of conformance tests: " + what);
}

} // namespace

namespace {

std::string digits_of(uint64_t number) {
  std::ostringstream digits;
  digits.width(16), digits.fill('0');
  digits << std::hex << number;
  return digits.str();
}
uint64_t digest_of(std::span<const std::byte> bytes) {
  Hash h;
  h.add(bytes.data(), bytes.size());
  return h.value();
}

} // namespace

uint64_t fingerprint(const Case& c) {
  Hash h;
  for (const std::string* text : {&c.declarations, &c.directives, &c.body}) h.add(*text);
  for (uint64_t number : {uint64_t{c.threads}, uint64_t{c.blocks}, uint64_t{c.shared}, uint64_t{c.output}})
    h.add(number);
  h.add(c.input.data(), c.input.size());
  for (const Case::Launch& launch : c.launches) {
    h.add(uint64_t{launch.blocks});
    for (uint64_t value : launch.values) h.add(value);
  }
  return h.value();
}

void write_header(std::ostream& to, const Recording& r) {
  to << first_line << "\ndevice " << r.device << "\ndriver " << r.driver << "\ntarget " << r.target << "\ndate "
     << r.date << "\n";
}

void write_entry(std::ostream& to, const std::string& kind, const std::string& name, const Recording::Entry& entry) {
  to << kind
     << (entry.refused  ? " refused "
         : entry.digest ? " same "
                        : " ran ")
     << digits_of(entry.fingerprint) << " ";
  if (entry.digest) {
    to << digits_of(*entry.digest) << " " << name << "\n";
    return;
  }
  to << entry.bytes.size() << " " << name << "\n";
  to.write(reinterpret_cast<const char*>(entry.bytes.data()), static_cast<std::streamsize>(entry.bytes.size()));
  to << "\n";
}

void write_recording(const std::string& path, const Recording& recording) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  write_header(file, recording);
  for (const auto& [name, entry] : recording.entries) write_entry(file, "case", name, entry);
  for (const auto& [name, entry] : recording.maps) write_entry(file, "map", name, entry);
  if (!file.flush()) throw runtime::Error("cannot write " + path);
}

Recording read_recording(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw runtime::Error("cannot read " + path);
  std::string line;
  if (!std::getline(file, line) || line != first_line)
    bad_file(path, std::string("its first line is not '") + first_line + "'");
  Recording r;
  for (auto [key, value] :
       {std::pair("device ", &r.device), {"driver ", &r.driver}, {"target ", &r.target}, {"date ", &r.date}}) {
    if (!std::getline(file, line) || !line.starts_with(key)) bad_file(path, std::string("no line '") + key + "...'");
    *value = line.substr(std::strlen(key));
  }
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string kind, how, name;
    Recording::Entry entry;
    size_t bytes = 0;
    words >> kind >> how >> std::hex >> entry.fingerprint;
    if (how == "same")
      words >> entry.digest.emplace();
    else
      words >> std::dec >> bytes;
    words.ignore(1);
    if (!words || !std::getline(words, name) || (kind != "case" && kind != "map") ||
        (how != "ran" && how != "refused" && how != "same") || bytes > (size_t{1} << 30))
      bad_file(path, "no case in '" + line.substr(0, 80) + "'");
    auto& entries = kind == "map" ? r.maps : r.entries;
    if (entry.digest) {
      entries[name] = std::move(entry);
      continue;
    }
    entry.refused = how == "refused";
    entry.bytes.resize(bytes);
    file.read(reinterpret_cast<char*>(entry.bytes.data()), static_cast<std::streamsize>(bytes));
    if (!file || file.get() != '\n') bad_file(path, "it ends within " + name);
    entries[name] = std::move(entry);
  }
  return r;
}

Recording::Entry record_case(runtime::Device& device, const Case& c) {
  Recording::Entry entry{.fingerprint = fingerprint(c)};
  try {
    entry.bytes = run(device, c);
  } catch (const runtime::Error& e) {
    entry.refused = true;
    auto text = std::as_bytes(std::span(e.what(), std::min<size_t>(std::strlen(e.what()), 300)));
    entry.bytes.assign(text.begin(), text.end());
  }
  return entry;
}

std::shared_ptr<runtime::Device> replaying_simulator(const std::string& target) {
  auto device = runtime::open_simulator(target);
  device->set_instruments({.exact_products = true});
  return device;
}

void condense(Recording& recording, runtime::Device& simulator) {
  each_source([&](const Source& source) {
    auto it = recording.entries.find(source.name);
    if (it == recording.entries.end() || it->second.refused || it->second.digest) return;
    Recording::Entry& entry = it->second;
    Recording::Entry mine = record_case(simulator, source.make(true));
    if (mine.refused || mine.fingerprint != entry.fingerprint || mine.bytes != entry.bytes) return;
    entry.digest = digest_of(entry.bytes);
    entry.bytes.clear();
  });
}

Replay replay(const Recording& recording, runtime::Device& simulator) {
  Replay result;
  each_source([&](const Source& source) {
    auto it = recording.entries.find(source.name);
    if (it == recording.entries.end()) return;
    const Recording::Entry& entry = it->second;
    Case c = source.make(true);
    if (fingerprint(c) != entry.fingerprint) return void(++result.changed);
    if (entry.refused) return void(++result.refused);
    ++result.cases;
    if (!entry.digest && entry.bytes.size() != c.output * c.launches.size())
      return result.wrong.push_back(source.name + ": the recording has " + std::to_string(entry.bytes.size()) +
                                    " bytes");
    Recording::Entry mine = record_case(simulator, c);
    if (mine.refused)
      return result.wrong.push_back(source.name + ": the simulator does not run it: " +
                                    std::string(reinterpret_cast<const char*>(mine.bytes.data()), mine.bytes.size()));
    const bool same = entry.digest ? digest_of(mine.bytes) == *entry.digest : mine.bytes == entry.bytes;
    result.identical += same;
    // Digests are of what the simulator gave, and gives, with exact products.
    auto check = [&](std::span<const std::byte> bytes) {
      Report report = c.check(bytes);
      return report.wrong || !c.check_exactly ? report : c.check_exactly(bytes);
    };
    Report device = entry.digest ? Report{} : check(entry.bytes), simulated = check(mine.bytes);
    if (device.wrong)
      result.wrong.push_back(source.name + ": " + recording.device + " gives what the definition does not allow, and " +
                             (same ? "so does the simulator" : "the simulator something else") + device.first);
    else if (simulated.wrong)
      result.wrong.push_back(source.name + ": the simulator" + simulated.first);
  });
  for (const NamedMap& map : driver_maps()) {
    auto it = recording.maps.find(map.name);
    if (it == recording.maps.end() || it->second.refused) continue;
    const Recording::Entry mine = record_map(map, false);
    if (mine.fingerprint != it->second.fingerprint) continue;
    ++result.maps;
    constexpr uint32_t used = runtime::simulator::tensormap_used_bytes;
    if (mine.refused || !std::ranges::equal(std::span(mine.bytes).first(used), std::span(it->second.bytes).first(used)))
      result.wrong.push_back("tensor map " + map.name + ": the simulator's is another one");
  }
  return result;
}

} // namespace tilejit::conformance
