// One thread's event loop: descriptors with their handlers, one ordered queue of deadlines, and
// work posted by other threads. No ticks: it sleeps until something happens. All calls but post()
// and stop() belong to the loop's thread (or to the owner while the loop does not run).
//
// A handler may unwatch and retire itself or others inside a callback: interest is looked at again
// before each callback, and what was retired is destroyed at the end of the turn, never inside its
// own callback.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/fd.h"
#include "net/poller.h"

namespace rdzv {

class EventHandler {
 public:
  EventHandler() = default;
  EventHandler(const EventHandler&) = delete;
  EventHandler& operator=(const EventHandler&) = delete;
  virtual ~EventHandler() = default;

  // Must not throw.
  virtual void on_ready(bool readable, bool writable) = 0;

 private:
  friend class EventLoop;
  int fd_ = -1;
  Interest interest_ = Interest::kNone;
  Trigger trigger_ = Trigger::kReady;
  bool urgent_ = false;
};

class EventLoop {
 public:
  using Task = std::function<void()>;
  using TimerId = std::pair<Instant, uint64_t>;

  EventLoop();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  void watch(int fd, Interest interest, EventHandler& handler);
  // As watch(), and in each turn it is called before those that are not urgent.
  void watch_urgent(int fd, Interest interest, EventHandler& handler);
  // As watch(), for less of the kernel's time: the handler is perhaps called only once for what has
  // come, so it reads until a read finds less than it asked for, and writes until the descriptor
  // takes no more. Whoever stops before says so with call_again().
  void watch_events(int fd, Interest interest, EventHandler& handler);
  // The handler is called in a later turn if its descriptor is ready, as if that were news.
  void call_again(EventHandler& handler);
  void set_interest(EventHandler& handler, Interest interest);
  void unwatch(EventHandler& handler);
  // Destroys the handler at the end of this turn.
  void retire(std::unique_ptr<EventHandler> handler);

  TimerId call_at(Instant at, Task task);
  void cancel(const TimerId& timer);

  // Runs once before the loop sleeps again: where replies are written, gathered. True: it has more
  // to do, so the next turn begins at once.
  void set_end_of_turn(std::function<bool()> task) { end_of_turn_ = std::move(task); }

  // Any thread: run the task on the loop's thread, soon.
  void post(Task task);
  // Any thread: let run() return after this turn.
  void stop();

  void run();

 private:
  class WakeUp;

  void call_ready(bool urgent);
  void run_posted();
  void run_timers();
  Duration time_to_sleep() const;

  std::unique_ptr<Poller> poller_;
  std::unique_ptr<WakeUp> wake_up_;
  std::vector<Poller::Event> events_;
  std::vector<std::unique_ptr<EventHandler>> retired_;
  std::map<TimerId, Task> timers_;
  uint64_t timer_count_ = 0;
  std::function<bool()> end_of_turn_;
  bool more_to_do_ = false;
  bool running_ = true;

  std::atomic<bool> any_posted_ = false;  // spares the turns without posted work the lock
  std::mutex mutex_;                      // protects posted_
  std::vector<Task> posted_;
};

}  // namespace rdzv
