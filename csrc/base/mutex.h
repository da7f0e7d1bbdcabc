// Locks and roles, counted for each thread, so that it is known when a thread holds none.
//
// A signal's handler runs in the middle of a blocking call of ours, on its thread, and may call the
// same store: whatever that call held would be waited for by the one who holds it. So
// throw_if_interrupted() insists that its thread holds nothing (base/interrupt.h), and code that
// may block uses these types, which count; a test refuses the standard ones there.
#pragma once

#include <mutex>

#include "base/clock.h"
#include "base/monotonic_condition.h"

namespace rdzv {

// How many locks and roles this thread holds.
inline constinit thread_local int held_by_this_thread = 0;

class Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void lock() {
    mutex_.lock();
    ++held_by_this_thread;
  }
  void unlock() {
    --held_by_this_thread;
    mutex_.unlock();
  }

 private:
  friend class Condition;
  std::mutex mutex_;
};

using Lock = std::unique_lock<Mutex>;

// A condition variable for Mutex. Who sleeps here holds nothing, but runs no handler either.
class Condition {
 public:
  void notify_one() { changed_.notify_one(); }
  void notify_all() { changed_.notify_all(); }

  void wait_for(Lock& lock, Duration duration) {
    std::unique_lock<std::mutex> bare(lock.mutex()->mutex_, std::adopt_lock);
    changed_.wait_for(bare, duration);
    bare.release();
  }

 private:
  MonotonicCondition changed_;
};

// What only one thread has at a time and others wait for, without a lock: reading a connection,
// writing a file. Lives for as long as the thread has it.
class HeldRole {
 public:
  HeldRole() { ++held_by_this_thread; }
  ~HeldRole() { --held_by_this_thread; }
  HeldRole(const HeldRole&) = delete;
  HeldRole& operator=(const HeldRole&) = delete;
};

}  // namespace rdzv
