#include "store/prefix_store.h"

#include <utility>

#include "base/error.h"
#include "base/text.h"

namespace rdzv {
namespace {

// Owns the longer keys while the underlying store reads them.
class FullKeys {
 public:
  FullKeys(const std::string& prefix, const std::vector<Bytes>& strings, size_t strings_an_item) {
    owned_.reserve(strings.size());
    views_.reserve(strings.size());
    for (size_t i = 0; i < strings.size(); ++i) {
      if (i % strings_an_item != 0) {
        views_.push_back(strings[i]);
        continue;
      }
      owned_.push_back(prefix + std::string(strings[i]));
      views_.push_back(owned_.back());
    }
  }

  const std::vector<Bytes>& views() const { return views_; }

 private:
  std::vector<std::string> owned_;
  std::vector<Bytes> views_;
};

}  // namespace

PrefixStore::PrefixStore(Bytes prefix, std::shared_ptr<Store> store)
    : prefix_(std::string(prefix) + "/"), store_(std::move(store)) {}

std::string PrefixStore::full(Bytes key) const {
  return prefix_ + std::string(key);
}

template <typename Call>
auto PrefixStore::named(Call&& call) const {
  try {
    return call();
  } catch (const Error& error) {
    Missing missing = error.missing();
    for (std::string& key : missing.keys) {
      if (key.starts_with(prefix_)) key.erase(0, prefix_.size());
    }
    throw Error(error.code(), error.message(), std::move(missing));
  }
}

void PrefixStore::set(Bytes key, Bytes value) {
  store_->set(full(key), value);
}

std::string PrefixStore::get(Bytes key, Duration timeout) {
  return named([&] { return store_->get(full(key), timeout); });
}

TakenBytes PrefixStore::read(Bytes key, Duration timeout) {
  return named([&] { return store_->read(full(key), timeout); });
}

Store::Exchange PrefixStore::compare_exchange(Bytes key, Bytes expected, Bytes desired) {
  return store_->compare_exchange(full(key), expected, desired);
}

int64_t PrefixStore::add(Bytes key, int64_t amount) {
  return store_->add(full(key), amount);
}

bool PrefixStore::check(const std::vector<Bytes>& keys) {
  return store_->check(FullKeys(prefix_, keys, 1).views());
}

void PrefixStore::wait(const std::vector<Bytes>& keys, Duration timeout) {
  named([&] { store_->wait(FullKeys(prefix_, keys, 1).views(), timeout); });
}

bool PrefixStore::delete_key(Bytes key) {
  return store_->delete_key(full(key));
}

int64_t PrefixStore::num_keys() {
  return store_->num_keys();
}

std::vector<std::string> PrefixStore::list_keys(Bytes prefix) {
  std::vector<std::string> keys = store_->list_keys(full(prefix));
  for (std::string& key : keys) key.erase(0, prefix_.size());
  return keys;
}

void PrefixStore::append(Bytes key, Bytes value) {
  store_->append(full(key), value);
}

std::vector<std::string> PrefixStore::multi_get(const std::vector<Bytes>& keys, Duration timeout) {
  return named([&] { return store_->multi_get(FullKeys(prefix_, keys, 1).views(), timeout); });
}

std::vector<TakenBytes> PrefixStore::multi_read(const std::vector<Bytes>& keys, Duration timeout) {
  return named([&] { return store_->multi_read(FullKeys(prefix_, keys, 1).views(), timeout); });
}

void PrefixStore::multi_set(const std::vector<Bytes>& pairs) {
  store_->multi_set(FullKeys(prefix_, pairs, 2).views());
}

void PrefixStore::queue_push(Bytes key, Bytes item) {
  store_->queue_push(full(key), item);
}

std::string PrefixStore::queue_pop(Bytes key, bool block, Duration timeout) {
  return named([&] { return store_->queue_pop(full(key), block, timeout); });
}

int64_t PrefixStore::queue_len(Bytes key) {
  return store_->queue_len(full(key));
}

void PrefixStore::barrier(Bytes key, int64_t world_size, Duration timeout) {
  named([&] { store_->barrier(full(key), world_size, timeout); });
}

void PrefixStore::barrier_as(Bytes key, const Seat& seat, Duration timeout) {
  named([&] { store_->barrier_as(full(key), seat, timeout); });
}

Store::Versioned PrefixStore::try_get(Bytes key) {
  return store_->try_get(full(key));
}

Store::Versioned PrefixStore::watch(Bytes key, uint64_t known_version, Duration timeout) {
  return named([&] { return store_->watch(full(key), known_version, timeout); });
}

Store::VersionSet PrefixStore::set_if_version(Bytes key, Bytes value, uint64_t version) {
  return store_->set_if_version(full(key), value, version);
}

void PrefixStore::set_for(Bytes key, Bytes value, Duration ttl) {
  store_->set_for(full(key), value, ttl);
}

int64_t PrefixStore::delete_prefix(Bytes prefix) {
  return store_->delete_prefix(full(prefix));
}

std::vector<std::string> PrefixStore::exchange(Bytes key, int64_t rank, int64_t world_size,
                                               Bytes value, Duration timeout) {
  return named([&] { return store_->exchange(full(key), rank, world_size, value, timeout); });
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
