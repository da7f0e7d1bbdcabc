// Who follows a run without being in it, in memory: what is told, when, and what is kept for it.
#include <doctest/doctest.h>

#include <chrono>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core_world.h"

using namespace rdzv;
using namespace rdzv::test;
using native::Departure;
using native::FollowRequest;
using native::kNoTimeout;
using std::chrono::milliseconds;

namespace {

constexpr native::RunSettings kAny{1, 1000, 3'600'000, 1'000, 3};
constexpr uint32_t kGraceMs = 500;

struct Scene {
  MemoryPeer& join(Bytes name, uint32_t timeout_ms = kNoTimeout, Bytes run = "run") {
    MemoryPeer& peer = world.newcomer("10.0.0." + std::to_string(world.peers.size()) + ":1");
    join_as(peer, name, timeout_ms, run);
    return peer;
  }
  static size_t join_as(MemoryPeer& peer, Bytes name, uint32_t timeout_ms = kNoTimeout,
                        Bytes run = "run") {
    return peer.ask(native::JoinRequest{timeout_ms, {run}, {{name}, 1, 0}, kAny, 0, kGraceMs, 1});
  }
  static void leave(MemoryPeer& peer, Bytes name, bool failed = false, bool gave_up = false) {
    peer.ask(native::LeaveRequest{{"run"}, {{name}, 1, 0}, failed, gave_up, 0, 0, {"x"}});
  }

  size_t follow(uint64_t known, uint32_t timeout_ms = kNoTimeout) {
    return eye.ask(FollowRequest{timeout_ms, {"run"}, known});
  }
  native::FollowReply told(size_t call) { return eye.answer<FollowRequest>(call); }
  // The version now.
  uint64_t look() { return told(follow(native::kNothingKnown)).version; }
  // "a left, b lost"
  std::string gone(size_t call) {
    static constexpr const char* kHow[] = {"left", "lost", "failed", "gave up"};
    std::string text;
    for (const auto& each : told(call).gone) {
      text += (text.empty() ? "" : ", ") + std::string(each.node.addr) + " " +
              kHow[static_cast<size_t>(each.how)];
    }
    return text;
  }
  // Time in which nodes are heard of.
  void wait(milliseconds time) {
    for (milliseconds step(50); time.count() > 0; time -= step) world.wait(step);
  }

  World world;
  MemoryPeer& eye = world.newcomer("10.0.0.1:1");
};

}  // namespace

TEST_CASE("run follow: a run that nobody was in has no version, and its first node is told") {
  Scene scene;
  const size_t first = scene.follow(0, 0);
  CHECK(scene.told(first).version == 0);
  CHECK_FALSE(scene.told(first).status.known);
  const size_t next = scene.follow(0);
  CHECK_FALSE(scene.eye.has_answer(next));
  scene.join("a");
  const native::FollowReply told = scene.told(next);
  CHECK(told.version > 0);
  CHECK(told.status.known);
  CHECK(told.status.participants == 1);
  CHECK(told.status.settings.min_nodes == 1);
  CHECK(told.gone.empty());
}

TEST_CASE("run follow: what is known already is not told, whatever keep-alives come") {
  Scene scene;
  MemoryPeer& a = scene.join("a");
  const size_t waits = scene.follow(scene.look());
  scene.wait(milliseconds(500));
  a.ask(native::KeepAliveRequest{1});
  scene.wait(milliseconds(500));
  CHECK_FALSE(scene.eye.has_answer(waits));
}

TEST_CASE("run follow: who went is named, and how") {
  Scene scene;
  MemoryPeer& left = scene.join("left");
  MemoryPeer& failed = scene.join("failed");
  MemoryPeer& gave_up = scene.join("gave-up");
  scene.join("broken").lose();
  scene.join("late", 50);
  MemoryPeer& withdrawn = scene.world.newcomer("10.0.1.1:1");
  const size_t join = Scene::join_as(withdrawn, "withdrawn");
  const uint64_t version = scene.look();
  Scene::leave(left, "left");
  Scene::leave(failed, "failed", true);
  Scene::leave(gave_up, "gave-up", true, true);
  withdrawn.give_up(join);
  withdrawn.exchange();
  scene.wait(milliseconds(kGraceMs + 100));
  const size_t all = scene.follow(version);
  CHECK(scene.gone(all) ==
        "left left, failed failed, gave-up gave up, withdrawn left, late left, broken lost");
  CHECK(scene.told(all).version == scene.look());
  CHECK(scene.gone(scene.follow(scene.look(), 0)) == "");
}

TEST_CASE("run follow: who is silent is lost, in a round that is complete, too") {
  Scene scene;
  const native::RunSettings pair{2, 2, 1, 1'000, 3};
  MemoryPeer& a = scene.world.newcomer("10.0.1.1:1");
  MemoryPeer& b = scene.world.newcomer("10.0.1.2:1");
  a.ask(native::JoinRequest{kNoTimeout, {"run"}, {{"a"}, 1, 0}, pair, 0, kGraceMs, 1});
  b.ask(native::JoinRequest{kNoTimeout, {"run"}, {{"b"}, 1, 0}, pair, 0, kGraceMs, 1});
  const native::FollowReply complete = scene.told(scene.follow(0, 0));
  CHECK(complete.status.complete);
  CHECK(complete.status.world_size == 2);
  const size_t waits = scene.follow(complete.version);
  for (int i = 0; i < 8; ++i) {
    scene.wait(milliseconds(500));
    a.ask(native::KeepAliveRequest{1});
  }
  CHECK(scene.gone(waits) == "b lost");
  CHECK(scene.told(waits).status.lost == 1);
}

TEST_CASE("run follow: a run that is closed is told") {
  Scene scene;
  scene.join("a");
  const size_t waits = scene.follow(scene.look());
  scene.eye.ask(native::CloseRunRequest{{"run"}});
  CHECK(scene.told(waits).status.closed);
  CHECK(scene.told(waits).status.participants == 0);
}

TEST_CASE(
    "run follow: changes that follow each other fast are told together, and the last always") {
  Scene scene;
  scene.join("first");
  uint64_t version = scene.look();
  scene.wait(milliseconds(100));
  size_t call = scene.follow(version);
  int answers = 0;
  constexpr int kNodes = 200;
  for (int i = 0; i < kNodes; ++i) {
    scene.join("n" + std::to_string(i));
    if (!scene.eye.has_answer(call)) continue;
    ++answers;
    call = scene.follow(version = scene.told(call).version);
  }
  CHECK(answers == 1);
  CHECK_FALSE(scene.eye.has_answer(call));
  scene.wait(milliseconds(100));
  CHECK(scene.told(call).status.participants == 1 + kNodes);
  CHECK(scene.told(call).version == scene.look());
}

TEST_CASE("run follow: a timeout is answered with what is there") {
  Scene scene;
  scene.join("a");
  const uint64_t version = scene.look();
  const size_t waits = scene.follow(version, 200);
  scene.wait(milliseconds(150));
  CHECK_FALSE(scene.eye.has_answer(waits));
  scene.wait(milliseconds(50));
  CHECK(scene.told(waits).version == version);
}

TEST_CASE("run follow: no version is that of another life of the run, or of another server") {
  Scene scene;
  std::set<uint64_t> versions;
  for (int life = 0; life < 3; ++life) {
    MemoryPeer& a = scene.join("a");
    CHECK(versions.insert(scene.look()).second);
    Scene::leave(a, "a");
    CHECK(versions.insert(scene.look()).second);
  }
  World other;
  ServerCommons first(ServerLimits(), "one", HashSeed{1, 2}, {1, 2, 3});
  ServerCommons second(ServerLimits(), "two", HashSeed{1, 2}, {4, 5, 6});
  CHECK(first.home().run_version != second.home().run_version);
}

TEST_CASE("run follow: one that is withdrawn, or whose connection ends, leaves nothing") {
  Scene scene;
  const size_t waits = scene.follow(0);
  scene.eye.give_up(waits);
  scene.eye.exchange();
  scene.join("a");
  CHECK(scene.eye.reply(waits).outcome != ClientCore::Outcome::kAnswered);
  MemoryPeer& other = scene.world.newcomer("10.0.2.1:1");
  other.ask(FollowRequest{kNoTimeout, {"another"}, 0});
  other.lose();
  scene.join("b", kNoTimeout, "another");
  CHECK(scene.told(scene.follow(0, 0)).status.participants == 1);
}

TEST_CASE("run follow: of those who went so many are remembered") {
  Scene scene;
  MemoryPeer& first = scene.join("first");
  const uint64_t version = scene.look();
  constexpr size_t kMore = 10;
  for (size_t i = 0; i < limits::kDeparturesKept + kMore; ++i) {
    const std::string name = "n" + std::to_string(i);
    Scene::leave(scene.join(name), name);
  }
  Scene::leave(first, "first");
  const native::FollowReply told = scene.told(scene.follow(version, 0));
  REQUIRE(told.gone.size() == limits::kDeparturesKept);
  CHECK(told.gone.front().node.addr == "n" + std::to_string(kMore + 1));
  CHECK(told.gone.back().node.addr == "first");
}

TEST_CASE("run follow: very many are told in turn") {
  Scene scene;
  scene.join("a");
  const uint64_t version = scene.look();
  scene.wait(milliseconds(100));
  std::vector<size_t> waits;
  for (int i = 0; i < 1000; ++i) waits.push_back(scene.follow(version));
  scene.join("b");
  for (size_t call : waits) CHECK(scene.told(call).status.participants == 2);
}
