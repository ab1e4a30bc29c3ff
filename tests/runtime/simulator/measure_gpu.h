// measure_gpu.h - what the time estimate's table of a GPU is measured by: kernels written by hand, and what they tell.
#pragma once
#include "runtime/device.h"

#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace tilejit::measure {

inline const double no_value = std::nan("");
/// Parts of 32-bit and 64-bit chains that a kernel may have beside each other.
inline constexpr uint32_t most_chains = 16;

/// A module with one entry, k(out, in, repeats, zero, argument), all .u64: `out` gets clocks, `in` has `input_bytes` of
/// random words, `repeats` is repetitions + rounds of a loop * 2^32, and `zero` is 0, which the assembler can't know:
/// what depends on it is never taken away.
struct Kernel {
  std::string name, ptx;
  uint32_t threads = 32, shared = 0;
  /// For whoever looks at the machine code: what must stand how often between the first two and the next two reads of
  /// the clock, or, in a kernel with a loop, between its only two. A regular expression; empty: not to be counted.
  std::string counted = "";
  uint32_t counted_less = 0, counted_more = 0;
};

struct Result {
  std::string name;
  double value = 0;
  std::string unit;
  double table = no_value; ///< the row of the H100 in gpu_table.cpp
};

/// A kernel refused by the device. The measurements after it can go on.
struct Refused : runtime::Error {
  using runtime::Error::Error;
};

/// When a warp read the clock: around the short and around the long part of a kernel, or both times around its loop.
struct Clocks {
  uint64_t begin_less, end_less, begin_more, end_more;
};
/// The same for all warps of a block, or some of them: from the first begin to the last end.
struct Cycles {
  double less = 0, more = 0;
};

/// The device, and what the measurements share of it.
class Machine {
public:
  static constexpr size_t input_bytes = 4 << 20;
  Machine(const std::string& device, bool brief);

  runtime::Device& device() { return *device_; }
  bool brief() const { return brief_; }
  uint32_t multiprocessors() const { return multiprocessors_; }
  double clock_mhz(); ///< while all multiprocessors calculate; measured when it is first asked for
  std::string title() const { return title_; }

  const runtime::Buffer& input() const { return *input_; }
  /// Memory to write to: one for all that ask, as large as the largest of them wants.
  const runtime::Buffer& space(size_t bytes);
  /// Takes the place of whatever L2 holds.
  void flush_l2();

  std::shared_ptr<runtime::Module> load(const Kernel& kernel);
  /// Loads all of them side by side, so that `load` has them at hand: the assembler takes most of the whole run's time.
  void prepare(const std::vector<const Kernel*>& kernels);
  /// The clocks of all warps, block by block, repetition by repetition; `in` 0: the input.
  std::vector<Clocks> run(runtime::Module& module, uint32_t blocks, uint32_t repeats, uint64_t in = 0,
                          uint64_t argument = 0, uint32_t rounds = 0);
  /// Of the first block's `warps` warps, repetition by repetition, without the first one, which finds cold caches.
  std::vector<Cycles> cycles(runtime::Module& module, uint32_t blocks, uint32_t warps, uint64_t in = 0,
                             uint64_t argument = 0, uint32_t rounds = 0);
  /// Milliseconds of a launch.
  double time(runtime::Module& module, uint32_t blocks, uint64_t in, uint64_t argument, uint32_t launches = 1);
  uint32_t repeats() const { return brief_ ? 2 : 7; }

private:
  struct Prepared {
    std::shared_ptr<runtime::Module> module;
    std::string refusal;
  };
  void reserve_out(size_t bytes);
  Prepared try_load(const Kernel& kernel);
  std::map<const Kernel*, Prepared> prepared_;
  std::shared_ptr<runtime::Device> device_;
  bool brief_;
  uint32_t multiprocessors_ = 0;
  double clock_mhz_ = 0;
  std::string title_;
  std::shared_ptr<runtime::Buffer> input_, out_, space_, flush_;
};

struct Measurement {
  std::string group, name;
  std::vector<Kernel> kernels;
  std::function<std::vector<Result>(Machine&, const std::vector<Kernel>&)> run;
};

double median(std::vector<double> values);
std::string number(uint64_t n);
/// `text` with each `from` replaced.
std::string replaced(std::string text, const std::string& from, const std::string& to);

/// What a kernel of two measured parts, or of one measured loop, is made of. In the texts, registers %x<16>, %y<16>,
/// %z<16>, %w<16> (.b32), %dx<16>, %dy<16>, %dz<16> (.b64), %hx<16> (.b16), %c<128> (.f32), %i<128> (.b32) and %fd<32>
/// (.f64) last from one repetition to the next, and the first four and %dx to %dz begin as random words; %a<32> (.b32),
/// %rd<32>, %t<16>, %th<16>, %tf<16> and %p<16> are free; %r0 is the thread, %r1 the shared memory's address after 1024
/// bytes that begin with 16 mbarriers, %rd1 = in, %rd3 = argument, %rd4 = zero.
struct Parts {
  std::string name, setup, less, more;
  std::string body = "";   ///< instead of `less` and `more`: what the loop does each round
  std::string finish = ""; ///< what comes behind the loop and before the clock is read
  uint32_t threads = 32;
  uint32_t shared = 16384;
  uint32_t cluster = 0;
  uint32_t since = 80;             ///< PTX version * 10
  bool one_thread = false;         ///< all other threads end at once
  std::string background = "";     ///< what `background_threads` more threads do over and over meanwhile
  std::string background_end = ""; ///< what they do at last
  uint32_t background_threads = 0;
  std::string counted = ""; ///< see Kernel
  uint32_t counted_less = 0, counted_more = 0;
};
Kernel kernel_of(const Parts& parts);
/// What a multiprocessor does of something in a cycle, `work` in each round of the kernel's loop. `with_space`: its
/// argument is memory that it may write.
Measurement rate_of(const std::string& group, const Parts& parts, double work, const std::string& unit, double table,
                    bool with_space = false);
Kernel clock_kernel(); ///< see Machine::clock_mhz

std::vector<Measurement> latencies();
std::vector<Measurement> asynchronous_latencies();
std::vector<Measurement> throughputs();
std::vector<Measurement> product_throughputs();
std::vector<Measurement> whole_gpu();

} // namespace tilejit::measure
