// A line of text in place of a protocol: what `nc HOST PORT` is told.
#include <doctest/doctest.h>

#include <string>

#include "core_world.h"

using namespace rdzv;
using namespace rdzv::test;

namespace {

// All that one line is answered, and the connection is over.
std::string asked(World& world, Bytes line, std::optional<tls::Identity> who = {}) {
  MemoryTransport transport;
  transport.who = std::move(who);
  Connection& connection = world.core.connect(transport, world.time);
  if (transport.who) world.core.identify(connection, *transport.who, world.time);
  world.core.receive(connection, line, world.time);
  world.turn();
  CHECK(transport.closed);
  return transport.read();
}

bool has(const std::string& text, Bytes part) {
  return text.find(part) != std::string::npos;
}

void join(MemoryPeer& peer, Bytes run, Bytes node) {
  constexpr native::RunSettings kThree{3, 3, 30'000, 3'600'000, 3};
  peer.ask(native::JoinRequest{native::kNoTimeout, run, {node, 7, 1}, kThree});
  peer.exchange();
}

}  // namespace

TEST_CASE("a line of text is answered with what is there, and ends the connection") {
  World world;
  MemoryPeer& peer = world.newcomer("10.0.0.1:1");
  peer.answer<native::SetRequest>(peer.ask(native::SetRequest{"/k", "value"}));
  join(peer, "job", "node7");
  const std::string all = asked(world, "status\n");
  const auto keys = peer.answer<native::NumKeysRequest>(peer.ask(native::NumKeysRequest{})).count;
  CHECK_MESSAGE(has(all, "\nkeys: " + std::to_string(keys) + "\n"), all);
  CHECK(has(all, "\nruns: 1\n"));
  CHECK(has(all, "run 'job': round 1, forming: 1 of at least 3 (at most 3) nodes joined\n"));
  CHECK_FALSE(has(all, "value"));
  const std::string one = asked(world, "status \t job \r\n");
  CHECK_MESSAGE(has(one, "nodes: node7 (pid 7)\n"), one);
  CHECK(has(asked(world, "status jbo\n"), "there is no run 'jbo'"));
  CHECK(has(asked(world, "help\n"), "status RUN"));
  CHECK(has(asked(world, "quit\n"), "unknown word 'quit'"));
}

TEST_CASE("a line of text may come in pieces, and must end") {
  World world;
  MemoryTransport transport;
  Connection& connection = world.core.connect(transport, world.time);
  for (const char* piece : {"s", "tatu", "s"}) world.core.receive(connection, piece, world.time);
  world.turn();
  CHECK(transport.sent.empty());
  CHECK_FALSE(transport.closed);
  world.core.receive(connection, "\nstatus\n", world.time);
  world.turn();
  CHECK(transport.closed);
  const std::string answer = transport.read();
  CHECK(answer.find("keys: 0") == answer.rfind("keys: 0"));

  MemoryTransport endless;
  Connection& other = world.core.connect(endless, world.time);
  world.core.receive(other, std::string(2000, 'a'), world.time);
  world.turn();
  CHECK(endless.closed);
}

TEST_CASE("who reads slowly gets all of the text, and a server that is full says so") {
  ServerLimits limits;
  limits.connections_per_space = 1;
  World world(limits);
  MemoryTransport slow;
  slow.room = 10;
  Connection& connection = world.core.connect(slow, world.time);
  world.core.receive(connection, "help\n", world.time);
  world.turn();
  CHECK_FALSE(slow.closed);
  CHECK(has(asked(world, "status\n"), "too many connections are in its name space"));
  std::string read;
  while (!slow.closed) {
    read += slow.read();
    world.core.resume_sending(connection, world.time);
    world.turn();
  }
  CHECK(has(read + slow.read(), "rendezvous status --endpoint"));
}

TEST_CASE("text tells of the name space of its connection alone") {
  World world;
  join(world.member("a"), "of-a", "node1");
  const auto reader_of = [](const char* space) {
    return tls::Identity{true, space, tls::Role::kReader, "key", {}};
  };
  CHECK(has(asked(world, "status\n", reader_of("a")), "run 'of-a'"));
  World empty;
  CHECK(asked(world, "status\n", reader_of("b")) == asked(empty, "status\n", reader_of("b")));
  CHECK_FALSE(has(asked(world, "status\n"), "of-a"));
  CHECK(has(asked(world, "status of-a\n", reader_of("b")), "there is no run 'of-a'"));
}
