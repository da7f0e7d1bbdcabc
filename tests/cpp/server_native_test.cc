// A real server, spoken to in the native protocol: what its operations do.
#include <doctest/doctest.h>

#include <string>

#include "base/version.h"
#include "native_scene.h"
#include "server/server.h"
#include "support.h"
#include "wire/limits.h"

using namespace rdzv;
using namespace rdzv::test;
using native::kNoTimeout;
using native::Operation;
using Scene = NativeScene;

TEST_CASE("native: the server greets with who it is, who the client is, and its limits") {
  Server server("127.0.0.1", 0);
  NativePeer peer(server.port());
  native::HelloReply hello;
  REQUIRE(native::take(peer.hello(), hello));
  CHECK(hello.version == native::kVersion);
  CHECK(hello.features == 0);
  Server of_a_job("127.0.0.1", 0, {}, true);
  NativePeer its_client(of_a_job.port());
  native::HelloReply its_hello;
  REQUIRE(native::take(its_client.hello(), its_hello));
  CHECK(its_hello.features == native::kOfOneJob);
  CHECK(hello.observed_address == "127.0.0.1");
  CHECK(hello.server == std::string("rendezvous ") + kVersion);
  CHECK(hello.value_bytes_max == limits::kValueBytesMax);
  CHECK(hello.keys_per_request_max == limits::kKeysPerRequestMax);

  NativePeer second(server.port());
  native::HelloReply again;
  REQUIRE(native::take(second.hello(), again));
  CHECK(again.instance == hello.instance);
  Server other_server("127.0.0.1", 0);
  NativePeer third(other_server.port());
  REQUIRE(native::take(third.hello(), again));
  CHECK(again.instance != hello.instance);
}

TEST_CASE("native: every operation is acknowledged, writes with their version") {
  Scene scene;
  CHECK(scene.set("/a", "1") == 1);
  CHECK(scene.ok(Operation::kAppend, Fields().string32("/a").string32("2")) ==
        Fields().u64(2).bytes);
  CHECK(scene.ok(Operation::kAdd, Fields().string32("/a").u64(static_cast<uint64_t>(-2))) ==
        Fields().u64(10).u64(3).bytes);
  CHECK(scene.ok(Operation::kGet, Fields().u32(0).string32("/a")) == got(3, "10"));
  CHECK(scene.ok(Operation::kMultiSet,
                 Fields().u32(2).string32("/b").string32("x").string32("/c").string32("y")) == "");
  CHECK(scene.ok(Operation::kMultiGet, Fields().u32(0).u32(2).string32("/c").string32("/b")) ==
        Fields().u32(2).bytes + got(5, "y") + got(4, "x"));
  CHECK(scene.ok(Operation::kCheck, Fields().u32(2).string32("/a").string32("/b")) == "\x01");
  CHECK(scene.ok(Operation::kCheck, Fields().u32(1).string32("/missing")) == Bytes("\0", 1));
  CHECK(scene.ok(Operation::kNumKeys, {}) == Fields().u64(3).bytes);
  CHECK(scene.ok(Operation::kDeleteKey, Fields().string32("/a")) == "\x01");
  CHECK(scene.ok(Operation::kDeleteKey, Fields().string32("/a")) == Bytes("\0", 1));
  CHECK(scene.ok(Operation::kPing, {}) == "");
}

TEST_CASE("native: compare_set says whether it swapped, and what is there") {
  Scene scene;
  auto compare_set = [&](Bytes expected, Bytes desired) {
    return scene.ok(Operation::kCompareSet,
                    Fields().string32("/k").string32(expected).string32(desired));
  };
  CHECK(compare_set("old", "new") == Fields().u8(0).u8(0).u64(0).string32("").bytes);
  CHECK(compare_set("", "new") == Fields().u8(1).u8(1).u64(1).string32("").bytes);
  CHECK(compare_set("old", "x") == Fields().u8(0).u8(1).u64(1).string32("new").bytes);
}

TEST_CASE("native: list_keys lists those that begin with the prefix") {
  Scene scene;
  for (Bytes key : {"/a/1", "/ab/2", "init/"}) scene.set(key, "");
  CHECK(scene.ok(Operation::kListKeys, Fields().string32("/a/")) ==
        Fields().u32(1).string32("/a/1").bytes);
  CHECK(scene.ok(Operation::kListKeys, Fields().string32("")).size() == 4 + 8 + 9 + 9);
  CHECK(scene.ok(Operation::kListKeys, Fields().string32("x")) == Fields().u32(0).bytes);
}

TEST_CASE("native: a blocked request blocks nobody; each is answered by its id") {
  Scene scene;
  scene.peer.send(native_get(1, "/a", kNoTimeout) + native_get(2, "/b", kNoTimeout));
  scene.peer.ping();
  NativePeer other(scene.server.port());
  other.send(native_get(1, "/a", kNoTimeout));
  other.ping();
  scene.peer.send(native_set(3, "/b", "B"));
  CHECK(scene.peer.receive_answer().id == 3);
  NativePeer::Answer b = scene.peer.receive_answer();
  CHECK(b.id == 2);
  CHECK(b.body == got(1, "B"));
  scene.peer.send(native_set(4, "/a", "A"));
  CHECK(scene.peer.receive_answer().id == 4);
  CHECK(scene.peer.receive_answer().id == 1);
  CHECK(other.receive_answer().body == got(2, "A"));
}

TEST_CASE("native: a multi_get that waited returns the values of one moment, in its own order") {
  Scene scene;
  scene.peer.send(native_frame(
      Operation::kMultiGet, 1,
      Fields().u32(kNoTimeout).u32(3).string32("/b").string32("/a").string32("/b").bytes));
  scene.set("/a", "old");
  scene.peer.send(native_frame(
      Operation::kMultiSet, 2,
      Fields().u32(2).string32("/a").string32("A").string32("/b").string32("B").bytes));
  CHECK(scene.peer.receive_answer().id == 2);
  CHECK(scene.peer.receive_answer().body ==
        Fields().u32(3).bytes + got(3, "B") + got(2, "A") + got(3, "B"));
}

TEST_CASE("native: the server keeps deadlines, and says what is missing") {
  Scene scene;
  NativePeer::Answer answer = scene.error(Operation::kGet, Fields().u32(30).string32("/never"));
  CHECK(answer.status == ErrorCode::kTimeout);
  CHECK(answer.message() == "get timeout after 0.03 s: nobody has set key 'never'");
  scene.set("/b", "");
  answer = scene.error(Operation::kWait,
                       Fields().u32(1).u32(3).string32("/a").string32("/b").string32("init/"));
  CHECK(answer.status == ErrorCode::kTimeout);
  CHECK(answer.message() == "wait timeout after 0.001 s: 2 of 3 keys were never set: 'a', 'init/'");
}

TEST_CASE("native: a timeout of zero means now or never") {
  Scene scene;
  CHECK(scene.error(Operation::kGet, Fields().u32(0).string32("/k")).status == ErrorCode::kTimeout);
  scene.set("/k", "v");
  CHECK(scene.ok(Operation::kGet, Fields().u32(0).string32("/k")) == got(1, "v"));
}

TEST_CASE("native: deadlines end requests in their own order") {
  Scene scene;
  scene.peer.send(native_get(1, "/a", 60) + native_get(2, "/b", 20) + native_get(3, "/c", 40));
  for (uint64_t id : {2, 3, 1}) CHECK(scene.peer.receive_answer().id == id);
  scene.set("/a", "");  // and nobody is woken any more
  scene.peer.ping();
}

TEST_CASE("native: CANCEL ends a blocked request without an answer") {
  Scene scene;
  scene.peer.send(native_get(1, "/k", 50) + native_cancel(2, 1));
  scene.peer.send(native_get(3, "/other", 100));
  CHECK(scene.peer.receive_answer().id == 3);  // 1 would have timed out before
  scene.set("/k", "");
  scene.peer.ping();
  scene.peer.send(native_cancel(4, 1) + native_cancel(5, 4711));  // nothing to cancel
  scene.peer.ping();
}

TEST_CASE("native: an id may be used again when its request is done, not before") {
  Scene scene;
  scene.peer.send(native_get(1, "/k", kNoTimeout) + native_get(1, "/l", kNoTimeout));
  NativePeer::Answer answer = scene.peer.receive_answer();
  CHECK(answer.status == ErrorCode::kProtocol);
  CHECK(answer.message() == "a request with this id is still waiting");
  scene.peer.send(native_cancel(2, 1) + native_get(1, "/l", 0));
  CHECK(scene.peer.receive_answer().status == ErrorCode::kTimeout);
}

TEST_CASE("native: requests of several channels do not mix") {
  Scene scene;
  Fields get = Fields().u32(kNoTimeout).string32("/k");
  scene.peer.send(native_frame(Operation::kGet, 1, get.bytes, 1) +
                  native_frame(Operation::kGet, 1, get.bytes, 0xFFFF) + native_cancel(2, 1));
  scene.peer.send(native_set(3, "/k", ""));
  CHECK(scene.peer.receive_answer().id == 3);
  CHECK(scene.peer.receive_answer().id == 1);
  CHECK(scene.peer.receive_answer().id == 1);
}

TEST_CASE("native: a session byte by byte is answered as one in a packet") {
  Server server("127.0.0.1", 0);
  Peer peer(server.port());
  for (char byte : native_greeting() + native_set(1, "/k", "v") + native_get(2, "/k", 0))
    peer.send(Bytes(&byte, 1));
  peer.end_sending();
  std::string answers = peer.receive_to_end();
  CHECK(answers.ends_with(got(1, "v")));
}
