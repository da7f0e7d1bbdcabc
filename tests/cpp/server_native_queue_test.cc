// A real server, spoken to in the native protocol: queues.
#include <doctest/doctest.h>

#include <string>

#include "native_scene.h"

using namespace rdzv;
using namespace rdzv::test;
using native::kNoTimeout;
using native::Operation;

namespace {

Fields pop_body(uint32_t timeout_ms) {
  return Fields().u32(timeout_ms).string32("/q");
}

std::string item(Bytes bytes) {
  return Fields().string32(bytes).bytes;
}

struct Scene : NativeScene {
  void push(Bytes bytes) {
    CHECK(ok(Operation::kQueuePush, Fields().string32("/q").string32(bytes)) == "");
  }
  std::string size() { return ok(Operation::kQueueLen, Fields().string32("/q")); }
};

}  // namespace

TEST_CASE("native: items are popped in the order of pushing") {
  Scene scene;
  for (Bytes bytes : {"1", "", "3"}) scene.push(bytes);
  CHECK(scene.size() == Fields().u64(3).bytes);
  for (Bytes bytes : {"1", "", "3"})
    CHECK(scene.ok(Operation::kQueuePop, pop_body(0)) == item(bytes));
  CHECK(scene.size() == Fields().u64(0).bytes);
}

TEST_CASE("native: a pop that finds nothing times out, and says at which queue") {
  Scene scene;
  scene.set("/q", "a value is no item");
  NativePeer::Answer answer = scene.error(Operation::kQueuePop, pop_body(0));
  CHECK(answer.status == ErrorCode::kTimeout);
  answer = scene.error(Operation::kQueuePop, pop_body(20));
  CHECK(answer.status == ErrorCode::kTimeout);
  CHECK(answer.message() == "queue_pop timeout after 0.02 s: nobody has pushed to queue 'q'");
}

TEST_CASE("native: blocked pops are given their items in the order they came") {
  Scene scene;
  NativePeer other(scene.server.port());
  scene.peer.send(native_frame(Operation::kQueuePop, 1, pop_body(kNoTimeout).bytes));
  scene.peer.ping();
  other.send(native_frame(Operation::kQueuePop, 1, pop_body(kNoTimeout).bytes));
  other.ping();
  NativePeer pusher(scene.server.port());
  for (Bytes bytes : {"first", "second"})
    pusher.call(Operation::kQueuePush, Fields().string32("/q").string32(bytes).bytes);
  CHECK(scene.peer.receive_answer().body == item("first"));
  CHECK(other.receive_answer().body == item("second"));
  CHECK(scene.size() == Fields().u64(0).bytes);
}

TEST_CASE("native: a client may push what it waits for itself") {
  Scene scene;
  scene.peer.send(
      native_frame(Operation::kQueuePop, 1, pop_body(kNoTimeout).bytes) +
      native_frame(Operation::kQueuePush, 2, Fields().string32("/q").string32("x").bytes));
  CHECK(scene.peer.receive_answer().id == 2);
  CHECK(scene.peer.receive_answer().body == item("x"));
}

TEST_CASE("native: who has cancelled, timed out or left is given no item") {
  Scene scene;
  {
    NativePeer leaver(scene.server.port());
    leaver.send(native_frame(Operation::kQueuePop, 1, pop_body(kNoTimeout).bytes));
    leaver.ping();
    leaver.end_sending();
    leaver.receive_to_end();
  }
  scene.peer.send(native_frame(Operation::kQueuePop, 1, pop_body(kNoTimeout).bytes) +
                  native_cancel(2, 1));
  CHECK(scene.error(Operation::kQueuePop, pop_body(1)).status == ErrorCode::kTimeout);
  scene.push("x");
  CHECK(scene.ok(Operation::kQueuePop, pop_body(0)) == item("x"));
}

TEST_CASE("native: CHECK and WAIT see a queue with items; values and keys do not show it") {
  Scene scene;
  Fields one = Fields().u32(1).string32("/q");
  CHECK(scene.ok(Operation::kCheck, one) == Bytes("\0", 1));
  scene.push("x");
  CHECK(scene.ok(Operation::kCheck, one) == "\x01");
  CHECK(scene.ok(Operation::kWait, Fields().u32(0).u32(1).string32("/q")) == "");
  CHECK(scene.error(Operation::kGet, Fields().u32(0).string32("/q")).status == ErrorCode::kTimeout);
  CHECK(scene.ok(Operation::kNumKeys, {}) == Fields().u64(0).bytes);
  CHECK(scene.ok(Operation::kListKeys, Fields().string32("")) == Fields().u32(0).bytes);
  CHECK(scene.ok(Operation::kDeleteKey, Fields().string32("/q")) == Bytes("\0", 1));
}

TEST_CASE("native: a push wakes all who WAIT") {
  Scene scene;
  std::string wait = Fields().u32(kNoTimeout).u32(1).string32("/q").bytes;
  scene.peer.send(native_frame(Operation::kWait, 1, wait) +
                  native_frame(Operation::kWait, 2, wait));
  scene.peer.ping();
  NativePeer(scene.server.port())
      .call(Operation::kQueuePush, Fields().string32("/q").string32("x").bytes);
  CHECK(scene.peer.receive_answer().id == 1);
  CHECK(scene.peer.receive_answer().id == 2);
}

TEST_CASE("native: requests of queues and barriers with wrong fields are refused") {
  Scene scene;
  for (Operation operation :
       {Operation::kQueuePush, Operation::kQueuePop, Operation::kQueueLen, Operation::kBarrier}) {
    CHECK(scene.error(operation, {}).status == ErrorCode::kProtocol);
    CHECK(scene.error(operation, Fields().raw(std::string(200, '\xFF'))).status ==
          ErrorCode::kProtocol);
  }
  scene.push("x");
  CHECK(scene.error(Operation::kQueuePop, pop_body(0).u8(0)).status == ErrorCode::kProtocol);
  CHECK(scene.size() == Fields().u64(1).bytes);
}
