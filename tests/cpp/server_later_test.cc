// Very many requests that one write wakes are answered over several turns. What a server says to
// them is settled by the write.
#include <doctest/doctest.h>

#include <string>

#include "native_scene.h"

using namespace rdzv;
using namespace rdzv::test;
using native::Operation;

namespace {

constexpr uint64_t kMany = 3000;
constexpr uint64_t kFirst = 1000;

Fields keys_of(size_t count) {
  Fields fields = Fields().u32(native::kNoTimeout).u32(static_cast<uint32_t>(count));
  for (size_t i = 0; i < count; ++i) fields.string32("/k" + std::to_string(i));
  return fields;
}

std::string frames(Operation operation, const Fields& body) {
  std::string all;
  for (uint64_t id = kFirst; id < kFirst + kMany; ++id)
    all += native_frame(operation, id, body.bytes);
  return all;
}

}  // namespace

TEST_CASE("who waits for one key gets the value that woke him, though it is gone by then") {
  NativeScene scene;
  scene.peer.send(frames(Operation::kGet, Fields().u32(native::kNoTimeout).string32("/k")));
  // The set and the deletion are handled in one turn, before most have been told.
  scene.peer.send(
      native_frame(Operation::kSet, 1, Fields().string32("/k").string32("of then").bytes) +
      native_frame(Operation::kDeleteKey, 2, Fields().string32("/k").bytes));
  uint64_t next = kFirst;
  uint64_t others = 0;
  while (next < kFirst + kMany || others < 2) {
    const NativePeer::Answer answer = scene.peer.receive_answer();
    REQUIRE(answer.status == ErrorCode::kOk);
    if (answer.id < kFirst) {
      ++others;
      continue;
    }
    REQUIRE(answer.id == next++);
    REQUIRE(answer.body == got(1, "of then"));
  }
}

TEST_CASE("values of a list that have gone before the turn of who waits are waited for again") {
  NativeScene scene;
  for (int i = 0; i < 9; ++i) scene.set("/k" + std::to_string(i), "v");
  scene.peer.send(frames(Operation::kMultiGet, keys_of(10)));
  const std::string last = Fields().string32("/k9").string32("v").bytes;
  scene.peer.send(native_frame(Operation::kSet, 1, last) +
                  native_frame(Operation::kDeleteKey, 2, Fields().string32("/k0").bytes) +
                  native_frame(Operation::kPing, 3, ""));
  uint64_t woken = 0;
  const auto is_whole = [&](const NativePeer::Answer& answer) {
    ByteReader reader(answer.body);
    REQUIRE(reader.u32() == 10);
    for (int i = 0; i < 10; ++i) {
      REQUIRE(reader.u64() > 0);
      REQUIRE(native::take_string(reader, 100) == "v");
    }
    ++woken;
  };
  for (uint64_t others = 0; others < 3;) {
    const NativePeer::Answer answer = scene.peer.receive_answer();
    answer.id < kFirst ? static_cast<void>(++others) : is_whole(answer);
  }
  CHECK(woken < kMany);
  scene.peer.send(native_frame(Operation::kSet, 4, Fields().string32("/k0").string32("v").bytes));
  for (bool is_set = false; woken < kMany || !is_set;) {
    const NativePeer::Answer answer = scene.peer.receive_answer();
    answer.id < kFirst ? static_cast<void>(is_set = true) : is_whole(answer);
  }
}

TEST_CASE("a connection that ends with very many barriers takes all of them back") {
  NativeScene scene;
  {
    NativePeer other(scene.server.port());
    std::string all;
    for (uint64_t i = 0; i < kMany; ++i) {
      all += native_frame(Operation::kBarrier, kFirst + i,
                          Fields()
                              .u32(native::kNoTimeout)
                              .string32("/b" + std::to_string(i))
                              .u64(2)
                              .u64(static_cast<uint64_t>(native::kRanklessCaller))
                              .u64(1)
                              .u64(0)
                              .bytes);
    }
    other.send(all + native_frame(Operation::kPing, 1, ""));
    other.receive_answer();
  }
  for (uint64_t i = 0; i < kMany; ++i) {
    const std::string key = "/b" + std::to_string(i);
    std::string count;
    do {
      const NativePeer::Answer answer =
          scene.peer.call(Operation::kGet, Fields().u32(0).string32(key).bytes);
      count = answer.body.substr(sizeof(uint64_t) + sizeof(uint32_t));
    } while (count != "0");
  }
}
