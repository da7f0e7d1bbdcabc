#include "store/local_store.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/error.h"

namespace rdzv {

void LocalStore::set_for(Bytes key, Bytes value, Duration ttl) {
  check_key("set", key);
  check_value("set", key, value);
  check_time_to_live(key, ttl);
  const Writing writing(*this, "set");
  std::optional<Instant> expires_at;
  if (ttl < kForever) expires_at = table_now() + ttl;
  put(key, value, expires_at);
}

TakenBytes LocalStore::read(Bytes key, Duration timeout) {
  check_key("get", key);
  {
    const Lock lock = begin_reading("get", timeout);
    if (const Table::Value* value = table().find(key)) return value->bytes.taken();
  }
  return std::move(wait_for("get", {key}, timeout, Table::Need::kValue).front());
}

Store::Exchange LocalStore::compare_exchange(Bytes key, Bytes expected, Bytes desired) {
  check_key("compare_set", key);
  check_value("compare_set", key, expected);
  check_value("compare_set", key, desired);
  const Writing writing(*this, "compare_set");
  const Table::Value* current = table().find(key);
  if (current == nullptr && !expected.empty()) return {};
  if (current != nullptr && current->bytes != expected)
    return {false, true, current->bytes.taken(), current->version};
  put(key, desired);
  return {true, true, {}, table().version()};
}

int64_t LocalStore::add(Bytes key, int64_t amount) {
  check_key("add", key);
  const Writing writing(*this, "add");
  Table::Add result = table().sum(key, amount);
  if (result.status != Table::AddStatus::kOk) {
    bool overflow = result.status == Table::AddStatus::kOverflow;
    throw Error(ErrorCode::kNotANumber,
                not_a_number_text(key, table().find(key)->bytes, amount, overflow) + " (" +
                    describe() + ")");
  }
  char text[24];
  char* end = std::to_chars(text, text + sizeof(text), result.value).ptr;
  put(key, Bytes(text, static_cast<size_t>(end - text)), table().expiry(key));
  return result.value;
}

bool LocalStore::check(const std::vector<Bytes>& keys) {
  check_keys("check", keys);
  const Lock lock = begin_reading("check", timeout());
  return table().has_all(keys);
}

bool LocalStore::delete_key(Bytes key) {
  check_key("delete_key", key);
  const Writing writing(*this, "delete_key");
  if (table().find(key) == nullptr) return false;
  erase(key);
  return true;
}

int64_t LocalStore::num_keys() {
  const Lock lock = begin_reading("num_keys", timeout());
  return static_cast<int64_t>(table().size());
}

std::vector<std::string> LocalStore::list_keys(Bytes prefix) {
  check_key("list_keys", prefix);
  std::vector<std::string> keys;
  const Lock lock = begin_reading("list_keys", timeout());
  Table::PrefixWalk walk(prefix);
  table().walk(walk, SIZE_MAX, [&](Bytes key) { keys.emplace_back(key); });
  return keys;
}

void LocalStore::append(Bytes key, Bytes value) {
  check_key("append", key);
  check_value("append", key, value);
  const Writing writing(*this, "append");
  const Table::Value* before = table().find(key);
  check_value_size("append", key, (before == nullptr ? 0 : before->bytes.size()) + value.size());
  extend(key, value);
}

void LocalStore::multi_set(const std::vector<Bytes>& pairs) {
  check_pairs("multi_set", pairs);
  if (pairs.empty()) return;
  const Writing writing(*this, "multi_set");
  put_all(pairs);
}

void LocalStore::queue_push(Bytes key, Bytes item) {
  check_key("queue_push", key);
  check_value("queue_push", key, item);
  const Writing writing(*this, "queue_push");
  push(key, item);
}

int64_t LocalStore::queue_len(Bytes key) {
  check_key("queue_len", key);
  const Lock lock = begin_reading("queue_len", timeout());
  return static_cast<int64_t>(table().queue_size(key));
}

Store::Versioned LocalStore::try_get(Bytes key) {
  check_key("try_get", key);
  const Lock lock = begin_reading("try_get", timeout());
  const Table::Value* value = table().find(key);
  if (value == nullptr) return {};
  return {value->bytes.taken(), value->version};
}

Store::VersionSet LocalStore::set_if_version(Bytes key, Bytes value, uint64_t version) {
  check_key("set_if_version", key);
  check_value("set_if_version", key, value);
  const Writing writing(*this, "set_if_version");
  const Table::Value* current = table().find(key);
  uint64_t current_version = current == nullptr ? 0 : current->version;
  if (current_version != version) return {false, current_version};
  put(key, value);
  return {true, table().version()};
}

int64_t LocalStore::delete_prefix(Bytes prefix) {
  check_key("delete_prefix", prefix);
  const Writing writing(*this, "delete_prefix");
  int64_t count = 0;
  Table::PrefixWalk walk(prefix);
  table().walk(walk, SIZE_MAX, [&](Bytes) { ++count; });
  if (count > 0) erase_prefix(prefix);
  return count;
}

}  // namespace rdzv
