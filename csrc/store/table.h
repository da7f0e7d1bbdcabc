// Keys, their values and versions, and who waits for them. Pure: no lock, no clock, no socket; the
// owner serialises the calls. The server and HashStore both run on it, so one operation means the
// same in both.
//
// Time is an argument: whoever sets keys that expire calls expire() when next_expiry() has come.
// All times of one table are of one clock, whichever.
//
// An operation never calls out: waiters that it satisfied are listed in take_woken(), which the
// caller looks at before the next operation, while what woke them is still there.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "store/expiries.h"
#include "store/value_bytes.h"

namespace rdzv {

// Lets maps keyed by std::string be searched by a view.
struct BytesHash {
  using is_transparent = void;
  size_t operator()(Bytes bytes) const { return std::hash<Bytes>{}(bytes); }
};
template <typename Value>
using BytesMap = std::unordered_map<std::string, Value, BytesHash, std::equal_to<>>;

class Table {
 public:
  struct Value {
    ValueBytes bytes;
    uint64_t version = 0;  // grows with every write in the table; never used twice, also not by a
                           // key that comes back
  };

  struct CompareSet {
    bool swapped = false;
    const Value* current = nullptr;  // what is there now; null: nothing
  };

  struct VersionSet {
    bool swapped = false;
    uint64_t version = 0;  // what is there now; 0: no value
  };

  enum class AddStatus { kOk, kNotANumber, kOverflow };
  struct Add {
    AddStatus status = AddStatus::kOk;
    int64_t value = 0;
    uint64_t version = 0;
  };

  // What a waiter needs of each of its keys.
  enum class Need : uint8_t {
    kPresent,  // a value, or a queue that is not empty
    kTurn,     // the same, but a pushed item wakes only the first of these: torch's clients wait so
               // before they pop, and all but one would find the queue empty
    kValue,    // a value
    kQueue,    // a queue that is not empty
    kItem,     // the first item of the queue, which it takes
    kCount,    // a decimal number of at least `target`
    kChange,   // a version that is not `target`; that of a missing key is 0
  };
  static constexpr size_t kNeeds = 7;

  // Holds the waiters of one connection (or of one blocked call), so that dropping them costs what
  // it owns. It must be dropped before it is destroyed.
  struct Waiter;
  class WaiterOwner {
   public:
    WaiterOwner();
    WaiterOwner(const WaiterOwner&) = delete;
    WaiterOwner& operator=(const WaiterOwner&) = delete;
    ~WaiterOwner();

    size_t waiters() const { return count_; }

   private:
    friend class Table;
    std::unique_ptr<Waiter> first_;
    size_t count_ = 0;
  };
  struct Woken {
    WaiterOwner* owner;
    uint64_t tag;
    std::vector<std::string> keys;    // all there; kChange: may be gone
    std::optional<std::string> item;  // kItem: what it took
  };

  Table() = default;
  ~Table();
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;

  const Value* find(Bytes key) const;
  bool has_all(const std::vector<Bytes>& keys, Need need = Need::kPresent) const;
  size_t size() const { return values_.size(); }
  template <typename Visit>
  void for_each_key(Visit&& visit) const {
    for (const auto& [key, value] : values_) visit(Bytes(key));
  }
  // Everything that restore() takes to make an equal table: visit(key, value, expires_at).
  template <typename Visit>
  void for_each_value(Visit&& visit) const {
    for (const auto& [key, value] : values_) visit(Bytes(key), value, expiry(key));
  }
  // The items of all queues, each queue's in order: visit(key, item).
  template <typename Visit>
  void for_each_item(Visit&& visit) const {
    for (const auto& [key, items] : queues_) {
      for (const std::string& item : items) visit(Bytes(key), Bytes(item));
    }
  }
  // Room for so many keys, so that none of them makes the table grow.
  void reserve(size_t keys) { values_.reserve(keys); }
  // Whether nothing was ever written, or only queues that are empty again.
  bool is_new() const { return version_ == 0 && queues_.empty(); }
  // The highest version that was ever used.
  uint64_t version() const { return version_; }

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
  // What add would return, without its version. Changes nothing.
  Add sum(Bytes key, int64_t amount) const;
  bool erase(Bytes key);
  // Erases the keys that begin with `prefix`; queues stay. Returns how many there were.
  size_t erase_prefix(Bytes prefix);

  // Erases what is due at `now`, and says how much that was.
  size_t expire(Instant now);
  // When there is something to expire; nothing: never.
  std::optional<Instant> next_expiry() const { return expiries_.next(); }
  // When the key expires; nothing: never.
  std::optional<Instant> expiry(Bytes key) const;
  // What expire() would erase, in its order: visit(key, value, expires_at).
  template <typename Visit>
  void for_each_due(Instant now, Visit&& visit) const {
    expiries_.for_each_due(now, [&](const std::string& key, Instant at) {
      visit(Bytes(key), values_.find(key)->second, at);
    });
  }

  // Queues are a name space of their own, first in, first out; an empty one does not exist.
  void push(Bytes key, Bytes item);
  std::optional<std::string> pop(Bytes key);
  // Puts an item back at the front: whoever took it went before he had it.
  void unpop(Bytes key, Bytes item);
  // Whoever was woken by its turn did not pop: the next one has it, if there is still an item.
  void pass_turn(Bytes key);
  // The item that pop would take; null: none.
  const std::string* front(Bytes key) const;
  size_t queue_size(Bytes key) const;
  // Puts back a value with the version it had. Wakes nobody.
  void restore(Bytes key, Bytes value, uint64_t version,
               std::optional<Instant> expires_at = std::nullopt);
  void restore_version(uint64_t version);

  // Returns null if the need is met at all keys (kItem: the caller may pop). Otherwise parks a
  // waiter, which is listed in take_woken() after the operation that meets all of them at once, and
  // exists until then or until cancel or drop.
  Waiter* wait(WaiterOwner& owner, uint64_t tag, const std::vector<Bytes>& keys,
               Need need = Need::kPresent, int64_t target = 0);
  void cancel(Waiter* waiter);
  // Those of its keys that are missing now.
  std::vector<Bytes> missing_keys(const Waiter& waiter) const;
  void drop(WaiterOwner& owner);
  // Of all owners, those for which `is_gone` says so.
  void drop_if(const std::function<bool(WaiterOwner&)>& is_gone);
  size_t waiters() const { return waiter_count_; }

  std::vector<Woken> take_woken();

 private:
  struct WaitList {
    Waiter* first = nullptr;
    Waiter* last = nullptr;
  };
  using WaitLists = std::array<WaitList, kNeeds>;  // of one key, by need

  uint64_t write(Bytes key, Bytes value);
  uint64_t write(Value& value, Bytes bytes);
  static Add sum(const Value* current, int64_t amount);
  void make_permanent(Bytes key) {
    if (!expiries_.empty()) expiries_.clear(key);
  }
  uint64_t version_of(Bytes key) const;
  bool is_met(Bytes key, Need need, int64_t target) const;
  std::deque<std::string>& queue(Bytes key);
  // After a write of the key's value. Most writes find nobody waiting, whatever their key.
  void wake(Bytes key) {
    if (!wait_lists_.empty()) wake_written(key);
  }
  void wake_written(Bytes key);
  void wake_erased(Bytes key);
  void wake_queue(Bytes key);
  void wake_list(Bytes key, WaitLists& lists, Need need, size_t woken_max);
  void drop_if_empty(Bytes key);
  void park(Waiter& waiter, Bytes key);
  void unlink(Waiter& waiter);
  void destroy(Waiter& waiter);
  const std::string* missing_key(Waiter& waiter) const;

  BytesMap<Value> values_;
  BytesMap<std::deque<std::string>> queues_;
  Expiries expiries_;
  BytesMap<WaitLists> wait_lists_;
  std::vector<Woken> woken_;
  uint64_t version_ = 0;
  size_t waiter_count_ = 0;
};

}  // namespace rdzv
