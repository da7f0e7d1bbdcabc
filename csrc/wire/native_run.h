// Bodies of the native protocol's operations on a run: its rendezvous, kept by the server itself
// (docs/protocol.md). Requests and answers, encoded and decoded. What was taken is views into the
// body. Whether a node or a run id makes sense is not decided here. No sockets, threads or clock.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"

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
  Bytes addr;  // empty where a request names no node
  uint64_t pid = 0;
  uint64_t local_id = 0;
};

struct RunSettings {
  uint32_t min_nodes = 0;
  uint32_t max_nodes = 0;
  uint64_t last_call_ms = 0;
  uint64_t keep_alive_interval_ms = 0;
  uint32_t keep_alive_max_attempt = 0;
};

// `handle`: a number that the client chooses; on this connection it names the node from now on.
// `grace_ms`: for how long the node counts as alive after its connection broke.
struct JoinRequest {
  uint32_t timeout_ms = 0;
  Bytes run_id;
  RunNode node;
  RunSettings settings;
  uint64_t after_round = 0;  // a later round is wanted; 0: any
  uint32_t grace_ms = 0;
  uint32_t handle = 0;
};

enum class JoinOutcome : uint8_t {
  kPlaced = 0,    // in a complete round
  kFinished = 1,  // the job whose next round it waited for is over; `round` was its last
  kDropped = 2,   // it was taken for dead, or it left: join again
};
inline constexpr uint8_t kJoinOutcomeMax = 2;

// All but outcome and round is 0 unless the node was placed.
struct JoinReply {
  JoinOutcome outcome = JoinOutcome::kPlaced;
  uint64_t round = 0;
  uint32_t rank = 0;
  uint32_t world_size = 0;
  RunNode first;  // who has rank 0
  uint32_t waiting = 0;
  uint32_t spares = 0;
  uint32_t changes = 0;  // see KeepAliveReply
};

struct LeaveRequest {
  Bytes run_id;
  RunNode node;
  bool failed = false;
};
struct LeaveReply {
  bool was_listed = false;
};

struct KeepAliveRequest {
  uint32_t handle = 0;
};
struct KeepAliveReply {
  bool known = false;    // false: the node is not listed, and has to resume or join again
  uint32_t changes = 0;  // nodes waiting for the next round and lost ones
  bool closed = false;
};

struct CloseRunRequest {
  Bytes run_id;
};

struct StatusRequest {
  Bytes run_id;
  RunNode node;  // may be none
};

enum class RunRole : uint8_t {
  kForming = 0,
  kActive = 1,
  kDone = 2,
  kWaiting = 3,
  kSpare = 4,
  kAbsent = 5,
};
inline constexpr uint8_t kRunRoleMax = 5;
inline constexpr uint32_t kNoRank = 0xFFFFFFFF;
inline constexpr uint32_t kNoLastCall = 0xFFFFFFFF;

struct StatusReply {
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
};

struct SubscribeRequest {
  uint32_t timeout_ms = 0;
  Bytes run_id;
  RunNode node;
  uint64_t round = 0;
  uint32_t known_changes = 0;
  bool known_closed = false;
};
struct SubscribeReply {
  bool active = false;  // still a participant of that round
  uint32_t changes = 0;
  bool closed = false;
};

enum class MemberList : uint8_t { kParticipants = 0, kWaiting = 1, kSpares = 2, kLost = 3 };
inline constexpr uint8_t kMemberListMax = 3;

struct MembersRequest {
  Bytes run_id;
  MemberList which = MemberList::kParticipants;
  Bytes cursor;  // of the page before; empty: the first one
  uint32_t limit = 0;
};
struct MembersReply {
  struct Item {
    RunNode node;
    uint32_t rank = kNoRank;
  };
  uint32_t total = 0;
  Bytes cursor;  // for the next page; empty: this was the last
  std::vector<Item> items;
};

struct ResumeRequest {
  Bytes run_id;
  RunNode node;
  RunSettings settings;
  uint64_t round = 0;
  uint32_t rank = 0;
  uint32_t world_size = 0;
  uint32_t grace_ms = 0;
  uint32_t handle = 0;
};
struct ResumeReply {
  bool taken = false;  // false: the node has to join again
  uint32_t changes = 0;
  bool closed = false;
};

// put appends a body; take reads one that is exactly as long as its fields, or returns false.
void put_join(std::string& out, const JoinRequest& request);
bool take_join(Bytes body, JoinRequest& request);
void put_join_reply(std::string& out, const JoinReply& reply);
bool take_join_reply(Bytes body, JoinReply& reply);

void put_leave(std::string& out, const LeaveRequest& request);
bool take_leave(Bytes body, LeaveRequest& request);
void put_leave_reply(std::string& out, const LeaveReply& reply);
bool take_leave_reply(Bytes body, LeaveReply& reply);

void put_keep_alive(std::string& out, const KeepAliveRequest& request);
bool take_keep_alive(Bytes body, KeepAliveRequest& request);
void put_keep_alive_reply(std::string& out, const KeepAliveReply& reply);
bool take_keep_alive_reply(Bytes body, KeepAliveReply& reply);

// Its answer has no body.
void put_close_run(std::string& out, const CloseRunRequest& request);
bool take_close_run(Bytes body, CloseRunRequest& request);

void put_status(std::string& out, const StatusRequest& request);
bool take_status(Bytes body, StatusRequest& request);
void put_status_reply(std::string& out, const StatusReply& reply);
bool take_status_reply(Bytes body, StatusReply& reply);

void put_subscribe(std::string& out, const SubscribeRequest& request);
bool take_subscribe(Bytes body, SubscribeRequest& request);
void put_subscribe_reply(std::string& out, const SubscribeReply& reply);
bool take_subscribe_reply(Bytes body, SubscribeReply& reply);

void put_members(std::string& out, const MembersRequest& request);
bool take_members(Bytes body, MembersRequest& request);
void put_members_reply(std::string& out, const MembersReply& reply);
bool take_members_reply(Bytes body, MembersReply& reply);

void put_resume(std::string& out, const ResumeRequest& request);
bool take_resume(Bytes body, ResumeRequest& request);
void put_resume_reply(std::string& out, const ResumeReply& reply);
bool take_resume_reply(Bytes body, ResumeReply& reply);

}  // namespace rdzv::native
