// NativeStore's operations on values: bodies of requests made, answers read.
#include <algorithm>

#include "base/error.h"
#include "client/native_request.h"
#include "client/native_store.h"

namespace rdzv {

using native::Operation;

namespace {

void put_wire_keys(std::string& out, const std::vector<Bytes>& keys) {
  native::put_u32(out, static_cast<uint32_t>(keys.size()));
  for (Bytes key : keys) put_wire_key(out, key);
}

}  // namespace

void NativeStore::ping() {
  Request request{Operation::kPing, {}, timeout()};
  run(request);
}

void NativeStore::set(Bytes key, Bytes value) {
  check_key("set", key);
  check_value("set", key, value);
  Request request{Operation::kSet, key, timeout(), true};
  put_wire_key(request.body, key);
  native::put_string(request.body, value);
  run(request);
}

std::string NativeStore::get(Bytes key, Duration timeout) {
  return read(key, timeout).own();
}

TakenBytes NativeStore::read(Bytes key, Duration timeout) {
  check_key("get", key);
  Request request{Operation::kGet, key, timeout, false, true};
  native::put_u32(request.body, 0);
  put_wire_key(request.body, key);
  return Answer(*this, request, run_taking(request)).value();
}

Store::Exchange NativeStore::compare_exchange(Bytes key, Bytes expected, Bytes desired) {
  check_key("compare_set", key);
  check_value("compare_set", key, expected);
  check_value("compare_set", key, desired);
  Request request{Operation::kCompareSet, key, timeout(), true};
  put_wire_key(request.body, key);
  native::put_string(request.body, expected);
  native::put_string(request.body, desired);
  Answer answer(*this, request, run_taking(request));
  Exchange exchange;
  exchange.swapped = answer.reader().u8() != 0;
  exchange.exists = answer.reader().u8() != 0;
  exchange.version = answer.reader().u64();
  Bytes current = answer.string();
  answer.finish();
  exchange.value = exchange.swapped ? desired : current;
  return exchange;
}

int64_t NativeStore::add(Bytes key, int64_t amount) {
  check_key("add", key);
  return add_wire_key("/" + std::string(key), key, amount, timeout());
}

int64_t NativeStore::add_wire_key(Bytes wire_key, Bytes shown_key, int64_t amount,
                                  Duration timeout) {
  Request request{Operation::kAdd, shown_key, timeout, true};
  native::put_string(request.body, wire_key);
  native::put_u64(request.body, static_cast<uint64_t>(amount));
  Answer answer(*this, request, run_taking(request));
  int64_t sum = answer.reader().i64();
  answer.reader().u64();  // the version
  answer.finish();
  return sum;
}

bool NativeStore::check(const std::vector<Bytes>& keys) {
  check_keys("check", keys);
  Request request{Operation::kCheck, {}, timeout(), false, false, &keys};
  put_wire_keys(request.body, keys);
  Answer answer(*this, request, run_taking(request));
  bool yes = answer.reader().u8() != 0;
  answer.finish();
  return yes;
}

void NativeStore::wait(const std::vector<Bytes>& keys, Duration timeout) {
  check_keys("wait", keys);
  Request request{Operation::kWait, {}, timeout, false, true, &keys};
  native::put_u32(request.body, 0);
  put_wire_keys(request.body, keys);
  run(request);
}

bool NativeStore::delete_key(Bytes key) {
  check_key("delete_key", key);
  Request request{Operation::kDeleteKey, key, timeout(), true};
  put_wire_key(request.body, key);
  Answer answer(*this, request, run_taking(request));
  bool yes = answer.reader().u8() != 0;
  answer.finish();
  return yes;
}

int64_t NativeStore::num_keys() {
  Request request{Operation::kNumKeys, {}, timeout()};
  Answer answer(*this, request, run_taking(request));
  int64_t count = answer.reader().i64();
  answer.finish();
  return count;
}

std::vector<std::string> NativeStore::list_keys(Bytes prefix) {
  check_key("list_keys", prefix);
  Request request{Operation::kListKeys, prefix, timeout()};
  put_wire_key(request.body, prefix);
  Answer answer(*this, request, run_taking(request));
  std::vector<std::string> keys;
  for (uint32_t left = answer.reader().u32(); left > 0 && answer.reader().ok(); --left) {
    Bytes wire_key = answer.string();
    keys.emplace_back(wire_key.substr(std::min<size_t>(1, wire_key.size())));
  }
  answer.finish();
  std::sort(keys.begin(), keys.end());
  return keys;
}

void NativeStore::append(Bytes key, Bytes value) {
  check_key("append", key);
  check_value("append", key, value);
  Request request{Operation::kAppend, key, timeout(), true};
  put_wire_key(request.body, key);
  native::put_string(request.body, value);
  run(request);
}

std::vector<std::string> NativeStore::multi_get(const std::vector<Bytes>& keys, Duration timeout) {
  std::vector<std::string> values;
  for (const TakenBytes& value : multi_read(keys, timeout)) values.emplace_back(value.view());
  return values;
}

std::vector<TakenBytes> NativeStore::multi_read(const std::vector<Bytes>& keys, Duration timeout) {
  check_keys("multi_get", keys);
  Request request{Operation::kMultiGet, {}, timeout, false, true, &keys};
  native::put_u32(request.body, 0);
  put_wire_keys(request.body, keys);
  Answer answer(*this, request, run_taking(request));
  std::vector<Bytes> values;
  for (uint32_t left = answer.reader().u32(); left > 0 && answer.reader().ok(); --left) {
    answer.reader().u64();  // the version
    values.push_back(answer.string());
  }
  return answer.split(values);
}

void NativeStore::multi_set(const std::vector<Bytes>& pairs) {
  check_pairs("multi_set", pairs);
  Request request{Operation::kMultiSet, {}, timeout(), true};
  native::put_u32(request.body, static_cast<uint32_t>(pairs.size() / 2));
  for (size_t i = 0; i + 1 < pairs.size(); i += 2) {
    put_wire_key(request.body, pairs[i]);
    native::put_string(request.body, pairs[i + 1]);
  }
  run(request);
}

Store::Versioned NativeStore::try_get(Bytes key) {
  check_key("try_get", key);
  Request request{Operation::kTryGet, key, timeout()};
  put_wire_key(request.body, key);
  return Answer(*this, request, run_taking(request)).versioned();
}

Store::VersionSet NativeStore::set_if_version(Bytes key, Bytes value, uint64_t version) {
  check_key("set_if_version", key);
  check_value("set_if_version", key, value);
  Request request{Operation::kSetIfVersion, key, timeout(), true};
  put_wire_key(request.body, key);
  native::put_string(request.body, value);
  native::put_u64(request.body, version);
  Answer answer(*this, request, run_taking(request));
  VersionSet result;
  result.swapped = answer.reader().u8() != 0;
  result.version = answer.reader().u64();
  answer.finish();
  return result;
}

// Sent again, it could undo what another client has set meanwhile: a write like any other.
void NativeStore::set_for(Bytes key, Bytes value, Duration ttl) {
  check_key("set", key);
  check_value("set", key, value);
  check_time_to_live(key, ttl);
  Request request{Operation::kSetFor, key, timeout(), true};
  auto ttl_ms = std::chrono::ceil<std::chrono::milliseconds>(std::min(ttl, kForever)).count();
  native::put_u64(request.body, static_cast<uint64_t>(ttl_ms));
  put_wire_key(request.body, key);
  native::put_string(request.body, value);
  run(request);
}

int64_t NativeStore::delete_prefix(Bytes prefix) {
  check_key("delete_prefix", prefix);
  Request request{Operation::kDeletePrefix, prefix, timeout(), true};
  put_wire_key(request.body, prefix);
  Answer answer(*this, request, run_taking(request));
  int64_t count = answer.reader().i64();
  answer.finish();
  return count;
}

}  // namespace rdzv
