// A real server, spoken to in the bytes of torch's TCPStore.
#include <doctest/doctest.h>

#include <string>

#include "server/server.h"
#include "support.h"
#include "wire/limits.h"

using namespace rdzv;
using namespace rdzv::test;
using c10d::Code;

namespace {

struct Scene {
  Server server{"127.0.0.1", 0};
  C10dPeer peer{server.port()};

  void set(Bytes key, Bytes value) { peer.send(c10d_request(Code::kSet, {key, value})); }
  std::string get(Bytes key) {
    peer.send(c10d_request(Code::kGet, {key}));
    return peer.receive_bytes();
  }
};

}  // namespace

TEST_CASE("c10d: values are set, read, counted and deleted") {
  Scene scene;
  scene.set("/k", "value");
  CHECK(scene.get("/k") == "value");
  CHECK(scene.get("/missing") == "");
  scene.peer.send(c10d_request(Code::kNumKeys));
  CHECK(scene.peer.receive_i64() == 1);
  scene.peer.send(c10d_request(Code::kDeleteKey, {"/k"}));
  CHECK(scene.peer.receive_i64() == 1);
  scene.peer.send(c10d_request(Code::kDeleteKey, {"/k"}));
  CHECK(scene.peer.receive_i64() == 0);
}

TEST_CASE("c10d: add answers with the sum") {
  Scene scene;
  scene.peer.send(c10d_add("init/", 1));
  CHECK(scene.peer.receive_i64() == 1);
  scene.peer.send(c10d_add("init/", -3));
  CHECK(scene.peer.receive_i64() == -2);
  CHECK(scene.get("init/") == "-2");
}

TEST_CASE("c10d: compare_set answers with what is there, or with what was expected") {
  Scene scene;
  auto compare_set = [&](Bytes expected, Bytes desired) {
    scene.peer.send(c10d_request(Code::kCompareSet, {"/k", expected, desired}));
    return scene.peer.receive_bytes();
  };
  CHECK(compare_set("old", "new") == "old");
  CHECK(scene.get("/k") == "");
  CHECK(compare_set("", "new") == "new");
  CHECK(compare_set("other", "newer") == "new");
  CHECK(compare_set("new", "newer") == "newer");
}

TEST_CASE("c10d: append, multi_set, multi_get and check") {
  Scene scene;
  scene.peer.send(c10d_request(Code::kAppend, {"/a", "x"}));
  scene.peer.send(c10d_request(Code::kAppend, {"/a", "y"}));
  scene.peer.send(c10d_request(Code::kMultiSet, {"/b", "1", "/c", ""}));
  scene.peer.send(c10d_request(Code::kMultiGet, {"/a", "/b", "/c", "/missing"}));
  for (const char* value : {"xy", "1", "", ""}) CHECK(scene.peer.receive_bytes() == value);
  scene.peer.send(c10d_request(Code::kCheck, {"/a", "/b"}));
  CHECK(scene.peer.receive_u8() == 0);
  scene.peer.send(c10d_request(Code::kCheck, {"/a", "/missing"}));
  CHECK(scene.peer.receive_u8() == 1);
  scene.peer.send(c10d_request(Code::kCheck));
  CHECK(scene.peer.receive_u8() == 0);
}

TEST_CASE("c10d: answers come in the order of the requests, sent in one packet or byte by byte") {
  Scene scene;
  std::string stream = c10d_request(Code::kSet, {"/k", "v"}) + c10d_ping(7) +
                       c10d_request(Code::kGet, {"/k"}) + c10d_add("/n", 5) + c10d_validate() +
                       c10d_request(Code::kNumKeys);
  auto check_answers = [&](int64_t sum) {
    CHECK(scene.peer.receive(4) == Bytes("\x07\0\0\0", 4));
    CHECK(scene.peer.receive_bytes() == "v");
    CHECK(scene.peer.receive_i64() == sum);
    CHECK(scene.peer.receive_i64() == 2);
  };
  scene.peer.send(stream);
  check_answers(5);
  for (char byte : stream) scene.peer.send(Bytes(&byte, 1));
  check_answers(10);
}

TEST_CASE("c10d: a VALIDATE that comes in two packets is as good as one") {
  Server server("127.0.0.1", 0);
  Peer peer(server.port());
  peer.send(Bytes("\x00\xCE", 2));
  C10dPeer(server.port()).ping();  // the server has turned since
  peer.send(Bytes("\xF7\x85\x3C\x0D\x01\x02\x03\x04", 8));
  CHECK(peer.receive(4) == "\x01\x02\x03\x04");
}

TEST_CASE("c10d: a parked wait does not block later commands") {
  Scene scene;
  scene.peer.send(c10d_request(Code::kWait, {"/late"}));
  scene.peer.ping();
  scene.set("/k", "v");
  CHECK(scene.get("/k") == "v");
  C10dPeer other(scene.server.port());
  other.send(c10d_request(Code::kSet, {"/late", "1"}));
  CHECK(scene.peer.receive_u8() == c10d::kStopWaiting);
}

TEST_CASE("c10d: a client may satisfy its own wait") {
  Scene scene;
  scene.peer.send(c10d_request(Code::kWait, {"/a", "/b"}) +
                  c10d_request(Code::kMultiSet, {"/a", "1", "/b", "2"}) + c10d_ping(7));
  CHECK(scene.peer.receive(5) == Bytes("\x00\x07\0\0\0", 5));
}

TEST_CASE("c10d: a wait for what is there, or for nothing, is answered at once") {
  Scene scene;
  scene.set("/k", "");
  scene.peer.send(c10d_request(Code::kWait, {"/k", "/k"}) + c10d_request(Code::kWait));
  CHECK(scene.peer.receive(2) == Bytes("\0\0", 2));
}

TEST_CASE("c10d: a failed compare_set wakes nobody, a successful one does") {
  Scene scene;
  C10dPeer other(scene.server.port());
  scene.peer.send(c10d_request(Code::kWait, {"/k"}));
  scene.peer.ping();
  other.send(c10d_request(Code::kCompareSet, {"/k", "expected", "new"}));
  CHECK(other.receive_bytes() == "expected");
  scene.peer.ping();
  other.send(c10d_request(Code::kCompareSet, {"/k", "", "new"}));
  CHECK(other.receive_bytes() == "new");
  CHECK(scene.peer.receive_u8() == c10d::kStopWaiting);
}

TEST_CASE("c10d: CANCEL_WAIT ends the wait, and is answered") {
  Scene scene;
  scene.peer.send(c10d_request(Code::kWait, {"/k"}) + c10d_request(Code::kCancelWait));
  CHECK(scene.peer.receive_u8() == c10d::kWaitCanceled);
  scene.set("/k", "v");
  scene.peer.ping();  // no stray byte before its answer
}

TEST_CASE("c10d: a CANCEL_WAIT that comes too late is answered after the wait") {
  Scene scene;
  C10dPeer other(scene.server.port());
  scene.peer.send(c10d_request(Code::kWait, {"/k"}));
  scene.peer.ping();
  other.send(c10d_request(Code::kSet, {"/k", "v"}));
  other.ping();
  scene.peer.send(c10d_request(Code::kCancelWait));
  CHECK(scene.peer.receive_u8() == c10d::kStopWaiting);
  CHECK(scene.peer.receive_u8() == c10d::kWaitCanceled);
}

TEST_CASE("c10d: CANCEL_WAIT without a wait is answered too") {
  Scene scene;
  scene.peer.send(c10d_request(Code::kCancelWait));
  CHECK(scene.peer.receive_u8() == c10d::kWaitCanceled);
  scene.peer.ping();
}

TEST_CASE("c10d: what cannot be served ends the connection, with the reason in the log") {
  Server server("127.0.0.1", 0);
  auto reason = [&](const std::string& requests) {
    C10dPeer peer(server.port());
    peer.ping();
    peer.send(requests);
    CHECK(peer.receive_to_end() == "");
    return logged("closed the connection from 127.0.0.1:");
  };
  CHECK(reason("\x7F").ends_with("unknown operation code 127"));
  CHECK(reason(c10d_request(Code::kSet, {"/n", "word"}) + c10d_add("/n", 1))
            .ends_with(
                "add to key '/n': its value 'word' is not a decimal 64-bit number; use another "
                "key for the counter"));
  std::string long_key(limits::kWireKeyBytesMax + 1, 'k');
  CHECK(reason(c10d_request(Code::kGet, {long_key})).find("GET with a key of 16386 bytes") !=
        std::string::npos);
  CHECK(reason(Fields().u8(6).u64(131'073).bytes)
            .ends_with("WAIT of 131073 keys; the limit is 131072"));
}

TEST_CASE("c10d: what was answered before a refused request arrives") {
  Server server("127.0.0.1", 0);
  C10dPeer peer(server.port());
  peer.send(c10d_request(Code::kSet, {"/k", "v"}) + c10d_request(Code::kGet, {"/k"}) + "\x7F");
  CHECK(peer.receive_to_end() == c10d_bytes("v"));
}

TEST_CASE("c10d: a first message that is no VALIDATE ends the connection") {
  Server server("127.0.0.1", 0);
  Peer peer(server.port());
  peer.send(Bytes("\x00\xCE\xF7\x85\x3D", 5));
  CHECK(peer.receive_to_end() == "");
  CHECK(logged("the first message is not a valid VALIDATE") != "");
}

TEST_CASE("c10d: APPEND keeps to the limit of a value") {
  Scene scene;
  std::string half(limits::kValueBytesMax / 2, 'v');
  std::string append = c10d_request(Code::kAppend, {"/k", half});
  scene.peer.send(append + append);
  scene.peer.ping();
  scene.peer.send(c10d_request(Code::kAppend, {"/k", "x"}));
  CHECK(scene.peer.receive_to_end() == "");
  CHECK(logged("APPEND would make the value of key '/k' 67108865 bytes") != "");
}

TEST_CASE("c10d: an answer that would be too large ends the connection before it is made") {
  Scene scene;
  std::string value(limits::kValueBytesMax, 'v');
  scene.set("/k", value);
  scene.peer.send(c10d_request(Code::kMultiGet, {"/k", "/k", "/k", "/k", "/k"}));
  CHECK(scene.peer.receive_to_end() == "");
  CHECK(logged("the answer to MULTI_GET would be larger than 268435456 bytes") != "");
}
