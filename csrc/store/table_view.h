// What is in a table, to be read, waited for and marked, by who must not change it (table.h).
//
// An operation never calls out: waiters that it satisfied are listed in take_woken(), which the
// caller looks at before the next operation, while what woke them is still there.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/memory_account.h"
#include "store/expiries.h"
#include "store/name_index.h"
#include "store/prefix_feeds.h"
#include "store/value_bytes.h"
#include "store/wanted_keys.h"

namespace rdzv {

class TableView {
 public:
  // A set of readers, one a bit: see mark().
  using Marks = uint64_t;

  struct Value {
    ValueBytes bytes;
    uint64_t version = 0;  // grows with every write in the table; never used twice, also not by a
                           // key that comes back
    Marks marks = 0;
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
    kUnder,    // a change under the prefix that the key is, behind the position `target`
  };
  static constexpr size_t kNeeds = 8;

  // Holds the waiters of one connection (or of one blocked call), so that dropping them costs what
  // it owns. It must be dropped before it is destroyed.
  struct Waiter;
  class WaiterOwner {
   public:
    // `account`: what the waiters take is charged to it; null: nobody counts.
    explicit WaiterOwner(MemoryAccount* account = nullptr);
    WaiterOwner(const WaiterOwner&) = delete;
    WaiterOwner& operator=(const WaiterOwner&) = delete;
    ~WaiterOwner();

    size_t waiters() const { return count_; }

   private:
    friend class TableView;
    std::unique_ptr<Waiter> first_;
    size_t count_ = 0;
    MemoryAccount* account_;
  };
  // What was at a key when its waiters were woken.
  struct Moment {
    ValueBytes bytes;
    uint64_t version = 0;  // 0: no value
  };
  struct Woken {
    WaiterOwner* owner;
    uint64_t tag;
    SharedKeys keys;                  // all there; kChange: may be gone
    std::optional<std::string> item;  // kItem: what it took
    // Of one key, for who is told later than at once: see take_woken(). Null: it is as it is now.
    std::shared_ptr<const Moment> moment;
  };

  TableView(const TableView&) = delete;
  TableView& operator=(const TableView&) = delete;

  const Value* find(Bytes key) const;
  bool has_all(const std::vector<Bytes>& keys, Need need = Need::kPresent) const;
  size_t size() const { return values_.size(); }
  // The memory that keys, values and queues take, roughly.
  size_t bytes() const { return bytes_ + expiries_.bytes(); }
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
  // Whether nothing was ever written, or only queues that are empty again.
  bool is_new() const { return version_ == 0 && queues_.empty(); }
  bool has_nothing() const { return values_.empty() && queues_.empty(); }
  // The highest version that was ever used.
  uint64_t version() const { return version_; }
  // How many values were erased, and queues emptied.
  uint64_t losses() const { return losses_; }

  // What add would return, without its version. Changes nothing.
  Add sum(Bytes key, int64_t amount) const;

  // Where a walk over the keys of one prefix, in the order of their names, has come to. What is
  // written or erased between two steps may be seen or not; all else is seen once.
  struct PrefixWalk {
    explicit PrefixWalk(Bytes of) : prefix(of) {}
    std::string prefix;
    std::optional<std::string> last;  // the key that was seen last
    bool done = false;
  };
  // Takes up to `max` keys further: visit(key). Costs what it visits, once names are indexed.
  template <typename Visit>
  void walk(PrefixWalk& walk, size_t max, Visit&& visit) {
    index_names();
    names_.walk(walk.prefix, walk.last, max, walk.done, visit);
  }
  // Keeps the names of all keys in order from now on. The first walk does it, too, and pays for all
  // keys that are there: whoever must not pay that in one piece calls this while there are few.
  void index_names();

  // Changes under prefixes (prefix_feeds.h), which kUnder waits for.
  const PrefixFeeds& feeds() const { return feeds_; }
  // False: too many prefixes are watched, or they take too much.
  bool keep_feed(Bytes prefix);
  // PrefixFeeds::end_idle.
  void end_idle_feeds();
  // PrefixFeeds::clear_gone.
  size_t clear_gone_feeds(size_t max) { return feeds_.clear_gone(max); }
  // PrefixFeeds::count_in.
  void count_feeds_in(MemoryAccount& all, uint64_t bytes_max) { feeds_.count_in(all, bytes_max); }
  void begin_feeds_behind(uint64_t position) { feeds_.begin_behind(position); }
  // How many changes were remembered since the last call.
  size_t take_noted() { return feeds_.empty() ? 0 : feeds_.take_noted(); }
  // How many prefixes keep_feed() has looked at since the last call.
  size_t take_visited_feeds() { return feeds_.take_visited(); }

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

  // Whoever was woken by its turn did not pop: the next one has it, if there is still an item.
  void pass_turn(Bytes key);
  // The item that pop would take; null: none.
  const std::string* front(Bytes key) const;
  size_t queue_size(Bytes key) const;

  // Returns null if the need is met at all keys (kItem: the caller may pop). Otherwise parks a
  // waiter, which is listed in take_woken() after the operation that meets all of them at once, and
  // exists until then or until cancel or drop.
  Waiter* wait(WaiterOwner& owner, uint64_t tag, const std::vector<Bytes>& keys,
               Need need = Need::kPresent, int64_t target = 0);
  // The same for a list of which many may wait (kPresent, kValue): they stand in line as one, so
  // that what moves or wakes them is done once.
  // `first`: those before it are known to be there.
  Waiter* wait(WaiterOwner& owner, uint64_t tag, const SharedKeys& keys, Need need,
               size_t first = 0);
  // Whether somebody waits for the list already: so does who comes now.
  bool is_awaited(const SharedKeys& keys, Need need) const;
  void cancel(Waiter* waiter);
  const SharedKeys& keys_of(const Waiter& waiter) const;
  // Those of its keys that are missing now.
  std::vector<Bytes> missing_keys(const Waiter& waiter) const;
  // The same as positions in the keys that it was given.
  std::vector<uint32_t> missing_positions(const Waiter& waiter) const;
  void drop(WaiterOwner& owner) { drop(owner, SIZE_MAX); }
  // Up to `max` of them. True: none is left.
  bool drop(WaiterOwner& owner, size_t max);
  // Of all owners, those for which `is_gone` says so.
  void drop_if(const std::function<bool(WaiterOwner&)>& is_gone);
  size_t waiters() const { return waiter_count_; }

  // After an operation: all whom it woke. Or, for one who must not do much at once: some of them,
  // about kWokenAtOnce of those that it woke and no more than `max` of those before. The others
  // follow when it is called again, in order. What they are woken with was settled by the
  // operation: who waits for one key gets the value of that moment. Of those who wait for several
  // keys, a group of one list is woken as it would have been (the keys may be gone since); anyone
  // else is if all are there when his turn comes, and waits on if not.
  std::vector<Woken> take_woken(size_t max = SIZE_MAX);
  static constexpr size_t kWokenAtOnce = 256;
  // Who waits for more keys than that is always looked at later, so many of them at a time.
  static constexpr size_t kLookedAtOnce = 512;
  // To look at so many is about as much as to wake one.
  static constexpr size_t kKeysAStep = 16;
  // Whether some are left.
  bool has_ripe() const { return !ripe_.empty(); }
  // Of one that is about to be woken: wakes it now, in place of cancel(). Nothing: it waits on.
  std::optional<Woken> take_ripe(Waiter* waiter);

  // Marks: a reader that keeps what it has made of some keys marks them, there or not. Its bit is
  // in hits() once one of them was written or erased, or a value or the first item of a queue came
  // where nothing was, or the last item went. Looking costs nothing then, however many keys it are.
  // Returns what is there, as find() does.
  const Value* mark(Bytes key, Marks reader);
  // Of a key that had no value when it was marked. The others forget their marks by themselves.
  void unmark(Bytes key, Marks reader);
  Marks hits() const { return hits_; }
  // How many keys without a value are marked.
  size_t absent_marked() const { return absent_marks_.size(); }
  void forget_hits(Marks readers) { hits_ &= ~readers; }

 protected:
  explicit TableView(HashSeed seed);
  ~TableView();

  struct Ripe;
  struct WaitList {
    Waiter* first = nullptr;
    Waiter* last = nullptr;
    const Ripe* ripe = nullptr;  // whose list it is; null: a key's
  };
  // Those of a list who are woken later than at once: the list as a whole, so that leaving it for
  // later costs the same however many they are.
  struct Ripe {
    std::string key;
    Need need;
    bool is_group;  // all its keys were there
    std::shared_ptr<const Moment> moment;
    std::unique_ptr<WaitList> list;
  };
  // Of one key. Null: nobody.
  using ListOfNeed = std::unique_ptr<WaitList>;
  struct WaitLists {
    std::array<ListOfNeed, kNeeds> by_need;
    std::map<int64_t, ListOfNeed> counts;  // kCount: by target, so that a count that is not enough
                                           // for the first is enough for nobody

    ListOfNeed& of(Need need, int64_t target) {
      return need == Need::kCount ? counts[target] : by_need[static_cast<size_t>(need)];
    }
  };

  static Add sum(const Value* current, int64_t amount);
  uint64_t version_of(Bytes key) const;
  bool is_met(Bytes key, Need need, int64_t target) const;
  // After a write of the key's value. Most writes find nobody waiting, whatever their key.
  void wake(Bytes key) {
    if (!wait_lists_.empty()) wake_written(key);
    note_change(key);
  }
  void note_change(Bytes key) {
    if (!feeds_.empty()) [[unlikely]]
      wake_watching(key);
  }
  bool is_watched(Bytes prefix) const;
  std::optional<std::string> take_item(Bytes key);
  void wake_written(Bytes key);
  void wake_erased(Bytes key);
  void wake_watching(Bytes key);
  void wake_queue(Bytes key);
  void wake_need(Bytes key, WaitLists& lists, Need need, size_t woken_max = SIZE_MAX);
  void wake_counts(Bytes key, WaitLists& lists);
  bool wake_list(Bytes key, ListOfNeed& list, size_t woken_max = SIZE_MAX);
  bool is_enough_at_once() const { return woken_.size() + walked_ >= kWokenAtOnce; }
  void leave_for_later(Bytes key, Need need, ListOfNeed list, bool is_group);
  bool look_on(Waiter& waiter, const Bytes*& missing) const;
  void wake_first(Ripe& ripe);
  void drop_list_if_empty(Waiter& waiter, Bytes key);
  void drop_if_empty(Bytes key);
  void park(Waiter& waiter, Bytes key);
  void unlink(Waiter& waiter);
  void destroy(Waiter& waiter);
  const Bytes* missing_key(Waiter& waiter) const;
  Waiter* add_waiter(WaiterOwner& owner, uint64_t tag, SharedKeys keys, Need need, int64_t target);
  void join_group(Waiter& waiter, Waiter& leader);
  void leave_group(Waiter& waiter);
  void wake_group(Waiter& leader, Bytes key);
  Woken woken(Waiter& waiter, const Ripe* ripe);
  void hit(Value& value) { hits_ |= std::exchange(value.marks, 0); }
  // What is at the key came or went as a whole.
  void hit_absent(Bytes key) {
    if (!absent_marks_.empty()) take_absent_marks(key);
  }
  void take_absent_marks(Bytes key);

  static constexpr size_t kKeyBytes = 224;  // beside its name and its value
  static constexpr size_t kQueueBytes = 640;
  static constexpr size_t kItemBytes = 48;

  using Values = BytesMap<Value>;

  Values values_;
  NameIndex names_;  // of values_, which owns them
  PrefixFeeds feeds_;
  BytesMap<std::deque<std::string>> queues_;
  Expiries expiries_;
  BytesMap<WaitLists> wait_lists_;
  // The first of those who wait for one shared list; the others follow it.
  std::map<std::pair<const WantedKeys*, Need>, Waiter*> leaders_;
  std::vector<Woken> woken_;
  std::deque<Ripe> ripe_;
  size_t walked_ = 0;             // of waiters that were moved on since take_woken()
  BytesMap<Marks> absent_marks_;  // of keys without a value
  Marks hits_ = 0;
  uint64_t version_ = 0;
  uint64_t losses_ = 0;
  size_t bytes_ = 0;
  size_t waiter_count_ = 0;
};

}  // namespace rdzv
