#include "store/hash_store.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/interrupt.h"

namespace rdzv {

Lock HashStore::begin_reading(const char*, Duration) {
  Lock lock(mutex_);
  expire();
  return lock;
}

// In a forked child, where the stacks on which other threads' calls stood are used again.
void HashStore::forget_other_threads() {
  const auto is_gone = [here = std::this_thread::get_id()](Table::WaiterOwner& owner) {
    return static_cast<Blocked&>(owner).thread != here;
  };
  table_.drop_if(is_gone);
  std::erase_if(blocked_, [&](Blocked* blocked) { return is_gone(*blocked); });
}

void HashStore::expire() {
  if (table_.next_expiry() && table_.expire(now()) > 0) serve_woken(table_);
}

void HashStore::put(Bytes key, Bytes value, std::optional<Instant> expires_at) {
  if (expires_at) {
    table_.set_for(key, value, *expires_at);
  } else {
    table_.set(key, value);
  }
  serve_woken(table_);
}

void HashStore::put_all(const std::vector<Bytes>& pairs) {
  table_.multi_set(pairs);
  serve_woken(table_);
}

void HashStore::extend(Bytes key, Bytes value) {
  table_.append(key, value);
  serve_woken(table_);
}

void HashStore::erase(Bytes key) {
  table_.erase(key);
  serve_woken(table_);
}

void HashStore::erase_prefix(Bytes prefix) {
  table_.erase_prefix(prefix);
  serve_woken(table_);
}

void HashStore::push(Bytes key, Bytes item) {
  table_.push(key, item);
  serve_woken(table_);
}

TakenBytes HashStore::queue_pop(Bytes key, bool block, Duration timeout) {
  check_key("queue_pop", key);
  Deadline deadline = Deadline::after(timeout);
  std::vector<Bytes> keys = {key};
  Lock lock = begin_reading("queue_pop", timeout);
  if (std::optional<std::string> item = table_.pop(key)) return std::move(*item);
  if (!block) throw_queue_empty(key, describe());
  Blocked blocked(*this, keys, Table::Need::kItem);
  try {
    sleep_until_done(lock, blocked, deadline, "queue_pop");
  } catch (...) {
    // The interrupted call may have been given an item already.
    if (blocked.done) table_.unpop(key, blocked.item);
    serve_woken(table_);
    throw;
  }
  if (blocked.done) return std::move(blocked.item);
  throw_timeout(queue_timeout_text(key, deadline.elapsed()), missing_of(keys));
}

void HashStore::sleep_until_done(Lock& lock, Blocked& blocked, const Deadline& deadline,
                                 const char*) {
  while (!blocked.done && !deadline.passed()) {
    Duration pause = std::min(deadline.left(), kInterruptSlice);
    std::optional<Instant> expires_at;
    if (blocked.need == Table::Need::kChange) expires_at = table_.expiry(blocked.keys.front());
    if (expires_at) pause = std::min(pause, *expires_at - now());
    blocked.sleep(lock, pause);
    if (expires_at) expire();
    if (!blocked.done) throw_if_interrupted(lock);
  }
}

}  // namespace rdzv
