// The contract of every key-value store. Any thread may call any method at any time; no call holds
// up another.
//
// Blocking calls return or throw within their timeout (plus at most 100 ms), whatever the other
// side does; a timeout of zero means now or never. Errors: kTimeout (what was waited for is not
// there; names it), kNoAnswer (nobody said so in time), kLimit, kNotANumber, kInvalidArgument,
// kConnection and its kin; kUnsupported for what a store of a kind cannot do.
//
// Each operation is declared here, in ForwardingStore, and by those that carry it out: LocalStore,
// NativeStore, C10dStore. All other stores are made of these.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "store/meeting.h"
#include "store/taken_bytes.h"

namespace rdzv {

class Store {
 public:
  struct Exchange {
    bool swapped = false;
    bool exists = false;  // whether a value is there now
    TakenBytes value;     // what is there now; empty if swapped, as the caller has it
    uint64_t version = 0;
  };

  struct Versioned {
    TakenBytes value;
    uint64_t version = 0;  // 0: there is no value
  };
  struct VersionSet {
    bool swapped = false;
    uint64_t version = 0;  // what is there now; 0: no value
  };

  static constexpr Duration kDefaultTimeout = std::chrono::seconds(300);

  virtual ~Store() = default;

  void set(Bytes key, Bytes value) { set_for(key, value, kForever); }
  // The key is deleted after `ttl` (more than 0; kForever: never) unless it is set again before: by
  // set_for, or for good by any other write that replaces the value. add and append keep its time.
  virtual void set_for(Bytes key, Bytes value, Duration ttl) = 0;
  // Waits until the key is there.
  virtual TakenBytes read(Bytes key, Duration timeout) = 0;
  std::string get(Bytes key, Duration timeout) { return read(key, timeout).own(); }
  // Sets `desired` if the value equals `expected`, or if there is none and `expected` is empty.
  virtual Exchange compare_exchange(Bytes key, Bytes expected, Bytes desired) = 0;
  // The value is a decimal 64-bit number; a missing key counts as 0. Returns the sum.
  virtual int64_t add(Bytes key, int64_t amount) = 0;
  // Whether all keys are there, now.
  virtual bool check(const std::vector<Bytes>& keys) = 0;
  // Waits until all keys are there at the same time.
  virtual void wait(const std::vector<Bytes>& keys, Duration timeout) = 0;
  // Whether there was such a key.
  virtual bool delete_key(Bytes key) = 0;
  virtual int64_t num_keys() = 0;
  // The keys that begin with `prefix`, sorted.
  virtual std::vector<std::string> list_keys(Bytes prefix) = 0;
  // Adds to the end of the value; a missing key is created.
  virtual void append(Bytes key, Bytes value) = 0;
  // Waits until all keys are there, then returns their values as of one moment.
  virtual std::vector<TakenBytes> multi_read(const std::vector<Bytes>& keys, Duration timeout) = 0;
  std::vector<std::string> multi_get(const std::vector<Bytes>& keys, Duration timeout);
  // `pairs`: key, value, key, value... All become visible at once.
  virtual void multi_set(const std::vector<Bytes>& pairs) = 0;

  // Queues: first in, first out, in a name space of their own that num_keys and list_keys do not
  // show. check and wait take a queue that is not empty for a key that is there.
  virtual void queue_push(Bytes key, Bytes item) = 0;
  // Takes the first item. An empty queue: waits for one, or without `block` throws kQueueEmpty.
  virtual TakenBytes queue_pop(Bytes key, bool block, Duration timeout) = 0;
  virtual int64_t queue_len(Bytes key) = 0;

  // Waits until `world_size` callers have come. The number at the key counts them. A key serves
  // once: one caller more, or another world size, throws kInvalidArgument. Who times out is counted
  // no more.
  void barrier(Bytes key, int64_t world_size, Duration timeout) {
    barrier_as(key, {.world_size = world_size}, timeout);
  }
  // The same for ranks, if the seat has one: one that comes again (after a timeout) counts once,
  // and a timeout names those that are missing. One key serves for many rounds, which each rank
  // counts from 1. What each has come to is at `key`/0 ... `key`/world_size - 1. A rank that has
  // passed a round and comes to it again throws kInvalidArgument.
  using Seat = BarrierSeat;
  virtual void barrier_as(Bytes key, const Seat& seat, Duration timeout) = 0;

  // The value now, with its version; version 0: there is none.
  virtual Versioned try_get(Bytes key) = 0;
  // Versions: every write gives the key a new one, never used before in this store; 0 is that of a
  // missing key. Waits until the key's version is another than `known_version` (deletion counts)
  // and returns what is there then. Changes that follow each other fast may be seen as one.
  virtual Versioned watch(Bytes key, uint64_t known_version, Duration timeout) = 0;
  // Sets the value if the key's version is `version` (0: if there is no value).
  virtual VersionSet set_if_version(Bytes key, Bytes value, uint64_t version) = 0;
  // Deletes the keys that begin with `prefix`; returns how many there were.
  virtual int64_t delete_prefix(Bytes prefix) = 0;

  // All-gather: gives this rank's value and returns those of all ranks, by rank, once every rank
  // has come. The values stay at `key`/0 ... `key`/world_size - 1, and their count at `key`: an
  // exchange's key serves once. A rank that comes again (after a timeout) counts once; another
  // value when all have come, or another world size, throws kInvalidArgument. A timeout names the
  // ranks that are missing.
  virtual std::vector<TakenBytes> exchange(Bytes key, int64_t rank, int64_t world_size, Bytes value,
                                           Duration timeout) = 0;

  // For another user of the same store: with a connection and a timeout of its own, where there is
  // one, which it opens within `timeout`. A HashStore is its own clone.
  virtual std::shared_ptr<Store> clone(Duration timeout) = 0;
  std::shared_ptr<Store> clone() { return clone(timeout()); }

  // Ends this object's use of the store, where it holds something: later calls throw kClosed.
  virtual void close() {}

  // "HashStore", "TCPStore 10.0.0.1:29400": for messages.
  virtual std::string describe() const = 0;

  // What blocking calls without a timeout of their own take, and what others allow the network.
  virtual Duration timeout() const { return timeout_.load(); }
  virtual void set_timeout(Duration timeout) { timeout_.store(timeout); }

 private:
  std::atomic<Duration> timeout_{kDefaultTimeout};
};

// What a store that does its operations itself declares: all of the above but queue_pop.
#define RDZV_STORE_OPERATIONS                                                                    \
  void set_for(Bytes key, Bytes value, Duration ttl) override;                                   \
  TakenBytes read(Bytes key, Duration timeout) override;                                         \
  Exchange compare_exchange(Bytes key, Bytes expected, Bytes desired) override;                  \
  int64_t add(Bytes key, int64_t amount) override;                                               \
  bool check(const std::vector<Bytes>& keys) override;                                           \
  void wait(const std::vector<Bytes>& keys, Duration timeout) override;                          \
  bool delete_key(Bytes key) override;                                                           \
  int64_t num_keys() override;                                                                   \
  std::vector<std::string> list_keys(Bytes prefix) override;                                     \
  void append(Bytes key, Bytes value) override;                                                  \
  std::vector<TakenBytes> multi_read(const std::vector<Bytes>& keys, Duration timeout) override; \
  void multi_set(const std::vector<Bytes>& pairs) override;                                      \
  void queue_push(Bytes key, Bytes item) override;                                               \
  int64_t queue_len(Bytes key) override;                                                         \
  void barrier_as(Bytes key, const Seat& seat, Duration timeout) override;                       \
  Versioned try_get(Bytes key) override;                                                         \
  Versioned watch(Bytes key, uint64_t known_version, Duration timeout) override;                 \
  VersionSet set_if_version(Bytes key, Bytes value, uint64_t version) override;                  \
  int64_t delete_prefix(Bytes prefix) override;                                                  \
  std::vector<TakenBytes> exchange(Bytes key, int64_t rank, int64_t world_size, Bytes value,     \
                                   Duration timeout) override;

// Throw kLimit for what no store takes.
void check_key(const char* operation, Bytes key);
void check_value(const char* operation, Bytes key, Bytes value);  // and the key
void check_value_size(const char* operation, Bytes key,
                      size_t size);  // for append: of the whole value
void check_keys(const char* operation, const std::vector<Bytes>& keys);
void check_pairs(const char* operation, const std::vector<Bytes>& pairs);

// The text of a timeout: operation, missing keys, time, store, what to do. `missing` may be the
// first of `count` keys.
std::string timeout_text(const char* operation, const std::vector<Bytes>& missing, size_t wanted,
                         Duration elapsed, size_t count = 0);
std::string queue_timeout_text(Bytes key, Duration elapsed);
std::string watch_timeout_text(Bytes key, uint64_t known_version, Duration elapsed);
std::string watch_prefix_timeout_text(Bytes prefix, Duration elapsed);
// What an error of that names.
Missing missing_of(const std::vector<Bytes>& keys);
[[noreturn]] void throw_queue_empty(Bytes key, const std::string& store);
// Throws kInvalidArgument.
void check_time_to_live(Bytes key, Duration ttl);
std::string not_a_number_text(Bytes key, Bytes value, int64_t amount, bool overflow);

}  // namespace rdzv
