// A real server that keeps runs: what subscribers are told, who may keep a run's state, and limits.
#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

#include "run_scene.h"
#include "wire/limits.h"

using namespace rdzv;
using namespace rdzv::test;
using native::kNoTimeout;
using native::Operation;
using native::RunSettings;

namespace {

const RunSettings kLarge{1, 1000, 1, 3'600'000, 3};

// One node in a complete round that many others can wait for.
struct LoneScene {
  Server server{"127.0.0.1", 0};
  RunNodePeer a{server.port(), "a", kLarge};
  std::vector<std::unique_ptr<RunNodePeer>> late;

  LoneScene() {
    a.join();
    CHECK(a.joined().reply.world_size == 1);
  }
  void come(int count) {
    for (int i = 0; i < count; ++i) {
      late.push_back(std::make_unique<RunNodePeer>(server.port(),
                                                   "late" + std::to_string(late.size()), kLarge));
      late.back()->join_and_wait();
    }
  }
};

std::string run_key(Bytes run_id) {
  return "/torch.rendezvous." + std::string(run_id);
}

// The value at a key; empty when there is none.
std::string value_at(NativePeer& peer, Bytes key) {
  NativePeer::Answer answer = peer.call(Operation::kGet, Fields().u32(0).string32(key).bytes);
  if (answer.status != ErrorCode::kOk) return "";
  ByteReader reader(answer.body);
  reader.u64();
  return std::string(reader.take(reader.u32()));
}

void set_value(NativePeer& peer, Bytes key, Bytes value) {
  CHECK(peer.call(Operation::kSet, Fields().string32(key).string32(value).bytes).status ==
        ErrorCode::kOk);
}

NativePeer::Answer close_run(NativePeer& peer, Bytes run_id) {
  return peer.call(Operation::kCloseRun, Fields().string32(run_id).string32("").u8(0).bytes);
}

constexpr Bytes kSentinel = "Y2FuaW1hZGFt";
constexpr Bytes kState = "c29tZSBzdGF0ZQ==";

}  // namespace

TEST_CASE("run watch: a subscriber hears of the first who waits") {
  LoneScene scene;
  scene.a.subscribe(1);
  scene.a.ping();
  scene.come(1);
  const native::SubscribeReply told = scene.a.told();
  CHECK(told.changes == 1);
  CHECK(told.active);
}

TEST_CASE("run watch: what a subscriber does not know yet is told at once") {
  LoneScene scene;
  scene.come(2);
  scene.a.subscribe(1);
  CHECK(scene.a.told().changes == 2);
  scene.a.subscribe(2);
  CHECK(scene.a.told().changes == 2);
  scene.a.subscribe(2, 2);
  scene.a.ping();
}

TEST_CASE("run watch: a subscriber hears that the run is closed, and then no more") {
  LoneScene scene;
  scene.a.subscribe(1);
  scene.a.ping();
  NativePeer other(scene.server.port());
  CHECK(close_run(other, "r").status == ErrorCode::kOk);
  const native::SubscribeReply told = scene.a.told();
  CHECK(told.closed);
  CHECK(told.changes == 0);
  scene.a.subscribe(1, 0, true);
  scene.a.ping();
}

TEST_CASE("run watch: a subscription ends with the present values at its timeout") {
  LoneScene scene;
  scene.a.subscribe(1, 0, false, 20);
  native::SubscribeReply told = scene.a.told();
  CHECK(told.changes == 0);
  CHECK(told.active);
  scene.a.subscribe(1, 0, false, 0);
  CHECK(scene.a.told().changes == 0);
}

TEST_CASE("run watch: a cancelled subscription is not answered") {
  LoneScene scene;
  scene.a.send(native_frame(Operation::kSubscribe, 5, [] {
    std::string body;
    native::put(body, native::SubscribeRequest{kNoTimeout, "r", run_node("a"), 1, 0, false});
    return body;
  }()));
  scene.a.send(native_cancel(6, 5));
  scene.come(1);
  scene.a.ping();
}

TEST_CASE("run watch: many who come one after the other are told of together") {
  LoneScene scene;
  const Instant begin = now();
  scene.a.subscribe(1);
  scene.a.ping();
  scene.come(1);
  native::SubscribeReply told = scene.a.told();
  CHECK(told.changes == 1);
  scene.a.subscribe(1, told.changes);
  scene.a.ping();
  int answers = 1;
  constexpr int kMore = 200;
  // Each one is there when the next comes; so each could have been told of alone.
  std::vector<std::unique_ptr<RunNodePeer>> peers;
  for (int i = 0; i < kMore; ++i)
    peers.push_back(
        std::make_unique<RunNodePeer>(scene.server.port(), "more" + std::to_string(i), kLarge));
  for (const auto& peer : peers) peer->join_and_wait();
  while (told.changes < 1 + kMore) {
    told = scene.a.told();
    ++answers;
    scene.a.subscribe(1, told.changes);
  }
  CHECK(answers <= 3 + (now() - begin) / std::chrono::milliseconds(100));
  scene.a.ping();
}

TEST_CASE("run watch: a subscriber may wait for a run that nobody has begun") {
  Server server("127.0.0.1", 0);
  RunNodePeer a(server.port(), "a", RunSettings{1, 1, 30'000, 5'000, 3});
  a.subscribe(1, 0);
  CHECK(a.told().changes == 1);  // it is no participant: it has to join
  a.subscribe(1, 1);
  CHECK(a.status().known);
  RunNodePeer other(server.port(), "a", RunSettings{1, 1, 30'000, 5'000, 3});
  other.join();
  other.joined();
  const native::SubscribeReply told = a.told();
  CHECK(told.active);
  CHECK(told.changes == 0);
}

TEST_CASE("run watch: what only a subscriber has asked for is forgotten with him") {
  Server server("127.0.0.1", 0);
  RunNodePeer a(server.port(), "a");
  a.subscribe(1, 1, false, 20);
  CHECK_FALSE(a.told().active);
  CHECK_FALSE(a.status().known);
  CHECK(value_at(a, run_key("r")) == "");
}

TEST_CASE("run mixing: the server holds the key of a run that it keeps") {
  for (Bytes before : {Bytes(), kSentinel}) {
    Server server("127.0.0.1", 0);
    RunNodePeer a(server.port(), "a");
    if (!before.empty()) set_value(a, run_key("r"), before);
    a.join_and_wait();
    CHECK(value_at(a, run_key("r")) == native::kRunMarker);
    CHECK(value_at(a, run_key("r")).front() == '!');
    // Deleted by somebody, it comes back.
    a.call(Operation::kDeleteKey, Fields().string32(run_key("r")).bytes);
    RunNodePeer b(server.port(), "b");
    b.join();
    b.joined();
    CHECK(value_at(b, run_key("r")) == native::kRunMarker);
  }
}

TEST_CASE("run mixing: a run that compare-and-set clients keep is refused") {
  Server server("127.0.0.1", 0);
  RunNodePeer a(server.port(), "a");
  set_value(a, run_key("r"), kState);
  a.join();
  NativePeer::Answer answer = a.failed();
  CHECK(answer.status == ErrorCode::kState);
  CHECK(answer.message() ==
        "run 'r': join: clients keep this run by compare-and-set; all nodes must keep it the same "
        "way: start all nodes with the same version and settings, or use "
        "another run id");
  CHECK(a.try_resume(1, 0, 2).status == ErrorCode::kState);
  CHECK(close_run(a, "r").status == ErrorCode::kState);
  CHECK_FALSE(a.status().known);
  CHECK(value_at(a, run_key("r")) == kState);
}

TEST_CASE("run limits: only so many runs that nobody is in are remembered") {
  Server server("127.0.0.1", 0);
  RunNodePeer a(server.port(), "a");
  for (size_t i = 0; i <= limits::kIdleRunsMax; ++i)
    CHECK(close_run(a, "r" + std::to_string(i)).status == ErrorCode::kOk);
  CHECK_FALSE(a.status("r0").known);
  CHECK(value_at(a, run_key("r0")) == "");
  CHECK(a.status("r1").closed);
  CHECK(value_at(a, run_key("r1")) == native::kRunMarker);
}

TEST_CASE("run limits: a run that is used again is not forgotten as an old one") {
  Server server("127.0.0.1", 0);
  RunNodePeer a(server.port(), "a", RunSettings{1, 1, 30'000, 3'600'000, 3});
  for (uint64_t round = 1; round <= 2; ++round) {
    if (round == 2) a.leave();
    a.join();
    CHECK(a.joined().reply.round == round);
  }
  for (size_t i = 0; i <= limits::kIdleRunsMax; ++i) close_run(a, "r" + std::to_string(i));
  CHECK(a.status().participants == 1);
}

TEST_CASE("run limits: a server keeps so many runs, and a connection so many nodes' requests") {
  ServerLimits limits;
  limits.runs = 100;
  Server server("127.0.0.1", 0, limits);
  auto crowd = std::make_unique<NativePeer>(server.port());
  std::string requests;
  for (size_t i = 0; i <= limits.runs; ++i) {
    std::string body;
    native::put(body, native::SubscribeRequest{kNoTimeout, "r" + std::to_string(i), run_node("a"),
                                               1, 1, false});
    requests += native_frame(Operation::kSubscribe, i, body);
  }
  crowd->send(requests);
  NativePeer::Answer answer = crowd->receive_answer();
  CHECK(answer.id == limits.runs);
  CHECK(answer.status == ErrorCode::kLimit);
  CHECK(answer.message().starts_with(
      "subscribe: run 'r100': no room is left for runs, of which 100 are kept here; "));
  crowd.reset();
  RunNodePeer a(server.port(), "a", RunSettings{1, 1, 30'000, 5'000, 3});
  while (a.status("r0").known) continue;
  a.join();
  CHECK(a.joined().reply.world_size == 1);
}

TEST_CASE("run limits: a request id is used once at a time") {
  Server server("127.0.0.1", 0);
  RunNodePeer a(server.port(), "a");
  const std::string join = native_frame(Operation::kJoin, 5, a.join_body(0, kNoTimeout, 0));
  a.send(join + join);
  NativePeer::Answer answer = a.receive_answer();
  CHECK(answer.status == ErrorCode::kProtocol);
  CHECK(answer.message() == "a request with this id is still waiting");
  CHECK(a.status().participants == 1);
}

TEST_CASE("run limits: a connection speaks for so many nodes") {
  constexpr auto kNodes = static_cast<uint32_t>(limits::kNodesPerConnectionMax);
  const RunSettings settings{kNodes, kNodes, 30'000, 3'600'000, 3};
  Server server("127.0.0.1", 0);
  NativePeer crowd(server.port());
  const auto join = [&](uint32_t i) {
    const std::string addr = "n" + std::to_string(i);
    std::string body;
    native::put(body, native::JoinRequest{kNoTimeout, "r", run_node(addr), settings, 0, 0, i});
    return native_frame(Operation::kJoin, i, body);
  };
  std::string requests;
  for (uint32_t i = 0; i < kNodes; ++i) requests += join(i);
  crowd.send(requests);
  for (uint32_t rank = 0; rank < kNodes; ++rank) {
    NativePeer::Answer answer = crowd.receive_answer();
    native::JoinReply reply;
    REQUIRE(native::take(answer.body, reply));
    REQUIRE(reply.rank == rank);
    REQUIRE(answer.id == rank);
  }
  crowd.send(join(kNodes));
  NativePeer::Answer answer = crowd.receive_answer();
  CHECK(answer.status == ErrorCode::kLimit);
  CHECK(answer.message() ==
        "join: more than 65536 nodes on one connection; the server's limit is "
        "nodes_per_connection");
  crowd.send(join(kNodes - 1));
  CHECK(crowd.receive_answer().status == ErrorCode::kOk);
}
