#include "net/poller.h"

#include <algorithm>
#include <cerrno>

#include "base/check.h"
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

#if defined(RDZV_EPOLL)

class EpollPoller final : public Poller {
 public:
  EpollPoller() : epoll_(::epoll_create1(EPOLL_CLOEXEC)), ready_(kEventsMax) {
    RDZV_CHECK(epoll_, "epoll_create1 works");
  }

  void add(int fd, Interest interest, Trigger trigger, void* tag) override {
    control(EPOLL_CTL_ADD, fd, interest, trigger, tag);
  }
  void modify(int fd, Interest interest, Trigger trigger, void* tag) override {
    control(EPOLL_CTL_MOD, fd, interest, trigger, tag);
  }
  void remove(int fd) override { ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }

  void wait(Duration timeout, std::vector<Event>& events) override {
    events.clear();
    int count = ::epoll_wait(epoll_.get(), ready_.data(), kEventsMax, poll_timeout_ms(timeout));
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = ready_[static_cast<size_t>(i)];
      bool broken = (event.events & (EPOLLERR | EPOLLHUP)) != 0;
      events.push_back({event.data.ptr, broken || (event.events & EPOLLIN) != 0,
                        broken || (event.events & EPOLLOUT) != 0,
                        (event.events & EPOLLRDHUP) != 0});
    }
  }

 private:
  static constexpr int kEventsMax = 1024;

  static uint32_t mask(Interest interest, Trigger trigger) {
    uint32_t events = (wants(interest, Interest::kRead) ? uint32_t{EPOLLIN} : 0U) |
                      (wants(interest, Interest::kWrite) ? uint32_t{EPOLLOUT} : 0U);
    if (trigger == Trigger::kReady) return events;
    return events | EPOLLET | (wants(interest, Interest::kRead) ? uint32_t{EPOLLRDHUP} : 0U);
  }

  void control(int operation, int fd, Interest interest, Trigger trigger, void* tag) {
    epoll_event event{};
    event.events = mask(interest, trigger);
    event.data.ptr = tag;
    RDZV_CHECK(::epoll_ctl(epoll_.get(), operation, fd, &event) == 0, "epoll takes the descriptor");
  }

  UniqueFd epoll_;
  std::vector<epoll_event> ready_;
};

#else

class PollPoller final : public Poller {
 public:
  void add(int fd, Interest interest, Trigger, void* tag) override {
    index_[fd] = entries_.size();
    entries_.push_back({fd, mask(interest), 0});
    tags_.push_back(tag);
  }

  void modify(int fd, Interest interest, Trigger, void* tag) override {
    size_t at = index_.at(fd);
    entries_[at].events = mask(interest);
    tags_[at] = tag;
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

  void wait(Duration timeout, std::vector<Event>& events) override {
    events.clear();
    int count =
        ::poll(entries_.data(), static_cast<nfds_t>(entries_.size()), poll_timeout_ms(timeout));
    for (size_t i = 0; count > 0 && i < entries_.size(); ++i) {
      short result = entries_[i].revents;
      if (result == 0) continue;
      --count;
      bool broken = (result & (POLLERR | POLLHUP | POLLNVAL)) != 0;
      events.push_back(
          {tags_[i], broken || (result & POLLIN) != 0, broken || (result & POLLOUT) != 0, false});
    }
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
