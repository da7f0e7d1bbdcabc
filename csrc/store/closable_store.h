// A user's hold on a store in memory, in a file, or below a prefix, which close() ends: later calls
// throw kClosed, those that wait end within kInterruptSlice, and the store goes (its descriptors,
// its memory) with the last call that is in it. A TCPStore closes itself.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "store/store.h"

namespace rdzv {

class ClosableStore : public Store {
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
  std::shared_ptr<Store> clone(Duration timeout) override;
  std::string describe() const override { return name_; }
  Duration timeout() const override;
  void set_timeout(Duration timeout) override;
  // May be called again.
  void close() override;

 protected:
  explicit ClosableStore(std::shared_ptr<Store> store);

  // Another hold of the same kind, on a clone of the store.
  virtual std::shared_ptr<Store> hold(std::shared_ptr<Store> clone) = 0;

 private:
  class Visit;

  void leave() const;

  const std::string name_;
  std::atomic<bool> closed_{false};
  // Calls in the store, twice, and 1 once it is closed: whoever brings it to 1 lets go of it.
  mutable std::atomic<uint64_t> visits_{0};
  mutable std::atomic<bool> gone_{false};
  mutable std::shared_ptr<Store> store_;
};

}  // namespace rdzv
