// A real server that keeps a run's rendezvous: connections that break, heartbeats, and what happens
// when a server has forgotten its runs.
#include <doctest/doctest.h>

#include <memory>
#include <optional>
#include <string>

#include "run_scene.h"

using namespace rdzv;
using namespace rdzv::test;
using native::JoinOutcome;
using native::kNoTimeout;
using native::MemberList;
using native::Operation;
using native::RunRole;
using native::RunSettings;

namespace {

// Two nodes in a complete round. The grace is that of both.
struct PairScene {
  Server server{"127.0.0.1", 0};
  std::optional<RunNodePeer> a{std::in_place, server.port(), "a"};
  std::optional<RunNodePeer> b{std::in_place, server.port(), "b"};

  explicit PairScene(uint32_t grace_ms = 0) {
    a->join_and_wait(0, kNoTimeout, grace_ms);
    b->join(0, kNoTimeout, grace_ms);
    a->joined();
    b->joined();
  }
};

constexpr uint32_t kLongGraceMs = 10'000'000;

}  // namespace

TEST_CASE("run life: a participant whose connection breaks is lost after its grace") {
  PairScene scene;
  CHECK(logged("run 'r': round 1 is complete with 2 nodes") != "");
  scene.b->subscribe(1);
  scene.a.reset();
  const native::SubscribeReply told = scene.b->told();
  CHECK(logged("run 'r': lost node a (pid 1): its connection broke") != "");
  CHECK(told.changes == 1);
  CHECK(told.active);
  CHECK_FALSE(told.closed);
  CHECK(scene.b->members(MemberList::kLost) == "1: a/-");
  CHECK(scene.b->status().lost == 1);
}

TEST_CASE("run life: a node that shows up on another connection within its grace is not lost") {
  PairScene scene(kLongGraceMs);
  scene.a.reset();
  scene.a.emplace(scene.server.port(), "a");
  CHECK_FALSE(scene.a->keep_alive().known);
  CHECK(scene.a->resume(1, 0, 2).taken);
  const native::KeepAliveReply alive = scene.a->keep_alive();
  CHECK(alive.known);
  CHECK(alive.changes == 0);
  // From now on it is this connection that counts, with its own grace.
  scene.b->subscribe(1);
  scene.a.reset();
  CHECK(scene.b->told().changes == 1);
}

TEST_CASE("run life: a node moves to another connection while the old one is still open") {
  PairScene scene;
  RunNodePeer moved(scene.server.port(), "a");
  CHECK(moved.resume(1, 0, 2).taken);
  CHECK_FALSE(scene.a->keep_alive().known);
  scene.a->end_sending();
  scene.a->receive_to_end();
  CHECK(moved.keep_alive().changes == 0);
}

TEST_CASE("run life: a waiting node whose connection breaks is not in the round") {
  Server server("127.0.0.1", 0);
  RunNodePeer watcher(server.port(), "watcher");
  {
    RunNodePeer a(server.port(), "a");
    a.join_and_wait();
  }
  while (watcher.status().participants > 0) continue;
  RunNodePeer b(server.port(), "b");
  RunNodePeer c(server.port(), "c");
  b.join_and_wait();
  c.join();
  CHECK(b.joined().reply.rank == 0);
  CHECK(c.joined().reply.rank == 1);
}

TEST_CASE("run life: a join broken off can be sent again within the grace") {
  Server server("127.0.0.1", 0);
  auto a = std::make_unique<RunNodePeer>(server.port(), "a");
  a->join_and_wait(0, kNoTimeout, kLongGraceMs);
  a.reset();
  RunNodePeer b(server.port(), "b");
  b.join();
  CHECK(b.joined().reply.world_size == 2);  // the node counts, though nobody could tell it
  RunNodePeer again(server.port(), "a");
  again.join();
  CHECK(again.joined().reply.rank == 0);
}

TEST_CASE(
    "run life: a job that finishes while a waiting node's connection is broken is not begun anew") {
  PairScene scene;
  auto late = std::make_unique<RunNodePeer>(scene.server.port(), "late");
  late->join_as_spare_and_wait(kLongGraceMs);
  CHECK(late->status().role == RunRole::kSpare);
  late.reset();
  scene.a->leave();
  scene.b->leave();
  RunNodePeer again(scene.server.port(), "late");
  again.join();
  const RunNodePeer::Joined told = again.joined();
  CHECK(told.reply.outcome == JoinOutcome::kFinished);
  CHECK(told.reply.round == 1);
  again.join();  // who asks once more means it
  CHECK(again.status().role == RunRole::kForming);
}

TEST_CASE("run life: a waiting node that sends no keep-alives is told that it was dropped") {
  Server server("127.0.0.1", 0);
  RunNodePeer a(server.port(), "a", RunSettings{2, 2, 30'000, 10, 2});
  a.join();
  CHECK(a.joined().reply.outcome == JoinOutcome::kDropped);
  CHECK_FALSE(a.keep_alive().known);
}

TEST_CASE("run life: a participant that sends no keep-alives is lost, and has to join again") {
  Server server("127.0.0.1", 0);
  RunNodePeer a(server.port(), "a", RunSettings{1, 1, 30'000, 10, 2});
  a.join();
  CHECK(a.joined().reply.outcome == JoinOutcome::kPlaced);
  a.subscribe(1);
  const native::SubscribeReply told = a.told();
  CHECK(told.changes == 1);
  CHECK_FALSE(told.active);
  CHECK_FALSE(a.keep_alive().known);
  CHECK(a.keep_alive().changes == 1);
  CHECK_FALSE(a.resume(1, 0, 1).taken);
}

TEST_CASE("run life: keep-alives keep a node, before the answer to its join, too") {
  Server server("127.0.0.1", 0);
  const RunSettings settings{3, 3, 30'000, 50, 4};
  constexpr Duration kWindow = std::chrono::milliseconds(200);
  RunNodePeer silent(server.port(), "silent", settings);
  RunNodePeer a(server.port(), "a", settings);
  silent.join_and_wait();
  Instant heard = now();
  a.join_and_wait();
  // A test that is not run for that long cannot keep a node.
  bool was_starved = false;
  bool known = true;
  while (a.status().participants == 2 && known) {
    known = a.keep_alive().known;
    const Instant current = now();
    was_starved |= current - heard >= kWindow;
    heard = current;
  }
  CHECK((known || was_starved));
  CHECK(silent.joined().reply.outcome == JoinOutcome::kDropped);
}

TEST_CASE("run life: who is done with a complete round is not lost when it goes") {
  PairScene scene;
  scene.a->leave();
  scene.a.reset();
  scene.b->ping();
  CHECK(scene.b->keep_alive().changes == 0);
  CHECK(scene.b->members(MemberList::kParticipants) == "1: b/1");
  scene.b->leave();
  CHECK(scene.b->status().finished_round == 1);
  CHECK(logged("run 'r': the job finished with round 1") != "");
}

TEST_CASE("run life: a server that has forgotten a round takes it back from its nodes") {
  Server server("127.0.0.1", 0);
  RunNodePeer b(server.port(), "b");
  const native::ResumeReply resumed = b.resume(5, 1, 2);
  CHECK(resumed.taken);
  CHECK(resumed.changes == 0);
  CHECK(b.members(MemberList::kParticipants) == "2: b/1 rank 0/0");
  RunNodePeer a(server.port(), "a");
  CHECK(a.resume(5, 0, 2).taken);
  CHECK(b.members(MemberList::kParticipants) == "2: a/0 b/1");
  CHECK(b.keep_alive().changes == 0);
  // And goes on from there.
  a.leave(true);
  b.leave(true);
  a.join_and_wait(5);
  b.join(5);
  CHECK(a.joined().reply.round == 6);
  CHECK(b.joined().reply.round == 6);
}

TEST_CASE("run life: pages of members go on behind the known nodes with ranks that are expected") {
  Server server("127.0.0.1", 0);
  RunNodePeer b(server.port(), "b", RunSettings{1, 6, 30'000, 3'600'000, 3});
  RunNodePeer c(server.port(), "c", RunSettings{1, 6, 30'000, 3'600'000, 3});
  CHECK(b.resume(5, 1, 6).taken);
  CHECK(c.resume(5, 4, 6).taken);
  CHECK(b.members(MemberList::kParticipants, 2) == "6: b/1 c/4 ...");
  CHECK(b.more(MemberList::kParticipants, 2) == "6: rank 0/0 rank 2/2 ...");
  CHECK(b.more(MemberList::kParticipants, 2) == "6: rank 3/3 rank 5/5");
  CHECK(b.members(MemberList::kParticipants, 3) == "6: b/1 c/4 rank 0/0 ...");
  CHECK(b.more(MemberList::kParticipants, 3) == "6: rank 2/2 rank 3/3 rank 5/5");
  CHECK(b.members(MemberList::kWaiting) == "0:");
}

TEST_CASE("run life: who has rank 0 is told by its name, also in a round that was put back") {
  Server server("127.0.0.1", 0);
  RunNodePeer b(server.port(), "b");
  CHECK(b.resume(5, 1, 2).taken);
  RunNodePeer a(server.port(), "a");
  CHECK(a.resume(5, 0, 2).taken);
  b.join();
  RunNodePeer::Joined joined = b.joined();
  CHECK(joined.reply.round == 5);
  CHECK(joined.reply.rank == 1);
  CHECK(joined.first == "a");
}

TEST_CASE("run life: ranks that nobody comes for are lost, by their number") {
  Server server("127.0.0.1", 0);
  RunNodePeer b(server.port(), "b", RunSettings{2, 2, 30'000, 100, 3});
  CHECK(b.resume(5, 1, 2).taken);
  b.subscribe(5);
  for (;;) {
    std::string body;
    native::put(body, native::KeepAliveRequest{RunNodePeer::kHandle});
    b.send(native_frame(Operation::kKeepAlive, 1, body));
    if (b.receive_answer().operation == Operation::kSubscribe) break;
  }
  b.receive_answer();
  CHECK(b.members(MemberList::kLost).find("rank 0/-") != std::string::npos);
}

TEST_CASE("run life: what cannot be resumed is not, or is an error") {
  PairScene scene;
  RunNodePeer c(scene.server.port(), "c");
  const native::ResumeReply refused = c.resume(1, 0, 2);
  CHECK_FALSE(refused.taken);
  CHECK(refused.changes >= 1);
  CHECK_FALSE(c.keep_alive().known);
  CHECK_FALSE(c.resume(2, 0, 2).taken);
  NativePeer::Answer answer = c.try_resume(1, 2, 2);
  CHECK(answer.status == ErrorCode::kInvalidArgument);
  CHECK(answer.message().starts_with("run 'r': resume of node c (pid 1): there is no rank 2"));
  RunNodePeer other(scene.server.port(), "b", RunSettings{1, 2, 30'000, 5'000, 3});
  CHECK(other.try_resume(1, 1, 2).status == ErrorCode::kState);
}

TEST_CASE("run life: a join that waits is placed when its node resumes the round") {
  Server server("127.0.0.1", 0);
  RunNodePeer a(server.port(), "a");
  a.join_and_wait();
  RunNodePeer moved(server.port(), "a");
  CHECK(moved.resume(5, 0, 2).taken);
  CHECK(a.failed().status == ErrorCode::kState);
  CHECK(moved.keep_alive().changes == 0);
}
