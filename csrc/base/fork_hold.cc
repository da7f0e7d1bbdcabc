#include "base/fork_hold.h"

#include <pthread.h>

#include <atomic>
#include <mutex>
#include <utility>

namespace rdzv {

// All of this process.
struct ForkHolds {
  std::mutex mutex;
  ForkHold* first = nullptr;
  std::atomic<uint64_t> begun{0};

  static ForkHolds& instance() {
    static ForkHolds* all = [] {
      auto* made = new ForkHolds;  // outlives whatever goes at exit
      pthread_atfork(&before_fork, &after_fork_in_parent, &after_fork_in_child);
      return made;
    }();
    return *all;
  }

  void add(ForkHold& one) {
    std::lock_guard lock(mutex);
    one.next_ = first;
    if (first != nullptr) first->previous_ = &one;
    first = &one;
  }

  void remove(ForkHold& one) {
    std::lock_guard lock(mutex);
    (one.previous_ != nullptr ? one.previous_->next_ : first) = one.next_;
    if (one.next_ != nullptr) one.next_->previous_ = one.previous_;
  }

  static void before_fork() {
    ForkHolds& all = instance();
    all.mutex.lock();
    all.begun.fetch_add(1, std::memory_order_relaxed);
    for (ForkHold* one = all.first; one != nullptr; one = one->next_) one->lock_(one->mutex_);
  }

  static void after_fork_in_parent() { unlock_all(); }

  static void after_fork_in_child() {
    for (ForkHold* one = instance().first; one != nullptr; one = one->next_) {
      if (one->in_child_) one->in_child_();
    }
    unlock_all();
  }

  static void unlock_all() {
    ForkHolds& all = instance();
    for (ForkHold* one = all.first; one != nullptr; one = one->next_) one->unlock_(one->mutex_);
    all.mutex.unlock();
  }
};

uint64_t forks_begun() {
  return ForkHolds::instance().begun.load(std::memory_order_relaxed);
}

ForkHold::ForkHold(void* mutex, Call lock, Call unlock, std::function<void()> in_child)
    : mutex_(mutex), lock_(lock), unlock_(unlock), in_child_(std::move(in_child)) {
  ForkHolds::instance().add(*this);
}

ForkHold::~ForkHold() {
  ForkHolds::instance().remove(*this);
}

}  // namespace rdzv
