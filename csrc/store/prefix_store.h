// A view of another store in which every key begins with "<prefix>/": a name space of its own.
// Nested views add up. It holds its store; the timeout is the underlying one's.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "store/forwarding_store.h"

namespace rdzv {

class PrefixStore final : public ForwardingStore<PrefixStore> {
 public:
  PrefixStore(Bytes prefix, std::shared_ptr<Store> store);

  const std::shared_ptr<Store>& underlying_store() const { return store_; }

  // num_keys is that of the underlying store: it cannot count by prefix without listing.
  template <typename Operation>
  auto on(Operation operation) {
    return std::invoke(operation, *store_);
  }
  // Keys that an error names are named as this store's user knows them.
  template <typename Operation, typename Keys, typename... Arguments>
  auto on(Operation operation, const Keys& keys, const Arguments&... arguments) {
    try {
      return std::invoke(operation, *store_, full(keys), arguments...);
    } catch (const Error& error) {
      throw_named(error);
    }
  }
  std::vector<std::string> list_keys(Bytes prefix) override;

  using Store::clone;
  std::shared_ptr<Store> clone(Duration timeout) override;
  std::string describe() const override;
  Duration timeout() const override { return store_->timeout(); }
  void set_timeout(Duration timeout) override { store_->set_timeout(timeout); }

 private:
  // Owns the longer keys while the underlying store reads them.
  class FullKeys {
   public:
    FullKeys(const std::string& prefix, const std::vector<Bytes>& strings, size_t strings_an_item);
    operator const std::vector<Bytes>&() const { return views_; }

   private:
    std::vector<std::string> owned_;
    std::vector<Bytes> views_;
  };

  std::string full(Bytes key) const { return prefix_ + std::string(key); }
  FullKeys full(const std::vector<Bytes>& keys) const { return {prefix_, keys, 1}; }
  FullKeys full(const Pairs& pairs) const { return {prefix_, pairs, 2}; }
  [[noreturn]] void throw_named(const Error& error) const;

  const std::string prefix_;  // with its '/'
  const std::shared_ptr<Store> store_;
};

}  // namespace rdzv
