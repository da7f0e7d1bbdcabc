// What the clients of both protocols have in common: a store behind an address, made by one
// process. Each keeps its own connections. Any thread may call any method.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "store/store.h"

namespace rdzv {

class RemoteStore : public Store {
 public:
  RemoteStore(std::string host, uint16_t port, Duration timeout);

  // Makes a connection now, so that a caller knows that there is a store.
  virtual void connect(const Deadline& deadline) = 0;
  // A round trip that does nothing.
  virtual void ping() = 0;
  // Ends all connections. Later calls throw kClosed.
  void close() override = 0;
  // The numeric address of this client's end of the connection: as the server saw it, where the
  // protocol tells.
  virtual std::string observed_address() = 0;
  // add to a key as it is on the wire: users' keys carry a '/' there, and the count of workers does
  // not.
  virtual int64_t add_wire_key(Bytes wire_key, Bytes shown_key, int64_t amount,
                               Duration timeout) = 0;

  std::string describe() const override;
  // A store of the same kind, for the same server, and not connected yet.
  virtual std::shared_ptr<RemoteStore> sibling() const = 0;
  // A sibling that is connected.
  using Store::clone;
  std::shared_ptr<Store> clone(Duration timeout) final;

 protected:
  const std::string& host() const { return host_; }
  uint16_t port() const { return port_; }
  bool is_own_process() const;
  virtual bool is_closed() const = 0;
  // Throws kClosed in a forked child, which shares its parent's connections.
  void check_process() const;
  [[noreturn]] void throw_closed() const;

 private:
  std::string host_;
  uint16_t port_;
  int64_t owner_pid_;
};

}  // namespace rdzv
