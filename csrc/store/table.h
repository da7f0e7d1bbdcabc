// Keys, their values and versions, and who waits for them. Pure: no lock, no clock, no socket; the
// owner serialises the calls. The server and HashStore both run on it, so one operation means the
// same in both.
//
// Time is an argument: whoever sets keys that expire calls expire() when next_expiry() has come.
// All times of one table are of one clock, whichever.
//
// What does not change it is TableView's.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "store/table_view.h"

namespace rdzv {

class Table final : public TableView {
 public:
  // `seed`: nobody who chooses keys may know it (base/hash.h).
  explicit Table(HashSeed seed = {}) : TableView(seed) {}

  // Room for so many keys, so that none of them makes the table grow.
  void reserve(size_t keys) { values_.reserve(keys); }

  // Whatever replaces a value (set, multi_set, and the conditional ones if they do) makes the key
  // permanent; set_for alone gives it a time to live, and add and append keep the one it has.
  uint64_t set(Bytes key, Bytes value);
  uint64_t set_for(Bytes key, Bytes value, Instant expires_at);
  uint64_t append(Bytes key, Bytes value);
  // `pairs`: key, value, key, value... Applied as a whole: whoever waits for several of the keys
  // sees them all.
  void multi_set(const std::vector<Bytes>& pairs);
  // Sets `desired` if the value equals `expected`, or if there is no value and `expected` is empty.
  CompareSet compare_set(Bytes key, Bytes expected, Bytes desired);
  // Sets the value if the key's version is `version`; 0: if there is no value.
  VersionSet set_if_version(Bytes key, Bytes value, uint64_t version);
  // The value is a decimal 64-bit number; a missing key counts as 0. On an error nothing changes.
  Add add(Bytes key, int64_t amount);
  bool erase(Bytes key);
  // Erases, of up to `max` keys further, those that were not written after `version`; queues stay.
  // Returns how many it erased.
  size_t erase_walked(PrefixWalk& walk, size_t max, uint64_t version);
  // The same for all keys of the prefix at once.
  size_t erase_prefix(Bytes prefix);

  // Erases what is due at `now`, the earliest first and `max` keys at most, and says how much that
  // was.
  size_t expire(Instant now, size_t max = SIZE_MAX);

  // Queues are a name space of their own, first in, first out; an empty one does not exist.
  // True: one who waits has taken it.
  bool push(Bytes key, Bytes item);
  std::optional<std::string> pop(Bytes key) { return take_item(key); }
  // Puts an item back at the front: whoever took it went before he had it.
  bool unpop(Bytes key, Bytes item);

  // Puts back a value with the version it had. Wakes nobody.
  void restore(Bytes key, Bytes value, uint64_t version,
               std::optional<Instant> expires_at = std::nullopt);
  void restore_version(uint64_t version);

 private:
  uint64_t write(Bytes key, Bytes value);
  uint64_t write(Value& value, Bytes bytes);
  void make_permanent(Bytes key) {
    if (!expiries_.empty()) expiries_.clear(key);
  }
  Values::iterator insert(Bytes key);
  void erase(Values::iterator found);
  std::deque<std::string>& queue(Bytes key);
  bool wake_for_item(Bytes key, Bytes item);
};

}  // namespace rdzv
