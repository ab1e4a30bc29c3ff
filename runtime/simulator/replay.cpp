// replay.cpp - see replay.h.
#include "runtime/simulator/replay.h"

#include <algorithm>
#include <limits>

namespace tilejit::runtime::simulator {
namespace {

using Kind = ReplayOp::Kind;
constexpr uint32_t quarters = 4;

size_t index(Resource r) { return static_cast<size_t>(r); }
size_t index(Stall s) { return static_cast<size_t>(s); }

} // namespace

struct Replay::Multiprocessor {
  std::array<double, quarters> scheduler{};
  std::array<std::array<double, quarters>, static_cast<size_t>(Resource::count)> unit{}; ///< free from then on
  double load_store = 0, l2 = 0, memory = 0;
  double stored = 0;                   ///< until then stores are under way
  std::vector<double> code;            ///< by instruction, when it has come for the first time; 0: not asked for
  double fetched = 0;                  ///< the last of them
  double products_end = 0, beside = 1; ///< of the wgmma under way, and what shared memory gives to others
  uint32_t warps = 0;                  ///< that have begun, for the choice of their schedulers
};

/// One phase of a barrier.
struct Replay::Phase {
  uint32_t expected = 0, arrived = 0;
  double complete = 0; ///< when the last of those that have arrived did
  std::vector<Warp*> waiting;
};

/// The wgmma of a warpgroup: all four warps issue each; they are done one after the other.
struct Replay::Products {
  struct One {
    uint32_t issued = 0;
    double at = 0, cycles = 0, latency = 0, beside = 1, end = -1; ///< end < 0: not all warps have issued it
  };
  Multiprocessor* multiprocessor = nullptr;
  uint32_t warps = 0;
  size_t done = 0;
  std::vector<One> all;
  std::vector<Warp*> waiting;
};

struct Replay::Warp {
  const WarpTrace* trace = nullptr;
  Instance* instance = nullptr;
  Multiprocessor* multiprocessor = nullptr;
  Products* products = nullptr;
  uint32_t rank = 0, quarter = 0;
  size_t word = 0, detail = 0;

  double at = 0; ///< it can issue again
  std::vector<double> ready;
  std::vector<Stall> why; ///< by register, what is waited for

  // The instruction that comes next, and since when nothing of its own warp holds it.
  const ReplayOp* op = nullptr;
  uint32_t counter = 0;
  size_t first_detail = 0, detail_count = 0;
  double earliest = 0;
  Stall reason = Stall::arithmetic;
  bool blocked = false, released = false;
  Phase* holds = nullptr; ///< of bar.sync: arrived at, and not yet complete
  uint32_t holder = 0;    ///< the instruction

  // Ends of asynchronous groups: those committed, and what is not yet.
  std::vector<double> copies, bulk, bulk_reads;
  double stored = 0; ///< when its stores to global memory are done
  double open_copies = 0, all_copies = 0, open_bulk = 0, open_bulk_reads = 0;
  size_t products_issued = 0;
  std::vector<size_t> product_groups; ///< products issued when each was committed
};

/// A cluster that is there.
struct Replay::Instance {
  uint32_t slot = 0;
  size_t live = 0;
  double end = 0;
  std::vector<std::unique_ptr<Warp>> warps;
  std::vector<std::unique_ptr<Products>> products;
  std::map<std::pair<uint32_t, uint32_t>, Phase> phases; ///< by object and phase
};

Replay::Replay(const ReplayOps& ops, const Gpu& gpu, const ReplayShare& share, uint32_t cluster_blocks)
    : ops_(ops), gpu_(gpu), share_(share),
      load_latency_(gpu.latency.l2 + share.beyond_l2 * (gpu.latency.memory - gpu.latency.l2)) {
  for (uint32_t i = 0; i < cluster_blocks; ++i) multiprocessors_.push_back(std::make_unique<Multiprocessor>());
}
Replay::~Replay() = default;

// --- blocks ----------------------------------------------------------------------------------------------------------

void Replay::begin(const ClusterTrace& trace, uint32_t slot, double at) {
  auto instance = std::make_unique<Instance>();
  instance->slot = slot;
  instance->end = at;
  for (uint32_t rank = 0; rank < trace.size(); ++rank) {
    Multiprocessor& m = *multiprocessors_[rank];
    for (uint32_t index = 0; index < trace[rank].warps.size(); ++index) {
      const WarpTrace& t = trace[rank].warps[index];
      if (index % 4 == 0) {
        instance->products.push_back(std::make_unique<Products>());
        instance->products.back()->multiprocessor = &m;
      }
      auto w = std::make_unique<Warp>();
      w->trace = &t;
      w->instance = instance.get();
      w->multiprocessor = &m;
      w->products = instance->products.back().get();
      ++w->products->warps;
      w->rank = rank;
      w->quarter = m.warps++ % quarters;
      w->at = at;
      w->ready.assign(ops_.registers, 0);
      w->why.assign(ops_.registers, Stall::arithmetic);
      for (const TraceDetail& d : t.details)
        if (d.role == TraceDetail::Role::arrival) ++instance->phases[{d.object, d.phase}].expected;
      ++instance->live;
      instance->warps.push_back(std::move(w));
    }
  }
  std::vector<Warp*> all;
  for (auto& w : instance->warps) all.push_back(w.get());
  instances_.push_back(std::move(instance));
  running_.insert(running_.end(), all.begin(), all.end());
  for (Warp* w : all) prepare(*w);
}

void Replay::finish(Warp& w) {
  if (std::erase(running_, &w) == 0) return; // it has been released, and now what it waited for has come
  Instance& instance = *w.instance;
  instance.end = std::max(instance.end, w.at);
  w.ready = {}, w.why = {};
  end_ = std::max(end_, w.at);
  if (--instance.live > 0) return;
  if (waiting_.empty()) return;
  const ClusterTrace* next = waiting_.back();
  waiting_.pop_back();
  begin(*next, instance.slot, instance.end + gpu_.block_start);
}

// --- what a warp waits for -------------------------------------------------------------------------------------------

/// Reads the next instruction and says when it can issue at the earliest, or that this is not known yet.
void Replay::prepare(Warp& w) {
  w.blocked = false;
  if (w.holds && !w.released) {
    if (w.holds->arrived < w.holds->expected) {
      w.blocked = true;
      w.holds->waiting.push_back(&w);
      return;
    }
    const double time =
        std::max(w.at, w.holds->complete + gpu_.latency.barrier + gpu_.latency.barrier_warp * w.holds->expected);
    result_.instructions[w.holder].stalls[index(Stall::barrier)] += time - w.at;
    w.at = time;
  }
  w.holds = nullptr;
  if (!w.op) {
    if (w.word == w.trace->words.size()) return finish(w);
    w.counter = w.trace->words[w.word++];
    w.op = &ops_.ops[w.counter];
    w.first_detail = w.detail;
    while (w.word < w.trace->words.size() && w.trace->words[w.word] == WarpTrace::detail) ++w.word, ++w.detail;
    w.detail_count = w.detail - w.first_detail;
    w.released = false;
  }
  const ReplayOp& op = *w.op;
  w.earliest = w.at;
  auto after = [&](double time, Stall stall) {
    if (time <= w.earliest) return;
    w.earliest = time;
    w.reason = stall;
  };
  double& code = w.multiprocessor->code[w.counter];
  if (code == 0)
    code = w.multiprocessor->fetched = std::max(w.at, w.multiprocessor->fetched) + gpu_.instruction_fetch * op.issue;
  after(code, Stall::instructions);
  for (uint32_t r : op.reads) after(w.ready[r], w.why[r]);
  auto groups = [&](const std::vector<double>& ends) {
    for (size_t i = 0; i + op.pending < ends.size(); ++i) after(ends[i], Stall::copies);
  };
  switch (op.kind) {
  case Kind::copy_wait:
    if (op.pending == none)
      after(w.all_copies, Stall::copies);
    else
      groups(w.copies);
    break;
  case Kind::bulk_wait: groups(op.only_reads ? w.bulk_reads : w.bulk); break;
  case Kind::product_wait: {
    if (w.product_groups.size() <= op.pending) break;
    const size_t need = w.product_groups[w.product_groups.size() - 1 - op.pending];
    if (need == 0) break;
    const Products::One& last = w.products->all[need - 1];
    if (last.end >= 0) {
      after(last.end + last.latency, Stall::products);
    } else if (!w.released) {
      w.blocked = true;
      w.products->waiting.push_back(&w);
    }
    break;
  }
  case Kind::synchronize:
    for (size_t i = w.first_detail; i < w.detail && !w.released; ++i) {
      const TraceDetail& d = w.trace->details[i];
      if (d.role != TraceDetail::Role::wait || d.phase == 0) continue;
      auto it = w.instance->phases.find({d.object, d.phase - 1});
      if (it == w.instance->phases.end()) continue;
      Phase& phase = it->second;
      if (i > w.first_detail && w.trace->details[i - 1].object == d.object) continue; // it arrives first: issue()
      const bool mbarrier = d.object != cluster_barrier_object;
      if (phase.arrived >= phase.expected)
        after(phase.complete + (mbarrier ? gpu_.latency.mbarrier_arrival : gpu_.latency.cluster_barrier),
              mbarrier ? Stall::mbarrier : Stall::barrier);
      else {
        w.blocked = true;
        w.reason = mbarrier ? Stall::mbarrier : Stall::barrier;
        phase.waiting.push_back(&w);
      }
    }
    break;
  default: break;
  }
}

void Replay::wake(std::vector<Warp*>& waiting) {
  for (Warp* w : std::exchange(waiting, {})) prepare(*w);
}

/// Nobody can go on: the trace was broken off, or orders what happens here differently. Whoever waits longest goes on.
void Replay::release_first_blocked() {
  // It is in the list of what it waits for, too, and will be looked at once more when that comes.
  Warp* first = *std::min_element(running_.begin(), running_.end(), [](Warp* a, Warp* b) { return a->at < b->at; });
  first->released = true;
  prepare(*first);
}

// --- instructions ----------------------------------------------------------------------------------------------------

double Replay::gate(const Warp& w) const {
  const Multiprocessor& m = *w.multiprocessor;
  if (w.op->unit == Resource::shared_memory) return m.load_store - gpu_.memory_queue;
  if (w.op->kind != Kind::plain || w.op->unit == Resource::issue) return 0;
  return m.unit[index(w.op->unit)][w.quarter];
}

/// When the last of these sectors passes between L2 and the multiprocessor, whose port has so many bytes a cycle.
double Replay::transfer(Multiprocessor& m, double at, uint32_t sectors, double port) {
  const double bytes = 32.0 * sectors, l2 = bytes / std::min(port, share_.l2),
               memory = bytes * share_.beyond_l2 / share_.memory;
  m.l2 = std::max(m.l2, at) + l2;
  m.memory = std::max(m.memory, at) + memory;
  result_.busy[index(Resource::l2)] += l2;
  result_.busy[index(Resource::memory)] += memory;
  return std::max(m.l2, m.memory);
}

/// Through the load/store unit: `ready` is when a result is there, `arrived` when data have come that go elsewhere.
void Replay::access(Warp& w, double at, double& ready, double& arrived) {
  Multiprocessor& m = *w.multiprocessor;
  ready = arrived = at;
  for (size_t i = w.first_detail; i < w.detail; ++i) {
    const TraceDetail& d = w.trace->details[i];
    double wavefronts = d.wavefronts + d.lines;
    if (wavefronts == 0) continue;
    const double begin = std::max(m.load_store, at);
    if (d.lines == 0 && begin < m.products_end) wavefronts /= m.beside;
    m.load_store = begin + wavefronts;
    result_.busy[index(Resource::shared_memory)] += wavefronts;
    const double through = m.load_store - 1;
    if (w.op->stores) {
      w.stored = transfer(m, through, d.sectors, gpu_.l2_port_store) + gpu_.latency.store;
      m.stored = std::max(m.stored, w.stored);
    } else if (d.lines == 0)
      ready = std::max(ready, begin + gpu_.latency.shared + (wavefronts - 1) * gpu_.latency.shared_wavefront);
    else if (d.sectors == 0)
      ready = std::max(ready, through + gpu_.latency.l1);
    else
      ready = std::max(ready, transfer(m, through, d.sectors, gpu_.l2_port) + load_latency_);
  }
  arrived = ready;
}

void Replay::arrive(Warp& w, const TraceDetail& d, double at) {
  if (d.rank != w.rank && d.object != cluster_barrier_object) at += gpu_.latency.remote; // assumed: as a load
  Phase& phase = w.instance->phases[{d.object, d.phase}];
  phase.complete = std::max(phase.complete, at);
  if (++phase.arrived == phase.expected) wake(phase.waiting);
}

/// Products that all warps of the warpgroup have issued; while they work, nothing else does on the tensor cores.
void Replay::multiply(Products& p) {
  auto& tensor = p.multiprocessor->unit[index(Resource::tensor)];
  for (; p.done < p.all.size() && p.all[p.done].issued >= p.warps; ++p.done) {
    Products::One& one = p.all[p.done];
    const double begin = std::max(one.at, *std::max_element(tensor.begin(), tensor.end()));
    one.end = begin + one.cycles;
    tensor.fill(one.end);
    p.multiprocessor->products_end = one.end;
    p.multiprocessor->beside = one.beside;
  }
  wake(p.waiting);
}

/// An instruction that only computes. Returns when its result is there.
double Replay::compute(Warp& w, double at) {
  const ReplayOp& op = *w.op;
  Multiprocessor& m = *w.multiprocessor;
  double ready = at;
  if (op.unit == Resource::shared_memory) {
    const double begin = std::max(m.load_store, at);
    m.load_store = begin + op.cycles;
    ready = begin + op.latency;
  } else if (op.unit != Resource::issue)
    m.unit[index(op.unit)][w.quarter] = at + op.cycles;
  if (op.unit != Resource::issue) result_.busy[index(op.unit)] += op.cycles;
  return std::max(ready, at + std::max(op.latency, op.cycles) + op.issue - std::min(op.issue, 1.0));
}

void Replay::copy_in_bulk(Warp& w, double at) {
  Multiprocessor& m = *w.multiprocessor;
  double end = at + gpu_.latency.remote; // of what is not from global memory
  for (size_t i = w.first_detail; i < w.detail; ++i) {
    const TraceDetail& d = w.trace->details[i];
    if (i > w.first_detail && w.op->once) break;
    result_.busy[index(Resource::shared_memory)] += d.wavefronts;
    if (d.role != TraceDetail::Role::arrival) {
      const double through = transfer(m, at, d.sectors, gpu_.l2_port_store), read = through + gpu_.latency.bulk_read;
      w.open_bulk_reads = std::max(w.open_bulk_reads, read);
      w.open_bulk = std::max(w.open_bulk, read + gpu_.latency.bulk_read); // as much again
      m.stored = std::max(m.stored, through + gpu_.latency.store);
      continue;
    }
    // What goes to several blocks comes once. The table's latencies are until a wait has seen it.
    if (d.sectors)
      end = transfer(m, at, d.sectors, gpu_.l2_port_bulk) + load_latency_ + w.op->latency - gpu_.latency.mbarrier -
            gpu_.latency.mbarrier_arrival;
    arrive(w, d, end);
  }
}

void Replay::start_product(Warp& w, double at) {
  const ReplayOp& op = *w.op;
  Products& p = *w.products;
  if (p.all.size() == w.products_issued) p.all.emplace_back();
  Products::One& one = p.all[w.products_issued++];
  double wavefronts = 0;
  for (size_t i = w.first_detail; i < w.detail; ++i) wavefronts += w.trace->details[i].wavefronts;
  if (one.issued++ == 0) {
    // Operands stream from shared memory while it multiplies, unless there are too many of them.
    one.cycles = std::max(op.cycles, wavefronts);
    one.latency = op.latency;
    one.beside = op.beside;
    result_.busy[index(Resource::tensor)] += quarters * op.cycles;
    result_.busy[index(Resource::shared_memory)] += wavefronts;
  }
  one.at = std::max(one.at, at);
  multiply(p);
}

/// Arrivals, which count from `arrives` on, and waits. Returns when its result is there.
double Replay::synchronize(Warp& w, double at, double arrives) {
  double ready = at, through = at;
  access(w, at, ready, through);
  for (size_t i = w.first_detail; i < w.detail; ++i) {
    const TraceDetail& d = w.trace->details[i];
    if (d.role == TraceDetail::Role::arrival)
      arrive(w, d, arrives + (d.object == cluster_barrier_object ? w.op->latency : 0));
    else if (d.role == TraceDetail::Role::wait && i > w.first_detail && w.trace->details[i - 1].object == d.object)
      w.holds = &w.instance->phases[{d.object, d.phase - 1}], w.holder = w.counter;
  }
  return std::max(ready, at + w.op->latency);
}

void Replay::issue(Warp& w, double at) {
  const ReplayOp& op = *w.op;
  Multiprocessor& m = *w.multiprocessor;
  InstructionEstimate& known = result_.instructions[w.counter];
  const double unit_free = gate(w);
  ++known.issued;
  known.stalls[index(w.reason)] += std::max(0.0, w.earliest - w.at);
  const double unit_wait = std::max(0.0, std::min(unit_free, at) - w.earliest);
  known.stalls[index(op.unit == Resource::shared_memory ? Stall::memory_queue : Stall::unit_busy)] += unit_wait;
  known.stalls[index(Stall::not_selected)] += std::max(0.0, at - w.earliest - unit_wait);
  known.stalls[index(Stall::issue)] += op.issue;

  m.scheduler[w.quarter] = at + op.issue;
  result_.busy[index(Resource::issue)] += op.issue;
  w.at = at + op.issue;
  double ready = at, arrived = at;
  switch (op.kind) {
  case Kind::plain: ready = compute(w, at); break;
  case Kind::access: access(w, at, ready, arrived); break;
  case Kind::copy:
    access(w, at, ready, arrived);
    w.open_copies = std::max(w.open_copies, arrived);
    w.all_copies = std::max(w.all_copies, arrived);
    break;
  case Kind::copy_commit: w.copies.push_back(std::exchange(w.open_copies, 0)); break;
  case Kind::bulk: copy_in_bulk(w, at); break;
  case Kind::bulk_commit:
    w.bulk.push_back(std::exchange(w.open_bulk, 0));
    w.bulk_reads.push_back(std::exchange(w.open_bulk_reads, 0));
    break;
  case Kind::product: start_product(w, at); break;
  case Kind::product_commit: w.product_groups.push_back(w.products_issued); break;
  case Kind::fence:
    ready = at + op.latency;
    if (op.wide) ready = std::max(ready, w.stored);
    known.stalls[index(Stall::fence)] += std::max(0.0, ready - w.at);
    w.at = std::max(w.at, ready);
    break;
  case Kind::copies_arrive: arrived = std::max(at, w.all_copies); [[fallthrough]];
  case Kind::synchronize: ready = synchronize(w, at, std::max(at, arrived)); break;
  case Kind::copy_wait:
  case Kind::bulk_wait:
  case Kind::product_wait: break;
  }
  for (uint32_t r : op.writes) {
    w.ready[r] = ready;
    w.why[r] = op.stall;
  }
  end_ = std::max(end_, w.at);
  w.op = nullptr;
  prepare(w);
}

// --- the clock -------------------------------------------------------------------------------------------------------

ReplayResult Replay::run(const std::vector<const ClusterTrace*>& clusters, uint32_t resident) {
  result_ = {};
  result_.instructions.resize(ops_.ops.size());
  for (uint32_t i = 0; i < result_.instructions.size(); ++i) result_.instructions[i].counter = i;
  for (auto& m : multiprocessors_) m->code.assign(ops_.ops.size(), 0);
  waiting_.assign(clusters.rbegin(), clusters.rend());
  for (uint32_t slot = 0; slot < resident && !waiting_.empty(); ++slot) {
    const ClusterTrace* next = waiting_.back();
    waiting_.pop_back();
    begin(*next, slot, slot * gpu_.block_interval);
  }
  while (!running_.empty()) {
    Warp* best = nullptr;
    double best_time = std::numeric_limits<double>::infinity();
    for (Warp* w : running_) {
      if (w->blocked) continue;
      const double time = std::max({w->earliest, w->multiprocessor->scheduler[w->quarter], gate(*w)});
      if (time < best_time) best = w, best_time = time;
    }
    if (best)
      issue(*best, best_time);
    else
      release_first_blocked();
  }
  // What is under way when the last warp ends still has to get to memory.
  for (const auto& m : multiprocessors_) end_ = std::max({end_, m->stored, m->l2, m->memory, m->load_store});
  result_.cycles = end_;
  for (size_t r = 0; r < result_.busy.size(); ++r) {
    const auto resource = static_cast<Resource>(r);
    const bool whole = resource == Resource::shared_memory || resource == Resource::l2 || resource == Resource::memory;
    result_.busy[r] /= std::max(1.0, end_ * static_cast<double>(multiprocessors_.size()) * (whole ? 1 : quarters));
  }
  return std::move(result_);
}

} // namespace tilejit::runtime::simulator
