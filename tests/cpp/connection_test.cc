// One connection of a server, on a pair of sockets and without a loop that runs: the test says when
// it reads and when it writes, and so sees how much it keeps.
#include "server/connection.h"

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <chrono>
#include <functional>
#include <string>

#include "net/socket.h"
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
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    far_.reset(ends[1]);
    connection =
        std::make_unique<Connection>(UniqueFd(ends[0]), SocketAddress(), context, on_closed_);
    connection->begin();
    context.table.set("/k", std::string(kValue, 'v'));
    send(greeting);
    turn();
  }

  void send(Bytes bytes) {
    REQUIRE(send_some(far_.get(), bytes) == static_cast<long>(bytes.size()));
  }
  void ask(size_t gets) {
    for (; gets > 0; --gets) send(c10d_request(Code::kGet, {"/k"}));
  }
  // As the loop does: what is readable is read, and replies are written at the end.
  void turn() {
    connection->on_ready(!connection->congested(), true);
    while (context.end_turn()) {
    }
    for (size_t i = 0; i < context.unsent.size(); ++i) context.unsent[i]->flush();
    context.unsent.clear();
  }
  // How much there was, up to `most`.
  size_t receive(size_t most) {
    std::string buffer(most, '\0');
    size_t got = 0;
    while (got < most) {
      long some = receive_some(far_.get(), buffer.data(), most - got);
      if (some < 0) break;
      got += static_cast<size_t>(some);
    }
    return got;
  }

  void end_sending() { ::shutdown(far_.get(), SHUT_WR); }

  std::string receive_bytes(size_t most) {
    std::string buffer(most, '\0');
    long got = receive_some(far_.get(), buffer.data(), most);
    buffer.resize(got > 0 ? static_cast<size_t>(got) : 0);
    return buffer;
  }

  ServerContext context;
  std::unique_ptr<Connection> connection;

 private:
  Connection::OnClosed on_closed_ = [this](int) { context.loop.stop(); };
  UniqueFd far_;
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
  scene.context.last_answers_kept = std::chrono::milliseconds(20);
  scene.ask(32);
  scene.turn();
  scene.end_sending();
  scene.turn();
  REQUIRE_FALSE(scene.connection->closed());
  REQUIRE(scene.connection->unsent() > 0);
  scene.context.loop.run();  // until it is closed
  CHECK(scene.connection->closed());
  CHECK(logged("does not read") != "");
}

TEST_CASE("a peer that has ended its stream and reads slowly gets all that is left for it") {
  Scene scene;
  scene.context.last_answers_kept = std::chrono::milliseconds(50);
  constexpr size_t kGets = 32;
  scene.ask(kGets);
  scene.turn();
  scene.end_sending();
  scene.turn();
  size_t received = 0;
  std::function<void()> read_some = [&] {
    received += scene.receive(kAnswer);
    scene.context.loop.call_at(now() + std::chrono::milliseconds(5), read_some);
  };
  read_some();
  scene.context.loop.run();
  received += scene.receive(kGets * kAnswer);
  CHECK(received == kGets * kAnswer);
}

TEST_CASE("a large value that is on its way is in memory once, and arrives as it was") {
  Scene scene;
  scene.ask(32);
  scene.turn();
  REQUIRE(scene.connection->unsent() > 16 * kAnswer);
  CHECK(scene.context.table.find("/k")->bytes.shared().use_count() > 16);
  CHECK(scene.connection->out().capacity() < kAnswer);

  scene.context.table.set("/k", std::string(kValue, 'w'));
  std::string received;
  while (received.size() < 32 * kAnswer) {
    received += scene.receive_bytes(kAnswer);
    scene.turn();
  }
  CHECK((received.find('w') == std::string::npos));
  CHECK(scene.connection->unsent() == 0);
}

TEST_CASE("who has nearly read the largest value may ask for more") {
  Scene scene;
  scene.context.table.set("/large", std::string(limits::kValueBytesMax, 'v'));
  scene.send(c10d_request(Code::kGet, {"/large"}));
  scene.turn();
  while (scene.connection->unsent() > limits::kUnsentBytesMax / 2) {
    REQUIRE(scene.receive(kAnswer) > 0);
    scene.turn();
  }
  REQUIRE(scene.connection->unsent() > 0);
  scene.send(c10d_request(Code::kPing, {}));
  scene.turn();
  CHECK_FALSE(scene.connection->closed());
}

TEST_CASE("a request is applied when its last byte is there") {
  Scene scene;
  std::string request = c10d_request(Code::kSet, {"/new", "value"});
  for (char byte : request) {
    CHECK(scene.context.table.find("/new") == nullptr);
    scene.send(Bytes(&byte, 1));
    scene.turn();
  }
  REQUIRE(scene.context.table.find("/new") != nullptr);
  CHECK(scene.context.table.find("/new")->bytes == "value");
}

TEST_CASE("the waits of a connection end with it") {
  Scene scene;
  for (int i = 0; i < 10; ++i) scene.send(c10d_request(Code::kWait, {"/never"}));
  scene.turn();
  CHECK(scene.context.table.waiters() == 10);
  scene.connection->close("");
  CHECK(scene.connection->closed());
  CHECK(scene.context.table.waiters() == 0);
}

TEST_CASE("a connection may wait so often and no more") {
  Scene scene;
  std::string waits;
  for (size_t i = 0; i < 1024; ++i) waits += c10d_request(Code::kWait, {"/x"});
  for (size_t i = 0; i < limits::kWaitsPerConnectionMax; i += 1024) {
    scene.send(waits);
    scene.turn();
  }
  CHECK(scene.context.table.waiters() == limits::kWaitsPerConnectionMax);
  CHECK_FALSE(scene.connection->closed());
  scene.send(c10d_request(Code::kWait, {"/x"}));
  scene.turn();
  CHECK(scene.connection->closed());
  CHECK(logged("more than 65536 WAITs at once") != "");
}

TEST_CASE("what comes for a connection that ends leaves no timer of its requests behind") {
  Scene scene(native_greeting());
  for (uint64_t id = 1; id <= 10; ++id) scene.send(native_get(id, "/late", 1));
  scene.turn();
  REQUIRE(scene.context.table.waiters() == 10);
  scene.connection->end("the test says so");
  scene.context.table.set("/late", "v");
  scene.context.wake();
  CHECK(scene.context.table.waiters() == 0);
  // All their times are over when the loop runs.
  scene.context.loop.call_at(now() + std::chrono::milliseconds(20),
                             [&] { scene.context.loop.stop(); });
  scene.context.loop.run();
  scene.connection->close("");
}
