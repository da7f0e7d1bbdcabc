// A real server, spoken to in the native protocol: versions, times to live, prefixes.
#include <doctest/doctest.h>

#include <string>

#include "native_scene.h"

using namespace rdzv;
using namespace rdzv::test;
using native::kNoTimeout;
using native::Operation;

namespace {

Fields watch_body(uint32_t timeout_ms, uint64_t known_version) {
  return Fields().u32(timeout_ms).string32("/k").u64(known_version);
}

struct Scene : NativeScene {
  NativePeer other{server.port()};

  std::string try_get() { return ok(Operation::kTryGet, Fields().string32("/k")); }
  std::string set_for(uint64_t ttl_ms) {
    return ok(Operation::kSetFor, Fields().u64(ttl_ms).string32("/k").string32("v"));
  }
  // Blocks the peer's request 1 until the key has another version.
  void watch(uint64_t known_version) {
    peer.send(native_frame(Operation::kWatch, 1, watch_body(kNoTimeout, known_version).bytes));
    peer.ping();
  }
  std::string watched() {
    NativePeer::Answer answer = peer.receive_answer();
    CHECK(answer.id == 1);
    CHECK_MESSAGE(answer.status == ErrorCode::kOk, answer.message());
    return answer.body;
  }
};

const std::string kGone = got(0, "");

}  // namespace

TEST_CASE("native: TRY_GET answers at once, with version 0 when there is nothing") {
  Scene scene;
  CHECK(scene.try_get() == kGone);
  scene.set("/k", "v");
  CHECK(scene.try_get() == got(1, "v"));
  scene.set("/k", "");
  CHECK(scene.try_get() == got(2, ""));
}

TEST_CASE("native: WATCH answers at once when the version is another one") {
  Scene scene;
  CHECK(scene.ok(Operation::kWatch, watch_body(0, 7)) == kGone);
  scene.set("/k", "v");
  CHECK(scene.ok(Operation::kWatch, watch_body(0, 0)) == got(1, "v"));
  CHECK(scene.ok(Operation::kWatch, watch_body(0, UINT64_MAX)) == got(1, "v"));
}

TEST_CASE("native: WATCH waits for the next write, whichever it is") {
  Scene scene;
  uint64_t version = 0;
  auto wakes = [&](Operation operation, const Fields& body, Bytes value) {
    CAPTURE(native::name_of(operation));
    scene.watch(version);
    CHECK(scene.other.call(operation, body.bytes).status == ErrorCode::kOk);
    CHECK(scene.watched() == got(++version, value));
  };
  const Fields key = Fields().string32("/k");
  wakes(Operation::kSet, Fields(key).string32("1"), "1");
  wakes(Operation::kSet, Fields(key).string32("1"), "1");  // the same value is a new version
  wakes(Operation::kAdd, Fields(key).u64(2), "3");
  wakes(Operation::kAppend, Fields(key).string32("0"), "30");
  wakes(Operation::kCompareSet, Fields(key).string32("30").string32("x"), "x");
  wakes(Operation::kMultiSet, Fields().u32(1).string32("/k").string32("y"), "y");
  wakes(Operation::kSetIfVersion, Fields(key).string32("z").u64(version), "z");
  wakes(Operation::kSetFor, Fields().u64(1'000'000).string32("/k").string32("t"), "t");
}

TEST_CASE("native: WATCH sees a deletion, whoever deletes") {
  Scene scene;
  scene.watch(scene.set("/k", "v"));
  scene.other.call(Operation::kDeleteKey, Fields().string32("/k").bytes);
  CHECK(scene.watched() == kGone);

  scene.watch(scene.set("/k", "v"));
  scene.other.call(Operation::kDeletePrefix, Fields().string32("/").bytes);
  CHECK(scene.watched() == kGone);

  scene.watch(scene.set("/k", "v"));
  C10dPeer torch(scene.server.port());
  torch.send(c10d_request(c10d::Code::kDeleteKey, {"/k"}));
  CHECK(scene.watched() == kGone);
}

TEST_CASE("native: WATCH does not answer writes of other keys, failed ones, or queues") {
  Scene scene;
  uint64_t version = scene.set("/k", "v");
  scene.watch(version);
  const Fields key = Fields().string32("/k");
  scene.set("/other", "v");
  scene.ok(Operation::kCompareSet, Fields(key).string32("x").string32("y"));
  scene.ok(Operation::kSetIfVersion, Fields(key).string32("y").u64(version + 1));
  scene.ok(Operation::kQueuePush, Fields(key).string32("item"));
  scene.peer.send(native_frame(Operation::kSet, 2, Fields(key).string32("new").bytes));
  CHECK(scene.peer.receive_answer().id == 2);
  CHECK(scene.watched() == got(version + 2, "new"));
}

TEST_CASE("native: WATCH times out, and says what it knew") {
  Scene scene;
  NativePeer::Answer answer = scene.error(Operation::kWatch, watch_body(20, 0));
  CHECK(answer.status == ErrorCode::kTimeout);
  CHECK(answer.message() == "watch timeout after 0.02 s: key 'k' still has no value");
  scene.set("/k", "v");
  answer = scene.error(Operation::kWatch, watch_body(0, 1));
  CHECK(answer.status == ErrorCode::kTimeout);
  CHECK(answer.message() == "watch timeout after 0 s: key 'k' still has version 1");
}

TEST_CASE("native: a cancelled WATCH is not answered") {
  Scene scene;
  scene.watch(0);
  scene.peer.send(native_cancel(2, 1));
  scene.set("/k", "v");
  scene.peer.ping();
}

TEST_CASE("native: SET_IF_VERSION sets what has that version, and says which is there") {
  Scene scene;
  auto set = [&](Bytes value, uint64_t version) {
    return scene.ok(Operation::kSetIfVersion, Fields().string32("/k").string32(value).u64(version));
  };
  CHECK(set("x", 5) == Fields().u8(0).u64(0).bytes);
  CHECK(set("a", 0) == Fields().u8(1).u64(1).bytes);
  CHECK(set("b", 0) == Fields().u8(0).u64(1).bytes);
  CHECK(set("b", 1) == Fields().u8(1).u64(2).bytes);
  CHECK(scene.try_get() == got(2, "b"));
}

TEST_CASE("native: a key with a time to live goes by itself, and its watchers see it go") {
  Scene scene;
  CHECK(scene.set_for(30) == Fields().u64(1).bytes);
  CHECK(scene.ok(Operation::kWatch, watch_body(kNoTimeout, 1)) == kGone);
  CHECK(scene.ok(Operation::kNumKeys, {}) == Fields().u64(0).bytes);
}

TEST_CASE("native: no request sees a key whose time is over, of either protocol") {
  Scene scene;
  scene.set_for(1);
  Instant set = now();
  while (now() < set + std::chrono::milliseconds(1)) {
  }
  CHECK(scene.try_get() == kGone);
  scene.set_for(1);
  set = now();
  while (now() < set + std::chrono::milliseconds(1)) {
  }
  C10dPeer torch(scene.server.port());
  torch.send(c10d_request(c10d::Code::kNumKeys));
  CHECK(torch.receive_i64() == 0);
}

TEST_CASE("native: keys expire in the order of their times, and one that is set again stays") {
  Scene scene;
  auto set_for = [&](Bytes key, uint64_t ttl_ms) {
    scene.ok(Operation::kSetFor, Fields().u64(ttl_ms).string32(key).string32("v"));
  };
  set_for("/late", 60);
  set_for("/early", 20);
  set_for("/renewed", 20);
  set_for("/permanent", 20);
  set_for("/renewed", 1'000'000'000);
  scene.set("/permanent", "v");
  scene.set("/k", "v");
  // The keys go one after the other: when the last one is gone, so are the others.
  std::string gone = scene.ok(Operation::kWatch, Fields().u32(kNoTimeout).string32("/late").u64(1));
  CHECK(gone == kGone);
  CHECK(scene.ok(Operation::kCheck, Fields().u32(1).string32("/early")) == Bytes("\0", 1));
  CHECK(scene.ok(Operation::kCheck,
                 Fields().u32(3).string32("/renewed").string32("/permanent").string32("/k")) ==
        "\x01");
}

TEST_CASE(
    "native: SET_FOR without a time is refused, beyond the limit too, and the longest is no "
    "overflow") {
  Scene scene;
  NativePeer::Answer answer =
      scene.error(Operation::kSetFor, Fields().u64(0).string32("/k").string32("v"));
  CHECK(answer.status == ErrorCode::kInvalidArgument);
  CHECK(answer.message() == "set of key 'k': its time to live is 0 s; it must be more than 0");
  CHECK(scene.try_get() == kGone);
  for (uint64_t ttl_ms : {limits::kTtlMsMax + 1, UINT64_MAX}) {
    answer = scene.error(Operation::kSetFor, Fields().u64(ttl_ms).string32("/k").string32("v"));
    CHECK(answer.status == ErrorCode::kLimit);
    CHECK(scene.try_get() == kGone);
  }
  scene.set_for(limits::kTtlMsMax);
  CHECK(scene.try_get() == got(1, "v"));
}

TEST_CASE("native: DELETE_PREFIX deletes users' values, not queues, and counts them") {
  Scene scene;
  for (Bytes key : {"/a/1", "/a/2", "/ab", "init/"}) scene.set(key, "1");
  scene.ok(Operation::kQueuePush, Fields().string32("/a/q").string32("item"));
  auto delete_prefix = [&](Bytes prefix) {
    return scene.ok(Operation::kDeletePrefix, Fields().string32(prefix));
  };
  CHECK(delete_prefix("/a/") == Fields().u64(2).bytes);
  CHECK(delete_prefix("/a/") == Fields().u64(0).bytes);
  CHECK(delete_prefix("/") == Fields().u64(1).bytes);
  CHECK(scene.ok(Operation::kQueueLen, Fields().string32("/a/q")) == Fields().u64(1).bytes);
  for (Bytes prefix : {"", "init", "x"}) {
    NativePeer::Answer answer = scene.error(Operation::kDeletePrefix, Fields().string32(prefix));
    CHECK(answer.status == ErrorCode::kInvalidArgument);
    CHECK(answer.message().ends_with("other keys are internal"));
  }
  CHECK(scene.ok(Operation::kNumKeys, {}) == Fields().u64(1).bytes);
}
