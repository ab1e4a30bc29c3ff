// findings.cpp - see findings.h.
#include "runtime/simulator/findings.h"

#include "runtime/simulator/block.h"

#include <algorithm>
#include <bit>

namespace tilejit::runtime {
namespace {

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\')
      out += {'\\', c};
    else if (c == '\n')
      out += "\\n";
    else if (static_cast<unsigned char>(c) < 0x20) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(c));
      out += escaped;
    } else
      out += c;
  }
  return out + "\"";
}
std::string triple(const std::array<uint32_t, 3>& x) {
  return "[" + std::to_string(x[0]) + ", " + std::to_string(x[1]) + ", " + std::to_string(x[2]) + "]";
}

} // namespace

std::string_view name_of(FindingKind kind) {
  static constexpr std::string_view names[] = {"out-of-bounds", "misaligned",  "uninitialised",
                                               "shared-race",   "global-race", "proxy-race",
                                               "barrier",       "deadlock",    "async-hazard"};
  return names[static_cast<size_t>(kind)];
}

std::string to_json(std::span<const Finding> findings) {
  auto line = [](uint32_t n) { return n ? std::to_string(n) : "null"; };
  auto source = [](const std::string& text) { return text.empty() ? "null" : quoted(text); };
  std::string text = "[";
  for (const Finding& f : findings) {
    text += text.size() > 1 ? ",\n" : "\n";
    text += " {\"kind\": " + quoted(name_of(f.kind)) + ",\n  \"message\": " + quoted(f.message);
    text += ",\n  \"ptx_line\": " + line(f.ptx_line) + ", \"other_ptx_line\": " + line(f.other_ptx_line);
    text += ",\n  \"source\": " + source(f.source) + ", \"other_source\": " + source(f.other_source);
    text += ",\n  \"block\": " + triple(f.block) + ", \"thread\": " + triple(f.thread) + "}";
  }
  return text + (findings.empty() ? "]\n" : "\n]\n");
}

namespace simulator {

std::string tuple(const std::array<uint32_t, 3>& x) {
  return "(" + std::to_string(x[0]) + ", " + std::to_string(x[1]) + ", " + std::to_string(x[2]) + ")";
}

std::string hexadecimal(uint64_t x) {
  char text[32];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(x));
  return text;
}

namespace {
std::array<uint32_t, 3> index_in(const std::array<uint32_t, 3>& shape, uint64_t x) {
  return {static_cast<uint32_t>(x % shape[0]), static_cast<uint32_t>(x / shape[0] % shape[1]),
          static_cast<uint32_t>(x / shape[0] / shape[1])};
}
} // namespace

std::array<uint32_t, 3> block_index(const LaunchState& launch, uint64_t block) { return index_in(launch.grid, block); }
std::array<uint32_t, 3> thread_of(const Warp& w, uint32_t lane) {
  return index_in(w.block->launch->block, w.index * 32 + lane);
}

Finding finding_at(const LaunchState& launch, uint64_t block, uint32_t thread, const Insn* ip, FindingKind kind,
                   const std::string& what) {
  const Program& p = *launch.program;
  const Meta& meta = p.meta[static_cast<size_t>(ip - p.code.data())];
  Finding f{.kind = kind,
            .ptx_line = meta.line,
            .source = p.module->describe(meta.location),
            .block = block_index(launch, block),
            .thread = index_in(launch.block, thread)};
  f.message = "kernel '" + p.name + "'" + (f.source.empty() ? "" : ", " + f.source) + ", PTX line " +
              std::to_string(meta.line) + " '" + std::string(p.module->source_line(meta.line)) + "': block " +
              tuple(f.block) + ", thread " + tuple(f.thread) + what;
  return f;
}
Finding finding_at(const Warp& w, const Insn* ip, uint32_t lane, FindingKind kind, const std::string& what) {
  const LaunchState& launch = *w.block->launch;
  const auto& [x, y, z] = w.block->index;
  return finding_at(launch, (uint64_t{z} * launch.grid[1] + y) * launch.grid[0] + x, w.index * 32 + lane, ip, kind,
                    what);
}

void fault(Warp* w, const Insn* ip, Fault what, Space space, uint32_t lane, uint64_t address, uint64_t bytes,
           bool write) {
  std::string text = (write ? " writes " : " reads ") + std::to_string(bytes) + " bytes at " +
                     std::string(name_of(space)) + " address " + hexadecimal(address) + ", " +
                     (what == Fault::misaligned ? "misaligned: " : "out of bounds: ");
  if (what == Fault::misaligned)
    text += "it must be a multiple of " + std::to_string(bytes);
  else if (space == Space::shared)
    text += "the block has " + std::to_string(w->block->launch->program_shared()) + " bytes of shared memory (" +
            std::to_string(w->block->launch->dynamic_shared) + " of them dynamic)";
  else if (space == Space::local)
    text += "a thread has " + std::to_string(w->local_bytes) + " bytes of local memory";
  else if (space == Space::param)
    text += write ? "parameters cannot be written" : "the parameters are " + std::to_string(w->param_bytes) + " bytes";
  else
    text += w->block->launch->memory->describe_nearest(address);
  FindingKind kind = what == Fault::misaligned ? FindingKind::misaligned : FindingKind::out_of_bounds;
  throw FindingError(finding_at(*w, ip, lane, kind, text));
}

namespace {
uint32_t first_lane(const Warp* w) { return static_cast<uint32_t>(std::countr_zero(w->active | 1u << 31)); }
} // namespace

void fail(Warp* w, const Insn* ip, const char* what) {
  throw ExecutionError(finding_at(*w, ip, first_lane(w), {}, std::string(": ") + what).message);
}

void fail(Warp* w, const Insn* ip, uint32_t lane, FindingKind kind, const std::string& what) {
  throw FindingError(finding_at(*w, ip, lane, kind, ": " + what));
}

void misused_barrier(Warp* w, const Insn* ip, const std::string& what) {
  fail(w, ip, first_lane(w), FindingKind::barrier, what);
}

bool FindingLog::is_new(const Key& key, bool mild) const {
  auto it = found_.find(key);
  return it == found_.end() || (it->second.mild && !mild);
}
void FindingLog::add(const Key& key, uint64_t block, Finding finding, bool mild) {
  put(key, Entry{block, mild, std::move(finding)});
}
void FindingLog::put(const Key& key, Entry entry) {
  auto [it, is_new] = found_.try_emplace(key, entry);
  if (!is_new && std::tuple(entry.mild, entry.block) < std::tuple(it->second.mild, it->second.block))
    it->second = std::move(entry);
}

void FindingLog::merge(FindingLog&& other) {
  for (auto& [key, entry] : other.found_) put(key, std::move(entry));
}

std::vector<Finding> FindingLog::take(uint64_t last) const {
  std::vector<std::pair<uint64_t, const Finding*>> order;
  for (const auto& [key, entry] : found_)
    if (entry.block <= last) order.emplace_back(entry.block, &entry.finding);
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::tuple(a.first, a.second->ptx_line, a.second->other_ptx_line) <
           std::tuple(b.first, b.second->ptx_line, b.second->other_ptx_line);
  });
  std::vector<Finding> all;
  for (const auto& [block, finding] : order) all.push_back(*finding);
  return all;
}

} // namespace simulator
} // namespace tilejit::runtime
