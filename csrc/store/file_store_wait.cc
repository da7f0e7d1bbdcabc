// The part of FileStore that waits: one blocked call is woken by changes of the file, or all look
// at it again and again, and whichever thread applies a record serves all whom it completes.
#include <algorithm>

#include "base/interrupt.h"
#include "store/file_store.h"

namespace rdzv {
namespace {

// How long a blocked call sleeps between two looks at the file that brought it nothing: first, and
// at most. The latter keeps it below 1 % of a core, also when others write all the time.
constexpr Duration kPauseMin = std::chrono::microseconds(500);
constexpr Duration kPauseMax = std::chrono::milliseconds(10);

}  // namespace

struct FileStore::Pace {
  Duration pause = kPauseMin;        // between two looks, where changes are not told
  Duration rest = Duration::zero();  // before the next change is waited for, while there are many
};

void FileStore::table_replaced(Table& before, Table& fresh) {
  for (Blocked* blocked : blocked_) {
    if (blocked->done) continue;
    before.drop(*blocked);
    blocked->park(fresh);
  }
}

// Another blocked call may have to watch now.
void FileStore::has_unblocked() {
  if (watching_) return;
  for (Blocked* blocked : blocked_) {
    if (!blocked->asleep) continue;
    blocked->woken.notify_one();
    return;
  }
}

// Until this call is done or should look at the file, which it says; without looking, it is time to
// ask for signals.
bool FileStore::sleep(Lock& lock, Blocked& blocked, const Deadline& deadline, Pace& pace) {
  Duration slice = std::min(deadline.left(), kInterruptSlice);
  if (watching_) {
    blocked.sleep(lock, slice);
    return false;
  }
  FileWatch::Start start = watch_.watch(replica_->log());
  if (start == FileWatch::Start::kBegan) return true;
  if (start == FileWatch::Start::kCannot) {
    blocked.sleep(lock, std::min(deadline.left(), pace.pause));
    pace.pause = std::min(kPauseMax, pace.pause * 3 / 2);
    return true;
  }
  if (pace.rest > Duration::zero()) {
    blocked.sleep(lock, std::min(slice, pace.rest));
    if (blocked.done || watching_) return false;
    slice = std::max(Duration::zero(), slice - pace.rest);
  }
  if (std::optional<Instant> expiry = replica_->table().next_expiry())
    slice = std::clamp(*expiry - replica_->now(), Duration::zero(), slice);
  Instant began = now();
  watching_ = true;
  lock.unlock();
  bool woken = watch_.sleep(slice);
  lock.lock();
  watching_ = false;
  bool is_busy = woken && now() - began < kPauseMax;
  pace.rest = is_busy ? std::clamp(pace.rest * 3 / 2, kPauseMin, kPauseMax) : Duration::zero();
  return true;
}

// Returns or throws with the lock held, which the end of `blocked` needs.
void FileStore::sleep_until_done(Lock& lock, Blocked& blocked, const Deadline& deadline,
                                 const char* operation) try {
  Pace pace;
  Instant asked = now();  // for signals
  while (!blocked.done && !deadline.passed()) {
    bool look = sleep(lock, blocked, deadline, pace);
    if (blocked.done) return;
    if (now() - asked >= kInterruptSlice - kPauseMax) {
      has_unblocked();
      throw_if_interrupted(lock);
      asked = now();
    }
    if (!look) continue;
    refresh(lock, operation, deadline.left());
  }
} catch (...) {
  if (!lock.owns_lock()) lock.lock();
  throw;
}

}  // namespace rdzv
