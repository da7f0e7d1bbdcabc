#include "store/prefix_store.h"

#include "base/error.h"
#include "base/text.h"

namespace rdzv {

PrefixStore::FullKeys::FullKeys(const std::string& prefix, const std::vector<Bytes>& strings,
                                size_t strings_an_item)
    : views_(strings) {
  owned_.reserve(strings.size());
  for (size_t i = 0; i < strings.size(); i += strings_an_item)
    views_[i] = owned_.emplace_back(prefix + std::string(strings[i]));
}

PrefixStore::PrefixStore(Bytes prefix, std::shared_ptr<Store> store)
    : prefix_(std::string(prefix) + "/"), store_(std::move(store)) {}

void PrefixStore::throw_named(const Error& error) const {
  Missing missing = error.missing();
  for (std::string& key : missing.keys) {
    if (key.starts_with(prefix_)) key.erase(0, prefix_.size());
  }
  throw Error(error.code(), error.message(), std::move(missing));
}

std::vector<std::string> PrefixStore::list_keys(Bytes prefix) {
  std::vector<std::string> keys = on(&Store::list_keys, prefix);
  for (std::string& key : keys) key.erase(0, prefix_.size());
  return keys;
}

std::shared_ptr<Store> PrefixStore::clone(Duration timeout) {
  return std::make_shared<PrefixStore>(Bytes(prefix_).substr(0, prefix_.size() - 1),
                                       store_->clone(timeout));
}

std::string PrefixStore::describe() const {
  return "PrefixStore " + quoted(prefix_.substr(0, prefix_.size() - 1)) + " over " +
         store_->describe();
}

}  // namespace rdzv
