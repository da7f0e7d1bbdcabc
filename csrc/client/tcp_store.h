// A store on a server, shared by all its clients; optionally it also hosts that server. What goes
// over the wire, and how, is the matter of one of the two clients that it hands all calls to.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "client/remote_store.h"
#include "server/server.h"
#include "store/forwarding_store.h"

namespace rdzv {

class NativeStore;

class TCPStore final : public ForwardingStore<TCPStore> {
 public:
  enum class Protocol {
    kNative,
    kC10d,  // what torch's TCPStore speaks; our server understands both
  };

  struct Options {
    std::string host;
    uint16_t port = 0;
    std::optional<int64_t>
        world_size;          // known: each client counts itself in, and the master waits for all
    bool is_master = false;  // hosts the server
    // Somebody else may host it already: a master that cannot listen is a client then.
    bool may_be_served = false;
    Duration timeout = kDefaultTimeout;  // for connecting, and later for each call
    bool wait_for_workers = true;
    bool multi_tenant = false;  // several masters of this process may share the server of one port
    // The master serves on this socket, which is bound to `port` (or 0) and is the server's then.
    std::optional<int> listen_fd;
    Protocol protocol = Protocol::kNative;
  };

  explicit TCPStore(const Options& options);
  ~TCPStore() override;

  const std::string& host() const { return host_; }
  uint16_t port() const { return port_; }
  std::string observed_address() { return remote_->observed_address(); }
  Protocol protocol() const { return protocol_; }
  // A native client of the same server that is not connected yet. Throws kUnsupported with the c10d
  // protocol.
  std::shared_ptr<NativeStore> native_sibling() const;

  // A round trip that does nothing.
  void ping() { remote_->ping(); }
  // Ends the connection, and the server if this store is its last host. Later calls throw kClosed.
  void close() override;

  template <typename Operation, typename... Arguments>
  auto on(Operation operation, const Arguments&... arguments) {
    return std::invoke(operation, *remote_, arguments...);
  }
  // A client, also of a master's store.
  using Store::clone;
  std::shared_ptr<Store> clone(Duration timeout) override;
  std::string describe() const override { return remote_->describe(); }
  Duration timeout() const override { return remote_->timeout(); }
  void set_timeout(Duration timeout) override { remote_->set_timeout(timeout); }

 private:
  TCPStore(std::string host, uint16_t port, Protocol protocol, std::shared_ptr<RemoteStore> remote);

  void serve(const Options& options);
  void wait_for_workers(int64_t world_size, const Deadline& deadline);

  std::string host_;
  uint16_t port_;
  Protocol protocol_;
  Mutex mutex_;  // protects server_
  std::shared_ptr<Server> server_;
  std::shared_ptr<RemoteStore> remote_;
};

}  // namespace rdzv
