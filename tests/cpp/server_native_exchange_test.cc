// A real server, spoken to in the native protocol: exchanges.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "native_scene.h"
#include "wire/limits.h"

using namespace rdzv;
using namespace rdzv::test;
using native::kNoTimeout;
using native::Operation;

namespace {

Fields exchange_body(uint32_t timeout_ms, int64_t rank, int64_t world_size, Bytes value) {
  return Fields()
      .u32(timeout_ms)
      .string32("/x")
      .u64(static_cast<uint64_t>(rank))
      .u64(static_cast<uint64_t>(world_size))
      .string32(value);
}

std::string exchange(uint64_t id, int64_t rank, int64_t world_size, Bytes value) {
  return native_frame(Operation::kExchange, id,
                      exchange_body(kNoTimeout, rank, world_size, value).bytes);
}

std::string list_of(const std::vector<Bytes>& values) {
  Fields list = Fields().u32(values.size());
  for (Bytes value : values) list.string32(value);
  return list.bytes;
}

struct Scene : NativeScene {
  NativePeer other{server.port()};

  std::string exchanged(uint64_t id) {
    NativePeer::Answer answer = peer.receive_answer();
    CHECK(answer.id == id);
    CHECK_MESSAGE(answer.status == ErrorCode::kOk, answer.message());
    return answer.body;
  }
};

}  // namespace

TEST_CASE("native: an exchange of one is answered at once") {
  Scene scene;
  CHECK(scene.ok(Operation::kExchange, exchange_body(0, 0, 1, "v")) == list_of({"v"}));
}

TEST_CASE("native: an exchange gives everybody the values of all, by rank") {
  Scene scene;
  scene.peer.send(exchange(1, 2, 3, "two") + exchange(2, 0, 3, "zero"));
  scene.peer.ping();
  const std::string all = list_of({"zero", "", "two"});
  CHECK(scene.other.call(Operation::kExchange, exchange_body(0, 1, 3, "").bytes).body == all);
  CHECK(scene.exchanged(1) == all);
  CHECK(scene.exchanged(2) == all);
}

TEST_CASE("native: an exchange leaves its values and their count where others can read them") {
  Scene scene;
  scene.peer.send(exchange(1, 1, 2, "b"));
  scene.peer.ping();
  scene.other.call(Operation::kExchange, exchange_body(0, 0, 2, "a").bytes);
  CHECK(scene.exchanged(1) == list_of({"a", "b"}));
  CHECK(scene.ok(Operation::kMultiGet,
                 Fields().u32(0).u32(3).string32("/x").string32("/x/0").string32("/x/1")) ==
        Fields().u32(3).bytes + got(4, "2") + got(5, "a") + got(2, "b"));
}

TEST_CASE("native: a rank that comes again counts once, and gives its new value until all came") {
  Scene scene;
  for (Bytes value : {"old", "older"}) {
    NativePeer::Answer answer = scene.error(Operation::kExchange, exchange_body(0, 0, 2, value));
    CHECK(answer.status == ErrorCode::kTimeout);
  }
  scene.peer.send(exchange(1, 0, 2, "new"));
  scene.peer.ping();
  const std::string all = list_of({"new", "b"});
  CHECK(scene.other.call(Operation::kExchange, exchange_body(0, 1, 2, "b").bytes).body == all);
  CHECK(scene.exchanged(1) == all);
  CHECK(scene.ok(Operation::kExchange, exchange_body(0, 0, 2, "new")) == all);
  NativePeer::Answer answer = scene.error(Operation::kExchange, exchange_body(0, 0, 2, "newer"));
  CHECK(answer.status == ErrorCode::kInvalidArgument);
  CHECK(answer.message() ==
        "exchange at key 'x': all ranks have already arrived, and rank 0 gave another value; the "
        "key was used before: use a new key for each exchange");
  CHECK(scene.ok(Operation::kExchange, exchange_body(0, 1, 2, "b")) == all);
}

TEST_CASE("native: an exchange that times out names the ranks that are missing") {
  Scene scene;
  scene.peer.send(exchange(1, 0, 5, "") + exchange(2, 3, 5, ""));
  NativePeer::Answer answer = scene.error(Operation::kExchange, exchange_body(20, 2, 5, ""));
  CHECK(answer.status == ErrorCode::kTimeout);
  CHECK(answer.message() ==
        "exchange timeout after 0.02 s: 2 of 5 ranks have not arrived at key 'x': 1, 4");
  CHECK(answer.body.ends_with(Fields().u32(2).u32(1).u32(4).bytes));
  answer = scene.other.call(Operation::kExchange, exchange_body(0, 0, 100, "").bytes);
  CHECK(answer.status == ErrorCode::kInvalidArgument);
  CHECK(answer.message() ==
        "exchange at key 'x': the others' world_size is 5, not 100; the key was used before: use a "
        "new key for each exchange");
  scene.ok(Operation::kDeleteKey, Fields().string32("/x/world_size"));
  answer = scene.other.call(Operation::kExchange, exchange_body(0, 0, 100, "").bytes);
  CHECK(
      answer.message() ==
      "exchange timeout after 0 s: 97 of 100 ranks have not arrived at key 'x': 1, 4, 5, 6, 7, 8, "
      "9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22 and 77 more");
}

TEST_CASE("native: who leaves or cancels has given his value all the same") {
  Scene scene;
  {
    NativePeer leaver(scene.server.port());
    leaver.send(exchange(1, 0, 3, "gone"));
    leaver.ping();
    leaver.end_sending();
    leaver.receive_to_end();
  }
  scene.peer.send(exchange(1, 1, 3, "cancelled") + native_cancel(2, 1));
  CHECK(scene.ok(Operation::kExchange, exchange_body(0, 2, 3, "here")) ==
        list_of({"gone", "cancelled", "here"}));
}

TEST_CASE("native: an exchange whose count is too high waits for the values") {
  Scene scene;
  scene.set("/x", "7");
  scene.peer.send(exchange(1, 0, 4, "a"));
  scene.peer.ping();
  NativePeer::Answer answer = scene.error(Operation::kExchange, exchange_body(20, 1, 4, "b"));
  CHECK(answer.status == ErrorCode::kTimeout);
  CHECK(answer.message().ends_with("2 of 4 ranks have not arrived at key 'x': 2, 3"));
  scene.set("/x/3", "d");
  // One of torch's clients fills its slot with a SET.
  C10dPeer(scene.server.port()).send(c10d_request(c10d::Code::kSet, {"/x/2", "c"}));
  CHECK(scene.exchanged(1) == list_of({"a", "b", "c", "d"}));
}

TEST_CASE("native: an exchange that lost a value waits for it again") {
  Scene scene;
  CHECK(scene.error(Operation::kExchange, exchange_body(0, 0, 2, "a")).status ==
        ErrorCode::kTimeout);
  scene.ok(Operation::kDeleteKey, Fields().string32("/x/0"));
  scene.peer.send(exchange(1, 1, 2, "b"));
  scene.peer.ping();
  CHECK(scene.other.call(Operation::kExchange, exchange_body(0, 0, 2, "again").bytes).status ==
        ErrorCode::kOk);
  CHECK(scene.exchanged(1) == list_of({"again", "b"}));
}

TEST_CASE("native: one answer serves for all, but not for another exchange or another value") {
  Scene scene;
  CHECK(scene.ok(Operation::kExchange, exchange_body(0, 0, 1, "a")) == list_of({"a"}));
  scene.ok(Operation::kDeletePrefix, Fields().string32("/x"));
  CHECK(scene.ok(Operation::kExchange, exchange_body(0, 0, 1, "b")) == list_of({"b"}));
  scene.ok(Operation::kDeletePrefix, Fields().string32("/x"));
  NativePeer::Answer answer = scene.error(Operation::kExchange, exchange_body(0, 1, 2, "c"));
  CHECK(answer.message().ends_with("1 of 2 ranks have not arrived at key 'x': 0"));
  const std::string large(3'000'000, 'v');
  CHECK(scene.ok(Operation::kExchange, exchange_body(0, 0, 2, large)) == list_of({large, "c"}));
  CHECK(scene.ok(Operation::kExchange, exchange_body(0, 1, 2, "c")) == list_of({large, "c"}));
}

TEST_CASE("native: an exchange of ranks that cannot be is refused, and changes nothing") {
  Scene scene;
  auto refused = [&](int64_t rank, int64_t world_size) {
    return scene.error(Operation::kExchange, exchange_body(0, rank, world_size, "v"));
  };
  CHECK(refused(0, 0).message() == "exchange at key 'x': world_size is 0; it must be at least 1");
  CHECK(refused(0, -1).status == ErrorCode::kInvalidArgument);
  CHECK(refused(3, 3).message() == "exchange at key 'x': rank 3 is not between 0 and 2");
  CHECK(refused(-1, 3).status == ErrorCode::kInvalidArgument);
  CHECK(refused(0, limits::kKeysPerRequestMax + 1).status == ErrorCode::kLimit);
  CHECK(refused(0, INT64_MAX).status == ErrorCode::kLimit);
  Fields long_key = Fields().u32(0).string32("/" + std::string(limits::kKeyBytesMax - 1, 'k'));
  NativePeer::Answer answer =
      scene.error(Operation::kExchange, long_key.u64(0).u64(1).string32("v"));
  CHECK(answer.status == ErrorCode::kLimit);
  CHECK(scene.ok(Operation::kNumKeys, {}) == Fields().u64(0).bytes);
}

TEST_CASE("native: an exchange at what is no number is an error, and changes nothing") {
  Scene scene;
  scene.set("/x", "word");
  NativePeer::Answer answer = scene.error(Operation::kExchange, exchange_body(0, 0, 1, "v"));
  CHECK(answer.status == ErrorCode::kNotANumber);
  CHECK(scene.ok(Operation::kNumKeys, {}) == Fields().u64(1).bytes);
}

TEST_CASE("native: an exchange that is too large for an answer is an error for all") {
  Scene scene;
  const std::string large(limits::kValueBytesMax, 'v');
  for (int64_t rank = 0; rank < 3; ++rank)
    scene.ok(Operation::kSet, Fields().string32("/x/" + std::to_string(rank)).string32(large));
  scene.set("/x", "3");
  scene.peer.send(exchange(1, 3, 5, large));
  scene.peer.ping();
  NativePeer::Answer answer =
      scene.other.call(Operation::kExchange, exchange_body(0, 4, 5, "").bytes);
  CHECK(answer.status == ErrorCode::kLimit);
  CHECK(answer.message() ==
        "exchange: the values of all ranks are too large for one answer; exchange smaller values");
  CHECK(scene.peer.receive_answer().status == ErrorCode::kLimit);
}
