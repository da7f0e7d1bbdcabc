// A store on a server, shared by all its clients; optionally it also hosts that server. Made by one
// process. What goes over the wire, and how, is the matter of its two kinds, NativeStore and
// C10dStore, which keep their own connections. Any thread may call any method.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/mutex.h"
#include "client/call_rules.h"
#include "server/server.h"
#include "store/store.h"

namespace rdzv {

class NativeStore;

class TCPStore : public Store {
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
    // What a client proves itself by, and what a master asks of its clients. None: nothing.
    std::shared_ptr<tls::Keeper> keeper;
    ServerSecurity security;
  };

  static std::shared_ptr<TCPStore> open(const Options& options);
  ~TCPStore() override;

  const std::string& host() const { return server_at_.host; }
  uint16_t port() const { return server_at_.port; }
  Protocol protocol() const { return protocol_; }
  // The numeric address of this client's end of the connection: as the server saw it, where the
  // protocol tells.
  virtual std::string observed_address() = 0;
  // Whether the server ends with the job that uses it.
  virtual bool is_of_one_job() { return false; }
  // A native client of the same server that is not connected yet. Throws kUnsupported with the c10d
  // protocol.
  std::shared_ptr<NativeStore> native_sibling() const;

  // A round trip that does nothing.
  virtual void ping() = 0;
  // Ends all connections, and the server if this store is its last host. Later calls throw kClosed.
  void close() final;
  // A client, also of a master's store.
  using Store::clone;
  std::shared_ptr<Store> clone(Duration timeout) final;
  std::string describe() const final;

 protected:
  struct Place {
    std::string host;             // as it was given
    std::string host_to_connect;  // not one that only a server can bind
    uint16_t port = 0;
    std::shared_ptr<tls::Keeper> keeper;
  };
  TCPStore(Protocol protocol, Place server_at, Duration timeout);

  // Makes a connection now, so that a caller knows that there is a store.
  virtual void connect(const Deadline& deadline) = 0;
  virtual void disconnect() = 0;
  virtual bool is_closed() const = 0;
  // add to a key as it is on the wire: users' keys carry a '/' there, and the count of workers does
  // not.
  virtual int64_t add_wire_key(Bytes wire_key, Bytes shown_key, int64_t amount,
                               Duration timeout) = 0;

  using Times = CallTimes;
  // "get of key 'a' on TCPStore 127.0.0.1:29400", for messages.
  std::string about(const char* operation, Bytes key, const std::vector<Bytes>* keys,
                    const char* key_is = "key") const;
  const std::string& host_to_connect() const { return server_at_.host_to_connect; }
  bool is_own_process() const;
  // Throws kClosed in a forked child, which shares its parent's connections.
  void check_process() const;
  [[noreturn]] void throw_closed() const;

 private:
  static std::shared_ptr<TCPStore> make(Protocol protocol, const Place& server_at,
                                        Duration timeout);
  void wait_for_workers(int64_t world_size, const Deadline& deadline);

  const Protocol protocol_;
  const Place server_at_;
  const int64_t owner_pid_;
  Mutex mutex_;  // protects server_
  std::shared_ptr<Server> server_;
};

}  // namespace rdzv
