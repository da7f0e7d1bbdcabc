#include "net/event_loop.h"

#include <fcntl.h>
#include <unistd.h>

#if defined(__linux__)
#include <sys/eventfd.h>
#endif

#include "base/check.h"

namespace rdzv {

// Ends the loop's sleep from another thread.
class EventLoop::WakeUp final : public EventHandler {
 public:
  WakeUp() {
#if defined(__linux__)
    read_.reset(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    RDZV_CHECK(read_, "eventfd works");
#else
    int ends[2];
    RDZV_CHECK(::pipe(ends) == 0, "pipe works");
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
    // A full pipe or counter means that a wake-up is already on its way.
    [[maybe_unused]] ssize_t written =
        ::write(write_ ? write_.get() : read_.get(), &one, sizeof(one));
  }

  void on_ready(bool, bool) override {
    char drained[256];
    while (::read(read_.get(), drained, sizeof(drained)) == static_cast<ssize_t>(sizeof(drained))) {
    }
  }

 private:
  UniqueFd read_;
  UniqueFd write_;  // unused with eventfd
};

EventLoop::EventLoop() : poller_(Poller::make()), wake_up_(std::make_unique<WakeUp>()) {
  watch(wake_up_->fd(), Interest::kRead, *wake_up_);
}

EventLoop::~EventLoop() = default;

void EventLoop::watch(int fd, Interest interest, EventHandler& handler) {
  RDZV_CHECK(handler.fd_ < 0, "a handler watches one descriptor");
  handler.fd_ = fd;
  handler.interest_ = interest;
  poller_->add(fd, interest, handler.trigger_, &handler);
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
  if (handler.fd_ < 0) return;
  poller_->modify(handler.fd_, handler.interest_, handler.trigger_, &handler);
}

void EventLoop::set_interest(EventHandler& handler, Interest interest) {
  if (handler.fd_ < 0 || handler.interest_ == interest) return;
  handler.interest_ = interest;
  poller_->modify(handler.fd_, interest, handler.trigger_, &handler);
}

void EventLoop::unwatch(EventHandler& handler) {
  if (handler.fd_ < 0) return;
  poller_->remove(handler.fd_);
  handler.fd_ = -1;
  handler.interest_ = Interest::kNone;
}

void EventLoop::retire(std::unique_ptr<EventHandler> handler) {
  unwatch(*handler);
  retired_.push_back(std::move(handler));
}

EventLoop::TimerId EventLoop::call_at(Instant at, Task task) {
  TimerId id(at, ++timer_count_);
  timers_.emplace(id, std::move(task));
  return id;
}

void EventLoop::cancel(const TimerId& timer) {
  timers_.erase(timer);
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
  if (timers_.empty()) return;
  Instant current = now();
  while (!timers_.empty() && timers_.begin()->first.first <= current) {
    Task task = std::move(timers_.begin()->second);
    timers_.erase(timers_.begin());
    task();
  }
}

Duration EventLoop::time_to_sleep() const {
  if (more_to_do_) return Duration::zero();
  if (timers_.empty()) return std::chrono::hours(24);
  return std::max(Duration::zero(), timers_.begin()->first.first - now());
}

void EventLoop::call_ready(bool urgent) {
  for (const Poller::Event& event : events_) {
    auto* handler = static_cast<EventHandler*>(event.tag);
    if (handler->urgent_ != urgent) continue;
    bool readable = event.readable && wants(handler->interest_, Interest::kRead);
    bool writable = event.writable && wants(handler->interest_, Interest::kWrite);
    if (!readable && !writable) continue;
    handler->on_ready(readable, writable);
    // Its handler may have read what came before the end, and no further.
    if (event.ended) call_again(*handler);
  }
}

void EventLoop::run() {
  while (running_) {
    poller_->wait(time_to_sleep(), events_);
    call_ready(true);
    call_ready(false);
    run_posted();
    run_timers();
    more_to_do_ = end_of_turn_ && end_of_turn_();
    // Going, a handler may retire another: that one's turn is the next.
    std::vector<std::unique_ptr<EventHandler>> going = std::move(retired_);
    retired_.clear();
  }
}

}  // namespace rdzv
