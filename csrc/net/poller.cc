#include "net/poller.h"

#include <algorithm>
#include <cerrno>
#include <thread>

#include "base/check.h"
#include "base/error.h"
#include "base/fd.h"

#if defined(__linux__) && !defined(RDZV_USE_POLL)
#include <sys/epoll.h>
#define RDZV_EPOLL 1
#else
#include <poll.h>

#include <unordered_map>
#endif

namespace rdzv {

int poll_timeout_ms(Duration timeout) {
  auto ms = std::chrono::ceil<std::chrono::milliseconds>(timeout).count();
  return static_cast<int>(std::clamp<long long>(ms, 0, 1'000'000'000));
}

namespace {

// A wait that failed for want of memory would otherwise be tried again at once, for ever.
Poller::Seen after_failed_wait(int error) {
  if (error == EINTR) return Poller::Seen::kInterrupted;
  RDZV_CHECK(error != EBADF && error != EFAULT && error != EINVAL,
             "the poller waits on valid arguments");
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return Poller::Seen::kSome;
}

#if defined(RDZV_EPOLL)

class EpollPoller final : public Poller {
 public:
  EpollPoller() : epoll_(::epoll_create1(EPOLL_CLOEXEC)), ready_(kEventsMax) {
    if (!epoll_)
      throw Error(ErrorCode::kConnection, "cannot wait for events: " + refusal_text(errno));
  }

  int add(int fd, Interest interest, Trigger trigger, void* tag) override {
    return control(EPOLL_CTL_ADD, fd, interest, trigger, tag);
  }
  int modify(int fd, Interest interest, Trigger trigger, void* tag) override {
    return control(EPOLL_CTL_MOD, fd, interest, trigger, tag);
  }
  void remove(int fd) override { ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }

  Seen wait(Duration timeout, std::vector<Event>& events) override {
    events.clear();
    int count = ::epoll_wait(epoll_.get(), ready_.data(), kEventsMax, poll_timeout_ms(timeout));
    if (count < 0) return after_failed_wait(errno);
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = ready_[static_cast<size_t>(i)];
      bool broken = (event.events & (EPOLLERR | EPOLLHUP)) != 0;
      events.push_back({event.data.ptr, broken || (event.events & EPOLLIN) != 0,
                        broken || (event.events & EPOLLOUT) != 0,
                        (event.events & EPOLLRDHUP) != 0});
    }
    return count < kEventsMax ? Seen::kAll : Seen::kSome;
  }

 private:
  static constexpr int kEventsMax = 1024;

  static uint32_t mask(Interest interest, Trigger trigger) {
    uint32_t events = (wants(interest, Interest::kRead) ? uint32_t{EPOLLIN} : 0U) |
                      (wants(interest, Interest::kWrite) ? uint32_t{EPOLLOUT} : 0U);
    if (trigger == Trigger::kReady) return events;
    return events | EPOLLET | (wants(interest, Interest::kRead) ? uint32_t{EPOLLRDHUP} : 0U);
  }

  int control(int operation, int fd, Interest interest, Trigger trigger, void* tag) {
    epoll_event event{};
    event.events = mask(interest, trigger);
    event.data.ptr = tag;
    if (::epoll_ctl(epoll_.get(), operation, fd, &event) == 0) return 0;
    int error = errno;
    RDZV_CHECK(error != EBADF && error != EINVAL && error != ENOENT && error != EEXIST,
               "an open descriptor is registered with epoll once");
    return error;
  }

  UniqueFd epoll_;
  std::vector<epoll_event> ready_;
};

#else

class PollPoller final : public Poller {
 public:
  int add(int fd, Interest interest, Trigger, void* tag) override {
    index_[fd] = entries_.size();
    entries_.push_back({fd, mask(interest), 0});
    tags_.push_back(tag);
    return 0;
  }

  int modify(int fd, Interest interest, Trigger, void* tag) override {
    size_t at = index_.at(fd);
    entries_[at].events = mask(interest);
    tags_[at] = tag;
    return 0;
  }

  void remove(int fd) override {
    size_t at = index_.at(fd);
    index_.erase(fd);
    if (at + 1 != entries_.size()) {
      entries_[at] = entries_.back();
      tags_[at] = tags_.back();
      index_[entries_[at].fd] = at;
    }
    entries_.pop_back();
    tags_.pop_back();
  }

  Seen wait(Duration timeout, std::vector<Event>& events) override {
    events.clear();
    int count =
        ::poll(entries_.data(), static_cast<nfds_t>(entries_.size()), poll_timeout_ms(timeout));
    // EINVAL: more descriptors than the limit of open files, which was lowered.
    if (count < 0) return after_failed_wait(errno == EINVAL ? ENOMEM : errno);
    for (size_t i = 0; count > 0 && i < entries_.size(); ++i) {
      short result = entries_[i].revents;
      if (result == 0) continue;
      --count;
      bool broken = (result & (POLLERR | POLLHUP | POLLNVAL)) != 0;
      events.push_back(
          {tags_[i], broken || (result & POLLIN) != 0, broken || (result & POLLOUT) != 0, false});
    }
    return Seen::kAll;
  }

 private:
  static short mask(Interest interest) {
    return static_cast<short>((wants(interest, Interest::kRead) ? POLLIN : 0) |
                              (wants(interest, Interest::kWrite) ? POLLOUT : 0));
  }

  std::vector<pollfd> entries_;
  std::vector<void*> tags_;
  std::unordered_map<int, size_t> index_;
};

#endif

}  // namespace

std::unique_ptr<Poller> Poller::make() {
#if defined(RDZV_EPOLL)
  return std::make_unique<EpollPoller>();
#else
  return std::make_unique<PollPoller>();
#endif
}

}  // namespace rdzv
