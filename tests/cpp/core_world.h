// The server's core in memory, with clients' cores: bytes, times and closings go in, bytes come out.
// No socket, no thread, no clock.
#pragma once

#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "client/core.h"
#include "memory_transport.h"
#include "server/core.h"
#include "support.h"
#include "wire/messages.h"

namespace rdzv::test {

class World;

// One end of a connection in memory, with the core of a native client on it.
class MemoryPeer {
 public:
  // `who`: it has proved to be; and asks for that name space.
  MemoryPeer(World& world, const std::string& name, uint8_t session,
             std::optional<tls::Identity> who = {}, Bytes space = {});

  // To the server, what the client's core has to send or what a test makes up; and back.
  void exchange();
  void send(Bytes bytes);
  void take(Bytes bytes);
  // The connection breaks, which both sides notice.
  void lose();

  // Its number, for what follows. With `patience`: the client gives up then.
  template <typename Request>
  size_t ask(const Request& request, std::optional<Duration> patience = {});
  void give_up(size_t call) { client.give_up(*calls_[call]); }
  // The answer: its status, and what it says. It has to be there.
  template <typename Request>
  typename Request::Is::Reply answer(size_t call, ErrorCode expected = ErrorCode::kOk);
  // The text of an error's answer.
  std::string error(size_t call);
  bool has_answer(size_t call) { return reply(call).outcome == ClientCore::Outcome::kAnswered; }
  const ClientCore::Reply& reply(size_t call);

  Connection& connection() { return *connection_; }

  MemoryTransport transport;
  ClientCore client;
  std::string all;  // that was ever received

 private:
  World& world_;
  Connection* connection_;
  std::vector<std::unique_ptr<ClientCore::Call>> calls_;
  std::vector<Bytes> strings_;
};

class World {
 public:
  MemoryPeer& stranger(const std::string& name) {
    const auto session = static_cast<uint8_t>(peers.size());
    return *peers.emplace_back(std::make_unique<MemoryPeer>(*this, name, session));
  }
  // By a token of that name space and role.
  MemoryPeer& holder(const std::string& space, tls::Role role, Bytes asks_for = {}) {
    tls::Identity who{true, space, role, "key-of-" + space, {}};
    const std::string name = "10.1.0.1:" + std::to_string(peers.size() + 1);
    return *peers.emplace_back(std::make_unique<MemoryPeer>(
        *this, name, static_cast<uint8_t>(peers.size()), std::move(who), asks_for));
  }
  MemoryPeer& member(const std::string& space) {
    MemoryPeer& peer = holder(space, tls::Role::kMember);
    peer.exchange();
    CHECK(peer.client.state() == ClientCore::State::kOpen);
    return peer;
  }
  // Whether there is such a name space, as an admin sees it.
  bool has_space(const std::string& space) {
    MemoryPeer& admin = holder("default", tls::Role::kAdmin);
    admin.exchange();
    const size_t call = admin.ask(native::SpacesRequest{true});
    bool found = false;
    for (const auto& each : admin.answer<native::SpacesRequest>(call).spaces)
      found = found || each.name == space;
    admin.lose();
    return found;
  }
  MemoryPeer& newcomer(const std::string& name) {
    MemoryPeer& peer = stranger(name);
    peer.exchange();
    CHECK(peer.client.state() == ClientCore::State::kOpen);
    CHECK(peer.client.peer().instance == native::Id128{7, 7, 7});
    return peer;
  }
  void turn() {
    while (core.end_turn(time)) {
    }
  }
  void wait(Duration duration) {
    time.now += duration;
    time.awake += duration;
    core.run_due(time, time);
    turn();
    for (const auto& peer : peers) {
      if (peer->client.next() <= time.now) peer->client.run_due(time.now);
    }
  }

  std::vector<std::unique_ptr<MemoryPeer>> peers;
  explicit World(const ServerLimits& limits = {})
      : core(limits, "server test", HashSeed{1, 2}, {7, 7, 7}) {}

  ServerCore core;
  Moment time{Instant(std::chrono::hours(1)), Instant(std::chrono::hours(1))};
  std::set<native::Operation> asked;
};

inline MemoryPeer::MemoryPeer(World& world, const std::string& name, uint8_t session,
                              std::optional<tls::Identity> who, Bytes space)
    : client({session}, "memory", space), world_(world) {
  transport.name = name;
  transport.who = std::move(who);
  connection_ = &world.core.connect(transport, world.time);
  if (transport.who) world.core.identify(*connection_, *transport.who, world.time);
}

inline void MemoryPeer::send(Bytes bytes) {
  REQUIRE(connection_->wants_input());
  world_.core.receive(*connection_, bytes, world_.time);
  world_.turn();
}

inline void MemoryPeer::take(Bytes bytes) {
  all.append(bytes);
  client.receive(bytes, world_.time.now);
}

inline void MemoryPeer::exchange() {
  for (;;) {
    while (!client.to_send().empty()) {
      const Bytes out = client.to_send();
      send(out);
      client.on_sent(out.size(), world_.time.now);
    }
    const std::string in = transport.read();
    if (in.empty()) return;
    take(in);
  }
}

inline void MemoryPeer::lose() {
  world_.core.end_of_stream(*connection_, world_.time);
  world_.turn();
  client.break_off("cut");
}

template <typename Request>
size_t MemoryPeer::ask(const Request& request, std::optional<Duration> patience) {
  world_.asked.insert(Request::Is::kOperation);
  std::string body;
  native::put(body, request);
  ClientCore::Call& call =
      *calls_.emplace_back(std::make_unique<ClientCore::Call>(Request::Is::kOperation));
  call.waits_for_others = true;
  if (patience) call.deadline = world_.time.now + *patience;
  client.send(call, body, world_.time.now);
  exchange();
  return calls_.size() - 1;
}

inline const ClientCore::Reply& MemoryPeer::reply(size_t call) {
  if (!transport.closed) exchange();
  return calls_[call]->reply;
}

template <typename Request>
typename Request::Is::Reply MemoryPeer::answer(size_t call, ErrorCode expected) {
  REQUIRE(has_answer(call));
  CHECK(reply(call).status == expected);
  typename Request::Is::Reply answer;
  const Bytes body = Bytes(reply(call).body).substr(reply(call).body_begin);
  if (expected == ErrorCode::kOk) REQUIRE(native::take(body, answer, &strings_));
  return answer;
}

inline std::string MemoryPeer::error(size_t call) {
  native::ErrorReply answer;
  REQUIRE(native::take(reply(call).body, answer));
  return std::string(answer.message);
}

// Asks for every operation, over both protocols, and returns all bytes that anybody was sent.
std::string play(World& world);

}  // namespace rdzv::test
