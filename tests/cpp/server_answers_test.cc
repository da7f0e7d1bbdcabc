// A real server and requests for many keys: what is remembered of them shows in no answer.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "native_scene.h"

using namespace rdzv;
using namespace rdzv::test;
using c10d::Code;
using native::Operation;

namespace {

constexpr size_t kKeys = 300;

std::vector<std::string> names(size_t count = kKeys, Bytes end = "") {
  std::vector<std::string> all;
  for (size_t i = 0; i < count; ++i)
    all.push_back("/key" + std::to_string(i) + std::string(i + 1 == count ? end : Bytes()));
  return all;
}

std::vector<Bytes> views(const std::vector<std::string>& strings) {
  return {strings.begin(), strings.end()};
}

Fields list_of(const std::vector<std::string>& keys) {
  Fields list = Fields().u32(keys.size());
  for (const std::string& key : keys) list.string32(key);
  return list;
}

Fields timed_list_of(uint32_t timeout_ms, const std::vector<std::string>& keys) {
  return Fields().u32(timeout_ms).raw(list_of(keys).bytes);
}

struct Scene : NativeScene {
  C10dPeer torchs{server.port()};

  void set_all(const std::vector<std::string>& keys, Bytes value = "v") {
    Fields body = Fields().u32(keys.size());
    for (const std::string& key : keys) body.string32(key).string32(value);
    ok(Operation::kMultiSet, body);
  }
  // Values alone.
  std::vector<std::string> multi_get(const std::vector<std::string>& keys) {
    std::string body = ok(Operation::kMultiGet, timed_list_of(0, keys));
    ByteReader reader(body);
    std::vector<std::string> values(reader.u32());
    for (std::string& value : values) {
      reader.u64();
      value = reader.take(reader.u32());
    }
    CHECK((reader.ok() && reader.left() == 0));
    return values;
  }
  std::vector<std::string> c10d_multi_get(const std::vector<std::string>& keys) {
    torchs.send(c10d_request(Code::kMultiGet, views(keys)));
    std::vector<std::string> values;
    for (size_t i = 0; i < keys.size(); ++i) values.push_back(torchs.receive_bytes());
    return values;
  }
  bool check(const std::vector<std::string>& keys) {
    bool native = ok(Operation::kCheck, list_of(keys)) == std::string("\1", 1);
    torchs.send(c10d_request(Code::kCheck, views(keys)));
    CHECK((torchs.receive_u8() == 0) == native);
    return native;
  }
};

}  // namespace

TEST_CASE("answers for many keys are as of now, in both protocols, however often they were asked") {
  Scene scene;
  const std::vector<std::string> keys = names();
  CHECK(!scene.check(keys));
  scene.set_all(keys);
  for (int round = 0; round < 3; ++round) {
    CHECK(scene.check(keys));
    std::string value = "round " + std::to_string(round);
    scene.set(keys[7], value);
    CHECK(scene.multi_get(keys)[7] == value);
    CHECK(scene.c10d_multi_get(keys)[7] == value);
    scene.ok(Operation::kDeleteKey, Fields().string32(keys[9]));
    CHECK(!scene.check(keys));
    CHECK(scene.c10d_multi_get(keys)[9].empty());
    scene.ok(Operation::kQueuePush, Fields().string32(keys[9]).string32("item"));
    CHECK(scene.check(keys));
    scene.ok(Operation::kQueuePop, Fields().u32(0).string32(keys[9]));
    CHECK(!scene.check(keys));
    scene.set(keys[9], "again");
    CHECK(scene.multi_get(keys)[9] == "again");
  }
}

TEST_CASE("many who wait for the same keys get them when the last one comes") {
  Scene scene;
  const std::vector<std::string> keys = names();
  std::vector<std::string> but_one(keys.begin(), keys.end() - 1);
  NativePeer second(scene.server.port());
  C10dPeer third(scene.server.port());
  auto ask = [&](NativePeer& peer, uint64_t id) {
    peer.send(
        native_frame(Operation::kWait, id, timed_list_of(native::kNoTimeout, keys).bytes) +
        native_frame(Operation::kMultiGet, id + 1, timed_list_of(native::kNoTimeout, keys).bytes));
    peer.ping();
  };
  ask(scene.peer, 1);
  ask(second, 1);
  for (C10dPeer* peer : {&scene.torchs, &third})
    peer->send(c10d_request(Code::kWait, views(keys)) + c10d_ping(1));
  for (C10dPeer* peer : {&scene.torchs, &third}) peer->receive(4);
  NativePeer setter(scene.server.port());
  Fields body = Fields().u32(but_one.size());
  for (const std::string& key : but_one) body.string32(key).string32("v");
  setter.call(Operation::kMultiSet, body.bytes);
  for (Peer* peer : std::vector<Peer*>{&scene.peer, &second, &scene.torchs, &third})
    CHECK(peer->receive_available().empty());
  setter.call(Operation::kSet, Fields().string32(keys.back()).string32("last").bytes);
  for (NativePeer* peer : {&scene.peer, &second}) {
    size_t bytes = 0;
    for (int i = 0; i < 2; ++i) {
      NativePeer::Answer answer = peer->receive_answer();
      CHECK(answer.status == ErrorCode::kOk);
      bytes = std::max(bytes, answer.body.size());
    }
    CHECK(bytes == 4 + kKeys * (8 + 4 + 1) + 3);
  }
  CHECK(scene.torchs.receive_u8() == 0);
  CHECK(third.receive_u8() == 0);
}

TEST_CASE("a time-out names the first of the keys that are missing, and says how many they are") {
  Scene scene;
  const std::vector<std::string> keys = names();
  std::vector<std::string> half(keys.begin(), keys.begin() + 150);
  scene.set_all(half);
  for (Operation operation : {Operation::kWait, Operation::kMultiGet}) {
    for (int i = 0; i < 2; ++i) {
      std::string message = scene.error(operation, timed_list_of(1, keys)).message();
      CHECK(message.find("150 of 300 keys were never set: 'key150', 'key151'") !=
            std::string::npos);
      CHECK(message.ends_with(" and 140 more"));
    }
  }
}

TEST_CASE("c10d: a request like one before is told from it wherever it differs and is cut") {
  Scene scene;
  const std::vector<std::string> keys = names();
  scene.set_all(keys);
  scene.set("/key299x", "other");
  const std::vector<std::string> longer = names(kKeys, "x");
  const std::vector<std::string> shorter(keys.begin(), keys.end() - 1);
  CHECK(scene.c10d_multi_get(keys).back() == "v");
  CHECK(scene.c10d_multi_get(longer).back() == "other");
  CHECK(scene.c10d_multi_get(shorter).back() == "v");
  for (const std::vector<std::string>* asked : {&keys, &longer, &shorter}) {
    const std::string request = c10d_request(Code::kMultiGet, views(*asked));
    for (size_t cut :
         std::vector<size_t>{1, 9, 17, 24, 1440, request.size() - 2, request.size() - 1}) {
      CAPTURE(cut);
      scene.torchs.send(Bytes(request).substr(0, cut));
      scene.ok(Operation::kPing, Fields());
      scene.torchs.send(request.substr(cut) + c10d_ping(7));
      std::string last;
      for (size_t i = 0; i < asked->size(); ++i) last = scene.torchs.receive_bytes();
      CHECK(last == (asked == &longer ? "other" : "v"));
      CHECK(scene.torchs.receive(4) == Fields().u32(7).bytes);
    }
  }
}

TEST_CASE("c10d: who sends only the beginning of a request like one before keeps nobody waiting") {
  Scene scene;
  const std::vector<std::string> keys = names();
  scene.set_all(keys);
  scene.c10d_multi_get(keys);
  // Shorter than what is expected after the same beginning, and nothing follows it.
  std::vector<std::string> asked = names();
  for (size_t i = 100; i < kKeys; ++i) asked[i] = "/";
  const std::string request = c10d_request(Code::kMultiGet, views(asked));
  scene.torchs.send(Bytes(request).substr(0, 1500));
  scene.ok(Operation::kPing, Fields());
  scene.torchs.send(Bytes(request).substr(1500));
  for (size_t i = 0; i < kKeys; ++i) CHECK(scene.torchs.receive_bytes() == (i < 100 ? "v" : ""));
}

TEST_CASE("native: a list of keys with something wrong is refused also beside one like it") {
  Scene scene;
  const std::vector<std::string> keys = names(20);
  scene.set_all(keys);
  CHECK(scene.multi_get(keys).size() == 20);
  Fields left_over = timed_list_of(0, keys).u8(0);
  CHECK(scene.error(Operation::kMultiGet, left_over).status == ErrorCode::kProtocol);
  Fields cut = timed_list_of(0, keys);
  cut.bytes.pop_back();
  CHECK(scene.error(Operation::kMultiGet, cut).status == ErrorCode::kProtocol);
  CHECK(scene.error(Operation::kWait, Fields().u32(0).u32(200)).status == ErrorCode::kProtocol);
  CHECK(scene.error(Operation::kCheck, Fields()).status == ErrorCode::kProtocol);
}
