// A store on a server, over the native protocol. Threads share one connection, which is made anew
// when it breaks or falls silent: reads are repeated, writes only if none of their bytes had left.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "client/channel.h"
#include "client/native_line.h"
#include "client/remote_store.h"
#include "store/meeting.h"
#include "wire/native.h"

namespace rdzv {

class NativeStore final : public RemoteStore {
 public:
  NativeStore(std::string host, uint16_t port, Duration timeout);

  void connect(const Deadline& deadline) override;
  void ping() override;
  void close() override;
  std::string observed_address() override;
  int64_t add_wire_key(Bytes wire_key, Bytes shown_key, int64_t amount, Duration timeout) override;

  void set_for(Bytes key, Bytes value, Duration ttl) override;
  TakenBytes read(Bytes key, Duration timeout) override;
  Exchange compare_exchange(Bytes key, Bytes expected, Bytes desired) override;
  int64_t add(Bytes key, int64_t amount) override;
  bool check(const std::vector<Bytes>& keys) override;
  void wait(const std::vector<Bytes>& keys, Duration timeout) override;
  bool delete_key(Bytes key) override;
  int64_t num_keys() override;
  std::vector<std::string> list_keys(Bytes prefix) override;
  void append(Bytes key, Bytes value) override;
  std::vector<TakenBytes> multi_read(const std::vector<Bytes>& keys, Duration timeout) override;
  void multi_set(const std::vector<Bytes>& pairs) override;
  void queue_push(Bytes key, Bytes item) override;
  // An item whose answer is lost with the connection is lost: the error says that it may be. One that
  // comes when the call was given up or interrupted goes back, to the end of the queue.
  TakenBytes queue_pop(Bytes key, bool block, Duration timeout) override;
  int64_t queue_len(Bytes key) override;
  void barrier_as(Bytes key, const Seat& seat, Duration timeout) override;
  Versioned try_get(Bytes key) override;
  Versioned watch(Bytes key, uint64_t known_version, Duration timeout) override;
  VersionSet set_if_version(Bytes key, Bytes value, uint64_t version) override;
  int64_t delete_prefix(Bytes prefix) override;
  std::vector<TakenBytes> exchange(Bytes key, int64_t rank, int64_t world_size, Bytes value,
                                   Duration timeout) override;
  std::shared_ptr<RemoteStore> sibling() const override;

  // For what the same server offers beside keys (run_client.h): a request on its way, which is what
  // it is for messages, and its answer.
  struct Request;
  template <typename Message>
  class Answer;
  // Sends it, again where that is allowed, and returns the answer's body.
  TakenBytes run_taking(Request& request);

 private:
  bool is_closed() const override { return line_.is_closed(); }
  static uint32_t time_for_server(const Request& request, const Deadline& deadline);
  Channel::Reply ask(const Request& request, const std::shared_ptr<Channel>& channel,
                     const Deadline& patient);
  void throw_unless_repeatable(const Request& request, const Channel::Reply& reply,
                               Channel* channel, Duration waited) const;

  NativeLine line_;
};

}  // namespace rdzv
