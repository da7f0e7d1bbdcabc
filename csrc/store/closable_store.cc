#include "store/closable_store.h"

#include <utility>

#include "base/call_scope.h"
#include "base/error.h"

namespace rdzv {

// One call in the store. Throws kClosed where there is none any more.
class ClosableStore::Visit {
 public:
  explicit Visit(const ClosableStore& hold) : hold_(hold), scope_(hold.closed_, hold.name_) {
    if ((hold.visits_.fetch_add(2) & 1) == 0) return;
    hold.leave();
    throw Error(ErrorCode::kClosed, hold.name_ + " is closed; open it again to use it");
  }
  ~Visit() { hold_.leave(); }
  Visit(const Visit&) = delete;
  Visit& operator=(const Visit&) = delete;

  Store* operator->() const { return hold_.store_.get(); }

 private:
  const ClosableStore& hold_;
  CallScope scope_;
};

ClosableStore::ClosableStore(std::shared_ptr<Store> store)
    : name_(store->describe()), store_(std::move(store)) {}

void ClosableStore::leave() const {
  if (visits_.fetch_sub(2) == 3 && !gone_.exchange(true)) store_.reset();
}

void ClosableStore::close() {
  closed_.store(true);
  if (visits_.fetch_or(1) == 0 && !gone_.exchange(true)) store_.reset();
}

void ClosableStore::set(Bytes key, Bytes value) {
  Visit(*this)->set(key, value);
}

std::string ClosableStore::get(Bytes key, Duration timeout) {
  return Visit(*this)->get(key, timeout);
}

TakenBytes ClosableStore::read(Bytes key, Duration timeout) {
  return Visit(*this)->read(key, timeout);
}

Store::Exchange ClosableStore::compare_exchange(Bytes key, Bytes expected, Bytes desired) {
  return Visit(*this)->compare_exchange(key, expected, desired);
}

int64_t ClosableStore::add(Bytes key, int64_t amount) {
  return Visit(*this)->add(key, amount);
}

bool ClosableStore::check(const std::vector<Bytes>& keys) {
  return Visit(*this)->check(keys);
}

void ClosableStore::wait(const std::vector<Bytes>& keys, Duration timeout) {
  Visit(*this)->wait(keys, timeout);
}

bool ClosableStore::delete_key(Bytes key) {
  return Visit(*this)->delete_key(key);
}

int64_t ClosableStore::num_keys() {
  return Visit(*this)->num_keys();
}

std::vector<std::string> ClosableStore::list_keys(Bytes prefix) {
  return Visit(*this)->list_keys(prefix);
}

void ClosableStore::append(Bytes key, Bytes value) {
  Visit(*this)->append(key, value);
}

std::vector<std::string> ClosableStore::multi_get(const std::vector<Bytes>& keys,
                                                  Duration timeout) {
  return Visit(*this)->multi_get(keys, timeout);
}

std::vector<TakenBytes> ClosableStore::multi_read(const std::vector<Bytes>& keys,
                                                  Duration timeout) {
  return Visit(*this)->multi_read(keys, timeout);
}

void ClosableStore::multi_set(const std::vector<Bytes>& pairs) {
  Visit(*this)->multi_set(pairs);
}

void ClosableStore::queue_push(Bytes key, Bytes item) {
  Visit(*this)->queue_push(key, item);
}

std::string ClosableStore::queue_pop(Bytes key, bool block, Duration timeout) {
  return Visit(*this)->queue_pop(key, block, timeout);
}

int64_t ClosableStore::queue_len(Bytes key) {
  return Visit(*this)->queue_len(key);
}

void ClosableStore::barrier(Bytes key, int64_t world_size, Duration timeout) {
  Visit(*this)->barrier(key, world_size, timeout);
}

void ClosableStore::barrier_as(Bytes key, const Seat& seat, Duration timeout) {
  Visit(*this)->barrier_as(key, seat, timeout);
}

Store::Versioned ClosableStore::try_get(Bytes key) {
  return Visit(*this)->try_get(key);
}

Store::Versioned ClosableStore::watch(Bytes key, uint64_t known_version, Duration timeout) {
  return Visit(*this)->watch(key, known_version, timeout);
}

Store::VersionSet ClosableStore::set_if_version(Bytes key, Bytes value, uint64_t version) {
  return Visit(*this)->set_if_version(key, value, version);
}

void ClosableStore::set_for(Bytes key, Bytes value, Duration ttl) {
  Visit(*this)->set_for(key, value, ttl);
}

int64_t ClosableStore::delete_prefix(Bytes prefix) {
  return Visit(*this)->delete_prefix(prefix);
}

std::vector<std::string> ClosableStore::exchange(Bytes key, int64_t rank, int64_t world_size,
                                                 Bytes value, Duration timeout) {
  return Visit(*this)->exchange(key, rank, world_size, value, timeout);
}

std::shared_ptr<Store> ClosableStore::clone(Duration timeout) {
  return hold(Visit(*this)->clone(timeout));
}

// What a closed store's timeout is matters to nobody, but asking for it is no misuse.
Duration ClosableStore::timeout() const {
  return closed_.load() ? Store::timeout() : Visit(*this)->timeout();
}

void ClosableStore::set_timeout(Duration timeout) {
  Store::set_timeout(timeout);
  Visit(*this)->set_timeout(timeout);
}

}  // namespace rdzv
