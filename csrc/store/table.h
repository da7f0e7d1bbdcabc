// Keys, their values and versions, and who waits for them. Pure: no lock, no clock, no socket; the
// owner serialises the calls. The server and HashStore both run on it, so one operation means the
// same in both.
//
// An operation never calls out: waiters that it satisfied are listed in take_woken(), which the
// caller looks at before the next operation, while what woke them is still there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"

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
    std::string bytes;
    uint64_t version = 0;  // grows with every write in the table; never used twice, also not by a
                           // key that comes back
  };

  struct CompareSet {
    bool swapped = false;
    const Value* current = nullptr;  // what is there now; null: nothing
  };

  enum class AddStatus { kOk, kNotANumber, kOverflow };
  struct Add {
    AddStatus status = AddStatus::kOk;
    int64_t value = 0;
    uint64_t version = 0;
  };

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
    std::vector<std::string> keys;  // all there
  };

  Table() = default;
  ~Table();
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;

  const Value* find(Bytes key) const;
  bool has_all(const std::vector<Bytes>& keys) const;
  size_t size() const { return values_.size(); }
  template <typename Visit>
  void for_each_key(Visit&& visit) const {
    for (const auto& [key, value] : values_) visit(Bytes(key));
  }
  // Everything that restore() takes to make an equal table: visit(key, value).
  template <typename Visit>
  void for_each_value(Visit&& visit) const {
    for (const auto& [key, value] : values_) visit(Bytes(key), value);
  }
  // The highest version that was ever used.
  uint64_t version() const { return version_; }

  uint64_t set(Bytes key, Bytes value);
  uint64_t append(Bytes key, Bytes value);
  // `pairs`: key, value, key, value... Applied as a whole: whoever waits for several of the keys
  // sees them all.
  void multi_set(const std::vector<Bytes>& pairs);
  // Sets `desired` if the value equals `expected`, or if there is no value and `expected` is empty.
  CompareSet compare_set(Bytes key, Bytes expected, Bytes desired);
  // The value is a decimal 64-bit number; a missing key counts as 0. On an error nothing changes.
  Add add(Bytes key, int64_t amount);
  // What add would return, without its version. Changes nothing.
  Add sum(Bytes key, int64_t amount) const;
  bool erase(Bytes key);
  // Puts back a value with the version it had. Nobody waits in a table that is being restored.
  void restore(Bytes key, Bytes value, uint64_t version);
  void restore_version(uint64_t version);

  // Returns null if all keys are there. Otherwise parks a waiter, which is listed in take_woken()
  // after the operation that makes all of them present at once, and exists until then or until
  // cancel or drop.
  Waiter* wait(WaiterOwner& owner, uint64_t tag, const std::vector<Bytes>& keys);
  void cancel(Waiter* waiter);
  // Those of its keys that are missing now.
  std::vector<Bytes> missing_keys(const Waiter& waiter) const;
  void drop(WaiterOwner& owner);
  size_t waiters() const { return waiter_count_; }

  std::vector<Woken> take_woken();

 private:
  struct WaitList {
    Waiter* first = nullptr;
    Waiter* last = nullptr;
  };

  uint64_t write(Bytes key, Bytes value);
  void wake(Bytes key);
  void park(Waiter& waiter, Bytes key);
  void unpark(Waiter& waiter);
  void destroy(Waiter& waiter);
  const std::string* missing_key(Waiter& waiter) const;

  BytesMap<Value> values_;
  BytesMap<WaitList> wait_lists_;
  std::vector<Woken> woken_;
  uint64_t version_ = 0;
  size_t waiter_count_ = 0;
};

}  // namespace rdzv
