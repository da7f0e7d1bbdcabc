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
#include "client/run_operations.h"
#include "client/tcp_store.h"
#include "wire/run_look_messages.h"
#include "wire/run_messages.h"

namespace rdzv {

class RunClient {
 public:
  using Node = NodeName;
  using Member = RunMember;
  using Joined = RunJoined;
  using Status = RunStatus;
  using Ending = RunEnding;
  using Place = RunPlace;

  // `store` may be closed afterwards. `grace`: for how long the node counts as alive after its
  // connection broke. Throws kUnsupported for a store of the c10d protocol.
  RunClient(const TCPStore& store, std::string run_id, Node node, native::RunSettings settings,
            Duration grace, RunFacts facts = {});

  // Waits for a complete round later than `after_round` with this node. Not sent again by itself: a
  // node that had a place may have to resume it first. `is_spare`: see JoinRequest.
  Joined join(uint64_t after_round, Duration timeout, bool is_spare);
  // Whether it was listed.
  bool leave(bool failed, Duration timeout);
  // For good; who gave up first, and why.
  std::string give_up(const Ending& ending, Duration timeout);
  native::KeepAliveReply keep_alive(Duration timeout);
  void close_run(Bytes reason, bool do_not_restart, Duration timeout);
  Status status(Duration timeout);
  // Waits until something differs from what is known; at the timeout, what is.
  native::SubscribeReply subscribe(uint64_t round, uint32_t known_changes, bool known_closed,
                                   Duration timeout);
  // Waits until who is in the run is not what is known by its version (kNothingKnown: answers
  // at once); at the timeout, what is.
  RunFollowed follow(uint64_t known_version, Duration timeout);
  // At most `limit` of them.
  std::vector<Member> members(native::MemberList which, size_t limit, Duration timeout);
  // Of each of at most limits::kHostsPerRequestMax addresses: "never", "was" or "is" connected.
  std::vector<std::string> hosts(const std::vector<std::string>& addresses, Duration timeout);
  // What has happened to a run, from the event of this number on; empty: the server's warnings.
  RunTimeline timeline(Bytes run_id, uint64_t from, Duration timeout);
  native::ResumeReply resume(const Place& place, Duration timeout);

  // Ends the connection, and what waits on it. Later calls throw kClosed.
  void close() { link_->close(); }
  const std::string& run_id() const { return part_.run_id; }

 private:
  std::shared_ptr<NativeStore> link_;
  const RunPart part_;
};

}  // namespace rdzv
