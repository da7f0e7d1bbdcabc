// One thread's event loop: descriptors with their handlers, ordered queues of deadlines, and work
// posted by other threads. No ticks: it sleeps until something happens. All calls but post() and
// stop() belong to the loop's thread (or to the owner while the loop does not run).
//
// A handler may unwatch and retire itself or others inside a callback: interest is looked at again
// before each callback, and what was retired is destroyed at the end of the turn, never inside its
// own callback.
//
// After a stall nobody is judged before the queue is read. A process that is stopped, a machine
// that is frozen or overloaded wakes with its timers due and with all that came meanwhile unread.
// So a timer runs only after a look at the descriptors that began when it was due, found all that
// was ready, and brought nothing that has to be looked at again (a new descriptor, a handler that
// left bytes unread); a flood cannot put it off for longer than kPostponedMax
// (kJudgingPostponedMax). And timers that judge a peer (call_awake_at) run by a clock that stands
// still while the loop does.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/fd.h"
#include "base/timers.h"
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

  // The system would not watch its descriptor, or not for this interest: it is watched no more and
  // hears nothing. Called by the loop in the turn after it was refused, unless it is unwatched by
  // then. Must not throw.
  virtual void on_refused(int error) = 0;

 private:
  friend class EventLoop;
  int fd_ = -1;
  Interest interest_ = Interest::kNone;
  Trigger trigger_ = Trigger::kReady;
  bool urgent_ = false;
  // An errno that it is not told yet; and lists of those, and of those that are retired: here, so that
  // a loop without memory goes on.
  int refused_ = 0;
  EventHandler* next_refused_ = nullptr;
  std::unique_ptr<EventHandler> next_retired_;
};

// Deadlines that somebody else keeps, and the loop looks after. kNever: there is none.
class Timed {
 public:
  virtual ~Timed() = default;
  virtual Instant next() const = 0;
  // Of those that judge a peer, as awake_now().
  virtual Instant next_awake() const = 0;
  // All that came before these moments is handled.
  virtual void run_due(Instant until, Instant awake_until) = 0;
};

class EventLoop {
 public:
  using Task = Timers::Task;
  using TimerId = Timers::Id;

  // How long a flood of events can put off timers that are due.
  static constexpr Duration kPostponedMax = std::chrono::milliseconds(50);
  static constexpr Duration kJudgingPostponedMax = std::chrono::seconds(2);

  // Throws kConnection when the system has no descriptor for it.
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
  // What was read is not handled yet: timers wait for it as for what is unread.
  void leave_unhandled() { unread_ = true; }
  void set_interest(EventHandler& handler, Interest interest);
  void unwatch(EventHandler& handler);
  // Destroys the handler at the end of this turn.
  void retire(std::unique_ptr<EventHandler> handler) noexcept;

  // Runs when all that came before `at` is handled.
  TimerId call_at(Instant at, Task task);
  // For what a peer should have done by `at`, a moment of awake_now().
  TimerId call_awake_at(Instant at, Task task);
  void cancel(const TimerId& timer);
  // Which lives as long as the loop runs.
  void look_after(Timed& timed) { timed_ = &timed; }

  // Time without that in which the loop was stalled. Starts with now(), never goes back by itself;
  // a stall is left out as soon as the loop goes on.
  Instant awake_now() const { return moment().awake; }
  // Both, of one moment.
  Moment moment() const;
  // A moment of now() as one of awake_now(), if the loop is not stalled until then.
  Instant awake(Instant at) const { return at - stalled_; }

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

  void note(EventHandler& handler, int error) noexcept;
  void tell_refused();
  void forget_retired();
  bool end_turn();
  void call_ready(bool urgent);
  void run_posted();
  void run_timers();
  Instant next() const;
  Instant next_awake() const;
  void look();
  void leave_out(Duration stall);
  Duration time_to_sleep(Instant current) const;

  std::unique_ptr<Poller> poller_;
  std::unique_ptr<WakeUp> wake_up_;
  std::vector<Poller::Event> events_;
  EventHandler* refused_ = nullptr;
  std::unique_ptr<EventHandler> retired_;
  static constexpr uint64_t kFirstAwakeTimer = uint64_t{1} << 63;
  Timers timers_;
  Timers awake_timers_{kFirstAwakeTimer};
  Timed* timed_ = nullptr;
  std::function<bool()> end_of_turn_;
  bool more_to_do_ = false;
  bool running_ = true;

  // The times are kept while there are timers; zero is none.
  Duration stalled_{};    // of the time so far
  Instant look_began_{};  // of this turn
  Instant turn_began_{};  // when its look was over
  Instant read_up_to_{};  // all that came before is handled
  bool unread_ = false;   // since the look of this turn: something has to be looked at again
  uint64_t turns_since_stall_ = 0;
  Instant unread_since_{};  // the first of the turns that left something, as awake_now()

  std::atomic<bool> any_posted_ = false;  // spares the turns without posted work the lock
  std::mutex mutex_;                      // protects posted_
  std::vector<Task> posted_;
};

}  // namespace rdzv
