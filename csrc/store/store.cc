#include "store/store.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "wire/limits.h"

namespace rdzv {
namespace {

// `total`: of the fields that the caller fills; a frame has a few bytes more.
void check_total(const char* operation, size_t total) {
  if (total + 64 <= limits::kRequestBytesMax) return;
  throw Error(ErrorCode::kLimit, std::string(operation) + ": " + std::to_string(total) +
                                     " bytes in one call; the limit is " +
                                     std::to_string(limits::kRequestBytesMax) +
                                     ", so split the call");
}

}  // namespace

void check_key(const char* operation, Bytes key) {
  if (key.size() <= limits::kKeyBytesMax) return;
  throw Error(ErrorCode::kLimit, std::string(operation) + ": key " + quoted(key) + " has " +
                                     std::to_string(key.size()) + " bytes; the limit is " +
                                     std::to_string(limits::kKeyBytesMax) +
                                     ", so put the long part into the value");
}

void check_value(const char* operation, Bytes key, Bytes value) {
  check_key(operation, key);
  check_value_size(operation, key, value.size());
}

void check_value_size(const char* operation, Bytes key, size_t size) {
  if (size <= limits::kValueBytesMax) return;
  throw Error(ErrorCode::kLimit, std::string(operation) + ": the value for key " + quoted(key) +
                                     " has " + std::to_string(size) + " bytes; the limit is " +
                                     std::to_string(limits::kValueBytesMax) +
                                     ", so split it over several keys");
}

void check_keys(const char* operation, const std::vector<Bytes>& keys) {
  if (keys.size() > limits::kKeysPerRequestMax) {
    throw Error(ErrorCode::kLimit, std::string(operation) + ": " + std::to_string(keys.size()) +
                                       " keys in one call; the limit is " +
                                       std::to_string(limits::kKeysPerRequestMax) +
                                       ", so split the call");
  }
  size_t total = 0;
  for (Bytes key : keys) {
    check_key(operation, key);
    total += key.size() + 8;
  }
  check_total(operation, total);
}

void check_pairs(const char* operation, const std::vector<Bytes>& pairs) {
  size_t total = 0;
  std::vector<Bytes> keys;
  for (size_t i = 0; i + 1 < pairs.size(); i += 2) {
    keys.push_back(pairs[i]);
    check_value(operation, pairs[i], pairs[i + 1]);
    total += pairs[i].size() + pairs[i + 1].size() + 16;
  }
  check_keys(operation, keys);
  check_total(operation, total);
}

std::vector<std::string> Store::multi_get(const std::vector<Bytes>& keys, Duration timeout) {
  std::vector<std::string> values;
  values.reserve(keys.size());
  for (TakenBytes& value : multi_read(keys, timeout)) values.push_back(std::move(value).own());
  return values;
}

std::string timeout_text(const char* operation, const std::vector<Bytes>& missing, size_t wanted,
                         Duration elapsed, size_t count) {
  count = std::max(count, missing.size());
  std::string text = std::string(operation) + " timeout after " + seconds_text(elapsed) + ": ";
  if (wanted == 1) {
    text += "nobody has set key " + quoted_list(missing);
  } else {
    text += std::to_string(count) + " of " + std::to_string(wanted) +
            " keys were never set: " + quoted_list(missing, count);
  }
  return text;
}

std::string queue_timeout_text(Bytes key, Duration elapsed) {
  return "queue_pop timeout after " + seconds_text(elapsed) + ": nobody has pushed to queue " +
         quoted(key);
}

std::string watch_timeout_text(Bytes key, uint64_t known_version, Duration elapsed) {
  std::string text = "watch timeout after " + seconds_text(elapsed) + ": key " + quoted(key);
  if (known_version == 0) return text + " still has no value";
  return text + " still has version " + std::to_string(known_version);
}

std::string watch_prefix_timeout_text(Bytes prefix, Duration elapsed) {
  return "watch_prefix timeout after " + seconds_text(elapsed) + ": nothing has changed under " +
         quoted(prefix);
}

Missing missing_of(const std::vector<Bytes>& keys) {
  Missing missing;
  for (Bytes key : keys) {
    if (missing.keys.size() == kMissingMax) break;
    missing.keys.emplace_back(key);
  }
  return missing;
}

void throw_queue_empty(Bytes key, const std::string& store) {
  throw Error(ErrorCode::kQueueEmpty, "queue_pop: queue " + quoted(key) + " is empty (" + store +
                                          "); pass block=True to wait for an item");
}

void check_time_to_live(Bytes key, Duration ttl) {
  if (ttl > Duration::zero()) return;
  throw Error(ErrorCode::kInvalidArgument,
              "set of key " + quoted(key) + ": ttl is " + seconds_text(ttl) +
                  "; it must be more than 0; a key without a ttl never expires");
}

std::string not_a_number_text(Bytes key, Bytes value, int64_t amount, bool overflow) {
  std::string text = "add to key " + quoted(key) + ": ";
  if (overflow)
    return text + quoted(value) + " plus " + std::to_string(amount) + " does not fit in 64 bits";
  return text + "its value " + quoted(value) +
         " is not a decimal 64-bit number; use another key for the counter";
}

}  // namespace rdzv
