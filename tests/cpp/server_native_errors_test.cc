// A real server, spoken to in the native protocol: what it refuses, and how.
#include <doctest/doctest.h>

#include <map>
#include <string>

#include "native_scene.h"
#include "server/server.h"
#include "support.h"
#include "wire/limits.h"

using namespace rdzv;
using namespace rdzv::test;
using native::kNoTimeout;
using native::Operation;
using Scene = NativeScene;

TEST_CASE("native: a malformed body is answered, changes nothing, and the connection goes on") {
  Scene scene;
  const Fields key = Fields().string32("/k");
  const std::map<Operation, Fields> kMalformed = {
      {Operation::kPing, Fields().u8(0)},
      {Operation::kSet, key},
      {Operation::kGet, key},
      {Operation::kCompareSet, Fields(key).string32("")},
      {Operation::kAdd, Fields(key).u32(1)},
      {Operation::kCheck, Fields().u32(UINT32_MAX)},
      {Operation::kWait, Fields().u32(0).u32(1)},
      {Operation::kDeleteKey, Fields(key).u8(0)},
      {Operation::kNumKeys, Fields().u8(0)},
      {Operation::kListKeys, Fields().u32(5)},
      {Operation::kAppend, Fields().string32(std::string(20'000, 'k')).string32("")},
      {Operation::kMultiGet, Fields().u32(0).u32(1).u32(UINT32_MAX)},
      {Operation::kMultiSet, Fields().u32(1).string32("/k")},
      {Operation::kCancel, Fields().u16(0)},
      {Operation::kQueuePush, key},
      {Operation::kQueuePop, key},
      {Operation::kQueueLen, Fields(key).u8(0)},
      {Operation::kBarrier, Fields().u32(0).string32("/k")},
      {Operation::kTryGet, Fields(key).u8(0)},
      {Operation::kWatch, Fields().u32(0).string32("/k").u32(0)},
      {Operation::kSetIfVersion, Fields(key).string32("")},
      {Operation::kSetFor, Fields().u64(1000).string32("/k")},
      {Operation::kDeletePrefix, Fields(key).u8(0)},
      {Operation::kExchange, Fields().u32(0).string32("/k").u64(0).u64(1)},
      {Operation::kJoin, Fields().u32(0).string32("run")},
      {Operation::kLeave, Fields().string32("run")},
      {Operation::kKeepAlive, Fields().u64(1)},
      {Operation::kCloseRun, Fields().string32(std::string(2'000, 'r')).string32("").u8(0)},
      {Operation::kStatus, Fields().string32("run")},
      {Operation::kSubscribe, Fields().u32(0)},
      {Operation::kMembers, Fields().string32("run").u8(9).u32(0).u32(0)},
      {Operation::kResume, Fields().string32("run")},
      {Operation::kCloseChannel, Fields().u8(0)},
      {Operation::kFollow, Fields().u32(0).string32("run")},
      {Operation::kHosts, Fields().u32(1)},
      {Operation::kSpaces, Fields().u8(2)},
      {Operation::kTimeline, Fields().string32("run")},
      {Operation::kWatchPrefix, Fields().u32(0).string32("/k").u64(0)},
  };
  CHECK(kMalformed.size() == native::kOperationMax - 1);
  for (const auto& [operation, body] : kMalformed) {
    NativePeer::Answer answer = scene.error(operation, body);
    CHECK(answer.status == ErrorCode::kProtocol);
    CHECK(answer.message().starts_with(std::string("malformed ") + native::name_of(operation) +
                                       " request: "));
  }
  CHECK(scene.ok(Operation::kNumKeys, {}) == Fields().u64(0).bytes);
}

TEST_CASE("native: an unknown operation is answered, and the connection goes on") {
  Scene scene;
  for (uint8_t operation : {0, 1, native::kOperationMax + 1, 127}) {
    NativePeer::Answer answer = scene.error(static_cast<Operation>(operation), {});
    CHECK(answer.status == ErrorCode::kUnsupported);
    CHECK(answer.message().ends_with("does not know operation " + std::to_string(operation)));
  }
  scene.peer.ping();
}

TEST_CASE("native: ids that do not fit are refused") {
  Scene scene;
  scene.peer.send(native_frame(Operation::kPing, uint64_t{1} << 48));
  CHECK(scene.peer.receive_answer().message() == "a request id must be below 2^48");
  scene.peer.send(native_frame(Operation::kPing, (uint64_t{1} << 48) - 1));
  CHECK(scene.peer.receive_answer().status == ErrorCode::kOk);
}

TEST_CASE("native: errors of operations are answers") {
  Scene scene;
  scene.set("/n", "word");
  NativePeer::Answer answer = scene.error(Operation::kAdd, Fields().string32("/n").u64(1));
  CHECK(answer.status == ErrorCode::kNotANumber);
  CHECK(answer.message().starts_with("add to key 'n': its value 'word' is not a decimal"));
  scene.set("/n", "9223372036854775807");
  answer = scene.error(Operation::kAdd, Fields().string32("/n").u64(1));
  CHECK(answer.status == ErrorCode::kNotANumber);
  CHECK(answer.message().ends_with("plus 1 does not fit in 64 bits"));
  scene.set("/v", std::string(limits::kValueBytesMax, 'v'));
  answer = scene.error(Operation::kAppend, Fields().string32("/v").string32("x"));
  CHECK(answer.status == ErrorCode::kLimit);
  Fields many = Fields().u32(0).u32(5);
  for (int i = 0; i < 5; ++i) many.string32("/v");
  answer = scene.error(Operation::kMultiGet, many);
  CHECK(answer.status == ErrorCode::kLimit);
  CHECK(answer.message() == "multi_get: the answer is too large; ask for fewer keys at once");
}

TEST_CASE("native: a client of another version is told which one the server speaks") {
  Server server("127.0.0.1", 0);
  Peer peer(server.port());
  peer.send(Fields().raw("RDZV").u16(3).u16(9).bytes);
  std::string answer = peer.receive_to_end();
  native::Frame frame;
  REQUIRE(native::next_frame(answer, frame) == native::Progress::kTaken);
  CHECK(frame.header.status == static_cast<uint8_t>(ErrorCode::kUnsupported));
  CHECK(frame.body.ends_with(
      "this server speaks version 2 of the protocol, the client speaks 3 to 9"));

  NativePeer later(server.port());  // one that also speaks version 2 is welcome
  Peer both(server.port());
  both.send(Fields().raw("RDZV").u16(0).u16(9).bytes + native_greeting().substr(8));
  CHECK(both.receive(native::kHeaderBytes).size() == native::kHeaderBytes);
}

TEST_CASE("native: what breaks the framing ends the connection, with the reason in the log") {
  Server server("127.0.0.1", 0);
  NativePeer peer(server.port());
  peer.send(Fields().u32(300'000'000).u8(3).u8(0).u16(0).u64(1).bytes);
  CHECK(peer.receive_to_end() == "");
  CHECK(logged("a frame of 300000000 bytes; the limit is 268435456") != "");

  Peer rude(server.port());
  rude.send(native_greeting().substr(0, 8) + native_frame(Operation::kPing, 1));
  CHECK(rude.receive_to_end() == "");
  CHECK(logged("its first frame is not a HELLO") != "");
}

TEST_CASE("native: a connection may have so many blocked requests and no more") {
  Scene scene;
  std::string gets;
  for (uint64_t id = 1; id <= limits::kWaitsPerConnectionMax + 1; ++id)
    gets += native_get(id, "/k", id % 2 == 0 ? kNoTimeout : 1'000'000'000);
  scene.peer.send(gets);
  NativePeer::Answer answer = scene.peer.receive_answer();
  CHECK(answer.id == limits::kWaitsPerConnectionMax + 1);
  CHECK(answer.status == ErrorCode::kLimit);
  scene.peer.send(native_cancel(1, 7) + native_get(7, "/k", 0));
  CHECK(scene.peer.receive_answer().status == ErrorCode::kTimeout);
}

TEST_CASE("native: a list of keys that is too long for an answer is an error") {
  Scene scene;
  const std::string padding(limits::kKeyBytesMax - 10, 'k');
  constexpr size_t kKeys = limits::kRequestBytesMax / limits::kKeyBytesMax + 100;
  for (size_t first = 0; first < kKeys; first += 1000) {
    Fields pairs = Fields().u32(1000);
    for (size_t i = first; i < first + 1000; ++i)
      pairs.string32(padding + std::to_string(i)).string32("");
    scene.ok(Operation::kMultiSet, pairs);
  }
  NativePeer::Answer answer = scene.error(Operation::kListKeys, Fields().string32("k"));
  CHECK(answer.status == ErrorCode::kLimit);
  CHECK(answer.message() == "list_keys: the answer is too large; ask for a longer prefix");
  CHECK(scene.ok(Operation::kListKeys, Fields().string32("x")) == Fields().u32(0).bytes);
}
