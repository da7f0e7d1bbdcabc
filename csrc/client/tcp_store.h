// A store on a server, shared by all its clients; optionally it also hosts that server. What goes
// over the wire, and how, is the matter of one of the two clients that it hands all calls to.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "client/remote_store.h"
#include "server/server.h"
#include "store/store.h"

namespace rdzv {

class NativeStore;

class TCPStore final : public Store {
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

  void set(Bytes key, Bytes value) override { remote_->set(key, value); }
  std::string get(Bytes key, Duration timeout) override { return remote_->get(key, timeout); }
  TakenBytes read(Bytes key, Duration timeout) override { return remote_->read(key, timeout); }
  Exchange compare_exchange(Bytes key, Bytes expected, Bytes desired) override {
    return remote_->compare_exchange(key, expected, desired);
  }
  int64_t add(Bytes key, int64_t amount) override { return remote_->add(key, amount); }
  bool check(const std::vector<Bytes>& keys) override { return remote_->check(keys); }
  void wait(const std::vector<Bytes>& keys, Duration timeout) override {
    remote_->wait(keys, timeout);
  }
  bool delete_key(Bytes key) override { return remote_->delete_key(key); }
  int64_t num_keys() override { return remote_->num_keys(); }
  std::vector<std::string> list_keys(Bytes prefix) override { return remote_->list_keys(prefix); }
  void append(Bytes key, Bytes value) override { remote_->append(key, value); }
  std::vector<std::string> multi_get(const std::vector<Bytes>& keys, Duration timeout) override {
    return remote_->multi_get(keys, timeout);
  }
  std::vector<TakenBytes> multi_read(const std::vector<Bytes>& keys, Duration timeout) override {
    return remote_->multi_read(keys, timeout);
  }
  void multi_set(const std::vector<Bytes>& pairs) override { remote_->multi_set(pairs); }
  void queue_push(Bytes key, Bytes item) override { remote_->queue_push(key, item); }
  std::string queue_pop(Bytes key, bool block, Duration timeout) override {
    return remote_->queue_pop(key, block, timeout);
  }
  int64_t queue_len(Bytes key) override { return remote_->queue_len(key); }
  void barrier(Bytes key, int64_t world_size, Duration timeout) override {
    remote_->barrier(key, world_size, timeout);
  }
  void barrier_as(Bytes key, const Seat& seat, Duration timeout) override {
    remote_->barrier_as(key, seat, timeout);
  }
  Versioned try_get(Bytes key) override { return remote_->try_get(key); }
  Versioned watch(Bytes key, uint64_t known_version, Duration timeout) override {
    return remote_->watch(key, known_version, timeout);
  }
  VersionSet set_if_version(Bytes key, Bytes value, uint64_t version) override {
    return remote_->set_if_version(key, value, version);
  }
  void set_for(Bytes key, Bytes value, Duration ttl) override { remote_->set_for(key, value, ttl); }
  int64_t delete_prefix(Bytes prefix) override { return remote_->delete_prefix(prefix); }
  std::vector<std::string> exchange(Bytes key, int64_t rank, int64_t world_size, Bytes value,
                                    Duration timeout) override {
    return remote_->exchange(key, rank, world_size, value, timeout);
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
