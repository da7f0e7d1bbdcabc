// A store on a server, over the native protocol; optionally it also hosts that server. Threads
// share one connection, which is made anew when it breaks: reads are repeated, writes only if none
// of their bytes had left.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "client/channel.h"
#include "server/server.h"
#include "store/store.h"
#include "wire/native.h"

namespace rdzv {

class TCPStore final : public Store {
 public:
  struct Options {
    std::string host;
    uint16_t port = 0;
    std::optional<int64_t>
        world_size;          // known: each client counts itself in, and the master waits for all
    bool is_master = false;  // hosts the server
    Duration timeout = kDefaultTimeout;  // for connecting, and later for each call
    bool wait_for_workers = true;
    bool multi_tenant = false;  // several masters of this process may share the server of one port
  };

  explicit TCPStore(const Options& options);
  ~TCPStore() override;

  const std::string& host() const { return host_; }
  uint16_t port() const { return port_; }
  // The numeric address of this client as the server saw it: what others can reach this machine by.
  std::string observed_address();

  // A round trip that does nothing.
  void ping();
  // Ends the connection, and the server if this store is its last host. Later calls throw kClosed.
  void close();

  void set(Bytes key, Bytes value) override;
  std::string get(Bytes key, Duration timeout) override;
  Exchange compare_exchange(Bytes key, Bytes expected, Bytes desired) override;
  int64_t add(Bytes key, int64_t amount) override;
  bool check(const std::vector<Bytes>& keys) override;
  void wait(const std::vector<Bytes>& keys, Duration timeout) override;
  bool delete_key(Bytes key) override;
  int64_t num_keys() override;
  std::vector<std::string> list_keys(Bytes prefix) override;
  void append(Bytes key, Bytes value) override;
  std::vector<std::string> multi_get(const std::vector<Bytes>& keys, Duration timeout) override;
  void multi_set(const std::vector<Bytes>& pairs) override;
  void queue_push(Bytes key, Bytes item) override;
  // An item whose answer is lost with the connection is lost: the error says that it may be.
  std::string queue_pop(Bytes key, bool block, Duration timeout) override;
  int64_t queue_len(Bytes key) override;
  void barrier(Bytes key, int64_t world_size, Duration timeout) override;
  // A client, also of a master's store.
  std::shared_ptr<Store> clone() override;
  std::string describe() const override;

 private:
  // A request on its way: what it is for messages, and its body.
  struct Request;
  class Answer;

  std::string run(Request& request);
  static uint32_t time_for_server(const Request& request, const Deadline& deadline);
  void throw_unless_repeatable(const Request& request, const Channel::Reply& reply,
                               Channel& channel) const;
  std::shared_ptr<Channel> channel(const Deadline& deadline);
  void connect(std::unique_lock<std::mutex>& lock, const Deadline& deadline);
  int64_t add_wire_key(Bytes wire_key, Bytes shown_key, int64_t amount);
  void wait_for_workers(int64_t world_size);
  void check_process() const;

  std::string host_;
  std::string connect_host_;
  uint16_t port_;
  int64_t owner_pid_;
  native::Id128 session_{};
  std::shared_ptr<Server> server_;

  std::mutex mutex_;  // protects all below
  std::condition_variable connected_;
  bool connecting_ = false;
  std::atomic<bool> closed_{false};  // set with the lock; a thread that connects reads it without
  std::shared_ptr<Channel> channel_;
  std::optional<native::Id128> instance_;
  std::string observed_address_;
};

}  // namespace rdzv
