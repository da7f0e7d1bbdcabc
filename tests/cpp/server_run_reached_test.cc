// By which of the server's addresses its nodes have come from other machines.
#include <doctest/doctest.h>

#include <string>

#include "core_world.h"
#include "net/address.h"
#include "net/interfaces.h"

using namespace rdzv;
using namespace rdzv::test;

namespace {

constexpr native::RunSettings kSettings{3, 3, 30'000, 3'600'000, 3};

struct Scene {
  // A node of the run, which came to this address of the server; empty: from the server's machine.
  size_t join(MemoryPeer& peer, Bytes name, const std::string& reached) {
    peer.transport.reached = reached;
    return peer.ask(
        native::JoinRequest{native::kNoTimeout, {"run"}, {{name}, 1, 0}, kSettings, 0, 500, 1});
  }
  std::string reached_at(Bytes run_id) {
    const size_t asked = eye.ask(native::StatusRequest{{run_id}, {}});
    return std::string(eye.answer<native::StatusRequest>(asked).reached_at);
  }

  World world;
  MemoryPeer& eye = world.newcomer("127.0.0.1:1");
};

}  // namespace

TEST_CASE("run reached: by the address to which the last node came from another machine") {
  Scene scene;
  CHECK(scene.reached_at("run").empty());
  scene.join(scene.world.newcomer("127.0.0.1:2"), "a", "");
  CHECK(scene.reached_at("run").empty());
  MemoryPeer& far = scene.world.newcomer("10.0.0.2:3");
  scene.join(far, "b", "10.0.0.1");
  CHECK(scene.reached_at("run") == "10.0.0.1");
  scene.join(scene.world.newcomer("127.0.0.1:4"), "c", "");
  CHECK(scene.reached_at("run") == "10.0.0.1");
  far.lose();
  scene.join(scene.world.newcomer("10.9.0.2:5"), "b", "10.9.0.1");
  CHECK(scene.reached_at("run") == "10.9.0.1");
}

TEST_CASE("run reached: each run has its own") {
  Scene scene;
  scene.join(scene.world.newcomer("10.0.0.2:3"), "b", "10.0.0.1");
  CHECK(scene.reached_at("another").empty());
}

TEST_CASE(
    "hosts: of each address whether a client has come from there, and whether it is there still") {
  Scene scene;
  const auto states = [&] {
    native::HostsRequest request;
    for (const char* address : {"10.0.0.2", "10.0.0.9", "127.0.0.1", "no address"})
      request.addresses.push_back({{address}});
    std::string text;
    for (const auto& item : scene.eye.answer<native::HostsRequest>(scene.eye.ask(request)).states)
      text += "nwi"[static_cast<size_t>(item.state)];
    return text;
  };
  CHECK(states() == "nnin");
  MemoryPeer& first = scene.world.newcomer("10.0.0.2:3");
  MemoryPeer& second = scene.world.newcomer("10.0.0.2:4");
  CHECK(states() == "inin");
  first.lose();
  CHECK(states() == "inin");
  second.lose();
  CHECK(states() == "wnin");
  // Who has not said HELLO is no client of a run.
  scene.world.stranger("10.0.0.9:5");
  CHECK(states() == "wnin");
  scene.world.newcomer("10.0.0.2:6");
  CHECK(states() == "inin");
}

TEST_CASE("hosts: as many as one request may name, and no more") {
  Scene scene;
  native::HostsRequest request;
  for (size_t i = 0; i < limits::kHostsPerRequestMax; ++i) request.addresses.push_back({{"::1"}});
  const size_t asked = scene.eye.ask(request);
  CHECK(scene.eye.answer<native::HostsRequest>(asked).states.size() == limits::kHostsPerRequestMax);
  request.addresses.push_back({{"::1"}});
  const size_t more = scene.eye.ask(request);
  REQUIRE(scene.eye.has_answer(more));
  CHECK(scene.eye.reply(more).status != ErrorCode::kOk);
}

TEST_CASE("addresses that lead every machine to itself") {
  const auto is_loopback = [](const std::string& host) {
    return resolve(host, 1, Deadline::after(std::chrono::seconds(60))).front().is_loopback();
  };
  for (const char* host : {"127.0.0.1", "127.9.8.7", "::1", "::ffff:127.0.0.2"}) {
    CAPTURE(host);
    CHECK(is_loopback(host));
  }
  for (const char* host : {"10.0.0.1", "128.0.0.1", "fd00::1", "::ffff:10.0.0.1", "0.0.0.0"}) {
    CAPTURE(host);
    CHECK_FALSE(is_loopback(host));
  }
}

TEST_CASE("the addresses of interfaces are numeric, and loopback is among them") {
  bool has_loopback = false;
  for (const std::string& address : interface_addresses()) {
    CHECK_NOTHROW(resolve(address, 1, Deadline::after(std::chrono::seconds(60))));
    has_loopback |= address == "127.0.0.1" || address == "::1";
  }
  CHECK(has_loopback);
}
