// A condition variable whose time-outs follow the monotonic clock, whatever the C library.
//
// std::condition_variable does so only where it was compiled against a C library that has
// pthread_cond_clockwait (glibc 2.30). Compiled against an older one, as a wheel for many systems
// is, it waits by the wall clock, and a clock that is set back makes a wait of seconds one of hours.
#pragma once

#include <pthread.h>

#include <mutex>

#include "base/clock.h"

namespace rdzv {

class MonotonicCondition {
 public:
  MonotonicCondition() {
    pthread_condattr_t attributes;
    ::pthread_condattr_init(&attributes);
#if !defined(__APPLE__)
    ::pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
#endif
    ::pthread_cond_init(&condition_, &attributes);
    ::pthread_condattr_destroy(&attributes);
  }
  ~MonotonicCondition() { ::pthread_cond_destroy(&condition_); }
  MonotonicCondition(const MonotonicCondition&) = delete;
  MonotonicCondition& operator=(const MonotonicCondition&) = delete;

  void notify_one() { ::pthread_cond_signal(&condition_); }
  void notify_all() { ::pthread_cond_broadcast(&condition_); }

  // As with any condition variable, it may return before.
  void wait_for(std::unique_lock<std::mutex>& lock, Duration duration) {
    const Duration length = std::clamp(duration, Duration::zero(), kForever);
#if defined(__APPLE__)
    const timespec until = as_timespec(length);
    ::pthread_cond_timedwait_relative_np(&condition_, lock.mutex()->native_handle(), &until);
#else
    // steady_clock is CLOCK_MONOTONIC.
    const timespec until = as_timespec(now().time_since_epoch() + length);
    ::pthread_cond_timedwait(&condition_, lock.mutex()->native_handle(), &until);
#endif
  }

 private:
  static timespec as_timespec(Duration time) {
    const auto whole = std::chrono::duration_cast<std::chrono::seconds>(time);
    const auto rest = std::chrono::duration_cast<std::chrono::nanoseconds>(time - whole);
    return {static_cast<time_t>(whole.count()), static_cast<long>(rest.count())};
  }

  pthread_cond_t condition_;
};

}  // namespace rdzv
