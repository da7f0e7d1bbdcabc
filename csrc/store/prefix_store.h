// A view of another store in which every key begins with "<prefix>/": a name space of its own.
// Nested views add up. It holds its store; the timeout is the underlying one's.
#pragma once

#include <memory>

#include "store/store.h"

namespace rdzv {

class PrefixStore final : public Store {
 public:
  PrefixStore(Bytes prefix, std::shared_ptr<Store> store);

  const std::shared_ptr<Store>& underlying_store() const { return store_; }

  void set(Bytes key, Bytes value) override;
  std::string get(Bytes key, Duration timeout) override;
  TakenBytes read(Bytes key, Duration timeout) override;
  Exchange compare_exchange(Bytes key, Bytes expected, Bytes desired) override;
  int64_t add(Bytes key, int64_t amount) override;
  bool check(const std::vector<Bytes>& keys) override;
  void wait(const std::vector<Bytes>& keys, Duration timeout) override;
  bool delete_key(Bytes key) override;
  // Of the underlying store: it cannot count by prefix without listing.
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
  std::string describe() const override;
  Duration timeout() const override { return store_->timeout(); }
  void set_timeout(Duration timeout) override { store_->set_timeout(timeout); }

 private:
  std::string full(Bytes key) const;
  // What `call` returns. Keys that its error names are named as this store's user knows them.
  template <typename Call>
  auto named(Call&& call) const;

  std::string prefix_;  // with its '/'
  std::shared_ptr<Store> store_;
};

}  // namespace rdzv
