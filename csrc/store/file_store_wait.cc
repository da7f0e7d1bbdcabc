// The part of FileStore that waits: blocked calls look at the file again and again, and whichever
// thread applies a record serves all whom it completes.
#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/interrupt.h"
#include "store/file_store.h"

namespace rdzv {
namespace {

// How long a blocked call sleeps between two looks at the file: first, and at most. The latter
// keeps it below 1 % of a core.
constexpr Duration kPauseMin = std::chrono::microseconds(500);
constexpr Duration kPauseMax = std::chrono::milliseconds(10);

}  // namespace

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
  }

  void park(Table& table) {
    waiter = table.wait(*this, 0, keys, need, target);
    if (waiter == nullptr) finish(table);
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
  std::string text = need == Table::Need::kQueue
                         ? queue_timeout_text(keys.front(), deadline.elapsed())
                         : timeout_text(operation, replica_->table().missing_keys(*blocked.waiter),
                                        keys.size(), deadline.elapsed());
  throw Error(ErrorCode::kTimeout, text + " (" + describe() + ")");
}

void FileStore::barrier(Bytes key, int64_t world_size, Duration timeout) {
  check_key("barrier", key);
  check_world_size(key, world_size);
  Deadline deadline = Deadline::after(timeout);
  count_in(key, timeout);
  std::vector<Bytes> keys = {key};
  Lock lock(mutex_);
  Blocked blocked(*this, keys, Table::Need::kCount, world_size);
  sleep_until_done(lock, blocked, deadline, "barrier");
  if (blocked.done) return;
  throw Error(ErrorCode::kTimeout, barrier_timeout_text(key, replica_->table().sum(key, 0).value,
                                                        world_size, deadline.elapsed()) +
                                       " (" + describe() + ")");
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
              watch_timeout_text(key, known_version, deadline.elapsed()) + " (" + describe() + ")");
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

// Returns or throws with the lock held, which the end of `blocked` needs.
void FileStore::sleep_until_done(Lock& lock, Blocked& blocked, const Deadline& deadline,
                                 const char* operation) try {
  Duration pause = kPauseMin;
  Instant asked = now();  // for signals
  while (!blocked.done && !deadline.passed()) {
    blocked.woken.wait_for(lock, std::min(deadline.left(), pause));
    if (blocked.done) return;
    pause = std::min(kPauseMax, pause * 3 / 2);
    if (now() - asked >= kInterruptSlice - kPauseMax) {
      throw_if_interrupted(lock);
      asked = now();
    }
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
