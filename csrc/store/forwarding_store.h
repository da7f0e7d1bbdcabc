// A store that hands its operations on to another one, all in the same way: this is the one list of
// them. `Way` derives from it and says what happens on the way:
//
//   template <typename Operation, typename... Arguments>
//   auto on(Operation operation, const Arguments&... arguments);
//
// calls `operation`, a member function of Store. What keys it has are the first argument: one key,
// a prefix, a list of keys, or Pairs.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "store/store.h"

namespace rdzv {

template <typename Way>
class ForwardingStore : public Store {
 public:
  using Keys = std::vector<Bytes>;
  // Key, value, key, value...
  struct Pairs {
    const Keys& strings;
    operator const Keys&() const { return strings; }
  };

  void set_for(Bytes key, Bytes value, Duration ttl) override {
    on(&Store::set_for, key, value, ttl);
  }
  TakenBytes read(Bytes key, Duration timeout) override { return on(&Store::read, key, timeout); }
  Exchange compare_exchange(Bytes key, Bytes expected, Bytes desired) override {
    return on(&Store::compare_exchange, key, expected, desired);
  }
  int64_t add(Bytes key, int64_t amount) override { return on(&Store::add, key, amount); }
  bool check(const Keys& keys) override { return on(&Store::check, keys); }
  void wait(const Keys& keys, Duration timeout) override { on(&Store::wait, keys, timeout); }
  bool delete_key(Bytes key) override { return on(&Store::delete_key, key); }
  int64_t num_keys() override { return on(&Store::num_keys); }
  std::vector<std::string> list_keys(Bytes prefix) override {
    return on(&Store::list_keys, prefix);
  }
  void append(Bytes key, Bytes value) override { on(&Store::append, key, value); }
  std::vector<TakenBytes> multi_read(const Keys& keys, Duration timeout) override {
    return on(&Store::multi_read, keys, timeout);
  }
  void multi_set(const Keys& pairs) override { on(&Store::multi_set, Pairs{pairs}); }
  void queue_push(Bytes key, Bytes item) override { on(&Store::queue_push, key, item); }
  TakenBytes queue_pop(Bytes key, bool block, Duration timeout) override {
    return on(&Store::queue_pop, key, block, timeout);
  }
  int64_t queue_len(Bytes key) override { return on(&Store::queue_len, key); }
  void barrier_as(Bytes key, const Seat& seat, Duration timeout) override {
    on(&Store::barrier_as, key, seat, timeout);
  }
  Versioned try_get(Bytes key) override { return on(&Store::try_get, key); }
  Versioned watch(Bytes key, uint64_t known_version, Duration timeout) override {
    return on(&Store::watch, key, known_version, timeout);
  }
  VersionSet set_if_version(Bytes key, Bytes value, uint64_t version) override {
    return on(&Store::set_if_version, key, value, version);
  }
  int64_t delete_prefix(Bytes prefix) override { return on(&Store::delete_prefix, prefix); }
  std::vector<TakenBytes> exchange(Bytes key, int64_t rank, int64_t world_size, Bytes value,
                                   Duration timeout) override {
    return on(&Store::exchange, key, rank, world_size, value, timeout);
  }
  using Store::clone;

 private:
  template <typename... Arguments>
  auto on(const Arguments&... arguments) {
    return static_cast<Way*>(this)->on(arguments...);
  }
};

}  // namespace rdzv
