#include "store/closable_store.h"

#include <utility>

#include "base/error.h"

namespace rdzv {

ClosableStore::Visit::Visit(const ClosableStore& hold)
    : hold_(hold), scope_(hold.closed_, hold.name_) {
  if ((hold.visits_.fetch_add(2) & 1) == 0) return;
  hold.leave();
  throw Error(ErrorCode::kClosed, hold.name_ + " is closed; open it again to use it");
}

ClosableStore::ClosableStore(std::shared_ptr<Store> store)
    : name_(store->describe()), store_(std::move(store)) {}

void ClosableStore::leave() const {
  if (visits_.fetch_sub(2) == 3 && !gone_.exchange(true)) store_.reset();
}

void ClosableStore::close() {
  closed_.store(true);
  if (visits_.fetch_or(1) == 0 && !gone_.exchange(true)) store_.reset();
}

std::shared_ptr<Store> ClosableStore::clone(Duration timeout) {
  const Visit visit(*this);
  return hold(store_->clone(timeout));
}

// What a closed store's timeout is matters to nobody, but asking for it is no misuse.
Duration ClosableStore::timeout() const {
  if (closed_.load()) return Store::timeout();
  const Visit visit(*this);
  return store_->timeout();
}

void ClosableStore::set_timeout(Duration timeout) {
  Store::set_timeout(timeout);
  on(&Store::set_timeout, timeout);
}

}  // namespace rdzv
