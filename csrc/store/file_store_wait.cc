// The part of FileStore that waits: one blocked call is woken by changes of the file, or all look
// at it again and again, and whichever thread applies a record serves all whom it completes.
#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/random.h"
#include "store/file_store.h"
#include "store/meeting.h"

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

// A blocked call: whichever thread applies the record that it waits for puts the values here, while
// they are there.
struct FileStore::Blocked : Table::WaiterOwner {
  Blocked(FileStore& to, const std::vector<Bytes>& wanted, Table::Need what, int64_t count = 0)
      : store(to), keys(wanted), need(what), target(count) {
    store.blocked_.push_back(this);
    park(store.replica_->table());
  }
  // mutex_ is held.
  ~Blocked() {
    store.replica_->table().drop(*this);
    std::erase(store.blocked_, this);
    store.pass_on_the_watch();
  }

  void park(Table& table) {
    waiter = table.wait(*this, 0, keys, need, target);
    if (waiter == nullptr) finish(table);
  }

  void sleep(Lock& lock, Duration length) {
    asleep = true;
    woken.wait_for(lock, length);
    asleep = false;
  }

  void finish(Table& table) {
    waiter = nullptr;
    done = true;
    if (need == Table::Need::kValue) {
      for (Bytes key : keys) values.push_back(table.find(key)->bytes);
    }
    if (need == Table::Need::kChange) {
      const Table::Value* value = table.find(keys.front());
      if (value != nullptr) changed = {value->bytes, value->version};
    }
    woken.notify_one();
  }

  FileStore& store;
  const std::vector<Bytes>& keys;
  const Table::Need need;
  const int64_t target;
  Table::Waiter* waiter = nullptr;
  bool done = false;
  bool asleep = false;  // else its thread looks by itself, or runs a signal's handler
  std::vector<std::string> values;
  Versioned changed;
  Condition woken;
};

void FileStore::table_changed(Table& table) {
  for (const Table::Woken& woken : table.take_woken())
    static_cast<Blocked&>(*woken.owner).finish(table);
}

void FileStore::table_replaced(Table& before, Table& fresh) {
  for (Blocked* blocked : blocked_) {
    if (blocked->done) continue;
    before.drop(*blocked);
    blocked->park(fresh);
  }
}

// The values of `keys`, if they are what is needed.
std::vector<std::string> FileStore::wait_for(const char* operation, const std::vector<Bytes>& keys,
                                             Duration timeout, Table::Need need) {
  check_keys(operation, keys);
  throw_if_forked();
  Deadline deadline = Deadline::after(timeout);
  Lock lock(mutex_);
  refresh(lock, operation, timeout);
  Blocked blocked(*this, keys, need);
  sleep_until_done(lock, blocked, deadline, operation);
  if (blocked.done) return std::move(blocked.values);
  std::vector<Bytes> missing = replica_->table().missing_keys(*blocked.waiter);
  std::string text = need == Table::Need::kQueue
                         ? queue_timeout_text(keys.front(), deadline.elapsed())
                         : timeout_text(operation, missing, keys.size(), deadline.elapsed());
  throw Error(ErrorCode::kTimeout, text + " (" + describe() + ")", missing_of(missing));
}

void FileStore::barrier(Bytes key, int64_t world_size, Duration timeout) {
  meet({key, key, world_size}, timeout);
}

void FileStore::barrier_as(Bytes key, const Seat& seat, Duration timeout) {
  meet({key, key, seat.world_size, seat.rank, seat.round, random_token()}, timeout);
}

void FileStore::meet(const BarrierCall& call, Duration timeout) {
  check_barrier(call);
  Deadline deadline = Deadline::after(timeout);
  arrive_at(call, timeout);
  std::vector<Bytes> keys = {call.key};
  try {
    Lock lock(mutex_);
    Blocked blocked(*this, keys, Table::Need::kCount, call.target());
    sleep_until_done(lock, blocked, deadline, "barrier");
    if (blocked.done) return;
  } catch (...) {
    try {
      leave_from(call, deadline.elapsed());
    } catch (const Error&) {
      // It stays counted, like one whose process died.
    }
    throw;
  }
  if (std::optional<Error> error = leave_from(call, deadline.elapsed())) throw *error;
}

std::vector<std::string> FileStore::exchange(Bytes key, int64_t rank, int64_t world_size,
                                             Bytes value, Duration timeout) {
  ExchangeCall call{key, key, rank, world_size, value};
  check_exchange(call);
  Deadline deadline = Deadline::after(timeout);
  arrive_at(call, timeout);
  ExchangeSlots slots(key, world_size);
  Lock lock(mutex_);
  Blocked blocked(*this, slots.all(), Table::Need::kValue);
  sleep_until_done(lock, blocked, deadline, "exchange");
  if (blocked.done) return std::move(blocked.values);
  std::vector<int64_t> missing;
  for (int64_t other = 0; other < world_size; ++other) {
    if (replica_->table().find(slots.of(other)) == nullptr) missing.push_back(other);
  }
  std::string text = exchange_timeout_text(key, missing, world_size, deadline.elapsed());
  throw Error(ErrorCode::kTimeout, text + " (" + describe() + ")",
              missing_at(key, std::move(missing)));
}

Store::Versioned FileStore::watch(Bytes key, uint64_t known_version, Duration timeout) {
  check_key("watch", key);
  throw_if_forked();
  Deadline deadline = Deadline::after(timeout);
  std::vector<Bytes> keys = {key};
  Lock lock(mutex_);
  refresh(lock, "watch", timeout);
  auto target = static_cast<int64_t>(known_version);
  Blocked blocked(*this, keys, Table::Need::kChange, target);
  sleep_until_done(lock, blocked, deadline, "watch");
  if (blocked.done) return std::move(blocked.changed);
  throw Error(ErrorCode::kTimeout,
              watch_timeout_text(key, known_version, deadline.elapsed()) + " (" + describe() + ")",
              missing_of(keys));
}

// An item is taken by a record in the file, under the lock. So a blocked call waits until there is
// one and then tries to be the one who takes it.
std::string FileStore::queue_pop(Bytes key, bool block, Duration timeout) {
  check_key("queue_pop", key);
  Deadline deadline = Deadline::after(timeout);
  for (;;) {
    Duration left = block ? deadline.left() : this->timeout();
    if (std::optional<std::string> item = try_pop(key, left)) return std::move(*item);
    if (!block) throw_queue_empty(key, describe());
    wait_for("queue_pop", {key}, deadline.left(), Table::Need::kQueue);
  }
}

// Another blocked call may have to watch now.
void FileStore::pass_on_the_watch() {
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
      pass_on_the_watch();
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

void FileStore::wait(const std::vector<Bytes>& keys, Duration timeout) {
  wait_for("wait", keys, timeout, Table::Need::kPresent);
}

std::vector<std::string> FileStore::multi_get(const std::vector<Bytes>& keys, Duration timeout) {
  return wait_for("multi_get", keys, timeout, Table::Need::kValue);
}

}  // namespace rdzv
