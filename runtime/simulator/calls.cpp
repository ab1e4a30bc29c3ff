// calls.cpp - see calls.h.
#include "runtime/simulator/calls.h"

#include "runtime/simulator/block.h"

#include <bit>
#include <cstring>

namespace tilejit::runtime::simulator {
namespace {

uint64_t* base_row(uint8_t* file) { return reinterpret_cast<uint64_t*>(file + frame_base); }
uint64_t* top_row(uint8_t* file) { return reinterpret_cast<uint64_t*>(file + frame_top); }
uint32_t* site_row(uint8_t* file) { return reinterpret_cast<uint32_t*>(file + frame_site); }
uint8_t* lane_memory(Warp* w, uint32_t lane) { return w->local + lane * w->local_bytes; }
const Program& program(const Warp* w) { return *w->block->launch->program; }

[[noreturn]] void stack_overflow(Warp* w, const Insn* ip, uint32_t lane) {
  w->active = 1u << lane;
  std::string text = "the stack of a thread, " + std::to_string(w->local_bytes) + " bytes, overflows in call number " +
                     std::to_string(w->depth + 1) + ": is there a recursion without end?";
  fail(w, ip, text.c_str());
}

/// Makes sure that the file of the depth below the running split's is there.
uint8_t* next_file(Warp* w, const Insn* ip) {
  if (w->depth + 1 > max_call_depth) fail(w, ip, "calls are nested more than 1024 deep");
  CallStack& stack = *w->calls;
  if (w->depth < stack.valid) return stack.files[w->depth].get();
  uint32_t bytes = program(w).file_bytes;
  if (w->depth == stack.files.size())
    stack.files.push_back({static_cast<uint8_t*>(std::aligned_alloc(128, bytes)), std::free});
  stack.valid = w->depth + 1;
  uint8_t* file = stack.files[w->depth].get();
  std::memcpy(file, file_at(w, 0), bytes); // constants and special registers
  return file;
}

void call_builtin(Warp* w, const Insn* ip, const Callee& callee, const CallSite& site, uint32_t mask) {
  const uint64_t* base = base_row(w->file);
  for (uint32_t m = mask; m; m &= m - 1) {
    auto lane = static_cast<uint32_t>(std::countr_zero(m));
    uint8_t* frame = lane_memory(w, lane) + base[lane];
    const uint8_t* arguments[8]{};
    for (size_t i = 0; i < site.arguments.size(); ++i) arguments[i] = frame + site.arguments[i].offset;
    uint64_t result = 0;
    callee.builtin(w, ip, lane, arguments, reinterpret_cast<uint8_t*>(&result));
    for (const FramePart& part : site.results) std::memcpy(frame + part.offset, &result, part.bytes);
  }
}

/// The lanes of `mask` leave the running split for the callee.
void enter(Warp* w, const Insn* ip, const Callee& callee, const CallSite& site, uint32_t mask) {
  auto same_size = [](const std::vector<FramePart>& a, const std::vector<FramePart>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](const FramePart& x, const FramePart& y) { return x.bytes == y.bytes; });
  };
  if (!same_size(callee.parameters, site.arguments) || !same_size(callee.results, site.results))
    fail(w, ip, "the function that is called takes or gives other parameters than the call says");
  const Program& p = program(w);
  const Insn* next = p.code.data() + site.next;
  if (callee.builtin) {
    call_builtin(w, ip, callee, site, mask);
    park(w, next, mask);
    return;
  }
  uint8_t *file = next_file(w, ip), *here = w->file;
  for (uint32_t m = mask; m; m &= m - 1) {
    auto lane = static_cast<uint32_t>(std::countr_zero(m));
    uint64_t base = (top_row(here)[lane] + p.frame_align - 1) & ~uint64_t{p.frame_align - 1};
    if (base + callee.frame_bytes > w->local_bytes) stack_overflow(w, ip, lane);
    base_row(file)[lane] = base;
    top_row(file)[lane] = base + callee.frame_bytes;
    site_row(file)[lane] = ip->imm;
    uint8_t *memory = lane_memory(w, lane), *from = memory + base_row(here)[lane];
    std::memset(memory + base, 0xff, callee.frame_bytes);
    for (size_t i = 0; i < site.arguments.size(); ++i)
      std::memcpy(memory + base + callee.parameters[i].offset, from + site.arguments[i].offset,
                  site.arguments[i].bytes);
  }
  ++w->depth;
  park(w, p.code.data() + callee.code, mask);
  --w->depth;
}

const Insn* call(Warp* w, const Insn* ip) {
  const Program& p = program(w);
  const CallSite& site = p.call_sites[ip->imm];
  const uint32_t mask = guarded_lanes(w, ip), others = w->active & ~mask;
  if (others) park(w, p.code.data() + site.next, others);
  if (ip->d != none) {
    if (mask) enter(w, ip, p.callees[ip->d], site, mask);
    return nullptr;
  }
  const auto* addresses = reinterpret_cast<const uint64_t*>(w->file + ip->a);
  for (uint32_t rest = mask; rest;) {
    auto lane = static_cast<uint32_t>(std::countr_zero(rest));
    const uint64_t address = addresses[ip->b ? lane : 0];
    uint32_t same = 0;
    for (uint32_t m = rest; m; m &= m - 1)
      if (addresses[ip->b ? std::countr_zero(m) : 0] == address) same |= 1u << std::countr_zero(m);
    const uint64_t number = (address - function_window) / 16;
    const Callee* callee =
        (address - function_window) % 16 == 0 && number < p.callees.size() ? &p.callees[number] : nullptr;
    if (!callee || (callee->code == none && !callee->builtin)) {
      w->active = same;
      fail(w, ip, "the address that is called is not that of a function");
    }
    enter(w, ip, *callee, site, same);
    rest &= ~same;
  }
  return nullptr;
}

const Insn* ret(Warp* w, const Insn* ip) {
  const Program& p = program(w);
  const uint32_t mask = guarded_lanes(w, ip), others = w->active & ~mask;
  if (!mask) return ip + 1;
  if (others) park(w, ip + 1, others);
  uint8_t *file = w->file, *caller = file_at(w, w->depth - 1);
  const uint32_t* sites = site_row(file);
  for (uint32_t rest = mask; rest;) {
    auto first = static_cast<uint32_t>(std::countr_zero(rest));
    const CallSite& site = p.call_sites[sites[first]];
    uint32_t same = 0;
    for (uint32_t m = rest; m; m &= m - 1) {
      auto lane = static_cast<uint32_t>(std::countr_zero(m));
      if (sites[lane] != sites[first]) continue;
      same |= 1u << lane;
      uint8_t *memory = lane_memory(w, lane), *to = memory + base_row(caller)[lane];
      // The results are where this function's own results are: found by the address that it was entered with.
      const Callee& callee = p.callees[ip->imm];
      for (size_t i = 0; i < site.results.size(); ++i)
        std::memcpy(to + site.results[i].offset, memory + base_row(file)[lane] + callee.results[i].offset,
                    site.results[i].bytes);
    }
    --w->depth;
    park(w, p.code.data() + site.next, same);
    ++w->depth;
    rest &= ~same;
  }
  return nullptr;
}

// --- stacks ----------------------------------------------------------------------------------------------------------

uint64_t lane_value(const Warp* w, uint32_t offset, bool wide, uint32_t lane) {
  return wide ? reinterpret_cast<const uint64_t*>(w->file + offset)[lane]
              : reinterpret_cast<const uint32_t*>(w->file + offset)[lane];
}
void set_lane(Warp* w, uint32_t offset, bool wide, uint32_t lane, uint64_t value) {
  if (wide)
    reinterpret_cast<uint64_t*>(w->file + offset)[lane] = value;
  else
    reinterpret_cast<uint32_t*>(w->file + offset)[lane] = static_cast<uint32_t>(value);
}
const Insn* alloca_(Warp* w, const Insn* ip) {
  for (uint32_t m = guarded_lanes(w, ip); m; m &= m - 1) {
    auto lane = static_cast<uint32_t>(std::countr_zero(m));
    uint64_t bytes = lane_value(w, ip->a, ip->b, lane), &top = top_row(w->file)[lane];
    uint64_t begin = (top + ip->imm - 1) & ~uint64_t{ip->imm - 1};
    if (begin > w->local_bytes || bytes > w->local_bytes - begin) stack_overflow(w, ip, lane);
    std::memset(lane_memory(w, lane) + begin, 0xff, bytes);
    top = begin + bytes;
    set_lane(w, ip->d, ip->b, lane, begin);
  }
  return ip + 1;
}
const Insn* stack_save(Warp* w, const Insn* ip) {
  for (uint32_t m = guarded_lanes(w, ip); m; m &= m - 1) {
    auto lane = static_cast<uint32_t>(std::countr_zero(m));
    set_lane(w, ip->d, ip->b, lane, top_row(w->file)[lane]);
  }
  return ip + 1;
}
const Insn* stack_restore(Warp* w, const Insn* ip) {
  for (uint32_t m = guarded_lanes(w, ip); m; m &= m - 1) {
    auto lane = static_cast<uint32_t>(std::countr_zero(m));
    top_row(w->file)[lane] = lane_value(w, ip->a, ip->b, lane);
  }
  return ip + 1;
}

} // namespace

uint8_t* file_at(const Warp* w, uint32_t depth) {
  if (depth > 0) return w->calls->files[depth - 1].get();
  return w->block->files.get() + uint64_t{w->index} * program(w).file_bytes;
}

void begin_calls(Warp& w) {
  const Program& p = program(&w);
  w.depth = 0;
  w.calls->valid = 0;
  w.file = file_at(&w, 0);
  for (uint32_t lane = 0; lane < 32; ++lane) {
    std::memset(lane_memory(&w, lane), 0xff, p.frame_bytes);
    if (!p.has_frames) continue;
    base_row(w.file)[lane] = 0;
    top_row(w.file)[lane] = p.frame_bytes;
  }
}

const CallHandlers& call_handlers() {
  static const CallHandlers all{call, ret, alloca_, stack_save, stack_restore};
  return all;
}

} // namespace tilejit::runtime::simulator
