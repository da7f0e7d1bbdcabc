// One node's line to a run whose rendezvous the server keeps: what NativeStore is for keys, with a
// connection of its own, which is made when it is first needed and made anew when it breaks. Knows
// the wire and no rule. Any thread may call any method; requests share the connection, and one that
// waits holds up no other.
//
// Every request may be sent twice without harm. Those that wait for nobody are sent again when the
// connection breaks; the others throw kConnection, because who waits wants to know.
// A server that came back without what it had is said once, as kRestarted; and KEEP_ALIVE does not
// know the node on a new connection: then it is time for resume().
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "client/native_store.h"
#include "client/tcp_store.h"
#include "wire/run_messages.h"

namespace rdzv {

class RunClient {
 public:
  struct Node {
    std::string addr;
    uint64_t pid = 0;
    uint64_t local_id = 0;
  };
  struct Member {
    Node node;
    uint32_t rank = native::kNoRank;
  };
  struct Joined {
    bool timed_out = false;  // the server said so; the node is not listed any more
    native::JoinOutcome outcome = native::JoinOutcome::kPlaced;
    uint64_t round = 0;
    uint32_t rank = 0;
    uint32_t world_size = 0;
    Node first;  // who has rank 0
    uint32_t waiting = 0;
    uint32_t spares = 0;
    uint32_t changes = 0;
  };
  struct Status : native::StatusReply {
    std::string cause;  // in place of the reply's, which end with its bytes
    std::string reached_at;
  };
  // Why the node's work broke, and that nobody will start it again.
  struct Ending {
    int32_t exit_code = 0;
    uint64_t unix_ms = 0;
    std::string last_line;
  };
  // The node's place in a complete round.
  struct Place {
    uint64_t round = 0;
    uint32_t rank = 0;
    uint32_t world_size = 0;
  };

  // `store` may be closed afterwards. `grace`: for how long the node counts as alive after its
  // connection broke. Throws kUnsupported for a store of the c10d protocol.
  RunClient(const TCPStore& store, std::string run_id, Node node, native::RunSettings settings,
            Duration grace);

  // Waits for a complete round later than `after_round` with this node. Not sent again by itself: a
  // node that had a place may have to resume it first. `is_spare`: see JoinRequest.
  Joined join(uint64_t after_round, Duration timeout, bool is_spare);
  // Whether it was listed.
  bool leave(bool failed, Duration timeout);
  // For good; who gave up first, and why.
  std::string give_up(const Ending& ending, Duration timeout);
  native::KeepAliveReply keep_alive(Duration timeout);
  void close_run(Duration timeout);
  Status status(Duration timeout);
  // Waits until something differs from what is known; at the timeout, what is.
  native::SubscribeReply subscribe(uint64_t round, uint32_t known_changes, bool known_closed,
                                   Duration timeout);
  // At most `limit` of them.
  std::vector<Member> members(native::MemberList which, size_t limit, Duration timeout);
  native::ResumeReply resume(const Place& place, Duration timeout);

  // Ends the connection, and what waits on it. Later calls throw kClosed.
  void close() { link_->close(); }
  const std::string& run_id() const { return run_id_; }

 private:
  NativeStore::Request request(Duration timeout, bool is_timed) const;
  native::RunNode wire_node() const { return {node_.addr, node_.pid, node_.local_id}; }

  std::shared_ptr<NativeStore> link_;
  std::string run_id_;
  Node node_;
  native::RunSettings settings_;
  uint32_t grace_ms_;
};

}  // namespace rdzv
