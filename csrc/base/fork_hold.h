// Holds a mutex over every fork: no child inherits it locked by a thread that it does not have, and
// what it protects is whole in the child too.
//
// Whoever locks such a mutex waits for nothing but the processor: not for the disk, the network,
// Python, or another of these. Else fork() would wait for it, too. Any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>

namespace rdzv {

class ForkHold {
 public:
  // `in_child`: called in the child, which has one thread, with the mutex held: to let go of what
  // belongs to the parent's threads. It makes and destroys no ForkHold. Both arguments outlive this
  // object, so declare it behind what they speak of.
  template <typename Mutex>
  explicit ForkHold(Mutex& mutex, std::function<void()> in_child = nullptr)
      : ForkHold(
            &mutex, [](void* held) { static_cast<Mutex*>(held)->lock(); },
            [](void* held) { static_cast<Mutex*>(held)->unlock(); }, std::move(in_child)) {}
  ForkHold(const ForkHold&) = delete;
  ForkHold& operator=(const ForkHold&) = delete;
  ~ForkHold();

 private:
  friend struct ForkHolds;
  using Call = void (*)(void* mutex);

  ForkHold(void* mutex, Call lock, Call unlock, std::function<void()> in_child);

  void* mutex_;
  Call lock_;
  Call unlock_;
  std::function<void()> in_child_;
  ForkHold* next_ = nullptr;
  ForkHold* previous_ = nullptr;
};

// How many forks this process has begun. Who reads it twice, each time with a held mutex locked,
// sees whether there was one in between.
uint64_t forks_begun();

}  // namespace rdzv
