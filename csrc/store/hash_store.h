// A store in the memory of this process, for threads of one process and for tests. One lock around
// a Table. Whoever takes the lock deletes what is due first, so nobody sees a key whose time has
// passed. A forked child has a copy of its own, as of the fork.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/fork_hold.h"
#include "base/random.h"
#include "store/local_store.h"

namespace rdzv {

class HashStore final : public LocalStore, public std::enable_shared_from_this<HashStore> {
 public:
  TakenBytes queue_pop(Bytes key, bool block, Duration timeout) override;
  using Store::clone;
  std::shared_ptr<Store> clone(Duration) override { return shared_from_this(); }
  std::string describe() const override { return "HashStore"; }

 private:
  Table& table() override { return table_; }
  Instant table_now() const override { return now(); }
  Lock begin_reading(const char* operation, Duration timeout) override;
  Lock begin_writing(const char* operation, Duration timeout) override {
    return begin_reading(operation, timeout);
  }
  void put(Bytes key, Bytes value, std::optional<Instant> expires_at) override;
  void put_all(const std::vector<Bytes>& pairs) override;
  void extend(Bytes key, Bytes value) override;
  void erase(Bytes key) override;
  void erase_prefix(Bytes prefix) override;
  void push(Bytes key, Bytes item) override;
  void sleep_until_done(Lock& lock, Blocked& blocked, const Deadline& deadline,
                        const char* operation) override;

  void expire();
  void forget_other_threads();

  Table table_{random_seed()};
  ForkHold over_forks_{mutex_, [this] { forget_other_threads(); }};
};

}  // namespace rdzv
