#include "tests/runtime/simulator/peers/children.h"

#include "runtime/device.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace tilejit::peers {
namespace {

using Clock = std::chrono::steady_clock;

struct Header {
  uint64_t good, bytes;
};

void send(int to, const Outcome& outcome) {
  const Header header{outcome.good, outcome.text.size()};
  std::string all(reinterpret_cast<const char*>(&header), sizeof header);
  all += outcome.text;
  for (size_t sent = 0; sent < all.size();) {
    ssize_t n = write(to, all.data() + sent, all.size() - sent);
    if (n <= 0) std::_Exit(1);
    sent += static_cast<size_t>(n);
  }
}

/// A child, what it has sent so far, and the item that it is at.
struct Child {
  size_t item = 0;
  pid_t process = 0;
  int from = -1;
  std::string received;
  Clock::time_point since;
  bool killed = false;

  void start(size_t count, size_t step, const std::function<std::string(size_t)>& work) {
    int ends[2];
    if (pipe(ends) != 0) throw runtime::Error("cannot make a pipe");
    std::fflush(nullptr);
    process = fork();
    if (process < 0) throw runtime::Error("cannot start a process");
    if (process == 0) {
      close(ends[0]);
      for (size_t i = item; i < count; i += step) try {
          send(ends[1], {true, work(i)});
        } catch (const std::exception& error) {
          send(ends[1], {false, error.what()});
          break;
        }
      std::fflush(nullptr);
      std::_Exit(0);
    }
    close(ends[1]);
    from = ends[0], received.clear(), since = Clock::now(), killed = false;
  }

  std::string end() {
    close(from);
    from = -1;
    int status = 0;
    waitpid(process, &status, 0);
    if (killed) return "it took too long";
    return WIFSIGNALED(status) ? "the process ended by signal " + std::to_string(WTERMSIG(status))
                               : "the process ended";
  }
};

} // namespace

void in_children(size_t count, size_t jobs, std::chrono::seconds patience,
                 const std::function<std::string(size_t)>& work,
                 const std::function<void(size_t, const Outcome&)>& on_end) {
  std::vector<Child> children(std::min(jobs, count));
  for (size_t i = 0; i < children.size(); ++i) {
    children[i].item = i;
    children[i].start(count, children.size(), work);
  }
  auto done = [&](Child& child, const Outcome& outcome) {
    on_end(child.item, outcome);
    child.item += children.size();
    child.since = Clock::now();
  };
  while (std::ranges::any_of(children, [](const Child& child) { return child.from >= 0; })) {
    std::vector<pollfd> news;
    for (const Child& child : children) news.push_back({.fd = child.from, .events = POLLIN, .revents = 0});
    poll(news.data(), news.size(), 100);
    for (size_t i = 0; i < children.size(); ++i) {
      Child& child = children[i];
      if (child.from < 0) continue;
      if (!child.killed && Clock::now() - child.since > patience) {
        kill(child.process, SIGKILL);
        child.killed = true;
      }
      if (!news[i].revents) continue;
      char buffer[4096];
      ssize_t n = read(child.from, buffer, sizeof buffer);
      if (n > 0) child.received.append(buffer, static_cast<size_t>(n));
      bool failed = false;
      for (Header header; child.received.size() >= sizeof header;) {
        std::memcpy(&header, child.received.data(), sizeof header);
        if (child.received.size() < sizeof header + header.bytes) break;
        failed = !header.good;
        done(child, {header.good != 0, child.received.substr(sizeof header, header.bytes)});
        child.received.erase(0, sizeof header + header.bytes);
      }
      if (n > 0 && !failed) continue;
      std::string why = child.end();
      if (!failed && child.item < count) done(child, {false, why});
      if (child.item < count) child.start(count, children.size(), work);
    }
  }
}

} // namespace tilejit::peers
