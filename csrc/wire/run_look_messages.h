// The native protocol's messages by which a run is looked at, and followed: its state, who is in it,
// what has happened (docs/protocol.md).
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "wire/fields.h"
#include "wire/limits.h"
#include "wire/run_messages.h"

namespace rdzv::native {

enum class RunRole : uint8_t {
  kForming = 0,
  kActive = 1,
  kDone = 2,
  kWaiting = 3,
  kSpare = 4,
  kAbsent = 5,
  kLast = kAbsent,
};
inline constexpr uint32_t kNoLastCall = 0xFFFFFFFF;

struct StatusReply {
  static constexpr const char* kRecord = "status";
  bool known = false;  // whether the server keeps a run of this id
  uint64_t round = 0;
  bool complete = false;
  bool closed = false;
  uint64_t finished_round = 0;
  uint32_t world_size = 0;
  bool has_settings = false;
  RunSettings settings;  // zeros without
  uint32_t participants = 0;
  uint32_t waiting = 0;
  uint32_t spares = 0;
  uint32_t lost = 0;
  uint32_t last_call_left_ms = kNoLastCall;
  RunRole role = RunRole::kAbsent;
  uint32_t rank = kNoRank;
  uint32_t changes = 0;
  uint32_t suspects = 0;  // nodes whose connection broke, and whose grace runs
  uint32_t gave_up = 0;   // how many of the lost
  bool failed = false;    // for good: so many that too few are left, or somebody said so
  Text cause;             // see LeaveReply
  Text reached_at;        // the server's own end of the connection of the last node that came from
                          // another machine; empty: none did
  Text close_reason;      // see CloseRunRequest
  static void fields(auto& a, auto& m) {
    all(a, "known", m.known, "round", m.round, "complete", m.complete, "closed", m.closed);
    all(a, "finished round", m.finished_round, "world size", m.world_size);
    all(a, "has settings", m.has_settings, "settings", m.settings);
    all(a, "participants", m.participants, "waiting", m.waiting, "spares", m.spares);
    all(a, "lost", m.lost, "last call left in ms", m.last_call_left_ms);
    all(a, "role", m.role, "rank", m.rank, "changes", m.changes);
    all(a, "suspects", m.suspects, "gave up", m.gave_up, "failed", m.failed, "cause", m.cause);
    all(a, "reached at", m.reached_at, "close reason", m.close_reason);
  }
};
struct StatusRequest {
  using Is = Request<Operation::kStatus, "status", StatusReply>;
  RunId run_id;
  RunNode node;  // may be none
  static void fields(auto& a, auto& m) { all(a, "run id", m.run_id, "node", m.node); }
};

struct SubscribeReply {
  bool active = false;  // still a participant of that round
  uint32_t changes = 0;
  bool closed = false;
  static void fields(auto& a, auto& m) {
    all(a, "active", m.active, "changes", m.changes, "closed", m.closed);
  }
};
struct SubscribeRequest {
  using Is = Request<Operation::kSubscribe, "subscribe", SubscribeReply>;
  uint32_t timeout_ms = 0;
  RunId run_id;
  RunNode node;
  uint64_t round = 0;
  uint32_t known_changes = 0;
  bool known_closed = false;
  static void fields(auto& a, auto& m) {
    all(a, "timeout", m.timeout_ms, "run id", m.run_id, "node", m.node, "round", m.round);
    all(a, "known changes", m.known_changes, "known closed", m.known_closed);
  }
};

enum class MemberList : uint8_t {
  kParticipants = 0,
  kWaiting = 1,
  kSpares = 2,
  kLost = 3,
  kLast = kLost,
};
using Cursor = Limited<limits::kMembersCursorBytesMax>;
// Of a node whose heartbeats nobody watches.
inline constexpr uint32_t kNotHeard = 0xFFFFFFFF;

struct MembersReply {
  struct Item {
    RunNode node;
    uint32_t rank = kNoRank;
    uint32_t silent_ms = kNotHeard;
    static void fields(auto& a, auto& m) {
      all(a, "node", m.node, "rank", m.rank, "silent in ms", m.silent_ms);
    }
  };
  uint32_t total = 0;
  Cursor cursor;  // for the next page; empty: this was the last
  List<Item, limits::kMembersPerReplyMax> items;
  static void fields(auto& a, auto& m) {
    all(a, "total", m.total, "cursor", m.cursor, "items", m.items);
  }
};
struct MembersRequest {
  using Is = Request<Operation::kMembers, "members", MembersReply>;
  RunId run_id;
  MemberList which = MemberList::kParticipants;
  Cursor cursor;  // of the page before; empty: the first one
  uint32_t limit = 0;
  static void fields(auto& a, auto& m) {
    all(a, "run id", m.run_id, "which", m.which, "cursor", m.cursor, "limit", m.limit);
  }
};

// How a node went that is listed no more.
enum class Departure : uint8_t {
  kLeft = 0,    // by itself; or its JOIN was over in time
  kLost = 1,    // its keep-alives stopped, or its connection broke
  kFailed = 2,  // its job broke, and may be started again
  kGaveUp = 3,  // its job broke for good
  kLast = kGaveUp,
};

struct FollowReply {
  struct Gone {
    RunNode node;
    Departure how = Departure::kLeft;
    static void fields(auto& a, auto& m) { all(a, "node", m.node, "how", m.how); }
  };
  uint64_t version = 0;  // of who is in the run, never used again; 0: nobody ever was
  StatusReply status;    // of no node
  // Those who went since the known version, as far as the server remembers them, in order.
  List<Gone, limits::kDeparturesKept> gone;
  static void fields(auto& a, auto& m) {
    all(a, "version", m.version, "status", m.status, "gone", m.gone);
  }
};
inline constexpr uint64_t kNothingKnown = UINT64_MAX;  // in place of a version: answered at once
struct FollowRequest {
  using Is = Request<Operation::kFollow, "follow", FollowReply>;
  uint32_t timeout_ms = 0;
  RunId run_id;
  uint64_t known_version = 0;
  static void fields(auto& a, auto& m) {
    all(a, "timeout", m.timeout_ms, "run id", m.run_id, "known version", m.known_version);
  }
};

// Whether a client of the native protocol has connected from an address.
enum class HostState : uint8_t {
  kNever = 0,  // none that the server remembers
  kWas = 1,    // one has, and has gone
  kIs = 2,     // one is connected
  kLast = kIs,
};

struct HostsReply {
  struct Item {
    HostState state = HostState::kNever;
    static void fields(auto& a, auto& m) { all(a, "state", m.state); }
  };
  List<Item, limits::kHostsPerRequestMax> states;  // of each address, in their order
  static void fields(auto& a, auto& m) { all(a, "states", m.states); }
};
struct HostsRequest {
  struct Item {
    Text address;  // numeric, as the server sees it
    static void fields(auto& a, auto& m) { all(a, "address", m.address); }
  };
  using Is = Request<Operation::kHosts, "hosts", HostsReply>;
  List<Item, limits::kHostsPerRequestMax> addresses;
  static void fields(auto& a, auto& m) { all(a, "addresses", m.addresses); }
};

enum class EventKind : uint8_t {
  kJoined = 0,    // a node: it is in the round that forms, or that it completed
  kWaiting = 1,   // a node: it waits for the next round
  kSpare = 2,     // a node: it waits for a place
  kLastCall = 3,  // enough nodes are there; the last call runs for so long
  kComplete = 4,  // the round: so long after its first node, and the node that came last
  kBroken = 5,    // a node's connection; it may come back for so long
  kResumed = 6,   // a node has its place back
  kLeft = 7,      // as Departure
  kLost = 8,      // and why
  kFailed = 9,
  kGaveUp = 10,     // and its last line
  kTimedOut = 11,   // a node's JOIN, after so long, and who was there
  kRefused = 12,    // a node's request, and why
  kClosed = 13,     // the run, and why
  kFinished = 14,   // the job, with which round
  kRunFailed = 15,  // the run: too few nodes are left
  kWarning = 16,    // a line of the server's log
  kLast = kWarning,
};

struct TimelineReply {
  struct Item {
    uint64_t at_us = 0;  // by the server's own monotonic clock
    EventKind kind = EventKind::kJoined;
    uint64_t round = 0;
    uint32_t nodes = 0;  // in the round then
    uint64_t took_us = 0;
    RunNode node;  // may be none
    Text text;
    static void fields(auto& a, auto& m) {
      all(a, "at in us", m.at_us, "kind", m.kind, "round", m.round, "nodes", m.nodes);
      all(a, "took in us", m.took_us, "node", m.node, "text", m.text);
    }
  };
  bool known = false;   // whether there is such a run
  uint64_t now_us = 0;  // by the same clock
  uint64_t first = 0;   // the number of the first event of `items`
  uint64_t next = 0;    // the number that the next event to happen will have
  List<Item, limits::kEventsPerReplyMax> items;
  static void fields(auto& a, auto& m) {
    all(a, "known", m.known, "now in us", m.now_us, "first", m.first, "next", m.next);
    all(a, "items", m.items);
  }
};
struct TimelineRequest {
  using Is = Request<Operation::kTimeline, "timeline", TimelineReply>;
  RunId run_id;       // empty: the server's own warnings
  uint64_t from = 0;  // the number of the first event that is wanted
  static void fields(auto& a, auto& m) { all(a, "run id", m.run_id, "from", m.from); }
};

}  // namespace rdzv::native
