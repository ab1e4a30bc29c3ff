#include "tools/progress.h"

#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <thread>
#include <unistd.h>

namespace tilejit::tools {

double with_progress(const std::string& what, const std::function<void()>& work, const std::function<double()>& share) {
  using Clock = std::chrono::steady_clock;
  Clock::time_point start = Clock::now();
  auto seconds = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  bool terminal = isatty(STDERR_FILENO);
  bool done = false, shown = false;
  std::mutex mutex;
  std::condition_variable wake;
  std::thread watcher([&] {
    std::unique_lock lock(mutex);
    auto pause = terminal ? std::chrono::milliseconds(500) : std::chrono::milliseconds(10000);
    while (!wake.wait_for(lock, pause, [&] { return done; })) {
      double part = share ? share() : -1;
      std::string percent = part >= 0 ? ", " + std::to_string(static_cast<int>(part * 100)) + "%" : "";
      std::fprintf(stderr, "%s  ... %s, %.0f s%s%s", terminal ? "\r" : "", what.c_str(), seconds(), percent.c_str(),
                   terminal ? "   " : "\n");
      std::fflush(stderr);
      shown = true;
    }
  });
  struct Stop { // also when the work throws
    std::function<void()> stop;
    ~Stop() { stop(); }
  } stop{[&] {
    {
      std::lock_guard lock(mutex);
      done = true;
    }
    wake.notify_one();
    watcher.join();
    if (terminal && shown) std::fprintf(stderr, "\r%*s\r", static_cast<int>(what.size()) + 32, "");
  }};
  work();
  return seconds();
}

} // namespace tilejit::tools
