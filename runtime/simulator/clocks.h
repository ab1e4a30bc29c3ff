// clocks.h - what is ordered before what: vector clocks over everything that touches memory.
//
// Everything that touches memory in an order of its own is an agent with an epoch that only grows: the warps of a
// cluster, the queues of their copies, the matrix products of a warpgroup, and each mbarrier for what completes on it.
// A clock says, for each agent, up to which epoch its accesses are ordered before what is going to happen here. Who
// releases gives its clock away, who acquires takes the maximum.
//
// Some threads may release while the rest of their warp does not: then the warp's accesses up to its last
// synchronisation are given away, and of the later ones only those of these threads.
//
// Agents and epochs are those of one cluster. What is ordered before it in the others is known by their releases, which
// are numbered (sanitize_grid.h).
#pragma once
#include "runtime/simulator/records.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

namespace tilejit::runtime::simulator {

/// For each releaser of a launch, up to which number its releases have been acquired. Copies share their memory: all
/// warps of a block soon know the same.
class Releases {
public:
  uint32_t of(uint32_t releaser) const; ///< 0: none
  void raise(uint32_t releaser, uint32_t number);
  void join(const Releases& o) {
    if (o.numbers_ && o.numbers_ != numbers_) merge(o);
  }
  void clear() { numbers_.reset(); }

private:
  using Numbers = std::vector<std::pair<uint32_t, uint32_t>>; // by releaser, ascending
  void merge(const Releases& o);
  std::shared_ptr<Numbers> numbers_; ///< null: none
};

class Clock {
public:
  Releases releases; ///< of other clusters, and of this one as the others know them

  Clock() = default;
  Clock(const Clock& o) : releases(o.releases), all_(o.all_), singles_(o.singles_) { show(); }
  Clock& operator=(const Clock& o) {
    releases = o.releases;
    all_ = o.all_;
    singles_ = o.singles_;
    show();
    return *this;
  }
  /// Of those that their agents have given as a whole; stays where it is.
  const Epochs* epochs() const { return &epochs_; }

  uint32_t epoch(uint32_t agent) const { return agent < epochs_.count ? epochs_.of[agent] : 0; }
  bool covers(uint32_t agent, uint32_t epoch, uint32_t lane) const {
    return epoch <= this->epoch(agent) || covers_lane(agent, epoch, lane);
  }
  /// By what one lane has given alone.
  bool covers_lane(uint32_t agent, uint32_t epoch, uint32_t lane) const {
    for (const Single& s : singles_)
      if (s.agent == agent && s.lane == lane && epoch <= s.epoch) return true;
    return false;
  }
  void raise(uint32_t agent, uint32_t epoch) {
    grow(agent + 1);
    all_[agent] = std::max(all_[agent], epoch);
  }
  /// Of one lane only.
  void raise(uint32_t agent, uint32_t lane, uint32_t epoch) {
    if (epoch <= this->epoch(agent)) return;
    for (Single& s : singles_)
      if (s.agent == agent && s.lane == lane) {
        s.epoch = std::max(s.epoch, epoch);
        return;
      }
    singles_.push_back({agent, lane, epoch});
  }
  void join(const Clock& o) {
    grow(o.all_.size());
    for (size_t i = 0; i < o.all_.size(); ++i) all_[i] = std::max(all_[i], o.all_[i]);
    if (!singles_.empty()) std::erase_if(singles_, [&](const Single& s) { return s.epoch <= epoch(s.agent); });
    for (const Single& s : o.singles_) raise(s.agent, s.lane, s.epoch);
    releases.join(o.releases);
  }
  bool same_epochs(const Clock& o) const { return all_ == o.all_ && singles_ == o.singles_; }
  void clear() {
    releases.clear();
    all_.clear();
    singles_.clear();
    show();
  }

private:
  struct Single {
    uint32_t agent = 0, lane = 0, epoch = 0;
    bool operator==(const Single&) const = default;
  };
  void grow(size_t agents) {
    if (agents <= all_.size()) return;
    all_.resize(agents);
    show();
  }
  void show() { epochs_ = {all_.data(), static_cast<uint32_t>(all_.size())}; }

  Epochs epochs_;
  std::vector<uint32_t> all_;   ///< by agent
  std::vector<Single> singles_; ///< lanes that are ahead of their agent
};

/// What is ordered before a point of the program: for accesses of the same proxy, or along a path with a fence.
struct Moment {
  Clock before;
  Clock proxied;         ///< between the generic and the asynchronous proxy
  Clock published;       ///< for the whole GPU (where blocks talk to each other)
  Clock offered, mapped; ///< fence.proxy.tensormap: a release; a release, and behind it an acquire

  void join(const Moment& o) {
    before.join(o.before);
    proxied.join(o.proxied);
    published.join(o.published);
    offered.join(o.offered);
    mapped.join(o.mapped);
  }
  void clear() {
    for (Clock* c : {&before, &proxied, &published, &offered, &mapped}) c->clear();
  }
};

/// What strong accesses have given away at each address.
using MomentsByAddress = std::unordered_map<uint64_t, std::shared_ptr<const Moment>>;

struct Agent {
  enum class Kind : uint8_t {
    warp,
    copies,      ///< cp.async of a warp; epoch: how many it has issued
    bulk_reads,  ///< bulk copies of a warp that have a group, as readers of their source; epoch: likewise
    bulk_writes, ///< the same as writers of their destination
    products,    ///< wgmma of a warpgroup; epoch: likewise
    mbarrier,    ///< what completes on it; epoch: the phase
  };
  Kind kind{};
  uint32_t rank = 0, index = 0; ///< the block, and which of its warps, warpgroups or addresses of mbarriers
  uint32_t warp = 0;            ///< of that block or another: who has last issued something for it

  /// Whether accesses go through the generic proxy.
  bool is_generic() const { return kind == Kind::warp || kind == Kind::copies; }
};

/// The agents of a cluster. Warps come first, block by block; the others as they are needed.
class Agents {
public:
  static constexpr uint32_t most = 4095, nobody = ~0u;

  void begin(uint32_t blocks, uint32_t warps) {
    all_.clear();
    numbers_.clear();
    for (uint32_t b = 0; b < blocks; ++b)
      for (uint32_t w = 0; w < warps; ++w) all_.push_back({Agent::Kind::warp, b, w, w});
    mbarriers_left_ =
        most - 5 * static_cast<uint32_t>(all_.size()); // each warp has four more: its queues, its products
  }
  /// `nobody` for an mbarrier where there are too many: only a program with thousands of them gets there.
  uint32_t number(Agent::Kind kind, uint32_t rank, uint32_t index) {
    auto it = numbers_.find({kind, rank, index});
    if (it != numbers_.end()) return it->second;
    if (kind == Agent::Kind::mbarrier) {
      if (mbarriers_left_ == 0) return nobody;
      --mbarriers_left_;
    }
    all_.push_back({kind, rank, index, 0});
    return numbers_[{kind, rank, index}] = static_cast<uint32_t>(all_.size() - 1);
  }
  Agent& operator[](uint32_t number) { return all_[number]; }
  const Agent& operator[](uint32_t number) const { return all_[number]; }
  size_t size() const { return all_.size(); }

private:
  uint32_t mbarriers_left_ = 0;
  std::vector<Agent> all_;
  std::map<std::tuple<Agent::Kind, uint32_t, uint32_t>, uint32_t> numbers_;
};

} // namespace tilejit::runtime::simulator
