// One connection of a server's core, in memory: the test says what comes, how much the peer reads,
// and what time it is, and so sees how much is kept.
#include "server/connection.h"

#include <doctest/doctest.h>

#include <chrono>
#include <random>
#include <string>

#include "memory_transport.h"
#include "support.h"
#include "wire/limits.h"

using namespace rdzv;
using namespace rdzv::test;
using c10d::Code;

namespace {

constexpr size_t kValue = 64 * 1024;
constexpr size_t kAnswer = 8 + kValue;

class Scene {
 public:
  explicit Scene(const std::string& greeting = c10d_validate()) {
    transport.room = 4 * kAnswer;
    context.connections.open.push_back(std::make_unique<Connection>(transport, context));
    connection = context.connections.open.back().get();
    context.apply(change::Set{"/k", std::string(kValue, 'v')});
    send(greeting);
    turn();
  }

  void send(Bytes bytes) { unread_.append(bytes); }
  void ask(size_t gets) {
    for (; gets > 0; --gets) send(c10d_request(Code::kGet, {"/k"}));
  }
  // As the loop does: what is readable is read, and replies are written at the end.
  void turn() {
    if (transport.closed) return;  // and the connection may be gone
    if (connection->wants_input() && !unread_.empty())
      connection->receive(std::exchange(unread_, {}));
    if (!transport.closed) connection->resume_sending();
    while (!transport.closed && commons.end_turn()) {
    }
  }
  void wait(Duration duration) {
    context.clock.now += duration;
    context.clock.awake += duration;
    context.clock.timers.run(context.clock.now, SIZE_MAX);
    context.clock.awake_timers.run(context.clock.awake, SIZE_MAX);
  }
  size_t receive(size_t most) { return transport.read(most).size(); }

  MemoryTransport transport;
  ServerCommons commons{{}, "server test", {}, {}};
  ServerContext& context = commons.home();
  Connection* connection;

 private:
  std::string unread_;
};

}  // namespace

TEST_CASE("requests wait while too many replies are unread") {
  Scene scene;
  constexpr size_t kGets = 3 * limits::kUnsentBytesMax / kValue;
  scene.ask(kGets);
  for (int i = 0; i < 10; ++i) scene.turn();
  CHECK(scene.connection->congested());
  CHECK(scene.connection->unsent() < limits::kUnsentBytesMax + 2 * kAnswer + 1024 * 1024);

  size_t received = 0;
  for (size_t some = 1; some > 0; scene.turn()) received += some = scene.receive(kAnswer);
  CHECK(received == kGets * kAnswer);
  CHECK_FALSE(scene.connection->congested());
  CHECK(scene.connection->unsent() == 0);
}

TEST_CASE("replies that were sent are given up although there are always more") {
  Scene scene;
  scene.ask(32);
  scene.turn();
  size_t largest = 0;
  for (int i = 0; i < 2000; ++i) {
    scene.receive(kAnswer);
    scene.ask(1);
    scene.turn();
    REQUIRE(scene.connection->unsent() > 0);
    largest = std::max(largest, scene.connection->unsent());
  }
  CHECK(largest < 100 * kAnswer);
}

TEST_CASE("a peer that has ended its stream and reads nothing is let go") {
  Scene scene;
  scene.ask(32);
  scene.turn();
  scene.connection->finish();
  REQUIRE_FALSE(scene.transport.closed);
  REQUIRE(scene.connection->unsent() > 0);
  scene.wait(scene.commons.last_answers_kept - std::chrono::milliseconds(1));
  CHECK_FALSE(scene.transport.closed);
  scene.wait(std::chrono::milliseconds(1));
  CHECK(scene.transport.closed);
  CHECK(logged("does not read") != "");
}

TEST_CASE("a peer that has ended its stream and reads slowly gets all that is left for it") {
  Scene scene;
  constexpr size_t kGets = 32;
  scene.ask(kGets);
  scene.turn();
  scene.connection->finish();
  size_t received = 0;
  for (size_t some = 1; some > 0; scene.turn()) {
    received += some = scene.receive(kAnswer / 2);
    scene.wait(scene.commons.last_answers_kept / 2);
  }
  CHECK(received == kGets * kAnswer);
  CHECK(scene.transport.closed);
}

TEST_CASE("a large value that is on its way is in memory once, and arrives as it was") {
  Scene scene;
  scene.ask(32);
  scene.turn();
  REQUIRE(scene.connection->unsent() > 16 * kAnswer);
  CHECK(scene.context.state.table().find("/k")->bytes.shared().use_count() > 16);
  CHECK(scene.connection->out().capacity() < kAnswer);

  scene.context.apply(change::Set{"/k", std::string(kValue, 'w')});
  std::string received;
  while (received.size() < 32 * kAnswer) {
    received += scene.transport.read(kAnswer);
    scene.turn();
  }
  CHECK((received.find('w') == std::string::npos));
  CHECK(scene.connection->unsent() == 0);
}

TEST_CASE("who has nearly read the largest value may ask for more") {
  Scene scene;
  scene.context.apply(change::Set{"/large", std::string(limits::kValueBytesMax, 'v')});
  scene.send(c10d_request(Code::kGet, {"/large"}));
  scene.turn();
  while (scene.connection->unsent() > limits::kUnsentBytesMax / 2) {
    REQUIRE(scene.receive(kAnswer) > 0);
    scene.turn();
  }
  REQUIRE(scene.connection->unsent() > 0);
  scene.send(c10d_request(Code::kPing, {}));
  scene.turn();
  CHECK_FALSE(scene.transport.closed);
}

TEST_CASE("a request is applied when its last byte is there") {
  Scene scene;
  std::string request = c10d_request(Code::kSet, {"/new", "value"});
  for (char byte : request) {
    CHECK(scene.context.state.table().find("/new") == nullptr);
    scene.send(Bytes(&byte, 1));
    scene.turn();
  }
  REQUIRE(scene.context.state.table().find("/new") != nullptr);
  CHECK(scene.context.state.table().find("/new")->bytes == "value");
}

TEST_CASE("the waits of a connection end with it") {
  Scene scene;
  for (int i = 0; i < 10; ++i) scene.send(c10d_request(Code::kWait, {"/never"}));
  scene.turn();
  CHECK(scene.context.state.table().waiters() == 10);
  scene.connection->close("");
  CHECK(scene.transport.closed);
  CHECK(scene.context.state.table().waiters() == 0);
}

TEST_CASE("a connection may wait so often and no more") {
  Scene scene;
  std::string waits;
  for (size_t i = 0; i < 1024; ++i) waits += c10d_request(Code::kWait, {"/x"});
  for (size_t i = 0; i < limits::kWaitsPerConnectionMax; i += 1024) {
    scene.send(waits);
    scene.turn();
  }
  CHECK(scene.context.state.table().waiters() == limits::kWaitsPerConnectionMax);
  CHECK_FALSE(scene.transport.closed);
  scene.send(c10d_request(Code::kWait, {"/x"}));
  scene.turn();
  CHECK(scene.transport.closed);
  CHECK(logged("more than 65536 WAITs at once") != "");
}

TEST_CASE("what comes for a connection that ends leaves no timer of its requests behind") {
  Scene scene(native_greeting());
  for (uint64_t id = 1; id <= 10; ++id) scene.send(native_get(id, "/late", 1));
  scene.turn();
  REQUIRE(scene.context.state.table().waiters() == 10);
  scene.connection->end("the test says so");
  scene.context.apply(change::Set{"/late", "v"});
  scene.context.wake();
  CHECK(scene.context.state.table().waiters() == 0);
  // All their times are over.
  scene.wait(std::chrono::milliseconds(20));
  scene.connection->close("");
}

TEST_CASE("a connection says in which state it is") {
  using State = Connection::State;
  Scene scene;
  CHECK(scene.connection->state() == State::kOpen);
  scene.ask(3 * limits::kUnsentBytesMax / kValue);
  scene.turn();
  CHECK(scene.connection->state() == State::kStalled);
  while (scene.receive(kAnswer) > 0) scene.turn();
  CHECK(scene.connection->state() == State::kOpen);
  for (int i = 0; i < 100'000; ++i) scene.context.apply(change::Set{"/" + std::to_string(i), "v"});
  scene.connection->receive(c10d_request(Code::kListKeys, {}));
  CHECK(scene.connection->state() == State::kPutOff);
  scene.transport.room = SIZE_MAX;
  scene.turn();
  CHECK(scene.connection->state() == State::kOpen);
  scene.transport.room = 0;
  scene.transport.sent.clear();
  scene.ask(1);
  scene.turn();
  scene.connection->finish();
  CHECK(scene.connection->state() == State::kFinishing);
  scene.connection->end("the test says so");
  CHECK(scene.connection->state() == State::kEnding);
  scene.connection->close("");
  CHECK(scene.connection->state() == State::kClosed);
}

TEST_CASE("requests with large values are the same in whatever parts they come") {
  const std::string large(200'000, 'l');
  const std::string larger(300'000, 'm');
  using native::Operation;
  std::string stream = native_set(1, "/a", large);
  stream += native_frame(Operation::kAppend, 2, Fields().string32("/a").string32(larger).bytes);
  stream += native_set(3, "/b", "small");
  stream += native_frame(Operation::kQueuePush, 4, Fields().string32("/q").string32(large).bytes);
  stream += native_frame(Operation::kCompareSet, 5,
                         Fields().string32("/b").string32("small").string32(larger).bytes);
  stream += native_frame(Operation::kCompareSet, 6,
                         Fields().string32("/b").string32(larger).string32(large).bytes);
  stream +=
      native_frame(Operation::kSetFor, 7, Fields().u64(1000).string32("/c").string32(larger).bytes);
  stream += native_get(8, "/none", 0);
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    Scene scene{native_greeting()};
    scene.transport.room = SIZE_MAX;
    for (Bytes left = stream; !left.empty();) {
      const Bytes part = left.substr(0, 1 + random() % (seed < 10 ? 150'000 : 1'000'000));
      scene.send(part);
      left.remove_prefix(part.size());
      if (random() % 2 == 0 || left.empty()) scene.turn();
    }
    scene.turn();
    const Table& table = scene.context.state.table();
    CHECK(table.find("/a")->bytes == large + larger);
    CHECK(table.find("/b")->bytes == large);
    CHECK(table.find("/c")->bytes == larger);
    CHECK(*table.front("/q") == large);
    CHECK(scene.connection->memory().input.used() < 1000);
    CHECK(scene.connection->state() == Connection::State::kOpen);
  }
}

TEST_CASE("a request whose value is longer than it says is malformed, however large") {
  Scene scene{native_greeting()};
  std::string body = Fields().string32("/a").string32(std::string(200'000, 'v')).bytes;
  body.resize(body.size() + 10);
  scene.send(native_frame(native::Operation::kSet, 1, body).substr(0, 100'000));
  scene.turn();
  scene.send(native_frame(native::Operation::kSet, 1, body).substr(100'000));
  scene.turn();
  CHECK(scene.context.state.table().find("/a") == nullptr);
  CHECK(scene.transport.sent.find("malformed set") != std::string::npos);
}
