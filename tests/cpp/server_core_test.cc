// The server's core and its clients' in memory, and so the same twice.
#include <doctest/doctest.h>

#include <chrono>
#include <string>

#include "core_world.h"

using namespace rdzv;
using namespace rdzv::test;
using std::chrono::milliseconds;

TEST_CASE("a server's core and its clients' do the same twice, through every operation") {
  World first;
  const std::string bytes = play(first);
  native::for_each_request([&]<typename Request>(Request*) {
    CHECK_MESSAGE(first.asked.contains(Request::Is::kOperation), Request::Is::kName);
  });
  World second;
  CHECK((play(second) == bytes));
}

TEST_CASE("a server's core that has nothing to do says so") {
  World world;
  CHECK(world.core.next() == Timers::kNever);
  MemoryPeer& peer = world.stranger("10.0.0.1:1");
  CHECK(world.core.next() == world.time.now + milliseconds(world.core.limits().greeting_ms));
  peer.exchange();
  const size_t waits = peer.ask(native::GetRequest{native::kNoTimeout, {"/k"}});
  world.wait(std::chrono::hours(24));
  CHECK(world.core.next() == Timers::kNever);
  CHECK_FALSE(peer.has_answer(waits));
}

TEST_CASE("who judges peers goes by the time in which they could be heard") {
  World world;
  MemoryPeer& peer = world.newcomer("10.0.0.1:1");
  peer.ask(native::SetForRequest{50, {"/k"}, {"v"}});
  // The server was stopped, and goes on: what renews the key may lie unread.
  world.time.now += std::chrono::hours(1);
  world.core.run_due(world.time, world.time);
  world.turn();
  CHECK(peer.answer<native::TryGetRequest>(peer.ask(native::TryGetRequest{{"/k"}})).version == 1);
  world.wait(milliseconds(50));
  CHECK(peer.answer<native::TryGetRequest>(peer.ask(native::TryGetRequest{{"/k"}})).version == 0);
}
