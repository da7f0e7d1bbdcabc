// The native protocol's messages of a run's nodes: its rendezvous, kept by the server itself
// (docs/protocol.md). Whether a node or a run id makes sense is not decided here.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "wire/fields.h"
#include "wire/limits.h"
#include "wire/rank_by.h"

namespace rdzv::native {

// Where clients that keep the state of a run themselves, by compare-and-set, have it on the wire:
// this and the run id.
inline constexpr Bytes kRunKeyPrefix = "/torch.rendezvous.";
// What they put there for "nothing yet".
inline constexpr Bytes kRunNothingYet = "Y2FuaW1hZGFt";
// What the server puts there while it keeps the run. No base64, so that they take it for no state.
inline constexpr Bytes kRunMarker =
    "!held by the server's own rendezvous; all members of a run must use the same way";

struct RunNode {
  static constexpr const char* kRecord = "node";
  Text addr;  // empty where a request names no node
  uint64_t pid = 0;
  uint64_t local_id = 0;
  static void fields(auto& a, auto& m) {
    all(a, "address", m.addr, "process id", m.pid, "local id", m.local_id);
  }
};

// Of a run's settings, whoever holds them: the state of a group has them like that, too.
void settings_fields(auto& a, auto& m) {
  all(a, "min nodes", m.min_nodes, "max nodes", m.max_nodes);
  all(a, "last call in ms", m.last_call_ms);
  all(a, "keep-alive interval in ms", m.keep_alive_interval_ms);
  all(a, "keep-alive attempts", m.keep_alive_max_attempt);
  all(a, "rank by", m.rank_by, "sticky ranks", m.sticky_ranks);
  all(a, "former first", m.former_first, "debounce in ms", m.debounce_ms);
  all(a, "segment", m.segment);
}

struct RunSettings {
  static constexpr const char* kRecord = "settings";
  uint32_t min_nodes = 0;
  uint32_t max_nodes = 0;
  uint64_t last_call_ms = 0;
  uint64_t keep_alive_interval_ms = 0;
  uint32_t keep_alive_max_attempt = 0;
  RankBy rank_by = RankBy::kAddress;
  bool sticky_ranks = true;
  bool former_first = true;
  uint64_t debounce_ms = 0;
  uint32_t segment = 1;
  static void fields(auto& a, auto& m) { settings_fields(a, m); }
};

inline constexpr uint32_t kNoRank = 0xFFFFFFFF;

// What a node brings along that its rank follows.
struct RunFacts {
  static constexpr const char* kRecord = "facts";
  uint32_t rank = kNoRank;  // that it was given
  Text topology;            // empty: it does not say
  uint64_t attempt = 0;     // which start of the job it belongs to; 0: it does not say
  static void fields(auto& a, auto& m) {
    all(a, "given rank", m.rank, "topology", m.topology, "attempt", m.attempt);
  }
};

enum class JoinOutcome : uint8_t {
  kPlaced = 0,    // in a complete round
  kFinished = 1,  // the job whose next round it waited for is over; `round` was its last
  kDropped = 2,   // it was taken for dead, or it left: join again
  kSpare = 3,     // it is a spare, and stays listed: join again, as one
  kNoSpare = 4,   // it was a spare, and will have a place in the next round: join again, as none
  kLast = kNoSpare,
};

// All but outcome and round is 0 unless the node was placed.
struct JoinReply {
  JoinOutcome outcome = JoinOutcome::kPlaced;
  uint64_t round = 0;
  uint32_t rank = 0;
  uint32_t world_size = 0;
  RunNode first;   // who has rank 0
  RunNode before;  // the rank before, and the one after, in a ring; none: it has left by now
  RunNode after;
  uint32_t waiting = 0;
  uint32_t spares = 0;
  uint32_t changes = 0;  // see KeepAliveReply
  static void fields(auto& a, auto& m) {
    all(a, "outcome", m.outcome, "round", m.round, "rank", m.rank, "world size", m.world_size);
    all(a, "of rank 0", m.first, "of the rank before", m.before, "of the rank after", m.after);
    all(a, "waiting", m.waiting, "spares", m.spares, "changes", m.changes);
  }
};
// `handle`: a number that the client chooses; on this connection it names the node from now on.
// `grace_ms`: for how long the node counts as alive after its connection broke. `is_spare`: what the
// node knows of itself; it is answered when that changes, and the timeout of a spare leaves it
// listed. So a client decides how long to wait as what.
struct JoinRequest {
  using Is = Request<Operation::kJoin, "join", JoinReply>;
  uint32_t timeout_ms = 0;
  RunId run_id;
  RunNode node;
  RunSettings settings;
  uint64_t after_round = 0;  // a later round is wanted; 0: any
  uint32_t grace_ms = 0;
  uint32_t handle = 0;
  bool is_spare = false;
  RunFacts facts{};
  static void fields(auto& a, auto& m) {
    all(a, "timeout", m.timeout_ms, "run id", m.run_id, "node", m.node, "settings", m.settings);
    all(a, "after round", m.after_round, "grace in ms", m.grace_ms, "handle", m.handle);
    all(a, "is spare", m.is_spare, "facts", m.facts);
  }
};

// `cause`: of a run some of whose nodes gave up, who did so first and why; else empty.
struct LeaveReply {
  bool was_listed = false;
  Text cause;
  static void fields(auto& a, auto& m) { all(a, "was listed", m.was_listed, "cause", m.cause); }
};
using LastLine = Limited<limits::kLastLineBytesMax>;
struct LeaveRequest {
  using Is = Request<Operation::kLeave, "leave", LeaveReply>;
  RunId run_id;
  RunNode node;
  bool failed = false;
  bool gave_up = false;  // for good; what follows says why, and is 0 and empty without
  uint32_t exit_code = 0;
  uint64_t unix_ms = 0;
  LastLine last_line;
  bool do_not_restart = false;  // of one that gave up: the run has failed for good
  static void fields(auto& a, auto& m) {
    all(a, "run id", m.run_id, "node", m.node, "failed", m.failed, "gave up", m.gave_up);
    all(a, "exit code", m.exit_code, "unix time in ms", m.unix_ms, "last line", m.last_line);
    all(a, "do not restart", m.do_not_restart);
  }
};

struct KeepAliveReply {
  bool known = false;    // false: the node is not listed, and has to resume or join again
  uint32_t changes = 0;  // nodes waiting for the next round and lost ones
  bool closed = false;
  static void fields(auto& a, auto& m) {
    all(a, "known", m.known, "changes", m.changes, "closed", m.closed);
  }
};
struct KeepAliveRequest {
  using Is = Request<Operation::kKeepAlive, "keep_alive", KeepAliveReply>;
  uint32_t handle = 0;
  static void fields(auto& a, auto& m) { all(a, "handle", m.handle); }
};

struct CloseRunRequest {
  using Is = Request<Operation::kCloseRun, "close", Nothing>;
  RunId run_id;
  LastLine reason{};            // why, for the nodes; may be empty
  bool do_not_restart = false;  // the run has failed for good
  static void fields(auto& a, auto& m) {
    all(a, "run id", m.run_id, "reason", m.reason, "do not restart", m.do_not_restart);
  }
};

struct ResumeReply {
  bool taken = false;  // false: the node has to join again
  uint32_t changes = 0;
  bool closed = false;
  static void fields(auto& a, auto& m) {
    all(a, "taken", m.taken, "changes", m.changes, "closed", m.closed);
  }
};
struct ResumeRequest {
  using Is = Request<Operation::kResume, "resume", ResumeReply>;
  RunId run_id;
  RunNode node;
  RunSettings settings;
  uint64_t round = 0;
  uint32_t rank = 0;
  uint32_t world_size = 0;
  uint32_t grace_ms = 0;
  uint32_t handle = 0;
  RunFacts facts{};
  static void fields(auto& a, auto& m) {
    all(a, "run id", m.run_id, "node", m.node, "settings", m.settings, "round", m.round);
    all(a, "rank", m.rank, "world size", m.world_size);
    all(a, "grace in ms", m.grace_ms, "handle", m.handle, "facts", m.facts);
  }
};

}  // namespace rdzv::native
