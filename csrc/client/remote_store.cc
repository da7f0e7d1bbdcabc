#include "client/remote_store.h"

#include <unistd.h>

#include <utility>

#include "base/error.h"
#include "net/address.h"

namespace rdzv {

RemoteStore::RemoteStore(std::string host, uint16_t port, Duration timeout)
    : host_(std::move(host)), port_(port), owner_pid_(::getpid()) {
  set_timeout(timeout);
}

std::string RemoteStore::describe() const {
  return "TCPStore " + format_endpoint(host_, port_);
}

std::shared_ptr<Store> RemoteStore::clone(Duration timeout) {
  if (is_closed()) throw_closed();
  check_process();
  std::shared_ptr<RemoteStore> store = sibling();
  store->connect(Deadline::after(timeout));
  return store;
}

bool RemoteStore::is_own_process() const {
  return ::getpid() == owner_pid_;
}

void RemoteStore::check_process() const {
  if (is_own_process()) return;
  throw Error(ErrorCode::kClosed,
              describe() + " was made by process " + std::to_string(owner_pid_) +
                  " and cannot be used in its forked child; make a new store there");
}

void RemoteStore::throw_closed() const {
  throw Error(ErrorCode::kClosed, describe() + " was closed; make a new store");
}

}  // namespace rdzv
