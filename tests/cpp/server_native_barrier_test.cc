// A real server, spoken to in the native protocol: barriers.
#include <doctest/doctest.h>

#include <string>

#include "base/error.h"
#include "native_scene.h"
#include "support.h"
#include "wire/limits.h"

using namespace rdzv;
using namespace rdzv::test;
using native::kNoTimeout;
using native::Operation;

namespace {

constexpr uint64_t kRankless = UINT64_MAX;

Fields barrier_body(uint32_t timeout_ms, uint64_t world_size, uint64_t rank = kRankless,
                    uint64_t round = 1, uint64_t token = 7) {
  return Fields().u32(timeout_ms).string32("/b").u64(world_size).u64(rank).u64(round).u64(token);
}

struct Scene : NativeScene {
  NativePeer other{server.port()};

  void park(NativePeer& who, uint64_t id, const Fields& body) {
    who.send(native_frame(Operation::kBarrier, id, body.bytes));
    who.ping();
  }
  void park(uint64_t id, const Fields& body) { park(peer, id, body); }
  NativePeer::Answer come(const Fields& body) {
    return other.call(Operation::kBarrier, body.bytes);
  }
  std::string at(Bytes key) {
    std::string body = ok(Operation::kTryGet, Fields().string32(key));
    return body.substr(sizeof(uint64_t) + sizeof(uint32_t));
  }
};

}  // namespace

TEST_CASE("native: a barrier is answered when all have come") {
  Scene scene;
  scene.park(1, barrier_body(kNoTimeout, 2));
  CHECK(scene.come(barrier_body(0, 2)).status == ErrorCode::kOk);
  NativePeer::Answer answer = scene.peer.receive_answer();
  CHECK(answer.id == 1);
  CHECK(answer.status == ErrorCode::kOk);
  CHECK(answer.body == "");
}

TEST_CASE("native: who times out, cancels or leaves at a barrier is counted no more") {
  Scene scene;
  NativePeer::Answer answer = scene.error(Operation::kBarrier, barrier_body(20, 2));
  CHECK(answer.status == ErrorCode::kTimeout);
  CHECK(answer.message() == "barrier timeout after 0.02 s: 1 of 2 have arrived at key 'b'");
  CHECK(scene.at("/b") == "0");
  scene.peer.send(native_frame(Operation::kBarrier, 1, barrier_body(kNoTimeout, 2).bytes) +
                  native_cancel(2, 1));
  CHECK(scene.at("/b") == "0");
  {
    NativePeer leaver(scene.server.port());
    scene.park(leaver, 1, barrier_body(kNoTimeout, 2));
    CHECK(scene.at("/b") == "1");
    leaver.end_sending();
    leaver.receive_to_end();
  }
  while (scene.at("/b") != "0") scene.peer.ping();
  scene.park(1, barrier_body(kNoTimeout, 2));
  CHECK(scene.come(barrier_body(0, 2)).status == ErrorCode::kOk);
  CHECK(scene.peer.receive_answer().id == 1);
}

TEST_CASE("native: a caller too many, and another world size, are refused and change nothing") {
  Scene scene;
  scene.park(1, barrier_body(kNoTimeout, 2));
  NativePeer::Answer answer = scene.come(barrier_body(0, 3));
  CHECK(answer.status == ErrorCode::kInvalidArgument);
  CHECK(answer.message() ==
        "barrier at key 'b': the others' world_size is 2, not 3; the key was used before: use a "
        "new key for each barrier");
  CHECK(scene.come(barrier_body(0, 2)).status == ErrorCode::kOk);
  CHECK(scene.peer.receive_answer().id == 1);
  answer = scene.come(barrier_body(0, 2));
  CHECK(answer.status == ErrorCode::kInvalidArgument);
  CHECK(answer.message() ==
        "barrier at key 'b': 2 of 2 have already arrived; the key was used before: use a new key "
        "for each barrier, or pass rank= and round=");
  CHECK(scene.at("/b") == "2");
}

TEST_CASE("native: a rank sent again on another connection is let through there, and counts once") {
  Scene scene;
  {
    NativePeer lost(scene.server.port());
    scene.park(lost, 1, barrier_body(kNoTimeout, 2, 0));
    scene.park(1, barrier_body(kNoTimeout, 2, 0));
    CHECK(scene.at("/b") == "1");
  }
  // The lost connection's end, whenever it is noticed, does not say that the rank has left.
  CHECK(scene.come(barrier_body(0, 2, 1)).status == ErrorCode::kOk);
  CHECK(scene.peer.receive_answer().status == ErrorCode::kOk);
  CHECK(scene.at("/b/0") == "1 7");
  // Its answer was lost: it is sent once more, as the same call. Another one is a second use.
  CHECK(scene.come(barrier_body(0, 2, 0)).status == ErrorCode::kOk);
  CHECK(scene.come(barrier_body(0, 2, 0, 1, 8)).message() ==
        "barrier at key 'b': rank 0 has passed round 1 already; the key was used before: use a new "
        "key for each barrier, or go to the next round");
}

TEST_CASE("native: a rank whose connection ends stays counted, and may come again") {
  Scene scene;
  {
    NativePeer lost(scene.server.port());
    scene.park(lost, 1, barrier_body(kNoTimeout, 2, 0));
  }
  while (scene.at("/b/0") != "1") scene.peer.ping();
  CHECK(scene.come(barrier_body(0, 2, 1)).status == ErrorCode::kOk);
  CHECK(scene.come(barrier_body(0, 2, 0, 1, 8)).status == ErrorCode::kOk);
  CHECK(scene.come(barrier_body(0, 2, 0, 1, 9)).status == ErrorCode::kInvalidArgument);
}

TEST_CASE("native: the answer of a barrier that times out names the ranks that are missing") {
  Scene scene;
  scene.park(1, barrier_body(kNoTimeout, 5, 0));
  scene.park(2, barrier_body(kNoTimeout, 5, 3));
  NativePeer::Answer answer = scene.error(Operation::kBarrier, barrier_body(20, 5, 2));
  std::string text = "barrier timeout after 0.02 s: 2 of 5 ranks have not arrived at key 'b': 1, 4";
  CHECK(answer.body == Fields().string32(text).u32(2).u32(1).u32(4).bytes);
  // Another one finds the same, and not those who have given up.
  answer = scene.error(Operation::kBarrier, barrier_body(0, 5, 2, 1, 8));
  CHECK(answer.body.ends_with(Fields().u32(2).u32(1).u32(4).bytes));
  answer = scene.error(Operation::kBarrier, barrier_body(0, 5, 4));
  CHECK(answer.body.ends_with(Fields().u32(1).u32(1).bytes));
}

TEST_CASE("native: an answer that names what is missing is bounded") {
  Scene scene;
  NativePeer::Answer answer = scene.error(Operation::kBarrier, barrier_body(0, 100'000, 5));
  CHECK(answer.status == ErrorCode::kTimeout);
  CHECK(answer.body.size() < limits::kTextBytesMax + (kMissingMax + 2) * sizeof(uint32_t));
  CHECK(answer.body.size() > kMissingMax * sizeof(uint32_t));
}

TEST_CASE("native: clients of both protocols meet at a barrier") {
  Scene scene;
  C10dPeer torch(scene.server.port());
  torch.send(c10d_barrier("/b", 2));
  torch.ping();
  CHECK(scene.come(barrier_body(0, 2)).status == ErrorCode::kOk);
  CHECK(torch.receive_u8() == c10d::kStopWaiting);
}

TEST_CASE("native: a barrier at what is no number is an error, and changes nothing") {
  Scene scene;
  scene.set("/b", "word");
  for (uint64_t rank : {kRankless, uint64_t{0}}) {
    NativePeer::Answer answer = scene.error(Operation::kBarrier, barrier_body(kNoTimeout, 2, rank));
    CHECK(answer.status == ErrorCode::kNotANumber);
  }
  CHECK(scene.at("/b") == "word");
  CHECK(scene.ok(Operation::kNumKeys, {}) == Fields().u64(1).bytes);
}

TEST_CASE("native: a barrier of ranks and rounds that cannot be is refused, and changes nothing") {
  Scene scene;
  for (const Fields& body :
       {barrier_body(0, 0), barrier_body(0, UINT64_MAX), barrier_body(0, 2, 2),
        barrier_body(0, 2, UINT64_MAX - 1), barrier_body(0, 2, 0, 0), barrier_body(0, 2, 0, 2),
        barrier_body(0, 2, 0, UINT64_MAX), barrier_body(0, 2, 0, INT64_MAX)}) {
    CHECK(scene.error(Operation::kBarrier, body).status == ErrorCode::kInvalidArgument);
  }
  CHECK(scene.error(Operation::kBarrier, barrier_body(0, INT64_MAX, 0)).status ==
        ErrorCode::kLimit);
  CHECK(scene.ok(Operation::kNumKeys, {}) == Fields().u64(0).bytes);
}
