// A server that finds no memory for a newcomer: that one is told, or is gone; the others are served,
// and nothing half made is left. Every allocation fails once, by itself and with all behind it.
// Not with sanitizers, which bring allocation functions of their own.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

#include <doctest/doctest.h>

#include <new>
#include <string>

#include "allocations.h"
#include "core_world.h"

using namespace rdzv;
using namespace rdzv::test;

namespace {

// What came of a newcomer to a name space that nobody is in.
struct Outcome {
  bool has_failed = false;  // an allocation
  bool is_closed = false;
  std::string told;
};

// As the shell does it: whatever has no memory is told in a later turn, when there may be some.
template <typename Action>
void in_turn(ServerCore& core, Connection& connection, const Moment& time, Action&& action) {
  try {
    action();
  } catch (const std::bad_alloc&) {
    core.on_refused(connection, ENOMEM, time);
  }
}

Outcome come(World& world, MemoryTransport& transport, size_t before, bool for_all) {
  transport.name = "10.2.0.1:1";
  transport.who = tls::Identity{true, "new", tls::Role::kMember, "key-of-new", {}};
  transport.sent.reserve(64 * 1024);
  Connection& connection = world.core.connect(transport, world.time);
  const ClientCore client({9}, "memory");
  const std::string hello(client.to_send());
  Outcome outcome;
  in_turn(world.core, connection, world.time, [&] {
    const FailedAllocation failed(before, for_all);
    try {
      world.core.identify(connection, *transport.who, world.time);
      world.core.receive(connection, hello, world.time);
    } catch (const std::bad_alloc&) {
      outcome.has_failed = true;
      throw;
    }
    outcome.has_failed = failed.has_happened();
  });
  world.turn();
  outcome.is_closed = transport.closed;
  outcome.told = transport.read();
  if (!transport.closed) {
    world.core.end_of_stream(connection, world.time);
    world.turn();
  }
  return outcome;
}

}  // namespace

TEST_CASE(
    "without memory for its name space a newcomer is told or gone, and nothing is half made") {
  for (const bool for_all : {false, true}) {
    bool is_ever_told = false;
    for (size_t before = 0;; ++before) {
      CAPTURE(before);
      CAPTURE(for_all);
      World world;
      MemoryPeer& other = world.member("other");
      MemoryTransport transport;
      const Outcome outcome = come(world, transport, before, for_all);
      if (!outcome.has_failed) {
        CHECK_FALSE(outcome.is_closed);
        CHECK(outcome.told.find("no memory left") == std::string::npos);
        REQUIRE(before > 10);
        break;
      }
      REQUIRE(before < 10'000);
      const bool is_told = outcome.told.find("no memory left") != std::string::npos;
      is_ever_told = is_ever_told || is_told;
      // Who is served on has an answer to its HELLO.
      CHECK((outcome.is_closed || !outcome.told.empty()));
      CHECK((!is_told || outcome.is_closed));

      CHECK_FALSE(world.has_space("new"));
      other.answer<native::SetRequest>(other.ask(native::SetRequest{{"/k"}, {"v"}}));
      MemoryPeer& next = world.member("new");
      next.answer<native::SetRequest>(next.ask(native::SetRequest{{"/k"}, {"v"}}));
      next.lose();
      CHECK(world.has_space("new"));
      other.ask(native::DeleteKeyRequest{{"/k"}});
      other.lose();
      CHECK_FALSE(world.has_space("other"));
    }
    CHECK(is_ever_told != for_all);
  }
}

#endif
