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
  Blocked(FileStore& to, const std::vector<Bytes>& wanted, bool values_too)
      : store(to), keys(wanted), with_values(values_too) {
    store.blocked_.push_back(this);
  }
  // mutex_ is held.
  ~Blocked() {
    store.replica_->table().drop(*this);
    std::erase(store.blocked_, this);
  }

  void park(Table& table) { waiter = table.wait(*this, 0, keys); }

  void finish(Table& table) {
    waiter = nullptr;
    done = true;
    if (with_values) {
      for (Bytes key : keys) values.push_back(table.find(key)->bytes);
    }
    woken.notify_one();
  }

  FileStore& store;
  const std::vector<Bytes>& keys;
  const bool with_values;
  Table::Waiter* waiter = nullptr;
  bool done = false;
  std::vector<std::string> values;
  std::condition_variable woken;
};

void FileStore::record_applied(Table& table) {
  for (const Table::Woken& woken : table.take_woken())
    static_cast<Blocked&>(*woken.owner).finish(table);
}

void FileStore::table_replaced(Table& before, Table& fresh) {
  for (Blocked* blocked : blocked_) {
    if (blocked->done) continue;
    before.drop(*blocked);
    blocked->park(fresh);
    if (blocked->waiter == nullptr) blocked->finish(fresh);
  }
}

std::vector<std::string> FileStore::read_all(const std::vector<Bytes>& keys) {
  std::vector<std::string> values;
  values.reserve(keys.size());
  for (Bytes key : keys) values.push_back(replica_->table().find(key)->bytes);
  return values;
}

std::vector<std::string> FileStore::wait_for(const char* operation, const std::vector<Bytes>& keys,
                                             Duration timeout, bool with_values) {
  check_keys(operation, keys);
  throw_if_forked();
  Deadline deadline = Deadline::after(timeout);
  std::unique_lock lock(mutex_);
  refresh(lock, operation, timeout);
  if (replica_->table().has_all(keys))
    return with_values ? read_all(keys) : std::vector<std::string>();

  Blocked blocked(*this, keys, with_values);
  blocked.park(replica_->table());
  try {
    sleep_until_done(lock, blocked, deadline, operation);
  } catch (...) {
    if (!lock.owns_lock()) lock.lock();  // for the end of `blocked`
    throw;
  }
  if (blocked.done) return std::move(blocked.values);
  std::string text = timeout_text(operation, replica_->table().missing_keys(*blocked.waiter),
                                  keys.size(), deadline.elapsed());
  throw Error(ErrorCode::kTimeout, text + " (" + describe() + ")");
}

void FileStore::sleep_until_done(std::unique_lock<std::mutex>& lock, Blocked& blocked,
                                 const Deadline& deadline, const char* operation) {
  Duration pause = kPauseMin;
  Instant asked = now();  // for signals
  while (!blocked.done && !deadline.passed()) {
    blocked.woken.wait_for(lock, std::min(deadline.left(), pause));
    if (blocked.done) return;
    pause = std::min(kPauseMax, pause * 3 / 2);
    if (now() - asked >= kInterruptSlice - kPauseMax) {
      lock.unlock();
      throw_if_interrupted();
      lock.lock();
      asked = now();
    }
    refresh(lock, operation, deadline.left());
  }
}

void FileStore::wait(const std::vector<Bytes>& keys, Duration timeout) {
  wait_for("wait", keys, timeout, false);
}

std::vector<std::string> FileStore::multi_get(const std::vector<Bytes>& keys, Duration timeout) {
  return wait_for("multi_get", keys, timeout, true);
}

}  // namespace rdzv
