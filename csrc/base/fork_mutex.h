// A mutex that no forked child inherits locked by a thread which it does not have: whoever forks
// takes all of them first, so that what they protect is whole in the child too.
//
// Whoever holds one waits for nothing but the processor: not for the disk, the network, Python, or
// another of these. Else fork() would wait for it, too. Any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>

namespace rdzv {

class ForkMutex {
 public:
  // `in_child`: called in the child, which has one thread, with the mutex held: to let go of what
  // belongs to the parent's threads. Whatever it speaks of outlives this object, so declare this
  // one behind it. It makes and destroys no ForkMutex.
  explicit ForkMutex(std::function<void()> in_child = nullptr);
  ForkMutex(const ForkMutex&) = delete;
  ForkMutex& operator=(const ForkMutex&) = delete;
  ~ForkMutex();

  // For locks and condition variables.
  std::mutex& get() { return mutex_; }

 private:
  friend struct ForkMutexes;

  std::mutex mutex_;
  std::function<void()> in_child_;
  ForkMutex* next_ = nullptr;
  ForkMutex* previous_ = nullptr;
};

// How many forks this process has begun. Who reads it twice, each time with a ForkMutex held, sees
// whether there was one in between.
uint64_t forks_begun();

}  // namespace rdzv
