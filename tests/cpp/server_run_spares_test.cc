// A real server and nodes that are more than a round may have: what their JOINs are told.
#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

#include "run_scene.h"

using namespace rdzv;
using namespace rdzv::test;
using native::JoinOutcome;
using native::kNoTimeout;
using native::RunRole;
using native::RunSettings;

namespace {

constexpr RunSettings kOne{1, 1, 30'000, 3'600'000, 3, RankBy::kAddress, false, false};

// One node in a complete round, which has no place for others.
struct FullScene {
  Server server{"127.0.0.1", 0};
  RunNodePeer member{server.port(), "member", kOne};

  FullScene() {
    member.join();
    member.joined();
  }
  RunNodePeer peer(const std::string& addr) { return {server.port(), addr, kOne}; }
};

}  // namespace

TEST_CASE("run spares: a spare is told so at once, however long it would wait, and stays listed") {
  FullScene scene;
  RunNodePeer spare = scene.peer("spare");
  for (const uint32_t timeout_ms : {kNoTimeout, 0U}) {
    spare.join(0, timeout_ms);
    CHECK(spare.joined().reply.outcome == JoinOutcome::kSpare);
    CHECK(spare.status().role == RunRole::kSpare);
  }
}

TEST_CASE("run spares: the time of a spare's join is over, and it is listed still") {
  FullScene scene;
  RunNodePeer spare = scene.peer("spare");
  spare.join_as_spare_and_wait();
  for (const uint32_t timeout_ms : {0U, 20U}) {
    spare.join(0, timeout_ms, 0, "r", true);
    // Of the join before, which moved here.
    if (timeout_ms == 0) CHECK(spare.failed().status == ErrorCode::kState);
    CHECK(spare.joined().reply.outcome == JoinOutcome::kSpare);
    CHECK(spare.status().role == RunRole::kSpare);
  }
  CHECK(scene.member.keep_alive().changes == 0);
}

TEST_CASE("run spares: who believes to be a spare and is none is told so at once") {
  FullScene scene;
  RunNodePeer other = scene.peer("other");
  other.send(
      native_frame(native::Operation::kJoin, 77, other.join_body(0, kNoTimeout, 0, "q", true)));
  CHECK(other.joined().reply.outcome == JoinOutcome::kPlaced);  // what it waits for has come
  RunNodePeer alone(scene.server.port(), "alone", kPair);
  alone.send(
      native_frame(native::Operation::kJoin, 78, alone.join_body(0, kNoTimeout, 0, "p", true)));
  CHECK(alone.joined().reply.outcome == JoinOutcome::kNoSpare);
  CHECK(alone.status("p").role == RunRole::kForming);
}

TEST_CASE("run spares: of many, exactly the oldest is told that a place is free") {
  FullScene scene;
  std::vector<std::unique_ptr<RunNodePeer>> spares;
  for (int i = 0; i < 300; ++i) {  // told in slices
    spares.push_back(std::make_unique<RunNodePeer>(scene.server.port(), std::to_string(i), kOne));
    spares.back()->join_as_spare_and_wait();
  }
  scene.member.leave(true);
  // The round has ended with its only node, and the next one is complete with the first spare.
  CHECK(spares.front()->joined().reply.outcome == JoinOutcome::kPlaced);
  for (size_t i : {size_t{1}, spares.size() - 1})
    CHECK(spares[i]->status().role == RunRole::kSpare);
}

TEST_CASE("run spares: a place that becomes free while a round runs is news for one of them") {
  Server server("127.0.0.1", 0);
  const RunSettings settings = kPair;
  RunNodePeer a(server.port(), "a", settings);
  RunNodePeer b(server.port(), "b", settings);
  a.join_and_wait();
  b.join();
  a.joined();
  b.joined();
  RunNodePeer first(server.port(), "first", settings);
  RunNodePeer second(server.port(), "second", settings);
  first.join_as_spare_and_wait();
  second.join_as_spare_and_wait();
  a.leave(true);
  CHECK(first.joined().reply.outcome == JoinOutcome::kNoSpare);
  CHECK(first.status().role == RunRole::kWaiting);
  CHECK(second.status().role == RunRole::kSpare);  // and has no answer before this one
  // Now its time counts.
  first.join(0, 20);
  CHECK(first.failed().status == ErrorCode::kTimeout);
  CHECK(first.status().role == RunRole::kAbsent);
  CHECK(second.joined().reply.outcome == JoinOutcome::kNoSpare);
}

TEST_CASE("run spares: between two of its joins a spare is not forgotten, and misses nothing") {
  FullScene scene;
  RunNodePeer spare = scene.peer("spare");
  spare.join();
  CHECK(spare.joined().reply.outcome == JoinOutcome::kSpare);
  scene.member.leave();  // the job is done
  spare.join(0, kNoTimeout, 0, "r", true);
  CHECK(spare.joined().reply.outcome == JoinOutcome::kFinished);
}

TEST_CASE("run spares: a spare that cancels its join has left") {
  FullScene scene;
  RunNodePeer spare = scene.peer("spare");
  spare.join_as_spare_and_wait();
  spare.send(native_cancel(5, spare.join_id()));
  CHECK(spare.status().role == RunRole::kAbsent);
}
