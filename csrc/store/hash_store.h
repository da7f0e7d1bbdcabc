// A store in the memory of this process, for threads of one process and for tests. One lock around
// a Table; a blocked call sleeps on its own condition, so that a write wakes only whom it concerns.
// Whoever takes the lock deletes what is due first, so nobody sees a key whose time has passed.
// A forked child has a copy of its own, as of the fork.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/fork_hold.h"
#include "base/mutex.h"
#include "base/random.h"
#include "store/meeting.h"
#include "store/store.h"
#include "store/table.h"

namespace rdzv {

class HashStore final : public Store, public std::enable_shared_from_this<HashStore> {
 public:
  void set(Bytes key, Bytes value) override;
  std::string get(Bytes key, Duration timeout) override;
  TakenBytes read(Bytes key, Duration timeout) override;
  Exchange compare_exchange(Bytes key, Bytes expected, Bytes desired) override;
  int64_t add(Bytes key, int64_t amount) override;
  bool check(const std::vector<Bytes>& keys) override;
  void wait(const std::vector<Bytes>& keys, Duration timeout) override;
  bool delete_key(Bytes key) override;
  int64_t num_keys() override;
  std::vector<std::string> list_keys(Bytes prefix) override;
  void append(Bytes key, Bytes value) override;
  std::vector<std::string> multi_get(const std::vector<Bytes>& keys, Duration timeout) override;
  std::vector<TakenBytes> multi_read(const std::vector<Bytes>& keys, Duration timeout) override;
  void multi_set(const std::vector<Bytes>& pairs) override;
  void queue_push(Bytes key, Bytes item) override;
  std::string queue_pop(Bytes key, bool block, Duration timeout) override;
  int64_t queue_len(Bytes key) override;
  void barrier(Bytes key, int64_t world_size, Duration timeout) override;
  void barrier_as(Bytes key, const Seat& seat, Duration timeout) override;
  Versioned try_get(Bytes key) override;
  Versioned watch(Bytes key, uint64_t known_version, Duration timeout) override;
  VersionSet set_if_version(Bytes key, Bytes value, uint64_t version) override;
  void set_for(Bytes key, Bytes value, Duration ttl) override;
  int64_t delete_prefix(Bytes prefix) override;
  std::vector<std::string> exchange(Bytes key, int64_t rank, int64_t world_size, Bytes value,
                                    Duration timeout) override;
  using Store::clone;
  std::shared_ptr<Store> clone(Duration) override { return shared_from_this(); }
  std::string describe() const override { return "HashStore"; }

 private:
  // A blocked call: where the writer puts the values it was waiting for, while they are there.
  struct Blocked : Table::WaiterOwner {
    explicit Blocked(Table::Need what) : need(what) {}

    const Table::Need need;
    const std::thread::id thread = std::this_thread::get_id();
    bool done = false;
    // kChange: when the key goes by itself. Whatever changes that ends the waiting.
    std::optional<Instant> expires_at;
    std::vector<TakenBytes> values;
    std::string item;  // kItem
    Versioned changed;
    Condition woken;
  };

  Lock enter();
  std::vector<TakenBytes> wait_for(const char* operation, const std::vector<Bytes>& keys,
                                   Duration timeout, Table::Need need);
  bool sleep_until_done(Lock& lock, Blocked& blocked, const Deadline& deadline);
  void meet(const BarrierCall& call, Duration timeout);
  void wake();    // mutex_ is held
  void expire();  // mutex_ is held
  Versioned versioned(Bytes key) const;
  std::vector<TakenBytes> values_of(const std::vector<Bytes>& keys) const;

  void forget_other_threads();

  Mutex mutex_;  // protects all below
  Table table_{random_seed()};
  ForkHold over_forks_{mutex_, [this] { forget_other_threads(); }};
};

}  // namespace rdzv
