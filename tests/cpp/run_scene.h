// A server and clients that are nodes of a run, for the tests of the rendezvous that a server
// keeps. Each node has a connection of its own.
#pragma once

#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "server/server.h"
#include "support.h"
#include "wire/messages.h"

namespace rdzv::test {

// Rules of the rulebook that are tested there are off.
inline constexpr native::RunSettings kPair{2,     2,    30'000, 3'600'000, 3, RankBy::kAddress,
                                           false, false};

inline native::RunNode run_node(Bytes addr) {
  return {addr, 1, 0};
}

// One node on one connection.
class RunNodePeer : public NativePeer {
 public:
  RunNodePeer(uint16_t port, std::string addr, native::RunSettings settings = kPair)
      : NativePeer(port), addr_(std::move(addr)), settings_(settings) {}

  native::RunNode node() const { return run_node(addr_); }

  // Sends a JOIN; its answer comes with joined() or failed().
  void join(uint64_t after_round = 0, uint32_t timeout_ms = native::kNoTimeout,
            uint32_t grace_ms = 0, Bytes run_id = "r", bool is_spare = false) {
    send(native_frame(native::Operation::kJoin, ++join_id_,
                      join_body(after_round, timeout_ms, grace_ms, run_id, is_spare)));
  }
  std::string join_body(uint64_t after_round, uint32_t timeout_ms, uint32_t grace_ms,
                        Bytes run_id = "r", bool is_spare = false) const {
    native::JoinRequest request{timeout_ms,  run_id,   node(),  settings_,
                                after_round, grace_ms, kHandle, is_spare};
    std::string body;
    native::put(body, request);
    return body;
  }
  // As join(), and the server has it when this returns.
  void join_and_wait(uint64_t after_round = 0, uint32_t timeout_ms = native::kNoTimeout,
                     uint32_t grace_ms = 0) {
    join(after_round, timeout_ms, grace_ms);
    ping();
  }

  // The node learns that it is a spare, and waits as one.
  void join_as_spare_and_wait(uint32_t grace_ms = 0) {
    join(0, native::kNoTimeout, grace_ms);
    CHECK(joined().reply.outcome == native::JoinOutcome::kSpare);
    join(0, native::kNoTimeout, grace_ms, "r", true);
    ping();
  }

  struct Joined {
    native::JoinReply reply;
    std::string first;
  };
  Joined joined() {
    Answer answer = receive_answer();
    REQUIRE(answer.operation == native::Operation::kJoin);
    REQUIRE_MESSAGE(answer.status == ErrorCode::kOk, answer.message());
    Joined joined;
    REQUIRE(native::take(answer.body, joined.reply));
    joined.first = joined.reply.first.addr;
    joined.reply.first.addr = {};
    return joined;
  }
  Answer failed() {
    Answer answer = receive_answer();
    REQUIRE(answer.operation == native::Operation::kJoin);
    REQUIRE(answer.status != ErrorCode::kOk);
    return answer;
  }

  bool leave(bool failed = false) {
    std::string body;
    native::put(body, native::LeaveRequest{"r", node(), failed, false, 0, 0, {}});
    native::LeaveReply reply;
    REQUIRE(native::take(ok(native::Operation::kLeave, body), reply));
    return reply.was_listed;
  }
  native::KeepAliveReply keep_alive() {
    std::string body;
    native::put(body, native::KeepAliveRequest{kHandle});
    native::KeepAliveReply reply;
    REQUIRE(native::take(ok(native::Operation::kKeepAlive, body), reply));
    return reply;
  }
  void close_run() {
    std::string body;
    native::put(body, native::CloseRunRequest{"r"});
    CHECK(ok(native::Operation::kCloseRun, body) == "");
  }
  native::StatusReply status(Bytes run_id = "r") {
    std::string body;
    native::put(body, native::StatusRequest{run_id, node()});
    native::StatusReply reply;
    REQUIRE(native::take(ok(native::Operation::kStatus, body), reply));
    return reply;
  }
  void subscribe(uint64_t round, uint32_t known_changes = 0, bool known_closed = false,
                 uint32_t timeout_ms = native::kNoTimeout) {
    std::string body;
    native::put(body, native::SubscribeRequest{timeout_ms, "r", node(), round, known_changes,
                                               known_closed});
    send(native_frame(native::Operation::kSubscribe, ++subscribe_id_, body));
  }
  native::SubscribeReply told() {
    Answer answer = receive_answer();
    REQUIRE(answer.operation == native::Operation::kSubscribe);
    REQUIRE_MESSAGE(answer.status == ErrorCode::kOk, answer.message());
    native::SubscribeReply reply;
    REQUIRE(native::take(answer.body, reply));
    return reply;
  }
  // "total: addr/rank addr/rank", a rank of - for none.
  // Where there are more, "..." follows; the next call with more() goes on there.
  std::string members(native::MemberList which, uint32_t limit = 1000, Bytes cursor = "") {
    std::string body;
    native::put(body, native::MembersRequest{"r", which, cursor, limit});
    std::string answer = ok(native::Operation::kMembers, body);
    native::MembersReply reply;
    REQUIRE(native::take(answer, reply));
    std::string text = std::to_string(reply.total) + ":";
    for (const auto& item : reply.items) {
      text += " " + std::string(item.node.addr) + "/" +
              (item.rank == native::kNoRank ? "-" : std::to_string(item.rank));
    }
    cursor_ = reply.cursor;
    if (!reply.cursor.empty()) text += " ...";
    return text;
  }
  std::string more(native::MemberList which, uint32_t limit = 1000) {
    return members(which, limit, std::string(cursor_));
  }
  Answer try_resume(uint64_t round, uint32_t rank, uint32_t world_size, uint32_t grace_ms = 0) {
    std::string body;
    native::put(body, native::ResumeRequest{"r", node(), settings_, round, rank, world_size,
                                            grace_ms, kHandle});
    return call(native::Operation::kResume, body);
  }
  native::ResumeReply resume(uint64_t round, uint32_t rank, uint32_t world_size,
                             uint32_t grace_ms = 0) {
    Answer answer = try_resume(round, rank, world_size, grace_ms);
    REQUIRE_MESSAGE(answer.status == ErrorCode::kOk, answer.message());
    native::ResumeReply reply;
    REQUIRE(native::take(answer.body, reply));
    return reply;
  }

  std::string ok(native::Operation operation, Bytes body) {
    Answer answer = call(operation, body);
    REQUIRE_MESSAGE(answer.status == ErrorCode::kOk, answer.message());
    return answer.body;
  }
  uint64_t join_id() const { return join_id_; }

  static constexpr uint32_t kHandle = 7;

 private:
  std::string addr_;
  native::RunSettings settings_;
  uint64_t join_id_ = uint64_t{1} << 40;
  uint64_t subscribe_id_ = uint64_t{1} << 41;
  std::string cursor_;  // of the page that was listed last
};

}  // namespace rdzv::test
