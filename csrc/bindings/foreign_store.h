// A store that is a Python object: one of torch's, or one written in Python (a class derived from
// Store, or any object with a store's methods). C++ calls its methods, with the GIL, which its
// callers have let go of; what the object raises passes through unchanged.
//
// The object need not have more than torch's stores: what it lacks is made of what it has, where
// that is possible, and else throws kUnsupported.
#pragma once

#include <pybind11/pybind11.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bindings/python_object.h"
#include "store/store.h"

namespace rdzv {

class ForeignStore final : public Store {
 public:
  // With the GIL, as everything that names Python objects.
  explicit ForeignStore(pybind11::object object);

  pybind11::object object() const { return object_.get(); }
  // Whether the object has the method; those of our class Store do not count.
  bool has(const char* method) const;
  bool has_extended_api() const;

  void set(Bytes key, Bytes value) override;
  // A get that takes no timeout (as torch's) has one by wait and compare_set.
  std::string get(Bytes key, Duration timeout) override;
  // Over compare_set, `swapped` may be wrong when another client writes at the same time.
  Exchange compare_exchange(Bytes key, Bytes expected, Bytes desired) override;
  int64_t add(Bytes key, int64_t amount) override;
  bool check(const std::vector<Bytes>& keys) override;
  void wait(const std::vector<Bytes>& keys, Duration timeout) override;
  bool delete_key(Bytes key) override;
  int64_t num_keys() override;
  std::vector<std::string> list_keys(Bytes prefix) override;
  void append(Bytes key, Bytes value) override;
  std::vector<std::string> multi_get(const std::vector<Bytes>& keys, Duration timeout) override;
  void multi_set(const std::vector<Bytes>& pairs) override;
  void queue_push(Bytes key, Bytes item) override;
  // A queue_pop that takes no timeout is asked again and again.
  std::string queue_pop(Bytes key, bool block, Duration timeout) override;
  int64_t queue_len(Bytes key) override;
  void barrier(Bytes key, int64_t world_size, Duration timeout) override;

  // The version says only whether there is a value.
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
  Duration timeout() const override;
  void set_timeout(Duration timeout) override;

  // The same made of other operations, whether or not the object has a method for it.
  Versioned composed_try_get(Bytes key);
  int64_t composed_delete_prefix(Bytes prefix);
  std::vector<std::string> composed_exchange(Bytes key, int64_t rank, int64_t world_size,
                                             Bytes value, Duration timeout);

 private:
  // With the GIL.
  pybind11::object method(const char* name) const;
  bool takes(const char* method, const char* parameter) const;
  [[noreturn]] void throw_missing(const char* method, const std::string& what) const;
  Exchange exchange_by_compare_set(Bytes key, Bytes expected, Bytes desired);
  bool is_own_timeout(Duration timeout) const;
  std::string get_within(Bytes key, Duration timeout);
  std::optional<std::string> read_now(Bytes key);
  bool pop_now(Bytes key, std::string& item);

  PythonObject object_;
  std::string nobodys_value_;
  mutable std::map<std::string, bool> takes_;  // protected by the GIL
};

}  // namespace rdzv
