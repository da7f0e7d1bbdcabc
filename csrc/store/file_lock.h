// Advisory locks on one byte of a file, between processes and between descriptors of one process.
// Never blocks: who must wait asks again, so that a deadline holds even if the holder is stopped.
//
// They are open-file-description locks: they belong to the descriptor and go when it is closed or
// its process dies. Where the system has none, they are the older POSIX locks, which belong to the
// process: then a process may open a file only once.
#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"

namespace rdzv {

enum class LockKind { kShared, kExclusive };

// Far behind any data, because some file systems (SMB) refuse reading and writing a locked byte.
inline constexpr int64_t kLockByte = int64_t{1} << 62;

// Whether the lock is now held; one that is held already is converted. Throws kConnection where
// the file system has no locks; `path` is for that message.
bool try_lock(int fd, LockKind kind, const std::string& path);
void unlock(int fd);

// Who holds the exclusive lock on `path`, as "pid 12 (python)"; empty if that is not found out in
// time. Looks through /proc, as an open-file-description lock has no process.
std::string find_lock_holder(const std::string& path, Duration time_max);

// Paces the attempts to get a lock: at once, then yielding, then sleeping ever longer.
class LockBackoff {
 public:
  // The time runs from the first failed attempt.
  explicit LockBackoff(Duration timeout) : timeout_(timeout) {}

  // After a failed attempt. False: the time is over. Throws kInterrupted. Called without any of our
  // mutexes held.
  bool pause();
  Duration elapsed() const;

 private:
  Duration timeout_;
  int attempts_ = 0;
  Instant began_{};
  Instant asked_{};  // for signals
  Duration sleep_ = std::chrono::microseconds(20);
};

}  // namespace rdzv
