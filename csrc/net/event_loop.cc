#include "net/event_loop.h"

#include <fcntl.h>
#include <unistd.h>

#if defined(__linux__)
#include <sys/eventfd.h>
#endif

#include <cerrno>
#include <new>

#include "base/check.h"
#include "base/error.h"

namespace rdzv {
namespace {

// A sleep that was so much too long, or a turn of so long, is one in which the process did not run:
// turns are bounded by work.
constexpr Duration kLate = std::chrono::milliseconds(10);
constexpr Duration kTurnMax = std::chrono::milliseconds(100);
// Nobody knows when within a sleep the stall began. So much of the sleep is left out with it: who
// was heard nothing of has that long after a stall, for a round trip or two.
constexpr Duration kLeftOutMax = std::chrono::milliseconds(200);

// After a stall of so long, so many turns read what came meanwhile before timers run in a flood.
constexpr Duration kLongStall = std::chrono::milliseconds(200);
constexpr uint64_t kTurnsToRead = 16;

constexpr Instant kNone{};

[[noreturn]] void throw_refused(int error) {
  throw Error(ErrorCode::kConnection, "cannot start an event loop: " + refusal_text(error));
}

}  // namespace

// Ends the loop's sleep from another thread.
class EventLoop::WakeUp final : public EventHandler {
 public:
  WakeUp() {
#if defined(__linux__)
    read_.reset(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (!read_) throw_refused(errno);
#else
    int ends[2];
    if (::pipe(ends) != 0) throw_refused(errno);
    for (int end : ends) {
      ::fcntl(end, F_SETFD, FD_CLOEXEC);
      ::fcntl(end, F_SETFL, O_NONBLOCK);
    }
    read_.reset(ends[0]);
    write_.reset(ends[1]);
#endif
  }

  int fd() const { return read_.get(); }

  void signal() {
    uint64_t one = 1;
    // A full pipe or counter (EAGAIN) means that a wake-up is already on its way.
    while (::write(write_ ? write_.get() : read_.get(), &one, sizeof(one)) < 0 && errno == EINTR) {
    }
  }

  // What an interrupted read leaves is reported again.
  void on_ready(bool, bool) override {
    char drained[256];
    while (::read(read_.get(), drained, sizeof(drained)) == static_cast<ssize_t>(sizeof(drained))) {
    }
  }

  // It is taken when the loop is made, or there is no loop.
  void on_refused(int) override {}

 private:
  UniqueFd read_;
  UniqueFd write_;  // unused with eventfd
};

EventLoop::EventLoop() : poller_(Poller::make()), wake_up_(std::make_unique<WakeUp>()) {
  watch(wake_up_->fd(), Interest::kRead, *wake_up_);
  if (refused_ != nullptr) throw_refused(refused_->refused_);
}

EventLoop::~EventLoop() {
  forget_retired();
}

void EventLoop::watch(int fd, Interest interest, EventHandler& handler) {
  RDZV_CHECK(handler.fd_ < 0, "a handler watches one descriptor");
  handler.fd_ = fd;
  handler.interest_ = interest;
  unread_ = true;
  note(handler, poller_->add(fd, interest, handler.trigger_, &handler));
}

void EventLoop::watch_urgent(int fd, Interest interest, EventHandler& handler) {
  handler.urgent_ = true;
  watch(fd, interest, handler);
}

void EventLoop::watch_events(int fd, Interest interest, EventHandler& handler) {
  handler.trigger_ = Trigger::kEvent;
  watch(fd, interest, handler);
}

void EventLoop::call_again(EventHandler& handler) {
  if (handler.fd_ < 0 || handler.refused_ != 0) return;
  unread_ = true;
  note(handler, poller_->modify(handler.fd_, handler.interest_, handler.trigger_, &handler));
}

void EventLoop::set_interest(EventHandler& handler, Interest interest) {
  if (handler.fd_ < 0 || handler.interest_ == interest || handler.refused_ != 0) return;
  if (wants(interest, Interest::kRead) && !wants(handler.interest_, Interest::kRead))
    unread_ = true;
  handler.interest_ = interest;
  note(handler, poller_->modify(handler.fd_, interest, handler.trigger_, &handler));
}

void EventLoop::unwatch(EventHandler& handler) {
  if (handler.fd_ < 0) return;
  if (handler.refused_ != 0) {
    EventHandler** at = &refused_;
    while (*at != &handler) at = &(*at)->next_refused_;
    *at = std::exchange(handler.next_refused_, nullptr);
    handler.refused_ = 0;
  }
  poller_->remove(handler.fd_);
  handler.fd_ = -1;
  handler.interest_ = Interest::kNone;
}

void EventLoop::retire(std::unique_ptr<EventHandler> handler) noexcept {
  unwatch(*handler);
  handler->next_retired_ = std::move(retired_);
  retired_ = std::move(handler);
}

// One by one: a chain of very many would go to pieces on the stack. Going, a handler may retire
// another: that one's turn is the next.
void EventLoop::forget_retired() {
  for (std::unique_ptr<EventHandler> going = std::move(retired_); going != nullptr;)
    going = std::move(going->next_retired_);
}

// What the system answered to a change of what is watched.
void EventLoop::note(EventHandler& handler, int error) noexcept {
  if (error == 0) return;
  handler.interest_ = Interest::kNone;
  handler.refused_ = error;
  handler.next_refused_ = std::exchange(refused_, &handler);
}

void EventLoop::tell_refused() {
  while (refused_ != nullptr) {
    EventHandler& handler = *refused_;
    const int error = handler.refused_;
    unwatch(handler);
    handler.on_refused(error);
  }
}

EventLoop::TimerId EventLoop::call_at(Instant at, Task task) {
  return timers_.call_at(at, std::move(task));
}

EventLoop::TimerId EventLoop::call_awake_at(Instant at, Task task) {
  return awake_timers_.call_at(at, std::move(task));
}

void EventLoop::cancel(const TimerId& timer) {
  (timer.second > kFirstAwakeTimer ? awake_timers_ : timers_).cancel(timer);
}

Instant EventLoop::next() const {
  return timed_ == nullptr ? timers_.next() : std::min(timers_.next(), timed_->next());
}

Instant EventLoop::next_awake() const {
  return timed_ == nullptr ? awake_timers_.next()
                           : std::min(awake_timers_.next(), timed_->next_awake());
}

Moment EventLoop::moment() const {
  const Instant current = now();
  const bool is_timed = turn_began_ != kNone;
  return {current, (is_timed ? std::min(current, turn_began_ + kTurnMax) : current) - stalled_};
}

void EventLoop::post(Task task) {
  {
    std::lock_guard lock(mutex_);
    posted_.push_back(std::move(task));
    any_posted_ = true;
  }
  wake_up_->signal();
}

void EventLoop::stop() {
  post([this] { running_ = false; });
}

void EventLoop::run_posted() {
  if (!any_posted_) return;
  std::vector<Task> tasks;
  {
    std::lock_guard lock(mutex_);
    any_posted_ = false;
    tasks.swap(posted_);
  }
  for (Task& task : tasks) task();
}

void EventLoop::run_timers() {
  // Those that were made in this turn, where there were none before, begin with the next.
  if (turn_began_ == kNone) return;
  const bool is_flood = ++turns_since_stall_ > kTurnsToRead;
  const Instant awake = turn_began_ - stalled_;
  Duration unread_for{};
  if (!unread_) {
    read_up_to_ = look_began_;
    unread_since_ = kNone;
  } else if (unread_since_ == kNone) {
    unread_since_ = awake;
  } else {
    unread_for = awake - unread_since_;
  }
  // The others come in the next turn, so that descriptors are looked at between them.
  constexpr size_t kAtOnce = 128;
  const Instant until = is_flood && unread_for > kPostponedMax ? turn_began_ : read_up_to_;
  const Instant awake_until =
      (is_flood && unread_for > kJudgingPostponedMax ? turn_began_ : read_up_to_) - stalled_;
  timers_.run(until, kAtOnce);
  awake_timers_.run(awake_until, kAtOnce);
  if (timed_ != nullptr) timed_->run_due(until, awake_until);
}

Duration EventLoop::time_to_sleep(Instant current) const {
  if (more_to_do_ || refused_ != nullptr) return Duration::zero();
  Duration left = std::chrono::hours(24);
  if (next() != Timers::kNever) left = std::min(left, next() - current);
  if (next_awake() != Timers::kNever) left = std::min(left, next_awake() + stalled_ - current);
  return std::max(Duration::zero(), left);
}

// Without timers nothing is judged, and the clock need not be read.
void EventLoop::look() {
  if (next() == Timers::kNever && next_awake() == Timers::kNever) {
    poller_->wait(time_to_sleep(kNone), events_);
    turn_began_ = kNone;
    return;
  }
  look_began_ = now();
  if (turn_began_ != kNone && look_began_ - turn_began_ > kTurnMax)
    leave_out(look_began_ - turn_began_ - kTurnMax);
  const Duration wanted = time_to_sleep(look_began_);
  const Poller::Seen seen = poller_->wait(wanted, events_);
  turn_began_ = now();
  const Duration slept = turn_began_ - look_began_;
  const Duration too_long = std::max(Duration::zero(), slept - wanted);
  if (seen == Poller::Seen::kInterrupted) {
    leave_out(too_long + std::min({slept, wanted, kLeftOutMax}));
  } else if (too_long > kLate) {
    // A machine that is merely slow is a little late all the time: its clock shall not stand still.
    leave_out(too_long + std::min({wanted, kLeftOutMax, 4 * too_long}));
  }
  unread_ = more_to_do_ || seen != Poller::Seen::kAll;
}

void EventLoop::leave_out(Duration stall) {
  stalled_ += stall;
  // On a busy machine there is a short one all the time, which must not put off timers in a flood.
  if (stall >= kLongStall) turns_since_stall_ = 0;
}

void EventLoop::call_ready(bool urgent) {
  for (const Poller::Event& event : events_) {
    auto* handler = static_cast<EventHandler*>(event.tag);
    if (handler->urgent_ != urgent) continue;
    bool readable = event.readable && wants(handler->interest_, Interest::kRead);
    bool writable = event.writable && wants(handler->interest_, Interest::kWrite);
    if (!readable && !writable) continue;
    try {
      handler->on_ready(readable, writable);
    } catch (const std::bad_alloc&) {
      // What one peer asked for is more than there is: that one goes, not all of them.
      if (handler->fd_ >= 0 && handler->refused_ == 0) note(*handler, ENOMEM);
      continue;
    }
    // Its handler may have read what came before the end, and no further.
    if (event.ended) call_again(*handler);
  }
}

bool EventLoop::end_turn() {
  try {
    return end_of_turn_ && end_of_turn_();
  } catch (const std::bad_alloc&) {
    return true;  // what is left of it has the next turn
  }
}

void EventLoop::run() {
  while (running_) {
    look();
    tell_refused();
    call_ready(true);
    call_ready(false);
    run_posted();
    run_timers();
    more_to_do_ = end_turn();
    forget_retired();
  }
}

}  // namespace rdzv
