// builtins.cpp - functions that device code calls and the driver provides: vprintf, __assertfail, malloc, free.
// CUDA C++ Programming Guide, "Formatted Output", "Assertion", "Dynamic Global Memory Allocation and Operations".
#include "runtime/simulator/block.h"
#include "runtime/simulator/calls.h"

#include <algorithm>
#include <cstring>

namespace tilejit::runtime::simulator {
namespace {

template <typename T>
T get(const uint8_t* from) {
  T x;
  std::memcpy(&x, from, sizeof x);
  return x;
}

const uint8_t* readable(Warp* w, const Insn* ip, uint32_t lane, uint64_t address, uint64_t bytes) {
  return host_address(w, ip, lane, address, bytes, false);
}
std::string text_at(Warp* w, const Insn* ip, uint32_t lane, uint64_t address) {
  std::string text;
  while (char c = static_cast<char>(*readable(w, ip, lane, address + text.size(), 1))) {
    if (text.size() == 65536) fail(w, ip, "a string of more than 65536 characters");
    text += c;
  }
  return text;
}

/// The arguments of a vprintf: one after the other in memory, each aligned to its size.
class PrintArguments {
public:
  PrintArguments(Warp* w, const Insn* ip, uint32_t lane, uint64_t address)
      : w_(w), ip_(ip), lane_(lane), at_(address) {}
  template <typename T>
  T next() {
    at_ = (at_ + sizeof(T) - 1) / sizeof(T) * sizeof(T);
    T x = get<T>(readable(w_, ip_, lane_, at_, sizeof(T)));
    at_ += sizeof(T);
    ++count;
    return x;
  }
  int count = 0;

private:
  Warp* w_;
  const Insn* ip_;
  uint32_t lane_;
  uint64_t at_;
};

/// One conversion, "%-8.3lf": what stands between % and its letter goes to the host's snprintf.
class Conversion {
public:
  /// Reads it; `at` is behind the % and will be behind the letter. False: it is none, and printed as it stands.
  bool parse(const std::string& format, size_t& at, PrintArguments& arguments) {
    size_t begin = at, i = at;
    auto skip = [&](std::string_view set) {
      while (i < format.size() && set.find(format[i]) != set.npos) flags_ += format[i++];
    };
    auto number = [&] {
      if (i < format.size() && format[i] == '*') {
        ++i;
        flags_ += std::to_string(std::clamp(arguments.next<int32_t>(), -4096, 4096));
        return;
      }
      std::string digits;
      while (i < format.size() && format[i] >= '0' && format[i] <= '9') digits += format[i++];
      if (!digits.empty()) flags_ += std::to_string(digits.size() > 4 ? 4096 : std::min(std::stoi(digits), 4096));
    };
    flags_ = "%";
    skip("-+ #0");
    number();
    if (i < format.size() && format[i] == '.') {
      flags_ += format[i++];
      number();
    }
    for (; i < format.size() && std::strchr("hlqLjzt", format[i]); ++i) {
      wide_ = wide_ || format[i] != 'h'; // CUDA's long has 64 bits on 64-bit Linux
    }
    if (i == format.size() || !std::strchr("diouxXcsfFeEgGaAp", format[i])) {
      at = begin;
      return false;
    }
    letter_ = format[i++];
    at = i;
    return true;
  }
  std::string print(Warp* w, const Insn* ip, uint32_t lane, PrintArguments& arguments) const {
    switch (letter_) {
    case 'd':
    case 'i':
      return wide_ ? text("ll", static_cast<long long>(arguments.next<int64_t>()))
                   : text("", arguments.next<int32_t>());
    case 'o':
    case 'u':
    case 'x':
    case 'X':
      return wide_ ? text("ll", static_cast<unsigned long long>(arguments.next<uint64_t>()))
                   : text("", arguments.next<uint32_t>());
    case 'c': return text("", arguments.next<int32_t>());
    case 's': return text("", text_at(w, ip, lane, arguments.next<uint64_t>()).c_str());
    case 'p': return text("", reinterpret_cast<void*>(static_cast<uintptr_t>(arguments.next<uint64_t>())));
    default: return text("", arguments.next<double>());
    }
  }

private:
  template <typename T>
  std::string text(const char* length, T value) const {
    std::string format = flags_ + length + letter_;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    int size = std::snprintf(nullptr, 0, format.c_str(), value);
    std::string out(static_cast<size_t>(std::max(size, 0)), ' ');
    std::snprintf(out.data(), out.size() + 1, format.c_str(), value);
#pragma GCC diagnostic pop
    return out;
  }
  std::string flags_;
  bool wide_ = false;
  char letter_ = 0;
};

/// int vprintf(const char* format, void* arguments): how many arguments were printed.
void vprintf_(Warp* w, const Insn* ip, uint32_t lane, const uint8_t* const* arguments, uint8_t* result) {
  std::string format = text_at(w, ip, lane, get<uint64_t>(arguments[0])), out;
  PrintArguments values(w, ip, lane, get<uint64_t>(arguments[1]));
  for (size_t i = 0; i < format.size();) {
    char c = format[i++];
    if (c != '%') {
      out += c;
      continue;
    }
    if (i < format.size() && format[i] == '%') {
      out += format[i++];
      continue;
    }
    Conversion conversion;
    if (conversion.parse(format, i, values))
      out += conversion.print(w, ip, lane, values);
    else
      out += c;
  }
  w->block->output += out;
  std::memcpy(result, &values.count, sizeof values.count);
}

/// void __assertfail(const char* message, const char* file, unsigned line, const char* function, size_t char_size)
void assert_fail(Warp* w, const Insn* ip, uint32_t lane, const uint8_t* const* arguments, uint8_t*) {
  w->active = 1u << lane;
  std::string text = text_at(w, ip, lane, get<uint64_t>(arguments[1])) + ":" +
                     std::to_string(get<uint32_t>(arguments[2])) + ": " +
                     text_at(w, ip, lane, get<uint64_t>(arguments[3])) + ": assertion '" +
                     text_at(w, ip, lane, get<uint64_t>(arguments[0])) + "' failed";
  fail(w, ip, text.c_str());
}

void malloc_(Warp* w, const Insn*, uint32_t, const uint8_t* const* arguments, uint8_t* result) {
  DeviceHeap& heap = *w->block->launch->heap;
  uint64_t address = heap.allocate(get<uint64_t>(arguments[0]));
  std::memcpy(result, &address, sizeof address);
}
void free_(Warp* w, const Insn* ip, uint32_t, const uint8_t* const* arguments, uint8_t*) {
  uint64_t address = get<uint64_t>(arguments[0]);
  if (address && !w->block->launch->heap->release(address, w->block->launch->program->instruments.sanitize))
    fail(w, ip, "free of an address that malloc has not given, or that is free already");
}

} // namespace

uint8_t* host_address(Warp* w, const Insn* ip, uint32_t lane, uint64_t address, uint64_t bytes, bool write) {
  struct Window {
    Space space;
    uint64_t begin, bytes;
    uint8_t* host;
  };
  const Window windows[] = {{Space::shared, shared_window, w->shared_bytes, w->shared},
                            {Space::local, local_window, w->local_bytes, w->local + lane * w->local_bytes},
                            {Space::param, param_window, write ? 0 : w->param_bytes, const_cast<uint8_t*>(w->params)}};
  for (const Window& window : windows) {
    if (address - window.begin >= window_bytes) continue;
    uint64_t at = address - window.begin;
    if (at > window.bytes || bytes > window.bytes - at)
      fault(w, ip, Fault::out_of_bounds, window.space, lane, at, bytes, write);
    return window.host + at;
  }
  if (!find_allocation(w, address, bytes))
    fault(w, ip, Fault::out_of_bounds, Space::global, lane, address, bytes, write);
  return w->arena + address;
}

Builtin find_builtin(std::string_view name) {
  if (name == "vprintf") return vprintf_;
  if (name == "__assertfail") return assert_fail;
  if (name == "malloc") return malloc_;
  if (name == "free") return free_;
  return nullptr;
}

uint64_t DeviceHeap::allocate(uint64_t bytes) {
  constexpr uint64_t align = 16;
  if (bytes == 0 || bytes > heap_bytes) return 0;
  bytes = (bytes + align - 1) / align * align;
  {
    std::lock_guard lock(mutex_);
    if (uint64_t begin = take(bytes)) return begin;
  }
  release_kept();
  std::lock_guard lock(mutex_);
  return take(bytes);
}

uint64_t DeviceHeap::take(uint64_t bytes) {
  for (auto it = free_.begin(); it != free_.end(); ++it) {
    auto [begin, room] = *it;
    if (room < bytes) continue;
    free_.erase(it);
    if (room > bytes) free_.emplace(begin + bytes, room - bytes);
    used_.emplace(begin, bytes);
    return begin;
  }
  return 0;
}

bool DeviceHeap::release(uint64_t address, bool keep) {
  std::lock_guard lock(mutex_);
  auto used = used_.find(address);
  if (used == used_.end()) return false;
  if (keep)
    kept_.insert(*used);
  else
    give_back(used->first, used->second);
  used_.erase(used);
  return true;
}

void DeviceHeap::release_kept() {
  std::lock_guard lock(mutex_);
  for (auto [begin, bytes] : kept_) give_back(begin, bytes);
  kept_.clear();
}

void DeviceHeap::give_back(uint64_t begin, uint64_t bytes) {
  auto it = free_.emplace(begin, bytes).first;
  if (auto after = std::next(it); after != free_.end() && it->first + it->second == after->first) {
    it->second += after->second;
    free_.erase(after);
  }
  if (it != free_.begin())
    if (auto before = std::prev(it); before->first + before->second == it->first) {
      before->second += it->second;
      free_.erase(it);
    }
}

} // namespace tilejit::runtime::simulator
