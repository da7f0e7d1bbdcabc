// A store on a server, over the c10d protocol: torch's TCPStore server, or ours. The protocol has
// no request ids, so every call has a connection to itself while it lasts: an idle one of a small
// pool, or a new one. Calls of several threads never queue behind each other.
//
// Reads are repeated on a new connection when theirs breaks, writes only if none of their bytes had
// left. What the protocol cannot say is written at the operations (c10d_operations.cc).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "client/c10d_connection.h"
#include "client/greeting.h"
#include "client/tcp_store.h"

namespace rdzv {

class C10dStore final : public TCPStore {
 public:
  C10dStore(const Place& server_at, Duration timeout);
  ~C10dStore() override;

  void ping() override;
  // This end's own address: the protocol does not say what the server saw.
  std::string observed_address() override;
  // What they cannot promise, as the protocol cannot:
  // compare_exchange: versions are 0, and `swapped` may be wrong when another client changes the
  // value at the same time. try_get: the version is 0 or 1, and says only whether there is a value.
  // watch, set_if_version, set_for: throw kUnsupported; there are no versions and no times to live.
  // add: a server closes the connection when the value is no number.
  // delete_prefix: is not atomic; the keys are listed, then deleted, and one that comes meanwhile may
  // stay.
  // barrier: a caller more, or another world size, is noticed when it comes after the others, and not
  // when both come at once: no request does both. Who times out stays counted.
  RDZV_STORE_OPERATIONS
  TakenBytes queue_pop(Bytes key, bool block, Duration timeout) override;

 private:
  void connect(const Deadline& deadline) override;
  void disconnect() override;
  bool is_closed() const override { return closed_; }
  int64_t add_wire_key(Bytes wire_key, Bytes shown_key, int64_t amount, Duration timeout) override;

  struct Request;      // c10d_call.h
  class WireKeys;      // c10d_call.h
  class Conversation;  // c10d_call.h
  friend class Conversation;

  using Talk = std::function<void(Conversation&)>;
  void run(Request& request, const Talk& talk);
  [[noreturn]] void throw_lost(const Request& request, const std::string& why, bool is_risky) const;
  void write(Request& request, c10d::Code code, const std::vector<Bytes>& strings);
  [[noreturn]] void throw_refused(const Error& refusal) const;
  void barrier_without_ranks(Bytes key, int64_t world_size, Duration timeout);
  // Callers at a barrier who gave up and stayed counted there.
  bool take_stayed(Bytes key);
  void note_stayed(Bytes key);
  void need_queues(const char* name, Bytes key, const Deadline& deadline);

  // None: the server is silent, and it was not this call's turn to ask it by the deadline.
  std::unique_ptr<C10dConnection> take(const Deadline& deadline);
  bool wait_for_turn(const Deadline& deadline);
  // Not among the busy ones.
  std::unique_ptr<C10dConnection> dial_new(const Deadline& deadline, const Cancelled& cancelled);
  // No answer came in time: what no call uses may be as dead, and the server may be stopped.
  void note_silence();
  void note_answer() {
    if (is_silent_) is_silent_ = false;
  }
  void give_back(std::unique_ptr<C10dConnection> connection);

  // A value that nobody has: expected of a key, it reads the key and changes nothing.
  std::string nobodys_value_;
  std::atomic<uint32_t> last_nonce_{0};
  std::atomic<bool> has_queues_{false};  // known to have
  // The server was seen to hold back an empty value (c10d_call.cc).
  std::atomic<bool> holds_back_{false};
  // While it does not answer, new connections are made one after the other, with pauses.
  std::atomic<bool> is_silent_{false};

  // Set with the lock held; a thread that connects reads it without.
  std::atomic<bool> closed_{false};
  Mutex mutex_;  // protects all below
  std::vector<std::unique_ptr<C10dConnection>> idle_;
  std::vector<C10dConnection*> busy_;
  std::unordered_map<std::string, int> stayed_;
  std::string observed_address_;
  Instant next_turn_{};
  Duration turn_pause_{};
};

}  // namespace rdzv
