// What is behind a Python class that is derived from Store: says what the class does not define, or
// makes it of what the class does define. The class's own methods never come here.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <string>
#include <vector>

#include "bindings/foreign_store.h"
#include "store/store.h"

namespace rdzv {

class PythonStore final : public Store {
 public:
  void set(Bytes, Bytes) override { throw_missing("set"); }
  std::string get(Bytes, Duration) override { throw_missing("get"); }
  // Each of compare_set and compare_exchange is made of the other.
  Exchange compare_exchange(Bytes key, Bytes expected, Bytes desired) override;
  int64_t add(Bytes, int64_t) override { throw_missing("add"); }
  bool check(const std::vector<Bytes>&) override { throw_missing("check"); }
  void wait(const std::vector<Bytes>&, Duration) override { throw_missing("wait"); }
  bool delete_key(Bytes) override { throw_missing("delete_key"); }
  int64_t num_keys() override { throw_missing("num_keys"); }
  std::vector<std::string> list_keys(Bytes) override { throw_missing("list_keys"); }
  void append(Bytes, Bytes) override { throw_missing("append"); }
  std::vector<std::string> multi_get(const std::vector<Bytes>&, Duration) override {
    throw_missing("multi_get");
  }
  void multi_set(const std::vector<Bytes>&) override { throw_missing("multi_set"); }
  void queue_push(Bytes, Bytes) override { throw_missing("queue_push"); }
  std::string queue_pop(Bytes, bool, Duration) override { throw_missing("queue_pop"); }
  int64_t queue_len(Bytes) override { throw_missing("queue_len"); }
  void barrier(Bytes, int64_t, Duration) override { throw_missing("barrier"); }
  Versioned try_get(Bytes key) override { return overridden()->composed_try_get(key); }
  Versioned watch(Bytes, uint64_t, Duration) override { throw_missing("watch"); }
  VersionSet set_if_version(Bytes, Bytes, uint64_t) override { throw_missing("set_if_version"); }
  void set_for(Bytes, Bytes, Duration) override { throw_missing("set"); }
  int64_t delete_prefix(Bytes prefix) override {
    return overridden()->composed_delete_prefix(prefix);
  }
  std::vector<std::string> exchange(Bytes key, int64_t rank, int64_t world_size, Bytes value,
                                    Duration timeout) override {
    return overridden()->composed_exchange(key, rank, world_size, value, timeout);
  }
  using Store::clone;
  std::shared_ptr<Store> clone(Duration) override { throw_missing("clone"); }
  std::string describe() const override { return overridden()->describe(); }

  bool has_extended_api() const { return overridden()->has_extended_api(); }

 private:
  // This store as the class derived from ours has made it.
  std::unique_ptr<ForeignStore> overridden() const;
  [[noreturn]] void throw_missing(const char* method) const;
};

// The store that a Python object is: one of ours, or any other object with a store's methods.
// Raises TypeError for what has not even get and set.
std::shared_ptr<Store> store_from_python(const pybind11::object& object);

// As torch asks it, before it uses append, multi_get and multi_set.
bool has_extended_api(const Store& store);

}  // namespace rdzv
