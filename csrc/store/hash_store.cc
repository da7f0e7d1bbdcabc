#include "store/hash_store.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/interrupt.h"

namespace rdzv {

Lock HashStore::enter() {
  Lock lock(mutex_);
  expire();
  return lock;
}

// In a forked child, where the stacks on which other threads' calls stood are used again.
void HashStore::forget_other_threads() {
  table_.drop_if([here = std::this_thread::get_id()](Table::WaiterOwner& owner) {
    return static_cast<Blocked&>(owner).thread != here;
  });
}

void HashStore::expire() {
  if (!table_.next_expiry() || table_.expire(now()) == 0) return;
  wake();
}

void HashStore::wake() {
  for (Table::Woken& woken : table_.take_woken()) {
    auto& blocked = static_cast<Blocked&>(*woken.owner);
    blocked.done = true;
    if (blocked.need == Table::Need::kItem) blocked.item = std::move(*woken.item);
    if (blocked.need == Table::Need::kValue) {
      for (Bytes key : *woken.keys) blocked.values.push_back(table_.find(key)->bytes.taken());
    }
    if (blocked.need == Table::Need::kChange) blocked.changed = versioned(woken.keys->front());
    blocked.woken.notify_one();
  }
}

// The values of `keys`, if they are what is needed.
std::vector<TakenBytes> HashStore::wait_for(const char* operation, const std::vector<Bytes>& keys,
                                            Duration timeout, Table::Need need) {
  check_keys(operation, keys);
  Lock lock = enter();
  Blocked blocked(need);
  Table::Waiter* waiter = table_.wait(blocked, 0, keys, need);
  if (waiter == nullptr) {
    if (need != Table::Need::kValue) return {};
    return values_of(keys);
  }
  Deadline deadline = Deadline::after(timeout);
  if (sleep_until_done(lock, blocked, deadline)) return std::move(blocked.values);
  std::vector<Bytes> absent = table_.missing_keys(*waiter);
  std::string text = timeout_text(operation, absent, keys.size(), deadline.elapsed());
  Missing missing = missing_of(absent);
  table_.drop(blocked);
  throw Error(ErrorCode::kTimeout, text + " (HashStore)", std::move(missing));
}

// False at the deadline. The waiter is gone when it returns true or throws.
bool HashStore::sleep_until_done(Lock& lock, Blocked& blocked, const Deadline& deadline) {
  try {
    while (!blocked.done && !deadline.passed()) {
      Duration pause = std::min(deadline.left(), kInterruptSlice);
      if (blocked.expires_at) pause = std::min(pause, *blocked.expires_at - now());
      blocked.woken.wait_for(lock, pause);
      if (blocked.expires_at) expire();
      if (!blocked.done) throw_if_interrupted(lock);
    }
  } catch (...) {
    table_.drop(blocked);
    throw;
  }
  return blocked.done;
}

void HashStore::set(Bytes key, Bytes value) {
  check_key("set", key);
  check_value("set", key, value);
  Lock lock = enter();
  table_.set(key, value);
  wake();
}

std::string HashStore::get(Bytes key, Duration timeout) {
  return read(key, timeout).own();
}

TakenBytes HashStore::read(Bytes key, Duration timeout) {
  check_key("get", key);
  {
    Lock lock = enter();
    if (const Table::Value* value = table_.find(key)) return value->bytes.taken();
  }
  return std::move(wait_for("get", {key}, timeout, Table::Need::kValue).front());
}

Store::Exchange HashStore::compare_exchange(Bytes key, Bytes expected, Bytes desired) {
  check_key("compare_set", key);
  check_value("compare_set", key, expected);
  check_value("compare_set", key, desired);
  Lock lock = enter();
  Table::CompareSet result = table_.compare_set(key, expected, desired);
  wake();
  if (result.current == nullptr) return {};
  return {result.swapped, true, result.current->bytes, result.current->version};
}

int64_t HashStore::add(Bytes key, int64_t amount) {
  check_key("add", key);
  Lock lock = enter();
  Table::Add result = table_.add(key, amount);
  if (result.status != Table::AddStatus::kOk) {
    bool overflow = result.status == Table::AddStatus::kOverflow;
    throw Error(ErrorCode::kNotANumber,
                not_a_number_text(key, table_.find(key)->bytes, amount, overflow) + " (HashStore)");
  }
  wake();
  return result.value;
}

bool HashStore::check(const std::vector<Bytes>& keys) {
  check_keys("check", keys);
  Lock lock = enter();
  return table_.has_all(keys);
}

void HashStore::wait(const std::vector<Bytes>& keys, Duration timeout) {
  wait_for("wait", keys, timeout, Table::Need::kPresent);
}

bool HashStore::delete_key(Bytes key) {
  check_key("delete_key", key);
  Lock lock = enter();
  bool existed = table_.erase(key);
  wake();
  return existed;
}

int64_t HashStore::num_keys() {
  Lock lock = enter();
  return static_cast<int64_t>(table_.size());
}

std::vector<std::string> HashStore::list_keys(Bytes prefix) {
  check_key("list_keys", prefix);
  std::vector<std::string> keys;
  Lock lock = enter();
  Table::PrefixWalk walk(prefix);
  table_.walk(walk, SIZE_MAX, [&](Bytes key) { keys.emplace_back(key); });
  return keys;
}

void HashStore::append(Bytes key, Bytes value) {
  check_key("append", key);
  Lock lock = enter();
  const Table::Value* before = table_.find(key);
  size_t size_before = before == nullptr ? 0 : before->bytes.size();
  check_value_size("append", key, size_before + value.size());
  table_.append(key, value);
  wake();
}

std::vector<std::string> HashStore::multi_get(const std::vector<Bytes>& keys, Duration timeout) {
  std::vector<std::string> values;
  for (const TakenBytes& value : multi_read(keys, timeout)) values.emplace_back(value.view());
  return values;
}

std::vector<TakenBytes> HashStore::multi_read(const std::vector<Bytes>& keys, Duration timeout) {
  return wait_for("multi_get", keys, timeout, Table::Need::kValue);
}

void HashStore::multi_set(const std::vector<Bytes>& pairs) {
  check_pairs("multi_set", pairs);
  Lock lock = enter();
  table_.multi_set(pairs);
  wake();
}

void HashStore::queue_push(Bytes key, Bytes item) {
  check_key("queue_push", key);
  check_value("queue_push", key, item);
  Lock lock = enter();
  table_.push(key, item);
  wake();
}

std::string HashStore::queue_pop(Bytes key, bool block, Duration timeout) {
  check_key("queue_pop", key);
  Lock lock = enter();
  if (std::optional<std::string> item = table_.pop(key)) return std::move(*item);
  if (!block) throw_queue_empty(key, describe());
  Blocked blocked(Table::Need::kItem);
  table_.wait(blocked, 0, {key}, Table::Need::kItem);
  Deadline deadline = Deadline::after(timeout);
  try {
    if (sleep_until_done(lock, blocked, deadline)) return std::move(blocked.item);
  } catch (...) {
    // The interrupted call may have been given an item already.
    if (blocked.done) table_.unpop(key, blocked.item);
    wake();
    throw;
  }
  table_.drop(blocked);
  throw Error(ErrorCode::kTimeout, queue_timeout_text(key, deadline.elapsed()) + " (HashStore)",
              missing_of({key}));
}

int64_t HashStore::queue_len(Bytes key) {
  check_key("queue_len", key);
  Lock lock = enter();
  return static_cast<int64_t>(table_.queue_size(key));
}

std::vector<TakenBytes> HashStore::values_of(const std::vector<Bytes>& keys) const {
  std::vector<TakenBytes> values;
  values.reserve(keys.size());
  for (Bytes key : keys) values.push_back(table_.find(key)->bytes.taken());
  return values;
}

Store::Versioned HashStore::versioned(Bytes key) const {
  const Table::Value* value = table_.find(key);
  if (value == nullptr) return {};
  return {value->bytes, value->version};
}

Store::Versioned HashStore::try_get(Bytes key) {
  check_key("try_get", key);
  Lock lock = enter();
  return versioned(key);
}

Store::Versioned HashStore::watch(Bytes key, uint64_t known_version, Duration timeout) {
  check_key("watch", key);
  Lock lock = enter();
  Blocked blocked(Table::Need::kChange);
  auto target = static_cast<int64_t>(known_version);
  if (table_.wait(blocked, 0, {key}, Table::Need::kChange, target) == nullptr)
    return versioned(key);
  blocked.expires_at = table_.expiry(key);
  Deadline deadline = Deadline::after(timeout);
  if (sleep_until_done(lock, blocked, deadline)) return std::move(blocked.changed);
  table_.drop(blocked);
  std::string text = watch_timeout_text(key, known_version, deadline.elapsed());
  throw Error(ErrorCode::kTimeout, text + " (HashStore)", missing_of({key}));
}

Store::VersionSet HashStore::set_if_version(Bytes key, Bytes value, uint64_t version) {
  check_key("set_if_version", key);
  check_value("set_if_version", key, value);
  Lock lock = enter();
  Table::VersionSet result = table_.set_if_version(key, value, version);
  wake();
  return {result.swapped, result.version};
}

void HashStore::set_for(Bytes key, Bytes value, Duration ttl) {
  check_key("set", key);
  check_value("set", key, value);
  check_time_to_live(key, ttl);
  Lock lock = enter();
  table_.set_for(key, value, now() + std::min(ttl, kForever));
  wake();
}

int64_t HashStore::delete_prefix(Bytes prefix) {
  check_key("delete_prefix", prefix);
  Lock lock = enter();
  auto count = static_cast<int64_t>(table_.erase_prefix(prefix));
  wake();
  return count;
}

}  // namespace rdzv
