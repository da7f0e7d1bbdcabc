// NativeStore's operations on values: requests made, answers read.
#include <algorithm>

#include "base/error.h"
#include "client/native_request.h"
#include "client/native_store.h"

namespace rdzv {

void NativeStore::ping() {
  Request request{{}, timeout()};
  Answer(*this, request, native::PingRequest());
}

// Sent again, one with a time to live could undo what another client has set meanwhile: a write like
// any other.
void NativeStore::set_for(Bytes key, Bytes value, Duration ttl) {
  check_key("set", key);
  check_value("set", key, value);
  check_time_to_live(key, ttl);
  Request request{key, timeout(), true};
  if (ttl >= kForever) {
    Answer(*this, request, native::SetRequest{key, value});
    return;
  }
  auto ttl_ms = std::chrono::ceil<std::chrono::milliseconds>(ttl).count();
  Answer(*this, request, native::SetForRequest{static_cast<uint64_t>(ttl_ms), key, value});
}

TakenBytes NativeStore::read(Bytes key, Duration timeout) {
  check_key("get", key);
  Request request{key, timeout, false, true};
  Answer answer(*this, request, native::GetRequest{0, key});
  return std::move(answer).taking(answer.value);
}

Store::Exchange NativeStore::compare_exchange(Bytes key, Bytes expected, Bytes desired) {
  check_key("compare_set", key);
  check_value("compare_set", key, expected);
  check_value("compare_set", key, desired);
  Request request{key, timeout(), true};
  Answer answer(*this, request, native::CompareSetRequest{key, expected, desired});
  Exchange exchange;
  exchange.swapped = answer.swapped;
  exchange.exists = answer.exists;
  exchange.version = answer.version;
  if (!answer.swapped) exchange.value = std::move(answer).taking(answer.value);
  return exchange;
}

int64_t NativeStore::add(Bytes key, int64_t amount) {
  check_key("add", key);
  Request request{key, timeout(), true};
  return Answer(*this, request, native::AddRequest{key, amount}).sum;
}

int64_t NativeStore::add_wire_key(Bytes wire_key, Bytes shown_key, int64_t amount,
                                  Duration timeout) {
  Request request{shown_key, timeout, true};
  request.has_wire_key = true;
  return Answer(*this, request, native::AddRequest{wire_key, amount}).sum;
}

bool NativeStore::check(const std::vector<Bytes>& keys) {
  check_keys("check", keys);
  Request request{{}, timeout(), false, false, &keys};
  return Answer(*this, request, native::CheckRequest{{keys}}).are_there;
}

void NativeStore::wait(const std::vector<Bytes>& keys, Duration timeout) {
  check_keys("wait", keys);
  Request request{{}, timeout, false, true, &keys};
  Answer(*this, request, native::WaitRequest{0, {keys}});
}

bool NativeStore::delete_key(Bytes key) {
  check_key("delete_key", key);
  Request request{key, timeout(), true};
  return Answer(*this, request, native::DeleteKeyRequest{key}).was_there;
}

int64_t NativeStore::num_keys() {
  Request request{{}, timeout()};
  return static_cast<int64_t>(Answer(*this, request, native::NumKeysRequest()).count);
}

std::vector<std::string> NativeStore::list_keys(Bytes prefix) {
  check_key("list_keys", prefix);
  Request request{prefix, timeout()};
  Answer answer(*this, request, native::ListKeysRequest{prefix});
  std::vector<std::string> keys;
  for (const native::Key& key : answer.keys)
    keys.emplace_back(key.substr(std::min(native::kUsersPrefix.size(), key.size())));
  std::sort(keys.begin(), keys.end());
  return keys;
}

void NativeStore::append(Bytes key, Bytes value) {
  check_key("append", key);
  check_value("append", key, value);
  Request request{key, timeout(), true};
  Answer(*this, request, native::AppendRequest{key, value});
}

std::vector<TakenBytes> NativeStore::multi_read(const std::vector<Bytes>& keys, Duration timeout) {
  check_keys("multi_get", keys);
  Request request{{}, timeout, false, true, &keys};
  Answer answer(*this, request, native::MultiGetRequest{0, {keys}});
  std::vector<Bytes> values;
  values.reserve(answer.values.size());
  for (const native::ValueReply& each : answer.values) values.push_back(each.value);
  return std::move(answer).taking(values);
}

void NativeStore::multi_set(const std::vector<Bytes>& pairs) {
  check_pairs("multi_set", pairs);
  Request request{{}, timeout(), true};
  Answer(*this, request, native::MultiSetRequest{{pairs}});
}

Store::Versioned NativeStore::try_get(Bytes key) {
  check_key("try_get", key);
  Request request{key, timeout()};
  Answer answer(*this, request, native::TryGetRequest{key});
  const uint64_t version = answer.version;
  return {std::move(answer).taking(answer.value), version};
}

Store::VersionSet NativeStore::set_if_version(Bytes key, Bytes value, uint64_t version) {
  check_key("set_if_version", key);
  check_value("set_if_version", key, value);
  Request request{key, timeout(), true};
  Answer answer(*this, request, native::SetIfVersionRequest{key, value, version});
  return {answer.swapped, answer.version};
}

int64_t NativeStore::delete_prefix(Bytes prefix) {
  check_key("delete_prefix", prefix);
  Request request{prefix, timeout(), true};
  return static_cast<int64_t>(Answer(*this, request, native::DeletePrefixRequest{prefix}).count);
}

}  // namespace rdzv
