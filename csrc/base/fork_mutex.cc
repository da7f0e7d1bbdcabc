#include "base/fork_mutex.h"

#include <pthread.h>

#include <atomic>
#include <utility>

namespace rdzv {

// All of this process.
struct ForkMutexes {
  std::mutex mutex;
  ForkMutex* first = nullptr;
  std::atomic<uint64_t> begun{0};

  static ForkMutexes& instance() {
    static ForkMutexes* all = [] {
      auto* made = new ForkMutexes;  // outlives whatever goes at exit
      pthread_atfork(&before_fork, &after_fork_in_parent, &after_fork_in_child);
      return made;
    }();
    return *all;
  }

  void add(ForkMutex& one) {
    std::lock_guard lock(mutex);
    one.next_ = first;
    if (first != nullptr) first->previous_ = &one;
    first = &one;
  }

  void remove(ForkMutex& one) {
    std::lock_guard lock(mutex);
    (one.previous_ != nullptr ? one.previous_->next_ : first) = one.next_;
    if (one.next_ != nullptr) one.next_->previous_ = one.previous_;
  }

  static void before_fork() {
    ForkMutexes& all = instance();
    all.mutex.lock();
    all.begun.fetch_add(1, std::memory_order_relaxed);
    for (ForkMutex* one = all.first; one != nullptr; one = one->next_) one->mutex_.lock();
  }

  static void after_fork_in_parent() { unlock_all(); }

  static void after_fork_in_child() {
    for (ForkMutex* one = instance().first; one != nullptr; one = one->next_) {
      if (one->in_child_) one->in_child_();
    }
    unlock_all();
  }

  static void unlock_all() {
    ForkMutexes& all = instance();
    for (ForkMutex* one = all.first; one != nullptr; one = one->next_) one->mutex_.unlock();
    all.mutex.unlock();
  }
};

uint64_t forks_begun() {
  return ForkMutexes::instance().begun.load(std::memory_order_relaxed);
}

ForkMutex::ForkMutex(std::function<void()> in_child) : in_child_(std::move(in_child)) {
  ForkMutexes::instance().add(*this);
}

ForkMutex::~ForkMutex() {
  ForkMutexes::instance().remove(*this);
}

}  // namespace rdzv
