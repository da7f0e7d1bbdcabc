// A real server, spoken to in the bytes of torch's TCPStore: queues, LIST_KEYS and BARRIER.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "native_scene.h"
#include "server/server.h"
#include "support.h"

using namespace rdzv;
using namespace rdzv::test;
using c10d::Code;
using native::Operation;

namespace {

struct Scene {
  Server server{"127.0.0.1", 0};
  C10dPeer peer{server.port()};
  C10dPeer other{server.port()};

  void push(Bytes item) {
    other.send(c10d_request(Code::kQueuePush, {"/q", item}));
    other.ping();
  }
  static void wait(C10dPeer& who) {
    who.send(c10d_request(Code::kWait, {"/q"}));
    who.ping();
  }
  // The length before, and the item.
  static std::string pop(C10dPeer& who) {
    who.send(c10d_request(Code::kQueuePop, {"/q"}));
    int64_t size = who.receive_i64();
    return std::to_string(size) + (size > 0 ? " " + who.receive_bytes() : "");
  }
  int64_t size() {
    other.send(c10d_request(Code::kQueueLen, {"/q"}));
    return other.receive_i64();
  }
};

}  // namespace

TEST_CASE("c10d: items are popped in the order of pushing, with the length before") {
  Scene scene;
  CHECK(Scene::pop(scene.peer) == "0");
  for (Bytes item : {"1", "", "3"}) scene.push(item);
  CHECK(scene.size() == 3);
  CHECK(Scene::pop(scene.peer) == "3 1");
  CHECK(Scene::pop(scene.other) == "2 ");
  CHECK(Scene::pop(scene.peer) == "1 3");
  CHECK(Scene::pop(scene.peer) == "0");
  CHECK(scene.size() == 0);
}

TEST_CASE("c10d: CHECK and WAIT see a queue with items; GET, GETNUMKEYS and LIST_KEYS do not") {
  Scene scene;
  scene.push("item");
  scene.peer.send(c10d_request(Code::kCheck, {"/q"}) + c10d_request(Code::kWait, {"/q"}));
  CHECK(scene.peer.receive(2) == Bytes("\0\0", 2));
  scene.peer.send(c10d_request(Code::kGet, {"/q"}) + c10d_request(Code::kNumKeys) +
                  c10d_request(Code::kListKeys));
  CHECK(scene.peer.receive_bytes() == "");
  CHECK(scene.peer.receive_i64() == 0);
  CHECK(scene.peer.receive_i64() == 0);
  CHECK(Scene::pop(scene.peer) == "1 item");
  scene.peer.send(c10d_request(Code::kCheck, {"/q"}));
  CHECK(scene.peer.receive_u8() == 1);
}

TEST_CASE("c10d: LIST_KEYS answers with the keys as they are on the wire") {
  Scene scene;
  scene.peer.send(c10d_request(Code::kListKeys));
  CHECK(scene.peer.receive_i64() == 0);
  scene.peer.send(c10d_request(Code::kSet, {"/a", "1"}) + c10d_add("init/", 1) +
                  c10d_request(Code::kListKeys));
  CHECK(scene.peer.receive_i64() == 1);
  REQUIRE(scene.peer.receive_i64() == 2);
  std::string first = scene.peer.receive_bytes(), second = scene.peer.receive_bytes();
  CHECK(std::min(first, second) == "/a");
  CHECK(std::max(first, second) == "init/");
}

TEST_CASE("c10d: a push wakes one who waits, in the order they came") {
  Scene scene;
  C10dPeer second(scene.server.port());
  Scene::wait(scene.peer);
  Scene::wait(second);
  scene.push("1");
  CHECK(scene.peer.receive_u8() == c10d::kStopWaiting);
  CHECK(Scene::pop(scene.peer) == "1 1");
  second.ping();  // not woken
  scene.push("2");
  CHECK(second.receive_u8() == c10d::kStopWaiting);
  CHECK(Scene::pop(second) == "1 2");
}

TEST_CASE("c10d: when the one who was woken does not pop, the next is woken") {
  for (const char* how : {"another request", "cancels", "leaves"}) {
    CAPTURE(how);
    Scene scene;
    C10dPeer second(scene.server.port());
    Scene::wait(scene.peer);
    Scene::wait(second);
    scene.push("1");
    CHECK(scene.peer.receive_u8() == c10d::kStopWaiting);
    if (how[0] == 'a') {
      scene.peer.ping();
    } else if (how[0] == 'c') {
      scene.peer.send(c10d_request(Code::kCancelWait));
      CHECK(scene.peer.receive_u8() == c10d::kWaitCanceled);
    } else {
      scene.peer.close();
    }
    CHECK(second.receive_u8() == c10d::kStopWaiting);
    CHECK(Scene::pop(second) == "1 1");
  }
}

TEST_CASE("c10d: an item goes to a native client that waits for it before it wakes anybody") {
  Scene scene;
  NativePeer native(scene.server.port());
  Scene::wait(scene.peer);
  native.send(
      native_frame(Operation::kQueuePop, 1, Fields().u32(native::kNoTimeout).string32("/q").bytes));
  native.ping();
  scene.push("1");
  CHECK(native.receive_answer().body == Fields().string32("1").bytes);
  scene.peer.ping();
  scene.push("2");
  CHECK(scene.peer.receive_u8() == c10d::kStopWaiting);
}

TEST_CASE("c10d: BARRIER is answered when all have come") {
  Scene scene;
  scene.peer.send(c10d_barrier("/b", 3));
  scene.peer.ping();
  scene.other.send(c10d_barrier("/b", 3));
  scene.other.ping();
  C10dPeer last(scene.server.port());
  last.send(c10d_barrier("/b", 3));
  for (C10dPeer* peer : {&last, &scene.peer, &scene.other})
    CHECK(peer->receive_u8() == c10d::kStopWaiting);
  scene.peer.send(c10d_request(Code::kGet, {"/b"}));
  CHECK(scene.peer.receive_bytes() == "3");
  scene.peer.send(c10d_barrier("/b", 3));  // one more does not wait
  CHECK(scene.peer.receive_u8() == c10d::kStopWaiting);
}

TEST_CASE("c10d: one connection may come several times") {
  Scene scene;
  scene.peer.send(c10d_barrier("/b", 2) + c10d_barrier("/b", 2));
  CHECK(scene.peer.receive(2) == Bytes("\0\0", 2));
}

TEST_CASE("c10d: who cancels at a barrier stays counted") {
  Scene scene;
  scene.peer.send(c10d_barrier("/b", 2) + c10d_request(Code::kCancelWait));
  CHECK(scene.peer.receive_u8() == c10d::kWaitCanceled);
  scene.other.send(c10d_barrier("/b", 2));
  CHECK(scene.other.receive_u8() == c10d::kStopWaiting);
  scene.peer.ping();  // no stray byte before its answer
}

TEST_CASE("c10d: a barrier at what is no number ends the connection") {
  Scene scene;
  scene.peer.send(c10d_request(Code::kSet, {"/b", "word"}) + c10d_barrier("/b", 2));
  CHECK(scene.peer.receive_to_end() == "");
  CHECK(logged("its value 'word' is not a decimal 64-bit number") != "");
  scene.other.ping();
}
