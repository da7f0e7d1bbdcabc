// What one node asks about a run that the server keeps, each once: the request, and what the answer
// means. No socket, clock, lock or thread; RunClient and asyncio's world carry them out. A part
// outlives its requests.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "client/native_operations.h"
#include "wire/run_look_messages.h"
#include "wire/run_messages.h"

namespace rdzv {

// native::RunFacts with what they show.
struct RunFacts {
  uint32_t rank = native::kNoRank;
  std::string topology;
  uint64_t attempt = 0;
};

// Whose requests these are.
struct RunPart {
  std::string run_id;
  NodeName node;
  native::RunSettings settings;
  uint32_t grace_ms = 0;
  RunFacts facts;

  // Throws kInvalidArgument.
  RunPart(std::string run_id, NodeName node, native::RunSettings settings, Duration grace,
          RunFacts facts = {});

  native::RunNode wire_node() const { return {node.addr, node.pid, node.local_id}; }
  native::RunFacts wire_facts() const { return {facts.rank, facts.topology, facts.attempt}; }
};

// Why the node's work broke, and that nobody will start it again.
struct RunEnding {
  int32_t exit_code = 0;
  uint64_t unix_ms = 0;
  std::string last_line;
  bool do_not_restart = false;
};
// The node's place in a complete round.
struct RunPlace {
  uint64_t round = 0;
  uint32_t rank = 0;
  uint32_t world_size = 0;
};

namespace run_operations {

// For a complete round later than `after_round` with this node. Not sent again by itself: a node
// that had a place may have to resume it first. `is_spare`: see JoinRequest. A RunJoined.
NativeOperation join(const RunPart& part, uint64_t after_round, Duration timeout, bool is_spare);
// What an error of a join means: the server says that its time is over.
inline bool join_timed_out(const NativeRequest& join, const Error& error) {
  return join.answered && error.code() == ErrorCode::kTimeout;
}
// A RunLeft.
NativeOperation leave(const RunPart& part, bool failed, Duration timeout);
NativeOperation give_up(const RunPart& part, const RunEnding& ending, Duration timeout);
// A native::KeepAliveReply.
NativeOperation keep_alive(const RunPart& part, Duration timeout);
NativeOperation close_run(const RunPart& part, Bytes reason, bool do_not_restart, Duration timeout);
// A RunStatus.
NativeOperation status(const RunPart& part, Duration timeout);
// A native::SubscribeReply: when something differs from what is known; at the timeout, what is.
NativeOperation subscribe(const RunPart& part, uint64_t round, uint32_t known_changes,
                          bool known_closed, Duration timeout);
// A RunFollowed: when the version is not the known one; at the timeout, what is.
NativeOperation follow(const RunPart& part, uint64_t known_version, Duration timeout);
// A RunPage.
NativeOperation members(const RunPart& part, native::MemberList which, Bytes cursor, uint32_t limit,
                        Duration timeout);
// Of each address `is`, `was` or `never`: whether a client has connected from there. A list of text.
NativeOperation hosts(const RunPart& part, const std::vector<std::string>& addresses,
                      Duration timeout);
// A RunTimeline: from the event of this number on, as many as come with one answer. Empty: the
// server's own warnings.
NativeOperation timeline(const RunPart& part, Bytes run_id, uint64_t from, Duration timeout);
// A native::ResumeReply.
NativeOperation resume(const RunPart& part, const RunPlace& place, Duration timeout);

}  // namespace run_operations
}  // namespace rdzv
