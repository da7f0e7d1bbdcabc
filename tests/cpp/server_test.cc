// A real server and its connections: slow readers, peers that leave, peers that speak something
// else, and its own end.
#include "server/server.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "support.h"
#include "wire/limits.h"

using namespace rdzv;
using namespace rdzv::test;
using c10d::Code;
using native::kNoTimeout;
using native::Operation;

namespace {

constexpr size_t kLarge = 1024 * 1024;
constexpr size_t kMany = 64;  // that many large answers are far more than the server keeps unsent
static_assert(kMany * kLarge > 8 * limits::kUnsentBytesMax);

size_t address_space_bytes() {
  size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
}

std::string repeated(const std::string& text, size_t count) {
  std::string all;
  for (size_t i = 0; i < count; ++i) all += text;
  return all;
}

}  // namespace

TEST_CASE("a c10d peer that reads late gets all its answers, in order") {
  Server server("127.0.0.1", 0);
  C10dPeer peer(server.port());
  peer.send(c10d_request(Code::kSet, {"/k", std::string(kLarge, 'v')}));
  peer.send(repeated(c10d_request(Code::kGet, {"/k"}), kMany) +
            c10d_request(Code::kSet, {"/k", "small"}) + c10d_request(Code::kGet, {"/k"}));
  C10dPeer other(server.port());
  other.ping();  // others are served meanwhile
  for (size_t i = 0; i < kMany; ++i) REQUIRE(peer.receive_bytes() == std::string(kLarge, 'v'));
  CHECK(peer.receive_bytes() == "small");
  peer.ping();
}

TEST_CASE("a native peer that reads late gets all its answers, in order") {
  Server server("127.0.0.1", 0);
  NativePeer peer(server.port());
  peer.call(Operation::kSet, Fields().string32("/k").string32(std::string(kLarge, 'v')).bytes);
  std::string gets;
  for (uint64_t id = 1; id <= kMany; ++id) gets += native_get(id, "/k", 0);
  peer.send(gets + native_set(kMany + 1, "/k", "small"));
  NativePeer(server.port()).ping();
  for (uint64_t id = 1; id <= kMany; ++id) {
    NativePeer::Answer answer = peer.receive_answer();
    REQUIRE(answer.id == id);
    REQUIRE(answer.body.size() == 12 + kLarge);
  }
  CHECK(peer.receive_answer().id == kMany + 1);
  peer.ping();
}

TEST_CASE("a peer that never reads is not read for ever") {
  Server server("127.0.0.1", 0);
  C10dPeer peer(server.port());
  peer.send(c10d_request(Code::kSet, {"/k", std::string(kLarge, 'v')}));
  peer.send(repeated(c10d_request(Code::kGet, {"/k"}), kMany));
  std::string endless = repeated(c10d_request(Code::kSet, {"/l", std::string(kLarge, 'v')}), kMany);
  CHECK(peer.send_until_stuck(endless, std::chrono::milliseconds(300)) < endless.size());
  C10dPeer(server.port()).ping();
}

TEST_CASE("answers to waits reach a peer that reads late") {
  Server server("127.0.0.1", 0);
  NativePeer peer(server.port());
  std::string gets;
  for (uint64_t id = 1; id <= kMany; ++id) gets += native_get(id, "/k", kNoTimeout);
  peer.send(gets);
  peer.ping();
  NativePeer writer(server.port());
  writer.call(Operation::kSet, Fields().string32("/k").string32(std::string(kLarge, 'v')).bytes);
  for (uint64_t id = 1; id <= kMany; ++id) REQUIRE(peer.receive_answer().id == id);
  peer.ping();
}

TEST_CASE("a peer that has ended its sending still gets its answers") {
  Server server("127.0.0.1", 0);
  C10dPeer peer(server.port());
  peer.send(c10d_request(Code::kSet, {"/k", std::string(kLarge, 'v')}));
  peer.send(repeated(c10d_request(Code::kGet, {"/k"}), kMany));
  peer.end_sending();
  CHECK(peer.receive_to_end().size() == kMany * (8 + kLarge));
}

TEST_CASE("a peer that ends its sending while it waits is let go") {
  Server server("127.0.0.1", 0);
  C10dPeer peer(server.port());
  peer.send(c10d_request(Code::kWait, {"/never"}));
  peer.end_sending();
  CHECK(peer.receive_to_end() == "");
}

TEST_CASE("peers that leave while they wait leave nothing behind") {
  Server server("127.0.0.1", 0);
  NativePeer stays(server.port());
  for (uint64_t round = 1; round <= 30; ++round) {
    C10dPeer c10d(server.port());
    NativePeer native(server.port());
    for (uint64_t id = 1; id <= 20; ++id) {
      c10d.send(c10d_request(Code::kWait, {"/k", "/l"}));
      native.send(native_get(id, "/k", id % 2 == 0 ? kNoTimeout : 3));
    }
    stays.send(native_get(round, "/k", kNoTimeout));
    switch (round % 3) {
      case 0:
        c10d.close();
        native.close();
        break;
      case 1:
        c10d.reset_connection();
        native.reset_connection();
        break;
      default:
        c10d.ping();
        native.end_sending();
    }
    NativePeer writer(server.port());
    std::string pairs =
        Fields().u32(2).string32("/k").string32("").string32("/l").string32("").bytes;
    REQUIRE(writer.call(Operation::kMultiSet, pairs).status == ErrorCode::kOk);
    REQUIRE(stays.receive_answer().id == round);
    REQUIRE(writer.call(Operation::kDeleteKey, Fields().string32("/k").bytes).body == "\x01");
    writer.call(Operation::kDeleteKey, Fields().string32("/l").bytes);
  }
}

TEST_CASE("peers that leave with large answers unread do no harm") {
  Server server("127.0.0.1", 0);
  C10dPeer writer(server.port());
  writer.send(c10d_request(Code::kSet, {"/k", std::string(kLarge, 'v')}));
  writer.ping();
  for (int round = 0; round < 10; ++round) {
    C10dPeer peer(server.port());
    peer.send(repeated(c10d_request(Code::kGet, {"/k"}), kMany));
    peer.receive(100);
    if (round % 2 == 0) peer.reset_connection();
  }
  writer.ping();
}

TEST_CASE("all who wait for a key are answered when it comes, whatever they speak") {
  Server server("127.0.0.1", 0);
  std::vector<std::unique_ptr<C10dPeer>> c10d;
  std::vector<std::unique_ptr<NativePeer>> native;
  for (int i = 0; i < 100; ++i) {
    c10d.push_back(std::make_unique<C10dPeer>(server.port()));
    c10d.back()->send(c10d_request(Code::kWait, {"/k"}));
    c10d.back()->ping();
    native.push_back(std::make_unique<NativePeer>(server.port()));
    native.back()->send(native_get(1, "/k", kNoTimeout));
    native.back()->ping();
  }
  C10dPeer(server.port()).send(c10d_request(Code::kSet, {"/k", "v"}));
  for (auto& peer : c10d) CHECK(peer->receive_u8() == c10d::kStopWaiting);
  for (auto& peer : native) CHECK(peer->receive_answer().body.ends_with("v"));
}

TEST_CASE("who speaks something else is disconnected, with its first bytes in the log") {
  Server server("127.0.0.1", 0);
  for (const std::string& greeting : {std::string("GET / HTTP/1.1\r\n\r\n"), std::string("RDZX"),
                                      std::string("RX"), std::string("\x17\x03\x01", 3)}) {
    Peer peer(server.port());
    peer.send(greeting);
    CHECK(peer.receive_to_end() == "");
    CHECK(logged("it speaks neither the native nor the c10d protocol; its first bytes are '") !=
          "");
  }
}

TEST_CASE("sizes and numbers that are only announced cost no memory") {
  Server server("127.0.0.1", 0);
  C10dPeer other(server.port());
  other.ping();
  const std::vector<std::string> kAnnounced = {
      c10d_validate() + Fields().u8(1).string64("/k").u64(limits::kValueBytesMax).raw("v").bytes,
      c10d_validate() + Fields().u8(0x0B).u64(limits::kKeysPerRequestMax).string64("/k").bytes,
      native_greeting() + Fields().u32(limits::kRequestBytesMax).u32(3).u64(1).raw("x").bytes,
      native_greeting() + native_frame(Operation::kMultiGet, 1, Fields().u32(0).u32(131'072).bytes),
      native_greeting() + native_frame(Operation::kCheck, 1, Fields().u32(UINT32_MAX).bytes),
  };
  size_t before = address_space_bytes();
  std::vector<std::unique_ptr<Peer>> peers;
  for (int i = 0; i < 200; ++i) {
    peers.push_back(std::make_unique<Peer>(server.port()));
    peers.back()->send(kAnnounced[static_cast<size_t>(i) % kAnnounced.size()]);
  }
  other.ping();
  size_t after = address_space_bytes();
  CHECK(after - std::min(before, after) < 512 * 1024 * 1024);
}

TEST_CASE("a server that goes hangs up on everybody and frees its port") {
  auto server = std::make_unique<Server>("127.0.0.1", 0);
  uint16_t port = server->port();
  C10dPeer waits(port);
  waits.send(c10d_request(Code::kWait, {"/k"}));
  NativePeer blocked(port);
  blocked.send(native_get(1, "/k", 60'000));
  blocked.ping();
  C10dPeer congested(port);
  congested.send(c10d_request(Code::kSet, {"/v", std::string(kLarge, 'v')}) +
                 repeated(c10d_request(Code::kGet, {"/v"}), kMany));
  waits.ping();
  server.reset();
  CHECK(waits.receive_to_end() == "");
  CHECK(blocked.receive_to_end() == "");
  CHECK(congested.receive_to_end().size() < kMany * kLarge);
  Server again("127.0.0.1", port);
  C10dPeer(port).ping();
}

TEST_CASE("a port in use is an error that names the port and who has it") {
  Server server("127.0.0.1", 0);
  try {
    Server second("127.0.0.1", server.port());
    FAIL("two servers share a port");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kAddressInUse);
    CHECK(error.message().find("127.0.0.1:" + std::to_string(server.port())) != std::string::npos);
    CHECK(error.message().find("pid " + std::to_string(::getpid())) != std::string::npos);
  }
}

TEST_CASE("a server without a free descriptor raises the soft limit, and says so") {
  Server server("127.0.0.1", 0);
  C10dPeer early(server.port());
  early.ping();

  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  UniqueFd highest(::dup(0));
  rlimit low = before;
  low.rlim_cur = static_cast<rlim_t>(highest.get()) + 8;
  REQUIRE(low.rlim_cur < before.rlim_max);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &low) == 0);
  std::vector<UniqueFd> hogs;
  for (int fd = ::dup(0); fd >= 0; fd = ::dup(0)) hogs.emplace_back(fd);
  REQUIRE_FALSE(hogs.empty());
  hogs.pop_back();
  Peer late(server.port());  // takes the only free one, and the server finds none
  late.send(c10d_validate() + c10d_ping(7));
  CHECK(late.receive(4) == Bytes("\x07\0\0\0", 4));
  rlimit after{};
  ::getrlimit(RLIMIT_NOFILE, &after);
  ::setrlimit(RLIMIT_NOFILE, &before);
  CHECK(after.rlim_cur == before.rlim_max);
  CHECK(logged("raised this process's limit of open files") != "");
  early.ping();
}
